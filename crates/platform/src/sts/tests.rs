use serde_json::{Value, json};
use service::{Caller, Identity, Timestamp};

use super::token::{PURPOSE, Token};
use crate::iam::role::trust_document;
use crate::iam::testing::{API, Bench, NOW, SECURITY, allow, refused, root, trust};

const ROLE: &str = "arn:aws:iam::444455556666:role/team/Auditor";

/// A role in the Security account that trusts `principal`.
fn role(bench: &mut Bench, principal: &str, extra: &Value) {
    let mut params = json!({
        "RoleName": "Auditor", "Path": "/team/", "AssumeRolePolicyDocument": trust(principal),
    });
    for (name, value) in extra.as_object().unwrap() {
        params[name] = value.clone();
    }
    bench.force(&root(SECURITY), "CreateRole", params).unwrap();
    let put = json!({ "RoleName": "Auditor", "PolicyName": "p", "PolicyDocument": allow(&["*"]).to_string() });
    bench.force(&root(SECURITY), "PutRolePolicy", put).unwrap();
}

fn assume(bench: &mut Bench, caller: &Caller, extra: &Value) -> service::Result<Value> {
    let mut params = json!({ "RoleArn": ROLE, "RoleSessionName": "work" });
    for (name, value) in extra.as_object().unwrap() {
        params[name] = value.clone();
    }
    bench.call(caller, "AssumeRole", params)
}

const DENIED: &str = "User: arn:aws:iam::111122223333:user/ann is not authorized to perform: sts:AssumeRole on \
                      resource: arn:aws:iam::444455556666:role/team/Auditor";

fn denied(outcome: service::Result<Value>) {
    assert_eq!(refused(outcome), ("AccessDenied".into(), 403, DENIED.into()));
}

#[test]
fn across_accounts_both_sides_must_allow() {
    let mut bench = Bench::new();
    let ann = bench.user(API, "ann", None);
    denied(assume(&mut bench, &ann, &json!({})));
    role(&mut bench, API, &json!({}));
    denied(assume(&mut bench, &ann, &json!({})));
    let put = json!({ "UserName": "ann", "PolicyName": "p", "PolicyDocument": allow(&["sts:AssumeRole"]).to_string() });
    bench.force(&root(API), "PutUserPolicy", put).unwrap();
    let answer = assume(&mut bench, &ann, &json!({})).unwrap();
    let id = answer["AssumedRoleUser"]["AssumedRoleId"].as_str().unwrap();
    assert!(id.starts_with("AROA") && id.ends_with(":work"), "{id}");
    assert_eq!(answer["AssumedRoleUser"]["Arn"], "arn:aws:sts::444455556666:assumed-role/Auditor/work");
    assert_eq!(answer["Credentials"]["Expiration"], NOW.plus_s(3600).s());
    assert!(answer["Credentials"]["AccessKeyId"].as_str().unwrap().starts_with("ASIA"));
    assert_eq!(answer["Credentials"]["AccessKeyId"].as_str().unwrap().len(), 20);
    assert_eq!(answer["Credentials"]["SecretAccessKey"].as_str().unwrap().len(), 40);

    let session = bench.session(&answer);
    let who = bench.call(&session, "GetCallerIdentity", json!({})).unwrap();
    let arn = "arn:aws:sts::444455556666:assumed-role/Auditor/work";
    assert_eq!(who, json!({ "UserId": id, "Account": SECURITY, "Arn": arn }));
    assert_eq!(session.role_arn().as_deref(), Some(ROLE));

    let trust = trust("arn:aws:iam::444455556666:role/team/Auditor");
    let update = json!({ "RoleName": "Auditor", "PolicyDocument": trust });
    bench.force(&root(SECURITY), "UpdateAssumeRolePolicy", update).unwrap();
    denied(assume(&mut bench, &ann, &json!({})));
}

#[test]
fn the_trail_keeps_no_secret_of_a_session() {
    let mut bench = Bench::new();
    let ann = bench.user(API, "ann", Some(&allow(&["*"])));
    role(&mut bench, API, &json!({}));
    let assumed = assume(&mut bench, &ann, &json!({})).unwrap();
    let own = bench.call(&ann, "GetSessionToken", json!({})).unwrap();
    for (name, answer) in [("AssumeRole", &assumed), ("GetSessionToken", &own)] {
        let shown = Bench::trailed(name, answer);
        let names: Vec<&String> = shown["Credentials"].as_object().unwrap().keys().collect();
        assert_eq!(names, ["AccessKeyId", "Expiration"], "{name}");
        let text = shown.to_string();
        for secret in ["SecretAccessKey", "SessionToken"] {
            assert!(!text.contains(answer["Credentials"][secret].as_str().unwrap()));
        }
    }
}

