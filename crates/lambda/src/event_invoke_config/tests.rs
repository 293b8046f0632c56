use serde_json::{Value, json};

use crate::harness::{OTHER, OWNER, REGION, World, create, root, with};

fn world() -> World {
    let mut world = World::with_function();
    world.call("CreateFunction", create("g"));
    world.call("PublishVersion", json!({ "FunctionName": "f" }));
    world.call("CreateAlias", json!({ "FunctionName": "f", "Name": "live", "FunctionVersion": "1" }));
    world
}

fn arn(function: &str) -> String {
    format!("arn:aws:lambda:{REGION}:{OWNER}:function:{function}")
}

fn named(members: Value) -> Value {
    with(json!({ "FunctionName": "f" }), members)
}

const PUT: &str = "PutFunctionEventInvokeConfig";
const UPDATE: &str = "UpdateFunctionEventInvokeConfig";
const GET: &str = "GetFunctionEventInvokeConfig";
const DELETE: &str = "DeleteFunctionEventInvokeConfig";
const LIST: &str = "ListFunctionEventInvokeConfigs";

#[test]
fn a_put_replaces_and_an_update_keeps_what_it_does_not_name() {
    let mut world = world();
    let destinations = json!({ "OnSuccess": {}, "OnFailure": {} });
    let both = world.call(PUT, named(json!({ "MaximumRetryAttempts": 2, "MaximumEventAgeInSeconds": 60 })));
    let expected = json!({
        "LastModified": 1_764_037_614.0, "FunctionArn": format!("{}:$LATEST", arn("f")),
        "MaximumRetryAttempts": 2, "MaximumEventAgeInSeconds": 60, "DestinationConfig": destinations,
    });
    assert_eq!(both, expected);
    world.now_ms += 1500;
    let updated = world.call(UPDATE, named(json!({ "MaximumRetryAttempts": 0 })));
    assert_eq!(updated, with(both, json!({ "MaximumRetryAttempts": 0, "LastModified": 1_764_037_615.5 })));
    let replaced = world.call(PUT, named(json!({ "MaximumRetryAttempts": 1 })));
    assert_eq!(replaced.get("MaximumEventAgeInSeconds"), None);
    assert_eq!(world.call(GET, named(json!({}))), replaced);
}

#[test]
fn each_qualifier_has_its_own() {
    let mut world = world();
    let cases = [
        (json!({}), "$LATEST"),
        (json!({ "Qualifier": "$LATEST" }), "$LATEST"),
        (json!({ "Qualifier": "1" }), "1"),
        (json!({ "Qualifier": "live" }), "live"),
        (json!({ "FunctionName": "f:live" }), "live"),
        (json!({ "FunctionName": format!("{}:live", arn("f")), "Qualifier": "live" }), "live"),
    ];
    for (members, qualifier) in cases {
        let put = world.call(PUT, with(named(json!({ "MaximumRetryAttempts": 1 })), members.clone()));
        assert_eq!(put["FunctionArn"], format!("{}:{qualifier}", arn("f")), "{members}");
    }
    let page = world.call(LIST, named(json!({ "MaxItems": 2 })));
    assert_eq!(page["FunctionEventInvokeConfigs"].as_array().unwrap().len(), 2);
    let rest = world.call(LIST, named(json!({ "Marker": page["NextMarker"] })));
    assert_eq!(rest["FunctionEventInvokeConfigs"][0]["FunctionArn"], format!("{}:live", arn("f")));
    world.call(DELETE, named(json!({ "Qualifier": "1" })));
    assert_eq!(world.refused(GET, named(json!({ "Qualifier": "1" }))).status, 404);
}

#[test]
fn what_is_not_there_is_answered_as_aws_does() {
    let mut world = world();
    let retry = |members| with(named(json!({ "MaximumRetryAttempts": 1 })), members);
    let gone = json!({ "FunctionName": "doesnotexist" });
    let none = |function: &str| format!("The function {} doesn't have an EventInvokeConfig", arn(function));
    let cases = [
        (PUT, gone.clone(), 400, "You must specify at least one of error handling or destination setting.".to_owned()),
        (PUT, retry(gone.clone()), 404, "The function doesn't exist.".to_owned()),
        (UPDATE, retry(gone.clone()), 404, "The function doesn't exist.".to_owned()),
        (LIST, gone.clone(), 404, "The function doesn't exist.".to_owned()),
        (GET, gone.clone(), 404, none("doesnotexist:$LATEST")),
        (DELETE, gone, 404, none("doesnotexist:$LATEST")),
        (PUT, retry(json!({ "Qualifier": "nobody" })), 404, "The function doesn't exist.".to_owned()),
        (PUT, retry(json!({ "Qualifier": "2" })), 404, "The function doesn't exist.".to_owned()),
        (UPDATE, retry(json!({})), 404, none("f:$LATEST")),
        (UPDATE, retry(json!({ "Qualifier": "live" })), 404, none("f:live")),
        (GET, named(json!({ "Qualifier": "nobody" })), 404, none("f:nobody")),
    ];
    for (name, params, status, message) in cases {
        let error = world.refused(name, params.clone());
        assert_eq!((error.status, error.message), (status, message), "{name} {params}");
    }
}

