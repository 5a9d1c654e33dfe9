//! Taking over a stream from elsewhere, with the numbers and times it had there.
//!
//! Until the adoption is finished the stream counts as never changed. So one that was cut off is recognised, and goes on where
//! it was when it is begun again.

use super::{Engine, Failure, State, Target, remove_stream};
use crate::persist::store::{
    Error,
    message::{Adopted, Assigned, Header, NewCheckpoint, Set},
    schema::MAX_SEQ,
    work::Write,
};

impl Engine {
    /// Removes all there is of the stream, so that it can be taken over anew.
    pub(super) fn clear(&mut self, target: &mut Target<'_>) -> Result<(), Failure> {
        if let Some(id) = target.state.id {
            remove_stream(&self.connection, id)?;
        }
        *target.state = State { touched: true, ..State::default() };
        Ok(())
    }

    /// Stores messages that are newer than what is there; gives how many.
    pub(super) fn adopt(&mut self, target: &mut Target<'_>, messages: &[Adopted]) -> Result<u64, Failure> {
        refuse_changed(target)?;
        target.now = 0;
        let mut stored = 0;
        for Adopted { stored: message, ttl } in messages {
            if message.seq <= target.state.last_seq {
                continue;
            }
            if message.seq > MAX_SEQ {
                return Err(Error::Invalid(format!("there is no room for message number {}", message.seq)).into());
            }
            let set = Set {
                encoding: message.encoding,
                raw: message.raw.clone(),
                headers: message.headers.clone(),
                key: message.key.clone(),
                ttl: *ttl,
                ..Set::default()
            };
            self.insert(target, &Write::from(set), Assigned { seq: message.seq, time: message.time })?;
            stored += 1;
        }
        Ok(stored)
    }

    /// Completes an adoption by what belongs to the stream as a whole.
    pub(super) fn finish_adoption(&mut self, target: &mut Target<'_>, header: &Header) -> Result<(), Failure> {
        refuse_changed(target)?;
        if header.last_seq > MAX_SEQ {
            return Err(Error::Invalid(format!("there is no room for message number {}", header.last_seq)).into());
        }
        target.state.ensure_id(&self.connection, target.instance)?;
        target.state.last_seq = target.state.last_seq.max(header.last_seq);
        self.store_limits(target, target.state.limits.with(&header.config)?)?;
        if header.metadata.is_some() {
            self.set_metadata(target, header.metadata.as_ref())?;
        }
        for (name, checkpoint) in &header.checkpoints {
            let new = NewCheckpoint {
                name: name.clone(),
                seq: Some(checkpoint.seq),
                time: Some(checkpoint.time),
                data: checkpoint.data.clone(),
            };
            self.check_checkpoint(target, &new)?;
            self.put_checkpoint(target, &new, Assigned { seq: checkpoint.seq, time: checkpoint.time })?;
        }
        target.touch();
        Ok(())
    }
}

/// A stream that has a life of its own here takes nothing over.
fn refuse_changed(target: &Target<'_>) -> Result<(), Error> {
    if target.state.changed > 0 {
        return Err(Error::Invalid("the stream is here already".to_owned()));
    }
    Ok(())
}
