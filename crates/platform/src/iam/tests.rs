use serde_json::{Value, json};
use service::{Need, Scope};

use super::testing::{API, Bench, SECURITY, allow, entries, refused, root, trust};
use super::{aws_managed, document, principal, tag};

const ADMIN: &str = "arn:aws:iam::aws:policy/AdministratorAccess";
const READ: &str = "arn:aws:iam::aws:policy/ReadOnlyAccess";

fn check(bench: &mut Bench, name: &str, params: Value, expected: (&str, u16, &str)) {
    let (code, status, text) = refused(bench.force(&root(API), name, params));
    assert_eq!((code.as_str(), status, text.as_str()), expected, "{name}");
}

fn ok(bench: &mut Bench, name: &str, params: Value) -> Value {
    match bench.force(&root(API), name, params) {
        Ok(answer) => answer,
        Err(error) => panic!("{name}: {error:?}"),
    }
}

fn managed(bench: &mut Bench, name: &str, actions: &[&str]) -> String {
    let params = json!({ "PolicyName": name, "PolicyDocument": allow(actions).to_string() });
    ok(bench, "CreatePolicy", params)["Policy"]["Arn"].as_str().unwrap().to_owned()
}

/// What serde says an input may hold: the names of an operation's `Input`.
fn read_members(entry: &service::Entry) -> Vec<String> {
    let mut bench = Bench::new();
    let outcome = bench.force_raw(entry, &json!({ "?": null }));
    let text = outcome.expect_err("an unknown member is refused").message;
    let (_, expected) = text.split_once("`?`").expect("serde names the unknown member");
    expected.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn every_operation_is_in_the_model_and_every_member_is_read_or_refused() {
    for (service, entry) in entries() {
        let operation = wire::table::service(service).unwrap().operation(entry.name).expect(entry.name);
        let mut model: Vec<&str> = operation.members().collect();
        let mut known = read_members(entry);
        known.extend(entry.refused.iter().chain(entry.ignored).map(|name| (*name).to_owned()));
        model.sort_unstable();
        known.sort_unstable();
        assert_eq!(known, model, "{}", entry.name);
    }
}

#[test]
fn tier_one_is_complete() {
    for service in ["iam", "sts"] {
        let table = wire::table::service(service).unwrap();
        for operation in table.operations.iter().filter(|operation| operation.tier == 1) {
            assert!(entries().any(|(_, entry)| entry.name == operation.name), "{}", operation.name);
        }
    }
}

#[test]
fn no_operation_stands_twice() {
    let mut names: Vec<&str> = entries().map(|(_, entry)| entry.name).collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
}

#[test]
fn answers_have_only_members_of_the_model_in_golden_shape() {
    let mut bench = Bench::new();
    let user = ok(
        &mut bench,
        "CreateUser",
        json!({ "UserName": "Ann", "Path": "/ops/", "Tags": [{ "Key": "k", "Value": "v" }] }),
    );
    let id = user["User"]["UserId"].as_str().unwrap().to_owned();
    assert!(id.starts_with("AIDA") && id.len() == 21);
    assert_eq!(
        user,
        json!({ "User": {
            "Path": "/ops/", "UserName": "Ann", "UserId": id, "Arn": "arn:aws:iam::111122223333:user/ops/Ann",
            "CreateDate": 1_764_037_614, "Tags": [{ "Key": "k", "Value": "v" }],
        } })
    );
    assert_eq!(
        ok(&mut bench, "ListUsers", json!({})),
        json!({ "Users": [{
            "Path": "/ops/", "UserName": "Ann", "UserId": id, "Arn": "arn:aws:iam::111122223333:user/ops/Ann",
            "CreateDate": 1_764_037_614,
        }], "IsTruncated": false })
    );
    assert_eq!(ok(&mut bench, "GetUser", json!({ "UserName": "aNN" }))["User"]["UserName"], "Ann");

    let trust = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"lambda.amazonaws.com"},"Action":"sts:AssumeRole"}]}"#;
    let role = ok(&mut bench, "CreateRole", json!({ "RoleName": "r", "AssumeRolePolicyDocument": trust }));
    let mut expected = json!({
        "Path": "/", "RoleName": "r", "RoleId": role["Role"]["RoleId"], "Arn": "arn:aws:iam::111122223333:role/r",
        "CreateDate": 1_764_037_614,
        "AssumeRolePolicyDocument": "%7B%22Version%22%3A%222012-10-17%22%2C%22Statement%22%3A%5B%7B%22Effect%22%3A%22Allow%22%2C%22Principal%22%3A%7B%22Service%22%3A%22lambda.amazonaws.com%22%7D%2C%22Action%22%3A%22sts%3AAssumeRole%22%7D%5D%7D",
    });
    assert_eq!(role["Role"], expected);
    expected["MaxSessionDuration"] = json!(3600);
    assert_eq!(ok(&mut bench, "ListRoles", json!({}))["Roles"], json!([expected]));
    expected["RoleLastUsed"] = json!({});
    assert_eq!(ok(&mut bench, "GetRole", json!({ "RoleName": "r" }))["Role"], expected);

    let arn = managed(&mut bench, "p", &["s3:GetObject"]);
    ok(&mut bench, "AttachRolePolicy", json!({ "RoleName": "r", "PolicyArn": arn }));
    let policy = ok(&mut bench, "GetPolicy", json!({ "PolicyArn": arn }));
    assert_eq!(
        policy,
        json!({ "Policy": {
            "PolicyName": "p", "PolicyId": policy["Policy"]["PolicyId"], "Arn": "arn:aws:iam::111122223333:policy/p",
            "Path": "/", "DefaultVersionId": "v1", "AttachmentCount": 1, "PermissionsBoundaryUsageCount": 0,
            "IsAttachable": true, "CreateDate": 1_764_037_614, "UpdateDate": 1_764_037_614, "Tags": [],
        } })
    );
    assert_eq!(
        ok(&mut bench, "ListAttachedRolePolicies", json!({ "RoleName": "r" })),
        json!({ "AttachedPolicies": [{ "PolicyName": "p", "PolicyArn": arn }], "IsTruncated": false })
    );
    assert_eq!(
        ok(&mut bench, "ListEntitiesForPolicy", json!({ "PolicyArn": arn })),
        json!({
            "PolicyGroups": [], "PolicyUsers": [],
            "PolicyRoles": [{ "RoleName": "r", "RoleId": role["Role"]["RoleId"] }], "IsTruncated": false,
        })
    );
}

