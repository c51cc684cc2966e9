// What is shown: the program, or the speakers of a mesh. Another parent's picture gets an element of its own that is
// swapped in at its first new picture, so that a change freezes the picture hardly longer than the parent is silent.

/** Time after which a tile without pictures plays its sound all the same, in milliseconds. */
const PICTURE_MS_MAX = 1000;
/**
 * Least distance of two pictures' timestamps outside the burst with which a parent begins, in milliseconds: 1 ms there,
 * 16 at 60 pictures a second.
 */
const STEP_MS_MIN = 15;
/** Time after a parent's first picture within which its burst is over, in milliseconds. A guess. */
const BURST_MS_MAX = 100;

/** A picture to show. */
export interface Tile {
  /** Id of the speaker; null for the program. */
  speaker: string | null;
  picture: MediaStreamTrack | null;
  sound: MediaStreamTrack | null;
}

/** All pictures. Put `element` into the page. */
export class Screen {
  readonly element = document.createElement("div");
  #tiles: TileView[] = [];
  #isMuted = true;
  #loudspeaker = "";
  #pinned: string | null = null;
  /** Says under the program who mixes it, where mixers have no pixels. */
  readonly #mixedBy = document.createElement("p");

  constructor() {
    this.element.style.cssText =
      "position:relative;display:flex;flex-wrap:wrap;box-sizing:border-box;width:100%;height:100%;background:#000;overflow:hidden";
    this.#mixedBy.dataset["part"] = "mixed-by";
    this.#mixedBy.dir = "ltr";
    // the end of a long text may say that a guest mixes: it wraps upwards, and nothing of it is cut
    this.#mixedBy.style.cssText =
      "position:absolute;left:0;bottom:0;z-index:1;box-sizing:border-box;max-width:70%;margin:0;padding:2px 8px;" +
      "overflow-wrap:anywhere;font:600 12px/20px system-ui,sans-serif;color:#c9d1d9;background:#000";
  }

  /** Says who mixes the program, while it is shown; "" says nothing. */
  mixedBy(text: string): void {
    this.#mixedBy.textContent = text;
    this.#label();
  }

  #label(): void {
    const isProgram = this.#tiles.some(({ speaker }) => speaker === null) && this.#mixedBy.textContent !== "";
    this.element.style.paddingBottom = isProgram ? "24px" : "";
    if (!isProgram) this.#mixedBy.remove();
    else if (this.#mixedBy.parentElement !== this.element) this.element.append(this.#mixedBy);
  }

