// How a page shows the program: figures of the times at which pictures were shown.

import type { Page } from "puppeteer-core";

/** Wait between two pictures from which it counts as frozen, in milliseconds. */
const FROZEN_MS = 300;

export const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

export interface Smoothness {
  pictures: number;
  /** Sum of all waits that are a freeze, whole. */
  frozenMs: number;
  longestMs: number;
  /** Pictures of each second. */
  perSecond: number[];
  /** How many waits were a freeze. */
  freezes: number;
}

/** Waits for pictures within a span, from its begin to its end; times in milliseconds since 1970. */
export function smoothness(shownMs: readonly number[], fromMs: number, toMs: number): Smoothness {
  const within = shownMs.filter((at) => at >= fromMs && at < toMs).sort((one, other) => one - other);
  const edges = [fromMs, ...within, toMs];
  const waits = edges.slice(1).map((at, index) => at - (edges[index] ?? at));
  const frozen = waits.filter((wait) => wait > FROZEN_MS);
  const seconds = Array.from({ length: Math.floor((toMs - fromMs) / 1000) }, () => 0);
  for (const at of within) {
    const second = Math.floor((at - fromMs) / 1000);
    if (second < seconds.length) seconds[second] = (seconds[second] ?? 0) + 1;
  }
  return {
    pictures: within.length,
    frozenMs: Math.round(frozen.reduce((sum, wait) => sum + wait, 0)),
    longestMs: Math.round(Math.max(...waits)),
    perSecond: seconds,
    freezes: frozen.length,
  };
}

/** When pictures were shown since a time, in milliseconds since 1970. */
export function shownSince(page: Page, fromMs: number): Promise<number[]> {
  return page.evaluate((fromMs) => window.shownMs.filter((at) => at >= fromMs), fromMs);
}

/** Watches a page for that long. */
export async function watchFor(page: Page, ms: number): Promise<Smoothness> {
  const fromMs = Date.now();
  await sleep(ms);
  return smoothness(await shownSince(page, fromMs), fromMs, fromMs + ms);
}

/**
 * How much later a page shows pictures than it plays sound of the same capture time, in milliseconds, in that time from
 * now.
 */
export async function skewsMs(page: Page, ms = 3000): Promise<number[]> {
  const fromMs = Date.now();
  await sleep(ms);
  return skewsSince(page, fromMs);
}

export function skewsSince(page: Page, fromMs: number): Promise<number[]> {
  return page.evaluate(
    (fromMs) => window.skews.filter(({ atMs }) => atMs >= fromMs).map(({ skewMs }) => skewMs),
    fromMs,
  );
}

/** The value below which a share of all values lies. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((one, other) => one - other);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN;
}

/** Waits until a page that watches shows pictures; returns after how long, in milliseconds. */
export async function untilShown(page: Page, timeoutMs = 60_000): Promise<number> {
  const fromMs = Date.now();
  await page.waitForFunction(() => window.shownMs.length > 15, { timeout: timeoutMs, polling: 100 });
  return Date.now() - fromMs;
}
