// The program in a small window of its own, on the whole screen, and a screen that stays awake.

import type { Room } from "../room.js";

// not in TypeScript's library: Chromium's alone
interface SmallWindows {
  requestWindow(options: { width: number; height: number }): Promise<Window>;
  readonly window: Window | null;
}
declare global {
  interface Window {
    documentPictureInPicture?: SmallWindows;
  }
  interface HTMLVideoElement {
    /** Safari on iPhones has this alone. */
    webkitEnterFullscreen?: () => void;
  }
}

const SMALL = { width: 480, height: 270 };

export const canBeSmall = () => "documentPictureInPicture" in globalThis || document.pictureInPictureEnabled;
export const isFull = () => document.fullscreenElement !== null;

/** Shows the program in a window above all others. */
export async function smallWindow({ picture }: Room): Promise<void> {
  try {
    if (!window.documentPictureInPicture) {
      await picture.querySelector("video")?.requestPictureInPicture();
      return;
    }
    // the whole element moves, since its videos change with the parent
    const place = picture.parentElement;
    const small = await window.documentPictureInPicture.requestWindow(SMALL);
    small.document.body.style.margin = "0";
    small.document.body.style.blockSize = "100vh";
    small.document.body.append(picture);
    play(picture);
    small.addEventListener("pagehide", () => {
      // another element of the page may have taken it out
      if (picture.ownerDocument !== small.document) return;
      place?.prepend(picture);
      play(picture);
    });
  } catch (error) {
    console.warn("no small window:", error);
  }
}

export function closeSmallWindow(): void {
  window.documentPictureInPicture?.window?.close();
}

/** Videos stop when they are moved. */
export function play(picture: HTMLElement): void {
  for (const video of picture.querySelectorAll("video")) video.play().catch(() => {});
}

export async function fullScreen(root: HTMLElement): Promise<void> {
  try {
    if (document.fullscreenElement) return await document.exitFullscreen();
    if (root.requestFullscreen) return await root.requestFullscreen();
    root.shadowRoot?.querySelector<HTMLVideoElement>("video[data-part]")?.webkitEnterFullscreen?.();
  } catch (error) {
    console.warn("no full screen:", error);
  }
}

/** Keeps the screen awake while wanted and the page is shown. */
export class Awake {
  #lock: WakeLockSentinel | null = null;
  #isWanted = false;

  constructor() {
    // browsers let go when the page is hidden
    document.addEventListener("visibilitychange", () => void this.#renew());
  }

  want(isWanted: boolean): void {
    if (isWanted === this.#isWanted) return;
    this.#isWanted = isWanted;
    void this.#renew();
  }

  async #renew(): Promise<void> {
    if (!this.#isWanted) {
      void this.#lock?.release();
      this.#lock = null;
    } else if (document.visibilityState === "visible" && (this.#lock?.released ?? true)) {
      // a low battery may refuse it
      this.#lock = (await navigator.wakeLock?.request("screen").catch(() => null)) ?? null;
    }
  }
}
