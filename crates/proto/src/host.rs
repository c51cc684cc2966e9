//! The host: admission, and the roster as it will be signed next.
//!
//! The host admits peers, grants and takes the floor, and signs each change of the roster under the next
//! epoch. It marks a peer that is silent for [`AWAY_US`] as `away` (it neither measures nor mixes), and
//! removes peers that stay away. Changes within [`FLUSH_US`] share one epoch. The audience isn't in the roster:
//! the host keeps a bounded directory of it, and the number of viewers that each mixer counts.

mod admission;
mod audience;
mod reopening;
mod rivals;

use std::cmp::Reverse;

use reopening::Reopener;
pub use reopening::Reopening;
use rivals::Reclaimed;

use crate::ordered::{OrderedMap, OrderedSet};

use crate::app::Event;
use crate::bounded::{Bound, List, Text};
use crate::bucket::{Bucket, Buckets, Rate};
use crate::complaints::Complaints;
use crate::config::HostConfig;
use crate::directory::{DIRECTORY_MAX, Directory, DirectoryEntry};
use crate::floor::Floor;
use crate::id::PeerId;
use crate::lobby::{Lobby, Newcomer};
use crate::message::{
    Access, Confirmed, ElectionMessage, Entry, HEIRS_MAX, HostMessage, Join, MIXERS_MAX, MemberMessage,
    Message, MixPolicy, NAME_LEN_MAX, ProgramLayout, ProvenRoster, REIGN_NUMBER_MAX, ROSTER_MAX, Reign,
    Reigns, Roster, Rules, SignedRoster, Successor, Vote, first_epoch, reign_of,
};
use crate::mutation::Mutation;
use crate::outbox::Note;
use crate::seal::{Keypair, Signed, key_hash};
use crate::stage::BOUND_US;
use crate::time::{MS, SECOND, Time};
use crate::view::View;

/// Silence after which a roster peer is away: equal to the silence that ends a link.
const AWAY_US: u64 = 5 * SECOND;
/// Silence after which a peer is removed from the roster. A guess: longer than a phone's change of network
/// takes.
const FORGET_US: u64 = 60 * SECOND;
/// Time within which changes share one roster. A guess.
const FLUSH_US: u64 = 30 * MS;
/// Time after which the audience is over, if no mixer has reported viewers and no viewer has joined. A guess.
const AUDIENCE_GONE_US: u64 = 5 * SECOND;
/// Validity of a refusal in seconds: it answers a recent request. A guess.
const REFUSAL_LIFE_S: u64 = 600;
/// Interval at which the host checks for away peers. A guess.
const LOOK_US: u64 = SECOND;

/// Maximum peers that an application names as members. As many as a directory holds.
const MEMBERS_MAX: usize = DIRECTORY_MAX;
/// Time on stage after which a peer votes that the host didn't name: ids cost nothing, and without it two peers that
/// come right after the host outvote it. A guess.
const VOTES_AFTER_US: u64 = 300 * SECOND;
/// Maximum peers on an open stage that consent to mix and that the host didn't name: ids cost nothing, and each
/// candidate is measured, linked with all others, and takes a place on stage. A guess: an election has hardly more that
/// differ.
const UNNAMED_CANDIDATES_MAX: usize = 8;
/// Maximum peers that the host has named.
const NAMED_MAX: usize = ROSTER_MAX;
/// Time for which a host that opens its room again waits for the rosters of members that have stayed, and admits
/// nobody: newcomers would follow a replayed roster of an earlier session. A guess: members contact a host that may
/// have restarted within a second.
const REOPEN_US: u64 = 3 * SECOND;
/// The same once a member has answered. A guess: the answers of the other two that the rendezvous asks.
const REOPEN_ANSWERED_US: u64 = 300 * MS;
/// Interval at which such a host asks the members for their rosters. A guess: some round trips.
const REOPEN_ASK_US: u64 = 500 * MS;
/// Maximum number of newcomers that ask while the room opens again, and are answered when it is open. A guess: a full
/// stage that comes back at once; others ask again by themselves.
const EARLY_JOINS_MAX: usize = ROSTER_MAX;
/// Interval at which the host takes its room back: numbers of reigns are limited. A guess.
const RECLAIM_EACH_US: u64 = 30 * SECOND;
/// Time for which the host remembers that most of its stage was away: a cut-off host's stage may
/// have reached a majority alone. As long as a superseded roster counts.
const CUT_OFF_US: u64 = 30 * SECOND;
/// Time after which a new host repeats its word on the outcome in force: superseded rosters have ceased to count by
/// then, so that peers which followed another outcome under one of them drop it. A guess.
const CONFIRM_AGAIN_US: u64 = 35 * SECOND;
/// Time beyond [`BOUND_US`](crate::stage::BOUND_US) for which a chosen host waits: other peers may have heard the host
/// before it a little later. A guess.
const BOUND_SLACK_US: u64 = 2 * SECOND;
/// `Join`s of one peer that are answered. Each may cost an answer of kilobytes, a signature, or a question to the
/// application. The burst is a guess: a repetition, and a change of mind.
const JOINS_EACH: Rate = Rate { per_s: 1, burst: 3 };
/// `Join`s of all newcomers that are answered, and those of all peers off stage that show a ticket. An answer takes
/// about 150 µs, and has a kilobyte or more. The burst is a flash crowd: with 512 at once and 32 per second, half of
/// 5,000 viewers that came together waited for more than 20 s (flash-5k).
const JOINS: Rate = Rate { per_s: 256, burst: 8192 };
const RENEWALS: Rate = Rate { per_s: 256, burst: 1024 };
/// Maximum number of joiners that are counted one by one; beyond it those that asked least often are forgotten.
const JOINERS_MAX: usize = 512;

