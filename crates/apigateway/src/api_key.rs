//! `ApiKey`: a value by which a client is counted.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use service::{Record, Timestamp};

/// An API key of an account in a region; the parent of the key is empty.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ApiKey {
    /// 10 characters.
    pub id: String,
    /// What clients send: 20 to 128 characters, unique within account and region. Not printed by `Debug`.
    pub value: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    pub enabled: bool,
    pub created_date: Timestamp,
    pub last_updated_date: Timestamp,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub customer_id: Option<String>,
}

impl Record for ApiKey {
    const NOUN: &'static str = "apigateway/ApiKey";
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiKey").field("id", &self.id).field("name", &self.name).finish_non_exhaustive()
    }
}
