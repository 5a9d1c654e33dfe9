//! The server's own status, for its page and for `outpost status`.
//!
//! `outpost.account-<id>.status` gets the numbers every second while somebody listens; `outpost.account-<id>.api` answers
//! questions. The second token is the account's, so the account may use both.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde::Deserialize;
use serde_json::{Value, json};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    broker::{Broker, Direction, User, peer::now_ms},
    bus::{
        Client, Error, PublishOptions, Result,
        service::{Call, Convention, Methods, ServiceOptions},
    },
    wire::subject,
};

/// Time between two reports.
const PERIOD: Duration = Duration::from_secs(1);
/// How long one looks out for a listener before looking anew. The broker caps it.
const PATIENCE: Duration = Duration::from_secs(90);
/// Records of the flight recorder in one answer, unless asked for fewer.
const MAX_RECORDS: usize = 1000;

/// What the process uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Resident memory.
    pub rss_bytes: u64,
    /// CPU time since start.
    pub cpu_ms: u64,
    /// Terminal sessions.
    pub sessions: u64,
}

/// What the status tells beside what the broker knows.
pub struct Facts {
    /// The account that may ask.
    pub account_id: String,
    /// The one project.
    pub project_id: String,
    /// The program's version.
    pub version: String,
    /// When the server started.
    pub started: Instant,
    /// Looks at the process.
    pub usage: Box<dyn Fn() -> Usage + Send + Sync>,
}

impl std::fmt::Debug for Facts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Facts").field("account_id", &self.account_id).finish_non_exhaustive()
    }
}

/// Where the numbers are published.
pub fn status_subject(account_id: &str) -> String {
    format!("outpost.account-{account_id}.status")
}

/// Where questions are answered.
pub fn api_subject(account_id: &str) -> String {
    format!("outpost.account-{account_id}.api")
}

/// Starts the service; it can be reached when this returns. Its tasks end when `until` is cancelled.
///
/// # Errors
/// The bus refuses the subscription.
pub async fn start(
    client: &Client,
    broker: &Arc<Broker>,
    facts: Facts,
    tasks: &TaskTracker,
    until: CancellationToken,
) -> Result<()> {
    let status = Arc::new(Status { broker: broker.clone(), facts });
    let methods = Methods::new()
        .method("status", status.method(|status, _| Ok(status.numbers())))
        .method("flight", status.method(Status::flight))
        .method("why", status.method(Status::why))
        .method("connections", status.method(|status, _| Ok(status.connections())));
    let api = api_subject(&status.facts.account_id);
    let service = methods.serve(client, &api, Convention::MethodArray, ServiceOptions::default()).await?;
    tasks.spawn(service.run(until.clone()));
    let client = client.clone();
    tasks.spawn(async move {
        tokio::select! {
            () = status.publish(&client) => {}
            () = until.cancelled() => {}
        }
    });
    Ok(())
}

struct Status {
    broker: Arc<Broker>,
    facts: Facts,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct FlightQuery {
    after: Option<u64>,
    limit: Option<usize>,
    filter: Option<String>,
}

#[derive(Debug, Deserialize)]
struct WhyQuery {
    direction: String,
    subject: String,
    #[serde(rename = "as")]
    user: Option<String>,
}

impl Status {
    fn method(
        self: &Arc<Self>,
        method: fn(&Status, &Call) -> Result<Value>,
    ) -> impl Fn(Call) -> std::future::Ready<Result<Value>> + Send + Sync + 'static {
        let status = self.clone();
        move |call| std::future::ready(method(&status, &call))
    }

    /// Publishes the numbers while somebody listens; sleeps while nobody does.
    async fn publish(&self, client: &Client) {
        let subject = status_subject(&self.facts.account_id);
        loop {
            match client.wait_for_interest(&subject, PATIENCE).await {
                Ok(true) => self.publish_while_heard(client, &subject).await,
                Ok(false) => {}
                Err(Error::Closed) => return,
                Err(error) => {
                    tracing::debug!(%error, "nobody can listen to the status");
                    tokio::time::sleep(PERIOD).await;
                }
            }
        }
    }

