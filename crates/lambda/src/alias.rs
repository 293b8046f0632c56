//! Aliases: names for a version, or for two with a weight.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use service::{Cx, Entry, Need, Operation, Parent, Record, Result, Tx};

use crate::{
    check::{Checks, is_digits, is_word},
    error::{conflict, function_not_found, invalid, not_found, user},
    event_invoke_config::EventInvokeConfig,
    function::check_revision,
    name::{Address, LATEST, Sharing},
    paging,
    permission::ResourcePolicy,
    provisioned::{self, ProvisionedConcurrency},
    version::Version,
};

/// Operations of this noun.
pub const OPERATIONS: &[Entry] = &[
    Entry::of::<CreateAlias>(),
    Entry::of::<GetAlias>(),
    Entry::of::<UpdateAlias>(),
    Entry::of::<DeleteAlias>(),
    Entry::of::<ListAliases>(),
];

/// What keeps one function's aliases readable in one piece.
const ALIASES_MAX: usize = 1000;

const ALIAS_PATTERN: &str = "(?!^[0-9]+$)([a-zA-Z0-9-_]+)";

/// An alias. Key: parent = function name, id = alias name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Alias {
    /// With the function's ARN before it.
    pub alias_arn: String,
    /// Not all digits.
    pub name: String,
    /// The version it leads to, or `$LATEST`.
    pub function_version: String,
    /// At most 256 characters.
    pub description: String,
    /// A second version with its share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub routing_config: Option<RoutingConfig>,
    /// Changes with every change, permissions included.
    pub revision_id: String,
}

/// A second version.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct RoutingConfig {
    /// Version number to share of invocations, 0 to 1; one entry at most.
    #[serde(default)]
    pub additional_version_weights: BTreeMap<String, f64>,
}

impl Record for Alias {
    const NOUN: &'static str = "lambda/Alias";
}

impl Alias {
    /// The second version and its share of invocations.
    #[must_use]
    pub fn additional(&self) -> Option<(&str, f64)> {
        let weights = &self.routing_config.as_ref()?.additional_version_weights;
        weights.iter().next().map(|(version, weight)| (version.as_str(), *weight))
    }

    /// Whether an invocation through this alias may run that version.
    #[must_use]
    pub fn leads_to(&self, version: &str) -> bool {
        self.function_version == version || self.additional().is_some_and(|(additional, _)| additional == version)
    }
}

/// The alias an operation names beside the function.
struct Named {
    address: Address,
    name: String,
}

impl Named {
    fn resolve(function_name: &str, name: &str, cx: &Cx<'_>) -> Result<Self> {
        let address = Address::resolve_unqualified(function_name, cx)?;
        let mut checks = Checks::default();
        checks.pattern(is_word(name) && !is_digits(name), "name", name, ALIAS_PATTERN);
        checks.length("name", name, 1, 128);
        checks.done()?;
        Ok(Self { address, name: name.to_owned() })
    }

    fn arn(&self) -> String {
        format!("{}:{}", self.address.arn(), self.name)
    }

    fn get(&self, tx: &mut Tx<'_>) -> Result<Option<Alias>> {
        tx.get(&self.address.scope(), &self.address.function, &self.name)
    }

    fn put(&self, alias: &Alias, tx: &mut Tx<'_>) -> Result<()> {
        tx.put(&self.address.scope(), &self.address.function, &self.name, alias)
    }

    /// What the alias is about to lead to must exist.
    fn check_target(&self, version: &str, routing: Option<&RoutingConfig>, tx: &mut Tx<'_>) -> Result<()> {
        self.check_version(version, tx)?;
        let Some(weights) = routing.map(|routing| &routing.additional_version_weights) else {
            return Ok(());
        };
        if weights.len() > 1 {
            return Err(invalid("Number of items in AdditionalVersionWeights cannot be greater than 1"));
        }
        let Some((additional, weight)) = weights.iter().next() else {
            return Ok(());
        };
        let mut checks = Checks::default();
        let shown = format!("{{{additional}={weight}}}");
        let member = "routingConfig.additionalVersionWeights";
        checks.require((0.0..=1.0).contains(weight), member, &shown, || {
            "Map value must satisfy constraint: [Member must have value less than or equal to 1.0, Member must have value \
             greater than or equal to 0.0, Member must not be null]"
                .to_owned()
        });
        checks.require(is_digits(additional), member, &shown, || {
            "Map keys must satisfy constraint: [Member must have length less than or equal to 1024, Member must have length \
             greater than or equal to 1, Member must satisfy regular expression pattern: [0-9]+, Member must not be null]"
                .to_owned()
        });
        checks.done()?;
        if additional == version {
            return Err(invalid(format!(
                "Invalid function version {version}. Function version {version} is already included in routing configuration."
            )));
        }
        if version == LATEST {
            return Err(invalid("$LATEST is not supported for an alias pointing to more than 1 version"));
        }
        self.check_version(additional, tx)
    }

