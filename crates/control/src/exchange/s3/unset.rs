//! What a bucket can be configured with and cannot be yet: the answers of a bucket where nothing was configured. Tools
//! read all of them after every change, and want each service's own word for "none".
//!
//! Source: Amazon S3 API Reference, "Error responses", and each operation's page.

use s3s::dto;
use service::ServiceError;

use super::call::{Result, Step};

/// One function for each operation that answers with an error.
macro_rules! none {
    ($($function:ident $input:ident -> $output:ident = $code:literal $text:literal;)*) => {
        $(pub(super) fn $function(step: &mut Step<'_, '_>, input: &dto::$input) -> Result<dto::$output> {
            let bucket = step.bucket(&input.bucket)?;
            step.allow(&bucket)?;
            Err(ServiceError::new($code, 404, $text).with_field("BucketName", bucket.name))
        })*
    };
}

none! {
    tagging GetBucketTaggingInput -> GetBucketTaggingOutput = "NoSuchTagSet" "The TagSet does not exist";
    cors GetBucketCorsInput -> GetBucketCorsOutput = "NoSuchCORSConfiguration" "The CORS configuration does not exist";
    website GetBucketWebsiteInput -> GetBucketWebsiteOutput = "NoSuchWebsiteConfiguration" "The specified bucket does not have a website configuration";
    lifecycle GetBucketLifecycleConfigurationInput -> GetBucketLifecycleConfigurationOutput = "NoSuchLifecycleConfiguration" "The lifecycle configuration does not exist";
    replication GetBucketReplicationInput -> GetBucketReplicationOutput = "ReplicationConfigurationNotFoundError" "The replication configuration was not found";
    encryption GetBucketEncryptionInput -> GetBucketEncryptionOutput = "ServerSideEncryptionConfigurationNotFoundError" "The server side encryption configuration was not found";
    object_lock GetObjectLockConfigurationInput -> GetObjectLockConfigurationOutput = "ObjectLockConfigurationNotFoundError" "Object Lock configuration does not exist for this bucket";
    public_access_block GetPublicAccessBlockInput -> GetPublicAccessBlockOutput = "NoSuchPublicAccessBlockConfiguration" "The public access block configuration was not found";
    ownership_controls GetBucketOwnershipControlsInput -> GetBucketOwnershipControlsOutput = "OwnershipControlsNotFoundError" "The bucket ownership controls were not found";
}

/// One function for each operation that answers with an empty or fixed element.
macro_rules! fixed {
    ($($function:ident $input:ident -> $output:ident = $value:expr;)*) => {
        $(pub(super) fn $function(step: &mut Step<'_, '_>, input: &dto::$input) -> Result<dto::$output> {
            let bucket = step.bucket(&input.bucket)?;
            step.allow(&bucket)?;
            Ok($value)
        })*
    };
}

fixed! {
    versioning GetBucketVersioningInput -> GetBucketVersioningOutput = dto::GetBucketVersioningOutput::default();
    accelerate GetBucketAccelerateConfigurationInput -> GetBucketAccelerateConfigurationOutput = dto::GetBucketAccelerateConfigurationOutput::default();
    logging GetBucketLoggingInput -> GetBucketLoggingOutput = dto::GetBucketLoggingOutput::default();
    notification GetBucketNotificationConfigurationInput -> GetBucketNotificationConfigurationOutput = dto::GetBucketNotificationConfigurationOutput::default();
    request_payment GetBucketRequestPaymentInput -> GetBucketRequestPaymentOutput = dto::GetBucketRequestPaymentOutput {
        payer: Some(dto::Payer::from_static(dto::Payer::BUCKET_OWNER)),
    };
}
