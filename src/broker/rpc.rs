//! Calls of services past the interest table: the fast paths of newer clients (conat-wire.md §20.5).

use std::sync::Arc;

use foldhash::fast::RandomState;
use indexmap::IndexMap;
use parking_lot::RwLock;
use serde_json::Value;
use tokio::sync::oneshot;

use super::{outbox::Outbox, sublist::Member};
use crate::wire::{
    frame::Attachments,
    json::{self, Raw, Scanner},
    socketio::{MAX_ATTACHMENTS, placeholders_are_sound},
    subject,
};

/// Which of the three events a call came with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallKind {
    /// `rpc`
    Rpc,
    /// `fast-rpc`
    FastRpc,
    /// `rpc-raw`
    RpcRaw,
}

impl CallKind {
    /// The caller's event.
    pub fn event(self) -> &'static str {
        match self {
            CallKind::Rpc => "rpc",
            CallKind::FastRpc => "fast-rpc",
            CallKind::RpcRaw => "rpc-raw",
        }
    }

    /// The event that the service gets.
    pub fn request_event(self) -> &'static str {
        match self {
            CallKind::Rpc => "rpc-request",
            CallKind::FastRpc => "fast-rpc-request",
            CallKind::RpcRaw => "rpc-raw-request",
        }
    }
}

/// Fields of a JSON object as text without the braces, and the binary values in it.
#[derive(Clone, Debug, Default)]
pub struct Fields {
    /// `"name":value,…`; UTF-8.
    pub text: Vec<u8>,
    /// Binary values.
    pub attachments: Attachments,
}

impl Fields {
    /// Copies fields of an object for which `keep` is true, with the binary values in them. `None` if a placeholder names an
    /// attachment that is not there: receivers' decoders close their connection over that.
    pub fn copy(object: Raw<'_>, attachments: Attachments, keep: impl Fn(&str) -> bool) -> Option<Fields> {
        let mut text = String::with_capacity(object.text().len());
        for (name, value) in object.fields().filter(|(name, _)| name.as_str().is_some_and(|name| keep(&name))) {
            if !text.is_empty() {
                text.push(',');
            }
            text.push_str(name.text());
            text.push(':');
            text.push_str(value.text());
        }
        let whole = format!("{{{text}}}");
        let scanned = Scanner::new(&whole).value().ok()?;
        if placeholders_are_sound(scanned, attachments.len()) {
            return Some(Fields { text: text.into_bytes(), attachments });
        }
        // Fields that were left out may have had attachments of their own: number the rest anew.
        let mut tree: Value = serde_json::from_str(&whole).ok()?;
        let mut kept = Attachments::new();
        renumber(&mut tree, &attachments, &mut kept)?;
        let text = tree.to_string();
        let text = text.get(1..text.len() - 1)?.as_bytes().to_vec();
        Some(Fields { text, attachments: kept })
    }

