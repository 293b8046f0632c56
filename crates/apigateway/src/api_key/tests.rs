use serde_json::{Value, json};

use super::ApiKey;
use crate::testing::{NOW_S, World, entry, merge, patch, text};

const VALUE: &str = "0123456789abcdefghij";

fn ids(page: &Value) -> Vec<&str> {
    page["items"].as_array().expect("a list").iter().filter_map(|key| key["id"].as_str()).collect()
}

#[test]
fn a_key_shows_its_value_only_when_asked() {
    let mut world = World::new();
    let made = world.ok("CreateApiKey", json!({"name": "n", "enabled": true, "generateDistinctId": true}));
    let (id, value) = (text(&made, "id"), text(&made, "value"));
    assert_eq!((id.len(), value.len()), (10, 40));
    let shown = json!({
        "id": id, "name": "n", "enabled": true, "createdDate": NOW_S, "lastUpdatedDate": NOW_S, "stageKeys": []
    });
    assert_eq!(made, merge(&shown, json!({"value": value})));
    let tagged = merge(&shown, json!({"tags": {}}));
    assert_eq!(world.ok("GetApiKey", json!({"apiKey": id})), tagged);
    let with_value = merge(&tagged, json!({"value": value}));
    assert_eq!(world.ok("GetApiKey", json!({"apiKey": id, "includeValue": true})), with_value);
    assert_eq!(world.ok("GetApiKeys", json!({})), json!({"items": [shown]}));
    let page = world.ok("GetApiKeys", json!({"includeValues": true}));
    assert_eq!(page["items"][0]["value"], json!(value));
}

#[test]
fn a_value_is_neither_printed_nor_recorded() {
    let mut world = World::new();
    let params = json!({"name": "n", "value": VALUE});
    let made = world.ok("CreateApiKey", params.clone());
    let create = entry("CreateApiKey");
    let record: ApiKey = world.record(&world.scope(), "", &text(&made, "id")).expect("a key");
    let said = format!("{}{}{record:?}", create.trail_parameters(&params), create.trail_response(&made));
    assert!(!said.contains(VALUE), "{said}");
    assert!(said.contains("\"name\":\"n\""), "{said}");
}

#[test]
fn values_are_unique_and_of_a_certain_length() {
    let mut world = World::new();
    world.ok("CreateApiKey", json!({"value": VALUE}));
    for (members, expected) in [
        (json!({"value": VALUE}), "Conflict 409 API Key already exists"),
        (json!({"value": "x".repeat(19)}), "BadRequest 400 API Key value should be at least 20 characters"),
        (json!({"value": "x".repeat(129)}), "BadRequest 400 API Key value exceeds maximum size of 128 characters"),
        (json!({"value": "a b".repeat(9)}), "BadRequest 400 API Key value may have printable ASCII characters only"),
        (json!({"name": "x".repeat(1025)}), "BadRequest 400 Invalid API Key name, can be at most 1024 characters."),
        (json!({"description": "x".repeat(1025)}), "BadRequest 400 Invalid API Key description specified."),
        (
            json!({"stageKeys": [{"restApiId": "a", "stageName": "s"}]}),
            "BadRequest 400 stageKeys is not supported by this version of Portcullis.",
        ),
    ] {
        world.refuses("CreateApiKey", members, expected);
    }
    world.account = "222222222222";
    world.ok("CreateApiKey", json!({"value": VALUE, "stageKeys": []}));
}

#[test]
fn keys_are_listed_newest_first_and_chosen_by_name_and_customer() {
    let mut world = World::new();
    let mut made = Vec::new();
    for (name, customer) in [("blue", "c"), ("black", ""), ("red", "c"), ("Blue", "d")] {
        world.now_ms += 1;
        made.push(text(&world.ok("CreateApiKey", json!({"name": name, "customerId": customer})), "id"));
    }
    let newest: Vec<&str> = made.iter().rev().map(String::as_str).collect();
    assert_eq!(ids(&world.ok("GetApiKeys", json!({}))), newest);
    assert_eq!(ids(&world.ok("GetApiKeys", json!({"limit": 501}))), newest);
    assert_eq!(ids(&world.ok("GetApiKeys", json!({"nameQuery": "bl"}))), [&made[1], &made[0]]);
    assert_eq!(ids(&world.ok("GetApiKeys", json!({"customerId": "c"}))), [&made[2], &made[0]]);
    let mut seen = Vec::new();
    let mut position = Value::Null;
    loop {
        let page = world.ok("GetApiKeys", json!({"limit": 3, "position": position}));
        seen.extend(ids(&page).into_iter().map(str::to_owned));
        position = page["position"].clone();
        if position.is_null() {
            break;
        }
    }
    assert_eq!(seen, newest);
    let made_up = "BadRequest 400 Invalid position parameter specified";
    world.refuses("GetApiKeys", json!({"position": "x"}), made_up);
}

#[test]
fn patches_change_all_but_the_value() {
    let mut world = World::new();
    let own = json!({"apiKey": world.ok("CreateApiKey", json!({}))["id"]});
    world.now_ms += 5000;
    for (path, value, expected) in [
        ("/name", "n", json!("n")),
        ("/name", "", Value::Null),
        ("/description", "d", json!("d")),
        ("/enabled", "true", json!(true)),
        ("/customerId", "c", json!("c")),
    ] {
        let answer = world.ok("UpdateApiKey", merge(&own, patch("replace", path, Some(value))));
        assert_eq!(answer.pointer(path).cloned().unwrap_or_default(), expected);
        assert_eq!((answer.get("value"), &answer["lastUpdatedDate"]), (None, &json!(NOW_S + 5)));
        assert_eq!(world.ok("GetApiKey", own.clone()), answer);
    }
    for (op, path, expected) in [
        (
            "replace",
            "/value",
            "Invalid patch path  '/value' specified for op 'replace'. Must be one of: [/name, /description, /enabled, \
             /customerId]",
        ),
        ("add", "/name", "Invalid patch path  '/name' specified for op 'add'. Please choose supported operations"),
        ("add", "/stages", "stages is not supported by this version of Portcullis."),
    ] {
        let expected = format!("BadRequest 400 {expected}");
        world.refuses("UpdateApiKey", merge(&own, patch(op, path, Some("x"))), &expected);
    }
}

#[test]
fn a_deleted_key_is_gone_from_everywhere() {
    let mut world = World::new();
    let id = text(&world.ok("CreateApiKey", json!({})), "id");
    let plan = text(&world.ok("CreateUsagePlan", json!({"name": "p"})), "id");
    world.ok("CreateUsagePlanKey", json!({"usagePlanId": plan, "keyId": id, "keyType": "API_KEY"}));
    assert_eq!(world.ok("DeleteApiKey", json!({"apiKey": id})), json!({}));
    for name in ["GetApiKey", "UpdateApiKey", "DeleteApiKey"] {
        world.refuses(name, json!({"apiKey": id}), "NotFound 404 Invalid API Key identifier specified");
    }
    assert_eq!(world.ok("GetUsagePlanKeys", json!({"usagePlanId": plan})), json!({"items": []}));
}
