//! Replays the cases in `testdata/`.

use serde_json::{Value, json};

use super::{context, policy};
use crate::{Context, Decide, Decision, DeniedBy, Effect, Kind, Principal, Request, arn_like, decide, string_like};

const REGION: &str = "us-east-1";
const ACCOUNT: &str = "111122223333";
const API: &str = "a1b2c3d4e5";
const STAGE: &str = "Dev";

fn text<'v>(case: &'v Value, member: &str) -> &'v str {
    case[member].as_str().unwrap_or_else(|| panic!("no {member} in {case}"))
}

#[test]
fn every_unit_case_holds() {
    let cases: Vec<Value> = serde_json::from_str(include_str!("../../testdata/unit-cases.json")).expect("JSON");
    assert_eq!(cases.len(), 60);
    for case in &cases {
        let outcome = match text(case, "kind") {
            "arn_like" => arn_like(text(case, "pattern"), text(case, "value")),
            "string_like" => string_like(text(case, "pattern"), text(case, "value")),
            "condition" => condition_holds(case),
            kind => panic!("unknown kind {kind}"),
        };
        assert_eq!(Some(outcome), case["expect"].as_bool(), "{}", text(case, "name"));
    }
}

fn condition_holds(case: &Value) -> bool {
    let condition = json!({ text(case, "operator"): { text(case, "key"): case["values"].clone() } });
    let document = json!({
        "Version": "2012-10-17",
        "Statement": [{ "Effect": "Allow", "Action": "*", "Resource": "*", "Condition": condition }],
    });
    let context = context(&case["context"]);
    super::effect_of(&policy(&document, Kind::Authorizer), "a:B", "*", &context).is_some()
}

/// Fills the placeholders in, and expands the abbreviated resources of an API's resource policy.
fn filled(document: &Value, method_arn: &str) -> Value {
    let api_arn = format!("arn:aws:execute-api:{REGION}:{ACCOUNT}:{API}");
    let filled = document
        .to_string()
        .replace("${API_ARN}", &api_arn)
        .replace("${REGION}", REGION)
        .replace("${API_ACCOUNT}", ACCOUNT)
        .replace("${API_ID}", API)
        .replace("${STAGE}", STAGE)
        .replace("${METHOD_ARN}", method_arn)
        .replace("\"execute-api:/", &format!("\"{api_arn}/"));
    serde_json::from_str(&filled).expect("JSON")
}

#[test]
fn every_authorizer_policy_decides_as_listed() {
    let cases: Vec<Value> =
        serde_json::from_str(include_str!("../../testdata/authorizer-policies.json")).expect("JSON");
    assert_eq!(cases.len(), 45);
    for case in &cases {
        let request = &case["request"];
        let method_arn = format!(
            "arn:aws:execute-api:{REGION}:{ACCOUNT}:{API}/{STAGE}/{}/{}",
            text(request, "method"),
            text(request, "path").trim_start_matches('/'),
        );
        let mut context = Context::new();
        context.insert("aws:SourceIp", text(request, "source_ip"));
        context.insert("aws:CurrentTime", "2026-06-01T00:00:00Z");
        if let Some(agent) = request["user_agent"].as_str() {
            context.insert("aws:UserAgent", agent);
        }
        let parsed = |member: &str, kind| {
            let document = case.get(member).map(|document| filled(document, &method_arn));
            document.map(|document| policy(&document, kind))
        };
        let own = parsed("policyDocument", Kind::Authorizer);
        let resource = parsed("resource_policy", Kind::Resource);
        let request = Request {
            action: "execute-api:Invoke",
            resource: &method_arn,
            principal: &Principal::Anonymous,
            context: &context,
        };
        let decision = decide(&Decide {
            identity: &own.iter().collect::<Vec<_>>(),
            boundary: None,
            session: None,
            resource: resource.as_ref(),
            same_account: true,
            is_root: false,
            request: &request,
        });
        let outcome = match decision {
            Decision::Allowed => "allow",
            Decision::Denied(denial) if matches!(denial.by, DeniedBy::ExplicitDeny(_)) => "explicit deny",
            Decision::Denied(_) => "implicit deny",
        };
        let expected = text(case, "expect");
        let same = outcome == expected || (expected == "deny" && outcome != "allow");
        assert!(same, "{}: {outcome} instead of {expected}", text(case, "name"));
        // A document that decides alone says so itself, too.
        if let (Some(own), None) = (&own, &resource) {
            let alone = match own.evaluate(&request).effect {
                Some(Effect::Allow) => "allow",
                Some(Effect::Deny) => "explicit deny",
                None => "implicit deny",
            };
            assert_eq!(alone, expected, "{}", text(case, "name"));
        }
    }
}
