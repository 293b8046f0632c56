//! What users and roles have in common: a name, a path, a unique id, and the policies that hang on them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use service::{Record, Result, Scope, Tx};

use super::error::no_such_entity;
use super::tag::Tag;

/// The policies and tags of a user or role.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Grants {
    /// Inline policies: documents, as given, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub inline_policies: BTreeMap<String, String>,
    /// ARNs of the managed policies attached, in the order of attaching.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attached_policies: Vec<String>,
    /// ARN of the managed policy that bounds every permission.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permissions_boundary: Option<String>,
    /// At most 50, keys distinct without regard to case.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<Tag>,
}

/// Which of the two an entity is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum EntityKind {
    /// A user.
    User,
    /// A role.
    Role,
}

/// A user or a role. Stored in its account's global scope under its name in lower case, since IAM's names are unique
/// without regard to case.
pub trait Entity: Record + Clone {
    /// User or role.
    const KIND: EntityKind;
    /// The most characters of all inline policies together, white space not counted.
    ///
    /// Source: IAM User Guide, "IAM and AWS STS quotas".
    const INLINE_CHARS_MAX: usize;

    /// Its name as it was created.
    fn name(&self) -> &str;
    /// Its path, `/` or `/a/b/`.
    fn path(&self) -> &str;
    /// Its unique id, which no later namesake gets.
    fn id(&self) -> &str;
    /// Its account.
    fn account(&self) -> &str;
    /// Its policies and tags.
    fn grants(&self) -> &Grants;
    /// Its policies and tags, to change them.
    fn grants_mut(&mut self) -> &mut Grants;

    /// Its ARN, path included.
    fn arn(&self) -> String {
        arn(self.account(), Self::KIND.word(), self.path(), self.name())
    }
}

impl EntityKind {
    /// The word in ARNs and messages.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Role => "role",
        }
    }

    /// The word in the names of quotas.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::User => "User",
            Self::Role => "Role",
        }
    }
}

/// The ARN of a noun of IAM.
pub(crate) fn arn(account: &str, word: &str, path: &str, name: &str) -> String {
    format!("arn:aws:iam::{account}:{word}{path}{name}")
}

/// The id a name is stored under.
pub(crate) fn key(name: &str) -> String {
    name.to_lowercase()
}

/// The entity of that name, without regard to case, if the account has it.
pub(crate) fn find<E: Entity>(tx: &mut Tx<'_>, account: &str, name: &str) -> Result<Option<E>> {
    tx.get::<E>(&Scope::global(account), "", &key(name))
}

/// The entity of that name.
///
/// # Errors
/// `NoSuchEntity` with AWS's sentence.
pub(crate) fn load<E: Entity>(tx: &mut Tx<'_>, account: &str, name: &str) -> Result<E> {
    find(tx, account, name)?
        .ok_or_else(|| no_such_entity(format!("The {} with name {name} cannot be found.", E::KIND.word())))
}

/// Stores an entity.
pub(crate) fn save<E: Entity>(tx: &mut Tx<'_>, entity: &E) -> Result<()> {
    tx.put(&Scope::global(entity.account()), "", &key(entity.name()), entity)
}

/// Splits the ARN of a user, role or policy into account and name, if it is one of `word`.
pub(crate) fn split_arn<'a>(text: &'a str, word: &str) -> Option<(&'a str, &'a str)> {
    let (account, resource) = text.strip_prefix("arn:aws:iam::")?.split_once(':')?;
    let named = resource.strip_prefix(word)?;
    let name = named.strip_prefix('/')?.rsplit('/').next()?;
    (!name.is_empty()).then_some((account, name))
}

/// The entity behind an ARN of any account; the whole ARN must fit, path included.
pub(crate) fn find_by_arn<E: Entity>(tx: &mut Tx<'_>, text: &str) -> Result<Option<E>> {
    let Some((account, name)) = split_arn(text, E::KIND.word()) else { return Ok(None) };
    Ok(find::<E>(tx, account, name)?.filter(|entity| entity.arn() == text))
}
