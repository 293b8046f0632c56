//! GetLogEvents and FilterLogEvents.

use std::collections::BTreeSet;

use platform::logs::{filter_pattern::FilterPattern, invalid, stream_not_found};
use serde_json::{Value, json};
use service::ServiceError;
use store::logs::{Event, Query, Scope};

use super::{BATCH_BYTES_MAX, EVENT_COST, Opened, bad_token, number, text};
use crate::{dispatch::Known, reader::unavailable};

/// Events one answer holds at most.
const EVENTS_MAX: usize = 10_000;
/// Events one call of FilterLogEvents looks at; what is further is left to the next page.
const SCANNED_MAX: usize = 20_000;
const SCAN_PAGE: usize = 2_000;

/// Where GetLogEvents goes on, as its tokens say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Position {
    backward: bool,
    time_ms: i64,
    sequence: i64,
}

impl Position {
    /// AWS's form: a direction, 56 digits, `s`.
    fn token(self) -> String {
        let direction = if self.backward { 'b' } else { 'f' };
        format!("{direction}/{:020}{:036}/s", self.time_ms, self.sequence)
    }

    fn parse(token: &str) -> Option<Self> {
        let (direction, rest) = token.split_at_checked(2)?;
        let backward = match direction {
            "b/" => true,
            "f/" => false,
            _ => return None,
        };
        let digits = rest.strip_suffix("/s").filter(|digits| digits.len() == 56)?;
        if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let (time_ms, sequence) = digits.split_at_checked(20)?;
        Some(Self { backward, time_ms: time_ms.parse().ok()?, sequence: sequence.parse().ok()? })
    }
}

fn flag(params: &Value, name: &str) -> Option<bool> {
    params.get(name).and_then(Value::as_bool)
}

fn limit(params: &Value) -> usize {
    let limit = number(params, "limit").and_then(|limit| usize::try_from(limit).ok());
    limit.unwrap_or(EVENTS_MAX).clamp(1, EVENTS_MAX)
}

/// Nothing is masked here, so that nothing can be unmasked.
fn refuse_unmask(params: &Value) -> Result<(), ServiceError> {
    if flag(params, "unmask") == Some(true) {
        return Err(invalid("'unmask' is not supported by this version of Portcullis: no log event is masked."));
    }
    Ok(())
}

