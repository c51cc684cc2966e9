// How <plenary-room> looks. An application changes it by custom properties on the element:
//
//   --plenary-bg, --plenary-surface, --plenary-raised    the page, cards and panels, fields and buttons on them
//   --plenary-line, --plenary-edge                        separators; edges of fields (3:1 beside their surface)
//   --plenary-text, --plenary-dim                         text, and text of less weight (both 4.5:1 on all three
//                                                         surfaces)
//   --plenary-accent, --plenary-danger                    main buttons, and those that end something, both below white
//                                                         text
//   --plenary-good, --plenary-warn, --plenary-bad         states; also speaking (good)
//   --plenary-focus                                       the ring around what has the focus
//   --plenary-radius                                      corners of cards

import { css } from "lit";

import { controls } from "./ui/styles-controls.js";
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
  /* shapes tell as well */
  @media (forced-colors: active) {
    .dot:not(button),
    button.dot::before {
      forced-color-adjust: none;
    }
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

export const styles = [base, controls, gate, room, panels];
