use serde_json::json;

use crate::harness::{World, create};

#[test]
fn a_reservation_is_set_read_and_removed() {
    let mut world = World::with_function();
    let f = json!({ "FunctionName": "f" });
    assert_eq!(world.call("GetFunctionConcurrency", f.clone()), json!({}));
    let five = json!({ "ReservedConcurrentExecutions": 5 });
    assert_eq!(
        world.call("PutFunctionConcurrency", json!({ "FunctionName": "f", "ReservedConcurrentExecutions": 5 })),
        five
    );
    assert_eq!(world.call("GetFunctionConcurrency", f.clone()), five);
    assert_eq!(world.call("GetFunction", f.clone())["Concurrency"], five);
    assert_eq!(world.targets("f")[0].1.reserved_concurrency, Some(5));
    world.call("DeleteFunctionConcurrency", f.clone());
    assert_eq!(world.call("GetFunctionConcurrency", f), json!({}));
}

#[test]
fn a_hundred_stay_unreserved() {
    let mut world = World::with_function();
    world.call("CreateFunction", create("g"));
    let put = |name: &str, number: u32| json!({ "FunctionName": name, "ReservedConcurrentExecutions": number });
    world.call("PutFunctionConcurrency", put("f", 900));
    world.call("PutFunctionConcurrency", put("f", 900));
    world.call("PutFunctionConcurrency", put("g", 0));
    assert_eq!(
        world.refused("PutFunctionConcurrency", put("g", 1)).message,
        "Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its \
         minimum value of [100]."
    );
    let settings = world.call("GetAccountSettings", json!({}));
    assert_eq!(settings["AccountLimit"]["UnreservedConcurrentExecutions"], 100);
    assert_eq!(settings["AccountUsage"], json!({ "TotalCodeSize": 642, "FunctionCount": 2 }));
}

#[test]
fn code_need_not_be_signed() {
    let mut world = World::with_function();
    let name = json!({ "FunctionName": "f" });
    assert_eq!(world.call("GetFunctionCodeSigningConfig", name.clone()), name);
    assert_eq!(world.refused("GetFunctionCodeSigningConfig", json!({ "FunctionName": "g" })).status, 404);
}
