//! ICE restarts of a link that is up (RFC 8445, 2.4): another ICE agent, with credentials of its own, looks for a path,
//! while the link goes on by the present one. DTLS, SRTP and SCTP know nothing of it. What the ends tell each other is
//! [`Negotiation`]'s.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use plenary_proto::bounded::List;
use plenary_proto::link_layout::Role;
use plenary_proto::message::{CANDIDATES_MAX, Candidate, IceRestart};
use plenary_proto::restart::Negotiation;
use rtc::ice::Agent;
use rtc::sansio::Protocol as _;
use rtc::shared::error::Result;

use crate::agent::{add_tunnel, ice_candidate, new_agent};
use crate::credentials::Credentials;
use crate::path::Checked;
use crate::screen::Paths;

/// Interval at which the direct way is tried again where a link takes a detour. A guess.
pub(crate) const RETRY_DIRECT_EACH: Duration = Duration::from_secs(300);

/// An ICE restart under way at one end.
pub(crate) struct Restart {
    pub(crate) agent: Agent,
    /// Addresses of the other end, as checks with the restart's credentials have shown them.
    pub(crate) paths: Paths,
    pub(crate) checked: Checked,
    pub(crate) negotiation: Negotiation<Instant>,
}

impl Restart {
    /// Begins a restart with these addresses of this end. `by_tunnel`: the tunnels of the link count, too.
    pub(crate) fn new(
        now: Instant,
        (role, is_lite): (Role, bool),
        credentials: &Credentials,
        (ufrag, pwd): (String, String),
        (addresses, by_tunnel): (impl Iterator<Item = SocketAddr>, bool),
        (candidates, asks): (List<Candidate, CANDIDATES_MAX>, bool),
    ) -> Result<Restart> {
        let mut agent = new_agent(now, (role, is_lite), credentials, (&ufrag, &pwd), addresses)?;
        if by_tunnel {
            add_tunnel(&mut agent)?;
        }
        let paths = Paths::new(credentials.provider.clone(), (&ufrag, &pwd));
        let negotiation = Negotiation::new(now, (&ufrag, &pwd), candidates, asks);
        Ok(Restart { agent, paths, checked: Checked::default(), negotiation })
    }

    pub(crate) fn poll_timeout(&mut self) -> Option<Instant> {
        self.agent.poll_timeout().into_iter().chain([self.negotiation.next_timeout()]).min()
    }

    /// Begins to check the other end's candidates.
    pub(crate) fn start(
        &mut self,
        now: Instant,
        is_controlling: bool,
        other: &IceRestart,
        own: &[IpAddr],
    ) -> Result<()> {
        for (index, candidate) in (0..).zip(self.checked.of_description(&other.candidates, own)) {
            self.agent.add_remote_candidate(ice_candidate(&candidate, index)?)?;
        }
        let (ufrag, pwd) = (other.ufrag.to_string(), other.pwd.to_string());
        self.paths.start(&ufrag, &pwd);
        self.negotiation.start(now, other);
        self.agent.start_connectivity_checks(now, is_controlling, ufrag, pwd)
    }
}

#[cfg(test)]
mod tests {
    use plenary_proto::app::Way;
    use plenary_proto::bounded::Text;
    use plenary_proto::restart::Told;

    use super::*;
    use crate::ends::{End, pair};
    use crate::seam::Channel;
    use crate::transport::TransportEvent;

    /// Carries datagrams between the present addresses of two ends; others are lost. Returns the restarts that the ends
    /// asked for.
    fn run(a: &mut End, b: &mut End, now: &mut Instant, ms: u64) -> usize {
        let mut asked = 0;
        for _ in 0..ms / 5 {
            for _ in 0..8 {
                a.transport.collect(*now, true, &mut a.outgoing);
                while let Some(datagram) = a.outgoing.pop_front() {
                    let (from, to) = (datagram.transport.local_addr, datagram.transport.peer_addr);
                    if from == a.address && to == b.address {
                        let _ = b.take(*now, from, &datagram.message);
                    }
                }
                std::mem::swap(a, b);
            }
            *now += Duration::from_millis(5);
            for end in [&mut *a, &mut *b] {
                end.transport.handle_timeout(*now).unwrap();
                end.events.extend(std::iter::from_fn(|| end.transport.poll_event()));
                asked += end.events.iter().filter(|event| **event == TransportEvent::RestartAsked).count();
                end.events.retain(|event| *event != TransportEvent::RestartAsked);
            }
        }
        asked
    }

    /// The end has another address from now on, and begins a restart.
    fn begin(end: &mut End, now: Instant, ufrag: &str, asks: bool) {
        let candidates = List::truncated([Candidate::Host(end.address)]);
        let credentials = (ufrag.to_owned(), "a password of 22 letters".to_owned());
        end.transport.begin_restart(now, credentials, (&[end.address], &[]), (candidates, asks)).unwrap();
    }

    fn connected() -> (End, End, Instant) {
        let mut now = Instant::now();
        let (mut a, mut b) = pair(now);
        run(&mut a, &mut b, &mut now, 150);
        assert_eq!(a.events, [TransportEvent::Opened]);
        (a, b, now)
    }

    fn speaks(a: &mut End, b: &mut End, now: &mut Instant) -> bool {
        let word = bytes::Bytes::from_static(b"a word");
        a.transport.send(*now, Channel::Control, &word).unwrap();
        run(a, b, now, 40);
        b.transport.read() == Some((Channel::Control, word))
    }

