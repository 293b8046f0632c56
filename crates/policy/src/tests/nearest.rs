//! What is told of a refusal, and on which statements a decision rests.

use serde_json::{Value, json};

use super::{context, policy, session, user};
use crate::{
    Context, Decide, DeniedBy, Failed, Ground, Kind, Policy, PolicyKind, Principal, Request, decide, judge, nearest,
};

const INVOKE: &str = "lambda:InvokeFunction";
const FUNCTION: &str = "arn:aws:lambda:us-east-1:444455556666:function:authorize";
const GATEWAY: &str = "apigateway.amazonaws.com";
const AUTHORIZER: &str = "arn:aws:execute-api:us-east-1:111122223333:api/authorizers/abc";

fn gateway() -> Principal {
    Principal::Service(GATEWAY.to_owned())
}

fn of_function(statements: &Value) -> Policy {
    policy(&json!({ "Version": "2012-10-17", "Statement": statements }), Kind::Resource)
}

/// One statement as `AddPermission` writes it, some members replaced.
fn permission(changes: &Value) -> Value {
    let mut statement = json!({
        "Sid": "AllowGateway", "Effect": "Allow", "Principal": { "Service": GATEWAY }, "Action": INVOKE,
        "Resource": FUNCTION, "Condition": { "ArnLike": { "AWS:SourceArn": AUTHORIZER } },
    });
    for (name, value) in changes.as_object().expect("members") {
        match value {
            Value::Null => statement.as_object_mut().expect("a statement").remove(name),
            value => statement.as_object_mut().expect("a statement").insert(name.clone(), value.clone()),
        };
    }
    statement
}

fn sentence(policy: &Policy, principal: &Principal, context: &Context) -> Option<String> {
    let request = Request { action: INVOKE, resource: FUNCTION, principal, context };
    policy.nearest(&request).map(|near| near.to_string())
}

#[test]
fn the_first_element_that_fails_is_told_in_one_sentence() {
    let other = "arn:aws:lambda:us-east-1:444455556666:function:other";
    let wanted = "arn:aws:execute-api:us-east-1:111122223333:api/*/*/*";
    let start = "statement AllowGateway came nearest: its";
    let table = [
        (
            json!({ "Principal": { "Service": "events.amazonaws.com", "AWS": "444455556666" } }),
            format!("{start} Principal is events.amazonaws.com or 444455556666, the caller was {GATEWAY}"),
        ),
        (
            json!({ "Principal": null, "NotPrincipal": { "Service": GATEWAY } }),
            format!("{start} NotPrincipal excepts {GATEWAY}, the caller was {GATEWAY}"),
        ),
        (
            json!({ "Action": "lambda:GetFunction", "Resource": other }),
            format!("{start} Action is lambda:GetFunction, asked was {INVOKE}"),
        ),
        (
            json!({ "Action": null, "NotAction": ["s3:*", "lambda:Invoke*"] }),
            format!("{start} NotAction excepts s3:* or lambda:Invoke*, asked was {INVOKE}"),
        ),
        (json!({ "Resource": other }), format!("{start} Resource is {other}, asked was {FUNCTION}")),
        (
            json!({ "Resource": null, "NotResource": FUNCTION }),
            format!("{start} NotResource excepts {FUNCTION}, asked was {FUNCTION}"),
        ),
        (
            json!({ "Condition": { "ArnLike": { "aws:SourceArn": wanted } } }),
            format!("{start} condition ArnLike aws:SourceArn wants {wanted}, presented was {AUTHORIZER}"),
        ),
        (
            json!({ "Condition": {
                "ArnLike": { "AWS:SourceArn": AUTHORIZER },
                "ForAnyValue:StringEquals": { "aws:SourceAccount": ["a", "b", "c"] },
            }}),
            format!(
                "{start} condition ForAnyValue:StringEquals aws:SourceAccount wants a, b or c, the request has no such key"
            ),
        ),
        (
            json!({ "Sid": null, "Condition": { "StringEquals": { "aws:Several": "x" } } }),
            "Statement[0] came nearest: its condition StringEquals aws:Several wants x, presented was y, z".to_owned(),
        ),
    ];
    let context = context(&json!({ "aws:SourceArn": AUTHORIZER, "aws:Several": ["y", "z"] }));
    for (changes, expected) in table {
        let policy = of_function(&json!([permission(&changes)]));
        assert_eq!(sentence(&policy, &gateway(), &context), Some(expected), "{changes}");
    }
    let wrong = of_function(&json!([permission(&json!({ "Principal": { "AWS": "444455556666" } }))]));
    let told = sentence(&wrong, &Principal::Anonymous, &context).expect("something came near");
    assert!(told.ends_with("the caller was anonymous"), "{told}");
}

