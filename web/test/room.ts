// A room of native peers for the page's tests, and browsers that open the page in it. Everything on loopback; processes
// and browsers end with the room.

import assert from "node:assert/strict";
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { env } from "node:process";
import { fileURLToPath } from "node:url";

import type { Browser, Page } from "puppeteer-core";

import type * as library from "../src/room.js";
import { answerLocalNetwork, type Browsing, INSECURE, kill, launch, watchPage } from "./browsers.js";
import type { Lab } from "./lab.js";

declare global {
  interface Window {
    room: library.Room;
    events: library.RoomEvent[];
    /** All elements that play the program or a speaker, with or without a picture. */
    parts: () => HTMLVideoElement[];
    /** The first picture that is shown. */
    shown: () => HTMLVideoElement | undefined;
    /** Longest wait for a picture, in milliseconds, while a test measures it. */
    gapMs: number;
    /** What a page has missed while a test watched it. */
    lost: string[];
    /** When each picture was shown so far, in milliseconds since 1970. */
    shownMs: number[];
    /** How much later each picture was shown than sound of the same capture time is played. */
    skews: { atMs: number; skewMs: number }[];
    /** All connections so far. */
    connections: RTCPeerConnection[];
    RTCPeerConnection: typeof RTCPeerConnection;
  }
}

const DIST = fileURLToPath(new URL("../../dist/", import.meta.url));
const PLENARY = env["PLENARY"] ?? "plenary";
/** What hosts allow their page. */
const POLICY = (
  /POLICY: &str = "([^"]*)"/.exec(readFileSync(`${DIST}../../crates/page/src/lib.rs`, "utf8"))?.[1] ?? ""
).replace(/\\\n\s*/g, "");
/** Time for a process to end politely, in milliseconds. */
const PARTING_MS = 3000;
const TYPES: Record<string, string> = {
  html: "text/html",
  js: "text/javascript",
  css: "text/css",
  wasm: "application/wasm",
};

/** Markup by which a host allows pages to open the camera by themselves. */
export const AUTO_SPEAK = '<meta name="plenary-auto-speak" content="yes">';

/** Flags of a host by which its program costs little: small pictures, few bits. */
export const SMALL = ["--program", "320x180@15", "--bitrate", "300kbit", "--speaker-size", "320x180@15"];

/** How a page is opened. */
export interface Opened extends Browsing {
  /** By default the room's link; "" for none. */
  invite?: string;
  /** Address of the rendezvous for a new room. */
  rendezvous?: string;
  /** What follows the address, from its "?" on. */
  query?: string;
  /** Whether browsers take the page's origin for one without https. */
  isInsecure?: boolean;
  /** Markup put into the page's head. */
  head?: string;
  size?: { width: number; height: number };
}

/** How a page enters a room: by an invite, or as the host of one that it opens. */
export type Entry = library.JoinOptions | library.HostOptions;

/** Enters a room with the library in an empty page, and shows what there is to see. */
export async function enterWith(page: Page, options: Entry): Promise<void> {
  await page.evaluate(async (options) => {
    const url = "/plenary.js";
    const loaded = (await import(url)) as typeof library;
    window.events = [];
    const onEvent = (event: library.RoomEvent) => window.events.push(event);
    window.room = await ("invite" in options
      ? loaded.join({ ...options, onEvent })
      : loaded.host({ ...options, onEvent }));
    document.body.append(window.room.picture);
  }, options);
}

export const joinWith: (page: Page, options: library.JoinOptions) => Promise<void> = enterWith;

/**
 * Loudest levels within two seconds of what is heard, in decibels: of the browsers' false voice, a tone of 180 Hz, and
 * of anything else. Recorded, since Firefox runs no AudioContext on a machine without a sound card.
 */
