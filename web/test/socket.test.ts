// Which way a page takes to its rendezvous, with a stand-in for the browser's websockets and a small server for
// requests.

import assert from "node:assert/strict";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { after, before, beforeEach, test } from "node:test";

import { Dialler, type Socket } from "../src/socket.js";

/** Websockets that the page has made. */
let websockets: StandIn[] = [];

class StandIn {
  static readonly OPEN = 1;
  readyState = 0;
  binaryType = "";
  sent: unknown[] = [];
  onopen: (() => void) | null = null;
  onmessage: ((event: { data: unknown }) => void) | null = null;
  onclose: (() => void) | null = null;
  constructor(readonly url: string) {
    websockets.push(this);
  }
  send(data: unknown): void {
    this.sent.push(data);
  }
  close(): void {}
  opens(): void {
    this.readyState = StandIn.OPEN;
    this.onopen?.();
  }
}

/** What the server was asked, and how it answers. */
const server = {
  asked: [] as string[],
  bodies: [] as Buffer[],
  answers: true,
  frames: [] as Buffer[],
  refusal: null as string | null,
};
const listening = createServer((request, response) => {
  server.asked.push(`${request.method} ${request.url}`);
  const chunks: Buffer[] = [];
  request.on("data", (chunk) => chunks.push(chunk));
  request.on("end", () => {
    if (!server.answers) response.writeHead(404).end();
    else if (request.url === "/signal") response.writeHead(server.refusal ? 403 : 426).end(server.refusal);
    else if (request.method === "DELETE") response.writeHead(204).end();
    else if (request.method === "GET") {
      const frame = server.frames.shift();
      setTimeout(() => response.writeHead(frame ? 200 : 204).end(frame), frame ? 0 : 100);
    } else if (request.url === "/signal/fetch") response.writeHead(201).end("00ff");
    else {
      server.bodies.push(Buffer.concat(chunks));
      response.writeHead(204).end();
    }
  });
});
let origin = "";

before(async () => {
  (globalThis as { WebSocket: unknown }).WebSocket = StandIn;
  await new Promise<void>((resolve) => listening.listen(0, "127.0.0.1", resolve));
  origin = `http://127.0.0.1:${(listening.address() as AddressInfo).port}`;
});

after(() => {
  listening.closeAllConnections();
  listening.close();
});

beforeEach(() => {
  websockets = [];
  Object.assign(server, { asked: [], bodies: [], answers: true, frames: [], refusal: null });
});

const url = () => `${origin.replace("http", "ws")}/signal`;

/** Events of a connection, as they come. */
class Heard {
  readonly events: string[] = [];
  opened = () => void this.events.push("opened");
  frame = (bytes: Uint8Array) => void this.events.push(`frame ${Buffer.from(bytes)}`);
  closed = () => void this.events.push("closed");

