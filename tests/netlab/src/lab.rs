//! A running lab: one thread that waits for packets, timers, commands and signals.

use std::collections::VecDeque;
use std::io::Read;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command as Process, ExitStatus};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Receiver;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::event::{Timespec, epoll};
use rustix::process::Signal;
use serde_json::{Map, Value, json};
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM};
use signal_hook::{flag, low_level::pipe};

use crate::command::Command;
use crate::control::{ControlSocket, Request};
use crate::netns::{self, LAB_PREFIX, Namespaces, namespace_name};
use crate::router::{Moved, Router};
use crate::scenario::{Scenario, Step};
use crate::units::Nanos;

/// Packets read from one host before the others have their turn.
const READ_BATCH: usize = 32;
/// A busy lab looks at its hosts no more often than this: to be woken for every single packet
/// would cost more than to carry it.
const POLL_INTERVAL: Nanos = 50_000;
/// A quiet lab looks at once, as long as it has saved up this much time.
const POLL_CREDIT: Nanos = 1_000_000;
/// The token of the wake-up pipe; the tokens below are host ids.
const WAKE: u64 = u64::MAX;
const DRIVER_GRACE: Duration = Duration::from_secs(2);

/// Runs a lab until its driver ends or a signal comes. Returns the exit code.
pub(crate) fn run(mut scenario: Scenario, driver: &[String]) -> Result<u8> {
    let name = format!("{LAB_PREFIX}{}", std::process::id());
    let (wake_read, wake_write) = UnixStream::pair()?;
    wake_read.set_nonblocking(true)?;
    wake_write.set_nonblocking(true)?;
    let stop_signal = Arc::new(AtomicUsize::new(0));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        flag::register_usize(signal, Arc::clone(&stop_signal), signal as usize)?;
        pipe::register(signal, wake_write.try_clone()?)?;
    }
    pipe::register(SIGCHLD, wake_write.try_clone()?)?;

    // The socket comes first and goes last: without it the namespaces would seem to be orphans.
    let (_socket, requests) = ControlSocket::open(&name, wake_write)?;
    let (_namespaces, tuns) = Namespaces::create(&name, &scenario.hosts)?;
    let environment = environment(&name, &scenario);
    let schedule = std::mem::take(&mut scenario.schedule);
    let router = Router::new(scenario, tuns)?;
    let driver = match driver {
        [] => None,
        [program, arguments @ ..] => Some(Driver(
            Process::new(program)
                .args(arguments)
                .envs(environment)
                .spawn()
                .with_context(|| format!("cannot run {program}"))?,
        )),
    };
    if driver.is_none() {
        println!("ready {name}");
    }
    // After the driver has started, which keeps the usual priority.
    take_precedence()?;

    Lab { name, router, schedule, started: Instant::now(), requests, driver, stop_signal, wake: wake_read }
        .serve()
}

/// The programs under test must not slow down their own network by using the processor.
fn take_precedence() -> Result<()> {
    rustix::thread::set_current_timer_slack(std::num::NonZero::new(1))?;
    // SAFETY: all zeroes is a valid `sched_param`, and the call only reads it.
    let result = unsafe {
        let mut parameters: libc::sched_param = std::mem::zeroed();
        parameters.sched_priority = 1;
        libc::sched_setscheduler(0, libc::SCHED_RR | libc::SCHED_RESET_ON_FORK, &parameters)
    };
    if result != 0 {
        eprintln!("netlab: no real-time priority, timing will suffer under load");
    }
    Ok(())
}

struct Lab {
    name: String,
    router: Router,
    schedule: VecDeque<Step>,
    started: Instant,
    requests: Receiver<Request>,
    driver: Option<Driver>,
    stop_signal: Arc<AtomicUsize>,
    wake: UnixStream,
}

impl Lab {
    fn serve(mut self) -> Result<u8> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let watch =
            |fd, token| epoll::add(&epoll, fd, epoll::EventData::new_u64(token), epoll::EventFlags::IN);
        watch(self.wake.as_fd(), WAKE)?;
        for (id, tun) in self.router.tuns() {
            watch(tun.as_fd(), id as u64)?;
        }

