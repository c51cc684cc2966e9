// A room that this page is in, for applications.

import type { Aside, Command, Layout, MixPolicy } from "./app.js";
import { type Encoder, LimitWatch, type Rates } from "./counters.js";
import { encodesPictures } from "./devices.js";
import { Identity } from "./identity.js";
import { InStep } from "./in-step.js";
import { isOwn, Link } from "./link.js";
import type { RoomEvent, Snapshot, ToWindow, ToWorker } from "./messages.js";
import { watchNetwork } from "./network.js";
import { type Reason, Refused } from "./refused.js";
import { RelayLimit } from "./relay-limit.js";
import { Screen } from "./screen.js";
import type { Entered, PictureFormat, Place, Shown } from "./wire.js";

export type {
  Command,
  ConnectionState,
  End,
  Event,
  Layout,
  Listed,
  Member,
  MixPolicy,
  Mode,
  Named,
  Newcomer,
} from "./app.js";
export type { Labelled, RoomEvent, Snapshot } from "./messages.js";
export { type Reason, Refused } from "./refused.js";

/** Interval at which the encoder of the own pictures is judged, in milliseconds. */
const JUDGED_MS = 1000;
/** Time for the last messages, in milliseconds. */
const PARTING_MS = 200;

/** What stands beside an event that names nobody. */
const ALONE: Aside = { labels: {}, others: 0 };

interface PeerOptions {
  /** Name shown under the picture. */
  name?: string;
  /** Password of the room, if it has one. */
  password?: string;
  /** Whether to join as a speaker; by default the peer only watches. */
  speaks?: boolean;
  /** Words before the names of those who mix, at the picture's edge; by default "Mixed by". */
  mixedBy?: string;
  /** Hears of every event from the first one on. */
  onEvent?: (event: RoomEvent) => void;
  /** URL of the folder with `worker.js` and `plenary.wasm`; by default where this script lies. */
  assets?: string | URL;
  /** Ends the attempt. */
  signal?: AbortSignal;
}

export interface JoinOptions extends PeerOptions {
  /** The link that the host gave. */
  invite: string;
}

export interface HostOptions extends PeerOptions {
  /** Address of the rendezvous; by default that which served the page. */
  rendezvous?: string;
  /** Address of the page that the invite leads to, where it is served elsewhere; by default the rendezvous's own. */
  page?: string;
  /** Title of the room. */
  title?: string;
  /** Whether each newcomer waits until the host lets it in. */
  lobby?: boolean;
  /** Whether every peer that asks may speak, as by default. */
  stageOpen?: boolean;
  /**
   * Which of the peers that consent may mix; by default anyone on an open stage, and on a closed one those that the
   * host names.
   */
  mixing?: MixPolicy;
  /** {@link Room.keys} of a room that was opened before, to go on with it. */
  keys?: Uint8Array;
}

/**
 * Joins a room. The promise is fulfilled once the host has admitted this peer.
 *
 * @throws {Refused} whose `reason` says why not.
 */
export function join(options: JoinOptions): Promise<Room> {
  return enter(options, { invite: options.invite });
}

/**
 * Opens a room as its host. Its invite is {@link Room.invite}. The room goes on with another host when this one leaves.
 *
 * @throws {Refused} whose `reason` says why not.
 */
export function host(options: HostOptions = {}): Promise<Room> {
  const {
    rendezvous = location.origin,
    page = null,
    title = "",
    lobby = false,
    stageOpen = true,
    mixing,
    keys = new Uint8Array(),
  } = options;
  const mixByNamed = mixing ? mixing === "named" : null;
  return enter(options, { hosting: { rendezvous, page, title, lobby, stageOpen, mixByNamed, keys } });
}

/**
 * Starts a worker. Browsers refuse one whose script is of another origin than the page: there the page's own script
 * imports it.
 */
function startWorker(script: URL): Worker {
  if (script.origin === location.origin) return new Worker(script, { type: "module" });
  const own = URL.createObjectURL(new Blob([`import ${JSON.stringify(script.href)};`], { type: "text/javascript" }));
  const worker = new Worker(own, { type: "module" });
  URL.revokeObjectURL(own);
  return worker;
}

