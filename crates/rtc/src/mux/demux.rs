//! Which link a datagram at a shared port belongs to, without IO.
//!
//! A connectivity check names the link by its user fragment, and the answer to one by its transaction. DTLS and media
//! go by the sender's address, to the link in which a check to that address was answered. An incoming check gives a
//! link no address: the sender of a UDP datagram may be forged, and a linked peer could take another one's datagrams.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;

use plenary_proto::message::{CANDIDATES_MAX, FURTHER_CANDIDATES_MAX};

use crate::socket::{Check, Class, TransactionId};

/// Maximum number of unanswered checks that are remembered for one link: those of 60 pairs of addresses in a round trip
/// of 80 ms. Newer ones replace older ones, which are sent again anyway.
const CHECKS_MAX: usize = 256;
/// Maximum number of told addresses that are remembered for one link: as many as a description and one `Paths` have.
const TOLD_MAX: usize = CANDIDATES_MAX + FURTHER_CANDIDATES_MAX;

/// Maximum number of user fragments of one link: the one in use, and that of an ICE restart under way.
const UFRAGS_MAX: usize = 2;

/// Number of a link at a shared port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key(u64);

/// The links at one shared port.
#[derive(Debug)]
pub(crate) struct Demux<T> {
    links: HashMap<Key, Entry<T>>,
    fragments: HashMap<String, Key>,
    addresses: HashMap<SocketAddr, Key>,
    /// The checks and questions under way, with their destinations.
    transactions: HashMap<TransactionId, (Key, SocketAddr)>,
    next: u64,
}

#[derive(Debug)]
struct Entry<T> {
    inbox: T,
    /// User fragments of this end: of its description, and of its last ICE restarts.
    ufrags: VecDeque<String>,
    /// Addresses of the other end: candidates of its description, and sources of its checks.
    remotes: Vec<SocketAddr>,
    asked: VecDeque<TransactionId>,
}

impl<T> Default for Demux<T> {
    fn default() -> Demux<T> {
        Demux {
            links: HashMap::new(),
            fragments: HashMap::new(),
            addresses: HashMap::new(),
            transactions: HashMap::new(),
            next: 0,
        }
    }
}

impl<T> Demux<T> {
    /// Adds a link by the user fragment of this end.
    pub(crate) fn add(&mut self, ufrag: &str, inbox: T) -> Key {
        self.next += 1;
        let key = Key(self.next);
        let ufrags = VecDeque::from([ufrag.to_owned()]);
        let entry = Entry { inbox, ufrags, remotes: Vec::new(), asked: VecDeque::new() };
        self.links.insert(key, entry);
        self.fragments.insert(ufrag.to_owned(), key);
        key
    }

    pub(crate) fn remove(&mut self, key: Key) {
        let Some(gone) = self.links.remove(&key) else { return };
        for ufrag in gone.ufrags {
            if self.fragments.get(&ufrag) == Some(&key) {
                self.fragments.remove(&ufrag);
            }
        }
        for address in gone.remotes {
            if self.addresses.get(&address) == Some(&key) {
                self.addresses.remove(&address);
            }
        }
        for transaction in gone.asked {
            self.transactions.remove(&transaction);
        }
    }

    /// A link has a further user fragment at this end.
    pub(crate) fn also(&mut self, key: Key, ufrag: &str) {
        let Some(link) = self.links.get_mut(&key) else { return };
        link.ufrags.push_back(ufrag.to_owned());
        self.fragments.insert(ufrag.to_owned(), key);
        if link.ufrags.len() > UFRAGS_MAX
            && let Some(oldest) = link.ufrags.pop_front()
        {
            self.fragments.remove(&oldest);
        }
    }

    /// The other end of a link has told these addresses.
    pub(crate) fn told(&mut self, key: Key, addresses: impl Iterator<Item = SocketAddr>) {
        if let Some(link) = self.links.get_mut(&key) {
            let room = TOLD_MAX.saturating_sub(link.remotes.len());
            link.remotes.extend(addresses.take(room));
        }
    }

    /// Whether any link already leads to one of these remote addresses. A second link there would share both ports with
    /// the first one.
    pub(crate) fn knows_any(&self, addresses: &[SocketAddr]) -> bool {
        self.links.values().any(|link| link.remotes.iter().any(|remote| addresses.contains(remote)))
    }

