//! The statements on events. Each look-up has an index that begins with account and region and ends in the order
//! answers are given in, so it costs what it returns and not what is stored.

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, params_from_iter};

use crate::{Error, Event, EventAttribute, EventQuery, StoredEvent, limits};

use super::object::{signed, signed_limit, unsigned};

/// Which half of a resource a row of `event_resource` holds.
const TYPE: i64 = 0;
const NAME: i64 = 1;

const COLUMNS: &str = "event.sequence, event.event_id, event.account, event.region, event.time_ms, event.data, \
    event.name, event.source, event.username, event.access_key_id, event.read_only, event.resources, event.record";

fn stored(row: &Row<'_>) -> Result<StoredEvent, Error> {
    let event = Event {
        event_id: row.get(1)?,
        account: row.get(2)?,
        region: row.get(3)?,
        time_ms: row.get(4)?,
        data: row.get(5)?,
        name: row.get(6)?,
        source: row.get(7)?,
        username: row.get(8)?,
        access_key_id: row.get(9)?,
        read_only: row.get(10)?,
        resources: decode_resources(row.get_ref(11)?.as_str().map_err(rusqlite::Error::from)?)?,
        record: row.get(12)?,
    };
    Ok(StoredEvent { sequence: unsigned(row.get(0)?), event })
}

fn decode_resources(text: &str) -> Result<Vec<(String, String)>, Error> {
    serde_json::from_str(text).map_err(|error| Error::Corrupt(format!("the resources of an event: {error}")))
}

/// The rows an event has in `event_resource`: no value twice, since its primary key is one per event and value.
fn facets(resources: &[(String, String)]) -> impl Iterator<Item = (i64, &str)> {
    resources.iter().flat_map(|(kind, name)| [(TYPE, kind.as_str()), (NAME, name.as_str())])
}

/// Stores one event, unless one of its id is there already.
pub(super) fn append(connection: &Connection, event: &Event) -> Result<(), Error> {
    let resources = serde_json::to_string(&event.resources).map_err(|error| Error::Invalid(error.to_string()))?;
    let mut statement = connection.prepare_cached(
        "INSERT INTO event (event_id, account, region, time_ms, data, name, source, username, access_key_id, read_only,
             resources, record) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)
         ON CONFLICT (event_id) DO NOTHING",
    )?;
    let inserted = statement.execute((
        &event.event_id,
        &event.account,
        &event.region,
        event.time_ms,
        event.data,
        &event.name,
        &event.source,
        &event.username,
        &event.access_key_id,
        event.read_only,
        resources,
        &event.record,
    ))?;
    if inserted == 0 {
        return Ok(());
    }
    let sequence = connection.last_insert_rowid();
    let mut statement = connection.prepare_cached(
        "INSERT INTO event_resource (account, region, facet, value, time_ms, sequence, data)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT DO NOTHING",
    )?;
    for (facet, value) in facets(&event.resources) {
        statement.execute((&event.account, &event.region, facet, value, event.time_ms, sequence, event.data))?;
    }
    Ok(())
}

/// Where a look-up reads and what it compares besides account, region and time.
struct Source {
    from: &'static str,
    /// The table whose columns are compared and ordered by.
    table: &'static str,
    condition: &'static str,
    parameters: Vec<Value>,
}

/// `None` if no event can match.
fn source(attribute: Option<&(EventAttribute, String)>) -> Option<Source> {
    let event = |from, condition, parameters| Some(Source { from, table: "event", condition, parameters });
    let Some((attribute, value)) = attribute else {
        return event("event INDEXED BY event_time", "", Vec::new());
    };
    let text = vec![Value::Text(value.clone())];
    let resource = |facet| {
        Some(Source {
            // CROSS fixes the order of the join: first the narrow rows, then the events they name.
            from: "event_resource CROSS JOIN event ON event.sequence = event_resource.sequence",
            table: "event_resource",
            condition: " AND event_resource.value = ? AND event_resource.facet = ?",
            parameters: vec![Value::Text(value.clone()), Value::Integer(facet)],
        })
    };
    match attribute {
        EventAttribute::EventId => event("event INDEXED BY event_id", " AND event.event_id = ?", text),
        EventAttribute::EventName => event("event INDEXED BY event_name", " AND event.name = ?", text),
        EventAttribute::EventSource => event("event INDEXED BY event_source", " AND event.source = ?", text),
        EventAttribute::Username => event("event INDEXED BY event_username", " AND event.username = ?", text),
        EventAttribute::AccessKeyId => {
            event("event INDEXED BY event_access_key_id", " AND event.access_key_id = ?", text)
        }
        EventAttribute::ReadOnly => {
            let value = match value.as_str() {
                "true" => 1,
                "false" => 0,
                _ => return None,
            };
            event("event INDEXED BY event_read_only", " AND event.read_only = ?", vec![Value::Integer(value)])
        }
        EventAttribute::ResourceType => resource(TYPE),
        EventAttribute::ResourceName => resource(NAME),
    }
}

