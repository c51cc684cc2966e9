// A network of the tests' own: hosts as namespaces of this machine, with delays, losses and rates on their lines, by
// `netlab` (tests/netlab). It needs root. It ends with this process, however that ends: its driver reads a pipe from
// here.

import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { env, getuid } from "node:process";

const NETLAB = env["NETLAB"] ?? "netlab";
/** Time that a lab may take to come up, in milliseconds. */
const UP_MS_MAX = 20_000;

/** Why no lab can be had here; null where one can. */
export const noLab: string | null = getuid?.() === 0 ? null : "needs root";

export class Lab {
  #told = "";
  readonly #folder: string;
  readonly #process: ChildProcess;

  private constructor(hosts: Record<string, string>, shared: Record<string, string>) {
    this.#folder = mkdtempSync(join(tmpdir(), "plenary-lab-"));
    const tables = Object.entries(hosts).map(([name, line]) => {
      const settings = line.split(" ").filter((word) => word !== "");
      return `[hosts.${name}]\n${settings.map((word) => word.replace(/=(.*)/, ' = "$1"\n')).join("")}`;
    });
    const path = join(this.#folder, "scenario.toml");
    const nats = Object.entries(shared).map(([name, kind]) => `[nats.${name}]\nkind = "${kind}"\n`);
    writeFileSync(path, `seed = 7\n${nats.join("")}${tables.join("")}`);
    const driver = "env | grep ^NETLAB; echo up; exec cat";
    this.#process = spawn(NETLAB, ["up", path, "--", "sh", "-c", driver], { stdio: ["pipe", "pipe", "inherit"] });
  }

  /**
   * Builds a lab of these hosts, each with its line's settings (`delay=30ms loss=1%`), and of NATs that several of them
   * are behind, each with its kind.
   */
  static async up(hosts: Record<string, string>, shared: Record<string, string> = {}): Promise<Lab> {
    const lab = new Lab(hosts, shared);
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error("the lab doesn't come up")), UP_MS_MAX);
      lab.#process.once("error", reject);
      lab.#process.once("exit", (code) => reject(new Error(`netlab ended with ${code}`)));
      lab.#process.stdout?.on("data", (data: Buffer) => {
        lab.#told += data;
        if (!/^up$/m.test(lab.#told)) return;
        clearTimeout(timer);
        resolve();
      });
    }).catch(async (error) => {
      await lab.down();
      throw error;
    });
    return lab;
  }

  /** A variable that netlab gives its driver. */
  #variable(name: string): string {
    const value = new RegExp(`^${name}=(.*)$`, "m").exec(this.#told)?.[1];
    if (!value) throw new Error(`no ${name} in ${this.#told}`);
    return value;
  }

  /** A host's address. */
  address(host: string): string {
    return this.#variable(`NETLAB_IP_${host}`);
  }

  /** The command that runs a program in a host, before the program. */
  enter(host: string): string[] {
    return ["ip", "netns", "exec", this.#variable(`NETLAB_NS_${host}`)];
  }

  /** Changes a host's line. */
  async set(host: string, line: string): Promise<void> {
    await this.#ask(`set ${host} ${line}`);
  }

  /** Moves a host to another network: another address, behind another NAT. */
  async move(host: string, nat: string): Promise<void> {
    await this.#ask(`move ${host} ${nat}`);
  }

  #ask(line: string): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const socket = connect(`/run/${this.#variable("NETLAB_LAB")}.sock`, () => socket.write(`${line}\n`));
      let answer = "";
      socket.once("error", reject);
      socket.on("data", (data) => {
        answer += data;
        if (!answer.includes("\n")) return;
        socket.end();
        const said = JSON.parse(answer) as { error?: string };
        if (typeof said === "object" && said.error) reject(new Error(said.error));
        else resolve(said);
      });
    });
  }

  /** Removes the lab. Programs in its hosts end. */
  async down(): Promise<void> {
    const ended = new Promise((resolve) => this.#process.once("exit", resolve));
    this.#process.stdin?.end();
    if (this.#process.exitCode === null && this.#process.pid !== undefined) await ended;
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
