//! Media routing on stage: which mixer a speaker sends to, and what mixers forward to each other.
//!
//! - **Homes.** Each speaker has one home mixer among the mixers that have begun ([`crate::spread`]). The
//!   home calls the speaker (`Home`). The speaker sends its one stream there, and receives its mix-minus from
//!   there.
//! - **Forwarding.** A mixer forwards its speakers' packets unchanged to the other mixers and to the standby,
//!   because each mixer composes the whole canvas. The standby is warm: it decodes the speakers and encodes
//!   nothing. So is a newly elected mixer that hasn't begun.
//! - **Planned handover.** The old and the new mixer run side by side. The new one warms up on the forwarded
//!   packets, begins, announces this to the stage (`Started`) and calls its speakers home. The old one stops
//!   when it feeds no peer any more, or after [`RETIRE_US_MAX`].
//! - **Mesh.** No peer mixes, and speakers send to each other.

use crate::ordered::{OrderedMap, OrderedSet};
use std::cmp::Reverse;

use crate::bounded::Bound;
use crate::hashed_draw::drawn;
use crate::id::{PeerId, Rank, StreamSpec};
use crate::io::{MixRole, Output};
use crate::links::Want;
use crate::message::{LinkKind, MIXERS_MAX, MediaMessage, Message, PictureWanted, ROSTER_MAX, Resume};
use crate::outbox::Note;
use crate::spread::Spread;
use crate::stage::Mode;
use crate::time::{MS, SECOND, Time};
use crate::view::View;

/// Minimum time before a new mixer begins, so that the first tier has linked to it: ten link set-ups.
const WARM_US_MIN: u64 = 500 * MS;
/// Maximum time for which a new mixer waits for the speakers' pictures, which the old one forwards; then it
/// begins anyway. A guess.
const WARM_US_MAX: u64 = 1_500 * MS;
/// Time after the start of the new mixer at which an old one ends, even if it still feeds children. A guess.
const RETIRE_US_MAX: u64 = 4 * SECOND;
const RETIRE_US_MIN: u64 = 500 * MS;
/// How long a speaker that leaves the stage and keeps viewing still gets the picture from its mixer; by then
/// the tree feeds it. A guess: several link set-ups.
const STEP_BACK_US: u64 = 2 * SECOND;
/// Maximum number of such peers at a time; further ones wait for the tree without a picture. A guess.
const STEPPING_BACK_MAX: usize = 16;
/// Number of roster peers that a speaker links to besides mixers, standby and host. A guess.
const SPEAKER_LINKS: usize = 3;
/// Number of speakers' streams per trunk link.
pub(crate) const TRUNK_STREAMS: usize = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// This peer has no part in the mix.
    Idle,
    /// The standby: next in line, and warm.
    Standby,
    /// Elected, and warming up since this time.
    Elected(Time),
    /// Making the program under this rank.
    Mixing(Rank),
    /// Still making the program under this rank; a new mixer began at this time and takes over.
    Retiring(Rank, Time),
}

/// A mixer's call home (`Home`): its rank, the requested picture formats, and how far it holds the speaker's
/// streams.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) rank: Rank,
    pub(crate) own: PictureWanted,
    /// The picture beside the speaker's own, if it sends two.
    pub(crate) beside: Option<PictureWanted>,
}

/// Returns whether a peer may be a mixer, either now or under a rank still unknown here.
fn may_call(view: &View<'_>, from: &PeerId) -> bool {
    view.stage.contains(from) || view.mandate.mixers.contains(from)
}