/// State of the host, from which it makes the next roster.
#[derive(Debug)]
pub(crate) struct Host {
    /// Key that signs rosters: the root key, or this peer's own key if the stage made it host.
    key: Keypair,
    reigns: Reigns,
    rules: Rules,
    entries: Vec<Entry>,
    audience: bool,
    signed: Option<SignedRoster>,
    /// Time at which the pending changes are signed; `None` without changes.
    flush_at: Option<Time>,
    heard: OrderedMap<PeerId, Time>,
    speakers_seen: u8,
    audience_seen: Time,
    /// Numbers of viewers that each mixer counts: all, and those that record; and when it said so.
    viewers: OrderedMap<PeerId, (u32, u32, Time)>,
    /// Number of viewers that record in the next roster, and since when.
    recorders: (u32, Time),
    look_at: Time,
    floor: Floor,
    /// Peers that left the stage but not the room: the next roster is sent to them too.
    stepped_down: OrderedSet<PeerId>,
    directory: Directory,
    complaints: Complaints,
    lobby: Lobby,
    /// Peers that need not wait in the lobby.
    members: OrderedSet<PeerId>,
    /// Peers that the host named: they vote and may mix from the moment they come.
    named: OrderedSet<PeerId>,
    /// When each peer on stage came.
    since: OrderedMap<PeerId, Time>,
    /// Peers on stage that have restarted and haven't asked to join again yet.
    restarted: OrderedSet<PeerId>,
    reclaimed: Option<Reclaimed>,
    reopening: Reopener,
    /// Newcomers that have asked while the room opens again.
    early_joins: OrderedMap<PeerId, Join>,
    /// Last time at which most stage peers were away.
    cut_off_at: Option<Time>,
    /// Whether this host is alone on stage, since the others have been silent for too long.
    is_forsaken: bool,
    confirm_at: Option<Time>,
    /// Until when a host that the stage chose neither ends the room nor removes peers nor replaces the invite.
    bound_until: Option<Time>,
    /// Budgets for answers to `Join`s of peers off stage: one of all newcomers, one of all members, one of each peer.
    joins: Bucket,
    renewals: Bucket,
    joins_each: Buckets<JOINERS_MAX>,
    /// The same for each peer on stage, which strangers can't use up.
    joins_on_stage: Buckets<ROSTER_MAX>,
}

