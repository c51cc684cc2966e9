// <plenary-level>: the level of a microphone, as a row of lights.

import { css, html, LitElement } from "lit";

import { texts } from "../texts.js";

const LIGHTS = 16;
/** Level of the first light, in decibels below full scale. */
const QUIETEST_DB = -55;
/** Intervals, in milliseconds: for eyes; and for those that moving things disturb, and for screen readers. */
const STEP_MS = { lively: 50, calm: 500 };

export class Level extends LitElement {
  static override properties = { track: { attribute: false }, lit: { state: true } };
  static override styles = css`
    :host {
      display: flex;
      gap: 3px;
      block-size: 10px;
    }
    i {
      flex: 1;
      border-radius: 2px;
      background: var(--plenary-line, #363d49);
    }
    i.lit {
      background: var(--plenary-good, #4cc38a);
    }
    i.lit.loud {
      background: var(--plenary-warn, #f5c451);
    }
  `;

  declare track: MediaStreamTrack | null;
  declare lit: number;
  #context: AudioContext | null = null;
  #timer: ReturnType<typeof setInterval> | undefined;

  constructor() {
    super();
    this.track = null;
    this.lit = 0;
    this.role = "meter";
    this.ariaLabel = texts.level;
    this.ariaValueMin = "0";
    this.ariaValueMax = `${LIGHTS}`;
    this.ariaValueNow = "0";
  }

  override connectedCallback(): void {
    super.connectedCallback();
    this.#begin();
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    this.#end();
  }

  protected override willUpdate(changed: Map<PropertyKey, unknown>): void {
    if (changed.has("track")) this.#begin();
  }

  #begin(): void {
    this.#end();
    this.lit = 0;
    const { track } = this;
    if (!track || !this.isConnected) return;
    const context = new AudioContext();
    this.#context = context;
    const analyser = context.createAnalyser();
    context.createMediaStreamSource(new MediaStream([track])).connect(analyser);
    const samples = new Float32Array(analyser.fftSize);
    const isCalm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    let toldAt = 0;
    const measure = () => {
      analyser.getFloatTimeDomainData(samples);
      const power = samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length;
      const db = 10 * Math.log10(power + 1e-10);
      this.lit = Math.max(0, Math.min(LIGHTS, Math.round((LIGHTS * (db - QUIETEST_DB)) / -QUIETEST_DB)));
      if (performance.now() - toldAt > STEP_MS.calm) {
        toldAt = performance.now();
        this.ariaValueNow = `${this.lit}`;
      }
    };
    this.#timer = setInterval(measure, isCalm ? STEP_MS.calm : STEP_MS.lively);
  }

  #end(): void {
    clearInterval(this.#timer);
    void this.#context?.close();
    this.#context = null;
  }

  protected override render() {
    const of = (at: number) => `${at < this.lit ? "lit" : ""} ${at >= LIGHTS - 3 ? "loud" : ""}`;
    return Array.from({ length: LIGHTS }, (_, at) => html`<i class=${of(at)}></i>`);
  }
}

if (!customElements.get("plenary-level")) customElements.define("plenary-level", Level);
