use serde_json::{Value, json};

use super::Stage;
use crate::testing::{NOW_S, World, merge, patch, text};

/// An API with one deployment that no stage serves.
fn prepared(world: &mut World) -> (String, String) {
    let (api, root) = world.api();
    world.mock(&api, &root, "GET");
    let deployment = text(&world.ok("CreateDeployment", json!({"restApiId": api})), "id");
    (api, deployment)
}

fn with_stage(world: &mut World) -> (Value, String) {
    let (api, deployment) = prepared(world);
    let own = json!({"restApiId": api, "stageName": "Dev"});
    world.ok("CreateStage", merge(&own, json!({"deploymentId": deployment})));
    (own, deployment)
}

fn record(world: &mut World, own: &Value) -> Stage {
    world.record(&world.scope(), &text(own, "restApiId"), &text(own, "stageName")).expect("a stage")
}

#[test]
fn a_stage_shows_what_was_sent_and_the_defaults() {
    let mut world = World::new();
    let (api, deployment) = prepared(&mut world);
    let own = json!({"restApiId": api, "stageName": "Dev"});
    let answer = world.ok("CreateStage", merge(&own, json!({"deploymentId": deployment})));
    assert_eq!(
        answer,
        json!({
            "deploymentId": deployment, "stageName": "Dev", "cacheClusterEnabled": false,
            "cacheClusterStatus": "NOT_AVAILABLE", "methodSettings": {}, "tracingEnabled": false, "createdDate": NOW_S,
            "lastUpdatedDate": NOW_S
        })
    );
    assert_eq!(world.ok("GetStage", own), answer);
    let full = world.ok(
        "CreateStage",
        json!({
            "restApiId": api, "stageName": "a-B_9", "deploymentId": deployment, "description": "d",
            "cacheClusterEnabled": false, "tracingEnabled": false, "documentationVersion": "",
            "variables": {"url": "a.b-c~d:/e?f#g&h=i,j"}, "tags": {"k": "v"}
        }),
    );
    assert_eq!(full["description"], "d");
    assert_eq!(full["variables"], json!({"url": "a.b-c~d:/e?f#g&h=i,j"}));
    assert_eq!(full["tags"], json!({"k": "v"}));
    assert_eq!(world.ok("GetStages", json!({"restApiId": api})), json!({"item": [answer, full]}));
    assert_eq!(world.ok("GetStages", json!({"restApiId": api, "deploymentId": "x"})), json!({"item": []}));
}

#[test]
fn what_cannot_be_created_is_refused() {
    let mut world = World::new();
    let (own, deployment) = with_stage(&mut world);
    let unsupported = |member: &str| format!("BadRequest 400 {member} is not supported by this version of Portcullis.");
    let value_rule = |key: &str| {
        format!(
            "BadRequest 400 Invalid stage variable value of key {key}.  Please use values with alphanumeric \
             characters and the symbols ' ', -', '.', '_', ':', '/', '?', '&', '=', and ','."
        )
    };
    let name_rule = "BadRequest 400 Stage name only allows a-zA-Z0-9_-".to_owned();
    for (members, expected) in [
        (json!({"stageName": "Dev"}), "Conflict 409 Stage already exists".to_owned()),
        (json!({"deploymentId": "x"}), "BadRequest 400 Deployment id does not exist".to_owned()),
        (json!({"stageName": ""}), name_rule.clone()),
        (json!({"stageName": "a.b"}), name_rule.clone()),
        (json!({"stageName": "a".repeat(129)}), name_rule),
        (json!({"cacheClusterEnabled": true}), unsupported("cacheClusterEnabled true")),
        (json!({"tracingEnabled": true}), unsupported("tracingEnabled true")),
        (json!({"canarySettings": {}}), unsupported("canarySettings")),
        (json!({"documentationVersion": "1"}), unsupported("documentationVersion")),
        (json!({"variables": {"a": "x y"}}), value_rule("a")),
        (json!({"variables": {"a": ""}}), value_rule("a")),
        (json!({"variables": {"a": "x".repeat(513)}}), value_rule("a")),
        (
            json!({"variables": {"a-b": "1"}}),
            "BadRequest 400 Invalid stage variable name: a-b. A name has 1 to 64 alphanumeric characters and \
             underscores."
                .to_owned(),
        ),
    ] {
        let stage = merge(&own, json!({"stageName": "new", "deploymentId": deployment}));
        world.refuses("CreateStage", merge(&stage, members), &expected);
    }
    let many: serde_json::Map<String, Value> = (0..101).map(|n| (format!("v{n}"), json!("1"))).collect();
    let stage = merge(&own, json!({"stageName": "new", "deploymentId": deployment, "variables": many}));
    assert_eq!(world.refused("CreateStage", stage).0, "LimitExceeded");
    world.refuses(
        "GetStage",
        merge(&own, json!({"stageName": "new"})),
        "NotFound 404 Invalid stage identifier specified",
    );
}

