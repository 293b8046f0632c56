//! Provisioned concurrency: execution environments of a version that are started before anybody asks.
//!
//! The number stands on a record of the version or alias; [`crate::directory`] hands it to whoever runs functions, and
//! what became of it is asked of the host when it is read. An invocation beyond the number is served on demand.
//!
//! Sources: Lambda API Reference, "PutProvisionedConcurrencyConfig", "GetProvisionedConcurrencyConfig"; Lambda Developer
//! Guide, "Configuring provisioned concurrency for a function".

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use service::{Cx, Entry, Need, Operation, Parent, Provisioned, Record, Result, Scope, Tx};

use crate::{
    alias::Alias,
    check::Checks,
    concurrency::{ACCOUNT_CONCURRENCY, UNRESERVED_MIN, reserved},
    error::{conflict, function_not_found, invalid, not_found, user},
    function::Function,
    life::place,
    name::{Address, LATEST, Sharing, names_version},
    paging,
    version::Version,
};

/// Operations of this noun.
pub const OPERATIONS: &[Entry] = &[
    Entry::of::<PutProvisionedConcurrencyConfig>(),
    Entry::of::<GetProvisionedConcurrencyConfig>(),
    Entry::of::<DeleteProvisionedConcurrencyConfig>(),
    Entry::of::<ListProvisionedConcurrencyConfigs>(),
];

/// What one version or alias is to have ready. Key: parent = function name, id = qualifier.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ProvisionedConcurrency {
    /// Version number or alias.
    pub qualifier: String,
    /// At least 1.
    pub requested: u32,
    /// As AWS spells it: `2025-11-25T02:26:54.000+0000`.
    pub last_modified: String,
}

impl Record for ProvisionedConcurrency {
    const NOUN: &'static str = "lambda/ProvisionedConcurrency";
}

/// Says that a function has provisioned concurrency, so that a server which starts provides it again. Key: the
/// installation's scope, id = account, region and name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ProvisionedFunction {
    /// Owner.
    pub account: String,
    /// Region.
    pub region: String,
    /// Name.
    pub function: String,
}

impl Record for ProvisionedFunction {
    const NOUN: &'static str = "lambda/ProvisionedFunction";
}

/// Every function with provisioned concurrency, for a server that starts.
///
/// # Errors
/// 5xx when the store cannot be read.
pub fn functions(tx: &mut Tx<'_>) -> Result<Vec<ProvisionedFunction>> {
    tx.list(&Scope::installation(), &Parent::Exact(""))
}

/// Removes what a qualifier has, or with `None` all of a function.
///
/// # Errors
/// 5xx when the store cannot be read.
pub(crate) fn remove(scope: &Scope, function: &str, qualifier: Option<&str>, tx: &mut Tx<'_>) -> Result<()> {
    let present: Vec<ProvisionedConcurrency> = tx.list(scope, &Parent::Exact(function))?;
    if present.is_empty() {
        return Ok(());
    }
    let goes = |found: &ProvisionedConcurrency| qualifier.is_none_or(|qualifier| found.qualifier == qualifier);
    for found in present.iter().filter(|found| goes(found)) {
        tx.delete::<ProvisionedConcurrency>(scope, function, &found.qualifier);
    }
    if present.iter().all(goes) {
        tx.delete::<ProvisionedFunction>(&Scope::installation(), "", &place(scope, function));
    }
    Ok(())
}

/// Sum over a function's qualifiers, one left out.
///
/// # Errors
/// 5xx when the store cannot be read.
pub(crate) fn sum(scope: &Scope, function: &str, but: &str, tx: &mut Tx<'_>) -> Result<u32> {
    let present: Vec<ProvisionedConcurrency> = tx.list(scope, &Parent::Exact(function))?;
    let others = present.iter().filter(|found| found.qualifier != but);
    Ok(others.map(|found| found.requested).fold(0, u32::saturating_add))
}

