//! Carries packets from host to host: NAT, uplink, the core of the internet, NAT, downlink.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, HashSet};
use std::net::Ipv4Addr;

use anyhow::{Context, Result, ensure};
use toml::Table;

use crate::command::{Command, Pattern};
use crate::line::{Line, Packet};
use crate::nat::Nat;
use crate::packet;
use crate::scenario::{Addresses, Block, Link, NatKind, Scenario, own_nat};
use crate::stats::{DropReason, HostStats, LabStats};
use crate::tun::Tun;
use crate::units::Nanos;

pub(crate) type HostId = usize;
type NatId = usize;

pub(crate) struct Router {
    hosts: Vec<Host>,
    nats: Vec<Nat>,
    nat_names: BTreeMap<String, NatId>,
    owners: HashMap<Ipv4Addr, Owner>,
    addresses: Addresses,
    seed: u64,
    /// Paths that are cut while both hosts are connected, with the lower id first.
    severed: HashSet<(HostId, HostId)>,
    agenda: BinaryHeap<Entry>,
    next_serial: u64,
    worst_lateness: Nanos,
}

struct Host {
    name: String,
    nat: Option<NatId>,
    address: Ipv4Addr,
    tun: Tun,
    link_table: Table,
    link: Link,
    up: Line,
    down: Line,
    is_cut: bool,
    stats: HostStats,
}

impl Host {
    fn blocks(&self, packet: &[u8]) -> bool {
        self.link.block == Block::Udp && packet::is_udp(packet)
    }
}

/// A host's new place.
#[derive(Clone, Debug)]
pub(crate) struct Moved {
    pub(crate) host: String,
    pub(crate) address: Ipv4Addr,
    pub(crate) prefix_length: u8,
}

enum Owner {
    Host(HostId),
    Nat(NatId),
}

/// When something is due, then a serial number: what is due together happens as it was planned.
type Entry = Reverse<(Nanos, u64, Event)>;

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    UplinkSent { from: HostId },
    InCore { from: HostId, packet: Packet },
    DownlinkSent { to: HostId },
    AtHost { to: HostId, packet: Packet },
}

impl Router {
    pub(crate) fn new(scenario: Scenario, tuns: Vec<Tun>) -> Result<Self> {
        let mut owners = HashMap::new();
        let nats: Vec<_> = scenario
            .nats
            .iter()
            .enumerate()
            .map(|(id, plan)| {
                owners.insert(plan.public, Owner::Nat(id));
                let seed = derive_seed(scenario.seed, &plan.public.to_string());
                let first = scenario.hosts.iter().find(|host| host.nat == Some(id));
                Nat::new(plan.spec.clone(), plan.public, first.map(|host| host.address), seed)
            })
            .collect();
        let mut hosts = Vec::new();
        for (id, (plan, tun)) in scenario.hosts.iter().zip(tuns).enumerate() {
            owners.insert(plan.address, Owner::Host(id));
            hosts.push(Host {
                name: plan.name.clone(),
                nat: plan.nat,
                address: plan.address,
                tun,
                link: Link::from_table(&plan.link)?,
                link_table: plan.link.clone(),
                up: Line::new(derive_seed(scenario.seed, &format!("{} up", plan.name))),
                down: Line::new(derive_seed(scenario.seed, &format!("{} down", plan.name))),
                is_cut: false,
                stats: HostStats::default(),
            });
        }
        Ok(Router {
            hosts,
            nats,
            nat_names: scenario.nat_names,
            owners,
            addresses: scenario.addresses,
            seed: scenario.seed,
            severed: HashSet::new(),
            agenda: BinaryHeap::new(),
            next_serial: 0,
            worst_lateness: 0,
        })
    }

    pub(crate) fn tuns(&self) -> impl Iterator<Item = (HostId, &Tun)> {
        self.hosts.iter().enumerate().map(|(id, host)| (id, &host.tun))
    }