    /// An alias with provisioned concurrency stays with published versions that have none of their own.
    fn check_provisioned(&self, alias: &Alias, tx: &mut Tx<'_>) -> Result<()> {
        let (scope, function) = (self.address.scope(), &self.address.function);
        if tx.get::<ProvisionedConcurrency>(&scope, function, &self.name)?.is_none() {
            return Ok(());
        }
        if alias.leads_to(LATEST) {
            return Err(invalid("Provisioned Concurrency Configs cannot be applied to unpublished function versions."));
        }
        if tx.get::<ProvisionedConcurrency>(&scope, function, &alias.function_version)?.is_some() {
            return Err(conflict(
                "Alias can't be used for Provisioned Concurrency configuration on an already Provisioned version",
            ));
        }
        Ok(())
    }

    fn check_version(&self, version: &str, tx: &mut Tx<'_>) -> Result<()> {
        let mut checks = Checks::default();
        checks.pattern(version == LATEST || is_digits(version), "functionVersion", version, r"(\$LATEST|[0-9]+)");
        checks.done()?;
        if version == LATEST || Version::get(&self.address.scope(), &self.address.function, version, tx)?.is_some() {
            return Ok(());
        }
        Err(function_not_found(&format!("{}:{version}", self.address.arn())))
    }
}

fn check_description(description: &str) -> Result<()> {
    let mut checks = Checks::default();
    checks.length("description", description, 0, 256);
    checks.done()
}

/// An empty map is no routing.
fn routing(given: RoutingConfig) -> Option<RoutingConfig> {
    (!given.additional_version_weights.is_empty()).then_some(given)
}

fn need(function_name: &str, default: Need, cx: &Cx<'_>, tx: &mut Tx<'_>) -> Result<Vec<Need>> {
    let address = Address::resolve_unqualified(function_name, cx)?;
    Ok(vec![address.need(default, Sharing::Shared, tx)?])
}

/// Creates an alias.
pub struct CreateAlias;

/// Input of [`CreateAlias`].
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct CreateAliasInput {
    function_name: String,
    name: String,
    function_version: String,
    description: Option<String>,
    routing_config: Option<RoutingConfig>,
}

impl Operation for CreateAlias {
    const NAME: &'static str = "CreateAlias";
    type Input = CreateAliasInput;
    type Output = Alias;

    fn needs(input: &Self::Input, default: Need, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        need(&input.function_name, default, cx, tx)
    }

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Self::Output> {
        let named = Named::resolve(&input.function_name, &input.name, cx)?;
        let description = input.description.unwrap_or_default();
        check_description(&description)?;
        named.address.function(tx)?;
        named.check_target(&input.function_version, input.routing_config.as_ref(), tx)?;
        if named.get(tx)?.is_some() {
            return Err(conflict(format!("Alias already exists: {}", named.arn())));
        }
        let present: Vec<Alias> = tx.list(&named.address.scope(), &Parent::Exact(&named.address.function))?;
        if present.len() >= ALIASES_MAX {
            let text = format!("A function can have {ALIASES_MAX} aliases.");
            return Err(user("AliasLimitExceededException", 400, text));
        }
        let alias = Alias {
            alias_arn: named.arn(),
            name: input.name,
            function_version: input.function_version,
            description,
            routing_config: input.routing_config.and_then(routing),
            revision_id: cx.uuid(),
        };
        named.put(&alias, tx)?;
        Ok(alias)
    }
}

/// One alias.
pub struct GetAlias;

/// An alias by name.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct AliasInput {
    function_name: String,
    name: String,
}

