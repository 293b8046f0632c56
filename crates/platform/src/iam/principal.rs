//! Who a key or a session stands for, and the documents that decide what it may do.

use service::{Caller, Identity, Result, ServiceError, Tx};

use super::entity::{Entity, find};
use super::policy;
use super::role::Role;
use super::user::User;

/// The documents attached to a caller.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Documents {
    /// Inline policies and the default versions of attached managed policies.
    pub identity: Vec<String>,
    /// The default version of the permissions boundary.
    pub boundary: Option<String>,
}

/// The identity of a user, if the account has it.
///
/// # Errors
/// 5xx when the store cannot be read.
pub fn user_identity(tx: &mut Tx<'_>, account: &str, user_name: &str) -> Result<Option<Identity>> {
    Ok(find::<User>(tx, account, user_name)?.map(|user| user.identity()))
}

/// The identity of a session of a role, if the account has the role.
///
/// # Errors
/// 5xx when the store cannot be read.
pub fn role_identity(tx: &mut Tx<'_>, account: &str, role_name: &str, session_name: &str) -> Result<Option<Identity>> {
    Ok(find::<Role>(tx, account, role_name)?.map(|role| role.identity(session_name)))
}

/// The documents of the caller's user or role.
///
/// They are found by name and count only if the unique id is still the caller's: credentials of an identity that was
/// deleted, or renamed since the session began, carry nothing. Root has none and needs none. The session's own
/// policies stand in [`Caller::session`].
///
/// # Errors
/// 5xx when the store cannot be read, or when a policy that is attached cannot be found: leaving it out could leave
/// out a deny.
pub fn documents(tx: &mut Tx<'_>, caller: &Caller) -> Result<Documents> {
    let account = caller.account.as_str();
    match &caller.identity {
        Identity::Root => Ok(Documents::default()),
        Identity::User { name, id, .. } => {
            let user = find::<User>(tx, account, name)?;
            of_entity(tx, user.filter(|user| user.id() == id))
        }
        Identity::Role { name, id, .. } => {
            let role = find::<Role>(tx, account, name)?;
            of_entity(tx, role.filter(|role| role.id() == id))
        }
    }
}

fn of_entity<E: Entity>(tx: &mut Tx<'_>, entity: Option<E>) -> Result<Documents> {
    let Some(entity) = entity else { return Ok(Documents::default()) };
    let grants = entity.grants();
    let mut identity: Vec<String> = grants.inline_policies.values().cloned().collect();
    for arn in &grants.attached_policies {
        identity.push(attached(tx, entity.account(), arn)?);
    }
    let boundary = grants.permissions_boundary.as_deref();
    let boundary = boundary.map(|arn| attached(tx, entity.account(), arn)).transpose()?;
    Ok(Documents { identity, boundary })
}

fn attached(tx: &mut Tx<'_>, account: &str, arn: &str) -> Result<String> {
    policy::default_document(tx, account, arn)?
        .ok_or_else(|| ServiceError::internal(format!("the attached policy {arn} cannot be found")))
}
