// What keeps a user from something, as a line and the ways on. Both are chosen by the reason's code.

import { type Reason, Refused } from "../refused.js";
import { texts } from "../texts.js";

/** What a button of a notice does. */
export type Way =
  | "again"
  | "watch"
  | "start"
  | "open"
  | "guest"
  | "copy"
  | "reload"
  | "rejoin"
  | "settings"
  | "people"
  | "unmute"
  | "stage"
  | "dismiss";

/** What a notice is about, where something asks for that later. */
export type About = "no-place" | "floor-given" | "floor-taken";

export interface Notice {
  says: string;
  ways: readonly Way[];
  /** Whether it is read out at once. */
  isAlert: boolean;
  about?: About;
  /** Judged at each change of the page: the notice ends with its reason. */
  whileTrue?: () => boolean;
}

export interface Refusal extends Notice {
  /** Why, if it is known. */
  reason: Reason | null;
}

const DEVICES: readonly Way[] = ["again", "watch"];
const VERSIONS: readonly Way[] = ["reload", "start"];

/** The ways on, where they aren't to try again and to go to the start. */
const WAYS: Partial<Record<Reason, readonly Way[]>> = {
  "not-an-invite": ["start", "open"],
  "invite-damaged": ["start", "open"],
  "invite-version": VERSIONS,
  "invite-expired": ["start", "open"],
  "invite-replaced": ["start", "open"],
  "password-needed": ["start"],
  "wrong-password": ["start"],
  "stage-full": ["watch", "start"],
  "room-version": VERSIONS,
  "other-version": VERSIONS,
  "not-open": ["again", "start", "open"],
  "not-yet": ["again", "start", "open"],
  "host-present": ["guest", "start"],
  removed: ["open"],
  ended: ["open"],
  replaced: ["rejoin", "start"],
  "bad-keys": ["open"],
  "no-browser": ["copy"],
  "not-loaded": VERSIONS,
  "open-elsewhere": ["guest"],
  insecure: ["watch", "start"],
  denied: DEVICES,
  "denied-microphone": DEVICES,
  "no-devices": DEVICES,
  "no-microphone": DEVICES,
  busy: DEVICES,
  "busy-microphone": DEVICES,
};

/** Reasons of the browser that a line repeats, since they tell more than the code. */
const DETAILED: readonly Reason[] = ["no-devices", "no-camera", "no-microphone"];

/** The line for a reason. */
export function lineFor({ reason, detail }: Pick<Refused, "reason" | "detail">): string {
  return detail && DETAILED.includes(reason) ? `${texts.reasons[reason]} (${detail})` : texts.reasons[reason];
}

/** The refusal for a reason, or for an error of the room or of a device. */
export function refusalOf(why: unknown): Refusal {
  if (why instanceof Refused) {
    return { says: lineFor(why), ways: WAYS[why.reason] ?? ["again", "start"], isAlert: true, reason: why.reason };
  }
  return {
    says: why instanceof Error ? why.message : String(why),
    ways: ["again", "start"],
    isAlert: true,
    reason: null,
  };
}

export const refusalFor = (reason: Reason): Refusal => refusalOf(new Refused(reason));

/** Whether the room wants a password, or another one. */
export const asksPassword = (refusal: Refusal | null): boolean =>
  refusal?.reason === "password-needed" || refusal?.reason === "wrong-password";
