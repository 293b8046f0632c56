//! Inline policies: documents that belong to one user or role and go with it.

use serde::Deserialize;
use serde_json::{Value, json};
use service::{Cx, Entry, Need, Operation, Result, Tx};

use super::entity::{Entity, load, save};
use super::error::{limit_exceeded, no_such_entity};
use super::page::Window;
use super::role::Role;
use super::user::User;
use super::{Done, document, need};

fn put<E: Entity>(name: &str, policy_name: String, text: String, cx: &Cx<'_>, tx: &mut Tx<'_>) -> Result<Done> {
    let mut entity = load::<E>(tx, cx.account(), name)?;
    document::check_identity(&text)?;
    entity.grants_mut().inline_policies.insert(policy_name, text);
    let chars: usize = entity.grants().inline_policies.values().map(|text| document::chars(text)).sum();
    if chars > E::INLINE_CHARS_MAX {
        let (max, word, name) = (E::INLINE_CHARS_MAX, E::KIND.word(), entity.name());
        return Err(limit_exceeded(format!("Maximum policy size of {max} bytes exceeded for {word} {name}")));
    }
    save(tx, &entity)?;
    Ok(Done {})
}

fn missing<E: Entity>(policy_name: &str) -> service::ServiceError {
    no_such_entity(format!("The {} policy with name {policy_name} cannot be found.", E::KIND.word()))
}

fn get<E: Entity>(name: &str, policy_name: &str, cx: &Cx<'_>, tx: &mut Tx<'_>) -> Result<Value> {
    let entity = load::<E>(tx, cx.account(), name)?;
    let text = entity.grants().inline_policies.get(policy_name).ok_or_else(|| missing::<E>(policy_name))?;
    Ok(json!({
        format!("{}Name", E::KIND.title()): entity.name(),
        "PolicyName": policy_name,
        "PolicyDocument": document::encode(text),
    }))
}

fn list<E: Entity>(name: &str, window: Window, cx: &Cx<'_>, tx: &mut Tx<'_>) -> Result<Value> {
    let entity = load::<E>(tx, cx.account(), name)?;
    let names = entity.grants().inline_policies.keys().map(|name| (name.clone(), name.clone())).collect();
    Ok(window.slice(names).answer("PolicyNames", Value::String))
}

fn delete<E: Entity>(name: &str, policy_name: &str, cx: &Cx<'_>, tx: &mut Tx<'_>) -> Result<Done> {
    let mut entity = load::<E>(tx, cx.account(), name)?;
    entity.grants_mut().inline_policies.remove(policy_name).ok_or_else(|| missing::<E>(policy_name))?;
    save(tx, &entity)?;
    Ok(Done {})
}

/// The members of a call that names a user and one of its policies.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct UserPolicyRef {
    user_name: String,
    policy_name: String,
}

pub struct PutUserPolicy;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct PutUserPolicyInput {
    user_name: String,
    policy_name: String,
    policy_document: String,
}

impl Operation for PutUserPolicy {
    const NAME: &'static str = "PutUserPolicy";
    type Input = PutUserPolicyInput;
    type Output = Done;

    fn needs(input: &Self::Input, default: Need, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        Ok(vec![need::on_bounded::<User>(&input.user_name, default, cx, tx)?])
    }

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Done> {
        put::<User>(&input.user_name, input.policy_name, input.policy_document, cx, tx)
    }
}

pub struct GetUserPolicy;

impl Operation for GetUserPolicy {
    const NAME: &'static str = "GetUserPolicy";
    type Input = UserPolicyRef;
    type Output = Value;

    fn needs(input: &Self::Input, default: Need, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        Ok(vec![need::on::<User>(&input.user_name, default, cx, tx)?])
    }

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Value> {
        get::<User>(&input.user_name, &input.policy_name, cx, tx)
    }
}

pub struct ListUserPolicies;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct ListUserPoliciesInput {
    user_name: String,
    marker: Option<String>,
    max_items: Option<i64>,
}

impl Operation for ListUserPolicies {
    const NAME: &'static str = "ListUserPolicies";
    type Input = ListUserPoliciesInput;
    type Output = Value;

    fn needs(input: &Self::Input, default: Need, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        Ok(vec![need::on::<User>(&input.user_name, default, cx, tx)?])
    }

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Value> {
        list::<User>(&input.user_name, Window::new(input.marker.as_deref(), input.max_items)?, cx, tx)
    }
}

pub struct DeleteUserPolicy;

impl Operation for DeleteUserPolicy {
    const NAME: &'static str = "DeleteUserPolicy";
    type Input = UserPolicyRef;
    type Output = Done;

    fn needs(input: &Self::Input, default: Need, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        Ok(vec![need::on_bounded::<User>(&input.user_name, default, cx, tx)?])
    }

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Done> {
        delete::<User>(&input.user_name, &input.policy_name, cx, tx)
    }
}

/// The members of a call that names a role and one of its policies.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct RolePolicyRef {
    role_name: String,
    policy_name: String,
}

pub struct PutRolePolicy;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct PutRolePolicyInput {
    role_name: String,
    policy_name: String,
    policy_document: String,
}

impl Operation for PutRolePolicy {
    const NAME: &'static str = "PutRolePolicy";
    type Input = PutRolePolicyInput;
    type Output = Done;

    fn needs(input: &Self::Input, default: Need, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        Ok(vec![need::on_bounded::<Role>(&input.role_name, default, cx, tx)?])
    }

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Done> {
        put::<Role>(&input.role_name, input.policy_name, input.policy_document, cx, tx)
    }
}

pub struct GetRolePolicy;

impl Operation for GetRolePolicy {
    const NAME: &'static str = "GetRolePolicy";
    type Input = RolePolicyRef;
    type Output = Value;

    fn needs(input: &Self::Input, default: Need, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        Ok(vec![need::on::<Role>(&input.role_name, default, cx, tx)?])
    }

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Value> {
        get::<Role>(&input.role_name, &input.policy_name, cx, tx)
    }
}

pub struct ListRolePolicies;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct ListRolePoliciesInput {
    role_name: String,
    marker: Option<String>,
    max_items: Option<i64>,
}

impl Operation for ListRolePolicies {
    const NAME: &'static str = "ListRolePolicies";
    type Input = ListRolePoliciesInput;
    type Output = Value;

    fn needs(input: &Self::Input, default: Need, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        Ok(vec![need::on::<Role>(&input.role_name, default, cx, tx)?])
    }

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Value> {
        list::<Role>(&input.role_name, Window::new(input.marker.as_deref(), input.max_items)?, cx, tx)
    }
}

pub struct DeleteRolePolicy;

impl Operation for DeleteRolePolicy {
    const NAME: &'static str = "DeleteRolePolicy";
    type Input = RolePolicyRef;
    type Output = Done;

    fn needs(input: &Self::Input, default: Need, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        Ok(vec![need::on_bounded::<Role>(&input.role_name, default, cx, tx)?])
    }

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Done> {
        delete::<Role>(&input.role_name, &input.policy_name, cx, tx)
    }
}

/// The operations of this noun.
pub const OPERATIONS: &[Entry] = &[
    Entry::of::<PutUserPolicy>(),
    Entry::of::<GetUserPolicy>(),
    Entry::of::<ListUserPolicies>(),
    Entry::of::<DeleteUserPolicy>(),
    Entry::of::<PutRolePolicy>(),
    Entry::of::<GetRolePolicy>(),
    Entry::of::<ListRolePolicies>(),
    Entry::of::<DeleteRolePolicy>(),
];
