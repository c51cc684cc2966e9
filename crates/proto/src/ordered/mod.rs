//! Ordered map and set: B-trees of the standard library, or on wasm32 sorted vectors with the same interface.
//!
//! The compiler makes the code of a map anew for each pair of types. B-trees of some 110 pairs were 40 % of a page's
//! module: 94 of 440 KB as it is sent, compressed. A page's maps have tens of entries, hundreds at a host, so that the
//! linear time to insert into a vector is of no account there. Native hosts have thousands.

#[cfg(not(target_arch = "wasm32"))]
pub use std::collections::{BTreeMap as OrderedMap, BTreeSet as OrderedSet};

#[cfg(target_arch = "wasm32")]
pub use self::{map::SortedMap as OrderedMap, set::SortedSet as OrderedSet};

#[cfg(any(test, target_arch = "wasm32"))]
mod map;
#[cfg(any(test, target_arch = "wasm32"))]
mod set;
#[cfg(test)]
mod tests;