async function enter(options: PeerOptions, entered: Entered): Promise<Room> {
  const certificate = await RTCPeerConnection.generateCertificate({
    name: "ECDSA",
    namedCurve: "P-256",
  } as EcKeyGenParams);
  const assets = new URL(options.assets ?? ".", options.assets ? location.href : import.meta.url);
  const room = new Room(certificate, startWorker(new URL("worker.js", assets)));
  const { onEvent } = options;
  if (onEvent) room.addEventListener("room", (event) => onEvent((event as CustomEvent<RoomEvent>).detail));
  const { signal } = options;
  const abort = () => {
    room.leave();
    // the last messages need a moment
    setTimeout(() => room.close(), PARTING_MS);
  };
  try {
    signal?.throwIfAborted();
    signal?.addEventListener("abort", abort);
    await room.open(options, entered, new URL("plenary.wasm", assets));
  } catch (error) {
    room.close();
    throw error;
  } finally {
    signal?.removeEventListener("abort", abort);
  }
  return room;
}

/** What a peer publishes. */
export interface Publication {
  picture?: MediaStreamTrack;
  sound?: MediaStreamTrack;
  /** Whether it is a screen or a film, which is shown large. */
  shares?: boolean;
}

/** Picture, sound. */
type Tracks = [MediaStreamTrack | null, MediaStreamTrack | null];

/** A room, from joining to its end. Events are `CustomEvent`s named "room", with a {@link RoomEvent} as detail. */
export class Room extends EventTarget {
  readonly #links = new Map<number, Link>();
  readonly #screen = new Screen();
  readonly #inStep = new InStep();
  /** Tracks of this peer's own stream: picture, sound. */
  #own: Tracks = [null, null];
  /** The tracks that these are clones of. */
  #sources: Tracks = [null, null];
  /** Links that its own stream is sent on. */
  #ownLinks: number[] = [];
  #format: PictureFormat | null = null;
  /** Whether speakers are shown, those of a mesh or a pinned one, and not the program. */
  #showsSpeakers = false;
  #stun: string | null = null;
  #turn: RTCIceServer | null = null;
  #invite: string | null = null;
  #mixedBy = "Mixed by";
  #keys: Uint8Array | null = null;
  /** What says on a link that this peer goes. */
  #farewell: Uint8Array<ArrayBuffer> | null = null;
  #snapshots: ((snapshot: Snapshot) => void)[] = [];
  readonly #limit = new RelayLimit((children) => this.command({ "set-children-max": children }));
  #identity: Identity | null = null;
  readonly #limits = new LimitWatch();
  #judges: ReturnType<typeof setInterval> | undefined;
  readonly #endNetwork = watchNetwork(() => this.#tell({ to: "network-changed" }));
  #settle: { resolve: () => void; reject: (error: Error) => void } | null = null;

