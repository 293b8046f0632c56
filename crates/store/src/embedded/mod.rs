//! The store of one process: a folder with an SQLite database, blobs beside it and a lock.
//!
//! ```text
//! lock          which process has the folder
//! store.db      records and events; store.db-wal and store.db-shm while open or after a crash
//! blobs/ab/abc… bytes by their SHA-256
//! ```
//!
//! One thread writes and groups commits (`writer.rs`); a few connections read (`reader.rs`). Readers and the writer
//! never wait for each other. SQLite's exclusive locking mode, which would keep a second process out, would keep our own
//! readers out too: the lock file stands in for it.

mod blob;
mod event;
mod lock;
mod object;
mod queue;
mod reader;
mod schema;
#[cfg(test)]
mod tests;
mod writer;

use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};

use crate::queue::{self as messages, Change, Lane, Waiting};
use crate::{Commit, Error, Event, EventQuery, Snapshot, Store, StoredEvent, limits};

use blob::Blobs;
use lock::Lock;
use reader::Readers;
use writer::{Work, Writer};

const DATABASE: &str = "store.db";
const BLOBS: &str = "blobs";

/// How an embedded store is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Read connections kept open while idle.
    pub readers_idle_max: usize,
    /// The size the database file must not outgrow, in whole pages of 8 KiB; commits beyond answer [`Error::Full`].
    /// `None` leaves it to the disk.
    pub bytes_max: Option<u64>,
    /// Up to this size the database is read whole and checked when it is opened. Bigger ones are checked by their
    /// header alone, since nobody wants to wait minutes for a start.
    pub check_bytes_max: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { readers_idle_max: 4, bytes_max: None, check_bytes_max: 256 << 20 }
    }
}

/// The durable [`Store`] of one process.
pub struct Embedded {
    // The order of these fields is the order of closing: readers first, so that the writer's connection is the last one
    // and folds the log into the file; the lock when nothing is open any more.
    readers: Readers,
    writer: Writer,
    blobs: Blobs,
    _lock: Lock,
}

impl Embedded {
    /// Opens the folder, and makes it, closed to others, if there is none.
    ///
    /// # Errors
    /// [`Error::Locked`] if it is in use. [`Error::Corrupt`] if its database is missing while blobs or a log are there,
    /// cut short, of another program or damaged: nothing is recreated, restore a backup. [`Error::Invalid`] if a newer
    /// version of this program wrote it.
    pub fn open(dir: &Path, options: Options) -> Result<Self, Error> {
        make_dir_all(dir)?;
        // Absolute, because SQLite would read a relative path that begins with `file:` as a URI.
        let dir = dir.canonicalize()?;
        let lock = Lock::take(&dir.join("lock"))?;
        let path = dir.join(DATABASE);
        if !path.try_exists()? {
            let traces = [schema::beside(&path, "-wal"), dir.join(BLOBS)];
            if let Some(trace) = traces.iter().find(|trace| trace.exists()) {
                let (path, trace) = (path.display(), trace.display());
                return Err(Error::Corrupt(format!("{path} is missing although {trace} is there")));
            }
            schema::create(&path)?;
        }
        schema::check_header(&path)?;
        let bytes = fs::metadata(&path)?.len();
        let connection = schema::connect_writer(&path, options.bytes_max)?;
        if bytes <= options.check_bytes_max {
            schema::check_whole(&connection)?;
        }
        let blobs = Blobs::open(dir.join(BLOBS))?;
        let readers = Readers::new(path, options.readers_idle_max);
        Ok(Self { readers, writer: Writer::start(connection)?, blobs, _lock: lock })
    }
}

fn make_dir_all(dir: &Path) -> Result<(), Error> {
    if dir.is_dir() {
        return Ok(());
    }
    let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty());
    if let Some(parent) = parent {
        make_dir_all(parent)?;
    }
    if blob::make_dir(dir)? {
        schema::sync_dir(parent.unwrap_or(Path::new(".")))?;
    }
    Ok(())
}

