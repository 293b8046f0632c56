use serde_json::json;

use super::*;
use crate::harness::{World, zip};

/// A function with versions 1 and 2, and the alias `live` of the first.
fn world() -> World {
    let mut world = World::with_function();
    world.call("PublishVersion", json!({ "FunctionName": "f" }));
    world.call("UpdateFunctionCode", json!({ "FunctionName": "f", "ZipFile": zip("bb") }));
    world.call("PublishVersion", json!({ "FunctionName": "f" }));
    world.call("CreateAlias", json!({ "FunctionName": "f", "Name": "live", "FunctionVersion": "1" }));
    world
}

fn put(qualifier: &str, number: i64) -> Value {
    json!({ "FunctionName": "f", "Qualifier": qualifier, "ProvisionedConcurrentExecutions": number })
}

fn at(qualifier: &str) -> Value {
    json!({ "FunctionName": "f", "Qualifier": qualifier })
}

fn numbers(world: &mut World) -> Vec<(String, u32)> {
    let provisioned = world.loaded("f").provisioned;
    provisioned.into_iter().map(|(revision, number)| (revision.version.clone(), number)).collect()
}

#[test]
fn a_number_is_put_read_listed_and_removed() {
    let mut world = world();
    let answer = world.call("PutProvisionedConcurrencyConfig", put("live", 5));
    assert_eq!(
        answer,
        json!({
            "RequestedProvisionedConcurrentExecutions": 5,
            "AvailableProvisionedConcurrentExecutions": 0,
            "AllocatedProvisionedConcurrentExecutions": 0,
            "Status": "IN_PROGRESS",
            "LastModified": answer["LastModified"],
        })
    );
    assert_eq!(world.call("GetProvisionedConcurrencyConfig", at("live")), answer);
    let listed = world.call("ListProvisionedConcurrencyConfigs", json!({ "FunctionName": "f" }));
    let item = &listed["ProvisionedConcurrencyConfigs"][0];
    assert_eq!(item["FunctionArn"], "arn:aws:lambda:us-east-1:444455556666:function:f:live");
    assert_eq!(numbers(&mut world), [("1".to_owned(), 5)]);
    world.call("UpdateAlias", json!({ "FunctionName": "f", "Name": "live", "FunctionVersion": "2" }));
    assert_eq!(numbers(&mut world), [("2".to_owned(), 5)], "it follows its alias");
    let weights = json!({ "AdditionalVersionWeights": { "1": 0.2 } });
    world.call("UpdateAlias", json!({ "FunctionName": "f", "Name": "live", "RoutingConfig": weights }));
    assert_eq!(numbers(&mut world), [("2".to_owned(), 4), ("1".to_owned(), 1)], "and its weights");
    let records = world.len();
    world.call("DeleteProvisionedConcurrencyConfig", at("live"));
    assert_eq!(world.len(), records - 2, "the number and its pointer are gone");
    let refused = world.refused("GetProvisionedConcurrencyConfig", at("live"));
    assert_eq!((&*refused.code, refused.status), ("ProvisionedConcurrencyConfigNotFoundException", 404));
}

#[test]
fn refusals_have_awss_texts() {
    let mut world = world();
    world.call("PutProvisionedConcurrencyConfig", put("live", 5));
    let unpublished = "Provisioned Concurrency Configs cannot be applied to unpublished function versions.";
    for (params, status, text) in [
        (put("$LATEST", 1), 400, unpublished),
        (
            put("1", 0),
            400,
            "1 validation error detected: Value '0' at 'provisionedConcurrentExecutions' failed to satisfy \
                            constraint: Member must have value greater than or equal to 1",
        ),
        (put("9", 1), 404, "Function not found: arn:aws:lambda:us-east-1:444455556666:function:f:9"),
        (put("none", 1), 404, "Cannot find alias arn: arn:aws:lambda:us-east-1:444455556666:function:f:none"),
        (put("1", 1), 409, "Version is pointed by a Provisioned Concurrency alias"),
        (
            put("2", 896),
            400,
            "Specified ConcurrentExecutions for function decreases account's \
                              UnreservedConcurrentExecution below its minimum value of [100].",
        ),
        (
            put("2", 1001),
            400,
            "Specified ConcurrentExecutions for function is greater than account's unreserved \
                               concurrency [1000].",
        ),
    ] {
        let refused = world.refused("PutProvisionedConcurrencyConfig", params.clone());
        assert_eq!((refused.status, &*refused.message), (status, text), "{params}");
    }
    let latest = json!({ "FunctionName": "f", "Name": "live", "FunctionVersion": "$LATEST" });
    assert_eq!(world.refused("UpdateAlias", latest).message, unpublished);
}

#[test]
fn a_reservation_holds_what_is_provisioned() {
    let mut world = world();
    world.call("PutProvisionedConcurrencyConfig", put("live", 5));
    let reserve = |number: u32| json!({ "FunctionName": "f", "ReservedConcurrentExecutions": number });
    let refused = world.refused("PutFunctionConcurrency", reserve(4));
    assert_eq!(
        refused.message,
        "ReservedConcurrentExecutions 4 should not be lower than function's total provisioned concurrency [5]."
    );
    world.call("PutFunctionConcurrency", reserve(6));
    let refused = world.refused("PutProvisionedConcurrencyConfig", put("2", 2));
    assert_eq!(
        refused.message,
        "Requested Provisioned Concurrency should not be greater than the reservedConcurrentExecution for function"
    );
    world.call("PutProvisionedConcurrencyConfig", put("2", 1));
    let moved = json!({ "FunctionName": "f", "Name": "live", "FunctionVersion": "2" });
    assert_eq!(world.refused("UpdateAlias", moved).status, 409, "a version is provisioned one way");
}

#[test]
fn a_number_goes_with_what_it_is_of() {
    let mut world = world();
    world.call("PutProvisionedConcurrencyConfig", put("live", 5));
    world.call("PutProvisionedConcurrencyConfig", put("2", 1));
    world.call("DeleteAlias", json!({ "FunctionName": "f", "Name": "live" }));
    assert_eq!(numbers(&mut world), [("2".to_owned(), 1)]);
    world.call("DeleteFunction", json!({ "FunctionName": "f" }));
    assert_eq!(world.len(), 0);
}

#[test]
fn the_status_says_how_far_it_is() {
    let record =
        |requested| ProvisionedConcurrency { qualifier: "1".to_owned(), requested, last_modified: String::new() };
    let now = |allocated, available, failure: Option<&str>| Provisioned {
        allocated,
        available,
        failure: failure.map(str::to_owned),
    };
    for (requested, now, status, allocated, available) in [
        (2, now(2, 1, None), "IN_PROGRESS", 2, 1),
        (2, now(2, 2, None), "READY", 2, 2),
        (2, now(7, 6, Some("earlier")), "READY", 2, 2),
        (2, now(1, 0, Some("no memory")), "FAILED", 1, 0),
    ] {
        let output = ProvisionedOutput::new(record(requested), now);
        assert_eq!(output.status, status);
        assert_eq!(output.status_reason.is_some(), status == "FAILED");
        assert_eq!(output.allocated_provisioned_concurrent_executions, allocated);
        assert_eq!(output.available_provisioned_concurrent_executions, available);
    }
}
