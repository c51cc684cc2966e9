//! What applications and people meet, in the same words natively, in reports and on the page.

mod command;
mod connection;
mod layout;
pub mod line;
mod reason;
#[cfg(test)]
mod typescript;

pub use command::{Command, Solo, check_mixers, unnamed};
pub use connection::ConnectionState;
pub use layout::Layout;
pub use reason::Reason;
