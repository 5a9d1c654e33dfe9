//! Outpost: a computing lab in one static file.

use std::process::ExitCode;

fn main() -> ExitCode {
    outpost::cli::main(std::env::args_os())
}
