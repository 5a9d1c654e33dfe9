//! `outpost stream add`: append messages.

use std::{
    io::{self, BufRead as _},
    process::ExitCode,
    sync::Arc,
};

use anyhow::Context as _;
use serde_json::{Map, Value, json};

use crate::{
    cli::{
        BadUsage,
        connect::block_on,
        flags::Flags,
        owner::StoreFlags,
        print,
        publish::{data, headers, seconds, value},
    },
    persist::client::{AStream, Assigned, Storage, Write},
};

/// Lines that are sent at a time.
const LINES: usize = 500;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// The stream's name
    stream: String,
    /// The messages: JSON if it is that, else strings; - reads one from standard input
    #[arg(value_name = "VALUE", required_unless_present = "lines", allow_hyphen_values = true)]
    values: Vec<String>,
    /// Take each line of standard input for a message
    #[arg(long, conflicts_with = "values")]
    lines: bool,
    /// The key; a message replaces the one before it that has the same
    #[arg(long)]
    key: Option<String>,
    /// Forget the messages after so many seconds
    #[arg(long, value_name = "SECONDS")]
    ttl: Option<f64>,
    /// A header, as NAME=VALUE; the value is JSON if it is that, else a string
    #[arg(long = "header", short = 'H', value_name = "NAME=VALUE")]
    headers: Vec<String>,
    #[command(flatten)]
    flags: StoreFlags,
}

pub(super) fn run(flags: Flags, args: Args) -> anyhow::Result<ExitCode> {
    if args.values.iter().filter(|value| *value == "-").count() > 1 {
        return Err(BadUsage("standard input can be read only once".into()).into());
    }
    let headers = headers(&args.headers)?.and_then(|headers| headers.as_object().cloned()).map(Arc::new);
    let ttl = args.ttl.map(seconds).transpose()?;
    let key: Option<Arc<str>> = args.key.as_deref().map(Arc::from);
    let write = |value: &Value| -> anyhow::Result<Write> {
        Ok(Write { key: key.clone(), headers: headers.clone(), ttl, ..Write::value(value)? })
    };
    let values: Vec<Write> =
        args.values.iter().map(|argument| write(&data(argument)?)).collect::<anyhow::Result<_>>()?;
    let as_json = args.flags.bus.json;
    block_on(async {
        let (persist, owner) = args.flags.open(flags).await?;
        let stream = persist.astream(&owner, &args.stream, Storage::default())?;
        if ttl.is_some() {
            let mut fields = Map::new();
            fields.insert("allow_msg_ttl".into(), true.into());
            stream.configure(&fields).await?;
        }
        if !args.lines {
            return push(&stream, values, as_json).await;
        }
        let mut lines = io::stdin().lock().lines();
        loop {
            let batch: Vec<String> =
                lines.by_ref().take(LINES).collect::<Result<_, _>>().context("can't read standard input")?;
            if batch.is_empty() {
                return Ok(());
            }
            let batch = batch.iter().map(|line| write(&value(line))).collect::<anyhow::Result<_>>()?;
            push(&stream, batch, as_json).await?;
        }
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Appends messages; the first that is refused ends it, with those after it stored all the same.
async fn push(stream: &AStream, writes: Vec<Write>, as_json: bool) -> anyhow::Result<()> {
    let results = stream.push(writes).await?;
    let mut text = String::new();
    let mut refused = None;
    for result in results {
        match result {
            Ok(Assigned { seq, time }) if as_json => text.push_str(&format!("{}\n", json!({"seq": seq, "time": time}))),
            Ok(Assigned { seq, .. }) => text.push_str(&format!("stored as number {seq}\n")),
            Err(error) => refused = refused.or(Some(error)),
        }
    }
    print(text)?;
    refused.map_or(Ok(()), |error| Err(error).context("a message was not stored"))
}
