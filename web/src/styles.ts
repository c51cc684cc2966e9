// How <plenary-room> looks. An application changes it by custom properties on the element:
//
//   --plenary-bg, --plenary-surface, --plenary-raised    the page, cards and panels, fields and buttons on them
//   --plenary-line, --plenary-edge                        separators; edges of fields (3:1 beside their surface)
//   --plenary-text, --plenary-dim                         text, and text of less weight (both 4.5:1 on all three surfaces)
//   --plenary-accent, --plenary-danger                    main buttons, and those that end something, both below white text
//   --plenary-good, --plenary-warn, --plenary-bad         states; also speaking (good)
//   --plenary-focus                                       the ring around what has the focus
//   --plenary-radius                                      corners of cards

import { css } from "lit";

import { gate } from "./ui/styles-gate.js";
import { panels } from "./ui/styles-panels.js";
import { room } from "./ui/styles-room.js";

const base = css`
  :host {
    --bg: var(--plenary-bg, #0e1116);
    --surface: var(--plenary-surface, #171b22);
    --raised: var(--plenary-raised, #222832);
    --line: var(--plenary-line, #2d3440);
    --edge: var(--plenary-edge, #768294);
    --text: var(--plenary-text, #f3f4f6);
    --dim: var(--plenary-dim, #adb5c2);
    --accent: var(--plenary-accent, #3b63e6);
    --danger: var(--plenary-danger, #c73641);
    --good: var(--plenary-good, #4cc38a);
    --warn: var(--plenary-warn, #f5c451);
    --bad: var(--plenary-bad, #ff7b7b);
    --focus: var(--plenary-focus, #a8bfff);
    --radius: var(--plenary-radius, 1rem);
    display: grid;
    block-size: 100%;
    min-block-size: 12rem;
    color: var(--text);
    background: var(--bg);
    color-scheme: dark;
    font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif;
    -webkit-text-size-adjust: none;
    text-size-adjust: none;
  }
  *,
  *::before,
  *::after {
    box-sizing: border-box;
  }
  h1,
  h2,
  h3,
  p,
  ul,
  dl,
  dd {
    margin: 0;
    padding: 0;
  }
  h1 {
    font-size: 1.5rem;
    font-weight: 650;
    line-height: 1.25;
    letter-spacing: -0.01em;
    text-wrap: balance;
  }
  h2 {
    font-size: 1.125rem;
    font-weight: 650;
    line-height: 1.3;
  }
  h3 {
    margin-block-end: 0.375rem;
    color: var(--dim);
    font-size: 0.8125rem;
    font-weight: 600;
  }
  small {
    color: var(--dim);
    font-size: 0.8125rem;
  }
  ul {
    list-style: none;
  }
  .dim,
  .hint {
    color: var(--dim);
    text-wrap: pretty;
  }
  .hint {
    font-size: 0.875rem;
  }
  .icon {
    flex: none;
    inline-size: 1.375rem;
    block-size: 1.375rem;
    fill: none;
    stroke: currentColor;
    stroke-width: 1.75;
    stroke-linecap: round;
    stroke-linejoin: round;
  }
  .unseen {
    position: absolute;
    inline-size: 1px;
    block-size: 1px;
    overflow: hidden;
    clip-path: inset(50%);
    white-space: nowrap;
  }

  /* buttons and fields */
  button,
  summary.bare,
  label.item {
    display: inline-flex;
    gap: 0.625rem;
    align-items: center;
    justify-content: center;
    min-block-size: 2.75rem;
    padding: 0.375rem 1.125rem;
    border: 1px solid transparent;
    border-radius: 0.75rem;
    color: #fff;
    background: var(--accent);
    font: inherit;
    font-weight: 600;
    cursor: pointer;
    -webkit-tap-highlight-color: transparent;
    touch-action: manipulation;
  }
  button:hover {
    filter: brightness(1.12);
  }
  button:active {
    filter: brightness(0.92);
  }
  button.plain {
    border-color: var(--edge);
    color: var(--text);
    background: transparent;
  }
  button.danger {
    background: var(--danger);
  }
  button.small {
    padding: 0.25rem 0.875rem;
    font-size: 0.9375rem;
  }
  button.link {
    min-block-size: 2.75rem;
    padding: 0 0.5rem;
    color: var(--focus);
    background: none;
    font-weight: 500;
    text-decoration: underline;
    text-underline-offset: 0.2em;
  }
  button.bare,
  summary.bare {
    inline-size: 2.75rem;
    padding: 0;
    border-radius: 50%;
    color: var(--text);
    background: transparent;
  }
  button.plain:hover,
  button.bare:hover,
  summary.bare:hover,
  .row-more[open] > summary.bare,
  .item:hover {
    background: #ffffff14;
  }
  button.bare[aria-pressed="true"] {
    color: var(--focus);
    background: #ffffff1f;
  }
  .square {
    flex: none;
    inline-size: 2.75rem;
    padding: 0;
  }
  .field {
    display: grid;
    gap: 0.25rem;
    min-inline-size: 0;
  }
  .field > span {
    color: var(--dim);
    font-size: 0.875rem;
    font-weight: 500;
  }
  input:not([type="checkbox"], [type="file"]),
  select {
    inline-size: 100%;
    min-inline-size: 0;
    min-block-size: 2.75rem;
    padding: 0 0.875rem;
    border: 1px solid var(--edge);
    border-radius: 0.75rem;
    color: var(--text);
    background-color: var(--raised);
    font: inherit;
    text-overflow: ellipsis;
  }
  input::placeholder {
    color: var(--dim);
    opacity: 1;
  }
  select {
    padding-inline-end: 2.25rem;
    appearance: none;
    background-image: url("data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 12 8'%3E%3Cpath d='M1 1.5l5 5 5-5' fill='none' stroke='%23adb5c2' stroke-width='1.6' stroke-linecap='round'/%3E%3C/svg%3E");
    background-position: right 0.875rem center;
    background-repeat: no-repeat;
    background-size: 0.75rem;
  }
  select:disabled {
    color: var(--dim);
    border-color: var(--line);
  }
  .switch {
    display: flex;
    gap: 0.75rem;
    align-items: center;
    min-block-size: 2.75rem;
    padding-block: 0.25rem;
    cursor: pointer;
  }
  .switch span {
    display: grid;
    line-height: 1.35;
  }
  .switch input {
    flex: none;
    inline-size: 2.5rem;
    block-size: 1.5rem;
    margin: 0;
    border: 1px solid var(--edge);
    border-radius: 1rem;
    appearance: none;
    background: radial-gradient(circle at 0.6875rem 50%, var(--text) 0.5rem, transparent 0.5625rem) var(--raised);
    cursor: pointer;
  }
  .switch input:checked {
    border-color: var(--accent);
    background: radial-gradient(circle at 1.6875rem 50%, #fff 0.5rem, transparent 0.5625rem) var(--accent);
  }
  :focus-visible,
  label.item:focus-within {
    outline: 3px solid var(--focus);
    outline-offset: 2px;
  }
  [tabindex="-1"]:focus-visible {
    outline: none;
  }
  .stack {
    display: grid;
    gap: 0.75rem;
    align-content: start;
    min-inline-size: 0;
  }
  .pair,
  .ways {
    display: flex;
    flex-wrap: wrap;
    gap: 0.5rem;
  }
  .stack > button {
    padding-inline: 0.75rem;
  }
  .pair > * {
    flex: 1;
  }
  .beside {
    display: flex;
    gap: 0.5rem;
    align-items: end;
  }
  .beside > .field {
    flex: 1;
  }

  /* what a button does, shown to pointers and at the focus */
  .tip {
    position: relative;
  }
  .tip[data-tip]::after {
    content: attr(data-tip) / "";
    position: absolute;
    z-index: 5;
    inset-block-end: calc(100% + 0.5rem);
    inset-inline-start: 50%;
    translate: -50% 0;
    inline-size: max-content;
    max-inline-size: 16rem;
    padding: 0.25rem 0.625rem;
    border-radius: 0.5rem;
    color: #0e1116;
    background: #f3f4f6;
    font-size: 0.8125rem;
    font-weight: 500;
    line-height: 1.4;
    white-space: normal;
    pointer-events: none;
    opacity: 0;
    visibility: hidden;
  }
  .tip.below[data-tip]::after {
    inset-block: calc(100% + 0.5rem) auto;
    inset-inline-start: 0;
    translate: none;
  }
  @media (hover: hover) {
    .tip:hover::after {
      opacity: 1;
      visibility: visible;
      transition: opacity 0.1s 0.3s;
    }
  }
  .tip:focus-visible::after {
    opacity: 1;
    visibility: visible;
  }
  .dot {
    flex: none;
    display: inline-block;
    inline-size: 0.75rem;
    block-size: 0.75rem;
    min-block-size: 0;
    padding: 0;
    border-radius: 50%;
    background: var(--good);
  }
  .dot.weak {
    border-radius: 0.125rem;
    background: var(--warn);
  }
  .dot.lost {
    border-radius: 0;
    background: var(--bad);
    clip-path: polygon(50% 0, 100% 100%, 0 100%);
  }
  @media (prefers-reduced-motion: reduce) {
    *,
    *::before,
    *::after {
      animation: none !important;
      transition: none !important;
    }
  }
`;

export const styles = [base, gate, room, panels];
