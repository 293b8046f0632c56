use serde_json::json;

use crate::testing::{World, text};

#[test]
fn things_are_tagged_by_arn() {
    let mut world = World::new();
    let (api, root) = world.api();
    world.mock(&api, &root, "GET");
    world.ok("CreateDeployment", json!({"restApiId": api, "stageName": "Dev"}));
    let key = text(&world.ok("CreateApiKey", json!({})), "id");
    let plan = text(&world.ok("CreateUsagePlan", json!({"name": "p"})), "id");
    for path in [
        format!("/restapis/{api}"),
        format!("/restapis/{api}/stages/Dev"),
        format!("/apikeys/{key}"),
        format!("/usageplans/{plan}"),
    ] {
        let arn = format!("arn:aws:apigateway:us-east-1::{path}");
        assert_eq!(world.ok("GetTags", json!({"resourceArn": arn})), json!({"tags": {}}));
        assert_eq!(world.ok("TagResource", json!({"resourceArn": arn, "tags": {"a": "1", "b": "2"}})), json!({}));
        world.ok("TagResource", json!({"resourceArn": arn, "tags": {"b": "3"}}));
        assert_eq!(world.ok("GetTags", json!({"resourceArn": arn})), json!({"tags": {"a": "1", "b": "3"}}));
        assert_eq!(world.ok("UntagResource", json!({"resourceArn": arn, "tagKeys": ["a", "x"]})), json!({}));
        assert_eq!(world.ok("GetTags", json!({"resourceArn": arn})), json!({"tags": {"b": "3"}}));
    }
    assert_eq!(world.ok("GetApiKey", json!({"apiKey": key}))["tags"], json!({"b": "3"}));
    assert_eq!(world.ok("GetUsagePlan", json!({"usagePlanId": plan}))["tags"], json!({"b": "3"}));
    assert_eq!(world.ok("GetRestApi", json!({"restApiId": api}))["tags"], json!({"b": "3"}));
    assert_eq!(world.ok("GetStage", json!({"restApiId": api, "stageName": "Dev"}))["tags"], json!({"b": "3"}));
}

#[test]
fn arns_of_nothing_are_refused() {
    let mut world = World::new();
    let (api, _) = world.api();
    let invalid = "BadRequest 400 Invalid ARN specified in the request";
    for (arn, expected) in [
        (
            format!("arn:aws:apigateway:us-east-1::/restapis/{api}/stages/x"),
            "NotFound 404 Invalid stage identifier specified",
        ),
        (
            "arn:aws:apigateway:us-east-1::/restapis/x".to_owned(),
            "NotFound 404 Invalid API identifier specified 111111111111:x",
        ),
        ("arn:aws:apigateway:us-east-1::/apikeys/x".to_owned(), "NotFound 404 Invalid API Key identifier specified"),
        ("arn:aws:apigateway:us-east-1::/usageplans/x".to_owned(), "NotFound 404 Invalid Usage Plan ID specified"),
        ("arn:aws:apigateway:us-east-1::/vpclinks/x".to_owned(), "NotFound 404 Invalid resource identifier specified"),
        (format!("arn:aws:apigateway:eu-west-1::/restapis/{api}"), invalid),
        (format!("arn:aws:apigateway:us-east-1:222222222222:/restapis/{api}"), invalid),
        (format!("arn:aws:apigateway:us-east-1::/restapis/{api}/resources/r"), invalid),
        ("x".to_owned(), invalid),
    ] {
        world.refuses("GetTags", json!({"resourceArn": arn}), expected);
        world.refuses("TagResource", json!({"resourceArn": arn, "tags": {}}), expected);
        world.refuses("UntagResource", json!({"resourceArn": arn, "tagKeys": []}), expected);
    }
}

#[test]
fn tags_are_bounded() {
    let mut world = World::new();
    let (api, _) = world.api();
    let arn = format!("arn:aws:apigateway:us-east-1::/restapis/{api}");
    let many: serde_json::Map<_, _> = (0..50).map(|n| (format!("k{n}"), json!("v"))).collect();
    world.ok("TagResource", json!({"resourceArn": arn, "tags": many}));
    let one_more = json!({"resourceArn": arn, "tags": {"x": "y"}});
    world.refuses("TagResource", one_more, "BadRequest 400 A resource can have at most 50 tags.");
    for (key, value) in [("", "x".to_owned()), ("AWS:x", "x".to_owned()), ("k1", "x".repeat(257))] {
        assert_eq!(world.refused("TagResource", json!({"resourceArn": arn, "tags": {key: value}})).0, "BadRequest");
    }
}
