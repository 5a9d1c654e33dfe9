//! The browser tabs that are open, for scripts that want to drive one (hub.md §16.3). Kept in memory only.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use serde_json::{Map, Value, json};

use super::Request;
use crate::{
    broker::peer::now_ms,
    bus::{Error, Result},
};

/// A tab that did not report for so long is stale.
const STALE_MS: u64 = 2 * 60 * 1000;
/// A tab that did not report for so long is forgotten.
const RETENTION_MS: u64 = 24 * 60 * 60 * 1000;
/// Tabs that are remembered; beyond it, the one that was silent longest is forgotten.
const MAX_TABS: usize = 200;
/// Projects a tab may name.
const MAX_PROJECTS: usize = 64;
/// Files a tab may name in each project.
const MAX_FILES: usize = 256;
/// Longest text among what a tab tells.
const MAX_CHARS: usize = 1024;

/// The tabs of all accounts.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    /// By account and tab.
    tabs: Mutex<BTreeMap<(String, String), Tab>>,
}

#[derive(Debug)]
struct Tab {
    created: u64,
    updated: u64,
    about: Map<String, Value>,
}

impl Sessions {
    /// A tab reports.
    pub(super) fn upsert(&self, request: &Request) -> Result<Option<Value>> {
        let key = key(request)?;
        let now = now_ms();
        let mut about = Map::new();
        for field in ["session_name", "url", "spawn_marker", "active_project_id"] {
            if let Some(text) = request.text(field) {
                about.insert(field.into(), clip(text));
            }
        }
        if let Some(projects) = request.field("open_projects").and_then(Value::as_array) {
            about.insert("open_projects".into(), projects.iter().take(MAX_PROJECTS).filter_map(project).collect());
        }
        let mut tabs = self.tabs.lock();
        tabs.retain(|_, tab| now.saturating_sub(tab.updated) < RETENTION_MS);
        let created = tabs.get(&key).map_or(now, |tab| tab.created);
        tabs.insert(key.clone(), Tab { created, updated: now, about });
        if tabs.len() > MAX_TABS
            && let Some(silent) =
                tabs.iter().filter(|(k, _)| **k != key).min_by_key(|(_, t)| t.updated).map(|(k, _)| k.clone())
        {
            tabs.remove(&silent);
        }
        Ok(Some(json!({"browser_id": key.1, "created_at": time(created), "updated_at": time(now)})))
    }

    /// The tabs of an account; the one that reported last comes first.
    pub(super) fn list(&self, request: &Request) -> Result<Option<Value>> {
        let account_id = request.text("account_id").unwrap_or_default();
        let now = now_ms();
        let max_age = request.field("max_age_ms").and_then(Value::as_u64).unwrap_or(RETENTION_MS).min(RETENTION_MS);
        let with_stale = request.field("include_stale").and_then(Value::as_bool).unwrap_or(false);
        let tabs = self.tabs.lock();
        let mut own: Vec<_> = tabs
            .iter()
            .filter(|((account, _), tab)| account == account_id && now.saturating_sub(tab.updated) <= max_age)
            .map(|((_, id), tab)| (id, tab, now.saturating_sub(tab.updated) > STALE_MS))
            .filter(|(_, _, stale)| with_stale || !stale)
            .collect();
        own.sort_by_key(|(_, tab, _)| std::cmp::Reverse(tab.updated));
        let shown = own.into_iter().map(|(id, tab, stale)| {
            let mut shown = tab.about.clone();
            shown.entry("open_projects").or_insert_with(|| json!([]));
            shown.insert("browser_id".into(), id.as_str().into());
            shown.insert("created_at".into(), time(tab.created));
            shown.insert("updated_at".into(), time(tab.updated));
            shown.insert("stale".into(), stale.into());
            Value::from(shown)
        });
        Ok(Some(shown.collect()))
    }

    /// A tab closes.
    pub(super) fn remove(&self, request: &Request) -> Result<Option<Value>> {
        let removed = self.tabs.lock().remove(&key(request)?).is_some();
        Ok(Some(json!({ "removed": removed })))
    }
}

fn key(request: &Request) -> Result<(String, String)> {
    let id = request.text("browser_id").filter(|id| !id.is_empty() && id.len() <= MAX_CHARS);
    let id = id.ok_or_else(|| Error::failure("browser_id must be given", 400))?;
    Ok((request.text("account_id").unwrap_or_default().to_owned(), id.to_owned()))
}

fn clip(text: &str) -> Value {
    text.chars().take(MAX_CHARS).collect::<String>().into()
}

fn time(ms: u64) -> Value {
    crate::wire::msgpack::Timestamp::from_millis(i64::try_from(ms).unwrap_or(i64::MAX)).to_string().into()
}

fn project(value: &Value) -> Option<Value> {
    let mut project = Map::new();
    project.insert("project_id".into(), clip(value.get("project_id")?.as_str()?));
    if let Some(title) = value.get("title").and_then(Value::as_str) {
        project.insert("title".into(), clip(title));
    }
    let files = value.get("open_files").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    project.insert("open_files".into(), files.iter().filter_map(Value::as_str).take(MAX_FILES).map(clip).collect());
    Some(project.into())
}
