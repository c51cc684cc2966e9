// Pages whose network changes in mid-room: another address, behind another NAT. As root, but for the last ones.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import type { Page } from "puppeteer-core";

import { Lab, noLab } from "./lab.js";
import { Room, SMALL, within } from "./room.js";
import { sleep, smoothness, untilShown } from "./shown.js";

const skip = noLab ?? false;
/** Time before a move in which links settle, and after it in which pictures are watched, in milliseconds. */
const [SETTLED_MS, WATCHED_MS] = [4000, 7000];
/**
 * Maximum time without pictures: a link that is lost and made anew takes longer. Chromium learns of its new network
 * after two seconds, on Linux.
 */
const GAP_MS_MAX = 5000;

let lab: Lab;
let room: Room;

before(async () => {
  if (skip) return;
  lab = await Lab.up({
    core: "delay=10ms",
    watching: "delay=10ms nat=port-restricted",
    speaking: "delay=10ms nat=port-restricted",
    each: "delay=10ms nat=port-restricted",
    home: "delay=10ms nat=port-restricted",
  });
  room = await Room.inLab(lab, "core", "--speak", "--page-auto-speak", ...SMALL);
});

after(async () => {
  await room?.close();
  await lab?.down();
});

/** What a page has gone through since the last call, while something happened; its links are the same as before. */
async function goesOn(page: Page, title: string, happens: () => Promise<void>): Promise<void> {
  const links = () => page.evaluate(() => window.connections.length);
  await sleep(SETTLED_MS);
  const [before, fromMs] = [await links(), Date.now()];
  await happens();
  await sleep(WATCHED_MS);
  const toMs = Date.now();
  const { longestMs, pictures } = smoothness(await page.evaluate(() => window.shownMs), fromMs, toMs);
  const said = await page.evaluate(() => window.connections.map((one) => one.connectionState).join(", "));
  console.log(`| ${title} | ${longestMs} ms without pictures, ${pictures} pictures, ${said} |`);
  assert.ok(longestMs <= GAP_MS_MAX, `${title}: ${longestMs} ms, ${said}`);
  assert.equal(await links(), before, `${title}: no link is made anew`);
}

const isTold = (page: Page) =>
  page.waitForFunction(() => {
    const roots = [document, ...[...document.querySelectorAll("*")].flatMap((element) => element.shadowRoot ?? [])];
    return roots.some((root) => root.textContent?.includes("Your network has changed"));
  });

for (const [at, auto, nat] of [
  ["watching", "watch", "port-restricted"],
  ["speaking", "speak", "port-restricted"],
  ["each", "watch", "symmetric"],
] as const) {
  test(`a page goes on from another network: ${at}`, { skip, timeout: 60_000 }, async () => {
    const page = await room.visit(`?auto=${auto}&name=${at}`, { at });
    await untilShown(page);
    const told = isTold(page);
    await goesOn(page, `page that moves, ${auto}, ${nat}`, () => lab.move(at, nat));
    await told;
    await page.close();
  });
}

test("a page follows a native speaker to another network", { skip, timeout: 60_000 }, async () => {
  const small = ["--mix", "never", "--name", "Ada", "--speaker-size", "320x180@15"];
  room.startAt("home", "join", room.invite, "--speak", ...small);
  const page = await room.visit("?auto=speak&name=Kim", { at: "speaking" });
  const direct = async () =>
    (await window.plenary?.snapshot())?.links.filter(({ way }) => way === "direct").length === 2;
  await page.waitForFunction(direct, { timeout: 30_000 });
  await goesOn(page, "page whose speaker moves", () => lab.move("home", "port-restricted"));
  assert.equal(await page.evaluate(direct), true);
  await page.close();
});

for (const kind of ["chromium", "firefox"] as const) {
  test(`a restart that nothing calls for costs nothing: ${kind}`, { timeout: 60_000 }, async () => {
    const room = await Room.open("--speak", "--page-auto-speak", ...SMALL);
    try {
      const pages = [await room.visit("?auto=speak&name=Kim", { kind })];
      // Firefox ends some links with pages when one of them restarts, and they are made anew
      if (kind !== "firefox") pages.push(await room.visit("?auto=speak&name=Leo"));
      const links = (page: Page) => page.evaluate(async () => (await window.plenary?.snapshot())?.links.length ?? 0);
      for (const page of pages) await within("links", async () => (await links(page)) > 0);
      await sleep(SETTLED_MS);
      for (const page of pages) {
        // attempts to make a link may have been closed before
        const live = () =>
          page.evaluate(() =>
            window.connections.flatMap((one, at) =>
              // Firefox throws where a description of a closed connection is read
              one.connectionState === "connected"
                ? { at, ufrag: /ufrag:(.*)/.exec(one.localDescription?.sdp ?? "")?.[1] }
                : [],
            ),
          );
        const [before, wereLinked] = [await live(), await links(page)];
        await page.evaluate(() => dispatchEvent(new Event("online")));
        await sleep(WATCHED_MS);
        const now = await live();
        assert.deepEqual(
          now.map(({ at }) => at),
          before.map(({ at }) => at),
          "each link goes on, and none is made anew",
        );
        assert.ok(now.every(({ ufrag }, at) => ufrag !== before[at]?.ufrag));
        assert.equal(await links(page), wereLinked);
      }
    } finally {
      await room.close();
    }
  });
}
