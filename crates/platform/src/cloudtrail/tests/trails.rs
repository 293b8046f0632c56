use serde_json::{Value, json};
use service::{Timestamp, Tx};

use super::{ACCOUNT, BUCKET, OTHER, World, bucket_policy};
use crate::cloudtrail::{
    OPERATIONS, layout,
    logging::{TrailState, Window},
    trail,
};

const ARN: &str = "arn:aws:cloudtrail:us-east-1:444455556666:trail/audit";

fn create(world: &mut World) -> Value {
    world.ok("CreateTrail", &json!({ "Name": "audit", "S3BucketName": BUCKET }))
}

#[test]
fn every_operation_is_in_the_table_of_aws_and_listed_once() {
    let mut names: Vec<_> = OPERATIONS.iter().flat_map(|list| list.iter()).map(|entry| entry.name).collect();
    names.sort_unstable();
    let expected = "AddTags CreateTrail DeleteTrail DescribeTrails GetEventSelectors GetInsightSelectors GetTrail \
                    GetTrailStatus ListPublicKeys ListTags ListTrails PutEventSelectors PutInsightSelectors RemoveTags \
                    StartLogging StopLogging UpdateTrail";
    assert_eq!(names, expected.split_whitespace().collect::<Vec<_>>());
}

#[test]
fn a_new_trail_is_answered_and_described_as_aws_does_and_does_not_log() {
    let mut world = World::new();
    let answer = world.ok(
        "CreateTrail",
        &json!({ "Name": "audit", "S3BucketName": BUCKET, "S3KeyPrefix": "a/b", "IsMultiRegionTrail": true,
                 "EnableLogFileValidation": true, "IsOrganizationTrail": false, "KmsKeyId": "", "SnsTopicName": "",
                 "TagsList": [{ "Key": "k", "Value": "v" }] }),
    );
    assert_eq!(
        answer.to_string(),
        json!({
            "Name": "audit", "S3BucketName": BUCKET, "S3KeyPrefix": "a/b", "IncludeGlobalServiceEvents": true,
            "IsMultiRegionTrail": true, "TrailARN": ARN, "LogFileValidationEnabled": true, "IsOrganizationTrail": false
        })
        .to_string()
    );
    let view = json!({
        "Name": "audit", "S3BucketName": BUCKET, "S3KeyPrefix": "a/b", "IncludeGlobalServiceEvents": true,
        "IsMultiRegionTrail": true, "TrailARN": ARN, "LogFileValidationEnabled": true, "HomeRegion": "us-east-1",
        "HasCustomEventSelectors": false, "HasInsightSelectors": false, "IsOrganizationTrail": false
    });
    assert_eq!(world.ok("DescribeTrails", &json!({})), json!({ "trailList": [view] }));
    assert_eq!(world.ok("GetTrail", &json!({ "Name": "audit" })), json!({ "Trail": view }));
    let status = world.ok("GetTrailStatus", &json!({ "Name": ARN }));
    assert_eq!(status["IsLogging"], false);
    assert_eq!(status["LatestDeliveryAttemptTime"], "");
    assert!(status.get("StartLoggingTime").is_none());
    assert_eq!(
        world.ok("ListTags", &json!({ "ResourceIdList": [ARN] })),
        json!({ "ResourceTagList": [{ "ResourceId": ARN, "TagsList": [{ "Key": "k", "Value": "v" }] }] })
    );
}

#[test]
fn names_follow_the_rules_of_create_trail() {
    let mut world = World::new();
    let chars = "Trail name or ARN can only contain uppercase letters, lowercase letters, numbers, periods (.), hyphens \
                 (-), and underscores (_).";
    for (name, text) in [
        ("ab", "Trail name too short. Minimum allowed length: 3 characters. Specified name length: 2 characters."),
        (
            &*"a".repeat(129),
            "Trail name too long. Maximum allowed length: 128 characters. Specified name length: 129 characters.",
        ),
        ("a b c", chars),
        ("-abc", "Trail name must starts with a letter or number."),
        ("abc-", "Trail name must ends with a letter or number."),
        ("a--b", "Trail name must not have adjacent periods, hyphens or underscores."),
        ("192.168.5.4", "Trail name must not be in IP address format."),
    ] {
        let refused = world.refused("CreateTrail", &json!({ "Name": name, "S3BucketName": BUCKET }));
        assert_eq!(refused, ("InvalidTrailNameException".into(), text.into()), "{name}");
    }
}

