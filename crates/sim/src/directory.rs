//! Lookup of the world's peers by id.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use plenary_proto::{PeerId, ShortId};

/// Identity hasher over the first eight bytes of a key, which are already uniformly distributed.
#[derive(Debug, Default)]
struct FirstBytes(u64);

impl Hasher for FirstBytes {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = bytes.iter().take(8).fold(self.0, |number, byte| number << 8 | u64::from(*byte));
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }
}

/// Map from ids to indices, one lookup each. It is never iterated, so its order doesn't matter.
#[derive(Debug, Default)]
pub(crate) struct Directory(HashMap<u64, u32, BuildHasherDefault<FirstBytes>>);

impl Directory {
    pub(crate) fn insert(&mut self, id: &PeerId, at: usize) {
        self.0.insert(key(&id.short()), at as u32);
    }

    /// Index of a peer. Short ids suffice: the world's keys are drawn from its seed, and no two begin with
    /// the same eight bytes.
    pub(crate) fn find(&self, id: &PeerId) -> Option<usize> {
        self.find_short(&id.short())
    }

    pub(crate) fn find_short(&self, short: &ShortId) -> Option<usize> {
        self.0.get(&key(short)).map(|at| *at as usize)
    }
}

fn key(short: &ShortId) -> u64 {
    u64::from_be_bytes(short.0)
}