  /** Shows these pictures, each as soon as it is there. */
  show(tiles: readonly Tile[]): void {
    const before = this.#tiles;
    this.#tiles = tiles.map((tile) => {
      const known = before.find((view) => view.speaker === tile.speaker);
      const view = known ?? new TileView(tile.speaker, this.#isMuted, () => this.#clean(before));
      view.show(tile, this.#loudspeaker);
      return view;
    });
    for (const { element } of this.#tiles) if (!element.isConnected) this.element.append(element);
    this.#arrange();
    // without another picture the last one stays
    if (this.#tiles.every((view) => view.hasPicture)) this.#clean(before);
  }

  /** Shows one speaker of a mesh alone, while there is a tile of it; the others are still heard. */
  pin(speaker: string | null): void {
    this.#pinned = speaker;
    this.#arrange();
  }

  #arrange(): void {
    const pinned = this.#tiles.filter(({ speaker }) => speaker !== null && speaker === this.#pinned);
    const seen = pinned.length > 0 ? pinned : this.#tiles;
    const columns = Math.ceil(Math.sqrt(Math.max(1, seen.length)));
    const rows = Math.max(1, Math.ceil(seen.length / columns));
    for (const view of this.#tiles) {
      const { style } = view.element;
      style.flex = `0 0 ${100 / columns}%`;
      style.height = `${100 / rows}%`;
      style.display = seen.includes(view) ? "" : "none";
    }
    this.#label();
  }

  /** Removes the tiles that are shown no more. */
  #clean(tiles: readonly TileView[]): void {
    if (this.#tiles.length === 0) return;
    for (const view of tiles) if (!this.#tiles.includes(view)) view.element.remove();
  }

  /** Removes the tiles of all other speakers: the last one leaves nobody who would be shown in its place. */
  keep(speakers: ReadonlySet<string>): void {
    const before = this.#tiles;
    this.#tiles = before.filter(({ speaker }) => speaker === null || speakers.has(speaker));
    for (const view of before) if (!this.#tiles.includes(view)) view.element.remove();
    this.#arrange();
  }

  /** Writes the speakers' names on their tiles in a mesh; mixers write them into the program. */
  name(names: ReadonlyMap<string, string>): void {
    for (const view of this.#tiles) view.name(names.get(view.speaker ?? "") ?? "");
  }

  /** Nothing more is shown. */
  clear(): void {
    this.element.replaceChildren();
    this.#tiles = [];
  }

  /** Plays the sound on another loudspeaker, from now on. */
  setLoudspeaker(id: string): void {
    this.#loudspeaker = id;
    for (const video of this.element.querySelectorAll("video")) playOn(video, id);
  }

  /** Turns the sound on; browsers refuse it until the user has clicked something. */
  async unmute(): Promise<void> {
    this.#isMuted = false;
    await Promise.all(this.#tiles.map((view) => view.unmute()));
  }
}

/** The picture of one speaker, or the program. */
class TileView {
  readonly element = document.createElement("div");
  readonly #name = document.createElement("span");
  #shown: HTMLVideoElement | null = null;
  #coming: HTMLVideoElement | null = null;
  #sound: MediaStreamTrack | null = null;
  #loudspeaker = "";
  /** Whether the element that is shown plays the sound of the one that waits for its first picture. */
  #isHeardAlone = false;

  constructor(
    readonly speaker: string | null,
    private isMuted: boolean,
    private readonly onPicture: () => void,
  ) {
    this.element.style.cssText = "position:relative;min-width:0;height:100%";
    if (speaker) this.element.dataset["speaker"] = speaker;
    this.#name.style.cssText =
      "position:absolute;left:8px;bottom:8px;max-width:calc(100% - 32px);padding:2px 8px;border-radius:4px;overflow:hidden;" +
      "text-overflow:ellipsis;white-space:nowrap;font:600 14px/1.4 system-ui,sans-serif;color:#fff;background:rgb(0 0 0/.6)";
  }

  name(name: string): void {
    this.#name.textContent = name;
    if (name) this.element.append(this.#name);
    else this.#name.remove();
  }

  get hasPicture(): boolean {
    return this.#shown !== null;
  }

  show({ picture, sound }: Tile, loudspeaker: string): void {
    this.#sound = sound;
    this.#loudspeaker = loudspeaker;
    const newest = this.#coming ?? this.#shown;
    if (newest && streamOf(newest).getVideoTracks()[0] === (picture ?? undefined)) {
      // only the sound changes: a speaker hears its mix-minus
      setSound(newest, sound);
      if (this.#shown && this.#isHeardAlone) setSound(this.#shown, sound);
      return;
    }
    this.#coming?.remove();
    const video = this.#make([picture, sound]);
    this.#coming = video;
    this.#isHeardAlone = false;
    if (!picture) {
      this.#swap(video);
      return;
    }
    const begins = this.#shown ? behindBurst : atFirstPicture;
    begins(video, () => this.#swap(video));
    setTimeout(() => this.#hear(video), PICTURE_MS_MAX);
  }

  /** An element that plays these tracks, muted until it is shown. */
  #make(tracks: (MediaStreamTrack | null)[]): HTMLVideoElement {
    const video = document.createElement("video");
    video.dataset["part"] = this.speaker ? "speaker" : "program";
    video.autoplay = video.playsInline = true;
    video.muted = true;
    video.style.cssText = "position:absolute;inset:0;width:100%;height:100%;object-fit:contain";
    video.srcObject = new MediaStream(tracks.filter((track) => track !== null));
    if (this.#loudspeaker) playOn(video, this.#loudspeaker);
    this.element.prepend(video);
    video.play().catch(() => {});
    return video;
  }

  /** Plays the sound of an element that still waits for its first picture: browsers play none of it until then. */
  #hear(video: HTMLVideoElement): void {
    if (video !== this.#coming) return;
    this.#isHeardAlone = true;
    if (this.#shown) {
      setSound(this.#shown, this.#sound);
      return;
    }
    this.#shown = this.#make([this.#sound]);
    this.#shown.muted = this.isMuted;
    this.onPicture();
  }

  #swap(video: HTMLVideoElement): void {
    if (video !== this.#coming) return;
    const before = this.#shown;
    this.#shown = video;
    this.#coming = null;
    this.#isHeardAlone = false;
    video.muted = this.isMuted;
    before?.remove();
    this.onPicture();
  }

  async unmute(): Promise<void> {
    this.isMuted = false;
    if (!this.#shown) return;
    this.#shown.muted = false;
    await this.#shown.play();
  }
}

/** A loudspeaker that is gone leaves the sound where it is. */
function playOn(video: HTMLVideoElement, loudspeaker: string): void {
  if ("setSinkId" in video) video.setSinkId(loudspeaker).catch(() => {});
}

function streamOf(video: HTMLVideoElement): MediaStream {
  return video.srcObject instanceof MediaStream ? video.srcObject : new MediaStream();
}

function setSound(video: HTMLVideoElement, sound: MediaStreamTrack | null): void {
  const stream = streamOf(video);
  for (const track of stream.getAudioTracks()) if (track !== sound) stream.removeTrack(track);
  if (sound) stream.addTrack(sound);
}

function atFirstPicture(video: HTMLVideoElement, then: (picture?: VideoFrameCallbackMetadata) => void): void {
  // missing in Firefox before 132
  if ("requestVideoFrameCallback" in video) video.requestVideoFrameCallback((_, picture) => then(picture));
  else (video as HTMLVideoElement).addEventListener("loadeddata", () => then(), { once: true });
}

/**
 * Calls back at the first picture behind the burst with which another parent begins. The burst repeats the pictures
 * since the last keyframe; it was seen in 2 of 19 hand-overs, for one look of 50 ms.
 */
function behindBurst(video: HTMLVideoElement, then: () => void): void {
  const follow = (last: number) =>
    video.requestVideoFrameCallback((_, { rtpTimestamp = last }) => {
      const stepMs = ((rtpTimestamp - last) | 0) / 90;
      if (stepMs >= STEP_MS_MIN) then();
      else follow(rtpTimestamp);
    });
  atFirstPicture(video, (first) => {
    if (first?.rtpTimestamp === undefined) return then();
    follow(first.rtpTimestamp);
    setTimeout(then, BURST_MS_MAX);
  });
}
