//! One peer of one room, as a page runs it: the event loop without the loop.

#[cfg(test)]
mod tests;

use bytes::Bytes;
use plenary_body::people::People;
use plenary_body::{
    Body, BodyConfig, BodyEvent, CaptureCommand, Contact, Envelope, In, Letter, Letters, MixFigures, Out,
    Outs, Sources, Wishes,
};
use plenary_media::Encoded;
use plenary_proto::app::Reason;
use plenary_proto::bounded::{Text, composed};
use plenary_proto::identity::MediaKind;
use plenary_proto::link_layout::is_video;
use plenary_proto::message::{
    Consent, Heartbeat, Message, Pieces, VideoRequest, loose_from_bytes, loose_to_bytes,
};
use plenary_proto::packet::{LinkId, LinkStats};
use plenary_proto::rendezvous::{
    Address as SignalAddress, Connection, Entrance, Happening, Outage, PATIENCE_US, SIGNAL_PATH, Step,
};
use plenary_proto::sdp::describe;
use plenary_proto::seal::{Invite, Keypair, NONCE_LEN, Opener, RoomKey, Sealer};
use plenary_proto::{Address, Event, Input, Newcomer, PeerId, RoomConfig, RoomState, Time, Via};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};

use crate::hosting::Hosted;
use crate::link::{PageLinks, TooMuch};
use crate::report::{About, PageEvent, Snapshot, Standing, Why};
use crate::wire::{Ask, Call, Counts, Entered, Opening, OwnMedia, Shown};

/// Ids of the data channels: reliable and ordered; unordered without retransmission; for bulk data.
const CONTROL: u8 = 0;
const HEARTBEAT: u8 = 1;
const BULK: u8 = 2;
/// Time after which a page gives up that the host has not answered: the time for the first connection, and as long
/// again. A guess.
const ANSWER_MAX_US: u64 = 20_000_000;
/// Pause between calls after which this machine, or the browser's tab, has slept: links and rendezvous have given it
/// up. A hidden tab without links still hears two pings of the rendezvous meanwhile. A guess.
const SLEPT_US: u64 = 12_000_000;
/// Interval at which a change of the mixers' labels is looked for: a newcomer may have the same name. A guess.
const LABELS_EACH_US: u64 = 1_000_000;

/// The peer of one page; it joins at most one room. Each call states the time, in microseconds since 1970.
#[derive(Default)]
pub struct Page(Option<Box<Joined>>);

impl Page {
    /// Handles a call, and returns what follows, in order.
    pub fn handle(&mut self, now_us: u64, call: Call) -> Vec<Ask> {
        match (call, &mut self.0) {
            (Call::Open(opening), room @ None) => match Joined::open(*opening, now_us) {
                Ok(joined) => {
                    let joined = room.insert(Box::new(joined));
                    joined.input(now_us, In::Timeout);
                    joined.tick(now_us);
                    joined.take_asks(now_us)
                }
                Err(why) => vec![event(&PageEvent::Refused(why))],
            },
            (call, Some(joined)) => {
                joined.handle(now_us, call);
                joined.take_asks(now_us)
            }
            (_, None) => Vec::new(),
        }
    }

    /// Returns when [`Call::Tick`] is due at the latest.
    pub fn due_us(&self) -> Option<u64> {
        let joined = self.0.as_ref()?;
        let dues =
            [joined.body.next_timeout(), joined.body.next_due_us(), joined.rendezvous.next_timeout_us()];
        dues.into_iter().flatten().min()
    }
}

/// Which peers mix, as the application was told last.
#[derive(Default)]
struct MixedBy {
    mixers: Vec<PeerId>,
    epoch: u32,
    looked_us: u64,
    told: Option<Ask>,
}

