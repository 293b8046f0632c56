//! Who signed a call.

use policy::{AccountId, AwsPrincipal, Principal};
use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// The verified signer of a control-plane call.
#[derive(Debug, Clone, PartialEq)]
pub struct Caller {
    /// The account that owns the access key.
    pub account: AccountId,
    /// Root, user or role session.
    pub identity: Identity,
    /// The key that signed, `AKIA..` or `ASIA..`.
    pub access_key_id: String,
    /// Present for temporary credentials.
    pub session: Option<Session>,
}

/// What kind of identity signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Identity {
    /// The account itself.
    Root,
    /// An IAM user.
    User {
        /// User name.
        name: String,
        /// IAM path, `/` or `/a/b/`.
        path: String,
        /// `AIDA..`.
        id: String,
    },
    /// A role session.
    Role {
        /// Role name.
        name: String,
        /// IAM path of the role.
        path: String,
        /// `AROA..`.
        id: String,
        /// `RoleSessionName`.
        session_name: String,
    },
}

/// What temporary credentials carry. Sealed into the session token, so no store look-up is needed to verify one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// When it was issued.
    pub issued_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
    /// Session policies as given to AssumeRole: inline document and the documents of `PolicyArns` at that time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<String>,
    /// `SourceIdentity`, if set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_identity: Option<String>,
}

impl Caller {
    /// The principal's ARN as AWS prints it in messages and CloudTrail.
    #[must_use]
    pub fn arn(&self) -> String {
        let account = &self.account;
        match &self.identity {
            Identity::Root => format!("arn:aws:iam::{account}:root"),
            Identity::User { name, path, .. } => format!("arn:aws:iam::{account}:user{path}{name}"),
            Identity::Role { name, session_name, .. } => {
                format!("arn:aws:sts::{account}:assumed-role/{name}/{session_name}")
            }
        }
    }

    /// The role behind a session: `arn:aws:iam::ACCT:role/path/name`.
    #[must_use]
    pub fn role_arn(&self) -> Option<String> {
        match &self.identity {
            Identity::Role { name, path, .. } => Some(format!("arn:aws:iam::{}:role{path}{name}", self.account)),
            _ => None,
        }
    }

    /// STS's `UserId`, CloudTrail's `principalId`, the condition key `aws:userid`.
    #[must_use]
    pub fn user_id(&self) -> String {
        match &self.identity {
            Identity::Root => self.account.to_string(),
            Identity::User { id, .. } => id.clone(),
            Identity::Role { id, session_name, .. } => format!("{id}:{session_name}"),
        }
    }

    /// CloudTrail's `Username` for LookupEvents: user name, session name, or `root`.
    #[must_use]
    pub fn username(&self) -> &str {
        match &self.identity {
            Identity::Root => "root",
            Identity::User { name, .. } => name,
            Identity::Role { session_name, .. } => session_name,
        }
    }

    /// Whether this is the account's root identity, which needs no identity policy.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.identity == Identity::Root
    }

    /// The form policies are evaluated against.
    #[must_use]
    pub fn principal(&self) -> Principal {
        let unique_id = match &self.identity {
            Identity::Root => None,
            Identity::User { id, .. } | Identity::Role { id, .. } => Some(id.clone()),
        };
        Principal::Aws(AwsPrincipal { account: self.account, arn: self.arn(), role_arn: self.role_arn(), unique_id })
    }
}