#[test]
fn a_key_shows_its_secret_once_and_never_to_the_trail() {
    let mut bench = Bench::new();
    ok(&mut bench, "CreateUser", json!({ "UserName": "ann" }));
    let created = ok(&mut bench, "CreateAccessKey", json!({ "UserName": "ann" }));
    let key = &created["AccessKey"];
    let id = key["AccessKeyId"].as_str().unwrap();
    assert!(id.starts_with("AKIA") && id.len() == 20);
    assert_eq!(key["SecretAccessKey"].as_str().unwrap().len(), 40);
    assert_eq!(
        Bench::trailed("CreateAccessKey", &created),
        json!({ "AccessKey": { "UserName": "ann", "AccessKeyId": id, "Status": "Active", "CreateDate": 1_764_037_614 } })
    );
    assert_eq!(
        ok(&mut bench, "ListAccessKeys", json!({ "UserName": "ann" })),
        json!({ "AccessKeyMetadata": [
            { "UserName": "ann", "AccessKeyId": id, "Status": "Active", "CreateDate": 1_764_037_614 },
        ], "IsTruncated": false })
    );
    ok(&mut bench, "CreateAccessKey", json!({ "UserName": "ann" }));
    let quota = ("LimitExceeded", 409, "Cannot exceed quota for AccessKeysPerUser: 2");
    check(&mut bench, "CreateAccessKey", json!({ "UserName": "ann" }), quota);
}

#[test]
fn an_inactive_or_deleted_key_does_not_sign() {
    let mut bench = Bench::new();
    let ann = bench.user(API, "ann", None);
    let id = ann.access_key_id.clone();
    let params = |status: &str| json!({ "UserName": "ann", "AccessKeyId": id, "Status": status });
    ok(&mut bench, "UpdateAccessKey", params("Inactive"));
    assert_eq!(bench.caller(&id), None);
    ok(&mut bench, "UpdateAccessKey", params("Active"));
    assert_eq!(bench.caller(&id), Some(ann));
    ok(&mut bench, "DeleteAccessKey", json!({ "UserName": "ann", "AccessKeyId": id }));
    assert_eq!(bench.caller(&id), None);
}

#[test]
fn a_key_of_somebody_else_cannot_be_found() {
    let mut bench = Bench::new();
    let ann = bench.user(API, "ann", None);
    bench.user(API, "bob", None);
    let foreign = bench.user(SECURITY, "ann", None);
    for id in [&ann.access_key_id, &foreign.access_key_id] {
        let text = format!("The Access Key with id {id} cannot be found.");
        for name in ["DeleteAccessKey", "UpdateAccessKey"] {
            let mut params = json!({ "UserName": "bob", "AccessKeyId": id });
            if name == "UpdateAccessKey" {
                params["Status"] = "Inactive".into();
            }
            check(&mut bench, name, params, ("NoSuchEntity", 404, text.as_str()));
        }
    }
    assert!(bench.caller(&ann.access_key_id).is_some());
}

