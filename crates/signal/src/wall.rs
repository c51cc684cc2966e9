//! The wall clock, as the rendezvous tells it.

use std::time::{SystemTime, UNIX_EPOCH};

/// Returns the seconds since 1970 by the wall clock, read now: it may have been set meanwhile. Before 1970: 0.
pub(crate) fn wall_unix_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
