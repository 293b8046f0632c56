//! Functions: the record and its operations.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use service::{Cx, Entry, Record, Result, Scope, Tx};

use crate::{
    alias::Alias,
    configuration::Configuration,
    error::{function_not_found, invalid, not_enforced, user},
    layer::Attached,
    life::{self, State, Status},
    name::{Address, LATEST},
    version::Version,
};

/// The members that CreateFunction and UpdateFunctionConfiguration share and nothing here enforces, for
/// [`crate::configuration::check_unenforced`]. A macro, as the two inputs have no type in common: each names its members
/// itself, which is what the test against AWS's model reads.
macro_rules! unenforced {
    ($input:expr) => {
        [
            ("VpcConfig", &$input.vpc_config),
            ("DeadLetterConfig", &$input.dead_letter_config),
            ("KMSKeyArn", &$input.kms_key_arn),
            ("TracingConfig", &$input.tracing_config),
            ("FileSystemConfigs", &$input.file_system_configs),
            ("ImageConfig", &$input.image_config),
            ("SnapStart", &$input.snap_start),
        ]
    };
}

mod create;
mod delete;
mod read;
mod update;

pub use create::{CreateFunction, CreateFunctionInput};
pub use delete::{DeleteFunction, DeleteFunctionInput};
pub(crate) use read::code_location;
pub use read::{
    CODE_PATH, GetFunction, GetFunctionConfiguration, GetFunctionOutput, ListFunctions, ListFunctionsInput,
    ListFunctionsOutput, QualifiedInput, open_code_location,
};
pub use update::{
    UpdateFunctionCode, UpdateFunctionCodeInput, UpdateFunctionConfiguration, UpdateFunctionConfigurationInput,
};

/// Operations of this noun.
pub const OPERATIONS: &[Entry] = &[
    Entry::of::<CreateFunction>(),
    Entry::of::<GetFunction>(),
    Entry::of::<GetFunctionConfiguration>(),
    Entry::of::<ListFunctions>(),
    Entry::of::<UpdateFunctionCode>(),
    Entry::of::<UpdateFunctionConfiguration>(),
    Entry::of::<DeleteFunction>(),
];

/// A function with its `$LATEST` code and configuration. Key: no parent, id = name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Function {
    /// `$LATEST`.
    pub configuration: Configuration,
    /// SHA-256 of the zip in hex: the blob's name.
    pub code_blob: String,
    /// Changes when code or configuration really changed. Execution environments are keyed by it rather than by
    /// `RevisionId`, so that granting a permission does not throw warm environments away.
    pub run_key: String,
    /// At most 50.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// Ceiling of simultaneous invocations over all versions, if one is set; 0 stops the function.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reserved_concurrent_executions: Option<u32>,
    /// The number the last published version got; numbers are never used twice.
    #[serde(default)]
    pub versions_published: u64,
    /// [`Function::run_key`] when that version was published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published_run_key: Option<String>,
    /// Bytes of the code when unpacked; 0 for code stored before this was known.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub code_unpacked: u64,
    /// The contents of the configuration's layers, in the same order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub layer_contents: Vec<LayerContent>,
    /// Where it is in its life.
    #[serde(default, skip_serializing_if = "Status::is_default")]
    pub status: Status,
    /// What goes on running while an update is under way, and after one that failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running: Option<Box<Running>>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(value: &u64) -> bool {
    *value == 0
}

/// The content of a layer, as a function keeps it: the layer version may be deleted meanwhile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct LayerContent {
    /// SHA-256 of the zip in hex: the blob's name.
    pub blob: String,
    /// Bytes when unpacked.
    pub unpacked: u64,
}

/// Everything that runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Running {
    /// As it was.
    pub configuration: Configuration,
    /// As [`Function::code_blob`].
    pub code_blob: String,
    /// As [`Function::run_key`].
    pub run_key: String,
    /// As [`Function::layer_contents`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub layer_contents: Vec<LayerContent>,
}

impl Record for Function {
    const NOUN: &'static str = "lambda/Function";
    // It holds the customer's environment variables, which AWS encrypts at rest too.
    const SECRET: bool = true;
}

