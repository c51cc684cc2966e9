// Pages in Firefox, which has H.264 only with a plugin: without it they hear and are heard.

import assert from "node:assert/strict";
import { env } from "node:process";
import { after, before, test } from "node:test";

import type { Page } from "puppeteer-core";
import { texts } from "../src/texts.js";
import { act, reads, snapshot, there } from "./element.js";
import { heard, joinWith, Room, within } from "./room.js";

let room: Room;
/** Firefox without H.264. */
let page: Page;

before(async () => {
  room = await Room.withAda();
  page = await room.visit("?auto=watch&name=Fox", { kind: "firefox" });
});

after(() => room.close());

/** Shows the devices, and goes on stage with them. */
async function goOnStage(page: Page): Promise<void> {
  for (const step of ["hand", "go-on-stage"]) await act(page, step);
}

test("without H.264 a page hears the room, and says why there is no picture", { timeout: 60_000 }, async () => {
  await within("the page says why", () => reads(page, texts.noDecoder));
  // where a browser plays sound without a click, the page has no button for it
  await (await page.$('>>> [data-act="sound"]'))?.click();
  await within("the page hears Ada", async () => (await heard(page)).others > -60);
  // the room may elect another mixer meanwhile, once
  let end = await snapshot(page);
  const isFed = async () => {
    const begin = end;
    await new Promise((resolve) => setTimeout(resolve, 4000));
    end = await snapshot(page);
    return end?.connection === "connected" && end.parent !== null && end.parent === begin?.parent;
  };
  assert.ok((await isFed()) || (await isFed()) || (await isFed()), JSON.stringify(end));
  assert.ok(await reads(page, texts.noDecoder));
  assert.ok((await heard(page)).others > -60);
});

test("without H.264 a page speaks: it is heard, and shown by its name", { timeout: 90_000 }, async () => {
  const watcher = await room.page();
  await joinWith(watcher, { invite: room.invite, name: "Zoe" });
  await within("the watcher sees Ada alone", async () => (await halves(watcher))[1] > FLAT);
  await goOnStage(page);
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
  assert.ok(await reads(page, texts.reasons["no-pictures"]));
  await act(page, "hand");
  await within("the watcher sees Ada alone again", async () => (await halves(watcher))[1] > FLAT);
});

const noPlugin = env["MOZ_GMP_PATH"] ? false : "MOZ_GMP_PATH names no plugin OpenH264";

test("with H.264 a page shows all pictures and the others see its camera", {
  timeout: 90_000,
  skip: noPlugin,
}, async () => {
  const watcher = await room.page();
  await joinWith(watcher, { invite: room.invite, name: "Yan" });
  const page = await room.visit("?auto=watch&name=Wim", { kind: "firefox-openh264" });
  await page.waitForFunction(() => window.shown()?.videoWidth === 320, { timeout: 20_000 });
  // between two mixers' programs the numbers jump
  await within("the page gets all pictures of three seconds", async () => {
    const begin = await snapshot(page);
    await new Promise((resolve) => setTimeout(resolve, 3000));
    const end = await snapshot(page);
    if (!begin || !end) return false;
    const received = end.frames_received - begin.frames_received;
    return received >= 36 && received >= end.frames_expected - begin.frames_expected - 1;
  });
  assert.ok(!(await reads(page, texts.noDecoder)));
  await goOnStage(page);
  await there(page, '[data-act="camera"]');
  await within("the watcher sees Ada and the camera", async () => {
    const isOnStage = (await snapshot(page))?.stage.some((member) => member.name === "Wim") ?? false;
    const [left, right] = await halves(watcher);
    return isOnStage && (await heard(watcher)).voice > -60 && left > FLAT && right > FLAT;
  });
});

/** Share of coloured pixels above which a half shows a picture, and no card. */
const FLAT = 0.3;

/** Share of coloured pixels in the middle of the left and right half of what is shown; -1 without a picture. */
const halves = (page: Page): Promise<[number, number]> =>
  page.evaluate((): [number, number] => {
    const video = window.shown();
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [320, 180];
    const context = canvas.getContext("2d");
    if (!video || !context) return [-1, -1];
    context.drawImage(video, 0, 0, 320, 180);
    const coloured = (left: number) => {
      const { data } = context.getImageData(left, 60, 160, 60);
      let found = 0;
      for (let at = 0; at < data.length; at += 4) {
        const colours = [...data.subarray(at, at + 3)];
        if (Math.max(...colours) - Math.min(...colours) > 50) found += 1;
      }
      return found / (160 * 60);
    };
    return [coloured(0), coloured(160)];
  });
