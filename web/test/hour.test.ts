// A tab that watches for an hour: its memory stays flat, its pictures keep coming, and sound and picture stay in step.
// MINUTES sets how long.

import assert from "node:assert/strict";
import { env } from "node:process";
import { test } from "node:test";

import type { Page } from "puppeteer-core";

import { type Memory, MemoryMeter } from "./memory.js";
import { snapshot, watcher } from "./peers.js";
import { Room } from "./room.js";
import { quantile, sleep, smoothness } from "./shown.js";

const MINUTES = Number(env["MINUTES"] ?? 60);
const MINUTE_MS = 60_000;
/** Time in which caches and pools fill, in minutes: memory is compared after it. */
const SETTLE_MINUTES = Math.min(5, MINUTES / 3);
const SAMPLE_MS = 15_000;
const FPS = 15;
/** Largest share of lost pictures, and longest wait between two that are shown, in milliseconds. */
const [LOST_MAX, GAP_MS_MAX] = [0.01, 1200];
const SKEW_MS_MAX = 80;
/**
 * Growth that is allowed from the first tenth of the samples to the last, in bytes. An hour has 54,000 pictures and
 * 180,000 packets of sound: 10 bytes kept of each would be 2.3 MB. Renderers also hold pools of pictures and sound,
 * which grow and shrink.
 */
const GROWTH_MAX: Memory = { scripts: 1 << 20, wasm: 1 << 18, renderers: 24 << 20 };

const MIB = 1 << 20;
const kinds = ["scripts", "wasm", "renderers"] as const;

interface Sample extends Memory {
  atMs: number;
  shown: number;
  longestMs: number;
  lost: number;
  skews: number[];
}

/** What the page has shown since the last time, which it forgets: its notes would count as its memory. */
const taken = (page: Page) =>
  page.evaluate(() => ({
    shownMs: window.shownMs.splice(0),
    skews: window.skews.splice(0).map(({ skewMs }) => skewMs),
  }));

test("a tab that watches for an hour stays in step and uses steady memory", {
  timeout: (MINUTES + 5) * MINUTE_MS,
}, async (t) => {
  const room = await Room.withAda();
  try {
    const page = await watcher(room, "Web");
    const meter = await MemoryMeter.of(page);
    const origin = await page.evaluate(() => performance.timeOrigin);
    await sleep(MINUTE_MS / 3);
    const samples: Sample[] = [];
    const beganMs = Date.now();
    await taken(page);
    let [fromMs, before] = [Date.now(), await snapshot(page)];
    while (Date.now() < beganMs + MINUTES * MINUTE_MS) {
      await sleep(beganMs + (samples.length + 1) * SAMPLE_MS - Date.now());
      const { shownMs, skews } = await taken(page);
      const [toMs, now] = [Date.now(), await snapshot(page)];
      const seen = smoothness(shownMs, fromMs, toMs);
      const lost = now.frames_expected - before.frames_expected - (now.frames_received - before.frames_received);
      samples.push({
        atMs: toMs - beganMs,
        shown: seen.pictures,
        longestMs: seen.longestMs,
        lost,
        skews,
        ...(await meter.measure()),
      });
      const late = now.connection !== "connected" || seen.pictures < 0.9 * FPS * ((toMs - fromMs) / 1000);
      if (late || samples.length % 20 === 0) t.diagnostic(line(samples.slice(-20), `${now.connection} at `));
      [fromMs, before] = [toMs, now];
    }

    assert.equal(await page.evaluate(() => performance.timeOrigin), origin, "the tab was not reloaded");
    assert.equal(before.connection, "connected");
    t.diagnostic(line(samples, "all until "));
    const shown = samples.reduce((sum, one) => sum + one.shown, 0);
    const lost = samples.reduce((sum, one) => sum + one.lost, 0);
    const due = (FPS * (samples.at(-1)?.atMs ?? 0)) / 1000;
    assert.ok(
      shown >= (1 - LOST_MAX) * due && lost <= LOST_MAX * due,
      `${shown} of ${due} pictures shown, ${lost} lost`,
    );
    const longestMs = Math.max(...samples.map((one) => one.longestMs));
    assert.ok(longestMs <= GAP_MS_MAX, `no picture for ${longestMs} ms`);

    // each tenth of the time, so that a drift at the end isn't hidden by a good hour
    const tenth = Math.max(3, Math.floor(samples.length / 10));
    for (let from = 0; from + tenth <= samples.length; from += tenth) {
      const part = samples.slice(from, from + tenth);
      const apart = part.flatMap(({ skews }) => skews.map(Math.abs));
      assert.ok(apart.length >= (0.3 * FPS * SAMPLE_MS * part.length) / 1000, `${apart.length} pictures with sound`);
      assert.ok(quantile(apart, 0.95) <= SKEW_MS_MAX, line(part, "out of step until "));
    }

    const settled = samples.filter(({ atMs }) => atMs > SETTLE_MINUTES * MINUTE_MS);
    const few = Math.max(3, Math.floor(settled.length / 10));
    const grown = kinds.map((kind) => {
      const median = (some: Sample[]) =>
        quantile(
          some.map((one) => one[kind]),
          0.5,
        );
      const [first, last] = [median(settled.slice(0, few)), median(settled.slice(-few))];
      t.diagnostic(
        `${kind}: ${(first / MIB).toFixed(2)} MiB in the first ${few} samples after ${SETTLE_MINUTES} minutes, ${(last / MIB).toFixed(2)} in the last; \
trend ${(trend(settled, kind) / 1024).toFixed(1)} KiB a minute`,
      );
      return { kind, bytes: last - first };
    });
    for (const { kind, bytes } of grown) assert.ok(bytes <= GROWTH_MAX[kind], `${kind}: ${bytes} bytes more`);
  } finally {
    await room.close();
  }
});

/** Figures of some samples. */
function line(samples: readonly Sample[], what: string): string {
  const newest = samples.at(-1);
  const skews = samples.flatMap((one) => one.skews.map(Math.abs));
  const sum = (of: (one: Sample) => number) => samples.reduce((sum, one) => sum + of(one), 0);
  const memory = kinds.map((kind) => `${kind} ${((newest?.[kind] ?? 0) / MIB).toFixed(2)} MiB`).join(", ");
  return `${what}${((newest?.atMs ?? 0) / MINUTE_MS).toFixed(1)} minutes: ${sum(({ shown }) => shown)} pictures shown, ${sum(({ lost }) => lost)} lost, \
longest wait ${Math.max(...samples.map(({ longestMs }) => longestMs))} ms, skew p50 ${quantile(skews, 0.5)} p95 ${quantile(skews, 0.95)} ms; ${memory}`;
}

/** Slope of the line through all samples with the least squares, in bytes a minute. */
function trend(samples: readonly Sample[], kind: (typeof kinds)[number]): number {
  const mean = (values: number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const minutes = samples.map(({ atMs }) => atMs / MINUTE_MS);
  const bytes = samples.map((one) => one[kind]);
  const [middle, level] = [mean(minutes), mean(bytes)];
  const apart = minutes.map((at) => at - middle);
  return mean(apart.map((at, index) => at * ((bytes[index] ?? 0) - level))) / mean(apart.map((at) => at * at));
}