/// The page's peer in its room.
pub(crate) struct Joined {
    pub(crate) me: PeerId,
    pub(crate) body: Body,
    /// The room, if this page has opened it.
    pub(crate) hosted: Option<Hosted>,
    /// The newest invite that this page knows, and its key.
    pub(crate) invite: (Invite, RoomKey),
    letters: Letters,
    rendezvous: Connection,
    url: String,
    links: PageLinks,
    pub(crate) rng: ChaCha20Rng,
    contact: Contact,
    standing: Standing,
    opened_us: u64,
    /// Time of the last call.
    called_us: u64,
    /// Whether the host has answered: admitted, or in the lobby.
    answered: bool,
    admitted: bool,
    /// Whether the application knows that this peer is in.
    told_admitted: bool,
    /// Whether the rendezvous was reached at least once.
    reached: bool,
    /// Whether a notice named another version while the host had not answered.
    noticed: bool,
    knocks: Wishes<Newcomer>,
    hands: Wishes<(PeerId, String)>,
    mixed_by: MixedBy,
    shown: Vec<plenary_body::Shown>,
    /// Links that the page's own stream is sent on.
    sends_own: Vec<LinkId>,
    asks: Vec<Ask>,
}

impl Joined {
    fn open(opening: Opening, now_us: u64) -> Result<Joined, Why> {
        let Opening { room, password, name, speaks, views, children_max, identity, entropy } = opening;
        let mut rng = ChaCha20Rng::from_seed(entropy);
        let mut me = Keypair::from_seed(&identity);
        let (invite, key, hosted, host) = match room {
            Entered::Invited(invite) => {
                let invite: Invite = invite.parse()?;
                let key = invite.key(password.as_deref())?;
                (invite, key, None, None)
            }
            Entered::Opened(hosting) => {
                let (hosted, invite, key) = Hosted::new(&hosting, me, password.as_deref(), now_us, &mut rng)?;
                me = hosted.host();
                let config = hosted.config(&hosting);
                (invite, key, Some(hosted), Some(config))
            }
        };
        let rendezvous = invite.rendezvous().ok_or(Reason::NoRendezvous)?;
        let url = format!("{}{SIGNAL_PATH}", rendezvous.replacen("http", "ws", 1));
        let (room, id) = (invite.room(), me.id());
        let counter = (now_us / 1_000_000) << 20;
        let sealer = Sealer::new(me.clone(), key.clone(), counter);
        let letters = Letters::new(room, invite.root(), id, sealer, Opener::new(id, key.clone()));
        let config = RoomConfig {
            room,
            root: invite.root(),
            host,
            name: Text::truncated(&composed(&name)),
            speaks,
            no_solo: false,
            views,
            consent: Consent::Never,
            relays: true, // as many as the page wants at the time
            children_max,
            uplink_bps_max: None,
            sends_trains: false,
            key: Some(key.for_member()),
            unix_s_at_zero: now_us / 1_000_000,
        };
        let brain = RoomState::new(me.clone(), config, rng.next_u64(), Time(0));
        let seed = rng.next_u64();
        let config = BodyConfig {
            me: id,
            room,
            zero_us: now_us,
            keeps_log: false,
            views,
            speaks,
            is_page: true,
            seed,
            seals: true,
        };
        let host = hosted.as_ref().map(|hosted| hosted.entrance(&key));
        let entrance = Entrance { room, me, door: key.door(), host, patience_us: PATIENCE_US };
        let mut joined = Joined {
            me: id,
            body: Body::new(brain, config, now_us),
            hosted,
            invite: (invite, key),
            letters,
            rendezvous: Connection::new(entrance, rng.next_u64()),
            url,
            links: PageLinks::default(),
            rng,
            contact: Contact::default(),
            standing: Standing::Joining,
            opened_us: now_us,
            called_us: now_us,
            answered: false,
            admitted: false,
            told_admitted: false,
            reached: false,
            noticed: false,
            knocks: Wishes::default(),
            hands: Wishes::default(),
            mixed_by: MixedBy::default(),
            shown: Vec::new(),
            sends_own: Vec::new(),
            asks: Vec::new(),
        };
        joined.tell(&PageEvent::State { state: Standing::Joining });
        joined.asks.extend(Pieces::of(&Message::Leave.to_bytes()).map(|piece| Ask::Farewell(piece.into())));
        if joined.hosted.is_some() {
            joined.tell(&PageEvent::Invite { invite: joined.invite.0.to_string() });
        }
        Ok(joined)
    }