impl Function {
    /// A function that is being created.
    pub(crate) fn new(first: Next, tags: BTreeMap<String, String>, cx: &mut Cx<'_>) -> Self {
        Self {
            configuration: first.configuration,
            code_blob: first.code_blob,
            run_key: cx.uuid(),
            tags,
            reserved_concurrent_executions: None,
            versions_published: 0,
            published_run_key: None,
            code_unpacked: first.code_unpacked,
            layer_contents: first.layer_contents,
            status: Status::CREATING,
            running: None,
        }
    }

    /// A new revision of `$LATEST`, to be prepared before it runs; what ran until now goes on meanwhile. The run key
    /// changes only if `next` runs differently.
    ///
    /// # Errors
    /// 5xx when the record of the preparation does not encode.
    pub(crate) fn revise(&mut self, next: Next, scope: &Scope, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<()> {
        let alike = self.code_blob == next.code_blob && self.configuration.runs_alike(&next.configuration);
        let name = next.configuration.function_name.clone();
        let before = Running {
            configuration: std::mem::replace(&mut self.configuration, next.configuration),
            code_blob: std::mem::replace(&mut self.code_blob, next.code_blob),
            run_key: self.run_key.clone(),
            layer_contents: std::mem::replace(&mut self.layer_contents, next.layer_contents),
        };
        self.code_unpacked = next.code_unpacked;
        self.configuration.last_modified = cx.now.lambda();
        self.configuration.revision_id = cx.uuid();
        if !alike {
            self.run_key = cx.uuid();
        }
        // After an update that failed, what ran before it is still what runs.
        if self.status.state == State::Active && self.running.is_none() && !alike {
            self.running = Some(Box::new(before));
        }
        self.status = self.status.updating();
        life::begin(scope, &name, tx)
    }

    /// The present code and configuration, to be changed and given to [`Function::revise`].
    pub(crate) fn next(&self) -> Next {
        Next {
            configuration: self.configuration.clone(),
            code_blob: self.code_blob.clone(),
            code_unpacked: self.code_unpacked,
            layer_contents: self.layer_contents.clone(),
        }
    }

    /// # Errors
    /// `PreconditionFailedException` unless `revision_id` is absent or the present one.
    pub(crate) fn check_revision(&self, revision_id: Option<&str>) -> Result<()> {
        check_revision(&self.configuration.revision_id, revision_id)
    }
}

/// Code and configuration of a revision to come.
pub(crate) struct Next {
    pub(crate) configuration: Configuration,
    pub(crate) code_blob: String,
    pub(crate) code_unpacked: u64,
    pub(crate) layer_contents: Vec<LayerContent>,
}

impl Next {
    /// Another package.
    pub(crate) fn set_code(&mut self, uploaded: Uploaded) {
        self.configuration.code_sha256 = uploaded.code_sha256;
        self.configuration.code_size = uploaded.code_size;
        self.code_unpacked = uploaded.unpacked;
        self.code_blob = uploaded.blob;
    }

    /// Other layers.
    pub(crate) fn set_layers(&mut self, attached: Vec<Attached>) {
        let (shown, contents) = attached.into_iter().map(|attached| (attached.shown, attached.content)).unzip();
        self.configuration.layers = shown;
        self.layer_contents = contents;
    }

