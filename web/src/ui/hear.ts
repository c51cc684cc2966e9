// What the events of a room change on the page.

import type { Reason, RoomEvent } from "../room.js";
import { texts } from "../texts.js";
import { emptyStage } from "./empty-stage.js";
import { lacksMixer } from "./health.js";
import { keepLink, keepOwnRoom } from "./page-link.js";
import { refusalFor } from "./refusals.js";
import type { Session } from "./session.js";

/** Removals by another host that are listed: as many as a roster holds. */
const REMOVED_MAX = 64;
/** Time for which a change of network is told, in milliseconds: long enough to be read. A guess. */
const NETWORK_NOTICE_MS = 8000;

export function hear(session: Session, event: RoomEvent): void {
  const { room } = session;
  switch (event.what) {
    case "in-lobby":
      session.isInLobby = true;
      session.changed();
      return;
    case "rendezvous":
      session.isRendezvousUp = event.up;
      session.rejected = (event.reason && texts.rejected[event.reason]) ?? null;
      session.changed();
      return;
    case "network-changed":
      networkChanged(session);
      return;
    case "trouble":
      tellReason(session, event.reason);
      return;
    case "other-clock":
      tellReason(session, "other-clock");
      return;
    case "own-clock":
      if (event.ahead_s !== 0) tellReason(session, "wrong-clock");
      return;
    case "no-mixer":
      void noMixer(session);
      return;
    case "no-place":
      session.tell({ says: texts.noPlace, ways: ["dismiss"], isAlert: false, about: "no-place" });
      return;
  }
  if (room) inRoom(session, event);
  else if (event.what === "removed") session.giveUp(refusalFor("removed"));
  else if (event.what === "ended") session.giveUp(refusalFor("ended"));
}

function inRoom(session: Session, event: RoomEvent): void {
  switch (event.what) {
    case "connection":
      if (event.state !== "closed") void session.renew();
      break;
    case "speaking":
      session.speaking = event.speaking;
      session.changed();
      break;
    case "lists":
      if (event.list === "commands") session.tell({ says: texts.chatCommands, ways: ["dismiss"], isAlert: false });
      else session.showPanel("people");
      break;
    case "knock":
      wanted(session, texts.knocks(of(event, event.peer), event.mixes, event.others));
      break;
    case "floor-wanted":
      wanted(session, texts.wantsFloor(of(event, event.peer), event.others));
      break;
    case "removed-by-another":
      session.removedByAnother = [...session.removedByAnother, event].slice(-REMOVED_MAX);
      wanted(session, texts.removedByAnother(of(event, event.peer), of(event, event.by)));
      break;
    case "floor":
      floor(session, event.speaks);
      break;
    case "floor-offered":
      session.tell({
        says: texts.floorOffered,
        ways: ["stage", "dismiss"],
        isAlert: true,
        whileTrue: () => !session.isOnStage,
      });
      break;
    case "floor-denied":
      denied(session);
      break;
    case "muted-by-host":
      void muted(session, event);
      break;
    case "data":
      said(session, event);
      break;
    case "solo":
      if (!event.comes && session.pinned === event.speaker) {
        session.announce(texts.soloAway(session.nameOf(event.speaker)));
      }
      break;
    case "solo-refused":
      session.pin(null);
      session.tell({ says: texts.soloRefused(session.nameOf(event.speaker)), ways: ["dismiss"], isAlert: false });
      break;
    case "host":
      if (event.peer && session.snapshot) {
        const isMe = event.peer === session.snapshot.peer;
        if (isMe || session.snapshot.host !== event.peer) {
          session.announce(isMe ? texts.hostIsMe : texts.hostIs(session.nameOf(event.peer)));
        }
      }
      void session.renew();
      break;
    case "invite":
      session.invite = event.invite;
      keepLink(event.invite);
      session.changed();
      break;
    case "parent":
      if (event.peer && session.notice?.about === "no-place") session.notice = null;
      void session.renew();
      break;
    case "mode":
    case "stage":
    case "backup":
      void session.renew();
      break;
    case "removed":
      session.finish(refusalFor("removed"));
      break;
    case "ended":
      session.ownRoom = null;
      keepOwnRoom(null);
      session.finish(refusalFor("ended"));
      break;
    case "closed":
      if (event.end === "replaced") session.finish(refusalFor("replaced"));
      else if (event.end === "left") session.leave();
      break;
    case "refused":
      session.finish(refusalFor(event.reason));
      break;
  }
}

