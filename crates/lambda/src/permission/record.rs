//! The record: the statements of one qualifier, what binds them to identities, and the document they make.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use service::{Record, Result, principal::bind};

use crate::error::user;

/// The longest policy, as the document [`ResourcePolicy::document`] gives. Source: Lambda Developer Guide, "Lambda quotas".
pub const POLICY_BYTES_MAX: usize = 20_480;

/// The permissions on one qualifier of a function. Key: parent = function name, id = qualifier, empty for the function
/// itself. A record without statements is not kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ResourcePolicy {
    /// Version number, alias, or empty.
    pub qualifier: String,
    /// Statements in the order they were added, members in AWS's order; those put as a whole as they were given.
    pub statements: Vec<Value>,
    /// By `Sid`, the unique id of the user or role an added statement names: a later namesake does not inherit the grant.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub principal_ids: BTreeMap<String, String>,
    /// Present once the policy was put as a whole; statements may have been added and removed since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub whole: Option<Whole>,
}

/// What a document put as a whole brings along beside its statements.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Whole {
    /// Every member but `Statement`, as given: `Version` and `Id`.
    pub head: Map<String, Value>,
    /// By ARN, the unique id of every user and role its statements name. A statement added later has its own entry by
    /// `Sid`, as the ARN may belong to somebody else by then.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub principal_ids: BTreeMap<String, String>,
}

impl Record for ResourcePolicy {
    const NOUN: &'static str = "lambda/ResourcePolicy";
}

impl ResourcePolicy {
    pub(super) fn new(qualifier: &str) -> Self {
        Self { qualifier: qualifier.to_owned(), statements: Vec::new(), principal_ids: BTreeMap::new(), whole: None }
    }

    /// The policy as GetPolicy and GetResourcePolicy answer it.
    #[must_use]
    pub fn document(&self) -> String {
        self.value().to_string()
    }

    /// The policy as it is evaluated: users and roles stand there by their unique ids.
    #[must_use]
    pub fn evaluated(&self) -> String {
        let mut document = self.value();
        if let Some(whole) = &self.whole {
            bind(&mut document, &whole.principal_ids);
        }
        let statements = document.get_mut("Statement").and_then(Value::as_array_mut);
        for statement in statements.into_iter().flatten() {
            let sid = statement.get("Sid").and_then(Value::as_str).unwrap_or_default();
            let Some(id) = self.principal_ids.get(sid) else { continue };
            let id = json!({ "AWS": id });
            if let Some(principal) = statement.get_mut("Principal") {
                *principal = id;
            }
        }
        document.to_string()
    }

    fn value(&self) -> Value {
        let mut document = match &self.whole {
            Some(whole) => whole.head.clone(),
            None => Map::from_iter([("Version".to_owned(), json!("2012-10-17")), ("Id".to_owned(), json!("default"))]),
        };
        document.insert("Statement".to_owned(), json!(self.statements));
        Value::Object(document)
    }

    pub(super) fn position(&self, sid: &str) -> Option<usize> {
        self.statements.iter().position(|statement| statement.get("Sid").is_some_and(|found| found == sid))
    }

    /// # Errors
    /// `PolicyLengthExceededException` beyond [`POLICY_BYTES_MAX`].
    pub(super) fn check_size(&self) -> Result<()> {
        let (size, limit) = used_bytes(self);
        if size > limit {
            let text = format!("The final policy size ({size}) is bigger than the limit ({limit}).");
            return Err(user("PolicyLengthExceededException", 400, text));
        }
        Ok(())
    }
}

/// How many bytes of a function's policy are used, and how many there may be: the numbers
/// `PolicyLengthExceededException` is decided by.
#[must_use]
pub fn used_bytes(policy: &ResourcePolicy) -> (usize, usize) {
    (policy.document().len(), POLICY_BYTES_MAX)
}
