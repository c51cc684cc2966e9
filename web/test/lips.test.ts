// Pictures and sound of the program in step.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { joinWith, Room } from "./room.js";

let room: Room;

before(async () => {
  room = await Room.withAda();
});

after(() => room.close());

test("a page plays sound within 80 ms of the picture that was captured with it", { timeout: 60_000 }, async () => {
  const page = await room.page();
  await joinWith(page, { invite: room.invite, name: "Web" });
  await page.waitForFunction(() => document.querySelector("video")?.videoWidth === 320, { timeout: 20_000 });
  // the room elects its mixer meanwhile, and the browser's delays settle
  await new Promise((resolve) => setTimeout(resolve, 15_000));
  const skewsMs = await room.skewsMs(page);
  assert.ok(skewsMs.length > 30, `${skewsMs.length} pictures with sound`);
  assert.ok(skewsMs.filter((skew) => Math.abs(skew) > 80).length <= 0.05 * skewsMs.length, `out of step: ${skewsMs} ms`);
});
