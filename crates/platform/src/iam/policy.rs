//! `Policy`: a managed policy of an account, with up to five versions, and the look-up of AWS's own.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use service::{Cx, Entry, Need, Operation, Parent, Record, Result, Scope, ServiceError, Timestamp, Tx};

use super::attachment::{self, Use};
use super::document::{self, Quota};
use super::entity::{arn, key, split_arn};
use super::error::{already_exists, delete_conflict, no_such_entity};
use super::page::Window;
use super::tag::{self, Tag};
use super::usage::{self, Counted};
use super::{Done, aws_managed, need};

/// A managed policy. Stored in its account's global scope under its name in lower case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ManagedPolicy {
    /// Name as it was given, at most 128 characters.
    pub policy_name: String,
    /// `/` or `/a/b/`.
    pub path: String,
    /// `ANPA` + 17.
    pub policy_id: String,
    /// 12 digits.
    pub account: String,
    pub create_date: Timestamp,
    /// When the default version last changed.
    pub update_date: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Such as `v1`; always one of `versions`.
    pub default_version_id: String,
    /// The number the next version gets: numbers are not used twice.
    pub next_version: u32,
    /// Oldest first, at least one, at most five.
    pub versions: Vec<Version>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<Tag>,
}

/// One version of a managed policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Version {
    /// Such as `v1`.
    pub version_id: String,
    /// As it was given.
    pub document: String,
    pub create_date: Timestamp,
}

impl Record for ManagedPolicy {
    const NOUN: &'static str = "iam/ManagedPolicy";
}

impl Version {
    pub(crate) fn view(&self, default_version_id: &str, with_document: bool) -> Value {
        let mut version = json!({
            "VersionId": self.version_id,
            "IsDefaultVersion": self.version_id == default_version_id,
            "CreateDate": self.create_date.s(),
        });
        if with_document && let Some(members) = version.as_object_mut() {
            members.insert("Document".into(), document::encode(&self.document).into());
        }
        version
    }
}

impl ManagedPolicy {
    /// Its ARN, path included.
    #[must_use]
    pub fn arn(&self) -> String {
        arn(&self.account, "policy", &self.path, &self.policy_name)
    }

    /// The version in force.
    #[must_use]
    pub fn default_version(&self) -> Option<&Version> {
        self.version(&self.default_version_id)
    }

    /// The version of that id.
    #[must_use]
    pub fn version(&self, id: &str) -> Option<&Version> {
        self.versions.iter().find(|version| version.version_id == id)
    }

    fn summary(&self, in_use: &Use) -> Value {
        json!({
            "PolicyName": self.policy_name,
            "PolicyId": self.policy_id,
            "Arn": self.arn(),
            "Path": self.path,
            "DefaultVersionId": self.default_version_id,
            "AttachmentCount": in_use.attachments,
            "PermissionsBoundaryUsageCount": in_use.boundaries,
            "IsAttachable": true,
            "CreateDate": self.create_date.s(),
            "UpdateDate": self.update_date.s(),
        })
    }

    fn detail(&self, in_use: &Use) -> Value {
        let mut policy = self.summary(in_use);
        if let Some(members) = policy.as_object_mut() {
            if let Some(description) = &self.description {
                members.insert("Description".into(), description.as_str().into());
            }
            members.insert("Tags".into(), json!(self.tags));
        }
        policy
    }
}

/// The customer-managed policy behind an ARN, if `account` owns it.
pub(crate) fn find(tx: &mut Tx<'_>, account: &str, policy_arn: &str) -> Result<Option<ManagedPolicy>> {
    let Some((owner, name)) = split_arn(policy_arn, "policy") else { return Ok(None) };
    if owner != account {
        return Ok(None);
    }
    let policy = tx.get::<ManagedPolicy>(&Scope::global(account), "", &key(name))?;
    Ok(policy.filter(|policy| policy.arn() == policy_arn))
}

