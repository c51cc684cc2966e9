// How this page is connected: its way to the program, what arrives, and at the host the tree of all viewers.

import { html, nothing } from "lit";
import { megabits } from "../megabits.js";
import type { Snapshot } from "../room.js";
import { texts } from "../texts.js";
import type { Part } from "./parts.js";
import type { Session } from "./session.js";

/** Rows of the tree that are drawn; a room may have thousands of viewers. */
const ROWS_MAX = 200;

export function connectionPanel(session: Session): Part {
  const { snapshot, health } = session;
  if (!snapshot) return nothing;
  const name = (peer: string | null) => (peer ? session.nameOf(peer) : texts.none);
  const ms = (value: number | null | undefined) =>
    value === null || value === undefined ? texts.unknown : `${Math.round(value)} ms`;
  const { latency_ms, uplink_bps, mode, stage, peer } = snapshot;
  const mixers = snapshot.mixers.map(name).join(", ");
  // mixers send to the stage themselves
  const isOnStage = mode === "mixer" && mixers !== "" && stage.some((one) => one.peer === peer);
  return html`<div class="scroll" tabindex="0">
    <p class="verdict"><i class="dot ${health.is}"></i><b>${texts[health.is]}</b><span>${health.why}</span></p>
    <section>
      <h3>${texts.yourWay}</h3>
      ${list([
        [texts.mode, texts.modes[snapshot.mode]],
        [texts.mixedBy, snapshot.mixed_by ?? texts.nobody],
        [texts.fedBy, isOnStage ? mixers : name(snapshot.parent)],
        [texts.backup, name(snapshot.backup)],
        [texts.path, [...snapshot.path.slice(0, -1).map(name), texts.you].join(" › ")],
        [texts.depth, snapshot.depth ?? (isOnStage ? 1 : texts.unknown)],
        [texts.feeds, texts.feedsCount(snapshot.children.length)],
        [texts.changes, snapshot.reparented],
      ])}
    </section>
    <section>
      <h3>${texts.counts}</h3>
      ${list([
        [texts.pictures, texts.picturesOf(snapshot.frames_received, snapshot.frames_expected)],
        [texts.latency, latency_ms ? `${ms(latency_ms.p50)} / ${ms(latency_ms.p95)}` : texts.unknown],
        [texts.late, ms(snapshot.late_ms)],
        [texts.gap, ms(snapshot.longest_video_gap_ms)],
        [texts.uplink, uplink_bps === null ? texts.unknown : megabits(uplink_bps)],
        [texts.rates, texts.ratesOf(snapshot.received_bps, snapshot.sent_bps)],
        ...(snapshot.encoder
          ? [[texts.encoder, texts.encoderOf(snapshot.encoder.bitrate_bps, snapshot.encoder.encode_ms)] as const]
          : []),
        [texts.nat, texts.nats[snapshot.nat]],
        ...(session.localNetwork
          ? [[texts.localNetwork, texts.localNetworks[session.localNetwork.state]] as const]
          : []),
      ])}
    </section>
    <section>
      <h3>${texts.links}</h3>
      ${list(snapshot.links.map(({ peer, way }) => [name(peer), texts.ways[way]]))}
    </section>
    ${
      snapshot.rates_above.length > 0
        ? html`<section>
          <h3>${texts.ratesAbove}</h3>
          ${list(snapshot.rates_above.map((of) => [name(of.peer), texts.ratesAboveOf(of.received_bps, of.sent_bps, of.children)]))}
        </section>`
        : nothing
    }
    ${
      session.isHost && snapshot.directory.length > 0
        ? html`<section>
          <h3>${texts.tree}</h3>
          ${tree(session, snapshot)}
        </section>`
        : nothing
    }
  </div>`;
}

function list(rows: readonly (readonly [string, string | number])[]): Part {
  return html`<dl>
    ${rows.map(([label, value]) => html`<div><dt>${label}</dt><dd>${value}</dd></div>`)}
  </dl>`;
}

interface Row {
  peer: string;
  depth: number;
}

/** The audience below its parents, as nested rows. A peer is drawn once, whatever the directory says. */
export function rowsOf({ directory, mixers }: Pick<Snapshot, "directory" | "mixers">): Row[] {
  const children = new Map<string, string[]>();
  for (const { peer, parent } of directory) {
    const list = children.get(parent ?? "") ?? [];
    list.push(peer);
    children.set(parent ?? "", list);
  }
  const listed = new Set(directory.map(({ peer }) => peer));
  const parents = [...children.keys()].filter((parent) => parent !== "" && !listed.has(parent));
  const roots = [...new Set([...mixers, ...parents])];
  const rows: Row[] = [];
  const seen = new Set<string>();
  // the topmost last, since the stack's end comes first
  const stack: Row[] = [...(children.get("") ?? []), ...roots].map((peer) => ({ peer, depth: 0 })).reverse();
  for (let row = stack.pop(); row && rows.length < ROWS_MAX; row = stack.pop()) {
    if (seen.has(row.peer)) continue;
    seen.add(row.peer);
    rows.push(row);
    const { depth } = row;
    for (const peer of [...(children.get(row.peer) ?? [])].reverse()) stack.push({ peer, depth: depth + 1 });
  }
  return rows;
}

function tree(session: Session, snapshot: Snapshot): Part {
  return html`<ul class="tree">
    ${rowsOf(snapshot).map(
      ({ peer, depth }) => html`<li style="--depth: ${Math.min(depth, 12)}">
        <span>${session.nameOf(peer)}</span>
        ${snapshot.mixers.includes(peer) ? html`<small>${texts.mixedBy.toLowerCase()}</small>` : nothing}
      </li>`,
    )}
  </ul>`;
}
