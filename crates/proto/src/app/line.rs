//! Commands as a person types them, one a line: in a terminal, and in the page's chat.

use super::{Command, Layout, Reason};
use crate::id::PeerId;
use crate::message::{MIXERS_MAX, MixPolicy, Muted};

/// List of the lines, for a terminal.
pub const HELP: &str = "\
/who                 who is here, and who waits in the lobby
/speak  /watch       take the floor, also an offered one, or leave the stage
the host alone:
/admit WHO           let in from the lobby       /deny WHO     turn away
/promote WHO         offer the floor             /demote WHO   let watch only
/mute WHO            ask to be silent            /mute-all      ask all others
/hand-over WHO       make host
/agent WHO           let hear each speaker apart: a transcriber, a bot; /no-agent WHO  no more
/remove WHO          put out of the room         /ban WHO      and replace the invite
/remove unnamed      put out the candidates that you have not named
/lock  /unlock       admit nobody new, or again  /lobby on|off
/stage open|closed   anyone may speak, or whom you promote
/mixing named|anyone who may be elected to mix  /hands        who asks for the floor
/invite              replace the invite: the old one admits nobody any more
/layout grid|active|share|…                      /mixers N     1 to 8, 0: as needed
/end                 end the room for everybody  /help
/hand-over with the own name takes the room back at the peer that opened it.
WHO is an id, 8 or more of its hex digits, or a name, also in quotes.";

/// What a line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Line {
    /// The list of the lines.
    Help,
    /// The list of the peers.
    Who,
    /// The list of the peers that ask for the floor.
    Hands,
    /// A command to the room.
    Give {
        /// The command.
        command: Command,
        /// Its argument as it was typed: a peer's name, say; empty for none.
        typed: String,
    },
}

/// Which peers a line may mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Among {
    /// Those in the room.
    Here,
    /// Those in the lobby.
    Lobby,
    /// Both.
    All,
}

/// What a line is read with.
pub trait Lookup {
    /// Returns the peer that is reading.
    fn me(&self) -> PeerId;

    /// Finds the peer that is meant by a name or by digits of an id.
    ///
    /// # Errors
    /// [`LineError::Peer`] if nobody is meant, or several peers are.
    fn find(&self, among: Among, typed: &str) -> Result<PeerId, LineError>;

    /// Finds a layout.
    ///
    /// # Errors
    /// [`LineError::Usage`] if there is none of that name.
    fn layout(&self, typed: &str) -> Result<Layout, LineError> {
        typed.parse().map_err(|_| LineError::Usage("/layout grid, active, share or side-by-side".to_owned()))
    }
}

/// Reason why a line is no command. The sentence is for the person at a terminal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LineError {
    /// There is no such command. The line isn't quoted: a password may be left on standard input.
    #[error("no such command; /help lists them")]
    Unknown,
    /// The argument is missing, or isn't understood.
    #[error("{0}")]
    Usage(String),
    /// No peer is meant, or several are.
    #[error("{says}")]
    Peer {
        /// Whether several are.
        several: bool,
        /// What to say to the person.
        says: String,
    },
}

impl LineError {
    /// Returns what the error says.
    pub fn reason(&self) -> Reason {
        match self {
            LineError::Unknown => Reason::NoSuchCommand,
            LineError::Usage(_) => Reason::WrongArgument,
            LineError::Peer { several: true, .. } => Reason::SeveralPeers,
            LineError::Peer { .. } => Reason::NoSuchPeer,
        }
    }
}

/// Reads a line; `None` if it is empty.
///
/// # Errors
/// The line is no command, or its argument doesn't fit.
pub fn parse(line: &str, lookup: &impl Lookup) -> Option<Result<Line, LineError>> {
    let line = line.trim();
    let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    (!word.is_empty()).then(|| parse_words(word, rest.trim(), lookup))
}

