use serde_json::{Value, json};

use super::MethodSetting;
use crate::stage::Stage;
use crate::testing::{World, merge, patch, text};

const GROUP: &str = "arn:aws:logs:us-east-1:111111111111:log-group:access";
const FORMAT: &str = r#"{"id": "$context.requestId", "status": "$context.status"}"#;

fn prepared(world: &mut World) -> Value {
    let (api, root) = world.api();
    world.mock(&api, &root, "GET");
    world.ok("CreateDeployment", json!({"restApiId": api, "stageName": "Dev"}));
    json!({"restApiId": api, "stageName": "Dev"})
}

fn record(world: &mut World, own: &Value) -> Stage {
    world.record(&world.scope(), &text(own, "restApiId"), "Dev").expect("a stage")
}

fn access_log(destination: &str, format: &str) -> Value {
    json!({"patchOperations": [
        {"op": "replace", "path": "/accessLogSettings/destinationArn", "value": destination},
        {"op": "replace", "path": "/accessLogSettings/format", "value": format}
    ]})
}

#[test]
fn the_first_setting_of_a_method_shows_the_whole_object() {
    let mut world = World::new();
    let own = prepared(&mut world);
    let answer = world.ok("UpdateStage", merge(&own, patch("replace", "/*/*/throttling/burstLimit", Some("7"))));
    assert_eq!(
        answer["methodSettings"],
        json!({"*/*": {
            "metricsEnabled": false, "dataTraceEnabled": false, "throttlingBurstLimit": 7,
            "throttlingRateLimit": 10000.0, "cachingEnabled": false, "cacheTtlInSeconds": 300,
            "cacheDataEncrypted": false, "requireAuthorizationForCacheControl": true,
            "unauthorizedCacheControlHeaderStrategy": "SUCCEED_WITH_RESPONSE_HEADER"
        }})
    );
    world.ok("UpdateStage", merge(&own, patch("remove", "/*/*", None)));
    assert_eq!(world.ok("GetStage", own)["methodSettings"], json!({}));
}

#[test]
fn methods_are_found_however_they_are_spelled_and_shown_as_they_were() {
    let mut world = World::new();
    let own = prepared(&mut world);
    for (spelling, key, path) in [
        ("~1pets~1{id}", "~1pets~1{id}/GET", "/pets/{id}"),
        ("pets/{id}", "~1pets~1{id}/GET", "/pets/{id}"),
        ("pets", "~1pets/GET", "/pets"),
        ("~1", "~1/GET", "/"),
        ("{proxy+}", "~1{proxy+}/GET", "/{proxy+}"),
    ] {
        let set = format!("/{spelling}/GET/throttling/rateLimit");
        let answer = world.ok("UpdateStage", merge(&own, patch("replace", &set, Some("2.500000"))));
        let shown = answer["methodSettings"].as_object().expect("settings");
        assert_eq!(shown.keys().collect::<Vec<_>>(), [&format!("{spelling}/GET")]);
        let stage = record(&mut world, &own);
        assert_eq!(stage.method_settings.keys().collect::<Vec<_>>(), [key]);
        assert_eq!(stage.settings_of(path, "GET").throttling_rate_limit, Some(2.5));
        assert_eq!(stage.settings_of(path, "POST"), MethodSetting::default());
        world.ok("UpdateStage", merge(&own, patch("remove", &format!("/{spelling}/GET"), None)));
        assert_eq!(record(&mut world, &own).method_spellings.len(), 0);
    }
}

#[test]
fn a_method_has_its_own_settings_and_otherwise_those_of_all() {
    let mut world = World::new();
    world.may_log();
    let own = prepared(&mut world);
    for (path, value) in [
        ("/*/*/logging/loglevel", "INFO"),
        ("/*/*/logging/dataTrace", "true"),
        ("/*/*/throttling/rateLimit", "3"),
        ("/*/*/throttling/burstLimit", "4"),
        ("/~1a/GET/logging/loglevel", "OFF"),
        ("/~1a/GET/throttling/rateLimit", "0"),
        ("/~1a/GET/throttling/burstLimit", "-1"),
        ("/~1a/GET/metrics/enabled", "false"),
    ] {
        world.ok("UpdateStage", merge(&own, patch("replace", path, Some(value))));
    }
    let stage = record(&mut world, &own);
    let of = |path| stage.settings_of(path, "GET");
    assert_eq!(of("/a").logging_level.as_deref(), Some("OFF"));
    assert_eq!(of("/a").data_trace_enabled, Some(true));
    assert_eq!((of("/a").throttling_rate_limit, of("/a").throttling_burst_limit), (Some(0.0), None));
    assert_eq!(of("/b").logging_level.as_deref(), Some("INFO"));
    assert_eq!((of("/b").throttling_rate_limit, of("/b").throttling_burst_limit), (Some(3.0), Some(4)));
    let shown = &world.ok("GetStage", own)["methodSettings"]["~1a/GET"];
    assert_eq!((&shown["throttlingBurstLimit"], &shown["dataTraceEnabled"]), (&json!(-1), &json!(true)));
}

