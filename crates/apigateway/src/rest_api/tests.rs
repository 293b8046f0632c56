use serde_json::{Value, json};
use service::Scope;

use super::Owner;
use crate::testing::{ACCOUNT, NOW_S, World, merge, patch, text};

#[test]
fn a_name_alone_makes_an_api_with_the_defaults_and_a_root() {
    let mut world = World::new();
    let api = world.ok("CreateRestApi", json!({"name": "pets"}));
    let (id, root) = (text(&api, "id"), text(&api, "rootResourceId"));
    assert_eq!((id.len(), root.len()), (10, 10));
    assert_eq!(
        api,
        json!({
            "id": id, "name": "pets", "createdDate": NOW_S, "apiKeySource": "HEADER",
            "endpointConfiguration": {"types": ["EDGE"], "ipAddressType": "ipv4"},
            "disableExecuteApiEndpoint": false, "rootResourceId": root
        })
    );
    assert_eq!(world.ok("GetRestApi", json!({"restApiId": id})), merge(&api, json!({"tags": {}})));
    assert_eq!(world.ok("GetRestApis", json!({})), json!({"items": [api]}));
    assert_eq!(world.ok("GetResources", json!({"restApiId": id})), json!({"items": [{"id": root, "path": "/"}]}));
    let owner: Option<Owner> = world.record(&Scope::installation(), "", &id);
    assert_eq!(owner, Some(Owner { account: ACCOUNT.into(), region: "us-east-1".into() }));
}

#[test]
fn everything_sent_comes_back() {
    let mut world = World::new();
    let api = world.ok(
        "CreateRestApi",
        json!({
            "name": "pets", "description": "d", "version": "v1", "apiKeySource": "HEADER", "binaryMediaTypes": [],
            "endpointConfiguration": {"types": ["REGIONAL"], "ipAddressType": "dualstack"},
            "disableExecuteApiEndpoint": true, "tags": {"a": "b"}, "policy": ""
        }),
    );
    assert_eq!(api["description"], "d");
    assert_eq!(api["version"], "v1");
    assert_eq!(api["endpointConfiguration"], json!({"types": ["REGIONAL"], "ipAddressType": "dualstack"}));
    assert_eq!(api["disableExecuteApiEndpoint"], true);
    assert_eq!(api["tags"], json!({"a": "b"}));
    assert_eq!(world.ok("GetRestApis", json!({}))["items"][0]["tags"], json!({"a": "b"}));
}

#[test]
fn a_tag_chooses_the_id_once_in_the_installation() {
    let mut world = World::new();
    let tagged = |id: &str| json!({"name": "n", "tags": {"_custom_id_": id}});
    assert_eq!(text(&world.ok("CreateRestApi", tagged("my-api1")), "id"), "my-api1");
    world.account = "222222222222";
    world.refuses(
        "CreateRestApi",
        tagged("my-api1"),
        "Conflict 409 An API with the identifier my-api1 already exists.",
    );
    for bad in ["", "A", "a/b", "-a", "a-", "a.b", &"a".repeat(64)] {
        assert_eq!(world.refused("CreateRestApi", tagged(bad)).0, "BadRequest", "{bad}");
    }
}

#[test]
fn what_cannot_be_created_is_refused() {
    let long = "x".repeat(1025);
    let cases = [
        (json!({"description": ""}), "Description cannot be an empty string"),
        (json!({"name": " "}), "Name cannot be empty"),
        (json!({"name": long}), "Invalid name specified, can be at most 1024 characters."),
        (
            json!({"endpointConfiguration": {"types": ["EDGE", "REGIONAL"]}}),
            "Cannot create an api with multiple Endpoint Types.",
        ),
        (
            json!({"endpointConfiguration": {"types": []}}),
            "REGIONAL Configuration and EDGE Configuration cannot be both DISABLED.",
        ),
        (
            json!({"endpointConfiguration": {"types": ["PRIVATE"], "ipAddressType": "ipv4"}}),
            "Only dualstack ipAddressType is supported for Private APIs.",
        ),
        (
            json!({"endpointConfiguration": {"types": ["PRIVATE"]}}),
            "endpointConfiguration.types PRIVATE is not supported by this version of Portcullis.",
        ),
        (
            json!({"endpointConfiguration": {"types": ["EDGE"], "vpcEndpointIds": ["vpce-1"]}}),
            "endpointConfiguration.vpcEndpointIds is not supported by this version of Portcullis.",
        ),
        (json!({"minimumCompressionSize": -1}), "Invalid minimum compression size, must be between 0 and 10485760"),
        (
            json!({"minimumCompressionSize": 0}),
            "minimumCompressionSize is not supported by this version of Portcullis.",
        ),
        (json!({"binaryMediaTypes": ["*/*"]}), "binaryMediaTypes is not supported by this version of Portcullis."),
        (json!({"apiKeySource": "authorizer"}), "Invalid apiKeySource specified. Valid options are HEADER,AUTHORIZER"),
        (json!({"tags": {"aws:x": "y"}}), "The tag key aws:x begins with aws:, which is reserved."),
    ];
    let mut world = World::new();
    for (members, message) in cases {
        world.refuses("CreateRestApi", merge(&json!({"name": "n"}), members), &format!("BadRequest 400 {message}"));
    }
    assert!(world.keys().is_empty(), "a refused call stores nothing");
}

