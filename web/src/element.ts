// <plenary-room>: the page of a room, as an element.
//
// Attributes: `invite` (by default the address of the page), `name`. The room lives on when the element is taken out of the
// document; `leave()` ends it.

import { html, LitElement, nothing } from "lit";

import { decodesPictures, type Devices, openDevices, openScreen } from "./devices.js";
import { join, type Member, type Room, type RoomEvent, type Snapshot } from "./room.js";
import { styles } from "./styles.js";
import { texts } from "./texts.js";

/** Where a link is kept that has left the address: a reload finds it again. */
const INVITE_KEY = "plenary-invite";

type Screen =
  | { at: "entrance"; why: string | null }
  | { at: "joining"; says: string }
  | { at: "room"; room: Room; says: string | null; muted: boolean; own: Own | null; people: People }
  | { at: "end"; says: string };

/** Who is on stage. */
interface People {
  /** Whether the list is shown. */
  isShown: boolean;
  me: string;
  stage: Member[];
  speaking: string[];
}

/** What this peer sends. */
interface Own {
  devices: Devices;
  /** The screen in place of the camera. */
  screen: Devices | null;
  mutedPicture: boolean;
  mutedSound: boolean;
}

export class PlenaryRoom extends LitElement {
  static override properties = {
    invite: { type: String },
    name: { type: String },
    assets: { type: String },
    screen: { state: true },
  };

  static override styles = styles;

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
  watch(): Promise<void> {
    return this.#join(null);
  }

  /** Joins with camera and microphone, or as much of them as there is. */
  async speak(): Promise<void> {
    try {
      await this.#join(await openDevices());
    } catch (error) {
      this.screen = { at: "entrance", why: reason(error) };
    }
  }

