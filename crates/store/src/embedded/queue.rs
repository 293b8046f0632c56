//! The statements on messages. Bodies lie apart, so that putting a message off does not rewrite them.

use std::collections::BTreeSet;

use rusqlite::{Connection, OptionalExtension};

use crate::Error;
use crate::queue::{Change, Lane, Message, Waiting, size};

use super::object::{signed, signed_limit, unsigned};

/// The sums an account would have after the removals of `change`, for each account it adds to; whether they fit.
///
/// INVARIANT: writes nothing, so a refused change leaves nothing to undo.
pub(super) fn fits(connection: &Connection, change: &Change) -> Result<bool, Error> {
    let mut accounts: Vec<&str> = change.add.iter().map(|message| message.lane.account.as_str()).collect();
    accounts.sort_unstable();
    accounts.dedup();
    // One named twice goes once.
    let removed: BTreeSet<u64> = change.remove.iter().copied().collect();
    for account in accounts {
        let (mut messages, mut bytes) = total(connection, account)?;
        for sequence in &removed {
            if let Some((_, size)) = counted(connection, *sequence)?.filter(|(owner, _)| owner == account) {
                messages = messages.saturating_sub(1);
                bytes = bytes.saturating_sub(size);
            }
        }
        let added = change.add.iter().filter(|message| message.lane.account == account);
        for message in added {
            messages = messages.saturating_add(1);
            bytes = bytes.saturating_add(size(message));
        }
        if messages > change.quota.messages_max || bytes > change.quota.bytes_max {
            return Ok(false);
        }
    }
    Ok(true)
}

fn total(connection: &Connection, account: &str) -> Result<(u64, u64), Error> {
    let mut statement = connection.prepare_cached("SELECT messages, bytes FROM message_total WHERE account = ?1")?;
    let found = statement.query_row([account], |row| Ok((unsigned(row.get(0)?), unsigned(row.get(1)?)))).optional()?;
    Ok(found.unwrap_or_default())
}

fn counted(connection: &Connection, sequence: u64) -> Result<Option<(String, u64)>, Error> {
    let mut statement = connection.prepare_cached("SELECT account, bytes FROM message WHERE sequence = ?1")?;
    let found = statement.query_row([signed(sequence)], |row| Ok((row.get(0)?, unsigned(row.get(1)?))));
    Ok(found.optional()?)
}

pub(super) fn write(connection: &Connection, change: &Change) -> Result<(), Error> {
    change.remove.iter().try_for_each(|sequence| remove(connection, *sequence))?;
    for delay in &change.delay {
        let mut statement =
            connection.prepare_cached("UPDATE message SET due_ms = ?2, head = ?3 WHERE sequence = ?1")?;
        statement.execute((signed(delay.sequence), delay.due_ms, &delay.head))?;
    }
    change.add.iter().try_for_each(|message| add(connection, message))
}

fn add(connection: &Connection, message: &Message) -> Result<(), Error> {
    let Message { lane, due_ms, head, body } = message;
    let bytes = signed(size(message));
    let mut statement = connection.prepare_cached(
        "INSERT INTO message (account, region, lane, due_ms, bytes, head) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    statement.execute((&lane.account, &lane.region, &lane.name, due_ms, bytes, head))?;
    let sequence = connection.last_insert_rowid();
    let mut statement = connection.prepare_cached("INSERT INTO message_body (sequence, body) VALUES (?1, ?2)")?;
    statement.execute((sequence, body))?;
    let mut statement = connection.prepare_cached(
        "INSERT INTO message_total (account, messages, bytes) VALUES (?1, 1, ?2)
         ON CONFLICT (account) DO UPDATE SET messages = messages + 1, bytes = bytes + excluded.bytes",
    )?;
    statement.execute((&lane.account, bytes))?;
    Ok(())
}

fn remove(connection: &Connection, sequence: u64) -> Result<(), Error> {
    let Some((account, bytes)) = counted(connection, sequence)? else { return Ok(()) };
    let sequence = signed(sequence);
    connection.prepare_cached("DELETE FROM message WHERE sequence = ?1")?.execute([sequence])?;
    connection.prepare_cached("DELETE FROM message_body WHERE sequence = ?1")?.execute([sequence])?;
    let mut statement = connection
        .prepare_cached("UPDATE message_total SET messages = messages - 1, bytes = bytes - ?2 WHERE account = ?1")?;
    statement.execute((&account, signed(bytes)))?;
    connection.prepare_cached("DELETE FROM message_total WHERE account = ?1 AND messages <= 0")?.execute([&account])?;
    Ok(())
}

pub(super) const NEXT_LANE: &str = "SELECT account, region, lane, due_ms FROM message INDEXED BY message_due
    WHERE (account, region, lane) > (?1, ?2, ?3) ORDER BY account, region, lane, due_ms LIMIT 1";

pub(super) const WAITING: &str = "SELECT sequence, due_ms, head FROM message INDEXED BY message_due
    WHERE account = ?1 AND region = ?2 AND lane = ?3 ORDER BY due_ms, sequence LIMIT ?4";

/// The lanes after `after`, in their order, each with the time its first message is due. One seek each.
pub(super) fn lanes(connection: &Connection, after: Option<&Lane>, limit: usize) -> Result<Vec<(Lane, i64)>, Error> {
    let mut statement = connection.prepare_cached(NEXT_LANE)?;
    let mut found: Vec<(Lane, i64)> = Vec::new();
    while found.len() < limit {
        let last = found.last().map(|(lane, _)| lane).or(after);
        let (account, region, name) =
            last.map_or(("", "", ""), |lane| (lane.account.as_str(), lane.region.as_str(), lane.name.as_str()));
        let next = statement.query_row((account, region, name), |row| {
            let lane = Lane { account: row.get(0)?, region: row.get(1)?, name: row.get(2)? };
            Ok((lane, row.get(3)?))
        });
        match next.optional()? {
            Some(next) => found.push(next),
            None => break,
        }
    }
    Ok(found)
}

pub(super) fn waiting(connection: &Connection, lane: &Lane, limit: usize) -> Result<Vec<Waiting>, Error> {
    let mut statement = connection.prepare_cached(WAITING)?;
    let mut rows = statement.query((&lane.account, &lane.region, &lane.name, signed_limit(limit)))?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(Waiting { sequence: unsigned(row.get(0)?), due_ms: row.get(1)?, head: row.get(2)? });
    }
    Ok(found)
}

pub(super) fn body(connection: &Connection, sequence: u64) -> Result<Option<Vec<u8>>, Error> {
    let mut statement = connection.prepare_cached("SELECT body FROM message_body WHERE sequence = ?1")?;
    Ok(statement.query_row([signed(sequence)], |row| row.get(0)).optional()?)
}

/// The sum over accounts, not over messages.
pub(super) fn count(connection: &Connection) -> Result<u64, Error> {
    let mut statement = connection.prepare_cached("SELECT coalesce(sum(messages), 0) FROM message_total")?;
    Ok(unsigned(statement.query_row([], |row| row.get(0))?))
}
