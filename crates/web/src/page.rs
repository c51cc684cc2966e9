//! One peer of one room, as a page runs it: the event loop without the loop.

#[cfg(test)]
mod tests;
mod told;
mod wire;

use std::time::Duration;

use bytes::Bytes;
use plenary_body::{
    Body, BodyConfig, CaptureCommand, Correspondence, In, Letters, MixFigures, Outs, Shell as _, Sources,
    Wishes,
};
use plenary_media::Encoded;
use plenary_proto::app::{ConnectionState, Event, Reason, Way, Why, page};
use plenary_proto::bounded::{Text, composed};
use plenary_proto::identity::MediaKind;
use plenary_proto::message::{Consent, MemberMessage, Message, Pieces, VideoRequest};
use plenary_proto::packet::{LinkId, LinkStats};
use plenary_proto::rendezvous::{Connection, Entrance, Happening, Outage, PATIENCE_US, SIGNAL_PATH};
use plenary_proto::seal::{Invite, Keypair, Opener, RoomKey, Sealer, counter_at};
use plenary_proto::{Newcomer, PeerId, RoomConfig, RoomState, Time};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};

use crate::hosting::{Hosted, random};
use crate::link::PageLinks;
use crate::network::NetworkWatch;
use crate::report::{About, Seen};
use crate::wire::{Ask, Call, Counts, Entered, Opening, OwnMedia, Shown};
use told::MixedBy;

/// Pause between calls after which this machine, or the browser's tab, has slept: links and rendezvous have given it
/// up. A hidden tab without links still hears two pings of the rendezvous meanwhile. A guess.
const SLEPT_US: u64 = 12_000_000;

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
                Err(why) => {
                    let (event, aside) = (json(&Event::Refused(why)), json(&page::Aside::default()));
                    vec![Ask::Event { event, aside }]
                }
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

/// The page's peer in its room.
pub(crate) struct Joined {
    pub(crate) me: PeerId,
    pub(crate) body: Body,
    /// The room, if this page has opened it.
    pub(crate) hosted: Option<Hosted>,
    /// The newest invite that this page knows, and its key.
    pub(crate) invite: (Invite, RoomKey),
    correspondence: Correspondence,
    rendezvous: Connection,
    url: String,
    links: PageLinks,
    pub(crate) rng: ChaCha20Rng,
    /// This peer's connection with its room, as the application was told last.
    state: ConnectionState,
    /// Time of the last call.
    called_us: u64,
    knocks: Wishes<Newcomer>,
    hands: Wishes<(PeerId, String)>,
    mixed_by: MixedBy,
    shown: Vec<plenary_body::Shown>,
    /// Links that the page's own stream is sent on.
    sends_own: Vec<LinkId>,
    asks: Vec<Ask>,
    network: NetworkWatch,
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
        let sealer = Sealer::new(me.clone(), key.clone(), counter_at(now_us));
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
            carries: false,
            sends_trains: false,
            key: Some(key.for_member()),
            unix_us_at_zero: now_us,
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
        let patience = Duration::from_micros(PATIENCE_US);
        let mut joined = Joined {
            me: id,
            body: Body::new(brain, config, now_us),
            hosted,
            invite: (invite, key),
            correspondence: Correspondence::new(letters, random(&mut rng), now_us, patience),
            rendezvous: Connection::new(entrance, rng.next_u64()),
            url,
            links: PageLinks::default(),
            rng,
            state: ConnectionState::default(),
            called_us: now_us,
            knocks: Wishes::default(),
            hands: Wishes::default(),
            mixed_by: MixedBy::default(),
            shown: Vec::new(),
            sends_own: Vec::new(),
            asks: Vec::new(),
            network: NetworkWatch::default(),
        };
        joined.emit(Event::Connection { state: ConnectionState::Joining });
        joined.asks.extend(
            Pieces::of(&Message::Member(MemberMessage::Leave).to_bytes())
                .map(|piece| Ask::Farewell(piece.into())),
        );
        if joined.hosted.is_some() {
            joined.emit(Event::Invite { invite: joined.invite.0.to_string() });
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
            Call::NetworkChanged => self.network_changed(now_us),
            Call::Found { link, candidates } => self.found(now_us, LinkId(link), &candidates),
            Call::LinkUp(link) => self.prove(LinkId(link)),
            Call::LinkDown(link) => {
                if self.links.close(LinkId(link)) {
                    self.disconnected(LinkId(link));
                }
            }
            Call::Received { link, channel, bytes } => self.arrived(now_us, LinkId(link), channel, bytes),
            Call::Frame { link, slot, level, csrcs, data } => {
                let link = LinkId(link);
                self.links.heard(now_us, link);
                let may_be_decoded = self.correspondence.is_proven(link)
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
                    known.own_candidate = counts.own_candidate;
                    known.stats = Some(stats(counts));
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
            Call::Command(json) => self.command_json(now_us, &json),
            Call::Line(line) => self.line(now_us, &line),
            Call::Snapshot => {
                let invite = self.knows_invite().then(|| self.invite.0.to_string());
                let way = |link| self.links.way(link).filter(|_| self.correspondence.is_proven(link));
                let about = About { connection: self.state, invite, way: &way, nat: self.links.nat() };
                let Seen { room, page } = Seen::new(&self.body, about, now_us);
                self.asks.push(Ask::Snapshot { room: json(&room), page: json(&page) });
            }
        }
    }

    /// Whether this page has the room's newest invite to give: it has opened the room, or made that invite as its host.
    fn knows_invite(&self) -> bool {
        let newest = self.body.roster().map(|roster| roster.rules.access.generation);
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
        let state = self.correspondence.connection(&self.body, now_us);
        self.stand(state);
        let roster = self.body.roster().map(|roster| (self.body.brain().epoch(), roster));
        let keys = self.hosted.as_mut().and_then(|hosted| hosted.changed(roster));
        self.asks.extend(keys.map(Ask::Keys));
        self.asks.extend(std::iter::from_fn(|| self.rendezvous.next_frame(now_us)).map(Ask::Transmit));
        std::mem::take(&mut self.asks)
    }

    /// Connects anew: links and rendezvous look alive from here.
    fn slept(&mut self, now_us: u64) {
        for step in self.rendezvous.renew(now_us) {
            self.take_step(step);
        }
        for link in self.links.all() {
            self.close(link);
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
        self.watch_network(now_us);
        self.ask_for_restarts(now_us);
        for (link, channel, bytes) in self.links.resumed(now_us) {
            self.received(link, channel, &bytes);
        }
        let steps = self.correspondence.on_time(now_us);
        self.take_steps(steps);
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
        sends.into_iter().for_each(|out| self.send_out(now_us, out));
        keys.iter().for_each(|key| self.correspondence.set_key(key, now_us));
        envelopes.into_iter().for_each(|envelope| self.post_sealed(envelope));
        if claims {
            self.rendezvous.claim();
        }
        events.into_iter().for_each(|event| self.event(now_us, event));
        self.asks.extend(capture.into_iter().filter_map(captured));
        if figures_wanted {
            self.step(now_us, |body, outs| body.set_figures(MixFigures::default(), outs));
        }
        for notice in notices {
            self.input(now_us, In::Notice(notice));
        }
    }
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
        is_relayed,
        own_candidate: _,
    } = counts;
    LinkStats {
        udp_bytes_sent: bytes_sent,
        udp_bytes_received: bytes_received,
        packets_sent,
        packets_received,
        repairs_sent,
        rtt_us,
        queue_us,
        way: if is_relayed { Way::Relayed } else { Way::Direct },
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
