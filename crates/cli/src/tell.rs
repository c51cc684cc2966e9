//! Messages about a running room, for a person on a terminal.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use plenary::{
    CodecOutcome, CodecUse, Member, Mode, OnEvent, PeerId, Reason, Room, RoomEvent, Shedding, VoicesState,
};
use plenary_body::{WISHES_EACH_US, Wishes, people};
use plenary_proto::bounded::plain;
use plenary_proto::message::MESSAGE_VERSION;

use crate::commands::people::{all, quoted, viewers_record, waits};
use crate::say;

/// Minimum interval of lines about peers of other versions: any guest can cause them, and an event comes each second. A
/// guess.
const VERSIONS_EACH: Duration = Duration::from_secs(60);
/// Minimum interval of lines about an offered floor: longer than the ten seconds in which the host repeats an offer.
const OFFERS_EACH: Duration = Duration::from_secs(15);

/// Message in place of a mixer's name if no peer consents to mix.
pub(crate) const NOBODY_CONSENTS: &str = "no mixer: no peer consents";

/// Reason of load shedding.
const SHORT_OF_CPU: &str = "this machine is short of processor time";

/// Returns the name of a mode in reports and messages.
pub(crate) fn mode_word(mode: Mode) -> &'static str {
    match mode {
        Mode::Mesh => "mesh",
        Mode::PassThrough => "pass-through",
        Mode::Mixer => "mixer",
        _ => "other",
    }
}

/// Returns what a codec is for.
fn codec_words(what: CodecUse) -> String {
    match what {
        CodecUse::Program => "the encoder of the program's pictures".to_owned(),
        CodecUse::Compositor => "the compositor".to_owned(),
        CodecUse::ProgramSound => "the mix of the program's sound".to_owned(),
        CodecUse::Speaker(peer) => format!("the decoder of the pictures of {peer:?}"),
        CodecUse::SpeakersSound => "the decoder of a speaker's sound".to_owned(),
        CodecUse::OwnPicture => "the encoder of this peer's pictures".to_owned(),
        CodecUse::OwnSound => "the encoder of this peer's sound".to_owned(),
        CodecUse::Shown => "the decoder of pictures".to_owned(),
        CodecUse::Heard => "the decoder of sound".to_owned(),
        CodecUse::Bench => "the bench of the codecs".to_owned(),
        _ => "a codec".to_owned(),
    }
}

/// Returns what followed the failure of a codec.
fn outcome_words(then: CodecOutcome) -> &'static str {
    match then {
        CodecOutcome::Restarted => "a new one goes on",
        CodecOutcome::ReplacedByBuiltin => "the built-in codec goes on",
        CodecOutcome::Withdrawn => "and this peer does that no more",
        _ => "and is tried again with each keyframe",
    }
}

/// Prints messages to stderr, one line each.
#[derive(Debug, Default)]
pub(crate) struct Teller {
    begun: Begun,
    leaving: AtomicBool,
    /// Whether this peer tries to join again and again, and has said so.
    waiting: AtomicBool,
    /// The outage of the rendezvous that was reported last, by its reason.
    outage_told: Mutex<Option<Option<Reason>>>,
    /// Whether link trouble was reported. Links are retried, and without a free port they fail each time.
    trouble_told: AtomicBool,
    /// Whether a clock that differs was reported.
    clock_told: AtomicBool,
    /// The host, as it was known last.
    host_told: Mutex<Option<PeerId>>,
    version_told: Mutex<Option<Instant>>,
    offer_told: Mutex<Option<Instant>>,
    /// Newcomers with their names, and whether they come to mix.
    knocks: Mutex<Wishes<(PeerId, String, bool)>>,
    /// Peers that ask for the floor, with their names.
    hands: Mutex<Wishes<(PeerId, String)>>,
    /// Whether a task waits to tell of the last wish of a burst.
    tells_later: AtomicBool,
    /// The room, once this peer is in it.
    room: OnceLock<Room>,
}

/// When telling began.
#[derive(Debug)]
struct Begun(Instant);

impl Default for Begun {
    fn default() -> Begun {
        Begun(Instant::now())
    }
}

impl Begun {
    fn elapsed_us(&self) -> u64 {
        self.0.elapsed().as_micros() as u64
    }
}

