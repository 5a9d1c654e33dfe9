//! The store against a naive model that keeps everything in a list and counts anew each time.

use std::collections::{BTreeMap, HashMap};

use proptest::{collection::vec, option, prelude::*};
use serde_json::json;

use super::*;

#[derive(Clone, Debug)]
struct Entry {
    stored: Stored,
    size: i64,
    ttl: Option<u64>,
}

#[derive(Debug)]
struct Model {
    entries: Vec<Entry>,
    last_seq: u64,
    config: Map<String, Value>,
    metadata: Option<Value>,
    checkpoints: Checkpoints,
    ids: HashMap<Arc<str>, (Assigned, u64)>,
    ephemeral: bool,
    events: Vec<String>,
}

impl Model {
    fn new(ephemeral: bool) -> Model {
        let config = fields(json!({
            "max_msgs": -1, "max_age": 0, "max_bytes": -1, "max_msg_size": -1, "max_bytes_per_second": -1,
            "max_msgs_per_second": -1, "discard_policy": "old", "allow_msg_ttl": false, "required_headers": null, "desc": null,
        }));
        Model {
            entries: Vec::new(),
            last_seq: 0,
            config,
            metadata: None,
            checkpoints: BTreeMap::new(),
            ids: HashMap::new(),
            ephemeral,
            events: Vec::new(),
        }
    }

    fn number(&self, name: &str) -> i64 {
        self.config[name].as_i64().unwrap()
    }

    fn max_bytes(&self) -> i64 {
        match self.number("max_bytes") {
            n if self.ephemeral && n <= 0 => 64_000_000,
            n => n,
        }
    }

    fn bytes(&self) -> i64 {
        self.entries.iter().map(|entry| entry.size).sum()
    }

    fn drop_where(&mut self, gone: impl Fn(&Entry) -> bool) -> Vec<u64> {
        let (out, stay) = std::mem::take(&mut self.entries).into_iter().partition::<Vec<_>, _>(|entry| gone(entry));
        self.entries = stay;
        let seqs: Vec<u64> = out.iter().map(|entry| entry.stored.seq).collect();
        self.checkpoints.retain(|_, checkpoint| !seqs.contains(&checkpoint.seq));
        seqs
    }

    fn evict(&mut self, seqs: Vec<u64>) {
        if !seqs.is_empty() {
            self.events.push(format!("delete {seqs:?}"));
        }
    }

    /// §8.7, with rejections before deletions.
    fn enforce(&mut self, size: i64, now: u64) -> Result<(), String> {
        let is_new = self.config["discard_policy"] == "new";
        let more = i64::from(size > 0);
        let (max_msgs, max_age) = (self.number("max_msgs"), self.number("max_age"));
        let (max_bytes, max_msg_size) = (self.max_bytes(), self.number("max_msg_size"));
        let too_old = |entry: &Entry| max_age > 0 && entry.stored.time as i64 <= now as i64 - max_age;
        if size > 0 {
            let recent: Vec<i64> =
                self.entries.iter().filter(|e| e.stored.time + 1000 >= now).map(|entry| entry.size).collect();
            let (per_second, bytes_per_second) =
                (self.number("max_msgs_per_second"), self.number("max_bytes_per_second"));
            if per_second > 0 && recent.len() as i64 > per_second {
                return Err("max_msgs_per_second exceeded".into());
            }
            if bytes_per_second > 0 && recent.iter().sum::<i64>() > bytes_per_second {
                return Err("max_bytes_per_second exceeded".into());
            }
            if is_new && max_msgs > -1 && self.entries.len() as i64 + 1 > max_msgs {
                return Err("max_msgs limit reached".into());
            }
            let left: i64 = self.entries.iter().filter(|entry| !too_old(entry)).map(|entry| entry.size).sum();
            if is_new && max_bytes > -1 && (size > max_bytes || left + size > max_bytes) {
                return Err("max_bytes limit reached".into());
            }
            if max_msg_size > -1 && size > max_msg_size {
                return Err(format!("max_msg_size of {max_msg_size} bytes exceeded"));
            }
        }
        if max_msgs > -1 && !is_new {
            let excess = (self.entries.len() as i64 + more - max_msgs).max(0) as usize;
            let gone: Vec<u64> = self.entries.iter().take(excess).map(|entry| entry.stored.seq).collect();
            let gone = self.drop_where(|entry| gone.contains(&entry.stored.seq));
            self.evict(gone);
        }
        let gone = self.drop_where(too_old);
        self.evict(gone);
        if max_bytes > -1 && !is_new {
            let mut gone = Vec::new();
            let mut total = self.bytes();
            for entry in &self.entries {
                if size <= max_bytes && total + size <= max_bytes {
                    break;
                }
                total -= entry.size;
                gone.push(entry.stored.seq);
            }
            let gone = self.drop_where(|entry| gone.contains(&entry.stored.seq));
            self.evict(gone);
        }
        if self.config["allow_msg_ttl"] == true {
            let gone = self.drop_where(|entry| expired(entry, now));
            self.evict(gone);
        }
        Ok(())
    }