#[test]
fn what_is_not_enforced_or_no_value_is_refused() {
    let mut world = World::new();
    let own = prepared(&mut world);
    let before = record(&mut world, &own);
    let unsupported = |what: &str| format!("The method setting {what} is not supported by this version of Portcullis.");
    let no_role = "CloudWatch Logs role ARN must be set in account settings to enable logging".to_owned();
    let value = |path: &str, value: &str| format!("Invalid value {value} specified for {path}");
    for (path, sent, expected) in [
        ("/*/*/logging/loglevel", "INFO", no_role.clone()),
        ("/a/GET/logging/loglevel", "ERROR", no_role),
        ("/*/*/logging/loglevel", "x", "Invalid logging level x, must be OFF, ERROR or INFO".to_owned()),
        ("/*/*/metrics/enabled", "true", unsupported("metrics/enabled true")),
        ("/*/*/caching/enabled", "true", unsupported("caching/enabled true")),
        ("/*/*/caching/dataEncrypted", "true", unsupported("caching/dataEncrypted true")),
        ("/*/*/caching/ttlInSeconds", "5", unsupported("caching/ttlInSeconds 5")),
        (
            "/*/*/caching/requireAuthorizationForCacheControl",
            "false",
            unsupported("caching/requireAuthorizationForCacheControl false"),
        ),
        (
            "/*/*/caching/unauthorizedCacheControlHeaderStrategy",
            "FAIL_WITH_403",
            unsupported("caching/unauthorizedCacheControlHeaderStrategy FAIL_WITH_403"),
        ),
        ("/*/*/throttling/rateLimit", "-2", value("/*/*/throttling/rateLimit", "-2")),
        ("/*/*/throttling/rateLimit", "NaN", value("/*/*/throttling/rateLimit", "NaN")),
        ("/*/*/throttling/rateLimit", "inf", value("/*/*/throttling/rateLimit", "inf")),
        ("/*/*/throttling/burstLimit", "1.5", value("/*/*/throttling/burstLimit", "1.5")),
        ("/*/*/throttling/burstLimit", "", value("/*/*/throttling/burstLimit", "")),
    ] {
        let expected = format!("BadRequest 400 {expected}");
        world.refuses("UpdateStage", merge(&own, patch("replace", path, Some(sent))), &expected);
    }
    assert_eq!(record(&mut world, &own), before);
}

#[test]
fn the_defaults_of_caching_may_be_sent() {
    let mut world = World::new();
    let own = prepared(&mut world);
    for (path, value) in [
        ("/*/*/caching/enabled", "false"),
        ("/*/*/caching/dataEncrypted", "false"),
        ("/*/*/caching/ttlInSeconds", "300"),
        ("/*/*/caching/requireAuthorizationForCacheControl", "true"),
        ("/*/*/caching/unauthorizedCacheControlHeaderStrategy", "SUCCEED_WITH_RESPONSE_HEADER"),
        ("/*/*/logging/loglevel", "OFF"),
    ] {
        world.ok("UpdateStage", merge(&own, patch("replace", path, Some(value))));
    }
}

#[test]
fn an_access_log_needs_a_group_a_format_and_the_accounts_role() {
    let mut world = World::new();
    let own = prepared(&mut world);
    let no_role = "CloudWatch Logs role ARN must be set in account settings to enable logging";
    world.refuses("UpdateStage", merge(&own, access_log(GROUP, FORMAT)), &format!("BadRequest 400 {no_role}"));
    world.may_log();
    let arn = "Invalid ARN specified in the request";
    let line = "Access Log format must be single line, new line character is allowed only at end of the format";
    let id = "Access Log format must contain at least $context.requestId or $context.extendedRequestId";
    let stream = "arn:aws:firehose:us-east-1:111111111111:deliverystream/amazon-apigateway-x";
    for (destination, format, expected) in [
        ("x", FORMAT, arn.to_owned()),
        ("arn:aws:logs:us-east-1:222222222222:log-group:a", FORMAT, arn.to_owned()),
        ("arn:aws:logs:eu-west-1:111111111111:log-group:a", FORMAT, arn.to_owned()),
        ("arn:aws:logs:us-east-1:111111111111:log-group:", FORMAT, arn.to_owned()),
        ("arn:aws:logs:us-east-1:111111111111:log-group:a:log-stream:b", FORMAT, arn.to_owned()),
        (
            stream,
            FORMAT,
            format!("accessLogSettings.destinationArn {stream} is not supported by this version of Portcullis."),
        ),
        (GROUP, "$context.status", id.to_owned()),
        (GROUP, "$context.requestId\n$context.status", line.to_owned()),
        (GROUP, "", "Access Log value must not be empty".to_owned()),
    ] {
        let expected = format!("BadRequest 400 {expected}");
        world.refuses("UpdateStage", merge(&own, access_log(destination, format)), &expected);
    }
    let sent = access_log(&format!("{GROUP}:*"), &format!("{FORMAT}\n"));
    let answer = world.ok("UpdateStage", merge(&own, sent));
    assert_eq!(answer["accessLogSettings"], json!({"destinationArn": GROUP, "format": FORMAT}));
    assert_eq!(world.ok("GetStage", own.clone()), answer);
    world.ok("UpdateStage", merge(&own, access_log(GROUP, "$context.extendedRequestId")));
    let answer = world.ok("UpdateStage", merge(&own, patch("remove", "/accessLogSettings", None)));
    assert_eq!(answer.get("accessLogSettings"), None);
}
