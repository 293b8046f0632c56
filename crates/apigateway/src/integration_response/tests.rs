use serde_json::{Value, json};

use crate::testing::{World, merge, patch};

/// A MOCK method that declares 200 with one header.
fn prepared(world: &mut World) -> Value {
    let (api, root) = world.api();
    world.mock(&api, &root, "GET");
    let own = json!({"restApiId": api, "resourceId": root, "httpMethod": "GET", "statusCode": "200"});
    world.ok("PutMethodResponse", merge(&own, json!({"responseParameters": {"method.response.header.X": true}})));
    own
}

#[test]
fn responses_show_what_was_put() {
    let mut world = World::new();
    let own = prepared(&mut world);
    assert_eq!(world.ok("PutIntegrationResponse", own.clone()), json!({"statusCode": "200"}));
    let members = json!({
        "selectionPattern": "2\\d\\d",
        "responseParameters": {"method.response.header.X": "'*'"},
        "responseTemplates": {"application/json": "{\"id\": \"$context.requestId\"}", "text/plain": "", "text/\
         html": null}
    });
    let response = world.ok("PutIntegrationResponse", merge(&own, members));
    assert_eq!(
        response,
        json!({
            "statusCode": "200", "selectionPattern": "2\\d\\d",
            "responseParameters": {"method.response.header.X": "'*'"},
            "responseTemplates": {"application/json": "{\"id\": \
             \"$context.requestId\"}", "text/plain": null, "text/html": null}
        })
    );
    assert_eq!(world.ok("GetIntegrationResponse", own.clone()), response);
    assert_eq!(world.ok("DeleteIntegrationResponse", own.clone()), json!({}));
    for name in ["GetIntegrationResponse", "DeleteIntegrationResponse", "UpdateIntegrationResponse"] {
        world.refuses(name, own.clone(), "NotFound 404 Invalid Response status code specified");
    }
}

#[test]
fn integration_and_method_response_come_first() {
    let mut world = World::new();
    let own = prepared(&mut world);
    let undeclared = merge(&own, json!({"statusCode": "500"}));
    world.refuses("PutIntegrationResponse", undeclared, "NotFound 404 Invalid Response status code specified");
    world.ok("DeleteIntegration", own.clone());
    for name in
        ["PutIntegrationResponse", "GetIntegrationResponse", "UpdateIntegrationResponse", "DeleteIntegrationResponse"]
    {
        world.refuses(name, own.clone(), "NotFound 404 Invalid Integration identifier specified");
    }
}

#[test]
fn what_cannot_be_put_is_refused() {
    let mut world = World::new();
    let own = prepared(&mut world);
    let x = |expression: &str| json!({"responseParameters": {"method.response.header.X": expression}});
    let invalid = |expression: &str| {
        format!(
            "Invalid mapping expression specified: Validation Result: warnings : [], errors : [Invalid mapping \
             expression specified: {expression}]"
        )
    };
    for (members, message) in [
        (x("plain"), invalid("plain")),
        (x("method.request.header.X"), invalid("method.request.header.X")),
        (x(""), "Invalid null or empty value in responseParameters".to_owned()),
        (
            json!({"responseParameters": {"method.response.header.X": null}}),
            "Invalid null or empty value in responseParameters".to_owned(),
        ),
        (
            x("integration.response.body.a"),
            "The responseParameters source integration.response.body.a is not supported by this version of \
             Portcullis."
                .to_owned(),
        ),
        (
            json!({"responseParameters": {"method.response.header.Undeclared": "'1'"}}),
            "Invalid mapping expression parameter specified: method.response.header.Undeclared".to_owned(),
        ),
        (
            json!({"responseParameters": {"header.X": "'1'"}}),
            "Invalid mapping expression parameter specified: header.X".to_owned(),
        ),
        (
            json!({"responseTemplates": {"123": "x"}}),
            "Validation Result: warnings : [], errors : [Invalid content type specified: 123]".to_owned(),
        ),
        (
            json!({"responseTemplates": {"application/json": "$input.json('$')"}}),
            "responseTemplates for application/json uses $input.json, which is not supported by this version of \
             Portcullis: a \
             template may hold literal text, $context and $stageVariables until the template engine is there."
                .to_owned(),
        ),
        (
            json!({"contentHandling": "CONVERT_TO_TEXT"}),
            "contentHandling is not supported by this version of Portcullis.".to_owned(),
        ),
        (
            json!({"selectionPattern": "(?=x)"}),
            "Invalid selectionPattern specified: it is no regular expression, or one that this version of Portcullis \
             does not support (look-around, back references, possessive quantifiers)."
                .to_owned(),
        ),
    ] {
        world.refuses("PutIntegrationResponse", merge(&own, members), &format!("BadRequest 400 {message}"));
    }
    world.refuses("GetIntegrationResponse", own, "NotFound 404 Invalid Response status code specified");
}

#[test]
fn patches_change_what_they_name() {
    let mut world = World::new();
    let own = prepared(&mut world);
    world.ok("PutIntegrationResponse", own.clone());
    for (op, path, value, member, expected) in [
        ("replace", "/selectionPattern", Some("5.."), "/selectionPattern", json!("5..")),
        ("replace", "/contentHandling", None, "/contentHandling", Value::Null),
        (
            "add",
            "/responseParameters/method.response.header.X",
            Some("'1'"),
            "/responseParameters/method.response.header.X",
            json!("'1'"),
        ),
        ("remove", "/responseParameters/method.response.header.X", None, "/responseParameters", Value::Null),
        (
            "add",
            "/responseTemplates/application~1json",
            Some("{}"),
            "/responseTemplates/application~1json",
            json!("{}"),
        ),
        (
            "replace",
            "/responseTemplates/application~1json",
            Some(""),
            "/responseTemplates/application~1json",
            Value::Null,
        ),
        ("remove", "/responseTemplates/application~1json", None, "/responseTemplates", Value::Null),
    ] {
        let answer = world.ok("UpdateIntegrationResponse", merge(&own, patch(op, path, value)));
        assert_eq!(answer.pointer(member).cloned().unwrap_or_default(), expected, "{op} {path}");
        assert_eq!(world.ok("GetIntegrationResponse", own.clone()), answer);
    }
    for (op, path, value, expected) in [
        ("replace", "/nothing", None, "BadRequest 400 Invalid patch path /nothing"),
        (
            "add",
            "/selectionPattern",
            None,
            "BadRequest 400 Invalid patch operation specified. Must be one of: [replace]",
        ),
        (
            "copy",
            "/responseTemplates/a~1b",
            None,
            "BadRequest 400 Invalid patch operation specified. Must be one of: [add, remove, replace]",
        ),
        (
            "add",
            "/responseParameters/method.response.header.X",
            None,
            "BadRequest 400 Invalid null or empty value in responseParameters",
        ),
        ("remove", "/responseParameters/x", None, "NotFound 404 Invalid parameter name specified"),
        ("remove", "/responseTemplates/x", None, "NotFound 404 Content-Type specified was not found"),
        (
            "replace",
            "/contentHandling",
            Some("CONVERT_TO_TEXT"),
            "BadRequest 400 contentHandling is not supported by this version of Portcullis.",
        ),
    ] {
        world.refuses("UpdateIntegrationResponse", merge(&own, patch(op, path, value)), expected);
    }
}
