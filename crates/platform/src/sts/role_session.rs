//! `AssumeRole`: temporary credentials for a role that trusts the caller.

use policy::{AccountId, Denial, Kind, Policy};
use serde::Deserialize;
use serde_json::{Value, json};
use service::{Cx, Entry, Identity, Need, Operation, Result, ServiceError, Tx};

use super::token::{credentials, issue, without_secrets};
use crate::iam::entity::{Entity, split_arn};
use crate::iam::error::{malformed, validation};
use crate::iam::need::resource_tags;
use crate::iam::policy::default_document;
use crate::iam::role::{Role, SESSION_S_DEFAULT, trust_document};

/// The longest session of a role assumed by another role's session, in seconds.
///
/// Source: IAM User Guide, "Roles terms and concepts", role chaining.
const CHAINED_DURATION_S_MAX: i64 = 3600;
/// The longest inline session policy, in characters.
const POLICY_CHARS_MAX: usize = 2048;
/// The most managed policies of one session.
const POLICY_ARNS_MAX: usize = 10;
/// The most bytes all session policies may take in the session token, which travels in a header of every request.
const PACKED_BYTES_MAX: usize = 16_384;

pub struct AssumeRole;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct AssumeRoleInput {
    role_arn: String,
    role_session_name: String,
    #[serde(default)]
    policy_arns: Vec<PolicyDescriptor>,
    policy: Option<String>,
    duration_seconds: Option<i64>,
    external_id: Option<String>,
}

/// One managed policy that limits the session.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PolicyDescriptor {
    arn: String,
}

/// The refusal, the same whether the role does not trust the caller or does not exist.
fn refusal(cx: &Cx<'_>, role_arn: &str) -> ServiceError {
    ServiceError::new("AccessDenied", 403, Denial::opening(&cx.caller.arn(), "sts:AssumeRole", role_arn))
}

impl Operation for AssumeRole {
    const NAME: &'static str = "AssumeRole";
    type Input = AssumeRoleInput;
    type Output = Value;

    // Session tags and a source identity would have to reach the condition keys of every later request, MFA needs
    // devices, and contexts need identity providers: none of it is enforced yet.
    const REFUSED: &'static [&'static str] = &[
        "Tags",
        "TransitiveTagKeys",
        "SourceIdentity",
        "SerialNumber",
        "TokenCode",
        "ProvidedContexts",
        "MinimumSessionTokenSize",
    ];

    fn needs(input: &Self::Input, _default: Need, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        let role_arn = input.role_arn.as_str();
        let owner = split_arn(role_arn, "role").and_then(|(account, _)| account.parse::<AccountId>().ok());
        if owner.is_none() {
            return Err(validation(format!("{role_arn} is invalid")));
        }
        if cx.caller.is_root() {
            return Err(ServiceError::new("AccessDenied", 403, "Roles may not be assumed by root accounts."));
        }
        let Some((role, trust)) = trust_document(tx, role_arn)? else { return Err(refusal(cx, role_arn)) };
        let mut need = Need::new("sts:AssumeRole", role_arn, role.account());
        need.resource_policy = Some(trust);
        need.trust = true;
        need.context.push(("sts:RoleSessionName".into(), input.role_session_name.clone()));
        if let Some(external_id) = &input.external_id {
            need.context.push(("sts:ExternalId".into(), external_id.clone()));
        }
        if let Some(seconds) = input.duration_seconds {
            need.context.push(("sts:DurationSeconds".into(), seconds.to_string()));
        }
        need.context.extend(resource_tags(&role.grants().tags));
        need.refusal = Some(Box::new(refusal(cx, role_arn)));
        Ok(vec![need])
    }

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Value> {
        let Some((role, _)) = trust_document(tx, &input.role_arn)? else {
            return Err(refusal(cx, &input.role_arn));
        };
        check_session_name(&input.role_session_name)?;
        let duration_s = input.duration_seconds.unwrap_or(SESSION_S_DEFAULT);
        check_duration(duration_s, &role, &cx.caller.identity)?;
        let policies = session_policies(&input, &role, tx)?;
        let packed_bytes: usize = policies.iter().map(String::len).sum();
        let packed_percent = packed_bytes.saturating_mul(100).div_ceil(PACKED_BYTES_MAX);
        if packed_bytes > PACKED_BYTES_MAX {
            let text =
                format!("Packed policy consumes {packed_percent}% of allotted space, please use smaller policy.");
            return Err(ServiceError::new("PackedPolicyTooLarge", 400, text));
        }
        let session_name = &input.role_session_name;
        let identity = role.identity(session_name);
        let limited = !policies.is_empty();
        let issued = issue(&mut *cx.host, cx.now, role.account(), identity, duration_s, policies);
        let (account, name, id) = (role.account(), role.name(), role.id());
        let mut answer = json!({
            "Credentials": credentials(&issued),
            "AssumedRoleUser": {
                "AssumedRoleId": format!("{id}:{session_name}"),
                "Arn": format!("arn:aws:sts::{account}:assumed-role/{name}/{session_name}"),
            },
        });
        if limited && let Some(members) = answer.as_object_mut() {
            members.insert("PackedPolicySize".into(), packed_percent.into());
        }
        Ok(answer)
    }

    fn trail_response(output: &Value) -> Value {
        without_secrets(output)
    }
}

