// Pages below a page, and a native below a page: frames that one browser hands on to others.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import type { Page } from "puppeteer-core";

import { act, says } from "./element.js";
import { Room } from "./room.js";

let room: Room;
/** The page below the other. */
let lower: Page;

before(async () => {
  // one viewer below the mixer: all others are fed by pages
  room = await Room.withAda("--k1", "1", "--k", "3");
});

after(() => room.close());

async function watching(name: string): Promise<Page> {
  const page = await room.visit(`?auto=watch&name=${name}`);
  const isFed = () => window.plenary.snapshot().then((snapshot) => (snapshot?.frames_received ?? 0) > 30);
  await page.waitForFunction(isFed, { timeout: 30_000 });
  return page;
}

const snapshot = async (page: Page) => {
  const taken = await page.evaluate(() => window.plenary.snapshot());
  if (!taken) throw new Error("the page is in no room");
  return taken;
};

test("a page feeds another page and a native, which get all pictures", { timeout: 120_000 }, async (t) => {
  const began = Date.now();
  const pages = [await watching("one"), await watching("other")];
  t.diagnostic(`both pages are fed after ${Date.now() - began} ms`);
  const native = room.start("join", room.invite, "--view", "--relay", "never", "--duration", "12s", "--json", "-");
  const whole = room.whole(native);
  // the second to come may take the first one's place
  const taken = await Promise.all(pages.map(snapshot));
  const [at, upper] = taken[0]?.depth === 2 ? [0, taken[1]] : [1, taken[0]];
  const [below, begin] = [pages[at], taken[at]];
  assert.ok(below && begin && upper);
  lower = below;
  assert.equal(begin.parent, upper.peer);
  assert.deepEqual([upper.depth, begin.depth], [1, 2]);
  await new Promise((resolve) => setTimeout(resolve, 6000));
  const end = await snapshot(below);
  const [received, expected] = [
    end.frames_received - begin.frames_received,
    end.frames_expected - begin.frames_expected,
  ];
  assert.ok(received >= 75 && received >= 0.98 * expected - 1, `${received} of ${expected} pictures`);
  const report = JSON.parse(await whole);
  assert.ok(report.depth >= 2, JSON.stringify(report));
  assert.ok(report.frames_received >= 0.98 * report.frames_expected - 1, JSON.stringify(report));
});

test("the panel of a page below a page shows what both peers above it send", { timeout: 60_000 }, async (t) => {
  assert.deepEqual((await snapshot(lower)).rates_above, [], "nobody has asked yet");
  await act(lower, "panel");
  await lower.waitForFunction(() => window.plenary.snapshot().then((taken) => taken?.rates_above.length === 2));
  const { path, rates_above: rates } = await snapshot(lower);
  t.diagnostic(JSON.stringify(rates));
  assert.deepEqual(
    rates.map(({ peer }) => peer),
    path.slice(0, 2),
  );
  // a program of 300 kbit/s and its sound
  assert.ok(rates.every(({ sent_bps, children }) => sent_bps > 100_000 && children >= 1));
  await says(lower, "Sent to you by way of");
  await says(lower, "out, feeds 1");
});