impl Operation for GetAlias {
    const NAME: &'static str = "GetAlias";
    type Input = AliasInput;
    type Output = Alias;

    fn needs(input: &Self::Input, default: Need, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        need(&input.function_name, default, cx, tx)
    }

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Self::Output> {
        let named = Named::resolve(&input.function_name, &input.name, cx)?;
        named.get(tx)?.ok_or_else(|| not_found(format!("Cannot find alias arn: {}", named.arn())))
    }
}

/// Changes an alias; what is not given stays.
pub struct UpdateAlias;

/// Input of [`UpdateAlias`].
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct UpdateAliasInput {
    function_name: String,
    name: String,
    function_version: Option<String>,
    description: Option<String>,
    routing_config: Option<RoutingConfig>,
    revision_id: Option<String>,
}

impl Operation for UpdateAlias {
    const NAME: &'static str = "UpdateAlias";
    type Input = UpdateAliasInput;
    type Output = Alias;

    fn needs(input: &Self::Input, default: Need, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        need(&input.function_name, default, cx, tx)
    }

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Self::Output> {
        let named = Named::resolve(&input.function_name, &input.name, cx)?;
        let mut alias = named.get(tx)?.ok_or_else(|| not_found(format!("Alias not found: {}", named.arn())))?;
        check_revision(&alias.revision_id, input.revision_id.as_deref())?;
        if let Some(description) = input.description {
            check_description(&description)?;
            alias.description = description;
        }
        if let Some(version) = input.function_version {
            alias.function_version = version;
        }
        if let Some(given) = input.routing_config {
            alias.routing_config = routing(given);
        }
        named.check_target(&alias.function_version, alias.routing_config.as_ref(), tx)?;
        named.check_provisioned(&alias, tx)?;
        alias.revision_id = cx.uuid();
        named.put(&alias, tx)?;
        Ok(alias)
    }
}

/// Deletes an alias with its permissions; one that is not there is a success, as on AWS.
pub struct DeleteAlias;

impl Operation for DeleteAlias {
    const NAME: &'static str = "DeleteAlias";
    type Input = AliasInput;
    type Output = Map<String, Value>;

    fn needs(input: &Self::Input, default: Need, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        need(&input.function_name, default, cx, tx)
    }

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Self::Output> {
        let named = Named::resolve(&input.function_name, &input.name, cx)?;
        named.address.function(tx)?;
        let scope = named.address.scope();
        tx.delete::<Alias>(&scope, &named.address.function, &named.name);
        tx.delete::<ResourcePolicy>(&scope, &named.address.function, &named.name);
        tx.delete::<EventInvokeConfig>(&scope, &named.address.function, &named.name);
        provisioned::remove(&scope, &named.address.function, Some(&named.name), tx)?;
        Ok(Map::new())
    }
}

/// A function's aliases.
pub struct ListAliases;

/// Input of [`ListAliases`].
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ListAliasesInput {
    function_name: String,
    function_version: Option<String>,
    marker: Option<String>,
    max_items: Option<i64>,
}

/// Output of [`ListAliases`].
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ListAliasesOutput {
    aliases: Vec<Alias>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_marker: Option<String>,
}

impl Operation for ListAliases {
    const NAME: &'static str = "ListAliases";
    type Input = ListAliasesInput;
    type Output = ListAliasesOutput;

    fn needs(input: &Self::Input, default: Need, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        need(&input.function_name, default, cx, tx)
    }

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Self::Output> {
        let address = Address::resolve_unqualified(&input.function_name, cx)?;
        address.function(tx)?;
        let limit = paging::limit(input.max_items);
        let after = paging::after(input.marker.as_deref())?;
        // Bounded by `ALIASES_MAX`, so that filtering by version needs no second index.
        let rows = tx.page::<Alias>(&address.scope(), &address.function, after.as_deref(), ALIASES_MAX)?;
        let wanted = |alias: &Alias| input.function_version.as_deref().is_none_or(|version| alias.leads_to(version));
        let rows: Vec<_> = rows.into_iter().filter(|(_, alias)| wanted(alias)).take(limit.saturating_add(1)).collect();
        let (aliases, next_marker) = paging::cut(rows, limit);
        Ok(ListAliasesOutput { aliases, next_marker })
    }
}

#[cfg(test)]
mod tests;