/// Returns the line of a wish, with the number of `others` that were not told since the last one.
fn with_others(line: String, others: usize, list: &str) -> String {
    match others {
        0 => line,
        others => format!("{line}; {others} more since the last line: {list} lists them"),
    }
}

/// Whether a line is due: the last one was longer ago than the interval. Then it counts as told.
fn is_due(last: &Mutex<Option<Instant>>, each: Duration) -> bool {
    let mut last = last.lock();
    let due = last.is_none_or(|at| at.elapsed() >= each);
    if due {
        *last = Some(Instant::now());
    }
    due
}

impl Teller {
    pub(crate) fn new() -> Arc<Teller> {
        Arc::default()
    }

    /// Returns the event callback of a room.
    pub(crate) fn on_event(self: &Arc<Teller>) -> OnEvent {
        let teller = self.clone();
        Arc::new(move |event| {
            let lines =
                [(teller.line(event), event.reason()), (teller.due_knock(), None), (teller.due_hand(), None)];
            for (line, reason) in lines {
                line.iter().for_each(|line| say::event(&plain(line), reason));
            }
            teller.log(event);
            teller.tell_later();
        })
    }

    /// Tells of the last wish of a burst a second later, though no other event may come then.
    fn tell_later(self: &Arc<Teller>) {
        let owes = self.knocks.lock().waits() || self.hands.lock().waits();
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        if !owes || self.tells_later.swap(true, Ordering::Relaxed) {
            return;
        }
        let teller = self.clone();
        runtime.spawn(async move {
            tokio::time::sleep(Duration::from_micros(WISHES_EACH_US)).await;
            for line in [teller.due_knock(), teller.due_hand()].into_iter().flatten() {
                say::event(&plain(&line), None);
            }
            teller.tells_later.store(false, Ordering::Relaxed);
            teller.tell_later();
        });
    }

    /// Sets the room: from now on ids are as long as its peers need, and its host is reported.
    pub(crate) fn knows(&self, room: &Room) {
        let _ = self.room.set(room.clone()); // there is one
    }

    /// Returns a peer as a command names it: its name, and its id.
    fn named(&self, peer: &PeerId, name: &str) -> (String, String) {
        let people = self.room.get().map(all).unwrap_or_default();
        (quoted(name), people.id(peer))
    }

    /// Returns a mixer with its name, its id, and whether the host named it.
    fn mixer(&self, mixer: &PeerId) -> String {
        self.on_stage(mixer, |name, member| people::mixer(name, member.named))
    }

    /// Returns a peer on stage with its name and its id, as `told`; any other peer by its id alone.
    fn on_stage(&self, peer: &PeerId, told: impl Fn(&str, &Member) -> String) -> String {
        let stage = self.room.get().map(|room| room.snapshot().stage).unwrap_or_default();
        let Some(member) = stage.iter().find(|member| member.peer == *peer) else {
            return format!("{peer:?}");
        };
        let (name, id) = self.named(peer, &member.name);
        told(&format!("{name} ({id})"), member)
    }

    /// Returns the line of a peer on stage that has begun to record, or has ended it.
    fn recording(&self, member: &Member) -> String {
        let (name, id) = self.named(&member.peer, &member.name);
        format!("{name} ({id}) {}", if member.records { "records" } else { "records no longer" })
    }

    /// Returns the line of a newcomer that came too soon after another one to be told, once it is due.
    fn due_knock(&self) -> Option<String> {
        let due = self.knocks.lock().due(self.begun.elapsed_us());
        due.map(|knock| self.knock(knock))
    }

    fn knock(&self, ((peer, name, mixes), others): ((PeerId, String, bool), usize)) -> String {
        let ((name, id), waits) = (self.named(&peer, &name), waits(mixes));
        with_others(format!("{name} ({id}) {waits}: /admit {id} or /deny {id}"), others, "/who")
    }

    /// Returns the line of a peer that asked for the floor too soon after another one to be told, once it is due.
    fn due_hand(&self) -> Option<String> {
        let due = self.hands.lock().due(self.begun.elapsed_us());
        due.map(|hand| self.hand(hand))
    }