#[test]
fn refusals_have_the_texts_of_aws() {
    let mut bench = Bench::new();
    ok(&mut bench, "CreateUser", json!({ "UserName": "ann" }));
    ok(&mut bench, "CreateRole", json!({ "RoleName": "r", "AssumeRolePolicyDocument": trust(API) }));
    let arn = managed(&mut bench, "p", &["s3:*"]);
    let none = "arn:aws:iam::111122223333:policy/none";
    let foreign = "arn:aws:iam::444455556666:policy/p";
    let nobody = "arn:aws:iam::444455556666:user/nobody";
    let document = allow(&["s3:*"]).to_string();
    let cases: Vec<(&str, Value, (&str, u16, &str))> = vec![
        (
            "CreateUser",
            json!({ "UserName": "ANN" }),
            ("EntityAlreadyExists", 409, "User with name ANN already exists."),
        ),
        ("GetUser", json!({ "UserName": "bob" }), ("NoSuchEntity", 404, "The user with name bob cannot be found.")),
        ("DeleteUser", json!({ "UserName": "bob" }), ("NoSuchEntity", 404, "The user with name bob cannot be found.")),
        (
            "DeleteAccessKey",
            json!({ "UserName": "ann", "AccessKeyId": "AKIANONENONENONENONE" }),
            ("NoSuchEntity", 404, "The Access Key with id AKIANONENONENONENONE cannot be found."),
        ),
        (
            "CreateRole",
            json!({ "RoleName": "R", "AssumeRolePolicyDocument": trust(API) }),
            ("EntityAlreadyExists", 409, "Role with name R already exists."),
        ),
        (
            "CreateRole",
            json!({ "RoleName": "s", "AssumeRolePolicyDocument": "{" }),
            ("MalformedPolicyDocument", 400, "This policy contains invalid Json"),
        ),
        (
            "CreateRole",
            json!({ "RoleName": "s", "AssumeRolePolicyDocument": trust(nobody) }),
            (
                "MalformedPolicyDocument",
                400,
                "Invalid principal in policy: \"AWS\":\"arn:aws:iam::444455556666:user/nobody\"",
            ),
        ),
        (
            "UpdateAssumeRolePolicy",
            json!({ "RoleName": "r", "PolicyDocument": trust("bob") }),
            ("MalformedPolicyDocument", 400, "Invalid principal in policy: \"AWS\":\"bob\""),
        ),
        ("GetRole", json!({ "RoleName": "s" }), ("NoSuchEntity", 404, "The role with name s cannot be found.")),
        (
            "GetRolePolicy",
            json!({ "RoleName": "r", "PolicyName": "x" }),
            ("NoSuchEntity", 404, "The role policy with name x cannot be found."),
        ),
        (
            "DeleteUserPolicy",
            json!({ "UserName": "ann", "PolicyName": "x" }),
            ("NoSuchEntity", 404, "The user policy with name x cannot be found."),
        ),
        (
            "AttachUserPolicy",
            json!({ "UserName": "ann", "PolicyArn": none }),
            ("NoSuchEntity", 404, "Policy arn:aws:iam::111122223333:policy/none does not exist or is not attachable."),
        ),
        (
            "AttachUserPolicy",
            json!({ "UserName": "ann", "PolicyArn": foreign }),
            ("NoSuchEntity", 404, "Policy arn:aws:iam::444455556666:policy/p does not exist or is not attachable."),
        ),
        (
            "AttachRolePolicy",
            json!({ "RoleName": "r", "PolicyArn": "this-is-not-an-arn-at-all" }),
            ("ValidationError", 400, "Invalid ARN:  Could not be parsed!"),
        ),
        (
            "AttachRolePolicy",
            json!({ "RoleName": "r", "PolicyArn": "arn:aws:iam::aws:policy/Made/Up" }),
            ("NoSuchEntity", 404, "Policy arn:aws:iam::aws:policy/Made/Up does not exist or is not attachable."),
        ),
        (
            "DetachRolePolicy",
            json!({ "RoleName": "r", "PolicyArn": arn }),
            ("NoSuchEntity", 404, "Policy arn:aws:iam::111122223333:policy/p was not found."),
        ),
        (
            "CreatePolicy",
            json!({ "PolicyName": "P", "PolicyDocument": document }),
            ("EntityAlreadyExists", 409, "A policy called P already exists. Duplicate names are not allowed."),
        ),
        (
            "CreatePolicy",
            json!({ "PolicyName": "q", "PolicyDocument": trust(API) }),
            ("MalformedPolicyDocument", 400, "Policy document should not specify a principal."),
        ),
        (
            "GetPolicy",
            json!({ "PolicyArn": none }),
            ("NoSuchEntity", 404, "Policy arn:aws:iam::111122223333:policy/none was not found."),
        ),
        (
            "TagUser",
            json!({ "UserName": "ann", "Tags": [{ "Key": "k", "Value": "" }, { "Key": "K", "Value": "" }] }),
            ("InvalidInput", 400, "Duplicate tag keys found. Please note that Tag keys are case insensitive."),
        ),
        ("ListUsers", json!({ "Marker": "!" }), ("ValidationError", 400, "Invalid Marker.")),
    ];
    let before = bench.len();
    for (name, params, expected) in cases {
        check(&mut bench, name, params, expected);
    }
    assert_eq!(bench.len(), before, "a refusal changes nothing");
}

#[test]
fn what_is_in_use_cannot_be_deleted() {
    let mut bench = Bench::new();
    bench.user(API, "ann", Some(&allow(&["s3:*"])));
    let arn = managed(&mut bench, "p", &["s3:*"]);
    ok(&mut bench, "AttachUserPolicy", json!({ "UserName": "ann", "PolicyArn": arn }));
    let ann = || json!({ "UserName": "ann" });
    let conflict = |text| ("DeleteConflict", 409, text);
    check(&mut bench, "DeleteUser", ann(), conflict("Cannot delete entity, must remove referenced objects first."));
    let keys = ok(&mut bench, "ListAccessKeys", ann());
    let id = &keys["AccessKeyMetadata"][0]["AccessKeyId"];
    ok(&mut bench, "DeleteAccessKey", json!({ "UserName": "ann", "AccessKeyId": id }));
    check(&mut bench, "DeleteUser", ann(), conflict("Cannot delete entity, must detach all policies first."));
    let by_arn = || json!({ "PolicyArn": arn });
    check(&mut bench, "DeletePolicy", by_arn(), conflict("Cannot delete a policy attached to entities."));
    ok(&mut bench, "DetachUserPolicy", json!({ "UserName": "ann", "PolicyArn": arn }));
    check(&mut bench, "DeleteUser", ann(), conflict("Cannot delete entity, must delete policies first."));
    ok(&mut bench, "DeleteUserPolicy", json!({ "UserName": "ann", "PolicyName": "p" }));

    ok(&mut bench, "PutUserPermissionsBoundary", json!({ "UserName": "ann", "PermissionsBoundary": arn }));
    check(&mut bench, "DeletePolicy", by_arn(), conflict("Cannot delete a policy attached to entities."));
    ok(&mut bench, "DeleteUser", ann());

    let version = json!({ "PolicyArn": arn, "PolicyDocument": allow(&["s3:Get*"]).to_string(), "SetAsDefault": true });
    ok(&mut bench, "CreatePolicyVersion", version);
    let many = "This policy has more than one version. Before you delete a policy, you must delete the policy's \
                versions. The default version is deleted with the policy.";
    check(&mut bench, "DeletePolicy", by_arn(), conflict(many));
    let default = json!({ "PolicyArn": arn, "VersionId": "v2" });
    check(&mut bench, "DeletePolicyVersion", default, conflict("Cannot delete the default version of a policy."));
    ok(&mut bench, "DeletePolicyVersion", json!({ "PolicyArn": arn, "VersionId": "v1" }));
    ok(&mut bench, "DeletePolicy", by_arn());
    let usage_only = bench.len();
    assert_eq!(usage_only, 3, "two accounts and the counts remain");
}

