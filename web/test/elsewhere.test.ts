// Pages that come from elsewhere than their room: the script from another origin than its page.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { Room } from "./room.js";

let room: Room;

before(async () => {
  room = await Room.withAda();
});

after(() => room.close());

/** The strictest content security policy under which a page can use the script of another origin; as web/README.md has it. */
const policyFor = (origin: string) =>
  `default-src 'none'; script-src 'unsafe-inline' 'wasm-unsafe-eval' ${origin}; worker-src blob: ${origin}; ` +
  `connect-src ${origin} ${origin.replace("http", "ws")}`;

for (const kind of ["chromium", "firefox"] as const) {
  test(`${kind}: a page of another origin loads the script from a host, and joins`, { timeout: 60_000 }, async () => {
    const page = await room.page({ kind });
    const { origin } = new URL(room.invite);
    assert.notEqual(new URL(page.url()).origin, origin);
    await page.evaluate((policy) => {
      const meta = Object.assign(document.createElement("meta"), { httpEquiv: "content-security-policy", content: policy });
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
    const isLive = () => window.events?.some((event) => event.what === "state" && event.state === "live");
    const shows = () => window.shown()?.videoWidth === 320;
    await page.waitForFunction(kind === "chromium" ? shows : isLive, { timeout: 30_000 });
  });
}
