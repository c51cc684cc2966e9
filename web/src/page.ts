// The page that a host or a rendezvous serves.

import { PlenaryRoom } from "./element.js";

declare global {
  interface Window {
    /** For checks from outside. */
    plenary: { snapshot: () => ReturnType<PlenaryRoom["snapshot"]> };
  }
}

const room = document.querySelector("plenary-room");
window.plenary = { snapshot: async () => (room instanceof PlenaryRoom ? room.snapshot() : null) };
