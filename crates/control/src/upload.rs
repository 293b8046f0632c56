//! Code that arrives inside a call: decoded, checked and stored before the operation sees it.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use environment::package;
use serde_json::{Value, json};
use service::{ServiceError, Upload};
use wire::table::Operation;

use crate::{Inner, reader::unavailable};

impl Inner {
    /// Replaces the uploaded member by a reference to the stored blob. A member that is absent is left to the operation.
    ///
    /// # Errors
    /// Lambda's errors for what is no zip or too large; nothing is stored then.
    pub(crate) fn upload(&self, op: &Operation, upload: Upload, params: &mut Value) -> Result<(), ServiceError> {
        let mut member = &mut *params;
        for name in upload.path {
            match member.get_mut(name) {
                Some(inner) => member = inner,
                None => return Ok(()),
            }
        }
        let Some(text) = member.as_str() else { return Ok(()) };
        let zip = STANDARD.decode(text).map_err(|_| {
            unusable("Could not unzip uploaded file. Please check your file, then try to upload again.")
        })?;
        if zip.len() as u64 > package::ZIP_BYTES_MAX {
            let text = format!("Zipped size must be smaller than {} bytes", package::ZIP_BYTES_MAX);
            return Err(ServiceError::new("RequestEntityTooLargeException", 413, text).with_field("Type", "User"));
        }
        let inspected =
            package::inspect(&zip).map_err(|error| unusable(&error.to_string()).with_cause(error.detail()))?;
        let hash = self.store.put_blob(&zip).map_err(|e| unavailable(&e))?;
        tracing::debug!(operation = op.name, hash, bytes = zip.len(), "stored uploaded code");
        *member = json!({ "Blob": hash, "CodeSha256": inspected.sha256_base64, "CodeSize": inspected.size });
        Ok(())
    }
}

fn unusable(text: &str) -> ServiceError {
    ServiceError::new("InvalidParameterValueException", 400, text).with_field("Type", "User")
}
