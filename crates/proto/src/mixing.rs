//! Who sends what to whom on stage.
//!
//! Each speaker has one home among the mixers that have begun ([`crate::spread`]). Its home calls it; it sends its
//! one stream there, and gets its mix-minus from there. A mixer passes what its speakers send on, unchanged, to the
//! other mixers and to the standby: each mixer composes the whole canvas, and the standby decodes and encodes
//! nothing (it is warm), as does a newly elected mixer that is not yet under way. A planned handover runs old and
//! new side by side: the new one warms up on what the others forward, begins, says so to the stage (`Started`) and
//! calls its speakers home; an old one stops when nobody is fed by it any more, or after [`RETIRE_US_MAX`]. In a
//! mesh nobody mixes and speakers send to each other.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use crate::bounded::Bound;
use crate::hashed_draw::drawn;
use crate::id::{PeerId, Rank, StreamSpec};
use crate::io::{MixRole, Output};
use crate::links::Want;
use crate::message::{LinkKind, MIXERS_MAX, Message, ROSTER_MAX, Resume, VideoRequest};
use crate::outbox::{Note, View};
use crate::spread::Spread;
use crate::stage::Mode;
use crate::time::{MS, SECOND, Time};

/// A new mixer begins no sooner, so that the first tier has linked to it: ten times a link's set-up.
const WARM_US_MIN: u64 = 500 * MS;
/// It waits so long for the speakers' pictures to be forwarded by the old one, then begins anyway.
const WARM_US_MAX: u64 = 1_500 * MS;
/// An old mixer ends so long after the new one has begun, whoever still hangs on it.
const RETIRE_US_MAX: u64 = 4 * SECOND;
const RETIRE_US_MIN: u64 = 500 * MS;
/// Whoever leaves the stage and watches on gets the picture from its mixer for so long: by then the tree feeds it. A
/// guess: several link set-ups.
const STEP_BACK_US: u64 = 2 * SECOND;
/// To so many at a time; others wait for the tree without it.
const STEPPING_BACK_MAX: usize = 16;
/// Roster peers that a speaker links to besides mixers, standby and host (DESIGN §4).
const SPEAKER_LINKS: usize = 3;
/// Streams on one trunk link.
pub(crate) const TRUNK_STREAMS: usize = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Nothing to do with the mix.
    Idle,
    /// Next in line: the standby.
    Standby,
    /// Elected, and warming up since then.
    Elected(Time),
    /// Making the program under this rank.
    Mixing(Rank),
    /// Still making it under this rank, while a new mixer that has begun then takes over.
    Retiring(Rank, Time),
}

/// A mixer's word that a speaker is to send to it.
#[derive(Debug)]
struct Call {
    rank: Rank,
    video: VideoRequest,
    resume: Option<Resume>,
}

/// Whether that peer may be a mixer, now or under a rank that we don't know yet.
fn may_call(view: &View<'_>, from: &PeerId) -> bool {
    view.stage.contains(from) || view.mandate.mixers.contains(from)
}

/// This peer's part in the mix.
#[derive(Debug)]
pub(crate) struct Mixing {
    phase: Phase,
    role: MixRole,
    /// Who called us home.
    home: Option<(Rank, PeerId)>,
    /// The last call home of each mixer, of the rank in force or one whose proof hasn't come yet: what is to be followed
    /// changes with the roster, and calls aren't repeated.
    calls: BTreeMap<PeerId, Call>,
    sending_to: Vec<PeerId>,
    forwarding_to: Vec<PeerId>,
    speakers: Vec<(PeerId, u8)>,
    spread: Spread,
    /// The speakers whose home we are.
    homes: Vec<PeerId>,
    /// Mixers in force whose program has begun.
    begun: BTreeSet<PeerId>,
    /// Mixers whose program had begun when they ceased to be in force: a new one warms up on what they forward.
    former: BTreeSet<PeerId>,
    /// Programs that are said to have begun, each by a mixer that nothing known here puts in force yet.
    early: Vec<StreamSpec>,
    called: BTreeMap<PeerId, Rank>,
    /// The last failover that was withdrawn, as far as it was seen to here.
    withdrawn: Option<Rank>,
    watching: BTreeSet<PeerId>,
    /// Those of them that have just left the stage, and until when.
    stepping_back: BTreeMap<PeerId, Time>,
    feeds: bool,
    /// Our own program, once it has begun.
    own: Option<StreamSpec>,
    warm: bool,
}

