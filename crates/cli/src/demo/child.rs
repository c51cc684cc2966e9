//! A peer's own process in `demo --processes`, seen from the demo: started, asked for figures, killed, ended.

use std::collections::BTreeMap;
use std::fs::File;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use parking_lot::Mutex;
use plenary::PeerId;
use serde::Serialize;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{ChildStdin, ChildStdout, Command};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::figures::Glance;
use super::wire::{Answer, Ask, Brief, Request, Told};

/// Time limit of an answer, in addition to the duration of the requested work. A guess.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// Time for a process to end once its standard input has ended. A guess.
const END_MAX: Duration = Duration::from_secs(10);

/// State of the process by the lines it has printed.
#[derive(Default)]
struct Inbox {
    glance: Mutex<Glance>,
    /// Requests without an answer; `None` once the process has ended.
    waiting: Mutex<Option<BTreeMap<u64, oneshot::Sender<Answer>>>>,
}

/// A peer's process. Dropping this value kills the process.
pub(crate) struct Child {
    pub(crate) peer: PeerId,
    process: tokio::sync::Mutex<tokio::process::Child>,
    input: tokio::sync::Mutex<Option<ChildStdin>>,
    inbox: Arc<Inbox>,
    next: AtomicU64,
}

impl Child {
    /// Starts the process and waits until its peer has joined. Its log goes to `log`; `on_trouble` is called when a
    /// link of the peer could not be made.
    pub(crate) async fn start(
        brief: &Brief,
        log: &File,
        on_trouble: impl Fn(String) + Send + 'static,
    ) -> anyhow::Result<Child> {
        let mut command = Command::new(std::env::current_exe()?);
        // the arguments of `plenary demo`, from the first flag on
        command.arg("demo-peer").args(std::env::args_os().skip(2));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log.try_clone()?);
        // a process group of its own: Ctrl-C on the terminal ends the demo, which then collects the figures
        command.process_group(0).kill_on_drop(true);
        let mut process = command.spawn().context("cannot start a process")?;
        let mut input = process.stdin.take().context("no standard input")?;
        let output = process.stdout.take().context("no standard output")?;
        write(&mut input, brief).await?;
        let inbox = Arc::new(Inbox { waiting: Mutex::new(Some(BTreeMap::new())), ..Inbox::default() });
        let (joined, joins) = oneshot::channel();
        tokio::spawn(read(output, inbox.clone(), joined, on_trouble));
        let peer = match joins.await {
            Ok(Ok(peer)) => peer,
            Ok(Err(why)) => bail!(why),
            Err(_) => bail!("its process has ended"),
        };
        let (process, input) = (tokio::sync::Mutex::new(process), tokio::sync::Mutex::new(Some(input)));
        Ok(Child { peer, process, input, inbox, next: AtomicU64::new(0) })
    }

    pub(crate) fn glance(&self) -> Glance {
        *self.inbox.glance.lock()
    }

    /// Sends a request and waits for the answer; `takes` is the duration of the requested work.
    pub(crate) async fn ask(&self, what: Request, takes: Duration) -> anyhow::Result<Answer> {
        let ended = || anyhow!("the process of {:?} has ended", self.peer);
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (answer, answered) = oneshot::channel();
        self.inbox.waiting.lock().as_mut().ok_or_else(ended)?.insert(number, answer);
        let mut input = self.input.lock().await;
        write(input.as_mut().ok_or_else(ended)?, &Ask { number, what }).await?;
        drop(input);
        let answer = timeout(takes + ANSWER_MAX, answered).await;
        let late = || anyhow!("the process of {:?} doesn't answer", self.peer);
        answer.map_err(|_| late())?.map_err(|_| ended())
    }

    /// Kills the process with SIGKILL.
    pub(crate) async fn kill(&self) -> anyhow::Result<()> {
        self.process.lock().await.kill().await.context("cannot kill a process")
    }

    /// Ends the process: closes its standard input and waits. A process that doesn't end is killed.
    pub(crate) async fn end(&self) -> anyhow::Result<()> {
        *self.input.lock().await = None;
        let mut process = self.process.lock().await;
        match timeout(END_MAX, process.wait()).await {
            Ok(status) => {
                let status = status?;
                anyhow::ensure!(status.success(), "the process of {:?} failed ({status})", self.peer);
                Ok(())
            }
            Err(_) => {
                process.kill().await?;
                bail!("the process of {:?} did not end, and was killed", self.peer)
            }
        }
    }
}

async fn write(input: &mut ChildStdin, line: &impl Serialize) -> anyhow::Result<()> {
    let mut text = serde_json::to_string(line)?;
    text.push('\n');
    input.write_all(text.as_bytes()).await.context("a peer's process takes no request")
}

/// Reads the process's lines until it ends.
async fn read(
    output: ChildStdout,
    inbox: Arc<Inbox>,
    joined: oneshot::Sender<Result<PeerId, String>>,
    on_trouble: impl Fn(String),
) {
    let mut lines = BufReader::new(output).lines();
    let mut joined = Some(joined);
    while let Ok(Some(line)) = lines.next_line().await {
        match serde_json::from_str(&line) {
            Ok(Told::Joined(result)) => {
                if let Some(joined) = joined.take() {
                    let _ = joined.send(result); // an error means that the demo has ended meanwhile
                }
            }
            Ok(Told::Glance(glance)) => *inbox.glance.lock() = glance,
            Ok(Told::Trouble(why)) => on_trouble(why),
            Ok(Told::Answer(number, answer)) => {
                let waiting = inbox.waiting.lock().as_mut().and_then(|waiting| waiting.remove(&number));
                if let Some(waiting) = waiting {
                    let _ = waiting.send(answer); // an error means that the answer came too late
                }
            }
            Err(error) => tracing::error!("a line of a peer's process can't be read: {error}"),
        }
    }
    *inbox.waiting.lock() = None;
}
