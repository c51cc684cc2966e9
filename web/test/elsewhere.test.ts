// Pages that come from elsewhere than their room: the script from another origin than its page, and the page of a
// static host.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { act, alerted, there } from "./element.js";
import { Room } from "./room.js";

let room: Room;

before(async () => {
  room = await Room.withAda();
});

after(() => room.close());

/**
 * The strictest content security policy under which a page can use the script of another origin; as web/README.md has
 * it.
 */
const policyFor = (origin: string) =>
  `default-src 'none'; script-src 'unsafe-inline' 'wasm-unsafe-eval' ${origin}; worker-src blob: ${origin}; ` +
  `connect-src ${origin} ${origin.replace("http", "ws")}`;

for (const kind of ["chromium", "firefox"] as const) {
  test(`${kind}: a page of another origin joins by the script of a host`, { timeout: 60_000 }, async () => {
    const page = await room.page({ kind });
    const { origin } = new URL(room.invite);
    assert.notEqual(new URL(page.url()).origin, origin);
    await page.evaluate((policy) => {
      const meta = Object.assign(document.createElement("meta"), {
        httpEquiv: "content-security-policy",
        content: policy,
      });
      document.head.append(meta);
    }, policyFor(origin));
    await page.addScriptTag({
      type: "module",
      content: `
        import { join } from "${origin}/plenary.js";
        window.events = [];
        window.room = await join({ invite: "${room.invite}", name: "Web", onEvent: (event) => window.events.push(event) });
        document.body.append(window.room.picture);`,
    });
    // Firefox shows no pictures without its plugin, and hears
    const isLive = () => window.events?.some((event) => event.what === "connection" && event.state === "connected");
    const shows = () => window.shown()?.videoWidth === 320;
    await page.waitForFunction(kind === "chromium" ? shows : isLive, { timeout: 30_000 });
  });
}

test("a host that lists no page elsewhere says so to one and serves its own", { timeout: 60_000 }, async () => {
  const strict = room.start("host", "--listen", "127.0.0.1:0", "--mix", "never");
  const invite = await room.line(strict, (line) => line.includes("#"));
  const says = room.line(strict, (line) => line.includes("--embed"));
  const page = await room.screen({ invite });
  await act(page, "watch");
  await alerted(page, "The room's server lets nobody in from this website.");
  const { origin } = new URL(page.url());
  assert.ok((await says).includes(origin), await says);
  const own = await room.visit("", {}, invite);
  await act(own, "watch");
  const isIn = () => window.plenary.snapshot().then((snapshot) => snapshot?.host != null);
  await own.waitForFunction(isIn, { timeout: 20_000 });
});

test("a link to a page on a static host leads into the room", {
  timeout: 90_000,
}, async () => {
  const page = await room.screen({ invite: "" });
  const address = page.url();
  const host = await Room.withAda("--page-at", address);
  try {
    assert.ok(host.invite.startsWith(`${address}#`), host.invite);
    await page.goto("about:blank");
    await page.goto(host.invite);
    await act(page, "watch");
    const sees = () => window.plenary.snapshot().then((snapshot) => (snapshot?.frames_received ?? 0) > 15);
    await page.waitForFunction(sees, { timeout: 20_000 });
    assert.equal(page.url(), address, "the link has left the address");
    // a reload finds the room again, and the link that is passed on is the whole
    await page.reload();
    await act(page, "watch");
    await page.waitForFunction(sees, { timeout: 20_000 });
    await act(page, "more");
    await act(page, "invite");
    await there(page, '[data-field="invite"]');
    const shown = () =>
      document.querySelector("plenary-room")?.shadowRoot?.querySelector<HTMLInputElement>('[data-field="invite"]')
        ?.value;
    assert.equal(await page.evaluate(shown), host.invite);
  } finally {
    await host.close();
  }
});
