//! The simulator on wasm32: two exported functions, no imports. `check` compares their results with those of
//! the native build for the same seeds.

#[path = "../../examples/trace.rs"]
#[allow(dead_code, reason = "a program natively, a function here")]
mod example;

/// Trace hash of the small world for `seed`.
#[unsafe(no_mangle)]
pub extern "C" fn trace(seed: u64) -> u64 {
    example::trace(seed)
}

/// Trace hash for `seed` of the world with drawn people, devices and network.
#[unsafe(no_mangle)]
pub extern "C" fn trace_in_the_rough(seed: u64) -> u64 {
    example::trace_in_the_rough(seed)
}
