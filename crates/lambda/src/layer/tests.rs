use serde_json::json;

use super::*;
use crate::harness::{OTHER, OWNER, World, create, root, with, zip};

const ARN: &str = "arn:aws:lambda:us-east-1:444455556666:layer:l";

/// A stored upload of that size when unpacked.
fn content(blob: &str, unpacked: u64) -> Value {
    let mut zip = zip(blob);
    zip["Unpacked"] = json!(unpacked);
    json!({ "ZipFile": zip })
}

fn publish(name: &str, blob: &str) -> Value {
    json!({ "LayerName": name, "Content": content(blob, 1000) })
}

fn version(number: i64) -> Value {
    json!({ "LayerName": "l", "VersionNumber": number })
}

#[test]
fn versions_are_numbered_read_listed_and_deleted() {
    let mut world = World::new();
    let first = with(
        publish("l", "aa"),
        json!({ "Description": "one", "CompatibleRuntimes": ["nodejs22.x"], "LicenseInfo": "MIT" }),
    );
    let first = world.call("PublishLayerVersion", first);
    assert_eq!(
        first,
        json!({
            "Content": { "Location": first["Content"]["Location"], "CodeSha256": zip("aa")["CodeSha256"], "CodeSize": 321 },
            "LayerArn": ARN,
            "LayerVersionArn": format!("{ARN}:1"),
            "Description": "one",
            "CreatedDate": first["CreatedDate"],
            "Version": 1,
            "CompatibleRuntimes": ["nodejs22.x"],
            "LicenseInfo": "MIT",
        })
    );
    assert_eq!(world.call("PublishLayerVersion", publish("l", "bb"))["Version"], 2);
    world.call("PublishLayerVersion", publish("other", "cc"));
    let by_arn = world.call("GetLayerVersionByArn", json!({ "Arn": format!("{ARN}:1") }));
    assert_eq!(by_arn["Description"], "one");
    assert_eq!(world.call("GetLayerVersion", json!({ "LayerName": ARN, "VersionNumber": 2 }))["Version"], 2);
    let listed = world.call("ListLayerVersions", json!({ "LayerName": "l" }));
    let numbers: Vec<_> = listed["LayerVersions"].as_array().expect("a list").iter().map(|v| &v["Version"]).collect();
    assert_eq!(numbers, [2, 1]);
    let page = world.call("ListLayerVersions", json!({ "LayerName": "l", "MaxItems": 1 }));
    let next = json!({ "LayerName": "l", "MaxItems": 1, "Marker": page["NextMarker"] });
    assert_eq!(world.call("ListLayerVersions", next)["LayerVersions"][0]["Version"], 1);
    let fitting = world.call("ListLayers", json!({ "CompatibleRuntime": "nodejs22.x" }));
    assert_eq!(fitting["Layers"].as_array().map(Vec::len), Some(1));
    assert_eq!(fitting["Layers"][0]["LatestMatchingVersion"]["Version"], 1);
    let page = world.call("ListLayers", json!({ "MaxItems": 1 }));
    assert_eq!(page["Layers"][0]["LayerName"], "l");
    let next = json!({ "Marker": page["NextMarker"] });
    assert_eq!(world.call("ListLayers", next)["Layers"][0]["LayerName"], "other");
    for number in [2, 2, 1] {
        world.call("DeleteLayerVersion", version(number));
    }
    assert_eq!(world.refused("GetLayerVersion", version(2)).message, "The resource you requested does not exist.");
    assert_eq!(world.call("ListLayers", json!({}))["Layers"].as_array().map(Vec::len), Some(1));
    assert_eq!(world.call("PublishLayerVersion", publish("l", "dd"))["Version"], 3, "no number is used twice");
}

