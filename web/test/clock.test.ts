// The clock of a peer whose machine sleeps.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Clock } from "../src/clock.js";

/** A machine whose clocks are set by a test, in milliseconds. */
function machine() {
  const at = { steady: 1_000_000, wall: 1_000_000 };
  return {
    at,
    clock: new Clock(
      () => at.steady,
      () => at.wall,
    ),
  };
}

test("a clock jumps ahead by the time for which the machine has slept", () => {
  const { at, clock } = machine();
  assert.equal(clock.nowUs(), 1_000_000_000);
  at.wall += 600_000;
  assert.equal(clock.nowUs(), 1_600_000_000);
  [at.steady, at.wall] = [at.steady + 500, at.wall + 500];
  assert.equal(clock.nowUs(), 1_600_500_000, "it has not slept again");
});

test("a corrected wall clock moves a clock neither back nor slightly ahead", () => {
  const { at, clock } = machine();
  for (const wall of [1_000_900, 999_000, 0]) {
    at.wall = wall;
    assert.equal(clock.nowUs(), 1_000_000_000);
  }
  at.steady += 20;
  assert.equal(clock.nowUs(), 1_000_020_000);
});
