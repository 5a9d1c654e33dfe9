//! After each sign-in: making the server's subscriptions what this client wants (conat-wire.md §11).

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};

use super::{Remote, refused};
use crate::bus::{Error, core::Core, socket::Backoff};

/// How long the server may take to list the subscriptions.
const LIST_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the server may take to make them.
const SUBSCRIBE_TIMEOUT: Duration = Duration::from_secs(60);
/// The first comparison comes so long after the first sign-in.
pub(super) const FIRST_DELAY: Duration = Duration::from_secs(3);
/// Pause between two comparisons; grows.
const PAUSE: Duration = Duration::from_millis(1300);
const MAX_PAUSE: Duration = Duration::from_secs(15);

/// Compares and repairs until nothing is missing. `fresh` is true on a new session after a lost one.
pub(super) async fn resync(core: Arc<Core>, delay: Duration, fresh: bool) {
    let Some(remote) = core.link().remote() else { return };
    tokio::time::sleep(delay).await;
    let mut pause = Backoff::new(PAUSE, MAX_PAUSE);
    let mut starting = fresh;
    if fresh {
        core.table.lock().renew_queues();
    }
    loop {
        match round(&core, remote, &mut starting).await {
            Ok(true) => return,
            Ok(false) => {}
            Err(Error::Disconnected | Error::Closed) => return,
            Err(error) => tracing::debug!(%error, "subscriptions could not be compared"),
        }
        tokio::time::sleep(pause.step()).await;
    }
}

/// One comparison; true when nothing was missing.
async fn round(core: &Core, remote: &Remote, starting: &mut bool) -> Result<bool, Error> {
    let listed = remote.emit_control("subscriptions", &Value::Null, LIST_TIMEOUT).await?;
    let listed: Vec<String> = serde_json::from_value(listed).map_err(|e| Error::Answer(e.to_string()))?;
    let (missing, extras) = {
        let table = core.table.lock();
        let missing: Vec<(String, String)> = table
            .wanted()
            .filter(|(pattern, _)| !listed.iter().any(|l| **l == ***pattern))
            .map(|(pattern, queue)| (pattern.to_string(), queue.to_string()))
            .collect();
        let extras: Vec<String> = listed.iter().filter(|l| !table.wants(l)).cloned().collect();
        (missing, extras)
    };
    if !extras.is_empty() {
        let extras: Vec<Value> = extras.iter().map(|pattern| json!({ "subject": pattern })).collect();
        remote.emit_control_sync("unsubscribe", &Value::Array(extras));
    }
    if *starting {
        register_services(core, remote);
    }
    if missing.is_empty() {
        begin(core, remote, starting);
        return Ok(true);
    }
    let wishes: Value = missing.iter().map(|(pattern, queue)| json!({"subject": pattern, "queue": queue})).collect();
    let answer = remote.emit_control("subscribe", &wishes, SUBSCRIBE_TIMEOUT);
    tokio::pin!(answer);
    // The subscribes are on their way once the future was polled: what the application sends comes behind them.
    let answer = match futures_util::poll!(&mut answer) {
        std::task::Poll::Ready(answer) => answer,
        std::task::Poll::Pending => {
            remote.outgoing.set_open(true);
            answer.await
        }
    }?;
    let answers = answer.as_array().ok_or_else(|| Error::Answer("subscribe was not answered by a list".into()))?;
    for ((pattern, _), answer) in missing.iter().zip(answers) {
        let result = refused(answer).map_or(Ok(()), Err);
        if let Err(error) = &result {
            tracing::debug!(pattern, %error, "a subscription was refused when it was made anew");
        }
        core.table.lock().confirm_any(pattern, result);
    }
    begin(core, remote, starting);
    Ok(false)
}

/// Everything that was subscribed is subscribed again.
fn begin(core: &Core, remote: &Remote, starting: &mut bool) {
    remote.outgoing.set_open(true);
    if std::mem::take(starting) {
        core.connected();
    }
}

/// Services for direct calls are registered again with one event (§20.5).
fn register_services(core: &Core, remote: &Remote) {
    let services = core.calls.registered();
    if !services.is_empty() {
        let services = services.iter().map(|(pattern, queue)| json!({"subject": &**pattern, "queue": &**queue}));
        remote.emit_control_sync("rpc-service", &services.collect());
    }
}
