// All texts of the page, in one place.

import { act, type View } from "./view.js";

export const continents = ["North America", "South America", "Europe", "Asia", "Oceania"];

export const texts = {
  pause: "Pause",
  resume: "Resume",
  killRendezvous: "Kill the rendezvous",
  reviveRendezvous: "Start the rendezvous",
  copied: "The link is in the clipboard: it shows this run again, with what you have killed.",
  notCopied: "The browser did not give the clipboard. The link is in the address bar now.",
  failed: "The simulator stopped:",
  opens: "The room opens. Peers join, measure each other, and elect a mixer.",
  seen: (view: View) =>
    `The room is up: ${view.seeing} of ${view.viewers} viewers see the program, with no server in the middle. Now kill something.`,
  world: (view: View) =>
    `A map of five continents with ${view.viewers} viewers, ${view.seeing} of whom see the program. Arrow keys select a peer, Enter kills it.`,
  peer: (role: string, continent: string, feeds: number) =>
    `${role} in ${continent}${feeds > 0 ? `, feeds ${feeds}` : ""}. Click to kill.`,
  selected: (role: string, continent: string, feeds: number) =>
    `${role} in ${continent}${feeds > 0 ? `, feeds ${feeds}` : ""}. Enter kills it.`,
  speed: (times: number) => `${times} × real time`,
};

export const roles = ["Viewer", "Speaker", "Candidate", "Standby", "Mixer"];

/** What an act did: the first sentence of the line under the map. */
export function happened(number: number, which: number, done: number, role: string): string {
  switch (number) {
    case act.kill:
      return `${role} killed.`;
    case act.killMixer:
      return done > 0 ? "The mixer died." : "Nobody mixes at the moment: the next mixer is being elected.";
    case act.killHost:
      return done > 0
        ? "The host died. After ten seconds its heir governs."
        : "There is no host at the moment: its heir takes over soon.";
    case act.killRendezvous:
      return "The rendezvous died. It carries no media: the room goes on, but newcomers wait.";
    case act.reviveRendezvous:
      return "The rendezvous is back.";
    case act.cutOff:
      return done > 0
        ? `${continents[which]} is cut off: ${done} peers reach the others no more.`
        : "Only one continent can be cut off at a time.";
    case act.heal:
      return "The continent is back.";
    case act.killMany:
      return `${done} viewers died at once.`;
    default:
      return done > 0 ? `${done} newcomers join.` : "The room of this page is full.";
  }
}

/** Sentences on acts by which no viewer has lost the program. */
const unharmed: Record<number, string> = {
  [act.kill]: "No other viewer lost the picture.",
  [act.killMixer]: "No viewer lost the picture.",
  [act.killHost]: "No viewer lost the picture.",
  [act.killRendezvous]: "No viewer lost the picture.",
  [act.cutOff]: "No viewer elsewhere lost the picture.",
  [act.killMany]: "No other viewer lost the picture.",
};

const after = (ms: number) => (ms < 1000 ? `${ms} ms` : `${(ms / 1000).toFixed(1)} s`);

/** Second sentence on the latest act, when its observation is over: the recovery of the viewers. */
export function fared(view: View): string {
  const { act: number, lost, again, halfMs, lastMs } = view.recovery;
  if (number === null) return "";
  if (lost === 0) return unharmed[number] ?? "";
  const isMore = number === act.newcomers ? "" : " again";
  const sees = (count: number) => `${count} viewer${count === 1 ? " sees" : "s see"} the program${isMore}`;
  if (again === lost) {
    const took =
      again === 1 ? `after ${after(lastMs)}` : `half of them after ${after(halfMs)}, the last after ${after(lastMs)}`;
    return `${sees(again)}: ${took}.`;
  }
  return `${again} of ${lost} viewers see the program${isMore}.`;
}
