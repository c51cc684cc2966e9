// Rooms of pages alone: a rendezvous, and no native peer. One page opens the room; its speakers send to each other.

import assert from "node:assert/strict";
import { env } from "node:process";
import { after, afterEach, before, test } from "node:test";

import type { Page } from "puppeteer-core";

import { speakBy } from "./peers.js";
import { type Entry, enterWith, Room } from "./room.js";

/**
 * Longest time until all see each other, and longest wait for a picture while a mixer takes over, in milliseconds: in
 * the nightly part the aims for a quiet machine, else signs of life.
 */
const [MEETING_MS_MAX, WAIT_MS_MAX] = env["NIGHTLY"] === undefined ? [30_000, 5000] : [2000, 700];

let room: Room;

before(async () => {
  room = await Room.ofPages();
});

afterEach(() => room.closePages());

after(() => room.close());

/** Opens a page that speaks with the browser's false camera and microphone. */
async function speaker(entry: Entry): Promise<Page> {
  const page = await room.page();
  await speakBy(page, entry);
  return page;
}

/** Ids of the speakers whose pictures move at a page, after a moment. */
const moving = (page: Page) =>
  page.evaluate(async () => {
    const videos = [...window.room.picture.querySelectorAll<HTMLVideoElement>("[data-speaker] video")];
    const frames = () => videos.map((video) => video.getVideoPlaybackQuality().totalVideoFrames);
    const before = frames();
    await new Promise((resolve) => setTimeout(resolve, 1000));
    return videos.filter((_, at) => (frames()[at] ?? 0) > (before[at] ?? 0) + 5).length;
  });

/** Number of speakers of which a page has shown some pictures. */
const seen = (page: Page) =>
  page.evaluate(() => {
    const videos = [...window.room.picture.querySelectorAll<HTMLVideoElement>("[data-speaker] video")];
    return videos.filter((video) => video.getVideoPlaybackQuality().totalVideoFrames > 5).length;
  });

/** Loudest level of each sound that a page gets within a second. */
const heard = (page: Page) =>
  page.evaluate(async () => {
    const streams = [...window.room.picture.querySelectorAll("video")].map((video) => video.srcObject);
    const context = new AudioContext();
    const analysers = streams.flatMap((stream) => {
      if (!(stream instanceof MediaStream) || stream.getAudioTracks().length === 0) return [];
      const analyser = context.createAnalyser();
      context.createMediaStreamSource(stream).connect(analyser);
      return [analyser];
    });
    const peaks = analysers.map(() => 0);
    for (let at = 0; at < 20; at++) {
      await new Promise((resolve) => setTimeout(resolve, 50));
      analysers.forEach((analyser, one) => {
        const samples = new Float32Array(analyser.fftSize);
        analyser.getFloatTimeDomainData(samples);
        peaks[one] = Math.max(peaks[one] ?? 0, ...samples.map(Math.abs));
      });
    }
    await context.close();
    return peaks.filter((peak) => peak > 0.01).length;
  });