  async #join(devices: Devices | null): Promise<void> {
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
      const room = await join({ invite, name, speaks: devices !== null, onEvent, ...password, ...assets });
      const people: People = { isShown: false, me: "", stage: [], speaking: [] };
      const says = decodesPictures() ? null : texts.noDecoder;
      this.screen = { at: "room", room, says, muted: true, own: null, people };
      void this.#renewPeople();
      if (devices) {
        await this.#publish(devices);
        // the click that gave the devices allows sound
        await this.#unmute();
      }
    } catch (error) {
      stop(devices);
      this.screen = { at: "entrance", why: reason(error) };
    }
  }

  async #publish(devices: Devices): Promise<void> {
    if (this.screen.at !== "room") return;
    const { room } = this.screen;
    const own = { devices, screen: null, mutedPicture: false, mutedSound: false };
    this.screen = { ...this.screen, own, says: devices.says ?? this.screen.says };
    for (const track of [devices.picture, devices.sound]) {
      if (track) track.onended = () => this.#lost(devices, track);
    }
    await room.publish(published(own));
  }

  /** A device was unplugged: what is left goes on. */
  #lost(devices: Devices, track: MediaStreamTrack): void {
    if (this.screen.at !== "room" || this.screen.own?.devices !== devices) return;
    const { room, own } = this.screen;
    if (devices.picture === track) devices.picture = null;
    if (devices.sound === track) devices.sound = null;
    this.screen = { ...this.screen, says: texts.lostDevice };
    void room.publish(published(own));
  }

  async #takeFloor(): Promise<void> {
    if (this.screen.at !== "room") return;
    const { room } = this.screen;
    try {
      const devices = await openDevices();
      room.speak(true);
      await this.#publish(devices);
    } catch (error) {
      this.screen = { ...this.screen, says: reason(error) };
    }
  }

  #giveFloor(): void {
    if (this.screen.at !== "room" || !this.screen.own) return;
    const { room, own } = this.screen;
    room.speak(false);
    void room.unpublish();
    stop(own.devices);
    stop(own.screen);
    this.screen = { ...this.screen, own: null };
  }

  #mute(kind: "picture" | "sound"): void {
    if (this.screen.at !== "room" || !this.screen.own) return;
    const { room, own } = this.screen;
    const field = kind === "picture" ? "mutedPicture" : "mutedSound";
    const changed = { ...own, [field]: !own[field] };
    room.mute(kind, changed[field]);
    this.screen = { ...this.screen, own: changed };
  }

  async #share(): Promise<void> {
    if (this.screen.at !== "room" || !this.screen.own) return;
    const { room, own } = this.screen;
    try {
      const screen = own.screen ? null : await openScreen();
      if (!own.screen && !screen) return;
      stop(own.screen);
      const changed = { ...own, screen };
      this.screen = { ...this.screen, own: changed };
      // the browser has a button of its own to end it
      if (screen?.picture) screen.picture.onended = () => void this.#unshare(screen);
      await room.publish(published(changed));
    } catch (error) {
      this.screen = { ...this.screen, says: reason(error) };
    }
  }

  async #unshare(screen: Devices): Promise<void> {
    if (this.screen.at === "room" && this.screen.own?.screen === screen) await this.#share();
  }

  /** Leaves the room. */
  leave(): void {
    if (this.screen.at !== "room") return;
    this.screen.room.leave();
    this.#end(texts.left);
  }

  #end(says: string): void {
    if (this.screen.at !== "room") return;
    const { room, own } = this.screen;
    stop(own?.devices ?? null);
    stop(own?.screen ?? null);
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
          const says = decodesPictures() ? null : texts.noDecoder;
          this.screen = { ...screen, says: event.state === "reconnecting" ? texts.reconnecting : says };
        }
        break;
      case "stage":
        void this.#renewPeople();
        break;
      case "speaking":
        this.screen = { ...screen, people: { ...screen.people, speaking: event.speaking } };
        break;
      case "no-mixer":
        this.screen = { ...screen, says: texts.noMixer };
        break;
      case "no-place":
        this.screen = { ...screen, says: texts.noPlace };
        break;
      case "parent":
        if (event.peer && screen.says === texts.noPlace) this.screen = { ...screen, says: null };
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

  async #renewPeople(): Promise<void> {
    const snapshot = await this.snapshot();
    if (this.screen.at !== "room" || !snapshot) return;
    const { people } = this.screen;
    this.screen = { ...this.screen, people: { ...people, me: snapshot.peer, stage: snapshot.stage } };
  }

  #togglePeople(): void {
    if (this.screen.at !== "room") return;
    const { people } = this.screen;
    this.screen = { ...this.screen, people: { ...people, isShown: !people.isShown } };
  }

  async #unmute(): Promise<void> {
    if (this.screen.at !== "room") return;
    await this.screen.room.unmute();
    if (this.screen.at === "room") this.screen = { ...this.screen, muted: false };
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
          ${screen.own ? this.#selfView(screen.own) : nothing}
          ${screen.people.isShown ? this.#people(screen.people) : nothing}
          <div class="bar">
            ${screen.muted ? html`<button data-act="sound" @click=${this.#unmute}>${texts.sound}</button>` : nothing}
            ${screen.own ? this.#speakersBar(screen.own) : this.#viewersBar()}
            <button data-act="people" aria-expanded=${screen.people.isShown} @click=${this.#togglePeople}>
              ${texts.people}
            </button>
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

  #selfView(own: Own) {
    const picture = (own.screen ?? own.devices).picture;
    if (!picture || own.mutedPicture) return nothing;
    const stream = streamOf(picture);
    return html`<video class="self ${own.screen ? "" : "mirrored"}" .srcObject=${stream} muted autoplay playsinline></video>`;
  }

  #speakersBar({ devices, screen, mutedPicture, mutedSound }: Own) {
    const [sound, picture] = [() => this.#mute("sound"), () => this.#mute("picture")];
    return html`
      ${devices.sound
        ? html`<button data-act="mute-sound" aria-pressed=${mutedSound} @click=${sound}>
            ${mutedSound ? texts.unmuteSound : texts.muteSound}
          </button>`
        : nothing}
      ${devices.picture && !screen
        ? html`<button data-act="mute-picture" aria-pressed=${mutedPicture} @click=${picture}>
            ${mutedPicture ? texts.unmutePicture : texts.mutePicture}
          </button>`
        : nothing}
      <button data-act="share" @click=${() => void this.#share()}>${screen ? texts.unshare : texts.share}</button>
      <button data-act="give-floor" @click=${this.#giveFloor}>${texts.giveFloor}</button>
    `;
  }

  #people({ me, stage, speaking }: People) {
    const row = ({ peer, name, speaks, away, muted: [picture, sound] }: Member) => {
      const says = [
        peer === me ? texts.you : "",
        speaking.includes(peer) ? texts.speaking : "",
        !speaks ? texts.onlyMixes : "",
        speaks && sound ? texts.soundMuted : "",
        speaks && picture ? texts.pictureMuted : "",
        away ? texts.away : "",
      ];
      return html`<li class=${speaking.includes(peer) ? "speaking" : ""}>
        <span>${name || texts.nameless}</span> <small>${says.filter((one) => one).join(", ")}</small>
      </li>`;
    };
    return html`<ul class="people" aria-label=${texts.people}>
      ${stage.map(row)}
    </ul>`;
  }

  #viewersBar() {
    return html`<button data-act="take-floor" @click=${() => void this.#takeFloor()}>${texts.takeFloor}</button>`;
  }

  #entrance(why: string | null) {
    const submit = (event: Event) => {
      event.preventDefault();
      const button = (event as SubmitEvent).submitter;
      void (button?.dataset["act"] === "watch" ? this.watch() : this.speak());
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
      <button data-act="speak">${texts.speak}</button>
      <button data-act="watch" class="plain">${texts.watch}</button>
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

/** What is sent: the screen, or the camera; with both sounds there would be two, and a voice counts more. */
function published({ devices, screen }: Own) {
  const [picture, sound] = [screen?.picture ?? devices.picture, devices.sound ?? screen?.sound];
  return { ...(picture ? { picture } : {}), ...(sound ? { sound } : {}), shares: screen !== null };
}

const streams = new WeakMap<MediaStreamTrack, MediaStream>();

/** One stream per track: another one would make the self-view begin anew at each change of the page. */
function streamOf(track: MediaStreamTrack): MediaStream {
  const known = streams.get(track) ?? new MediaStream([track]);
  streams.set(track, known);
  return known;
}

function stop(devices: Devices | null): void {
  devices?.picture?.stop();
  devices?.sound?.stop();
}

function reason(error: unknown): string {
  return sentence(error instanceof Error ? error.message : String(error));
}

function sentence(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? "" : "."}`;
}

customElements.define("plenary-room", PlenaryRoom);
