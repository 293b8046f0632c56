use policy::{AwsPrincipal, Principal};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{
    directory::permit,
    harness::{OTHER, OWNER, World, body, root, with},
};

const ARN: &str = "arn:aws:lambda:us-east-1:444455556666:function:f";

fn permission(sid: &str) -> Value {
    json!({ "FunctionName": "f", "StatementId": sid, "Action": "lambda:InvokeFunction", "Principal": "s3.amazonaws.com" })
}

fn corpus() -> Vec<Value> {
    let text = include_str!("../../testdata/authorizers/lambda_permission.json");
    serde_json::from_str(text).expect("the corpus is a list")
}

/// Every recorded case, with the statement's text and the error's body byte for byte.
#[test]
fn recorded_cases_are_answered_as_aws_did() {
    let cases = corpus();
    assert_eq!(cases.len(), 21);
    for case in cases {
        let name = case["name"].as_str().expect("a name");
        let mut world = World::with_function();
        for sid in case["existing_statement_ids"].as_array().expect("a list") {
            world.call("AddPermission", permission(sid.as_str().expect("text")));
        }
        let operation = case["operation"].as_str().expect("an operation");
        let expect = &case["expect"];
        match world.attempt(operation, case["request"].clone()) {
            Ok(output) => {
                assert_eq!(expect["status"], 201, "{name}");
                assert_eq!(output, json!({ "Statement": expect["statement"].to_string() }), "{name}");
            }
            Err(error) => {
                assert_eq!(expect["status"], error.status, "{name}: {error:?}");
                assert_eq!(expect["error"], *error.code, "{name}");
                if let Some(message) = expect["message"].as_str() {
                    assert_eq!(error.message, message, "{name}");
                    let expected = match expect["message_key"].as_str() {
                        Some("Message") => json!({ "Type": "User", "Message": message }),
                        Some(_) => json!({ "Type": "User", "message": message }),
                        None => json!({ "message": message }),
                    };
                    assert_eq!(body(&error), expected.to_string(), "{name}");
                }
            }
        }
    }
}

#[test]
fn policy_is_printed_in_aws_order_with_the_functions_revision() {
    let mut world = World::with_function();
    let before = world.call("GetFunctionConfiguration", json!({ "FunctionName": "f" }))["RevisionId"].clone();
    world.call(
        "AddPermission",
        with(permission("one"), json!({ "SourceAccount": OTHER, "SourceArn": "arn:aws:s3:::b" })),
    );
    let policy = world.call("GetPolicy", json!({ "FunctionName": "f" }));
    assert_eq!(
        policy["Policy"],
        format!(
            "{{\"Version\":\"2012-10-17\",\"Id\":\"default\",\"Statement\":[{{\"Sid\":\"one\",\"Effect\":\"Allow\",\
             \"Principal\":{{\"Service\":\"s3.amazonaws.com\"}},\"Action\":\"lambda:InvokeFunction\",\"Resource\":\"{ARN}\",\
             \"Condition\":{{\"StringEquals\":{{\"AWS:SourceAccount\":\"{OTHER}\"}},\"ArnLike\":{{\"AWS:SourceArn\":\
             \"arn:aws:s3:::b\"}}}}}}]}}"
        )
    );
    let after = world.call("GetFunctionConfiguration", json!({ "FunctionName": "f" }))["RevisionId"].clone();
    assert_ne!(before, after);
    assert_eq!(policy["RevisionId"], after);
    let removal = json!({ "FunctionName": "f", "StatementId": "one", "RevisionId": after });
    world.call("RemovePermission", removal);
    assert_eq!(
        world.refused("GetPolicy", json!({ "FunctionName": "f" })).message,
        "The resource you requested does not exist."
    );
    assert_ne!(world.call("GetFunctionConfiguration", json!({ "FunctionName": "f" }))["RevisionId"], after);
    assert_eq!(world.len(), 1, "a policy without statements is not kept");
}

