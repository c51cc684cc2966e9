//! Process of one peer in `plenary demo --processes`. It reads requests from its standard input and ends with it: the
//! system closes that input when the demo's process ends, also when the demo is killed.

use std::io::{BufRead as _, BufReader};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use parking_lot::Mutex;
use plenary::media::Clock;
use plenary::{Invite, OnEvent, RoomEvent, Shape};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval};
use tracing::Level;

use super::figures::Glance;
use super::peer::{Peer, Setting};
use super::process::Gauge;
use super::wire::{Answer, Ask, Brief, Request, Told};
use crate::args::DemoArgs;
use crate::commands::runtime;
use crate::logging::filter;
use crate::{Failure, json, usage};

/// Interval of readings of the resources that this process uses.
const READ_EACH: Duration = Duration::from_secs(1);

/// Runs the peer until standard input ends.
pub(crate) fn run(mut args: DemoArgs) -> Result<(), Failure> {
    tracing_subscriber::fmt()
        .with_env_filter(filter(args.room.log, Level::INFO))
        .with_ansi(false)
        .with_writer(|| crate::say::Stderr)
        .init();
    let mut lines = BufReader::new(std::io::stdin()).lines(); // a lock of stdin can't move to another thread
    let first = lines.next().transpose()?.unwrap_or_default();
    let brief: Brief = serde_json::from_str(&first)
        .map_err(|_| usage("demo-peer is a part of `plenary demo --processes`, which starts it"))?;
    (args.room.seed, args.room.password) = (brief.seed, brief.password.clone());
    let (asking, asks) = mpsc::unbounded_channel();
    // not a task: at its end the runtime would wait for the blocked read
    std::thread::Builder::new().name("asks".to_owned()).spawn(move || {
        for line in lines.map_while(Result::ok) {
            let ask = serde_json::from_str(&line)
                .inspect_err(|error| tracing::error!("a request can't be read: {error}"));
            if ask.is_ok_and(|ask| asking.send(ask).is_err()) {
                return; // the room is closed
            }
        }
    })?;
    runtime()?.block_on(perform(args, brief, asks))
}

/// Joins the room, and answers requests until they end.
async fn perform(
    args: DemoArgs,
    brief: Brief,
    mut asks: mpsc::UnboundedReceiver<Ask>,
) -> Result<(), Failure> {
    let Brief { part, invite, bench, out, records, .. } = brief;
    let setting = Setting { args, out, bench, clock: Clock::start() };
    let mut gauge = Gauge::start();
    let invite: Invite = invite.parse()?;
    let joining = setting.join(part, &invite, records, on_event());
    let joined = tokio::select! {
        joined = joining => joined,
        // the demo sends no request before the peer has joined, so its process has ended
        _ = asks.recv() => return Ok(()),
    };
    let peer = match joined {
        Ok(peer) => Arc::new(peer),
        Err(failure) => return tell(&Told::Joined(Err(failure.to_string()))),
    };
    tell(&Told::Joined(Ok(peer.room.me())))?;
    gauge.read(peer.room.links());
    let gauge = Arc::new(Mutex::new(gauge));
    let mut tasks = JoinSet::new();
    tasks.spawn(glances(peer.clone()));
    tasks.spawn(readings(peer.clone(), gauge.clone()));
    while let Some(Ask { number, what }) = asks.recv().await {
        let (peer, gauge) = (peer.clone(), gauge.clone());
        tasks.spawn(async move {
            let answer = answer(&peer, &gauge, what).await;
            told(&Told::Answer(number, answer));
        });
        while tasks.try_join_next().is_some() {}
    }
    tasks.shutdown().await;
    let peer = Arc::into_inner(peer).context("a task still uses the room")?;
    Ok(peer.close().await?)
}

async fn answer(peer: &Peer, gauge: &Mutex<Gauge>, what: Request) -> Answer {
    match what {
        Request::Figures(speakers) => {
            let mut figures = peer.figures(&speakers).await;
            figures.process = Some(gauge.lock().read(figures.links));
            Answer::Figures(Box::new(figures))
        }
        Request::Picture(for_ms, file) => {
            let until = Instant::now() + Duration::from_millis(for_ms);
            Answer::Picture(peer.picture(until, &file).await.map_err(|error| format!("{error:#}")))
        }
        Request::Record(out) => Answer::Record(peer.record(&out).map_err(|error| format!("{error:#}"))),
        Request::Reshape { delay_us, loss_ppm, rate_bps } => {
            peer.reshape(Shape { delay_us, loss_ppm, rate_bps });
            Answer::Done
        }
        Request::Leave => {
            peer.leave().await;
            Answer::Done
        }
    }
}

/// Reports the peer's place in the tree at each change.
async fn glances(peer: Arc<Peer>) {
    let mut snapshots = peer.room.watch();
    let mut last = Glance::default();
    loop {
        let glance = peer.glance();
        if glance != last {
            last = glance;
            told(&Told::Glance(glance));
        }
        if snapshots.changed().await.is_err() {
            return;
        }
    }
}

/// Reads the used resources regularly, for the maxima.
async fn readings(peer: Arc<Peer>, gauge: Arc<Mutex<Gauge>>) {
    let mut tick = interval(READ_EACH);
    loop {
        tick.tick().await;
        gauge.lock().read(peer.room.links());
    }
}

fn on_event() -> OnEvent {
    Arc::new(|event| {
        if let RoomEvent::LinkTrouble { text: why } = event {
            told(&Told::Trouble(why.clone()));
        }
    })
}

/// Writes a line to the demo. If the demo is gone, standard input ends as well.
fn told(line: &Told) {
    if let Err(failure) = tell(line) {
        tracing::error!("{failure}");
    }
}

fn tell(line: &Told) -> Result<(), Failure> {
    let mut text = serde_json::to_string(line).map_err(|error| anyhow!(error))?;
    text.push('\n');
    Ok(json::say(&text)?)
}
