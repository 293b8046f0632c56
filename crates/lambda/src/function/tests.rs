use serde_json::{Value, json};
use service::Timestamp;

use super::*;
use crate::harness::{CODE_SHA256, OTHER, OWNER, World, body, create, entry, root, with, zip};

const ARN: &str = "arn:aws:lambda:us-east-1:444455556666:function:f";

fn golden(members: Value) -> Value {
    let base = json!({
        "FunctionName": "f",
        "FunctionArn": ARN,
        "Runtime": "nodejs6.10",
        "Role": "arn:aws:iam::444455556666:role/lambda",
        "Handler": "index.handler",
        "CodeSize": 321,
        "Description": "",
        "Timeout": 3,
        "MemorySize": 128,
        "LastModified": "2025-11-25T02:26:54.000+0000",
        "CodeSha256": format!("aa{CODE_SHA256}"),
        "Version": "$LATEST",
        "TracingConfig": { "Mode": "PassThrough" },
        "PackageType": "Zip",
        "Architectures": ["x86_64"],
        "EphemeralStorage": { "Size": 512 },
        "SnapStart": { "ApplyOn": "None", "OptimizationStatus": "Off" },
        "LoggingConfig": { "LogFormat": "Text", "LogGroup": "/aws/lambda/f" },
    });
    with(base, members)
}

/// Revision ids are random: a golden shape is compared without them.
fn bare(mut configuration: Value) -> Value {
    let revision = configuration.as_object_mut().and_then(|members| members.shift_remove("RevisionId"));
    assert_eq!(revision.expect("a revision").as_str().map(str::len), Some(36));
    configuration
}

#[test]
fn created_function_is_pending_in_the_answer_and_active_on_the_next_read() {
    let mut world = World::new();
    let created = world.call("CreateFunction", create("f"));
    let pending = json!({
        "State": "Pending",
        "StateReason": "The function is being created.",
        "StateReasonCode": "Creating",
    });
    assert_eq!(bare(created.clone()), golden(pending));
    let active = json!({ "State": "Active", "LastUpdateStatus": "Successful" });
    let read = world.call("GetFunctionConfiguration", json!({ "FunctionName": "f" }));
    assert_eq!(read["RevisionId"], created["RevisionId"]);
    assert_eq!(bare(read), golden(active.clone()));
    let got = world.call("GetFunction", json!({ "FunctionName": ARN }));
    assert_eq!(bare(got["Configuration"].clone()), golden(active));
    assert_eq!(got["Code"]["RepositoryType"], "S3");
    assert!(got.get("Tags").is_none() && got.get("Concurrency").is_none());
    let list = world.call("ListFunctions", json!({}));
    assert_eq!(bare(list["Functions"][0].clone()), golden(json!({})));
    assert!(list.get("NextMarker").is_none());
}

#[test]
fn location_opens_for_ten_minutes_and_for_nothing_else() {
    let mut world = World::with_function();
    let now = Timestamp::from_ms(world.now_ms);
    let got = world.call("GetFunction", json!({ "FunctionName": "f" }));
    let location = got["Code"]["Location"].as_str().expect("text");
    let sealed = location.strip_prefix("http://127.0.0.1:4566/_portcullis/lambda/code/").expect("under the endpoint");
    let open = |sealed: &str, now| {
        let mut opened = None;
        let world = World::new();
        world.with_host(|host| opened = open_code_location(host, sealed, now));
        opened
    };
    assert_eq!(open(sealed, now).as_deref(), Some("aa"));
    assert_eq!(open(sealed, now.plus_s(600)).as_deref(), Some("aa"));
    assert_eq!(open(sealed, now.plus_s(601)), None);
    assert_eq!(open("forged", now), None);
}

