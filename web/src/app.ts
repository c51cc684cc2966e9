// What a page tells its room and hears of it. Written from crates/proto/src/app by its test:
// PLENARY_BLESS=1 cargo test -p plenary-proto --lib typescript

/**
 * Command of an application to its room. As JSON: `"leave"`, `{"admit":"<64 hex digits>"}`, `{"set-agent":["…",true]}`.
 *
 * The body checks a command before it obeys ([`RoomState::check`](crate::RoomState::check)). Those of the host's take
 * effect when the roster shows them ([`Command::settled`]).
 */
export type Command = "leave"
  | "reconnect-upstream"
  | { "speak": boolean }
  | { "mute-picture": boolean }
  | { "mute-sound": boolean }
  | { "tell": [Delivery, Array<number>] }
  | { "solo": Solo | null }
  | { "allow-solo": boolean }
  | { "voices": boolean }
  | { "records": boolean }
  | { "measure": PeerId }
  | "ask-rates"
  | { "set-children-max": number }
  | "take-back"
  | { "admit": PeerId }
  | { "deny": PeerId }
  | { "lobby": boolean }
  | { "lock": boolean }
  | { "open-stage": boolean }
  | { "set-mixing": MixPolicy }
  | "remove-unnamed"
  | { "promote": PeerId }
  | { "demote": PeerId }
  | { "remove": PeerId }
  | { "ban": PeerId }
  | { "set-members": Array<PeerId> }
  | { "set-agent": [PeerId, boolean] }
  | { "ask-to-mute": [PeerId, Muted] }
  | { "set-layout": Layout }
  | { "set-mixers": number }
  | { "hand-over": PeerId }
  | "renew-invite"
  | "end";

/**
 * Delivery guarantee of a piece of application data.
 */
export type Delivery = "reliable"
  | "loose";

/**
 * Layout of the program's tiles.
 */
export type Layout = "grid"
  | "active"
  | "share"
  | "side-by-side"
  | { "custom": Array<number> };

/**
 * Which of the peers that consent to mix may be elected.
 */
export type MixPolicy = "anyone"
  | "named";

/**
 * Media that a speaker doesn't send at present.
 */
export type Muted = {
/**
 * No picture.
 */
picture: boolean,
/**
 * No sound.
 */
sound: boolean, };

/**
 * Peer id: the peer's Ed25519 public key (RFC 8032). In JSON 64 hex digits.
 */
export type PeerId = string;

/**
 * Reason of a refusal, of an end or of an error that users meet.
 */
export type Reason = "not-an-invite"
  | "invite-damaged"
  | "invite-version"
  | "invite-expired"
  | "invite-replaced"
  | "password-needed"
  | "wrong-password"
  | "not-a-page"
  | "long-rendezvous"
  | "no-rendezvous"
  | "stage-full"
  | "stage-closed"
  | "locked"
  | "not-let-in"
  | "no-answer"
  | "room-version"
  | "other-version"
  | "bad-proof"
  | "not-open"
  | "not-yet"
  | "room-full"
  | "too-many-rooms"
  | "other-origin"
  | "host-present"
  | "late"
  | "malformed"
  | "long-frame"
  | "slow"
  | "closing"
  | "unknown"
  | "unreachable"
  | "silent"
  | "slept"
  | "no-protocol"
  | "wrong-clock"
  | "other-clock"
  | "removed"
  | "ended"
  | "replaced"
  | "left"
  | "lost"
  | "not-host"
  | "itself"
  | "off-stage"
  | "stranger"
  | "too-soon"
  | "nobody-answers"
  | "too-many-agents"
  | "too-many-mixers"
  | "no-such-command"
  | "wrong-argument"
  | "no-such-peer"
  | "several-peers"
  | "bad-keys"
  | "bad-rendezvous"
  | "no-speaker"
  | "second-camera"
  | "second-share"
  | "second-sound"
  | "not-on-stage"
  | "long-data"
  | "not-named"
  | "too-fast";

/**
 * Request for one speaker's own stream, as its mixer receives it.
 */
export type Solo = {
/**
 * The speaker.
 */
speaker: PeerId,
/**
 * Whether the stream replaces the program at the application. The program still arrives, for this peer's
 * children, and a speaker still hears its mix-minus.
 */
instead: boolean, };
