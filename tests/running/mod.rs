//! Runs the `plenary` command as a user does, with arguments, output lines and an exit code. A process still
//! running when a test ends is killed, also after a panic.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::os::fd::{FromRawFd as _, OwnedFd};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Timeout against hangs; generous, since the machine may be busy.
pub(crate) const HANG_MAX: Duration = Duration::from_secs(60);
/// Polling interval.
const LOOK_EACH: Duration = Duration::from_millis(200);

/// A small machine can run only one room of many pictures in real time.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Waits until no other test has such a room; the next one waits until the guard is dropped.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lines that a process has printed so far.
#[derive(Clone, Default)]
pub(crate) struct Lines(Arc<(Mutex<Vec<String>>, Condvar)>);

impl Lines {
    fn read(&self, from: impl Read + Send + 'static) -> JoinHandle<()> {
        self.read_while(from, |_| true)
    }

    /// Reads lines as long as `goes_on` says after one, and closes the pipe then.
    fn read_while(
        &self,
        from: impl Read + Send + 'static,
        goes_on: impl Fn(&str) -> bool + Send + 'static,
    ) -> JoinHandle<()> {
        let lines = self.0.clone();
        thread::spawn(move || {
            for line in BufReader::new(from).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).into_owned();
                let ends = !goes_on(&line);
                lines.0.lock().unwrap().push(line);
                lines.1.notify_all();
                if ends {
                    return;
                }
            }
        })
    }

    /// Returns all lines so far.
    pub(crate) fn so_far(&self) -> Vec<String> {
        self.0.0.lock().unwrap().clone()
    }

    /// Waits for a line for which `found` returns a value.
    pub(crate) fn wait<T>(&self, what: &str, found: impl Fn(&str) -> Option<T>) -> T {
        let until = Instant::now() + HANG_MAX;
        let mut lines = self.0.0.lock().unwrap();
        loop {
            if let Some(found) = lines.iter().find_map(|line| found(line)) {
                return found;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let said = lines.clone();
                drop(lines);
                panic!("no {what} among {said:#?}");
            }
            lines = self.0.1.wait_timeout(lines, left).unwrap().0;
        }
    }
}

/// Exit code and output of a process.
#[derive(Debug)]
pub(crate) struct Ended {
    /// `None` if a signal killed the process.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Running `plenary` process.
pub(crate) struct Running {
    child: Child,
    what: String,
    pub(crate) stdout: Lines,
    pub(crate) stderr: Lines,
    readers: Vec<JoinHandle<()>>,
    stdin: Option<ChildStdin>,
}

impl Running {
    /// Starts the process.
    pub(crate) fn start(args: &[&str]) -> Running {
        Running::start_with(args, "", &[])
    }

    /// Starts the process in a network namespace.
    pub(crate) fn start_in(namespace: &str, args: &[&str]) -> Running {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", namespace, env!("CARGO_BIN_EXE_plenary")]).args(args);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // `ip` replaces itself by the process
        Running::of(command.env_remove("RUST_LOG").env("RUST_BACKTRACE", "1").spawn().unwrap(), args)
    }

    /// Starts the process with a standard input that stays open for [`say`](Self::say).
    pub(crate) fn start_listening(args: &[&str]) -> Running {
        let mut command = Command::new(env!("CARGO_BIN_EXE_plenary"));
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.env_remove("RUST_LOG").env("RUST_BACKTRACE", "1").spawn().unwrap();
        let stdin = child.stdin.take();
        let mut running = Running::of(child, args);
        running.stdin = stdin;
        running
    }

    /// Starts the process on a terminal, of which the file is the other end.
    pub(crate) fn start_on_terminal(args: &[&str]) -> (Running, File) {
        let (mut other_end, mut terminal) = (0, 0);
        let null = std::ptr::null_mut();
        // SAFETY: the descriptors are local variables, and the rest may be null
        let opened = unsafe { libc::openpty(&mut other_end, &mut terminal, null, null.cast(), null.cast()) };
        assert_eq!(opened, 0, "{}", std::io::Error::last_os_error());
        // SAFETY: both were just opened, and have no other owner
        let (other_end, terminal) = unsafe { (File::from_raw_fd(other_end), OwnedFd::from_raw_fd(terminal)) };
        let mut command = Command::new(env!("CARGO_BIN_EXE_plenary"));
        command
            .args(args)
            .stdin(terminal)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .env_remove("RUST_LOG");
        let child = command.spawn().unwrap();
        (Running::of(child, args), other_end)
    }

    /// Starts the process with a standard error that nobody reads after the line that says it is in the room.
    pub(crate) fn start_unread(args: &[&str]) -> Running {
        let mut command = Command::new(env!("CARGO_BIN_EXE_plenary"));
        command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.env_remove("RUST_LOG").spawn().unwrap();
        let (stdout, stderr) = (Lines::default(), Lines::default());
        let until_there = |line: &str| !line.contains("in the room as ");
        let readers = vec![
            stdout.read(child.stdout.take().unwrap()),
            stderr.read_while(child.stderr.take().unwrap(), until_there),
        ];
        Running { child, what: format!("plenary {}", args.join(" ")), stdout, stderr, readers, stdin: None }
    }

