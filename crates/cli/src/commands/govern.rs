//! Commands of a host while its room runs: lines on standard input, answered on stderr.

use std::fmt::Write as _;
use std::io::{BufRead, Read as _};
use std::path::PathBuf;
use std::time::Duration;

use plenary::{Muted, PeerId, Room};
use tokio::sync::mpsc;

use super::host::publish_invite;
use crate::{one_line, units};

/// Longest line that is read; of a longer one the rest counts as another line.
const LINE_LEN_MAX: u64 = 1024;
/// Maximum lines that wait. Further ones wait in the pipe.
const LINES_MAX: usize = 16;

/// What `/help` prints.
pub(crate) const HELP: &str = "\
/who                 who is here, and who waits in the lobby
/admit WHO           let in from the lobby       /deny WHO     turn away
/promote WHO         let speak                   /demote WHO   let watch only
/mute WHO            ask to be silent            /hand-over WHO  make host
/remove WHO          put out of the room         /ban WHO      and replace the invite
/lock  /unlock       admit nobody new, or again  /lobby on|off
/invite              replace the invite: the old one admits nobody any more
/layout grid|active|share|…                      /mixers N     0: as needed
/end                 end the room for everybody  /help
WHO is a name, or the first 8 hex digits of an id.";

/// A command with its argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Who,
    Admit(String),
    Deny(String),
    Promote(String),
    Demote(String),
    Mute(String),
    Remove(String),
    Ban(String),
    HandOver(String),
    Lock(bool),
    Lobby(bool),
    Invite,
    Layout(String),
    Mixers(u8),
    End,
    Help,
}

/// Reads a line; `None` if it is empty.
///
/// # Errors
/// A sentence for the person who typed it.
pub(crate) fn parse(line: &str) -> Option<Result<Order, String>> {
    let line = line.trim();
    let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let rest = rest.trim();
    let who = |order: fn(String) -> Order| {
        if rest.is_empty() {
            Err(format!("{word} whom? A name, or the first 8 hex digits of an id"))
        } else {
            Ok(order(rest.to_owned()))
        }
    };
    let alone = |order: Order| {
        if rest.is_empty() { Ok(order) } else { Err(format!("{word} takes no argument")) }
    };
    Some(match word {
        "" => return None,
        "/who" => alone(Order::Who),
        "/admit" => who(Order::Admit),
        "/deny" => who(Order::Deny),
        "/promote" => who(Order::Promote),
        "/demote" => who(Order::Demote),
        "/mute" => who(Order::Mute),
        "/remove" => who(Order::Remove),
        "/ban" => who(Order::Ban),
        "/hand-over" => who(Order::HandOver),
        "/lock" => alone(Order::Lock(true)),
        "/unlock" => alone(Order::Lock(false)),
        "/lobby" => match rest {
            "on" => Ok(Order::Lobby(true)),
            "off" => Ok(Order::Lobby(false)),
            _ => Err("/lobby on or /lobby off".to_owned()),
        },
        "/invite" => alone(Order::Invite),
        "/layout" if rest.is_empty() => Err("/layout grid, active or share".to_owned()),
        "/layout" => Ok(Order::Layout(rest.to_owned())),
        "/mixers" => {
            rest.parse().map(Order::Mixers).map_err(|_| "/mixers takes a number, 0: as needed".to_owned())
        }
        "/end" => alone(Order::End),
        "/help" => alone(Order::Help),
        _ => Err(format!("{word}: no such command; /help lists them")),
    })
}

/// Returns the first 8 hex digits of an id.
pub(crate) fn short(peer: &PeerId) -> String {
    format!("{peer:?}")
}

