//! DeleteFunction.

use serde::Deserialize;
use serde_json::{Map, Value};
use service::{Cx, Need, Operation, Parent, Result, Tx};

use super::Function;
use crate::{
    alias::Alias,
    error::{conflict, invalid},
    event_invoke_config::{self, EventInvokeConfig},
    life,
    name::{Address, LATEST, Sharing, names_version},
    permission::ResourcePolicy,
    provisioned,
    version::Version,
};

/// Deletes a function with all that hangs on it, or one version.
pub struct DeleteFunction;

/// Input of [`DeleteFunction`].
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DeleteFunctionInput {
    function_name: String,
    qualifier: Option<String>,
}

impl Operation for DeleteFunction {
    const NAME: &'static str = "DeleteFunction";
    type Input = DeleteFunctionInput;
    type Output = Map<String, Value>;

    fn needs(input: &Self::Input, default: Need, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        let address = Address::resolve(&input.function_name, input.qualifier.as_deref(), cx)?;
        Ok(vec![address.need(default, Sharing::Shared, tx)?])
    }

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Self::Output> {
        let address = Address::resolve(&input.function_name, input.qualifier.as_deref(), cx)?;
        let scope = address.scope();
        match address.qualifier.as_deref() {
            None => {
                address.function(tx)?;
                let parent = Parent::Exact(&address.function);
                tx.delete_all::<Version>(&scope, &parent)?;
                tx.delete_all::<Alias>(&scope, &parent)?;
                tx.delete_all::<ResourcePolicy>(&scope, &parent)?;
                event_invoke_config::delete_all(&scope, &address.function, tx)?;
                provisioned::remove(&scope, &address.function, None, tx)?;
                life::end(&scope, &address.function, tx);
                tx.delete::<Function>(&scope, "", &address.function);
            }
            Some(LATEST) => {
                return Err(invalid("$LATEST version cannot be deleted without deleting the function."));
            }
            Some(version) if names_version(version) => delete_version(&address, version, tx)?,
            Some(_) => return Err(invalid("Deletion of aliases is not currently supported.")),
        }
        Ok(Map::new())
    }
}

/// Deleting a version that is not there is a success, as on AWS.
fn delete_version(address: &Address, version: &str, tx: &mut Tx<'_>) -> Result<()> {
    let unqualified = Address { qualifier: None, ..address.clone() };
    unqualified.function(tx)?;
    let scope = address.scope();
    let Some(found) = Version::get(&scope, &address.function, version, tx)? else {
        return Ok(());
    };
    let aliases: Vec<Alias> = tx.list(&scope, &Parent::Exact(&address.function))?;
    let naming: Vec<&str> =
        aliases.iter().filter(|alias| alias.leads_to(version)).map(|alias| alias.name.as_str()).collect();
    if !naming.is_empty() {
        return Err(conflict(format!(
            "Unable to delete version because the following aliases reference it: [{}]",
            naming.join(", ")
        )));
    }
    tx.delete::<Version>(&scope, &address.function, &found.id());
    tx.delete::<ResourcePolicy>(&scope, &address.function, version);
    tx.delete::<EventInvokeConfig>(&scope, &address.function, version);
    provisioned::remove(&scope, &address.function, Some(version), tx)
}
