use serde_json::{Value, json};

use crate::authorizer::tests::URI;
use crate::testing::{World, merge, patch};

const ROLE: &str = "arn:aws:iam::111111111111:role/path/invoke";

fn prepared(world: &mut World) -> Value {
    let (api, root) = world.api();
    let own = json!({"restApiId": api, "resourceId": root, "httpMethod": "GET"});
    world.ok("PutMethod", merge(&own, json!({"authorizationType": "NONE"})));
    own
}

fn bad(text: &str) -> String {
    format!("BadRequest 400 {text}")
}

fn unsupported(member: &str) -> String {
    format!("BadRequest 400 {member} is not supported by this version of Portcullis.")
}

#[test]
fn a_function_is_shown_with_the_defaults() {
    let mut world = World::new();
    let own = prepared(&mut world);
    let proxy = json!({"type": "AWS_PROXY", "integrationHttpMethod": "POST", "uri": URI});
    let answer = world.ok("PutIntegration", merge(&own, proxy));
    assert_eq!(
        answer,
        json!({
            "type": "AWS_PROXY", "httpMethod": "POST", "uri": URI, "passthroughBehavior": "WHEN_NO_MATCH",
            "timeoutInMillis": 29000, "cacheNamespace": own["resourceId"], "cacheKeyParameters": []
        })
    );
    assert_eq!(world.ok("GetIntegration", own), answer);
}

#[test]
fn members_that_say_what_holds_anyway_are_taken() {
    let mut world = World::new();
    let own = prepared(&mut world);
    let answer = world.ok(
        "PutIntegration",
        merge(
            &own,
            json!({
                "type": "MOCK", "connectionType": "INTERNET", "connectionId": "", "credentials": "",
                "requestParameters": {},
                "requestTemplates": {"application/json": "{\"statusCode\": 200}", "text/plain": null},
                "passthroughBehavior": "NEVER", "cacheNamespace": "c", "cacheKeyParameters": [],
                "contentHandling": "", "timeoutInMillis": 50, "tlsConfig": {"insecureSkipVerification": false},
                "responseTransferMode": "BUFFERED"
            }),
        ),
    );
    assert_eq!(
        answer,
        json!({
            "type": "MOCK", "requestTemplates": {"application/json": "{\"statusCode\": 200}", "text/plain": ""},
            "passthroughBehavior": "NEVER", "timeoutInMillis": 50, "cacheNamespace": "c", "cacheKeyParameters": []
        })
    );
}

#[test]
fn targets_that_cannot_be_called_are_refused() {
    let mut world = World::new();
    let own = prepared(&mut world);
    let proxy =
        |members: Value| merge(&json!({"type": "AWS_PROXY", "integrationHttpMethod": "POST", "uri": URI}), members);
    let arn = "arn:aws:apigateway:us-east-1";
    for (members, expected) in [
        (json!({"type": "AWS_PROXY", "uri": URI}), bad("Enumeration value for HttpMethod must be non-empty")),
        (
            proxy(json!({"integrationHttpMethod": "X"})),
            bad("Invalid HttpMethod specified. Valid options are GET,PUT,POST,DELETE,PATCH,OPTIONS,HEAD,ANY"),
        ),
        (proxy(json!({"uri": "http://x"})), bad("Invalid ARN specified in the request")),
        (
            proxy(json!({"uri": format!("{arn}:lambda:path/2015-03-31/functions/f/invocations")})),
            bad("Invalid ARN specified in the request"),
        ),
        (proxy(json!({"uri": format!("{arn}:lambda:x")})), bad("AWS ARN for integration must contain path or action")),
        (
            proxy(json!({"uri": format!("{arn}:sqs:path/x")})),
            bad("Integrations of type 'AWS_PROXY' currently only supports Lambda function and Firehose stream \
                 invocations."),
        ),
        (
            proxy(json!({"uri": format!("{arn}:firehose:action/PutRecord")})),
            unsupported("A Firehose stream as integration"),
        ),
        (proxy(json!({"type": "AWS"})), unsupported("Integration type AWS")),
        (
            proxy(json!({"type": "AWS", "uri": format!("{arn}:sqs:path/x")})),
            bad("Role ARN must be specified for AWS integrations"),
        ),
        (proxy(json!({"type": "HTTP"})), bad("Invalid HTTP endpoint specified for URI")),
        (proxy(json!({"type": "HTTP", "uri": "http://x"})), unsupported("Integration type HTTP")),
        (proxy(json!({"type": "HTTP_PROXY", "uri": "https://x"})), unsupported("Integration type HTTP_PROXY")),
    ] {
        world.refuses("PutIntegration", merge(&own, members), &expected);
    }
    let (code, _, message) = world.refused("PutIntegration", merge(&own, json!({"type": "X"})));
    assert_eq!(code, "Validation");
    assert!(message.contains("'putIntegrationInput.type'"), "{message}");
    world.refuses("GetIntegration", own, "NotFound 404 Invalid Integration identifier specified");
}

