use serde_json::{Value, json};

use crate::authorizer::tests::URI;
use crate::deployment::Deployment;
use crate::snapshot::Snapshot;
use crate::stage::Stage;
use crate::testing::{ACCOUNT, NOW_S, World, merge, patch, text};

fn prepared(world: &mut World) -> (String, String) {
    let (api, root) = world.api();
    world.mock(&api, &root, "GET");
    (api, root)
}

fn stage(world: &mut World, api: &str, name: &str) -> Stage {
    world.record(&world.scope(), api, name).expect("a stage")
}

fn snapshot(world: &mut World, hash: &str) -> Snapshot {
    serde_json::from_value(world.blob(hash)).expect("a snapshot")
}

#[test]
fn an_api_without_anything_to_serve_is_not_deployed() {
    let mut world = World::new();
    let (api, root) = world.api();
    let own = json!({"restApiId": api, "stageName": "Dev"});
    world.refuses("CreateDeployment", own.clone(), "BadRequest 400 The REST API doesn't contain any methods");
    world.mock(&api, &root, "GET");
    world.ok(
        "PutMethod",
        json!({"restApiId": api, "resourceId": root, "httpMethod": "POST", "authorizationType": "NONE"}),
    );
    world.refuses("CreateDeployment", own, "BadRequest 400 No integration defined for method");
    assert_eq!(world.ok("GetStages", json!({"restApiId": api})), json!({"item": []}));
    assert_eq!(world.ok("GetDeployments", json!({"restApiId": api})), json!({"items": []}));
}

#[test]
fn a_deployment_shows_id_description_and_date() {
    let mut world = World::new();
    let (api, _) = prepared(&mut world);
    let plain = world.ok("CreateDeployment", json!({"restApiId": api, "stageName": ""}));
    let id = text(&plain, "id");
    assert_eq!(id.len(), 6);
    assert_eq!(plain, json!({"id": id, "createdDate": NOW_S}));
    assert_eq!(world.ok("GetStages", json!({"restApiId": api})), json!({"item": []}), "no stage was named");
    let own = json!({"restApiId": api, "deploymentId": id});
    assert_eq!(world.ok("GetDeployment", own.clone()), plain);
    let summary = world.ok("GetDeployment", merge(&own, json!({"embed": ["apisummary"]})));
    assert_eq!(
        summary,
        merge(&plain, json!({"apiSummary": {"/": {"GET": {"authorizationType": "NONE", "apiKeyRequired": false}}}}))
    );
    let described = world.ok("CreateDeployment", json!({"restApiId": api, "description": "d"}));
    assert_eq!(described["description"], "d");
    let listed = world.ok("GetDeployments", json!({"restApiId": api}));
    assert_eq!(listed["items"].as_array().map(Vec::len), Some(2));
}

#[test]
fn the_copy_holds_everything_and_later_edits_leave_it_alone() {
    let mut world = World::new();
    let (api, root) = prepared(&mut world);
    let authorizer = world.ok(
        "CreateAuthorizer",
        json!({
            "restApiId": api, "name": "a", "type": "TOKEN", "authorizerUri": URI,
            "identitySource": "method.request.header.A"
        }),
    );
    let pets = text(&world.ok("CreateResource", json!({"restApiId": api, "parentId": root, "pathPart": "pets"})), "id");
    let method = json!({"restApiId": api, "resourceId": pets, "httpMethod": "GET"});
    world.ok("PutMethod", merge(&method, json!({"authorizationType": "CUSTOM", "authorizerId": authorizer["id"]})));
    world.ok("PutIntegration", merge(&method, json!({"type": "MOCK"})));
    let first = text(&world.ok("CreateDeployment", json!({"restApiId": api, "stageName": "Dev"})), "id");

    let served = stage(&mut world, &api, "Dev");
    let frozen = snapshot(&mut world, &served.snapshot);
    assert_eq!((frozen.account.as_str(), frozen.region.as_str()), (ACCOUNT, "us-east-1"));
    assert_eq!(frozen.deployment_id, first);
    assert_eq!(frozen.rest_api.id, api);
    let mut paths: Vec<&str> = frozen.resources.iter().map(|resource| resource.path.as_str()).collect();
    paths.sort_unstable();
    assert_eq!(paths, ["/", "/pets"]);
    assert_eq!(frozen.methods.len(), 2);
    assert_eq!(serde_json::to_value(&frozen.authorizers).expect("JSON"), json!([authorizer]));

    world.ok("DeleteResource", json!({"restApiId": api, "resourceId": pets}));
    world.ok("DeleteAuthorizer", json!({"restApiId": api, "authorizerId": authorizer["id"]}));
    world.ok("UpdateRestApi", merge(&json!({"restApiId": api}), patch("replace", "/name", Some("renamed"))));
    let same = stage(&mut world, &api, "Dev");
    assert_eq!(same, served);
    assert_eq!(snapshot(&mut world, &same.snapshot), frozen);

    let second = text(&world.ok("CreateDeployment", json!({"restApiId": api, "stageName": "Dev"})), "id");
    let later = stage(&mut world, &api, "Dev");
    assert_eq!(later.deployment_id, second);
    let thawed = snapshot(&mut world, &later.snapshot);
    assert_eq!((thawed.resources.len(), thawed.methods.len(), thawed.authorizers.len()), (1, 1, 0));
    assert_eq!(thawed.rest_api.name, "renamed");
}

