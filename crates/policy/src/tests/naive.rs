//! An evaluator that is slow and plain, straight from the rules, against the compiled one.

use serde_json::{Map, Value, json};

use crate::{Context, Effect, Kind, Principal, Request};

/// One element of a pattern.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Tok {
    Char(char),
    One,
    Run,
}

/// Whether a pattern matches, by trying everything.
pub(super) fn like(pattern: &[Tok], value: &[char]) -> bool {
    match (pattern.split_first(), value.split_first()) {
        (None, None) => true,
        (None, Some(_)) => false,
        (Some((Tok::Run, rest)), None) => like(rest, value),
        (Some((Tok::Run, rest)), Some((_, after))) => like(rest, value) || like(pattern, after),
        (Some(_), None) => false,
        (Some((Tok::One, rest)), Some((_, after))) => like(rest, after),
        (Some((Tok::Char(want), rest)), Some((have, after))) => want == have && like(rest, after),
    }
}

/// The tokens of a text with its variables filled in; `None` if one cannot be.
fn fill(text: &str, wildcards: bool, variables: bool, context: &Context) -> Option<Vec<Tok>> {
    let mut out = Vec::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if variables && c == '$' && chars.as_str().starts_with('{') {
            let inner: String = chars.by_ref().skip(1).take_while(|c| *c != '}').collect();
            if ["*", "?", "$"].contains(&inner.as_str()) {
                out.extend(inner.chars().map(Tok::Char));
                continue;
            }
            let (key, default) = match inner.split_once(", '") {
                Some((key, default)) => (key, Some(default.trim_end_matches('\''))),
                None => (inner.as_str(), None),
            };
            let value = match context.get(key) {
                Some([one]) if key != "a:many" => one.as_str(),
                Some(_) => return None,
                None => default?,
            };
            out.extend(value.chars().map(Tok::Char));
            continue;
        }
        out.push(match c {
            '*' if wildcards => Tok::Run,
            '?' if wildcards => Tok::One,
            c => Tok::Char(c),
        });
    }
    Some(out)
}

fn text_matches(text: &str, wildcards: bool, variables: bool, value: &str, context: &Context) -> Option<bool> {
    let value: Vec<char> = value.chars().collect();
    Some(like(&fill(text, wildcards, variables, context)?, &value))
}

fn resource_matches(text: &str, variables: bool, value: &str, context: &Context) -> Option<bool> {
    let pattern: Vec<&str> = text.splitn(6, ':').collect();
    if text == "*" {
        return Some(true);
    }
    if pattern.len() < 6 {
        let parts: Vec<&str> = value.splitn(pattern.len(), ':').collect();
        let same = parts.len() == pattern.len() && text.ends_with('*');
        return Some(same && pattern.iter().zip(parts).all(|(p, v)| text_matches(p, true, false, v, context).unwrap()));
    }
    let parts: Vec<&str> = value.splitn(6, ':').collect();
    let heads = pattern.iter().zip(&parts).take(5);
    if parts.len() < 6 || !heads.into_iter().all(|(p, v)| text_matches(p, true, false, v, context).unwrap()) {
        return Some(false);
    }
    text_matches(pattern[5], true, variables, parts[5], context)
}

fn list(value: &Value) -> Vec<String> {
    match value {
        Value::Array(values) => values.iter().flat_map(list).collect(),
        Value::String(text) => vec![text.clone()],
        value => vec![value.to_string()],
    }
}

/// Whether one request value stands to one policy value as the positive operator asks.
fn compare(operator: &str, policy: &str, value: &str, variables: bool, context: &Context) -> bool {
    let number = |text: &str| text.parse::<f64>().ok();
    let numbers = |holds: fn(f64, f64) -> bool| match (number(value), number(policy)) {
        (Some(value), Some(policy)) => holds(value, policy),
        _ => false,
    };
    // The generated dates are chosen so that their texts have a table.
    let known = || DATES.iter().chain(&NUMBERS_AS_DATES);
    let date = |text: &str| known().find(|(known, _)| *known == text).map(|(_, second)| *second);
    let dates = |holds: fn(f64, f64) -> bool| match (date(value), date(policy)) {
        (Some(value), Some(policy)) => holds(value, policy),
        _ => false,
    };
    match operator {
        "StringEquals" => text_matches(policy, false, variables, value, context) == Some(true),
        "StringLike" => text_matches(policy, true, variables, value, context) == Some(true),
        "StringEqualsIgnoreCase" => {
            let fold = |text: &str| text.to_lowercase();
            match fill(policy, false, variables, context) {
                Some(tokens) => {
                    let text: String = tokens.iter().map(|t| if let Tok::Char(c) = t { *c } else { ' ' }).collect();
                    fold(&text) == fold(value)
                }
                None => false,
            }
        }
        "ArnLike" | "ArnEquals" => {
            // Variables are generated in the sixth part only, as the colon inside would need care before it.
            policy.starts_with("arn:")
                && value.starts_with("arn:")
                && policy.splitn(6, ':').count() == 6
                && resource_matches(policy, variables, value, context) == Some(true)
        }
        "NumericEquals" => numbers(|a, b| a == b),
        "NumericLessThan" => numbers(|a, b| a < b),
        "NumericLessThanEquals" => numbers(|a, b| a <= b),
        "NumericGreaterThan" => numbers(|a, b| a > b),
        "NumericGreaterThanEquals" => numbers(|a, b| a >= b),
        "DateEquals" => dates(|a, b| a == b),
        "DateLessThan" => dates(|a, b| a < b),
        "DateLessThanEquals" => dates(|a, b| a <= b),
        "DateGreaterThan" => dates(|a, b| a > b),
        "DateGreaterThanEquals" => dates(|a, b| a >= b),
        "Bool" => ["true", "false"].contains(&value) && policy == value,
        "BinaryEquals" => value == policy && value != "no base64!",
        "IpAddress" => in_block(policy, value),
        other => panic!("no such operator: {other}"),
    }
}

