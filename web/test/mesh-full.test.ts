// Five pages that want to speak where nobody mixes: four see each other, the fifth is told why it waits, until a mixer comes.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import type { Page } from "puppeteer-core";

import { act, closeDialog, fill, live, there } from "./element.js";
import { Room } from "./room.js";

const WAIT_MS = 40_000;
const AUTO_SPEAK = '<meta name="plenary-auto-speak" content="yes">';

let room: Room;

before(async () => {
  room = await Room.ofPages();
});

after(() => room.close());

const speaker = async (invite: string, name: string) => {
  const page = await room.screen({ invite, query: `?name=${name}&auto=speak`, head: AUTO_SPEAK });
  await live(page);
  return page;
};

/** Waits until a page shows this number of other speakers. */
const shows = (page: Page, count: number) =>
  page.waitForFunction(
    (count) => window.parts().filter(({ videoWidth, dataset }) => videoWidth > 0 && dataset["part"] === "speaker").length === count,
    { timeout: WAIT_MS },
    count,
  );

test("four speakers are a mesh, a fifth is told that it waits for a mixer, and then all are seen", { timeout: 240_000 }, async () => {
  const opener = await room.screen({ invite: "", rendezvous: room.rendezvous });
  await fill(opener, "name", "Ada");
  await act(opener, "open");
  await live(opener);
  await there(opener, "dialog.invite[open] .qr svg");
  await closeDialog(opener);
  await act(opener, "hand");
  await there(opener, "dialog.stage[open] .preview video");
  await act(opener, "go-on-stage");
  const invite = await opener.evaluate(() => window.plenary.snapshot().then((snapshot) => snapshot?.invite ?? ""));
  const others = [];
  for (const name of ["Ben", "Cay", "Dan"]) others.push(await speaker(invite, name));
  for (const page of [opener, ...others]) await shows(page, 3);

  const fifth = await speaker(invite, "Eve");
  const says = (is: string) => document.querySelector("plenary-room")?.shadowRoot?.textContent?.includes(is) ?? false;
  await fifth.waitForFunction(says, { timeout: WAIT_MS }, "At most four people speak without a mixer");
  assert.equal(await fifth.evaluate(() => window.parts().filter(({ videoWidth }) => videoWidth > 0).length), 0);
  for (const page of [opener, ...others]) await shows(page, 3);

  room.start("mixer", invite);
  const isMixed = () => window.shown()?.dataset["part"] === "program";
  for (const page of [opener, ...others, fifth]) await page.waitForFunction(isMixed, { timeout: WAIT_MS });
  assert.equal(await fifth.evaluate(says, "At most four people speak without a mixer"), false);
});
