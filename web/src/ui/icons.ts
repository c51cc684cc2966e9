// Icons, 24 by 24, drawn with strokes in the colour of the text.

import { html, svg, type TemplateResult } from "lit";

const slash = svg`<path d="M4 4l16 16" />`;
const microphone = svg`<rect x="9" y="3" width="6" height="11" rx="3" /><path d="M5 11a7 7 0 0 0 14 0M12 18v3" />`;
const camera = svg`<rect x="2.5" y="6" width="12.5" height="12" rx="2.5" /><path d="M15 11l6-3.5v9L15 13z" />`;
const person = svg`<circle cx="10" cy="8" r="3.5" /><path d="M3.5 20a6.5 6.5 0 0 1 13 0" />`;
const pin = svg`<path d="M9 4h6l-1 6 3 3v2H7v-2l3-3zM12 15v6" />`;

const shapes = {
  microphone,
  microphoneOff: svg`${microphone}${slash}`,
  camera,
  cameraOff: svg`${camera}${slash}`,
  screen: svg`<rect x="3" y="4" width="18" height="12" rx="2" /><path d="M8 20h8M12 13V8M9.5 10L12 7.5l2.5 2.5" />`,
  film: svg`<rect x="3" y="5" width="18" height="14" rx="2" /><path d="M10 9.5v5l4.5-2.5z" />`,
  hand: svg`<path
    d="M8 12V6.5a1.5 1.5 0 0 1 3 0V11V4.5a1.5 1.5 0 0 1 3 0V11V6a1.5 1.5 0 0 1 3 0v6.5V9a1.5 1.5 0 0 1 3 0v5.5
      a6.5 6.5 0 0 1-6.5 6.5c-3 0-4.7-1.2-6-3.4l-3-5a1.5 1.5 0 0 1 2.5-1.7L8 14"
  />`,
  leave: svg`<path d="M10 4H6a2 2 0 0 0-2 2v12a2 2 0 0 0 2 2h4M15 8l4 4-4 4M19 12H9" />`,
  people: svg`<circle cx="9" cy="8" r="3.5" />
    <path d="M2.5 20a6.5 6.5 0 0 1 13 0M16 4.8a3.5 3.5 0 0 1 0 6.4M18 14.2a6.5 6.5 0 0 1 3.5 5.8" />`,
  chat: svg`<path d="M5 4.5h14a2 2 0 0 1 2 2V15a2 2 0 0 1-2 2h-7l-5 4v-4H5a2 2 0 0 1-2-2V6.5a2 2 0 0 1 2-2z" />`,
  connection: svg`<path d="M3 12h4l3-8 4 16 3-8h4" />`,
  settings: svg`<path d="M4 7h9M17 7h3M4 17h3M11 17h9" /><circle cx="15" cy="7" r="2" /><circle cx="9" cy="17" r="2" />`,
  more: svg`<g fill="currentColor" stroke="none">
    <circle cx="5" cy="12" r="1.8" /><circle cx="12" cy="12" r="1.8" /><circle cx="19" cy="12" r="1.8" />
  </g>`,
  host: svg`<path d="M4 8l4 4 4-7 4 7 4-4-1.5 10.5h-13z" />`,
  pin,
  unpin: svg`${pin}${slash}`,
  close: svg`<path d="M6 6l12 12M18 6L6 18" />`,
  copy: svg`<rect x="9" y="9" width="11" height="11" rx="2" /><path d="M5 15a1 1 0 0 1-1-1V5a1 1 0 0 1 1-1h9a1 1 0 0 1 1 1" />`,
  send: svg`<path d="M4 12l16-8-6 16-3-7z" />`,
  fullScreen: svg`<path
    d="M4 9V5a1 1 0 0 1 1-1h4M15 4h4a1 1 0 0 1 1 1v4M20 15v4a1 1 0 0 1-1 1h-4M9 20H5a1 1 0 0 1-1-1v-4"
  />`,
  smallWindow: svg`<path d="M20 11V6a1 1 0 0 0-1-1H4a1 1 0 0 0-1 1v11a1 1 0 0 0 1 1h6" />
    <rect x="13" y="14" width="8" height="6" rx="1" />`,
  sound: svg`<path d="M4 10v4h4l5 4V6l-5 4zM16.5 9a4 4 0 0 1 0 6M19 6.5a8 8 0 0 1 0 11" />`,
  invite: svg`${person}<path d="M19 8v6M16 11h6" />`,
  remove: svg`${person}<path d="M16 11h6" />`,
  check: svg`<path d="M5 12.5l5 5 9-10.5" />`,
  keyboard: svg`<rect x="2" y="6" width="20" height="12" rx="2" />
    <path d="M6 10h.01M10 10h.01M14 10h.01M18 10h.01M8 14h8" />`,
  eye: svg`<path d="M2.5 12s3.5-6 9.5-6 9.5 6 9.5 6-3.5 6-9.5 6-9.5-6-9.5-6z" /><circle cx="12" cy="12" r="2.5" />`,
};

export type Icon = keyof typeof shapes;

/** An icon, hidden from screen readers: the button around it has a name. */
export function icon(name: Icon): TemplateResult {
  return html`<svg class="icon" viewBox="0 0 24 24" aria-hidden="true">${shapes[name]}</svg>`;
}