    fn handle(&mut self, now_us: u64, call: Call) {
        if now_us.saturating_sub(std::mem::replace(&mut self.called_us, now_us)) >= SLEPT_US {
            self.slept(now_us);
        }
        match call {
            Call::Open(_) => {} // one room at a time
            Call::Tick => self.tick(now_us),
            Call::SocketOpened => self.socket(now_us, Happening::Opened),
            Call::SocketFrame(bytes) => self.socket(now_us, Happening::Frame(&bytes)),
            Call::SocketClosed => {
                // a browser doesn't say why
                self.socket(now_us, Happening::Closed(Outage::Connect("no websocket".to_owned())));
            }
            Call::Described { link, sdp } => self.described(now_us, LinkId(link), &sdp),
            Call::LinkUp(link) => self.prove(now_us, LinkId(link)),
            Call::LinkDown(link) => {
                if self.links.close(LinkId(link)) {
                    self.input(now_us, In::LinkDown(LinkId(link)));
                }
            }
            Call::Received { link, channel, bytes } => self.received(now_us, LinkId(link), channel, bytes),
            Call::Frame { link, slot, level, csrcs, data } => {
                let link = LinkId(link);
                let may_be_decoded = self.links.get_mut(link).is_some_and(|known| known.is_proven)
                    && self.step(now_us, |body, outs| {
                        body.frame(now_us, (link, slot), (data, level, &csrcs), outs)
                    });
                if may_be_decoded {
                    self.asks.push(Ask::Decode);
                }
            }
            Call::KeyframeWanted { link, slot } => {
                self.step(now_us, |body, outs| body.keyframe_wanted(now_us, LinkId(link), slot, outs));
            }
            Call::Stats { link, counts } => {
                if let Some(known) = self.links.get_mut(LinkId(link)) {
                    known.stats = Some(stats(counts));
                    known.is_relayed = counts.is_relayed;
                }
            }
            Call::OwnFrame { link, captured_us, media, data } => {
                let encoded = encoded(captured_us, media, data);
                let marked = self.step(now_us, |body, _| body.own_frame(now_us, LinkId(link), &encoded));
                self.asks.extend(marked.map(Ask::OwnFrame));
            }
            Call::Sources { picture, sound, shares } => {
                self.input(now_us, In::Sources(Sources { picture, sound, shares, beside: false }));
            }
            Call::Wish(wish) => self.wish(now_us, wish),
            Call::Snapshot => {
                let invite = self.knows_invite().then(|| self.invite.0.to_string());
                let about = About { me: &self.me, state: self.standing, invite, links: &self.links };
                let snapshot = Snapshot::new(&self.body, about, now_us);
                self.asks.push(Ask::Snapshot(json(&snapshot)));
            }
        }
    }

    /// Whether this page has the room's newest invite to give: it has opened the room, or made that invite as its host.
    fn knows_invite(&self) -> bool {
        let newest = self.body.roster().map(|roster| roster.access.generation);
        self.hosted.is_some() || (self.is_host() && newest == Some(self.invite.0.generation()))
    }

    /// Returns the asks so far, with a change of the shown link and of the page's state.
    fn take_asks(&mut self, now_us: u64) -> Vec<Ask> {
        let shown = self.body.shown();
        if self.shown != shown {
            self.asks.push(Ask::Show(shown.iter().map(on_wire).collect()));
            self.shown = shown;
        }
        let links = self.body.own_links();
        if self.sends_own != links {
            self.asks.push(Ask::SendOwn(links.iter().map(|link| link.0).collect()));
            self.sends_own = links;
        }
        // a host admits itself, but nobody can come before the rendezvous knows the room
        let is_in = self.admitted && self.reached;
        if is_in && !std::mem::replace(&mut self.told_admitted, true) {
            self.tell(&PageEvent::Admitted);
        }
        let standing = self.standing.next(self.reached && self.contact.is_linked(&self.body, now_us));
        self.stand(standing);
        let roster = self.body.roster().map(|roster| (self.body.brain().epoch(), roster));
        let keys = self.hosted.as_mut().and_then(|hosted| hosted.changed(roster));
        self.asks.extend(keys.map(Ask::Keys));
        self.asks.extend(std::iter::from_fn(|| self.rendezvous.next_frame(now_us)).map(Ask::Transmit));
        std::mem::take(&mut self.asks)
    }

