// Lip sync: picture and sound of one tile wait equally long. Chromium's own lip sync needs the sender's clocks, which a browser that
// relays doesn't pass on, and on a busy machine it plays pictures up to 150 ms after their sound.

/** Interval of the comparison, in milliseconds. */
const COMPARED_MS = 1000;
/** Difference that is left alone, in milliseconds: half a picture at 60 a second. A guess. */
const APART_MS_MIN = 8;
/** Largest delay of a buffer, in milliseconds: past it nobody can converse. A guess. */
const DELAY_MS_MAX = 1000;

/** Receivers of what one tile plays. */
export interface Playing {
  picture: RTCRtpReceiver;
  sound: RTCRtpReceiver;
}

/** Least time that the browser's jitter buffers hold what arrives, in milliseconds. */
export interface Delays {
  picture: number;
  sound: number;
}

/** Time that all packets were held, in seconds, and their number. */
interface Held {
  seconds: number;
  emitted: number;
}

export class InStep {
  #playing: readonly Playing[] = [];
  #timer: ReturnType<typeof setInterval> | undefined;
  readonly #held = new WeakMap<RTCRtpReceiver, Held>();

  /** Keeps these in step from now on. */
  follow(playing: readonly Playing[]): void {
    this.#playing = playing;
    if (playing.length > 0) {
      // a change of what plays doesn't put the comparison off
      this.#timer ??= setInterval(() => this.#compare(), COMPARED_MS);
    } else {
      clearInterval(this.#timer);
      this.#timer = undefined;
    }
  }

  #compare(): void {
    for (const { picture, sound } of this.#playing) {
      Promise.all([this.#heldMs(picture), this.#heldMs(sound)]).then(([pictureMs, soundMs]) => {
        if (pictureMs === null || soundMs === null) return;
        const before = { picture: picture.jitterBufferTarget ?? 0, sound: sound.jitterBufferTarget ?? 0 };
        const delays = nextDelays(before, soundMs - pictureMs);
        picture.jitterBufferTarget = delays.picture;
        sound.jitterBufferTarget = delays.sound;
      }, () => {});
    }
  }

  /** How long the jitter buffer has held what it gave out since the last call, in milliseconds; null without anything. */
  async #heldMs(receiver: RTCRtpReceiver): Promise<number | null> {
    const report: RTCStatsReport = await receiver.getStats();
    const [stats] = [...report.values()].filter(({ type }) => type === "inbound-rtp");
    const held = { seconds: stats?.jitterBufferDelay ?? 0, emitted: stats?.jitterBufferEmittedCount ?? 0 };
    const before = this.#held.get(receiver);
    this.#held.set(receiver, held);
    const emitted = held.emitted - (before?.emitted ?? 0);
    return before && emitted > 0 ? (1000 * (held.seconds - before.seconds)) / emitted : null;
  }
}

/** Halves the difference: what plays too late waits less, if it was made to wait, else the other one waits longer. */
export function nextDelays({ picture, sound }: Delays, soundLaterMs: number): Delays {
  if (Math.abs(soundLaterMs) < APART_MS_MIN) return { picture, sound };
  const halfMs = Math.abs(soundLaterMs) / 2;
  const change = (late: number, early: number): [number, number] => {
    const lessMs = Math.min(late, halfMs);
    return [late - lessMs, Math.min(DELAY_MS_MAX, early + halfMs - lessMs)];
  };
  if (soundLaterMs > 0) [sound, picture] = change(sound, picture);
  else [picture, sound] = change(picture, sound);
  return { picture, sound };
}
