// Figures of what pages show and play.

import { execFileSync } from "node:child_process";

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
 * Reads the row of cells in each tile of a grid of so many columns and rows, out of the picture that a page shows; null where a
 * tile shows no row, or one whose parity is wrong.
 */
export async function timeCodes(page: Page, columns: number, rows: number): Promise<(TimeCode | null)[]> {
  const tiles = await page.evaluate(
    (columns, rows, count) => {
      const video = window.shown();
      const canvas = document.createElement("canvas");
      const context = canvas.getContext("2d");
      if (!video || !context) throw new Error("nothing is shown");
      const [width, height] = [video.videoWidth, video.videoHeight];
      [canvas.width, canvas.height] = [width, height];
      context.drawImage(video, 0, 0, width, height);
      const [tileWidth, tileHeight] = [width / columns, height / rows];
      return Array.from({ length: columns * rows }, (_, tile) => {
        const top = Math.floor(tile / columns) * tileHeight + tileHeight / 30;
        const left = (tile % columns) * tileWidth;
        const cell = (at: number) => left + ((at + 0.5) * tileWidth) / count;
        return Array.from({ length: count }, (_, at) => context.getImageData(cell(at), top, 1, 1).data[1] ?? 0);
      });
    },
    columns,
    rows,
    CELLS,
  );
  const atMs = Date.now();
  return tiles.map((cells) => {
    const bits = cells.map((value) => (value > 127 ? 1 : 0));
    const isEven = bits.reduce((sum, bit) => sum + bit, 0) % 2 === 0;
    const number = (from: number, to: number) => bits.slice(from, to).reduce((sum, bit) => 2 * sum + bit, 0);
    const [speaker, frame] = [number(0, 4), number(4, 31)];
    return isEven && frame > 0 ? { speaker, frame, atMs } : null;
  });
}

/** Level of a frequency in what a page plays, in decibels: the loudest within two seconds, of each. */
export function levelsAt(page: Page, frequencies: readonly number[]): Promise<number[]> {
  return page.evaluate(async (frequencies) => {
    const stream = window.shown()?.srcObject;
    const loudest = frequencies.map(() => -200);
    if (!(stream instanceof MediaStream) || stream.getAudioTracks().length === 0) return loudest;
    const context = new AudioContext({ sampleRate: 48_000 });
    const analyser = context.createAnalyser();
    analyser.fftSize = 16_384;
    analyser.smoothingTimeConstant = 0;
    context.createMediaStreamSource(stream).connect(analyser);
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

/** Hashes of the pictures in a recording, as they were encoded, in order. */
export function hashes(recording: string): string[] {
  const args = ["-v", "error", "-select_streams", "v:0", "-show_entries", "packet=data_hash", "-show_data_hash", "md5", "-of", "csv=p=0", recording];
  return execFileSync("ffprobe", args, { encoding: "utf8", maxBuffer: 1 << 26 }).trim().split("\n");
}

/** When the pictures in a recording are due, from the first one on, in milliseconds. */
export function picturesAtMs(recording: string): number[] {
  const args = ["-v", "error", "-select_streams", "v:0", "-show_entries", "packet=pts_time", "-of", "csv=p=0", recording];
  const times = execFileSync("ffprobe", args, { encoding: "utf8", maxBuffer: 1 << 26 }).trim().split("\n");
  const atMs = times.map((seconds) => 1000 * Number.parseFloat(seconds)).sort((one, other) => one - other);
  return atMs.map((at) => at - (atMs[0] ?? at));
}
