//! What a peer is told when something fails (conat-persist.md §10).

use serde_json::{Value, json};

use super::authorization::Denied;
use crate::{bus::Code, persist::store};

/// A failure as it goes over the wire.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Refusal {
    text: String,
    code: Option<Code>,
}

impl Refusal {
    /// A failure without code.
    pub fn new(text: impl AsRef<str>) -> Refusal {
        Refusal { text: format!("Error: {}", text.as_ref()), code: None }
    }

    /// A failure with a code.
    pub fn with_code(text: impl AsRef<str>, code: impl Into<Code>) -> Refusal {
        Refusal { code: Some(code.into()), ..Refusal::new(text) }
    }

    /// The one failure whose text has no prefix.
    pub fn unknown_command(name: &str) -> Refusal {
        Refusal { text: format!("unknown command {name}"), code: Some(404.into()) }
    }

    /// The failure of an open as an answer to a request.
    pub fn again(&self) -> Refusal {
        Refusal { text: format!("Error: {}", self.text), code: self.code.clone() }
    }

    /// The text, with its prefix.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The code, if there is one.
    pub fn code(&self) -> Option<&Code> {
        self.code.as_ref()
    }

    /// As headers.
    pub fn to_headers(&self) -> Value {
        match &self.code {
            Some(code) => json!({"error": self.text, "code": code.to_json()}),
            None => json!({"error": self.text}),
        }
    }
}

impl From<store::Error> for Refusal {
    fn from(error: store::Error) -> Refusal {
        Refusal { code: error.code(), ..Refusal::new(error.to_string()) }
    }
}

impl From<Denied> for Refusal {
    fn from(denied: Denied) -> Refusal {
        Refusal::with_code(denied.to_string(), denied.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_those_of_the_specification() {
        let wrong = Refusal::from(store::Error::WrongLastSequence);
        assert_eq!(wrong.to_headers(), json!({"error": "Error: wrong last sequence", "code": "wrong-last-sequence"}));
        assert_eq!(wrong.again().text(), "Error: Error: wrong last sequence");
        assert_eq!(Refusal::unknown_command("x").to_headers(), json!({"error": "unknown command x", "code": 404}));
        assert_eq!(Refusal::new("x").to_headers(), json!({"error": "Error: x"}));
    }
}
