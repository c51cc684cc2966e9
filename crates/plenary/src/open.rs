//! Opening and joining of rooms, up to the moment the driver runs.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use plenary_body::{BodyConfig, Correspondence, HOST_ANSWER_US_MAX, Letters, layout};
use plenary_media::CodecBench;
use plenary_proto::app::{ConnectionState, End, Snapshot, check_mixers};
use plenary_proto::bounded::{Text, composed, plain};
use plenary_proto::message::{Consent, TITLE_LEN_MAX};
use plenary_proto::seal::{self, Invite, InviteError, Keypair, Opener, RoomKey, Sealer};
use plenary_proto::{HostConfig, RoomConfig, RoomState, Time};
use plenary_rtc::{Links, LinksConfig};
use plenary_signal::{
    Doors, Limits, PageOrigin, Rendezvous, RendezvousConfig, Signal, SignalError, WebsocketConfig,
    WebsocketSignal,
};
use tokio::runtime::Handle;
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};
use tracing::{Instrument, Span};

use crate::advertise::Advertise;
use crate::benches::Benches;
use crate::certificate::Certificate;
use crate::driver::Driver;
use crate::error::Error;
use crate::event::EVENTS_MAX;
use crate::flow::Flow;
use crate::line_share::outflow_bytes_per_s;
use crate::options::{HostOptions, Options};
use crate::port_map::{Outer, PortMap};
use crate::power::on_mains;
use crate::reachable::reachable;
use crate::room::{Inner, Room};
use crate::secrets::{Identity, Password, RoomKeys};
use crate::stun::{StunServer, StunServers};
use crate::threads::Threads;
use crate::tunnels::ByRendezvous;
use crate::turn::TurnServers;
use crate::{random_bytes, random_u64};

/// Maximum number of the application's requests queued for the driver.
const REQUESTS_MAX: usize = 64;

/// Time that an invite waits for a router's answer: most answer within 0.2 s, by any of the three protocols (measured
/// with miniupnpd).
const MAPPED_MAX: Duration = Duration::from_secs(1);

/// Parts of a room before it is opened.
struct Opening {
    me: Keypair,
    invite: Invite,
    keys: Option<RoomKeys>,
    key: RoomKey,
    /// Keys of earlier invites.
    earlier: Vec<RoomKey>,
    host: Option<HostConfig>,
    signal: Arc<dyn Signal>,
    rendezvous: Option<Rendezvous>,
    /// The port of the own rendezvous at the router.
    port_map: Option<PortMap>,
    span: Span,
}

/// Opens a room as its host.
pub(crate) async fn host(options: Options, host: HostOptions) -> Result<Room, Error> {
    let keys = keys_of(&options, host.keys.clone())?;
    let (span, runtime) = (span_of(&keys.0.host), options.runtime.clone());
    // boxed: the future takes 20 kB, and applications embed it in futures of their own
    on_runtime(runtime, Box::pin(host_as(keys, options, host, span.clone()).instrument(span))).await
}

/// Joins the room of an invite.
pub(crate) async fn join(invite: Invite, options: Options) -> Result<Room, Error> {
    let me = options.identity.clone().unwrap_or_else(Identity::generate).0;
    let (span, runtime) = (span_of(&me), options.runtime.clone());
    on_runtime(runtime, Box::pin(join_as(me, invite, options, span.clone()).instrument(span))).await
}

/// Runs the opening of a room on the runtime that the options name, or else inside the one around the call.
async fn on_runtime(
    runtime: Option<Handle>,
    opening: impl Future<Output = Result<Room, Error>> + Send + 'static,
) -> Result<Room, Error> {
    /// Stops the opening when its caller no longer waits.
    struct Opening(JoinHandle<Result<Room, Error>>);
    impl Drop for Opening {
        fn drop(&mut self) {
            self.0.abort();
        }
    }
    let drives = match &runtime {
        Some(runtime) => {
            let _inside = runtime.enter();
            drives_io_and_time()
        }
        None => Handle::try_current().is_ok() && drives_io_and_time(),
    };
    match runtime {
        _ if !drives => Err(Error::NoRuntime),
        Some(runtime) => (&mut Opening(runtime.spawn(opening)).0).await.map_err(|_| Error::Closed)?,
        None => opening.await,
    }
}

/// Returns whether the runtime around the call has IO and time. Tokio says so by a panic alone, which is caught here.
fn drives_io_and_time() -> bool {
    let probe = || {
        drop(tokio::time::sleep(Duration::ZERO));
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0));
        // a missing socket proves nothing here: links report its cause
        if let Ok(socket) = socket.and_then(|socket| socket.set_nonblocking(true).map(|()| socket)) {
            drop(tokio::net::UdpSocket::from_std(socket));
        }
    };
    std::panic::catch_unwind(probe).is_ok()
}

