//! From the connection to a call whose signer is proven and whose body is plain and whole.

use std::sync::{Arc, PoisonError};

use bytes::Bytes;
use platform::{
    cloudtrail::record::UserIdentity,
    s3::{
        bucket::is_name,
        error::{invalid_request, not_supported, too_large},
        object::BYTES_MAX,
    },
};
use service::{ServiceError, Tx};
use sha2::{Digest, Sha256};
use wire::{
    sigv4::{Body, Dialect, Payload, RequestHead, chunked::Decoder},
    table,
};

use super::{answer, call::Call, checksum};
use crate::{
    Inner,
    dispatch::{Request, Response},
    reader::SnapshotReader,
    verify::Authenticated,
};

/// A line of aws-chunked framing or of its trailers.
const FRAME_LINE_BYTES_MAX: usize = 4096;
/// What aws-chunked framing may add to a body of the greatest size, at the least chunk of 8 KiB.
const FRAMING_BYTES_MAX: u64 = BYTES_MAX / 8192 * 128 + 16 * 1024;

/// Verifies and unwraps one request. Blocks.
pub(super) fn admit(inner: &Arc<Inner>, request: Request) -> Result<Call, Response> {
    let request_id = inner.uuid();
    let is_head = request.method == "HEAD";
    let refuse = |error: &ServiceError| answer::error(error, &request_id, is_head);
    let Some(service) = table::service("s3") else {
        return Err(refuse(&ServiceError::internal("no table of s3")));
    };
    let mut call = Call::new(Arc::clone(inner), service, request, request_id.clone());
    call.path = path_style(&call.request);
    unwrap(&mut call).map_err(|error| refuse(&error))?;
    Ok(call)
}

fn unwrap(call: &mut Call) -> Result<(), ServiceError> {
    let bytes = call.request.body.len() as u64;
    if bytes > BYTES_MAX + FRAMING_BYTES_MAX {
        return Err(too_large(bytes, BYTES_MAX));
    }
    refuse_other_mechanisms(&call.request)?;
    let authenticated = authenticate(call)?;
    let framed = call.request.header("x-amz-content-sha256").is_some_and(|value| value.starts_with("STREAMING-"));
    let (body, trailers) = match authenticated.payload {
        Payload::Chunked(seed) => {
            if seed.decoded_length() > BYTES_MAX {
                return Err(too_large(seed.decoded_length(), BYTES_MAX));
            }
            unchunk(seed.decoder(), &call.request.body)?
        }
        // Keys of the development mode have no secret: the frames are undone, their signatures mean nothing.
        Payload::Checked if framed && authenticated.caller.is_some() => unchunk_unverified(&call.request)?,
        _ if framed => return Err(invalid_request("A streamed body must be signed.")),
        Payload::Sha256(_) => {
            let computed: [u8; 32] = Sha256::digest(&call.request.body).into();
            authenticated.payload.check(&computed).map_err(|failure| failure.to_error(Dialect::S3))?;
            (call.request.body.clone(), Vec::new())
        }
        Payload::Checked | Payload::Unsigned => (call.request.body.clone(), Vec::new()),
    };
    if body.len() as u64 > BYTES_MAX {
        return Err(too_large(body.len() as u64, BYTES_MAX));
    }
    call.caller = authenticated.caller;
    call.region = authenticated.region;
    call.query = plain_query(&call.request)?;
    call.headers = plain_headers(&call.request, trailers, body.len());
    call.body = body;
    for (name, value) in &call.headers {
        refuse_unenforced(name, value)?;
    }
    // Completing an upload, the checksum is the whole object's and not this body's.
    let is_completion = call.request.method == "POST" && call.query_has("uploadId");
    if !is_completion {
        call.checksum = checksum::verify(call)?;
    }
    Ok(())
}

/// Source: Amazon S3 API Reference, "Authenticating Requests". Signature Version 2 and browser uploads by form are not
/// served; both would otherwise be taken for unsigned calls.
fn refuse_other_mechanisms(request: &Request) -> Result<(), ServiceError> {
    let query = request.raw_query.as_deref().unwrap_or_default();
    let version_2 = query.split('&').any(|pair| pair.starts_with("AWSAccessKeyId="))
        || request.header("authorization").is_some_and(|value| value.starts_with("AWS "));
    if version_2 {
        let text = "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.";
        return Err(invalid_request(text));
    }
    let is_form = request
        .header("content-type")
        .is_some_and(|kind| kind.trim_start().to_ascii_lowercase().starts_with("multipart/form-data"));
    if request.method == "POST" && is_form {
        return Err(not_supported("PostObject"));
    }
    Ok(())
}

