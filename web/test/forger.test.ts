// Pages below a native relay that forges what it forwards: none shows a forged picture, and all leave it.

import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { env } from "node:process";
import { test } from "node:test";

import type { Page } from "puppeteer-core";

import { type TimeCode, timeCodes } from "./figures.js";
import { snapshot, watcher } from "./peers.js";
import { Room, within } from "./room.js";
import { shownSince, sleep, smoothness } from "./shown.js";

const FORGER = env["FORGER"] ?? "forger";
const FPS = 15;
/** Time within which the forger must be left, and in which pages are watched. */
const WATCHED_MS = 10_000;
/** Longest wait for a picture: the aim of a second, and what a busy machine adds. */
const GAP_MS_MAX = 2000;
const LOOK_MS = 50;

/** Time codes of the only tile, read again and again. */
async function readCodes(page: Page, untilMs: number): Promise<(TimeCode | null)[]> {
  const codes = [];
  while (Date.now() < untilMs) {
    codes.push(...(await timeCodes(page, 1, 1)));
    await sleep(LOOK_MS);
  }
  return codes;
}

for (const kind of ["another", "old", "half", "larger", "foreign sound"]) {
  test(`pages below a forger show nothing forged and leave it: ${kind}`, { timeout: 180_000 }, async (t) => {
    const room = await Room.open(
      "--program",
      `320x180@${FPS}`,
      "--bitrate",
      "600kbit",
      "--k1",
      "2",
      "--k",
      "4",
      "--mix",
      "never",
    );
    let forger: ChildProcess | null = null;
    try {
      room.start("mixer", room.invite);
      room.start("join", room.invite, "--mix", "never", "--name", "Ada", "--speak", "--speaker-size", `320x180@${FPS}`);
      // the program is there once a native is fed; it has the other place below the mixer
      room.start("join", room.invite, "--view", "--duration", "170s");
      forger = spawn(FORGER, [room.invite, kind], { stdio: ["pipe", "pipe", "inherit"] });
      const placed = await room.line(forger, (line) => line.startsWith("placed"));
      const mallory = placed.split(" ")[1] ?? "";
      const pages: Page[] = [];
      const below = async () => (await Promise.all(pages.map(snapshot))).map(({ parent }) => parent === mallory);
      for (let at = 0; at < 5 && !(await below()).includes(true); at++) pages.push(await watcher(room, `Web ${at}`));
      const deceived = (await below()).flatMap((is, at) => (is && pages[at] ? [pages[at]] : []));
      assert.ok(deceived.length > 0, "no page is below the forger");
      for (const page of pages) await page.setViewport({ width: 320, height: 180 });
      await sleep(3000);

      const fromMs = Date.now();
      forger.stdin?.write("forge\n");
      const reading = deceived.map((page) => readCodes(page, fromMs + WATCHED_MS));
      await within("all have left the forger", async () => !(await below()).includes(true));
      const leftMs = Date.now() - fromMs;
      for (const [at, codes] of (await Promise.all(reading)).entries()) {
        const read = codes.flatMap((code) => code ?? []);
        const { longestMs, pictures } = smoothness(
          await shownSince(deceived[at] as Page, fromMs),
          fromMs,
          fromMs + WATCHED_MS,
        );
        t.diagnostic(
          `left after ${leftMs} ms; ${read.length} of ${codes.length} codes read, longest wait ${longestMs} ms, ${pictures} pictures`,
        );
        assert.ok(read.length > 0.9 * codes.length, `${read.length} of ${codes.length} time codes`);
        const before = (index: number) => read[index - 1]?.frame ?? 0;
        const steps = read.map(({ frame, atMs }, index) => ({ frame, before: before(index), afterMs: atMs - fromMs }));
        assert.deepEqual(
          steps.filter(({ frame, before }) => frame < before),
          [],
          "pictures come in order",
        );
        assert.ok(longestMs <= GAP_MS_MAX, `${longestMs} ms without a picture`);
      }
    } finally {
      forger?.kill();
      await room.close();
    }
  });
}
