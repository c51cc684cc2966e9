// The picture of the room: peers on a map of continents, and an edge from each peer to the peers that it feeds.

import { type Layout, layOut, type Point } from "./map.js";
import { continents } from "./texts.js";
import { type Peer, role, state, type View } from "./view.js";

export const colours = {
  viewer: "#3fbf97",
  relay: "#5ff0c0",
  lost: "#ff7a6b",
  speaker: "#6cb6ff",
  candidate: "#8d97ab",
  standby: "#ffc46b",
  mixer: "#ffa31a",
  dead: "#5d3038",
  ink: "#e8edf5",
  dim: "#8b95a7",
};

/** Times of the animations. */
const flashMs = 1600;
const growMs = 450;
const brokenMs = 1100;
const pulseMs = 900;

interface Edge {
  readonly from: number;
  readonly to: number;
  readonly since: number;
}

export class Scene {
  readonly #canvas: HTMLCanvasElement;
  readonly #pen: CanvasRenderingContext2D;
  #view: View | undefined;
  #layout: Layout | undefined;
  #laidOutFor = "";
  #size = { width: 0, height: 0 };
  /** By index of the child. */
  #edges = new Map<number, Edge>();
  #broken: Edge[] = [];
  #flashes: { readonly peer: number; readonly since: number }[] = [];
  #children: number[] = [];
  /** The peer under the pointer, or selected by the keyboard. */
  selected: number | null = null;
  moves = true;

