// <plenary-room>: the page of a room, as an element.
//
// Attributes are in the README. The room lives on when the element is taken out of the document, until the element is
// put back or another one with the same link comes; `leave()` ends it. Every event of the room is a `CustomEvent` named
// "plenary". Custom properties of its look are in styles.ts.

import { html, LitElement, nothing, type PropertyValues, type TemplateResult } from "lit";

import type { RoomEvent, Snapshot } from "./room.js";
import { styles } from "./styles.js";
import { languageOf, speakLanguage, texts } from "./texts.js";
import type { Message } from "./ui/chat-log.js";
import { prejoin } from "./ui/devices-view.js";
import { dialogView } from "./ui/dialogs.js";
import { end, entrance, goOn, joining, openForm } from "./ui/entrance.js";
import { Keys } from "./ui/keys.js";
import { linkOfPage, ownRoom, takeLink } from "./ui/page-link.js";
import { asksPassword, refusalFor } from "./ui/refusals.js";
import { roomView } from "./ui/room-view.js";
import { Session } from "./ui/session.js";
import type { At, View } from "./ui/state.js";
import { Awake, closeSmallWindow, play } from "./ui/windows.js";

/** Time without a hand on pointer or keys after which the bar hides on low screens, in milliseconds. */
const IDLE_MS = 4000;

/** Distance from the chat's end that counts as the end, in pixels. */
const CHAT_END_PX = 48;

/** Elements in the document, and those out of it whose room goes on. */
const [shown, hidden] = [new Set<PlenaryRoom>(), new Set<PlenaryRoom>()];

export { languageOf, texts };

/** Lets all elements of the document speak this language, if the page has it, otherwise English. */
export async function speak(code: string): Promise<void> {
  await speakLanguage(code);
  for (const one of shown) one.requestUpdate();
}

export class PlenaryRoom extends LitElement {
  static override properties = {
    invite: { type: String },
    name: { type: String },
    speak: { type: Boolean },
    assets: { type: String },
    rendezvous: { type: String },
  };

  static override styles = styles;

  declare invite: string;
  declare name: string;
  declare speak: boolean;
  declare assets: string | undefined;
  declare rendezvous: string | undefined;
  readonly #view: View = {
    changed: () => {
      if (!this.#session.isUnderWay) hidden.delete(this);
      this.requestUpdate();
    },
    heard: (event) =>
      this.dispatchEvent(new CustomEvent<RoomEvent>("plenary", { detail: event, bubbles: true, composed: true })),
  };
  #session = new Session(this.#view);
  readonly #keys = new Keys(() => this.#session, this);
  readonly #awake = new Awake();
  #isBegun = false;
  #idle: ReturnType<typeof setTimeout> | undefined;
  /** What had the focus before the dialog. */
  #opener: HTMLElement | null = null;
  /** What had the focus before the panel, if keys gave it. */
  #panelOpener: HTMLElement | null = null;
  /** What had the focus before an update, if keys gave it. */
  #focused: Element | null = null;
  /** Whether the end of the chat was in view before an update, so that a new message scrolls to it. */
  #isChatAtEnd = true;
  /** What was shown at the last update, so that the focus moves with changes alone. */
  #shown: { at: At; refusal: unknown; panel: unknown; last: Message | undefined } | null = null;

  constructor() {
    super();
    this.invite = "";
    this.name = "";
    this.speak = false;
  }

