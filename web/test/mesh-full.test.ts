// Five peers that want to speak where nobody mixes: four see each other, the fifth is told why it waits, until a mixer
// comes.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { reads } from "./element.js";
import { AUTO_SPEAK, Room, within } from "./room.js";

const WAIT_MS = 40_000;

let room: Room;

before(async () => {
  room = await Room.open("--program", "320x180@15", "--mix", "never");
});

after(() => room.close());

const speaker = (name: string) => room.screen({ query: `?name=${name}&auto=speak`, head: AUTO_SPEAK });

test("a fifth speaker is told that it waits for a mixer until one comes", { timeout: 180_000 }, async () => {
  for (const name of ["Ada", "Ben", "Cay"]) {
    room.start("join", room.invite, "--speak", "--mix", "never", "--name", name, "--speaker-size", "320x180@15");
  }
  const fourth = await speaker("Dan");
  const seesThree = () =>
    window.parts().filter(({ videoWidth, dataset }) => videoWidth > 0 && dataset["part"] === "speaker").length === 3;
  await fourth.waitForFunction(seesThree, { timeout: WAIT_MS });

  const fifth = await speaker("Eve");
  const isTold = () => reads(fifth, "At most four people speak without a mixer");
  await within("the fifth is told why it waits", isTold);
  assert.equal(await fifth.evaluate(() => window.parts().filter(({ videoWidth }) => videoWidth > 0).length), 0);
  assert.ok(await fourth.evaluate(seesThree), "the four go on");

  room.start("mixer", room.invite);
  const isMixed = () => window.shown()?.dataset["part"] === "program";
  for (const page of [fourth, fifth]) await page.waitForFunction(isMixed, { timeout: WAIT_MS });
  await within("the reason is over", async () => !(await isTold()));
});
