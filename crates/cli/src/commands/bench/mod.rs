//! `plenary bench`: this project's benchmarks.

mod brain;
mod crowd;
mod mix;
mod relay;
mod relay_process;
mod seals;
mod sound;
mod spread;

pub(crate) use relay_process::Server;

use crate::Failure;
use crate::args::BenchCommand;

/// Fails on systems without `/proc`, from which this benchmark reads processor time.
fn needs_linux(bench: &str) -> Result<(), Failure> {
    if std::path::Path::new("/proc/self/task").is_dir() {
        return Ok(());
    }
    Err(Failure::Failed(anyhow::anyhow!("{bench} needs Linux: it reads the CPU time of processes")))
}

pub(crate) fn run(command: BenchCommand) -> Result<(), Failure> {
    match command {
        BenchCommand::Mix(args) => mix::run(&args),
        BenchCommand::Sound(args) => sound::run(&args),
        BenchCommand::Relay(args) => relay::run(&args),
        BenchCommand::Crowd(args) => crowd::run(&args),
        BenchCommand::Brain(args) => brain::run(&args),
        BenchCommand::Seals(args) => seals::run(&args),
    }
}
