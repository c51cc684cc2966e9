//! What host, join and mixer do while they are in a room: record, take a picture, report, and leave.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use plenary::media::Picture;
use plenary::{Pictures, Recording, Room};
use tokio::sync::watch;

use crate::args::{RoomArgs, StayArgs};
use crate::demo::report::ViewerReport;
use crate::{Failure, json};

/// A picture that somebody keeps the newest of.
struct Snapshot {
    path: PathBuf,
    newest: watch::Receiver<Option<Arc<Picture>>>,
}

impl StayArgs {
    /// What is to be written can be: seen before anybody is troubled.
    pub(crate) fn check(&self, room: &RoomArgs) -> anyhow::Result<()> {
        let mut files = self.record.iter().chain(&self.snapshot).chain(&room.json);
        files.try_for_each(|file| json::can_be_made(file))
    }
}

/// Stays until the duration is over or a signal comes, then leaves politely.
pub(crate) async fn stay(room: Room, room_args: &RoomArgs, stay: &StayArgs) -> Result<(), Failure> {
    eprintln!("in the room as {:?}", room.me());
    let recording = stay.record.as_deref().map(|path| room.record(path)).transpose()?;
    let snapshot = stay.snapshot.clone().map(|path| keep_newest(&room, path)).transpose()?;
    wait(stay.duration, &room).await?;
    let viewer = ViewerReport::of(&room, &room.reception());
    room.leave().await;
    finish(recording, stay.record.as_deref(), snapshot)?;
    room.close().await;
    match &room_args.json {
        Some(to) => Ok(json::write(to, &viewer)?),
        None => Ok(()),
    }
}

fn finish(
    recording: Option<Recording>,
    file: Option<&Path>,
    snapshot: Option<Snapshot>,
) -> Result<(), Failure> {
    if let (Some(recording), Some(file)) = (recording, file) {
        recording.finish()?;
        if fs::metadata(file).is_ok_and(|file| file.is_file() && file.len() == 0) {
            fs::remove_file(file)?;
            eprintln!("nothing came: {} was not written", file.display());
        }
    }
    if let Some(snapshot) = snapshot {
        let picture = snapshot.newest.borrow().clone();
        let picture = picture.context("no picture came: no snapshot was written")?;
        write_png(&snapshot.path, &picture)?;
    }
    Ok(())
}

/// Writes a picture as PNG.
pub(crate) fn write_png(path: &Path, picture: &Picture) -> anyhow::Result<()> {
    let file = fs::File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
    plenary::media::write_png(&picture.view(), std::io::BufWriter::new(file))
        .with_context(|| format!("cannot write {}", path.display()))
}

fn keep_newest(room: &Room, path: PathBuf) -> Result<Snapshot, Failure> {
    let mut pictures: Pictures = room.pictures()?;
    let (keep, newest) = watch::channel(None);
    tokio::spawn(async move {
        while let Some(decoded) = pictures.next().await {
            if keep.send(Some(decoded.picture)).is_err() {
                break;
            }
        }
    });
    Ok(Snapshot { path, newest })
}

/// Until the time is over, the room has ended, or the user says so.
async fn wait(duration: Option<Duration>, room: &Room) -> anyhow::Result<()> {
    let mut terminated = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    let mut events = room.events();
    let over = async {
        match duration {
            Some(duration) => tokio::time::sleep(duration).await,
            None => std::future::pending().await,
        }
    };
    let ended = async { while events.next().await.is_some() {} };
    tokio::select! {
        () = over => Ok(()),
        () = ended => Ok(()),
        interrupted = tokio::signal::ctrl_c() => Ok(interrupted?),
        _ = terminated.recv() => Ok(()),
    }
}
