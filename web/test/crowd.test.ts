// A room of natives and pages: a native host, mixer and speaker, two pages that speak, four that watch, one of them below another,
// and a native below a page.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import type { Page } from "puppeteer-core";

import { cpuMs } from "./browsers.js";
import { hashes, levelsAt, type TimeCode, timeCodes } from "./figures.js";
import { snapshot, speaker, watcher } from "./peers.js";
import { Room } from "./room.js";
import { quantile, skewsMs, sleep } from "./shown.js";

/** Fundamentals of the two pages' voices, in hertz; Ada's tone. */
const VOICES_HZ = [180, 250];
const ADA_HZ = 300;
const FPS = 15;
const MEASURE_MS = 20_000;

let room: Room;

before(async () => {
  room = await Room.open("--program", `640x360@${FPS}`, "--bitrate", "800kbit", "--k1", "3", "--k", "3", "--mix", "never");
});

after(() => room.close());

test("natives and pages in one room get all pictures and voices, in step and byte for byte", { timeout: 300_000 }, async (t) => {
  const ada = ["--mix", "never", "--name", "Ada", "--speak", "--speaker-size", `640x360@${FPS}`];
  const mixed = room.file("mixed.mp4");
  room.start("mixer", room.invite, "--record", mixed);
  room.start("join", room.invite, ...ada);
  const speakers = [await speaker(room, "Eve", { hz: VOICES_HZ[0] ?? 0 }), await speaker(room, "Max", { hz: VOICES_HZ[1] ?? 0 })];
  const pages: Page[] = [];
  for (let at = 1; at <= 4; at++) pages.push(await watcher(room, `Web ${at}`));
  const recording = room.file("below.mp4");
  const native = ["--view", "--relay", "never", "--record", recording, "--duration", "80s", "--json", "-"];
  const report = room.whole(room.start("join", room.invite, ...native));
  await sleep(15_000);

  const [begin, cells] = [await Promise.all(pages.map(snapshot)), [] as (TimeCode | null)[][]];
  const deepest = pages[begin.findIndex(({ depth }) => depth === 2)];
  t.diagnostic(`depths ${begin.map(({ depth }) => depth)}`);
  assert.ok(deepest, "a page is below a page");
  const endMs = Date.now() + MEASURE_MS;
  while (Date.now() < endMs) {
    cells.push(await timeCodes(deepest, 2, 2));
    await sleep(400);
  }
  const end = await Promise.all(pages.map(snapshot));
  for (const [at, { frames_received, frames_expected }] of end.entries()) {
    const got = frames_received - (begin[at]?.frames_received ?? 0);
    const [expected, all] = [frames_expected - (begin[at]?.frames_expected ?? 0), (FPS * MEASURE_MS) / 1000];
    t.diagnostic(`page ${at + 1}: ${got} of ${expected} pictures, ${all} by the room's rate`);
    assert.ok(got >= 0.99 * expected - 1 && got >= 0.99 * all - 1, `${got} of ${expected} pictures`);
  }

  // Ada's tile is one of four: its counter runs with time
  const codes = [0, 1, 2, 3].map((tile) => cells.flatMap((one) => one[tile] ?? []).filter(({ speaker }) => speaker === 0));
  const read = codes.sort((one, other) => other.length - one.length)[0] ?? [];
  const pace = read.slice(1).map(({ frame, atMs }) => frame - (read[0]?.frame ?? 0) - (FPS * (atMs - (read[0]?.atMs ?? 0))) / 1000);
  t.diagnostic(`${read.length} of ${cells.length} time codes read; apart from the clock by ${Math.max(...pace.map(Math.abs)).toFixed(1)} pictures`);
  assert.ok(read.length >= 0.9 * cells.length, `${read.length} of ${cells.length} time codes`);
  assert.ok(pace.every((apart) => Math.abs(apart) < FPS), `${pace}`);

  for (const [at, page] of [...pages, ...speakers].entries()) {
    const levels = await levelsAt(page, [ADA_HZ, ...VOICES_HZ]);
    t.diagnostic(`levels at page ${at + 1}: ${levels.map(Math.round)} dB`);
    // a speaker doesn't hear itself
    const own = at >= pages.length ? at - pages.length + 1 : -1;
    levels.forEach((level, index) => assert.ok(index === own || level > -65, `page ${at + 1}: ${levels} dB`));
  }
  for (const [at, page] of pages.entries()) {
    const skews = (await skewsMs(page)).map(Math.abs);
    t.diagnostic(`skew at page ${at + 1}: p95 ${quantile(skews, 0.95)} ms of ${skews.length}`);
    assert.ok(skews.length > 20 && quantile(skews, 0.95) <= 80, `${skews}`);
  }
  const hidden = await deepest.evaluate(() =>
    window.connections.map(({ localDescription }) => (localDescription?.sdp.match(/typ host/g)?.length ?? 0) - (localDescription?.sdp.match(/\.local \d+ typ host/g)?.length ?? 0)),
  );
  t.diagnostic(`host addresses in the descriptions of a page without camera: ${hidden}`);
  assert.ok(hidden.every((addresses) => addresses === 0), "hidden behind names");

  const { depth, parent, frames_received, frames_expected } = JSON.parse(await report);
  t.diagnostic(`native: depth ${depth}, ${frames_received} of ${frames_expected} pictures`);
  assert.ok(end.some(({ peer }) => peer === parent), "the native is below a page");
  assert.ok(frames_received >= 0.99 * frames_expected - 1, `${frames_received} of ${frames_expected}`);
  const [all, got] = [new Set(hashes(mixed)), hashes(recording)];
  const unequal = got.filter((hash) => !all.has(hash)).length;
  t.diagnostic(`${got.length - unequal} of ${got.length} pictures of the native below are equal to those of the mixer`);
  assert.ok(got.length > 20 * FPS && unequal <= 0.01 * got.length, `${unequal} of ${got.length} differ`);
});

