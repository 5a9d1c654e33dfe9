//! `outpost import`: the data of an existing CoCalc Lite.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, bail};
use clap::ValueHint;

use super::{
    flags::{Flags, LocateFlags},
    print,
    steps::Steps,
};
use crate::{
    config::{Config, Durability, secrets},
    host::data_lock,
    hub::{self, database},
    persist::{
        reference::{self, Found, Outcome},
        sqlite,
        store::{self, OpenOptions, Store, StoreOptions},
    },
};

/// Problems that are named one by one; the rest is counted.
const NAMED: usize = 20;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Its data directory, usually ~/.local/share/cocalc-lite; it is not changed
    #[arg(value_hint = ValueHint::DirPath)]
    from: PathBuf,
    #[command(flatten)]
    flags: LocateFlags,
}

/// What was taken, and what was not.
#[derive(Debug, Default)]
struct Report {
    streams: u64,
    messages: u64,
    bytes: u64,
    present: u64,
    rows: hub::import::Imported,
    problems: Vec<String>,
}

pub(super) fn run(flags: Flags, args: Args) -> anyhow::Result<ExitCode> {
    let config = flags.and(args.flags.0).load()?.config;
    let rows = args.from.join(database::SCHEMA.name);
    let streams = args.from.join("sync");
    if !rows.is_file() && !streams.is_dir() {
        bail!(
            "{}: neither hub.db nor sync/ is there; name the data directory of a CoCalc Lite, usually ~/.local/share/cocalc-lite",
            args.from.display()
        );
    }
    let data = &config.paths.data;
    secrets::private_directory(data)?;
    let _lock = data_lock::acquire(data)?;
    let mut report = Report::default();
    if rows.is_file() {
        let target = data.join(database::SCHEMA.name);
        let mut connection = sqlite::open(&target, &database::SCHEMA, Durability::Full)?.connection;
        report.rows = hub::import::import(&rows, data, &mut connection)?;
        report.problems.append(&mut report.rows.refused);
    }
    if streams.is_dir() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        runtime.block_on(import_streams(&streams, &config, &mut report))?;
    }
    print(report.to_text())?;
    Ok(if report.problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn import_streams(from: &Path, config: &Config, report: &mut Report) -> anyhow::Result<()> {
    let found = reference::walk(from, |path, problem| report.problems.push(format!("{}: {problem}", path.display())));
    let options = StoreOptions {
        path: config.paths.data.join(store::SCHEMA.name),
        // Whoever imports can do so again.
        durability: Durability::Normal,
        release_grace: std::time::Duration::ZERO,
        observer: None,
    };
    let store = Store::open(options).context("the streams can't be opened")?;
    let mut steps = Steps::new();
    let total = found.len() as u64;
    for (done, Found { file, storage_path }) in (0..).zip(found) {
        steps.show("importing", done, total);
        let shown = file.display().to_string();
        match take(&store, &storage_path, file, &config.paths.data).await {
            Ok(Outcome::Taken { messages, bytes, refused }) => {
                report.streams += 1;
                report.messages += messages;
                report.bytes += bytes;
                report.problems.extend(refused);
            }
            Ok(Outcome::Present) => report.present += 1,
            // A disk that is full, say, concerns all that follow.
            Err(error @ reference::AdoptError::Store { source: store::Error::Storage { .. }, .. }) => {
                return Err(anyhow::Error::new(error).context("stopped; what was taken stays, and is not taken again"));
            }
            Err(reference::AdoptError::Source(error)) => report.problems.push(error.to_string()),
            Err(error) => report.problems.push(format!("{shown}: {error}")),
        }
    }
    steps.clear();
    store.close().await;
    Ok(())
}

async fn take(store: &Store, path: &str, file: PathBuf, scratch: &Path) -> Result<Outcome, reference::AdoptError> {
    let stream = store.stream(path, OpenOptions::default()).await;
    let stream = stream.map_err(|source| reference::AdoptError::Store { path: path.to_owned(), source })?;
    reference::adopt(&stream, file, scratch).await
}

impl Report {
    fn to_text(&self) -> String {
        let mut text = format!(
            "took {} rows of user data and settings ({} are here already)\n\
             took {} streams with {} messages, {} bytes ({} streams are here already)\n",
            self.rows.taken, self.rows.kept, self.streams, self.messages, self.bytes, self.present
        );
        if !self.problems.is_empty() {
            text += &format!("could not take {}:\n", self.problems.len());
        }
        for problem in self.problems.iter().take(NAMED) {
            text += &format!("  {problem}\n");
        }
        if self.problems.len() > NAMED {
            text += &format!("  … and {} more\n", self.problems.len() - NAMED);
        }
        text
    }
}