#[test]
fn an_api_has_ten_stages_at_most() {
    let mut world = World::new();
    let (own, deployment) = with_stage(&mut world);
    for n in 1..10 {
        world.ok("CreateStage", merge(&own, json!({"stageName": format!("s{n}"), "deploymentId": deployment})));
    }
    let expected = "LimitExceeded 429 Maximum number of stages for this API has been reached. Please contact AWS if \
     you need additional stages.";
    world.refuses("CreateStage", merge(&own, json!({"stageName": "x", "deploymentId": deployment})), expected);
    world.refuses("CreateDeployment", merge(&own, json!({"stageName": "x"})), expected);
    world.ok("CreateDeployment", own);
}

#[test]
fn patches_change_what_they_name() {
    let mut world = World::new();
    let (own, _) = with_stage(&mut world);
    world.now_ms += 7000;
    for (op, path, value, member, expected) in [
        ("replace", "/description", Some("d"), "/description", json!("d")),
        ("replace", "/description", Some(""), "/description", Value::Null),
        ("replace", "/variables/a", Some("1"), "/variables", json!({"a": "1"})),
        ("add", "/variables/b", Some("2"), "/variables", json!({"a": "1", "b": "2"})),
        ("remove", "/variables/a", None, "/variables", json!({"b": "2"})),
        ("replace", "/cacheClusterEnabled", Some("false"), "/cacheClusterEnabled", json!(false)),
        ("replace", "/tracingEnabled", Some("false"), "/tracingEnabled", json!(false)),
        ("replace", "/clientCertificateId", Some(""), "/clientCertificateId", Value::Null),
        ("replace", "/documentationVersion", None, "/documentationVersion", Value::Null),
    ] {
        let answer = world.ok("UpdateStage", merge(&own, patch(op, path, value)));
        assert_eq!(answer.pointer(member).cloned().unwrap_or_default(), expected, "{op} {path}");
        assert_eq!(answer["lastUpdatedDate"], json!(NOW_S + 7));
        assert_eq!(world.ok("GetStage", own.clone()), answer);
    }
}

#[test]
fn repointing_rolls_back_with_its_snapshot_and_drops_cached_answers() {
    let mut world = World::new();
    let (own, first) = with_stage(&mut world);
    let before = record(&mut world, &own);
    world.ok("CreateDeployment", own.clone());
    let after = record(&mut world, &own);
    let back = merge(&own, patch("replace", "/deploymentId", Some(&first)));
    assert_eq!(world.ok("UpdateStage", back.clone())["deploymentId"], json!(first));
    let rolled_back = record(&mut world, &own);
    assert_eq!(rolled_back.snapshot, before.snapshot);
    assert_eq!(rolled_back.authorizers_epoch, after.authorizers_epoch + 1);
    world.ok("UpdateStage", back);
    assert_eq!(record(&mut world, &own).authorizers_epoch, rolled_back.authorizers_epoch, "nothing changed");
    let unknown = merge(&own, patch("replace", "/deploymentId", Some("x")));
    world.refuses("UpdateStage", unknown, "BadRequest 400 Deployment id does not exist");
}

