// A room of native peers for the page's tests, and browsers that open the page in it. Everything on loopback; processes and
// browsers end with the room.

import { type ChildProcess, spawn } from "node:child_process";
import { readFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { fileURLToPath } from "node:url";

import puppeteer, { type Browser, type Page } from "puppeteer-core";

const DIST = fileURLToPath(new URL("../../dist/", import.meta.url));
const PLENARY = process.env["PLENARY"] ?? fileURLToPath(new URL("../../../target/debug/plenary", import.meta.url));
const CHROMIUM = process.env["CHROMIUM"] ?? "/usr/bin/chromium";
/** Time for a process to end politely, in milliseconds. */
const PARTING_MS = 3000;
const TYPES: Record<string, string> = { html: "text/html", js: "text/javascript", wasm: "application/wasm" };

export class Room {
  readonly #processes: ChildProcess[] = [];
  readonly #browsers: Browser[] = [];
  #server: Server | null = null;
  invite = "";

  /** Opens a room whose host neither speaks nor mixes. */
  static async open(...options: string[]): Promise<Room> {
    const room = new Room();
    const host = room.start("host", "--listen", "127.0.0.1:0", ...options);
    room.invite = await room.line(host, (line) => line.includes("#"));
    return room;
  }

  /** Starts a process of the command line. */
  start(...args: string[]): ChildProcess {
    const process = spawn(PLENARY, args, { stdio: ["ignore", "pipe", "pipe"] });
    process.stderr.resume();
    this.#processes.push(process);
    return process;
  }

  /** Waits for a line of a process's standard output. */
  line(process: ChildProcess, is: (line: string) => boolean): Promise<string> {
    return new Promise((resolve, reject) => {
      let text = "";
      process.stdout?.on("data", (data) => {
        text += data;
        const found = text.split("\n").find(is);
        if (found) resolve(found.trim());
      });
      process.once("exit", (code) => reject(new Error(`the process ended with ${code}: ${text}`)));
    });
  }

  /** Opens the page that the host serves, by its link, with this query. */
  async visit(query = ""): Promise<Page> {
    const page = await this.#blank();
    await page.goto(this.invite.replace("/#", `/${query}#`));
    return page;
  }

  /** Opens an empty page of another origin, in which the library can be imported. */
  async page(): Promise<Page> {
    const page = await this.#blank();
    await page.goto(`http://localhost:${await this.#serve()}/`);
    return page;
  }

  async #blank(): Promise<Page> {
    const browser = await puppeteer.launch({
      executablePath: CHROMIUM,
      args: ["--no-sandbox", "--autoplay-policy=no-user-gesture-required"],
    });
    this.#browsers.push(browser);
    const page = await browser.newPage();
    page.on("pageerror", (error) => console.error("page:", error));
    return page;
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
      if (process.exitCode !== null) return;
      const ended = new Promise((resolve) => process.once("exit", resolve));
      process.kill("SIGTERM");
      const timer = setTimeout(() => process.kill("SIGKILL"), PARTING_MS);
      await ended;
      clearTimeout(timer);
    });
    await Promise.all(ends);
  }
}