#[test]
fn update_of_code_is_in_progress_in_the_answer() {
    let mut world = World::with_function();
    let before = world.call("GetFunctionConfiguration", json!({ "FunctionName": "f" }));
    world.now_ms += 61_001;
    let update = json!({ "FunctionName": "f", "ZipFile": zip("bb"), "RevisionId": before["RevisionId"] });
    let dry = world.call("UpdateFunctionCode", with(update.clone(), json!({ "DryRun": true })));
    assert_eq!(dry["CodeSha256"], format!("bb{CODE_SHA256}"));
    assert_eq!(world.call("GetFunctionConfiguration", json!({ "FunctionName": "f" })), before);
    let updated = world.call("UpdateFunctionCode", update.clone());
    let expected = json!({
        "CodeSha256": format!("bb{CODE_SHA256}"),
        "LastModified": "2025-11-25T02:27:55.001+0000",
        "State": "Active",
        "LastUpdateStatus": "InProgress",
        "LastUpdateStatusReason": "The function is being created.",
        "LastUpdateStatusReasonCode": "Creating",
    });
    assert_ne!(updated["RevisionId"], before["RevisionId"]);
    assert_eq!(bare(updated), golden(expected));
    let error = world.refused("UpdateFunctionCode", update);
    let message = "The Revision Id provided does not match the latest Revision Id. Call the GetFunction/GetAlias API to \
                   retrieve the latest Revision Id";
    assert_eq!((error.code.as_ref(), error.status), ("PreconditionFailedException", 412));
    assert_eq!(body(&error), json!({ "Type": "User", "message": message }).to_string());
    let published =
        world.call("UpdateFunctionCode", json!({ "FunctionName": "f", "ZipFile": zip("cc"), "Publish": true }));
    assert_eq!((&published["Version"], &published["FunctionArn"]), (&json!("1"), &json!(format!("{ARN}:1"))));
}

#[test]
fn update_of_configuration_changes_what_is_given() {
    let mut world = World::with_function();
    let input = json!({
        "FunctionName": "f", "Description": "d", "MemorySize": 256, "Environment": { "Variables": { "A1": "x" } },
        "Runtime": "python3.13", "Handler": "m.h",
    });
    world.call("UpdateFunctionConfiguration", input);
    let updated = world.call("UpdateFunctionConfiguration", json!({ "FunctionName": "f", "Timeout": 900 }));
    let expected =
        json!({ "Description": "d", "MemorySize": 256, "Runtime": "python3.13", "Handler": "m.h", "Timeout": 900 });
    for (name, value) in expected.as_object().expect("members") {
        assert_eq!(&updated[name], value);
    }
    assert_eq!(updated["Environment"], json!({ "Variables": { "A1": "x" } }));
    let error = world.refused("UpdateFunctionConfiguration", json!({ "FunctionName": "f", "RevisionId": "old" }));
    assert_eq!(error.status, 412);
}

