// Messages between the window, which owns the connections, and the worker, which owns the peer.

import type {
  Aside,
  Listed,
  Member,
  Named,
  Newcomer,
  PageSnapshot,
  Event as PeerEvent,
  Snapshot as RoomSnapshot,
} from "./app.js";
import type { Encoder, Rates } from "./counters.js";
import type { Reason } from "./refused.js";
import type { Counts, Opening, PictureFormat, Shown } from "./wire.js";

/** From the window to the worker. */
export type ToWorker =
  | { to: "join"; module: string; opening: Opening }
  | { to: "described"; link: number; sdp: string }
  | { to: "found"; link: number; candidates: string[] }
  | { to: "network-changed" }
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
  | { to: "turn"; server: RTCIceServer }
  | { to: "offer"; link: number }
  | { to: "answer"; link: number; sdp: string }
  | { to: "accept"; link: number; sdp: string }
  | { to: "restart"; link: number; offer: string | null }
  | { to: "paths"; link: number; candidates: string[] }
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

/** A peer with its name as it is shown: told apart from names that look alike by the first digits of the id. */
export type Labelled<T> = T & { label: string };

/**
 * Events of a room. Beside an event stand the names of its peers as they are shown, and how many others it stands for.
 * A `reason` is a code, and `why` an English sentence for logs.
 */
export type RoomEvent = (
  | Exclude<PeerEvent, { what: "refused" | "trouble" }>
  | { what: "refused" | "trouble"; reason: Reason; why: string }
) &
  Aside;

/** Name of a layout. */
export type LayoutName = Snapshot["layout"];

type Both = RoomSnapshot & PageSnapshot;

/** What the peer in the worker knows of its room. */
export interface PeerSnapshot extends Omit<Both, "peer" | "stage" | "waiting" | "wanting" | "directory" | "labels"> {
  /** Id of this peer. */
  peer: string;
  stage: Labelled<Member>[];
  /** At the host: newcomers in the lobby. */
  waiting: Labelled<Newcomer>[];
  /** At the host: peers that want to speak. */
  wanting: Labelled<Named>[];
  /** At the host: its directory. */
  directory: Labelled<Listed>[];
}

/** What the page knows of its room, and of itself. */
export interface Snapshot extends PeerSnapshot, Rates {
  encoder: Encoder | null;
}

/** The snapshot of the peer, each of its peers with its label. */
export function labelled({ labels, ...seen }: Both): PeerSnapshot {
  const label = <T extends { peer: string; name: string }>(one: T): Labelled<T> => ({
    ...one,
    label: labels[one.peer] ?? one.name,
  });
  const { stage, waiting, wanting, directory } = seen;
  return {
    ...seen,
    peer: seen.peer ?? "",
    stage: stage.map(label),
    waiting: waiting.map(label),
    wanting: wanting.map(label),
    directory: directory.map(label),
  };
}
