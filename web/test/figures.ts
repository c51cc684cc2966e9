// Figures of what pages show and play.

import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { env } from "node:process";

import type { Page } from "puppeteer-core";

/** Cells of the row across the top of the test source's picture. */
const CELLS = 32;

/** What the row of cells says: which speaker, and its frames since it began. */
export interface TimeCode {
  speaker: number;
  frame: number;
  /** When the picture was read, in milliseconds since 1970. */
  atMs: number;
}

/**
 * Reads the row of cells in each tile of a grid of so many columns and rows, out of the picture that a page shows; null
 * where a tile shows no row, or one whose parity is wrong.
 */
export async function timeCodes(page: Page, columns: number, rows: number): Promise<(TimeCode | null)[]> {
  const tiles = await page.evaluate(
    (columns, rows, count) => {
      const video = window.shown();
      const canvas = document.createElement("canvas");
      const context = canvas.getContext("2d", { willReadFrequently: true });
      if (!video || !context) throw new Error("nothing is shown");
      const [width, height] = [video.videoWidth, video.videoHeight];
      [canvas.width, canvas.height] = [width, height];
      context.drawImage(video, 0, 0, width, height);
      const { data } = context.getImageData(0, 0, width, height);
      const [tileWidth, tileHeight] = [width / columns, height / rows];
      return Array.from({ length: columns * rows }, (_, tile) => {
        const top = Math.floor(Math.floor(tile / columns) * tileHeight + tileHeight / 30);
        const left = (tile % columns) * tileWidth;
        const cell = (at: number) => Math.floor(left + ((at + 0.5) * tileWidth) / count);
        return Array.from({ length: count }, (_, at) => data[4 * (top * width + cell(at)) + 1] ?? 0);
      });
    },
    columns,
    rows,
    CELLS,
  );
  const atMs = Date.now();
  return tiles.map((cells) => {
    const bits = cells.map((value) => (value > 127 ? 1 : 0));
    const isEven = bits.reduce<number>((sum, bit) => sum + bit, 0) % 2 === 0;
    const number = (from: number, to: number) => bits.slice(from, to).reduce<number>((sum, bit) => 2 * sum + bit, 0);
    const [speaker, frame] = [number(0, 4), number(4, 31)];
    return isEven && frame > 0 ? { speaker, frame, atMs } : null;
  });
}

/** Level of each frequency in what a page plays within two seconds, in decibels: the loudest. */
export function levelsAt(page: Page, frequencies: readonly number[]): Promise<number[]> {
  return page.evaluate(async (frequencies) => {
    const streams = window.parts().map((part) => part.srcObject);
    const heard = streams.find((stream) => stream instanceof MediaStream && stream.getAudioTracks().length > 0);
    const loudest = frequencies.map(() => -200);
    if (!(heard instanceof MediaStream)) return loudest;
    const context = new AudioContext({ sampleRate: 48_000 });
    const analyser = context.createAnalyser();
    analyser.fftSize = 16_384;
    analyser.smoothingTimeConstant = 0;
    context.createMediaStreamSource(new MediaStream(heard.getAudioTracks())).connect(analyser);
    const levels = new Float32Array(analyser.frequencyBinCount);
    for (let at = 0; at < 40; at++) {
      await new Promise((resolve) => setTimeout(resolve, 50));
      analyser.getFloatFrequencyData(levels);
      for (const [index, hz] of frequencies.entries()) {
        const bin = Math.round((hz * analyser.fftSize) / 48_000);
        loudest[index] = Math.max(loudest[index] ?? -200, ...levels.subarray(bin - 1, bin + 2));
      }
    }
    await context.close();
    return loudest;
  }, frequencies);
}

/** Records what a page shows and plays, for so long. */
export async function record(page: Page, ms: number, path: string): Promise<void> {
  // between two parents the last picture stands, and its tracks have ended
  await page.waitForFunction(() => (window.shown()?.srcObject as MediaStream | null)?.active, { polling: 50 });
  const recorded = await page.evaluate(async (ms) => {
    const stream = window.shown()?.srcObject;
    if (!(stream instanceof MediaStream)) throw new Error("nothing is shown");
    const recorder = new MediaRecorder(stream, {
      mimeType: "video/webm;codecs=vp8,opus",
      videoBitsPerSecond: 4_000_000,
    });
    const whole = new Promise<Blob>((resolve) => (recorder.ondataavailable = ({ data }) => resolve(data)));
    recorder.start();
    await new Promise((resolve) => setTimeout(resolve, ms));
    recorder.stop();
    const bytes = new Uint8Array(await (await whole).arrayBuffer());
    return btoa(bytes.reduce((text, byte) => text + String.fromCharCode(byte), ""));
  }, ms);
  writeFileSync(path, Buffer.from(recorded, "base64"));
}

/** Least and greatest delay of beep behind flash in a recording, of any speaker, in milliseconds. */
export function skewRange(recording: string, speakers: number): [number, number] {
  const judge = env["JUDGE"] ?? "judge";
  const said = execFileSync(judge, [`${speakers}`, recording], { encoding: "utf8" });
  const [, least, most] = /skew (-?\d+) to (-?\d+) ms/.exec(said) ?? [];
  if (least === undefined || most === undefined) throw new Error(`no skew in: ${said}`);
  return [Number(least), Number(most)];
}

/** Hashes of the pictures in a recording, as they were encoded, in order. */
export function hashes(recording: string): string[] {
  const args = [
    "-v",
    "error",
    "-select_streams",
    "v:0",
    "-show_entries",
    "packet=data_hash",
    "-show_data_hash",
    "md5",
    "-of",
    "csv=p=0",
    recording,
  ];
  return execFileSync("ffprobe", args, { encoding: "utf8", maxBuffer: 1 << 26 })
    .trim()
    .split("\n");
}

/** When the pictures in a recording are due, from the first one on, in milliseconds. */
export function picturesAtMs(recording: string): number[] {
  const args = [
    "-v",
    "error",
    "-select_streams",
    "v:0",
    "-show_entries",
    "packet=pts_time",
    "-of",
    "csv=p=0",
    recording,
  ];
  const times = execFileSync("ffprobe", args, { encoding: "utf8", maxBuffer: 1 << 26 })
    .trim()
    .split("\n");
  const atMs = times.map((seconds) => 1000 * Number.parseFloat(seconds)).sort((one, other) => one - other);
  return atMs.map((at) => at - (atMs[0] ?? at));
}
