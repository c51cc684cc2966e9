//! What the frames of a peer do once the peer is in its room.

use std::time::Instant;

use bytes::Bytes;
use plenary_proto::rendezvous::{FrameError, FromPeer, Refusal};

use super::connection::{Ending, refused};
use crate::limits::Bucket;
use crate::rooms::StayOver;
use crate::switchboard::Membership;

/// Minimum of what a tunnel's frame counts at the limit on its bytes: at 4 Mbit/s that is 1953 frames a second. A
/// guess: the smallest packets of sound have some 100 bytes, and come in batches.
const TUNNEL_COST_MIN: usize = 256;

/// What the frames of a peer act on.
pub(super) struct Inlet<'a> {
    membership: &'a Membership,
    /// Nonce of the connection, over which the host proves its key.
    nonce: [u8; 32],
    /// Bytes that tunnels may carry; `None` if none are carried.
    tunnels: Option<Bucket>,
}

impl Inlet<'_> {
    pub(super) fn new(membership: &Membership, nonce: [u8; 32], carries: bool) -> Inlet<'_> {
        let bucket = || Bucket::new(membership.limits().tunnel_bytes, Instant::now());
        Inlet { membership, nonce, tunnels: carries.then(bucket) }
    }

    /// Executes a frame. Returns whether the limits on frames and bytes of the connection don't count it.
    pub(super) fn obey(&mut self, frame: &[u8], now: Instant) -> Result<bool, Ending> {
        let membership = self.membership;
        let done = match FromPeer::from_bytes(frame) {
            // copied: the frame may share a larger buffer than the length accounted in the mailbox
            Ok(FromPeer::Send { to, envelope }) => membership.carry(to, Bytes::copy_from_slice(envelope)),
            Ok(FromPeer::Tunnel { to, batch }) => {
                let cost = batch.len().max(TUNNEL_COST_MIN) as u32; // a batch has at most 16 KiB
                if !self.tunnels.as_mut().is_some_and(|bucket| bucket.try_take(cost, now)) {
                    membership.count_dropped(batch.len());
                    return Ok(false);
                }
                let sent = membership.tunnel(to, Bytes::copy_from_slice(batch));
                return sent.map(|_| true).map_err(|StayOver| membership.end().into());
            }
            Ok(FromPeer::Claim(proof)) => {
                membership.check(&proof, &self.nonce)?;
                membership.claim(proof.doors)
            }
            Ok(FromPeer::Pong) | Err(FrameError::Unknown(_)) => Ok(()),
            Ok(FromPeer::Hello(_)) => {
                return Err(Ending::Refused(Refusal::Malformed, "a second hello".to_owned()));
            }
            Err(error) => return Err(refused(error)),
        };
        done.map(|()| false).map_err(|StayOver| membership.end().into())
    }
}
