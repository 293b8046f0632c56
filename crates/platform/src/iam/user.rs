//! `User`: a person or program with keys and policies of its own.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use service::{Cx, Entry, Identity, Need, Operation, Record, Result, Timestamp, Tx};

use super::entity::{Entity, EntityKind, Grants, arn, find, key, load, save};
use super::error::{already_exists, delete_conflict, validation};
use super::page::Asked;
use super::permissions_boundary::{self, attached_boundary};
use super::tag::{self, Tag};
use super::usage::{self, Counted};
use super::{Done, access_key, attachment, need};
use crate::account;

/// A user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct User {
    /// Name as it was given, at most 64 characters.
    pub user_name: String,
    /// `/` or `/a/b/`.
    pub path: String,
    /// `AIDA` + 17.
    pub user_id: String,
    /// 12 digits.
    pub account: String,
    pub create_date: Timestamp,
    /// At most two.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub access_key_ids: Vec<String>,
    /// Policies and tags.
    #[serde(default)]
    pub grants: Grants,
}

impl Record for User {
    const NOUN: &'static str = "iam/User";
}

impl Entity for User {
    const KIND: EntityKind = EntityKind::User;
    const INLINE_CHARS_MAX: usize = 2048;

    fn name(&self) -> &str {
        &self.user_name
    }

    fn path(&self) -> &str {
        &self.path
    }

    fn id(&self) -> &str {
        &self.user_id
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

impl User {
    /// Who a key of this user stands for.
    #[must_use]
    pub fn identity(&self) -> Identity {
        Identity::User { name: self.user_name.clone(), path: self.path.clone(), id: self.user_id.clone() }
    }

    /// As `ListUsers` shows it: neither tags nor boundary.
    fn summary(&self) -> Value {
        json!({
            "Path": self.path,
            "UserName": self.user_name,
            "UserId": self.user_id,
            "Arn": self.arn(),
            "CreateDate": self.create_date.s(),
        })
    }

    fn detail(&self) -> Value {
        let mut user = self.summary();
        if let Some(members) = user.as_object_mut() {
            if let Some(boundary) = &self.grants.permissions_boundary {
                members.insert("PermissionsBoundary".into(), attached_boundary(boundary));
            }
            if !self.grants.tags.is_empty() {
                members.insert("Tags".into(), json!(self.grants.tags));
            }
        }
        user
    }
}

/// The name a call is about: the one given, else the caller's own; `None` for root itself.
///
/// # Errors
/// `ValidationError` for a role session, which is nobody's user.
pub(crate) fn addressed(given: Option<&str>, cx: &Cx<'_>) -> Result<Option<String>> {
    match (given, &cx.caller.identity) {
        (Some(name), _) => Ok(Some(name.to_owned())),
        (None, Identity::User { name, .. }) => Ok(Some(name.clone())),
        (None, Identity::Root) => Ok(None),
        (None, Identity::Role { .. }) => {
            Err(validation("Must specify userName when calling with non-User credentials"))
        }
    }
}

/// The permission on the user a call is about, or on the root identity.
pub(crate) fn need_on_addressed(
    given: Option<&str>,
    mut default: Need,
    cx: &Cx<'_>,
    tx: &mut Tx<'_>,
) -> Result<Vec<Need>> {
    match addressed(given, cx)? {
        Some(name) => {
            // The default has no name to go by when the caller means itself.
            default.resource = arn(cx.account(), "user", "/", &name);
            Ok(vec![need::on::<User>(&name, default, cx, tx)?])
        }
        None => {
            need::check_session(cx)?;
            default.resource = cx.caller.arn();
            Ok(vec![default])
        }
    }
}

/// The members of a call that names a user.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct UserRef {
    pub(crate) user_name: String,
}

/// The members of a call that names a user or means the caller.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct SelfOrUser {
    pub(crate) user_name: Option<String>,
}

pub struct CreateUser;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct CreateUserInput {
    user_name: String,
    path: Option<String>,
    permissions_boundary: Option<String>,
    #[serde(default)]
    tags: Vec<Tag>,
}

impl Operation for CreateUser {
    const NAME: &'static str = "CreateUser";
    type Input = CreateUserInput;
    type Output = Value;

    fn needs(input: &Self::Input, default: Need, cx: &mut Cx<'_>, _tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        need::create(default, "iam:TagUser", &input.tags, input.permissions_boundary.as_deref(), cx)
    }

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Value> {
        if find::<User>(tx, cx.account(), &input.user_name)?.is_some() {
            return Err(already_exists(format!("User with name {} already exists.", input.user_name)));
        }
        tag::check(&input.tags)?;
        usage::add(tx, cx.account(), Counted::Users)?;
        let mut user = User {
            user_name: input.user_name,
            path: input.path.unwrap_or_else(|| "/".into()),
            user_id: cx.iam_id("AIDA", 17),
            account: cx.account().to_owned(),
            create_date: cx.now,
            access_key_ids: Vec::new(),
            grants: Grants { tags: input.tags, ..Grants::default() },
        };
        if let Some(boundary) = &input.permissions_boundary {
            permissions_boundary::set(tx, &mut user, boundary)?;
        }
        save(tx, &user)?;
        Ok(json!({ "User": user.detail() }))
    }
}