fn in_block(block: &str, address: &str) -> bool {
    let (network, prefix) = block.split_once('/').map_or((block, None), |(network, prefix)| (network, Some(prefix)));
    let bits = |text: &str| match text.parse().ok()? {
        std::net::IpAddr::V4(address) => Some(format!("{:032b}", address.to_bits())),
        std::net::IpAddr::V6(address) => Some(format!("{:0128b}", address.to_bits())),
    };
    let network = bits(network).expect("a generated block");
    let prefix = prefix.map_or(network.len(), |prefix| prefix.parse().expect("a generated prefix"));
    bits(address).is_some_and(|address| address.len() == network.len() && address[..prefix] == network[..prefix])
}

fn condition_holds(name: &str, key: &str, policy: &[String], variables: bool, context: &Context) -> bool {
    let values = context.get(key).map(<[String]>::to_vec);
    if name == "Null" {
        return policy.iter().any(|want| (want == "true") == values.is_none());
    }
    let (quantifier, name) = name.split_once(':').unwrap_or(("", name));
    let (name, if_exists) = name.strip_suffix("IfExists").map_or((name, false), |name| (name, true));
    let negated = name.contains("Not");
    let positive = name.replace("Not", "");
    let any = |value: &String| policy.iter().any(|policy| compare(&positive, policy, value, variables, context));
    let Some(values) = values else {
        return if_exists || if quantifier.is_empty() { negated } else { quantifier == "ForAllValues" };
    };
    let blank = values == [""];
    match quantifier {
        "" => values.iter().any(any) != negated,
        "ForAllValues" => blank || values.iter().all(|value| any(value) != negated),
        _ => !blank && values.iter().any(|value| any(value) != negated),
    }
}

/// How closely a principal element names a caller, from the loosest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Closeness {
    Account,
    Everyone,
    Role,
    Named,
}

fn named_by(kind: &str, name: &str, caller: &Principal) -> Option<Closeness> {
    match (kind, caller) {
        ("AWS", _) if name == "*" => Some(Closeness::Everyone),
        ("Service", Principal::Service(service)) if name == service => Some(Closeness::Named),
        ("AWS", Principal::Aws(aws)) => {
            let account = aws.account.as_str();
            if name == aws.arn {
                Some(Closeness::Named)
            } else if Some(name) == aws.unique_id.as_deref() {
                Some(if aws.role_arn.is_some() { Closeness::Role } else { Closeness::Named })
            } else if Some(name) == aws.role_arn.as_deref() {
                Some(Closeness::Role)
            } else {
                (name == account || name == format!("arn:aws:iam::{account}:root")).then_some(Closeness::Account)
            }
        }
        _ => None,
    }
}

/// How closely a statement of a kind with principals names the caller; `None` if it does not.
fn named(statement: &Value, caller: &Principal) -> Option<Closeness> {
    let (element, negated) = match statement.get("Principal") {
        Some(element) => (element, false),
        None => (&statement["NotPrincipal"], true),
    };
    let closest = match element {
        Value::Object(kinds) => {
            let names = kinds.iter().flat_map(|(kind, values)| list(values).into_iter().map(move |name| (kind, name)));
            names.filter_map(|(kind, name)| named_by(kind, &name, caller)).max()
        }
        _ => Some(Closeness::Everyone),
    };
    match (negated, closest) {
        (false, closest) => closest,
        (true, Some(_)) => None,
        (true, None) => Some(Closeness::Everyone),
    }
}