    /// # Errors
    /// `InvalidParameterValueException` when code and layers together are over AWS's limit.
    pub(crate) fn check_size(&self) -> Result<()> {
        let layers = self.layer_contents.iter().map(|content| content.unpacked).fold(0, u64::saturating_add);
        let all = layers.saturating_add(self.code_unpacked);
        if layers > UNZIPPED_BYTES_MAX {
            let text = format!("Layers consume more than the available size of {UNZIPPED_BYTES_MAX} bytes");
            return Err(invalid(text));
        }
        if all > UNZIPPED_BYTES_MAX {
            return Err(invalid(format!(
                "Function code combined with layers exceeds the maximum allowed size of {UNZIPPED_BYTES_MAX} bytes. The \
                 actual size is {all} bytes."
            )));
        }
        Ok(())
    }
}

/// # Errors
/// `PreconditionFailedException` unless `asked` is absent or `present`.
pub(crate) fn check_revision(present: &str, asked: Option<&str>) -> Result<()> {
    match asked {
        Some(asked) if asked != present => Err(crate::error::precondition("GetFunction/GetAlias")),
        _ => Ok(()),
    }
}

/// What an address leads to.
pub(crate) struct Resolved {
    pub(crate) function: Function,
    /// With the ARN as it was asked for.
    pub(crate) configuration: Configuration,
    pub(crate) code_blob: String,
    pub(crate) status: Status,
}

/// Follows a qualifier to the configuration behind it.
///
/// # Errors
/// `ResourceNotFoundException` naming the qualified ARN.
pub(crate) fn resolve(address: &Address, tx: &mut Tx<'_>) -> Result<Resolved> {
    let function = address.function(tx)?;
    let missing = || function_not_found(&address.qualified_arn());
    let behind = match address.qualifier.as_deref() {
        None | Some(LATEST) => LATEST.to_owned(),
        Some(number) if crate::name::names_version(number) => number.to_owned(),
        Some(name) => {
            let alias: Option<Alias> = tx.get(&address.scope(), &address.function, name)?;
            alias.ok_or_else(missing)?.function_version
        }
    };
    let (configuration, code_blob, status) = if behind == LATEST {
        (function.configuration.clone(), function.code_blob.clone(), function.status.clone())
    } else {
        let version = Version::get(&address.scope(), &address.function, &behind, tx)?.ok_or_else(missing)?;
        (version.configuration, version.code_blob, version.status)
    };
    let configuration = Configuration { function_arn: address.qualified_arn(), ..configuration };
    Ok(Resolved { function, configuration, code_blob, status })
}

/// Where code comes from, as CreateFunction has it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Code {
    /// The upload, or the object of S3, which stands here as what [`service::Upload`] replaced it by.
    pub zip_file: Option<Value>,
    /// Read by then.
    pub s3_bucket: Option<Value>,
    /// Read by then.
    pub s3_key: Option<Value>,
    /// Read by then.
    pub s3_object_version: Option<Value>,
    /// Refused.
    pub s3_object_storage_mode: Option<Value>,
    /// Refused.
    pub image_uri: Option<Value>,
    /// Refused.
    #[serde(rename = "SourceKMSKeyArn")]
    pub source_kms_key_arn: Option<Value>,
}

/// A stored upload.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Uploaded {
    pub(crate) blob: String,
    pub(crate) code_sha256: String,
    pub(crate) code_size: u64,
    /// Bytes when unpacked.
    #[serde(default)]
    pub(crate) unpacked: u64,
}

/// AWS's limit on a zip sent with the call.
const ZIPPED_BYTES_MAX: u64 = 52_428_800;
/// AWS's limit on code and layers together, unpacked.
pub const UNZIPPED_BYTES_MAX: u64 = 262_144_000;

impl Code {
    /// The uploaded zip.
    ///
    /// # Errors
    /// `InvalidParameterValueException` for another source or for none; 413 for a zip over AWS's limit; 5xx if the
    /// upload did not go through the store.
    pub(crate) fn uploaded(&self) -> Result<Uploaded> {
        let elsewhere = [
            (&self.s3_object_storage_mode, "S3ObjectStorageMode"),
            (&self.image_uri, "ImageUri"),
            (&self.source_kms_key_arn, "SourceKMSKeyArn"),
        ];
        if let Some((_, member)) = elsewhere.iter().find(|(value, _)| is_given(value)) {
            return Err(not_enforced(member, "send the code as ZipFile, or name it by S3Bucket and S3Key."));
        }
        let Some(zip) = self.zip_file.as_ref().filter(|zip| !zip.is_null()) else {
            return Err(invalid("Please provide a source for function code."));
        };
        uploaded(zip, is_given(&self.s3_bucket))
    }
}

fn is_given(value: &Option<Value>) -> bool {
    value.as_ref().is_some_and(|value| !value.is_null())
}

/// A zip that has been stored; one out of S3 may be larger than one sent with the call.
///
/// # Errors
/// 413 for a zip over AWS's limit, `InvalidParameterValueException` for an empty one; 5xx if it did not go through the
/// store.
pub(crate) fn uploaded(zip: &Value, from_s3: bool) -> Result<Uploaded> {
    let uploaded = Uploaded::deserialize(zip)
        .map_err(|_| service::ServiceError::internal("ZipFile reached the operation without having been stored"))?;
    if !from_s3 && uploaded.code_size >= ZIPPED_BYTES_MAX {
        let text = format!("Zipped size must be smaller than {ZIPPED_BYTES_MAX} bytes");
        return Err(user("RequestEntityTooLargeException", 413, text));
    }
    if uploaded.code_size == 0 {
        return Err(invalid("Uploaded file must be a non-empty zip"));
    }
    Ok(uploaded)
}

#[cfg(test)]
mod tests;
