// Where each peer stands: a disc for each continent, the peers on it in a spiral, the stage in the middle.

import { type Peer, role, type View } from "./view.js";

export interface Point {
  readonly x: number;
  readonly y: number;
}

export interface Disc extends Point {
  readonly radius: number;
}

export interface Layout {
  /** Distance between neighbours, in CSS pixels. */
  readonly spacing: number;
  /** By continent. */
  readonly discs: readonly Disc[];
  /** By index in the plan. */
  readonly places: readonly Point[];
}

/** Middles of the continents, as shares of width and height: on a wide map and on a narrow one. */
const wide: readonly Point[] = [
  { x: 0.17, y: 0.36 },
  { x: 0.3, y: 0.82 },
  { x: 0.49, y: 0.42 },
  { x: 0.78, y: 0.33 },
  { x: 0.85, y: 0.81 },
];
const narrow: readonly Point[] = [
  { x: 0.25, y: 0.27 },
  { x: 0.22, y: 0.79 },
  { x: 0.69, y: 0.34 },
  { x: 0.62, y: 0.82 },
  { x: 0.89, y: 0.76 },
];
const goldenAngle = Math.PI * (3 - Math.sqrt(5));
/** Space for the name above each disc, between discs, and to the border. */
const labelHeight = 26;
const margin = 10;
const spacingMax = 26;

export function layOut(peers: readonly Peer[], width: number, height: number): Layout {
  const middles = (width > 1.15 * height ? wide : narrow).map(({ x, y }) => ({
    x: x * width,
    y: y * height + labelHeight / 2,
  }));
  const counts = middles.map((_, continent) => peers.filter((peer) => peer.continent === continent).length);
  // in units of the spacing
  const radii = counts.map((count) => 0.62 * Math.sqrt(count + 1) + 0.6);
  let spacing = spacingMax;
  const fit = (space: number, radius: number) => (spacing = Math.min(spacing, Math.max(space, 1) / radius));
  middles.forEach((middle, one) => {
    const radius = radii[one] ?? 1;
    fit(Math.min(middle.x, width - middle.x, height - middle.y, middle.y - labelHeight) - margin, radius);
    middles
      .slice(0, one)
      .forEach((other, at) =>
        fit(Math.hypot(middle.x - other.x, middle.y - other.y) - margin, radius + (radii[at] ?? 1)),
      );
  });
  const discs = middles.map((middle, at) => ({ ...middle, radius: (radii[at] ?? 1) * spacing }));
  const placed = discs.map(() => 0);
  const places: Point[] = [];
  // the plan lists the stage first, so that it stands in the middle
  for (const peer of peers) {
    const disc = discs[peer.continent];
    if (!disc) continue;
    const nth = placed[peer.continent] ?? 0;
    placed[peer.continent] = nth + 1;
    const [distance, angle] = [0.62 * spacing * Math.sqrt(nth + 0.5), nth * goldenAngle];
    places.push({ x: disc.x + distance * Math.cos(angle), y: disc.y + distance * Math.sin(angle) });
  }
  return { spacing, discs, places };
}

/** Index of the peer nearest to a point, if it is near. */
export function peerAt(layout: Layout, view: View, { x, y }: Point, reach: number): number | null {
  let [found, nearest] = [-1, reach];
  layout.places.forEach((place, at) => {
    const distance = Math.hypot(place.x - x, place.y - y);
    if (distance < nearest && view.peers[at]?.state === 1) [found, nearest] = [at, distance];
  });
  return found < 0 ? null : found;
}

/** Number of peers that a peer feeds. */
export function feeds(view: View, index: number): number {
  return view.peers.filter((peer) => peer.above === index && peer.role !== role.speaker && peer.state === 1).length;
}