    async fn publish_while_heard(&self, client: &Client, subject: &str) {
        let mut ticks = tokio::time::interval(PERIOD);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let published = client.publish(subject, &self.numbers(), PublishOptions::default()).await;
            if !matches!(published, Ok(published) if published.count > 0) {
                return;
            }
        }
    }

    fn numbers(&self) -> Value {
        let counters = self.broker.counters();
        let usage = (self.facts.usage)();
        json!({
            "time": now_ms(),
            "uptime_ms": self.facts.started.elapsed().as_millis() as u64,
            "version": self.facts.version,
            "server_id": self.broker.server_id(),
            "connections": counters.connections.get(),
            "subscriptions": counters.subscriptions.get(),
            "messages_in": counters.messages_in.get(),
            "messages_out": counters.messages_out.get(),
            "bytes_in": counters.bytes_in.get(),
            "bytes_out": counters.bytes_out.get(),
            "drops": counters.drops.get(),
            "slow_readers": counters.slow_readers.get(),
            "rss_bytes": usage.rss_bytes,
            "cpu_ms": usage.cpu_ms,
            "sessions": usage.sessions,
        })
    }

    fn flight(&self, call: &Call) -> Result<Value> {
        let query: Option<FlightQuery> = call.arg(0)?;
        let FlightQuery { after, limit, filter } = query.unwrap_or_default();
        let limit = limit.unwrap_or(MAX_RECORDS).min(MAX_RECORDS);
        let (next, records) =
            self.broker.flight().since(after.unwrap_or(0), limit, filter.as_deref().unwrap_or_default());
        let records: Vec<Value> = records.iter().map(|record| record.to_json()).collect();
        Ok(json!({"next": next, "records": records}))
    }

    fn why(&self, call: &Call) -> Result<Value> {
        let query: WhyQuery = call.arg(0)?;
        let (direction, is_valid) = match query.direction.as_str() {
            "pub" => (Direction::Publish, subject::is_valid_subject(&query.subject)),
            "sub" => (Direction::Subscribe, subject::is_valid_pattern(&query.subject)),
            _ => return Err(Error::failure("direction must be 'pub' or 'sub'", 400)),
        };
        if !is_valid {
            return Ok(json!({"allowed": false, "rule": "not a valid subject"}));
        }
        let user = self.user(query.user.as_deref().unwrap_or("account"))?;
        let verdict = self.broker.policy().decide(&user, direction, &query.subject);
        let verdict = verdict.map_err(|error| Error::message(error.to_string()))?;
        Ok(json!({"allowed": verdict.allowed, "rule": verdict.rule}))
    }

    fn user(&self, name: &str) -> Result<User> {
        Ok(match name.split_once(':').unwrap_or((name, "")) {
            ("account", "") => User::account(&self.facts.account_id),
            ("project", "") => User::project(&self.facts.project_id),
            ("account", id) => User::account(id),
            ("project", id) => User::project(id),
            ("system", "") => User::system(),
            ("anonymous", "") => User::anonymous(),
            _ => {
                let allowed = "allowed: account, project, system, anonymous, account:ID, project:ID";
                return Err(Error::failure(format!("as '{name}': {allowed}"), 400));
            }
        })
    }

    fn connections(&self) -> Value {
        let peers = self.broker.peers();
        let connection = |peer: &Arc<crate::broker::Peer>| {
            let mut stats = peer.stats();
            if let Value::Object(map) = &mut stats {
                map.insert("id".into(), (&*peer.sid).into());
                // The number by which the flight recorder names it.
                map.insert("conn".into(), peer.id.into());
            }
            stats
        };
        peers.iter().map(connection).collect()
    }
}
