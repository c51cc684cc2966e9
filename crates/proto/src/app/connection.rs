//! Whether a peer is connected with its room.

use serde::{Deserialize, Serialize};

/// State of a peer's connection with its room.
///
/// A viewer is connected while it has a parent, or makes the program itself. A peer on stage is connected while it
/// hears another peer that is present on stage, or is alone there; a host also only once its rendezvous was reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ConnectionState {
    /// Not connected yet: the host has not admitted this peer, or its first link is not up.
    #[default]
    Joining,
    /// Connected.
    Connected,
    /// The connection was lost. Another parent, or a link to the stage, is searched until the room is closed.
    Reconnecting,
    /// Left, removed, refused or closed, or the room has ended; this state is final.
    Closed,
}

impl ConnectionState {
    /// Returns the state that follows this one, depending on whether the peer is linked now.
    #[must_use]
    pub fn next(self, is_linked: bool) -> ConnectionState {
        match (self, is_linked) {
            (ConnectionState::Closed, _) => ConnectionState::Closed,
            (_, true) => ConnectionState::Connected,
            (ConnectionState::Joining, false) => ConnectionState::Joining,
            (ConnectionState::Connected | ConnectionState::Reconnecting, false) => {
                ConnectionState::Reconnecting
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_connection_is_searched_for_and_a_closed_one_stays_closed() {
        use ConnectionState::{Closed, Connected, Joining, Reconnecting};
        let linked: Vec<_> = [false, true, false, true]
            .into_iter()
            .scan(Joining, |state, is| {
                *state = state.next(is);
                Some(*state)
            })
            .collect();
        assert_eq!(linked, [Joining, Connected, Reconnecting, Connected]);
        assert_eq!(Closed.next(true), Closed);
    }
}
