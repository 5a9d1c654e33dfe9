//! `outpost request`: ask and print the answer.

use std::process::ExitCode;

use serde_json::json;

use super::{
    connect::{BusFlags, block_on},
    flags::Flags,
    print,
    publish::{data, headers, seconds},
    subscribe::plain,
};
use crate::bus::RequestOptions;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Whom to ask
    subject: String,
    /// What: JSON if it is that, else a string; - reads it from standard input
    #[arg(value_name = "DATA", default_value = "null", allow_hyphen_values = true)]
    body: String,
    /// A header, as NAME=VALUE; the value is JSON if it is that, else a string
    #[arg(long = "header", short = 'H', value_name = "NAME=VALUE")]
    headers: Vec<String>,
    /// How long the answer may take
    #[arg(long, value_name = "SECONDS", default_value_t = 30.0)]
    timeout: f64,
    /// Wait for somebody to answer when nobody is there yet
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    bus: BusFlags,
}

pub(super) fn run(flags: Flags, args: Args) -> anyhow::Result<ExitCode> {
    let data = data(&args.body)?;
    let options = RequestOptions {
        headers: headers(&args.headers)?,
        timeout: seconds(args.timeout)?,
        wait_for_interest: args.wait,
    };
    let as_json = args.bus.json;
    let (headers, answer) = block_on(async {
        let client = args.bus.connect(flags).await?;
        let message = client.request(&args.subject, &data, options).await?;
        anyhow::Ok((message.headers().cloned(), message.to_json()?))
    })?;
    if as_json {
        print(format!("{}\n", json!({"headers": headers, "data": answer})))?;
    } else {
        print(format!("{}\n", plain(&answer)))?;
    }
    Ok(ExitCode::SUCCESS)
}
