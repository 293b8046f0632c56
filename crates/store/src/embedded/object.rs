//! The statements on records. Account, region and noun lead each of them.

use rusqlite::{Connection, OptionalExtension, params_from_iter};

use crate::{Check, Error, Fingerprint, Key, Parent, Range, Row};

/// Numbers are kept as SQLite keeps them, signed; none of ours is negative or comes near the limit.
pub(super) fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) fn signed_limit(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

pub(super) fn rev(connection: &Connection) -> Result<u64, Error> {
    let rev = connection.prepare_cached("SELECT rev FROM revision WHERE only = 0")?.query_row([], |row| row.get(0))?;
    Ok(unsigned(rev))
}

pub(super) fn set_rev(connection: &Connection, rev: u64) -> Result<(), Error> {
    connection.prepare_cached("UPDATE revision SET rev = ?1 WHERE only = 0")?.execute([signed(rev)])?;
    Ok(())
}

const KEY: &str = "account = ?1 AND region = ?2 AND noun = ?3 AND parent = ?4 AND id = ?5";

fn key_parameters(key: &Key) -> [&str; 5] {
    [&key.account, &key.region, &key.noun, &key.parent, &key.id]
}

pub(super) fn get(connection: &Connection, key: &Key) -> Result<Option<Row>, Error> {
    let mut statement = connection.prepare_cached(&format!("SELECT rev, document FROM object WHERE {KEY}"))?;
    let row = statement.query_row(key_parameters(key), |row| {
        let rev = unsigned(row.get(0)?);
        Ok(Row { key: key.clone(), version: rev, rev, document: row.get(1)? })
    });
    Ok(row.optional()?)
}

fn version(connection: &Connection, key: &Key) -> Result<Option<u64>, Error> {
    let mut statement = connection.prepare_cached(&format!("SELECT rev FROM object WHERE {KEY}"))?;
    let rev = statement.query_row(key_parameters(key), |row| row.get(0)).optional()?;
    Ok(rev.map(unsigned))
}

/// The first text that begins with nothing `prefix` begins with and sorts after all that do; `None` if there is none.
fn successor(prefix: &str) -> Option<String> {
    let mut text = prefix.to_owned();
    while let Some(last) = text.pop() {
        let next = match last {
            // The surrogates are no characters: step over them.
            '\u{D7FF}' => Some('\u{E000}'),
            _ => char::from_u32(last as u32 + 1),
        };
        if let Some(next) = next {
            text.push(next);
            return Some(text);
        }
    }
    None
}

/// A condition for the rows of a range and its parameters, all of them text.
struct Bounds {
    condition: String,
    parameters: Vec<String>,
}

impl Bounds {
    /// `None` if nothing can follow `after` in the range.
    fn of(range: &Range, after: Option<&(String, String)>) -> Option<Self> {
        let mut bounds = Self {
            condition: "account = ?1 AND region = ?2 AND noun = ?3".to_owned(),
            parameters: vec![range.account.clone(), range.region.clone(), range.noun.clone()],
        };
        // Each bound is said once, the tightest: of two SQLite might seek by the looser one.
        match &range.parent {
            Parent::Exact(parent) => {
                bounds.and(" AND parent = ?4", [parent.clone()]);
                match after {
                    Some((after, _)) if after > parent => return None,
                    Some((after, id)) if after == parent => bounds.and(" AND id > ?5", [id.clone()]),
                    _ => {}
                }
            }
            Parent::Prefix(prefix) => {
                match after {
                    Some((after, id)) if after >= prefix => {
                        bounds.and(" AND (parent, id) > (?4, ?5)", [after.clone(), id.clone()]);
                    }
                    _ => bounds.and(" AND parent >= ?4", [prefix.clone()]),
                }
                if let Some(end) = successor(prefix) {
                    let place = bounds.parameters.len() + 1;
                    bounds.and(&format!(" AND parent < ?{place}"), [end]);
                }
            }
        }
        Some(bounds)
    }

    fn and(&mut self, condition: &str, parameters: impl IntoIterator<Item = String>) {
        self.condition.push_str(condition);
        self.parameters.extend(parameters);
    }

    fn list_statement(&self) -> String {
        let condition = &self.condition;
        let limit = self.parameters.len() + 1;
        format!(
            "SELECT parent, id, rev, document FROM object INDEXED BY object_key WHERE {condition} \
             ORDER BY parent, id LIMIT ?{limit}"
        )
    }

    fn fingerprint_statement(&self) -> String {
        let condition = &self.condition;
        format!("SELECT count(*), coalesce(max(rev), 0) FROM object INDEXED BY object_key WHERE {condition}")
    }

    fn delete_statement(&self) -> String {
        format!("DELETE FROM object INDEXED BY object_key WHERE {}", self.condition)
    }
}

/// Every statement a range can lead to, for the test that holds them to their index.
#[cfg(test)]
pub(super) fn range_statements(range: &Range) -> Vec<String> {
    let bounds = Bounds::of(range, range.after.as_ref()).into_iter();
    bounds
        .flat_map(|bounds| [bounds.list_statement(), bounds.fingerprint_statement(), bounds.delete_statement()])
        .collect()
}

pub(super) fn list(connection: &Connection, range: &Range) -> Result<Vec<Row>, Error> {
    let Some(bounds) = Bounds::of(range, range.after.as_ref()) else { return Ok(Vec::new()) };
    let sql = bounds.list_statement();
    let mut statement = connection.prepare_cached(&sql)?;
    for (place, parameter) in bounds.parameters.iter().enumerate() {
        statement.raw_bind_parameter(place + 1, parameter)?;
    }
    statement.raw_bind_parameter(bounds.parameters.len() + 1, signed_limit(range.limit))?;
    let mut rows = statement.raw_query();
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let key = Key {
            account: range.account.clone(),
            region: range.region.clone(),
            noun: range.noun.clone(),
            parent: row.get(0)?,
            id: row.get(1)?,
        };
        let rev = unsigned(row.get(2)?);
        found.push(Row { key, version: rev, rev, document: row.get(3)? });
    }
    Ok(found)
}