pub struct GetUser;

impl Operation for GetUser {
    const NAME: &'static str = "GetUser";
    type Input = SelfOrUser;
    type Output = Value;

    fn needs(input: &Self::Input, default: Need, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        need_on_addressed(input.user_name.as_deref(), default, cx, tx)
    }

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Value> {
        match addressed(input.user_name.as_deref(), cx)? {
            Some(name) => Ok(json!({ "User": load::<User>(tx, cx.account(), &name)?.detail() })),
            None => {
                let mut root = json!({ "UserId": cx.account(), "Arn": cx.caller.arn() });
                if let (Some(account), Some(members)) = (account::get(tx, cx.account())?, root.as_object_mut()) {
                    members.insert("CreateDate".into(), account.created_date.s().into());
                }
                Ok(json!({ "User": root }))
            }
        }
    }
}

pub struct ListUsers;

impl Operation for ListUsers {
    const NAME: &'static str = "ListUsers";
    type Input = Asked;
    type Output = Value;

    fn needs(_input: &Self::Input, default: Need, cx: &mut Cx<'_>, _tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        need::plain(default, cx)
    }

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Value> {
        let page = input.window()?.records::<User>(tx, &cx.global_scope(), "", |user| input.admits(&user.path))?;
        Ok(page.answer("Users", |user| user.summary()))
    }
}

pub struct UpdateUser;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct UpdateUserInput {
    user_name: String,
    new_path: Option<String>,
    new_user_name: Option<String>,
}

/// Renaming keeps the unique id, so trust policies and keys go on naming the same user.
///
/// Source: IAM API Reference, "UpdateUser": the caller needs the permission on the old and on the new ARN.
impl Operation for UpdateUser {
    const NAME: &'static str = "UpdateUser";
    type Input = UpdateUserInput;
    type Output = Done;

    fn needs(input: &Self::Input, default: Need, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        let source = need::on::<User>(&input.user_name, default, cx, tx)?;
        let old = find::<User>(tx, cx.account(), &input.user_name)?;
        let path = input.new_path.as_deref().or(old.as_ref().map(|user| user.path.as_str())).unwrap_or("/");
        let name = input.new_user_name.as_deref().unwrap_or(&input.user_name);
        let mut target = source.clone();
        target.resource = arn(cx.account(), "user", path, name);
        Ok(if target.resource == source.resource { vec![source] } else { vec![source, target] })
    }

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Done> {
        let mut user = load::<User>(tx, cx.account(), &input.user_name)?;
        let old_key = key(&user.user_name);
        if let Some(path) = input.new_path {
            user.path = path;
        }
        if let Some(name) = input.new_user_name {
            if key(&name) != old_key && find::<User>(tx, cx.account(), &name)?.is_some() {
                return Err(already_exists(format!("User with name {name} already exists.")));
            }
            user.user_name = name;
            access_key::rename_owner(tx, &user)?;
        }
        attachment::rename(tx, &user)?;
        if key(&user.user_name) != old_key {
            tx.delete::<User>(&cx.global_scope(), "", &old_key);
        }
        save(tx, &user)?;
        Ok(Done {})
    }
}

pub struct DeleteUser;

impl Operation for DeleteUser {
    const NAME: &'static str = "DeleteUser";
    type Input = UserRef;
    type Output = Done;

    fn needs(input: &Self::Input, default: Need, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        Ok(vec![need::on::<User>(&input.user_name, default, cx, tx)?])
    }

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Done> {
        let mut user = load::<User>(tx, cx.account(), &input.user_name)?;
        if !user.access_key_ids.is_empty() {
            return Err(delete_conflict("Cannot delete entity, must remove referenced objects first."));
        }
        check_policies_gone(&user)?;
        permissions_boundary::clear(tx, &mut user)?;
        usage::remove(tx, cx.account(), Counted::Users)?;
        tx.delete::<User>(&cx.global_scope(), "", &key(&user.user_name));
        Ok(Done {})
    }
}

/// Refuses to delete what still has policies. A boundary does not stand in the way.
///
/// # Errors
/// `DeleteConflict`.
pub(crate) fn check_policies_gone<E: Entity>(entity: &E) -> Result<()> {
    if !entity.grants().attached_policies.is_empty() {
        return Err(delete_conflict("Cannot delete entity, must detach all policies first."));
    }
    if !entity.grants().inline_policies.is_empty() {
        return Err(delete_conflict("Cannot delete entity, must delete policies first."));
    }
    Ok(())
}

/// The operations of this noun.
pub const OPERATIONS: &[Entry] = &[
    Entry::of::<CreateUser>(),
    Entry::of::<GetUser>(),
    Entry::of::<ListUsers>(),
    Entry::of::<UpdateUser>(),
    Entry::of::<DeleteUser>(),
];
