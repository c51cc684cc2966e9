//! Report of an event of the script.

use std::collections::BTreeSet;

use plenary::PeerId;
use serde::Serialize;

use super::aftermath::{Aftermath, Resumed};
use super::figures::short;
use super::floor::Noticed;
use crate::json::round;
use crate::units::What;

/// Event of the script, with its effect.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct EventReport {
    at_ms: f64,
    what: &'static str,
    peer: Option<String>,
    viewers_affected: usize,
    /// Number of affected viewers without the program, of those present at the end.
    viewers_not_resumed: usize,
    resumed_ms: Option<Resumed>,
    /// Time until all other peers have seen the new speaker in the mixer's picture.
    seen_ms: Option<f64>,
    /// Time until all other peers have heard the new speaker; speakers hear it in their mix-minus.
    heard_ms: Option<f64>,
    #[serde(skip)]
    kind: What,
    #[serde(skip)]
    aftermath: Aftermath,
}

impl EventReport {
    /// Creates the report of an event: its kind, its time by the clock, the peer it concerns, and the
    /// affected viewers.
    pub(crate) fn new(
        kind: What,
        at_us: u64,
        peer: Option<PeerId>,
        affected: BTreeSet<usize>,
    ) -> EventReport {
        EventReport {
            at_ms: 0.0,
            what: kind.text(),
            peer: peer.as_ref().map(short),
            viewers_affected: affected.len(),
            viewers_not_resumed: 0,
            resumed_ms: None,
            seen_ms: None,
            heard_ms: None,
            kind,
            aftermath: Aftermath::new(at_us, affected),
        }
    }

    /// Sets the added peer, once it has joined.
    pub(crate) fn came(&mut self, peer: Option<PeerId>) {
        self.peer = peer.as_ref().map(short);
    }

    /// Sets the times until all other peers saw and heard the new speaker.
    pub(crate) fn noticed(&mut self, noticed: Noticed) {
        let ms = |us: u64| round(us as f64 / 1000.0);
        (self.seen_ms, self.heard_ms) = (noticed.seen_us.map(ms), noticed.heard_us.map(ms));
    }

    /// Returns the time of the event, by the demo's clock.
    pub(crate) fn at_us(&self) -> u64 {
        self.aftermath.at_us
    }

    /// Adds the wait of a viewer that is present at the end, if the event affected it.
    pub(crate) fn judge(&mut self, viewer: usize, arrivals_us: &[u64], next_at_us: Option<u64>, end_us: u64) {
        self.aftermath.judge(viewer, arrivals_us, next_at_us, end_us);
    }

    /// Completes the report once all viewers are judged; `at_ms` counts from the creation of the room.
    pub(crate) fn complete(&mut self, at_ms: f64) {
        self.at_ms = at_ms;
        self.viewers_not_resumed = self.aftermath.not_resumed();
        self.resumed_ms = Resumed::of_us(self.aftermath.waits_us().collect());
    }

    /// Returns a line on the event and its outcome.
    pub(crate) fn line(&self) -> String {
        format!("{:.1} s {}: {}", self.at_ms / 1000.0, self.what, self.outcome())
    }

    /// Returns the outcome in words.
    fn outcome(&self) -> String {
        let again = self.resumed_ms.map(|Resumed { p50, p95, max }| {
            format!("program resumed after {p50:.0} ms (p50), {p95:.0} ms (p95), {max:.0} ms (worst)")
        });
        let (lost, affected) = (self.viewers_not_resumed, self.viewers_affected);
        let never = (lost > 0).then(|| format!("not resumed at {lost} of {affected} viewers"));
        let by_all =
            |at: Option<f64>| at.map_or("not by all".to_owned(), |ms| format!("by all after {ms:.0} ms"));
        match (self.kind, &self.peer) {
            (What::PromoteViewer, Some(peer)) => {
                format!("{peer} is seen {}, heard {}", by_all(self.seen_ms), by_all(self.heard_ms))
            }
            (What::DemoteViewer, Some(peer)) => format!("{peer} watches again"),
            (What::HalveMixer, Some(_)) if affected > 0 => self.resumed_ms.map_or_else(
                || "no further pictures".to_owned(),
                |Resumed { p50, max, .. }| format!("pictures {p50:.0} ms (p50), {max:.0} ms (worst) apart"),
            ),
            (What::AddSpeaker | What::AddViewer, Some(peer)) => format!("{peer} joined"),
            (What::AddSpeaker | What::AddViewer, None) => "the peer could not join".to_owned(),
            (_, None) => "there was no such peer".to_owned(),
            _ if affected == 0 => "no viewer affected".to_owned(),
            _ if again.is_none() && never.is_none() => format!("all {affected} affected viewers are gone"),
            _ => again.into_iter().chain(never).collect::<Vec<_>>().join("; "),
        }
    }
}
