// A room of natives and pages: a native host, mixer and speaker, two pages that speak, four that watch, one of them below another,
// and a native below a page.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import type { Page } from "puppeteer-core";

import { cpuMs } from "./browsers.js";
import { hashes, levelsAt, type TimeCode, timeCodes } from "./figures.js";
import { snapshot, speaker, watcher } from "./peers.js";
import { Room, within } from "./room.js";
import { quantile, skewsMs, sleep } from "./shown.js";

/** Fundamentals of the two pages' voices, in hertz; Ada's tone. */
const VOICES_HZ = [180, 250];
const ADA_HZ = 300;
const FPS = 15;
const MEASURE_MS = 20_000;
/** Of the comparison of relaying and encoding: pictures a second, and time of each measurement in milliseconds. */
const [FULL_FPS, SPELL_MS] = [30, 20_000];

let room: Room;

before(async () => {
  room = await Room.open("--program", `320x180@${FPS}`, "--bitrate", "600kbit", "--k1", "3", "--k", "3", "--mix", "never");
});

after(() => room.close());

test("natives and pages in one room get all pictures and voices, in step and byte for byte", { timeout: 300_000 }, async (t) => {
  const ada = ["--mix", "never", "--name", "Ada", "--speak", "--speaker-size", `320x180@${FPS}`];
  const mixed = room.file("mixed.mp4");
  room.start("mixer", room.invite, "--record", mixed);
  room.start("join", room.invite, ...ada);
  const speakers = [await speaker(room, "Eve", { hz: VOICES_HZ[0] ?? 0 }), await speaker(room, "Max", { hz: VOICES_HZ[1] ?? 0 })];
  const pages: Page[] = [];
  // without leave for a camera a browser names its addresses by mDNS
  for (let at = 1; at <= 4; at++) pages.push(await watcher(room, `Web ${at}`, { devices: "denied" }));
  const recording = room.file("below.mp4");
  const native = ["--view", "--relay", "never", "--record", recording, "--duration", "80s", "--json", "-"];
  const report = room.whole(room.start("join", room.invite, ...native));
  await sleep(5000);

  const depths = async () => (await Promise.all(pages.map(snapshot))).map(({ depth }) => depth);
  const isPlaced = (depths: (number | null)[]) => depths.every((depth) => depth) && depths.some((depth) => (depth ?? 0) > 1);
  await within("all pages have a parent, one of them a page", async () => isPlaced(await depths()));
  const [begin, cells] = [await Promise.all(pages.map(snapshot)), [] as (TimeCode | null)[][]];
  t.diagnostic(`depths ${begin.map(({ depth }) => depth)}`);
  const below = pages.filter((_, at) => (begin[at]?.depth ?? 0) > 1);
  const [deepest] = below;
  assert.ok(deepest);
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
  const [first, last] = [read[0], read.at(-1)];
  const pace = first && last ? (1000 * (last.frame - first.frame)) / (last.atMs - first.atMs) : 0;
  t.diagnostic(`${read.length} of ${cells.length} time codes read; they count ${pace.toFixed(1)} pictures a second`);
  assert.ok(read.length >= 0.9 * cells.length, `${read.length} of ${cells.length} time codes`);
  assert.ok(read.every(({ frame }, at) => frame >= (read[at - 1]?.frame ?? 0)), "pictures come in order");
  // a busy machine leaves out some of the camera's pictures
  assert.ok(pace > 0.8 * FPS && pace < 1.1 * FPS, `${pace} pictures a second`);

  for (const [at, page] of [...pages, ...speakers].entries()) {
    const levels = await levelsAt(page, [ADA_HZ, ...VOICES_HZ]);
    t.diagnostic(`levels at page ${at + 1}: ${levels.map(Math.round)} dB`);
    // a speaker doesn't hear itself
    const own = at >= pages.length ? at - pages.length + 1 : -1;
    levels.forEach((level, index) => assert.ok(index === own || level > -65, `page ${at + 1}: ${levels} dB`));
  }
  // below a page timestamps are the browser's, and say no capture time: see lips.test.ts
  for (const [at, page] of pages.filter((page) => !below.includes(page)).entries()) {
    const skews = (await skewsMs(page)).map(Math.abs);
    t.diagnostic(`skew at page ${at + 1}: p95 ${quantile(skews, 0.95)} ms of ${skews.length}`);
    assert.ok(skews.length > 20 && quantile(skews, 0.95) <= 80, `${skews}`);
  }
  const hosts = await deepest.evaluate(() => window.connections.flatMap(({ localDescription }) => localDescription?.sdp.match(/\S+ \d+ typ host/g) ?? []));
  assert.ok(hosts.length > 0 && hosts.every((host) => /\.local \d+/.test(host)), `${hosts}`);

  const { depth, parent, frames_received, frames_expected } = JSON.parse(await report);
  t.diagnostic(`native: depth ${depth}, ${frames_received} of ${frames_expected} pictures`);
  assert.ok(end.some(({ peer }) => peer.startsWith(parent)), `the native's parent ${parent} is a page`);
  assert.ok(frames_received >= 0.99 * frames_expected - 1, `${frames_received} of ${frames_expected}`);
  const [all, got] = [new Set(hashes(mixed)), hashes(recording)];
  const unequal = got.filter((hash) => !all.has(hash)).length;
  t.diagnostic(`${got.length - unequal} of ${got.length} pictures of the native below are equal to those of the mixer`);
  assert.ok(got.length > 20 * FPS && unequal <= 0.01 * got.length, `${unequal} of ${got.length} differ`);
});

