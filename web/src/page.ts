// The page that a host or a rendezvous serves.

import { languageOf, speak, texts } from "./element.js";
import type { RoomEvent, Snapshot } from "./room.js";

/** What checks from outside call the states of the connection. */
const STATES = { joining: "joining", connected: "live", reconnecting: "reconnecting", closed: "ended" } as const;

declare global {
  interface Window {
    /** For checks from outside. */
    plenary: { snapshot: () => Promise<(Snapshot & { state: string }) | null> };
  }
}

const snapshot = async () => (await document.querySelector("plenary-room")?.snapshot()) ?? null;
window.plenary = {
  snapshot: async () => {
    const now = await snapshot();
    return now && { ...now, state: STATES[now.connection] };
  },
};

document.documentElement.lang = languageOf(navigator.languages);
void speak(document.documentElement.lang);

/** Events that change the title of the window. */
const TITLED: readonly RoomEvent["what"][] = ["connection", "stage", "closed", "refused"];

addEventListener("plenary", async (event) => {
  const { what } = (event as CustomEvent<RoomEvent>).detail;
  if (!TITLED.includes(what)) return;
  const now = await snapshot();
  const title = now?.title ? `${now.title} – ${texts.title}` : texts.title;
  document.title = now?.connection === "reconnecting" ? `${texts.lost}: ${title}` : title;
});