/// The name becomes a part of ARNs, so what it is made of is checked here too, whatever the table says.
fn check_session_name(name: &str) -> Result<()> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_+=,.@-".contains(c);
    if (2..=64).contains(&name.len()) && name.chars().all(plain) {
        return Ok(());
    }
    Err(validation(format!(
        "1 validation error detected: Value '{name}' at 'roleSessionName' failed to satisfy constraint: Member must \
         satisfy regular expression pattern: [\\w+=,.@-]*"
    )))
}

fn check_duration(duration_s: i64, role: &Role, caller: &Identity) -> Result<()> {
    if duration_s > role.max_session_duration {
        let text = "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.";
        return Err(validation(text));
    }
    if matches!(caller, Identity::Role { .. }) && duration_s > CHAINED_DURATION_S_MAX {
        let text = "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining";
        return Err(validation(text));
    }
    Ok(())
}

/// The inline policy and the documents of the managed ones as they are now, which the session keeps.
///
/// Source: IAM User Guide, "Session policies".
fn session_policies(input: &AssumeRoleInput, role: &Role, tx: &mut Tx<'_>) -> Result<Vec<String>> {
    let mut policies = Vec::new();
    if let Some(text) = &input.policy {
        if text.chars().count() > POLICY_CHARS_MAX {
            return Err(validation(format!(
                "1 validation error detected: Value at 'policy' failed to satisfy constraint: Member must have length \
                 less than or equal to {POLICY_CHARS_MAX}"
            )));
        }
        Policy::parse(text, Kind::Session).map_err(|error| malformed(&error))?;
        policies.push(text.clone());
    }
    if input.policy_arns.len() > POLICY_ARNS_MAX {
        return Err(validation(format!(
            "1 validation error detected: Value at 'policyArns' failed to satisfy constraint: Member must have length \
             less than or equal to {POLICY_ARNS_MAX}"
        )));
    }
    for PolicyDescriptor { arn } in &input.policy_arns {
        // [U] Code and text for a policy that is not there; the model offers MalformedPolicyDocument alone.
        let missing = || ServiceError::new("MalformedPolicyDocument", 400, format!("Policy {arn} does not exist"));
        let text = default_document(tx, role.account(), arn)?.ok_or_else(missing)?;
        policies.push(compact(&text)?);
    }
    Ok(policies)
}

/// The document without white space: AWS packs it too, and the token has to fit a header.
fn compact(text: &str) -> Result<String> {
    let value = policy::parse_json(text).map_err(|error| malformed(&error))?;
    serde_json::to_string(&value).map_err(|error| ServiceError::internal(format!("compacting a policy: {error}")))
}

/// The operations of this noun.
pub const OPERATIONS: &[Entry] = &[Entry::of::<AssumeRole>()];