    fn stand(&mut self, state: Standing) {
        if std::mem::replace(&mut self.standing, state) != state {
            self.tell(&PageEvent::State { state });
        }
    }

    pub(crate) fn tell(&mut self, told: &PageEvent) {
        self.asks.push(event(told));
        if told.is_end() {
            self.stand(Standing::Ended);
        }
    }

    /// Connects anew: links and rendezvous look alive from here.
    fn slept(&mut self, now_us: u64) {
        for step in self.rendezvous.renew(now_us) {
            self.take_step(now_us, step);
        }
        for link in self.links.all() {
            self.close(now_us, link);
        }
    }

    fn tick(&mut self, now_us: u64) {
        self.socket(now_us, Happening::Timeout);
        if self.body.next_timeout().is_some_and(|due_us| due_us <= now_us) {
            self.input(now_us, In::Timeout);
        }
        let mut outs = Outs::default();
        self.body.set_figures(MixFigures::default(), &mut outs);
        self.body.hand_over_due(now_us, &mut outs);
        self.body.tick(now_us, |link| self.links.stats(link), &mut outs);
        self.carry_out(now_us, outs);
        self.tell_wishes(now_us);
        self.tell_mixers(now_us);
        for (link, channel, bytes) in self.links.resumed(now_us) {
            self.received(now_us, link, channel, bytes);
        }
        let waited_us = now_us.saturating_sub(self.opened_us);
        if !self.answered && self.standing == Standing::Joining && waited_us >= ANSWER_MAX_US {
            let why = if self.noticed { Reason::RoomVersion } else { Reason::NoAnswer };
            self.tell(&PageEvent::Refused(why.into()));
        }
    }

    // ── the body ─────────────────────────────────────────────────────────────────────────────────────────────

    pub(crate) fn input(&mut self, now_us: u64, input: In) {
        self.step(now_us, |body, outs| body.handle(now_us, input, outs));
    }

    /// Calls the body, and carries out everything that it asks for.
    pub(crate) fn step<T>(&mut self, now_us: u64, act: impl FnOnce(&mut Body, &mut Outs) -> T) -> T {
        let mut outs = Outs::default();
        let result = act(&mut self.body, &mut outs);
        self.carry_out(now_us, outs);
        result
    }

    fn carry_out(&mut self, now_us: u64, outs: Outs) {
        let Outs { sends, envelopes, events, keys, notices, figures_wanted, capture, claims, .. } = outs;
        sends.into_iter().for_each(|out| self.send(now_us, out));
        keys.iter().for_each(|key| self.letters.set_key(key, now_us));
        envelopes.into_iter().for_each(|envelope| self.send_envelope(now_us, envelope));
        if claims {
            self.rendezvous.claim();
        }
        events.iter().for_each(|event| self.event(now_us, event));
        self.asks.extend(capture.into_iter().filter_map(captured));
        if figures_wanted {
            self.step(now_us, |body, outs| body.set_figures(MixFigures::default(), outs));
        }
        for notice in notices {
            self.input(now_us, In::Notice(notice));
        }
    }

    fn event(&mut self, now_us: u64, happened: &BodyEvent) {
        self.admitted |= matches!(happened, BodyEvent::Brain(Event::Admitted));
        self.answered |= matches!(happened, BodyEvent::Brain(Event::Admitted | Event::InLobby));
        if matches!(happened, BodyEvent::Brain(Event::Roster { .. })) {
            self.rendezvous.set_on_stage(self.body.brain().is_on_stage());
        }
        match happened {
            BodyEvent::Brain(Event::Knock { peer, name, mixes }) => {
                let newcomer = Newcomer { peer: *peer, name: name.clone(), mixes: *mixes };
                let told = self.knocks.come(now_us, newcomer);
                self.tell_knock(now_us, told);
            }
            BodyEvent::Brain(Event::FloorWanted { peer, name }) => {
                let told = self.hands.come(now_us, (*peer, name.clone()));
                self.tell_hand(now_us, told);
            }
            _ => {
                if let Some(told) = PageEvent::of(happened, &self.body, now_us) {
                    self.tell(&told);
                }
            }
        }
    }

