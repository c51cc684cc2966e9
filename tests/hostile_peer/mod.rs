//! Hostile peer: joins by the rules, with an ordinary brain and ordinary links, and then writes arbitrary
//! bytes to the channels of its links, or deviates in what it says. One that goes on by the rules serves as an
//! observer.

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use plenary_proto::bounded::Text;
use plenary_proto::message::{
    Consent, Fingerprints, Heartbeat, LinkKind, LinkMessage, Message, Pieces, Reassembly,
};
use plenary_proto::seal::{Invite, Keypair, Opener, Sealer, Verified, counter_at};
use plenary_proto::{Address, Input, Output, PeerId, RoomConfig, RoomId, RoomState, Time, Via};
use plenary_rtc::{
    Channel, Command, DownReason, Event, Events, LinkDriver as _, LinkId, Links, LinksConfig, MediaPacket,
    PacketSink, Raw,
};
use plenary_signal::{
    Address as SignalAddress, Signal as _, SignalError, SignalEvent, WebsocketConfig, WebsocketSignal,
};
use plenary_sim::deviation::{Deviation, Saying};
use plenary_testkit::first_messages::{FirstMessage, Then, first_messages};

/// Timeout against hangs.
const PATIENCE: Duration = Duration::from_secs(30);

/// Polling interval.
const LOOK_EACH: Duration = Duration::from_millis(20);

/// Packet sink that discards media.
struct Nowhere;

impl PacketSink for Nowhere {
    fn packet(&self, _: LinkId, _: u8, _: MediaPacket, _: u64) {}
    fn keyframe_wanted(&self, _: LinkId, _: u8) {}
}

/// Interval of an observer's pings.
pub(crate) const PING_EACH: Duration = Duration::from_millis(50);

/// Interval at which a deviating peer may say something beside what its brain says, as in the simulator.
const SAY_EACH: Duration = Duration::from_millis(25);

/// By the rules.
#[derive(Debug)]
struct Honest;

impl Deviation for Honest {}

/// What a hostile peer sends without end.
pub(crate) enum Flood {
    /// A message on the control channel.
    Control(Vec<u8>),
    /// A heartbeat.
    Heartbeats(Vec<u8>),
}

/// Hostile peer; see the module.
pub(crate) struct HostilePeer {
    brain: RoomState,
    keys: Keypair,
    me: PeerId,
    /// Links that are open, and whose other end has not proven who it is.
    unproven: BTreeMap<LinkId, (Fingerprints, Vec<FirstMessage>)>,
    /// Row of the first messages that a link begins with in place of the proof.
    first: Option<usize>,
    /// Links that began so, once the other end has proved who it is, and the rows.
    met: Vec<(LinkId, Vec<FirstMessage>)>,
    /// Round trips of its pings.
    pongs: Vec<Duration>,
    room: RoomId,
    root: PeerId,
    sealer: Sealer,
    opener: Opener,
    signal: WebsocketSignal,
    links: Links,
    events: Events,
    of: BTreeMap<LinkId, (PeerId, LinkKind, Reassembly)>,
    newest: BTreeMap<(PeerId, LinkKind), LinkId>,
    deviation: Box<dyn Deviation>,
    /// When it may say something next beside what its brain says.
    says_at: Duration,
    up: Vec<LinkId>,
    ended: Vec<LinkId>,
    /// Whether the rendezvous has ended the connection.
    is_out: bool,
    /// Whether this end was too fast for itself, which has ended a link.
    overflowed: bool,
    begun: Instant,
}

impl HostilePeer {
    /// Joins as a viewer, and runs until a link is up.
    pub(crate) async fn join(invite: &Invite) -> HostilePeer {
        let mut peer = HostilePeer::come(invite, Keypair::from_seed(&random()), Consent::Never, None);
        peer.go_on_until("link", |peer| !peer.up.is_empty()).await;
        peer
    }