#[test]
fn quotas_hold() {
    let mut bench = Bench::new();
    ok(&mut bench, "CreateUser", json!({ "UserName": "ann" }));
    for at in 0..10 {
        let arn = managed(&mut bench, &format!("p{at}"), &["s3:*"]);
        ok(&mut bench, "AttachUserPolicy", json!({ "UserName": "ann", "PolicyArn": arn }));
        // A second time changes nothing.
        ok(&mut bench, "AttachUserPolicy", json!({ "UserName": "ann", "PolicyArn": arn }));
    }
    let limit = |text| ("LimitExceeded", 409, text);
    let admin = json!({ "UserName": "ann", "PolicyArn": ADMIN });
    check(&mut bench, "AttachUserPolicy", admin, limit("Cannot exceed quota for PoliciesPerUser: 10"));
    let arn = "arn:aws:iam::111122223333:policy/p0";
    let version = || json!({ "PolicyArn": arn, "PolicyDocument": allow(&["s3:*"]).to_string() });
    for _ in 0..4 {
        ok(&mut bench, "CreatePolicyVersion", version());
    }
    let five = "A managed policy can have up to 5 versions. Before you create a new version, you must delete an existing version.";
    check(&mut bench, "CreatePolicyVersion", version(), limit(five));
    ok(&mut bench, "DeletePolicyVersion", json!({ "PolicyArn": arn, "VersionId": "v5" }));
    let created = ok(&mut bench, "CreatePolicyVersion", version());
    assert_eq!(created["PolicyVersion"]["VersionId"], "v6", "numbers are not used twice");

    let long = |chars: usize| allow(&[&format!("s3:{}", "x".repeat(chars))]).to_string();
    let inline = |text: String| json!({ "UserName": "ann", "PolicyName": "p", "PolicyDocument": text });
    let text = "Maximum policy size of 2048 bytes exceeded for user ann";
    check(&mut bench, "PutUserPolicy", inline(long(2048)), limit(text));
    ok(&mut bench, "PutUserPolicy", inline(long(1900)));
    let text = "Cannot exceed quota for PolicySize: 6144";
    check(&mut bench, "CreatePolicy", json!({ "PolicyName": "q", "PolicyDocument": long(6144) }), limit(text));
    let padded = format!("{}{}", " ".repeat(7000), long(100));
    ok(&mut bench, "CreatePolicy", json!({ "PolicyName": "q", "PolicyDocument": padded }));
    let tags: Vec<Value> = (0..50).map(|at| json!({ "Key": format!("k{at}"), "Value": "" })).collect();
    ok(&mut bench, "TagUser", json!({ "UserName": "ann", "Tags": tags }));
    let more = json!({ "UserName": "ann", "Tags": [{ "Key": "more", "Value": "" }] });
    check(&mut bench, "TagUser", more, limit("The number of tags has reached the maximum limit of 50."));
}

#[test]
fn counts_of_an_account_have_a_quota() {
    use super::usage::Usage;
    let mut bench = Bench::new();
    let full: Usage = serde_json::from_value(json!({ "Users": 5000, "Roles": 1000, "Policies": 1500 })).unwrap();
    bench.write(|tx| tx.put(&Scope::global(API), "", "usage", &full));
    let limit = |text| ("LimitExceeded", 409, text);
    check(&mut bench, "CreateUser", json!({ "UserName": "u" }), limit("Cannot exceed quota for UsersPerAccount: 5000"));
    let role = json!({ "RoleName": "r", "AssumeRolePolicyDocument": trust(API) });
    check(&mut bench, "CreateRole", role, limit("Cannot exceed quota for RolesPerAccount: 1000"));
    let policy = json!({ "PolicyName": "p", "PolicyDocument": allow(&["s3:*"]).to_string() });
    check(&mut bench, "CreatePolicy", policy, limit("Cannot exceed quota for PoliciesPerAccount: 1500"));
}

