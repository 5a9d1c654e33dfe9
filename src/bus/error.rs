//! What goes wrong at the client's side of the bus (conat-wire.md §§10.7, 12).

use std::fmt;

use serde_json::{Map, Value};
use thiserror::Error;

use crate::wire::msgpack;

/// An error code: a number or a string; peers send both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Code {
    /// As in HTTP: 403, 404, 408, 413, 429, 503 …
    Number(i64),
    /// A name: `ENOENT`, `EPIPE`, `ENOBUFS`, `wrong-last-sequence` …
    Text(String),
}

impl Code {
    /// The code in a JSON value, if it is one.
    pub fn from_json(value: &Value) -> Option<Code> {
        match value {
            Value::Number(n) => n.as_i64().or_else(|| n.as_f64().map(|f| f as i64)).map(Code::Number),
            Value::String(text) => Some(Code::Text(text.clone())),
            _ => None,
        }
    }

    /// The code as JSON.
    pub fn to_json(&self) -> Value {
        match self {
            Code::Number(n) => (*n).into(),
            Code::Text(text) => text.as_str().into(),
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Code::Number(n) => n.fmt(f),
            Code::Text(text) => text.fmt(f),
        }
    }
}

impl From<i64> for Code {
    fn from(n: i64) -> Code {
        Code::Number(n)
    }
}

impl From<&str> for Code {
    fn from(text: &str) -> Code {
        Code::Text(text.into())
    }
}

impl PartialEq<i64> for Code {
    fn eq(&self, other: &i64) -> bool {
        matches!(self, Code::Number(n) if n == other)
    }
}

impl PartialEq<str> for Code {
    fn eq(&self, other: &str) -> bool {
        matches!(self, Code::Text(text) if text == other)
    }
}

/// What a peer said went wrong.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Failure {
    /// Text for people.
    pub message: String,
    /// The code, if there is one.
    pub code: Option<Code>,
    /// Further attributes: `errno`, `path`, `syscall`, `subject` …
    pub attributes: Map<String, Value>,
}

/// Why an operation on the bus failed.
#[derive(Clone, Debug, Error)]
pub enum Error {
    /// The server refused a publish or subscribe.
    #[error("{message}")]
    Refused {
        /// The server's text.
        message: String,
        /// The server's code: 403, 429, 400 or none.
        code: Option<Code>,
    },
    /// The server refused this subject less than a minute ago, so it was not asked again.
    #[error("permission denied: {0}")]
    Denied(String),
    /// Sign-in failed.
    #[error("sign-in failed: {message}")]
    SignIn {
        /// The server's text.
        message: String,
        /// The server's code.
        code: Option<Code>,
    },
    /// Nobody is subscribed.
    #[error("no subscribers matching '{0}'")]
    NoSubscribers(String),
    /// No acknowledgement or no response in time.
    #[error("timeout - {0}: operation has timed out")]
    Timeout(String),
    /// The peer answered with an error.
    #[error("{}", .0.message)]
    Failure(Box<Failure>),
    /// The connection was lost before the acknowledgement came.
    #[error("the connection was disconnected before the acknowledgement came")]
    Disconnected,
    /// The client or the subscription is closed.
    #[error("closed")]
    Closed,
    /// A reader did not keep up: so many messages waited that its queue was closed.
    #[error("the reader of '{0}' is too slow: its queue was closed")]
    SlowReader(String),
    /// Too much waits to be sent.
    #[error("too much waits to be sent")]
    Full,
    /// The pattern has a local subscription with another queue group.
    #[error("already subscribed to '{pattern}' with queue '{queue}'")]
    OtherQueue {
        /// The pattern.
        pattern: String,
        /// The queue it has.
        queue: String,
    },
    /// Not a subject or pattern.
    #[error("invalid subject: '{0}'")]
    InvalidSubject(String),
    /// The payload could not be encoded or decoded.
    #[error(transparent)]
    Payload(#[from] msgpack::Error),
    /// The payload is JSON and could not be decoded, or has an encoding nobody knows.
    #[error("unexpected payload: {0}")]
    Encoding(String),
    /// The server cannot be reached or does not speak this protocol; a client that reconnects tries again.
    #[error("cannot connect: {0}")]
    Connect(String),
    /// The server's answer makes no sense.
    #[error("unexpected answer: {0}")]
    Answer(String),
}

impl Error {
    /// An error a peer reports, or a service wants to report.
    pub fn failure(message: impl Into<String>, code: impl Into<Code>) -> Error {
        let code = Some(code.into());
        Error::Failure(Box::new(Failure { message: message.into(), code, attributes: Map::new() }))
    }

