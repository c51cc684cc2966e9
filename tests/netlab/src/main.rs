//! The command `netlab`.

use std::process::ExitCode;

fn main() -> ExitCode {
    netlab::main(std::env::args_os())
}