    fn hand(&self, ((peer, name), others): ((PeerId, String), usize)) -> String {
        let (name, id) = self.named(&peer, &name);
        with_others(
            format!("{name} ({id}) asks for the floor: /promote {id} or /demote {id}"),
            others,
            "/hands",
        )
    }

    /// Sets whether this peer waits for its room: then it isn't told of each try.
    pub(crate) fn waits(&self, waits: bool) {
        self.waiting.store(waits, Ordering::Relaxed);
    }

    /// Logs the events that are worth a line in a log alone.
    fn log(&self, event: &RoomEvent) {
        match event {
            RoomEvent::ElectionOpened { term, reason } => tracing::info!("election {term} opens: {reason:?}"),
            RoomEvent::PeerMisbehaved { peer, count, dropped: false } => {
                tracing::warn!("{peer:?} violated the protocol ({count} times so far)");
            }
            RoomEvent::Withdrawn { rank, peer } => {
                tracing::info!("{rank} is withdrawn: {} lives", self.mixer(peer));
            }
            _ => {}
        }
    }

    /// Stops the reports of a missing parent, since this peer leaves.
    pub(crate) fn leaves(&self) {
        self.leaving.store(true, Ordering::Relaxed);
    }

    /// Returns the message for an event, if it is worth a line.
    pub(crate) fn line(&self, event: &RoomEvent) -> Option<String> {
        Some(match event {
            RoomEvent::Rendezvous { .. } | RoomEvent::Waiting { .. } if self.waiting.load(Ordering::Relaxed) => {
                return None;
            }
            RoomEvent::Rendezvous { up: true, .. } => {
                return self.outage_told.lock().take().map(|_| "rendezvous: connected again".to_owned());
            }
            RoomEvent::Rendezvous { up: false, reason, why } => {
                let told = self.outage_told.lock().replace(*reason);
                let is_news = told != Some(*reason); // a retry that fails alike is nothing new
                return why.as_ref().filter(|_| is_news).map(|why| format!("rendezvous: {why}"));
            }
            RoomEvent::Waiting { tries } => format!("waiting for the host (asked {} times)", tries + 1),
            RoomEvent::Mode { mode } => format!("mode: {}", mode_word(*mode)),
            RoomEvent::Parent { peer: Some(parent) } => format!("fed by {parent:?}"),
            RoomEvent::Parent { peer: None } if !self.leaving.load(Ordering::Relaxed) => {
                "fed by no peer: searching for a parent".to_owned()
            }
            RoomEvent::Shedding { shedding } => match shedding {
                Shedding::Nothing => "this machine has enough processor time again".to_owned(),
                Shedding::Children => format!("{SHORT_OF_CPU}: no new viewers are fed from here"),
                Shedding::HalfThePictures => format!("{SHORT_OF_CPU}: half of the pictures are left out"),
                Shedding::Decoding => format!("{SHORT_OF_CPU}: no pictures are decoded"),
                _ => SHORT_OF_CPU.to_owned(),
            },
            RoomEvent::CodecFailed { codec, text, then } => {
                format!("{} failed, {}: {text}", codec_words(*codec), outcome_words(*then))
            }
            RoomEvent::MixerEffort { effort, why } => format!("mixing with {effort} effort: {why}"),
            RoomEvent::Solo { speaker, comes: true } => format!("{speaker:?}'s own stream arrives"),
            RoomEvent::Solo { speaker, comes: false } => {
                format!("{speaker:?}'s own stream is unavailable for now")
            }
            RoomEvent::SoloRefused { speaker } => {
                format!("{speaker:?} doesn't allow that it is shown alone: the program instead")
            }
            RoomEvent::Voices { state } => match state {
                VoicesState::Coming => "each speaker's own sound arrives",
                VoicesState::Unavailable => "each speaker's own sound is unavailable for now",
                VoicesState::NotAgent => "the host hasn't marked this peer as an agent: nobody is heard apart",
            }
            .to_owned(),
            RoomEvent::Joined(is) if is.records => self.recording(is),
            RoomEvent::Changed { was, is } if was.records != is.records => self.recording(is),
            RoomEvent::ViewersRecord { viewers: count } => viewers_record(*count),
            RoomEvent::NoMixer => {
                format!(
                    "{NOBODY_CONSENTS} to mix, so there is no program; --mix always makes one mix, on battery too"
                )
            }
            RoomEvent::InviteReplaced => "the invite was replaced: the old one admits nobody any more".to_owned(),
            RoomEvent::NoPlace => "the room is full of viewers at the moment: a strong machine that runs \
                                   `plenary join --view` or `plenary mixer` makes places; still searching"
                .to_owned(),
            RoomEvent::Elected { term, mixers, standbys, signatures, roster, .. } => {
                let who: Vec<String> = mixers.iter().map(|mixer| self.mixer(mixer)).collect();
                let of = roster.map(|roster| format!(" of {roster}")).unwrap_or_default();
                format!(
                    "mixed by {} (term {term}: {signatures}{of} signed; standbys {standbys:?})",
                    who.join(" and ")
                )
            }
            RoomEvent::Failover { rank, peer, polite } => {
                let why = if *polite { "the mixer left" } else { "the mixer fell silent" };
                format!("mixed by {} from now on, as {rank}: {why}", self.mixer(peer))
            }
            RoomEvent::PeerMisbehaved { peer, dropped: true, .. } => {
                format!("{peer:?} violated the protocol: dropped")
            }
            RoomEvent::InLobby => "waiting in the lobby until the host lets you in".to_owned(),
            RoomEvent::Knock { peer, name, mixes } => {
                let told = self.knocks.lock().come(self.begun.elapsed_us(), (*peer, name.clone(), *mixes));
                return told.map(|knock| self.knock(knock));
            }
            RoomEvent::RemovedByAnother { peer, name, by } => {
                let (name, id) = self.named(peer, name);
                format!("while you were away {by:?} removed {name} ({id}), which may come back: /remove {id} keeps it out")
            }
            RoomEvent::NotForwarding { peer, name } => {
                let (name, id) = self.named(peer, name);
                format!("{name} ({id}) promises to feed others and sends them nothing: /remove {id} removes it")
            }
            RoomEvent::FloorWanted { peer, name } => {
                let told = self.hands.lock().come(self.begun.elapsed_us(), (*peer, name.clone()));
                return told.map(|hand| self.hand(hand));
            }
            RoomEvent::FloorOffered if is_due(&self.offer_told, OFFERS_EACH) => {
                "the host offers you the floor: /speak takes it".to_owned()
            }
            RoomEvent::FloorDenied => "the host has not given you the floor".to_owned(),
            RoomEvent::Host { peer: Some(host) } => {
                let before = self.host_told.lock().replace(*host);
                let is_news = before.is_some_and(|before| before != *host);
                return match self.room.get() {
                    Some(room) if room.me() == *host => {
                        Some("you are the host now: /help lists what you can do".to_owned())
                    }
                    _ => is_news.then(|| format!("{} is the host now", self.on_stage(host, |name, _| name.to_owned()))),
                };
            }
            RoomEvent::MutedByHost(muted) if muted.sound => "the host has muted you".to_owned(),
            RoomEvent::MutedByHost(_) => "the host has switched your picture off".to_owned(),
            RoomEvent::OtherVersion { peer, version } if is_due(&self.version_told, VERSIONS_EACH) => {
                format!("{peer:?} speaks version {version} of the protocol, this program {MESSAGE_VERSION}: one is to be updated")
            }
            RoomEvent::StoodStill { pause_ms } => {
                let time = humantime::format_duration(Duration::from_secs(pause_ms / 1000));
                format!("this machine slept, or this program was stopped, for {time}: connecting anew")
            }
            RoomEvent::NetworkChanged => {
                "the network of this machine has changed: going on over the new one".to_owned()
            }
            RoomEvent::OwnClock { ahead_s } => own_clock(*ahead_s),
            RoomEvent::OtherClock if !self.clock_told.swap(true, Ordering::Relaxed) => {
                "the clock of another peer differs from the room's by more than five minutes: its messages are refused"
                    .to_owned()
            }
            RoomEvent::LinkTrouble { text: why } if !self.trouble_told.swap(true, Ordering::Relaxed) => {
                format!("a link could not be made: {why}; more may fail")
            }
            _ => return None,
        })
    }
}