/// The customer-managed policy behind an ARN, to change it.
///
/// # Errors
/// `NoSuchEntity`; `AccessDenied` for a policy of AWS, which nobody changes.
pub(crate) fn load(tx: &mut Tx<'_>, cx: &Cx<'_>, policy_arn: &str) -> Result<ManagedPolicy> {
    if aws_managed::find(policy_arn).is_some() {
        // [U] The text; that AWS's policies cannot be changed stands in "Managed policies and inline policies".
        let text = format!("AWS managed policies cannot be changed: {policy_arn}");
        return Err(ServiceError::new("AccessDenied", 403, text));
    }
    find(tx, cx.account(), policy_arn)?.ok_or_else(|| not_found(policy_arn))
}

pub(crate) fn not_found(policy_arn: &str) -> ServiceError {
    no_such_entity(format!("Policy {policy_arn} was not found."))
}

pub(crate) fn save(tx: &mut Tx<'_>, policy: &ManagedPolicy) -> Result<()> {
    tx.put(&Scope::global(policy.account.as_str()), "", &key(&policy.policy_name), policy)
}

/// The document in force of a managed policy that `account` can attach: its own or one of AWS's.
///
/// # Errors
/// 5xx when the store cannot be read.
pub fn default_document(tx: &mut Tx<'_>, account: &str, policy_arn: &str) -> Result<Option<String>> {
    if let Some(policy) = aws_managed::find(policy_arn) {
        return Ok(Some(policy.document.to_owned()));
    }
    let policy = find(tx, account, policy_arn)?;
    Ok(policy.and_then(|policy| policy.default_version().map(|version| version.document.clone())))
}

/// The permission on a policy, with its tags.
pub(crate) fn need_on(policy_arn: &str, mut default: Need, cx: &Cx<'_>, tx: &mut Tx<'_>) -> Result<Need> {
    need::check_session(cx)?;
    policy_arn.clone_into(&mut default.resource);
    if let Some(policy) = find(tx, cx.account(), policy_arn)? {
        default.context.extend(need::resource_tags(&policy.tags));
    }
    Ok(default)
}

/// The members of a call that names a policy.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct PolicyRef {
    pub(crate) policy_arn: String,
}

pub struct CreatePolicy;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct CreatePolicyInput {
    policy_name: String,
    path: Option<String>,
    policy_document: String,
    description: Option<String>,
    #[serde(default)]
    tags: Vec<Tag>,
}

impl Operation for CreatePolicy {
    const NAME: &'static str = "CreatePolicy";
    type Input = CreatePolicyInput;
    type Output = Value;

    fn needs(input: &Self::Input, default: Need, cx: &mut Cx<'_>, _tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        need::create(default, "iam:TagPolicy", &input.tags, None, cx)
    }

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Value> {
        if tx.get::<ManagedPolicy>(&cx.global_scope(), "", &key(&input.policy_name))?.is_some() {
            let name = input.policy_name;
            return Err(already_exists(format!(
                "A policy called {name} already exists. Duplicate names are not allowed."
            )));
        }
        tag::check(&input.tags)?;
        check_document(&input.policy_document)?;
        usage::add(tx, cx.account(), Counted::Policies)?;
        let policy = ManagedPolicy {
            policy_name: input.policy_name,
            path: input.path.unwrap_or_else(|| "/".into()),
            policy_id: cx.iam_id("ANPA", 17),
            account: cx.account().to_owned(),
            create_date: cx.now,
            update_date: cx.now,
            description: input.description.filter(|text| !text.is_empty()),
            default_version_id: "v1".into(),
            next_version: 2,
            versions: vec![Version { version_id: "v1".into(), document: input.policy_document, create_date: cx.now }],
            tags: input.tags,
        };
        save(tx, &policy)?;
        let mut answer = policy.summary(&Use::default());
        if !policy.tags.is_empty()
            && let Some(members) = answer.as_object_mut()
        {
            members.insert("Tags".into(), json!(policy.tags));
        }
        Ok(json!({ "Policy": answer }))
    }
}

/// Checks size and form of a managed policy's document.
///
/// # Errors
/// `LimitExceeded`, `MalformedPolicyDocument`.
pub(crate) fn check_document(text: &str) -> Result<()> {
    document::check_size(text, &Quota::Managed)?;
    document::check_identity(text)
}

