//! Saving what can be read of a damaged database.
//!
//! The new database is complete before the damaged one is touched, and takes its place by a rename. Whatever interrupts it,
//! the next start goes on.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use rusqlite::{Connection, Statement, params_from_iter, types::Value};

use super::{Error, Recovery, Schema, beside, connect_read_only, create, migrate, sync_folder};

/// The new database while it is made.
pub(super) const PART: &str = ".recovered.part";
/// The new database when it is complete.
pub(super) const COMPLETE: &str = ".recovered";

/// Attempts to read on behind unreadable places, for each table.
const ATTEMPTS: u32 = 2000;

/// Puts what can be read of a database into a new one, and that into its place.
pub(super) fn replace(
    path: &Path,
    schema: &Schema,
    mend: fn(&Connection) -> rusqlite::Result<()>,
    finding: String,
) -> Result<Recovery, Error> {
    tracing::warn!(database = schema.name, finding, "the database is damaged; saving what can be read of it");
    let part = beside(path, PART);
    create(&part)?;
    let saved = build(path, &part, schema, mend).map_err(Error::sqlite(&part))?;
    fs::File::open(&part).and_then(|file| file.sync_all()).map_err(Error::io(&part))?;
    fs::rename(&part, beside(path, COMPLETE)).map_err(Error::io(&part))?;
    sync_folder(path)?;
    Ok(Recovery { set_aside: swap(path)?, saved, finding })
}

/// Puts the complete new database into the place of the old one; gives the new name of that.
pub(super) fn swap(path: &Path) -> Result<PathBuf, Error> {
    let set_aside = free_name(path);
    for ending in ["", "-wal", "-shm"] {
        let from = beside(path, ending);
        match fs::rename(&from, beside(&set_aside, ending)) {
            // The second time, some of it is done.
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(Error::io(&from)(error)),
            _ => {}
        }
    }
    let complete = beside(path, COMPLETE);
    fs::rename(&complete, path).map_err(Error::io(&complete))?;
    sync_folder(path)?;
    Ok(set_aside)
}

fn free_name(path: &Path) -> PathBuf {
    let date = jiff::Timestamp::now().strftime("%Y%m%d-%H%M%S").to_string();
    let name = beside(path, &format!(".damaged-{date}"));
    let more = (2..).map(|n| beside(path, &format!(".damaged-{date}-{n}")));
    std::iter::once(name.clone()).chain(more).find(|name| !name.exists()).unwrap_or(name)
}

fn build(
    from: &Path,
    part: &Path,
    schema: &Schema,
    mend: fn(&Connection) -> rusqlite::Result<()>,
) -> rusqlite::Result<u64> {
    let mut new = Connection::open(part)?;
    // Nobody needs a part of it: it is synced as a whole.
    new.pragma_update(None, "journal_mode", "MEMORY")?;
    new.pragma_update(None, "synchronous", "OFF")?;
    new.pragma_update(None, "temp_store", "MEMORY")?;
    migrate(&mut new, schema, 0)?;
    let transaction = new.transaction()?;
    let saved = match connect_read_only(from) {
        Ok(old) => copy_all(&old, &transaction)?,
        Err(_) => 0,
    };
    mend(&transaction)?;
    transaction.commit()?;
    new.close().map_err(|(_, error)| error)?;
    Ok(saved)
}

/// Copies all tables of the schema, in its order.
fn copy_all(old: &Connection, new: &Connection) -> rusqlite::Result<u64> {
    let mut select = new.prepare(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY rowid",
    )?;
    let tables: Vec<String> = select.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    let mut saved = 0;
    for table in tables {
        let count = Copy::new(old, new, &table)?.map_or(Ok(0), Copy::run)?;
        tracing::info!(table, rows = count, "saved from the damaged database");
        saved += count;
    }
    Ok(saved)
}

/// The copying of one table.
struct Copy<'a> {
    old: &'a Connection,
    insert: Statement<'a>,
    table: String,
    columns: String,
    /// What the table is ordered by.
    order: Vec<String>,
    has_rowid: bool,
    attempts: u32,
    saved: u64,
}

/// The direction in which a table is read.
#[derive(Clone, Copy)]
enum Direction {
    Up,
    Down,
}

/// How far reading came.
struct Reached {
    last: Option<i64>,
    is_end: bool,
}

