//! Read connections, a few kept open, and the snapshots that borrow them.

use std::path::PathBuf;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::Connection;

use crate::{Error, Fingerprint, Key, Range, Row, Snapshot, limits};

use super::{object, schema};

/// Connections open at once. Operations that read through two snapshots must not wait for each other, so this is far
/// more than the idle ones kept.
const OPEN_MAX: usize = 64;
/// How long a caller waits for one of them.
const WAIT_MAX: Duration = Duration::from_secs(10);

pub(super) struct Readers {
    path: PathBuf,
    idle_max: usize,
    open_max: usize,
    wait_max: Duration,
    state: Mutex<State>,
    freed: Condvar,
}

#[derive(Default)]
struct State {
    idle: Vec<Connection>,
    open: usize,
}

impl Readers {
    /// Keeps up to `idle_max` connections for the next caller.
    pub(super) fn new(path: PathBuf, idle_max: usize) -> Self {
        let (open_max, wait_max) = (OPEN_MAX, WAIT_MAX);
        let idle_max = idle_max.clamp(1, open_max);
        Self { path, idle_max, open_max, wait_max, state: Mutex::default(), freed: Condvar::new() }
    }

    #[cfg(test)]
    pub(super) fn narrow(self, open_max: usize, wait_max: Duration) -> Self {
        Self { open_max, wait_max, ..self }
    }

    pub(super) fn borrow(&self) -> Result<Reader<'_>, Error> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let full = |state: &mut State| state.idle.is_empty() && state.open >= self.open_max;
        let (mut state, wait) =
            self.freed.wait_timeout_while(state, self.wait_max, full).unwrap_or_else(PoisonError::into_inner);
        if wait.timed_out() {
            return Err(Error::Busy);
        }
        if let Some(connection) = state.idle.pop() {
            return Ok(Reader { readers: self, connection: Some(connection) });
        }
        state.open += 1;
        drop(state);
        // From here on dropping the reader gives the place back, also if connecting fails.
        let mut reader = Reader { readers: self, connection: None };
        reader.connection = Some(schema::connect_reader(&self.path)?);
        Ok(reader)
    }

    /// One revision of everything, fixed now.
    pub(super) fn snapshot(&self) -> Result<ReaderSnapshot<'_>, Error> {
        let reader = self.borrow()?;
        let connection = reader.connection()?;
        connection.prepare_cached("BEGIN DEFERRED")?.execute([])?;
        // A deferred transaction sees nothing until its first read: this one decides the revision.
        let rev = object::rev(connection)?;
        Ok(ReaderSnapshot { reader, rev })
    }
}

/// A connection on loan.
pub(super) struct Reader<'a> {
    readers: &'a Readers,
    connection: Option<Connection>,
}

impl Reader<'_> {
    pub(super) fn connection(&self) -> Result<&Connection, Error> {
        self.connection.as_ref().ok_or(Error::Busy)
    }
}

impl Drop for Reader<'_> {
    fn drop(&mut self) {
        // INVARIANT: an idle connection is in no transaction; one that cannot leave its own is closed.
        let sound = self.connection.take().filter(|connection| {
            let ended = connection.is_autocommit()
                || connection.prepare_cached("ROLLBACK").and_then(|mut end| end.execute([])).is_ok();
            ended && connection.is_autocommit()
        });
        let mut state = self.readers.state.lock().unwrap_or_else(PoisonError::into_inner);
        let spare = match sound {
            Some(connection) if state.idle.len() < self.readers.idle_max => {
                state.idle.push(connection);
                None
            }
            other => {
                state.open -= 1;
                other
            }
        };
        drop(state);
        self.readers.freed.notify_one();
        // Closing may touch the disk: not under the mutex.
        drop(spare);
    }
}

pub(super) struct ReaderSnapshot<'a> {
    reader: Reader<'a>,
    rev: u64,
}

impl Snapshot for ReaderSnapshot<'_> {
    fn get(&mut self, key: &Key) -> Result<Option<Row>, Error> {
        limits::check_key(key)?;
        object::get(self.reader.connection()?, key)
    }

    fn list(&mut self, range: &Range) -> Result<Vec<Row>, Error> {
        limits::check_range(range)?;
        object::list(self.reader.connection()?, range)
    }

    fn fingerprint(&mut self, range: &Range) -> Result<Fingerprint, Error> {
        limits::check_range(range)?;
        object::fingerprint(self.reader.connection()?, range)
    }

    fn rev(&self) -> u64 {
        self.rev
    }
}
