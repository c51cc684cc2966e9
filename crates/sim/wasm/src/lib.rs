//! The simulator on wasm32, without imports: a room for the visitors of a page, and with the feature `traces` two
//! functions by which `check` compares results with those of the native build for the same seeds.

pub mod exhibit;
#[cfg(feature = "traces")]
pub mod traces;
