//! One file per command.

pub(crate) mod bench;
pub(crate) mod host;
pub(crate) mod join;
pub(crate) mod mixer;
pub(crate) mod probe;
pub(crate) mod rendezvous;
pub(crate) mod sim;
pub(crate) mod stay;

use std::io::IsTerminal as _;

use tracing::Level;
use tracing_subscriber::EnvFilter;

/// The stack below is quiet unless it is asked: it logs per packet.
pub(crate) fn filter(level: Level) -> EnvFilter {
    let ours = ["plenary", "plenary_proto", "plenary_media", "plenary_rtc", "plenary_signal", "plenary_cli"];
    let ours = ours.map(|name| format!("{name}={level}")).join(",");
    EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new(format!("error,webrtc=off,rtc=off,{ours}")))
}

/// Logs to stderr.
pub(crate) fn log_to_stderr(level: Level) {
    tracing_subscriber::fmt()
        .with_env_filter(filter(level))
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .compact()
        .init();
}

/// The runtime that everything runs on.
pub(crate) fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}
