//! Signatures: hostile requests are read or refused; what our own client signs verifies, and nothing altered does;
//! a chunked body decodes alike however it arrives.
//!
//! Input: method, path, query, headers (one `name:value` a line), body, then the sizes in which the body arrives.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use wire::sigv4::{
    Body, Credentials, Dialect, Payload, RequestHead, Rules, SignPayload, parse, presign, sign, signing_key,
};

const NOW_S: i64 = 1_780_272_000;
const DATE: &str = "20260601T000000Z";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const KEY_ID: &str = "AKIDEXAMPLE";
const DIALECTS: [Dialect; 4] = [Dialect::RestJson, Dialect::AwsJson, Dialect::Query, Dialect::S3];

type Headers<'a> = Vec<(&'a str, &'a [u8])>;

/// Checks one input.
pub fn check(input: &[u8]) {
    let mut parts = crate::parts(input);
    let (method, path, query) = (crate::text(&mut parts), crate::text(&mut parts), crate::text(&mut parts));
    let headers = parts.next().unwrap_or_default();
    let body = parts.next().unwrap_or_default();
    let sizes = parts.next().unwrap_or_default();
    let headers: Headers<'_> = headers.split(|byte| *byte == b'\n').filter_map(header).collect();
    let raw_query = (!query.is_empty()).then_some(query.as_str());
    let head = RequestHead { method: &method, raw_path: &path, raw_query, headers: &headers };
    hostile(&head, body);
    honest(&head, body);
    chunked(body, sizes);
}

fn header(line: &[u8]) -> Option<(&str, &[u8])> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let name = std::str::from_utf8(&line[..colon]).ok()?;
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    let fits = !name.is_empty() && name.bytes().all(token);
    fits.then_some((name, &line[colon + 1..]))
}

/// Any request at all. Every refusal can be told in every dialect; nothing verifies under two secrets.
fn hostile(head: &RequestHead<'_>, body: &[u8]) {
    let signed = match parse(head) {
        Ok(Some(signed)) => signed,
        Ok(None) => return,
        Err(failure) => return DIALECTS.into_iter().for_each(|dialect| drop(failure.to_error(dialect))),
    };
    let scope = signed.scope();
    assert_eq!((scope.access_key_id.as_str(), scope.date.as_str()), (signed.access_key_id(), signed.date()));
    for dialect in DIALECTS {
        let rules = Rules::of(dialect, signed.service());
        let now_s = signed.signed_at_s();
        let right = signed.verify(head, Body::Bytes(body), &signed.signing_key(SECRET), now_s, &rules);
        let wrong = signed.verify(head, Body::Bytes(body), &signed.signing_key("another"), now_s, &rules);
        assert!(right.is_err() || wrong.is_err());
        for failure in [right.err(), wrong.err()].into_iter().flatten() {
            drop(failure.to_error(dialect));
        }
    }
}

