//! What applications and people meet, in the same words natively, in reports and on the page.

mod reason;

pub use reason::Reason;