#[test]
fn refusals_have_awss_texts() {
    let mut many = serde_json::Map::new();
    many.extend((0..51).map(|at| (format!("k{at}"), json!("v"))));
    let cases = [
        (json!({}), 409, "Function already exist: f"),
        (
            json!({ "FunctionName": "g", "Handler": null }),
            400,
            "Runtime and Handler are mandatory parameters for functions created with deployment packages.",
        ),
        (
            json!({ "FunctionName": "g", "Runtime": "cobol" }),
            400,
            "Value cobol at 'runtime' failed to satisfy constraint: Member must satisfy enum value set: [nodejs22.x, \
             python3.13] or be a valid ARN",
        ),
        (json!({ "FunctionName": "g", "Code": {} }), 400, "Please provide a source for function code."),
        (
            json!({ "FunctionName": "g", "Code": { "S3ObjectStorageMode": "REFERENCE" } }),
            400,
            "S3ObjectStorageMode is not supported by this installation yet: send the code as ZipFile, or name it by \
             S3Bucket and S3Key.",
        ),
        (
            json!({ "FunctionName": "g", "Code": { "ImageUri": "i" } }),
            400,
            "ImageUri is not supported by this installation yet: send the code as ZipFile, or name it by S3Bucket and S3Key.",
        ),
        (
            json!({ "FunctionName": "g", "Code": { "ZipFile": { "Blob": "a", "CodeSha256": "b", "CodeSize": 52_428_800 } } }),
            413,
            "Zipped size must be smaller than 52428800 bytes",
        ),
        (
            json!({ "FunctionName": "g", "Role": "lambda" }),
            400,
            "1 validation error detected: Value 'lambda' at 'role' failed to satisfy constraint: Member must satisfy regular \
             expression pattern: arn:(aws[a-zA-Z-]*)?:iam::\\d{12}:role/?[a-zA-Z_0-9+=,.@\\-_/]+",
        ),
        (
            json!({ "FunctionName": "g", "Role": format!("arn:aws:iam::{OTHER}:role/r") }),
            403,
            "Cross-account pass role is not allowed.",
        ),
        (
            json!({ "FunctionName": "g", "Timeout": 901, "MemorySize": 64 }),
            400,
            "2 validation errors detected: Value '901' at 'timeout' failed to satisfy constraint: Member must have value \
             less than or equal to 900; Value '64' at 'memorySize' failed to satisfy constraint: Member must have value \
             greater than or equal to 128",
        ),
        (json!({ "FunctionName": "g", "Tags": many }), 400, "Number of tags exceeds resource tag limit."),
        (
            json!({ "FunctionName": "g:1" }),
            400,
            "This operation acts on the function itself: remove the qualifier 1 from the function name.",
        ),
    ];
    for (members, status, message) in cases {
        let mut world = World::with_function();
        let error = world.refused("CreateFunction", with(create("f"), members.clone()));
        assert_eq!((error.status, error.message.as_str()), (status, message), "{members}");
        assert_eq!(world.len(), 1, "nothing is stored");
    }
}

#[test]
fn names_and_sources_are_held_to_their_form() {
    let mut world = World::new();
    let error = world.refused("CreateFunction", create(&"x".repeat(65)));
    assert!(error.message.ends_with("Member must have length less than or equal to 64"), "{}", error.message);
    let error = world.refused("CreateFunction", create("a.b"));
    assert_eq!(error.code, "ValidationException");
    let error = world.refused("CreateFunction", with(create("f"), json!({ "Code": { "ZipFile": "UEs=" } })));
    assert_eq!(error.status, 500, "an upload that was not stored is a fault of ours");
    let mut world = World::with_function();
    let error = world.refused("UpdateFunctionCode", json!({ "FunctionName": "f", "ImageUri": "i" }));
    assert_eq!(error.message, "Please don't provide ImageUri when updating a function with packageType Zip.");
}

#[test]
fn what_is_not_enforced_is_refused_unless_it_is_the_default() {
    let refused = [
        ("VpcConfig", json!({ "SubnetIds": ["s"], "SecurityGroupIds": [] })),
        ("VpcConfig", json!({ "Ipv6AllowedForDualStack": true })),
        ("DeadLetterConfig", json!({ "TargetArn": "arn:aws:sqs:us-east-1:1:q" })),
        ("KMSKeyArn", json!("arn:aws:kms:us-east-1:1:key/k")),
        ("TracingConfig", json!({ "Mode": "Active" })),
        ("FileSystemConfigs", json!([{}])),
        ("ImageConfig", json!({ "Command": ["c"] })),
        ("Architectures", json!(["arm64"])),
        ("SnapStart", json!({ "ApplyOn": "PublishedVersions" })),
        ("PackageType", json!("Image")),
    ];
    for (member, value) in refused {
        let mut world = World::new();
        let error = world.refused("CreateFunction", with(create("f"), json!({ member: value })));
        assert_eq!((error.code.as_ref(), error.status), ("InvalidParameterValueException", 400), "{member}");
        assert!(
            error.message.starts_with(&format!("{member} is not supported by this installation yet: ")),
            "{}",
            error.message
        );
    }
    let accepted = json!({
        "VpcConfig": { "SubnetIds": [], "SecurityGroupIds": [], "Ipv6AllowedForDualStack": false },
        "DeadLetterConfig": { "TargetArn": "" },
        "KMSKeyArn": "",
        "TracingConfig": { "Mode": "PassThrough" },
        "Layers": [],
        "FileSystemConfigs": [],
        "ImageConfig": {},
        "Architectures": ["x86_64"],
        "SnapStart": { "ApplyOn": "None" },
        "PackageType": "Zip",
        "EphemeralStorage": { "Size": 512 },
        "LoggingConfig": { "LogFormat": "Text", "LogGroup": "/aws/lambda/f" },
    });
    World::new().call("CreateFunction", with(create("f"), accepted));
}

