//! CloudWatch Logs' operations on streams and events, which are kept apart from records (`store::logs`), and
//! DescribeLogGroups, which tells how much a group holds.
//!
//! CloudTrail records what manages streams. PutLogEvents, GetLogEvents and FilterLogEvents leave no record when they go
//! well, as on AWS: they are the work itself, and there would be more records than events.

use platform::logs::{
    group_not_found, invalid,
    log_group::{self, DescribeLogGroupsInput, LogGroup},
    stream_not_found,
};
use serde::{Deserialize as _, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use service::{Need, Scope, ServiceError, Tx};
use sha2::{Digest, Sha256};
use store::logs::{Append, LogStore, Stream, StreamQuery};

use crate::{
    authorize,
    dispatch::Known,
    logs::{EVENT_BYTES_MAX, stored_group},
    reader::{SnapshotReader, unavailable},
    trail,
};

#[path = "logs_read.rs"]
mod read;

/// Which operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogsCall {
    CreateLogStream,
    DeleteLogStream,
    DescribeLogGroups,
    DescribeLogStreams,
    FilterLogEvents,
    GetLogEvents,
    PutLogEvents,
}

impl LogsCall {
    const fn is_recorded(self) -> bool {
        !matches!(self, Self::FilterLogEvents | Self::GetLogEvents | Self::PutLogEvents)
    }

    /// What a record shows of a call: never the events themselves.
    pub(crate) fn told(self, params: &Value) -> Value {
        let members = params.as_object().into_iter().flatten().filter(|(name, _)| *name != "logEvents");
        members.map(|(name, value)| (name.clone(), value.clone())).collect::<serde_json::Map<_, _>>().into()
    }
}

/// Bytes of a PutLogEvents batch, each event counted with 26 more; of an answer's messages likewise. Source: CloudWatch
/// Logs API Reference, "PutLogEvents".
const BATCH_BYTES_MAX: usize = 1 << 20;
const EVENT_COST: usize = 26;
const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;
/// Events later than now by more are rejected, and those that are older than two weeks.
const NEW_MS_MAX: i64 = 2 * HOUR_MS;
const OLD_MS_MAX: i64 = 14 * DAY_MS;
const STREAM_NAME_CHARS_MAX: usize = 512;
const STREAMS_PAGE: usize = 50;

const PURPOSE: &str = "logs-next-token";

/// The group a call is about, once the caller may make the call.
struct Opened {
    scope: Scope,
    group: LogGroup,
}

impl Opened {
    /// Nothing older is shown, whether it has been removed yet or not.
    fn oldest_ms(&self, now_ms: i64) -> i64 {
        let days = self.group.retention_in_days.map(|days| i64::from(days).saturating_mul(DAY_MS));
        days.map_or(0, |age_ms| now_ms.saturating_sub(age_ms))
    }
}

fn text<'a>(params: &'a Value, name: &str) -> Option<&'a str> {
    params.get(name).and_then(Value::as_str)
}

fn number(params: &Value, name: &str) -> Option<i64> {
    params.get(name).and_then(Value::as_i64)
}

fn bad_token() -> ServiceError {
    invalid("The specified nextToken is invalid.")
}