#[test]
fn a_function_has_its_layers_in_order_and_keeps_them() {
    let mut world = World::new();
    world.call("PublishLayerVersion", publish("l", "aa"));
    world.call("PublishLayerVersion", publish("m", "bb"));
    let (l, m) = (format!("{ARN}:1"), "arn:aws:lambda:us-east-1:444455556666:layer:m:1");
    let created = world.call("CreateFunction", with(create("f"), json!({ "Layers": [m, l] })));
    assert_eq!(created["Layers"], json!([{ "Arn": m, "CodeSize": 321 }, { "Arn": l, "CodeSize": 321 }]));
    world.call("DeleteLayerVersion", version(1));
    let layers = |world: &mut World| {
        let targets = world.targets("f");
        let (_, target) = targets.first().expect("a target");
        target.revision.layers.iter().map(|layer| layer.sha256.clone()).collect::<Vec<_>>()
    };
    assert_eq!(layers(&mut world), ["bb", "aa"]);
    world.call("UpdateFunctionConfiguration", json!({ "FunctionName": "f", "Timeout": 9 }));
    assert_eq!(layers(&mut world), ["bb", "aa"], "what is not given stays");
    world.call("PublishVersion", json!({ "FunctionName": "f" }));
    world.call("UpdateFunctionConfiguration", json!({ "FunctionName": "f", "Layers": [] }));
    assert!(layers(&mut world).is_empty());
    let published = world.targets("f").into_iter().find(|(key, _)| key.qualifier == "1").expect("the version").1;
    assert_eq!(published.revision.layers.len(), 2);
}

#[test]
fn layers_of_a_function_are_refused_in_awss_words() {
    let mut world = World::with_function();
    world.call("PublishLayerVersion", publish("l", "aa"));
    world.call("PublishLayerVersion", publish("l", "bb"));
    for name in ["big", "bigger"] {
        let params = json!({ "LayerName": name, "Content": content(name, 200_000_000) });
        world.call("PublishLayerVersion", params);
    }
    let other = |name: &str| ARN.replace("layer:l", &format!("layer:{name}"));
    let big = [format!("{}:1", other("big")), format!("{}:1", other("bigger"))];
    for (layers, text) in [
        (json!(vec![format!("{ARN}:1"); 6]), "Cannot reference more than 5 layers.".to_owned()),
        (json!([format!("{ARN}:9")]), format!("Layer version {ARN}:9 does not exist.")),
        (
            json!([format!("{ARN}:1"), format!("{ARN}:2")]),
            format!(
                "Two different versions of the same layer are not allowed to be referenced in the same function. {ARN}:1 and \
                 {ARN}:2 are versions of the same layer."
            ),
        ),
        (
            json!(["arn:aws:lambda:eu-west-1:444455556666:layer:l:1"]),
            "Layers are not in the same region as the function. Layers are expected to be in region us-east-1."
                .to_owned(),
        ),
        (json!(big), "Layers consume more than the available size of 262144000 bytes".to_owned()),
    ] {
        let params = json!({ "FunctionName": "f", "Layers": layers });
        let refused = world.refused("UpdateFunctionConfiguration", params.clone());
        assert_eq!((&*refused.code, refused.message), ("InvalidParameterValueException", text), "{params}");
    }
    let refused = world.refused("UpdateFunctionConfiguration", json!({ "FunctionName": "f", "Layers": [ARN] }));
    assert_eq!(&*refused.code, "ValidationException");
    world.call("UpdateFunctionConfiguration", json!({ "FunctionName": "f", "Layers": [big[0]] }));
    let mut code = zip("cc");
    code["Unpacked"] = json!(100_000_000);
    let refused = world.refused("UpdateFunctionCode", json!({ "FunctionName": "f", "ZipFile": code }));
    assert_eq!(
        refused.message,
        "Function code combined with layers exceeds the maximum allowed size of 262144000 bytes. The actual size is \
         300000000 bytes."
    );
}

