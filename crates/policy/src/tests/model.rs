//! The compiled evaluator against the plain one, on generated policies and requests.
//!
//! `POLICY_MODEL_CASES` says how many of each: some thousands with every change, a million at night.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::naive::{DATES, Document, Documents, Outcome, applies, combine, evaluate, statements};
use super::{session, user};
use crate::{Context, Decide, Decision, Kind, Policy, Principal, Request, decide, judge};

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
        "Ip" => vec![
            "10.0.0.0/8",
            "10.0.0.1",
            "10.1.2.3/15",
            "0.0.0.0/0",
            "192.168.0.0/16",
            "2001:db8::/31",
            "2001:db8::1",
            "::/0",
        ],
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
            "Date" => &[
                "DateEquals",
                "DateNotEquals",
                "DateLessThan",
                "DateLessThanEquals",
                "DateGreaterThan",
                "DateGreaterThanEquals",
            ],
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
        1 => Just(json!({ "AWS": "444455556666", "Service": ["s.amazonaws.com", "apigateway.amazonaws.com"] })),
        1 => Just(json!({ "Federated": "cognito-identity.amazonaws.com" })),
        1 => Just(json!({ "CanonicalUser": "79a59df900b949e55d96a1e698fbacedfd6e09d98eacf8f8d5218e7cd47ef2be" })),
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

fn of_kind(kind: Kind) -> impl Strategy<Value = Document> {
    (any::<bool>(), prop::collection::vec(statement(kind), 1..8), any::<bool>()).prop_map(
        move |(new, statements, id)| {
            let new = new || matches!(kind, Kind::Identity | Kind::Boundary);
            let version = if new { "2012-10-17" } else { "2008-10-17" };
            let list = if let [one] = statements.as_slice() { one.clone() } else { json!(statements) };
            let mut document = json!({ "Version": version, "Statement": list });
            if id {
                document["Id"] = json!("id");
            }
            (kind, document)
        },
    )
}

fn document() -> impl Strategy<Value = Document> {
    let kinds = vec![Kind::Identity, Kind::Session, Kind::Resource, Kind::Trust, Kind::Authorizer, Kind::Boundary];
    prop::sample::select(kinds).prop_flat_map(of_kind)
}

fn documents() -> impl Strategy<Value = Documents> {
    let session = prop::option::of(prop::collection::vec(of_kind(Kind::Session), 0..3));
    let resource = prop_oneof![
        1 => Just(None),
        2 => of_kind(Kind::Resource).prop_map(Some),
        1 => of_kind(Kind::Trust).prop_map(Some),
    ];
    (
        prop::collection::vec(of_kind(Kind::Identity), 0..3),
        prop::option::weighted(0.3, of_kind(Kind::Boundary)),
        session,
        resource,
        any::<bool>(),
        prop::bool::weighted(0.1),
    )
        .prop_map(|(identity, boundary, session, resource, same_account, is_root)| Documents {
            identity,
            boundary,
            session,
            resource,
            same_account,
            is_root,
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

/// How many cases each test makes: few with every change, a million where time does not matter.
#[expect(clippy::disallowed_methods, reason = "a test has no other place to be told how long to take")]
fn cases() -> u32 {
    std::env::var("POLICY_MODEL_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(2_000)
}

fn action() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["s:Get", "S:PUT", "t:Get", "s:GetMore", "sts:AssumeRole"])
}

fn resource() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "*",
        "arn:aws:s:r:1:a",
        "arn:aws:s:r:1:a/b",
        "arn:aws:s:r:1:a/b/c",
        "arn:aws:s:r:2:a/b",
        "arn:aws:s:r:1:a:b",
        "arn:aws:s:r:1:*",
        "arn:aws:s:r:1:b/ab",
        "arn:aws:s:r:1:",
    ])
}

fn compile((kind, document): &Document) -> Result<Policy, TestCaseError> {
    Policy::parse(&document.to_string(), *kind).map_err(|error| TestCaseError::fail(format!("{error}: {document}")))
}

fn compile_all(documents: &[Document]) -> Result<Vec<Policy>, TestCaseError> {
    documents.iter().map(compile).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 2_000, ..ProptestConfig::with_cases(cases()) })]

    #[test]
    fn compiled_policies_agree_with_the_plain_evaluator(
        document in document(), context in request_context(), principal in caller(), action in action(),
        resource in resource(),
    ) {
        let policy = compile(&document)?;
        let (kind, document) = document;
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

    #[test]
    fn combined_policies_agree_with_the_plain_rules(
        documents in documents(), context in request_context(), principal in caller(), action in action(),
        resource in resource(),
    ) {
        let identity = compile_all(&documents.identity)?;
        let boundary = documents.boundary.as_ref().map(compile).transpose()?;
        let session = documents.session.as_deref().map(compile_all).transpose()?;
        let of_resource = documents.resource.as_ref().map(compile).transpose()?;
        let identity: Vec<&Policy> = identity.iter().collect();
        let session: Option<Vec<&Policy>> = session.as_ref().map(|session| session.iter().collect());
        let request = Request { action, resource, principal: &principal, context: &context };
        let input = Decide {
            identity: &identity,
            boundary: boundary.as_ref(),
            session: session.as_deref(),
            resource: of_resource.as_ref(),
            same_account: documents.same_account,
            is_root: documents.is_root,
            request: &request,
        };
        let decision = decide(&input);
        let outcome = match &decision {
            Decision::Allowed => Outcome::Allowed,
            Decision::Denied(denial) if denial.statement.is_some() => Outcome::Denied,
            Decision::Denied(_) => Outcome::Refused,
        };
        prop_assert_eq!(outcome, combine(&documents, &request));
        let judged = judge(&input);
        prop_assert_eq!(&judged.decision, &decision);
        prop_assert_eq!(judged.denied.is_some(), outcome == Outcome::Denied);
        // A call is only ever let through by statements that can be named, or by right of the root.
        prop_assert!(outcome != Outcome::Allowed || documents.is_root || !judged.grounds.is_empty());
    }
}