#[test]
fn each_qualifier_has_its_own_policy_and_revision() {
    let mut world = World::with_function();
    world.call("PublishVersion", json!({ "FunctionName": "f" }));
    world.call("CreateAlias", json!({ "FunctionName": "f", "Name": "live", "FunctionVersion": "1" }));
    for (qualifier, suffix) in [(None, ""), (Some("1"), ":1"), (Some("live"), ":live")] {
        let mut input = permission("same");
        let mut get = json!({ "FunctionName": "f" });
        if let Some(qualifier) = qualifier {
            input = with(input, json!({ "Qualifier": qualifier }));
            get = with(get, json!({ "Qualifier": qualifier }));
        }
        let statement = world.call("AddPermission", input)["Statement"].to_string();
        assert!(statement.contains(&format!("\\\"Resource\\\":\\\"{ARN}{suffix}\\\"")), "{statement}");
        let revision = world.call("GetPolicy", get.clone())["RevisionId"].clone();
        let holder = match qualifier {
            Some("live") => world.call("GetAlias", json!({ "FunctionName": "f", "Name": "live" })),
            _ => world.call("GetFunctionConfiguration", get),
        };
        assert_eq!(holder["RevisionId"], revision, "{suffix}");
    }
    // Publishing copies no policy.
    world.call("UpdateFunctionConfiguration", json!({ "FunctionName": "f", "Timeout": 9 }));
    world.call("PublishVersion", json!({ "FunctionName": "f" }));
    world.refused("GetPolicy", json!({ "FunctionName": "f:2" }));
    // What carried a policy takes it along.
    world.call("DeleteAlias", json!({ "FunctionName": "f", "Name": "live" }));
    world.call("CreateAlias", json!({ "FunctionName": "f", "Name": "live", "FunctionVersion": "1" }));
    world.refused("GetPolicy", json!({ "FunctionName": "f:live" }));
}

#[test]
fn checks_come_in_aws_order() {
    // Each step removes the fault that was found first; the next one then shows.
    let mut world = World::with_function();
    world.call("AddPermission", permission("taken"));
    let revision = world.call("GetFunctionConfiguration", json!({ "FunctionName": "f" }))["RevisionId"].clone();
    let mut input = json!({
        "FunctionName": "g:a", "Qualifier": "$LATEST", "StatementId": "not.good", "Action": "lambda:InvokeFunction",
        "Principal": "nobody", "RevisionId": "old",
    });
    let steps = [
        (
            json!({ "FunctionName": "g" }),
            "The derived qualifier from the function name does not match the specified qualifier.",
        ),
        (json!({ "Qualifier": null }), "We currently do not support adding policies for $LATEST."),
        (json!({ "FunctionName": "f" }), "Function not found: arn:aws:lambda:us-east-1:444455556666:function:g"),
        (
            json!({ "RevisionId": revision }),
            "The Revision Id provided does not match the latest Revision Id. Call the GetPolicy API to retrieve the latest \
             Revision Id",
        ),
        (
            json!({ "StatementId": "taken" }),
            "1 validation error detected: Value 'not.good' at 'statementId' failed to satisfy constraint: Member must \
             satisfy regular expression pattern: ([a-zA-Z0-9-_]+)",
        ),
        (
            json!({ "StatementId": "free" }),
            "The statement id (taken) provided already exists. Please provide a new statement id, or remove the existing \
             statement.",
        ),
        (
            json!({ "Principal": "s3.amazonaws.com" }),
            "The provided principal was invalid. Please check the principal and try again.",
        ),
    ];
    for (repair, message) in steps {
        assert_eq!(world.refused("AddPermission", input.clone()).message, message);
        input = with(input, repair);
    }
    world.call("AddPermission", input);
}

#[test]
fn constraints_of_the_model_are_held() {
    let mut world = World::with_function();
    for (member, bad) in [
        ("SourceArn", "arn:aws:execute-api:*:111122223333:a/b"),
        ("SourceArn", "arn:aws:execute-api:us-east-1:*:a/b"),
        ("SourceArn", "*"),
        ("SourceAccount", "11112222333"),
        ("PrincipalOrgID", "o-short"),
        ("EventSourceToken", "a b"),
        ("FunctionUrlAuthType", "ANY"),
        ("Action", "s3:GetObject"),
        ("Action", "lambda:Get*"),
        ("Principal", "a b"),
    ] {
        let error = world.refused("AddPermission", with(permission("x"), json!({ member: bad })));
        assert_eq!((error.code.as_ref(), error.status), ("ValidationException", 400), "{member} {bad}: {error:?}");
        assert!(
            error.message.starts_with(&format!("1 validation error detected: Value '{bad}' at '")),
            "{}",
            error.message
        );
    }
    let error = world.refused("AddPermission", with(permission("x"), json!({ "Qualifier": "a b" })));
    assert_eq!(
        error.message,
        r"1 validation error detected: Value 'a b' at 'qualifier' failed to satisfy constraint: Member must satisfy regular expression pattern: \$(LATEST(\.PUBLISHED)?)|[a-zA-Z0-9-_$]+"
    );
    let error = world.refused("AddPermission", with(permission("x"), json!({ "FunctionUrlAuthType": "NONE" })));
    assert_eq!(error.message, "FunctionUrlAuthType is only supported for lambda:InvokeFunctionUrl action");
}

