//! `RestApi`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use service::{Record, Timestamp};

/// A REST API. Lives under its account and region; found by id alone through [`Owner`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RestApi {
    /// 10 characters `[a-z0-9]`.
    pub id: String,
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    pub created_date: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// `HEADER` or `AUTHORIZER`.
    pub api_key_source: String,
    pub endpoint_configuration: EndpointConfiguration,
    pub disable_execute_api_endpoint: bool,
    pub root_resource_id: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
}

impl Record for RestApi {
    const NOUN: &'static str = "apigateway/RestApi";
}

/// How clients reach the API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EndpointConfiguration {
    /// One of `EDGE`, `REGIONAL`.
    pub types: Vec<String>,
    /// `ipv4` or `dualstack`.
    pub ip_address_type: String,
}

/// Which account and region an API id belongs to. Ids are unique over the installation so that a host name finds its
/// API without an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Owner {
    pub account: String,
    pub region: String,
}

impl Record for Owner {
    const NOUN: &'static str = "apigateway/RestApiOwner";
}
