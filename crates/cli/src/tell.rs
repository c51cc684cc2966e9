//! Messages about a running room, for a person on a terminal.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use plenary::{Mode, OnEvent, PeerId, Room, RoomEvent, Shedding};
use plenary_proto::bounded::plain;
use plenary_proto::message::MESSAGE_VERSION;

use crate::commands::people::{People, quoted};

/// Minimum interval of lines about peers of other versions: any guest can cause them, and an event comes each second. A
/// guess.
const VERSIONS_EACH: Duration = Duration::from_secs(60);
/// Minimum interval of lines about peers that knock or ask for the floor: any guest can cause hundreds a second.
const WISHES_EACH: Duration = Duration::from_secs(1);
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
    }
}

/// Prints messages to stderr, one line each.
#[derive(Debug)]
pub(crate) struct Teller {
    leaving: AtomicBool,
    /// Whether link trouble was reported. Links are retried, and without a free port they fail each time.
    trouble_told: AtomicBool,
    /// Whether a clock that differs was reported.
    clock_told: AtomicBool,
    version_told: Mutex<Option<Instant>>,
    offer_told: Mutex<Option<Instant>>,
    knocks: Mutex<Wishes>,
    hands: Mutex<Wishes>,
    /// Whether a task waits to tell of the wishes that came too soon after a line.
    tells_later: AtomicBool,
    /// The room, once this peer is in it.
    room: OnceLock<Room>,
}

/// Wishes of one kind, of which one is told each [`WISHES_EACH`].
#[derive(Debug)]
struct Wishes {
    /// Command that lists them.
    list: &'static str,
    told_at: Option<Instant>,
    /// The newest one since the last line, and their number.
    untold: Option<(String, usize)>,
}

impl Wishes {
    fn new(list: &'static str) -> Wishes {
        Wishes { list, told_at: None, untold: None }
    }

    /// Takes the line of a wish. Returns a line if one is due.
    fn line(&mut self, now: Instant, line: String) -> Option<String> {
        let before = self.untold.take().map_or(0, |(_, count)| count);
        self.untold = Some((line, before + 1));
        self.due(now)
    }

    /// Returns the newest line that was not told, with the number of the others; `None` within [`WISHES_EACH`] of the last one.
    fn due(&mut self, now: Instant) -> Option<String> {
        if self.told_at.is_some_and(|at| now.duration_since(at) < WISHES_EACH) {
            return None;
        }
        let (line, count) = self.untold.take()?;
        self.told_at = Some(now);
        Some(match count - 1 {
            0 => line,
            more => format!("{line}; {more} more since the last line: {} lists them", self.list),
        })
    }
}