  override connectedCallback(): void {
    super.connectedCallback();
    document.addEventListener("keydown", this.#keys.down);
    document.addEventListener("keyup", this.#keys.up);
    addEventListener("blur", this.#keys.stopTalking);
    addEventListener("hashchange", this.#follow);
    navigator.mediaDevices?.addEventListener("devicechange", this.#list);
    for (const what of ["pointermove", "pointerdown", "keydown"]) this.addEventListener(what, this.#wake);
    if (this.#session.room) play(this.#session.room.picture);
    hidden.delete(this);
    shown.add(this);
    void speak(this.closest("[lang]")?.getAttribute("lang") ?? "en");
    if (!this.#isBegun) this.#begin();
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    document.removeEventListener("keydown", this.#keys.down);
    document.removeEventListener("keyup", this.#keys.up);
    removeEventListener("blur", this.#keys.stopTalking);
    removeEventListener("hashchange", this.#follow);
    navigator.mediaDevices?.removeEventListener("devicechange", this.#list);
    shown.delete(this);
    if (this.#session.isUnderWay) hidden.add(this);
    for (const other of shown) other.#takeOver();
    // an element that is moved is back at once; a preview that nobody sees is closed
    queueMicrotask(() => {
      if (!this.isConnected && !this.#session.isUnderWay) this.#session.withdraw();
    });
  }

  /** What this peer knows of its room; null before it. */
  async snapshot(): Promise<Snapshot | null> {
    const { room, snapshot } = this.#session;
    return room ? await room.snapshot() : snapshot;
  }

  /** Joins to watch. */
  watch(): Promise<void> {
    return this.#session.watch();
  }

  /** Asks for camera and microphone and shows them; the user joins from there. To be called at a click. */
  prepare(): Promise<void> {
    return this.#session.prepare();
  }

  /** Leaves the room, or gives up joining; also while the element is out of the document. */
  leave(): void {
    if (this.#session.room) this.#session.leave();
    else this.#session.withdraw();
  }

  /**
   * Goes on with the room of an element with the same link that has left the document, unless this one has a room
   * itself.
   */
  #takeOver(): boolean {
    const { at, given } = this.#session;
    const isFree = (at === "entrance" || at === "open") && !this.#session.isUnderWay;
    const other = [...hidden].find((one) => one.#session.isUnderWay && one.#session.given === given);
    if (!isFree || !other) return false;
    hidden.delete(other);
    [this.#session, other.#session] = [other.#session, this.#session];
    for (const one of [this, other]) {
      one.#session.view = one.#view;
      one.requestUpdate();
    }
    closeSmallWindow();
    void this.updateComplete.then(() => this.#session.room && play(this.#session.room.picture));
    return true;
  }

  #begin(): void {
    this.#isBegun = true;
    this.#session.given = this.invite;
    if (this.#takeOver()) return this.#follow();
    const session = this.#session;
    void session.watchLocalNetwork();
    const query = new URLSearchParams(location.search);
    const auto = query.get("auto");
    session.invite = this.invite || linkOfPage();
    session.hasLink = session.invite !== "";
    session.assets = this.assets;
    const name = this.name || query.get("name");
    if (name) session.capture.choices.name = name.slice(0, 64);
    session.ownRoom = this.invite ? null : ownRoom();
    session.at = session.hasLink && !session.ownRoom ? "entrance" : "open";
    if (auto === "watch") void session.watch();
    else if (auto === "speak") void this.#speakAtOnce();
  }

  /** Joins with camera and microphone without a click, which the page's host must have allowed: links can't. */
  async #speakAtOnce(): Promise<void> {
    const session = this.#session;
    const isAllowed = document.querySelector('meta[name="plenary-auto-speak"]')?.getAttribute("content") === "yes";
    if (!isAllowed) return session.go("entrance", { ...refusalFor("no-auto"), ways: [], isAlert: false });
    await session.prepare();
    if (session.at === "prejoin") await session.speak();
  }

  /** Another link was put into the address. An application that gives the link itself has its own fragments. */
  readonly #follow = () => {
    const link = this.invite ? null : takeLink();
    if (link) this.#session.follow(link);
  };
  readonly #list = () => {
    if (this.#session.capture.isOpen || this.#session.dialog?.is === "settings") void this.#session.capture.list();
  };
  readonly #wake = () => {
    clearTimeout(this.#idle);
    this.removeAttribute("idle");
    this.#idle = setTimeout(() => this.toggleAttribute("idle", true), IDLE_MS);
  };

  protected override willUpdate(changed: PropertyValues<this>): void {
    const session = this.#session;
    if (changed.has("invite") && this.invite && !session.room) {
      session.invite = session.given = this.invite;
      session.hasLink = true;
      if (session.at === "open") session.at = "entrance";
    }
    if (changed.has("name") && this.name) session.capture.choices.name = this.name.slice(0, 64);
    if (changed.has("speak")) session.speaksOnly = this.speak;
    if (changed.has("assets")) session.assets = this.assets;
    if (changed.has("rendezvous")) session.rendezvous = this.rendezvous;
    this.#focused = this.shadowRoot?.querySelector(":focus-visible") ?? null;
    const log = this.renderRoot?.querySelector(".messages");
    this.#isChatAtEnd = !log || log.scrollHeight - log.scrollTop - log.clientHeight < CHAT_END_PX;
  }

  protected override render(): TemplateResult {
    const session = this.#session;
    return html`${this.#screen()} ${dialogView(session, this)}
      <p class="unseen" role="status" aria-live="polite">${session.announced || nothing}</p>`;
  }

  #screen() {
    const session = this.#session;
    switch (session.at) {
      case "entrance":
        return entrance(session);
      case "open":
        return session.ownRoom ? goOn(session) : openForm(session);
      case "prejoin":
        return prejoin(session);
      case "joining":
        return joining(session);
      case "room":
        return roomView(session);
      case "end":
        return end(session);
    }
  }

  protected override updated(): void {
    const session = this.#session;
    const { at, refusal, panel, chat } = session;
    this.#awake.want(at === "room");
    this.#openDialog();
    const before = this.#shown;
    this.#shown = { at, refusal, panel, last: chat.messages.at(-1) };
    const focus = (what: string) => this.renderRoot.querySelector<HTMLElement>(what)?.focus();
    if (before && (before.at !== at || (refusal && before.refusal !== refusal))) {
      focus(asksPassword(session.refusal) ? '[data-field="password"]' : "[data-focus]");
      // a wrong password is written over
      this.renderRoot.querySelector<HTMLInputElement>('[data-field="password"]:focus')?.select();
    } else if (before && before.panel !== panel) {
      const focused = this.shadowRoot?.activeElement;
      // a button that was clicked doesn't count: the space bar talks after it
      if (!before.panel)
        this.#panelOpener = focused instanceof HTMLElement && focused.matches(":focus-visible") ? focused : null;
      if (panel === "chat") focus('[data-field="message"]');
      else if (panel) focus("[data-panel-focus]");
      else if (this.#panelOpener?.isConnected) this.#panelOpener.focus();
      else focus("[data-focus]");
    } else if (this.#focused?.isConnected === false && !this.shadowRoot?.activeElement) {
      // as the button by which a newcomer was let in: keys go on nearby
      focus(panel ? "[data-panel-focus]" : "[data-focus]");
    }
    const last = chat.messages.at(-1);
    const isNew = before?.last !== last && (this.#isChatAtEnd || last?.peer === session.snapshot?.peer);
    if (panel === "chat" && (before?.panel !== panel || isNew)) {
      const log = this.renderRoot.querySelector(".messages");
      log?.scrollTo({ top: log.scrollHeight });
    }
  }

  /** Shows the dialog; after it, what had the focus before has it again. */
  #openDialog(): void {
    const dialog = this.renderRoot.querySelector("dialog");
    const focused = this.shadowRoot?.activeElement;
    if (dialog && !dialog.open) {
      this.#opener = focused instanceof HTMLElement ? focused : null;
      dialog.showModal();
    } else if (!dialog && this.#opener) {
      if (!focused) this.#opener.focus();
      this.#opener = null;
    }
  }
}

declare global {
  interface HTMLElementTagNameMap {
    "plenary-room": PlenaryRoom;
  }
}

if (!customElements.get("plenary-room")) customElements.define("plenary-room", PlenaryRoom);
