//! Tests by outside witnesses: AWS's published vectors, botocore's signatures, the Rust SDK's signer.

mod corpus;
mod examples;
mod hostile;
mod oracle;
mod refusals;

use super::{Body, Dialect, Failure, RequestHead, Rules, Verified, parse};

/// A request that owns what [`RequestHead`] borrows.
#[derive(Debug, Clone, PartialEq)]
struct Request {
    method: String,
    path: String,
    query: Option<String>,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
}

impl Request {
    fn with_head<T>(&self, then: impl FnOnce(&RequestHead<'_>) -> T) -> T {
        let headers: Vec<(&str, &[u8])> = self.headers.iter().map(|(n, v)| (n.as_str(), v.as_slice())).collect();
        then(&RequestHead {
            method: &self.method,
            raw_path: &self.path,
            raw_query: self.query.as_deref(),
            headers: &headers,
        })
    }

    /// The whole check, as the server runs it.
    fn verify(&self, secret: &str, now_s: i64, rules: &Rules<'_>) -> Result<Verified, Failure> {
        self.with_head(|head| {
            let signed = parse(head)?.ok_or(Failure::Missing)?;
            signed.check_scope(rules)?;
            let key = signed.signing_key(secret);
            signed.verify(head, Body::Bytes(&self.body), &key, now_s, rules)
        })
    }

    fn header_mut(&mut self, name: &str) -> &mut Vec<u8> {
        &mut self.headers.iter_mut().find(|(n, _)| n.eq_ignore_ascii_case(name)).expect("header is there").1
    }

    fn add(&mut self, name: &str, value: &str) {
        self.headers.push((name.to_owned(), value.as_bytes().to_vec()));
    }
}

fn rules(service: &str) -> Rules<'_> {
    Rules::of(if service == "s3" { Dialect::S3 } else { Dialect::RestJson }, service)
}
