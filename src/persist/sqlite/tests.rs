//! Opening, refusing, saving, copying.

use std::{fs, path::PathBuf};

use super::*;

const ONE: &str = "CREATE TABLE things (id INTEGER PRIMARY KEY, name TEXT NOT NULL) STRICT;
    CREATE TABLE pairs (a TEXT, b INTEGER, c BLOB, PRIMARY KEY (a, b)) WITHOUT ROWID;";
const TWO: &str = "ALTER TABLE things ADD COLUMN size INTEGER;";
const FIRST: Schema = Schema { name: "test.db", migrations: &[ONE] };
const SECOND: Schema = Schema { name: "test.db", migrations: &[ONE, TWO] };

struct Place {
    _dir: tempfile::TempDir,
    path: PathBuf,
}

fn place() -> Place {
    let dir = tempfile::tempdir().unwrap();
    Place { path: dir.path().join("test.db"), _dir: dir }
}

impl Place {
    fn open(&self, schema: &Schema) -> Result<Opened, Error> {
        open(&self.path, schema, Durability::Normal)
    }

    /// All files of the folder with their contents.
    fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let entries = fs::read_dir(self.path.parent().unwrap()).unwrap().map(|entry| entry.unwrap().path());
        let mut files: Vec<_> = entries.map(|path| (path.clone(), fs::read(&path).unwrap())).collect();
        files.sort();
        files
    }
}

fn fill(connection: &Connection, count: i64) {
    let fill =
        "INSERT INTO things (id, name) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
        SELECT i, printf('%0200d', i) FROM n";
    connection.execute(fill, [count]).unwrap();
    connection.execute("INSERT INTO pairs SELECT name, id, NULL FROM things", []).unwrap();
}

fn count(connection: &Connection, table: &str) -> i64 {
    connection.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
}

#[test]
fn database_is_made_for_its_owner_only_and_migrated() {
    let place = place();
    fill(&place.open(&FIRST).unwrap().connection, 5);
    let opened = place.open(&SECOND).unwrap();
    assert_eq!(version(&opened.connection).unwrap(), 2);
    assert_eq!(opened.recovery, None);
    opened.connection.execute("UPDATE things SET size = 1", []).unwrap();
    for (path, _) in place.files() {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600, "{}", path.display());
    }
}

#[test]
fn newer_database_is_refused_and_left_as_it_is() {
    let place = place();
    drop(place.open(&SECOND).unwrap());
    let before = place.files();
    assert_eq!(before.len(), 1, "an orderly end leaves one file");
    let Err(Error::Newer { found: 2, known: 1, .. }) = place.open(&FIRST) else { panic!("not refused") };
    assert_eq!(place.files(), before);
}

#[test]
fn newer_version_that_is_only_in_the_log_is_refused_too() {
    let place = place();
    drop(place.open(&FIRST).unwrap());
    let opened = place.open(&SECOND).unwrap();
    // As a kill would leave it.
    let copy = tempfile::tempdir().unwrap();
    for (path, contents) in place.files() {
        fs::write(copy.path().join(path.file_name().unwrap()), contents).unwrap();
    }
    drop(opened);
    let path = copy.path().join("test.db");
    let before = fs::read(&path).unwrap();
    let log = fs::read(beside(&path, "-wal")).unwrap();
    let Err(error @ Error::Newer { .. }) = open(&path, &FIRST, Durability::Normal) else { panic!("not refused") };
    assert!(error.to_string().contains("has schema version 2, this program knows 1"), "{error}");
    assert_eq!(fs::read(&path).unwrap(), before);
    assert_eq!(fs::read(beside(&path, "-wal")).unwrap(), log);
}