    fn tell_knock(&mut self, now_us: u64, told: Option<(Newcomer, usize)>) {
        if let Some((newcomer, others)) = told {
            self.tell(&PageEvent::of_knock(newcomer, others, &People::of(&self.body, now_us)));
        }
    }

    fn tell_hand(&mut self, now_us: u64, told: Option<((PeerId, String), usize)>) {
        if let Some((hand, others)) = told {
            self.tell(&PageEvent::of_hand(hand, others, &People::of(&self.body, now_us)));
        }
    }

    /// Tells the application of wishes that came too soon after others.
    fn tell_wishes(&mut self, now_us: u64) {
        let knock = self.knocks.due(now_us);
        self.tell_knock(now_us, knock);
        let hand = self.hands.due(now_us);
        self.tell_hand(now_us, hand);
    }

    /// Tells the application which peers mix, if that has changed.
    fn tell_mixers(&mut self, now_us: u64) {
        let (mixers, epoch) = (self.body.brain().mixers(), self.body.brain().epoch());
        let last = &mut self.mixed_by;
        let is_same = last.mixers == mixers && last.epoch == epoch;
        if is_same && (mixers.is_empty() || now_us.saturating_sub(last.looked_us) < LABELS_EACH_US) {
            return;
        }
        (last.mixers, last.epoch, last.looked_us) = (mixers.to_vec(), epoch, now_us);
        let told = event(&PageEvent::of_mixers(&self.body, &People::of(&self.body, now_us)));
        if last.told.as_ref() != Some(&told) {
            last.told = Some(told.clone());
            self.asks.push(told);
        }
    }

    /// Returns whether the roster names this peer as the host.
    pub(crate) fn is_host(&self) -> bool {
        self.body.roster().is_some_and(|roster| roster.host == self.me)
    }

    fn send(&mut self, now_us: u64, out: Out) {
        match out {
            Out::Control { link, message } => {
                for piece in Pieces::of(&message.to_bytes()) {
                    self.send_on(link, CONTROL, Bytes::from(piece));
                }
            }
            Out::Loose { link, message } => {
                self.send_on(link, HEARTBEAT, Bytes::from(loose_to_bytes(&message)));
            }
            Out::Heartbeat { link, heartbeat } => {
                self.send_on(link, HEARTBEAT, Bytes::from(heartbeat.to_bytes()));
            }
            Out::KeyframeWanted { link, slot } => self.asks.push(Ask::KeyframeWanted { link: link.0, slot }),
            // a page can't pace packets of its own
            Out::Train { link, train, .. } => self.input(now_us, In::TrainRefused { link, train }),
            Out::Offer { link, .. } => {
                self.links.open(link, None);
                self.asks.push(Ask::Offer(link.0));
            }
            Out::Answer { link, offer, .. } => {
                self.links.open(link, Some(offer));
                self.ask_with_remote_sdp(now_us, link, |link, sdp| Ask::Answer { link, sdp });
            }
            Out::Accept { link, answer } => {
                if let Some(known) = self.links.get_mut(link) {
                    known.answered(answer);
                    self.ask_with_remote_sdp(now_us, link, |link, sdp| Ask::Accept { link, sdp });
                }
            }
            Out::Close { link } => self.close(now_us, link),
            Out::Pause { link, pause_us } => {
                if let Some(known) = self.links.get_mut(link) {
                    known.pause(now_us + pause_us);
                }
            }
            Out::Frame { link, slot, .. } if is_video(slot) && !self.takes_pictures(link) => {}
            Out::Frame { link, slot, at_us, frame } => {
                self.asks.push(Ask::Frame { link: link.0, slot, at_us, data: frame.data });
            }
            // what a page sends leaves it in whole frames, with reports by its browser
            Out::Forward { .. } | Out::SenderReport { .. } => {}
        }
    }

