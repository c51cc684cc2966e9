//! `/healthz` and `/metrics` of a host or mixer, for monitoring.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::http::{StatusCode, header};
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use plenary::{ConnectionState, FIGURES_TYPE, Figures, Mode, MoreFigures, Room, Shedding};
use tokio::net::TcpListener;
use tokio::task::AbortHandle;
use tokio::time::timeout;

use crate::demo::process::Gauge;
use crate::tell::mode_word;

/// Maximum connections to a mixer's figures at a time; a further one ends the oldest. A guess: several monitors, each
/// with a request a minute.
const CONNECTIONS_MAX: usize = 16;
/// Time for a request and its answer.
const REQUEST_MAX: Duration = Duration::from_secs(10);
/// Pause of accepting after a failure, mostly a lack of file descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// Figures of the process, and of its room once it has joined one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watched(Arc<OnceLock<Room>>);

impl Watched {
    /// Sets the room.
    pub(crate) fn knows(&self, room: &Room) {
        let _ = self.0.set(room.clone()); // there is one
    }

    /// Returns the figures for the rendezvous that serves them.
    pub(crate) fn figures(&self) -> MoreFigures {
        let watched = self.clone();
        MoreFigures::new(move |figures| watched.clone().add_to(figures))
    }

    async fn add_to(self, mut figures: Figures) -> Figures {
        of_process(&mut figures, self.0.get().map_or(0, Room::links));
        if let Some(room) = self.0.get() {
            of_room(&mut figures, room).await;
        }
        figures
    }

    /// Serves the figures at an address, as long as the task runs: those of the room or, of a rendezvous, `more`.
    ///
    /// # Errors
    /// The address can't be listened on.
    pub(crate) async fn serve_at(
        &self,
        address: SocketAddr,
        more: Option<MoreFigures>,
    ) -> anyhow::Result<impl Future<Output = ()> + use<>> {
        let listener = TcpListener::bind(address);
        let listener = listener.await.with_context(|| format!("--metrics: cannot listen on {address}"))?;
        let (shown, is_rendezvous) = (self.clone(), more.is_some());
        let more = more.unwrap_or_else(MoreFigures::none);
        let metrics = async move || {
            let text = more.add_to(shown.add_to(Figures::default()).await).await.into_text();
            ([(header::CONTENT_TYPE, FIGURES_TYPE)], text)
        };
        let watched = self.clone();
        let health = async move || match watched.0.get().map(|room| room.snapshot().connection) {
            None if is_rendezvous => (StatusCode::OK, "ok\n"),
            Some(ConnectionState::Connected) => (StatusCode::OK, "ok\n"),
            _ => (StatusCode::SERVICE_UNAVAILABLE, "not in a room\n"),
        };
        let routes = Router::new().route("/healthz", get(health)).route("/metrics", get(metrics));
        Ok(accept(listener, routes))
    }
}

/// Answers one request of each connection.
async fn accept(listener: TcpListener, routes: Router) {
    let mut serving: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        let accepted: io::Result<_> = listener.accept().await;
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        serving.retain(|task| !task.is_finished());
        // whoever connects without asking is in nobody's way
        if serving.len() >= CONNECTIONS_MAX
            && let Some(oldest) = serving.pop_front()
        {
            oldest.abort();
        }
        let service = TowerToHyperService::new(routes.clone());
        let task = tokio::spawn(async move {
            let serving = http1::Builder::new()
                .timer(TokioTimer::new())
                .keep_alive(false)
                .serve_connection(TokioIo::new(stream), service);
            // an error ends this connection alone
            let _ = timeout(REQUEST_MAX, serving).await;
        });
        serving.push_back(task.abort_handle());
    }
}

