use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::harness::{OTHER, World, root};

#[test]
fn every_form_is_taken_apart() {
    let owned = |text: &str| Some(text.to_owned());
    for (text, region, account, function, qualifier) in [
        ("f", None, None, "f", None),
        ("f:live", None, None, "f", Some("live")),
        ("f:$LATEST", None, None, "f", Some("$LATEST")),
        ("444455556666:function:f", None, Some("444455556666"), "f", None),
        ("444455556666:f:1", None, Some("444455556666"), "f", Some("1")),
        ("function:f", None, None, "f", None),
        ("function:1", None, None, "1", None),
        ("function", None, None, "function", None),
        ("444455556666", None, None, "444455556666", None),
        ("us-east-1:444455556666:function:f:q", Some("us-east-1"), Some("444455556666"), "f", Some("q")),
        ("arn:aws:lambda:us-east-1:444455556666:function:f", Some("us-east-1"), Some("444455556666"), "f", None),
        ("arn:aws:lambda:us-east-1:444455556666:function:f:9", Some("us-east-1"), Some("444455556666"), "f", Some("9")),
    ] {
        let expected = FunctionName {
            partition: text.starts_with("arn:").then(|| "aws".to_owned()),
            region: region.and_then(owned),
            account: account.and_then(owned),
            function: function.to_owned(),
            qualifier: qualifier.and_then(owned),
        };
        assert_eq!(FunctionName::parse(text), Some(expected), "{text}");
    }
    for bad in [
        "",
        ":",
        "f:",
        ":f",
        "f:a:b:c",
        "f g",
        "f:a b",
        "arn:aws:s3:us-east-1:444455556666:function:f",
        "f ",
        "ü",
        "f:$OTHER",
    ] {
        assert_eq!(FunctionName::parse(bad), None, "{bad}");
    }
    assert_eq!(FunctionName::parse(&"f".repeat(257)), None);
}

#[test]
fn another_region_and_a_copied_blank_have_their_texts() {
    let mut world = World::with_function();
    let error = world
        .refused("GetFunction", json!({ "FunctionName": "arn:aws:lambda:ap-southeast-1:444455556666:function:f" }));
    assert_eq!(error.message, "Functions from 'ap-southeast-1' are not reachable in this region ('us-east-1')");
    assert_eq!((error.code.as_ref(), error.status), ("ResourceNotFoundException", 404));
    let error = world.refused("GetFunction", json!({ "FunctionName": "f " }));
    assert!(error.message.starts_with(
        "1 validation error detected: Value 'f ' at 'functionName' failed to satisfy constraint: Member must satisfy \
         regular expression pattern: (arn:(aws[a-zA-Z-]*)?:lambda:)?"
    ));
    let error = world.refused("GetFunction", json!({ "FunctionName": "f:1", "Qualifier": "2" }));
    assert_eq!(error.message, "The derived qualifier from the function name does not match the specified qualifier.");
    world.call("GetFunction", json!({ "FunctionName": "f:$LATEST", "Qualifier": "$LATEST" }));
}

#[test]
fn a_name_belongs_to_the_caller_and_an_arn_to_its_account() {
    let mut world = World::with_function();
    let needs = world.needs_as(&root(OTHER), "GetFunction", &json!({ "FunctionName": "f" })).expect("needs");
    assert_eq!(needs[0].resource, "arn:aws:lambda:us-east-1:111122223333:function:f");
    assert_eq!(needs[0].account, OTHER);
    let partial = json!({ "FunctionName": "444455556666:function:f", "Qualifier": "live" });
    let needs = world.needs_as(&root(OTHER), "GetFunction", &partial).expect("needs");
    assert_eq!(needs[0].resource, "arn:aws:lambda:us-east-1:444455556666:function:f:live");
    assert_eq!(needs[0].account, "444455556666");
}

/// A policy about `function:f` must hold for every spelling of an operation on `f` itself.
#[test]
fn spelling_latest_does_not_change_what_is_asked_for() {
    let mut world = World::with_function();
    let arn = "arn:aws:lambda:us-east-1:444455556666:function:f";
    for name in [
        "UpdateFunctionCode",
        "UpdateFunctionConfiguration",
        "PublishVersion",
        "ListVersionsByFunction",
        "ListAliases",
        "PutFunctionConcurrency",
        "GetFunctionConcurrency",
        "DeleteFunctionConcurrency",
        "GetFunctionCodeSigningConfig",
    ] {
        for spelling in ["f", "f:$LATEST", "function:f:$LATEST", &format!("{arn}:$LATEST")] {
            let input = json!({ "FunctionName": spelling, "ReservedConcurrentExecutions": 1 });
            let needs = world.needs_as(&root("444455556666"), name, &input).expect("needs");
            assert_eq!(needs[0].resource, arn, "{name} {spelling}");
        }
        let input = json!({ "FunctionName": "f:1", "ReservedConcurrentExecutions": 1 });
        assert_eq!(world.needs_as(&root(OTHER), name, &input).expect_err("a version").status, 400, "{name}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn parsing_never_panics_and_never_invents(text in "\\PC{0,60}|(arn:aws:lambda:)?(us-east-1:)?([0-9]{12}:)?(function:)?[a-z0-9.]{0,8}(:[$A-Za-z0-9-]{0,8}){0,2}") {
        if let Some(name) = FunctionName::parse(&text) {
            prop_assert!(text.contains(&name.function) && !name.function.is_empty() && !name.function.contains(':'));
            if let Some(qualifier) = name.qualifier {
                let suffix = format!(":{qualifier}");
                prop_assert!(text.ends_with(&suffix));
            }
        }
    }

    /// An address written as an ARN leads back to itself.
    #[test]
    fn arns_read_back(account in "[0-9]{12}", function in "[a-zA-Z0-9_-]{1,64}", qualifier in proptest::option::of("[a-zA-Z0-9_-]{1,20}|[$]LATEST")) {
        let address = Address {
            account: account.parse().expect("digits"), region: "us-east-1".to_owned(), function: function.clone(),
            qualifier: qualifier.clone(),
        };
        let name = FunctionName::parse(&address.qualified_arn()).expect("an ARN");
        prop_assert_eq!((name.account, name.function, name.qualifier), (Some(account), function, qualifier));
    }
}
