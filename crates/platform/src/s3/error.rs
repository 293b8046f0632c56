//! S3's errors, with AWS's codes and sentences.
//!
//! Source: Amazon S3 API Reference, "Error responses".

use service::ServiceError;

/// `NoSuchBucket`.
#[must_use]
pub fn no_such_bucket(name: &str) -> ServiceError {
    ServiceError::new("NoSuchBucket", 404, "The specified bucket does not exist").with_field("BucketName", name)
}

/// `NoSuchKey`.
#[must_use]
pub fn no_such_key(key: &str) -> ServiceError {
    ServiceError::new("NoSuchKey", 404, "The specified key does not exist.").with_field("Key", key)
}

/// `NoSuchUpload`.
#[must_use]
pub fn no_such_upload(id: &str) -> ServiceError {
    let text = "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted \
                or completed.";
    ServiceError::new("NoSuchUpload", 404, text).with_field("UploadId", id)
}

/// `AccessDenied` with S3's bare sentence, for callers who may learn nothing more.
#[must_use]
pub fn access_denied() -> ServiceError {
    ServiceError::new("AccessDenied", 403, "Access Denied")
}

/// `InvalidArgument`, naming the argument.
#[must_use]
pub fn invalid_argument(name: &str, value: &str, text: impl Into<String>) -> ServiceError {
    ServiceError::new("InvalidArgument", 400, text).with_field("ArgumentName", name).with_field("ArgumentValue", value)
}

/// `InvalidRequest`.
#[must_use]
pub fn invalid_request(text: impl Into<String>) -> ServiceError {
    ServiceError::new("InvalidRequest", 400, text)
}

/// `NotImplemented`: what is not enforced is refused rather than kept without effect.
#[must_use]
pub fn not_supported(what: &str) -> ServiceError {
    let text = format!(
        "{what} is not supported by this version of Portcullis, and is refused rather than stored without effect. Leave \
         it out; docs/coverage.md lists what is enforced."
    );
    ServiceError::new("NotImplemented", 501, text)
}

/// `EntityTooLarge`.
#[must_use]
pub fn too_large(bytes: u64, bytes_max: u64) -> ServiceError {
    ServiceError::new("EntityTooLarge", 400, "Your proposed upload exceeds the maximum allowed size")
        .with_field("ProposedSize", bytes)
        .with_field("MaxSizeAllowed", bytes_max)
}

/// `PreconditionFailed`, naming the header that did not hold.
#[must_use]
pub fn precondition_failed(header: &str) -> ServiceError {
    ServiceError::new("PreconditionFailed", 412, "At least one of the pre-conditions you specified did not hold")
        .with_field("Condition", header)
}

/// 304: the client has it already. Sent without a body.
#[must_use]
pub fn not_modified() -> ServiceError {
    ServiceError::new("NotModified", 304, "Not Modified")
}

/// `MalformedPolicy`.
#[must_use]
pub fn malformed_policy(text: impl Into<String>) -> ServiceError {
    ServiceError::new("MalformedPolicy", 400, text)
}
