//! User queries: the frontend's way to read and write account data, settings and logs (hub.md §8).
//!
//! A [`Request`] is read from what a client sent ([`Request::read`]) and executed on the database's thread. Nothing here knows
//! SQL: [`get`] filters and projects rows, [`set`] merges and checks them.

mod error;
pub mod get;
mod pattern;
pub mod set;
pub mod value;

use serde_json::Value;

pub use error::Error;

use super::schema::{Row, Table};

/// Queries in one request.
const MAX_QUERIES: usize = 10_000;

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// The account that acts.
    pub account_id: String,
    /// The one project.
    pub project_id: String,
    /// Whether the project asks, on the account's behalf.
    pub is_project: bool,
}

/// What is done with a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Reads rows.
    Get(Order),
    /// Merges the pattern into a row.
    Set,
    /// Removes a row.
    Delete,
}

/// In which order rows come, and how many.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Order {
    /// The field, and whether the greatest comes first.
    pub by: Option<(String, bool)>,
    /// At most so many.
    pub limit: Option<usize>,
}

/// One query of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// The table.
    pub table: &'static Table,
    /// What the client wrote under the table's name.
    pub pattern: Row,
    /// Whether the pattern stood in an array, so that all matches are wanted.
    pub is_list: bool,
    /// What to do.
    pub action: Action,
}

/// A request with one query or several.
#[derive(Clone, Debug)]
pub enum Request {
    /// `{T: …}`
    One(Query),
    /// `[{T: …}, …]`; those before the first that can't be read are executed.
    Many(Vec<Result<Query, Error>>),
}

impl Request {
    /// Reads a request. `options` may be missing.
    ///
    /// # Errors
    /// The query or the options are malformed.
    pub fn read(query: Value, options: Option<Value>, actor: &Actor) -> Result<Request, Error> {
        let options = pattern::Options::read(options)?;
        match query {
            Value::Array(queries) if queries.len() > MAX_QUERIES => Err(Error::TooMany),
            Value::Array(queries) => {
                Ok(Request::Many(queries.into_iter().map(|query| pattern::read(query, &options, actor)).collect()))
            }
            query => Ok(Request::One(pattern::read(query, &options, actor)?)),
        }
    }

    /// Reads the query of a changefeed: one table, an array pattern, a get.
    ///
    /// # Errors
    /// It is something else.
    pub fn read_feed(query: Value, options: Option<Value>, actor: &Actor) -> Result<Query, Error> {
        if query.is_array() {
            return Err(Error::FeedOfMany);
        }
        let query = pattern::read(query, &pattern::Options::read(options)?, actor)?;
        match query.action {
            Action::Get(_) if query.is_list => Ok(query),
            _ => Err(Error::FeedOfObject),
        }
    }
}
