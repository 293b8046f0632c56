//! Code that arrives inside a call: decoded, checked and stored before the operation sees it.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use environment::package;
use serde_json::{Value, json};
use service::{ServiceError, Upload};
use wire::table::Operation;

use crate::{Inner, reader::unavailable};

/// Takes the uploaded text out of the parameters, leaving an empty one in its place, so that nothing that looks at the
/// parameters meanwhile copies it. `None` when there is none: that is left to the operation.
pub(crate) fn take(upload: Upload, params: &mut Value) -> Option<String> {
    match member(upload, params)? {
        Value::String(text) => Some(std::mem::take(text)),
        _ => None,
    }
}

fn member(upload: Upload, params: &mut Value) -> Option<&mut Value> {
    upload.path.iter().try_fold(params, |member, name| member.get_mut(name))
}

impl Inner {
    /// Stores an uploaded text and puts a reference to the blob in its place.
    ///
    /// # Errors
    /// Lambda's errors for what is no zip or too large; nothing is stored then.
    pub(crate) fn upload(
        &self,
        op: &Operation,
        upload: Upload,
        text: String,
        params: &mut Value,
    ) -> Result<(), ServiceError> {
        let zip = STANDARD.decode(&text).map_err(|_| {
            unusable("Could not unzip uploaded file. Please check your file, then try to upload again.")
        })?;
        // The text is a third larger than what it says, and tens of megabytes are not kept twice.
        drop(text);
        if zip.len() as u64 > package::ZIP_BYTES_MAX {
            let text = format!("Zipped size must be smaller than {} bytes", package::ZIP_BYTES_MAX);
            return Err(ServiceError::new("RequestEntityTooLargeException", 413, text).with_field("Type", "User"));
        }
        let inspected =
            package::inspect(&zip).map_err(|error| unusable(&error.to_string()).with_cause(error.detail()))?;
        let hash = self.store.put_blob(&zip).map_err(|e| unavailable(&e))?;
        tracing::debug!(operation = op.name, hash, bytes = zip.len(), "stored uploaded code");
        if let Some(member) = member(upload, params) {
            *member = json!({ "Blob": hash, "CodeSha256": inspected.sha256_base64, "CodeSize": inspected.size });
        }
        Ok(())
    }
}

fn unusable(text: &str) -> ServiceError {
    ServiceError::new("InvalidParameterValueException", 400, text).with_field("Type", "User")
}
