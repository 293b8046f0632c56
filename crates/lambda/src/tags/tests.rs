use serde_json::json;

use crate::harness::{OTHER, World, root};

const ARN: &str = "arn:aws:lambda:us-east-1:444455556666:function:f";

#[test]
fn tags_come_and_go() {
    let mut world = World::with_function();
    assert_eq!(world.call("ListTags", json!({ "Resource": ARN })), json!({ "Tags": {} }));
    world.call("TagResource", json!({ "Resource": ARN, "Tags": { "a": "1", "b": "2" } }));
    world.call("TagResource", json!({ "Resource": ARN, "Tags": { "a": "3" } }));
    assert_eq!(world.call("ListTags", json!({ "Resource": ARN })), json!({ "Tags": { "a": "3", "b": "2" } }));
    world.call("UntagResource", json!({ "Resource": ARN, "TagKeys": ["b", "never"] }));
    assert_eq!(world.call("GetFunction", json!({ "FunctionName": "f" }))["Tags"], json!({ "a": "3" }));
}

#[test]
fn refusals_have_awss_texts() {
    let mut world = World::with_function();
    let tag = |resource: &str, tags: serde_json::Value| json!({ "Resource": resource, "Tags": tags });
    let many: serde_json::Map<_, _> = (0..51).map(|at| (format!("k{at}"), json!(""))).collect();
    for (input, message) in [
        (tag(ARN, json!({})), "An error occurred and the request cannot be processed."),
        (tag(ARN, json!(many)), "Number of tags exceeds resource tag limit."),
        (
            tag(&format!("{ARN}:1"), json!({ "a": "b" })),
            "Tags on function aliases and versions are not supported. Please specify a function ARN.",
        ),
        (
            tag("arn:aws:lambda:us-east-1:444455556666:function:g", json!({ "a": "b" })),
            "Function not found: arn:aws:lambda:us-east-1:444455556666:function:g",
        ),
    ] {
        assert_eq!(world.refused("TagResource", input).message, message);
    }
    let error = world.refused("UntagResource", json!({ "Resource": ARN, "TagKeys": [] }));
    assert_eq!(
        error.message,
        "1 validation error detected: Value null at 'tagKeys' failed to satisfy constraint: Member must not be null"
    );
    for bad in [
        "f",
        "arn:aws:lambda:us-east-1:444455556666:layer:l",
        "arn:aws:s3:::b",
        "arn:aws:lambda:us-east-1:4:function:f",
    ] {
        assert_eq!(world.refused("ListTags", json!({ "Resource": bad })).code, "ValidationException", "{bad}");
    }
    assert_eq!(world.refused("TagResource", tag(ARN, json!({ "AWS:x": "b" }))).status, 400);
    assert_eq!(world.refused("TagResource", tag(ARN, json!({ "a<": "b" }))).code, "ValidationException");
}

#[test]
fn tags_of_another_account_are_its_own_decision() {
    let mut world = World::with_function();
    let input = json!({ "Resource": ARN, "Tags": { "a": "b" } });
    let needs = world.needs_as(&root(OTHER), "TagResource", &input).expect("needs");
    assert_eq!(needs[0].account, "444455556666");
    assert_eq!(needs[0].resource_policy, None);
    assert!(needs[0].context.contains(&("aws:RequestTag/a".to_owned(), "b".to_owned())));
}
