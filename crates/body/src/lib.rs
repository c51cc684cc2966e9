//! What every peer of a plenary room does with packets, as a state machine without IO.
//!
//! A [`Body`] contains the brain ([`plenary_proto::RoomState`]), which decides, and carries out its decisions. A
//! [`Shell`] owns links, clocks and threads: the tokio library, the page, and simulated peers. It calls the body with
//! each packet, frame and event, and carries out the [`Outs`] of the call. Bytes pass a [`Correspondence`] on their way
//! to the body, and envelopes on their way out.
//!
//! # The path of a packet
//!
//! [`Body::packet`] finds the stream that the link's slot was announced with. A packet of the program goes to the
//! children at once, and into the assembler of its stream; a complete frame goes to the application, in step with
//! frames of the other kind. A packet of a speaker goes to the other mixers and standbys, and its frames to the mixer.

#![warn(clippy::unwrap_used)]

#[cfg(test)]
mod allocations;
mod apart;
mod arrivals;
#[cfg(any(test, feature = "bench"))]
pub mod bench;
mod between;
mod body;
mod bounds;
mod budget;
mod cache;
mod carry;
mod catch_up;
mod codec_times;
mod contact;
mod correspondence;
mod doubt;
mod excess;
mod generations;
mod hear;
mod heartbeats;
mod in_step;
mod inflow;
mod key_wish;
mod lag;
pub mod layout;
mod lead;
mod left_out;
mod letters;
mod link_table;
mod loss;
mod maker;
mod media;
mod members;
mod mix;
mod obey;
mod outs;
mod oversize;
mod own;
mod page_uplink;
mod past;
pub mod people;
mod program;
mod published;
mod publishing;
mod rate;
mod rebuild;
mod received;
mod repeats;
mod room_time;
mod seat;
mod shell;
mod solo;
mod stats;
mod stream;
#[cfg(test)]
mod tests;
mod thin;
mod tick;
mod traffic;
mod voices;
mod watches;
mod wishes;

pub use apart::VoiceFrame;
pub use between::Between;
pub use body::{Body, BodyConfig, In, Sources, TICK};
pub use correspondence::{Correspondence, Gate, HOST_ANSWER_US_MAX, Step, Told};
pub use hear::Heard;
pub use letters::{Letter, Letters};
pub use media::Shown;
pub use mix::{MixCommand, MixFigures, OnDesk, Tenure};
pub use outs::{CaptureCommand, Envelope, MixerFailure, Notice, Out, Outs, Paused, Picture, Route, outcome};
pub use plenary_proto::app::{Shedding, Solo};
pub use received::{Origin, ReceivedFrame};
pub use shell::{MaySay, Shell};
pub use stats::{FrameSeen, Gap, ReceptionStats, Spread};
pub use traffic::Traffic;
pub use wishes::{WISHES_EACH_US, Wishes};

/// Time for which packets are kept that overtook the announcement of their stream, in microseconds.
const EARLY_US: u64 = 1_000_000;
