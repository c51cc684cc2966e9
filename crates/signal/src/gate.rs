//! Admission control for TCP connections: a total limit, count limits per address and per network, and a rate limit per
//! address. An address is an IPv4 address or the /64 of an IPv6 address; a network their /16 or /48.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::limits::{Bucket, Limits};
use crate::owner::{network, owner};
use crate::rendezvous::Downloads;

/// Minimum interval between sweeps of the full address table: a sweep of 65 536 entries takes about 1 ms.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// Counts connections, and admits or rejects each new one.
#[derive(Debug)]
pub(crate) struct Gate {
    limits: Arc<Limits>,
    open: usize,
    addresses: HashMap<IpAddr, Visits>,
    /// Number of open connections of each network that has one.
    networks: HashMap<IpAddr, usize>,
    swept: Option<Instant>,
}

/// State kept per address.
#[derive(Debug)]
struct Visits {
    open: usize,
    bucket: Bucket,
    /// What it downloads; `None` before its first request for a page.
    downloads: Option<Arc<Downloads>>,
}

/// Reason that a connection is rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turned {
    /// Too many connections or addresses; HTTP status 503.
    Full,
    /// New connections arrive too fast; HTTP status 429.
    TooFast,
}

/// Admission of one connection; released when dropped.
#[derive(Debug)]
pub(crate) struct Pass {
    gate: Arc<Mutex<Gate>>,
    address: IpAddr,
}

impl Gate {
    pub(crate) fn new(limits: Arc<Limits>) -> Gate {
        Gate { limits, open: 0, addresses: HashMap::new(), networks: HashMap::new(), swept: None }
    }

    /// Admits a connection, or returns the reason for its rejection.
    pub(crate) fn pass(gate: &Arc<Mutex<Gate>>, ip: IpAddr, now: Instant) -> Result<Arc<Pass>, Turned> {
        let address = owner(ip);
        gate.lock().unwrap_or_else(PoisonError::into_inner).enter(address, now)?;
        Ok(Arc::new(Pass { gate: gate.clone(), address }))
    }

    /// Returns the number of open connections.
    pub(crate) fn open(gate: &Mutex<Gate>) -> usize {
        gate.lock().unwrap_or_else(PoisonError::into_inner).open
    }

    fn enter(&mut self, address: IpAddr, now: Instant) -> Result<(), Turned> {
        if self.open >= self.limits.connections_max {
            return Err(Turned::Full);
        }
        if !self.addresses.contains_key(&address) && self.addresses.len() >= self.limits.addresses_max {
            self.sweep(now);
            if self.addresses.len() >= self.limits.addresses_max {
                return Err(Turned::Full);
            }
        }
        let visits = self.addresses.entry(address).or_insert_with(|| Visits {
            open: 0,
            bucket: Bucket::new(self.limits.connects_per_address, now),
            downloads: None,
        });
        if !visits.bucket.try_take(1, now) {
            return Err(Turned::TooFast);
        }
        let of_network = self.networks.get(&network(address)).copied().unwrap_or(0);
        if visits.open >= self.limits.connections_per_address_max
            || of_network >= self.limits.connections_per_network_max
        {
            return Err(Turned::Full);
        }
        visits.open += 1;
        self.networks.insert(network(address), of_network + 1);
        self.open += 1;
        Ok(())
    }

    fn leave(&mut self, address: &IpAddr) {
        if let Some(visits) = self.addresses.get_mut(address) {
            visits.open = visits.open.saturating_sub(1);
            self.open = self.open.saturating_sub(1);
        }
        if let Some(open) = self.networks.get_mut(&network(*address)) {
            *open = open.saturating_sub(1);
            if *open == 0 {
                self.networks.remove(&network(*address));
            }
        }
    }

    /// Removes the addresses that have no open connection and full token buckets.
    fn sweep(&mut self, now: Instant) {
        if self.swept.is_some_and(|swept| now.saturating_duration_since(swept) < SWEEP_INTERVAL) {
            return;
        }
        self.swept = Some(now);
        self.addresses.retain(|_, visits| {
            let is_idle = visits.downloads.as_ref().is_none_or(|downloads| downloads.is_idle(now));
            visits.open > 0 || !visits.bucket.is_full(now) || !is_idle
        });
    }
}

