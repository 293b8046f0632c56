use serde_json::{Value, json};

use super::{ACCOUNT, BUCKET, World};
use crate::cloudtrail::{
    selector::{Facts, Selection},
    trail,
};

const FUNCTION: &str = "arn:aws:lambda:us-east-1:444455556666:function:LambdaAuthorizer";

fn world() -> World {
    let mut world = World::new();
    world.ok("CreateTrail", &json!({ "Name": "audit", "S3BucketName": BUCKET }));
    world
}

fn selection(world: &mut World) -> Selection {
    Selection::of(&world.trail())
}

fn put(world: &mut World, member: &str, selectors: Value) -> Value {
    world.ok("PutEventSelectors", &json!({ "TrailName": "audit", member: selectors }))
}

fn management(source: &'static str, region: &'static str, read_only: bool) -> Facts<'static> {
    Facts { data: false, source, name: "X", region, read_only, resource_arn: None }
}

#[test]
fn a_trail_without_selectors_of_its_own_delivers_management_events_only() {
    let mut world = world();
    let shown = world.ok("GetEventSelectors", &json!({ "TrailName": "audit" }));
    let default = json!([{ "ReadWriteType": "All", "IncludeManagementEvents": true, "DataResources": [],
                           "ExcludeManagementEventSources": [] }]);
    assert_eq!(shown["EventSelectors"], default);
    let selection = selection(&mut world);
    assert!(selection.selects(&management("lambda.amazonaws.com", "us-east-1", true)));
    assert!(selection.selects(&management("iam.amazonaws.com", "us-east-1", false)));
    assert!(!selection.selects(&management("lambda.amazonaws.com", "eu-west-1", false)));
    assert!(!selection.selects_invoke(FUNCTION, "us-east-1"));
}

#[test]
fn the_selector_of_the_walk_through_selects_invocations_once_the_trail_logs() {
    let mut world = world();
    let lambda = json!([{ "ReadWriteType": "All", "IncludeManagementEvents": true,
                          "DataResources": [{ "Type": "AWS::Lambda::Function", "Values": ["arn:aws:lambda"] }] }]);
    let answer = put(&mut world, "EventSelectors", lambda);
    assert_eq!(answer["TrailARN"], "arn:aws:cloudtrail:us-east-1:444455556666:trail/audit");
    assert_eq!(answer["EventSelectors"][0]["DataResources"][0]["Values"], json!(["arn:aws:lambda"]));
    assert!(world.with(|tx| trail::selections(tx, ACCOUNT)).unwrap().is_empty(), "it does not log yet");
    world.ok("StartLogging", &json!({ "Name": "audit" }));
    let selections = world.with(|tx| trail::selections(tx, ACCOUNT)).unwrap();
    assert_eq!(selections.len(), 1);
    assert!(selections[0].selects_invoke(FUNCTION, "us-east-1"));
    assert!(!selections[0].selects_invoke(FUNCTION, "eu-west-1"), "another region's");
    assert_eq!(world.ok("GetTrail", &json!({ "Name": "audit" }))["Trail"]["HasCustomEventSelectors"], true);
    world.ok("UpdateTrail", &json!({ "Name": "audit", "IsMultiRegionTrail": true }));
    assert!(selection(&mut world).selects_invoke(FUNCTION, "eu-west-1"));
    world.ok("StopLogging", &json!({ "Name": "audit" }));
    assert!(world.with(|tx| trail::selections(tx, ACCOUNT)).unwrap().is_empty());
}

