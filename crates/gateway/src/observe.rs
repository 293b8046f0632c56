//! What authorizer functions answered, as far as an operator should hear of it: notes for `portcullis lint`.
//!
//! A note is made only when a function has really answered, never on the cached path, and lives as long as the program
//! it belongs to. It keeps no token and no principal: callers are the keyed digests the cache uses, a principal is one
//! keyed hash.

use std::{
    collections::hash_map::RandomState,
    hash::BuildHasher as _,
    sync::{Mutex, PoisonError},
};

use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use crate::{
    Gateway,
    authorize::Authorization,
    call::Call,
    integrate::Integration,
    program::{Method, Program},
};

/// So many callers with one and the same `principalId` are told of.
pub const CALLERS_ALIKE: usize = 5;
/// Longest policy an authorizer may answer, bytes.
pub const POLICY_BYTES_MAX: usize = policy::AUTHORIZER_BYTES_MAX;
/// Most source ARNs [`Gateway::sources`] gives.
const SOURCES_MAX: usize = 10;

/// Something about an authorizer's answers, since its stage was last published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    /// Owner of the API.
    pub account: String,
    pub region: String,
    pub api_id: String,
    pub stage: String,
    pub authorizer_id: String,
    /// Qualifier included.
    pub function_arn: String,
    pub seen: Seen,
}

/// What was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// A policy whose `Allow` names the one method asked for, though the answer is kept for all methods.
    OneMethod { ttl_s: i64 },
    /// A `*` inside a resource, where it takes in slashes too.
    WildcardCrosses { resource: String },
    /// Different callers, all with the same `principalId`.
    OnePrincipal { callers: usize },
    /// Answers refused because a value of `context` is a list or an object.
    ContextNested { answers: u64 },
    /// The largest policy comes near the limit.
    PolicyNearLimit { bytes: usize },
}

/// A source API Gateway presents to a function as it calls it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallSource {
    pub source_arn: String,
    /// A fitting id for the statement that permits it.
    pub statement_id: String,
}

/// One question an authorizer function answered.
pub(crate) struct Asked<'a> {
    pub(crate) method_arn: &'a str,
    /// A keyed digest of the caller's identity values; `None` where nothing tells callers apart.
    pub(crate) caller: Option<u128>,
    /// Whether the answer is kept for other methods.
    pub(crate) kept: bool,
}

/// Notes about one authorizer of one program.
#[derive(Debug, Default)]
pub(crate) struct Notes(Mutex<Noted>);

#[derive(Debug, Default)]
struct Noted {
    one_method: bool,
    crossing: Option<Box<str>>,
    nested: u64,
    policy_bytes_max: usize,
    principals: Principals,
}

#[derive(Debug, Default)]
enum Principals {
    #[default]
    None,
    /// One so far, and the first callers who have it.
    One {
        hasher: RandomState,
        principal: u64,
        callers: Vec<u128>,
    },
    Several,
}

impl Principals {
    fn note(&mut self, id: &str, caller: u128) {
        match self {
            Self::None => {
                let hasher = RandomState::new();
                *self = Self::One { principal: hasher.hash_one(id), hasher, callers: vec![caller] };
            }
            Self::One { hasher, principal, callers } => {
                if hasher.hash_one(id) != *principal {
                    *self = Self::Several;
                } else if callers.len() < CALLERS_ALIKE && !callers.contains(&caller) {
                    callers.push(caller);
                }
            }
            Self::Several => {}
        }
    }

    /// How many callers share the one principal; 0 if there is more than one.
    fn alike(&self) -> usize {
        match self {
            Self::One { callers, .. } => callers.len(),
            Self::None | Self::Several => 0,
        }
    }
}

/// The members of an answer that are looked at.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answered<'a> {
    principal_id: Option<Value>,
    #[serde(borrow)]
    policy_document: Option<&'a RawValue>,
    context: Option<Value>,
}

