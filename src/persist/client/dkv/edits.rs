//! What was written here and has not come back: the flow of §12.3. Pure, but for random ids.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use indexmap::IndexMap;
use serde_json::{Map, Value};

use super::{
    Conflict,
    compare::{decoded, holds, same_values, value_of},
};
use crate::{
    bus::random_id,
    persist::client::{Assigned, Error, Message, Result, Write, message::TOMBSTONE},
    wire::msgpack,
};

/// Ids of earlier versions of a key that are remembered, to know them when they come back.
const EARLIER: usize = 16;

/// Whether users see another value than before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Changed,
    Unchanged,
}

/// A version of an edit, and what it is in conflict with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ticket {
    version: u64,
    remote: u64,
}

/// The newest thing that was written to a key here.
#[derive(Debug)]
struct Edit {
    /// `None` deletes the key.
    value: Option<Bytes>,
    headers: Option<Arc<Map<String, Value>>>,
    ttl: Option<Duration>,
    version: u64,
    /// The message id of this version.
    id: Arc<str>,
    /// Whether this version was ever sent.
    sent: bool,
    /// Message ids of earlier versions that were sent.
    earlier: Vec<Arc<str>>,
    /// The server has this version.
    done: Option<Assigned>,
    /// What was written elsewhere, and what was there before.
    conflict: Option<(Message, Option<Message>)>,
    /// Compare-and-set with this number has failed: it makes no sense before the key has another.
    invalid: Option<u64>,
}

impl Edit {
    fn bytes(&self) -> usize {
        256 + self.value.as_ref().map_or(0, Bytes::len)
    }

    /// Gives the edit another value.
    fn renew(&mut self, version: u64, value: Option<Bytes>) {
        let id = std::mem::replace(&mut self.id, random_id().into());
        if self.sent {
            if self.earlier.len() >= EARLIER {
                self.earlier.remove(0);
            }
            self.earlier.push(id);
        }
        (self.version, self.value, self.sent, self.done) = (version, value, false, None);
    }
}

/// A write of an edit.
#[derive(Clone, Debug)]
pub(super) struct Pending {
    pub key: Arc<str>,
    pub version: u64,
    pub write: Write,
}

impl Pending {
    /// Deletions are written one by one.
    pub fn deletes(&self) -> bool {
        self.write.headers.as_ref().is_some_and(|headers| headers.contains_key(TOMBSTONE))
    }
}

/// All edits, the oldest first.
#[derive(Debug)]
pub(super) struct Edits {
    edits: IndexMap<Arc<str>, Edit>,
    versions: u64,
    bytes: usize,
    most: usize,
    most_bytes: usize,
}

impl Edits {
    pub fn new(most: usize, most_bytes: usize) -> Edits {
        Edits { edits: IndexMap::new(), versions: 0, bytes: 0, most, most_bytes }
    }

    /// Writes to a key. A single edit is always let in.
    pub fn edit(
        &mut self,
        key: &Arc<str>,
        value: Option<Bytes>,
        headers: Option<Arc<Map<String, Value>>>,
        ttl: Option<Duration>,
    ) -> Result<()> {
        self.versions += 1;
        let version = self.versions;
        let more = value.as_ref().map_or(0, Bytes::len) + 256;
        let full = self.bytes + more > self.most_bytes;
        if let Some(edit) = self.edits.get_mut(key) {
            if full && self.bytes > edit.bytes() {
                return Err(Error::Full);
            }
            self.bytes -= edit.bytes();
            edit.renew(version, value);
            (edit.headers, edit.ttl) = (headers, ttl);
            self.bytes += edit.bytes();
            return Ok(());
        }
        if (full || self.edits.len() >= self.most) && !self.edits.is_empty() {
            return Err(Error::Full);
        }
        let edit = Edit {
            value,
            headers,
            ttl,
            version,
            id: random_id().into(),
            sent: false,
            earlier: Vec::new(),
            done: None,
            conflict: None,
            invalid: None,
        };
        self.bytes += edit.bytes();
        self.edits.insert(key.clone(), edit);
        Ok(())
    }

