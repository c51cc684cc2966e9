// Choosing devices: the screen before the room, and the same in a dialog of the room.

import { html, nothing } from "lit";
import { guard } from "lit/directives/guard.js";

import { playTone } from "../devices.js";
import { texts } from "../texts.js";
import type { Lists, Picked } from "./capture.js";
import { icon } from "./icons.js";
import "./level.js";
import { nameField, type Part, passwordField, switchPart } from "./parts.js";
import { asksPassword, lineFor } from "./refusals.js";
import type { Session } from "./session.js";
import { noticePart, refusalPart } from "./ways.js";

export function prejoin(session: Session): Part {
  const submit = (event: Event) => {
    event.preventDefault();
    const isWatching = (event as SubmitEvent).submitter?.dataset["act"] === "watch";
    void (isWatching ? session.watch() : session.speak());
  };
  const wantsPassword = asksPassword(session.refusal);
  return html`<main class="gate">
    <form class="card wide" @submit=${submit}>
      <h1 tabindex="-1" data-focus=${wantsPassword ? nothing : ""}>${texts.prejoinTitle}</h1>
      <div class="columns">
        <div class="stack">
          ${preview(session)} ${missing(session)} ${noticePart(session)}
          ${refusalPart(session, session.refusal, ["start", "watch", "rejoin", "again"])}
          ${wantsPassword ? passwordField(session, texts.password) : nothing} ${nameField(session)}
          <div class="stack">
            <button data-act="join">${texts.joinNow}</button>
            <div class="pair">
              ${session.speaksOnly ? nothing : html`<button data-act="watch" class="plain">${texts.watch}</button>`}
              <button type="button" data-act="back" class="plain" @click=${() => session.withdraw()}>${texts.back}</button>
            </div>
          </div>
        </div>
        ${pickers(session)}
      </div>
    </form>
  </main>`;
}

/** What is missing, or null. */
function missing({ capture }: Session): Part {
  return capture.missing ? html`<p class="hint">${lineFor(capture.missing)}</p>` : nothing;
}

/** The own picture, with switches for camera and microphone on it. */
export function preview(session: Session): Part {
  const { capture } = session;
  const { picture, choices, isSoundOn } = capture;
  const toggleSound = () => void session.setSound(!isSoundOn);
  const togglePicture = () => void session.setPicture(!(choices.isCameraOn && picture));
  const isPictureOn = picture !== null && choices.isCameraOn;
  return html`<div class="preview">
    ${
      isPictureOn
        ? html`<video
          class="mirrored"
          aria-label=${texts.ownPicture}
          .srcObject=${guard([picture], () => streamOf(picture))}
          .muted=${true}
          autoplay
          playsinline
        ></video>`
        : html`<p>${texts.cameraIsOff}</p>`
    }
    <div class="on-picture">
      <button
        type="button"
        class="round tip ${isSoundOn ? "" : "off"}"
        data-act="mute"
        aria-label=${isSoundOn ? texts.mute : texts.unmute}
        data-tip=${isSoundOn ? texts.mute : texts.unmute}
        @click=${toggleSound}
      >
        ${icon(isSoundOn ? "microphone" : "microphoneOff")}
      </button>
      <button
        type="button"
        class="round tip ${isPictureOn ? "" : "off"}"
        data-act="camera"
        aria-label=${isPictureOn ? texts.cameraOff : texts.cameraOn}
        data-tip=${isPictureOn ? texts.cameraOff : texts.cameraOn}
        @click=${togglePicture}
      >
        ${icon(isPictureOn ? "camera" : "cameraOff")}
      </button>
    </div>
  </div>`;
}

/** All devices, the microphone's level and cleaning, and the test tone. */
export function pickers(session: Session): Part {
  const { capture } = session;
  const { choices, lists } = capture;
  const change = (changed: Partial<typeof choices>) => void session.attempt(() => capture.change(changed));
  const canChooseLoudspeaker = "setSinkId" in HTMLMediaElement.prototype && lists.loudspeaker.length > 0;
  return html`<div class="stack">
    ${picker("camera", texts.camera, lists, choices.camera, (camera) => change({ camera }))}
    ${picker("microphone", texts.microphone, lists, choices.microphone, (microphone) => change({ microphone }))}
    <plenary-level .track=${capture.isSoundOn ? capture.sound : null}></plenary-level>
    <div class="beside">
      ${
        canChooseLoudspeaker
          ? picker("loudspeaker", texts.loudspeaker, lists, choices.loudspeaker, (loudspeaker) =>
              change({ loudspeaker }),
            )
          : html`<p class="field"><span>${texts.loudspeaker}</span>${texts.ownDefault}</p>`
      }
      <button type="button" class="plain square tip" data-act="tone" aria-label=${texts.testTone} data-tip=${texts.testTone}
        @click=${() => void playTone(choices.loudspeaker).catch(() => {})}>
        ${icon("sound")}
      </button>
    </div>
    <details>
      <summary>${texts.cleaning}</summary>
      ${switchPart(texts.echo, choices.echo, (echo) => change({ echo }))}
      ${switchPart(texts.noise, choices.noise, (noise) => change({ noise }))}
      ${switchPart(texts.gain, choices.gain, (gain) => change({ gain }))}
    </details>
  </div>`;
}

function picker(kind: Picked, label: string, lists: Lists, chosen: string, set: (id: string) => void): Part {
  const list = lists[kind];
  const isThere = list.some(({ deviceId }) => deviceId === chosen);
  const change = (event: Event) => set((event.target as HTMLSelectElement).value);
  const option = ({ deviceId, label }: MediaDeviceInfo) =>
    html`<option value=${deviceId} .selected=${deviceId === chosen}>${label || deviceId.slice(0, 8)}</option>`;
  return html`<label class="field">
    <span>${label}</span>
    <select data-field=${kind} ?disabled=${list.length === 0} @change=${change}>
      ${
        list.length === 0
          ? html`<option>${texts.noneFound}</option>`
          : html`<option value="" .selected=${!isThere}>${texts.ownDefault}</option>
            ${list.filter(({ deviceId }) => deviceId !== "default").map(option)}`
      }
    </select>
  </label>`;
}

const streams = new WeakMap<MediaStreamTrack, MediaStream>();

/**
 * One stream per track: another one would make the picture begin anew at each change of the page, and so would the same
 * one, which Lit sets again unless it is guarded.
 */
export function streamOf(track: MediaStreamTrack): MediaStream {
  const known = streams.get(track) ?? new MediaStream([track]);
  streams.set(track, known);
  return known;
}
