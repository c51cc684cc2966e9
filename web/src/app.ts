// What a page tells its room and hears of it. Written from crates/proto/src/app by its test:
// PLENARY_BLESS=1 cargo test -p plenary-proto --lib typescript

/**
 * What stands beside an event.
 */
export type Aside = {
/**
 * Names of the event's peers as they are shown, told apart from names that look alike.
 */
labels: Record<PeerId, string>,
/**
 * Number of events of this kind that came before this one since the last that was told: newcomers and raised hands
 * are told at most once a second.
 */
others: number, };

/**
 * Codec times claimed by a candidate.
 */
export type CodecClaim = {
/**
 * Time to encode one 1280×720 picture, microseconds.
 */
encode_us: number,
/**
 * Time to decode it, microseconds.
 */
decode_us: number,
/**
 * How the times were measured.
 */
source: CodecSource,
/**
 * Age of the times when the claim was signed, seconds.
 */
age_s: number, };

/**
 * What followed the failure of a codec.
 */
export type CodecOutcome = "restarted"
  | "replaced-by-builtin"
  | "withdrawn"
  | "missing";

/**
 * Source of the codec times in a [`Claim`].
 */
export type CodecSource = "bench"
  | "frames";

/**
 * Purpose of a failed codec.
 */
export type CodecUse = "program"
  | "compositor"
  | "program-sound"
  | { "speaker": PeerId }
  | "speakers-sound"
  | "own-picture"
  | "own-sound"
  | "shown"
  | "heard"
  | "bench";

/**
 * Command of an application to its room. As JSON: `"leave"`, `{"admit":"<64 hex digits>"}`,
 * `{"set-agent":["…",true]}`.
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
  | { "mute-all": Muted }
  | { "set-layout": Layout }
  | { "set-mixers": number }
  | { "hand-over": PeerId }
  | "renew-invite"
  | "end";

/**
 * State of a peer's connection with its room.
 *
 * A viewer is connected while it has a parent, or makes the program itself. A peer on stage is connected while it
 * hears another peer that is present on stage, or is alone there; a host also only once its rendezvous was reached.
 */
export type ConnectionState = "joining"
  | "connected"
  | "reconnecting"
  | "closed";

/**
 * Delivery guarantee of a piece of application data.
 */
export type Delivery = "reliable"
  | "loose";

/**
 * Reason why a peer is no longer on stage.
 */
export type Departure = "left"
  | "lost"
  | "removed";

/**
 * How much work a mixer spends on its pictures, in decreasing order.
 */
export type Effort = "full"
  | "plain-encoder"
  | "half-rate"
  | "half-size";

/**
 * Reason of a change of the effort.
 */
export type EffortWhy = { "skipped": number }
  | { "busy": number }
  | "decoder-behind"
  | { "room": number };

/**
 * Reason for an election.
 */
export type ElectionReason = "opening"
  | "count"
  | "mixer-gone"
  | "leave"
  | "trouble"
  | "audience";

/**
 * How this peer's part in a room ended.
 */
export type End = "left"
  | "ended"
  | "removed"
  | "replaced"
  | "lost";

/**
 * Event of a room, for the application. As JSON an object with the event's name as `what`, beside its fields:
 * `{"what":"floor","speaks":true}`.
 *
 * Those up to [`Event::InvariantBroken`] come from the brain, the others from what surrounds it: natives and pages
 * tell them alike where nothing else is said.
 */