    /// The link sends a datagram: the answer to a check, or of a STUN server, is for the link.
    pub(crate) fn sent(&mut self, key: Key, datagram: &[u8], to: SocketAddr) {
        let Some((Check::Request | Check::Question, transaction)) = Check::of(datagram) else { return };
        let Some(link) = self.links.get_mut(&key) else { return };
        if link.asked.len() >= CHECKS_MAX
            && let Some(oldest) = link.asked.pop_front()
        {
            self.transactions.remove(&oldest);
        }
        link.asked.push_back(transaction);
        self.transactions.insert(transaction, (key, to));
    }

    /// The other end of a link has answered a check from this address. Returns the inbox of the link that had the
    /// address before, and receives nothing more from it.
    pub(crate) fn learned(&mut self, key: Key, address: SocketAddr) -> Option<&T> {
        self.links.get_mut(&key)?.remotes.push(address);
        let before = self.addresses.insert(address, key).filter(|before| *before != key)?;
        self.links.get(&before).map(|link| &link.inbox)
    }

    /// Returns the inbox that a datagram goes to; `None` for one that belongs to no link.
    pub(crate) fn route(&mut self, datagram: &[u8], from: SocketAddr) -> Option<&T> {
        let key = match (Class::of(datagram), Check::of(datagram)) {
            (Class::Check, Some((Check::Request, _))) => *self.fragments.get(fragment(datagram)?)?,
            (Class::Check, Some((Check::Response, transaction))) => {
                let (key, _) = *self.transactions.get(&transaction).filter(|(_, to)| *to == from)?;
                self.transactions.remove(&transaction);
                if let Some(link) = self.links.get_mut(&key) {
                    link.asked.retain(|asked| *asked != transaction);
                }
                key
            }
            (Class::Check, Some((Check::Question, _)) | None) => return None,
            (Class::Dtls | Class::Media | Class::Tunnel, _) => *self.addresses.get(&from)?,
        };
        self.links.get(&key).map(|link| &link.inbox)
    }
}

