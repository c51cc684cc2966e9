// What a tab keeps of its room for a reload: the link, as the page's address brings it, and the keys of a room that it
// opened.

import type { Opening } from "./state.js";

const LINK_KEY = "plenary-invite";
const ROOM_KEY = "plenary-room";
/**
 * A fragment that is an invite: base64url. The shortest invite has 202 characters; one that was cut is to be called
 * damaged.
 */
const INVITE = /^#[\w-]{100,}$/;

/** A room that this tab has opened. */
export interface OwnRoom extends Opening {
  /** What names its lock: one tab has the room open, though a duplicated one has a copy of its keys. */
  id: string;
  /** Its keys, base64. */
  keys: string;
}

/** The link by which the page was opened. */
export function linkOfPage(): string {
  const link = takeLink();
  if (!link) return load(LINK_KEY) ?? "";
  keepLink(link);
  keepOwnRoom(null);
  return link;
}

/**
 * The link in the page's address, if any. It leaves the address at once, so that nobody reads it off a screen. Other
 * fragments are the application's own.
 */
export function takeLink(): string | null {
  const { origin, pathname, hash, search } = location;
  if (!INVITE.test(hash)) return null;
  history.replaceState(history.state, "", pathname + search);
  return origin + pathname + hash;
}

/** Keeps the link; "" forgets it. */
export function keepLink(link: string): void {
  keep(LINK_KEY, link);
}

export function ownRoom(): OwnRoom | null {
  try {
    const kept: unknown = JSON.parse(load(ROOM_KEY) ?? "null");
    const isText = (field: "id" | "keys") => typeof (kept as Partial<OwnRoom> | null)?.[field] === "string";
    return isText("id") && isText("keys") ? (kept as OwnRoom) : null;
  } catch {
    return null;
  }
}

export function keepOwnRoom(room: OwnRoom | null): void {
  keep(ROOM_KEY, room ? JSON.stringify(room) : "");
}

// storage may be blocked: then a reload needs the link again

function load(key: string): string | null {
  try {
    return sessionStorage.getItem(key);
  } catch {
    return null;
  }
}

function keep(key: string, value: string): void {
  try {
    if (value) sessionStorage.setItem(key, value);
    else sessionStorage.removeItem(key);
  } catch {
    // nothing is kept
  }
}
