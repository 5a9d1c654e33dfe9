//! Large values.

use super::*;
use basics::noise;

fn rows(fixture: &Fixture, table: &str) -> i64 {
    let connection = rusqlite::Connection::open(fixture.dir.path().join("streams.db")).unwrap();
    connection.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
}

#[tokio::test]
async fn large_values_are_kept_in_pieces_and_go_with_their_message() {
    let fixture = Fixture::new();
    let stream = fixture.stream("hub/a").await;
    let (dense, thin) = (noise(20_000_001), vec![7; 5 << 20]);
    let mut half = noise(2 << 20);
    half.extend(vec![1; 3 << 20]);
    for (key, raw) in [("dense", &dense), ("thin", &thin), ("half", &half)] {
        stream.put(keyed(key, raw.clone())).await.unwrap();
        assert_eq!(stream.get(Selector::Key(key.into())).await.unwrap().unwrap().raw, *raw);
    }
    assert_eq!(rows(&fixture, "pieces"), 20 + 5 + 5);
    let raws: Vec<_> = stream.all().await.into_iter().map(|stored| stored.raw.len()).collect();
    assert_eq!(raws, [dense.len(), thin.len(), half.len()]);
    stream.put(keyed("dense", "small")).await.unwrap();
    assert_eq!(rows(&fixture, "pieces"), 10);
    stream.config(serde_json::json!({"max_msgs": 2})).await.unwrap();
    assert_eq!(rows(&fixture, "pieces"), 5);
    stream.remove(Deletion::All).await;
    assert_eq!(rows(&fixture, "pieces"), 0);
}

#[tokio::test]
async fn a_value_larger_than_the_queue_goes_alone() {
    let fixture = Fixture::with(|tuning| tuning.queue_bytes = 1 << 20);
    let stream = fixture.stream("hub/a").await;
    let raw = noise(3 << 20);
    let writes = (0..3).map(|_| stream.put(message(raw.clone())));
    for (written, seq) in futures_util::future::join_all(writes).await.into_iter().zip(1..) {
        assert_eq!(written.unwrap().seq, seq);
    }
}

#[tokio::test]
async fn large_ephemeral_values_are_discarded_whole() {
    let fixture = Fixture::with(|tuning| tuning.ephemeral_bytes = 24 << 20);
    for _ in 0..4 {
        let stream = fixture.ephemeral("hub/e").await;
        stream.put(message(noise(16 << 20))).await.unwrap();
        assert_eq!(stream.seqs().await, [1]);
        drop(stream);
        fixture.released().await;
    }
}
