// The page as a user meets it: every screen, by keyboard, and what it says when something is in the way.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { after, afterEach, before, test } from "node:test";

import type axe from "axe-core";
import type { ElementHandle, KeyInput, Page } from "puppeteer-core";

import {
  act,
  alerted,
  click,
  closeDialog,
  duplicate,
  fill,
  focused,
  inviteOf,
  live,
  reads,
  tabTo,
  text,
  there,
} from "./element.js";
import { AUTO_SPEAK, Room, within } from "./room.js";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

let room: Room;

before(async () => {
  room = await Room.withAda("--title", "Monday");
});

// pages that stay open take the machine's time from the next ones
afterEach(() => room.closePages());
after(() => room.close());

const peer = (page: Page) => page.evaluate(() => window.plenary.snapshot().then((snapshot) => snapshot?.peer ?? ""));

/** Fails if axe finds something serious on the page as it is, or something is wider than the screen. */
async function clean(page: Page, name: string): Promise<void> {
  const isLoaded = await page.evaluate(() => "axe" in window);
  if (!isLoaded) await page.evaluate(AXE);
  const found = await page.evaluate(async () => {
    const { violations } = await (window as unknown as { axe: typeof axe }).axe.run();
    const is = ({ impact }: axe.Result) => impact === "serious" || impact === "critical";
    return violations.filter(is).map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(" ")}`);
  });
  assert.deepEqual(found, [], name);
  const small = await page.evaluate(() => {
    const root = document.querySelector("plenary-room")?.shadowRoot;
    const all = [
      ...(root?.querySelectorAll<HTMLElement>("button, select, input:not(.unseen), summary, label.item") ?? []),
    ];
    return all
      .filter((one) => one.checkVisibility() && !one.closest("label.switch"))
      .map((one) => ({ is: one.dataset["act"] ?? one.textContent, box: one.getBoundingClientRect() }))
      .filter(({ box }) => box.height < 43.5 || box.width < 43.5 || box.left < -1 || box.right > innerWidth + 1)
      .map(({ is, box }) => `${is?.trim()}: ${box.width} x ${box.height} at ${box.left}`);
  });
  assert.deepEqual(small, [], `${name}: targets`);
}

test("a speaker goes all the way by keyboard, and no screen has a barrier", { timeout: 90_000 }, async () => {
  const page = await room.screen({ size: { width: 360, height: 740 } });
  await there(page, '[data-act="join"]');
  await clean(page, "entrance");
  await tabTo(page, "name");
  await page.keyboard.type("Eve");
  await tabTo(page, "join");
  await page.keyboard.press("Enter");
  await there(page, ".preview video");
  assert.equal(await focused(page), "Ready to join?");
  await clean(page, "pre-join");
  await tabTo(page, "join");
  await page.keyboard.press("Enter");
  await live(page);
  await page.waitForFunction(() => (window.shown()?.videoWidth ?? 0) > 0, { timeout: 20_000 });
  await clean(page, "room of a speaker");
  const pressed = async (key: KeyInput, selector: string) => {
    await page.keyboard.press(key);
    await there(page, selector);
  };
  await pressed("m", '.control.off[data-act="mute"]');
  // held, the space bar talks
  await page.keyboard.down("Space");
  await there(page, '.control[data-act="mute"]:not(.off)');
  await page.keyboard.up("Space");
  await there(page, '.control.off[data-act="mute"]');
  await pressed("v", '.control.off[data-act="camera"]');
  await pressed("v", '.control[data-act="camera"]:not(.off)');
  await pressed("l", ".panel.people");
  await there(page, ".people li:nth-child(3)");
  await clean(page, "people");
  await pressed("p", ".panel.connection");
  assert.equal(await focused(page), "Connection");
  await clean(page, "connection");
  await pressed("c", ".panel.chat");
  assert.equal(await focused(page), "message");
  await page.keyboard.type("mvs <b>hello</b>");
  await page.keyboard.press("Enter");
  await there(page, ".message.mine");
  const said = await page.evaluate(
    () => document.querySelector("plenary-room")?.shadowRoot?.querySelector(".message .text")?.textContent,
  );
  assert.equal(said, "mvs <b>hello</b>");
  await clean(page, "chat");
  await page.keyboard.press("Escape");
  // the focus is where it was before the key, and the space bar talks
  assert.equal(await focused(page), "Monday");
  await page.keyboard.down("Space");
  await there(page, '.control[data-act="mute"]:not(.off)');
  await page.keyboard.up("Space");
  await tabTo(page, "chat");
  await pressed("Enter", ".panel.chat");
  await page.keyboard.press("Escape");
  assert.equal(await focused(page), "chat");
  await pressed("?", "dialog.shortcuts[open]");
  await clean(page, "shortcuts");
  await closeDialog(page);
  // the focus goes back to what had it
  assert.equal(await focused(page), "chat");
  await tabTo(page, "more");
  await page.keyboard.press("Enter");
  await there(page, "dialog.more[open]");
  await clean(page, "more");
  await tabTo(page, "settings");
  await page.keyboard.press("Enter");
  await there(page, "dialog.settings[open]");
  await clean(page, "settings");
  await tabTo(page, "close");
  await page.keyboard.press("Enter");
  assert.equal(await focused(page), "more");
  await tabTo(page, "leave");
  await page.keyboard.press("Enter");
  await alerted(page, "You have left the room.");
  await clean(page, "end");
  // what was muted in the room says nothing about the next visit
  await click(page, '[data-way="rejoin"]');
  await act(page, "join");
  await there(page, '.preview [data-act="mute"]:not(.off)');
});

test("devices are changed, unplugged and shared in the room", { timeout: 90_000 }, async () => {
  const page = await room.screen({ query: "?name=Ida" });
  await act(page, "join");
  await there(page, ".preview video");
  await click(page, '.wide [data-act="join"]');
  await live(page);
  /** Waits until a picture of this name is sent. */
  const sends = (is: string) =>
    page.waitForFunction(
      (is) =>
        window.connections
          .filter(({ connectionState }) => connectionState === "connected")
          .flatMap((connection) => connection.getSenders())
          .some(({ track }) => track?.kind === "video" && track.label.includes(is)),
      { timeout: 20_000 },
      is,
    );
  const shares = (is: boolean) =>
    page.waitForFunction(
      (is) =>
        window.plenary
          .snapshot()
          .then((snapshot) => snapshot?.stage.some((one) => one.name === "Ida" && one.shares === is)),
      { timeout: 20_000 },
      is,
    );
  await sends("fake_device_0");
  const flickers = await page.evaluate(async () => {
    let count = 0;
    const self = document.querySelector("plenary-room")?.shadowRoot?.querySelector("video.self");
    self?.addEventListener("emptied", () => (count += 1));
    await new Promise((resolve) => setTimeout(resolve, 3000));
    return self ? count : -1;
  });
  assert.equal(flickers, 0, "the own picture goes on while the page changes");
  await act(page, "more");
  await act(page, "settings");
  await there(page, "dialog.settings[open]");
  const second = await page.evaluate(() => {
    const root = document.querySelector("plenary-room")?.shadowRoot;
    const options = [...(root?.querySelectorAll<HTMLOptionElement>('[data-field="camera"] option') ?? [])];
    return options.find(({ text }) => text.includes("fake_device_1"))?.value ?? "";
  });
  assert.notEqual(second, "");
  await fill(page, "camera", second);
  await sends("fake_device_1");
  await closeDialog(page);
  // the browser's own notice of a device that is gone
  await page.evaluate(() => {
    const self = document.querySelector("plenary-room")?.shadowRoot?.querySelector<HTMLVideoElement>("video.self");
    if (self?.srcObject instanceof MediaStream) self.srcObject.getVideoTracks()[0]?.dispatchEvent(new Event("ended"));
  });
  await alerted(page, "The camera was unplugged");
  await page.keyboard.press("v");
  await sends("fake_device");
  await within("the notice ends", async () => !(await reads(page, "was unplugged")));
  await act(page, "more");
  await act(page, "settings");
  await there(page, "dialog.settings[open]");
  await page.evaluate(() => {
    const root = document.querySelector("plenary-room")?.shadowRoot;
    const self = root?.querySelector<HTMLVideoElement>("video.self");
    const level = root?.querySelector<HTMLElement & { track: MediaStreamTrack | null }>("plenary-level");
    level?.track?.dispatchEvent(new Event("ended"));
    if (self?.srcObject instanceof MediaStream) self.srcObject.getVideoTracks()[0]?.dispatchEvent(new Event("ended"));
  });
  await alerted(page, "Camera and microphone were unplugged");
  await closeDialog(page);
  await page.keyboard.press("v");
  await page.keyboard.press("m");
  await page.keyboard.press("m");
  await sends("fake_device");
  await page.keyboard.press("s");
  await shares(true);
  await page.keyboard.press("s");
  await shares(false);
  await act(page, "more");
  await there(page, "[data-field=film]");
  const input = await page.$(">>> [data-field=film]");
  await (input as ElementHandle<HTMLInputElement>).uploadFile(room.film());
  await shares(true);
  // it ends by itself
  await shares(false);
  await sends("fake_device");
});

test("a reload is the same peer, and a duplicated tab is another one", { timeout: 60_000 }, async () => {
  const page = await room.screen({ query: "?auto=watch&name=Zoe" });
  await live(page);
  await clean(page, "room of a viewer");
  const first = await peer(page);
  await page.reload();
  await live(page);
  assert.equal(await peer(page), first);
  const copy = await duplicate(page);
  await live(copy);
  assert.notEqual(await peer(copy), first);
  assert.equal(await peer(page), first);
});

test("a page says what is in the way, and where to go from there", { timeout: 60_000 }, async () => {
  const denied = await room.screen({ devices: "denied" });
  await act(denied, "join");
  await alerted(denied, "was not allowed to use camera and microphone");
  await clean(denied, "refusal");
  await act(denied, "watch");
  await live(denied);
  const voice = await room.screen({ devices: "no-camera" });
  await act(voice, "join");
  await there(voice, ".preview");
  assert.match((await text(voice)) ?? "", /not allowed to use the camera: the others hear you/);
  await clean(voice, "without a camera");
  await click(voice, '.wide [data-act="join"]');
  await live(voice);
  await there(voice, '.bar .control[data-act="mute"]:not(.off)');
  await there(voice, '.bar .control.off[data-act="camera"]');
  await act(voice, "camera");
  await alerted(voice, "not allowed to use the camera");
  const none = await room.screen({ devices: "none" });
  await act(none, "join");
  await alerted(none, "No camera and no microphone was found");
  await there(none, '[data-way="again"]');
  const linkless = await room.screen({ invite: "" });
  await there(linkless, '[data-act="open"]');
  await clean(linkless, "form for a new room");
  await act(linkless, "to-link");
  await fill(linkless, "link", "https://example.org/");
  await act(linkless, "watch");
  await alerted(linkless, "This is no link to a room");
});

test("without https a page offers to watch, and says why not more", { timeout: 60_000 }, async () => {
  const page = await room.screen({ isInsecure: true });
  await there(page, '[data-act="watch"]');
  assert.match((await text(page)) ?? "", /only to pages with https/);
  assert.equal(await page.$('>>> [data-act="join"]'), null);
  await act(page, "watch");
  await live(page);
  await page.waitForFunction(() => (window.shown()?.videoWidth ?? 0) > 0, { timeout: 20_000 });
});

test("the room outlives the element's place in the document", {
  timeout: 60_000,
}, async () => {
  const page = await room.screen({ query: "?name=Uma" });
  await page.evaluate(() => {
    window.events = [];
    addEventListener("plenary", (event) => window.events.push((event as CustomEvent).detail));
  });
  await act(page, "watch");
  await live(page);
  await page.waitForFunction(() => (window.shown()?.videoWidth ?? 0) > 0, { timeout: 20_000 });
  assert.ok(
    await page.evaluate(() =>
      window.events.some((event) => event.what === "connection" && event.state === "connected"),
    ),
  );
  await page.evaluate(async () => {
    const element = document.querySelector("plenary-room");
    element?.remove();
    await new Promise((resolve) => setTimeout(resolve, 500));
    if (element) document.body.append(element);
  });
  await live(page);
  const plays = () => {
    const video = window.shown();
    return video !== undefined && !video.paused && video.currentTime;
  };
  const at = await page.evaluate(plays);
  await page.waitForFunction((at) => (window.shown()?.currentTime ?? 0) > at + 1, { timeout: 10_000 }, Number(at));
  await page.evaluate(() => {
    const element = document.querySelector("plenary-room");
    if (element && "leave" in element && typeof element.leave === "function") element.leave();
  });
  await alerted(page, "You have left the room.");
});

test("a viewer that closes the dialog of the stage stays off stage", {
  timeout: 60_000,
}, async () => {
  const page = await room.screen({ query: "?auto=watch&name=Kim" });
  await live(page);
  await act(page, "hand");
  await there(page, "dialog.stage[open] .preview video");
  const track = await page.evaluateHandle(() => {
    const preview = document
      .querySelector("plenary-room")
      ?.shadowRoot?.querySelector<HTMLVideoElement>(".preview video");
    return preview?.srcObject instanceof MediaStream ? preview.srcObject.getVideoTracks()[0] : undefined;
  });
  assert.equal(await page.evaluate((track) => track?.readyState, track), "live");
  await click(page, '.preview [data-act="mute"]');
  await there(page, '.preview .off[data-act="mute"]');
  await closeDialog(page);
  assert.equal(await page.evaluate((track) => track?.readyState, track), "ended");
  assert.equal(await page.$('>>> .bar [data-act="mute"]'), null);
  assert.equal(await page.$(">>> video.self"), null);
  const isOn = () => JSON.parse(localStorage.getItem("plenary-choices") ?? "{}").isMicrophoneOn as unknown;
  assert.equal(await page.evaluate(isOn), true);
  await act(page, "hand");
  await act(page, "go-on-stage");
  await there(page, '.bar [data-act="mute"]');
  await page.waitForFunction(() => window.plenary.snapshot().then((snapshot) => snapshot?.speaks), { timeout: 20_000 });
});

test("another link in the address counts, in a room only after a question", { timeout: 60_000 }, async () => {
  const page = await room.screen({ invite: "" });
  await there(page, '[data-act="to-link"]');
  const follow = async (link: string) => {
    await page.evaluate((link) => void (location.hash = link), link);
    await page.waitForFunction(() => location.hash === "");
  };
  const kept = () => page.evaluate(() => sessionStorage.getItem("plenary-invite"));
  const [first, second] = [`#first${"-".repeat(120)}`, `#second${"-".repeat(120)}`];
  await follow(first);
  await there(page, '[data-act="join"]');
  assert.ok((await kept())?.endsWith(first));
  await act(page, "watch");
  await alerted(page, "no link");
  await page.evaluate(() => sessionStorage.clear());
  await page.reload();
  await act(page, "to-link");
  await fill(page, "link", room.invite);
  await act(page, "watch");
  await live(page);
  await follow(second);
  await there(page, "dialog.confirm[open]");
  await act(page, "cancel");
  await live(page);
  await follow(second);
  await act(page, "confirm");
  await there(page, '[data-act="join"]');
  assert.ok((await kept())?.endsWith(second));
});

