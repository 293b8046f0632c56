//! `Account`: what API Gateway grants an account in a region, and the role it may write logs as.

use serde::{Deserialize, Serialize};
use service::patch::{Op, Step};
use service::{Cx, Entry, Need, Operation, Record, Result, Tx};

use crate::error::{bad_request, unsupported_value};
use crate::role;

/// What an account changed of its settings in a region; under an empty parent and the id `account`. Not there until
/// something was changed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Account {
    /// The role API Gateway writes execution and access logs as. Without one nothing can be logged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cloudwatch_role_arn: Option<String>,
}

impl Record for Account {
    const NOUN: &'static str = "apigateway/Account";
}

const ID: &str = "account";

fn load(cx: &Cx<'_>, tx: &mut Tx<'_>) -> Result<Account> {
    Ok(tx.get(&cx.scope(), "", ID)?.unwrap_or_default())
}

/// Refuses to log anything while the account names no role for it.
pub(crate) fn check_may_log(cx: &Cx<'_>, tx: &mut Tx<'_>) -> Result<()> {
    if load(cx, tx)?.cloudwatch_role_arn.is_some() {
        return Ok(());
    }
    Err(bad_request("CloudWatch Logs role ARN must be set in account settings to enable logging"))
}

/// What clients see of an account's settings.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AccountOutput {
    #[serde(skip_serializing_if = "Option::is_none")]
    cloudwatch_role_arn: Option<String>,
    throttle_settings: ThrottleSettings,
    features: &'static [&'static str],
    api_key_version: &'static str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ThrottleSettings {
    burst_limit: u32,
    rate_limit: f64,
}

/// AWS's defaults for what cannot be changed. Source: API Gateway Developer Guide, "Throttle requests to your REST APIs
/// for better throughput in API Gateway".
impl From<Account> for AccountOutput {
    fn from(account: Account) -> Self {
        Self {
            cloudwatch_role_arn: account.cloudwatch_role_arn,
            throttle_settings: ThrottleSettings { burst_limit: 5000, rate_limit: 10_000.0 },
            features: &["UsagePlans"],
            api_key_version: "4",
        }
    }
}

/// GetAccount takes no member.
#[derive(Debug, Deserialize)]
pub struct GetAccountInput {}

/// Shows the account's settings.
pub struct GetAccount;

impl Operation for GetAccount {
    const NAME: &'static str = "GetAccount";
    type Input = GetAccountInput;
    type Output = AccountOutput;

    fn apply(_input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Self::Output> {
        Ok(load(cx, tx)?.into())
    }
}

/// Input of [`UpdateAccount`].
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UpdateAccountInput {
    #[serde(default)]
    patch_operations: Vec<Step>,
}

/// Sets or unsets the role that logs are written as. It must be the caller's own, exist and trust API Gateway; an empty
/// value unsets it. Stages that log already keep doing so.
pub struct UpdateAccount;

impl Operation for UpdateAccount {
    const NAME: &'static str = "UpdateAccount";
    type Input = UpdateAccountInput;
    type Output = AccountOutput;

    fn needs(input: &Self::Input, default: Need, cx: &mut Cx<'_>, _tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        let mut needs = vec![default];
        let roles = input.patch_operations.iter().filter(|step| step.path() == "/cloudwatchRoleArn");
        for role in roles.filter_map(Step::text) {
            needs.push(role::need("cloudwatchRoleArn", role, cx)?);
        }
        Ok(needs)
    }

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Self::Output> {
        let mut account = load(cx, tx)?;
        for step in &input.patch_operations {
            match (step.path(), step.op) {
                ("/cloudwatchRoleArn", Op::Replace) => {
                    if let Some(arn) = step.text() {
                        check_role(arn, cx, tx)?;
                    }
                    account.cloudwatch_role_arn = step.text().map(str::to_owned);
                }
                // Every account has usage plans; AWS keeps the switch from the time before.
                ("/features", Op::Add) if step.value.as_deref() == Some("UsagePlans") => {}
                ("/features", _) => {
                    return Err(unsupported_value("features", step.value.as_deref().unwrap_or("null")));
                }
                ("/cloudwatchRoleArn", _) => {
                    return Err(bad_request("Invalid patch operation specified. Must be one of: [replace]"));
                }
                _ => return Err(bad_request(format!("Invalid patch path {}", step.path()))),
            }
        }
        tx.put(&cx.scope(), "", ID, &account)?;
        Ok(account.into())
    }
}

fn check_role(arn: &str, cx: &Cx<'_>, tx: &mut Tx<'_>) -> Result<()> {
    role::check("cloudwatchRoleArn", arn, cx)?;
    if role::trusts_gateway(tx, arn)? {
        return Ok(());
    }
    Err(bad_request(
        "The role ARN does not have required permissions configured. Please grant trust permission for API Gateway \
         and add the required role policy.",
    ))
}

/// Operations of this noun.
pub const OPERATIONS: &[Entry] = &[Entry::of::<GetAccount>(), Entry::of::<UpdateAccount>()];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::testing::{LOG_ROLE, World, patch};

    #[test]
    fn an_account_shows_the_defaults() {
        assert_eq!(
            World::new().ok("GetAccount", json!({})),
            json!({
                "throttleSettings": {"burstLimit": 5000, "rateLimit": 10000.0},
                "features": ["UsagePlans"],
                "apiKeyVersion": "4"
            })
        );
    }

    #[test]
    fn a_role_that_trusts_the_gateway_may_be_set_and_unset() {
        let mut world = World::new();
        let set = patch("replace", "/cloudwatchRoleArn", Some(LOG_ROLE));
        let no_trust = "BadRequest 400 The role ARN does not have required permissions configured. Please grant trust \
             permission for API Gateway and add the required role policy.";
        world.refuses("UpdateAccount", set.clone(), no_trust);
        world.log_role(
            r#"{"Statement": {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"},
                "Action": "sts:AssumeRole"}}"#,
        );
        world.refuses("UpdateAccount", set.clone(), no_trust);
        world.may_log();
        let answer = world.ok("GetAccount", json!({}));
        assert_eq!(answer["cloudwatchRoleArn"], json!(LOG_ROLE));
        let needs = world.needs("UpdateAccount", set).expect("needs");
        assert_eq!((needs[0].action.as_str(), needs[0].resource.as_str()), ("iam:PassRole", LOG_ROLE));
        world.ok("UpdateAccount", patch("add", "/features", Some("UsagePlans")));
        let answer = world.ok("UpdateAccount", patch("replace", "/cloudwatchRoleArn", Some("")));
        assert_eq!(answer.get("cloudwatchRoleArn"), None);
    }

    #[test]
    fn other_roles_and_paths_are_refused() {
        let mut world = World::new();
        for (op, path, value, expected) in [
            ("replace", "/cloudwatchRoleArn", "x", "BadRequest 400 Invalid ARN specified in the request"),
            (
                "replace",
                "/cloudwatchRoleArn",
                "arn:aws:iam::222222222222:role/logs",
                "AccessDenied 403 Cross-account pass role is not allowed.",
            ),
            (
                "remove",
                "/features",
                "UsagePlans",
                "BadRequest 400 features UsagePlans is not supported by this version of Portcullis.",
            ),
            (
                "add",
                "/cloudwatchRoleArn",
                "x",
                "BadRequest 400 Invalid patch operation specified. Must be one of: [replace]",
            ),
            ("replace", "/x", "x", "BadRequest 400 Invalid patch path /x"),
        ] {
            world.refuses("UpdateAccount", patch(op, path, Some(value)), expected);
        }
        assert!(world.keys().is_empty());
    }
}