#[test]
fn bad_patches_are_refused_and_change_nothing() {
    let mut world = World::new();
    let (own, _) = with_stage(&mut world);
    let before = record(&mut world, &own);
    let bad = |text: &str| format!("BadRequest 400 {text}");
    let unsupported = |member: &str| bad(&format!("{member} is not supported by this version of Portcullis."));
    let unset = |path: &str| {
        bad(&format!("Cannot remove method setting {path} because there is no method setting for this method "))
    };
    let log_paths = "Invalid accessLogSettings path. Must be one of : [/accessLogSettings/destinationArn, \
     /accessLogSettings/format]";
    for (op, path, value, expected) in [
        ("replace", "/cacheClusterEnabled", Some("true"), unsupported("cacheClusterEnabled true")),
        ("replace", "/cacheClusterSize", Some("0.5"), unsupported("cacheClusterSize")),
        ("replace", "/tracingEnabled", Some("true"), unsupported("tracingEnabled true")),
        ("replace", "/clientCertificateId", Some("x"), unsupported("clientCertificateId")),
        ("replace", "/documentationVersion", Some("1"), unsupported("documentationVersion")),
        ("replace", "/accessLogSettings/destinationArn", Some("arn"), bad("Access Log value must not be empty")),
        ("replace", "/accessLogSettings/format", Some(""), bad("Access Log value must not be empty")),
        ("replace", "/accessLogSettings/x", Some("y"), bad(log_paths)),
        ("remove", "/accessLogSettings", None, unset("accessLogSettings")),
        ("remove", "/canarySettings", None, unset("canarySettings")),
        ("remove", "/variables/a", None, unset("variables/a")),
        ("remove", "/*/*", None, unset("*/*")),
        ("remove", "/~1pets/GET", None, unset("~1pets/GET")),
        ("replace", "/canarySettings/percentTraffic", Some("10.0"), unsupported("canarySettings")),
        (
            "add",
            "/canarySettings/deploymentId",
            Some("x"),
            bad("Invalid add operation with path: /canarySettings/deploymentId"),
        ),
        ("add", "/description", Some("x"), bad("Invalid add operation with path: /description")),
        (
            "copy",
            "/deploymentId",
            None,
            bad("Invalid copy operation with path: /deploymentId and from null. Valid copy:path are [/deploymentId, \
                 /variables] and \
             valid copy:from are [/canarySettings/deploymentId, /canarySettings/stageVariableOverrides]"),
        ),
    ] {
        world.refuses("UpdateStage", merge(&own, patch(op, path, value)), &expected);
    }
    assert_eq!(record(&mut world, &own), before);
}

#[test]
fn copies_and_unknown_paths_are_refused_with_the_whole_list() {
    let mut world = World::new();
    let (own, _) = with_stage(&mut world);
    let before = record(&mut world, &own);
    let promotion = json!({"patchOperations": [
        {"op": "copy", "path": "/deploymentId", "from": "/canarySettings/deploymentId"}
    ]});
    world.refuses(
        "UpdateStage",
        merge(&own, promotion),
        "BadRequest 400 Promotion not available. Canary does not exist.",
    );
    for path in ["/x", "/*/*/logging/x", "/*/GET/logging/loglevel", "/variables", "/stageName"] {
        let (code, status, message) = world.refused("UpdateStage", merge(&own, patch("replace", path, Some("x"))));
        assert_eq!((code.as_str(), status), ("BadRequest", 400));
        let head = format!(
            "Invalid method setting path: {path}. Must be one of: [/deploymentId, /description, /cacheClusterEnabled,"
        );
        assert!(message.starts_with(&head), "{message}");
        assert!(
            message.contains("/throttling/burstLimit/{resourcePath}/{httpMethod}/throttling/rateLimit/{resourcePath}")
        );
        assert!(
            message.contains(
                "/*/*/throttling/burstLimit /*/*/throttling/rateLimit /*/*/caching/ttlInSeconds, /*/*/caching"
            )
        );
        assert!(message.ends_with("/variables/{variable_name}, /tracingEnabled]"), "{message}");
        assert!(!message.contains("  "), "{message}");
    }
    assert_eq!(record(&mut world, &own), before);
}

#[test]
fn flushing_raises_the_epoch_and_nothing_else() {
    let mut world = World::new();
    let (own, _) = with_stage(&mut world);
    let before = record(&mut world, &own);
    assert_eq!(world.ok("FlushStageAuthorizersCache", own.clone()), json!({}));
    let after = record(&mut world, &own);
    assert_eq!(after, Stage { authorizers_epoch: before.authorizers_epoch + 1, ..before });
}

#[test]
fn a_stage_made_again_begins_at_another_epoch() {
    let mut world = World::new();
    let (own, deployment) = with_stage(&mut world);
    let before = record(&mut world, &own);
    assert_eq!(world.ok("DeleteStage", own.clone()), json!({}));
    for name in ["GetStage", "DeleteStage", "UpdateStage", "FlushStageAuthorizersCache"] {
        world.refuses(name, own.clone(), "NotFound 404 Invalid stage identifier specified");
    }
    world.ok("CreateStage", merge(&own, json!({"deploymentId": deployment})));
    assert_ne!(record(&mut world, &own).authorizers_epoch, before.authorizers_epoch);
}
