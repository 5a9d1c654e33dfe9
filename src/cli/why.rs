//! `outpost why`: which rule allows or refuses a subject.

use std::process::ExitCode;

use clap::ValueEnum;

use super::{BadUsage, flags::Flags, print};
use crate::{
    broker::{Direction, User, policy},
    config::Config,
    wire::subject,
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// What is to be done
    #[arg(value_enum)]
    direction: Verb,
    /// The subject, or a pattern for `sub`
    subject: String,
    /// Who does it: account, project, system, anonymous, account:ID, project:ID
    #[arg(long = "as", value_name = "USER", default_value = "account")]
    user: String,
    #[command(flatten)]
    flags: Flags,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Verb {
    /// Publish, request
    Pub,
    /// Subscribe, serve
    Sub,
}

pub(super) fn run(flags: Flags, args: Args) -> anyhow::Result<ExitCode> {
    let config = flags.and(args.flags).load()?.config;
    let (direction, is_valid) = match args.direction {
        Verb::Pub => (Direction::Publish, subject::is_valid_subject(&args.subject)),
        Verb::Sub => (Direction::Subscribe, subject::is_valid_pattern(&args.subject)),
    };
    if !is_valid {
        return Err(BadUsage(format!(
            "{:?} is not a subject that can be used for {}",
            args.subject,
            direction.as_str()
        ))
        .into());
    }
    let user = user(&args.user, &config).ok_or_else(|| {
        BadUsage(format!("--as {:?}: allowed: account, project, system, anonymous, account:ID, project:ID", args.user))
    })?;
    let verdict = policy::for_config(&config).decide(&user, direction, &args.subject)?;
    let word = if verdict.allowed { "allowed" } else { "refused" };
    print(format!("{word}: {}\n", verdict.rule))?;
    Ok(if verdict.allowed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn user(text: &str, config: &Config) -> Option<User> {
    match text.split_once(':') {
        Some(("account", id)) if !id.is_empty() => Some(User::account(id)),
        Some(("project", id)) if !id.is_empty() => Some(User::project(id)),
        Some(_) => None,
        None => match text {
            "account" => Some(User::account(&config.identity.account_id)),
            "project" => Some(User::project(&config.identity.project_id)),
            "system" => Some(User::system()),
            "anonymous" => Some(User::anonymous()),
            _ => None,
        },
    }
}
