//! Connectivity checks (RFC 8445), and the addresses that the other end has shown to be its own by them.

use std::net::SocketAddr;
use std::sync::Arc;

use rtc::crypto::RTCCryptoProvider;
use rtc::stun::attributes::ATTR_USERNAME;
use rtc::stun::fingerprint::FINGERPRINT;
use rtc::stun::integrity::MessageIntegrity;
use rtc::stun::message::{
    BINDING_REQUEST, BINDING_SUCCESS, Message, MessageType, Setter as _, TransactionId,
};
use rtc::stun::textattrs::TextAttribute;

use super::Verdict;

/// Maximum number of addresses of the other end. The agent keeps a candidate, and checks, for each. A guess: the six of
/// its description, its two relays, and four that NATs give it, towards this end and towards this end's relays.
const ADDRESSES_MAX: usize = 12;

/// User fragment and password of one end of a link (RFC 8445, 5.3).
type Credentials = (String, String);

/// The addresses from which the other end was heard with the link's credentials.
///
/// The agent itself checks credentials after it has handled a conflict of roles, so that anybody could turn the roles
/// round.
pub(crate) struct Paths {
    provider: Arc<dyn RTCCryptoProvider>,
    own: Credentials,
    /// `None` until the other end's description is known.
    other: Option<Credentials>,
    /// Set after an ICE restart.
    described_ufrag: Option<String>,
    checked: Vec<SocketAddr>,
    /// Addresses that have answered a check, and the number of those already returned.
    answered: Vec<SocketAddr>,
    taken: usize,
}

impl Paths {
    pub(crate) fn new(provider: Arc<dyn RTCCryptoProvider>, (ufrag, pwd): (&str, &str)) -> Paths {
        Paths {
            provider,
            own: (ufrag.to_owned(), pwd.to_owned()),
            other: None,
            described_ufrag: None,
            checked: Vec::new(),
            answered: Vec::new(),
            taken: 0,
        }
    }

    /// The other end's credentials are known.
    pub(crate) fn start(&mut self, ufrag: &str, pwd: &str) {
        self.other = Some((ufrag.to_owned(), pwd.to_owned()));
    }

    /// Returns the user fragment of the other end, once its description is known.
    pub(crate) fn other_ufrag(&self) -> Option<&str> {
        self.other.as_ref().map(|(ufrag, _)| &**ufrag)
    }

    /// Returns a check of this end; `None` until the other end's credentials are known.
    pub(crate) fn request(&self, id: [u8; 12]) -> Option<Vec<u8>> {
        let ((own_ufrag, _), (other_ufrag, other_pwd)) = (&self.own, self.other.as_ref()?);
        let mut message = Message::new();
        (message.typ, message.transaction_id) = (BINDING_REQUEST, TransactionId(id));
        message.write_header();
        let username = format!("{other_ufrag}:{own_ufrag}");
        TextAttribute::new(ATTR_USERNAME, username).add_to(&mut message).ok()?;
        let crypto = self.provider.crypto();
        let integrity = MessageIntegrity::new_short_term_integrity_with_provider(other_pwd.clone(), crypto);
        integrity.add_to(&mut message).ok()?;
        FINGERPRINT.add_to(&mut message).ok()?;
        Some(message.raw)
    }

    /// Returns the user fragment of the other end's description: that of before any ICE restart.
    pub(crate) fn described_ufrag(&self) -> Option<&str> {
        self.described_ufrag.as_deref().or(self.other_ufrag())
    }

    /// Takes over what was known before an ICE restart: datagrams from there may still be under way.
    pub(crate) fn inherit(&mut self, before: Paths) {
        self.described_ufrag = before.described_ufrag().map(str::to_owned);
        let late = before.checked.into_iter().filter(|address| !self.checked.contains(address));
        let room = ADDRESSES_MAX.saturating_sub(self.checked.len() + 1);
        let late: Vec<SocketAddr> = late.take(room).collect();
        self.checked.extend(late);
    }

    /// Reads a check, or the answer to one, and notes where it came from. Other datagrams, and other credentials, are
    /// dropped.
    pub(crate) fn check(&mut self, datagram: &[u8], from: SocketAddr) -> Verdict {
        let is_known = self.knows(from);
        if !is_known && self.checked.len() >= ADDRESSES_MAX {
            return Verdict::Drop;
        }
        let Some(kind) = self.of_other_end(datagram) else { return Verdict::Drop };
        if kind == BINDING_SUCCESS && !self.answered.contains(&from) {
            self.answered.push(from);
        }
        if !is_known {
            self.checked.push(from);
        }
        Verdict::Pass
    }

