//! What a deployment freezes: everything the data plane needs to know of an API, and nothing that is live.

use serde::{Deserialize, Serialize};

use crate::{
    authorizer::Authorizer, gateway_response::GatewayResponse, method::Method, resource::Resource, rest_api::RestApi,
};

/// A frozen API. Stages point at one; `gateway` compiles it into a program.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Snapshot {
    /// Owner of the API, 12 digits.
    pub account: String,
    pub region: String,
    pub deployment_id: String,
    pub rest_api: RestApi,
    pub resources: Vec<Resource>,
    /// Each names its resource.
    pub methods: Vec<Method>,
    pub authorizers: Vec<Authorizer>,
    /// Those that were customised, by type.
    #[serde(default)]
    pub gateway_responses: Vec<GatewayResponse>,
}
