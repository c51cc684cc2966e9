// What stands in place of the picture while there is none to see.

import type { Snapshot } from "../room.js";

/** Why a room has no picture for this peer. */
export type EmptyStage = "nobody-here" | "nobody-speaks" | "nobody-else-speaks" | "speakers-apart" | "mesh-full";

/** Why a room has no picture for this peer; null where one is to be expected. */
export function emptyStage(now: Snapshot | null): EmptyStage | null {
  if (!now) return null;
  const { stage, mixers, meshed, mode, directory, peer } = now;
  const speakers = stage.filter(({ speaks, away }) => speaks && !away);
  const isSpeaking = speakers.some((one) => one.peer === peer);
  const others = speakers.filter((one) => one.peer !== peer);
  if (others.length === 0) {
    const isAlone = stage.every((one) => one.peer === peer) && directory.length === 0;
    if (isSpeaking) return isAlone ? "nobody-here" : "nobody-else-speaks";
    return speakers.length === 0 ? "nobody-speaks" : null;
  }
  if (isSpeaking && mode === "mesh" && meshed === 0) return "mesh-full";
  return mixers.length === 0 && !isSpeaking && mode !== "mixer" ? "speakers-apart" : null;
}