    /// Joins as a viewer that begins its first link with a row of [`first_messages`]; `None` after the last row.
    /// Returns the row, what becomes of the link, and the peer at its other end. A link that waits gets the proof
    /// afterwards.
    pub(crate) async fn first_message(
        invite: &Invite,
        row: usize,
    ) -> Option<(FirstMessage, [Then; 2], PeerId)> {
        let mut peer = HostilePeer::come(invite, Keypair::from_seed(&random()), Consent::Never, Some(row));
        peer.go_on_until("proof of the other end", |peer| !peer.met.is_empty()).await;
        let (link, firsts) = peer.met.remove(0);
        let said = firsts.get(row)?.clone();
        let became = peer.becomes(link).await;
        let proof = &firsts[0];
        if became == Then::Waits {
            peer.send(link, proof.channel, &proof.bytes);
        }
        let later = peer.becomes(link).await;
        Some((said, [became, later], peer.other_end(link)))
    }

    /// Returns the state of a link after 400 ms: an end whose link is up answers pings.
    async fn becomes(&mut self, link: LinkId) -> Then {
        self.pongs.clear();
        for _ in 0..20 {
            self.send(link, Channel::Heartbeat, &Heartbeat::Ping { sent_us: 0 }.to_bytes());
            let _ = tokio::time::timeout(LOOK_EACH, self.step()).await;
        }
        match self.ended.contains(&link) {
            true => Then::Closed,
            false if self.pongs.is_empty() => Then::Waits,
            false => Then::Up,
        }
    }

    /// Joins as a viewer, or as a candidate, with the keys, and says what a deviation makes of what its brain says.
    pub(crate) fn deviating(
        invite: &Invite,
        keys: Keypair,
        consent: Consent,
        deviation: Box<dyn Deviation>,
    ) -> HostilePeer {
        HostilePeer { deviation, ..HostilePeer::come(invite, keys, consent, None) }
    }

    /// Runs for this time, or until the room has closed all its links or its way to the rendezvous.
    pub(crate) async fn run_for(&mut self, duration: Duration) {
        let until = Instant::now() + duration;
        while Instant::now() < until
            && !self.is_out
            && (self.up.is_empty() || self.up.len() > self.ended.len())
        {
            self.step().await;
        }
    }

    /// Returns how many links were made so far.
    pub(crate) fn links_made(&self) -> usize {
        self.up.len()
    }

    /// Sends something below the channels of a link.
    pub(crate) fn send_raw(&self, link: LinkId, raw: Raw) {
        self.links.send_raw(link, raw);
    }

    fn come(invite: &Invite, me: Keypair, consent: Consent, first: Option<usize>) -> HostilePeer {
        let key = invite.key(None).unwrap();
        let url = invite.rendezvous().unwrap();
        let signal =
            WebsocketSignal::connect(WebsocketConfig::new(url, invite.room(), me.clone(), key.door()))
                .unwrap();
        let (links, events) = Links::new(LinksConfig::default(), Arc::new(Nowhere)).unwrap();
        let config = RoomConfig {
            room: invite.room(),
            root: invite.root(),
            host: None,
            name: Text::truncated("Mallory"),
            speaks: false,
            views: true,
            no_solo: false,
            consent,
            relays: false,
            children_max: 0,
            uplink_bps_max: None,
            carries: false,
            sends_trains: true,
            key: None,
            unix_us_at_zero: unix_s() * 1_000_000,
        };
        HostilePeer {
            brain: RoomState::new(me.clone(), config, u64::from_ne_bytes(random()), Time(0)),
            keys: me.clone(),
            me: me.id(),
            unproven: BTreeMap::new(),
            first,
            met: Vec::new(),
            pongs: Vec::new(),
            room: invite.room(),
            root: invite.root(),
            sealer: Sealer::new(me.clone(), key.clone(), counter_at(unix_s() * 1_000_000)),
            opener: Opener::new(me.id(), key),
            signal,
            links,
            events,
            of: BTreeMap::new(),
            newest: BTreeMap::new(),
            deviation: Box::new(Honest),
            says_at: Duration::ZERO,
            is_out: false,
            overflowed: false,
            up: Vec::new(),
            ended: Vec::new(),
            begun: Instant::now(),
        }
    }