test("a page that relays uses a quarter of the processor time of encoding again, at most", { timeout: 240_000 }, async (t) => {
  const [spell, program] = [10_000, "1280x720@30"];
  const alone = await Room.open("--program", program, "--k1", "1", "--speak", "--speaker-size", program, "--mix", "always");
  try {
    const page = await watcher(alone, "Web");
    await sleep(10_000);
    const spend = async () => {
      const before = cpuMs(page);
      await sleep(spell);
      return (cpuMs(page) - before) / spell;
    };
    const without = await spend();
    const child = alone.start("join", alone.invite, "--view", "--relay", "never");
    await page.waitForFunction(() => window.room.snapshot().then(({ children }) => children.length === 1), { timeout: 60_000 });
    await sleep(3000);
    const relaying = (await spend()) - without;
    await alone.kill(child);
    await sleep(8000);
    const again = await spend();
    const encoded = await page.evaluate(encodeShown);
    await sleep(1000);
    const encoding = (await spend()) - again;
    const pictures = await page.evaluate(() => window.encoded ?? 0);
    const figures = `watching ${without.toFixed(3)} and ${again.toFixed(3)} cores, a child ${relaying.toFixed(3)}, encoding ${encoding.toFixed(3)} (${pictures} pictures, ${encoded})`;
    t.diagnostic(figures);
    assert.ok(pictures > 200, figures);
    assert.ok(relaying <= encoding / 4, figures);
  } finally {
    await alone.close();
  }
});

/** Encodes what the page shows, from now on. */
async function encodeShown(): Promise<string> {
  const stream = window.shown()?.srcObject;
  const track = stream instanceof MediaStream ? stream.getVideoTracks()[0] : undefined;
  if (!track) throw new Error("nothing is shown");
  window.encoded = 0;
  const encoder = new VideoEncoder({
    output: () => (window.encoded = (window.encoded ?? 0) + 1),
    error: (error) => console.error(error),
  });
  const format = { width: 1280, height: 720, bitrate: 1_500_000, framerate: 30 };
  encoder.configure({ codec: "avc1.42e01f", ...format, latencyMode: "realtime", hardwareAcceleration: "prefer-software" });
  const { readable } = new MediaStreamTrackProcessor({ track });
  void readable.pipeTo(
    new WritableStream<VideoFrame>({
      write(frame) {
        encoder.encode(frame);
        frame.close();
      },
    }),
  );
  return encoder.state;
}
