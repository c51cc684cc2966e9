//! Messages about a running room, for a person on a terminal.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use plenary::{Mode, OnEvent, RoomEvent, Shedding};
use plenary_proto::bounded::plain;
use plenary_proto::message::MESSAGE_VERSION;

use crate::commands::govern::short;

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
#[derive(Debug, Default)]
pub(crate) struct Teller {
    leaving: AtomicBool,
    /// Whether link trouble was reported. Links are retried, and without a free port they fail each time.
    trouble_told: AtomicBool,
    /// Whether a clock that differs was reported.
    clock_told: AtomicBool,
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
        })
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
            RoomEvent::Elected { term, mixers, standbys, signatures, roster, .. } => {
                format!(
                    "term {term}: mixers {mixers:?}, standbys {standbys:?} ({signatures} of {roster} signed)"
                )
            }
            RoomEvent::Failover { rank, peer, polite } => {
                let why = if *polite { "the mixer left" } else { "the mixer fell silent" };
                format!("{peer:?} takes over as {rank}: {why}")
            }
            RoomEvent::PeerMisbehaved { peer, dropped: true, .. } => {
                format!("{peer:?} violated the protocol: dropped")
            }
            RoomEvent::InLobby => "waiting in the lobby until the host lets you in".to_owned(),
            RoomEvent::Knock { peer, name } => {
                format!("{name} ({}) waits in the lobby: /admit or /deny", short(peer))
            }
            RoomEvent::NotForwarding { peer, name } => {
                let id = short(peer);
                format!("{name} ({id}) promises to feed others and sends them nothing: /remove {id} removes it")
            }
            RoomEvent::MutedByHost(muted) if muted.sound => "the host has muted you".to_owned(),
            RoomEvent::MutedByHost(_) => "the host has switched your picture off".to_owned(),
            RoomEvent::OtherVersion { peer, version } => {
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
        assert!(line.starts_with("Mallory (") && line.contains("/remove 07070707"), "{line}");
    }

    #[test]
    fn that_links_cannot_be_made_is_told_once() {
        let teller = Teller::new();
        let lines = (0..3).filter_map(|_| teller.line(&RoomEvent::LinkTrouble("no free port".to_owned())));
        assert_eq!(lines.collect::<Vec<_>>(), ["a link could not be made: no free port; more may fail"]);
    }
}
