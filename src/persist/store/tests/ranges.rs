//! Ranges and their snapshots.

use super::*;

async fn seqs_of(stream: &Stream, range: Range) -> (Vec<u64>, Pages) {
    let mut pages = stream.range(range).await.unwrap();
    let mut seqs = Vec::new();
    loop {
        let page = pages.next(1).await.unwrap();
        assert!(page.len() <= 1, "one at least, and not many more than asked for");
        let Some(stored) = page.first() else { return (seqs, pages) };
        seqs.push(stored.seq);
    }
}

fn range(start: impl Into<Option<u64>>, end: impl Into<Option<u64>>) -> Range {
    Range { start: start.into(), end: end.into(), start_checkpoint: None }
}

#[tokio::test]
async fn persist_044_045_121_122_bounds_are_inclusive_and_reported() {
    let fixture = Fixture::new();
    for stream in [fixture.stream("hub/a").await, fixture.ephemeral("hub/e").await] {
        let (seqs, pages) = seqs_of(&stream, range(5, None)).await;
        assert_eq!((seqs, pages.effective_start, pages.oldest, pages.newest), (vec![], Some(5), None, None));
        for n in 0..8 {
            stream.put(message(vec![n])).await.unwrap();
        }
        stream.remove(Deletion::UpTo(2)).await;
        let bounds = |pages: &Pages| (pages.effective_start, pages.oldest, pages.newest);
        let (seqs, pages) = seqs_of(&stream, range(None, None)).await;
        assert_eq!((seqs, bounds(&pages)), (vec![3, 4, 5, 6, 7, 8], (Some(3), Some(3), Some(8))));
        let (seqs, pages) = seqs_of(&stream, range(4, 6)).await;
        assert_eq!((seqs, bounds(&pages)), (vec![4, 5, 6], (Some(4), Some(3), Some(8))));
        for (start, end) in [(6, 5), (9, u64::MAX), (u64::MAX, u64::MAX), (0, 0)] {
            assert!(seqs_of(&stream, range(start, end)).await.0.is_empty());
        }
        let new = NewCheckpoint { name: "c".into(), seq: Some(6), time: None, data: None };
        stream.set_checkpoint(new).await.unwrap().await.unwrap();
        let from = |start, name: &str| Range { start_checkpoint: Some(name.into()), ..range(start, None) };
        let (seqs, pages) = seqs_of(&stream, from(Some(0), "c")).await;
        assert_eq!((seqs, pages.effective_start, pages.checkpoints["c"].seq), (vec![6, 7, 8], Some(6), 6));
        assert_eq!(seqs_of(&stream, from(Some(7), "c")).await.0, [7, 8]);
        assert_eq!(seqs_of(&stream, from(None, "unknown")).await.0.len(), 6);
    }
}

/// More than is read at once.
async fn large(stream: &Stream, count: u64) {
    let sets = (0..count).map(|n| message(vec![n as u8; 10_000])).collect();
    stream.set_many(sets).await.unwrap().await.unwrap();
}

async fn rest(pages: &mut Pages) -> Vec<u64> {
    let mut seqs = Vec::new();
    loop {
        let page = pages.next(50_000).await.unwrap();
        if page.is_empty() {
            return seqs;
        }
        assert!(page.len() < 10);
        seqs.extend(page.iter().map(|stored| stored.seq));
    }
}

#[tokio::test]
async fn a_snapshot_stays_as_it_was() {
    let fixture = Fixture::new();
    let stream = fixture.stream("hub/a").await;
    large(&stream, 100).await;
    let mut pages = stream.range(Range::default()).await.unwrap();
    stream.remove(Deletion::All).await;
    large(&stream, 5).await;
    assert_eq!(rest(&mut pages).await, (1..=100).collect::<Vec<_>>());
    assert_eq!(stream.seqs().await, [101, 102, 103, 104, 105]);
    // It outlives its handles.
    let mut pages = stream.range(Range::default()).await.unwrap();
    drop(stream);
    assert_eq!(rest(&mut pages).await.len(), 5);
}

#[tokio::test]
async fn ephemeral_range_leaves_out_what_was_deleted_since() {
    let fixture = Fixture::new();
    let stream = fixture.ephemeral("hub/e").await;
    large(&stream, 100).await;
    let mut pages = stream.range(Range::default()).await.unwrap();
    stream.remove(Deletion::These(vec![99, 100])).await;
    large(&stream, 5).await;
    drop(stream);
    assert_eq!(rest(&mut pages).await, (1..=98).collect::<Vec<_>>());
}

#[tokio::test]
async fn snapshots_are_bounded_and_taken_from_who_does_not_go_on() {
    let fixture = Fixture::with(|tuning| {
        tuning.snapshots = 1;
        tuning.snapshot_life = Duration::ZERO;
    });
    let stream = fixture.stream("hub/a").await;
    large(&stream, 100).await;
    let mut lazy = stream.range(Range::default()).await.unwrap();
    let mut other = stream.range(Range::default()).await.unwrap();
    assert_eq!(rest(&mut other).await.len(), 100);
    // What was read already is still given.
    assert!(!lazy.next(usize::MAX).await.unwrap().is_empty());
    assert_eq!(lazy.next(1).await.unwrap_err().code(), Some("ETIMEDOUT".into()));
    assert_eq!(fixture.store.stats().lost_snapshots.get(), 1);
    // Small ranges need none.
    let _held = stream.range(Range::default()).await.unwrap();
    assert_eq!(stream.range(range(1, 3)).await.unwrap().next(usize::MAX).await.unwrap().len(), 3);
}

#[tokio::test]
async fn the_log_begins_anew_while_much_is_written() {
    let fixture = Fixture::with(|tuning| tuning.wal_pages = 50);
    let stream = fixture.stream("hub/a").await;
    for _ in 0..40 {
        large(&stream, 50).await;
        stream.remove(Deletion::All).await;
    }
    let stats = fixture.store.stats();
    while stats.checkpoints.get() < 4 {
        large(&stream, 5).await;
    }
    let log = std::fs::metadata(fixture.dir.path().join("streams.db-wal")).unwrap().len();
    // Two thousand messages of 10 KB were written.
    assert!(log < 16 << 20, "{log}");
}