    fn set(&mut self, set: &Set, now: u64) -> Result<Assigned, String> {
        if let Some(id) = &set.msg_id
            && let Some((assigned, since)) = self.ids.get(id)
            && now.saturating_sub(*since) < 120_000
        {
            return Ok(*assigned);
        }
        let headers: Map<String, Value> =
            set.headers.as_ref().map(|text| serde_json::from_str(text).unwrap()).unwrap_or_default();
        if let Value::Object(required) = &self.config["required_headers"] {
            for (name, value) in required {
                if headers.get(name) != Some(value) {
                    return Err(format!("required header mismatch for '{name}'"));
                }
            }
        }
        let holder = self.entries.iter().position(|e| set.key.is_some() && e.stored.key == set.key);
        if let (Some(previous), Some(_)) = (set.previous_seq, &set.key)
            && holder.map(|at| self.entries[at].stored.seq) != Some(previous)
        {
            return Err("wrong last sequence".into());
        }
        let units = |text: &Option<Arc<str>>| text.as_ref().map_or(0, |text| text.encode_utf16().count());
        let size = (set.raw.len() + units(&set.key) + units(&set.headers)) as i64;
        self.enforce(size, now)?;
        self.last_seq += 1;
        if set.key.is_some() {
            self.entries.retain(|entry| entry.stored.key != set.key);
        }
        let stored = Stored {
            seq: self.last_seq,
            time: now,
            key: set.key.clone(),
            encoding: set.encoding,
            raw: set.raw.clone(),
            headers: set.headers.clone(),
        };
        self.entries.push(Entry { stored, size, ttl: set.ttl });
        self.events.push(format!("set {}", self.last_seq));
        let assigned = Assigned { seq: self.last_seq, time: now };
        if let Some(new) = &set.checkpoint {
            self.put_checkpoint(new, assigned);
        }
        if let Some(id) = &set.msg_id {
            self.ids.insert(id.clone(), (assigned, now));
        }
        Ok(assigned)
    }

    fn put_checkpoint(&mut self, new: &NewCheckpoint, default: Assigned) {
        let checkpoint = Checkpoint {
            seq: new.seq.unwrap_or(default.seq),
            time: new.time.unwrap_or(default.time),
            data: new.data.clone(),
        };
        self.checkpoints.insert(new.name.clone(), checkpoint);
        self.tell_checkpoints();
    }

    fn tell_checkpoints(&mut self) {
        self.events.push(format!("checkpoints {:?}", self.checkpoints.keys().collect::<Vec<_>>()));
    }

