// One link: a connection with six transceivers, the slots, and three data channels, negotiated once.

import { formatsOf, kindOf, SLOTS } from "./codecs.js";
import { Counters } from "./counters.js";
import type { Leg, ToWorker } from "./messages.js";
import type { PictureFormat } from "./wire.js";

// not in TypeScript's library: Chromium's alone
declare class MediaStreamTrackGenerator<T> extends MediaStreamTrack {
  constructor(options: { kind: "video" | "audio" });
  readonly writable: WritableStream<T>;
}

// the second argument is not in TypeScript's library
interface OptionsSender {
  getParameters(): RTCRtpSendParameters;
  setParameters(
    parameters: RTCRtpSendParameters,
    options: { encodingOptions: { keyFrame?: boolean }[] },
  ): Promise<void>;
}

/** Slots of a peer's own stream: pictures, sound. */
const OWN_SLOTS = [2, 3] as const;

/** Whether a slot carries the other peer's own stream, which the browser plays in step by itself. */
export const isOwn = (slot: number) => OWN_SLOTS.some((own) => own === slot);

/** What a page sends in each slot. */
const SENDS: readonly Leg["side"][] = ["relay", "relay", "own", "own"];
/** Control; heartbeats, which may be lost; bulk data. Their order is their id. */
const CHANNELS: readonly RTCDataChannelInit[] = [{}, { ordered: false, maxRetransmits: 0 }, {}];
/**
 * Time that gathering may take, in milliseconds: a description names what is found by then. Without an answer of the
 * rendezvous' STUN it ends this long after the last candidate. Guesses.
 */
const GATHERING_MS_MAX = 3000;
const GATHERING_REST_MS = 300;

/** Interval of the counters, in milliseconds. */
const STATS_MS = 1000;

export interface LinkOptions {
  certificate: RTCCertificate;
  /** URL of a STUN server, which tells this end its address. */
  stun: string | null;
  /** A TURN server, over which the link goes where there is no other way. */
  turn: RTCIceServer | null;
}

export class Link {
  readonly #connection: RTCPeerConnection;
  readonly #channels: RTCDataChannel[];
  #isUp = false;
  /** Whether its description waits for all candidates, or for an outer address: a relay takes some round trips. */
  readonly #waitsForAll: boolean;
  /** Number of descriptions so far. */
  #descriptions = 0;
  #parameters = Promise.resolve();
  #timer: ReturnType<typeof setInterval> | undefined;
  /** What the browser counts of it, renewed once a second. */
  readonly counters = new Counters();

