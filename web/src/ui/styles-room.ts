// The look of the room: the program, what lies on it, and the bar.

import { css } from "lit";

export const room = css`
  .room {
    display: grid;
    grid-template: minmax(0, 1fr) auto / minmax(0, 1fr);
    block-size: 100%;
    min-block-size: 0;
    overflow: hidden;
    background: #000;
  }
  .room.with-panel {
    grid-template-columns: minmax(0, 1fr) min(24rem, 40vw);
  }
  .stage {
    position: relative;
    grid-area: 1 / 1;
    display: grid;
    min-block-size: 0;
    overflow: hidden;
  }
  .empty {
    position: absolute;
    inset: 0;
    place-content: center;
    display: grid;
    margin: auto;
    max-inline-size: 32rem;
    padding: 6rem 1.5rem;
    color: #c9d1d9;
    text-align: center;
    text-wrap: balance;
    pointer-events: none;
  }
  /* most pictures are there sooner */
  .empty.late {
    animation: late-text 0.2s 2s both;
  }
  @keyframes late-text {
    from {
      opacity: 0;
    }
  }
  .top {
    position: absolute;
    z-index: 2;
    inset: 0 0 auto;
    display: grid;
    grid-template-columns: minmax(0, 1fr);
    gap: 0.5rem;
    justify-items: start;
    padding: max(0.75rem, env(safe-area-inset-top)) max(0.75rem, env(safe-area-inset-right)) 0
      max(0.75rem, env(safe-area-inset-left));
    pointer-events: none;
  }
  .top > * > * {
    pointer-events: auto;
  }
  .title {
    display: flex;
    gap: 0.5rem;
    align-items: center;
    max-inline-size: 100%;
    padding-inline-end: 0.875rem;
    border-radius: 2rem;
    background: #0e1116d9;
    font-weight: 600;
  }
  .title span,
  .title small {
    overflow: hidden;
    text-overflow: ellipsis;
    white-space: nowrap;
  }
  .title small {
    flex-shrink: 20;
    min-inline-size: 0;
    padding-inline-start: 0.5rem;
    border-inline-start: 1px solid #ffffff40;
  }
  /* the dot is small, its target isn't */
  button.dot,
  button.dot.weak,
  button.dot.lost {
    display: inline-flex;
    border-radius: 50%;
    inline-size: 2.75rem;
    block-size: 2.75rem;
    background: none;
    clip-path: none;
  }
  button.dot::before {
    content: "";
    inline-size: 0.75rem;
    block-size: 0.75rem;
    border-radius: 50%;
    background: var(--good);
  }
  button.dot.weak::before {
    border-radius: 0.125rem;
    background: var(--warn);
  }
  button.dot.lost::before {
    border-radius: 0;
    background: var(--bad);
    clip-path: polygon(50% 0, 100% 100%, 0 100%);
  }
  .notices {
    display: grid;
    gap: 0.5rem;
    justify-self: center;
    justify-items: center;
    max-inline-size: 100%;
  }
  .notice {
    display: flex;
    flex-wrap: wrap;
    gap: 0.5rem 1rem;
    align-items: center;
    justify-content: center;
    max-inline-size: 40rem;
    padding: 0.5rem 0.625rem 0.5rem 1rem;
    border: 1px solid var(--line);
    border-radius: 0.875rem;
    background: #171b22f2;
    box-shadow: 0 0.5rem 1.5rem #0007;
    text-wrap: pretty;
  }
  p.notice {
    padding-inline: 1rem;
  }
  .notice.warn {
    border-color: var(--warn);
  }
  .self {
    position: absolute;
    z-index: 1;
    inset: auto max(0.75rem, env(safe-area-inset-right)) 0.75rem auto;
    inline-size: clamp(6rem, 20%, 13rem);
    aspect-ratio: 16 / 9;
    object-fit: cover;
    border: 2px solid #ffffff2e;
    border-radius: 0.75rem;
    background: var(--raised);
    box-shadow: 0 0.5rem 1.5rem #0008;
  }
  .self.speaking {
    border-color: var(--good);
  }
  @media (forced-colors: active) {
    .self.speaking {
      border-color: Highlight;
    }
  }

  .bar {
    display: flex;
    grid-column: 1 / -1;
    flex-wrap: wrap;
    gap: 0.25rem 1.5rem;
    justify-content: center;
    padding: 0.5rem max(0.5rem, env(safe-area-inset-right)) max(0.5rem, env(safe-area-inset-bottom))
      max(0.5rem, env(safe-area-inset-left));
    border-block-start: 1px solid var(--line);
    background: var(--surface);
  }
  .group {
    display: flex;
    gap: 0.25rem;
    justify-content: center;
  }
  .control {
    flex-direction: column;
    gap: 0.125rem;
    min-inline-size: 4.75rem;
    min-block-size: 3.5rem;
    padding: 0.375rem 0.25rem;
    border-radius: 0.875rem;
    color: var(--text);
    background: transparent;
    font-size: 0.75rem;
    font-weight: 500;
    line-height: 1.3;
  }
  .control:hover,
  .control[aria-expanded="true"] {
    background: #ffffff1a;
  }
  .control.off .icon {
    color: var(--bad);
  }
  .control.on {
    color: #fff;
    background: var(--accent);
  }
  .control.danger {
    color: #ff9aa0;
    background: transparent;
  }
  .control.danger:hover {
    color: #fff;
    background: var(--danger);
  }
  .badge {
    position: absolute;
    inset: 0.125rem calc(50% - 1.5rem) auto auto;
    min-inline-size: 1.25rem;
    padding-inline: 0.3125rem;
    border-radius: 0.625rem;
    color: #fff;
    background: var(--danger);
    font-size: 0.75rem;
    font-weight: 700;
    line-height: 1.25rem;
  }

  @media (max-width: 56rem) {
    .bar {
      gap: 0 0.5rem;
    }
    .control {
      min-inline-size: 4.25rem;
    }
  }
  @media (max-width: 50rem) {
    /* a panel covers the program, not the bar */
    .room.with-panel {
      grid-template-columns: minmax(0, 1fr);
    }
  }
  @media (max-width: 42rem) {
    .bar {
      flex-direction: column;
    }
    .group {
      gap: 0;
    }
    .control {
      flex: 1;
      min-inline-size: 0;
      max-inline-size: 6rem;
      min-block-size: 3.25rem;
      padding-inline: 0;
      font-size: 0.6875rem;
    }
    .self {
      inline-size: 28%;
    }
  }
  /* phones on their side, and full screen: the bar lies on the picture, and hides when it isn't needed */
  @media (max-height: 30rem) and (orientation: landscape) {
    .room,
    .room.with-panel {
      grid-template-rows: minmax(0, 1fr);
    }
    .bar {
      position: absolute;
      z-index: 3;
      inset: auto 0 0;
      flex-wrap: nowrap;
      flex-direction: row;
      gap: 0.25rem;
      padding-block: 0.125rem;
      border: 0;
      background: #0e1116d9;
      transition: opacity 0.2s;
    }
    .control {
      flex: 1;
      min-inline-size: 2.75rem;
      max-inline-size: 5rem;
      min-block-size: 2.75rem;
    }
    .control span {
      position: absolute;
      inline-size: 1px;
      block-size: 1px;
      overflow: hidden;
      clip-path: inset(50%);
    }
    .self {
      inset-block-end: 4rem;
    }
    .panel {
      padding-block-end: 3rem;
    }
    :host([idle]) .room:not(.with-panel) .bar:not(:focus-within) {
      opacity: 0;
    }
  }
  :host(:fullscreen[idle]) .room:not(.with-panel) .bar:not(:focus-within) {
    opacity: 0;
  }
`;