test("a page that relays uses a quarter of the processor time of encoding again, at most", { timeout: 240_000 }, async (t) => {
  const program = `1280x720@${FULL_FPS}`;
  const alone = await Room.open("--program", program, "--k1", "1", "--speak", "--speaker-size", program, "--mix", "always");
  try {
    const page = await watcher(alone, "Web");
    await sleep(10_000);
    const spend = async () => {
      const before = cpuMs(page);
      await sleep(SPELL_MS);
      return (cpuMs(page) - before) / SPELL_MS;
    };
    const without = await spend();
    const child = alone.start("join", alone.invite, "--view", "--relay", "never");
    await page.waitForFunction(() => window.room.snapshot().then(({ children }) => children.length === 1), { timeout: 60_000 });
    await sleep(3000);
    const above = await spend();
    await alone.kill(child);
    await sleep(8000);
    const again = await spend();
    const other = await alone.page();
    await encodeTo(page, other);
    await sleep(5000);
    const before = await decoded(other);
    const encodes = await spend();
    const pictures = (await decoded(other)) - before;
    // browsers leave pictures out as they like when they encode
    const watching = (without + again) / 2;
    const [relaying, encoding] = [above - watching, ((encodes - watching) * FULL_FPS * SPELL_MS) / 1000 / pictures];
    const figures = `watching ${without.toFixed(3)} and ${again.toFixed(3)} cores, a child ${relaying.toFixed(3)}, \
encoding ${(encodes - watching).toFixed(3)} for ${pictures} pictures, ${encoding.toFixed(3)} for all`;
    t.diagnostic(figures);
    assert.ok(pictures > 100, figures);
    assert.ok(relaying <= encoding / 4, figures);
  } finally {
    await alone.close();
  }
});

/** Sends what a page shows to another page as browsers do: encoded again, at the program's rate. */
async function encodeTo(page: Page, other: Page): Promise<void> {
  const offer = await page.evaluate(async () => {
    const stream = window.shown()?.srcObject;
    if (!(stream instanceof MediaStream)) throw new Error("nothing is shown");
    const connection = new RTCPeerConnection();
    const capabilities = RTCRtpSender.getCapabilities("video")?.codecs ?? [];
    for (const track of stream.getTracks()) connection.addTrack(track, stream);
    for (const transceiver of connection.getTransceivers()) {
      if (transceiver.sender.track?.kind !== "video") continue;
      transceiver.setCodecPreferences(capabilities.filter(({ mimeType }) => mimeType === "video/H264"));
    }
    await connection.setLocalDescription();
    await new Promise<void>((resolve) => (connection.onicegatheringstatechange = () => connection.iceGatheringState === "complete" && resolve()));
    return connection.localDescription?.sdp ?? "";
  });
  const answer = await other.evaluate(async (sdp) => {
    const connection = new RTCPeerConnection();
    await connection.setRemoteDescription({ type: "offer", sdp });
    await connection.setLocalDescription();
    await new Promise<void>((resolve) => (connection.onicegatheringstatechange = () => connection.iceGatheringState === "complete" && resolve()));
    return connection.localDescription?.sdp ?? "";
  }, offer);
  await page.evaluate(async (sdp) => {
    const connection = window.connections.at(-1);
    if (!connection) throw new Error("no connection");
    const start = sdp.replace(/^a=fmtp:(\d+) (.*profile-level-id=[^;\r\n]*)/gim, "a=fmtp:$1 $2;x-google-start-bitrate=1500");
    await connection.setRemoteDescription({ type: "answer", sdp: start });
    for (const sender of connection.getSenders()) {
      if (sender.track?.kind !== "video") continue;
      const parameters = sender.getParameters();
      for (const encoding of parameters.encodings) encoding.maxBitrate = 1_500_000;
      await sender.setParameters({ ...parameters, degradationPreference: "maintain-resolution" } as RTCRtpSendParameters);
    }
  }, answer);
}

/** How many pictures a page's newest connection has received and decoded so far. */
function decoded(page: Page): Promise<number> {
  return page.evaluate(async () => {
    let frames = 0;
    (await window.connections.at(-1)?.getStats())?.forEach((stats) => {
      if (stats.type === "inbound-rtp" && stats.kind === "video") frames = stats.framesDecoded ?? 0;
    });
    return frames;
  });
}