export async function heard(page: Page): Promise<{ voice: number; others: number }> {
  return page.evaluate(async () => {
    const sound = (window.shown() ?? window.parts()[0])?.srcObject;
    const tracks = sound instanceof MediaStream ? sound.getAudioTracks() : [];
    if (tracks.length === 0) return { voice: -200, others: -200 };
    const recorder = new MediaRecorder(new MediaStream(tracks));
    const recorded = new Promise<Blob>((resolve) => (recorder.ondataavailable = ({ data }) => resolve(data)));
    recorder.start();
    await new Promise((resolve) => setTimeout(resolve, 2000));
    recorder.stop();
    const hz = 16_000;
    const buffer = await new OfflineAudioContext(1, hz, hz).decodeAudioData(await (await recorded).arrayBuffer());
    const samples = buffer.getChannelData(0);
    const length = 4096;
    let [voice, others] = [-200, -200];
    for (let from = 0; from + length <= samples.length; from += length) {
      const hann = (sample: number, at: number) => sample * (1 - Math.cos((2 * Math.PI * at) / length));
      const part = samples.slice(from, from + length).map(hann);
      // Goertzel's algorithm
      const level = (hertz: number) => {
        const turn = 2 * Math.cos((2 * Math.PI * hertz) / hz);
        let [last, before] = [0, 0];
        for (const sample of part) [last, before] = [sample + turn * last - before, last];
        return 10 * Math.log10((last * last + before * before - turn * last * before) / length ** 2 + 1e-20);
      };
      for (let hertz = 170; hertz <= 190; hertz += 4) voice = Math.max(voice, level(hertz));
      for (let hertz = 300; hertz <= 4000; hertz += 4) others = Math.max(others, level(hertz));
    }
    return { voice, others };
  });
}

