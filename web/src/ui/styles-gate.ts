// The look of the screens before and after the room, and of everything that shows the user's own devices.

import { css } from "lit";

export const gate = css`
  .gate {
    display: grid;
    padding: 1rem;
    padding: max(1rem, env(safe-area-inset-top)) max(1rem, env(safe-area-inset-right)) max(1rem, env(safe-area-inset-bottom))
      max(1rem, env(safe-area-inset-left));
    overflow: auto;
    background: radial-gradient(60rem 40rem at 50% -10%, #24345f66, transparent 70%);
  }
  .card {
    display: grid;
    gap: 1rem;
    place-self: center;
    inline-size: min(26rem, 100%);
    padding: clamp(1.25rem, 4vw, 2rem);
    border: 1px solid var(--line);
    border-radius: calc(1.25 * var(--radius));
    background: var(--surface);
    box-shadow: 0 1.5rem 4rem #0008;
  }
  .card.wide {
    inline-size: min(58rem, 100%);
  }
  .card > header {
    display: grid;
    gap: 0.5rem;
  }
  .mark {
    inline-size: 2.75rem;
    block-size: 2.75rem;
    margin-block-end: 0.25rem;
  }
  .mark path {
    fill: none;
    stroke: #6f8ef5;
    stroke-width: 1.5;
  }
  .mark circle {
    fill: #a8bfff;
  }
  .mark > circle {
    fill: var(--accent);
    stroke: #a8bfff;
    stroke-width: 1.5;
  }
  .card.waiting {
    justify-items: center;
    text-align: center;
  }
  .card.waiting p {
    min-block-size: 1.5em;
    color: var(--dim);
  }
  .pulse .mark {
    animation: pulse 1.6s ease-in-out infinite;
  }
  @keyframes pulse {
    50% {
      opacity: 0.45;
      scale: 0.94;
    }
  }
  .refusal {
    display: grid;
    gap: 0.75rem;
    padding: 0.875rem 1rem;
    border: 1px solid #e0656e;
    border-radius: 0.75rem;
    background: #451a20;
  }
  .columns {
    display: grid;
    gap: 1.25rem;
  }
  @media (min-width: 46rem) {
    .columns {
      grid-template-columns: 1.25fr 1fr;
      gap: 1.75rem;
    }
  }
  .preview {
    position: relative;
    display: grid;
    place-items: center;
    aspect-ratio: 16 / 9;
    overflow: hidden;
    border-radius: var(--radius);
    color: var(--dim);
    background: var(--raised);
  }
  .preview video {
    inline-size: 100%;
    block-size: 100%;
    object-fit: cover;
  }
  .mirrored {
    scale: -1 1;
  }
  .on-picture {
    position: absolute;
    inset: auto 0 0.75rem;
    display: flex;
    gap: 0.75rem;
    justify-content: center;
  }
  .round {
    inline-size: 3rem;
    block-size: 3rem;
    padding: 0;
    border-color: #ffffff3d;
    border-radius: 50%;
    background: #0e1116d9;
  }
  .round.off {
    border-color: transparent;
    background: var(--danger);
  }
  plenary-level {
    margin-block: -0.25rem 0.25rem;
  }
  details > summary:not(.bare) {
    display: flex;
    align-items: center;
    min-block-size: 2.75rem;
    color: var(--dim);
    font-size: 0.9375rem;
    cursor: pointer;
  }
  details > summary:not(.bare)::before {
    content: "";
    inline-size: 0.5rem;
    block-size: 0.5rem;
    margin-inline: 0.25rem 0.75rem;
    border: solid currentColor;
    border-width: 0 2px 2px 0;
    rotate: -45deg;
  }
  details[open] > summary:not(.bare)::before {
    rotate: 45deg;
  }
  @media (max-width: 30rem) {
    .gate {
      padding: 0;
      background: none;
    }
    .card {
      place-self: stretch;
      align-content: center;
      border: 0;
      border-radius: 0;
      box-shadow: none;
    }
    .gate:has(.wide) .card {
      align-content: start;
    }
  }
`;