/** Waits until something holds; returns after how long, in milliseconds. */
async function until(what: string, isSo: () => Promise<boolean>): Promise<number> {
  const from = Date.now();
  for (;;) {
    if (await isSo()) return Date.now() - from;
    assert.ok(Date.now() - from < 30_000, what);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

test("a room of pages goes on when the page that opened it is closed", {
  timeout: 180_000,
}, async (t) => {
  const ada = await speaker({ rendezvous: room.rendezvous, name: "Ada", title: "Talk" });
  const invite = await ada.evaluate(() => window.room.invite ?? "");
  assert.ok(invite.startsWith(room.rendezvous), invite);
  const ben = await speaker({ invite, name: "Ben" });
  const cay = await speaker({ invite, name: "Cay" });
  const tookMs = [ada, ben, cay].map((page) => until("both others are seen", async () => (await seen(page)) === 2));
  const slowestMs = Math.max(...(await Promise.all(tookMs)));
  t.diagnostic(`both others are seen after ${slowestMs} ms`);
  assert.ok(slowestMs <= MEETING_MS_MAX, `${slowestMs} ms`);
  for (const page of [ada, ben, cay]) {
    await until("both others go on", async () => (await moving(page)) === 2);
    assert.equal(await page.evaluate(() => window.connections.length), 2, "no link had to be made again");
  }
  for (const page of [ada, ben, cay]) await until("both others are heard", async () => (await heard(page)) === 2);

  // a fourth that only watches learns what is missing
  const zoe = await room.page();
  await enterWith(zoe, { invite, name: "Zoe" });
  const misses = () => window.events.some((event) => event.what === "no-mixer");
  await zoe.waitForFunction(misses, { timeout: 10_000 });
  await zoe.evaluate(() => window.room.leave());

  const told = (page: Page, text: string) =>
    page.waitForFunction(
      (text) =>
        window.events.some(
          (event) => event.what === "data" && new TextDecoder().decode(new Uint8Array(event.bytes)) === text,
        ),
      { timeout: 5000 },
      text,
    );
  await ben.evaluate(() => window.room.tell("Hello from Ben"));
  await Promise.all([told(ada, "Hello from Ben"), told(cay, "Hello from Ben")]);

  // the opener goes: another page governs, and both go on seeing each other
  await room.closePage(ada);
  const others = async () => Promise.all([ben, cay].map((page) => page.evaluate(() => window.room.snapshot())));
  const reigns = async () => {
    const [one, other] = await others();
    return one?.host === other?.host && [one?.peer, other?.peer].includes(one?.host ?? "");
  };
  t.diagnostic(`another host after ${await until("another host", reigns)} ms`);
  for (const page of [ben, cay]) await until("the other is seen alone", async () => (await moving(page)) === 1);

  // a native speaker that doesn't mix is one of the mesh
  room.start("join", invite, "--speak", "--mix", "never", "--name", "Dan", "--speaker-size", "320x180@15");
  for (const page of [ben, cay]) await until("the native speaker is seen, too", async () => (await moving(page)) === 2);
  for (const page of [ben, cay]) await until("the native speaker is heard, too", async () => (await heard(page)) === 2);

  // somebody watches, and a mixer joins: it makes the program, and what the speakers see never stands still for long
  const again = await room.page();
  await enterWith(again, { invite, name: "Yan" });
  await ben.evaluate(watchGaps);
  room.start("mixer", invite);
  await until("the program", async () => again.evaluate(() => (window.shown()?.videoWidth ?? 0) > 0));
  const isMixed = async () => (await others()).every((one) => one.mode === "mixer" && one.mixers.length > 0);
  await until("the speakers are mixed", isMixed);
  const program = (page: Page) => page.evaluate(() => window.shown()?.dataset["part"] === "program");
  await until("a speaker sees the program", () => program(ben));
  const gapMs = await ben.evaluate(() => window.gapMs);
  t.diagnostic(`longest wait for a picture while the mixer took over: ${gapMs} ms`);
  assert.ok(gapMs > 0 && gapMs <= WAIT_MS_MAX, `${gapMs} ms`);
});

test("a page whose last other speaker leaves shows nobody any more", { timeout: 60_000 }, async (t) => {
  const eve = await speaker({ rendezvous: room.rendezvous, name: "Eve" });
  const fay = await speaker({ invite: await eve.evaluate(() => window.room.invite ?? ""), name: "Fay" });
  t.diagnostic(`seen after ${await until("the other is seen", async () => (await seen(eve)) === 1)} ms`);
  await room.closePage(fay);
  const empty = () => eve.evaluate(() => !window.room.picture.hasChildNodes());
  t.diagnostic(`gone after ${await until("no picture stays", empty)} ms`);
});

/** Measures the longest wait for a picture of each speaker, or of the program that takes their place, from now on. */
function watchGaps(): void {
  const seen = new WeakSet<HTMLVideoElement>();
  const lastMs = new Map<string, number>();
  window.gapMs = 0;
  const note = (speaker: string) => {
    const now = performance.now();
    for (const [of, ms] of lastMs) {
      if (of !== speaker && speaker !== "program") continue;
      window.gapMs = Math.max(window.gapMs, Math.round(now - ms));
      lastMs.delete(of);
    }
    lastMs.set(speaker, now);
  };
  setInterval(() => {
    for (const video of window.room.picture.querySelectorAll("video")) {
      if (seen.has(video)) continue;
      seen.add(video);
      const see = () => {
        note(video.closest<HTMLElement>("[data-speaker]")?.dataset["speaker"] ?? "program");
        video.requestVideoFrameCallback(see);
      };
      video.requestVideoFrameCallback(see);
    }
  }, 50);
}
