//! Command line: parses the arguments, runs the command, and returns an exit code.
//!
//! Exit codes: 0 for success; 1 for a failure, with one line on stderr that says why; 2 for wrong usage. stdout
//! carries data only.

#![warn(clippy::print_stderr, clippy::print_stdout)] // they panic when their reader has gone: `say!`, `json::say`

#[macro_use]
mod say;

mod args;
mod bounded_file;
mod commands;
mod demo;
mod descriptors;
mod drawing;
mod figure_sources;
mod json;
mod logging;
mod recording;
mod room_options;
mod secrets;
mod serving;
mod tell;
mod units;

use std::process::ExitCode;

use clap::Parser as _;
use clap::error::ErrorKind;

use args::{Cli, Command};
use plenary::{Error, InviteError, Reason};
use plenary_proto::bounded::plain;

/// Maximum length of a word after `#` that is no invite's secret.
const INVITE_TAIL_MAX: usize = 40;

/// What helps against a certificate that is not trusted.
const TRUST_HINT: &str =
    ". If that is a host with --tls self, get a copy of its present certificate for --tls-trust FILE";

/// Reason why a command failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Wrong usage.
    Usage(String),
    /// A failure at run time.
    Failed(anyhow::Error),
}

impl Failure {
    /// Whether a call failed because its room is closed.
    fn is_of_a_closed_room(&self) -> bool {
        let Failure::Failed(error) = self else { return false };
        error.chain().any(|cause| matches!(cause.downcast_ref::<Error>(), Some(Error::Closed)))
    }

    /// Returns the reason by which others know the failure.
    pub(crate) fn reason(&self) -> Option<Reason> {
        let Failure::Failed(error) = self else { return None };
        error.chain().find_map(|cause| {
            let of_invite = || cause.downcast_ref::<InviteError>().map(InviteError::reason);
            let named = || cause.downcast_ref::<Reason>().copied();
            cause.downcast_ref::<Error>().and_then(Error::reason).or_else(of_invite).or_else(named)
        })
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Failure::Usage(line) => f.write_str(line),
            Failure::Failed(error) => {
                f.write_str(&one_line(error))?;
                f.write_str(if self.reason() == Some(Reason::Untrusted) { TRUST_HINT } else { "" })
            }
        }
    }
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Failure::Failed(error.into())
    }
}

pub(crate) fn usage(line: impl Into<String>) -> Failure {
    Failure::Usage(line.into())
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return answer(&error),
    };
    match run(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Failed(error)) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(failure) => {
            say::failure(&failure.to_string(), failure.reason());
            ExitCode::from(if matches!(failure, Failure::Usage(_)) { 2 } else { 1 })
        }
    }
}

/// Prints help or version where the parser sends it, and wrong usage as one line to stderr.
fn answer(error: &clap::Error) -> ExitCode {
    let help = matches!(
        error.kind(),
        ErrorKind::DisplayHelp
            | ErrorKind::DisplayVersion
            | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
    );
    if help {
        // a closed stdout is no error: its reader has read enough
        let _ = error.print();
    } else {
        say!("plenary: {}", wrong_usage(&error.render().to_string()));
    }
    ExitCode::from(if error.use_stderr() { 2 } else { 0 })
}

/// Returns the parser's error message, up to the usage section, as one line.
fn wrong_usage(said: &str) -> String {
    let lines = said.lines().map(str::trim).take_while(|line| !line.starts_with("Usage:"));
    // no value of these commands begins with a dash, so the tip on passing such a value would mislead
    let noise = |line: &str| line.starts_with("For more information") || line.starts_with("tip: to pass");
    let lines = lines.filter(|line| !line.is_empty() && !noise(line));
    let line = lines.collect::<Vec<_>>().join(" ").replace(" tip: ", "; ");
    without_invites(line.strip_prefix("error: ").unwrap_or(&line))
}

/// Returns a line without the secret part of the invites in it: the parser quotes what it can't use.
fn without_invites(line: &str) -> String {
    let is_secret = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let mut parts = line.split('#');
    let mut shown = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|c| !is_secret(c)).unwrap_or(part.len());
        let (secret, rest) = part.split_at(end);
        shown += "#";
        shown += if secret.len() > INVITE_TAIL_MAX { "…" } else { secret };
        shown += rest;
    }
    shown
}

fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Demo(args) => demo::run(args),
        Command::DemoPeer(args) => demo::peer_process::run(args),
        Command::Host(args) => commands::host::run(*args),
        Command::Join(args) => commands::join::run(args),
        Command::Mixer(args) => commands::mixer::run(args),
        Command::Rendezvous(args) => commands::rendezvous::run(args),
        Command::Probe(args) => commands::probe::run(args),
        Command::Verify(args) => commands::verify::run(&args),
        Command::Repair(args) => commands::repair::run(&args),
        Command::Identity(args) => commands::identity::run(&args),
        Command::Sim(args) => commands::sim::run(args),
        Command::Bench(args) => commands::bench::run(args),
    }
}

/// Whether stdout's reader has closed the pipe, which is not a failure.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let io = error.downcast_ref::<std::io::Error>();
    io.is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

/// Returns the chain of causes of an error as one line, each cause once.
fn one_line(error: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        if !line.contains(&cause) {
            if !line.is_empty() {
                line += ": ";
            }
            line += &cause;
        }
    }
    plain(&line.replace('\n', " "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invite_that_cannot_be_used_is_not_quoted() {
        let secret = "AbC-_".repeat(40);
        let line = format!("unexpected argument 'http://host:7420/#{secret}' found; no #1");
        assert_eq!(without_invites(&line), "unexpected argument 'http://host:7420/#…' found; no #1");
    }

    #[test]
    fn what_others_say_in_an_error_does_not_steer_the_terminal() {
        let error = anyhow::anyhow!("closed: 4000 \u{1b}[2Jno\u{202e}room\nhere");
        assert_eq!(one_line(&error), "closed: 4000 [2Jnoroom here");
    }
}
