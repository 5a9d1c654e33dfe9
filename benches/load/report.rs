//! The table, with the budgets of the design beside what was measured.

use std::{fmt::Write as _, fs, io, path::Path};

use super::stats::median;

/// Which way is up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Better {
    Higher,
    Lower,
    /// Shown for information.
    #[default]
    Neither,
}

/// What a row is held to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Budget {
    /// At least (or at most) that.
    pub limit: Option<f64>,
    /// At least as good as the peer.
    pub as_peer: bool,
}

impl Better {
    /// How many times better our value is than the peer's; not a number where there is nothing to compare.
    pub fn factor(self, ours: f64, theirs: f64) -> f64 {
        match self {
            Better::Higher => ours / theirs,
            Better::Lower => theirs / ours,
            Better::Neither => f64::NAN,
        }
    }

    /// The peer's value, and how many times better ours is.
    pub fn beside(self, ours: f64, theirs: f64) -> String {
        let factor = self.factor(ours, theirs);
        if factor.is_finite() { format!("{} ({factor:.2}×)", number(theirs)) } else { number(theirs) }
    }
}

impl Budget {
    /// The budget in words, and whether it is kept, beside peers of which the first must be there.
    pub fn judge(&self, better: Better, ours: f64, factors: &[(&str, f64)]) -> (String, String) {
        let (mut budget, mut misses) = (Vec::new(), Vec::new());
        if let Some(limit) = self.limit {
            let (sign, within) = match better {
                Better::Higher => ("≥ ", ours >= limit),
                _ if limit == 0.0 => ("", ours == limit),
                _ => ("≤ ", ours <= limit),
            };
            budget.push(format!("{sign}{}", number(limit)));
            if !within {
                misses.push("the number");
            }
        }
        if self.as_peer {
            budget.push("≥ 1×".to_owned());
            for (index, (name, factor)) in factors.iter().enumerate() {
                // A missing value is no success either.
                if *factor < 1.0 || index == 0 && factor.is_nan() {
                    misses.push(name);
                }
            }
        }
        let verdict = match (budget.is_empty(), misses.is_empty()) {
            (true, _) => String::new(),
            (false, true) => "holds".to_owned(),
            (false, false) => format!("misses {}", misses.join(", ")),
        };
        (budget.join(", "), verdict)
    }
}

/// One line of the table: a value per run for each column.
#[derive(Clone, Debug, Default)]
pub struct Row {
    pub what: String,
    pub better: Better,
    pub budget: Budget,
    pub outpost: Vec<f64>,
    pub nats: Vec<f64>,
    pub coalesced: Vec<f64>,
}

/// A number with as many digits as are worth reading, groups of three apart.
pub fn number(value: f64) -> String {
    if value.is_nan() {
        return String::new();
    }
    if value.abs() < 100.0 && value.fract() != 0.0 {
        return if value.abs() < 10.0 { format!("{value:.2}") } else { format!("{value:.1}") };
    }
    let digits = format!("{value:.0}");
    let mut out = String::new();
    for (index, c) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            out.push('\u{a0}');
        }
        out.push(c);
    }
    out
}

impl Row {
    fn line(&self) -> String {
        let ours = median(self.outpost.clone());
        let [nats, coalesced] = [&self.nats, &self.coalesced].map(|values| median(values.clone()));
        let factors =
            [("1×", self.better.factor(ours, nats)), ("1× of coalesced", self.better.factor(ours, coalesced))];
        let (budget, verdict) = self.budget.judge(self.better, ours, &factors);
        let [nats, coalesced] = [nats, coalesced].map(|theirs| self.better.beside(ours, theirs));
        format!("| {} | {} | {nats} | {coalesced} | {budget} | {verdict} |", self.what, number(ours))
    }
}

/// The table in Markdown.
pub fn table(rows: &[Row]) -> String {
    let mut out =
        String::from("| | Outpost | nats-server | nats-server, coalesced | budget | |\n|---|--:|--:|--:|---|---|\n");
    for row in rows {
        let _ = writeln!(out, "{}", row.line());
    }
    out
}

/// A table of what Criterion measured last: `GROUP/WHAT/PARAMETER/new/estimates.json`.
pub fn criterion(folder: &Path) -> io::Result<String> {
    let mut out = String::from("| | | time | budget | |\n|---|--:|--:|---|---|\n");
    for (group, what) in
        [("interest", "match"), ("interest", "subscribe and unsubscribe"), ("codec", "decode"), ("codec", "encode")]
    {
        let folder = folder.join(group).join(what);
        let mut parameters: Vec<u64> =
            fs::read_dir(&folder)?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
        parameters.sort_unstable();
        for parameter in parameters {
            let estimates = fs::read_to_string(folder.join(format!("{parameter}/new/estimates.json")))?;
            let estimates: serde_json::Value = serde_json::from_str(&estimates)?;
            let nanos = estimates["median"]["point_estimate"].as_f64().unwrap_or(f64::NAN);
            let (budget, verdict) = match (what, parameter) {
                ("match", 1_000_000) => ("≤ 5 µs", if nanos <= 5_000.0 { "holds" } else { "misses the number" }),
                _ => ("", ""),
            };
            let of = number(parameter as f64);
            let _ = writeln!(out, "| {group}: {what} | {of} | {} ns | {budget} | {verdict} |", number(nanos.round()));
        }
    }
    Ok(out)
}

/// Puts a text between the markers of that name in a file.
pub fn write_section(path: &Path, name: &str, text: &str) -> io::Result<()> {
    let (begin, end) = (format!("<!-- {name}: begin -->"), format!("<!-- {name}: end -->"));
    let old = fs::read_to_string(path)?;
    let parts = old.split_once(&begin).and_then(|(head, rest)| Some((head, rest.split_once(&end)?.1)));
    let (head, tail) = parts.ok_or_else(|| io::Error::other(format!("{} lacks the marker {begin}", path.display())))?;
    fs::write(path, format!("{head}{begin}\n\n{}\n\n{end}{tail}", text.trim()))
}
