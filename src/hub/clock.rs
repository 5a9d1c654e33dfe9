//! The time service (conat-wire.md §15.4): clients compare their clocks with the server's.

use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    broker::peer::now_ms,
    bus::{
        Client, Result,
        service::{Call, Convention, Methods, ServiceOptions},
    },
};

/// The pattern the service listens to.
pub const PATTERN: &str = "time.*.api";

/// Starts the service; it can be reached when this returns. Its task ends when `until` is cancelled.
///
/// # Errors
/// The bus refuses the subscription.
pub async fn start(client: &Client, tasks: &TaskTracker, until: CancellationToken) -> Result<()> {
    let methods = Methods::new().method("time", |_: Call| async { Ok(now_ms()) });
    let service = methods.serve(client, PATTERN, Convention::Api, ServiceOptions::default()).await?;
    tasks.spawn(service.run(until));
    Ok(())
}
