//! `plenary demo`: a whole room on this machine, over real WebRTC on loopback.
//!
//! Every peer is a `Room` of its own with its own sockets, keys and brain; nothing is shared but the process and
//! its clock. What a flag kills is killed by its link shaper: its tasks run on and nobody is told.

mod cast;
mod happen;
mod heard;
pub(crate) mod report;
mod svg;

use std::fs;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use plenary::media::{BuiltinCodecs, Picture, codec_bench};
use tokio::time::{Instant, sleep_until};

use crate::args::DemoArgs;
use crate::commands::{filter, runtime, stay::write_png};
use crate::units::What;
use crate::{Failure, json, not_yet, usage};
use cast::Cast;

/// The picture is taken this long before the end.
const PICTURE_BEFORE_END: Duration = Duration::from_secs(1);
/// Its viewer begins to decode this long before that: a key frame comes within it.
const DECODE_BEFORE_PICTURE: Duration = Duration::from_millis(2_500);
/// Without `--record-all`, recordings of so many viewers are kept.
const RECORDINGS_KEPT: usize = 3;

pub(crate) fn run(args: DemoArgs) -> Result<(), Failure> {
    check(&args)?;
    args.room.json.iter().try_for_each(|file| json::can_be_made(file))?;
    let out = args.room.out.clone().unwrap_or_else(|| PathBuf::from("out"));
    fs::create_dir_all(&out).with_context(|| format!("cannot make {}", out.display()))?;
    log_to(&out.join("log.txt"), args.room.log)?;
    runtime()?.block_on(play(args, out))
}

/// What can be seen to be wrong before anything begins.
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
    let mixers = u16::from(args.room.mixers);
    if mixers > args.candidates.max(1) {
        return Err(usage(format!("--mixers {mixers}: there are only {} candidates", args.candidates)));
    }
    if mixers > 1 {
        return Err(not_yet(&format!("--mixers {mixers}")));
    }
    for at in &args.at {
        if at.at >= args.duration {
            return Err(usage(format!("--at {}: after the end", humantime::format_duration(at.at))));
        }
        if at.what == What::KillSpeaker && args.speakers < 2 {
            return Err(usage("--at kill=speaker: the host is never killed, and there is no other"));
        }
    }
    args.room.check_sources(true)
}

fn log_to(file: &Path, level: tracing::Level) -> anyhow::Result<()> {
    let log = fs::File::create(file).with_context(|| format!("cannot write {}", file.display()))?;
    let level = level.max(tracing::Level::INFO);
    tracing_subscriber::fmt()
        .with_env_filter(filter(level))
        .with_ansi(false)
        .with_writer(Arc::new(log))
        .init();
    Ok(())
}

async fn play(args: DemoArgs, out: PathBuf) -> Result<(), Failure> {
    let bench = codec_bench(&BuiltinCodecs::default(), Duration::from_millis(300))?;
    let cast = Cast::assemble(args, out.clone(), (bench.encode_us, bench.decode_us)).await?;
    let picture = perform(&cast).await;
    let report = cast.finish().await?;
    report.write(&out, cast.args())?;
    if let Some(picture) = picture {
        write_png(&out.join("program.png"), &picture)?;
    }
    cast.keep_recordings(&report, RECORDINGS_KEPT)?;
    if let Some(to) = &cast.args().room.json {
        json::write(to, &report)?;
    }
    eprint!("{}", report.summary());
    eprintln!("written to {}", out.display());
    Ok(())
}

/// Lets time pass and things happen; gives the picture.
async fn perform(cast: &Arc<Cast>) -> Option<Arc<Picture>> {
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
    sleep_until((picture_at - DECODE_BEFORE_PICTURE).max(cast.created)).await;
    let picture = cast.decode_until(picture_at).await;
    sleep_until(end).await;
    script.abort();
    progress.abort();
    picture
}

/// One line a second; on a terminal always the same one.
fn progress(cast: &Cast) {
    let line = cast.progress(Instant::now().saturating_duration_since(cast.created));
    if std::io::stderr().is_terminal() {
        eprint!("\r\x1b[K{line}");
    } else {
        eprintln!("{line}");
    }
}
