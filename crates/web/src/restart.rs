//! ICE restarts of a page's links: its browser describes its end anew, and gathers and checks by itself, while the link
//! goes on by its present path.

use std::time::Duration;

use plenary_proto::link_layout::{DescriptionError, Role};
use plenary_proto::message::{Description, IceRestart, LinkKind, Setup};
use plenary_proto::restart::{Negotiation, Taken, Told};
use plenary_proto::sdp::{OwnEnd, restart_sdp};

/// What the other end's part of a restart asks of this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// Nothing.
    Nothing,
    /// The browser answers this SDP.
    Describe(String),
    /// The browser completes its restart with this SDP.
    Accept(String),
    /// This end's part is told again.
    Tell(Box<IceRestart>),
}

/// An ICE restart of a link that is up.
#[derive(Clone, Debug)]
pub(crate) enum Restart {
    /// The browser describes its end, to ask for a restart, or to answer this request of the other end.
    Describing(Option<Box<IceRestart>>),
    /// The ends negotiate. The browser has described its end so.
    Negotiating(Negotiation<Duration>, Box<OwnEnd>),
}

/// Both ends of a link, as they were described when it was made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ends<'a> {
    pub(crate) own: &'a OwnEnd,
    pub(crate) other: &'a Description,
}

impl Ends<'_> {
    pub(crate) fn role(&self) -> Role {
        if self.own.description.setup.is_offer() { Role::Offer } else { Role::Answer }
    }

    /// Returns the other end's DTLS role, which stays. If the offer of a restart left the role open, Firefox would take
    /// another one, and end the link.
    fn setup(&self) -> Setup {
        match (self.other.setup.is_offer(), self.own.description.setup) {
            (false, _) => self.other.setup,
            (true, Setup::Passive) => Setup::Active,
            (true, _) => Setup::Passive,
        }
    }

    /// Returns the other end's request as an SDP offer. Payload types and header extensions are those of the link.
    fn request(&self, told: &IceRestart) -> Result<String, DescriptionError> {
        let offered = (self.role() == Role::Offer).then_some(self.own);
        restart_sdp(LinkKind::Peer, self.other, (told, self.setup()), offered)
    }

    /// Returns the SDP of the other end as an answer to this one's, `own`.
    fn answer(&self, own: &OwnEnd, told: &IceRestart) -> Result<String, DescriptionError> {
        restart_sdp(LinkKind::Peer, self.other, (told, self.setup()), Some(own))
    }
}

impl Restart {
    /// Judges the other end's part of a restart, by this end's own if there is one, and begins or goes on with it.
    ///
    /// # Errors
    /// No browser takes it.
    pub(crate) fn told(
        (own, taken): (&mut Option<Restart>, &mut Taken),
        now: Duration,
        ends: Ends<'_>,
        told: Box<IceRestart>,
    ) -> Result<Then, DescriptionError> {
        let negotiation = match own {
            // a request that meets one's own counts if the offering end makes it; others come again
            Some(Restart::Describing(request)) if request.is_some() || ends.role() == Role::Offer => {
                return Ok(Then::Nothing);
            }
            Some(Restart::Negotiating(negotiation, _)) => Some(&*negotiation),
            Some(Restart::Describing(_)) | None => None,
        };
        let link_ufrag = &ends.own.description.ufrag;
        match Negotiation::judge(negotiation, taken, ends.role(), link_ufrag, &told) {
            Told::Nothing => {}
            Told::Begin => {
                let sdp = ends.request(&told)?;
                *own = Some(Restart::Describing(Some(told)));
                return Ok(Then::Describe(sdp));
            }
            Told::Start => {
                if let Some(Restart::Negotiating(negotiation, described)) = own {
                    negotiation.start(now, &told);
                    return Ok(Then::Accept(ends.answer(described, &told)?));
                }
            }
            Told::Answer => {
                if let Some(Restart::Negotiating(negotiation, _)) = own {
                    return Ok(Then::Tell(Box::new(negotiation.told(&ends.other.ufrag))));
                }
            }
        }
        Ok(Then::Nothing)
    }