  constructor(canvas: HTMLCanvasElement) {
    const pen = canvas.getContext("2d");
    if (!pen) throw new Error("this browser draws no canvas");
    [this.#canvas, this.#pen] = [canvas, pen];
    new ResizeObserver(() => this.#resize()).observe(canvas);
    this.#resize();
  }

  get layout(): Layout | undefined {
    return this.#layout;
  }

  /** Takes a new state; notes what has changed, for the animations. */
  update(view: View): void {
    const now = performance.now();
    const before = this.#view;
    view.peers.forEach((peer, at) => {
      const was = before?.peers[at];
      if (was?.state === state.there && peer.state === state.dead) this.#flashes.push({ peer: at, since: now });
      const edge = this.#edges.get(at);
      const above = peer.state === state.there ? peer.above : -1;
      if (edge && edge.from !== above) {
        if (view.peers[edge.from]?.state !== state.there || peer.state !== state.there)
          this.#broken.push({ ...edge, since: now });
        this.#edges.delete(at);
      }
      if (above >= 0 && !this.#edges.has(at)) this.#edges.set(at, { from: above, to: at, since: now });
    });
    this.#children = view.peers.map(() => 0);
    for (const peer of view.peers) {
      const fed = peer.state === state.there && peer.role !== role.speaker && peer.above >= 0;
      if (fed) this.#children[peer.above] = (this.#children[peer.above] ?? 0) + 1;
    }
    this.#view = view;
    this.#layOut();
  }

  #resize(): void {
    const { clientWidth: width, clientHeight: height } = this.#canvas;
    const dense = Math.min(devicePixelRatio || 1, 2);
    this.#canvas.width = Math.round(width * dense);
    this.#canvas.height = Math.round(height * dense);
    this.#pen.setTransform(dense, 0, 0, dense, 0, 0);
    this.#size = { width, height };
    this.#layOut();
  }

  #layOut(): void {
    const { width, height } = this.#size;
    const wanted = `${this.#view?.peers.length} ${width} ${height}`;
    if (!this.#view || wanted === this.#laidOutFor) return;
    this.#laidOutFor = wanted;
    this.#layout = layOut(this.#view.peers, width, height);
  }

  draw(): void {
    const [view, layout, pen, now] = [this.#view, this.#layout, this.#pen, performance.now()];
    pen.clearRect(0, 0, this.#size.width, this.#size.height);
    if (!view || !layout) return;
    this.#flashes = this.#flashes.filter(({ since }) => now - since < flashMs);
    this.#broken = this.#broken.filter(({ since }) => now - since < brokenMs);
    this.#drawContinents(view, layout);
    for (const edge of this.#broken) this.#drawBroken(edge, layout, now);
    for (const edge of this.#edges.values()) this.#drawEdge(edge, view, layout, now);
    view.peers.forEach((peer, at) => this.#drawPeer(peer, at, layout));
    for (const flash of this.#flashes) this.#drawFlash(flash, layout, now);
    this.#drawContinentNames(view, layout);
    view.peers.forEach((peer, at) => this.#drawName(peer, at, layout));
  }

  #drawContinents(view: View, { discs }: Layout): void {
    const pen = this.#pen;
    discs.forEach((disc, continent) => {
      const isCut = view.cut === continent;
      pen.beginPath();
      pen.arc(disc.x, disc.y, disc.radius, 0, 2 * Math.PI);
      pen.fillStyle = isCut ? "rgba(255, 90, 80, 0.09)" : "rgba(120, 160, 220, 0.055)";
      pen.fill();
      pen.strokeStyle = isCut ? "rgba(255, 100, 90, 0.9)" : "rgba(140, 170, 220, 0.16)";
      pen.lineWidth = isCut ? 2 : 1;
      pen.setLineDash(isCut ? [7, 6] : []);
      pen.stroke();
      pen.setLineDash([]);
    });
  }

  #drawContinentNames(view: View, { discs }: Layout): void {
    const pen = this.#pen;
    pen.textAlign = "center";
    pen.font = "600 12px system-ui, sans-serif";
    pen.lineWidth = 4;
    pen.strokeStyle = "#0d1320";
    discs.forEach((disc, continent) => {
      const isCut = view.cut === continent;
      const here = view.peers.filter((peer) => peer.continent === continent && peer.state === state.there).length;
      const name = `${continents[continent]} ${here}${isCut ? ", cut off" : ""}`;
      const half = pen.measureText(name).width / 2;
      const x = Math.min(Math.max(disc.x, half + 2), this.#size.width - half - 2);
      pen.fillStyle = isCut ? colours.lost : colours.dim;
      pen.strokeText(name, x, disc.y - disc.radius - 7);
      pen.fillText(name, x, disc.y - disc.radius - 7);
    });
  }

  /**
   * Control point of an edge: edges bend a little, always to the same side, so that both directions can be told apart.
   */
  #bend(from: Point, to: Point): Point {
    const bent = 0.12;
    return { x: (from.x + to.x) / 2 - bent * (to.y - from.y), y: (from.y + to.y) / 2 + bent * (to.x - from.x) };
  }

  #ends(edge: Edge, { places }: Layout, upwards: boolean): [Point, Point] | null {
    const [above, below] = [places[edge.from], places[edge.to]];
    if (!above || !below) return null;
    return upwards ? [below, above] : [above, below];
  }

  #drawEdge(edge: Edge, view: View, layout: Layout, now: number): void {
    const peer = view.peers[edge.to];
    const speaks = peer?.role === role.speaker;
    const ends = this.#ends(edge, layout, speaks);
    if (!peer || !ends) return;
    const [[from, to], pen] = [ends, this.#pen];
    const middle = this.#bend(from, to);
    const flows = speaks || peer.sees;
    const isFar = view.peers[edge.from]?.continent !== peer.continent;
    const age = now - edge.since;
    const isNew = age < 2 * growMs && this.moves;
    pen.beginPath();
    pen.moveTo(from.x, from.y);
    pen.quadraticCurveTo(middle.x, middle.y, to.x, to.y);
    const tint = speaks ? "108, 182, 255" : flows ? "95, 240, 192" : "255, 122, 107";
    pen.strokeStyle = `rgba(${tint}, ${isNew ? 0.85 : speaks ? 0.55 : isFar ? 0.38 : 0.26})`;
    pen.lineWidth = isNew ? 1.8 : isFar || speaks ? 1.3 : 1;
    if (!flows) pen.setLineDash([3, 4]);
    pen.stroke();
    pen.setLineDash([]);
    if (!flows || !this.moves) return;
    const done = ((now + 137 * edge.to) % pulseMs) / pulseMs;
    const rest = 1 - done;
    const x = rest * rest * from.x + 2 * rest * done * middle.x + done * done * to.x;
    const y = rest * rest * from.y + 2 * rest * done * middle.y + done * done * to.y;
    pen.fillStyle = `rgba(${tint}, 0.95)`;
    pen.beginPath();
    pen.arc(x, y, isFar || speaks ? 1.8 : 1.3, 0, 2 * Math.PI);
    pen.fill();
  }

  #drawBroken(edge: Edge, layout: Layout, now: number): void {
    const ends = this.#ends(edge, layout, false);
    if (!ends) return;
    const [[from, to], pen] = [ends, this.#pen];
    const middle = this.#bend(from, to);
    pen.beginPath();
    pen.moveTo(from.x, from.y);
    pen.quadraticCurveTo(middle.x, middle.y, to.x, to.y);
    pen.strokeStyle = `rgba(255, 90, 80, ${0.75 * (1 - (now - edge.since) / brokenMs)})`;
    pen.lineWidth = 1.3;
    pen.stroke();
  }

  #drawPeer(peer: Peer, at: number, { places, spacing }: Layout): void {
    const [place, pen] = [places[at], this.#pen];
    if (!place || peer.state === state.absent || peer.state === state.left) return;
    const unit = Math.max(1.6, Math.min(0.26 * spacing, 5));
    if (peer.state === state.dead) {
      const arm = 0.75 * unit;
      pen.strokeStyle = colours.dead;
      pen.lineWidth = 1.5;
      pen.beginPath();
      pen.moveTo(place.x - arm, place.y - arm);
      pen.lineTo(place.x + arm, place.y + arm);
      pen.moveTo(place.x + arm, place.y - arm);
      pen.lineTo(place.x - arm, place.y + arm);
      pen.stroke();
      return;
    }
    const relays = (this.#children[at] ?? 0) > 0;
    const isLost = peer.watches && !peer.sees;
    const radius =
      peer.role === role.mixer ? 2 * unit : peer.role === role.viewer ? (relays ? 1.15 : 0.8) * unit : 1.3 * unit;
    if (peer.role === role.mixer) {
      const glow = pen.createRadialGradient(place.x, place.y, 0, place.x, place.y, 5 * radius);
      glow.addColorStop(0, "rgba(255, 163, 26, 0.55)");
      glow.addColorStop(1, "rgba(255, 163, 26, 0)");
      pen.fillStyle = glow;
      pen.beginPath();
      pen.arc(place.x, place.y, 5 * radius, 0, 2 * Math.PI);
      pen.fill();
    }
    pen.beginPath();
    if (peer.role === role.speaker) pen.rect(place.x - radius, place.y - radius, 2 * radius, 2 * radius);
    else pen.arc(place.x, place.y, radius, 0, 2 * Math.PI);
    const named = [
      relays ? colours.relay : colours.viewer,
      colours.speaker,
      colours.candidate,
      colours.standby,
      colours.mixer,
    ];
    const colour = isLost ? colours.lost : (named[peer.role] ?? colours.viewer);
    // viewers without the program and peers on stage that do nothing yet are hollow
    const hollow = isLost || peer.role === role.candidate || peer.role === role.standby;
    pen.lineWidth = 1.5;
    pen.fillStyle = hollow ? "#0b0f17" : colour;
    pen.strokeStyle = colour;
    pen.fill();
    if (hollow) pen.stroke();
    if (peer.isHost || this.selected === at) {
      pen.beginPath();
      pen.arc(place.x, place.y, radius + 3.5, 0, 2 * Math.PI);
      pen.strokeStyle = this.selected === at ? "#ffffff" : "rgba(232, 237, 245, 0.85)";
      pen.stroke();
    }
  }

  #drawFlash({ peer, since }: { peer: number; since: number }, { places, spacing }: Layout, now: number): void {
    const [place, pen] = [places[peer], this.#pen];
    if (!place) return;
    const age = (now - since) / flashMs;
    const fades = this.moves ? 1 - age : 0.8;
    pen.beginPath();
    pen.arc(place.x, place.y, this.moves ? spacing * (0.4 + 2.4 * Math.sqrt(age)) : spacing, 0, 2 * Math.PI);
    pen.fillStyle = `rgba(255, 60, 60, ${0.35 * fades})`;
    pen.strokeStyle = `rgba(255, 80, 70, ${fades})`;
    pen.lineWidth = 2;
    pen.fill();
    pen.stroke();
  }

  #drawName(peer: Peer, at: number, { places }: Layout): void {
    const place = places[at];
    const names = [peer.role === role.mixer ? "mixer" : "", peer.isHost ? "host" : ""].filter(Boolean);
    if (!place || names.length === 0 || peer.state !== state.there) return;
    const pen = this.#pen;
    pen.font = "600 11px system-ui, sans-serif";
    pen.textAlign = "left";
    pen.lineWidth = 3.5;
    pen.strokeStyle = "#0b0f17";
    pen.fillStyle = peer.role === role.mixer ? colours.standby : colours.ink;
    pen.strokeText(names.join(", "), place.x + 13, place.y + 4);
    pen.fillText(names.join(", "), place.x + 13, place.y + 4);
  }
}