        let mut events = Vec::with_capacity(256);
        let mut next_poll: Nanos = 0;
        loop {
            thread::sleep(Duration::from_nanos(next_poll.saturating_sub(self.now())));
            let timeout = self
                .time_to_next()
                .map(|wait| Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: wait.subsec_nanos().into() });
            events.clear();
            match epoll::wait(&epoll, rustix::buffer::spare_capacity(&mut events), timeout.as_ref()) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error).context("epoll"),
            }
            let now = self.now();
            next_poll = next_poll.max(now.saturating_sub(POLL_CREDIT)) + POLL_INTERVAL;
            for event in &events {
                match event.data.u64() {
                    WAKE => {
                        if let Some(exit_code) = self.woken()? {
                            return Ok(exit_code);
                        }
                    }
                    host => self.router.read_from_host(host as usize, READ_BATCH, now),
                }
            }
            let now = self.now();
            self.run_schedule(now);
            self.router.run_due(now);
        }
    }

    fn now(&self) -> Nanos {
        self.started.elapsed().as_nanos() as Nanos
    }

    fn time_to_next(&self) -> Option<Duration> {
        let scheduled = self.schedule.front().map(|step| step.at.nanos());
        let next = self.router.next_due().into_iter().chain(scheduled).min()?;
        Some(Duration::from_nanos(next.saturating_sub(self.now())))
    }

    fn run_schedule(&mut self, now: Nanos) {
        while let Some(Step { run, .. }) = self.schedule.pop_front_if(|step| step.at.nanos() <= now) {
            self.carry_out(&run.clone(), now, move |result| match result {
                Ok(_) => eprintln!("netlab: {:.3} s: {run}", now as f64 / 1e9),
                Err(error) => eprintln!("netlab: {run}: {error:#}"),
            });
        }
    }

    /// Carries a command out and answers with what it returns as JSON. What concerns programs or addresses is done on
    /// a thread of its own, so that no packet waits for it.
    fn carry_out(&mut self, line: &str, now: Nanos, answer: impl FnOnce(Result<Value>) + Send + 'static) {
        match self.change_network(line, now) {
            Ok((value, None)) => answer(Ok(value)),
            Ok((value, Some(change))) => {
                thread::spawn(move || change.make(|result| answer(result.map(|()| value))));
            }
            Err(error) => answer(Err(error)),
        }
    }

    /// Carries out what a command changes in the network. Returns the answer, and what is to change in the hosts.
    fn change_network(&mut self, line: &str, now: Nanos) -> Result<(Value, Option<HostChange>)> {
        let command: Command = line.parse()?;
        self.router.apply(&command)?;
        let in_hosts = |hosts, router: &Router| -> Result<Vec<String>> {
            let names = router.names(hosts)?;
            Ok(names.iter().map(|name| namespace_name(&self.name, name)).collect())
        };
        Ok(match &command {
            Command::Stats => (serde_json::to_value(self.router.take_stats(now))?, None),
            Command::Kill { hosts } => ("ok".into(), Some(HostChange::Kill(in_hosts(hosts, &self.router)?))),
            Command::Stall { hosts, last } => {
                ("ok".into(), Some(HostChange::Stall(in_hosts(hosts, &self.router)?, last.0)))
            }
            Command::Where { hosts } => (places(self.router.places(hosts)?), None),
            Command::Move { hosts, nat } => {
                let moved = self.router.move_hosts(hosts, nat.as_deref())?;
                let told = places(self.router.places(hosts)?);
                let moved = moved.into_iter();
                let named = moved.map(|moved| (namespace_name(&self.name, &moved.host), moved));
                (told, Some(HostChange::Move(named.collect())))
            }
            _ => ("ok".into(), None),
        })
    }

    /// Answers commands. Returns the exit code if it is time to stop.
    fn woken(&mut self) -> Result<Option<u8>> {
        while matches!(self.wake.read(&mut [0; 64]), Ok(1..)) {}
        while let Ok(request) = self.requests.try_recv() {
            let Request { line, answer } = request;
            self.carry_out(&line, self.now(), move |result| {
                let value = result.unwrap_or_else(|error| json!({ "error": format!("{error:#}") }));
                // The asker may have gone away.
                let _ = answer.send(value.to_string());
            });
        }
        let signal = self.stop_signal.load(Ordering::Relaxed);
        if signal != 0 {
            return Ok(Some(128 + signal as u8));
        }
        match &mut self.driver {
            Some(driver) => Ok(driver.0.try_wait()?.map(exit_code)),
            None => Ok(None),
        }
    }
}

/// The answer with the addresses of hosts.
fn places(hosts: Vec<(String, Ipv4Addr, Ipv4Addr)>) -> Value {
    let place = |(name, address, public)| (name, json!({ "address": address, "public": public }));
    json!({ "places": hosts.into_iter().map(place).collect::<Map<_, _>>() })
}

/// What changes in hosts, by the names of their namespaces.
enum HostChange {
    Kill(Vec<String>),
    Stall(Vec<String>, Duration),
    Move(Vec<(String, Moved)>),
}

impl HostChange {
    /// Makes the change, then calls `done`. A stall calls `done` once all programs stand still.
    fn make(self, done: impl FnOnce(Result<()>)) {
        match self {
            HostChange::Kill(names) => {
                netns::signal(&names, Signal::KILL);
                done(Ok(()));
            }
            HostChange::Stall(names, last) => {
                done(netns::stop(&names));
                thread::sleep(last);
                netns::signal(&names, Signal::CONT);
            }
            HostChange::Move(moved) => done(
                moved
                    .iter()
                    .try_for_each(|(name, moved)| netns::readdress(name, moved.address, moved.prefix_length)),
            ),
        }
    }
}

/// As a shell would report it.
fn exit_code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.unwrap_or(1) as u8
}

/// What a driver needs to know in order to start programs inside the hosts.
fn environment(lab: &str, scenario: &Scenario) -> Vec<(String, String)> {
    let names: Vec<_> = scenario.hosts.iter().map(|host| host.name.as_str()).collect();
    let mut variables =
        vec![("NETLAB_LAB".to_owned(), lab.to_owned()), ("NETLAB_HOSTS".to_owned(), names.join(" "))];
    if let Ok(program) = std::env::current_exe() {
        variables.push(("NETLAB".to_owned(), program.to_string_lossy().into_owned()));
    }
    for host in &scenario.hosts {
        let public = host.nat.map_or(host.address, |nat| scenario.nats[nat].public);
        variables.extend([
            (format!("NETLAB_NS_{}", host.name), namespace_name(lab, &host.name)),
            (format!("NETLAB_IP_{}", host.name), host.address.to_string()),
            (format!("NETLAB_PUBLIC_IP_{}", host.name), public.to_string()),
        ]);
    }
    variables
}

/// The program that the lab was started for; it does not outlive the lab.
struct Driver(Child);

impl Drop for Driver {
    fn drop(&mut self) {
        let deadline = Instant::now() + DRIVER_GRACE;
        let pid = rustix::process::Pid::from_child(&self.0);
        if let Ok(None) = self.0.try_wait() {
            let _ = rustix::process::kill_process(pid, Signal::TERM);
        }
        while let Ok(None) = self.0.try_wait() {
            if Instant::now() > deadline {
                let _ = self.0.kill();
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}
