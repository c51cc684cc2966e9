//! The WebRTC transport of a link, without IO: ICE, DTLS, SRTP and SCTP.
//!
//! The protocols are the stack's (`rtc`). Its peer connection, which joins them behind SDP, tracks and
//! interceptors, is not used: descriptions of peers say all that a link needs, and each packet would pass eight
//! handlers and their queues in each direction. Measured (demo of 100 viewers, two cores, two runs each by turns):
//! 1.12 cores and 420 MiB with it, 0.79 cores and 206 MiB without.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use plenary_proto::app::Way;
use plenary_proto::bounded::List;
use plenary_proto::message::{
    CANDIDATES_MAX, Candidate, DTLS_HELLO_LEN_MAX, Description, IceRestart, SctpInit, Setup,
};
use rtc::ice::Agent;
use rtc::ice::candidate::{Candidate as IceCandidate, CandidateType};
use rtc::ice::state::ConnectionState;
use rtc::sansio::Protocol as _;
use rtc::shared::error::Result;
use rtc::shared::util::is_rtcp;
use rtc::shared::{TaggedBytesMut, TransportContext, TransportProtocol};

use crate::agent::{add_tunnel, checks_of, ice_candidate, new_agent};
use crate::channels::{Channels, ChannelsEvent};
use crate::checks::{Checks, is_request};
use crate::credentials::Credentials;
use crate::legs::{Leaving, Legs};
use crate::path::{Behaviour, Checked, Migration, Reflex, Relay, Seen, behaviour};
use crate::restart::Restart;
use crate::screen::{Hostile, Paths, Verdict};
use crate::seam::Channel;
use crate::secure::{Dtls, Secured, Srtp};
use crate::socket::Class;
use crate::trains::Trains;
use crate::tunnels::is_tunnel;
use plenary_proto::link_layout::Role;
use plenary_proto::network::is_public;
use plenary_proto::restart::{Negotiation, Taken, Told};

/// Time from a link's set-up until a check from an unknown address moves it there: until then checks of the set-up are
/// under way. A guess.
const SETTLED_AFTER: Duration = Duration::from_secs(2);
/// Maximum number of the other end's relays that are remembered: several messages' of two addresses each. A guess.
const RELAYS_MAX: usize = 16;

/// The transport of a link.
pub(crate) struct Transport {
    role: Role,
    is_lite: bool,
    is_controlling: bool,
    credentials: Credentials,
    agent: Agent,
    /// Addresses of the other end, as checks have shown them.
    paths: Paths,
    /// The pair of addresses that ICE has selected. Before that, the first pair on which a check was answered.
    path: Option<TransportContext>,
    /// ICE has selected a pair.
    is_selected: bool,
    way: Way,
    /// `None` until the other end's description is known.
    dtls: Option<Dtls>,
    /// Answer to the hello in the other end's description (HelloVerifyRequest). It is shorter than a check, and goes
    /// where one has come from, without waiting for a path.
    cookie: Option<BytesMut>,
    /// The pair of addresses by which the first check of the other end has come.
    checked_by: Option<TransportContext>,
    /// `None` until the handshake is complete.
    srtp: Option<Box<Srtp>>,
    channels: Channels,
    legs: Legs,
    trains: Trains,
    events: VecDeque<TransportEvent>,
    /// Contents of a datagram of DTLS; kept for its memory.
    secured: Vec<Secured>,
    #[cfg(feature = "raw")]
    raw_datagrams: Vec<Bytes>,
    /// Addresses of this end.
    own: Vec<IpAddr>,
    reflex: Reflex,
    /// Relays of this end, and those that the other end has told.
    relays: Vec<SocketAddr>,
    other_relays: Vec<SocketAddr>,
    /// The link may go through a tunnel.
    has_tunnel: bool,
    /// User fragment of this end's description.
    ufrag: String,
    migration: Migration,
    /// The link goes by a path that the ICE agent doesn't know.
    has_migrated: bool,
    /// Time at which the checks of the set-up, or of the last restart, have ended.
    settles_at: Option<Instant>,
    /// An ICE restart under way.
    restart: Option<Box<Restart>>,
    /// The other end's requests for ICE restarts.
    taken: Taken,
    /// Further addresses of this end that were told.
    told: Vec<SocketAddr>,
    /// Candidates of the other end that are checked.
    checked: Checked,
    /// The newest further candidates that came before the description, with their user fragment.
    early: Option<(String, Vec<Candidate>)>,
    checks: Checks,
}

