// What is absent for a while: a tab that is hidden behind another one, a machine that sleeps, a microphone that is
// unplugged.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import type { Page } from "puppeteer-core";

import { sleepAll } from "./browsers.js";
import { act, alerted, click, fill, live, there } from "./element.js";
import { levelsAt } from "./figures.js";
import { snapshot, speakBy, speaker, watcher } from "./peers.js";
import { heard, Room } from "./room.js";
import { shownSince, sleep, smoothness, watchFor } from "./shown.js";
import { noSoundServer, SoundServer } from "./sound-server.js";

const FPS = 15;
/**
 * Pitch of Ada's tone, and of the browser's false voice, in hertz, far enough from each other; level that is heard, in
 * decibels.
 */
const [ADA_HZ, VOICE_HZ, HEARD_DB] = [300, 700, -55];
/** Time for which a tab is hidden, and a machine sleeps, in milliseconds. */
const [HIDDEN_MS, SLEEP_MS] = [20_000, 40_000];
/** Time after which a hidden tab stops relaying, and in which its children have gone, in milliseconds. */
const [RELAYS_MS, SHED_MS_MAX] = [10_000, 12_000];
/**
 * Time until the first picture of a tab that is in front again, and until all is well after a sleep, in milliseconds.
 */
const [FRONT_MS_MAX, AWAKE_MS_MAX] = [1000, 15_000];
const GAP_MS_MAX = 1200;
/**
 * Time until the page tells that a microphone is gone, and until another one is heard, in milliseconds: the page lists
 * devices every three seconds, and listening to two of them takes four.
 */
const [TOLD_MS_MAX, HEARD_MS_MAX] = [6000, 6000];

let room: Room;

before(async () => {
  // two viewers below the mixer: others are fed by pages
  room = await Room.withAda("--k1", "2", "--k", "3");
});

after(() => room.close());

/** Waits until something holds; returns after how long, in milliseconds. */
async function until(what: string, withinMs: number, isSo: () => Promise<boolean>): Promise<number> {
  const fromMs = Date.now();
  while (!(await isSo())) {
    assert.ok(Date.now() - fromMs < withinMs, `${what}: not within ${withinMs} ms`);
    await sleep(100);
  }
  return Date.now() - fromMs;
}

/** Puts another tab in front of a page. */
async function hide(page: Page): Promise<void> {
  const other = await page.browser().newPage();
  await other.bringToFront();
  await until("the page is hidden", 5000, () => page.evaluate(() => document.hidden));
}

/** What a page has played so far of the sound that goes with its picture, in samples. */
const soundOf = (page: Page) =>
  page.evaluate(async () => {
    const [sum, stream] = [{ samples: 0, made: 0 }, window.shown()?.srcObject];
    const track = stream instanceof MediaStream ? stream.getAudioTracks()[0]?.id : undefined;
    for (const connection of window.connections) {
      if (connection.connectionState !== "connected") continue;
      (await connection.getStats()).forEach((stats) => {
        if (stats.type !== "inbound-rtp" || stats.kind !== "audio" || stats.trackIdentifier !== track) return;
        sum.samples += stats.totalSamplesReceived ?? 0;
        // in place of what is missing
        sum.made += (stats.concealedSamples ?? 0) - (stats.silentConcealedSamples ?? 0);
      });
    }
    return sum;
  });

const originOf = (page: Page) => page.evaluate(() => performance.timeOrigin);

/** When pictures came steadily again: the first one after which two seconds have no wait that is felt. */
function steadyFrom(shownMs: readonly number[]): number | undefined {
  const spanMs = 2000;
  return shownMs.find((fromMs) => {
    const { pictures, longestMs } = smoothness(shownMs, fromMs, fromMs + spanMs);
    return pictures >= (0.8 * FPS * spanMs) / 1000 && longestMs < 500;
  });
}

/** Waits until pictures come steadily again after a time; returns how long after it that began, in milliseconds. */
async function untilSteady(page: Page, fromMs: number, withinMs: number): Promise<number> {
  let steadyMs: number | undefined;
  await until("pictures come steadily", withinMs, async () => {
    steadyMs = steadyFrom(await shownSince(page, fromMs));
    return steadyMs !== undefined;
  });
  return Math.round((steadyMs ?? Infinity) - fromMs);
}

