// How many peers this page feeds at most, as its tab, its line and its battery change.

import { decodesPictures } from "./devices.js";

/** Peers that a page feeds at most. Each takes 5 to 9 % of a core, and the whole program on the line up. */
const CHILDREN_MAX = 3;
/**
 * Time for which a hidden tab still feeds its children, in milliseconds: a glance at another tab moves nobody. A guess.
 */
const HIDDEN_MS = 10_000;

/** What browsers say of a line, as far as they do. */
interface Line extends Partial<EventTarget> {
  saveData?: boolean;
  type?: string;
}

/** What browsers say of a battery, as far as they do. */
interface Battery extends EventTarget {
  charging: boolean;
}

interface Browser {
  connection?: Line;
  getBattery?: () => Promise<Battery>;
}

/**
 * Number of peers that this page feeds at most: none where the browser can't relay, in a hidden tab, on a metered line,
 * or on battery.
 */
export class RelayLimit {
  /** The present number. */
  children: number;
  readonly #browser: Browser = navigator as Browser;
  readonly #canRelay = "MediaStreamTrackGenerator" in globalThis && decodesPictures();
  readonly #tell: (children: number) => void;
  #battery: Battery | null = null;
  #isHidden = document.hidden;
  #hides: ReturnType<typeof setTimeout> | undefined;
  #isClosed = false;

  /** @param tell hears of each later number. */
  constructor(tell: (children: number) => void) {
    this.#tell = tell;
    this.children = this.#now();
    document.addEventListener("visibilitychange", this.#turn);
    this.#browser.connection?.addEventListener?.("change", this.#renew);
    void this.#browser.getBattery?.().then(this.#watch, () => {});
  }

  /** Tells nothing more. */
  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#hides);
    document.removeEventListener("visibilitychange", this.#turn);
    this.#browser.connection?.removeEventListener?.("change", this.#renew);
    this.#battery?.removeEventListener("chargingchange", this.#renew);
  }

  #now(): number {
    const line = this.#browser.connection;
    const isMetered = line?.saveData === true || line?.type === "cellular";
    const isOnBattery = this.#battery?.charging === false;
    return this.#canRelay && !this.#isHidden && !isMetered && !isOnBattery ? CHILDREN_MAX : 0;
  }

  readonly #renew = () => {
    const before = this.children;
    this.children = this.#now();
    if (this.children !== before) this.#tell(this.children);
  };

  readonly #turn = () => {
    clearTimeout(this.#hides);
    const turn = () => {
      this.#isHidden = document.hidden;
      this.#renew();
    };
    if (document.hidden) this.#hides = setTimeout(turn, HIDDEN_MS);
    else turn();
  };

  readonly #watch = (battery: Battery) => {
    if (this.#isClosed) return;
    this.#battery = battery;
    battery.addEventListener("chargingchange", this.#renew);
    this.#renew();
  };
}
