use serde_json::{Value, json};

use crate::testing::{World, merge, patch};

fn prepared(world: &mut World) -> Value {
    let (api, root) = world.api();
    world.mock(&api, &root, "GET");
    json!({"restApiId": api, "resourceId": root, "httpMethod": "GET", "statusCode": "200"})
}

#[test]
fn responses_show_what_was_put() {
    let mut world = World::new();
    let own = prepared(&mut world);
    assert_eq!(world.ok("PutMethodResponse", merge(&own, json!({"statusCode": "404"}))), json!({"statusCode": "404"}));
    let members = json!({
        "responseParameters": {"method.response.header.X": true, "method.response.header.Y": false},
        "responseModels": {"application/json": "Empty", "text/plain": "Error"}
    });
    let response = world.ok("PutMethodResponse", merge(&own, members.clone()));
    assert_eq!(response, merge(&json!({"statusCode": "200"}), members));
    assert_eq!(world.ok("GetMethodResponse", own.clone()), response);
    world.refuses("PutMethodResponse", own.clone(), "Conflict 409 Response already exists for this resource");
    assert_eq!(world.ok("DeleteMethodResponse", own.clone()), json!({}));
    for name in ["GetMethodResponse", "DeleteMethodResponse", "UpdateMethodResponse"] {
        world.refuses(name, own.clone(), "NotFound 404 Invalid Response status code specified");
    }
}

#[test]
fn what_cannot_be_declared_is_refused() {
    let mut world = World::new();
    let own = prepared(&mut world);
    for (members, expected) in [
        (
            json!({"responseModels": {"application/json": "Pet"}}),
            "BadRequest 400 Invalid model identifier specified: Pet",
        ),
        (
            json!({"responseModels": {"123": "Empty"}}),
            "BadRequest 400 Validation Result: warnings : [], errors : [Invalid content type specified: 123]",
        ),
        (
            json!({"responseParameters": {"method.response.body": true}}),
            "BadRequest 400 Invalid mapping expression parameter specified: method.response.body",
        ),
        (
            json!({"statusCode": "600"}),
            "Validation 400 1 validation error detected: Value '600' at 'statusCode' failed to satisfy constraint: \
             Member must satisfy regular expression pattern: [1-5]\\d\\d",
        ),
    ] {
        world.refuses("PutMethodResponse", merge(&own, members), expected);
    }
}

#[test]
fn patches_add_and_remove_entries() {
    let mut world = World::new();
    let own = prepared(&mut world);
    world.ok("PutMethodResponse", own.clone());
    let mut update = |op: &str, path: &str, value: Option<&str>| {
        world.ok("UpdateMethodResponse", merge(&own, patch(op, path, value)))
    };
    assert_eq!(
        update("add", "/responseParameters/method.response.header.X", Some("true"))["responseParameters"],
        json!({"method.response.header.X": true})
    );
    assert_eq!(
        update("replace", "/responseParameters/method.response.header.X", Some("no"))["responseParameters"],
        json!({"method.response.header.X": false})
    );
    assert_eq!(
        update("add", "/responseModels/application~1json", Some("Error"))["responseModels"],
        json!({"application/json": "Error"})
    );
    update("remove", "/responseModels/application~1json", None);
    let empty = update("remove", "/responseParameters/method.response.header.X", None);
    assert_eq!(empty, json!({"statusCode": "200"}));
    for (op, path, expected) in [
        ("remove", "/responseParameters/method.response.header.X", "NotFound 404 Invalid parameter name specified"),
        ("remove", "/responseModels/a~1b", "NotFound 404 Content-Type specified was not found"),
        ("add", "/nothing", "BadRequest 400 Invalid patch path /nothing"),
        (
            "copy",
            "/responseModels/a~1b",
            "BadRequest 400 Invalid patch operation specified. Must be one of: [add, remove, replace]",
        ),
        ("add", "/responseModels/a~1b", "BadRequest 400 Invalid model identifier specified: "),
    ] {
        world.refuses("UpdateMethodResponse", merge(&own, patch(op, path, None)), expected);
    }
}

#[test]
fn a_mapped_header_stays_declared() {
    let mut world = World::new();
    let own = prepared(&mut world);
    let header = "method.response.header.X";
    world.ok("PutMethodResponse", merge(&own, json!({"responseParameters": {header: true}})));
    world.ok("PutIntegrationResponse", merge(&own, json!({"responseParameters": {header: "'1'"}})));
    let removal = merge(&own, patch("remove", "/responseParameters/method.response.header.X", None));
    let expected = "BadRequest 400 Invalid mapping expression parameter specified: method.response.header.X";
    world.refuses("UpdateMethodResponse", removal, expected);
}