    fn remove(&mut self, key: &str) {
        if let Some(edit) = self.edits.shift_remove(key) {
            self.bytes -= edit.bytes();
        }
    }

    /// What users see of a key that was edited.
    pub fn value(&self, key: &str) -> Option<Option<Bytes>> {
        self.edits.get(key).map(|edit| edit.value.clone())
    }

    /// The keys that were edited, and whether they are there.
    pub fn present(&self) -> Vec<(Arc<str>, bool)> {
        self.edits.iter().map(|(key, edit)| (key.clone(), edit.value.is_some())).collect()
    }

    pub fn is_empty(&self) -> bool {
        self.edits.is_empty()
    }

    /// Keys whose newest version the server does not have.
    pub fn unsaved(&self) -> Vec<Arc<str>> {
        self.edits.iter().filter(|(_, edit)| edit.done.is_none()).map(|(key, _)| key.clone()).collect()
    }

    /// A message has come: those before it that did not come are gone again.
    pub fn passed(&mut self, seq: u64) -> Vec<Arc<str>> {
        self.vanished(|done| done < seq)
    }

    /// A message was deleted.
    pub fn deleted(&mut self, seq: u64) -> Vec<Arc<str>> {
        self.vanished(|done| done == seq)
    }

    /// Drops edits that the server has had and that did not come back; gives their keys.
    fn vanished(&mut self, is: impl Fn(u64) -> bool) -> Vec<Arc<str>> {
        let gone = |(key, edit): (&Arc<str>, &Edit)| edit.done.is_some_and(|done| is(done.seq)).then(|| key.clone());
        let keys: Vec<Arc<str>> = self.edits.iter().filter_map(gone).collect();
        keys.iter().for_each(|key| self.remove(key));
        keys
    }

    /// A message of a key has come.
    pub fn stored(&mut self, key: &str, message: &Message, msg_id: Option<&str>, before: Option<&Message>) -> Outcome {
        let Some(edit) = self.edits.get_mut(key) else { return Outcome::Changed };
        let is = |id: &Arc<str>| msg_id == Some(&**id);
        if is(&edit.id) {
            self.remove(key);
            return Outcome::Unchanged;
        }
        if edit.earlier.iter().any(is) {
            // An earlier version of ours; the newer one stands.
            return Outcome::Unchanged;
        }
        if edit.done.is_some_and(|done| done.seq <= message.seq) {
            // Ours was there, and was replaced unless this is it.
            let outcome = if holds(message, edit.value.as_ref()) { Outcome::Unchanged } else { Outcome::Changed };
            self.remove(key);
            return outcome;
        }
        if holds(message, edit.value.as_ref()) {
            self.remove(key);
            return Outcome::Unchanged;
        }
        let base = match edit.conflict.take() {
            // What both started from is what was there before the first of the others.
            Some((_, base)) => base,
            None => before.cloned(),
        };
        edit.conflict = Some((message.clone(), base));
        Outcome::Unchanged
    }

    /// The next conflict to be resolved.
    pub fn next_conflict(&self) -> Option<(Conflict, Ticket)> {
        self.edits.iter().find_map(|(key, edit)| {
            let (remote, base) = edit.conflict.as_ref()?;
            let conflict = Conflict {
                key: key.clone(),
                prev: base.as_ref().and_then(value_of),
                local: edit.value.as_ref().map(decoded),
                remote: value_of(remote),
            };
            Some((conflict, Ticket { version: edit.version, remote: remote.seq }))
        })
    }

