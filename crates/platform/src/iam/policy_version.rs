//! Versions of managed policies.

use serde::Deserialize;
use serde_json::{Value, json};
use service::{Cx, Entry, Need, Operation, Result, Tx};

use super::Done;
use super::aws_managed;
use super::error::{delete_conflict, limit_exceeded, no_such_entity};
use super::page::Window;
use super::policy::{self, ManagedPolicy, Version, check_document, need_on};

/// The most versions one policy keeps.
pub const VERSIONS_MAX: usize = 5;

fn missing(policy_arn: &str, version_id: &str) -> service::ServiceError {
    no_such_entity(format!("Policy {policy_arn} version {version_id} does not exist or is not attachable."))
}

/// The members of a call that names a version.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct VersionRef {
    policy_arn: String,
    version_id: String,
}

pub struct CreatePolicyVersion;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct CreatePolicyVersionInput {
    policy_arn: String,
    policy_document: String,
    #[serde(default)]
    set_as_default: bool,
}

impl Operation for CreatePolicyVersion {
    const NAME: &'static str = "CreatePolicyVersion";
    type Input = CreatePolicyVersionInput;
    type Output = Value;

    fn needs(input: &Self::Input, default: Need, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        Ok(vec![need_on(&input.policy_arn, default, cx, tx)?])
    }

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Value> {
        let mut policy = policy::load(tx, cx, &input.policy_arn)?;
        check_document(&input.policy_document)?;
        if policy.versions.len() >= VERSIONS_MAX {
            return Err(limit_exceeded(format!(
                "A managed policy can have up to {VERSIONS_MAX} versions. Before you create a new version, you must \
                 delete an existing version."
            )));
        }
        let version_id = format!("v{}", policy.next_version);
        policy.next_version = policy.next_version.saturating_add(1);
        let version = Version { version_id: version_id.clone(), document: input.policy_document, create_date: cx.now };
        if input.set_as_default {
            policy.default_version_id = version_id;
            policy.update_date = cx.now;
        }
        let answer = json!({ "PolicyVersion": version.view(&policy.default_version_id, false) });
        policy.versions.push(version);
        policy::save(tx, &policy)?;
        Ok(answer)
    }
}

pub struct GetPolicyVersion;

impl Operation for GetPolicyVersion {
    const NAME: &'static str = "GetPolicyVersion";
    type Input = VersionRef;
    type Output = Value;

    fn needs(input: &Self::Input, default: Need, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        Ok(vec![need_on(&input.policy_arn, default, cx, tx)?])
    }

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Value> {
        let (default, versions) = versions(tx, cx, &input.policy_arn)?;
        let version = versions.iter().find(|version| version.version_id == input.version_id);
        let version = version.ok_or_else(|| missing(&input.policy_arn, &input.version_id))?;
        Ok(json!({ "PolicyVersion": version.view(&default, true) }))
    }
}

/// The default version's id and all versions of an own policy or one of AWS's.
fn versions(tx: &mut Tx<'_>, cx: &Cx<'_>, policy_arn: &str) -> Result<(String, Vec<Version>)> {
    if let Some(policy) = aws_managed::find(policy_arn) {
        return Ok((policy.version_id.to_owned(), vec![policy.version()]));
    }
    let policy = policy::load(tx, cx, policy_arn)?;
    Ok((policy.default_version_id, policy.versions))
}

pub struct ListPolicyVersions;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct ListPolicyVersionsInput {
    policy_arn: String,
    marker: Option<String>,
    max_items: Option<i64>,
}

impl Operation for ListPolicyVersions {
    const NAME: &'static str = "ListPolicyVersions";
    type Input = ListPolicyVersionsInput;
    type Output = Value;

    fn needs(input: &Self::Input, default: Need, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        Ok(vec![need_on(&input.policy_arn, default, cx, tx)?])
    }

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Value> {
        let window = Window::new(input.marker.as_deref(), input.max_items)?;
        let (default, versions) = versions(tx, cx, &input.policy_arn)?;
        // Newest first, as AWS lists them: the place counts from the end.
        let newest_first = versions.into_iter().rev().enumerate();
        let all = newest_first.map(|(at, version)| (format!("{at:04}"), version.view(&default, false))).collect();
        Ok(window.slice(all).answer("Versions", |version| version))
    }
}

pub struct SetDefaultPolicyVersion;

impl Operation for SetDefaultPolicyVersion {
    const NAME: &'static str = "SetDefaultPolicyVersion";
    type Input = VersionRef;
    type Output = Done;

    fn needs(input: &Self::Input, default: Need, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        Ok(vec![need_on(&input.policy_arn, default, cx, tx)?])
    }

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Done> {
        let mut policy = own_with_version(tx, cx, &input)?;
        policy.default_version_id = input.version_id;
        policy.update_date = cx.now;
        policy::save(tx, &policy)?;
        Ok(Done {})
    }
}

pub struct DeletePolicyVersion;

impl Operation for DeletePolicyVersion {
    const NAME: &'static str = "DeletePolicyVersion";
    type Input = VersionRef;
    type Output = Done;

    fn needs(input: &Self::Input, default: Need, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        Ok(vec![need_on(&input.policy_arn, default, cx, tx)?])
    }

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Done> {
        let mut policy = own_with_version(tx, cx, &input)?;
        if policy.default_version_id == input.version_id {
            return Err(delete_conflict("Cannot delete the default version of a policy."));
        }
        policy.versions.retain(|version| version.version_id != input.version_id);
        policy::save(tx, &policy)?;
        Ok(Done {})
    }
}

fn own_with_version(tx: &mut Tx<'_>, cx: &Cx<'_>, named: &VersionRef) -> Result<ManagedPolicy> {
    let policy = policy::load(tx, cx, &named.policy_arn)?;
    if policy.version(&named.version_id).is_none() {
        return Err(missing(&named.policy_arn, &named.version_id));
    }
    Ok(policy)
}

/// The operations of this noun.
pub const OPERATIONS: &[Entry] = &[
    Entry::of::<CreatePolicyVersion>(),
    Entry::of::<GetPolicyVersion>(),
    Entry::of::<ListPolicyVersions>(),
    Entry::of::<SetDefaultPolicyVersion>(),
    Entry::of::<DeletePolicyVersion>(),
];
