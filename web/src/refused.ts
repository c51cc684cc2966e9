// Why something doesn't work, by code: the peer's own reasons, and what the page finds out itself.

import type { Reason as PeerReason } from "./app.js";

/** What the page finds out itself. */
export type OwnReason =
  // the browser and the page
  | "no-browser"
  | "not-loaded"
  | "blocked"
  | "open-elsewhere"
  | "no-auto"
  | "copy-failed"
  // camera and microphone
  | "insecure"
  | "denied"
  | "denied-camera"
  | "denied-microphone"
  | "no-devices"
  | "no-camera"
  | "no-microphone"
  | "busy"
  | "busy-camera"
  | "busy-microphone"
  // pictures
  | "no-encoder"
  | "no-pictures"
  | "no-screens"
  | "no-screen"
  | "no-films"
  | "bad-film"
  | "limited-cpu"
  | "limited-bandwidth";

/** Why something doesn't work; it never changes its meaning. */
export type Reason = PeerReason | OwnReason;

/** An error that says by a code why something doesn't work. Its message is for logs, and in English. */
export class Refused extends Error {
  constructor(
    readonly reason: Reason,
    /** What the browser or the peer says of it, in words of its own. */
    readonly detail = "",
  ) {
    super(detail || reason);
    this.name = "Refused";
  }
}
