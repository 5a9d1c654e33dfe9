//! The metadata of a stream (§17.4).

use rusqlite::{Connection, OptionalExtension};
use serde_json::Value;

use super::{Engine, Failure, Target};
use crate::persist::store::{Error, feed::Change};

/// Readers of ranges get the metadata along, so they are limited.
const MAX_BYTES: usize = 8 << 20;

impl Engine {
    pub(super) fn set_metadata(
        &mut self,
        target: &mut Target<'_>,
        value: Option<&Value>,
    ) -> Result<Option<Value>, Failure> {
        // Null is stored for nothing, and reads back as nothing.
        let value = value.filter(|value| !value.is_null());
        match value {
            Some(value) => {
                let text = value.to_string();
                if text.len() > MAX_BYTES {
                    return Err(Error::Invalid(format!("metadata may have {MAX_BYTES} bytes at most")).into());
                }
                let stream = target.state.ensure_id(&self.connection, target.instance)?;
                self.connection
                    .prepare_cached("INSERT OR REPLACE INTO metadata (stream, value) VALUES (?1, ?2)")?
                    .execute((stream, text))?;
                target.touch();
            }
            None => {
                if let Some(stream) = target.state.id {
                    self.connection.prepare_cached("DELETE FROM metadata WHERE stream = ?1")?.execute([stream])?;
                    target.touch();
                }
            }
        }
        target.changes.push(Change::Metadata(value.cloned()));
        Ok(value.cloned())
    }

    pub(super) fn patch_metadata(
        &mut self,
        target: &mut Target<'_>,
        delta: Option<&Value>,
    ) -> Result<Option<Value>, Failure> {
        let old = target.state.id.map(|stream| read_metadata(&self.connection, stream)).transpose()?.flatten();
        match (old, delta) {
            (Some(Value::Object(mut merged)), Some(Value::Object(delta))) => {
                merged.extend(delta.clone());
                self.set_metadata(target, Some(&Value::Object(merged)))
            }
            _ => self.set_metadata(target, delta),
        }
    }
}

/// The metadata of a stream.
pub(in crate::persist::store) fn read_metadata(
    connection: &Connection,
    stream: i64,
) -> rusqlite::Result<Option<Value>> {
    let mut select = connection.prepare_cached("SELECT value FROM metadata WHERE stream = ?1")?;
    let text: Option<String> = select.query_row([stream], |row| row.get(0)).optional()?;
    Ok(text.and_then(|text| serde_json::from_str(&text).ok()))
}
