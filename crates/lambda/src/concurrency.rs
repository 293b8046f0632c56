//! Reserved concurrency: how many invocations of a function may run at once.
//!
//! The number stands on the function's record as `ReservedConcurrentExecutions`, from where [`crate::directory`] hands
//! it to whoever invokes.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use service::{Cx, Entry, Need, Operation, Parent, Result, Scope, Tx};

use crate::{
    error::invalid,
    function::Function,
    name::{Address, Sharing},
    provisioned,
};

/// Operations on concurrency, and what a function is asked for beside it.
pub const OPERATIONS: &[Entry] = &[
    Entry::of::<PutFunctionConcurrency>(),
    Entry::of::<GetFunctionConcurrency>(),
    Entry::of::<DeleteFunctionConcurrency>(),
    Entry::of::<GetAccountSettings>(),
    Entry::of::<GetFunctionCodeSigningConfig>(),
];

/// Simultaneous invocations of one account in one region. Source: Lambda Developer Guide, "Lambda quotas".
pub const ACCOUNT_CONCURRENCY: u32 = 1000;
/// What reservations must leave to functions without one.
pub(crate) const UNRESERVED_MIN: u32 = 100;

/// Sum of the reservations of an account and region, one function left out.
pub(crate) fn reserved(scope: &Scope, but: &str, tx: &mut Tx<'_>) -> Result<u32> {
    let functions: Vec<Function> = tx.list(scope, &Parent::Exact(""))?;
    let others = functions.iter().filter(|function| function.configuration.function_name != but);
    Ok(others.filter_map(|function| function.reserved_concurrent_executions).fold(0, u32::saturating_add))
}

/// A function by name.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct FunctionInput {
    function_name: String,
}

/// Sets a function's reservation.
pub struct PutFunctionConcurrency;

/// Input of [`PutFunctionConcurrency`].
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct PutFunctionConcurrencyInput {
    function_name: String,
    reserved_concurrent_executions: u32,
}

/// A reservation, if there is one.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ConcurrencyOutput {
    #[serde(skip_serializing_if = "Option::is_none")]
    reserved_concurrent_executions: Option<u32>,
}

impl Operation for PutFunctionConcurrency {
    const NAME: &'static str = "PutFunctionConcurrency";
    type Input = PutFunctionConcurrencyInput;
    type Output = ConcurrencyOutput;

    fn needs(input: &Self::Input, default: Need, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        Ok(vec![Address::resolve_unqualified(&input.function_name, cx)?.need(default, Sharing::Shared, tx)?])
    }

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Self::Output> {
        let address = Address::resolve_unqualified(&input.function_name, cx)?;
        let scope = address.scope();
        let mut function = address.function(tx)?;
        let wanted = input.reserved_concurrent_executions;
        let provisioned = provisioned::sum(&scope, &address.function, "", tx)?;
        if wanted < provisioned {
            return Err(invalid(format!(
                "ReservedConcurrentExecutions {wanted} should not be lower than function's total provisioned concurrency \
                 [{provisioned}]."
            )));
        }
        let all = reserved(&scope, &address.function, tx)?.saturating_add(wanted);
        if all > ACCOUNT_CONCURRENCY.saturating_sub(UNRESERVED_MIN) {
            return Err(invalid(format!(
                "Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below \
                 its minimum value of [{UNRESERVED_MIN}]."
            )));
        }
        function.reserved_concurrent_executions = Some(wanted);
        function.configuration.revision_id = cx.uuid();
        tx.put(&scope, "", &address.function, &function)?;
        Ok(ConcurrencyOutput { reserved_concurrent_executions: Some(wanted) })
    }
}

/// A function's reservation.
pub struct GetFunctionConcurrency;

impl Operation for GetFunctionConcurrency {
    const NAME: &'static str = "GetFunctionConcurrency";
    type Input = FunctionInput;
    type Output = ConcurrencyOutput;

    fn needs(input: &Self::Input, default: Need, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        Ok(vec![Address::resolve_unqualified(&input.function_name, cx)?.need(default, Sharing::Shared, tx)?])
    }

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Self::Output> {
        let function = Address::resolve_unqualified(&input.function_name, cx)?.function(tx)?;
        Ok(ConcurrencyOutput { reserved_concurrent_executions: function.reserved_concurrent_executions })
    }
}

/// Removes a function's reservation.
pub struct DeleteFunctionConcurrency;

impl Operation for DeleteFunctionConcurrency {
    const NAME: &'static str = "DeleteFunctionConcurrency";
    type Input = FunctionInput;
    type Output = Map<String, Value>;

    fn needs(input: &Self::Input, default: Need, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        Ok(vec![Address::resolve_unqualified(&input.function_name, cx)?.need(default, Sharing::Shared, tx)?])
    }

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Self::Output> {
        let address = Address::resolve_unqualified(&input.function_name, cx)?;
        let mut function = address.function(tx)?;
        function.reserved_concurrent_executions = None;
        function.configuration.revision_id = cx.uuid();
        tx.put(&address.scope(), "", &address.function, &function)?;
        Ok(Map::new())
    }
}

/// Limits and usage of the caller's account in the region.
pub struct GetAccountSettings;

/// Input of [`GetAccountSettings`].
#[derive(Debug, Clone, Deserialize)]
pub struct NoInput {}

impl Operation for GetAccountSettings {
    const NAME: &'static str = "GetAccountSettings";
    type Input = NoInput;
    type Output = Value;

    fn needs(_input: &Self::Input, default: Need, _cx: &mut Cx<'_>, _tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        Ok(vec![Need { resource: "*".to_owned(), ..default }])
    }

    fn apply(_input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Self::Output> {
        let scope = cx.scope();
        let functions: Vec<Function> = tx.list(&scope, &Parent::Exact(""))?;
        let versions: Vec<crate::version::Version> = tx.list(&scope, &Parent::Prefix(""))?;
        let sizes = functions.iter().map(|function| function.configuration.code_size);
        let sizes = sizes.chain(versions.iter().map(|version| version.configuration.code_size));
        let unreserved = ACCOUNT_CONCURRENCY.saturating_sub(reserved(&scope, "", tx)?);
        Ok(json!({
            "AccountLimit": {
                "TotalCodeSize": 80_530_636_800_u64,
                "CodeSizeUnzipped": 262_144_000,
                "CodeSizeZipped": 52_428_800,
                "ConcurrentExecutions": ACCOUNT_CONCURRENCY,
                "UnreservedConcurrentExecutions": unreserved,
            },
            "AccountUsage": {
                "TotalCodeSize": sizes.fold(0_u64, u64::saturating_add),
                "FunctionCount": functions.len(),
            },
        }))
    }
}

/// Whether a function's code must be signed. None must: CreateFunction refuses a code signing configuration.
pub struct GetFunctionCodeSigningConfig;

impl Operation for GetFunctionCodeSigningConfig {
    const NAME: &'static str = "GetFunctionCodeSigningConfig";
    type Input = FunctionInput;
    type Output = Value;

    fn needs(input: &Self::Input, default: Need, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        Ok(vec![Address::resolve_unqualified(&input.function_name, cx)?.need(default, Sharing::Owner, tx)?])
    }

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Self::Output> {
        let function = Address::resolve_unqualified(&input.function_name, cx)?.function(tx)?;
        Ok(json!({ "FunctionName": function.configuration.function_name }))
    }
}

#[cfg(test)]
mod tests;
