// Playout delay: picture and sound of one tile wait equally long, and long enough for what is lost to be sent again.
// Chromium's own lip sync needs the sender's clocks, which a browser that relays doesn't pass on, and on a busy machine
// it plays pictures up to 150 ms after their sound.

/** Interval of the comparison, in milliseconds. */
const COMPARED_MS = 1000;
/** Difference that is left alone, in milliseconds: half a picture at 60 a second. A guess. */
const APART_MS_MIN = 8;
/**
 * Least delay of both on a line with losses, in milliseconds: what is lost comes after 1.5 round trips and more. Sound
 * by itself is held 50 ms, so that at 60 ms of round trip each lost packet was concealed.
 */
const LOSSY_MS = 250;
/**
 * Number of comparisons that a line is judged by. With losses at half of them it is a lossy one, and without any it is
 * so no more: at a change of the delay the picture follows before the sound. Guesses: at 1 % loss nearly all of them
 * have some.
 */
const JUDGED = 10;
const LOSSY_MIN = 5;
/** Largest delay of a buffer, in milliseconds: past it nobody can converse. A guess. */
const DELAY_MS_MAX = 1000;

/** Receivers of what one tile plays. */
export interface Playing {
  picture: RTCRtpReceiver;
  sound: RTCRtpReceiver;
}

/** How much longer than they must the browser's jitter buffers hold what arrives, in milliseconds. */
export interface Delays {
  picture: number;
  sound: number;
}

/**
 * What a jitter buffer counts: time that all it gave out was held, in seconds, its number, and requests for lost
 * packets.
 */
interface Counted {
  seconds: number;
  emitted: number;
  lost: number;
}

/** What is known of one tile's buffers. */
export class Tile {
  delays: Delays = { picture: 0, sound: 0 };
  /** Whether packets were lost at each of the last comparisons. */
  readonly #losses: boolean[] = [];
  #isLossy = false;

  /** Least delay of both on such a line. */
  leastMs(isLost: boolean): number {
    this.#losses.push(isLost);
    if (this.#losses.length > JUDGED) this.#losses.shift();
    const lost = this.#losses.filter(Boolean).length;
    this.#isLossy = lost >= (this.#isLossy ? 1 : LOSSY_MIN);
    return this.#isLossy ? LOSSY_MS : 0;
  }
}

export class InStep {
  #playing: readonly Playing[] = [];
  #timer: ReturnType<typeof setInterval> | undefined;
  readonly #counted = new WeakMap<RTCRtpReceiver, Counted>();
  /** By the receiver of the picture. */
  readonly #tiles = new WeakMap<RTCRtpReceiver, Tile>();

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
      Promise.all([this.#count(picture), this.#count(sound)]).then(
        ([ofPicture, ofSound]) => {
          if (!ofPicture || !ofSound) return;
          const tile = this.#tiles.get(picture) ?? new Tile();
          this.#tiles.set(picture, tile);
          tile.delays = nextDelays(tile.delays, ofSound.heldMs - ofPicture.heldMs);
          const leastMs = tile.leastMs(ofPicture.isLost || ofSound.isLost);
          picture.jitterBufferTarget = leastMs + tile.delays.picture;
          sound.jitterBufferTarget = leastMs + tile.delays.sound;
        },
        () => {},
      );
    }
  }

  /**
   * How long the jitter buffer has held what it gave out since the last call, in milliseconds, and whether packets were
   * lost; null without anything.
   */
  async #count(receiver: RTCRtpReceiver): Promise<{ heldMs: number; isLost: boolean } | null> {
    const report: RTCStatsReport = await receiver.getStats();
    const [stats] = [...report.values()].filter(({ type }) => type === "inbound-rtp");
    const { jitterBufferDelay: seconds = 0, jitterBufferEmittedCount: emitted = 0, nackCount: lost = 0 } = stats ?? {};
    const before = this.#counted.get(receiver);
    this.#counted.set(receiver, { seconds, emitted, lost });
    if (!before || emitted <= before.emitted) return null;
    return { heldMs: (1000 * (seconds - before.seconds)) / (emitted - before.emitted), isLost: lost > before.lost };
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
