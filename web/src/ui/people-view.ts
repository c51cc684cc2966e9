// The list of people: the stage, the audience where it is known, and what the host can do with each.

import { html, nothing } from "lit";
import { repeat } from "lit/directives/repeat.js";

import type { Labelled, Member } from "../room.js";
import { texts } from "../texts.js";
import { icon } from "./icons.js";
import { iconButton, type Part, rank } from "./parts.js";
import type { Session } from "./session.js";

/** People of the audience that are listed; a room may have thousands. */
const LISTED_MAX = 200;

type Person = Labelled<{ peer: string }>;
const nameOf = ({ label }: Person) => label;

export function peoplePanel(session: Session): Part {
  const { snapshot, isHost } = session;
  if (!snapshot) return nothing;
  const { stage, viewers } = snapshot;
  // the host's directory has all peers
  const audience = snapshot.directory.filter(({ peer }) => !stage.some((one) => one.peer === peer));
  return html`<div class="scroll" tabindex="0">
    ${isHost ? html`${waiting(session)} ${hands(session)} ${removals(session)}` : nothing}
    <section>
      <h3>${texts.onStage}</h3>
      <ul class="people">
        ${repeat(
          stage,
          ({ peer }) => peer,
          (member) => memberRow(session, member),
        )}
      </ul>
    </section>
    ${
      audience.length > 0
        ? html`<section>
          <h3>${texts.watchers(Math.max(viewers ?? 0, audience.length))}</h3>
          <ul class="people">
            ${repeat(
              audience.slice(0, LISTED_MAX),
              ({ peer }) => peer,
              (person) => viewerRow(session, person),
            )}
          </ul>
        </section>`
        : nothing
    }
  </div>`;
}

/** Newcomers in the lobby. */
function waiting({ snapshot, room }: Session): Part {
  const list = snapshot?.waiting ?? [];
  if (!room || list.length === 0) return nothing;
  return html`<section class="wanted">
    <h3>${texts.waiting}</h3>
    <ul class="people">
      ${repeat(
        list,
        ({ peer }) => peer,
        (person) => {
          const { peer, mixes } = person;
          return html`<li>
          <span class="who">${nameOf(person)} ${mixes ? html`<small>${texts.offersToMix}</small>` : nothing}</span>
          ${iconButton("check", texts.admit(nameOf(person)), "admit", () => room.admit(peer))}
          ${iconButton("close", texts.deny(nameOf(person)), "deny", () => room.deny(peer))}
        </li>`;
        },
      )}
    </ul>
    ${
      list.length > 1
        ? html`<button type="button" class="small" data-act="admit-all" @click=${() => list.forEach(({ peer }) => room.admit(peer))}>
          ${texts.admitAll}
        </button>`
        : nothing
    }
  </section>`;
}

/** Raised hands. */
function hands({ snapshot, room }: Session): Part {
  const list = snapshot?.wanting ?? [];
  if (!room || list.length === 0) return nothing;
  return html`<section class="wanted">
    <h3>${texts.hands}</h3>
    <ul class="people">
      ${repeat(
        list,
        ({ peer }) => peer,
        (person) => {
          const { peer } = person;
          return html`<li>
          <span class="who">${nameOf(person)}</span>
          ${iconButton("check", texts.promote(nameOf(person)), "promote", () => room.promote(peer))}
          ${iconButton("close", texts.denyFloor(nameOf(person)), "deny-floor", () => room.demote(peer))}
        </li>`;
        },
      )}
    </ul>
  </section>`;
}

/** Those that another host had removed while this one was away. */
function removals(session: Session): Part {
  const list = session.removedByAnother;
  if (list.length === 0) return nothing;
  return html`<section class="wanted">
    <h3>${texts.removedTitle}</h3>
    <ul class="people">
      ${repeat(
        list,
        ({ peer }) => peer,
        (removed) => {
          const { peer, by, labels } = removed;
          const label = labels[peer] ?? "";
          return html`<li>
          <span class="who">${label} <small>${texts.removedBy(labels[by] ?? "")}</small></span>
          ${iconButton("remove", texts.keepOut(label), "keep-out", () => session.judge(removed, true))}
          ${iconButton("check", texts.letBack(label), "let-back", () => session.judge(removed, false))}
        </li>`;
        },
      )}
    </ul>
  </section>`;
}