/// How much of an alias's number each of its two versions gets: (first, second).
///
/// Source: Lambda API Reference, "GetProvisionedConcurrencyConfig": with a weighted alias the allocated number follows
/// what is provisioned for its versions. [U] how AWS rounds.
#[must_use]
pub(crate) fn split(requested: u32, weight: f64) -> (u32, u32) {
    let share = (f64::from(requested) * weight.clamp(0.0, 1.0)).round();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and a u32")]
    let second = (share as u32).min(requested);
    (requested.saturating_sub(second), second)
}

/// A version or alias by name.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ProvisionedInput {
    function_name: String,
    qualifier: String,
}

fn address(function_name: &str, qualifier: &str, cx: &Cx<'_>) -> Result<(Address, String)> {
    let address = Address::resolve(function_name, Some(qualifier), cx)?;
    if qualifier == LATEST {
        return Err(invalid("Provisioned Concurrency Configs cannot be applied to unpublished function versions."));
    }
    Ok((address, qualifier.to_owned()))
}

/// # Errors
/// `ResourceNotFoundException` when the version or alias is not there.
fn check_exists(address: &Address, qualifier: &str, tx: &mut Tx<'_>) -> Result<Option<Alias>> {
    let missing = || function_not_found(&address.qualified_arn());
    if names_version(qualifier) {
        let found = Version::get(&address.scope(), &address.function, qualifier, tx)?;
        return found.map(|_| None).ok_or_else(missing);
    }
    let alias: Option<Alias> = tx.get(&address.scope(), &address.function, qualifier)?;
    alias.map(Some).ok_or_else(|| not_found(format!("Cannot find alias arn: {}", address.qualified_arn())))
}

/// A number and what has become of it.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ProvisionedOutput {
    requested_provisioned_concurrent_executions: u32,
    available_provisioned_concurrent_executions: u32,
    allocated_provisioned_concurrent_executions: u32,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    status_reason: Option<String>,
    last_modified: String,
}

impl ProvisionedOutput {
    fn new(record: ProvisionedConcurrency, now: Provisioned) -> Self {
        let (status, status_reason) = match now.failure {
            _ if now.available >= record.requested => ("READY", None),
            Some(reason) => ("FAILED", Some(reason)),
            None => ("IN_PROGRESS", None),
        };
        let allocated = now.allocated.min(record.requested);
        Self {
            requested_provisioned_concurrent_executions: record.requested,
            available_provisioned_concurrent_executions: now.available.min(allocated),
            allocated_provisioned_concurrent_executions: allocated,
            status,
            status_reason,
            last_modified: record.last_modified,
        }
    }

    fn of(record: ProvisionedConcurrency, address: &Address, cx: &Cx<'_>) -> Self {
        let now = cx.host.provisioned(address.account.as_str(), &address.region, &address.function, &record.qualifier);
        Self::new(record, now)
    }
}

/// Sets how many environments a version or alias has ready.
pub struct PutProvisionedConcurrencyConfig;

/// Input of [`PutProvisionedConcurrencyConfig`].
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct PutProvisionedConcurrencyConfigInput {
    function_name: String,
    qualifier: String,
    provisioned_concurrent_executions: i64,
}

impl Operation for PutProvisionedConcurrencyConfig {
    const NAME: &'static str = "PutProvisionedConcurrencyConfig";
    type Input = PutProvisionedConcurrencyConfigInput;
    type Output = ProvisionedOutput;

