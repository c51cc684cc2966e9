// What browsers count of a link, and when a limit of the encoder is told.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Counters, type Limit, LimitWatch } from "../src/counters.js";

const report = (...stats: object[]) => new Map(stats.map((one, at) => [`${at}`, one])) as unknown as RTCStatsReport;

test("rates and the encoder's figures are those since the last count", () => {
  const counters = new Counters();
  const at = (seconds: number, reason: string) =>
    counters.count(
      report(
        { type: "transport", bytesReceived: 50_000 * seconds, bytesSent: 250_000 * seconds },
        {
          type: "outbound-rtp",
          mid: "2",
          packetsSent: 200 * seconds,
          framesEncoded: 30 * seconds,
          totalEncodeTime: 0.3 * seconds,
          bytesSent: 125_000 * seconds,
          totalPacketSendDelay: 2 * seconds,
          qualityLimitationReason: reason,
        },
        {
          type: "outbound-rtp",
          mid: "0",
          packetsSent: 100,
          framesEncoded: 1_000 * seconds,
          qualityLimitationReason: "cpu",
        },
      ),
      "2",
      5000 + 1000 * seconds,
    );
  at(1, "none");
  const counts = at(2, "bandwidth");
  assert.deepEqual(counters.rates, { received_bps: 400_000, sent_bps: 2_000_000 });
  const { encode_ms, ...rest } = counters.encoder ?? {};
  assert.deepEqual(rest, { limit: "bandwidth", bitrate_bps: 1_000_000 });
  assert.equal(Math.round(encode_ms ?? 0), 10);
  assert.equal(counts.queueUs, 10_000);
  at(2, "none");
  assert.equal(counters.encoder, null, "no picture since");
});

test("a limit that has lasted is told, and again only after a time without", () => {
  const watch = new LimitWatch();
  const told = (...spans: [Limit | null, number][]) =>
    spans
      .flatMap(([limit, looks]) => Array.from({ length: looks }, () => watch.observe(limit)))
      .filter((limit) => limit !== null);
  assert.deepEqual(told(["bandwidth", 5], [null, 5], ["bandwidth", 9]), [], "it ends in time");
  assert.deepEqual(told(["bandwidth", 1], ["bandwidth", 60], [null, 3], ["bandwidth", 60]), ["bandwidth"]);
  assert.deepEqual(told(["cpu", 1]), ["cpu"], "another reason");
  assert.deepEqual(told([null, 10], ["cpu", 10]), ["cpu"]);
});
