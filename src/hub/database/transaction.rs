//! Executing requests inside a transaction.

use rusqlite::Connection;
use serde_json::{Map, Value, json};

use super::{
    rows::Rows,
    worker::{Outcome, Work},
};
use crate::{
    hub::{
        feeds::Registry,
        query::{Action, Actor, Error, Order, Query, Request, get, set},
        schema::{Row, Table, key},
        settings::Settings,
    },
    wire::msgpack,
};

/// Longest text of a row.
const MAX_ROW_BYTES: usize = 2 << 20;
/// Most text that is read for one answer.
const MAX_RESULT_BYTES: usize = 24 << 20;

/// Why a request was not executed.
pub(super) enum Failure {
    /// The request is to blame, and is told.
    Request(Error),
    /// SQLite says no; the transaction is lost.
    Sqlite(rusqlite::Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Request(error)
    }
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Failure::Sqlite(error)
    }
}

/// A transaction under way.
pub(super) struct Transaction<'a> {
    rows: Rows<'a>,
    feeds: &'a mut Registry,
    /// Whether settings were written.
    pub changes_settings: bool,
}

impl<'a> Transaction<'a> {
    pub fn new(connection: &'a Connection, feeds: &'a mut Registry) -> Transaction<'a> {
        Transaction { rows: Rows(connection), feeds, changes_settings: false }
    }

    /// Executes one request.
    pub fn execute(&mut self, work: &Work) -> Result<Outcome, Failure> {
        Ok(match work {
            Work::Query(Request::One(query), actor) => Outcome::Value(self.query(query, actor)?),
            Work::Query(Request::Many(queries), actor) => {
                let results = queries.iter().map(|query| match query {
                    Ok(query) => self.query(query, actor),
                    Err(error) => Err(error.clone().into()),
                });
                Outcome::Value(results.collect::<Result<_, _>>()?)
            }
            Work::Feed(query) => {
                let first = json!({"update": self.query_rows(query)?});
                let first = msgpack::encode(&first).map_err(|_| Error::Database)?;
                if first.len() > MAX_RESULT_BYTES {
                    return Err(Error::ResultTooLarge(query.table.name).into());
                }
                Outcome::Feed(self.feeds.open(query.clone(), first.into()))
            }
            Work::Row(table, key) => Outcome::Row(self.rows.find(table, key)?.map(|found| found.row)),
            Work::End => Outcome::Ended,
        })
    }

    /// All settings as they are stored now.
    pub fn settings(&self) -> Result<Settings, rusqlite::Error> {
        let mut stored = Vec::new();
        if let Some(table) = Table::find("server_settings") {
            self.rows.each(table, |mut row, _| {
                if let (Some(Value::String(name)), Some(value)) = (row.remove("name"), row.remove("value")) {
                    stored.push((name, value));
                }
                Ok::<_, rusqlite::Error>(true)
            })?;
        }
        Ok(Settings::from_stored(stored))
    }

    fn query(&mut self, query: &Query, actor: &Actor) -> Result<Value, Failure> {
        match query.action {
            Action::Get(_) => self.query_rows(query),
            Action::Set => self.set(query, actor),
            Action::Delete => self.delete(query, actor),
        }
    }

    fn query_rows(&self, query: &Query) -> Result<Value, Failure> {
        let Action::Get(order) = &query.action else { return Err(Error::Invalid.into()) };
        let rows = self.matching(query, order)?;
        let mut projected = rows.iter().map(|row| Value::Object(get::project(query, row)));
        let mut result = Map::new();
        if query.is_list {
            result.insert(query.table.name.into(), projected.collect());
        } else if let Some(row) = projected.next() {
            result.insert(query.table.name.into(), row);
        }
        Ok(result.into())
    }

    fn matching(&self, query: &Query, order: &Order) -> Result<Vec<Row>, Failure> {
        let table = query.table;
        if key(table, &query.pattern).is_some() {
            let found = self.rows.find(table, &query.pattern)?.map(|found| found.row);
            return Ok(found.filter(|row| get::matches(query, row)).into_iter().collect());
        }
        let limit = if query.is_list { order.limit.unwrap_or(usize::MAX) } else { 1 };
        let (mut rows, mut bytes) = (Vec::new(), 0);
        if limit > 0 {
            self.rows.each(table, |row, length| {
                if get::matches(query, &row) {
                    bytes += length;
                    if bytes > MAX_RESULT_BYTES {
                        return Err(Failure::from(Error::ResultTooLarge(table.name)));
                    }
                    rows.push(row);
                }
                Ok(order.by.is_some() || rows.len() < limit)
            })?;
        }
        get::arrange(order, &mut rows);
        Ok(rows)
    }

    fn set(&mut self, query: &Query, actor: &Actor) -> Result<Value, Failure> {
        let table = query.table;
        let pattern = set::fill_key(query, actor);
        let key = key(table, &pattern).ok_or(Error::NoKey(table.name))?;
        let old = self.rows.find(table, &pattern)?;
        let old_row = old.as_ref().map(|old| &old.row);
        set::check(table, &pattern, old_row, actor)?;
        let row = set::merge(table, old_row, &pattern, actor);
        let text = serde_json::to_string(&row).map_err(|_| Error::Database)?;
        if text.len() > MAX_ROW_BYTES {
            return Err(Error::RowTooLarge(table.name).into());
        }
        self.rows.put(table, &key, &text)?;
        if let Some(old) = old.as_ref().filter(|old| old.key != key) {
            self.rows.remove(table, &old.key)?;
        }
        self.changed(table, old_row, Some(&row));
        Ok(json!({ table.name: row }))
    }

    fn delete(&mut self, query: &Query, actor: &Actor) -> Result<Value, Failure> {
        let table = query.table;
        let pattern = set::fill_key(query, actor);
        if key(table, &pattern).is_none() {
            return Err(Error::NoKey(table.name).into());
        }
        if table.permanent || !table.is_writable() {
            return Err(Error::NotDeletable(table.name).into());
        }
        let Some(old) = self.rows.find(table, &pattern)? else { return Ok(json!({ table.name: {} })) };
        self.rows.remove(table, &old.key)?;
        self.changed(table, Some(&old.row), None);
        Ok(json!({ table.name: old.row }))
    }

    fn changed(&mut self, table: &'static Table, old: Option<&Row>, new: Option<&Row>) {
        self.changes_settings |= table.stored == "server_settings";
        self.feeds.changed(table.stored, old, new);
    }
}
