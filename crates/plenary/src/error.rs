//! Errors of a room, grouped by how the caller can react to them.

use plenary_media::codec::CodecError;
use plenary_media::{EncodedError, RawError};
use plenary_proto::app::Reason;
use plenary_proto::message::MESSAGE_VERSION;
use plenary_proto::seal::InviteError;
use plenary_rtc::LinkError;
use plenary_signal::{RendezvousError, SignalError};

use crate::secrets::NoKeys;

/// Reason why a room could not be opened, joined or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The invite is damaged, or the password does not fit it.
    #[error(transparent)]
    Invite(#[from] InviteError),
    /// Bytes hold no identity, or no room keys.
    #[error(transparent)]
    NoKeys(#[from] NoKeys),
    /// A file holds no identity, or no room keys.
    #[error("{}: {NoKeys}", .0.display())]
    NoKeysIn(std::path::PathBuf),
    /// [`HostOptions::keys`](crate::HostOptions::keys) belong to another identity than
    /// [`Options::identity`](crate::Options::identity).
    #[error("the room's keys belong to another identity")]
    OtherIdentity,
    /// Another process hosts with the room's keys of this file ([`RoomKeys::lock`](crate::RoomKeys::lock)).
    #[error("{}: {}", .0.display(), Reason::HostPresent)]
    KeysInUse(std::path::PathBuf),
    /// The host's own rendezvous could not be opened.
    #[error(transparent)]
    Rendezvous(#[from] RendezvousError),
    /// The rendezvous could not be reached, or refused this peer.
    #[error(transparent)]
    Signal(#[from] SignalError),
    /// The invite names no rendezvous that this program can reach.
    #[error("{}", Reason::NoRendezvous)]
    NoRendezvous,
    /// The host refused to admit this peer.
    #[error("{0}")]
    Refused(Reason),
    /// The host did not answer in time; or a peer that the host offered the floor did not take it.
    #[error("there was no answer for {seconds} s")]
    NoAnswer {
        /// Time waited for the answer, seconds.
        seconds: u64,
    },
    /// There is no tokio runtime around the call, and [`Options::runtime`](crate::Options::runtime) names none; or IO
    /// or time is disabled there.
    #[error("there is no tokio runtime with IO and time: call from within one, or set Options::runtime")]
    NoRuntime,
    /// Links cannot be made: there is no certificate, or no list of network interfaces.
    #[error(transparent)]
    Links(#[from] LinkError),
    /// A file that was to be published could not be opened or read.
    #[error(transparent)]
    Source(#[from] plenary_media::source::SourceError),
    /// A picture or sound that was to be published was refused.
    #[error(transparent)]
    Raw(RawError),
    /// An encoded picture or packet of sound was refused: [`EncodedTrack`](crate::EncodedTrack).
    #[error(transparent)]
    Encoded(#[from] EncodedError),
    /// A recording could not be written.
    #[error(transparent)]
    Record(#[from] plenary_media::RecordError),
    /// An encoder or decoder failed.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// A file holds no certificate or key for TLS, or they do not fit each other.
    #[error("{}: {error}", file.display())]
    Certificate {
        /// The file.
        file: std::path::PathBuf,
        /// Reason that it cannot be used.
        error: plenary_signal::TlsError,
    },
    /// The call needs codecs, but [`Options::codecs`](crate::Options::codecs) is `None`.
    #[error("this call needs an encoder or decoder, and there is none")]
    NoCodecs,
    /// The layout is invalid.
    #[error("the layout can't be used: {0}")]
    Layout(String),
    /// Publishing was refused.
    #[error(transparent)]
    Publish(#[from] PublishRefusal),
    /// This sound can't be made by [`Room::voices`](crate::Room::voices).
    #[error(transparent)]
    Voices(#[from] crate::VoicesError),
    /// The room refuses a command, and nothing was done: the call is the host's, say, and this peer is not the host
    /// ([`Reason::NotHost`]), or data is sent too fast ([`Reason::TooFast`]).
    #[error("{0}")]
    Command(Reason),
    /// The roster has not shown the effect of the host's call in time. It may still come.
    #[error("the room has not shown it for {seconds} s: it may still come, or the peer doesn't answer")]
    NotShown {
        /// Time waited for the roster, seconds.
        seconds: u64,
    },
    /// An operating-system call failed.
    #[error("{what}: {error}")]
    Io {
        /// The operation that failed.
        what: String,
        /// The error that the system returned.
        error: std::io::Error,
    },
    /// The host did not answer in time, and a peer of the room says that it speaks another version of the protocol.
    #[error(
        "the host doesn't answer, and the room seems to speak version {0} of the protocol, this program version \
         {MESSAGE_VERSION}: update the older one"
    )]
    OtherVersion(u8),
    /// The room is closed.
    #[error("the room is closed")]
    Closed,
}

/// Reason why a track was not published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.reason())]
#[non_exhaustive]
pub enum PublishRefusal {
    /// This peer is no speaker on stage.
    NoSpeaker,
    /// This speaker publishes a camera already.
    SecondCamera,
    /// This speaker publishes a screen or film already.
    SecondShare,
    /// This speaker publishes sound already.
    SecondSound,
}

impl PublishRefusal {
    /// Returns what the refusal says.
    pub fn reason(self) -> Reason {
        match self {
            PublishRefusal::NoSpeaker => Reason::NoSpeaker,
            PublishRefusal::SecondCamera => Reason::SecondCamera,
            PublishRefusal::SecondShare => Reason::SecondShare,
            PublishRefusal::SecondSound => Reason::SecondSound,
        }
    }
}

impl Error {
    /// Returns the reason by which reports and other programs know the error; `None` for failures of this machine, of
    /// its files and of its codecs, and for wrong calls.
    pub fn reason(&self) -> Option<Reason> {
        Some(match self {
            Error::Invite(error) => error.reason(),
            Error::NoKeys(_) | Error::NoKeysIn(_) | Error::OtherIdentity => Reason::BadKeys,
            Error::KeysInUse(_) => Reason::HostPresent,
            Error::Signal(error) => return error.reason(),
            Error::NoRendezvous => Reason::NoRendezvous,
            Error::Refused(reason) => *reason,
            Error::NoAnswer { .. } => Reason::NoAnswer,
            Error::OtherVersion(_) => Reason::RoomVersion,
            Error::Publish(refusal) => refusal.reason(),
            Error::Command(reason) => *reason,
            _ => return None,
        })
    }
}

impl From<RawError> for Error {
    fn from(error: RawError) -> Error {
        match error {
            RawError::Closed => Error::Closed,
            error => Error::Raw(error),
        }
    }
}
