//! [`LogStore`] in one SQLite file.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use rusqlite::{Connection, OptionalExtension as _, Row, params, params_from_iter, types::Value};

use super::{Append, Event, Group, LogStore, PAGE_BYTES_MAX, PAGE_MAX, Query, STEP, Scope, Stream, StreamQuery};
use crate::Error;

mod room;

/// Marks the file as ours ("PLOG").
const APPLICATION_ID: i32 = 0x504C_4F47;
const VERSION: i32 = 2;
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
const READERS_IDLE_MAX: usize = 4;
/// What AWS adds to the size of each event. Source: CloudWatch Logs API Reference, "PutLogEvents".
const EVENT_COST: i64 = 26;

/// Rows refer to streams and groups by numbers that are never used again, so that what a deletion has not reached yet
/// belongs to nobody.
const SCHEMA: &str = "
CREATE TABLE grp (
    id INTEGER PRIMARY KEY AUTOINCREMENT, incarnation TEXT NOT NULL UNIQUE,
    account TEXT NOT NULL, region TEXT NOT NULL, name TEXT NOT NULL, bytes INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE stream (
    id INTEGER PRIMARY KEY AUTOINCREMENT, grp INTEGER NOT NULL, name TEXT NOT NULL, created_ms INTEGER NOT NULL,
    first_ms INTEGER, last_ms INTEGER, ingested_ms INTEGER
) STRICT;
CREATE UNIQUE INDEX stream_name ON stream (grp, name);
CREATE TABLE event (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT, grp INTEGER NOT NULL, stream INTEGER NOT NULL,
    time_ms INTEGER NOT NULL, ingested_ms INTEGER NOT NULL, message TEXT NOT NULL
) STRICT;
CREATE INDEX event_grp ON event (grp, time_ms, sequence);
CREATE INDEX event_stream ON event (stream, time_ms, sequence);
";

/// How log events are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Beyond this size of the file the account that holds most gives up its oldest events.
    pub bytes_max: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { bytes_max: 1 << 30 }
    }
}

/// The [`LogStore`] of one process.
pub struct Embedded {
    path: PathBuf,
    bytes_max: u64,
    readers: Mutex<Vec<Connection>>,
    writer: Mutex<Connection>,
}

impl Embedded {
    /// Opens `logs.db` in a data directory that this process holds, and makes it if there is none. A file that is
    /// damaged or not ours is set aside under another name and a new one begun: lost logs are no reason not to serve.
    ///
    /// # Errors
    /// What the disk says.
    pub fn open(dir: &Path, options: &Options) -> Result<Self, Error> {
        let path = dir.canonicalize()?.join("logs.db");
        let writer = match connect(&path).and_then(prepare) {
            Ok(writer) => writer,
            Err(Error::Corrupt(reason)) => {
                set_aside(&path)?;
                tracing::warn!(reason, "logs.db is damaged; it was renamed to logs.db.damaged and a new one begun");
                connect(&path).and_then(prepare)?
            }
            Err(error) => return Err(error),
        };
        Ok(Self { path, bytes_max: options.bytes_max, readers: Mutex::default(), writer: Mutex::new(writer) })
    }

    fn read<T>(&self, run: impl FnOnce(&Connection) -> Result<T, Error>) -> Result<T, Error> {
        let idle = self.readers.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let connection = match idle {
            Some(connection) => connection,
            None => connect(&self.path)?,
        };
        let done = run(&connection)?;
        let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        if readers.len() < READERS_IDLE_MAX {
            readers.push(connection);
        }
        Ok(done)
    }

    fn write<T>(&self, run: impl FnOnce(&Connection) -> Result<T, Error>) -> Result<T, Error> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let transaction = writer.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        let done = run(&transaction)?;
        transaction.commit()?;
        Ok(done)
    }
}

fn connect(path: &Path) -> Result<Connection, Error> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.pragma_update(None, "cache_size", -8_192)?;
    connection.pragma_update(None, "journal_size_limit", 16 << 20)?;
    connection.set_prepared_statement_cache_capacity(32);
    Ok(connection)
}

