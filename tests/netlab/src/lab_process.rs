//! A lab that a test keeps: a process of `netlab up`, which ends with the value.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};

use crate::netns::namespace_name;

/// Returns whether labs can be made here; says on standard error why not.
pub fn is_possible() -> bool {
    let possible = rustix::process::geteuid().is_root() && Path::new("/dev/net/tun").exists();
    if !possible {
        eprintln!("skipped: netlab needs root, and /dev/net/tun");
    }
    possible
}

/// A running lab.
#[derive(Debug)]
pub struct Lab {
    name: String,
    process: Child,
    /// The program `netlab`, and arguments before its own.
    netlab: Vec<String>,
}

impl Lab {
    /// Starts the lab of a scenario's file. `netlab`: the program, and arguments before its own.
    ///
    /// # Errors
    /// The lab doesn't come up: not as root, or the scenario is wrong; it has said so on standard error.
    pub fn up(netlab: &[&str], scenario: &Path) -> Result<Lab> {
        let netlab: Vec<String> = netlab.iter().map(|&word| word.to_owned()).collect();
        let mut process = Command::new(&netlab[0]);
        process.args(&netlab[1..]).arg("up").arg(scenario).stdout(Stdio::piped());
        let mut process = process.spawn().with_context(|| format!("cannot run {}", netlab[0]))?;
        let mut ready = String::new();
        BufReader::new(process.stdout.take().context("a pipe")?).read_line(&mut ready)?;
        let name = ready.trim().strip_prefix("ready ").unwrap_or_default().to_owned();
        let lab = Lab { name, process, netlab };
        ensure!(!lab.name.is_empty(), "the lab is not up");
        Ok(lab)
    }

    /// Returns the name of the lab.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the network namespace of a host.
    pub fn namespace(&self, host: &str) -> String {
        namespace_name(&self.name, host)
    }

    /// Runs a command of `netlab`, and waits for its end.
    pub fn command(&self, words: &[&str]) -> Output {
        let mut command = Command::new(&self.netlab[0]);
        command.args(&self.netlab[1..]).args(["--lab", &self.name]).args(words);
        command.output().expect("a program that has run before")
    }

    /// Runs a command of `netlab`, and returns what it has printed.
    ///
    /// # Errors
    /// The command has failed; what it said.
    pub fn run(&self, words: &[&str]) -> Result<String> {
        let output = self.command(words);
        ensure!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Returns a host's own address, which is private behind a NAT.
    ///
    /// # Errors
    /// There is no such host.
    pub fn address(&self, host: &str) -> Result<String> {
        let shown = self.run(&["exec", host, "--", "ip", "-4", "-brief", "addr", "show", "eth0"])?;
        let address = shown.split_whitespace().nth(2).context("an address")?;
        Ok(address.split('/').next().unwrap_or_default().to_owned())
    }

    /// Returns the address at which others see a host.
    ///
    /// # Errors
    /// There is no such host.
    pub fn public_address(&self, host: &str) -> Result<String> {
        let shown = self.run(&["where", host])?;
        Ok(shown.split_whitespace().nth(2).context("an address")?.to_owned())
    }

    /// Ends the lab by a signal, and waits until it is gone.
    pub fn down(&mut self, signal: Signal) {
        let _ = kill_process(Pid::from_child(&self.process), signal);
        let _ = self.process.wait();
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if let Ok(None) = self.process.try_wait() {
            self.down(Signal::TERM);
        }
    }
}
