//! The operations that are served, by the names the protocol crate calls them. What is not here answers NotImplemented.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, OnceLock},
};

use s3s::service::S3ServiceBuilder;
use s3s::{S3, S3Error, S3ErrorCode, S3Request, S3Response, S3Result, dto, service::S3Service};
use service::ServiceError;

use super::{
    bucket,
    call::{Act, Call},
    listing, object, unset, upload,
};

/// Holds nothing: the call, with its store and its caller, travels with the request.
struct Served;

type Answer<'a, O> = Pin<Box<dyn Future<Output = S3Result<S3Response<O>>> + Send + 'a>>;

/// The protocol crate's service over [`Served`]. It has no authentication of its own: no request reaches it but through
/// `arrive`, which takes the signature away.
pub(super) fn service() -> &'static S3Service {
    static SERVICE: OnceLock<S3Service> = OnceLock::new();
    SERVICE.get_or_init(|| S3ServiceBuilder::new(Served).build())
}

/// Runs one operation where it may block. Its error is kept with the call; the one given back is never shown.
fn blocking<'a, I, O>(request: S3Request<I>, name: &'static str, act: Act<I, O>) -> Answer<'a, O>
where
    I: Send + 'static,
    O: Send + 'static,
{
    Box::pin(async move {
        let Some(call) = request.extensions.get::<Arc<Call>>().map(Arc::clone) else {
            return Err(S3Error::new(S3ErrorCode::InternalError));
        };
        let (worker, input) = (Arc::clone(&call), request.input);
        let error = match tokio::task::spawn_blocking(move || worker.run(name, &input, act)).await {
            Ok(Ok(output)) => return Ok(S3Response::new(output)),
            Ok(Err(error)) => error,
            Err(panic) => ServiceError::internal(format!("{name}: {panic}")),
        };
        call.refuse(error);
        Err(S3Error::new(S3ErrorCode::InternalError))
    })
}

/// Each line is one method of the protocol crate's trait, written out as `async_trait` would.
macro_rules! operations {
    ($($method:ident $name:literal $input:ident -> $output:ident = $act:path;)*) => {
        impl S3 for Served {
            $(fn $method<'life0, 'async_trait>(
                &'life0 self,
                request: S3Request<dto::$input>,
            ) -> Answer<'async_trait, dto::$output>
            where
                'life0: 'async_trait,
                Self: 'async_trait,
            {
                blocking(request, $name, $act)
            })*
        }

        /// Names of the operations that are served.
        pub(in crate::exchange) const NAMES: &[&str] = &[$($name),*];
    };
}

