//! The tunnels of all links of one peer: those that it carries for others, and those of its own links.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Instant;

use plenary_proto::bucket::{Bucket, Rate};
use plenary_proto::packet::LinkId;
use plenary_proto::{PeerId, Time, TunnelCommand};

use super::frame::{self, Towards};
use super::{By, Courier};
use crate::shared::Shared;
use crate::sync::lock;

/// What a carrier takes from one end of a tunnel, bytes: 4 Mbit/s, more than a program or a speaker's pictures and
/// sound have, and what arrives together with a keyframe of them. A guess.
const TUNNEL_RATE: Rate = Rate { per_s: 500_000, burst: 128 << 10 };
/// Share of the uplink's cap that carrying takes, one in this many. A guess: the peer's own media have the other half.
const UPLINK_SHARE: u64 = 2;

/// What this peer has carried for others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CarriedFigures {
    /// Number of tunnels at present.
    pub tunnels: usize,
    /// Bytes of datagrams that were passed on so far.
    pub bytes: u64,
    /// Bytes of datagrams that were dropped so far: beyond a rate, or at a full queue of the outgoing link.
    pub dropped_bytes: u64,
}

#[derive(Debug)]
struct Carried {
    between: [LinkId; 2],
    /// Rate limits of both directions.
    buckets: [Mutex<Bucket>; 2],
}

pub(crate) struct Tunnels {
    epoch: Instant,
    rate: Rate,
    /// For all tunnels together, where the uplink has a cap.
    total: Option<Mutex<Bucket>>,
    /// By their numbers.
    carried: RwLock<BTreeMap<u16, Carried>>,
    /// The links that go through tunnels, by the link with the carrier and the number there.
    ends: RwLock<BTreeMap<(LinkId, u16), LinkId>>,
    courier: RwLock<Option<Arc<dyn Courier>>>,
    bytes: AtomicU64,
    dropped_bytes: AtomicU64,
}

fn read<T>(table: &RwLock<T>) -> std::sync::RwLockReadGuard<'_, T> {
    table.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(table: &RwLock<T>) -> std::sync::RwLockWriteGuard<'_, T> {
    table.write().unwrap_or_else(PoisonError::into_inner)
}

impl Tunnels {
    /// `uplink_bps_max`: cap of this peer's uplink. `rate_bps`: in place of the usual bound of a tunnel, for benches.
    pub(crate) fn new(uplink_bps_max: Option<u64>, rate_bps: Option<u64>) -> Tunnels {
        let of_bps = |bps: u64| Rate { per_s: (bps / 8).max(1), burst: TUNNEL_RATE.burst.max(bps / 8 / 4) };
        let total = uplink_bps_max.map(|bps| Mutex::new(Bucket::new(of_bps(bps / UPLINK_SHARE), Time(0))));
        Tunnels {
            epoch: Instant::now(),
            rate: rate_bps.map_or(TUNNEL_RATE, of_bps),
            total,
            carried: RwLock::default(),
            ends: RwLock::default(),
            courier: RwLock::default(),
            bytes: AtomicU64::new(0),
            dropped_bytes: AtomicU64::new(0),
        }
    }

    pub(crate) fn set_courier(&self, courier: Option<Arc<dyn Courier>>) {
        *write(&self.courier) = courier;
    }

    pub(super) fn courier(&self) -> Option<Arc<dyn Courier>> {
        read(&self.courier).clone()
    }

    pub(crate) fn figures(&self) -> CarriedFigures {
        CarriedFigures {
            tunnels: read(&self.carried).len(),
            bytes: self.bytes.load(Ordering::Relaxed),
            dropped_bytes: self.dropped_bytes.load(Ordering::Relaxed),
        }
    }