    /// Returns the peer's id.
    pub(crate) fn id(&self) -> PeerId {
        self.me
    }

    /// Returns the first link.
    pub(crate) fn link(&self) -> LinkId {
        self.up[0]
    }

    /// Returns the peer at the other end of a link.
    pub(crate) fn other_end(&self, link: LinkId) -> PeerId {
        self.of[&link].0
    }

    fn send(&self, link: LinkId, channel: Channel, bytes: &[u8]) {
        self.links.submit(Command::Send { link, channel, bytes: Bytes::copy_from_slice(bytes) });
    }

    /// Writes raw bytes to the control channel.
    fn write(&self, link: LinkId, bytes: &[u8]) {
        self.send(link, Channel::Control, bytes);
    }

    /// Writes these pieces and waits until they are sent. Without waiting, a full channel queue would end the
    /// link at this end.
    pub(crate) async fn write_all(&mut self, link: LinkId, pieces: &[Vec<u8>]) {
        let sent = |peer: &HostilePeer| peer.links.stats(link).map(|stats| stats.udp_bytes_sent);
        let Some(before) = sent(self) else { return };
        pieces.iter().for_each(|piece| self.write(link, piece));
        let len: usize = pieces.iter().map(Vec::len).sum();
        self.go_on_until("way out", |peer| sent(peer).is_none_or(|now| now >= before + len as u64)).await;
    }

    /// Writes a message to the control channel again and again, or a heartbeat, as fast as the other end takes it,
    /// until that has closed the link. Returns the bytes, and how long it took.
    pub(crate) async fn flood(&mut self, link: LinkId, what: &Flood) -> (usize, Duration) {
        /// Less than what ends the link at this end.
        const WAITING_MAX: u64 = 512 << 10;
        let (begun, mut bytes) = (Instant::now(), 0);
        let sent = |peer: &HostilePeer| peer.links.stats(link).map(|stats| stats.udp_bytes_sent);
        let before = sent(self).unwrap_or_default();
        while let Some(now) = sent(self) {
            match what {
                Flood::Control(message) => {
                    let pieces: Vec<_> = Pieces::of(message).collect();
                    let len: usize = pieces.iter().map(|piece| piece.len() + 64).sum();
                    // each datagram of a young link is sent twice
                    while now.saturating_sub(before) / 2 + WAITING_MAX > (bytes + len) as u64 {
                        pieces.iter().for_each(|piece| self.write(link, piece));
                        bytes += len;
                    }
                }
                Flood::Heartbeats(heartbeat) => {
                    for _ in 0..500 {
                        let bytes = Bytes::copy_from_slice(heartbeat);
                        self.links.submit(Command::Send { link, channel: Channel::Heartbeat, bytes });
                    }
                    bytes = usize::try_from(now.saturating_sub(before)).unwrap();
                }
            }
            // by the rules meanwhile, so that nothing else ends the link
            let _ = tokio::time::timeout(Duration::from_millis(1), self.step()).await;
            assert!(begun.elapsed() < PATIENCE, "nobody minds");
        }
        (bytes, begun.elapsed())
    }

    /// Pings the other end of the newest link for this time; returns the round trips, in order of their length.
    pub(crate) async fn pings_for(&mut self, duration: Duration) -> Vec<Duration> {
        self.pongs.clear();
        let until = Instant::now() + duration;
        let mut next = Instant::now();
        while Instant::now() < until {
            if next <= Instant::now() {
                next += PING_EACH;
                let ping = Heartbeat::Ping { sent_us: self.begun.elapsed().as_micros() as u64 };
                let bytes = Bytes::from(ping.to_bytes());
                let link = *self.up.iter().rfind(|link| !self.ended.contains(link)).expect("a link");
                self.links.submit(Command::Send { link, channel: Channel::Heartbeat, bytes });
            }
            let _ = tokio::time::timeout(Duration::from_millis(5), self.step()).await;
        }
        let mut pongs = std::mem::take(&mut self.pongs);
        pongs.sort_unstable();
        pongs
    }

