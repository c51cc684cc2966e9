//! Acts of a script: actions on a world, and their targets.

use std::collections::BTreeSet;

use plenary_proto::PeerId;
use serde::Deserialize;

use crate::dice::SmallDice;
use crate::people::geography;
use crate::plan::{Kind, PeerPlan};
use crate::units::{Share, Span};
use crate::world::World;

/// An action at a time, once or periodically.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "Fields")]
pub struct Act {
    /// Time of the action, from the creation of the room.
    pub at: Span,
    /// Period of repetitions, up to the end of the storm.
    pub each: Option<Span>,
    /// The action.
    pub action: Action,
}

/// An action on the world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// These peers crash.
    Kill(Whom),
    /// These peers leave politely.
    Leave(Whom),
    /// The host gives these peers the floor.
    Promote(Whom),
    /// The host sends these peers back to the audience.
    Demote(Whom),
    /// These peers publish a piece of application data; only peers on stage are allowed to.
    Tell(Whom),
    /// The machines of these peers stall for this time: what arrives meanwhile waits.
    Stall(Whom, Span),
    /// The machines of these peers sleep for this time: their clocks stop, and what arrives is lost.
    Sleep(Whom, Span),
    /// Other programs take most of the machines of these peers for this time.
    Stress(Whom, Span),
    /// From now on this share of all packets is lost independently.
    Loss(Share),
    /// A partition separates this share of the stage, never including the host, and of the audience from the
    /// others.
    Partition(Share),
    /// The partition ends.
    Heal,
    /// The rendezvous dies.
    KillRendezvous,
}

/// Targets of an action, as far as they have joined and are alive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whom {
    /// All mixers in force, according to the host.
    Mixers,
    /// The first standby.
    Standby,
    /// The host.
    Host,
    /// The viewer with the most children.
    Parent,
    /// A drawn speaker other than the host.
    Speaker,
    /// A drawn candidate that neither mixes nor stands by.
    Candidate,
    /// All viewers of the first tier.
    FirstTier,
    /// This share of the first two tiers.
    Top(Share),
    /// This share of the audience.
    Audience(Share),
    /// All peers in this region except the host.
    Region(String),
}

/// The keys of an act in the file: `kill = "mixer"` and so on.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    at: Span,
    each: Option<Span>,
    kill: Option<String>,
    leave: Option<String>,
    stall: Option<String>,
    sleep: Option<String>,
    stress: Option<String>,
    promote: Option<String>,
    demote: Option<String>,
    tell: Option<String>,
    last: Option<Span>,
    loss: Option<Share>,
    partition: Option<Share>,
    #[serde(default)]
    heal: bool,
}

impl TryFrom<Fields> for Act {
    type Error = String;

    fn try_from(fields: Fields) -> Result<Act, String> {
        let Fields { at, each, last, loss, partition, heal, .. } = fields;
        let named = [
            ("kill", fields.kill),
            ("leave", fields.leave),
            ("stall", fields.stall),
            ("sleep", fields.sleep),
            ("stress", fields.stress),
            ("promote", fields.promote),
            ("demote", fields.demote),
            ("tell", fields.tell),
        ];
        let mut named = named.into_iter().filter_map(|(what, whom)| Some((what, whom?)));
        let (first, second) = (named.next(), named.next());
        let action = match (first, last, partition, loss, heal) {
            (Some((what, whom)), _, None, None, false) if second.is_none() => Action::to(what, &whom, last)?,
            (None, None, Some(share), None, false) => Action::Partition(share),
            (None, None, None, Some(share), false) => Action::Loss(share),
            (None, None, None, None, true) => Action::Heal,
            _ => {
                let all = "kill, leave, stall, sleep, stress, promote, demote, tell, loss, partition, heal";
                return Err(format!("an act needs one of {all}"));
            }
        };
        if each.is_some_and(|each| each < EACH_MIN) {
            return Err(format!("each {EACH_MIN} is the most often that something can happen"));
        }
        Ok(Act { at, each, action })
    }
}

impl Action {
    /// Parses an action with targets.
    fn to(what: &str, whom: &str, last: Option<Span>) -> Result<Action, String> {
        if what == "kill" && whom == "rendezvous" {
            return Ok(Action::KillRendezvous);
        }
        let whom: Whom = whom.parse()?;
        Ok(match (what, last) {
            ("stall", Some(last)) => Action::Stall(whom, last),
            ("sleep", Some(last)) => Action::Sleep(whom, last),
            ("stress", Some(last)) => Action::Stress(whom, last),
            ("stall" | "sleep" | "stress", None) => return Err(format!("a {what} needs last: how long")),
            (_, Some(_)) => {
                return Err(format!("{what} happens at once: last is for stall, sleep and stress"));
            }
            ("kill", None) => Action::Kill(whom),
            ("leave", None) => Action::Leave(whom),
            ("promote", None) => Action::Promote(whom),
            ("demote", None) => Action::Demote(whom),
            _ => Action::Tell(whom),
        })
    }

    /// Targets of the action; `None` for actions on the network or the rendezvous.
    pub(super) fn whom(&self) -> Option<&Whom> {
        match self {
            Action::Kill(whom)
            | Action::Leave(whom)
            | Action::Promote(whom)
            | Action::Demote(whom)
            | Action::Tell(whom)
            | Action::Stall(whom, _)
            | Action::Sleep(whom, _)
            | Action::Stress(whom, _) => Some(whom),
            Action::Partition(_) | Action::Loss(_) | Action::Heal | Action::KillRendezvous => None,
        }
    }
}

