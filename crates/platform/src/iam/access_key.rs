//! `AccessKey`: long-term credentials of a user or of an account's root identity.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use service::{Cx, Entry, Need, Operation, Record, Result, Scope, ServiceError, Timestamp, Tx};

use super::Done;
use super::entity::{load, save};
use super::error::{limit_exceeded, no_such_entity};
use super::page::Window;
use super::user::{SelfOrUser, User, addressed, need_on_addressed};
use crate::account::{self, Account};

/// The most keys of one user or root identity.
///
/// Source: IAM User Guide, "IAM and AWS STS quotas".
pub const KEYS_MAX: usize = 2;

/// An access key. Stored under [`service::Scope::installation`] by its id, because the id is all a signature names;
/// encrypted at rest. `Debug` leaves the secret out.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AccessKey {
    /// `AKIA` + 16.
    pub access_key_id: String,
    /// 40 characters.
    pub secret_access_key: String,
    /// Owner, 12 digits.
    pub account: String,
    /// The user's name; absent for the account's root identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_name: Option<String>,
    /// `Active` or `Inactive`.
    pub status: String,
    pub create_date: Timestamp,
}

impl Record for AccessKey {
    const NOUN: &'static str = "iam/AccessKey";
    const SECRET: bool = true;
}

impl std::fmt::Debug for AccessKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AccessKey")
            .field("access_key_id", &self.access_key_id)
            .field("account", &self.account)
            .field("user_name", &self.user_name)
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

/// Writes a user's new name into its keys.
pub(crate) fn rename_owner(tx: &mut Tx<'_>, user: &User) -> Result<()> {
    for id in &user.access_key_ids {
        if let Some(mut key) = tx.get::<AccessKey>(&Scope::installation(), "", id)? {
            key.user_name = Some(user.user_name.clone());
            tx.put(&Scope::installation(), "", id, &key)?;
        }
    }
    Ok(())
}

/// Whose keys a call is about.
enum Owner {
    Root(Account),
    User(User),
}

impl Owner {
    fn load(given: Option<&str>, cx: &Cx<'_>, tx: &mut Tx<'_>) -> Result<Owner> {
        match addressed(given, cx)? {
            Some(name) => load::<User>(tx, cx.account(), &name).map(Owner::User),
            None => account::get(tx, cx.account())?
                .map(Owner::Root)
                .ok_or_else(|| ServiceError::internal("root of an account that the installation does not have")),
        }
    }

    fn user_name(&self) -> Option<&str> {
        match self {
            Owner::Root(_) => None,
            Owner::User(user) => Some(&user.user_name),
        }
    }

    fn key_ids(&mut self) -> &mut Vec<String> {
        match self {
            Owner::Root(account) => &mut account.root_access_key_ids,
            Owner::User(user) => &mut user.access_key_ids,
        }
    }

    fn save(&self, tx: &mut Tx<'_>) -> Result<()> {
        match self {
            Owner::Root(account) => tx.put(&Scope::installation(), "", &account.id, account),
            Owner::User(user) => save(tx, user),
        }
    }

    /// A key of this owner.
    ///
    /// # Errors
    /// `NoSuchEntity`, also for a key of somebody else.
    fn key(&mut self, id: &str, tx: &mut Tx<'_>) -> Result<AccessKey> {
        let own = self.key_ids().iter().any(|own| own == id);
        let key = if own { tx.get::<AccessKey>(&Scope::installation(), "", id)? } else { None };
        key.ok_or_else(|| no_such_entity(format!("The Access Key with id {id} cannot be found.")))
    }
}

impl AccessKey {
    /// What may be shown of it at any time.
    fn metadata(&self) -> Map<String, Value> {
        let mut metadata = Map::new();
        if let Some(name) = &self.user_name {
            metadata.insert("UserName".into(), name.as_str().into());
        }
        metadata.insert("AccessKeyId".into(), self.access_key_id.as_str().into());
        metadata.insert("Status".into(), self.status.as_str().into());
        metadata.insert("CreateDate".into(), self.create_date.s().into());
        metadata
    }
}

pub struct CreateAccessKey;

impl Operation for CreateAccessKey {
    const NAME: &'static str = "CreateAccessKey";
    type Input = SelfOrUser;
    type Output = Value;

