//! Interest: which patterns have subscribers, and who they are (conat-wire.md §§4, 8, 9).
//!
//! A trie keyed by token, so that the cost of matching depends on the subject's tokens and not on the number of unrelated
//! subscriptions. Removal is exact: a node goes only when neither a pattern nor a child needs it (D1, D2). Publishers keep
//! matches in caches of their own; [`Sublist::generation`] tells them when a new pattern may make a cached match incomplete.
//! Members come and go inside an [`Entry`], which a cached match shares, so that needs no new generation.

use std::sync::{
    Arc,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

use foldhash::fast::RandomState;
use indexmap::IndexMap;
use parking_lot::RwLock;
use smallvec::SmallVec;

use super::outbox::Outbox;
use crate::wire::json;

type Map<K, V> = std::collections::HashMap<K, V, RandomState>;

/// Patterns that match one subject.
pub type Matches = SmallVec<[Arc<Entry>; 2]>;

/// A subscriber in a queue group.
#[derive(Clone, Debug)]
pub struct Member {
    /// The connection.
    pub connection: u64,
    /// Where its deliveries go.
    pub outbox: Arc<Outbox>,
}

/// Members of one queue group; rarely more than one.
pub type Group = SmallVec<[Member; 1]>;

/// A pattern that has, or had until a moment ago, at least one subscriber.
#[derive(Debug)]
pub struct Entry {
    pattern: Arc<str>,
    json: Box<[u8]>,
    groups: RwLock<IndexMap<Box<str>, Group, RandomState>>,
    /// Members in process, and members of a group that others were in first. Changes with `groups`.
    special: AtomicUsize,
}

impl Entry {
    fn new(pattern: &str) -> Entry {
        let mut json = Vec::with_capacity(pattern.len() + 2);
        json::push_string(&mut json, pattern);
        Entry { pattern: pattern.into(), json: json.into(), groups: RwLock::default(), special: AtomicUsize::new(0) }
    }

    /// The pattern.
    pub fn pattern(&self) -> &Arc<str> {
        &self.pattern
    }

    /// The pattern as a JSON string: the event name of deliveries.
    pub fn json(&self) -> &[u8] {
        &self.json
    }

    /// Whether this is the pattern `>`, which hears everything and counts for nothing (§8).
    pub fn is_tap(&self) -> bool {
        &*self.pattern == ">"
    }

    /// Whether everybody gets everything, and in the same form: each member is a socket and alone in its queue group.
    pub fn is_plain(&self) -> bool {
        self.special.load(Ordering::Acquire) == 0
    }

    /// Queue groups by name, for reading.
    pub fn groups(&self) -> parking_lot::RwLockReadGuard<'_, IndexMap<Box<str>, Group, RandomState>> {
        self.groups.read()
    }

    /// Adds a subscriber; tells whether it is the only one.
    fn insert(&self, queue: &str, member: Member) -> bool {
        let mut groups = self.groups.write();
        let in_process = usize::from(!member.outbox.is_encoded());
        let late = usize::from(groups.contains_key(queue));
        self.special.fetch_add(in_process + late, Ordering::Release);
        let is_first = groups.is_empty();
        match groups.get_mut(queue) {
            Some(group) => group.push(member),
            None => {
                groups.insert(queue.into(), SmallVec::from_iter([member]));
            }
        }
        is_first
    }

    /// Takes a connection out; tells whether nobody is left.
    fn remove(&self, queue: &str, connection: u64) -> bool {
        let mut groups = self.groups.write();
        if let Some(group) = groups.get_mut(queue) {
            if let Some(position) = group.iter().position(|m| m.connection == connection) {
                let member = group.swap_remove(position);
                let in_process = usize::from(!member.outbox.is_encoded());
                self.special.fetch_sub(in_process + usize::from(!group.is_empty()), Ordering::Release);
            }
            if group.is_empty() {
                groups.swap_remove(queue);
            }
        }
        groups.is_empty()
    }
}

#[derive(Debug, Default)]
struct Node {
    children: Map<Box<str>, Node>,
    any: Option<Box<Node>>,
    /// The pattern that ends here.
    entry: Option<Arc<Entry>>,
    /// The pattern that ends in `>` after this node's tokens.
    tail: Option<Arc<Entry>>,
}

