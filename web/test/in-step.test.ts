// How long picture and sound are made to wait for each other.

import assert from "node:assert/strict";
import { test } from "node:test";

import { type Delays, nextDelays, Tile } from "../src/in-step.js";

/**
 * Compares for some seconds what buffers hold, each at least so long as it would by itself; returns all differences.
 */
function differences(alone: (second: number) => Delays, seconds: number): number[] {
  let delays: Delays = { picture: 0, sound: 0 };
  return Array.from({ length: seconds }, (_, second) => {
    const { picture, sound } = alone(second);
    const later = Math.max(sound, delays.sound) - Math.max(picture, delays.picture);
    delays = nextDelays(delays, later);
    return Math.abs(later);
  });
}

test("picture and sound come in step within seconds, whichever is later", () => {
  for (const [picture, sound] of [
    [11, 60],
    [11, 250],
    [90, 40],
    [300, 60],
  ] as const) {
    const apart = differences(() => ({ picture, sound }), 20);
    assert.ok(
      apart.slice(10).every((ms) => ms < 10),
      `${picture} and ${sound}: ${apart.map(Math.round)}`,
    );
  }
});

test("no delay stays when the other one needs it no more", () => {
  let delays = { picture: 240, sound: 0 };
  for (let second = 0; second < 10; second++) delays = nextDelays(delays, 40 - Math.max(30, delays.picture));
  assert.ok(delays.picture < 50 && delays.sound === 0, JSON.stringify(delays));
});

test("a delay has a limit", () => {
  let delays = { picture: 0, sound: 0 };
  for (let second = 0; second < 100; second++) delays = nextDelays(delays, 5000);
  assert.deepEqual(delays, { picture: 1000, sound: 0 });
});

test("on a line with losses, picture and sound wait for what is sent again", () => {
  const tile = new Tile();
  const leastMs = (...losses: boolean[]) => losses.map((isLost) => tile.leastMs(isLost)).at(-1);
  const none = (seconds: number) => Array<boolean>(seconds).fill(false);
  assert.equal(leastMs(true, true, false, true, true, ...none(5)), 0, "some losses make no such line");
  assert.equal(leastMs(true, true, true, false, true, true), 250);
  assert.equal(leastMs(...none(9)), 250);
  assert.equal(leastMs(false), 0);
});