/// A request that carries no signature, signed by our own client.
fn honest(head: &RequestHead<'_>, body: &[u8]) {
    let reserved = |name: &str| {
        let name = name.to_ascii_lowercase();
        name.starts_with("x-amz-") || ["authorization", "host", "date"].contains(&name.as_str())
    };
    let unsigned = matches!(parse(head), Ok(None));
    if !unsigned || head.raw_path.contains(['?', '#']) || !head.raw_path.starts_with('/') {
        return;
    }
    let mut headers: Headers<'_> = head.headers.iter().copied().filter(|(name, _)| !reserved(name)).collect();
    headers.push(("Host", b"localhost:4566"));
    let head = RequestHead { headers: &headers, ..*head };
    let credentials = Credentials { access_key_id: KEY_ID, secret_access_key: SECRET, session_token: Some("token") };
    for (dialect, service) in [(Dialect::RestJson, "apigateway"), (Dialect::S3, "s3")] {
        let rules = Rules::of(dialect, service);
        let added = sign(&head, SignPayload::Bytes(body), &credentials, "us-east-1", service, NOW_S);
        let verified = |head: &RequestHead<'_>, body: &[u8]| {
            let signed = parse(head).ok().flatten()?;
            let key = signed.signing_key(SECRET);
            signed.verify(head, Body::Bytes(body), &key, NOW_S, &rules).ok()
        };
        let mut whole = headers.clone();
        whole.extend(added.iter().map(|(name, value)| (*name, value.as_bytes())));
        let sent = RequestHead { headers: &whole, ..head };
        assert!(verified(&sent, body).is_some(), "what we sign verifies");
        let longer = format!("{}x", head.raw_path);
        assert!(verified(&RequestHead { raw_path: &longer, ..sent }, body).is_none(), "another path");
        let method = format!("{}X", head.method);
        assert!(verified(&RequestHead { method: &method, ..sent }, body).is_none(), "another method");
        let other_query = head.raw_query.map_or_else(|| "x=1".to_owned(), |query| format!("{query}&x=1"));
        assert!(verified(&RequestHead { raw_query: Some(&other_query), ..sent }, body).is_none(), "another query");
        let mut other_body = body.to_vec();
        other_body.push(0);
        assert!(verified(&sent, &other_body).is_none(), "another body");

        // A request that brings presigning's own parameters would have them twice.
        if head.raw_query.is_some_and(names_presigning) {
            continue;
        }
        let target = presign(&head, &credentials, "us-east-1", service, NOW_S, 60);
        let (path, query) = target.split_once('?').expect("a presigned target has a query");
        let sent = RequestHead { raw_path: path, raw_query: Some(query), ..head };
        assert!(verified(&sent, b"").is_some(), "what we presign verifies");
        let longer = format!("{path}x");
        assert!(verified(&RequestHead { raw_path: &longer, ..sent }, b"").is_none(), "another presigned path");
    }
}

/// Whether a query has a parameter of presigning, however it is encoded.
fn names_presigning(query: &str) -> bool {
    query.split('&').any(|pair| {
        let name = pair.split('=').next().unwrap_or_default();
        let (mut plain, mut rest) = (String::new(), name.as_bytes());
        while let [byte, after @ ..] = rest {
            let digits = after.get(..2).filter(|_| *byte == b'%').and_then(|digits| std::str::from_utf8(digits).ok());
            let decoded = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
            plain.push(char::from(decoded.unwrap_or(*byte)));
            rest = if decoded.is_some() { &after[2..] } else { after };
        }
        plain.to_ascii_lowercase().starts_with("x-amz-")
    })
}

/// A body in chunks: as it is, and well made from it.
fn chunked(body: &[u8], sizes: &[u8]) {
    let (end, trailer_end) = (b"0\r\n\r\n".as_slice(), b"0\r\nx-amz-checksum-crc32:AAAA\r\n\r\n".as_slice());
    for (declared, trailer) in
        [("STREAMING-UNSIGNED-PAYLOAD-TRAILER", true), ("STREAMING-AWS4-HMAC-SHA256-PAYLOAD", false)]
    {
        let seed = Seeded::new(declared, trailer, body.len());
        let (arrived, data) = seed.decode(body, sizes);
        let (whole, _) = seed.decode(body, &[]);
        assert_eq!(arrived, whole, "the sizes of its pieces do not matter");
        assert!(data.len() <= body.len(), "nothing is made up");
        let ends = if trailer { trailer_end } else { end };
        let made = seed.encode(body, ends, trailer);
        let (outcome, data) = seed.decode(&made, sizes);
        assert_eq!((outcome, data.as_slice()), (true, body), "what is well made decodes to what it was made from");
        if let Some(cut) = made.len().checked_sub(3) {
            assert!(!seed.decode(&made[..cut], sizes).0, "a body that broke off");
        }
        if !trailer && !body.is_empty() {
            let mut altered = made.clone();
            let at = altered.windows(2).position(|pair| pair == b"\r\n").expect("a chunk head") + 2;
            altered[at] ^= 1;
            assert!(!seed.decode(&altered, sizes).0, "an altered chunk");
        }
    }
}