test("the application's own fragment and the state of its history stay", {
  timeout: 60_000,
}, async () => {
  const page = await room.screen({ invite: "" });
  await there(page, '[data-act="to-link"]');
  const at = () => page.evaluate(() => [location.hash, JSON.stringify(history.state)]);
  const visit = async (fragment: string) => {
    await page.evaluate((fragment) => void (location.hash = fragment), fragment);
    await page.evaluate(() => history.replaceState({ scroll: 7 }, ""));
    await page.reload();
    await there(page, "[data-focus]");
  };
  const routes = ["#/meet", "#about", `#/meet/${"a".repeat(200)}`, `#state=${"a".repeat(200)}`];
  for (const route of routes) {
    await visit(route);
    assert.deepEqual(await at(), [route, '{"scroll":7}']);
    assert.ok(await page.$('>>> [data-act="to-link"]'), `${route} is no link to a room`);
  }
  await visit(new URL(room.invite).hash);
  assert.deepEqual(await at(), ["", '{"scroll":7}']);
  await there(page, '[data-act="join"]');
});

test("a message leaves a reader of older ones where it is", { timeout: 60_000 }, async () => {
  const page = await room.screen({ query: "?name=Tim&auto=speak", head: AUTO_SPEAK });
  await live(page);
  await there(page, '.bar [data-act="mute"]');
  const other = await room.screen({ query: "?name=Tom&auto=speak", head: AUTO_SPEAK });
  await live(other);
  await act(page, "chat");
  await act(other, "chat");
  const say = async (from: Page, text: string) => {
    await fill(from, "message", text);
    await from.keyboard.press("Enter");
  };
  for (let at = 0; at < 12; at++) await say(page, `line ${at}`);
  const top = () =>
    page.evaluate(
      () => document.querySelector("plenary-room")?.shadowRoot?.querySelector(".messages")?.scrollTop ?? -1,
    );
  const count = (count: number) =>
    page.waitForFunction(
      (count) => document.querySelector("plenary-room")?.shadowRoot?.querySelectorAll(".message").length === count,
      { timeout: 20_000 },
      count,
    );
  assert.ok((await top()) > 0, "the own messages scroll");
  await page.evaluate(() =>
    document.querySelector("plenary-room")?.shadowRoot?.querySelector(".messages")?.scrollTo({ top: 0 }),
  );
  await say(other, "hello");
  await count(13);
  assert.equal(await top(), 0);
  await say(page, "hello");
  await count(14);
  assert.ok((await top()) > 0);
});

