//! Application data: broadcast from one peer on stage to the whole room.
//!
//! The source signs each piece and sends it to the mixers; the lead sends it to the rest of the stage, and
//! every peer forwards it to the children it feeds. So data goes down the same tree as the program, and every
//! receiver can verify the source.
//!
//! - *Loose* data is sent once, as a datagram; a receiver that has seen a newer piece drops an older piece.
//! - *Reliable* data is delivered to the application in order and without duplicates. Links lose nothing, but
//!   parents die. So every peer keeps the last pieces, and a peer that gets another parent, or misses a
//!   piece, sends its progress (`DataHeld`) and is sent the pieces that it lacks. A missing piece is skipped
//!   after [`GIVE_UP_US`], and the application is informed.
//!
//! A newcomer is sent the state of all sources when it links, and gets the data published from then on. A
//! source sends its last pieces again when the mixers change.
//!
//! All sources share one rate ([`Shares`]), which a viewer's line carries beside the program. Each peer counts every
//! piece, and neither delivers nor forwards what is beyond a source's share. A source counts what it hears too, and
//! asks for a little less than its share, so that nobody drops its pieces.

use crate::ordered::OrderedMap;
use std::collections::VecDeque;

use crate::app::{Event, Reason};
use crate::bounded::{Bound, List};
use crate::bucket::{Bucket, Buckets, Rate};
use crate::id::PeerId;
use crate::io::Output;
use crate::message::{
    DATA_LEN_MAX, Data, DataHeld, DataHeldAll, DataMessage, Delivery, LOOSE_LEN_MAX, Message, ROSTER_MAX,
    Vote,
};
use crate::seal::Signed;
use crate::shares::{Limits, Shares};
use crate::stage::{Mode, Stage};
use crate::time::{MS, SECOND, Time};
use crate::view::{STATEMENT_LIFE_S, View, signed_unix_s};

/// Maximum number of reliable pieces of all sources kept for peers that lack them, and their maximum bytes. A
/// guess.
const KEPT_MAX: usize = 256;
const KEPT_BYTES_MAX: usize = 512 * 1024;
/// Maximum number of pieces of one source that wait for an earlier piece; beyond it new pieces are dropped
/// and requested later. A guess.
const AHEAD_MAX: usize = 64;
/// Delay before a missing piece is requested, because pieces often arrive out of order by a hop's difference.
/// It doubles with each further request. A guess.
const ASK_US: u64 = 100 * MS;
/// Time after which a missing piece is skipped: longer than the recovery from any parent's failure takes.
const GIVE_UP_US: u64 = 5 * SECOND;
/// Age up to which a source resends its pieces when the mixers change, because the mixers that received those
/// pieces may have been dead. A guess: longer than a failover, after which 95 % of the viewers are to have the
/// program again within 1 s (target of scenario `mixer-lost`).
const RESEND_US: u64 = 3 * SECOND;
/// Time for which a peer is a newcomer and takes the state of the sources from the first peer that it links
/// with. A guess: some round trips.
const NEW_US: u64 = 2 * SECOND;
/// Minimum interval between answers to one peer that requests missing pieces. A guess.
const ANSWER_US: u64 = 50 * MS;
/// Data rate of the answers to one peer, in bytes, and at once: what all sources say, and all that is kept.
const ANSWERS: Rate = Rate { per_s: RATE.per_s, burst: KEPT_BYTES_MAX as u64 };
/// Time within which a peer is sent a missing piece once: links lose nothing, and a new one begins anew. A guess: a
/// peer that could not take a piece asks a second time before it gives the piece up.
const SAME_US: u64 = 2 * SECOND;
/// Maximum number of peers with a record of answers; further peers are answered when others' records have
/// ended. A guess: twice the children of a relay.
const ANSWERS_MAX: usize = 256;
/// Data rate of all sources together, in bytes, and at once: half of what a line of 3 Mbit/s has left beside a program
/// of 1.5 Mbit/s. One source alone may say half of it at once.
const RATE: Rate = Rate { per_s: 96 * 1024, burst: 96 * 1024 };
/// Number of peers on stage up to which they have the whole rate. The first mixer sends each piece to the whole stage,
/// so on a larger stage the rate falls as the stage grows. A guess: 12 Mbit/s of a mixer's uplink.
const SPREAD_MAX: u64 = 16;
/// Longest piece that a source without debt may say, however much others say. A guess: a few lines of chat.
const LINE_LEN: usize = 1024;
/// Part of what a source may say that it leaves unused, and part of a line that counts as no debt elsewhere: others see
/// its pieces a moment apart. A guess.
const UNUSED: u64 = 8;
/// Bytes that may come at once beyond the burst by a peer other than the source: what it has kept.
const LATE_BYTES: u64 = KEPT_BYTES_MAX as u64;
/// Data rate of one source that neither speaks nor is named by the host, in bytes, and at once: anybody may consent to
/// mix. A guess: a chat.
const UNNAMED: Rate = Rate { per_s: 4 * 1024, burst: 32 * 1024 };
/// Bytes added to the length of each piece, for headers, signature, and the work of checking it.
const PIECE_BYTES: u64 = 256;

