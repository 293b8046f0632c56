//! What is refused, in which order, and how each dialect spells it.

use super::{Request, rules};
use crate::ServiceError;
use crate::sigv4::chunked::{ChunkFailure, Decoder};
use crate::sigv4::{
    Body, Credentials, Dialect, Failure, Payload, Rules, SignPayload, Unsupported, bad_session_token, expired_session,
    parse, sign, unknown_key,
};

const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
const KEY: &str = "AKIAIOSFODNN7EXAMPLE";
/// 1 January 2025, 00:00:00 GMT.
const NOW: i64 = 1_735_689_600;
const DIALECTS: [Dialect; 4] = [Dialect::RestJson, Dialect::AwsJson, Dialect::Query, Dialect::S3];

fn bare() -> Request {
    let mut request = Request {
        method: "POST".to_owned(),
        path: "/restapis".to_owned(),
        query: None,
        headers: Vec::new(),
        body: b"{}".to_vec(),
    };
    request.add("Host", "localhost:4566");
    request
}

fn sign_into(request: &mut Request, payload: SignPayload<'_>, service: &str) {
    let credentials = Credentials { access_key_id: KEY, secret_access_key: SECRET, session_token: None };
    let added = request.with_head(|head| sign(head, payload, &credentials, "us-east-1", service, NOW));
    for (name, value) in added {
        request.add(name, &value);
    }
}

fn signed(service: &str) -> Request {
    let mut request = bare();
    sign_into(&mut request, SignPayload::Bytes(b"{}"), service);
    request
}

fn with_authorization(value: &str) -> Request {
    let mut request = bare();
    request.add("Authorization", value);
    request
}

fn refused(request: &Request, service: &str) -> Failure {
    request.verify(SECRET, NOW, &rules(service)).expect_err("refused")
}

/// `code status text`, one line per dialect.
fn spelled(error: impl Fn(Dialect) -> ServiceError) -> Vec<String> {
    DIALECTS
        .iter()
        .map(|dialect| {
            let error = error(*dialect);
            format!("{} {} {}", error.code, error.status, error.message)
        })
        .collect()
}

#[test]
fn nothing_signed() {
    assert!(bare().with_head(|head| parse(head).unwrap().is_none()));
    let spelled = spelled(|dialect| Failure::Missing.to_error(dialect));
    assert_eq!(
        spelled,
        [
            "MissingAuthenticationTokenException 403 Missing Authentication Token",
            "MissingAuthenticationTokenException 400 Missing Authentication Token",
            "MissingAuthenticationToken 403 Request is missing Authentication Token",
            "AccessDenied 403 Access Denied",
        ]
    );
}

#[test]
fn malformed_headers_are_told_in_awss_words() {
    let not_a_pair = |token: &str, sent: &str| {
        format!("'{token}' not a valid key=value pair (missing equal-sign) in Authorization header: '{sent}'.")
    };
    let no_date = "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. ";
    for (sent, text) in [
        ("Bearer abc", not_a_pair("abc", "Bearer abc")),
        ("allow", not_a_pair("allow", "allow")),
        ("AWS4-HMAC-SHA256 Credential=a, b", not_a_pair("b", "AWS4-HMAC-SHA256 Credential=a, b")),
        (
            "AWS4-HMAC-SHA256 x=y",
            format!(
                "Authorization header requires 'Credential' parameter. Authorization header requires 'Signature' \
                 parameter. Authorization header requires 'SignedHeaders' parameter. {no_date}\
                 Authorization=AWS4-HMAC-SHA256 x=y"
            ),
        ),
        (
            "AWS4-HMAC-SHA256 Credential=a,Signature=b,SignedHeaders=c",
            format!("{no_date}Authorization=AWS4-HMAC-SHA256 Credential=a,Signature=b,SignedHeaders=c"),
        ),
    ] {
        let failure = refused(&with_authorization(sent), "apigateway");
        assert!(matches!(failure, Failure::Incomplete(_)), "{sent}: {failure:?}");
        let error = failure.to_error(Dialect::RestJson);
        assert_eq!((error.code.as_ref(), error.status, error.message), ("IncompleteSignatureException", 403, text));
        assert_eq!(failure.to_error(Dialect::AwsJson).status, 400);
        let query = failure.to_error(Dialect::Query);
        assert_eq!((query.code.as_ref(), query.status), ("IncompleteSignature", 400));
    }
}