/** Waits until something holds, for 20 seconds. */
export async function within(what: string, is: () => Promise<boolean>): Promise<void> {
  for (let at = 0; at < 80; at++) {
    if (await is()) return;
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
  assert.fail(what);
}

export class Room {
  readonly #processes: ChildProcess[] = [];
  readonly #browsers: Browser[] = [];
  readonly #folder = mkdtempSync(join(tmpdir(), "plenary-page-"));
  #server: Server | null = null;
  /** Pages that embed the element. */
  readonly #pages: string[] = [];
  #host: ChildProcess | null = null;
  #rendezvous: ChildProcess | null = null;
  /** Flags of native peers that join. */
  #trust: string[] = [];
  invite = "";
  rendezvous = "";

  constructor(
    /** Where processes and browsers run, by default on loopback. */
    private readonly lab: Lab | null = null,
    /** The lab's host in which processes run. */
    private readonly at = "",
  ) {}

  /** Opens a room whose host neither speaks nor mixes. */
  static open(...options: string[]): Promise<Room> {
    return new Room().#open(options);
  }

  /** Opens such a room on a host of a lab. */
  static inLab(lab: Lab, at: string, ...options: string[]): Promise<Room> {
    return new Room(lab, at).#open(options);
  }

  async #open(options: string[]): Promise<Room> {
    const address = this.lab?.address(this.at) ?? "127.0.0.1";
    this.#host = this.start("host", "--listen", `${address}:0`, ...(await this.embeds()), ...options);
    this.invite = await this.line(this.#host, (line) => line.includes("#"));
    return this;
  }

  /** Starts a rendezvous alone, at which pages open a room. */
  static async ofPages(): Promise<Room> {
    const room = new Room();
    await room.serve("127.0.0.1:0");
    return room;
  }

  /** Opens a room at a rendezvous of its own, with a host that neither speaks nor mixes. */
  static async apart(...options: string[]): Promise<Room> {
    const room = await Room.ofPages();
    room.#host = room.start("host", "--rendezvous", room.rendezvous, ...options);
    room.invite = await room.line(room.#host, (line) => line.includes("#"));
    return room;
  }

  /** Starts the rendezvous. */
  async serve(listen: string, ...options: string[]): Promise<void> {
    this.#rendezvous = this.start("rendezvous", "--listen", listen, ...(await this.embeds()), ...options);
    this.rendezvous = (await this.line(this.#rendezvous, (line) => line.includes("http"))).replace(/.*(http)/, "$1");
  }

  killRendezvous(): Promise<unknown> {
    return this.#rendezvous ? this.kill(this.#rendezvous) : Promise.resolve();
  }

  killHost(): Promise<unknown> {
    return this.#host ? this.kill(this.#host) : Promise.resolve();
  }

  /** Opens a room behind https, by a certificate signed by itself; native peers trust it, browsers accept each. */
  static async secure(...options: string[]): Promise<Room> {
    const room = new Room();
    const args = ["--tls", "self", "--data", room.#folder, "--program", "320x180@15", ...options];
    const listen = options.includes("--listen") ? [] : ["--listen", "127.0.0.1:0"];
    const host = room.start("host", ...listen, ...(await room.embeds()), ...args);
    room.invite = await room.line(host, (line) => line.includes("#"));
    room.#trust = ["--tls-trust", room.certified.cert];
    return room;
  }

  /** Opens such a room, with a native mixer and Ada, a native speaker that doesn't mix. */
  static async withAda(...options: string[]): Promise<Room> {
    const room = await Room.open("--program", "320x180@15", ...options);
    room.addAda();
    return room;
  }

  /** Lets a native mixer in, and Ada. */
  addAda(invite = this.invite): void {
    this.start("mixer", invite, ...this.#trust);
    const small = ["--mix", "never", "--name", "Ada", "--speaker-size", "320x180@15"];
    this.start("join", invite, "--speak", ...small, ...this.#trust);
  }

  /** Files of the host's certificate and its private key, in a room behind https. */
  get certified(): { cert: string; key: string } {
    return { cert: join(this.#folder, "rendezvous-certificate.pem"), key: join(this.#folder, "rendezvous-key.pem") };
  }

  /** Kills a process: it says nothing more. */
  kill(process: ChildProcess): Promise<unknown> {
    const ended = new Promise((resolve) => process.once("exit", resolve));
    process.kill("SIGKILL");
    return ended;
  }

  /** Closes a page as its user does, and its browser. */
  async closePage(page: Page): Promise<void> {
    const browser = page.browser();
    this.#browsers.splice(this.#browsers.indexOf(browser), 1);
    await page.close();
    await browser.close();
  }

  /** Kills a page's browser. */
  killPage(page: Page): void {
    const browser = page.browser();
    this.#browsers.splice(this.#browsers.indexOf(browser), 1);
    kill(browser);
  }

  /** Starts a process of the command line. */
  start(...args: string[]): ChildProcess {
    return this.startAt(this.at, ...args);
  }

  /** Starts such a process in a host of the lab. */
  startAt(at: string, ...args: string[]): ChildProcess {
    const [program = PLENARY, ...rest] = [...(this.lab?.enter(at) ?? []), PLENARY, ...args];
    const process = spawn(program, rest, { stdio: ["pipe", "pipe", "pipe"] });
    process.stderr.on("data", (data) => env["VERBOSE"] && console.error(`${args[0]}: ${data}`));
    this.#processes.push(process);
    return process;
  }

  /** Types a command at the host. */
  order(line: string): void {
    this.#host?.stdin?.write(`${line}\n`);
  }

  /** Waits for a line that a process prints. */
  line(process: ChildProcess, is: (line: string) => boolean): Promise<string> {
    return new Promise((resolve, reject) => {
      let text = "";
      const read = (data: Buffer) => {
        text += data;
        // the last one may come in parts
        const found = text.split("\n").slice(0, -1).find(is);
        if (found) resolve(found.trim());
      };
      process.stdout?.on("data", read);
      process.stderr?.on("data", read);
      process.once("exit", (code) => reject(new Error(`the process ended with ${code}: ${text}`)));
    });
  }

  /** Waits for a process's end, and returns what it has printed. */
  whole(process: ChildProcess): Promise<string> {
    return new Promise((resolve) => {
      let text = "";
      process.stdout?.on("data", (data) => (text += data));
      process.once("close", () => resolve(text));
    });
  }

  /** Opens the page that the host serves, by its link, with this query. */
  async visit(query = "", browsing: Browsing = {}, invite = this.invite): Promise<Page> {
    const page = await this.#blank(browsing);
    await page.goto(invite.replace("/#", `/${query}#`));
    return page;
  }

  /** Opens an empty page of another origin, in which the library can be imported. */
  async page(browsing: Browsing = {}): Promise<Page> {
    const page = await this.#blank(browsing);
    await page.goto(`http://localhost:${await this.#serve()}/`);
    return page;
  }

  /** Opens the page of web/dist as an application embeds it, the link as an attribute. */
  async screen(opened: Opened = {}): Promise<Page> {
    const { invite = this.invite, rendezvous = "", query = "", devices, head = "", isInsecure = false, size } = opened;
    const page = await this.#blank(opened);
    if (size) await page.setViewport(size);
    const served = readFileSync(`${DIST}index.html`, "utf8");
    const element = `<plenary-room invite="${invite}" ${rendezvous && `rendezvous="${rendezvous}"`}></plenary-room>`;
    this.#pages.push(served.replace("<plenary-room></plenary-room>", element).replace("</head>", `${head}</head>`));
    const address = `http://${isInsecure ? INSECURE : "localhost"}:${await this.#serve()}/page-${this.#pages.length - 1}.html`;
    if (devices === "denied") await page.browserContext().overridePermissions(address, []);
    if (devices === "no-camera") await page.browserContext().overridePermissions(address, ["microphone"]);
    await page.goto(address + query);
    return page;
  }

  async #blank(browsing: Browsing): Promise<Page> {
    const page = browsing.beside ? await this.#beside(browsing.beside) : await this.#first(browsing);
    await watchPage(page);
    if (browsing.localNetwork) await answerLocalNetwork(page, new URL(this.invite).origin, browsing.localNetwork);
    if (browsing.onNew) await page.evaluateOnNewDocument(browsing.onNew);
    return page;
  }

  async #beside(page: Page): Promise<Page> {
    return (await page.browser().createBrowserContext()).newPage();
  }

  async #first(browsing: Browsing): Promise<Page> {
    const origin = this.invite ? new URL(this.invite).origin : "";
    const place = { folder: this.#folder, lab: this.lab, origin, trustsAll: this.#trust.length > 0 };
    const browser = await launch(browsing, place);
    this.#browsers.push(browser);
    return browser.newPage();
  }

  /** Path of a file that goes with the room. */
  file(name: string): string {
    return join(this.#folder, name);
  }

  /** A video file of two seconds, with sound. */
  film(): string {
    const path = join(this.#folder, "film.mp4");
    const sources = ["-f", "lavfi", "-i", "testsrc2=size=320x180:rate=15", "-f", "lavfi", "-i", "sine=frequency=600"];
    const coding = ["-t", "2", "-pix_fmt", "yuv420p", "-c:v", "libx264", "-c:a", "aac"];
    execFileSync("ffmpeg", ["-v", "error", "-y", ...sources, ...coding, path]);
    return path;
  }

  /** Flags by which a host lets in the pages that are served here. */
  async embeds(): Promise<string[]> {
    const port = await this.#serve();
    return ["localhost", INSECURE].flatMap((host) => ["--embed", `http://${host}:${port}`]);
  }

  async #serve(): Promise<number> {
    if (!this.#server) {
      const server = createServer(async ({ url = "/" }, response) => {
        const { pathname } = new URL(url, "http://localhost");
        const name = pathname === "/" ? "index.html" : pathname.slice(1);
        const embedding = this.#pages[Number(/^page-(\d+)\.html$/.exec(name)?.[1])];
        const type = TYPES[name.split(".").pop() ?? ""];
        try {
          if (!type || name.includes("/")) throw new Error("no such file");
          const blank = '<!doctype html><html lang="en"><title>test</title><body style="margin:0;height:100vh">';
          const body = embedding ?? (name === "index.html" ? blank : await readFile(DIST + name));
          const policy = embedding === undefined ? {} : { "content-security-policy": POLICY };
          response.writeHead(200, { "content-type": type, ...policy }).end(body);
        } catch {
          response.writeHead(404).end();
        }
      });
      await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
      this.#server = server;
    }
    return (this.#server.address() as AddressInfo).port;
  }

  /** Closes all pages. */
  async closePages(): Promise<void> {
    await Promise.all(this.#browsers.splice(0).map((browser) => browser.close()));
  }

  async close(): Promise<void> {
    await this.closePages();
    this.#server?.close();
    const ends = this.#processes.map(async (process) => {
      if (process.exitCode !== null || process.signalCode !== null) return;
      const ended = new Promise((resolve) => process.once("exit", resolve));
      process.kill("SIGTERM");
      const timer = setTimeout(() => process.kill("SIGKILL"), PARTING_MS);
      await ended;
      clearTimeout(timer);
    });
    await Promise.all(ends);
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