/// An event on a transport.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TransportEvent {
    /// The channels are open at this end.
    Opened,
    /// The other end was not heard for 5 s.
    Lost,
    /// The other end has closed the link.
    Closed,
    /// A STUN server has shown what the NAT in front of this end does, with addresses that are new.
    Seen(Behaviour),
    /// A TURN server has allocated a relay; the candidates that follow from it.
    Relayed(Vec<Candidate>),
    /// The link goes by the path that an ICE restart has found.
    Moved,
    /// The link goes by a path of its own, until an ICE restart has found one.
    Migrated,
    /// The other end is to be asked for its part of an ICE restart.
    RestartAsked,
    /// The other end has sent what no honest end sends.
    Hostile(&'static str),
}

impl Transport {
    /// Prepares a transport with local addresses, and STUN servers to ask, which an ICE-lite end doesn't. ICE begins
    /// once the other end is known ([`Transport::start`]).
    pub(crate) fn new(
        now: Instant,
        (role, is_lite): (Role, bool),
        credentials: &Credentials,
        (ufrag, pwd): (&str, &str),
        (legs, trains): (Legs, Trains),
        (addresses, stun): (impl Iterator<Item = SocketAddr>, &[SocketAddr]),
        checks: Checks,
    ) -> Result<Transport> {
        let sockets: Vec<SocketAddr> = addresses.collect();
        let own = sockets.iter().map(SocketAddr::ip).collect();
        let agent = new_agent(now, (role, is_lite), credentials, (ufrag, pwd), sockets.iter().copied())?;
        Ok(Transport {
            role,
            is_lite,
            is_controlling: role == Role::Offer,
            credentials: credentials.clone(),
            agent,
            paths: Paths::new(credentials.provider.clone(), (ufrag, pwd)),
            path: None,
            is_selected: false,
            way: Way::Direct,
            dtls: None,
            cookie: None,
            checked_by: None,
            srtp: None,
            channels: Channels::new(),
            legs,
            trains,
            events: VecDeque::new(),
            secured: Vec::new(),
            #[cfg(feature = "raw")]
            raw_datagrams: Vec::new(),
            own,
            reflex: Reflex::new(now, sockets.into_iter(), if is_lite { &[] } else { stun }, draw),
            relays: Vec::new(),
            other_relays: Vec::new(),
            has_tunnel: false,
            ufrag: ufrag.to_owned(),
            migration: Migration::default(),
            has_migrated: false,
            settles_at: None,
            restart: None,
            taken: Taken::default(),
            told: Vec::new(),
            checked: Checked::default(),
            early: None,
            checks,
        })
    }

    /// Returns the beginning of this end's SCTP association, for its description.
    pub(crate) fn sctp_init(&mut self, now: Instant) -> Result<SctpInit> {
        self.channels.init(now)
    }

    /// Begins the handshake of DTLS ahead of a path, at the client of two natives, and returns its first datagram.
    pub(crate) fn hello(&mut self, now: Instant) -> Result<Option<List<u8, DTLS_HELLO_LEN_MAX>>> {
        let Some(dtls) = self.dtls.as_mut().filter(|_| self.channels.has_begun()) else { return Ok(None) };
        dtls.path_found(now)?;
        let hello = dtls.poll_transmit();
        Ok(hello.and_then(|hello| hello.to_vec().try_into().ok()))
    }

    /// Whether the other end's channels are open by the time at which anything that this end sends arrives.
    pub(crate) fn opens_together(&self) -> bool {
        self.channels.has_begun()
    }