#[test]
fn principals_are_services_accounts_identities_or_everyone() {
    let mut world = World::with_function();
    world.identity(OTHER, "user", "/a/", "b", "AIDABBBBBBBBBBBBBBBBB");
    world.identity(OTHER, "role", "/", "r", "AROARRRRRRRRRRRRRRRRR");
    let good = [
        ("apigateway.amazonaws.com", json!({ "Service": "apigateway.amazonaws.com" })),
        ("logs.us-east-1.amazonaws.com", json!({ "Service": "logs.us-east-1.amazonaws.com" })),
        ("arn:aws:iam::111122223333:root", json!({ "AWS": "arn:aws:iam::111122223333:root" })),
        ("arn:aws:iam::111122223333:user/a/b", json!({ "AWS": "arn:aws:iam::111122223333:user/a/b" })),
        ("arn:aws:iam::111122223333:role/r", json!({ "AWS": "arn:aws:iam::111122223333:role/r" })),
        ("*", json!("*")),
    ];
    for (at, (principal, stored)) in good.into_iter().enumerate() {
        let output =
            world.call("AddPermission", with(permission(&format!("s{at}")), json!({ "Principal": principal })));
        let statement: Value = serde_json::from_str(output["Statement"].as_str().expect("text")).expect("JSON");
        assert_eq!(statement["Principal"], stored);
    }
    let bad = [
        "amazonaws.com",
        ".amazonaws.com",
        "*.amazonaws.com",
        "a..amazonaws.com",
        "evil.com",
        "arn:aws:iam::111122223333:user/*",
        "arn:aws:iam::111122223333:group/g",
        "arn:aws:iam::*:root",
        "arn:aws:iam::111122223333:role/",
        "arn:aws:iam::111122223333:role/nobody",
        "arn:aws:iam::111122223333:user/b",
        "1111222233334",
    ];
    for principal in bad {
        let error = world.refused("AddPermission", with(permission("bad"), json!({ "Principal": principal })));
        let message = "The provided principal was invalid. Please check the principal and try again.";
        assert_eq!(error.message, message, "{principal}");
    }
}

#[test]
fn a_later_namesake_does_not_inherit_a_grant() {
    let mut world = World::with_function();
    world.identity(OTHER, "user", "/", "x", "AIDAFIRSTFIRSTFIRSTFI");
    let arn = format!("arn:aws:iam::{OTHER}:user/x");
    world.call("AddPermission", with(permission("s"), json!({ "Principal": arn, "SourceArn": null })));
    world.identity(OTHER, "user", "/", "x", "AIDASECONDSECONDSECON");
    let targets = world.targets("f");
    let (_, target) = targets.iter().find(|(key, _)| key.qualifier.is_empty()).expect("the function");
    let permitted = |id: &str| {
        let principal = Principal::Aws(AwsPrincipal {
            account: OTHER.parse().expect("an account"),
            arn: arn.clone(),
            role_arn: None,
            unique_id: Some(id.to_owned()),
        });
        permit(target, &principal, &target.function_arn, None, None).is_ok()
    };
    assert!(permitted("AIDAFIRSTFIRSTFIRSTFI"));
    assert!(!permitted("AIDASECONDSECONDSECON"));
    let shown = world.call("GetPolicy", json!({ "FunctionName": "f" }))["Policy"].to_string();
    assert!(shown.contains(&arn) && !shown.contains("AIDA"), "{shown}");
}

