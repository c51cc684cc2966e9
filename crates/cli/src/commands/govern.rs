//! Commands of a host while its room runs: lines on standard input, answered on stderr.

use std::fmt::Write as _;

use plenary::PeerId;

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
        if rest.is_empty() { Err(format!("{word} whom? A name, or the first 8 hex digits of an id")) } else { Ok(order(rest.to_owned())) }
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
        "/mixers" => rest.parse().map(Order::Mixers).map_err(|_| "/mixers takes a number, 0: as needed".to_owned()),
        "/end" => alone(Order::End),
        "/help" => alone(Order::Help),
        _ => Err(format!("{word}: no such command; /help lists them")),
    })
}

/// Returns the first 8 hex digits of an id.
pub(crate) fn short(peer: &PeerId) -> String {
    peer.0[..4].iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Finds the peer that is meant by a name, or by the first hex digits of an id.
///
/// # Errors
/// A sentence: nobody has the name, or several peers do; then with their ids.
pub(crate) fn find<'a>(
    who: &str,
    peers: impl Iterator<Item = (PeerId, &'a str)>,
) -> Result<PeerId, String> {
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
