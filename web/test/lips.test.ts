// Pictures and sound of the program in step.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { joinWith, Room } from "./room.js";
import { skewsMs } from "./shown.js";

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
  const skews = await skewsMs(page);
  assert.ok(skews.length > 30, `${skews.length} pictures with sound`);
  assert.ok(skews.filter((skew) => Math.abs(skew) > 80).length <= 0.05 * skews.length, `out of step: ${skews} ms`);
});