    fn needs(input: &Self::Input, default: Need, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        need_on_addressed(input.user_name.as_deref(), default, cx, tx)
    }

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Value> {
        let mut owner = Owner::load(input.user_name.as_deref(), cx, tx)?;
        if owner.key_ids().len() >= KEYS_MAX {
            return Err(limit_exceeded(format!("Cannot exceed quota for AccessKeysPerUser: {KEYS_MAX}")));
        }
        let key = AccessKey {
            access_key_id: cx.iam_id("AKIA", 16),
            secret_access_key: cx.secret(),
            account: cx.account().to_owned(),
            user_name: owner.user_name().map(str::to_owned),
            status: "Active".into(),
            create_date: cx.now,
        };
        owner.key_ids().push(key.access_key_id.clone());
        owner.save(tx)?;
        tx.put(&Scope::installation(), "", &key.access_key_id, &key)?;
        let mut answer = key.metadata();
        answer.insert("SecretAccessKey".into(), key.secret_access_key.as_str().into());
        Ok(json!({ "AccessKey": answer }))
    }

    fn trail_response(output: &Value) -> Value {
        let mut shown = output.clone();
        if let Some(key) = shown.get_mut("AccessKey").and_then(Value::as_object_mut) {
            key.shift_remove("SecretAccessKey");
        }
        shown
    }
}

pub struct ListAccessKeys;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct ListAccessKeysInput {
    user_name: Option<String>,
    marker: Option<String>,
    max_items: Option<i64>,
}

impl Operation for ListAccessKeys {
    const NAME: &'static str = "ListAccessKeys";
    type Input = ListAccessKeysInput;
    type Output = Value;

    fn needs(input: &Self::Input, default: Need, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        need_on_addressed(input.user_name.as_deref(), default, cx, tx)
    }

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Value> {
        let window = Window::new(input.marker.as_deref(), input.max_items)?;
        let mut owner = Owner::load(input.user_name.as_deref(), cx, tx)?;
        let mut keys = Vec::new();
        for id in owner.key_ids() {
            if let Some(key) = tx.get::<AccessKey>(&Scope::installation(), "", id)? {
                keys.push((id.clone(), key));
            }
        }
        Ok(window.slice(keys).answer("AccessKeyMetadata", |key| key.metadata().into()))
    }
}

pub struct UpdateAccessKey;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct UpdateAccessKeyInput {
    user_name: Option<String>,
    access_key_id: String,
    status: Status,
}

/// What a key can be set to. AWS's third value, `Expired`, is none that a caller sets.
#[derive(Debug, Clone, Copy, Deserialize)]
enum Status {
    Active,
    Inactive,
}

impl Operation for UpdateAccessKey {
    const NAME: &'static str = "UpdateAccessKey";
    type Input = UpdateAccessKeyInput;
    type Output = Done;

    fn needs(input: &Self::Input, default: Need, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        need_on_addressed(input.user_name.as_deref(), default, cx, tx)
    }

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Done> {
        let mut owner = Owner::load(input.user_name.as_deref(), cx, tx)?;
        let mut key = owner.key(&input.access_key_id, tx)?;
        key.status = match input.status {
            Status::Active => "Active".into(),
            Status::Inactive => "Inactive".into(),
        };
        tx.put(&Scope::installation(), "", &key.access_key_id, &key)?;
        Ok(Done {})
    }
}

pub struct DeleteAccessKey;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DeleteAccessKeyInput {
    user_name: Option<String>,
    access_key_id: String,
}

impl Operation for DeleteAccessKey {
    const NAME: &'static str = "DeleteAccessKey";
    type Input = DeleteAccessKeyInput;
    type Output = Done;

    fn needs(input: &Self::Input, default: Need, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        need_on_addressed(input.user_name.as_deref(), default, cx, tx)
    }

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Done> {
        let mut owner = Owner::load(input.user_name.as_deref(), cx, tx)?;
        let key = owner.key(&input.access_key_id, tx)?;
        owner.key_ids().retain(|id| *id != key.access_key_id);
        owner.save(tx)?;
        tx.delete::<AccessKey>(&Scope::installation(), "", &key.access_key_id);
        Ok(Done {})
    }
}

/// The operations of this noun.
pub const OPERATIONS: &[Entry] = &[
    Entry::of::<CreateAccessKey>(),
    Entry::of::<ListAccessKeys>(),
    Entry::of::<UpdateAccessKey>(),
    Entry::of::<DeleteAccessKey>(),
];