impl Host {
    /// Opens the room, with the host itself on stage.
    pub(crate) fn open(view: &mut View<'_>, config: HostConfig, join: &Join) -> Host {
        let rules = Rules {
            stage_open: config.stage_open,
            mixing: config.mixing.unwrap_or(match config.stage_open {
                true => MixPolicy::Anyone,
                false => MixPolicy::Named,
            }),
            expires_unix_s: config
                .invite_expires_us
                .map(|us| view.config.unix_s(Time(0)) + us.div_ceil(SECOND)),
            program: config.program,
            k: config.k,
            k1: config.k1,
            mixers: config.mixers,
            layout: config.layout,
            title: config.title,
            access: Access {
                generation: view.key.map_or(0, |key| key.generation),
                key_hash: view.key.map_or([0; 16], |key| key_hash(&view.config.room, &key.key)),
                lobby: config.lobby,
                locked: config.locked,
                removed: List::truncated(config.removed),
                ..Access::default()
            },
        };
        let members = config.members.into_iter().take(MEMBERS_MAX).collect();
        let reign_min = config.reign.min(REIGN_NUMBER_MAX);
        let mut host = Host {
            members,
            reopening: Reopener::new(view.now, reign_min),
            ..Host::new(view, config.root, Reigns::default(), rules)
        };
        host.enter(view, view.me, join);
        host.flush(view);
        host
    }

    /// Continues with the previous host's roster and settings, under a new reign.
    pub(crate) fn succeed(view: &mut View<'_>, reign: Reign) -> Option<Host> {
        let before = view.stage.signed()?.clone();
        let Roster { entries, audience, rules, .. } = before.signed.body.clone();
        // what the root key says needs no further proof
        let by_root = reign.is_by(&view.config.root);
        let mut reigns = if by_root { Reigns::default() } else { before.reigns.clone() };
        reigns.0.push(reign).ok()?;
        let mut entries = entries.into_vec();
        entries.sort_by_key(|entry| entry.peer != view.me); // the host comes first
        let seen = entries.iter().filter(|entry| entry.speaks).map(|entry| entry.index.saturating_add(1));
        let mut host = Host {
            audience,
            speakers_seen: seen.max().unwrap_or(0),
            // every peer gets the full time to be heard, except the host that is gone
            heard: entries.iter().map(|entry| (entry.peer, view.now)).collect(),
            since: entries.iter().map(|entry| (entry.peer, view.now)).collect(),
            confirm_at: Some(view.now + CONFIRM_AGAIN_US),
            entries,
            recorders: (before.signed.body.recorders, view.now),
            ..Host::new(view, view.keys.clone(), reigns, rules)
        };
        let before = before.signed.body.host;
        let chosen = host.reigns.0.last().is_some_and(|reign| matches!(reign, Reign::Chosen { .. }));
        if chosen {
            let heard = view.stage.host_heard().unwrap_or(view.now);
            host.bound_until = Some(heard + BOUND_US + BOUND_SLACK_US);
            host.heard.insert(before, Time(view.now.0.saturating_sub(AWAY_US)));
        }
        for entry in &mut host.entries {
            let gone = entry.peer == before && chosen;
            entry.away |= gone;
            // a dead host's vote would block majorities until the new host forgets it
            entry.votes = match entry.votes {
                _ if entry.peer == view.me => Vote::Named,
                _ if gone => Vote::No,
                before => before,
            };
        }
        host.flush(view);
        Some(host)
    }

    fn new(view: &View<'_>, key: Keypair, reigns: Reigns, rules: Rules) -> Host {
        Host {
            key,
            reigns,
            rules,
            entries: Vec::new(),
            audience: false,
            signed: None,
            flush_at: None,
            heard: OrderedMap::new(),
            speakers_seen: 0,
            audience_seen: view.now,
            viewers: OrderedMap::new(),
            recorders: (0, view.now),
            look_at: view.now + LOOK_US,
            floor: Floor::default(),
            stepped_down: OrderedSet::new(),
            directory: Directory::new(view.keys),
            complaints: Complaints::default(),
            lobby: Lobby::default(),
            members: OrderedSet::new(),
            named: OrderedSet::new(),
            since: OrderedMap::new(),
            restarted: OrderedSet::new(),
            reclaimed: None,
            reopening: Reopener::new(view.now, 0),
            early_joins: OrderedMap::new(),
            cut_off_at: None,
            is_forsaken: false,
            confirm_at: None,
            bound_until: None,
            joins: Bucket::new(JOINS, view.now),
            renewals: Bucket::new(RENEWALS, view.now),
            joins_each: Buckets::new(JOINS_EACH),
            joins_on_stage: Buckets::new(JOINS_EACH),
        }
    }