    fn needs(input: &Self::Input, default: Need, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        let address = Address::resolve(&input.function_name, Some(&input.qualifier), cx)?;
        Ok(vec![address.need(default, Sharing::Shared, tx)?])
    }

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Self::Output> {
        let mut checks = Checks::default();
        let wanted = input.provisioned_concurrent_executions;
        checks.range("provisionedConcurrentExecutions", wanted, 1, i64::from(i32::MAX));
        checks.done()?;
        let wanted = u32::try_from(wanted).unwrap_or(u32::MAX);
        let (address, qualifier) = address(&input.function_name, &input.qualifier, cx)?;
        let alias = check_exists(&address, &qualifier, tx)?;
        let function = Address { qualifier: None, ..address.clone() }.function(tx)?;
        check_room(&address, &function, &qualifier, wanted, tx)?;
        check_alone(&address, &qualifier, alias.as_ref(), tx)?;
        let scope = address.scope();
        let record =
            ProvisionedConcurrency { qualifier: qualifier.clone(), requested: wanted, last_modified: cx.now.lambda() };
        tx.put(&scope, &address.function, &qualifier, &record)?;
        let place = place(&scope, &address.function);
        let pointer = ProvisionedFunction {
            account: scope.account.clone(),
            region: scope.region.clone(),
            function: address.function.clone(),
        };
        tx.put(&Scope::installation(), "", &place, &pointer)?;
        // Nothing has been started for this number yet, whatever was ready before.
        let output = ProvisionedOutput::new(record, Provisioned::default());
        Ok(output)
    }
}

/// The number must fit into the function's reservation, or into what is left of the account.
fn check_room(address: &Address, function: &Function, qualifier: &str, wanted: u32, tx: &mut Tx<'_>) -> Result<()> {
    let scope = address.scope();
    let all = sum(&scope, &address.function, qualifier, tx)?.saturating_add(wanted);
    if let Some(reserved) = function.reserved_concurrent_executions {
        if all > reserved {
            return Err(invalid(
                "Requested Provisioned Concurrency should not be greater than the reservedConcurrentExecution for function",
            ));
        }
        return Ok(());
    }
    if all > ACCOUNT_CONCURRENCY {
        return Err(invalid(format!(
            "Specified ConcurrentExecutions for function is greater than account's unreserved concurrency \
             [{ACCOUNT_CONCURRENCY}]."
        )));
    }
    // What is provisioned for functions without a reservation comes out of what all of those share.
    let mut taken = reserved(&scope, "", tx)?.saturating_add(all);
    let present: Vec<Function> = tx.list(&scope, &Parent::Exact(""))?;
    for other in present {
        let name = &other.configuration.function_name;
        if *name != address.function && other.reserved_concurrent_executions.is_none() {
            taken = taken.saturating_add(sum(&scope, name, "", tx)?);
        }
    }
    if taken > ACCOUNT_CONCURRENCY.saturating_sub(UNRESERVED_MIN) {
        return Err(invalid(format!(
            "Specified ConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its minimum \
             value of [{UNRESERVED_MIN}]."
        )));
    }
    Ok(())
}

/// A version has its number by itself or through an alias, not both ways.
fn check_alone(address: &Address, qualifier: &str, alias: Option<&Alias>, tx: &mut Tx<'_>) -> Result<()> {
    let (scope, name) = (address.scope(), &address.function);
    if let Some(alias) = alias {
        if tx.get::<ProvisionedConcurrency>(&scope, name, &alias.function_version)?.is_some() {
            return Err(conflict(
                "Alias can't be used for Provisioned Concurrency configuration on an already Provisioned version",
            ));
        }
        if alias.leads_to(LATEST) {
            return Err(invalid("Provisioned Concurrency Configs cannot be applied to unpublished function versions."));
        }
        return Ok(());
    }
    let aliases: Vec<Alias> = tx.list(&scope, &Parent::Exact(name))?;
    for alias in aliases.iter().filter(|alias| alias.function_version == qualifier) {
        if tx.get::<ProvisionedConcurrency>(&scope, name, &alias.name)?.is_some() {
            return Err(conflict("Version is pointed by a Provisioned Concurrency alias"));
        }
    }
    Ok(())
}

/// What a version or alias has ready.
pub struct GetProvisionedConcurrencyConfig;