/** What keeps this peer from its room, or from what its user wants. */
function tellReason(session: Session, reason: Reason): void {
  session.tell({ says: texts.reasons[reason], ways: session.room ? ["dismiss"] : [], isAlert: false });
}

/** The device goes on over another network by itself, so the notice stays for a moment alone. */
function networkChanged(session: Session): void {
  const endMs = performance.now() + NETWORK_NOTICE_MS;
  const whileTrue = () => performance.now() < endMs;
  session.tell({ says: texts.networkChanged, ways: ["dismiss"], isAlert: false, whileTrue });
}

/** The name of a peer beside an event. */
const of = ({ labels }: RoomEvent, peer: string): string => labels[peer] ?? peer.slice(0, 8);

/** A peer on stage has told the room a text; other applications may tell bytes that are none. */
function said(session: Session, event: RoomEvent & { what: "data" }): void {
  const { chat, snapshot } = session;
  const { from: peer, bytes } = event;
  if (peer === snapshot?.peer) return;
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(new Uint8Array(bytes));
  } catch {
    return;
  }
  const named = snapshot?.stage.some((one) => one.peer === peer && one.named) ?? false;
  chat.add({ peer, label: of(event, peer), host: snapshot?.host === peer, named, text }, session.panel === "chat");
  session.announce(texts.said(of(event, peer), text));
}

/** Somebody waits for the host, which sees it in the list of people. */
function wanted(session: Session, says: string): void {
  if (session.panel === "people") session.announce(says);
  else session.tell({ says, ways: ["people", "dismiss"], isAlert: false });
  void session.renew();
}

/** Nobody mixes, which the next snapshot shows. A stage that is empty says so itself. */
async function noMixer(session: Session): Promise<void> {
  await session.renew();
  const whileTrue = () => {
    const { snapshot, room } = session;
    return (
      snapshot === null || (lacksMixer(snapshot) && (room?.picture.hasChildNodes() || emptyStage(snapshot) === null))
    );
  };
  if (whileTrue()) session.tell({ says: texts.noMixer, ways: ["dismiss"], isAlert: false, whileTrue });
}

/** The host has muted this peer, or has switched its camera off. */
async function muted(session: Session, { picture, sound }: { picture: boolean; sound: boolean }): Promise<void> {
  const { capture } = session;
  if (!session.isOnStage) return;
  const [wasSoundOn, wasPictureOn] = [sound && capture.isSoundOn, picture && capture.picture !== null];
  if (wasPictureOn) await session.setPicture(false);
  if (wasSoundOn) {
    await session.setSound(false);
    const whileTrue = () => session.isOnStage && !capture.isSoundOn;
    session.tell({ says: texts.mutedByHost, ways: ["unmute", "dismiss"], isAlert: true, whileTrue });
  } else if (wasPictureOn) {
    const whileTrue = () => session.isOnStage && capture.picture === null;
    session.tell({ says: texts.pictureOffByHost, ways: ["dismiss"], isAlert: true, whileTrue });
  }
}

/**
 * The host has not given the floor, or has taken it from a speaker that had asked for it once: before or after the
 * loss.
 */
function denied(session: Session): void {
  const isTaken = session.isOnStage ? !session.waitsForFloor : session.notice?.about === "floor-taken";
  session.isHandUp = false;
  if (session.isOnStage) session.giveFloor();
  tellFloor(session, isTaken);
}

/** Tells that the floor is lost, until the user is on the way to it again. */
function tellFloor(session: Session, isTaken: boolean): void {
  const whileTrue = () => !session.isHandUp && !session.isOnStage;
  const notice = { ways: ["dismiss"], isAlert: true, whileTrue } as const;
  session.tell(
    isTaken ? { ...notice, says: texts.floorTaken, about: "floor-taken" } : { ...notice, says: texts.floorDenied },
  );
}

/** The host has given the floor, or has taken it. */
function floor(session: Session, speaks: boolean): void {
  const { capture } = session;
  if (speaks && session.isHandUp) {
    session.isHandUp = false;
    const whileTrue = () => !session.isOnStage;
    session.tell({
      says: texts.floorGiven,
      ways: ["stage", "dismiss"],
      isAlert: true,
      about: "floor-given",
      whileTrue,
    });
  } else if (speaks && session.isOnStage) {
    session.announce(texts.floorGiven);
  } else if (!speaks && (session.isOnStage || session.notice?.about === "floor-given")) {
    session.isHandUp = false;
    capture.close();
    tellFloor(session, true);
  }
  void session.renew();
}
