//! What an authorizer function answered: read to the letter, then asked for each request anew.
//!
//! Source: API Gateway Developer Guide, "Output from an Amazon API Gateway Lambda authorizer"; answers of faulty
//! authorizers recorded on AWS.

use std::fmt;

use lambda::invoke::Outcome;
use policy::{Effect, Kind, Policy, Principal, Request};
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

use super::{cache::Refusal, conditions};
use crate::{
    envelope::Envelope,
    journal::{PolicySource, Step},
    route::Matched,
    texts,
};

/// Largest policy an authorizer may answer, bytes of JSON.
const POLICY_BYTES_MAX: usize = 8_192;

/// Largest context an authorizer may answer, bytes of JSON. \[U\] AWS names no limit for it; templates may repeat a value
/// as often as they like, so there has to be one.
const CONTEXT_BYTES_MAX: usize = 65_536;

/// The one action of a data-plane request.
pub(super) const INVOKE: &str = "execute-api:Invoke";

/// A context: keys and values in the order of the answer.
type Pairs = Vec<(Box<str>, Box<str>)>;

/// A valid answer: the policy, and what comes with it. This is what the cache keeps, never a verdict.
#[derive(Debug)]
pub(crate) struct Grant {
    policy: Policy,
    /// Whether the policy may look at condition keys; building those for a policy that cannot would be waste.
    conditional: bool,
    principal_id: Option<Box<str>>,
    /// An API key's value, where the API takes keys from its authorizer.
    usage_identifier_key: Option<Box<str>>,
    context: Pairs,
    bytes: usize,
}

impl Grant {
    pub(super) fn principal_id(&self) -> Option<&str> {
        self.principal_id.as_deref()
    }

    pub(super) fn context(&self) -> impl Iterator<Item = (&str, &str)> {
        self.context.iter().map(|(key, value)| (key.as_ref(), value.as_ref()))
    }

    /// About how much memory this takes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn usage_identifier_key(&self) -> Option<&str> {
        self.usage_identifier_key.as_deref()
    }

    /// Whether the policy allows a method, conditions aside.
    #[cfg(feature = "fuzzing")]
    pub(super) fn allows(&self, method_arn: &str) -> bool {
        judge(&self.policy, method_arn, &policy::Context::new()).effect == Some(Effect::Allow)
    }

    /// What the policy says of this request, under this request's conditions.
    pub(super) fn verdict(&self, method_arn: &str, matched: &Matched, envelope: &Envelope) -> Judged {
        let context = if self.conditional { conditions(matched, envelope) } else { policy::Context::new() };
        judge(&self.policy, method_arn, &context)
    }
}

/// What a policy says of an unsigned request, and the step that says so.
pub(super) struct Judged {
    pub(super) effect: Option<Effect>,
    pub(super) statement: Option<policy::StatementRef>,
    /// Where no statement applies: the one that came nearest, and what it lacks.
    pub(super) nearest: Option<Box<str>>,
}

impl Judged {
    pub(super) fn step(self, source: PolicySource) -> Step {
        Step::Policy { source, effect: self.effect, statement: self.statement, nearest: self.nearest }
    }
}

/// Asks a policy about an unsigned request.
pub(super) fn judge(policy: &Policy, method_arn: &str, context: &policy::Context) -> Judged {
    let request = Request { action: INVOKE, resource: method_arn, principal: &Principal::Anonymous, context };
    let verdict = policy.evaluate(&request);
    let nearest = match verdict.effect {
        Some(_) => None,
        None => policy.nearest(&request).map(|near| near.to_string().into()),
    };
    Judged { effect: verdict.effect, statement: verdict.statement, nearest }
}

