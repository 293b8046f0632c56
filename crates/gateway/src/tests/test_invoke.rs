//! What a test of an authorizer or a method shows, and what it leaves alone.

use bytes::Bytes;
use lambda::invoke::{InvokeError, Invoker};
use serde_json::{Value, json};

use super::harness::{AUTHORIZER, ECHO, Reply, World, allow_all, authorizer, mock, proxy};
use crate::{Headers, Program, TestRequest, TestedAuthorizer};

const LAMBDA: &str = "arn:aws:lambda:us-east-1:444455556666:function:LambdaAuthorizer";
const TEST_ARN: &str = "arn:aws:execute-api:us-east-1:111122223333:a1b2c3d4e5/ESTestInvoke-stage/GET/";

/// An API that is not deployed, whose one method an authorizer guards.
fn world(kind: &str, source: Option<&str>) -> World {
    let mut world = World::new();
    world.stage.stage_name = "test-invoke-stage".to_owned();
    world.snapshot.authorizers.push(authorizer(kind, source, Some(300)));
    world.method("GET", "/", "CUSTOM", mock("{}"));
    world.last_method().method_integration = None;
    world.functions.reply(Some(Reply::Returns(allow_all())));
    world
}

fn request(path: &str, headers: &[(&str, &str)], body: &str) -> TestRequest {
    let mut all = Headers::default();
    headers.iter().for_each(|(name, value)| all.push(name, value.as_bytes()));
    TestRequest {
        verb: http::Method::GET,
        path_with_query: path.to_owned(),
        headers: all,
        body: Bytes::copy_from_slice(body.as_bytes()),
        client: "203.0.113.10".parse().unwrap(),
    }
}

async fn ask(world: &World, path: &str, headers: &[(&str, &str)]) -> TestedAuthorizer {
    let program = Program::compile(&world.snapshot, &world.stage).unwrap();
    world.gateway.test_authorizer(program, request(path, headers, "")).await
}

/// The lines without their moments.
fn lines(log: &str) -> Vec<&str> {
    log.lines().map(|line| line.split_once(" : ").map_or(line, |(_, line)| line)).collect()
}

#[tokio::test]
async fn an_authorizer_answers_its_policy_and_principal_with_status_0() {
    let world = world("TOKEN", Some("method.request.header.Authorization"));
    world.permit(LAMBDA);
    let tested = ask(&world, "/", &[("Authorization", "secret-of-the-caller")]).await;
    assert_eq!((tested.client_status, tested.principal_id.as_deref()), (0, Some("user")));
    let policy: Value = serde_json::from_str(tested.policy.as_deref().unwrap()).unwrap();
    assert_eq!(policy, allow_all()["policyDocument"]);
    let event = world.functions.last_event(false).unwrap();
    assert_eq!(event, json!({"type": "TOKEN", "methodArn": TEST_ARN, "authorizationToken": "secret-of-the-caller"}));
    let (sent, _) = world.functions.events.lock().unwrap()[0].clone();
    let Invoker::ApiGateway { source_arn, .. } = sent.invoker else { panic!("a role") };
    assert_eq!(source_arn, format!("arn:aws:execute-api:us-east-1:111122223333:a1b2c3d4e5/authorizers/{AUTHORIZER}"));
    let log = lines(&tested.log);
    let id = log[0].strip_prefix("Execution log for request ").unwrap();
    for expected in [
        format!("Starting authorizer: {AUTHORIZER} for request: {id}"),
        "Incoming identity: **************caller".to_owned(),
        format!(
            "Endpoint request URI: https://lambda.us-east-1.amazonaws.com/2015-03-31/functions/{LAMBDA}/invocations"
        ),
        "Using valid authorizer policy for principal: ****".to_owned(),
        "Successfully completed authorizer execution".to_owned(),
    ] {
        assert!(log.contains(&expected.as_str()), "{expected} in {log:#?}");
    }
    assert!(log.iter().any(|line| line.starts_with("Authorizer result body before parsing: {")));
    assert!(!tested.log.contains("secret"), "{}", tested.log);
    assert!(tested.log.contains("\nTue Nov 25 02:26:54 UTC 2025 : Starting authorizer"), "{}", tested.log);
    assert!(tested.log.ends_with('\n'));
}

