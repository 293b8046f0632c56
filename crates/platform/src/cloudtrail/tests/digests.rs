use serde_json::{Value, json};
use service::Timestamp;

use super::{BUCKET, NOW_MS, World};
use crate::cloudtrail::{
    digest::{self, Draft, LogFile, string_to_sign},
    logging::TrailState,
    public_key,
};

fn world() -> World {
    let mut world = World::new();
    world.ok("CreateTrail", &json!({ "Name": "audit", "S3BucketName": BUCKET, "EnableLogFileValidation": true }));
    world.ok("StartLogging", &json!({ "Name": "audit" }));
    world
}

fn draft(world: &mut World, state: &TrailState, at_s: i64) -> Option<Draft> {
    let trail = world.trail();
    let now = Timestamp::from_ms(NOW_MS).plus_s(at_s);
    world.with(|tx| digest::draft(tx, &trail, state, "us-east-1", (now, 10), "f")).unwrap()
}

fn append(world: &mut World, draft: Draft, signature: &str) -> Value {
    let trail = world.trail();
    let body = serde_json::from_slice(&draft.body).unwrap();
    world.with(|tx| digest::append(tx, &trail, draft, signature.to_owned())).unwrap();
    body
}

#[test]
fn the_string_to_sign_is_that_of_the_command_line() {
    let hash = "4ff08d7c6ecd6eb313257e839645d20363ee3784a2328a7d76b99b53cc9bcacd";
    let expected = format!("2015-08-12T04:01:31Z\nb/AWSLogs/1/k.json.gz\n{hash}\nnull");
    assert_eq!(string_to_sign("2015-08-12T04:01:31Z", "b", "AWSLogs/1/k.json.gz", hash, None), expected);
    assert!(string_to_sign("e", "b", "k", "h", Some("0a1b")).ends_with("\nh\n0a1b"));
}

#[test]
fn the_first_digest_has_no_predecessor_and_the_next_names_it() {
    let mut world = world();
    let trail = world.trail();
    let state = TrailState::default();
    assert!(draft(&mut world, &state, 9).is_none(), "before the interval is over");
    let file = LogFile {
        s3_bucket: BUCKET.into(),
        s3_object: "k".into(),
        hash_value: "h".into(),
        hash_algorithm: "SHA-256".into(),
        newest_event_time: "2025-11-25T02:26:59Z".into(),
        oldest_event_time: "2025-11-25T02:26:55Z".into(),
    };
    world.with(|tx| digest::remember(tx, &trail, "us-east-1", &file)).unwrap();
    let first = draft(&mut world, &state, 10).unwrap();
    let object = first.object.clone();
    assert!(object.ends_with("_audit_us-east-1_20251125T022704Z.json.gz"));
    let body = append(&mut world, first, "aa");
    let names: Vec<_> = body.as_object().unwrap().keys().map(String::as_str).collect();
    let expected = "awsAccountId digestStartTime digestEndTime digestS3Bucket digestS3Object digestPublicKeyFingerprint \
                    digestSignatureAlgorithm newestEventTime oldestEventTime previousDigestS3Bucket \
                    previousDigestS3Object previousDigestHashValue previousDigestHashAlgorithm previousDigestSignature \
                    logFiles";
    assert_eq!(names, expected.split_whitespace().collect::<Vec<_>>());
    assert_eq!(body["digestStartTime"], "2025-11-25T02:26:54Z");
    assert_eq!(body["digestEndTime"], "2025-11-25T02:27:04Z");
    assert_eq!(body["oldestEventTime"], "2025-11-25T02:26:55Z");
    assert_eq!(body["logFiles"][0]["s3Object"], "k");
    for name in ["S3Bucket", "S3Object", "HashValue", "HashAlgorithm", "Signature"] {
        assert_eq!(body[format!("previousDigest{name}")], Value::Null);
    }

    let second = draft(&mut world, &state, 21).unwrap();
    assert!(second.to_sign.ends_with("\naa"));
    let body = append(&mut world, second, "bb");
    assert_eq!(body["digestStartTime"], "2025-11-25T02:27:04Z");
    assert_eq!(body["previousDigestS3Object"], object.as_str());
    assert_eq!(body["previousDigestHashAlgorithm"], "SHA-256");
    assert_eq!((&body["logFiles"], &body["newestEventTime"]), (&json!([]), &Value::Null), "each file is named once");
}

#[test]
fn a_stopped_trail_gets_one_last_digest_and_another_start_begins_another_chain() {
    let mut world = world();
    let first = draft(&mut world, &TrailState::default(), 10).unwrap();
    append(&mut world, first, "aa");
    world.now_ms += 15_000;
    world.ok("StopLogging", &json!({ "Name": "audit" }));
    assert!(draft(&mut world, &TrailState::default(), 16).is_none());
    let drained = TrailState { drained_at: Some(Timestamp::from_ms(NOW_MS).plus_s(90)), ..TrailState::default() };
    let last = draft(&mut world, &drained, 90).unwrap();
    assert!(last.to_sign.ends_with("\naa"));
    append(&mut world, last, "bb");
    assert!(draft(&mut world, &drained, 190).is_none());
    world.now_ms = NOW_MS + 200_000;
    world.ok("StartLogging", &json!({ "Name": "audit" }));
    let restarted = draft(&mut world, &drained, 210).unwrap();
    assert!(restarted.to_sign.ends_with("\nnull"));
}

#[test]
fn a_trail_that_does_not_validate_has_no_digest() {
    let mut world = world();
    world.ok("UpdateTrail", &json!({ "Name": "audit", "EnableLogFileValidation": false }));
    assert!(draft(&mut world, &TrailState::default(), 100).is_none());
}

#[test]
fn public_keys_are_listed_where_and_when_they_are_valid() {
    let mut world = World::new();
    let now = Timestamp::from_ms(NOW_MS);
    let key = world.with(|tx| public_key::install(tx, "us-east-1", b"private", b"public", now)).unwrap();
    assert_eq!(key.fingerprint.len(), 32);
    let listed = world.ok("ListPublicKeys", &json!({ "StartTime": now.s() - 60, "EndTime": now.s() + 7200 }));
    let shown = &listed["PublicKeyList"][0];
    assert_eq!((&shown["Value"], &shown["Fingerprint"]), (&json!("cHVibGlj"), &json!(key.fingerprint)));
    assert_eq!(world.ok("ListPublicKeys", &json!({}))["PublicKeyList"].as_array().unwrap().len(), 1);
    assert_eq!(world.ok("ListPublicKeys", &json!({ "StartTime": 0, "EndTime": 60 })), json!({ "PublicKeyList": [] }));
    assert_eq!(
        world.refused("ListPublicKeys", &json!({ "StartTime": 9, "EndTime": 8 })).0,
        "InvalidTimeRangeException"
    );
    world.region = "eu-west-1";
    assert_eq!(world.ok("ListPublicKeys", &json!({})), json!({ "PublicKeyList": [] }));
    assert!(!format!("{key:?}").contains(&key.pkcs8), "the private half does not print");
}
