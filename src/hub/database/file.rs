//! Opening `hub.db`: its mode, its schema, the rows that are always there.

use std::{
    fs::{self, DirBuilder, OpenOptions, Permissions},
    io,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::Connection;
use serde_json::{Value, json};

use super::{Error, Options, rows::Rows};
use crate::{
    hub::schema::{Table, key},
    persist::sqlite::{self, Recovery, Schema},
};

/// The file's name.
const NAME: &str = "hub.db";

/// What the database looks like: the reference's table, which may be there already; so the statements must not mind.
pub const SCHEMA: Schema = Schema {
    name: NAME,
    migrations: &["CREATE TABLE IF NOT EXISTS data (
            table_name TEXT NOT NULL,
            pk TEXT NOT NULL,
            row TEXT NOT NULL,
            updated_at INTEGER NOT NULL,
            PRIMARY KEY (table_name, pk)
        );
        CREATE INDEX IF NOT EXISTS data_updated_at ON data (table_name, updated_at);"],
};

/// How long another process that writes is waited for.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Where the database is.
pub(super) fn path(options: &Options) -> PathBuf {
    options.data.join(NAME)
}

/// Opens the database, makes it private, and inserts the account and the project if they are missing.
pub(super) fn open(options: &Options) -> Result<(Connection, Option<Recovery>), Error> {
    let path = path(options);
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&options.data)
        .map_err(|source| Error::File { path: options.data.clone(), source })?;
    make_private(&path).map_err(|source| Error::File { path: path.clone(), source })?;
    let opened = sqlite::open(&path, &SCHEMA, options.durability)?;
    // Recovery may have made another file.
    make_private(&path).map_err(|source| Error::File { path: path.clone(), source })?;
    let prepared = prepare(opened.connection, options);
    let connection = prepared.map_err(|source| sqlite::Error::Sqlite { path, source })?;
    Ok((connection, opened.recovery))
}

/// Keeps others from reading the file and what SQLite keeps beside it, which has its mode. The rows contain keys of services.
fn make_private(path: &Path) -> io::Result<()> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
    for suffix in ["", "-wal", "-shm"] {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        match fs::set_permissions(Path::new(&name), Permissions::from_mode(0o600)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

fn prepare(mut connection: Connection, options: &Options) -> rusqlite::Result<Connection> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    let identity = &options.identity;
    let transaction = connection.transaction()?;
    let rows = Rows(&transaction);
    let account = json!({"account_id": identity.account_id, "email_address": "user@cocalc.com"});
    let project = json!({"project_id": identity.project_id, "title": "CoCalc Lite", "state": {"state": "running"}});
    for (name, row) in [("accounts", account), ("projects", project)] {
        if let (Some(table), Value::Object(row)) = (Table::find(name), row)
            && let Some(key) = key(table, &row)
            && rows.find(table, &row)?.is_none()
        {
            rows.put(table, &key, &Value::Object(row).to_string())?;
        }
    }
    transaction.commit()?;
    Ok(connection)
}
