// The share of viewers that see the program, over the last minute of the room's time.

import type { View } from "./view.js";

const shownMs = 60_000;

interface Point {
  readonly atMs: number;
  readonly share: number;
}

export class Curve {
  readonly #canvas: HTMLCanvasElement;
  readonly #pen: CanvasRenderingContext2D;
  #points: Point[] = [];
  #acts: number[] = [];

  constructor(canvas: HTMLCanvasElement) {
    const pen = canvas.getContext("2d");
    if (!pen) throw new Error("this browser draws no canvas");
    [this.#canvas, this.#pen] = [canvas, pen];
  }

  add(view: View): void {
    if (this.#points.at(-1)?.atMs === view.timeMs) return;
    this.#points.push({ atMs: view.timeMs, share: view.viewers > 0 ? view.seeing / view.viewers : 0 });
    const from = view.timeMs - shownMs;
    while ((this.#points[1]?.atMs ?? Infinity) < from) this.#points.shift();
    this.#acts = this.#acts.filter((atMs) => atMs >= from);
  }

  /** Marks an act. */
  mark(atMs: number): void {
    this.#acts.push(atMs);
  }

  draw(): void {
    const [canvas, pen, last] = [this.#canvas, this.#pen, this.#points.at(-1)];
    const { clientWidth: width, clientHeight: height } = canvas;
    const dense = Math.min(devicePixelRatio || 1, 2);
    if (canvas.width !== Math.round(width * dense) || canvas.height !== Math.round(height * dense)) {
      canvas.width = Math.round(width * dense);
      canvas.height = Math.round(height * dense);
    }
    pen.setTransform(dense, 0, 0, dense, 0, 0);
    pen.clearRect(0, 0, width, height);
    if (!last) return;
    const left = Math.max(0, last.atMs - shownMs);
    const x = (atMs: number) => ((atMs - left) / shownMs) * width;
    const y = (share: number) => 5 + (1 - share) * (height - 10);
    pen.strokeStyle = "rgba(140, 170, 220, 0.18)";
    pen.lineWidth = 1;
    for (const share of [0, 0.5, 1]) {
      pen.beginPath();
      pen.moveTo(0, y(share));
      pen.lineTo(width, y(share));
      pen.stroke();
    }
    for (const atMs of this.#acts) {
      pen.strokeStyle = "rgba(255, 90, 80, 0.8)";
      pen.setLineDash([3, 3]);
      pen.beginPath();
      pen.moveTo(x(atMs), 0);
      pen.lineTo(x(atMs), height);
      pen.stroke();
    }
    pen.setLineDash([]);
    pen.beginPath();
    this.#points.forEach(({ atMs, share }, nth) =>
      nth === 0 ? pen.moveTo(x(atMs), y(share)) : pen.lineTo(x(atMs), y(share)),
    );
    pen.strokeStyle = "#5ff0c0";
    pen.lineWidth = 2;
    pen.lineJoin = "round";
    pen.stroke();
    pen.lineTo(x(last.atMs), y(0));
    pen.lineTo(x(this.#points[0]?.atMs ?? 0), y(0));
    pen.fillStyle = "rgba(95, 240, 192, 0.1)";
    pen.fill();
  }
}
