//! Each rule over plain values.

use serde_json::json;

use super::*;

const AUTHORIZER: &str = "arn:aws:execute-api:us-east-1:111122223333:a1b2c3d4e5/authorizers/abcdef";

fn place(qualifier: &str) -> Place {
    Place::of(&Scope::regional("444455556666", "eu-west-1"), "guard", qualifier)
}

fn statement(condition: Value) -> Value {
    json!({
        "Sid": "s-1", "Effect": "Allow", "Principal": { "Service": GATEWAY }, "Action": "lambda:InvokeFunction",
        "Resource": "arn:aws:lambda:eu-west-1:444455556666:function:guard", "Condition": condition,
    })
}

#[test]
fn a_policy_is_told_of_beyond_four_fifths() {
    assert!(size(&place(""), (16_384, 20_480)).is_none());
    let warning = size(&place("live"), (16_385, 20_480)).unwrap();
    assert_eq!(warning.code, "policy-near-limit");
    assert_eq!(
        warning.about.function_arn.as_deref(),
        Some("arn:aws:lambda:eu-west-1:444455556666:function:guard:live")
    );
}

#[test]
fn a_grant_to_the_gateway_needs_a_source() {
    for (condition, open) in [
        (json!({}), true),
        (json!({ "ArnLike": { "AWS:SourceArn": AUTHORIZER } }), false),
        (json!({ "StringEquals": { "aws:sourceaccount": "111122223333" } }), false),
        (json!({ "StringEquals": { "aws:PrincipalOrgID": "o-1" } }), true),
    ] {
        assert_eq!(is_open(&statement(condition.clone())), open, "{condition}");
    }
    let mut other = statement(json!({}));
    other["Principal"] = json!({ "Service": ["events.amazonaws.com", GATEWAY] });
    assert!(is_open(&other));
    other["Principal"] = json!({ "Service": "events.amazonaws.com" });
    assert!(!is_open(&other));
    other["Principal"] = json!("*");
    assert!(!is_open(&other));
    let mut denies = statement(json!({}));
    denies["Effect"] = json!("Deny");
    assert!(!is_open(&denies));
}

#[test]
fn an_open_grant_is_mended_by_what_calls_the_function() {
    let source = CallSource { source_arn: AUTHORIZER.to_owned(), statement_id: "new".to_owned() };
    let warning = open(&place("live"), &statement(json!({})), Some(vec![source.clone()]), &[statement(json!({}))]);
    let by = "   # with credentials of account 444455556666";
    let function = "arn:aws:lambda:eu-west-1:444455556666:function:guard";
    assert_eq!(
        warning.repair,
        [
            format!(
                "aws lambda add-permission --function-name {function} --source-arn {AUTHORIZER} --principal {GATEWAY} \
                 --statement-id new --action lambda:InvokeFunction --qualifier live --region eu-west-1{by}"
            ),
            format!(
                "aws lambda remove-permission --function-name {function} --statement-id s-1 --qualifier live --region \
                 eu-west-1{by}"
            ),
        ]
    );
    let repair = |sources, all: &[Value]| open(&place(""), &statement(json!({})), sources, all).repair;
    let unknown = repair(Some(Vec::new()), &[]);
    assert!(unknown[0].contains("API_ID/authorizers/AUTHORIZER_ID") && unknown[1].contains("remove-permission"));
    assert_eq!(repair(None, &[]).len(), 1, "with too many callers to name, nothing is taken away");
    let bound = statement(json!({ "ArnLike": { "AWS:SourceArn": AUTHORIZER.replace("abcdef", "*") } }));
    assert!(repair(Some(vec![source.clone()]), &[bound])[0].contains("remove-permission"), "it is admitted already");
    let mut taken = statement(json!({}));
    taken["Sid"] = json!("new");
    assert!(repair(Some(vec![source]), &[taken])[0].contains("--statement-id new-2 "));
}

#[test]
fn only_exactly_named_authorizers_are_looked_up() {
    for (arn, exact) in [
        (AUTHORIZER, true),
        ("arn:aws:execute-api:*:111122223333:a1b2c3d4e5/authorizers/abcdef", true),
        ("arn:aws:execute-api:us-east-1:111122223333:a1b2c3d4e5/authorizers/*", false),
        ("arn:aws:execute-api:us-east-1:111122223333:*/authorizers/abcdef", false),
        ("arn:aws:execute-api:us-east-1:*:a1b2c3d4e5/authorizers/abcdef", false),
        ("arn:aws:execute-api:us-east-1:111122223333:a1b2c3d4e5/authorizers/abc?ef", false),
        ("arn:aws:execute-api:us-east-1:111122223333:a1b2c3d4e5/Dev/GET/pets", false),
        ("arn:aws:s3:::a/authorizers/b", false),
        ("", false),
    ] {
        for operator in ["ArnLike", "ArnEquals", "StringEquals", "StringLike"] {
            let found = authorizers(&statement(json!({ operator: { "AWS:SourceArn": arn } })));
            assert_eq!(found.is_some(), exact, "{operator} {arn}");
        }
    }
    let parsed = AuthorizerArn::parse(AUTHORIZER).unwrap();
    assert_eq!((&*parsed.account, &*parsed.api, &*parsed.authorizer), ("111122223333", "a1b2c3d4e5", "abcdef"));
    let list = json!({ "ArnLike": { "aws:SourceArn": [AUTHORIZER, "arn:aws:execute-api:us-east-1:111122223333:*"] } });
    assert_eq!(authorizers(&statement(list)), None, "it admits more than authorizers named exactly");
    assert_eq!(authorizers(&statement(json!({ "ArnNotLike": { "aws:SourceArn": AUTHORIZER } }))), None);
}

#[test]
fn a_stale_statement_is_removed_only_if_nothing_else_hangs_on_it() {
    let gone = AuthorizerArn::parse(AUTHORIZER).unwrap();
    let condition = json!({ "ArnLike": { "AWS:SourceArn": AUTHORIZER } });
    let warning = stale(&place(""), &statement(condition.clone()), &gone, true);
    assert_eq!(
        warning.repair,
        ["aws lambda remove-permission --function-name arn:aws:lambda:eu-west-1:444455556666:function:guard \
          --statement-id s-1 --region eu-west-1   # with credentials of account 444455556666"]
    );
    assert_eq!(stale(&place(""), &statement(condition.clone()), &gone, false).repair, [""; 0]);
    for odd in [json!(null), json!(""), json!("a; rm -rf b"), json!("$(x)")] {
        let mut unnamed = statement(condition.clone());
        unnamed["Sid"] = odd;
        assert_eq!(stale(&place(""), &unnamed, &gone, true).repair, [""; 0]);
    }
}