    /// Begins to connect with the other end. Its description has passed the check of `layout.rs`.
    pub(crate) fn start(&mut self, now: Instant, other: &Description) -> Result<()> {
        let is_client = match other.setup {
            Setup::ActPass | Setup::ActPassLite | Setup::Passive => true,
            Setup::Active | Setup::ActiveLite => false,
        };
        let is_browser = other.browser.is_some();
        let mut dtls = Dtls::new(&self.credentials, other.fingerprint, is_client, is_browser)?;
        if let Some(hello) = other.hello.as_ref().filter(|_| !is_client) {
            dtls.read(now, hello, &mut self.secured)?;
            self.cookie = dtls.poll_transmit();
        }
        self.dtls = Some(dtls);
        self.note_relays(&other.candidates);
        for (index, candidate) in (0..).zip(self.checked.of_description(&other.candidates, &self.own)) {
            self.agent.add_remote_candidate(ice_candidate(&candidate, index)?)?;
        }
        // a full end controls a lite one (RFC 8445, 6.1.1)
        self.is_controlling = match (self.is_lite, other.setup.is_lite()) {
            (false, true) => true,
            (true, false) => false,
            _ => self.role == Role::Offer,
        };
        self.channels.start(now, other.sctp.as_ref())?;
        let (ufrag, pwd) = (other.ufrag.to_string(), other.pwd.to_string());
        self.paths.start(&ufrag, &pwd);
        self.agent.start_connectivity_checks(now, self.is_controlling, ufrag, pwd)?;
        if let Some((ufrag, candidates)) = self.early.take() {
            self.add_paths(&ufrag, &candidates)?;
        }
        self.check_path()
    }

    /// Checks further candidates of the other end, unless there is a path already, or they belong to another
    /// description. They may overtake an answer, which goes by another way.
    pub(crate) fn add_paths(&mut self, ufrag: &str, candidates: &[Candidate]) -> Result<()> {
        let Some(known) = self.paths.other_ufrag() else {
            self.early = Some((ufrag.to_owned(), candidates.to_vec()));
            return Ok(());
        };
        tracing::debug!(
            ?candidates,
            has_path = self.path.is_some(),
            belong = known == ufrag,
            "further candidates"
        );
        if let Some(restart) =
            self.restart.as_mut().filter(|restart| restart.paths.other_ufrag() == Some(ufrag))
        {
            for candidate in restart.checked.of_paths(candidates, &self.own) {
                restart.agent.add_remote_candidate(ice_candidate(&candidate, 0)?)?;
            }
            return Ok(());
        }
        if known != ufrag {
            return Ok(());
        }
        self.note_relays(candidates);
        if self.path.is_some() {
            return Ok(());
        }
        for candidate in self.checked.of_paths(candidates, &self.own) {
            self.agent.add_remote_candidate(ice_candidate(&candidate, 0)?)?;
        }
        Ok(())
    }

    /// A TURN server has allocated a relay: the other end's candidates are checked from there, too.
    pub(crate) fn add_relay(&mut self, Relay { relayed, seen }: Relay) -> Result<()> {
        self.relays.push(relayed);
        self.agent.add_local_candidate(ice_candidate(&Candidate::Relayed(relayed), 0)?)?;
        // Where a NAT gives a port for each destination, no other server's answer was worth telling. The other end's
        // relay needs a permission for the address, whatever the port.
        let seen = seen.filter(|seen| !self.told.contains(seen) && !self.own.contains(&seen.ip()));
        self.told.extend(seen);
        let candidates = [Candidate::Relayed(relayed)].into_iter().chain(seen.map(Candidate::Reflexive));
        self.events.push_back(TransportEvent::Relayed(candidates.collect()));
        Ok(())
    }

    /// The link may go through a tunnel from now on: one more pair of relayed candidates. An ICE-lite end is in the
    /// open.
    pub(crate) fn open_tunnel(&mut self) -> Result<()> {
        if !self.has_tunnel && self.path.is_none() && !self.is_lite {
            self.has_tunnel = true;
            add_tunnel(&mut self.agent)?;
        }
        Ok(())
    }

