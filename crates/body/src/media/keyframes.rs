//! Keyframe requests: of receivers to this peer, and of this peer to others.

use super::Media;
use crate::outs::{Outs, Picture};
use crate::own::OWN_SLOTS;
use crate::program::PROGRAM_SLOTS;
use crate::seat::Seat;
use crate::solo::SOLO_SLOTS;
use plenary_proto::PeerId;
use plenary_proto::message::LinkKind;
use plenary_proto::packet::LinkId;

impl Media {
    /// Returns the pictures of this peer that a receiver needs a keyframe of; resets the answer.
    pub(crate) fn take_own_keys_wanted(&mut self) -> Vec<Picture> {
        self.published.take_keys_wanted()
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
            (LinkKind::Peer, slot) if slot == OWN_SLOTS[0] => self.want_own_key(false),
            // the other end lost a speaker's picture: the request goes on to the speaker
            (LinkKind::Peer, slot) if slot == SOLO_SLOTS[0] => {
                self.want_own_key(true); // a home asks in the slot in which others get a solo
                if let Some(speaker) = self.inflow.solo_of(&peer) {
                    self.pass_on_key_wish(&speaker, now_us, outs);
                }
            }
            (LinkKind::Trunk(trunk), slot) => {
                // both pictures of a speaker share a slot
                if let Some(speaker) = self.inflow.speaker_at(trunk, slot) {
                    self.pass_on_key_wish(&speaker, now_us, outs);
                    self.pass_on_key_wish(Seat::beside(&speaker), now_us, outs);
                }
            }
            (LinkKind::Peer, _) => {}
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
    pub(super) fn pass_on_key_wish(&mut self, of: impl Into<Seat>, now_us: u64, outs: &mut Outs) {
        let seat = of.into();
        if seat.peer == self.me || self.inflow.may_ask_key_of(seat, now_us) {
            self.want_key_of(seat, outs);
        }
    }

    /// Requests a keyframe of a speaker's picture.
    pub(crate) fn want_key_of(&mut self, of: impl Into<Seat>, outs: &mut Outs) {
        let seat = of.into();
        if seat.peer == self.me {
            self.want_own_key(seat.beside);
        } else if let Some((link, slot)) = self.inflow.source_of(seat) {
            outs.want_key(link, slot);
        }
    }

    /// Asks the encoder of this peer's own stream, or of its second picture, for a keyframe.
    fn want_own_key(&mut self, beside: bool) {
        if let Some(own) = self.published.stream_mut(beside) {
            own.key_wanted = true;
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
