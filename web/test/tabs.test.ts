// Several tabs and elements of one user: which of them is which peer.

import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";

import type { Page } from "puppeteer-core";

import { act, alerted, click, closeDialog, fill, live, there } from "./element.js";
import { Room } from "./room.js";

let room: Room;

before(async () => {
  room = await Room.ofPages();
});
afterEach(() => room.closePages());
after(() => room.close());

const snapshot = (page: Page) => page.evaluate(() => window.plenary.snapshot());

/** A window that a page opens gets a copy of its storage, as a duplicated tab does. */
async function duplicate(page: Page): Promise<Page> {
  const opened = new Promise<Page | null>((resolve) => page.once("popup", resolve));
  await page.evaluate(() => window.open(location.href));
  const copy = await opened;
  assert.ok(copy);
  return copy;
}

test("a duplicated tab of a host is told that the room is open, and joins as a guest", { timeout: 90_000 }, async () => {
  const host = await room.screen({ invite: "", rendezvous: room.rendezvous });
  await fill(host, "name", "Grace");
  await act(host, "open");
  await live(host);
  await closeDialog(host);
  const before = await snapshot(host);
  const [guest, heir] = [await duplicate(host), await duplicate(host)];
  await guest.bringToFront();
  await act(guest, "open");
  await alerted(guest, "This room is open in another tab");
  await click(guest, '[data-way="guest"]');
  await act(guest, "watch");
  await there(guest, ".room");
  assert.notEqual((await snapshot(guest))?.peer, before?.peer);
  assert.equal((await snapshot(guest))?.host, before?.peer);
  // what the host was is unharmed, also by a reload of its tab
  await host.bringToFront();
  await host.reload();
  await act(host, "open");
  await live(host);
  assert.equal((await snapshot(host))?.peer, before?.peer);
  await heir.bringToFront();
  await act(heir, "open");
  await alerted(heir, "This room is open in another tab");
  // the tab that had the room is closed: another one may go on with it
  await host.close();
  await act(heir, "open");
  await live(heir);
  assert.equal((await snapshot(heir))?.peer, before?.peer);
  await there(heir, ".room");
});
