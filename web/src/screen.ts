// What is shown: the program, or the speakers of a mesh. Another parent's picture gets an element of its own that is swapped in
// at its first picture, so that a change freezes the picture no longer than the parent is silent.

/** Time after which a tile without pictures plays its sound all the same, in milliseconds. */
const PICTURE_MS_MAX = 1000;

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

  constructor() {
    this.element.style.cssText =
      "position:relative;display:flex;flex-wrap:wrap;width:100%;height:100%;background:#000;overflow:hidden";
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
    const columns = Math.ceil(Math.sqrt(Math.max(1, tiles.length)));
    const rows = Math.ceil(tiles.length / columns);
    for (const view of this.#tiles) {
      view.element.style.flex = `0 0 ${100 / columns}%`;
      view.element.style.height = `${100 / Math.max(1, rows)}%`;
      if (!view.element.isConnected) this.element.append(view.element);
    }
    // without another picture the last one stays
    if (this.#tiles.every((view) => view.hasPicture)) this.#clean(before);
  }

  /** Removes the tiles that are shown no more. */
  #clean(tiles: readonly TileView[]): void {
    if (this.#tiles.length === 0) return;
    for (const view of tiles) if (!this.#tiles.includes(view)) view.element.remove();
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
  #shown: HTMLVideoElement | null = null;
  #coming: HTMLVideoElement | null = null;

  constructor(
    readonly speaker: string | null,
    private isMuted: boolean,
    private readonly onPicture: () => void,
  ) {
    this.element.style.cssText = "position:relative;min-width:0;height:100%";
    if (speaker) this.element.dataset["speaker"] = speaker;
  }

  get hasPicture(): boolean {
    return this.#shown !== null;
  }

  show({ picture, sound }: Tile, loudspeaker: string): void {
    const newest = this.#coming ?? this.#shown;
    const stream = newest?.srcObject;
    if (stream instanceof MediaStream && stream.getVideoTracks()[0] === (picture ?? undefined)) {
      // only the sound changes: a speaker hears its mix-minus
      for (const track of stream.getAudioTracks()) if (track !== sound) stream.removeTrack(track);
      if (sound) stream.addTrack(sound);
      return;
    }
    this.#coming?.remove();
    const video = document.createElement("video");
    video.dataset["part"] = this.speaker ? "speaker" : "program";
    video.autoplay = video.playsInline = true;
    video.muted = true; // until it is shown; then as the application wants
    video.style.cssText = "position:absolute;inset:0;width:100%;height:100%;object-fit:contain";
    video.srcObject = new MediaStream([picture, sound].filter((track) => track !== null));
    if (loudspeaker) playOn(video, loudspeaker);
    this.#coming = video;
    this.element.prepend(video);
    video.requestVideoFrameCallback(() => this.#swap(video));
    if (!this.#shown) setTimeout(() => this.#swap(video), PICTURE_MS_MAX);
    video.play().catch(() => {});
  }

  #swap(video: HTMLVideoElement): void {
    if (video !== this.#coming) return;
    const before = this.#shown;
    this.#shown = video;
    this.#coming = null;
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