impl Node {
    fn is_empty(&self) -> bool {
        self.children.is_empty() && self.any.is_none() && self.entry.is_none() && self.tail.is_none()
    }

    fn slot<'a>(&mut self, mut tokens: impl Iterator<Item = &'a str>) -> &mut Option<Arc<Entry>> {
        match tokens.next() {
            None => &mut self.entry,
            Some(">") => &mut self.tail,
            Some("*") => self.any.get_or_insert_default().slot(tokens),
            Some(token) => self.children.entry(token.into()).or_default().slot(tokens),
        }
    }

    fn collect(&self, subject: &str, out: &mut Matches) {
        let (token, rest) = match subject.split_once('.') {
            Some((token, rest)) => (token, Some(rest)),
            None => (subject, None),
        };
        out.extend(self.tail.clone());
        for child in [self.children.get(token), self.any.as_deref()].into_iter().flatten() {
            match rest {
                Some(rest) => child.collect(rest, out),
                None => out.extend(child.entry.clone()),
            }
        }
    }

    fn visit(&self, f: &mut impl FnMut(&Entry)) {
        self.entry.iter().chain(&self.tail).for_each(|entry| f(entry));
        self.children.values().chain(self.any.as_deref()).for_each(|child| child.visit(f));
    }

    /// Removes the pattern's entry if nobody uses it any more, and nodes that became empty on the way back.
    fn prune<'a>(&mut self, mut tokens: impl Iterator<Item = &'a str>) {
        fn clear(slot: &mut Option<Arc<Entry>>) {
            if slot.as_ref().is_some_and(|entry| entry.groups.read().is_empty()) {
                *slot = None;
            }
        }
        match tokens.next() {
            None => clear(&mut self.entry),
            Some(">") => clear(&mut self.tail),
            Some("*") => {
                if let Some(child) = &mut self.any {
                    child.prune(tokens);
                    if child.is_empty() {
                        self.any = None;
                    }
                }
            }
            Some(token) => {
                if let Some(child) = self.children.get_mut(token) {
                    child.prune(tokens);
                    if child.is_empty() {
                        self.children.remove(token);
                    }
                }
            }
        }
    }
}

/// The interest table.
#[derive(Debug, Default)]
pub struct Sublist {
    root: RwLock<Node>,
    generation: AtomicU64,
    version: AtomicU64,
}

impl Sublist {
    /// Adds a subscriber. Returns the pattern's entry and whether nobody was subscribed to the pattern before.
    pub fn insert(&self, pattern: &str, queue: &str, member: Member) -> (Arc<Entry>, bool) {
        let mut root = self.root.write();
        let slot = root.slot(pattern.split('.'));
        let is_new = slot.is_none();
        let entry = slot.get_or_insert_with(|| Arc::new(Entry::new(pattern))).clone();
        // Under the table's lock, so that a removal of the last other member can't take the entry away in between.
        let is_first = entry.insert(queue, member);
        self.version.fetch_add(1, Ordering::Release);
        if is_new {
            self.generation.fetch_add(1, Ordering::Release);
        }
        // An entry whose last subscriber has just left may still be there; who waits for interest has seen it empty.
        (entry, is_first)
    }

    /// Takes a subscriber out.
    pub fn remove(&self, entry: &Entry, queue: &str, connection: u64) {
        self.version.fetch_add(1, Ordering::Release);
        if entry.remove(queue, connection) {
            self.root.write().prune(entry.pattern.split('.'));
        }
    }

    /// A number that grows whenever a pattern is added; a match made at the same number is complete.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// A number that grows with every change of interest.
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Looks at all patterns, in no particular order. Nobody can subscribe meanwhile.
    pub fn visit(&self, mut f: impl FnMut(&Entry)) {
        self.root.read().visit(&mut f);
    }

    /// All patterns that match a subject.
    pub fn matches(&self, subject: &str) -> Matches {
        let mut out = Matches::new();
        self.root.read().collect(subject, &mut out);
        out
    }

    /// Whether somebody is subscribed to something that matches, the tap pattern `>` left aside (§9, D4).
    pub fn has_interest(&self, subject: &str) -> bool {
        self.matches(subject).iter().any(|entry| !entry.is_tap() && !entry.groups.read().is_empty())
    }

