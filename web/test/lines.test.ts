// What the page makes of a room's sentences and snapshots, without a browser.

import assert from "node:assert/strict";
import { test } from "node:test";

import type { Room, Snapshot } from "../src/room.js";
import { texts } from "../src/texts.js";
import { Chat, TEXT_LEN_MAX } from "../src/ui/chat-log.js";
import { rowsOf } from "../src/ui/connection-view.js";
import { emptyStage } from "../src/ui/empty-stage.js";
import { healthOf, whyLost } from "../src/ui/health.js";
import { hear } from "../src/ui/hear.js";
import { Session } from "../src/ui/session.js";

const calm = {
  peer: "me",
  connection: "connected",
  mode: "mixer",
  stage: [],
  mixers: ["mixer"],
  parent: "relay",
  frames_received: 1000,
  frames_expected: 1000,
  late_ms: 0,
  latency_ms: null,
} as unknown as Snapshot;

test("the connection is judged by what came in the last seconds alone", () => {
  const later = (received: number, expected: number) => [
    calm,
    { ...calm, frames_received: received, frames_expected: expected },
  ];
  assert.equal(healthOf([]).is, "good");
  assert.equal(healthOf(later(1300, 1300)).is, "good");
  assert.deepEqual(healthOf(later(1270, 1300)), { is: "weak", why: texts.whyLoss(10) });
  assert.equal(
    healthOf([
      { ...calm, frames_received: 0 },
      { ...calm, frames_received: 300, frames_expected: 1300 },
    ]).is,
    "good",
  );
  assert.equal(healthOf([{ ...calm, parent: null }]).why, texts.whyParent);
  assert.equal(healthOf([{ ...calm, parent: null, mode: "pass-through" }]).is, "good");
  assert.equal(healthOf([{ ...calm, parent: null, stage: [{ peer: "me" }] } as unknown as Snapshot]).is, "good");
  assert.equal(healthOf([{ ...calm, mixers: [] }]).why, texts.whyMixer);
  const dead = {
    ...calm,
    connection: "reconnecting",
    mode: "mesh",
    stage: [{ peer: "mixer", away: true }],
  } as unknown as Snapshot;
  assert.deepEqual([healthOf([dead]).why, whyLost(dead)], [texts.whyMixer, texts.noMixer]);
  assert.equal(whyLost({ ...calm, connection: "reconnecting" }), texts.reconnecting);
  assert.equal(healthOf([{ ...calm, late_ms: 2500 }]).why, texts.whyLate(2500));
  assert.equal(healthOf([{ ...calm, connection: "reconnecting" }]).is, "lost");
  assert.equal(healthOf([{ ...calm, connection: "reconnecting", mode: "mesh", mixers: [] }]).why, texts.whyMixer);
});

test("an empty stage says why, unless a picture is to be expected", () => {
  const stands = (mode: string, stage: string, mixers: string[] = [], directory: unknown[] = []) => {
    // capitals speak, "h" is away
    const members = [...stage].map((peer) => ({
      peer: peer.toLowerCase(),
      speaks: peer !== peer.toLowerCase() || peer === "h",
      away: peer === "h",
    }));
    // "m" comes last
    const meshed = stage.length > 4 ? 0 : members.filter(({ speaks }) => speaks).length - 1;
    return emptyStage({ ...calm, peer: "m", mode, meshed, stage: members, mixers, directory } as unknown as Snapshot);
  };
  assert.equal(emptyStage(null), null);
  assert.equal(stands("mesh", "M"), "nobody-here");
  assert.equal(stands("mesh", "M", [], [{}]), "nobody-else-speaks");
  assert.equal(stands("mesh", "Ma"), "nobody-else-speaks");
  assert.equal(stands("mesh", "ma"), "nobody-speaks");
  assert.equal(stands("mesh", "mh"), "nobody-speaks");
  assert.equal(stands("mesh", "mAB"), "speakers-apart");
  assert.equal(stands("mesh", "AB"), "speakers-apart");
  assert.equal(stands("mesh", "MAB"), null);
  assert.equal(stands("mesh", "MABC"), null);
  assert.equal(stands("mesh", "ABCDM"), "mesh-full");
  assert.equal(stands("mixer", "ABCDM", ["x"]), null);
  assert.equal(stands("mixer", "AB", ["x"]), null);
  assert.equal(stands("mixer", "AB"), null, "a mixer is being elected");
});

