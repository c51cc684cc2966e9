// The room: the program, the own picture, notices, and the bar of controls.

import { html, nothing } from "lit";
import { guard } from "lit/directives/guard.js";

import { texts } from "../texts.js";
import { chatPanel } from "./chat-view.js";
import { connectionPanel } from "./connection-view.js";
import { streamOf } from "./devices-view.js";
import { emptyStage } from "./empty-stage.js";
import { lacksMixer, whyLost } from "./health.js";
import { hostPanel } from "./host-view.js";
import { type Icon, icon } from "./icons.js";
import type { Part } from "./parts.js";
import { peoplePanel } from "./people-view.js";
import type { Session } from "./session.js";
import type { Panel } from "./state.js";
import { waysOf } from "./ways.js";

export function roomView(session: Session): Part {
  const { room, snapshot, health, panel, notice } = session;
  if (!room) return nothing;
  // viewers of a room that nobody mixes have no way in, and have lost nothing
  const hasWay = snapshot?.mixers.length || snapshot?.stage.some(({ peer }) => peer === snapshot.peer);
  const isReconnecting = snapshot?.connection === "reconnecting" && hasWay;
  // a picture that has stopped stays, and a notice says why
  const isEmpty = !room.picture.hasChildNodes();
  const empty = isEmpty ? emptyStage(snapshot) : null;
  const isExpected = isEmpty && empty === null && snapshot !== null && !isReconnecting && !lacksMixer(snapshot);
  return html`<main class="room ${panel ? "with-panel" : ""}">
    <h1 class="unseen" tabindex="-1" data-focus>${snapshot?.title || texts.title}</h1>
    <div class="stage">
      ${room.picture} ${empty ? html`<p class="empty" role="status">${texts.empty[empty]}</p>` : nothing}
      ${isExpected ? html`<p class="empty late" role="status">${texts.pictureComes}</p>` : nothing}
      <div class="top">
        <p class="title">
          <button
            type="button"
            class="dot ${health.is} tip below"
            data-act="health"
            aria-label="${texts[health.is]}. ${health.why}"
            data-tip="${texts[health.is]}: ${health.why}"
            @click=${() => session.togglePanel("connection")}
          ></button>
          <span>${snapshot?.title || texts.title}</span>
          ${session.speaking.length > 0 ? html`<small class="speaks">${speakers(session)}</small>` : nothing}
        </p>
        <div class="notices">
          ${isReconnecting && snapshot ? html`<p class="notice warn" role="status">${whyLost(snapshot)}</p>` : nothing}
          ${isReconnecting && !session.rejected ? nothing : outage(session)}
          ${session.isSoundOn ? nothing : soundBar(session)}
          ${session.pinned ? pinned(session, session.pinned) : nothing}
          ${
            notice
              ? html`<div class="notice">
                <p role=${notice.isAlert ? "alert" : "status"}>${notice.says}</p>
                ${waysOf(session, notice.ways)}
              </div>`
              : nothing
          }
          ${session.isHandUp || session.waitsForFloor ? html`<p class="notice" role="status">${texts.waitingFloor}</p>` : nothing}
        </div>
      </div>
      ${selfView(session)}
    </div>
    ${panel ? sidePanel(session, panel) : nothing} ${bar(session)}
  </main>`;
}

function speakers({ speaking, snapshot }: Session): string {
  const names = speaking.map((peer) => snapshot?.stage.find((one) => one.peer === peer)?.label ?? peer.slice(0, 8));
  return `${names.slice(0, 3).join(", ")} ${texts.speaking}`;
}

/** That the rendezvous is away, or takes this page no more. */
function outage(session: Session): Part {
  const { isRendezvousUp, rejected } = session;
  if (isRendezvousUp) return nothing;
  if (!rejected) return html`<p class="notice" role="status">${texts.noRendezvous}</p>`;
  return html`<div class="notice">
    <p role="alert">${rejected}</p>
    ${waysOf(session, ["reload"])}
  </div>`;
}

function soundBar(session: Session): Part {
  return html`<div class="notice">
    <p>${texts.soundOff}</p>
    <button type="button" class="small" data-act="sound" @click=${() => void session.soundOn()}>
      ${icon("sound")}${texts.sound}
    </button>
  </div>`;
}

function pinned(session: Session, peer: string): Part {
  return html`<div class="notice">
    <p>${texts.pinned(session.nameOf(peer))}</p>
    <button type="button" class="small plain" data-act="unpin" @click=${() => session.pin(null)}>${texts.unpin}</button>
  </div>`;
}

function selfView({ capture, snapshot, speaking, isOnStage }: Session): Part {
  const picture = isOnStage ? (capture.share?.picture ?? capture.picture) : null;
  if (!picture) return nothing;
  const isHeard = snapshot !== null && speaking.includes(snapshot.peer);
  return html`<video
    class="self ${capture.share ? "" : "mirrored"} ${isHeard ? "speaking" : ""}"
    aria-label=${texts.ownPicture}
    .srcObject=${guard([picture], () => streamOf(picture))}
    .muted=${true}
    autoplay
    playsinline
  ></video>`;
}

