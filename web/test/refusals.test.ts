// What is in a user's way, met in a browser: each is a line, and a button that leads on.

import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";

import type { Page } from "puppeteer-core";

import { act, alerted, click, live, says, text, there } from "./element.js";
import { newerRendezvous } from "./rendezvous.js";
import { AUTO_SPEAK, Room, within } from "./room.js";

declare global {
  interface Window {
    /** Devices that another program uses. */
    busy: ("audio" | "video")[];
    /** What the page has copied. */
    copied: string;
  }
}

let room: Room;

before(async () => {
  room = await Room.open();
});
afterEach(() => room.closePages());
after(() => room.close());

/** Makes the browser find that another program uses these devices, until `window.busy` changes. */
async function makeBusy(page: Page, busy: Window["busy"]): Promise<void> {
  await page.evaluate((busy) => {
    window.busy = busy;
    const open = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
    navigator.mediaDevices.getUserMedia = async (constraints = {}) => {
      if (window.busy.some((kind) => constraints[kind]))
        throw new DOMException("Could not start source", "NotReadableError");
      return open(constraints);
    };
  }, busy);
}

test("a busy camera or microphone is called busy, and the other one works", {
  timeout: 60_000,
}, async () => {
  const page = await room.screen({ query: "?name=Kim" });
  await there(page, '[data-act="join"]');
  await makeBusy(page, ["video"]);
  await act(page, "join");
  await says(page, "Another program uses the camera: the others hear you");
  await there(page, '.preview [data-act="mute"]:not(.off)');
  // once the other program has let go, the button opens the camera
  await page.evaluate(() => void (window.busy = []));
  await click(page, '.preview [data-act="camera"]');
  await there(page, ".preview video");
  assert.doesNotMatch((await text(page)) ?? "", /Another program/);
  await act(page, "back");
  await page.evaluate(() => void (window.busy = ["audio"]));
  await act(page, "join");
  await says(page, "Another program uses the microphone: the others don't hear you");
  await there(page, ".preview video");
  await page.evaluate(() => void (window.busy = []));
  await click(page, '.preview [data-act="mute"]');
  await there(page, '.preview [data-act="mute"]:not(.off)');
  assert.doesNotMatch((await text(page)) ?? "", /Another program/);
});

test("busy devices keep a user from speaking until they are free", {
  timeout: 60_000,
}, async () => {
  const page = await room.screen({ query: "?name=Kim" });
  await there(page, '[data-act="join"]');
  await makeBusy(page, ["audio", "video"]);
  await act(page, "join");
  await alerted(page, "Another program uses the camera or the microphone.");
  await there(page, '[data-act="watch"]');
  await page.evaluate(() => void (window.busy = []));
  await click(page, '[data-way="again"]');
  await there(page, ".preview video");
  await click(page, '.wide [data-act="join"]');
  await live(page);
  // in the room it is a notice, with the same way on
  await page.keyboard.press("v");
  await there(page, '.bar .off[data-act="camera"]');
  await page.evaluate(() => void (window.busy = ["video"]));
  await page.keyboard.press("v");
  await alerted(page, "Another program uses the camera: the others hear you");
  await page.evaluate(() => void (window.busy = []));
  await click(page, '[data-way="again"]');
  await there(page, '.bar [data-act="camera"]:not(.off)');
});

test("a page older than the server says so and is loaded anew by a button", {
  timeout: 60_000,
}, async () => {
  const apart = await Room.apart();
  const page = await apart.screen({ query: "?name=Kim&auto=speak", head: AUTO_SPEAK });
  await live(page);
  const { port } = new URL(apart.rendezvous);
  await apart.killRendezvous();
  await says(page, "The server that introduces newcomers is away. The room goes on.");
  const close = await newerRendezvous(Number(port));
  try {
    await alerted(page, "This page is older than the room's server");
    assert.doesNotMatch((await text(page)) ?? "", /is away/);
    const loaded = page.waitForNavigation();
    await click(page, '[data-way="reload"]');
    await loaded;
    // who comes anew is told the same
    await page.goto(page.url().replace(/\?.*/, "?auto=watch"));
    await alerted(page, "The page and the room are of different versions");
    await there(page, '[data-way="reload"]');
  } finally {
    close();
    await apart.close();
  }
});

test("a browser that can't join gets the link for another one", { timeout: 60_000 }, async () => {
  const page = await room.screen();
  await there(page, '[data-act="watch"]');
  await page.evaluate(() => {
    Reflect.deleteProperty(window, "RTCRtpScriptTransform");
    navigator.clipboard.writeText = (text) => ((window.copied = text), Promise.resolve());
  });
  for (const way of ["watch", "join"]) {
    await act(page, way);
    await alerted(page, "This browser can't join");
  }
  await click(page, '[data-way="copy"]');
  await within("the link is copied", () => page.evaluate((invite) => window.copied === invite, room.invite));
  await page.evaluate(() => {
    navigator.clipboard.writeText = () => Promise.reject(new DOMException("", "NotAllowedError"));
  });
  await click(page, '[data-way="copy"]');
  await alerted(page, `Copy the link yourself: ${room.invite}`);
});

test("an invite that has expired leads to a room of one's own", { timeout: 60_000 }, async () => {
  const short = await Room.open("--invite-life", "1s");
  try {
    await new Promise((resolve) => setTimeout(resolve, 1500));
    const page = await short.screen();
    await act(page, "watch");
    await alerted(page, "This invite has expired. Ask the host for a new link.");
    await click(page, '[data-way="open"]');
    await there(page, '[data-field="title"]');
  } finally {
    await short.close();
  }
});

test("a browser that prefers German gets the page and its refusals in German", { timeout: 60_000 }, async () => {
  const page = await room.screen({ query: "?name=Kim" });
  await page.evaluateOnNewDocument(() => {
    Object.defineProperty(navigator, "languages", { get: () => ["fr", "de-CH", "en"] });
  });
  await page.reload();
  await says(page, "Mit Kamera und Mikrofon teilnehmen");
  assert.equal(await page.evaluate(() => document.documentElement.lang), "de");
  await makeBusy(page, ["audio", "video"]);
  await act(page, "join");
  await alerted(page, "Ein anderes Programm benutzt Kamera oder Mikrofon.");
  await there(page, '[data-way="again"]');
  assert.doesNotMatch((await text(page)) ?? "", /\b(the|your|Join)\b/);
});
