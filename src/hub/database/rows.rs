//! The statements: rows of one generic table, filed under their keys.

use rusqlite::{Connection, OptionalExtension as _, params};
use serde_json::Value;

use crate::{
    broker::peer::now_ms,
    hub::schema::{Key, Row, Table, collapsed_key, key},
};

/// The rows of a connection or transaction.
pub(super) struct Rows<'a>(pub &'a Connection);

/// A row and where it is filed.
pub(super) struct Found {
    pub key: Key,
    pub row: Row,
}

impl Rows<'_> {
    /// Finds the row with the key that `fields` contains. Old databases may have it filed under a key without its times.
    pub fn find(&self, table: &Table, fields: &Row) -> rusqlite::Result<Option<Found>> {
        let Some(own) = key(table, fields) else { return Ok(None) };
        if let Some(row) = self.read(table, &own)? {
            return Ok(Some(Found { key: own, row }));
        }
        let Some(collapsed) = collapsed_key(table, fields) else { return Ok(None) };
        let row = self.read(table, &collapsed)?;
        // Other times have been filed under it as well; the last one stayed.
        let row = row.filter(|row| table.key.iter().all(|name| row.get(*name) == fields.get(*name)));
        Ok(row.map(|row| Found { key: collapsed, row }))
    }

    fn read(&self, table: &Table, key: &Key) -> rusqlite::Result<Option<Row>> {
        let mut statement = self.0.prepare_cached("SELECT row FROM data WHERE table_name = ? AND pk = ?")?;
        let text: Option<String> = statement.query_row(params![table.stored, key.0], |row| row.get(0)).optional()?;
        Ok(text.and_then(|text| parse(table, &text)))
    }

    /// Goes through the rows of a table until `visit` says that it is enough. It gets each row with the length of its text.
    pub fn each<E: From<rusqlite::Error>>(
        &self,
        table: &Table,
        mut visit: impl FnMut(Row, usize) -> Result<bool, E>,
    ) -> Result<(), E> {
        let mut statement = self.0.prepare_cached("SELECT row FROM data WHERE table_name = ? ORDER BY pk")?;
        let mut rows = statement.query(params![table.stored])?;
        while let Some(row) = rows.next()? {
            let text = row.get_ref(0)?.as_str().unwrap_or_default();
            if let Some(row) = parse(table, text)
                && !visit(row, text.len())?
            {
                break;
            }
        }
        Ok(())
    }

    /// Writes a row.
    pub fn put(&self, table: &Table, key: &Key, row: &str) -> rusqlite::Result<()> {
        let now = i64::try_from(now_ms()).unwrap_or(i64::MAX);
        let mut statement = self.0.prepare_cached(
            "INSERT INTO data (table_name, pk, row, updated_at) VALUES (?, ?, ?, ?)
             ON CONFLICT (table_name, pk) DO UPDATE SET row = excluded.row, updated_at = excluded.updated_at",
        )?;
        statement.execute(params![table.stored, key.0, row, now]).map(drop)
    }

    /// Removes a row.
    pub fn remove(&self, table: &Table, key: &Key) -> rusqlite::Result<()> {
        let mut statement = self.0.prepare_cached("DELETE FROM data WHERE table_name = ? AND pk = ?")?;
        statement.execute(params![table.stored, key.0]).map(drop)
    }
}

/// A row that can't be read counts as one that is not there.
fn parse(table: &Table, text: &str) -> Option<Row> {
    match serde_json::from_str(text) {
        Ok(Value::Object(row)) => Some(row),
        _ => {
            tracing::warn!(table = table.stored, "hub.db has a row that can't be read");
            None
        }
    }
}
