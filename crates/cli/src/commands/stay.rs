//! What host, join and mixer do while they are in a room: record, save a picture, report, and leave.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use plenary::media::Picture;
use plenary::{End, Identity, Invite, Options, Pictures, Reason, Recording, Room, SignedName};
use serde::Serialize;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::service;
use super::signals::Signals;
use crate::args::{RoomArgs, StayArgs};
use crate::demo::figures::ViewerReport;
use crate::tell::Teller;
use crate::{Failure, json, recording, say, secrets};

/// Picture file to be written at the end, and the newest picture so far.
struct Snapshot {
    path: PathBuf,
    newest: watch::Receiver<Option<Arc<Picture>>>,
}

impl StayArgs {
    /// Checks that all output files can be written and are not sources, before the peer joins a room.
    pub(crate) fn check(&self, room: &RoomArgs) -> Result<(), Failure> {
        let files = self.record.iter().chain(&self.snapshot).chain(room.json_file());
        for file in files {
            room.spares_sources(file)?;
            json::can_be_made(file, None)?;
        }
        for file in self.snapshot.iter().chain(room.json_file()) {
            json::can_be_written(file)?;
        }
        Ok(self.check_recording()?)
    }
}

impl StayArgs {
    /// Sets the identity, and the password that the invite needs, which are read only when everything else is right.
    pub(crate) fn prove(
        &self,
        options: &mut Options,
        room: &RoomArgs,
        invite: &Invite,
    ) -> Result<(), Failure> {
        self.identify(options, room)?;
        options.password = secrets::password(room.password.as_deref(), invite.flags().password)?;
        Ok(())
    }

    /// Sets the lasting identity of the key file, and its signed name as the default of `--name`.
    pub(crate) fn identify(&self, options: &mut Options, room: &RoomArgs) -> Result<(), Failure> {
        let Some(file) = &self.identity else { return Ok(()) };
        let identity = Identity::load_or_create(file)?;
        if let Some(signed) = SignedName::load(&identity, file)?.filter(|_| room.name.is_none()) {
            options.name = signed.name().to_owned();
        }
        options.identity = Some(identity);
        Ok(())
    }
}

/// The report of `--json`.
#[derive(Serialize)]
struct Report {
    #[serde(flatten)]
    viewer: ViewerReport,
    /// Code of the reason why the peer is no longer in the room.
    end: Reason,
}

/// The report of `--json` of a peer that didn't come in.
#[derive(Serialize)]
struct Refused {
    end: Reason,
}

/// Writes the report of a peer that was refused, or found no host, in place of that of a stay.
pub(crate) fn report_refusal<T>(
    room_args: &RoomArgs,
    joined: Result<T, impl Into<Failure>>,
) -> Result<T, Failure> {
    let joined = joined.map_err(Into::into);
    if let (Err(failure), Some(to)) = (&joined, &room_args.json)
        && let Some(end) = failure.reason()
    {
        json::write(to, &Refused { end })?;
    }
    joined
}

/// Stays until the duration is over or a signal arrives, then leaves gracefully.
pub(crate) async fn stay(
    room: Room,
    room_args: &RoomArgs,
    stay: &StayArgs,
    teller: &Teller,
    told_to_end: &Signals,
) -> Result<(), Failure> {
    teller.knows(&room);
    say!("in the room as {:?}", room.me());
    let recording = stay.parts().map(|parts| room.record_parts(parts)).transpose()?;
    let snapshot = stay.snapshot.clone().map(|path| keep_newest(&room, path)).transpose()?;
    let mut beside = JoinSet::new(); // its tasks end when it is dropped
    if let Some(recording) = &recording {
        beside.spawn(recording::tell(recording));
    }
    let watched = room.clone();
    service::watch(&mut beside, move || service::answers(watched.clone()));
    service::ready();
    wait(stay.duration, &room, told_to_end).await;
    service::stopping();
    let viewer = ViewerReport::of(&room, &room.reception());
    teller.leaves();
    room.leave().await;
    // a failure of one output doesn't prevent the others
    let recorded = finish(recording, stay.record.as_deref());
    let taken = snapshot.map_or(Ok(()), Snapshot::write);
    room.close().await;
    let end = room.closed().await;
    let report = Report { viewer, end: end.reason() };
    let reported = room_args.json.as_ref().map_or(Ok(()), |to| json::write(to, &report));
    recorded.and(taken).and(reported)?;
    match end {
        End::Removed | End::Replaced => Err(anyhow::Error::from(end.reason()).into()),
        End::Ended => {
            say::event(&end.reason().to_string(), Some(end.reason()));
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Returns the failure of a call, unless it failed because the room is over: [`stay`] says why.
pub(crate) async fn unless_over(room: &Room, called: Result<(), Failure>) -> Result<(), Failure> {
    if called.as_ref().is_err_and(Failure::is_of_a_closed_room) {
        room.closed().await;
        return Ok(());
    }
    called
}

fn finish(recording: Option<Recording>, file: Option<&Path>) -> anyhow::Result<()> {
    if let (Some(recording), Some(file)) = (recording, file)
        && !recording.finish()?
    {
        say!("nothing was received: {} was not written", file.display());
    }
    Ok(())
}

impl Snapshot {
    fn write(self) -> anyhow::Result<()> {
        let picture = self.newest.borrow().clone();
        let picture = picture.context("no picture was received: no snapshot was written")?;
        write_png(&self.path, &picture)
    }
}

/// Writes a picture as a PNG file.
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

/// Waits until the duration is over, the room has ended, or a signal arrives.
async fn wait(duration: Option<Duration>, room: &Room, told_to_end: &Signals) {
    let mut events = room.events();
    let over = async {
        match duration {
            Some(duration) => tokio::time::sleep(duration).await,
            None => std::future::pending().await,
        }
    };
    let ended = async { while events.next().await.is_some() {} };
    tokio::select! {
        () = over => {}
        () = ended => {}
        () = told_to_end.come() => {}
    }
}