fn cost(bytes: usize) -> u64 {
    bytes as u64 + PIECE_BYTES
}

/// State of one source at this peer.
#[derive(Debug)]
struct Source {
    run: u64,
    /// Number of the next reliable piece to deliver.
    next: u64,
    /// The application has received a reliable piece, so it is owed all later pieces.
    begun: bool,
    /// Run and next piece are another peer's word: a later piece of the source may disprove them.
    told: bool,
    ahead: OrderedMap<u64, Signed<Data>>,
    /// Number of the newest loose piece delivered.
    loose: u64,
    /// Gap: since when a piece is missing, when it is requested next, and the interval after that.
    gap: Option<(Time, Time, u64)>,
}

/// A reliable piece, kept for peers that will lack it.
#[derive(Debug)]
struct Kept {
    /// Number of pieces kept before it.
    place: u64,
    at: Time,
    data: Signed<Data>,
}

/// Record of the answers to one peer.
#[derive(Debug)]
struct Answered {
    at: Time,
    allowance: Bucket,
    /// Places of the pieces sent within [`SAME_US`], and when each was sent.
    sent: OrderedMap<u64, Time>,
}

impl Answered {
    /// Whether the record still limits answers.
    fn counts(&self, now: Time) -> bool {
        now.since(self.at) < SAME_US || !self.allowance.is_full(now)
    }
}

/// Buckets of sources that neither speak nor are named by the host.
#[derive(Debug)]
struct Unnamed(Buckets<ROSTER_MAX>);

impl Default for Unnamed {
    fn default() -> Unnamed {
        Unnamed(Buckets::new(UNNAMED))
    }
}

/// Returns the rate of all sources together.
fn rate(stage: &Stage) -> Rate {
    let size = (stage.entries().len() as u64).max(SPREAD_MAX);
    let part = |whole: u64| whole * SPREAD_MAX / size;
    Rate { per_s: part(RATE.per_s), burst: part(RATE.burst) }
}

/// What a peer may say to the room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Says {
    Nothing(Reason),
    Little,
    ItsShare,
}

impl Says {
    fn of(stage: &Stage, source: &PeerId) -> Says {
        let Some(entry) = stage.entry(source) else { return Says::Nothing(Reason::NotOnStage) };
        match stage.roster() {
            _ if entry.speaks || entry.votes == Vote::Named => Says::ItsShare,
            Some(roster) if roster.rules.stage_open => Says::Little,
            _ => Says::Nothing(Reason::NotNamed),
        }
    }
}

/// Returns whether a peer may say anything to the room.
pub(crate) fn may_publish_at_all(stage: &Stage, source: &PeerId) -> bool {
    !matches!(Says::of(stage, source), Says::Nothing(_))
}

/// State of this peer for application data.
#[derive(Debug, Default)]
pub(crate) struct Broadcast {
    run: Option<u64>,
    /// Numbers of this peer's own last pieces: reliable, loose.
    numbers: (u64, u64),
    shares: Shares,
    /// What sources may say that neither speak nor are named by the host.
    unnamed: Unnamed,
    /// State per source; sources that left the stage are dropped first.
    sources: OrderedMap<PeerId, Source>,
    kept: VecDeque<Kept>,
    kept_bytes: usize,
    /// Number of pieces kept so far.
    kept_count: u64,
    /// Answers by peer.
    answered: OrderedMap<PeerId, Answered>,
    mixers: Vec<PeerId>,
    /// Since when data reaches this peer: it is fed by a parent, or is on stage and linked.
    since: Option<Time>,
    /// A peer has sent this peer the state of the sources.
    stood: bool,
}

