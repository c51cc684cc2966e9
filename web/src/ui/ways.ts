// The ways on that a notice offers, each a button.

import { html, nothing } from "lit";

import { texts } from "../texts.js";
import { keepLink, keepOwnRoom } from "./page-link.js";
import type { Part } from "./parts.js";
import { type Refusal, refusalFor, type Way } from "./refusals.js";
import type { Session } from "./session.js";

const labels = (): Record<Way, string> => ({
  again: texts.again,
  watch: texts.watch,
  start: texts.start,
  open: texts.openAnother,
  guest: texts.asGuest,
  copy: texts.copy,
  reload: texts.reload,
  rejoin: texts.rejoin,
  settings: texts.chooseDevice,
  people: texts.showPeople,
  unmute: texts.unmute,
  stage: texts.stageNow,
  dismiss: texts.dismiss,
});

/** Time for which a button says that the link is copied, in milliseconds. */
const COPIED_MS = 2000;

/** Buttons for these ways; the first one is the main one. */
export function waysOf(session: Session, ways: readonly Way[]): Part {
  if (ways.length === 0) return nothing;
  return html`<div class="ways">
    ${ways.map((way, at) => wayButton(session, way, at === 0 ? "small" : "small plain"))}
  </div>`;
}

export function wayButton(session: Session, way: Way, look: string): Part {
  return html`<button
    type="button"
    class=${look}
    data-way=${way}
    data-act=${way === "watch" ? way : nothing}
    @click=${(event: Event) => take(session, way, event.currentTarget as HTMLElement)}
  >
    ${labels()[way]}
  </button>`;
}

/** What the user is told beside the devices, which offer the way to others themselves. */
export function noticePart(session: Session): Part {
  const { notice } = session;
  if (!notice) return nothing;
  return html`<div class="refusal">
    <p role=${notice.isAlert ? "alert" : "status"}>${notice.says}</p>
    ${waysOf(
      session,
      notice.ways.filter((way) => way !== "settings"),
    )}
  </div>`;
}

/** Why the user can't go on, with the ways but for those that the screen offers itself. */
export function refusalPart(session: Session, refusal: Refusal | null, without: readonly Way[] = []): Part {
  if (!refusal) return nothing;
  return html`<div class="refusal">
    <p role="alert">${refusal.says}</p>
    ${waysOf(
      session,
      refusal.ways.filter((way) => !without.includes(way)),
    )}
  </div>`;
}

/** Copies the link, which the button tells; false if the browser doesn't let the page do so. */
export async function copyLink(session: Session, link: string, button: HTMLElement): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(link);
  } catch {
    return false;
  }
  session.announce(texts.copied);
  button.dataset["done"] = texts.copied;
  setTimeout(() => delete button.dataset["done"], COPIED_MS);
  return true;
}

function take(session: Session, way: Way, button: HTMLElement): void {
  session.notice = null;
  switch (way) {
    case "again":
      return session.again();
    case "watch":
      return void session.watch();
    case "rejoin":
      return session.go(session.ownRoom ? "open" : "entrance");
    case "start":
      return session.go(session.invite ? "entrance" : "open");
    case "open":
      session.invite = "";
      session.hasLink = false;
      session.ownRoom = null;
      keepLink("");
      keepOwnRoom(null);
      return session.go("open");
    case "guest":
      session.ownRoom = null;
      keepOwnRoom(null);
      return session.go("entrance");
    case "copy":
      return void copyLink(session, session.invite, button).then((isCopied) => {
        if (!isCopied)
          session.go(session.at, { ...refusalFor("copy-failed"), says: texts.copyYourself(session.invite) });
      });
    case "reload":
      return location.reload();
    case "settings":
      return session.setDialog({ is: "settings" });
    case "people":
      session.panel = null;
      return session.togglePanel("people");
    case "unmute":
      return void session.setSound(true);
    case "stage":
      return void session.showStage();
    case "dismiss":
      return session.changed();
  }
}