/// State of this peer's part in the mix.
#[derive(Debug)]
pub(crate) struct Mixing {
    phase: Phase,
    role: MixRole,
    /// The mixer that called this speaker home, and its rank.
    home: Option<(Rank, PeerId)>,
    /// The last call home of each mixer, under the rank in force or a rank without proof yet. They are kept
    /// because a roster change may decide which call to follow, and mixers don't repeat them.
    calls: OrderedMap<PeerId, Call>,
    sending_to: Vec<PeerId>,
    /// The home that gets the picture beside this speaker's own, if it sends two.
    beside_to: Option<PeerId>,
    forwarding_to: Vec<PeerId>,
    speakers: Vec<(PeerId, u8)>,
    spread: Spread,
    /// The speakers that have this mixer as their home.
    homes: Vec<PeerId>,
    /// Mixers in force that have begun their program.
    begun: OrderedSet<PeerId>,
    /// Mixers that are no longer in force but had begun their program. A new mixer warms up on what they
    /// forward.
    former: OrderedSet<PeerId>,
    /// Programs that were announced as begun by mixers not yet known to be in force.
    early: Vec<StreamSpec>,
    called: OrderedMap<PeerId, Rank>,
    /// The last withdrawn failover that was handled here.
    withdrawn: Option<Rank>,
    watching: OrderedSet<PeerId>,
    /// Peers among them that have just left the stage, and until when they are served.
    stepping_back: OrderedMap<PeerId, Time>,
    feeds: bool,
    /// This mixer's own program, once it has begun.
    own: Option<StreamSpec>,
    warm: bool,
}

/// Returns the other speakers of a mesh that this peer is in.
fn meshed_with(view: &View<'_>) -> Vec<PeerId> {
    let meshed = || view.stage.meshed();
    let is_in = view.stage.mode() == Mode::Mesh && meshed().any(|peer| peer == view.me);
    meshed().filter(|peer| is_in && *peer != view.me).collect()
}

impl Mixing {
    pub(crate) fn new() -> Mixing {
        Mixing {
            phase: Phase::Idle,
            role: MixRole::Rest,
            home: None,
            calls: OrderedMap::new(),
            sending_to: Vec::new(),
            beside_to: None,
            forwarding_to: Vec::new(),
            speakers: Vec::new(),
            spread: Spread::default(),
            homes: Vec::new(),
            begun: OrderedSet::new(),
            former: OrderedSet::new(),
            early: Vec::new(),
            called: OrderedMap::new(),
            withdrawn: None,
            watching: OrderedSet::new(),
            stepping_back: OrderedMap::new(),
            feeds: false,
            own: None,
            warm: false,
        }
    }

    /// Returns whether this peer makes the program now.
    pub(crate) fn is_mixing(&self) -> bool {
        matches!(self.phase, Phase::Mixing(_) | Phase::Retiring(..))
    }

    /// Returns whether this peer makes the program now, and has begun.
    pub(crate) fn has_program(&self) -> bool {
        self.is_mixing() && self.own.is_some()
    }

    /// Returns the mixers with a part in a handover: this speaker's home, those that have begun, and those
    /// that are no longer in force and not replaced yet.
    pub(crate) fn handing_over(&self) -> Vec<PeerId> {
        let home = self.home.map(|(_, home)| home);
        home.into_iter().chain(self.begun.iter().copied()).chain(self.former.iter().copied()).collect()
    }

    /// Sets whether this peer feeds any child in the tree.
    pub(crate) fn set_feeds(&mut self, feeds: bool) {
        self.feeds = feeds;
    }

    /// Re-evaluates roster and mandate, and does what follows from them.
    pub(crate) fn update(&mut self, view: &mut View<'_>) {
        self.see_who_has_begun(view);
        self.choose_phase(view);
        self.follow_speakers(view);
        self.keep_links(view);
        self.forward(view);
        self.keep_homes(view);
        self.call_home(view);
        self.follow_calls(view, None);
        self.send_own(view, None, None);
        self.serve_watching(view);
    }

