//! Outputs of the body: the IO that a call asks its shell to do, as values.
//!
//! The shell calls the body under its lock. Before it unlocks, it hands [`frames`](Outs::frames) to the application
//! and queues [`mix`](Outs::mix) for the mixer, so that both keep their order. The other outputs follow.

use plenary_media::mixer::MixerPart;
use plenary_media::{CodecRemedy, Frame};
use plenary_proto::app::{CodecOutcome, CodecUse};
use plenary_proto::bounded::{List, Text};
use plenary_proto::message::{
    Description, FurtherCandidates, GenerationKey, Heartbeat, IceRestart, LinkKind, Message, RELAY_HOPS_MAX,
    Relay, RouteMessage, VideoRequest,
};
use plenary_proto::packet::{Destinations, LinkId, MediaPacket};
use plenary_proto::{Address, Event, PeerId, ShortId, StreamSpec, TunnelCommand};
use smallvec::SmallVec;

use crate::apart::VoiceFrame;
use crate::mix::MixCommand;
use crate::received::ReceivedFrame;

/// Output for the links.
#[derive(Clone, Debug, PartialEq)]
pub enum Out {
    /// Sends a packet in a slot of each of these links.
    Forward {
        /// Links and slots; never empty.
        to: Destinations,
        /// The packet.
        packet: MediaPacket,
    },
    /// Sends a whole frame in a slot, at a page, whose browser packetizes.
    Frame {
        /// The link.
        link: LinkId,
        /// The slot.
        slot: u8,
        /// Time that the timestamp stands for, in microseconds: the capture time, but later for pictures of a burst.
        at_us: u64,
        /// The frame.
        frame: Box<Frame>,
    },
    /// Sends a message on the control channel.
    Control {
        /// The link.
        link: LinkId,
        /// The message.
        message: Box<Message>,
    },
    /// Sends a message on the heartbeat channel, where it may be lost.
    Loose {
        /// The link.
        link: LinkId,
        /// The message.
        message: Box<Message>,
    },
    /// Sends a heartbeat.
    Heartbeat {
        /// The link.
        link: LinkId,
        /// The heartbeat.
        heartbeat: Heartbeat,
    },
    /// Requests a keyframe of the stream that the other end sends in that slot (RTCP PLI).
    KeyframeWanted {
        /// The link.
        link: LinkId,
        /// The slot.
        slot: u8,
    },
    /// Sends a packet train.
    Train {
        /// The link.
        link: LinkId,
        /// Number of the train, chosen by the other end.
        train: u32,
        /// Payload bytes in all.
        bytes: u32,
        /// Bits per second; 0 for as fast as possible.
        rate_bps: u64,
    },
    /// Opens a link as the offering end.
    Offer {
        /// The new link.
        link: LinkId,
        /// Its kind.
        kind: LinkKind,
        /// A stranger requested it.
        is_stranger: bool,
    },
    /// Opens a link as the answering end.
    Answer {
        /// The new link.
        link: LinkId,
        /// Its kind.
        kind: LinkKind,
        /// The other end's description.
        offer: Description,
        /// Only the other end wants the link, and is neither on stage nor below this peer.
        is_stranger: bool,
    },
    /// Completes a link with the other end's answer.
    Accept {
        /// The link.
        link: LinkId,
        /// The other end's description.
        answer: Description,
    },
    /// Checks further candidates of the other end of a link that is being made.
    Paths {
        /// The link.
        link: LinkId,
        /// User fragment of the other end's description, to which they belong.
        ufrag: Text<32>,
        /// The candidates.
        candidates: FurtherCandidates,
    },
    /// The other end of a link restarts ICE.
    IceRestart {
        /// The link.
        link: LinkId,
        /// What it has told.
        restart: Box<IceRestart>,
    },
    /// Carries links for others, or goes through a carrier.
    Tunnel(TunnelCommand<LinkId, LinkId>),
    /// Closes a link.
    Close {
        /// The link.
        link: LinkId,
    },
    /// Sends a sender report (RFC 3550, 6.4.1) in a slot of a browser's link, if anything was sent in it: the browser
    /// plays pictures and sound in step by it. Native peers have the capture time in each frame.
    SenderReport {
        /// The link.
        link: LinkId,
        /// The slot.
        slot: u8,
        /// A capture time, in 32.32 bit fixed point since 1900.
        ntp_time: u64,
        /// RTP timestamp of a frame with that capture time.
        rtp_time: u32,
    },
    /// Reads no message of a link for a while: the other end has said more than its budget.
    Pause {
        /// The link.
        link: LinkId,
        /// Duration in microseconds.
        pause_us: u64,
    },
}

/// A message to be sealed.
#[derive(Clone, Debug, PartialEq)]
pub enum Envelope {
    /// Through the rendezvous.
    Signal {
        /// The recipient.
        to: Address,
        /// The message.
        message: Box<Message>,
    },
    /// Through linked peers: [`Route::carry`] makes an output of the sealed message.
    Relay {
        /// Recipient and route.
        route: Route,
        /// The message.
        message: Box<Message>,
    },
}

/// Route of an envelope through linked peers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Recipient of the envelope.
    pub to: PeerId,
    pub(crate) from: PeerId,
    /// Link with the first peer of the route.
    pub(crate) link: LinkId,
    pub(crate) peers: List<ShortId, RELAY_HOPS_MAX>,
}

impl Route {
    /// Returns the output that sends an envelope on its way; `None` if it is too long.
    pub fn carry(self, sealed: Vec<u8>) -> Option<Out> {
        let Route { to, from, link, peers: route } = self;
        let sealed = List::try_from(sealed).ok()?;
        let message =
            Box::new(Message::Route(RouteMessage::Relay(Relay { from, to, route, passed: 0, sealed })));
        Some(Out::Control { link, message })
    }
}

