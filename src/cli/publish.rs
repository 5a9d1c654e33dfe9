//! `outpost pub`: publish one message.

use std::{
    io::{self, Read as _},
    process::ExitCode,
    time::Duration,
};

use anyhow::Context as _;
use serde_json::{Map, Value, json};

use super::{
    BadUsage,
    connect::{BusFlags, block_on},
    flags::Flags,
    print,
};
use crate::bus::PublishOptions;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Where to publish
    subject: String,
    /// What: JSON if it is that, else a string; - reads it from standard input
    #[arg(value_name = "DATA", default_value = "null", allow_hyphen_values = true)]
    body: String,
    /// A header, as NAME=VALUE; the value is JSON if it is that, else a string
    #[arg(long = "header", short = 'H', value_name = "NAME=VALUE")]
    headers: Vec<String>,
    /// Wait so many seconds for somebody to be subscribed
    #[arg(long, value_name = "SECONDS")]
    wait: Option<f64>,
    #[command(flatten)]
    bus: BusFlags,
}

pub(super) fn run(flags: Flags, args: Args) -> anyhow::Result<ExitCode> {
    let data = data(&args.body)?;
    let options = PublishOptions {
        headers: headers(&args.headers)?,
        timeout: seconds(args.wait.unwrap_or(30.0))?,
        wait_for_interest: args.wait.is_some(),
    };
    let as_json = args.bus.json;
    let published = block_on(async {
        let client = args.bus.connect(flags).await?;
        anyhow::Ok(client.publish(&args.subject, &data, options).await?)
    })?;
    if as_json {
        print(format!("{}\n", json!({"count": published.count, "bytes": published.bytes})))?;
    } else {
        let bytes = if published.bytes == 1 { "byte" } else { "bytes" };
        print(format!("{} {bytes} to {}\n", published.bytes, subscribers(published.count)))?;
    }
    // Scripts want to know when nobody heard.
    Ok(if published.count > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn subscribers(count: u32) -> String {
    match count {
        0 => "nobody: there is no subscriber".into(),
        1 => "1 subscriber".into(),
        n => format!("{n} subscribers"),
    }
}

/// What a DATA argument stands for.
pub(super) fn data(argument: &str) -> anyhow::Result<Value> {
    if argument != "-" {
        return Ok(value(argument));
    }
    let mut text = String::new();
    io::stdin().read_to_string(&mut text).context("standard input is not text")?;
    Ok(value(text.strip_suffix('\n').unwrap_or(&text)))
}

/// JSON if it is that, else a string.
pub(super) fn value(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| text.into())
}

/// Headers from their arguments.
pub(super) fn headers(arguments: &[String]) -> anyhow::Result<Option<Value>> {
    let mut map = Map::new();
    for argument in arguments {
        let Some((name, text)) = argument.split_once('=').filter(|(name, _)| !name.is_empty()) else {
            return Err(BadUsage(format!("--header {argument:?}: expected NAME=VALUE")).into());
        };
        map.insert(name.into(), value(text));
    }
    Ok((!map.is_empty()).then_some(Value::Object(map)))
}

/// A number of seconds from the command line.
pub(super) fn seconds(number: f64) -> anyhow::Result<Duration> {
    // Longer times overflow the clock on some systems.
    const LONGEST: f64 = 366.0 * 86_400.0;
    let seconds = Duration::try_from_secs_f64(number).ok().filter(|_| number <= LONGEST);
    seconds.ok_or_else(|| BadUsage(format!("{number}: allowed: a number of seconds from 0 to {LONGEST}")).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_is_json_if_it_can_be() {
        assert_eq!(data("{\"a\":1}").unwrap(), json!({"a": 1}));
        assert_eq!(data("hello there").unwrap(), json!("hello there"));
        assert_eq!(data("12").unwrap(), json!(12));
    }

    #[test]
    fn headers_have_a_name() {
        assert_eq!(headers(&["a=1".into(), "b=x=y".into()]).unwrap(), Some(json!({"a": 1, "b": "x=y"})));
        assert_eq!(headers(&[]).unwrap(), None);
        assert!(headers(&["=1".into()]).is_err());
        assert!(headers(&["a".into()]).is_err());
    }

    #[test]
    fn times_are_ones_that_clocks_know() {
        assert_eq!(seconds(1.5).unwrap(), Duration::from_millis(1500));
        for wrong in [-1.0, f64::NAN, f64::INFINITY, 1e15, 1e300] {
            assert!(seconds(wrong).unwrap_err().is::<BadUsage>(), "{wrong}");
        }
    }
}