impl Notes {
    /// Notes an answer. `valid` says whether it counted as one.
    pub(crate) fn note(&self, asked: &Asked<'_>, payload: &[u8], valid: bool) {
        let Ok(answered) = serde_json::from_slice::<Answered<'_>>(payload) else { return };
        let document = answered.policy_document.map_or("null", RawValue::get);
        let resources = if valid { Resources::of(document) } else { Resources::default() };
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        noted.policy_bytes_max = noted.policy_bytes_max.max(document.len());
        if !valid {
            noted.nested += u64::from(answered.context.as_ref().is_some_and(nested));
            return;
        }
        noted.one_method |= asked.kept && resources.allow_only(asked.method_arn);
        if noted.crossing.is_none() {
            noted.crossing = resources.all.iter().find(|resource| crosses(resource)).map(|it| it.as_str().into());
        }
        // Who is denied often has no name of its own.
        if let (Some(Value::String(id)), Some(caller), false) =
            (&answered.principal_id, asked.caller, resources.allowed.is_empty())
        {
            noted.principals.note(id, caller);
        }
    }

    /// What is worth telling. `reaches_more` says whether the authorizer is asked about more than one method ARN.
    fn seen(&self, ttl_s: i64, reaches_more: bool) -> Vec<Seen> {
        let noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut seen = Vec::new();
        if noted.one_method && reaches_more {
            seen.push(Seen::OneMethod { ttl_s });
        }
        if let Some(resource) = &noted.crossing {
            seen.push(Seen::WildcardCrosses { resource: resource.to_string() });
        }
        if noted.principals.alike() >= CALLERS_ALIKE {
            seen.push(Seen::OnePrincipal { callers: noted.principals.alike() });
        }
        if noted.nested > 0 {
            seen.push(Seen::ContextNested { answers: noted.nested });
        }
        if near(noted.policy_bytes_max, POLICY_BYTES_MAX) {
            seen.push(Seen::PolicyNearLimit { bytes: noted.policy_bytes_max });
        }
        seen
    }
}

/// Whether more than four fifths of a limit are used.
#[must_use]
pub fn near(used: usize, limit: usize) -> bool {
    used.saturating_mul(5) > limit.saturating_mul(4)
}

/// The resources of a policy's statements.
#[derive(Debug, Default)]
struct Resources {
    all: Vec<String>,
    allowed: Vec<String>,
}

impl Resources {
    fn of(document: &str) -> Self {
        let mut found = Self::default();
        let document: Value = serde_json::from_str(document).unwrap_or_default();
        for statement in one_or_more(document.get("Statement")) {
            let allows = statement.get("Effect").is_some_and(|effect| effect == "Allow");
            for resource in one_or_more(statement.get("Resource")).filter_map(Value::as_str) {
                found.all.push(resource.to_owned());
                if allows {
                    found.allowed.push(resource.to_owned());
                }
            }
        }
        found
    }

    fn allow_only(&self, method_arn: &str) -> bool {
        !self.allowed.is_empty() && self.allowed.iter().all(|resource| resource == method_arn)
    }
}

fn one_or_more(value: Option<&Value>) -> impl Iterator<Item = &Value> {
    match value {
        Some(Value::Array(items)) => items.as_slice(),
        Some(one) => std::slice::from_ref(one),
        None => &[],
    }
    .iter()
}

fn nested(context: &Value) -> bool {
    context.as_object().is_some_and(|members| members.values().any(|value| value.is_array() || value.is_object()))
}

/// Whether a resource holds a `*` that takes in slashes where its author likely meant one segment: one that neither ends
/// the resource nor stands for the whole API, stage or verb.
///
/// Source: API Gateway Developer Guide, "Output from an Amazon API Gateway Lambda authorizer": a wildcard stands for any
/// characters, slashes included.
fn crosses(resource: &str) -> bool {
    let below_account = resource.splitn(6, ':').nth(5).unwrap_or(resource);
    let parts: Vec<&str> = below_account.split('/').collect();
    parts.iter().enumerate().any(|(place, part)| {
        let last = place + 1 == parts.len();
        let before_end = if last { part.strip_suffix('*').unwrap_or(part) } else { part };
        let whole = place < 3 && *part == "*";
        before_end.contains('*') && !whole
    })
}

