//! New code for a function, from whoever runs the installation rather than over the wire: a directory under work.

use std::net::{IpAddr, Ipv4Addr};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use policy::AccountId;
use serde_json::{Value, json};
use service::{Caller, Identity, Scope, ServiceError, Tx};

use crate::{
    Control,
    dispatch::{self, Request},
    functions::FunctionKey,
    reader::SnapshotReader,
};

/// Stands in records where a signed call has its access key: nobody signed.
const NO_KEY: &str = "portcullis";
/// Names itself so in records.
const USER_AGENT: &str = "portcullis-watch";

/// The code of `$LATEST`, and how it is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Code {
    /// SHA-256 of the package, base64, as `CodeSha256` has it.
    pub sha256: String,
    /// Such as `nodejs20.x`.
    pub runtime: String,
    /// Such as `index.handler`.
    pub handler: String,
}

impl Control {
    /// The present code of a function; `None` if there is no such function. Blocks.
    ///
    /// # Errors
    /// 503 when the store fails.
    pub fn code_of(&self, function: &FunctionKey) -> Result<Option<Code>, ServiceError> {
        let inner = &self.inner;
        let mut reader = SnapshotReader::new(&*inner.store, &inner.vault)?;
        let scope = Scope::regional(&function.account, &function.region);
        let found = Tx::new(&mut reader).get::<lambda::function::Function>(&scope, "", &function.name)?;
        Ok(found.map(|found| Code {
            sha256: found.configuration.code_sha256,
            runtime: found.configuration.runtime,
            handler: found.configuration.handler,
        }))
    }

    /// Replaces the code of `$LATEST` by a zip: UpdateFunctionCode, applied, recorded and published as if the root of
    /// the function's account had called it. Blocks.
    ///
    /// # Errors
    /// Lambda's refusal, in the words of its answer.
    pub fn update_code(&self, function: &FunctionKey, zip: &[u8]) -> Result<(), String> {
        let account = AccountId::try_from(function.account.as_str()).map_err(|_| "the account is none".to_owned())?;
        let caller = Caller { account, identity: Identity::Root, access_key_id: NO_KEY.to_owned(), session: None };
        let request = Request {
            method: "PUT".to_owned(),
            raw_path: format!("/2015-03-31/functions/{}/code", function.name),
            raw_query: None,
            headers: vec![("User-Agent".to_owned(), USER_AGENT.as_bytes().to_vec())],
            body: json!({ "ZipFile": STANDARD.encode(zip) }).to_string().into(),
            client: IpAddr::V4(Ipv4Addr::LOCALHOST),
            secure: false,
        };
        let answer = dispatch::run_as(&self.inner, &request, "lambda", caller, &function.region);
        if answer.status < 300 {
            return Ok(());
        }
        let told: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let message = ["message", "Message"].iter().find_map(|name| told.get(name)?.as_str());
        Err(message.map_or_else(|| format!("status {}", answer.status), str::to_owned))
    }
}