function sidePanel(session: Session, panel: Panel): Part {
  const titles = { people: texts.people, chat: texts.chat, connection: texts.connection, host: texts.hostTools };
  const content = { people: peoplePanel, chat: chatPanel, connection: connectionPanel, host: hostPanel };
  return html`<aside class="panel ${panel}" aria-label=${titles[panel]}>
    <header>
      <h2 tabindex="-1" data-panel-focus>${titles[panel]}</h2>
      <button type="button" class="bare" data-act="close-panel" aria-label=${texts.close} @click=${() => session.togglePanel(panel)}>
        ${icon("close")}
      </button>
    </header>
    ${content[panel](session)}
  </aside>`;
}

interface Control {
  act: string;
  name: Icon;
  label: string;
  key?: string;
  click: () => void;
  state?: "off" | "on" | "danger";
  /** Shown on the button. */
  count?: number;
  expanded?: boolean;
}

/** A button of the bar, with its label under its icon. */
function control({ act, name, label, key, click, state, count = 0, expanded }: Control): Part {
  return html`<button
    type="button"
    class="control tip ${state ?? ""}"
    data-act=${act}
    data-tip=${key ? `${label} (${key})` : nothing}
    aria-keyshortcuts=${key ?? nothing}
    aria-expanded=${expanded ?? nothing}
    @click=${click}
  >
    ${icon(name)}<span>${label}</span>
    ${count > 0 ? html`<b class="badge">${count > 99 ? "99+" : count}</b>` : nothing}
  </button>`;
}

function bar(session: Session): Part {
  const { isHost, panel, snapshot, chat } = session;
  const isWanted = (snapshot?.waiting.length ?? 0) + (snapshot?.wanting.length ?? 0) + session.removedByAnother.length;
  const toggle = (of: Panel) => ({ click: () => session.togglePanel(of), expanded: panel === of });
  // the space bar talks again after a click
  const release = (event: MouseEvent) => event.detail > 0 && (event.target as Element).closest("button")?.blur();
  return html`<nav class="bar" aria-label=${texts.controls} @click=${release}>
    <div class="group">
      ${session.isOnStage ? ownControls(session) : watchersControls(session)}
      ${control({ act: "leave", name: "leave", label: texts.leave, state: "danger", click: () => leave(session) })}
    </div>
    <div class="group">
      ${control({ act: "people", name: "people", label: texts.people, key: "L", count: isWanted, ...toggle("people") })}
      ${control({ act: "chat", name: "chat", label: texts.chat, key: "C", count: chat.unread, ...toggle("chat") })}
      ${control({ act: "panel", name: "connection", label: texts.connection, key: "P", ...toggle("connection") })}
      ${
        isHost
          ? html`${control({
              act: "invite",
              name: "invite",
              label: texts.invite,
              click: () => session.setDialog({ is: "invite" }),
            })}
          ${control({ act: "host", name: "host", label: texts.host, ...toggle("host") })}`
          : nothing
      }
      ${control({ act: "more", name: "more", label: texts.more, click: () => session.setDialog({ is: "more" }) })}
    </div>
  </nav>`;
}

function leave(session: Session): void {
  if (session.isHost) session.setDialog({ is: "leave" });
  else session.leave();
}

function ownControls(session: Session): Part {
  const { capture } = session;
  const { isSoundOn, share } = capture;
  const isPictureOn = capture.picture !== null;
  return html`
    ${control({
      act: "mute",
      name: isSoundOn ? "microphone" : "microphoneOff",
      label: isSoundOn ? texts.mute : texts.unmute,
      key: "M",
      ...(isSoundOn ? {} : { state: "off" as const }),
      click: () => void session.setSound(!isSoundOn),
    })}
    ${control({
      act: "camera",
      name: isPictureOn ? "camera" : "cameraOff",
      label: isPictureOn ? texts.cameraOff : texts.cameraOn,
      key: "V",
      ...(isPictureOn ? {} : { state: "off" as const }),
      click: () => void session.setPicture(!isPictureOn),
    })}
    ${control({
      act: "share",
      name: share?.kind === "film" ? "film" : "screen",
      label: share ? texts.unshare : texts.share,
      key: "S",
      ...(share ? { state: "on" as const } : {}),
      click: () => void session.toggleShare(),
    })}
    ${control({ act: "hand", name: "eye", label: texts.giveFloor, key: "H", click: () => session.giveFloor() })}
  `;
}

function watchersControls(session: Session): Part {
  const { isHandUp, isHost, snapshot } = session;
  const isFree = isHost || snapshot?.speaks || (snapshot?.stage_open ?? true);
  return control({
    act: "hand",
    name: isFree ? "microphone" : "hand",
    label: isFree ? texts.takeFloor : isHandUp ? texts.lowerHand : texts.raiseHand,
    key: "H",
    ...(isHandUp ? { state: "on" as const } : {}),
    click: () => (isHandUp ? session.giveFloor() : session.takeFloor()),
  });
}