fn prepare(connection: Connection) -> Result<Connection, Error> {
    let of = |name: &str| connection.query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, i32>(0));
    match (of("application_id")?, of("user_version")?) {
        (0, 0) => {
            let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
            if tables > 0 {
                return Err(Error::Corrupt("the file is another program's".into()));
            }
            connection.execute_batch(&format!(
                "BEGIN; {SCHEMA} {} PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {VERSION}; COMMIT;",
                room::SCHEMA
            ))?;
        }
        (APPLICATION_ID, 1) => room::upgrade(&connection)?,
        (APPLICATION_ID, VERSION) => {}
        (application, version) => {
            return Err(Error::Corrupt(format!("the file has the marks {application:x} and {version}")));
        }
    }
    Ok(connection)
}

/// The newest damaged file is kept, for whoever wants to look at it.
fn set_aside(path: &Path) -> Result<(), Error> {
    for suffix in ["-wal", "-shm"] {
        let _ = fs::remove_file(beside(path, suffix));
    }
    Ok(fs::rename(path, beside(path, ".damaged"))?)
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn used_bytes(connection: &Connection) -> Result<u64, Error> {
    let of = |name: &str| connection.query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, i64>(0));
    let pages = of("page_count")?.saturating_sub(of("freelist_count")?);
    Ok(u64::try_from(pages.saturating_mul(of("page_size")?)).unwrap_or(0))
}

/// Deletes the events a statement finds as (sequence, group, bytes) and takes them off their groups' sizes.
fn delete_events(connection: &Connection, sql: &str, parameters: &[Value]) -> Result<u64, Error> {
    delete_some_events(connection, sql, parameters, i64::MAX)
}

/// The same, until so many bytes are free.
fn delete_some_events(connection: &Connection, sql: &str, parameters: &[Value], bytes_max: i64) -> Result<u64, Error> {
    let mut find = connection.prepare_cached(sql)?;
    let mut doomed: Vec<i64> = Vec::new();
    let mut freed: HashMap<i64, (i64, i64)> = HashMap::new();
    let mut freed_bytes = 0i64;
    let mut rows = find.query(params_from_iter(parameters))?;
    while let Some(row) = rows.next()? {
        let bytes: i64 = row.get(2)?;
        doomed.push(row.get(0)?);
        let (count, sum) = freed.entry(row.get(1)?).or_default();
        (*count, *sum) = (*count + 1, *sum + bytes);
        freed_bytes = freed_bytes.saturating_add(bytes + room::ROW_COST);
        if freed_bytes >= bytes_max {
            break;
        }
    }
    let mut delete = connection.prepare_cached("DELETE FROM event WHERE sequence = ?1")?;
    for sequence in &doomed {
        delete.execute([sequence])?;
    }
    let mut shrink = connection.prepare_cached("UPDATE grp SET bytes = max(0, bytes - ?2) WHERE id = ?1")?;
    for (group, (count, bytes)) in freed {
        shrink.execute([group, bytes + count * EVENT_COST])?;
        room::count(connection, group, -bytes - count * room::ROW_COST)?;
    }
    Ok(doomed.len() as u64)
}

fn find_group(connection: &Connection, incarnation: &str) -> Result<Option<i64>, Error> {
    let mut statement = connection.prepare_cached("SELECT id FROM grp WHERE incarnation = ?1")?;
    Ok(statement.query_row([incarnation], |row| row.get(0)).optional()?)
}

fn group_id(connection: &Connection, group: &Group) -> Result<i64, Error> {
    if let Some(id) = find_group(connection, &group.incarnation)? {
        return Ok(id);
    }
    let mut statement =
        connection.prepare_cached("INSERT INTO grp (incarnation, account, region, name) VALUES (?1, ?2, ?3, ?4)")?;
    statement.execute((&group.incarnation, &group.account, &group.region, &group.name))?;
    let id = connection.last_insert_rowid();
    room::open_account(connection, &group.account)?;
    Ok(id)
}