/// A PUT to S3 with a chunked body, signed by hand from AWS's description.
struct Seeded {
    headers: Vec<(&'static str, String)>,
    signature: String,
    scope: String,
    key: [u8; 32],
}

impl Seeded {
    fn new(declared: &str, trailer: bool, length: usize) -> Seeded {
        let mut headers = vec![
            ("host", "localhost:4566".to_owned()),
            ("x-amz-content-sha256", declared.to_owned()),
            ("x-amz-date", DATE.to_owned()),
            ("x-amz-decoded-content-length", length.to_string()),
        ];
        if trailer {
            headers.push(("x-amz-trailer", "x-amz-checksum-crc32".to_owned()));
        }
        let names: Vec<&str> = headers.iter().map(|(name, _)| *name).collect();
        let lines: String = headers.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
        let canonical = format!("PUT\n/bucket/key\n\n{lines}\n{}\n{declared}", names.join(";"));
        let scope = format!("{}/us-east-1/s3/aws4_request", &DATE[..8]);
        let to_sign = format!("AWS4-HMAC-SHA256\n{DATE}\n{scope}\n{}", hex::encode(Sha256::digest(&canonical)));
        let first = hmac(format!("AWS4{SECRET}").as_bytes(), &DATE.as_bytes()[..8]);
        let key = ["us-east-1", "s3", "aws4_request"].iter().fold(first, |key, part| hmac(&key, part.as_bytes()));
        let signature = hex::encode(hmac(&key, to_sign.as_bytes()));
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={KEY_ID}/{scope}, SignedHeaders={}, Signature={signature}",
            names.join(";")
        );
        headers.push(("authorization", authorization));
        Seeded { headers, signature, scope, key }
    }

    /// Whether a body arriving in pieces of these sizes decodes, and to what.
    fn decode(&self, body: &[u8], sizes: &[u8]) -> (bool, Vec<u8>) {
        let headers: Headers<'_> = self.headers.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
        let head = RequestHead { method: "PUT", raw_path: "/bucket/key", raw_query: None, headers: &headers };
        let signed = parse(&head).expect("well formed").expect("signed");
        let rules = Rules::of(Dialect::S3, "s3");
        let key = signing_key(SECRET, signed.date(), "us-east-1", "s3");
        let verified = signed.verify(&head, Body::Later, &key, NOW_S, &rules).expect("signed as AWS describes");
        let Payload::Chunked(seed) = verified.into_payload() else { panic!("declared as chunked") };
        let (mut decoder, mut out, mut rest) = (seed.decoder(), Vec::new(), body);
        let mut sizes = sizes.iter().cycle();
        while !rest.is_empty() {
            let size = sizes.next().map_or(rest.len(), |size| usize::from(*size).clamp(1, rest.len()));
            let (piece, after) = rest.split_at(size);
            let failed = decoder.push(piece, &mut out).is_err();
            assert!(!failed || decoder.push(b"0\r\n\r\n", &mut Vec::new()).is_err(), "once failed, always failed");
            if failed {
                break;
            }
            rest = after;
        }
        let outcome = decoder.finish();
        // What was handed on before a failure depends on the pieces; only a whole body counts.
        if outcome.is_ok() { (true, out) } else { (false, Vec::new()) }
    }

    /// The body as one chunk and the end.
    fn encode(&self, data: &[u8], end: &[u8], trailer: bool) -> Vec<u8> {
        let mut out = Vec::new();
        let mut previous = self.signature.clone();
        let mut head = |data: &[u8], out: &mut Vec<u8>| {
            let text = format!(
                "AWS4-HMAC-SHA256-PAYLOAD\n{DATE}\n{}\n{previous}\n{}\n{}",
                self.scope,
                hex::encode(Sha256::digest(b"")),
                hex::encode(Sha256::digest(data))
            );
            previous = hex::encode(hmac(&self.key, text.as_bytes()));
            let extension = if trailer { String::new() } else { format!(";chunk-signature={previous}") };
            out.extend_from_slice(format!("{:x}{extension}\r\n", data.len()).as_bytes());
        };
        if !data.is_empty() {
            head(data, &mut out);
            out.extend_from_slice(data);
            out.extend_from_slice(b"\r\n");
        }
        head(b"", &mut out);
        // The given end starts with a chunk head of its own.
        out.extend_from_slice(&end[3..]);
        out
    }
}

fn hmac(key: &[u8], text: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any length is a key");
    mac.update(text);
    mac.finalize().into_bytes().into()
}
