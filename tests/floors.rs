//! Holds the order of the house (see `src/lib.rs`) and a few rules about what it is built from.
//!
//! * a floor uses only the floors below it;
//! * `unsafe` is at home under `src/host` alone;
//! * no file of `src` is longer than 600 lines;
//! * no TLS library but rustls with *ring*;
//! * lock files name packages, not places.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Floors from the bottom up, each with its height. Floors of equal height do not use each other, but for `config`,
/// which every floor may use.
const FLOORS: &[(&str, u8)] = &[
    ("config", 0),
    ("wire", 1),
    ("host", 1),
    ("broker", 2),
    ("bus", 3),
    ("persist", 4),
    ("hub", 5),
    ("project", 5),
    ("http", 6),
    ("app", 7),
    ("cli", 8),
];

const LONGEST_FILE_LINES: usize = 600;

fn height(floor: &str) -> Option<u8> {
    FLOORS.iter().find(|(name, _)| *name == floor).map(|(_, height)| *height)
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust file below `src`, with its path relative to `src`.
fn sources() -> Vec<(PathBuf, String)> {
    fn walk(folder: &Path, out: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, out);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                out.push(path);
            }
        }
    }
    let src = root().join("src");
    let mut paths = Vec::new();
    walk(&src, &mut paths);
    paths.sort();
    assert!(!paths.is_empty(), "no source file below {}", src.display());
    paths
        .into_iter()
        .map(|path| (path.strip_prefix(&src).unwrap().to_owned(), fs::read_to_string(&path).unwrap()))
        .collect()
}

/// The floor a file belongs to: its first folder, or its own name on the top level. `lib` and `main` are on no floor.
fn floor_of(path: &Path) -> Option<String> {
    let first = path.components().next()?.as_os_str().to_str()?;
    let name = first.strip_suffix(".rs").unwrap_or(first);
    (name != "lib" && name != "main").then(|| name.to_owned())
}

/// The text without comment lines, so that a doc comment may link wherever it likes.
fn code_of(text: &str) -> String {
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// The words of a text, in the sense of identifiers.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

/// First path segments after `crate::`, also those in `crate::{a::b, c}`.
fn used_floors(code: &str) -> BTreeSet<String> {
    let mut used = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        // `$crate::` is the same; `my_crate::` is something else.
        if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let rest = &code[at + "crate::".len()..];
        let Some(group) = rest.strip_prefix('{') else {
            used.extend(words(rest).next().map(str::to_owned));
            continue;
        };
        let (mut depth, mut first) = (0, true);
        for (index, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => first = true,
                c if first && !c.is_whitespace() => {
                    used.extend(words(&group[index..]).next().map(str::to_owned));
                    first = false;
                }
                _ => {}
            }
        }
    }
    used
}

/// Whether there is unsafe code; the word alone may also stand in a text, such as a content security policy.
fn has_unsafe(code: &str) -> bool {
    code.match_indices("unsafe").any(|(at, word)| {
        let rest = &code[at + word.len()..];
        let next = rest.trim_start();
        let is_attribute = rest.starts_with('(') && code[..at].ends_with("#[");
        let is_block = ["{", "fn ", "impl ", "impl<", "extern ", "trait "].iter().any(|form| next.starts_with(form));
        is_attribute || (is_block && !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_'))
    })
}

#[test]
fn has_unsafe_knows_code_from_text() {
    for code in ["unsafe { x }", "unsafe fn f() {}", "unsafe impl Send for X {}", "#[unsafe(no_mangle)]"] {
        assert!(has_unsafe(code), "{code}");
    }
    for code in ["style-src 'unsafe-inline'", "#![deny(unsafe_code)]", "is_unsafe(x)", "fn is_unsafe {"] {
        assert!(!has_unsafe(code), "{code}");
    }
}

#[test]
fn used_floors_reads_every_form_of_a_path() {
    let code =
        "use crate::wire;\nuse crate::{broker::{User, stats::Counters}, bus, config::*};\nlet x = crate::host::now();";
    let expected = ["broker", "bus", "config", "host", "wire"];
    assert_eq!(used_floors(code).iter().map(String::as_str).collect::<Vec<_>>(), expected);
    assert!(used_floors("use other_crate::http;").is_empty());
}

#[test]
fn floors_use_only_the_floors_below() {
    let mut faults = Vec::new();
    for (path, text) in sources() {
        let Some(floor) = floor_of(&path) else { continue };
        let Some(own) = height(&floor) else {
            faults.push(format!("{}: '{floor}' is on no floor; give it a height in tests/floors.rs", path.display()));
            continue;
        };
        for used in used_floors(&code_of(&text)).into_iter().filter(|used| *used != floor) {
            match height(&used) {
                Some(other) if other < own || used == "config" => {}
                Some(_) => faults.push(format!("{}: {floor} must not use {used}", path.display())),
                // A macro or an item of the crate's root.
                None => {}
            }
        }
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn unsafe_lives_under_host_only() {
    let lib = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    assert!(
        code_of(&lib).contains("#![deny(unsafe_code)]") || code_of(&lib).contains("#![forbid(unsafe_code)]"),
        "src/lib.rs must deny unsafe_code"
    );
    for (path, text) in sources().into_iter().filter(|(path, _)| floor_of(path).as_deref() != Some("host")) {
        let code = code_of(&text);
        assert!(!has_unsafe(&code), "{}: unsafe belongs under src/host", path.display());
        assert!(!code.contains("allow(unsafe_code)"), "{}: unsafe belongs under src/host", path.display());
    }
}

#[test]
fn no_source_file_is_longer_than_600_lines() {
    for (path, text) in sources() {
        let lines = text.lines().count();
        assert!(lines <= LONGEST_FILE_LINES, "{} has {lines} lines: split it by noun", path.display());
    }
}

#[test]
fn no_other_tls_library_is_linked() {
    let tree = Command::new(env!("CARGO"))
        .args(["tree", "--locked", "--offline", "--edges=normal,build", "--prefix=none", "--format={p}"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(tree.status.success(), "cargo tree: {}", String::from_utf8_lossy(&tree.stderr));
    let tree = String::from_utf8(tree.stdout).unwrap();
    let crates: BTreeSet<&str> = tree.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert!(crates.contains("outpost") && crates.contains("ring"), "cargo tree printed something else:\n{tree}");
    for banned in ["aws-lc-sys", "aws-lc-rs", "openssl-sys", "openssl", "native-tls"] {
        assert!(!crates.contains(banned), "{banned} is in the dependency tree: turn off a default feature");
    }
}

#[test]
fn cargo_lock_has_one_source() {
    let lock = fs::read_to_string(root().join("Cargo.lock")).unwrap();
    for line in lock.lines().filter_map(|line| line.strip_prefix("source = ")) {
        assert_eq!(line, "\"registry+https://github.com/rust-lang/crates.io-index\"");
    }
}

#[test]
fn npm_lock_files_name_no_place() {
    for folder in ["web", "tests"] {
        let path = root().join(folder).join("package-lock.json");
        let lock = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        for line in lock.lines().map(str::trim).filter(|line| line.starts_with("\"resolved\"")) {
            assert!(!line.contains("://"), "{folder}/package-lock.json: {line}");
        }
        assert!(lock.contains("\"integrity\""), "{folder}/package-lock.json has no checksums");
    }
}
