//! What applications and people meet, in the same words natively, in reports and on the page.

mod connection;
mod reason;

pub use connection::ConnectionState;
pub use reason::Reason;
