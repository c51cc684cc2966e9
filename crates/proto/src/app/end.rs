//! How a peer's part in a room, or on its stage, ends.

use serde::Serialize;

use super::Reason;

/// Reason why a peer is no longer on stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Departure {
    /// It left the room, or went back to watching.
    Left,
    /// The host lost contact with it.
    Lost,
    /// The host removed it from the room.
    Removed,
}

/// How this peer's part in a room ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum End {
    /// The application left or closed the room, or dropped its last handle.
    Left,
    /// The host ended the room for everybody.
    Ended,
    /// The host removed this peer.
    Removed,
    /// Another process has come in with this peer's identity, and goes on in its place.
    Replaced,
    /// The room's task failed, or its runtime was shut down.
    Lost,
}

impl End {
    /// Returns the end as reports and other programs name it.
    pub fn reason(self) -> Reason {
        match self {
            End::Left => Reason::Left,
            End::Ended => Reason::Ended,
            End::Removed => Reason::Removed,
            End::Replaced => Reason::Replaced,
            End::Lost => Reason::Lost,
        }
    }
}
