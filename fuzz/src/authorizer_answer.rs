//! The answer of a Lambda authorizer: the policy inside, read strictly, and asked.
//!
//! Input: answer, resource. The data plane's own reader takes the whole answer; what it lets in is compared with the
//! policy inside, read and asked alone.

use std::collections::BTreeMap;

use policy::{AUTHORIZER_BYTES_MAX, AUTHORIZER_RESOURCE_CHARS_MAX, Context, Effect, Kind, Policy, Principal, Request};
use serde_json::Value;
use serde_json::value::RawValue;

const ACTION: &str = "execute-api:Invoke";

/// Checks one input.
pub fn check(input: &[u8]) {
    let mut parts = crate::parts(input);
    let (answer, resource) = (crate::text(&mut parts), crate::text(&mut parts));
    let whole = gateway::fuzzing::authorizer_answer(answer.as_bytes(), &resource);
    let Ok(members) = serde_json::from_str::<BTreeMap<String, &RawValue>>(&answer) else { return };
    let Some(document) = members.get("policyDocument") else {
        assert!(whole.is_none(), "an answer without a policy lets nobody in");
        return;
    };
    let parsed = Policy::parse(document.get(), Kind::Authorizer);
    assert!(parsed.is_err() || document.get().len() <= AUTHORIZER_BYTES_MAX);
    let Ok(policy) = parsed else {
        assert!(whole.is_none(), "nor does one whose policy does not parse");
        return;
    };
    let value: Value = serde_json::from_str(document.get()).expect("it was read before");
    let statements = match &value["Statement"] {
        Value::Array(statements) => statements.clone(),
        one => vec![one.clone()],
    };
    assert_eq!(policy.statements_len(), statements.len());
    let short = |text: &Value| text.as_str().is_some_and(|text| text.chars().count() <= AUTHORIZER_RESOURCE_CHARS_MAX);
    for statement in &statements {
        for resource in ["Resource", "NotResource"].iter().filter_map(|name| statement.get(*name)) {
            assert!(resource.as_array().map_or_else(|| short(resource), |list| list.iter().all(short)));
        }
    }
    let mut context = Context::new();
    context.insert("aws:SourceIp", "203.0.113.7");
    let request = Request { action: ACTION, resource: &resource, principal: &Principal::Anonymous, context: &context };
    let verdict = policy.evaluate(&request);
    let unconditional = !document.get().contains(['$', '\\']) && !document.get().contains("Condition");
    assert!(!unconditional || whole.is_none_or(|allows| allows == verdict.is_allow()));
    // Fail closed: who is let in was let in by a statement that says so, and about this action and resource.
    let Some(at) = verdict.statement.as_ref().map(|statement| statement.index) else {
        assert!(verdict.effect.is_none());
        return;
    };
    let statement = &statements[at];
    assert_eq!(statement["Effect"] == "Allow", verdict.effect == Some(Effect::Allow));
    let listed = |element: &Value| match element {
        Value::Array(texts) => texts.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        text => text.as_str().map(str::to_owned).into_iter().collect::<Vec<String>>(),
    };
    if let Some(actions) = statement.get("Action") {
        assert!(listed(actions).iter().any(|pattern| policy::action_matches(pattern, ACTION)));
    }
    if let Some(resources) = statement.get("Resource") {
        let plain = !document.get().contains(['$', '\\']);
        assert!(!plain || listed(resources).iter().any(|pattern| policy::resource_matches(pattern, &resource)));
    }
    if statements.iter().any(|statement| statement["Effect"] == "Deny") {
        return;
    }
    // Without a deny, what is let in stays let in however the rest of the policy is cut away.
    let alone = serde_json::json!({ "Version": value.get("Version").cloned().unwrap_or("2008-10-17".into()), "Statement": statement });
    let alone = Policy::from_value(&alone, Kind::Authorizer).expect("a statement of a policy is a policy");
    assert!(alone.evaluate(&request).is_allow());
}
