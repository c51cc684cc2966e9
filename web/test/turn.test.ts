// Pages that reach the room over the host's TURN server alone.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import type { Page } from "puppeteer-core";

import { act, inviteOf, there } from "./element.js";
import { Lab, noLab } from "./lab.js";
import { Room, SMALL } from "./room.js";
import { untilShown } from "./shown.js";

/** The ways of a page's links, once it has some, and counters of all. */
const ways = async (page: Page, count: number): Promise<string[]> => {
  const links = async (count: number) => {
    const { links = [] } = (await window.plenary?.snapshot()) ?? {};
    return links.length >= count && links.every(({ way }) => way === "relayed");
  };
  await page.waitForFunction(links, { timeout: 20_000 }, count);
  return page.evaluate(async () => (await window.plenary?.snapshot())?.links.map(({ way }) => way) ?? []);
};

/** Pictures that arrive within two seconds. */
const pictures = async (page: Page): Promise<number> => {
  const count = () => page.evaluate(async () => (await window.plenary?.snapshot())?.frames_received ?? 0);
  const begin = await count();
  await new Promise((resolve) => setTimeout(resolve, 2000));
  return (await count()) - begin;
};

test("pages that use nothing but relays are fed, and speak with each other", { timeout: 90_000 }, async () => {
  const room = await Room.open("--serve-turn", "--speak", "--page-auto-speak", ...SMALL);
  try {
    const visit = async (name: string, role: string) =>
      room.visit(`?auto=${role}&name=${name}`, {
        onNew: () => {
          const Browser = window.RTCPeerConnection;
          window.RTCPeerConnection = class extends Browser {
            constructor(configuration?: RTCConfiguration) {
              super({ ...configuration, iceTransportPolicy: "relay" });
            }
          };
        },
      });
    const [kim, lea, zoe] = [await visit("Kim", "speak"), await visit("Lea", "speak"), await visit("Zoe", "watch")];
    for (const page of [kim, lea, zoe]) {
      const of = await ways(page, page === zoe ? 1 : 2);
      assert.ok(
        of.every((way) => way === "relayed"),
        `${of}`,
      );
    }
    await untilShown(zoe);
    const seen = await pictures(zoe);
    assert.ok(seen > 0, "the picture stands still");
    // what the panel says of the way
    await zoe.keyboard.press("p");
    const says = () => document.querySelector("plenary-room")?.shadowRoot?.textContent?.includes("relayed");
    await zoe.waitForFunction(says, { timeout: 5000 });
  } finally {
    await room.close();
  }
});

const skip = noLab ?? (process.env["NIGHTLY"] ? false : "./run nightly pages");
let lab: Lab;
let room: Room;

before(async () => {
  if (skip) return;
  lab = await Lab.up({
    core: "delay=10ms",
    office: "delay=10ms block=udp nat=port-restricted",
    each: "delay=10ms nat=symmetric",
    home: "delay=10ms nat=symmetric",
  });
  room = await Room.inLab(lab, "core", "--speak", "--serve-turn", "--page-auto-speak", ...SMALL);
});

after(async () => {
  await room?.close();
  await lab?.down();
});

test("a page behind a firewall without UDP watches and speaks", { skip, timeout: 60_000 }, async () => {
  const page = await room.visit("?auto=watch&name=Off", { at: "office" });
  await untilShown(page);
  const firstMs = await page.evaluate(async () => (await window.plenary?.snapshot())?.first_frame_ms);
  console.log(`the first picture came ${firstMs} ms after the click`);
  assert.deepEqual(await ways(page, 1), ["relayed"]);
  const seen = await pictures(page);
  assert.ok(seen >= 24, `${seen} pictures of 30`);
  await page.close();
  const speaker = await room.visit("?auto=speak&name=Kim", { at: "office" });
  assert.ok((await ways(speaker, 1)).length >= 1);
  await speaker.close();
});

test("a page and a native speaker meet, each behind a symmetric NAT", { skip, timeout: 60_000 }, async () => {
  const small = ["--speaker-size", "320x180@15"];
  room.startAt("home", "join", room.invite, "--speak", "--mix", "never", "--name", "Ada", ...small);
  const page = await room.visit("?auto=speak&name=Kim", { at: "each" });
  // the host directly, the speaker over a relay
  const both = async () => {
    const ways = (await window.plenary?.snapshot())?.links.map(({ way }) => way) ?? [];
    return ways.includes("direct") && ways.includes("relayed");
  };
  await page.waitForFunction(both, { timeout: 30_000 });
});

test("two pages behind symmetric NATs meet in a room of one of them", {
  skip,
  timeout: 60_000,
}, async () => {
  const pages = new Room(lab, "core");
  try {
    await pages.serve(`${lab.address("core")}:0`, "--serve-turn");
    pages.invite = `${pages.rendezvous}/#`;
    const host = await pages.visit("?name=Grace", { at: "each" });
    await act(host, "open");
    await there(host, "dialog.invite[open]");
    pages.invite = await inviteOf(host);
    const guest = await pages.visit("?name=Hedy", { at: "home" });
    await act(guest, "join");
    await there(guest, '[data-act="tone"]');
    await act(guest, "join");
    assert.deepEqual(await ways(guest, 1), ["relayed"]);
    assert.deepEqual(await ways(host, 1), ["relayed"]);
  } finally {
    await pages.close();
  }
});
