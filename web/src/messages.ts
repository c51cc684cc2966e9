// Messages between the window, which owns the connections, and the worker, which owns the peer.

import type { Layout, MixPolicy } from "./app.js";
import type { Encoder, Rates } from "./counters.js";
import type { Reason } from "./refused.js";
import type { Counts, Opening, PictureFormat, Shown } from "./wire.js";

/** From the window to the worker. */
export type ToWorker =
  | { to: "join"; module: string; opening: Opening }
  | { to: "described"; link: number; sdp: string }
  | { to: "link-up"; link: number }
  | { to: "link-down"; link: number }
  | { to: "stats"; link: number; counts: Counts }
  | { to: "received"; link: number; channel: number; bytes: ArrayBuffer }
  | { to: "dummies"; link: number; pictures: WritableStream<VideoFrame>; sound: WritableStream<AudioData> }
  | { to: "sources"; picture: boolean; sound: boolean; shares: boolean }
  | { to: "command"; json: string }
  | { to: "line"; line: string }
  | { to: "snapshot" };

/** From the worker to the window. */
export type ToWindow =
  | { to: "rendezvous"; stun: string }
  | { to: "offer"; link: number }
  | { to: "answer"; link: number; sdp: string }
  | { to: "accept"; link: number; sdp: string }
  | { to: "close"; link: number }
  | { to: "send"; link: number; channel: number; bytes: Uint8Array<ArrayBuffer> }
  | { to: "feed"; link: number }
  | { to: "send-own"; links: number[] }
  | { to: "own-keyframe"; link: number }
  | { to: "picture"; format: PictureFormat }
  | { to: "show"; shown: Shown[] }
  | { to: "event"; event: RoomEvent }
  | { to: "keys"; keys: Uint8Array<ArrayBuffer> }
  | { to: "farewell"; bytes: Uint8Array<ArrayBuffer> }
  | { to: "snapshot"; snapshot: PeerSnapshot }
  | { to: "failed"; reason: Reason; why: string };

/** Options of a receiver's or sender's transform. */
export interface Leg {
  link: number;
  slot: number;
  /** What the peer receives; what it relays, in place of dummies; what its own camera and microphone make. */
  side: "receive" | "relay" | "own";
}

export type RoomState = "joining" | "connected" | "reconnecting" | "closed";

/** Events of a room. A `reason` is a code, and `why` an English sentence for logs. A `label` is a peer's name as it is shown, told apart from names that look alike. */
export type RoomEvent =
  | { what: "state"; state: RoomState }
  | { what: "admitted" }
  | { what: "rendezvous"; up: boolean; reason: Reason | null }
  | { what: "refused"; reason: Reason; why: string }
  | { what: "trouble"; reason: Reason; why: string }
  | { what: "removed" }
  | { what: "ended" }
  | { what: "left" }
  | { what: "in-lobby" }
  | { what: "stage"; epoch: number }
  | { what: "parent"; peer: string | null }
  | { what: "backup"; peer: string | null }
  | { what: "no-mixer" }
  | { what: "no-place" }
  | { what: "speaking"; dominant: string | null; speaking: string[] }
  | { what: "invite"; invite: string }
  /** At most one a second; so many others have come before it since the last one. */
  | { what: "knock"; peer: string; name: string; label: string; mixes: boolean; others: number }
  | { what: "floor-wanted"; peer: string; name: string; label: string; others: number }
  /** At a host that takes its room back: another one had removed a peer meanwhile, which may come back. */
  | { what: "removed-by-another"; peer: string; name: string; label: string; by: string; by_label: string }
  | { what: "floor"; speaks: boolean }
  | { what: "floor-offered" }
  | { what: "floor-denied" }
  | { what: "muted-by-host"; picture: boolean; sound: boolean }
  | { what: "told"; from: string; label: string; host: boolean; named: boolean; text: string }
  | { what: "solo"; speaker: string; comes: boolean }
  | { what: "solo-refused"; speaker: string }
  | { what: "host"; peer: string | null }
  | { what: "mode"; mode: Mode }
  | { what: "not-forwarding"; peer: string; name: string; label: string }
  /** Which peers mix, and the same as text; null while nobody does. */
  | { what: "mixed-by"; mixers: string[]; text: string | null }
  /** The user has asked for a list by a line in the chat. */
  | { what: "lists"; list: "people" | "hands" | "commands" };