test("a viewer sees one speaker alone, and the whole room again", { timeout: 60_000 }, async () => {
  const page = await room.screen({ query: "?auto=watch&name=Pia" });
  await page.waitForFunction(() => (window.shown()?.videoWidth ?? 0) > 0, { timeout: 20_000 });
  await page.evaluate(() => {
    window.events = [];
    addEventListener("plenary", (event) => window.events.push((event as CustomEvent).detail));
  });
  await act(page, "people");
  await act(page, "pin");
  await there(page, '[data-act="unpin"]');
  await page.waitForFunction(() => window.events.some((event) => event.what === "solo" && event.comes), {
    timeout: 20_000,
  });
  await there(page, "video[data-part=speaker], [data-speaker] video");
  await act(page, "unpin");
  await there(page, 'video[data-part="program"]');
});

test("a speaker of a mesh sees another one alone, and all again", { timeout: 90_000 }, async () => {
  const small = await Room.open("--mix", "never");
  try {
    for (const name of ["Ada", "Emmy"]) {
      small.start("join", small.invite, "--speak", "--mix", "never", "--name", name, "--speaker-size", "320x180@15");
    }
    const page = await small.screen({ query: "?auto=speak&name=Pia", head: AUTO_SPEAK });
    const seen = (count: number) =>
      page.waitForFunction(
        (count) => {
          const tiles = document.querySelector("plenary-room")?.shadowRoot?.querySelectorAll("[data-speaker]") ?? [];
          return tiles.length === 2 && [...tiles].filter((tile) => tile.checkVisibility()).length === count;
        },
        { timeout: 20_000 },
        count,
      );
    await seen(2);
    await act(page, "people");
    await act(page, "pin");
    await seen(1);
    await act(page, "unpin");
    await seen(2);
  } finally {
    await small.close();
  }
});

