// Keys of the room. They rest while a field has the focus, and while a dialog is open.

import type { Session } from "./session.js";
import { fullScreen } from "./windows.js";

/** Whether the user types there. */
const isField = (target: EventTarget | undefined) =>
  target instanceof HTMLElement && (target.isContentEditable || target.matches("input, textarea, select"));
/** Whether the space bar does something there. */
const isPressable = (target: EventTarget | undefined) =>
  target instanceof HTMLElement && target.matches("button, summary, a");

export class Keys {
  /** Whether the space bar is held to talk. */
  #isTalking = false;

  constructor(
    private readonly sessionOf: () => Session,
    private readonly root: HTMLElement,
  ) {}

  private get session(): Session {
    return this.sessionOf();
  }

  readonly down = (event: KeyboardEvent): void => {
    const { session } = this;
    const target = event.composedPath()[0];
    const isHere = document.activeElement === document.body || event.composedPath().includes(this.root);
    if (session.at !== "room" || !isHere || event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented)
      return;
    if (session.dialog) return;
    if (event.key === "Escape" && session.panel) return session.togglePanel(session.panel);
    if (isField(target)) return;
    if (event.key === " " && !isPressable(target)) return this.#talk(event);
    if (event.repeat) return;
    const act = this.#actOf(event.key.toLowerCase());
    if (!act) return;
    event.preventDefault();
    act();
  };

  readonly up = (event: KeyboardEvent): void => {
    if (event.key === " ") this.stopTalking();
  };

  /** Mutes again; also when the window loses the keyboard with the key held. */
  readonly stopTalking = (): void => {
    if (!this.#isTalking) return;
    this.#isTalking = false;
    void this.session.setSound(false);
  };

  #talk(event: KeyboardEvent): void {
    const { session } = this;
    if (!session.isOnStage) return;
    event.preventDefault();
    if (event.repeat || this.#isTalking || session.capture.isSoundOn) return;
    this.#isTalking = true;
    void session.setSound(true);
  }

  #actOf(key: string): (() => void) | null {
    const { session } = this;
    const { capture, isOnStage } = session;
    switch (key) {
      case "m":
        return isOnStage ? () => void session.setSound(!capture.isSoundOn) : null;
      case "v":
        return isOnStage ? () => void session.setPicture(capture.picture === null) : null;
      case "s":
        return isOnStage ? () => void session.toggleShare() : null;
      case "h":
        return () => (isOnStage || session.isHandUp ? session.giveFloor() : session.takeFloor());
      case "c":
        return () => session.togglePanel("chat");
      case "l":
        return () => session.togglePanel("people");
      case "p":
        return () => session.togglePanel("connection");
      case "f":
        return () => void fullScreen(this.root);
      case "?":
        return () => session.setDialog({ is: "shortcuts" });
      default:
        return null;
    }
  }
}