    /// The browser has described its end for the restart that it was asked for. Returns this end's answer for the other
    /// end; a request is due at once ([`Restart::due`]). A description of an overtaken restart has another role, and is
    /// dropped.
    pub(crate) fn described(
        &mut self,
        now: Duration,
        ends: Ends<'_>,
        own: OwnEnd,
    ) -> Option<Box<IceRestart>> {
        let Restart::Describing(request) = self else { return None };
        if own.description.setup.is_offer() != request.is_none() {
            return None;
        }
        let Description { ufrag, pwd, candidates, .. } = &own.description;
        let mut negotiation = Negotiation::new(now, (ufrag, pwd), candidates.clone(), request.is_none());
        if let Some(request) = request {
            negotiation.start(now, request);
        }
        let part = request.is_some().then(|| Box::new(negotiation.told(&ends.other.ufrag)));
        *self = Restart::Negotiating(negotiation, Box::new(own));
        part
    }

    /// Returns the request that is due at the other end.
    pub(crate) fn due(&mut self, now: Duration, ends: Ends<'_>) -> Option<Box<IceRestart>> {
        let Restart::Negotiating(negotiation, _) = self else { return None };
        negotiation.is_ask_due(now).then(|| Box::new(negotiation.told(&ends.other.ufrag)))
    }

    /// An unanswered request is due again: the rendezvous is connected again.
    pub(crate) fn ask_again(&mut self, now: Duration) {
        if let Restart::Negotiating(negotiation, _) = self {
            negotiation.ask_again(now);
        }
    }

    /// Whether the restart has ended without a path, or its time has passed.
    pub(crate) fn is_over(&self, now: Duration) -> bool {
        matches!(self, Restart::Negotiating(negotiation, _) if negotiation.is_over(now))
    }

    /// Whether the browser has described its end.
    pub(crate) fn is_described(&self) -> bool {
        matches!(self, Restart::Negotiating(..))
    }

    /// Returns the user fragment of the other end's part, once that has come.
    pub(crate) fn other_ufrag(&self) -> Option<&str> {
        match self {
            Restart::Describing(request) => request.as_ref().map(|request| &*request.ufrag),
            Restart::Negotiating(negotiation, _) => negotiation.other_ufrag(),
        }
    }
}

#[cfg(test)]
mod tests {
    use plenary_proto::bounded::{List, Text};
    use plenary_proto::message::Candidate;
    use plenary_proto::sdp::describe;

    use super::*;

    const CHROMIUM: &str = include_str!("../../proto/tests/golden/chromium-156-offer.sdp");
    const AT: Duration = Duration::from_secs(9);

    /// A page's end as its browser describes it, with these credentials.
    fn described(ufrag: &str, setup: Setup) -> OwnEnd {
        let mut own = describe(CHROMIUM).unwrap();
        own.description.ufrag = Text::truncated(ufrag);
        own.description.setup = setup;
        own.description.candidates = List::truncated([Candidate::Host(([192, 0, 2, 1], 7).into())]);
        own
    }

    fn native(ufrag: &str, setup: Setup) -> Description {
        let browser = None;
        Description { browser, payload_types: None, ..described(ufrag, setup).description }
    }

    /// The native end's part of a restart.
    fn part(answers: Option<&str>, ufrag: &str) -> Box<IceRestart> {
        Box::new(IceRestart {
            kind: LinkKind::Peer,
            link_ufrag: Text::truncated("page"),
            answers: answers.map(Text::truncated),
            ufrag: Text::truncated(ufrag),
            pwd: Text::truncated("a/password/of/22/letters"),
            candidates: List::truncated([Candidate::Host(([198, 51, 100, 1], 9).into())]),
        })
    }

    /// Both roles: the page offered the link, or answered.
    fn roles() -> [(OwnEnd, Description); 2] {
        [
            (described("page", Setup::ActPass), native("peer", Setup::ActiveLite)),
            (described("page", Setup::Active), native("peer", Setup::ActPassLite)),
        ]
    }

    fn has(sdp: &str, lines: &[&str]) -> bool {
        lines.iter().all(|line| sdp.lines().any(|found| found == *line))
    }

