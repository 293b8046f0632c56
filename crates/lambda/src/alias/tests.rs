use serde_json::json;

use crate::harness::{World, body, with};

const ARN: &str = "arn:aws:lambda:us-east-1:444455556666:function:f";

/// `f` with versions 1 and 2.
fn world() -> World {
    let mut world = World::with_function();
    world.call("PublishVersion", json!({ "FunctionName": "f" }));
    world.call("UpdateFunctionConfiguration", json!({ "FunctionName": "f", "Timeout": 5 }));
    world.call("PublishVersion", json!({ "FunctionName": "f" }));
    world
}

#[test]
fn an_alias_lives_through_its_operations() {
    let mut world = world();
    let live = json!({ "FunctionName": "f", "Name": "live" });
    let mut created =
        world.call("CreateAlias", with(live.clone(), json!({ "FunctionVersion": "1", "Description": "d" })));
    assert_eq!(world.call("GetAlias", live.clone()), created);
    let revision = created.as_object_mut().and_then(|members| members.shift_remove("RevisionId")).expect("a revision");
    let arn = format!("{ARN}:live");
    assert_eq!(created, json!({ "AliasArn": arn, "Name": "live", "FunctionVersion": "1", "Description": "d" }));
    let routed = json!({ "RevisionId": revision, "RoutingConfig": { "AdditionalVersionWeights": { "2": 0.1 } } });
    let updated = world.call("UpdateAlias", with(live.clone(), routed.clone()));
    assert_eq!(updated["RoutingConfig"], routed["RoutingConfig"]);
    assert_eq!((&updated["FunctionVersion"], &updated["Description"]), (&json!("1"), &json!("d")));
    let error = world.refused("UpdateAlias", with(live.clone(), routed));
    assert_eq!(error.status, 412);
    let cleared = world.call("UpdateAlias", with(live.clone(), json!({ "RoutingConfig": {}, "FunctionVersion": "2" })));
    assert!(cleared.get("RoutingConfig").is_none());
    // Reading the function through the alias shows the version behind it.
    let read = world.call("GetFunctionConfiguration", json!({ "FunctionName": "f:live" }));
    assert_eq!((&read["FunctionArn"], &read["Version"], &read["Timeout"]), (&json!(arn), &json!("2"), &json!(5)));
    world.call("CreateAlias", json!({ "FunctionName": "f", "Name": "dev", "FunctionVersion": "$LATEST" }));
    let names = |list: serde_json::Value| {
        let aliases = list["Aliases"].as_array().expect("a list").clone();
        aliases.iter().map(|alias| alias["Name"].as_str().expect("text").to_owned()).collect::<Vec<_>>()
    };
    let page = world.call("ListAliases", json!({ "FunctionName": "f", "MaxItems": 1 }));
    assert_eq!(names(page.clone()), ["dev"]);
    let page = world.call("ListAliases", json!({ "FunctionName": "f", "MaxItems": 1, "Marker": page["NextMarker"] }));
    assert_eq!(names(page), ["live"]);
    assert_eq!(names(world.call("ListAliases", json!({ "FunctionName": "f", "FunctionVersion": "2" }))), ["live"]);
    world.call("DeleteAlias", live.clone());
    world.call("DeleteAlias", live);
    assert_eq!(names(world.call("ListAliases", json!({ "FunctionName": "f" }))), ["dev"]);
}

#[test]
fn refusals_have_awss_texts() {
    let mut world = world();
    let base = json!({ "FunctionName": "f", "Name": "live", "FunctionVersion": "1" });
    world.call("CreateAlias", base.clone());
    let weights =
        |weights: serde_json::Value| json!({ "Name": "new", "RoutingConfig": { "AdditionalVersionWeights": weights } });
    for (members, status, message) in [
        (json!({}), 409, format!("Alias already exists: {ARN}:live")),
        (json!({ "Name": "new", "FunctionVersion": "9" }), 404, format!("Function not found: {ARN}:9")),
        (json!({ "FunctionName": "g" }), 404, format!("Function not found: {}g", &ARN[..ARN.len() - 1])),
        (
            json!({ "Name": "12" }),
            400,
            "1 validation error detected: Value '12' at 'name' failed to satisfy constraint: Member \
            must satisfy regular expression pattern: (?!^[0-9]+$)([a-zA-Z0-9-_]+)"
                .to_owned(),
        ),
        (
            weights(json!({ "1": 0.5, "2": 0.5 })),
            400,
            "Number of items in AdditionalVersionWeights cannot be greater than 1".to_owned(),
        ),
        (
            weights(json!({ "1": 0.5 })),
            400,
            "Invalid function version 1. Function version 1 is already included in routing configuration.".to_owned(),
        ),
        (weights(json!({ "7": 0.5 })), 404, format!("Function not found: {ARN}:7")),
        (
            with(weights(json!({ "1": 0.5 })), json!({ "FunctionVersion": "$LATEST" })),
            400,
            "$LATEST is not supported for an alias pointing to more than 1 version".to_owned(),
        ),
    ] {
        let error = world.refused("CreateAlias", with(base.clone(), members.clone()));
        assert_eq!((error.status, error.message), (status, message), "{members}");
    }
    let error = world.refused("CreateAlias", with(base.clone(), weights(json!({ "2": 1.5 }))));
    assert_eq!(error.code, "ValidationException");
    let nope = json!({ "FunctionName": "f", "Name": "nope" });
    let error = world.refused("GetAlias", nope.clone());
    assert_eq!(
        body(&error),
        json!({ "Type": "User", "Message": format!("Cannot find alias arn: {ARN}:nope") }).to_string()
    );
    assert_eq!(world.refused("UpdateAlias", nope).message, format!("Alias not found: {ARN}:nope"));
}