    fn takes_pictures(&mut self, link: LinkId) -> bool {
        self.links.get_mut(link).is_none_or(|known| known.takes_pictures())
    }

    fn send_on(&mut self, link: LinkId, channel: u8, bytes: Bytes) {
        self.asks.push(Ask::Send { link: link.0, channel, bytes });
    }

    // ── links ────────────────────────────────────────────────────────────────────────────────────────────────

    /// Hands the other end's SDP to the browser; without a usable one the link ends.
    fn ask_with_remote_sdp(&mut self, now_us: u64, link: LinkId, ask: impl FnOnce(u64, String) -> Ask) {
        match self.links.get_mut(link).and_then(|known| known.remote_sdp()) {
            Some(Ok(sdp)) => self.asks.push(ask(link.0, sdp)),
            _ => self.close(now_us, link),
        }
    }

    fn close(&mut self, now_us: u64, link: LinkId) {
        if self.links.close(link) {
            self.asks.push(Ask::Close(link.0));
            self.input(now_us, In::LinkDown(link));
        }
    }

    fn described(&mut self, now_us: u64, link: LinkId, sdp: &str) {
        let Some(known) = self.links.get_mut(link) else { return };
        match describe(sdp) {
            Ok(own) => {
                if own.has_no_h264() {
                    self.body.hear_only();
                }
                let description = known.describe_own(own);
                self.input(now_us, In::Described { link, description });
            }
            Err(_) => self.close(now_us, link),
        }
    }

    /// Sends the proof that this peer is at its end of a new link, once.
    fn prove(&mut self, now_us: u64, link: LinkId) {
        let Some(known) = self.links.get_mut(link).filter(|known| !known.has_proved) else { return };
        let (Some(fingerprints), Some((peer, _))) = (known.fingerprints(), self.body.link_of(link)) else {
            return;
        };
        known.has_proved = true;
        let message = Box::new(self.letters.prove_link(&peer, &fingerprints));
        self.send(now_us, Out::Control { link, message });
    }

    /// Handles the first control message on a link: without the other end's proof the link is closed.
    fn proven(&mut self, now_us: u64, link: LinkId, bytes: &[u8]) {
        let Some((peer, _)) = self.body.link_of(link) else { return };
        let Some(known) = self.links.get_mut(link) else { return };
        // one piece, the last of its message
        known.is_proven = known.fingerprints().is_some_and(|fingerprints| {
            bytes.split_first().is_some_and(|(more, message)| {
                *more == 0 && self.letters.is_link_proven(&peer, &fingerprints, message)
            })
        });
        if known.is_proven {
            // the other end's proof may come before the browser says that the link is up, and must be the first message
            // of both ends
            self.prove(now_us, link);
            self.input(now_us, In::LinkUp(link));
        } else {
            self.close(now_us, link);
        }
    }

