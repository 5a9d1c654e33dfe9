//! Reading queries: their form, their options, placeholders (hub.md §8.1).

use serde_json::Value;

use super::{Action, Actor, Error, Order, Query, error, value};
use crate::hub::schema::{Row, Table};

/// What the options of a request say.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Options {
    set: Option<bool>,
    delete: bool,
    order: Order,
}

impl Options {
    pub(super) fn read(options: Option<Value>) -> Result<Options, Error> {
        let list = match options {
            None | Some(Value::Null) => return Ok(Options::default()),
            Some(Value::Array(list)) => list,
            Some(_) => return Err(Error::Options),
        };
        let mut read = Options::default();
        for option in &list {
            if let Some(set) = option.get("set") {
                read.set.get_or_insert(is_truthy(set));
            }
            read.delete |= option.get("delete").is_some_and(is_truthy);
            if let Some(limit) = option.get("limit").and_then(Value::as_u64) {
                read.order.limit = Some(usize::try_from(limit).unwrap_or(usize::MAX));
            }
            if let Some(by) = option.get("order_by").and_then(Value::as_str) {
                let (name, greatest_first) = by.strip_prefix('-').map_or((by, false), |name| (name, true));
                read.order.by = Some((name.to_owned(), greatest_first));
            }
        }
        Ok(read)
    }
}

fn is_truthy(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(flag) => *flag,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(_) | Value::Object(_) => true,
    }
}

/// Reads `{T: pattern}` or `{T: [pattern]}`.
pub(super) fn read(query: Value, options: &Options, actor: &Actor) -> Result<Query, Error> {
    let Value::Object(query) = query else { return Err(Error::Invalid) };
    let mut tables = query.into_iter();
    let (Some((name, pattern)), None) = (tables.next(), tables.next()) else { return Err(Error::Invalid) };
    let (pattern, is_list) = match pattern {
        Value::Array(mut patterns) if patterns.len() == 1 => (patterns.remove(0), true),
        Value::Array(_) => return Err(Error::Invalid),
        pattern => (pattern, false),
    };
    let Value::Object(pattern) = fill_in(pattern, actor, &mut None) else { return Err(Error::Invalid) };
    let table = Table::find(&name).ok_or_else(|| Error::UnknownTable(error::name(&name)))?;
    if table.accounts_only && actor.is_project {
        return Err(Error::AccountsOnly(table.name));
    }
    let has_null = pattern.values().any(value::has_null);
    let is_set = options.set.unwrap_or(!is_list && !has_null);
    let action = match (is_set, options.delete) {
        (true, true) => Action::Delete,
        (true, false) => Action::Set,
        (false, _) => Action::Get(options.order.clone()),
    };
    Ok(Query { table, pattern, is_list, action })
}

/// Replaces the placeholders: `{account_id}` and `{project_id}` as keys and values, `{now}` as a value.
fn fill_in(value: Value, actor: &Actor, now: &mut Option<String>) -> Value {
    let id = |text: &str| match text {
        "{account_id}" => Some(&actor.account_id),
        "{project_id}" => Some(&actor.project_id),
        _ => None,
    };
    match value {
        // All of them are the same moment.
        Value::String(text) if text == "{now}" => now.get_or_insert_with(value::now).as_str().into(),
        Value::String(text) => id(&text).cloned().unwrap_or(text).into(),
        Value::Array(items) => items.into_iter().map(|item| fill_in(item, actor, now)).collect(),
        Value::Object(map) => {
            let filled = map
                .into_iter()
                .map(|(key, value)| (id(&key).cloned().unwrap_or(key), fill_in(value, actor, now)))
                .collect::<Row>();
            Value::Object(filled)
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{super::Request, *};

    fn actor() -> Actor {
        Actor { account_id: "A".into(), project_id: "P".into(), is_project: false }
    }

    fn one(query: Value, options: Value) -> Result<Query, Error> {
        match Request::read(query, Some(options), &actor())? {
            Request::One(query) => Ok(query),
            Request::Many(_) => panic!("one query was asked"),
        }
    }

    fn action(query: Value, options: Value) -> Action {
        one(query, options).unwrap().action
    }

    #[test]
    fn kinds_of_queries() {
        let get = Action::Get(Order::default());
        assert_eq!(action(json!({"accounts": {"first_name": null}}), json!([])), get);
        assert_eq!(action(json!({"accounts": {"other_settings": {"a": {"b": null}}}}), json!(null)), get);
        assert_eq!(action(json!({"accounts": {"first_name": "x"}}), json!([])), Action::Set);
        assert_eq!(action(json!({"accounts": [{"first_name": "x"}]}), json!([])), get, "an array is a get");
        assert_eq!(
            action(json!({"accounts": {"first_name": null}}), json!([{"limit": 1}, {"set": true}])),
            Action::Set
        );
        assert_eq!(action(json!({"accounts": {"first_name": "x"}}), json!([{"set": false}, {"set": true}])), get);
        assert_eq!(action(json!({"file_use": {"id": "x"}}), json!([{"delete": true}])), Action::Delete);
        let ordered = Action::Get(Order { by: Some(("time".into(), true)), limit: Some(3) });
        assert_eq!(action(json!({"project_log": [{"id": null}]}), json!([{"limit": 3, "order_by": "-time"}])), ordered);
    }

    #[test]
    fn malformed_queries_are_refused() {
        for query in [
            json!({}),
            json!(null),
            json!("accounts"),
            json!(7),
            json!({"accounts": {}, "projects": {}}),
            json!({"accounts": []}),
            json!({"accounts": [{}, {}]}),
            json!({"accounts": ["x"]}),
            json!({"accounts": null}),
        ] {
            assert_eq!(one(query.clone(), json!([])).unwrap_err(), Error::Invalid, "{query}");
        }
        assert_eq!(one(json!({"x": {}}), json!([])).unwrap_err(), Error::UnknownTable("x".into()));
        let error = one(json!({"accounts": {"a": null}}), json!({"set": true})).unwrap_err();
        assert_eq!(error.to_string(), "options must be an array");
    }

    #[test]
    fn feeds_are_gets_of_one_table() {
        let read = |query, options| Request::read_feed(query, Some(options), &actor());
        assert!(read(json!({"accounts": [{"account_id": null}]}), json!([])).is_ok());
        let error = read(json!([{"accounts": [{"account_id": null}]}]), json!([])).unwrap_err();
        assert_eq!(error.to_string(), "changefeeds only implemented for single table queries");
        let error = read(json!({"accounts": {"account_id": null}}), json!([])).unwrap_err();
        assert_eq!(error.to_string(), "changefeeds only implemented for array queries");
        assert!(read(json!({"accounts": [{"account_id": null}]}), json!([{"set": true}])).is_err());
    }

    #[test]
    fn hub_090_placeholders() {
        let query =
            json!({"file_use": {"id": "{now}", "users": {"{account_id}": {"x": "{project_id}", "{now}": "a {now}"}}}});
        let pattern = one(query, json!([])).unwrap().pattern;
        assert_eq!(pattern["users"], json!({"A": {"x": "P", "{now}": "a {now}"}}));
        let now = pattern["id"].as_str().unwrap();
        assert!(now.len() == 24 && now.ends_with('Z') && now.contains('T'), "{now}");
    }

    #[test]
    fn settings_are_not_for_projects() {
        let project = Actor { is_project: true, ..actor() };
        let query = json!({"site_settings": [{"name": null, "value": null}]});
        assert_eq!(Request::read(query, None, &project).unwrap_err(), Error::AccountsOnly("site_settings"));
    }
}
