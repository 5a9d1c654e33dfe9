//! Blobs in a real store.

use std::time::Duration;

use tempfile::TempDir;

use super::*;
use crate::{config::Durability, persist::store::StoreOptions};

fn store(folder: &TempDir) -> Store {
    Store::open(StoreOptions {
        path: folder.path().join("streams.db"),
        durability: Durability::Full,
        release_grace: Duration::ZERO,
        observer: None,
    })
    .unwrap()
}

async fn put(blobs: &Blobs, content: &[u8], ttl: Option<u64>) -> Identifier {
    let id = Identifier::of(content);
    let mut draft = Draft::new(content.len());
    draft.buffer().extend_from_slice(content);
    blobs.put(&id, draft, ttl).await.unwrap();
    id
}

#[tokio::test]
async fn blobs_are_found_listed_and_deleted() {
    let folder = TempDir::new().unwrap();
    let store = store(&folder);
    let blobs = Blobs::open(&store).await.unwrap();
    let large = vec![7; 3_000_000];
    let ids = [put(&blobs, b"one", None).await, put(&blobs, &large, None).await, put(&blobs, b"", Some(60_000)).await];
    assert_eq!(blobs.get(&ids[0]).await.unwrap().unwrap(), "one");
    assert_eq!(blobs.get(&ids[1]).await.unwrap().unwrap(), large);
    assert_eq!(blobs.get(&Identifier::of(b"two")).await.unwrap(), None);
    let list = blobs.list(0, 10).await.unwrap();
    assert_eq!(list.iter().map(|about| &about.id).collect::<Vec<_>>(), ids.iter().collect::<Vec<_>>());
    assert_eq!(
        list.iter().map(|about| (about.size, about.ttl)).collect::<Vec<_>>(),
        [(3, None), (3_000_000, None), (0, Some(60_000))]
    );
    assert_eq!(blobs.list(0, 1).await.unwrap(), list[..1]);
    assert_eq!(blobs.list(list[0].seq, 10).await.unwrap(), list[1..]);
    assert!(blobs.delete(&ids[0]).await.unwrap());
    assert!(!blobs.delete(&ids[0]).await.unwrap());
    assert_eq!(blobs.get(&ids[0]).await.unwrap(), None);
    assert_eq!(blobs.list(0, 10).await.unwrap(), list[1..]);
}

#[tokio::test]
async fn a_blob_keeps_the_longer_life() {
    let folder = TempDir::new().unwrap();
    let store = store(&folder);
    let blobs = Blobs::open(&store).await.unwrap();
    let lives = async || blobs.list(0, 10).await.unwrap().iter().map(|about| about.ttl).collect::<Vec<_>>();
    put(&blobs, b"x", Some(1_000_000)).await;
    put(&blobs, b"x", Some(500_000)).await;
    assert_eq!(lives().await, [Some(1_000_000)]);
    put(&blobs, b"x", Some(2_000_000)).await;
    assert_eq!(lives().await, [Some(2_000_000)]);
    put(&blobs, b"x", None).await;
    put(&blobs, b"x", Some(1000)).await;
    assert_eq!(lives().await, [None]);
}

#[tokio::test]
async fn a_check_finds_what_is_not_what_its_name_says() {
    let folder = TempDir::new().unwrap();
    let store = store(&folder);
    let streams = folder.path().join("streams.db");
    let blobs = Blobs::open(&store).await.unwrap();
    put(&blobs, b"one", None).await;
    put(&blobs, &vec![1; 2_000_000], None).await;
    assert_eq!(verify(&streams, |_, _| {}).unwrap(), Findings { sound: 2, damaged: Vec::new() });
    let stream = store.stream(STORAGE_PATH, OpenOptions::default()).await.unwrap();
    let wrong =
        Set { raw: Bytes::from_static(b"\xc4\x03two"), key: Some(Identifier::of(b"one").key()), ..Set::default() };
    stream.set(wrong).await.unwrap().await.unwrap();
    let damaged = vec![Identifier::of(b"one").to_string()];
    assert_eq!(verify(&streams, |_, _| {}).unwrap(), Findings { sound: 1, damaged });
}