#[test]
fn documents_are_those_in_force() {
    let mut bench = Bench::new();
    let ann = bench.user(API, "ann", Some(&allow(&["s3:GetObject"])));
    let arn = managed(&mut bench, "p", &["s3:PutObject"]);
    ok(&mut bench, "AttachUserPolicy", json!({ "UserName": "ann", "PolicyArn": arn }));
    ok(&mut bench, "AttachUserPolicy", json!({ "UserName": "ann", "PolicyArn": READ }));
    let newer = allow(&["s3:DeleteObject"]).to_string();
    ok(&mut bench, "CreatePolicyVersion", json!({ "PolicyArn": arn, "PolicyDocument": newer }));
    ok(&mut bench, "PutUserPermissionsBoundary", json!({ "UserName": "ann", "PermissionsBoundary": arn }));
    let found = bench.read(|tx| principal::documents(tx, &ann));
    let old = allow(&["s3:PutObject"]).to_string();
    let read = aws_managed::find(READ).unwrap().document.to_owned();
    assert_eq!(found.identity, [allow(&["s3:GetObject"]).to_string(), old.clone(), read]);
    assert_eq!(found.boundary, Some(old));
    ok(&mut bench, "SetDefaultPolicyVersion", json!({ "PolicyArn": arn, "VersionId": "v2" }));
    let found = bench.read(|tx| principal::documents(tx, &ann));
    assert_eq!(found.identity[1], newer);
    assert_eq!(found.boundary, Some(newer));
    assert_eq!(bench.read(|tx| principal::documents(tx, &root(API))), principal::Documents::default());
}

#[test]
fn a_boundary_cuts_what_policies_allow() {
    let mut bench = Bench::new();
    let ann = bench.user(API, "ann", Some(&allow(&["*"])));
    assert!(bench.call(&ann, "ListUsers", json!({})).is_ok());
    let arn = managed(&mut bench, "bounds", &["s3:*", "iam:ListRoles"]);
    ok(&mut bench, "PutUserPermissionsBoundary", json!({ "UserName": "ann", "PermissionsBoundary": arn }));
    assert!(bench.call(&ann, "ListUsers", json!({})).is_err());
    assert!(bench.call(&ann, "ListRoles", json!({})).is_ok());
    let user = ok(&mut bench, "GetUser", json!({ "UserName": "ann" }));
    let shown = json!({ "PermissionsBoundaryType": "PermissionsBoundaryPolicy", "PermissionsBoundaryArn": arn });
    assert_eq!(user["User"]["PermissionsBoundary"], shown);
    ok(&mut bench, "DeleteUserPermissionsBoundary", json!({ "UserName": "ann" }));
    assert!(bench.call(&ann, "ListUsers", json!({})).is_ok());
}

#[test]
fn a_namesake_inherits_nothing() {
    let mut bench = Bench::new();
    let old = bench.user(API, "ann", Some(&allow(&["*"])));
    let session = bench.force(&old, "GetSessionToken", json!({})).unwrap();
    let session = bench.session(&session);
    let arn = "arn:aws:iam::111122223333:user/ann";
    ok(&mut bench, "CreateRole", json!({ "RoleName": "r", "AssumeRolePolicyDocument": trust(arn) }));
    let assume = json!({ "RoleArn": "arn:aws:iam::111122223333:role/r", "RoleSessionName": "work" });
    assert!(bench.call(&old, "AssumeRole", assume.clone()).is_ok());

    ok(&mut bench, "DeleteAccessKey", json!({ "UserName": "ann", "AccessKeyId": old.access_key_id }));
    ok(&mut bench, "DeleteUserPolicy", json!({ "UserName": "ann", "PolicyName": "p" }));
    ok(&mut bench, "DeleteUser", json!({ "UserName": "ann" }));
    let new = bench.user(API, "ann", Some(&allow(&["*"])));
    assert_ne!(new.identity, old.identity);
    assert_eq!(bench.read(|tx| principal::documents(tx, &session)), principal::Documents::default());
    let (code, _, _) = refused(bench.call(&new, "AssumeRole", assume.clone()));
    assert_eq!(code, "AccessDenied", "the trust was for the user that is gone");
    ok(&mut bench, "UpdateAssumeRolePolicy", json!({ "RoleName": "r", "PolicyDocument": trust(arn) }));
    assert!(bench.call(&new, "AssumeRole", assume).is_ok(), "written again, it is for the new one");

    let session = bench.role_caller(API, "r", "s");
    let put = json!({ "RoleName": "r", "PolicyName": "p", "PolicyDocument": allow(&["*"]).to_string() });
    ok(&mut bench, "PutRolePolicy", put.clone());
    assert_eq!(bench.read(|tx| principal::documents(tx, &session)).identity.len(), 1);
    ok(&mut bench, "DeleteRolePolicy", json!({ "RoleName": "r", "PolicyName": "p" }));
    ok(&mut bench, "DeleteRole", json!({ "RoleName": "r" }));
    ok(&mut bench, "CreateRole", json!({ "RoleName": "r", "AssumeRolePolicyDocument": trust(API) }));
    ok(&mut bench, "PutRolePolicy", put);
    assert_eq!(bench.read(|tx| principal::documents(tx, &session)), principal::Documents::default());
}

