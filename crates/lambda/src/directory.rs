//! The live view of functions for invocations: what runs behind each qualifier, and who may run it.
//!
//! Built from records by [`targets`] or [`load`] whenever one of them changes; read for every invocation without the
//! store.

use std::{path::PathBuf, sync::Arc};

use policy::{Context, Effect, Kind, Near, Policy, Principal, Request};
use service::{Parent, Result, Scope, Tx};

use crate::{
    alias::Alias,
    check::is_account,
    configuration::Configuration,
    function::Function,
    invoke::Revision,
    name::{FunctionName, LATEST},
    permission::ResourcePolicy,
    version::Version,
};

/// What an invocation is looked up by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QualifierKey {
    /// Owner.
    pub account: String,
    /// Region.
    pub region: String,
    /// Function name.
    pub function: String,
    /// Empty, `$LATEST`, a version number or an alias.
    pub qualifier: String,
}

impl QualifierKey {
    /// The key of a full function ARN as an integration or authorizer URI writes it; `None` for anything less.
    #[must_use]
    pub fn parse(function_arn: &str) -> Option<Self> {
        if !function_arn.starts_with("arn:aws:lambda:") || function_arn.split(':').nth(5) != Some("function") {
            return None;
        }
        let name = FunctionName::parse(function_arn)?;
        Some(Self {
            account: name.account.filter(|account| is_account(account))?,
            region: name.region?,
            function: name.function,
            qualifier: name.qualifier.unwrap_or_default(),
        })
    }
}

/// What runs behind one qualifier, and the policy that says who may run it.
#[derive(Debug, Clone)]
pub struct Target {
    /// ARN with this qualifier.
    pub function_arn: String,
    /// What runs.
    pub revision: Arc<Revision>,
    /// For an alias with two versions: the second and its share of invocations, 0 to 1.
    pub additional: Option<(Arc<Revision>, f64)>,
    /// The policy of this very qualifier; that of the function says nothing about its aliases and versions.
    pub resource_policy: Option<Arc<Policy>>,
    /// Ceiling of simultaneous invocations over all qualifiers of the function.
    pub reserved_concurrency: Option<u32>,
}

impl Target {
    /// The revision one invocation runs; `roll` is drawn evenly from 0 up to, not including, 1.
    #[must_use]
    pub fn draw(&self, roll: f64) -> &Arc<Revision> {
        match &self.additional {
            Some((revision, weight)) if roll < *weight => revision,
            _ => &self.revision,
        }
    }
}

/// Everything one function answers to. `code_path` says where the blob of that name is kept.
///
/// An alias that leads nowhere is left out: an invocation of it finds no function. So is a second version that does not
/// exist, and the first takes its share. A policy that does not parse admits nobody.
pub fn targets(
    function: &Function,
    versions: &[Version],
    aliases: &[Alias],
    policies: &[ResourcePolicy],
    code_path: impl Fn(&str) -> PathBuf,
) -> Vec<(QualifierKey, Target)> {
    let arn = function.configuration.function_arn.as_str();
    let Some(base) = QualifierKey::parse(arn) else {
        return Vec::new();
    };
    let revision = |configuration: &Configuration, blob: &str, run_key: &str| {
        Arc::new(Revision {
            account: base.account.clone(),
            region: base.region.clone(),
            function: base.function.clone(),
            version: configuration.version.clone(),
            revision_id: run_key.to_owned(),
            role_arn: configuration.role.clone(),
            runtime: configuration.runtime.clone(),
            handler: configuration.handler.clone(),
            memory_mb: configuration.memory_size,
            timeout_s: configuration.timeout,
            ephemeral_storage_mb: configuration.ephemeral_storage.size,
            environment: configuration.environment.as_ref().map(|found| found.variables.clone()).unwrap_or_default(),
            code_sha256: blob.to_owned(),
            code_zip: code_path(blob),
            layers: Vec::new(),
        })
    };
    let latest = revision(&function.configuration, &function.code_blob, &function.run_key);
    let published: Vec<_> =
        versions.iter().map(|version| revision(&version.configuration, &version.code_blob, &version.run_key)).collect();
    let find = |version: &str| {
        if version == LATEST {
            return Some(latest.clone());
        }
        published.iter().find(|revision| revision.version == version).cloned()
    };
    let entry = |qualifier: &str, revision: Arc<Revision>, additional: Option<(Arc<Revision>, f64)>| {
        let own = policies.iter().find(|policy| policy.qualifier == qualifier);
        let target = Target {
            function_arn: if qualifier.is_empty() { arn.to_owned() } else { format!("{arn}:{qualifier}") },
            revision,
            additional,
            resource_policy: own.and_then(|own| Policy::parse(&own.evaluated(), Kind::Resource).ok()).map(Arc::new),
            reserved_concurrency: function.reserved_concurrent_executions,
        };
        (QualifierKey { qualifier: qualifier.to_owned(), ..base.clone() }, target)
    };
    let mut entries = vec![entry("", latest.clone(), None), entry(LATEST, latest.clone(), None)];
    entries.extend(published.iter().map(|revision| entry(&revision.version, revision.clone(), None)));
    entries.extend(aliases.iter().filter_map(|alias| {
        let additional = alias.additional().and_then(|(version, weight)| Some((find(version)?, weight)));
        Some(entry(&alias.name, find(&alias.function_version)?, additional))
    }));
    entries
}

