//! CloudTrail's LookupEvents: the durable history of 90 days, merged with the newest data events in memory.
//!
//! AWS shows management events only; showing recent data events too is a documented difference, so that the reader of
//! the walk-through finds the cross-account Invoke at once. AWS's two requests a second are not enforced: nothing here
//! is shared with other customers.

use std::sync::Arc;

use platform::cloudtrail::record::LambdaInvoke;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use service::ServiceError;
use sha2::{Digest, Sha256};
use store::{Event, EventAttribute, EventQuery, StoredEvent};

use crate::{
    audit, authorize,
    dispatch::Known,
    reader::{SnapshotReader, unavailable},
    trail,
};

/// Source: CloudTrail API Reference, "LookupEvents".
const PAGE_MAX: usize = 50;
const PURPOSE: &str = "cloudtrail-lookup-token";

/// Where the next page goes on, in both sources, and which look-up it belongs to.
#[derive(Serialize, Deserialize, Default)]
struct Cursor {
    stored: Option<(i64, u64)>,
    recent: Option<(i64, String)>,
    query: String,
}

enum Found {
    Stored(StoredEvent),
    Recent(Arc<LambdaInvoke>),
}

impl Found {
    fn time_ms(&self) -> i64 {
        match self {
            Self::Stored(stored) => stored.event.time_ms,
            Self::Recent(event) => event.now.ms(),
        }
    }
}

impl Known<'_> {
    /// One page, newest first. Blocks.
    ///
    /// # Errors
    /// AccessDenied, and CloudTrail's errors for unusable attributes, times and tokens.
    pub(crate) fn lookup_events(&self, params: &Value) -> Result<Value, ServiceError> {
        let inner = self.call.inner;
        {
            let mut reader = SnapshotReader::new(&*inner.store, &inner.vault)?;
            let mut tx = service::Tx::new(&mut reader);
            let needs = [self.default_need("cloudtrail:LookupEvents", params)];
            authorize::check(&inner.compiled, self.op.service, &self.caller, &needs, &self.circumstances(), &mut tx)?;
        }
        let limit = limit(params)?;
        let attribute = attribute(params)?;
        let (from_ms, to_ms) = times(params)?;
        let query_hash = query_hash(params, self.caller.account.as_str(), &self.region);
        let cursor = self.cursor(params, &query_hash)?;
        let mut query = EventQuery {
            account: self.caller.account.to_string(),
            region: self.region.clone(),
            attribute: attribute.clone(),
            from_ms,
            to_ms,
            include_data: true,
            before: cursor.stored,
            limit: limit + 1,
        };
        let stored = inner.store.lookup_events(&query).map_err(|e| unavailable(&e))?;
        query.before = None;
        let recent = self.recent(&query, cursor.recent.as_ref(), limit + 1);
        let (page, more) = merge(stored, recent, limit);
        let next = more.then(|| self.next(&page, cursor, query_hash));
        let events: Vec<Value> = page.iter().map(shown).collect();
        self.record_read(trail::request_parameters(self.op, params))?;
        let mut output = json!({ "Events": events });
        if let (Some(next), Some(members)) = (next, output.as_object_mut()) {
            members.insert("NextToken".into(), next.into());
        }
        Ok(output)
    }

    fn cursor(&self, params: &Value, query_hash: &str) -> Result<Cursor, ServiceError> {
        let Some(token) = params.get("NextToken").and_then(Value::as_str) else { return Ok(Cursor::default()) };
        self.call
            .inner
            .vault
            .open_text(PURPOSE, token)
            .and_then(|bytes| serde_json::from_slice::<Cursor>(&bytes).ok())
            .filter(|cursor| cursor.query == query_hash)
            .ok_or_else(|| {
                ServiceError::new(
                    "InvalidNextTokenException",
                    400,
                    "Invalid token: it must come from the page before, with the same other parameters.",
                )
            })
    }

    fn next(&self, page: &[Found], before: Cursor, query: String) -> String {
        let mut cursor = Cursor { query, ..before };
        for found in page {
            match found {
                Found::Stored(stored) => cursor.stored = Some((stored.event.time_ms, stored.sequence)),
                Found::Recent(event) => cursor.recent = Some((event.now.ms(), event.event_id.clone())),
            }
        }
        self.call.inner.vault.seal_text(PURPOSE, &serde_json::to_vec(&cursor).unwrap_or_default())
    }

    /// Data events of the ring that match and come after the cursor, newest first.
    fn recent(&self, query: &EventQuery, after: Option<&(i64, String)>, limit: usize) -> Vec<Arc<LambdaInvoke>> {
        let mut all = self.call.inner.audit.recent(&query.account, &query.region);
        all.sort_by(|a, b| (b.now, &b.event_id).cmp(&(a.now, &a.event_id)));
        all.into_iter()
            .filter(|event| {
                let at = (event.now.ms(), &event.event_id);
                after.is_none_or(|(ms, id)| at < (*ms, id))
                    && query.from_ms.is_none_or(|from| at.0 >= from)
                    && query.to_ms.is_none_or(|to| at.0 <= to)
                    && query.attribute.as_ref().is_none_or(|(name, value)| matches(&audit::stored(event), *name, value))
            })
            .take(limit)
            .collect()
    }
}

