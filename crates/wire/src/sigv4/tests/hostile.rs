//! Arbitrary bytes: no panic, and nothing verifies that was not signed.

use proptest::prelude::*;

use super::{Request, rules};
use crate::sigv4::chunked::Seed;
use crate::sigv4::{Credentials, Dialect, RequestHead, SignPayload, presign, sign, signing_key};

const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";

fn header() -> impl Strategy<Value = (String, Vec<u8>)> {
    let name = prop_oneof![
        Just("Authorization".to_owned()),
        Just("host".to_owned()),
        Just("X-Amz-Date".to_owned()),
        Just("Date".to_owned()),
        Just("x-amz-content-sha256".to_owned()),
        Just("x-amz-security-token".to_owned()),
        Just("x-amz-decoded-content-length".to_owned()),
        "\\PC{0,12}",
    ];
    let value = prop_oneof![
        any::<Vec<u8>>(),
        "AWS4-HMAC-SHA256 (Credential=[A/0-9a-z_]{0,40}, ?|SignedHeaders=[a-z;]{0,9}, ?|Signature=[0-9a-f]{0,64},?){0,4}"
            .prop_map(String::into_bytes),
        "AWS4-HMAC-SHA256 Credential=A/20250101/us-east-1/s3/aws4_request,SignedHeaders=host[;a-zA-Z-]{0,9},Signature=[0-9a-f]{0,3}"
            .prop_map(String::into_bytes),
        "20250[0-9]{3}T0[0-9]{5}Z".prop_map(String::into_bytes),
        "(Mon|Wed), [0-9]{1,2} (Jan|Xyz) [0-9]{2,4} 00:00:00 (GMT|[+-]0000)".prop_map(String::into_bytes),
    ];
    (name, value)
}

fn query() -> impl Strategy<Value = Option<String>> {
    prop::option::of(prop_oneof![
        "\\PC{0,60}",
        "(X-Amz-(Algorithm=AWS4-HMAC-SHA256|Credential=A%2F20250101%2Fr%2Fs3%2Faws4_request|Date=20250101T000000Z|\
         Expires=[0-9]{1,3}|SignedHeaders=host|Signature=0)&){0,8}",
        "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=A/20250101/us-east-1/s3/aws4_request&X-Amz-Date=20250101T000000Z\
         &X-Amz-Expires=[1-9]{1,7}&X-Amz-SignedHeaders=\\PC{0,9}&X-Amz-Signature=\\PC{0,9}",
    ])
}

proptest! {
    #[test]
    fn no_request_panics_or_verifies(
        method in "\\PC{0,8}",
        path in "\\PC{0,40}",
        query in query(),
        headers in prop::collection::vec(header(), 0..8),
        body in any::<Vec<u8>>(),
        now in prop_oneof![any::<i64>(), Just(1_735_689_600)],
    ) {
        let request = Request { method, path, query, headers, body };
        for service in ["s3", "apigateway"] {
            let result = request.verify(SECRET, now, &rules(service));
            let failure = result.expect_err("nobody signed this");
            for dialect in [Dialect::RestJson, Dialect::AwsJson, Dialect::Query, Dialect::S3] {
                prop_assert!(failure.to_error(dialect).is_client_fault());
            }
        }
    }

    #[test]
    fn what_we_sign_verifies(
        path in "(/[!-.0-9:-~]{0,9}){1,4}",
        query in prop::option::of("([a-zA-Z0-9._~-]{0,4}=?(%[0-9A-F]{2})?[+]?&?){0,6}"),
        values in prop::collection::vec("[ -~]{0,20}", 0..6),
        body in any::<Vec<u8>>(),
        token in prop::option::of("[A-Za-z0-9/+=]{1,80}"),
        now in 0_i64..4_000_000_000,
        service in prop_oneof![Just("s3"), Just("apigateway"), Just("sts")],
    ) {
        prop_assume!(!path.contains(['?', '#']));
        let mut request = Request { method: "PUT".to_owned(), path, query, headers: Vec::new(), body };
        request.add("Host", "localhost:4566");
        for (index, value) in values.iter().enumerate() {
            request.add(&format!("X-Note-{}", index % 3), value);
        }
        let credentials =
            Credentials { access_key_id: "AKIAIOSFODNN7EXAMPLE", secret_access_key: SECRET, session_token: token.as_deref() };
        let mut by_header = request.clone();
        let added = request.with_head(|head| {
            sign(head, SignPayload::Bytes(&request.body), &credentials, "eu-west-1", service, now)
        });
        for (name, value) in added {
            by_header.add(name, &value);
        }
        prop_assert!(by_header.verify(SECRET, now, &rules(service)).is_ok());

        let target = request.with_head(|head| presign(head, &credentials, "eu-west-1", service, now, 60));
        request.query = target.split_once('?').map(|(_, query)| query.to_owned());
        request.body.clear();
        prop_assert!(request.verify(SECRET, now, &rules(service)).is_ok());
    }

    #[test]
    fn no_chunked_body_panics_or_passes(
        pieces in prop::collection::vec(
            prop_oneof![
                any::<Vec<u8>>(),
                "[0-9a-f]{1,4};chunk-signature=[0-9a-f]{0,64}\r\n".prop_map(String::into_bytes),
                "(0|[0-9a-f]{1,3})\r\n".prop_map(String::into_bytes),
                "x-amz-(checksum-crc32|trailer-signature):[a-z]{0,9}\r?\n".prop_map(String::into_bytes),
                Just(b"\r\n".to_vec()),
            ],
            0..12,
        ),
        signed in any::<bool>(),
        trailer in any::<bool>(),
    ) {
        let headers: [(&str, &[u8]); 2] = [("x-amz-decoded-content-length", b"64"), ("x-amz-trailer", b"x-amz-checksum-crc32")];
        let head = RequestHead { method: "PUT", raw_path: "/", raw_query: None, headers: &headers };
        let key = signing_key(SECRET, "20250101", "us-east-1", "s3");
        let chain = signed.then(|| (key, "0".repeat(64), "20250101T000000Z".to_owned(), "scope".to_owned()));
        let mut decoder = Seed::read(&head, chain, trailer).unwrap().decoder();
        let mut out = Vec::new();
        let pushed = pieces.iter().try_for_each(|piece| decoder.push(piece, &mut out));
        prop_assert!(out.len() <= 64);
        let finished = decoder.finish();
        if pushed.is_err() {
            prop_assert!(finished.is_err());
        }
        if finished.is_ok() {
            prop_assert!(!signed && out.len() == 64);
        }
    }
}