/// Returns the keys of a room to be opened, with the identity of its host.
fn keys_of(options: &Options, keys: Option<RoomKeys>) -> Result<RoomKeys, Error> {
    match (options.identity.clone(), keys) {
        (Some(identity), Some(keys)) if identity.peer() != keys.host() => Err(Error::OtherIdentity),
        (_, Some(keys)) => Ok(keys),
        (identity, None) => Ok(RoomKeys::of(identity.unwrap_or_else(Identity::generate))),
    }
}

/// Returns the tracing span of a room. Everything that the room does runs inside it, so that several rooms of
/// a process can be told apart in a log.
fn span_of(me: &Keypair) -> Span {
    tracing::info_span!("room", me = ?me.id())
}

async fn host_as(keys: RoomKeys, options: Options, host: HostOptions, span: Span) -> Result<Room, Error> {
    let layout = layout::for_command(&host.layout).map_err(Error::Layout)?.to_roster();
    check_mixers(host.mixers).map_err(Error::Command)?;
    let seal::RoomKeys { root, host: me, removed, reign, locked, .. } = keys.0.clone();
    let (rendezvous, url, port_map) = match &host.rendezvous {
        Some(url) => (None, url.trim_end_matches('/').to_owned(), None),
        None => {
            let address = host.listen.unwrap_or(SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)));
            let tls = host.certificate.as_ref().map(Certificate::server_tls);
            let page_at = host.page_at.iter().filter_map(|url| PageOrigin::of_url(url).ok());
            let turn = host.turn.as_ref();
            let turn = turn.map(|turn| {
                turn.config(address, options.nat_1to1, host.advertise.as_ref(), options.uplink_bps_max)
            });
            let config = RendezvousConfig {
                page: host.page.clone(),
                figures: host.figures.clone(),
                embed: host.embed.iter().cloned().chain(page_at).collect(),
                advertised: host.advertise.as_ref().and_then(Advertise::authority),
                limits: Limits {
                    carries: options.carries,
                    holds_newcomers: Duration::ZERO, // its own room is open from the start
                    outflow_bytes_per_s: outflow_bytes_per_s(options.uplink_bps_max),
                    ..Limits::default()
                },
                turn,
                tls,
            };
            let rendezvous = Rendezvous::bind(address, config)?;
            let local = rendezvous.local_addr();
            let port_map = (options.maps_ports && host.advertise.is_none() && options.nat_1to1.is_none())
                .then(|| PortMap::of_rendezvous(local))
                .flatten();
            let mapped = match &port_map {
                Some(map) => map.outer(MAPPED_MAX).await.and_then(Outer::mapped),
                None => None,
            };
            let outer = options.nat_1to1.map(|outer| SocketAddr::new(outer, local.port())).or(mapped);
            let wanted = host.advertise.clone().or(outer.map(Advertise::from));
            let advertise = wanted.unwrap_or_else(|| Advertise::of_listener(local));
            let is_told = host.advertise.is_some() || options.nat_1to1.is_some();
            if !is_told && local.ip().is_unspecified() && reachable(local).ip().is_loopback() {
                tracing::warn!(
                    "the invite leads to this machine alone, which has no other address: advertise one"
                );
            }
            let url = advertise.url(rendezvous.is_secure(), local.port());
            (Some(rendezvous), url, port_map)
        }
    };
    let expires_unix_s = (options.clock.now_us() / 1_000_000).saturating_add(host.invite_life.as_secs());
    let (mut opened, password, stage_open) = (keys.0, options.password.clone(), host.stage_open);
    let (place, hint) = Invite::places(&url, host.page_at.as_deref())?;
    // with a password this takes a while, so it runs on a blocking thread
    let opened = blocking(move || {
        let password = password.as_ref().map(Password::as_str);
        let (invite, key) = opened.open(password, stage_open, (Some(place), hint), expires_unix_s)?;
        Ok::<_, InviteError>((opened, invite, key))
    });
    let (keys, invite, key) = opened.await??;
    let signal: Arc<dyn Signal> = match &rendezvous {
        Some(own) => {
            let doors = Doors::truncated([key.door().id()]);
            Arc::new(own.attach_host(invite.room(), me.id(), doors).map_err(SignalError::Refused)?)
        }
        None => Arc::new(websocket(&url, &me, Some((root.clone(), reign > 0)), &key, &options)?),
    };
    let life_us = u64::try_from(host.invite_life.as_micros()).unwrap_or(u64::MAX);
    let host = HostConfig {
        root,
        stage_open: host.stage_open,
        mixing: host.mixing,
        program: host.program,
        k: host.k,
        k1: host.k1,
        mixers: host.mixers,
        invite_expires_us: Some(life_us),
        layout,
        title: title_of(&host.title),
        lobby: host.lobby,
        members: host.members,
        removed,
        locked,
        reign,
    };
    // the next session begins above this one, and above a reign that is handed over without being begun
    let earlier = keys.earlier_keys(&key);
    let keys = Some(RoomKeys(seal::RoomKeys { reign: reign.saturating_add(2), ..keys }));
    open(
        Opening { me, invite, keys, key, earlier, host: Some(host), signal, rendezvous, port_map, span },
        options,
    )
    .await
}