    /// Returns the pair of addresses that the link goes by, where frames of tunnels go too: not through another tunnel.
    pub(crate) fn path_of_frames(&self) -> Option<TransportContext> {
        self.path.filter(|path| !is_tunnel(path.local_addr))
    }

    /// Whether the other end was heard from this address.
    pub(crate) fn knows(&self, address: SocketAddr) -> bool {
        self.paths.knows(address) || self.restart.as_ref().is_some_and(|restart| restart.paths.knows(address))
    }

    /// Begins an ICE restart with these addresses of this end, from which STUN servers are asked too. `asks`: the other
    /// end is asked for its part; else it has asked, and its part follows.
    pub(crate) fn begin_restart(
        &mut self,
        now: Instant,
        credentials: (String, String),
        (addresses, stun): (&[SocketAddr], &[SocketAddr]),
        (candidates, asks): (List<Candidate, CANDIDATES_MAX>, bool),
    ) -> Result<()> {
        let by_tunnel = self.has_tunnel && self.path_of_frames().is_some();
        if let Some(path) = self.path_of_frames().filter(|path| !addresses.contains(&path.local_addr)) {
            let peer = path.peer_addr;
            for local in addresses.iter().filter(|local| local.is_ipv4() == peer.is_ipv4()) {
                // the other end checks it in turn
                self.agent.add_local_candidate(ice_candidate(&Candidate::Host(*local), 0)?)?;
                self.migration.check(now, (*local, peer), (false, draw()));
            }
        }
        self.own = addresses.iter().map(SocketAddr::ip).collect();
        let restart = Restart::new(
            now,
            (self.role, self.is_lite),
            &self.credentials,
            credentials,
            (addresses.iter().copied(), by_tunnel),
            (candidates, asks),
        )?;
        self.restart = Some(Box::new(restart));
        self.reflex =
            Reflex::new(now, addresses.iter().copied(), if self.is_lite { &[] } else { stun }, draw);
        self.told.clear();
        Ok(())
    }

    /// Judges what the other end tells of an ICE restart.
    pub(crate) fn judge_restart(&mut self, told: &IceRestart) -> Told {
        let own = self.restart.as_ref().map(|restart| &restart.negotiation);
        Negotiation::judge(own, &mut self.taken, self.role, &self.ufrag, told)
    }

    /// Begins to check the other end's candidates of an ICE restart.
    pub(crate) fn start_restart(&mut self, now: Instant, other: &IceRestart) -> Result<()> {
        let Some(restart) = &mut self.restart else { return Ok(()) };
        restart.start(now, self.is_controlling, other, &self.own)
    }

    /// Returns this end's part of the ICE restart under way, for the other end.
    pub(crate) fn restart_told(&self) -> Option<IceRestart> {
        let other_ufrag = self.paths.described_ufrag()?;
        self.restart.as_ref().map(|restart| restart.negotiation.told(other_ufrag))
    }

    pub(crate) fn is_restarting(&self) -> bool {
        self.restart.is_some()
    }

    /// Whether the other end was asked for its part of an ICE restart, and has not answered yet.
    pub(crate) fn asks_restart(&self) -> bool {
        self.restart.as_ref().is_some_and(|restart| restart.negotiation.is_asking())
    }

    /// A relay of this end has ended, and none has the address `local` of the path any more.
    pub(crate) fn relay_gone(&mut self, local: SocketAddr) {
        if self.relays.contains(&local) {
            self.events.push_back(TransportEvent::Lost);
        }
    }

    /// Notes which of the other end's addresses are relays: ICE may have met them before they were told.
    fn note_relays(&mut self, candidates: &[Candidate]) {
        let relayed = candidates.iter().filter(|candidate| matches!(candidate, Candidate::Relayed(_)));
        let room = RELAYS_MAX.saturating_sub(self.other_relays.len());
        self.other_relays.extend(relayed.filter_map(Candidate::address).take(room));
        if self.path.is_some_and(|path| self.other_relays.contains(&path.peer_addr)) {
            self.way = Way::Relayed;
        }
    }

