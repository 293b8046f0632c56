use serde_json::json;

use super::*;

fn op(service: &str, operation: &str) -> &'static Operation {
    super::service(service).unwrap().operation(operation).unwrap()
}

#[test]
fn every_operation_of_the_contract_is_there() {
    assert_eq!(coverage().count(), 958);
    let of_tier = |wanted| coverage().filter(|(_, _, tier)| *tier == wanted).count();
    assert_eq!((of_tier(1), of_tier(2), of_tier(3)), (89, 393, 476));
    assert!(service("sqs").is_none());
}

#[test]
fn operations_are_in_byte_order_and_found_by_name() {
    for service in services() {
        assert!(service.operations.is_sorted_by(|a, b| a.name < b.name), "{service:?}");
        for operation in service.operations {
            assert_eq!(service.operation(operation.name), Some(operation));
            assert_eq!(operation.service, *service);
        }
        assert!(service.operation("Nothing").is_none());
    }
}

#[test]
fn recorded_statuses_and_names_prevail_over_the_model() {
    for (service, name, status, trail, read_only) in [
        ("lambda", "DeleteFunction", 204, "DeleteFunction20150331", false),
        ("lambda", "AddPermission", 201, "AddPermission20150331v2", false),
        ("lambda", "Invoke", 200, "Invoke", false),
        ("lambda", "GetFunction", 200, "GetFunction20150331v2", true),
        ("apigateway", "CreateRestApi", 201, "CreateRestApi", false),
        ("apigateway", "UpdateMethodResponse", 201, "UpdateMethodResponse", false),
        ("apigateway", "DeleteRestApi", 202, "DeleteRestApi", false),
        ("apigateway", "DeleteMethod", 204, "DeleteMethod", false),
        ("apigateway", "TagResource", 204, "TagResource", false),
        ("apigatewayv2", "TagResource", 201, "TagResource", false),
        ("s3", "PutBucketPolicy", 204, "PutBucketPolicy", false),
        ("sts", "AssumeRole", 200, "AssumeRole", true),
        ("sts", "GetCallerIdentity", 200, "GetCallerIdentity", true),
        ("cloudtrail", "LookupEvents", 200, "LookupEvents", true),
    ] {
        let operation = op(service, name);
        let found = (operation.status, operation.trail_name, operation.read_only);
        assert_eq!(found, (status, trail, read_only), "{operation:?}");
    }
}

#[test]
fn actions_are_those_of_the_policy_language() {
    assert_eq!(op("lambda", "Invoke").iam_action, Some("lambda:InvokeFunction"));
    assert_eq!(op("apigateway", "CreateRestApi").iam_action, Some("apigateway:POST"));
    assert_eq!(op("sts", "GetCallerIdentity").iam_action, None);
    assert!(op("sts", "AssumeRoleWithWebIdentity").unsigned);
}

#[test]
fn members_come_in_model_order() {
    let members: Vec<&str> = op("lambda", "AddPermission").members().collect();
    assert_eq!(members[..4], ["FunctionName", "StatementId", "Action", "Principal"]);
    assert_eq!(op("iam", "GetAccountSummary").members().count(), 0);
}

/// The named operation's resource for a call in account 111122223333 and us-east-1.
fn arn(service: &str, operation: &str, params: Value, path: &str) -> String {
    op(service, operation).resource_arn(&params, path, "111122223333", "us-east-1")
}

#[test]
fn api_gateway_resources_are_the_request_path() {
    let check = |service, operation, path, expected: &str| {
        assert_eq!(arn(service, operation, json!({}), path), format!("arn:aws:apigateway:us-east-1::{expected}"));
    };
    check("apigateway", "GetRestApis", "/restapis", "/restapis");
    check("apigateway", "CreateRestApi", "/restapis/", "/restapis");
    check("apigateway", "ImportRestApi", "/restapis", "/restapis");
    check("apigateway", "GetMethod", "/restapis/a/resources/b/methods/GET", "/restapis/a/resources/b/methods/GET");
    check("apigatewayv2", "GetRoutes", "/v2/apis/abc/routes", "/apis/abc/routes");
    check("apigatewayv2", "GetStage", "/v2/apis/abc/stages/%24default", "/apis/abc/stages/$default");
    let tags = "/tags/arn%3aaws%3aapigateway%3aus-east-1%3a%3a%2frestapis%2fabc";
    check("apigateway", "GetTags", tags, "/tags/arn%3Aaws%3Aapigateway%3Aus-east-1%3A%3A%2Frestapis%2Fabc");
}

#[test]
fn an_encoded_path_does_not_slip_past_a_policy() {
    let plain = arn("apigateway", "GetRestApi", json!({}), "/restapis/abc");
    assert_eq!(arn("apigateway", "GetRestApi", json!({}), "/restapis/%61b%63"), plain);
}

#[test]
fn lambda_resources_take_every_spelling_of_a_function() {
    let check = |params: Value, expected: &str| {
        assert_eq!(arn("lambda", "Invoke", params, ""), format!("arn:aws:lambda:{expected}"));
    };
    check(json!({"FunctionName": "f"}), "us-east-1:111122223333:function:f");
    check(json!({"FunctionName": "f", "Qualifier": "live"}), "us-east-1:111122223333:function:f:live");
    check(json!({"FunctionName": "f:live"}), "us-east-1:111122223333:function:f:live");
    check(json!({"FunctionName": "444455556666:function:f"}), "us-east-1:444455556666:function:f");
    check(
        json!({"FunctionName": "arn:aws:lambda:eu-west-1:444455556666:function:f", "Qualifier": "1"}),
        "eu-west-1:444455556666:function:f:1",
    );
    check(
        json!({"FunctionName": "arn:aws:lambda:eu-west-1:444455556666:function:f:2"}),
        "eu-west-1:444455556666:function:f:2",
    );
    check(json!({}), "us-east-1:111122223333:function:*");
}