test("the tree shows viewers below their parents and leaves circles out", () => {
  const viewer = (peer: string, parent: string | null) => ({ peer, name: peer, label: peer, parent, depth: 0 });
  const directory = [
    viewer("b", "a"),
    viewer("a", "mixer"),
    viewer("c", "a"),
    viewer("d", "gone"),
    viewer("x", "y"),
    viewer("y", "x"),
  ];
  assert.deepEqual(
    rowsOf({ mixers: ["mixer"], directory }).map(({ peer, depth }) => `${depth}${peer}`),
    ["0mixer", "1a", "2b", "2c", "0gone", "1d"],
  );
  const many = Array.from({ length: 5000 }, (_, at) => viewer(`${at}`, at ? `${at - 1}` : "mixer"));
  assert.equal(rowsOf({ mixers: ["mixer"], directory: many }).length, 200);
});

test("the chat keeps the newest 200 messages and counts unread ones", () => {
  const chat = new Chat();
  for (let at = 0; at < 250; at++)
    chat.add({ peer: "a", label: "Ada", host: false, named: false, text: `${at}` }, false);
  assert.deepEqual([chat.messages.length, chat.messages[0]?.text, chat.unread], [200, "50", 200]);
  chat.read();
  chat.add({ peer: "a", label: "Ada", host: false, named: false, text: "x".repeat(9000) }, true);
  assert.deepEqual([chat.messages.at(-1)?.text.length, chat.unread], [TEXT_LEN_MAX, 0]);
});

/** A session in a room without a browser, whose snapshot is what a test sets. */
async function inRoom(
  now: Partial<Snapshot>,
  use: (session: Session, see: (now: Partial<Snapshot>) => Promise<void>) => Promise<void>,
) {
  const session = new Session({ changed() {}, heard() {} });
  const base = {
    ...calm,
    stage_open: false,
    directory: [],
    waiting: [],
    wanting: [],
    children: [],
    host: "host",
    speaks: false,
  };
  let shown = { ...base, ...now } as Snapshot;
  const none = () => Promise.resolve();
  const room = {
    snapshot: () => Promise.resolve(shown),
    speak() {},
    mute() {},
    pin() {},
    publish: none,
    unpublish: none,
  };
  session.room = { ...room, picture: { hasChildNodes: () => true } } as unknown as Room;
  session.at = "room";
  const see = (now: Partial<Snapshot>) => {
    shown = { ...shown, ...now };
    return session.renew();
  };
  try {
    await session.renew();
    await use(session, see);
  } finally {
    session.room = null;
    await session.renew();
  }
}

/** Beside an event that names nobody. */
const alone = { labels: {}, others: 0 };
const settled = () => new Promise((resolve) => setTimeout(resolve));
const speaker = (peer: string, name = peer) =>
  ({
    peer,
    name,
    label: name,
    speaks: true,
    away: false,
    muted: { picture: false, sound: false },
    shares: false,
  }) as Snapshot["stage"][number];

test("a pinned speaker that is away stays pinned until it leaves the stage", async () => {
  await inRoom({ mode: "mesh", stage: [speaker("me"), speaker("a", "Ada")] }, async (session, see) => {
    session.pin("a");
    await see({ stage: [speaker("me"), { ...speaker("a", "Ada"), away: true }] });
    assert.equal(session.pinned, "a");
    await see({ stage: [speaker("me")] });
    assert.deepEqual([session.pinned, session.notice?.says], [null, texts.pinnedLeft("Ada")]);
  });
});

test("a fifth speaker without a mixer is told so by its connection", async () => {
  await inRoom(
    { mode: "mesh", meshed: 0, mixers: [], stage: ["a", "b", "c", "d", "me"].map((peer) => speaker(peer)) },
    async (session) => {
      assert.equal(session.health.is, "good");
      Object.assign(session.room?.picture ?? {}, { hasChildNodes: () => false });
      assert.deepEqual(session.health, { is: "weak", why: texts.empty["mesh-full"] });
    },
  );
});

