//! The console of host, join and mixer: lines of standard input, answered on stderr.
//!
//! Lines don't wait for each other's answers: a command takes effect at once, and its answer follows when the roster
//! shows it. Only settings of the room, and invites, are changed one after the other.

use std::io::{BufRead, Read as _};
use std::path::PathBuf;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use plenary::line::{Among, HELP, Line, LineError, Lookup, parse};
use plenary::{Command, MixPolicy, PeerId, Reason, Room};
use plenary_body::layout;
use plenary_proto::app::Layout;
use plenary_proto::bounded::plain;
use tokio::sync::{Mutex, mpsc};

use super::host::publish_invite;
use super::people::{all, hands, here, waiting, who};
use crate::{one_line, units};

/// Longest line that is read, in bytes; a longer one is left out.
const LINE_LEN_MAX: u64 = 1024;
/// Maximum lines that wait. Further ones wait in the pipe.
const LINES_MAX: usize = 16;
/// Maximum commands whose answers are awaited at a time; a further line waits, at most for the ten seconds that a call
/// of the host takes. A guess: more than a person types in that time.
const AT_ONCE_MAX: usize = 64;

/// Files that a host's commands change.
#[derive(Clone, Debug, Default)]
pub(crate) struct Files {
    /// Where invites go in place of standard output.
    pub(crate) invite: Option<PathBuf>,
    /// The room's keys, which contain the newest invite's secret and the removed peers.
    pub(crate) keys: Option<PathBuf>,
}

impl Files {
    /// Writes the room's keys, if they are kept.
    pub(crate) fn save_keys(&self, room: &Room) -> Result<(), plenary::Error> {
        match (&self.keys, room.room_keys()) {
            (Some(file), Some(keys)) => keys.save(file),
            _ => Ok(()),
        }
    }

    /// Writes the room's keys, and publishes the newest invite.
    fn renew(&self, room: &Room) -> Result<(), String> {
        self.save_keys(room).map_err(said)?;
        let invite = room.invite().ok_or("another host has made a newer invite")?;
        publish_invite(&invite, self.invite.as_deref()).map_err(|error| error.to_string())
    }
}

/// Carries out the lines of standard input until it ends, which is not `/end`.
pub(crate) async fn govern(room: Room, files: Files) {
    let (say, lines) = mpsc::channel(LINES_MAX);
    // a thread of its own: the process may end while it waits for a line
    std::thread::spawn(move || {
        stay_in_the_background();
        read_lines(std::io::stdin().lock(), |line| say.blocking_send(line).is_ok());
    });
    carry_out_all(&Console { room, files, settings: Mutex::new(()) }, lines, tell).await;
}

/// Lets a process in the background of a terminal find no line there, where it would be stopped otherwise (POSIX:
/// SIGTTIN).
fn stay_in_the_background() {
    // SAFETY: ignoring a signal runs no code of this program
    unsafe { libc::signal(libc::SIGTTIN, libc::SIG_IGN) };
}

/// Reads lines until the input ends or `take` returns false.
fn read_lines(mut input: impl BufRead, mut take: impl FnMut(String) -> bool) {
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = input.by_ref().take(LINE_LEN_MAX).read_until(b'\n', &mut line).unwrap_or(0);
        if read as u64 == LINE_LEN_MAX && line.last() != Some(&b'\n') {
            say!("a line of more than {LINE_LEN_MAX} bytes is left out");
            if input.skip_until(b'\n').is_err() {
                return;
            }
            continue;
        }
        if read == 0 || !take(String::from_utf8_lossy(&line).into_owned()) {
            return;
        }
    }
}

/// Prints an answer, without what would steer the terminal.
fn tell(answer: &str) {
    let lines: Vec<_> = answer.lines().map(plain).collect();
    say!("{}", lines.join("\n"));
}

/// Carries out lines as they come, and tells the answers as they are known.
async fn carry_out_all(console: &Console, mut lines: mpsc::Receiver<String>, tell: impl Fn(&str)) {
    let mut running = FuturesUnordered::new();
    let mut is_open = true;
    loop {
        tokio::select! {
            line = lines.recv(), if is_open && running.len() < AT_ONCE_MAX => {
                match line.map(|line| parse(&line, console)) {
                    None => is_open = false,
                    Some(None) => {}
                    Some(Some(Ok(line))) => running.push(console.answer(line, &tell)),
                    Some(Some(Err(why))) => tell(&why.to_string()),
                }
            }
            Some(answer) = running.next(), if !running.is_empty() => {
                let (Ok(answer) | Err(answer)) = answer;
                tell(&answer);
            }
            else => return,
        }
    }
}

fn said(error: plenary::Error) -> String {
    one_line(&error.into())
}

/// What commands act on.
struct Console {
    room: Room,
    files: Files,
    /// Held while a setting is changed: of two changes at the same time the roster shows the last one only. The lock is
    /// fair, so that settings are changed in the order of their lines.
    settings: Mutex<()>,
}

impl Lookup for Console {
    fn me(&self) -> PeerId {
        self.room.me()
    }