test("a page opens no camera by itself unless its host allows that", { timeout: 60_000 }, async () => {
  const page = await room.screen({ query: "?auto=speak&name=Mo" });
  await there(page, '[data-act="join"]');
  assert.match((await text(page)) ?? "", /only after a click/);
  const allowed = await room.screen({ query: "?auto=speak&name=Mo", head: AUTO_SPEAK });
  await live(allowed);
  await there(allowed, '[data-act="mute"]');
});

test("a room with a password and a lobby asks, waits, and tells how it ended", { timeout: 90_000 }, async () => {
  const small = await Room.open("--password", "rosebud", "--lobby");
  try {
    const page = await small.screen();
    await fill(page, "name", "Zoe");
    await act(page, "watch");
    await alerted(page, "has a password");
    assert.equal(await focused(page), "password");
    await page.keyboard.type("sledge");
    await act(page, "watch");
    await alerted(page, "was not the password");
    await page.keyboard.type("rosebud");
    await act(page, "watch");
    await there(page, ".waiting");
    await within("it waits for the host", () => reads(page, "The host will let you in"));
    await clean(page, "lobby");
    small.order("/admit Zoe");
    await live(page);
    small.order("/remove Zoe");
    await alerted(page, "The host has removed you");
    await there(page, '[data-way="open"]');
    const other = await small.screen();
    await fill(other, "name", "Max");
    await act(other, "watch");
    await alerted(other, "has a password");
    await fill(other, "password", "rosebud");
    await act(other, "watch");
    await there(other, ".waiting");
    await new Promise((resolve) => setTimeout(resolve, 1000));
    small.order("/admit Max");
    await live(other);
    small.order("/end");
    await alerted(other, "The host has ended the room.");
  } finally {
    await small.close();
  }
});

