// Small parts that several screens use.

import { html, nothing, type TemplateResult } from "lit";

import { texts } from "../texts.js";
import { type Icon, icon } from "./icons.js";
import type { Session } from "./session.js";

export type Part = TemplateResult | typeof nothing;

/** A switch with a line under it. */
export function switchPart(label: string, isOn: boolean, set: (isOn: boolean) => void, hint = "", act = ""): Part {
  const change = (event: Event) => set((event.target as HTMLInputElement).checked);
  return html`<label class="switch">
    <input type="checkbox" role="switch" .checked=${isOn} data-act=${act || nothing} @change=${change} />
    <span>${label}${hint ? html`<small>${hint}</small>` : nothing}</span>
  </label>`;
}

/** What a browser is about to ask of the local network, ahead of its question. */
export function localNetworkHint({ localNetwork }: Session): Part {
  return localNetwork?.state === "prompt" ? html`<p class="hint">${texts.localNetworkAsked}</p>` : nothing;
}

/** A button with an icon alone. */
export function iconButton(
  name: Icon,
  label: string,
  act: string,
  click: () => void,
  more: { pressed?: boolean } = {},
): Part {
  return html`<button
    type="button"
    class="bare tip"
    data-act=${act}
    aria-label=${label}
    data-tip=${label}
    aria-pressed=${more.pressed ?? nothing}
    @click=${click}
  >
    ${icon(name)}
  </button>`;
}

/** The mark of the host, or of a peer that the host has named: what no name can look like. */
export function rank(host: boolean, named: boolean): Part {
  if (host) return html`<i class="rank host">${icon("host")}${texts.isHost}</i>`;
  return named ? html`<i class="rank" title=${texts.isNamedHint}>${icon("check")}${texts.isNamed}</i>` : nothing;
}

export function passwordField(session: Session, label: string): Part {
  const set = (event: Event) => (session.password = (event.target as HTMLInputElement).value);
  return html`<label class="field">
    <span>${label}</span>
    <input
      data-field="password"
      type="password"
      maxlength="256"
      autocomplete="current-password"
      .value=${session.password}
      @input=${set}
    />
  </label>`;
}

export function nameField(session: Session): Part {
  const set = (event: Event) => session.capture.setName((event.target as HTMLInputElement).value);
  return html`<label class="field">
    <span>${texts.name}</span>
    <input
      data-field="name"
      autocomplete="name"
      maxlength="64"
      placeholder=${texts.nameHint}
      .value=${session.capture.choices.name}
      @input=${set}
    />
  </label>`;
}

/** The page's mark: peers around the one that mixes. */
export function mark(): Part {
  return html`<svg class="mark" viewBox="0 0 32 32" aria-hidden="true">
    <path d="M16 16L6 8M16 16l10-8M16 16v12M16 16l-11 6M16 16l11 6" />
    <circle cx="16" cy="16" r="5" />
    <g><circle cx="6" cy="8" r="2.5" /><circle cx="26" cy="8" r="2.5" /><circle cx="16" cy="28" r="2.5" />
    <circle cx="5" cy="22" r="2.5" /><circle cx="27" cy="22" r="2.5" /></g>
  </svg>`;
}