#[test]
fn needs_name_the_function_the_tags_and_the_role() {
    let mut world = World::new();
    let input = with(create("f"), json!({ "Tags": { "team": "red" } }));
    let needs = world.needs_as(&root(OWNER), "CreateFunction", &input).expect("needs");
    let named: Vec<_> = needs.iter().map(|need| (need.action.as_str(), need.resource.as_str())).collect();
    assert_eq!(
        named,
        [
            ("lambda:CreateFunction", ARN),
            ("lambda:TagResource", ARN),
            ("iam:PassRole", "arn:aws:iam::444455556666:role/lambda"),
        ]
    );
    assert_eq!(needs[0].context, [("aws:RequestTag/team".to_owned(), "red".to_owned())]);
    assert_eq!(needs[2].context, [("iam:PassedToService".to_owned(), "lambda.amazonaws.com".to_owned())]);
    assert!(needs.iter().all(|need| need.account == OWNER && need.refusal.is_none()));
    world.call("CreateFunction", input);
    let needs = world.needs_as(&root(OWNER), "GetFunction", &json!({ "FunctionName": "f" })).expect("needs");
    assert_eq!(needs[0].context, [("aws:ResourceTag/team".to_owned(), "red".to_owned())]);
    let foreign = json!({ "FunctionName": "f", "Role": format!("arn:aws:iam::{OTHER}:role/r") });
    let needs = world.needs_as(&root(OWNER), "UpdateFunctionConfiguration", &foreign).expect("needs");
    assert_eq!((needs[1].action.as_str(), needs[1].account.as_str()), ("iam:PassRole", OTHER));
    assert_eq!(
        needs[1].refusal.as_ref().map(|error| error.message.as_str()),
        Some("Cross-account pass role is not allowed.")
    );
    let error = world.try_as(&root(OTHER), "CreateFunction", with(create("f"), json!({ "FunctionName": ARN })));
    assert_eq!(error.expect_err("another account").status, 403);
}

#[test]
fn audit_record_shows_neither_code_nor_environment() {
    let environment = json!({ "Variables": { "PASSWORD": "hunter2" } });
    let mut world = World::new();
    for (name, input) in [
        ("CreateFunction", with(create("f"), json!({ "Environment": environment }))),
        ("UpdateFunctionConfiguration", json!({ "FunctionName": "f", "Environment": environment })),
        ("UpdateFunctionCode", json!({ "FunctionName": "f", "ZipFile": zip("bb") })),
        ("PublishVersion", json!({ "FunctionName": "f" })),
    ] {
        let entry = entry(name);
        let parameters = entry.trail_parameters(&input).to_string();
        let output = world.call(name, input);
        assert!(output.to_string().contains("hunter2"), "{name}");
        let recorded = format!("{parameters}{}", entry.trail_response(&output));
        for secret in ["hunter2", "PASSWORD", "Blob", "ZipFile"] {
            assert!(!recorded.contains(secret), "{name}: {recorded}");
        }
    }
}