impl Broadcast {
    /// Returns whether this peer may send that much data now.
    pub(crate) fn may_publish(
        &self,
        (now, stage, me): (Time, &Stage, &PeerId),
        delivery: Delivery,
        len: usize,
    ) -> Result<(), Reason> {
        let most = if delivery == Delivery::Loose { LOOSE_LEN_MAX } else { DATA_LEN_MAX };
        if let Says::Nothing(why) = Says::of(stage, me) {
            return Err(why);
        }
        if len > most {
            return Err(Reason::LongData);
        }
        let Rate { per_s, burst } = rate(stage);
        let rate = Rate { per_s, burst: burst - burst / UNUSED };
        let limits = Limits { rate, line: cost(LINE_LEN), slack: 0 };
        if self.has_room((now, stage), limits, me, len) { Ok(()) } else { Err(Reason::TooFast) }
    }

    /// Returns whether a source's share has room for a piece of this length.
    fn has_room(&self, (now, stage): (Time, &Stage), limits: Limits, source: &PeerId, len: usize) -> bool {
        let lets = match Says::of(stage, source) {
            Says::Nothing(_) => false,
            Says::Little => self.unnamed.0.holds(now, source, cost(len)),
            Says::ItsShare => true,
        };
        lets && self.shares.may_take(now, limits, source, cost(len))
    }

    fn spend(&mut self, (now, stage): (Time, &Stage), source: PeerId, len: usize) {
        if Says::of(stage, &source) == Says::Little {
            self.unnamed.0.take(now, source, cost(len));
        }
        self.shares.take(now, rate(stage).per_s, (&source, cost(len)), |peer| stage.contains(peer));
    }

    /// Returns whether this peer takes a new piece from a peer: its source may publish, and is within its share.
    fn takes(&self, (now, stage): (Time, &Stage), from: &PeerId, data: &Signed<Data>) -> bool {
        let Rate { per_s, burst } = rate(stage);
        // after an outage all that was kept comes at once, but not from the source
        let burst = if *from == data.sender { burst } else { burst + LATE_BYTES };
        let line = cost(LINE_LEN);
        let limits = Limits { rate: Rate { per_s, burst }, line, slack: line / UNUSED };
        self.has_room((now, stage), limits, &data.sender, data.body.bytes.len())
    }

    /// Sends data to the room; does nothing where [`may_publish`](Self::may_publish) refuses.
    pub(crate) fn publish(
        &mut self,
        view: &mut View<'_>,
        children: &[PeerId],
        delivery: Delivery,
        bytes: List<u8, DATA_LEN_MAX>,
    ) {
        if self.may_publish((view.now, view.stage, &view.me), delivery, bytes.len()).is_err() {
            return;
        }
        self.spend((view.now, view.stage), view.me, bytes.len());
        let run = *self.run.get_or_insert_with(|| view.unix_s());
        let number = match delivery {
            Delivery::Reliable => &mut self.numbers.0,
            Delivery::Loose => &mut self.numbers.1,
        };
        *number += 1;
        let data = Data { run, number: *number, delivery, bytes };
        let data = view.sign(data);
        self.forward(view, children, &data, None);
        self.keep(view.now, data);
    }

