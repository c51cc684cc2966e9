// The peer's clock: microseconds since 1970 that never go back.

/**
 * Lag behind the wall clock, in milliseconds, from which the machine has slept: smaller ones are corrections of the
 * wall clock.
 */
const SLEPT_MS_MIN = 1000;

export class Clock {
  #sleptMs = 0;

  constructor(
    /** Milliseconds since 1970 by a clock that runs evenly. */
    private readonly steadyMs = () => performance.timeOrigin + performance.now(),
    private readonly wallMs = () => Date.now(),
  ) {}

  /**
   * Microseconds since 1970. The clock runs evenly, and jumps ahead after the machine has slept: `performance.now()`
   * stands still meanwhile in browsers on Linux and macOS, and other peers refuse what a clock five minutes late has
   * sealed.
   */
  nowUs(): number {
    const awakeMs = this.steadyMs() + this.#sleptMs;
    const behindMs = this.wallMs() - awakeMs;
    if (behindMs < SLEPT_MS_MIN) return Math.round(1000 * awakeMs);
    this.#sleptMs += behindMs;
    return Math.round(1000 * (awakeMs + behindMs));
  }
}