#[tokio::test]
async fn a_denying_policy_is_shown_and_judges_nothing() {
    let world = world("TOKEN", Some("method.request.header.Authorization"));
    world.permit(LAMBDA);
    let mut deny = allow_all();
    deny["policyDocument"]["Statement"][0]["Effect"] = "Deny".into();
    world.functions.reply(Some(Reply::Returns(deny)));
    let tested = ask(&world, "/", &[("Authorization", "t")]).await;
    assert_eq!(tested.client_status, 0);
    assert!(tested.policy.unwrap().contains(r#""Effect":"Deny""#));
}

#[tokio::test]
async fn failures_have_the_status_a_client_would_get_and_name_their_cause() {
    let mut world = world("TOKEN", Some("method.request.header.Authorization"));
    let token: &[(&str, &str)] = &[("Authorization", "t")];
    let cause = |tested: &TestedAuthorizer, expected: &str| {
        assert_eq!((tested.policy.as_ref(), tested.principal_id.as_ref()), (None, None));
        assert_eq!(tested.log.matches(expected).count(), 1, "{expected} in {}", tested.log);
    };
    let tested = ask(&world, "/", token).await;
    assert_eq!((tested.client_status, world.functions.runs()), (500, 0));
    cause(&tested, "Execution failed due to configuration error: Invalid permissions on Lambda function");
    world.permit(LAMBDA);
    let tested = ask(&world, "/", &[]).await;
    assert_eq!((tested.client_status, world.functions.runs()), (401, 0));
    cause(&tested, "Unauthorized request: ");
    world.snapshot.authorizers[0].identity_validation_expression = Some("Bearer .*".to_owned());
    assert_eq!((ask(&world, "/", token).await.client_status, world.functions.runs()), (401, 0));
    world.snapshot.authorizers[0].identity_validation_expression = None;
    world.functions.reply(Some(Reply::Throws(json!({"errorMessage": "Unauthorized"}))));
    assert_eq!(ask(&world, "/", token).await.client_status, 401);
    world.functions.reply(Some(Reply::Returns(json!({"statusCode": 200}))));
    let tested = ask(&world, "/", token).await;
    assert_eq!(tested.client_status, 500);
    cause(&tested, "Unrecognized field \"statusCode\"");
    world.functions.reply(Some(Reply::Fails(InvokeError::TimedOut)));
    assert_eq!(ask(&world, "/", token).await.client_status, 500);
    world.snapshot.authorizers[0].authorizer_uri = "arn:nothing".to_owned();
    let tested = ask(&world, "/", token).await;
    assert_eq!(tested.client_status, 500);
    cause(&tested, "is not the invocation URI of a function");
    let long = format!("/{}", "x".repeat(20_000));
    assert_eq!(ask(&world, &long, token).await.client_status, 414);
}

#[tokio::test]
async fn tests_neither_read_nor_fill_the_cache_and_leave_no_decision() {
    let mut world = world("TOKEN", Some("method.request.header.Authorization"));
    world.permit(LAMBDA);
    world.last_method().method_integration = Some(mock("{}"));
    world.stage.stage_name = super::harness::STAGE.to_owned();
    world.deploy();
    let token: &[(&str, &str)] = &[("Authorization", "t")];
    for runs in [1, 2] {
        assert_eq!(ask(&world, "/", token).await.client_status, 0);
        assert_eq!(world.functions.runs(), runs);
    }
    assert_eq!(world.get("/", token).await.status, 200);
    assert_eq!(world.functions.runs(), 3, "a client's first request found nothing cached");
    assert_eq!(world.get("/", token).await.status, 200);
    assert_eq!(ask(&world, "/", token).await.client_status, 0);
    assert_eq!(world.functions.runs(), 4, "the client's answer was cached, and the test did not take it");
    assert!(world.lines.0.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_request_authorizer_sees_query_variables_and_context_of_the_made_up_request() {
    let sources = "method.request.querystring.q, stageVariables.colour, context.identity.sourceIp";
    let mut world = world("REQUEST", Some(sources));
    world.permit(LAMBDA);
    assert_eq!(ask(&world, "/pets?q=1", &[]).await.client_status, 401, "the stage variable is missing");
    world.stage.variables.insert("colour".to_owned(), "green".to_owned());
    assert_eq!(ask(&world, "/pets?q=1", &[("X-Own", "a")]).await.client_status, 0);
    let event = world.functions.last_event(false).unwrap();
    assert_eq!(event["methodArn"], TEST_ARN);
    assert_eq!(
        (&event["resource"], &event["path"], &event["httpMethod"]),
        (&json!("/"), &json!("/pets"), &json!("GET"))
    );
    assert_eq!(event["queryStringParameters"], json!({"q": "1"}));
    assert_eq!(event["headers"]["X-Own"], "a");
    assert_eq!(event["stageVariables"], json!({"colour": "green"}));
    assert_eq!(event["requestContext"]["stage"], "test-invoke-stage");
    assert_eq!(event["requestContext"]["identity"]["sourceIp"], "203.0.113.10");
}

#[tokio::test]
async fn a_method_runs_its_templates_and_the_log_tells_every_step() {
    let mut world = World::new();
    world.stage.stage_name = "test-invoke-stage".to_owned();
    world.method("GET", "/pets/{petId}", "NONE", mock(r#"{"stage":"$context.stage"}"#));
    let program = || Program::compile(&world.snapshot, &world.stage).unwrap();
    let made_up = request("/pets/7?a=1", &[("X-Own", "b"), ("Authorization", "top-secret-token")], "hello");
    let tested = world.gateway.test_method(program(), made_up).await;
    assert_eq!(
        (tested.answer.status, tested.answer.body.as_ref()),
        (200, br#"{"stage":"test-invoke-stage"}"#.as_ref())
    );
    assert_eq!(tested.answer.headers, [("Content-Type".into(), "application/json".into())]);
    let log = lines(&tested.log);
    let id = log[0].strip_prefix("Execution log for request ").unwrap();
    assert_eq!(
        log[1..],
        [
            &format!("Starting execution for request: {id}"),
            "HTTP Method: GET, Resource Path: /pets/{petId}",
            "Method request path: {petId=7}",
            "Method request query string: {a=1}",
            "Method request headers: {X-Own=b, Authorization=**********-token}",
            "Method request body before transformations: hello",
            r#"Method response body after transformations: {"stage":"test-invoke-stage"}"#,
            "Method response headers: {Content-Type=application/json}",
            "Successfully completed execution",
            "Method completed with status: 200",
        ]
    );
    let elsewhere = world.gateway.test_method(program(), request("/other", &[], "")).await;
    assert_eq!(elsewhere.answer.status, 200);
    assert!(elsewhere.log.contains("Method request path: {}"), "{}", elsewhere.log);
}

#[tokio::test]
async fn an_integration_presents_the_tests_stage_and_needs_permission() {
    let mut world = World::new();
    world.stage.stage_name = "test-invoke-stage".to_owned();
    world.method("ANY", "/pets/{petId}", "NONE", proxy(ECHO));
    let program = || Program::compile(&world.snapshot, &world.stage).unwrap();
    let refused = world.gateway.test_method(program(), request("/pets/7", &[], "")).await;
    assert_eq!(refused.answer.status, 500);
    let log = lines(&refused.log);
    assert_eq!(
        log[log.len() - 2..],
        [
            "Execution failed due to configuration error: Invalid permissions on Lambda function",
            "Method completed with status: 500"
        ]
    );
    world.permit(ECHO);
    let tested =
        world.gateway.test_method(program(), request("/pets/7", &[("Authorization", "top-secret-token")], "b")).await;
    assert_eq!((tested.answer.status, tested.answer.body.as_ref()), (200, br#"{"ok":true}"#.as_ref()));
    let (sent, event) = world.functions.events.lock().unwrap()[0].clone();
    let Invoker::ApiGateway { source_arn, .. } = sent.invoker else { panic!("a role") };
    let place = "arn:aws:execute-api:us-east-1:111122223333:a1b2c3d4e5/test-invoke-stage/ANY/pets/{petId}";
    assert_eq!(source_arn, place);
    assert_eq!((&event["pathParameters"], &event["body"]), (&json!({"petId": "7"}), &json!("b")));
    assert_eq!(event["headers"]["Authorization"], "top-secret-token", "the function gets what the log hides");
    assert!(!tested.log.contains("top-secret"), "{}", tested.log);
    assert!(tested.log.contains("Received response. Status: 200, Integration latency: 0 ms"), "{}", tested.log);
}

#[tokio::test]
async fn a_method_that_is_not_open_is_not_opened_by_a_test() {
    let mut world = world("TOKEN", Some("method.request.header.Authorization"));
    world.last_method().method_integration = Some(mock("{}"));
    let program = Program::compile(&world.snapshot, &world.stage).unwrap();
    assert_eq!(world.gateway.test_method(program, request("/", &[], "")).await.answer.status, 401);
}
