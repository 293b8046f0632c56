use serde_json::{Value, json};

use crate::authorizer::tests::URI;
use crate::testing::{World, merge, patch, text};

const NO_AUTHORIZER: &str = "BadRequest 400 Invalid authorizer ID specified. Setting the authorization type to \
 CUSTOM or COGNITO_USER_POOLS requires a valid authorizer.";

/// An API with an authorizer: what names the method, and the authorizer's id.
fn prepared(world: &mut World) -> (Value, String) {
    let (api, root) = world.api();
    let authorizer = world.ok(
        "CreateAuthorizer",
        json!({
            "restApiId": api, "name": "a", "type": "TOKEN", "authorizerUri": URI,
            "identitySource": "method.request.header.A"
        }),
    );
    (json!({"restApiId": api, "resourceId": root, "httpMethod": "GET"}), text(&authorizer, "id"))
}

#[test]
fn methods_show_what_was_put() {
    let mut world = World::new();
    let (own, authorizer) = prepared(&mut world);
    let open = world.ok("PutMethod", merge(&own, json!({"authorizationType": "NONE"})));
    assert_eq!(open, json!({"httpMethod": "GET", "authorizationType": "NONE", "apiKeyRequired": false}));
    let closed = world.ok(
        "PutMethod",
        merge(
            &own,
            json!({
                "httpMethod": "ANY", "authorizationType": "CUSTOM", "authorizerId": authorizer, "apiKeyRequired": false,
                "operationName": "op", "requestParameters": {}, "requestModels": {}, "requestValidatorId": "",
                "authorizationScopes": []
            }),
        ),
    );
    assert_eq!(
        closed,
        json!({
            "httpMethod": "ANY", "authorizationType": "CUSTOM", "authorizerId": authorizer, "apiKeyRequired": false,
            "operationName": "op"
        })
    );
    assert_eq!(world.ok("GetMethod", merge(&own, json!({"httpMethod": "ANY"}))), closed);
}

#[test]
fn a_method_shows_its_integration_and_responses() {
    let mut world = World::new();
    let (api, root) = world.api();
    world.mock(&api, &root, "GET");
    let own = json!({"restApiId": api, "resourceId": root, "httpMethod": "GET"});
    let status = merge(&own, json!({"statusCode": "200"}));
    let response =
        world.ok("PutMethodResponse", merge(&status, json!({"responseModels": {"application/json": "Empty"}})));
    let mapped = world.ok("PutIntegrationResponse", status);
    assert_eq!(
        world.ok("GetMethod", own),
        json!({
            "httpMethod": "GET", "authorizationType": "NONE", "apiKeyRequired": false,
            "methodResponses": {"200": response},
            "methodIntegration": {
                "type": "MOCK", "requestTemplates": {"application/json": "{\"statusCode\": 200}"},
                "passthroughBehavior": "WHEN_NO_MATCH", "timeoutInMillis": 29000, "cacheNamespace": root,
                "cacheKeyParameters": [], "integrationResponses": {"200": mapped}
            }
        })
    );
}

#[test]
fn what_cannot_be_put_is_refused() {
    let mut world = World::new();
    let (own, authorizer) = prepared(&mut world);
    let unsupported = |member: &str| format!("BadRequest 400 {member} is not supported by this version of Portcullis.");
    for (members, expected) in [
        (
            json!({"httpMethod": "get"}),
            "BadRequest 400 Invalid HttpMethod specified. Valid options are GET,PUT,POST,DELETE,PATCH,OPTIONS,HEAD,ANY"
                .to_owned(),
        ),
        (json!({"resourceId": "x"}), "NotFound 404 Invalid Resource identifier specified".to_owned()),
        (json!({"authorizationType": "CUSTOM"}), NO_AUTHORIZER.to_owned()),
        (json!({"authorizationType": "CUSTOM", "authorizerId": "x"}), NO_AUTHORIZER.to_owned()),
        (json!({"authorizationType": "COGNITO_USER_POOLS", "authorizerId": "x"}), NO_AUTHORIZER.to_owned()),
        (
            json!({"authorizationType": "COGNITO_USER_POOLS", "authorizerId": authorizer}),
            unsupported("authorizationType COGNITO_USER_POOLS"),
        ),
        (json!({"authorizationType": "JWT"}), unsupported("authorizationType JWT")),
        (
            json!({"authorizationType": "none"}),
            "BadRequest 400 Invalid AuthorizationType specified. Valid options are \
             NONE,AWS_IAM,CUSTOM,COGNITO_USER_POOLS,JWT"
                .to_owned(),
        ),
        (json!({"requestParameters": {"method.request.path.x": true}}), unsupported("requestParameters")),
        (json!({"requestModels": {"application/json": "M"}}), unsupported("requestModels")),
        (json!({"requestValidatorId": "v"}), unsupported("requestValidatorId")),
        (json!({"authorizationScopes": ["s"]}), unsupported("authorizationScopes")),
    ] {
        world.refuses("PutMethod", merge(&merge(&own, json!({"authorizationType": "NONE"})), members), &expected);
    }
    world.refuses("GetMethod", own.clone(), "NotFound 404 Invalid Method identifier specified");
    world.ok("PutMethod", merge(&own, json!({"authorizationType": "NONE"})));
    let again = merge(&own, json!({"authorizationType": "NONE"}));
    world.refuses("PutMethod", again, "Conflict 409 Method already exists for this resource");
}