    fn received(&mut self, now_us: u64, link: LinkId, channel: u8, bytes: Vec<u8>) {
        let Some(known) = self.links.get_mut(link) else { return };
        if channel == HEARTBEAT && bytes.is_empty() {
            return; // natives' links probe each other so
        }
        if !known.is_proven {
            // heartbeats may overtake the proof, and are lost then
            if channel == CONTROL {
                self.proven(now_us, link, &bytes);
            }
            return;
        }
        let bytes = match known.hold(now_us, channel, bytes) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return,
            Err(TooMuch) => return self.close(now_us, link),
        };
        match channel {
            CONTROL => {
                let message = self.step(now_us, |body, outs| body.control_piece(now_us, link, &bytes, outs));
                if let Some((peer, message)) = message {
                    self.read(now_us, peer, &message);
                }
            }
            HEARTBEAT => {
                let from = self.step(now_us, |body, outs| body.heartbeat_arrived(now_us, link, &bytes, outs));
                let Some(peer) = from else { return };
                if let Some(message) = loose_from_bytes(&bytes) {
                    self.read(now_us, peer, message);
                } else if let Some(heartbeat) = Heartbeat::from_bytes(&bytes) {
                    self.step(now_us, |body, outs| body.heartbeat(now_us, link, heartbeat, outs));
                } else {
                    self.input(now_us, In::Misbehaved(peer));
                }
            }
            BULK => self.step(now_us, |body, outs| body.bulk_arrived(now_us, link, outs)),
            _ => {}
        }
    }

    // ── envelopes ────────────────────────────────────────────────────────────────────────────────────────────

    fn read(&mut self, now_us: u64, from: PeerId, bytes: &[u8]) {
        let Joined { letters, body, .. } = self;
        let may_say = |from: &PeerId, via: &Via, message: &Message| body.brain().may_say(from, via, message);
        let letter = letters.read(from, bytes, now_us, may_say);
        self.take_letter(now_us, letter);
    }

    /// Reports a restarted peer to the body.
    fn look_for_restart(&mut self, now_us: u64, from: PeerId, via: &Via) {
        if *via != Via::Link && self.letters.take_restart(&from) {
            self.input(now_us, In::Restarted(from));
        }
    }

    fn take_letter(&mut self, now_us: u64, letter: Letter) {
        match letter {
            Letter::Message { from, via, message } => {
                self.look_for_restart(now_us, from, &via);
                self.input(now_us, In::Message { from, via, message });
            }
            Letter::OldInvite { from, via, message } => {
                self.look_for_restart(now_us, from, &via);
                self.input(now_us, In::OldInvite { from, via, message });
            }
            Letter::OtherVersion { from, is_notice, .. } => {
                self.other_version(now_us, from, is_notice);
            }
            Letter::OtherClock => self.tell(&PageEvent::Trouble(Reason::OtherClock.into())),
            Letter::Bad(from) => self.input(now_us, In::Misbehaved(from)),
            Letter::Nothing => {}
        }
    }

    /// Handles a message of another version: the peer is told, unless it knows. A notice refuses nothing by itself,
    /// since any guest can send one: it is the reason if the host answers nothing.
    fn other_version(&mut self, now_us: u64, peer: PeerId, is_notice: bool) {
        if is_notice {
            self.noticed = true;
        } else {
            let nonce = self.nonce();
            if let Some(sealed) = self.letters.seal_notice(peer, now_us, nonce) {
                self.signal(now_us, SignalAddress::Peer(peer), sealed);
            }
        }
    }

    fn send_envelope(&mut self, now_us: u64, envelope: Envelope) {
        let nonce = self.nonce();
        match envelope {
            Envelope::Signal { to, message } => {
                let (recipient, address) = match to {
                    Address::Host => (None, SignalAddress::Host),
                    Address::Peer(peer) => (Some(peer), SignalAddress::Peer(peer)),
                };
                if let Some(sealed) = self.letters.seal(recipient, &message, now_us, nonce) {
                    self.signal(now_us, address, sealed);
                }
            }
            Envelope::Relay { route, message } => {
                let sealed = self.letters.seal(Some(route.to), &message, now_us, nonce);
                if let Some(out) = sealed.and_then(|sealed| route.carry(sealed)) {
                    self.send(now_us, out);
                }
            }
        }
    }

    fn nonce(&mut self) -> [u8; NONCE_LEN] {
        let mut nonce = [0; NONCE_LEN];
        self.rng.fill_bytes(&mut nonce);
        nonce
    }

    // ── the rendezvous ───────────────────────────────────────────────────────────────────────────────────────

    fn signal(&mut self, now_us: u64, to: SignalAddress, envelope: Vec<u8>) {
        // what finds no place among 256 others is repeated by its sender
        let _ = self.rendezvous.send(now_us, to, Bytes::from(envelope));
    }

    fn socket(&mut self, now_us: u64, happening: Happening<'_>) {
        for step in self.rendezvous.handle(now_us, happening) {
            self.take_step(now_us, step);
        }
    }

    /// Goes by the clock of the rendezvous from now on, if this machine's differs.
    fn told_time(&mut self, now_us: u64, unix_s: u64) {
        let Some((later_s, rendezvous_later_s)) = self.letters.told_time(now_us, unix_s) else { return };
        if rendezvous_later_s != 0 {
            self.tell(&PageEvent::Trouble(Reason::WrongClock.into()));
        }
        self.input(now_us, In::Brain(Box::new(Input::RoomTime { later_s })));
    }

    fn take_step(&mut self, now_us: u64, step: Step) {
        match step {
            Step::Dial => self.asks.push(Ask::Dial(self.url.clone())),
            Step::HangUp => self.asks.push(Ask::HangUp),
            Step::Clock { unix_s } => self.told_time(now_us, unix_s),
            Step::Up => {
                self.reached = true;
                self.tell(&PageEvent::Rendezvous { up: true, reason: None });
                self.input(now_us, In::SignalUp(true));
            }
            Step::Down { why, .. } => {
                self.tell(&PageEvent::Rendezvous { up: false, reason: Some(why.reason()) });
                self.input(now_us, In::SignalUp(false));
            }
            Step::Envelope { from, bytes } => {
                let Joined { letters, body, .. } = self;
                let may_say =
                    |from: &PeerId, via: &Via, message: &Message| body.brain().may_say(from, via, message);
                let letter = letters.open(from, &bytes, now_us, may_say);
                self.take_letter(now_us, letter);
            }
            Step::Undeliverable(to) => {
                let peer = match to {
                    SignalAddress::Peer(peer) => Some(peer),
                    SignalAddress::Host => None,
                };
                self.input(now_us, In::Undeliverable(peer));
            }
            Step::Ended(ended) if self.standing == Standing::Joining => {
                self.tell(&PageEvent::Refused(ended.reason().into()));
            }
            Step::Ended(ended) => {
                self.tell(&PageEvent::Rendezvous { up: false, reason: Some(ended.reason()) });
                self.input(now_us, In::SignalUp(false));
            }
        }
    }
}

