//! Why a query fails, in the words clients get (hub.md §8.7).
//!
//! Clients close a table for good when a text contains "FATAL"; none of ours does.

use thiserror::Error;

/// Longest name that is repeated to whoever sent it.
const MAX_NAME_CHARS: usize = 64;

/// Why a query fails.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Error {
    /// Not an object with one table, or not a pattern under it.
    #[error("invalid query")]
    Invalid,
    /// Options are something else.
    #[error("options must be an array")]
    Options,
    /// Too many queries in one request.
    #[error("too many queries in one request")]
    TooMany,
    /// There is no such table.
    #[error("unknown table '{0}'")]
    UnknownTable(String),
    /// There is no such field.
    #[error("unknown field '{1}' of table '{0}'")]
    UnknownField(&'static str, String),
    /// A set or delete without key.
    #[error("set query requires primary key fields for '{0}'")]
    NoKey(&'static str),
    /// The field is not for clients to set.
    #[error("field '{1}' of table '{0}' may not be set")]
    NotSettable(&'static str, String),
    /// Another account's or project's row.
    #[error("field '{1}' of table '{0}' must be your own")]
    NotOwn(&'static str, String),
    /// Rows of this table stay.
    #[error("rows of table '{0}' may not be deleted")]
    NotDeletable(&'static str),
    /// Projects are kept out of the table.
    #[error("table '{0}' is for accounts only")]
    AccountsOnly(&'static str),
    /// There is no such setting.
    #[error("unknown setting '{0}'")]
    UnknownSetting(String),
    /// The row would be too large.
    #[error("a row of table '{0}' would be too large")]
    RowTooLarge(&'static str),
    /// The answer would be too large.
    #[error("the result from table '{0}' is too large: ask for fewer rows or fields")]
    ResultTooLarge(&'static str),
    /// A feed of several queries.
    #[error("changefeeds only implemented for single table queries")]
    FeedOfMany,
    /// A feed of one row, or a set.
    #[error("changefeeds only implemented for array queries")]
    FeedOfObject,
    /// The database says no; the log says why.
    #[error("the database can't do that now")]
    Database,
    /// The server is going down.
    #[error("the database is closed")]
    Closed,
}

/// A name as it may be repeated.
pub(super) fn name(name: &str) -> String {
    name.chars().take(MAX_NAME_CHARS).map(|c| if c.is_control() { '?' } else { c }).collect()
}

impl From<Error> for crate::bus::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Database | Error::Closed => crate::bus::Error::failure(error.to_string(), 500),
            Error::UnknownTable(_) => crate::bus::Error::failure(error.to_string(), 404),
            _ => crate::bus::Error::message(error.to_string()),
        }
    }
}
