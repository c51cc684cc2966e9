//! Hashed draws (rendezvous hashing: Thaler, Ravishankar, 1998), which all peers compute alike and no peer
//! can choose.
//!
//! Each candidate is hashed together with the context of the draw, and the lowest hashes are drawn. A
//! candidate that comes or goes doesn't change the order of the others.

use crate::id::PeerId;

/// The hash by which candidates are compared.
pub(crate) type DrawKey = [u8; 32];

/// Returns the hash of the given byte strings under the draw's context `of`. Each byte string must have a
/// fixed length.
pub(crate) fn draw_key(of: &'static str, named: &[&[u8]]) -> DrawKey {
    let mut hash = blake3::Hasher::new_derive_key(of);
    for bytes in named {
        hash.update(bytes);
    }
    *hash.finalize().as_bytes()
}

/// Draws `count` of the given peers, lowest hash first. `by` is what each peer's id is hashed with.
pub(crate) fn drawn<'a>(
    of: &'static str,
    by: &[&[u8]],
    peers: impl Iterator<Item = &'a PeerId>,
    count: usize,
) -> Vec<PeerId> {
    let of_one = |peer: &'a PeerId| draw_key(of, &[by, &[&peer.0[..]]].concat());
    let mut keys: Vec<(DrawKey, PeerId)> = peers.map(|peer| (of_one(peer), *peer)).collect();
    keys.sort_unstable();
    keys.into_iter().map(|(_, peer)| peer).take(count).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_less_is_drawn_as_if_it_had_never_been_there() {
        let peers: Vec<PeerId> = (0..20).map(|id| PeerId([id; 32])).collect();
        let draw = |from: &[PeerId]| drawn("plenary 1 draws of a test", &[&[7]], from.iter(), 5);
        let before = draw(&peers);
        assert_eq!(before.len(), 5);
        for gone in &peers {
            let others: Vec<PeerId> = peers.iter().filter(|peer| *peer != gone).copied().collect();
            let kept = before.iter().filter(|peer| *peer != gone);
            assert!(kept.eq(draw(&others).iter().take(5 - usize::from(before.contains(gone)))));
        }
    }
}
