//! Frames on their way to the application and to the mixer, and what follows from packets that have arrived.

use super::Media;
use crate::in_step::HeldFrame;
use crate::inflow::Inbound;
use crate::outs::Outs;
use crate::oversize::PictureSize;
use crate::program::Arrived;
use crate::received::{Origin, ReceivedFrame};
use plenary_media::Frame;
use plenary_proto::identity::MediaKind;
use plenary_proto::ordered::OrderedMap;
use plenary_proto::packet::LinkId;
use plenary_proto::{PeerId, StreamKind};

impl Media {
    /// Returns the link that the program arrives on: with the parent, or on stage, without a parent, with the home
    /// mixer.
    pub(crate) fn feeder_link(&self) -> Option<LinkId> {
        self.link(&self.parent.or(self.home)?)
    }

    pub(super) fn use_arrived(&mut self, arrived: Arrived, now_us: u64, outs: &mut Outs) {
        if arrived.key_wanted {
            self.want_key_upstream(outs);
        }
        self.reception.left_out(arrived.left_out);
        for frame in arrived.frames {
            if !self.shows_picture_of_program(&frame, now_us, outs) {
                continue;
            }
            self.watches.progressed(self.watch_time(now_us), frame.identity.captured_us);
            self.show(&frame, now_us, outs);
        }
    }

    /// Returns whether a frame of the program is to be shown: a picture that is far too large is none. The parent that
    /// brought it is at fault until it brings one that fits, and a keyframe is requested.
    fn shows_picture_of_program(&mut self, frame: &Frame, now_us: u64, outs: &mut Outs) -> bool {
        if frame.kind != MediaKind::Video {
            return true;
        }
        let feeder = self.feeder_link();
        let Some(stream) = self.program.streams.get_mut(&frame.identity.stream) else { return true };
        let fits = stream.size.fits(frame, self.pixels_max.program);
        if stream.via.map(|(link, _)| link) == feeder {
            self.watches.judged(fits);
        }
        if !fits && self.program.picture_refused(now_us) {
            self.want_key_upstream(outs);
        }
        fits
    }

    /// Returns whether a frame of a speaker's own stream may be shown. A picture that is far too large is none, and a
    /// keyframe is requested.
    fn shows_picture_of(&mut self, maker: &PeerId, frame: &Frame) -> bool {
        let Some(stream) = self.inflow.streams.get_mut(&frame.identity.stream) else { return true };
        let fits = stream.size.fits(frame, self.pixels_max.speaker);
        if !fits {
            self.inflow.wish_key_of(maker);
        }
        fits
    }

    /// Hands frames for this peer's own use to the mixer, or in a mesh to the application.
    pub(super) fn use_inbound(&mut self, inbound: Vec<Inbound>, now_us: u64, outs: &mut Outs) {
        for one in inbound {
            let Inbound { maker, kind, arrived_us, .. } = one;
            if kind == StreamKind::MixMinus {
                // a former home mixer may not know yet that it is none, and sound may arrive after the stage was left
                if self.speaks && self.home.is_none_or(|home| home == maker) {
                    self.own_mix = true;
                    self.hold(Origin::MixMinus, one.frame, false, now_us, outs);
                }
                continue;
            }
            if kind.is_speakers() && one.frame.kind == MediaKind::Sound && maker != self.me {
                outs.voices.extend(self.inflow.apart.take(maker, &one.frame, arrived_us));
            }
            // mixers alone show it
            if kind == StreamKind::Beside {
                self.mix.take(one, &mut outs.mix);
                continue;
            }
            let fits = maker == self.me || self.shows_picture_of(&maker, &one.frame);
            if kind.is_speakers() && self.mesh && maker != self.me {
                if !fits {
                    continue;
                }
                self.reception.frame(&one.frame, arrived_us);
                outs.frames.push(ReceivedFrame::new(Origin::Speaker(maker), one.frame, arrived_us));
                continue;
            }
            if maker != self.me
                && fits
                && let Some(solo) = self.solo.takes(&maker, &one.frame)
            {
                // a speaker hears that voice in its mix-minus, too
                let heard_anyway = self.own_mix && one.frame.kind == MediaKind::Sound;
                let received = ReceivedFrame::new(Origin::Speaker(maker), one.frame.clone(), arrived_us);
                outs.frames.push(ReceivedFrame { beside: !solo.instead || heard_anyway, ..received });
            }
            if let Some(made) = self.mix.take(one, &mut outs.mix) {
                self.make_program(made, now_us, outs);
            }
        }
    }

    /// Hands the other speakers' pictures since their newest keyframes to the application: the stage has become a mesh,
    /// and the pictures that follow refer to these. They may be up to a GOP old, and only bring the decoder up to date.
    pub(crate) fn show_speakers(&self, now_us: u64, outs: &mut Outs) {
        let mut sizes: OrderedMap<PeerId, PictureSize> = OrderedMap::new();
        let others = self.inflow.pictures(now_us).filter(|(maker, _)| *maker != self.me);
        for (maker, frame) in others {
            if !sizes.entry(maker).or_default().fits(&frame, self.pixels_max.speaker) {
                continue;
            }
            let received = ReceivedFrame::new(Origin::Speaker(maker), frame, now_us);
            outs.frames.push(ReceivedFrame { catches_up: true, ..received });
        }
    }

    /// Hands a frame of the program to the application. A speaker hears its mix-minus instead of the program's sound,
    /// so that it doesn't hear itself.
    pub(super) fn show(&mut self, frame: &Frame, now_us: u64, outs: &mut Outs) {
        let wanted = match frame.kind {
            MediaKind::Video => true,
            MediaKind::Sound => {
                let (from_us, until_us) = self.sound_from_us;
                !self.own_mix && (frame.identity.captured_us >= from_us || now_us >= until_us)
            }
        };
        if !self.views || !wanted {
            return;
        }
        let past = self.catch_up.is_past(frame, now_us);
        if !past || frame.kind == MediaKind::Video {
            self.hold(Origin::Program, frame.clone(), past, now_us, outs);
        }
    }

    /// Hands a frame over once it is in step with the frames of the other kind.
    pub(super) fn hold(&mut self, origin: Origin, frame: Frame, past: bool, now_us: u64, outs: &mut Outs) {
        let before_us = self.next_due_us();
        self.in_step.push(HeldFrame { origin, frame, came_us: now_us, past }, now_us);
        self.hand_over_due(now_us, outs);
        let next_us = self.next_due_us();
        outs.frame_waits |=
            next_us.is_some_and(|next_us| before_us.is_none_or(|before_us| next_us < before_us));
    }

    pub(super) fn give(&mut self, held: HeldFrame, now_us: u64, outs: &mut Outs) {
        let HeldFrame { origin, frame, came_us, past } = held;
        if !past {
            self.reception.frame(&frame, now_us);
        }
        if origin != Origin::Program || self.solo.takes_program(&frame) {
            let received = ReceivedFrame::new(origin, frame, now_us);
            let plan_us = self.in_step.plan_us();
            outs.frames.push(ReceivedFrame { catches_up: past, came_us, plan_us, ..received });
        }
    }
}
