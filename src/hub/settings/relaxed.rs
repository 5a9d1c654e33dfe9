//! Relaxed JSON, as people write it into settings: keys without quotes, single quotes, trailing commas, comments.

use serde_json::{Map, Value};

/// Reads an object; anything else is an empty one.
pub(super) fn object(text: &str) -> Map<String, Value> {
    let read = serde_json::from_str(text).ok().or_else(|| serde_json::from_str(&strict(text)?).ok());
    match read {
        Some(Value::Object(map)) => map,
        _ => Map::new(),
    }
}

/// Rewrites it as JSON. `None`: it cannot be.
fn strict(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len() + 16);
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        match c {
            '"' | '\'' => rest = quoted(rest, c, &mut out)?,
            _ if rest.starts_with("//") => rest = rest.find('\n').map_or("", |end| &rest[end..]),
            _ if rest.starts_with("/*") => rest = &rest[rest.find("*/")? + 2..],
            _ if c.is_ascii_alphabetic() || matches!(c, '_' | '$') => {
                let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '$')));
                let (word, after) = rest.split_at(end.unwrap_or(rest.len()));
                if after.trim_start().starts_with(':') {
                    out.push_str(&Value::from(word).to_string());
                } else if matches!(word, "true" | "false" | "null") || out.ends_with(|c: char| c.is_ascii_digit()) {
                    // The latter is the exponent of a number.
                    out.push_str(word);
                } else {
                    return None;
                }
                rest = after;
            }
            ',' => {
                rest = &rest[1..];
                if !rest.trim_start().starts_with(['}', ']']) {
                    out.push(',');
                }
            }
            _ => {
                out.push(c);
                rest = &rest[c.len_utf8()..];
            }
        }
    }
    Some(out)
}

/// Rewrites the string that `text` begins with; gives what follows it.
fn quoted<'a>(text: &'a str, quote: char, out: &mut String) -> Option<&'a str> {
    out.push('"');
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => match chars.next()?.1 {
                '\'' => out.push('\''),
                escaped => out.extend(['\\', escaped]),
            },
            '"' if quote == '\'' => out.push_str("\\\""),
            c if c == quote => {
                out.push('"');
                return Some(&text[at + 1..]);
            }
            c => out.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn what_people_write_is_read() {
        let text =
            "{ // mine\n llama: {baseUrl: 'http://h:1/', model: \"a'b\", 'x\"y': [1, 2.5e3,], /* no */ on: true,},\n}";
        let expected = json!({"llama": {"baseUrl": "http://h:1/", "model": "a'b", "x\"y": [1, 2500.0], "on": true}});
        assert_eq!(Value::from(object(text)), expected);
        assert_eq!(Value::from(object(r#"{a: 'it\'s', "b": "\u00e9\\"}"#)), json!({"a": "it's", "b": "é\\"}));
        for nothing in ["", "[1]", "{", "{a}", "{'a: 1}", "{a: b}", "7", "{/*", "{a:\"\\"] {
            assert_eq!(object(nothing), Map::new(), "{nothing}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_not(text in ".{0,64}") {
            object(&text);
        }

        #[test]
        fn json_stays_what_it_is(key in "[a-z'\\\\\"]{0,8}", text in "\\PC{0,16}", n: i32) {
            let value = json!({key: {"text": text, "n": n, "list": [null, true]}});
            prop_assert_eq!(strict(&value.to_string()).and_then(|t| serde_json::from_str::<Value>(&t).ok()), Some(value));
        }
    }
}
