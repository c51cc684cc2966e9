// Messages from the stage to all.

import { html } from "lit";
import { guard } from "lit/directives/guard.js";
import { repeat } from "lit/directives/repeat.js";

import { texts } from "../texts.js";
import { type Message, TEXT_LEN_MAX } from "./chat-log.js";
import { icon } from "./icons.js";
import { type Part, rank } from "./parts.js";
import type { Session } from "./session.js";

const time = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });

export function chatPanel(session: Session): Part {
  const { chat, snapshot } = session;
  // peers on stage alone can send data to the room
  const isOnStage = snapshot?.stage.some(({ peer }) => peer === snapshot.peer) ?? false;
  return html`
    <div class="scroll messages" tabindex="0" role="log" aria-label=${texts.chat} aria-live="off">
      ${chat.messages.length === 0 ? html`<p class="dim">${texts.chatEmpty}</p>` : ""}
      ${repeat(
        chat.messages,
        ({ id }) => id,
        (message) => messageView(message, message.peer === snapshot?.peer),
      )}
    </div>
    ${isOnStage ? form(session) : html`<p class="hint">${texts.chatStage}</p>`}
  `;
}

function messageView({ label, host, named, text, at }: Message, isMine: boolean): Part {
  return html`<div class="message ${isMine ? "mine" : ""}">
    <p class="by"><b>${label}</b> ${rank(host, named)} <time datetime=${at.toISOString()}>${time.format(at)}</time></p>
    <p class="text">${guard([text], () => linked(text))}</p>
  </div>`;
}

/** An address in a text, up to the punctuation that closes the sentence around it. */
const ADDRESS = /https?:\/\/[^\s<>"]*[^\s<>"'.,;:!?)\]}…]/g;

/** The text with its addresses as links. */
function linked(text: string): Part[] {
  const parts: Part[] = [];
  let end = 0;
  for (const { 0: address, index } of text.matchAll(ADDRESS)) {
    parts.push(
      html`${text.slice(end, index)}<a href=${address} target="_blank" rel="noopener noreferrer">${address}</a>`,
    );
    end = index + address.length;
  }
  return [...parts, html`${text.slice(end)}`];
}

function form(session: Session): Part {
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    const field = (event.target as HTMLFormElement).querySelector("input");
    if (!field) return;
    session.say(field.value);
    field.value = "";
  };
  return html`<form class="say" @submit=${submit}>
    <input data-field="message" maxlength=${TEXT_LEN_MAX} autocomplete="off" aria-label=${texts.chatField} placeholder=${texts.chatField} />
    <button class="square" data-act="send" aria-label=${texts.chatSend}>${icon("send")}</button>
  </form>`;
}