impl Mixing {
    pub(crate) fn new() -> Mixing {
        Mixing {
            phase: Phase::Idle,
            role: MixRole::Rest,
            home: None,
            calls: BTreeMap::new(),
            sending_to: Vec::new(),
            forwarding_to: Vec::new(),
            speakers: Vec::new(),
            spread: Spread::default(),
            homes: Vec::new(),
            begun: BTreeSet::new(),
            former: BTreeSet::new(),
            early: Vec::new(),
            called: BTreeMap::new(),
            withdrawn: None,
            watching: BTreeSet::new(),
            stepping_back: BTreeMap::new(),
            feeds: false,
            own: None,
            warm: false,
        }
    }

    /// Whether this peer makes the program now.
    pub(crate) fn is_mixing(&self) -> bool {
        matches!(self.phase, Phase::Mixing(_) | Phase::Retiring(..))
    }

    /// Whether anybody in the tree is fed by this peer.
    pub(crate) fn set_feeds(&mut self, feeds: bool) {
        self.feeds = feeds;
    }

    /// Looks at roster and mandate anew, and does what follows.
    pub(crate) fn update(&mut self, view: &mut View<'_>) {
        self.see_who_has_begun(view);
        self.choose_part(view);
        self.follow_speakers(view);
        self.keep_links(view);
        self.forward(view);
        self.keep_homes(view);
        self.call_home(view);
        self.follow_calls(view, None);
        self.send_own(view, None);
        self.serve_watching(view);
    }

    /// Who of those in force has begun.
    fn see_who_has_begun(&mut self, view: &View<'_>) {
        let mixers = &view.mandate.mixers;
        let over: Vec<_> = self.begun.iter().filter(|mixer| !mixers.contains(mixer)).copied().collect();
        for mixer in over {
            self.begun.remove(&mixer);
            self.note_former(mixer);
        }
        let in_force = |spec: &StreamSpec| mixers.contains(&spec.maker) && view.mandate.allows(spec);
        self.begun.extend(self.early.extract_if(.., |spec| in_force(spec)).map(|spec| spec.maker));
        let withdrawn = view.mandate.withdrawn();
        if withdrawn != self.withdrawn {
            self.withdrawn = withdrawn;
            if withdrawn.is_some() {
                // its mixer had never ceased: it calls its speakers back, and the successor retires
                self.called.clear();
                self.home = self.home.filter(|(rank, _)| *rank <= view.rank());
                self.begun.extend(mixers);
            }
        }
        if mixers.iter().all(|mixer| self.begun.contains(mixer)) {
            self.former.clear();
        }
    }

    /// A mixer that isn't in force any more had begun; of too many one is forgotten.
    fn note_former(&mut self, mixer: PeerId) {
        self.former.insert(mixer);
        if self.former.len() > MIXERS_MAX {
            self.former.pop_first();
        }
    }

    /// A program has begun before its proof has come: what others said meanwhile, perhaps long ago, doesn't make it forgotten.
    fn note_early(&mut self, spec: StreamSpec) {
        self.early.retain(|known| known.maker != spec.maker);
        self.early.push(spec);
        self.early.sort_by_key(|spec| Reverse(spec.rank));
        self.early.truncate(MIXERS_MAX);
    }

