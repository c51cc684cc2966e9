// How <plenary-room> looks.

import { css } from "lit";

export const styles = css`
  :host {
    display: grid;
    block-size: 100%;
    min-block-size: 12rem;
    color: #f2f2ee;
    background: #14161a;
    font: 1rem/1.5 system-ui, sans-serif;
  }
  form,
  .note {
    place-self: center;
    display: grid;
    gap: 1rem;
    inline-size: min(22rem, 100% - 2rem);
  }
  h1 {
    margin: 0;
    font-size: 1.5rem;
    font-weight: 600;
  }
  label {
    display: grid;
    gap: 0.25rem;
  }
  input,
  button {
    min-block-size: 2.75rem;
    padding: 0 1rem;
    border: 1px solid #8a919e;
    border-radius: 0.5rem;
    color: inherit;
    background: #1d2026;
    font: inherit;
  }
  button {
    border-color: transparent;
    background: #3a62d8;
    cursor: pointer;
  }
  :focus-visible {
    outline: 3px solid #9db7ff;
    outline-offset: 2px;
  }
  [role="alert"] {
    padding: 0.75rem 1rem;
    border-radius: 0.5rem;
    background: #5c1f24;
  }
  .room {
    position: relative;
    display: grid;
    min-block-size: 0;
  }
  .bar {
    position: absolute;
    inset: auto 0 0;
    display: flex;
    flex-wrap: wrap;
    gap: 0.5rem;
    justify-content: center;
    padding: 1rem;
  }
  .self {
  position: absolute;
  inset: auto 1rem 5rem auto;
  inline-size: min(12rem, 25%);
  border-radius: 0.5rem;
  background: #1d2026;
}
.self.mirrored {
  scale: -1 1;
}
.people {
  position: absolute;
  inset: 1rem 1rem auto auto;
  max-inline-size: calc(100% - 2rem);
  max-block-size: calc(100% - 8rem);
  margin: 0;
  padding: 0.5rem 1rem;
  overflow: auto;
  border-radius: 0.5rem;
  background: #14161ae6;
  list-style: none;
}
.people li {
  padding: 0.25rem 0 0.25rem 0.75rem;
  border-inline-start: 4px solid transparent;
}
.people li.speaking {
  border-color: #57c26a;
}
.people small {
  color: #b9bec8;
}
button.plain {
  border-color: #8a919e;
  background: none;
}
.bar [data-act="leave"] {
    background: #a8323c;
  }
  [role="status"] {
    position: absolute;
    inset: 1rem auto auto 50%;
    translate: -50% 0;
    padding: 0.25rem 1rem;
    border-radius: 0.5rem;
    background: #14161ad9;
  }
  [role="status"]:empty {
    display: none;
  }
`;
