//! Lots: draws that everyone makes alike, and nobody by choice.
//!
//! Whoever is to be drawn, and by what, is hashed together; the lowest hashes are drawn. One that comes or goes changes
//! nothing between the others (rendezvous hashing: Thaler, Ravishankar, 1998).

use crate::id::PeerId;

/// What lots are compared by.
pub(crate) type DrawKey = [u8; 32];

/// The lot of what is named by these bytes, each of a fixed length, in one sort of draw.
pub(crate) fn draw_key(of: &'static str, named: &[&[u8]]) -> DrawKey {
    let mut hash = blake3::Hasher::new_derive_key(of);
    for bytes in named {
        hash.update(bytes);
    }
    *hash.finalize().as_bytes()
}

/// So many of these peers, the lowest lot first: `by` says what each is drawn by besides its own id.
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
        let draw = |from: &[PeerId]| drawn("plenary 1 lots of a test", &[&[7]], from.iter(), 5);
        let before = draw(&peers);
        assert_eq!(before.len(), 5);
        for gone in &peers {
            let others: Vec<PeerId> = peers.iter().filter(|peer| *peer != gone).copied().collect();
            let kept = before.iter().filter(|peer| *peer != gone);
            assert!(kept.eq(draw(&others).iter().take(5 - usize::from(before.contains(gone)))));
        }
    }
}
