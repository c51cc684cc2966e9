//! The log on stderr, and its filter: a level, `RUST_LOG`, or a file that each SIGHUP reads again.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::sync::OnceLock;

use tracing::Level;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::Directive;

use crate::args::{LogArgs, LogFormat};
use crate::say::{self, EVENTS, SAID};
use crate::{Failure, bounded_file, usage};

/// Maximum bytes of a file with a filter. A guess.
const FILTER_LEN_MAX: u64 = 4096;

/// File with the filter, and what puts a filter in force.
struct Renewable {
    file: PathBuf,
    set: Box<dyn Fn(EnvFilter) -> Result<(), String> + Send + Sync>,
}

/// Set up once for the process, as the log is.
static RENEWABLE: OnceLock<Renewable> = OnceLock::new();

/// Returns the log filter: the level given by flag, else `RUST_LOG`, else the default. The WebRTC stack is
/// off unless `RUST_LOG` names it, since it logs each packet. Its ICE agent logs warnings at most, since others hold
/// passwords.
pub(crate) fn filter(typed: Option<Level>, default: Level) -> EnvFilter {
    match typed {
        Some(level) => of_level(level),
        None => EnvFilter::try_from_default_env().map_or_else(|_| of_level(default), without_passwords),
    }
}

fn of_level(level: Level) -> EnvFilter {
    let ours = ["plenary", "plenary_proto", "plenary_media", "plenary_rtc", "plenary_signal", "plenary_cli"];
    let ours = ours.map(|name| format!("{name}={level}")).join(",");
    EnvFilter::new(format!("error,webrtc=off,rtc=off,rtc_ice=off,{ours}"))
}

fn without_passwords(filter: EnvFilter) -> EnvFilter {
    filter.add_directive(Directive::from_str("rtc_ice=warn").expect("a directive"))
}

/// Reads a filter from a file: a level like that of `--log`, or directives as in `RUST_LOG`, in one line or several.
/// Lines that begin with `#` are comments.
fn from_file(file: &Path) -> Result<EnvFilter, String> {
    let wrong = |why: &dyn std::fmt::Display| format!("{}: {why}", file.display());
    let text = bounded_file::text(file, FILTER_LEN_MAX).map_err(|error| wrong(&error))?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let text = lines.collect::<Vec<_>>().join(",");
    if let Ok(level) = text.parse::<Level>() {
        return Ok(quiet(of_level(level), level));
    }
    // a single word would be the name of a module, and everything else off
    if !text.contains(['=', ',']) {
        return Err(wrong(
            &"neither a level (error, warn, info, debug, trace) nor directives such as info,plenary=debug",
        ));
    }
    let filter = EnvFilter::builder().parse(text).map_err(|error| wrong(&error))?;
    Ok(without_passwords(filter))
}

/// Leaves out the library's lines on events that the program says itself, by name.
fn quiet(filter: EnvFilter, level: Level) -> EnvFilter {
    match level <= Level::INFO {
        true => filter.add_directive("plenary::driver::events=error".parse().expect("a directive")),
        false => filter,
    }
}

/// Adds what is said to people, at any level.
fn with_said(filter: EnvFilter) -> EnvFilter {
    let said = [EVENTS, SAID].map(|target| format!("{target}=info").parse().expect("a directive"));
    said.into_iter().fold(filter, EnvFilter::add_directive)
}

/// Sets up logging to stderr, where events of the room are written as well: as log lines unless that is a terminal.
pub(crate) fn log_to_stderr(typed: Option<Level>, default: Level, args: &LogArgs) -> Result<(), Failure> {
    let filter = match &args.log_filter {
        Some(file) => from_file(file).map_err(|why| usage(format!("--log-filter {why}")))?,
        None => {
            let filter = filter(typed, default);
            let is_plain = typed.is_some() || std::env::var_os(EnvFilter::DEFAULT_ENV).is_none();
            if is_plain { quiet(filter, typed.unwrap_or(default)) } else { filter }
        }
    };
    let log = tracing_subscriber::fmt()
        .with_env_filter(with_said(filter))
        .with_ansi(std::io::stderr().is_terminal())
        .log_internal_errors(false)
        .with_writer(|| say::Stderr);
    let keep = |set| {
        let renewable = args.log_filter.clone().map(|file| Renewable { file, set });
        renewable.map(|renewable| RENEWABLE.set(renewable));
    };
    match args.log_format {
        LogFormat::Text => {
            let log = log.compact().with_filter_reloading();
            let handle = log.reload_handle();
            keep(Box::new(move |filter| handle.reload(filter).map_err(|error| error.to_string())));
            log.init();
        }
        LogFormat::Json => {
            let log = log.json().flatten_event(true).with_filter_reloading();
            let handle = log.reload_handle();
            keep(Box::new(move |filter| handle.reload(filter).map_err(|error| error.to_string())));
            log.init();
            say::as_log();
        }
    }
    Ok(())
}

/// Reads the file with the log filter again, and says what came of it. A filter with an error changes nothing. Returns
/// false without a file that `--log-filter` named.
pub(crate) fn renew() -> bool {
    let Some(Renewable { file, set }) = RENEWABLE.get() else { return false };
    match from_file(file).and_then(|filter| set(with_said(filter))) {
        Ok(()) => say!("{}: the log filter is in force", file.display()),
        Err(why) => say!("the log filter stays as it is: {why}"),
    }
    true
}