  /** @internal */
  constructor(
    private readonly certificate: RTCCertificate,
    private readonly worker: Worker,
  ) {
    super();
    worker.onmessage = ({ data }: MessageEvent<ToWindow>) => this.#handle(data);
    // a worker that can't be loaded has no message
    worker.onerror = ({ message }) => this.#fail("not-loaded", message);
    addEventListener("pagehide", this.#hidden);
  }

  /**
   * A page that is closed says so: its children find another parent at once, and a host's heir takes over. The worker
   * may not be heard any more, so each link is told here first.
   */
  readonly #hidden = () => {
    if (this.#farewell) for (const link of this.#links.values()) link.tell(this.#farewell);
    this.leave();
  };

  /** @internal */
  async open(options: PeerOptions, room: Entered, module: URL): Promise<void> {
    this.#identity = await Identity.take();
    if ("invite" in room) this.#invite = room.invite;
    const opened = new Promise<void>((resolve, reject) => {
      this.#settle = { resolve, reject };
    });
    const { name = "", password = null, speaks = false, mixedBy } = options;
    this.#mixedBy = mixedBy ?? this.#mixedBy;
    const entropy = crypto.getRandomValues(new Uint8Array(32));
    // equal words are equal bytes, however a keyboard composes its letters (RFC 8265)
    const composed = { name: name.normalize("NFC"), password: password?.normalize("NFC") ?? null };
    const opening = {
      room,
      ...composed,
      speaks,
      views: true,
      childrenMax: this.#limit.children,
      identity: this.#identity.secret,
      entropy,
    };
    this.#tell({ to: "join", module: module.href, opening });
    this.#judges = setInterval(() => this.#judge(), JUDGED_MS);
    return opened;
  }

  /** The program's picture: an element to put into the page. */
  get picture(): HTMLElement {
    return this.#screen.element;
  }

  /** Turns the program's sound on; to be called at a click. */
  unmute(): Promise<void> {
    return this.#screen.unmute();
  }

  /**
   * Plays the program on another loudspeaker: its id, "" for the system's default. Without effect where browsers lack
   * that.
   */
  setLoudspeaker(id: string): void {
    this.#screen.setLoudspeaker(id);
  }

  /**
   * The link to this room: the one by which this peer has come, or at the page that has opened the room, the newest.
   */
  get invite(): string | null {
    return this.#invite;
  }

  /** At the page that has opened the room: its keys, for {@link HostOptions.keys} after the page was loaded anew. */
  get keys(): Uint8Array | null {
    return this.#keys;
  }

  /** What this peer knows of its room. */
  snapshot(): Promise<Snapshot> {
    return new Promise((resolve) => {
      this.#snapshots.push(resolve);
      this.#tell({ to: "snapshot" });
    });
  }

  /**
   * Sends a picture, a sound or both to the others, in place of what was sent before. The tracks stay the caller's. A
   * browser that can't encode H.264 sends no picture.
   */
  async publish({ picture: given, sound, shares = false }: Publication): Promise<void> {
    const picture = encodesPictures() ? given : undefined;
    // clones have a size of their own; a track that goes on keeps its clone, so that there is no gap
    const clone = (track: MediaStreamTrack | undefined, at: 0 | 1) =>
      track && this.#sources[at] === track ? this.#own[at] : (track?.clone() ?? null);
    const own: Tracks = [clone(picture, 0), clone(sound, 1)];
    for (const track of this.#own) if (track && !own.includes(track)) track.stop();
    this.#own = own;
    this.#sources = [picture ?? null, sound ?? null];
    this.#tell({ to: "sources", picture: picture !== undefined, sound: sound !== undefined, shares });
    await this.#formatOwn();
    await this.#sendOwn();
  }

  /** Sends nothing more. */
  unpublish(): Promise<void> {
    return this.publish({});
  }

  /** Asks for the floor, or gives it up. */
  speak(speaks: boolean): void {
    this.command({ speak: speaks });
  }

  /** Mutes the own picture or sound, or unmutes it. */
  mute(kind: "picture" | "sound", muted: boolean): void {
    const track = this.#own[kind === "picture" ? 0 : 1];
    if (track) track.enabled = !muted;
    this.command(kind === "picture" ? { "mute-picture": muted } : { "mute-sound": muted });
  }

  /** Tells the room a short text; from the stage only. */
  tell(text: string): void {
    this.command({ tell: ["reliable", Array.from(new TextEncoder().encode(text))] });
  }

  /**
   * Asks for the bit rates of the peers on the program's way to this one. The answer is in the snapshot (`rates_above`)
   * for ten seconds: the first names the peer above, and each further one a peer more, up to the mixer.
   */
  askRates(): void {
    this.command("ask-rates");
  }

  /** Shows one speaker in place of the program, or of a mesh; null shows the whole room again. */
  pin(peer: string | null): void {
    this.#screen.pin(peer);
    this.command({ solo: peer === null ? null : { speaker: peer, instead: true } });
  }

  // what the host alone may do; a snapshot shows the effect

  /** Lets a peer in from the lobby. */
  admit(peer: string): void {
    this.command({ admit: peer });
  }

  /** Turns a peer in the lobby away. */
  deny(peer: string): void {
    this.command({ deny: peer });
  }

  /** Lets newcomers wait in the lobby, or come in at once. */
  setLobby(on: boolean): void {
    this.command({ lobby: on });
  }

  /** Admits nobody new, or admits newcomers again. */
  lock(on: boolean): void {
    this.command({ lock: on });
  }

  /** Opens the stage to every peer that asks, or closes it: then each that asks is an event "floor-wanted". */
  openStage(on: boolean): void {
    this.command({ "open-stage": on });
  }

  /**
   * Sets which of the peers that consent may mix. The host names peers by letting them speak, or letting in one that
   * offers to mix.
   */
  setMixing(policy: MixPolicy): void {
    this.command({ "set-mixing": policy });
  }

  /** Removes the peers that are on stage only because they consent to mix, and that the host didn't name. */
  removeUnnamed(): void {
    this.command("remove-unnamed");
  }

  /** Lets a peer speak. */
  promote(peer: string): void {
    this.command({ promote: peer });
  }

  /** Takes the floor from a peer, or denies it. */
  demote(peer: string): void {
    this.command({ demote: peer });
  }

  /** Removes a peer from the room. */
  remove(peer: string): void {
    this.command({ remove: peer });
  }

  /** Asks a speaker to send no picture or no sound. */
  askToMute(peer: string, { picture = false, sound = false }: { picture?: boolean; sound?: boolean }): void {
    this.command({ "ask-to-mute": [peer, { picture, sound }] });
  }

  /** Asks all other speakers to send no picture or no sound. */
  muteAll({ picture = false, sound = false }: { picture?: boolean; sound?: boolean }): void {
    this.command({ "mute-all": { picture, sound } });
  }

  /** Sets the layout of the program. */
  setLayout(layout: Layout): void {
    this.command({ "set-layout": layout });
  }

  /** Sets the number of mixers; 0 adapts it to the need. */
  setMixers(mixers: number): void {
    this.command({ "set-mixers": mixers });
  }

  /** Makes another peer on stage the host. */
  handOver(peer: string): void {
    this.command({ "hand-over": peer });
  }

  /** Makes the page that has opened the room its host again. */
  takeBack(): void {
    this.command("take-back");
  }

  /** Replaces the invite: an event "invite" has the new one, and the old one admits nobody any more. */
  renewInvite(): void {
    this.command("renew-invite");
  }

  /** Ends the room for everybody. */
  end(): void {
    this.command("end");
  }

  /** Leaves politely. */
  leave(): void {
    this.command("leave");
  }

  /** Ends everything at once. */
  close(): void {
    removeEventListener("pagehide", this.#hidden);
    this.#endNetwork();
    this.#limit.close();
    clearInterval(this.#judges);
    for (const link of this.#links.values()) link.close();
    this.#links.clear();
    for (const track of this.#own) track?.stop();
    this.#screen.clear();
    this.#inStep.follow([]);
    this.worker.terminate();
    this.#identity?.release();
    this.#settle?.reject(new DOMException("the room was closed", "AbortError"));
  }

  #handle(message: ToWindow): void {
    switch (message.to) {
      case "rendezvous":
        this.#stun = message.stun;
        this.#turn = null;
        break;
      case "turn":
        this.#turn = message.server;
        break;
      case "offer":
        this.#open(message.link, (link) => link.offer());
        break;
      case "answer":
        this.#open(message.link, (link) => link.answer(message.sdp));
        break;
      case "accept":
        this.#during(message.link, (link) => link.accept(message.sdp));
        break;
      case "restart":
        this.#during(message.link, (link) => link.restart(message.offer));
        break;
      case "paths":
        this.#during(message.link, (link) => link.addPaths(message.candidates));
        break;
      case "close":
        this.#links.get(message.link)?.close();
        this.#links.delete(message.link);
        break;
      case "send":
        this.#links.get(message.link)?.send(message.channel, message.bytes);
        break;
      case "feed":
        this.#links.get(message.link)?.feed();
        break;
      case "show": {
        const receiver = ({ link, slot }: Place) => this.#links.get(link)?.receiver(slot) ?? null;
        const track = (place: Place) => receiver(place)?.track ?? null;
        const tile = ({ speaker, picture, sound }: Shown) => ({
          speaker,
          picture: track(picture),
          sound: track(sound),
        });
        // while there is no parent, or its link has just ended, the last picture stays
        const isLinked = ({ picture, sound }: Shown) => this.#links.has(picture.link) || this.#links.has(sound.link);
        const linked = message.shown.filter(isLinked);
        if (linked.length > 0) {
          this.#screen.show(linked.map(tile));
          this.#showsSpeakers = linked.some(({ speaker }) => speaker !== null);
        }
        this.#inStep.follow(
          linked.flatMap((one) => {
            const [picture, sound] = [receiver(one.picture), receiver(one.sound)];
            return picture && sound && !isOwn(one.picture.slot) ? { picture, sound } : [];
          }),
        );
        if (this.#showsSpeakers) void this.#nameTiles();
        break;
      }
      case "send-own":
        this.#ownLinks = message.links;
        void this.#sendOwn();
        break;
      case "own-keyframe":
        this.#links.get(message.link)?.wantOwnKey();
        break;
      case "picture":
        this.#format = message.format;
        void this.#formatOwn();
        break;
      case "snapshot":
        this.#snapshots.shift()?.({ ...message.snapshot, ...this.#rates(), encoder: this.#encoder() });
        break;
      case "farewell":
        this.#farewell = message.bytes;
        break;
      case "keys":
        this.#keys = message.keys;
        this.dispatchEvent(new Event("keys"));
        break;
      case "event":
        this.#event(message.event);
        break;
      case "failed":
        this.#fail(message.reason, message.why);
        break;
    }
  }

  /** Sends the own stream on its links, and on no other. */
  async #sendOwn(): Promise<void> {
    for (const [id, link] of this.#links) {
      const isTarget = this.#ownLinks.includes(id);
      await link.sendOwn(isTarget ? this.#own : [null, null]).catch((error) => console.warn(`link ${id}:`, error));
      if (isTarget) this.#formatLink(link);
    }
  }

  /** Makes the own pictures in the requested format. */
  async #formatOwn(): Promise<void> {
    const [picture] = this.#own;
    if (!picture || !this.#format) return;
    const { width, height, fps } = this.#format;
    // a camera can be cropped and scaled to the very size; other tracks are scaled by the encoder
    await picture.applyConstraints({ width, height, frameRate: { max: fps } }).catch(() => {});
    for (const id of this.#ownLinks) {
      const link = this.#links.get(id);
      if (link) this.#formatLink(link);
    }
  }

  #formatLink(link: Link): void {
    const height = this.#own[0]?.getSettings().height;
    if (this.#format && height !== undefined) link.formatOwn(this.#format, height);
  }

  /**
   * Gives the room a command, as each of the methods above does. An event "trouble" says if it is refused.
   *
   * @throws {TypeError} for what is no JSON.
   */
  command(command: Command): void {
    this.#tell({ to: "command", json: JSON.stringify(command) });
  }

  /** Gives the command that a person has typed as a line: `/mute Ada`, as on a terminal. */
  line(line: string): void {
    this.#tell({ to: "line", line });
  }

  #open(id: number, describe: (link: Link) => Promise<void>): void {
    const options = { certificate: this.certificate, stun: this.#stun, turn: this.#turn };
    this.#links.set(id, new Link(id, options, this.worker, () => this.#links.delete(id)));
    this.#during(id, describe);
  }

  /** Does something with a link that ends if it fails. */
  #during(id: number, act: (link: Link) => Promise<void>): void {
    const link = this.#links.get(id);
    if (!link) return;
    act(link).catch((error) => {
      console.warn(`link ${id}:`, error);
      link.close();
      this.#links.delete(id);
      this.#tell({ to: "link-down", link: id });
    });
  }

  /** The encoder of the own pictures that is worst off; there is one for each link that they are sent on. */
  #encoder(): Encoder | null {
    const encoders = [...this.#links.values()].flatMap(({ counters }) => counters.encoder ?? []);
    return encoders.find(({ limit }) => limit !== null) ?? encoders[0] ?? null;
  }

  #rates(): Rates {
    const sum = { received_bps: 0, sent_bps: 0 };
    for (const { counters } of this.#links.values()) {
      sum.received_bps += counters.rates.received_bps;
      sum.sent_bps += counters.rates.sent_bps;
    }
    return sum;
  }

  #judge(): void {
    const limit = this.#limits.observe(this.#encoder()?.limit ?? null);
    if (limit)
      this.#event({ what: "trouble", reason: `limited-${limit}`, why: `the encoder is limited by ${limit}`, ...ALONE });
  }

  async #nameTiles(): Promise<void> {
    const { stage } = await this.snapshot();
    this.#screen.keep(new Set(stage.filter(({ speaks }) => speaks).map(({ peer }) => peer)));
    this.#screen.name(new Map(stage.map(({ peer, label }) => [peer, label])));
  }

  #event(event: RoomEvent): void {
    if (event.what === "stage" && this.#showsSpeakers) void this.#nameTiles();
    if (event.what === "mixed-by") this.#screen.mixedBy(event.text ? `${this.#mixedBy} ${event.text}` : "");
    if (event.what === "admitted") {
      this.#settle?.resolve();
      // it may have changed while the worker loaded the module, and heard nothing
      this.command({ "set-children-max": this.#limit.children });
    }
    // the last messages need a moment
    if (event.what === "closed") setTimeout(() => this.close(), PARTING_MS);
    if (event.what === "invite") this.#invite = event.invite;
    if (event.what === "refused") this.#settle?.reject(new Refused(event.reason, event.why));
    this.dispatchEvent(new CustomEvent<RoomEvent>("room", { detail: event }));
  }

  #fail(reason: Reason, why: string): void {
    this.#settle?.reject(new Refused(reason, why));
    this.dispatchEvent(new CustomEvent<RoomEvent>("room", { detail: { what: "refused", reason, why, ...ALONE } }));
  }

  #tell(message: ToWorker): void {
    this.worker.postMessage(message);
  }
}