test("a notice ends with its reason", async () => {
  await inRoom({ mixers: [] }, async (session, see) => {
    const says = () => session.notice?.says;
    hear(session, { what: "no-mixer", ...alone });
    await settled();
    assert.equal(says(), texts.noMixer);
    await see({ mixers: ["mixer"] });
    assert.equal(session.notice, null, "somebody mixes");
    await see({ mixers: [], mode: "mesh", stage: [speaker("me"), speaker("a")] });
    hear(session, { what: "no-mixer", ...alone });
    await settled();
    assert.equal(session.notice, null, "speakers of a mesh need no mixer");
    hear(session, { what: "floor-denied", ...alone });
    assert.equal(says(), texts.floorDenied);
    await see({ speaks: false });
    assert.equal(says(), texts.floorDenied, "still true");
    session.takeFloor();
    assert.deepEqual([session.notice, session.isHandUp], [null, true]);
  });
});

test("a speaker hears that the host has taken the floor", async () => {
  for (const order of [["floor-denied", "floor"], ["floor", "floor-denied"], ["floor"]]) {
    await inRoom({ speaks: true }, async (session) => {
      const { room, capture } = session;
      if (room) await capture.publishTo(room);
      for (const what of order)
        hear(session, what === "floor" ? { what, speaks: false, ...alone } : { what: "floor-denied", ...alone });
      assert.deepEqual([session.notice?.says, session.isOnStage], [texts.floorTaken, false], order.join());
    });
  }
  await inRoom({ speaks: false }, async (session) => {
    const { room, capture } = session;
    if (room) await capture.publishTo(room);
    hear(session, { what: "floor-denied", ...alone });
    assert.equal(session.notice?.says, texts.floorDenied, "it waited for the floor");
  });
  await inRoom({ speaks: true }, async (session) => {
    const { room, capture } = session;
    if (room) await capture.publishTo(room);
    capture.sound = { stop() {} } as unknown as MediaStreamTrack;
    hear(session, { what: "muted-by-host", picture: false, sound: true, ...alone });
    await settled();
    assert.equal(session.notice?.says, texts.mutedByHost);
    session.giveFloor();
    assert.equal(session.notice, null);
  });
});

test("a knock says whether a newcomer offers to mix and how many more came", async () => {
  await inRoom({}, async (session) => {
    const knock = { what: "knock" as const, peer: "9", name: "Ada", labels: { 9: "Ada (99999999)" } };
    hear(session, { ...knock, mixes: true, others: 0 });
    assert.equal(session.notice?.says, "Ada (99999999) offers to mix, and waits to be let in.");
    hear(session, { ...knock, mixes: false, others: 38 });
    assert.equal(session.notice?.says, "Ada (99999999) waits to be let in. 38 more since the last one.");
  });
});

test("a removal by another host stays listed until this one has judged it", async () => {
  await inRoom({}, async (session, see) => {
    const removed: string[] = [];
    Object.assign(session.room ?? {}, { remove: (peer: string) => removed.push(peer) });
    const removal = (peer: string) => ({
      what: "removed-by-another" as const,
      peer,
      name: peer,
      by: "b",
      labels: { [peer]: peer, b: "Ben" },
      others: 0,
    });
    for (const peer of ["1", "2"]) hear(session, removal(peer));
    assert.equal(session.notice?.says, texts.removedByAnother("2", "Ben"));
    await see({});
    assert.notEqual(session.notice, null, "nobody waits, and yet there is something to judge");
    const [first, second] = session.removedByAnother;
    assert.ok(first && second);
    session.judge(first, true);
    session.judge(second, false);
    assert.deepEqual([removed, session.removedByAnother], [["1"], []]);
    await see({});
    assert.equal(session.notice, null);
    for (let at = 0; at < 1000; at++) hear(session, removal(`${at}`));
    assert.equal(session.removedByAnother.length, 64);
  });
});

test("a message keeps the mark that its sender had when it was sent", async () => {
  const stage = [speaker("1", "Ada"), { ...speaker("2", "Ada"), named: true }];
  await inRoom({ peer: "me", host: "2", stage }, async (session, see) => {
    const says = (from: string, text: string | number[]) => {
      const bytes = typeof text === "string" ? [...new TextEncoder().encode(text)] : text;
      hear(session, {
        what: "data",
        from,
        delivery: "reliable",
        bytes,
        labels: { [from]: `Ada (${from.repeat(8)})` },
        others: 0,
      });
    };
    says("1", "trust me");
    says("2", "hello");
    says("2", [0xff, 0xfe]); // no text
    says("me", "my own");
    await see({ host: "1" });
    assert.deepEqual(
      session.chat.messages.map(({ label, host, named }) => [label, host, named]),
      [
        ["Ada (11111111)", false, false],
        ["Ada (22222222)", true, true],
      ],
    );
  });
});
