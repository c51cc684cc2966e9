// A page's snapshot has what a native peer reports by `join --json`; web/README.md lists what differs.

import assert from "node:assert/strict";
import { test } from "node:test";

import { joinWith, Room } from "./room.js";

/** What a value is, as far as JSON tells: the names of an object's fields, too. */
const kindOf = (value: unknown) =>
  value && typeof value === "object" ? Object.keys(value).sort().join() : typeof value;

test("a page's snapshot has each field of a native report, of the same kind", { timeout: 60_000 }, async () => {
  const room = await Room.withAda();
  try {
    const page = await room.page();
    await joinWith(page, { invite: room.invite, name: "Web" });
    await page.waitForFunction(() => window.shown() !== undefined, { timeout: 20_000 });
    const native = room.start("join", room.invite, "--name", "Ben", "--duration", "8s", "--json", "-");
    const report: Record<string, unknown> = JSON.parse(await room.whole(native));
    assert.equal(report["end"], "left");
    delete report["end"]; // an event at a page
    const snapshot = await page.evaluate(() => window.room.snapshot());
    const own = new Map(Object.entries(snapshot));
    const fed = Object.entries(report).filter(([, value]) => value !== null);
    assert.ok(fed.length >= 13, `the native peer had a program: ${JSON.stringify(report)}`);
    for (const name of Object.keys(report)) assert.ok(own.has(name), `${name} is missing`);
    // a backup comes and goes
    for (const [name, value] of fed.filter(([name]) => name !== "backup"))
      assert.equal(kindOf(own.get(name)), kindOf(value), name);
    const ways = new Map(snapshot.links.map(({ peer, way }) => [peer, way]));
    assert.ok(snapshot.parent !== null && ways.get(snapshot.parent) === "direct", JSON.stringify(snapshot));
    const { first_frame_ms, frames_late, frames_received, sound_latency_ms } = snapshot;
    const said = JSON.stringify(snapshot);
    assert.ok(first_frame_ms !== null && first_frame_ms > 0 && first_frame_ms < 20_000, said);
    assert.ok(frames_late < frames_received && sound_latency_ms !== null && sound_latency_ms.p50 > 0, said);
  } finally {
    await room.close();
  }
});
