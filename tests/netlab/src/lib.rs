//! `netlab`: an internet of network namespaces for black-box tests of peer-to-peer programs; the command, and labs of
//! a test's own ([`Lab`]).

mod command;
mod control;
mod lab;
mod lab_process;
mod line;
mod nat;
mod netns;
mod packet;
mod router;
mod scenario;
mod stats;
mod tun;
mod units;

use std::ffi::OsString;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command as Process, ExitCode};

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};

pub use crate::lab_process::{Lab, is_possible};
use crate::netns::{Namespaces, namespace_name};
use crate::scenario::Scenario;

#[derive(Parser)]
#[command(version, about)]
struct Cli {
    /// Name of the lab, for example netlab-1234 [default: the only running lab]
    #[arg(long, global = true, env = "NETLAB_LAB")]
    lab: Option<String>,
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Build the lab of a scenario and keep it until the driver ends, or else until a signal
    Up {
        scenario: PathBuf,
        /// Runs outside the lab, with the hosts' namespaces and addresses in its environment
        #[arg(last = true)]
        driver: Vec<String>,
    },
    /// Run a program inside a host
    Exec {
        host: String,
        #[arg(last = true, required = true)]
        program: Vec<String>,
    },
    /// Change links, as in `netlab set 'mobile*' up=1mbit loss=5%`
    Set {
        hosts: String,
        #[arg(required = true)]
        changes: Vec<String>,
    },
    /// Unplug hosts or, given peers, break only the paths between them
    Cut { hosts: String, peers: Option<String> },
    /// Undo a cut
    Heal { hosts: String, peers: Option<String> },
    /// Kill all programs in hosts and unplug the hosts, as if their machines had crashed
    Kill { hosts: String },
    /// Stop all programs in hosts for a time, as if their machines were suspended
    Stall { hosts: String, duration: String },
    /// Take hosts to another network and print their new addresses: the own one, and the one that others see
    Move {
        hosts: String,
        /// A NAT of the scenario, a kind of NAT, or none; by default another NAT of the same kind
        nat: Option<String>,
    },
    /// Print the addresses of hosts: the own one, and the one that others see
    Where { hosts: String },
    /// Show what happened to the packets of each host
    Stats {
        /// On one line, for programs
        #[arg(long)]
        json: bool,
    },
    /// Remove what labs have left behind that were killed
    Clean,
}

/// Runs the command with these arguments, the name of the program first.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    match run(Cli::parse_from(arguments)) {
        Ok(exit_code) => exit_code.into(),
        Err(error) => {
            eprintln!("netlab: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(Cli { lab, action }: Cli) -> Result<u8> {
    let lab = || lab.map_or_else(control::only_lab, Ok);
    let command = match action {
        Action::Up { scenario, driver } => return lab::run(Scenario::load(&scenario)?, &driver),
        Action::Exec { host, program } => {
            netns::enter(&namespace_name(&lab()?, &host))?;
            let error = Process::new(&program[0]).args(&program[1..]).exec();
            return Err(error).with_context(|| format!("cannot run {}", program[0]));
        }
        Action::Clean => {
            for name in Namespaces::orphaned()?.names() {
                println!("removing {name}");
            }
            for lab in control::labs()?.iter().filter(|lab| !control::is_alive(lab)) {
                fs::remove_file(control::socket_path(lab))?;
            }
            return Ok(0);
        }
        Action::Stats { json } => {
            let answer = control::ask(&lab()?, "stats")?;
            println!("{}", if json { answer.to_string() } else { format!("{answer:#}") });
            return Ok(0);
        }
        Action::Move { hosts, nat } => {
            return tell_places(&lab()?, &format!("move {hosts} {}", nat.unwrap_or_default()));
        }
        Action::Where { hosts } => return tell_places(&lab()?, &format!("where {hosts}")),
        Action::Kill { hosts } => format!("kill {hosts}"),
        Action::Stall { hosts, duration } => format!("stall {hosts} {duration}"),
        Action::Set { hosts, changes } => format!("set {hosts} {}", changes.join(" ")),
        Action::Cut { hosts, peers } => format!("cut {hosts} {}", peers.unwrap_or_default()),
        Action::Heal { hosts, peers } => format!("heal {hosts} {}", peers.unwrap_or_default()),
    };
    control::ask(&lab()?, &command)?;
    Ok(0)
}

/// Sends a command that is answered with addresses of hosts, and prints them.
fn tell_places(lab: &str, command: &str) -> Result<u8> {
    let answer = control::ask(lab, command)?;
    for (host, place) in answer["places"].as_object().into_iter().flatten() {
        let address = |which: &str| place[which].as_str().unwrap_or_default().to_owned();
        println!("{host} {} {}", address("address"), address("public"));
    }
    Ok(0)
}
