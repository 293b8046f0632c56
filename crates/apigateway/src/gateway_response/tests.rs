use serde_json::{Value, json};

use super::{Source, TYPES, header};
use crate::testing::{World, merge, patch, text};

fn own(world: &mut World, response_type: &str) -> Value {
    let (api, _) = world.api();
    json!({"restApiId": api, "responseType": response_type})
}

fn built_in(response_type: &str, status: &str) -> Value {
    json!({
        "responseType": response_type, "statusCode": status, "responseParameters": {},
        "responseTemplates": {"application/json": "{\"message\":$context.error.messageString}"},
        "defaultResponse": true
    })
}

#[test]
fn all_types_are_shown_as_built_in() {
    let mut world = World::new();
    let own = own(&mut world, "ACCESS_DENIED");
    assert_eq!(world.ok("GetGatewayResponse", own.clone()), built_in("ACCESS_DENIED", "403"));
    let all = world.ok("GetGatewayResponses", own);
    let items = all["items"].as_array().expect("a list");
    assert_eq!(items.len(), 21);
    for (item, (name, status)) in items.iter().zip(TYPES) {
        assert_eq!(item["responseType"], json!(name));
        assert_eq!(item.get("statusCode").and_then(Value::as_str), status);
        assert_eq!(item["defaultResponse"], json!(true));
    }
}

#[test]
fn a_customisation_keeps_the_built_in_values_it_leaves_out() {
    let mut world = World::new();
    let own = own(&mut world, "UNAUTHORIZED");
    let answer = world.ok("PutGatewayResponse", own.clone());
    assert_eq!(answer, merge(&built_in("UNAUTHORIZED", "401"), json!({"defaultResponse": false})));
    let full = json!({
        "statusCode": "418",
        "responseParameters": {
            "gatewayresponse.header.X-Why": "context.error.responseType",
            "gatewayresponse.header.X-Query": "method.request.querystring.a"
        },
        "responseTemplates": {"application/xml": "<m>$context.error.message #set is text</m>"}
    });
    let answer = world.ok("PutGatewayResponse", merge(&own, full.clone()));
    assert_eq!(answer, merge(&full, json!({"responseType": "UNAUTHORIZED", "defaultResponse": false})));
    assert_eq!(world.ok("GetGatewayResponse", own.clone()), answer);
    assert_eq!(world.ok("DeleteGatewayResponse", own.clone()), json!({}));
    assert_eq!(world.ok("GetGatewayResponse", own.clone()), built_in("UNAUTHORIZED", "401"));
    world.refuses("DeleteGatewayResponse", own, "NotFound 404 Gateway response type not defined on api");
}

#[test]
fn types_without_one_of_their_own_show_that_of_their_class() {
    let mut world = World::new();
    let own = own(&mut world, "DEFAULT_4XX");
    let named = |name: &str| merge(&own, json!({"responseType": name}));
    let sent = json!({
        "statusCode": "400", "responseParameters": {"gatewayresponse.header.X": "'a'"},
        "responseTemplates": {"application/json": "{}"}
    });
    world.ok("PutGatewayResponse", merge(&own, sent.clone()));
    world.ok("PutGatewayResponse", named("THROTTLED"));
    let inherited = merge(&sent, json!({"responseType": "ACCESS_DENIED", "defaultResponse": true}));
    assert_eq!(world.ok("GetGatewayResponse", named("ACCESS_DENIED")), inherited);
    let throttled = merge(&built_in("THROTTLED", "429"), json!({"defaultResponse": false}));
    assert_eq!(world.ok("GetGatewayResponse", named("THROTTLED")), throttled);
    let failure = built_in("INTEGRATION_FAILURE", "504");
    assert_eq!(world.ok("GetGatewayResponse", named("INTEGRATION_FAILURE")), failure);
}

#[test]
fn patches_change_what_they_name() {
    let mut world = World::new();
    let own = own(&mut world, "ACCESS_DENIED");
    for (op, path, value, pointer, expected) in [
        ("replace", "/statusCode", Some("404"), "/statusCode", json!("404")),
        ("replace", "/statusCode", Some(""), "/statusCode", json!("403")),
        (
            "add",
            "/responseParameters/gatewayresponse.header.A",
            Some("'x'"),
            "/responseParameters",
            json!({"gatewayresponse.header.A": "'x'"}),
        ),
        ("remove", "/responseParameters/gatewayresponse.header.A", None, "/responseParameters", json!({})),
        (
            "replace",
            "/responseTemplates/application~1json",
            Some("{}"),
            "/responseTemplates",
            json!({"application/json": "{}"}),
        ),
    ] {
        let answer = world.ok("UpdateGatewayResponse", merge(&own, patch(op, path, value)));
        assert_eq!(answer.pointer(pointer), Some(&expected), "{op} {path}");
        assert_eq!(answer["defaultResponse"], json!(false));
        assert_eq!(world.ok("GetGatewayResponse", own.clone()), answer);
    }
}