    /// An error without code.
    pub fn message(message: impl Into<String>) -> Error {
        Error::Failure(Box::new(Failure { message: message.into(), ..Failure::default() }))
    }

    /// The code, if this error has one.
    pub fn code(&self) -> Option<Code> {
        match self {
            Error::Refused { code, .. } | Error::SignIn { code, .. } => code.clone(),
            Error::Failure(failure) => failure.code.clone(),
            Error::Denied(_) => Some(403.into()),
            Error::NoSubscribers(_) => Some(503.into()),
            Error::Timeout(_) => Some(408.into()),
            Error::Full => Some("ENOBUFS".into()),
            _ => None,
        }
    }

    /// Whether the code is this number.
    pub fn is_code(&self, number: i64) -> bool {
        self.code().is_some_and(|code| code == number)
    }

    /// Reads the headers of a response (§10.2): `error`, `error_attrs`, `code`.
    pub fn from_headers(headers: &Value) -> Option<Error> {
        let message = match headers.get("error")? {
            Value::Null | Value::Bool(false) => return None,
            Value::String(text) if text.is_empty() => return None,
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let mut attributes = headers.get("error_attrs").and_then(Value::as_object).cloned().unwrap_or_default();
        let code = attributes.remove("code").as_ref().and_then(Code::from_json);
        let code = code.or_else(|| headers.get("code").and_then(Code::from_json));
        Some(Error::Failure(Box::new(Failure { message, code, attributes })))
    }

    /// The headers of an error response (§10.4): `error` and `error_attrs`.
    pub fn to_headers(&self) -> Value {
        let mut attributes = match self {
            Error::Failure(failure) => failure.attributes.clone(),
            _ => Map::new(),
        };
        if let Some(code) = self.code() {
            attributes.insert("code".into(), code.to_json());
        }
        serde_json::json!({"error": self.to_string(), "error_attrs": attributes})
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn wire_103_attributes_become_part_of_the_error() {
        let headers = json!({"error": "boom", "error_attrs": {"code": "EBOOM", "errno": -2, "path": "x"}});
        let error = Error::from_headers(&headers).unwrap();
        assert_eq!(error.to_string(), "boom");
        assert_eq!(error.code().unwrap(), Code::from("EBOOM"));
        let Error::Failure(failure) = &error else { panic!("{error:?}") };
        assert_eq!(failure.attributes.get("errno"), Some(&json!(-2)));
        assert_eq!(error.to_headers(), headers);
    }

    #[test]
    fn wire_104_the_code_header_counts_when_the_attributes_have_none() {
        let error = Error::from_headers(&json!({"error": "x", "error_attrs": {}, "code": 404})).unwrap();
        assert!(error.is_code(404));
        assert!(Error::from_headers(&json!({"x": 1})).is_none());
        assert!(Error::from_headers(&json!("text")).is_none());
    }

    #[test]
    fn texts_have_the_words_that_others_look_for() {
        assert!(Error::Timeout("request".into()).to_string().contains("operation has timed out"));
        assert!(Error::Timeout("request".into()).to_string().starts_with("timeout - "));
        assert!(Error::Disconnected.to_string().contains("disconnected"));
        assert!(Error::Denied("x".into()).to_string().contains("permission denied"));
        assert!(Error::InvalidSubject("x".into()).to_string().contains("invalid subject"));
    }
}
