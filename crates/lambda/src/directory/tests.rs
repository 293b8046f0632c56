use policy::{AwsPrincipal, Principal};
use serde_json::{Value, json};

use super::*;
use crate::harness::{OTHER, OWNER, REGION, World, create, with};

const ARN: &str = "arn:aws:lambda:us-east-1:444455556666:function:LambdaAuthorizer";
const API: &str = "arn:aws:execute-api:us-east-1:111122223333:a1b2c3d4e5";

fn gateway() -> Principal {
    Principal::Service("apigateway.amazonaws.com".to_owned())
}

/// The function of the corpus: version 1 behind alias `live`.
fn world() -> World {
    let mut world = World::new();
    world.call("CreateFunction", create("LambdaAuthorizer"));
    world.call("PublishVersion", json!({ "FunctionName": "LambdaAuthorizer" }));
    world.call("CreateAlias", json!({ "FunctionName": "LambdaAuthorizer", "Name": "live", "FunctionVersion": "1" }));
    world
}

fn grant(world: &mut World, members: Value) {
    let base = json!({
        "FunctionName": "LambdaAuthorizer", "StatementId": "s", "Action": "lambda:InvokeFunction",
        "Principal": "apigateway.amazonaws.com",
    });
    world.call("AddPermission", with(base, members));
}

fn find(world: &mut World, function_arn: &str) -> Option<Target> {
    let key = QualifierKey::parse(function_arn)?;
    world.targets("LambdaAuthorizer").into_iter().find(|(found, _)| *found == key).map(|(_, target)| target)
}

fn permitted(world: &mut World, function_arn: &str, source_arn: &str) -> bool {
    let target = find(world, function_arn).expect("a target");
    permit(&target, &gateway(), function_arn, Some(source_arn), Some(OTHER)).is_ok()
}

/// The gateway cases of group `permission`: whether the authorizer function may be invoked.
#[test]
fn corpus_of_permissions_is_decided_as_documented() {
    let cases: Vec<Value> =
        serde_json::from_str(include_str!("../../testdata/authorizers/permission.json")).expect("the corpus is a list");
    assert_eq!(cases.len(), 22);
    let fill = |text: &str| {
        let pairs = [
            ("${API_ARN}", API),
            ("${REGION}", REGION),
            ("${API_ACCOUNT}", OTHER),
            ("${FN_ACCOUNT}", OWNER),
            ("${API_ID}", "a1b2c3d4e5"),
            ("${AUTHORIZER_ID}", "9vb60i"),
            ("${STAGE}", "Dev"),
            ("${FN_ARN}", ARN),
        ];
        pairs.iter().fold(text.to_owned(), |text, (name, value)| text.replace(name, value))
    };
    let mut decided = 0;
    for case in cases {
        // Through a role it is the role's identity policy that decides in one account.
        if case["authorizer"].get("authorizerCredentials").is_some() {
            continue;
        }
        let mut world = world();
        let permission: Value = serde_json::from_str(&fill(&case["permission"].to_string())).expect("JSON");
        match permission.get("statements").and_then(Value::as_array) {
            Some(statements) => statements.iter().for_each(|statement| grant(&mut world, statement.clone())),
            None if permission.is_null() => {}
            None => grant(&mut world, permission),
        }
        let uri = fill(case["authorizer"]["authorizerUri"].as_str().expect("a URI"));
        let function_arn = uri.split_once("functions/").and_then(|(_, rest)| rest.strip_suffix("/invocations"));
        let allowed = permitted(&mut world, function_arn.expect("a function"), &format!("{API}/authorizers/9vb60i"));
        assert_eq!(json!(allowed), case["expect"]["authorizer_invoked"], "{}", case["name"]);
        decided += 1;
    }
    assert_eq!(decided, 20);
}

#[test]
fn source_arns_match_as_the_table_says() {
    let authorizer = format!("{API}/authorizers/9vb60i");
    let method = format!("{API}/Dev/GET/pets");
    for (pattern, for_authorizer, for_method) in [
        ("/authorizers/9vb60i", true, false),
        ("/authorizers/*", true, false),
        ("/*", true, true),
        ("/*/*", true, true),
        ("/*/*/*", false, true),
        ("/Dev/*", false, true),
        ("/*/GET/pets", false, true),
        ("/authorizers/AUTHORIZER_ID", false, false),
    ] {
        let mut world = world();
        grant(&mut world, json!({ "SourceArn": format!("{API}{pattern}") }));
        assert_eq!(permitted(&mut world, ARN, &authorizer), for_authorizer, "{pattern} authorizer");
        assert_eq!(permitted(&mut world, ARN, &method), for_method, "{pattern} method");
    }
    for foreign in [
        "arn:aws:execute-api:us-east-1:999999999999:*",
        "arn:aws:execute-api:eu-west-1:111122223333:a1b2c3d4e5/authorizers/*",
    ] {
        let mut world = world();
        grant(&mut world, json!({ "SourceArn": foreign }));
        assert!(!permitted(&mut world, ARN, &authorizer) && !permitted(&mut world, ARN, &method), "{foreign}");
    }
}

#[test]
fn a_statement_counts_for_its_own_qualifier_only() {
    let source = format!("{API}/authorizers/9vb60i");
    let uris = ["", ":live", ":1", ":$LATEST"];
    for (granted, matching) in [(None, ""), (Some("live"), ":live"), (Some("1"), ":1")] {
        let mut world = world();
        grant(&mut world, granted.map_or(json!({}), |qualifier| json!({ "Qualifier": qualifier })));
        for uri in uris {
            let allowed = permitted(&mut world, &format!("{ARN}{uri}"), &source);
            assert_eq!(allowed, uri == matching, "granted on {granted:?}, URI {uri}");
        }
    }
}