#[test]
fn malformed_presigned_queries() {
    let base = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=A/20250101/us-east-1/s3/aws4_request\
                &X-Amz-Date=20250101T000000Z&X-Amz-Expires=60&X-Amz-SignedHeaders=host&X-Amz-Signature=0";
    for (from, to, text) in [
        ("&X-Amz-Expires=60", "", "requires the X-Amz-Algorithm"),
        ("Expires=60", "Expires=604801", "must be less than a week"),
        ("Expires=60", "Expires=99999999999", "must be less than a week"),
        ("Expires=60", "Expires=0", "at least one second"),
        ("Expires=60", "Expires=-1", "non-negative"),
        ("Expires=60", "Expires=1m", "should be a number"),
        ("HMAC-SHA256", "HMAC-SHA1", "X-Amz-Algorithm only supports"),
        ("/aws4_request", "/aws5_request", "the Credential is mal-formed"),
        ("T000000Z", "T000000", "ISO8601 Long Format"),
        ("T000000Z", "T250000Z", "ISO8601 Long Format"),
        ("&X-Amz-Signature=0", "&X-Amz-Signature=0&X-Amz-Signature=1", "must not be repeated"),
        ("&X-Amz-Signature=0", "&X-Amz-Signature=0&X%2DAmz-Signature=1", "must not be repeated"),
    ] {
        let mut request = bare();
        request.query = Some(base.replace(from, to));
        let error = refused(&request, "s3").to_error(Dialect::S3);
        assert_eq!((error.code.as_ref(), error.status), ("AuthorizationQueryParametersError", 400), "{to}");
        assert!(error.message.contains(text), "{to}: {}", error.message);
    }
}

#[test]
fn unsupported_signatures_say_so() {
    for (sent, kind) in
        [("AWS AKIA:sig=", Unsupported::VersionTwo), ("AWS4-ECDSA-P256-SHA256 Credential=a", Unsupported::Asymmetric)]
    {
        let failure = refused(&with_authorization(sent), "s3");
        assert_eq!(failure, Failure::Unsupported(kind));
        assert_eq!(failure.to_error(Dialect::S3).code, "InvalidRequest");
    }
    let mut version_two = bare();
    version_two.query = Some("AWSAccessKeyId=AKIA&Signature=x%3D&Expires=1".to_owned());
    assert_eq!(refused(&version_two, "s3"), Failure::Unsupported(Unsupported::VersionTwo));
    let mut twice = signed("apigateway");
    twice.query = Some("X-Amz-Algorithm=AWS4-HMAC-SHA256".to_owned());
    assert_eq!(refused(&twice, "apigateway"), Failure::Unsupported(Unsupported::TwoSignatures));
    let mut repeated = signed("apigateway");
    repeated.add("authorization", "x");
    assert_eq!(refused(&repeated, "apigateway"), Failure::Unsupported(Unsupported::TwoSignatures));
    let mut large = bare();
    large.query = Some("a&".repeat(3000));
    assert_eq!(refused(&large, "apigateway"), Failure::Unsupported(Unsupported::TooLarge));
}

#[test]
fn wrong_scope_names_everything_wrong() {
    let request = signed("lambda");
    let wrong = Rules::of(Dialect::RestJson, "execute-api").in_region("eu-west-1");
    let failure = request.verify(SECRET, NOW, &wrong).unwrap_err();
    assert_eq!(
        spelled(|dialect| failure.to_error(dialect))[..3],
        [
            "InvalidSignatureException 403 Credential should be scoped to a valid region, not 'us-east-1'. \
             Credential should be scoped to correct service: 'execute-api'. ",
            "InvalidSignatureException 400 Credential should be scoped to a valid region, not 'us-east-1'. \
             Credential should be scoped to correct service: 'execute-api'. ",
            "SignatureDoesNotMatch 403 Credential should be scoped to a valid region, not 'us-east-1'. \
             Credential should be scoped to correct service: 'execute-api'. ",
        ]
    );
    let region =
        signed("s3").verify(SECRET, NOW, &rules("s3").in_region("eu-west-1")).unwrap_err().to_error(Dialect::S3);
    assert_eq!((region.code.as_ref(), region.status), ("AuthorizationHeaderMalformed", 400));
    assert_eq!(region.fields, [("Region", "eu-west-1".into())]);
    let mut another_day = signed("apigateway");
    let value = another_day.header_mut("authorization");
    *value = String::from_utf8(value.clone()).unwrap().replace("/20250101/", "/20250102/").into_bytes();
    assert!(matches!(refused(&another_day, "apigateway"), Failure::Scope { .. }));
    for bad in ["", "US-EAST-1", "us east", "us/east", "-us", "us-east-1\u{e9}", "*"] {
        let mut request = signed("apigateway");
        let value = request.header_mut("authorization");
        *value = String::from_utf8(value.clone()).unwrap().replace("us-east-1", bad).into_bytes();
        request.verify(SECRET, NOW, &rules("apigateway")).expect_err(bad);
    }
}