    /// Handles a piece of data: delivers and forwards it if it is new and within its source's share.
    pub(crate) fn data(
        &mut self,
        view: &mut View<'_>,
        children: &[PeerId],
        from: PeerId,
        data: Signed<Data>,
    ) {
        if data.sender == view.me || !self.takes((view.now, view.stage), &from, &data) {
            return;
        }
        let (run, number) = (data.body.run, data.body.number);
        self.make_room(view, &data.sender);
        let next = if self.since.is_some() { 1 } else { number };
        let source = self.sources.entry(data.sender).or_insert_with(|| Source::new(run, next));
        let now_unix_s = view.unix_s();
        let came_unix_s = self.since.map(|since| now_unix_s.saturating_sub(view.now.since(since) / SECOND));
        // a clock may be wrong by as much as statements are valid
        let is_later = came_unix_s.is_some_and(|came_unix_s| {
            let signed_unix_s = signed_unix_s(&data);
            signed_unix_s > came_unix_s && signed_unix_s <= now_unix_s + STATEMENT_LIFE_S
        });
        let is_overtold = source.told && !source.begun && (run, number) < (source.run, source.next);
        if is_overtold && is_later && data.body.delivery == Delivery::Reliable {
            // the source signed this piece after this peer came, so it isn't as far as another peer said
            *source = Source { loose: source.loose, ..Source::new(run, number) };
        } else if run > source.run {
            // the source has restarted; a peer that knew it before wants the whole new run
            *source = Source::new(run, 1);
        }
        let known = match data.body.delivery {
            _ if run < source.run => true,
            Delivery::Loose => number <= source.loose,
            Delivery::Reliable => {
                number < source.next
                    || source.ahead.contains_key(&number)
                    || (number != source.next && source.ahead.len() >= AHEAD_MAX)
            }
        };
        if known {
            return;
        }
        match data.body.delivery {
            Delivery::Loose => {
                source.loose = number;
                tell(view, data.clone());
            }
            Delivery::Reliable => {
                source.ahead.insert(number, data.clone());
                source.tell_what_is_next(view);
            }
        }
        self.spend((view.now, view.stage), data.sender, data.body.bytes.len());
        self.forward(view, children, &data, Some(from));
        self.keep(view.now, data);
    }

    /// Sends a piece to the next hops: to the children, at the source to the mixers, and at the lead (in a
    /// mesh, at the source) to the rest of the stage.
    fn forward(&self, view: &mut View<'_>, children: &[PeerId], data: &Signed<Data>, from: Option<PeerId>) {
        let source = data.sender;
        let mixers = if view.stage.mode() == Mode::Mesh { &[][..] } else { &view.mandate.mixers };
        let spreads = if mixers.is_empty() { source == view.me } else { mixers.first() == Some(&view.me) };
        let mut to: Vec<PeerId> = children.to_vec();
        if source == view.me {
            to.extend_from_slice(mixers);
        }
        if spreads {
            let stage = view.stage.present().map(|entry| entry.peer);
            to.extend(stage.filter(|peer| !mixers.contains(peer)));
        }
        to.sort_unstable();
        to.dedup();
        to.retain(|peer| *peer != view.me && *peer != source && Some(*peer) != from);
        for peer in to {
            send(view, peer, data.clone());
        }
    }

    /// Keeps a reliable piece for peers that will lack it.
    fn keep(&mut self, now: Time, data: Signed<Data>) {
        if data.body.delivery == Delivery::Reliable {
            self.kept_bytes += data.body.bytes.len();
            self.kept.push_back(Kept { place: self.kept_count, at: now, data });
            self.kept_count += 1;
        }
        while self.kept.len() > KEPT_MAX || self.kept_bytes > KEPT_BYTES_MAX {
            let Some(oldest) = self.kept.pop_front() else { break };
            self.kept_bytes -= oldest.data.body.bytes.len();
        }
    }

    /// Makes room for a source beyond the size of a roster: drops the sources that left the stage, or else
    /// those with the lowest ids.
    fn make_room(&mut self, view: &View<'_>, source: &PeerId) {
        if self.sources.len() >= ROSTER_MAX && !self.sources.contains_key(source) {
            self.sources.retain(|peer, _| view.stage.contains(peer));
            while self.sources.len() >= ROSTER_MAX {
                self.sources.pop_first();
            }
        }
    }

    fn held(&self) -> DataHeldAll {
        let held = self.sources.iter();
        List::truncated(held.map(|(peer, known)| DataHeld {
            source: *peer,
            run: known.run,
            next: known.next,
        }))
    }

    /// Records that data may reach this peer from now on.
    pub(crate) fn begin(&mut self, now: Time) {
        self.since.get_or_insert(now);
    }