test("a hidden tab goes on hearing and shows pictures soon after it returns", {
  timeout: 120_000,
}, async (t) => {
  const page = await watcher(room, "Web", { slowsHidden: true });
  await page.evaluate(() => window.room.unmute());
  await sleep(10_000);
  await hide(page);
  const [hiddenMs, begin, sound] = [Date.now(), await snapshot(page), await soundOf(page)];
  await sleep(HIDDEN_MS);
  const [end, later] = [await snapshot(page), await soundOf(page)];
  const seconds = (Date.now() - hiddenMs) / 1000;
  const { others } = await heard(page);
  const [got, expected] = [end.frames_received - begin.frames_received, end.frames_expected - begin.frames_expected];
  const [samples, made] = [later.samples - sound.samples, later.made - sound.made];
  const shown = (await shownSince(page, hiddenMs + 1000)).length;
  const frontMs = Date.now();
  await page.bringToFront();
  let first: number | undefined;
  await until("a picture is shown", 10_000, async () => ([first] = await shownSince(page, frontMs)).length > 0);
  const tookMs = Math.round((first ?? Infinity) - frontMs);
  const figures = `hidden for ${seconds.toFixed(1)} s: ${(samples / 48_000).toFixed(1)} s of sound, ${((100 * made) / samples).toFixed(1)} % of it made up, \
Ada at ${Math.round(others)} dB, ${got} of ${expected} pictures received, ${shown} shown; in front again, the first after ${tookMs} ms`;
  t.diagnostic(figures);
  assert.ok(samples >= 0.95 * 48_000 * seconds && made <= 0.05 * samples && others > HEARD_DB, figures);
  assert.ok(got >= 0.98 * expected && got >= 0.95 * FPS * seconds, figures);
  assert.ok(tookMs <= FRONT_MS_MAX, figures);
  await untilSteady(page, frontMs, 10_000);
  await room.closePages();
});

test("a tab that relays sheds its children only when it stays hidden", {
  timeout: 180_000,
}, async (t) => {
  const pages: Page[] = [];
  for (let at = 1; at <= 3; at++) pages.push(await watcher(room, `Web ${at}`, { slowsHidden: true }));
  const feeding = async () => {
    const seen = await Promise.all(pages.map(async (page) => ({ page, ...(await snapshot(page)) })));
    const parent = seen.find(({ children }) => seen.some(({ peer }) => children.includes(peer)));
    return { parent, below: seen.filter(({ peer }) => parent?.children.includes(peer)) };
  };
  await until("a page is below a page", 60_000, async () => (await feeding()).parent !== undefined);
  await sleep(15_000);
  const { parent, below } = await feeding();
  assert.ok(parent && below.length > 0, "a page is below a page");
  const children = async () => (await snapshot(parent.page)).children;
  await hide(parent.page);
  await sleep(RELAYS_MS / 2);
  await parent.page.bringToFront();
  await sleep(RELAYS_MS);
  assert.deepEqual(await children(), parent.children, "after a glance elsewhere");

  const hiddenMs = Date.now();
  await hide(parent.page);
  const shedMs = await until("no children", RELAYS_MS + SHED_MS_MAX, async () => (await children()).length === 0);
  await sleep(hiddenMs + RELAYS_MS + SHED_MS_MAX - Date.now());
  const toMs = Date.now();
  for (const { page, peer } of below) {
    const seen = smoothness(await shownSince(page, hiddenMs), hiddenMs, toMs);
    const now = await snapshot(page);
    const figures = `no children ${shedMs} ms after it was hidden; a child: ${seen.pictures} pictures in ${toMs - hiddenMs} ms, longest wait ${seen.longestMs} ms, depth ${now.depth}`;
    t.diagnostic(figures);
    assert.ok(shedMs >= RELAYS_MS - 1000, figures);
    assert.ok(now.parent !== null && now.parent !== parent.peer && now.peer === peer, figures);
    assert.ok(seen.longestMs <= GAP_MS_MAX && seen.pictures >= (0.9 * FPS * (toMs - hiddenMs)) / 1000, figures);
  }
  assert.equal((await snapshot(parent.page)).connection, "connected");
  await room.closePages();
});

