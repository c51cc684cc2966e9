//! One peer of a demo, with its room in this process.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use plenary::media::{Clock, Picture};
use plenary::testing::Testing;
use plenary::{Consent, Invite, OnEvent, Options, Password, Recording, Room, Shape, Shaper, Tenure};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep, sleep_until};

use super::figures::{Figures, Glance, MixerTenure, PictureTimes, Speech, ViewerReport, short};
use super::heard::Heard;
use super::recordings;
use crate::Failure;
use crate::args::{AutoOrNever, DemoArgs};
use crate::commands::stay::write_png;

/// Interval at which a leaving peer's sent bytes are recorded: one frame.
const WATCH: Duration = Duration::from_millis(33);
/// Least time for the rendezvous to become reachable; the library's default.
const PATIENCE_MIN: Duration = Duration::from_secs(10);
/// Further time for each peer that joins at the same time, since all of them share this machine. A guess.
const PATIENCE_PER_JOINING: Duration = Duration::from_millis(100);

/// Role of a peer in the demo.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Part {
    /// Speaker with its index; 0 is the host.
    Speaker(usize),
    Candidate(usize),
    Viewer(usize),
}

impl Part {
    pub(crate) const HOST: Part = Part::Speaker(0);

    pub(crate) fn viewer_index(self) -> Option<usize> {
        match self {
            Part::Viewer(index) => Some(index),
            _ => None,
        }
    }

    pub(crate) fn speaker_index(self) -> Option<usize> {
        match self {
            Part::Speaker(index) => Some(index),
            _ => None,
        }
    }
}

/// Settings that all peers of a demo share.
pub(crate) struct Setting {
    pub(crate) args: DemoArgs,
    pub(crate) out: PathBuf,
    pub(crate) bench: (u32, u32),
    pub(crate) clock: Clock,
}

impl Setting {
    /// Joins the room. `records` says whether a viewer records.
    pub(crate) async fn join(
        &self,
        part: Part,
        invite: &Invite,
        records: bool,
        on_event: OnEvent,
    ) -> Result<Peer, Failure> {
        let mut options = self.options(part);
        options.on_event = Some(on_event);
        let shaper = options.testing.shaper.clone();
        let room = Room::join(invite, options).await?;
        self.enter(part, room, shaper, records).await
    }

    /// Starts publishing at a speaker and, if `records`, recording at a viewer.
    pub(crate) async fn enter(
        &self,
        part: Part,
        room: Room,
        shaper: Shaper,
        records: bool,
    ) -> Result<Peer, Failure> {
        let mut heard = None;
        match part {
            Part::Speaker(index) => {
                room.publish(self.args.room.source(index)?).await?.detach();
                let file = self.out.join(format!("speaker-{index}-heard.wav"));
                let tones = self.args.room.source.is_empty().then_some(index);
                heard = Some(Heard::start(room.sound()?, file, tones)?);
            }
            Part::Viewer(_) | Part::Candidate(_) => {}
        }
        let peer = Peer {
            part,
            room,
            shaper,
            recording: Mutex::default(),
            heard,
            sent_bytes: Mutex::default(),
            until_killed: Mutex::default(),
        };
        if records {
            peer.record(&self.out)?;
        }
        Ok(peer)
    }

    /// Returns the options of a peer.
    pub(crate) fn options(&self, part: Part) -> Options {
        let Setting { args, bench, clock, .. } = self;
        let (name, speaks, views) = match part {
            Part::Speaker(index) => (format!("Speaker {index}"), true, true),
            Part::Candidate(index) => (format!("Candidate {index}"), false, false),
            Part::Viewer(index) => (format!("Viewer {index}"), false, true),
        };
        let own_name = args.room.name.clone().filter(|_| part == Part::HOST);
        let mix = match part {
            Part::Candidate(_) => Consent::Always,
            Part::Speaker(_) if args.candidates == 0 => args.room.mix.map_or(Consent::Auto, Consent::from),
            _ => args.room.mix.filter(|_| speaks).map_or(Consent::Never, Consent::from),
        };
        // the second speaker's clock is fast, the third's is slow
        let drift_ppm = match part {
            Part::Speaker(1) => args.drift,
            Part::Speaker(2) => -args.drift,
            _ => 0,
        };
        // each peer has its own seed, derived from the demo's
        let number = match part {
            Part::Speaker(index) => index as u64,
            Part::Candidate(index) => 1_000 + index as u64,
            Part::Viewer(index) => 2_000 + index as u64,
        };
        let seed = args.room.seed.map(|seed| seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ number);
        let shaper = Shaper::new(seed.unwrap_or(number));
        shaper.set(args.link.unwrap_or_default());
        Options::viewer(&own_name.unwrap_or(name))
            .speaks(speaks)
            .views(views)
            .mix(mix)
            .relays(args.room.relay == AutoOrNever::Auto)
            .carries(args.room.network.carry == AutoOrNever::Auto)
            .uplink_bps_max(args.room.max_uplink)
            .picture_max(args.room.speaker_size)
            .password(args.room.password.as_deref().map(Password::from))
            .bind(vec![IpAddr::V4(Ipv4Addr::LOCALHOST)])
            .udp_ports(args.room.network.udp_ports.clone())
            .patience(PATIENCE_MIN.max(PATIENCE_PER_JOINING * u32::from(args.joining)))
            .clock(clock.drifting(drift_ppm))
            .testing(Testing { bench: Some(*bench), shaper, seed, keep_frame_log: true, forge: None })
    }
}

