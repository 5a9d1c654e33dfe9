//! Forms of settings that are words: names, paths, secrets, choices.

use std::path::PathBuf;

use tracing_subscriber::EnvFilter;

use super::{Durability, FileReach, LogFormat, PolicyKind, Secret, Service, value::Form};

/// One line of text for people.
pub struct Line;

impl Form for Line {
    type Value = String;
    const PLACEHOLDER: &'static str = "TEXT";
    const ALLOWED: &'static str = "one line of 1 to 256 characters";

    fn parse(text: &str) -> Option<String> {
        let fits = (1..=256).contains(&text.chars().count()) && !text.chars().any(char::is_control);
        fits.then(|| text.to_owned())
    }

    fn show(value: &String) -> Option<String> {
        Some(value.clone())
    }
}

/// Text that can be one token of a subject.
pub struct Token;

impl Form for Token {
    type Value = String;
    const PLACEHOLDER: &'static str = "NAME";
    const ALLOWED: &'static str = "1 to 128 characters without spaces, '.', '*' and '>'";

    fn parse(text: &str) -> Option<String> {
        let bad = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '.' | '*' | '>');
        ((1..=128).contains(&text.len()) && !text.chars().any(bad)).then(|| text.to_owned())
    }

    fn show(value: &String) -> Option<String> {
        Some(value.clone())
    }
}

/// A [`Token`], or nothing.
pub struct OptionalToken;

impl Form for OptionalToken {
    type Value = Option<String>;
    const PLACEHOLDER: &'static str = Token::PLACEHOLDER;
    const ALLOWED: &'static str = Token::ALLOWED;

    fn parse(text: &str) -> Option<Option<String>> {
        if text.is_empty() { Some(None) } else { Token::parse(text).map(Some) }
    }

    fn show(value: &Option<String>) -> Option<String> {
        value.clone()
    }
}

/// A UUID.
pub struct Id;

impl Form for Id {
    type Value = String;
    const PLACEHOLDER: &'static str = "UUID";
    const ALLOWED: &'static str = "a UUID such as 00000000-1000-4000-8000-000000000000";

    fn parse(text: &str) -> Option<String> {
        // The hyphenated form only: the id is part of subjects and compared as text.
        (text.len() == 36 && uuid::Uuid::try_parse(text).is_ok()).then(|| text.to_owned())
    }

    fn show(value: &String) -> Option<String> {
        Some(value.clone())
    }
}

/// A directory; a relative one counts from where the program was started.
pub struct Folder;

impl Form for Folder {
    type Value = PathBuf;
    const PLACEHOLDER: &'static str = "DIR";
    const ALLOWED: &'static str = "a path";

    fn parse(text: &str) -> Option<PathBuf> {
        (!text.is_empty() && !text.contains('\0')).then(|| PathBuf::from(text))
    }

    fn show(value: &PathBuf) -> Option<String> {
        Some(value.display().to_string())
    }
}

/// A [`Folder`], or nothing.
pub struct OptionalFolder;

impl Form for OptionalFolder {
    type Value = Option<PathBuf>;
    const PLACEHOLDER: &'static str = Folder::PLACEHOLDER;
    const ALLOWED: &'static str = Folder::ALLOWED;

    fn parse(text: &str) -> Option<Option<PathBuf>> {
        if text.is_empty() { Some(None) } else { Folder::parse(text).map(Some) }
    }

    fn show(value: &Option<PathBuf>) -> Option<String> {
        value.as_ref().map(|path| path.display().to_string())
    }
}

/// A secret, or nothing. Shown as `set`.
pub struct OptionalSecret;

impl Form for OptionalSecret {
    type Value = Option<Secret>;
    const PLACEHOLDER: &'static str = "SECRET";
    const ALLOWED: &'static str = "up to 1024 characters on one line";

    fn parse(text: &str) -> Option<Option<Secret>> {
        if text.chars().count() > 1024 || text.chars().any(char::is_control) {
            return None;
        }
        Some((!text.is_empty()).then(|| Secret::new(text)))
    }

    fn show(value: &Option<Secret>) -> Option<String> {
        value.as_ref().map(|_| "set".to_owned())
    }
}

/// The policy's name.
pub struct PolicyName;

impl Form for PolicyName {
    type Value = PolicyKind;
    const PLACEHOLDER: &'static str = "POLICY";
    const ALLOWED: &'static str = "lite, open";

    fn parse(text: &str) -> Option<PolicyKind> {
        match text.trim() {
            "lite" => Some(PolicyKind::Lite),
            "open" => Some(PolicyKind::Open),
            _ => None,
        }
    }

    fn show(value: &PolicyKind) -> Option<String> {
        let name = match value {
            PolicyKind::Lite => "lite",
            PolicyKind::Open => "open",
        };
        Some(name.to_owned())
    }
}

/// Names of parts.
pub struct Services;

impl Services {
    const NAMES: [(&'static str, Service); 7] = [
        ("bus", Service::Bus),
        ("time", Service::Time),
        ("status", Service::Status),
        ("persist", Service::Persist),
        ("hub", Service::Hub),
        ("files", Service::Files),
        ("terminal", Service::Terminal),
    ];

    /// Every part there is.
    pub fn all() -> Vec<Service> {
        Services::NAMES.iter().map(|(_, service)| *service).collect()
    }
}

impl Form for Services {
    type Value = Vec<Service>;
    const PLACEHOLDER: &'static str = "LIST";
    const ALLOWED: &'static str = "all, or a comma list of bus, time, status, persist, hub, files, terminal";