/// Finds the peer that is meant by a name, or by the first hex digits of an id.
///
/// # Errors
/// A sentence: nobody has the name, or several peers do; then with their ids.
pub(crate) fn find<'a>(who: &str, peers: impl Iterator<Item = (PeerId, &'a str)>) -> Result<PeerId, String> {
    let is_id = who.len() == 8 && who.bytes().all(|byte| byte.is_ascii_hexdigit());
    let mut found: Vec<_> = peers
        .filter(|(peer, name)| *name == who || (is_id && short(peer) == who.to_ascii_lowercase()))
        .collect();
    found.sort_unstable();
    found.dedup_by_key(|(peer, _)| *peer);
    match found[..] {
        [] => Err(format!("nobody here is called {who}; /who lists everybody")),
        [(peer, _)] => Ok(peer),
        _ => {
            let ids: Vec<_> = found.iter().map(|(peer, _)| short(peer)).collect();
            Err(format!("{} peers are called {who}: say which, {}", found.len(), ids.join(", ")))
        }
    }
}

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
        self.save_keys(room).map_err(|error| one_line(&error.into()))?;
        publish_invite(&room.invite(), self.invite.as_deref()).map_err(|error| error.to_string())
    }
}

/// Carries out the lines of standard input until it ends, which is not `/end`.
pub(crate) async fn govern(room: Room, files: Files) {
    let (say, mut lines) = mpsc::channel(LINES_MAX);
    // a thread of its own: the process may end while it waits for a line
    std::thread::spawn(move || read_lines(std::io::stdin().lock(), |line| say.blocking_send(line).is_ok()));
    while let Some(line) = lines.recv().await {
        let answer = match parse(&line) {
            None => continue,
            Some(Ok(order)) => carry_out(&room, order, &files).await,
            Some(Err(error)) => Err(error),
        };
        let (Ok(text) | Err(text)) = answer;
        eprintln!("{text}");
    }
}

/// Reads lines until the input ends or `take` returns false.
fn read_lines(mut input: impl BufRead, mut take: impl FnMut(String) -> bool) {
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = input.by_ref().take(LINE_LEN_MAX).read_until(b'\n', &mut line);
        if read.unwrap_or(0) == 0 || !take(String::from_utf8_lossy(&line).into_owned()) {
            return;
        }
    }
}