  constructor(
    readonly id: number,
    { certificate, stun, turn }: LinkOptions,
    private readonly worker: Worker,
    /** Hears that the link has ended by itself. */
    private readonly onEnded: () => void,
  ) {
    const iceServers = [...(stun ? [{ urls: stun }] : []), ...(turn ? [turn] : [])];
    this.#waitsForAll = !turn;
    this.#connection = new RTCPeerConnection({ certificates: [certificate], bundlePolicy: "max-bundle", iceServers });
    this.#connection.onconnectionstatechange = () => this.#changed();
    this.#channels = CHANNELS.map((options, id) => {
      const channel = this.#connection.createDataChannel(`${id}`, { ...options, negotiated: true, id });
      channel.binaryType = "arraybuffer";
      channel.onmessage = ({ data }) => {
        if (!(data instanceof ArrayBuffer)) return;
        this.#tell({ to: "received", link: this.id, channel: id, bytes: data }, [data]);
      };
      return channel;
    });
    const [control] = this.#channels;
    if (control) {
      control.onopen = () => this.#changed();
      control.onclose = () => this.#ended();
    }
  }

  /** Describes this end as the one that offers. */
  async offer(): Promise<void> {
    for (let slot = 0; slot < SLOTS; slot++) this.#prepare(this.#connection.addTransceiver(kindOf(slot)), slot);
    await this.#describe();
  }

  /** Describes this end as the one that answers. */
  async answer(sdp: string): Promise<void> {
    await this.#connection.setRemoteDescription({ type: "offer", sdp });
    this.#connection.getTransceivers().forEach((transceiver, slot) => this.#prepare(transceiver, slot));
    await this.#describe();
  }

  async accept(sdp: string): Promise<void> {
    await this.#connection.setRemoteDescription({ type: "answer", sdp });
  }

  /** Restarts ICE, while the connection goes on: describes this end as the one that asks, or for the other's offer. */
  async restart(offer: string | null): Promise<void> {
    if (offer !== null) {
      // an offer of this end that is under way is withdrawn
      await this.#connection.setRemoteDescription({ type: "offer", sdp: offer });
    } else {
      this.#connection.restartIce();
    }
    await this.#describe(() => this.#foundOne());
  }

  /** Checks further candidates of the other end; one that the browser refuses is left out. */
  async addPaths(candidates: readonly string[]): Promise<void> {
    const add = (candidate: string) => this.#connection.addIceCandidate({ candidate, sdpMLineIndex: 0 });
    await Promise.allSettled(candidates.map(add));
  }

  send(channel: number, bytes: Uint8Array<ArrayBuffer>): void {
    const to = this.#channels[channel];
    if (to?.readyState === "open") to.send(bytes);
  }

  /** Sends on the control channel. */
  tell(bytes: Uint8Array<ArrayBuffer>): void {
    this.send(0, bytes);
  }

  /** Gives the program's slots dummy tracks, and sends what is written into them. */
  feed(): void {
    const [pictures, sound] = this.#connection.getTransceivers();
    if (!pictures || !sound || typeof MediaStreamTrackGenerator === "undefined") return;
    const video = new MediaStreamTrackGenerator<VideoFrame>({ kind: "video" });
    const audio = new MediaStreamTrackGenerator<AudioData>({ kind: "audio" });
    const attached = [pictures.sender.replaceTrack(video), sound.sender.replaceTrack(audio)];
    Promise.all(attached).then(
      () => {
        const streams = { pictures: video.writable, sound: audio.writable };
        this.#tell({ to: "dummies", link: this.id, ...streams }, [video.writable, audio.writable]);
      },
      () => this.#ended(),
    );
  }

  /** Sends these tracks as this peer's own stream; null for none. */
  async sendOwn(tracks: readonly [MediaStreamTrack | null, MediaStreamTrack | null]): Promise<void> {
    for (const [at, slot] of OWN_SLOTS.entries()) {
      const sender = this.#connection.getTransceivers()[slot]?.sender;
      const track = tracks[at] ?? null;
      if (!sender || sender.track === track) continue;
      await sender.replaceTrack(track);
    }
  }

  /** Makes the pictures of this peer's own stream in this format, from a track of that height. */
  formatOwn({ height, fps, bitrateBps }: PictureFormat, trackHeight: number): void {
    this.#setOwn((encoding) => {
      encoding.maxBitrate = bitrateBps;
      encoding.maxFramerate = fps;
      encoding.scaleResolutionDownBy = Math.max(1, trackHeight / height);
    });
  }

  /** Makes the next picture of this peer's own stream a keyframe. */
  wantOwnKey(): void {
    this.#setOwn(() => {}, { keyFrame: true });
  }

  /**
   * Changes the encoder of this peer's own pictures: one change after the other, since parameters are read and then
   * set.
   */
  #setOwn(change: (encoding: RTCRtpEncodingParameters) => void, options: { keyFrame?: boolean } = {}): void {
    const set = async () => {
      const sender = this.#connection.getTransceivers()[OWN_SLOTS[0]]?.sender as OptionsSender | undefined;
      const parameters = sender?.getParameters();
      const [encoding] = parameters?.encodings ?? [];
      if (!sender || !parameters || !encoding) return;
      change(encoding);
      await sender.setParameters(parameters, { encodingOptions: [options] });
    };
    this.#parameters = this.#parameters.then(set).catch((error) => console.warn(`link ${this.id}:`, error));
  }

  /** The receiver of a slot; null where one end has no codec for it. */
  receiver(slot: number): RTCRtpReceiver | null {
    const transceiver = this.#connection.getTransceivers()[slot];
    return transceiver && transceiver.currentDirection !== "inactive" ? transceiver.receiver : null;
  }

  close(): void {
    clearInterval(this.#timer);
    this.#connection.onconnectionstatechange = this.#connection.onicecandidate = null;
    for (const channel of this.#channels) channel.onmessage = channel.onopen = channel.onclose = null;
    this.#connection.close();
  }

  #prepare(transceiver: RTCRtpTransceiver, slot: number): void {
    const formats = formatsOf(kindOf(slot));
    // a browser without H.264 offers what it has: the first section stays, for the transport of all, and carries
    // nothing
    transceiver.direction = formats.length > 0 ? "sendrecv" : "inactive";
    if (formats.length > 0) transceiver.setCodecPreferences(formats);
    const transform = (side: Leg["side"]) =>
      new RTCRtpScriptTransform(this.worker, { link: this.id, slot, side } satisfies Leg);
    transceiver.receiver.transform = transform("receive");
    // Chromium sends past a transform that a sender gets only with its first track
    const side = SENDS[slot];
    if (side) transceiver.sender.transform = transform(side);
  }

  async #describe(gathered = () => this.#gathered()): Promise<void> {
    const number = ++this.#descriptions;
    await this.#connection.setLocalDescription();
    await gathered();
    // another restart has begun
    if (number !== this.#descriptions) return;
    const sdp = this.#connection.localDescription?.sdp;
    if (sdp) this.#tell({ to: "described", link: this.id, sdp });
    // the core leaves out what the description has
    this.#connection.onicecandidate = ({ candidate }) => {
      if (candidate) this.#tell({ to: "found", link: this.id, candidates: [candidate.candidate] });
    };
  }

  #gathered(): Promise<void> {
    const connection = this.#connection;
    return new Promise((resolve) => {
      const isOver = () => connection.iceGatheringState === "complete" && resolve();
      let rest: ReturnType<typeof setTimeout> | undefined;
      connection.onicegatheringstatechange = isOver;
      connection.onicecandidate = ({ candidate }) => {
        if (candidate?.type === "relay") return;
        if (candidate?.type === "srflx" && !this.#waitsForAll) resolve();
        clearTimeout(rest);
        rest = setTimeout(resolve, GATHERING_REST_MS);
      };
      setTimeout(resolve, GATHERING_MS_MAX);
      isOver();
    });
  }

  /** A restart begins with the first candidate of this end, which may have none for a while; others follow. */
  #foundOne(): Promise<void> {
    return new Promise((resolve) => {
      this.#connection.onicecandidate = ({ candidate }) => candidate?.protocol === "udp" && resolve();
      setTimeout(resolve, GATHERING_MS_MAX);
    });
  }

  async #count(): Promise<void> {
    const report: RTCStatsReport = await this.#connection.getStats();
    const section = this.#connection.getTransceivers()[OWN_SLOTS[0]]?.mid ?? null;
    this.#tell({ to: "stats", link: this.id, counts: this.counters.count(report, section, performance.now()) });
  }

  #changed(): void {
    const state = this.#connection.connectionState;
    if (state === "failed" || state === "closed") {
      this.#ended();
    } else if (!this.#isUp && state === "connected" && this.#channels[0]?.readyState === "open") {
      this.#isUp = true;
      this.#timer = setInterval(() => this.#count(), STATS_MS);
      // by which way the link goes is known from the first counters on
      void this.#count();
      this.#tell({ to: "link-up", link: this.id });
    }
  }

  #ended(): void {
    this.close();
    this.onEnded();
    this.#tell({ to: "link-down", link: this.id });
  }

  #tell(message: ToWorker, transfer: Transferable[] = []): void {
    this.worker.postMessage(message, transfer);
  }
}