export type Event = { "what": "admitted" }
  | { "what": "refused" } & Why
  | { "what": "waiting",
/**
 * Number of requests sent so far.
 */
tries: number, }
  | { "what": "in-lobby" }
  | { "what": "floor",
/**
 * Whether it speaks.
 */
speaks: boolean, }
  | { "what": "floor-offered" }
  | { "what": "floor-denied" }
  | { "what": "muted-by-host" } & Muted
  | { "what": "removed" }
  | { "what": "ended" }
  | { "what": "handed-over" }
  | { "what": "knock",
/**
 * The newcomer.
 */
peer: PeerId,
/**
 * Name of the newcomer.
 */
name: string,
/**
 * It comes for nothing but to mix, and the stage is closed or takes mixers that the host named: letting it in
 * names it.
 */
mixes: boolean, }
  | { "what": "floor-wanted",
/**
 * The peer that wants to speak.
 */
peer: PeerId,
/**
 * Name of the peer.
 */
name: string, }
  | { "what": "removed-by-another",
/**
 * The removed peer.
 */
peer: PeerId,
/**
 * Name of the peer; empty if it isn't known.
 */
name: string,
/**
 * The host that removed it.
 */
by: PeerId, }
  | { "what": "not-forwarding",
/**
 * The viewer.
 */
peer: PeerId,
/**
 * Name of the viewer.
 */
name: string, }
  | { "what": "stage",
/**
 * Epoch of the roster.
 */
epoch: number, }
  | { "what": "host",
/**
 * The host; null while there is none.
 */
peer: PeerId | null, }
  | { "what": "mode",
/**
 * The mode from now on.
 */
mode: Mode, }
  | { "what": "no-mixer" }
  | { "what": "no-place" }
  | { "what": "election-opened",
/**
 * Term of the election.
 */
term: number,
/**
 * Reason of the election.
 */
reason: ElectionReason, }
  | { "what": "elected",
/**
 * Term of the election.
 */
term: number,
/**
 * Reason of the election.
 */
reason: ElectionReason,
/**
 * Number of peers that signed the outcome.
 */
signatures: number,
/**
 * Number of peers on the roster under which the election took place; null if this peer doesn't know that
 * roster, for example after a restart of the host.
 */
roster: number | null,
/**
 * The elected mixers, the lead first.
 */
mixers: Array<PeerId>,
/**
 * The standbys, which are kept warm.
 */
standbys: Array<PeerId>,
/**
 * Scores of the candidates, the best first; empty if this peer knows only the outcome.
 */
tallies: Array<Tally>, }
  | { "what": "ballot-rejected",
/**
 * Term of the election.
 */
term: number,
/**
 * The opener that sent the ballot.
 */
opener: PeerId, }
  | { "what": "failover",
/**
 * Rank of the new mandate.
 */
rank: Rank,
/**
 * The successor.
 */
peer: PeerId,
/**
 * The mixer requested the failover, instead of falling silent.
 */
polite: boolean, }
  | { "what": "withdrawn",
/**
 * Rank of the mandate that ended.
 */
rank: Rank,
/**
 * The peer that had taken over.
 */
peer: PeerId, }
  | { "what": "measured",
/**
 * The measured peer.
 */
peer: PeerId,
/**
 * Bandwidth shown by each packet train, bits per second. The first train, a guess, counts only when no other
 * one arrived; empty if none arrived.
 */
samples_bps: Array<number>,
/**
 * Round-trip time, microseconds; 0 if unknown.
 */
rtt_us: number,
/**
 * Media that arrived from the peer over the last 20 s; null unless it did throughout.
 */
media: MediaSeen | null,
/**
 * Codec times that the peer claims; null if it has none.
 */
codec: CodecClaim | null, }
  | { "what": "data",
/**
 * The sender; its signature is verified.
 */
from: PeerId,
/**
 * Delivery guarantee that the sender chose.
 */
delivery: Delivery,
/**
 * The data, at most 8 KiB.
 */
bytes: Array<number>, }
  | { "what": "data-missed",
/**
 * The sender of the lost data.
 */
from: PeerId,
/**
 * Number of lost pieces.
 */
pieces: number, }
  | { "what": "solo",
/**
 * The requested speaker.
 */
speaker: PeerId,
/**
 * Whether its stream arrives.
 */
comes: boolean, }
  | { "what": "solo-refused",
/**
 * The requested speaker.
 */
speaker: PeerId, }
  | { "what": "voices",
/**
 * What became of the request.
 */
state: VoicesState, }
  | { "what": "parent",
/**
 * The parent; null for none.
 */
peer: PeerId | null, }
  | { "what": "backup",
/**
 * The backup; null for none.
 */
peer: PeerId | null, }
  | { "what": "peer-misbehaved",
/**
 * The violator.
 */
peer: PeerId,
/**
 * Number of its violations so far.
 */
count: number,
/**
 * Whether this peer dropped it.
 */
dropped: boolean, }
  | { "what": "notes-dropped",
/**
 * Number of notifications that were dropped.
 */
notes: number, }
  | { "what": "invariant-broken",
/**
 * The invariant, in words.
 */
text: string, }
  | { "what": "connection",
/**
 * The state from now on.
 */
state: ConnectionState, }
  | { "what": "rendezvous",
/**
 * Whether the rendezvous is reachable.
 */
up: boolean,
/**
 * Reason of the first attempt that failed.
 */
reason: Reason | null,
/**
 * Natively the cause as an English sentence, and whether a further attempt follows. Null at pages, and while
 * the rendezvous is reachable.
 */
why: string | null, }
  | { "what": "other-version",
/**
 * The peer.
 */
peer: PeerId,
/**
 * The version that it speaks.
 */
version: number, }
  | { "what": "other-clock" }
  | { "what": "own-clock",
/**
 * Seconds by which this machine's clock is ahead; negative when it is behind, 0 when the two agree again.
 */
ahead_s: number, }
  | { "what": "stood-still",
/**
 * Length of the pause, milliseconds.
 */
pause_ms: number, }
  | { "what": "network-changed" }
  | { "what": "link-trouble",
/**
 * The cause, as an English sentence.
 */
text: string, }
  | { "what": "trouble" } & Why
  | { "what": "missed",
/**
 * Number of the events.
 */
events: number, }
  | { "what": "closed",
/**
 * How it ended.
 */
end: End, }
  | { "what": "joined" } & Member
  | { "what": "left",
/**
 * The peer.
 */
peer: PeerId,
/**
 * Reason, as far as the roster tells.
 */
why: Departure, }
  | { "what": "changed",
/**
 * The peer before.
 */
was: Member,
/**
 * The peer now.
 */
is: Member, }
  | { "what": "speaking",
/**
 * The dominant speaker. It stays dominant for at least two seconds, and through silence until another peer
 * speaks.
 */
dominant: PeerId | null,
/**
 * All peers that speak at present, in stage order; pauses between words don't end a peer's speech.
 */
speaking: Array<PeerId>, }
  | { "what": "viewers-record",
/**
 * Number of the viewers.
 */
viewers: number, }
  | { "what": "mixed-by",
/**
 * The mixers in force.
 */
mixers: Array<PeerId>,
/**
 * Their names as a line to show beside the program; null while nobody mixes.
 */
text: string | null, }
  | { "what": "invite-replaced" }
  | { "what": "invite",
/**
 * The invite.
 */
invite: string, }
  | { "what": "lists",
/**
 * The list.
 */
list: Listing, }
  | { "what": "mixer-effort",
/**
 * Effort from now on.
 */
effort: Effort,
/**
 * Reason of the change.
 */
why: EffortWhy, }
  | { "what": "codec-failed",
/**
 * What the codec was for.
 */
codec: CodecUse,
/**
 * What happened, in one line.
 */
text: string,
/**
 * What followed.
 */
then: CodecOutcome, }
  | { "what": "shedding",
/**
 * The load from now on.
 */
shedding: Shedding, };

