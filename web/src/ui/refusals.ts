// What keeps a user from a room, as a line and the ways on. The peer's own reasons are sentences; known ones get a better line.

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

export interface Notice {
  says: string;
  ways: readonly Way[];
  /** Whether it is read out at once. */
  isAlert: boolean;
  /** Judged at each change of the page: the notice ends with its reason. */
  whileTrue?: () => boolean;
}

export interface Refusal extends Notice {
  /** Whether the room wants a password. */
  asksPassword: boolean;
}

const KNOWN: readonly [RegExp, string, readonly Way[]][] = [
  [/wrong password/i, texts.passwordWrong, ["start"]],
  [/needs a password/i, texts.passwordWanted, ["start"]],
  [/invite has expired/i, texts.expired, ["start", "open"]],
  [/invite has been replaced/i, texts.replaced, ["start", "open"]],
  [/invite (looks like|is damaged)/i, texts.noLink, ["start", "open"]],
  [/stage is full/i, texts.stageFull, ["watch", "start"]],
  [/room is full/i, texts.full, ["again", "start"]],
  [/too many rooms/i, texts.tooManyRooms, ["again", "start"]],
  [/no pages of this origin/i, texts.otherSite, ["again", "start"]],
  [/room is locked/i, texts.isLocked, ["again", "start"]],
  [/has not let you in/i, texts.notAdmitted, ["again", "start"]],
  [/removed by the host/i, texts.removed, ["open"]],
  [/has ended the room/i, texts.ended, ["open"]],
  [/keys of this room is its host/i, texts.hostElsewhere, ["guest", "start"]],
  [/room (is not|isn't) open/i, texts.notOpen, ["again", "start", "open"]],
  [/version|could not be loaded whole|doesn't know the call/i, texts.otherVersion, ["reload", "start"]],
  [/can't be reached|is silent|took too long/i, texts.unreachable, ["again", "start"]],
  [/connected again elsewhere/i, texts.elsewhere, ["rejoin", "start"]],
];

const DEVICES = [texts.denied, texts.noDevices, texts.busy, texts.deniedMicrophone, texts.noMicrophone, texts.busyMicrophone];

/** What the page itself says. */
const OWN: Record<string, readonly Way[]> = {
  [texts.insecure]: ["watch", "start"],
  [texts.openElsewhere]: ["guest"],
  [texts.noBrowser]: ["copy"],
};

/** The refusal for an error of the room or of a device. */
export function refusalOf(error: unknown): Refusal {
  const text = error instanceof Error ? error.message : String(error);
  const asksPassword = /wrong password|needs a password/i.test(text);
  const known = KNOWN.find(([is]) => is.test(text));
  if (known) return { says: known[1], ways: known[2], isAlert: true, asksPassword };
  const says = sentence(text);
  const isDevice = DEVICES.some((device) => says.startsWith(device));
  return { says, ways: OWN[says] ?? (isDevice ? ["again", "watch"] : ["again", "start"]), isAlert: true, asksPassword };
}

/** Reasons for which a rendezvous takes no further attempt of a page that is in the room. */
const REJECTIONS: readonly [RegExp, string][] = [
  [/another version of the protocol/i, texts.olderPage],
  [/connected again elsewhere/i, texts.replacedPage],
  [/proof of identity/i, texts.unprovenPage],
];

/** The line for an outage of the rendezvous that no further attempt ends; null if the page goes on trying. */
export function rejectionOf(why: string | null): string | null {
  return REJECTIONS.find(([is]) => why !== null && is.test(why))?.[1] ?? null;
}

/** Whether a room has refused this peer as a speaker, and not as a viewer. */
export function isStageClosed(error: unknown): boolean {
  return error instanceof Error && /admits speakers one by one/i.test(error.message);
}

/** A sentence as it stands alone. */
export function sentence(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}${/[.!?)]$/.test(text) ? "" : "."}`;
}
