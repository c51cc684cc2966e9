//! The commands, one file each.

pub(crate) mod bench;
mod floor;
pub(crate) mod govern;
pub(crate) mod host;
pub(crate) mod identity;
pub(crate) mod join;
pub(crate) mod mixer;
mod order;
pub(crate) mod people;
pub(crate) mod probe;
pub(crate) mod rendezvous;
pub(crate) mod signals;
pub(crate) mod sim;
pub(crate) mod stay;
pub(crate) mod topology;
pub(crate) mod verify;

use std::io::IsTerminal as _;
use std::str::FromStr as _;

use tracing::Level;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::Directive;

/// Returns the log filter: the level given by flag, else `RUST_LOG`, else the default. The WebRTC stack is
/// off unless `RUST_LOG` names it, since it logs each packet; its ICE agent stays at warnings, since it logs passwords.
pub(crate) fn filter(typed: Option<Level>, default: Level) -> EnvFilter {
    let of = |level: Level| {
        let ours =
            ["plenary", "plenary_proto", "plenary_media", "plenary_rtc", "plenary_signal", "plenary_cli"];
        let ours = ours.map(|name| format!("{name}={level}")).join(",");
        EnvFilter::new(format!("error,webrtc=off,rtc=off,{ours}"))
    };
    let filter = match typed {
        Some(level) => of(level),
        None => EnvFilter::try_from_default_env().unwrap_or_else(|_| of(default)),
    };
    filter.add_directive(Directive::from_str("rtc_ice=warn").expect("a directive"))
}

/// Sets up logging to stderr.
pub(crate) fn log_to_stderr(typed: Option<Level>, default: Level) {
    tracing_subscriber::fmt()
        .with_env_filter(filter(typed, default))
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(|| crate::say::Stderr)
        .compact()
        .init();
}

/// Creates the tokio runtime of the program.
pub(crate) fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}
