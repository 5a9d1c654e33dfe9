//! What tables and documents are called, and whose they are (conat-persist.md §13). Pure.

use serde_json::{Map, Value};
use sha1::{Digest as _, Sha1};

use crate::persist::path::Owner;

/// Which clients the name is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revision {
    /// December 2025.
    A,
    /// August 2026.
    B,
}

/// The name of a document in its project: lowercase hex SHA-1 of the project's id and the path.
pub fn string_id(project_id: &str, path: &str) -> String {
    hex::encode(Sha1::new().chain_update(project_id).chain_update(path).finalize())
}

/// The stream that holds the patches of a document.
pub fn patches(revision: Revision, project_id: &str, path: &str) -> String {
    match revision {
        Revision::A => format!("patches:{}", string_id(project_id, path)),
        Revision::B => format!("patchflow/{path}"),
    }
}

/// The name of a table's stream. `spec` is the query's only element with the options merged into it. Tables that are not
/// atomic are objects, whose streams have [`super::dko`]'s prefix in front of this.
pub fn table(revision: Revision, table: &str, spec: &Map<String, Value>) -> String {
    let text = |name: &str| spec.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let json = || stable_json(&Value::Object(spec.clone()));
    match revision {
        Revision::A => match text("string_id") {
            Some(string_id) => format!("{table}:{string_id}"),
            None => format!("{table}:{}", json()),
        },
        Revision::B => match text("path") {
            Some(path) => format!("{table}/{path}"),
            None => format!("{table}/{}", json()),
        },
    }
}

/// Whose a table is: the project of the document, if the spec names both; else the account before the project.
pub fn table_owner(spec: &Map<String, Value>, account_id: Option<&str>, project_id: Option<&str>) -> Option<Owner> {
    let text = |name: &str| spec.get(name).and_then(Value::as_str);
    if let (Some(_), Some(project)) = (text("string_id"), text("project_id")) {
        return Some(Owner::Project(project.into()));
    }
    let account = account_id.or_else(|| text("account_id"));
    let project = project_id.or_else(|| text("project_id"));
    (account.is_some() || project.is_some()).then(|| Owner::first_of(account, project, None))
}

/// The fields that tell rows of a table apart.
pub fn primary_keys(table: &str) -> Option<&'static [&'static str]> {
    Some(match table {
        "syncstrings" => &["string_id"],
        "patches" => &["string_id", "time", "is_snapshot"],
        "ipywidgets" => &["string_id", "model_id", "type"],
        "eval_inputs" => &["string_id", "time", "user_id"],
        "eval_outputs" => &["string_id", "time", "number"],
        _ => return None,
    })
}

/// The key of a row: the field itself as text if there is one primary key, else the JSON array of them.
pub fn row_key(primary_keys: &[&str], row: &Map<String, Value>) -> String {
    let field = |name: &str| row.get(name).cloned().unwrap_or_default();
    match primary_keys {
        [only] => match field(only) {
            Value::Null => String::new(),
            Value::String(text) => text,
            other => stable_json(&other),
        },
        many => stable_json(&many.iter().map(|name| field(name)).collect()),
    }
}

/// JSON as JavaScript writes it, compact, with the members of objects in order of their names.
pub fn stable_json(value: &Value) -> String {
    let mut out = String::new();
    write(value, &mut out);
    out
}

fn write(value: &Value, out: &mut String) {
    match value {
        Value::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write(item, out);
            }
            out.push(']');
        }
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_by(|(a, _), (b, _)| a.encode_utf16().cmp(b.encode_utf16()));
            out.push('{');
            for (i, (name, member)) in members.into_iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                out.push_str(&Value::from(name.as_str()).to_string());
                out.push(':');
                write(member, out);
            }
            out.push('}');
        }
        Value::Number(number) => match number.as_f64() {
            // JavaScript has no other numbers than floats, and writes whole ones without a point.
            Some(float) if number.is_f64() && float.fract() == 0.0 && float.abs() < 9e15 => {
                out.push_str(&(float as i64).to_string());
            }
            _ => out.push_str(&number.to_string()),
        },
        other => out.push_str(&other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const PROJECT: &str = "00000000-0000-4000-8000-000000000000";

    fn map(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn persist_110_string_id_is_the_hash_of_project_and_path() {
        assert_eq!(string_id(PROJECT, "a.txt"), "49a48bd3ca1b42f649d2fff7241f6fc56c638476");
        assert_eq!(patches(Revision::A, PROJECT, "a.txt"), "patches:49a48bd3ca1b42f649d2fff7241f6fc56c638476");
        assert_eq!(patches(Revision::B, PROJECT, "a.txt"), "patchflow/a.txt");
    }

    #[test]
    fn persist_109_names_of_tables() {
        let spec = map(json!({"string_id": "5ea", "path": "/x/y", "b": null, "a": [2, {"z": 1.0, "y": "ü"}]}));
        assert_eq!(table(Revision::A, "syncstrings", &spec), "syncstrings:5ea");
        assert_eq!(table(Revision::B, "ipywidgets", &spec), "ipywidgets//x/y");
        let spec = map(json!({"b": null, "a": [2, {"z": 1.0, "y": "ü"}]}));
        let json = r#"{"a":[2,{"y":"ü","z":1}],"b":null}"#;
        assert_eq!(table(Revision::A, "t", &spec), format!("t:{json}"));
        assert_eq!(table(Revision::B, "t", &spec), format!("t/{json}"));
    }

    #[test]
    fn persist_109_owners_of_tables() {
        let document = map(json!({"string_id": "5ea", "project_id": "p"}));
        assert_eq!(table_owner(&document, Some("a"), Some("q")), Some(Owner::Project("p".into())));
        let spec = map(json!({"project_id": "p"}));
        assert_eq!(table_owner(&spec, Some("a"), None), Some(Owner::Account("a".into())));
        assert_eq!(table_owner(&spec, None, None), Some(Owner::Project("p".into())));
        assert_eq!(table_owner(&Map::new(), None, None), None);
    }

    #[test]
    fn persist_109_keys_of_rows() {
        let row = map(json!({"string_id": "abc", "model_id": "m", "type": "state", "data": 1}));
        let key = |table: &str| row_key(primary_keys(table).unwrap(), &row);
        assert_eq!(key("ipywidgets"), r#"["abc","m","state"]"#);
        assert_eq!(key("syncstrings"), "abc");
        assert_eq!(key("eval_inputs"), r#"["abc",null,null]"#);
        for (value, expected) in
            [(json!(null), ""), (json!(5), "5"), (json!(true), "true"), (json!({"b": 1, "a": 2}), r#"{"a":2,"b":1}"#)]
        {
            assert_eq!(row_key(&["k"], &map(json!({"k": value}))), expected);
        }
        assert_eq!(row_key(&["k"], &Map::new()), "");
    }
}
