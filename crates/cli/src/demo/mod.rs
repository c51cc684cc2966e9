//! `plenary demo`: a whole room on this machine, over real WebRTC on loopback.
//!
//! Every peer is a separate `Room` with its own sockets, keys and brain; they share only the process and its
//! clock. A kill event makes the peer's link shaper drop all traffic: the peer's tasks run on, and no other
//! peer is notified. With `--processes`, every peer but the host has a process of its own, and a kill is a SIGKILL.

mod actor;
mod aftermath;
mod cast;
mod child;
mod churn;
mod event;
pub(crate) mod figures;
mod floor;
mod folder;
mod happen;
mod heard;
mod peer;
pub(crate) mod peer_process;
pub(crate) mod process;
mod program;
mod recordings;
mod report;
mod timeline;
mod wire;

use std::collections::hash_map::RandomState;
use std::fs;
use std::hash::BuildHasher as _;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use plenary::media::{BuiltinCodecs, Clock, codec_bench};
use tokio::time::{Instant, sleep_until};
use tracing::Level;

use crate::args::DemoArgs;
use crate::commands::runtime;
use crate::commands::signals::Signals;
use crate::logging::filter;
use crate::units::{At, What};
use crate::{Failure, json, secrets, usage};
use cast::Cast;
use peer::Setting;

/// Time before the end at which the picture is taken.
const PICTURE_BEFORE_END: Duration = Duration::from_secs(1);
/// Time before that at which its viewer begins to decode: long enough for a keyframe.
const DECODE_BEFORE_PICTURE: Duration = Duration::from_millis(2_500);
/// Maximum number of peers that run in processes of their own. A guess: each takes some 50 MiB.
const PROCESSES_MAX: usize = 50;

pub(crate) fn run(mut args: DemoArgs) -> Result<(), Failure> {
    check(&args)?;
    args.room.seed.get_or_insert_with(any_seed);
    args.room.password = secrets::password_text(args.room.password.as_deref(), false)?;
    let out = args.room.out.clone().unwrap_or_else(|| PathBuf::from("out"));
    if let Some(file) = args.room.json_file() {
        args.room.spares_sources(file)?;
        json::can_be_made(file, Some(&out))?;
    }
    folder::prepare(&out, &args.room)?;
    let log = log_to(&out.join("log.txt"), args.room.log)?;
    runtime()?.block_on(play(args, out, log))
}

/// Returns a random seed that is short enough to be typed again.
fn any_seed() -> u64 {
    let unlike_any_other = RandomState::new().hash_one(std::process::id());
    unlike_any_other % 1_000_000_000
}

/// Checks the arguments before anything starts.
fn check(args: &DemoArgs) -> Result<(), Failure> {
    if args.churn.is_some() && args.viewers == 0 {
        return Err(usage("--churn: there is no viewer to replace"));
    }
    if args.room.network.udp_port.is_some() {
        return Err(usage(
            "--udp-port: the peers of a demo share this machine, and need a port each: --udp-ports A-B",
        ));
    }
    if args.processes {
        check_processes(args)?;
    }
    let mixers = u16::from(args.room.mixers());
    if mixers > args.candidates.max(1) {
        return Err(usage(format!("--mixers {mixers}: there are only {} candidates", args.candidates)));
    }
    for at in &args.at {
        if at.at >= args.duration {
            return Err(usage(format!(
                "--at {}: after the end of the demo",
                humantime::format_duration(at.at)
            )));
        }
        if at.what == What::PromoteViewer && args.viewers == 0 {
            return Err(usage("--at promote=viewer: there is no viewer"));
        }
        if at.what == What::KillSpeaker && args.speakers < 2 {
            return Err(usage("--at kill=speaker: the host is never killed, and is the only speaker"));
        }
    }
    args.room.check_sources(true)
}

