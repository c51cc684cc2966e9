// A sound server of a test's own, PulseAudio, with microphones that hum and can be unplugged. It ends with the test.

import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { env } from "node:process";

import { sleep } from "./shown.js";

/** Time that the server may take to come up, in milliseconds. */
const UP_MS_MAX = 10_000;

/** Why no sound server can be had here; null where one can. */
export const noSoundServer: string | null = ["pulseaudio", "pactl"].every(isInstalled)
  ? null
  : "needs pulseaudio and pactl";

export class SoundServer {
  private constructor(
    private readonly folder: string,
    private readonly process: ChildProcess,
  ) {}

  /** Starts a server with a loudspeaker that nobody hears, and no microphone. */
  static async up(): Promise<SoundServer> {
    const folder = mkdtempSync(join(tmpdir(), "plenary-sound-"));
    const modules = [
      `module-native-protocol-unix socket=${join(folder, "native")} auth-anonymous=1`,
      "module-null-sink rate=48000",
    ];
    const options = [
      "--daemonize=no",
      "--exit-idle-time=-1",
      "--use-pid-file=no",
      "--disable-shm=yes",
      "--realtime=no",
      "-n",
    ];
    const process = spawn("pulseaudio", [...options, ...modules.flatMap((module) => ["-L", module])], {
      // nothing of the user's own server
      env: { ...env, HOME: folder, XDG_RUNTIME_DIR: folder, PULSE_RUNTIME_PATH: folder, PULSE_STATE_PATH: folder },
      stdio: ["ignore", "ignore", env["VERBOSE"] ? "inherit" : "ignore"],
    });
    const server = new SoundServer(folder, process);
    for (const fromMs = Date.now(); !server.#answers(); await sleep(100)) {
      if (process.exitCode === null && Date.now() - fromMs < UP_MS_MAX) continue;
      await server.down();
      throw new Error(`pulseaudio doesn't come up; it ended with ${process.exitCode}`);
    }
    return server;
  }

  /** The variable PULSE_SERVER of programs that use it. */
  get address(): string {
    return `unix:${join(this.folder, "native")}`;
  }

  /** Plugs a microphone with a hum in, which browsers list by its frequency. Returns what unplugs it. */
  plug(hz: number): () => void {
    // PulseAudio's own source of a sine hands on one block in two seconds, of which browsers take the first part
    const name = `hum-${hz}`;
    this.#order("load-module", "module-null-sink", `sink_name=${name}`, "rate=48000");
    this.#order("load-module", "module-sine", `sink=${name}`, `frequency=${hz}`);
    const properties = `source_properties=device.description="${hz}\\ Hz"`;
    const module = this.#order(
      "load-module",
      "module-remap-source",
      `master=${name}.monitor`,
      `source_name=${name}-in`,
      properties,
    );
    return () => this.#order("unload-module", module);
  }

  async down(): Promise<void> {
    if (this.process.exitCode === null && this.process.signalCode === null) {
      const ended = new Promise((resolve) => this.process.once("exit", resolve));
      this.process.kill("SIGKILL");
      await ended;
    }
    rmSync(this.folder, { recursive: true, force: true });
  }

  #answers(): boolean {
    try {
      return existsSync(join(this.folder, "native")) && this.#order("info") !== "";
    } catch {
      return false;
    }
  }

  #order(...args: string[]): string {
    return execFileSync("pactl", args, {
      env: { ...env, PULSE_SERVER: this.address },
      encoding: "utf8",
      stdio: "pipe",
    }).trim();
  }
}

function isInstalled(program: string): boolean {
  return (env["PATH"] ?? "").split(":").some((folder) => existsSync(join(folder, program)));
}
