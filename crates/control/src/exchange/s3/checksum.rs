//! Checksums: those the client sends are verified, one is always kept.
//!
//! Source: Amazon S3 User Guide, "Checking object integrity in Amazon S3".

use base64::{Engine as _, engine::general_purpose::STANDARD};
use platform::s3::{
    error::{invalid_argument, invalid_request},
    object::Checksum,
};
use s3s::crypto::{Checksum as _, Crc32, Crc32c, Crc64Nvme, Md5, Sha1, Sha256};
use service::ServiceError;

use super::call::{Call, Result};

/// What S3 computes where the client names none.
pub(super) const DEFAULT_ALGORITHM: &str = "CRC64NVME";
const ALGORITHMS: [&str; 5] = ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"];

/// The algorithm of that name, in any case.
///
/// # Errors
/// `InvalidRequest`.
pub(super) fn algorithm(name: &str) -> Result<&'static str> {
    let found = ALGORITHMS.into_iter().find(|known| known.eq_ignore_ascii_case(name));
    found.ok_or_else(|| invalid_request("Checksum algorithm provided is unsupported. Please try again with any of the valid types: [CRC32, CRC32C, CRC64NVME, SHA1, SHA256]"))
}

/// The digest of one of [`ALGORITHMS`].
pub(super) fn digest(algorithm: &str, bytes: &[u8]) -> Vec<u8> {
    match algorithm {
        "CRC32" => Crc32::checksum(bytes).to_vec(),
        "CRC32C" => Crc32c::checksum(bytes).to_vec(),
        "SHA1" => Sha1::checksum(bytes).as_ref().to_vec(),
        "SHA256" => Sha256::checksum(bytes).as_ref().to_vec(),
        _ => Crc64Nvme::checksum(bytes).to_vec(),
    }
}

/// The checksum of content that is here whole.
pub(super) fn full(algorithm: &str, bytes: &[u8]) -> Checksum {
    Checksum { algorithm: algorithm.into(), value: STANDARD.encode(digest(algorithm, bytes)), full_object: true }
}

/// The checksum over the checksums of parts, base64 each.
pub(super) fn composite(algorithm: &str, parts: &[String]) -> Checksum {
    let digests: Vec<u8> = parts.iter().flat_map(|part| STANDARD.decode(part).unwrap_or_default()).collect();
    let value = format!("{}-{}", STANDARD.encode(digest(algorithm, &digests)), parts.len());
    Checksum { algorithm: algorithm.into(), value, full_object: false }
}

/// The MD5, which entity tags are made of.
pub(super) fn md5(bytes: &[u8]) -> [u8; 16] {
    Md5::checksum(bytes).as_ref().try_into().unwrap_or_default()
}

/// Verifies `Content-MD5` and the `x-amz-checksum-*` of headers or trailers against the body.
///
/// # Errors
/// `InvalidDigest`, `BadDigest`, `InvalidRequest` for several or none where one was promised.
pub(super) fn verify(call: &Call) -> Result<Option<Checksum>> {
    if let Some(sent) = call.header("content-md5") {
        let sent = STANDARD.decode(sent.trim()).ok().filter(|md5| md5.len() == 16);
        let Some(sent) = sent else {
            return Err(ServiceError::new("InvalidDigest", 400, "The Content-MD5 you specified was invalid."));
        };
        if sent != md5(&call.body) {
            return Err(bad_digest("Content-MD5 you specified did not match what we received."));
        }
    }
    let mut sent = ALGORITHMS.iter().filter_map(|algorithm| {
        Some((*algorithm, call.header(&format!("x-amz-checksum-{}", algorithm.to_ascii_lowercase()))?))
    });
    let Some((algorithm, value)) = sent.next() else {
        return match call.header("x-amz-sdk-checksum-algorithm") {
            Some(_) if !call.body.is_empty() => Err(invalid_request(
                "x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or x-amz-trailer headers were found.",
            )),
            _ => Ok(None),
        };
    };
    if sent.next().is_some() {
        let text = "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.";
        return Err(invalid_request(text));
    }
    let computed = digest(algorithm, &call.body);
    let decoded = STANDARD.decode(value.trim()).ok().filter(|sum| sum.len() == computed.len());
    let Some(decoded) = decoded else {
        let header = format!("x-amz-checksum-{}", algorithm.to_ascii_lowercase());
        return Err(invalid_request(format!("Value for {header} header is invalid.")));
    };
    if decoded != computed {
        return Err(bad_digest(&format!("{algorithm} you specified did not match the calculated checksum.")));
    }
    Ok(Some(Checksum { algorithm: algorithm.into(), value: STANDARD.encode(computed), full_object: true }))
}

pub(super) fn bad_digest(what: &str) -> ServiceError {
    ServiceError::new("BadDigest", 400, format!("The {what}"))
}

/// Whether the type of an upload's checksum covers the whole content.
///
/// # Errors
/// `InvalidRequest` for a pair S3 does not know.
pub(super) fn full_object(algorithm: &str, kind: Option<&str>) -> Result<bool> {
    match (algorithm, kind) {
        ("CRC64NVME", None | Some("FULL_OBJECT")) | ("CRC32" | "CRC32C", Some("FULL_OBJECT")) => Ok(true),
        ("CRC32" | "CRC32C" | "SHA1" | "SHA256", None | Some("COMPOSITE")) => Ok(false),
        (_, Some(kind @ ("FULL_OBJECT" | "COMPOSITE"))) => Err(invalid_request(format!(
            "The {kind} checksum type cannot be used with the {} checksum algorithm.",
            algorithm.to_ascii_lowercase()
        ))),
        (_, kind) => Err(invalid_argument(
            "x-amz-checksum-type",
            kind.unwrap_or_default(),
            "Value for x-amz-checksum-type header is invalid.",
        )),
    }
}

/// Writes a checksum into the members of an output that has no room for its type.
macro_rules! show_value {
    ($output:expr, $checksum:expr) => {
        if let Some(checksum) = $checksum {
            let value = Some(checksum.value.clone());
            match checksum.algorithm.as_str() {
                "CRC32" => $output.checksum_crc32 = value,
                "CRC32C" => $output.checksum_crc32c = value,
                "SHA1" => $output.checksum_sha1 = value,
                "SHA256" => $output.checksum_sha256 = value,
                _ => $output.checksum_crc64nvme = value,
            }
        }
    };
}

/// Writes a checksum and its type into the members of an output.
macro_rules! show {
    ($output:expr, $checksum:expr) => {
        if let Some(checksum) = $checksum {
            let kind = if checksum.full_object { "FULL_OBJECT" } else { "COMPOSITE" };
            $output.checksum_type = Some(s3s::dto::ChecksumType::from(kind.to_owned()));
            $crate::exchange::s3::checksum::show_value!($output, Some(checksum));
        }
    };
}

pub(super) use {show, show_value};