    /// Updates which mixers in force have begun.
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
                // The denied mixer has never stopped: it calls its speakers back, and the successor retires.
                self.called.clear();
                self.home = self.home.filter(|(rank, _)| *rank <= view.rank());
                self.begun.extend(mixers);
            }
        }
        if mixers.iter().all(|mixer| self.begun.contains(mixer)) {
            self.former.clear();
        }
    }

    /// Remembers that a mixer which is no longer in force had begun; past the limit one entry is dropped.
    fn note_former(&mut self, mixer: PeerId) {
        self.former.insert(mixer);
        if self.former.len() > MIXERS_MAX {
            self.former.pop_first();
        }
    }

    /// Remembers a program that has begun before its proof has arrived. The highest ranks are kept, so
    /// outdated announcements can't displace it.
    fn note_early(&mut self, spec: StreamSpec) {
        self.early.retain(|known| known.maker != spec.maker);
        self.early.push(spec);
        self.early.sort_by_key(|spec| Reverse(spec.rank));
        self.early.truncate(MIXERS_MAX);
    }

    fn choose_phase(&mut self, view: &mut View<'_>) {
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
            // A mixer that is elected again continues unchanged.
            Phase::Mixing(_) | Phase::Retiring(..) if view.mixes() => Phase::Mixing(rank),
            Phase::Mixing(old) if another_has_begun => Phase::Retiring(old, now),
            Phase::Mixing(_) => self.phase, // until the new mixer has begun
            Phase::Elected(since) if view.mixes() => self.begin_or_wait(view, since),
            // A standby that has failed over is warm already and begins at once.
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
            // the interim mixers wait for this before they retire
            view.send_stage(&Message::Media(MediaMessage::Started(own)));
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

    /// Returns the next phase of an elected mixer: it keeps warming up while another mixer forwards the
    /// speakers and it isn't ready, else it begins.
    fn begin_or_wait(&self, view: &View<'_>, since: Time) -> Phase {
        let forwarded =
            self.begun.iter().chain(&self.former).any(|by| *by != view.me && view.links.is_up(by));
        let waited = view.now.since(since);
        let ready = (self.warm && waited >= WARM_US_MIN) || waited >= WARM_US_MAX;
        if forwarded && !ready { Phase::Elected(since) } else { Phase::Mixing(view.rank()) }
    }

    /// The body has decoded a picture of every speaker.
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
        self.set_role(view); // a change in the number of speakers may change the mode
    }

    /// Keeps the links of the stage: the host with all, candidates with each other, speakers with the mixers,
    /// the standbys and three drawn peers, and in a mesh with each other.
    fn keep_links(&mut self, view: &mut View<'_>) {
        let mut wanted = OrderedSet::new();
        if let Some(mine) = view.stage.entry(&view.me).cloned() {
            let host = view.stage.host();
            let meshed = meshed_with(view);
            let is_candidate = |peer| view.stage.candidates().contains(peer);
            for entry in view.stage.present() {
                let both_mix = is_candidate(&mine.peer) && is_candidate(&entry.peer);
                let hosts = host == Some(view.me) || host == Some(entry.peer);
                if both_mix || hosts || meshed.contains(&entry.peer) {
                    wanted.insert(entry.peer);
                }
            }
            let serving = view.mandate.mixers.iter().chain(&view.mandate.standbys).copied();
            if mine.speaks {
                wanted.extend(serving.filter(|peer| view.stage.contains(peer)));
                // Drawn by both ids, so that a roster change affects few links.
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

    /// Forwards this mixer's speakers to the other mixers and to the standby. A mixer that is no longer in
    /// force forwards them to the mixers that have not begun.
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

    /// Updates the speakers at home here: this mixer's share among the mixers that have begun, or all
    /// speakers if it is no longer in force.
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

    /// Calls home the linked speakers of this mixer that haven't been called under this rank.
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

    /// Handles `Home`: a mixer calls this speaker home.
    pub(crate) fn home(&mut self, view: &mut View<'_>, from: PeerId, call: Call) {
        if call.rank >= view.rank() && may_call(view, &from) {
            self.calls.insert(from, call);
            self.follow_calls(view, Some(from));
        }
    }

    /// Follows the call that has just arrived, or a pending one: from the mixer that is to be this speaker's
    /// home, or the first call under a rank that is proven by now.
    fn follow_calls(&mut self, view: &mut View<'_>, caller: Option<PeerId>) {
        let rank = view.rank();
        self.calls.retain(|from, call| call.rank >= rank && may_call(view, from));
        let mesh = view.stage.mode() == Mode::Mesh;
        if mesh || self.calls.is_empty() || !view.config.speaks {
            return;
        }
        let own = self.own_home(view);
        let home = self.home.filter(|(known, _)| *known == rank).map(|(_, home)| home);
        // A mixer that doesn't know yet that another one has begun may call that mixer's speakers.
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
            // outdated if this mixer is followed again later
            let resume = call.own.resume.take();
            let beside = call.beside.as_mut().and_then(|beside| beside.resume.take());
            self.home = Some((rank, from));
            view.out.act(Output::EncodeAs(call.own.video));
            if let Some(PictureWanted { video, .. }) = call.beside {
                view.out.act(Output::EncodeBesideAs(video));
            }
            self.send_own(view, resume, beside);
        }
    }

    /// Returns the mixer that is this speaker's home once all mixers in force have begun.
    fn own_home(&mut self, view: &View<'_>) -> Option<PeerId> {
        let speakers = self.speaking();
        self.spread.homes(view.mandate.mixers.clone(), speakers).get(&view.me).copied()
    }

    fn speaking(&self) -> Vec<PeerId> {
        self.speakers.iter().map(|(speaker, _)| *speaker).collect()
    }

    /// Updates the receivers of this speaker's own stream, and of the picture beside it, which a home alone gets.
    fn send_own(&mut self, view: &mut View<'_>, resume: Option<Resume>, beside: Option<Resume>) {
        if !view.config.speaks || !view.speaks() {
            self.send_beside(view, None, None);
            if !self.sending_to.is_empty() {
                self.sending_to.clear();
                view.out.act(Output::SendOwn(Vec::new()));
            }
            return;
        }
        let to: Vec<PeerId> = match view.stage.mode() {
            Mode::Mesh => {
                if self.home.take().is_some() {
                    self.calls.clear(); // a mixer that begins later calls again
                }
                meshed_with(view).into_iter().filter(|peer| view.links.is_up(peer)).collect()
            }
            // Until a mixer has called, the peers of the former mesh still play the stream.
            _ => self.home.map_or(self.sending_to.clone(), |(_, home)| vec![home]),
        };
        if to != self.sending_to || resume.is_some() {
            self.sending_to = to;
            let targets = self.sending_to.iter().map(|peer| (*peer, resume)).collect();
            view.out.act(Output::SendOwn(targets));
        }
        self.send_beside(view, self.home.map(|(_, home)| home), beside);
    }

    fn send_beside(&mut self, view: &mut View<'_>, to: Option<PeerId>, resume: Option<Resume>) {
        if to != self.beside_to || resume.is_some() {
            self.beside_to = to;
            view.out.act(Output::SendBeside(to.map(|home| (home, resume))));
        }
    }

    /// Serves the program's picture to this mixer's viewing speakers, and for `STEP_BACK_US` to those that
    /// have just left the stage and search for a place in the tree.
    fn serve_watching(&mut self, view: &mut View<'_>) {
        let mut watching = OrderedSet::new();
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

    /// The tree has stopped serving a peer. If that peer has come on stage meanwhile, its picture as a
    /// speaker stopped too, and is served again.
    pub(crate) fn tree_unserves(&mut self, view: &mut View<'_>, peer: PeerId) {
        if self.watching.contains(&peer) {
            view.out.act(Output::Serve { peer, from: None, sound: false });
        }
    }

    /// A program has begun, this mixer's own or another's.
    pub(crate) fn started(&mut self, view: &mut View<'_>, spec: &StreamSpec) {
        let proper = view.mandate.allows(spec);
        let in_force = view.mandate.mixers.contains(&spec.maker);
        // A former mixer may be in force again with the program that it had, while the outcome of that vote
        // is still on its way to this peer.
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
                view.send_stage(&Message::Media(MediaMessage::Started(*spec)));
            }
            self.update(view);
        }
    }

    /// Handles a link that came up or went down: announcements are sent again on a new link.
    pub(crate) fn link_changed(&mut self, view: &mut View<'_>, peer: PeerId, up: bool) {
        if !up {
            self.called.remove(&peer);
        } else if let Some(own) = self.own
            && self.is_mixing()
            && view.stage.contains(&peer)
        {
            view.out.send(peer, MediaMessage::Started(own));
        }
        self.update(view);
    }

    pub(crate) fn bounds(&self) -> [Bound; 7] {
        [
            Bound::new("calls home", self.calls.len(), ROSTER_MAX + MIXERS_MAX),
            Bound::new("mixers that have begun", self.begun.len(), MIXERS_MAX),
            Bound::new("previous mixers that had begun", self.former.len(), MIXERS_MAX),
            Bound::new("programs that began before their proof", self.early.len(), MIXERS_MAX),
            Bound::new("speakers with this mixer as home", self.called.len(), ROSTER_MAX),
            Bound::new(
                "viewing speakers, and peers stepping back from the stage",
                self.watching.len(),
                ROSTER_MAX + STEPPING_BACK_MAX,
            ),
            Bound::new("destinations of the own stream", self.sending_to.len(), ROSTER_MAX),
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
