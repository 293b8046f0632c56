use serde_json::{Value, json};
use service::Result;

use crate::authorizer::tests::URI;
use crate::test_invoke::{STAGE, Test, authorizer, method};
use crate::testing::{World, merge, text};

fn of_authorizer(world: &mut World, params: &Value) -> Result<Test> {
    let input = serde_json::from_value(params.clone()).expect("an input");
    world.with(|cx, tx| authorizer(input, cx, tx)).map(|(test, _)| test)
}

fn of_method(world: &mut World, params: &Value) -> Result<Test> {
    let input = serde_json::from_value(params.clone()).expect("an input");
    world.with(|cx, tx| method(input, cx, tx)).map(|(test, _)| test)
}

#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T>, expected: &str) {
    let error = result.expect_err("a refusal");
    assert_eq!(format!("{} {}", error.status, error.message), expected);
}

/// An API with an authorizer of that kind: the parameters that name both.
fn guarded(world: &mut World, kind: &str) -> Value {
    let (api, _) = world.api();
    let made = world.ok(
        "CreateAuthorizer",
        json!({"restApiId": api, "name": "a", "type": kind, "authorizerUri": URI,
               "identitySource": "method.request.header.Auth"}),
    );
    json!({"restApiId": api, "authorizerId": text(&made, "id")})
}

#[test]
fn an_authorizer_is_tried_on_a_get_of_the_root_without_a_deployment() {
    let mut world = World::new();
    let own = guarded(&mut world, "TOKEN");
    let call = merge(
        &own,
        json!({
            "headers": {"Auth": "one", "X": "y"}, "multiValueHeaders": {"auth": ["two", "three"]},
            "pathWithQueryString": "pets?q=1", "stageVariables": {"v": "1"}
        }),
    );
    let test = of_authorizer(&mut world, &call).expect("a test");
    let headers: Vec<_> = test.request.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(headers, [("X", "y"), ("auth", "two"), ("auth", "three")]);
    assert_eq!((test.request.verb.as_str(), test.request.path_with_query.as_str()), ("GET", "/pets?q=1"));
    assert_eq!((test.stage.stage_name.as_str(), test.stage.variables.len()), (STAGE, 1));
    assert_eq!((test.snapshot.authorizers.len(), test.snapshot.methods.len()), (1, 1));
    assert_eq!(test.snapshot.methods[0].authorization_type, "CUSTOM");
}

#[test]
fn context_is_for_request_authorizers_and_for_what_a_caller_brings() {
    let mut world = World::new();
    let own = guarded(&mut world, "REQUEST");
    let context = |name: &str, value: &str| merge(&own, json!({"additionalContext": {name: value}}));
    let test = of_authorizer(&mut world, &context("identity.sourceIp", "192.0.2.1")).expect("a test");
    assert_eq!(test.request.source_ip, Some("192.0.2.1".parse().expect("an address")));
    let test = of_authorizer(&mut world, &context("context.identity.userAgent", "me")).expect("a test");
    assert_eq!(test.request.headers, [("User-Agent".to_owned(), "me".to_owned())]);
    refused(of_authorizer(&mut world, &context("identity.sourceIp", "x")), "400 Invalid additionalContext specified");
    let text = "400 additionalContext accountId is not supported by this version of Portcullis.";
    refused(of_authorizer(&mut world, &context("accountId", "1")), text);
    let own = guarded(&mut world, "TOKEN");
    let text = "400 additionalContext of a TOKEN authorizer is not supported by this version of Portcullis.";
    refused(of_authorizer(&mut world, &merge(&own, json!({"additionalContext": {"a": "b"}}))), text);
}

#[test]
fn what_is_no_request_is_refused() {
    let mut world = World::new();
    let own = guarded(&mut world, "TOKEN");
    for (member, text) in [
        (json!({"headers": {"": "x"}}), "400 Invalid headers specified"),
        (json!({"headers": {"a b": "x"}}), "400 Invalid headers specified"),
        (json!({"headers": {"a": "x\r\ny: z"}}), "400 Invalid headers specified"),
        (json!({"multiValueHeaders": {"a": vec!["x"; 201]}}), "400 Invalid headers specified"),
        (json!({"pathWithQueryString": "/a b"}), "400 Invalid pathWithQueryString specified"),
        (json!({"pathWithQueryString": "/a\n"}), "400 Invalid pathWithQueryString specified"),
        (json!({"authorizerId": "nobody"}), "404 Invalid Authorizer identifier specified"),
        (json!({"restApiId": "nobody"}), "404 Invalid API identifier specified 111111111111:nobody"),
    ] {
        refused(of_authorizer(&mut world, &merge(&own, member)), text);
    }
    let variables = merge(&own, json!({"stageVariables": {"a-b": "x"}}));
    assert_eq!(of_authorizer(&mut world, &variables).expect_err("a refusal").status, 400);
}

#[test]
fn a_method_is_tried_without_its_authorization_key_and_policy() {
    let mut world = World::new();
    let (api, root) = world.api();
    let pets = world.ok("CreateResource", json!({"restApiId": api, "parentId": root, "pathPart": "pets"}));
    world.mock(&api, &root, "ANY");
    world.mock(&api, &text(&pets, "id"), "POST");
    let own = json!({"restApiId": api, "resourceId": root, "httpMethod": "ANY"});
    world.ok(
        "UpdateMethod",
        merge(
            &own,
            json!({"patchOperations": [
                {"op": "replace", "path": "/authorizationType", "value": "AWS_IAM"},
                {"op": "replace", "path": "/apiKeyRequired", "value": "true"}
            ]}),
        ),
    );
    for (verb, tried) in [("ANY", "GET"), ("PUT", "PUT")] {
        let test = of_method(&mut world, &merge(&own, json!({"httpMethod": verb, "body": "b"}))).expect("a test");
        assert_eq!((test.request.verb.as_str(), test.request.body.as_str()), (tried, "b"));
        let [method] = test.snapshot.methods.as_slice() else { panic!("one method") };
        assert_eq!((method.authorization_type.as_str(), method.api_key_required), ("NONE", false));
        assert_eq!((method.http_method.as_str(), test.snapshot.rest_api.policy), ("ANY", None));
    }
    let of_pets = merge(&own, json!({"resourceId": text(&pets, "id"), "httpMethod": "POST"}));
    assert_eq!(of_method(&mut world, &of_pets).expect("a test").request.path_with_query, "/pets");
    refused(
        of_method(&mut world, &merge(&of_pets, json!({"httpMethod": "GET"}))),
        "404 Invalid Method identifier specified",
    );
    refused(
        of_method(&mut world, &merge(&own, json!({"clientCertificateId": "abc"}))),
        "400 clientCertificateId is not supported by this version of Portcullis.",
    );
}