    /// Returns the state of the sources for a newly linked peer, even if no source has sent anything; `None`
    /// while this peer is new itself.
    pub(crate) fn stands(&self, view: &View<'_>) -> Option<Message> {
        let mut stands = self.held().into_vec();
        if let Some(run) = self.run {
            stands.push(DataHeld { source: view.me, run, next: self.numbers.0 + 1 });
        }
        (self.stood || view.on_stage())
            .then(|| Message::Data(DataMessage::DataStands(List::truncated(stands))))
    }

    /// Takes the state of the sources from a newly linked peer; as a newcomer, this peer begins there, except
    /// with a source whose pieces it already delivers. Only the first such message counts: this peer wants
    /// all later data, regardless of the peers that it links with next.
    pub(crate) fn stood(&mut self, view: &mut View<'_>, stands: &[DataHeld]) {
        let told = std::mem::replace(&mut self.stood, true);
        if told || self.since.is_some_and(|since| view.now.since(since) >= NEW_US) {
            return;
        }
        let me = view.me;
        for stand in stands.iter().filter(|stand| stand.source != me) {
            self.make_room(view, &stand.source);
            let anew = || Source { told: true, ..Source::new(stand.run, stand.next) };
            let source = self.sources.entry(stand.source).or_insert_with(anew);
            if source.run == stand.run && source.next < stand.next && !source.begun {
                (source.next, source.told) = (stand.next, true);
                source.ahead.retain(|number, _| *number >= stand.next);
                source.tell_what_is_next(view);
            }
        }
    }

    /// Requests missed data from a new parent.
    pub(crate) fn parent_changed(&mut self, view: &mut View<'_>, parent: PeerId) {
        if self.since.is_some() || self.stood {
            // even without a known source: a new source may have started while this peer had no parent
            view.out.send(parent, DataMessage::DataHeld(self.held()));
        }
        self.begin(view.now);
    }

    /// Resends this peer's recent pieces if the mixers have changed, because the old mixers may not have
    /// forwarded them.
    pub(crate) fn mandate_changed(&mut self, view: &mut View<'_>) {
        if self.mixers == view.mandate.mixers {
            return;
        }
        self.mixers.clone_from(&view.mandate.mixers);
        let is_recent = |kept: &&Kept| kept.data.sender == view.me && view.now.since(kept.at) < RESEND_US;
        let recent: Vec<_> = self.kept.iter().filter(is_recent).map(|kept| kept.data.clone()).collect();
        for data in recent {
            self.forward(view, &[], &data, None);
        }
    }

    /// Handles a peer's `DataHeld`: sends it the later pieces of the sources that it names, as far as they
    /// are kept, and of other sources the pieces of the last [`GIVE_UP_US`]. A peer beyond [`ANSWERS`] waits
    /// until its debt is repaid.
    pub(crate) fn held_by(&mut self, view: &mut View<'_>, from: PeerId, held: &[DataHeld], is_child: bool) {
        let now = view.now;
        if !is_child && !view.stage.contains(&from) {
            return;
        }
        if !self.answered.contains_key(&from) && self.answered.len() >= ANSWERS_MAX {
            self.answered.retain(|_, answered| answered.counts(now));
            if self.answered.len() >= ANSWERS_MAX {
                return;
            }
        }
        let anew = || Answered {
            at: Time(now.0.saturating_sub(ANSWER_US)),
            allowance: Bucket::new(ANSWERS, now),
            sent: OrderedMap::new(),
        };
        let answered = self.answered.entry(from).or_insert_with(anew);
        if now.since(answered.at) < ANSWER_US || answered.allowance.level(now) <= 0 {
            return;
        }
        answered.at = now;
        let first = self.kept.front().map_or(self.kept_count, |kept| kept.place);
        answered.sent.retain(|place, at| *place >= first && now.since(*at) < SAME_US);
        for Kept { place, at, data } in &self.kept {
            let theirs = held.iter().find(|held| held.source == data.sender);
            let lacks = match theirs {
                Some(held) => (data.body.run, data.body.number) >= (held.run, held.next),
                None => now.since(*at) < GIVE_UP_US,
            };
            // a mixer drops what is beyond a source's share, and asks the source for it until it has room
            let is_own = data.sender == view.me;
            if lacks && data.sender != from && (is_own || !answered.sent.contains_key(place)) {
                answered.sent.insert(*place, now);
                answered.allowance.owe(now, cost(data.body.bytes.len()));
                view.out.send(from, DataMessage::Data(data.clone()));
            }
        }
    }

