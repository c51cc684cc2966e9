// Calls and asks have the bytes of the golden vectors, which crates/web/tests/wire.rs compares too.

import assert from "node:assert/strict";
import { test } from "node:test";

import golden from "../golden/wire.json";
import { type Ask, type Call, decode, encode } from "../src/wire.js";

const bytes = new Uint8Array([9, 9]);
const data = new Uint8Array([0, 0, 0, 1, 0x65]);

const capturedUs = 1_763_627_671_166_665;

const calls: Record<string, Call> = {
  open: {
    call: "open",
    opening: {
      room: { invite: "plenary:#abc" },
      password: "pässwort",
      name: "Ada",
      speaks: false,
      views: true,
      childrenMax: 3,
      identity: new Uint8Array(32).fill(1),
      entropy: new Uint8Array(32).fill(2),
    },
  },
  "open-as-host": {
    call: "open",
    opening: {
      room: {
        hosting: {
          rendezvous: "https://example.org",
          page: "https://static.example/room/",
          keys: new Uint8Array([5, 6]),
          title: "Talk",
          lobby: true,
          stageOpen: false,
          mixByNamed: true,
        },
      },
      password: null,
      name: "Ada",
      speaks: true,
      views: true,
      childrenMax: 0,
      identity: new Uint8Array(32).fill(1),
      entropy: new Uint8Array(32).fill(2),
    },
  },
  tick: { call: "tick" },
  "socket-opened": { call: "socket-opened" },
  "socket-frame": { call: "socket-frame", bytes: Uint8Array.from({ length: 200 }, (_, at) => at) },
  "socket-closed": { call: "socket-closed" },
  described: { call: "described", link: 300, sdp: "v=0\r\n" },
  "link-up": { call: "link-up", link: 1 },
  "link-down": { call: "link-down", link: 2 ** 40 },
  received: { call: "received", link: 2, channel: 1, bytes: new Uint8Array([7, 8]) },
  frame: { call: "frame", link: 2, slot: 1, level: 30, csrcs: [5, 0xffff_fffe], data },
  "frame-unlevelled": { call: "frame", link: 2, slot: 0, level: null, csrcs: [], data },
  snapshot: { call: "snapshot" },
  "child-wants-keyframe": { call: "keyframe-wanted", link: 9, slot: 0 },
  "own-picture": { call: "own-frame", link: 3, capturedUs, media: { is: "picture", key: true }, data },
  "own-sound": {
    call: "own-frame",
    link: 3,
    capturedUs,
    media: { is: "sound", level: 30 },
    data: new Uint8Array([4, 5]),
  },
  sources: { call: "sources", picture: true, sound: true, shares: false },
  command: { call: "command", json: '"leave"' },
  line: { call: "line", line: "/mute Grüße" },
  found: { call: "found", link: 3, candidates: ["candidate:6 1 udp 7 192.0.2.1 9 typ relay"] },
  "network-changed": { call: "network-changed" },
  stats: {
    call: "stats",
    link: 9,
    counts: {
      bytesSent: 1,
      bytesReceived: 200,
      packetsSent: 3,
      repairsSent: 4,
      packetsReceived: 5,
      rttUs: 60_000,
      queueUs: 7,
      isRelayed: true,
      ownCandidate: "prflx",
    },
  },
};

const asks: Record<string, Ask> = {
  dial: { ask: "dial", url: "ws://127.0.0.1:80/signal" },
  "hang-up": { ask: "hang-up" },
  transmit: { ask: "transmit", bytes },
  offer: { ask: "offer", link: 3 },
  answer: { ask: "answer", link: 3, sdp: "v=0\r\n" },
  accept: { ask: "accept", link: 3, sdp: "v=0\r\n" },
  close: { ask: "close", link: 3 },
  send: { ask: "send", link: 3, channel: 0, bytes },
  "keyframe-wanted": { ask: "keyframe-wanted", link: 3, slot: 2 },
  show: { ask: "show", shown: [{ speaker: null, picture: { link: 200, slot: 0 }, sound: { link: 200, slot: 1 } }] },
  "show-mesh": {
    ask: "show",
    shown: [{ speaker: "05".repeat(32), picture: { link: 3, slot: 2 }, sound: { link: 3, slot: 3 } }],
  },
  "show-nothing": { ask: "show", shown: [] },
  "own-frame": { ask: "own-frame", data: new Uint8Array([4, 5]) },
  "send-own": { ask: "send-own", links: [3, 200] },
  picture: { ask: "picture", format: { width: 640, height: 360, fps: 30, bitrateBps: 600_000 } },
  "own-keyframe": { ask: "own-keyframe" },
  keys: { ask: "keys", keys: bytes },
  farewell: { ask: "farewell", bytes },
  decode: { ask: "decode" },
  paths: { ask: "paths", link: 3, candidates: ["candidate:6 1 udp 7 192.0.2.1 9 typ srflx"] },
  turn: { ask: "turn", urls: ["turn:example.org:7420?transport=udp"], username: "1:ada", password: "pz" },
  restart: { ask: "restart", link: 3, offer: null },
  "restart-answered": { ask: "restart", link: 3, offer: "v=0\r\n" },
  event: { ask: "event", event: '{"what":"removed"}', aside: '{"labels":{}}' },
  "snapshot-taken": { ask: "snapshot", room: "{}", page: "[]" },
  "send-frame": {
    ask: "frame",
    link: 3,
    slot: 1,
    atUs: capturedUs,
    data: new Uint8Array([4, 5]),
  },
};

const vectors = new Map(Object.entries(golden));

test("each call is written as its golden bytes", () => {
  for (const [name, call] of Object.entries(calls)) {
    assert.equal(Buffer.from(encode(call)).toString("hex"), vectors.get(name), name);
  }
});

test("each ask is read from its golden bytes", () => {
  for (const [name, ask] of Object.entries(asks)) {
    assert.deepEqual(decode(new Uint8Array(Buffer.from(vectors.get(name) ?? "", "hex"))), ask, name);
  }
  assert.equal(vectors.size, Object.keys(calls).length + Object.keys(asks).length);
});

test("bytes that end too early are an error, and so is an unknown ask", () => {
  for (const name of Object.keys(asks)) {
    const whole = Buffer.from(vectors.get(name) ?? "", "hex");
    for (let length = 0; length < whole.length; length++) {
      assert.throws(() => decode(whole.subarray(0, length)), RangeError, `${name}, ${length} bytes`);
    }
  }
  assert.throws(() => decode(new Uint8Array([99])), RangeError);
});