/// A peer with a room in this process.
pub(crate) struct Peer {
    pub(crate) part: Part,
    pub(crate) room: Room,
    shaper: Shaper,
    recording: Mutex<Option<Recording>>,
    heard: Option<Heard>,
    /// Bytes that it had sent to its children before it left or was killed.
    sent_bytes: Mutex<Option<u64>>,
    /// Its tenures as a mixer before it was killed: a killed peer goes on without noticing.
    until_killed: Mutex<Option<Vec<Tenure>>>,
}

impl Peer {
    /// Returns its figures; `speakers` are the indexes of all speakers of the room.
    pub(crate) async fn figures(&self, speakers: &[usize]) -> Figures {
        let room = &self.room;
        let known_bytes = *self.sent_bytes.lock();
        // the room's task answers late on a busy machine, so the long logs are read afterwards
        let to_children_bytes = match known_bytes {
            Some(bytes) => bytes,
            None => room.traffic().await.map_or(0, |traffic| traffic.to_children_bytes),
        };
        let reception = room.reception();
        let tenures = self.until_killed.lock().clone().unwrap_or_else(|| room.tenures());
        Figures {
            peer: room.me(),
            viewer: ViewerReport::of(room, &reception),
            speech: Speech {
                home_mixer: room.snapshot().home_mixer.as_ref().map(short),
                sent_frames: room.pictures_sent(),
                video_streams_sent: room.testing().picture_targets_most(),
                heard_self_db: self.heard.as_ref().and_then(|heard| heard.self_db(speakers)),
            },
            received: reception.log.iter().map(PictureTimes::from).collect(),
            made: room.testing().made().iter().map(PictureTimes::from).collect(),
            tenures: tenures.iter().map(MixerTenure::from).collect(),
            program_bytes: reception.program_bytes,
            to_children_bytes,
            links: room.links(),
            process: None,
        }
    }

    pub(crate) fn glance(&self) -> Glance {
        Glance::of(&self.room)
    }

    /// Reads the figures that a kill would falsify, to be called just before it.
    pub(crate) async fn prepare_to_be_killed(&self) {
        if let Ok(traffic) = self.room.traffic().await {
            *self.sent_bytes.lock() = Some(traffic.to_children_bytes);
        }
    }

    /// Cuts the peer off from the network. Its tasks run on, and no other peer is notified.
    pub(crate) fn kill(&self) {
        self.shaper.kill();
        *self.until_killed.lock() = Some(self.room.tenures());
    }

    /// Leaves the room gracefully.
    pub(crate) async fn leave(&self) {
        let watch = async {
            loop {
                if let Ok(traffic) = self.room.traffic().await {
                    *self.sent_bytes.lock() = Some(traffic.to_children_bytes);
                }
                sleep(WATCH).await;
            }
        };
        tokio::select! {
            () = self.room.leave() => {}
            () = watch => {}
        }
    }

    /// Records from now on, if it is a viewer.
    pub(crate) fn record(&self, out: &Path) -> anyhow::Result<()> {
        if let Some(index) = self.part.viewer_index() {
            *self.recording.lock() = Some(self.room.record(recordings::file(out, index))?);
        }
        Ok(())
    }

    /// Sets the network of its links from now on.
    pub(crate) fn reshape(&self, shape: Shape) {
        self.shaper.set(shape);
    }

    /// Decodes until a time; returns the newest picture.
    async fn decode_until(&self, until: Instant) -> Option<Arc<Picture>> {
        let mut pictures = self.room.pictures().ok()?;
        let mut newest = None;
        loop {
            tokio::select! {
                biased;
                decoded = pictures.next() => match decoded {
                    Some(decoded) => newest = Some(decoded.picture),
                    None => return newest,
                },
                () = sleep_until(until) => return newest,
            }
        }
    }

    /// Decodes until a time, and writes the newest picture to a file. Returns false if there was no picture.
    pub(crate) async fn picture(&self, until: Instant, file: &Path) -> anyhow::Result<bool> {
        let Some(picture) = self.decode_until(until).await else { return Ok(false) };
        let file = file.to_owned();
        tokio::task::spawn_blocking(move || write_png(&file, &picture)).await??;
        Ok(true)
    }

    /// Ends its recording, closes its room, and waits until all files are written.
    pub(crate) async fn close(self) -> anyhow::Result<()> {
        let recording = self.recording.lock().take();
        let recorded = match recording {
            Some(recording) => tokio::task::spawn_blocking(move || recording.finish().map(|_| ())).await?,
            None => Ok(()),
        };
        self.room.close().await;
        if let Some(heard) = self.heard {
            heard.finish().await?;
        }
        Ok(recorded?)
    }
}
