//! Peers as a console shows and finds them: names in quotes, and as many digits of an id as tell it from others'.
//!
//! Names are their owners' choice, so two peers may have one name, and a name may look like an id or like other columns.

use std::fmt::Write as _;
use std::time::Duration;

use data_encoding::HEXLOWER;
use plenary::{PeerId, Room};

/// Minimum hex digits of an id that are shown and understood: as many as messages and logs show.
const DIGITS_MIN: usize = 8;
/// Hex digits of a whole id.
const DIGITS_MAX: usize = 64;

/// Returns a name without space at its ends, with single spaces inside, and with apostrophes in place of quotes, which
/// surround it where it is shown.
pub(crate) fn tidy(name: &str) -> String {
    name.replace('"', "'").split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Returns a name in quotes, for the eyes of a person.
pub(crate) fn quoted(name: &str) -> String {
    // joiners and variation selectors, which names of some scripts need, show nothing alone
    let shows_nothing =
        |c| matches!(c, '\u{200c}' | '\u{200d}' | '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}');
    match tidy(name) {
        name if name.chars().all(shows_nothing) => "(no name)".to_owned(),
        name => format!("\"{name}\""),
    }
}

/// Peers with their names, by id.
#[derive(Clone, Debug, Default)]
pub(crate) struct People(Vec<(PeerId, String)>);

impl People {
    pub(crate) fn new(people: impl Iterator<Item = (PeerId, String)>) -> People {
        let mut people: Vec<_> = people.collect();
        people.sort_unstable();
        people.dedup_by_key(|(peer, _)| *peer);
        People(people)
    }

    /// Returns the stage and, at the host, the audience.
    pub(crate) fn here(room: &Room) -> People {
        let stage = room.snapshot().stage.into_iter().map(|member| (member.peer, member.name));
        let listed = room.as_host().map(|host| host.directory()).unwrap_or_default();
        People::new(stage.chain(listed.into_iter().map(|listed| (listed.peer, listed.name))))
    }

    /// Returns the peers in the lobby, at the host.
    pub(crate) fn waiting(room: &Room) -> People {
        People::new(room.as_host().map(|host| host.lobby()).unwrap_or_default().into_iter())
    }

    /// Returns everybody that this peer knows of.
    pub(crate) fn all(room: &Room) -> People {
        People::new(People::here(room).0.into_iter().chain(People::waiting(room).0))
    }

    /// Returns the first 8 digits of an id, or as many more as tell it from the ids of all others here.
    pub(crate) fn id(&self, peer: &PeerId) -> String {
        let id = peer.to_string();
        let at = self.0.partition_point(|(other, _)| other < peer);
        let neighbours = self.0[at.saturating_sub(1)..].iter().take(3).filter(|(other, _)| other != peer);
        let common = |other: &PeerId| {
            let other = other.to_string();
            id.bytes().zip(other.bytes()).take_while(|(a, b)| a == b).count()
        };
        let digits = neighbours.map(|(other, _)| common(other) + 1).max().unwrap_or(0);
        id[..digits.clamp(DIGITS_MIN, DIGITS_MAX)].to_owned()
    }

    /// Finds the peer that is meant by 8 or more digits of its id, or by its name. An id goes before a name; in quotes,
    /// only a name is meant. A whole id may be that of a peer that isn't listed.
    ///
    /// # Errors
    /// A sentence: nobody is meant, or several peers are; then with ids that tell them apart.
    pub(crate) fn find(&self, typed: &str) -> Result<PeerId, String> {
        let typed = typed.trim();
        let in_quotes = typed.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        let (name, digits) = (tidy(in_quotes.unwrap_or(typed)), typed.to_ascii_lowercase());
        let is_id = (DIGITS_MIN..=DIGITS_MAX).contains(&digits.len())
            && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        let by_id = self.0.iter().filter(|(peer, _)| is_id && peer.to_string().starts_with(&digits));
        let mut found: Vec<_> = by_id.collect();
        if found.is_empty() {
            found = self.0.iter().filter(|(_, other)| tidy(other) == name).collect();
        }
        // of a large audience the host lists a sample only
        let whole = HEXLOWER.decode(digits.as_bytes()).ok().and_then(|id| id.try_into().ok()).map(PeerId);
        match found[..] {
            [] => whole.ok_or_else(|| format!("nobody here is called {typed}; /who lists everybody")),
            [(peer, _)] => Ok(*peer),
            _ => {
                let ids = found.iter().map(|(peer, name)| format!("{} {}", self.id(peer), quoted(name)));
                let ids: Vec<_> = ids.collect();
                Err(format!("{} peers are called {typed}: say which, {}", ids.len(), ids.join(", ")))
            }
        }
    }
}

/// Returns the list of all peers that this one knows of: the stage and, at the host, the audience and the lobby.
pub(crate) fn who(room: &Room) -> String {
    let (snapshot, people) = (room.snapshot(), People::all(room));
    let mut text = String::new();
    let mut line = |peer: &PeerId, name: &str, what: &str| {
        let _ = writeln!(text, "{}  {}  {what}", people.id(peer), quoted(name));
    };
    for member in &snapshot.stage {
        let mut roles = vec![if member.speaks { "speaks" } else { "mixes if elected" }];
        roles.extend((Some(member.peer) == snapshot.host).then_some("host"));
        roles.extend((!member.named).then_some("guest"));
        roles.extend(snapshot.mixers.contains(&member.peer).then_some("mixer"));
        roles.extend(member.muted.sound.then_some("silent"));
        roles.extend(member.no_solo.then_some("no solo"));
        roles.extend(member.away.then_some("away"));
        line(&member.peer, &member.name, &roles.join(", "));
    }
    let Ok(host) = room.as_host() else {
        return text + "the host alone sees the audience";
    };
    for listed in host.directory() {
        if snapshot.stage.iter().any(|member| member.peer == listed.peer) {
            continue;
        }
        let minutes = Duration::from_secs(listed.here.as_secs());
        let place = listed.parent.map_or("not fed".to_owned(), |parent| {
            format!("depth {} below {}", listed.depth, people.id(&parent))
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
    text
}

/// Returns the list of the peers that ask for the floor.
pub(crate) fn hands(room: &Room) -> Result<String, String> {
    let host = room.as_host().map_err(|error| error.to_string())?;
    let (hands, people) = (host.hands(), People::all(room));
    let lines = hands.iter().map(|(peer, name)| {
        let id = people.id(peer);
        format!("{id}  {}  /promote {id} or /demote {id}", quoted(name))
    });
    let lines: Vec<String> = lines.collect();
    Ok(if lines.is_empty() { "nobody asks for the floor".to_owned() } else { lines.join("\n") })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn people(people: &[(PeerId, &str)]) -> People {
        People::new(people.iter().map(|(peer, name)| (*peer, (*name).to_owned())))
    }

    /// An id that begins with these bytes.
    fn id(first: &[u8]) -> PeerId {
        let mut id = [0x11; 32];
        id[..first.len()].copy_from_slice(first);
        PeerId(id)
    }

    #[test]
    fn a_name_that_two_peers_share_is_answered_by_their_ids() {
        let people = people(&[(id(&[0xab; 4]), "Ada"), (id(&[1; 4]), "  Ada "), (id(&[2; 4]), "Ben")]);
        assert_eq!(people.find("Ben"), Ok(id(&[2; 4])));
        assert_eq!(people.find("ABABABAB"), Ok(id(&[0xab; 4])));
        let said = people.find("Ada").unwrap_err();
        assert!(said.contains("01010101 \"Ada\", abababab \"Ada\""), "{said}");
        assert!(people.find("Cai").unwrap_err().contains("nobody"));
    }

    #[test]
    fn an_id_goes_before_a_name_that_looks_like_it() {
        let (a, b) = (id(&[0xaa; 4]), id(&[0xbb; 4]));
        let people = people(&[(a, "bbbbbbbb"), (b, "aaaaaaaa")]);
        assert_eq!((people.find("aaaaaaaa"), people.find("bbbbbbbb")), (Ok(a), Ok(b)));
        assert_eq!(people.find("\"aaaaaaaa\""), Ok(b), "in quotes, a name");
        assert_eq!(people.find(&a.to_string()), Ok(a), "a whole id");
        let unlisted = id(&[0xcc; 4]);
        assert_eq!(people.find(&unlisted.to_string()), Ok(unlisted));
        assert!(people.find("cccccccc").is_err(), "digits of a peer that isn't listed");
        assert!(people.find("aaaaaaa").is_err(), "seven digits are no id");
    }

    #[test]
    fn ids_with_the_same_eight_digits_are_shown_and_understood_by_longer_ones() {
        let (a, b, c) = (id(&[7, 7, 7, 7, 0x12]), id(&[7, 7, 7, 7, 0x13]), id(&[9]));
        let people = people(&[(a, "x"), (b, "x"), (c, "y")]);
        assert_eq!(people.id(&a), "0707070712");
        assert_eq!(people.id(&b), "0707070713");
        assert_eq!(people.id(&c), "09111111");
        let said = people.find("07070707").unwrap_err();
        assert!(said.contains("0707070712 \"x\", 0707070713 \"x\""), "{said}");
        for peer in [a, b, c] {
            assert_eq!(people.find(&people.id(&peer)), Ok(peer));
        }
    }

    #[test]
    fn a_name_is_shown_so_that_it_cannot_pass_for_another_column() {
        for (name, shown) in [
            ("Bob", "\"Bob\""),
            ("  Bob\u{3000} ", "\"Bob\""),
            ("x\"  speaks, host", "\"x' speaks, host\""),
            ("", "(no name)"),
            (" \u{a0}\u{2003} ", "(no name)"),
            ("\u{200d}\u{fe0f}", "(no name)"),
            ("(no name)", "\"(no name)\""),
        ] {
            assert_eq!(quoted(name), shown, "{name:?}");
        }
        let people = people(&[(id(&[1; 4]), "  Bob  "), (id(&[2; 4]), "Two   Words")]);
        assert_eq!(people.find("Bob"), Ok(id(&[1; 4])));
        assert_eq!(people.find("\"Two Words\" "), Ok(id(&[2; 4])));
    }
}