#[test]
fn an_account_has_600_apis_in_a_region_at_most() {
    let mut world = World::new();
    let (first, _) = world.api();
    for _ in 1..600 {
        world.api();
    }
    let expected = "LimitExceeded 429 Maximum number of APIs for this account has been reached. Please contact AWS \
     if you need additional APIs.";
    world.refuses("CreateRestApi", json!({"name": "n"}), expected);
    world.region = "eu-west-1";
    world.api();
    world.region = "us-east-1";
    world.ok("DeleteRestApi", json!({"restApiId": first}));
    world.api();
}

#[test]
fn lists_come_in_pages() {
    let mut world = World::new();
    let mut ids: Vec<String> = (0..30).map(|_| world.api().0).collect();
    ids.sort();
    let seen = |page: &Value| -> Vec<String> {
        page["items"].as_array().expect("items").iter().map(|api| text(api, "id")).collect()
    };
    let first = world.ok("GetRestApis", json!({}));
    assert_eq!(seen(&first), ids[..25], "25 unless asked otherwise");
    let second = world.ok("GetRestApis", json!({"position": first["position"]}));
    assert_eq!(seen(&second), ids[25..]);
    assert!(second.get("position").is_none());
    let exact = world.ok("GetRestApis", json!({"limit": 30}));
    assert!(exact.get("position").is_none());
    for out_of_range in [0, -1, 501] {
        assert_eq!(seen(&world.ok("GetRestApis", json!({"limit": out_of_range}))).len(), 25);
    }
    let invalid = "BadRequest 400 Invalid position parameter specified";
    world.refuses("GetRestApis", json!({"position": "made-up"}), invalid);
    world.account = "222222222222";
    world.refuses("GetRestApis", json!({"position": first["position"]}), invalid);
}

#[test]
fn patches_change_what_they_name() {
    let cases = [
        ("/name", Some("new"), "/name", json!("new")),
        ("/description", Some("d"), "/description", json!("d")),
        ("/description", Some(""), "/description", Value::Null),
        ("/version", Some("2"), "/version", json!("2")),
        ("/apiKeySource", Some("AUTHORIZER"), "/apiKeySource", json!("AUTHORIZER")),
        ("/apiKeySource", Some("HEADER"), "/apiKeySource", json!("HEADER")),
        ("/disableExecuteApiEndpoint", Some("true"), "/disableExecuteApiEndpoint", json!(true)),
        ("/disableExecuteApiEndpoint", Some("yes"), "/disableExecuteApiEndpoint", json!(false)),
        ("/endpointConfiguration/types/EDGE", Some("REGIONAL"), "/endpointConfiguration/types/0", json!("REGIONAL")),
        ("/endpointConfiguration/types/0", Some("REGIONAL"), "/endpointConfiguration/types/0", json!("REGIONAL")),
        (
            "/endpointConfiguration/ipAddressType",
            Some("dualstack"),
            "/endpointConfiguration/ipAddressType",
            json!("dualstack"),
        ),
        ("/minimumCompressionSize", None, "/minimumCompressionSize", Value::Null),
        ("/minimumCompressionSize", Some(""), "/minimumCompressionSize", Value::Null),
        ("/policy", Some(""), "/policy", Value::Null),
    ];
    for (path, value, member, expected) in cases {
        let mut world = World::new();
        let (api, _) = world.api();
        let own = json!({"restApiId": api});
        let answer = world.ok("UpdateRestApi", merge(&own, patch("replace", path, value)));
        assert_eq!(answer.pointer(member).cloned().unwrap_or_default(), expected, "{path}");
        assert_eq!(answer["tags"], json!({}));
        assert_eq!(world.ok("GetRestApi", own), answer, "{path} is stored");
    }
}