test("tabs of a machine that slept come back by themselves", {
  timeout: 240_000,
}, async (t) => {
  const awake = await watcher(room, "Awake");
  const asleep = { watching: await watcher(room, "Dora"), speaking: await speaker(room, "Eve", { hz: VOICE_HZ }) };
  const both = [asleep.watching, asleep.speaking];
  const level = async (page: Page, hz: number) => (await levelsAt(page, [hz]))[0] ?? -200;
  const hears = async (page: Page, hz: number) => (await level(page, hz)) > HEARD_DB;
  const eve = async () => (await snapshot(awake)).stage.find(({ name }) => name === "Eve");
  await until("the speaker is heard", 30_000, () => hears(awake, VOICE_HZ));
  await sleep(10_000);
  const loudness = await level(awake, VOICE_HZ);
  const before = await Promise.all(
    both.map(async (page) => ({ origin: await originOf(page), peer: (await snapshot(page)).peer })),
  );
  const connections = () => Promise.all(both.map((page) => page.evaluate(() => window.connections.length)));
  const linked = await connections();
  const slept = sleepAll(
    both.map((page) => page.browser()),
    SLEEP_MS,
  );
  await sleep(SLEEP_MS / 2);
  const [during, silence] = [await eve(), await level(awake, VOICE_HZ)];
  await slept;
  assert.ok(
    silence < HEARD_DB && (!during || during.away),
    `while it sleeps the speaker is away: ${JSON.stringify(during)}, ${silence} dB after ${loudness} dB`,
  );

  const fromMs = Date.now();
  const voice = until("the speaker is heard again", AWAKE_MS_MAX, () => hears(awake, VOICE_HZ));
  const steadyMs = await Promise.all(both.map((page) => untilSteady(page, fromMs, AWAKE_MS_MAX + 2000)));
  const adaMs = await until("Ada is heard again", AWAKE_MS_MAX, () => hears(asleep.watching, ADA_HZ)).then(
    () => Date.now() - fromMs,
  );
  const anew = (await connections()).map((now, at) => now - (linked[at] ?? 0));
  const figures = `the speaker at ${Math.round(loudness)} dB, asleep at ${Math.round(silence)} dB; after ${SLEEP_MS} ms of sleep pictures came steadily ${steadyMs} ms later at the tab that watches and that speaks; \
the others heard the speaker after ${await voice} ms at most, the tab that watches heard Ada after ${adaMs} ms at most; new connections ${anew}`;
  t.diagnostic(figures);
  assert.ok(
    steadyMs.every((ms) => ms <= AWAKE_MS_MAX),
    figures,
  );
  await until("the speaker is on stage", AWAKE_MS_MAX, async () => (await eve())?.away === false);
  for (const [at, page] of both.entries()) {
    const { connection, peer } = await snapshot(page);
    assert.deepEqual(
      { connection, peer, origin: await originOf(page) },
      { connection: "connected", ...before[at] },
      "the same peer, and no reload",
    );
  }
  await sleep(10_000);
  // what came back stays
  const seen = await Promise.all(both.map((page) => watchFor(page, 5000)));
  for (const { pictures, longestMs } of seen)
    assert.ok(pictures >= 0.9 * FPS * 5 && longestMs <= GAP_MS_MAX, JSON.stringify(seen));
  assert.ok(await hears(awake, VOICE_HZ), "the speaker is still heard");
  await room.closePages();
});

