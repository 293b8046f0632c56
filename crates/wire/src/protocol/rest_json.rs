//! restJson1: labels, query, headers and a JSON body.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::{Decoded, Payload, read, write};
use crate::route::{self, Head};
use crate::table::{Kind, Location, Member, Operation, Shape, Structure};
use crate::{ServiceError, form};

/// Most parts of a query.
const QUERY_PARTS_MAX: usize = 1_000;

/// Reads a request from everywhere its members travel.
pub(super) fn decode(
    op: &'static Operation,
    shape: &'static Shape,
    head: &Head<'_>,
    body: &[u8],
) -> Result<Decoded, ServiceError> {
    let Some(structure) = shape.structure() else {
        return Ok(Decoded { params: Value::Object(Map::new()), payload: None });
    };
    let labels = route::labels(op, head.raw_path);
    let query = query(head)?;
    let mut body_map = body_members(structure, body)?;
    let mut params = Map::new();
    let mut payload = None;
    for member in structure.members {
        let value = match member.location {
            Location::Uri => label(member, &labels)?,
            Location::Query => from_query(op, structure, member, &query)?,
            Location::Header => head.header(member.wire).map(|text| parse(member.shape, text.trim())).transpose()?,
            Location::Headers => prefixed(member, head),
            Location::Status => None,
            Location::Body if structure.payload == Some(member.name) => match member.shape.structure() {
                Some(_) if body.is_empty() => None,
                Some(_) => read::member(member, read::document(body)?, 0)?,
                None => {
                    payload = Some(Payload { member: member.name, range: 0..body.len() });
                    None
                }
            },
            Location::Body => match body_map.swap_remove(member.wire) {
                Some(value) => read::member(member, value, 0)?,
                None => None,
            },
        };
        if let Some(value) = value {
            params.insert(member.name.to_owned(), value);
        }
    }
    Ok(Decoded { params: Value::Object(params), payload })
}

/// The body's members. A body where the model has none is not read: SDKs send `{}` with some calls, tools anything.
fn body_members(structure: &Structure, body: &[u8]) -> Result<Map<String, Value>, ServiceError> {
    let wanted = structure.members.iter().any(|member| member.location == Location::Body);
    if structure.payload.is_some() || !wanted {
        return Ok(Map::new());
    }
    match read::document(body)? {
        Value::Object(map) => Ok(map),
        Value::Array(_) => Err(read::serialization("Start of list found where not expected")),
        _ => Err(read::serialization("Unexpected field type")),
    }
}

type Query<'a> = Vec<(Cow<'a, str>, Cow<'a, str>)>;

fn query<'a>(head: &Head<'a>) -> Result<Query<'a>, ServiceError> {
    let mut pairs = Vec::new();
    for (key, value) in form::raw_pairs(head.query()) {
        if pairs.len() == QUERY_PARTS_MAX {
            return Err(read::serialization("The query has too many parts."));
        }
        let pair = form::decode_part(key).zip(form::decode_part(value));
        pairs.push(pair.ok_or_else(|| read::serialization("The query is not valid UTF-8."))?);
    }
    Ok(pairs)
}

fn parse(shape: &'static Shape, text: &str) -> Result<Value, ServiceError> {
    read::text(shape, text).ok_or_else(|| read::unreadable(shape))
}

fn label(member: &'static Member, labels: &[(&str, &str)]) -> Result<Option<Value>, ServiceError> {
    let Some((_, raw)) = labels.iter().find(|(label, _)| *label == member.wire) else { return Ok(None) };
    let text = form::decode_label(raw).ok_or_else(|| read::serialization("The path is not valid UTF-8."))?;
    parse(member.shape, &text).map(Some)
}

fn from_query(
    op: &Operation,
    structure: &Structure,
    member: &'static Member,
    query: &Query<'_>,
) -> Result<Option<Value>, ServiceError> {
    match &member.shape.kind {
        Kind::List { member: element, .. } => {
            let values = query.iter().filter(|(key, _)| key == member.wire);
            let values: Vec<Value> = values.map(|(_, value)| parse(element, value)).collect::<Result<_, _>>()?;
            Ok((!values.is_empty()).then_some(Value::Array(values)))
        }
        // The map takes what no other member and no literal of the path template has taken.
        Kind::Map { .. } => {
            let literals = op.uri.split_once('?').map_or("", |(_, query)| query);
            let taken = |key: &str| {
                structure.members.iter().any(|other| other.location == Location::Query && other.wire == key)
                    || form::raw_pairs(literals.as_bytes()).any(|(literal, _)| literal == key.as_bytes())
                    || key.eq_ignore_ascii_case("x-id")
                    || key.get(..6).is_some_and(|start| start.eq_ignore_ascii_case("x-amz-"))
            };
            let mut map = Map::new();
            for (key, value) in query.iter().filter(|(key, _)| !taken(key)) {
                map.entry(key.as_ref()).or_insert_with(|| Value::from(value.as_ref()));
            }
            Ok((!map.is_empty()).then_some(Value::Object(map)))
        }
        kind => {
            let Some((_, value)) = query.iter().find(|(key, _)| key == member.wire) else { return Ok(None) };
            if value.is_empty() && !matches!(kind, Kind::String { .. }) {
                return Ok(None);
            }
            parse(member.shape, value).map(Some)
        }
    }
}

fn prefixed(member: &'static Member, head: &Head<'_>) -> Option<Value> {
    let mut map = Map::new();
    for (name, value) in head.headers {
        let (Some(start), Some(rest)) = (name.get(..member.wire.len()), name.get(member.wire.len()..)) else {
            continue;
        };
        if start.eq_ignore_ascii_case(member.wire) && !rest.is_empty() {
            map.entry(rest).or_insert_with(|| Value::from(value.trim()));
        }
    }
    (!map.is_empty()).then_some(Value::Object(map))
}

/// The body of an answer: the payload member as it is, or the members that travel in the body.
pub(super) fn body(shape: &'static Shape, output: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    match shape.structure().and_then(Structure::payload_member) {
        None => write::value(&mut out, shape, output, false),
        Some(member) => match (&member.shape.kind, output.get(member.name)) {
            (_, None | Some(Value::Null)) => {}
            (Kind::Blob { .. } | Kind::String { .. }, Some(Value::String(text))) => {
                out.extend_from_slice(text.as_bytes())
            }
            (_, Some(value)) => write::value(&mut out, member.shape, value, false),
        },
    }
    out
}

/// The content type where no member of the output says it.
pub(super) fn content_type(op: &Operation) -> &'static str {
    let payload = op.output.and_then(Shape::structure).and_then(Structure::payload_member);
    match payload.map(|member| &member.shape.kind) {
        // Functions answer JSON; every other whole body is a file.
        Some(Kind::Blob { .. }) if op.service.name != "lambda" => "application/octet-stream",
        Some(Kind::Structure(structure)) if structure.event_stream => "application/vnd.amazon.eventstream",
        _ => "application/json",
    }
}
