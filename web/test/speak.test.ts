// A page on stage: its camera and microphone reach the others through the mixer, and it hears them without itself.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import type { Page } from "puppeteer-core";

import { act, click } from "./element.js";
import { heard, joinWith, Room, within } from "./room.js";

let room: Room;

before(async () => {
  room = await Room.withAda();
});

after(() => room.close());

/** Share of the shown picture that is as green as the browser's false camera; -1 without a picture. */
const green = (page: Page) =>
  page.evaluate(() => {
    const video = window.shown();
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [320, 180];
    const context = canvas.getContext("2d");
    if (!video || !context) return -1;
    context.drawImage(video, 0, 0, 320, 180);
    const { data } = context.getImageData(0, 0, 320, 180);
    let found = 0;
    for (let at = 0; at < data.length; at += 4) {
      const [red = 0, lime = 0, blue = 0] = data.subarray(at, at + 3);
      if (lime > 50 && lime > 2 * red && lime > 2 * blue) found += 1;
    }
    return found / (320 * 180);
  });

test("a page's camera and microphone come to the others, and theirs to it", { timeout: 90_000 }, async () => {
  const watcher = await room.page();
  await joinWith(watcher, { invite: room.invite, name: "Zoe" });
  const page = await room.visit("?name=Eve");
  // the devices are asked for, and shown; then the page joins
  for (const step of ["form:not(.wide)", "form.wide"]) await click(page, `${step} [data-act="join"]`);
  const isOnStage = () =>
    window.plenary
      .snapshot()
      .then((snapshot) => snapshot?.stage.some((one) => one.name === "Eve" && !one.muted.picture));
  await page.waitForFunction(isOnStage, { timeout: 20_000 });
  await within("the watcher sees the camera", async () => (await green(watcher)) > 0.15);
  await within("the speaker sees itself in the program", async () => (await green(page)) > 0.15);
  const eve = await page.evaluate(() => window.plenary.snapshot().then((snapshot) => snapshot?.peer ?? ""));
  const speaks = (eve: string) =>
    window.events.some((event) => event.what === "speaking" && event.speaking.includes(eve));
  await watcher.waitForFunction(speaks, { timeout: 20_000 }, eve);
  const [own, watching] = await Promise.all([
    page.evaluate(() => window.plenary.snapshot()),
    watcher.evaluate(() => window.room.snapshot()),
  ]);
  assert.deepEqual(own?.sends, { picture: true, sound: true });
  assert.deepEqual([watching.sends, watching.way], [{ picture: false, sound: false }, "direct"]);
  await act(page, "people");
  const listed = () =>
    [...(document.querySelector("plenary-room")?.shadowRoot?.querySelectorAll(".people li") ?? [])].map((one) =>
      one.textContent?.replace(/\s+/g, " ").trim(),
    );
  const people = await page.evaluate(listed);
  assert.ok(
    people.some((one) => one?.startsWith("Eve you")) && people.some((one) => one?.startsWith("Ada")),
    `${people}`,
  );
  const [out, back] = [await heard(watcher), await heard(page)];
  assert.ok(out.voice > -60, `the watcher hears the voice: ${out.voice} dB`);
  assert.ok(
    back.others > -60 && back.voice < out.voice - 20,
    `the speaker hears Ada, not itself: ${JSON.stringify(back)}`,
  );
  // one speaker alone in place of the program
  const pinned = await watcher.evaluate(async (eve) => {
    window.room.pin(eve);
    const isEve = () => window.shown()?.parentElement?.dataset["speaker"] === eve;
    for (let at = 0; at < 100 && !isEve(); at++) await new Promise((resolve) => setTimeout(resolve, 100));
    return isEve();
  }, eve);
  assert.ok(pinned, "the pinned speaker is shown");
  await within("the pinned speaker fills the picture", async () => (await green(watcher)) > 0.5);
  await watcher.evaluate(() => window.room.pin(null));
  await within("the program is back", async () => {
    const share = await green(watcher);
    return share > 0.15 && share < 0.5;
  });
  // muted, it is on a card with its name
  await act(page, "camera");
  await within("the muted camera is gone", async () => (await green(watcher)) < 0.05);
  await act(page, "camera");
  await within("the camera is back", async () => (await green(watcher)) > 0.15);
  await act(page, "mute");
  await within("the muted voice is gone", async () => (await heard(watcher)).voice < out.voice - 20);
  await act(page, "hand");
  const isOff = () =>
    window.plenary.snapshot().then((snapshot) => !snapshot?.stage.some((one) => one.name === "Eve" && one.speaks));
  await page.waitForFunction(isOff, { timeout: 20_000 });
});
