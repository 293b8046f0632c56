use serde_json::{Value, json};

use super::{KeyInUse, Quota, Throttle, load};
use crate::testing::{World, entry, merge, patch, text};

fn with_stage(world: &mut World) -> String {
    let (api, root) = world.api();
    world.mock(&api, &root, "GET");
    world.ok("CreateDeployment", json!({"restApiId": api, "stageName": "Dev"}));
    api
}

fn plan(world: &mut World, members: &Value) -> String {
    text(&world.ok("CreateUsagePlan", merge(&json!({"name": "p"}), members.clone())), "id")
}

fn key(world: &mut World) -> String {
    text(&world.ok("CreateApiKey", json!({"name": "k", "enabled": true})), "id")
}

fn member(plan: &str, key: &str) -> Value {
    json!({"usagePlanId": plan, "keyId": key, "keyType": "API_KEY"})
}

fn in_use(world: &mut World) -> Vec<KeyInUse> {
    let scope = world.scope();
    world.read(|tx| load(tx, &scope))
}

#[test]
fn a_plan_shows_what_was_sent() {
    let mut world = World::new();
    let api = with_stage(&mut world);
    let bare = world.ok("CreateUsagePlan", json!({"name": "bare"}));
    assert_eq!(bare, json!({"id": bare["id"], "name": "bare", "apiStages": []}));
    let sent = json!({
        "name": "p", "description": "d", "apiStages": [{"apiId": api, "stage": "Dev"}],
        "throttle": {"burstLimit": 5, "rateLimit": 2.5}, "quota": {"limit": 10, "offset": 2, "period": "WEEK"},
        "tags": {"a": "b"}
    });
    let made = world.ok("CreateUsagePlan", sent.clone());
    assert_eq!(made, merge(&sent, json!({"id": made["id"]})));
    assert_eq!(world.ok("GetUsagePlan", json!({"usagePlanId": made["id"]})), made);
    let shown = world.ok("GetUsagePlan", json!({"usagePlanId": bare["id"]}));
    assert_eq!(shown, merge(&bare, json!({"tags": {}})));
    let mut both = vec![bare, made];
    both.sort_by_key(|plan| text(plan, "id"));
    assert_eq!(world.ok("GetUsagePlans", json!({})), json!({"items": both}));
    assert_eq!(world.ok("GetUsagePlans", json!({"keyId": "x"})), json!({"items": []}));
}

#[test]
fn plans_that_cannot_be_are_refused() {
    let mut world = World::new();
    let api = with_stage(&mut world);
    for (members, expected) in [
        (json!({"name": " "}), "BadRequest 400 Usage Plan name cannot be empty"),
        (json!({"throttle": {"burstLimit": -1}}), "BadRequest 400 Usage Plan throttle burstLimit must not be negative"),
        (json!({"throttle": {"rateLimit": -1}}), "BadRequest 400 Usage Plan throttle rateLimit must not be negative"),
        (json!({"quota": {"limit": 1}}), "BadRequest 400 Usage Plan quota period must be set"),
        (
            json!({"quota": {"limit": -1, "period": "DAY"}}),
            "BadRequest 400 Usage Plan quota limit must not be negative",
        ),
        (
            json!({"quota": {"limit": 1, "offset": 1, "period": "DAY"}}),
            "BadRequest 400 Usage Plan quota offset must be zero in the DAY period",
        ),
        (
            json!({"quota": {"limit": 1, "offset": 7, "period": "WEEK"}}),
            "BadRequest 400 Usage Plan quota offset must be between zero and six inclusive in the WEEK period",
        ),
        (json!({"apiStages": [{"apiId": api}]}), "BadRequest 400 Invalid API Stage specified"),
        (
            json!({"apiStages": [{"apiId": api, "stage": "Dev", "throttle": {"/a/GET": {"burstLimit": 1}}}]}),
            "BadRequest 400 apiStages.throttle is not supported by this version of Portcullis.",
        ),
    ] {
        world.refuses("CreateUsagePlan", merge(&json!({"name": "p"}), members), expected);
    }
    let unknown = json!({"name": "p", "apiStages": [{"apiId": api, "stage": "x"}]});
    let (code, status, message) = world.refused("CreateUsagePlan", unknown);
    assert_eq!((code.as_str(), status), ("NotFound", 404));
    assert!(message.starts_with(&format!("Invalid API Stage {{api: {api}, stage: x}} specified for usageplan ")));
}