    /// Runs by the rules until the other end has closed the link.
    pub(crate) async fn until_dropped(&mut self, link: LinkId) {
        self.go_on_until("end of its link", |peer| peer.ended.contains(&link)).await;
    }

    async fn go_on_until(&mut self, what: &str, so: impl Fn(&HostilePeer) -> bool) {
        let going_on = async {
            while !so(self) {
                self.step().await;
                assert!(!self.is_out, "the rendezvous has ended the connection");
                assert!(!self.overflowed, "this end was too fast for itself");
            }
        };
        tokio::time::timeout(PATIENCE, going_on).await.unwrap_or_else(|_| panic!("no {what}"));
    }

    async fn step(&mut self) {
        let mut instead = Vec::new();
        while let Some(output) = self.brain.poll_output() {
            self.deviation.output(self.now(), output, &mut instead);
        }
        instead.into_iter().for_each(|output| self.carry_out(output));
        self.say();
        let wake = self.brain.next_timeout().map_or(PATIENCE, |at| Duration::from_micros(at.0));
        let sleep = wake.saturating_sub(self.begun.elapsed());
        tokio::select! {
            event = self.events.next() => self.link_event(event.expect("links are open")),
            event = self.signal.next() => self.signal_event(event.expect("the rendezvous is there")),
            () = tokio::time::sleep(sleep.min(LOOK_EACH)) => self.input(Input::Timeout),
        }
    }

    fn input(&mut self, input: Input) {
        if let Some(input) = self.deviation.input(self.now(), input) {
            self.brain.handle(self.now(), input);
        }
    }

    fn now(&self) -> Time {
        Time(self.begun.elapsed().as_micros() as u64)
    }

    fn say(&mut self) {
        if self.begun.elapsed() < self.says_at {
            return;
        }
        self.says_at = self.begun.elapsed() + SAY_EACH;
        let open = self.up.iter().filter(|link| !self.ended.contains(link));
        let linked: Vec<_> = open.map(|link| self.other_end(*link)).collect();
        for saying in self.deviation.says(self.now(), &linked) {
            match saying {
                Saying::Control(to, message) => self.carry_out(Output::Control(to, message)),
                Saying::Signal(to, message) => self.carry_out(Output::Signal(to, message)),
                Saying::Beat(to, beat) => {
                    if let Some(link) = self.newest.get(&(to, LinkKind::Peer)) {
                        let bytes = Bytes::from(beat.to_bytes());
                        self.links.submit(Command::Send { link: *link, channel: Channel::Heartbeat, bytes });
                    }
                }
            }
        }
    }

    fn open(&mut self, peer: PeerId, kind: LinkKind) -> LinkId {
        let link = LinkId(self.of.len() as u64 + 1);
        self.of.insert(link, (peer, kind, Reassembly::default()));
        self.newest.insert((peer, kind), link);
        link
    }

    fn carry_out(&mut self, output: Output) {
        match output {
            Output::Control(to, message) => {
                if let Some(link) = self.newest.get(&(to, LinkKind::Peer)) {
                    Pieces::of(&message.to_bytes()).for_each(|piece| self.write(*link, &piece));
                }
            }
            Output::Signal(to, message) => {
                let (recipient, address) = match to {
                    Address::Host => (None, SignalAddress::Host),
                    Address::Peer(peer) => (Some(peer), SignalAddress::Peer(peer)),
                };
                let sealed = self.sealer.seal(recipient, &message.to_bytes(), unix_s(), random()).unwrap();
                if let Err(SignalError::Ended) = self.signal.send(address, sealed.into()) {
                    self.is_out = true;
                }
            }
            Output::Offer { peer, kind, .. } => {
                let link = self.open(peer, kind);
                self.links.submit(Command::Offer { link, kind, is_stranger: false });
            }
            Output::Answer { peer, offer, .. } => {
                let link = self.open(peer, offer.kind);
                self.links.submit(Command::Answer {
                    link,
                    kind: offer.kind,
                    offer: offer.description,
                    is_stranger: false,
                });
            }
            Output::Accept(peer, answer) => {
                let link = self.newest[&(peer, answer.kind)];
                self.links.submit(Command::Accept { link, answer: answer.description });
            }
            // this peer feeds no children, doesn't watch its parent, and doesn't mix
            _ => {}
        }
    }