#[test]
fn renaming_keeps_id_keys_policies_and_trust() {
    let mut bench = Bench::new();
    let ann = bench.user(API, "ann", Some(&allow(&["*"])));
    ok(&mut bench, "AttachUserPolicy", json!({ "UserName": "ann", "PolicyArn": ADMIN }));
    let arn = "arn:aws:iam::111122223333:user/ann";
    ok(&mut bench, "CreateRole", json!({ "RoleName": "r", "AssumeRolePolicyDocument": trust(arn) }));
    ok(&mut bench, "UpdateUser", json!({ "UserName": "ann", "NewUserName": "eve", "NewPath": "/x/" }));
    let eve = bench.caller(&ann.access_key_id).unwrap();
    assert_eq!(eve.user_id(), ann.user_id());
    assert_eq!(eve.arn(), "arn:aws:iam::111122223333:user/x/eve");
    assert_eq!(bench.read(|tx| principal::documents(tx, &eve)).identity.len(), 2);
    let users = ok(&mut bench, "ListEntitiesForPolicy", json!({ "PolicyArn": ADMIN, "PathPrefix": "/x/" }));
    assert_eq!(users["PolicyUsers"][0]["UserName"], "eve");
    let assume = json!({ "RoleArn": "arn:aws:iam::111122223333:role/r", "RoleSessionName": "work" });
    assert!(bench.call(&eve, "AssumeRole", assume).is_ok());
    let gone = ("NoSuchEntity", 404, "The user with name ann cannot be found.");
    check(&mut bench, "GetUser", json!({ "UserName": "ann" }), gone);
}

#[test]
fn needs_name_the_record_with_its_path() {
    let mut bench = Bench::new();
    ok(&mut bench, "CreateUser", json!({ "UserName": "Ann", "Path": "/ops/" }));
    let key = ok(&mut bench, "CreateAccessKey", json!({ "UserName": "Ann" }));
    let ann = bench.caller(key["AccessKey"]["AccessKeyId"].as_str().unwrap()).unwrap();
    let arn = "arn:aws:iam::111122223333:user/ops/Ann";
    let cases = [
        ("GetUser", json!({}), vec![("iam:GetUser", arn)]),
        ("GetUser", json!({ "UserName": "ann" }), vec![("iam:GetUser", arn)]),
        ("CreateAccessKey", json!({}), vec![("iam:CreateAccessKey", arn)]),
        ("GetUser", json!({ "UserName": "bob" }), vec![("iam:GetUser", "arn:aws:iam::111122223333:user/bob")]),
        ("ListUsers", json!({}), vec![("iam:ListUsers", "*")]),
        (
            "CreateUser",
            json!({ "UserName": "c", "Path": "/ops/", "Tags": [{ "Key": "k", "Value": "v" }] }),
            vec![
                ("iam:CreateUser", "arn:aws:iam::111122223333:user/ops/c"),
                ("iam:TagUser", "arn:aws:iam::111122223333:user/ops/c"),
            ],
        ),
        (
            "UpdateUser",
            json!({ "UserName": "ann", "NewUserName": "eve" }),
            vec![("iam:UpdateUser", arn), ("iam:UpdateUser", "arn:aws:iam::111122223333:user/ops/eve")],
        ),
        ("GetPolicy", json!({ "PolicyArn": ADMIN }), vec![("iam:GetPolicy", ADMIN)]),
        ("GetCallerIdentity", json!({}), vec![]),
        ("GetSessionToken", json!({}), vec![]),
    ];
    for (name, params, expected) in cases {
        let needs = bench.needs(&ann, name, &params).unwrap();
        let found: Vec<(&str, &str)> =
            needs.iter().map(|need: &Need| (need.action.as_str(), need.resource.as_str())).collect();
        assert_eq!(found, expected, "{name} {params}");
    }
    assert_eq!(bench.needs(&root(API), "GetUser", &json!({})).unwrap()[0].resource, "arn:aws:iam::111122223333:root");
}

#[test]
fn delegation_can_be_tied_to_boundary_and_policy() {
    let mut bench = Bench::new();
    let bounds = managed(&mut bench, "bounds", &["s3:*"]);
    let delegate = json!({ "Version": "2012-10-17", "Statement": [
        {
            "Effect": "Allow", "Resource": "*",
            "Action": ["iam:CreateUser", "iam:AttachUserPolicy", "iam:PutUserPolicy", "iam:PutUserPermissionsBoundary"],
            "Condition": { "StringEquals": { "iam:PermissionsBoundary": bounds } },
        },
        { "Effect": "Deny", "Action": "iam:AttachUserPolicy", "Resource": "*",
          "Condition": { "ArnEquals": { "iam:PolicyARN": READ } } },
        { "Effect": "Deny", "Action": "iam:DeleteUserPermissionsBoundary", "Resource": "*" },
    ] });
    let boss = bench.user(API, "boss", Some(&delegate));
    assert!(bench.call(&boss, "CreateUser", json!({ "UserName": "free" })).is_err());
    assert!(bench.call(&boss, "CreateUser", json!({ "UserName": "x", "PermissionsBoundary": bounds })).is_ok());
    let attach = |name: &str, arn: &str| json!({ "UserName": name, "PolicyArn": arn });
    assert!(bench.call(&boss, "AttachUserPolicy", attach("x", ADMIN)).is_ok());
    assert!(bench.call(&boss, "AttachUserPolicy", attach("x", READ)).is_err());
    assert!(bench.call(&boss, "AttachUserPolicy", attach("boss", ADMIN)).is_err(), "it has no boundary itself");
    let put = json!({ "UserName": "boss", "PolicyName": "q", "PolicyDocument": allow(&["*"]).to_string() });
    assert!(bench.call(&boss, "PutUserPolicy", put).is_err());
    assert!(bench.call(&boss, "DeleteUserPermissionsBoundary", json!({ "UserName": "x" })).is_err());
    let other = json!({ "UserName": "x", "PermissionsBoundary": ADMIN });
    assert!(bench.call(&boss, "PutUserPermissionsBoundary", other).is_err());
}

