//! Enforcing limits (§8.7). There are no timers: nothing goes while nobody writes, configures or opens the stream.

use super::{Engine, Failure, Target, rate::RateWindow, remove::select, state::State};
use crate::persist::store::{
    Error,
    feed::Change,
    schema::{int, uint},
};

fn rejected(text: &str) -> Failure {
    Failure::Refused(Error::Rejected(text.to_owned()))
}

impl Engine {
    /// Makes room for a message of a size; 0 stands for no message, or one of no size, which passes all gates. All that may be
    /// rejected is, before anything is deleted.
    pub(super) fn enforce(&mut self, target: &mut Target<'_>, size: u64) -> Result<(), Failure> {
        if size > 0 {
            self.check_rate(target)?;
            self.check_room(target, size)?;
        }
        self.make_room(target, size)?;
        Ok(())
    }

    fn check_rate(&self, target: &mut Target<'_>) -> Result<(), Failure> {
        let state = &mut *target.state;
        if !state.limits.limit_rate() {
            return Ok(());
        }
        let Some(stream) = state.id else { return Ok(()) };
        let window = match state.rate.take() {
            Some(window) if window.covers(target.now) => window,
            _ => RateWindow::load(&self.connection, stream, target.now)?,
        };
        let (count, bytes) = state.rate.insert(window).measure(target.now);
        let exceeds = |n: u64, limit: i64| limit > 0 && int(n) > limit;
        if exceeds(count, state.limits.max_msgs_per_second) {
            return Err(rejected("max_msgs_per_second exceeded"));
        }
        if exceeds(bytes, state.limits.max_bytes_per_second) {
            return Err(rejected("max_bytes_per_second exceeded"));
        }
        Ok(())
    }

    /// What policy `new` and the size of the message itself forbid.
    fn check_room(&self, target: &Target<'_>, size: u64) -> Result<(), Failure> {
        let state = &*target.state;
        let limits = &state.limits;
        let max_bytes = limits.max_bytes(target.instance.ephemeral);
        if limits.discard_new {
            if limits.max_msgs > -1 && int(state.count.saturating_add(1)) > limits.max_msgs {
                return Err(rejected("max_msgs limit reached"));
            }
            // The oldest go before bytes are counted, but not those whose time to live is over.
            if max_bytes > -1
                && int(state.bytes.saturating_add(size)) > max_bytes
                && (int(size) > max_bytes
                    || int(state.bytes.saturating_sub(self.aged_bytes(target)?).saturating_add(size)) > max_bytes)
            {
                return Err(rejected("max_bytes limit reached"));
            }
        }
        if limits.max_msg_size > -1 && int(size) > limits.max_msg_size {
            return Err(rejected(&format!("max_msg_size of {} bytes exceeded", limits.max_msg_size)));
        }
        Ok(())
    }

    /// Bytes of the messages that `max_age` removes now.
    fn aged_bytes(&self, target: &Target<'_>) -> rusqlite::Result<u64> {
        let (Some(stream), Some(start)) = (target.state.id, age_limit(target)) else { return Ok(0) };
        let sql = format!("SELECT total(size) FROM {}", select::AGED);
        let total: f64 = self.connection.prepare_cached(&sql)?.query_row([stream, int(start)], |row| row.get(0))?;
        Ok(total as u64)
    }

    fn make_room(&mut self, target: &mut Target<'_>, size: u64) -> rusqlite::Result<()> {
        let (Some(stream), Some((first, last))) = (target.state.id, target.state.rows()) else { return Ok(()) };
        let age_limit = age_limit(target);
        let limits = &target.state.limits;
        let (max_msgs, max_bytes) = (limits.max_msgs, limits.max_bytes(target.instance.ephemeral));
        let (discard_old, purge) = (!limits.discard_new, limits.allow_msg_ttl);
        let more = u64::from(size > 0);

        if max_msgs > -1 && discard_old {
            let exceeds = |state: &State| int(state.count.saturating_add(more)) > max_msgs && state.count > 0;
            self.drop_messages(target, select::BETWEEN, [first, last], exceeds)?;
        }
        if let Some(start) = age_limit {
            self.drop_messages(target, select::AGED, [stream, int(start)], |_| true)?;
        }
        if max_bytes > -1 && discard_old {
            let exceeds = |state: &State| int(state.bytes.saturating_add(size)) > max_bytes && state.count > 0;
            self.drop_messages(target, select::BETWEEN, [first, last], exceeds)?;
        }
        if purge {
            self.drop_messages(target, select::EXPIRED, [stream, int(target.now)], |_| true)?;
        }
        Ok(())
    }

    /// One step of making room, with its event.
    fn drop_messages(
        &mut self,
        target: &mut Target<'_>,
        selection: &str,
        parameters: [i64; 2],
        more: impl Fn(&State) -> bool,
    ) -> rusqlite::Result<()> {
        let seqs = self.remove_while(target.state, selection, parameters, more)?;
        if !seqs.is_empty() {
            target.touch();
            target.changes.push(Change::Delete(seqs));
        }
        Ok(())
    }
}

/// Messages of this time or before are too old.
fn age_limit(target: &Target<'_>) -> Option<u64> {
    let max_age = target.state.limits.max_age;
    (max_age > 0).then(|| target.now.checked_sub(uint(max_age))).flatten()
}
