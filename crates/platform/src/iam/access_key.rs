//! `AccessKey`: long-term credentials of a user or of an account's root identity.

use serde::{Deserialize, Serialize};
use service::{Record, Result, Scope, Timestamp, Tx};

use super::user::User;

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
