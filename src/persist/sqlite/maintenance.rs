//! Backup, verification and compaction of databases, also while a server has them open.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use rusqlite::{Connection, backup};

use super::{Error, Schema, beside, connect_beside, connect_read_only, create, header_version, sync_folder, version};

/// Pages that are copied between two reports.
const PAGES: i32 = 256;
/// Findings that are listed at most.
const FINDINGS: u32 = 20;

/// What a look through a database found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verification {
    /// The version of its schema.
    pub version: u32,
    /// What is wrong with it; empty if nothing is.
    pub findings: Vec<String>,
}

/// Copies a database as of one moment into a new file, which is there only when it is complete. `progress` is told how many
/// pages are done and how many there are.
///
/// # Errors
/// SQLite or the system says no, or the target exists.
pub fn backup(source: &Path, target: &Path, mut progress: impl FnMut(u64, u64)) -> Result<(), Error> {
    if target.exists() {
        return Err(Error::io(target)(io::ErrorKind::AlreadyExists.into()));
    }
    let part = beside(target, ".part");
    let _ = fs::remove_file(&part);
    create(&part)?;
    let copied = copy(source, &part, &mut progress);
    if copied.is_err() {
        let _ = fs::remove_file(&part);
    }
    copied?;
    fs::File::open(&part).and_then(|file| file.sync_all()).map_err(Error::io(&part))?;
    fs::rename(&part, target).map_err(Error::io(target))?;
    sync_folder(target)
}

fn copy(source: &Path, part: &Path, progress: &mut impl FnMut(u64, u64)) -> Result<(), Error> {
    // Which of the two it is that fails is told by what SQLite says; a full disk is the target's.
    let from = quiet(source).map_err(Error::sqlite(source))?;
    let mut run = || {
        let mut to = Connection::open(part)?;
        to.pragma_update(None, "synchronous", "OFF")?;
        // A transaction keeps to one moment, however long the copy takes.
        let moment = from.unchecked_transaction()?;
        version(&moment)?;
        let copying = backup::Backup::new(&moment, &mut to)?;
        loop {
            let step = copying.step(PAGES)?;
            let state = copying.progress();
            let count = |pages: i32| u64::try_from(pages).unwrap_or(0);
            progress(count(state.pagecount.saturating_sub(state.remaining)), count(state.pagecount));
            match step {
                backup::StepResult::Done => break,
                backup::StepResult::More => {}
                _ => std::thread::sleep(std::time::Duration::from_millis(10)),
            }
        }
        drop(copying);
        // One file, without a log beside it.
        to.pragma_update(None, "journal_mode", "DELETE")?;
        to.close().map_err(|(_, error)| error)
    };
    run().map_err(Error::sqlite(part))
}

/// A connection that leaves nothing behind: where there is no log, it makes none.
fn quiet(path: &Path) -> rusqlite::Result<Connection> {
    if beside(path, "-wal").exists() { connect_read_only(path) } else { connect_beside(path) }
}

/// Looks through all of a database, indexes included, and through its version.
///
/// # Errors
/// SQLite or the system says no, or the version is newer than what the program knows.
pub fn verify(path: &Path, schema: &Schema) -> Result<Verification, Error> {
    // SQLite would make an empty database of a file that is not there.
    let found = header_version(&mut fs::File::open(path).map_err(Error::io(path))?);
    if found > schema.version() {
        return Err(Error::Newer { path: path.to_owned(), found, known: schema.version() });
    }
    let check = || {
        let connection = quiet(path)?;
        let mut check = connection.prepare(&format!("PRAGMA integrity_check({FINDINGS})"))?;
        let findings = check.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<Vec<String>>>()?;
        Ok((version(&connection)?, findings))
    };
    match check() {
        Ok((version, findings)) => {
            Ok(Verification { version, findings: findings.into_iter().filter(|finding| finding != "ok").collect() })
        }
        Err(error) if super::damage::is_damage(&error) => {
            Ok(Verification { version: found, findings: vec![error.to_string()] })
        }
        Err(error) => Err(Error::sqlite(path)(error)),
    }
}

/// Gives back to the system what a database does not use; gives its size before and after. Writers wait meanwhile, and need
/// patience: stop the server first.
///
/// # Errors
/// SQLite or the system says no, or the version is newer than what the program knows.
pub fn compact(path: &Path, schema: &Schema) -> Result<(u64, u64), Error> {
    super::refuse_newer(path, schema)?;
    let size = |path: &PathBuf| fs::metadata(path).map(|metadata| metadata.len()).map_err(Error::io(path));
    let path = path.to_owned();
    let before = size(&path)?;
    let run = || {
        let connection = connect_beside(&path)?;
        connection.execute_batch("VACUUM; PRAGMA wal_checkpoint(TRUNCATE);")?;
        connection.close().map_err(|(_, error)| error)
    };
    run().map_err(Error::sqlite(&path))?;
    Ok((before, size(&path)?))
}