/**
 * Layout of the program's tiles.
 */
export type Layout = "grid"
  | "active"
  | "share"
  | "side-by-side"
  | { "custom": Array<number> };

/**
 * Identifier of an access line: two bytes of a hash of its public address and the room id. Two peers behind one
 * public address have the same one. Each id belongs to 65,536 IPv4 addresses, so that it doesn't reveal the address,
 * which a longer hash would: all addresses are tried in seconds. Two of four lines have the same id in one room of
 * ten thousand.
 */
export type LineId = [number, number];

/**
 * A connected link with a peer.
 */
export type LinkTo = {
/**
 * Id of the peer.
 */
peer: PeerId,
/**
 * Its way.
 */
way: Way, };

/**
 * A peer in the host's directory.
 */
export type Listed = {
/**
 * Id of the peer.
 */
peer: PeerId,
/**
 * Name of the peer.
 */
name: string,
/**
 * The peer that feeds it; null for none, and on stage.
 */
parent: PeerId | null,
/**
 * Hops from the mixer.
 */
depth: number, };

/**
 * A list that a user asks for.
 */
export type Listing = "people"
  | "hands"
  | "commands";

/**
 * Media that a measurer received from a candidate over the last 20 s.
 */
export type MediaSeen = {
/**
 * Bitrate of all that the candidate sent, its own or forwarded, bits per second: RTP packets with their
 * headers, repairs once.
 */
bitrate_bps: number,
/**
 * Percentage of the packets of the streams made by the candidate that arrived, repaired ones included;
 * pictures left out for lack of bandwidth did not. `None` if it made none of the streams.
 */
arrived_percent: number | null, };

