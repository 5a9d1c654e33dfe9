//! Writes of one socket that are begun and not yet committed. They are answered in order, each when its commit is there.

use std::{
    collections::VecDeque,
    future::poll_fn,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::{FutureExt, future::BoxFuture};
use serde_json::Value;

use super::{Shared, records, refusal::Refusal, request::Write};
use crate::persist::store::{Assigned, Pending, Set, Stream};

/// Writes of a socket that may be under way.
const MAX_WRITES: usize = 1024;
/// Bytes of payloads of a socket that may be under way; a single request may be larger.
const MAX_BYTES: usize = 64 << 20;

/// What a write ends with: the payload of its answer.
type Answer = Result<Bytes, Refusal>;

/// A write that has its place in the order.
enum Outcome {
    /// The usual one, without a detour.
    Set(Pending<Assigned>),
    Other(BoxFuture<'static, Answer>),
}

impl Outcome {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Answer> {
        match self {
            Outcome::Set(pending) => pending.poll_unpin(cx).map(|stored| match stored {
                Ok(assigned) => Ok(records::assigned(assigned)),
                Err(error) => Err(error.into()),
            }),
            Outcome::Other(outcome) => outcome.poll_unpin(cx),
        }
    }
}

struct Begun {
    outcome: Outcome,
    reply: Box<str>,
    bytes: usize,
}

/// Writes under way, oldest first.
#[derive(Default)]
pub(super) struct Writes {
    queue: VecDeque<Begun>,
    bytes: usize,
}

impl Writes {
    /// Whether none is under way.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether another may be begun.
    pub fn has_room(&self) -> bool {
        self.queue.len() < MAX_WRITES && self.bytes < MAX_BYTES
    }

    /// Begins a write and remembers to answer it. Waits for a place in the writer's queue.
    ///
    /// # Errors
    /// It can't be begun.
    pub async fn begin(&mut self, stream: &Stream, write: Write, reply: &str, bytes: usize) -> Result<(), Refusal> {
        let outcome = begin(stream, write).await?;
        self.bytes += bytes;
        self.queue.push_back(Begun { outcome, reply: reply.into(), bytes });
        Ok(())
    }

    /// Waits for the oldest write and answers it. Can be given up at any time.
    pub async fn answer_next(&mut self, shared: &Shared) {
        let Some(oldest) = self.queue.front_mut() else { return };
        let answer = poll_fn(|cx| oldest.outcome.poll(cx)).await;
        let Some(Begun { reply, bytes, .. }) = self.queue.pop_front() else { return };
        self.bytes -= bytes;
        match answer {
            Ok(payload) => shared.answer(&reply, payload),
            Err(refusal) => shared.refuse(&reply, &refusal),
        }
    }

    /// Waits for all writes and answers them.
    pub async fn settle(&mut self, shared: &Shared) {
        while !self.is_empty() {
            self.answer_next(shared).await;
        }
    }
}

async fn begin(stream: &Stream, write: Write) -> Result<Outcome, Refusal> {
    Ok(match write {
        Write::Set(set) => Outcome::Set(stream.set(set).await?),
        Write::SetMany(sets) => begin_many(stream, sets).await?,
        Write::Delete(deletion) => other(stream.delete(deletion).await?, |seqs| records::deleted(&seqs)),
        Write::Configure(fields) => {
            other(stream.configure(fields).await?, |fields| records::encoded_json(&Value::Object(fields)))
        }
        Write::SetMetadata(value) => other(stream.set_metadata(value).await?, json_or_nil),
        Write::PatchMetadata(delta) => other(stream.patch_metadata(delta).await?, json_or_nil),
        Write::SetCheckpoint(new) => other(stream.set_checkpoint(new).await?, |checkpoint| {
            records::encoded_json(&records::checkpoint_json(&checkpoint))
        }),
        Write::DeleteCheckpoint(name) => other(stream.delete_checkpoint(name).await?, |()| records::nil()),
    })
}

fn json_or_nil(value: Option<Value>) -> Bytes {
    value.map_or_else(records::nil, |value| records::encoded_json(&value))
}

fn other<T: Send + 'static>(pending: Pending<T>, encode: impl FnOnce(T) -> Bytes + Send + 'static) -> Outcome {
    Outcome::Other(pending.map(|done| done.map(encode).map_err(Refusal::from)).boxed())
}

/// Stores what is not malformed; the results stand where the operations stood.
async fn begin_many(stream: &Stream, sets: Vec<Result<Set, Refusal>>) -> Result<Outcome, Refusal> {
    let mut failed = Vec::new();
    let mut good = Vec::with_capacity(sets.len());
    for (index, set) in sets.into_iter().enumerate() {
        match set {
            Ok(set) => good.push(set),
            Err(refusal) => failed.push((index, refusal)),
        }
    }
    Ok(other(stream.set_many(good).await?, move |stored| {
        let mut results: Vec<_> = stored.into_iter().map(|result| result.map_err(Refusal::from)).collect();
        for (index, refusal) in failed {
            results.insert(index.min(results.len()), Err(refusal));
        }
        records::results(&results)
    }))
}
