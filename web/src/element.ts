// <plenary-room>: the page of a room, as an element.
//
// Attributes: `invite` (by default the address of the page), `name`. The room lives on when the element is taken out of the
// document; `leave()` ends it.

import { css, html, LitElement, nothing } from "lit";

import { join, type Room, type RoomEvent, type Snapshot } from "./room.js";
import { texts } from "./texts.js";

/** Where a link is kept that has left the address: a reload finds it again. */
const INVITE_KEY = "plenary-invite";

type Screen =
  | { at: "entrance"; why: string | null }
  | { at: "joining"; says: string }
  | { at: "room"; room: Room; says: string | null; muted: boolean }
  | { at: "end"; says: string };

export class PlenaryRoom extends LitElement {
  static override properties = {
    invite: { type: String },
    name: { type: String },
    assets: { type: String },
    screen: { state: true },
  };

  static override styles = css`
    :host {
      display: grid;
      block-size: 100%;
      min-block-size: 12rem;
      color: #f2f2ee;
      background: #14161a;
      font: 1rem/1.5 system-ui, sans-serif;
    }
    form,
    .note {
      place-self: center;
      display: grid;
      gap: 1rem;
      inline-size: min(22rem, 100% - 2rem);
    }
    h1 {
      margin: 0;
      font-size: 1.5rem;
      font-weight: 600;
    }
    label {
      display: grid;
      gap: 0.25rem;
    }
    input,
    button {
      min-block-size: 2.75rem;
      padding: 0 1rem;
      border: 1px solid #8a919e;
      border-radius: 0.5rem;
      color: inherit;
      background: #1d2026;
      font: inherit;
    }
    button {
      border-color: transparent;
      background: #3a62d8;
      cursor: pointer;
    }
    :focus-visible {
      outline: 3px solid #9db7ff;
      outline-offset: 2px;
    }
    [role="alert"] {
      padding: 0.75rem 1rem;
      border-radius: 0.5rem;
      background: #5c1f24;
    }
    .room {
      position: relative;
      display: grid;
      min-block-size: 0;
    }
    .bar {
      position: absolute;
      inset: auto 0 0;
      display: flex;
      flex-wrap: wrap;
      gap: 0.5rem;
      justify-content: center;
      padding: 1rem;
    }
    .bar [data-act="leave"] {
      background: #a8323c;
    }
    [role="status"] {
      position: absolute;
      inset: 1rem auto auto 50%;
      translate: -50% 0;
      padding: 0.25rem 1rem;
      border-radius: 0.5rem;
      background: #14161ad9;
    }
    [role="status"]:empty {
      display: none;
    }
  `;

  declare invite: string;
  declare name: string;
  declare assets: string | undefined;
  declare screen: Screen;
  #password: string | undefined;

  constructor() {
    super();
    this.invite = "";
    this.name = "";
    this.screen = { at: "entrance", why: null };
  }

  override connectedCallback(): void {
    super.connectedCallback();
    const query = new URLSearchParams(location.search);
    this.invite ||= linkOfPage();
    this.name ||= query.get("name") ?? "";
    if (query.get("auto") === "watch" && this.screen.at === "entrance") void this.watch();
  }

  /** What this peer knows of its room; null outside. */
  async snapshot(): Promise<Snapshot | null> {
    return this.screen.at === "room" ? await this.screen.room.snapshot() : null;
  }

  /** Joins to watch. */
  async watch(): Promise<void> {
    if (!("RTCRtpScriptTransform" in globalThis)) {
      this.screen = { at: "entrance", why: texts.noBrowser };
      return;
    }
    if (!this.invite.includes("#")) {
      this.screen = { at: "entrance", why: texts.noLink };
      return;
    }
    this.screen = { at: "joining", says: texts.joining };
    const { invite, name } = this;
    const password = this.#password ? { password: this.#password } : {};
    const assets = this.assets ? { assets: this.assets } : {};
    const onEvent = (event: RoomEvent) => this.#event(event);
    try {
      const room = await join({ invite, name, onEvent, ...password, ...assets });
      this.screen = { at: "room", room, says: null, muted: true };
    } catch (error) {
      this.screen = { at: "entrance", why: sentence(error instanceof Error ? error.message : String(error)) };
    }
  }