#[test]
fn deleting_takes_everything_along_and_a_version_alone() {
    let mut world = World::with_function();
    let f = json!({ "FunctionName": "f" });
    world.call("PublishVersion", f.clone());
    world.call("CreateAlias", json!({ "FunctionName": "f", "Name": "live", "FunctionVersion": "1" }));
    let permission = json!({
        "FunctionName": "f:1", "StatementId": "s", "Action": "lambda:InvokeFunction", "Principal": "s3.amazonaws.com",
    });
    world.call("AddPermission", permission);
    let delete = |qualifier: &str| json!({ "FunctionName": "f", "Qualifier": qualifier });
    let error = world.refused("DeleteFunction", delete("$LATEST"));
    assert_eq!(error.message, "$LATEST version cannot be deleted without deleting the function.");
    let error = world.refused("DeleteFunction", delete("1"));
    assert_eq!(error.message, "Unable to delete version because the following aliases reference it: [live]");
    assert_eq!(error.status, 409);
    let error = world.refused("DeleteFunction", delete("live"));
    assert_eq!(error.message, "Deletion of aliases is not currently supported.");
    assert_eq!(world.call("DeleteFunction", delete("42")), json!({}));
    world.call("DeleteAlias", json!({ "FunctionName": "f", "Name": "live" }));
    world.call("DeleteFunction", delete("1"));
    assert_eq!(world.len(), 1, "the version's policy went with it");
    world.call("PublishVersion", f.clone());
    world.call("CreateAlias", json!({ "FunctionName": "f", "Name": "live", "FunctionVersion": "2" }));
    world.call("DeleteFunction", f.clone());
    assert_eq!(world.len(), 0);
    let error = world.refused("DeleteFunction", f);
    assert_eq!(body(&error), json!({ "Type": "User", "Message": format!("Function not found: {ARN}") }).to_string());
}

#[test]
fn a_missing_function_is_named_with_its_qualifier() {
    let mut world = World::with_function();
    for (qualifier, name) in [("42", "GetFunction"), ("nope", "GetFunctionConfiguration"), ("01", "GetFunction")] {
        let error = world.refused(name, json!({ "FunctionName": "f", "Qualifier": qualifier }));
        assert_eq!(error.message, format!("Function not found: {ARN}:{qualifier}"));
    }
    for name in
        ["UpdateFunctionCode", "UpdateFunctionConfiguration", "PublishVersion", "ListVersionsByFunction", "ListAliases"]
    {
        let error = world.refused(name, json!({ "FunctionName": "g" }));
        assert_eq!(error.message, "Function not found: arn:aws:lambda:us-east-1:444455556666:function:g", "{name}");
    }
}

#[test]
fn lists_are_paged_and_belong_to_one_account() {
    let mut world = World::new();
    for name in ["c", "a", "b"] {
        world.call("CreateFunction", create(name));
    }
    world.call("PublishVersion", json!({ "FunctionName": "b" }));
    let walk = |world: &mut World, base: Value, size: usize| {
        let mut names = Vec::new();
        let mut marker = Value::Null;
        loop {
            let input = with(base.clone(), json!({ "MaxItems": size, "Marker": marker }));
            let page = world.call("ListFunctions", input);
            let functions = page["Functions"].as_array().expect("a list");
            assert!(functions.len() <= size);
            names.extend(functions.iter().map(|function| {
                let arn = function["FunctionArn"].as_str().expect("text");
                arn.split_once("function:").expect("an ARN").1.to_owned()
            }));
            match page.get("NextMarker") {
                Some(next) => marker = next.clone(),
                None => return names,
            }
        }
    };
    for size in 1..6 {
        assert_eq!(walk(&mut world, json!({}), size), ["a", "b", "c"], "{size}");
        let all = walk(&mut world, json!({ "FunctionVersion": "ALL" }), size);
        assert_eq!(all, ["a:$LATEST", "b:$LATEST", "b:1", "c:$LATEST"], "{size}");
    }
    assert_eq!(world.try_as(&root(OTHER), "ListFunctions", json!({})).expect("a list"), json!({ "Functions": [] }));
    assert_eq!(world.refused("ListFunctions", json!({ "Marker": "%%" })).code, "InvalidParameterValueException");
    let needs = world.needs_as(&root(OWNER), "ListFunctions", &json!({})).expect("needs");
    assert_eq!(needs[0].resource, "*");
}