operations! {
    list_buckets "ListBuckets" ListBucketsInput -> ListBucketsOutput = bucket::list;
    create_bucket "CreateBucket" CreateBucketInput -> CreateBucketOutput = bucket::create;
    head_bucket "HeadBucket" HeadBucketInput -> HeadBucketOutput = bucket::head;
    delete_bucket "DeleteBucket" DeleteBucketInput -> DeleteBucketOutput = bucket::delete;
    get_bucket_location "GetBucketLocation" GetBucketLocationInput -> GetBucketLocationOutput = bucket::location;
    get_bucket_policy "GetBucketPolicy" GetBucketPolicyInput -> GetBucketPolicyOutput = bucket::policy;
    put_bucket_policy "PutBucketPolicy" PutBucketPolicyInput -> PutBucketPolicyOutput = bucket::put_policy;
    delete_bucket_policy "DeleteBucketPolicy" DeleteBucketPolicyInput -> DeleteBucketPolicyOutput = bucket::delete_policy;
    get_bucket_policy_status "GetBucketPolicyStatus" GetBucketPolicyStatusInput -> GetBucketPolicyStatusOutput = bucket::policy_status;
    get_bucket_acl "GetBucketAcl" GetBucketAclInput -> GetBucketAclOutput = bucket::acl;

    get_bucket_versioning "GetBucketVersioning" GetBucketVersioningInput -> GetBucketVersioningOutput = unset::versioning;
    get_bucket_tagging "GetBucketTagging" GetBucketTaggingInput -> GetBucketTaggingOutput = unset::tagging;
    get_bucket_cors "GetBucketCors" GetBucketCorsInput -> GetBucketCorsOutput = unset::cors;
    get_bucket_website "GetBucketWebsite" GetBucketWebsiteInput -> GetBucketWebsiteOutput = unset::website;
    get_bucket_lifecycle_configuration "GetBucketLifecycleConfiguration" GetBucketLifecycleConfigurationInput -> GetBucketLifecycleConfigurationOutput = unset::lifecycle;
    get_bucket_replication "GetBucketReplication" GetBucketReplicationInput -> GetBucketReplicationOutput = unset::replication;
    get_bucket_encryption "GetBucketEncryption" GetBucketEncryptionInput -> GetBucketEncryptionOutput = unset::encryption;
    get_object_lock_configuration "GetObjectLockConfiguration" GetObjectLockConfigurationInput -> GetObjectLockConfigurationOutput = unset::object_lock;
    get_public_access_block "GetPublicAccessBlock" GetPublicAccessBlockInput -> GetPublicAccessBlockOutput = unset::public_access_block;
    get_bucket_ownership_controls "GetBucketOwnershipControls" GetBucketOwnershipControlsInput -> GetBucketOwnershipControlsOutput = unset::ownership_controls;
    get_bucket_accelerate_configuration "GetBucketAccelerateConfiguration" GetBucketAccelerateConfigurationInput -> GetBucketAccelerateConfigurationOutput = unset::accelerate;
    get_bucket_request_payment "GetBucketRequestPayment" GetBucketRequestPaymentInput -> GetBucketRequestPaymentOutput = unset::request_payment;
    get_bucket_logging "GetBucketLogging" GetBucketLoggingInput -> GetBucketLoggingOutput = unset::logging;
    get_bucket_notification_configuration "GetBucketNotificationConfiguration" GetBucketNotificationConfigurationInput -> GetBucketNotificationConfigurationOutput = unset::notification;

    put_object "PutObject" PutObjectInput -> PutObjectOutput = object::put;
    get_object "GetObject" GetObjectInput -> GetObjectOutput = object::get;
    head_object "HeadObject" HeadObjectInput -> HeadObjectOutput = object::head;
    delete_object "DeleteObject" DeleteObjectInput -> DeleteObjectOutput = object::delete;
    delete_objects "DeleteObjects" DeleteObjectsInput -> DeleteObjectsOutput = object::delete_many;
    copy_object "CopyObject" CopyObjectInput -> CopyObjectOutput = object::copy;
    get_object_acl "GetObjectAcl" GetObjectAclInput -> GetObjectAclOutput = object::acl;
    get_object_tagging "GetObjectTagging" GetObjectTaggingInput -> GetObjectTaggingOutput = object::tagging;

    list_objects "ListObjects" ListObjectsInput -> ListObjectsOutput = listing::version_1;
    list_objects_v2 "ListObjectsV2" ListObjectsV2Input -> ListObjectsV2Output = listing::version_2;
    list_object_versions "ListObjectVersions" ListObjectVersionsInput -> ListObjectVersionsOutput = listing::versions;

    create_multipart_upload "CreateMultipartUpload" CreateMultipartUploadInput -> CreateMultipartUploadOutput = upload::create;
    upload_part "UploadPart" UploadPartInput -> UploadPartOutput = upload::part;
    upload_part_copy "UploadPartCopy" UploadPartCopyInput -> UploadPartCopyOutput = upload::part_copy;
    complete_multipart_upload "CompleteMultipartUpload" CompleteMultipartUploadInput -> CompleteMultipartUploadOutput = upload::complete;
    abort_multipart_upload "AbortMultipartUpload" AbortMultipartUploadInput -> AbortMultipartUploadOutput = upload::abort;
    list_parts "ListParts" ListPartsInput -> ListPartsOutput = upload::list_parts;
    list_multipart_uploads "ListMultipartUploads" ListMultipartUploadsInput -> ListMultipartUploadsOutput = upload::list;
}
