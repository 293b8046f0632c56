//! `Role`: an identity others assume.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use service::{Cx, Entry, Identity, Need, Operation, Record, Result, Timestamp, Tx};

use super::entity::{Entity, EntityKind, Grants, find, find_by_arn, key, load, save};
use super::error::already_exists;
use super::page::Asked;
use super::permissions_boundary::{self, attached_boundary};
use super::tag::{self, Tag};
use super::usage::{self, Counted};
use super::user::check_policies_gone;
use super::{Done, document, need, trust};

/// The longest session a role allows unless it says otherwise, and the longest of a chained session, in seconds.
pub const SESSION_S_DEFAULT: i64 = 3600;

/// A role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Role {
    /// Name as it was given, at most 64 characters.
    pub role_name: String,
    /// `/` or `/a/b/`.
    pub path: String,
    /// `AROA` + 17.
    pub role_id: String,
    /// 12 digits.
    pub account: String,
    pub create_date: Timestamp,
    /// The trust policy as it was given.
    pub assume_role_policy_document: String,
    /// Unique ids behind the ARNs of users and roles the trust policy names, as they were when it was written.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub trusted_ids: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Seconds, 3,600 to 43,200.
    pub max_session_duration: i64,
    /// Policies and tags.
    #[serde(default)]
    pub grants: Grants,
}

impl Record for Role {
    const NOUN: &'static str = "iam/Role";
}

impl Entity for Role {
    const KIND: EntityKind = EntityKind::Role;
    const INLINE_CHARS_MAX: usize = 10_240;

    fn name(&self) -> &str {
        &self.role_name
    }

    fn path(&self) -> &str {
        &self.path
    }

    fn id(&self) -> &str {
        &self.role_id
    }

    fn account(&self) -> &str {
        &self.account
    }

    fn grants(&self) -> &Grants {
        &self.grants
    }

    fn grants_mut(&mut self) -> &mut Grants {
        &mut self.grants
    }
}

/// What a role answers beside its common members.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum View {
    Created,
    Listed,
    Full,
}

impl Role {
    /// Who a session of this role stands for.
    #[must_use]
    pub fn identity(&self, session_name: &str) -> Identity {
        Identity::Role {
            name: self.role_name.clone(),
            path: self.path.clone(),
            id: self.role_id.clone(),
            session_name: session_name.to_owned(),
        }
    }

    /// The trust policy as it is to be evaluated: users and roles by unique id.
    ///
    /// # Errors
    /// 5xx when the stored text cannot be read.
    pub fn bound_trust(&self) -> Result<String> {
        trust::bound_text(&self.assume_role_policy_document, &self.trusted_ids)
    }

    fn view(&self, view: View) -> Value {
        let mut role = json!({
            "Path": self.path,
            "RoleName": self.role_name,
            "RoleId": self.role_id,
            "Arn": self.arn(),
            "CreateDate": self.create_date.s(),
            "AssumeRolePolicyDocument": document::encode(&self.assume_role_policy_document),
        });
        let Some(members) = role.as_object_mut() else { return role };
        if let Some(description) = &self.description {
            members.insert("Description".into(), description.as_str().into());
        }
        if view != View::Created || self.max_session_duration != SESSION_S_DEFAULT {
            members.insert("MaxSessionDuration".into(), self.max_session_duration.into());
        }
        if view == View::Listed {
            return role;
        }
        if let Some(boundary) = &self.grants.permissions_boundary {
            members.insert("PermissionsBoundary".into(), attached_boundary(boundary));
        }
        if !self.grants.tags.is_empty() {
            members.insert("Tags".into(), json!(self.grants.tags));
        }
        if view == View::Full {
            members.insert("RoleLastUsed".into(), json!({}));
        }
        role
    }
}

/// The role behind an ARN of any account of this installation, and its trust policy as it is to be evaluated (see
/// [`Role::bound_trust`]). The whole ARN must fit, path included; `None` where there is no such role.
///
/// # Errors
/// 5xx when the store cannot be read.
pub fn trust_document(tx: &mut Tx<'_>, role_arn: &str) -> Result<Option<(Role, String)>> {
    let Some(role) = find_by_arn::<Role>(tx, role_arn)? else { return Ok(None) };
    let trust = role.bound_trust()?;
    Ok(Some((role, trust)))
}

/// The members of a call that names a role.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct RoleRef {
    pub(crate) role_name: String,
}

pub struct CreateRole;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct CreateRoleInput {
    role_name: String,
    path: Option<String>,
    assume_role_policy_document: String,
    description: Option<String>,
    max_session_duration: Option<i64>,
    permissions_boundary: Option<String>,
    #[serde(default)]
    tags: Vec<Tag>,
}

impl Operation for CreateRole {
    const NAME: &'static str = "CreateRole";
    type Input = CreateRoleInput;
    type Output = Value;