    fn choose_part(&mut self, view: &mut View<'_>) {
        let mesh = view.stage.mode() == Mode::Mesh;
        let (rank, now) = (view.rank(), view.now);
        let another_has_begun = self.begun.iter().any(|mixer| *mixer != view.me);
        let standby = view.mandate.standby() == Some(view.me);
        let phase = match self.phase {
            _ if mesh || !view.on_stage() => Phase::Idle,
            Phase::Retiring(_, since) if !view.mixes() => {
                let over =
                    now.since(since) >= RETIRE_US_MAX || (!self.feeds && now.since(since) >= RETIRE_US_MIN);
                if over { if standby { Phase::Standby } else { Phase::Idle } } else { self.phase }
            }
            // a mixer that is voted in again goes on as it is
            Phase::Mixing(_) | Phase::Retiring(..) if view.mixes() => Phase::Mixing(rank),
            Phase::Mixing(old) if another_has_begun => Phase::Retiring(old, now),
            Phase::Mixing(_) => self.phase, // until the new one has begun
            Phase::Elected(since) if view.mixes() => self.begin_or_wait(view, since),
            // the standby that has taken over is warm: it begins at once
            Phase::Standby if view.mixes() => Phase::Mixing(rank),
            Phase::Idle if view.mixes() => self.begin_or_wait(view, now),
            _ if standby => Phase::Standby,
            _ => Phase::Idle,
        };
        if phase == self.phase {
            return;
        }
        let mixed = self.is_mixing();
        self.phase = phase;
        if let Some(own) = self.own.filter(|_| mixed && matches!(phase, Phase::Mixing(_))) {
            view.send_stage(&Message::Started(own)); // whoever mixed meanwhile waits for that
        }
        self.warm &= matches!(phase, Phase::Elected(_));
        self.set_role(view);
        if self.is_mixing() != mixed {
            self.called.clear();
            self.own = self.own.filter(|_| !mixed);
            view.out.note(Note::Mixing(!mixed));
        }
    }

    fn set_role(&mut self, view: &mut View<'_>) {
        let pass_through = view.stage.mode() == Mode::PassThrough;
        let role = match self.phase {
            Phase::Idle => MixRole::Rest,
            Phase::Standby | Phase::Elected(_) => MixRole::Warm { pass_through },
            Phase::Mixing(rank) | Phase::Retiring(rank, _) => MixRole::Mix { rank, pass_through },
        };
        if role != self.role {
            self.role = role;
            view.out.act(Output::Role(role));
        }
    }

    /// Whether an elected mixer has something to warm up on, and is not yet warm.
    fn begin_or_wait(&self, view: &View<'_>, since: Time) -> Phase {
        let forwarded =
            self.begun.iter().chain(&self.former).any(|by| *by != view.me && view.links.is_up(by));
        let waited = view.now.since(since);
        let ready = (self.warm && waited >= WARM_US_MIN) || waited >= WARM_US_MAX;
        if forwarded && !ready { Phase::Elected(since) } else { Phase::Mixing(view.rank()) }
    }

    /// The body has a picture of every speaker.
    pub(crate) fn warm(&mut self, view: &mut View<'_>) {
        self.warm = true;
        self.update(view);
    }

    fn follow_speakers(&mut self, view: &mut View<'_>) {
        let speakers: Vec<_> =
            view.stage.speakers().iter().map(|speaker| (speaker.peer, speaker.index)).collect();
        if speakers != self.speakers {
            self.speakers = speakers;
            view.out.act(Output::Speakers(self.speakers.clone()));
            self.called.retain(|peer, _| view.stage.contains(peer));
        }
        self.set_role(view); // one speaker more or less changes the mode
    }

