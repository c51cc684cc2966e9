// Processor time of a page that relays, beside that of encoding what it shows again, as browsers do without frames to
// relay.

import assert from "node:assert/strict";
import { test } from "node:test";

import type { Page } from "puppeteer-core";

import { cpuMs } from "./browsers.js";
import { watcher } from "./peers.js";
import { Room } from "./room.js";
import { sleep } from "./shown.js";

/** Pictures a second, and time of each measurement in milliseconds. */
const [FULL_FPS, SPELL_MS] = [30, 20_000];

test("a page that relays uses less than half the processor time of encoding", { timeout: 240_000 }, async (t) => {
  const program = `1280x720@${FULL_FPS}`;
  const alone = await Room.open(
    "--program",
    program,
    "--k1",
    "1",
    "--speak",
    "--speaker-size",
    program,
    "--mix",
    "always",
  );
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
    await page.waitForFunction(() => window.room.snapshot().then(({ children }) => children.length === 1), {
      timeout: 60_000,
    });
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
    // the aim is a quarter; a third was measured (docs/measurements/pages.md)
    assert.ok(relaying <= encoding / 2, figures);
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
    await new Promise<void>(
      (resolve) =>
        (connection.onicegatheringstatechange = () => connection.iceGatheringState === "complete" && resolve()),
    );
    return connection.localDescription?.sdp ?? "";
  });
  const answer = await other.evaluate(async (sdp) => {
    const connection = new RTCPeerConnection();
    await connection.setRemoteDescription({ type: "offer", sdp });
    await connection.setLocalDescription();
    await new Promise<void>(
      (resolve) =>
        (connection.onicegatheringstatechange = () => connection.iceGatheringState === "complete" && resolve()),
    );
    return connection.localDescription?.sdp ?? "";
  }, offer);
  await page.evaluate(async (sdp) => {
    const connection = window.connections.at(-1);
    if (!connection) throw new Error("no connection");
    const start = sdp.replace(
      /^a=fmtp:(\d+) (.*profile-level-id=[^;\r\n]*)/gim,
      "a=fmtp:$1 $2;x-google-start-bitrate=1500",
    );
    await connection.setRemoteDescription({ type: "answer", sdp: start });
    for (const sender of connection.getSenders()) {
      if (sender.track?.kind !== "video") continue;
      const parameters = sender.getParameters();
      for (const encoding of parameters.encodings) encoding.maxBitrate = 1_500_000;
      await sender.setParameters({
        ...parameters,
        degradationPreference: "maintain-resolution",
      } as RTCRtpSendParameters);
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
