//! What passes between a simulated peer's brain and its body: the world notes it, and a deviation may change it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use plenary_body::Between;
use plenary_proto::{Input, Output, PeerId, Time, Verdict};

use crate::deviation::Deviation;

/// Maximum number of outputs that one input may cause; beyond it the simulator panics, since the brain is in
/// an endless loop.
const OUTPUTS_MAX: usize = 100_000;

/// A deviation, which the world asks about packets, and a body's interceptor about inputs and outputs.
pub(crate) type SharedDeviation = Arc<Mutex<Box<dyn Deviation>>>;

/// Locks what one thread uses alone: world and bodies share a thread.
pub(crate) fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Something that passed between brain and body.
#[derive(Debug)]
pub(crate) enum Passed {
    /// The body reported a verdict to the brain.
    Verdict(PeerId, Verdict),
    /// An output of the brain, which the body carried out.
    Said(Output),
    /// An output of the brain, which a deviation may have changed.
    Meant(Output),
    /// An output that a deviation put in place of the brain's.
    Done(Output),
}

/// What has passed since the world last looked.
#[derive(Debug, Default)]
pub(crate) struct Hand {
    pub(crate) deviation: Option<SharedDeviation>,
    pub(crate) passed: Vec<Passed>,
    /// Number of inputs of the brain so far.
    pub(crate) inputs: u64,
    /// Outputs since the last input.
    outputs: usize,
}

/// The interceptor in a body. The world holds the hand, too.
#[derive(Clone, Debug, Default)]
pub(crate) struct SharedHand(Arc<Mutex<Hand>>);

impl SharedHand {
    pub(crate) fn get(&self) -> MutexGuard<'_, Hand> {
        lock(&self.0)
    }
}

impl Between for SharedHand {
    fn input(&mut self, now: Time, input: Input) -> Option<Input> {
        let mut hand = self.get();
        let input = match &hand.deviation {
            None => Some(input),
            Some(deviation) => lock(deviation).input(now, input),
        }?;
        if let Input::Verdict { peer, verdict } = &input {
            hand.passed.push(Passed::Verdict(*peer, *verdict));
        }
        hand.inputs += 1;
        hand.outputs = 0;
        Some(input)
    }

    fn output(&mut self, now: Time, output: Output, instead: &mut Vec<Output>) {
        let mut hand = self.get();
        hand.outputs += 1;
        assert!(hand.outputs < OUTPUTS_MAX, "a brain never comes to rest");
        let Some(deviation) = hand.deviation.clone() else {
            hand.passed.push(Passed::Said(output.clone()));
            return instead.push(output);
        };
        hand.passed.push(Passed::Meant(output.clone()));
        lock(&deviation).output(now, output, instead);
        hand.passed.extend(instead.iter().cloned().map(Passed::Done));
    }
}
