// Browsers of the page's tests: headless Chromium and Firefox with false cameras and microphones, on this machine or on
// a host of a lab.

import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { env } from "node:process";

import puppeteer, { type Browser, type Page } from "puppeteer-core";

import type { Lab } from "./lab.js";

const CHROMIUM = env["CHROMIUM"] ?? "/usr/bin/chromium";
const FIREFOX = env["FIREFOX"] ?? "/usr/bin/firefox-esr";
/** Firefox's camera and microphone are false, and nothing waits for a click. The microphone hums as Chromium's does. */
const FIREFOX_PREFERENCES = {
  "media.navigator.audio.fake_frequency": 180,
  "media.navigator.streams.fake": true,
  "media.navigator.permission.disabled": true,
  "media.autoplay.default": 0,
  "media.autoplay.block-webaudio": false,
};
/** Pitch of the microphone's hum, in hertz, as a rule. */
const HUM_HZ = 180;

/** What puppeteer tells Chromium by default, so that hidden tabs are as quick as others. */
const NEVER_SLOW = [
  "--disable-background-timer-throttling",
  "--disable-backgrounding-occluded-windows",
  "--disable-renderer-backgrounding",
];

/** A name that leads to this machine, without being known as local. */
export const INSECURE = "insecure.test";

/** Firefox has H.264 only with the plugin OpenH264, which lies in the folder MOZ_GMP_PATH. */
export type Kind = "chromium" | "firefox" | "firefox-openh264";

/** What a browser is like. */
export interface Browsing {
  kind?: Kind;
  /** Whether the browser has camera and microphone, none, or the user refuses them, or the camera alone. */
  devices?: "there" | "none" | "denied" | "no-camera";
  /** Pitch of the microphone's hum, in hertz. */
  hz?: number;
  /** Host of the lab on which the browser runs. */
  at?: string;
  /** Whether a tab behind another one is slowed down, as in a user's browser. */
  slowsHidden?: boolean;
  /** Address of a sound server: microphones and loudspeakers are its own, and there is no camera. */
  soundServer?: string;
  /** Flags of Chromium's command line. */
  flags?: readonly string[];
  /** The user's answer when the page asks for the local network. */
  localNetwork?: "granted" | "denied";
  /** What runs in the page before its own scripts. */
  onNew?: () => void;
  /** A page in whose browser this one opens, in a window and with storage of its own: less work for the machine. */
  beside?: Page;
}

/** Where browsers run. */
export interface Place {
  /** A folder for files that go with them. */
  folder: string;
  lab: Lab | null;
  /** Origin that counts as secure; on loopback every one does. */
  origin: string;
  /** Whether certificates signed by themselves are accepted. */
  trustsAll: boolean;
}

export function launch(browsing: Browsing, place: Place): Promise<Browser> {
  const { kind = "chromium" } = browsing;
  return kind === "chromium" ? chromium(browsing, place) : firefox(kind === "firefox-openh264");
}

function chromium(browsing: Browsing, { folder, lab, origin, trustsAll }: Place): Promise<Browser> {
  const { devices = "there", hz = HUM_HZ, at = "", slowsHidden = false, soundServer } = browsing;
  const fake = [
    "--use-fake-device-for-media-stream=device-count=2",
    `--use-file-for-fake-audio-capture=${voice(folder, hz)}`,
  ];
  return puppeteer.launch({
    executablePath: lab ? chromiumAt(lab, at, folder) : CHROMIUM,
    // a browser in a namespace can't be reached by a port
    pipe: lab !== null,
    ...(soundServer ? { env: { ...env, PULSE_SERVER: soundServer } } : {}),
    ignoreDefaultArgs: [...(slowsHidden ? NEVER_SLOW : []), ...(soundServer ? ["--mute-audio"] : [])],
    args: [
      "--no-sandbox",
      `--host-resolver-rules=MAP ${INSECURE} 127.0.0.1`,
      "--autoplay-policy=no-user-gesture-required",
      ...(lab ? [`--unsafely-treat-insecure-origin-as-secure=${origin}`] : []),
      ...(devices === "none" || soundServer ? [] : fake),
      ...(devices === "denied" || devices === "no-camera"
        ? []
        : ["--use-fake-ui-for-media-stream", "--auto-select-desktop-capture-source=Entire"]),
      ...(trustsAll ? ["--ignore-certificate-errors"] : []),
      ...(browsing.flags ?? []),
    ],
  });
}

/** A script that runs Chromium on a host of a lab. */
function chromiumAt(lab: Lab, at: string, folder: string): string {
  const path = join(folder, `chromium-${at}`);
  writeFileSync(path, `#!/bin/sh\nexec ${lab.enter(at).join(" ")} ${CHROMIUM} "$@"\n`, { mode: 0o755 });
  return path;
}

