//! `outpost stream`: streams of messages.

mod add;
mod follow;
mod get;
mod info;
mod ls;

use std::process::ExitCode;

use super::flags::Flags;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Append messages
    Add(add::Args),
    /// Print the message with a number; the exit status is 1 when there is none
    Get(get::Args),
    /// List messages
    Ls(ls::Args),
    /// Print what a stream holds, and its configuration
    Info(info::Args),
    /// Print the last messages and those to come, like tail -f
    Follow(follow::Args),
}

pub(super) fn run(flags: Flags, args: Args) -> anyhow::Result<ExitCode> {
    match args.command {
        Command::Add(args) => add::run(flags, args),
        Command::Get(args) => get::run(flags, args),
        Command::Ls(args) => ls::run(flags, args),
        Command::Info(args) => info::run(flags, args),
        Command::Follow(args) => follow::run(flags, args),
    }
}