#[test]
fn basic_selectors_tell_functions_reads_and_sources_apart() {
    let mut world = world();
    let one = |kind: &str| json!([{ "ReadWriteType": kind, "DataResources": [{ "Type": "AWS::Lambda::Function", "Values": [FUNCTION] }] }]);
    put(&mut world, "EventSelectors", one("WriteOnly"));
    let chosen = selection(&mut world);
    assert!(chosen.selects_invoke(FUNCTION, "us-east-1"));
    assert!(!chosen.selects_invoke(&format!("{FUNCTION}2"), "us-east-1"), "no prefix");
    assert!(!chosen.selects(&management("lambda.amazonaws.com", "us-east-1", true)));
    put(&mut world, "EventSelectors", one("ReadOnly"));
    let chosen = selection(&mut world);
    assert!(!chosen.selects_invoke(FUNCTION, "us-east-1"), "an invocation is a write");
    assert!(chosen.selects(&management("lambda.amazonaws.com", "us-east-1", true)));
    put(&mut world, "EventSelectors", json!([{ "ExcludeManagementEventSources": ["kms.amazonaws.com"] }]));
    let chosen = selection(&mut world);
    assert!(!chosen.selects(&management("kms.amazonaws.com", "us-east-1", true)));
    assert!(chosen.selects(&management("sts.amazonaws.com", "us-east-1", true)));
    put(&mut world, "EventSelectors", json!([{ "IncludeManagementEvents": false }]));
    assert!(!selection(&mut world).selects(&management("sts.amazonaws.com", "us-east-1", true)));
    let refused = world.refused("UpdateTrail", &json!({ "Name": "audit", "S3BucketName": "nowhere" }));
    assert_eq!(refused.0, "S3BucketDoesNotExistException");
    put(&mut world, "EventSelectors", json!([{}]));
    world.ok("UpdateTrail", &json!({ "Name": "audit", "IncludeGlobalServiceEvents": false }));
    let chosen = selection(&mut world);
    assert!(!chosen.selects(&management("iam.amazonaws.com", "us-east-1", false)));
    assert!(chosen.selects(&management("lambda.amazonaws.com", "us-east-1", false)));
}

fn field(name: &str, operator: &str, values: &[&str]) -> Value {
    json!({ "Field": name, operator: values })
}

fn advanced(fields: Vec<Value>) -> Value {
    json!([{ "Name": "n", "FieldSelectors": fields }])
}

#[test]
fn advanced_selectors_choose_data_events_by_their_fields() {
    let data = || {
        vec![field("eventCategory", "Equals", &["Data"]), field("resources.type", "Equals", &["AWS::Lambda::Function"])]
    };
    let with = |more: Value| {
        let mut fields = data();
        fields.push(more);
        advanced(fields)
    };
    let other = "arn:aws:lambda:us-east-1:444455556666:function:other";
    for (selectors, selects_function, selects_other) in [
        (advanced(data()), true, true),
        (with(field("resources.ARN", "Equals", &[FUNCTION])), true, false),
        (with(field("resources.ARN", "NotEquals", &[FUNCTION])), false, true),
        (
            with(field("resources.ARN", "StartsWith", &["arn:aws:lambda:us-east-1:444455556666:function:La"])),
            true,
            false,
        ),
        (
            with(field("resources.ARN", "NotStartsWith", &["arn:aws:lambda:us-east-1:444455556666:function:La"])),
            false,
            true,
        ),
        (with(field("resources.ARN", "EndsWith", &["other", "Authorizer"])), true, true),
        (with(field("resources.ARN", "NotEndsWith", &["other"])), true, false),
        (with(json!({ "Field": "resources.ARN", "StartsWith": ["arn:"], "NotEquals": [other] })), true, false),
        (with(field("eventName", "Equals", &["Invoke"])), true, true),
        (with(field("eventName", "NotEquals", &["Invoke"])), false, false),
        (with(field("readOnly", "Equals", &["true"])), false, false),
    ] {
        let mut world = world();
        let answer = put(&mut world, "AdvancedEventSelectors", selectors.clone());
        assert_eq!(answer["AdvancedEventSelectors"], selectors, "answered as given");
        assert!(answer.get("EventSelectors").is_none());
        let chosen = selection(&mut world);
        assert_eq!(chosen.selects_invoke(FUNCTION, "us-east-1"), selects_function, "{selectors}");
        assert_eq!(chosen.selects_invoke(other, "us-east-1"), selects_other, "{selectors}");
        assert!(!chosen.selects(&management("lambda.amazonaws.com", "us-east-1", false)), "{selectors}");
    }
}

