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
    function::{Function, LayerContent},
    invoke::{LayerCode, Revision},
    life::{State, Status, Update},
    logging::LoggingConfig,
    name::{FunctionName, LATEST},
    permission::ResourcePolicy,
    provisioned::{ProvisionedConcurrency, split},
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
    /// Whether it can run.
    pub readiness: Readiness,
}

/// Whether what is behind a qualifier can run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Readiness {
    /// It can.
    #[default]
    Ready,
    /// It can, and is about to be replaced by what was stored last.
    Updating,
    /// It is being created.
    Pending,
    /// It could not be created.
    Failed,
}

impl Readiness {
    fn of(status: &Status) -> Self {
        match (&status.state, &status.update) {
            (State::Pending, _) => Self::Pending,
            (State::Failed(_), _) => Self::Failed,
            (State::Active, Update::InProgress) => Self::Updating,
            (State::Active, Update::Successful | Update::Failed(_)) => Self::Ready,
        }
    }

    /// The state as AWS names it in the refusal of an invocation; `None` if it can run.
    #[must_use]
    pub fn refusal(self) -> Option<&'static str> {
        match self {
            Self::Ready | Self::Updating => None,
            Self::Pending => Some("Pending"),
            Self::Failed => Some("Failed"),
        }
    }
}

/// Everything there is to know of a function to run it.
#[derive(Debug, Clone, Default)]
pub struct Loaded {
    /// What each qualifier leads to; none if the function is not there.
    pub targets: Vec<(QualifierKey, Target)>,
    /// What is to be prepared before it runs, outcome to be told to [`crate::life::settle`].
    pub unprepared: Vec<Arc<Revision>>,
    /// What is to have environments ready, and how many.
    pub provisioned: Vec<(Arc<Revision>, u32)>,
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

/// One function's records.
#[derive(Debug, Clone, Copy)]
pub struct Records<'a> {
    /// The function.
    pub function: &'a Function,
    /// Its versions.
    pub versions: &'a [Version],
    /// Its aliases.
    pub aliases: &'a [Alias],
    /// The policies of its qualifiers.
    pub policies: &'a [ResourcePolicy],
    /// What its qualifiers are to have ready.
    pub provisioned: &'a [ProvisionedConcurrency],
}

/// Everything one function answers to. `code_path` says where the blob of that name is kept.
///
/// An alias that leads nowhere is left out: an invocation of it finds no function. So is a second version that does not
/// exist, and the first takes its share. A policy that does not parse admits nobody.
pub fn targets(records: &Records<'_>, code_path: impl Fn(&str) -> PathBuf) -> Loaded {
    let Records { function, versions, aliases, policies, provisioned } = *records;
    let arn = function.configuration.function_arn.as_str();
    let Some(base) = QualifierKey::parse(arn) else {
        return Loaded::default();
    };
    let revision = |configuration: &Configuration, blob: &str, run_key: &str, layers: &[LayerContent]| {
        Arc::new(revision(&base, configuration, (blob, run_key, layers), &code_path))
    };
    let next = revision(&function.configuration, &function.code_blob, &function.run_key, &function.layer_contents);
    let latest = match &function.running {
        Some(old) => revision(&old.configuration, &old.code_blob, &old.run_key, &old.layer_contents),
        None => Arc::clone(&next),
    };
    let mut published = Vec::new();
    let mut unprepared = Vec::new();
    if !function.status.is_settled() {
        unprepared.push(next);
    }
    for version in versions {
        let found = revision(&version.configuration, &version.code_blob, &version.run_key, &version.layer_contents);
        if !version.status.is_settled() {
            unprepared.push(Arc::clone(&found));
        }
        published.push((found, Readiness::of(&version.status)));
    }
    let find = |version: &str| {
        if version == LATEST {
            return Some((Arc::clone(&latest), Readiness::of(&function.status)));
        }
        published.iter().find(|(revision, _)| revision.version == version).cloned()
    };
    let entry = |qualifier: &str, (revision, readiness): (Arc<Revision>, Readiness), additional| {
        let own = policies.iter().find(|policy| policy.qualifier == qualifier);
        let target = Target {
            function_arn: if qualifier.is_empty() { arn.to_owned() } else { format!("{arn}:{qualifier}") },
            revision,
            additional,
            resource_policy: own.and_then(|own| Policy::parse(&own.evaluated(), Kind::Resource).ok()).map(Arc::new),
            reserved_concurrency: function.reserved_concurrent_executions,
            readiness,
        };
        (QualifierKey { qualifier: qualifier.to_owned(), ..base.clone() }, target)
    };
    let mut targets: Vec<(QualifierKey, Target)> =
        ["", LATEST].iter().filter_map(|qualifier| Some(entry(qualifier, find(LATEST)?, None))).collect();
    targets.extend(published.iter().map(|found| entry(&found.0.version, found.clone(), None)));
    targets.extend(aliases.iter().filter_map(|alias| {
        let additional = alias.additional().and_then(|(version, weight)| Some((find(version)?.0, weight)));
        Some(entry(&alias.name, find(&alias.function_version)?, additional))
    }));
    let provisioned = ready_numbers(&targets, provisioned);
    Loaded { targets, unprepared, provisioned }
}

fn revision(
    base: &QualifierKey,
    configuration: &Configuration,
    (blob, run_key, layers): (&str, &str, &[LayerContent]),
    code_path: &impl Fn(&str) -> PathBuf,
) -> Revision {
    let layers = layers.iter().map(|layer| LayerCode { sha256: layer.blob.clone(), zip: code_path(&layer.blob) });
    Revision {
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
        layers: layers.collect(),
        logging: configuration.logging.as_ref().map(LoggingConfig::running).unwrap_or_default(),
    }
}

/// How many environments each revision is to have ready: the sum over the qualifiers that lead to it. What cannot run
/// has none.
fn ready_numbers(
    targets: &[(QualifierKey, Target)],
    provisioned: &[ProvisionedConcurrency],
) -> Vec<(Arc<Revision>, u32)> {
    let mut numbers: Vec<(Arc<Revision>, u32)> = Vec::new();
    let mut add = |revision: &Arc<Revision>, number: u32| {
        match numbers.iter_mut().find(|(known, _)| known.version == revision.version) {
            Some((_, sum)) => *sum = sum.saturating_add(number),
            None => numbers.push((Arc::clone(revision), number)),
        };
    };
    for wanted in provisioned {
        let Some((_, target)) = targets.iter().find(|(key, _)| key.qualifier == wanted.qualifier) else { continue };
        if target.readiness.refusal().is_some() {
            continue;
        }
        match &target.additional {
            Some((second, weight)) => {
                let (of_first, of_second) = split(wanted.requested, *weight);
                add(&target.revision, of_first);
                add(second, of_second);
            }
            None => add(&target.revision, wanted.requested),
        }
    }
    numbers
}

/// Reads one function's records and builds its [`targets`]; none if the function is not there.
///
/// # Errors
/// 5xx when the store cannot be read.
pub fn load(scope: &Scope, function: &str, tx: &mut Tx<'_>, code_path: impl Fn(&str) -> PathBuf) -> Result<Loaded> {
    let Some(found) = tx.get::<Function>(scope, "", function)? else {
        return Ok(Loaded::default());
    };
    let parent = Parent::Exact(function);
    let records = Records {
        function: &found,
        versions: &tx.list(scope, &parent)?,
        aliases: &tx.list(scope, &parent)?,
        policies: &tx.list(scope, &parent)?,
        provisioned: &tx.list(scope, &parent)?,
    };
    Ok(targets(&records, code_path))
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