    fn delete(&mut self, deletion: &Deletion) -> Vec<u64> {
        let seqs = match deletion {
            Deletion::All => {
                self.checkpoints.clear();
                self.drop_where(|_| true)
            }
            Deletion::UpTo(seq) => self.drop_where(|entry| entry.stored.seq <= *seq),
            Deletion::One(seq) => self.drop_where(|entry| entry.stored.seq == *seq),
            Deletion::These(seqs) => {
                self.drop_where(|entry| seqs.contains(&entry.stored.seq));
                if self.last_seq > 0 || !self.checkpoints.is_empty() {
                    self.checkpoints.retain(|_, checkpoint| !seqs.contains(&checkpoint.seq));
                }
                seqs.clone()
            }
            Deletion::Nothing => Vec::new(),
        };
        self.events.push(format!("delete {seqs:?}"));
        seqs
    }
}

fn expired(entry: &Entry, now: u64) -> bool {
    entry.ttl.is_some_and(|ttl| ttl > 0 && now >= entry.stored.time + ttl)
}

#[derive(Clone, Debug)]
enum Op {
    Set(Set, Cas),
    SetMany(Vec<Set>),
    Delete(Deletion),
    Configure(Value),
    SetMetadata(Option<Value>),
    PatchMetadata(Value),
    SetCheckpoint(String, u64),
    DeleteCheckpoint(String),
    Advance(u64),
    Back(u64),
    Reopen,
    Restart,
}

#[derive(Clone, Debug)]
enum Cas {
    None,
    Right,
    Wrong(u64),
}

