//! `Stage`: a name under which a deployment is served.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use service::{Record, Timestamp};

/// A stage; parent of the key is the API's id, id is its name. Changes are live at once, without a deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stage {
    /// `[A-Za-z0-9_-]{1,128}`.
    pub stage_name: String,
    pub deployment_id: String,
    /// SHA-256 (hex) of that deployment's snapshot, so that publishing needs no second look-up; not part of AWS's answer.
    pub snapshot: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub variables: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    pub created_date: Timestamp,
    pub last_updated_date: Timestamp,
    /// Part of every authorizer cache key: FlushStageAuthorizersCache and each new deployment raise it, which drops
    /// all entries at once. Not part of AWS's answer.
    pub authorizers_epoch: u64,
}

impl Record for Stage {
    const NOUN: &'static str = "apigateway/Stage";
}
