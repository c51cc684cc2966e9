// The one owner of <plenary-room>'s state: the room, and what the user does before it, in it and after it. It outlives
// the element, whose successor takes it over.

import { decodesPictures, joinsRooms } from "../devices.js";
import { lock } from "../identity.js";
import { Refused } from "../refused.js";
import { type HostOptions, host, join, type Room, type RoomEvent, type Snapshot } from "../room.js";
import { texts } from "../texts.js";
import { HISTORY_LEN_MAX } from "./health.js";
import { hear } from "./hear.js";
import { keepLink, keepOwnRoom, type OwnRoom } from "./page-link.js";
import { lineFor, type Refusal, refusalFor, refusalOf } from "./refusals.js";
import { type At, type Dialog, type Panel, type RemovedByAnother, State } from "./state.js";
import { closeSmallWindow } from "./windows.js";

/** Interval of the snapshots, in milliseconds: with the panel of the connection, and without. */
const SNAPSHOT_MS = { open: 1000, closed: 2000 };
/** Time that the last messages need, in milliseconds. */
const PARTING_MS = 200;
/**
 * Time within which another host may turn out to have taken over while this page was loaded anew, in milliseconds. A
 * guess.
 */
const REIGN_MS = 30_000;

export class Session extends State {
  #attempt: AbortController | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** Until when a page that goes on as host takes the room back. */
  #reignUntil = 0;
  /** What lets other tabs open a room that this one has opened. */
  readonly #locks = new WeakMap<Room, () => void>();
  /** What "again" does. */
  #last: () => void = () => {};

  /** Whether it is in a room, or on its way into one. */
  get isUnderWay(): boolean {
    return this.room !== null || this.at === "joining";
  }

  showPanel(panel: Panel): void {
    if (this.panel !== panel) this.togglePanel(panel);
  }

  togglePanel(panel: Panel): void {
    this.panel = this.panel === panel ? null : panel;
    if (this.panel === "chat") this.chat.read();
    if (this.panel === "people") this.#seen();
    this.#poll();
    this.changed();
  }