    /// The stage's web: the host to all, candidates to each other, speakers to the mixers, the standby and three
    /// drawn peers; in a mesh, speakers to each other.
    fn keep_links(&mut self, view: &mut View<'_>) {
        let mut wanted = BTreeSet::new();
        if let Some(mine) = view.stage.entry(&view.me).cloned() {
            let host = view.stage.host();
            for entry in view.stage.present() {
                let both_mix = mine.mixes && entry.mixes;
                let hosts = host == Some(view.me) || host == Some(entry.peer);
                let meshed = view.stage.mode() == Mode::Mesh && mine.speaks && entry.speaks;
                if both_mix || hosts || meshed {
                    wanted.insert(entry.peer);
                }
            }
            let serving = view.mandate.mixers.iter().chain(&view.mandate.standbys).copied();
            if mine.speaks {
                wanted.extend(serving.filter(|peer| view.stage.contains(peer)));
                // drawn from both ids, so that a change of roster moves few links
                let others = view.stage.present().map(|entry| &entry.peer).filter(|peer| **peer != view.me);
                wanted.extend(drawn("plenary 1 stage links", &[&view.me.0], others, SPEAKER_LINKS));
            }
            if self.phase != Phase::Idle {
                wanted.extend(self.speakers.iter().map(|(peer, _)| *peer));
            }
        }
        wanted.remove(&view.me);
        let wanted = wanted.into_iter().map(|peer| (peer, LinkKind::Peer)).collect();
        view.links.want_only(view.now, view.out, Want::Stage, &wanted);
    }

    /// Passes our speakers on to the other mixers and to the standby; one that is no mixer in force any more, to those
    /// that have not begun.
    fn forward(&mut self, view: &mut View<'_>) {
        let mut forwarding_to: Vec<PeerId> = Vec::new();
        if self.is_mixing() {
            let wants = |peer: &&PeerId| view.mixes() || !self.begun.contains(peer);
            forwarding_to.extend(view.mandate.mixers.iter().filter(wants));
            if view.mixes() {
                forwarding_to.extend(view.mandate.standby());
            }
        }
        forwarding_to
            .retain(|peer| *peer != view.me && view.stage.entry(peer).is_some_and(|entry| !entry.away));
        let trunks = self.speakers.len().div_ceil(TRUNK_STREAMS) as u8;
        let links =
            forwarding_to.iter().flat_map(|peer| (0..trunks).map(|trunk| (*peer, LinkKind::Trunk(trunk))));
        view.links.want_only(view.now, view.out, Want::Trunk, &links.collect());
        if forwarding_to != self.forwarding_to {
            self.forwarding_to = forwarding_to;
            view.out.act(Output::Forward(self.forwarding_to.clone()));
        }
    }

    /// Sees whose home we are: a part of the speakers beside other mixers that have begun, else all.
    fn keep_homes(&mut self, view: &mut View<'_>) {
        let speakers = self.speaking();
        let begun = |mixer: &&PeerId| **mixer == view.me || self.begun.contains(mixer);
        let homes: Vec<PeerId> = match self.phase {
            Phase::Mixing(_) if view.mixes() => {
                let mixers: Vec<PeerId> = view.mandate.mixers.iter().filter(begun).copied().collect();
                let homes = self.spread.homes(mixers, speakers);
                homes.iter().filter(|(_, home)| **home == view.me).map(|(speaker, _)| *speaker).collect()
            }
            Phase::Mixing(_) | Phase::Retiring(..) => speakers,
            Phase::Idle | Phase::Standby | Phase::Elected(_) => Vec::new(),
        };
        if homes != self.homes {
            self.called.retain(|speaker, _| homes.contains(speaker));
            self.homes = homes;
            view.out.act(Output::Homes(self.homes.clone()));
        }
    }

    /// Calls every linked speaker home whose home we are, and that hasn't been called under this rank.
    fn call_home(&mut self, view: &mut View<'_>) {
        let Phase::Mixing(rank) = self.phase else { return };
        for speaker in &self.homes {
            let up = *speaker == view.me || view.links.is_up(speaker);
            if up && self.called.get(speaker) != Some(&rank) {
                self.called.insert(*speaker, rank);
                if *speaker == view.me {
                    self.home = Some((rank, view.me));
                }
                view.out.act(Output::CallHome { speaker: *speaker, rank });
            }
        }
    }

