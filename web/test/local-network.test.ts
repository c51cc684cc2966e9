// A page from the internet whose user lets it into the local network, keeps it out, or is asked. As root.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import type { Page } from "puppeteer-core";

import { act, there } from "./element.js";
import { Lab, noLab } from "./lab.js";
import { Room, SMALL } from "./room.js";
import { untilShown } from "./shown.js";

const skip = noLab ?? false;
const [FIRST, LAST] = [40_000, 40_019];

let lab: Lab;
let room: Room;
/** What makes the emulated internet a public one to Chromium: the host's page and links. */
let flags: string[];

before(async () => {
  if (skip) return;
  lab = await Lab.up(
    { core: "delay=10ms", guest: "delay=10ms nat=house", ada: "delay=10ms nat=house" },
    { house: "port-restricted" },
  );
  room = await Room.inLab(lab, "core", "--speak", "--serve-turn", "--udp-ports", `${FIRST}-${LAST}`, ...SMALL);
  const { hostname, port } = new URL(room.invite);
  const ports = [port, ...Array.from({ length: LAST - FIRST + 1 }, (_, at) => `${FIRST + at}`)];
  flags = [
    `--ip-address-space-overrides=${ports.map((port) => `${hostname}:${port}=public`).join(",")}`,
    "--enable-features=LocalNetworkAccessChecks,LocalNetworkAccessChecksWebRTC",
  ];
  // a neighbour of the page
  room.startAt(
    "ada",
    "join",
    room.invite,
    "--speak",
    "--mix",
    "never",
    "--name",
    "Ada",
    "--speaker-size",
    "320x180@15",
  );
});

after(async () => {
  await room?.close();
  await lab?.down();
});

const says = (page: Page) => page.evaluate(() => document.querySelector("plenary-room")?.shadowRoot?.textContent ?? "");

/** The way to the neighbour, once there is one. */
const wayToAda = async (page: Page): Promise<string | undefined> => {
  const way = async () => {
    const snapshot = await window.plenary?.snapshot();
    const ada = snapshot?.stage.find(({ name }) => name === "Ada")?.peer;
    return ada && snapshot?.links.find(({ peer }) => peer === ada)?.way;
  };
  await page.waitForFunction(way, { timeout: 30_000 });
  return page.evaluate(way);
};

for (const [answer, isWarned, shown] of [
  ["granted", false, "in reach"],
  ["denied", false, "kept from this page by the browser"],
  [undefined, true, ""],
] as const) {
  test(`a page whose user has ${answer ?? "given no answer"} is in the room, and says so`, {
    skip,
    timeout: 90_000,
  }, async () => {
    const page = await room.visit("?name=Kim", { at: "guest", flags, ...(answer ? { localNetwork: answer } : {}) });
    await there(page, '[data-act="join"]');
    const sentence = () => says(page).then((text) => text.includes("may ask whether this page may reach your local"));
    assert.equal(await sentence(), isWarned);
    if (process.env["SCREENS"]) await page.screenshot({ path: `${process.env["SCREENS"]}/local-${answer}.png` });
    await act(page, "join");
    await there(page, '[data-act="tone"]');
    await act(page, "join");
    await untilShown(page);
    const way = await wayToAda(page);
    // a neighbour that the page may not look for finds the page, or is met over the relay
    assert.ok(answer !== "granted" || way === "direct", way);
    console.log(`to a neighbour: ${way}`);
    await page.keyboard.press("p");
    await there(page, ".panel.connection");
    assert.ok((await says(page)).includes(shown));
    if (process.env["SCREENS"]) await page.screenshot({ path: `${process.env["SCREENS"]}/panel-${answer}.png` });
    await page.close();
  });
}