impl Known<'_> {
    /// Runs one of the operations. Blocks.
    ///
    /// # Errors
    /// AccessDenied, and CloudWatch Logs' errors.
    pub(crate) fn logs(&self, call: LogsCall, params: &Value) -> Result<Value, ServiceError> {
        let output = match call {
            LogsCall::CreateLogStream => self.create_log_stream(params),
            LogsCall::DeleteLogStream => self.delete_log_stream(params),
            LogsCall::DescribeLogGroups => self.describe_log_groups(params),
            LogsCall::DescribeLogStreams => self.describe_log_streams(params),
            LogsCall::FilterLogEvents => self.filter_log_events(params),
            LogsCall::GetLogEvents => self.get_log_events(params),
            LogsCall::PutLogEvents => self.put_log_events(params),
        }?;
        if call.is_recorded() {
            self.record_read(trail::request_parameters(self.op, params))?;
        }
        Ok(output)
    }

    fn events_store(&self) -> &dyn LogStore {
        self.call.inner.logs.store()
    }

    fn scope(&self) -> Scope {
        Scope::regional(self.caller.account.as_str(), self.region.as_str())
    }

    /// The permission is about the group by its name, whichever way the call names it, so that no other way of writing
    /// it slips past a policy.
    fn open(&self, params: &Value) -> Result<Opened, ServiceError> {
        let scope = self.scope();
        let name = log_group::named(text(params, "logGroupName"), text(params, "logGroupIdentifier"), &scope)?;
        let named = json!({ "logGroupName": name, "logStreamName": text(params, "logStreamName") });
        let group = self.permitted_tx(&named, |tx| tx.get::<LogGroup>(&scope, "", &name))?;
        Ok(Opened { group: group.ok_or_else(group_not_found)?, scope })
    }

    fn permitted_tx<T>(
        &self,
        named: &Value,
        run: impl FnOnce(&mut Tx<'_>) -> Result<T, ServiceError>,
    ) -> Result<T, ServiceError> {
        let inner = self.call.inner;
        let mut reader = SnapshotReader::new(&*inner.store, &inner.vault)?;
        let mut tx = Tx::new(&mut reader);
        let needs: Vec<Need> = self.op.iam_action.into_iter().map(|action| self.default_need(action, named)).collect();
        if needs.is_empty() {
            return Err(ServiceError::internal("an operation of CloudWatch Logs without an action"));
        }
        authorize::check(&inner.compiled, self.op.service, &self.caller, &needs, &self.circumstances(), &mut tx)?;
        run(&mut tx)
    }

    fn create_log_stream(&self, params: &Value) -> Result<Value, ServiceError> {
        let opened = self.open(params)?;
        let name = text(params, "logStreamName").unwrap_or_default();
        if name.is_empty() || name.chars().count() > STREAM_NAME_CHARS_MAX || name.contains([':', '*']) {
            return Err(invalid("Invalid LogGroup or LogStream, both must have length less than or equal to 512."));
        }
        let group = stored_group(&opened.scope, &opened.group);
        let created = self.events_store().create_stream(&group, name, self.call.now.ms());
        if created.map_err(|error| unavailable(&error))? {
            return Ok(json!({}));
        }
        let text = "The specified log stream already exists";
        Err(ServiceError::new("ResourceAlreadyExistsException", 400, text))
    }

    fn delete_log_stream(&self, params: &Value) -> Result<Value, ServiceError> {
        let opened = self.open(params)?;
        let name = text(params, "logStreamName").unwrap_or_default();
        let deleted = self.events_store().delete_stream(&opened.group.incarnation, name);
        if deleted.map_err(|error| unavailable(&error))? { Ok(json!({})) } else { Err(stream_not_found()) }
    }

    fn describe_log_groups(&self, params: &Value) -> Result<Value, ServiceError> {
        let scope = self.scope();
        let input = DescribeLogGroupsInput::deserialize(params)
            .map_err(|error| ServiceError::new("SerializationException", 400, error.to_string()))?;
        let query = self.query_of(params, &scope.account);
        let after: Option<String> = self.goes_on(params, &query)?;
        let (groups, next) =
            self.permitted_tx(&json!({}), |tx| log_group::describe(&input, after.as_deref(), &scope, tx))?;
        let mut shown = Vec::with_capacity(groups.len());
        for group in groups {
            let bytes = self.events_store().bytes(&group.incarnation).map_err(|error| unavailable(&error))?;
            shown.push(group.shown(&scope, bytes));
        }
        Ok(self.with_next(json!({ "logGroups": shown }), next, &query))
    }

    fn describe_log_streams(&self, params: &Value) -> Result<Value, ServiceError> {
        let opened = self.open(params)?;
        let by_time = text(params, "orderBy") == Some("LastEventTime");
        let prefix = text(params, "logStreamNamePrefix").unwrap_or_default();
        if by_time && !prefix.is_empty() {
            return Err(invalid("Cannot order by LastEventTime with a logStreamNamePrefix."));
        }
        let limit = number(params, "limit").and_then(|limit| usize::try_from(limit).ok());
        let limit = limit.unwrap_or(STREAMS_PAGE).clamp(1, STREAMS_PAGE);
        let token = self.query_of(params, &opened.group.incarnation);
        let query = StreamQuery {
            incarnation: opened.group.incarnation.clone(),
            prefix: prefix.to_owned(),
            by_time,
            descending: params.get("descending").and_then(Value::as_bool).unwrap_or(false),
            after: self.goes_on(params, &token)?,
            limit: limit.saturating_add(1),
        };
        let mut streams = self.events_store().streams(&query).map_err(|error| unavailable(&error))?;
        let more = streams.len() > limit;
        streams.truncate(limit);
        let next = streams.last().filter(|_| more).map(|last| (last.last_ms.unwrap_or(0), last.name.clone()));
        let arn = opened.group.arn(&opened.scope);
        let shown: Vec<Value> = streams.iter().map(|stream| shown_stream(stream, &arn)).collect();
        Ok(self.with_next(json!({ "logStreams": shown }), next, &token))
    }

    fn put_log_events(&self, params: &Value) -> Result<Value, ServiceError> {
        let opened = self.open(params)?;
        let now_ms = self.call.now.ms();
        let events = batch(params)?;
        let (kept, rejected) = sort_out(events, now_ms, opened.oldest_ms(now_ms));
        let append = Append {
            group: stored_group(&opened.scope, &opened.group),
            stream: text(params, "logStreamName").unwrap_or_default().to_owned(),
            events: kept,
            create_stream: false,
        };
        let done = self.events_store().append(&[append], now_ms).map_err(|error| unavailable(&error))?;
        if done.first() != Some(&true) {
            return Err(stream_not_found());
        }
        let mut output = json!({ "nextSequenceToken": format!("{now_ms:056}") });
        if let Some(members) = output.as_object_mut() {
            if rejected.as_object().is_some_and(|rejected| !rejected.is_empty()) {
                members.insert("rejectedLogEventsInfo".into(), rejected);
            }
            if params.get("entity").is_some_and(|entity| !entity.is_null()) {
                // Events are not related to entities here, and the protocol has a way to say so.
                members.insert("rejectedEntityInfo".into(), json!({ "errorType": "UnsupportedLogGroupType" }));
            }
        }
        Ok(output)
    }

    /// What a token is good for: the same call with the same parameters, by the same account in the same region.
    fn query_of(&self, params: &Value, about: &str) -> String {
        let mut members = params.clone();
        if let Some(members) = members.as_object_mut() {
            members.remove("nextToken");
            members.remove("limit");
        }
        let text = json!([self.op.name, self.caller.account.as_str(), self.region, about, members]).to_string();
        hex::encode(Sha256::digest(text.as_bytes()))
    }

    fn goes_on<T: DeserializeOwned>(&self, params: &Value, query: &str) -> Result<Option<T>, ServiceError> {
        let Some(token) = text(params, "nextToken") else { return Ok(None) };
        let opened = self.call.inner.vault.open_text(PURPOSE, token);
        let cursor: Option<(String, T)> = opened.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        cursor.filter(|(of, _)| of == query).map(|(_, cursor)| Some(cursor)).ok_or_else(bad_token)
    }

    fn with_next<T: Serialize>(&self, mut output: Value, next: Option<T>, query: &str) -> Value {
        if let (Some(next), Some(members)) = (next, output.as_object_mut()) {
            let bytes = serde_json::to_vec(&(query, next)).unwrap_or_default();
            members.insert("nextToken".into(), self.call.inner.vault.seal_text(PURPOSE, &bytes).into());
        }
        output
    }
}

