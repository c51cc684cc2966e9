// One slot that this page sends in. Frames that were made elsewhere leave through a sender of the browser: a dummy
// picture or sound is encoded for each, and its encoded bytes are replaced. The browser packetizes, encrypts and
// repairs.

/**
 * Frames that wait for their dummies, at most; past it all are dropped up to the next keyframe. A guess: 3 s of
 * pictures.
 */
const WAITING_MAX = 90;
/** Time after which a dummy counts as lost, in milliseconds: encoders drop pictures when they are busy. A guess. */
const DUMMY_MS = 25;
/** Side of a dummy picture: the smallest that H.264 encoders take. */
const DUMMY_SIDE = 16;
/** Samples of a dummy sound, 20 ms at 48 kHz. */
const DUMMY_SAMPLES = 960;

const GREY = new Uint8Array((DUMMY_SIDE * DUMMY_SIDE * 3) / 2).fill(128);
// not silence, for which an encoder with DTX makes no packets
const TONE = Float32Array.from({ length: DUMMY_SAMPLES }, (_, at) => 0.05 * Math.sin(at / 5));

type Dummies =
  | { kind: "video"; writer: WritableStreamDefaultWriter<VideoFrame> }
  | { kind: "audio"; writer: WritableStreamDefaultWriter<AudioData> };

type EncodedFrame = RTCEncodedVideoFrame | RTCEncodedAudioFrame;

export class Outlet {
  #waiting: Uint8Array<ArrayBuffer>[] = [];
  #dummies: Dummies | null = null;
  #dummyUs = 0;
  /** Runs while frames wait, since the last dummy. */
  #timer: ReturnType<typeof setTimeout> | undefined;
  #isBroken = false;
  #sent = 0;

  constructor(
    readonly kind: "video" | "audio",
    /** Called when the other end requests a keyframe. */
    private readonly onKeyframeWanted: () => void,
  ) {}

  /** Takes the stream of dummies of this slot's track. */
  begin(pictures: WritableStream<VideoFrame> | null, sound: WritableStream<AudioData> | null): void {
    if (pictures) this.#dummies = { kind: "video", writer: pictures.getWriter() };
    if (sound) this.#dummies = { kind: "audio", writer: sound.getWriter() };
    if (this.#waiting.length > 0) this.#kick(0);
  }

  /** Sends a frame. */
  push(data: Uint8Array<ArrayBuffer>, atUs: number): void {
    if (this.#isBroken && !(this.kind === "audio" || isKey(data))) return;
    this.#isBroken = false;
    if (this.#waiting.length >= WAITING_MAX) {
      this.#waiting = [];
      this.#isBroken = this.kind === "video" && !isKey(data);
      if (this.#isBroken) return;
    }
    this.#waiting.push(data);
    this.#kick(atUs);
  }

  /** Drops the frames that wait, and ends the stream of dummies. */
  end(): void {
    this.#waiting = [];
    clearTimeout(this.#timer);
    this.#dummies?.writer.close().catch(() => {});
    this.#dummies = null;
  }

  /** Replaces the encoded dummies. */
  transform(transformer: RTCRtpScriptTransformer): void {
    const replace = new TransformStream<EncodedFrame, EncodedFrame>({
      transform: (frame, controller) => {
        // an encoder makes a key dummy at its start, and then on request
        const isKeyDummy = "type" in frame && frame.type === "key";
        if (isKeyDummy && this.#sent > 0) this.onKeyframeWanted();
        const data = this.#waiting.shift();
        if (!data) return;
        frame.data = data.buffer;
        this.#sent += 1;
        controller.enqueue(frame);
        if (this.#waiting.length > 0) this.#kick(0);
        else clearTimeout(this.#timer);
      },
    });
    const frames = transformer.readable as ReadableStream<EncodedFrame>;
    frames
      .pipeThrough(replace)
      .pipeTo(transformer.writable as WritableStream<EncodedFrame>)
      .catch(() => {});
  }

  /** Makes a dummy, and another one where it is lost. */
  #kick(atUs: number): void {
    const dummies = this.#dummies;
    if (!dummies) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#waiting.length > 0 && this.#kick(0), DUMMY_MS);
    const stepUs = this.kind === "video" ? 1_000 : 20_000;
    this.#dummyUs = Math.max(this.#dummyUs + stepUs, this.kind === "video" ? atUs : 0);
    const timestamp = this.#dummyUs;
    if (dummies.kind === "video") {
      const size = { codedWidth: DUMMY_SIDE, codedHeight: DUMMY_SIDE };
      dummies.writer.write(new VideoFrame(GREY, { format: "I420", ...size, timestamp })).catch(() => {});
    } else {
      const shape = { numberOfFrames: DUMMY_SAMPLES, numberOfChannels: 1 };
      const sound = new AudioData({ format: "f32", sampleRate: 48_000, ...shape, timestamp, data: TONE });
      dummies.writer.write(sound).catch(() => {});
    }
  }
}

/** Whether an access unit is a keyframe: these begin with a sequence parameter set. */
function isKey(accessUnit: Uint8Array): boolean {
  const at = accessUnit[2] === 1 ? 3 : 4;
  return ((accessUnit[at] ?? 0) & 0x1f) === 7;
}