pub(super) fn fingerprint(connection: &Connection, range: &Range) -> Result<Fingerprint, Error> {
    let Some(bounds) = Bounds::of(range, None) else { return Ok(Fingerprint { count: 0, rev_max: 0 }) };
    let sql = bounds.fingerprint_statement();
    let mut statement = connection.prepare_cached(&sql)?;
    Ok(statement.query_row(params_from_iter(&bounds.parameters), |row| {
        Ok(Fingerprint { count: unsigned(row.get(0)?), rev_max: unsigned(row.get(1)?) })
    })?)
}

pub(super) fn holds(connection: &Connection, check: &Check) -> Result<bool, Error> {
    Ok(match check {
        Check::Version { key, version: expected } => version(connection, key)? == *expected,
        Check::Range { range, fingerprint: expected } => fingerprint(connection, range)? == *expected,
    })
}

pub(super) fn put(connection: &Connection, key: &Key, rev: u64, document: &[u8]) -> Result<(), Error> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO object (account, region, noun, parent, id, rev, document) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
         ON CONFLICT (account, region, noun, parent, id) DO UPDATE SET rev = excluded.rev, document = excluded.document",
    )?;
    statement.execute((&key.account, &key.region, &key.noun, &key.parent, &key.id, signed(rev), document))?;
    Ok(())
}

pub(super) fn delete(connection: &Connection, key: &Key) -> Result<(), Error> {
    connection.prepare_cached(&format!("DELETE FROM object WHERE {KEY}"))?.execute(key_parameters(key))?;
    Ok(())
}

pub(super) fn delete_range(connection: &Connection, range: &Range) -> Result<(), Error> {
    let Some(bounds) = Bounds::of(range, None) else { return Ok(()) };
    let sql = bounds.delete_statement();
    connection.prepare_cached(&sql)?.execute(params_from_iter(&bounds.parameters))?;
    Ok(())
}
