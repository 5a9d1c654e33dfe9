//! The way to the writer: a queue that is bounded in bytes.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
    mpsc,
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::{
    Error, Result,
    instance::Instance,
    options::Tuning,
    work::{Answer, Job, Message, Work},
};

/// The sending end of a writer's queue.
#[derive(Debug)]
pub(super) struct Queue {
    sender: mpsc::Sender<Message>,
    room: Arc<Semaphore>,
    capacity: u32,
    waiting: AtomicU64,
    waiting_max: u64,
}

impl Queue {
    /// A queue and its receiving end.
    pub fn new(tuning: &Tuning) -> (Queue, mpsc::Receiver<Message>) {
        let (sender, receiver) = mpsc::channel();
        let queue = Queue {
            sender,
            room: Arc::new(Semaphore::new(tuning.queue_bytes as usize)),
            capacity: tuning.queue_bytes,
            waiting: AtomicU64::new(0),
            waiting_max: tuning.waiting_bytes,
        };
        (queue, receiver)
    }

    /// Waits for room and takes a place in the order. Room is given in the order in which it was asked for.
    pub async fn push(&self, instance: &Arc<Instance>, work: Work) -> Result<oneshot::Receiver<Result<Answer>>> {
        let room = self.room(work.cost()).await?;
        let (answer, receiver) = oneshot::channel();
        self.send(Message::Job(Job { instance: instance.clone(), work, answer, _room: room }))?;
        Ok(receiver)
    }

    /// Room for something that takes so many bytes; at most all there is, so that large writes go alone.
    pub async fn room(&self, cost: usize) -> Result<OwnedSemaphorePermit> {
        let permits = u32::try_from(cost).unwrap_or(u32::MAX).min(self.capacity);
        if let Ok(permit) = self.room.clone().try_acquire_many_owned(permits) {
            return Ok(permit);
        }
        let waiting = Waiting { total: &self.waiting, cost: cost as u64 };
        let before = self.waiting.fetch_add(waiting.cost, Ordering::Relaxed);
        // Whoever is the only one to wait may do so, however large its write.
        if before > 0 && before.saturating_add(waiting.cost) > self.waiting_max {
            return Err(Error::Busy);
        }
        self.room.clone().acquire_many_owned(permits).await.map_err(|_| Error::Closed)
    }

    /// Sends a message that needs no room: there is at most one for each stream or reader.
    pub fn send(&self, message: Message) -> Result<()> {
        self.sender.send(message).map_err(|_| Error::Closed)
    }

    /// Lets nobody wait any more.
    pub fn close(&self) {
        self.room.close();
    }
}

/// Counts what waits until it is dropped.
struct Waiting<'a> {
    total: &'a AtomicU64,
    cost: u64,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.total.fetch_sub(self.cost, Ordering::Relaxed);
    }
}