    /// Reads what a host has sent, up to `limit` packets so that no host starves the others.
    pub(crate) fn read_from_host(&mut self, from: HostId, limit: usize, now: Nanos) {
        for _ in 0..limit {
            let Some(packet) = self.hosts[from].tun.read() else { return };
            self.hosts[from].stats.sent.add(packet.len());
            if let Err(reason) = self.leave_host(from, packet, now) {
                self.drop_out(from, reason);
            }
        }
    }

    pub(crate) fn next_due(&self) -> Option<Nanos> {
        self.agenda.peek().map(|Reverse((due, ..))| *due)
    }

    /// Events are dated by when they were due, so that lateness does not add up along a path.
    pub(crate) fn run_due(&mut self, now: Nanos) {
        while self.next_due().is_some_and(|due| due <= now) {
            let Reverse((due, _, event)) = self.agenda.pop().expect("just seen");
            self.worst_lateness = self.worst_lateness.max(now - due);
            match event {
                Event::UplinkSent { from } => self.uplink_sent(from, due),
                Event::InCore { from, packet } => {
                    if let Err(reason) = self.cross_core(from, packet, due) {
                        self.drop_out(from, reason);
                    }
                }
                Event::DownlinkSent { to } => self.downlink_sent(to, due),
                Event::AtHost { to, packet } => self.deliver(to, &packet),
            }
        }
    }

    fn leave_host(&mut self, from: HostId, mut packet: Packet, now: Nanos) -> Result<(), DropReason> {
        if self.hosts[from].is_cut {
            return Err(DropReason::Cut);
        }
        if let Some(nat) = self.hosts[from].nat
            && let Some(to) = self.inside_neighbour(nat, &mut packet, now)?
        {
            // Neighbours share a local network, which is no bottleneck.
            if self.is_severed(from, to) {
                return Err(DropReason::Cut);
            }
            self.deliver(to, &packet);
            return Ok(());
        }
        let host = &mut self.hosts[from];
        if host.blocks(&packet) {
            return Err(DropReason::Blocked);
        }
        if let Some(due) = host.up.enqueue(packet, now, host.link.up, &host.link)? {
            self.plan(due, Event::UplinkSent { from });
        }
        Ok(())
    }

    fn uplink_sent(&mut self, from: HostId, at: Nanos) {
        let host = &mut self.hosts[from];
        let (packet, next) = host.up.send_head(host.link.up, &host.link);
        let arrival = host.up.arrival(at, &host.link);
        if host.is_cut {
            self.drop_out(from, DropReason::Cut);
        } else {
            self.plan(arrival, Event::InCore { from, packet });
        }
        if let Some(due) = next {
            self.plan(due, Event::UplinkSent { from });
        }
    }

    fn cross_core(&mut self, from: HostId, mut packet: Packet, at: Nanos) -> Result<(), DropReason> {
        let to = self.receiver(&mut packet, at)?;
        if self.is_severed(from, to) {
            return Err(DropReason::Cut);
        }
        let host = &mut self.hosts[to];
        if host.blocks(&packet) {
            self.drop_in(to, DropReason::Blocked);
            return Ok(());
        }
        match host.down.enqueue(packet, at, host.link.down, &host.link) {
            Ok(Some(due)) => self.plan(due, Event::DownlinkSent { to }),
            Ok(None) => {}
            Err(reason) => self.drop_in(to, reason),
        }
        Ok(())
    }

    fn downlink_sent(&mut self, to: HostId, at: Nanos) {
        let host = &mut self.hosts[to];
        let (packet, next) = host.down.send_head(host.link.down, &host.link);
        let arrival = host.down.arrival(at, &host.link);
        self.plan(arrival, Event::AtHost { to, packet });
        if let Some(due) = next {
            self.plan(due, Event::DownlinkSent { to });
        }
    }

    fn deliver(&mut self, to: HostId, packet: &[u8]) {
        let host = &mut self.hosts[to];
        if host.is_cut {
            self.drop_in(to, DropReason::Cut);
        } else if host.tun.write(packet).is_err() {
            self.drop_in(to, DropReason::HostRefused);
        } else {
            host.stats.received.add(packet.len());
        }
    }