#[test]
fn create_refuses_what_is_there_already_and_a_sixth_trail_of_a_region() {
    let mut world = World::new();
    create(&mut world);
    let again = world.refused("CreateTrail", &json!({ "Name": "audit", "S3BucketName": BUCKET }));
    assert_eq!(
        again,
        ("TrailAlreadyExistsException".into(), format!("Trail audit already exists for customer: {ACCOUNT}"))
    );
    for at in 1..5 {
        world.ok("CreateTrail", &json!({ "Name": format!("audit{at}"), "S3BucketName": BUCKET }));
    }
    let sixth = world.refused("CreateTrail", &json!({ "Name": "audit6", "S3BucketName": BUCKET }));
    let text = format!("User: {ACCOUNT} already has 5 trails in us-east-1.");
    assert_eq!(sixth, ("MaximumNumberOfTrailsExceededException".into(), text));
    world.region = "eu-west-1";
    world.ok("CreateTrail", &json!({ "Name": "audit6", "S3BucketName": BUCKET }));
    assert_eq!(world.ok("ListTrails", &json!({}))["Trails"].as_array().unwrap().len(), 6);
}

#[test]
fn what_is_not_enforced_is_refused_at_the_call() {
    let mut world = World::new();
    for (member, value) in [
        ("SnsTopicName", json!("topic")),
        ("KmsKeyId", json!("alias/k")),
        ("CloudWatchLogsLogGroupArn", json!("arn:aws:logs:us-east-1:444455556666:log-group:g:*")),
        ("CloudWatchLogsRoleArn", json!("arn:aws:iam::444455556666:role/r")),
        ("IsOrganizationTrail", json!(true)),
    ] {
        let refused = world.refused("CreateTrail", &json!({ "Name": "audit", "S3BucketName": BUCKET, member: value }));
        assert_eq!(refused.0, "UnsupportedOperationException", "{member}");
    }
    create(&mut world);
    let insights = json!({ "TrailName": "audit", "InsightSelectors": [{ "InsightType": "ApiCallRateInsight" }] });
    assert_eq!(world.refused("PutInsightSelectors", &insights).0, "UnsupportedOperationException");
    assert_eq!(world.refused("GetInsightSelectors", &json!({ "TrailName": "audit" })).0, "InsightNotEnabledException");
}

#[test]
fn the_bucket_must_exist_and_let_cloudtrail_in() {
    let mut world = World::new();
    let missing = world.refused("CreateTrail", &json!({ "Name": "audit", "S3BucketName": "nowhere" }));
    assert_eq!(missing, ("S3BucketDoesNotExistException".into(), "S3 bucket nowhere does not exist!".into()));
    let invalid = world.refused("CreateTrail", &json!({ "Name": "audit", "S3BucketName": "No_Bucket" }));
    assert_eq!(invalid.0, "InvalidS3BucketNameException");
    let long = world
        .refused("CreateTrail", &json!({ "Name": "audit", "S3BucketName": BUCKET, "S3KeyPrefix": "p".repeat(201) }));
    assert_eq!(long.0, "InvalidS3PrefixException");

    let incorrect = format!("Incorrect S3 bucket policy is detected for bucket: {BUCKET}");
    let mut without_acl = bucket_policy("");
    without_acl["Statement"].as_array_mut().unwrap().remove(0);
    let mut denied = bucket_policy("");
    denied["Statement"].as_array_mut().unwrap().push(json!({
        "Effect": "Deny", "Principal": "*", "Action": "s3:PutObject", "Resource": format!("arn:aws:s3:::{BUCKET}/*")
    }));
    for policy in [None, Some(without_acl), Some(denied), Some(bucket_policy("other/")), Some(json!("nonsense"))] {
        world.set_bucket(policy.clone());
        let refused = world.refused("CreateTrail", &json!({ "Name": "audit", "S3BucketName": BUCKET }));
        assert_eq!(refused, ("InsufficientS3BucketPolicyException".into(), incorrect.clone()), "{policy:?}");
    }
    world.set_bucket(Some(bucket_policy("")));
    // The policy names the trail `audit` alone.
    let other = world.refused("CreateTrail", &json!({ "Name": "audit2", "S3BucketName": BUCKET }));
    assert_eq!(other.0, "InsufficientS3BucketPolicyException");
    create(&mut world);
    let prefixed = world.refused("UpdateTrail", &json!({ "Name": "audit", "S3KeyPrefix": "p" }));
    assert_eq!(prefixed.0, "InsufficientS3BucketPolicyException");
    world.set_bucket(Some(bucket_policy("p/")));
    assert_eq!(world.ok("UpdateTrail", &json!({ "Name": "audit", "S3KeyPrefix": "p" }))["S3KeyPrefix"], "p");
}

