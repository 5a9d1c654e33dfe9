//! System services: statistics and control for administrators (conat-wire.md §16).
//!
//! Every server answers on the subject of all servers, and on one of its own. Clustering is not part of this server, so the
//! cluster has one member and cannot be joined.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::task::spawn_blocking;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    broker::Broker,
    bus::{
        Client, Error, Result,
        service::{Call, Convention, Methods, ServiceOptions},
    },
};

/// What stands for a missing cluster name in subjects.
const DEFAULT_CLUSTER: &str = "default";
/// Methods that make sense for one server only.
const PER_SERVER: [&str; 5] = ["join", "unjoin", "clusterTopology", "clusterAddresses", "interestSnapshot"];

/// The subject that all servers of a cluster answer.
pub fn all_servers(broker: &Broker) -> String {
    format!("sys.conat.{}", broker.cluster_name().unwrap_or(DEFAULT_CLUSTER))
}

/// The subject that only this server answers.
pub fn this_server(broker: &Broker) -> String {
    format!("{}.{}", all_servers(broker), broker.server_id())
}

/// Starts the services; they can be reached when this returns. Their tasks end when `until` is cancelled. `client` has to be
/// allowed to listen on `sys.…`.
///
/// # Errors
/// The bus refuses a subscription.
pub async fn start(client: &Client, broker: &Arc<Broker>, tasks: &TaskTracker, until: CancellationToken) -> Result<()> {
    // The literal text stands for a missing cluster name.
    let group = format!("{}-{}", broker.cluster_name().unwrap_or("undefined"), broker.server_id());
    let all = PER_SERVER.into_iter().fold(common(broker), |methods, name| {
        methods.method(name, move |_: Call| async move {
            Err::<(), _>(Error::message(format!("wrong service: '{name}' has to be called on one server's subject")))
        })
    });
    let one = common(broker)
        .method("join", |_: Call| async { Err::<(), _>(no_clustering()) })
        .method("unjoin", |_: Call| async { Err::<(), _>(no_clustering()) })
        .method("interestSnapshot", {
            let broker = broker.clone();
            move |_: Call| {
                let broker = broker.clone();
                // There may be a million subscriptions.
                let interest = spawn_blocking(move || broker.interest());
                async move { interest.await.map_err(|error| Error::message(error.to_string())) }
            }
        })
        .method(
            "clusterTopology",
            on(broker, |broker, _| {
                let name = broker.cluster_name().unwrap_or(DEFAULT_CLUSTER);
                Ok(json!({ name: { broker.server_id(): broker.address() } }))
            }),
        )
        .method(
            "clusterAddresses",
            on(broker, |broker, call| {
                let asked: Option<String> = call.arg(0)?;
                let own = broker.cluster_name().unwrap_or(DEFAULT_CLUSTER);
                Ok(if asked.is_none_or(|name| name == own) { json!([broker.address()]) } else { json!([]) })
            }),
        );
    let options = ServiceOptions::queue(&group);
    let all = all.serve(client, &all_servers(broker), Convention::MethodArray, options).await?;
    let options = ServiceOptions::default();
    let one = one.serve(client, &this_server(broker), Convention::MethodArray, options).await?;
    tasks.spawn(async move {
        tokio::join!(all.run(until.clone()), one.run(until));
    });
    Ok(())
}

fn no_clustering() -> Error {
    Error::message("clustering is not part of this server")
}

/// A method that reads the broker.
fn on(
    broker: &Arc<Broker>,
    method: fn(&Broker, &Call) -> Result<Value>,
) -> impl Fn(Call) -> std::future::Ready<Result<Value>> + Send + Sync + 'static {
    let broker = broker.clone();
    move |call| std::future::ready(method(&broker, &call))
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Ids {
    One(String),
    Many(Vec<String>),
}

/// Methods of both subjects.
fn common(broker: &Arc<Broker>) -> Methods {
    Methods::new()
        .method(
            "stats",
            on(broker, |broker, _| {
                let peers = broker.peers();
                let stats: serde_json::Map<_, _> = peers.iter().map(|p| (p.sid.to_string(), p.stats())).collect();
                Ok(json!({ broker.server_id(): stats }))
            }),
        )
        .method("usage", on(broker, |broker, _| Ok(json!({ broker.server_id(): broker.usage() }))))
        .method(
            "disconnect",
            on(broker, |broker, call| {
                match call.arg(0)? {
                    Ids::One(id) => broker.disconnect(&id),
                    Ids::Many(ids) => ids.iter().for_each(|id| broker.disconnect(id)),
                }
                Ok(Value::Null)
            }),
        )
}
