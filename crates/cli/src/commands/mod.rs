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
pub(crate) mod repair;
mod service;
pub(crate) mod signals;
pub(crate) mod sim;
pub(crate) mod stay;
pub(crate) mod topology;
pub(crate) mod verify;
mod wait;
mod watched;

use std::io::IsTerminal as _;
use std::str::FromStr as _;

use tracing::Level;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::Directive;

use crate::args::{LogArgs, LogFormat};
use crate::descriptors;
use crate::say::{self, EVENTS, SAID};

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

/// Sets up logging to stderr, where events of the room are written as well: as log lines unless that is a terminal.
pub(crate) fn log_to_stderr(typed: Option<Level>, default: Level, args: LogArgs) {
    let filter = filter(typed, default);
    let said = [EVENTS, SAID].map(|target| format!("{target}=info").parse().expect("a directive"));
    let mut filter = said.into_iter().fold(filter, EnvFilter::add_directive);
    let is_plain = typed.is_some() || std::env::var_os(EnvFilter::DEFAULT_ENV).is_none();
    if is_plain && typed.unwrap_or(default) <= Level::INFO {
        // the same events, without names
        filter = filter.add_directive("plenary::driver::events=error".parse().expect("a directive"));
    }
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .log_internal_errors(false)
        .with_writer(|| say::Stderr);
    match args.log_format {
        LogFormat::Text => log.compact().init(),
        LogFormat::Json => {
            log.json().flatten_event(true).init();
            say::as_log();
        }
    }
}

/// Creates the tokio runtime of the program, which may open as many files as the system lets it.
pub(crate) fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    descriptors::raise_limit();
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}
