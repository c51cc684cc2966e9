//! The simulator on wasm32: one exported function, no imports. `check` compares what it gives with what the same seeds
//! give natively.

#[path = "../../examples/trace.rs"]
#[allow(dead_code, reason = "a program natively, a function here")]
mod example;

/// The trace of the small world that follows from `seed`.
#[unsafe(no_mangle)]
pub extern "C" fn trace(seed: u64) -> u64 {
    example::trace(seed)
}
