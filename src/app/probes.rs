//! What the watchdog asks before it tells systemd that all is well.

use crate::{bus::Client, host::watchdog::Probe, persist::store::Store};

/// The subject that nobody but the probe uses.
const SUBJECT: &str = "outpost.probe";

/// Asks the bus for a whole round: a subscription, a message, its delivery.
pub(super) fn bus(client: &Client) -> Probe {
    let client = client.clone();
    Probe::new("bus", move || {
        let client = client.clone();
        async move { round(&client).await.map_err(|error| error.to_string()) }
    })
}

/// Asks the thread that writes streams.
pub(super) fn streams(store: &Store) -> Probe {
    let store = store.clone();
    Probe::new("streams", move || {
        let store = store.clone();
        async move { store.probe().await.map_err(|error| error.to_string()) }
    })
}

async fn round(client: &Client) -> crate::bus::Result<()> {
    let mut heard = client.subscribe(SUBJECT).await?;
    client.publish_sync(SUBJECT, &(), None)?;
    heard.recv().await.map(drop)
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering::Relaxed},
        time::Duration,
    };

    use super::*;
    use crate::{broker::User, bus::testing, config::Durability, host::watchdog::watch, persist::store::StoreOptions};

    #[tokio::test]
    async fn the_writer_of_streams_answers_until_it_is_closed() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(StoreOptions {
            path: folder.path().join("streams.db"),
            durability: Durability::Normal,
            release_grace: Duration::ZERO,
            observer: None,
        });
        let store = store.unwrap();
        store.probe().await.unwrap();
        store.close().await;
        assert!(store.probe().await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn the_bus_answers_until_its_client_is_gone() {
        let client = Client::in_process(&testing::broker(), User::system());
        let signs = AtomicUsize::new(0);
        let every = Duration::from_secs(10);
        let watching = watch(every, vec![bus(&client)], || {
            signs.fetch_add(1, Relaxed);
        });
        let mut watching = std::pin::pin!(watching);
        let _ = tokio::time::timeout(every * 3 - every / 10, &mut watching).await;
        assert_eq!(signs.load(Relaxed), 3);
        client.close();
        let _ = tokio::time::timeout(every * 3, watching).await;
        assert_eq!(signs.load(Relaxed), 3);
    }
}