test("a speaker whose host has died is told so, not to wait for another way", { timeout: 60_000 }, async () => {
  const small = await Room.open("--name", "Grace");
  try {
    const page = await small.screen({ query: "?name=Max&auto=speak", head: AUTO_SPEAK });
    await live(page);
    await page.waitForFunction(
      () => window.plenary.snapshot().then((snapshot) => snapshot?.speaks && snapshot.stage.length === 2),
      { timeout: 20_000 },
    );
    await small.killHost();
    await within("the host is missed", () => reads(page, "Nothing comes from Grace, the host"));
    await clean(page, "without a host");
  } finally {
    await small.close();
  }
});

test("a page opens a room, admits, promotes and removes people, and ends it", {
  timeout: 120_000,
}, async () => {
  const process = room.start("rendezvous", "--listen", "127.0.0.1:0", ...(await room.embeds()));
  const rendezvous = (await room.line(process, (line) => line.includes("http"))).replace(/.*(http)/, "$1");
  const host = await room.screen({ invite: "", rendezvous });
  await fill(host, "title", "Garden club");
  await fill(host, "name", "Grace");
  await fill(host, "stage", "asked");
  await act(host, "lobby");
  await act(host, "open");
  await live(host);
  await there(host, "dialog.invite[open] .qr svg");
  await clean(host, "invite");
  const invite = await inviteOf(host);
  assert.ok(invite.startsWith(rendezvous), invite);
  const linked = () =>
    document.querySelector("plenary-room")?.shadowRoot?.querySelector<HTMLInputElement>('[data-field="invite"]')?.value;
  assert.equal(await host.evaluate(linked), invite);
  await closeDialog(host);
  await clean(host, "room of a host");
  const guest = await room.screen({ invite });
  await fill(guest, "name", "Hedy");
  await act(guest, "watch");
  // a knock is told at once, and leads to the list
  await click(host, '[data-way="people"]');
  await there(host, '[data-act="admit"]');
  await clean(host, "people of a host");
  await act(host, "admit");
  await there(guest, ".room");
  await act(guest, "hand");
  await there(host, '[data-act="promote"]');
  await act(host, "promote");
  await click(guest, '[data-way="stage"]');
  await there(guest, "dialog.stage[open] .preview video");
  await clean(guest, "going on stage");
  // a guest that stays off stage gives the floor back, and asks anew
  await closeDialog(guest);
  await host.waitForFunction(
    () => window.plenary.snapshot().then((snapshot) => snapshot?.directory.some(({ name }) => name === "Hedy")),
    { timeout: 20_000 },
  );
  await act(guest, "hand");
  await act(host, "promote");
  await click(guest, '[data-way="stage"]');
  await act(guest, "go-on-stage");
  await host.waitForFunction(
    () =>
      window.plenary
        .snapshot()
        .then((snapshot) => snapshot?.stage.some((one) => one.name === "Hedy" && one.speaks && !one.muted.picture)),
    { timeout: 20_000 },
  );
  // short texts, both ways
  await act(guest, "chat");
  await fill(guest, "message", "Good morning (https://example.org/agenda?day=1), all");
  await guest.keyboard.press("Enter");
  await there(host, '.control[data-act="chat"] .badge');
  await act(host, "chat");
  await there(host, '.message:not(.mine) a[href="https://example.org/agenda?day=1"]');
  await clean(host, "chat of a host");
  await act(host, "people");
  await click(host, ".row-more summary");
  await act(host, "demote");
  await alerted(guest, "The host has moved you to the audience");
  await there(guest, '.bar [data-act="hand"]');
  await act(host, "host");
  await act(host, "lock");
  await act(host, "lobby");
  await host.waitForFunction(() => window.plenary.snapshot().then((snapshot) => snapshot?.locked && !snapshot.lobby), {
    timeout: 10_000,
  });
  await clean(host, "tools of a host");
  const late = await room.screen({ invite });
  await act(late, "watch");
  await alerted(late, "The host has locked the room");
  // the page that opened the room goes on with it after a reload
  const before = await peer(host);
  await host.reload();
  await act(host, "open");
  await live(host);
  assert.equal(await peer(host), before);
  await host.waitForFunction(
    () =>
      window.plenary
        .snapshot()
        .then(
          (now) =>
            now?.host === now?.peer &&
            now?.locked &&
            !now.lobby &&
            !now.stage_open &&
            [...(now?.stage ?? []), ...(now?.directory ?? [])].some(({ name }) => name === "Hedy"),
        ),
    { timeout: 20_000 },
  );
  await act(host, "people");
  await click(host, '.people li [data-act="remove"]');
  await there(host, "dialog.confirm[open]");
  await clean(host, "question");
  assert.equal(await focused(host), "cancel");
  await act(host, "confirm");
  await alerted(guest, "The host has removed you");
  await act(host, "host");
  await act(host, "end");
  await act(host, "confirm");
  await alerted(host, "The host has ended the room.");
});
