//! What the writer is asked to do, and what it answers.

use std::{io, sync::Arc};

use rusqlite::Connection;
use serde_json::{Map, Value};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::{
    Result,
    instance::Instance,
    message::{Adopted, Assigned, Checkpoint, Deletion, Header, NewCheckpoint, Set},
    payload::{self, Early},
    size,
};

/// A message on its way in.
#[derive(Debug)]
pub(super) struct Write {
    pub set: Set,
    /// Its size (§8.6).
    pub size: u64,
    pub early: Early,
}

impl From<Set> for Write {
    fn from(set: Set) -> Write {
        Write { size: size::of(&set), early: Early::of(&set.raw), set }
    }
}

impl Write {
    /// Messages of a batch. What takes long to compress is left to the writer: whoever asks for it has other things to do.
    pub fn batch(sets: Vec<Set>) -> Vec<Write> {
        let total = sets.iter().map(|set| set.raw.len()).fold(0, usize::saturating_add);
        if total <= payload::COMPRESS_EARLY {
            return sets.into_iter().map(Write::from).collect();
        }
        sets.into_iter().map(|set| Write { size: size::of(&set), early: Early::NotTried, set }).collect()
    }

    fn cost(&self) -> usize {
        let checkpoint = self.set.checkpoint.as_ref().map_or(0, |checkpoint| json_len(checkpoint.data.as_ref()));
        let extra = self.early.len() + checkpoint + JOB_COST;
        usize::try_from(self.size).unwrap_or(usize::MAX).saturating_add(extra)
    }
}

/// What the writer is asked to do with a stream.
#[derive(Debug)]
pub(super) enum Work {
    /// Find out what is there.
    Load,
    Open,
    Set(Write),
    SetMany(Vec<Write>),
    Delete(Deletion),
    Configure(Map<String, Value>),
    SetMetadata(Option<Value>),
    PatchMetadata(Option<Value>),
    SetCheckpoint(NewCheckpoint),
    DeleteCheckpoint(String),
    ClearForAdoption,
    Adopt(Vec<Adopted>),
    FinishAdoption(Header),
}

/// The length of a value's text, which stands for what it takes of memory.
fn json_len(value: Option<&Value>) -> usize {
    struct Length(usize);

    impl io::Write for Length {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    let mut length = Length(0);
    // Neither the value nor the counting can fail.
    let _ = value.map(|value| serde_json::to_writer(&mut length, value));
    length.0
}

/// What a job counts for itself in the queue.
const JOB_COST: usize = 512;

impl Work {
    /// What it takes of the queue.
    pub fn cost(&self) -> usize {
        match self {
            Work::Set(write) => write.cost(),
            Work::SetMany(writes) => writes.iter().map(Write::cost).fold(JOB_COST, usize::saturating_add),
            Work::Delete(Deletion::These(seqs)) => JOB_COST + seqs.len() * size_of::<u64>(),
            Work::Adopt(messages) => messages.iter().map(|m| m.stored.raw.len() + JOB_COST).sum(),
            Work::FinishAdoption(header) => JOB_COST + json_len(header.metadata.as_ref()),
            Work::Configure(fields) => {
                fields.values().map(|value| json_len(Some(value))).fold(JOB_COST, usize::saturating_add)
            }
            Work::SetMetadata(value) | Work::PatchMetadata(value) => JOB_COST + json_len(value.as_ref()),
            Work::SetCheckpoint(checkpoint) => JOB_COST + json_len(checkpoint.data.as_ref()),
            Work::Load | Work::Open | Work::ClearForAdoption | Work::Delete(_) | Work::DeleteCheckpoint(_) => JOB_COST,
        }
    }
}

/// What the writer answers.
#[derive(Debug)]
pub(super) enum Answer {
    Done,
    Assigned(Assigned),
    Count(u64),
    Many(Vec<Result<Assigned>>),
    Seqs(Vec<u64>),
    Fields(Map<String, Value>),
    Metadata(Option<Value>),
    Checkpoint(Checkpoint),
}

/// Work with its place in the order.
#[derive(Debug)]
pub(super) struct Job {
    pub instance: Arc<Instance>,
    pub work: Work,
    pub answer: oneshot::Sender<Result<Answer>>,
    /// The room it takes in the queue, until it is answered.
    pub _room: OwnedSemaphorePermit,
}

/// A read that is carried out between two transactions.
pub(super) type Read = Box<dyn FnOnce(&Connection) + Send>;

/// What is sent to the writer.
// Nearly all of them are jobs.
#[allow(clippy::large_enum_variant)]
pub(super) enum Message {
    Job(Job),
    Read(Read),
    /// The last handle of an instance has gone; the number tells this time from later ones.
    Idle(Arc<Instance>, u64),
    /// Ends the writer; answered when the database is closed.
    Stop(oneshot::Sender<()>),
}