/// Returns the first 64 characters of a title.
fn title_of(title: &str) -> Text<TITLE_LEN_MAX> {
    Text::truncated(&plain(title).chars().take(TITLE_LEN_MAX / 4).collect::<String>())
}

async fn join_as(me: Keypair, invite: Invite, options: Options, span: Span) -> Result<Room, Error> {
    let key = key_of(&invite, &options).await?;
    let url = invite.rendezvous().ok_or(Error::NoRendezvous)?;
    let signal = Arc::new(websocket(&url, &me, None, &key, &options)?);
    let (keys, earlier, host, rendezvous, port_map) = (None, Vec::new(), None, None, None);
    open(Opening { me, invite, keys, key, earlier, host, signal, rendezvous, port_map, span }, options).await
}

/// Assembles a room, starts its driver, and waits until the host has admitted this peer.
async fn open(opening: Opening, mut options: Options) -> Result<Room, Error> {
    let Opening { me, invite, keys, key, earlier, host, signal, rendezvous, port_map, span } = opening;
    let id = me.id();
    options.password = None; // its key is derived
    let mixes = prepare_to_mix(&mut options);
    let stated = options.testing.bench.filter(|_| mixes);
    let bench = stated.map(|(encode_us, decode_us)| CodecBench { encode_us, decode_us });
    let codecs_to_measure = options.codecs.clone().filter(|_| mixes && bench.is_none());
    let (clock, room) = (options.clock, invite.room());
    let zero_us = clock.now_us();
    let (requests, requested) = mpsc::channel(REQUESTS_MAX);
    let (events, _) = broadcast::channel(EVENTS_MAX);
    let (snapshot, snapshots) = watch::channel(Snapshot::default());
    let (ended, end) = watch::channel(None);
    let letters = Letters::new(
        room,
        invite.root(),
        id,
        Sealer::new(me.clone(), key.clone(), seal::counter_at(zero_us)),
        Opener::new(id, key.clone()).with_earlier(earlier),
    );
    let config = RoomConfig {
        room,
        root: invite.root(),
        name: Text::truncated(&composed(options.name.trim())),
        speaks: options.speaks,
        views: options.views,
        no_solo: !options.solo_allowed,
        consent: options.mix,
        relays: options.relays,
        children_max: options.children_max,
        uplink_bps_max: options.uplink_bps_max,
        carries: options.carries,
        sends_trains: true,
        key: Some(key.for_member()),
        unix_us_at_zero: zero_us,
        host,
    };
    let mut brain = RoomState::new(me, config, options.testing.seed.unwrap_or_else(random_u64), Time(0));
    brain.report_broken_invariants();
    let config = BodyConfig {
        me: id,
        room,
        zero_us,
        keeps_log: options.testing.keep_frame_log,
        views: options.views,
        speaks: options.speaks,
        is_page: false,
        seed: random_u64(),
        seals: true,
    };
    let codecs = (options.codecs.clone(), options.falls_back);
    let flow = Flow::new(brain, config, clock, codecs, options.testing.forge.clone(), span.clone());
    let config = LinksConfig {
        bind: options.bind.clone(),
        udp_ports: options.udp_ports.clone(),
        udp_port: options.udp_port,
        ice_lite: options.ice_lite,
        nat_1to1: options.nat_1to1,
        uplink_bps_max: options.uplink_bps_max,
        shaper: options.testing.shaper.clone(),
        epoch: Instant::now(),
        ..LinksConfig::default()
    };
    // a rendezvous of this process would see no NAT; the relays of its TURN server have to know the links' sockets
    let elsewhere = invite.rendezvous().filter(|_| rendezvous.is_none());
    let of_rendezvous = elsewhere.and_then(|url| StunServer::of_rendezvous(&url));
    let of_relays = rendezvous.iter().flat_map(Rendezvous::turn_addrs).map(StunServer::from);
    let turn = TurnServers::new(options.turn.clone(), of_rendezvous.clone());
    let stun = options.stun.iter().cloned().chain(of_rendezvous).chain(of_relays).collect();
    let (links, link_events) = Links::new(config, flow.clone())?;
    let links = Arc::new(links);
    flow.connect(links.clone());
    links.set_courier(Some(Arc::new(ByRendezvous(signal.clone()))));
    let carrying = Arc::downgrade(&links);
    let media_map = options.udp_port.filter(|_| options.maps_ports).and_then(PortMap::of_media);
    if let Some(map) = &media_map {
        tokio::spawn(tell_mapped(map.watch().outer, Arc::downgrade(&links)));
    }
    let port_mapping = port_map.as_ref().map(PortMap::watch);
    let (joined, answer) = oneshot::channel();
    let recordings = Arc::<AtomicUsize>::default();
    let driver = Driver {
        me: id,
        clock,
        flow: flow.clone(),
        links,
        link_events,
        signal: Some(signal),
        stun: StunServers(stun),
        turn,
        correspondence: Correspondence::new(letters, random_bytes(), zero_us, options.patience),
        publishers: Vec::new(),
        ending: JoinSet::new(),
        voices: 0,
        recordings: recordings.clone(),
        requests: requested,
        events: events.clone(),
        on_event: options.on_event.clone(),
        snapshot,
        joined: Some(joined),
        answer_within: options.patience + Duration::from_micros(HOST_ANSWER_US_MAX),
        snapshot_due_us: 0,
        look_due_us: 0,
        ticked_us: clock.now_us(),
        connection: ConnectionState::default(),
        benches: Benches::new(codecs_to_measure, options.cache.as_deref()),
        left: false,
        over_at_us: None,
        farewell: Vec::new(),
        ends_at: None,
        end: End::Left,
        ended,
        rendezvous,
        port_maps: port_map.into_iter().chain(media_map).collect(),
        uplink_bps_max: options.uplink_bps_max,
    };
    let events = events.downgrade();
    let driver = tokio::spawn(driver.run(bench).instrument(span.clone()));
    let (wants_to_speak, published) = (AtomicBool::new(options.speaks), Arc::default());
    let room = Room(Arc::new(Inner {
        me: id,
        invite: (invite, key).into(),
        renewing: tokio::sync::Mutex::default(),
        keys: keys.into(),
        options,
        flow,
        requests,
        events,
        snapshot: snapshots,
        end,
        driver: Some(driver).into(),
        wants_to_speak,
        published,
        port_mapping,
        carrying,
        recordings,
        threads: Threads::new(span.clone()),
        runtime: Handle::current(),
        span,
    }));
    match answer.await.unwrap_or(Err(Error::Closed)) {
        Ok(()) => Ok(room),
        Err(error) => {
            room.close().await;
            Err(error)
        }
    }
}

