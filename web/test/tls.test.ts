// Pages that reach the rendezvous by https: over a websocket, from another origin, and by requests where no websocket
// opens.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createServer, request } from "node:https";
import { type AddressInfo, createServer as createTcpServer, type Server as NetServer } from "node:net";
import { after, before, test } from "node:test";

import type { Page } from "puppeteer-core";

import { act } from "./element.js";
import { joinWith, Room } from "./room.js";

async function listen(server: NetServer): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return (server.address() as AddressInfo).port;
}

/** Watches in the page that is opened, and waits until pictures come. */
async function watch(page: Page): Promise<void> {
  await act(page, "watch");
  const live = () => window.plenary.snapshot().then((snapshot) => (snapshot?.frames_received ?? 0) > 15);
  await page.waitForFunction(live, { timeout: 20_000 });
}

let room: Room;

before(async () => {
  room = await Room.secure();
  room.addAda();
});

after(() => room.close());

test("a link opened by http leads to https, and the page watches over wss", { timeout: 60_000 }, async () => {
  assert.ok(room.invite.startsWith("https://127.0.0.1:"), room.invite);
  const page = await room.visit("", {}, room.invite.replace("https:", "http:"));
  const { protocol, host } = new URL(page.url());
  assert.deepEqual([protocol, host], ["https:", new URL(room.invite).host]);
  await watch(page);
});

test("a page of another origin joins over wss", { timeout: 60_000 }, async () => {
  const page = await room.page();
  await joinWith(page, { invite: room.invite, name: "Web" });
  await page.waitForFunction(() => document.querySelector("video")?.videoWidth === 320, { timeout: 20_000 });
  assert.notEqual(new URL(page.url()).origin, new URL(room.invite).origin);
});

test("a page by https says that the browser blocks a rendezvous by http", { timeout: 30_000 }, async () => {
  const page = await room.visit();
  // an address for documentation: on loopback browsers allow it
  const invite = room.invite.replace(/^https:..[^/]*/, "http://192.0.2.1:9");
  const told = joinWith(page, { invite }).then(
    () => "joined",
    (error: Error) => error.message,
  );
  assert.match(await told, /a page that came by https reaches no rendezvous by http/);
});

test("where no websocket opens, requests carry the frames", { timeout: 90_000 }, async () => {
  // a port for the host behind the proxy, which the invite does not name
  const free = createTcpServer();
  const hostPort = await listen(free);
  await new Promise((resolve) => free.close(resolve));
  let [refused, requests, polls] = [0, 0, 0];
  const proxy = createServer((incoming, response) => {
    const { method, url = "/", headers } = incoming;
    if (url.startsWith("/signal/fetch")) method === "GET" ? polls++ : requests++;
    const to = { host: "127.0.0.1", port: hostPort, method, path: url, headers, rejectUnauthorized: false };
    const forward = request(to, (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(response);
    });
    incoming.pipe(forward);
    // the page may end a request that waits
    forward.on("error", () => response.destroy());
    response.on("close", () => forward.destroy());
  });
  proxy.on("upgrade", (_, socket) => {
    refused++;
    socket.end("HTTP/1.1 403 Forbidden\r\nConnection: close\r\n\r\n");
  });
  const proxyPort = await listen(proxy);
  const behind = await Room.secure("--listen", `127.0.0.1:${hostPort}`, "--advertise", `localhost:${proxyPort}`);
  try {
    proxy.setSecureContext({ key: readFileSync(behind.certified.key), cert: readFileSync(behind.certified.cert) });
    assert.ok(behind.invite.startsWith(`https://localhost:${proxyPort}/`), behind.invite);
    // native peers join directly
    behind.addAda(behind.invite.replace(`localhost:${proxyPort}`, `localhost:${hostPort}`));
    const page = await behind.visit();
    await watch(page);
    assert.ok(refused === 2 && requests >= 3 && polls >= 2, `${refused} refused, ${requests} requests, ${polls} polls`);
    // longer than the rendezvous waits for a silent peer
    await new Promise((resolve) => setTimeout(resolve, 20_000));
    const end = await page.evaluate(() => window.plenary.snapshot());
    assert.equal(end?.connection, "connected");
    assert.equal(refused, 2, "the connection has held");
    await act(page, "leave");
    const says = () => document.querySelector("plenary-room")?.shadowRoot?.querySelector('[role="alert"]')?.textContent;
    await page.waitForFunction(says, { timeout: 5000 });
    assert.equal(await page.evaluate(says), "You have left the room.");
  } finally {
    await behind.close();
    proxy.closeAllConnections();
    proxy.close();
  }
});