#[test]
fn type_and_authorizer_change_together_in_any_order() {
    let mut world = World::new();
    let (own, authorizer) = prepared(&mut world);
    world.ok("PutMethod", merge(&own, json!({"authorizationType": "NONE"})));
    let ignored = world.ok("UpdateMethod", merge(&own, patch("replace", "/authorizerId", Some(&authorizer))));
    assert!(ignored.get("authorizerId").is_none(), "ignored while the type is NONE");
    let alone = merge(&own, patch("replace", "/authorizationType", Some("CUSTOM")));
    world.refuses("UpdateMethod", alone, NO_AUTHORIZER);
    let steps = json!({"patchOperations": [
        {"op": "replace", "path": "/authorizationType", "value": "CUSTOM"},
        {"op": "replace", "path": "/authorizerId", "value": authorizer}
    ]});
    let closed = world.ok("UpdateMethod", merge(&own, steps));
    assert_eq!(closed["authorizerId"], json!(authorizer));
    let unknown = merge(&own, patch("replace", "/authorizerId", Some("x")));
    world.refuses("UpdateMethod", unknown, NO_AUTHORIZER);
    let open = world.ok("UpdateMethod", merge(&own, patch("replace", "/authorizationType", Some("NONE"))));
    assert_eq!(open, json!({"httpMethod": "GET", "authorizationType": "NONE", "apiKeyRequired": false}));
}

#[test]
fn patches_answer_by_path_and_operation() {
    let mut world = World::new();
    let (own, _) = prepared(&mut world);
    world.ok("PutMethod", merge(&own, json!({"authorizationType": "NONE"})));
    let named = world.ok("UpdateMethod", merge(&own, patch("replace", "/operationName", Some("op"))));
    assert_eq!(named["operationName"], "op");
    world.ok("UpdateMethod", merge(&own, patch("replace", "/apiKeyRequired", Some("false"))));
    world.ok("UpdateMethod", merge(&own, patch("replace", "/requestValidatorId", Some(""))));
    let unsupported = |member: &str| format!("BadRequest 400 {member} is not supported by this version of Portcullis.");
    for (op, path, value, expected) in [
        ("replace", "/nothing", "x", "BadRequest 400 Invalid patch path /nothing".to_owned()),
        (
            "add",
            "/operationName",
            "x",
            "BadRequest 400 Invalid patch operation specified. Must be one of: [replace]".to_owned(),
        ),
        ("replace", "/requestValidatorId", "v", unsupported("requestValidatorId")),
        ("add", "/requestParameters/method.request.header.X", "true", unsupported("requestParameters")),
        ("add", "/requestModels/application~1json", "M", unsupported("requestModels")),
        ("add", "/authorizationScopes", "s", unsupported("authorizationScopes")),
        ("remove", "/requestParameters/x", "", "NotFound 404 Invalid parameter name specified".to_owned()),
        ("remove", "/requestModels/x", "", "NotFound 404 Content-Type specified was not found".to_owned()),
        ("replace", "/authorizationType", "JWT", unsupported("authorizationType JWT")),
    ] {
        world.refuses("UpdateMethod", merge(&own, patch(op, path, Some(value))), &expected);
    }
}

#[test]
fn signed_calls_and_api_keys_may_be_asked_for() {
    let mut world = World::new();
    let (own, authorizer) = prepared(&mut world);
    let sent = json!({"authorizationType": "AWS_IAM", "authorizerId": authorizer, "apiKeyRequired": true});
    let answer = world.ok("PutMethod", merge(&own, sent));
    assert_eq!(answer, json!({"httpMethod": "GET", "authorizationType": "AWS_IAM", "apiKeyRequired": true}));
    let open = world.ok("UpdateMethod", merge(&own, patch("replace", "/authorizationType", Some("NONE"))));
    assert_eq!(open["apiKeyRequired"], json!(true));
    for (path, value, expected) in
        [("/apiKeyRequired", "false", json!(false)), ("/authorizationType", "AWS_IAM", json!("AWS_IAM"))]
    {
        let answer = world.ok("UpdateMethod", merge(&own, patch("replace", path, Some(value))));
        assert_eq!(answer.pointer(path), Some(&expected));
    }
}

#[test]
fn deleting_takes_the_integration_along() {
    let mut world = World::new();
    let (api, root) = world.api();
    world.mock(&api, &root, "GET");
    let own = json!({"restApiId": api, "resourceId": root, "httpMethod": "GET"});
    assert_eq!(world.ok("DeleteMethod", own.clone()), json!({}));
    for name in ["GetMethod", "DeleteMethod", "GetIntegration", "DeleteIntegration"] {
        world.refuses(name, own.clone(), "NotFound 404 Invalid Method identifier specified");
    }
    world.ok("PutMethod", merge(&own, json!({"authorizationType": "NONE"})));
    world.refuses("GetIntegration", own, "NotFound 404 Invalid Integration identifier specified");
}