fn of_process(figures: &mut Figures, links: usize) {
    let process = Gauge::since_start().read(links);
    figures.counter("process_cpu_seconds_total", "Processor time of this process", process.cpu_s);
    let rss = process.rss_mib.map(|mib| mib * f64::from(1 << 20));
    let descriptors = process.descriptors.map(|count| count as f64);
    for (name, help, value) in [
        ("process_resident_memory_bytes", "Memory of this process", rss),
        ("process_open_fds", "Open file descriptors", descriptors),
    ] {
        if let Some(value) = value {
            figures.gauge(name, help, value);
        }
    }
}

async fn of_room(figures: &mut Figures, room: &Room) {
    let snapshot = room.snapshot();
    let yes = |holds: bool| f64::from(u8::from(holds));
    let mut gauge = |name: &str, help: &str, value: f64| figures.gauge(name, help, value);
    gauge(
        "plenary_connected",
        "Whether this peer is connected with its room",
        yes(snapshot.connection == ConnectionState::Connected),
    );
    gauge("plenary_is_host", "Whether this peer is the host", yes(snapshot.host == Some(room.me())));
    gauge("plenary_stage_peers", "Peers on stage", snapshot.stage.len() as f64);
    let away = snapshot.stage.iter().filter(|member| member.away).count();
    gauge("plenary_stage_away", "Peers on stage that the host has lost contact with", away as f64);
    if let Some(viewers) = snapshot.viewers {
        gauge("plenary_viewers", "Viewers, as the mixers count them; at the host", f64::from(viewers));
    }
    gauge("plenary_mixers", "Mixers in force", snapshot.mixers.len() as f64);
    gauge("plenary_standbys", "Warm standbys", snapshot.standbys.len() as f64);
    gauge("plenary_mixing", "Whether this peer makes the program", yes(snapshot.mixing));
    gauge("plenary_children", "Peers that this peer feeds", snapshot.children.len() as f64);
    gauge("plenary_links", "Links that are up", room.links() as f64);
    let carried = room.carried();
    gauge("plenary_tunnels", "Links between others that this peer carries", carried.tunnels as f64);
    gauge("plenary_election_term", "Term of the last election", f64::from(snapshot.rank.term));
    gauge(
        "plenary_timers_late_ms",
        "Lateness of timers: above 100 the machine is short",
        f64::from(snapshot.late_ms),
    );
    gauge(
        "plenary_sheds_load",
        "Whether work is left out for lack of CPU",
        yes(snapshot.shedding != Shedding::Nothing),
    );
    for mode in [Mode::Mesh, Mode::PassThrough, Mode::Mixer] {
        let name = format!("plenary_mode_{}", mode_word(mode).replace('-', "_"));
        gauge(&name, "Whether the stage is in this mode", yes(snapshot.mode == mode));
    }
    let tenures = room.tenures();
    let sum = |of: fn(&plenary::Tenure) -> u64| tenures.iter().map(of).sum::<u64>();
    let mixed = [
        (
            "plenary_pictures_decoded_total",
            "Speakers' pictures decoded to mix",
            sum(|tenure| tenure.decoded_frames),
        ),
        ("plenary_pictures_mixed_total", "Pictures of the program made", sum(|tenure| tenure.frames)),
        ("plenary_mixer_cpu_us_total", "Processor time of mixing, microseconds", sum(|tenure| tenure.cpu_us)),
    ];
    for (name, help, value) in mixed {
        figures.counter(name, help, value);
    }
    let reception = room.reception();
    figures.counter(
        "plenary_pictures_received_total",
        "Pictures of the program received",
        reception.frames_received,
    );
    figures.counter(
        "plenary_pictures_sent_total",
        "Pictures of this peer's own stream",
        room.pictures_sent(),
    );
    figures.counter("plenary_carried_bytes_total", "Datagrams carried between others", carried.bytes);
    figures.counter(
        "plenary_carried_dropped_bytes_total",
        "Datagrams not carried, beyond a rate",
        carried.dropped_bytes,
    );
    if let Ok(traffic) = room.traffic().await {
        figures.counter("plenary_sent_bytes_total", "UDP payload sent", traffic.bytes);
        figures.counter("plenary_received_bytes_total", "UDP payload received", traffic.received_bytes);
    }
}
