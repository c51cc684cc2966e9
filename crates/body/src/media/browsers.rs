//! Media of browsers: their packets at native peers, and whole frames at a page.

use std::collections::VecDeque;

use bytes::Bytes;
use plenary_media::Encoded;
use plenary_media::payload::timestamp;
use plenary_proto::identity::MediaKind;
use plenary_proto::identity::opus::UNMARKED_LEN_MAX;
use plenary_proto::identity::seal::has_seal;
use plenary_proto::link_layout::is_video;
use plenary_proto::message::{LinkKind, PEER_SLOTS};
use plenary_proto::packet::{
    BrowserPacket, CONTRIBUTORS_MAX, Contributor, Contributors, LinkId, MediaPacket,
};
use plenary_proto::{PeerId, StreamKind};

use super::{Followed, Media};
use crate::outs::{Out, Outs};
use crate::oversize::PixelsMax;
use crate::own::OWN_SLOTS;
use crate::program::PROGRAM_SLOTS;
use crate::rebuild::{identified, originals};
use crate::solo::SOLO_SLOTS;

/// RFC 6464 level that a page takes for that of each voice it hears. A guess: the middle of speech.
const VOICE_LEVEL: u8 = 30;

/// A picture that a page shows, with the sound that it plays: link and slot of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Whose picture it is; `None` for the program.
    pub speaker: Option<PeerId>,
    /// The picture.
    pub picture: (LinkId, u8),
    /// The sound.
    pub sound: (LinkId, u8),
}

impl Media {
    /// Handles a packet of a browser in a slot of a link.
    pub(crate) fn browser_packet(
        &mut self,
        link: LinkId,
        slot: u8,
        packet: BrowserPacket,
        now_us: u64,
        outs: &mut Outs,
    ) {
        if self.feeds_here(link, slot, now_us) {
            for packet in self.rebuild.packet(link, slot, packet, now_us) {
                self.packet(link, slot, packet, now_us, outs);
            }
        }
    }

    /// Handles a whole frame that arrived in a slot of a link, at a page, which gets frames from its browser. The frame
    /// is packetized anew: caches and children get the originator's packets. Returns whether the browser may decode it:
    /// its seal is the maker's, its size an honest one, and it came for the first time on this link. The browser
    /// decodes at once, so a picture that others refer to is judged before.
    pub(crate) fn frame(
        &mut self,
        (link, slot): (LinkId, u8),
        (data, level, csrcs): (Bytes, Option<u8>, &[u32]),
        now_us: u64,
        outs: &mut Outs,
    ) -> bool {
        if !self.feeds_here(link, slot, now_us) {
            return false;
        }
        let kind = if is_video(slot) { MediaKind::Video } else { MediaKind::Sound };
        let is_silence = kind == MediaKind::Sound && data.len() <= UNMARKED_LEN_MAX;
        let Some(frame) = identified(kind, data, level) else { return is_silence };
        let stream = frame.identity.stream;
        let is_announced = self.links.of(link).and_then(|(peer, _)| {
            let streams = self.followed.get(&(peer, slot & !1))?;
            streams.iter().find(|known| known.id == stream).copied()
        });
        // the maker itself has no reason to forge what it makes
        let is_forged = is_announced.is_some_and(|known| match known.kind {
            _ if known.is_own => false,
            StreamKind::Program => !self.program.may_be_decoded(&frame),
            _ => !self.inflow.may_be_decoded(&frame),
        });
        if is_forged {
            self.program.is_forged(stream, link, now_us, outs);
            self.inflow.is_forged(stream, link, now_us);
            self.send_recalls(outs);
            return false;
        }
        let is_checked = self.program.is_sealed() && is_announced.is_some_and(|known| !known.is_own);
        let leg = self.page_legs.entry((link, slot)).or_default();
        let is_sealed = || has_seal(kind, &frame.data);
        if is_checked && !leg.repeats.is_first(stream, frame.identity.number, is_sealed()) {
            return false;
        }
        // a page learns which voices are heard, not their levels
        let contributor = |csrc: &u32| Contributor { csrc: *csrc, level: VOICE_LEVEL };
        let contributors: Contributors = csrcs.iter().take(CONTRIBUTORS_MAX).map(contributor).collect();
        let made = originals(&frame);
        let (left_out, fits) = match kind {
            MediaKind::Video => {
                let PixelsMax { program, speaker } = self.pixels_max;
                let pixels_max = if slot == PROGRAM_SLOTS[0] { program } else { speaker };
                let fits = leg.size.fits(&frame, pixels_max);
                (leg.left_out.before_at_page(&frame, &made, now_us), fits)
            }
            MediaKind::Sound => (Vec::new(), true),
        };
        for packet in left_out.into_iter().chain(made) {
            let packet = MediaPacket { contributors: contributors.clone(), ..packet };
            self.packet(link, slot, packet, now_us, outs);
        }
        fits && is_announced.is_some() && self.program.doubts.takes(link) && self.inflow.doubts.takes(link)
    }

