use policy::{AwsPrincipal, Principal};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{
    directory::permit,
    harness::{OTHER, OWNER, World, body, root, with},
    permission::{POLICY_BYTES_MAX, ResourcePolicy, used_bytes},
};

const ARN: &str = "arn:aws:lambda:us-east-1:444455556666:function:f";
const SOURCE: &str = "arn:aws:execute-api:us-east-1:111122223333:a1b2c3d4e5/authorizers/abcdef";

fn statement(more: Value) -> Value {
    let base = json!({
        "Effect": "Allow",
        "Principal": { "Service": "apigateway.amazonaws.com" },
        "Action": "lambda:InvokeFunction",
        "Resource": ARN,
    });
    with(base, more)
}

fn document(statements: Value) -> Value {
    json!({ "Version": "2012-10-17", "Id": "mine", "Statement": statements })
}

fn put(statements: Value) -> Value {
    json!({ "ResourceArn": ARN, "Policy": document(statements).to_string() })
}

fn gateway() -> Principal {
    Principal::Service("apigateway.amazonaws.com".into())
}

fn permitted(world: &mut World, principal: &Principal, source: Option<&str>) -> bool {
    let targets = world.targets("f");
    let (_, target) = targets.iter().find(|(key, _)| key.qualifier.is_empty()).expect("the function");
    permit(target, principal, ARN, source, None).is_ok()
}

fn user(name: &str, id: &str) -> Principal {
    Principal::Aws(AwsPrincipal {
        account: OTHER.parse().expect("an account"),
        arn: format!("arn:aws:iam::{OTHER}:user/{name}"),
        role_arn: None,
        unique_id: Some(id.to_owned()),
    })
}

#[test]
fn a_policy_put_as_a_whole_is_the_one_of_permissions() {
    let mut world = World::with_function();
    world.call(
        "AddPermission",
        json!({ "FunctionName": "f", "StatementId": "old", "Action": "lambda:InvokeFunction", "Principal": "*" }),
    );
    let condition = json!({ "ArnLike": { "AWS:SourceArn": SOURCE } });
    let own = json!([statement(json!({ "Sid": "named" })), statement(json!({ "Condition": condition }))]);
    let answer = world.call("PutResourcePolicy", put(own.clone()));
    assert_eq!(answer["Policy"], document(own.clone()).to_string(), "it replaces what was there");
    assert_eq!(world.call("GetPolicy", json!({ "FunctionName": "f" })), answer);
    assert_eq!(world.call("GetResourcePolicy", json!({ "ResourceArn": ARN })), answer);
    let function = world.call("GetFunctionConfiguration", json!({ "FunctionName": "f" }));
    assert_eq!(function["RevisionId"], answer["RevisionId"]);

    let taken = json!({ "FunctionName": "f", "StatementId": "named", "Action": "lambda:*", "Principal": OTHER });
    assert_eq!(world.refused("AddPermission", taken.clone()).code, "ResourceConflictException");
    world.call("AddPermission", with(taken, json!({ "StatementId": "added" })));
    world.call("RemovePermission", json!({ "FunctionName": "f", "StatementId": "named" }));
    let shown: Value =
        serde_json::from_str(world.call("GetPolicy", json!({ "FunctionName": "f" }))["Policy"].as_str().expect("text"))
            .expect("JSON");
    assert_eq!(shown["Id"], "mine");
    assert_eq!(shown["Statement"][0], own[1], "a statement without an id survives");
    assert_eq!(shown["Statement"][1]["Sid"], "added");
    assert!(permitted(&mut world, &gateway(), Some(SOURCE)));
    assert!(!permitted(&mut world, &gateway(), Some("arn:aws:execute-api:us-east-1:111122223333:other/authorizers/a")));

    world.call("RemovePermission", json!({ "FunctionName": "f", "StatementId": "added" }));
    world.call("DeleteResourcePolicy", json!({ "ResourceArn": ARN }));
    assert!(!permitted(&mut world, &gateway(), Some(SOURCE)));
    assert_eq!(world.len(), 1, "nothing is left of it");
}

#[test]
fn a_single_statement_and_no_head_are_a_policy() {
    let mut world = World::with_function();
    let text = json!({ "Statement": statement(json!({})) }).to_string();
    let answer = world.call("PutResourcePolicy", json!({ "ResourceArn": ARN, "Policy": text }));
    assert_eq!(answer["Policy"], json!({ "Statement": [statement(json!({}))] }).to_string());
    assert!(permitted(&mut world, &gateway(), None));
}

