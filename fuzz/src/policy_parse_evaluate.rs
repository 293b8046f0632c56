//! Documents of every kind: read or refused, and what the compiled whole says is what its statements say one by one.
//!
//! Input: document, action, resource, then any number of `key=value`.

use policy::{AwsPrincipal, Context, Decide, Decision, Effect, Kind, Policy, Principal, Request, decide, judge};
use serde_json::{Value, json};

const KINDS: [Kind; 6] = [Kind::Identity, Kind::Resource, Kind::Trust, Kind::Boundary, Kind::Session, Kind::Authorizer];

/// Checks one input.
pub fn check(input: &[u8]) {
    let mut parts = crate::parts(input);
    let document = crate::text(&mut parts);
    let (action, resource) = (crate::text(&mut parts), crate::text(&mut parts));
    let mut context = Context::new();
    for pair in parts {
        let pair = String::from_utf8_lossy(pair);
        let (key, value) = pair.split_once('=').unwrap_or((&pair, ""));
        match value.split_once(';') {
            Some(_) => context.insert_list(key, value.split(';')),
            None => context.insert(key, value),
        }
    }
    let principals = principals();
    for kind in KINDS {
        check_kind(&document, kind, &principals, &action, &resource, &context);
    }
}

fn check_kind(document: &str, kind: Kind, principals: &[Principal], action: &str, resource: &str, context: &Context) {
    let policy = match Policy::parse(document, kind) {
        Ok(policy) => policy,
        Err(error) => {
            // A refusal can always be told, and briefly.
            assert!(error.to_string().chars().count() < 2_000 && error.message().chars().count() < 2_000);
            return;
        }
    };
    let value = policy::parse_json(document).expect("what was read as a policy is JSON");
    let again = Policy::parse(&value.to_string(), kind).expect("written again it reads again");
    let of_value = Policy::from_value(&value, kind).expect("the value reads as the text did");
    let alone = one_by_one(&value, kind);
    assert_eq!(policy.statements_len(), alone.len());
    for principal in principals {
        let request = Request { action, resource, principal, context };
        let verdict = policy.evaluate(&request);
        assert_eq!(verdict, again.evaluate(&request));
        assert_eq!(verdict, of_value.evaluate(&request));
        let effects: Vec<Option<Effect>> = alone.iter().map(|one| one.evaluate(&request).effect).collect();
        let first = |effect| effects.iter().position(|found| *found == Some(effect)).map(|at| (effect, at));
        let expected = first(Effect::Deny).or_else(|| first(Effect::Allow));
        assert_eq!(verdict.effect.zip(verdict.statement.as_ref().map(|s| s.index)), expected);
        check_nearest(&policy, &alone, &request, first(Effect::Allow).is_some());
        check_decision(&policy, &request, verdict.effect);
    }
}

/// The document's statements, each as a document of its own.
fn one_by_one(value: &Value, kind: Kind) -> Vec<Policy> {
    let statements = match &value["Statement"] {
        Value::Array(statements) => statements.as_slice(),
        one => std::slice::from_ref(one),
    };
    let alone = |statement: &Value| {
        let mut document = json!({ "Statement": [statement] });
        if let Some(version) = value.get("Version") {
            document["Version"] = version.clone();
        }
        Policy::from_value(&document, kind).expect("a statement of a policy is a policy")
    };
    statements.iter().map(alone).collect()
}

/// Something came near exactly if nothing allows; what is told is brief and holds nothing a terminal would obey.
fn check_nearest(policy: &Policy, alone: &[Policy], request: &Request<'_>, allows: bool) {
    let near = policy.nearest(request);
    assert!(near.is_none() || !allows);
    let near_alone = alone.iter().filter(|one| one.nearest(request).is_some()).count();
    assert_eq!(near.is_some(), near_alone > 0 && !allows);
    if let Some(near) = near {
        let told = near.to_string();
        assert!(told.len() < 64 * 1024 && !told.contains(|c: char| c.is_control()));
        assert_eq!(alone[near.statement.index].nearest(request).map(|alone| alone.failed), Some(near.failed));
    }
}

/// However the document is used, it never grants what it does not allow, and its deny always counts.
fn check_decision(policy: &Policy, request: &Request<'_>, effect: Option<Effect>) {
    let own = [policy];
    for same_account in [false, true] {
        for (identity, boundary, session, resource) in [
            (&own[..], None, None, None),
            (&own[..], Some(policy), Some(&own[..]), None),
            (&own[..], Some(policy), Some(&own[..]), Some(policy)),
            (&[], None, None, Some(policy)),
        ] {
            let input = Decide { identity, boundary, session, resource, same_account, is_root: false, request };
            let decision = decide(&input);
            assert!(!decision.is_allowed() || effect == Some(Effect::Allow));
            let denied = matches!(&decision, Decision::Denied(denial) if denial.statement.is_some());
            assert_eq!(denied, effect == Some(Effect::Deny));
            let judged = judge(&input);
            assert_eq!(judged.decision, decision);
            assert_eq!(judged.denied.is_some(), denied);
            assert_eq!(judged.grounds.is_empty(), effect != Some(Effect::Allow));
        }
    }
}

fn principals() -> [Principal; 4] {
    let account = "111122223333".parse().expect("twelve digits");
    [
        Principal::Anonymous,
        Principal::Service("apigateway.amazonaws.com".to_owned()),
        Principal::Aws(AwsPrincipal {
            account,
            arn: "arn:aws:iam::111122223333:user/ann".to_owned(),
            role_arn: None,
            unique_id: Some("AIDAUSERUSERUSER1".to_owned()),
        }),
        Principal::Aws(AwsPrincipal {
            account,
            arn: "arn:aws:sts::111122223333:assumed-role/Run/one".to_owned(),
            role_arn: Some("arn:aws:iam::111122223333:role/path/Run".to_owned()),
            unique_id: Some("AROAROLEROLEROLE1".to_owned()),
        }),
    ]
}
