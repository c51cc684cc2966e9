// An encoder of this page's own stream, for one link: each frame leaves with the identity that the peer gives it.

import { nowUs } from "./module.js";
import type { OwnMedia } from "./wire.js";

/** Time from capture to here for the quickest frame, in microseconds: a picture's encoding; a sound of 20 ms, and the
 * browser's buffer. Guesses. */
const DELAY_US = { video: 15_000, audio: 30_000 };
/** RTP clock rates. */
const HZ = { video: 90_000, audio: 48_000 };
/** Minimum interval of keyframe requests to the encoder, in milliseconds. */
const KEY_MS = 500;
/** Rate at which a device's clock may run faster than the machine's: 200 ppm. */
const DRIFT = 200e-6;
/**
 * Lag behind its RTP time from which a frame begins the clock anew, in microseconds: the timestamps of sound stand
 * still while there is no track, or the machine sleeps. A guess: longer than any encoder takes.
 */
const LAG_US_MAX = 1_000_000;

// not in TypeScript's library: Firefox's and Safari's alone
interface KeyMaker {
  generateKeyFrame?(): Promise<number>;
}

type EncodedFrame = RTCEncodedVideoFrame | RTCEncodedAudioFrame;

export class OwnSender {
  readonly #clock: CaptureClock;
  #keyAt = -Infinity;

  constructor(
    private readonly transformer: RTCRtpScriptTransformer & KeyMaker,
    kind: "video" | "audio",
    /** Returns a frame's bytes with its identity; null for a frame that isn't to be sent. */
    identified: (capturedUs: number, media: OwnMedia, data: Uint8Array) => Uint8Array<ArrayBuffer> | null,
    /** Makes the next picture a keyframe, where the transform can't. */
    private readonly onKeyWanted: () => void,
  ) {
    this.#clock = new CaptureClock(HZ[kind], DELAY_US[kind]);
    const mark = new TransformStream<EncodedFrame, EncodedFrame>({
      transform: (frame, controller) => {
        const media = mediaOf(frame);
        const capturedUs = this.#clock.captured(frame.getMetadata().rtpTimestamp ?? frame.timestamp, nowUs());
        const data = identified(capturedUs, media, new Uint8Array(frame.data));
        if (data) {
          frame.data = data.buffer;
          controller.enqueue(frame);
        } else if (media.is === "picture" && !media.key) {
          this.wantKey();
        }
      },
    });
    const frames = transformer.readable as ReadableStream<EncodedFrame>;
    frames
      .pipeThrough(mark)
      .pipeTo(transformer.writable as WritableStream<EncodedFrame>)
      .catch(() => {});
  }

  /** Asks the encoder for a keyframe, unless it has just been asked. */
  wantKey(): void {
    if (performance.now() - this.#keyAt < KEY_MS) return;
    this.#keyAt = performance.now();
    if (this.transformer.generateKeyFrame) this.transformer.generateKeyFrame().catch(() => {});
    else this.onKeyWanted();
  }
}

/** Capture times by RTP timestamps: these run evenly, while frames come from the encoder when it is done. */
export class CaptureClock {
  #last: number | null = null;
  #elapsedUs = 0;
  /** The smallest difference between arrival and RTP time lately. */
  #offsetUs = Infinity;

  constructor(
    private readonly hz: number,
    private readonly delayUs: number,
  ) {}

  /** When a frame was captured that arrives now, in microseconds since 1970. */
  captured(rtpTimestamp: number, nowUs: number): number {
    const steps = this.#last === null ? 0 : (rtpTimestamp - this.#last) | 0;
    this.#last = rtpTimestamp;
    const passedUs = (1e6 * steps) / this.hz;
    this.#elapsedUs += passedUs;
    const offsetUs = nowUs - this.#elapsedUs;
    const isAnew = offsetUs - this.#offsetUs > LAG_US_MAX;
    this.#offsetUs = isAnew ? offsetUs : Math.min(this.#offsetUs + Math.abs(passedUs) * DRIFT, offsetUs);
    return Math.round(this.#elapsedUs + this.#offsetUs - this.delayUs);
  }
}

function mediaOf(frame: EncodedFrame): OwnMedia {
  if ("type" in frame) return { is: "picture", key: frame.type === "key" };
  return { is: "sound", level: toDbov((frame.getMetadata() as { audioLevel?: number }).audioLevel) };
}

/** RFC 6464 level, 0 (loudest) to 127, of a level between 0 and 1. */
export function toDbov(level: number | undefined): number | null {
  if (level === undefined) return null;
  return level <= 0 ? 127 : Math.min(127, Math.max(0, Math.round(-20 * Math.log10(level))));
}
