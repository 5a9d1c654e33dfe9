//! `outpost tap`: watch what goes by, without being counted as a subscriber where the pattern is `>`.

use std::process::ExitCode;

use serde_json::{Value, json};

use super::{
    connect::{BusFlags, block_on},
    flags::Flags,
    print_on,
    subscribe::plain,
};
use crate::bus::{Message, SubscribeOptions};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// What to watch; > is everything
    #[arg(default_value = ">")]
    pattern: String,
    /// Show payloads as well
    #[arg(long)]
    payload: bool,
    /// End after so many messages
    #[arg(long, short = 'n', value_name = "COUNT")]
    count: Option<u64>,
    #[command(flatten)]
    bus: BusFlags,
}

/// Messages that may wait while the terminal is slow.
const MAX_WAITING: usize = 65_536;

pub(super) fn run(flags: Flags, args: Args) -> anyhow::Result<ExitCode> {
    let as_json = args.bus.json;
    block_on(async {
        let client = args.bus.listen_as_system(flags).await?;
        let options = SubscribeOptions { max_messages: MAX_WAITING, ..SubscribeOptions::default() };
        let mut subscription = client.subscribe_with(&args.pattern, options).await?;
        let mut left = args.count.unwrap_or(u64::MAX);
        let mut is_read = true;
        while left > 0 && is_read {
            let message = subscription.recv().await?;
            is_read = print_on(if as_json { json_line(&message, args.payload) } else { line(&message, args.payload) })?;
            left -= 1;
        }
        anyhow::Ok(())
    })?;
    Ok(ExitCode::SUCCESS)
}

fn payload(message: &Message) -> Value {
    message.to_json().unwrap_or_else(|error| json!({"undecodable": error.to_string()}))
}

fn json_line(message: &Message, with_payload: bool) -> String {
    let mut record = json!({
        "time": jiff::Timestamp::now().to_string(),
        "subject": message.subject(),
        "bytes": message.payload().len(),
        "encoding": message.encoding(),
        "headers": message.headers(),
    });
    if with_payload {
        record["data"] = payload(message);
    }
    format!("{record}\n")
}

fn line(message: &Message, with_payload: bool) -> String {
    let time = jiff::Timestamp::now().strftime("%H:%M:%S%.3fZ").to_string();
    let headers = message.headers().map(|headers| format!(" {headers}")).unwrap_or_default();
    let data = if with_payload { format!(" {}", plain(&payload(message))) } else { String::new() };
    format!("{time} {} {} B{headers}{data}\n", message.subject(), message.payload().len())
}
