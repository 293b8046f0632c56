//! The committed corpora: what botocore signed, and AWS's own signing test suite.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;

use super::{Request, rules};
use crate::sigv4::{Failure, Payload, canonical, parse};

#[derive(Deserialize)]
struct Case {
    name: String,
    method: String,
    path: String,
    query: Option<String>,
    headers: Vec<(String, String)>,
    body: String,
    access_key_id: String,
    secret: String,
    token: Option<String>,
    region: String,
    service: String,
    presigned: bool,
    now: i64,
    #[serde(default = "yes")]
    normalize: bool,
    signature: Option<String>,
}

fn yes() -> bool {
    true
}

impl Case {
    fn request(&self) -> Request {
        Request {
            method: self.method.clone(),
            path: self.path.clone(),
            query: self.query.clone(),
            headers: self.headers.iter().map(|(n, v)| (n.clone(), v.as_bytes().to_vec())).collect(),
            body: BASE64_STANDARD.decode(&self.body).unwrap(),
        }
    }
}

fn botocore() -> Vec<Case> {
    serde_json::from_str(include_str!("../../../testdata/sigv4/botocore.json")).unwrap()
}

fn published() -> Vec<Case> {
    serde_json::from_str(include_str!("../../../testdata/sigv4/published.json")).unwrap()
}

fn assert_parts(case: &Case, request: &Request) {
    request.with_head(|head| {
        let signed = parse(head).unwrap().unwrap();
        assert_eq!(signed.access_key_id(), case.access_key_id, "{}", case.name);
        assert_eq!(signed.region(), case.region, "{}", case.name);
        assert_eq!(signed.service(), case.service, "{}", case.name);
        assert_eq!(signed.session_token(), case.token.as_deref(), "{}", case.name);
        assert_eq!(signed.is_presigned(), case.presigned, "{}", case.name);
        assert_eq!(signed.signed_at_s(), case.now, "{}", case.name);
    });
}

#[test]
fn everything_botocore_signed_verifies() {
    let cases = botocore();
    assert!(cases.len() >= 120);
    for case in &cases {
        let request = case.request();
        assert_parts(case, &request);
        let result = request.verify(&case.secret, case.now, &rules(&case.service));
        assert!(result.is_ok(), "{}: {result:?}", case.name);
    }
}

#[test]
fn everything_aws_published_verifies() {
    let mut verified = 0;
    for case in published().iter().filter(|case| case.normalize) {
        let request = case.request();
        assert_parts(case, &request);
        let result = request.verify(&case.secret, case.now, &rules(&case.service));
        assert!(result.is_ok(), "{}: {result:?}", case.name);
        verified += 1;
    }
    assert!(verified > 50, "{verified}");
}

/// The suite's way without normalisation is S3's way with the path, though not with the payload header.
#[test]
fn published_requests_without_normalisation_sign_the_path_as_sent() {
    let raw = |case: &&Case| !case.normalize && !case.path.contains(' ');
    for case in published().iter().filter(raw) {
        let digest_of_nothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        case.request().with_head(|head| {
            let signed = parse(head).unwrap().unwrap();
            let digest = canonical::digest(head, &signed.signed_headers, digest_of_nothing, true).unwrap();
            let text = canonical::string_to_sign(&signed.at.text, &signed.scope_text(), &digest);
            let signature = signed.signing_key(&case.secret).sign(text.as_bytes());
            assert_eq!(Some(&signature), case.signature.as_ref(), "{}", case.name);
        });
    }
}

/// Another byte of the same kind, so that the request stays one a client could send.
fn other(byte: u8) -> u8 {
    match byte {
        b'9' | b'f' => b'0',
        b'z' | b'Z' => b'q',
        b'0'..=b'8' | b'a'..=b'y' | b'A'..=b'Y' => byte + 1,
        _ => b'q',
    }
}

fn changed(text: &str, at: usize) -> Option<String> {
    let mut bytes = text.as_bytes().to_vec();
    bytes[at] = other(bytes[at]);
    String::from_utf8(bytes).ok()
}

/// Every request that differs in one byte of what is signed, with what was changed.
fn mutants(request: &Request, signed_headers: &[String], body_signed: bool) -> Vec<(String, Request)> {
    let mut mutants = Vec::new();
    for at in 0..request.method.len() {
        let method = changed(&request.method, at).unwrap();
        mutants.push((format!("method {at}"), Request { method, ..request.clone() }));
    }
    for at in 1..request.path.len() {
        let path = changed(&request.path, at).unwrap();
        mutants.push((format!("path {path}"), Request { path, ..request.clone() }));
    }
    let query = request.query.as_deref().unwrap_or_default();
    for at in 0..query.len() {
        let query = changed(query, at);
        mutants.push((format!("query {query:?}"), Request { query, ..request.clone() }));
    }
    for (index, (name, value)) in request.headers.iter().enumerate() {
        let lower = name.to_ascii_lowercase();
        if lower != "authorization" && !signed_headers.contains(&lower) {
            continue;
        }
        // Long values add time and nothing else.
        for (at, byte) in value.iter().enumerate().take(600) {
            let mut mutant = request.clone();
            mutant.headers[index].1[at] = other(*byte);
            mutants.push((format!("header {name} at {at}"), mutant));
        }
        let mut without = request.clone();
        without.headers.remove(index);
        mutants.push((format!("without {name}"), without));
    }
    if body_signed {
        for at in (0..request.body.len()).step_by(1 + request.body.len() / 16) {
            let mut mutant = request.clone();
            mutant.body[at] ^= 1;
            mutants.push((format!("body at {at}"), mutant));
        }
        let mut longer = request.clone();
        longer.body.push(b'x');
        mutants.push(("longer body".to_owned(), longer));
    }
    mutants
}

#[test]
fn one_changed_byte_fails() {
    for case in &botocore() {
        let request = case.request();
        let rules = rules(&case.service);
        let verified = request.verify(&case.secret, case.now, &rules).unwrap();
        let body_signed = !matches!(verified.payload(), Payload::Unsigned);
        let names: Vec<String> = request.with_head(|head| {
            let signed = parse(head).unwrap().unwrap();
            signed.signed_headers().map(str::to_owned).collect()
        });
        for (what, mutant) in mutants(&request, &names, body_signed) {
            let same_path = canonical::path(&mutant.path, rules.s3) == canonical::path(&request.path, rules.s3);
            let only_path = Request { path: request.path.clone(), ..mutant.clone() } == request;
            // `/b/../c` is the same place as `/a/../c`.
            if (same_path && only_path) || names_another_key(&mutant, case) {
                continue;
            }
            let result = mutant.verify(&case.secret, case.now, &rules);
            assert!(result.is_err(), "{} still verifies with another {what}", case.name);
        }
    }
}

/// The key id in a header is not signed: another one is refused because its secret is another.
fn names_another_key(request: &Request, case: &Case) -> bool {
    request.with_head(|head| matches!(parse(head), Ok(Some(signed)) if signed.access_key_id() != case.access_key_id))
}

#[test]
fn another_secret_fails() {
    for case in &botocore() {
        let result = case.request().verify(&changed(&case.secret, 3).unwrap(), case.now, &rules(&case.service));
        assert_eq!(result.err(), Some(Failure::Mismatch), "{}", case.name);
    }
}
