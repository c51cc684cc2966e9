//! Commands that a person types while a room runs, one a line.

use plenary::MixPolicy;

use crate::units;

/// What `/help` prints.
pub(crate) const HELP: &str = "\
/who                 who is here, and who waits in the lobby
/speak  /watch       take the floor, also an offered one, or leave the stage
the host alone:
/admit WHO           let in from the lobby       /deny WHO     turn away
/promote WHO         offer the floor             /demote WHO   let watch only
/mute WHO            ask to be silent            /hand-over WHO  make host
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

/// A command with its argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Who,
    /// Takes the floor, or leaves the stage.
    Speak(bool),
    Admit(String),
    Deny(String),
    Promote(String),
    Demote(String),
    Mute(String),
    /// Marks a peer as an agent, or no more.
    Agent(String, bool),
    Remove(String),
    RemoveUnnamed,
    Ban(String),
    HandOver(String),
    Lock(bool),
    Lobby(bool),
    Stage(bool),
    Mixing(MixPolicy),
    Hands,
    Invite,
    Layout(String),
    Mixers(u8),
    End,
    Help,
}

/// Reads a line; `None` if it is empty.
///
/// # Errors
/// A sentence for the person at the terminal.
pub(crate) fn parse(line: &str) -> Option<Result<Order, String>> {
    let line = line.trim();
    let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let rest = rest.trim();
    let who = |order: fn(String) -> Order| {
        if rest.is_empty() {
            Err(format!("{word} whom? A name, or 8 or more hex digits of an id"))
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
        "/speak" => alone(Order::Speak(true)),
        "/watch" => alone(Order::Speak(false)),
        "/admit" => who(Order::Admit),
        "/deny" => who(Order::Deny),
        "/promote" => who(Order::Promote),
        "/demote" => who(Order::Demote),
        "/mute" => who(Order::Mute),
        "/agent" => who(|name| Order::Agent(name, true)),
        "/no-agent" => who(|name| Order::Agent(name, false)),
        "/remove" if rest == "unnamed" => Ok(Order::RemoveUnnamed),
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
        "/stage" => match rest {
            "open" => Ok(Order::Stage(true)),
            "closed" => Ok(Order::Stage(false)),
            _ => Err("/stage open or /stage closed".to_owned()),
        },
        "/mixing" => match rest {
            "named" => Ok(Order::Mixing(MixPolicy::Named)),
            "anyone" => Ok(Order::Mixing(MixPolicy::Anyone)),
            _ => Err("/mixing named or /mixing anyone".to_owned()),
        },
        "/hands" => alone(Order::Hands),
        "/invite" => alone(Order::Invite),
        "/layout" if rest.is_empty() => Err("/layout grid, active or share".to_owned()),
        "/layout" => Ok(Order::Layout(rest.to_owned())),
        "/mixers" if rest == "0" => Ok(Order::Mixers(0)),
        "/mixers" => units::mixers(rest).map(Order::Mixers).map_err(|why| format!("{why}; 0: as needed")),
        "/end" => alone(Order::End),
        "/help" => alone(Order::Help),
        // not quoted: a password may be left on standard input
        _ => Err("no such command; /help lists them".to_owned()),
    })
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
                    "/stage" => " open",
                    "/mixing" => " named",
                    "/who" | "/hands" | "/speak" | "/watch" | "/lock" | "/unlock" | "/invite" | "/end"
                    | "/help" => "",
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
            ("/mixers 200", "from 1 to 8"),
            ("/mixers 9", "from 1 to 8"),
            ("/lobby", "on or"),
            ("/stage", "open or"),
            ("/mixing all", "named or"),
            ("/hands up", "no argument"),
        ] {
            let said = parse(line).unwrap().unwrap_err();
            assert!(said.contains(part), "{line}: {said}");
        }
    }

    #[test]
    fn a_number_of_mixers_is_one_to_eight_or_as_needed() {
        for (line, mixers) in [("/mixers 0", 0), ("/mixers auto", 0), ("/mixers 8", 8)] {
            assert_eq!(parse(line), Some(Ok(Order::Mixers(mixers))));
        }
    }
}