#[test]
fn unknown_trails_are_named_by_their_arn_whoever_asks() {
    let mut world = World::new();
    create(&mut world);
    let unknown = "arn:aws:cloudtrail:us-east-1:444455556666:trail/other";
    for operation in ["GetTrail", "GetTrailStatus", "StartLogging", "StopLogging", "DeleteTrail", "UpdateTrail"] {
        let refused = world.refused(operation, &json!({ "Name": "other" }));
        let text = format!("Unknown trail: {unknown} for the user: {ACCOUNT}");
        assert_eq!(refused, ("TrailNotFoundException".into(), text), "{operation}");
    }
    assert_eq!(world.refused("GetEventSelectors", &json!({ "TrailName": "other" })).0, "TrailNotFoundException");
    let foreign = world.call_as(OTHER, "DeleteTrail", &json!({ "Name": ARN })).unwrap_err();
    assert_eq!(foreign.message, format!("Unknown trail: {ARN} for the user: {OTHER}"));
    let bad = world.refused("GetTrail", &json!({ "Name": "arn:aws:s3:::audit" }));
    assert_eq!(bad.0, "CloudTrailARNInvalidException");
    assert_eq!(world.ok("DescribeTrails", &json!({ "trailNameList": ["other"] })), json!({ "trailList": [] }));
}

#[test]
fn other_regions_see_a_multi_region_trail_but_do_not_change_it() {
    let mut world = World::new();
    create(&mut world);
    world.region = "eu-west-1";
    assert_eq!(world.ok("DescribeTrails", &json!({})), json!({ "trailList": [] }));
    world.region = "us-east-1";
    world.ok("UpdateTrail", &json!({ "Name": "audit", "IsMultiRegionTrail": true }));
    world.region = "eu-west-1";
    assert_eq!(world.ok("DescribeTrails", &json!({}))["trailList"][0]["HomeRegion"], "us-east-1");
    assert_eq!(world.ok("DescribeTrails", &json!({ "includeShadowTrails": false })), json!({ "trailList": [] }));
    assert_eq!(world.ok("GetTrail", &json!({ "Name": ARN }))["Trail"]["TrailARN"], ARN);
    for operation in ["UpdateTrail", "DeleteTrail", "StartLogging", "StopLogging"] {
        assert_eq!(world.refused(operation, &json!({ "Name": ARN })).0, "InvalidHomeRegionException");
    }
    assert_eq!(world.refused("GetTrail", &json!({ "Name": "audit" })).0, "TrailNotFoundException");
}

#[test]
fn a_multi_region_trail_includes_global_services() {
    let mut world = World::new();
    let both = json!({ "Name": "audit", "S3BucketName": BUCKET, "IsMultiRegionTrail": true, "IncludeGlobalServiceEvents": false });
    assert_eq!(world.refused("CreateTrail", &both).0, "InvalidParameterCombinationException");
}