/// Returns this end's user fragment in a connectivity check: the first part of the attribute USERNAME (RFC 8445,
/// 7.2.2). The link checks the credentials.
fn fragment(check: &[u8]) -> Option<&str> {
    const HEADER_LEN: usize = 20;
    const USERNAME: u16 = 0x0006;
    let mut attributes = check.get(HEADER_LEN..)?;
    while let Some((head, rest)) = attributes.split_first_chunk::<4>() {
        let (kind, len) = (u16::from_be_bytes([head[0], head[1]]), u16::from_be_bytes([head[2], head[3]]));
        let value = rest.get(..usize::from(len))?;
        if kind == USERNAME {
            return std::str::from_utf8(value).ok()?.split_once(':').map(|(own, _)| own);
        }
        attributes = rest.get(usize::from(len).next_multiple_of(4)..)?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(port: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], port))
    }

    /// A STUN message with an attribute SOFTWARE and perhaps a user name.
    fn stun(kind: [u8; 2], transaction: u8, username: Option<&str>) -> Vec<u8> {
        let mut message = [&kind[..], &[0, 0, 0x21, 0x12, 0xa4, 0x42], &[transaction; 12]].concat();
        for (attribute, value) in [(0x8022_u16, Some("abc")), (0x0006, username)] {
            if let Some(value) = value {
                message.extend(attribute.to_be_bytes());
                message.extend((value.len() as u16).to_be_bytes());
                message.extend(value.as_bytes());
                message.resize(message.len().next_multiple_of(4), 0);
            }
        }
        message
    }

    fn routed(demux: &mut Demux<char>, datagram: &[u8], from: SocketAddr) -> Option<char> {
        demux.route(datagram, from).copied()
    }

    const REQUEST: [u8; 2] = [0, 1];
    const RESPONSE: [u8; 2] = [1, 1];
    const MEDIA: [u8; 2] = [0x80, 102];

    #[test]
    fn a_check_goes_to_the_link_that_it_names_and_an_answer_to_the_asker() {
        let mut demux = Demux::default();
        let (one, other) = (demux.add("aaaa", 'a'), demux.add("bbbb", 'b'));
        demux.sent(one, &stun(REQUEST, 1, Some("far:aaaa")), at(1));
        demux.sent(other, &stun(REQUEST, 2, Some("far:bbbb")), at(1));
        assert_eq!(routed(&mut demux, &stun(REQUEST, 9, Some("aaaa:far")), at(1)), Some('a'));
        assert_eq!(routed(&mut demux, &stun(REQUEST, 9, Some("bbbb:far")), at(1)), Some('b'));
        assert_eq!(
            routed(&mut demux, &stun(RESPONSE, 2, None), at(2)),
            None,
            "from elsewhere than it was asked"
        );
        assert_eq!(routed(&mut demux, &stun(RESPONSE, 2, None), at(1)), Some('b'));
        assert_eq!(routed(&mut demux, &stun(RESPONSE, 2, None), at(1)), None, "a second time");
        assert_eq!(routed(&mut demux, &stun(RESPONSE, 1, None), at(1)), Some('a'));
    }

    #[test]
    fn media_goes_to_the_link_whose_other_end_has_shown_the_address() {
        let mut demux = Demux::default();
        let (one, other) = (demux.add("aaaa", 'a'), demux.add("bbbb", 'b'));
        demux.told(one, [at(1)].into_iter());
        assert_eq!(routed(&mut demux, &MEDIA, at(1)), None, "told is not shown");
        assert_eq!(demux.learned(one, at(1)), None);
        assert_eq!(demux.learned(other, at(2)), None);
        assert_eq!(
            (routed(&mut demux, &MEDIA, at(1)), routed(&mut demux, &MEDIA, at(2))),
            (Some('a'), Some('b'))
        );
        assert_eq!(demux.learned(other, at(1)).copied(), Some('a'), "a peer that has started again");
        assert_eq!(routed(&mut demux, &MEDIA, at(1)), Some('b'));
        demux.remove(one);
        assert_eq!(routed(&mut demux, &MEDIA, at(1)), Some('b'), "not the one before it");
        demux.remove(other);
        assert_eq!((routed(&mut demux, &MEDIA, at(1)), demux.knows_any(&[at(1), at(2)])), (None, false));
        assert!(demux.fragments.is_empty() && demux.addresses.is_empty() && demux.transactions.is_empty());
    }

    #[test]
    fn a_second_link_with_the_same_end_is_known_by_its_candidates() {
        let mut demux = Demux::default();
        let one = demux.add("aaaa", 'a');
        assert!(!demux.knows_any(&[at(1)]));
        demux.told(one, [at(1)].into_iter());
        assert!(demux.knows_any(&[at(7), at(1)]) && !demux.knows_any(&[at(7)]));
        for first in 1..100 {
            demux.told(one, (first..first + 10).map(at));
        }
        assert_eq!(demux.links[&one].remotes.len(), TOLD_MAX);
    }

    #[test]
    fn checks_without_answers_are_forgotten() {
        let mut demux = Demux::default();
        let one = demux.add("aaaa", 'a');
        for number in 0..2_000_u16 {
            let mut check = stun(REQUEST, 1, Some("far:aaaa"));
            check[8..10].copy_from_slice(&number.to_be_bytes());
            demux.sent(one, &check, at(1));
        }
        assert_eq!((demux.transactions.len(), demux.links[&one].asked.len()), (CHECKS_MAX, CHECKS_MAX));
        demux.remove(one);
        assert!(demux.transactions.is_empty());
    }

    #[test]
    fn what_belongs_to_no_link_goes_nowhere() {
        let mut demux = Demux::default();
        let one = demux.add("aaaa", 'a');
        demux.learned(one, at(1));
        let long = stun(REQUEST, 1, Some(&"a".repeat(600)));
        let mut cut = stun(REQUEST, 1, Some("aaaa:far"));
        cut.truncate(38);
        for datagram in [
            Vec::new(),
            vec![0],
            stun(REQUEST, 1, None),
            stun(REQUEST, 1, Some("cccc:far")),
            stun(REQUEST, 1, Some("aaaa")),
            stun(RESPONSE, 1, Some("aaaa:far")),
            stun([0, 0x11], 1, Some("aaaa:far")),
            long,
            cut,
        ] {
            assert_eq!(routed(&mut demux, &datagram, at(1)), None, "{datagram:?}");
        }
        for class in [MEDIA, [22, 254]] {
            assert_eq!(
                (routed(&mut demux, &class, at(1)), routed(&mut demux, &class, at(2))),
                (Some('a'), None)
            );
        }
    }
}
