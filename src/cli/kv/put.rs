//! `outpost kv put`: set the value of a key.

use std::process::ExitCode;

use serde_json::json;

use crate::{
    cli::{
        connect::block_on,
        flags::Flags,
        owner::StoreFlags,
        print,
        publish::{data, headers, seconds},
    },
    persist::client::{SetOptions, Storage},
};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// The store's name
    store: String,
    /// The key
    key: String,
    /// The value: JSON if it is that, else a string; - reads it from standard input
    #[arg(allow_hyphen_values = true)]
    value: String,
    /// Forget the value after so many seconds
    #[arg(long, value_name = "SECONDS")]
    ttl: Option<f64>,
    /// Only if the key's message still has this number; otherwise fail
    #[arg(long, value_name = "SEQ")]
    if_seq: Option<u64>,
    /// A header, as NAME=VALUE; the value is JSON if it is that, else a string
    #[arg(long = "header", short = 'H', value_name = "NAME=VALUE")]
    headers: Vec<String>,
    #[command(flatten)]
    flags: StoreFlags,
}

pub(super) fn run(flags: Flags, args: Args) -> anyhow::Result<ExitCode> {
    let value = data(&args.value)?;
    let headers = headers(&args.headers)?.and_then(|headers| headers.as_object().cloned());
    let options = SetOptions { headers, ttl: args.ttl.map(seconds).transpose()? };
    let assigned = block_on(async {
        let (persist, owner) = args.flags.open(flags).await?;
        let store = persist.akv(&owner, &args.store, Storage::default())?;
        anyhow::Ok(store.set_with(&args.key, &value, options, args.if_seq).await?)
    })?;
    if args.flags.bus.json {
        print(format!("{}\n", json!({"seq": assigned.seq, "time": assigned.time})))?;
    } else {
        print(format!("stored as number {}\n", assigned.seq))?;
    }
    Ok(ExitCode::SUCCESS)
}