  /** Leaves the room. */
  leave(): void {
    if (this.screen.at !== "room") return;
    this.screen.room.leave();
    this.#end(texts.left);
  }

  #end(says: string): void {
    if (this.screen.at !== "room") return;
    const { room } = this.screen;
    this.screen = { at: "end", says };
    // the last messages need a moment
    setTimeout(() => room.close(), 200);
  }

  #event(event: RoomEvent): void {
    const { screen } = this;
    if (screen.at === "joining" && event.what === "in-lobby") this.screen = { at: "joining", says: texts.lobby };
    if (screen.at !== "room") return;
    switch (event.what) {
      case "state":
        if (event.state !== "ended") {
          this.screen = { ...screen, says: event.state === "reconnecting" ? texts.reconnecting : null };
        }
        break;
      case "no-mixer":
        this.screen = { ...screen, says: texts.noMixer };
        break;
      case "trouble":
        this.screen = { ...screen, says: sentence(event.why) };
        break;
      case "removed":
        this.#end(texts.removed);
        break;
      case "ended":
        this.#end(texts.ended);
        break;
      case "left":
        this.#end(texts.left);
        break;
      case "refused":
        this.#end(sentence(event.why));
        break;
    }
  }

  async #unmute(): Promise<void> {
    if (this.screen.at !== "room") return;
    const { screen } = this;
    await screen.room.unmute();
    this.screen = { ...screen, muted: false };
  }

  protected override render() {
    const { screen } = this;
    switch (screen.at) {
      case "entrance":
        return this.#entrance(screen.why);
      case "joining":
        return html`<p class="note" role="status" style="position:static;translate:none">${screen.says}</p>`;
      case "room":
        return html`<div class="room">
          ${screen.room.picture}
          <p role="status">${screen.says ?? nothing}</p>
          <div class="bar">
            ${screen.muted ? html`<button @click=${this.#unmute}>${texts.sound}</button>` : nothing}
            <button data-act="leave" @click=${this.leave}>${texts.leave}</button>
          </div>
        </div>`;
      case "end":
        return html`<div class="note">
          <p role="alert">${screen.says}</p>
          <button @click=${() => (this.screen = { at: "entrance", why: null })}>${texts.again}</button>
        </div>`;
    }
  }

  #entrance(why: string | null) {
    const submit = (event: Event) => {
      event.preventDefault();
      void this.watch();
    };
    const set = (of: "name" | "invite") => (event: Event) => (this[of] = (event.target as HTMLInputElement).value);
    const setPassword = (event: Event) => (this.#password = (event.target as HTMLInputElement).value);
    const asksPassword = why !== null && /password/i.test(why);
    return html`<form @submit=${submit}>
      <h1>${texts.title}</h1>
      ${why === null ? nothing : html`<p role="alert">${why}</p>`}
      ${linkOfPage()
        ? nothing
        : html`<label>${texts.link}<input data-field="link" .value=${this.invite} @input=${set("invite")} /></label>`}
      <label>${texts.name}<input data-field="name" autocomplete="name" maxlength="64" .value=${this.name} @input=${set("name")} /></label>
      ${asksPassword
        ? html`<label>${texts.password}<input data-field="password" type="password" @input=${setPassword} /></label>`
        : nothing}
      <button data-act="watch">${texts.watch}</button>
    </form>`;
  }
}

/** The link by which the page was opened. It leaves the address at once, so that nobody reads it off a screen. */
function linkOfPage(): string {
  if (location.hash.length > 1) {
    sessionStorage.setItem(INVITE_KEY, `${location.origin}/${location.hash}`);
    history.replaceState(null, "", location.pathname + location.search);
  }
  return sessionStorage.getItem(INVITE_KEY) ?? "";
}

function sentence(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? "" : "."}`;
}

customElements.define("plenary-room", PlenaryRoom);
