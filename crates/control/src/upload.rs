//! Code that arrives inside a call or lies in S3: read, checked and stored before the operation sees it.
//!
//! An object is read as the caller: whoever may not `s3:GetObject` it cannot make a function of it.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use environment::package;
use platform::s3::{bucket, object, policy};
use serde_json::{Value, json};
use service::{Need, ServiceError, Tx, Upload};

use crate::{
    authorize,
    dispatch::Known,
    reader::{SnapshotReader, unavailable},
};

/// Where code comes from.
pub(crate) enum Source {
    /// It stood in the call, in base64.
    Inline(String),
    /// It is an object of S3.
    Object { bucket: String, key: String, version: Option<String> },
    /// Both are given.
    Ambiguous,
}

/// Takes what names the code out of the parameters. An uploaded text leaves an empty one in its place, so that nothing
/// that looks at the parameters meanwhile copies it; the name of an object stays, for the record. `None` when there is
/// no source: that is left to the operation.
pub(crate) fn take(upload: Upload, params: &mut Value) -> Option<Source> {
    let (last, parents) = upload.path.split_last()?;
    let holder = parents.iter().try_fold(params, |member, name| member.get_mut(*name))?.as_object_mut()?;
    let text = |name: &str| holder.get(name).and_then(Value::as_str).map(str::to_owned);
    let is_inline = holder.get(*last).is_some_and(|zip| !zip.is_null());
    match (text("S3Bucket"), text("S3Key")) {
        (None, None) => match holder.get_mut(*last)? {
            Value::String(text) => Some(Source::Inline(std::mem::take(text))),
            _ => None,
        },
        _ if is_inline => Some(Source::Ambiguous),
        (Some(bucket), Some(key)) => Some(Source::Object { bucket, key, version: text("S3ObjectVersion") }),
        _ => None,
    }
}

/// Puts a reference to a stored zip where it is to stand.
fn refer(upload: Upload, params: &mut Value, reference: Value) {
    let Some((last, parents)) = upload.path.split_last() else { return };
    let holder = parents.iter().try_fold(params, |member, name| member.get_mut(*name));
    if let Some(holder) = holder.and_then(Value::as_object_mut) {
        holder.insert((*last).to_owned(), reference);
    }
}

impl Known<'_> {
    /// Reads the code, checks and stores it, and puts a reference to the blob where the operation looks for it.
    ///
    /// # Errors
    /// Lambda's errors for what is no zip, is too large, or is an object that is not there or that the caller may not
    /// read; nothing is stored then.
    pub(crate) fn upload(&self, upload: Upload, source: Source, params: &mut Value) -> Result<(), ServiceError> {
        let inner = self.call.inner;
        let zip = match source {
            Source::Inline(text) => inline(text)?,
            Source::Object { bucket, key, .. } if self.is_directory(&bucket)? => self.directory(&key)?,
            Source::Object { bucket, key, version } => self.object(&bucket, &key, version.as_deref())?,
            Source::Ambiguous => {
                let text = "Please do not provide other FunctionCode parameters when providing a ZipFile.";
                return Err(unusable(text));
            }
        };
        let inspected =
            package::inspect(&zip).map_err(|error| unusable(&error.to_string()).with_cause(error.detail()))?;
        let hash = inner.store.put_blob(&zip).map_err(|e| unavailable(&e))?;
        tracing::debug!(operation = self.op.name, hash, bytes = zip.len(), "stored uploaded code");
        let reference = json!({
            "Blob": hash,
            "CodeSha256": inspected.sha256_base64,
            "CodeSize": inspected.size,
            "Unpacked": inspected.unpacked,
        });
        refer(upload, params, reference);
        Ok(())
    }

    /// The bytes of an object the caller may read.
    fn object(&self, bucket: &str, key: &str, version: Option<&str>) -> Result<Vec<u8>, ServiceError> {
        let inner = self.call.inner;
        let mut reader = SnapshotReader::new(&*inner.store, &inner.vault)?;
        let mut tx = Tx::new(&mut reader);
        let Some(found) = bucket::find(&mut tx, bucket)? else {
            return Err(s3_says("NoSuchBucket", "The specified bucket does not exist"));
        };
        let action = if version.is_some() { "s3:GetObjectVersion" } else { "s3:GetObject" };
        let resource_policy = policy::effective(&mut tx, &found)?;
        let need = |action: &str, resource: String| Need {
            resource_policy: resource_policy.clone(),
            refusal: Some(Box::new(s3_denies(bucket, key))),
            ..Need::new(action, resource, found.account.as_str())
        };
        let check = |need: Need, tx: &mut Tx<'_>| {
            let at = self.circumstances();
            authorize::check(&inner.compiled, self.op.service, &self.caller, &[need], &at, tx)
        };
        check(need(action, found.object_arn(key)), &mut tx)?;
        // Objects have no versions but the one.
        if version.is_some_and(|version| version != "null") {
            return Err(s3_says("NoSuchVersion", "The specified version does not exist."));
        }
        let Some(object) = object::find(&mut tx, &found, key)? else {
            // Whoever may not list is not told that the key is free.
            check(need("s3:ListBucket", found.arn()), &mut tx)?;
            return Err(s3_says("NoSuchKey", "The specified key does not exist."));
        };
        if object.size > package::UNPACKED_BYTES_MAX {
            return Err(unusable(&format!("Unzipped size must be smaller than {} bytes", package::UNPACKED_BYTES_MAX)));
        }
        let bytes = tx.blob(&object.blob)?;
        bytes.ok_or_else(|| ServiceError::internal(format!("the blob {} of an object is missing", object.blob)))
    }
}

/// A zip that stood in the call.
fn inline(text: String) -> Result<Vec<u8>, ServiceError> {
    let zip = STANDARD
        .decode(&text)
        .map_err(|_| unusable("Could not unzip uploaded file. Please check your file, then try to upload again."))?;
    // The text is a third larger than what it says, and tens of megabytes are not kept twice.
    drop(text);
    if zip.len() as u64 > package::ZIP_BYTES_MAX {
        let text = format!("Zipped size must be smaller than {} bytes", package::ZIP_BYTES_MAX);
        return Err(ServiceError::new("RequestEntityTooLargeException", 413, text).with_field("Type", "User"));
    }
    Ok(zip)
}

/// Lambda's words for what S3 answers it.
fn s3_says(code: &str, text: &str) -> ServiceError {
    unusable(&format!("Error occurred while GetObject. S3 Error Code: {code}. S3 Error Message: {text}"))
}

fn s3_denies(bucket: &str, key: &str) -> ServiceError {
    let text = format!(
        "Your access has been denied by S3, please make sure your request credentials have permission to GetObject for \
         {bucket}/{key}. S3 Error Code: AccessDenied. S3 Error Message: Access Denied"
    );
    ServiceError::new("AccessDeniedException", 403, text)
}

pub(crate) fn unusable(text: &str) -> ServiceError {
    ServiceError::new("InvalidParameterValueException", 400, text).with_field("Type", "User")
}

#[cfg(test)]
mod tests;