function memberRow(session: Session, member: Labelled<Member>): Part {
  const { snapshot, speaking, pinned, isHost, room } = session;
  const {
    peer,
    speaks,
    away,
    shares,
    muted: { picture, sound },
  } = member;
  const name = nameOf(member);
  const isMe = peer === snapshot?.peer;
  const says = [
    isMe ? texts.you : "",
    speaking.includes(peer) ? texts.speaking : "",
    !speaks ? texts.onlyMixes : "",
    speaks && shares ? texts.sharing : "",
    speaks && sound ? texts.soundMuted : "",
    speaks && picture ? texts.pictureMuted : "",
    away ? texts.away : "",
  ];
  const isPinned = pinned === peer;
  return html`<li class=${speaking.includes(peer) ? "speaking" : ""}>
    ${speaks ? icon(sound ? "microphoneOff" : "microphone") : icon("connection")}
    <span class="who">${name} ${rank(peer === snapshot?.host, member.named)} <small>${says.filter((one) => one).join(", ")}</small></span>
    ${
      speaks && !isMe
        ? iconButton(isPinned ? "unpin" : "pin", texts.pin(name), "pin", () => pin(session, isPinned ? null : peer), {
            pressed: isPinned,
          })
        : nothing
    }
    ${isHost && !isMe && room ? hostActions(session, member) : nothing}
  </li>`;
}

function pin(session: Session, peer: string | null): void {
  session.pin(peer);
  // there the list lies on the picture
  if (matchMedia("(max-width: 50rem)").matches) session.togglePanel("people");
}

function hostActions(session: Session, { peer, speaks, muted, ...member }: Labelled<Member>): Part {
  const { room } = session;
  const { label: name } = member;
  if (!room) return nothing;
  return html`${
    speaks && !muted.sound
      ? iconButton("microphoneOff", texts.askToMute(name), "ask-mute", () => room.askToMute(peer, { sound: true }))
      : nothing
  }
  ${removeButton(session, { peer, label: name })}
  <details class="row-more">
    <summary class="bare" aria-label=${texts.moreAbout(name)}>${icon("more")}</summary>
    <div class="ways">
      ${
        speaks
          ? html`<button type="button" class="small plain" data-act="demote" @click=${() => room.demote(peer)}>
            ${texts.demote}
          </button>`
          : nothing
      }
      <button type="button" class="small plain" data-act="hand-over" @click=${() => handOver(session, { peer, label: name })}>
        ${texts.handOver}
      </button>
    </div>
  </details>`;
}

function viewerRow(session: Session, person: Person): Part {
  const { snapshot, room, isHost } = session;
  const isMe = person.peer === snapshot?.peer;
  return html`<li>
    ${icon("eye")}
    <span class="who">${nameOf(person)} ${isMe ? html`<small>${texts.you}</small>` : nothing}</span>
    ${
      isHost && !isMe && room
        ? html`${iconButton("microphone", texts.promote(nameOf(person)), "promote", () => room.promote(person.peer))}
        ${removeButton(session, person)}`
        : nothing
    }
  </li>`;
}

function removeButton(session: Session, person: Person): Part {
  const act = () => session.room?.remove(person.peer);
  const name = nameOf(person);
  const confirm = { is: "confirm" as const, says: texts.removeSure(name), label: texts.removeNow, act };
  return iconButton("remove", texts.remove(name), "remove", () => session.setDialog(confirm));
}

function handOver(session: Session, person: Person): void {
  const act = () => session.handOver(person.peer);
  session.setDialog({ is: "confirm", says: texts.handOverSure(nameOf(person)), label: texts.handOver, act });
}
