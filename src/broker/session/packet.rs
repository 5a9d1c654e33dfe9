//! Packets that a session writes: acknowledgements and control events (conat-wire.md §§2.6, 7).

use bytes::Bytes;
use serde_json::{Value, json};

use crate::{
    broker::{Refusal, delivery::Encoded, outbox::Refused, rpc::Fields},
    wire::{frame::Attachments, json::push_string},
};

/// The one argument of an acknowledgement.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Any JSON.
    Json(Value),
    /// Fields of an object that a service answered with.
    Object(Fields),
}

impl From<Value> for Answer {
    fn from(json: Value) -> Answer {
        Answer::Json(json)
    }
}

/// `{error, code?}` with the text as the reference writes exceptions.
pub fn refusal(refusal: &Refusal) -> Value {
    error(&format!("Error: {refusal}"), refusal.code())
}

/// `{error, code?}`.
pub fn error(text: &str, code: Option<u16>) -> Value {
    match code {
        Some(code) => json!({"error": text, "code": code}),
        None => json!({"error": text}),
    }
}

/// An acknowledgement.
pub fn ack(id: u64, answer: Answer) -> Encoded {
    match answer {
        Answer::Json(json) => Encoded::from_text(&format!("43{id}[{json}]"), &[]),
        Answer::Object(fields) => {
            let mut text = b"[{".to_vec();
            text.extend_from_slice(&fields.text);
            text.extend_from_slice(b"}]");
            packet("43", "46", Some(id), &text, &fields.attachments)
        }
    }
}

/// An event whose argument is JSON.
pub fn event(name: &str, id: Option<u64>, argument: &Value) -> Encoded {
    packet("42", "45", id, json!([name, argument]).to_string().as_bytes(), &[])
}

/// The `permission` event (§7.2).
pub fn permission(refused: &Refused) -> Encoded {
    let argument = json!({"message": refused.message, "subject": refused.subject, "type": refused.direction.as_str()});
    event("permission", None, &argument)
}

/// An event whose argument is an object made of fields as text.
pub fn object_event(name: &str, id: Option<u64>, lead: &[(&str, &str)], fields: &Fields) -> Encoded {
    let mut text = b"[".to_vec();
    push_string(&mut text, name);
    text.extend_from_slice(b",{");
    let mut first = true;
    for (key, value) in lead {
        if !std::mem::take(&mut first) {
            text.push(b',');
        }
        push_string(&mut text, key);
        text.push(b':');
        push_string(&mut text, value);
    }
    if !fields.text.is_empty() {
        if !first {
            text.push(b',');
        }
        text.extend_from_slice(&fields.text);
    }
    text.extend_from_slice(b"}]");
    packet("42", "45", id, &text, &fields.attachments)
}

fn packet(plain: &str, binary: &str, id: Option<u64>, data: &[u8], attachments: &[Bytes]) -> Encoded {
    let mut prefix = if attachments.is_empty() { plain.to_owned() } else { format!("{binary}{}-", attachments.len()) };
    if let Some(id) = id {
        prefix.push_str(&id.to_string());
    }
    Encoded::new(
        prefix.len() + data.len(),
        |out| {
            out.extend_from_slice(prefix.as_bytes());
            out.extend_from_slice(data);
        },
        attachments,
    )
}

/// Adds numbers to an object that is kept as text.
pub fn add_number(fields: &mut Fields, name: &str, value: u64) {
    if !fields.text.is_empty() {
        fields.text.push(b',');
    }
    push_string(&mut fields.text, name);
    fields.text.push(b':');
    fields.text.extend_from_slice(value.to_string().as_bytes());
}

/// No binary values.
pub fn no_attachments() -> Attachments {
    Attachments::new()
}