/// Shortest period of a script's repetitions.
pub(super) const EACH_MIN: Span = Span(100_000);

impl std::str::FromStr for Whom {
    type Err = String;

    fn from_str(text: &str) -> Result<Whom, String> {
        let share = |text: &str| Share::try_from(text.to_owned());
        Ok(match text.split_once(' ').unwrap_or((text, "")) {
            ("mixer", "") => Whom::Mixers,
            ("standby", "") => Whom::Standby,
            ("host", "") => Whom::Host,
            ("parent", "") => Whom::Parent,
            ("speaker", "") => Whom::Speaker,
            ("candidate", "") => Whom::Candidate,
            ("first-tier", "") => Whom::FirstTier,
            ("top", of) if !of.is_empty() => Whom::Top(share(of)?),
            ("audience", of) if !of.is_empty() => Whom::Audience(share(of)?),
            ("region", name) if !name.is_empty() => Whom::Region(name.to_owned()),
            _ => {
                return Err(format!(
                    "{text} is none of mixer, standby, host, parent, speaker, candidate, first-tier, top 50%, \
                     audience 10%, region Tokyo, and for kill rendezvous"
                ));
            }
        })
    }
}

impl Whom {
    /// The peers that a target denotes at this moment; random choices are drawn from `dice`.
    pub(crate) fn choose(&self, world: &World, cast: &[PeerPlan], dice: &mut SmallDice) -> Vec<PeerId> {
        let host = world.planned(0);
        let living: BTreeSet<PeerId> = world.living().collect();
        let planned = |wanted: &dyn Fn(&PeerPlan) -> bool| -> Vec<PeerId> {
            let found = cast.iter().enumerate().filter(|(at, peer)| *at > 0 && wanted(peer));
            found.map(|(at, _)| world.planned(at)).filter(|id| living.contains(id)).collect()
        };
        let one = |mut of: Vec<PeerId>, dice: &mut SmallDice| {
            let at = dice.between(0, (of.len().max(1) - 1) as u64) as usize;
            (at < of.len()).then(|| of.swap_remove(at)).into_iter().collect()
        };
        let of_kind = |kind: Kind| planned(&|peer| peer.kind == kind);
        let stage = world.snapshot(host);
        match self {
            Whom::Mixers => stage.mixers.clone(),
            Whom::Standby => stage.standbys.first().copied().into_iter().collect(),
            Whom::Host => vec![host],
            Whom::Parent => {
                let children = |viewer: &PeerId| world.snapshot(*viewer).children.len();
                of_kind(Kind::Viewer).into_iter().max_by_key(children).into_iter().collect()
            }
            Whom::Speaker => one(of_kind(Kind::Speaker), dice),
            Whom::Candidate => {
                let mut idle = of_kind(Kind::Candidate);
                idle.retain(|peer| !stage.mixers.contains(peer) && !stage.standbys.contains(peer));
                one(idle, dice)
            }
            Whom::FirstTier => at_depths(world, 1..=1),
            Whom::Top(share) => some(at_depths(world, 1..=2), *share, dice),
            Whom::Audience(share) => some(of_kind(Kind::Viewer), *share, dice),
            Whom::Region(name) => {
                let region = geography::region(name);
                planned(&|peer| Some(peer.place.region) == region)
            }
        }
    }
}

/// Draws the minority side of a partition.
pub(crate) fn side(world: &World, cast: &[PeerPlan], share: Share, dice: &mut SmallDice) -> Vec<PeerId> {
    let living: BTreeSet<PeerId> = world.living().collect();
    let (mut stage, mut audience) = (Vec::new(), Vec::new());
    for (at, peer) in cast.iter().enumerate().skip(1) {
        let id = world.planned(at);
        if living.contains(&id) {
            if peer.kind == Kind::Viewer { audience.push(id) } else { stage.push(id) }
        }
    }
    // the share is of the whole stage, including the host, which is on the other side
    let of_stage = share.of(stage.len() + 1).min(stage.len());
    let mut side = take(stage, of_stage, dice);
    side.extend(some(audience, share, dice));
    side
}

/// Viewers at these depths in the tree.
fn at_depths(world: &World, depths: std::ops::RangeInclusive<usize>) -> Vec<PeerId> {
    let viewers = world.viewers().into_iter();
    viewers.filter(|viewer| depths.contains(&world.snapshot(*viewer).path.len().saturating_sub(1))).collect()
}

/// A drawn subset of this share.
fn some(all: Vec<PeerId>, share: Share, dice: &mut SmallDice) -> Vec<PeerId> {
    let count = share.of(all.len());
    take(all, count, dice)
}

/// A drawn subset of `count` elements (Fisher–Yates shuffle).
fn take(mut all: Vec<PeerId>, count: usize, dice: &mut SmallDice) -> Vec<PeerId> {
    for at in 0..count.min(all.len()) {
        let other = dice.between(at as u64, all.len() as u64 - 1) as usize;
        all.swap(at, other);
    }
    all.truncate(count);
    all
}