#[test]
fn another_account_with_a_grant_reads_the_function() {
    let mut world = World::with_function();
    let input = json!({ "FunctionName": ARN });
    let none = world.needs_as(&root(OTHER), "GetFunction", &input).expect("needs");
    assert_eq!((none[0].account.as_str(), &none[0].resource_policy), (OWNER, &None));
    let grant = json!({ "FunctionName": "f", "StatementId": "s", "Action": "lambda:GetFunction", "Principal": OTHER });
    world.call("AddPermission", grant);
    let granted = world.needs_as(&root(OTHER), "GetFunction", &input).expect("needs");
    assert!(granted[0].resource_policy.as_ref().is_some_and(|policy| policy.contains("lambda:GetFunction")));
    // No grant lets another account change the configuration.
    let needs = world.needs_as(&root(OTHER), "UpdateFunctionConfiguration", &input).expect("needs");
    assert_eq!(needs[0].resource_policy, None);
}

#[test]
fn tmp_has_a_size_where_functions_are_isolated() {
    let mut world = World::with_function();
    let sized = |size: u32| json!({ "FunctionName": "f", "EphemeralStorage": { "Size": size } });
    let updated = world.call("UpdateFunctionConfiguration", sized(2048));
    assert_eq!(updated["EphemeralStorage"], json!({ "Size": 2048 }));
    let (_, target) = world.targets("f").remove(0);
    assert_eq!(target.revision.ephemeral_storage_mb, 2048);
    for size in [511, 10_241] {
        assert_eq!(&*world.refused("UpdateFunctionConfiguration", sized(size)).code, "ValidationException");
    }
    world.without_isolation();
    let refused = world.refused("UpdateFunctionConfiguration", sized(1024));
    assert_eq!(
        refused.message,
        "EphemeralStorage is not supported by this installation yet: functions run unisolated on this server, where /tmp \
         has no size of its own; leave it at 512 MB."
    );
    world.call("UpdateFunctionConfiguration", sized(512));
}

#[test]
fn a_function_logs_as_it_is_told() {
    let mut world = World::with_function();
    let logs = |config: Value| json!({ "FunctionName": "f", "LoggingConfig": config });
    let text = json!({ "LogFormat": "Text", "LogGroup": "/aws/lambda/f" });
    let updated =
        world.call("UpdateFunctionConfiguration", logs(json!({ "LogFormat": "JSON", "SystemLogLevel": "WARN" })));
    assert_eq!(
        updated["LoggingConfig"],
        json!({
            "LogFormat": "JSON", "ApplicationLogLevel": "INFO", "SystemLogLevel": "WARN", "LogGroup": "/aws/lambda/f",
        })
    );
    let running = world.targets("f").remove(0).1.revision.logging.clone();
    assert_eq!(running.json.map(|json| json.application_level).as_deref(), Some("INFO"));
    let elsewhere = json!({ "LogFormat": "Text", "LogGroup": "/elsewhere" });
    world.call("UpdateFunctionConfiguration", logs(elsewhere.clone()));
    let kept = world.call("UpdateFunctionConfiguration", json!({ "FunctionName": "f", "Timeout": 9 }));
    assert_eq!(kept["LoggingConfig"], elsewhere, "what is not given stays");
    assert_eq!(world.targets("f").remove(0).1.revision.logging.group.as_deref(), Some("/elsewhere"));
    assert_eq!(world.call("UpdateFunctionConfiguration", logs(text.clone()))["LoggingConfig"], text);
    for (config, code) in [
        (json!({ "LogFormat": "XML" }), "ValidationException"),
        (json!({ "LogFormat": "JSON", "SystemLogLevel": "ERROR" }), "ValidationException"),
        (json!({ "LogGroup": "a b" }), "ValidationException"),
        (json!({ "ApplicationLogLevel": "DEBUG" }), "InvalidParameterValueException"),
    ] {
        let refused = world.refused("UpdateFunctionConfiguration", logs(config.clone()));
        assert_eq!(&*refused.code, code, "{config}");
    }
}
