//! `plenary bench`: this project's benchmarks.

mod brain;
mod crowd;
mod mix;
mod relay;
mod relay_process;
mod sound;
mod spread;

pub(crate) use relay_process::Server;

use crate::Failure;
use crate::args::BenchCommand;

pub(crate) fn run(command: BenchCommand) -> Result<(), Failure> {
    match command {
        BenchCommand::Mix(args) => mix::run(&args),
        BenchCommand::Sound(args) => sound::run(&args),
        BenchCommand::Relay(args) => relay::run(&args),
        BenchCommand::Crowd(args) => crowd::run(&args),
        BenchCommand::Brain(args) => brain::run(&args),
    }
}