fn parse_words(word: &str, rest: &str, lookup: &impl Lookup) -> Result<Line, LineError> {
    let usage = |text: &str| Err(LineError::Usage(text.to_owned()));
    let give = |command| Line::Give { command, typed: rest.to_owned() };
    let alone = |line: Line| match rest {
        "" => Ok(line),
        _ => usage(&format!("{word} takes no argument")),
    };
    let whom = |among, command: fn(PeerId) -> Command| match rest {
        "" => usage(&format!("{word} whom? A name, or 8 or more hex digits of an id")),
        typed => lookup.find(among, typed).map(|peer| give(command(peer))),
    };
    let either = |yes: &str, no: &str, command: fn(bool) -> Command| match rest {
        argument if argument == yes => Ok(give(command(true))),
        argument if argument == no => Ok(give(command(false))),
        _ => usage(&format!("{word} {yes} or {word} {no}")),
    };
    match word {
        "/help" => alone(Line::Help),
        "/who" => alone(Line::Who),
        "/hands" => alone(Line::Hands),
        "/speak" => alone(give(Command::Speak(true))),
        "/watch" => alone(give(Command::Speak(false))),
        "/admit" => whom(Among::Lobby, Command::Admit),
        "/deny" => whom(Among::Lobby, Command::Deny),
        "/promote" => whom(Among::Here, Command::Promote),
        "/demote" => whom(Among::Here, Command::Demote),
        "/mute" => whom(Among::Here, |peer| Command::AskToMute(peer, Muted { picture: false, sound: true })),
        "/mute-all" => alone(give(Command::MuteAll(Muted { picture: false, sound: true }))),
        "/agent" => whom(Among::All, |peer| Command::SetAgent(peer, true)),
        "/no-agent" => whom(Among::All, |peer| Command::SetAgent(peer, false)),
        "/remove" if rest == "unnamed" => Ok(give(Command::RemoveUnnamed)),
        "/remove" => whom(Among::All, Command::Remove),
        "/ban" => whom(Among::All, Command::Ban),
        "/hand-over" => match whom(Among::Here, Command::HandOver)? {
            Line::Give { command: Command::HandOver(peer), .. } if peer == lookup.me() => {
                Ok(give(Command::TakeBack))
            }
            line => Ok(line),
        },
        "/lock" => alone(give(Command::Lock(true))),
        "/unlock" => alone(give(Command::Lock(false))),
        "/lobby" => either("on", "off", Command::Lobby),
        "/stage" => either("open", "closed", Command::OpenStage),
        "/mixing" => either("named", "anyone", |named| {
            Command::SetMixing(if named { MixPolicy::Named } else { MixPolicy::Anyone })
        }),
        "/invite" => alone(give(Command::RenewInvite)),
        "/layout" => lookup.layout(rest).map(|layout| give(Command::SetLayout(layout))),
        "/mixers" => match rest.parse() {
            Ok(mixers) if usize::from(mixers) <= MIXERS_MAX => Ok(give(Command::SetMixers(mixers))),
            _ if rest == "auto" => Ok(give(Command::SetMixers(0))),
            _ => usage(&format!("a number of mixers is from 1 to {MIXERS_MAX}, or 0: as needed")),
        },
        "/end" => alone(give(Command::End)),
        _ => Err(LineError::Unknown),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A room of Ada, who reads, and of Ben; Cai waits in the lobby.
    struct Room;

    impl Lookup for Room {
        fn me(&self) -> PeerId {
            PeerId([1; 32])
        }

        fn find(&self, among: Among, typed: &str) -> Result<PeerId, LineError> {
            let known: &[(&str, u8, Among)] =
                &[("Ada", 1, Among::Here), ("Ben", 2, Among::Here), ("Cai", 3, Among::Lobby)];
            let is_meant =
                |(name, _, is): &&(&str, u8, Among)| *name == typed && (among == *is || among == Among::All);
            let found = known.iter().find(is_meant).map(|(_, id, _)| PeerId([*id; 32]));
            found.ok_or(LineError::Peer { several: typed == "Ann", says: format!("no {typed}") })
        }
    }

    fn command(line: &str) -> Command {
        match parse(line, &Room) {
            Some(Ok(Line::Give { command, .. })) => command,
            other => panic!("{line}: {other:?}"),
        }
    }

    fn error(line: &str) -> LineError {
        parse(line, &Room).unwrap().unwrap_err()
    }

    #[test]
    fn each_line_of_the_help_is_understood() {
        for line in HELP.lines().filter(|line| line.starts_with('/')) {
            for (at, _) in line.match_indices('/') {
                let word: String = line[at..].chars().take_while(|c| !c.is_whitespace()).collect();
                let argument = match &*word {
                    "/lobby" => "on",
                    "/mixers" => "2",
                    "/stage" => "open",
                    "/mixing" => "named",
                    "/layout" => "side-by-side",
                    "/admit" | "/deny" => "Cai",
                    "/mute-all" | "/who" | "/hands" | "/speak" | "/watch" | "/lock" | "/unlock"
                    | "/invite" | "/end" | "/help" => "",
                    _ => "Ben",
                };
                let read = parse(&format!("  {word}   {argument} "), &Room).unwrap();
                assert!(read.is_ok(), "{word}: {read:?}");
            }
        }
    }

    #[test]
    fn lines_are_the_commands_that_applications_give() {
        let ben = PeerId([2; 32]);
        assert_eq!(command("/promote Ben"), Command::Promote(ben));
        assert_eq!(command("/mute Ben"), Command::AskToMute(ben, Muted { picture: false, sound: true }));
        assert_eq!(command("/admit Cai"), Command::Admit(PeerId([3; 32])));
        assert_eq!(command("/no-agent Cai"), Command::SetAgent(PeerId([3; 32]), false));
        assert_eq!(command("/hand-over Ben"), Command::HandOver(ben));
        assert_eq!(command("/hand-over Ada"), Command::TakeBack, "with the own name");
        assert_eq!(command("/remove unnamed"), Command::RemoveUnnamed);
        assert_eq!(command("/layout share"), Command::SetLayout(Layout::Share));
        for (line, mixers) in [("/mixers 0", 0), ("/mixers auto", 0), ("/mixers 8", 8)] {
            assert_eq!(command(line), Command::SetMixers(mixers));
        }
    }

    #[test]
    fn a_wrong_line_is_answered_by_a_sentence_and_an_empty_one_by_nothing() {
        assert_eq!(parse("  ", &Room), None);
        for (line, part) in [
            ("hello", "/help"),
            ("/remove", "whom"),
            ("/end now", "no argument"),
            ("/mixers many", "number"),
            ("/mixers 200", "from 1 to 8"),
            ("/mixers 9", "from 1 to 8"),
            ("/lobby", "on or"),
            ("/stage", "open or"),
            ("/mixing all", "named or"),
            ("/hands up", "no argument"),
            ("/layout", "grid"),
            ("/promote Cai", "no Cai"), // waits in the lobby
        ] {
            let said = error(line).to_string();
            assert!(said.contains(part), "{line}: {said}");
        }
    }

    #[test]
    fn each_error_has_its_reason() {
        let reasons = ["/dance", "/lobby", "/promote Zoe", "/promote Ann"].map(|line| error(line).reason());
        let expected =
            [Reason::NoSuchCommand, Reason::WrongArgument, Reason::NoSuchPeer, Reason::SeveralPeers];
        assert_eq!(reasons, expected);
    }
}
