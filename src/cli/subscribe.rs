//! `outpost sub`: print what is published.

use std::process::ExitCode;

use serde_json::{Value, json};

use super::{
    connect::{BusFlags, block_on},
    flags::Flags,
    print_on,
};
use crate::bus::{Message, SubscribeOptions};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// What to listen to; * stands for one token, > at the end for all that follow
    pattern: String,
    /// Share the messages with others in this queue group
    #[arg(long)]
    queue: Option<String>,
    /// End after so many messages
    #[arg(long, short = 'n', value_name = "COUNT")]
    count: Option<u64>,
    #[command(flatten)]
    bus: BusFlags,
}

pub(super) fn run(flags: Flags, args: Args) -> anyhow::Result<ExitCode> {
    let as_json = args.bus.json;
    block_on(async {
        let client = args.bus.listen(flags).await?;
        let options = SubscribeOptions { queue: args.queue, ..SubscribeOptions::default() };
        let mut subscription = client.subscribe_with(&args.pattern, options).await?;
        let mut left = args.count.unwrap_or(u64::MAX);
        let mut is_read = true;
        while left > 0 && is_read {
            let message = subscription.recv().await?;
            is_read = print_on(line(&message, as_json))?;
            left -= 1;
        }
        anyhow::Ok(())
    })?;
    Ok(ExitCode::SUCCESS)
}

/// A message as a line of text.
pub(super) fn line(message: &Message, as_json: bool) -> String {
    let data = message.to_json().unwrap_or_else(|error| json!({"undecodable": error.to_string()}));
    if as_json {
        return format!("{}\n", json!({"subject": message.subject(), "headers": message.headers(), "data": data}));
    }
    let headers = message.headers().filter(|headers| headers.as_object().is_none_or(|map| !map.is_empty()));
    let headers = headers.map(|headers| format!(" {headers}")).unwrap_or_default();
    format!("{}{headers} {}\n", message.subject(), plain(&data))
}

/// Strings without quotes, everything else as JSON.
pub(super) fn plain(data: &Value) -> String {
    match data {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
