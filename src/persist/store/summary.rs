//! The list of streams, for people.

use rusqlite::{Connection, params};

use super::{
    Result,
    reader::Source,
    registry::Store,
    schema::{int, uint},
};

/// Which streams to list.
#[derive(Clone, Debug, Default)]
pub struct SummaryQuery {
    /// A part of the path.
    pub filter: String,
    /// `path`, `count`, `bytes` or `changed`.
    pub sort: String,
    /// Largest first.
    pub descending: bool,
    /// Streams to leave out at the start.
    pub offset: u64,
    /// Streams at most.
    pub limit: u64,
}

/// A part of the list of streams.
#[derive(Clone, Debug, Default)]
pub struct Summaries {
    /// How many there are in all.
    pub total: u64,
    /// Those that were asked for.
    pub streams: Vec<StreamSummary>,
}

/// A stream in the list.
#[derive(Clone, Debug)]
pub struct StreamSummary {
    /// Its storage path.
    pub path: String,
    /// Messages.
    pub count: u64,
    /// Sum of their sizes.
    pub bytes: u64,
    /// Last change, in ms since the epoch.
    pub changed: u64,
    /// In memory only.
    pub ephemeral: bool,
}

/// Sums over all streams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Streams with anything in them ever.
    pub streams: u64,
    /// Messages.
    pub count: u64,
    /// Sum of their sizes.
    pub bytes: u64,
}

/// Streams in a list at most.
const MAX_LIMIT: u64 = 1000;
/// Streams before the list at most.
const MAX_OFFSET: u64 = 1_000_000;

impl Store {
    /// Streams with their sizes, for people.
    ///
    /// # Errors
    /// The disk.
    pub async fn summaries(&self, query: SummaryQuery) -> Result<Summaries> {
        let (offset, limit) = (query.offset.min(MAX_OFFSET), query.limit.min(MAX_LIMIT));
        let mut all = Summaries::default();
        for (source, ephemeral) in self.sources() {
            let query = query.clone();
            let read = move |connection: &Connection| summaries(connection, &query, offset + limit, ephemeral);
            let part = source.read(read).await?;
            all.total += part.total;
            all.streams.extend(part.streams);
        }
        sort(&mut all.streams, &query);
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(all.streams.len());
        all.streams.drain(..start);
        all.streams.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        Ok(all)
    }

    /// Sums over all streams.
    ///
    /// # Errors
    /// The disk.
    pub async fn totals(&self) -> Result<Totals> {
        let mut all = Totals::default();
        for (source, _) in self.sources() {
            let part = source.read(totals).await?;
            all.streams += part.streams;
            all.count += part.count;
            all.bytes += part.bytes;
        }
        Ok(all)
    }

    fn sources(&self) -> Vec<(Source, bool)> {
        let registry = self.registry();
        let disk = (Source::Disk(registry.readers().clone()), false);
        std::iter::once(disk).chain(registry.memory().map(|source| (source, true))).collect()
    }
}

fn totals(connection: &Connection) -> rusqlite::Result<Totals> {
    connection.query_row("SELECT count(*), total(count), total(bytes) FROM streams", [], |row| {
        let (count, bytes): (f64, f64) = (row.get(1)?, row.get(2)?);
        Ok(Totals { streams: uint(row.get(0)?), count: count as u64, bytes: bytes as u64 })
    })
}

fn summaries(connection: &Connection, query: &SummaryQuery, most: u64, ephemeral: bool) -> rusqlite::Result<Summaries> {
    const FILTER: &str = "FROM streams WHERE instr(lower(path), lower(?1)) > 0";
    let column = match query.sort.as_str() {
        column @ ("count" | "bytes" | "changed") => column,
        _ => "path",
    };
    let direction = if query.descending { "DESC" } else { "ASC" };
    let total = connection
        .prepare_cached(&format!("SELECT count(*) {FILTER}"))?
        .query_row([&query.filter], |row| row.get(0).map(uint))?;
    let mut select = connection.prepare_cached(&format!(
        "SELECT path, count, bytes, changed {FILTER} ORDER BY {column} {direction}, path LIMIT ?2"
    ))?;
    let streams = select.query_map(params![query.filter, int(most)], |row| {
        Ok(StreamSummary {
            path: row.get(0)?,
            count: uint(row.get(1)?),
            bytes: uint(row.get(2)?),
            changed: uint(row.get(3)?),
            ephemeral,
        })
    })?;
    Ok(Summaries { total, streams: streams.collect::<rusqlite::Result<_>>()? })
}

/// Sorts the parts of a list together, as SQLite sorted each.
fn sort(streams: &mut [StreamSummary], query: &SummaryQuery) {
    streams.sort_by(|a, b| {
        let order = match query.sort.as_str() {
            "count" => a.count.cmp(&b.count),
            "bytes" => a.bytes.cmp(&b.bytes),
            "changed" => a.changed.cmp(&b.changed),
            _ => a.path.cmp(&b.path),
        };
        if query.descending { order.reverse() } else { order }.then_with(|| a.path.cmp(&b.path))
    });
}