    /// A mixer calls us home.
    pub(crate) fn home(
        &mut self,
        view: &mut View<'_>,
        from: PeerId,
        rank: Rank,
        video: VideoRequest,
        resume: Option<Resume>,
    ) {
        if rank >= view.rank() && may_call(view, &from) {
            self.calls.insert(from, Call { rank, video, resume });
            self.follow_calls(view, Some(from));
        }
    }

    /// Follows the call that has just come, or one that had to wait: if it is our home's by now, or the first under a
    /// rank that is proven now.
    fn follow_calls(&mut self, view: &mut View<'_>, caller: Option<PeerId>) {
        let rank = view.rank();
        self.calls.retain(|from, call| call.rank >= rank && may_call(view, from));
        let mesh = view.stage.mode() == Mode::Mesh;
        if mesh || self.calls.is_empty() || !view.config.speaks {
            return;
        }
        let own = self.own_home(view);
        let home = self.home.filter(|(known, _)| *known == rank).map(|(_, home)| home);
        // a mixer that doesn't know yet that another has begun may call who is the other's
        let reached = |home: PeerId| home == view.me || view.links.is_up(&home);
        let settled = own == home && home.is_some_and(reached);
        let called = |from: &PeerId| {
            let is_proven = self.calls.get(from).is_some_and(|call| call.rank == rank);
            is_proven && view.mandate.mixers.contains(from)
        };
        let waited = |from: &PeerId| called(from) && view.links.is_up(from);
        let from = caller
            .filter(|from| called(from) && (!settled || home == Some(*from)))
            .or_else(|| own.filter(|own| waited(own) && home != Some(*own)))
            .or_else(|| self.calls.keys().find(|from| home.is_none() && waited(from)).copied());
        if let Some(from) = from
            && let Some(call) = self.calls.get_mut(&from)
        {
            let resume = call.resume.take(); // should we come back to it later, it is no more where it was
            self.home = Some((rank, from));
            view.out.act(Output::EncodeAs(call.video));
            self.send_own(view, resume);
        }
    }

    /// The mixer that is to be our home.
    fn own_home(&mut self, view: &View<'_>) -> Option<PeerId> {
        let speakers = self.speaking();
        self.spread.homes(view.mandate.mixers.clone(), speakers).get(&view.me).copied()
    }

    fn speaking(&self) -> Vec<PeerId> {
        self.speakers.iter().map(|(speaker, _)| *speaker).collect()
    }

    /// Says where our own stream goes.
    fn send_own(&mut self, view: &mut View<'_>, resume: Option<Resume>) {
        if !view.config.speaks || !view.speaks() {
            if !self.sending_to.is_empty() {
                self.sending_to.clear();
                view.out.act(Output::SendOwn(Vec::new()));
            }
            return;
        }
        let to: Vec<PeerId> = match view.stage.mode() {
            Mode::Mesh => {
                if self.home.take().is_some() {
                    self.calls.clear(); // whoever mixes again calls again
                }
                let others = self.speakers.iter().map(|(peer, _)| *peer);
                others.filter(|peer| *peer != view.me && view.links.is_up(peer)).collect()
            }
            // until a mixer has called, those of the mesh are still listening
            _ => self.home.map_or(self.sending_to.clone(), |(_, home)| vec![home]),
        };
        if to != self.sending_to || resume.is_some() {
            self.sending_to = to;
            let targets = self.sending_to.iter().map(|peer| (*peer, resume)).collect();
            view.out.act(Output::SendOwn(targets));
        }
    }

