//! When a function gets another version of its runtime.
//!
//! A runtime is the host's interpreter: what is installed is what runs, from the next environment on. That is what AWS
//! calls `Auto`. There are no versions to choose from, so the other modes are refused, and nothing is stored.

use serde::{Deserialize, Serialize};
use service::{Cx, Entry, Need, Operation, Result, Tx};

use crate::{
    error::{function_not_found, invalid, not_enforced},
    event_invoke_config::has_qualifier,
    name::{Address, LATEST, Sharing},
};

/// Operations on runtime management.
pub const OPERATIONS: &[Entry] =
    &[Entry::of::<GetRuntimeManagementConfig>(), Entry::of::<PutRuntimeManagementConfig>()];

const AUTO: &str = "Auto";

/// A function, or a version or an alias of it.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct RuntimeManagementInput {
    function_name: String,
    #[serde(default)]
    qualifier: Option<String>,
}

/// The mode in force; always `Auto`.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct RuntimeManagementOutput {
    update_runtime_on: &'static str,
    function_arn: String,
}

/// The mode of what is named, if that is there. [U] that the ARN has `$LATEST` where no qualifier was given.
fn auto(function_name: &str, qualifier: Option<&str>, cx: &Cx<'_>, tx: &mut Tx<'_>) -> Result<RuntimeManagementOutput> {
    let address = Address::resolve(function_name, qualifier, cx)?;
    address.function(tx)?;
    let named = address.qualifier.clone().unwrap_or_else(|| LATEST.to_owned());
    let function_arn = format!("{}:{named}", address.arn());
    if !has_qualifier(&address.scope(), &address.function, &named, tx)? {
        return Err(function_not_found(&function_arn));
    }
    Ok(RuntimeManagementOutput { update_runtime_on: AUTO, function_arn })
}

fn need(name: &str, qualifier: Option<&str>, default: Need, cx: &Cx<'_>, tx: &mut Tx<'_>) -> Result<Vec<Need>> {
    Ok(vec![Address::resolve(name, qualifier, cx)?.need(default, Sharing::Owner, tx)?])
}

/// Tells the mode.
pub struct GetRuntimeManagementConfig;

impl Operation for GetRuntimeManagementConfig {
    const NAME: &'static str = "GetRuntimeManagementConfig";
    type Input = RuntimeManagementInput;
    type Output = RuntimeManagementOutput;

    fn needs(input: &Self::Input, default: Need, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        need(&input.function_name, input.qualifier.as_deref(), default, cx, tx)
    }

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Self::Output> {
        auto(&input.function_name, input.qualifier.as_deref(), cx, tx)
    }
}

/// Sets the mode: to `Auto`, which it is.
pub struct PutRuntimeManagementConfig;

/// Input of [`PutRuntimeManagementConfig`].
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct PutRuntimeManagementConfigInput {
    function_name: String,
    #[serde(default)]
    qualifier: Option<String>,
    update_runtime_on: String,
    #[serde(default)]
    runtime_version_arn: Option<String>,
}

impl Operation for PutRuntimeManagementConfig {
    const NAME: &'static str = "PutRuntimeManagementConfig";
    type Input = PutRuntimeManagementConfigInput;
    type Output = RuntimeManagementOutput;

    fn needs(input: &Self::Input, default: Need, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        need(&input.function_name, input.qualifier.as_deref(), default, cx, tx)
    }

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Self::Output> {
        let output = auto(&input.function_name, input.qualifier.as_deref(), cx, tx)?;
        if input.update_runtime_on != AUTO {
            return Err(not_enforced(
                "This update mode",
                "a function runs on the interpreter that is installed. Use UpdateRuntimeOn Auto, and update the host's \
                 interpreter when functions are to have another.",
            ));
        }
        if input.runtime_version_arn.is_some() {
            return Err(invalid("RuntimeVersionArn can only be given with UpdateRuntimeOn Manual."));
        }
        Ok(output)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::harness::{OWNER, REGION, World};

    #[test]
    fn a_runtime_is_always_the_installed_one() {
        let mut world = World::with_function();
        world.call("PublishVersion", json!({ "FunctionName": "f" }));
        for (qualifier, shown) in [(None, "$LATEST"), (Some("$LATEST"), "$LATEST"), (Some("1"), "1")] {
            let arn = format!("arn:aws:lambda:{REGION}:{OWNER}:function:f:{shown}");
            let auto = json!({ "UpdateRuntimeOn": "Auto", "FunctionArn": arn });
            let mut input = json!({ "FunctionName": "f" });
            if let Some(qualifier) = qualifier {
                input["Qualifier"] = qualifier.into();
            }
            assert_eq!(world.call("GetRuntimeManagementConfig", input.clone()), auto);
            input["UpdateRuntimeOn"] = "Auto".into();
            assert_eq!(world.call("PutRuntimeManagementConfig", input), auto);
        }
    }

    #[test]
    fn what_cannot_be_honoured_or_is_not_there_is_refused() {
        let mut world = World::with_function();
        let version = format!("arn:aws:lambda:{REGION}::runtime:{}", "0".repeat(64));
        for (input, code) in [
            (json!({ "FunctionName": "f", "UpdateRuntimeOn": "FunctionUpdate" }), "InvalidParameterValueException"),
            (
                json!({ "FunctionName": "f", "UpdateRuntimeOn": "Manual", "RuntimeVersionArn": version }),
                "InvalidParameterValueException",
            ),
            (
                json!({ "FunctionName": "f", "UpdateRuntimeOn": "Auto", "RuntimeVersionArn": version }),
                "InvalidParameterValueException",
            ),
            (json!({ "FunctionName": "g", "UpdateRuntimeOn": "Auto" }), "ResourceNotFoundException"),
            (json!({ "FunctionName": "f", "Qualifier": "7", "UpdateRuntimeOn": "Auto" }), "ResourceNotFoundException"),
        ] {
            assert_eq!(world.refused("PutRuntimeManagementConfig", input.clone()).code, code, "{input}");
        }
        let read = json!({ "FunctionName": "f", "Qualifier": "7" });
        assert_eq!(world.refused("GetRuntimeManagementConfig", read).status, 404);
    }
}