#[test]
fn policy_has_a_greatest_size() {
    let mut world = World::with_function();
    let mut added = 0;
    let error = loop {
        let source = format!("arn:aws:execute-api:us-east-1:{OTHER}:a1b2c3d4e5/authorizers/{}", "x".repeat(900));
        match world.attempt("AddPermission", with(permission(&format!("s{added:03}")), json!({ "SourceArn": source })))
        {
            Ok(_) => added += 1,
            Err(error) => break error,
        }
    };
    let size = world.call("GetPolicy", json!({ "FunctionName": "f" }))["Policy"].as_str().expect("text").len();
    assert!(size <= 20_480);
    assert_eq!((error.code.as_ref(), error.status), ("PolicyLengthExceededException", 400));
    // One more of the same, with its comma, is what did not fit.
    let one = (size - 53 - (added - 1)) / added;
    assert_eq!(error.message, format!("The final policy size ({}) is bigger than the limit (20480).", size + one + 1));
    assert!(body(&error).starts_with("{\"Type\":\"User\",\"message\":"));
}

#[test]
fn removal_has_its_own_texts() {
    let mut world = World::with_function();
    world.call("PublishVersion", json!({ "FunctionName": "f" }));
    world.call("AddPermission", permission("a"));
    for (input, message) in [
        (json!({ "FunctionName": "g" }), "No policy found for: arn:aws:lambda:us-east-1:444455556666:function:g"),
        (json!({ "FunctionName": "f:1" }), "No policy is associated with the given resource."),
        (json!({ "FunctionName": "f:$LATEST" }), "No policy is associated with the given resource."),
    ] {
        let error = world.refused("RemovePermission", with(json!({ "StatementId": "a" }), input));
        assert_eq!(error.message, message);
        assert_eq!(body(&error), json!({ "Type": "User", "Message": message }).to_string());
    }
    let error =
        world.refused("RemovePermission", json!({ "FunctionName": "f", "StatementId": "a", "RevisionId": "old" }));
    assert_eq!(error.status, 412);
}

/// Every member that makes a condition, and where it stands: "AddPermission", and its recorded statements.
#[test]
fn every_member_becomes_the_condition_aws_makes_of_it() {
    let mut world = World::with_function();
    let source = format!("arn:aws:execute-api:us-east-1:{OTHER}:a1b2c3d4e5/authorizers/abcdef");
    let all = json!({
        "SourceArn": source, "SourceAccount": OTHER, "PrincipalOrgID": "o-a1b2c3d4e5", "EventSourceToken": "t.1",
        "FunctionUrlAuthType": "AWS_IAM", "Action": "lambda:InvokeFunctionUrl",
    });
    for (given, condition) in [
        (json!({}), None),
        (json!({ "SourceArn": source }), Some(json!({ "ArnLike": { "AWS:SourceArn": source } }))),
        (json!({ "SourceAccount": OTHER }), Some(json!({ "StringEquals": { "AWS:SourceAccount": OTHER } }))),
        (
            json!({ "PrincipalOrgID": "o-a1b2c3d4e5" }),
            Some(json!({ "StringEquals": { "aws:PrincipalOrgID": "o-a1b2c3d4e5" } })),
        ),
        (json!({ "EventSourceToken": "t.1" }), Some(json!({ "StringEquals": { "lambda:EventSourceToken": "t.1" } }))),
        (
            json!({ "Action": "lambda:InvokeFunctionUrl", "FunctionUrlAuthType": "NONE" }),
            Some(json!({ "StringEquals": { "lambda:FunctionUrlAuthType": "NONE" } })),
        ),
        (json!({ "InvokedViaFunctionUrl": true }), Some(json!({ "Bool": { "lambda:InvokedViaFunctionUrl": "true" } }))),
        (
            all,
            Some(json!({
                "StringEquals": {
                    "AWS:SourceAccount": OTHER,
                    "lambda:EventSourceToken": "t.1",
                    "lambda:FunctionUrlAuthType": "AWS_IAM",
                    "aws:PrincipalOrgID": "o-a1b2c3d4e5",
                },
                "ArnLike": { "AWS:SourceArn": source },
            })),
        ),
    ] {
        let answer = world.call("AddPermission", with(permission("s"), given.clone()));
        let statement: Value = serde_json::from_str(answer["Statement"].as_str().expect("text")).expect("JSON");
        // Compared as texts: the order of members counts.
        let shown = statement.get("Condition").map(Value::to_string);
        assert_eq!(shown, condition.map(|condition| condition.to_string()), "{given}");
        world.call("RemovePermission", json!({ "FunctionName": "f", "StatementId": "s" }));
    }
}

