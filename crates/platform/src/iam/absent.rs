//! Nouns that users and roles can have on AWS and never have here. Tools ask for them before they delete a user or
//! role; the true answer is an empty list.

use serde::Deserialize;
use serde_json::{Map, Value};
use service::{Cx, Entry, Need, Operation, Result, Tx};

use super::entity::load;
use super::need;
use super::page::{Window, finish};
use super::role::Role;
use super::user::{User, addressed, need_on_addressed};

/// The empty list under `member`.
fn nothing(member: &str, marker: Option<&str>, max_items: Option<i64>) -> Result<Value> {
    Window::new(marker, max_items)?;
    let mut answer = Map::new();
    answer.insert(member.into(), Value::Array(Vec::new()));
    Ok(finish(answer, None))
}

/// The members of a list about a user or the caller.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct OfSelfOrUser {
    user_name: Option<String>,
    marker: Option<String>,
    max_items: Option<i64>,
}

impl OfSelfOrUser {
    fn nothing(&self, member: &str, cx: &Cx<'_>, tx: &mut Tx<'_>) -> Result<Value> {
        if let Some(name) = addressed(self.user_name.as_deref(), cx)? {
            load::<User>(tx, cx.account(), &name)?;
        }
        nothing(member, self.marker.as_deref(), self.max_items)
    }
}

pub struct ListGroupsForUser;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct ListGroupsForUserInput {
    user_name: String,
    marker: Option<String>,
    max_items: Option<i64>,
}

impl Operation for ListGroupsForUser {
    const NAME: &'static str = "ListGroupsForUser";
    type Input = ListGroupsForUserInput;
    type Output = Value;

    fn needs(input: &Self::Input, default: Need, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        Ok(vec![need::on::<User>(&input.user_name, default, cx, tx)?])
    }

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Value> {
        load::<User>(tx, cx.account(), &input.user_name)?;
        nothing("Groups", input.marker.as_deref(), input.max_items)
    }
}

pub struct ListInstanceProfilesForRole;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct ListInstanceProfilesForRoleInput {
    role_name: String,
    marker: Option<String>,
    max_items: Option<i64>,
}

impl Operation for ListInstanceProfilesForRole {
    const NAME: &'static str = "ListInstanceProfilesForRole";
    type Input = ListInstanceProfilesForRoleInput;
    type Output = Value;

    fn needs(input: &Self::Input, default: Need, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        Ok(vec![need::on::<Role>(&input.role_name, default, cx, tx)?])
    }

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Value> {
        load::<Role>(tx, cx.account(), &input.role_name)?;
        nothing("InstanceProfiles", input.marker.as_deref(), input.max_items)
    }
}

pub struct ListMfaDevices;

impl Operation for ListMfaDevices {
    const NAME: &'static str = "ListMFADevices";
    type Input = OfSelfOrUser;
    type Output = Value;

    fn needs(input: &Self::Input, default: Need, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        need_on_addressed(input.user_name.as_deref(), default, cx, tx)
    }

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Value> {
        input.nothing("MFADevices", cx, tx)
    }
}

pub struct ListSshPublicKeys;

impl Operation for ListSshPublicKeys {
    const NAME: &'static str = "ListSSHPublicKeys";
    type Input = OfSelfOrUser;
    type Output = Value;

    fn needs(input: &Self::Input, default: Need, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        need_on_addressed(input.user_name.as_deref(), default, cx, tx)
    }

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Value> {
        input.nothing("SSHPublicKeys", cx, tx)
    }
}

pub struct ListSigningCertificates;

impl Operation for ListSigningCertificates {
    const NAME: &'static str = "ListSigningCertificates";
    type Input = OfSelfOrUser;
    type Output = Value;

    fn needs(input: &Self::Input, default: Need, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        need_on_addressed(input.user_name.as_deref(), default, cx, tx)
    }

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Value> {
        input.nothing("Certificates", cx, tx)
    }
}

pub struct ListServiceSpecificCredentials;

/// `ServiceName` narrows a list that is empty without it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct ListServiceSpecificCredentialsInput {
    user_name: Option<String>,
    #[serde(default, rename = "ServiceName")]
    _service_name: Option<String>,
    #[serde(default)]
    all_users: bool,
    marker: Option<String>,
    max_items: Option<i64>,
}

impl Operation for ListServiceSpecificCredentials {
    const NAME: &'static str = "ListServiceSpecificCredentials";
    type Input = ListServiceSpecificCredentialsInput;
    type Output = Value;

    fn needs(input: &Self::Input, default: Need, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        if input.all_users {
            let mut all = default;
            all.resource = "*".into();
            return need::plain(all, cx);
        }
        need_on_addressed(input.user_name.as_deref(), default, cx, tx)
    }

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Value> {
        if !input.all_users
            && let Some(name) = addressed(input.user_name.as_deref(), cx)?
        {
            load::<User>(tx, cx.account(), &name)?;
        }
        nothing("ServiceSpecificCredentials", input.marker.as_deref(), input.max_items)
    }
}

/// The operations about these nouns.
pub const OPERATIONS: &[Entry] = &[
    Entry::of::<ListGroupsForUser>(),
    Entry::of::<ListInstanceProfilesForRole>(),
    Entry::of::<ListMfaDevices>(),
    Entry::of::<ListSshPublicKeys>(),
    Entry::of::<ListSigningCertificates>(),
    Entry::of::<ListServiceSpecificCredentials>(),
];