    fn parse(text: &str) -> Option<Vec<Service>> {
        let mut services = vec![Service::Bus];
        for word in text.split(',').map(str::trim) {
            if word == "all" {
                services = Services::all();
            } else {
                services.push(Services::NAMES.iter().find(|(name, _)| *name == word)?.1);
            }
        }
        services.sort();
        services.dedup();
        Some(services)
    }

    fn show(value: &Vec<Service>) -> Option<String> {
        let names: Vec<_> = Services::NAMES.iter().filter(|(_, s)| value.contains(s)).map(|(name, _)| *name).collect();
        Some(if names.len() == Services::NAMES.len() { "all".to_owned() } else { names.join(",") })
    }
}

/// When a write is acknowledged.
pub struct DurabilityName;

impl Form for DurabilityName {
    type Value = Durability;
    const PLACEHOLDER: &'static str = "WHEN";
    const ALLOWED: &'static str = "full, normal";

    fn parse(text: &str) -> Option<Durability> {
        match text.trim() {
            "full" => Some(Durability::Full),
            "normal" => Some(Durability::Normal),
            _ => None,
        }
    }

    fn show(value: &Durability) -> Option<String> {
        Some(if *value == Durability::Full { "full" } else { "normal" }.to_owned())
    }
}

/// How far paths of files reach.
pub struct FileReachName;

impl Form for FileReachName {
    type Value = FileReach;
    const PLACEHOLDER: &'static str = "REACH";
    const ALLOWED: &'static str = "home, machine";

    fn parse(text: &str) -> Option<FileReach> {
        match text.trim() {
            "home" => Some(FileReach::Home),
            "machine" => Some(FileReach::Machine),
            _ => None,
        }
    }

    fn show(value: &FileReach) -> Option<String> {
        Some(if *value == FileReach::Home { "home" } else { "machine" }.to_owned())
    }
}

/// How log lines are written.
pub struct LogFormatName;

impl Form for LogFormatName {
    type Value = LogFormat;
    const PLACEHOLDER: &'static str = "FORMAT";
    const ALLOWED: &'static str = "auto, human, json, journal";

    fn parse(text: &str) -> Option<LogFormat> {
        match text.trim() {
            "auto" => Some(LogFormat::Auto),
            "human" => Some(LogFormat::Human),
            "json" => Some(LogFormat::Json),
            "journal" => Some(LogFormat::Journal),
            _ => None,
        }
    }

    fn show(value: &LogFormat) -> Option<String> {
        let name = match value {
            LogFormat::Auto => "auto",
            LogFormat::Human => "human",
            LogFormat::Json => "json",
            LogFormat::Journal => "journal",
        };
        Some(name.to_owned())
    }
}

/// A log filter.
pub struct LogFilter;

impl Form for LogFilter {
    type Value = String;
    const PLACEHOLDER: &'static str = "FILTER";
    const ALLOWED: &'static str = "off, error, warn, info, debug, trace, or a list such as info,outpost::broker=debug";

    fn parse(text: &str) -> Option<String> {
        // The parser below panics over some texts that are not ASCII; no filter needs one.
        (text.is_ascii() && !text.trim().is_empty() && EnvFilter::builder().with_regex(false).parse(text).is_ok())
            .then(|| text.to_owned())
    }

    fn show(value: &String) -> Option<String> {
        Some(value.clone())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_list_of_services_always_has_the_bus() {
        assert_eq!(Services::parse("terminal, time").unwrap(), [Service::Bus, Service::Time, Service::Terminal]);
        assert_eq!(Services::parse("bus").unwrap(), [Service::Bus]);
        assert_eq!(Services::parse("all").unwrap(), Services::all());
        assert_eq!(Services::parse("bus,tv"), None);
        assert_eq!(Services::show(&Services::all()).unwrap(), "all");
    }

    #[test]
    fn identifiers_fit_into_subjects() {
        assert!(Token::parse("node-1").is_some());
        for text in ["", "a.b", "a b", "*", ">"] {
            assert_eq!(Token::parse(text), None, "{text}");
        }
        assert!(Id::parse("00000000-1000-4000-8000-000000000000").is_some());
        for text in ["", "x", "{00000000-1000-4000-8000-000000000000}", "00000000100040008000000000000000"] {
            assert_eq!(Id::parse(text), None, "{text}");
        }
    }

    #[test]
    fn log_filters_are_checked() {
        assert!(LogFilter::parse("info,outpost::broker=debug").is_some());
        assert_eq!(LogFilter::parse("outpost=loud"), None);
        assert_eq!(LogFilter::parse(" "), None);
        assert_eq!(LogFilter::parse("\tȺ\u{f2be8}h{X*\u{92608}:\u{51564}<\t/\u{31bad}"), None);
    }

    proptest! {
        #[test]
        fn no_text_makes_a_parser_panic(text in ".*") {
            let _ = (Line::parse(&text), Token::parse(&text), Id::parse(&text), LogFilter::parse(&text));
            let _ = (Services::parse(&text), Folder::parse(&text), OptionalSecret::parse(&text));
        }
    }
}
