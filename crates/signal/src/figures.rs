//! Figures of a running server for monitoring, in the text format that Prometheus reads (exposition format 0.0.4), and
//! those of a rendezvous.
//!
//! No figure names a room, a peer or an address, since any visitor may read the text.

use std::fmt::{Display, Write as _};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use plenary_proto::rendezvous::Refusal;

/// Media type of the text.
pub const FIGURES_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Text of several figures.
#[derive(Debug, Default)]
pub struct Figures(String);

impl Figures {
    /// Adds a value that rises and falls. `name` is made of lower-case letters and `_`, with its unit at the end;
    /// `help` is one line.
    pub fn gauge(&mut self, name: &str, help: &str, value: f64) {
        self.head(name, help, "gauge");
        let _ = writeln!(self.0, "{name} {value}");
    }

    /// Adds a count since the start; its name ends in `_total`.
    pub fn counter(&mut self, name: &str, help: &str, value: impl Display) {
        self.head(name, help, "counter");
        let _ = writeln!(self.0, "{name} {value}");
    }

    /// Adds counts since the start, one for each value of a label: a word, without quotes.
    pub fn counters<'a>(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        values: impl IntoIterator<Item = (&'a str, u64)>,
    ) {
        self.head(name, help, "counter");
        for (word, value) in values {
            let _ = writeln!(self.0, "{name}{{{label}=\"{word}\"}} {value}");
        }
    }

    fn head(&mut self, name: &str, help: &str, kind: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// Returns the text.
    pub fn into_text(self) -> String {
        self.0
    }
}

/// Counts of a rendezvous since its start.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// Connections that were turned away: the limits on number; on rate.
    pub(crate) turned_full: AtomicU64,
    pub(crate) turned_fast: AtomicU64,
    pub(crate) connections: AtomicU64,
    pub(crate) envelopes: AtomicU64,
    pub(crate) envelope_bytes: AtomicU64,
    /// Bytes of batches that were handed to their recipients; that were dropped.
    pub(crate) tunneled_bytes: AtomicU64,
    pub(crate) tunnel_dropped_bytes: AtomicU64,
    refusals: [AtomicU64; REFUSED_AS.len()],
}

/// Reasons by which refusals are counted, in the order of their numbers from 1; the last stands for all others.
const REFUSED_AS: [&str; 13] = [
    "version",
    "bad_proof",
    "unknown_room",
    "room_full",
    "too_many_rooms",
    "replaced",
    "late",
    "malformed",
    "too_long",
    "slow",
    "closing",
    "other_origin",
    "other",
];

impl Counts {
    pub(crate) fn refused(&self, refusal: Refusal) {
        let number = usize::from(u8::from(refusal));
        let at = number.checked_sub(1).filter(|at| *at < REFUSED_AS.len()).unwrap_or(REFUSED_AS.len() - 1);
        self.refusals[at].fetch_add(1, Relaxed);
    }

    /// Adds the counts to the figures.
    pub(crate) fn write(&self, figures: &mut Figures) {
        let of = |count: &AtomicU64| count.load(Relaxed);
        figures.counter(
            "plenary_rendezvous_connections_total",
            "TCP connections that were let in",
            of(&self.connections),
        );
        figures.counters(
            "plenary_rendezvous_turned_away_total",
            "TCP connections beyond the limits",
            "why",
            [("full", of(&self.turned_full)), ("too_fast", of(&self.turned_fast))],
        );
        figures.counter(
            "plenary_rendezvous_envelopes_total",
            "Envelopes that peers sent",
            of(&self.envelopes),
        );
        figures.counter(
            "plenary_rendezvous_envelope_bytes_total",
            "Bytes of these envelopes",
            of(&self.envelope_bytes),
        );
        figures.counter(
            "plenary_rendezvous_tunneled_bytes_total",
            "Bytes of datagrams that were carried between peers without a path",
            of(&self.tunneled_bytes),
        );
        figures.counter(
            "plenary_rendezvous_tunnel_dropped_bytes_total",
            "Bytes of such datagrams that were dropped: beyond a limit, or for an absent peer",
            of(&self.tunnel_dropped_bytes),
        );
        let refused = REFUSED_AS.iter().zip(&self.refusals).map(|(word, count)| (*word, of(count)));
        figures.counters(
            "plenary_rendezvous_refusals_total",
            "Peers that were refused, at entry or later",
            "why",
            refused,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_is_counted_by_its_reason_and_unknown_ones_together() {
        let counts = Counts::default();
        for number in 1..=255 {
            counts.refused(Refusal::from(number));
        }
        counts.refused(Refusal::OtherOrigin);
        let mut figures = Figures::default();
        counts.write(&mut figures);
        let text = figures.into_text();
        assert!(text.contains("plenary_rendezvous_refusals_total{why=\"version\"} 1\n"), "{text}");
        assert!(text.contains("plenary_rendezvous_refusals_total{why=\"other_origin\"} 2\n"), "{text}");
        assert!(text.contains("plenary_rendezvous_refusals_total{why=\"other\"} 243\n"), "{text}");
        assert_eq!(text.matches("# TYPE plenary_rendezvous_refusals_total counter\n").count(), 1, "{text}");
    }
}
