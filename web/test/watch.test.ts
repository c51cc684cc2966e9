// A page in a room of native peers.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { act, fill, there } from "./element.js";
import { joinWith, Room } from "./room.js";
import { quantile } from "./shown.js";

let room: Room;

before(async () => {
  room = await Room.withAda();
});

after(() => room.close());

test("a page joins by the link, is fed, and shows all pictures", { timeout: 60_000 }, async () => {
  const page = await room.page();
  await joinWith(page, { invite: room.invite, name: "Web" });
  await page.waitForFunction(() => document.querySelector("video")?.videoWidth === 320, { timeout: 20_000 });
  const begin = await page.evaluate(() => window.room.snapshot());
  const lateMs: number[] = [];
  for (let at = 0; at < 5; at++) {
    await new Promise((resolve) => setTimeout(resolve, 1000));
    lateMs.push((await page.evaluate(() => window.room.snapshot())).late_ms);
  }
  const end = await page.evaluate(() => window.room.snapshot());
  const [received, expected] = [
    end.frames_received - begin.frames_received,
    end.frames_expected - begin.frames_expected,
  ];
  assert.ok(received >= 60 && received >= 0.99 * expected - 1, `${received} of ${expected} pictures`);
  // media that arrive don't put off the peer's timer, on a machine that is busy at times
  assert.ok(Math.min(...lateMs) < 100, `timers ${lateMs} ms late`);
  assert.equal(end.connection, "connected");
  assert.ok(end.parent !== null && end.depth === 1, JSON.stringify(end));
  assert.deepEqual(end.stage.map((member) => member.name).sort(), ["Ada", "host", "mixer"]);
  // the test source's row of cells, decoded and shown: white and black, and another a second later
  const cells = () =>
    page.evaluate(() => {
      const video = [...document.querySelectorAll("video")].find((video) => video.videoWidth > 0);
      const canvas = document.createElement("canvas");
      [canvas.width, canvas.height] = [320, 180];
      const context = canvas.getContext("2d");
      if (!video || !context) throw new Error("nothing is shown");
      context.drawImage(video, 0, 0, 320, 180);
      return Array.from({ length: 32 }, (_, at) => context.getImageData(at * 10 + 5, 6, 1, 1).data[0] ?? 0);
    });
  const first = await cells();
  await new Promise((resolve) => setTimeout(resolve, 1000));
  const second = await cells();
  assert.ok(
    first.every((value) => value < 70 || value > 180),
    `${first}`,
  );
  assert.notDeepEqual(first, second);
});

test("the link opens the host's page, whose element watches and leaves", {
  timeout: 60_000,
}, async () => {
  const page = await room.visit();
  assert.equal(new URL(page.url()).hash, "", "the secret has left the address");
  await fill(page, "name", "Zoë");
  await act(page, "watch");
  const live = () => window.plenary.snapshot().then((snapshot) => (snapshot?.frames_received ?? 0) > 15);
  await page.waitForFunction(live, { timeout: 20_000 });
  await page.reload();
  await act(page, "watch");
  await page.waitForFunction(live, { timeout: 20_000 });
  await act(page, "leave");
  const says = () => document.querySelector("plenary-room")?.shadowRoot?.querySelector('[role="alert"]')?.textContent;
  await page.waitForFunction(says, { timeout: 5000 });
  assert.equal(await page.evaluate(says), "You have left the room.");
});

test("the page is ready within a second and shows the program within another", { timeout: 60_000 }, async (t) => {
  const [readyMs, firstMs]: [number[], number[]] = [[], []];
  for (let at = 0; at < 5; at++) {
    const page = await room.visit();
    await there(page, '[data-act="watch"]');
    await page.waitForFunction(() => performance.getEntriesByName("first-contentful-paint").length > 0, {
      polling: 50,
    });
    readyMs.push(
      await page.evaluate(() => performance.getEntriesByName("first-contentful-paint")[0]?.startTime ?? Infinity),
    );
    const clickedMs = await page.evaluate(() => Date.now());
    await act(page, "watch");
    await page.waitForFunction(() => window.shownMs.length > 0, { timeout: 20_000, polling: 50 });
    firstMs.push(await page.evaluate((clickedMs) => (window.shownMs[0] ?? Infinity) - clickedMs, clickedMs));
    await room.closePage(page);
  }
  const said = `ready after ${readyMs.map(Math.round)} ms, first picture after ${firstMs.map(Math.round)} ms`;
  t.diagnostic(said);
  assert.ok(quantile(readyMs, 0.5) <= 1000 && quantile(firstMs, 0.5) <= 1000, said);
});

test("a page that may not come in is told why", { timeout: 30_000 }, async () => {
  const page = await room.page();
  const refused = (invite: string) =>
    joinWith(page, { invite }).then(
      () => "joined",
      (error: Error) => error.message,
    );
  assert.match(await refused("https://example.org/"), /invite/);
  assert.match(await refused(`${room.invite.slice(0, -3)}AAA`), /invite|damaged|character/);
});