    pub(crate) fn command(shared: &Shared, command: TunnelCommand<LinkId, LinkId>) {
        let Tunnels { carried, ends, rate, .. } = &shared.tunnels;
        match command {
            TunnelCommand::Carry { channel, between } => {
                let buckets = [(); 2].map(|()| Mutex::new(Bucket::new(*rate, Time(0))));
                write(carried).insert(channel, Carried { between, buckets });
            }
            TunnelCommand::Uncarry { channel } => _ = write(carried).remove(&channel),
            TunnelCommand::Open { link, carrier, channel } => {
                if let Some(handle) = shared.handle(link) {
                    write(ends).insert((carrier, channel), link);
                    handle.wire.open_tunnel(By::Link(carrier, channel));
                }
            }
            TunnelCommand::Shut { link, carrier } => {
                write(ends).retain(|(by, _), of| (*by, *of) != (carrier, link));
                if let Some(handle) = shared.handle(link) {
                    handle.wire.tunnel.shut(carrier);
                }
            }
            TunnelCommand::OpenByRendezvous { link, peer } => {
                if let Some(handle) = shared.handle(link) {
                    handle.wire.open_tunnel(By::Rendezvous(peer));
                }
            }
        }
    }

    /// Takes a frame that has arrived on a link.
    pub(crate) fn arrived(shared: &Shared, by: LinkId, framed: &[u8], now: Instant) {
        match frame::read(framed) {
            Some((Towards::Carrier, channel, datagram)) => {
                shared.tunnels.pass_on(shared, by, (channel, datagram), now);
            }
            Some((Towards::End, channel, datagram)) => {
                let link = read(&shared.tunnels.ends).get(&(by, channel)).copied();
                if let Some(handle) = link.and_then(|link| shared.handle(link)) {
                    handle.wire.arrived_by_tunnel(By::Link(by, channel), datagram);
                }
            }
            None => {}
        }
    }

    /// Sends a datagram on to the other end of a tunnel that this peer carries: never more than came in.
    fn pass_on(&self, shared: &Shared, by: LinkId, (channel, datagram): (u16, &[u8]), now: Instant) {
        let len = datagram.len() as u64;
        let since_us = now.saturating_duration_since(self.epoch).as_micros();
        let now = Time(u64::try_from(since_us).unwrap_or(u64::MAX));
        let to = {
            let carried = read(&self.carried);
            let Some(Carried { between: [one, other], buckets: [of_one, of_other] }) = carried.get(&channel)
            else {
                return;
            };
            let (to, bucket) = match by {
                by if by == *one => (*other, of_one),
                by if by == *other => (*one, of_other),
                _ => return,
            };
            lock(bucket).take(now, len).then_some(to)
        };
        let is_free = self.total.as_ref().is_none_or(|total| lock(total).take(now, len));
        let to = to.filter(|_| is_free).and_then(|to| shared.handle(to));
        let frame = frame::frame(Towards::End, channel, datagram);
        let is_sent = to.zip(frame).is_some_and(|(to, frame)| to.wire.send_frame(frame));
        let counter = if is_sent { &self.bytes } else { &self.dropped_bytes };
        counter.fetch_add(len, Ordering::Relaxed);
    }

    /// A datagram for a link came by the rendezvous, from its other end. That opens the way back.
    pub(crate) fn came_by_rendezvous(shared: &Shared, link: LinkId, from: PeerId, datagram: &[u8]) {
        if let Some(handle) = shared.handle(link) {
            handle.wire.open_tunnel(By::Rendezvous(from));
            handle.wire.arrived_by_tunnel(By::Rendezvous(from), datagram);
        }
    }

    /// Whether a tunnel of this peer's own links uses that link.
    pub(crate) fn carries_own(&self, carrier: LinkId) -> bool {
        read(&self.ends).range((carrier, 0)..=(carrier, u16::MAX)).next().is_some()
    }

    /// A link has ended.
    pub(crate) fn forget(shared: &Shared, link: LinkId) {
        let Tunnels { carried, ends, .. } = &shared.tunnels;
        write(carried).retain(|_, carried| !carried.between.contains(&link));
        let mut went_by = Vec::new();
        write(ends).retain(|(by, _), of| {
            went_by.extend((*by == link).then_some(*of));
            *by != link && *of != link
        });
        for handle in went_by.into_iter().filter_map(|of| shared.handle(of)) {
            handle.wire.tunnel.shut(link);
        }
    }
}
