// A host that has a keyboard alone: from opening a room to its end.

import assert from "node:assert/strict";
import { after, test } from "node:test";

import type { KeyInput, Page } from "puppeteer-core";

import type { Snapshot } from "../src/room.js";
import { act, alerted, click, fill, focused, inviteOf, live, tabTo, there } from "./element.js";
import { Room } from "./room.js";

let room: Room;

after(() => room.close());

/** Goes to something by Tab, and presses a key there. */
async function press(page: Page, name: string, key: KeyInput = "Enter"): Promise<void> {
  await tabTo(page, name);
  await page.keyboard.press(key);
}

const becomes = (page: Page, is: (snapshot: Snapshot) => boolean) =>
  page.waitForFunction(`window.plenary.snapshot().then((snapshot) => snapshot && (${is})(snapshot))`, {
    timeout: 20_000,
  });

test("a host goes all the way by keyboard", { timeout: 90_000 }, async () => {
  room = await Room.ofPages();
  const host = await room.screen({ invite: "", rendezvous: room.rendezvous });
  await there(host, '[data-act="open"]');
  await tabTo(host, "title");
  await host.keyboard.type("Garden club");
  await tabTo(host, "name");
  await host.keyboard.type("Grace");
  await press(host, "stage", "ArrowDown");
  await press(host, "lobby", "Space");
  await press(host, "open");
  await live(host);
  await there(host, "dialog.invite[open]");
  assert.equal(await focused(host), "Invite people");
  await host.evaluate(() => {
    navigator.clipboard.writeText = () => Promise.resolve();
  });
  await press(host, "copy");
  await there(host, "[data-done]");
  await press(host, "close");
  await becomes(host, ({ lobby, stage_open, title }) => lobby && !stage_open && title === "Garden club");
  const invite = await inviteOf(host);

  // a newcomer knocks, comes in, and is given the floor
  const guest = await room.screen({ invite });
  await fill(guest, "name", "Hedy");
  await act(guest, "watch");
  await there(host, '[data-way="people"]');
  await host.bringToFront();
  await press(host, "Show people");
  await there(host, '[data-act="admit"]');
  assert.equal(await focused(host), "People");
  await press(host, "admit");
  await there(guest, ".room");
  await becomes(
    host,
    ({ waiting, directory }) => waiting.length === 0 && directory.some(({ name }) => name === "Hedy"),
  );
  assert.equal(await focused(host), "People", "what had the focus is gone");
  await act(guest, "hand");
  await there(host, ".wanted [data-act=promote]");
  await press(host, "promote");
  await click(guest, '[data-way="stage"]');
  await act(guest, "go-on-stage");
  await becomes(host, ({ stage }) => stage.some(({ name, speaks }) => name === "Hedy" && speaks));

  // the tools for the whole room
  await press(host, "host");
  await there(host, ".panel.host");
  await press(host, "lock", "Space");
  await becomes(host, ({ locked }) => locked);
  await press(host, "layout", "ArrowDown");
  await becomes(host, ({ layout }) => layout === "active");
  await press(host, "invite");
  await there(host, "dialog.invite[open]");
  await host.keyboard.press("Escape");
  assert.equal(await focused(host), "invite");

  // one is removed, after a question that is no by default
  await press(host, "people");
  await there(host, ".panel.people");
  await press(host, "remove");
  await there(host, "dialog.confirm[open]");
  assert.equal(await focused(host), "cancel");
  await host.keyboard.press("Enter");
  assert.equal(await focused(host), "remove");
  await host.keyboard.press("Enter");
  await press(host, "confirm");
  await alerted(guest, "The host has removed you");
  await becomes(host, ({ stage }) => stage.length === 1);
  assert.equal(await focused(host), "People", "what had the focus is gone");

  // leaving asks, since the room would go on
  await press(host, "leave");
  await there(host, "dialog.leave[open]");
  await host.keyboard.press("Escape");
  assert.equal(await focused(host), "leave");
  await press(host, "host");
  await press(host, "end");
  await press(host, "confirm");
  await alerted(host, "The host has ended the room.");
  assert.equal(await focused(host), "The host has ended the room.");
});