#[test]
fn starting_and_stopping_leave_windows_and_times() {
    let mut world = World::new();
    create(&mut world);
    world.ok("StartLogging", &json!({ "Name": "audit" }));
    world.now_ms += 5_000;
    world.ok("StartLogging", &json!({ "Name": ARN }));
    let status = world.ok("GetTrailStatus", &json!({ "Name": "audit" }));
    assert_eq!(status["IsLogging"], true);
    assert_eq!(status["StartLoggingTime"], 1_764_037_614);
    assert_eq!(status["TimeLoggingStarted"], "2025-11-25T02:26:54Z");
    world.ok("StopLogging", &json!({ "Name": "audit" }));
    let status = world.ok("GetTrailStatus", &json!({ "Name": "audit" }));
    assert_eq!((&status["IsLogging"], &status["StopLoggingTime"]), (&json!(false), &json!(1_764_037_619)));
    // What is not delivered yet is not forgotten by another start.
    world.ok("StartLogging", &json!({ "Name": "audit" }));
    assert_eq!(world.trail().windows.len(), 2);
    world.ok("StopLogging", &json!({ "Name": "audit" }));
    let (trail, now) = (world.trail(), Timestamp::from_ms(world.now_ms + 61_000));
    let drained = TrailState { drained_at: Some(now), ..TrailState::default() };
    world.with(|tx| drained.save(tx, &trail)).unwrap();
    world.ok("StartLogging", &json!({ "Name": "audit" }));
    assert_eq!(world.trail().windows, [Window { from: Timestamp::from_ms(world.now_ms), to: None }]);
}

#[test]
fn deleting_a_trail_leaves_nothing_behind() {
    let mut world = World::new();
    let before = world.records.documents.clone();
    create(&mut world);
    assert_eq!(world.with(trail::accounts).unwrap(), [ACCOUNT]);
    world.ok("DeleteTrail", &json!({ "Name": "audit" }));
    assert_eq!(world.records.documents, before);
    let accounts = |tx: &mut Tx<'_>| trail::accounts(tx);
    assert_eq!(world.with(accounts).unwrap(), Vec::<String>::new());
}

#[test]
fn tags_are_laid_over_each_other_and_bounded() {
    let mut world = World::new();
    create(&mut world);
    let tag = |key: &str, value: &str| json!({ "Key": key, "Value": value });
    world.ok("AddTags", &json!({ "ResourceId": ARN, "TagsList": [tag("a", "1"), tag("b", "2")] }));
    world.ok("AddTags", &json!({ "ResourceId": ARN, "TagsList": [tag("a", "3"), { "Key": "c" }] }));
    world.ok("RemoveTags", &json!({ "ResourceId": ARN, "TagsList": [{ "Key": "b" }] }));
    let list = world.ok("ListTags", &json!({ "ResourceIdList": [ARN] }));
    assert_eq!(list["ResourceTagList"][0]["TagsList"], json!([tag("a", "3"), { "Key": "c" }]));
    for tags in [json!([tag("aws:x", "1")]), json!([tag("", "1")]), json!([tag("x", "1"), tag("x", "2")])] {
        let refused = world.refused("AddTags", &json!({ "ResourceId": ARN, "TagsList": tags }));
        assert_eq!(refused.0, "InvalidTagParameterException");
    }
    let many: Vec<_> = (0..49).map(|at| tag(&format!("t{at}"), "")).collect();
    let refused = world.refused("AddTags", &json!({ "ResourceId": ARN, "TagsList": many }));
    assert_eq!(refused.0, "TagsLimitExceededException");
    let unknown = format!("{ARN}2");
    let refused = world.refused("ListTags", &json!({ "ResourceIdList": [unknown] }));
    assert_eq!(refused.0, "ResourceNotFoundException");
    assert_eq!(world.refused("ListTags", &json!({ "ResourceIdList": ["audit"] })).0, "CloudTrailARNInvalidException");
}

#[test]
fn keys_of_files_have_the_layout_of_aws() {
    let mut world = World::new();
    create(&mut world);
    let now = Timestamp::from_ms(1_439_350_891_000);
    let mut trail = world.trail();
    assert_eq!(
        layout::log_key(&trail, "eu-west-1", now, "AAAAbbbb00001111"),
        "AWSLogs/444455556666/CloudTrail/eu-west-1/2015/08/12/444455556666_CloudTrail_eu-west-1_20150812T0341Z_AAAAbbbb00001111.json.gz"
    );
    trail.s3_key_prefix = Some("p/q".into());
    let key = layout::digest_key(&trail, "eu-west-1", now);
    assert_eq!(
        key,
        "p/q/AWSLogs/444455556666/CloudTrail-Digest/eu-west-1/2015/08/12/444455556666_CloudTrail-Digest_eu-west-1_audit_us-east-1_20150812T034131Z.json.gz"
    );
    assert_eq!(&key[key.len() - 24..key.len() - 8], "20150812T034131Z", "where validate-logs reads the stamp");
}
