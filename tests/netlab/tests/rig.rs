//! A lab under test, and sockets inside its hosts.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::ops::Deref;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::{Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

pub(crate) use netlab::is_possible;
use rustix::process::Signal;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

pub(crate) const NETLAB: &str = env!("CARGO_BIN_EXE_netlab");

/// Labs are tested one at a time, for they would disturb each other's timing.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

pub(crate) struct Lab {
    lab: netlab::Lab,
    _turn: MutexGuard<'static, ()>,
}

impl Deref for Lab {
    type Target = netlab::Lab;

    fn deref(&self) -> &netlab::Lab {
        &self.lab
    }
}

impl Lab {
    pub(crate) fn up(scenario: &str) -> Self {
        let turn = ONE_AT_A_TIME.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let path = std::env::temp_dir().join(format!("netlab-test-{}.toml", std::process::id()));
        fs::write(&path, scenario).unwrap();
        let lab = netlab::Lab::up(&[NETLAB], &path).expect("the lab is up (run as root)");
        Lab { lab, _turn: turn }
    }

    pub(crate) fn run(&self, words: &[&str]) -> String {
        self.lab.run(words).unwrap()
    }

    pub(crate) fn stats(&self, host: &str) -> serde_json::Value {
        let stats: serde_json::Value = serde_json::from_str(&self.run(&["stats", "--json"])).unwrap();
        stats["hosts"][host].clone()
    }

    /// A UDP socket in a host, with that host's own address.
    pub(crate) fn udp(&self, host: &str) -> Udp {
        let address = self.lab.address(host).unwrap();
        let socket = self.inside(host, move || UdpSocket::bind((address.as_str(), 0)).unwrap());
        Udp(socket)
    }

    /// Does something in a host's namespace, where the sockets that it makes then stay.
    pub(crate) fn inside<T: Send>(&self, host: &str, act: impl FnOnce() -> T + Send) -> T {
        let path = Path::new("/run/netns").join(self.lab.namespace(host));
        let enter_and_act = || {
            let namespace = File::open(path).unwrap();
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            act()
        };
        thread::scope(|scope| scope.spawn(enter_and_act).join().unwrap())
    }

    /// Stops the lab and waits until it is gone.
    pub(crate) fn down(&mut self, signal: Signal) {
        self.lab.down(signal);
    }
}

pub(crate) struct Udp(pub(crate) UdpSocket);

impl Udp {
    pub(crate) fn local(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }

    pub(crate) fn send(&self, to: SocketAddr) {
        self.0.send_to(b"probe", to).unwrap();
    }

    /// Where the next packet came from, or `None` if none comes for a while.
    pub(crate) fn receive(&self) -> Option<SocketAddr> {
        self.0.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        match self.0.recv_from(&mut [0; 2048]) {
            Ok((_, from)) => Some(from),
            Err(error) if error.kind() == ErrorKind::WouldBlock => None,
            Err(error) => panic!("{error}"),
        }
    }

    /// Sends one packet to `peer` and says where `peer` saw it come from, as STUN does.
    pub(crate) fn seen_by(&self, peer: &Udp) -> Option<SocketAddr> {
        self.send(peer.local());
        peer.receive()
    }
}
