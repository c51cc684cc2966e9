//! Links that go by the rendezvous, where UDP is blocked: their datagrams in batches over the signal.

use std::sync::Arc;

use bytes::Bytes;
use plenary_proto::PeerId;
use plenary_proto::rendezvous::{Batch, NotBatched, datagrams};
use plenary_rtc::{Courier, LinkId, Links};
use plenary_signal::Signal;

/// Takes datagrams of links to the rendezvous. What doesn't fit into the queue there is lost, as on any line.
pub(crate) struct ByRendezvous(pub(crate) Arc<dyn Signal>);

impl Courier for ByRendezvous {
    fn carry(&self, to: PeerId, datagrams: Vec<Bytes>) {
        let mut batch = Batch::new();
        for datagram in datagrams {
            if batch.push(&datagram) == Err(NotBatched::Full) {
                self.0.tunnel(to, batch.take());
                let _ = batch.push(&datagram);
            }
        }
        if !batch.is_empty() {
            self.0.tunnel(to, batch.take());
        }
    }
}

/// Hands a batch from the rendezvous to the link with its sender.
pub(crate) fn arrived(links: &Links, link: LinkId, from: PeerId, batch: &[u8]) {
    for datagram in datagrams(batch).map_while(Result::ok) {
        links.came_by_rendezvous(link, from, datagram);
    }
}
