//! `plenary demo`: a whole room on this machine, over real WebRTC on loopback.
//!
//! Every peer is a separate `Room` with its own sockets, keys and brain; they share only the process and its
//! clock. A kill event makes the peer's link shaper drop all traffic: the peer's tasks run on, and no other
//! peer is notified.

mod cast;
mod floor;
mod folder;
mod happen;
mod heard;
mod program;
pub(crate) mod report;
mod svg;

use std::collections::hash_map::RandomState;
use std::fs;
use std::hash::BuildHasher as _;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use plenary::media::{BuiltinCodecs, Picture, codec_bench};
use tokio::time::{Instant, sleep_until};
use tracing::Level;

use crate::args::DemoArgs;
use crate::commands::{Signals, filter, runtime, stay::write_png};
use crate::units::What;
use crate::{Failure, json, not_yet, usage};
use cast::Cast;

/// Time before the end at which the picture is taken.
const PICTURE_BEFORE_END: Duration = Duration::from_secs(1);
/// Time before that at which its viewer begins to decode: long enough for a keyframe.
const DECODE_BEFORE_PICTURE: Duration = Duration::from_millis(2_500);
/// Number of viewers' recordings kept without `--record-all`.
const RECORDINGS_KEPT: usize = 3;

pub(crate) fn run(mut args: DemoArgs) -> Result<(), Failure> {
    check(&args)?;
    args.room.seed.get_or_insert_with(any_seed);
    let out = args.room.out.clone().unwrap_or_else(|| PathBuf::from("out"));
    if let Some(file) = args.room.json_file() {
        args.room.spares_sources(file)?;
        json::can_be_made(file, Some(&out))?;
    }
    folder::prepare(&out, &args.room)?;
    log_to(&out.join("log.txt"), args.room.log)?;
    runtime()?.block_on(play(args, out))
}

/// Returns a random seed that is short enough to be typed again.
fn any_seed() -> u64 {
    let unlike_any_other = RandomState::new().hash_one(std::process::id());
    unlike_any_other % 1_000_000_000
}

/// Checks the arguments before anything starts.
fn check(args: &DemoArgs) -> Result<(), Failure> {
    if let Some(flag) = args.room.not_yet() {
        return Err(not_yet(flag));
    }
    if args.churn.is_some() {
        return Err(not_yet("--churn"));
    }
    if args.processes {
        return Err(not_yet("--processes"));
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

fn log_to(file: &Path, level: Option<Level>) -> anyhow::Result<()> {
    let log = fs::File::create(file).with_context(|| format!("cannot write {}", file.display()))?;
    tracing_subscriber::fmt()
        .with_env_filter(filter(level, Level::INFO))
        .with_ansi(false)
        .with_writer(Arc::new(log))
        .init();
    Ok(())
}

async fn play(args: DemoArgs, out: PathBuf) -> Result<(), Failure> {
    let told_to_end = Signals::listen()?;
    let bench = codec_bench(&BuiltinCodecs::default(), Duration::from_millis(300))?;
    let cast = Cast::assemble(args, out.clone(), (bench.encode_us, bench.decode_us)).await?;
    let picture = perform(&cast, told_to_end).await;
    let report = cast.finish().await?;
    report.write(&out)?;
    if let Some(picture) = picture {
        write_png(&out.join("program.png"), &picture)?;
    } else {
        tracing::warn!("no program.png: no viewer received a picture to decode");
    }
    cast.keep_recordings(&report, RECORDINGS_KEPT)?;
    if let Some(to) = &cast.args().room.json {
        json::write(to, &report)?;
    }
    eprint!("{}", report.summary());
    eprintln!("written to {}", out.display());
    Ok(())
}

/// Runs the demo and its events until the end or a signal; returns the picture.
async fn perform(cast: &Arc<Cast>, mut told_to_end: Signals) -> Option<Arc<Picture>> {
    let end = cast.created + cast.args().duration;
    let picture_at = (end - PICTURE_BEFORE_END).max(cast.created);
    let mut happenings = cast.args().at.clone();
    happenings.sort_by_key(|at| at.at);
    let script = {
        let cast = cast.clone();
        tokio::spawn(async move {
            for at in happenings {
                sleep_until(cast.created + at.at).await;
                happen::happen(&cast, at.what).await;
            }
        })
    };
    let progress = {
        let cast = cast.clone();
        tokio::spawn(async move {
            let mut tick = tokio::time::interval(Duration::from_secs(1));
            loop {
                tick.tick().await;
                progress(&cast);
            }
        })
    };
    let in_time = async {
        sleep_until((picture_at - DECODE_BEFORE_PICTURE).max(cast.created)).await;
        let picture = cast.decode_until(picture_at).await;
        sleep_until(end).await;
        picture
    };
    let picture = tokio::select! {
        picture = in_time => picture,
        () = told_to_end.come() => cast.decode_until(Instant::now() + DECODE_BEFORE_PICTURE).await,
    };
    script.abort();
    progress.abort();
    picture
}

/// Prints one line a second; on a terminal it overwrites the last one.
fn progress(cast: &Cast) {
    let line = cast.progress(Instant::now().saturating_duration_since(cast.created));
    if std::io::stderr().is_terminal() {
        eprint!("\r\x1b[K{line}");
    } else {
        eprintln!("{line}");
    }
}
