//! What keeps a copy up to date: loading, the feed, gaps.

use std::{pin::Pin, sync::Arc};

use serde_json::{Map, Value};
use tokio::time::{Instant, sleep, sleep_until};

use super::{Change, Error, Feed, GetAll, HistoryGap, Result, Shared, log::Arrival};
use crate::persist::client::{FeedItem, Message, Snapshot, message::Event, retry::Backoff};

/// Messages taken at a time; readers get their turn in between.
const TURN: usize = 1000;

type Repair = Pin<Box<dyn Future<Output = (u64, Result<Snapshot>)> + Send>>;

/// Follows the stream until it is closed.
pub(super) async fn run(shared: Arc<Shared>, feed: Feed) {
    let error = tokio::select! {
        error = follow(&shared, feed) => error,
        () = shared.closing.cancelled() => Error::Closed,
    };
    shared.close(&error);
}

/// Gives the error that ends the stream.
async fn follow(shared: &Arc<Shared>, mut feed: Feed) -> Error {
    let mut backoff = Backoff::new(shared.connection.options().times.repair);
    let (mut repair, mut repair_at): (Option<Repair>, Option<Instant>) = (None, None);
    loop {
        if repair.is_none() && repair_at.is_none() {
            repair = shared.start_repair();
        }
        let repaired = async {
            match &mut repair {
                Some(repair) => repair.await,
                None => std::future::pending().await,
            }
        };
        let retry = async {
            match repair_at {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        let handled = tokio::select! {
            item = feed.next() => match item {
                Ok(item) => shared.take(item, &feed).await,
                // What was missed may be deletions, which nobody tells again.
                Err(Error::Slow) => match shared.connection.feed().await {
                    Ok(next) => {
                        feed = next;
                        shared.restart();
                        shared.load(&feed).await
                    }
                    Err(error) => Err(error),
                },
                Err(error) => Err(error),
            },
            (first, found) = repaired => {
                repair = None;
                match found {
                    Ok(found) => {
                        backoff.reset();
                        shared.repaired(first, found.messages)
                    }
                    Err(error) if error.is_fatal() => Err(error),
                    Err(error) => {
                        tracing::debug!(path = shared.connection.path(), %error, "a gap was not repaired");
                        repair_at = Some(Instant::now() + backoff.step());
                        Ok(())
                    }
                }
            }
            () = retry => {
                repair_at = None;
                Ok(())
            }
        };
        if let Err(error) = handled {
            return error;
        }
    }
}

/// Whether the configuration has these fields already.
fn has(config: &Map<String, Value>, wanted: &Map<String, Value>) -> bool {
    wanted.iter().all(|(name, value)| config.get(name) == Some(value))
}

impl Shared {
    /// Loads the stream, trying again until that works or makes no sense.
    pub(super) async fn load(&self, feed: &Feed) -> Result<()> {
        let mut backoff = Backoff::new(self.connection.options().times.load);
        loop {
            match self.try_load(feed).await {
                Err(error) if error.is_fatal() => return Err(error),
                Err(error) => {
                    tracing::debug!(path = self.connection.path(), %error, "a stream was not loaded");
                    tokio::select! {
                        () = sleep(backoff.step()) => {}
                        // It may have become clear meanwhile that there is no use in trying.
                        error = self.connection.ended() => return Err(error),
                    }
                }
                Ok(()) => return Ok(()),
            }
        }
    }

    async fn try_load(&self, feed: &Feed) -> Result<()> {
        let start = self.options.start_seq;
        let query = GetAll {
            start_seq: Some(start),
            start_checkpoint: self.options.start_checkpoint.clone(),
            changefeed: true,
            include_config: true,
            ..GetAll::default()
        };
        let snapshot = self.connection.get_all(query).await?;
        if let Some(effective) = snapshot.effective_start.filter(|effective| start > 0 && *effective > start) {
            self.report_gap(HistoryGap { requested: start, effective });
        }
        let wanted = &self.options.config;
        let config = match snapshot.config {
            Some(config) if has(&config, wanted) => config,
            None if wanted.is_empty() => Map::new(),
            _ => self.connection.configure(wanted).await?,
        };
        *self.config.lock() = config;
        self.insert(snapshot.messages, |log, message| log.insert(message))?;
        if let Some(effective) = snapshot.effective_start
            && self.options.start_checkpoint.is_some()
        {
            // What a checkpoint leaves out can be loaded later.
            self.log.lock().raise_floor(effective);
        }
        let (last, time) = self.log.lock().newest();
        feed.follow(last, time, snapshot.epoch);
        Ok(())
    }

    async fn take(&self, item: FeedItem, feed: &Feed) -> Result<()> {
        match item {
            FeedItem::Events(events) => self.apply(events),
            FeedItem::Oldest(oldest) => {
                self.forget_before(oldest);
                Ok(())
            }
            FeedItem::Gap { from, to } => {
                self.report_gap(HistoryGap { requested: from + 1, effective: to });
                Ok(())
            }
            FeedItem::Restarted => {
                self.restart();
                self.load(feed).await
            }
        }
    }

    fn restart(&self) {
        let mut log = self.log.lock();
        if let Some(observer) = &self.observer {
            log.range(0, u64::MAX).for_each(|message| observer.deleted(message.seq, Some(message)));
        }
        log.clear(self.options.start_seq);
        drop(log);
        self.changes.send(Change::Restarted);
        self.touch();
        self.settle();
    }

    fn report_gap(&self, gap: HistoryGap) {
        tracing::debug!(path = self.connection.path(), ?gap, "a part of a stream is gone");
        *self.gap.lock() = Some(gap);
        self.changes.send(Change::Gap(gap));
    }

    fn settle(&self) {
        if let Some(observer) = &self.observer {
            observer.settle();
        }
    }

    /// Takes messages that were asked for.
    fn insert(
        &self,
        messages: Vec<Message>,
        mut insert: impl FnMut(&mut super::Log, Message) -> Arrival,
    ) -> Result<()> {
        let mut messages = messages.into_iter().peekable();
        while messages.peek().is_some() {
            let mut log = self.log.lock();
            for message in messages.by_ref().take(TURN) {
                self.store(&mut log, message, None, &mut insert);
            }
            self.trim(&mut log)?;
        }
        self.touch();
        self.settle();
        Ok(())
    }

    fn store(
        &self,
        log: &mut super::Log,
        message: Message,
        msg_id: Option<&str>,
        insert: impl FnOnce(&mut super::Log, Message) -> Arrival,
    ) {
        let (seq, key) = (message.seq, message.key.clone());
        let Arrival::New(before) = insert(log, message) else { return };
        if let (Some(observer), Some(message)) = (&self.observer, log.get(seq)) {
            observer.stored(message, msg_id, before.as_ref());
        }
        self.changes.send(Change::Set { seq, key });
    }

    fn trim(&self, log: &mut super::Log) -> Result<()> {
        let most = self.connection.options().bounds.copy_bytes;
        if log.trim(most) { Ok(()) } else { Err(Error::TooLarge(most)) }
    }

    /// Takes what the feed has brought.
    fn apply(&self, events: Vec<Event>) -> Result<()> {
        let mut events = events.into_iter().peekable();
        while events.peek().is_some() {
            let mut log = self.log.lock();
            for event in events.by_ref().take(TURN) {
                match event {
                    Event::Set { message, msg_id } => {
                        self.store(&mut log, message, msg_id.as_deref(), super::Log::receive);
                    }
                    Event::Delete(seqs) => {
                        for seq in &seqs {
                            let gone = log.remove(*seq);
                            if let Some(observer) = &self.observer {
                                observer.deleted(*seq, gone.as_ref());
                            }
                        }
                        self.changes.send(Change::Delete(seqs.into()));
                    }
                }
            }
            self.trim(&mut log)?;
        }
        self.touch();
        self.settle();
        Ok(())
    }

    fn forget_before(&self, oldest: u64) {
        let mut log = self.log.lock();
        let gone = log.remove_before(oldest);
        if gone.is_empty() {
            return;
        }
        if let Some(observer) = &self.observer {
            gone.iter().for_each(|message| observer.deleted(message.seq, Some(message)));
        }
        drop(log);
        self.changes.send(Change::Delete(gone.iter().map(|message| message.seq).collect()));
        self.touch();
        self.settle();
    }

    /// A message is known to be gone.
    pub(super) fn forget(&self, seq: u64) {
        let mut log = self.log.lock();
        let Some(gone) = log.remove(seq) else { return };
        if let Some(observer) = &self.observer {
            observer.deleted(seq, Some(&gone));
        }
        drop(log);
        self.changes.send(Change::Delete([seq].into()));
        self.touch();
        self.settle();
    }

    fn start_repair(&self) -> Option<Repair> {
        let (first, last) = self.log.lock().gap()?;
        let connection = self.connection.clone();
        let query = GetAll { start_seq: Some(first), end_seq: Some(last), ..GetAll::default() };
        Some(Box::pin(async move { (first, connection.get_all(query).await) }))
    }

    fn repaired(&self, first: u64, messages: Vec<Message>) -> Result<()> {
        let result = self.insert(messages, super::Log::insert);
        self.log.lock().close_gap(first);
        self.touch();
        result
    }

    /// Takes older messages; they must fit, else they would leave at once.
    pub(super) fn add_older(&self, messages: Vec<Message>, start_seq: u64) -> Result<usize> {
        let most = self.connection.options().bounds.copy_bytes;
        let more: usize = messages.iter().map(Message::bytes).sum();
        if !self.log.lock().has_room(more, most) {
            return Err(Error::TooLarge(most));
        }
        let count = messages.len();
        self.insert(messages, super::Log::insert)?;
        self.log.lock().lower_floor(start_seq);
        Ok(count)
    }
}
