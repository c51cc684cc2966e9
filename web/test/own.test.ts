// Capture times of a page's own frames, without a browser.

import assert from "node:assert/strict";
import { test } from "node:test";

import { CaptureClock } from "../src/own.js";

const [HZ, DELAY_US, FRAME_US] = [48_000, 30_000, 20_000];
/** RTP timestamps before and after they wrap. */
const FIRST = 2 ** 32 - 96_000;

/**
 * Captures so many frames of 20 ms from a time on, and returns how late each one's capture time is, in microseconds.
 */
function lags(
  clock: CaptureClock,
  frames: number,
  firstRtp: number,
  fromUs: number,
  delayUs: (at: number) => number = () => 0,
): number[] {
  return Array.from({ length: frames }, (_, at) => {
    const capturedUs = fromUs + at * FRAME_US;
    const rtp = (firstRtp + (at * FRAME_US * HZ) / 1e6) % 2 ** 32;
    return capturedUs - clock.captured(rtp, capturedUs + DELAY_US + delayUs(at));
  });
}

test("a frame that the encoder delays keeps its capture time", () => {
  const clock = new CaptureClock(HZ, DELAY_US);
  const late = lags(clock, 300, FIRST, 1e15, (at) => (at > 0 && at % 10 === 0 ? 400_000 : 0));
  assert.ok(
    late.every((us) => Math.abs(us) <= 10),
    `${late}`,
  );
});

test("timestamps that stood still while there was no track make nothing late", () => {
  const clock = new CaptureClock(HZ, DELAY_US);
  lags(clock, 100, FIRST, 1e15);
  const again = lags(clock, 100, FIRST + 100 * 960, 1e15 + 100 * FRAME_US + 5e6);
  assert.ok(
    again.every((us) => Math.abs(us) <= 1),
    `${again}`,
  );
});

test("timestamps that begin anywhere after another track make nothing late", () => {
  for (const jump of [-1e9, -480_000, 480_000, 1e9]) {
    const clock = new CaptureClock(HZ, DELAY_US);
    lags(clock, 100, 2 ** 31, 1e15);
    const again = lags(clock, 100, 2 ** 31 + 96_000 + jump, 1e15 + 100 * FRAME_US);
    assert.ok(
      again.every((us) => Math.abs(us) <= 1),
      `${jump}: ${again}`,
    );
  }
});
