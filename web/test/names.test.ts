// Names that look alike, and who mixes: what a page shows of each peer, where guests may call themselves like the host.

import assert from "node:assert/strict";
import { env } from "node:process";
import { after, before, test } from "node:test";

import type { Page } from "puppeteer-core";

import { act, click, closeDialog, fill, inviteOf, live, there } from "./element.js";
import { Room, within } from "./room.js";

/** A name with markup, which stays text. */
const NAME = "Grace <b>H</b>";
const DIGITS = / \([0-9a-f]{8,}\)/;

let room: Room;

before(async () => {
  room = await Room.ofPages();
});
after(() => room.close());

const textsOf = (page: Page, selector: string) =>
  page.evaluate(
    (selector) =>
      [...(document.querySelector("plenary-room")?.shadowRoot?.querySelectorAll(selector) ?? [])].map(
        (one) => one.textContent?.replace(/\s+/g, " ").trim() ?? "",
      ),
    selector,
  );

/** What stands at the picture's edge: its text, whether it is seen whole, and the number of elements in it. */
const edge = (page: Page) =>
  page.evaluate(() => {
    const line = document
      .querySelector("plenary-room")
      ?.shadowRoot?.querySelector<HTMLElement>('[data-part="mixed-by"]');
    if (!line) return null;
    const box = line.getBoundingClientRect();
    const isSeen = line.checkVisibility() && box.width > 0 && box.bottom <= innerHeight && box.right <= innerWidth;
    return { text: line.textContent ?? "", isSeen, elements: line.childElementCount };
  });

const draw = async (page: Page, name: string) => {
  const folder = env["SCREENS"];
  if (folder) await page.screenshot({ path: `${folder}/${name}.png` });
};

test("a guest with the host's name is told apart wherever it is named", {
  timeout: 150_000,
}, async () => {
  const host = await room.screen({ rendezvous: room.rendezvous });
  await fill(host, "name", NAME);
  await act(host, "open");
  await there(host, "dialog.invite[open]");
  await closeDialog(host);
  const invite = await inviteOf(host);
  const mixer = room.start("mixer", invite, "--name", NAME);
  for (const name of ["Ada", "Ben"]) {
    room.start("join", invite, "--speak", "--mix", "never", "--name", name, "--speaker-size", "320x180@15");
  }
  // the edge of the picture
  const viewer = await room.screen({ invite, query: "?auto=watch&name=Zoe" });
  await live(viewer);
  await viewer.waitForFunction(() => (window.shown()?.videoWidth ?? 0) > 0, { timeout: 30_000 });
  const mixedBy = async (page: Page, is: (text: string) => boolean) => is((await edge(page))?.text ?? "");
  await within("the edge says who mixes", () => mixedBy(viewer, (text) => text.startsWith("Mixed by ")));
  const said = await edge(viewer);
  assert.ok(said);
  assert.match(said.text, new RegExp(`^Mixed by Grace <b>H</b>${DIGITS.source}, a guest$`));
  assert.deepEqual([said.isSeen, said.elements], [true, 0]);
  await draw(viewer, "edge");
  // members
  const guest = await room.screen({ invite });
  await fill(guest, "name", ` ${NAME.toLowerCase()}`);
  await act(guest, "join");
  await there(guest, ".preview video");
  await click(guest, '.wide [data-act="join"]');
  await live(guest);
  await act(host, "people");
  const stage = () => textsOf(host, ".people .who");
  await within("three have one name", async () => (await stage()).filter((who) => /^grace/i.test(who)).length === 3);
  const alike = (await stage()).filter((who) => /^grace/i.test(who));
  assert.ok(
    alike.every((who) => DIGITS.test(who)),
    alike.join(),
  );
  assert.equal(new Set(alike.map((who) => DIGITS.exec(who)?.[0])).size, 3, alike.join());
  const marked = await textsOf(host, ".people li:has(.rank) .who");
  assert.equal(marked.length, 1, marked.join());
  assert.match(marked[0] ?? "", /host you/);
  await draw(host, "people");
  // chat
  await act(guest, "chat");
  await fill(guest, "message", "I am the host");
  await guest.keyboard.press("Enter");
  await act(host, "chat");
  await there(host, ".message:not(.mine)");
  await fill(host, "message", "So am I");
  await host.keyboard.press("Enter");
  await there(guest, ".message:not(.mine)");
  const [[theirs], [mine]] = await Promise.all([
    textsOf(host, ".message:not(.mine) .by"),
    textsOf(guest, ".message:not(.mine) .by"),
  ]);
  assert.match(theirs ?? "", new RegExp(`^grace <b>h</b>${DIGITS.source} [0-9]`), "no mark");
  assert.match(mine ?? "", new RegExp(`^Grace <b>H</b>${DIGITS.source} host `));
  await draw(host, "chat");
  await draw(guest, "chat-guest");
  await room.closePage(guest);
  await viewer.setViewport({ width: 390, height: 844 });
  await draw(viewer, "phone");
  assert.ok((await edge(viewer))?.isSeen);
  // the host's tools
  await act(host, "host");
  await draw(host, "tools");
  await act(host, "mix-by-named");
  const policy = () => host.evaluate(() => window.plenary.snapshot().then((snapshot) => snapshot?.mix_policy));
  await within("named peers mix", async () => (await policy()) === "named");
  await act(host, "remove-unnamed");
  await act(host, "confirm");
  await room.whole(mixer);
  room.start("mixer", invite, "--name", "Mallory");
  await act(host, "people");
  await there(host, '[data-act="admit"]');
  const [waits] = await textsOf(host, ".wanted .who");
  assert.equal(waits, "Mallory offers to mix");
  await draw(host, "lobby");
  await act(host, "admit");
  await within("the named mixer is no guest", () => mixedBy(viewer, (text) => text === "Mixed by Mallory"));
  await draw(viewer, "named");
});