#[test]
fn numbers_stay_within_awss_bounds() {
    let mut world = world();
    for members in [
        json!({ "MaximumRetryAttempts": 3 }),
        json!({ "MaximumRetryAttempts": -1 }),
        json!({ "MaximumEventAgeInSeconds": 59 }),
        json!({ "MaximumEventAgeInSeconds": 21_601 }),
    ] {
        assert_eq!(world.refused(PUT, named(members.clone())).code, "ValidationException", "{members}");
    }
    for members in [json!({ "MaximumRetryAttempts": 0 }), json!({ "MaximumEventAgeInSeconds": 21_600 })] {
        world.call(PUT, named(members));
    }
}

fn to(success: &str, failure: Option<&str>) -> Value {
    let failure = failure.map(|arn| json!({ "Destination": arn })).unwrap_or_else(|| json!({}));
    named(json!({ "DestinationConfig": { "OnSuccess": { "Destination": success }, "OnFailure": failure } }))
}

#[test]
fn a_destination_is_another_function_that_is_there() {
    let mut world = world();
    let put = world.call(PUT, to(&arn("g"), None));
    assert_eq!(put["DestinationConfig"], json!({ "OnSuccess": { "Destination": arn("g") }, "OnFailure": {} }));
    world.call(PUT, to("", Some(&format!("{}:$LATEST", arn("g")))));
    let elsewhere = format!("arn:aws:lambda:eu-west-1:{OWNER}:function:g");
    let wrong = |arn: &str| format!("The destination ARN {arn} is invalid.");
    let own = "You can't specify the function as a destination for itself.".to_owned();
    let iam = format!("arn:aws:iam::{OWNER}:role/r");
    let cases = [
        (arn("nobody"), wrong(&arn("nobody"))),
        (arn("g:nobody"), wrong(&arn("g:nobody"))),
        (elsewhere.clone(), wrong(&elsewhere)),
        (arn("f"), own.clone()),
        (arn("f:live"), own),
        (
            iam.clone(),
            format!(
                "The provided destination config DestinationConfig(onSuccess=OnSuccess(destination={iam}), \
                 onFailure=null) is invalid."
            ),
        ),
    ];
    for (arn, message) in cases {
        let error = world.refused(PUT, to(&arn, None));
        assert_eq!((error.code.as_ref(), error.message), ("InvalidParameterValueException", message));
    }
    for arn in [
        format!("arn:aws:sqs:{REGION}:{OWNER}:q"),
        format!("arn:aws:sns:{REGION}:{OWNER}:t"),
        format!("arn:aws:events:{REGION}:{OWNER}:event-bus/b"),
        "arn:aws:s3:::bucket".to_owned(),
    ] {
        let error = world.refused(PUT, to(&arn, None));
        assert!(error.message.contains("a destination is a Lambda function"), "{}", error.message);
    }
}

#[test]
fn the_execution_role_must_be_allowed_each_destination() {
    let mut world = world();
    let foreign = format!("arn:aws:lambda:{REGION}:{OTHER}:function:h");
    let needs = world.needs_as(&root(OWNER), PUT, &to(&arn("g"), Some(&foreign))).unwrap();
    let role = format!("arn:aws:iam::{OWNER}:role/lambda");
    let of: Vec<_> = needs.iter().map(|need| (need.by_role.as_deref(), need.resource.as_str())).collect();
    let expected = [(None, arn("f")), (Some(role.as_str()), arn("g")), (Some(role.as_str()), foreign)];
    assert_eq!(of, expected.iter().map(|(role, arn)| (*role, arn.as_str())).collect::<Vec<_>>());
    assert_eq!(needs[2].account, OTHER);
    let refusal = needs[1].refusal.as_ref().unwrap();
    assert_eq!(
        refusal.message,
        format!("The function execution role does not have permissions to call InvokeFunction on {}", arn("g"))
    );
}

#[test]
fn configurations_go_with_what_they_are_of() {
    let mut world = world();
    let bare = world.len();
    for qualifier in ["$LATEST", "1", "live"] {
        world.call(PUT, named(json!({ "Qualifier": qualifier, "MaximumRetryAttempts": 1 })));
    }
    assert_eq!(world.len(), bare + 3);
    world.call("DeleteAlias", json!({ "FunctionName": "f", "Name": "live" }));
    world.call("DeleteFunction", json!({ "FunctionName": "f", "Qualifier": "1" }));
    assert_eq!(world.len(), bare - 2 + 1, "alias and version took theirs along");
    world.call("DeleteFunction", json!({ "FunctionName": "f" }));
    assert_eq!(world.len(), 1, "only g is left");
}