    /// Returns the receiver of a packet from a host behind `nat` if both hosts share that NAT: the packet is addressed
    /// to a private address, or passes the NAT as a hairpin. Other packets are translated to leave the NAT.
    fn inside_neighbour(
        &mut self,
        nat: NatId,
        packet: &mut Packet,
        now: Nanos,
    ) -> Result<Option<HostId>, DropReason> {
        let destination = packet::destination(packet).ok_or(DropReason::NoRoute)?;
        if let Some(neighbour) = self.host_behind(nat, destination) {
            return Ok(Some(neighbour));
        }
        let public = self.nats[nat].public;
        self.nats[nat].translate_out(packet, now)?;
        if destination != public {
            return Ok(None);
        }
        let inside = self.nats[nat].translate_in(packet, now)?;
        Ok(self.host_behind(nat, inside))
    }

    /// The host that a packet in the core is for, after its NAT has let the packet in.
    fn receiver(&self, packet: &mut Packet, at: Nanos) -> Result<HostId, DropReason> {
        let destination = packet::destination(packet).ok_or(DropReason::NoRoute)?;
        match self.owners.get(&destination) {
            Some(&Owner::Host(host)) if self.hosts[host].nat.is_none() => Ok(host),
            Some(&Owner::Nat(nat)) => {
                let inside = self.nats[nat].translate_in(packet, at)?;
                self.host_behind(nat, inside).ok_or(DropReason::NoRoute)
            }
            _ => Err(DropReason::NoRoute),
        }
    }

    fn host_behind(&self, nat: NatId, address: Ipv4Addr) -> Option<HostId> {
        match self.owners.get(&address) {
            Some(&Owner::Host(host)) if self.hosts[host].nat == Some(nat) => Some(host),
            _ => None,
        }
    }

    fn is_severed(&self, a: HostId, b: HostId) -> bool {
        !self.severed.is_empty() && self.severed.contains(&(a.min(b), a.max(b)))
    }

    fn plan(&mut self, due: Nanos, event: Event) {
        self.agenda.push(Reverse((due, self.next_serial, event)));
        self.next_serial += 1;
    }

    fn drop_out(&mut self, from: HostId, reason: DropReason) {
        *self.hosts[from].stats.dropped_out.entry(reason).or_default() += 1;
    }

    fn drop_in(&mut self, to: HostId, reason: DropReason) {
        *self.hosts[to].stats.dropped_in.entry(reason).or_default() += 1;
    }

    /// Carries out what a command changes in the network.
    pub(crate) fn apply(&mut self, command: &Command) -> Result<()> {
        match command {
            Command::Set { hosts, change } => self.set(hosts, change),
            Command::Cut { hosts, peers } => self.cut(hosts, peers.as_ref(), true),
            Command::Heal { hosts, peers } => self.cut(hosts, peers.as_ref(), false),
            Command::Kill { hosts } => self.cut(hosts, None, true),
            Command::Stall { .. } | Command::Move { .. } | Command::Where { .. } | Command::Stats => Ok(()),
        }
    }

    /// Takes hosts to other networks, as [`Command::Move`] says. Packets to their old addresses are lost from now on;
    /// the hosts are still to be given the new ones.
    pub(crate) fn move_hosts(&mut self, hosts: &Pattern, nat: Option<&str>) -> Result<Vec<Moved>> {
        let ids = self.select(hosts)?;
        ids.into_iter().map(|id| self.move_host(id, nat)).collect()
    }

