use serde_json::json;

use super::*;
use crate::harness::{World, create, with};

fn refused(variables: Value) -> String {
    let input = with(create("f"), json!({ "Environment": { "Variables": variables } }));
    let error = World::new().refused("CreateFunction", input);
    assert_eq!(error.status, 400);
    error.message
}

const UNABLE: &str =
    "Lambda was unable to configure your environment variables because the environment variables you have provided";

#[test]
fn reserved_variables_are_refused_by_name() {
    assert_eq!(
        refused(json!({ "AWS_REGION": "x", "_HANDLER": "y", "MINE": "z" })),
        format!(
            "{UNABLE} contains reserved keys that are currently not supported for modification. Reserved keys used in this \
             request: AWS_REGION, _HANDLER"
        )
    );
    // These belong to the customer.
    let mine = json!({ "AWS_LAMBDA_EXEC_WRAPPER": "/opt/w", "AWS_ENDPOINT_URL": "http://x", "LANG": "C" });
    World::new().call("CreateFunction", with(create("f"), json!({ "Environment": { "Variables": mine } })));
}

#[test]
fn environment_is_at_most_4_kb() {
    // `{"A1":".."}` is nine characters and the value.
    World::new().call(
        "CreateFunction",
        with(create("f"), json!({ "Environment": { "Variables": { "A1": "x".repeat(4087) } } })),
    );
    assert_eq!(refused(json!({ "A1": "x".repeat(4088) })), format!("{UNABLE} exceeded the 4KB limit."));
    assert!(refused(json!({ "A1": "a\0b" })).contains("NUL"));
}

#[test]
fn variable_names_have_a_form_and_are_not_repeated_in_the_refusal() {
    for bad in ["1A", "A", "A-B", "", "Ä1"] {
        let message = refused(json!({ bad: "hunter2" }));
        assert_eq!(
            message,
            "1 validation error detected: Value at 'environment.variables' failed to satisfy constraint: Map keys must \
             satisfy constraint: [Member must satisfy regular expression pattern: [a-zA-Z]([a-zA-Z0-9_])+]"
        );
    }
}

#[test]
fn debug_text_shows_no_values() {
    let environment = Environment { variables: BTreeMap::from([("PASSWORD".to_owned(), "hunter2".to_owned())]) };
    assert_eq!(format!("{environment:?}"), "{\"PASSWORD\"}");
}

#[test]
fn roles_are_told_by_their_arn() {
    assert_eq!(role_account("arn:aws:iam::111122223333:role/a/b"), Some("111122223333"));
    for bad in [
        "",
        "arn:aws:iam::111122223333:user/a",
        "arn:aws:iam::1111:role/a",
        "arn:aws:iam::111122223333:role/",
        "arn:aws:iam:us-east-1:111122223333:role/a",
        "arn:aws:iam::111122223333:role/a b",
        "arn:aws:sts::111122223333:role/a",
    ] {
        assert_eq!(role_account(bad), None, "{bad}");
    }
}