    fn needs(input: &Self::Input, default: Need, cx: &mut Cx<'_>, _tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        need::create(default, "iam:TagRole", &input.tags, input.permissions_boundary.as_deref(), cx)
    }

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Value> {
        if find::<Role>(tx, cx.account(), &input.role_name)?.is_some() {
            return Err(already_exists(format!("Role with name {} already exists.", input.role_name)));
        }
        tag::check(&input.tags)?;
        let trusted_ids = trust::bind(tx, &input.assume_role_policy_document)?;
        usage::add(tx, cx.account(), Counted::Roles)?;
        let mut role = Role {
            role_name: input.role_name,
            path: input.path.unwrap_or_else(|| "/".into()),
            role_id: cx.iam_id("AROA", 17),
            account: cx.account().to_owned(),
            create_date: cx.now,
            assume_role_policy_document: input.assume_role_policy_document,
            trusted_ids,
            description: input.description,
            max_session_duration: input.max_session_duration.unwrap_or(SESSION_S_DEFAULT),
            grants: Grants { tags: input.tags, ..Grants::default() },
        };
        if let Some(boundary) = &input.permissions_boundary {
            permissions_boundary::set(tx, &mut role, boundary)?;
        }
        save(tx, &role)?;
        Ok(json!({ "Role": role.view(View::Created) }))
    }
}

pub struct GetRole;

impl Operation for GetRole {
    const NAME: &'static str = "GetRole";
    type Input = RoleRef;
    type Output = Value;

    fn needs(input: &Self::Input, default: Need, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        Ok(vec![need::on::<Role>(&input.role_name, default, cx, tx)?])
    }

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Value> {
        Ok(json!({ "Role": load::<Role>(tx, cx.account(), &input.role_name)?.view(View::Full) }))
    }
}

pub struct ListRoles;

impl Operation for ListRoles {
    const NAME: &'static str = "ListRoles";
    type Input = Asked;
    type Output = Value;

    fn needs(_input: &Self::Input, default: Need, cx: &mut Cx<'_>, _tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        need::plain(default, cx)
    }

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Value> {
        let page = input.window()?.records::<Role>(tx, &cx.global_scope(), "", |role| input.admits(&role.path))?;
        Ok(page.answer("Roles", |role| role.view(View::Listed)))
    }
}

pub struct UpdateRole;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct UpdateRoleInput {
    role_name: String,
    description: Option<String>,
    max_session_duration: Option<i64>,
}

/// [U] A member left out keeps its value; AWS's page speaks of a default, which a recorded answer would settle.
impl Operation for UpdateRole {
    const NAME: &'static str = "UpdateRole";
    type Input = UpdateRoleInput;
    type Output = Done;

    fn needs(input: &Self::Input, default: Need, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        Ok(vec![need::on::<Role>(&input.role_name, default, cx, tx)?])
    }

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Done> {
        let mut role = load::<Role>(tx, cx.account(), &input.role_name)?;
        if let Some(description) = input.description {
            role.description = Some(description).filter(|text| !text.is_empty());
        }
        if let Some(seconds) = input.max_session_duration {
            role.max_session_duration = seconds;
        }
        save(tx, &role)?;
        Ok(Done {})
    }
}

pub struct UpdateRoleDescription;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct UpdateRoleDescriptionInput {
    role_name: String,
    description: String,
}

impl Operation for UpdateRoleDescription {
    const NAME: &'static str = "UpdateRoleDescription";
    type Input = UpdateRoleDescriptionInput;
    type Output = Value;

    fn needs(input: &Self::Input, default: Need, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        Ok(vec![need::on::<Role>(&input.role_name, default, cx, tx)?])
    }

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Value> {
        let mut role = load::<Role>(tx, cx.account(), &input.role_name)?;
        role.description = Some(input.description).filter(|text| !text.is_empty());
        save(tx, &role)?;
        Ok(json!({ "Role": role.view(View::Full) }))
    }
}

pub struct UpdateAssumeRolePolicy;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct UpdateAssumeRolePolicyInput {
    role_name: String,
    policy_document: String,
}

impl Operation for UpdateAssumeRolePolicy {
    const NAME: &'static str = "UpdateAssumeRolePolicy";
    type Input = UpdateAssumeRolePolicyInput;
    type Output = Done;

    fn needs(input: &Self::Input, default: Need, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        Ok(vec![need::on::<Role>(&input.role_name, default, cx, tx)?])
    }

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Done> {
        let mut role = load::<Role>(tx, cx.account(), &input.role_name)?;
        role.trusted_ids = trust::bind(tx, &input.policy_document)?;
        role.assume_role_policy_document = input.policy_document;
        save(tx, &role)?;
        Ok(Done {})
    }
}

pub struct DeleteRole;

impl Operation for DeleteRole {
    const NAME: &'static str = "DeleteRole";
    type Input = RoleRef;
    type Output = Done;

    fn needs(input: &Self::Input, default: Need, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        Ok(vec![need::on::<Role>(&input.role_name, default, cx, tx)?])
    }

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Done> {
        let mut role = load::<Role>(tx, cx.account(), &input.role_name)?;
        check_policies_gone(&role)?;
        permissions_boundary::clear(tx, &mut role)?;
        usage::remove(tx, cx.account(), Counted::Roles)?;
        tx.delete::<Role>(&cx.global_scope(), "", &key(&role.role_name));
        Ok(Done {})
    }
}

/// The operations of this noun.
pub const OPERATIONS: &[Entry] = &[
    Entry::of::<CreateRole>(),
    Entry::of::<GetRole>(),
    Entry::of::<ListRoles>(),
    Entry::of::<UpdateRole>(),
    Entry::of::<UpdateRoleDescription>(),
    Entry::of::<UpdateAssumeRolePolicy>(),
    Entry::of::<DeleteRole>(),
];