impl<'a> Copy<'a> {
    /// Nothing if the old database has no such table, or does not tell what it looks like.
    fn new(old: &'a Connection, new: &'a Connection, table: &str) -> rusqlite::Result<Option<Copy<'a>>> {
        let known = columns(new, table, "cid")?;
        let present = columns(old, table, "cid").unwrap_or_default();
        let common: Vec<String> = known.into_iter().filter(|column| present.contains(column)).collect();
        if common.is_empty() {
            return Ok(None);
        }
        let has_rowid: bool = new.query_row("SELECT wr = 0 FROM pragma_table_list(?1)", [table], |row| row.get(0))?;
        let order = if has_rowid {
            vec!["rowid".to_owned()]
        } else {
            columns(new, table, "pk")?.iter().map(|column| quoted(column)).collect()
        };
        let marks = vec!["?"; common.len()].join(", ");
        let columns = common.iter().map(|column| quoted(column)).collect::<Vec<_>>().join(", ");
        let table = quoted(table);
        let insert = new.prepare(&format!("INSERT OR IGNORE INTO {table} ({columns}) VALUES ({marks})"))?;
        Ok(Some(Copy { old, insert, table, columns, order, has_rowid, attempts: ATTEMPTS, saved: 0 }))
    }

    fn run(mut self) -> rusqlite::Result<u64> {
        if self.has_rowid {
            self.rescue(i64::MIN, i64::MAX)?;
        } else if !self.read(Direction::Up, 0, 0)?.is_end {
            self.read(Direction::Down, 0, 0)?;
        }
        Ok(self.saved)
    }

    /// Reads rows between two row ids from both ends. What is left between unreadable places is tried half by half.
    fn rescue(&mut self, low: i64, high: i64) -> rusqlite::Result<()> {
        let reached = self.read(Direction::Up, low, high)?;
        if reached.is_end {
            return Ok(());
        }
        let low = reached.last.map_or(low, |last| last.saturating_add(1));
        let reached = self.read(Direction::Down, low, high)?;
        if reached.is_end {
            return Ok(());
        }
        let high = reached.last.map_or(high, |last| last.saturating_sub(1));
        self.attempts = self.attempts.saturating_sub(1);
        if low >= high || self.attempts == 0 {
            return Ok(());
        }
        let middle = ((i128::from(low) + i128::from(high)) >> 1) as i64;
        self.rescue(low, middle)?;
        self.rescue(middle.saturating_add(1), high)
    }

    /// Copies rows until the end or an unreadable place.
    fn read(&mut self, direction: Direction, low: i64, high: i64) -> rusqlite::Result<Reached> {
        let mut reached = Reached { last: None, is_end: false };
        let (rowid, bounds) = if self.has_rowid { ("rowid", "WHERE rowid BETWEEN ?1 AND ?2") } else { ("0", "") };
        let direction = match direction {
            Direction::Up => "ASC",
            Direction::Down => "DESC",
        };
        // The order of the tree itself, so that no index is needed.
        let order: Vec<String> = self.order.iter().map(|column| format!("{column} {direction}")).collect();
        let order = order.join(", ");
        let sql = format!("SELECT {rowid}, {} FROM {} {bounds} ORDER BY {order}", self.columns, self.table);
        let Ok(mut select) = self.old.prepare(&sql) else { return Ok(reached) };
        let parameters = if self.has_rowid { vec![low, high] } else { Vec::new() };
        let width = select.column_count();
        let Ok(mut rows) = select.query(params_from_iter(parameters)) else { return Ok(reached) };
        loop {
            let row = match rows.next() {
                Ok(Some(row)) => row,
                Ok(None) => {
                    reached.is_end = true;
                    return Ok(reached);
                }
                Err(_) => return Ok(reached),
            };
            let values = (1..width).map(|i| row.get::<_, Value>(i)).collect::<rusqlite::Result<Vec<_>>>();
            let (Ok(id), Ok(values)) = (row.get(0), values) else { return Ok(reached) };
            reached.last = Some(id);
            match self.insert.execute(params_from_iter(values)) {
                Ok(count) => self.saved += count as u64,
                // What does not fit the schema can't be kept in it.
                Err(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::ConstraintViolation) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// The columns of a table, in the order of their places (`cid`), or those of the primary key in its order (`pk`).
fn columns(connection: &Connection, table: &str, order: &str) -> rusqlite::Result<Vec<String>> {
    let sql = format!("SELECT name FROM pragma_table_info(?1) WHERE {order} > 0 OR '{order}' = 'cid' ORDER BY {order}");
    let mut select = connection.prepare(&sql)?;
    select.query_map([table], |row| row.get(0))?.collect()
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
