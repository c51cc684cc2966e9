//! The simulator on wasm32: two exported functions, no imports. `check` compares what they give with what the same seeds
//! give natively.

#[path = "../../examples/trace.rs"]
#[allow(dead_code, reason = "a program natively, a function here")]
mod example;

/// The trace of the small world that follows from `seed`.
#[unsafe(no_mangle)]
pub extern "C" fn trace(seed: u64) -> u64 {
    example::trace(seed)
}

/// The trace of the one where everything is drawn.
#[unsafe(no_mangle)]
pub extern "C" fn trace_in_the_rough(seed: u64) -> u64 {
    example::trace_in_the_rough(seed)
}
