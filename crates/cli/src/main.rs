//! The command line: what was typed, the command it means, and an exit code.
//!
//! 0: done. 1: it failed, and one line on stderr says why. 2: it was typed wrongly, or can't be done yet. stdout
//! carries data only.

mod args;
mod commands;
mod demo;
mod json;
mod room_options;
mod tell;
mod units;

use std::process::ExitCode;

use clap::Parser as _;
use clap::error::ErrorKind;

use args::{Cli, Command};

/// Why a command did not do what it was asked to.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It was typed wrongly, or isn't there yet.
    Usage(String),
    /// It failed.
    Failed(anyhow::Error),
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Failure::Usage(line) => f.write_str(line),
            Failure::Failed(error) => f.write_str(&one_line(error)),
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

pub(crate) fn not_yet(flag: &str) -> Failure {
    Failure::Usage(format!("{flag}: not yet"))
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
            eprintln!("plenary: {failure}");
            ExitCode::from(if matches!(failure, Failure::Usage(_)) { 2 } else { 1 })
        }
    }
}

/// Help goes where it was asked for; what was typed wrongly gets one line.
fn answer(error: &clap::Error) -> ExitCode {
    let help = matches!(
        error.kind(),
        ErrorKind::DisplayHelp
            | ErrorKind::DisplayVersion
            | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
    );
    if help {
        // a reader that is gone has enough of it
        let _ = error.print();
    } else {
        eprintln!("plenary: {}", wrong_usage(&error.render().to_string()));
    }
    ExitCode::from(if error.use_stderr() { 2 } else { 0 })
}

/// What the parser says, up to its usage, as one line.
fn wrong_usage(said: &str) -> String {
    let lines = said.lines().map(str::trim).take_while(|line| !line.starts_with("Usage:"));
    // a word that begins with a dash is no value of ours, so the advice how to pass one leads nowhere
    let noise = |line: &str| line.starts_with("For more information") || line.starts_with("tip: to pass");
    let lines = lines.filter(|line| !line.is_empty() && !noise(line));
    let line = lines.collect::<Vec<_>>().join(" ").replace(" tip: ", "; ");
    line.strip_prefix("error: ").unwrap_or(&line).to_owned()
}

fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Demo(args) => demo::run(args),
        Command::Host(args) => commands::host::run(args),
        Command::Join(args) => commands::join::run(args),
        Command::Mixer(args) => commands::mixer::run(args),
        Command::Rendezvous(args) => commands::rendezvous::run(args),
        Command::Probe(args) => commands::probe::run(args),
        Command::Sim(args) => commands::sim::run(args),
        Command::Bench(args) => commands::bench::run(args),
    }
}

/// Whoever read our output has enough of it: that is no failure.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let io = error.downcast_ref::<std::io::Error>();
    io.is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

/// The causes of an error, once each.
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
    line.replace('\n', " ")
}