    #[test]
    fn a_page_asks_until_it_is_answered_and_its_browser_gets_the_answer() {
        for ((own, other), setup) in roles().into_iter().zip(["a=setup:active", "a=setup:passive"]) {
            let ends = Ends { own: &own, other: &other };
            let mut restart = Some(Restart::Describing(None));
            let asks = restart.as_mut().unwrap();
            assert_eq!(asks.due(AT, ends), None, "the browser gathers");
            assert_eq!(asks.described(AT, ends, described("anew", Setup::ActPass)), None);
            let told = asks.due(AT, ends).unwrap();
            assert_eq!((&*told.link_ufrag, &*told.ufrag, told.answers), ("peer", "anew", None));
            assert_eq!(asks.due(AT, ends), None);
            assert!(asks.due(AT + Duration::from_millis(300), ends).is_some());
            asks.ask_again(AT);
            assert!(asks.due(AT, ends).is_some(), "by the rendezvous that is connected again");
            let then = Restart::told(
                (&mut restart, &mut Taken::default()),
                AT,
                ends,
                part(Some("else"), "peeranew"),
            )
            .unwrap();
            assert_eq!(then, Then::Nothing, "the answer to another one");
            let then = Restart::told(
                (&mut restart, &mut Taken::default()),
                AT,
                ends,
                part(Some("anew"), "peeranew"),
            )
            .unwrap();
            let Then::Accept(sdp) = then else { panic!("{then:?}") };
            let lines = ["a=ice-lite", setup, "a=ice-ufrag:peeranew", "a=msid:s0 peer0"];
            assert!(has(&sdp, &lines), "{setup}: {sdp}");
            assert!(sdp.contains("198.51.100.1 9 typ host") && !sdp.contains("a=setup:actpass"));
            let restart = restart.as_mut().unwrap();
            assert_eq!(
                (restart.due(AT + Duration::from_secs(1), ends), restart.other_ufrag()),
                (None, Some("peeranew"))
            );
            assert!(!restart.is_over(AT) && restart.is_over(AT + Duration::from_secs(6)));
        }
    }

    #[test]
    fn a_page_answers_a_restart_of_the_other_end_and_answers_again() {
        for ((own, other), setup) in roles().into_iter().zip(["a=setup:active", "a=setup:passive"]) {
            let ends = Ends { own: &own, other: &other };
            let mut restart = None;
            let then = Restart::told((&mut restart, &mut Taken::default()), AT, ends, part(None, "peeranew"))
                .unwrap();
            let Then::Describe(sdp) = then else { panic!("{then:?}") };
            assert!(has(&sdp, &[setup, "a=ice-ufrag:peeranew", "a=msid:s0 peer0", "a=ice-lite"]), "{sdp}");
            let begun = restart.as_mut().unwrap();
            assert_eq!(begun.other_ufrag(), Some("peeranew"), "whose further candidates may come at once");
            assert_eq!(
                begun.described(AT, ends, described("late", Setup::ActPass)),
                None,
                "of an overtaken one"
            );
            let told = begun.described(AT, ends, described("anew", Setup::Active)).unwrap();
            assert_eq!((&*told.ufrag, told.answers.as_deref()), ("anew", Some("peeranew")));
            assert_eq!(begun.due(AT, ends), None);
            let then = Restart::told((&mut restart, &mut Taken::default()), AT, ends, part(None, "peeranew"))
                .unwrap();
            assert_eq!(then, Then::Tell(told));
            let then =
                Restart::told((&mut restart, &mut Taken::default()), AT, ends, part(None, "peerlater"))
                    .unwrap();
            assert!(matches!(then, Then::Describe(_)), "the other end has moved once more");
        }
    }

    #[test]
    fn of_two_requests_at_once_the_offering_end_s_counts_at_a_page_too() {
        for (own, other) in roles() {
            let ends = Ends { own: &own, other: &other };
            let offers = ends.role() == Role::Offer;
            let mut describing = Some(Restart::Describing(None));
            let mut asking = describing.clone();
            asking.as_mut().unwrap().described(AT, ends, described("anew", Setup::ActPass));
            for restart in [&mut describing, &mut asking] {
                let then = Restart::told((restart, &mut Taken::default()), AT, ends, part(None, "peeranew"))
                    .unwrap();
                assert_eq!(then == Then::Nothing, offers, "the page offered: {offers}");
            }
        }
    }

    #[test]
    fn a_part_that_no_link_accepts_reaches_no_browser() {
        let [(own, other), _] = roles();
        let ends = Ends { own: &own, other: &other };
        let injected = IceRestart { ufrag: Text::truncated("x\r\na=setup:active"), ..*part(None, "peer") };
        let mut restart = None;
        assert!(
            Restart::told((&mut restart, &mut Taken::default()), AT, ends, Box::new(injected)).is_err()
                && restart.is_none()
        );
        let other_link = IceRestart { link_ufrag: Text::truncated("else"), ..*part(None, "peeranew") };
        assert_eq!(
            Restart::told((&mut restart, &mut Taken::default()), AT, ends, Box::new(other_link)),
            Ok(Then::Nothing)
        );
    }
}
