//! The hub's API: what clients call on `hub.account.<id>.api` and `hub.project.<id>.api` (hub.md §7).
//!
//! [`functions`] lists what there is, each function with the class that says how the caller's identity gets into its
//! arguments ([`class`]). Everything else is "not implemented", which clients survive.

mod class;
mod functions;
mod report;
mod session;
#[cfg(test)]
mod tests;

use std::{path::PathBuf, sync::Arc};

use serde_json::Value;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{class::Class, functions::FUNCTIONS, report::Reports, session::Sessions};
use super::{
    database::Database,
    identity::Caller,
    query::{Actor, value::plain},
};
use crate::{
    bus::{
        Client, Error, Failure, Result,
        service::{Call, Convention, Methods, ServiceOptions},
    },
    config::Identity,
};

/// The pattern the API listens to.
pub const PATTERN: &str = "hub.*.*.api";

/// Longest name of a function that is repeated to whoever called it.
const MAX_NAME_CHARS: usize = 64;

/// What the API works with.
#[derive(Debug)]
pub struct Api {
    database: Database,
    identity: Identity,
    home: PathBuf,
    reports: Reports,
    sessions: Sessions,
}

/// Starts the API; it can be reached when this returns. Its task ends when `until` is cancelled. `home` is the project's.
///
/// # Errors
/// The bus refuses the subscription.
pub async fn start(
    client: &Client,
    database: Database,
    identity: Identity,
    home: PathBuf,
    tasks: &TaskTracker,
    until: CancellationToken,
) -> Result<()> {
    let api = Arc::new(Api { database, identity, home, reports: Reports::default(), sessions: Sessions::default() });
    let methods = Methods::new().otherwise(move |call| {
        let api = api.clone();
        async move { api.call(&call).await }
    });
    let service = methods.serve(client, PATTERN, Convention::Api, ServiceOptions::default()).await?;
    tasks.spawn(service.run(until));
    Ok(())
}

/// A call of a function, after its class has had a look at it.
#[derive(Debug)]
struct Request {
    args: Vec<Value>,
    caller: Caller,
}

impl Request {
    /// A field of the first argument.
    fn field(&self, name: &str) -> Option<&Value> {
        self.args.first()?.get(name)
    }

    /// A text among the fields of the first argument.
    fn text(&self, name: &str) -> Option<&str> {
        self.field(name)?.as_str()
    }
}

impl Api {
    async fn call(&self, call: &Call) -> Result<Value> {
        let name = call.name();
        let function = FUNCTIONS.iter().find(|function| function.name == name);
        let function = function.ok_or_else(|| not_implemented(name, call.subject()))?;
        let caller = Caller::of(call.subject());
        let args = call.to_json().into_iter().map(plain).collect();
        let args = function.class.admit(args, &caller)?;
        let request = Request { args, caller };
        match function.run(self, request).await? {
            Some(value) => Ok(value),
            None => Err(not_implemented(name, call.subject())),
        }
    }

    /// On whose behalf a caller queries. The one project acts for the one account.
    fn actor(&self, caller: &Caller) -> Result<Actor> {
        let project_id = self.identity.project_id.clone();
        match caller {
            Caller::Account(id) => Ok(Actor { account_id: id.clone(), project_id, is_project: false }),
            Caller::Project(id) if *id == project_id => {
                Ok(Actor { account_id: self.identity.account_id.clone(), project_id, is_project: true })
            }
            Caller::Project(_) | Caller::Nobody => Err(Error::failure("user must be signed in", 403)),
        }
    }
}

fn not_implemented(name: &str, subject: &str) -> Error {
    let name: String = name.chars().take(MAX_NAME_CHARS).collect();
    let mut failure =
        Failure { message: format!("not implemented function '{name}'"), code: Some(404.into()), ..Failure::default() };
    failure.attributes.insert("subject".into(), subject.into());
    Error::Failure(Box::new(failure))
}
