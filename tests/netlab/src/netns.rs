//! The namespaces of a lab: their creation, the processes inside, and their removal.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::Write;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::control::is_alive;
use crate::scenario::HostPlan;
use crate::tun::{DEVICE, MTU, QUEUE_PACKETS, Tun};

/// How long the programs in a lab have to end when they are asked to.
const GRACE: Duration = Duration::from_secs(2);

pub(crate) const LAB_PREFIX: &str = "netlab-";

pub(crate) fn namespace_name(lab: &str, host: &str) -> String {
    format!("{lab}-{host}")
}

/// Moves the calling thread, and what it starts, into a namespace.
pub(crate) fn enter(name: &str) -> Result<()> {
    let path = path(name);
    let file = File::open(&path).with_context(|| format!("no namespace {}", path.display()))?;
    move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))?;
    Ok(())
}

/// Dropping it ends the programs inside and removes the namespaces.
pub(crate) struct Namespaces {
    names: Vec<String>,
}

impl Namespaces {
    pub(crate) fn create(lab: &str, hosts: &[HostPlan]) -> Result<(Self, Vec<Tun>)> {
        let names: Vec<_> = hosts.iter().map(|host| namespace_name(lab, &host.name)).collect();
        let namespaces = Namespaces { names: names.clone() };
        ip_batch(&[], names.iter().map(|name| format!("netns add {name}")))?;
        let mut tuns = Vec::new();
        for (name, host) in names.iter().zip(hosts) {
            tuns.push(set_up(name, host).with_context(|| format!("cannot set up {name}"))?);
        }
        Ok((namespaces, tuns))
    }

    /// Takes over what labs have left behind that were killed before they could clean up.
    pub(crate) fn orphaned() -> Result<Self> {
        let mut names = Vec::new();
        for entry in fs::read_dir("/run/netns").into_iter().flatten() {
            let name = entry?.file_name().to_string_lossy().into_owned();
            let lab = name.rsplit_once('-').map(|(lab, _)| lab);
            if lab.is_some_and(|lab| lab.starts_with(LAB_PREFIX) && !is_alive(lab)) {
                names.push(name);
            }
        }
        Ok(Namespaces { names })
    }

    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }

    fn end_processes(&self) {
        signal(&self.names, Signal::TERM);
        signal(&self.names, Signal::CONT); // some may be stalled
        let deadline = Instant::now() + GRACE;
        while !processes(&self.names).is_empty() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(20));
        }
        signal(&self.names, Signal::KILL);
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        self.end_processes();
        let existing = self.names.iter().filter(|name| path(name).exists());
        if let Err(error) = ip_batch(&[], existing.map(|name| format!("netns del {name}"))) {
            eprintln!("netlab: cannot remove all namespaces: {error:#}");
        }
    }
}

fn path(name: &str) -> PathBuf {
    Path::new("/run/netns").join(name)
}

/// The processes in some namespaces.
fn processes(names: &[String]) -> Vec<Pid> {
    let identity = |path: &Path| fs::metadata(path).ok().map(|data| (data.dev(), data.ino()));
    let ours: HashSet<_> = names.iter().filter_map(|name| identity(&path(name))).collect();
    let is_inside =
        |process: &Path| identity(&process.join("ns/net")).is_some_and(|namespace| ours.contains(&namespace));
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| is_inside(path))
        .filter_map(|path| path.file_name()?.to_str()?.parse().ok())
        .filter_map(Pid::from_raw)
        .collect()
}

/// Sends a signal to all processes in some namespaces. One that has ended meanwhile is no error.
pub(crate) fn signal(names: &[String], signal: Signal) {
    for pid in processes(names) {
        let _ = kill_process(pid, signal);
    }
}

/// Stops all processes in some namespaces, and returns once each of their threads has stopped: a signal takes effect
/// when the scheduler next looks at a thread, until when a program on another processor still answers packets.
pub(crate) fn stop(names: &[String]) -> Result<()> {
    let begun = Instant::now();
    loop {
        let running: Vec<_> = processes(names).into_iter().filter(|pid| !is_stopped(*pid)).collect();
        if running.is_empty() {
            return Ok(());
        }
        ensure!(begun.elapsed() < GRACE, "a program in the host does not stop: process {:?}", running[0]);
        for pid in running {
            let _ = kill_process(pid, Signal::STOP);
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// Whether no thread of a process runs: each is stopped, traced or has ended.
fn is_stopped(pid: Pid) -> bool {
    let threads = fs::read_dir(format!("/proc/{}/task", pid.as_raw_nonzero())).into_iter().flatten();
    // the state follows the program's name, which stands in parentheses and may contain any character
    let state = |stat: String| stat.rsplit_once(") ")?.1.chars().next();
    threads
        .filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("stat")).ok())
        .all(|stat| matches!(state(stat), Some('T' | 't' | 'Z' | 'X')))
}

/// Gives a host another address in place of all that it has.
pub(crate) fn readdress(name: &str, address: Ipv4Addr, prefix_length: u8) -> Result<()> {
    ip_batch(
        &["-n", name],
        [
            format!("addr flush dev {DEVICE}"),
            format!("addr add {address}/{prefix_length} dev {DEVICE}"),
            format!("route replace default dev {DEVICE} src {address}"),
        ],
    )
}

fn set_up(name: &str, host: &HostPlan) -> Result<Tun> {
    // A namespace is a property of a thread; a short-lived one keeps this thread where it is.
    let set_up_inside = || {
        enter(name)?;
        let tun = Tun::open()?;
        let HostPlan { address, prefix_length, .. } = host;
        ip_batch(
            &[],
            [
                "link set lo up".to_owned(),
                // The lab carries no IPv6: without a link-local address no program will try it.
                format!("link set dev {DEVICE} addrgenmode none"),
                format!("link set dev {DEVICE} mtu {MTU} txqueuelen {QUEUE_PACKETS} up"),
                format!("addr add {address}/{prefix_length} dev {DEVICE}"),
                format!("route add default dev {DEVICE} src {address}"),
            ],
        )?;
        Ok(tun)
    };
    thread::scope(|scope| scope.spawn(set_up_inside).join().expect("set-up does not panic"))
}

/// One `ip` process for many commands, all of which are tried.
fn ip_batch(options: &[&str], commands: impl IntoIterator<Item = String>) -> Result<()> {
    let script = commands.into_iter().collect::<Vec<_>>().join("\n");
    let mut ip = Command::new("ip")
        .args(options)
        .args(["-force", "-batch", "-"])
        .stdin(Stdio::piped())
        .spawn()
        .context("cannot run `ip` of iproute2")?;
    ip.stdin.take().expect("was piped").write_all(script.as_bytes())?;
    ensure!(ip.wait()?.success(), "`ip` failed in:\n{script}");
    Ok(())
}
