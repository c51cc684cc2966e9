//! Attackers: peers that break the protocol to gain something, each a [`Deviation`].
//!
//! They sign with their own keys, and can't with others': whatever they say, receivers check as ever.

use std::collections::BTreeSet;
use std::sync::Arc;

use plenary_proto::message::{Attach, Message};
use plenary_proto::time::SECOND;
use plenary_proto::{CHILDREN_MAX, Input, Output, PeerId, Time, Verdict};
use serde::Deserialize;

use crate::deviation::{Deviation, Forwarding};
use crate::dice::SmallDice;
use crate::plan::{Kind, WorldPlan};
use crate::units::{Share, Span};
use crate::world::World;

/// What somebody is in the room for; written `drop`, `delay 300ms`, `forge`, `climb`, `ride-free`, `lie` or
/// `boast`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Attack {
    /// It takes children, tells them how far the program is, and passes nothing on.
    Drop,
    /// It passes the program on so much later, and tells how far it is itself.
    Delay(Span),
    /// It puts something else into what it forwards. Nothing in the protocol shows it to its children: hashes of
    /// frames, signed by the mixer, are laid down but nobody sends them (docs/PROTOCOL.md, 1.3).
    Forge,
    /// It says that it could feed more than anybody, and sooner, and passes nothing on ([`Climber`]).
    Climb,
    /// It takes the program and passes nothing on, as is everyone's right.
    RideFree,
    /// It lies for the others who do ([`Liar`]).
    Lie,
    /// It claims a quicker machine than it has ([`Boaster`]).
    Boast,
}

impl TryFrom<String> for Attack {
    type Error = String;

    fn try_from(text: String) -> Result<Attack, String> {
        match text.split_once(' ').unwrap_or((&text, "")) {
            ("drop", "") => Ok(Attack::Drop),
            ("delay", by) => Ok(Attack::Delay(Span::try_from(by.to_owned())?)),
            ("forge", "") => Ok(Attack::Forge),
            ("climb", "") => Ok(Attack::Climb),
            ("ride-free", "") => Ok(Attack::RideFree),
            ("lie", "") => Ok(Attack::Lie),
            ("boast", "") => Ok(Attack::Boast),
            _ => Err(format!("{text} is none of drop, delay 300ms, forge, climb, ride-free, lie, boast")),
        }
    }
}

/// A relay that harms those below it; to all others it is honest.
#[derive(Debug)]
pub struct FalseRelay(Forwarding);

impl FalseRelay {
    /// One that attacks so; `None`: no relay is needed for that.
    pub fn of(attack: Attack) -> Option<FalseRelay> {
        match attack {
            Attack::Drop => Some(FalseRelay(Forwarding::Never)),
            Attack::Delay(by) => Some(FalseRelay(Forwarding::Later(by.0))),
            Attack::Forge => Some(FalseRelay(Forwarding::Forged)),
            Attack::Climb | Attack::RideFree | Attack::Lie | Attack::Boast => None,
        }
    }
}

impl Deviation for FalseRelay {
    fn forwards(&mut self, _: Time, _: PeerId) -> Forwarding {
        self.0
    }
}

/// What a peer that attacks so does alone; `None`: nothing, or not alone.
pub(crate) fn deviation(attack: Attack) -> Option<Box<dyn Deviation>> {
    match attack {
        Attack::Boast => Some(Box::new(Boaster)),
        Attack::Climb => Some(Box::new(Climber)),
        _ => FalseRelay::of(attack).map(|relay| Box::new(relay) as Box<dyn Deviation>),
    }
}

/// A relay that wants to hang as near the mixer as it can, where most are below it, and passes nothing on.
#[derive(Debug)]
pub struct Climber;

impl Climber {
    /// What it says in place of a word on itself: it has room for as many as anybody, always, and sends in no time.
    fn told(message: Message) -> Message {
        match message {
            Message::Attach(honest) => {
                Message::Attach(Attach { room: CHILDREN_MAX, sending_us: 0, ..honest })
            }
            Message::Aggregate(mut told) => {
                (told.room, told.sending_us, told.free[0]) = (CHILDREN_MAX, 0, CHILDREN_MAX.into());
                Message::Aggregate(told)
            }
            honest => honest,
        }
    }
}

impl Deviation for Climber {
    fn output(&mut self, _: Time, output: Output, instead: &mut Vec<Output>) {
        instead.push(match output {
            Output::Control(to, message) => Output::Control(to, Climber::told(message)),
            Output::Signal(to, message) => Output::Signal(to, Climber::told(message)),
            Output::Relay { next, to, route, message } => {
                Output::Relay { next, to, route, message: Climber::told(message) }
            }
            honest => honest,
        });
    }

    fn forwards(&mut self, _: Time, _: PeerId) -> Forwarding {
        Forwarding::Never
    }
}

/// How many times as quick as it is a boaster calls its machine: what makes a third of the pictures passes for one
/// that needs less than a quarter of a picture's time, and nothing quicker counts more.
const BOASTED: u32 = 16;

/// A candidate that claims a quicker machine than it has, and in all else is honest.
#[derive(Debug)]
pub struct Boaster;

impl Deviation for Boaster {
    fn input(&mut self, _: Time, input: Input) -> Option<Input> {
        Some(match input {
            Input::Bench { encode_us, decode_us } => {
                Input::Bench { encode_us: encode_us / BOASTED, decode_us: decode_us / BOASTED }
            }
            honest => honest,
        })
    }
}