/// Carries out a command; returns the answer.
async fn carry_out(room: &Room, order: Order, files: &Files) -> Result<String, String> {
    let said = |error: plenary::Error| one_line(&error.into());
    let host = room.as_host().map_err(|error| error.to_string())?;
    let here = |who: &str| {
        let stage = room.snapshot().stage;
        let listed = host.directory();
        let on_stage = stage.iter().map(|member| (member.peer, &*member.name));
        find(who, on_stage.chain(listed.iter().map(|listed| (listed.peer, &*listed.name))))
    };
    let waiting = |who: &str| {
        let lobby = host.lobby();
        find(who, lobby.iter().map(|(peer, name)| (*peer, &**name)))
    };
    Ok(match order {
        Order::Help => HELP.to_owned(),
        Order::Who => who(room).map_err(|error| error.to_string())?,
        Order::Admit(name) => {
            let peer = waiting(&name)?;
            host.admit(peer).await.map_err(said)?;
            format!("{name} is let in")
        }
        Order::Deny(name) => {
            let peer = waiting(&name)?;
            host.deny(peer).await.map_err(said)?;
            format!("{name} is turned away")
        }
        Order::Promote(name) => {
            let peer = here(&name)?;
            host.promote(peer).await.map_err(said)?;
            format!("{name} may speak")
        }
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
        Order::Remove(name) => {
            let peer = here(&name)?;
            host.remove(peer).await.map_err(said)?;
            files.save_keys(room).map_err(said)?;
            format!("{name} is removed")
        }
        Order::Ban(name) => {
            let peer = here(&name)?;
            host.ban(peer).await.map_err(said)?;
            files.renew(room)?;
            format!("{name} is removed, and the old invite admits nobody any more")
        }
        Order::HandOver(name) => {
            let peer = here(&name)?;
            host.hand_over(peer).await.map_err(said)?;
            format!("{name} is the host now")
        }
        Order::Lock(locked) => {
            host.lock(locked).await.map_err(said)?;
            if locked { "locked: nobody new is admitted" } else { "unlocked" }.to_owned()
        }
        Order::Lobby(on) => {
            host.set_lobby(on).await.map_err(said)?;
            if on { "newcomers wait in the lobby" } else { "newcomers come in at once" }.to_owned()
        }
        Order::Invite => {
            host.renew_invite().await.map_err(said)?;
            files.renew(room)?;
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
        Order::End => {
            host.end().await.map_err(said)?;
            "the room has ended".to_owned()
        }
    })
}

/// Returns the list of all peers: the stage, the audience, the lobby.
fn who(room: &Room) -> Result<String, plenary::NotHost> {
    let host = room.as_host()?;
    let snapshot = room.snapshot();
    let listed = host.directory();
    let mut text = String::new();
    let mut line = |peer: &PeerId, name: &str, what: &str| {
        let _ = writeln!(text, "{}  {name}  {what}", short(peer));
    };
    for member in &snapshot.stage {
        let mut roles = vec![if member.speaks { "speaks" } else { "mixes if elected" }];
        roles.extend((Some(member.peer) == snapshot.host).then_some("host"));
        roles.extend(snapshot.mixers.contains(&member.peer).then_some("mixer"));
        roles.extend(member.muted.sound.then_some("silent"));
        roles.extend(member.no_solo.then_some("no solo"));
        roles.extend(member.away.then_some("away"));
        line(&member.peer, &member.name, &roles.join(", "));
    }
    for listed in &listed {
        if snapshot.stage.iter().any(|member| member.peer == listed.peer) {
            continue;
        }
        let minutes = Duration::from_secs(listed.here.as_secs());
        let place = listed.parent.map_or("not fed".to_owned(), |parent| {
            format!("depth {} below {}", listed.depth, short(&parent))
        });
        line(
            &listed.peer,
            &listed.name,
            &format!("watches for {}, {place}", humantime::format_duration(minutes)),
        );
    }
    for (peer, name) in host.lobby() {
        line(&peer, &name, "waits in the lobby");
    }
    let _ = write!(text, "{} viewers", snapshot.viewers.unwrap_or(0));
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_of_the_help_is_understood() {
        for line in HELP.lines().filter(|line| line.starts_with('/')) {
            for (at, _) in line.match_indices('/') {
                let word: String = line[at..].chars().take_while(|c| !c.is_whitespace()).collect();
                let argument = match &*word {
                    "/lobby" => " on",
                    "/mixers" => " 2",
                    "/who" | "/lock" | "/unlock" | "/invite" | "/end" | "/help" => "",
                    _ => " Ada Lovelace",
                };
                let order = parse(&format!("  {word}{argument} ")).unwrap();
                assert!(order.is_ok(), "{word}: {order:?}");
            }
        }
    }

    #[test]
    fn a_wrong_line_is_answered_by_a_sentence_and_an_empty_one_by_nothing() {
        assert_eq!(parse("  "), None);
        for (line, part) in [
            ("hello", "/help"),
            ("/remove", "whom"),
            ("/end now", "no argument"),
            ("/mixers many", "number"),
            ("/lobby", "on or"),
        ] {
            let said = parse(line).unwrap().unwrap_err();
            assert!(said.contains(part), "{line}: {said}");
        }
    }

    #[test]
    fn a_name_that_two_peers_share_is_answered_by_their_ids() {
        let peers = [(PeerId([0xab; 32]), "Ada"), (PeerId([1; 32]), "Ada"), (PeerId([2; 32]), "Ben")];
        let find = |who: &str| find(who, peers.iter().copied());
        assert_eq!(find("Ben"), Ok(PeerId([2; 32])));
        assert_eq!(find("ABABABAB"), Ok(PeerId([0xab; 32])));
        assert!(find("Ada").unwrap_err().contains("01010101, abababab"));
        assert!(find("Cai").unwrap_err().contains("nobody"));
    }
}
