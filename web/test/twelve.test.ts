// A room of twelve peers, six of them tabs, in which peers of each kind come and go: in each minute a native speaker,
// the mixer, a native viewer, a speaking tab and a watching tab leave, and a new one comes in place of each. MINUTES
// sets how long.

import assert from "node:assert/strict";
import type { ChildProcess } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { env } from "node:process";
import { type TestContext, test } from "node:test";

import type { Page } from "puppeteer-core";

import { picturesAtMs } from "./figures.js";
import { snapshot, speak, watch } from "./peers.js";
import { Room } from "./room.js";
import { shownSince, sleep, smoothness } from "./shown.js";

const MINUTES = Number(env["MINUTES"] ?? 5);
const MINUTE_MS = 60_000;
const [FPS, SIZE] = [15, { width: 320, height: 180 }];
/** Time in which the room takes its shape, in milliseconds. */
const SETTLE_MS = 20_000;
/** Interval at which peers leave within a minute, in milliseconds. */
const LEAVE_MS = 9000;
/**
 * Smallest share of the pictures that have numbers, and of those that the room's rate makes: a mixer that leaves may
 * owe some.
 */
const [SHARE_MIN, RATE_MIN] = [0.98, 0.95];
/** Longest wait between two pictures that a tab shows, in milliseconds. */
const GAP_MS_MAX = 1200;

interface Native {
  name: string;
  process: ChildProcess;
  report: Promise<string>;
  recording: string | null;
}

interface Tab {
  name: string;
  page: Page;
  sinceMs: number;
  /** When the document began: another one after a reload. */
  origin: number;
}

const originOf = (page: Page) => page.evaluate(() => performance.timeOrigin);

/** Peers of the room by kind, the oldest first, and what failed. */
class Crowd {
  readonly mixers: Native[] = [];
  readonly nativeSpeakers: Native[] = [];
  readonly nativeViewers: Native[] = [];
  readonly speakers: Tab[] = [];
  readonly watchers: Tab[] = [];
  readonly failures: string[] = [];
  #count = 0;
  /**
   * Empty tabs for peers that come later: the start of a browser would take the time of this machine from the others.
   */
  readonly #empty: Page[] = [];

  constructor(
    private readonly room: Room,
    private readonly t: TestContext,
  ) {}

  get tabs(): Tab[] {
    return [...this.speakers, ...this.watchers];
  }

  addNative(to: Native[], command: "mixer" | "join", ...args: string[]): void {
    this.#count += 1;
    const name = `${command}-${this.#count}`;
    const recording = command === "join" ? this.room.file(`${name}.mp4`) : null;
    const records = recording ? ["--record", recording] : [];
    const process = this.room.start(command, this.room.invite, "--name", name, ...records, "--json", "-", ...args);
    to.push({ name, process, report: this.room.whole(process), recording });
  }

  addNativeSpeaker(): void {
    this.addNative(
      this.nativeSpeakers,
      "join",
      "--speak",
      "--view",
      "--mix",
      "never",
      "--speaker-size",
      `${SIZE.width}x${SIZE.height}@${FPS}`,
    );
  }

  /** Opens so many empty tabs. */
  async open(tabs: number): Promise<void> {
    while (this.#empty.length < tabs) {
      const page = await this.room.page();
      // the picture as it comes: twelve peers and their windows share the processors of one machine
      await page.setViewport(SIZE);
      this.#empty.push(page);
    }
  }

  async addTab(to: Tab[]): Promise<void> {
    this.#count += 1;
    const name = `tab-${this.#count}`;
    const page = this.#empty.pop();
    assert.ok(page);
    await (to === this.speakers ? speak : watch)(page, this.room, name);
    to.push({ name, page, sinceMs: Date.now(), origin: await originOf(page) });
  }

  async closeTab(from: Tab[]): Promise<void> {
    const tab = from.shift();
    assert.ok(tab);
    await this.room.closePage(tab.page);
  }

  /** Lets a native leave, and judges what it received. */
  async stop(from: Native[], native = from[0]): Promise<void> {
    assert.ok(native);
    from.splice(from.indexOf(native), 1);
    native.process.kill("SIGTERM");
    this.judge(native.name, JSON.parse(await native.report), native.recording);
  }

  /**
   * Judges what a native received that stayed for a minute: by its report in all its time, by its recording in each
   * whole minute.
   */
  judge(
    name: string,
    report: { frames_received: number; frames_expected: number; longest_video_gap_ms: number },
    recording: string | null,
  ): void {
    if (!recording) return;
    const { frames_received, frames_expected, longest_video_gap_ms } = report;
    const atMs = picturesAtMs(recording);
    const minutes = Array.from(
      { length: Math.floor((atMs.at(-1) ?? 0) / MINUTE_MS) },
      (_, minute) => atMs.filter((at) => Math.floor(at / MINUTE_MS) === minute).length,
    );
    const said = `${name}: ${frames_received} of ${frames_expected} pictures, by minutes ${minutes}, longest gap ${Math.round(longest_video_gap_ms)} ms`;
    this.t.diagnostic(said);
    const isEnough = minutes.every((pictures) => pictures >= (RATE_MIN * FPS * MINUTE_MS) / 1000);
    const isWhole = frames_received > 0 && (minutes.length === 0 || frames_received >= SHARE_MIN * frames_expected);
    if (!isWhole || !isEnough) this.failures.push(said);
  }

