//! How the value of a setting is written as text: one form per kind of value, each with its parser and its printer. Numbers
//! and times are here, words and names in [`words`](super::words).

use std::time::Duration;

/// A way to write a value.
pub trait Form {
    /// What is written.
    type Value;
    /// Placeholder in help texts.
    const PLACEHOLDER: &'static str;
    /// What is allowed, for error lines and the manual.
    const ALLOWED: &'static str;

    /// Reads a value; `None` when the text is not allowed.
    fn parse(text: &str) -> Option<Self::Value>;
    /// Writes a value so that [`Form::parse`] reads it back; `None` when nothing is set.
    fn show(value: &Self::Value) -> Option<String>;
}

/// Longest time a setting can have; longer ones overflow the clock on some systems.
const LONGEST: Duration = Duration::from_secs(366 * 86_400);

/// A time: `1500ms`, `90s`, `2m`, `1h30m`.
pub struct Span;

impl Form for Span {
    type Value = Duration;
    const PLACEHOLDER: &'static str = "TIME";
    const ALLOWED: &'static str = "a time with a unit (ms, s, m, h, d) between 1ms and 366d, as in 90s or 1h30m";

    fn parse(text: &str) -> Option<Duration> {
        let mut rest = text.trim();
        let mut total = Duration::ZERO;
        while !rest.is_empty() {
            let (number, after) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit())?);
            let (unit, next) = after.split_at(after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len()));
            let number: u64 = number.parse().ok()?;
            let millis = match unit.trim() {
                "ms" => 1,
                "s" => 1_000,
                "m" | "min" => 60_000,
                "h" => 3_600_000,
                "d" => 86_400_000,
                _ => return None,
            };
            total = total.checked_add(Duration::from_millis(number.checked_mul(millis)?))?;
            rest = next;
        }
        (Duration::from_millis(1)..=LONGEST).contains(&total).then_some(total)
    }

    fn show(value: &Duration) -> Option<String> {
        let millis = value.as_millis();
        Some(
            match [(3_600_000, "h"), (60_000, "m"), (1_000, "s")].iter().find(|(unit, _)| millis.is_multiple_of(*unit))
            {
                Some((unit, name)) => format!("{}{name}", millis / unit),
                None => format!("{millis}ms"),
            },
        )
    }
}

/// A time that may also be a bare number of milliseconds, as the reference's variables have it.
pub struct Millis;

impl Form for Millis {
    type Value = Duration;
    const PLACEHOLDER: &'static str = "MS";
    const ALLOWED: &'static str = "a number of milliseconds, or a time with a unit as in 30s";

    fn parse(text: &str) -> Option<Duration> {
        match text.trim().parse() {
            Ok(ms) => Some(Duration::from_millis(ms)).filter(|time| *time <= LONGEST),
            Err(_) => Span::parse(text),
        }
    }

    fn show(value: &Duration) -> Option<String> {
        Span::show(value)
    }
}

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;
const GIB: usize = 1 << 30;
/// Largest size a setting can have: sums of a few of them do not overflow, and JavaScript knows them exactly.
const LARGEST: usize = 1 << 40;

/// A number of bytes: `8000000`, `64MiB`, `64M` (the same), `8MB` (decimal).
pub struct Size;

impl Form for Size {
    type Value = usize;
    const PLACEHOLDER: &'static str = "SIZE";
    const ALLOWED: &'static str = "a number of bytes from 1 to 1024GiB, as in 8000000, 64KiB, 64MiB, 8MB";

    fn parse(text: &str) -> Option<usize> {
        let text = text.trim();
        let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
        let unit = match unit.trim() {
            "" | "B" => 1,
            "K" | "KiB" => KIB,
            "M" | "MiB" => MIB,
            "G" | "GiB" => GIB,
            "kB" | "KB" => 1_000,
            "MB" => 1_000_000,
            "GB" => 1_000_000_000,
            _ => return None,
        };
        number.parse::<usize>().ok()?.checked_mul(unit).filter(|size| (1..=LARGEST).contains(size))
    }

    fn show(value: &usize) -> Option<String> {
        Some(match [(GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")].iter().find(|(unit, _)| value.is_multiple_of(*unit)) {
            Some((unit, name)) => format!("{}{name}", value / unit),
            None => value.to_string(),
        })
    }
}

/// A number from 0 on.
pub struct Count;

impl Form for Count {
    type Value = usize;
    const PLACEHOLDER: &'static str = "N";
    const ALLOWED: &'static str = "a whole number from 0 on; 0 means no limit";

    fn parse(text: &str) -> Option<usize> {
        text.trim().parse().ok()
    }

    fn show(value: &usize) -> Option<String> {
        Some(value.to_string())
    }
}

/// A number of events in a window.
pub struct Rate;

impl Form for Rate {
    type Value = u32;
    const PLACEHOLDER: &'static str = "N";
    const ALLOWED: &'static str = "a whole number from 0 to 4294967295; 0 means off";