    /// A conflict is resolved; if something has happened meanwhile it is resolved once more.
    pub fn resolved(&mut self, conflict: &Conflict, ticket: Ticket, result: Option<&rmpv::Value>) -> Outcome {
        let version = self.versions + 1;
        let Some(edit) = self.edits.get_mut(&conflict.key) else { return Outcome::Unchanged };
        let remote = edit.conflict.as_ref().map_or(0, |(remote, _)| remote.seq);
        if (Ticket { version: edit.version, remote }) != ticket {
            return Outcome::Unchanged;
        }
        edit.conflict = None;
        if same_values(result, conflict.remote.as_ref()) {
            self.remove(&conflict.key);
            return Outcome::Changed;
        }
        if same_values(result, conflict.local.as_ref()) {
            return Outcome::Unchanged;
        }
        let Ok(value) = result.map(msgpack::encode).transpose() else { return Outcome::Unchanged };
        self.versions = version;
        self.bytes -= edit.bytes();
        edit.renew(version, value.map(Bytes::from));
        self.bytes += edit.bytes();
        Outcome::Changed
    }

    /// What is to be written now. `newest` gives the number of the newest message of a key; with compare-and-set a write carries
    /// it. Has to be called with the copy locked, so that no conflict is overlooked.
    pub fn pending(
        &mut self,
        cas: bool,
        tombstone_ttl: Duration,
        newest: impl Fn(&str) -> Option<u64>,
    ) -> Vec<Pending> {
        let mut pending = Vec::new();
        for (key, edit) in &mut self.edits {
            if edit.done.is_some() || edit.conflict.is_some() {
                continue;
            }
            let previous = if cas { newest(key) } else { None };
            if edit.invalid.is_some() && edit.invalid == previous {
                continue;
            }
            edit.invalid = None;
            edit.sent = true;
            let write = match &edit.value {
                Some(value) => Write {
                    payload: value.clone(),
                    key: Some(key.clone()),
                    headers: edit.headers.clone(),
                    ttl: edit.ttl,
                    ..Write::default()
                },
                None => Write::tombstone(key, Some(edit.ttl.unwrap_or(tombstone_ttl))),
            };
            let write = Write { previous_seq: previous, msg_id: Some(edit.id.clone()), ..write };
            pending.push(Pending { key: key.clone(), version: edit.version, write });
        }
        pending
    }

    /// The server has stored a version. `newest` is the number of the newest message of the key that has come.
    pub fn saved(&mut self, key: &str, version: u64, assigned: Assigned, newest: Option<u64>) -> Outcome {
        let Some(edit) = self.edits.get_mut(key).filter(|edit| edit.version == version) else {
            return Outcome::Unchanged;
        };
        if newest.is_some_and(|newest| newest >= assigned.seq) {
            // It has come back already, and was replaced if something else is there.
            self.remove(key);
            return Outcome::Changed;
        }
        edit.done = Some(assigned);
        Outcome::Unchanged
    }

    /// Compare-and-set of a version has failed with this number: it is not tried with it again (§12.3). The message that has
    /// got in between brings the conflict.
    pub fn overtaken(&mut self, key: &str, version: u64, previous: Option<u64>) {
        if let Some(edit) = self.edits.get_mut(key).filter(|edit| edit.version == version) {
            edit.invalid = previous;
        }
    }

    /// The server has refused a version for good; tells whether it was there.
    pub fn refused(&mut self, key: &str, version: u64) -> bool {
        let is = self.edits.get(key).is_some_and(|edit| edit.version == version);
        if is {
            self.remove(key);
        }
        is
    }

    /// Keys that wait for the message that has got in between, with the number that was wrong.
    pub fn waiting(&self) -> Vec<(Arc<str>, u64)> {
        let waits =
            |(key, edit): (&Arc<str>, &Edit)| Some((key.clone(), edit.invalid.filter(|_| edit.conflict.is_none())?));
        self.edits.iter().filter_map(waits).collect()
    }

    /// A key need not wait any more.
    pub fn try_again(&mut self, key: &str, invalid: u64) {
        if let Some(edit) = self.edits.get_mut(key).filter(|edit| edit.invalid == Some(invalid)) {
            edit.invalid = None;
        }
    }
}
