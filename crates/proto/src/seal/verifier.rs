//! Cache of verified signatures: a signature is checked once, however often it arrives.
//!
//! Rosters, outcomes, reports and failovers reach a peer by several paths, and some of them (the outcome in
//! each admission, the reports in each ballot) again and again. The key of the cache is a hash of signer,
//! bytes and signature, so only the very same statement skips the check.

use super::keys::{Signature, SignatureError, verify};
use crate::id::PeerId;

/// Verifies signatures, and remembers valid ones in a fixed number of slots of 32 bytes. Of two with the same
/// slot the newer one is kept, so the memory never grows.
#[derive(Clone, Debug, Default)]
pub struct Verifier {
    /// Hashes of valid signatures, indexed by their first bytes; zeros in empty slots.
    held: Vec<[u8; 32]>,
}

impl Verifier {
    /// Creates a verifier that remembers up to `slots` signatures; with 0 it checks each time.
    pub fn new(slots: usize) -> Verifier {
        Verifier { held: vec![[0; 32]; slots] }
    }

    /// Verifies that `signer` signed `bytes`.
    ///
    /// # Errors
    /// [`SignatureError`] when it did not; invalid signatures are never remembered.
    pub fn verify(
        &mut self,
        signer: &PeerId,
        bytes: &[u8],
        signature: &Signature,
    ) -> Result<(), SignatureError> {
        if self.held.is_empty() {
            return verify(signer, bytes, signature);
        }
        let mut hash = blake3::Hasher::new_derive_key("plenary 1 verified");
        // signer and signature have a fixed length, so no other triple has the same bytes
        hash.update(&signer.0).update(&signature.0).update(bytes);
        let hash = *hash.finalize().as_bytes();
        let first = hash.iter().take(8).fold(0u64, |number, byte| number << 8 | u64::from(*byte));
        let slot = (first % self.held.len() as u64) as usize;
        match self.held.get_mut(slot) {
            Some(held) if *held == hash => Ok(()),
            held => {
                verify(signer, bytes, signature)?;
                if let Some(held) = held {
                    *held = hash;
                }
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::Keypair;

    #[test]
    fn what_held_once_is_spared_and_nothing_else_passes_for_it() {
        let keys = [1, 2].map(|seed| Keypair::from_seed(&[seed; 32]));
        let ids = keys.each_ref().map(Keypair::id);
        let signature = keys[0].sign(b"true");
        for slots in [0, 1, 16] {
            let mut verifier = Verifier::new(slots);
            for _ in 0..2 {
                assert_eq!(verifier.verify(&ids[0], b"true", &signature), Ok(()));
                assert_eq!(verifier.verify(&ids[1], b"true", &signature), Err(SignatureError));
                assert_eq!(verifier.verify(&ids[0], b"false", &signature), Err(SignatureError));
                assert!(verifier.verify(&ids[0], b"true", &keys[1].sign(b"true")).is_err());
            }
            assert!(verifier.held.len() <= slots);
        }
    }
}
