//! The control socket, from both sides: a command on a line, its answer as JSON on a line.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::netns::LAB_PREFIX;

pub(crate) fn socket_path(lab: &str) -> PathBuf {
    PathBuf::from(format!("/run/{lab}.sock"))
}

/// A line with a command, and where its answer goes.
pub(crate) struct Request {
    pub(crate) line: String,
    pub(crate) answer: Sender<String>,
}

/// The socket's file, removed at the end.
pub(crate) struct ControlSocket(PathBuf);

impl ControlSocket {
    pub(crate) fn open(lab: &str, wake: UnixStream) -> Result<(Self, Receiver<Request>)> {
        let path = socket_path(lab);
        let _ = fs::remove_file(&path);
        let listener =
            UnixListener::bind(&path).with_context(|| format!("cannot make {}", path.display()))?;
        let (requests, received) = mpsc::channel();
        // In a thread of its own, so that a slow asker does not hold packets up.
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // An asker that breaks off harms only itself.
                let _ = answer_all(&stream, &requests, &wake);
            }
        });
        Ok((ControlSocket(path), received))
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn answer_all(mut stream: &UnixStream, requests: &Sender<Request>, mut wake: &UnixStream) -> Result<()> {
    // One asker at a time: an idle one must not shut the others out.
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    for line in BufReader::new(stream).lines() {
        let (answer, answered) = mpsc::channel();
        requests.send(Request { line: line?, answer })?;
        wake.write_all(&[0])?;
        writeln!(stream, "{}", answered.recv()?)?;
    }
    Ok(())
}

/// The labs that have a socket, dead ones included.
pub(crate) fn labs() -> Result<Vec<String>> {
    Ok(fs::read_dir("/run")?
        .flatten()
        .filter_map(|entry| Some(entry.file_name().to_str()?.strip_suffix(".sock")?.to_owned()))
        .filter(|name| name.starts_with(LAB_PREFIX))
        .collect())
}

/// Whether the process of a lab still listens to its socket.
pub(crate) fn is_alive(lab: &str) -> bool {
    UnixStream::connect(socket_path(lab)).is_ok()
}

pub(crate) fn only_lab() -> Result<String> {
    let mut labs = labs()?;
    labs.retain(|lab| is_alive(lab));
    match labs.len() {
        0 => bail!("no lab is up"),
        1 => Ok(labs.remove(0)),
        _ => bail!("several labs are up, choose one with --lab: {}", labs.join(", ")),
    }
}

/// Sends a command to a lab and waits for its answer.
pub(crate) fn ask(lab: &str, line: &str) -> Result<serde_json::Value> {
    let path = socket_path(lab);
    let mut stream =
        UnixStream::connect(&path).with_context(|| format!("cannot reach {}", path.display()))?;
    writeln!(stream, "{line}")?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer)?;
    let answer: serde_json::Value = serde_json::from_str(&answer)?;
    if let Some(error) = answer.get("error") {
        bail!("{}", error.as_str().unwrap_or("unknown error").trim_end());
    }
    Ok(answer)
}
