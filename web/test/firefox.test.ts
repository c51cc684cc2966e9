// Pages in Firefox, which has H.264 only with a plugin: without it they hear and are heard.

import assert from "node:assert/strict";
import { env } from "node:process";
import { after, before, test } from "node:test";

import type { Page } from "puppeteer-core";

import { heard, joinWith, Room, within } from "./room.js";
import { texts } from "../src/texts.js";

let room: Room;

before(async () => {
  room = await Room.withAda();
});

after(() => room.close());

const says = (page: Page) =>
  page.evaluate(() => document.querySelector("plenary-room")?.shadowRoot?.querySelector('[role="status"]')?.textContent);

const snapshot = (page: Page) => page.evaluate(() => window.plenary.snapshot());

test("without H.264 a page hears the room, and says why there is no picture", { timeout: 60_000 }, async () => {
  const page = await room.visit("?auto=watch&name=Hal", "firefox");
  await within("the page says why", async () => (await says(page)) === texts.noDecoder);
  await page.locator('>>> [data-act="sound"]').click();
  await within("the page hears Ada", async () => (await heard(page)).others > -60);
  const begin = await snapshot(page);
  await new Promise((resolve) => setTimeout(resolve, 5000));
  const end = await snapshot(page);
  assert.ok(end?.state === "live" && end.parent !== null && end.parent === begin?.parent, JSON.stringify(end));
  assert.equal(await says(page), texts.noDecoder);
  assert.ok((await heard(page)).others > -60);
});

test("without H.264 a page speaks: it is heard, and shown by its name", { timeout: 90_000 }, async () => {
  const watcher = await room.page();
  await joinWith(watcher, { invite: room.invite, name: "Zoe" });
  await within("the watcher sees Ada alone", async () => (await halves(watcher))[1] > FLAT);
  const page = await room.visit("?name=Fox", "firefox");
  await page.locator('>>> [data-act="speak"]').click();
  await within("the watcher hears the page", async () => (await heard(watcher)).voice > -60);
  await within("the watcher sees Ada and a card", async () => {
    const [left, right] = await halves(watcher);
    return left > FLAT && right >= 0 && right < FLAT;
  });
  const fox = (await snapshot(page))?.peer ?? "";
  const hasSpoken = (fox: string) =>
    window.events.some((event) => event.what === "speaking" && event.speaking.includes(fox));
  await watcher.waitForFunction(hasSpoken, { timeout: 20_000 }, fox);
  const [out, back] = [await heard(watcher), await heard(page)];
  assert.ok(back.others > -60 && back.voice < out.voice - 20, `it hears Ada, not itself: ${JSON.stringify(back)}`);
  assert.equal(await says(page), texts.noPictures);
});

const noPlugin = env["MOZ_GMP_PATH"] ? false : "MOZ_GMP_PATH names no plugin";

test("with H.264 a page shows the program, and its camera comes to the others", { timeout: 90_000, skip: noPlugin }, async () => {
  const watcher = await room.page();
  await joinWith(watcher, { invite: room.invite, name: "Yan" });
  const page = await room.visit("?auto=watch&name=Wim", "firefox-openh264");
  await page.waitForFunction(() => window.shown()?.videoWidth === 320, { timeout: 20_000 });
  const begin = await snapshot(page);
  await new Promise((resolve) => setTimeout(resolve, 5000));
  const end = await snapshot(page);
  const [received, expected] = [
    (end?.frames_received ?? 0) - (begin?.frames_received ?? 0),
    (end?.frames_expected ?? 0) - (begin?.frames_expected ?? 0),
  ];
  assert.ok(received >= 60 && received >= 0.98 * expected - 1, `${received} of ${expected} pictures`);
  assert.equal(await says(page), "");
  await page.locator('>>> [data-act="take-floor"]').click();
  await within("the watcher hears the page", async () => (await heard(watcher)).voice > -60);
  await new Promise((resolve) => setTimeout(resolve, 3000));
  await watcher.screenshot({ path: "/tmp/ff/watch264.png" });
  await page.screenshot({ path: "/tmp/ff/fox264.png" });
});

/** Share of red above which a half of the picture is Ada's, and no card. */
const FLAT = 0.1;

/** Share of the pixels in the middle of the left and right half that are as red as Ada's picture; -1 without a picture. */
const halves = (page: Page): Promise<[number, number]> =>
  page.evaluate(() => {
    const video = window.shown();
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [320, 180];
    const context = canvas.getContext("2d");
    if (!video || !context) return [-1, -1];
    context.drawImage(video, 0, 0, 320, 180);
    const red = (left: number) => {
      const { data } = context.getImageData(left, 60, 160, 60);
      let found = 0;
      for (let at = 0; at < data.length; at += 4) {
        const [red = 0, green = 0] = data.subarray(at, at + 2);
        if (red > 100 && red > 3 * green) found += 1;
      }
      return found / (160 * 60);
    };
    return [red(0), red(160)];
  });