#[test]
fn an_external_id_must_fit() {
    let mut bench = Bench::new();
    let ann = bench.user(API, "ann", Some(&allow(&["*"])));
    let trust = json!({ "Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Principal": { "AWS": API }, "Action": "sts:AssumeRole",
        "Condition": { "StringEquals": { "sts:ExternalId": "secret" }, "StringLike": { "sts:RoleSessionName": "w*" } },
    }] });
    role(&mut bench, API, &json!({ "AssumeRolePolicyDocument": trust.to_string() }));
    denied(assume(&mut bench, &ann, &json!({})));
    denied(assume(&mut bench, &ann, &json!({ "ExternalId": "other" })));
    denied(assume(&mut bench, &ann, &json!({ "ExternalId": "secret", "RoleSessionName": "play" })));
    assume(&mut bench, &ann, &json!({ "ExternalId": "secret" })).unwrap();
}

#[test]
fn refusals_of_assume_role_have_the_texts_of_aws() {
    let mut bench = Bench::new();
    let ann = bench.user(API, "ann", Some(&allow(&["*"])));
    role(&mut bench, API, &json!({}));
    let pattern = "1 validation error detected: Value 'a b' at 'roleSessionName' failed to satisfy constraint: Member \
                   must satisfy regular expression pattern: [\\w+=,.@-]*";
    let long = "1 validation error detected: Value at 'policy' failed to satisfy constraint: Member must have length \
                less than or equal to 2048";
    let cases = [
        (json!({ "RoleArn": "nonsense-that-is-no-arn" }), ("ValidationError", "nonsense-that-is-no-arn is invalid")),
        (
            json!({ "RoleArn": "arn:aws:iam::44445555666:role/short" }),
            ("ValidationError", "arn:aws:iam::44445555666:role/short is invalid"),
        ),
        (
            json!({ "DurationSeconds": 7200 }),
            ("ValidationError", "The requested DurationSeconds exceeds the MaxSessionDuration set for this role."),
        ),
        (json!({ "RoleSessionName": "a b" }), ("ValidationError", pattern)),
        (json!({ "Policy": "{" }), ("MalformedPolicyDocument", "This policy contains invalid Json")),
        (json!({ "Policy": " ".repeat(2049) }), ("ValidationError", long)),
        (
            json!({ "PolicyArns": [{ "arn": "arn:aws:iam::111122223333:policy/none" }] }),
            ("MalformedPolicyDocument", "Policy arn:aws:iam::111122223333:policy/none does not exist"),
        ),
    ];
    for (extra, (code, text)) in cases {
        let found = refused(assume(&mut bench, &ann, &extra));
        assert_eq!(found, (code.to_owned(), 400, text.to_owned()), "{extra}");
    }
    // A path is a part of the name; a role of the same name elsewhere is another, or none.
    for arn in ["arn:aws:iam::444455556666:role/Auditor", "arn:aws:iam::999999999999:role/x"] {
        let (code, status, text) = refused(assume(&mut bench, &ann, &json!({ "RoleArn": arn })));
        assert_eq!((code.as_str(), status), ("AccessDenied", 403));
        let expected =
            "User: arn:aws:iam::111122223333:user/ann is not authorized to perform: sts:AssumeRole on resource: ";
        assert_eq!(text, format!("{expected}{arn}"));
    }
    let outcome = assume(&mut bench, &root(API), &json!({}));
    assert_eq!(refused(outcome).2, "Roles may not be assumed by root accounts.");
}

#[test]
fn sessions_last_as_long_as_the_role_allows_and_chained_ones_an_hour() {
    let mut bench = Bench::new();
    let ann = bench.user(API, "ann", Some(&allow(&["*"])));
    role(&mut bench, API, &json!({ "MaxSessionDuration": 43_200 }));
    let answer = assume(&mut bench, &ann, &json!({ "DurationSeconds": 43_200 })).unwrap();
    assert_eq!(answer["Credentials"]["Expiration"], NOW.plus_s(43_200).s());
    let session = bench.session(&answer);
    let trust = trust(SECURITY);
    let update = json!({ "RoleName": "Auditor", "PolicyDocument": trust });
    bench.force(&root(SECURITY), "UpdateAssumeRolePolicy", update).unwrap();
    let text = "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining";
    let outcome = assume(&mut bench, &session, &json!({ "DurationSeconds": 3601 }));
    assert_eq!(refused(outcome), ("ValidationError".into(), 400, text.into()));
    assume(&mut bench, &session, &json!({ "DurationSeconds": 3600 })).unwrap();
}

