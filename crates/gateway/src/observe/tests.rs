//! Each rule over plain values.

use serde_json::{Value, json};

use super::*;

const METHOD: &str = "arn:aws:execute-api:us-east-1:111122223333:a1b2c3d4e5/Dev/GET/pets";

fn answer(resource: Value) -> Value {
    json!({
        "principalId": "user",
        "policyDocument": {
            "Version": "2012-10-17",
            "Statement": [{ "Effect": "Allow", "Action": "execute-api:Invoke", "Resource": resource }],
        },
    })
}

fn asked(caller: u128) -> Asked<'static> {
    Asked { method_arn: METHOD, caller: Some(caller), kept: true }
}

/// What is told after these answers, each to another caller.
fn told(answers: &[(Value, bool)]) -> Vec<Seen> {
    let notes = Notes::default();
    for (caller, (answer, valid)) in (0..).zip(answers) {
        notes.note(&asked(caller), answer.to_string().as_bytes(), *valid);
    }
    notes.seen(300, true)
}

#[test]
fn an_allow_of_the_one_method_asked_for_is_told_while_answers_are_kept() {
    let wider = format!("{}*", METHOD.trim_end_matches("GET/pets"));
    for (resource, told_of) in [
        (json!(METHOD), true),
        (json!([METHOD]), true),
        (json!([METHOD, METHOD]), true),
        (json!([METHOD, wider]), false),
        (json!(wider), false),
        (json!(format!("{METHOD}/*")), false),
        (json!([]), false),
    ] {
        let expected = if told_of { vec![Seen::OneMethod { ttl_s: 300 }] } else { Vec::new() };
        assert_eq!(told(&[(answer(resource.clone()), true)]), expected, "{resource}");
    }
    let notes = Notes::default();
    notes.note(&Asked { kept: false, ..asked(1) }, answer(json!(METHOD)).to_string().as_bytes(), true);
    assert_eq!(notes.seen(0, true), [], "nothing is kept");
    let notes = Notes::default();
    notes.note(&asked(1), answer(json!(METHOD)).to_string().as_bytes(), true);
    assert_eq!(notes.seen(300, false), [], "there is no other method");
    let mut denied = answer(json!(METHOD));
    denied["policyDocument"]["Statement"][0]["Effect"] = json!("Deny");
    assert_eq!(told(&[(denied, true)]), []);
}

#[test]
fn a_star_is_told_of_where_it_takes_in_slashes() {
    let api = "arn:aws:execute-api:us-east-1:111122223333:a1b2c3d4e5";
    for (below, told_of) in [
        ("/Dev/GET/pets/*/toys", true),
        ("/Dev/GET/*.json", true),
        ("/Dev/GET/pets/*", false),
        ("/Dev/GET/pets*", false),
        ("/Dev/*/pets", false),
        ("/*/GET/pets", false),
        ("/*/*/pets/*", false),
        ("/Dev*/GET/pets", true),
        ("/Dev/G*/pets", true),
        ("/Dev/GET/a*b*", true),
        ("/Dev/GET/*/*", true),
        ("/*", false),
    ] {
        assert_eq!(crosses(&format!("{api}{below}")), told_of, "{below}");
    }
    for (resource, told_of) in
        [("*", false), ("arn:aws:execute-api:*:*:*", false), ("arn:aws:execute-api:*:*:*/*/GET/x", false), ("", false)]
    {
        assert_eq!(crosses(resource), told_of, "{resource}");
    }
    let resource = format!("{api}/Dev/GET/pets/*/toys");
    assert_eq!(told(&[(answer(json!(["*", resource])), true)]), [Seen::WildcardCrosses { resource }]);
}

#[test]
fn one_principal_for_five_callers_is_told() {
    let same = || (answer(json!("*")), true);
    let mut other = answer(json!("*"));
    other["principalId"] = json!("somebody");
    let five = [Seen::OnePrincipal { callers: CALLERS_ALIKE }];
    assert_eq!(told(&[same(), same(), same(), same()]), []);
    assert_eq!(told(&[same(), same(), same(), same(), same()]), five);
    assert_eq!(told(&[same(), same(), same(), same(), same(), same()]), five);
    assert_eq!(told(&[same(), same(), (other, true), same(), same(), same(), same(), same()]), []);
    let mut denied = answer(json!("*"));
    denied["policyDocument"]["Statement"][0]["Effect"] = json!("Deny");
    let denied = || (denied.clone(), true);
    assert_eq!(told(&[denied(), denied(), denied(), denied(), denied()]), []);
    let notes = Notes::default();
    for caller in [Some(7), Some(7), Some(7), Some(7), Some(7), None, None, None, None, None] {
        notes.note(&Asked { caller, ..asked(0) }, answer(json!("*")).to_string().as_bytes(), true);
    }
    assert_eq!(notes.seen(300, true), [], "one caller, and some who cannot be told apart");
}

#[test]
fn refused_answers_with_a_nested_context_are_counted() {
    let with = |context: Value| {
        let mut answer = answer(json!("*"));
        answer["context"] = context;
        (answer, false)
    };
    assert_eq!(
        told(&[with(json!({ "a": [1] })), with(json!({ "b": {}, "c": "x" })), with(json!({ "d": 1 }))]),
        [Seen::ContextNested { answers: 2 }]
    );
    assert_eq!(told(&[with(json!("text")), with(json!(null))]), []);
}

#[test]
fn a_policy_near_its_limit_is_told_with_its_size() {
    let padded = |bytes: usize| {
        let mut answer = answer(json!("*"));
        answer["policyDocument"]["Id"] = json!("");
        let used = answer["policyDocument"].to_string().len();
        answer["policyDocument"]["Id"] = json!("x".repeat(bytes - used));
        answer
    };
    assert_eq!(told(&[(padded(6_553), true)]), []);
    assert_eq!(told(&[(padded(6_554), true), (padded(700), true)]), [Seen::PolicyNearLimit { bytes: 6_554 }]);
    assert_eq!(told(&[(padded(9_000), false)]), [Seen::PolicyNearLimit { bytes: 9_000 }], "refused for its size");
}

#[test]
fn what_is_no_answer_leaves_no_note() {
    let notes = Notes::default();
    for payload in
        [&b""[..], b"null", b"[]", b"7", b"{\"context\":7}", b"\xff", b"{\"policyDocument\":{\"Statement\":7}}"]
    {
        notes.note(&asked(1), payload, true);
        notes.note(&asked(1), payload, false);
    }
    assert_eq!(notes.seen(300, true), []);
}

#[test]
fn a_methods_source_becomes_a_pattern() {
    let api = "arn:aws:execute-api:us-east-1:111122223333:a1b2c3d4e5";
    for (source, expected) in [
        ("/Dev/GET/pets/{id}", "/Dev/GET/pets/*"),
        ("/Dev/ANY/{proxy+}", "/Dev/*/*"),
        ("/Dev/GET/ANY", "/Dev/GET/ANY"),
        ("/authorizers/abcdef", "/authorizers/abcdef"),
    ] {
        assert_eq!(any_of(&format!("{api}{source}")), format!("{api}{expected}"));
    }
}