    /// Whether nothing is left in the table.
    pub fn is_empty(&self) -> bool {
        self.root.read().is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::wire::subject;

    fn member(connection: u64) -> Member {
        Member { connection, outbox: Outbox::new(16, 1 << 20) }
    }

    fn patterns(list: &Sublist, subject: &str) -> BTreeSet<String> {
        list.matches(subject).iter().map(|e| e.pattern().to_string()).collect()
    }

    #[test]
    fn removal_is_exact() {
        let list = Sublist::default();
        let (a, _) = list.insert("a", "q", member(1));
        let (ab, _) = list.insert("a.b", "q", member(1));
        list.remove(&ab, "q", 1);
        assert!(list.has_interest("a"));
        let (_ab, _) = list.insert("a.b", "q", member(1));
        list.remove(&a, "q", 1);
        assert!(!list.has_interest("a"));
        assert!(list.has_interest("a.b"));
    }

    #[test]
    fn a_pattern_is_new_when_its_last_subscriber_is_only_half_gone() {
        let list = Sublist::default();
        let (entry, _) = list.insert("a", "q", member(1));
        // The first half of a removal; the other half takes the entry out of the table.
        assert!(entry.remove("q", 1));
        assert!(!list.has_interest("a"));
        assert!(list.insert("a", "q", member(2)).1);
        list.root.write().prune("a".split('.'));
        assert!(list.has_interest("a"));
        assert!(!list.insert("a", "q", member(3)).1);
    }

    #[test]
    fn a_tap_is_no_interest() {
        let list = Sublist::default();
        list.insert(">", "q", member(1));
        assert!(!list.has_interest("a.b"));
        assert_eq!(list.matches("a.b").len(), 1);
    }

    #[test]
    fn a_member_that_left_one_queue_stays_in_the_other() {
        let list = Sublist::default();
        let (entry, fresh) = list.insert("a", "x", member(1));
        assert!(fresh);
        let (_, fresh) = list.insert("a", "y", member(2));
        assert!(!fresh);
        list.remove(&entry, "x", 1);
        assert_eq!(list.matches("a")[0].groups().len(), 1);
        list.remove(&entry, "y", 2);
        assert!(list.is_empty());
    }

    fn token() -> impl Strategy<Value = String> {
        prop_oneof![Just("a"), Just("b"), Just("constructor"), Just("__proto__")].prop_map(String::from)
    }

    fn pattern() -> impl Strategy<Value = String> {
        let inner = prop_oneof![3 => token(), 1 => Just("*".to_owned())];
        (prop::collection::vec(inner, 1..4), any::<bool>()).prop_map(|(mut tokens, tail)| {
            if tail {
                tokens.push(">".into());
            }
            tokens.join(".")
        })
    }

    proptest! {
        #[test]
        fn agrees_with_the_naive_matcher(
            steps in prop::collection::vec((pattern(), 0u64..3, any::<bool>()), 1..40),
            subjects in prop::collection::vec(prop::collection::vec(token(), 1..5), 1..8),
        ) {
            let list = Sublist::default();
            let mut model: BTreeSet<(String, u64)> = BTreeSet::new();
            for (pattern, connection, add) in steps {
                if add {
                    if model.insert((pattern.clone(), connection)) {
                        list.insert(&pattern, "q", member(connection));
                    }
                } else if model.remove(&(pattern.clone(), connection)) {
                    let entry = list.matches(&pattern.replace(['*', '>'], "a"))
                        .into_iter().find(|e| **e.pattern() == *pattern).unwrap();
                    list.remove(&entry, "q", connection);
                }
                for subject in &subjects {
                    let subject = subject.join(".");
                    let expected: BTreeSet<String> = model.iter()
                        .filter(|(p, _)| subject::matches(p, &subject)).map(|(p, _)| p.clone()).collect();
                    prop_assert_eq!(patterns(&list, &subject), expected);
                }
            }
            let left: Vec<_> = model.into_iter().collect();
            for (pattern, connection) in left {
                let entry = list.matches(&pattern.replace(['*', '>'], "a"))
                    .into_iter().find(|e| **e.pattern() == *pattern).unwrap();
                list.remove(&entry, "q", connection);
            }
            prop_assert!(list.is_empty());
        }
    }
}
