//! The application's side of the event loop: requests in, events and snapshots out.

use std::sync::atomic::Ordering;
use std::time::Instant;

use plenary_body::{In, Told};
use plenary_proto::app::{Command, Event, Snapshot};

use super::{Driver, Request, events};
use crate::line_share::outflow_bytes_per_s;
use crate::publish::Publisher;
use crate::threads::{CLOSE_MAX, aside, ended_by};

/// Minimum interval of the application's snapshots.
const SNAPSHOT_US: u64 = 200_000;

impl Driver {
    pub(super) fn request(&mut self, request: Request) {
        match request {
            Request::Command(command, reply) => {
                let obeyed = self.step(|body, now_us, outs| body.obey(now_us, command, outs));
                let _ = reply.send(obeyed);
            }
            Request::Renew(key) => self.input(In::Renew(key)),
            Request::Voices(more) => {
                let before = self.voices > 0;
                self.voices = if more { self.voices + 1 } else { self.voices.saturating_sub(1) };
                if before != (self.voices > 0) {
                    self.input(In::Command(Command::Voices(!before)));
                }
            }
            Request::Records => {
                let records = self.recordings.load(Ordering::Relaxed) > 0;
                self.input(In::Command(Command::Records(records)));
            }
            Request::Publish(id, publisher) => {
                self.publishers.push((id, publisher));
                self.sources_changed();
            }
            Request::Unpublish(id, reply) => {
                let ends = self.publishers.extract_if(.., |(known, _)| *known == id).next();
                self.sources_changed();
                while self.ending.try_join_next().is_some() {}
                // an encoder may take a picture's time to end, and a source for ever
                let ended = aside("end", move || drop(ends));
                self.ending.spawn(async move {
                    ended_by("a track", ended, Instant::now() + CLOSE_MAX / 2).await;
                    let _ = reply.map(|reply| reply.send(()));
                });
            }
            Request::Traffic(reply) => {
                let links = self.links.clone();
                let traffic = self.step(|body, _, _| body.count_traffic(|link| links.stats(link)));
                let _ = reply.send(traffic);
            }
            Request::Leave(reply) => {
                self.farewell.push(reply);
                self.input(In::Command(Command::Leave));
            }
            Request::Close => self.ends_at = Some(Instant::now()),
        }
    }

    pub(super) fn sources_changed(&mut self) {
        let publishers = self.publishers.iter().map(|(_, publisher)| publisher);
        self.input(In::Sources(Publisher::sources(publishers)));
    }

    pub(super) fn emit(&mut self, event: Event) {
        if let Some(on_event) = &self.on_event {
            on_event(&event);
        }
        // an error means that the application doesn't listen
        let _ = self.events.send(event);
    }

    /// Answers a peer that waits to join, once.
    pub(super) fn answer_join(&mut self, result: Result<(), crate::Error>) {
        if let Some(joined) = self.joined.take() {
            let _ = joined.send(result);
        }
    }

    pub(super) fn renew_snapshot(&mut self) {
        let (now_us, correspondence) = (self.clock.now_us(), &mut self.correspondence);
        self.snapshot_due_us = now_us + SNAPSHOT_US;
        let connection = self.flow.read(|body| correspondence.connection(body, now_us));
        let links = &self.links;
        let way = |link| links.stats(link).filter(|_| correspondence.is_proven(link)).map(|stats| stats.way);
        let mut snapshot = self.flow.read(|body| body.snapshot(connection, way));
        snapshot.nat = links.nat();
        self.share_line(&snapshot);
        self.snapshot.send_if_modified(|known| {
            let changed = *known != snapshot;
            *known = snapshot;
            changed
        });
        if std::mem::replace(&mut self.connection, connection) != connection {
            self.emit(Event::Connection { state: connection });
        }
    }

    /// Leaves strangers at this host's rendezvous their part of the uplink, as far as it is known: from this peer's
    /// user, its parents, or the last election.
    pub(super) fn share_line(&self, snapshot: &Snapshot) {
        let Some(rendezvous) = &self.rendezvous else { return };
        let as_candidate = snapshot.scores.iter().find(|tally| tally.peer == self.me);
        let as_candidate = as_candidate.map(|tally| tally.bandwidth_bps).filter(|bps| *bps > 0);
        let known = [self.uplink_bps_max, snapshot.uplink_bps, as_candidate];
        rendezvous.set_outflow(outflow_bytes_per_s(known.into_iter().flatten().min()));
    }

    /// Tells the application what the correspondence has to tell.
    pub(super) fn told(&mut self, told: Told) {
        match told {
            Told::In => {
                self.renew_snapshot(); // a peer that is in sees the stage at once
                self.answer_join(Ok(()));
            }
            Told::NoAnswer { other_version } => {
                let seconds = self.answer_within.as_secs();
                self.answer_join(Err(match other_version {
                    None => crate::Error::NoAnswer { seconds },
                    Some(version) => crate::Error::OtherVersion(version),
                }));
            }
            Told::Rendezvous(now) => {
                let up = now.is_ok();
                let cause = now.err();
                let reason = cause.as_ref().map(|cause| cause.reason());
                self.emit(Event::Rendezvous {
                    up,
                    reason,
                    why: cause.map(|cause| format!("{cause}; trying again")),
                });
            }
            Told::Event(event) => {
                events::log(&event);
                self.emit(event);
            }
            Told::Unproven(peer) => {
                tracing::warn!(?peer, "a link was closed: its other end doesn't prove who it is");
            }
        }
    }
}
