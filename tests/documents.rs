//! The documents say what is so: every setting is in docs/configure.md as the program has it, and links lead somewhere.
//!
//! `UPDATE_DOCS=1 cargo test --test documents` writes the table of settings anew.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    env,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use outpost::config::settings::SETTINGS;

const BEGIN: &str = "<!-- settings: begin -->\n";
const END: &str = "<!-- settings: end -->";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The table of settings as Markdown, a chapter for each group.
fn table() -> String {
    let mut out = String::new();
    let mut group = None;
    for setting in SETTINGS {
        if group != Some(setting.group) {
            group = Some(setting.group);
            let title = setting.group.title();
            let _ = write!(out, "\n## {title}\n\n| key | variable | default | what it does |\n|---|---|---|---|\n");
        }
        let default = setting.default_text().unwrap_or_else(|| "none".into());
        let mut what = setting.help.to_owned();
        // The forms of the others are said once, in the text above the table.
        if !matches!(setting.placeholder, "TIME" | "SIZE" | "N" | "DIR" | "SECRET") {
            let _ = write!(what, ". Allowed: {}", setting.allowed.replace('*', "\\*"));
        }
        if setting.secret {
            what.push_str(". *Secret: no flag*");
        }
        if setting.live {
            what.push_str(". *Live*");
        }
        let _ = writeln!(out, "| `{}` | `{}` | {default} | {what} |", setting.name, setting.env);
    }
    out.push('\n');
    out
}

#[test]
fn configure_md_lists_every_setting() {
    let path = root().join("docs/configure.md");
    let text = fs::read_to_string(&path).unwrap();
    let (head, rest) = text.split_once(BEGIN).unwrap();
    let (shown, tail) = rest.split_once(END).unwrap();
    let wanted = table();
    if env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, format!("{head}{BEGIN}{wanted}{END}{tail}")).unwrap();
    } else {
        assert_eq!(shown, wanted, "run UPDATE_DOCS=1 cargo test --test documents");
    }
}

#[test]
fn links_between_documents_lead_somewhere() {
    let mut documents: Vec<PathBuf> = Vec::new();
    for folder in [root().to_owned(), root().join("docs")] {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "md") {
                documents.push(path);
            }
        }
    }
    assert!(documents.len() > 5);
    for document in documents {
        let text = fs::read_to_string(&document).unwrap();
        for (at, _) in text.match_indices("](") {
            let target = text[at + 2..].split(')').next().unwrap().split('#').next().unwrap();
            if target.is_empty() || target.contains("://") {
                continue;
            }
            let path = document.parent().unwrap().join(target);
            assert!(path.exists(), "{}: {target} leads nowhere", document.display());
        }
    }
}
