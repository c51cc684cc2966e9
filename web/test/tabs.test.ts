// Several tabs and elements of one user: which of them is which peer.

import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";

import type { Page } from "puppeteer-core";

import { act, alerted, click, closeDialog, duplicate, fill, live, snapshot, there } from "./element.js";
import { AUTO_SPEAK, Room } from "./room.js";

let room: Room;

before(async () => {
  room = await Room.ofPages();
});
afterEach(() => room.closePages());
after(() => room.close());

test("a duplicated tab of a host is told of the other and joins as a guest", {
  timeout: 90_000,
}, async () => {
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

/** What a page's elements show, in their order: the peer, and whether its camera is on. */
const elements = (page: Page) =>
  page.evaluate(async () =>
    Promise.all(
      [...document.querySelectorAll("plenary-room")].map(async (element) => {
        const self = element.shadowRoot?.querySelector<HTMLVideoElement>("video.self");
        const camera = self?.srcObject instanceof MediaStream ? self.srcObject.getVideoTracks()[0] : undefined;
        return { peer: (await element.snapshot())?.peer ?? null, camera: camera?.readyState ?? null };
      }),
    ),
  );

/** Changes the route, as routers do: the old element goes, a new one comes, before it or after it. */
const route = (page: Page, order: "remove-add" | "add-remove", invite?: string) =>
  page.evaluate(
    async (order, invite) => {
      const old = document.querySelector("plenary-room");
      const made = document.createElement("plenary-room");
      made.setAttribute("invite", invite ?? old?.getAttribute("invite") ?? "");
      if (order === "add-remove") document.body.append(made);
      old?.remove();
      await new Promise((resolve) => setTimeout(resolve, 500));
      if (order === "remove-add") document.body.append(made);
    },
    order,
    invite,
  );

test("a new element goes on with the room of one that left the page", {
  timeout: 90_000,
}, async () => {
  const small = await Room.open();
  try {
    const page = await small.screen({ query: "?name=Uma&auto=speak", head: AUTO_SPEAK });
    await live(page);
    await there(page, "video.self");
    await page.evaluate(() => {
      // the query is for the first one alone
      history.replaceState(null, "", location.pathname);
      window.events = [];
      addEventListener("plenary", (event) => window.events.push((event as CustomEvent).detail));
    });
    const [before] = await elements(page);
    assert.equal(before?.camera, "live");
    for (const order of ["remove-add", "add-remove"] as const) {
      await route(page, order);
      await there(page, "video.self");
      assert.deepEqual(await elements(page), [before], order);
      await page.keyboard.press("v");
      await there(page, '.bar .off[data-act="camera"]');
      await page.keyboard.press("v");
      await there(page, '.bar [data-act="camera"]:not(.off)');
      await there(page, "video.self");
    }
    small.start("join", small.invite, "--speak", "--mix", "never", "--name", "Ada", "--speaker-size", "320x180@15");
    await page.waitForFunction(() => window.events.some(({ what }) => what === "stage"), { timeout: 20_000 });
    await page.waitForFunction(() => (window.shown()?.currentTime ?? 0) > 0, { timeout: 20_000 });
    await route(page, "remove-add");
    await page.waitForFunction(() => window.shown()?.paused === false, { timeout: 20_000 });
    // the element of another room doesn't take this one
    await route(page, "remove-add", `${small.invite}A`);
    await there(page, '[data-act="join"]');
    assert.deepEqual(await elements(page), [{ peer: null, camera: null }]);
    await route(page, "remove-add", small.invite);
    await there(page, "video.self");
    const second = await page.evaluate(async (invite) => {
      const second = document.createElement("plenary-room");
      second.setAttribute("invite", invite);
      document.body.append(second);
      await second.watch();
      return (await second.snapshot())?.peer;
    }, small.invite);
    assert.ok(second);
    assert.notEqual(second, before?.peer);
    // an application ends a room whose element is out of the document
    const camera = await page.evaluateHandle(() => {
      const self = document.querySelector("plenary-room")?.shadowRoot?.querySelector<HTMLVideoElement>("video.self");
      return (self?.srcObject as MediaStream | undefined)?.getVideoTracks()[0];
    });
    await page.evaluate(() => {
      const first = document.querySelector("plenary-room");
      first?.remove();
      first?.leave();
    });
    assert.equal(await page.evaluate((camera) => camera?.readyState, camera), "ended");
    assert.deepEqual(await elements(page), [{ peer: second, camera: null }]);
  } finally {
    await small.close();
  }
});

test("a preview whose element has left the page is closed", { timeout: 60_000 }, async () => {
  const small = await Room.open();
  try {
    const page = await small.screen();
    await act(page, "join");
    await there(page, ".preview video");
    const camera = await page.evaluateHandle(() => {
      const preview = document
        .querySelector("plenary-room")
        ?.shadowRoot?.querySelector<HTMLVideoElement>(".preview video");
      return (preview?.srcObject as MediaStream | undefined)?.getVideoTracks()[0];
    });
    const state = () => page.evaluate((camera) => camera?.readyState, camera);
    // moved within the page it stays
    await page.evaluate(() => document.body.prepend(document.querySelector("plenary-room") ?? ""));
    assert.equal(await state(), "live");
    await page.evaluate(() => document.querySelector("plenary-room")?.remove());
    assert.equal(await state(), "ended");
  } finally {
    await small.close();
  }
});
