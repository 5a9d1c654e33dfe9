//! `outpost kv`: key-value stores.

mod del;
mod get;
mod ls;
mod put;
mod watch;

use std::process::ExitCode;

use super::flags::Flags;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Print the value of a key; the exit status is 1 when there is none
    Get(get::Args),
    /// Set the value of a key
    Put(put::Args),
    /// Delete keys
    Del(del::Args),
    /// List the keys
    Ls(ls::Args),
    /// Print keys with their values as they change
    Watch(watch::Args),
}

pub(super) fn run(flags: Flags, args: Args) -> anyhow::Result<ExitCode> {
    match args.command {
        Command::Get(args) => get::run(flags, args),
        Command::Put(args) => put::run(flags, args),
        Command::Del(args) => del::run(flags, args),
        Command::Ls(args) => ls::run(flags, args),
        Command::Watch(args) => watch::run(flags, args),
    }
}