    /// `error` and `code`.
    pub fn error(message: &str, code: u16) -> Fields {
        let mut text = br#""error":"#.to_vec();
        json::push_string(&mut text, message);
        text.extend_from_slice(format!(r#","code":{code}"#).as_bytes());
        Fields { text, attachments: Attachments::new() }
    }
}

/// Gives the placeholders in a value the numbers 0, 1, … in order and collects what they stand for.
fn renumber(value: &mut Value, attachments: &Attachments, kept: &mut Attachments) -> Option<()> {
    match value {
        Value::Array(items) => items.iter_mut().try_for_each(|v| renumber(v, attachments, kept)),
        Value::Object(map) if map.get("_placeholder") == Some(&Value::Bool(true)) => {
            let number = map.get("num").and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok())?;
            map.insert("num".into(), kept.len().into());
            kept.push(attachments.get(number)?.clone());
            (kept.len() <= MAX_ATTACHMENTS).then_some(())
        }
        Value::Object(map) => map.values_mut().try_for_each(|v| renumber(v, attachments, kept)),
        _ => Some(()),
    }
}

/// A call on its way to a service.
#[derive(Debug)]
pub struct RpcCall {
    /// Which event it came with.
    pub kind: CallKind,
    /// The subject that was called.
    pub subject: Arc<str>,
    /// The pattern the service registered.
    pub pattern: Arc<str>,
    /// `<caller's socket id>:<caller's request id>`; only with [`CallKind::RpcRaw`].
    pub request_id: Option<String>,
    /// `encoding`, `raw`, `headers` or `payload`.
    pub body: Fields,
    /// Where the answer goes. Dropping it tells the caller that the service went away.
    pub reply: oneshot::Sender<Fields>,
}

impl RpcCall {
    /// Bytes that wait while this call does.
    pub fn bytes(&self) -> usize {
        self.body.text.len() + self.body.attachments.iter().map(bytes::Bytes::len).sum::<usize>()
    }
}

type Queues = IndexMap<Box<str>, Vec<Member>, RandomState>;

/// Services that were registered for calls; a table of its own beside the interest (§20.5).
#[derive(Debug, Default)]
pub struct Services {
    tables: RwLock<Tables>,
}

/// Nearly all patterns are subjects, which need no search.
#[derive(Debug, Default)]
struct Tables {
    subjects: IndexMap<Box<str>, Queues, RandomState>,
    wildcards: IndexMap<Box<str>, Queues, RandomState>,
}

impl Tables {
    fn of(&mut self, pattern: &str) -> &mut IndexMap<Box<str>, Queues, RandomState> {
        if pattern.split('.').any(|token| matches!(token, "*" | ">")) {
            &mut self.wildcards
        } else {
            &mut self.subjects
        }
    }
}

impl Services {
    /// Registers a service.
    pub fn insert(&self, pattern: &str, queue: &str, member: Member) {
        self.tables
            .write()
            .of(pattern)
            .entry(pattern.into())
            .or_default()
            .entry(queue.into())
            .or_default()
            .push(member);
    }

    /// Takes a connection's service away.
    pub fn remove(&self, pattern: &str, queue: &str, connection: u64) {
        let mut tables = self.tables.write();
        let patterns = tables.of(pattern);
        let Some(queues) = patterns.get_mut(pattern) else { return };
        if let Some(members) = queues.get_mut(queue) {
            members.retain(|m| m.connection != connection);
            if members.is_empty() {
                queues.shift_remove(queue);
            }
        }
        if queues.is_empty() {
            // Among subjects the order does not matter.
            if subject::is_valid_subject(pattern) {
                patterns.swap_remove(pattern);
            } else {
                patterns.shift_remove(pattern);
            }
        }
    }

    /// The pattern and the outbox of the service that answers a subject: the subject itself or else the first pattern that
    /// matches, its first queue group, a random member.
    pub fn find(&self, called: &str, random: &mut fastrand::Rng) -> Option<(Arc<str>, Arc<Outbox>)> {
        let tables = self.tables.read();
        let (pattern, queues) = tables
            .subjects
            .get_key_value(called)
            .or_else(|| tables.wildcards.iter().find(|(pattern, _)| subject::matches(pattern, called)))?;
        let (_, members) = queues.first()?;
        let member = random.choice(members)?;
        Some((Arc::from(&**pattern), member.outbox.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(connection: u64) -> Member {
        Member { connection, outbox: Outbox::new(1, 1) }
    }

    #[test]
    fn a_subject_is_found_before_patterns_and_patterns_in_their_order() {
        let (services, mut random) = (Services::default(), fastrand::Rng::new());
        let mut found = |called: &str| services.find(called, &mut random).map(|(pattern, _)| pattern.to_string());
        services.insert("svc.*", "0", member(1));
        services.insert("svc.>", "0", member(2));
        services.insert("svc.a", "0", member(3));
        assert_eq!(found("svc.a").as_deref(), Some("svc.a"));
        assert_eq!(found("svc.b").as_deref(), Some("svc.*"));
        services.remove("svc.a", "0", 3);
        assert_eq!(found("svc.a").as_deref(), Some("svc.*"));
        services.remove("svc.*", "0", 1);
        assert_eq!(found("svc.a").as_deref(), Some("svc.>"));
        services.remove("svc.>", "0", 2);
        assert_eq!(found("svc.a"), None);
    }
}
