//! The installation's accounts. AWS has no single API for this; `portcullis account create` is the front door.

use serde::{Deserialize, Serialize};
use service::{Parent, Record, Result, Scope, ServiceError, Timestamp, Tx};

use crate::iam::access_key::AccessKey;

/// An account of this installation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Account {
    /// 12 digits.
    pub id: String,
    /// What people call it; unique.
    pub name: String,
    pub created_date: Timestamp,
    /// Access keys of the account's root identity.
    #[serde(default)]
    pub root_access_key_ids: Vec<String>,
}

impl Record for Account {
    const NOUN: &'static str = "platform/Account";
}

/// Longest account name, characters.
pub const NAME_CHARS_MAX: usize = 50;

/// The account of this id, if the installation has it.
///
/// # Errors
/// 5xx when the store cannot be read.
pub fn get(tx: &mut Tx<'_>, id: &str) -> Result<Option<Account>> {
    tx.get::<Account>(&Scope::installation(), "", id)
}

/// Every account, by id.
///
/// # Errors
/// 5xx when the store cannot be read.
pub fn list(tx: &mut Tx<'_>) -> Result<Vec<Account>> {
    tx.list::<Account>(&Scope::installation(), &Parent::Exact(""))
}

/// Creates an account with one root access key, whose id and secret the caller has drawn.
///
/// # Errors
/// 409 when id or name is taken, 400 for a name that is empty, too long or has control characters.
pub fn create(tx: &mut Tx<'_>, account: Account, key: &AccessKey) -> Result<()> {
    let name_chars = account.name.chars().count();
    if name_chars == 0 || name_chars > NAME_CHARS_MAX || account.name.chars().any(char::is_control) {
        return Err(ServiceError::new(
            "ValidationError",
            400,
            format!("an account name has 1 to {NAME_CHARS_MAX} characters and no control characters"),
        ));
    }
    for other in list(tx)? {
        if other.id == account.id {
            return Err(ServiceError::new(
                "EntityAlreadyExists",
                409,
                format!(
                    "account {} exists already; choose another id, or use it: portcullis env --account {}",
                    account.id, account.id
                ),
            ));
        }
        if other.name == account.name {
            return Err(ServiceError::new(
                "EntityAlreadyExists",
                409,
                format!("the name {} belongs to account {} already", account.name, other.id),
            ));
        }
    }
    tx.put(&Scope::installation(), "", &account.id, &account)?;
    tx.put(&Scope::installation(), "", &key.access_key_id, key)
}