    /// Takes a datagram.
    ///
    /// # Errors
    /// The datagram is malformed, or was not sealed by the other end. It was dropped.
    pub(crate) fn receive(
        &mut self,
        now: Instant,
        local_addr: SocketAddr,
        peer_addr: SocketAddr,
        datagram: &[u8],
    ) -> Result<()> {
        match Class::of(datagram) {
            Class::Check => self.receive_check(now, local_addr, peer_addr, datagram),
            Class::Media | Class::Dtls if !self.knows(peer_addr) => Ok(()),
            Class::Media => {
                let Some(srtp) = &mut self.srtp else { return Ok(()) };
                if is_rtcp(datagram) {
                    self.legs.receive_rtcp(now, &srtp.open_rtcp(datagram)?);
                } else {
                    let packet = srtp.open(datagram)?;
                    if !self.trains.receive(now, &packet) {
                        self.legs.receive_rtp(now, packet);
                    }
                }
                Ok(())
            }
            Class::Dtls => self.receive_dtls(now, datagram),
            // no tunnel goes through another one
            Class::Tunnel => Ok(()),
        }
    }

    /// Takes a check, the answer to one, or a STUN server's.
    fn receive_check(
        &mut self,
        now: Instant,
        local_addr: SocketAddr,
        peer_addr: SocketAddr,
        datagram: &[u8],
    ) -> Result<()> {
        if self.reflex.awaits(peer_addr) {
            if let Some(seen) = self.reflex.receive(local_addr, peer_addr, datagram) {
                self.seen(&seen);
            }
            return Ok(());
        }
        let is_new = !self.paths.knows(peer_addr);
        let is_of_link = self.paths.check(datagram, peer_addr) == Verdict::Pass;
        if is_of_link {
            if self.migration.answered(local_addr, peer_addr, datagram) {
                self.migrate(local_addr, peer_addr);
                return Ok(());
            }
            if is_new && is_request(datagram) && self.may_migrate(now) {
                self.migration.check(now, (local_addr, peer_addr), (false, draw()));
            }
        } else {
            let Some(restart) = &mut self.restart else { return Ok(()) };
            if restart.paths.check(datagram, peer_addr) == Verdict::Drop {
                return Ok(());
            }
            // a browser with another network nominates the new pair seconds later, but media can go by the pair at once
            if self.migration.answered(local_addr, peer_addr, datagram) {
                self.migrate(local_addr, peer_addr);
                return Ok(());
            }
            if is_request(datagram) && !self.has_migrated && self.may_migrate(now) {
                self.migration.check(now, (local_addr, peer_addr), (true, draw()));
            }
        }
        // an end in the same private network is on this side of the NAT, and a relay is in front of it
        let is_through_nat = is_public(peer_addr.ip()) && !self.relays.contains(&local_addr);
        let seen = is_through_nat.then(|| self.reflex.answered(local_addr, peer_addr, datagram));
        seen.flatten().iter().for_each(|seen| self.seen(seen));
        let transport = udp(local_addr, peer_addr);
        let tagged = TaggedBytesMut { now, transport, message: BytesMut::from(datagram) };
        match &mut self.restart {
            Some(restart) if !is_of_link => {
                restart.agent.handle_read(tagged)?;
                self.check_restart(now);
            }
            _ => {
                self.agent.handle_read(tagged)?;
                self.check_path()?;
                self.checked_by.get_or_insert(transport);
                if !is_request(datagram) {
                    self.take_valid_path(now, transport)?;
                }
            }
        }
        Ok(())
    }

    /// A pair that has answered a check is valid, and may be used before ICE has selected one (RFC 8445, 12.1): the
    /// handshake begins a round trip earlier. A relay waits for a better pair.
    fn take_valid_path(&mut self, now: Instant, pair: TransportContext) -> Result<()> {
        let is_detour = is_tunnel(pair.local_addr)
            || self.relays.contains(&pair.local_addr)
            || self.other_relays.contains(&pair.peer_addr);
        if self.path.is_some() || is_detour {
            return Ok(());
        }
        self.path = Some(pair);
        self.dtls.as_mut().map_or(Ok(()), |dtls| dtls.path_found(now))
    }

