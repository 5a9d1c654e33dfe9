//! How much was written in the last second.

use std::collections::VecDeque;

use rusqlite::Connection;

use super::state::rows;
use crate::persist::store::schema::{seq_of, uint};

/// The time a rate is measured over, in ms.
const SPAN: u64 = 1000;

/// How many older messages are passed over in search of younger ones: where the clock went back, times are not in order.
const OLDER_MAX: u32 = 1024;

#[derive(Clone, Copy, Debug)]
struct Entry {
    seq: u64,
    time: u64,
    size: u64,
}

/// The stored messages of the last second. Those that are deleted or replaced leave it.
#[derive(Debug, Default)]
pub(in crate::persist::store) struct RateWindow {
    /// In order of their numbers.
    entries: VecDeque<Entry>,
    bytes: u64,
    /// The clock went back, so times are not in order.
    disordered: bool,
    /// What is older has left it.
    start: u64,
}

impl RateWindow {
    pub fn load(connection: &Connection, stream: i64, now: u64) -> rusqlite::Result<RateWindow> {
        let (first, last) = rows(stream);
        let mut select = connection
            .prepare_cached("SELECT id, time, size FROM messages WHERE id >= ?1 AND id <= ?2 ORDER BY id DESC")?;
        let mut found = select.query([first, last])?;
        let mut window = RateWindow { start: now.saturating_sub(SPAN), ..RateWindow::default() };
        let mut older = 0;
        while let Some(row) = found.next()? {
            let entry = Entry { seq: seq_of(row.get(0)?), time: uint(row.get(1)?), size: uint(row.get(2)?) };
            if entry.time < window.start {
                older += 1;
                if older > OLDER_MAX {
                    break;
                }
                continue;
            }
            window.disordered |= window.entries.front().is_some_and(|next| next.time < entry.time);
            window.bytes += entry.size;
            window.entries.push_front(entry);
        }
        Ok(window)
    }

    /// Whether it has all that is needed now; not if the clock went back.
    pub fn covers(&self, now: u64) -> bool {
        now.saturating_sub(SPAN) >= self.start
    }

    /// How many there are now, and their bytes.
    pub fn measure(&mut self, now: u64) -> (u64, u64) {
        let start = now.saturating_sub(SPAN);
        self.start = start;
        if self.disordered {
            self.entries.retain(|entry| entry.time >= start);
            self.bytes = self.entries.iter().map(|entry| entry.size).sum();
            self.disordered = !self.entries.iter().is_sorted_by_key(|entry| entry.time);
        } else {
            while let Some(entry) = self.entries.pop_front_if(|entry| entry.time < start) {
                self.bytes -= entry.size;
            }
        }
        (self.entries.len() as u64, self.bytes)
    }

    pub fn add(&mut self, seq: u64, time: u64, size: u64) {
        self.disordered |= self.entries.back().is_some_and(|last| last.time > time);
        self.entries.push_back(Entry { seq, time, size });
        self.bytes += size;
    }

    pub fn remove(&mut self, seq: u64) {
        if let Ok(at) = self.entries.binary_search_by_key(&seq, |entry| entry.seq)
            && let Some(entry) = self.entries.remove(at)
        {
            self.bytes -= entry.size;
        }
    }
}