#[test]
fn advanced_selectors_choose_management_events_by_their_fields() {
    let mut world = world();
    let fields = vec![
        field("eventCategory", "Equals", &["Management"]),
        field("readOnly", "Equals", &["false"]),
        field("eventSource", "NotEquals", &["kms.amazonaws.com", "rdsdata.amazonaws.com"]),
    ];
    put(&mut world, "AdvancedEventSelectors", advanced(fields));
    let chosen = selection(&mut world);
    assert!(chosen.selects(&management("lambda.amazonaws.com", "us-east-1", false)));
    assert!(!chosen.selects(&management("lambda.amazonaws.com", "us-east-1", true)));
    assert!(!chosen.selects(&management("kms.amazonaws.com", "us-east-1", false)));
    assert!(!chosen.selects_invoke(FUNCTION, "us-east-1"));
}

#[test]
fn selectors_that_could_not_be_honoured_are_refused() {
    let data = field("eventCategory", "Equals", &["Data"]);
    let kind = field("resources.type", "Equals", &["AWS::Lambda::Function"]);
    let management = field("eventCategory", "Equals", &["Management"]);
    let basic = [
        json!([]),
        json!([{}, {}, {}, {}, {}, {}]),
        json!([{ "DataResources": [{ "Type": "AWS::S3::Object", "Values": ["arn:aws:s3"] }] }]),
        json!([{ "DataResources": [{ "Type": "AWS::Lambda::Function", "Values": ["arn:aws:s3:::b"] }] }]),
        json!([{ "DataResources": [{ "Type": "AWS::Lambda::Function", "Values": [format!("{FUNCTION}:1")] }] }]),
        json!([{ "DataResources": [{ "Type": "AWS::Lambda::Function", "Values": vec![FUNCTION; 251] }] }]),
        json!([{ "ExcludeManagementEventSources": ["lambda.amazonaws.com"] }]),
        json!([{ "IncludeManagementEvents": false, "ExcludeManagementEventSources": ["kms.amazonaws.com"] }]),
    ];
    let advanced = [
        json!([]),
        advanced(vec![kind.clone()]),
        advanced(vec![data.clone()]),
        advanced(vec![field("eventCategory", "Equals", &["Insight"])]),
        advanced(vec![field("eventCategory", "Equals", &["Data", "Management"]), kind.clone()]),
        advanced(vec![data.clone(), field("resources.type", "Equals", &["AWS::S3::Object"])]),
        advanced(vec![data.clone(), kind.clone(), field("userIdentity.arn", "Equals", &["x"])]),
        advanced(vec![data.clone(), kind.clone(), field("readOnly", "NotEquals", &["true"])]),
        advanced(vec![data.clone(), kind.clone(), json!({ "Field": "eventName" })]),
        advanced(vec![data.clone(), kind.clone(), data.clone()]),
        advanced(vec![data, kind, field("resources.ARN", "Equals", &vec!["x"; 501])]),
        advanced(vec![management.clone(), field("eventSource", "Equals", &["kms.amazonaws.com"])]),
        advanced(vec![management.clone(), field("eventSource", "NotEquals", &["iam.amazonaws.com"])]),
        advanced(vec![management, field("eventName", "Equals", &["X"])]),
    ];
    let mut world = world();
    let basic = basic.into_iter().map(|selectors| ("EventSelectors", selectors));
    let advanced = advanced.into_iter().map(|selectors| ("AdvancedEventSelectors", selectors));
    for (member, selectors) in basic.chain(advanced) {
        let refused = world.refused("PutEventSelectors", &json!({ "TrailName": "audit", member: selectors }));
        assert_eq!(refused.0, "InvalidEventSelectorsException", "{selectors}");
    }
    for both in [json!({}), json!({ "EventSelectors": [{}], "AdvancedEventSelectors": [] })] {
        let mut params = both;
        params["TrailName"] = "audit".into();
        assert_eq!(world.refused("PutEventSelectors", &params).0, "InvalidParameterCombinationException");
    }
}
