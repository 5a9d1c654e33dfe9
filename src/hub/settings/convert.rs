//! From stored text to values (hub.md, Appendix A).

use serde_json::{Value, json};

use super::{names::Convert, relaxed};

/// Languages that the frontend has.
const LOCALES: [&str; 19] =
    ["en", "es", "de", "zh", "ru", "fr", "it", "nl", "ja", "hi", "pt", "ko", "pl", "tr", "he", "hu", "ar", "br", "eu"];

/// Whether a text means yes.
pub(super) fn is_yes(text: &str) -> bool {
    matches!(text, "yes" | "true")
}

/// Converts a text that stands for itself alone. A number that is none becomes the default.
pub(super) fn convert(how: Convert, text: &str, default: &str) -> Value {
    let number = |text: &str| text.trim().parse::<f64>().ok().filter(|number| number.is_finite());
    match how {
        Convert::Trim | Convert::GatewayDns => text.trim().into(),
        Convert::Bool | Convert::Commercial => is_yes(text).into(),
        Convert::Int => text.trim().parse::<i64>().or_else(|_| default.parse()).map_or(Value::Null, Value::from),
        Convert::Float => match number(text).or_else(|| number(default)) {
            Some(whole) if whole.fract() == 0.0 && whole.abs() < 1e15 => (whole as i64).into(),
            other => json!(other),
        },
        Convert::Json => relaxed::object(text).into(),
        Convert::Words => runs(text, |c| c.is_alphanumeric()),
        Convert::Hosts => runs(text, |c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '-')),
        Convert::Locales => {
            let listed: Vec<_> = text.split(',').map(str::trim).filter(|code| LOCALES.contains(code)).collect();
            if listed.is_empty() { json!(LOCALES) } else { json!(listed) }
        }
        Convert::Retention => match text.trim().parse::<u64>() {
            Ok(seconds) => seconds.into(),
            Err(_) => false.into(),
        },
        Convert::Text | Convert::Models | Convert::DefaultModel => text.into(),
    }
}

fn runs(text: &str, belongs: impl Fn(char) -> bool) -> Value {
    text.split(|c| !belongs(c)).filter(|run| !run.is_empty()).collect()
}