#[test]
fn the_statement_with_the_most_that_matches_is_nearest() {
    let place = |statements: Value| {
        let policy = of_function(&statements);
        let context = context(&json!({ "aws:SourceArn": AUTHORIZER }));
        let request = Request { action: INVOKE, resource: FUNCTION, principal: &gateway(), context: &context };
        policy.nearest(&request).map(|near| near.statement.index)
    };
    let on = |name: &str, changes: &Value| {
        let mut statement = permission(changes);
        statement["Sid"] = json!(name);
        statement
    };
    let elsewhere =
        |name: &str| json!({ "Resource": format!("arn:aws:lambda:us-east-1:444455556666:function:{name}") });
    let other_source = json!({ "Condition": { "ArnLike": { "AWS:SourceArn": "arn:aws:*:*:*:x" } } });
    let twice = json!({ "Condition": { "ArnLike": { "AWS:SourceArn": "arn:*:*:*:*:x" }, "Bool": { "a:b": "true" } } });
    let other_action = json!({ "Action": "lambda:GetFunction", "Resource": "*", "Condition": null });
    let two_wrong = json!({ "Resource": "arn:aws:lambda:us-east-1:444455556666:function:x", "Condition": { "Bool": { "a:b": "true" } } });
    // A failed condition is nearer than a failed resource, and one failed condition nearer than two.
    assert_eq!(place(json!([on("a", &elsewhere("b")), on("b", &other_source)])), Some(1));
    assert_eq!(place(json!([on("a", &twice), on("b", &other_source)])), Some(1));
    // Another action on everything is farther than the right one failing twice.
    assert_eq!(place(json!([on("a", &other_action), on("b", &two_wrong)])), Some(1));
    // Of several resources, the one that agrees longest.
    assert_eq!(place(json!([on("a", &elsewhere("b")), on("b", &elsewhere("authorise"))])), Some(1));
    // The first of equals.
    assert_eq!(place(json!([on("a", &other_source), on("b", &other_source)])), Some(0));
    // Statements that deny never come near, and one that allows leaves nothing to tell.
    let deny = on("a", &json!({ "Effect": "Deny", "Condition": { "Bool": { "a:b": "true" } } }));
    assert_eq!(place(json!([deny])), None);
    assert_eq!(place(json!([on("a", &other_source), permission(&json!({}))])), None);
}

#[test]
fn a_grant_to_an_earlier_identity_of_the_callers_name_is_told_as_such() {
    let role = "arn:aws:iam::111122223333:role/path/Run";
    let granted = of_function(&json!([permission(&json!({ "Principal": { "AWS": role }, "Condition": null }))]));
    let bound = granted.bind_principals(|_| Some("AROAGONEGONEGONE1".to_owned())).expect("a known role");
    let told = sentence(&bound, &session("Run", "one"), &Context::new()).expect("something came near");
    let expected = format!(
        "statement AllowGateway came nearest: its Principal is {role} of an earlier identity of that name, the caller was \
         arn:aws:sts::111122223333:assumed-role/Run/one"
    );
    assert_eq!(told, expected);
    let told = sentence(&bound, &session("Walk", "one"), &Context::new()).expect("something came near");
    assert!(!told.contains("earlier"), "{told}");
}

#[test]
fn what_is_told_is_bounded_however_long_policy_and_request_are() {
    let long = |n: usize| format!("arn:aws:s3:::{n}{}", "x".repeat(3000));
    let resources: Vec<String> = (0..30).map(long).collect();
    let mut context = Context::new();
    context.insert_list("a:k", (0..200).map(|n| format!("{n}{}", "v".repeat(600))));
    let about = |resource: &Value, wanted: &Value| {
        policy(
            &json!({ "Version": "2012-10-17", "Statement": {
                "Sid": "s".repeat(2000), "Effect": "Allow", "Action": "s3:*", "Resource": resource,
                "Condition": { "StringEquals": { format!("a:k{}", "k".repeat(900)): "z", "a:k": wanted } },
            }}),
            Kind::Session,
        )
    };
    let wanted: Vec<String> = (0..40).map(long).collect();
    for policy in [about(&json!(resources), &json!("z")), about(&json!("*"), &json!(wanted))] {
        let request = Request { action: "s3:Get", resource: &long(99), principal: &gateway(), context: &context };
        let near = policy.nearest(&request).expect("it came near");
        assert!(near.to_string().chars().count() < 6000);
        if let Failed::Resource { written, asked, .. } = near.failed {
            assert_eq!((written.values().count(), written.omitted(), asked.chars().count()), (5, 25, 515));
        }
    }
}