#[test]
fn root_has_keys_and_a_role_session_has_no_user() {
    let mut bench = Bench::new();
    let created = ok(&mut bench, "CreateAccessKey", json!({}));
    let id = created["AccessKey"]["AccessKeyId"].as_str().unwrap();
    assert!(bench.caller(id).unwrap().is_root());
    let user = ok(&mut bench, "GetUser", json!({}));
    let expected = json!({ "UserId": API, "Arn": "arn:aws:iam::111122223333:root", "CreateDate": 1_764_037_614 });
    assert_eq!(user["User"], expected);
    assert_eq!(ok(&mut bench, "ListAccessKeys", json!({}))["AccessKeyMetadata"][0]["AccessKeyId"], id);
    ok(&mut bench, "DeleteAccessKey", json!({ "AccessKeyId": id }));
    assert_eq!(bench.caller(id), None);

    ok(&mut bench, "CreateRole", json!({ "RoleName": "r", "AssumeRolePolicyDocument": trust(API) }));
    let session = bench.role_caller(API, "r", "s");
    let (code, status, text) = refused(bench.force(&session, "GetUser", json!({})));
    let expected = ("ValidationError", 400, "Must specify userName when calling with non-User credentials");
    assert_eq!((code.as_str(), status, text.as_str()), expected);
}

#[test]
fn a_session_of_a_user_may_not_call_iam() {
    let mut bench = Bench::new();
    let ann = bench.user(API, "ann", Some(&allow(&["*"])));
    let answer = bench.force(&ann, "GetSessionToken", json!({})).unwrap();
    let session = bench.session(&answer);
    for (service, entry) in entries().filter(|(service, _)| *service == "iam") {
        let operation = wire::table::service(service).unwrap().operation(entry.name).unwrap();
        let params = sample(operation);
        let error = bench.needs(&session, entry.name, &params).expect_err(entry.name);
        assert_eq!((error.code.as_ref(), error.status), ("InvalidClientTokenId", 403), "{}", entry.name);
        assert!(bench.needs(&ann, entry.name, &params).is_ok(), "{}", entry.name);
    }
    assert!(bench.call(&session, "GetCallerIdentity", json!({})).is_ok());
}

/// The required members of an operation, with something in each.
fn sample(operation: &wire::table::Operation) -> Value {
    use wire::table::{Kind, Shape};
    let members = operation.input.and_then(Shape::structure).map_or(&[] as &[_], |structure| structure.members);
    let value = |shape: &Shape| match &shape.kind {
        Kind::List { .. } => json!([]),
        Kind::String { values, .. } => json!(values.first().unwrap_or(&"x")),
        _ => json!(1),
    };
    let required = members.iter().filter(|member| member.required);
    required.map(|member| (member.name.to_owned(), value(member.shape))).collect::<serde_json::Map<_, _>>().into()
}

#[test]
fn lists_come_in_pages_and_by_path() {
    let mut bench = Bench::new();
    for at in 0..7 {
        let path = if at % 2 == 0 { "/even/" } else { "/odd/" };
        ok(&mut bench, "CreateUser", json!({ "UserName": format!("u{at}"), "Path": path }));
    }
    let mut seen = Vec::new();
    let mut params = json!({ "MaxItems": 3 });
    loop {
        let page = ok(&mut bench, "ListUsers", params.clone());
        let users = page["Users"].as_array().unwrap();
        assert!(users.len() <= 3);
        seen.extend(users.iter().map(|user| user["UserName"].as_str().unwrap().to_owned()));
        assert_eq!(page["IsTruncated"].as_bool().unwrap(), page.get("Marker").is_some());
        match page.get("Marker") {
            Some(marker) => params["Marker"] = marker.clone(),
            None => break,
        }
    }
    assert_eq!(seen, ["u0", "u1", "u2", "u3", "u4", "u5", "u6"]);
    let even = ok(&mut bench, "ListUsers", json!({ "PathPrefix": "/even/", "MaxItems": 4 }));
    assert_eq!(even["Users"].as_array().unwrap().len(), 4);
    assert_eq!(even["IsTruncated"], false);

    managed(&mut bench, "local", &["s3:*"]);
    let count = |answer: Value| answer["Policies"].as_array().unwrap().len();
    assert_eq!(count(ok(&mut bench, "ListPolicies", json!({ "Scope": "Local" }))), 1);
    assert_eq!(count(ok(&mut bench, "ListPolicies", json!({ "Scope": "AWS" }))), aws_managed::POLICIES.len());
    assert_eq!(count(ok(&mut bench, "ListPolicies", json!({}))), aws_managed::POLICIES.len() + 1);
    assert_eq!(count(ok(&mut bench, "ListPolicies", json!({ "OnlyAttached": true }))), 0);
    ok(&mut bench, "AttachUserPolicy", json!({ "UserName": "u0", "PolicyArn": ADMIN }));
    let attached = ok(&mut bench, "ListPolicies", json!({ "OnlyAttached": true }));
    assert_eq!(attached["Policies"][0]["AttachmentCount"], 1);
    let service = ok(&mut bench, "ListPolicies", json!({ "PathPrefix": "/service-role/" }));
    assert!(service["Policies"].as_array().unwrap().iter().all(|policy| policy["Path"] == "/service-role/"));
}