#[test]
fn conditions_no_invocation_here_can_meet_admit_nobody() {
    let mut world = World::with_function();
    let gateway = Principal::Service("s3.amazonaws.com".into());
    for (given, admitted) in [
        (json!({}), true),
        (json!({ "SourceAccount": OTHER }), true),
        (json!({ "SourceAccount": OWNER }), false),
        (json!({ "PrincipalOrgID": "o-a1b2c3d4e5" }), false),
        (json!({ "EventSourceToken": "t" }), false),
        (json!({ "InvokedViaFunctionUrl": true }), false),
        (json!({ "Action": "lambda:InvokeFunctionUrl", "FunctionUrlAuthType": "NONE" }), false),
    ] {
        world.call("AddPermission", with(permission("s"), given.clone()));
        let targets = world.targets("f");
        let (_, target) = targets.iter().find(|(key, _)| key.qualifier.is_empty()).expect("the function");
        let verdict = permit(target, &gateway, ARN, Some("arn:aws:s3:::b"), Some(OTHER));
        assert_eq!(verdict.is_ok(), admitted, "{given}");
        world.call("RemovePermission", json!({ "FunctionName": "f", "StatementId": "s" }));
    }
    for given in [
        json!({ "InvokedViaFunctionUrl": true, "Action": "lambda:InvokeFunctionUrl" }),
        json!({ "InvokedViaFunctionUrl": false }),
    ] {
        let error = world.refused("AddPermission", with(permission("s"), given.clone()));
        assert_eq!((error.code.as_ref(), error.status), ("InvalidParameterValueException", 400), "{given}");
    }
}

/// The table of errors of the three operations, with the key each text stands under.
#[test]
fn errors_have_awss_status_code_text_and_key() {
    const STALE: &str = "The Revision Id provided does not match the latest Revision Id. Call the";
    let mut world = World::with_function();
    world.call("AddPermission", permission("a"));
    let named = |name: &str| json!({ "FunctionName": name });
    let stale = json!({ "RevisionId": "00000000-0000-0000-0000-000000000000" });
    let unknown = ARN.replace(":function:f", ":function:g");
    let (add, get, remove) = ("AddPermission", "GetPolicy", "RemovePermission");
    let missing = (404, "ResourceNotFoundException", "Message");
    let invalid = (400, "InvalidParameterValueException", "message");
    let precondition = (412, "PreconditionFailedException", "message");
    let other = json!({ "StatementId": "b", "Principal": "x" });
    for (operation, given, (status, code, key), text) in [
        (add, stale.clone(), precondition, format!("{STALE} GetPolicy API to")),
        (add, named("f:$LATEST"), invalid, "We currently do not support adding".to_owned()),
        (add, named("g"), missing, format!("Function not found: {unknown}")),
        (add, named("f:42"), missing, format!("Function not found: {ARN}:42")),
        (add, json!({ "Qualifier": "a$b" }), missing, format!("Function not found: {ARN}:a$b")),
        (add, named("f:live"), missing, format!("Cannot find alias arn: {ARN}:live")),
        (add, json!({}), (409, "ResourceConflictException", "message"), "The statement id (a) provided".to_owned()),
        (add, other, invalid, "The provided principal was invalid. Please".to_owned()),
        (get, named("g"), missing, "The resource you requested does not exist.".to_owned()),
        (get, named("f:42"), missing, "The resource you requested does not exist.".to_owned()),
        (remove, named("g"), missing, format!("No policy found for: {unknown}")),
        (remove, named("f:live"), missing, "No policy is associated with the given".to_owned()),
        (remove, json!({ "StatementId": "z" }), missing, "Statement z is not found in resource policy.".to_owned()),
        (remove, stale, precondition, format!("{STALE} GetFunction/GetAlias API to")),
    ] {
        let error = world.refused(operation, with(permission("a"), given.clone()));
        assert_eq!((error.status, error.code.as_ref()), (status, code), "{operation} {given}");
        assert!(error.message.starts_with(&text), "{operation} {given}: {}", error.message);
        assert_eq!(body(&error), json!({ "Type": "User", key: error.message }).to_string(), "{operation} {given}");
    }
}

