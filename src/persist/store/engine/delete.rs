//! Deleting messages on demand (§6.3).

use super::{Engine, Failure, Target, remove::select};
use crate::persist::store::{feed::Change, message::Deletion, schema::row_id};

impl Engine {
    pub(super) fn delete(&mut self, target: &mut Target<'_>, deletion: &Deletion) -> Result<Vec<u64>, Failure> {
        let seqs = self.delete_messages(target, deletion)?;
        if target.state.dirty {
            target.touch();
        }
        target.changes.push(Change::Delete(seqs.clone()));
        Ok(seqs)
    }

    fn delete_messages(&mut self, target: &mut Target<'_>, deletion: &Deletion) -> rusqlite::Result<Vec<u64>> {
        let state = &mut *target.state;
        let (Some(stream), Some((first, last))) = (state.id, state.rows()) else {
            return Ok(if let Deletion::These(seqs) = deletion { seqs.clone() } else { Vec::new() });
        };
        match deletion {
            Deletion::All => {
                let seqs = self.remove_while(state, select::BETWEEN, [first, last], |_| true)?;
                self.remove_all_checkpoints(state)?;
                Ok(seqs)
            }
            Deletion::UpTo(seq) => self.remove_while(state, select::BETWEEN, [first, row_id(stream, *seq)], |_| true),
            Deletion::One(seq) => {
                if self.remove_these(state, &[*seq])? == 0 {
                    return Ok(Vec::new());
                }
                self.remove_checkpoints_of(state, &[*seq])?;
                Ok(vec![*seq])
            }
            Deletion::These(seqs) => {
                self.remove_these(state, seqs)?;
                let mut sorted = seqs.clone();
                sorted.sort_unstable();
                self.remove_checkpoints_of(state, &sorted)?;
                Ok(seqs.clone())
            }
            Deletion::Nothing => Ok(Vec::new()),
        }
    }
}