impl Operation for GetProvisionedConcurrencyConfig {
    const NAME: &'static str = "GetProvisionedConcurrencyConfig";
    type Input = ProvisionedInput;
    type Output = ProvisionedOutput;

    fn needs(input: &Self::Input, default: Need, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        let address = Address::resolve(&input.function_name, Some(&input.qualifier), cx)?;
        Ok(vec![address.need(default, Sharing::Shared, tx)?])
    }

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Self::Output> {
        let (address, qualifier) = match address(&input.function_name, &input.qualifier, cx) {
            // `$LATEST` cannot be provisioned; to be asked is no fault.
            Err(_) if input.qualifier == LATEST => return Err(none()),
            found => found?,
        };
        check_exists(&address, &qualifier, tx)?;
        let found = tx.get(&address.scope(), &address.function, &qualifier)?.ok_or_else(none)?;
        Ok(ProvisionedOutput::of(found, &address, cx))
    }
}

fn none() -> service::ServiceError {
    let text = "No Provisioned Concurrency Config found for this function";
    user("ProvisionedConcurrencyConfigNotFoundException", 404, text)
}

/// Lets a version or alias have nothing ready.
pub struct DeleteProvisionedConcurrencyConfig;

impl Operation for DeleteProvisionedConcurrencyConfig {
    const NAME: &'static str = "DeleteProvisionedConcurrencyConfig";
    type Input = ProvisionedInput;
    type Output = Map<String, Value>;

    fn needs(input: &Self::Input, default: Need, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        let address = Address::resolve(&input.function_name, Some(&input.qualifier), cx)?;
        Ok(vec![address.need(default, Sharing::Shared, tx)?])
    }

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Self::Output> {
        let (address, qualifier) = address(&input.function_name, &input.qualifier, cx)?;
        check_exists(&address, &qualifier, tx)?;
        // One that is not there is a success, as on AWS.
        remove(&address.scope(), &address.function, Some(&qualifier), tx)?;
        Ok(Map::new())
    }
}

/// What a function's versions and aliases have ready.
pub struct ListProvisionedConcurrencyConfigs;

/// Input of [`ListProvisionedConcurrencyConfigs`].
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ListProvisionedConcurrencyConfigsInput {
    function_name: String,
    marker: Option<String>,
    max_items: Option<i64>,
}

/// Output of [`ListProvisionedConcurrencyConfigs`].
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ListProvisionedConcurrencyConfigsOutput {
    provisioned_concurrency_configs: Vec<ProvisionedItem>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_marker: Option<String>,
}

/// An item of the list.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ProvisionedItem {
    function_arn: String,
    #[serde(flatten)]
    config: ProvisionedOutput,
}

impl Operation for ListProvisionedConcurrencyConfigs {
    const NAME: &'static str = "ListProvisionedConcurrencyConfigs";
    type Input = ListProvisionedConcurrencyConfigsInput;
    type Output = ListProvisionedConcurrencyConfigsOutput;

    fn needs(input: &Self::Input, default: Need, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        Ok(vec![Address::resolve_unqualified(&input.function_name, cx)?.need(default, Sharing::Shared, tx)?])
    }

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Self::Output> {
        let address = Address::resolve_unqualified(&input.function_name, cx)?;
        address.function(tx)?;
        let limit = paging::limit(input.max_items);
        let after = paging::after(input.marker.as_deref())?;
        let page = tx.page::<ProvisionedConcurrency>(
            &address.scope(),
            &address.function,
            after.as_deref(),
            limit.saturating_add(1),
        )?;
        let (page, next_marker) = paging::cut(page, limit);
        let items = page.into_iter().map(|found| ProvisionedItem {
            function_arn: format!("{}:{}", address.arn(), found.qualifier),
            config: ProvisionedOutput::of(found, &address, cx),
        });
        Ok(ListProvisionedConcurrencyConfigsOutput { provisioned_concurrency_configs: items.collect(), next_marker })
    }
}

#[cfg(test)]
mod tests;
