//! The console of host, join and mixer: lines of standard input, answered on stderr.
//!
//! Lines don't wait for each other's answers: a command takes effect at once, and its answer follows when the roster
//! shows it. Only settings of the room, and invites, are changed one after the other.

use std::io::{BufRead, Read as _};
use std::path::PathBuf;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use plenary::{MixPolicy, Muted, PeerId, Room};
use plenary_proto::bounded::plain;
use tokio::sync::{Mutex, mpsc};

use super::host::publish_invite;
use super::order::{HELP, Order, parse};
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
            line = lines.recv(), if is_open && running.len() < AT_ONCE_MAX => match line.as_deref().map(parse) {
                None => is_open = false,
                Some(None) => {}
                Some(Some(Ok(order))) => running.push(console.carry_out(order, &tell)),
                Some(Some(Err(why))) => tell(&why),
            },
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

impl Console {
    /// Carries out a command; returns the answer. `tell` takes what is to be said before.
    async fn carry_out(&self, order: Order, tell: &impl Fn(&str)) -> Result<String, String> {
        let room = &self.room;
        let here = |name: &str| here(room).find(name);
        match order {
            Order::Help => return Ok(HELP.to_owned()),
            Order::Who => return Ok(who(room)),
            Order::Hands => return hands(room),
            Order::Speak(speaks) => return self.speak(speaks).await,
            Order::HandOver(name) => return self.hand_over(&name).await,
            _ => {}
        }
        let host = room.as_host().map_err(|error| error.to_string())?;
        Ok(match order {
            Order::Admit(name) => {
                let peer = waiting(room).find(&name)?;
                host.admit(peer).await.map_err(said)?;
                format!("{name} is let in")
            }
            Order::Deny(name) => {
                let peer = waiting(room).find(&name)?;
                host.deny(peer).await.map_err(said)?;
                format!("{name} is turned away")
            }
            Order::Promote(name) => return self.promote(&name, here(&name)?, tell).await,
            Order::Demote(name) => {
                let peer = here(&name)?;
                host.demote(peer).await.map_err(said)?;
                format!("{name} watches")
            }
            Order::Mute(name) => {
                let peer = here(&name)?;
                host.ask_to_mute(peer, Muted { picture: false, sound: true }).await.map_err(said)?;
                format!("{name} is asked to be silent")
            }
            Order::Agent(name, is_agent) => {
                let peer = all(room).find(&name)?;
                host.set_agent(peer, is_agent).await.map_err(said)?;
                match is_agent {
                    true => format!("{name} may hear each speaker apart"),
                    false => format!("{name} hears the mix alone"),
                }
            }
            Order::Remove(name) => {
                let peer = all(room).find(&name)?;
                host.remove(peer).await.map_err(said)?;
                self.files.save_keys(room).map_err(said)?;
                format!("{name} is removed")
            }
            Order::RemoveUnnamed => {
                let removed = host.remove_unnamed().await.map_err(said)?;
                self.files.save_keys(room).map_err(said)?;
                format!(
                    "{removed} removed; up to eight more may come by the same invite: /invite replaces it"
                )
            }
            Order::Ban(name) => {
                let peer = all(room).find(&name)?;
                host.ban(peer).await.map_err(said)?;
                self.files.renew(room)?;
                format!("{name} is removed, and the old invite admits nobody any more")
            }
            Order::End => {
                host.end().await.map_err(said)?;
                "the room has ended".to_owned()
            }
            order => {
                let _turn = self.settings.lock().await;
                self.set(order).await?
            }
        })
    }

    /// Changes a setting of the room, or its invite.
    async fn set(&self, order: Order) -> Result<String, String> {
        let host = self.room.as_host().map_err(|error| error.to_string())?;
        Ok(match order {
            Order::Lock(locked) => {
                host.lock(locked).await.map_err(said)?;
                if locked { "locked: nobody new is admitted" } else { "unlocked" }.to_owned()
            }
            Order::Lobby(on) => {
                host.set_lobby(on).await.map_err(said)?;
                if on { "newcomers wait in the lobby" } else { "newcomers come in at once" }.to_owned()
            }
            Order::Stage(open) => {
                host.open_stage(open).await.map_err(said)?;
                if open { "anyone may speak" } else { "you let speakers and mixers on stage" }.to_owned()
            }
            Order::Mixing(mixing) => {
                host.set_mixing(mixing).await.map_err(said)?;
                match mixing {
                    MixPolicy::Named => "only you, and peers that you have named, may mix",
                    _ => "any peer that consents may mix",
                }
                .to_owned()
            }
            Order::Invite => {
                host.renew_invite().await.map_err(said)?;
                self.files.renew(&self.room)?;
                "the old invite admits nobody any more".to_owned()
            }
            Order::Layout(text) => {
                host.set_layout(&units::layout(&text)?).await.map_err(said)?;
                format!("layout {text}")
            }
            Order::Mixers(mixers) => {
                host.set_mixers(mixers).await.map_err(said)?;
                if mixers == 0 { "as many mixers as needed".to_owned() } else { format!("{mixers} mixers") }
            }
            _ => HELP.to_owned(),
        })
    }

    /// Offers a peer the floor, says so, and waits until it has accepted.
    async fn promote(&self, name: &str, peer: PeerId, tell: &impl Fn(&str)) -> Result<String, String> {
        let host = self.room.as_host().map_err(|error| error.to_string())?;
        if self.room.snapshot().stage.iter().any(|member| member.peer == peer && member.speaks) {
            return Ok(format!("{name} speaks already"));
        }
        if peer != self.room.me() {
            tell(&format!("{name} is offered the floor, and has to accept"));
        }
        match host.promote(peer).await {
            Ok(()) => Ok(format!("{name} speaks")),
            Err(plenary::Error::NoAnswer { seconds }) => {
                Err(format!("{name} has not accepted the floor for {seconds} s"))
            }
            Err(error) => Err(said(error)),
        }
    }

    /// Hands the room over, or takes it back if the peer is this one.
    async fn hand_over(&self, name: &str) -> Result<String, String> {
        let (room, host) = (&self.room, self.room.as_host());
        let peer = here(room).find(name)?;
        match host {
            Ok(_) if peer == room.me() => Ok("you are the host".to_owned()),
            Ok(host) => {
                host.hand_over(peer).await.map_err(said)?;
                Ok(format!("{name} is the host now"))
            }
            Err(_) if peer == room.me() => {
                room.take_back().await.map_err(said)?;
                Ok("you are the host again; /invite makes an invite, if the other host has replaced it"
                    .to_owned())
            }
            Err(error) => Err(error.to_string()),
        }
    }

    /// Asks for the floor, or leaves the stage.
    async fn speak(&self, speaks: bool) -> Result<String, String> {
        let already = self.room.snapshot().speaks;
        self.room.speak(speaks).await.map_err(said)?;
        Ok(match (speaks, already) {
            (true, true) => "you speak already",
            (true, false) => "you have asked for the floor",
            (false, true) => "you have left the stage",
            (false, false) => "you watch",
        }
        .to_owned())
    }
}

#[cfg(test)]
mod tests;