#[test]
fn another_account_needs_the_layers_own_permission() {
    let mut world = World::new();
    world.call("PublishLayerVersion", publish("l", "aa"));
    let layer = format!("{ARN}:1");
    let other = root(OTHER);
    let role = format!("arn:aws:iam::{OTHER}:role/lambda");
    let creates = with(create("f"), json!({ "Role": role, "Layers": [layer] }));
    let needs = |world: &mut World| {
        let needs = world.needs_as(&other, "CreateFunction", &creates).expect("needs");
        needs.into_iter().find(|need| need.action == "lambda:GetLayerVersion").expect("of the layer")
    };
    let need = needs(&mut world);
    assert_eq!((need.resource.as_str(), need.account.as_str(), need.resource_policy), (layer.as_str(), OWNER, None));
    let grant = with(version(1), json!({ "StatementId": "s", "Action": "lambda:GetLayerVersion", "Principal": OTHER }));
    let added = world.call("AddLayerVersionPermission", grant.clone());
    let statement = format!(
        "{{\"Sid\":\"s\",\"Effect\":\"Allow\",\"Principal\":{{\"AWS\":\"arn:aws:iam::{OTHER}:root\"}},\"Action\":\
         \"lambda:GetLayerVersion\",\"Resource\":\"{layer}\"}}"
    );
    assert_eq!(added["Statement"], statement);
    let policy = world.call("GetLayerVersionPolicy", version(1));
    assert_eq!(policy["RevisionId"], added["RevisionId"]);
    assert_eq!(needs(&mut world).resource_policy.as_deref(), policy["Policy"].as_str());
    assert_eq!(world.refused("AddLayerVersionPermission", grant).status, 409);
    let of = json!({ "LayerName": ARN, "VersionNumber": 1 });
    let foreign = world.needs_as(&other, "GetLayerVersionPolicy", &of).expect("needs");
    assert!(foreign.iter().all(|need| need.account == OWNER && need.resource_policy.is_none()));
    world.call("RemoveLayerVersionPermission", with(version(1), json!({ "StatementId": "s" })));
    assert_eq!(needs(&mut world).resource_policy, None);
    let refused = world.refused("GetLayerVersionPolicy", version(1));
    assert_eq!(refused.message, "No policy is associated with the given resource.");
}

#[test]
fn refusals_of_operations_have_awss_texts() {
    let mut world = World::new();
    world.call("PublishLayerVersion", publish("l", "aa"));
    let grant = |members: Value| {
        let base = json!({ "StatementId": "s", "Action": "lambda:GetLayerVersion", "Principal": "*" });
        with(with(version(1), base), members)
    };
    for (name, params, text) in [
        ("GetLayerVersion", version(0), "Layer Version Cannot be less than 1".to_owned()),
        ("GetLayerVersionPolicy", version(7), format!("Layer version {ARN}:7 does not exist.")),
        ("PublishLayerVersion", json!({ "LayerName": "l", "Content": {} }), {
            "Please provide a source for layer content.".to_owned()
        }),
        ("AddLayerVersionPermission", grant(json!({ "RevisionId": "x" })), {
            "The Revision Id provided does not match the latest Revision Id. Call the GetLayerPolicy API to retrieve the \
             latest Revision Id"
                .to_owned()
        }),
        ("AddLayerVersionPermission", grant(json!({ "Action": "lambda:*" })), {
            "1 validation error detected: Value 'lambda:*' at 'action' failed to satisfy constraint: Member must satisfy \
             regular expression pattern: lambda:GetLayerVersion"
                .to_owned()
        }),
        ("RemoveLayerVersionPermission", with(version(1), json!({ "StatementId": "s" })), {
            "Statement s is not found in resource policy.".to_owned()
        }),
    ] {
        assert_eq!(world.refused(name, params.clone()).message, text, "{name} {params}");
    }
    let error = world
        .try_as(&root(OTHER), "DeleteLayerVersion", json!({ "LayerName": ARN, "VersionNumber": 1 }))
        .expect_err("somebody else's");
    assert_eq!(error.status, 403);
}
