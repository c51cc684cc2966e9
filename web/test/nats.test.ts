// Pages behind NATs: what a page tells of its NAT, and whether it meets a native speaker behind another one. As root.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { Lab, noLab } from "./lab.js";
import { Room, SMALL } from "./room.js";
import { untilShown } from "./shown.js";

const skip = noLab ?? false;

let lab: Lab;
let room: Room;

before(async () => {
  if (skip) return;
  lab = await Lab.up({
    core: "delay=10ms",
    one: "delay=10ms nat=port-restricted",
    each: "delay=10ms nat=symmetric",
    home: "delay=10ms nat=port-restricted",
  });
  // the host is in the open, and lets itself be checked
  room = await Room.inLab(lab, "core", "--speak", "--ice-lite", "--page-auto-speak", ...SMALL);
});

after(async () => {
  await room?.close();
  await lab?.down();
});

test("a page tells what its router does", { skip, timeout: 60_000 }, async () => {
  for (const [at, nat] of [
    ["one", "one-port"],
    ["each", "port-each"],
  ] as const) {
    const page = await room.visit(`?auto=watch&name=${at}`, { at });
    await untilShown(page);
    await page.waitForFunction(
      async (nat) => (await window.plenary?.snapshot())?.nat === nat,
      { timeout: 10_000 },
      nat,
    );
    const { links } = (await page.evaluate(() => window.plenary?.snapshot())) ?? {};
    assert.deepEqual(
      links?.map(({ way }) => way),
      ["direct"],
    );
    await page.close();
  }
});

test("a page and a native speaker meet, each behind a router", { skip, timeout: 60_000 }, async () => {
  room.startAt(
    "home",
    "join",
    room.invite,
    "--speak",
    "--mix",
    "never",
    "--name",
    "Ada",
    "--speaker-size",
    "320x180@15",
  );
  const page = await room.visit("?auto=speak&name=Kim", { at: "one" });
  const direct = async () =>
    (await window.plenary?.snapshot())?.links.filter(({ way }) => way === "direct").length === 2;
  await page.waitForFunction(direct, { timeout: 30_000 });
});
