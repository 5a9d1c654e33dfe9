//! Numbers that are missing, as ranges (conat-persist.md §11.5). Pure.

use std::collections::BTreeMap;

/// Ranges remembered at most; beyond that neighbours are joined, which only means that more is asked for.
const MAX_RANGES: usize = 1024;

/// Ranges of missing numbers.
#[derive(Debug, Default)]
pub(super) struct Gaps {
    /// First to last, inclusive; they do not touch.
    ranges: BTreeMap<u64, u64>,
}

impl Gaps {
    /// Adds a range that comes after all others.
    pub fn add(&mut self, first: u64, last: u64) {
        if first > last {
            return;
        }
        if self.ranges.len() >= MAX_RANGES
            && let Some(mut newest) = self.ranges.last_entry()
        {
            newest.insert(last);
            return;
        }
        self.ranges.insert(first, last);
    }

    /// The first range.
    pub fn first(&self) -> Option<(u64, u64)> {
        self.ranges.first_key_value().map(|(first, last)| (*first, *last))
    }

    /// What was in the first range has been looked for; what was not found is gone.
    pub fn close_first(&mut self, first: u64) {
        self.ranges.remove(&first);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn persist_098_gaps_are_ranges_in_the_order_of_numbers() {
        let mut gaps = Gaps::default();
        gaps.add(9, 10);
        gaps.add(100, 1_000_000_000_000);
        gaps.add(5, 4);
        assert_eq!(gaps.first(), Some((9, 10)));
        gaps.close_first(9);
        assert_eq!(gaps.first(), Some((100, 1_000_000_000_000)));
        gaps.close_first(100);
        assert_eq!(gaps.first(), None);
    }

    #[test]
    fn persist_098_their_number_is_bounded() {
        let mut gaps = Gaps::default();
        for n in 1..=5000 {
            gaps.add(n * 10, n * 10 + 3);
        }
        assert_eq!(gaps.ranges.len(), MAX_RANGES);
        assert_eq!(gaps.ranges.last_key_value().map(|(_, last)| *last), Some(50_003));
    }
}
