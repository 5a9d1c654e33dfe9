//! Finding out whether a database is damaged.

use std::{
    fs, io,
    path::Path,
    time::{Duration, Instant},
};

use rusqlite::{Connection, ErrorCode};

use super::{Error, Schema, beside, connect_read_only, salvage};

/// The file beside a database that has to be looked through at the next start, whatever else is there.
const SUSPECT: &str = ".suspect";

/// How often a long look says how far it is.
const PROGRESS: Duration = Duration::from_secs(5);

/// Notes that a database is to be looked through at the next start.
///
/// # Errors
/// The system says no.
pub fn mark_suspect(path: &Path) -> Result<(), Error> {
    let mark = beside(path, SUSPECT);
    fs::write(&mark, "").map_err(Error::io(&mark))
}

pub(super) fn clear_suspicion(path: &Path) -> Result<(), Error> {
    let mark = beside(path, SUSPECT);
    match fs::remove_file(&mark) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::io(&mark)(error)),
        _ => Ok(()),
    }
}

/// Whether SQLite complains about what is in the file.
pub fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

/// Looks through a database that was not closed in order; gives what is wrong with it.
pub(super) fn look(path: &Path, schema: &Schema) -> Result<Option<String>, Error> {
    let suspect = beside(path, SUSPECT).exists();
    if !path.exists() || !(suspect || beside(path, "-wal").exists()) {
        return Ok(None);
    }
    // The log may vanish during a look that comes to no end.
    if !suspect {
        mark_suspect(path)?;
    }
    let begun = Instant::now();
    let finding = match connect_read_only(path).and_then(|mut connection| quick_check(&mut connection, schema)) {
        Ok(finding) => finding,
        Err(error) if is_damage(&error) => Some(error.to_string()),
        // Whoever had it open has closed it in order just now.
        Err(_) if !suspect && !beside(path, "-wal").exists() => {
            clear_suspicion(path)?;
            return Ok(None);
        }
        Err(error) => return Err(Error::sqlite(path)(error)),
    };
    let took = begun.elapsed();
    tracing::info!(
        database = schema.name,
        ?took,
        sound = finding.is_none(),
        "the last end was not in order; looked through"
    );
    Ok(finding)
}

fn quick_check(connection: &mut Connection, schema: &Schema) -> rusqlite::Result<Option<String>> {
    let (begun, mut told, name) = (Instant::now(), Instant::now(), schema.name);
    let progress = move || {
        if told.elapsed() >= PROGRESS {
            told = Instant::now();
            tracing::info!(database = name, seconds = begun.elapsed().as_secs(), "still looking for damage");
        }
        false
    };
    connection.progress_handler(100_000, Some(progress))?;
    let found: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    Ok(Some(found.replace('\n', "; ")).filter(|found| found != "ok"))
}

/// A start that saved a damaged database may have been interrupted.
pub(super) fn finish_interrupted(path: &Path, schema: &Schema) -> Result<(), Error> {
    let part = beside(path, salvage::PART);
    match fs::remove_file(&part) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(Error::io(&part)(error)),
        _ => {}
    }
    // It has its last name only when it is complete.
    if beside(path, salvage::COMPLETE).exists() {
        let set_aside = salvage::swap(path)?;
        tracing::warn!(
            database = schema.name,
            set_aside = %set_aside.display(),
            "finished setting a damaged database aside"
        );
    }
    Ok(())
}