#[test]
fn a_denying_statement_denies() {
    let mut world = World::with_function();
    let denied = statement(json!({ "Effect": "Deny", "Condition": { "ArnLike": { "aws:SourceArn": SOURCE } } }));
    world.call("PutResourcePolicy", put(json!([statement(json!({})), denied])));
    assert!(!permitted(&mut world, &gateway(), Some(SOURCE)));
    assert!(permitted(&mut world, &gateway(), Some("arn:aws:execute-api:us-east-1:111122223333:other/authorizers/a")));
}

#[test]
fn a_condition_may_take_in_a_key_every_invocation_answers() {
    let mut world = World::with_function();
    let condition = json!({ "ArnLike": { "aws:SourceArn": "arn:aws:execute-api:us-east-1:${aws:SourceAccount}:*" } });
    world.call("PutResourcePolicy", put(json!([statement(json!({ "Condition": condition }))])));
    let targets = world.targets("f");
    let (_, target) = targets.iter().find(|(key, _)| key.qualifier.is_empty()).expect("the function");
    assert!(permit(target, &gateway(), ARN, Some(SOURCE), Some(OTHER)).is_ok());
    assert!(permit(target, &gateway(), ARN, Some(SOURCE), Some(OWNER)).is_err());
}

#[test]
fn each_qualifier_has_its_own_whole_policy() {
    let mut world = World::with_function();
    world.call("PublishVersion", json!({ "FunctionName": "f" }));
    world.call("CreateAlias", json!({ "FunctionName": "f", "Name": "live", "FunctionVersion": "1" }));
    for suffix in ["", ":1", ":live"] {
        let arn = format!("{ARN}{suffix}");
        let text = document(json!([statement(json!({ "Resource": arn }))])).to_string();
        let answer = world.call("PutResourcePolicy", json!({ "ResourceArn": arn, "Policy": text }));
        assert_eq!(world.call("GetPolicy", json!({ "FunctionName": arn })), answer);
    }
    let error = world.refused(
        "PutResourcePolicy",
        with(put(json!([statement(json!({}))])), json!({ "ResourceArn": format!("{ARN}:live") })),
    );
    assert_eq!(error.message, format!("The policy names the resource {ARN}, but it is put on {ARN}:live."));
}

#[test]
fn grants_are_bound_to_the_identities_of_the_moment() {
    let mut world = World::with_function();
    world.identity(OTHER, "user", "/", "x", "AIDAFIRSTFIRSTFIRSTFI");
    let arn = format!("arn:aws:iam::{OTHER}:user/x");
    let named = json!({ "AWS": [arn, "999900001111"] });
    world.call("PutResourcePolicy", put(json!([statement(json!({ "Principal": named }))])));
    assert!(permitted(&mut world, &user("x", "AIDAFIRSTFIRSTFIRSTFI"), None));

    // A namesake: the statement put earlier stays the first one's, one added now is the second one's.
    world.identity(OTHER, "user", "/", "x", "AIDASECONDSECONDSECON");
    assert!(!permitted(&mut world, &user("x", "AIDASECONDSECONDSECON"), None));
    world.call(
        "AddPermission",
        json!({ "FunctionName": "f", "StatementId": "s", "Action": "lambda:InvokeFunction", "Principal": arn }),
    );
    assert!(permitted(&mut world, &user("x", "AIDASECONDSECONDSECON"), None));
    assert!(permitted(&mut world, &user("x", "AIDAFIRSTFIRSTFIRSTFI"), None));
    world.call("RemovePermission", json!({ "FunctionName": "f", "StatementId": "s" }));
    assert!(!permitted(&mut world, &user("x", "AIDASECONDSECONDSECON"), None));

    let shown = world.call("GetPolicy", json!({ "FunctionName": "f" }))["Policy"].to_string();
    assert!(shown.contains(&arn) && !shown.contains("AIDA"), "{shown}");
    let nobody = json!({ "AWS": format!("arn:aws:iam::{OTHER}:role/nobody") });
    let error = world.refused("PutResourcePolicy", put(json!([statement(json!({ "Principal": nobody }))])));
    assert_eq!(error.message, "The provided principal was invalid. Please check the principal and try again.");
}

