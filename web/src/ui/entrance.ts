// The screens before and after a room, but for the devices: the entrance, the form for a new room, waiting, and the
// end.

import { html, nothing } from "lit";

import { texts } from "../texts.js";
import { icon } from "./icons.js";
import { localNetworkHint, mark, nameField, type Part, passwordField, switchPart } from "./parts.js";
import { asksPassword } from "./refusals.js";
import type { Session } from "./session.js";
import { refusalPart, wayButton, waysOf } from "./ways.js";

/** Whether camera and microphone are out of reach, since the page came without https. */
const isInsecure = () => !navigator.mediaDevices;

export function entrance(session: Session): Part {
  const { hasLink } = session;
  const submit = (event: Event) => {
    event.preventDefault();
    const isWatching = (event as SubmitEvent).submitter?.dataset["act"] === "watch";
    void (isWatching ? session.watch() : session.prepare());
  };
  const setLink = (event: Event) => (session.invite = (event.target as HTMLInputElement).value.trim());
  const wantsPassword = asksPassword(session.refusal);
  return html`<main class="gate">
    <form class="card" @submit=${submit}>
      <header>
        ${mark()}
        <h1 tabindex="-1" data-focus=${wantsPassword ? nothing : ""}>${texts.enterTitle}</h1>
        ${hasLink ? nothing : html`<p class="dim">${texts.tagline}</p>`}
      </header>
      ${refusalPart(session, session.refusal, ["start", "watch", "rejoin"])}
      ${
        hasLink
          ? nothing
          : html`<label class="field">
            <span>${texts.link}</span>
            <input
              data-field="link"
              type="url"
              inputmode="url"
              autocomplete="off"
              placeholder=${texts.linkHint}
              .value=${session.invite}
              @input=${setLink}
            />
          </label>`
      }
      ${nameField(session)} ${wantsPassword ? passwordField(session, texts.password) : nothing}
      ${isInsecure() ? html`<p class="hint">${texts.reasons.insecure}</p>` : nothing} ${localNetworkHint(session)}
      <div class="stack">
        ${isInsecure() ? nothing : html`<button data-act="join">${icon("camera")}${texts.join}</button>`}
        ${
          session.speaksOnly && !isInsecure()
            ? nothing
            : html`<button data-act="watch" class=${isInsecure() ? "" : "plain"}>${icon("eye")}${texts.watch}</button>`
        }
      </div>
      ${
        hasLink
          ? nothing
          : html`<button type="button" class="link" data-act="to-open" @click=${() => session.go("open")}>
            ${texts.openInstead}
          </button>`
      }
    </form>
  </main>`;
}

export function openForm(session: Session): Part {
  const { opening } = session;
  const submit = (event: Event) => {
    event.preventDefault();
    void session.openRoom();
  };
  const set = (of: "title" | "password") => (event: Event) => (opening[of] = (event.target as HTMLInputElement).value);
  const setStage = (event: Event) => (opening.stageOpen = (event.target as HTMLSelectElement).value === "all");
  return html`<main class="gate">
    <form class="card" @submit=${submit}>
      <header>
        ${mark()}
        <h1 tabindex="-1" data-focus>${texts.openTitle}</h1>
        <p class="dim">${texts.openLead}</p>
      </header>
      ${refusalPart(session, session.refusal, ["open", "start", "watch"])}
      <label class="field">
        <span>${texts.roomTitle}</span>
        <input data-field="title" maxlength="64" autocomplete="off" .value=${opening.title} @input=${set("title")} />
      </label>
      ${nameField(session)}
      <label class="field">
        <span>${texts.roomPassword}</span>
        <input
          data-field="password"
          type="password"
          maxlength="256"
          autocomplete="new-password"
          .value=${opening.password}
          @input=${set("password")}
        />
      </label>
      <label class="field">
        <span>${texts.stageWanted}</span>
        <select data-field="stage" @change=${setStage}>
          <option value="all" .selected=${opening.stageOpen}>${texts.stageAll}</option>
          <option value="asked" .selected=${!opening.stageOpen}>${texts.stageAsked}</option>
        </select>
      </label>
      ${switchPart(texts.lobbyWanted, opening.lobby, (isOn) => (opening.lobby = isOn), "", "lobby")}
      ${localNetworkHint(session)}
      <div class="stack"><button data-act="open">${icon("people")}${texts.open}</button></div>
      <button type="button" class="link" data-act="to-link" @click=${() => session.go("entrance")}>
        ${texts.linkInstead}
      </button>
    </form>
  </main>`;
}

/** A tab that has opened a room, and was loaded anew or has left. */
export function goOn(session: Session): Part {
  const submit = (event: Event) => {
    event.preventDefault();
    void session.openRoom();
  };
  return html`<main class="gate">
    <form class="card" @submit=${submit}>
      <header>
        ${mark()}
        <h1 tabindex="-1" data-focus>${session.ownRoom?.title || texts.goOnTitle}</h1>
        <p class="dim">${texts.goOnLead}</p>
      </header>
      ${refusalPart(session, session.refusal, ["start", "watch", "rejoin"])} ${nameField(session)}
      <div class="stack">
        <button data-act="open">${icon("host")}${texts.goOn}</button>
        ${wayButton(session, "open", "plain")}
      </div>
    </form>
  </main>`;
}

export function joining(session: Session): Part {
  const { isInLobby, notice, isRendezvousUp } = session;
  const says = isRendezvousUp ? notice?.says : texts.retrying;
  return html`<main class="gate">
    <div class="card waiting">
      <div class="pulse" aria-hidden="true">${mark()}</div>
      <h1 tabindex="-1" data-focus>${isInLobby ? texts.lobbyTitle : session.isOpening ? texts.opening : texts.joining}</h1>
      <p role="status">${isInLobby ? texts.lobby : (says ?? nothing)}</p>
      <button type="button" class="plain" data-act="cancel" @click=${() => session.cancel()}>${texts.cancel}</button>
    </div>
  </main>`;
}

export function end(session: Session): Part {
  const { refusal } = session;
  return html`<main class="gate">
    <div class="card">
      <header>${mark()}</header>
      <div role="alert"><h1 tabindex="-1" data-focus>${refusal?.says ?? texts.reasons.left}</h1></div>
      ${waysOf(session, refusal?.ways ?? ["start"])}
    </div>
  </main>`;
}