  async until(event: string): Promise<void> {
    for (let tries = 0; !this.events.includes(event); tries++) {
      assert.ok(tries < 500, `no ${event} among ${this.events}`);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }
}

/** Makes websockets fail, as many as given. */
function failing(dialler: Dialler, times: number): void {
  for (let time = 0; time < times; time++) {
    const heard = new Heard();
    dialler.dial(url(), heard);
    websockets.at(-1)?.onclose?.();
    assert.deepEqual(heard.events, ["closed"]);
  }
}

const bytes = (text: string) => new Uint8Array(Buffer.from(text));
const prefixed = (...texts: string[]) =>
  Buffer.concat(texts.flatMap((text) => [Buffer.from([0, 0, 0, text.length]), Buffer.from(text)]));

test("a websocket that opens carries frames, and later failures are outages", async () => {
  const dialler = new Dialler(origin);
  failing(dialler, 1);
  const heard = new Heard();
  const socket = dialler.dial(url(), heard);
  const [, websocket] = websockets;
  socket.send(bytes("early"));
  websocket?.opens();
  socket.send(bytes("one"));
  websocket?.onmessage?.({ data: bytes("two").buffer });
  websocket?.onmessage?.({ data: "a text" });
  websocket?.onclose?.();
  assert.deepEqual(heard.events, ["opened", "frame two", "frame ", "closed"]);
  assert.deepEqual(websocket?.sent, [bytes("one")]);
  failing(dialler, 5);
  assert.deepEqual([websockets.length, server.asked.length], [7, 0]);
});

test("a rendezvous elsewhere says why it refuses a websocket to the page", async () => {
  for (const [isRefused, expected] of [
    [true, ["frame no", "closed"]],
    [false, ["closed"]],
  ] as const) {
    server.refusal = isRefused ? "no" : null;
    const heard = new Heard();
    new Dialler("https://app.example").dial(url(), heard);
    websockets.at(-1)?.onclose?.();
    await heard.until("closed");
    assert.deepEqual([heard.events, server.asked.splice(0)], [expected, ["GET /signal"]]);
  }
  // nothing follows once the socket is closed
  server.refusal = "no";
  const heard = new Heard();
  const socket = new Dialler("https://app.example").dial(url(), heard);
  websockets.at(-1)?.onclose?.();
  socket.close();
  await new Promise((resolve) => setTimeout(resolve, 200));
  assert.deepEqual([heard.events, server.asked], [[], ["GET /signal"]]);
  // one that has opened needs no reason
  const opened = new Heard();
  new Dialler("https://app.example").dial(url(), opened);
  websockets.at(-1)?.opens();
  websockets.at(-1)?.onclose?.();
  assert.deepEqual([opened.events, server.asked.length], [["opened", "closed"], 1]);
});

test("after two failed websockets, requests carry the frames in order", {
  timeout: 30_000,
}, async () => {
  server.frames = [prefixed("a", "b"), prefixed("c")];
  const dialler = new Dialler(origin);
  failing(dialler, 1);
  // one that is given up counts as well
  dialler.dial(url(), new Heard()).close();
  const heard = new Heard();
  const socket = dialler.dial(url(), heard);
  await heard.until("frame c");
  assert.deepEqual(heard.events, ["opened", "frame a", "frame b", "frame c"]);
  const long = "x".repeat(90_000);
  for (const text of ["1", "2", "3", long, long, "4"]) socket.send(bytes(text));
  const length = () => server.bodies.reduce((sum, body) => sum + body.length, 0);
  while (length() < 2 * long.length + 4 + 6 * 4) await new Promise((resolve) => setTimeout(resolve, 10));
  const all = Buffer.concat(server.bodies);
  const texts: string[] = [];
  for (let at = 0; at < all.length; at += 4 + all.readUInt32BE(at)) {
    texts.push(`${all.subarray(at + 4, at + 4 + all.readUInt32BE(at))}`);
  }
  assert.deepEqual(texts, ["1", "2", "3", long, long, "4"]);
  assert.ok(server.bodies.length < 6 && server.bodies.every((body) => body.length <= 98_372));
  socket.close();
  const isEnded = () => server.asked.includes("DELETE /signal/fetch/00ff");
  while (!isEnded()) await new Promise((resolve) => setTimeout(resolve, 10));
  assert.ok(!heard.events.includes("closed"), "the page closed it itself");
  assert.equal(websockets.length, 2);
});

test("when requests fail too, a websocket is tried by turns", { timeout: 30_000 }, async () => {
  server.answers = false;
  const dialler = new Dialler(origin);
  failing(dialler, 2);
  for (let turn = 0; turn < 2; turn++) {
    const heard = new Heard();
    dialler.dial(url(), heard);
    await heard.until("closed");
    assert.deepEqual([heard.events, server.asked.length], [["closed"], turn + 1]);
    failing(dialler, 1);
  }
  server.answers = true;
  const heard = new Heard();
  const socket: Socket = dialler.dial(url(), heard);
  await heard.until("opened");
  server.answers = false;
  await heard.until("closed");
  socket.close();
  assert.deepEqual(heard.events, ["opened", "closed"]);
});

test("torn answers and endless frames that nobody takes end a connection", {
  timeout: 30_000,
}, async () => {
  for (const spoil of ["answer", "queue"]) {
    server.frames = spoil === "answer" ? [Buffer.from([0, 0, 0, 9, 1])] : [];
    const dialler = new Dialler(origin);
    failing(dialler, 2);
    const heard = new Heard();
    const socket = dialler.dial(url(), heard);
    await heard.until("opened");
    if (spoil === "queue") for (let count = 0; count < 30; count++) socket.send(new Uint8Array(90_000));
    await heard.until("closed");
    assert.deepEqual(heard.events, ["opened", "closed"]);
  }
});

test("a rendezvous of another origin gets no frames by requests", async () => {
  for (const page of ["http://127.0.0.1:1", "https://example.org", origin.replace("http:", "https:")]) {
    const dialler = new Dialler(page);
    for (let time = 0; time < 5; time++) {
      const heard = new Heard();
      dialler.dial(url(), heard);
      websockets.at(-1)?.onclose?.();
      await heard.until("closed");
    }
  }
  const posted = server.asked.filter((asked) => asked.startsWith("POST"));
  assert.deepEqual([websockets.length, posted], [15, []]);
  assert.equal(server.asked.filter((asked) => asked === "GET /signal").length, 15);
});