    /// Hands the room over to a peer on stage, on the application's command: that peer signs the next roster.
    pub(crate) fn hand_over(&mut self, view: &mut View<'_>, peer: PeerId) {
        let Some(epoch) = self.signed.as_ref().map(|signed| signed.epoch) else { return };
        let number = reign_of(epoch) + 1;
        let is_on_stage = self.entries.iter().any(|entry| entry.peer == peer);
        if peer != view.me && is_on_stage && number <= REIGN_NUMBER_MAX {
            // signed with the root key if possible: a root-signed reign isn't taken back
            let key = view.config.host.as_ref().map_or(&self.key, |config| &config.root).clone();
            let named = successor(view, &key, epoch, number, peer);
            view.out.send(peer, HostMessage::HandOver(named));
        }
    }

    /// Hands the room over to the first heir, because this host leaves. Returns whether there is one.
    pub(crate) fn hand_over_to_heir(&mut self, view: &mut View<'_>) -> bool {
        let heirs = self.heirs(view.me);
        let heir = heirs.iter().find(|heir| view.links.is_up(heir)).or(heirs.first());
        if let Some(heir) = heir {
            self.hand_over(view, *heir);
        }
        heir.is_some()
    }

    /// Moves the time at which the invite ends, as the room's time moves.
    pub(crate) fn move_invite_end(&mut self, now: Time, later_s: i64) {
        if let Some(end) = &mut self.rules.expires_unix_s {
            *end = end.saturating_add_signed(later_s);
            self.change(now);
        }
    }

    /// Whether the stage chose this host within the last seconds: its predecessor may return, and limits its powers.
    pub(crate) fn is_bound(&self, now: Time) -> bool {
        self.bound_until.is_some_and(|until| now < until)
    }

    /// Signs this host's word on the outcome in force, for peers that can't tell which majority still counts.
    pub(crate) fn confirm(&mut self, view: &mut View<'_>) {
        let Some(decided) = &view.mandate.decided else { return };
        let word = Confirmed::of(&decided.body);
        *view.counter += 1;
        let epoch = self.signed.as_ref().map_or(0, |signed| signed.epoch);
        let word = Signed::new(&self.key, &view.config.room, epoch, *view.counter, u64::MAX, word);
        view.send_stage(&Message::Election(ElectionMessage::Confirmed(word.clone())));
        view.out.note(Note::Confirmed(word));
    }