#[test]
fn what_could_not_be_enforced_is_refused() {
    let mut world = World::with_function();
    let principal = "The provided principal was invalid. Please check the principal and try again.";
    let two = json!([statement(json!({ "Sid": "a" })), statement(json!({ "Sid": "a" }))]);
    let late = json!({ "DateGreaterThan": { "aws:CurrentTime": "2026-01-01T00:00:00Z" } });
    let tagged = json!({ "StringNotEquals": { "aws:PrincipalArn": ["a", "${*}${aws:PrincipalTag/team, 'x'}"] } });
    let unheard = json!({ "Unheard": { "aws:SourceArn": "a" } });
    let faults = [
        (json!({ "Action": "s3:GetObject" }), "The policy names the action s3:GetObject, which is not one of Lambda."),
        (json!({ "Action": ["lambda:*", "sts:AssumeRole"] }), "The policy names the action sts:AssumeRole"),
        (json!({ "Resource": "*" }), "The policy names the resource *, but it is put on"),
        (json!({ "Resource": [ARN, format!("{ARN}:1")] }), "The policy names the resource"),
        (json!({ "Principal": { "Service": "evil.com" } }), principal),
        (json!({ "Principal": { "Federated": "accounts.google.com" } }), principal),
        (
            json!({ "Principal": { "AWS": "arn:aws:iam::111122223333:group/g" } }),
            "The policy is not valid: Invalid principal in policy",
        ),
        (json!({ "Principal": null }), "The policy is not valid: "),
        (json!({ "Sid": "not.good" }), "The statement id not.good is not 1 to 100"),
        (json!({ "Condition": late }), "The condition key aws:CurrentTime is not supported by this installation yet: "),
        (
            json!({ "Condition": tagged }),
            "The condition key aws:PrincipalTag/team is not supported by this installation yet: ",
        ),
        (json!({ "Condition": unheard }), "The policy is not valid: Syntax errors in policy."),
    ];
    let lists = [
        (two, "The policy is not valid: Statement IDs (SID) in a single policy must be unique."),
        (json!([]), "The policy is not valid: Syntax errors in policy."),
    ];
    let alone = faults.map(|(members, message)| (json!([statement(members)]), message));
    for (statements, message) in alone.into_iter().chain(lists) {
        let error = world.refused("PutResourcePolicy", put(statements.clone()));
        assert_eq!((error.code.as_ref(), error.status), ("InvalidParameterValueException", 400), "{statements}");
        assert!(error.message.starts_with(message), "{statements}: {}", error.message);
        assert!(body(&error).starts_with("{\"Type\":\"User\",\"message\":"));
    }
    let mut negated = statement(json!({ "NotResource": "arn:aws:lambda:us-east-1:444455556666:function:g" }));
    negated.as_object_mut().expect("an object").remove("Resource");
    let error = world.refused("PutResourcePolicy", put(json!([negated])));
    assert!(error.message.contains("(NotResource)"), "{}", error.message);
    for text in ["", "{", "[]", "{\"Statement\":[],\"Statement\":[]}"] {
        let error = world.refused("PutResourcePolicy", json!({ "ResourceArn": ARN, "Policy": text }));
        assert_eq!(error.code, "InvalidParameterValueException", "{text}: {error:?}");
    }
    world.refused("GetPolicy", json!({ "FunctionName": "f" }));
}

/// Texts and keys of "AddPermission / RemovePermission / GetPolicy", of which these operations are the other half.
#[test]
fn checks_come_in_the_order_of_permissions() {
    let mut world = World::with_function();
    let large = statement(json!({ "Sid": "x".repeat(101) }));
    let mut input = json!({ "ResourceArn": "f", "Policy": document(json!([large])).to_string(), "RevisionId": "old" });
    let revision = world.call("GetFunctionConfiguration", json!({ "FunctionName": "f" }))["RevisionId"].clone();
    let unknown = ARN.replace(":function:f", ":function:g");
    let long = json!({ "Condition": { "ArnLike": { "AWS:SourceArn": "x".repeat(300) } } });
    let crowd = document(json!(vec![statement(long); 60])).to_string();
    let small = document(json!([statement(json!({}))])).to_string();
    let (not_found, invalid) = ("ResourceNotFoundException", "InvalidParameterValueException");
    let size = format!("The final policy size ({}) is bigger than the limit (20480).", crowd.len());
    let steps = [
        (
            json!({ "ResourceArn": format!("{ARN}:$LATEST") }),
            "ValidationException",
            "1 validation error detected: Value 'f' at 'resourceArn' failed to satisfy constraint: Member must satisfy \
             regular expression pattern: arn:(aws"
                .to_owned(),
        ),
        (
            json!({ "ResourceArn": unknown }),
            invalid,
            "We currently do not support adding policies for $LATEST.".to_owned(),
        ),
        (json!({ "ResourceArn": format!("{ARN}:7") }), not_found, format!("Function not found: {unknown}")),
        (json!({ "ResourceArn": format!("{ARN}:live") }), not_found, format!("Function not found: {ARN}:7")),
        (json!({ "ResourceArn": ARN }), not_found, format!("Cannot find alias arn: {ARN}:live")),
        (
            json!({ "RevisionId": revision }),
            "PreconditionFailedException",
            "The Revision Id provided does not match the latest Revision Id. Call the GetResourcePolicy API to retrieve \
             the latest Revision Id"
                .to_owned(),
        ),
        (json!({ "Policy": crowd }), invalid, "The statement id xxx".to_owned()),
        (json!({ "Policy": small }), "PolicyLengthExceededException", size),
    ];
    for (repair, code, message) in steps {
        let error = world.refused("PutResourcePolicy", input.clone());
        assert_eq!(error.code, code, "{error:?}");
        assert!(error.message.starts_with(&message), "{}", error.message);
        let key = if code == not_found { "Message" } else { "message" };
        if code != "ValidationException" {
            assert_eq!(body(&error), json!({ "Type": "User", key: error.message }).to_string());
        }
        input = with(input, repair);
    }
    world.call("PutResourcePolicy", input.clone());
    assert_eq!(world.refused("PutResourcePolicy", input).status, 412, "each change makes a new revision");
}

