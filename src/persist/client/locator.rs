//! Which server serves a scope (conat-persist.md §2.4).

use std::{collections::HashMap, time::Duration};

use parking_lot::Mutex;
use tokio::time::Instant;

use super::{Error, Result};
use crate::bus::{Client, RequestOptions};

/// Answers remembered at most; beyond that all are forgotten, which only costs a question.
const MAX_SCOPES: usize = 10_000;

#[derive(Debug)]
struct Known {
    server: String,
    at: Instant,
    /// The connection on which it was asked for.
    generation: u64,
}

/// What is known of scopes.
#[derive(Debug, Default)]
pub(super) struct Locator {
    known: Mutex<HashMap<String, Known>>,
}

impl Locator {
    /// The id of the server; `base` is the service and the scope.
    pub async fn server(&self, client: &Client, base: &str, timeout: Duration, lifetime: Duration) -> Result<String> {
        let generation = client.status().borrow().generation;
        if let Some(known) = self.known.lock().get(base)
            && known.generation == generation
            && known.at.elapsed() < lifetime
        {
            return Ok(known.server.clone());
        }
        let options = RequestOptions { timeout, ..RequestOptions::default() };
        let answer = client.request(&format!("{base}.id"), &(), options).await?;
        let server: String = answer.decode()?;
        // It becomes a token of a subject.
        if server.is_empty() || server.contains(|c: char| c == '.' || c == '*' || c == '>' || c.is_whitespace()) {
            return Err(Error::Answer("the id of a server that can't be one".into()));
        }
        let mut known = self.known.lock();
        if known.len() >= MAX_SCOPES {
            known.clear();
        }
        known.insert(base.to_owned(), Known { server: server.clone(), at: Instant::now(), generation });
        Ok(server)
    }

    /// A socket was lost: the server may be another one now.
    pub fn forget(&self) {
        self.known.lock().clear();
    }
}