/// Returns the line about this machine's clock.
fn own_clock(ahead_s: i64) -> String {
    let by = humantime::format_duration(Duration::from_secs(ahead_s.unsigned_abs()));
    match ahead_s.signum() {
        0 => "this machine's clock agrees with that of the rendezvous again".to_owned(),
        1 => format!(
            "this machine's clock is {by} ahead of that of the rendezvous: the room goes by the latter"
        ),
        _ => {
            format!("this machine's clock is {by} behind that of the rendezvous: the room goes by the latter")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_of_the_rendezvous_is_told_once_until_it_changes() {
        let teller = Teller::new();
        let told = |reason: Option<Reason>| {
            let why = reason.map(|reason| reason.to_string());
            teller.line(&RoomEvent::Rendezvous { up: reason.is_none(), reason, why }).is_some()
        };
        let (unreachable, silent) = (Some(Reason::Unreachable), Some(Reason::Silent));
        let rows = [(unreachable, true), (unreachable, false), (silent, true)];
        for (reason, expected) in rows.into_iter().chain([(None, true), (None, false), (silent, true)]) {
            assert_eq!(told(reason), expected, "{reason:?}");
        }
        teller.waits(true);
        assert!(!told(unreachable), "one that waits to join has said so");
    }

    #[test]
    fn a_later_host_is_told_and_the_first_one_is_not() {
        let (teller, host) = (Teller::new(), |id| RoomEvent::Host { peer: Some(PeerId([id; 32])) });
        assert_eq!(teller.line(&host(1)), None);
        assert_eq!(teller.line(&RoomEvent::Host { peer: None }), None);
        assert_eq!(teller.line(&host(1)), None);
        assert_eq!(teller.line(&host(2)).as_deref(), Some("02020202 is the host now"));
    }

    #[test]
    fn who_leaves_does_not_look_for_another_parent() {
        let teller = Teller::new();
        assert!(teller.line(&RoomEvent::Parent { peer: None }).is_some());
        teller.leaves();
        assert_eq!(teller.line(&RoomEvent::Parent { peer: None }), None);
    }

    #[test]
    fn a_peer_that_forwards_nothing_is_named_with_the_command_that_removes_it() {
        let event = RoomEvent::NotForwarding { peer: plenary::PeerId([7; 32]), name: "Mallory".to_owned() };
        let line = Teller::new().line(&event).unwrap();
        assert!(line.starts_with("\"Mallory\" (") && line.contains("/remove 07070707"), "{line}");
    }

    #[test]
    fn what_any_guest_can_cause_each_second_is_told_once_a_minute() {
        let teller = Teller::new();
        let event = |id| RoomEvent::OtherVersion { peer: PeerId([id; 32]), version: 77 };
        assert_eq!((0..100).filter_map(|id| teller.line(&event(id))).count(), 1);
        assert_eq!((0..100).filter_map(|_| teller.line(&RoomEvent::OtherClock)).count(), 1);
        assert_eq!((0..10).filter_map(|_| teller.line(&RoomEvent::FloorOffered)).count(), 1);
    }

    #[test]
    fn of_many_wishes_in_a_second_one_is_told_and_the_rest_counted() {
        let teller = Teller::new();
        let peer = |id: u16| PeerId([id as u8; 32]);
        let hand = |id| RoomEvent::FloorWanted { peer: peer(id), name: "Mallory".to_owned() };
        let knock = |id| RoomEvent::Knock { peer: peer(id), name: "Mallory".to_owned(), mixes: false };
        assert_eq!((0..600).filter_map(|id| teller.line(&hand(id))).count(), 1);
        assert_eq!((0..600).filter_map(|id| teller.line(&knock(id))).count(), 1);
        let first = teller.knock(((peer(1), "Mallory".to_owned(), true), 0));
        assert!(first.contains("offers to mix") && !first.contains("more"), "{first}");
        let last = teller.hand(((peer(2), "Mallory".to_owned()), 599));
        assert!(
            last.ends_with("/demote 02020202; 599 more since the last line: /hands lists them"),
            "{last}"
        );
    }

    #[test]
    fn that_links_cannot_be_made_is_told_once() {
        let teller = Teller::new();
        let lines =
            (0..3).filter_map(|_| teller.line(&RoomEvent::LinkTrouble { text: "no free port".to_owned() }));
        assert_eq!(lines.collect::<Vec<_>>(), ["a link could not be made: no free port; more may fail"]);
    }
}