#[test]
fn what_is_not_there_has_its_texts() {
    let mut world = World::with_function();
    let runtime = "arn:aws:lambda:us-east-1:444455556666:runtime/a";
    for (operation, arn, message) in [
        ("GetResourcePolicy", ARN, "The resource you requested does not exist."),
        ("DeleteResourcePolicy", ARN, "No policy is associated with the given resource."),
        ("GetResourcePolicy", runtime, "Resource not found: arn:aws:lambda:us-east-1:444455556666:runtime/a"),
    ] {
        let error = world.refused(operation, json!({ "ResourceArn": arn }));
        assert_eq!(body(&error), json!({ "Type": "User", "Message": message }).to_string());
    }
    world.call("PutResourcePolicy", put(json!([statement(json!({}))])));
    let stale = json!({ "ResourceArn": ARN, "RevisionId": "00000000-0000-0000-0000-000000000000" });
    assert_eq!(world.refused("DeleteResourcePolicy", stale).status, 412);
}

/// Nothing in the policy lets another account read or replace it.
#[test]
fn only_the_owner_puts_reads_and_deletes() {
    let mut world = World::with_function();
    world.call("PutResourcePolicy", put(json!([statement(json!({ "Principal": "*", "Action": "*" }))])));
    for name in ["PutResourcePolicy", "GetResourcePolicy", "DeleteResourcePolicy"] {
        let input = with(put(json!([statement(json!({}))])), json!({}));
        let needs = world.needs_as(&root(OTHER), name, &input).expect("needs");
        let need = &needs[0];
        assert_eq!((need.action.as_str(), need.resource.as_str()), (format!("lambda:{name}").as_str(), ARN));
        assert_eq!((need.account.as_str(), need.resource_policy.as_deref()), (OWNER, None));
        let error = world.try_as(&root(OTHER), name, input).expect_err("refused even if it were allowed");
        assert_eq!((error.code.as_ref(), error.status), ("AccessDeniedException", 403));
    }
}

/// What this release stores reads, and writes the same; what earlier ones stored is held by the model's tests.
#[test]
fn stored_form_of_a_whole_policy_is_kept() {
    let stored = json!({
        "Qualifier": "", "Statements": [statement(json!({}))],
        "Whole": { "Head": { "Version": "2012-10-17" }, "PrincipalIds": { "arn:aws:iam::111122223333:user/x": "AIDAX" } },
    });
    let record: ResourcePolicy = serde_json::from_value(stored.clone()).expect("a record");
    assert_eq!(serde_json::to_value(&record).expect("JSON"), stored);
    let used = record.document().len();
    assert_eq!(used_bytes(&record), (used, POLICY_BYTES_MAX));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Whatever is put, it is refused or every target's policy can be evaluated.
    #[test]
    fn any_document_is_answered(
        text in "\\PC{0,60}",
        sid in proptest::option::of("\\PC{0,6}|[a-z]{1,5}"),
        principal in prop_oneof![
            Just(json!("*")), Just(json!({ "AWS": OTHER })), Just(json!({ "Service": ["s3.amazonaws.com"] })),
            "\\PC{0,12}".prop_map(|text| json!({ "AWS": text })), "\\PC{0,12}".prop_map(Value::String),
        ],
        action in "lambda:[A-Za-z*]{0,8}|\\PC{0,10}|[*]",
        key in "aws:SourceArn|AWS:SourceAccount|\\PC{0,8}",
        value in "\\PC{0,12}|\\$\\{[a-z:]{0,6}\\}?",
    ) {
        let mut world = World::with_function();
        let condition = json!({ "StringLike": { key: value } });
        let mut one = statement(json!({ "Principal": principal, "Action": action, "Condition": condition }));
        if let Some(sid) = sid {
            one = with(one, json!({ "Sid": sid }));
        }
        for text in [text, document(json!([one])).to_string()] {
            match world.attempt("PutResourcePolicy", json!({ "ResourceArn": ARN, "Policy": text })) {
                Ok(_) => prop_assert!(world.targets("f").iter().any(|(_, target)| target.resource_policy.is_some())),
                Err(error) => prop_assert!(error.is_client_fault(), "{:?}", error),
            }
        }
    }
}
