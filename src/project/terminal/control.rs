//! Control directories and the `open` command (§11.7).
//!
//! Under the control root there is `bin/open`, which is first in the `PATH` of every session, and `sessions-PID/`, which holds one
//! directory per session. A program in the terminal leaves files there; the session reads them and tells its sockets.

use std::{
    ffi::OsString,
    fs::{self, File, Permissions},
    io::{self, Read},
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use crate::host::directory_watch::DirectoryWatch;

/// The script, with `@HOME@` for the quoted home directory.
const OPEN_SCRIPT: &str = include_str!("open.sh");
/// Where the system can't tell about changes: how often to look.
const POLL: Duration = Duration::from_millis(500);
/// Files read at one look.
const MAX_FILES: usize = 100;
/// Longest file.
const MAX_FILE_BYTES: u64 = 64 << 10;

/// The place of all control directories of this server.
#[derive(Debug)]
pub(super) struct ControlRoot {
    /// Holds `open`.
    pub bin: PathBuf,
    sessions: PathBuf,
}

impl ControlRoot {
    /// Makes the directories and the script, and removes what servers that are gone have left.
    pub(super) fn prepare(root: &Path, home: &Path) -> io::Result<Self> {
        private_directory(root)?;
        let root = fs::canonicalize(root)?;
        let bin = root.join("bin");
        private_directory(&bin)?;
        let script = OPEN_SCRIPT.replace("@HOME@", &quoted(&home.to_string_lossy()));
        let temporary = bin.join(format!(".open-{}", std::process::id()));
        fs::write(&temporary, script)?;
        fs::set_permissions(&temporary, Permissions::from_mode(0o755))?;
        fs::rename(&temporary, bin.join("open"))?;
        let sessions = root.join(format!("sessions-{}", std::process::id()));
        for entry in fs::read_dir(&root)?.flatten() {
            let name = entry.file_name();
            let Some(pid) = name.to_str().and_then(|name| name.strip_prefix("sessions-")) else { continue };
            if entry.path() != sessions && !Path::new("/proc").join(pid).exists() {
                // Only tidiness; somebody else may do the same.
                let _ = fs::remove_dir_all(entry.path());
            }
        }
        private_directory(&sessions)?;
        Ok(ControlRoot { bin, sessions })
    }

    /// A fresh directory for one session.
    pub(super) fn session(&self) -> io::Result<ControlDirectory> {
        let mut random = [0_u8; 16];
        getrandom::fill(&mut random).map_err(io::Error::other)?;
        let path = self.sessions.join(hex::encode(random));
        // Again, if somebody has tidied up too much.
        private_directory(&self.sessions)?;
        fs::DirBuilder::new().mode(0o700).create(&path)?;
        let watch = DirectoryWatch::new(&path);
        if let Err(error) = &watch {
            tracing::debug!(%error, "control directory is polled");
        }
        Ok(ControlDirectory { path, watch: watch.ok() })
    }
}

impl Drop for ControlRoot {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.sessions);
    }
}