    fn find(&self, among: Among, typed: &str) -> Result<PeerId, LineError> {
        let people = match among {
            Among::Here => here(&self.room),
            Among::Lobby => waiting(&self.room),
            Among::All => all(&self.room),
        };
        people.find(typed).map_err(|why| match self.room.as_host() {
            Ok(_) => why,
            // it sees the stage alone
            Err(_) => LineError::Peer { several: false, says: Reason::NotHost.to_string() },
        })
    }

    fn layout(&self, typed: &str) -> Result<Layout, LineError> {
        let layout = units::layout(typed).and_then(|layout| layout::for_command(&layout));
        layout.map_err(LineError::Usage)
    }
}

impl Console {
    /// Does what a line says; returns the answer. `tell` takes what is to be said before.
    async fn answer(&self, line: Line, tell: &impl Fn(&str)) -> Result<String, String> {
        match line {
            Line::Who => Ok(who(&self.room)),
            Line::Hands => hands(&self.room),
            Line::Give { command, typed } => self.give(command, &typed, tell).await,
            _ => Ok(HELP.to_owned()),
        }
    }

    /// Gives the room a command, and keeps what it changes in the host's files.
    async fn give(&self, command: Command, name: &str, tell: &impl Fn(&str)) -> Result<String, String> {
        let (room, before) = (&self.room, self.room.snapshot());
        let is_speaker =
            |peer: PeerId| before.stage.iter().any(|member| member.peer == peer && member.speaks);
        match &command {
            Command::TakeBack if before.host == Some(room.me()) => return Ok("you are the host".to_owned()),
            Command::Promote(peer) if room.as_host().is_ok() => {
                if is_speaker(*peer) {
                    return Ok(format!("{name} speaks already"));
                }
                if *peer != room.me() {
                    tell(&format!("{name} is offered the floor, and has to accept"));
                }
            }
            _ => {}
        }
        if command == Command::RemoveUnnamed {
            let removed = room.as_host().map_err(said)?.remove_unnamed().await.map_err(said)?;
            self.files.save_keys(room).map_err(said)?;
            let rest = "removed; up to eight more may come by the same invite: /invite replaces it";
            return Ok(format!("{removed} {rest}"));
        }
        let _turn = if is_setting(&command) { Some(self.settings.lock().await) } else { None };
        match room.command(command.clone()).await {
            Err(plenary::Error::NoAnswer { seconds }) if matches!(command, Command::Promote(_)) => {
                return Err(format!("{name} has not accepted the floor for {seconds} s"));
            }
            given => given.map_err(said)?,
        }
        match &command {
            Command::Remove(_) => self.files.save_keys(room).map_err(said)?,
            Command::Ban(_) | Command::RenewInvite => self.files.renew(room)?,
            _ => {}
        }
        Ok(done(&command, name, before.speaks))
    }
}

/// Whether a command changes a setting of the room, of which the roster shows the last change only.
fn is_setting(command: &Command) -> bool {
    matches!(
        command,
        Command::Lock(_)
            | Command::Lobby(_)
            | Command::OpenStage(_)
            | Command::SetMixing(_)
            | Command::RenewInvite
            | Command::SetLayout(_)
            | Command::SetMixers(_)
    )
}

/// Returns what to say of a command that has taken effect. `name`: its argument as it was typed; `spoke`: whether this
/// peer was a speaker before.
fn done(command: &Command, name: &str, spoke: bool) -> String {
    let text = match command {
        Command::Speak(true) if spoke => "you speak already",
        Command::Speak(true) => "you have asked for the floor",
        Command::Speak(false) if spoke => "you have left the stage",
        Command::Speak(false) => "you watch",
        Command::TakeBack => {
            "you are the host again; /invite makes an invite, if the other host has replaced it"
        }
        Command::Lock(true) => "locked: nobody new is admitted",
        Command::Lock(false) => "unlocked",
        Command::Lobby(true) => "newcomers wait in the lobby",
        Command::Lobby(false) => "newcomers come in at once",
        Command::OpenStage(true) => "anyone may speak",
        Command::OpenStage(false) => "you let speakers and mixers on stage",
        Command::SetMixing(MixPolicy::Named) => "only you, and peers that you have named, may mix",
        Command::SetMixing(_) => "any peer that consents may mix",
        Command::RenewInvite => "the old invite admits nobody any more",
        Command::SetMixers(0) => "as many mixers as needed",
        Command::End => "the room has ended",
        Command::MuteAll(_) => "all others are asked to be silent",
        Command::Admit(_) => return format!("{name} is let in"),
        Command::Deny(_) => return format!("{name} is turned away"),
        Command::Promote(_) => return format!("{name} speaks"),
        Command::Demote(_) => return format!("{name} watches"),
        Command::AskToMute(..) => return format!("{name} is asked to be silent"),
        Command::SetAgent(_, true) => return format!("{name} may hear each speaker apart"),
        Command::SetAgent(_, false) => return format!("{name} hears the mix alone"),
        Command::Remove(_) => return format!("{name} is removed"),
        Command::Ban(_) => return format!("{name} is removed, and the old invite admits nobody any more"),
        Command::HandOver(_) => return format!("{name} is the host now"),
        Command::SetLayout(_) => return format!("layout {name}"),
        Command::SetMixers(mixers) => return format!("{mixers} mixers"),
        _ => "done",
    };
    text.to_owned()
}

#[cfg(test)]
mod tests;