fn find_stream(connection: &Connection, group: i64, name: &str) -> Result<Option<Stream>, Error> {
    let mut statement = connection.prepare_cached(
        "SELECT id, name, created_ms, first_ms, last_ms, ingested_ms FROM stream WHERE grp = ?1 AND name = ?2",
    )?;
    Ok(statement.query_row(params![group, name], stream_of).optional()?)
}

fn stream_of(row: &Row<'_>) -> rusqlite::Result<Stream> {
    Ok(Stream {
        id: row.get(0)?,
        name: row.get(1)?,
        created_ms: row.get(2)?,
        first_ms: row.get(3)?,
        last_ms: row.get(4)?,
        ingested_ms: row.get(5)?,
    })
}

fn make_stream(connection: &Connection, group: i64, name: &str, now_ms: i64) -> Result<i64, Error> {
    let mut statement = connection.prepare_cached("INSERT INTO stream (grp, name, created_ms) VALUES (?1, ?2, ?3)")?;
    statement.execute(params![group, name, now_ms])?;
    Ok(connection.last_insert_rowid())
}

fn append_one(connection: &Connection, append: &Append, now_ms: i64) -> Result<bool, Error> {
    let group = group_id(connection, &append.group)?;
    let stream = match find_stream(connection, group, &append.stream)? {
        Some(stream) => stream.id,
        None if append.create_stream => make_stream(connection, group, &append.stream, now_ms)?,
        None => return Ok(false),
    };
    let mut insert = connection
        .prepare_cached("INSERT INTO event (grp, stream, time_ms, ingested_ms, message) VALUES (?1, ?2, ?3, ?4, ?5)")?;
    let mut bytes = 0i64;
    for (time_ms, message) in &append.events {
        insert.execute(params![group, stream, time_ms, now_ms, message])?;
        bytes = bytes.saturating_add(i64::try_from(message.len()).unwrap_or(i64::MAX));
    }
    let times = append.events.iter().map(|(time_ms, _)| *time_ms);
    if let (Some(first), Some(last)) = (times.clone().min(), times.max()) {
        let mut touch = connection.prepare_cached(
            "UPDATE stream SET first_ms = min(coalesce(first_ms, ?2), ?2), last_ms = max(coalesce(last_ms, ?3), ?3),
                 ingested_ms = ?4 WHERE id = ?1",
        )?;
        touch.execute([stream, first, last, now_ms])?;
        let mut grow = connection.prepare_cached("UPDATE grp SET bytes = bytes + ?2 WHERE id = ?1")?;
        let count = i64::try_from(append.events.len()).unwrap_or(i64::MAX);
        grow.execute([group, bytes.saturating_add(count.saturating_mul(EVENT_COST))])?;
        room::count(connection, group, bytes.saturating_add(count.saturating_mul(room::ROW_COST)))?;
    }
    Ok(true)
}

/// The statement of a query for streams, and its parameters.
fn streams_statement(group: i64, query: &StreamQuery) -> (String, Vec<Value>) {
    let mut conditions = String::from("grp = ?");
    let mut parameters = vec![Value::Integer(group)];
    if !query.prefix.is_empty() {
        conditions.push_str(" AND name >= ? AND substr(name, 1, ?) = ?");
        let length = i64::try_from(query.prefix.chars().count()).unwrap_or(i64::MAX);
        let prefix = Value::Text(query.prefix.clone());
        parameters.extend([prefix.clone(), Value::Integer(length), prefix]);
    }
    let (past, direction) = if query.descending { ("<", "DESC") } else { (">", "ASC") };
    if let Some((time_ms, name)) = &query.after {
        if query.by_time {
            conditions.push_str(&format!(" AND (coalesce(last_ms, 0), name) {past} (?, ?)"));
            parameters.push(Value::Integer(*time_ms));
        } else {
            conditions.push_str(&format!(" AND name {past} ?"));
        }
        parameters.push(Value::Text(name.clone()));
    }
    let order = if query.by_time {
        format!("coalesce(last_ms, 0) {direction}, name {direction}")
    } else {
        format!("name {direction}")
    };
    parameters.push(Value::Integer(i64::try_from(query.limit.min(PAGE_MAX)).unwrap_or(0)));
    let sql = format!(
        "SELECT id, name, created_ms, first_ms, last_ms, ingested_ms FROM stream WHERE {conditions} \
         ORDER BY {order} LIMIT ?"
    );
    (sql, parameters)
}

