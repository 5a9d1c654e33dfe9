//! Errors that frontends report. One short line goes to the log; what users typed or opened never does.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde_json::Value;

use super::Request;
use crate::broker::peer::now_ms;

/// Shortest time between two lines; browsers in trouble report a lot.
const PAUSE_MS: u64 = 1000;
/// Longest word that is logged.
const MAX_CHARS: usize = 48;

/// Takes reports.
#[derive(Debug, Default)]
pub(super) struct Reports {
    last: AtomicU64,
    left_out: AtomicU64,
}

impl Reports {
    /// Notes a report.
    pub(super) fn note(&self, request: &Request) {
        let now = now_ms();
        let last = self.last.load(Relaxed);
        if now.saturating_sub(last) < PAUSE_MS || self.last.compare_exchange(last, now, Relaxed, Relaxed).is_err() {
            self.left_out.fetch_add(1, Relaxed);
            return;
        }
        let event = word(request.text("event").or(request.text("name")).unwrap_or_default());
        let kind = kind(request.field("error").or(request.field("message")).unwrap_or(&Value::Null));
        let left_out = self.left_out.swap(0, Relaxed);
        tracing::info!(event, kind, left_out, "a frontend reports an error");
    }
}

/// The name of a kind of error, such as `TypeError`, at the beginning of a text.
fn kind(error: &Value) -> String {
    let text = error.as_str().unwrap_or_default();
    let name = text.split(':').next().unwrap_or_default();
    let is_kind = name.ends_with("Error") && name.chars().all(|c| c.is_ascii_alphabetic());
    if is_kind { word(name) } else { String::new() }
}

/// A word for the log: what programs call things by, and not too long.
fn word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    text.chars().take_while(|c| plain(*c)).take(MAX_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn reports_are_cut_down_to_words() {
        assert_eq!(word("uncaught_exception"), "uncaught_exception");
        assert_eq!(word("opened /home/me/secret.txt\nFAKE LINE"), "opened");
        assert_eq!(word(&"x".repeat(1000)).len(), MAX_CHARS);
        assert_eq!(kind(&json!("TypeError: can't read 'secret'")), "TypeError");
        assert_eq!(kind(&json!("my password is x: Error")), "");
        assert_eq!(kind(&json!({"a": 1})), "");
    }
}