/// The statement of a look-up and its parameters.
pub(super) fn lookup_statement(query: &EventQuery) -> Option<(String, Vec<Value>)> {
    let Source { from, table, condition, parameters: own } = source(query.attribute.as_ref())?;
    let data = if query.include_data { String::new() } else { format!(" AND {table}.data = 0") };
    let sql = format!(
        "SELECT {COLUMNS} FROM {from} WHERE {table}.account = ? AND {table}.region = ?{condition} \
         AND ({table}.time_ms, {table}.sequence) < (?, ?) AND {table}.time_ms >= ?{data} \
         ORDER BY {table}.time_ms DESC, {table}.sequence DESC LIMIT ?"
    );
    // Sequences begin with 1: before (t + 1, 0) is everything up to and with t.
    let end = query.to_ms.unwrap_or(limits::TIME_MS_MAX).min(limits::TIME_MS_MAX).saturating_add(1);
    let (end_ms, end_sequence) = query.before.map_or((end, 0), |before| before.min((end, 0)));
    let mut parameters = vec![Value::Text(query.account.clone()), Value::Text(query.region.clone())];
    parameters.extend(own);
    parameters.extend([
        Value::Integer(end_ms),
        Value::Integer(signed(end_sequence)),
        Value::Integer(query.from_ms.unwrap_or(0)),
        Value::Integer(signed_limit(query.limit)),
    ]);
    Some((sql, parameters))
}

fn collect(connection: &Connection, sql: &str, parameters: Vec<Value>) -> Result<Vec<StoredEvent>, Error> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(params_from_iter(parameters))?;
    let mut found = Vec::new();
    let mut bytes = 0;
    while bytes < limits::EVENTS_PAGE_BYTES_MAX
        && let Some(row) = rows.next()?
    {
        let event = stored(row)?;
        bytes += event.event.record.len();
        found.push(event);
    }
    Ok(found)
}

pub(super) fn lookup(connection: &Connection, query: &EventQuery) -> Result<Vec<StoredEvent>, Error> {
    let Some((sql, parameters)) = lookup_statement(query) else { return Ok(Vec::new()) };
    collect(connection, &sql, parameters)
}

/// The statement of a delivery read.
pub(super) fn after_statement() -> String {
    format!(
        "SELECT {COLUMNS} FROM event INDEXED BY event_arrival WHERE account = ? AND sequence > ? \
         ORDER BY sequence LIMIT ?"
    )
}

pub(super) fn after(
    connection: &Connection,
    account: &str,
    sequence: u64,
    limit: usize,
) -> Result<Vec<StoredEvent>, Error> {
    let parameters =
        vec![Value::Text(account.to_owned()), Value::Integer(signed(sequence)), Value::Integer(signed_limit(limit))];
    collect(connection, &after_statement(), parameters)
}

/// The account and region with events that follows the one given, so that all are found without reading the events.
pub(super) fn next_partition(
    connection: &Connection,
    after: &(String, String),
) -> Result<Option<(String, String)>, Error> {
    let mut statement = connection.prepare_cached(
        "SELECT account, region FROM event INDEXED BY event_time WHERE (account, region) > (?1, ?2)
         ORDER BY account, region LIMIT 1",
    )?;
    Ok(statement.query_row((&after.0, &after.1), |row| Ok((row.get(0)?, row.get(1)?))).optional()?)
}

/// Forgets up to `limit` events of one account and region older than `before_ms` and says how many.
pub(super) fn prune(
    connection: &Connection,
    (account, region): &(String, String),
    before_ms: i64,
    limit: usize,
) -> Result<u64, Error> {
    let mut statement = connection.prepare_cached(
        "SELECT sequence, time_ms, resources FROM event INDEXED BY event_time
         WHERE account = ?1 AND region = ?2 AND time_ms < ?3 ORDER BY time_ms LIMIT ?4",
    )?;
    let mut doomed: Vec<(i64, i64, String)> = Vec::new();
    let mut rows = statement.query((account, region, before_ms, signed_limit(limit)))?;
    while let Some(row) = rows.next()? {
        doomed.push((row.get(0)?, row.get(1)?, row.get(2)?));
    }
    let mut delete_resource = connection.prepare_cached(
        "DELETE FROM event_resource
         WHERE account = ?1 AND region = ?2 AND facet = ?3 AND value = ?4 AND time_ms = ?5 AND sequence = ?6",
    )?;
    let mut delete_event = connection.prepare_cached("DELETE FROM event WHERE sequence = ?1")?;
    for (sequence, time_ms, resources) in &doomed {
        for (facet, value) in facets(&decode_resources(resources)?) {
            delete_resource.execute((account, region, facet, value, time_ms, sequence))?;
        }
        delete_event.execute([sequence])?;
    }
    Ok(doomed.len() as u64)
}
