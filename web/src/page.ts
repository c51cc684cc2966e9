// The page that a host or a rendezvous serves.

import { languageOf, speak, texts } from "./element.js";
import type { RoomEvent, Snapshot } from "./room.js";

declare global {
  interface Window {
    /** For checks from outside. */
    plenary: { snapshot: () => Promise<Snapshot | null> };
  }
}

const snapshot = async () => (await document.querySelector("plenary-room")?.snapshot()) ?? null;
window.plenary = { snapshot };

document.documentElement.lang = languageOf(navigator.languages);
void speak(document.documentElement.lang);

/** Events that change the title of the window. */
const TITLED: readonly RoomEvent["what"][] = ["state", "stage", "left", "ended", "removed", "refused"];

addEventListener("plenary", async (event) => {
  const { what } = (event as CustomEvent<RoomEvent>).detail;
  if (!TITLED.includes(what)) return;
  const now = await snapshot();
  const title = now?.title ? `${now.title} – ${texts.title}` : texts.title;
  document.title = now?.state === "reconnecting" ? `${texts.lost}: ${title}` : title;
});