fn some_set() -> impl Strategy<Value = Set> {
    let key = option::of(prop_oneof![Just("a"), Just("é€😀"), Just("")]);
    let headers = option::weighted(0.3, prop_oneof![Just(r#"{"x":1}"#), Just(r#"{"x":"é","CN-Tombstone":true}"#)]);
    let raw = prop_oneof![8 => 0..40_usize, 1 => 1000..3000_usize];
    let ttl = option::weighted(0.3, 0..3000_u64);
    let id = option::weighted(0.2, prop_oneof![Just("m1"), Just("m2")]);
    let checkpoint = option::weighted(0.1, prop_oneof![Just("c1"), Just("c2")]);
    (key, headers, raw, ttl, id, checkpoint, any::<u8>()).prop_map(|(key, headers, raw, ttl, id, checkpoint, fill)| {
        Set {
            encoding: fill % 2,
            raw: vec![fill; raw].into(),
            headers: headers.map(Into::into),
            key: key.map(Into::into),
            ttl,
            previous_seq: None,
            msg_id: id.map(Into::into),
            checkpoint: checkpoint.map(|name| NewCheckpoint {
                name: name.into(),
                seq: None,
                time: None,
                data: Some(json!(fill)),
            }),
        }
    })
}

fn some_op() -> impl Strategy<Value = Op> {
    let cas = prop_oneof![6 => Just(Cas::None), 1 => Just(Cas::Right), 1 => (0..9_u64).prop_map(Cas::Wrong)];
    let deletion = prop_oneof![
        Just(Deletion::All),
        (0..20_u64).prop_map(Deletion::UpTo),
        (0..20_u64).prop_map(Deletion::One),
        vec(0..20_u64, 0..5).prop_map(Deletion::These),
        Just(Deletion::Nothing),
    ];
    let config = prop_oneof![
        (-1..6_i64).prop_map(|n| json!({"max_msgs": n})),
        (-1..2000_i64).prop_map(|n| json!({"max_age": n})),
        (-1..120_i64).prop_map(|n| json!({"max_bytes": n})),
        (-1..60_i64).prop_map(|n| json!({"max_msg_size": n})),
        (-1..4_i64).prop_map(|n| json!({"max_msgs_per_second": n})),
        (-1..90_i64).prop_map(|n| json!({"max_bytes_per_second": n})),
        prop_oneof![Just("new"), Just("old")].prop_map(|policy| json!({"discard_policy": policy})),
        any::<bool>().prop_map(|on| json!({"allow_msg_ttl": on})),
        prop_oneof![Just(json!({"x": 1})), Just(json!({}))].prop_map(|names| json!({"required_headers": names})),
        Just(json!({"desc": {"a": [1]}, "max_msgs": null, "unknown": 1})),
        Just(json!({"max_msgs": -1, "max_bytes": -1, "max_msg_size": -1, "max_msgs_per_second": -1,
            "max_bytes_per_second": -1, "required_headers": {}})),
    ];
    let value = prop_oneof![Just(json!({"a": 1})), Just(json!({"b": null, "a": 2})), Just(json!(5)), Just(Value::Null)];
    let name = prop_oneof![Just("c1".to_owned()), Just("c2".to_owned())];
    prop_oneof![
        20 => (some_set(), cas).prop_map(|(set, cas)| Op::Set(set, cas)),
        4 => vec(some_set(), 0..5).prop_map(Op::SetMany),
        4 => deletion.prop_map(Op::Delete),
        6 => config.prop_map(Op::Configure),
        1 => option::of(value.clone()).prop_map(Op::SetMetadata),
        1 => value.prop_map(Op::PatchMetadata),
        2 => (name.clone(), 1..20_u64).prop_map(|(name, seq)| Op::SetCheckpoint(name, seq)),
        1 => name.prop_map(Op::DeleteCheckpoint),
        8 => prop_oneof![6 => 0..1500_u64, 1 => Just(130_000)].prop_map(Op::Advance),
        1 => (0..5000_u64).prop_map(Op::Back),
        1 => Just(Op::Reopen),
        1 => Just(Op::Restart),
    ]
}

fn text<T>(result: Result<T>) -> Result<T, String> {
    result.map_err(|error| error.to_string())
}

async fn run(ephemeral: bool, ops: Vec<Op>) {
    let mut fixture = Fixture::new();
    let mut model = Model::new(ephemeral);
    let options = OpenOptions { ephemeral };
    let mut stream = fixture.store.stream("hub/model", options).await.unwrap();
    let mut feed = stream.feed(BOUNDS);
    for op in ops {
        let now = fixture.now();
        match op {
            Op::Set(mut set, cas) => {
                set.previous_seq = match cas {
                    Cas::None => None,
                    Cas::Wrong(seq) => Some(seq),
                    Cas::Right => model.entries.iter().find(|e| e.stored.key == set.key).map(|e| e.stored.seq),
                };
                let expected = model.set(&set, now);
                assert_eq!(text(stream.put(set).await), expected);
            }
            Op::SetMany(sets) => {
                let expected: Vec<_> = sets.iter().map(|set| model.set(set, now)).collect();
                let results = stream.set_many(sets).await.unwrap().await.unwrap();
                assert_eq!(results.into_iter().map(text).collect::<Vec<_>>(), expected);
            }
            Op::Delete(deletion) => {
                let expected = model.delete(&deletion);
                assert_eq!(stream.remove(deletion).await, expected);
            }
            Op::Configure(change) => {
                for (name, value) in change.as_object().unwrap().iter().filter(|(_, value)| !value.is_null()) {
                    if let Some(field) = model.config.get_mut(name) {
                        *field = value.clone();
                    }
                }
                model.enforce(0, now).unwrap();
                let mut expected = model.config.clone();
                expected["max_bytes"] = model.max_bytes().into();
                assert_eq!(stream.config(change).await.unwrap(), expected);
            }
            Op::SetMetadata(value) => {
                model.metadata = value.clone().filter(|value| !value.is_null());
                model.events.push(format!("metadata {:?}", model.metadata));
                assert_eq!(stream.set_metadata(value).await.unwrap().await.unwrap(), model.metadata);
            }
            Op::PatchMetadata(delta) => {
                model.metadata = match (model.metadata.take(), delta.clone()) {
                    (Some(Value::Object(mut old)), Value::Object(new)) => {
                        old.extend(new);
                        Some(Value::Object(old))
                    }
                    (_, new) => Some(new).filter(|value| !value.is_null()),
                };
                model.events.push(format!("metadata {:?}", model.metadata));
                assert_eq!(stream.patch_metadata(Some(delta)).await.unwrap().await.unwrap(), model.metadata);
            }
            Op::SetCheckpoint(name, seq) => {
                let new = NewCheckpoint { name, seq: Some(seq), time: None, data: None };
                model.put_checkpoint(&new, Assigned { seq, time: now });
                let expected = model.checkpoints[&new.name].clone();
                assert_eq!(stream.set_checkpoint(new).await.unwrap().await.unwrap(), expected);
            }
            Op::DeleteCheckpoint(name) => {
                model.checkpoints.remove(&name);
                model.tell_checkpoints();
                stream.delete_checkpoint(name).await.unwrap().await.unwrap();
            }
            Op::Advance(ms) => fixture.advance(ms),
            Op::Back(ms) => fixture.set_clock(now - ms),
            Op::Reopen | Op::Restart => {
                assert_eq!(heard(&mut feed), std::mem::take(&mut model.events));
                drop(stream);
                fixture.released().await;
                if matches!(op, Op::Restart) {
                    fixture.restart().await;
                }
                if ephemeral {
                    model = Model::new(true);
                }
                model.ids.clear();
                model.enforce(0, now).unwrap();
                // Nobody could have heard of what was removed on open.
                model.events.clear();
                stream = fixture.store.stream("hub/model", options).await.unwrap();
                feed = stream.feed(BOUNDS);
            }
        }
        compare(&fixture, &stream, &mut feed, &mut model).await;
    }
    fixture.store.close().await;
}

async fn compare(fixture: &Fixture, stream: &Stream, feed: &mut Feed, model: &mut Model) {
    assert_eq!(heard(feed), std::mem::take(&mut model.events));
    let expected: Vec<Stored> = model.entries.iter().map(|entry| entry.stored.clone()).collect();
    assert_eq!(stream.all().await, expected);
    let inventory = stream.inventory().await.unwrap();
    let newest = expected.last().map_or(0, |stored| stored.seq);
    assert_eq!(
        (inventory.bytes, inventory.count, inventory.seq),
        (model.bytes() as u64, expected.len() as u64, newest)
    );
    let defaults = Model::new(false).config;
    let differing = model.config.iter().filter(|(name, value)| defaults[*name] != **value);
    assert_eq!(inventory.limits, differing.map(|(name, value)| (name.clone(), value.clone())).collect());
    let mut keys: Vec<Arc<str>> = expected.iter().filter_map(|stored| stored.key.clone()).collect();
    keys.sort();
    assert_eq!(stream.keys().await.unwrap(), keys);
    assert_eq!(stream.metadata().await.unwrap(), model.metadata);
    assert_eq!(stream.checkpoints().await.unwrap(), model.checkpoints);
    let hides = model.config["allow_msg_ttl"] == true;
    for entry in &model.entries {
        let visible = (!hides || !expired(entry, fixture.now())).then(|| entry.stored.clone());
        assert_eq!(stream.get(Selector::Seq(entry.stored.seq)).await.unwrap(), visible);
        if let Some(key) = &entry.stored.key {
            assert_eq!(stream.get(Selector::Key(key.clone())).await.unwrap(), visible);
        }
    }
    assert_eq!(stream.get(Selector::Seq(model.last_seq + 1)).await.unwrap(), None);
}

fn check(ephemeral: bool, ops: Vec<Op>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(run(ephemeral, ops));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, max_shrink_iters: 2000, ..ProptestConfig::default() })]

    #[test]
    fn persist_071_to_088_store_does_what_the_model_does(ops in vec(some_op(), 1..60)) {
        check(false, ops);
    }

    #[test]
    fn persist_087_ephemeral_stream_does_what_the_model_does(ops in vec(some_op(), 1..60)) {
        check(true, ops);
    }
}
