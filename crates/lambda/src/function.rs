//! Functions: the record and its operations.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use service::{Cx, Entry, Record, Result, Tx};

use crate::{
    alias::Alias,
    configuration::Configuration,
    error::{function_not_found, invalid, not_enforced, user},
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
            ("Layers", &$input.layers),
            ("FileSystemConfigs", &$input.file_system_configs),
            ("ImageConfig", &$input.image_config),
            ("SnapStart", &$input.snap_start),
            ("LoggingConfig", &$input.logging_config),
        ]
    };
}

mod create;
mod delete;
mod read;
mod update;

pub use create::{CreateFunction, CreateFunctionInput};
pub use delete::{DeleteFunction, DeleteFunctionInput};
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
}

impl Record for Function {
    const NOUN: &'static str = "lambda/Function";
    // It holds the customer's environment variables, which AWS encrypts at rest too.
    const SECRET: bool = true;
}

impl Function {
    /// A new revision of `$LATEST`. The run key changes only if `next` runs differently.
    pub(crate) fn revise(&mut self, next: Configuration, cx: &mut Cx<'_>) {
        let alike = self.configuration.runs_alike(&next);
        self.configuration = next;
        self.configuration.last_modified = cx.now.lambda();
        self.configuration.revision_id = cx.uuid();
        if !alike {
            self.run_key = cx.uuid();
        }
    }

    /// # Errors
    /// `PreconditionFailedException` unless `revision_id` is absent or the present one.
    pub(crate) fn check_revision(&self, revision_id: Option<&str>) -> Result<()> {
        check_revision(&self.configuration.revision_id, revision_id)
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
    let (configuration, code_blob) = if behind == LATEST {
        (function.configuration.clone(), function.code_blob.clone())
    } else {
        let version = Version::get(&address.scope(), &address.function, &behind, tx)?.ok_or_else(missing)?;
        (version.configuration, version.code_blob)
    };
    let configuration = Configuration { function_arn: address.qualified_arn(), ..configuration };
    Ok(Resolved { function, configuration, code_blob })
}

/// Where code comes from, as CreateFunction has it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Code {
    /// The upload, which stands here as what [`service::Upload`] replaced it by.
    pub zip_file: Option<Value>,
    /// Refused.
    pub s3_bucket: Option<Value>,
    /// Refused.
    pub s3_key: Option<Value>,
    /// Refused.
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
}

/// AWS's limit on a zip sent with the call.
const ZIPPED_BYTES_MAX: u64 = 52_428_800;

impl Code {
    /// The uploaded zip.
    ///
    /// # Errors
    /// `InvalidParameterValueException` for another source or for none; 413 for a zip over AWS's limit; 5xx if the
    /// upload did not go through the store.
    pub(crate) fn uploaded(&self) -> Result<Uploaded> {
        let elsewhere = [
            (&self.s3_bucket, "S3Bucket"),
            (&self.s3_key, "S3Key"),
            (&self.s3_object_version, "S3ObjectVersion"),
            (&self.s3_object_storage_mode, "S3ObjectStorageMode"),
            (&self.image_uri, "ImageUri"),
            (&self.source_kms_key_arn, "SourceKMSKeyArn"),
        ];
        if let Some((_, member)) =
            elsewhere.iter().find(|(value, _)| value.as_ref().is_some_and(|value| !value.is_null()))
        {
            return Err(not_enforced(member, "send the code itself as ZipFile."));
        }
        let Some(zip) = self.zip_file.as_ref().filter(|zip| !zip.is_null()) else {
            return Err(invalid("Please provide a source for function code."));
        };
        let uploaded = Uploaded::deserialize(zip)
            .map_err(|_| service::ServiceError::internal("ZipFile reached the operation without having been stored"))?;
        if uploaded.code_size >= ZIPPED_BYTES_MAX {
            let text = format!("Zipped size must be smaller than {ZIPPED_BYTES_MAX} bytes");
            return Err(user("RequestEntityTooLargeException", 413, text));
        }
        if uploaded.code_size == 0 {
            return Err(invalid("Uploaded file must be a non-empty zip"));
        }
        Ok(uploaded)
    }
}

#[cfg(test)]
mod tests;