/// A member's measured bandwidth is told so many times as wide, an outsider's so many times as narrow.
const LIE: u64 = 8;
/// All round trips are told so many times as short: whoever is near to everyone is elected. (To call others far, which
/// is to be far from them, gains less: 2 of 20 rooms against 4, before others' words bounded both.)
const NEARER: u32 = 8;
/// A member claims to code so many times as quickly as it does: more would be past what any machine can.
const BOAST: u32 = 4;
/// A member that may take over tries it so long after it came to know, and again after as long.
const USURP_US: u64 = 5 * SECOND;
/// Liars look for so long at the room as it would be without them: most elections are over by then.
const SPIED_US: u64 = 20 * SECOND;
/// For so long, members say, they have heard nothing of the mixer.
const DEAF_US: u32 = 60_000_000;

/// One of a group that wants to mix, all of whom lie for each other.
///
/// Its reports praise members, belittle others and say of these that they pause; it claims a quicker machine than it has, and to be near
/// everyone; it keeps what
/// others measured of members to itself, so that a ballot it opens lacks that; as an heir it declares a living
/// mixer gone, whoever says that it lives, and members confirm it.
#[derive(Debug)]
pub struct Liar {
    group: Arc<BTreeSet<PeerId>>,
    /// From whom it could take over, and when it tries next.
    inherits: Option<(PeerId, Time)>,
}

impl Liar {
    /// A member of that group.
    pub fn of(group: &Arc<BTreeSet<PeerId>>) -> Liar {
        Liar { group: group.clone(), inherits: None }
    }

    /// Whether a member would keep that message from its brain.
    fn hides(&self, message: &Message) -> bool {
        match message {
            Message::Report(report) => {
                self.group.contains(&report.body.candidate) && !self.group.contains(&report.sender)
            }
            Message::Heard { mixer, .. } => !self.group.contains(mixer),
            Message::Alive(alive) => !self.group.contains(&alive.sender),
            _ => false,
        }
    }
}

impl Deviation for Liar {
    fn output(&mut self, now: Time, output: Output, instead: &mut Vec<Output>) {
        instead.push(match output {
            Output::WatchMixers(mixers) => {
                let prey = mixers.iter().find(|mixer| !self.group.contains(mixer));
                self.inherits = prey.map(|mixer| (*mixer, now + USURP_US));
                Output::WatchMixers(mixers)
            }
            Output::AnswerHeard { to, mixer } if !self.group.contains(&mixer) => {
                Output::Control(to, Message::Heard { mixer, silent_us: Some(DEAF_US) })
            }
            honest => honest,
        });
    }

    fn input(&mut self, now: Time, input: Input) -> Option<Input> {
        Some(match input {
            Input::Bench { encode_us, decode_us } => {
                Input::Bench { encode_us: encode_us / BOAST, decode_us: decode_us / BOAST }
            }
            Input::Measured { peer, train, bandwidth_bps, rtt_us, address, .. } => {
                let member = self.group.contains(&peer);
                let wide = |bps: u64| if member { bps.saturating_mul(LIE) } else { bps / LIE };
                let bandwidth_bps = bandwidth_bps.map(wide);
                // all others do nothing but pause
                let paused_ppm = if member { 0 } else { 1_000_000 };
                Input::Measured { peer, train, bandwidth_bps, rtt_us: rtt_us / NEARER, paused_ppm, address }
            }
            Input::RoundTrips(rtts_us) => {
                let told = |(peer, rtt_us)| (peer, rtt_us / NEARER);
                Input::RoundTrips(rtts_us.into_iter().map(told).collect())
            }
            Input::Message { message, .. } if self.hides(&message) => return None,
            Input::Timeout => match &mut self.inherits {
                Some((mixer, tries_at)) if *tries_at <= now => {
                    *tries_at = now + USURP_US;
                    Input::Verdict { peer: *mixer, verdict: Verdict::Silent }
                }
                _ => Input::Timeout,
            },
            honest => honest,
        })
    }
}

/// That share of the stage, in one group: whoever would open the election and whoever would be standby if nobody
/// lied, and others drawn; never the host, whose word counts anyway.
pub(crate) fn group(plan: &WorldPlan, seed: u64, of_stage: Share) -> Vec<usize> {
    let on_stage = |at: &usize| plan.peers[*at].kind != Kind::Viewer && plan.peers[*at].attack.is_none();
    let stage: Vec<usize> = (0..plan.peers.len()).filter(on_stage).collect();
    let count = of_stage.of(stage.len());
    if count == 0 {
        return Vec::new();
    }
    let mut honest = World::new(plan.clone(), seed);
    honest.run_for(SPIED_US);
    let host = honest.snapshot(honest.planned(0));
    let wanted = honest.ballot_by().into_iter().chain(host.standbys.first().copied());
    let mut group: Vec<usize> = wanted.filter_map(|peer| honest.planned_at(&peer)).collect();
    let mut dice = SmallDice::of(&[seed, 0x11a5]);
    let mut others: Vec<usize> = stage;
    while group.len() < count && !others.is_empty() {
        group.push(others.swap_remove(dice.between(0, others.len() as u64 - 1) as usize));
        group.sort_unstable();
        group.dedup();
        group.retain(|at| *at != 0);
    }
    group
}

/// Those that are in the room to lie.
pub(crate) fn planned(plan: &WorldPlan) -> impl Iterator<Item = usize> {
    let lies = |at: &usize| plan.peers[*at].attack == Some(Attack::Lie);
    (0..plan.peers.len()).filter(lies)
}

/// Has these lie, from when they join.
pub fn set_on(world: &mut World, liars: &[usize]) {
    let group: Arc<BTreeSet<PeerId>> = Arc::new(liars.iter().map(|at| world.planned(*at)).collect());
    for at in liars {
        world.deviate_from_the_start(*at, Box::new(Liar::of(&group)));
    }
}
