//! Rows of an existing installation's `hub.db` (hub.md §8.8).

use std::path::Path;

use rusqlite::{Connection, OptionalExtension as _, params};
use serde_json::{Map, Value};
use thiserror::Error;

use crate::persist::reference::{self, open_untouched};

/// What came of an import.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Rows that were taken.
    pub taken: u64,
    /// Rows that are here already, and newer or the same.
    pub kept: u64,
    /// Rows that make no sense, by table and key, with the reason.
    pub refused: Vec<String>,
}

/// Why rows can't be imported.
#[derive(Debug, Error)]
pub enum Error {
    /// The source.
    #[error(transparent)]
    Source(#[from] reference::Error),
    /// Our own database.
    #[error("hub.db: {0}")]
    Target(#[from] rusqlite::Error),
}

struct Row {
    table: String,
    pk: String,
    row: String,
    updated_at: i64,
}

/// Takes all rows of `from` into our database, in one transaction. Of two rows with one key the newer one counts; rows that
/// were only made because a server started here count as older than everything.
///
/// # Errors
/// The source can't be read, or ours can't be written; nothing is taken then.
pub fn import(from: &Path, scratch: &Path, to: &mut Connection) -> Result<Imported, Error> {
    let (source, _copy) = open_untouched(from, scratch)?;
    let wrap = |source| reference::Error::Sqlite { path: from.to_owned(), source };
    let mut imported = Imported::default();
    let transaction = to.transaction()?;
    {
        let query = "SELECT table_name, pk, row, updated_at FROM data ORDER BY rowid";
        let mut statement = source.prepare(query).map_err(wrap)?;
        let rows = statement.query_map([], |row| {
            Ok(Row { table: row.get(0)?, pk: row.get(1)?, row: row.get(2)?, updated_at: row.get(3)? })
        });
        for row in rows.map_err(wrap)? {
            match row {
                Ok(row) => take(&transaction, &row, &mut imported)?,
                Err(error) => imported.refused.push(error.to_string()),
            }
        }
    }
    transaction.commit()?;
    Ok(imported)
}

fn take(to: &Connection, row: &Row, imported: &mut Imported) -> Result<(), rusqlite::Error> {
    let is_object = |text: &str| serde_json::from_str::<Map<String, Value>>(text).is_ok();
    if row.table.is_empty() || !is_object(&row.pk) || !is_object(&row.row) {
        imported.refused.push(format!("{} {}: not a JSON object", row.table, row.pk));
        return Ok(());
    }
    let query = "SELECT row, updated_at FROM data WHERE table_name = ?1 AND pk = ?2";
    let ours =
        to.query_row(query, params![row.table, row.pk], |ours| Ok((ours.get::<_, String>(0)?, ours.get::<_, i64>(1)?)));
    if let Some((ours, updated_at)) = ours.optional()?
        && updated_at >= row.updated_at
        && !is_initial(&row.table, &ours)
    {
        imported.kept += 1;
        return Ok(());
    }
    let insert = "INSERT OR REPLACE INTO data (table_name, pk, row, updated_at) VALUES (?1, ?2, ?3, ?4)";
    to.execute(insert, params![row.table, row.pk, row.row, row.updated_at])?;
    imported.taken += 1;
    Ok(())
}

/// Whether a row is as a server makes it on its first start: nobody has written anything into it.
fn is_initial(table: &str, row: &str) -> bool {
    let Ok(row) = serde_json::from_str::<Map<String, Value>>(row) else { return true };
    let only = |allowed: &[&str]| row.keys().all(|key| allowed.contains(&key.as_str()));
    match table {
        "accounts" => only(&["account_id", "email_address"]),
        "projects" => {
            only(&["project_id", "title", "state"]) && row.get("title").and_then(Value::as_str) == Some("CoCalc Lite")
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "CREATE TABLE data (table_name TEXT NOT NULL, pk TEXT NOT NULL, row TEXT NOT NULL,
        updated_at INTEGER NOT NULL, PRIMARY KEY (table_name, pk));";

    fn put(connection: &Connection, table: &str, pk: &str, row: &str, updated_at: i64) {
        let insert = "INSERT INTO data VALUES (?1, ?2, ?3, ?4)";
        connection.execute(insert, params![table, pk, row, updated_at]).unwrap();
    }

    fn get(connection: &Connection, table: &str) -> Vec<String> {
        let mut statement = connection.prepare("SELECT row FROM data WHERE table_name = ?1 ORDER BY pk").unwrap();
        statement.query_map([table], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    }

    #[test]
    fn the_newer_row_counts_but_a_first_start_is_no_news() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hub.db");
        let source = Connection::open(&path).unwrap();
        source.execute_batch(&format!("PRAGMA journal_mode = WAL; {TABLE} CREATE TABLE acp_queue (x);")).unwrap();
        put(&source, "accounts", r#"{"account_id":"a"}"#, r#"{"account_id":"a","first_name":"Ada"}"#, 10);
        put(&source, "mentions", r#"{"time":{},"path":"x"}"#, r#"{"path":"x"}"#, 10);
        put(&source, "project_log", r#"{"id":"1"}"#, r#"{"id":"1","v":"old"}"#, 10);
        put(&source, "project_log", r#"{"id":"2"}"#, r#"{"id":"2","v":"new"}"#, 30);
        put(&source, "project_log", r#"{"id":"3"}"#, "[]", 30);
        let mut ours = Connection::open_in_memory().unwrap();
        ours.execute_batch(TABLE).unwrap();
        put(&ours, "accounts", r#"{"account_id":"a"}"#, r#"{"account_id":"a","email_address":"user@cocalc.com"}"#, 20);
        put(&ours, "project_log", r#"{"id":"1"}"#, r#"{"id":"1","v":"ours"}"#, 20);
        put(&ours, "project_log", r#"{"id":"2"}"#, r#"{"id":"2","v":"ours"}"#, 20);

        let imported = import(&path, folder.path(), &mut ours).unwrap();
        assert_eq!((imported.taken, imported.kept), (3, 1));
        assert_eq!(imported.refused, [r#"project_log {"id":"3"}: not a JSON object"#]);
        assert_eq!(get(&ours, "accounts"), [r#"{"account_id":"a","first_name":"Ada"}"#]);
        assert_eq!(get(&ours, "project_log"), [r#"{"id":"1","v":"ours"}"#, r#"{"id":"2","v":"new"}"#]);
        assert_eq!(get(&ours, "mentions"), [r#"{"path":"x"}"#]);
        let again = import(&path, folder.path(), &mut ours).unwrap();
        assert_eq!((again.taken, again.kept), (0, 4), "a second import changes nothing");
    }

    #[test]
    fn what_is_no_such_database_is_refused_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hub.db");
        std::fs::write(&path, "something else entirely, and long enough not to look like an empty file").unwrap();
        let mut ours = Connection::open_in_memory().unwrap();
        ours.execute_batch(TABLE).unwrap();
        let error = import(&path, folder.path(), &mut ours).unwrap_err();
        assert!(error.to_string().contains("hub.db"), "{error}");
    }
}