#[test]
fn a_named_stage_is_made_once_and_repointed_afterwards() {
    let mut world = World::new();
    let (api, _) = prepared(&mut world);
    let own = json!({"restApiId": api, "stageName": "Dev"});
    let sent = json!({
        "stageDescription": "first", "variables": {"a": "1", "b": "2"}, "cacheClusterEnabled": false,
        "tracingEnabled": false
    });
    world.ok("CreateDeployment", merge(&own, sent));
    let first = stage(&mut world, &api, "Dev");
    assert_eq!(first.description.as_deref(), Some("first"));
    assert_eq!(first.variables.len(), 2);
    world.now_ms += 5000;
    world.ok("CreateDeployment", own.clone());
    let second = stage(&mut world, &api, "Dev");
    assert_ne!(second.deployment_id, first.deployment_id);
    assert_ne!(second.snapshot, first.snapshot);
    assert_eq!(
        (&second.description, &second.variables),
        (&first.description, &first.variables),
        "what is not sent stays"
    );
    assert_eq!(second.authorizers_epoch, first.authorizers_epoch + 1, "cached answers are dropped");
    assert_eq!(second.created_date, first.created_date);
    assert_eq!(second.last_updated_date.s(), NOW_S + 5);
    world.ok("CreateDeployment", merge(&own, json!({"variables": {"c": "3"}, "stageDescription": "third"})));
    let third = stage(&mut world, &api, "Dev");
    assert_eq!(serde_json::to_value(&third.variables).expect("JSON"), json!({"c": "3"}));
    assert_eq!(third.description.as_deref(), Some("third"));
}

#[test]
fn what_cannot_be_deployed_is_refused() {
    let mut world = World::new();
    let (api, _) = prepared(&mut world);
    let unsupported = |member: &str| format!("BadRequest 400 {member} is not supported by this version of Portcullis.");
    for (members, expected) in [
        (json!({"cacheClusterEnabled": true}), unsupported("cacheClusterEnabled true")),
        (json!({"tracingEnabled": true}), unsupported("tracingEnabled true")),
        (json!({"canarySettings": {"percentTraffic": 10.0}}), unsupported("canarySettings")),
        (json!({"stageName": "a b"}), "BadRequest 400 Stage name only allows a-zA-Z0-9_-".to_owned()),
        (json!({"variables": {"a": "1"}}), "BadRequest 400 stageDescription and variables need a stageName".to_owned()),
    ] {
        world.refuses("CreateDeployment", merge(&json!({"restApiId": api}), members), &expected);
    }
    let invalid = json!({"restApiId": api, "stageName": "s", "variables": {"a": "x y"}});
    assert_eq!(world.refused("CreateDeployment", invalid).0, "BadRequest");
    assert_eq!(world.ok("GetDeployments", json!({"restApiId": api})), json!({"items": []}));
}

#[test]
fn only_the_description_changes() {
    let mut world = World::new();
    let (api, _) = prepared(&mut world);
    let id = text(&world.ok("CreateDeployment", json!({"restApiId": api})), "id");
    let own = json!({"restApiId": api, "deploymentId": id});
    let answer = world.ok("UpdateDeployment", merge(&own, patch("replace", "/description", Some("d"))));
    assert_eq!(answer, json!({"id": id, "description": "d", "createdDate": NOW_S}));
    for (op, path, expected) in [
        ("replace", "/id", "Invalid patch path  '/id' specified for op 'replace'. Must be one of: [/description]"),
        (
            "add",
            "/description",
            "Invalid patch path  '/description' specified for op 'add'. Please choose supported operations",
        ),
    ] {
        world.refuses(
            "UpdateDeployment",
            merge(&own, patch(op, path, Some("x"))),
            &format!("BadRequest 400 {expected}"),
        );
    }
}

#[test]
fn a_deployment_that_is_served_stays() {
    let mut world = World::new();
    let (api, _) = prepared(&mut world);
    let id = text(&world.ok("CreateDeployment", json!({"restApiId": api, "stageName": "Dev"})), "id");
    let own = json!({"restApiId": api, "deploymentId": id});
    let active = "BadRequest 400 Active stages pointing to this deployment must be moved or deleted";
    world.refuses("DeleteDeployment", own.clone(), active);
    world.ok("CreateDeployment", json!({"restApiId": api, "stageName": "Dev"}));
    assert_eq!(world.ok("DeleteDeployment", own.clone()), json!({}));
    for name in ["GetDeployment", "DeleteDeployment", "UpdateDeployment"] {
        world.refuses(name, own.clone(), "NotFound 404 Invalid Deployment identifier specified");
    }
    assert!(world.record::<Deployment>(&world.scope(), &api, &id).is_none());
}

#[test]
fn no_member_of_the_answer_tells_the_hash() {
    let mut world = World::new();
    let (api, _) = prepared(&mut world);
    let answer = world.ok("CreateDeployment", json!({"restApiId": api, "stageName": "Dev"}));
    let shown = world.ok("GetStage", json!({"restApiId": api, "stageName": "Dev"}));
    for value in [answer, shown] {
        assert_eq!(value.get("snapshot"), None::<&Value>);
    }
}
