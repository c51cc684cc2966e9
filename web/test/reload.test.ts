// Tabs that are loaded anew, or leave for another page, in the middle of a room.

import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";

import type { Page } from "puppeteer-core";

import { act, closeDialog, fill, inviteOf, live, snapshot } from "./element.js";
import { AUTO_SPEAK, Room, within } from "./room.js";

/**
 * Longest time until a speaker that left for another page is off the host's list, in milliseconds; without a good-bye
 * that others can read it was listed for 7 s and more, with it for 5–147 ms.
 */
const PARTED_MS_MAX = 3000;

let room: Room;

before(async () => {
  room = await Room.ofPages();
});
afterEach(() => room.closePages());
after(() => room.close());

/** Names of those who speak, as a page knows them, in their order. */
const speaking = async (page: Page) =>
  ((await snapshot(page))?.stage ?? [])
    .filter((one) => one.speaks)
    .map((one) => one.name)
    .sort();

/** Opens a room by a page; a mixer and a native speaker join, and a page that speaks. */
async function open(): Promise<{ host: Page; guest: Page; invite: string }> {
  const host = await room.screen({ invite: "", rendezvous: room.rendezvous });
  await fill(host, "name", "Grace");
  await act(host, "open");
  await live(host);
  await closeDialog(host);
  const invite = await inviteOf(host);
  room.start("mixer", invite);
  room.start("join", invite, "--speak", "--mix", "never", "--name", "Gil", "--speaker-size", "320x180@15");
  const guest = await room.screen({ invite, query: "?name=Gus&auto=speak", head: AUTO_SPEAK });
  await live(guest);
  return { host, guest, invite };
}

test("a host that reloads its tab takes nobody's camera, place or mixer", { timeout: 120_000 }, async () => {
  const { host, guest } = await open();
  await within("all speak, and are mixed", async () => {
    const [speakers, now] = [await speaking(guest), await snapshot(guest)];
    return speakers.includes("Gil") && speakers.includes("Gus") && now?.mixers.length === 1;
  });
  const peer = (await snapshot(host))?.peer;
  await guest.evaluate(() => {
    window.lost = [];
    const judge = async () => {
      const now = await window.plenary.snapshot();
      const self = document.querySelector("plenary-room")?.shadowRoot?.querySelector<HTMLVideoElement>("video.self");
      const camera = self?.srcObject instanceof MediaStream ? self.srcObject.getVideoTracks()[0] : undefined;
      if (camera?.readyState !== "live") window.lost.push("the camera");
      if (now?.mixers.length !== 1) window.lost.push("the mixer");
      for (const name of ["Gil", "Gus"]) {
        if (!now?.stage.some((one) => one.name === name && one.speaks)) window.lost.push(`the place of ${name}`);
      }
    };
    setInterval(judge, 100);
  });
  await host.reload();
  await act(host, "open");
  await live(host);
  assert.equal((await snapshot(host))?.peer, peer);
  await within("the host reigns again, and the page knows it", async () => (await snapshot(guest))?.host === peer);
  await new Promise((resolve) => setTimeout(resolve, 5000));
  assert.deepEqual(await guest.evaluate(() => [...new Set(window.lost)]), []);
  assert.deepEqual(
    (await speaking(host)).filter((name) => name !== "Grace"),
    ["Gil", "Gus"],
  );
});

test("a speaker that leaves for another page is off the list at once", { timeout: 90_000 }, async (t) => {
  const { host, guest } = await open();
  await within("the host lists it", async () => (await speaking(host)).includes("Gus"));
  await guest.goto("about:blank");
  const from = Date.now();
  const isListed = async () => (await snapshot(host))?.stage.some((one) => one.name === "Gus" && one.speaks) ?? false;
  while (await isListed()) {
    assert.ok(Date.now() - from < PARTED_MS_MAX, "still listed");
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  t.diagnostic(`off the list after ${Date.now() - from} ms`);
});