fn event(told: &PageEvent) -> Ask {
    Ask::Event(json(told))
}

/// Returns a value as JSON. The values here are plain data with names for keys.
fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// Returns a link's counters as the body reads them.
fn stats(counts: Counts) -> LinkStats {
    let Counts {
        bytes_sent,
        bytes_received,
        packets_sent,
        repairs_sent,
        packets_received,
        rtt_us,
        queue_us,
        ..
    } = counts;
    LinkStats {
        udp_bytes_sent: bytes_sent,
        udp_bytes_received: bytes_received,
        packets_sent,
        packets_received,
        repairs_sent,
        rtt_us,
        queue_us,
        ..LinkStats::default()
    }
}

/// Returns what the browser's encoder does with a command. It adapts to losses by itself, sends no frames while nobody
/// gets them, and leaves silence out as its Opus encoder was negotiated to.
fn captured(command: CaptureCommand) -> Option<Ask> {
    match command {
        CaptureCommand::Video(_, VideoRequest { width, height, fps, bitrate_bps }) => {
            // hardware encoders of Android distort sizes that are no multiples of 16
            let [width, height] = [width, height].map(|side| (side & !15).max(16));
            Some(Ask::Picture { width, height, fps, bitrate_bps })
        }
        CaptureCommand::Key(_) => Some(Ask::OwnKeyframe),
        CaptureCommand::Loss(_) | CaptureCommand::Dtx(_) | CaptureCommand::Pause(_) => None,
    }
}

fn encoded(captured_us: u64, media: OwnMedia, data: Bytes) -> Encoded {
    match media {
        OwnMedia::Picture { key } => {
            Encoded { kind: MediaKind::Video, captured_us, data, key, temporal: 0, level: None }
        }
        OwnMedia::Sound { level } => {
            Encoded { kind: MediaKind::Sound, captured_us, data, key: false, temporal: 0, level }
        }
    }
}

fn on_wire(shown: &plenary_body::Shown) -> Shown {
    let ((picture, picture_slot), (sound, sound_slot)) = (shown.picture, shown.sound);
    let speaker = shown.speaker.map(|peer| peer.0);
    Shown { speaker, picture: (picture.0, picture_slot), sound: (sound.0, sound_slot) }
}
