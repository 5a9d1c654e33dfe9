//! Embeds the page: walks `web/dist` and writes a table of its files (path, MIME type, hash, raw and precompressed bytes).
//!
//! Without `web/dist` the build fails, except with `OUTPOST_PAGE=none`, which embeds an empty table (for checks and lints).

use std::{
    env,
    fmt::Write as _,
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use sha2::{Digest, Sha256};

#[path = "src/http/page/mime.rs"]
mod mime;

fn main() -> ExitCode {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=src/http/page/mime.rs");
    println!("cargo::rerun-if-env-changed=OUTPOST_PAGE");
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("cargo::error={error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), String> {
    let root = PathBuf::from(variable("CARGO_MANIFEST_DIR")?).join("web/dist");
    let out = PathBuf::from(variable("OUT_DIR")?);
    let release = variable("PROFILE")? == "release";
    let mut files = Vec::new();
    if !matches!(env::var("OUTPOST_PAGE").as_deref(), Ok("none")) {
        println!("cargo::rerun-if-changed={}", root.display());
        if !root.join("app.html").is_file() {
            return Err("web/dist is missing; run: make page".into());
        }
        walk(&root, &root, &mut files).map_err(|error| format!("web/dist: {error}"))?;
        files.sort();
    }
    let mut table = String::from("&[\n");
    for path in &files {
        let entry = embed(&root, path, &out, release).map_err(|error| format!("web/dist/{path}: {error}"))?;
        table.push_str(&entry);
    }
    table.push(']');
    fs::write(out.join("page.rs"), table).map_err(|error| format!("the table of the page: {error}"))
}

fn variable(name: &str) -> Result<String, String> {
    env::var(name).map_err(|_| format!("{name} is not set; build with cargo"))
}

/// Collects the paths of all files below `directory`, relative to `root`, with `/` between their parts.
fn walk(root: &Path, directory: &Path, files: &mut Vec<String>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            walk(root, &path, files)?;
        } else if let Some(name) = path.strip_prefix(root).ok().and_then(Path::to_str) {
            files.push(name.to_owned());
        }
    }
    Ok(())
}

/// Compresses one file and returns its line of the table.
fn embed(root: &Path, path: &str, out: &Path, release: bool) -> io::Result<String> {
    let source = root.join(path);
    let raw = fs::read(&source)?;
    let hash = hex::encode(&Sha256::digest(&raw)[..8]);
    let mime = mime::of(path);
    let (mut br, mut gz) = ("None".to_owned(), "None".to_owned());
    if mime::is_compressible(mime) && raw.len() > 256 {
        // The names carry hash and effort, so what was compressed once is not compressed again.
        let (quality, level) = if release { (11, 9) } else { (5, 6) };
        br = kept(out, &format!("{hash}-{quality}.br"), raw.len(), || {
            let mut packed = Vec::new();
            let parameters = brotli::enc::BrotliEncoderParams { quality, ..Default::default() };
            brotli::BrotliCompress(&mut raw.as_slice(), &mut packed, &parameters)?;
            Ok(packed)
        })?;
        gz = kept(out, &format!("{hash}-{level}.gz"), raw.len(), || {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(level));
            encoder.write_all(&raw)?;
            encoder.finish()
        })?;
    }
    let mut line = String::new();
    let _ = writeln!(
        line,
        "    Asset {{ path: {path:?}, mime: {mime:?}, hash: {hash:?}, raw: include_bytes!({source:?}), br: {br}, gz: {gz} }},"
    );
    Ok(line)
}

/// Writes a compressed form unless it is there, and returns the expression that embeds it, or `None` if it saves nothing.
fn kept(out: &Path, name: &str, raw: usize, pack: impl FnOnce() -> io::Result<Vec<u8>>) -> io::Result<String> {
    let path = out.join(name);
    if !path.is_file() {
        fs::write(&path, pack()?)?;
    }
    let size = usize::try_from(fs::metadata(&path)?.len()).unwrap_or(usize::MAX);
    Ok(if size < raw { format!("Some(include_bytes!({path:?}))") } else { "None".into() })
}
