// Calls to the module and its asks, as bytes: the format of postcard (https://postcard.jamesmunns.com/wire-format).
// crates/web/src/wire.rs is the other end; golden/wire.json holds both to one format.

/** The room that a page enters: that of an invite, or one that it opens. */
export type Entered = { invite: string } | { hosting: Hosting };

/** A room that a page opens. */
export interface Hosting {
  /** Address of its rendezvous. */
  rendezvous: string;
  /** Address of the page that the invite leads to; null for that of the rendezvous. */
  page: string | null;
  /** Keys from the last ask "keys", to go on with a room; empty for a new one. */
  keys: Uint8Array;
  title: string;
  /** Whether each newcomer waits until the host lets it in. */
  lobby: boolean;
  /** Whether every peer that asks may speak. */
  stageOpen: boolean;
  /**
   * Whether only the host and peers that it named may mix, or any that consents; null: the former on a closed stage.
   */
  mixByNamed: boolean | null;
}

export interface Opening {
  room: Entered;
  password: string | null;
  name: string;
  speaks: boolean;
  views: boolean;
  /** Maximum number of peers that the page feeds; 0 for none. */
  childrenMax: number;
  /** Secret key of this peer: 32 random bytes that a reload keeps. */
  identity: Uint8Array;
  /** 32 random bytes, new for each call. */
  entropy: Uint8Array;
}

/** Counters of a link since its start. */
export interface Counts {
  bytesSent: number;
  bytesReceived: number;
  /** Media packets, without repairs. */
  packetsSent: number;
  repairsSent: number;
  packetsReceived: number;
  rttUs: number | null;
  /** Mean wait of the last second's packets in the browser's queue. */
  queueUs: number;
  /** Whether the link goes over a relay (TURN). */
  isRelayed: boolean;
  /** Kind of this end's address in the pair that ICE has selected. */
  ownCandidate: (typeof OWN_CANDIDATES)[number];
}

/** Kinds of local ICE candidates as statistics name them, and before one is selected. */
export const OWN_CANDIDATES = ["unknown", "host", "srflx", "prflx", "relay"] as const;

/** A picture to show, with its sound: link and slot of each. */
export interface Shown {
  /** Id of the speaker; null for the program. */
  speaker: string | null;
  picture: Place;
  sound: Place;
}

export interface Place {
  link: number;
  slot: number;
}

/** Format of this peer's own pictures. */
export interface PictureFormat {
  width: number;
  height: number;
  fps: number;
  bitrateBps: number;
}

/** What a frame of the page's own stream is. */
export type OwnMedia = { is: "picture"; key: boolean } | { is: "sound"; level: number | null };

export type Call =
  | { call: "open"; opening: Opening }
  | { call: "tick" }
  | { call: "socket-opened" }
  | { call: "socket-frame"; bytes: Uint8Array }
  | { call: "socket-closed" }
  | { call: "described"; link: number; sdp: string }
  | { call: "link-up"; link: number }
  | { call: "link-down"; link: number }
  | { call: "received"; link: number; channel: number; bytes: Uint8Array }
  | { call: "frame"; link: number; slot: number; level: number | null; csrcs: number[]; data: Uint8Array }
  | { call: "command"; json: string }
  | { call: "snapshot" }
  | { call: "keyframe-wanted"; link: number; slot: number }
  | { call: "stats"; link: number; counts: Counts }
  | { call: "own-frame"; link: number; capturedUs: number; media: OwnMedia; data: Uint8Array }
  | { call: "sources"; picture: boolean; sound: boolean; shares: boolean }
  | { call: "line"; line: string }
  | { call: "found"; link: number; candidates: string[] }
  | { call: "network-changed" };

export type Ask =
  | { ask: "dial"; url: string }
  | { ask: "hang-up" }
  | { ask: "transmit"; bytes: Uint8Array<ArrayBuffer> }
  | { ask: "offer"; link: number }
  | { ask: "answer"; link: number; sdp: string }
  | { ask: "accept"; link: number; sdp: string }
  | { ask: "close"; link: number }
  | { ask: "send"; link: number; channel: number; bytes: Uint8Array<ArrayBuffer> }
  | { ask: "keyframe-wanted"; link: number; slot: number }
  | { ask: "show"; shown: Shown[] }
  | { ask: "event"; event: string; aside: string }
  | { ask: "snapshot"; room: string; page: string }
  | { ask: "frame"; link: number; slot: number; atUs: number; data: Uint8Array<ArrayBuffer> }
  | { ask: "own-frame"; data: Uint8Array<ArrayBuffer> }
  | { ask: "send-own"; links: number[] }
  | { ask: "picture"; format: PictureFormat }
  | { ask: "own-keyframe" }
  | { ask: "keys"; keys: Uint8Array<ArrayBuffer> }
  | { ask: "decode" }
  | { ask: "farewell"; bytes: Uint8Array<ArrayBuffer> }
  | { ask: "paths"; link: number; candidates: string[] }
  | { ask: "turn"; urls: string[]; username: string; password: string }
  | { ask: "restart"; link: number; offer: string | null };

