//! What can go wrong, by what the caller can do about it.

use plenary_media::RawError;
use plenary_media::codec::CodecError;
use plenary_proto::DataRefusal;
use plenary_proto::message::Refusal;
use plenary_proto::seal::InviteError;
use plenary_rtc::LinkError;
use plenary_signal::{RendezvousError, SignalError};

/// Why a room could not be opened, joined or used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The invite, or the password for it.
    #[error(transparent)]
    Invite(#[from] InviteError),
    /// The rendezvous of a host could not be opened.
    #[error(transparent)]
    Rendezvous(#[from] RendezvousError),
    /// The rendezvous could not be reached, or refused us.
    #[error(transparent)]
    Signal(#[from] SignalError),
    /// The invite names no rendezvous that this program can reach.
    #[error("the invite names no rendezvous")]
    NoRendezvous,
    /// The host did not let us in.
    #[error("{0}")]
    Refused(#[from] Refusal),
    /// The host did not answer.
    #[error("the host did not answer for {seconds} s")]
    NoAnswer {
        /// How long we waited.
        seconds: u64,
    },
    /// Links can't be made on this machine.
    #[error(transparent)]
    Links(#[from] LinkError),
    /// A file that was to be published.
    #[error(transparent)]
    Source(#[from] plenary_media::source::SourceError),
    /// A picture or sound that was to be published.
    #[error(transparent)]
    Raw(RawError),
    /// A recording.
    #[error(transparent)]
    Record(#[from] plenary_media::RecordError),
    /// An encoder or decoder.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// What was asked for needs codecs, and there are none.
    #[error("this needs an encoder or decoder, and none is there")]
    NoCodecs,
    /// A layout that makes no sense.
    #[error("the layout can't be used: {0}")]
    Layout(String),
    /// Data for the room that may not be sent.
    #[error(transparent)]
    Data(#[from] DataRefusal),
    /// Publishing is for speakers, and once.
    #[error("{0}")]
    Publish(&'static str),
    /// The operating system.
    #[error("{what}: {error}")]
    Io {
        /// What was tried.
        what: String,
        /// As the system says it.
        error: std::io::Error,
    },
    /// The room was closed.
    #[error("the room is closed")]
    Closed,
}

impl From<RawError> for Error {
    fn from(error: RawError) -> Error {
        match error {
            RawError::Closed => Error::Closed,
            error => Error::Raw(error),
        }
    }
}
