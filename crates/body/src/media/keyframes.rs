//! Keyframe requests: of receivers to this peer, and of this peer to others.

use super::Media;
use crate::outs::Outs;
use crate::own::OWN_SLOTS;
use crate::program::PROGRAM_SLOTS;
use crate::solo::SOLO_SLOTS;
use plenary_proto::PeerId;
use plenary_proto::message::LinkKind;
use plenary_proto::packet::LinkId;

impl Media {
    /// Whether a receiver needs a keyframe of this peer's own stream; resets the answer.
    pub(crate) fn take_own_key_wanted(&mut self) -> bool {
        std::mem::take(&mut self.own_key_wanted)
    }

    /// Requests a keyframe of the program from the peer that feeds this one.
    pub(crate) fn want_key_upstream(&self, outs: &mut Outs) {
        if let Some(link) = self.feeder_link() {
            outs.want_key(link, PROGRAM_SLOTS[0]);
        }
    }

    /// Handles a keyframe request for a stream that this peer sends in a slot.
    pub(crate) fn keyframe_wanted(&mut self, link: LinkId, slot: u8, now_us: u64, outs: &mut Outs) {
        let Some((peer, kind)) = self.links.of(link) else { return };
        match (kind, slot) {
            (LinkKind::Peer, slot) if slot == PROGRAM_SLOTS[0] => {
                self.pass_on_program_key_wish(now_us, outs);
            }
            (LinkKind::Peer, slot) if slot == OWN_SLOTS[0] => self.own_key_wanted = true,
            // the other end lost a speaker's picture: the request goes on to the speaker
            (kind, slot) => {
                let speaker = match kind {
                    LinkKind::Trunk(trunk) => self.inflow.speaker_at(trunk, slot),
                    LinkKind::Peer if slot == SOLO_SLOTS[0] => self.inflow.solo_of(&peer),
                    LinkKind::Peer => None,
                };
                if let Some(speaker) = speaker {
                    self.pass_on_key_wish(&speaker, now_us, outs);
                }
            }
        }
    }

    /// Passes the application's keyframe request on: of a speaker's own stream, or of the program.
    pub(crate) fn application_wants_key(&mut self, speaker: Option<PeerId>, now_us: u64, outs: &mut Outs) {
        match speaker {
            Some(speaker) => self.pass_on_key_wish(&speaker, now_us, outs),
            None => self.pass_on_program_key_wish(now_us, outs),
        }
    }

    /// Passes a keyframe request on to the maker of the program: requests of many peers become one.
    fn pass_on_program_key_wish(&mut self, now_us: u64, outs: &mut Outs) {
        if self.mix.passes_through() {
            let speakers: Vec<_> = self.mix.speakers().collect();
            speakers.iter().for_each(|speaker| self.pass_on_key_wish(speaker, now_us, outs));
        } else if self.mix.is_mixing() {
            self.mix.want_key(&mut outs.mix);
        } else if self.program.child_wants_key(now_us) {
            self.want_key_upstream(outs);
        }
    }

    /// Passes a keyframe request on to a speaker: requests of many peers become one.
    pub(super) fn pass_on_key_wish(&mut self, speaker: &PeerId, now_us: u64, outs: &mut Outs) {
        if *speaker == self.me || self.inflow.may_ask_key_of(speaker, now_us) {
            self.want_key_of(speaker, outs);
        }
    }

    /// Requests a keyframe of a speaker's own stream.
    pub(crate) fn want_key_of(&mut self, speaker: &PeerId, outs: &mut Outs) {
        if *speaker == self.me {
            self.own_key_wanted = true;
        } else if let Some((link, slot)) = self.inflow.source_of(speaker) {
            outs.want_key(link, slot);
        }
    }

    pub(super) fn want_keys(&mut self, outs: &mut Outs) {
        let speakers: Vec<_> = self.mix.speakers().collect();
        speakers.iter().for_each(|speaker| self.want_key_of(speaker, outs));
    }

    /// Requests a keyframe of the program that this peer makes.
    pub(super) fn want_program_key(&mut self, outs: &mut Outs) {
        if self.mix.passes_through() {
            self.want_keys(outs);
        } else {
            self.mix.want_key(&mut outs.mix);
        }
    }
}
