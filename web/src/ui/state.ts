// What <plenary-room> shows: the fields that views read, and the simplest changes of them.

import { localNetwork } from "../local-network.js";
import type { MixPolicy, Room, RoomEvent, Snapshot } from "../room.js";
import { texts } from "../texts.js";
import { Capture } from "./capture.js";
import { Chat } from "./chat-log.js";
import { loadChoices } from "./choices.js";
import { emptyStage } from "./empty-stage.js";
import { type Health, healthOf } from "./health.js";
import type { OwnRoom } from "./page-link.js";
import type { Notice, Refusal } from "./refusals.js";

export type At = "entrance" | "open" | "prejoin" | "joining" | "room" | "end";
export type Panel = "people" | "chat" | "connection" | "host";
export type Dialog =
  | { is: "settings" | "stage" | "shortcuts" | "invite" | "leave" | "more" }
  | { is: "confirm"; says: string; label: string; act: () => void };

export type RemovedByAnother = RoomEvent & { what: "removed-by-another" };

/** Fields of the form for a new room. */
export interface Opening {
  title: string;
  password: string;
  lobby: boolean;
  stageOpen: boolean;
  /** By default what goes with an open or closed stage. */
  mixing?: MixPolicy;
}

/** What shows a state: an element. */
export interface View {
  changed(): void;
  heard(event: RoomEvent): void;
}

export class State {
  at: At = "entrance";
  /** What keeps the user out, on the screens before and after the room. */
  refusal: Refusal | null = null;
  /** What the user is told on the joining screen and in the room. */
  notice: Notice | null = null;
  invite = "";
  /** The link that the application gave, if it did. */
  given = "";
  /** Whether the address of the page, or the application, gave the link. */
  hasLink = false;
  /** A room that this tab has opened. */
  ownRoom: OwnRoom | null = null;
  assets: string | undefined;
  /** Address of the rendezvous for a new room; by default that of the page. */
  rendezvous: string | undefined;
  password = "";
  opening: Opening = { title: "", password: "", lobby: false, stageOpen: true };
  isInLobby = false;
  /** Whether a room is being opened, not joined. */
  isOpening = false;
  room: Room | null = null;
  snapshot: Snapshot | null = null;
  panel: Panel | null = null;
  dialog: Dialog | null = null;
  speaking: readonly string[] = [];
  /** The speaker that is shown alone. */
  pinned: string | null = null;
  isSoundOn = false;
  isHandUp = false;
  isRendezvousUp = true;
  /** Why the rendezvous takes this page no more, which is in the room still. */
  rejected: string | null = null;
  /** The browser's permission for the local network; null where none is needed. */
  localNetwork: PermissionStatus | null = null;
  /** Whether the application wants speakers alone: watching is not offered. */
  speaksOnly = false;
  /**
   * At a host that takes its room back: those that another one had removed meanwhile, until this one has judged each.
   */
  removedByAnother: readonly RemovedByAnother[] = [];
  /** What screen readers are told. */
  announced = "";
  readonly capture: Capture;
  readonly chat = new Chat();
  /** The snapshots of the last seconds. */
  protected history: Snapshot[] = [];

  constructor(public view: View) {
    const lost = (says: string, whileTrue: () => boolean) =>
      this.tell({ says, ways: ["settings", "dismiss"], isAlert: true, whileTrue });
    this.capture = new Capture(loadChoices(), () => this.changed(), lost);
  }

  /** Looks up the browser's permission for the local network, and follows it. */
  async watchLocalNetwork(): Promise<void> {
    this.localNetwork = await localNetwork(location.hostname);
    this.localNetwork?.addEventListener("change", () => this.changed());
    this.changed();
  }

  /** To be called after a change of a field. */
  changed(): void {
    if (this.notice?.whileTrue?.() === false) this.notice = null;
    this.view.changed();
  }

  get isHost(): boolean {
    return this.snapshot !== null && this.snapshot.host === this.snapshot.peer;
  }

  /** Whether this peer has gone on stage with devices of its own; those of a preview don't count. */
  get isOnStage(): boolean {
    return this.capture.isPublished && this.room !== null;
  }

  /** Whether this peer has gone on stage, and the host has not given the floor yet. */
  get waitsForFloor(): boolean {
    const { snapshot } = this;
    return this.isOnStage && snapshot !== null && !snapshot.speaks && !snapshot.stage_open && !this.isHost;
  }

  get health(): Health {
    const isLeftOut = !this.room?.picture.hasChildNodes() && emptyStage(this.snapshot) === "mesh-full";
    return isLeftOut ? { is: "weak", why: texts.empty["mesh-full"] } : healthOf(this.history);
  }

  go(at: At, refusal: Refusal | null = null): void {
    this.at = at;
    this.refusal = refusal;
    this.changed();
  }

  tell(notice: Notice | null): void {
    this.notice = notice;
    this.changed();
  }

  announce(text: string): void {
    this.announced = text;
    this.changed();
  }

  setDialog(dialog: Dialog | null): void {
    this.dialog = dialog;
    this.changed();
  }

  /**
   * The name of a peer as it is shown, by its id or the first digits of it; of an unknown peer the first eight digits.
   */
  nameOf(peer: string): string {
    const { stage = [], directory = [], waiting = [], wanting = [] } = this.snapshot ?? {};
    const known = [...stage, ...directory, ...waiting, ...wanting].find((one) => one.peer.startsWith(peer));
    return known?.label ?? peer.slice(0, 8);
  }
}