    /// Returns the addresses from which the other end has answered its first check since the last call.
    pub(crate) fn take_answered(&mut self) -> Vec<SocketAddr> {
        let news = self.answered.get(self.taken..).unwrap_or_default().to_vec();
        self.taken = self.answered.len();
        news
    }

    /// Whether the other end was heard from this address.
    pub(crate) fn knows(&self, address: SocketAddr) -> bool {
        self.checked.contains(&address)
    }

    /// Returns the kind of a check or an answer that has the link's credentials.
    fn of_other_end(&self, datagram: &[u8]) -> Option<MessageType> {
        let (other_ufrag, other_pwd) = self.other.as_ref()?;
        let (own_ufrag, own_pwd) = &self.own;
        let mut message = Message::new();
        message.unmarshal_binary(datagram).ok()?;
        let pwd = match message.typ {
            BINDING_REQUEST => {
                let username = message.get(ATTR_USERNAME).ok()?;
                if username != format!("{own_ufrag}:{other_ufrag}").as_bytes() {
                    return None;
                }
                own_pwd
            }
            BINDING_SUCCESS => other_pwd,
            _ => return None,
        };
        MessageIntegrity::check(&mut message, pwd.as_bytes(), self.provider.crypto()).ok()?;
        Some(message.typ)
    }
}

#[cfg(test)]
mod tests {
    use rtc::stun::attributes::AttrType;

    use super::*;
    use crate::credentials;

    const ICE_CONTROLLED: AttrType = AttrType(0x8029);

    fn paths(provider: &Arc<dyn RTCCryptoProvider>) -> Paths {
        let mut paths = Paths::new(provider.clone(), ("own", "own pwd"));
        paths.start("other", "other pwd");
        paths
    }

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], port))
    }

    fn check(
        provider: &Arc<dyn RTCCryptoProvider>,
        typ: rtc::stun::message::MessageType,
        username: &str,
        pwd: Option<&str>,
    ) -> Vec<u8> {
        let mut message = Message::new();
        message.typ = typ;
        message.transaction_id = TransactionId([7; 12]);
        message.write_header();
        TextAttribute::new(ATTR_USERNAME, username.to_owned()).add_to(&mut message).unwrap();
        message.add(ICE_CONTROLLED, &[0; 8]);
        if let Some(pwd) = pwd {
            let crypto = provider.crypto();
            let integrity = MessageIntegrity::new_short_term_integrity_with_provider(pwd.to_owned(), crypto);
            integrity.add_to(&mut message).unwrap();
        }
        message.raw
    }

    #[test]
    fn a_check_without_the_link_s_credentials_counts_from_nowhere() {
        let provider = credentials::Credentials::generate().unwrap().provider;
        let mut paths = paths(&provider);
        let made = |typ, username, pwd| check(&provider, typ, username, pwd);
        for (at, forged) in [
            made(BINDING_REQUEST, "own:other", None),
            made(BINDING_REQUEST, "own:other", Some("other pwd")),
            made(BINDING_REQUEST, "other:own", Some("own pwd")),
            made(BINDING_SUCCESS, "", Some("own pwd")),
            made(BINDING_SUCCESS, "", None),
            Vec::new(),
            vec![0, 1, 0, 0],
        ]
        .into_iter()
        .enumerate()
        {
            assert_eq!(paths.check(&forged, address(1)), Verdict::Drop, "{at}");
            assert!(!paths.knows(address(1)), "{at}");
        }
        let genuine = made(BINDING_REQUEST, "own:other", Some("own pwd"));
        assert_eq!(paths.check(&genuine, address(1)), Verdict::Pass);
        assert_eq!(paths.check(&made(BINDING_SUCCESS, "", Some("other pwd")), address(2)), Verdict::Pass);
        assert!(paths.knows(address(1)) && paths.knows(address(2)) && !paths.knows(address(3)));
    }

    #[test]
    fn an_end_is_heard_from_twelve_addresses_at_most() {
        let provider = credentials::Credentials::generate().unwrap().provider;
        let mut paths = paths(&provider);
        let genuine = check(&provider, BINDING_REQUEST, "own:other", Some("own pwd"));
        let passed = (1..100).filter(|port| paths.check(&genuine, address(*port)) == Verdict::Pass).count();
        assert_eq!(passed, ADDRESSES_MAX);
        assert_eq!(paths.check(&genuine, address(8)), Verdict::Pass, "known ones go on");
        assert!(paths.take_answered().is_empty(), "checks alone show no address: theirs may be forged");
        assert_eq!(
            paths.check(&check(&provider, BINDING_SUCCESS, "", Some("other pwd")), address(8)),
            Verdict::Pass
        );
        assert_eq!((paths.take_answered(), paths.take_answered()), (vec![address(8)], vec![]));
    }
}