#[test]
fn session_policies_reach_the_session_and_cut_it() {
    let mut bench = Bench::new();
    let ann = bench.user(API, "ann", Some(&allow(&["*"])));
    role(&mut bench, API, &json!({}));
    let pretty = serde_json::to_string_pretty(&allow(&["iam:ListRoles"])).unwrap();
    let create = json!({ "PolicyName": "limit", "PolicyDocument": pretty });
    let policy = bench.force(&root(SECURITY), "CreatePolicy", create).unwrap();
    let inline = allow(&["iam:ListUsers"]).to_string();
    let extra = json!({ "Policy": inline, "PolicyArns": [{ "arn": policy["Policy"]["Arn"] }] });
    let answer = assume(&mut bench, &ann, &extra).unwrap();
    assert_eq!(answer["PackedPolicySize"], 2);
    let session = bench.session(&answer);
    let kept = &session.session.as_ref().unwrap().policies;
    assert_eq!(kept, &[inline, allow(&["iam:ListRoles"]).to_string()]);
    assert!(bench.call(&session, "ListUsers", json!({})).is_ok());
    assert!(bench.call(&session, "ListRoles", json!({})).is_ok());
    assert!(bench.call(&session, "ListPolicies", json!({})).is_err(), "the role allows it, the session does not");

    let many = |count: usize| {
        let text = allow(&[&format!("s3:{}", "x".repeat(4500))]).to_string();
        (0..count).map(move |at| (format!("big{at}"), text.clone())).collect::<Vec<_>>()
    };
    let mut arns = Vec::new();
    for (name, text) in many(4) {
        let create = json!({ "PolicyName": name, "PolicyDocument": text });
        let policy = bench.force(&root(SECURITY), "CreatePolicy", create).unwrap();
        arns.push(json!({ "arn": policy["Policy"]["Arn"] }));
    }
    let (code, status, text) = refused(assume(&mut bench, &ann, &json!({ "PolicyArns": arns })));
    assert_eq!((code.as_str(), status), ("PackedPolicyTooLarge", 400));
    assert_eq!(text, "Packed policy consumes 113% of allotted space, please use smaller policy.");
}

#[test]
fn session_tokens_are_for_long_term_credentials() {
    let mut bench = Bench::new();
    let ann = bench.user(API, "ann", None);
    let expires = |answer: &Value| answer["Credentials"]["Expiration"].as_i64().unwrap() - NOW.s();
    let answer = bench.call(&ann, "GetSessionToken", json!({})).unwrap();
    assert_eq!(expires(&answer), 43_200);
    let session = bench.session(&answer);
    assert_eq!(session.identity, ann.identity);
    let found = refused(bench.call(&session, "GetSessionToken", json!({})));
    let text = "Cannot call GetSessionToken with session credentials";
    assert_eq!(found, ("AccessDenied".into(), 403, text.into()));
    let answer = bench.call(&ann, "GetSessionToken", json!({ "DurationSeconds": 900 })).unwrap();
    assert_eq!(expires(&answer), 900);
    let answer = bench.call(&root(API), "GetSessionToken", json!({})).unwrap();
    assert_eq!(expires(&answer), 3600, "root's sessions last an hour at most");
}

#[test]
fn everybody_may_know_who_they_are() {
    let mut bench = Bench::new();
    let deny = json!({ "Version": "2012-10-17", "Statement": [{ "Effect": "Deny", "Action": "*", "Resource": "*" }] });
    let ann = bench.user(API, "ann", Some(&deny));
    let who = bench.call(&ann, "GetCallerIdentity", json!({})).unwrap();
    assert_eq!(who, json!({ "UserId": ann.user_id(), "Account": API, "Arn": "arn:aws:iam::111122223333:user/ann" }));
    let who = bench.call(&root(API), "GetCallerIdentity", json!({})).unwrap();
    assert_eq!(who, json!({ "UserId": API, "Account": API, "Arn": "arn:aws:iam::111122223333:root" }));
}

#[test]
fn a_trust_is_looked_up_in_any_account_and_bound_to_ids() {
    let mut bench = Bench::new();
    let ann = bench.user(API, "ann", None);
    role(&mut bench, &ann.arn(), &json!({}));
    let (role, trust) = bench.read(|tx| trust_document(tx, ROLE)).unwrap();
    assert_eq!(role.account, SECURITY);
    let trust: Value = serde_json::from_str(&trust).unwrap();
    assert_eq!(trust["Statement"][0]["Principal"]["AWS"], ann.user_id());
    assert!(role.assume_role_policy_document.contains(&ann.arn()), "answers show what was given");
    for arn in ["", "arn:aws:iam::444455556666:role/Auditor", "arn:aws:iam::444455556666:user/team/Auditor"] {
        assert!(bench.read(|tx| trust_document(tx, arn)).is_none(), "{arn}");
    }
}

#[test]
fn tokens_open_to_what_was_sealed() {
    let token = Token {
        access_key_id: "ASIA".into(),
        secret_access_key: "s".into(),
        account: API.into(),
        identity: Identity::Root,
        session: service::Session {
            issued_at: Timestamp::from_ms(1),
            expires_at: Timestamp::from_ms(2),
            policies: vec!["p".into()],
            source_identity: None,
        },
    };
    assert_eq!(Token::from_bytes(&token.to_bytes()), Some(token.clone()));
    for bytes in [&b""[..], b"{}", b"null", b"\xff"] {
        assert_eq!(Token::from_bytes(bytes), None);
    }
    assert!(!format!("{token:?}").contains("secret_access_key"));
    assert_eq!(PURPOSE, "sts/session");
}
