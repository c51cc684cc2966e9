//! Interceptor between brain and body: it sees all inputs and outputs of the brain, and may change them.
//!
//! A simulator compares brains by their outputs, and lets peers break rules. The bodies of real peers have nothing
//! there.

use plenary_proto::{Input, Output, Time};

/// Interceptor between a brain and its body. Times are the brain's.
pub trait Between: Send {
    /// Called with each input; `None` withholds it from the brain.
    fn input(&mut self, now: Time, input: Input) -> Option<Input>;

    /// Called with each output of the brain. The outputs left in `instead` are carried out in its place, in that order.
    fn output(&mut self, now: Time, output: Output, instead: &mut Vec<Output>);
}