fn own(sid: &str, action: &str) -> Policy {
    let statement = json!({ "Sid": sid, "Effect": "Allow", "Action": action, "Resource": "*" });
    let silent = json!({ "Effect": "Allow", "Action": "s3:GetObject", "Resource": "*" });
    policy(&json!({ "Version": "2012-10-17", "Statement": [silent, statement] }), Kind::Identity)
}

#[test]
fn a_decision_tells_the_statements_it_rests_on() {
    let (silent, allows, denies) = (own("silent", "sqs:*"), own("allows", INVOKE), {
        let statement = json!({ "Sid": "denies", "Effect": "Deny", "Action": "*", "Resource": "*" });
        policy(&json!({ "Version": "2012-10-17", "Statement": statement }), Kind::Boundary)
    });
    let granted = of_function(&json!([
        { "Sid": "account", "Effect": "Allow", "Principal": { "AWS": "111122223333" }, "Action": "*", "Resource": "*" },
        { "Sid": "ann", "Effect": "Allow", "Principal": { "AWS": "arn:aws:iam::111122223333:user/ann" }, "Action": "*",
          "Resource": "*" },
    ]));
    let context = Context::new();
    let ann = user("ann");
    let request = Request { action: INVOKE, resource: FUNCTION, principal: &ann, context: &context };
    let input = Decide {
        identity: &[&silent, &allows],
        boundary: Some(&allows),
        session: None,
        resource: Some(&granted),
        same_account: true,
        is_root: false,
        request: &request,
    };
    let told = |ground: &Ground| (ground.kind, ground.policy, ground.statement.to_string());
    let judged = judge(&input);
    assert_eq!(judged.decision, decide(&input));
    assert_eq!(judged.denied, None);
    // Of the resource's statements the one that names the caller most closely counts, though another stands before it.
    let expected = [
        (PolicyKind::Identity, 1, "statement allows".to_owned()),
        (PolicyKind::Resource, 0, "statement ann".to_owned()),
        (PolicyKind::Boundary, 0, "statement allows".to_owned()),
    ];
    assert_eq!(judged.grounds.iter().map(told).collect::<Vec<_>>(), expected);

    let judged = judge(&Decide { boundary: Some(&denies), ..input });
    assert_eq!(judged.denied.as_ref().map(told), Some((PolicyKind::Boundary, 0, "statement denies".to_owned())));
    assert!(judged.grounds.is_empty() && !judged.decision.is_allowed());
}

#[test]
fn the_nearest_is_looked_for_in_the_policies_to_blame() {
    let (far, near) = (own("far", "sqs:*"), own("near", INVOKE));
    let context = Context::new();
    let ann = user("ann");
    let request = Request { action: "lambda:UpdateAlias", resource: FUNCTION, principal: &ann, context: &context };
    let granted = of_function(&json!([permission(&json!({}))]));
    let input = Decide {
        identity: &[&far, &near],
        boundary: Some(&near),
        session: Some(&[]),
        resource: Some(&granted),
        same_account: true,
        is_root: false,
        request: &request,
    };
    let place = |by| nearest(&input, by).map(|found| (found.kind, found.policy, found.near.statement.index));
    assert_eq!(place(DeniedBy::NoIdentityAllow), Some((PolicyKind::Identity, 0, 0)));
    assert_eq!(place(DeniedBy::NoBoundaryAllow), Some((PolicyKind::Boundary, 0, 0)));
    assert_eq!(place(DeniedBy::NoSessionAllow), None);
    assert_eq!(place(DeniedBy::NoResourceAllow), Some((PolicyKind::Resource, 0, 0)));
    assert_eq!(place(DeniedBy::ExplicitDeny(PolicyKind::Identity)), None);
    let nothing_to_blame = Decide { resource: None, identity: &[], ..input };
    assert_eq!(nearest(&nothing_to_blame, DeniedBy::NoResourceAllow), None);
    assert_eq!(nearest(&nothing_to_blame, DeniedBy::NoIdentityAllow), None);
}
