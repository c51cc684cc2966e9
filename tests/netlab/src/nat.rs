//! Network address translation, in the four classic kinds of RFC 3489, and one to one.
//!
//! A classic kind combines two choices (RFC 4787): its mapping behaviour and its filtering behaviour.
//! External ports are drawn at random, so that no program under test comes to rely on a NAT which
//! keeps port numbers.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::ops::RangeInclusive;

use fastrand::Rng;

use crate::packet::{Flow, TCP};
use crate::scenario::{NatKind, NatSpec};
use crate::stats::DropReason;
use crate::units::Nanos;

const EXTERNAL_PORTS: RangeInclusive<u16> = 1024..=65535;
/// Few enough that a free port is soon found by chance.
const MOST_MAPPINGS: usize = 30_000;
/// RFC 5382 asks for at least 2 hours 4 minutes. TCP states are not followed.
const TCP_TIMEOUT: Nanos = 7440 * 1_000_000_000;
const ANYONE: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0);

pub(crate) struct Nat {
    spec: NatSpec,
    pub(crate) public: Ipv4Addr,
    /// Private address of the only host; one-to-one NATs only.
    only: Option<Ipv4Addr>,
    port_by_key: HashMap<MappingKey, u16>,
    mapping_by_port: HashMap<(Protocol, u16), Mapping>,
    rng: Rng,
}

type Protocol = u8;

#[derive(Clone, PartialEq, Eq, Hash)]
struct MappingKey {
    protocol: Protocol,
    inside: SocketAddrV4,
    scope: SocketAddrV4,
}

struct Mapping {
    key: MappingKey,
    timeout: Nanos,
    last_used: Nanos,
    /// Remote scopes that the inside has sent packets to, each with the last time.
    permits: HashMap<SocketAddrV4, Nanos>,
}

impl Mapping {
    fn is_live(&self, now: Nanos) -> bool {
        now.saturating_sub(self.last_used) < self.timeout
    }

    fn admits(&self, scope: SocketAddrV4, now: Nanos) -> bool {
        let last_used = self.permits.get(&scope);
        last_used.is_some_and(|last_used| now.saturating_sub(*last_used) < self.timeout)
    }
}

impl NatKind {
    /// Remote ends of the same scope see the same external port.
    fn mapping_scope(self, remote: SocketAddrV4) -> SocketAddrV4 {
        match self {
            NatKind::Symmetric => remote,
            _ => ANYONE,
        }
    }

    /// Remote ends of the same scope are let in together.
    fn filter_scope(self, remote: SocketAddrV4) -> SocketAddrV4 {
        match self {
            NatKind::FullCone | NatKind::OneToOne => ANYONE,
            NatKind::RestrictedCone => SocketAddrV4::new(*remote.ip(), 0),
            NatKind::PortRestricted | NatKind::Symmetric => remote,
        }
    }
}

impl Nat {
    /// `first`: the address of the first host behind it.
    pub(crate) fn new(spec: NatSpec, public: Ipv4Addr, first: Option<Ipv4Addr>, seed: u64) -> Self {
        let only = first.filter(|_| spec.kind == NatKind::OneToOne);
        Nat {
            spec,
            public,
            only,
            port_by_key: HashMap::new(),
            mapping_by_port: HashMap::new(),
            rng: Rng::with_seed(seed),
        }
    }

    pub(crate) fn spec(&self) -> &NatSpec {
        &self.spec
    }

    /// Translates a packet from the inside. A packet to the public address of this NAT is a hairpin.
    pub(crate) fn translate_out(&mut self, packet: &mut [u8], now: Nanos) -> Result<(), DropReason> {
        let flow = Flow::parse(packet).ok_or(DropReason::NatUnsupported)?;
        if *flow.destination.ip() == self.public && !self.spec.hairpin {
            return Err(DropReason::NatRefused);
        }
        if self.only.is_some() {
            flow.set_source(packet, SocketAddrV4::new(self.public, flow.source.port()));
            return Ok(());
        }
        let key = MappingKey {
            protocol: flow.protocol,
            inside: flow.source,
            scope: self.spec.kind.mapping_scope(flow.destination),
        };
        let port = self.external_port(key, now)?;
        let mapping = self.mapping_by_port.get_mut(&(flow.protocol, port)).expect("just found");
        mapping.last_used = now;
        mapping.permits.insert(self.spec.kind.filter_scope(flow.destination), now);
        flow.set_source(packet, SocketAddrV4::new(self.public, port));
        Ok(())
    }

    /// Translates a packet from outside and returns the inside address it is meant for.
    pub(crate) fn translate_in(&self, packet: &mut [u8], now: Nanos) -> Result<Ipv4Addr, DropReason> {
        let flow = Flow::parse(packet).ok_or(DropReason::NatUnsupported)?;
        if let Some(only) = self.only {
            flow.set_destination(packet, SocketAddrV4::new(only, flow.destination.port()));
            return Ok(only);
        }
        let scope = self.spec.kind.filter_scope(flow.source);
        let mapping = self
            .mapping_by_port
            .get(&(flow.protocol, flow.destination.port()))
            .filter(|mapping| mapping.is_live(now) && mapping.admits(scope, now))
            .ok_or(DropReason::NatRefused)?;
        flow.set_destination(packet, mapping.key.inside);
        Ok(*mapping.key.inside.ip())
    }

    /// The port of the live mapping for a key, which is made if there is none.
    fn external_port(&mut self, key: MappingKey, now: Nanos) -> Result<u16, DropReason> {
        if let Some(&port) = self.port_by_key.get(&key)
            && self.mapping_by_port[&(key.protocol, port)].is_live(now)
        {
            return Ok(port);
        }
        // New mappings are rare enough to clear away all dead ones at each.
        self.mapping_by_port.retain(|_, mapping| mapping.is_live(now));
        self.port_by_key.retain(|key, port| self.mapping_by_port.contains_key(&(key.protocol, *port)));
        if self.mapping_by_port.len() >= MOST_MAPPINGS {
            return Err(DropReason::NatRefused);
        }
        let port = loop {
            let port = self.rng.u16(EXTERNAL_PORTS);
            if !self.mapping_by_port.contains_key(&(key.protocol, port)) {
                break port;
            }
        };
        self.port_by_key.insert(key.clone(), port);
        let id = (key.protocol, port);
        let timeout = if key.protocol == TCP { TCP_TIMEOUT } else { self.spec.timeout.nanos() };
        let mapping = Mapping { key, timeout, last_used: now, permits: HashMap::new() };
        self.mapping_by_port.insert(id, mapping);
        Ok(port)
    }
}
