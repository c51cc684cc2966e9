//! Admission: what a joiner requests, and the state of the room that it is sent.

use serde::{Deserialize, Serialize};

use super::access::{GenerationKey, Muted, Ticket};
use super::election::{Confirmed, Decided, FAILOVERS_MAX, Failover};
use super::reign::SignedRoster;
use super::roster::{NAME_LEN_MAX, Sharing};
use crate::bounded::{List, Text};
use crate::seal::Signed;

/// A joiner's request: the roles that it wants in the room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Join {
    /// Name shown under the joiner's picture.
    pub name: Text<NAME_LEN_MAX>,
    /// The joiner wants to speak.
    pub speaks: bool,
    /// The joiner wants the program.
    pub views: bool,
    /// The joiner consents to mix.
    pub mixes: bool,
    /// What the joiner doesn't send at present, if it speaks.
    pub muted: Muted,
    /// Whether the joiner sends a screen or a film.
    pub shares: Sharing,
    /// The joiner doesn't allow that its own stream is shown alone.
    pub no_solo: bool,
    /// The joiner records what it receives.
    pub records: bool,
    /// The joiner's ticket, if it is a member already.
    pub ticket: Option<Signed<Ticket>>,
}

impl Join {
    /// Returns the request of a newcomer that only wants the program, without a ticket.
    pub fn viewer(name: &str) -> Join {
        Join {
            name: Text::truncated(name),
            speaks: false,
            views: true,
            mixes: false,
            muted: Muted::default(),
            shares: Sharing::No,
            no_solo: false,
            records: false,
            ticket: None,
        }
    }
}

/// Admission: all state that a newcomer needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Admit {
    /// The newest roster.
    pub roster: SignedRoster,
    /// The older roster that the election's signatures count in; `None` when they count in the newest roster.
    pub under: Option<SignedRoster>,
    /// The last decided election, if any.
    pub decided: Option<Decided>,
    /// The host's word on that election, as far as the sender knows it.
    pub confirmed: Option<Signed<Confirmed>>,
    /// The failovers of that term, by rank.
    pub failovers: List<Signed<Failover>, FAILOVERS_MAX>,
    /// The newcomer's ticket.
    pub ticket: Option<Signed<Ticket>>,
    /// Key of the newest invite, for a member with an older key.
    pub key: Option<GenerationKey>,
}