#[test]
fn patches_change_what_they_name() {
    let mut world = World::new();
    let api = with_stage(&mut world);
    let own = json!({"usagePlanId": plan(&mut world, &json!({}))});
    let at = format!("{api}:Dev");
    for (op, path, value, pointer, expected) in [
        ("replace", "/name", Some("q"), "/name", json!("q")),
        ("replace", "/description", Some("d"), "/description", json!("d")),
        ("replace", "/productCode", Some(""), "/productCode", Value::Null),
        ("add", "/throttle/rateLimit", Some("2.500000"), "/throttle", json!({"burstLimit": 0, "rateLimit": 2.5})),
        ("replace", "/throttle/burstLimit", Some("7"), "/throttle/burstLimit", json!(7)),
        ("remove", "/throttle", None, "/throttle", Value::Null),
        ("add", "/apiStages", Some(&at), "/apiStages", json!([{"apiId": api, "stage": "Dev"}])),
        ("remove", "/apiStages", Some(&at), "/apiStages", json!([])),
    ] {
        let answer = world.ok("UpdateUsagePlan", merge(&own, patch(op, path, value)));
        assert_eq!(answer.pointer(pointer).cloned().unwrap_or_default(), expected, "{op} {path}");
        assert_eq!(world.ok("GetUsagePlan", own.clone()), answer);
    }
    let steps = json!({"patchOperations": [
        {"op": "add", "path": "/quota/limit", "value": "10"},
        {"op": "add", "path": "/quota/offset", "value": "1"},
        {"op": "add", "path": "/quota/period", "value": "MONTH"}
    ]});
    let answer = world.ok("UpdateUsagePlan", merge(&own, steps));
    assert_eq!(answer["quota"], json!({"limit": 10, "offset": 1, "period": "MONTH"}));
    let answer = world.ok("UpdateUsagePlan", merge(&own, patch("remove", "/quota", None)));
    assert_eq!(answer.get("quota"), None);
}

#[test]
fn bad_patches_are_refused() {
    let mut world = World::new();
    let api = with_stage(&mut world);
    let id = plan(&mut world, &json!({"apiStages": [{"apiId": api, "stage": "Dev"}]}));
    let own = json!({"usagePlanId": id});
    for (op, path, value, expected) in [
        ("replace", "/x", "y", "BadRequest 400 Invalid patch path /x".to_owned()),
        (
            "replace",
            "/productCode",
            "y",
            "BadRequest 400 productCode is not supported by this version of Portcullis.".to_owned(),
        ),
        ("add", "/quota/limit", "1", "BadRequest 400 Usage Plan quota period must be set".to_owned()),
        (
            "replace",
            "/throttle/burstLimit",
            "x",
            "BadRequest 400 Invalid value 'x' specified for /throttle/burstLimit".to_owned(),
        ),
        (
            "replace",
            "/throttle/rateLimit",
            "NaN",
            "BadRequest 400 Usage Plan throttle rateLimit must not be negative".to_owned(),
        ),
        ("add", "/apiStages", "x", "BadRequest 400 Invalid API Stage specified".to_owned()),
        (
            "add",
            "/apiStages",
            "a:b",
            format!("NotFound 404 Invalid API Stage {{api: a, stage: b}} specified for usageplan {id}"),
        ),
        (
            "remove",
            "/apiStages",
            "a:b",
            format!("NotFound 404 Invalid API Stage {{api: a, stage: b}} specified for usageplan {id}"),
        ),
        (
            "add",
            "/apiStages",
            &format!("{api}:Dev"),
            format!("Conflict 409 The API stage {api}:Dev is in usage plan {id} already."),
        ),
        (
            "replace",
            "/apiStages/a:b/throttle/~1pets~1GET/rateLimit",
            "1",
            "BadRequest 400 apiStages.throttle is not supported by this version of Portcullis.".to_owned(),
        ),
    ] {
        world.refuses("UpdateUsagePlan", merge(&own, patch(op, path, Some(value))), &expected);
    }
}

#[test]
fn keys_join_and_leave_a_plan() {
    let mut world = World::new();
    let (plan, key) = (plan(&mut world, &json!({})), key(&mut world));
    let own = member(&plan, &key);
    let joined = world.ok("CreateUsagePlanKey", own.clone());
    let value = text(&joined, "value");
    assert_eq!(joined, json!({"id": key, "type": "API_KEY", "value": value, "name": "k"}));
    assert!(entry("CreateUsagePlanKey").trail_response(&joined).get("value").is_none());
    assert_eq!(world.ok("GetUsagePlanKey", own.clone()), joined);
    let listed = json!({"items": [{"id": key, "type": "API_KEY", "name": "k"}]});
    for query in [json!({}), json!({"nameQuery": "k"})] {
        assert_eq!(world.ok("GetUsagePlanKeys", merge(&json!({"usagePlanId": plan}), query)), listed);
    }
    let none = world.ok("GetUsagePlanKeys", json!({"usagePlanId": plan, "nameQuery": "x"}));
    assert_eq!(none, json!({"items": []}));
    assert_eq!(world.ok("GetUsagePlans", json!({"keyId": key}))["items"][0]["id"], json!(plan));
    let again = format!("Conflict 409 API Key {key} is in usage plan {plan} already.");
    world.refuses("CreateUsagePlanKey", own.clone(), &again);
    assert_eq!(world.ok("DeleteUsagePlanKey", own.clone()), json!({}));
    world.refuses("GetUsagePlanKey", own.clone(), "NotFound 404 Invalid API Key identifier specified");
    for (members, expected) in [
        (json!({"usagePlanId": "x"}), "NotFound 404 Invalid Usage Plan ID specified"),
        (json!({"keyId": "x"}), "NotFound 404 Invalid API Key identifier specified"),
        (json!({"keyType": "x"}), "BadRequest 400 Invalid keyType specified. Valid options are API_KEY"),
    ] {
        world.refuses("CreateUsagePlanKey", merge(&own, members), expected);
    }
}

