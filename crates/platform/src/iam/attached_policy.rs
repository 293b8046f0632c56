//! Attaching and detaching managed policies.

use serde::Deserialize;
use serde_json::{Value, json};
use service::{Cx, Entry, Need, Operation, Result, Tx};

use super::attachment::{self, Way};
use super::entity::{Entity, load, save};
use super::error::{limit_exceeded, no_such_entity, validation};
use super::page::Window;
use super::role::Role;
use super::user::User;
use super::{Done, aws_managed, need, policy};

/// The most managed policies attached to one user or role.
///
/// Source: IAM User Guide, "IAM and AWS STS quotas".
pub const ATTACHED_MAX: usize = 10;

/// Checks that an ARN is one of a policy the account can attach.
///
/// # Errors
/// `ValidationError` for what is no ARN, `NoSuchEntity` for one without a policy.
pub(crate) fn check_attachable(tx: &mut Tx<'_>, account: &str, arn: &str) -> Result<()> {
    if ::policy::Arn::parse(arn).is_err() {
        return Err(validation("Invalid ARN:  Could not be parsed!"));
    }
    if aws_managed::find(arn).is_none() && policy::find(tx, account, arn)?.is_none() {
        return Err(no_such_entity(format!("Policy {arn} does not exist or is not attachable.")));
    }
    Ok(())
}

fn attach<E: Entity>(name: &str, arn: &str, cx: &Cx<'_>, tx: &mut Tx<'_>) -> Result<Done> {
    let mut entity = load::<E>(tx, cx.account(), name)?;
    check_attachable(tx, cx.account(), arn)?;
    if entity.grants().attached_policies.iter().any(|attached| attached == arn) {
        return Ok(Done {});
    }
    if entity.grants().attached_policies.len() >= ATTACHED_MAX {
        let quota = E::KIND.title();
        return Err(limit_exceeded(format!("Cannot exceed quota for PoliciesPer{quota}: {ATTACHED_MAX}")));
    }
    attachment::note(tx, &entity, arn, Way::PermissionsPolicy)?;
    entity.grants_mut().attached_policies.push(arn.to_owned());
    save(tx, &entity)?;
    Ok(Done {})
}

fn detach<E: Entity>(name: &str, arn: &str, cx: &Cx<'_>, tx: &mut Tx<'_>) -> Result<Done> {
    let mut entity = load::<E>(tx, cx.account(), name)?;
    if ::policy::Arn::parse(arn).is_err() {
        return Err(validation("Invalid ARN:  Could not be parsed!"));
    }
    if !entity.grants().attached_policies.iter().any(|attached| attached == arn) {
        return Err(no_such_entity(format!("Policy {arn} was not found.")));
    }
    attachment::forget(tx, &entity, arn, Way::PermissionsPolicy)?;
    entity.grants_mut().attached_policies.retain(|attached| attached != arn);
    save(tx, &entity)?;
    Ok(Done {})
}

fn need_change<E: Entity>(name: &str, arn: &str, default: Need, cx: &Cx<'_>, tx: &mut Tx<'_>) -> Result<Vec<Need>> {
    let mut need = need::on_bounded::<E>(name, default, cx, tx)?;
    need.context.push(need::policy_key(arn));
    Ok(vec![need])
}

/// The name and path in a policy's ARN.
fn split(arn: &str) -> (&str, &str) {
    let resource = arn.split_once(":policy").map_or("", |(_, resource)| resource);
    match resource.rfind('/') {
        Some(at) => (resource.get(at + 1..).unwrap_or_default(), resource.get(..=at).unwrap_or_default()),
        None => (resource, "/"),
    }
}