impl Pass {
    /// Returns what the connection's address downloads.
    pub(crate) fn downloads(&self, now: Instant) -> Arc<Downloads> {
        let mut gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        let limits = gate.limits.clone();
        let new = || Arc::new(Downloads::new(&limits, now));
        match gate.addresses.get_mut(&self.address) {
            Some(visits) => visits.downloads.get_or_insert_with(new).clone(),
            None => new(),
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner).leave(&self.address);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Rate;

    fn gate(limits: Limits) -> Arc<Mutex<Gate>> {
        Arc::new(Mutex::new(Gate::new(Arc::new(limits))))
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_count_of_one_address_does_not_touch_another() {
        let gate = gate(Limits { connections_per_address_max: 2, connections_max: 5, ..Limits::default() });
        let now = Instant::now();
        let mut passes = Vec::new();
        for (address, expected) in [
            ("10.0.0.1", None),
            ("10.0.0.1", None),
            ("10.0.0.1", Some(Turned::Full)),
            ("::ffff:10.0.0.1", Some(Turned::Full)),
            ("2001:db8::1", None),
            ("2001:db8::2:1", None),
            ("2001:db8::3", Some(Turned::Full)),
            ("2001:db8:0:1::1", None),
            // all five connections are taken
            ("10.0.0.2", Some(Turned::Full)),
        ] {
            let passed = Gate::pass(&gate, ip(address), now);
            assert_eq!(passed.as_ref().err(), expected.as_ref(), "{address}");
            passes.extend(passed.ok());
        }
        passes.clear();
        assert!(Gate::pass(&gate, ip("10.0.0.2"), now).is_ok());
    }

    #[test]
    fn whoever_has_all_addresses_of_a_network_leaves_places_to_others() {
        let limits =
            Limits { connections_per_network_max: 3, connections_per_address_max: 2, ..Limits::default() };
        let gate = gate(limits);
        let now = Instant::now();
        let mut passes: Vec<_> = (0..100_u16)
            .filter_map(|subnet| Gate::pass(&gate, ip(&format!("2001:db8:7:{subnet:x}::1")), now).ok())
            .collect();
        assert_eq!(passes.len(), 3);
        assert!(Gate::pass(&gate, ip("2001:db8:8::1"), now).is_ok());
        passes.pop();
        passes.push(Gate::pass(&gate, ip("2001:db8:7:ff::1"), now).unwrap());
        assert_eq!(Gate::pass(&gate, ip("2001:db8:7:fe::1"), now).err(), Some(Turned::Full));
        passes.clear();
        assert!(gate.lock().unwrap().networks.is_empty());
    }

    #[test]
    fn who_comes_too_fast_waits() {
        let gate = gate(Limits { connects_per_address: Rate { per_s: 1, burst: 2 }, ..Limits::default() });
        let now = Instant::now();
        let at = |s: u64| Gate::pass(&gate, ip("10.0.0.1"), now + Duration::from_secs(s)).err();
        assert_eq!(
            [at(0), at(0), at(0), at(1), at(1)],
            [None, None, Some(Turned::TooFast), None, Some(Turned::TooFast)]
        );
    }

    #[test]
    fn the_table_of_addresses_is_bounded_and_forgets_who_is_gone() {
        let limits = Limits {
            addresses_max: 2,
            connects_per_address: Rate { per_s: 1, burst: 2 },
            ..Limits::default()
        };
        let gate = gate(limits);
        let now = Instant::now();
        let staying = Gate::pass(&gate, ip("10.0.0.1"), now).unwrap();
        drop(Gate::pass(&gate, ip("10.0.0.2"), now).unwrap());
        assert_eq!(Gate::pass(&gate, ip("10.0.0.3"), now).err(), Some(Turned::Full));
        let later = now + Duration::from_secs(10);
        assert!(Gate::pass(&gate, ip("10.0.0.3"), later).is_ok());
        assert_eq!(gate.lock().unwrap().addresses.len(), 2);
        drop(staying);
    }
}
