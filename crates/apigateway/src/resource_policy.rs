//! The resource policy of an API: who may call it at all.

use std::collections::BTreeMap;

use policy::{Kind, ParseError, Policy};
use serde_json::Value;
use service::{Cx, Need, Result, ServiceError, Tx, principal};

use crate::error::bad_request;
use crate::rest_api::RestApi;

/// Source: API Gateway Developer Guide, "Amazon API Gateway quotas and important notes".
pub const POLICY_CHARS_MAX: usize = 8192;

/// The API's policy, ready for decisions: users and roles stand in it by their unique ids, so that a later namesake
/// does not inherit a grant. `None` when the API has none.
///
/// # Errors
/// When the stored text does not parse, which must refuse the request: it was checked when it was written.
pub fn compile(api: &RestApi) -> std::result::Result<Option<Policy>, ParseError> {
    let Some(text) = api.policy.as_deref() else { return Ok(None) };
    let policy = Policy::parse(text, Kind::Resource)?;
    policy.bind_principals(|arn| api.policy_principals.get(arn).cloned()).map(Some)
}

/// Puts a policy in place of the one before; an empty text takes it away. What is kept is compact, and names whole
/// ARNs: `execute-api:/STAGE/VERB/path` is a resource of this API, `execute-api:/*` all of them.
///
/// A statement about another API or service is kept as on AWS, and applies to nothing.
///
/// Source: API Gateway Developer Guide, "API Gateway resource policy examples" and "Access policy language overview for
/// Amazon API Gateway".
///
/// # Errors
/// `BadRequestException` for what is no policy, names a user or role that does not exist, or is longer than
/// [`POLICY_CHARS_MAX`].
pub(crate) fn set(api: &mut RestApi, text: &str, cx: &Cx<'_>, tx: &mut Tx<'_>) -> Result<()> {
    if text.is_empty() {
        api.policy = None;
        api.policy_principals.clear();
        return Ok(());
    }
    check_length(text)?;
    let mut document = policy::parse_json(text).map_err(|error| invalid(&error))?;
    let region = cx.region.as_str();
    let partition = partition(region);
    expand(&mut document, &format!("arn:{partition}:execute-api:{region}:{}:{}/", cx.account(), api.id));
    let text = document.to_string();
    check_length(&text)?;
    let parsed = Policy::parse(&text, Kind::Resource).map_err(|error| invalid(&error))?;
    let mut ids = BTreeMap::new();
    for arn in parsed.identity_principals() {
        if !ids.contains_key(arn) {
            let unknown = || bad_request(INVALID).with_cause(format!("there is no {arn}"));
            ids.insert(arn.to_owned(), principal::unique_id(tx, arn)?.ok_or_else(unknown)?);
        }
    }
    api.policy = Some(text);
    api.policy_principals = ids;
    Ok(())
}

const INVALID: &str = "Invalid policy document. Please check the policy syntax and ensure that Principals are valid.";

fn invalid(error: &ParseError) -> ServiceError {
    bad_request(INVALID).with_cause(error.to_string())
}

fn check_length(text: &str) -> Result<()> {
    if text.chars().count() > POLICY_CHARS_MAX {
        // [U]: AWS's text is not recorded.
        return Err(bad_request(format!("Invalid policy document. It can be at most {POLICY_CHARS_MAX} characters.")));
    }
    Ok(())
}

/// The permission to set a policy, beside the one to create or change the API. `api` is `*` for one that is yet to be
/// made.
///
/// Source: Service Authorization Reference, "Actions, resources, and condition keys for Amazon API Gateway Management".
pub(crate) fn need(api: &str, cx: &Cx<'_>) -> Need {
    let region = cx.region.as_str();
    let resource = format!("arn:{}:apigateway:{region}::/restapis/{api}", partition(region));
    Need::new("apigateway:UpdateRestApiPolicy", resource, cx.account())
}

/// The policy as AWS shows it: the inside of a JSON string literal, which clients unquote once more.
pub(crate) fn escaped(policy: &str) -> String {
    let quoted = Value::from(policy).to_string();
    quoted.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or_default().to_owned()
}

/// The partition a region belongs to.
fn partition(region: &str) -> &'static str {
    match region {
        region if region.starts_with("cn-") => "aws-cn",
        region if region.starts_with("us-gov-") => "aws-us-gov",
        _ => "aws",
    }
}

fn expand(document: &mut Value, prefix: &str) {
    match document.get_mut("Statement") {
        Some(Value::Array(statements)) => {
            statements.iter_mut().for_each(|statement| expand_statement(statement, prefix))
        }
        Some(statement) => expand_statement(statement, prefix),
        None => {}
    }
}

