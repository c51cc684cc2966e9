// The look of the panels beside the program, and of dialogs.

import { css } from "lit";

export const panels = css`
  .panel {
    display: grid;
    grid-template-rows: auto minmax(0, 1fr) auto;
    min-block-size: 0;
    border-inline-start: 1px solid var(--line);
    background: var(--surface);
  }
  .panel > header,
  dialog header {
    display: flex;
    gap: 0.5rem;
    align-items: center;
    justify-content: space-between;
  }
  .panel > header {
    padding: 0.5rem 0.5rem 0.5rem 1rem;
    border-block-end: 1px solid var(--line);
  }
  .scroll {
    display: grid;
    gap: 1.25rem;
    align-content: start;
    min-block-size: 0;
    padding: 1rem;
    overflow: auto;
    overscroll-behavior: contain;
  }
  .scroll section {
    display: grid;
    gap: 0.25rem;
    min-inline-size: 0;
  }
  .panel.host section {
    gap: 0.75rem;
  }
  .panel > .hint {
    padding: 0.75rem 1rem;
    border-block-start: 1px solid var(--line);
  }
  .wanted {
    padding: 0.75rem;
    border: 1px solid var(--warn);
    border-radius: 0.75rem;
    background: #f5c4510f;
  }
  .people li {
    display: flex;
    flex-wrap: wrap;
    gap: 0 0.125rem;
    align-items: center;
    min-block-size: 3rem;
    padding: 0.125rem 0 0.125rem 0.5rem;
    border-inline-start: 3px solid transparent;
    border-radius: 0.25rem;
  }
  .people li + li {
    margin-block-start: 0.125rem;
  }
  .people li.speaking {
    border-color: var(--good);
    background: #4cc38a14;
  }
  /* there, transparent borders show */
  @media (forced-colors: active) {
    .people li {
      border-color: Canvas;
    }
    .people li.speaking {
      border-color: Highlight;
    }
  }
  .people li > .icon {
    inline-size: 1.125rem;
    margin-inline-end: 0.5rem;
    color: var(--dim);
  }
  .people li.speaking > .icon {
    color: var(--good);
  }
  .who {
    flex: 1;
    min-inline-size: 5rem;
    overflow: hidden;
    line-height: 1.3;
    overflow-wrap: anywhere;
  }
  .who small {
    display: block;
  }
  /* beside a name, and unlike any: names have no frame */
  .rank {
    display: inline-flex;
    gap: 0.1875rem;
    align-items: center;
    padding: 0.0625rem 0.375rem;
    border: 1px solid currentcolor;
    border-radius: 1rem;
    color: var(--dim);
    font-size: 0.6875rem;
    font-style: normal;
    font-weight: 600;
    line-height: 1.2;
    vertical-align: 0.0625rem;
  }
  .rank.host {
    color: var(--good);
  }
  .rank .icon {
    inline-size: 0.75rem;
    block-size: 0.75rem;
  }
  .row-more > summary {
    list-style: none;
  }
  .row-more > summary::-webkit-details-marker {
    display: none;
  }
  .people li:has(.row-more[open]) {
    padding-block-end: 0.5rem;
  }
  .row-more[open] {
    display: contents;
  }
  .row-more .ways {
    flex-basis: 100%;
  }
  .row-more::details-content {
    flex-basis: 100%;
  }

  .scroll:focus-visible {
    outline-offset: -3px;
  }
  .messages {
    gap: 0.75rem;
  }
  .message {
    justify-self: start;
    max-inline-size: 90%;
    padding: 0.5rem 0.875rem;
    border-radius: 0.25rem 1rem 1rem;
    background: var(--raised);
  }
  .message.mine {
    justify-self: end;
    border-radius: 1rem 0.25rem 1rem 1rem;
    background: #2a3f83;
  }
  .message .by {
    color: var(--dim);
    font-size: 0.8125rem;
  }
  .message.mine .by {
    color: #ccd6f5;
  }
  .message .text {
    overflow-wrap: anywhere;
    white-space: pre-wrap;
  }
  .message .text a {
    color: inherit;
  }
  .say {
    display: flex;
    gap: 0.5rem;
    padding: 0.75rem;
    border-block-start: 1px solid var(--line);
  }

  .verdict {
    display: grid;
    grid-template-columns: auto 1fr;
    gap: 0.125rem 0.625rem;
    align-items: center;
  }
  .verdict span {
    grid-column: 2;
    color: var(--dim);
  }
  dl > div {
    display: flex;
    gap: 1rem;
    justify-content: space-between;
    padding-block: 0.3125rem;
    border-block-end: 1px solid var(--line);
  }
  dt {
    color: var(--dim);
  }
  dd {
    overflow-wrap: anywhere;
    font-variant-numeric: tabular-nums;
    text-align: end;
  }
  .tree li {
    display: flex;
    gap: 0.5rem;
    align-items: baseline;
    margin-inline-start: calc(var(--depth) * 1.125rem);
    padding: 0.1875rem 0 0.1875rem 0.625rem;
    border-inline-start: 2px solid var(--edge);
  }

  dialog {
    inline-size: min(30rem, 100% - 1.5rem);
    max-inline-size: none;
    max-block-size: calc(100% - 1.5rem);
    margin: auto;
    padding: 0;
    overflow: auto;
    border: 1px solid var(--line);
    border-radius: calc(1.25 * var(--radius));
    color: inherit;
    background: var(--surface);
    box-shadow: 0 1.5rem 5rem #000c;
  }
  dialog::backdrop {
    background: #05070bb3;
  }
  dialog .inside {
    display: grid;
    gap: 1rem;
    padding: 1.25rem;
  }
  dialog.more,
  dialog.confirm,
  dialog.leave {
    inline-size: min(24rem, 100% - 1.5rem);
  }
  .items {
    display: grid;
    margin-inline: -0.5rem;
  }
  .item,
  label.item {
    justify-content: start;
    padding-inline: 0.75rem;
    color: var(--text);
    background: transparent;
    font-weight: 500;
  }
  .item .icon {
    color: var(--dim);
  }
  .qr {
    justify-self: center;
    inline-size: min(14rem, 60vw);
    overflow: hidden;
    border-radius: 0.75rem;
    background: #fff;
  }
  .qr svg {
    display: block;
  }
  [data-done] {
    background: #1e7a4f;
  }
  [data-done]::after {
    content: "✓" / "";
  }
  kbd {
    display: inline-block;
    min-inline-size: 2rem;
    padding: 0.125rem 0.5rem;
    border: 1px solid var(--edge);
    border-radius: 0.375rem;
    color: var(--text);
    background: var(--raised);
    font: 600 0.875rem/1.4 ui-monospace, monospace;
    text-align: center;
  }

  @media (max-width: 50rem) {
    .panel {
      z-index: 2;
      grid-area: 1 / 1;
      border-inline-start: 0;
    }
  }
  @media (max-width: 42rem) {
    dialog {
      margin-block-end: 0.75rem;
    }
  }
`;
