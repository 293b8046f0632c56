//! IAM, STS, CloudTrail and S3.