fn list<E: Entity>(
    name: &str,
    path_prefix: Option<&str>,
    window: Window,
    cx: &Cx<'_>,
    tx: &mut Tx<'_>,
) -> Result<Value> {
    let entity = load::<E>(tx, cx.account(), name)?;
    let attached = entity.grants().attached_policies.iter();
    let kept = attached.filter(|arn| path_prefix.is_none_or(|prefix| split(arn).1.starts_with(prefix)));
    let all = kept.map(|arn| (arn.clone(), json!({ "PolicyName": split(arn).0, "PolicyArn": arn }))).collect();
    Ok(window.slice(all).answer("AttachedPolicies", |policy| policy))
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct UserPolicyInput {
    user_name: String,
    policy_arn: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct RolePolicyInput {
    role_name: String,
    policy_arn: String,
}

pub struct AttachUserPolicy;

impl Operation for AttachUserPolicy {
    const NAME: &'static str = "AttachUserPolicy";
    type Input = UserPolicyInput;
    type Output = Done;

    fn needs(input: &Self::Input, default: Need, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        need_change::<User>(&input.user_name, &input.policy_arn, default, cx, tx)
    }

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Done> {
        attach::<User>(&input.user_name, &input.policy_arn, cx, tx)
    }
}

pub struct AttachRolePolicy;

impl Operation for AttachRolePolicy {
    const NAME: &'static str = "AttachRolePolicy";
    type Input = RolePolicyInput;
    type Output = Done;

    fn needs(input: &Self::Input, default: Need, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        need_change::<Role>(&input.role_name, &input.policy_arn, default, cx, tx)
    }

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Done> {
        attach::<Role>(&input.role_name, &input.policy_arn, cx, tx)
    }
}

pub struct DetachUserPolicy;

impl Operation for DetachUserPolicy {
    const NAME: &'static str = "DetachUserPolicy";
    type Input = UserPolicyInput;
    type Output = Done;

    fn needs(input: &Self::Input, default: Need, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        need_change::<User>(&input.user_name, &input.policy_arn, default, cx, tx)
    }

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Done> {
        detach::<User>(&input.user_name, &input.policy_arn, cx, tx)
    }
}

pub struct DetachRolePolicy;

impl Operation for DetachRolePolicy {
    const NAME: &'static str = "DetachRolePolicy";
    type Input = RolePolicyInput;
    type Output = Done;

    fn needs(input: &Self::Input, default: Need, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        need_change::<Role>(&input.role_name, &input.policy_arn, default, cx, tx)
    }

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Done> {
        detach::<Role>(&input.role_name, &input.policy_arn, cx, tx)
    }
}

pub struct ListAttachedUserPolicies;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct ListAttachedUserPoliciesInput {
    user_name: String,
    path_prefix: Option<String>,
    marker: Option<String>,
    max_items: Option<i64>,
}

impl Operation for ListAttachedUserPolicies {
    const NAME: &'static str = "ListAttachedUserPolicies";
    type Input = ListAttachedUserPoliciesInput;
    type Output = Value;

    fn needs(input: &Self::Input, default: Need, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        Ok(vec![need::on::<User>(&input.user_name, default, cx, tx)?])
    }

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Value> {
        let window = Window::new(input.marker.as_deref(), input.max_items)?;
        list::<User>(&input.user_name, input.path_prefix.as_deref(), window, cx, tx)
    }
}

pub struct ListAttachedRolePolicies;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct ListAttachedRolePoliciesInput {
    role_name: String,
    path_prefix: Option<String>,
    marker: Option<String>,
    max_items: Option<i64>,
}

impl Operation for ListAttachedRolePolicies {
    const NAME: &'static str = "ListAttachedRolePolicies";
    type Input = ListAttachedRolePoliciesInput;
    type Output = Value;

    fn needs(input: &Self::Input, default: Need, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        Ok(vec![need::on::<Role>(&input.role_name, default, cx, tx)?])
    }

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Value> {
        let window = Window::new(input.marker.as_deref(), input.max_items)?;
        list::<Role>(&input.role_name, input.path_prefix.as_deref(), window, cx, tx)
    }
}

/// The operations of this noun.
pub const OPERATIONS: &[Entry] = &[
    Entry::of::<AttachUserPolicy>(),
    Entry::of::<DetachUserPolicy>(),
    Entry::of::<ListAttachedUserPolicies>(),
    Entry::of::<AttachRolePolicy>(),
    Entry::of::<DetachRolePolicy>(),
    Entry::of::<ListAttachedRolePolicies>(),
];