#[test]
fn clock_difference_is_bounded_both_ways() {
    let json = rules("apigateway");
    let query = Rules::of(Dialect::Query, "apigateway");
    let request = signed("apigateway");
    for (now, rules, fine) in [
        (NOW + 300, &json, true),
        (NOW - 300, &json, true),
        (NOW + 301, &json, false),
        (NOW - 301, &json, false),
        (NOW + 900, &query, true),
        (NOW + 901, &query, false),
        (NOW - 901, &query, false),
        (i64::MAX, &json, false),
        (i64::MIN, &json, false),
    ] {
        assert_eq!(request.verify(SECRET, now, rules).is_ok(), fine, "{now}");
    }
    let late = request.verify(SECRET, NOW + 600, &json).unwrap_err();
    assert_eq!(
        late.to_error(Dialect::RestJson).message,
        "Signature expired: 20250101T000000Z is now earlier than 20250101T000500Z (20250101T001000Z - 5 min.)"
    );
    let early = request.verify(SECRET, NOW - 3600, &query).unwrap_err();
    assert_eq!(
        early.to_error(Dialect::Query).message,
        "Signature not yet current: 20250101T000000Z is still later than 20241231T231500Z (20241231T230000Z + 15 min.)"
    );
    let s3 = signed("s3").verify(SECRET, NOW + 3600, &rules("s3")).unwrap_err().to_error(Dialect::S3);
    assert_eq!((s3.code.as_ref(), s3.status), ("RequestTimeTooSkewed", 403));
    let expired = Failure::PresignedExpired { signed_s: NOW, now_s: NOW + 90, expires_s: 61 }.to_error(Dialect::S3);
    assert_eq!(
        (expired.code.as_ref(), expired.status, expired.message.as_str()),
        ("AccessDenied", 403, "Request has expired")
    );
}

#[test]
fn other_signature() {
    let mut request = signed("apigateway");
    request.path.push('x');
    let failure = refused(&request, "apigateway");
    let text = "The request signature we calculated does not match the signature you provided. Check your AWS Secret \
                Access Key and signing method. Consult the service documentation for details.";
    assert_eq!(
        spelled(|dialect| failure.to_error(dialect)),
        [
            format!("InvalidSignatureException 403 {text}"),
            format!("InvalidSignatureException 400 {text}"),
            format!("SignatureDoesNotMatch 403 {text}"),
            "SignatureDoesNotMatch 403 The request signature we calculated does not match the signature you provided. \
             Check your key and signing method."
                .to_owned(),
        ]
    );
}

#[test]
fn key_and_token_faults() {
    assert_eq!(
        spelled(|dialect| unknown_key(dialect, KEY)),
        [
            "UnrecognizedClientException 403 The security token included in the request is invalid.",
            "UnrecognizedClientException 400 The security token included in the request is invalid.",
            "InvalidClientTokenId 403 The security token included in the request is invalid.",
            "InvalidAccessKeyId 403 The AWS Access Key Id you provided does not exist in our records.",
        ]
    );
    let codes = |error: fn(Dialect) -> ServiceError| DIALECTS.map(|d| (error(d).code.into_owned(), error(d).status));
    assert_eq!(
        codes(bad_session_token),
        [
            ("UnrecognizedClientException".to_owned(), 403),
            ("UnrecognizedClientException".to_owned(), 400),
            ("InvalidClientTokenId".to_owned(), 403),
            ("InvalidToken".to_owned(), 400),
        ]
    );
    assert_eq!(
        codes(expired_session),
        [
            ("ExpiredTokenException".to_owned(), 403),
            ("ExpiredTokenException".to_owned(), 400),
            ("ExpiredToken".to_owned(), 403),
            ("ExpiredToken".to_owned(), 400),
        ]
    );
}