/// The statement of a query for events. CROSS fixes the order of the join: first the events, then their streams' names.
fn events_statement(column: &str, id: i64, query: &Query) -> (String, Vec<Value>) {
    let (past, direction) = if query.backward { ("<", "DESC") } else { (">", "ASC") };
    let edge = if query.backward { (i64::MAX, i64::MAX) } else { (i64::MIN, i64::MIN) };
    let (time_ms, sequence) = query.past.unwrap_or(edge);
    let sql = format!(
        "SELECT event.sequence, stream.name, event.time_ms, event.ingested_ms, event.message
         FROM event INDEXED BY event_{column} CROSS JOIN stream ON stream.id = event.stream
         WHERE event.{column} = ? AND (event.time_ms, event.sequence) {past} (?, ?)
             AND event.time_ms >= ? AND event.time_ms <= ?
         ORDER BY event.time_ms {direction}, event.sequence {direction} LIMIT ?"
    );
    let limit = i64::try_from(query.limit.min(PAGE_MAX)).unwrap_or(0);
    let parameters = [id, time_ms, sequence, query.from_ms, query.to_ms, limit].map(Value::Integer).to_vec();
    (sql, parameters)
}

impl LogStore for Embedded {
    fn append(&self, appends: &[Append], now_ms: i64) -> Result<Vec<bool>, Error> {
        self.write(|connection| {
            room::trim(connection, self.bytes_max, room::size_of(appends))?;
            appends.iter().map(|append| append_one(connection, append, now_ms)).collect()
        })
    }

    fn create_stream(&self, group: &Group, stream: &str, now_ms: i64) -> Result<bool, Error> {
        self.write(|connection| {
            room::trim(connection, self.bytes_max, 0)?;
            let group = group_id(connection, group)?;
            if find_stream(connection, group, stream)?.is_some() {
                return Ok(false);
            }
            make_stream(connection, group, stream, now_ms).map(|_| true)
        })
    }

    fn delete_stream(&self, incarnation: &str, stream: &str) -> Result<bool, Error> {
        let id = self.write(|connection| {
            let Some(group) = find_group(connection, incarnation)? else { return Ok(None) };
            let Some(stream) = find_stream(connection, group, stream)? else { return Ok(None) };
            connection.execute("DELETE FROM stream WHERE id = ?1", [stream.id])?;
            Ok(Some(stream.id))
        })?;
        let Some(id) = id else { return Ok(false) };
        // Without its row the stream is gone for every reader; its events follow step by step.
        let sql = "SELECT sequence, grp, length(CAST(message AS BLOB)) FROM event WHERE stream = ?1 LIMIT ?2";
        let parameters = [Value::Integer(id), Value::Integer(STEP as i64)];
        while self.write(|connection| delete_events(connection, sql, &parameters))? > 0 {}
        Ok(true)
    }

    fn delete_group(&self, incarnation: &str) -> Result<(), Error> {
        let Some(id) = self.read(|connection| find_group(connection, incarnation))? else { return Ok(()) };
        self.write(|connection| Ok(connection.execute("DELETE FROM stream WHERE grp = ?1", [id])?))?;
        let sql = "SELECT sequence, grp, length(CAST(message AS BLOB)) FROM event WHERE grp = ?1 LIMIT ?2";
        let parameters = [Value::Integer(id), Value::Integer(STEP as i64)];
        // The group goes with the last of its events, so that none is left without one: nothing would count those.
        while self.write(|connection| {
            let deleted = delete_events(connection, sql, &parameters)?;
            if deleted == 0 {
                connection.execute("DELETE FROM stream WHERE grp = ?1", [id])?;
                connection.execute("DELETE FROM grp WHERE id = ?1", [id])?;
            }
            Ok(deleted)
        })? > 0
        {}
        Ok(())
    }