  /** Lets the mixer that the tabs name leave. */
  async stopMixer(): Promise<void> {
    const [tab] = this.watchers;
    assert.ok(tab);
    const { mixers, stage } = await snapshot(tab.page);
    const elected = stage.find(({ peer }) => peer === mixers[0])?.name;
    await this.stop(
      this.mixers,
      this.mixers.find(({ name }) => name === elected),
    );
  }

  /** Judges what the tabs received that were there at the begin, in the span of a minute. */
  async minute(name: string, act: () => Promise<void>): Promise<void> {
    const begins = await Promise.all(this.tabs.map(async (tab) => ({ tab, begin: await snapshot(tab.page) })));
    const fromMs = Date.now();
    await act();
    await sleep(fromMs + MINUTE_MS - Date.now());
    const toMs = Date.now();
    for (const { tab, begin } of begins.filter(({ tab }) => this.tabs.includes(tab))) {
      const end = await snapshot(tab.page);
      const got = end.frames_received - begin.frames_received;
      const expected = end.frames_expected - begin.frames_expected;
      const seen = smoothness(await shownSince(tab.page, fromMs), fromMs, toMs);
      const isSame = (await originOf(tab.page)) === tab.origin;
      const said = `${name}, ${tab.name} at depth ${end.depth}: ${got} of ${expected} pictures, ${seen.pictures} shown, \
longest wait ${seen.longestMs} ms, frozen ${seen.frozenMs} ms, ${end.reparented - begin.reparented} changes of the parent`;
      this.t.diagnostic(said);
      const isEnough = got >= SHARE_MIN * expected && got >= (RATE_MIN * FPS * (toMs - fromMs)) / 1000;
      if (!isEnough || seen.longestMs > GAP_MS_MAX || !isSame || end.connection !== "connected")
        this.failures.push(said);
    }
  }

  /** Fails unless all tabs see the same stage within some seconds: the host, the mixers and the speakers of now. */
  async checkStage(): Promise<void> {
    const due = ["host", ...[...this.mixers, ...this.nativeSpeakers, ...this.speakers].map(({ name }) => name)].sort();
    for (const { name, page } of this.tabs) {
      const seen = async () => {
        const { stage } = await snapshot(page);
        return stage.flatMap((member) => (member.away ? [] : member.name)).sort();
      };
      for (let at = 0; at < 20 && `${await seen()}` !== `${due}`; at++) await sleep(250);
      const last = await seen();
      if (`${last}` !== `${due}`) this.failures.push(`${name} sees ${last} on stage, not ${due}`);
    }
  }
}

test("twelve peers, six in tabs, get all pictures while others come and go", {
  timeout: (MINUTES + 5) * MINUTE_MS,
}, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "plenary-twelve-"));
  const [recording, report] = [join(folder, "host.mp4"), join(folder, "host.json")];
  const program = ["--program", `${SIZE.width}x${SIZE.height}@${FPS}`, "--mix", "never", "--k1", "3", "--k", "3"];
  const room = await Room.open(...program, "--view", "--record", recording, "--json", report);
  const crowd = new Crowd(room, t);
  try {
    await crowd.open(6 + 2 * MINUTES);
    for (let at = 0; at < 2; at++) {
      crowd.addNative(crowd.mixers, "mixer");
      crowd.addNativeSpeaker();
    }
    crowd.addNative(crowd.nativeViewers, "join", "--view");
    for (let at = 0; at < 2; at++) await crowd.addTab(crowd.speakers);
    for (let at = 0; at < 4; at++) await crowd.addTab(crowd.watchers);
    await sleep(SETTLE_MS);
    await crowd.checkStage();
    for (let minute = 1; minute <= MINUTES; minute++) {
      await crowd.minute(`minute ${minute}`, async () => {
        const fromMs = Date.now();
        const rounds = [
          () => crowd.stop(crowd.nativeSpeakers).then(() => crowd.addNativeSpeaker()),
          () => crowd.closeTab(crowd.watchers).then(() => crowd.addTab(crowd.watchers)),
          () => crowd.stopMixer().then(() => crowd.addNative(crowd.mixers, "mixer")),
          () => crowd.closeTab(crowd.speakers).then(() => crowd.addTab(crowd.speakers)),
          () => crowd.stop(crowd.nativeViewers).then(() => crowd.addNative(crowd.nativeViewers, "join", "--view")),
        ];
        for (const [at, round] of rounds.entries()) {
          await sleep(fromMs + LEAVE_MS * (at + 1) - Date.now());
          await round();
        }
      });
      await crowd.checkStage();
    }
    for (const natives of [crowd.nativeSpeakers, crowd.nativeViewers])
      while (natives.length > 0) await crowd.stop(natives);
    await room.close();
    crowd.judge("host", JSON.parse(readFileSync(report, "utf8")), recording);
    assert.deepEqual(crowd.failures, []);
  } finally {
    await room.close();
    rmSync(folder, { recursive: true });
  }
});
