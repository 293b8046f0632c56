//! Permissions boundaries: a managed policy that limits whatever a user or role is otherwise allowed.

use serde::Deserialize;
use serde_json::{Value, json};
use service::{Cx, Entry, Need, Operation, Result, Tx};

use super::attached_policy::check_attachable;
use super::attachment::{self, Way};
use super::entity::{Entity, load, save};
use super::error::no_such_entity;
use super::role::{Role, RoleRef};
use super::user::{User, UserRef};
use super::{Done, need};

/// The member `PermissionsBoundary` of a user or role in answers.
pub(crate) fn attached_boundary(arn: &str) -> Value {
    json!({ "PermissionsBoundaryType": "PermissionsBoundaryPolicy", "PermissionsBoundaryArn": arn })
}

/// Sets or replaces the boundary of an entity that the caller saves.
///
/// # Errors
/// As [`check_attachable`].
pub(crate) fn set<E: Entity>(tx: &mut Tx<'_>, entity: &mut E, arn: &str) -> Result<()> {
    check_attachable(tx, entity.account(), arn)?;
    clear(tx, entity)?;
    attachment::note(tx, entity, arn, Way::PermissionsBoundary)?;
    entity.grants_mut().permissions_boundary = Some(arn.to_owned());
    Ok(())
}

/// Removes the boundary of an entity that the caller saves or deletes; `false` if there was none.
pub(crate) fn clear<E: Entity>(tx: &mut Tx<'_>, entity: &mut E) -> Result<bool> {
    let Some(old) = entity.grants_mut().permissions_boundary.take() else { return Ok(false) };
    attachment::forget(tx, entity, &old, Way::PermissionsBoundary)?;
    Ok(true)
}

fn put<E: Entity>(name: &str, arn: &str, cx: &Cx<'_>, tx: &mut Tx<'_>) -> Result<Done> {
    let mut entity = load::<E>(tx, cx.account(), name)?;
    set(tx, &mut entity, arn)?;
    save(tx, &entity)?;
    Ok(Done {})
}

fn delete<E: Entity>(name: &str, cx: &Cx<'_>, tx: &mut Tx<'_>) -> Result<Done> {
    let mut entity = load::<E>(tx, cx.account(), name)?;
    if !clear(tx, &mut entity)? {
        // [U] The text; AWS's page lists NoSuchEntity.
        return Err(no_such_entity(format!("The {} {name} does not have a permissions boundary.", E::KIND.word())));
    }
    save(tx, &entity)?;
    Ok(Done {})
}

/// The permission to put a boundary: the condition key is the boundary asked for.
fn need_put<E: Entity>(name: &str, arn: &str, default: Need, cx: &Cx<'_>, tx: &mut Tx<'_>) -> Result<Vec<Need>> {
    let mut need = need::on::<E>(name, default, cx, tx)?;
    need.context.push(need::boundary_key(arn));
    Ok(vec![need])
}

pub struct PutUserPermissionsBoundary;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct PutUserPermissionsBoundaryInput {
    user_name: String,
    permissions_boundary: String,
}

impl Operation for PutUserPermissionsBoundary {
    const NAME: &'static str = "PutUserPermissionsBoundary";
    type Input = PutUserPermissionsBoundaryInput;
    type Output = Done;

    fn needs(input: &Self::Input, default: Need, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        need_put::<User>(&input.user_name, &input.permissions_boundary, default, cx, tx)
    }

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Done> {
        put::<User>(&input.user_name, &input.permissions_boundary, cx, tx)
    }
}

pub struct PutRolePermissionsBoundary;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct PutRolePermissionsBoundaryInput {
    role_name: String,
    permissions_boundary: String,
}

impl Operation for PutRolePermissionsBoundary {
    const NAME: &'static str = "PutRolePermissionsBoundary";
    type Input = PutRolePermissionsBoundaryInput;
    type Output = Done;

    fn needs(input: &Self::Input, default: Need, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        need_put::<Role>(&input.role_name, &input.permissions_boundary, default, cx, tx)
    }

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Done> {
        put::<Role>(&input.role_name, &input.permissions_boundary, cx, tx)
    }
}

pub struct DeleteUserPermissionsBoundary;

impl Operation for DeleteUserPermissionsBoundary {
    const NAME: &'static str = "DeleteUserPermissionsBoundary";
    type Input = UserRef;
    type Output = Done;

    fn needs(input: &Self::Input, default: Need, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        Ok(vec![need::on_bounded::<User>(&input.user_name, default, cx, tx)?])
    }

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Done> {
        delete::<User>(&input.user_name, cx, tx)
    }
}

pub struct DeleteRolePermissionsBoundary;

impl Operation for DeleteRolePermissionsBoundary {
    const NAME: &'static str = "DeleteRolePermissionsBoundary";
    type Input = RoleRef;
    type Output = Done;

    fn needs(input: &Self::Input, default: Need, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        Ok(vec![need::on_bounded::<Role>(&input.role_name, default, cx, tx)?])
    }

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Done> {
        delete::<Role>(&input.role_name, cx, tx)
    }
}

/// The operations of this noun.
pub const OPERATIONS: &[Entry] = &[
    Entry::of::<PutUserPermissionsBoundary>(),
    Entry::of::<DeleteUserPermissionsBoundary>(),
    Entry::of::<PutRolePermissionsBoundary>(),
    Entry::of::<DeleteRolePermissionsBoundary>(),
];