    /// Serves the program's picture to our speakers that also watch, and for a while to those that speak no more:
    /// they are looking for a place in the tree.
    fn serve_watching(&mut self, view: &mut View<'_>) {
        let mut watching = BTreeSet::new();
        if matches!(self.phase, Phase::Mixing(_)) {
            let views = |peer: &&PeerId| view.stage.entry(peer).is_some_and(|entry| entry.views);
            let others = self.homes.iter().filter(|peer| **peer != view.me).filter(views);
            watching.extend(others.filter(|peer| view.links.is_up(peer)));
            for peer in self.watching.difference(&watching) {
                if self.stepping_back.len() >= STEPPING_BACK_MAX {
                    break;
                }
                self.stepping_back.entry(*peer).or_insert(view.now + STEP_BACK_US);
            }
            let audience = |peer: &PeerId| !view.stage.contains(peer) && view.links.is_up(peer);
            self.stepping_back.retain(|peer, until| *until > view.now && audience(peer));
        } else {
            self.stepping_back.clear();
        }
        watching.extend(self.stepping_back.keys());
        for peer in self.watching.difference(&watching) {
            view.out.act(Output::Unserve(*peer));
            view.out.note(Note::MixUnserves(*peer));
        }
        for peer in watching.difference(&self.watching) {
            view.out.act(Output::Serve { peer: *peer, from: None, sound: false });
        }
        self.watching = watching;
    }

    /// The tree has let go of a peer: if that one has come on stage, the picture it gets as a speaker went too.
    pub(crate) fn tree_unserves(&mut self, view: &mut View<'_>, peer: PeerId) {
        if self.watching.contains(&peer) {
            view.out.act(Output::Serve { peer, from: None, sound: false });
        }
    }

    /// A mixer's program has begun, ours or another's.
    pub(crate) fn started(&mut self, view: &mut View<'_>, spec: &StreamSpec) {
        let proper = view.mandate.allows(spec);
        let in_force = view.mandate.mixers.contains(&spec.maker);
        // one that was in force before may be so again, with the program that it had: that vote is still on its way to us
        if !in_force && (proper || spec.rank > view.rank()) {
            self.note_early(*spec);
        }
        if proper {
            if in_force {
                self.begun.insert(spec.maker);
            } else {
                self.note_former(spec.maker);
            }
            if spec.maker == view.me {
                self.own = Some(*spec);
                view.send_stage(&Message::Started(*spec));
            }
            self.update(view);
        }
    }

    /// A link came or went: what was said on it is to be said again.
    pub(crate) fn link_changed(&mut self, view: &mut View<'_>, peer: PeerId, up: bool) {
        if !up {
            self.called.remove(&peer);
        } else if let Some(own) = self.own
            && self.is_mixing()
            && view.stage.contains(&peer)
        {
            view.out.send(peer, Message::Started(own));
        }
        self.update(view);
    }

    pub(crate) fn bounds(&self) -> [Bound; 7] {
        [
            Bound::new("calls home", self.calls.len(), ROSTER_MAX + MIXERS_MAX),
            Bound::new("mixers that have begun", self.begun.len(), MIXERS_MAX),
            Bound::new("mixers that had begun", self.former.len(), MIXERS_MAX),
            Bound::new("programs that began before their proof came", self.early.len(), MIXERS_MAX),
            Bound::new("speakers called home", self.called.len(), ROSTER_MAX),
            Bound::new(
                "speakers that watch, and those that have just left the stage",
                self.watching.len(),
                ROSTER_MAX + STEPPING_BACK_MAX,
            ),
            Bound::new("peers that get our stream", self.sending_to.len(), ROSTER_MAX),
        ]
    }

    pub(crate) fn next_timeout(&self) -> Option<Time> {
        let phase = match self.phase {
            Phase::Elected(since) => Some(since + if self.warm { WARM_US_MIN } else { WARM_US_MAX }),
            Phase::Retiring(_, since) => Some(since + if self.feeds { RETIRE_US_MAX } else { RETIRE_US_MIN }),
            _ => None,
        };
        phase.into_iter().chain(self.stepping_back.values().copied()).min()
    }
}