#[test]
fn bad_patches_are_refused_and_change_nothing() {
    let operations = "Invalid patch operation specified. Must be one of: [replace]";
    let endpoints = "Invalid patch operation specified. Must be 'add'|'remove'|'replace'";
    let unsupported = |member: &str| format!("{member} is not supported by this version of Portcullis.");
    let cases = [
        ("replace", "/nothing", Some("x"), "Invalid patch path /nothing".to_owned()),
        ("replace", "/name/x", Some("x"), "Invalid patch path /name/x".to_owned()),
        ("replace", "name", Some("x"), "Invalid patch path name".to_owned()),
        ("add", "/name", Some("x"), operations.to_owned()),
        ("remove", "/minimumCompressionSize", None, operations.to_owned()),
        ("replace", "/name", Some(""), "Name cannot be empty".to_owned()),
        (
            "replace",
            "/minimumCompressionSize",
            Some("x"),
            "Invalid minimum compression size, must be between 0 and 10485760".to_owned(),
        ),
        ("replace", "/minimumCompressionSize", Some("10"), unsupported("minimumCompressionSize")),
        (
            "replace",
            "/apiKeySource",
            Some("x"),
            "Invalid apiKeySource specified. Valid options are HEADER,AUTHORIZER".to_owned(),
        ),
        ("replace", "/securityPolicy", Some("TLS_1_2"), unsupported("securityPolicy")),
        ("add", "/binaryMediaTypes/image~1png", None, unsupported("binaryMediaTypes")),
        (
            "add",
            "/endpointConfiguration/vpcEndpointIds",
            Some("v"),
            unsupported("endpointConfiguration.vpcEndpointIds"),
        ),
        (
            "replace",
            "/endpointConfiguration/types/EDGE",
            Some("X"),
            "Invalid EndpointTypes specified. Valid options are REGIONAL,EDGE,PRIVATE".to_owned(),
        ),
        (
            "replace",
            "/endpointConfiguration/types/REGIONAL",
            Some("EDGE"),
            "Invalid patch path /endpointConfiguration/types/REGIONAL".to_owned(),
        ),
        ("copy", "/endpointConfiguration/types/EDGE", None, endpoints.to_owned()),
        (
            "replace",
            "/endpointConfiguration/ipAddressType",
            Some("ipv6"),
            "ipAddressType must be either ipv4 or dualstack.".to_owned(),
        ),
    ];
    let mut world = World::new();
    let (api, _) = world.api();
    let own = json!({"restApiId": api});
    let before = world.ok("GetRestApi", own.clone());
    for (op, path, value, message) in cases {
        world.refuses("UpdateRestApi", merge(&own, patch(op, path, value)), &format!("BadRequest 400 {message}"));
    }
    let pathless = json!({"restApiId": api, "patchOperations": [{"op": "replace", "value": "x"}]});
    world.refuses("UpdateRestApi", pathless, "BadRequest 400 Invalid patch path null");
    let half_good = json!({"restApiId": api, "patchOperations": [
        {"op": "replace", "path": "/name", "value": "x"}, {"op": "replace", "path": "/bad"}
    ]});
    world.refuses("UpdateRestApi", half_good, "BadRequest 400 Invalid patch path /bad");
    assert_eq!(world.ok("GetRestApi", own), before);
}

#[test]
fn deleting_takes_everything_of_the_api_and_nothing_else() {
    let mut world = World::new();
    let tagged = |id: &str| json!({"name": "n", "tags": {"_custom_id_": id}});
    // Two ids of which one begins with the other: ranges must not run over.
    for id in ["abc", "abcd"] {
        let root = text(&world.ok("CreateRestApi", tagged(id)), "rootResourceId");
        let child = world.ok("CreateResource", json!({"restApiId": id, "parentId": root, "pathPart": "p"}));
        world.mock(id, &root, "GET");
        world.mock(id, &text(&child, "id"), "POST");
        world.ok("CreateDeployment", json!({"restApiId": id, "stageName": "Dev"}));
        world.ok(
            "CreateAuthorizer",
            json!({
                "restApiId": id, "name": "a", "type": "TOKEN", "identitySource": "method.request.header.A",
                "authorizerUri": crate::authorizer::tests::URI
            }),
        );
    }
    world.ok("DeleteRestApi", json!({"restApiId": "abc"}));
    let left = world.keys();
    assert!(left.iter().all(|key| key.contains("abcd") || key.ends_with("Tally /rest-apis")), "{left:?}");
    assert_eq!(
        left.len(),
        11,
        "API, owner, two resources, two methods, deployment, stage, authorizer, two counts: {left:?}"
    );
    world.refuses(
        "DeleteRestApi",
        json!({"restApiId": "abc"}),
        "NotFound 404 Invalid API identifier specified 111111111111:abc",
    );
    world.ok("CreateRestApi", tagged("abc"));
}