/**
 * A peer on stage.
 */
export type Member = {
/**
 * Id of the peer.
 */
peer: PeerId,
/**
 * Name shown under its picture.
 */
name: string,
/**
 * Whether it is a speaker, which sends picture and sound.
 */
speaks: boolean,
/**
 * Number of the speaker, counted from 0 in the order of joining over all speakers ever. It is kept while
 * the peer is on stage and never given to another. 0 also for peers that don't speak.
 */
index: number,
/**
 * Whether it consents to mix.
 */
mixes: boolean,
/**
 * Whether the host has lost contact with it for 5 s.
 */
away: boolean,
/**
 * What it doesn't send at present, if it is a speaker, by its own word.
 */
muted: Muted,
/**
 * Whether it sends a screen or a film, alone or beside its camera, by its own word.
 */
shares: boolean,
/**
 * Whether it refuses to be shown alone, by its own word: mixers forward its own stream to no peer.
 */
no_solo: boolean,
/**
 * Whether it records what it receives, by its own word.
 */
records: boolean,
/**
 * Whether the host has marked it as an agent, which may hear each speaker apart.
 */
is_agent: boolean,
/**
 * Whether it is the host or a peer named by the host: named peers vote, and mix where the policy requires a name.
 */
named: boolean,
/**
 * Whether it speaks at present, as heard at this peer; pauses between words don't end it.
 */
speaking: boolean, };

/**
 * Which of the peers that consent to mix may be elected.
 */
export type MixPolicy = "anyone"
  | "named";

/**
 * How the stage is served.
 */
export type Mode = "mesh"
  | "pass-through"
  | "mixer";

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
 * A peer that waits for a decision of the host, or is in its directory.
 */
export type Named = {
/**
 * Id of the peer.
 */
peer: PeerId,
/**
 * Name of the peer.
 */
name: string, };

/**
 * The NAT in front of this peer, as STUN servers and other peers show it (RFC 5780, 4.3).
 */
export type Nat = "unknown"
  | "open"
  | "one-port"
  | "port-each";

/**
 * A peer that waits in the lobby, for the host's application.
 */
export type Newcomer = {
/**
 * Its id.
 */
peer: PeerId,
/**
 * Its name.
 */
name: string,
/**
 * The newcomer only mixes, and letting it in names it.
 */
mixes: boolean, };

/**
 * What a page sees beside the snapshot of its room.
 */
export type PageSnapshot = {
/**
 * Names of all peers that this one knows of, as they are shown: told apart from names that look alike by the first
 * digits of the id.
 */
labels: Record<PeerId, string>,
/**
 * At a page that has opened the room, otherwise null.
 */
invite: string | null,
/**
 * At the host: newcomers in the lobby.
 */
waiting: Array<Newcomer>,
/**
 * At the host: peers that want to speak.
 */
wanting: Array<Named>,
/**
 * At the host: its directory.
 */
directory: Array<Listed>,
/**
 * The mixers as text, to be shown beside the program; null while nobody mixes.
 */
mixed_by: string | null,
/**
 * What this peer sends of its own.
 */
sends: Sends,
/**
 * Time from joining to the first picture.
 */
first_frame_ms: number | null,
/**
 * Pictures that arrived.
 */
frames_received: number,
/**
 * Pictures that were made since the first one that arrived.
 */
frames_expected: number,
/**
 * Pictures that a relay left out, since a link didn't carry them all.
 */
frames_left_out: number,
/**
 * Pictures that came more than a second after their capture.
 */
frames_late: number,
/**
 * Null before any picture.
 */
longest_video_gap_ms: number | null,
/**
 * Null before any sound.
 */
longest_audio_gap_ms: number | null,
/**
 * From capture to arrival, of pictures.
 */
latency_ms: Quantiles | null,
/**
 * From capture to arrival, of sound.
 */
sound_latency_ms: Quantiles | null,
/**
 * How much later than its picture a moment's sound arrives.
 */
av_skew_ms: Quantiles | null, };