/// Tells the links where a router maps their port, until either is gone.
async fn tell_mapped(mut outer: watch::Receiver<Option<Outer>>, links: Weak<Links>) {
    while outer.changed().await.is_ok() {
        let mapped = outer.borrow_and_update().and_then(Outer::mapped);
        let Some(links) = links.upgrade() else { return };
        links.set_mapped(mapped);
    }
}

/// Withdraws the consent to mix of a peer that has no codecs, or that consents only on mains power and runs on battery;
/// returns whether it consents still. Its codecs are measured once it is in the room. A slow machine keeps its consent:
/// the room's pictures may be small, and ballots rank slow candidates behind real-time capable ones.
fn prepare_to_mix(options: &mut Options) -> bool {
    if options.mix == Consent::Auto && !on_mains() {
        tracing::info!("this machine is on battery: it won't mix");
        options.mix = Consent::Never;
    }
    if options.codecs.is_none() {
        options.mix = Consent::Never;
    }
    options.mix != Consent::Never
}

/// Derives the room's key. With a password this takes a while, so it runs on a blocking thread.
async fn key_of(invite: &Invite, options: &Options) -> Result<RoomKey, Error> {
    let (invite, password) = (invite.clone(), options.password.clone());
    Ok(blocking(move || invite.key(password.as_ref().map(Password::as_str))).await??)
}

pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    let span = Span::current();
    tokio::task::spawn_blocking(move || span.in_scope(work)).await.map_err(|_| Error::Closed)
}

fn websocket(
    url: &str,
    me: &Keypair,
    host: Option<(Keypair, bool)>,
    key: &RoomKey,
    options: &Options,
) -> Result<WebsocketSignal, SignalError> {
    let shaper = options.testing.shaper.clone();
    let (root, returns) = host.unzip();
    WebsocketSignal::connect(WebsocketConfig {
        root,
        returns: returns.unwrap_or(false),
        wrap: Some(Arc::new(move |stream| Box::new(shaper.tcp(stream)))),
        patience: options.patience,
        roots_der: options.tls_roots.clone(),
        ..WebsocketConfig::new(url, key.room(), me.clone(), key.door())
    })
}