function firefox(hasPlugin: boolean): Promise<Browser> {
  const { MOZ_GMP_PATH, ...others } = env;
  return puppeteer.launch({
    browser: "firefox",
    executablePath: FIREFOX,
    extraPrefsFirefox: FIREFOX_PREFERENCES,
    env: hasPlugin ? env : others,
  });
}

/** Answers for the user when pages of an origin ask for the local network. */
export async function answerLocalNetwork(page: Page, origin: string, setting: "granted" | "denied"): Promise<void> {
  const session = await page.browser().target().createCDPSession();
  for (const name of ["local-network", "loopback-network"]) {
    await session.send("Browser.setPermission", { origin, permission: { name }, setting });
  }
}

/** Kills a page's browser, with all its processes. */
export function kill(browser: Browser): void {
  signal(browser, "SIGKILL");
}

/** Makes a browser stand still for that long, as in a machine that sleeps; all browsers of a call at the same time. */
export async function sleepAll(browsers: readonly Browser[], ms: number): Promise<void> {
  for (const browser of browsers) signal(browser, "SIGSTOP");
  try {
    await new Promise((resolve) => setTimeout(resolve, ms));
  } finally {
    for (const browser of browsers) signal(browser, "SIGCONT");
  }
}

/** Sends a signal to all processes of a browser. */
function signal(browser: Browser, name: NodeJS.Signals): void {
  const pid = browser.process()?.pid;
  if (pid === undefined) throw new Error("the browser has ended");
  process.kill(-pid, name);
}

/** Processor time that a page's browser has used so far, all of its processes, in milliseconds. */
export function cpuMs(page: Page): number {
  const group = page.browser().process()?.pid;
  const tickMs = 10;
  let ticks = 0;
  for (const name of readdirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const fields = readFileSync(`/proc/${name}/stat`, "latin1").replace(/.*\) /, "").split(" ");
      // after the name: state, parent, process group; user and system time
      if (Number(fields[2]) === group) ticks += Number(fields[11]) + Number(fields[12]);
    } catch {
      // it ended meanwhile
    }
  }
  return ticks * tickMs;
}

/** Makes a page note its connections, and each picture that it shows, from its first script on. */
export async function watchPage(page: Page): Promise<void> {
  await page.evaluateOnNewDocument(() => {
    window.parts = () => {
      const roots = [document, ...[...document.querySelectorAll("*")].flatMap((element) => element.shadowRoot ?? [])];
      return roots.flatMap((root) => [...root.querySelectorAll<HTMLVideoElement>("video[data-part]")]);
    };
    // another parent's picture waits below the one that is shown
    const isOnTop = (video: HTMLVideoElement) => {
      const tile = [...(video.parentElement?.querySelectorAll("video") ?? [])];
      return tile.filter(({ videoWidth }) => videoWidth > 0).at(-1) === video;
    };
    window.shown = () => window.parts().find(isOnTop);
    [window.shownMs, window.skews, window.connections] = [[], [], []];
    const origin = performance.timeOrigin;
    // RTP timestamps count from 1970, modulo 32 bits: time since the capture, at a time since 1970
    const sinceMs = (atMs: number, rtp: number, khz: number) => {
      const steps = (BigInt(Math.round(atMs * khz)) - BigInt(rtp)) & 0xffff_ffffn;
      return Number(BigInt.asIntN(32, steps)) / khz;
    };
    const note = (video: HTMLVideoElement, shown: VideoFrameCallbackMetadata) => {
      // the page may put it on top by the same picture
      setTimeout(() => isOnTop(video) && window.shownMs.push(origin + shown.presentationTime));
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
      if (element instanceof HTMLVideoElement && element.requestVideoFrameCallback) {
        element.requestVideoFrameCallback(function see(_, shown) {
          note(element, shown);
          element.requestVideoFrameCallback(see);
        });
      }
      return element;
    }) as typeof document.createElement;
    window.RTCPeerConnection = class extends RTCPeerConnection {
      constructor(configuration?: RTCConfiguration) {
        super(configuration);
        window.connections.push(this);
      }
    };
  });
  page.on("console", (message) => env["VERBOSE"] && console.error("page says:", message.text()));
  page.on("pageerror", (error) => console.error("page:", error));
  page.on("error", (error) => console.error("page:", error));
}

/** A file with a hum in syllables, for a browser's microphone. */
function voice(folder: string, hz: number): string {
  const path = join(folder, `voice-${hz}.wav`);
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
