//! This peer as a mixer.

use super::Media;
use crate::mix::{Made, Minus, Mixed, RoleChange, Tile};
use crate::outs::{Notice, Outs};
use crate::own::OWN_SLOTS;
use crate::stats::FrameSeen;
use plenary_media::compose::Layout;
use plenary_media::mixer::MixerOutput;
use plenary_proto::MixRole;
use plenary_proto::identity::MediaKind;
use plenary_proto::message::{LinkKind, MediaMessage, Message, ProgramFormat, StreamUse};

impl Media {
    /// Takes on a role in the mix.
    pub(crate) fn set_role(&mut self, role: MixRole, now_us: u64, outs: &mut Outs) {
        let start = self.start();
        let RoleChange { begins, ended, keys_wanted } = self.mix.set_role(role, now_us, start, &mut outs.mix);
        if let Some((id, spec)) = begins {
            self.program.follow(id, spec, now_us);
        }
        if let Some(id) = ended {
            self.program.end(&id);
        }
        if keys_wanted {
            self.want_keys(outs);
        }
    }

    /// Sets speakers, format and layout of the program.
    pub(crate) fn set_tiles(
        &mut self,
        tiles: Vec<Tile>,
        format: ProgramFormat,
        layout: Layout,
        outs: &mut Outs,
    ) {
        if self.mix.set_tiles(tiles, format, layout, &mut outs.mix) {
            self.want_keys(outs);
        }
    }

    /// Handles an output of the mixer.
    pub(crate) fn mixed(&mut self, output: MixerOutput, now_us: u64, outs: &mut Outs) {
        let start = if matches!(output, MixerOutput::MixMinus { .. }) { self.start() } else { [0; 8] };
        match self.mix.mixed(output, start) {
            Mixed::Program(made) => self.make_program(made, now_us, outs),
            Mixed::KeyWanted(seat) => self.want_key_of(seat, outs),
            Mixed::Nothing => {}
            Mixed::Minus(Minus { speaker, stream: (id, spec), packets, announced }) => {
                if speaker == self.me {
                    *announced = true;
                    self.inflow.follow(id, spec, now_us);
                    let mut inbound = Vec::new();
                    for packet in &packets {
                        self.voices.heard(&packet.contributors, now_us);
                        self.inflow.packet(MediaKind::Sound, packet, None, now_us, &mut inbound);
                    }
                    self.use_inbound(inbound, now_us, outs);
                } else if let Some(link) = self.links.up(&speaker, LinkKind::Peer) {
                    if !std::mem::replace(announced, true) {
                        outs.control(
                            link,
                            Message::Media(MediaMessage::Stream(StreamUse { slot: OWN_SLOTS[0], spec })),
                        );
                    }
                    packets.into_iter().for_each(|packet| outs.send(link, OWN_SLOTS[1], packet));
                } else {
                    *announced = false;
                }
            }
        }
    }

    /// Handles a frame of the program that this peer makes.
    pub(super) fn make_program(&mut self, made: Made, now_us: u64, outs: &mut Outs) {
        let Made { frame, packets, begins } = made;
        if self.keeps_log && frame.kind == MediaKind::Video {
            self.made.push(FrameSeen::new(&frame.identity, now_us));
        }
        if frame.kind == MediaKind::Sound && !self.own_mix {
            packets.iter().for_each(|packet| self.voices.heard(&packet.contributors, now_us));
        }
        if let Some(frame) = self.program.own(frame, &packets, now_us, outs) {
            self.show(&frame, now_us, outs);
        }
        if let Some(spec) = begins {
            outs.notices.push(Notice::Started(spec));
        }
    }
}