    /// Returns the addresses from which the other end has answered its first check since the last call.
    pub(crate) fn take_answered(&mut self) -> Vec<SocketAddr> {
        self.paths.take_answered()
    }

    /// Tells under which addresses STUN servers see a socket.
    fn seen(&mut self, seen: &Seen) {
        let mut behaviour = behaviour(seen.local, &seen.by);
        behaviour.reachable_at.retain(|address| !self.told.contains(address));
        self.told.extend(&behaviour.reachable_at);
        self.events.push_back(TransportEvent::Seen(behaviour));
    }

    fn receive_dtls(&mut self, now: Instant, datagram: &[u8]) -> Result<()> {
        let Some(dtls) = &mut self.dtls else { return Ok(()) };
        let read = dtls.read(now, datagram, &mut self.secured);
        for secured in self.secured.drain(..) {
            match secured {
                Secured::Keys(srtp) => {
                    self.srtp = Some(srtp);
                    self.channels.secured(now, dtls.is_client)?;
                }
                Secured::Packet(packet) => {
                    if let Err(Hostile(what)) = self.channels.receive(now, packet) {
                        self.events.push_back(TransportEvent::Hostile(what));
                    }
                }
                Secured::Closed => self.events.push_back(TransportEvent::Closed),
            }
        }
        self.check_channels(now);
        read
    }

    /// Returns the address of this end that the link goes by, and its way, once there is a path.
    pub(crate) fn goes_by(&self) -> Option<(SocketAddr, Way)> {
        self.path.map(|path| (path.local_addr, self.way))
    }

