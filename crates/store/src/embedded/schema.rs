//! The database file: how it comes to be, how it grows from version to version, how a damaged one is told.

use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use crate::Error;

pub(super) const PAGE_BYTES: u64 = 8192;
/// Marks a file as ours ("PORT"), so that a foreign database is not taken for a new one.
const APPLICATION_ID: i32 = 0x504F_5254;
/// How long a statement waits for another connection. Only opening and closing ever contend.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Statements kept prepared by each connection: more than there are.
const STATEMENTS_MAX: usize = 64;
const WRITER_CACHE_KIB: i64 = 64 << 10;
const READER_CACHE_KIB: i64 = 16 << 10;
/// What the write-ahead log is cut back to once it could be folded into the file.
const LOG_BYTES_MAX: i64 = 64 << 20;

/// Each entry leads from the version of its index to the next. Never edit one that was released: add another.
///
/// Rows have a rowid and a unique index beside it: `WITHOUT ROWID` would spill documents to overflow pages, at several
/// times the size and the reading cost. Documents and records stand last in their rows, so that reading the columns
/// before them does not touch their pages. The small rows of `event_resource` have no such trouble.
///
/// `sequence` ends no index by accident: together with `time_ms` it is the order look-ups page in, and `data` behind it
/// lets them pass over data events without reading their rows.
///
/// `message` is narrow, so that the lanes and what is due in them are found without touching bodies; `message_total` is
/// what makes an account's quota cost the same however many messages wait.
const MIGRATIONS: &[&str] = &[
    "
CREATE TABLE revision (only INTEGER PRIMARY KEY CHECK (only = 0), rev INTEGER NOT NULL) STRICT;
INSERT INTO revision VALUES (0, 0);

CREATE TABLE object (
    account TEXT NOT NULL, region TEXT NOT NULL, noun TEXT NOT NULL, parent TEXT NOT NULL, id TEXT NOT NULL,
    rev INTEGER NOT NULL, document BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX object_key ON object (account, region, noun, parent, id);

CREATE TABLE event (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    event_id TEXT NOT NULL, account TEXT NOT NULL, region TEXT NOT NULL, time_ms INTEGER NOT NULL,
    data INTEGER NOT NULL, name TEXT NOT NULL, source TEXT NOT NULL, username TEXT, access_key_id TEXT,
    read_only INTEGER NOT NULL, resources TEXT NOT NULL, record BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX event_id ON event (event_id);
CREATE INDEX event_arrival ON event (account, sequence);
CREATE INDEX event_time ON event (account, region, time_ms, sequence, data);
CREATE INDEX event_name ON event (account, region, name, time_ms, sequence, data);
CREATE INDEX event_source ON event (account, region, source, time_ms, sequence, data);
CREATE INDEX event_read_only ON event (account, region, read_only, time_ms, sequence, data);
CREATE INDEX event_username ON event (account, region, username, time_ms, sequence, data)
    WHERE username IS NOT NULL;
CREATE INDEX event_access_key_id ON event (account, region, access_key_id, time_ms, sequence, data)
    WHERE access_key_id IS NOT NULL;
CREATE TABLE event_resource (
    account TEXT NOT NULL, region TEXT NOT NULL, facet INTEGER NOT NULL, value TEXT NOT NULL,
    time_ms INTEGER NOT NULL, sequence INTEGER NOT NULL, data INTEGER NOT NULL,
    PRIMARY KEY (account, region, facet, value, time_ms, sequence)
) STRICT, WITHOUT ROWID;
",
    "
CREATE TABLE message (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    account TEXT NOT NULL, region TEXT NOT NULL, lane TEXT NOT NULL, due_ms INTEGER NOT NULL,
    bytes INTEGER NOT NULL, head BLOB NOT NULL
) STRICT;
CREATE INDEX message_due ON message (account, region, lane, due_ms, sequence);
CREATE TABLE message_body (sequence INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT;
CREATE TABLE message_total (
    account TEXT PRIMARY KEY, messages INTEGER NOT NULL, bytes INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
",
];

pub(super) fn sync_dir(dir: &Path) -> Result<(), Error> {
    Ok(File::open(dir)?.sync_all()?)
}

/// `store.db` with something appended: how SQLite names the files beside a database.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn remove_database(path: &Path) -> Result<(), Error> {
    for suffix in ["", "-journal", "-wal", "-shm"] {
        match fs::remove_file(beside(path, suffix)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
    }
    Ok(())
}

/// Makes an empty database at `path`, whole or not at all: it is built under another name, synced and renamed, so a
/// file of the final name that is empty or half-made is always damage and never a beginning.
pub(super) fn create(path: &Path) -> Result<(), Error> {
    let unborn = beside(path, ".new");
    let mut connection = connect_new(&unborn)?;
    connection.pragma_update(None, "page_size", PAGE_BYTES as i64)?;
    connection.pragma_update(None, "application_id", APPLICATION_ID)?;
    write_ahead(&connection)?;
    migrate(&mut connection)?;
    connection.close().map_err(|(_, error)| error)?;
    publish(&unborn, path)
}

/// An empty database in place of whatever an interrupted beginning left under this name.
pub(super) fn connect_new(unborn: &Path) -> Result<Connection, Error> {
    remove_database(unborn)?;
    // Made here and not by SQLite for its mode, which the files beside the database inherit.
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(unborn)?;
    Ok(Connection::open_with_flags(unborn, flags())?)
}

/// Syncs the finished file and gives it its name.
pub(super) fn publish(unborn: &Path, path: &Path) -> Result<(), Error> {
    File::open(unborn)?.sync_all()?;
    fs::rename(unborn, path)?;
    path.parent().map_or(Ok(()), sync_dir)
}

/// Looks at the file before SQLite does: it would take an empty file for a new database and a short one for sound.
///
/// INVARIANT: called before any connection is open. Closing a file a second time in one process drops SQLite's locks.
pub(super) fn check_header(path: &Path) -> Result<(), Error> {
    let corrupt = |what: &str| Err(Error::Corrupt(format!("{} {what}", path.display())));
    let mut header = [0; 100];
    let mut file = File::open(path)?;
    let file_bytes = file.metadata()?.len();
    if file_bytes < header.len() as u64 {
        return corrupt("is too short to be a database");
    }
    file.read_exact(&mut header)?;
    if !header.starts_with(b"SQLite format 3\0") {
        return corrupt("does not begin as an SQLite database does");
    }
    let word = |at: usize| u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    if word(68) != APPLICATION_ID as u32 {
        return corrupt("is a database of another program");
    }
    // While a log is beside it the file may lag behind its own header: the missing pages are in the log.
    let logged = fs::metadata(beside(path, "-wal")).is_ok_and(|log| log.len() > 0);
    if !logged && file_bytes < u64::from(word(28)) * PAGE_BYTES {
        return corrupt("was cut short");
    }
    Ok(())
}

fn flags() -> OpenFlags {
    // Each connection is used by one thread at a time, so it needs no lock of its own. Without CREATE, a file that
    // vanished is an error and not an empty store.
    OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX
}

fn write_ahead(connection: &Connection) -> Result<(), Error> {
    let mode: String = connection.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0))?;
    if mode != "wal" {
        return Err(Error::Io(std::io::Error::other(format!("no write-ahead log here, only {mode}"))));
    }
    Ok(())
}

fn connect(path: &Path, cache_kib: i64) -> Result<Connection, Error> {
    let connection = Connection::open_with_flags(path, flags())?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    connection.pragma_update(None, "cache_size", -cache_kib)?;
    connection.pragma_update(None, "temp_store", "memory")?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    // FULL and not NORMAL: with a write-ahead log, NORMAL does not sync each commit.
    connection.pragma_update(None, "synchronous", "full")?;
    Ok(connection)
}

pub(super) fn connect_reader(path: &Path) -> Result<Connection, Error> {
    let connection = connect(path, READER_CACHE_KIB)?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}

pub(super) fn connect_writer(path: &Path, bytes_max: Option<u64>) -> Result<Connection, Error> {
    let mut connection = connect(path, WRITER_CACHE_KIB)?;
    write_ahead(&connection)?;
    connection.pragma_update_and_check(None, "journal_size_limit", LOG_BYTES_MAX, |_| Ok(()))?;
    migrate(&mut connection)?;
    if let Some(bytes_max) = bytes_max {
        let pages = i64::try_from(bytes_max / PAGE_BYTES).unwrap_or(i64::MAX).clamp(1, i64::from(u32::MAX - 1));
        connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))?;
    }
    Ok(connection)
}

/// Reads the whole file and every index of it.
pub(super) fn check_whole(connection: &Connection) -> Result<(), Error> {
    let verdict: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if verdict == "ok" { Ok(()) } else { Err(Error::Corrupt(verdict)) }
}

fn migrate(connection: &mut Connection) -> Result<(), Error> {
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let known = MIGRATIONS.len();
    let version = usize::try_from(version).ok().filter(|version| *version <= known).ok_or_else(|| {
        Error::Invalid(format!("the database has version {version}, this program knows up to {known}: use a newer one"))
    })?;
    for (step, migration) in MIGRATIONS.iter().enumerate().skip(version) {
        let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        transaction.execute_batch(migration)?;
        transaction.pragma_update(None, "user_version", step as i64 + 1)?;
        transaction.commit()?;
    }
    Ok(())
}
