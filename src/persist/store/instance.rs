//! An open stream: what all its handles share.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicI64, Ordering},
};

use parking_lot::Mutex;

use super::{
    engine::State,
    feed::{Event, Feed, FeedBounds, FeedEnd, FeedQueue},
};

/// An open stream.
#[derive(Debug)]
pub(super) struct Instance {
    /// Tells it from every other instance of this store's life.
    pub serial: u64,
    pub path: Arc<str>,
    pub ephemeral: bool,
    /// Its id in the database as of the last commit, or 0: nothing was written yet.
    row: AtomicI64,
    /// `allow_msg_ttl` as of the last commit.
    hides_expired: AtomicBool,
    /// Whoever wanted to know of its opening has heard of it.
    pub announced: tokio::sync::OnceCell<()>,
    /// Limits were enforced on open.
    pub ready: AtomicBool,
    /// What the writer knows; nobody else looks at it. Empty until it is needed, and after a failed transaction.
    pub state: Mutex<Option<State>>,
    feeds: Mutex<Feeds>,
}

#[derive(Debug, Default)]
struct Feeds {
    queues: Vec<Arc<FeedQueue>>,
    closed: bool,
}

impl Instance {
    pub fn new(serial: u64, path: Arc<str>, ephemeral: bool) -> Instance {
        Instance {
            serial,
            path,
            ephemeral,
            row: AtomicI64::new(0),
            hides_expired: AtomicBool::new(false),
            announced: tokio::sync::OnceCell::new(),
            ready: AtomicBool::new(false),
            state: Mutex::default(),
            feeds: Mutex::default(),
        }
    }

    /// Its id in the database, if there is anything of it.
    pub fn row(&self) -> Option<i64> {
        Some(self.row.load(Ordering::Acquire)).filter(|row| *row > 0)
    }

    /// Whether messages whose time to live is over are hidden.
    pub fn hides_expired(&self) -> bool {
        self.hides_expired.load(Ordering::Acquire)
    }

    /// Shows readers what was committed.
    pub fn show(&self, state: &State) {
        self.row.store(state.id.unwrap_or(0), Ordering::Release);
        self.hides_expired.store(state.limits.allow_msg_ttl, Ordering::Release);
    }

    /// A feed of what is published from now on.
    pub fn feed(&self, bounds: FeedBounds) -> Feed {
        let (feed, queue) = Feed::new(bounds);
        let mut feeds = self.feeds.lock();
        if feeds.closed {
            queue.end(FeedEnd::Closed);
        } else {
            // Those whose readers have gone since the last event.
            feeds.queues.retain(|queue| Arc::strong_count(queue) > 1);
            feeds.queues.push(queue);
        }
        feed
    }

    /// Tells all feeds; gives how many were too slow.
    pub fn publish(&self, event: &Arc<Event>) -> usize {
        let mut feeds = self.feeds.lock();
        let mut slow = 0;
        feeds.queues.retain(|queue| {
            let goes_on = queue.push(event);
            // A queue that only we hold has lost its reader, which is not its being slow.
            slow += usize::from(!goes_on && Arc::strong_count(queue) > 1);
            goes_on
        });
        slow
    }

    /// Ends all feeds, also those of the future.
    pub fn close(&self) {
        let mut feeds = self.feeds.lock();
        feeds.closed = true;
        for queue in feeds.queues.drain(..) {
            queue.end(FeedEnd::Closed);
        }
    }
}