  /** Nobody waits, or the list shows it. */
  #seen(): void {
    if (this.notice?.ways.includes("people")) this.notice = null;
  }

  // before the room

  /** Asks for the devices and shows them. To be called at a click. */
  async prepare(): Promise<void> {
    this.#last = () => void this.prepare();
    if (this.#isUnfit()) return;
    this.notice = null;
    const { at } = this;
    try {
      await this.capture.open();
      if (!this.capture.isOpen) return;
      if (this.at === at) this.go("prejoin");
      // the user went on while the browser asked
      else if (this.at !== "prejoin") this.capture.close();
    } catch (error) {
      if (this.at === at) this.go("entrance", refusalOf(error));
    }
  }

  /** Joins to watch. */
  watch(): Promise<void> {
    this.#last = () => void this.watch();
    this.capture.close();
    return this.#join(false);
  }

  /** Joins with the devices that have been opened. */
  speak(): Promise<void> {
    this.#last = () => void this.speak();
    return this.#join(true);
  }

  /** Opens a room. */
  async openRoom(): Promise<void> {
    this.#last = () => void this.openRoom();
    if (!joinsRooms()) return this.go("open", refusalFor("no-browser"));
    const { ownRoom, assets, rendezvous } = this;
    const { title, password, lobby, stageOpen, mixing } = ownRoom ?? this.opening;
    const options: HostOptions = { name: this.capture.choices.name, title, lobby, stageOpen, speaks: false };
    if (mixing) options.mixing = mixing;
    Object.assign(options, optional({ password, assets, rendezvous, mixedBy: texts.mixedBy }));
    if (ownRoom) options.keys = Uint8Array.from(atob(ownRoom.keys), (char) => char.charCodeAt(0));
    const id = ownRoom?.id ?? base64(crypto.getRandomValues(new Uint8Array(16)));
    await this.#enter("open", (onEvent, signal) => this.#host(id, { ...options, onEvent, signal }));
    const { room } = this;
    if (!room) return;
    const keep = () => {
      if (!room.keys) return;
      const { lobby, stageOpen, mixing } = this.ownRoom ?? this.opening;
      this.#keepOwn({ id, title, password, lobby, stageOpen, ...(mixing ? { mixing } : {}), keys: base64(room.keys) });
    };
    room.addEventListener("keys", keep);
    keep();
    if (!ownRoom) return this.setDialog({ is: "invite" });
    this.#reignUntil = performance.now() + REIGN_MS;
    void this.renew();
  }

  /** Opens a room, unless another tab has it open. */
  async #host(id: string, options: HostOptions): Promise<Room> {
    const release = await lock(`plenary-room-${id}`);
    if (!release) throw new Refused("open-elsewhere");
    try {
      const room = await host(options);
      this.#locks.set(room, release);
      return room;
    } catch (error) {
      release();
      throw error;
    }
  }

  /** Gives up joining. */
  cancel(): void {
    this.#attempt?.abort();
    this.go(this.isOpening ? "open" : this.capture.isOpen ? "prejoin" : "entrance");
  }

  /** Goes back from the devices, or from joining, to the entrance. */
  withdraw(): void {
    this.capture.close();
    if (this.at === "joining") this.cancel();
    else if (this.at === "prejoin") this.go("entrance");
  }

  /** Shows why the room is over before it began. */
  giveUp(refusal: Refusal): void {
    this.#attempt?.abort();
    this.#attempt = null;
    this.capture.close();
    this.go("end", refusal);
  }

  /** Goes to the entrance of another room; out of a room, only after a question. */
  follow(link: string): void {
    if (this.room && link === this.invite) return;
    if (this.room) {
      const act = () => {
        this.leave();
        this.follow(link);
      };
      return this.setDialog({ is: "confirm", says: texts.followSure, label: texts.followNow, act });
    }
    this.#attempt?.abort();
    this.#attempt = null;
    this.capture.close();
    this.invite = link;
    this.hasLink = true;
    this.ownRoom = null;
    this.password = "";
    keepLink(link);
    keepOwnRoom(null);
    this.go("entrance");
  }

  #join(speaks: boolean): Promise<void> {
    if (this.#isUnfit()) return Promise.resolve();
    const { invite, password, assets } = this;
    const { name } = this.capture.choices;
    const back = speaks ? "prejoin" : "entrance";
    const optionals = optional({ password, assets, mixedBy: texts.mixedBy });
    return this.#enter(back, async (onEvent, signal) => {
      const options = { invite, name, ...optionals, onEvent, signal };
      try {
        return await join({ ...options, speaks });
      } catch (error) {
        // a closed stage takes viewers, which then ask for the floor
        if (!speaks || !(error instanceof Refused && error.reason === "stage-closed")) throw error;
        const room = await join({ ...options, speaks: false });
        room.speak(true);
        return room;
      }
    });
  }

  #isUnfit(): boolean {
    const why = joinsRooms() ? (this.invite.includes("#") ? null : "not-an-invite") : "no-browser";
    if (why) this.go("entrance", refusalFor(why));
    return why !== null;
  }

  async #enter(
    back: At,
    open: (onEvent: (event: RoomEvent) => void, signal: AbortSignal) => Promise<Room>,
  ): Promise<void> {
    this.#attempt?.abort();
    const attempt = new AbortController();
    this.#attempt = attempt;
    this.#forget();
    this.isOpening = back === "open";
    this.go("joining");
    // a room that has been given up is heard no more
    const onEvent = (event: RoomEvent) => this.#attempt === attempt && this.#hear(event);
    try {
      const room = await open(onEvent, attempt.signal);
      if (this.#attempt !== attempt || attempt.signal.aborted) {
        room.leave();
        return this.#close(room);
      }
      await this.#entered(room);
    } catch (error) {
      if (this.#attempt === attempt && !attempt.signal.aborted) this.go(back, refusalOf(error));
    }
  }

  async #entered(room: Room): Promise<void> {
    this.room = room;
    this.capture.isInRoom = true;
    this.password = "";
    if (room.invite) {
      this.invite = room.invite;
      this.hasLink = true;
      keepLink(room.invite);
    }
    if (!decodesPictures()) this.tell({ says: texts.noDecoder, ways: ["dismiss"], isAlert: false });
    this.go("room");
    room.setLoudspeaker(this.capture.choices.loudspeaker);
    // begun at once: until then the devices count as those of a preview
    await Promise.all([this.capture.isOpen ? this.#publish() : null, this.renew()]);
    // a click allows sound; without one the page asks for it
    if (navigator.userActivation?.hasBeenActive ?? this.capture.isOpen) await this.soundOn();
  }

  // in the room

  async soundOn(): Promise<void> {
    try {
      await this.room?.unmute();
      this.isSoundOn = true;
    } catch {
      this.isSoundOn = false;
    }
    this.changed();
  }

  /** Shows what may be shown before going on stage: the preview, or at once the request of a closed stage. */
  takeFloor(): void {
    this.isHandUp = !(this.snapshot?.stage_open ?? true) && !this.isHost && !this.snapshot?.speaks;
    if (this.isHandUp) this.room?.speak(true);
    else void this.showStage();
    this.changed();
  }

  /** Opens the devices, and shows them before the others see them. To be called at a click. */
  async showStage(): Promise<void> {
    const { room } = this;
    await this.attempt(async () => {
      await this.capture.open();
      if (this.capture.isOpen && this.room === room) this.setDialog({ is: "stage" });
    });
  }

  /** Goes on stage with the devices that have been opened. */
  async goOnStage(): Promise<void> {
    this.notice = this.dialog = null;
    this.room?.speak(true);
    const published = this.attempt(() => this.#publish());
    this.changed();
    await published;
  }

  /**
   * Changes the dialog. Devices that it has opened, or asked for, for a user who stays off stage are closed with it,
   * and a floor that the host has given goes back.
   */
  override setDialog(dialog: Dialog | null): void {
    const hasDevices = this.dialog?.is === "stage" || this.dialog?.is === "settings";
    if (!dialog && hasDevices && this.room && !this.isOnStage) {
      if (this.capture.isOpen && this.snapshot?.speaks) this.room.speak(false);
      this.capture.close();
    }
    super.setDialog(dialog);
  }

  async #publish(): Promise<void> {
    if (!this.room) return;
    await this.capture.publishTo(this.room);
    const { missing } = this.capture;
    if (missing) {
      const whileTrue = () => this.capture.missing === missing;
      this.tell({ says: lineFor(missing), ways: ["settings", "dismiss"], isAlert: false, whileTrue });
    }
    void this.renew();
  }

  /** Leaves the stage, or takes the hand down. */
  giveFloor(): void {
    this.isHandUp = false;
    this.room?.speak(false);
    this.capture.close();
    void this.renew();
  }

  /** Does something with devices; a refusal becomes a notice. */
  async attempt(act: () => Promise<void>): Promise<void> {
    this.#last = () => void this.attempt(act);
    if (this.notice?.ways.includes("again")) this.notice = null;
    try {
      await act();
    } catch (error) {
      const { says } = refusalOf(error);
      this.tell({ says, ways: ["again", "dismiss"], isAlert: true });
    }
  }

  setSound(isOn: boolean): Promise<void> {
    return this.attempt(() => this.capture.setSound(isOn));
  }

  setPicture(isOn: boolean): Promise<void> {
    return this.attempt(() => this.capture.setPicture(isOn));
  }

  toggleShare(file: File | null = null): Promise<void> {
    const { capture } = this;
    return this.attempt(() => (capture.share ? capture.stopShare() : capture.startShare(file)));
  }

  pin(peer: string | null): void {
    this.pinned = peer;
    this.room?.pin(peer);
    this.changed();
  }

  handOver(peer: string): void {
    this.#reignUntil = 0;
    this.room?.handOver(peer);
  }

  /** Tells the room a text, or gives it the command that a line with a slash is. */
  say(text: string): void {
    const { room, snapshot } = this;
    if (!room || !snapshot || !text.trim()) return;
    if (text.trimStart().startsWith("/")) {
      room.line(text);
      return;
    }
    room.tell(text.trim());
    const { peer } = snapshot;
    const named = snapshot.stage.some((one) => one.peer === peer && one.named);
    this.chat.add({ peer, label: this.nameOf(peer), host: this.isHost, named, text: text.trim() }, true);
    this.changed();
  }

  /** Judges a removal by another host: the peer stays out, or may come back. */
  judge(removed: RemovedByAnother, staysOut: boolean): void {
    if (staysOut) this.room?.remove(removed.peer);
    this.removedByAnother = this.removedByAnother.filter((one) => one !== removed);
    void this.renew();
  }

  /** Reads the snapshot anew. */
  async renew(): Promise<void> {
    const { room } = this;
    if (!room) return;
    if (this.panel === "connection") room.askRates();
    const snapshot = await room.snapshot();
    if (room !== this.room) return;
    this.#announceStage(this.snapshot, snapshot);
    this.#unpinAbsent(snapshot);
    this.snapshot = snapshot;
    if (!this.isHost && performance.now() < this.#reignUntil) room.takeBack();
    if (snapshot.waiting.length + snapshot.wanting.length + this.removedByAnother.length === 0) this.#seen();
    this.history = [...this.history, snapshot].slice(-HISTORY_LEN_MAX);
    // after a reload the room's door is as it was
    const { lobby, stage_open: stageOpen, mix_policy: mixing } = snapshot;
    const { ownRoom } = this;
    const isChanged =
      ownRoom && (ownRoom.lobby !== lobby || ownRoom.stageOpen !== stageOpen || ownRoom.mixing !== mixing);
    if (this.isHost && ownRoom && isChanged) this.#keepOwn({ ...ownRoom, lobby, stageOpen, mixing });
    this.#poll();
    this.changed();
  }

  #keepOwn(room: OwnRoom): void {
    this.ownRoom = room;
    keepOwnRoom(room);
  }

  /** Shows the whole room again after the pinned speaker has left the stage; one that is away may come back. */
  #unpinAbsent({ connection, stage }: Snapshot): void {
    const { pinned } = this;
    if (!pinned || connection !== "connected" || stage.some(({ peer, speaks }) => peer === pinned && speaks)) return;
    const says = texts.pinnedLeft(this.nameOf(pinned));
    this.pin(null);
    this.tell({ says, ways: ["dismiss"], isAlert: false, whileTrue: () => this.pinned === null });
  }

  #announceStage(before: Snapshot | null, now: Snapshot): void {
    if (!before) return;
    const of = ({ stage }: Snapshot) => stage.filter(({ speaks }) => speaks);
    const missing = (from: Snapshot, other: Snapshot) =>
      of(other).filter(({ peer }) => peer !== now.peer && !of(from).some((one) => one.peer === peer));
    const names = (list: { label: string }[]) => list.map(({ label }) => label).join(", ");
    const [came, left] = [missing(before, now), missing(now, before)];
    if (came.length > 0) this.announce(texts.cameOnStage(names(came)));
    else if (left.length > 0) this.announce(texts.leftStage(names(left)));
  }

  #poll(): void {
    clearTimeout(this.#timer);
    if (!this.room) return;
    this.#timer = setTimeout(
      () => void this.renew(),
      this.panel === "connection" ? SNAPSHOT_MS.open : SNAPSHOT_MS.closed,
    );
  }

  #hear(event: RoomEvent): void {
    hear(this, event);
    this.view.heard(event);
  }

  // the end

  leave(): void {
    this.room?.leave();
    this.finish({ ...refusalFor("left"), ways: ["rejoin", "open"] });
  }

  /** Shows why the room is over for this peer. */
  finish(refusal: Refusal): void {
    const { room } = this;
    if (!room) return;
    this.#attempt = null;
    this.room = null;
    this.capture.leaveRoom();
    if (this.snapshot) this.snapshot = { ...this.snapshot, connection: "closed" };
    clearTimeout(this.#timer);
    this.capture.close();
    this.dialog = this.panel = this.notice = null;
    closeSmallWindow();
    this.#close(room);
    this.go("end", refusal);
  }

  /** Closes a room once its last messages are sent. */
  #close(room: Room): void {
    setTimeout(() => {
      room.close();
      this.#locks.get(room)?.();
    }, PARTING_MS);
  }

  #forget(): void {
    this.snapshot = this.notice = this.panel = this.dialog = this.pinned = null;
    this.history = [];
    this.speaking = [];
    this.isInLobby = this.isHandUp = this.isSoundOn = false;
    this.removedByAnother = [];
    this.isRendezvousUp = true;
    this.rejected = null;
    this.#reignUntil = 0;
    this.chat.clear();
  }

  /** Tries the last thing once more. */
  again(): void {
    this.#last();
  }
}

const base64 = (bytes: Uint8Array) => btoa(String.fromCharCode(...bytes));

/** Without the fields that are empty. */
function optional<Of extends Record<string, string | undefined>>(fields: Of): { [Key in keyof Of]?: string } {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value)) as { [Key in keyof Of]?: string };
}