/**
 * Peer id: the peer's Ed25519 public key (RFC 8032). In JSON 64 hex digits.
 */
export type PeerId = string;

/**
 * What a peer sends and receives, on all links together.
 */
export type PeerRates = {
/**
 * The peer.
 */
peer: ShortId,
/**
 * Received in the last second, bits per second of UDP payload.
 */
received_bps: number,
/**
 * Sent in the last second, bits per second of UDP payload.
 */
sent_bps: number,
/**
 * Number of viewers that it feeds.
 */
children: number, };

/**
 * Quantiles of a time, in milliseconds.
 */
export type Quantiles = {
/**
 * Median.
 */
p50: number,
/**
 * 95th percentile.
 */
p95: number, };

/**
 * Precedence of a mandate: the higher term wins, within a term the higher failover count.
 *
 * In term 0 the acting mixer of the roster mixes; failover count 0 stands for the election's outcome itself.
 */
export type Rank = {
/**
 * Number of the election.
 */
term: number,
/**
 * Failover count: numbers the failovers within the term, which happen without a vote.
 */
failover_count: number, };

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
  | "untrusted"
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
 * Kinds of media that this peer sends of its own.
 */
export type Sends = {
/**
 * A picture.
 */
picture: boolean,
/**
 * Sound.
 */
sound: boolean, };

/**
 * Load that a peer sheds while its machine is short of processor time. Each step includes those before it.
 */
export type Shedding = "nothing"
  | "children"
  | "half-the-pictures"
  | "decoding";

/**
 * Short peer id: the first 8 bytes of a [`PeerId`], enough to distinguish the peers of one path. In JSON 16 hex
 * digits.
 */
export type ShortId = string;

/**
 * A peer's knowledge of its room at one moment.
 */
export type Snapshot = {
/**
 * Id of this peer; null before it has joined.
 */
peer: PeerId | null,
/**
 * State of this peer's connection with the room.
 */
connection: ConnectionState,
/**
 * Epoch of the roster; 0 before the host has answered.
 */
epoch: number,
/**
 * Mode of the stage: mesh, pass-through or mixer.
 */
mode: Mode,
/**
 * Number of other speakers that this one sends to and hears in a mesh.
 */
meshed: number,
/**
 * Title of the room; empty for none.
 */
title: string,
/**
 * The host; null before there is a roster.
 */
host: PeerId | null,
/**
 * Whether nobody new is admitted.
 */
locked: boolean,
/**
 * Whether newcomers wait in the lobby.
 */
lobby: boolean,
/**
 * Whether any peer may speak on request.
 */
stage_open: boolean,
/**
 * Which of the peers that consent may mix.
 */
mix_policy: MixPolicy,
/**
 * Layout of the program; a described one without its description.
 */
layout: "grid" | "active" | "share" | "side-by-side" | "custom",
/**
 * Peers on stage, the host first.
 */
stage: Array<Member>,
/**
 * Whether viewers watch from beside the stage.
 */
audience: boolean,
/**
 * At the host: number of viewers, as the mixers count them, some seconds old; null at any other peer.
 */
viewers: number | null,
/**
 * Number of viewers that record what they receive, by their own word, some seconds old; peers on stage say so
 * themselves ([`Member::records`]).
 */
recorders: number,
/**
 * Rank of the mandate in force.
 */
rank: Rank,
/**
 * The mixers in force.
 */
mixers: Array<PeerId>,
/**
 * The warm standbys.
 */
standbys: Array<PeerId>,
/**
 * Home mixer: the mixer that this speaker sends its stream to.
 */
home_mixer: PeerId | null,
/**
 * The parent, which feeds this peer.
 */
parent: PeerId | null,
/**
 * Number of changes from one parent to another.
 */
reparented: number,
/**
 * The backup parent, which feeds this peer at once if the parent fails.
 */
backup: PeerId | null,
/**
 * Peers on the way of the program, from its mixer to this peer; empty while this peer is not fed.
 */
path: Array<ShortId>,
/**
 * Hops from the mixer; 0 at a mixer, null while this peer is not fed.
 */
depth: number | null,
/**
 * Children that this peer feeds.
 */
children: Array<PeerId>,
/**
 * Peers with a reserved slot here: this peer is their backup parent.
 */
promised: Array<PeerId>,
/**
 * Number of viewers below this peer, as its children report.
 */
viewers_below: number,
/**
 * Number of links that are up, wanted, or being established.
 */
link_count: number,
/**
 * Connected links; two with a peer while a new one replaces an old one.
 */
links: Array<LinkTo>,
/**
 * The way of the link with the parent; null without a parent.
 */
way: Way | null,
/**
 * The NAT in front of this peer; unknown at pages, since browsers don't tell.
 */
nat: Nat,
/**
 * Whether this peer makes the program.
 */
mixing: boolean,
/**
 * Whether this peer is on stage as a speaker.
 */
speaks: boolean,
/**
 * Whether this peer wants the program.
 */
views: boolean,
/**
 * Lateness of this machine's own timers, at most, within the last one to two seconds, in milliseconds, rounded
 * down to tens. Above 100 ms the machine is short of CPU.
 */
late_ms: number,
/**
 * Load that this peer sheds because its machine is short of CPU.
 */
shedding: Shedding,
/**
 * Uplink bandwidth of this peer as measured by its parents, bits per second; null before a measurement.
 */
uplink_bps: number | null,
/**
 * Bit rates of the peers on the program's way to this one, the mixer's first, as the command "ask-rates" requested
 * them in the last 10 s; otherwise empty.
 */
rates_above: Array<PeerRates>,
/**
 * Figures of the candidates in the last election, the best first, as this peer computed them; empty if it
 * knows only the outcome, as a viewer does.
 */
scores: Array<Tally>, };

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

