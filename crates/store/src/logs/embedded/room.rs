//! What each account's logs take up, and who gives up some when the file is full: the account that holds most, so that
//! one that writes without end loses its own events and nobody else's.

use rusqlite::{Connection, params, types::Value};

use super::{Append, EVENT_COST, STEP, VERSION, delete_some_events, used_bytes};
use crate::Error;

/// What an event takes beyond its message, bytes: its row and its entries in two indices.
pub(super) const ROW_COST: i64 = 96;
/// How often one append has something given up. The file may outgrow its bound by what came meanwhile; the next goes on.
const TRIMS_MAX: usize = 8;
/// Given up at once at least, bytes, so that a full file is not trimmed at each append.
const TRIM_BYTES_MIN: u64 = 1 << 16;
/// Accounts asked for something to give up.
const ACCOUNTS_MAX: i64 = 64;

/// Streams count by what their row and name take; the triggers see every way one comes or goes.
pub(super) const SCHEMA: &str = "
CREATE TABLE account (name TEXT PRIMARY KEY, bytes INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE INDEX grp_account ON grp (account, bytes);
CREATE TRIGGER stream_made AFTER INSERT ON stream BEGIN
    UPDATE account SET bytes = bytes + 200 + 2 * octet_length(new.name)
    WHERE name = (SELECT account FROM grp WHERE id = new.grp);
END;
CREATE TRIGGER stream_gone AFTER DELETE ON stream BEGIN
    UPDATE account SET bytes = max(0, bytes - 200 - 2 * octet_length(old.name))
    WHERE name = (SELECT account FROM grp WHERE id = old.grp);
END;
";

/// Counts what a file of the first version holds.
pub(super) fn upgrade(connection: &Connection) -> Result<(), Error> {
    let more = ROW_COST - EVENT_COST;
    connection.execute_batch(&format!(
        "BEGIN; {SCHEMA}
         DELETE FROM event WHERE grp NOT IN (SELECT id FROM grp);
         INSERT INTO account (name, bytes) SELECT account, sum(bytes) FROM grp GROUP BY account;
         UPDATE account SET bytes = bytes
             + {more} * (SELECT count(*) FROM grp JOIN event ON event.grp = grp.id WHERE grp.account = account.name)
             + (SELECT coalesce(sum(200 + 2 * octet_length(stream.name)), 0)
                FROM grp JOIN stream ON stream.grp = grp.id WHERE grp.account = account.name);
         PRAGMA user_version = {VERSION}; COMMIT;"
    ))?;
    Ok(())
}

/// Begins to count for an account.
pub(super) fn open_account(connection: &Connection, name: &str) -> Result<(), Error> {
    connection.prepare_cached("INSERT OR IGNORE INTO account (name, bytes) VALUES (?1, 0)")?.execute([name])?;
    Ok(())
}

/// Adds to what the account of a group holds.
pub(super) fn count(connection: &Connection, group: i64, bytes: i64) -> Result<(), Error> {
    let mut statement = connection.prepare_cached(
        "UPDATE account SET bytes = max(0, bytes + ?2) WHERE name = (SELECT account FROM grp WHERE id = ?1)",
    )?;
    statement.execute([group, bytes])?;
    Ok(())
}

/// What appends will take, bytes.
pub(super) fn size_of(appends: &[Append]) -> u64 {
    let events = appends.iter().flat_map(|append| &append.events);
    events.map(|(_, message)| message.len() as u64 + ROW_COST.unsigned_abs()).sum()
}

/// Makes room for `coming` bytes, if the file's used pages are beyond the bound.
///
/// # Errors
/// [`Error::Full`] when nobody has anything to give up.
pub(super) fn trim(connection: &Connection, bytes_max: u64, coming: u64) -> Result<(), Error> {
    for _ in 0..TRIMS_MAX {
        let used = used_bytes(connection)?;
        if used <= bytes_max {
            return Ok(());
        }
        let goal = (used - bytes_max).saturating_add(coming).max(TRIM_BYTES_MIN);
        if !give_up(connection, i64::try_from(goal).unwrap_or(i64::MAX))? {
            return Err(Error::Full);
        }
    }
    Ok(())
}

/// Has the account that holds most give up the oldest events of its largest group, or, without any, streams that are
/// empty. `false`: there is nothing.
fn give_up(connection: &Connection, bytes: i64) -> Result<bool, Error> {
    let mut accounts = connection.prepare_cached("SELECT name FROM account ORDER BY bytes DESC LIMIT ?1")?;
    let names = accounts.query_map([ACCOUNTS_MAX], |row| row.get::<_, String>(0))?;
    let sql = "SELECT sequence, grp, length(CAST(message AS BLOB)) FROM event INDEXED BY event_grp
               WHERE grp = (SELECT id FROM grp WHERE account = ?1 ORDER BY bytes DESC LIMIT 1)
               ORDER BY time_ms, sequence LIMIT ?2";
    for name in names {
        let name = name?;
        let parameters = [Value::Text(name.clone()), Value::Integer((bytes / ROW_COST).max(STEP as i64))];
        if delete_some_events(connection, sql, &parameters, bytes)? > 0 {
            return Ok(true);
        }
        let mut empty = connection.prepare_cached(
            "DELETE FROM stream WHERE id IN (
                 SELECT stream.id FROM grp JOIN stream ON stream.grp = grp.id WHERE grp.account = ?1
                 AND NOT EXISTS (SELECT 1 FROM event WHERE event.stream = stream.id) LIMIT ?2)",
        )?;
        if empty.execute(params![name, STEP as i64])? > 0 {
            return Ok(true);
        }
    }
    Ok(false)
}