#[test]
fn damaged_pages_are_skipped_and_the_rest_is_saved() {
    let place = place();
    fill(&place.open(&FIRST).unwrap().connection, 5000);
    let mut bytes = fs::read(&place.path).unwrap();
    let pages = bytes.len() / 4096;
    for page in [pages / 5, pages / 4, pages / 3] {
        bytes[page * 4096..(page + 1) * 4096].fill(0xaa);
    }
    fs::write(&place.path, &bytes).unwrap();
    mark_suspect(&place.path).unwrap();

    let opened = place.open(&FIRST).unwrap();
    let recovery = opened.recovery.unwrap();
    assert_eq!(fs::read(&recovery.set_aside).unwrap(), bytes, "what is set aside is as it was");
    assert!(recovery.set_aside.to_str().unwrap().contains("test.db.damaged-2"), "{recovery:?}");
    let things = count(&opened.connection, "things");
    // A page holds about 19 rows.
    assert!((4900..5000).contains(&things), "{things}");
    assert!(count(&opened.connection, "pairs") > 1000);
    assert_eq!(recovery.saved as i64, things + count(&opened.connection, "pairs"));
    drop(opened.connection);
    assert_eq!(place.open(&FIRST).unwrap().recovery, None, "it is sound now");
}

#[test]
fn file_that_is_no_database_is_set_aside() {
    let place = place();
    fs::write(
        &place.path,
        "something else entirely, which is longer than a header of a database would be, is it not? ".repeat(99),
    )
    .unwrap();
    let opened = place.open(&FIRST).unwrap();
    let recovery = opened.recovery.unwrap();
    assert_eq!(recovery.saved, 0);
    assert!(fs::read(recovery.set_aside).unwrap().starts_with(b"something"));
    assert_eq!(count(&opened.connection, "things"), 0);
}

#[test]
fn interrupted_saving_is_finished() {
    let place = place();
    fill(&place.open(&FIRST).unwrap().connection, 7);
    // Complete, but the damaged one is still in its place.
    fs::rename(&place.path, beside(&place.path, salvage::COMPLETE)).unwrap();
    fs::write(&place.path, "damaged").unwrap();
    assert_eq!(count(&place.open(&FIRST).unwrap().connection, "things"), 7);
    // The damaged one is away, the new one not yet in its place.
    fs::rename(&place.path, beside(&place.path, salvage::COMPLETE)).unwrap();
    assert_eq!(count(&place.open(&FIRST).unwrap().connection, "things"), 7);
    // Not complete: it does not count.
    fs::write(beside(&place.path, salvage::PART), "half").unwrap();
    assert_eq!(count(&place.open(&FIRST).unwrap().connection, "things"), 7);
    assert!(!beside(&place.path, salvage::PART).exists());
}

#[test]
fn backup_is_of_one_moment_and_verifies() {
    let place = place();
    let opened = place.open(&FIRST).unwrap();
    fill(&opened.connection, 3000);
    let target = beside(&place.path, ".backup");
    let mut reports = Vec::new();
    backup(&place.path, &target, |done, of| {
        // Somebody writes meanwhile.
        opened.connection.execute("INSERT INTO things (name) VALUES ('later')", []).unwrap();
        reports.push((done, of));
    })
    .unwrap();
    assert!(reports.len() > 1 && reports.last().is_some_and(|(done, of)| done == of), "{reports:?}");
    let found = verify(&target, &FIRST).unwrap();
    assert_eq!(found, Verification { version: 1, findings: Vec::new() });
    assert!(!beside(&target, "-wal").exists());
    assert_eq!(count(&Connection::open(&target).unwrap(), "things"), 3000);
    assert!(backup(&place.path, &target, |_, _| {}).is_err(), "nothing is overwritten");
}

#[test]
fn verify_tells_damage_and_compact_gives_back() {
    let place = place();
    let opened = place.open(&FIRST).unwrap();
    fill(&opened.connection, 3000);
    opened.connection.execute("DELETE FROM pairs", []).unwrap();
    drop(opened);
    let (before, after) = compact(&place.path, &FIRST).unwrap();
    assert!(after < before * 2 / 3, "{before} {after}");
    assert_eq!(count(&place.open(&FIRST).unwrap().connection, "things"), 3000);
    let mut bytes = fs::read(&place.path).unwrap();
    bytes[40 * 4096..41 * 4096].fill(0xaa);
    fs::write(&place.path, &bytes).unwrap();
    assert!(!verify(&place.path, &FIRST).unwrap().findings.is_empty());
    let Err(Error::Newer { .. }) = verify(&place.path, &Schema { name: "", migrations: &[] }) else { panic!() };
}