fn authenticate(call: &Call) -> Result<Authenticated, ServiceError> {
    let request = &call.request;
    let headers: Vec<(&str, &[u8])> = request.headers.iter().map(|(n, v)| (n.as_str(), v.as_slice())).collect();
    let head = RequestHead {
        method: &request.method,
        raw_path: &request.raw_path,
        raw_query: request.raw_query.as_deref(),
        headers: &headers,
    };
    let inner = &call.inner;
    let mut reader = SnapshotReader::new(&*inner.store, &inner.vault)?;
    let mut tx = Tx::new(&mut reader);
    let verifier = inner.verifier(call.now, request.client);
    let body = Body::Bytes(&request.body);
    verifier.authenticate(&head, body, Dialect::S3, call.service.signing_name, &mut tx).map_err(|refused| {
        if let Some((account, access_key_id)) = &refused.named {
            let region = refused.region.as_deref().unwrap_or("us-east-1");
            record_unproven(call, account, access_key_id, region, &refused.error);
        }
        *refused.error
    })
}

/// Records that somebody named a key without proving to hold it. Bounded, and lost without harm when the store fails.
fn record_unproven(call: &Call, account: &str, access_key_id: &str, region: &str, error: &ServiceError) {
    let mut allowance = call.inner.unproven.lock().unwrap_or_else(PoisonError::into_inner);
    let allowed = allowance.take(account, call.now.ms());
    drop(allowance);
    tracing::warn!(account, access_key_id, code = %error.code, client = %call.request.client, "a signature was refused");
    if !allowed {
        return;
    }
    let identity = UserIdentity::Unproven { account, access_key_id };
    let mut event = call.bare_event("SignatureRefused", region, identity, account, error);
    event.access_key_id = Some(access_key_id.to_owned());
    if let Err(error) = call.inner.audit.keep(vec![event]) {
        tracing::error!(%error, "a refused signature could not be recorded");
    }
}

type Unwrapped = (Bytes, Vec<(String, String)>);

fn unchunk(mut decoder: Decoder, framed: &[u8]) -> Result<Unwrapped, ServiceError> {
    let mut body = Vec::with_capacity(framed.len());
    decoder.push(framed, &mut body).map_err(|failure| failure.to_error())?;
    let trailers = decoder.finish().map_err(|failure| failure.to_error())?;
    Ok((body.into(), trailers))
}

/// Undoes aws-chunked framing without looking at signatures: for the development mode's keys alone.
fn unchunk_unverified(request: &Request) -> Result<Unwrapped, ServiceError> {
    let incomplete = || ServiceError::new("IncompleteBody", 400, "The request body terminated unexpectedly");
    let mut rest: &[u8] = &request.body;
    let mut body = Vec::with_capacity(rest.len());
    loop {
        let line = take_line(&mut rest).ok_or_else(incomplete)?;
        let size = line.split(';').next().and_then(|hex| usize::from_str_radix(hex, 16).ok()).ok_or_else(incomplete)?;
        if size == 0 {
            break;
        }
        let (data, after) = rest.split_at_checked(size).ok_or_else(incomplete)?;
        body.extend_from_slice(data);
        rest = after.strip_prefix(b"\r\n").ok_or_else(incomplete)?;
    }
    let mut trailers = Vec::new();
    while let Some(line) = take_line(&mut rest) {
        if let Some((name, value)) = line.split_once(':') {
            trailers.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
    let declared = request.header("x-amz-decoded-content-length").and_then(|text| text.parse::<usize>().ok());
    if declared != Some(body.len()) {
        return Err(incomplete());
    }
    Ok((body.into(), trailers))
}

fn take_line<'b>(rest: &mut &'b [u8]) -> Option<&'b str> {
    let end = rest.iter().take(FRAME_LINE_BYTES_MAX).position(|b| *b == b'\n')?;
    let (line, after) = rest.split_at_checked(end)?;
    *rest = after.get(1..)?;
    std::str::from_utf8(line).ok().map(|line| line.trim_end_matches('\r'))
}

/// The path with the bucket in it, whichever way the client named it.
fn path_style(request: &Request) -> String {
    match request.header("host").and_then(bucket_of_host) {
        Some(bucket) if request.raw_path == "/" => format!("/{bucket}"),
        Some(bucket) => format!("/{bucket}{}", request.raw_path),
        None => request.raw_path.clone(),
    }
}

/// The bucket of a virtual host: `{bucket}.s3.anything`, `{bucket}.s3-anything` or `{bucket}.localhost`.
fn bucket_of_host(host: &str) -> Option<String> {
    let host =
        host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit())).map_or(host, |(h, _)| h);
    let host = host.to_ascii_lowercase();
    if host.starts_with("s3.") || host.starts_with("s3-") {
        return None;
    }
    // A bucket's name may hold `.s3.` itself: the last one counts.
    let end =
        host.rfind(".s3.").or_else(|| host.rfind(".s3-")).or_else(|| host.len().checked_sub(".localhost".len()))?;
    let (bucket, rest) = host.split_at_checked(end)?;
    let served = rest.starts_with(".s3.") || rest.starts_with(".s3-") || rest == ".localhost";
    (served && is_name(bucket)).then(|| bucket.to_owned())
}

/// Parts of a signature in the query, and what SDKs add for themselves.
const SIGNATURE_QUERY: &[&str] = &[
    "x-amz-algorithm",
    "x-amz-credential",
    "x-amz-date",
    "x-amz-expires",
    "x-amz-signedheaders",
    "x-amz-signature",
    "x-amz-security-token",
    "x-amz-content-sha256",
    "x-amz-user-agent",
    "x-amz-checksum-mode",
    "x-amz-sdk-checksum-algorithm",
    "x-id",
];

