//! The installation's accounts: what `portcullis account` does, beside a running server or before the first start.

use platform::{
    account::{self, Account},
    iam::access_key::AccessKey,
};
use policy::AccountId;
use serde::{Deserialize, Serialize};
use service::{Result, ServiceError, Timestamp, Tx};
use store::Store;

use crate::{
    commit,
    reader::{SnapshotReader, unavailable},
    vault::{Vault, random},
};

/// What `account create` prints: the only time the secret is shown.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct CreatedAccount {
    pub account_id: String,
    pub name: String,
    pub access_key_id: String,
    pub secret_access_key: String,
}

impl std::fmt::Debug for CreatedAccount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CreatedAccount").field("account_id", &self.account_id).finish_non_exhaustive()
    }
}

/// What `account list` prints of one account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ListedAccount {
    pub account_id: String,
    pub name: String,
    pub created_date: String,
}

/// Creates an account and the access key of its root identity. Blocks; durable when it returns.
///
/// # Errors
/// 400 for an id that is not 12 digits or an unusable name, 409 when id or name is taken, 503 when the store fails.
pub fn create(store: &dyn Store, vault: &Vault, now: Timestamp, id: &str, name: &str) -> Result<CreatedAccount> {
    AccountId::try_from(id).map_err(|_| {
        ServiceError::new(
            "ValidationError",
            400,
            format!("'{id}' is not an account id: 12 digits are needed, such as 111111111111"),
        )
    })?;
    let key = AccessKey {
        access_key_id: format!("AKIA{}", draw(16, b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567")),
        secret_access_key: draw(40, b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"),
        account: id.to_owned(),
        user_name: None,
        status: "Active".into(),
        create_date: now,
    };
    let record = Account {
        id: id.to_owned(),
        name: name.to_owned(),
        created_date: now,
        root_access_key_ids: vec![key.access_key_id.clone()],
    };
    let mut reader = SnapshotReader::new(store, vault)?;
    let mut tx = Tx::new(&mut reader);
    account::create(&mut tx, record, &key)?;
    let changes = tx.into_changes();
    let commit = commit::prepare(store, vault, changes, reader, Vec::new())?;
    match store.commit(commit) {
        Ok(_) => Ok(CreatedAccount {
            account_id: id.to_owned(),
            name: name.to_owned(),
            access_key_id: key.access_key_id.clone(),
            secret_access_key: key.secret_access_key.clone(),
        }),
        Err(store::Error::Conflict) => Err(ServiceError::new(
            "ConcurrentModification",
            409,
            "another account was created at the same moment; try again",
        )),
        Err(error) => Err(unavailable(&error)),
    }
}

/// Every account, by id. Blocks.
///
/// # Errors
/// 503 when the store fails.
pub fn list(store: &dyn Store, vault: &Vault) -> Result<Vec<ListedAccount>> {
    let mut reader = SnapshotReader::new(store, vault)?;
    let accounts = account::list(&mut Tx::new(&mut reader))?;
    Ok(accounts
        .into_iter()
        .map(|account| ListedAccount {
            account_id: account.id,
            name: account.name,
            created_date: account.created_date.iso_s(),
        })
        .collect())
}

fn draw(length: usize, alphabet: &[u8]) -> String {
    // 32 and 64 divide 256, so every character is equally likely.
    let mut bytes = vec![0u8; length];
    random(&mut bytes);
    bytes.iter().map(|byte| char::from(alphabet[usize::from(*byte) % alphabet.len()])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_created_once_and_listed() {
        let dir = tempfile::tempdir().unwrap();
        let (store, vault) = (store::Memory::new(), Vault::open(dir.path()).unwrap());
        let now = Timestamp::from_ms(0);
        let made = create(&store, &vault, now, "111111111111", "api").unwrap();
        assert!(made.access_key_id.starts_with("AKIA") && made.access_key_id.len() == 20);
        assert_eq!(made.secret_access_key.len(), 40);
        assert_eq!(create(&store, &vault, now, "111111111111", "other").unwrap_err().status, 409);
        assert_eq!(create(&store, &vault, now, "222222222222", "api").unwrap_err().status, 409);
        assert_eq!(create(&store, &vault, now, "12", "x").unwrap_err().status, 400);
        assert_eq!(list(&store, &vault).unwrap().len(), 1);
    }
}
