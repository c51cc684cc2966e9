// What a browser counts of one link: traffic, and the encoder of this page's own pictures.

import { type Counts, OWN_CANDIDATES } from "./wire.js";

/** What keeps an encoder from the size, rate and bit rate that the room asks for. */
export type Limit = "cpu" | "bandwidth";

/** The encoder of this page's own pictures. */
export interface Encoder {
  limit: Limit | null;
  /** Time to encode one picture, in milliseconds; null while there is none. */
  encode_ms: number | null;
  bitrate_bps: number;
}

/** Rates of a link in the last second, in bits per second. */
export interface Rates {
  received_bps: number;
  sent_bps: number;
}

/** Sums since a link's begin, of which differences count. */
interface Sums {
  atMs: number;
  received: number;
  sent: number;
  /** Wait of all packets in the browser's queue, in seconds, and their number. */
  waitSeconds: number;
  packets: number;
  /** Pictures that the encoder has made, the time it took, in seconds, and their bytes. */
  pictures: number;
  encodeSeconds: number;
  encodedBytes: number;
}

const NONE: Sums = {
  atMs: 0,
  received: 0,
  sent: 0,
  waitSeconds: 0,
  packets: 0,
  pictures: 0,
  encodeSeconds: 0,
  encodedBytes: 0,
};

export class Counters {
  #sums = NONE;
  rates: Rates = { received_bps: 0, sent_bps: 0 };
  /** Null while this link sends no own pictures. */
  encoder: Encoder | null = null;

  /** Counts what a connection reports; `ownSection` is the id of the section (mid) that carries its own pictures. */
  count(report: RTCStatsReport, ownSection: string | null, nowMs: number): Counts {
    const counts: Counts = {
      bytesSent: 0,
      bytesReceived: 0,
      packetsSent: 0,
      repairsSent: 0,
      packetsReceived: 0,
      rttUs: null,
      queueUs: 0,
      isRelayed: false,
      ownCandidate: "unknown",
    };
    const sums: Sums = { ...NONE, atMs: nowMs };
    let limit: Limit | null = null;
    report.forEach((stats) => {
      switch (stats.type) {
        case "transport":
          counts.bytesSent += stats.bytesSent ?? 0;
          counts.bytesReceived += stats.bytesReceived ?? 0;
          break;
        case "candidate-pair":
          if (stats.nominated) {
            const { currentRoundTripTime: rtt, localCandidateId, remoteCandidateId } = stats;
            if (rtt !== undefined) counts.rttUs = Math.round(1e6 * rtt);
            const ends = [localCandidateId, remoteCandidateId].map((id) => report.get(id)?.candidateType);
            counts.isRelayed = ends.includes("relay");
            counts.ownCandidate = OWN_CANDIDATES.find((kind) => kind === ends[0]) ?? "unknown";
          }
          break;
        case "outbound-rtp":
          counts.packetsSent += (stats.packetsSent ?? 0) - (stats.retransmittedPacketsSent ?? 0);
          counts.repairsSent += stats.retransmittedPacketsSent ?? 0;
          sums.waitSeconds += stats.totalPacketSendDelay ?? 0;
          sums.packets += stats.packetsSent ?? 0;
          if (ownSection !== null && stats.mid === ownSection) {
            sums.pictures += stats.framesEncoded ?? 0;
            sums.encodeSeconds += stats.totalEncodeTime ?? 0;
            sums.encodedBytes += stats.bytesSent ?? 0;
            const reason = stats.qualityLimitationReason;
            if (reason === "cpu" || reason === "bandwidth") limit = reason;
          }
          break;
        case "inbound-rtp":
          counts.packetsReceived += stats.packetsReceived ?? 0;
          break;
      }
    });
    [sums.received, sums.sent] = [counts.bytesReceived, counts.bytesSent];
    const before = this.#sums;
    this.#sums = sums;
    const packets = sums.packets - before.packets;
    if (packets > 0)
      counts.queueUs = Math.max(0, Math.round((1e6 * (sums.waitSeconds - before.waitSeconds)) / packets));
    const bps = (bytes: number) => Math.max(0, Math.round((8000 * bytes) / Math.max(1, sums.atMs - before.atMs)));
    this.rates = { received_bps: bps(sums.received - before.received), sent_bps: bps(sums.sent - before.sent) };
    const pictures = sums.pictures - before.pictures;
    this.encoder =
      pictures <= 0
        ? null
        : {
            limit,
            encode_ms: (1000 * (sums.encodeSeconds - before.encodeSeconds)) / pictures,
            bitrate_bps: bps(sums.encodedBytes - before.encodedBytes),
          };
    return counts;
  }
}

/** Counts of a limit, one a second, after which it is told: browsers try out a line for some seconds. A guess. */
const LASTS_LEN = 10;

/** Tells when an encoder is limited for so long that its user should know, once until it has been free for as long. */
export class LimitWatch {
  #told: Limit | null = null;
  #limited = 0;
  #free = 0;

  /** Returns a limit that is to be told now. */
  observe(limit: Limit | null): Limit | null {
    this.#free = limit === null ? this.#free + 1 : 0;
    this.#limited = limit === null ? 0 : this.#limited + 1;
    if (this.#free >= LASTS_LEN) this.#told = null;
    if (limit === null || limit === this.#told || this.#limited < LASTS_LEN) return null;
    this.#told = limit;
    return limit;
  }
}
