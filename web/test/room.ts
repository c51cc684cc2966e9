// A room of native peers for the page's tests, and browsers that open the page in it. Everything on loopback; processes and
// browsers end with the room.

import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process, { env } from "node:process";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { fileURLToPath } from "node:url";

import puppeteer, { type Browser, type Page } from "puppeteer-core";

import type * as library from "../src/room.js";
import type { Lab } from "./lab.js";

declare global {
  // not in TypeScript's library: Chromium's alone
  class MediaStreamTrackProcessor {
    constructor(options: { track: MediaStreamTrack });
    readonly readable: ReadableStream<VideoFrame>;
  }
  interface Window {
    room: library.Room;
    events: library.RoomEvent[];
    /** The first picture that is shown. */
    shown: () => HTMLVideoElement | undefined;
    /** Longest wait for a picture, in milliseconds, while a test measures it. */
    gapMs: number;
    /** When each picture was shown so far, in milliseconds since 1970. */
    shownMs: number[];
    /** How much later each picture was shown than sound of the same capture time is played. */
    skews: { atMs: number; skewMs: number }[];
    /** Pictures that a page has encoded for comparison. */
    encoded?: number;
    /** All connections so far. */
    connections: RTCPeerConnection[];
    RTCPeerConnection: typeof RTCPeerConnection;
  }
}

const DIST = fileURLToPath(new URL("../../dist/", import.meta.url));
const PLENARY = env["PLENARY"] ?? "plenary";
const CHROMIUM = env["CHROMIUM"] ?? "/usr/bin/chromium";
/** Time for a process to end politely, in milliseconds. */
const PARTING_MS = 3000;
const TYPES: Record<string, string> = { html: "text/html", js: "text/javascript", wasm: "application/wasm" };

/** How a page enters a room: by an invite, or as the host of one that it opens. */
export type Entry = library.JoinOptions | library.HostOptions;

/** Enters a room with the library in an empty page, and shows what there is to see. */
export async function enterWith(page: Page, options: Entry): Promise<void> {
  await page.evaluate(async (options) => {
    const url = "/plenary.js";
    const loaded = (await import(url)) as typeof library;
    window.events = [];
    const onEvent = (event: library.RoomEvent) => window.events.push(event);
    window.room = await ("invite" in options ? loaded.join({ ...options, onEvent }) : loaded.host({ ...options, onEvent }));
    document.body.append(window.room.picture);
  }, options);
}

export const joinWith: (page: Page, options: library.JoinOptions) => Promise<void> = enterWith;