#[test]
fn a_key_is_counted_for_a_stage_by_one_plan_alone() {
    let mut world = World::new();
    let api = with_stage(&mut world);
    let stages = json!({"apiStages": [{"apiId": api, "stage": "Dev"}]});
    let (one, two, bare) = (plan(&mut world, &stages), plan(&mut world, &stages), plan(&mut world, &json!({})));
    let key = key(&mut world);
    world.ok("CreateUsagePlanKey", member(&one, &key));
    world.ok("CreateUsagePlanKey", member(&bare, &key));
    let expected = format!(
        "Conflict 409 API Key {key} cannot be in two usage plans with the same API stage. Conflicting API stage: \
         {api}:Dev"
    );
    world.refuses("CreateUsagePlanKey", member(&two, &key), &expected);
    let add = merge(&json!({"usagePlanId": bare}), patch("add", "/apiStages", Some(&format!("{api}:Dev"))));
    world.refuses("UpdateUsagePlan", add.clone(), &expected);
    world.ok("DeleteUsagePlanKey", member(&one, &key));
    world.ok("UpdateUsagePlan", add);
}

#[test]
fn a_key_is_in_ten_plans_at_most() {
    let mut world = World::new();
    let key = key(&mut world);
    for _ in 0..10 {
        let plan = plan(&mut world, &json!({}));
        world.ok("CreateUsagePlanKey", member(&plan, &key));
    }
    let plan = plan(&mut world, &json!({}));
    assert_eq!(world.refused("CreateUsagePlanKey", member(&plan, &key)).0, "LimitExceeded");
}

#[test]
fn a_plan_goes_once_its_stages_are_gone() {
    let mut world = World::new();
    let api = with_stage(&mut world);
    let stages = json!({"apiStages": [{"apiId": api, "stage": "Dev"}]});
    let (id, key) = (plan(&mut world, &stages), key(&mut world));
    world.ok("CreateUsagePlanKey", member(&id, &key));
    let own = json!({"usagePlanId": id});
    let expected = format!("BadRequest 400 Cannot delete usage plan {id} with associated api stages");
    world.refuses("DeleteUsagePlan", own.clone(), &expected);
    world.ok("DeleteStage", json!({"restApiId": api, "stageName": "Dev"}));
    assert_eq!(world.ok("DeleteUsagePlan", own.clone()), json!({}));
    world.refuses("GetUsagePlan", own, "NotFound 404 Invalid Usage Plan ID specified");
    assert!(!world.keys().iter().any(|key| key.contains("UsagePlan")));
}

#[test]
fn a_deleted_api_leaves_all_plans() {
    let mut world = World::new();
    let (api, other) = (with_stage(&mut world), with_stage(&mut world));
    let stages = json!({"apiStages": [{"apiId": api, "stage": "Dev"}, {"apiId": other, "stage": "Dev"}]});
    let id = plan(&mut world, &stages);
    world.ok("DeleteRestApi", json!({"restApiId": api}));
    let left = world.ok("GetUsagePlan", json!({"usagePlanId": id}));
    assert_eq!(left["apiStages"], json!([{"apiId": other, "stage": "Dev"}]));
}

#[test]
fn the_data_plane_sees_every_key_with_its_plans() {
    let mut world = World::new();
    let api = with_stage(&mut world);
    let members = json!({
        "apiStages": [{"apiId": api, "stage": "Dev"}], "throttle": {"burstLimit": 1, "rateLimit": 2.0},
        "quota": {"limit": 3, "period": "DAY"}
    });
    let plan = plan(&mut world, &members);
    let (used, idle) = (key(&mut world), key(&mut world));
    world.ok("CreateUsagePlanKey", member(&plan, &used));
    let keys = in_use(&mut world);
    assert_eq!(keys.len(), 2);
    let of = |id: &str| keys.iter().find(|key| key.key_id == id).expect("the key");
    assert!(of(&idle).plans.is_empty());
    let found = of(&used);
    assert_eq!((found.value.len(), found.enabled, found.name.as_deref()), (40, true, Some("k")));
    let [its] = found.plans.as_slice() else { panic!("one plan: {found:?}") };
    assert_eq!(its.plan_id, plan);
    assert_eq!(its.stages, [(api, "Dev".to_owned())]);
    assert_eq!(its.throttle, Some(Throttle { burst_limit: 1, rate_limit: 2.0 }));
    assert_eq!(its.quota, Some(Quota { limit: 3, offset: 0, period: "DAY".to_owned() }));
    assert!(!format!("{found:?}").contains(&found.value), "a value is not printed");
    world.region = "eu-west-1";
    assert!(in_use(&mut world).is_empty());
}