#[test]
fn an_unchanged_function_is_not_published_twice() {
    let mut world = World::with_function();
    let f = json!({ "FunctionName": "f" });
    let first = world.call("PublishVersion", with(f.clone(), json!({ "Description": "one" })));
    assert_eq!((&first["Version"], &first["FunctionArn"]), (&json!("1"), &json!(format!("{ARN}:1"))));
    assert_eq!((&first["Description"], &first["State"]), (&json!("one"), &json!("Active")));
    assert_eq!(world.call("PublishVersion", f.clone()), first);
    // A permission and an update to the same values change nothing that runs.
    let permission = json!({
        "FunctionName": "f", "StatementId": "s", "Action": "lambda:InvokeFunction", "Principal": "s3.amazonaws.com",
    });
    world.call("AddPermission", permission);
    world.call("UpdateFunctionConfiguration", with(f.clone(), json!({ "Timeout": 3 })));
    assert_eq!(world.call("PublishVersion", f.clone())["Version"], "1");
    world.call("UpdateFunctionConfiguration", with(f.clone(), json!({ "Timeout": 4 })));
    let mismatch = world.refused("PublishVersion", with(f.clone(), json!({ "CodeSha256": "x" })));
    let present = world.call("GetFunctionConfiguration", f.clone())["CodeSha256"].as_str().expect("text").to_owned();
    assert_eq!(
        mismatch.message,
        format!(
            "CodeSHA256 (x) is different from current CodeSHA256 in $LATEST ({present}). Please try again with the CodeSHA256 \
             in $LATEST."
        )
    );
    assert_eq!(world.call("PublishVersion", with(f.clone(), json!({ "CodeSha256": present })))["Version"], "2");
    // The old version kept what it was published with, and a deleted number is not given again.
    assert_eq!(world.call("GetFunctionConfiguration", json!({ "FunctionName": "f:1" }))["Timeout"], 3);
    world.call("DeleteFunction", json!({ "FunctionName": "f:2" }));
    assert_eq!(world.call("PublishVersion", f.clone())["Version"], "3");
    let versions = |world: &mut World, input| {
        let list = world.call("ListVersionsByFunction", input);
        let versions = list["Versions"].as_array().expect("a list").clone();
        (versions.iter().map(|v| v["FunctionArn"].as_str().expect("text").replace(ARN, "")).collect::<Vec<_>>(), list)
    };
    assert_eq!(versions(&mut world, f.clone()).0, [":$LATEST", ":1", ":3"]);
    let (page, list) = versions(&mut world, with(f.clone(), json!({ "MaxItems": 1 })));
    assert_eq!(page, [":$LATEST"]);
    let (page, list) = versions(&mut world, with(f.clone(), json!({ "MaxItems": 1, "Marker": list["NextMarker"] })));
    assert_eq!(page, [":1"]);
    let (page, list) = versions(&mut world, with(f, json!({ "MaxItems": 1, "Marker": list["NextMarker"] })));
    assert_eq!(page, [":3"]);
    assert!(list.get("NextMarker").is_none());
}

#[test]
fn versions_sort_as_numbers() {
    let mut world = World::with_function();
    for timeout in 10..22 {
        world.call("UpdateFunctionConfiguration", json!({ "FunctionName": "f", "Timeout": timeout }));
        world.call("PublishVersion", json!({ "FunctionName": "f" }));
    }
    let list = world.call("ListVersionsByFunction", json!({ "FunctionName": "f" }));
    let last = list["Versions"].as_array().and_then(|versions| versions.last()).expect("a version");
    assert_eq!(last["Version"], "12");
}