fn shown_stream(stream: &Stream, group_arn: &str) -> Value {
    let mut shown = json!({
        "logStreamName": stream.name,
        "creationTime": stream.created_ms,
        "arn": format!("{group_arn}:log-stream:{}", stream.name),
        // AWS has answered 0 for every stream since 2019.
        "storedBytes": 0,
        "uploadSequenceToken": format!("{:056}", stream.ingested_ms.unwrap_or(stream.created_ms)),
    });
    if let Some(members) = shown.as_object_mut() {
        let times = [
            ("firstEventTimestamp", stream.first_ms),
            ("lastEventTimestamp", stream.last_ms),
            ("lastIngestionTime", stream.ingested_ms),
        ];
        members.extend(times.into_iter().filter_map(|(name, ms)| Some((name.to_owned(), ms?.into()))));
    }
    shown
}

/// The events of a batch, once it is one that AWS takes.
fn batch(params: &Value) -> Result<Vec<(i64, String)>, ServiceError> {
    let list = params.get("logEvents").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let mut events = Vec::with_capacity(list.len());
    let mut bytes = 0usize;
    for event in list {
        let message = text(event, "message").unwrap_or_default();
        if message.len() > EVENT_BYTES_MAX {
            let size = message.len();
            return Err(invalid(format!("Log event too large: {size} bytes exceeds limit of {EVENT_BYTES_MAX}")));
        }
        bytes = bytes.saturating_add(message.len()).saturating_add(EVENT_COST);
        events.push((number(event, "timestamp").unwrap_or_default(), message.to_owned()));
    }
    if bytes > BATCH_BYTES_MAX {
        return Err(invalid(format!("Upload too large: {bytes} bytes exceeds limit of {BATCH_BYTES_MAX}")));
    }
    if !events.is_sorted_by_key(|(ms, _)| *ms) {
        return Err(invalid("Log events in a single PutLogEvents request must be in chronological order."));
    }
    if let (Some((first, _)), Some((last, _))) = (events.first(), events.last())
        && last.saturating_sub(*first) > DAY_MS
    {
        let text = "The batch of log events in a single PutLogEvents request cannot span more than 24 hours.";
        return Err(invalid(text));
    }
    Ok(events)
}

/// Leaves out what is too old, expired or too new; says so as `RejectedLogEventsInfo`, whose ends are exclusive.
fn sort_out(events: Vec<(i64, String)>, now_ms: i64, oldest_ms: i64) -> (Vec<(i64, String)>, Value) {
    let old = events.partition_point(|(ms, _)| *ms < now_ms.saturating_sub(OLD_MS_MAX));
    let expired = events.partition_point(|(ms, _)| *ms < oldest_ms);
    let new = events.partition_point(|(ms, _)| *ms <= now_ms.saturating_add(NEW_MS_MAX));
    let mut rejected = serde_json::Map::new();
    if new < events.len() {
        rejected.insert("tooNewLogEventStartIndex".into(), new.into());
    }
    if old > 0 {
        rejected.insert("tooOldLogEventEndIndex".into(), old.into());
    }
    if expired > 0 {
        rejected.insert("expiredLogEventEndIndex".into(), expired.into());
    }
    let from = old.max(expired);
    let kept = events.into_iter().take(new).skip(from).collect();
    (kept, rejected.into())
}

#[cfg(test)]
#[path = "logs_tests.rs"]
mod tests;