    /// Handles the events of the ICE agent.
    fn check_path(&mut self) -> Result<()> {
        while let Some(tagged) = self.agent.poll_event() {
            match tagged.event {
                rtc::ice::Event::SelectedCandidatePairChange(local, remote) => {
                    self.select(&local, &remote);
                    self.dtls.as_mut().map_or(Ok(()), |dtls| dtls.path_found(tagged.now))?;
                }
                rtc::ice::Event::ConnectionStateChange(ConnectionState::Failed) => {
                    self.events.push_back(TransportEvent::Lost);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Handles the events of the ICE agent of a restart: the link goes by the path that it has selected.
    fn check_restart(&mut self, now: Instant) {
        let Some(restart) = &mut self.restart else { return };
        let mut selected = None;
        while let Some(tagged) = restart.agent.poll_event() {
            if let rtc::ice::Event::SelectedCandidatePairChange(local, remote) = tagged.event {
                selected = Some((local, remote));
            }
        }
        if let Some((local, remote)) = selected
            && let Some(restart) = self.restart.take()
        {
            let Restart { agent, paths, checked, .. } = *restart;
            (self.agent, self.checked) = (agent, checked);
            let before = std::mem::replace(&mut self.paths, paths);
            self.paths.inherit(before);
            (self.has_migrated, self.migration) = (false, Migration::default());
            // checks of the restart from further addresses of the other end are still under way
            self.settles_at = Some(now + SETTLED_AFTER);
            self.select(&local, &remote);
            self.channels.path_changed();
            self.events.push_back(TransportEvent::Moved);
        } else if self.restart.as_ref().is_some_and(|restart| restart.negotiation.is_over(now)) {
            tracing::debug!("an ICE restart has found no path");
            self.restart = None;
        }
    }

    /// Whether a check from an unknown address may move the link there: no checks of the set-up or of a restart are
    /// under way.
    fn may_migrate(&self, now: Instant) -> bool {
        self.settles_at.is_some_and(|at| at <= now) && self.path_of_frames().is_some()
    }

    /// The link goes by this pair, which a check has shown to be a path, until ICE finds one.
    fn migrate(&mut self, local_addr: SocketAddr, peer_addr: SocketAddr) {
        if let Some(path) = &mut self.path {
            (path.local_addr, path.peer_addr) = (local_addr, peer_addr);
            (self.way, self.has_migrated) = (Way::Direct, true);
            self.channels.path_changed();
            self.events.push_back(TransportEvent::Migrated);
        }
    }

    /// Whether the link goes by a path that no ICE agent keeps.
    pub(crate) fn has_migrated(&self) -> bool {
        self.has_migrated
    }

    /// The link goes by this pair from now on.
    fn select(&mut self, local: &IceCandidate, remote: &IceCandidate) {
        let is_relay = |one: &IceCandidate| one.candidate_type() == CandidateType::Relay;
        let is_relayed = is_relay(local) || is_relay(remote) || self.other_relays.contains(&remote.addr());
        self.way = match is_relayed {
            _ if is_tunnel(local.addr()) => Way::Carried,
            true => Way::Relayed,
            false => Way::Direct,
        };
        self.path = Some(udp(local.base_addr(), remote.addr()));
        self.is_selected = true;
    }

    fn check_channels(&mut self, now: Instant) {
        while let Some(event) = self.channels.poll_event() {
            if matches!(event, ChannelsEvent::Opened) {
                self.settles_at = Some(now + SETTLED_AFTER);
            }
            self.events.push_back(match event {
                ChannelsEvent::Opened => TransportEvent::Opened,
                ChannelsEvent::Closed => TransportEvent::Closed,
            });
        }
    }

    pub(crate) fn poll_event(&mut self) -> Option<TransportEvent> {
        self.events.pop_front()
    }

    /// The next message that has arrived.
    pub(crate) fn read(&mut self) -> Option<(Channel, Bytes)> {
        self.channels.read()
    }

    /// Sends a message with the next call of [`Transport::collect`].
    pub(crate) fn send(&mut self, now: Instant, channel: Channel, message: &Bytes) -> Result<()> {
        self.channels.send(now, channel, message)
    }

    /// Sends what an attacker sends.
    #[cfg(feature = "raw")]
    pub(crate) fn send_raw(&mut self, now: Instant, raw: crate::raw::Raw) {
        use crate::raw::Raw;
        match (raw, &mut self.dtls) {
            (Raw::Datagram(datagram), _) => self.raw_datagrams.push(datagram),
            (Raw::Chunks(make), Some(dtls)) => {
                if let Some(packet) = self.channels.raw_packet(make) {
                    let _ = dtls.write(now, &packet);
                }
            }
            (Raw::Chunks(_), None) => {}
        }
    }

    /// Bytes of messages that the other end has not acknowledged yet.
    pub(crate) fn outstanding_bytes(&mut self, channel: Channel) -> usize {
        self.channels.outstanding_bytes(channel)
    }

    /// Collects the datagrams that are to be sent now. A batch of media is only taken from the link's queue if
    /// `takes_media`.
    pub(crate) fn collect(
        &mut self,
        now: Instant,
        takes_media: bool,
        outgoing: &mut VecDeque<TaggedBytesMut>,
    ) {
        for (local_addr, peer_addr, request) in self.reflex.take_due(now) {
            let transport = udp(local_addr, peer_addr);
            outgoing.push_back(TaggedBytesMut { now, transport, message: BytesMut::from(&request[..]) });
        }
        let mut due = Vec::new();
        for check in checks_of(&mut self.agent) {
            // answers, and the checks of a path, go to addresses that have shown that they want them
            if !self.is_selected && is_request(&check.message) {
                due.push(check);
            } else {
                outgoing.push_back(check);
            }
        }
        if let Some(restart) = &mut self.restart {
            for check in checks_of(&mut restart.agent) {
                if is_request(&check.message) { due.push(check) } else { outgoing.push_back(check) }
            }
            if restart.negotiation.is_ask_due(now) {
                self.events.push_back(TransportEvent::RestartAsked);
            }
        }
        for (local_addr, peer_addr, (of_restart, id)) in self.migration.take_due(now) {
            let restart = self.restart.as_ref().filter(|_| of_restart).map(|restart| &restart.paths);
            if let Some(request) = restart.unwrap_or(&self.paths).request(id) {
                let transport = udp(local_addr, peer_addr);
                outgoing.push_back(TaggedBytesMut { now, transport, message: BytesMut::from(&request[..]) });
            }
        }
        self.checks.send(now, due, outgoing);
        if let Some(transport) = self.path.or(self.checked_by)
            && let Some(message) = self.cookie.take()
        {
            outgoing.push_back(TaggedBytesMut { now, transport, message });
        }
        let (Some(transport), Some(dtls)) = (self.path, &mut self.dtls) else { return };
        let mut push = |sealed: Result<BytesMut>| match sealed {
            Ok(message) => outgoing.push_back(TaggedBytesMut { now, transport, message }),
            Err(error) => tracing::debug!(%error, "a packet was not sealed"),
        };
        if let Some(srtp) = &mut self.srtp {
            self.trains.depart(now, |packet| push(srtp.seal(&packet)));
            if takes_media {
                self.legs.take_batch();
            }
            while let Some(leaving) = self.legs.next() {
                push(match leaving {
                    Leaving::Rtp(packet) => srtp.seal(&packet),
                    Leaving::Rtcp(packet) => srtp.seal_rtcp(packet),
                });
            }
        }
        self.channels.flush(now, |packet| {
            if let Err(error) = dtls.write(now, packet) {
                tracing::debug!(%error, "a message was not sealed");
            }
        });
        while let Some(datagram) = dtls.poll_transmit() {
            push(Ok(datagram));
        }
        #[cfg(feature = "raw")]
        self.raw_datagrams.drain(..).for_each(|datagram| push(Ok(datagram.into())));
    }

    pub(crate) fn poll_timeout(&mut self) -> Option<Instant> {
        let dtls = self.dtls.as_ref().and_then(Dtls::poll_timeout);
        let media = [self.legs.deadline(), self.trains.deadline()];
        let reflex = self.reflex.poll_timeout();
        let restart = self.restart.as_mut().and_then(|restart| restart.poll_timeout());
        let migration = self.migration.poll_timeout();
        let timeouts =
            [self.agent.poll_timeout(), dtls, self.channels.poll_timeout(), reflex, restart, migration];
        media.into_iter().chain(timeouts).flatten().min()
    }

    /// Called when the time of [`Transport::poll_timeout`] has come.
    ///
    /// # Errors
    /// The handshake has failed.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Result<()> {
        if self.agent.poll_timeout().is_some_and(|due| due <= now) {
            self.agent.handle_timeout(now)?;
            self.check_path()?;
        }
        if let Some(restart) = &mut self.restart {
            if restart.agent.poll_timeout().is_some_and(|due| due <= now) {
                restart.agent.handle_timeout(now)?;
            }
            self.check_restart(now);
        }
        self.dtls.as_mut().map_or(Ok(()), |dtls| dtls.handle_timeout(now))?;
        self.channels.handle_timeout(now);
        self.check_channels(now);
        self.legs.send_feedback(now);
        self.trains.handle_timeout(now);
        Ok(())
    }

    /// Ends the connection, and collects the datagrams that tell the other end so.
    pub(crate) fn close(&mut self, now: Instant, outgoing: &mut VecDeque<TaggedBytesMut>) -> Result<()> {
        self.collect(now, false, outgoing);
        self.channels.abort();
        self.collect(now, false, outgoing);
        self.dtls.as_mut().map_or(Ok(()), |dtls| dtls.close(now))?;
        self.collect(now, false, outgoing);
        self.agent.close()
    }
}

/// A pair of addresses.
fn udp(local_addr: SocketAddr, peer_addr: SocketAddr) -> TransportContext {
    TransportContext { local_addr, peer_addr, ecn: None, transport_protocol: TransportProtocol::UDP }
}

/// Returns a random id of a transaction. Without randomness no answer is recognized, and links do without.
pub(crate) fn draw() -> [u8; 12] {
    let mut drawn = [0; 12];
    let _ = getrandom::fill(&mut drawn);
    drawn
}

#[cfg(test)]
mod tests;
