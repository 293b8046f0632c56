//! awsQuery: forms in, XML out.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use serde_json::{Map, Value};

use super::xml::Writer;
use super::{DEPTH_MAX, read, write};
use crate::table::{Kind, Operation, Shape, Structure};
use crate::{ServiceError, form};

/// Most parts of a form.
const FORM_PARTS_MAX: usize = 20_000;

fn malformed(message: impl Into<String>) -> ServiceError {
    ServiceError::new("MalformedInput", 400, message)
}

/// Reads a form: members by name, `.member.N` for lists, `.entry.N.key` and `.value` for maps.
pub(super) fn decode(shape: &'static Shape, body: &[u8]) -> Result<Value, ServiceError> {
    let mut fields: BTreeMap<Cow<'_, str>, Cow<'_, str>> = BTreeMap::new();
    for (count, (key, value)) in form::raw_pairs(body).enumerate() {
        if count == FORM_PARTS_MAX {
            return Err(malformed("The request has too many parameters."));
        }
        let pair = form::decode_part(key).zip(form::decode_part(value));
        let (key, value) = pair.ok_or_else(|| malformed("The request is not valid UTF-8."))?;
        fields.entry(key).or_insert(value);
    }
    let form = Form { fields };
    match shape.structure() {
        Some(structure) => form.members(structure, "", 0),
        None => Ok(Value::Object(Map::new())),
    }
}

struct Form<'a> {
    fields: BTreeMap<Cow<'a, str>, Cow<'a, str>>,
}

impl Form<'_> {
    /// Everything below `prefix.`, as what follows it.
    fn below<'s>(&'s self, prefix: &'s str) -> impl Iterator<Item = &'s str> {
        let start = format!("{prefix}.");
        let range = self.fields.range::<str, _>((Bound::Included(start.as_str()), Bound::Unbounded));
        range.map_while(move |(key, _)| key.strip_prefix(prefix)?.strip_prefix('.')).collect::<Vec<_>>().into_iter()
    }

    fn has_below(&self, prefix: &str) -> bool {
        let start = format!("{prefix}.");
        let mut range = self.fields.range::<str, _>((Bound::Included(start.as_str()), Bound::Unbounded));
        range.next().is_some_and(|(key, _)| key.starts_with(&start))
    }

    /// The numbers of `key.item.N` and `key.item.N.…` (`key.N` without an item), ascending. Gaps are closed, as AWS does,
    /// however far apart the numbers are.
    ///
    /// # Errors
    /// What stands below the key and has no such place would be lost in silence, so it is refused.
    fn indexes(&self, key: &str, item: Option<&str>) -> Result<BTreeSet<u64>, ServiceError> {
        let place = |rest: &str| {
            let numbered = match item {
                Some(item) => rest.strip_prefix(item)?.strip_prefix('.')?,
                None => rest,
            };
            let number = numbered.split('.').next()?;
            number.parse::<u64>().ok().filter(|index| index.to_string() == number)
        };
        self.below(key)
            .map(|rest| place(rest).ok_or_else(|| malformed(format!("{key}.{rest} is no place in a list."))))
            .collect()
    }

    fn members(&self, structure: &Structure, prefix: &str, depth: usize) -> Result<Value, ServiceError> {
        let mut map = Map::new();
        for member in structure.members {
            let key = if prefix.is_empty() { member.wire.to_owned() } else { format!("{prefix}.{}", member.wire) };
            if let Some(value) = self.value(member.shape, &key, depth + 1)? {
                map.insert(member.name.to_owned(), value);
            }
        }
        Ok(Value::Object(map))
    }

    fn value(&self, shape: &'static Shape, key: &str, depth: usize) -> Result<Option<Value>, ServiceError> {
        if depth > DEPTH_MAX {
            return Err(malformed("The request is nested too deeply."));
        }
        // `Tags=` is how SDKs spell an empty list.
        let given_empty = || self.fields.get(key).is_some_and(|value| value.is_empty());
        match &shape.kind {
            Kind::Structure(structure) if self.has_below(key) => self.members(structure, key, depth).map(Some),
            Kind::Structure(_) => Ok(given_empty().then(|| Value::Object(Map::new()))),
            Kind::List { member, flattened, item, .. } => {
                let item = (!*flattened).then_some(*item);
                let base = item.map_or_else(|| key.to_owned(), |item| format!("{key}.{item}"));
                let mut elements = Vec::new();
                for index in self.indexes(key, item)? {
                    elements.extend(self.value(member, &format!("{base}.{index}"), depth + 1)?);
                }
                Ok((!elements.is_empty() || given_empty()).then_some(Value::Array(elements)))
            }
            Kind::Map { value: shape, .. } => {
                let base = format!("{key}.entry");
                let mut map = Map::new();
                for index in self.indexes(key, Some("entry"))? {
                    let Some(name) = self.fields.get(format!("{base}.{index}.key").as_str()) else { continue };
                    if let Some(value) = self.value(shape, &format!("{base}.{index}.value"), depth + 1)? {
                        map.insert(name.to_string(), value);
                    }
                }
                Ok((!map.is_empty() || given_empty()).then_some(Value::Object(map)))
            }
            _ => match self.fields.get(key) {
                None => Ok(None),
                Some(text) => {
                    let value = read::text(shape, text);
                    value.map(Some).ok_or_else(|| malformed(format!("The value of {key} cannot be read.")))
                }
            },
        }
    }
}

/// Writes an answer. Operations without output have no result element, only the metadata.
pub(super) fn body(op: &'static Operation, output: &Value, request_id: &str) -> Vec<u8> {
    let mut xml = Writer::default();
    let response = format!("{}Response", op.name);
    xml.open_in(&response, op.service.xml_namespace);
    if let Some(structure) = op.output.and_then(Shape::structure) {
        let wrapper = op.result_wrapper;
        if !wrapper.is_empty() {
            xml.open(wrapper);
        }
        members(&mut xml, structure, output, 0);
        if !wrapper.is_empty() {
            xml.close(wrapper);
        }
    }
    xml.open("ResponseMetadata");
    xml.leaf("RequestId", request_id);
    xml.close("ResponseMetadata");
    xml.close(&response);
    xml.finish()
}

fn members(xml: &mut Writer, structure: &Structure, value: &Value, depth: usize) {
    for member in structure.members {
        if let Some(value) = value.get(member.name).filter(|value| !value.is_null()) {
            element(xml, member.wire, member.shape, value, depth + 1);
        }
    }
}

fn element(xml: &mut Writer, name: &str, shape: &'static Shape, value: &Value, depth: usize) {
    if depth > DEPTH_MAX {
        return;
    }
    match (&shape.kind, value) {
        (Kind::List { member, flattened: true, .. }, Value::Array(elements)) => {
            for value in elements {
                element(xml, name, member, value, depth + 1);
            }
        }
        (Kind::List { member, item, .. }, Value::Array(elements)) => {
            xml.open(name);
            for value in elements {
                element(xml, item, member, value, depth + 1);
            }
            xml.close(name);
        }
        (Kind::Map { key, value: shape, .. }, Value::Object(map)) => {
            xml.open(name);
            for (entry, value) in map {
                xml.open("entry");
                element(xml, "key", key, &Value::from(entry.as_str()), depth + 1);
                element(xml, "value", shape, value, depth + 1);
                xml.close("entry");
            }
            xml.close(name);
        }
        (Kind::Structure(structure), _) => {
            xml.open(name);
            members(xml, structure, value, depth);
            xml.close(name);
        }
        _ => xml.leaf(name, &write::text(shape, value)),
    }
}