/// Another account can never grant itself anything: its need has no resource policy to be allowed by.
#[test]
fn permissions_of_another_accounts_function_cannot_be_changed() {
    let mut world = World::with_function();
    let everyone = with(permission("all"), json!({ "Principal": "*", "Action": "lambda:*" }));
    world.call("AddPermission", everyone);
    for name in ["AddPermission", "RemovePermission"] {
        let input = with(permission("all"), json!({ "FunctionName": ARN }));
        let needs = world.needs_as(&root(OTHER), name, &input).expect("needs");
        assert_eq!(needs.len(), 1);
        assert_eq!(needs[0].action, format!("lambda:{name}"));
        assert_eq!(needs[0].resource, ARN);
        assert_eq!(needs[0].account, OWNER);
        assert_eq!(needs[0].resource_policy, None);
        let error = world.try_as(&root(OTHER), name, input).expect_err("refused even if it were allowed");
        assert_eq!((error.code.as_ref(), error.status), ("AccessDeniedException", 403));
    }
    // A name alone means the caller's own function of that name, which does not exist.
    let error = world.try_as(&root(OTHER), "AddPermission", permission("x")).expect_err("no such function");
    assert_eq!(error.message, "Function not found: arn:aws:lambda:us-east-1:111122223333:function:f");
}

#[test]
fn reading_a_policy_across_accounts_is_decided_by_that_policy() {
    let mut world = World::with_function();
    let grant = with(permission("read"), json!({ "Principal": OTHER, "Action": "lambda:GetPolicy" }));
    world.call("AddPermission", grant);
    let input = json!({ "FunctionName": ARN });
    let needs = world.needs_as(&root(OTHER), "GetPolicy", &input).expect("needs");
    assert_eq!((needs[0].account.as_str(), needs[0].resource.as_str()), (OWNER, ARN));
    let policy = world.call("GetPolicy", json!({ "FunctionName": "f" }));
    assert_eq!(policy["Policy"], needs[0].resource_policy.clone().expect("the policy"));
    assert_eq!(world.try_as(&root(OTHER), "GetPolicy", input).expect("as allowed"), policy);
    let needs =
        world.needs_as(&root(OTHER), "GetPolicy", &json!({ "FunctionName": format!("{ARN}:1") })).expect("needs");
    assert_eq!(needs[0].resource_policy, None, "another qualifier, another policy");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Whatever comes in, the answer is a statement that reads back as given, or an error.
    #[test]
    fn any_input_is_answered(
        sid in "\\PC{0,12}|[a-z]{1,5}",
        action in "\\PC{0,12}|lambda:[A-Za-z*]{1,8}|[*]",
        principal in "\\PC{0,20}|[a-z.]{1,12}\\.amazonaws\\.com|[0-9]{12}|arn:aws:iam::[0-9]{12}:(user|role)/[a-z]{1,4}",
        source in proptest::option::of("\\PC{0,30}|arn:aws:[a-z-]{1,6}:(us-east-1)?:([0-9]{12})?:\\PC{0,10}"),
        account in proptest::option::of("\\PC{0,14}|[0-9]{12}"),
        qualifier in proptest::option::of("\\PC{0,8}|live|1|[$]LATEST"),
        name in "f|f:live|f:1|\\PC{0,20}",
    ) {
        let mut world = World::with_function();
        world.call("PublishVersion", json!({ "FunctionName": "f" }));
        world.call("CreateAlias", json!({ "FunctionName": "f", "Name": "live", "FunctionVersion": "1" }));
        let input = json!({
            "FunctionName": name, "StatementId": sid, "Action": action, "Principal": principal,
            "SourceArn": source, "SourceAccount": account, "Qualifier": qualifier,
        });
        match world.attempt("AddPermission", input) {
            Ok(output) => {
                let statement: Value = serde_json::from_str(output["Statement"].as_str().expect("text")).expect("JSON");
                prop_assert_eq!(&statement["Sid"], &json!(sid));
                prop_assert_eq!(&statement["Condition"]["ArnLike"]["AWS:SourceArn"], &json!(source));
                for (_, target) in world.targets("f") {
                    if target.resource_policy.is_none() {
                        continue;
                    }
                    // What AddPermission accepts, the policy language accepts.
                    prop_assert!(statement["Resource"] == target.function_arn.as_str());
                }
                prop_assert!(world.targets("f").iter().any(|(_, target)| target.resource_policy.is_some()));
            }
            Err(error) => prop_assert!(error.is_client_fault(), "{:?}", error),
        }
    }
}
