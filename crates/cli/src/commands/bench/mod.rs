//! `plenary bench`: this project's benchmarks.

mod brain;
mod mix;
mod sound;
mod spread;

use crate::args::BenchCommand;
use crate::{Failure, not_yet};

pub(crate) fn run(command: BenchCommand) -> Result<(), Failure> {
    match command {
        BenchCommand::Mix(args) => mix::run(&args),
        BenchCommand::Sound(args) => sound::run(&args),
        BenchCommand::Relay(_) => Err(not_yet("bench relay")),
        BenchCommand::Brain(args) => brain::run(&args),
    }
}
