// Where the program is shown: one video element per parent. Another parent's element is swapped in at its first picture,
// so that a change freezes the picture no longer than the parent is silent.

/** The program's picture. Put `element` into the page. */
export class Screen {
  readonly element = document.createElement("div");
  #shown: HTMLVideoElement | null = null;
  #coming: HTMLVideoElement | null = null;

  constructor() {
    this.element.style.cssText = "position:relative;width:100%;height:100%;background:#000";
  }

  /** Shows these tracks as soon as they have a picture. */
  show(tracks: MediaStreamTrack[]): void {
    this.#coming?.remove();
    const video = document.createElement("video");
    video.dataset.part = "program";
    video.autoplay = video.playsInline = true;
    video.muted = true; // until the peer below has a picture; then as the application wants
    video.style.cssText = "position:absolute;inset:0;width:100%;height:100%;object-fit:contain";
    video.srcObject = new MediaStream(tracks);
    this.#coming = video;
    this.element.prepend(video);
    video.requestVideoFrameCallback(() => this.#swap(video));
    video.play().catch(() => {});
  }

  #swap(video: HTMLVideoElement): void {
    if (video !== this.#coming) return;
    const before = this.#shown;
    this.#shown = video;
    this.#coming = null;
    video.muted = before?.muted ?? true;
    before?.remove();
  }

  /** Nothing more is shown. */
  clear(): void {
    this.#coming?.remove();
    this.#shown?.remove();
    this.#coming = this.#shown = null;
  }

  /** Turns the sound on; browsers refuse it until the user has clicked something. */
  async unmute(): Promise<void> {
    if (!this.#shown) return;
    this.#shown.muted = false;
    await this.#shown.play();
  }
}