    /// Writes a line to the process.
    pub(crate) fn say(&mut self, line: &str) {
        writeln!(self.stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    /// Starts the process with this text as its standard input, and these variables in its environment.
    pub(crate) fn start_with(args: &[&str], input: &str, variables: &[(&str, &str)]) -> Running {
        let mut command = Command::new(env!("CARGO_BIN_EXE_plenary"));
        let pipes = [Stdio::piped(), Stdio::piped()];
        let [stdout, stderr] = pipes;
        let stdin = if input.is_empty() { Stdio::null() } else { Stdio::piped() };
        command.args(args).stdin(stdin).stdout(stdout).stderr(stderr).env_remove("RUST_LOG");
        command.env_remove("PLENARY_INVITE").env_remove("PLENARY_PASSWORD").envs(variables.iter().copied());
        // backtraces are on, so that an error that prints one is noticed
        let mut child = command.env("RUST_BACKTRACE", "1").spawn().unwrap();
        if let Some(mut stdin) = child.stdin.take() {
            // a process that has ended reads nothing
            let _ = stdin.write_all(input.as_bytes());
        }
        Running::of(child, args)
    }

    fn of(mut child: Child, args: &[&str]) -> Running {
        let (stdout, stderr) = (Lines::default(), Lines::default());
        let readers =
            vec![stdout.read(child.stdout.take().unwrap()), stderr.read(child.stderr.take().unwrap())];
        let what = format!("plenary {}", args.join(" "));
        Running { child, what, stdout, stderr, readers, stdin: None }
    }

    /// Returns the id of the process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends SIGTERM, SIGINT or SIGKILL.
    pub(crate) fn signal(&self, signal: libc::c_int) {
        let id = self.child.id() as libc::pid_t;
        // SAFETY: the child was not waited for yet, so the id is still its own
        assert_eq!(unsafe { libc::kill(id, signal) }, 0, "{}", self.what);
    }

    /// Whether the process is still running.
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits until the process ends by itself.
    pub(crate) fn ended(mut self) -> Ended {
        wait_until(&format!("end of {}, which says {:#?}", self.what, self.stderr.so_far()), || {
            !self.is_running()
        });
        let code = self.child.wait().unwrap().code();
        self.readers.drain(..).for_each(|reader| reader.join().unwrap());
        let text = |lines: &Lines| lines.so_far().iter().map(|line| format!("{line}\n")).collect();
        Ended { code, stdout: text(&self.stdout), stderr: text(&self.stderr) }
    }

    /// Kills the process with SIGKILL, and waits for its end.
    pub(crate) fn kill(mut self) {
        self.signal(libc::SIGKILL);
        self.child.wait().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // both calls fail only if the process has ended and was waited for
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("{} said {:#?}", self.what, self.stderr.so_far());
        }
    }
}

/// Runs a command to its end.
pub(crate) fn run(args: &[&str]) -> Ended {
    Running::start(args).ended()
}

/// Returns the invite that a host prints.
pub(crate) fn invite_of(host: &Running) -> String {
    host.stdout.wait("invite", |line| line.contains('#').then(|| line.to_owned()))
}

/// Waits until a condition holds.
pub(crate) fn wait_until(what: &str, mut so: impl FnMut() -> bool) {
    let until = Instant::now() + HANG_MAX;
    while !so() {
        assert!(Instant::now() < until, "no {what} for {HANG_MAX:?}");
        #[expect(clippy::disallowed_methods, reason = "a test's own thread")]
        thread::sleep(LOOK_EACH);
    }
}

/// Maximum number of pictures (at 30 a second) by which a new mixer's first picture may lie behind the last
/// one of the old mixer.
const STEP_BACK_MAX: u32 = 10;
/// Maximum number of such steps back: one per change of mixer, for an opening, a failover and a vote.
const STEPS_BACK_MAX: usize = 3;

/// Whether a tile's picture numbers rise. At a change of mixer a number may be a little lower than the one
/// before, on an overloaded machine; two pictures were seen.
pub(crate) fn time_rises(numbers: &[u32]) -> bool {
    let back: Vec<u32> = numbers.windows(2).filter_map(|pair| pair[0].checked_sub(pair[1])).collect();
    back.len() <= STEPS_BACK_MAX && back.iter().all(|step| *step <= STEP_BACK_MAX)
}

/// Returns the time of the last picture in a recording that may still be growing; `None` before the first
/// picture.
pub(crate) fn last_picture_s(recording: &Path) -> Option<f64> {
    picture_times_s(recording).into_iter().reduce(f64::max)
}

/// Times of a recording's pictures so far, in the order of the file.
pub(crate) fn picture_times_s(recording: &Path) -> Vec<f64> {
    let mut command = Command::new("ffprobe");
    command.args([
        "-v",
        "quiet",
        "-select_streams",
        "v:0",
        "-show_entries",
        "packet=pts_time",
        "-of",
        "csv=p=0",
    ]);
    let said = command.arg(recording).output().expect("ffprobe is installed").stdout;
    let said = String::from_utf8_lossy(&said);
    said.lines().filter_map(|line| line.trim_end_matches(',').parse().ok()).collect()
}