test("a microphone that is unplugged is told with a way to another one", {
  skip: noSoundServer ?? false,
  timeout: 180_000,
}, async (t) => {
  const [firstHz, secondHz] = [440, 660];
  const server = await SoundServer.up();
  try {
    const unplug = server.plug(firstHz);
    server.plug(secondHz);
    const others = await watcher(room, "Web");
    const page = await room.screen({ query: "?name=Eve", soundServer: server.address });
    // a hum is what the cleaning of the sound removes
    await page.evaluate(() =>
      localStorage.setItem("plenary-choices", JSON.stringify({ echo: false, noise: false, gain: false })),
    );
    await page.reload();
    await act(page, "join");
    await there(page, ".preview");
    await choose(page, firstHz);
    await click(page, '.wide [data-act="join"]');
    await live(page);
    /** Waits until the others hear one of the two hums, and not the other one. */
    const heardByOthers = (hz: number, not: number) =>
      until(`a hum of ${hz} Hz`, 20_000, async () => {
        const [is = -200, isNot = -200] = await levelsAt(others, [hz, not]);
        return is > HEARD_DB && isNot < is - 20;
      });
    await heardByOthers(firstHz, secondHz);

    const unpluggedMs = Date.now();
    unplug();
    await alerted(page, "The microphone was unplugged");
    const toldMs = Date.now() - unpluggedMs;
    await until("nothing of it is heard", 10_000, async () => ((await levelsAt(others, [firstHz]))[0] ?? 0) < HEARD_DB);
    const [ada = -200] = await levelsAt(page, [ADA_HZ]);
    await click(page, '[data-way="settings"]');
    await there(page, "dialog.settings[open]");
    const chosenMs = Date.now();
    await choose(page, secondHz);
    await heardByOthers(secondHz, firstHz);
    const heardMs = Date.now() - chosenMs;
    const figures = `told ${toldMs} ms after it was unplugged; the page hears Ada at ${Math.round(ada)} dB; the other microphone was heard ${heardMs} ms after it was chosen`;
    t.diagnostic(figures);
    assert.ok(toldMs <= TOLD_MS_MAX && heardMs <= HEARD_MS_MAX && ada > HEARD_DB, figures);
    await page.keyboard.press("Escape");
    await there(page, '.control[data-act="mute"]:not(.off)');
  } finally {
    await room.closePages();
    await server.down();
  }
});

/** Chooses a microphone of the sound server by its hum. */
async function choose(page: Page, hz: number): Promise<void> {
  const found = () =>
    page.evaluate((hz) => {
      const options = document
        .querySelector("plenary-room")
        ?.shadowRoot?.querySelectorAll<HTMLOptionElement>('[data-field="microphone"] option');
      return [...(options ?? [])].find(({ text }) => text.includes(`${hz} Hz`))?.value ?? "";
    }, hz);
  await until(`a microphone that hums at ${hz} Hz`, 10_000, async () => (await found()) !== "");
  await fill(page, "microphone", await found());
}

test("a tab that opened a room of pages and slept takes it back", {
  timeout: 180_000,
}, async (t) => {
  const pages = await Room.ofPages();
  try {
    const [host, ...others] = await Promise.all([pages.page(), pages.page(), pages.page()]);
    assert.ok(host);
    await speakBy(host, { rendezvous: pages.rendezvous, name: "Grace" });
    const invite = await host.evaluate(() => window.room.invite ?? "");
    for (const page of others) await speakBy(page, { invite, name: "Guest" });
    const opener = (await snapshot(host)).peer;
    /** Whether all have this one as host, nobody as away, and pictures of each other. */
    const isWhole = async () => {
      const all = await Promise.all([host, ...others].map(snapshot));
      const shown = await Promise.all(
        [host, ...others].map((page) =>
          page.evaluate(() => window.room.picture.querySelectorAll("[data-speaker] video").length),
        ),
      );
      return (
        all.every((now) => now.host === opener && now.stage.length === 3 && now.stage.every(({ away }) => !away)) &&
        shown.every((count) => count === 2)
      );
    };
    await until("the room is whole", 20_000, isWhole);
    const asleep = sleepAll([host.browser()], SLEEP_MS);
    await until("another host", SLEEP_MS, async () => {
      const all = await Promise.all(others.map(snapshot));
      return all.every((now) => now.host !== opener && now.host === all[0]?.host);
    });
    await asleep;
    t.diagnostic(`whole again ${await until("the room is whole again", 40_000, isWhole)} ms after waking`);
  } finally {
    await pages.close();
  }
});
