// Devices that the browser gives only after the page wants them no more: they are closed at once.

import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";

import type { Page } from "puppeteer-core";

import { act, alerted, click, closeDialog, fill, live, there } from "./element.js";
import { AUTO_SPEAK, Room, within } from "./room.js";

declare global {
  interface Window {
    /** Answers the browser's question, with yes. */
    allow: () => void;
    /** Whether the browser asks at the moment. */
    isAsking: boolean;
    /** All that the browser has given since it was made to ask. */
    given: MediaStreamTrack[];
  }
}

let room: Room;

before(async () => {
  room = await Room.open();
});
afterEach(() => room.closePages());
after(() => room.close());

/** From now on the browser gives devices and screens only after `window.allow()`, as if it asked its user. */
async function makeItAsk(page: Page): Promise<void> {
  await page.evaluate(() => {
    window.given = [];
    const { mediaDevices } = navigator;
    for (const name of ["getUserMedia", "getDisplayMedia"] as const) {
      const open = mediaDevices[name].bind(mediaDevices) as (
        constraints?: MediaStreamConstraints,
      ) => Promise<MediaStream>;
      mediaDevices[name] = async (constraints?: MediaStreamConstraints) => {
        window.isAsking = true;
        await new Promise<void>((resolve) => (window.allow = resolve));
        window.isAsking = false;
        const stream = await open(constraints);
        window.given.push(...stream.getTracks());
        return stream;
      };
    }
  });
}

const asks = (page: Page) => within("the browser asks", () => page.evaluate(() => window.isAsking));

/** The user allows what the browser has asked for; nothing of it may stay open. */
async function allowInVain(page: Page): Promise<void> {
  await page.evaluate(() => window.allow());
  await within("the browser gives devices", () => page.evaluate(() => window.given.length > 0));
  await within("they are closed", () =>
    page.evaluate(() => window.given.every(({ readyState }) => readyState === "ended")),
  );
  assert.equal(await page.$(">>> dialog"), null);
  assert.equal(await page.$(">>> video.self"), null);
}

test("a camera that is allowed after the end of the room is closed at once", {
  timeout: 60_000,
}, async () => {
  const small = await Room.open();
  try {
    const page = await small.screen({ query: "?auto=watch&name=Kim" });
    await live(page);
    await makeItAsk(page);
    await act(page, "hand");
    await asks(page);
    small.order("/end");
    await alerted(page, "The host has ended the room.");
    await allowInVain(page);
    await there(page, '[data-way="open"]');
  } finally {
    await small.close();
  }
});

test("a camera that comes after its speaker has left is closed at once", {
  timeout: 60_000,
}, async () => {
  const page = await room.screen({ query: "?auto=speak&name=Kim", head: AUTO_SPEAK });
  await live(page);
  await there(page, '.bar [data-act="camera"]:not(.off)');
  await page.keyboard.press("v");
  await there(page, '.bar .off[data-act="camera"]');
  await makeItAsk(page);
  await page.keyboard.press("v");
  await asks(page);
  await act(page, "leave");
  await alerted(page, "You have left the room.");
  await allowInVain(page);
  // a question without an answer doesn't keep the user from the room
  await click(page, '[data-way="rejoin"]');
  await act(page, "join");
  await asks(page);
  await page.evaluate(() => window.allow());
  await there(page, ".preview video");
});

test("a screen chosen after its speaker was removed is shown to nobody", { timeout: 60_000 }, async () => {
  const page = await room.screen({ query: "?auto=speak&name=Lea", head: AUTO_SPEAK });
  await live(page);
  await there(page, '.bar [data-act="share"]');
  await makeItAsk(page);
  await page.keyboard.press("s");
  await asks(page);
  room.order("/remove Lea");
  await alerted(page, "The host has removed you");
  await allowInVain(page);
});

test("a viewer that closes the settings before the answer opens no camera", {
  timeout: 60_000,
}, async () => {
  const page = await room.screen({ query: "?auto=watch&name=Mia" });
  await live(page);
  // browsers tell the names of devices once the user has given one
  await page.evaluate(async () =>
    (await navigator.mediaDevices.getUserMedia({ video: true })).getTracks().forEach((track) => track.stop()),
  );
  await makeItAsk(page);
  await act(page, "more");
  await act(page, "settings");
  const camera = await page.evaluate(async () => {
    const cameras = (await navigator.mediaDevices.enumerateDevices()).filter(({ kind }) => kind === "videoinput");
    return cameras.at(-1)?.deviceId ?? "";
  });
  await fill(page, "camera", camera);
  await asks(page);
  await closeDialog(page);
  await allowInVain(page);
});