#[test]
fn keys_that_are_not_presented_match_no_condition() {
    let mut world = world();
    grant(&mut world, json!({ "SourceAccount": OTHER, "PrincipalOrgID": "o-1234567890" }));
    assert!(!permitted(&mut world, ARN, &format!("{API}/authorizers/9vb60i")));
    let mut world = self::world();
    grant(&mut world, json!({ "SourceAccount": OTHER }));
    let target = find(&mut world, ARN).expect("a target");
    assert!(matches!(permit(&target, &gateway(), ARN, None, None), Err(Refusal::NotAllowed(Some(_)))));
    assert_eq!(permit(&target, &gateway(), ARN, None, Some(OTHER)), Ok(()));
    let role = Principal::Aws(AwsPrincipal {
        account: OTHER.parse().expect("an account"),
        arn: format!("arn:aws:sts::{OTHER}:assumed-role/r/s"),
        role_arn: Some(format!("arn:aws:iam::{OTHER}:role/r")),
        unique_id: None,
    });
    assert!(matches!(permit(&target, &role, ARN, None, Some(OTHER)), Err(Refusal::NotAllowed(Some(_)))));
}

#[test]
fn revisions_carry_what_an_environment_needs() {
    let mut world = world();
    let variables = json!({ "Variables": { "SECRET": "hunter2" } });
    let input =
        json!({ "FunctionName": "LambdaAuthorizer", "Environment": variables, "MemorySize": 256, "Timeout": 9 });
    world.call("UpdateFunctionConfiguration", input);
    world.call(
        "PutFunctionConcurrency",
        json!({ "FunctionName": "LambdaAuthorizer", "ReservedConcurrentExecutions": 7 }),
    );
    let latest = find(&mut world, ARN).expect("a target");
    let revision = &latest.revision;
    assert_eq!(latest.reserved_concurrency, Some(7));
    assert_eq!(latest.function_arn, ARN);
    assert_eq!(
        (revision.account.as_str(), revision.region.as_str(), revision.function.as_str()),
        (OWNER, REGION, "LambdaAuthorizer")
    );
    assert_eq!((revision.memory_mb, revision.timeout_s, revision.ephemeral_storage_mb), (256, 9, 512));
    assert_eq!(revision.version, "$LATEST");
    assert_eq!(revision.runtime, "nodejs6.10");
    assert_eq!(revision.environment["SECRET"], "hunter2");
    assert_eq!((revision.code_sha256.as_str(), revision.code_zip.to_str()), ("aa", Some("/blobs/aa")));
    // The published version is untouched, and its ARN says which it is.
    let published = find(&mut world, &format!("{ARN}:1")).expect("a target");
    assert_eq!((published.revision.version.as_str(), published.revision.memory_mb), ("1", 128));
    assert_eq!(find(&mut world, &format!("{ARN}:live")).expect("a target").revision, published.revision);
    assert_eq!(find(&mut world, &format!("{ARN}:2")).map(|target| target.function_arn), None);
}

#[test]
fn a_permission_keeps_environments_warm_and_a_change_does_not() {
    let mut world = world();
    let before = find(&mut world, ARN).expect("a target").revision;
    grant(&mut world, json!({}));
    world.call("UpdateFunctionConfiguration", json!({ "FunctionName": "LambdaAuthorizer", "Timeout": 3 }));
    assert_eq!(find(&mut world, ARN).expect("a target").revision, before);
    world.call("UpdateFunctionConfiguration", json!({ "FunctionName": "LambdaAuthorizer", "Timeout": 4 }));
    assert_ne!(find(&mut world, ARN).expect("a target").revision.revision_id, before.revision_id);
}

#[test]
fn a_weighted_alias_draws_between_two_versions() {
    let mut world = world();
    world.call("UpdateFunctionConfiguration", json!({ "FunctionName": "LambdaAuthorizer", "Timeout": 4 }));
    world.call("PublishVersion", json!({ "FunctionName": "LambdaAuthorizer" }));
    let routing = json!({ "AdditionalVersionWeights": { "2": 0.25 } });
    world.call("UpdateAlias", json!({ "FunctionName": "LambdaAuthorizer", "Name": "live", "RoutingConfig": routing }));
    let target = find(&mut world, &format!("{ARN}:live")).expect("a target");
    assert_eq!(target.draw(0.0).version, "2");
    assert_eq!(target.draw(0.2499).version, "2");
    assert_eq!(target.draw(0.25).version, "1");
    assert_eq!(target.draw(0.999).version, "1");
}

#[test]
fn only_whole_function_arns_are_looked_up() {
    let key = QualifierKey::parse(&format!("{ARN}:live")).expect("a key");
    assert_eq!((key.function.as_str(), key.qualifier.as_str()), ("LambdaAuthorizer", "live"));
    for bad in [
        "LambdaAuthorizer",
        "444455556666:function:f",
        "arn:aws:lambda:us-east-1:function:f",
        "arn:aws:lambda:us-east-1:444455556666:f",
        "arn:aws:lambda:us-east-1:444455556666:function:",
        "arn:aws:lambda:us-east-1:444455556666:function:f:",
        "arn:aws:lambda:us-east-1:444455556666:function:f:a:b",
        "arn:aws-cn:lambda:us-east-1:444455556666:function:f",
        " arn:aws:lambda:us-east-1:444455556666:function:f",
        "arn:aws:lambda:us-east-1:444455556666:function:f ",
    ] {
        assert_eq!(QualifierKey::parse(bad), None, "{bad}");
    }
}