impl Gateway {
    /// What authorizers' answers showed, by account, API, stage and authorizer.
    #[must_use]
    pub fn observations(&self) -> Vec<Observation> {
        let mut found = Vec::new();
        for program in self.shared.slots.programs() {
            for (place, authorizer) in program.authorizers().iter().enumerate() {
                let reaches_more = reaches_more(program.methods(), place);
                for seen in authorizer.notes().seen(authorizer.ttl_s(), reaches_more) {
                    found.push(Observation {
                        account: program.account().to_owned(),
                        region: program.region().to_owned(),
                        api_id: program.api_id().to_owned(),
                        stage: program.stage().to_owned(),
                        authorizer_id: authorizer.id().to_owned(),
                        function_arn: authorizer.call().function_arn().to_owned(),
                        seen,
                    });
                }
            }
        }
        let place =
            |it: &Observation| (it.account.clone(), it.api_id.clone(), it.stage.clone(), it.authorizer_id.clone());
        found.sort_by_cached_key(place);
        found
    }

    /// Whether a served deployment of this API has this authorizer: one may be deleted, and live on in a deployment.
    #[must_use]
    pub fn serves_authorizer(&self, api_id: &str, authorizer_id: &str) -> bool {
        self.shared.slots.programs().iter().any(|program| {
            program.api_id() == api_id && program.authorizers().iter().any(|it| it.id() == authorizer_id)
        })
    }

    /// The sources served stages present to this function, at most ten and `None` beyond; as authorizer by its ARN, as
    /// integration with `*` for a path's parameters and for `ANY`.
    #[must_use]
    pub fn sources(&self, function_arn: &str) -> Option<Vec<CallSource>> {
        let mut found: Vec<CallSource> = Vec::new();
        for program in self.shared.slots.programs() {
            for source in sources(&program, function_arn) {
                if found.iter().all(|known| known.source_arn != source.source_arn) {
                    found.push(source);
                }
                if found.len() > SOURCES_MAX {
                    return None;
                }
            }
        }
        found.sort_by(|a, b| a.source_arn.cmp(&b.source_arn));
        Some(found)
    }

    /// The regions of the functions that served stages call, by account; with repetitions.
    #[must_use]
    pub fn function_regions(&self) -> Vec<(String, String)> {
        let mut found = Vec::new();
        for program in self.shared.slots.programs() {
            let authorizers = program.authorizers().iter().map(|authorizer| authorizer.call());
            for call in authorizers.chain(program.methods().iter().filter_map(proxied)) {
                let mut parts = call.function_arn().split(':').skip(3);
                if let (Some(region), Some(account)) = (parts.next(), parts.next()) {
                    found.push((account.to_owned(), region.to_owned()));
                }
            }
        }
        found.sort();
        found.dedup();
        found
    }
}

fn proxied(method: &Method) -> Option<&Call> {
    match &method.integration {
        Integration::LambdaProxy(proxy) => Some(proxy.call()),
        Integration::Mock(_) | Integration::Broken(_) => None,
    }
}

fn sources(program: &Program, function_arn: &str) -> Vec<CallSource> {
    let api = program.api_id();
    let calls = |call: &Call| call.function_arn() == function_arn;
    let authorizers = program.authorizers().iter().filter(|it| calls(it.call())).filter_map(|it| {
        let statement_id = format!("apigateway-{api}-authorizer-{}", it.id());
        Some(CallSource { source_arn: it.call().source_arn()?.to_owned(), statement_id })
    });
    let methods = program.methods().iter().filter_map(|method| {
        let source_arn = any_of(proxied(method).filter(|call| calls(call))?.source_arn()?);
        let statement_id = format!("apigateway-{api}-{}-{}", method.resource_id, method.verb);
        Some(CallSource { source_arn, statement_id })
    });
    authorizers.chain(methods).collect()
}

/// A method's source ARN as a pattern: `*` for each of a path's parameters, and for the verb `ANY`.
fn any_of(source_arn: &str) -> String {
    let parts: Vec<&str> = source_arn.split('/').collect();
    let shown = parts.iter().enumerate().map(|(place, part)| match *part {
        "ANY" if place == 2 => "*",
        part if part.starts_with('{') && part.ends_with('}') => "*",
        part => part,
    });
    shown.collect::<Vec<_>>().join("/")
}

/// Whether an authorizer can be asked about more than one method ARN.
fn reaches_more(methods: &[Method], place: usize) -> bool {
    let mut guarded =
        methods.iter().filter(|method| matches!(method.authorization, Authorization::Lambda(it) if it == place));
    match (guarded.next(), guarded.next()) {
        (Some(one), None) => &*one.verb == "ANY" || one.resource_path.contains('{'),
        (Some(_), Some(_)) => true,
        (None, _) => false,
    }
}

#[cfg(test)]
mod tests;
