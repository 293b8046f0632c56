//! Tests by outside witnesses: AWS's published vectors, botocore's signatures, the Rust SDK's signer.
