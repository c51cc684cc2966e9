// The state of the simulated room, read from the module's bytes (crates/sim/src/exhibit/view.rs describes them).

/** Numbers of the acts. */
export const act = {
  kill: 0,
  killMixer: 1,
  killHost: 2,
  killRendezvous: 3,
  reviveRendezvous: 4,
  cutOff: 5,
  heal: 6,
  killMany: 7,
  newcomers: 8,
} as const;

export const role = { viewer: 0, speaker: 1, candidate: 2, standby: 3, mixer: 4 } as const;
export const state = { absent: 0, there: 1, dead: 2, left: 3 } as const;

export interface Peer {
  /** Index of the peer that feeds this one; at a speaker the mixer that it sends to; -1: none. */
  readonly above: number;
  readonly continent: number;
  readonly role: number;
  readonly state: number;
  readonly sees: boolean;
  readonly watches: boolean;
  readonly isHost: boolean;
  readonly isCutOff: boolean;
}

export interface View {
  readonly timeMs: number;
  readonly viewers: number;
  readonly seeing: number;
  readonly term: number;
  readonly failovers: number;
  readonly rendezvousUp: boolean;
  /** Index of the continent that is cut off. */
  readonly cut: number | null;
  /** Effect of the latest act. */
  readonly recovery: {
    readonly act: number | null;
    readonly lost: number;
    readonly again: number;
    readonly halfMs: number;
    readonly lastMs: number;
    readonly isOver: boolean;
  };
  readonly peers: readonly Peer[];
}

const version = 1;
const headerWords = 15;
const peerBytes = 6;
const none = 0xffff_ffff;

export function readView(bytes: ArrayBuffer): View {
  const data = new DataView(bytes);
  const word = (at: number) => data.getUint32(4 * at, true);
  if (word(0) !== version) throw new Error(`version ${word(0)} of the module, not ${version}`);
  const optional = (at: number) => (word(at) === none ? null : word(at));
  const peers = Array.from({ length: word(2) }, (_, nth): Peer => {
    const at = 4 * headerWords + nth * peerBytes;
    const above = data.getUint16(at, true);
    const flags = data.getUint8(at + 5);
    return {
      above: above === 0xffff ? -1 : above,
      continent: data.getUint8(at + 2),
      role: data.getUint8(at + 3),
      state: data.getUint8(at + 4),
      sees: (flags & 1) !== 0,
      watches: (flags & 2) !== 0,
      isHost: (flags & 4) !== 0,
      isCutOff: (flags & 8) !== 0,
    };
  });
  return {
    timeMs: word(1),
    viewers: word(3),
    seeing: word(4),
    term: word(5),
    failovers: word(6),
    rendezvousUp: word(7) !== 0,
    cut: optional(8),
    recovery: {
      act: optional(9),
      lost: word(10),
      again: word(11),
      halfMs: word(12),
      lastMs: word(13),
      isOver: word(14) !== 0,
    },
    peers,
  };
}