#[test]
fn members_that_nothing_enforces_are_refused() {
    let mut world = World::new();
    let own = prepared(&mut world);
    let mock = |members: Value| merge(&json!({"type": "MOCK"}), members);
    let template = |found: &str| {
        bad(&format!(
            "requestTemplates for application/json uses {found}, which is not supported by this version of \
             Portcullis: a \
             template may hold literal text, $context and $stageVariables until the template engine is there."
        ))
    };
    for (members, expected) in [
        (mock(json!({"timeoutInMillis": 49})), bad("Timeout should be between 50 ms and 29000 ms")),
        (mock(json!({"timeoutInMillis": 29001})), bad("Timeout should be between 50 ms and 29000 ms")),
        (
            mock(json!({"passthroughBehavior": "X"})),
            bad("Invalid passthroughBehavior specified. Valid options are WHEN_NO_MATCH,WHEN_NO_TEMPLATES,NEVER"),
        ),
        (mock(json!({"requestTemplates": {"application/json": "#set($a = 1)"}})), template("#set")),
        (mock(json!({"requestTemplates": {"application/json": "$input.body"}})), template("$input.body")),
        (
            mock(json!({"requestTemplates": {"json": "x"}})),
            bad("Validation Result: warnings : [], errors : [Invalid content type specified: json]"),
        ),
        (
            mock(json!({"requestTemplates": {"application/json": "x".repeat(300 * 1024 + 1)}})),
            bad("Invalid requestTemplates specified, can be at most 307200 bytes."),
        ),
        (mock(json!({"requestParameters": {"integration.request.header.X": "'1'"}})), unsupported("requestParameters")),
        (mock(json!({"contentHandling": "CONVERT_TO_TEXT"})), unsupported("contentHandling")),
        (mock(json!({"connectionType": "VPC_LINK"})), unsupported("connectionType VPC_LINK")),
        (mock(json!({"connectionId": "x"})), unsupported("connectionId")),
        (mock(json!({"cacheKeyParameters": ["x"]})), unsupported("cacheKeyParameters")),
        (mock(json!({"responseTransferMode": "STREAM"})), unsupported("responseTransferMode STREAM")),
        (
            mock(json!({"tlsConfig": {"insecureSkipVerification": true}})),
            unsupported("tlsConfig.insecureSkipVerification"),
        ),
    ] {
        world.refuses("PutIntegration", merge(&own, members), &expected);
    }
    world.refuses("GetIntegration", own, "NotFound 404 Invalid Integration identifier specified");
}

#[test]
fn a_role_is_the_callers_and_must_be_passed() {
    let mut world = World::new();
    let own = prepared(&mut world);
    let with = |role: &str| {
        merge(&own, json!({"type": "AWS_PROXY", "integrationHttpMethod": "POST", "uri": URI, "credentials": role}))
    };
    let needs = world.needs("PutIntegration", with(ROLE)).expect("needs");
    assert_eq!(needs.len(), 1);
    assert_eq!((needs[0].action.as_str(), needs[0].resource.as_str()), ("iam:PassRole", ROLE));
    assert_eq!(needs[0].context, [("iam:PassedToService".to_owned(), "apigateway.amazonaws.com".to_owned())]);
    let update = merge(&own, patch("replace", "/credentials", Some(ROLE)));
    assert_eq!(world.needs("UpdateIntegration", update.clone()).expect("needs"), needs);
    assert!(world.needs("PutIntegration", with("")).expect("needs").is_empty());

    assert_eq!(world.ok("PutIntegration", with(ROLE))["credentials"], ROLE);
    assert_eq!(world.ok("UpdateIntegration", update)["credentials"], ROLE);
    let cross = "AccessDenied 403 Cross-account pass role is not allowed.";
    let malformed = "BadRequest 400 Invalid ARN specified in the request";
    for (role, expected) in [
        ("arn:aws:iam::222222222222:role/x", cross.to_owned()),
        ("arn:aws:iam::111111111111:user/x", malformed.to_owned()),
        ("arn:aws:iam::111111111111:role/", malformed.to_owned()),
        ("arn:aws:iam::111111111111:role/*", malformed.to_owned()),
        ("role", malformed.to_owned()),
        ("arn:aws:iam::*:user/*", unsupported("credentials arn:aws:iam::*:user/*")),
        (
            "arn:aws:iam::111111111111:role/${stageVariables.r}",
            unsupported("credentials arn:aws:iam::111111111111:role/${stageVariables.r}"),
        ),
    ] {
        world.refuses("PutIntegration", with(role), &expected);
        let refusal = world.needs("PutIntegration", with(role)).expect_err("refused before any policy is asked");
        assert!(expected.ends_with(&refusal.message));
        world.refuses("UpdateIntegration", merge(&own, patch("replace", "/credentials", Some(role))), &expected);
    }
    let without = world.ok("UpdateIntegration", merge(&own, patch("replace", "/credentials", Some(""))));
    assert!(without.get("credentials").is_none());
}