    fn stream(&self, incarnation: &str, stream: &str) -> Result<Option<Stream>, Error> {
        self.read(|connection| match find_group(connection, incarnation)? {
            Some(group) => find_stream(connection, group, stream),
            None => Ok(None),
        })
    }

    fn streams(&self, query: &StreamQuery) -> Result<Vec<Stream>, Error> {
        self.read(|connection| {
            let Some(group) = find_group(connection, &query.incarnation)? else { return Ok(Vec::new()) };
            let (sql, parameters) = streams_statement(group, query);
            let mut statement = connection.prepare_cached(&sql)?;
            let rows = statement.query_map(params_from_iter(parameters), stream_of)?;
            Ok(rows.collect::<rusqlite::Result<Vec<_>>>()?)
        })
    }

    fn events(&self, query: &Query) -> Result<Vec<Event>, Error> {
        self.read(|connection| {
            let (column, id) = match &query.scope {
                Scope::Stream(id) => ("stream", *id),
                Scope::Group(incarnation) => match find_group(connection, incarnation)? {
                    Some(id) => ("grp", id),
                    None => return Ok(Vec::new()),
                },
            };
            let (sql, parameters) = events_statement(column, id, query);
            let mut statement = connection.prepare_cached(&sql)?;
            let mut rows = statement.query(params_from_iter(parameters))?;
            let (mut found, mut bytes) = (Vec::new(), 0usize);
            while bytes < PAGE_BYTES_MAX
                && let Some(row) = rows.next()?
            {
                let event = Event {
                    sequence: row.get(0)?,
                    stream: row.get(1)?,
                    time_ms: row.get(2)?,
                    ingested_ms: row.get(3)?,
                    message: row.get(4)?,
                };
                bytes = bytes.saturating_add(event.message.len());
                found.push(event);
            }
            Ok(found)
        })
    }

    fn bytes(&self, incarnation: &str) -> Result<u64, Error> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached("SELECT bytes FROM grp WHERE incarnation = ?1")?;
            let bytes: Option<i64> = statement.query_row([incarnation], |row| row.get(0)).optional()?;
            Ok(bytes.and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or(0))
        })
    }

    fn groups(&self, after: &str, limit: usize) -> Result<Vec<Group>, Error> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT incarnation, account, region, name FROM grp WHERE incarnation > ?1 ORDER BY incarnation LIMIT ?2",
            )?;
            let rows = statement.query_map(params![after, i64::try_from(limit).unwrap_or(0)], |row| {
                Ok(Group { incarnation: row.get(0)?, account: row.get(1)?, region: row.get(2)?, name: row.get(3)? })
            })?;
            Ok(rows.collect::<rusqlite::Result<Vec<_>>>()?)
        })
    }

    fn expire(&self, incarnation: &str, before_ms: i64) -> Result<u64, Error> {
        let Some(id) = self.read(|connection| find_group(connection, incarnation))? else { return Ok(0) };
        let sql = "SELECT sequence, grp, length(CAST(message AS BLOB)) FROM event INDEXED BY event_grp
                   WHERE grp = ?1 AND time_ms < ?2 ORDER BY time_ms LIMIT ?3";
        let parameters = [id, before_ms, STEP as i64].map(Value::Integer);
        self.write(|connection| delete_events(connection, sql, &parameters))
    }

    fn forget_idle_streams(&self, incarnation: &str, before_ms: i64) -> Result<u64, Error> {
        let Some(id) = self.read(|connection| find_group(connection, incarnation))? else { return Ok(0) };
        self.write(|connection| {
            let mut statement = connection.prepare_cached(
                "DELETE FROM stream WHERE grp = ?1 AND coalesce(ingested_ms, created_ms) < ?2
                 AND NOT EXISTS (SELECT 1 FROM event WHERE event.stream = stream.id)",
            )?;
            Ok(statement.execute([id, before_ms])? as u64)
        })
    }
}