/**
 * Where a candidate's figures come from, and how old they were at the vote.
 */
export type Sources = {
/**
 * Whether live media showed the bandwidth. If not, packet trains showed as much or more.
 */
bandwidth_by_media: boolean,
/**
 * Age of the oldest report on the candidate when the newest statement of the ballot was signed, seconds;
 * `None` without reports. Reports hold bandwidth and bitrate.
 */
reports_age_s: number | null,
/**
 * Source of the codec times; `None` without a claim, or if the claim is distrusted.
 */
codec: CodecSource | null,
/**
 * Age of the codec times at that time, seconds.
 */
codec_age_s: number | null, };

/**
 * Figures of one candidate in an election.
 */
export type Tally = {
/**
 * The candidate.
 */
peer: PeerId,
/**
 * Points, in micro-points, without a sitting mixer's bonus.
 */
points: number,
/**
 * Whether the candidate is feasible: its codec is real-time capable and its bandwidth suffices.
 */
feasible: boolean,
/**
 * Whether its codec is real-time capable: one program picture costs at most half a frame interval.
 */
quick: boolean,
/**
 * Measured bandwidth from the candidate to the other peers, in bits per second; 0 if no peer measured
 * it.
 */
bandwidth_bps: number,
/**
 * Bitrate of the media that arrived from it at its measurers, all together, in bits per second; `None` if
 * none of them received any.
 */
bitrate_bps: number | null,
/**
 * How much of the media requested of it arrived, in percent; `None` before it was requested any.
 */
delivered_percent: number | null,
/**
 * Claimed processor time to encode one 1280×720 picture, in microseconds; `None` without a claim.
 */
encode_us: number | null,
/**
 * Number of peers that measured its bandwidth.
 */
measurers: number,
/**
 * Sources and ages of the figures.
 */
sources: Sources,
/**
 * Access line behind which more than half of its measurers see it.
 */
line: LineId | null,
/**
 * Latency from a speaker's camera to the middle of the first tier, as far as it depends on the
 * candidate, in microseconds.
 */
latency_us: number,
/**
 * Answers per million that met a stall at its end.
 */
paused_ppm: number, };

/**
 * Result of a request for each speaker's sound apart. The request stays in force in each case.
 */
export type VoicesState = "coming"
  | "unavailable"
  | "not-agent";

/**
 * By which way the datagrams of a link go.
 */
export type Way = "direct"
  | "relayed"
  | "carried"
  | "websocket";

/**
 * A reason with its sentence, for applications that have no text of their own for it.
 */
export type Why = {
/**
 * The reason.
 */
reason: Reason,
/**
 * What it says.
 */
why: string, };
