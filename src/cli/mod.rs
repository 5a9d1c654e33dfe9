//! One file per command; the only place that uses `anyhow`.
//!
//! Exit status: 0 all went well, 1 something failed or the answer is no, 2 bad settings or usage.

mod ask;
mod backup;
mod bench;
mod check;
mod completions;
mod connect;
mod db;
mod flags;
mod healthcheck;
mod import;
mod kv;
mod man;
mod owner;
mod publish;
mod qr;
mod record;
mod request;
mod serve;
mod status;
mod steps;
mod stream;
mod subscribe;
mod tap;
mod target;
mod token;
mod why;

use std::{
    ffi::OsString,
    io::{self, Write as _},
    process::ExitCode,
};

use clap::{Parser, Subcommand};
use thiserror::Error;

use self::flags::{Flags, LocateFlags};
use crate::{bus, config, host::process};

/// The command line.
#[derive(Debug, Parser)]
#[command(
    name = "outpost",
    version,
    about = "A computing lab in one static file: message bus, terminals and a page behind one HTTP port",
    after_help = "Without a command the server is started. Every setting can also stand in outpost.toml (with _ for -) or in \
                  the environment; flag wins over environment wins over file. Secrets have no flag because every process \
                  can read command lines."
)]
struct Cli {
    #[command(flatten)]
    flags: Flags,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start the server (as without a command)
    Serve(Flags),
    /// Check the settings and say what is wrong
    Check(check::Args),
    /// Say whether the server runs and how to reach it
    Status(status::Args),
    /// Print the URL to sign in to the running server, on a terminal with a QR code
    Token(token::Args),
    /// Exit with 0 if the server is ready, else with 1; for containers
    Healthcheck(LocateFlags),
    /// Publish a message
    Pub(publish::Args),
    /// Print what is published to a pattern
    Sub(subscribe::Args),
    /// Ask a service and print the answer
    Request(request::Args),
    /// Watch what goes by: subjects, sizes, headers
    Tap(tap::Args),
    /// Read and write key-value stores
    Kv(kv::Args),
    /// Read and write streams of messages
    Stream(stream::Args),
    /// Put load on a server and print throughput, latencies, CPU and memory
    Bench(bench::Args),
    /// Name the rule that allows or refuses a subject
    Why(why::Args),
    /// Write all databases into one file; the server may run
    Backup(backup::BackupArgs),
    /// Put the databases of a backup in place of the present ones; the server must be stopped
    Restore(backup::RestoreArgs),
    /// Look after the databases
    Db(db::Args),
    /// Take over the data of an existing CoCalc Lite; the server must be stopped
    Import(import::Args),
    /// Print completions for a shell
    Completions(completions::Args),
    /// Print the manual page, as in `outpost man | man -l -`
    Man(man::Args),
}

/// A command line that is well-formed but cannot be meant.
#[derive(Debug, Error)]
#[error("{0}")]
struct BadUsage(String);

/// Runs one command and gives its exit status.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    process::started();
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Help goes to standard output, errors to standard error; if nobody reads, nobody misses it.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    run(cli).unwrap_or_else(|error| {
        let _ = writeln!(io::stderr(), "outpost: {}", one_line(&format!("{error:#}")));
        let is_usage = error.is::<config::Error>()
            || error.is::<BadUsage>()
            || matches!(error.downcast_ref(), Some(bus::Error::InvalidSubject(_)));
        ExitCode::from(if is_usage { 2 } else { 1 })
    })
}

fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let flags = cli.flags;
    match cli.command {
        None => serve::run(flags),
        Some(Command::Serve(own)) => serve::run(flags.and(own)),
        Some(Command::Check(args)) => check::run(flags, args),
        Some(Command::Status(args)) => status::run(flags, args),
        Some(Command::Token(args)) => token::run(flags, args),
        Some(Command::Healthcheck(own)) => Ok(healthcheck::run(&flags.and(own.0))),
        Some(Command::Pub(args)) => publish::run(flags, args),
        Some(Command::Sub(args)) => subscribe::run(flags, args),
        Some(Command::Request(args)) => request::run(flags, args),
        Some(Command::Tap(args)) => tap::run(flags, args),
        Some(Command::Kv(args)) => kv::run(flags, args),
        Some(Command::Stream(args)) => stream::run(flags, args),
        Some(Command::Bench(args)) => bench::run(flags, args),
        Some(Command::Why(args)) => why::run(flags, args),
        Some(Command::Backup(args)) => backup::backup(flags, args),
        Some(Command::Restore(args)) => backup::restore(flags, args),
        Some(Command::Db(args)) => db::run(flags, args),
        Some(Command::Import(args)) => import::run(flags, args),
        Some(Command::Completions(args)) => completions::run(&args),
        Some(Command::Man(args)) => man::run(&args),
    }
}

/// Prints to standard output; a reader that has gone, as in `outpost man | head`, is no failure.
fn print(text: impl AsRef<[u8]>) -> anyhow::Result<()> {
    print_on(text).map(drop)
}

/// Prints to standard output; tells whether there is somebody who reads on, as there is not in `outpost sub x | head`.
fn print_on(text: impl AsRef<[u8]>) -> anyhow::Result<bool> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_ref()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        result => Ok(result.map(|()| true)?),
    }
}

fn one_line(text: &str) -> String {
    text.split(['\r', '\n']).map(str::trim).filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn errors_are_one_line() {
        assert_eq!(one_line("a\n  b\r\n\nc"), "a; b; c");
    }
}