/// Reads one function's records and builds its [`targets`]; none if the function is not there.
///
/// # Errors
/// 5xx when the store cannot be read.
pub fn load(
    scope: &Scope,
    function: &str,
    tx: &mut Tx<'_>,
    code_path: impl Fn(&str) -> PathBuf,
) -> Result<Vec<(QualifierKey, Target)>> {
    let Some(found) = tx.get::<Function>(scope, "", function)? else {
        return Ok(Vec::new());
    };
    let parent = Parent::Exact(function);
    let (versions, aliases, policies) = (tx.list(scope, &parent)?, tx.list(scope, &parent)?, tx.list(scope, &parent)?);
    Ok(targets(&found, &versions, &aliases, &policies, code_path))
}

/// Why an invocation is not permitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The qualifier has no policy at all.
    NoPolicy,
    /// No statement of the qualifier's policy allows it; the one that came nearest, and what it failed on.
    NotAllowed(Option<Box<Near>>),
    /// A statement denies it: its `Sid`, if it has one.
    Denied(Option<String>),
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoPolicy => f.write_str("the function has no resource-based policy"),
            Self::NotAllowed(None) => f.write_str("no statement of the function's policy allows it"),
            Self::NotAllowed(Some(near)) => write!(f, "no statement of the function's policy allows it; {near}"),
            Self::Denied(Some(sid)) => write!(f, "statement {sid} of the function's policy denies it"),
            Self::Denied(None) => f.write_str("a statement of the function's policy denies it"),
        }
    }
}

/// Decides whether a function's resource-based policy lets a principal invoke it.
///
/// `target` is what the qualifier in the URI leads to, so only that qualifier's statements count; `function_arn` is the
/// ARN as the URI writes it. A service principal brings no identity policy along, so this decides alone for it; for a
/// role of another account it is the resource's half of the decision.
///
/// `source_arn` is what the caller presents as `aws:SourceArn`: the authorizer's ARN for an authorizer call, the
/// method's for an integration; a role presents none. A condition on a key that is not presented does not match, nor
/// does one on `aws:PrincipalOrgID`, as there are no organisations.
///
/// Sources: Lambda Developer Guide, "Using resource-based policies for Lambda"; IAM User Guide, "Cross-account policy
/// evaluation logic".
///
/// # Errors
/// [`Refusal`] for the log; a client learns neither reason.
pub fn permit(
    target: &Target,
    invoker_principal: &Principal,
    function_arn: &str,
    source_arn: Option<&str>,
    source_account: Option<&str>,
) -> std::result::Result<(), Refusal> {
    let Some(policy) = &target.resource_policy else {
        return Err(Refusal::NoPolicy);
    };
    let mut context = Context::new();
    for (key, value) in [("aws:SourceArn", source_arn), ("aws:SourceAccount", source_account)] {
        if let Some(value) = value {
            context.insert(key, value);
        }
    }
    let request = Request {
        action: "lambda:InvokeFunction",
        resource: function_arn,
        principal: invoker_principal,
        context: &context,
    };
    let verdict = policy.evaluate(&request);
    match verdict.effect {
        Some(Effect::Allow) => Ok(()),
        Some(Effect::Deny) => {
            Err(Refusal::Denied(verdict.statement.and_then(|statement| statement.sid).map(|sid| sid.to_string())))
        }
        None => Err(Refusal::NotAllowed(policy.nearest(&request).map(Box::new))),
    }
}

#[cfg(test)]
mod tests;