#[test]
fn host_must_be_signed_and_be_one() {
    let mut request = bare();
    request.headers.clear();
    sign_into(&mut request, SignPayload::Bytes(b"{}"), "apigateway");
    request.add("Host", "localhost:4566");
    assert_eq!(refused(&request, "apigateway"), Failure::HostNotSigned);
    let mut two = bare();
    two.add("host", "other");
    sign_into(&mut two, SignPayload::Bytes(b"{}"), "apigateway");
    assert_eq!(refused(&two, "apigateway"), Failure::Mismatch);
}

#[test]
fn unsigned_amz_headers_are_s3s_alone_to_refuse() {
    let mut elsewhere = signed("apigateway");
    elsewhere.add("X-Amz-Extra", "1");
    assert!(elsewhere.verify(SECRET, NOW, &rules("apigateway")).is_ok());
    let mut s3 = signed("s3");
    s3.add("X-Amz-Extra", "1");
    let failure = refused(&s3, "s3");
    assert_eq!(failure, Failure::HeadersNotSigned(vec!["x-amz-extra".to_owned()]));
    let error = failure.to_error(Dialect::S3);
    assert_eq!(error.message, "There were headers present in the request which were not signed");
}

#[test]
fn signed_headers_must_be_lower_case_and_sorted() {
    for list in
        ["x-amz-date;host", "Host;x-amz-date", "host;host;x-amz-date", "host;x-amz-date;", "host;absent;x-amz-date"]
    {
        let mut request = signed("apigateway");
        let value = request.header_mut("authorization");
        *value = String::from_utf8(value.clone()).unwrap().replace("host;x-amz-date", list).into_bytes();
        assert_eq!(refused(&request, "apigateway"), Failure::Mismatch, "{list}");
    }
}

#[test]
fn upper_case_signature_is_another_one() {
    let mut request = signed("apigateway");
    let value = request.header_mut("authorization");
    let text = String::from_utf8(value.clone()).unwrap();
    let (head, signature) = text.split_once("Signature=").unwrap();
    *value = format!("{head}Signature={}", signature.to_ascii_uppercase()).into_bytes();
    assert_eq!(refused(&request, "apigateway"), Failure::Mismatch);
}

#[test]
fn special_payload_values_are_s3s_alone() {
    let mut request = bare();
    sign_into(&mut request, SignPayload::Unsigned, "apigateway");
    assert_eq!(refused(&request, "apigateway"), Failure::PayloadUndeclared { present: true });
    let mut s3 = bare();
    sign_into(&mut s3, SignPayload::Unsigned, "s3");
    let verified = s3.verify(SECRET, NOW, &rules("s3")).unwrap();
    assert!(matches!(verified.payload(), Payload::Unsigned));
}

#[test]
fn body_that_comes_later_is_checked_later() {
    signed("s3").with_head(|head| {
        let signed = parse(head).unwrap().unwrap();
        let key = signed.signing_key(SECRET);
        let verified = signed.verify(head, Body::Later, &key, NOW, &rules("s3")).unwrap();
        let right = crate::sigv4::key::sha256(b"{}");
        assert_eq!(verified.payload().check(&right), Ok(()));
        assert!(matches!(verified.payload().check(&[0; 32]), Err(Failure::PayloadMismatch { .. })));
        assert!(signed.verify(head, Body::Sha256(right), &key, NOW, &rules("s3")).is_ok());
        let wrong = signed.verify(head, Body::Bytes(b"x"), &key, NOW, &rules("s3")).unwrap_err();
        assert_eq!(wrong.to_error(Dialect::S3).code, "XAmzContentSHA256Mismatch");
    });
    signed("apigateway").with_head(|head| {
        let signed = parse(head).unwrap().unwrap();
        let key = signed.signing_key(SECRET);
        let result = signed.verify(head, Body::Later, &key, NOW, &rules("apigateway"));
        assert!(matches!(result, Err(Failure::PayloadUndeclared { present: false })));
    });
}