pub(super) fn applies(statement: &Value, variables: bool, kind: Kind, request: &Request<'_>) -> bool {
    let context = request.context;
    let (element, negated) = match statement.get("Action") {
        Some(element) => (element, false),
        None => (&statement["NotAction"], true),
    };
    let action = request.action.to_lowercase();
    let matched = list(element).iter().any(|p| text_matches(&p.to_lowercase(), true, false, &action, context).unwrap());
    if matched == negated {
        return false;
    }
    if let Some(element) = statement.get("Resource") {
        let matches = |p: &String| resource_matches(p, variables, request.resource, context) == Some(true);
        if !list(element).iter().any(matches) {
            return false;
        }
    }
    if let Some(element) = statement.get("NotResource") {
        let outcomes: Vec<_> =
            list(element).iter().map(|p| resource_matches(p, variables, request.resource, context)).collect();
        if outcomes.contains(&Some(true)) || (outcomes.contains(&None) && statement["Effect"] == "Allow") {
            return false;
        }
    }
    if (kind == Kind::Resource || kind == Kind::Trust) && named(statement, request.principal).is_none() {
        return false;
    }
    let none = Map::new();
    let operators = statement.get("Condition").and_then(Value::as_object).unwrap_or(&none);
    operators.iter().all(|(operator, keys)| {
        let keys = keys.as_object().expect("keys");
        keys.iter().all(|(key, values)| condition_holds(operator, key, &list(values), variables, context))
    })
}

pub(super) fn statements(document: &Value) -> Vec<Value> {
    match &document["Statement"] {
        Value::Array(statements) => statements.clone(),
        one => vec![one.clone()],
    }
}

pub(super) fn evaluate(document: &Value, kind: Kind, request: &Request<'_>) -> Option<(Effect, usize)> {
    let variables = document.get("Version") == Some(&json!("2012-10-17"));
    let statements = statements(document);
    let first = |effect: &str| {
        let of_effect = |s: &&Value| s["Effect"] == effect;
        statements.iter().position(|s| of_effect(&s) && applies(s, variables, kind, request))
    };
    first("Deny").map(|at| (Effect::Deny, at)).or_else(|| first("Allow").map(|at| (Effect::Allow, at)))
}

/// What a request's number is when a date operator reads it.
const NUMBERS_AS_DATES: [(&str, f64); 3] = [("1", 1.0), ("0.5", 0.5), ("-2", -2.0)];

pub(super) const DATES: [(&str, f64); 6] = [
    ("1970-01-01", 0.0),
    ("0", 0.0),
    ("2026-06-01T00:00:00Z", 1_780_272_000.0),
    ("1780272000", 1_780_272_000.0),
    ("2026-06-01T01:00+01:00", 1_780_272_000.0),
    ("2026-06-01T00:00:01Z", 1_780_272_001.0),
];

/// A document and what it is for.
pub(super) type Document = (Kind, Value);

/// The documents that bear on a call, as the model sees them.
#[derive(Debug, Clone)]
pub(super) struct Documents {
    pub(super) identity: Vec<Document>,
    pub(super) boundary: Option<Document>,
    pub(super) session: Option<Vec<Document>>,
    pub(super) resource: Option<Document>,
    pub(super) same_account: bool,
    pub(super) is_root: bool,
}

/// What the rules say of a call, put as plainly as the user guide does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Allowed,
    Refused,
    /// By a statement that denies.
    Denied,
}

/// Source: IAM User Guide, "Policy evaluation logic", "Cross-account policy evaluation logic".
pub(super) fn combine(documents: &Documents, request: &Request<'_>) -> Outcome {
    let says = |(kind, document): &Document| evaluate(document, *kind, request).map(|(effect, _)| effect);
    let own = documents.identity.iter().chain(documents.boundary.as_ref()).chain(documents.session.iter().flatten());
    if own.chain(documents.resource.as_ref()).any(|document| says(document) == Some(Effect::Deny)) {
        return Outcome::Denied;
    }
    let allows = |document: &Document| says(document) == Some(Effect::Allow);
    let identity = documents.is_root || documents.identity.iter().any(allows);
    let boundary = documents.is_root || documents.boundary.as_ref().is_none_or(allows);
    let session = documents.session.as_ref().is_none_or(|session| session.iter().any(allows));
    let uncut = boundary && session;
    let granted = documents.resource.as_ref().and_then(|(kind, document)| {
        let variables = document["Version"] == "2012-10-17";
        let mut statements = statements(document);
        statements.retain(|s| s["Effect"] == "Allow" && applies(s, variables, *kind, request));
        statements.iter().filter_map(|statement| named(statement, request.principal)).max()
    });
    let is_identity = matches!(request.principal, Principal::Aws(_));
    // Services and strangers have no policies of their own.
    let has_side = is_identity || documents.is_root || !documents.identity.is_empty();
    let is_trust = documents.resource.as_ref().is_some_and(|(kind, _)| *kind == Kind::Trust);
    let allowed = match (documents.same_account, granted) {
        (false, granted) => granted.is_some() && (!is_identity || (identity && uncut)),
        (true, Some(Closeness::Named)) => true,
        (true, Some(Closeness::Role)) => uncut,
        (true, Some(Closeness::Everyone)) => uncut && (identity || !is_trust || !has_side),
        (true, Some(Closeness::Account)) => identity && uncut,
        (true, None) => has_side && !is_trust && identity && uncut,
    };
    if allowed { Outcome::Allowed } else { Outcome::Refused }
}