/// One of the pictures that a peer may publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Picture {
    /// A camera's.
    Camera,
    /// A screen's or a film's.
    Share,
}

/// Sources of this peer that no peer receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paused {
    /// The camera.
    pub camera: bool,
    /// The screen or film.
    pub share: bool,
    /// The sound.
    pub sound: bool,
}

impl Paused {
    /// Whether that picture isn't received.
    pub fn has(&self, picture: Picture) -> bool {
        match picture {
            Picture::Camera => self.camera,
            Picture::Share => self.share,
        }
    }
}

/// Command to the encoders of what this peer publishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CaptureCommand {
    /// Encodes a picture in this format.
    Video(Picture, VideoRequest),
    /// Makes the next picture a keyframe.
    Key(Picture),
    /// Sets the packet loss of the sound, in percent.
    Loss(u8),
    /// Switches DTX.
    Dtx(bool),
    /// Pauses what no peer receives, and resumes the rest.
    Pause(Paused),
}

/// Failure of a part of this peer's mixer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MixerFailure {
    /// The part.
    pub part: MixerPart,
    /// Speaker behind a decoder; `None` for other parts.
    pub speaker: Option<PeerId>,
    /// What happened, in one line.
    pub text: String,
    /// What followed. A part without which there is no program ends this peer's consent to mix when nothing is left.
    pub remedy: CodecRemedy,
}

impl MixerFailure {
    /// Returns what the application is told; nothing of a speaker that has left meanwhile.
    pub(crate) fn event(self) -> Option<Event> {
        let codec = match self.part {
            MixerPart::Encoder => CodecUse::Program,
            MixerPart::Compositor => CodecUse::Compositor,
            MixerPart::Decoder(_) => CodecUse::Speaker(self.speaker?),
            MixerPart::SoundEncoder | MixerPart::SoundMix => CodecUse::ProgramSound,
            MixerPart::SoundDecoder => CodecUse::SpeakersSound,
        };
        let then = outcome(self.remedy, self.part.is_vital());
        Some(Event::CodecFailed { codec, text: self.text, then })
    }
}

/// Returns what followed the failure of a codec. `withdraws`: whether this peer can't go on without it.
pub fn outcome(remedy: CodecRemedy, withdraws: bool) -> CodecOutcome {
    match remedy {
        CodecRemedy::Restarted => CodecOutcome::Restarted,
        CodecRemedy::ReplacedByBuiltin => CodecOutcome::ReplacedByBuiltin,
        _ if withdraws => CodecOutcome::Withdrawn,
        _ => CodecOutcome::Missing,
    }
}

/// Media event that the brain acts on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// First packet of the program from a peer that this peer asked to feed it.
    Fed(PeerId),
    /// First keyframe of the program that this peer makes.
    Started(StreamSpec),
    /// A peer sent media that their maker never made, and didn't recall them.
    Forged(PeerId),
}

/// All outputs of one call.
#[derive(Debug, Default)]
pub struct Outs {
    /// For the links, in order. Most packets cause one or two.
    pub sends: SmallVec<[Out; 2]>,
    /// Messages to be sealed and sent.
    pub envelopes: Vec<Envelope>,
    /// Frames for the application, in order.
    pub frames: Vec<ReceivedFrame>,
    /// Frames of each speaker's sound apart, for the application of an agent, in order.
    pub voices: Vec<VoiceFrame>,
    /// Commands to the mixer, in order.
    pub mix: Vec<MixCommand>,
    /// Commands to the encoder of this peer's own stream, in order.
    pub capture: SmallVec<[CaptureCommand; 1]>,
    /// Events for the application, in order.
    pub events: Vec<Event>,
    /// Keys of later invites: to be handed to [`Letters::set_key`](crate::Letters::set_key).
    pub keys: Vec<GenerationKey>,
    /// Set when this peer, which opens its room again, is to prove to the rendezvous that it is the host.
    pub claims: bool,
    /// Events that a packet or frame causes for the brain: to be handed in soon as [`In::Notice`](crate::In::Notice).
    pub notices: SmallVec<[Notice; 1]>,
    /// Set when a held frame is due earlier than before, or at all: see
    /// [`Body::next_due_us`](crate::Body::next_due_us).
    pub frame_waits: bool,
    /// Set when the mixer's figures are needed: [`Body::set_figures`](crate::Body::set_figures) is to be called after
    /// the commands in `mix` were carried out, before any other input.
    pub figures_wanted: bool,
    /// Set when a short benchmark of the codecs is due: its result is to be passed to
    /// [`Body::handle`](crate::Body::handle) as [`In::Bench`](crate::In::Bench).
    pub bench_wanted: bool,
}

impl Outs {
    /// Sends a packet on several links; without destinations nothing is sent.
    pub(crate) fn forward(&mut self, to: Destinations, packet: MediaPacket) {
        if !to.is_empty() {
            self.sends.push(Out::Forward { to, packet });
        }
    }

    /// Sends a packet in one slot of one link.
    pub(crate) fn send(&mut self, link: LinkId, slot: u8, packet: MediaPacket) {
        self.sends.push(Out::Forward { to: [(link, slot)].into_iter().collect(), packet });
    }

    pub(crate) fn control(&mut self, link: LinkId, message: Message) {
        self.sends.push(Out::Control { link, message: Box::new(message) });
    }

    pub(crate) fn heartbeat(&mut self, link: LinkId, heartbeat: Heartbeat) {
        self.sends.push(Out::Heartbeat { link, heartbeat });
    }

    pub(crate) fn want_key(&mut self, link: LinkId, slot: u8) {
        self.sends.push(Out::KeyframeWanted { link, slot });
    }
}