    fn link_event(&mut self, event: Event) {
        match event {
            Event::Described { link, description } => {
                let (peer, kind, _) = self.of[&link];
                self.input(Input::Described { peer, kind, description });
            }
            Event::Connected { link, fingerprints } => {
                let (peer, ..) = self.of[&link];
                let firsts = first_messages(&self.keys, &self.room, &peer, &fingerprints);
                let first = firsts.get(self.first.unwrap_or(0)).unwrap_or(&firsts[0]);
                self.send(link, first.channel, &first.bytes);
                self.unproven.insert(link, (fingerprints, firsts));
            }
            Event::Received { link, channel: Channel::Control, bytes }
                if self.unproven.contains_key(&link) =>
            {
                let (peer, kind, _) = self.of[&link];
                let (fingerprints, firsts) = self.unproven.remove(&link).unwrap();
                let Ok(Message::Link(LinkMessage::LinkProof(proof))) = Message::from_bytes(&bytes[1..])
                else {
                    panic!("another message came before the proof");
                };
                proof.verify(&self.me, &self.room, &peer, &fingerprints).expect("a proof holds");
                if self.first.is_some() {
                    self.met.push((link, firsts));
                } else {
                    self.up.push(link);
                    self.input(Input::LinkUp(peer, kind));
                }
            }
            Event::Received { channel: Channel::Heartbeat, bytes, .. } => {
                if let Some(Heartbeat::Pong { sent_us, .. }) = Heartbeat::from_bytes(&bytes) {
                    self.pongs.push(self.begun.elapsed().saturating_sub(Duration::from_micros(sent_us)));
                }
            }
            Event::Received { link, channel: Channel::Control, bytes } => {
                let (from, _, reassembly) = self.of.get_mut(&link).unwrap();
                let from = *from;
                if let Ok(Some(bytes)) = reassembly.push(&bytes)
                    && let Some(message) = self.message(&bytes)
                {
                    self.input(Input::Message { from, via: Via::Link, message });
                }
            }
            Event::Down { link, reason } => {
                self.overflowed |= matches!(reason, DownReason::Overflow(_));
                let (peer, kind, _) = self.of[&link];
                self.ended.push(link);
                self.input(Input::LinkDown(peer, kind));
            }
            _ => {}
        }
    }

    fn signal_event(&mut self, event: SignalEvent) {
        match event {
            SignalEvent::Up => self.input(Input::SignalUp(true)),
            SignalEvent::Envelope { bytes, .. } => {
                let Ok(opened) = self.opener.open(&bytes, unix_s()) else { return };
                if let Some(message) = self.message(&opened.message) {
                    self.input(Input::Message { from: opened.sender, via: Via::Signal, message });
                }
            }
            SignalEvent::Clock { .. } | SignalEvent::Turn(_) | SignalEvent::Undeliverable { .. } => {}
            SignalEvent::Opens | SignalEvent::Carries | SignalEvent::Tunnel { .. } => {}
            SignalEvent::Down { .. } | SignalEvent::Ended(_) => self.is_out = true,
        }
    }

    fn message(&self, bytes: &[u8]) -> Option<Verified<Message>> {
        Message::from_bytes(bytes).ok()?.verify(&self.room, &self.root, unix_s()).ok()
    }
}

pub(crate) fn unix_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// Returns bytes that differ each time; they need not be unpredictable.
pub(crate) fn random<const LEN: usize>() -> [u8; LEN] {
    std::array::from_fn(|_| RandomState::new().build_hasher().finish() as u8)
}
