//! Limit of open files of this process: each link has a socket, and systems often allow 1024 files by default.

use std::sync::Once;

/// Raises the soft limit of open files to the hard limit, once per process. If the system refuses, a warning says
/// so.
pub(crate) fn raise_limit() {
    static RAISED: Once = Once::new();
    RAISED.call_once(|| {
        if let Err(error) = rlimit::increase_nofile_limit(u64::MAX) {
            tracing::warn!("the limit of open files can't be raised (`ulimit -n` shows it): {error}");
        }
    });
}

#[cfg(all(test, unix))]
mod tests {
    #[test]
    fn as_many_files_may_be_open_as_the_system_allows_this_user() {
        super::raise_limit();
        let (soft, hard) = rlimit::getrlimit(rlimit::Resource::NOFILE).unwrap();
        assert_eq!(soft, hard);
    }
}