/** Order of the calls, which is their number. */
const CALLS: readonly Call["call"][] = [
  "open",
  "tick",
  "socket-opened",
  "socket-frame",
  "socket-closed",
  "described",
  "link-up",
  "link-down",
  "received",
  "frame",
  "command",
  "snapshot",
  "keyframe-wanted",
  "stats",
  "own-frame",
  "sources",
  "line",
  "found",
  "network-changed",
];
class Writer {
  #bytes = new Uint8Array(256);
  #length = 0;

  #grow(by: number): number {
    const at = this.#length;
    this.#length += by;
    if (this.#length > this.#bytes.length) {
      const grown = new Uint8Array(Math.max(this.#length, 2 * this.#bytes.length));
      grown.set(this.#bytes);
      this.#bytes = grown;
    }
    return at;
  }

  u8(value: number): this {
    const at = this.#grow(1);
    this.#bytes[at] = value;
    return this;
  }

  varint(value: number): this {
    let rest = value;
    while (rest >= 0x80) {
      this.u8((rest % 0x80) | 0x80);
      rest = Math.floor(rest / 0x80);
    }
    return this.u8(rest);
  }

  bool(value: boolean): this {
    return this.u8(value ? 1 : 0);
  }

  fixed(bytes: Uint8Array): this {
    const at = this.#grow(bytes.length);
    this.#bytes.set(bytes, at);
    return this;
  }

  bytes(bytes: Uint8Array): this {
    return this.varint(bytes.length).fixed(bytes);
  }

  text(text: string): this {
    return this.bytes(new TextEncoder().encode(text));
  }

  option<T>(value: T | null, write: (value: T) => void): this {
    this.bool(value !== null);
    if (value !== null) write(value);
    return this;
  }

  done(): Uint8Array {
    return this.#bytes.subarray(0, this.#length);
  }
}

/** Encodes a call. */
export function encode(call: Call): Uint8Array {
  const to = new Writer().varint(CALLS.indexOf(call.call));
  switch (call.call) {
    case "open": {
      const { room, password, name, speaks, views, childrenMax, identity, entropy } = call.opening;
      if ("invite" in room) {
        to.varint(0).text(room.invite);
      } else {
        const { rendezvous, page, keys, title, lobby, stageOpen, mixByNamed } = room.hosting;
        to.varint(1)
          .text(rendezvous)
          .option(page, (page) => to.text(page))
          .bytes(keys)
          .text(title)
          .bool(lobby)
          .bool(stageOpen);
        to.option(mixByNamed, (byNamed) => to.bool(byNamed));
      }
      to.option(password, (text) => to.text(text))
        .text(name)
        .bool(speaks)
        .bool(views);
      to.u8(childrenMax).fixed(identity).fixed(entropy);
      break;
    }
    case "socket-frame":
      to.bytes(call.bytes);
      break;
    case "described":
      to.varint(call.link).text(call.sdp);
      break;
    case "link-up":
    case "link-down":
      to.varint(call.link);
      break;
    case "received":
      to.varint(call.link).u8(call.channel).bytes(call.bytes);
      break;
    case "frame":
      to.varint(call.link)
        .u8(call.slot)
        .option(call.level, (level) => to.u8(level))
        .varint(call.csrcs.length);
      for (const csrc of call.csrcs) to.varint(csrc);
      to.bytes(call.data);
      break;
    case "keyframe-wanted":
      to.varint(call.link).u8(call.slot);
      break;
    case "stats": {
      const { bytesSent, bytesReceived, packetsSent, repairsSent, packetsReceived, rttUs, queueUs, isRelayed } =
        call.counts;
      const { ownCandidate } = call.counts;
      to.varint(call.link).varint(bytesSent).varint(bytesReceived).varint(packetsSent).varint(repairsSent);
      to.varint(packetsReceived)
        .option(rttUs, (rttUs) => to.varint(rttUs))
        .varint(queueUs)
        .bool(isRelayed)
        .varint(OWN_CANDIDATES.indexOf(ownCandidate));
      break;
    }
    case "command":
      to.text(call.json);
      break;
    case "line":
      to.text(call.line);
      break;
    case "found":
      to.varint(call.link).varint(call.candidates.length);
      for (const candidate of call.candidates) to.text(candidate);
      break;
    case "own-frame": {
      const { media } = call;
      to.varint(call.link).varint(call.capturedUs);
      if (media.is === "picture") to.varint(0).bool(media.key);
      else to.varint(1).option(media.level, (level) => to.u8(level));
      to.bytes(call.data);
      break;
    }
    case "sources":
      to.bool(call.picture).bool(call.sound).bool(call.shares);
      break;
    case "tick":
    case "socket-opened":
    case "socket-closed":
    case "snapshot":
      break;
  }
  return to.done();
}

class Reader {
  #at = 0;
  constructor(readonly from: Uint8Array) {}

  u8(): number {
    const value = this.from[this.#at++];
    if (value === undefined) throw new RangeError("the bytes end too early");
    return value;
  }

  varint(): number {
    let value = 0;
    for (let scale = 1; ; scale *= 0x80) {
      const byte = this.u8();
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
    }
  }

  /** A copy: the bytes lie in the module's memory, which moves. */
  bytes(): Uint8Array<ArrayBuffer> {
    const length = this.varint();
    const bytes = this.from.slice(this.#at, this.#at + length);
    if (bytes.length !== length) throw new RangeError("the bytes end too early");
    this.#at += length;
    return bytes;
  }

  text(): string {
    return new TextDecoder().decode(this.bytes());
  }

  option<T>(read: () => T): T | null {
    return this.u8() === 0 ? null : read();
  }

  list<T>(read: () => T): T[] {
    return Array.from({ length: this.varint() }, read);
  }

  /** Bytes of a known number, as hexadecimal digits. */
  hex(length: number): string {
    return Array.from({ length }, () => this.u8().toString(16).padStart(2, "0")).join("");
  }
}

/** Decodes an ask. */
export function decode(bytes: Uint8Array): Ask {
  const from = new Reader(bytes);
  const variant = from.varint();
  switch (variant) {
    case 0:
      return { ask: "dial", url: from.text() };
    case 1:
      return { ask: "hang-up" };
    case 2:
      return { ask: "transmit", bytes: from.bytes() };
    case 3:
      return { ask: "offer", link: from.varint() };
    case 4:
      return { ask: "answer", link: from.varint(), sdp: from.text() };
    case 5:
      return { ask: "accept", link: from.varint(), sdp: from.text() };
    case 6:
      return { ask: "close", link: from.varint() };
    case 7:
      return { ask: "send", link: from.varint(), channel: from.u8(), bytes: from.bytes() };
    case 8:
      return { ask: "keyframe-wanted", link: from.varint(), slot: from.u8() };
    case 9:
      return { ask: "show", shown: from.list(() => shown(from)) };
    case 10:
      return { ask: "event", event: from.text(), aside: from.text() };
    case 11:
      return { ask: "snapshot", room: from.text(), page: from.text() };
    case 12:
      return {
        ask: "frame",
        link: from.varint(),
        slot: from.u8(),
        atUs: from.varint(),
        data: from.bytes(),
      };
    case 13:
      return { ask: "own-frame", data: from.bytes() };
    case 14:
      return { ask: "send-own", links: from.list(() => from.varint()) };
    case 15: {
      const [width, height, fps, bitrateBps] = [from.varint(), from.varint(), from.u8(), from.varint()];
      return { ask: "picture", format: { width, height, fps, bitrateBps } };
    }
    case 16:
      return { ask: "own-keyframe" };
    case 17:
      return { ask: "keys", keys: from.bytes() };
    case 18:
      return { ask: "decode" };
    case 19:
      return { ask: "farewell", bytes: from.bytes() };
    case 20:
      return { ask: "paths", link: from.varint(), candidates: from.list(() => from.text()) };
    case 21:
      return { ask: "turn", urls: from.list(() => from.text()), username: from.text(), password: from.text() };
    case 22:
      return { ask: "restart", link: from.varint(), offer: from.option(() => from.text()) };
    default:
      throw new RangeError(`ask ${variant} is not known`);
  }
}

function shown(from: Reader): Shown {
  const place = () => ({ link: from.varint(), slot: from.u8() });
  return { speaker: from.option(() => from.hex(32)), picture: place(), sound: place() };
}