    /// Handles a link that came up: pieces sent on the former link may be lost.
    pub(crate) fn link_up(&mut self, peer: &PeerId) {
        if let Some(answered) = self.answered.get_mut(peer) {
            answered.sent.clear();
        }
    }

    /// Requests missing pieces from the feeder: the parent, else the lead, or at the lead the source itself.
    pub(crate) fn on_time(&mut self, view: &mut View<'_>, parent: Option<PeerId>) {
        let lead = view.mandate.lead();
        let mut lacking: OrderedMap<PeerId, Vec<DataHeld>> = OrderedMap::new();
        for (peer, source) in &mut self.sources {
            let Some((since, ask_at, wait_us)) = source.gap else { continue };
            if view.now.since(since) >= GIVE_UP_US {
                source.skip(view, *peer);
            } else if ask_at <= view.now {
                source.gap = Some((since, view.now + wait_us, 2 * wait_us));
                let whom = parent.or(lead.filter(|lead| *lead != view.me)).unwrap_or(*peer);
                let held = DataHeld { source: *peer, run: source.run, next: source.next };
                lacking.entry(whom).or_default().push(held);
            }
        }
        for (whom, held) in lacking {
            view.out.send(whom, DataMessage::DataHeld(List::truncated(held)));
        }
    }

    pub(crate) fn next_timeout(&self) -> Option<Time> {
        let gaps = self.sources.values().filter_map(|source| source.gap);
        gaps.map(|(since, ask_at, _)| ask_at.min(since + GIVE_UP_US)).min()
    }

    pub(crate) fn bounds(&self) -> [Bound; 7] {
        let ahead = self.sources.values().map(|source| source.ahead.len()).max().unwrap_or(0);
        let sent = self.answered.values().map(|answered| answered.sent.len()).max().unwrap_or(0);
        [
            Bound::new("sources of data", self.sources.len(), ROSTER_MAX),
            Bound::new("out-of-order data pieces of a source", ahead, AHEAD_MAX),
            Bound::new("data pieces kept for retransmission", self.kept.len(), KEPT_MAX),
            Bound::new("peers that were sent missing data", self.answered.len(), ANSWERS_MAX),
            Bound::new("pieces of missing data sent to a peer", sent, KEPT_MAX),
            Bound::new("sources of data that the host did not name", self.unnamed.0.len(), ROSTER_MAX),
            self.shares.bound(),
        ]
    }
}

impl Source {
    fn new(run: u64, next: u64) -> Source {
        let ahead = OrderedMap::new();
        Source { run, next, begun: false, told: false, ahead, loose: 0, gap: None }
    }

    /// Delivers to the application all pieces up to the next gap.
    fn tell_what_is_next(&mut self, view: &mut View<'_>) {
        let before = self.next;
        while let Some(data) = self.ahead.remove(&self.next) {
            self.next = self.next.saturating_add(1);
            self.begun = true;
            tell(view, data);
        }
        if self.ahead.is_empty() {
            self.gap = None;
        } else if self.gap.is_none() || self.next != before {
            self.gap = Some((view.now, view.now + ASK_US, 2 * ASK_US));
        }
    }

    /// Gives up the missing pieces.
    fn skip(&mut self, view: &mut View<'_>, from: PeerId) {
        if let Some(there) = self.ahead.first_key_value().map(|(there, _)| *there) {
            view.out.event(Event::DataMissed { from, pieces: there - self.next });
            self.next = there;
            self.tell_what_is_next(view);
        }
    }
}

fn tell(view: &mut View<'_>, data: Signed<Data>) {
    let Data { delivery, bytes, .. } = data.body;
    view.out.event(Event::Data { from: data.sender, delivery, bytes: bytes.into_vec().into() });
}

/// Sends a piece by its delivery: loose as a datagram, if linked; else as a control message.
fn send(view: &mut View<'_>, to: PeerId, data: Signed<Data>) {
    let loose = data.body.delivery == Delivery::Loose;
    let message = Message::Data(DataMessage::Data(data));
    if loose && view.links.is_up(&to) {
        view.out.act(Output::Loose(to, message));
    } else {
        view.out.send(to, message);
    }
}