    /// Records that something arrived from a peer, which is therefore not away.
    pub(crate) fn heard(&mut self, now: Time, peer: PeerId) {
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.peer == peer) {
            self.heard.insert(peer, now);
            if entry.away {
                entry.away = false;
                self.change(now);
            }
        }
    }

    /// Records the arrival time even for a viewer, which breaks a rule: only for
    /// [`crate::mutation::Mutation::RemembersTheAudience`].
    pub(crate) fn remember(&mut self, now: Time, peer: PeerId) {
        self.heard.insert(peer, now);
    }

    /// Takes a member's report of its position in the tree, and of a peer that fed it nothing. Peers on stage, mixers
    /// above all, aren't named to the application: the stage measures them, and elects others.
    pub(crate) fn position(
        &mut self,
        view: &mut View<'_>,
        peer: PeerId,
        name: &Text<NAME_LEN_MAX>,
        place: (Option<PeerId>, u8),
        fed_nothing: Option<PeerId>,
    ) {
        self.directory.moved(view.now, peer, name, place);
        if let Some(of) = fed_nothing.filter(|of| !self.entries.iter().any(|entry| entry.peer == *of))
            && self.complaints.take(view.now, &self.directory, peer, of)
        {
            let name = self.directory.get(&of).map(|entry| entry.name.to_string()).unwrap_or_default();
            view.out.event(Event::NotForwarding { peer: of, name });
        }
    }

    /// Returns the peers in the room, as far as the directory holds them.
    pub(crate) fn directory(&self) -> impl Iterator<Item = (&PeerId, &DirectoryEntry)> {
        self.directory.iter()
    }

    /// Returns the peers in the lobby.
    pub(crate) fn lobby(&self, now: Time) -> impl Iterator<Item = Newcomer> {
        self.lobby.waiting(now)
    }

    /// Returns the peers in the room that wait for the floor, with their names, the oldest request first.
    pub(crate) fn hands(&self) -> Vec<(PeerId, &str)> {
        let named = |peer: PeerId| {
            let on_stage = self.entries.iter().find(|entry| entry.peer == peer).map(|entry| &*entry.name);
            let name = on_stage.or_else(|| self.directory.get(&peer).map(|entry| &*entry.name));
            name.map(|name| (peer, name))
        };
        self.floor.pending().into_iter().filter_map(named).collect()
    }

    /// Offers a peer the floor, on the application's command.
    pub(crate) fn promote(&mut self, view: &mut View<'_>, peer: PeerId) {
        let speaks = self.entries.iter().any(|entry| entry.peer == peer && entry.speaks);
        if !speaks && peer != view.me {
            self.floor.offer(view.now, peer);
        }
        self.name(view.now, peer);
    }

    /// Whether the host named a peer, by a command or as a member.
    pub(super) fn is_named(&self, peer: &PeerId) -> bool {
        self.named.contains(peer) || self.members.contains(peer)
    }

    /// Sets which of the peers that consent may mix, on the application's command.
    pub(crate) fn set_mixing(&mut self, now: Time, mixing: MixPolicy) {
        if std::mem::replace(&mut self.rules.mixing, mixing) != mixing {
            self.change(now);
        }
    }

    /// Takes a peer's vote, which the host gave it.
    fn unname(&mut self, now: Time, peer: PeerId) {
        self.named.remove(&peer);
        let is_named = self.is_named(&peer);
        let entry = self.entries.iter_mut().find(|entry| entry.peer == peer && entry.votes == Vote::Named);
        if let Some(entry) = entry.filter(|_| !is_named) {
            entry.votes = Vote::No; // until its time has come
            self.change(now);
        }
    }

    /// Gives a peer a vote, now if it is on stage, and whenever it comes.
    pub(super) fn name(&mut self, now: Time, peer: PeerId) {
        if self.named.len() < NAMED_MAX {
            self.named.insert(peer);
        }
        if self.named.contains(&peer)
            && let Some(entry) =
                self.entries.iter_mut().find(|entry| entry.peer == peer && entry.votes != Vote::Named)
        {
            entry.votes = Vote::Named;
            self.change(now);
        }
    }

    /// Takes the floor from a peer or denies its request, on the application's command.
    pub(crate) fn demote(&mut self, view: &mut View<'_>, peer: PeerId) {
        if peer == view.me {
            return;
        }
        self.unname(view.now, peer);
        self.floor.take(view.now, peer);
        view.out.send(peer, HostMessage::Floor(false));
        match self.entries.iter_mut().find(|entry| entry.peer == peer) {
            Some(entry) if entry.speaks && entry.mixes => {
                entry.speaks = false;
                self.change(view.now);
            }
            Some(entry) if entry.speaks => self.step_down(view.now, peer),
            _ => {}
        }
    }

    /// Removes a peer from the stage that stays in the room.
    fn step_down(&mut self, now: Time, peer: PeerId) {
        if self.remove(now, &peer) {
            if self.stepped_down.len() >= ROSTER_MAX {
                self.stepped_down.pop_first(); // that peer gets the roster from its parent
            }
            self.stepped_down.insert(peer);
        }
    }

    /// Removes a peer that is gone for good.
    pub(crate) fn gone(&mut self, now: Time, peer: PeerId) {
        self.floor.leave(&peer);
        self.directory.left(&peer);
        self.complaints.left(&peer);
        self.remove(now, &peer);
    }

    fn remove(&mut self, now: Time, peer: &PeerId) -> bool {
        let before = self.entries.len();
        self.entries.retain(|entry| entry.peer != *peer);
        self.heard.remove(peer);
        self.since.remove(peer);
        self.restarted.remove(peer);
        let removed = self.entries.len() != before;
        if removed {
            self.change(now);
        }
        removed
    }

    /// Continues from a newer roster that this peer signed as host before a restart, which a member has sent:
    /// its peers stay on stage, its settings stay in force, and the next roster follows it. What the host has
    /// done since is kept: newcomers stay, the invite gets its new lifetime.
    pub(crate) fn resume(&mut self, view: &mut View<'_>) {
        let Some(newest) = view.stage.signed().cloned() else { return };
        let older = self.signed.as_ref().is_none_or(|signed| signed.epoch < newest.epoch);
        if !older || newest.reigns != self.reigns || newest.body.host != view.me {
            return;
        }
        let Roster { entries, audience, rules, .. } = newest.body.clone();
        let Rules { mixing, expires_unix_s, title, access: own, .. } = self.rules.clone();
        self.rules = Rules { mixing, expires_unix_s, ..rules };
        if !title.is_empty() {
            self.rules.title = title;
        }
        let access = &mut self.rules.access;
        // the keys with which the host came back are those of the newest invite
        if own.generation >= access.generation {
            (access.generation, access.key_hash) = (own.generation, own.key_hash);
        }
        self.keep_out(&own);
        (self.audience, self.audience_seen) = (self.audience || audience, view.now);
        let seen = entries.iter().filter(|entry| entry.speaks).map(|entry| entry.index.saturating_add(1));
        self.speakers_seen = self.speakers_seen.max(seen.max().unwrap_or(0));
        let since = std::mem::take(&mut self.entries);
        let removed = |peer: &PeerId| self.rules.access.removed.contains(peer);
        self.entries = entries.into_vec();
        for entry in since.into_iter().filter(|entry| !removed(&entry.peer)) {
            match self.entries.iter_mut().find(|known| known.peer == entry.peer) {
                Some(known) => {
                    let index = if known.speaks && entry.speaks { known.index } else { entry.index };
                    *known = Entry { index, ..entry };
                }
                None => self.entries.push(entry),
            }
        }
        self.entries.sort_by_key(|entry| entry.peer != view.me); // the host comes first
        self.entries.truncate(ROSTER_MAX);
        // every peer gets the full time to be heard
        self.heard = self.entries.iter().map(|entry| (entry.peer, view.now)).collect();
        self.signed = Some(newest);
        self.flush(view);
    }

    /// Sets the number of mixers, on the application's command.
    pub(crate) fn set_mixers(&mut self, now: Time, mixers: u8) {
        self.rules.mixers = mixers;
        self.change(now);
    }

    /// Sets the layout of the program, on the application's command.
    pub(crate) fn set_layout(&mut self, now: Time, layout: ProgramLayout) {
        if self.rules.layout != layout {
            self.rules.layout = layout;
            self.change(now);
        }
    }

    /// Sets whether any peer may speak on request, or the application decides.
    pub(crate) fn open_stage(&mut self, now: Time, open: bool) {
        if std::mem::replace(&mut self.rules.stage_open, open) != open {
            self.change(now);
        }
    }

    /// A peer's process has restarted. The roster says so with the peer's next `Join`, which is limited in rate.
    pub(crate) fn restarted(&mut self, peer: PeerId) {
        if self.entries.iter().any(|entry| entry.peer == peer) {
            self.restarted.insert(peer);
        }
    }

    /// Puts a peer on stage or updates its entry; returns false if the stage is full. On a full one speakers and peers
    /// that the host named take the place of an idle candidate that it didn't name.
    pub(crate) fn enter(&mut self, view: &View<'_>, peer: PeerId, join: &Join) -> bool {
        let now = view.now;
        let is_new = self.entries.iter().all(|entry| entry.peer != peer);
        if is_new && self.entries.len() >= ROSTER_MAX {
            let sits = |peer: &PeerId| view.mandate.mixers.contains(peer);
            let idle =
                self.entries.iter().rev().find(|entry| is_unnamed_candidate(entry) && !sits(&entry.peer));
            let idle = idle.map(|entry| entry.peer).filter(|_| join.speaks || self.is_named(&peer));
            let Some(idle) = idle else { return false };
            self.step_down(now, idle);
        }
        let has_restarted = self.restarted.remove(&peer);
        let before = self.entries.iter().find(|entry| entry.peer == peer);
        let session = match before {
            Some(before) if !has_restarted => before.session,
            _ => self.signed.as_ref().map_or(0, |signed| signed.epoch.wrapping_add(1) as u8),
        };
        self.heard.insert(peer, now);
        self.since.entry(peer).or_insert(now);
        let is_host = before.is_none() && self.entries.is_empty(); // the host enters first
        let votes = match before {
            _ if is_host || self.is_named(&peer) => Vote::Named,
            before => before.map_or(Vote::No, |before| before.votes),
        };
        let (speaks_anew, index) = match before {
            Some(before) if before.speaks || !join.speaks => (false, before.index),
            _ if join.speaks => (true, self.next_index()),
            _ => (false, 0),
        };
        let Join { name, speaks, views, mixes, muted, shares, no_solo, records, .. } = join.clone();
        let away = false;
        let entry = Entry {
            peer,
            name,
            speaks,
            views,
            mixes,
            away,
            index,
            votes,
            muted,
            shares,
            no_solo,
            records,
            session,
        };
        match self.entries.iter_mut().find(|entry| entry.peer == peer) {
            Some(before) if *before == entry => return true,
            Some(before) => *before = entry,
            None => self.entries.push(entry),
        }
        self.speakers_seen = self.speakers_seen.saturating_add(u8::from(speaks_anew));
        self.change(now);
        true
    }

    /// Returns the tile index of a new speaker: an index that no speaker had before, until all indices are
    /// used up.
    fn next_index(&self) -> u8 {
        let used = |index: &u8| self.entries.iter().any(|entry| entry.speaks && entry.index == *index);
        match self.speakers_seen {
            u8::MAX => (0..u8::MAX).find(|index| !used(index)).unwrap_or(u8::MAX),
            seen => seen,
        }
    }

    fn change(&mut self, now: Time) {
        self.flush_at.get_or_insert(now + FLUSH_US);
    }

    /// Marks away peers, removes those that stay away, and re-evaluates whether there is an audience.
    fn update(&mut self, view: &View<'_>) {
        let now = view.now;
        self.forgive_standstill(now);
        self.look_at = now + LOOK_US;
        self.heard.insert(view.me, now);
        let heard = |peer: &PeerId| self.heard.get(peer).map_or(u64::MAX, |at| now.since(*at));
        let mut changed = false;
        for entry in &mut self.entries {
            let away = heard(&entry.peer) >= AWAY_US;
            changed |= away != entry.away;
            entry.away = away;
        }
        let before = self.entries.len();
        self.entries.retain(|entry| heard(&entry.peer) < FORGET_US);
        let forgets = self.entries.len() != before;
        changed |= forgets;
        self.is_forsaken = self.entries.len() == 1 && (forgets || self.is_forsaken);
        self.since.retain(|peer, _| self.entries.iter().any(|entry| entry.peer == *peer));
        let since = |peer: &PeerId| self.since.get(peer).map_or(0, |at| now.since(*at));
        for entry in self.entries.iter_mut().filter(|entry| entry.votes == Vote::No) {
            if since(&entry.peer) >= VOTES_AFTER_US {
                entry.votes = Vote::ByTime;
                changed = true;
            }
        }
        let present = self.entries.iter().filter(|entry| !entry.away).count();
        if 2 * present <= self.entries.len() || self.is_forsaken {
            self.cut_off_at = Some(now);
        }
        self.heard.retain(|peer, at| now.since(*at) < FORGET_US || *peer == view.me);
        let audience = self.audience && now.since(self.audience_seen) < AUDIENCE_GONE_US;
        changed |= audience != self.audience;
        self.audience = audience;
        changed |= self.count_recorders(now);
        if changed {
            self.change(now);
        }
    }

    /// Signs the roster under the next epoch.
    fn flush(&mut self, view: &mut View<'_>) {
        self.flush_at = None;
        let next = u32::from(!view.mandate.mutated.is(Mutation::ReusesEpochs));
        let first = first_epoch(self.reigns.number());
        let epoch = self.signed.as_ref().map_or(first, |signed| first.max(signed.epoch + next));
        let roster = Roster {
            host: view.me,
            entries: List::truncated(self.entries.iter().cloned()),
            acting: self.acting(),
            audience: self.audience,
            rules: self.rules.clone(),
            heirs: self.heirs(view.me),
            recorders: self.recorders.0,
        };
        let signed = Signed::new(&self.key, &view.config.room, epoch, u64::from(epoch), u64::MAX, roster);
        let signed = SignedRoster::new(ProvenRoster { signed, reigns: self.reigns.clone() });
        self.signed = Some(signed.clone());
        for peer in std::mem::take(&mut self.stepped_down) {
            view.out.send(peer, MemberMessage::Roster(signed.clone()));
        }
        view.out.note(Note::Signed(signed));
    }

    /// Returns the heirs, in order: present peers, voters first, speakers and viewers before headless mixers,
    /// which have no user to govern, candidates before others, because they are linked with each other,
    /// then in the order of joining.
    fn heirs(&self, me: PeerId) -> List<PeerId, HEIRS_MAX> {
        let mut heirs: Vec<_> = self.entries.iter().filter(|entry| !entry.away && entry.peer != me).collect();
        let is_headless = |entry: &Entry| !entry.speaks && !entry.views;
        heirs.sort_by_key(|entry| (Reverse(entry.votes), is_headless(entry), !entry.mixes));
        List::truncated(heirs.into_iter().map(|entry| entry.peer))
    }

    /// Returns the acting mixer of term 0: the previous acting mixer while it is present and consents;
    /// otherwise the host, or, if the host doesn't mix, the present, consenting peer with the lowest id.
    fn acting(&self) -> Option<PeerId> {
        let may_mix = |entry: &Entry| self.rules.mixing == MixPolicy::Anyone || entry.votes == Vote::Named;
        let willing = |entry: &&Entry| entry.mixes && !entry.away && may_mix(entry);
        let before = self.signed.as_ref().and_then(|signed| signed.body.acting);
        let stays =
            before.filter(|peer| self.entries.iter().filter(willing).any(|entry| entry.peer == *peer));
        let mut candidates = self.entries.iter().filter(willing);
        let host = self.entries.first().filter(willing).map(|entry| entry.peer);
        stays.or(host).or_else(|| candidates.by_ref().map(|entry| entry.peer).min())
    }

    pub(crate) fn on_time(&mut self, view: &mut View<'_>) {
        if self.look_at <= view.now {
            self.update(view);
        }
        self.directory.on_time(view.now);
        for peer in self.floor.due(view.now) {
            view.out.send(peer, HostMessage::Floor(true));
        }
        if self.flush_at.is_some_and(|at| at <= view.now) {
            self.flush(view);
        }
        self.reopening_on_time(view);
        if self.confirm_at.take_if(|at| *at <= view.now).is_some() {
            self.confirm(view);
        }
    }

    pub(crate) fn bounds(&self) -> impl Iterator<Item = Bound> {
        let own = [
            Bound::new("roster entries at the host", self.entries.len(), ROSTER_MAX),
            Bound::new("last-heard times of stage peers", self.heard.len(), 2 * ROSTER_MAX),
            Bound::new("peers that recently left the stage", self.stepped_down.len(), ROSTER_MAX + 2),
            Bound::new(
                "peers that ask to join while the room opens",
                self.early_joins.len(),
                EARLY_JOINS_MAX,
            ),
            Bound::new("peers that the host named as voters", self.named.len(), NAMED_MAX),
            Bound::new("times at which stage peers came", self.since.len(), 2 * ROSTER_MAX),
            Bound::new("stage peers that come back", self.restarted.len(), ROSTER_MAX),
            Bound::new("members that need not wait", self.members.len(), MEMBERS_MAX),
            Bound::new("mixers' numbers of viewers", self.viewers.len(), MIXERS_MAX),
            Bound::new("peers off stage with recent `Join`s", self.joins_each.len(), JOINERS_MAX),
            Bound::new("peers on stage with recent `Join`s", self.joins_on_stage.len(), ROSTER_MAX),
            self.directory.bound(),
        ];
        let complaints = self.complaints.bounds();
        own.into_iter().chain(complaints).chain(self.floor.bounds()).chain(self.lobby.bounds())
    }

    pub(crate) fn next_timeout(&self) -> Option<Time> {
        let own = [self.flush_at, Some(self.look_at), self.confirm_at, self.reopening.next_timeout()];
        let times = own.into_iter().chain([self.floor.next_timeout(), self.directory.next_timeout()]);
        times.flatten().min()
    }
}

/// Whether a peer is on stage only because it consents to mix, and the host didn't name it.
fn is_unnamed_candidate(entry: &Entry) -> bool {
    entry.mixes && !entry.speaks && entry.votes != Vote::Named
}

/// Signs the appointment of a host under the reign of that number.
pub(crate) fn successor(
    view: &mut View<'_>,
    key: &Keypair,
    epoch: u32,
    number: u32,
    host: PeerId,
) -> Signed<Successor> {
    *view.counter += 1;
    Signed::new(key, &view.config.room, epoch, *view.counter, u64::MAX, Successor { number, host })
}