export type Mode = "Mesh" | "PassThrough" | "Mixer";

/** Name of a layout. */
export type LayoutName = Extract<Layout, string> | "custom";

/** A peer on stage. */
export interface Member extends Named {
  speaks: boolean;
  away: boolean;
  /** Picture, sound. */
  muted: [boolean, boolean];
  shares: boolean;
  /** Whether it consents to mix. */
  mixes: boolean;
  /** Whether it is the host, or the host named it: such peers vote. */
  named: boolean;
}

/** A peer with its name, and that name as it is shown: told apart from names that look alike by the first digits of the id. */
export interface Named {
  peer: string;
  name: string;
  label: string;
}

/** A newcomer in the lobby. */
export interface Waiting extends Named {
  /** Whether it comes for nothing but to mix: letting it in names it. */
  mixes: boolean;
}

/** A peer in the host's directory: parent null for none and on stage. */
export interface Listed extends Named {
  parent: string | null;
  depth: number;
}

/** Bit rates of a peer on the program's way, and how many viewers it feeds. */
export interface RatesOf extends Rates {
  /** The first 8 bytes of its id. */
  peer: string;
  children: number;
}

export interface Quantiles {
  p50: number;
  p95: number;
}

/** What the page knows of its room, and of itself. */
export interface Snapshot extends PeerSnapshot, Rates {
  encoder: Encoder | null;
}

/** What the peer in the worker knows of its room. */
export interface PeerSnapshot {
  peer: string;
  state: RoomState;
  title: string;
  mode: Mode;
  /** Number of other speakers that this one sends to and hears in a mesh. */
  meshed: number;
  host: string | null;
  /** At a page that has opened the room. */
  invite: string | null;
  locked: boolean;
  lobby: boolean;
  stage_open: boolean;
  mix_policy: MixPolicy;
  layout: LayoutName;
  stage: Member[];
  /** At the host: newcomers in the lobby. */
  waiting: Waiting[];
  /** At the host: peers that want to speak. */
  wanting: Named[];
  /** At the host: its directory. */
  audience: Listed[];
  /** At the host: number of viewers. */
  viewers: number | null;
  mixers: string[];
  /** The mixers as text; null while nobody mixes. */
  mixed_by: string | null;
  speaks: boolean;
  /** What this peer sends of its own. */
  sends: { picture: boolean; sound: boolean };
  parent: string | null;
  /** The way of the link to the parent. */
  way: "direct" | "relayed" | null;
  backup: string | null;
  children: string[];
  /** First 16 hex digits of the peers on the way of the program, from its mixer to this peer. */
  path: string[];
  /** Bit rates of the peers on that way above this one, if they were asked for in the last ten seconds. */
  rates_above: RatesOf[];
  depth: number | null;
  reparented: number;
  /** Links that are up, with their ways. */
  links: { peer: string; way: "direct" | "relayed" }[];
  late_ms: number;
  uplink_bps: number | null;
  /** Time from joining to the first picture. */
  first_frame_ms: number | null;
  frames_received: number;
  frames_expected: number;
  /** Pictures that a relay left out, since a link didn't carry them all. */
  frames_left_out: number;
  /** Pictures that came more than a second after their capture. */
  frames_late: number;
  /** Null before any picture. */
  longest_video_gap_ms: number | null;
  longest_audio_gap_ms: number | null;
  latency_ms: Quantiles | null;
  sound_latency_ms: Quantiles | null;
  av_skew_ms: Quantiles | null;
}