export class Room {
  readonly #processes: ChildProcess[] = [];
  readonly #browsers: Browser[] = [];
  readonly #folder = mkdtempSync(join(tmpdir(), "plenary-page-"));
  #server: Server | null = null;
  /** Flags of native peers that join. */
  #trust: string[] = [];
  #host: ChildProcess | null = null;
  #rendezvous: ChildProcess | null = null;
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
    const host = this.start("host", "--listen", `${address}:0`, ...options);
    this.invite = await this.line(host, (line) => line.includes("#"));
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
  async serve(listen: string): Promise<void> {
    this.#rendezvous = this.start("rendezvous", "--listen", listen);
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
    const host = room.start("host", ...listen, ...args);
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

  /** Kills a page's browser, with all its processes. */
  killPage(page: Page): void {
    const browser = page.browser();
    const pid = browser.process()?.pid;
    if (pid === undefined) throw new Error("the browser has ended");
    this.#browsers.splice(this.#browsers.indexOf(browser), 1);
    process.kill(-pid, "SIGKILL");
  }

  /** Starts a process of the command line. */
  start(...args: string[]): ChildProcess {
    const [program = PLENARY, ...rest] = [...(this.lab?.enter(this.at) ?? []), PLENARY, ...args];
    const process = spawn(program, rest, { stdio: ["ignore", "pipe", "pipe"] });
    process.stderr.on("data", (data) => env["VERBOSE"] && console.error(`${args[0]}: ${data}`));
    this.#processes.push(process);
    return process;
  }

  /** Waits for a line that a process prints. */
  line(process: ChildProcess, is: (line: string) => boolean): Promise<string> {
    return new Promise((resolve, reject) => {
      let text = "";
      const read = (data: Buffer) => {
        text += data;
        const found = text.split("\n").find(is);
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

  /** Opens the page that the host serves, by its link, with this query, in a browser on this host of the lab. */
  async visit(query = "", invite = this.invite, at = ""): Promise<Page> {
    const page = await this.#blank(at);
    await page.goto(invite.replace("/#", `/${query}#`));
    return page;
  }

  /** Opens an empty page of another origin, in which the library can be imported; its microphone hums in this pitch. */
  async page(hz = 180): Promise<Page> {
    const page = await this.#blank("", hz);
    await page.goto(`http://localhost:${await this.#serve()}/`);
    return page;
  }

  /** A script that runs the browser on a host of the lab. */
  #browserAt(lab: Lab, at: string): string {
    const path = join(this.#folder, `chromium-${at}`);
    writeFileSync(path, `#!/bin/sh\nexec ${lab.enter(at).join(" ")} ${CHROMIUM} "$@"\n`, { mode: 0o755 });
    return path;
  }

  async #blank(at = "", hz = 180): Promise<Page> {
    const { lab } = this;
    const browser = await puppeteer.launch({
      executablePath: lab ? this.#browserAt(lab, at) : CHROMIUM,
      // a browser in a namespace can't be reached by a port
      pipe: lab !== null,
      args: [
        // on loopback every origin is secure
        ...(lab ? [`--unsafely-treat-insecure-origin-as-secure=${new URL(this.invite).origin}`] : []),
        "--no-sandbox",
        "--autoplay-policy=no-user-gesture-required",
        "--use-fake-device-for-media-stream",
        `--use-file-for-fake-audio-capture=${this.#voice(hz)}`,
        "--use-fake-ui-for-media-stream",
        ...(this.#trust.length > 0 ? ["--ignore-certificate-errors"] : []),
      ],
    });
    this.#browsers.push(browser);
    const page = await browser.newPage();
    await page.evaluateOnNewDocument(() => {
      window.shown = () => {
        const roots = [document, ...[...document.querySelectorAll("*")].flatMap((element) => element.shadowRoot ?? [])];
        const videos = roots.flatMap((root) => [...root.querySelectorAll<HTMLVideoElement>("video[data-part]")]);
        return videos.find((video) => video.videoWidth > 0);
      };
      [window.shownMs, window.skews] = [[], []];
      const origin = performance.timeOrigin;
      // RTP timestamps count from 1970, modulo 32 bits: time since the capture, at a time since 1970
      const sinceMs = (atMs: number, rtp: number, khz: number) => {
        const steps = (BigInt(Math.round(atMs * khz)) - BigInt(rtp)) & 0xffff_ffffn;
        return Number(BigInt.asIntN(32, steps)) / khz;
      };
      const note = (video: HTMLVideoElement, shown: VideoFrameCallbackMetadata & { rtpTimestamp?: number }) => {
        window.shownMs.push(origin + shown.presentationTime);
        const sound = video.srcObject instanceof MediaStream ? video.srcObject.getAudioTracks()[0] : undefined;
        const receivers = window.connections.flatMap((connection) => connection.getReceivers());
        const [heard] = receivers.find(({ track }) => track === sound)?.getSynchronizationSources() ?? [];
        if (!heard || shown.rtpTimestamp === undefined) return;
        const atMs = origin + shown.expectedDisplayTime;
        const heardAtMs = heard.timestamp > origin / 2 ? heard.timestamp : origin + heard.timestamp;
        const late = sinceMs(atMs, shown.rtpTimestamp, 90);
        window.skews.push({ atMs, skewMs: Math.round(late - sinceMs(heardAtMs, heard.rtpTimestamp, 48)) });
      };
      const create = document.createElement.bind(document);
      document.createElement = ((name: string, options?: ElementCreationOptions) => {
        const element = create(name, options);
        if (element instanceof HTMLVideoElement) {
          element.requestVideoFrameCallback(function see(_, shown) {
            note(element, shown);
            element.requestVideoFrameCallback(see);
          });
        }
        return element;
      }) as typeof document.createElement;
      window.connections = [];
      window.RTCPeerConnection = class extends RTCPeerConnection {
        constructor(configuration?: RTCConfiguration) {
          super(configuration);
          window.connections.push(this);
        }
      };
    });
    page.on("console", (message) => env["VERBOSE"] && console.error("page says:", message.text()));
    page.on("pageerror", (error) => console.error("page:", error));
    return page;
  }

  /** Path of a file that goes with the room. */
  file(name: string): string {
    return join(this.#folder, name);
  }

  /** A file with a hum in syllables, for the browser's microphone. */
  #voice(hz: number): string {
    const path = this.file(`voice-${hz}.wav`);
    const [rate, seconds] = [48_000, 4];
    const file = Buffer.alloc(44 + 2 * rate * seconds);
    file.write("RIFF\0\0\0\0WAVEfmt ", "latin1");
    file.writeUInt32LE(file.length - 8, 4);
    file.writeUInt32LE(16, 16);
    for (const [at, value] of [1, 1].entries()) file.writeUInt16LE(value, 20 + 2 * at);
    file.writeUInt32LE(rate, 24);
    file.writeUInt32LE(2 * rate, 28);
    file.writeUInt16LE(2, 32);
    file.writeUInt16LE(16, 34);
    file.write("data", 36, "latin1");
    file.writeUInt32LE(file.length - 44, 40);
    for (let at = 0; at < rate * seconds; at++) {
      const time = at / rate;
      const syllable = Math.max(0, Math.sin(2 * Math.PI * 4 * time));
      const hum = [1, 2, 3, 4, 5].reduce((sum, order) => sum + Math.sin(2 * Math.PI * hz * order * time) / order, 0);
      file.writeInt16LE(Math.round(9000 * syllable * hum), 44 + 2 * at);
    }
    writeFileSync(path, file);
    return path;
  }

  async #serve(): Promise<number> {
    if (!this.#server) {
      const server = createServer(async ({ url = "/" }, response) => {
        const name = url === "/" ? "index.html" : url.slice(1);
        const type = TYPES[name.split(".").pop() ?? ""];
        try {
          if (!type || name.includes("/")) throw new Error("no such file");
          const blank = '<!doctype html><html lang="en"><title>test</title><body style="margin:0;height:100vh">';
          const body = name === "index.html" ? blank : await readFile(DIST + name);
          response.writeHead(200, { "content-type": type }).end(body);
        } catch {
          response.writeHead(404).end();
        }
      });
      await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
      this.#server = server;
    }
    return (this.#server.address() as AddressInfo).port;
  }

  async close(): Promise<void> {
    await Promise.all(this.#browsers.map((browser) => browser.close()));
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
    rmSync(this.#folder, { recursive: true });
  }
}