/// A presigned upload with an unsigned aws-chunked body: the shortest way to such a decoder.
fn unsigned_decoder(length: u64) -> Decoder {
    let mut request = bare();
    request.add("x-amz-decoded-content-length", &length.to_string());
    request.add("x-amz-trailer", "x-amz-checksum-crc32");
    request.query = Some("X-Amz-Content-Sha256=STREAMING-UNSIGNED-PAYLOAD-TRAILER".to_owned());
    let credentials = Credentials { access_key_id: KEY, secret_access_key: SECRET, session_token: None };
    let at = crate::sigv4::time::AmzDate::from_seconds(NOW);
    assert_eq!(at.text, "20250101T000000Z");
    // Presigning declares UNSIGNED-PAYLOAD, so the declared value is signed here by hand.
    let target = request.with_head(|head| crate::sigv4::presign(head, &credentials, "us-east-1", "s3", NOW, 60));
    request.query = Some(target.split_once('?').unwrap().1.to_owned());
    let signature = request.with_head(|head| {
        let signed = parse(head).unwrap().unwrap();
        let digest =
            crate::sigv4::canonical::digest(head, &signed.signed_headers, "STREAMING-UNSIGNED-PAYLOAD-TRAILER", true);
        let text = crate::sigv4::canonical::string_to_sign(&at.text, &signed.scope_text(), &digest.unwrap());
        signed.signing_key(SECRET).sign(text.as_bytes())
    });
    let query = request.query.take().unwrap();
    let (unsigned, _) = query.split_once("&X-Amz-Signature=").unwrap();
    request.query = Some(format!("{unsigned}&X-Amz-Signature={signature}"));
    match request.verify(SECRET, NOW, &rules("s3")).unwrap().into_payload() {
        Payload::Chunked(seed) => seed.decoder(),
        other => panic!("not chunked: {other:?}"),
    }
}

#[test]
fn unsigned_chunks_are_bounded_and_their_trailers_declared() {
    let run = |length, body: &str| {
        let mut decoder = unsigned_decoder(length);
        let mut out = Vec::new();
        decoder.push(body.as_bytes(), &mut out)?;
        decoder.finish().map(|trailers| (out, trailers))
    };
    let (data, trailers) = run(5, "5\r\nhello\r\n0\r\nX-Amz-Checksum-CRC32: NhCmhg==\r\n\r\n").unwrap();
    assert_eq!(data, b"hello");
    assert_eq!(trailers, [("x-amz-checksum-crc32".to_owned(), "NhCmhg==".to_owned())]);
    for (length, body, failure) in [
        (5, "6\r\nhello!\r\n", ChunkFailure::Length),
        (6, "5\r\nhello\r\n0\r\nx-amz-checksum-crc32:a\r\n\r\n", ChunkFailure::Length),
        (5, "5\r\nhello\r\n0\r\n\r\n", ChunkFailure::Trailer),
        (5, "5\r\nhello\r\n0\r\nx-other:a\r\n\r\n", ChunkFailure::Trailer),
        (5, "5\r\nhello\r\n0\r\nx-amz-checksum-crc32:a\r\nx-amz-checksum-crc32:a\r\n\r\n", ChunkFailure::Trailer),
        (5, "2\r\nhe\r\n3\r\nllo\r\n", ChunkFailure::ShortChunk),
        (5, "5\nhello", ChunkFailure::Malformed),
        (5, "+5\r\nhello", ChunkFailure::Malformed),
        (5, "\r\n", ChunkFailure::Malformed),
        (5, "5;chunk-signature=a\r\n", ChunkFailure::Malformed),
        (5, "5\r\nhelloX\n", ChunkFailure::Malformed),
        (5, "ffffffffffffffff\r\n", ChunkFailure::Length),
        (5, "00000000000000005\r\n", ChunkFailure::Malformed),
        (5, "5\r\nhello\r\n0\r\nx-amz-checksum-crc32:a\r\n", ChunkFailure::Malformed),
    ] {
        assert_eq!(run(length, body), Err(failure), "{body:?}");
    }
    let mut decoder = unsigned_decoder(5);
    let mut out = Vec::new();
    assert_eq!(decoder.push(&[b'5'; 300], &mut out), Err(ChunkFailure::Malformed));
    assert_eq!(decoder.push(b"5\r\n", &mut out), Err(ChunkFailure::Malformed));
    assert_eq!(decoder.finish(), Err(ChunkFailure::Malformed));
}

/// HMAC hashes keys beyond its block; the witness is Python's `hmac` module.
#[test]
fn long_secret_is_hashed_first() {
    let key = crate::sigv4::signing_key(&"s".repeat(100), "20250101", "us-east-1", "s3");
    assert_eq!(key.sign(b"text"), "6f1f068755720af53097eaeaf2d031c54ce091623c94423a22416c390e0fc6cb");
}