/// Both lists are newest first; gives one page and whether there is more.
fn merge(stored: Vec<StoredEvent>, recent: Vec<Arc<LambdaInvoke>>, limit: usize) -> (Vec<Found>, bool) {
    let mut page = Vec::with_capacity(limit);
    let (mut stored, mut recent) = (stored.into_iter().peekable(), recent.into_iter().peekable());
    while page.len() < limit {
        let from_ring = match (stored.peek(), recent.peek()) {
            (Some(stored), Some(event)) => event.now.ms() > stored.event.time_ms,
            (None, Some(_)) => true,
            (Some(_), None) => false,
            (None, None) => break,
        };
        let next = if from_ring { recent.next().map(Found::Recent) } else { stored.next().map(Found::Stored) };
        page.extend(next);
    }
    debug_assert!(page.is_sorted_by(|a, b| a.time_ms() >= b.time_ms()));
    let more = stored.peek().is_some() || recent.peek().is_some();
    (page, more)
}

fn shown(found: &Found) -> Value {
    let owned;
    let event = match found {
        Found::Stored(stored) => &stored.event,
        Found::Recent(recent) => {
            owned = audit::stored(recent);
            &owned
        }
    };
    let resources: Vec<Value> =
        event.resources.iter().map(|(kind, name)| json!({ "ResourceType": kind, "ResourceName": name })).collect();
    json!({
        "EventId": event.event_id,
        "EventName": event.name,
        "ReadOnly": event.read_only.to_string(),
        "AccessKeyId": event.access_key_id,
        "EventTime": event.time_ms.div_euclid(1000),
        "EventSource": event.source,
        "Username": event.username,
        "Resources": resources,
        "CloudTrailEvent": String::from_utf8_lossy(&event.record),
    })
}

fn matches(event: &Event, name: EventAttribute, value: &str) -> bool {
    match name {
        EventAttribute::EventId => event.event_id == value,
        EventAttribute::EventName => event.name == value,
        EventAttribute::ReadOnly => event.read_only.to_string() == value,
        EventAttribute::Username => event.username.as_deref() == Some(value),
        EventAttribute::ResourceType => event.resources.iter().any(|(kind, _)| kind == value),
        EventAttribute::ResourceName => event.resources.iter().any(|(_, name)| name == value),
        EventAttribute::EventSource => event.source == value,
        EventAttribute::AccessKeyId => event.access_key_id.as_deref() == Some(value),
    }
}

fn limit(params: &Value) -> Result<usize, ServiceError> {
    match params.get("MaxResults").and_then(Value::as_i64) {
        None => Ok(PAGE_MAX),
        Some(wanted) => {
            usize::try_from(wanted).ok().filter(|wanted| (1..=PAGE_MAX).contains(wanted)).ok_or_else(|| {
                ServiceError::new("InvalidMaxResultsException", 400, "A value for MaxResults must be between 1 and 50.")
            })
        }
    }
}

fn attribute(params: &Value) -> Result<Option<(EventAttribute, String)>, ServiceError> {
    let refuse = |text: &str| ServiceError::new("InvalidLookupAttributesException", 400, text);
    let Some(attributes) = params.get("LookupAttributes").and_then(Value::as_array).filter(|list| !list.is_empty())
    else {
        return Ok(None);
    };
    let [attribute] = attributes.as_slice() else {
        return Err(refuse("You can only provide one lookup attribute in a LookupEvents request."));
    };
    let text = |name: &str| attribute.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let (Some(key), Some(value)) = (text("AttributeKey"), text("AttributeValue")) else {
        return Err(refuse("A lookup attribute needs an AttributeKey and an AttributeValue."));
    };
    let key = match key {
        "EventId" => EventAttribute::EventId,
        "EventName" => EventAttribute::EventName,
        "ReadOnly" => EventAttribute::ReadOnly,
        "Username" => EventAttribute::Username,
        "ResourceType" => EventAttribute::ResourceType,
        "ResourceName" => EventAttribute::ResourceName,
        "EventSource" => EventAttribute::EventSource,
        "AccessKeyId" => EventAttribute::AccessKeyId,
        other => return Err(refuse(&format!("'{other}' is not a lookup attribute."))),
    };
    Ok(Some((key, value.to_owned())))
}

/// Start and end in milliseconds, both inclusive; the end covers its whole second.
fn times(params: &Value) -> Result<(Option<i64>, Option<i64>), ServiceError> {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a float beyond i64 saturates, which is what a bound should do"
    )]
    let ms = |name: &str| params.get(name).and_then(Value::as_f64).map(|seconds| (seconds * 1000.0) as i64);
    let (from, to) = (ms("StartTime"), ms("EndTime").map(|ms| ms.saturating_add(999)));
    if let (Some(from), Some(to)) = (from, to)
        && from > to
    {
        return Err(ServiceError::new("InvalidTimeRangeException", 400, "The start time must be before the end time."));
    }
    Ok((from, to))
}

/// A token is good only with the parameters it was made for, by the account and in the region it was made in.
fn query_hash(params: &Value, account: &str, region: &str) -> String {
    let of = |name: &str| params.get(name).cloned().unwrap_or(Value::Null);
    let text = json!([account, region, of("LookupAttributes"), of("StartTime"), of("EndTime"), of("EventCategory")])
        .to_string();
    hex::encode(Sha256::digest(text.as_bytes()))
}
