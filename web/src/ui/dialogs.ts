// The dialogs: settings, going on stage, the invite, shortcuts, questions.

import { html, nothing } from "lit";
import { unsafeSVG } from "lit/directives/unsafe-svg.js";
import { renderSVG } from "uqr";

import { texts } from "../texts.js";
import { pickers, preview } from "./devices-view.js";
import { endDialog } from "./host-view.js";
import { icon } from "./icons.js";
import type { Part } from "./parts.js";
import { lineFor } from "./refusals.js";
import type { Session } from "./session.js";
import type { Dialog } from "./state.js";
import { copyLink, noticePart } from "./ways.js";
import { canBeSmall, fullScreen, isFull, smallWindow } from "./windows.js";

export function dialogView(session: Session, root: HTMLElement): Part {
  const { dialog } = session;
  if (!dialog) return nothing;
  const close = () => session.setDialog(null);
  // a click beside the dialog closes it
  const beside = (event: MouseEvent) => event.target === event.currentTarget && close();
  return html`<dialog class=${dialog.is} aria-labelledby="dialog-title" @close=${close} @click=${beside}>
    <div class="inside">${inside(session, dialog, root)}</div>
  </dialog>`;
}

function inside(session: Session, dialog: Dialog, root: HTMLElement): Part {
  switch (dialog.is) {
    case "settings":
      return html`${head(session, texts.settings)} ${session.capture.isOpen ? preview(session) : nothing}
      ${noticePart(session)} ${pickers(session)}`;
    case "stage":
      return html`${head(session, texts.stageTitle)}
        <p class="dim">${session.capture.missing ? lineFor(session.capture.missing) : texts.stageLead}</p>
        ${preview(session)} ${noticePart(session)} ${pickers(session)}
        <button type="button" data-act="go-on-stage" @click=${() => void session.goOnStage()}>${texts.stageNow}</button>`;
    case "shortcuts":
      return html`${head(session, texts.shortcuts)}
        <dl class="keys">
          ${texts.keys.map(([key, does]) => html`<div><dt><kbd>${key}</kbd></dt><dd>${does}</dd></div>`)}
        </dl>`;
    case "invite":
      return invite(session);
    case "more":
      return more(session, root);
    case "leave":
      return html`${head(session, texts.leaveTitle)}
        <p>${texts.leaveSure}</p>
        <div class="stack">
          <button type="button" data-act="leave-now" @click=${() => session.leave()}>${texts.leaveNow}</button>
          <button type="button" class="danger" data-act="end" @click=${() => session.setDialog(endDialog(session))}>
            ${texts.end}
          </button>
          <button type="button" class="plain" @click=${() => session.setDialog(null)}>${texts.cancel}</button>
        </div>`;
    case "confirm": {
      const act = () => {
        session.setDialog(null);
        dialog.act();
        void session.renew();
      };
      return html`<h2 id="dialog-title">${dialog.says}</h2>
        <div class="pair">
          <button type="button" class="plain" autofocus data-act="cancel" @click=${() => session.setDialog(null)}>
            ${texts.cancel}
          </button>
          <button type="button" class="danger" data-act="confirm" @click=${act}>${dialog.label}</button>
        </div>`;
    }
  }
}

function head(session: Session, title: string): Part {
  return html`<header>
    <h2 id="dialog-title" tabindex="-1" autofocus>${title}</h2>
    <button type="button" class="bare" data-act="close" aria-label=${texts.close} @click=${() => session.setDialog(null)}>
      ${icon("close")}
    </button>
  </header>`;
}

function invite(session: Session): Part {
  const link = session.room?.invite ?? session.snapshot?.invite ?? session.invite;
  const copy = async (event: Event) => {
    const button = event.currentTarget as HTMLElement;
    if (await copyLink(session, link, button)) return;
    button.closest("dialog")?.querySelector("input")?.select();
    session.tell({ says: texts.reasons["copy-failed"], ways: ["dismiss"], isAlert: true });
  };
  const share = () =>
    void navigator.share({ url: link, title: session.snapshot?.title || texts.title }).catch(() => {});
  const renew = () => {
    session.room?.renewInvite();
    void session.renew();
  };
  return html`${head(session, texts.inviteTitle)}
    <p class="dim">${texts.inviteLead}</p>
    <label class="field">
      <span>${texts.inviteLink}</span>
      <input data-field="invite" readonly .value=${link} @focus=${(event: Event) => (event.target as HTMLInputElement).select()} />
    </label>
    <div class="pair">
      <button type="button" data-act="copy" @click=${(event: Event) => void copy(event)}>${icon("copy")}${texts.copy}</button>
      ${
        "share" in navigator
          ? html`<button type="button" class="plain" data-act="send-link" @click=${share}>${icon("send")}${texts.send}</button>`
          : nothing
      }
    </div>
    <div class="qr" role="img" aria-label=${texts.qr}>${link ? unsafeSVG(qrOf(link)) : nothing}</div>
    ${
      session.isHost && session.room?.keys
        ? html`<button type="button" class="plain" data-act="renew-invite" @click=${renew}>${texts.renew}</button>
          <p class="hint">${texts.renewHint}</p>`
        : nothing
    }`;
}

let drawn: { link: string; svg: string } | null = null;

/** The QR code of a link. Its markup holds squares alone, nothing of the link. */
function qrOf(link: string): string {
  if (drawn?.link !== link) drawn = { link, svg: renderSVG(link, { border: 2 }) };
  return drawn.svg;
}

function more(session: Session, root: HTMLElement): Part {
  const { capture, isHost, ownRoom, room } = session;
  const item = (name: Parameters<typeof icon>[0], label: string, act: string, click: () => void) => html`<button
    type="button"
    class="item"
    data-act=${act}
    @click=${() => {
      session.setDialog(null);
      click();
    }}
  >
    ${icon(name)}${label}
  </button>`;
  const choose = (event: Event) => {
    const file = (event.target as HTMLInputElement).files?.[0];
    session.setDialog(null);
    if (file) void session.toggleShare(file);
  };
  return html`${head(session, texts.more)}
    <div class="items">
      ${item("settings", texts.settings, "settings", () => void openSettings(session))}
      ${
        session.isOnStage && !capture.share
          ? html`<label class="item">
            ${icon("film")}${texts.film}
            <input class="unseen" type="file" accept="video/mp4,video/webm" data-field="film" @change=${choose} />
          </label>`
          : nothing
      }
      ${isHost ? nothing : item("invite", texts.invite, "invite", () => session.setDialog({ is: "invite" }))}
      ${!isHost && ownRoom && room ? item("host", texts.takeBack, "take-back", () => room.takeBack()) : nothing}
      ${canBeSmall() && room ? item("smallWindow", texts.smallWindow, "small-window", () => void smallWindow(room)) : nothing}
      ${item("fullScreen", isFull() ? texts.endFullScreen : texts.fullScreen, "full-screen", () => void fullScreen(root))}
      ${item("keyboard", texts.shortcuts, "shortcuts", () => session.setDialog({ is: "shortcuts" }))}
    </div>`;
}

async function openSettings(session: Session): Promise<void> {
  await session.capture.list();
  session.setDialog({ is: "settings" });
}