#[test]
fn accounts_do_not_see_each_other() {
    let mut bench = Bench::new();
    bench.user(SECURITY, "ann", None);
    assert_eq!(ok(&mut bench, "ListUsers", json!({}))["Users"], json!([]));
    check(
        &mut bench,
        "GetUser",
        json!({ "UserName": "ann" }),
        ("NoSuchEntity", 404, "The user with name ann cannot be found."),
    );
}

#[test]
fn inline_policies_come_back_encoded_and_as_given() {
    let mut bench = Bench::new();
    ok(&mut bench, "CreateRole", json!({ "RoleName": "r", "AssumeRolePolicyDocument": trust(API) }));
    let text = format!(" {}\n", allow(&["s3:Get*"]));
    let put = json!({ "RoleName": "r", "PolicyName": "p", "PolicyDocument": text });
    ok(&mut bench, "PutRolePolicy", put);
    assert_eq!(
        ok(&mut bench, "GetRolePolicy", json!({ "RoleName": "r", "PolicyName": "p" })),
        json!({ "RoleName": "r", "PolicyName": "p", "PolicyDocument": document::encode(&text) })
    );
    let names = json!({ "PolicyNames": ["p"], "IsTruncated": false });
    assert_eq!(ok(&mut bench, "ListRolePolicies", json!({ "RoleName": "r" })), names);
    assert_eq!(document::encode("a-b._~ *+'/ü"), "a-b._~%20%2A%2B%27%2F%C3%BC");
}

#[test]
fn tags_merge_without_regard_to_case() {
    let one = |key: &str, value: &str| tag::Tag { key: key.into(), value: value.into() };
    let mut tags = vec![one("Team", "a"), one("x", "y")];
    tag::merge(&mut tags, vec![one("team", "b"), one("new", "")]).unwrap();
    assert_eq!(tags, [one("team", "b"), one("x", "y"), one("new", "")]);
    tag::remove(&mut tags, &["TEAM".into(), "absent".into()]);
    assert_eq!(tags, [one("x", "y"), one("new", "")]);
    assert!(tag::check(&[one("aws:x", "")]).is_err());
}

#[test]
fn policies_of_aws_are_policies_and_cannot_be_changed() {
    let mut bench = Bench::new();
    for policy in aws_managed::POLICIES {
        ::policy::Policy::parse(policy.document, ::policy::Kind::Identity).expect(policy.arn);
        ::policy::Policy::parse(policy.document, ::policy::Kind::Session).expect(policy.arn);
        let version = json!({ "PolicyArn": policy.arn, "VersionId": policy.version_id });
        let shown = ok(&mut bench, "GetPolicyVersion", version);
        assert_eq!(shown["PolicyVersion"]["Document"], document::encode(policy.document));
        for name in ["DeletePolicy", "TagPolicy"] {
            let mut params = json!({ "PolicyArn": policy.arn });
            if name == "TagPolicy" {
                params["Tags"] = json!([]);
            }
            assert_eq!(refused(bench.force(&root(API), name, params)).0, "AccessDenied");
        }
    }
    assert_eq!(
        aws_managed::find("arn:aws:iam::aws:policy/service-role/AWSLambdaRole").unwrap().path(),
        "/service-role/"
    );
}

#[test]
fn what_tools_ask_before_deleting_is_empty() {
    let mut bench = Bench::new();
    ok(&mut bench, "CreateUser", json!({ "UserName": "ann" }));
    ok(&mut bench, "CreateRole", json!({ "RoleName": "r", "AssumeRolePolicyDocument": trust(API) }));
    let cases = [
        ("ListGroupsForUser", json!({ "UserName": "ann" }), "Groups"),
        ("ListMFADevices", json!({ "UserName": "ann" }), "MFADevices"),
        ("ListSSHPublicKeys", json!({ "UserName": "ann" }), "SSHPublicKeys"),
        ("ListSigningCertificates", json!({ "UserName": "ann" }), "Certificates"),
        ("ListServiceSpecificCredentials", json!({ "UserName": "ann" }), "ServiceSpecificCredentials"),
        ("ListInstanceProfilesForRole", json!({ "RoleName": "r" }), "InstanceProfiles"),
    ];
    for (name, params, member) in cases {
        assert_eq!(ok(&mut bench, name, params), json!({ member: [], "IsTruncated": false }));
    }
    let gone = ("NoSuchEntity", 404, "The user with name bob cannot be found.");
    check(&mut bench, "ListMFADevices", json!({ "UserName": "bob" }), gone);
}

#[test]
fn other_services_find_the_unique_ids_that_iam_stores() {
    let mut bench = Bench::new();
    let user = ok(&mut bench, "CreateUser", json!({ "UserName": "Ann", "Path": "/team/" }));
    let role = ok(&mut bench, "CreateRole", json!({ "RoleName": "r", "AssumeRolePolicyDocument": trust(API) }));
    let mut id = |arn: &str| bench.read(|tx| service::principal::unique_id(tx, arn));
    assert_eq!(id(user["User"]["Arn"].as_str().unwrap()).as_deref(), user["User"]["UserId"].as_str());
    assert_eq!(id(role["Role"]["Arn"].as_str().unwrap()).as_deref(), role["Role"]["RoleId"].as_str());
    let wrong_path = user["User"]["Arn"].as_str().unwrap().replace("/team/", "/");
    assert_eq!(id(&wrong_path), None);
    assert!(!service::principal::is_user_or_role("arn:aws:iam::111111111111:root"));
}
