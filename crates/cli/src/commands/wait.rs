//! Joining a room that may not be open yet: a service that starts before its host keeps trying.

use std::time::Duration;

use plenary::{Error, Invite, Options, Outage, Reason, RendezvousRefusal, Room, SignalError};

use super::service;
use crate::tell::Teller;

/// Wait after the first failure; it doubles up to the longest one, and varies by a quarter, so that many mixers of one
/// host don't come at the same moment. Guesses.
const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(8);
const VARIES_BY: f64 = 0.25;
/// Time that a try waits for the rendezvous: a further try follows in any case.
const TRY_MAX: Duration = Duration::from_secs(3);

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum For {
    Rendezvous,
    Room,
    Host,
    Place,
}

impl For {
    /// Returns what a failed try waits for; `None` if another try would fail as well.
    fn after(error: &Error) -> Option<For> {
        match error {
            Error::Signal(SignalError::Unreachable { last: Outage::Untrusted(_), .. }) => None,
            Error::Signal(SignalError::Unreachable { .. }) => Some(For::Rendezvous),
            Error::Signal(SignalError::Refused(refusal)) => match refusal {
                RendezvousRefusal::UnknownRoom | RendezvousRefusal::NotYet => Some(For::Room),
                RendezvousRefusal::RoomFull | RendezvousRefusal::TooManyRooms => Some(For::Room),
                _ => None,
            },
            Error::NoAnswer { .. } => Some(For::Host),
            Error::Refused(Reason::StageFull) => Some(For::Place),
            _ => None,
        }
    }
}

/// Joins a room. If it `waits`, it tries again as long as the room isn't open or the rendezvous can't be reached, and
/// says once what it waits for.
pub(crate) async fn join(
    invite: &Invite,
    options: Options,
    teller: &Teller,
    waits: bool,
) -> Result<Room, Error> {
    if !waits {
        return Room::join(invite, options).await;
    }
    let options = options.patience(TRY_MAX);
    let (mut told, mut wait) = (None, FIRST);
    teller.waits(true);
    loop {
        let error = match Room::join(invite, options.clone()).await {
            Ok(room) => {
                teller.waits(false);
                return Ok(room);
            }
            Err(error) => error,
        };
        let Some(what) = For::after(&error) else { return Err(error) };
        if told.replace(what) != Some(what) {
            let what = match what {
                For::Rendezvous => "the rendezvous",
                For::Room => "the room to open",
                For::Host => "the host to answer",
                For::Place => "a place on stage",
            };
            say!("waiting for {what}, and trying again: {error}");
            service::ready(); // it does what it is started for
        }
        let share = 1.0 + VARIES_BY * (random() * 2.0 - 1.0);
        tokio::time::sleep(wait.mul_f64(share)).await;
        wait = (wait * 2).min(LONGEST);
    }
}

/// Returns a number from 0 to 1, the middle if the system has no randomness.
fn random() -> f64 {
    getrandom::u32().map_or(0.5, |drawn| f64::from(drawn) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_waits_for_what_may_come_and_for_nothing_else() {
        assert_eq!(For::after(&Error::Refused(Reason::StageFull)), Some(For::Place));
        assert_eq!(For::after(&Error::NoAnswer { seconds: 13 }), Some(For::Host));
        let refused = |refusal| For::after(&Error::Signal(SignalError::Refused(refusal)));
        assert_eq!(refused(RendezvousRefusal::UnknownRoom), Some(For::Room));
        assert_eq!(refused(RendezvousRefusal::Replaced), None);
        assert_eq!(For::after(&Error::Refused(Reason::Removed)), None);
    }
}
