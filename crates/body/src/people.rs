//! Peers as a person sees and finds them: their names, and as many digits of an id as tell it from others'.
//!
//! Names are their owners' choice, so two peers may have one name, and a name may look like an id or like other text
//! around it. Console and page show peers by the same rules.

use plenary_proto::PeerId;
use plenary_proto::app::line::{Among, LineError};
use plenary_proto::bounded::composed;

use crate::Body;

/// Minimum hex digits of an id that are shown and understood: as many as messages and logs show.
const DIGITS_MIN: usize = 8;
/// Hex digits of a whole id.
const DIGITS_MAX: usize = 64;

/// Maximum number of mixers that are named in a line. A guess.
const MIXERS_TOLD: usize = 3;

/// Text in place of a name that has nothing to see.
const NO_NAME: &str = "(no name)";

/// Returns a name without space at its ends, with single spaces inside, and with apostrophes in place of quotes, which
/// may surround it where it is shown.
pub fn tidy(name: &str) -> String {
    composed(&name.replace('"', "'")).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Whether a character shows nothing alone: joiners and variation selectors, which names of some scripts need.
fn shows_nothing(c: char) -> bool {
    matches!(c, '\u{200c}' | '\u{200d}' | '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}')
}

/// Returns a tidy name; `None` without a visible character.
fn visible(name: &str) -> Option<String> {
    Some(tidy(name)).filter(|name| !name.chars().all(shows_nothing))
}

/// Returns a name in quotes, for the eyes of a person.
pub fn quoted(name: &str) -> String {
    visible(name).map_or_else(|| NO_NAME.to_owned(), |name| format!("\"{name}\""))
}

/// Returns what two names have in common that a person takes for one: neither capitals nor unseen characters count.
/// Letters of different scripts may look alike all the same (UTS #39), which is left to marks beside the names.
fn look(name: &str) -> String {
    tidy(name).chars().filter(|c| !shows_nothing(*c)).map(small).collect()
}

/// Returns the same character for both cases of a letter, in the alphabets of most names. The whole table of Unicode
/// would be a hundredth of the page.
fn small(c: char) -> char {
    let code = u32::from(c);
    let same = match c {
        'A'..='Z' | 'À'..='Ö' | 'Ø'..='Þ' | 'Α'..='Ϋ' | 'А'..='Я' => code + 32,
        'Ѐ'..='Џ' => code + 80,
        'Ά' => code + 38,
        'Έ'..='Ί' => code + 37,
        'Ό' => code + 64,
        'Ύ'..='Ώ' => code + 63,
        // there, capitals have even numbers, and the small letter follows
        'Ā'..='ķ' | 'Ŋ'..='ŷ' | 'Ѡ'..='ҁ' | 'Ҋ'..='ҿ' | 'Ӑ'..='ԯ' | 'Ḁ'..='ẕ' | 'Ạ'..='ỿ' => {
            code | 1
        }
        // there, odd ones
        'Ĺ'..='ň' | 'Ź'..='ž' => (code + 1) & !1,
        _ => code,
    };
    char::from_u32(same).unwrap_or(c)
}

/// Whether a name contains what could be taken for the digits of an id.
fn has_digits_of_id(name: &str) -> bool {
    name.split(|c: char| !c.is_ascii_hexdigit()).any(|run| run.len() >= DIGITS_MIN)
}

/// Returns a mixer as it is shown beside the program: it sees and hears all speakers, and makes what the audience sees.
/// `label`: its name as it is shown; `named`: it is the host, or the host named it.
pub fn mixer(label: &str, named: bool) -> String {
    let guest = if named { "" } else { ", a guest" };
    format!("{label}{guest}")
}

/// Returns all mixers of a room, each as a label and whether the host named it; of more than three the number.
pub fn mixers(mixers: &[(String, bool)]) -> String {
    let (told, others) = mixers.split_at(mixers.len().min(MIXERS_TOLD));
    let mut told: Vec<String> = told.iter().map(|(label, named)| mixer(label, *named)).collect();
    let guests = if others.iter().all(|(_, named)| *named) { "" } else { ", guests among them" };
    told.extend((!others.is_empty()).then(|| format!("{} more{guests}", others.len())));
    told.join(" and ")
}

/// Peers with their names, by id.
#[derive(Clone, Debug, Default)]
pub struct People {
    people: Vec<(PeerId, String)>,
    /// What each name looks like, in order.
    looks: Vec<String>,
}

impl People {
    /// Returns these peers. Of a peer that is there twice one name is kept.
    pub fn new(people: impl Iterator<Item = (PeerId, String)>) -> People {
        let mut people: Vec<_> = people.collect();
        people.sort_unstable();
        people.dedup_by_key(|(peer, _)| *peer);
        let mut looks: Vec<String> = people.iter().map(|(_, name)| look(name)).collect();
        looks.sort_unstable();
        People { people, looks }
    }

    /// Returns everybody that a peer knows of: the stage and, at the host, the audience, the lobby and raised hands.
    pub fn of(body: &Body, now_us: u64) -> People {
        People::among(body, now_us, Among::All)
    }

    /// Returns the peers that a typed name may mean: the room's, the lobby's, or both.
    pub fn among(body: &Body, now_us: u64, among: Among) -> People {
        let stage = body.stage().iter().map(|entry| (entry.peer, entry.name.to_string()));
        let listed =
            body.directory(now_us).into_iter().map(|(peer, entry, _)| (peer, entry.name.to_string()));
        let here = stage.chain(listed).chain(body.hands());
        let waiting = body.lobby().into_iter().map(|newcomer| (newcomer.peer, newcomer.name));
        match among {
            Among::Here => People::new(here),
            Among::Lobby => People::new(waiting),
            Among::All => People::new(here.chain(waiting)),
        }
    }

    /// Returns all these peers with their names.
    pub fn all(&self) -> impl Iterator<Item = (&PeerId, &str)> {
        self.people.iter().map(|(peer, name)| (peer, &**name))
    }

    /// Returns these peers and those.
    pub fn and(self, others: People) -> People {
        People::new(self.people.into_iter().chain(others.people))
    }

    /// Returns the name of a peer; `None` if it isn't among these.
    pub fn name(&self, peer: &PeerId) -> Option<&str> {
        let at = self.people.binary_search_by_key(peer, |(peer, _)| *peer).ok()?;
        self.people.get(at).map(|(_, name)| &**name)
    }

    /// Returns the first 8 digits of an id, or as many more as tell it from the ids of all others here.
    pub fn id(&self, peer: &PeerId) -> String {
        let id = peer.to_string();
        let at = self.people.partition_point(|(other, _)| other < peer);
        let neighbours =
            self.people[at.saturating_sub(1)..].iter().take(3).filter(|(other, _)| other != peer);
        let common = |other: &PeerId| {
            let other = other.to_string();
            id.bytes().zip(other.bytes()).take_while(|(a, b)| a == b).count()
        };
        let digits = neighbours.map(|(other, _)| common(other) + 1).max().unwrap_or(0);
        id[..digits.clamp(DIGITS_MIN, DIGITS_MAX)].to_owned()
    }

    /// Returns a peer as a person sees it: its name, followed by its [`id`](Self::id) if the name alone doesn't tell it
    /// from the others here, since it looks like another one's, has nothing to see, or contains what looks like an id.
    pub fn label(&self, peer: &PeerId, name: &str) -> String {
        let own = look(name);
        let alike = {
            let from = self.looks.partition_point(|other| *other < own);
            self.looks[from..].iter().take_while(|other| **other == own).count()
        };
        // a peer that isn't listed doesn't count itself
        let itself = self.name(peer).is_some_and(|listed| look(listed) == own);
        match visible(name) {
            Some(name) if alike <= usize::from(itself) && !has_digits_of_id(&name) => name,
            name => format!("{} ({})", name.as_deref().unwrap_or(NO_NAME), self.id(peer)),
        }
    }

    /// Returns a peer of which others speak as a person sees it: by its id if it isn't among these.
    pub fn label_of(&self, peer: &PeerId) -> String {
        self.name(peer).map_or_else(|| self.id(peer), |name| self.label(peer, name))
    }

    /// Finds the peer that is meant by 8 or more digits of its id, or by its name. An id goes before a name; in quotes,
    /// only a name is meant. A whole id may be that of a peer that isn't listed.
    ///
    /// # Errors
    /// [`LineError::Peer`]: nobody is meant, or several peers are; then with ids that tell them apart.
    pub fn find(&self, typed: &str) -> Result<PeerId, LineError> {
        let typed = typed.trim();
        let in_quotes = typed.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        let (name, digits) = (tidy(in_quotes.unwrap_or(typed)), typed.to_ascii_lowercase());
        let is_id = (DIGITS_MIN..=DIGITS_MAX).contains(&digits.len())
            && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        let by_id = self.people.iter().filter(|(peer, _)| is_id && peer.to_string().starts_with(&digits));
        let mut found: Vec<_> = by_id.collect();
        if found.is_empty() {
            found = self.people.iter().filter(|(_, other)| tidy(other) == name).collect();
        }
        match found[..] {
            // of a large audience the host lists a sample only
            [] => digits.parse().map_err(|_| LineError::Peer {
                several: false,
                says: format!("nobody here is called {typed}; /who lists everybody"),
            }),
            [(peer, _)] => Ok(*peer),
            _ => {
                let ids = found.iter().map(|(peer, name)| format!("{} {}", self.id(peer), quoted(name)));
                let ids: Vec<_> = ids.collect();
                Err(LineError::Peer {
                    several: true,
                    says: format!("{} peers are called {typed}: say which, {}", ids.len(), ids.join(", ")),
                })
            }
        }
    }
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
        let said = people.find("Ada").unwrap_err().to_string();
        assert!(said.contains("01010101 \"Ada\", abababab \"Ada\""), "{said}");
        assert!(people.find("Cai").unwrap_err().to_string().contains("nobody"));
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
        let said = people.find("07070707").unwrap_err().to_string();
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

    #[test]
    fn a_name_that_looks_like_anothers_is_followed_by_the_digits_of_its_id() {
        let (host, guest, ben) = (id(&[0xab; 4]), id(&[1; 4]), id(&[2; 4]));
        for copy in ["Ada", " ada\u{3000}", "ADA\u{200d}", "Ada\u{fe0f}"] {
            let people = people(&[(host, "Ada"), (guest, copy), (ben, "Ben")]);
            assert_eq!(people.label(&host, "Ada"), "Ada (abababab)", "{copy:?}");
            assert_eq!(people.label(&guest, copy), format!("{} (01010101)", tidy(copy)));
            assert_eq!(people.label(&ben, "Ben"), "Ben");
        }
        let people = people(&[(host, "Ada"), (ben, "Ben")]);
        assert_eq!(people.label(&host, "Ada"), "Ada");
        assert_eq!(people.label(&guest, "Ada"), "Ada (01010101)", "a peer that isn't listed yet");
        assert_eq!(people.label(&ben, "Ada"), "Ada (02020202)", "a listed peer under another name");
        assert_eq!(
            (people.label_of(&ben), people.label_of(&guest)),
            ("Ben".to_owned(), "01010101".to_owned())
        );
    }

    #[test]
    fn a_name_cannot_pass_for_one_with_an_id_nor_for_no_name() {
        let (host, guest) = (id(&[0xab; 4]), id(&[1; 4]));
        let people = people(&[(host, "Ada"), (guest, "Ada (abababab)")]);
        assert_eq!(people.label(&guest, "Ada (abababab)"), "Ada (abababab) (01010101)");
        assert_eq!(people.label(&guest, ""), "(no name) (01010101)");
        assert_eq!(people.label(&guest, "\u{200d}"), "(no name) (01010101)");
        assert_eq!(mixer(&people.label(&host, "Ada"), true), "Ada");
        assert_eq!(mixer(&people.label(&guest, "ada"), false), "ada (01010101), a guest");
    }

    #[test]
    fn names_look_alike_in_either_case_of_the_common_alphabets() {
        for name in
            ["Ada", "ÉLODIE Ößling", "Łukasz Žižka", "Αθηνά Ωμέγα", "Ђорђе", "Анна Ёлкина Ґ", "Nguyễn Thị Ấn"]
        {
            assert_eq!(look(&name.to_uppercase().replace("SS", "ß")), look(&name.to_lowercase()), "{name}");
        }
        assert_ne!(look("Ada"), look("Eda"));
    }

    #[test]
    fn that_a_guest_mixes_is_said_however_many_mixers_there_are() {
        let all = |named: &[bool]| {
            let named = named.iter().enumerate().map(|(at, named)| (format!("M{at}"), *named));
            mixers(&named.collect::<Vec<_>>())
        };
        assert_eq!(all(&[true]), "M0");
        assert_eq!(all(&[false, true]), "M0, a guest and M1");
        assert_eq!(all(&[true; 8]), "M0 and M1 and M2 and 5 more");
        assert_eq!(all(&[true, true, true, true, false]), "M0 and M1 and M2 and 2 more, guests among them");
    }
}
