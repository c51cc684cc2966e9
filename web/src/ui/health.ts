// How well the room arrives, judged by the snapshots of the last seconds.

import type { Snapshot } from "../room.js";
import { texts } from "../texts.js";

export interface Health {
  is: "good" | "weak" | "lost";
  why: string;
}

/** Snapshots that are judged: at one every two seconds, the last ten seconds. */
export const HISTORY_LEN_MAX = 6;
/** Share of pictures that may be missing. */
const LOSS_MAX = 0.02;
/** Delay behind the room, in milliseconds, above which a talk becomes difficult. A guess. */
const LATE_MS_MAX = 1000;

/**
 * Whether this peer needs a mixer for a picture, and there is none, or one that is away: mixers send to the stage
 * themselves, and feed viewers.
 */
export function lacksMixer(now: Snapshot): boolean {
  const isOnStage = now.stage.some(({ peer }) => peer === now.peer);
  const isMixed = now.mixers.some((mixer) => !now.stage.some(({ peer, away }) => peer === mixer && away));
  return !isMixed && (!isOnStage || now.mode === "mixer");
}

/**
 * Why contact with the room was lost. A viewer whose mixer has died waits for another one. Where nobody but the host is
 * on stage beside this page, nobody can take the host's place: two of two would have to agree.
 */
export function whyLost(now: Snapshot): string {
  if (lacksMixer(now)) return texts.noMixer;
  const others = now.stage.filter(({ peer, away }) => peer !== now.peer && !away);
  const host = others.find(({ peer }) => peer === now.host);
  return host && others.length === 1 ? texts.hostSilent(host.label) : texts.reconnecting;
}

export function healthOf(history: readonly Snapshot[]): Health {
  const [first, now] = [history[0], history.at(-1)];
  if (!first || !now) return { is: "good", why: texts.whyGood };
  const isOnStage = now.stage.some(({ peer }) => peer === now.peer);
  if (lacksMixer(now)) return { is: "weak", why: texts.whyMixer };
  if (now.connection === "reconnecting") return { is: "lost", why: whyLost(now) };
  const isFed = now.parent !== null || isOnStage || now.mode !== "mixer";
  if (!isFed) return { is: "weak", why: texts.whyParent };
  const expected = now.frames_expected - first.frames_expected;
  const received = now.frames_received - first.frames_received;
  const loss = expected > 0 ? 1 - received / expected : 0;
  if (expected >= 30 && loss > LOSS_MAX)
    return { is: "weak", why: texts.whyLoss(Math.min(100, Math.round(100 * loss))) };
  const lateMs = Math.max(now.late_ms, now.latency_ms?.p50 ?? 0);
  if (lateMs > LATE_MS_MAX) return { is: "weak", why: texts.whyLate(lateMs) };
  return { is: "good", why: texts.whyGood };
}
