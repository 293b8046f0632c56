//! Users and roles as the policies of other services need them: the unique id behind an ARN.
//!
//! IAM owns these records; this is a view of the few members that bind a grant to an identity, so that a function's
//! policy need not know IAM. `platform` holds a test that both agree.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Record, Result, Scope, Tx};

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct User {
    user_name: String,
    path: String,
    user_id: String,
}

impl Record for User {
    const NOUN: &'static str = "iam/User";
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Role {
    role_name: String,
    path: String,
    role_id: String,
}

impl Record for Role {
    const NOUN: &'static str = "iam/Role";
}

/// Whether an ARN names a user or a role, and not a root or a session.
#[must_use]
pub fn is_user_or_role(arn: &str) -> bool {
    split(arn).is_some()
}

/// The unique id of the user or role an ARN names, of any account of this installation. The whole ARN must fit, path
/// and letter case included. `None` for what does not exist.
///
/// A grant kept by this id ends with the identity: a later namesake does not inherit it. Source: IAM User Guide, "AWS JSON
/// policy elements: Principal".
///
/// # Errors
/// 5xx when the store cannot be read.
pub fn unique_id(tx: &mut Tx<'_>, arn: &str) -> Result<Option<String>> {
    let Some((account, kind, rest)) = split(arn) else { return Ok(None) };
    let name = rest.rsplit('/').next().unwrap_or_default();
    let (scope, key) = (Scope::global(account), name.to_lowercase());
    let found = match kind {
        Kind::User => tx.get::<User>(&scope, "", &key)?.map(|user| (user.path, user.user_name, user.user_id)),
        Kind::Role => tx.get::<Role>(&scope, "", &key)?.map(|role| (role.path, role.role_name, role.role_id)),
    };
    Ok(found.filter(|(path, name, _)| *rest == format!("{path}{name}")).map(|(_, _, id)| id))
}

/// Puts unique ids in place of the ARNs a policy's statements name as principals; what `ids` does not hold stays.
pub fn bind(policy: &mut Value, ids: &BTreeMap<String, String>) {
    match policy.get_mut("Statement") {
        Some(Value::Array(statements)) => statements.iter_mut().for_each(|statement| bind_statement(statement, ids)),
        Some(statement) => bind_statement(statement, ids),
        None => {}
    }
}

fn bind_statement(statement: &mut Value, ids: &BTreeMap<String, String>) {
    let name = |name: &mut Value| {
        if let Some(id) = name.as_str().and_then(|arn| ids.get(arn)) {
            *name = Value::String(id.clone());
        }
    };
    for element in ["Principal", "NotPrincipal"] {
        match statement.get_mut(element).and_then(|principal| principal.get_mut("AWS")) {
            Some(Value::Array(names)) => names.iter_mut().for_each(name),
            Some(one) => name(one),
            None => {}
        }
    }
}

enum Kind {
    User,
    Role,
}

/// Account, kind, and path with name.
fn split(arn: &str) -> Option<(&str, Kind, &str)> {
    let (account, resource) = arn.strip_prefix("arn:aws:iam::")?.split_once(':')?;
    let (kind, rest) = match resource.strip_prefix("user") {
        Some(rest) => (Kind::User, rest),
        None => (Kind::Role, resource.strip_prefix("role")?),
    };
    (rest.starts_with('/') && !rest.ends_with('/')).then_some((account, kind, rest))
}
