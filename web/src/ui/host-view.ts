// The host's tools for the whole room.

import { html, nothing } from "lit";

import type { Layout } from "../room.js";
import { texts } from "../texts.js";
import { icon } from "./icons.js";
import { type Part, switchPart } from "./parts.js";
import type { Session } from "./session.js";

/** Numbers of mixers that can be asked for. */
const MIXERS_MAX = 8;

export function hostPanel(session: Session): Part {
  const { room, snapshot, isHost } = session;
  if (!room || !snapshot || !isHost) return nothing;
  // the switches follow the room: what the host sets comes back with the next snapshot
  const soon = (act: () => void) => {
    act();
    void session.renew();
  };
  const setLayout = (event: Event) => soon(() => room.setLayout((event.target as HTMLSelectElement).value as Layout));
  const setMixers = (event: Event) => soon(() => room.setMixers(Number((event.target as HTMLSelectElement).value)));
  // the last two are set by native hosts alone
  const isOffered = (layout: string) => ["grid", "active", "share", snapshot.layout].includes(layout);
  const layouts = Object.entries(texts.layouts).filter(([layout]) => isOffered(layout));
  return html`<div class="scroll" tabindex="0">
    <section>
      <button type="button" data-act="invite" @click=${() => session.setDialog({ is: "invite" })}>
        ${icon("invite")}${texts.inviteTitle}
      </button>
    </section>
    <section>
      ${switchPart(texts.locked, snapshot.locked, (isOn) => soon(() => room.lock(isOn)), texts.lockedHint, "lock")}
      ${switchPart(texts.lobbyOn, snapshot.lobby, (isOn) => soon(() => room.setLobby(isOn)), texts.lobbyHint, "lobby")}
      <button type="button" class="small plain" data-act="mute-all" @click=${() => room.muteAll({ sound: true })}>
        ${icon("microphoneOff")}${texts.muteAll}
      </button>
      ${switchPart(texts.stageOpen, snapshot.stage_open, (isOn) => soon(() => room.openStage(isOn)), texts.stageHint, "stage")}
    </section>
    <section>
      ${switchPart(
        texts.mixByNamed,
        snapshot.mix_policy === "named",
        (isOn) => soon(() => room.setMixing(isOn ? "named" : "anyone")),
        texts.mixByNamedHint,
        "mix-by-named",
      )}
      <button type="button" class="small plain" data-act="remove-unnamed" @click=${() => session.setDialog(removeDialog(session))}>
        ${icon("remove")}${texts.removeUnnamed}
      </button>
    </section>
    <section>
      <label class="field">
        <span>${texts.layout}</span>
        <select data-act="layout" @change=${setLayout}>
          ${layouts.map(([layout, label]) => html`<option value=${layout} .selected=${layout === snapshot.layout}>${label}</option>`)}
        </select>
      </label>
      <label class="field">
        <span>${texts.mixers}</span>
        <select data-act="mixers" @change=${setMixers}>
          <option value="0">${texts.mixersAuto}</option>
          ${Array.from({ length: MIXERS_MAX }, (_, at) => html`<option value=${at + 1}>${at + 1}</option>`)}
        </select>
      </label>
    </section>
    <section>
      <button type="button" class="danger" data-act="end" @click=${() => session.setDialog(endDialog(session))}>
        ${texts.end}
      </button>
    </section>
  </div>`;
}

function removeDialog(session: Session) {
  const act = () => session.room?.removeUnnamed();
  return { is: "confirm" as const, says: texts.removeUnnamedSure, label: texts.removeNow, act };
}

export function endDialog(session: Session) {
  return { is: "confirm" as const, says: texts.endSure, label: texts.endNow, act: () => session.room?.end() };
}