/// Reads a function's outcome.
///
/// # Errors
/// [`Refusal::Unauthorized`] for an error whose message is exactly `Unauthorized`; [`Refusal::BadAnswer`] for every
/// other error and every answer that is not the documented object.
pub(super) fn read(outcome: &Outcome) -> Result<Grant, Refusal> {
    if outcome.function_error.is_some() {
        return Err(failed(&outcome.payload));
    }
    let members: Members<'_> =
        serde_json::from_slice(&outcome.payload).map_err(|_| bad(texts::NOT_JSON_OBJECT.to_owned()))?;
    let (mut principal_id, mut document, mut context, mut usage_key) = (None, None, None, None);
    for (name, value) in members.0 {
        let known = match name.as_str() {
            "principalId" => principal_id.replace(value).is_none(),
            "policyDocument" => document.replace(value).is_none(),
            "context" => context.replace(value).is_none(),
            "usageIdentifierKey" => usage_key.replace(value).is_none(),
            _ => return Err(bad(texts::unrecognized_field(&name))),
        };
        if !known {
            return Err(bad(format!("Invalid JSON in response: Duplicate field \"{name}\"")));
        }
    }
    let document = document.map(RawValue::get).filter(|text| text.starts_with('{'));
    let document = document.ok_or_else(|| bad(texts::invalid_policy("there is no policyDocument")))?;
    if document.len() > POLICY_BYTES_MAX {
        return Err(bad(texts::invalid_policy("it is longer than 8192 bytes")));
    }
    let policy =
        Policy::parse(document, Kind::Authorizer).map_err(|error| bad(texts::invalid_policy(&error.to_string())))?;
    let principal_id = principal_id.map(optional_text).transpose()?.flatten();
    if context.map_or(0, |context: &RawValue| context.get().len()) > CONTEXT_BYTES_MAX {
        return Err(bad("Invalid JSON in response: the context is longer than 65536 bytes".to_owned()));
    }
    let usage_identifier_key = usage_key.map(optional_text).transpose()?.flatten();
    let context = context.map(flat).transpose()?.unwrap_or_default();
    let held: usize = context.iter().map(|(key, value)| key.len() + value.len() + 32).sum();
    Ok(Grant {
        policy,
        // Member names may be written with escapes, so any backslash counts as a condition.
        conditional: ["Condition", "${", "\\"].iter().any(|mark| document.contains(mark)),
        bytes: 512 + 4 * document.len() + held + principal_id.as_ref().map_or(0, String::len),
        principal_id: principal_id.map(Into::into),
        usage_identifier_key: usage_identifier_key.map(Into::into),
        context,
    })
}

fn bad(reason: String) -> Refusal {
    Refusal::BadAnswer(reason.into())
}

/// An error document. Only its message decides; the type is spelled differently by each runtime.
fn failed(payload: &[u8]) -> Refusal {
    #[derive(Deserialize)]
    struct Failure<'a> {
        #[serde(rename = "errorMessage", borrow)]
        message: std::borrow::Cow<'a, str>,
    }
    if serde_json::from_slice::<Failure<'_>>(payload).is_ok_and(|failure| failure.message == texts::UNAUTHORIZED) {
        return Refusal::Unauthorized;
    }
    let first = serde_json::from_slice::<Members<'_>>(payload).ok().and_then(|members| members.0.into_iter().next());
    bad(texts::unrecognized_field(first.as_ref().map_or("errorType", |(name, _)| name)))
}

fn optional_text(value: &RawValue) -> Result<Option<String>, Refusal> {
    serde_json::from_str(value.get()).map_err(|_| bad(texts::cannot_deserialize(token(value))))
}

/// The token a JSON value starts with, in the words of AWS's parser.
fn token(value: &RawValue) -> &'static str {
    match value.get().as_bytes().first() {
        Some(b'[') => "START_ARRAY",
        Some(b'{') => "START_OBJECT",
        Some(b'"') => "VALUE_STRING",
        Some(b't' | b'f') => "VALUE_BOOLEAN",
        _ => "VALUE_NUMBER",
    }
}

/// A flat map of scalars: strings as they are, numbers and booleans as their JSON text, nulls left out.
fn flat(value: &RawValue) -> Result<Pairs, Refusal> {
    if value.get() == "null" {
        return Ok(Vec::new());
    }
    let members: Members<'_> =
        serde_json::from_str(value.get()).map_err(|_| bad(texts::cannot_deserialize(token(value))))?;
    let mut out = Pairs::with_capacity(members.0.len());
    let mut places = hashbrown::HashMap::with_capacity(members.0.len());
    for (name, value) in members.0 {
        // `claims` is reserved for what Cognito authorizers put there.
        if name == "claims" {
            return Err(bad(texts::unrecognized_field("claims")));
        }
        let text: Box<str> = match token(value) {
            "START_ARRAY" | "START_OBJECT" => return Err(bad(texts::cannot_deserialize(token(value)))),
            _ if value.get() == "null" => continue,
            "VALUE_STRING" => optional_text(value)?.unwrap_or_default().into(),
            _ => value.get().into(),
        };
        // A member given twice keeps its last value, as AWS's parser does for maps.
        match places.entry(name.clone()) {
            hashbrown::hash_map::Entry::Occupied(place) => {
                let place: &usize = place.get();
                out[*place].1 = text;
            }
            hashbrown::hash_map::Entry::Vacant(place) => {
                place.insert(out.len());
                out.push((name.into(), text));
            }
        }
    }
    Ok(out)
}

/// The members of an object in their order, repeated ones included.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;

        impl<'de> Visitor<'de> for Collect {
            type Value = Vec<(String, &'de RawValue)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
                let mut members = Vec::new();
                while let Some(name) = map.next_key::<String>()? {
                    members.push((name, map.next_value()?));
                }
                Ok(members)
            }
        }

        deserializer.deserialize_map(Collect).map(Members)
    }
}

#[cfg(test)]
mod tests;
