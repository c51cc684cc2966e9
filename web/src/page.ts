// The page that a host or a rendezvous serves.

import { PlenaryRoom } from "./element.js";
import type { RoomEvent } from "./room.js";
import { texts } from "./texts.js";

declare global {
  interface Window {
    /** For checks from outside. */
    plenary: { snapshot: () => ReturnType<PlenaryRoom["snapshot"]> };
  }
}

const room = document.querySelector("plenary-room");
const snapshot = async () => (room instanceof PlenaryRoom ? room.snapshot() : null);
window.plenary = { snapshot };

/** Events that change the title of the window. */
const TITLED: readonly RoomEvent["what"][] = ["state", "stage", "left", "ended", "removed", "refused"];

room?.addEventListener("plenary", async (event) => {
  const { what } = (event as CustomEvent<RoomEvent>).detail;
  if (!TITLED.includes(what)) return;
  const now = await snapshot();
  const title = now?.title ? `${now.title} – ${texts.title}` : texts.title;
  document.title = now?.state === "reconnecting" ? `${texts.lost}: ${title}` : title;
});
