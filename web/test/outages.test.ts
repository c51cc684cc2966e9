// What a room lacks for a while, met in a browser: its server, a place, a mixer. Each is a line, which ends with its
// reason.

import { test } from "node:test";

import type { Page } from "puppeteer-core";

import { act, alerted, click, duplicate, live, says, text, there } from "./element.js";
import { Room, within } from "./room.js";

test("a room that is over or has no server is tried again by a button", {
  timeout: 90_000,
}, async () => {
  const apart = await Room.apart();
  try {
    await apart.killHost();
    const over = await apart.screen();
    await there(over, '[data-act="watch"]');
    await apart.killRendezvous();
    await act(over, "watch");
    await says(over, "can't be reached. Trying again");
    await act(over, "cancel");
    await act(over, "watch");
    const gaveUp = () =>
      document.querySelector("plenary-room")?.shadowRoot?.querySelector('[data-way="again"]') != null;
    await over.waitForFunction(gaveUp, { timeout: 40_000, polling: 100 });
    await alerted(over, "The server that introduces newcomers can't be reached. Check your connection");
    await apart.serve(new URL(apart.rendezvous).host);
    await click(over, '[data-way="again"]');
    await alerted(over, "The room is not open");
    await there(over, '[data-way="again"]');
  } finally {
    await apart.close();
  }
});

test("a viewer without a place is told so until there is one", { timeout: 120_000 }, async () => {
  const full = await Room.open("--program", "320x180@15", "--k1", "1", "--mix", "never");
  try {
    full.start("mixer", full.invite);
    full.start("join", full.invite, "--speak", "--mix", "never", "--name", "Ada", "--speaker-size", "320x180@15");
    /** A viewer that feeds no others, as in browsers that can't. */
    const watching = async () => {
      const page = await full.screen();
      await there(page, '[data-act="watch"]');
      await page.evaluate(() => Reflect.deleteProperty(window, "MediaStreamTrackGenerator"));
      await act(page, "watch");
      return page;
    };
    const first = await watching();
    const shows = (page: Page) =>
      page.waitForFunction(() => (window.shown()?.videoWidth ?? 0) > 0, { timeout: 30_000 });
    await shows(first);
    const second = await watching();
    await says(second, "This room is full of viewers at the moment.");
    await full.closePage(first);
    await shows(second);
    await within("the notice ends", async () => !(await text(second))?.includes("full of viewers"));
  } finally {
    await full.close();
  }
});

test("viewers of a room without a mixer are told so until one comes", {
  timeout: 150_000,
}, async () => {
  const unmixed = await Room.open("--program", "320x180@15", "--mix", "never");
  try {
    const speaker = (name: string) =>
      unmixed.start(
        "join",
        unmixed.invite,
        "--speak",
        "--mix",
        "never",
        "--name",
        name,
        "--speaker-size",
        "320x180@15",
      );
    speaker("Ada");
    const page = await unmixed.screen({ query: "?auto=watch&name=Kim" });
    const shows = () => page.waitForFunction(() => (window.shown()?.videoWidth ?? 0) > 0, { timeout: 30_000 });
    await says(page, "have somebody start “plenary mixer” with the link");
    const mixer = unmixed.start("mixer", unmixed.invite);
    await shows();
    await within("the line ends", async () => !(await text(page))?.includes("plenary mixer"));
    await unmixed.kill(mixer);
    const isTold = () =>
      document.querySelector("plenary-room")?.shadowRoot?.textContent?.includes("Nobody here mixes at the moment") ??
      false;
    await page.waitForFunction(isTold, { timeout: 40_000, polling: 100 });
    const at = await page.evaluate(() => window.shown()?.currentTime ?? 0);
    unmixed.start("mixer", unmixed.invite);
    await page.waitForFunction(
      (at) => (window.shown()?.currentTime ?? 0) > at + 1,
      { timeout: 40_000, polling: 100 },
      at,
    );
    await within("the line ends", async () => !(await text(page))?.includes("Nobody here mixes"));
  } finally {
    await unmixed.close();
  }
});

test("without https a tab that loses its place to another one says so", {
  timeout: 90_000,
}, async () => {
  const mixed = await Room.open("--program", "320x180@15");
  try {
    mixed.addAda();
    const page = await mixed.screen({ isInsecure: true, query: "?auto=watch&name=Kim" });
    await live(page);
    // without https there are no locks
    await duplicate(page);
    await page.bringToFront();
    await alerted(page, "This room is open in another tab with the same identity");
    await there(page, '[data-way="rejoin"]');
  } finally {
    await mixed.close();
  }
});
