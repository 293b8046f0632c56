//! An evaluator that is slow and plain, straight from the rules, against the compiled one.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::{session, user};
use crate::{Context, Effect, Kind, Policy, Principal, Request};

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
        "DateGreaterThanEquals" => dates(|a, b| a >= b),
        "Bool" => ["true", "false"].contains(&value) && policy == value,
        "BinaryEquals" => value == policy && value != "no base64!",
        "IpAddress" => in_block(policy, value),
        other => panic!("no such operator: {other}"),
    }
}

fn in_block(block: &str, address: &str) -> bool {
    let Ok(std::net::IpAddr::V4(address)) = address.parse() else { return false };
    let (network, prefix) = block.split_once('/').unwrap_or((block, "32"));
    let bits = |text: &str| {
        let address: std::net::Ipv4Addr = text.parse().expect("a generated block");
        format!("{:032b}", address.to_bits())
    };
    let prefix: usize = prefix.parse().expect("a generated prefix");
    bits(network)[..prefix] == bits(&address.to_string())[..prefix]
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

fn principal_named(element: &Value, caller: &Principal) -> bool {
    let Value::Object(kinds) = element else { return true };
    kinds.iter().any(|(kind, values)| {
        list(values).iter().any(|name| match (kind.as_str(), caller) {
            ("AWS", _) if name == "*" => true,
            ("Service", Principal::Service(service)) => name == service,
            ("AWS", Principal::Aws(aws)) => {
                let account = aws.account.as_str();
                [account, &format!("arn:aws:iam::{account}:root"), &aws.arn].contains(&name.as_str())
                    || Some(name) == aws.role_arn.as_ref()
                    || Some(name) == aws.unique_id.as_ref()
            }
            _ => false,
        })
    })
}

fn applies(statement: &Value, variables: bool, kind: Kind, request: &Request<'_>) -> bool {
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
    if kind == Kind::Resource || kind == Kind::Trust {
        let named = match statement.get("Principal") {
            Some(element) => principal_named(element, request.principal),
            None => !principal_named(&statement["NotPrincipal"], request.principal),
        };
        if !named {
            return false;
        }
    }
    let none = Map::new();
    let operators = statement.get("Condition").and_then(Value::as_object).unwrap_or(&none);
    operators.iter().all(|(operator, keys)| {
        let keys = keys.as_object().expect("keys");
        keys.iter().all(|(key, values)| condition_holds(operator, key, &list(values), variables, context))
    })
}

fn statements(document: &Value) -> Vec<Value> {
    match &document["Statement"] {
        Value::Array(statements) => statements.clone(),
        one => vec![one.clone()],
    }
}

fn evaluate(document: &Value, kind: Kind, request: &Request<'_>) -> Option<(Effect, usize)> {
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

const DATES: [(&str, f64); 6] = [
    ("1970-01-01", 0.0),
    ("0", 0.0),
    ("2026-06-01T00:00:00Z", 1_780_272_000.0),
    ("1780272000", 1_780_272_000.0),
    ("2026-06-01T01:00+01:00", 1_780_272_000.0),
    ("2026-06-01T00:00:01Z", 1_780_272_001.0),
];

const TEXTS: [&str; 14] =
    ["", "a", "ab", "A", "*", "?", "a*", "*b", "a?", "${a:one}", "x${a:ONE}*", "${*}", "${a:none, 'ab'}", "${a:many}"];

fn pool(family: &str) -> Vec<&'static str> {
    match family {
        "Arn" => {
            vec!["arn:aws:s:r:1:a/*", "arn:*:s:r:1:?/${a:one}", "arn:aws:s:r:1:a", "arn:aws:*", "a", "arn:a:s:r:*:*:*"]
        }
        "Numeric" => vec!["1", "1.0", "10e-1", "-2", "0.5", "1000", "+7"],
        "Date" => DATES.iter().map(|(text, _)| *text).collect(),
        "Bool" | "Null" => vec!["true", "false"],
        "Binary" => vec!["QQ==", "QUI=", ""],
        "Ip" => vec!["10.0.0.0/8", "10.0.0.1", "10.1.2.3/15", "0.0.0.0/0", "192.168.0.0/16"],
        _ => TEXTS.to_vec(),
    }
}

fn condition_value() -> impl Strategy<Value = (String, String, Value)> {
    let families = prop_oneof![
        6 => Just("String"), 2 => Just("Arn"), 1 => Just("Numeric"), 1 => Just("Date"), 1 => Just("Bool"),
        1 => Just("Null"), 1 => Just("Binary"), 1 => Just("Ip"),
    ];
    let prefix = prop_oneof![4 => Just(""), 1 => Just("ForAllValues:"), 1 => Just("ForAnyValue:")];
    let suffix = prop_oneof![3 => Just(""), 1 => Just("IfExists")];
    let key = prop::sample::select(vec!["a:one", "A:One", "a:many", "a:none", "a:ip", "a:arn", "a:number", "a:empty"]);
    (families, prefix, suffix, key, any::<prop::sample::Index>()).prop_flat_map(|(family, prefix, suffix, key, at)| {
        let operators: &[&str] = match family {
            "String" => &[
                "StringEquals",
                "StringNotEquals",
                "StringLike",
                "StringNotLike",
                "StringEqualsIgnoreCase",
                "StringNotEqualsIgnoreCase",
            ],
            "Arn" => &["ArnLike", "ArnEquals", "ArnNotLike", "ArnNotEquals"],
            "Numeric" => &[
                "NumericEquals",
                "NumericNotEquals",
                "NumericLessThan",
                "NumericLessThanEquals",
                "NumericGreaterThan",
                "NumericGreaterThanEquals",
            ],
            "Date" => &["DateEquals", "DateNotEquals", "DateLessThan", "DateGreaterThanEquals"],
            "Bool" => &["Bool"],
            "Null" => &["Null"],
            "Binary" => &["BinaryEquals"],
            _ => &["IpAddress", "NotIpAddress"],
        };
        let operator = operators[at.index(operators.len())];
        let name = if family == "Null" { "Null".to_owned() } else { format!("{prefix}{operator}{suffix}") };
        let values = prop::collection::vec(prop::sample::select(pool(family)), 1..3);
        values.prop_map(move |values| {
            let value = if let [one] = values.as_slice() { json!(one) } else { json!(values) };
            (name.clone(), key.to_owned(), value)
        })
    })
}

fn some_of(pool: Vec<&'static str>) -> impl Strategy<Value = Value> {
    prop::collection::vec(prop::sample::select(pool), 1..4).prop_map(|picked| match picked.as_slice() {
        [one] => json!(one),
        many => json!(many),
    })
}

fn resource_element() -> impl Strategy<Value = Value> {
    some_of(vec![
        "*",
        "arn:aws:s:r:1:a",
        "arn:aws:s:r:1:a/*",
        "arn:aws:s:r:1:a/b",
        "arn:aws:s:r:1:a/b/*",
        "arn:aws:s:r:*:a/?",
        "arn:*:s:r:1:*",
        "arn:aws:s*",
        "arn:aws:s:r",
        "arn:*",
        "arn:aws:s:r:1:*/${a:one}",
        "arn:aws:s:r:1:${a:none}",
        "arn:aws:s:r:1:a/${a:none, 'b'}",
        "arn:aws:s:r:1:${*}",
        "arn:aws:s:r:1:a:b",
        "arn:aws:?:r:1:a*b",
    ])
}

fn action_element(kind: Kind) -> impl Strategy<Value = Value> {
    some_of(if kind == Kind::Trust {
        vec!["sts:AssumeRole", "sts:*", "STS:assume*", "sts:TagSession"]
    } else {
        vec!["*", "s:Get", "s:G?t", "S:*", "s:Put", "t:*", "s:GetMore", "t:Get"]
    })
}

fn principal_element() -> impl Strategy<Value = Value> {
    let aws = some_of(vec![
        "*",
        "111122223333",
        "444455556666",
        "arn:aws:iam::111122223333:root",
        "arn:aws:iam::111122223333:user/ann",
        "arn:aws:iam::111122223333:role/path/Run",
        "arn:aws:sts::111122223333:assumed-role/Run/one",
        "AIDAUSERUSERUSER1",
    ]);
    let service = some_of(vec!["s.amazonaws.com", "apigateway.amazonaws.com"]);
    prop_oneof![
        1 => Just(json!("*")),
        3 => aws.prop_map(|aws| json!({ "AWS": aws })),
        2 => service.prop_map(|service| json!({ "Service": service })),
    ]
}

fn statement(kind: Kind) -> impl Strategy<Value = Value> {
    let conditions = prop::collection::vec(condition_value(), 0..3);
    let negations = (prop::bool::weighted(0.2), prop::bool::weighted(0.2), prop::bool::weighted(0.2));
    let elements = (action_element(kind), resource_element(), principal_element());
    (prop::bool::weighted(0.7), negations, elements, conditions).prop_map(
        move |(allow, negations, (action, resource, principal), conditions)| {
            let mut statement = Map::new();
            statement.insert("Effect".to_owned(), json!(if allow { "Allow" } else { "Deny" }));
            let mut put = |negated: bool, name: &str, value: Value| {
                statement.insert(if negated { format!("Not{name}") } else { name.to_owned() }, value);
            };
            put(negations.0, "Action", action);
            if kind != Kind::Trust {
                put(negations.1, "Resource", resource);
            }
            if kind == Kind::Resource || kind == Kind::Trust {
                put(negations.2, "Principal", principal);
            }
            let mut condition = Map::new();
            for (operator, key, value) in conditions {
                let keys = condition.entry(operator).or_insert_with(|| json!({}));
                keys[key] = value;
            }
            if !condition.is_empty() {
                statement.insert("Condition".to_owned(), Value::Object(condition));
            }
            Value::Object(statement)
        },
    )
}

fn document() -> impl Strategy<Value = (Kind, Value)> {
    let kinds = vec![Kind::Identity, Kind::Session, Kind::Resource, Kind::Trust, Kind::Authorizer, Kind::Boundary];
    (prop::sample::select(kinds), any::<bool>()).prop_flat_map(|(kind, new)| {
        prop::collection::vec(statement(kind), 1..8).prop_map(move |statements| {
            let new = new || matches!(kind, Kind::Identity | Kind::Boundary);
            let version = if new { "2012-10-17" } else { "2008-10-17" };
            let list = if let [one] = statements.as_slice() { one.clone() } else { json!(statements) };
            (kind, json!({ "Version": version, "Statement": list }))
        })
    })
}

fn request_context() -> impl Strategy<Value = Context> {
    let one = prop::option::of(prop::sample::select(vec!["a", "ab", "AB", "*", "b", "", "true", "QQ==", "xa*"]));
    let many = prop::option::of(prop::collection::vec(prop::sample::select(vec!["a", "b", "ab", ""]), 0..3));
    let ip = prop::option::of(prop::sample::select(vec!["10.0.0.1", "10.1.9.9", "192.168.3.4", "2001:db8::1", "x"]));
    let arn = prop::option::of(prop::sample::select(vec![
        "arn:aws:s:r:1:a/b",
        "arn:aws:s:r:1:a",
        "arn:aws:s:r:1:a/a",
        "arn:aws:s:r:1",
        "a",
    ]));
    let numbers = vec!["1", "0.5", "-2", "1e3", "x", "1780272000", "2026-06-01T00:00:00Z"];
    let number = prop::option::of(prop::sample::select(numbers));
    (one, many, ip, arn, number, any::<bool>()).prop_map(|(one, many, ip, arn, number, empty)| {
        let mut context = Context::new();
        for (key, value) in [("a:one", one), ("a:ip", ip), ("a:arn", arn), ("a:number", number)] {
            if let Some(value) = value {
                context.insert(key, value);
            }
        }
        if let Some(many) = many {
            context.insert_list("a:many", many);
        }
        if empty {
            context.insert("A:EMPTY", "");
        }
        context
    })
}

fn caller() -> impl Strategy<Value = Principal> {
    prop_oneof![
        Just(Principal::Anonymous),
        Just(Principal::Service("apigateway.amazonaws.com".to_owned())),
        Just(user("ann")),
        Just(user("bob")),
        Just(session("Run", "one")),
        Just(session("Run", "two")),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn compiled_policies_agree_with_the_plain_evaluator(
        (kind, document) in document(),
        context in request_context(),
        principal in caller(),
        action in prop::sample::select(vec!["s:Get", "S:PUT", "t:Get", "s:GetMore", "sts:AssumeRole"]),
        resource in prop::sample::select(vec![
            "*", "arn:aws:s:r:1:a", "arn:aws:s:r:1:a/b", "arn:aws:s:r:1:a/b/c", "arn:aws:s:r:2:a/b", "arn:aws:s:r:1:a:b",
            "arn:aws:s:r:1:*", "arn:aws:s:r:1:b/ab", "arn:aws:s:r:1:",
        ]),
    ) {
        let policy = Policy::parse(&document.to_string(), kind).map_err(|error| TestCaseError::fail(error.to_string()))?;
        let request = Request { action, resource, principal: &principal, context: &context };
        let verdict = policy.evaluate(&request);
        let compiled = verdict.effect.map(|effect| (effect, verdict.statement.expect("a statement").index));
        prop_assert_eq!(compiled, evaluate(&document, kind, &request));
        // Something came near exactly if something could allow and nothing did.
        let (mut could, mut did) = (false, false);
        for statement in statements(&document).iter().filter(|statement| statement["Effect"] == "Allow") {
            could = true;
            did |= applies(statement, document["Version"] == "2012-10-17", kind, &request);
        }
        prop_assert_eq!(policy.nearest(&request).is_some(), could && !did);
    }
}