fn expand_statement(statement: &mut Value, prefix: &str) {
    let whole = |resource: &mut Value| {
        if let Some(rest) = resource.as_str().and_then(|text| text.strip_prefix("execute-api:/")) {
            *resource = format!("{prefix}{rest}").into();
        }
    };
    for element in ["Resource", "NotResource"] {
        match statement.get_mut(element) {
            Some(Value::Array(resources)) => resources.iter_mut().for_each(whole),
            Some(one) => whole(one),
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::compile;
    use crate::rest_api::RestApi;
    use crate::testing::{LOG_ROLE, World, merge, patch, text};

    const INVALID: &str =
        "BadRequest 400 Invalid policy document. Please check the policy syntax and ensure that Principals are valid.";

    fn document(resource: &Value, principal: &Value) -> String {
        json!({"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Principal": principal, "Action": "execute-api:Invoke", "Resource": resource}
        ]})
        .to_string()
    }

    fn unescaped(answer: &Value) -> Value {
        let text: String = serde_json::from_str(&format!("\"{}\"", text(answer, "policy"))).expect("a literal");
        serde_json::from_str(&text).expect("a document")
    }

    #[test]
    fn abbreviated_resources_become_whole_arns_of_this_api() {
        let mut world = World::new();
        for (sent, kept) in [
            (json!("execute-api:/*"), json!("arn:aws:execute-api:us-east-1:111111111111:ID/*")),
            (
                json!(["execute-api:/Dev/GET/pets/*"]),
                json!(["arn:aws:execute-api:us-east-1:111111111111:ID/Dev/GET/pets/*"]),
            ),
            (
                json!("arn:aws:execute-api:us-east-1:111111111111:other/*"),
                json!("arn:aws:execute-api:us-east-1:111111111111:other/*"),
            ),
            (json!("*"), json!("*")),
        ] {
            let api = world.ok("CreateRestApi", json!({"name": "p", "policy": document(&sent, &json!("*"))}));
            let kept: Value = serde_json::from_str(&kept.to_string().replace("ID", &text(&api, "id"))).expect("JSON");
            assert_eq!(unescaped(&api)["Statement"][0]["Resource"], kept, "{sent}");
            assert_eq!(world.ok("GetRestApi", json!({"restApiId": api["id"]}))["policy"], api["policy"]);
        }
    }

    #[test]
    fn a_policy_is_replaced_and_taken_away() {
        let mut world = World::new();
        let (api, _) = world.api();
        let own = json!({"restApiId": api});
        let sent = document(&json!("execute-api:/*"), &json!({"AWS": "222222222222"}));
        let answer = world.ok("UpdateRestApi", merge(&own, patch("replace", "/policy", Some(&sent))));
        assert!(text(&answer, "policy").starts_with("{\\\"Version\\\":\\\"2012-10-17\\\""), "{answer}");
        for (op, value) in [("replace", Some("")), ("remove", None)] {
            world.ok("UpdateRestApi", merge(&own, patch("replace", "/policy", Some(&sent))));
            let answer = world.ok("UpdateRestApi", merge(&own, patch(op, "/policy", value)));
            assert_eq!(answer.get("policy"), None);
        }
    }

    #[test]
    fn users_and_roles_must_exist_and_are_bound() {
        let mut world = World::new();
        let sent = document(&json!("execute-api:/*"), &json!({"AWS": LOG_ROLE}));
        world.refuses("CreateRestApi", json!({"name": "p", "policy": sent}), INVALID);
        world.log_role("{}");
        let api = text(&world.ok("CreateRestApi", json!({"name": "p", "policy": sent})), "id");
        let mut record: RestApi = world.record(&world.scope(), "", &api).expect("an API");
        assert_eq!(record.policy_principals[LOG_ROLE], "AROALOGS");
        assert!(compile(&record).expect("a policy").is_some());
        record.policy_principals.clear();
        assert!(compile(&record).is_err(), "an unbound name is not taken for somebody");
        record.policy = None;
        assert!(compile(&record).expect("none").is_none());
    }

    #[test]
    fn what_is_no_policy_is_refused() {
        let mut world = World::new();
        let (api, _) = world.api();
        let long = document(&json!("a".repeat(8192)), &json!("*"));
        // Short as sent, too long with whole ARNs.
        let swollen = document(&json!(vec!["execute-api:/*"; 300]), &json!("*"));
        let too_long = "BadRequest 400 Invalid policy document. It can be at most 8192 characters.";
        for (sent, expected) in [
            ("{", INVALID),
            ("{}", INVALID),
            ("[]", INVALID),
            (r#"{"Statement": [{"Effect": "Allow", "Action": "execute-api:Invoke", "Resource": "*"}]}"#, INVALID),
            (r#"{"Statement": [{"Effect": "Allow", "Principal": "*", "Action": "execute-api:Invoke"}]}"#, INVALID),
            (r#"{"Statement": [], "Statement": []}"#, INVALID),
            (&long, too_long),
            (&swollen, too_long),
        ] {
            let steps = patch("replace", "/policy", Some(sent));
            world.refuses("UpdateRestApi", merge(&json!({"restApiId": api}), steps), expected);
            world.refuses("CreateRestApi", json!({"name": "p", "policy": sent}), expected);
        }
        let steps = merge(&json!({"restApiId": api}), patch("add", "/policy", Some("x")));
        let expected = "BadRequest 400 Invalid patch operation specified. Must be one of: [replace]";
        world.refuses("UpdateRestApi", steps, expected);
    }

    #[test]
    fn setting_a_policy_is_a_permission_of_its_own() {
        let mut world = World::new();
        let (api, _) = world.api();
        let update = merge(&json!({"restApiId": api}), patch("replace", "/policy", Some("")));
        for (name, params, resource) in [
            ("CreateRestApi", json!({"name": "p", "policy": "{}"}), "*".to_owned()),
            ("UpdateRestApi", update, api.clone()),
        ] {
            let needs = world.needs(name, params).expect("needs");
            assert_eq!(needs[0].action, "apigateway:UpdateRestApiPolicy");
            assert_eq!(needs[0].resource, format!("arn:aws:apigateway:us-east-1::/restapis/{resource}"));
        }
        let other = merge(&json!({"restApiId": api}), patch("replace", "/name", Some("n")));
        assert!(world.needs("UpdateRestApi", other).expect("needs").is_empty());
    }
}