#[test]
fn other_resources_are_filled_from_members() {
    for (service, operation, params, expected) in [
        ("iam", "GetUser", json!({"UserName": "bob"}), "arn:aws:iam::111122223333:user/bob"),
        ("iam", "CreateUser", json!({"UserName": "bob", "Path": "/x/"}), "arn:aws:iam::111122223333:user/x/bob"),
        ("iam", "GetUser", json!({}), "arn:aws:iam::111122223333:user/*"),
        ("iam", "PutRolePolicy", json!({"RoleName": "r"}), "arn:aws:iam::111122223333:role/r"),
        ("iam", "GetPolicy", json!({"PolicyArn": "arn:aws:iam::aws:policy/P"}), "arn:aws:iam::aws:policy/P"),
        ("iam", "ListUsers", json!({}), "*"),
        (
            "sts",
            "AssumeRole",
            json!({"RoleArn": "arn:aws:iam::444455556666:role/r"}),
            "arn:aws:iam::444455556666:role/r",
        ),
        ("cloudtrail", "LookupEvents", json!({}), "*"),
        ("cloudtrail", "GetTrail", json!({"Name": "t"}), "arn:aws:cloudtrail:us-east-1:111122223333:trail/t"),
        ("lambda", "ListFunctions", json!({}), "*"),
        (
            "lambda",
            "GetLayerVersion",
            json!({"LayerName": "l", "VersionNumber": 3}),
            "arn:aws:lambda:us-east-1:111122223333:layer:l:3",
        ),
        (
            "logs",
            "PutLogEvents",
            json!({"logGroupName": "/g", "logStreamName": "s"}),
            "arn:aws:logs:us-east-1:111122223333:log-group:/g:log-stream:s",
        ),
        ("logs", "DeleteLogGroup", json!({"logGroupName": "/g"}), "arn:aws:logs:us-east-1:111122223333:log-group:/g:*"),
        ("s3", "GetObject", json!({"Bucket": "b", "Key": "k/1"}), "arn:aws:s3:::b/k/1"),
        ("s3", "ListObjectsV2", json!({"Bucket": "b"}), "arn:aws:s3:::b"),
    ] {
        assert_eq!(arn(service, operation, params, "/"), expected, "{service} {operation}");
    }
}

/// Every shape an operation of the service reaches.
fn reachable(service: &Service) -> Vec<ShapeRef> {
    let mut seen = std::collections::HashSet::new();
    let mut found: Vec<ShapeRef> = Vec::new();
    let mut open: Vec<ShapeRef> =
        service.operations.iter().flat_map(|operation| [operation.input, operation.output]).flatten().collect();
    while let Some(shape) = open.pop() {
        if !seen.insert(std::ptr::from_ref(shape)) {
            continue;
        }
        found.push(shape);
        match &shape.kind {
            Kind::Structure(structure) => open.extend(structure.members.iter().map(|member| member.shape)),
            Kind::List { member, .. } => open.push(member),
            Kind::Map { key, value, .. } => open.extend([*key, *value]),
            _ => {}
        }
    }
    found
}

#[test]
fn every_pattern_of_the_models_compiles() {
    let mut count = 0;
    for shape in services().iter().flat_map(|service| reachable(service)) {
        if let Kind::String { pattern: Some(pattern), .. } = &shape.kind {
            assert!(pattern.compiled().is_some(), "{}: {} as {}", shape.name, pattern.text, pattern.regex);
            count += 1;
        }
    }
    assert!(count > 150, "{count} patterns");
}

#[test]
fn patterns_written_by_hand_mean_what_java_means() {
    let pattern = |service: &str, name: &str| {
        let found = reachable(super::service(service).unwrap()).into_iter().find_map(|shape| match &shape.kind {
            Kind::String { pattern, .. } if shape.name == name => *pattern,
            _ => None,
        });
        found.unwrap_or_else(|| panic!("no pattern on {name}"))
    };
    for (service, name, value, admitted) in [
        ("iam", "accountAliasType", "my-alias", true),
        ("iam", "accountAliasType", "my--alias", false),
        ("iam", "accountAliasType", "-alias", false),
        ("lambda", "Alias", "live", true),
        ("lambda", "Alias", "12", false),
        ("lambda", "Alias", "12a", true),
        ("lambda", "FunctionUrlQualifier", "12", false),
        ("lambda", "FunctionUrlQualifier", "live", true),
        ("lambda", "CollectionName", "system.x", false),
        ("lambda", "CollectionName", "systems", true),
        ("lambda", "S3Bucket", "bucket.", false),
        ("lambda", "S3Bucket", "buck.et", true),
        ("lambda", "FunctionUrlFunctionName", "f:12", false),
        ("lambda", "FunctionUrlFunctionName", "f:live", true),
        ("lambda", "FunctionUrlFunctionName", "arn:aws:lambda:us-east-1:111122223333:function:f", true),
        // The whole value must match, and Java's digits and words are ASCII.
        ("iam", "userNameType", "bob\n", false),
        ("iam", "userNameType", "böb", false),
        ("iam", "userNameType", "bob+x@example.com", true),
        ("iam", "pathType", "/a/b/", true),
        ("iam", "pathType", "/a/b", false),
        ("iam", "tagKeyType", "schlüssel 1", true),
    ] {
        assert_eq!(pattern(service, name).admits(value), admitted, "{name} {value:?}");
    }
}