impl Store for Embedded {
    fn snapshot(&self) -> Result<Box<dyn Snapshot + '_>, Error> {
        Ok(Box::new(self.readers.snapshot()?))
    }

    fn commit(&self, commit: Commit) -> Result<u64, Error> {
        limits::check_commit(&commit)?;
        self.writer.submit(Work::Commit(commit))
    }

    fn append_events(&self, events: Vec<Event>) -> Result<(), Error> {
        limits::check_events(&events)?;
        if events.is_empty() {
            return Ok(());
        }
        self.writer.submit(Work::Events(events)).map(drop)
    }

    fn lookup_events(&self, query: &EventQuery) -> Result<Vec<StoredEvent>, Error> {
        limits::check_query(query)?;
        event::lookup(self.readers.borrow()?.connection()?, query)
    }

    fn events_after(&self, account: &str, sequence: u64, limit: usize) -> Result<Vec<StoredEvent>, Error> {
        limits::check_page(limit)?;
        event::after(self.readers.borrow()?.connection()?, account, sequence, limit)
    }

    fn prune_events(&self, before_ms: i64) -> Result<u64, Error> {
        let mut pruned = 0;
        let mut partition = (String::new(), String::new());
        loop {
            // The connection goes back before the work, which may wait in the writer's queue.
            let next = event::next_partition(self.readers.borrow()?.connection()?, &partition)?;
            let Some(next) = next else { return Ok(pruned) };
            loop {
                let step = self.writer.submit(Work::Prune { partition: next.clone(), before_ms })?;
                if step == 0 {
                    break;
                }
                pruned += step;
            }
            partition = next;
        }
    }

    fn change_queue(&self, change: Change) -> Result<(), Error> {
        messages::check(&change)?;
        self.writer.submit(Work::Queue(change)).map(drop)
    }

    fn queue_lanes(&self, after: Option<&Lane>, limit: usize) -> Result<Vec<(Lane, i64)>, Error> {
        messages::check_page(limit)?;
        queue::lanes(self.readers.borrow()?.connection()?, after, limit)
    }

    fn queue_waiting(&self, lane: &Lane, limit: usize) -> Result<Vec<Waiting>, Error> {
        messages::check_page(limit)?;
        messages::check_lane(lane)?;
        queue::waiting(self.readers.borrow()?.connection()?, lane, limit)
    }

    fn queue_body(&self, sequence: u64) -> Result<Option<Vec<u8>>, Error> {
        queue::body(self.readers.borrow()?.connection()?, sequence)
    }

    fn queue_count(&self) -> Result<u64, Error> {
        queue::count(self.readers.borrow()?.connection()?)
    }

    fn put_blob(&self, bytes: &[u8]) -> Result<String, Error> {
        self.blobs.put(bytes)
    }

    fn get_blob(&self, hash: &str) -> Result<Option<Vec<u8>>, Error> {
        self.blobs.get(hash)
    }

    fn blob_path(&self, hash: &str) -> Option<PathBuf> {
        self.blobs.path(hash).ok().filter(|path| path.is_file())
    }

    fn delete_blob(&self, hash: &str) -> Result<bool, Error> {
        self.blobs.delete(hash)
    }

    fn backup(&self, to: &Path) -> Result<(), Error> {
        make_dir_all(to)?;
        let to = to.canonicalize()?;
        let _lock = Lock::take(&to.join("lock"))?;
        for entry in fs::read_dir(&to)? {
            if entry?.file_name() != "lock" {
                return Err(Error::Invalid(format!("{} is not empty", to.display())));
            }
        }
        let path = to.join(DATABASE);
        let unborn = schema::beside(&path, ".new");
        copy_database(self.readers.borrow()?.connection()?, &unborn)?;
        // Blobs after records: a blob is there before the record that names it, and stays some time after. The database
        // gets its name last, so that a backup broken off is refused when opened.
        self.blobs.copy_into(&Blobs::open(to.join(BLOBS))?)?;
        schema::publish(&unborn, &path)
    }
}

fn copy_database(from: &Connection, to: &Path) -> Result<(), Error> {
    let mut copy = schema::connect_new(to)?;
    // All pages in one step: it reads one revision, and between steps a commit would make it start again.
    match Backup::new(from, &mut copy)?.step(-1)? {
        StepResult::Done => {}
        _ => return Err(Error::Busy),
    }
    copy.close().map_err(|(_, error)| error)?;
    Ok(())
}