#[test]
fn what_is_not_understood_is_refused_and_changes_nothing() {
    let mut world = World::new();
    let own = own(&mut world, "ACCESS_DENIED");
    let invalid = |expression: &str| {
        format!(
            "BadRequest 400 Invalid mapping expression specified: Validation Result: warnings : [], errors : [Invalid \
             mapping expression specified: {expression}]"
        )
    };
    for (op, path, value, expected) in [
        ("replace", "/statusCode", "199", "BadRequest 400 Invalid statusCode specified: 199".to_owned()),
        (
            "replace",
            "/statusCode",
            "600",
            "Validation 400 1 validation error detected: Value '600' at 'statusCode' failed to satisfy constraint: \
             Member must satisfy regular expression pattern: [1-5]\\d\\d"
                .to_owned(),
        ),
        (
            "add",
            "/responseParameters/method.response.header.A",
            "'x'",
            "BadRequest 400 Invalid mapping expression parameter specified: method.response.header.A".to_owned(),
        ),
        ("add", "/responseParameters/gatewayresponse.header.A", "x", invalid("x")),
        (
            "add",
            "/responseParameters/gatewayresponse.header.A",
            "integration.response.header.x",
            invalid("integration.response.header.x"),
        ),
        (
            "add",
            "/responseParameters/gatewayresponse.header.A",
            "",
            "BadRequest 400 Invalid null or empty value in responseParameters".to_owned(),
        ),
        (
            "add",
            "/responseTemplates/x",
            "",
            "BadRequest 400 Validation Result: warnings : [], errors : [Invalid content type specified: x]".to_owned(),
        ),
        ("remove", "/responseParameters/a", "", "NotFound 404 Invalid parameter name specified".to_owned()),
        ("remove", "/responseTemplates/a", "", "NotFound 404 Content-Type specified was not found".to_owned()),
        ("replace", "/responseType", "x", "BadRequest 400 Invalid patch path /responseType".to_owned()),
    ] {
        world.refuses("UpdateGatewayResponse", merge(&own, patch(op, path, Some(value))), &expected);
    }
    assert_eq!(world.ok("GetGatewayResponse", own.clone())["defaultResponse"], json!(true));
    let (code, status, message) = world.refused("PutGatewayResponse", merge(&own, json!({"responseType": "X"})));
    assert_eq!((code.as_str(), status), ("Validation", 400));
    assert!(message.starts_with("1 validation error detected: Value 'X' at 'responseType'"), "{message}");
}

#[test]
fn deployments_freeze_them_and_the_api_takes_them_along() {
    let mut world = World::new();
    let (api, root) = world.api();
    world.mock(&api, &root, "GET");
    world.ok("PutGatewayResponse", json!({"restApiId": api, "responseType": "THROTTLED", "statusCode": "503"}));
    let deployment = text(&world.ok("CreateDeployment", json!({"restApiId": api})), "id");
    let stored: crate::deployment::Deployment = world.record(&world.scope(), &api, &deployment).expect("a deployment");
    let frozen = &world.blob(&stored.snapshot)["gatewayResponses"];
    assert_eq!(*frozen, json!([{"responseType": "THROTTLED", "statusCode": "503"}]));
    world.ok("DeleteRestApi", json!({"restApiId": api}));
    assert!(!world.keys().iter().any(|key| key.contains("GatewayResponse")));
}

#[test]
fn expressions_name_their_source() {
    let named = |name: &str| name.to_owned();
    for (expression, source) in [
        ("'a b'", Some(Source::Literal(named("a b")))),
        ("context.error.messageString", Some(Source::Context(named("error.messageString")))),
        ("stageVariables.a", Some(Source::StageVariable(named("a")))),
        ("method.request.header.Origin", Some(Source::Header(named("Origin")))),
        ("method.request.querystring.q", Some(Source::Query(named("q")))),
        ("method.request.path.id", Some(Source::Path(named("id")))),
        ("method.request.body", None),
        ("method.request.header.", None),
        ("integration.response.header.a", None),
        ("'a\nb'", None),
        ("", None),
    ] {
        assert_eq!(Source::parse(expression), source, "{expression}");
    }
    assert_eq!(header("gatewayresponse.header.X-A"), Some("X-A"));
    assert_eq!(header("gatewayresponse.header."), None);
    assert_eq!(header("gatewayresponse.header.a b"), None);
}
