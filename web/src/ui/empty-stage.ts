// What stands in place of the picture while there is none to see.

import type { Snapshot } from "../room.js";
import { modeOf } from "./health.js";

/** Why a room has no picture for this peer. */
export type EmptyStage = "nobody-here" | "nobody-speaks" | "nobody-else-speaks" | "speakers-apart" | "mesh-full";

/** Why a room has no picture for this peer; null where one is to be expected. */
export function emptyStage(now: Snapshot | null): EmptyStage | null {
  if (!now) return null;
  const { stage, mixers, meshed, audience, peer } = now;
  const speakers = stage.filter(({ speaks, away }) => speaks && !away);
  const isSpeaking = speakers.some((one) => one.peer === peer);
  const others = speakers.filter((one) => one.peer !== peer);
  if (others.length === 0) {
    const isAlone = stage.every((one) => one.peer === peer) && audience.length === 0;
    if (isSpeaking) return isAlone ? "nobody-here" : "nobody-else-speaks";
    return speakers.length === 0 ? "nobody-speaks" : null;
  }
  if (isSpeaking && modeOf(now) === "mesh" && meshed === 0) return "mesh-full";
  return mixers.length === 0 && !isSpeaking && modeOf(now) !== "mixer" ? "speakers-apart" : null;
}