    fn move_host(&mut self, id: HostId, nat: Option<&str>) -> Result<Moved> {
        let before = self.hosts[id].nat.map(|nat| self.nats[nat].spec().clone());
        let (nat, own) = match (nat, before) {
            (Some("none"), _) | (None, None) => (None, None),
            (None, Some(spec)) => (Some(self.nats.len()), Some(spec)),
            (Some(name), _) => match self.nat_names.get(name) {
                Some(&nat) => (Some(nat), None),
                None => (Some(self.nats.len()), Some(own_nat(name)?)),
            },
        };
        if let Some(shared) = nat.filter(|_| own.is_none()) {
            let is_one_to_one = self.nats[shared].spec().kind == NatKind::OneToOne;
            ensure!(!is_one_to_one, "a one-to-one NAT has a single host");
        }
        let (address, prefix_length) = self.addresses.host(nat)?;
        if let Some(spec) = own {
            let public = self.addresses.public();
            let seed = derive_seed(self.seed, &public.to_string());
            self.owners.insert(public, Owner::Nat(self.nats.len()));
            self.nats.push(Nat::new(spec, public, Some(address), seed));
        }
        let host = &mut self.hosts[id];
        self.owners.remove(&host.address);
        (host.nat, host.address) = (nat, address);
        self.owners.insert(address, Owner::Host(id));
        Ok(Moved { host: host.name.clone(), address, prefix_length })
    }

    /// Returns the addresses of the matching hosts, own and public; an error if no host matches.
    pub(crate) fn places(&self, pattern: &Pattern) -> Result<Vec<(String, Ipv4Addr, Ipv4Addr)>> {
        let place = |id: HostId| {
            let host = &self.hosts[id];
            let public = host.nat.map_or(host.address, |nat| self.nats[nat].public);
            (host.name.clone(), host.address, public)
        };
        Ok(self.select(pattern)?.into_iter().map(place).collect())
    }

    /// Returns the names of the matching hosts; an error if no host matches.
    pub(crate) fn names(&self, pattern: &Pattern) -> Result<Vec<String>> {
        Ok(self.select(pattern)?.into_iter().map(|id| self.hosts[id].name.clone()).collect())
    }

    /// Changes all the hosts or, if one of the new settings is wrong, none.
    fn set(&mut self, hosts: &Pattern, change: &Table) -> Result<()> {
        let mut links = Vec::new();
        for id in self.select(hosts)? {
            let mut table = self.hosts[id].link_table.clone();
            table.extend(change.clone());
            links.push((id, Link::from_table(&table).context("bad setting")?, table));
        }
        for (id, link, table) in links {
            self.hosts[id].link = link;
            self.hosts[id].link_table = table;
        }
        Ok(())
    }

    fn cut(&mut self, hosts: &Pattern, peers: Option<&Pattern>, is_cut: bool) -> Result<()> {
        let hosts = self.select(hosts)?;
        let Some(peers) = peers else {
            for id in hosts {
                self.hosts[id].is_cut = is_cut;
            }
            return Ok(());
        };
        let peers = self.select(peers)?;
        for &a in &hosts {
            for &b in peers.iter().filter(|&&b| b != a) {
                let pair = (a.min(b), a.max(b));
                if is_cut {
                    self.severed.insert(pair)
                } else {
                    self.severed.remove(&pair)
                };
            }
        }
        Ok(())
    }

    fn select(&self, pattern: &Pattern) -> Result<Vec<HostId>> {
        let ids: Vec<_> = (0..self.hosts.len()).filter(|&id| pattern.matches(&self.hosts[id].name)).collect();
        ensure!(!ids.is_empty(), "no host matches {pattern:?}");
        Ok(ids)
    }

    pub(crate) fn take_stats(&mut self, now: Nanos) -> LabStats {
        let with_state = |host: &Host| HostStats {
            queued_up_bytes: host.up.queued_bytes(),
            queued_down_bytes: host.down.queued_bytes(),
            overrun: host.tun.overrun(),
            cut: host.is_cut,
            ..host.stats.clone()
        };
        LabStats {
            elapsed_ms: now / 1_000_000,
            worst_lateness_us: std::mem::take(&mut self.worst_lateness) / 1000,
            hosts: self.hosts.iter().map(|host| (host.name.clone(), with_state(host))).collect(),
        }
    }
}

/// Gives each line its own seed, which does not change when other hosts come and go (FNV-1a).
fn derive_seed(seed: u64, name: &str) -> u64 {
    name.bytes().fold(seed ^ 0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
