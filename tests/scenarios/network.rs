//! The lab of a scenario, and peers in its hosts.

use std::path::Path;
use std::time::Duration;

use libtest_mimic::Failed;
use netlab::Lab;

use crate::running::{Running, invite_of};

/// First argument of this program when it is `netlab` itself.
pub(crate) const NETLAB: &str = "netlab";
/// Port of the rendezvous.
const PORT: u16 = 7420;
/// Small pictures: the processes share a few cores.
pub(crate) const SMALL: [&str; 6] =
    ["--program", "320x180@15", "--speaker-size", "320x180@15", "--bitrate", "300kbit"];

/// Lets the peers of a scenario run for a while.
#[expect(clippy::disallowed_methods, reason = "on the thread of the test")]
pub(crate) fn wait(time: Duration) {
    std::thread::sleep(time);
}

/// An emulated internet.
pub(crate) struct Network(Lab);

impl Network {
    /// Builds the network of `tests/netlab/scenarios/NAME.toml`; `None` where this isn't possible.
    pub(crate) fn of(name: &str) -> Result<Option<Network>, Failed> {
        if !netlab::is_possible() {
            return Ok(None);
        }
        let scenarios = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/netlab/scenarios");
        let program = std::env::current_exe()?;
        let program = program.to_str().ok_or("the path of this program is no text")?;
        Ok(Some(Network(Lab::up(&[program, NETLAB], &scenarios.join(name).with_extension("toml"))?)))
    }

    /// Starts a peer in a host.
    pub(crate) fn peer(&self, at: &str, words: &[&str]) -> Running {
        Running::start_in(&self.0.namespace(at), words)
    }

    /// Returns the address at which others see a host.
    pub(crate) fn public_address(&self, at: &str) -> Result<String, Failed> {
        Ok(self.0.public_address(at)?)
    }

    /// Moves a host to another network: another address, behind another NAT.
    pub(crate) fn moves(&self, host: &str, nat: &str) -> Result<(), Failed> {
        self.0.run(&["move", host, nat])?;
        Ok(())
    }

    /// Runs a rendezvous until the value is dropped, and returns its STUN server.
    pub(crate) fn rendezvous(&self, at: &str) -> Result<(Running, String), Failed> {
        let listen = format!("{}:{PORT}", self.0.address(at)?);
        let rendezvous = self.peer(at, &["rendezvous", "--listen", &listen]);
        rendezvous.stderr.wait("line of the rendezvous", |line| line.contains(&listen).then_some(()));
        Ok((rendezvous, format!("stun:{listen}")))
    }

    /// Opens a room, whose host speaks and serves the rendezvous, and returns the invite.
    pub(crate) fn room(&self, at: &str, more: &[&str]) -> Result<(Running, String), Failed> {
        let listen = format!("{}:{PORT}", self.0.address(at)?);
        let host = self.peer(at, &[&["host", "--speak", "--listen", &listen][..], &SMALL, more].concat());
        let invite = invite_of(&host);
        Ok((host, invite))
    }
}