impl Known<'_> {
    pub(super) fn get_log_events(&self, params: &Value) -> Result<Value, ServiceError> {
        let opened = self.open(params)?;
        refuse_unmask(params)?;
        let name = text(params, "logStreamName").unwrap_or_default();
        let stream = self.events_store().stream(&opened.group.incarnation, name);
        let stream = stream.map_err(|error| unavailable(&error))?.ok_or_else(stream_not_found)?;
        let from_ms = number(params, "startTime").unwrap_or(0).max(opened.oldest_ms(self.call.now.ms()));
        let token = match text(params, "nextToken") {
            Some(token) => Some(Position::parse(token).ok_or_else(bad_token)?),
            None => None,
        };
        let from_head = flag(params, "startFromHead").unwrap_or(false);
        let backward = token.map_or(!from_head, |token| token.backward);
        let query = Query {
            scope: Scope::Stream(stream.id),
            from_ms,
            // The end is exclusive here, unlike in FilterLogEvents.
            to_ms: number(params, "endTime").map_or(i64::MAX, |end| end.saturating_sub(1)),
            past: token.map(|token| (token.time_ms, token.sequence)),
            backward,
            limit: limit(params),
        };
        let mut events = self.events_store().events(&query).map_err(|error| unavailable(&error))?;
        let fitting = fitting(&events);
        events.truncate(fitting);
        if backward {
            events.reverse();
        }
        // At either end the answer repeats the position, so that whoever follows a stream finds what comes later.
        let here = token.map_or((from_ms, 0), |token| (token.time_ms, token.sequence));
        let at = |event: Option<&Event>| event.map_or(here, |event| (event.time_ms, event.sequence));
        let next = |backward, (time_ms, sequence)| Position { backward, time_ms, sequence }.token();
        Ok(json!({
            "events": events.iter().map(|event| json!({
                "timestamp": event.time_ms, "message": event.message, "ingestionTime": event.ingested_ms,
            })).collect::<Vec<_>>(),
            "nextForwardToken": next(false, at(events.last())),
            "nextBackwardToken": next(true, at(events.first())),
        }))
    }

    pub(super) fn filter_log_events(&self, params: &Value) -> Result<Value, ServiceError> {
        let opened = self.open(params)?;
        refuse_unmask(params)?;
        if flag(params, "startFromHead") == Some(false) {
            return Err(invalid("FilterLogEvents from the end is not supported by this version of Portcullis."));
        }
        let pattern = FilterPattern::parse(text(params, "filterPattern").unwrap_or_default())?;
        let (scope, streams) = self.searched(&opened, params)?;
        let token = self.query_of(params, &opened.group.incarnation);
        let mut query = Query {
            scope,
            from_ms: number(params, "startTime").unwrap_or(0).max(opened.oldest_ms(self.call.now.ms())),
            to_ms: number(params, "endTime").unwrap_or(i64::MAX),
            past: self.goes_on(params, &token)?,
            backward: false,
            limit: SCAN_PAGE,
        };
        let limit = limit(params);
        let (mut found, mut bytes, mut scanned, mut more) = (Vec::new(), 0usize, 0usize, true);
        while more && found.len() < limit && bytes < BATCH_BYTES_MAX && scanned < SCANNED_MAX {
            let page = self.events_store().events(&query).map_err(|error| unavailable(&error))?;
            more = !page.is_empty();
            for event in page {
                let fits = streams.fit(&event.stream) && pattern.matches(&event.message);
                if fits {
                    let size = event.message.len().saturating_add(EVENT_COST);
                    let full = found.len() >= limit || bytes.saturating_add(size) > BATCH_BYTES_MAX;
                    if full && !found.is_empty() {
                        bytes = BATCH_BYTES_MAX;
                        break;
                    }
                    bytes = bytes.saturating_add(size);
                }
                query.past = Some((event.time_ms, event.sequence));
                scanned = scanned.saturating_add(1);
                if fits {
                    found.push(shown(event));
                }
            }
        }
        let output = json!({ "events": found, "searchedLogStreams": [] });
        Ok(self.with_next(output, query.past.filter(|_| more), &token))
    }

    /// Where to look, and which streams of what is found there count.
    fn searched(&self, opened: &Opened, params: &Value) -> Result<(Scope, Streams), ServiceError> {
        let names: BTreeSet<String> = params
            .get("logStreamNames")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(|name| name.as_str().map(str::to_owned))
            .collect();
        let prefix = text(params, "logStreamNamePrefix").filter(|prefix| !prefix.is_empty());
        let group = Scope::Group(opened.group.incarnation.clone());
        match (prefix, names.len()) {
            (Some(_), 1..) => {
                Err(invalid("logStreamNames and logStreamNamePrefix cannot be used in the same request."))
            }
            (Some(prefix), 0) => Ok((group, Streams::Prefix(prefix.to_owned()))),
            (None, 0) => Ok((group, Streams::All)),
            (None, count) => {
                let mut only = None;
                for name in &names {
                    let stream = self.events_store().stream(&opened.group.incarnation, name);
                    only = Some(stream.map_err(|error| unavailable(&error))?.ok_or_else(stream_not_found)?.id);
                }
                let scope = only.filter(|_| count == 1).map_or(group, Scope::Stream);
                Ok((scope, Streams::Named(names)))
            }
        }
    }
}

/// Which streams count.
enum Streams {
    All,
    Prefix(String),
    Named(BTreeSet<String>),
}

impl Streams {
    fn fit(&self, stream: &str) -> bool {
        match self {
            Self::All => true,
            Self::Prefix(prefix) => stream.starts_with(prefix.as_str()),
            Self::Named(names) => names.contains(stream),
        }
    }
}

fn shown(event: Event) -> Value {
    json!({
        "logStreamName": event.stream,
        "timestamp": event.time_ms,
        "message": event.message,
        "ingestionTime": event.ingested_ms,
        "eventId": format!("{:056}", event.sequence),
    })
}

/// How many events from the front one answer holds: at least one.
fn fitting(events: &[Event]) -> usize {
    let mut bytes = 0usize;
    let over = events.iter().position(|event| {
        bytes = bytes.saturating_add(event.message.len()).saturating_add(EVENT_COST);
        bytes > BATCH_BYTES_MAX
    });
    over.unwrap_or(events.len()).max(1).min(events.len())
}

#[cfg(test)]
mod tests {
    use super::Position;

    #[test]
    fn tokens_say_where_and_nothing_else_is_one() {
        let position = Position { backward: true, time_ms: 1_764_037_614_250, sequence: 77 };
        assert_eq!(Position::parse(&position.token()), Some(position));
        let good = position.token();
        for bad in ["", "f/", "x/1/s", "b/12/s", &good[1..], &good.replace("/s", "/t"), &good.replace("77", "+7")] {
            assert_eq!(Position::parse(bad), None, "{bad}");
        }
        assert_eq!(Position::parse(&format!("f/{}/s", "9".repeat(56))), None);
        assert_eq!(Position::parse("é/"), None);
    }
}