    #[test]
    fn a_link_goes_on_from_another_address_of_either_end() {
        for moves_first in [true, false] {
            let (mut a, mut b, mut now) = connected();
            if !moves_first {
                std::mem::swap(&mut a, &mut b);
            }
            assert!(speaks(&mut a, &mut b, &mut now));
            a.address.set_port(5_003);
            begin(&mut a, now, "restart-a", true);
            assert!(run(&mut a, &mut b, &mut now, 100) > 0, "the other end is to be asked");
            let told = a.transport.restart_told().unwrap();
            assert_eq!(b.transport.judge_restart(&told), Told::Begin);
            begin(&mut b, now, "restart-b", false);
            b.transport.start_restart(now, &told).unwrap();
            let answer = b.transport.restart_told().unwrap();
            assert_eq!(a.transport.judge_restart(&answer), Told::Start);
            a.transport.start_restart(now, &answer).unwrap();
            run(&mut a, &mut b, &mut now, 100);
            for end in [&a, &b] {
                assert_eq!(
                    end.events.last(),
                    Some(&TransportEvent::Moved),
                    "the first one moves: {moves_first}"
                );
                assert_eq!(end.transport.goes_by(), Some((end.address, Way::Direct)));
            }
            assert!(speaks(&mut a, &mut b, &mut now) && speaks(&mut b, &mut a, &mut now));
            // the consent of the path that is left has nothing to say any more
            run(&mut a, &mut b, &mut now, 8_000);
            assert!(!a.events.contains(&TransportEvent::Lost) && speaks(&mut a, &mut b, &mut now));
        }
    }

    #[test]
    fn an_end_that_moves_is_followed_before_the_other_knows_of_a_restart() {
        for offering_moves in [true, false] {
            let (mut a, mut b, mut now) = connected();
            if !offering_moves {
                std::mem::swap(&mut a, &mut b);
            }
            run(&mut a, &mut b, &mut now, 2_100);
            a.address.set_port(5_003);
            begin(&mut a, now, "restart-a", true);
            run(&mut a, &mut b, &mut now, 20);
            assert_eq!(a.transport.goes_by(), Some((a.address, Way::Direct)), "offers: {offering_moves}");
            assert!(
                a.events.contains(&TransportEvent::Migrated) && b.events.contains(&TransportEvent::Migrated)
            );
            assert!(speaks(&mut a, &mut b, &mut now) && speaks(&mut b, &mut a, &mut now));
        }
    }

    #[test]
    fn a_forged_or_replayed_check_moves_no_link() {
        let (mut a, mut b, mut now) = connected();
        run(&mut a, &mut b, &mut now, 2_100);
        // a check with the link's credentials, sent on from elsewhere: nobody answers there
        a.transport.collect(now, false, &mut a.outgoing);
        let mut replayed = None;
        while replayed.is_none() {
            now += Duration::from_millis(50);
            a.transport.handle_timeout(now).unwrap();
            a.transport.collect(now, false, &mut a.outgoing);
            let is_check = |datagram: &bytes::BytesMut| datagram.starts_with(&[0, 1]);
            replayed = a.outgoing.drain(..).map(|sent| sent.message).find(is_check);
        }
        let elsewhere = SocketAddr::from(([192, 0, 2, 66], 6_666));
        b.take(now, elsewhere, &replayed.unwrap()).unwrap();
        b.take(now, elsewhere, &[0, 1, 0, 0]).unwrap();
        let (mut sent, peer) = (0, a.address);
        for _ in 0..100 {
            now += Duration::from_millis(10);
            b.transport.handle_timeout(now).unwrap();
            b.transport.collect(now, true, &mut b.outgoing);
            sent += b.outgoing.drain(..).filter(|sent| sent.transport.peer_addr == elsewhere).count();
        }
        assert!(sent <= 12, "an answer, a check of ICE, and ten of the migration: {sent}");
        assert!(!b.events.contains(&TransportEvent::Migrated) && peer == a.address);
    }

    #[test]
    fn a_restart_that_finds_nothing_leaves_the_link_alone() {
        let (mut a, mut b, mut now) = connected();
        begin(&mut a, now, "restart-a", true);
        let asked = run(&mut a, &mut b, &mut now, 4_500);
        assert_eq!(asked, 12, "and then no more");
        run(&mut a, &mut b, &mut now, 1_000);
        assert!(!a.transport.is_restarting());
        assert_eq!(a.events, [TransportEvent::Opened]);
        assert!(speaks(&mut a, &mut b, &mut now));
    }

    #[test]
    fn of_two_requests_at_once_the_offering_end_s_counts() {
        let (mut a, mut b, now) = connected();
        begin(&mut a, now, "restart-a", true);
        begin(&mut b, now, "restart-b", true);
        let (of_a, of_b) = (a.transport.restart_told().unwrap(), b.transport.restart_told().unwrap());
        assert_eq!(a.transport.judge_restart(&of_b), Told::Nothing);
        assert_eq!(b.transport.judge_restart(&of_a), Told::Begin);
        begin(&mut b, now, "restart-c", false);
        b.transport.start_restart(now, &of_a).unwrap();
        assert_eq!(b.transport.judge_restart(&of_a), Told::Answer, "once more");
        let answer = b.transport.restart_told().unwrap();
        assert_eq!(a.transport.judge_restart(&answer), Told::Start);
        let other = IceRestart { link_ufrag: Text::truncated("zzzz"), ..answer };
        assert_eq!(a.transport.judge_restart(&other), Told::Nothing, "of another link");
    }
}