pub struct GetPolicy;

impl Operation for GetPolicy {
    const NAME: &'static str = "GetPolicy";
    type Input = PolicyRef;
    type Output = Value;

    fn needs(input: &Self::Input, default: Need, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        Ok(vec![need_on(&input.policy_arn, default, cx, tx)?])
    }

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Value> {
        let in_use = attachment::in_use(tx, cx.account(), &input.policy_arn)?;
        let policy = match aws_managed::find(&input.policy_arn) {
            Some(policy) => policy.view(&in_use, true),
            None => load(tx, cx, &input.policy_arn)?.detail(&in_use),
        };
        Ok(json!({ "Policy": policy }))
    }
}

pub struct ListPolicies;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct ListPoliciesInput {
    scope: Option<String>,
    #[serde(default)]
    only_attached: bool,
    path_prefix: Option<String>,
    policy_usage_filter: Option<String>,
    marker: Option<String>,
    max_items: Option<i64>,
}

impl Operation for ListPolicies {
    const NAME: &'static str = "ListPolicies";
    type Input = ListPoliciesInput;
    type Output = Value;

    fn needs(_input: &Self::Input, default: Need, cx: &mut Cx<'_>, _tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        need::plain(default, cx)
    }

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Value> {
        let window = Window::new(input.marker.as_deref(), input.max_items)?;
        let uses = attachment::all_in_use(tx, cx.account())?;
        let scope = input.scope.as_deref().unwrap_or("All");
        let admits = |path: &str, in_use: &Use| {
            let used = match input.policy_usage_filter.as_deref() {
                Some("PermissionsBoundary") => in_use.boundaries > 0,
                Some(_) => in_use.attachments > 0,
                None => in_use.attachments > 0 || in_use.boundaries > 0,
            };
            let filtered = input.only_attached || input.policy_usage_filter.is_some();
            input.path_prefix.as_ref().is_none_or(|prefix| path.starts_with(prefix.as_str())) && (used || !filtered)
        };
        let none = Use::default();
        let mut all = Vec::new();
        if scope != "AWS" {
            // INVARIANT: at most as many as the quota on policies allows.
            for policy in tx.list::<ManagedPolicy>(&cx.global_scope(), &Parent::Exact(""))? {
                let policy_arn = policy.arn();
                let in_use = uses.get(&policy_arn).unwrap_or(&none);
                if admits(&policy.path, in_use) {
                    all.push((policy_arn, policy.summary(in_use)));
                }
            }
        }
        if scope != "Local" {
            for policy in aws_managed::POLICIES {
                let in_use = uses.get(policy.arn).unwrap_or(&none);
                if admits(policy.path(), in_use) {
                    all.push((policy.arn.to_owned(), policy.view(in_use, false)));
                }
            }
        }
        Ok(window.slice(all).answer("Policies", |policy| policy))
    }
}

pub struct DeletePolicy;

impl Operation for DeletePolicy {
    const NAME: &'static str = "DeletePolicy";
    type Input = PolicyRef;
    type Output = Done;

    fn needs(input: &Self::Input, default: Need, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        Ok(vec![need_on(&input.policy_arn, default, cx, tx)?])
    }

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Done> {
        let policy = load(tx, cx, &input.policy_arn)?;
        let in_use = attachment::in_use(tx, cx.account(), &input.policy_arn)?;
        if in_use != Use::default() {
            return Err(delete_conflict("Cannot delete a policy attached to entities."));
        }
        if policy.versions.len() > 1 {
            return Err(delete_conflict(
                "This policy has more than one version. Before you delete a policy, you must delete the policy's \
                 versions. The default version is deleted with the policy.",
            ));
        }
        usage::remove(tx, cx.account(), Counted::Policies)?;
        tx.delete::<ManagedPolicy>(&cx.global_scope(), "", &key(&policy.policy_name));
        Ok(Done {})
    }
}

/// The operations of this noun.
pub const OPERATIONS: &[Entry] =
    &[Entry::of::<CreatePolicy>(), Entry::of::<GetPolicy>(), Entry::of::<ListPolicies>(), Entry::of::<DeletePolicy>()];
