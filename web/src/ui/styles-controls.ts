// The look of buttons and fields.

import { css } from "lit";

export const controls = css`
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
`;
