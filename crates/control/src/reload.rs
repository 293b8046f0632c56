//! Code of functions that comes from directories of this host: sent by whoever runs the installation rather than over
//! the wire, or named by a call as LocalStack's clients do, `S3Bucket` `hot-reload` and `S3Key` the directory.

use std::net::{IpAddr, Ipv4Addr};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use lambda::name::FunctionName;
use platform::s3::bucket::HOT_RELOAD;
use policy::AccountId;
use serde_json::{Value, json};
use service::{Caller, Entry, Identity, Scope, ServiceError, Tx, Upload};

use crate::{
    Control,
    dispatch::{self, Known, Request},
    functions::FunctionKey,
    reader::SnapshotReader,
    upload::unusable,
};

/// Stands in records where a signed call has its access key: nobody signed.
const NO_KEY: &str = "portcullis";
/// Names itself so in records.
const USER_AGENT: &str = "portcullis-watch";

/// Directories of this host, as functions are made of them.
pub trait Directories: Send + Sync + std::fmt::Debug {
    /// Packs a directory that a call named. May block.
    ///
    /// # Errors
    /// Why it cannot be code, or may not be read: a sentence for the caller.
    fn pack(&self, directory: &str) -> Result<Vec<u8>, String>;

    /// Takes note of what a function is made of from now on: that directory, or something else. Must not block for
    /// long.
    fn took(&self, function: &FunctionKey, directory: Option<&str>);
}

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

impl Known<'_> {
    /// Whether a bucket stands for directories of this host.
    ///
    /// # Errors
    /// What to do, if it does and there are none: a bucket of this name, older than the rule that there is none, is not
    /// meant.
    pub(crate) fn is_directory(&self, name: &str) -> Result<bool, ServiceError> {
        if name != HOT_RELOAD || !matches!(self.op.name, "CreateFunction" | "UpdateFunctionCode") {
            return Ok(false);
        }
        if self.call.inner.options.directories.is_some() {
            return Ok(true);
        }
        Err(unusable(
            "S3Bucket 'hot-reload' stands for a directory of the server's machine, and this server takes code from none. \
             Start it with --hot-reload DIR, a directory above the one in S3Key.",
        ))
    }

    /// The package of a directory.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) fn directory(&self, name: &str) -> Result<Vec<u8>, ServiceError> {
        let directories = self.call.inner.options.directories.as_ref();
        let directories = directories.ok_or_else(|| ServiceError::internal("directories went away"))?;
        directories.pack(name).map_err(|why| unusable(&format!("S3Key '{name}': {why}")))
    }

    /// Says what a function is made of, after a call that may have changed that.
    pub(crate) fn tell_directories(&self, entry: &Entry, params: &Value) {
        let Some(directories) = &self.call.inner.options.directories else { return };
        let is_about_code = matches!(self.op.name, "CreateFunction" | "UpdateFunctionCode" | "DeleteFunction");
        // New code of a directory that is watched leaves everything as it is.
        if !is_about_code || self.op.service.name != "lambda" || self.caller.access_key_id == NO_KEY {
            return;
        }
        let name = params.get("FunctionName").and_then(Value::as_str).and_then(FunctionName::parse);
        let Some(name) = name.filter(|name| name.qualifier.is_none()) else { return };
        let is_set = |member: &str| params.get(member).is_some_and(|value| !value.is_null() && value != false);
        if is_set("DryRun") || is_set("Qualifier") {
            return;
        }
        let function = FunctionKey {
            account: name.account.unwrap_or_else(|| self.caller.account.to_string()),
            region: self.region.clone(),
            name: name.function,
        };
        directories.took(&function, entry.upload.and_then(|upload| named(upload, params)));
    }
}

/// The directory that a call named.
fn named(upload: Upload, params: &Value) -> Option<&str> {
    let (_, parents) = upload.path.split_last()?;
    let holder = parents.iter().try_fold(params, |member, name| member.get(*name))?;
    let text = |name: &str| holder.get(name).and_then(Value::as_str);
    text("S3Bucket").filter(|bucket| *bucket == HOT_RELOAD).and_then(|_| text("S3Key"))
}
