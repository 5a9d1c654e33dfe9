//! The thread that writes.
//!
//! It takes what waits, carries it out in one transaction, and answers after the commit: while the disk syncs, the next group
//! gathers. Feeds hear of a commit in its order, before the writes are answered.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Weak,
        mpsc::{Receiver, RecvTimeoutError, TryRecvError},
    },
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

use super::{
    checkpointer::Wal,
    engine::{Done, Engine},
    error::is_storage,
    feed::{Change, Event},
    health::Reporter,
    instance::Instance,
    observer::Observer,
    registry::Registry,
    stats::Stats,
    work::{Answer, Job, Message, Work},
};

/// How often message ids are forgotten while nothing is written, at most.
const TIDY_MIN: Duration = Duration::from_secs(10);

/// A group waits for as many writes as the one before had, since whoever got an answer is likely to write again: at most
/// this long, and at most a part of the time that a commit takes.
const GATHER_MAX: Duration = Duration::from_micros(500);
/// The part of a commit's time.
const GATHER_PART: u32 = 4;

/// A writer: one for what is on the disk, one for what is in memory only.
pub(super) struct Writer {
    pub engine: Engine,
    pub inbox: Receiver<Message>,
    pub registry: Weak<Registry>,
    pub stats: Arc<Stats>,
    /// Where it says how it is; what is in memory only says nothing.
    pub reporter: Option<Reporter>,
    pub wal: Option<Wal>,
    /// Who hears which streams change; nobody, of what is in memory only.
    pub observer: Option<Arc<dyn Observer>>,
    pub release_grace: Duration,
    pub group_writes: usize,
    pub group_bytes: usize,
}

/// Instances that are released when their time has come, unless they are opened again.
type Idle = VecDeque<(Instant, Arc<Instance>, u64)>;

/// The group before.
#[derive(Clone, Copy, Default)]
struct Last {
    jobs: usize,
    took: Duration,
}

/// What comes after a group.
enum Next {
    Go,
    Stop(Option<oneshot::Sender<()>>),
}

impl Writer {
    /// Runs until it is stopped or nobody is left to ask for anything.
    pub fn run(mut self) {
        let mut idle = Idle::new();
        let mut jobs = Vec::new();
        let mut last = Last::default();
        let mut tidied = Instant::now();
        let stopped = loop {
            let next = self.gather(&mut jobs, &mut idle, last, tidied);
            let (begun, count) = (Instant::now(), jobs.len());
            self.commit(&mut jobs);
            last = Last { jobs: count, took: begun.elapsed() };
            self.release(&mut idle);
            if tidied.elapsed() >= TIDY_MIN {
                tidied = Instant::now();
                self.engine.tidy();
            }
            if let Next::Stop(answer) = next {
                break answer;
            }
        };
        self.close(stopped);
    }

    /// Collects the jobs of the next transaction. Waits for the first one, or until there is something else to do.
    fn gather(&mut self, jobs: &mut Vec<Job>, idle: &mut Idle, last: Last, tidied: Instant) -> Next {
        let mut bytes = 0_usize;
        let mut gather_until = None;
        loop {
            let message = match self.inbox.try_recv() {
                Ok(message) => message,
                Err(TryRecvError::Disconnected) => return Next::Stop(None),
                Err(TryRecvError::Empty) if jobs.is_empty() => match self.wait(idle, tidied) {
                    Some(message) => message,
                    None => return Next::Go,
                },
                Err(TryRecvError::Empty) => {
                    let until =
                        *gather_until.get_or_insert_with(|| Instant::now() + GATHER_MAX.min(last.took / GATHER_PART));
                    if jobs.len() >= last.jobs || Instant::now() >= until {
                        return Next::Go;
                    }
                    std::thread::yield_now();
                    continue;
                }
            };
            match message {
                Message::Job(job) => {
                    bytes = bytes.saturating_add(job.work.cost());
                    jobs.push(job);
                    if jobs.len() >= self.group_writes || bytes >= self.group_bytes {
                        return Next::Go;
                    }
                }
                Message::Read(read) => {
                    // What was written before it has to be seen, and what is not committed must not.
                    self.commit(jobs);
                    read(self.engine.connection());
                }
                Message::Idle(instance, time) => {
                    idle.push_back((Instant::now() + self.release_grace, instance, time));
                    if jobs.is_empty() {
                        return Next::Go;
                    }
                }
                Message::Stop(answer) => return Next::Stop(Some(answer)),
            }
        }
    }

    /// Waits for a message, or for the next thing that has to be done at a time.
    fn wait(&mut self, idle: &Idle, tidied: Instant) -> Option<Message> {
        let now = Instant::now();
        let release = idle.front().map(|(when, ..)| when.saturating_duration_since(now));
        let tidy =
            self.engine.tidy().map(|ms| Duration::from_millis(ms).max(TIDY_MIN.saturating_sub(tidied.elapsed())));
        match [release, tidy].into_iter().flatten().min() {
            Some(timeout) => match self.inbox.recv_timeout(timeout) {
                Ok(message) => Some(message),
                Err(RecvTimeoutError::Timeout) => None,
                // Found out again by whoever looks next.
                Err(RecvTimeoutError::Disconnected) => None,
            },
            None => self.inbox.recv().ok(),
        }
    }

