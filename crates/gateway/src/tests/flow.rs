//! What a client and a function see of whole requests.

use std::{collections::BTreeMap, pin::pin};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use lambda::invoke::{InvokeError, Invoker, NotPermitted, RunError};
use serde_json::{Value, json};

use super::harness::{API, ECHO, HOST, Reply, STAGE, World, allow_all, authorizer, body, mock, proxy, request};
use crate::{Answer, Body, CompileError, Options, Program, ResponseType};

const LAMBDA: &str = "arn:aws:lambda:us-east-1:444455556666:function:LambdaAuthorizer";

fn refused(answer: &Answer) -> (u16, Option<&str>, Value) {
    (answer.status, answer.header("x-amzn-ErrorType"), body(answer))
}

/// `GET /` behind an authorizer that is permitted and allows everything.
fn guarded(kind: &str, source: Option<&str>, ttl: Option<u32>) -> World {
    let mut world = World::new();
    world.snapshot.authorizers.push(authorizer(kind, source, ttl));
    world.method("GET", "/", "CUSTOM", mock(r#"{"ok":true}"#));
    world.permit(LAMBDA);
    world.functions.reply(Some(Reply::Returns(allow_all())));
    world.deploy();
    world
}

fn open(integration: apigateway::integration::Integration) -> World {
    let mut world = World::new();
    world.method("ANY", "/", "NONE", integration);
    world.permit(ECHO);
    world.deploy();
    world
}

#[tokio::test]
async fn hosts_and_stages_that_serve_nothing_are_forbidden() {
    let world = open(mock("{}"));
    let expected = (403, Some("ForbiddenException"), json!({"message": "Forbidden"}));
    for (host, path) in [
        ("zzzzzzzzzz.execute-api.localhost", "/Dev"),
        ("no_id.execute-api.localhost", "/Dev"),
        (HOST, "/dev"),
        (HOST, "/other/x"),
        (HOST, "/"),
        ("localhost", "/_aws/execute-api/a1b2c3d4e5"),
    ] {
        let answer = world.gateway.handle(request("GET", host, path, &[])).await;
        assert_eq!(refused(&answer), expected, "{host} {path}");
        assert_eq!(answer.refusal, None);
    }
    for (host, path) in [
        (HOST, "/Dev"),
        (HOST, "/Dev/"),
        ("A1B2C3D4E5.execute-api.localhost:4566", "/Dev"),
        ("localhost:4566", "/_aws/execute-api/A1B2C3D4E5/Dev/"),
        ("localhost:4566", "/restapis/a1b2c3d4e5/Dev/_user_request_/"),
    ] {
        assert_eq!(world.gateway.handle(request("GET", host, path, &[])).await.status, 200, "{host} {path}");
    }
}

#[tokio::test]
async fn what_is_published_last_serves_and_what_is_withdrawn_does_not() {
    let mut world = open(mock("\"one\""));
    assert_eq!(body(&world.get("", &[]).await), "one");
    world.snapshot.methods.clear();
    world.method("GET", "/", "NONE", mock("\"two\""));
    world.deploy();
    assert_eq!(body(&world.get("", &[]).await), "two");
    world.stage.stage_name = "Prod".to_owned();
    world.deploy();
    world.gateway.unpublish(API, STAGE);
    world.gateway.unpublish("zzzzzzzzzz", STAGE);
    assert_eq!(world.get("", &[]).await.status, 403);
    assert_eq!(world.gateway.handle(request("GET", HOST, "/Prod", &[])).await.status, 200);
    world.gateway.unpublish_api(API);
    assert_eq!(world.gateway.handle(request("GET", HOST, "/Prod", &[])).await.status, 403);
    world.snapshot.rest_api.disable_execute_api_endpoint = true;
    world.deploy();
    assert_eq!(refused(&world.gateway.handle(request("GET", HOST, "/Prod", &[])).await).1, Some("ForbiddenException"));
}

#[tokio::test]
async fn a_stage_made_anew_finds_nothing_cached_for_the_old_one() {
    let world = guarded("TOKEN", Some("method.request.header.Auth"), None);
    world.get("", &[("Auth", "a")]).await;
    world.gateway.unpublish(API, STAGE);
    world.deploy();
    assert_eq!(world.get("", &[("Auth", "a")]).await.status, 200);
    assert_eq!(world.functions.runs(), 2);
}

#[tokio::test]
async fn requests_over_the_limits_are_refused_before_anything_runs() {
    let mut world = World::with(Options { body_bytes_max: 100, ..Options::default() });
    world.method("ANY", "/{any+}", "NONE", proxy(ECHO));
    world.permit(ECHO);
    world.deploy();
    let plain = |answer: &Answer| (answer.status, String::from_utf8(answer.body.to_vec()).unwrap());
    let too_long = (413, "HTTP content length exceeded 100 bytes.".to_owned());
    let announced = world.get("/x", &[("content-length", "101")]).await;
    assert_eq!(plain(&announced), too_long);
    assert_eq!(announced.refusal, Some(ResponseType::RequestTooLarge));
    for sent in [Body::Full(Bytes::from(vec![b'x'; 101])), stream(101)] {
        let mut arrived = request("POST", HOST, "/Dev/x", &[]);
        arrived.body = sent;
        assert_eq!(plain(&world.gateway.handle(arrived).await), too_long);
    }
    assert_eq!(world.functions.last_event(true), None);
    let mut arrived = request("POST", HOST, "/Dev/x", &[]);
    arrived.body = stream(100);
    assert_eq!(world.gateway.handle(arrived).await.status, 200);
    assert_eq!(world.functions.last_event(true).unwrap()["body"], "x".repeat(100));

    let long = "x".repeat(10_240);
    assert_eq!(plain(&world.get(&format!("/{long}"), &[]).await).1, r#"{"message":"Request URI too long"}"#);
    assert_eq!(world.get(&format!("/x?{long}"), &[]).await.status, 414);
    assert_eq!(world.get("/x", &[("a", &long)]).await.status, 431);
    assert_eq!(world.get(&format!("/x?{}", "y".repeat(9_000)), &[]).await.status, 200);
    world.snapshot.rest_api.endpoint_configuration.types = vec!["EDGE".to_owned()];
    world.deploy();
    assert_eq!(world.get(&format!("/x?{}", "y".repeat(9_000)), &[]).await.status, 414);
}

fn stream(bytes: usize) -> Body {
    Body::Stream(Full::new(Bytes::from(vec![b'x'; bytes])).map_err(|never| match never {}).boxed())
}

#[tokio::test]
async fn a_method_arn_over_1600_bytes_is_refused_where_there_is_authorization() {
    let mut world = guarded("REQUEST", None, Some(0));
    world.method("GET", "/{any+}", "CUSTOM", mock("{}"));
    world.method("GET", "/open/{any+}", "NONE", mock("{}"));
    world.deploy();
    let prefix = format!("arn:aws:execute-api:us-east-1:111122223333:{API}/{STAGE}/GET/").len();
    let path = |bytes: usize| format!("/{}", "x".repeat(bytes));
    assert_eq!(world.get(&path(1_600 - prefix), &[]).await.status, 200);
    assert_eq!(world.get(&path(1_601 - prefix), &[]).await.status, 414);
    assert_eq!(world.get(&format!("/open{}", path(2_000)), &[]).await.status, 200);
}

#[tokio::test]
async fn what_cannot_be_enforced_is_refused_and_never_open() {
    let broken = (500, Some("AuthorizerConfigurationException"), json!({"message": null}));
    let mut world = guarded("TOKEN", Some("method.request.header.Auth"), None);
    let auth = [("Auth", "a")];
    let spoil: [fn(&mut World); 8] = [
        |world| world.last_method().authorization_type = "COGNITO_USER_POOLS".to_owned(),
        |world| world.last_method().authorization_type = String::new(),
        |world| world.last_method().authorizer_id = Some("zzzzzz".to_owned()),
        |world| world.last_method().authorizer_id = None,
        |world| world.snapshot.authorizers[0].kind = "JWT".to_owned(),
        |world| world.snapshot.authorizers[0].identity_validation_expression = Some("(?!a)b".to_owned()),
        |world| world.snapshot.authorizers[0].authorizer_uri = "arn:aws:lambda:x".to_owned(),
        |world| world.snapshot.authorizers[0].identity_source = Some("method.request.path.id".to_owned()),
    ];
    let (method, record) = (world.snapshot.methods[0].clone(), world.snapshot.authorizers[0].clone());
    for (place, spoil) in spoil.into_iter().enumerate() {
        world.snapshot.methods[0] = method.clone();
        world.snapshot.authorizers[0] = record.clone();
        spoil(&mut world);
        world.deploy();
        assert_eq!(refused(&world.get("", &auth).await), broken, "{place}");
    }
    assert_eq!(world.functions.runs(), 0);
}

#[tokio::test]
async fn a_validation_expression_must_match_the_whole_token() {
    let mut world = guarded("TOKEN", Some("method.request.header.Auth"), Some(0));
    for (expression, token, status) in [
        ("a|ab", "ab", 200),
        ("a", "ab", 401),
        ("a", "ba", 401),
        ("^a$", "a", 200),
        ("a)|(?:b", "b", 500),
        (".*", "a", 200),
    ] {
        world.snapshot.authorizers[0].identity_validation_expression = Some(expression.to_owned());
        world.deploy();
        assert_eq!(world.get("", &[("auth", token)]).await.status, status, "{expression} {token}");
    }
}

#[tokio::test]
async fn a_function_that_gives_no_answer_is_a_configuration_error() {
    let world = guarded("TOKEN", Some("method.request.header.Auth"), None);
    for error in [
        InvokeError::NotPermitted(NotPermitted::because("Sid")),
        InvokeError::CannotAssumeRole("r".to_owned()),
        InvokeError::TimedOut,
        InvokeError::Run(RunError::TooLarge),
        InvokeError::Run(RunError::Throttled { reason: "ConcurrentInvocationLimitExceeded" }),
    ] {
        world.functions.reply(Some(Reply::Fails(error)));
        let answer = world.get("", &[("Auth", "a")]).await;
        assert_eq!(refused(&answer), (500, Some("AuthorizerConfigurationException"), json!({"message": null})));
        assert!(answer.causes.iter().any(|cause| cause.ends_with("Authorizer error")), "{:?}", answer.causes);
    }
    world.functions.reply(Some(Reply::Returns(allow_all())));
    assert_eq!(world.get("", &[("Auth", "a")]).await.status, 200, "nothing of that was kept");
}

#[tokio::test]
async fn requests_of_one_identity_share_one_call() {
    let world = guarded("TOKEN", Some("method.request.header.Auth"), None);
    world.functions.reply(Some(Reply::Held(allow_all())));
    let release = async {
        while world.functions.runs() == 0 {
            tokio::task::yield_now().await;
        }
        world.functions.release();
    };
    let (first, second, ()) = tokio::join!(world.get("", &[("Auth", "a")]), world.get("", &[("Auth", "a")]), release);
    assert_eq!((first.status, second.status, world.functions.runs()), (200, 200, 1));
}

#[tokio::test]
async fn a_request_under_way_keeps_the_program_it_started_with() {
    let mut world = guarded("TOKEN", Some("method.request.header.Auth"), None);
    world.functions.reply(Some(Reply::Held(allow_all())));
    let gateway = world.gateway.clone();
    let mut asked = pin!(gateway.handle(request("GET", HOST, "/Dev", &[("Auth", "a")])));
    tokio::select! {
        biased;
        _ = &mut asked => panic!("it was held"),
        () = tokio::task::yield_now() => {}
    }
    world.snapshot.methods.clear();
    world.method("GET", "/", "NONE", mock("\"new\""));
    world.deploy();
    world.functions.release();
    assert_eq!(body(&asked.await), json!({"ok": true}));
    assert_eq!(body(&world.get("", &[]).await), "new");
}

#[tokio::test]
async fn conditions_of_a_cached_policy_look_at_each_request() {
    let world = guarded("TOKEN", Some("method.request.header.Auth"), None);
    let mut policy = allow_all();
    policy["policyDocument"]["Statement"][0]["Condition"] = json!({"IpAddress": {"aws:SourceIp": "203.0.113.0/24"}});
    world.functions.reply(Some(Reply::Returns(policy)));
    assert_eq!(world.get("", &[("Auth", "a")]).await.status, 200);
    let mut elsewhere = request("GET", HOST, "/Dev", &[("Auth", "a")]);
    elsewhere.client = "192.0.2.1".parse().unwrap();
    assert_eq!(world.gateway.handle(elsewhere).await.status, 403);
    assert_eq!(world.functions.runs(), 1);
}

#[tokio::test]
async fn mock_answers_are_mapped_from_templates_and_declared_headers() {
    let mut world = guarded("TOKEN", Some("method.request.header.Auth"), None);
    let mut answer = allow_all();
    answer["context"] = json!({"tenant": "t-1", "break": "a\r\nb"});
    world.functions.reply(Some(Reply::Returns(answer)));
    world.stage.variables.insert("env".to_owned(), "prod".to_owned());
    let text = r#"{"p":"$context.authorizer.principalId","t":"$context.authorizer.tenant","e":"$stageVariables.env"}"#;
    let mut integration = mock(text);
    let response = integration.integration_responses.get_mut("200").unwrap();
    response.response_templates.insert("text/plain".to_owned(), Some("$context.resourcePath".to_owned()));
    response.response_templates.insert("text/empty".to_owned(), None);
    for (name, source) in [
        ("X-Literal", "'a b'"),
        ("X-Context", "context.authorizer.tenant"),
        ("X-Stage", "stageVariables.env"),
        ("X-Break", "context.authorizer.break"),
        ("X-Backend", "integration.response.header.x"),
        ("Server", "'mine'"),
        ("X-Undeclared", "'x'"),
    ] {
        response.response_parameters.insert(format!("method.response.header.{name}"), source.to_owned());
    }
    world.last_method().method_integration = Some(integration);
    let declared = ["X-Literal", "X-Context", "X-Stage", "X-Break", "X-Backend", "Server"];
    world.last_method().method_responses.get_mut("200").unwrap().response_parameters =
        declared.iter().map(|name| (format!("method.response.header.{name}"), false)).collect();
    world.deploy();

    let answer = world.get("", &[("Auth", "a")]).await;
    assert_eq!(body(&answer), json!({"p": "user", "t": "t-1", "e": "prod"}));
    let headers: BTreeMap<&str, &str> = answer.headers.iter().map(|(n, v)| (n.as_ref(), v.as_ref())).collect();
    let expected = BTreeMap::from([
        ("Content-Type", "application/json"),
        ("X-Literal", "a b"),
        ("X-Context", "t-1"),
        ("X-Stage", "prod"),
        ("x-amzn-Remapped-Server", "mine"),
        ("x-amzn-RequestId", "00000000-0000-4000-8000-000000000000"),
        ("x-amz-apigw-id", "AAAAAAAAAAAAAAA="),
    ]);
    assert_eq!(headers, expected);
    for (accept, media, text) in
        [("text/plain;q=0.5, application/json", "text/plain", "/"), ("TEXT/EMPTY", "text/empty", "")]
    {
        let answer = world.get("", &[("Auth", "a"), ("Accept", accept)]).await;
        assert_eq!(answer.header("content-type"), Some(media));
        assert_eq!(answer.body, text);
    }
}

#[tokio::test]
async fn mock_outcomes_choose_their_response_or_fail_as_aws_does() {
    let template = |integration: &mut apigateway::integration::Integration, text: &str| {
        integration.request_templates.insert("application/json".to_owned(), text.to_owned());
    };
    let internal = (500, Some("InternalServerErrorException"), json!({"message": "Internal server error"}));
    let mut integration = mock("\"default\"");
    let mut second = integration.integration_responses["200"].clone();
    second.status_code = "404".to_owned();
    second.selection_pattern = Some("4\\d".to_owned());
    second.response_templates.insert("application/json".to_owned(), Some("\"none\"".to_owned()));
    integration.integration_responses.insert("404".to_owned(), second);

    let mut world = open(integration.clone());
    template(&mut integration, "{statusCode: 404}");
    world.last_method().method_integration = Some(integration.clone());
    world.deploy();
    assert_eq!(body(&world.get("", &[]).await), "default", "a pattern matches the whole status");
    integration.integration_responses.get_mut("404").unwrap().selection_pattern = Some("4\\d\\d".to_owned());
    world.last_method().method_integration = Some(integration.clone());
    world.deploy();
    assert_eq!(refused(&world.get("", &[]).await), internal, "the method declares no 404");
    let declared = world.last_method().method_responses["200"].clone();
    world.last_method().method_responses.insert("404".to_owned(), declared);
    world.deploy();
    let answer = world.get("", &[]).await;
    assert_eq!((answer.status, body(&answer)), (404, json!("none")));

    for text in ["", "{}", "{\"statusCode\":\"x\"}", "$input.body"] {
        template(&mut integration, text);
        world.last_method().method_integration = Some(integration.clone());
        world.deploy();
        assert_eq!(refused(&world.get("", &[]).await), internal, "{text}");
    }
    template(&mut integration, "{statusCode: 200}");
    integration.integration_responses.clear();
    world.last_method().method_integration = Some(integration.clone());
    world.deploy();
    assert_eq!(refused(&world.get("", &[]).await), internal, "no response takes it");
    world.last_method().method_integration = None;
    world.deploy();
    assert_eq!(refused(&world.get("", &[]).await), internal, "no integration");
}

#[tokio::test]
async fn content_types_without_a_template_pass_or_are_refused() {
    let mut world = open(mock("\"ok\""));
    for (behaviour, templates, media, sent, status) in [
        ("WHEN_NO_MATCH", true, "application/json; charset=utf-8", "", 200),
        ("WHEN_NO_MATCH", true, "text/plain", "{\"statusCode\": 200}", 200),
        ("WHEN_NO_MATCH", true, "text/plain", "", 500),
        ("WHEN_NO_TEMPLATES", true, "text/plain", "{\"statusCode\": 200}", 415),
        ("WHEN_NO_TEMPLATES", false, "text/plain", "{\"statusCode\": 200}", 200),
        ("NEVER", false, "text/plain", "{\"statusCode\": 200}", 415),
        ("NEVER", true, "application/json", "", 200),
        ("SOMETIMES", true, "application/json", "", 500),
    ] {
        let mut integration = mock("\"ok\"");
        integration.passthrough_behavior = behaviour.to_owned();
        if !templates {
            integration.request_templates.clear();
        }
        world.last_method().method_integration = Some(integration);
        world.deploy();
        let mut arrived = request("POST", HOST, "/Dev", &[("Content-Type", media)]);
        arrived.body = Body::Full(Bytes::from_static(sent.as_bytes()));
        let answer = world.gateway.handle(arrived).await;
        assert_eq!(answer.status, status, "{behaviour} {templates} {media} {sent}");
    }
}

#[tokio::test]
async fn a_method_that_wants_a_key_admits_nobody() {
    let mut world = open(mock("{}"));
    world.last_method().api_key_required = true;
    world.deploy();
    let answer = world.get("", &[("x-api-key", "k")]).await;
    assert_eq!(refused(&answer), (403, Some("ForbiddenException"), json!({"message": "Forbidden"})));
    assert_eq!(answer.refusal, Some(ResponseType::InvalidApiKey));
}

#[tokio::test]
async fn functions_answer_whole_and_their_failures_are_502_500_and_504() {
    let world = open(proxy(ECHO));
    let failing = |status: u16, text: &str| (status, Some("InternalServerErrorException"), json!({"message": text}));
    let raw = |text: &str| Reply::Raw(Bytes::copy_from_slice(text.as_bytes()));
    for (reply, expected) in [
        (raw("\"x\""), failing(502, "Internal server error")),
        (Reply::Throws(json!({"errorMessage": "x"})), failing(502, "Internal server error")),
        (Reply::Fails(InvokeError::NotPermitted(NotPermitted::because(""))), failing(500, "Internal server error")),
        (Reply::Fails(InvokeError::CannotAssumeRole("r".into())), failing(500, "Internal server error")),
        (Reply::Fails(InvokeError::Run(RunError::TooLarge)), failing(500, "Internal server error")),
        (Reply::Fails(InvokeError::TimedOut), failing(504, "Endpoint request timed out")),
    ] {
        world.functions.reply(Some(reply));
        assert_eq!(refused(&world.get("", &[]).await), expected);
    }
    let text = r#"{"statusCode":201,"headers":{"X-A":"1","Date":"then","x-amzn-trace-id":"t"},"body":"<p>"}"#;
    world.functions.reply(Some(raw(text)));
    let answer = world.get("", &[]).await;
    let seen: Vec<(&str, &str)> = answer.headers.iter().map(|(n, v)| (n.as_ref(), v.as_ref())).collect();
    let expected = [
        ("Content-Type", "application/json"),
        ("X-A", "1"),
        ("x-amzn-Remapped-Date", "then"),
        ("x-amzn-RequestId", "00000000-0000-4000-8000-000000000000"),
        ("x-amz-apigw-id", "AAAAAAAAAAAAAAA="),
        ("X-Amzn-Trace-Id", "Root=1-692513ee-000000000000000000000000"),
    ];
    assert_eq!((answer.status, seen.as_slice(), answer.body.as_ref()), (201, expected.as_slice(), &b"<p>"[..]));
}

#[tokio::test]
async fn integrations_present_the_method_as_configured() {
    let mut world = open(proxy(ECHO));
    world.method("ANY", "/files/{proxy+}", "NONE", proxy(ECHO));
    world.method("GET", "/role", "NONE", proxy(ECHO));
    let role = "arn:aws:iam::111122223333:role/caller";
    world.last_method().method_integration.as_mut().unwrap().credentials = Some(role.to_owned());
    let trusts = json!({"trusts": ["apigateway.amazonaws.com"], "may_invoke": [ECHO]});
    world.functions.roles.lock().unwrap().insert("caller".to_owned(), trusts);
    world.deploy();
    for (path, expected) in [("", "ANY/"), ("/files/a/b", "ANY/files/{proxy+}"), ("/role", "")] {
        assert_eq!(world.get(path, &[]).await.status, 200);
        let events = world.functions.events.lock().unwrap();
        let (sent, _) = events.last().unwrap();
        let place = format!("arn:aws:execute-api:us-east-1:111122223333:{API}/{STAGE}/{expected}");
        let wanted = match path {
            "/role" => Invoker::Role { role_arn: role.to_owned(), source_account: "111122223333".to_owned() },
            _ => Invoker::ApiGateway { source_arn: place, source_account: "111122223333".to_owned() },
        };
        assert_eq!(sent.invoker, wanted);
        assert_eq!((sent.timeout_ms, sent.function_arn.as_str()), (29_000, ECHO));
    }
    world.functions.statements.lock().unwrap().clear();
    let answer = world.get("", &[]).await;
    assert_eq!(answer.status, 500);
    let cause = "Execution failed due to configuration error: Invalid permissions on Lambda function";
    assert_eq!(answer.causes, [cause]);
}

#[tokio::test]
async fn events_carry_the_paths_recorded_on_aws() {
    let mut world = World::new();
    world.stage.stage_name = "stage".to_owned();
    world.method("ANY", "/{proxy+}", "NONE", proxy(ECHO));
    world.permit(ECHO);
    world.deploy();
    for (sent, path, context, parameter) in [
        ("/stage/proxy-value", "/proxy-value", "/stage/proxy-value", "proxy-value"),
        ("/stage/proxy-value/", "/proxy-value/", "/stage/proxy-value/", "proxy-value"),
        (
            "/stage/proxy-value//double-slash",
            "/proxy-value//double-slash",
            "/stage/proxy-value//double-slash",
            "proxy-value//double-slash",
        ),
        ("//stage/proxy-value", "/proxy-value", "/stage/proxy-value", "proxy-value"),
        ("/stage//proxy-value", "/proxy-value", "/stage//proxy-value", "proxy-value"),
        (
            "/stage/user/test%2Balias@gmail.com",
            "/user/test%2Balias@gmail.com",
            "/stage/user/test%2Balias@gmail.com",
            "user/test%2Balias@gmail.com",
        ),
    ] {
        assert_eq!(world.gateway.handle(request("GET", HOST, sent, &[])).await.status, 200, "{sent}");
        let event = world.functions.last_event(true).unwrap();
        assert_eq!(event["path"], path);
        assert_eq!(event["requestContext"]["path"], context);
        assert_eq!(event["pathParameters"], json!({"proxy": parameter}));
    }
}

#[tokio::test]
async fn an_integration_event_is_whole() {
    let mut world = open(proxy(ECHO));
    world.last_method().operation_name = Some("GetRoot".to_owned());
    world.deploy();
    let mut arrived = request(
        "POST",
        HOST,
        "/Dev?a=1&b=x%20y&a=2",
        &[
            ("authorization", "x"),
            ("X-MiXed", "1"),
            ("x-mixed", "2"),
            ("Connection", "close"),
            ("X-Forwarded-For", "198.51.100.1"),
            ("X-Forwarded-Proto", "gopher"),
            ("X-Amzn-Trace-Id", "Root=1-5759e988-bd862e3fe1be46a994272793"),
        ],
    );
    arrived.body = Body::Full(Bytes::from_static(b"{\"b\":\"\xc3\xa9\"}"));
    world.gateway.handle(arrived).await;
    let mut expected = json!({
        "resource": "/", "path": "/", "httpMethod": "POST",
        "headers": {
            "Host": HOST, "Authorization": "x", "x-mixed": "2",
            "X-Amzn-Trace-Id": "Root=1-5759e988-bd862e3fe1be46a994272793",
            "X-Forwarded-For": "198.51.100.1, 203.0.113.10", "X-Forwarded-Port": "443", "X-Forwarded-Proto": "https"
        },
        "queryStringParameters": {"a": "2", "b": "x y"},
        "multiValueQueryStringParameters": {"a": ["1", "2"], "b": ["x y"]},
        "pathParameters": null, "stageVariables": null,
        "requestContext": {
            "resourceId": "rootrootid", "resourcePath": "/", "httpMethod": "POST", "operationName": "GetRoot",
            "extendedRequestId": "AAAAAAAAAAAAAAA=", "requestTime": "25/Nov/2025:02:26:54 +0000", "path": "/Dev",
            "accountId": "111122223333", "protocol": "HTTP/1.1", "stage": "Dev", "domainPrefix": "a1b2c3d4e5",
            "requestTimeEpoch": 1_764_037_614_007_i64, "requestId": "00000000-0000-4000-8000-000000000000",
            "identity": {
                "cognitoIdentityPoolId": null, "accountId": null, "cognitoIdentityId": null, "caller": null,
                "sourceIp": "203.0.113.10", "principalOrgId": null, "accessKey": null,
                "cognitoAuthenticationType": null, "cognitoAuthenticationProvider": null, "userArn": null,
                "userAgent": null, "user": null
            },
            "domainName": HOST, "deploymentId": "d1d1d1", "apiId": API
        },
        "body": "{\"b\":\"\u{e9}\"}", "isBase64Encoded": false
    });
    let multi: serde_json::Map<String, Value> =
        expected["headers"].as_object().unwrap().iter().map(|(n, v)| (n.clone(), json!([v]))).collect();
    expected["multiValueHeaders"] = multi.into();
    expected["multiValueHeaders"]["x-mixed"] = json!(["1", "2"]);
    assert_eq!(world.functions.last_event(true).unwrap(), expected);
    world.gateway.handle(request("GET", "localhost", "/_aws/execute-api/a1b2c3d4e5/Dev", &[])).await;
    let event = world.functions.last_event(true).unwrap();
    assert_eq!((&event["body"], &event["queryStringParameters"]), (&Value::Null, &Value::Null));
    assert_eq!(event["requestContext"]["domainName"], "a1b2c3d4e5.execute-api.us-east-1.localhost");
}

#[tokio::test]
async fn a_request_authorizers_event_has_empty_maps_and_no_body() {
    let mut world = guarded("REQUEST", None, Some(0));
    world.snapshot.rest_api.endpoint_configuration.types = vec!["EDGE".to_owned()];
    world.deploy();
    world.get("", &[("user-agent", "curl/8"), ("x-api-key", "k"), ("Via", "forged")]).await;
    let event = world.functions.last_event(false).unwrap();
    let names: Vec<&str> = event.as_object().unwrap().keys().map(String::as_str).collect();
    let expected = [
        "type",
        "methodArn",
        "resource",
        "path",
        "httpMethod",
        "headers",
        "multiValueHeaders",
        "queryStringParameters",
        "multiValueQueryStringParameters",
        "pathParameters",
        "stageVariables",
        "requestContext",
    ];
    assert_eq!(names, expected);
    for name in &expected[7..11] {
        assert_eq!(event[name], json!({}), "{name}");
    }
    assert_eq!(event["headers"]["user-agent"], "curl/8");
    assert_eq!(event["headers"]["CloudFront-Is-Desktop-Viewer"], "true");
    assert_eq!(event["multiValueHeaders"]["Via"], json!(["1.1 a1b2c3d4e5.cloudfront.net (CloudFront)"]));
    assert_eq!(event["requestContext"]["identity"]["apiKey"], "k");
    assert_eq!(event["requestContext"].get("authorizer"), None);
}

#[tokio::test]
async fn a_context_cannot_pass_for_the_principal() {
    let mut world = guarded("TOKEN", Some("method.request.header.Auth"), None);
    world.last_method().method_integration = Some(proxy(ECHO));
    world.permit(ECHO);
    world.deploy();
    let mut answer = allow_all();
    answer["context"] = json!({"principalId": "admin", "integrationLatency": "x", "k": "v"});
    world.functions.reply(Some(Reply::Returns(answer)));
    world.get("", &[("Auth", "a")]).await;
    let event = world.functions.last_event(true).unwrap();
    let expected = json!({"principalId": "user", "integrationLatency": 0, "k": "v"});
    assert_eq!(event["requestContext"]["authorizer"], expected);
}

#[tokio::test]
async fn an_override_of_the_method_counts_everywhere() {
    let mut world = guarded("REQUEST", None, Some(0));
    world.method("PUT", "/", "CUSTOM", mock("\"put\""));
    world.deploy();
    let overridden = [("X-HTTP-Method-Override", "PUT")];
    assert_eq!(body(&world.get("", &overridden).await), "put");
    let event = world.functions.last_event(false).unwrap();
    assert_eq!(event["httpMethod"], "PUT");
    assert!(event["methodArn"].as_str().unwrap().ends_with("/PUT/"));
    assert_eq!(world.get("", &[("X-HTTP-Method-Override", "put")]).await.status, 403);
}

#[test]
fn snapshots_that_cannot_be_served_do_not_compile() {
    let compile = |spoil: fn(&mut World)| {
        let mut world = World::new();
        world.method("GET", "/a/b", "NONE", mock("{}"));
        spoil(&mut world);
        Program::compile(&world.snapshot, &world.stage).err()
    };
    assert_eq!(compile(|_| {}), None);
    assert_eq!(compile(|world| world.snapshot.rest_api.id = "A_b".into()), Some(CompileError::ApiId("A_b".into())));
    assert_eq!(compile(|world| world.snapshot.resources.clear()), Some(CompileError::RootMissing));
    let stray = Some(CompileError::Resource("r00002".to_owned()));
    assert_eq!(compile(|world| world.snapshot.resources[2].parent_id = Some("none".into())), stray);
    assert_eq!(compile(|world| world.snapshot.resources[2].parent_id = Some("r00002".into())), stray);
    assert_eq!(compile(|world| world.snapshot.resources[2].parent_id = None), stray);
    assert_eq!(compile(|world| world.snapshot.resources[2].path_part = None), stray);
    let unplaced = Some(CompileError::Method("none".to_owned()));
    assert_eq!(compile(|world| world.last_method().resource_id = "none".into()), unplaced);
}

#[test]
fn handling_may_move_between_threads() {
    fn send<T: Send>(value: T) -> T {
        value
    }
    let world = open(mock("{}"));
    drop(send(world.gateway.handle(request("GET", HOST, "/Dev", &[]))));
}
