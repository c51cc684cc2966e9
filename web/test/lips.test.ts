// Pictures and sound of the program in step.

import assert from "node:assert/strict";
import { test } from "node:test";

import { record, skewRange } from "./figures.js";
import { watcher } from "./peers.js";
import { Room, within } from "./room.js";
import { skewsMs, sleep } from "./shown.js";

/** Time in which a room elects its mixer, and a browser's delays settle, in milliseconds. */
const SETTLE_MS = 15_000;
const RECORD_MS = 12_000;

test("a page plays sound within 80 ms of the picture captured with it", { timeout: 60_000 }, async () => {
  const room = await Room.withAda();
  try {
    const page = await watcher(room, "Web");
    await sleep(SETTLE_MS);
    const skews = await skewsMs(page);
    assert.ok(skews.length > 30, `${skews.length} pictures with sound`);
    assert.ok(skews.filter((skew) => Math.abs(skew) > 80).length <= 0.05 * skews.length, `out of step: ${skews} ms`);
  } finally {
    await room.close();
  }
});

test("flash and beep come within 80 ms of each other at a page and below it", {
  timeout: 120_000,
}, async (t) => {
  const room = await Room.open("--program", "640x360@30", "--k1", "1", "--mix", "never");
  try {
    room.start("mixer", room.invite);
    const speaker = ["--mix", "never", "--speak", "--speaker-size", "320x180@30"];
    for (const name of ["Ada", "Ben"]) room.start("join", room.invite, ...speaker, "--name", name);
    const pages = [await watcher(room, "one"), await watcher(room, "other")];
    const depths = () =>
      Promise.all(pages.map((page) => page.evaluate(() => window.room.snapshot().then(({ depth }) => depth))));
    await within("one page is below the other", async () => `${(await depths()).sort()}` === "1,2");
    await sleep(SETTLE_MS);
    for (const [at, page] of pages.entries()) {
      const path = room.file(`${at}.webm`);
      await record(page, RECORD_MS, path);
      const [least, most] = skewRange(path, 2);
      t.diagnostic(`depth ${(await depths())[at]}: beeps come ${least} to ${most} ms after flashes`);
      assert.ok(least >= -80 && most <= 80, `${least} to ${most} ms`);
    }
  } finally {
    await room.close();
  }
});