    /// Returns the bytes of a frame that this page's browser has encoded for the other end of a link, with its
    /// identity; `None` for a frame that isn't to be sent.
    pub(crate) fn own_frame(&mut self, link: LinkId, encoded: &Encoded, now_us: u64) -> Option<Bytes> {
        let (peer, LinkKind::Peer) = self.links.of(link)? else { return None };
        if !self.is_sent(encoded.kind) {
            return None;
        }
        let own = self.published.stream_mut(false)?;
        self.voices.heard_alone(&self.me, encoded.level, now_us);
        own.frame(&peer, encoded)
    }

    /// Returns the links on which this page sends its own stream.
    pub(crate) fn own_links(&self) -> Vec<LinkId> {
        self.published.own().into_iter().flat_map(|own| own.links(&self.links)).collect()
    }

    /// Tells browsers which capture times the timestamps of this peer's packets stand for.
    pub(crate) fn report_times(&self, now_us: u64, outs: &mut Outs) {
        for link in self.links.browsers() {
            for slot in 0..PEER_SLOTS as u8 {
                let kind = if is_video(slot) { MediaKind::Video } else { MediaKind::Sound };
                let (ntp_time, rtp_time) = (ntp(now_us), timestamp(kind, now_us));
                outs.sends.push(Out::SenderReport { link, slot, ntp_time, rtp_time });
            }
        }
    }

    /// Returns what this page shows and plays: the program, at a speaker with its mix-minus; in a mesh the streams of
    /// the other speakers.
    pub(crate) fn shown(&self, speakers: &[PeerId]) -> Vec<Shown> {
        if self.mesh && self.speaks {
            let sends = |peer: &&PeerId| {
                let streams = self.followed.get(&(**peer, OWN_SLOTS[0]));
                **peer != self.me
                    && streams.is_some_and(|streams| streams.iter().any(|one| one.kind.is_speakers()))
            };
            let shown = |peer: &PeerId| {
                let link = self.link(peer)?;
                Some(Shown {
                    speaker: Some(*peer),
                    picture: (link, OWN_SLOTS[0]),
                    sound: (link, OWN_SLOTS[1]),
                })
            };
            return speakers.iter().filter(sends).filter_map(shown).collect();
        }
        let Some(feeder) = self.feeder_link() else { return Vec::new() };
        let [video, sound] = PROGRAM_SLOTS;
        let minus = self.home.filter(|_| self.own_mix).and_then(|home| self.link(&home));
        let sound = minus.map_or((feeder, sound), |link| (link, OWN_SLOTS[1]));
        let solo = self.solo.in_place_of_program().and_then(|speaker| Some((speaker, self.solo_link()?)));
        vec![match solo {
            Some((speaker, link)) => Shown { speaker: Some(speaker), picture: (link, SOLO_SLOTS[0]), sound },
            None => Shown { speaker: None, picture: (feeder, video), sound },
        }]
    }

    /// Returns the link on which a mixer forwards one speaker's own stream to this peer.
    fn solo_link(&self) -> Option<LinkId> {
        let forwards = |streams: &VecDeque<Followed>| streams.iter().any(|one| one.kind.is_speakers());
        let from =
            self.followed.iter().find(|((_, slot), streams)| *slot == SOLO_SLOTS[0] && forwards(streams));
        from.and_then(|((peer, _), _)| self.link(peer))
    }

    /// Records that media arrived. Returns whether the slot is one of an ordinary link.
    fn feeds_here(&mut self, link: LinkId, slot: u8, now_us: u64) -> bool {
        let peer = self.links.of(link).filter(|_| usize::from(slot) < PEER_SLOTS);
        let Some((peer, LinkKind::Peer)) = peer else { return false };
        self.watches.fed(peer, self.watch_time(now_us));
        true
    }
}

/// Returns a time since 1970 in microseconds as NTP has it: since 1900, in 32.32 bit fixed point.
fn ntp(us: u64) -> u64 {
    const SECONDS_TO_1970: u64 = 2_208_988_800;
    let fraction = ((us % 1_000_000) << 32) / 1_000_000;
    ((us / 1_000_000 + SECONDS_TO_1970) << 32) | fraction
}
