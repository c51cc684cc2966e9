// One link: a connection with six transceivers, the slots, and three data channels, negotiated once.

import type { Leg, ToWorker } from "./messages.js";

// not in TypeScript's library: Chromium's alone
declare class MediaStreamTrackGenerator<T> extends MediaStreamTrack {
  constructor(options: { kind: "video" | "audio" });
  readonly writable: WritableStream<T>;
}

const SLOTS = 6;
/** Control; heartbeats, which may be lost; bulk data. Their order is their id. */
const CHANNELS: readonly RTCDataChannelInit[] = [{}, { ordered: false, maxRetransmits: 0 }, {}];
/** Time that gathering may take, in milliseconds: a description names all candidates. A guess. */
const GATHERING_MS_MAX = 3000;

/** Even slots carry pictures, odd ones sound. */
const kindOf = (slot: number) => (slot % 2 === 0 ? "video" : "audio");

function isSpoken({ mimeType, sdpFmtpLine }: RTCRtpCodec): boolean {
  if (mimeType.toLowerCase() === "audio/opus") return true;
  const h264 = /packetization-mode=1/.test(sdpFmtpLine ?? "") && /profile-level-id=42e01f/i.test(sdpFmtpLine ?? "");
  return mimeType.toLowerCase() === "video/h264" && h264;
}

export class Link {
  readonly #connection: RTCPeerConnection;
  readonly #channels: RTCDataChannel[];
  #isUp = false;

  constructor(
    readonly id: number,
    certificate: RTCCertificate,
    private readonly worker: Worker,
  ) {
    this.#connection = new RTCPeerConnection({ certificates: [certificate], bundlePolicy: "max-bundle" });
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
    for (let slot = 0; slot < SLOTS; slot++) {
      this.#prepare(this.#connection.addTransceiver(kindOf(slot), { direction: "sendrecv" }), slot);
    }
    await this.#describe();
  }

  /** Describes this end as the one that answers. */
  async answer(sdp: string): Promise<void> {
    await this.#connection.setRemoteDescription({ type: "offer", sdp });
    this.#connection.getTransceivers().forEach((transceiver, slot) => {
      transceiver.direction = "sendrecv";
      this.#prepare(transceiver, slot);
    });
    await this.#describe();
  }

  async accept(sdp: string): Promise<void> {
    await this.#connection.setRemoteDescription({ type: "answer", sdp });
  }

  send(channel: number, bytes: Uint8Array<ArrayBuffer>): void {
    const to = this.#channels[channel];
    if (to?.readyState === "open") to.send(bytes);
  }

  /** Gives the program's slots dummy tracks, and sends what is written into them. */
  feed(): void {
    const [pictures, sound] = this.#connection.getTransceivers();
    if (!pictures || !sound || typeof MediaStreamTrackGenerator === "undefined") return;
    const video = new MediaStreamTrackGenerator<VideoFrame>({ kind: "video" });
    const audio = new MediaStreamTrackGenerator<AudioData>({ kind: "audio" });
    const leg = (slot: number): Leg => ({ link: this.id, slot, side: "send" });
    pictures.sender.transform = new RTCRtpScriptTransform(this.worker, leg(0));
    sound.sender.transform = new RTCRtpScriptTransform(this.worker, leg(1));
    const attached = [pictures.sender.replaceTrack(video), sound.sender.replaceTrack(audio)];
    Promise.all(attached).then(
      () => {
        const streams = { pictures: video.writable, sound: audio.writable };
        this.#tell({ to: "dummies", link: this.id, ...streams }, [video.writable, audio.writable]);
      },
      () => this.#ended(),
    );
  }

  /** Tracks of two slots: pictures and sound. */
  tracks(slots: readonly number[]): MediaStreamTrack[] {
    const transceivers = this.#connection.getTransceivers();
    return slots.flatMap((slot) => transceivers[slot]?.receiver.track ?? []);
  }

  close(): void {
    this.#connection.onconnectionstatechange = null;
    for (const channel of this.#channels) channel.onmessage = channel.onopen = channel.onclose = null;
    this.#connection.close();
  }

  #prepare(transceiver: RTCRtpTransceiver, slot: number): void {
    const codecs = RTCRtpReceiver.getCapabilities(kindOf(slot))?.codecs.filter(isSpoken) ?? [];
    // a browser without H.264 offers what it has; the description then says that it takes no picture
    if (codecs.length > 0) transceiver.setCodecPreferences(codecs);
    const leg: Leg = { link: this.id, slot, side: "receive" };
    transceiver.receiver.transform = new RTCRtpScriptTransform(this.worker, leg);
  }

  async #describe(): Promise<void> {
    await this.#connection.setLocalDescription();
    await this.#gathered();
    const sdp = this.#connection.localDescription?.sdp;
    if (sdp) this.#tell({ to: "described", link: this.id, sdp });
  }

  #gathered(): Promise<void> {
    const connection = this.#connection;
    return new Promise((resolve) => {
      const isOver = () => connection.iceGatheringState === "complete" && resolve();
      connection.onicegatheringstatechange = isOver;
      setTimeout(resolve, GATHERING_MS_MAX);
      isOver();
    });
  }

  #changed(): void {
    const state = this.#connection.connectionState;
    if (state === "failed" || state === "closed") {
      this.#ended();
    } else if (!this.#isUp && state === "connected" && this.#channels[0]?.readyState === "open") {
      this.#isUp = true;
      this.#tell({ to: "link-up", link: this.id });
    }
  }

  #ended(): void {
    this.close();
    this.#tell({ to: "link-down", link: this.id });
  }

  #tell(message: ToWorker, transfer: Transferable[] = []): void {
    this.worker.postMessage(message, transfer);
  }
}