    fn parse(text: &str) -> Option<u32> {
        text.trim().parse().ok()
    }

    fn show(value: &u32) -> Option<String> {
        Some(value.to_string())
    }
}

/// A number of things of which there must be room for one at least.
pub struct Room;

impl Form for Room {
    type Value = usize;
    const PLACEHOLDER: &'static str = "N";
    const ALLOWED: &'static str = "a whole number from 1 to 16777216";

    fn parse(text: &str) -> Option<usize> {
        text.trim().parse().ok().filter(|n| (1..=1 << 24).contains(n))
    }

    fn show(value: &usize) -> Option<String> {
        Some(value.to_string())
    }
}

/// A TCP port.
pub struct Port;

impl Form for Port {
    type Value = Option<u16>;
    const PLACEHOLDER: &'static str = "PORT";
    const ALLOWED: &'static str = "a number from 0 to 65535; 0 means any free port";

    fn parse(text: &str) -> Option<Option<u16>> {
        text.trim().parse().ok().map(Some)
    }

    fn show(value: &Option<u16>) -> Option<String> {
        value.map(|port| port.to_string())
    }
}

/// A whole number.
pub struct Number;

impl Form for Number {
    type Value = i64;
    const PLACEHOLDER: &'static str = "N";
    const ALLOWED: &'static str = "a whole number";

    fn parse(text: &str) -> Option<i64> {
        text.trim().parse().ok()
    }

    fn show(value: &i64) -> Option<String> {
        Some(value.to_string())
    }
}

/// Yes or no.
pub struct Flag;

impl Form for Flag {
    type Value = bool;
    const PLACEHOLDER: &'static str = "BOOL";
    const ALLOWED: &'static str = "1, true, yes, on, 0, false, no, off";

    fn parse(text: &str) -> Option<bool> {
        match text.trim().to_ascii_lowercase().as_str() {
            "1" | "true" | "yes" | "on" => Some(true),
            "0" | "false" | "no" | "off" => Some(false),
            _ => None,
        }
    }

    fn show(value: &bool) -> Option<String> {
        Some(value.to_string())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn times_are_read_with_their_units() {
        for (text, millis) in
            [("90s", 90_000), ("1500ms", 1_500), ("2m", 120_000), ("1h30m", 5_400_000), ("1d", 86_400_000)]
        {
            assert_eq!(Span::parse(text), Some(Duration::from_millis(millis)), "{text}");
        }
        for text in
            ["", "90", "s", "90x", "-1s", "0s", "1.5s", "99999999999999999999s", "18446744073709551615d", "367d"]
        {
            assert_eq!(Span::parse(text), None, "{text}");
        }
        assert_eq!(Span::show(&Duration::from_secs(90)).unwrap(), "90s");
    }

    #[test]
    fn sizes_are_read_with_their_units() {
        for (text, bytes) in
            [("8000000", 8_000_000), ("64MiB", 64 << 20), ("64 MiB", 64 << 20), ("64M", 64 << 20), ("8MB", 8_000_000)]
        {
            assert_eq!(Size::parse(text), Some(bytes), "{text}");
        }
        for text in
            ["", "0", "MiB", "-1", "1.5MiB", "1TB", "99999999999999999999", "18446744073709551615GiB", "1025GiB"]
        {
            assert_eq!(Size::parse(text), None, "{text}");
        }
        assert_eq!(Size::show(&8_000_000).unwrap(), "8000000");
        assert_eq!(Size::show(&(64 << 20)).unwrap(), "64MiB");
    }

    proptest! {
        #[test]
        fn every_time_comes_back_from_its_text(millis in 1u64..=366 * 86_400_000) {
            let value = Duration::from_millis(millis);
            prop_assert_eq!(Span::parse(&Span::show(&value).unwrap()), Some(value));
        }

        #[test]
        fn every_size_comes_back_from_its_text(size in 1usize..=LARGEST) {
            prop_assert_eq!(Size::parse(&Size::show(&size).unwrap()), Some(size));
        }

        #[test]
        fn units_of_sizes_multiply(n in 1usize..1024, unit in 0usize..6) {
            let (name, factor) = [("KiB", KIB), ("MiB", MIB), ("GiB", GIB), ("kB", 1_000), ("MB", 1_000_000), ("GB", 1_000_000_000)][unit];
            prop_assert_eq!(Size::parse(&format!("{n}{name}")), Some(n * factor));
        }

        #[test]
        fn units_of_times_add_up(h in 0u64..100, m in 0u64..1000, s in 1u64..1000) {
            prop_assert_eq!(Span::parse(&format!("{h}h{m}m{s}s")), Some(Duration::from_secs(h * 3600 + m * 60 + s)));
        }

        #[test]
        fn no_text_makes_a_parser_panic(text in ".*") {
            let _ = (Span::parse(&text), Size::parse(&text), Count::parse(&text), Port::parse(&text));
        }
    }
}
