//! What applications and people meet, in the same words natively, in reports and on the page.

mod command;
mod connection;
mod end;
mod event;
mod layout;
pub mod line;
mod machine;
pub mod page;
mod reason;
mod snapshot;
#[cfg(test)]
mod typescript;

pub use command::{Command, Solo, check_mixers, unnamed};
pub use connection::ConnectionState;
pub use end::{Departure, End};
pub use event::{Event, Listing};
pub use layout::Layout;
pub use machine::{CodecOutcome, CodecUse, Effort, EffortWhy, Shedding};
pub use reason::{Reason, Why};
pub use snapshot::{LinkTo, Member, Nat, Snapshot, Way};