/// Checks that each peer can have its own process.
fn check_processes(args: &DemoArgs) -> Result<(), Failure> {
    let added = args.at.iter().filter(|at| matches!(at.what, What::AddSpeaker | What::AddViewer)).count();
    let peers = usize::from(args.speakers) + usize::from(args.candidates) + usize::from(args.viewers) + added;
    if peers > PROCESSES_MAX {
        return Err(usage(format!("--processes: {peers} peers, and at most {PROCESSES_MAX} have processes")));
    }
    let moves = |at: &&At| matches!(at.what, What::PromoteViewer | What::DemoteViewer);
    match args.at.iter().find(moves) {
        Some(at) => Err(usage(format!(
            "--at {}: not with --processes, since frames are compared across peers",
            at.what.text()
        ))),
        None => Ok(()),
    }
}

/// Logs to a file. Returns the file, for the logs of other processes.
fn log_to(file: &Path, level: Option<Level>) -> anyhow::Result<fs::File> {
    // all processes append
    let opened = fs::File::options().create(true).append(true).open(file);
    let log = opened.with_context(|| format!("cannot write {}", file.display()))?;
    let of_processes = log.try_clone()?;
    tracing_subscriber::fmt()
        .with_env_filter(filter(level, Level::INFO))
        .with_ansi(false)
        .with_writer(Arc::new(log))
        .init();
    Ok(of_processes)
}

async fn play(args: DemoArgs, out: PathBuf, log: fs::File) -> Result<(), Failure> {
    let (told_to_end, _) = Signals::listen()?;
    let bench = codec_bench(&BuiltinCodecs::default(), Duration::from_millis(300))?;
    let bench = (bench.encode_us, bench.decode_us);
    let setting = Setting { args, out: out.clone(), bench, clock: Clock::start() };
    let cast = Cast::assemble(setting, log).await?;
    let pictured = perform(&cast, told_to_end).await;
    let report = cast.finish().await;
    report.write(&out)?;
    match pictured {
        Ok(true) => {}
        Ok(false) => tracing::warn!("no program.png: no viewer received a picture to decode"),
        Err(error) => cast.fail(format!("no program.png: {error:#}")),
    }
    cast.keep_recordings(&report)?;
    if let Some(to) = &cast.args().room.json {
        json::write(to, &report)?;
    }
    say_text!("{}", report.summary());
    say!("written to {}", out.display());
    Ok(cast.outcome()?)
}

/// Runs the demo and its events until the end or a signal; returns whether there was a picture.
async fn perform(cast: &Arc<Cast>, told_to_end: Signals) -> anyhow::Result<bool> {
    let end = cast.created + cast.args().duration;
    let picture_at = (end - PICTURE_BEFORE_END).max(cast.created);
    let mut happenings = cast.args().at.clone();
    happenings.sort_by_key(|at| at.at);
    let script = cast.clone();
    cast.spawn(async move {
        for at in happenings {
            sleep_until(script.created + at.at).await;
            happen::happen(&script, at.what).await;
        }
    });
    let watched = cast.clone();
    cast.spawn(async move {
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        loop {
            tick.tick().await;
            progress(&watched);
            watched.record_all_depths().await;
        }
    });
    let in_time = async {
        sleep_until((picture_at - DECODE_BEFORE_PICTURE).max(cast.created)).await;
        let pictured = cast.picture(picture_at).await;
        sleep_until(end).await;
        pictured
    };
    tokio::select! {
        pictured = in_time => pictured,
        () = told_to_end.come() => cast.picture(Instant::now() + DECODE_BEFORE_PICTURE).await,
    }
}

/// Prints one line a second; on a terminal it overwrites the last one.
fn progress(cast: &Cast) {
    cast.read_gauge();
    let line = cast.progress(Instant::now().saturating_duration_since(cast.created));
    if std::io::stderr().is_terminal() {
        say_text!("\r\x1b[K{line}");
    } else {
        say!("{line}");
    }
}