impl Default for Teller {
    fn default() -> Teller {
        Teller {
            leaving: AtomicBool::default(),
            trouble_told: AtomicBool::default(),
            clock_told: AtomicBool::default(),
            version_told: Mutex::default(),
            offer_told: Mutex::default(),
            knocks: Mutex::new(Wishes::new("/who")),
            hands: Mutex::new(Wishes::new("/hands")),
            tells_later: AtomicBool::default(),
            room: OnceLock::new(),
        }
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
            if let Some(line) = teller.line(event) {
                eprintln!("{}", plain(&line));
            }
            teller.tell_later();
        })
    }

    /// Tells of wishes that came too soon after a line as soon as one is due, without waiting for another wish.
    fn tell_later(self: &Arc<Teller>) {
        let owes = |teller: &Teller| teller.wishes().any(|wishes| wishes.lock().untold.is_some());
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        if !owes(self) || self.tells_later.swap(true, Ordering::Relaxed) {
            return;
        }
        let teller = self.clone();
        runtime.spawn(async move {
            tokio::time::sleep(WISHES_EACH).await;
            for line in teller.wishes().filter_map(|wishes| wishes.lock().due(Instant::now())) {
                eprintln!("{}", plain(&line));
            }
            teller.tells_later.store(false, Ordering::Relaxed);
            teller.tell_later();
        });
    }

    fn wishes(&self) -> impl Iterator<Item = &Mutex<Wishes>> {
        [&self.knocks, &self.hands].into_iter()
    }

    /// Sets the room: from now on ids are as long as its peers need, and its host is reported.
    pub(crate) fn knows(&self, room: &Room) {
        let _ = self.room.set(room.clone()); // there is one
    }

    /// Returns a peer as a command names it: its name, and its id.
    fn named(&self, peer: &PeerId, name: &str) -> (String, String) {
        let people = self.room.get().map(People::all).unwrap_or_default();
        (quoted(name), people.id(peer))
    }

    /// Returns a mixer with its name, its id, and whether the host named it: it sees and hears all speakers, and makes what
    /// the audience sees.
    fn mixer(&self, mixer: &PeerId) -> String {
        let stage = self.room.get().map(|room| room.snapshot().stage).unwrap_or_default();
        let Some(member) = stage.iter().find(|member| member.peer == *mixer) else {
            return format!("{mixer:?}");
        };
        let (name, id) = self.named(mixer, &member.name);
        let guest = if member.named { "" } else { ", a guest" };
        format!("{name} ({id}){guest}")
    }

    /// Stops the reports of a missing parent, since this peer leaves.
    pub(crate) fn leaves(&self) {
        self.leaving.store(true, Ordering::Relaxed);
    }

    /// Returns the message for an event, if it is worth a line.
    pub(crate) fn line(&self, event: &RoomEvent) -> Option<String> {
        Some(match event {
            RoomEvent::Rendezvous { up: false, why: Some(why) } => format!("rendezvous: {why}"),
            RoomEvent::Waiting { tries } => format!("waiting for the host (asked {} times)", tries + 1),
            RoomEvent::Mode(mode) => format!("mode: {}", mode_word(*mode)),
            RoomEvent::Parent(Some(parent)) => format!("fed by {parent:?}"),
            RoomEvent::Parent(None) if !self.leaving.load(Ordering::Relaxed) => {
                "fed by no peer: searching for a parent".to_owned()
            }
            RoomEvent::Shedding(shedding) => match shedding {
                Shedding::Nothing => "this machine has enough processor time again".to_owned(),
                Shedding::Children => format!("{SHORT_OF_CPU}: no new viewers are fed from here"),
                Shedding::HalfThePictures => format!("{SHORT_OF_CPU}: half of the pictures are left out"),
                Shedding::Decoding => format!("{SHORT_OF_CPU}: no pictures are decoded"),
            },
            RoomEvent::MixerEffort { effort, why } => format!("mixing with {effort} effort: {why}"),
            RoomEvent::Solo { speaker, comes: true } => format!("the own stream of {speaker:?} arrives"),
            RoomEvent::Solo { speaker, comes: false } => {
                format!("the own stream of {speaker:?} is unavailable for now")
            }
            RoomEvent::SoloRefused { speaker } => {
                format!("{speaker:?} doesn't allow that it is shown alone: the program instead")
            }
            RoomEvent::NoMixer => {
                format!(
                    "{NOBODY_CONSENTS} to mix, so there is no program; --mix always makes one mix, on battery too"
                )
            }
            RoomEvent::NoPlace => "the room is full of viewers at the moment: a strong machine that runs \
                                   `plenary join --view` or `plenary mixer` makes places; still searching"
                .to_owned(),
            RoomEvent::Elected { term, mixers, standbys, signatures, roster, .. } => {
                let who: Vec<String> = mixers.iter().map(|mixer| self.mixer(mixer)).collect();
                format!(
                    "mixed by {} (term {term}: {signatures} of {roster} signed; standbys {standbys:?})",
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
                let (name, id) = self.named(peer, name);
                let waits = if *mixes { "offers to mix, and waits" } else { "waits in the lobby" };
                let line = format!("{name} ({id}) {waits}: /admit {id} or /deny {id}");
                return self.knocks.lock().line(Instant::now(), line);
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
                let (name, id) = self.named(peer, name);
                let line = format!("{name} ({id}) asks for the floor: /promote {id} or /demote {id}");
                return self.hands.lock().line(Instant::now(), line);
            }
            RoomEvent::FloorOffered if is_due(&self.offer_told, OFFERS_EACH) => {
                "the host offers you the floor: /speak takes it".to_owned()
            }
            RoomEvent::FloorDenied => "the host has not given you the floor".to_owned(),
            RoomEvent::Host(host) if self.room.get().is_some_and(|room| Some(room.me()) == *host) => {
                "you are the host now: /help lists what you can do".to_owned()
            }
            RoomEvent::MutedByHost(muted) if muted.sound => "the host has muted you".to_owned(),
            RoomEvent::MutedByHost(_) => "the host has switched your picture off".to_owned(),
            RoomEvent::OtherVersion { peer, version } if is_due(&self.version_told, VERSIONS_EACH) => {
                format!("{peer:?} speaks version {version} of the protocol, this program {MESSAGE_VERSION}: one is to be updated")
            }
            RoomEvent::OtherClock if !self.clock_told.swap(true, Ordering::Relaxed) => {
                "the clock of another peer differs from this machine's by more than five minutes: one of the two is wrong"
                    .to_owned()
            }
            RoomEvent::LinkTrouble(why) if !self.trouble_told.swap(true, Ordering::Relaxed) => {
                format!("a link could not be made: {why}; more may fail")
            }
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_leaves_does_not_look_for_another_parent() {
        let teller = Teller::new();
        assert!(teller.line(&RoomEvent::Parent(None)).is_some());
        teller.leaves();
        assert_eq!(teller.line(&RoomEvent::Parent(None)), None);
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
        let (mut wishes, now) = (Wishes::new("/hands"), Instant::now());
        let at = |ms: u64| now + Duration::from_millis(ms);
        let told = (0..1000).filter_map(|ms| wishes.line(at(ms), "one".to_owned()));
        assert_eq!(told.collect::<Vec<_>>(), ["one"]);
        assert_eq!(
            wishes.line(at(1000), "two".to_owned()).unwrap(),
            "two; 999 more since the last line: /hands lists them"
        );
    }

    #[test]
    fn a_wish_soon_after_another_is_told_a_second_later_though_no_third_comes() {
        let (mut wishes, now) = (Wishes::new("/who"), Instant::now());
        assert_eq!(wishes.line(now, "Zoe waits".to_owned()).unwrap(), "Zoe waits");
        assert_eq!(wishes.line(now + WISHES_EACH / 2, "Yan waits".to_owned()), None);
        assert_eq!(wishes.due(now + WISHES_EACH).unwrap(), "Yan waits");
        assert_eq!(wishes.due(now + 2 * WISHES_EACH), None);
    }

    #[test]
    fn that_links_cannot_be_made_is_told_once() {
        let teller = Teller::new();
        let lines = (0..3).filter_map(|_| teller.line(&RoomEvent::LinkTrouble("no free port".to_owned())));
        assert_eq!(lines.collect::<Vec<_>>(), ["a link could not be made: no free port; more may fail"]);
    }
}