fn private_directory(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// A text as one word of the shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// The control directory of one session; removed when dropped.
#[derive(Debug)]
pub(super) struct ControlDirectory {
    path: PathBuf,
    watch: Option<DirectoryWatch>,
}

impl ControlDirectory {
    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Waits until something may have arrived.
    pub(super) async fn changed(&self) {
        let watched = match &self.watch {
            Some(watch) => watch.changed().await.is_ok(),
            None => false,
        };
        if !watched {
            tokio::time::sleep(POLL).await;
        }
    }

    /// Takes what has arrived: one value per line, in order of the files' names.
    pub(super) async fn take(&self) -> Vec<serde_json::Value> {
        let path = self.path.clone();
        tokio::task::spawn_blocking(move || take(&path)).await.unwrap_or_default()
    }
}

impl Drop for ControlDirectory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

fn take(directory: &Path) -> Vec<serde_json::Value> {
    let mut values = Vec::new();
    // The files that are left when there are very many are taken at once after these.
    loop {
        let mut names: Vec<OsString> = fs::read_dir(directory)
            .into_iter()
            .flatten()
            .filter_map(|entry| Some(entry.ok()?.file_name()))
            .filter(|name| {
                let name = name.as_encoded_bytes();
                name.ends_with(b".json") && !name.starts_with(b".")
            })
            .collect();
        names.sort_unstable();
        let more = names.len() > MAX_FILES;
        for name in names.iter().take(MAX_FILES) {
            let path = directory.join(name);
            let mut text = String::new();
            let read = File::open(&path).and_then(|file| file.take(MAX_FILE_BYTES).read_to_string(&mut text));
            if fs::remove_file(&path).is_err() {
                // It would come again and again.
                return values;
            }
            if read.is_ok() {
                values.extend(text.lines().filter_map(|line| serde_json::from_str(line).ok()).filter(is_event));
            }
        }
        if !more {
            return values;
        }
    }
}

fn is_event(value: &serde_json::Value) -> bool {
    matches!(value.get("event").and_then(serde_json::Value::as_str), Some("open" | "close"))
        && value.get("paths").is_some_and(serde_json::Value::is_array)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use serde_json::json;

    use super::*;

    struct Case {
        home: tempfile::TempDir,
        _data: tempfile::TempDir,
        root: ControlRoot,
    }

    fn case() -> Case {
        let home = tempfile::tempdir().unwrap();
        let data = tempfile::tempdir().unwrap();
        let root = ControlRoot::prepare(&data.path().join("it's here"), home.path()).unwrap();
        Case { home, _data: data, root }
    }

    fn open(case: &Case, control: &ControlDirectory, directory: &Path, args: &[&str]) -> bool {
        Command::new(case.root.bin.join("open"))
            .args(args)
            .current_dir(directory)
            .env("COCALC_CONTROL_DIR", control.path())
            .status()
            .unwrap()
            .success()
    }

    #[tokio::test]
    async fn open_creates_files_and_tells_paths_relative_to_home() {
        let case = case();
        let control = case.root.session().unwrap();
        let sub = case.home.path().join("s ub");
        fs::create_dir(&sub).unwrap();
        assert!(open(&case, &control, &sub, &["x.md", "quo\"te\\\n€", "..", ".", "/usr"]));
        assert!(sub.join("x.md").exists());
        control.changed().await;
        let expected = json!({"event": "open", "paths": [
            {"file": "s ub/x.md"}, {"file": "s ub/quo\"te\\\n€"}, {"directory": ""}, {"directory": "s ub"}, {"directory": ".smc/root/usr"},
        ]});
        assert_eq!(control.take().await, [expected]);
        assert!(control.take().await.is_empty());
    }

    #[tokio::test]
    async fn open_refuses_what_it_can_not_do() {
        let case = case();
        let control = case.root.session().unwrap();
        assert!(!open(&case, &control, case.home.path(), &[]));
        assert!(!open(&case, &control, case.home.path(), &["a"; 16]));
        assert!(!open(&case, &control, case.home.path(), &["no/such/directory/x"]));
        assert!(control.take().await.is_empty());
    }

    #[tokio::test]
    async fn control_files_are_taken_in_order_and_bad_ones_ignored() {
        let case = case();
        let control = case.root.session().unwrap();
        let line = |n: usize| json!({"event": "open", "paths": [{"file": n.to_string()}]});
        fs::write(control.path().join("2.json"), format!("{}\nnonsense\n{}\n", line(2), line(3))).unwrap();
        fs::write(control.path().join("1.json"), line(1).to_string()).unwrap();
        fs::write(control.path().join("3.json"), b"\xff\xfe").unwrap();
        fs::write(control.path().join("4.json"), r#"{"event":"other","paths":[]}"#).unwrap();
        fs::write(control.path().join(".5.json"), line(5).to_string()).unwrap();
        assert_eq!(control.take().await, [line(1), line(2), line(3)]);
        assert_eq!(fs::read_dir(control.path()).unwrap().count(), 1);
    }

    #[test]
    fn control_directories_are_private_and_removed() {
        let case = case();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let _guard = runtime.enter();
        let control = case.root.session().unwrap();
        let path = control.path().to_owned();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        drop(control);
        assert!(!path.exists());
        let sessions = case.root.sessions.clone();
        drop(case.root);
        assert!(!sessions.exists());
    }
}
