//! Hash of everything that all brains output.

use plenary_proto::{Output, Time};

/// Size of the batches that are hashed, in bytes: BLAKE3 is slow on short inputs.
const BATCH: usize = 1 << 16;

/// Hash of all outputs so far: time, peer and output, each encoded as postcard, which is the same on every
/// machine.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    hasher: blake3::Hasher,
    gathered: Vec<u8>,
}

impl Trace {
    pub(crate) fn note(&mut self, now: Time, at: usize, output: &Output) {
        self.gathered.extend_from_slice(&now.0.to_le_bytes());
        self.gathered.extend_from_slice(&(at as u64).to_le_bytes());
        let gathered = std::mem::take(&mut self.gathered);
        self.gathered =
            postcard::to_extend(output, gathered).expect("an output is plain data, and a vector grows");
        if self.gathered.len() >= BATCH {
            self.hasher.update(&self.gathered);
            self.gathered.clear();
        }
    }

    /// Notes a frame that a body hands over.
    pub(crate) fn note_frame(&mut self, now: Time, at: usize, stream: &[u8], number: u32) {
        self.gathered.extend_from_slice(&now.0.to_le_bytes());
        self.gathered.extend_from_slice(&(at as u64).to_le_bytes());
        self.gathered.extend_from_slice(stream);
        self.gathered.extend_from_slice(&number.to_le_bytes());
    }

    /// The first 16 hexadecimal digits of the hash.
    pub(crate) fn hash(&self) -> String {
        let mut hasher = self.hasher.clone();
        hasher.update(&self.gathered);
        hasher.finalize().to_hex().as_str()[..16].to_owned()
    }
}
