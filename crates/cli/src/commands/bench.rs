//! `plenary bench`: the project's own measurements.

use crate::args::{BenchArgs, BenchWord};
use crate::{Failure, not_yet};

pub(crate) fn run(args: BenchArgs) -> Result<(), Failure> {
    Err(not_yet(match args.what {
        BenchWord::Mix => "bench mix",
        BenchWord::Relay => "bench relay",
        BenchWord::Brain => "bench brain",
    }))
}
