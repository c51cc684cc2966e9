//! A relay in a process of its own, for `plenary bench relay`: this program's relays, or another server.
//!
//! The process first prints a line with the id of the process that relays. Then it answers each line of its standard
//! input by a line of its standard output, in JSON, and ends once its input does:
//!
//! | request | answer |
//! | --- | --- |
//! | `{"publish":OFFER}`: answer the source's offer | `{"description":ANSWER}` |
//! | `"subscribe"`: offer a link to the next child | `{"description":OFFER}` |
//! | `{"accept":ANSWER}`: accept the answer to the last offer | `"accepted"` |
//!
//! A failure is answered by `{"failed":REASON}`. A description is SDP; between this program's own ends, their
//! [`Description`](plenary_proto::message::Description).

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, anyhow, ensure};
use async_trait::async_trait;
use plenary_rtc::bench::{Failed, RelayEnd, process_cpu_us};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use crate::json;

/// Time for a server to start. A guess.
const START_MAX: Duration = Duration::from_secs(10);
/// Time for a process to end once its standard input has ended. A guess.
const END_MAX: Duration = Duration::from_secs(10);

/// First line of the process.
#[derive(Serialize, Deserialize)]
struct Started {
    process: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Request<D> {
    Publish(D),
    Subscribe,
    Accept(D),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Answer<D> {
    Description(D),
    Accepted,
    Failed(String),
}

/// A relay's process.
pub(super) struct RelayProcess {
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    /// Id of the process that relays.
    process: u32,
}

impl RelayProcess {
    /// Starts a process.
    pub(super) async fn start(mut command: Command) -> anyhow::Result<RelayProcess> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().context("cannot start a relay")?;
        let input = child.stdin.take().context("no standard input")?;
        let output = BufReader::new(child.stdout.take().context("no standard output")?);
        let mut output = output.lines();
        let line = timeout(START_MAX, output.next_line()).await;
        let line = line.context("the relay does not start")??.context("the relay has ended at once")?;
        let started: Started = serde_json::from_str(&line)?;
        Ok(RelayProcess { child, input, output, process: started.process })
    }

    /// Ends the process: closes its standard input and waits. A process that doesn't end is killed. Returns the
    /// result of its work, if it has ended well.
    pub(super) async fn end<T>(self, result: Result<T, Failed>) -> anyhow::Result<T> {
        let RelayProcess { mut child, input, .. } = self;
        drop(input);
        let ended = timeout(END_MAX, child.wait()).await;
        let result = result.map_err(|failed| anyhow!(failed))?;
        let status = ended.context("the relay did not end, and was killed")??;
        ensure!(status.success(), "the relay failed ({status})");
        Ok(result)
    }

    async fn ask<D: Serialize + DeserializeOwned>(
        &mut self,
        request: Request<D>,
    ) -> Result<Answer<D>, Failed> {
        let mut line = serde_json::to_string(&request)?;
        line.push('\n');
        self.input.write_all(line.as_bytes()).await?;
        let answer = self.output.next_line().await?.ok_or("the relay has ended")?;
        match serde_json::from_str(&answer)? {
            Answer::Failed(reason) => Err(reason.into()),
            answer => Ok(answer),
        }
    }

    async fn description<D: Serialize + DeserializeOwned>(
        &mut self,
        request: Request<D>,
    ) -> Result<D, Failed> {
        match self.ask(request).await? {
            Answer::Description(description) => Ok(description),
            _ => Err("the relay's answer has no description".into()),
        }
    }
}

#[async_trait]
impl<D: Serialize + DeserializeOwned + Send + 'static> RelayEnd<D> for RelayProcess {
    async fn publish(&mut self, offer: D) -> Result<D, Failed> {
        self.description(Request::Publish(offer)).await
    }

    async fn subscribe(&mut self) -> Result<D, Failed> {
        self.description(Request::Subscribe).await
    }

    async fn accept(&mut self, answer: D) -> Result<(), Failed> {
        self.ask(Request::Accept(answer)).await.map(|_| ())
    }

    fn cpu_us(&self) -> f64 {
        process_cpu_us(self.process)
    }

    fn process(&self) -> u32 {
        self.process
    }
}

/// Serves a relay of this process until standard input ends.
pub(super) async fn serve<D: Serialize + DeserializeOwned>(
    mut relay: impl RelayEnd<D>,
) -> anyhow::Result<()> {
    say(&Started { process: relay.process() })?;
    // the relay has threads of its own, so that reads may block this one
    for line in std::io::stdin().lines() {
        let answer = match serde_json::from_str(&line?)? {
            Request::Publish(offer) => relay.publish(offer).await.map(Answer::Description),
            Request::Subscribe => relay.subscribe().await.map(Answer::Description),
            Request::Accept(answer) => relay.accept(answer).await.map(|()| Answer::Accepted),
        };
        say(&answer.unwrap_or_else(|reason| Answer::Failed(reason.to_string())))?;
    }
    Ok(())
}

fn say(line: &impl Serialize) -> anyhow::Result<()> {
    json::say(&format!("{}\n", serde_json::to_string(line)?))
}

/// A server of the command line: `NAME=COMMAND`, run by a shell.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    pub(crate) name: String,
    command: String,
}

impl std::str::FromStr for Server {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Server> {
        let (name, command) = text.split_once('=').ok_or_else(|| anyhow!("NAME=COMMAND is expected"))?;
        Ok(Server { name: name.to_owned(), command: command.to_owned() })
    }
}

impl Server {
    pub(super) fn command(&self) -> Command {
        let mut command = Command::new("sh");
        command.arg("-c").arg(format!("exec {}", self.command));
        command
    }
}
