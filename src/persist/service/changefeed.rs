//! The changefeed of one socket (conat-persist.md §7).

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use serde_json::json;
use tokio::time::{Instant, sleep_until, timeout};

use super::{Counters, records};
use crate::{
    bus::{
        MSGPACK,
        socket::{Socket, SocketError},
    },
    persist::store::{Change, Event, Feed, FeedBounds, FeedEnd},
    wire::pack::push_array_len,
};

/// What may wait for a socket that does not acknowledge, beside what the socket itself holds.
pub(super) const BOUNDS: FeedBounds = FeedBounds { events: 100_000, bytes: 128 << 20 };

/// Events of this time after a frame are collected for the next.
const THROTTLE: Duration = Duration::from_millis(30);
/// A frame is closed when its events have so many bytes.
const FRAME_BYTES: usize = 4 << 20;
/// Or when it has so many events.
const FRAME_EVENTS: usize = 10_000;
/// How long a socket may hold everything it can and acknowledge nothing.
const STALL: Duration = Duration::from_secs(60);

/// Why a feed has ended.
enum End {
    /// The socket is closed.
    Gone,
    /// The socket does not keep up.
    Slow,
    /// The store is closed.
    Closed,
}

impl From<FeedEnd> for End {
    fn from(end: FeedEnd) -> End {
        match end {
            FeedEnd::Slow => End::Slow,
            FeedEnd::Closed => End::Closed,
        }
    }
}

/// Sends the changes until the socket closes; closes a socket that does not keep up.
pub(super) async fn run(socket: Socket, mut feed: Feed, counters: Arc<Counters>) {
    let mut frames = Frames { socket, next: 0, counters };
    match frames.run(&mut feed).await {
        End::Gone => {}
        End::Closed => frames.socket.close(),
        End::Slow => {
            frames.counters.slow_readers.add(1);
            tracing::warn!(
                subject = frames.socket.subject(),
                "a socket was closed: its changefeed was not acknowledged"
            );
            frames.socket.close();
        }
    }
}

struct Frames {
    socket: Socket,
    next: u64,
    counters: Arc<Counters>,
}

impl Frames {
    async fn run(&mut self, feed: &mut Feed) -> End {
        loop {
            // The first event of a quiet stream is not delayed.
            let mut event = match feed.next().await {
                Ok(event) => event,
                Err(end) => return end.into(),
            };
            loop {
                let window = Instant::now() + THROTTLE;
                if let Err(end) = self.send_all(event, feed).await {
                    return end;
                }
                sleep_until(window).await;
                match feed.try_next() {
                    Some(next) => event = next,
                    None => break,
                }
            }
        }
    }

    /// Sends an event and all that are there already.
    async fn send_all(&mut self, first: Arc<Event>, feed: &mut Feed) -> Result<(), End> {
        let mut next = Some(first);
        while let Some(first) = next {
            let mut bytes = weight(&first);
            let mut events = vec![first];
            next = loop {
                if bytes >= FRAME_BYTES || events.len() >= FRAME_EVENTS {
                    break feed.try_next();
                }
                let Some(event) = feed.try_next() else { break None };
                // A large event does not make a frame of small ones wait for it.
                if bytes + weight(&event) > FRAME_BYTES {
                    break Some(event);
                }
                bytes += weight(&event);
                events.push(event);
            };
            self.send(frame(&events), feed).await?;
        }
        Ok(())
    }

    async fn send(&mut self, frame: Bytes, feed: &mut Feed) -> Result<(), End> {
        loop {
            match self.socket.write_bytes(MSGPACK, frame.clone(), Some(json!({"seq": self.next}))) {
                Ok(()) => break,
                Err(SocketError::Full) => {}
                Err(SocketError::Closed | SocketError::Encode(_)) => return Err(End::Gone),
            }
            let drained = timeout(STALL, self.socket.drained());
            tokio::select! {
                drained = drained => drained.map_err(|_| End::Slow)?,
                // Too much waits already.
                end = feed.ended() => return Err(end.into()),
            }
        }
        self.next += 1;
        self.counters.frames.add(1);
        Ok(())
    }
}

/// What an event counts in a frame.
fn weight(event: &Event) -> usize {
    match &event.change {
        Change::Set { stored, .. } => stored.raw.len(),
        Change::Delete(seqs) => seqs.len(),
        Change::Metadata(_) | Change::Checkpoints(_) => 0,
    }
}

fn frame(events: &[Arc<Event>]) -> Bytes {
    let encoded: Vec<&Bytes> = events.iter().map(|event| records::event(event)).collect();
    let mut out = Vec::with_capacity(8 + encoded.iter().map(|event| event.len()).sum::<usize>());
    push_array_len(&mut out, encoded.len());
    encoded.iter().for_each(|event| out.extend_from_slice(event));
    out.into()
}