/// The query without its signature. A header moved into the query of a presigned call is refused: it would go unheard.
fn plain_query(request: &Request) -> Result<Option<String>, ServiceError> {
    let Some(query) = request.raw_query.as_deref() else { return Ok(None) };
    let mut kept = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let name = pair.split('=').next().unwrap_or_default().to_ascii_lowercase();
        if SIGNATURE_QUERY.contains(&name.as_str()) {
            continue;
        }
        if name.starts_with("x-amz-") {
            return Err(not_supported(&format!("The header {name} as part of a query")));
        }
        kept.push(pair);
    }
    Ok((!kept.is_empty()).then(|| kept.join("&")))
}

/// Headers that end here: they speak of the signature, of the framing or of the connection.
const DROPPED: &[&str] = &[
    "authorization",
    "connection",
    "content-length",
    "expect",
    "host",
    "transfer-encoding",
    "x-amz-content-sha256",
    "x-amz-date",
    "x-amz-decoded-content-length",
    "x-amz-security-token",
    "x-amz-trailer",
];

fn plain_headers(request: &Request, trailers: Vec<(String, String)>, body_bytes: usize) -> Vec<(String, Vec<u8>)> {
    let mut headers: Vec<(String, Vec<u8>)> = Vec::with_capacity(request.headers.len() + trailers.len() + 1);
    for (name, value) in &request.headers {
        let name = name.to_ascii_lowercase();
        let value = match name.as_str() {
            dropped if DROPPED.contains(&dropped) => continue,
            "content-encoding" => match without_framing(value) {
                Some(value) => value,
                None => continue,
            },
            // A range that cannot be read is no range. Source: RFC 9110, section 14.2.
            "range" if std::str::from_utf8(value).ok().is_none_or(|v| s3s::dto::Range::parse(v).is_err()) => continue,
            _ => value.clone(),
        };
        headers.push((name, value));
    }
    headers.extend(trailers.into_iter().map(|(name, value)| (name, value.into_bytes())));
    headers.push(("content-length".into(), body_bytes.to_string().into_bytes()));
    headers
}

/// `Content-Encoding` without `aws-chunked`, if anything is left.
fn without_framing(value: &[u8]) -> Option<Vec<u8>> {
    let text = String::from_utf8_lossy(value);
    let kept: Vec<&str> =
        text.split(',').map(str::trim).filter(|coding| !coding.is_empty() && *coding != "aws-chunked").collect();
    (!kept.is_empty()).then(|| kept.join(",").into_bytes())
}

/// What is not enforced is refused, before anything is stored.
fn refuse_unenforced(name: &str, value: &[u8]) -> Result<(), ServiceError> {
    let is = |allowed: &[&str]| allowed.iter().any(|allowed| value.eq_ignore_ascii_case(allowed.as_bytes()));
    let refused = match name {
        // Ownership is the bucket owner's always; these two say just that.
        "x-amz-acl" if is(&["private", "bucket-owner-full-control"]) => false,
        "x-amz-acl" => return Err(no_acls()),
        name if name.starts_with("x-amz-grant-") => return Err(no_acls()),
        "x-amz-storage-class" => !is(&["STANDARD"]),
        "x-amz-object-ownership" => !is(&["BucketOwnerEnforced"]),
        "x-amz-bucket-object-lock-enabled" => !is(&["false"]),
        "x-amz-tagging-directive" => !is(&["COPY"]),
        "x-amz-tagging" | "x-amz-website-redirect-location" | "x-amz-write-offset-bytes" | "x-amz-mfa" => true,
        "x-amz-if-match-last-modified-time" | "x-amz-if-match-size" | "x-amz-if-match-initiated-time" => true,
        name => ["x-amz-server-side-encryption", "x-amz-copy-source-server-side-encryption", "x-amz-object-lock-"]
            .iter()
            .any(|prefix| name.starts_with(prefix)),
    };
    if refused { Err(not_supported(&format!("The header {name} with this value"))) } else { Ok(()) }
}

fn no_acls() -> ServiceError {
    ServiceError::new("AccessControlListNotSupported", 400, "The bucket does not allow ACLs")
}

/// The request as the protocol crate takes it: path style, unsigned, its body plain, the call beside it.
pub(super) fn plain_request(call: &Arc<Call>) -> Result<s3s::HttpRequest, ServiceError> {
    let unreadable = |error: http::Error| {
        ServiceError::new("InvalidURI", 400, "Couldn't parse the specified URI.").with_cause(error.to_string())
    };
    let target = match &call.query {
        Some(query) => format!("{}?{query}", call.path),
        None => call.path.clone(),
    };
    let mut builder = http::Request::builder().method(call.request.method.as_str()).uri(target);
    for (name, value) in &call.headers {
        builder = builder.header(name.as_str(), value.as_slice());
    }
    builder.extension(Arc::clone(call)).body(s3s::Body::from(call.body.clone())).map_err(unreadable)
}