    /// Commits jobs and answers them.
    fn commit(&mut self, jobs: &mut Vec<Job>) {
        if jobs.is_empty() {
            return;
        }
        self.commit_together(jobs);
        if let Some(wal) = &mut self.wal {
            wal.after_commit(self.engine.connection());
        }
    }

    fn commit_together(&mut self, jobs: &mut Vec<Job>) {
        let begun = Instant::now();
        match self.engine.commit(jobs) {
            Ok(done) => {
                self.stats.committed(jobs.len(), begun.elapsed());
                if let Some(reporter) = &self.reporter {
                    reporter.well();
                }
                for (job, done) in jobs.drain(..).zip(done) {
                    self.answer(job, done);
                }
            }
            Err(fault) if jobs.len() == 1 => {
                let is_storage = self.note_fault(&fault);
                if let Some(job) = jobs.pop() {
                    self.refuse(job, &fault);
                }
                tracing::debug!(error = %fault, is_storage, "a write failed");
            }
            Err(fault) => self.commit_each(jobs, fault),
        }
    }

    /// A group failed: each job gets its own transaction, until it is clear that nothing can be written.
    fn commit_each(&mut self, jobs: &mut Vec<Job>, fault: rusqlite::Error) {
        self.stats.failures.add(1);
        let mut refused_with = None;
        for job in jobs.drain(..) {
            if let Some(fault) = &refused_with {
                self.refuse(job, fault);
                continue;
            }
            match self.engine.commit(std::slice::from_ref(&job)) {
                Ok(done) => {
                    if let Some(done) = done.into_iter().next() {
                        self.answer(job, done);
                    }
                }
                Err(fault) => {
                    let is_storage = self.note_fault(&fault);
                    self.refuse(job, &fault);
                    // In memory, what is left may be enough for the next one.
                    if is_storage && self.reporter.is_some() {
                        refused_with = Some(fault);
                    }
                }
            }
        }
        if refused_with.is_none() {
            tracing::debug!(error = %fault, "a group of writes failed, but not its members");
        }
    }

    /// Answers a job that a fault kept from being done.
    fn refuse(&self, job: Job, fault: &rusqlite::Error) {
        // On a full disk, what is there can still be read.
        let answer = if matches!(job.work, Work::Open) && self.engine.open_for_reading(&job.instance).is_ok() {
            Ok(Answer::Done)
        } else {
            Err(super::Error::from_fault(fault, job.instance.ephemeral))
        };
        let _ = job.answer.send(answer);
    }

    /// Counts and reports a fault; tells whether it concerns all writes.
    fn note_fault(&self, fault: &rusqlite::Error) -> bool {
        self.stats.failures.add(1);
        let is_storage = is_storage(fault);
        if let Some(reporter) = self.reporter.as_ref().filter(|_| is_storage) {
            reporter.failed(fault);
        }
        is_storage
    }

    fn answer(&self, job: Job, done: Done) {
        if done.changed
            && let Some(observer) = &self.observer
        {
            observer.changed(&job.instance.path);
        }
        for change in done.changes {
            if let Change::Set { stored, .. } = &change {
                self.stats.messages.add(1);
                self.stats.bytes.add(stored.raw.len() as u64);
            }
            let slow = job.instance.publish(&Arc::new(Event::from(change)));
            self.stats.slow_feeds.add(slow as u64);
        }
        if matches!(job.work, Work::Open) && done.answer.is_ok() {
            job.instance.ready.store(true, std::sync::atomic::Ordering::Release);
        }
        // Whoever does not wait for the answer any more does not need it.
        let _ = job.answer.send(done.answer);
    }

    /// Releases the instances whose time has come.
    fn release(&mut self, idle: &mut Idle) {
        let now = Instant::now();
        while let Some((_, instance, time)) = idle.pop_front_if(|(when, ..)| *when <= now) {
            // Once it is out of the registry, whoever opens the path asks for that after this.
            let released = self.registry.upgrade().is_none_or(|registry| registry.release(&instance, time));
            if !released {
                continue;
            }
            instance.close();
            if let Some(observer) = &self.observer {
                observer.released(&instance.path);
            }
            if instance.ephemeral
                && let Err(error) = self.engine.discard(&instance)
            {
                tracing::warn!(%error, "an ephemeral stream could not be discarded");
            }
        }
    }

    fn close(self, stopped: Option<oneshot::Sender<()>>) {
        let Writer { engine, inbox, wal, .. } = self;
        // Whatever comes now finds the store closed.
        drop(inbox);
        let connection = engine.into_connection();
        if let Some(wal) = wal {
            wal.close(&connection);
        }
        if let Err((_, error)) = connection.close() {
            tracing::warn!(%error, "a database could not be closed");
        }
        if let Some(stopped) = stopped {
            let _ = stopped.send(());
        }
    }
}
