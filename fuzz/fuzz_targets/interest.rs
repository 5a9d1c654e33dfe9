//! The interest table agrees with a list that is searched from end to end, whatever comes and goes.
//!
//! Input: lines. `+pattern` subscribes, `-pattern` unsubscribes, anything else is a subject that is looked up.

#![no_main]

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use libfuzzer_sys::fuzz_target;
use outpost::{
    broker::{
        Outbox,
        sublist::{Entry, Member, Sublist},
    },
    wire::subject::{is_valid_pattern, is_valid_subject, matches},
};

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let list = Sublist::default();
    let outbox = Outbox::new(16, 1 << 20);
    let mut model: BTreeMap<&str, (Arc<Entry>, Vec<u64>)> = BTreeMap::new();
    for (connection, line) in text.lines().take(200).enumerate() {
        let connection = connection as u64;
        if let Some(pattern) = line.strip_prefix('+') {
            if is_valid_pattern(pattern) {
                let queue = (connection % 2).to_string();
                let (entry, fresh) = list.insert(pattern, &queue, Member { connection, outbox: outbox.clone() });
                assert_eq!(fresh, !model.contains_key(pattern), "{pattern:?}");
                assert_eq!(&**entry.pattern(), pattern);
                model.entry(pattern).or_insert_with(|| (entry, Vec::new())).1.push(connection);
            }
        } else if let Some(pattern) = line.strip_prefix('-') {
            if let Some((entry, connections)) = model.get_mut(pattern) {
                let gone = connections.pop().unwrap_or_default();
                list.remove(entry, &(gone % 2).to_string(), gone);
                if connections.is_empty() {
                    model.remove(pattern);
                }
            }
        } else if is_valid_subject(line) {
            let found: BTreeSet<String> = list.matches(line).iter().map(|entry| entry.pattern().to_string()).collect();
            let expected: BTreeSet<String> =
                model.keys().filter(|pattern| matches(pattern, line)).map(|pattern| (*pattern).to_owned()).collect();
            assert_eq!(found, expected, "{line:?}");
            assert_eq!(list.has_interest(line), expected.iter().any(|pattern| pattern != ">"));
        }
    }
    for (entry, connections) in model.values() {
        for connection in connections {
            list.remove(entry, &(connection % 2).to_string(), *connection);
        }
    }
    assert!(list.is_empty(), "something stays in the table");
});
