//! Messages between a demo and the process of one of its peers: lines of JSON, on the process's standard input and
//! output.

use std::path::PathBuf;

use plenary::{PeerId, Shape};
use serde::{Deserialize, Serialize};

use super::figures::{Figures, Glance};
use super::peer::Part;

/// First line to the process: the peer that it runs. The invite is no argument, since other users of the machine can
/// list those.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Brief {
    pub(crate) part: Part,
    pub(crate) invite: String,
    pub(crate) password: Option<String>,
    pub(crate) seed: Option<u64>,
    pub(crate) bench: (u32, u32),
    pub(crate) out: PathBuf,
    pub(crate) records: bool,
}

/// Further line to the process.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Ask {
    /// Number that the answer repeats.
    pub(crate) number: u64,
    pub(crate) what: Request,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    /// All figures; with the indexes of all speakers of the room.
    Figures(Vec<usize>),
    /// Decode for so many milliseconds, and write the newest picture to this file.
    Picture(u64, PathBuf),
    /// Record into this directory.
    Record(PathBuf),
    /// Set the network of all links.
    Reshape { delay_us: u64, loss_ppm: u32, rate_bps: u64 },
    /// Leave the room gracefully.
    Leave,
}

impl Request {
    pub(crate) fn reshape(shape: Shape) -> Request {
        let Shape { delay_us, loss_ppm, rate_bps } = shape;
        Request::Reshape { delay_us, loss_ppm, rate_bps }
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Answer {
    Figures(Box<Figures>),
    /// False if no picture was received; an error if the file could not be written.
    Picture(Result<bool, String>),
    Record(Result<(), String>),
    Done,
}

/// Line from the process.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Told {
    /// First line: id of the joined peer, or the reason of the failure to join.
    Joined(Result<PeerId, String>),
    /// The peer's place in the tree has changed.
    Glance(Glance),
    /// A link could not be made.
    Trouble(String),
    /// Answer to the request with this number.
    Answer(u64, Answer),
}