#[test]
fn putting_again_drops_the_responses() {
    let mut world = World::new();
    let own = prepared(&mut world);
    let status = merge(&own, json!({"statusCode": "200"}));
    world.ok("PutMethodResponse", status.clone());
    world.ok("PutIntegration", merge(&own, json!({"type": "MOCK"})));
    world.ok("PutIntegrationResponse", status.clone());
    world.ok("PutIntegration", merge(&own, json!({"type": "MOCK"})));
    world.refuses("GetIntegrationResponse", status, "NotFound 404 Invalid Response status code specified");
    assert_eq!(world.ok("DeleteIntegration", own.clone()), json!({}));
    for name in ["GetIntegration", "DeleteIntegration", "UpdateIntegration"] {
        world.refuses(name, own.clone(), "NotFound 404 Invalid Integration identifier specified");
    }
}

#[test]
fn patches_change_what_they_name() {
    let mut world = World::new();
    let own = prepared(&mut world);
    world.ok("PutIntegration", merge(&own, json!({"type": "AWS_PROXY", "integrationHttpMethod": "POST", "uri": URI})));
    let other = URI.replace("Authorizer", "Other:live");
    for (op, path, value, member, expected) in [
        ("replace", "/uri", Some(other.as_str()), "/uri", json!(other)),
        ("replace", "/httpMethod", Some("GET"), "/httpMethod", json!("GET")),
        ("replace", "/passthroughBehavior", Some("NEVER"), "/passthroughBehavior", json!("NEVER")),
        ("replace", "/timeoutInMillis", Some("5000"), "/timeoutInMillis", json!(5000)),
        ("replace", "/cacheNamespace", Some("c"), "/cacheNamespace", json!("c")),
        ("add", "/requestTemplates/application~1json", Some("{}"), "/requestTemplates/application~1json", json!("{}")),
        (
            "replace",
            "/requestTemplates/application~1json",
            Some("[]"),
            "/requestTemplates/application~1json",
            json!("[]"),
        ),
        ("remove", "/requestTemplates/application~1json", None, "/requestTemplates", Value::Null),
        ("replace", "/connectionType", Some("INTERNET"), "/connectionType", Value::Null),
        ("replace", "/contentHandling", Some(""), "/contentHandling", Value::Null),
        ("replace", "/tlsConfig/insecureSkipVerification", Some("false"), "/tlsConfig", Value::Null),
    ] {
        let answer = world.ok("UpdateIntegration", merge(&own, patch(op, path, value)));
        assert_eq!(answer.pointer(member).cloned().unwrap_or_default(), expected, "{op} {path}");
        assert_eq!(world.ok("GetIntegration", own.clone()), answer);
    }
}

#[test]
fn bad_patches_are_refused() {
    let mut world = World::new();
    let own = prepared(&mut world);
    world.ok("PutIntegration", merge(&own, json!({"type": "AWS_PROXY", "integrationHttpMethod": "POST", "uri": URI})));
    for (op, path, value, expected) in [
        ("replace", "/type", Some("MOCK"), bad("Invalid patch path /type")),
        ("add", "/uri", Some("x"), bad("Invalid patch operation specified. Must be one of: [replace]")),
        ("replace", "/uri", Some("x"), bad("Invalid ARN specified in the request")),
        ("replace", "/httpMethod", None, bad("Enumeration value for HttpMethod must be non-empty")),
        ("replace", "/timeoutInMillis", Some("soon"), bad("Timeout should be between 50 ms and 29000 ms")),
        ("replace", "/connectionType", Some("VPC_LINK"), unsupported("connectionType")),
        ("replace", "/connectionId", Some("x"), unsupported("connectionId")),
        ("replace", "/contentHandling", Some("CONVERT_TO_TEXT"), unsupported("contentHandling")),
        ("replace", "/integrationTarget", Some("x"), unsupported("integrationTarget")),
        ("replace", "/responseTransferMode", Some("STREAM"), unsupported("responseTransferMode")),
        ("add", "/requestParameters/integration.request.header.X", Some("'1'"), unsupported("requestParameters")),
        ("add", "/cacheKeyParameters/x", None, unsupported("cacheKeyParameters")),
        (
            "replace",
            "/tlsConfig/insecureSkipVerification",
            Some("true"),
            unsupported("tlsConfig.insecureSkipVerification"),
        ),
        ("remove", "/requestParameters/x", None, "NotFound 404 Invalid parameter name specified".to_owned()),
        ("remove", "/requestTemplates/x", None, "NotFound 404 Content-Type specified was not found".to_owned()),
    ] {
        world.refuses("UpdateIntegration", merge(&own, patch(op, path, value)), &expected);
    }
    let (_, _, message) = world.refused(
        "UpdateIntegration",
        merge(&own, patch("add", "/requestTemplates/a~1b", Some("$util.urlEncode('x')"))),
    );
    assert!(message.contains("uses $util.urlEncode,"), "{message}");
}
