use serde_json::json;

use super::*;
use crate::{
    directory::Readiness,
    harness::{World, create, with, zip},
};

fn failure() -> std::result::Result<(), Reason> {
    Err(Reason { code: "InvalidZipFileException".to_owned(), text: "The package could not be unpacked.".to_owned() })
}

/// A world in which nothing happens by itself.
fn world() -> World {
    let mut world = World::new();
    world.settles = false;
    world
}

fn readiness(world: &mut World, qualifier: &str) -> Readiness {
    world.targets("f").into_iter().find(|(key, _)| key.qualifier == qualifier).expect("a target").1.readiness
}

fn blob(world: &mut World) -> String {
    world.targets("f").first().expect("a target").1.revision.code_sha256.clone()
}

#[test]
fn a_function_is_pending_until_its_package_is_ready() {
    let mut world = world();
    let created = world.call("CreateFunction", with(create("f"), json!({ "Publish": true })));
    assert_eq!((&created["State"], &created["StateReasonCode"]), (&json!("Pending"), &json!("Creating")));
    for qualifier in ["", "$LATEST", "1"] {
        assert_eq!(readiness(&mut world, qualifier), Readiness::Pending, "{qualifier}");
    }
    assert_eq!(world.loaded("f").unprepared.len(), 2);
    let read = json!({ "FunctionName": "f" });
    assert_eq!(world.call("GetFunctionConfiguration", read.clone())["State"], "Pending");
    let text =
        "The operation cannot be performed at this time. The function is currently in the following state: Pending";
    for (name, params) in [
        ("UpdateFunctionCode", json!({ "FunctionName": "f", "ZipFile": zip("bb") })),
        ("UpdateFunctionConfiguration", json!({ "FunctionName": "f", "Timeout": 9 })),
        ("PublishVersion", read.clone()),
    ] {
        let refused = world.refused(name, params);
        assert_eq!((&*refused.code, refused.status, &*refused.message), ("ResourceConflictException", 409, text));
    }
    world.settle(&Ok(()));
    let active = world.call("GetFunctionConfiguration", read);
    assert_eq!((&active["State"], &active["LastUpdateStatus"]), (&json!("Active"), &json!("Successful")));
    assert_eq!(readiness(&mut world, "1"), Readiness::Ready);
    let records = world.len();
    world.settle(&Ok(()));
    assert_eq!(world.len(), records, "what is settled leaves nothing outstanding");
}

#[test]
fn what_ran_before_runs_until_the_update_is_ready() {
    let mut world = world();
    world.call("CreateFunction", create("f"));
    world.settle(&Ok(()));
    let update = json!({ "FunctionName": "f", "ZipFile": zip("bb") });
    let answer = world.call("UpdateFunctionCode", update.clone());
    assert_eq!((&answer["State"], &answer["LastUpdateStatus"]), (&json!("Active"), &json!("InProgress")));
    assert_eq!((blob(&mut world).as_str(), readiness(&mut world, "")), ("aa", Readiness::Updating));
    let refused = world.refused("UpdateFunctionConfiguration", json!({ "FunctionName": "f", "Timeout": 9 }));
    assert_eq!(
        refused.message,
        "The operation cannot be performed at this time. An update is in progress for resource: \
         arn:aws:lambda:us-east-1:444455556666:function:f"
    );
    world.settle(&failure());
    let read = json!({ "FunctionName": "f" });
    let failed = world.call("GetFunctionConfiguration", read.clone());
    assert_eq!(
        (&failed["State"], &failed["LastUpdateStatus"], &failed["LastUpdateStatusReasonCode"]),
        (&json!("Active"), &json!("Failed"), &json!("InvalidZipFileException"))
    );
    assert_eq!((blob(&mut world).as_str(), readiness(&mut world, "")), ("aa", Readiness::Ready));
    world.call("UpdateFunctionCode", json!({ "FunctionName": "f", "ZipFile": zip("cc") }));
    assert_eq!(blob(&mut world), "aa", "a second update does not bring the failed one to life");
    world.settle(&Ok(()));
    assert_eq!((blob(&mut world).as_str(), readiness(&mut world, "")), ("cc", Readiness::Ready));
    assert_eq!(world.call("GetFunctionConfiguration", read)["LastUpdateStatus"], "Successful");
}

#[test]
fn a_function_that_could_not_be_created_may_be_tried_again() {
    let mut world = world();
    world.call("CreateFunction", create("f"));
    world.settle(&failure());
    let read = json!({ "FunctionName": "f" });
    let failed = world.call("GetFunctionConfiguration", read.clone());
    assert_eq!(
        (&failed["State"], &failed["StateReasonCode"], &failed["LastUpdateStatus"]),
        (&json!("Failed"), &json!("InvalidZipFileException"), &json!("Failed"))
    );
    assert_eq!(readiness(&mut world, ""), Readiness::Failed);
    world.call("UpdateFunctionCode", json!({ "FunctionName": "f", "ZipFile": zip("bb") }));
    assert_eq!(readiness(&mut world, ""), Readiness::Pending);
    world.settle(&Ok(()));
    assert_eq!((blob(&mut world).as_str(), readiness(&mut world, "")), ("bb", Readiness::Ready));
}

#[test]
fn a_deleted_function_leaves_nothing_outstanding() {
    let mut world = world();
    world.call("CreateFunction", create("f"));
    world.call("DeleteFunction", json!({ "FunctionName": "f" }));
    assert_eq!(world.len(), 0);
}
