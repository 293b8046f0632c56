//! The worked examples of the Amazon S3 API Reference, "Signature Calculations for the Authorization Header" and its
//! siblings on query parameters, chunks and trailers. Keys and signatures are the published ones.

use super::{Request, rules};
use crate::sigv4::chunked::{ChunkFailure, Decoder, Seed};
use crate::sigv4::{Credentials, Failure, Payload, RequestHead, SignPayload, presign, sign, signing_key};

const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
/// 24 May 2013, 00:00:00 GMT.
const NOW: i64 = 1_369_353_600;
const HOST: &str = "examplebucket.s3.amazonaws.com";
const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn example(
    method: &str,
    path: &str,
    query: Option<&str>,
    headers: &[(&str, &str)],
    signed: &str,
    signature: &str,
) -> Request {
    let mut request = Request {
        method: method.to_owned(),
        path: path.to_owned(),
        query: query.map(str::to_owned),
        headers: Vec::new(),
        body: Vec::new(),
    };
    request.add("Host", if signed.contains("content-encoding") { "s3.amazonaws.com" } else { HOST });
    for (name, value) in headers {
        request.add(name, value);
    }
    // Without blanks after the commas, as the examples have it.
    request.add(
        "Authorization",
        &format!(
            "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,\
             SignedHeaders={signed},Signature={signature}"
        ),
    );
    request
}

#[test]
fn header_examples_verify() {
    let date = ("x-amz-date", "20130524T000000Z");
    let empty = ("x-amz-content-sha256", EMPTY);
    let get = example(
        "GET",
        "/test.txt",
        None,
        &[("Range", "bytes=0-9"), empty, date],
        "host;range;x-amz-content-sha256;x-amz-date",
        "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
    );
    let mut put = example(
        "PUT",
        "/test%24file.text",
        None,
        &[
            ("Date", "Fri, 24 May 2013 00:00:00 GMT"),
            date,
            ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
            ("x-amz-content-sha256", "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072"),
        ],
        "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
        "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
    );
    put.body = b"Welcome to Amazon S3.".to_vec();
    let signed = "host;x-amz-content-sha256;x-amz-date";
    let lifecycle = example(
        "GET",
        "/",
        Some("lifecycle"),
        &[date, empty],
        signed,
        "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
    );
    let list = example(
        "GET",
        "/",
        Some("max-keys=2&prefix=J"),
        &[date, empty],
        signed,
        "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
    );
    for request in [get, put, lifecycle, list] {
        let result = request.verify(SECRET, NOW, &rules("s3"));
        assert!(matches!(result.as_ref().map(super::Verified::payload), Ok(Payload::Checked)), "{result:?}");
    }
}

#[test]
fn presigned_example_verifies_until_it_expires() {
    let query = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2F\
                 aws4_request&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host&X-Amz-Signature=\
                 aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404";
    let mut request = Request {
        method: "GET".to_owned(),
        path: "/test.txt".to_owned(),
        query: Some(query.to_owned()),
        headers: Vec::new(),
        body: Vec::new(),
    };
    request.add("host", HOST);
    assert!(request.verify(SECRET, NOW + 86_400, &rules("s3")).is_ok());
    let late = request.verify(SECRET, NOW + 86_401, &rules("s3"));
    assert_eq!(late.err(), Some(Failure::PresignedExpired { signed_s: NOW, now_s: NOW + 86_401, expires_s: 86_400 }));
    assert!(request.verify(SECRET, NOW - 900, &rules("s3")).is_ok());
    assert!(matches!(request.verify(SECRET, NOW - 901, &rules("s3")), Err(Failure::NotYetCurrent { .. })));

    let credentials =
        Credentials { access_key_id: "AKIAIOSFODNN7EXAMPLE", secret_access_key: SECRET, session_token: None };
    let headers: [(&str, &[u8]); 1] = [("host", HOST.as_bytes())];
    let head = RequestHead { method: "GET", raw_path: "/test.txt", raw_query: None, headers: &headers };
    assert_eq!(presign(&head, &credentials, "us-east-1", "s3", NOW, 86_400), format!("/test.txt?{query}"));
}

#[test]
fn signing_gives_the_published_header() {
    let credentials = Credentials {
        access_key_id: "AKIDEXAMPLE",
        secret_access_key: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
        session_token: None,
    };
    let headers: [(&str, &[u8]); 2] = [("Host", b"example.amazonaws.com"), ("User-Agent", b"never signed")];
    let head = RequestHead { method: "GET", raw_path: "/", raw_query: None, headers: &headers };
    let added = sign(&head, SignPayload::Bytes(b""), &credentials, "us-east-1", "service", 1_440_938_160);
    assert_eq!(
        added,
        [
            ("x-amz-date", "20150830T123600Z".to_owned()),
            (
                "authorization",
                "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
                 SignedHeaders=host;x-amz-date, \
                 Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"
                    .to_owned()
            ),
        ]
    );
}

#[test]
fn signing_key_is_the_published_one() {
    // AWS General Reference, "Examples of how to derive a signing key".
    let key = signing_key("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "20150830", "us-east-1", "iam");
    // The published string to sign of the same page's worked request, and its signature.
    let text = "AWS4-HMAC-SHA256\n20150830T123600Z\n20150830/us-east-1/iam/aws4_request\n\
                f536975d06c0309214f805bb90ccff089219ecd68b2577efef23edd43b7e1a59";
    assert_eq!(key.sign(text.as_bytes()), "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7");
    assert_eq!(format!("{key:?}"), "SigningKey(..)");
}

const CHUNKS: [(usize, &str); 3] = [
    (65_536, "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648"),
    (1024, "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497"),
    (0, "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9"),
];
const TRAILER_CHUNKS: [(usize, &str); 3] = [
    (65_536, "b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2"),
    (1024, "1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7"),
    (0, "2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992"),
];

fn encode(chunks: &[(usize, &str)]) -> Vec<u8> {
    let mut body = Vec::new();
    for (size, signature) in chunks {
        body.extend_from_slice(format!("{size:x};chunk-signature={signature}\r\n").as_bytes());
        if *size > 0 {
            body.extend_from_slice(&vec![b'a'; *size]);
            body.extend_from_slice(b"\r\n");
        }
    }
    body
}

fn seed(request: &Request) -> Seed {
    match request.verify(SECRET, NOW, &rules("s3")).unwrap().into_payload() {
        Payload::Chunked(seed) => seed,
        other => panic!("not chunked: {other:?}"),
    }
}

fn streaming() -> Request {
    example(
        "PUT",
        "/examplebucket/chunkObject.txt",
        None,
        &[
            ("x-amz-date", "20130524T000000Z"),
            ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
            ("x-amz-content-sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"),
            ("Content-Encoding", "aws-chunked"),
            ("x-amz-decoded-content-length", "66560"),
            ("Content-Length", "66824"),
        ],
        "content-encoding;content-length;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class",
        "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9",
    )
}

fn streaming_with_trailer() -> Request {
    example(
        "PUT",
        "/examplebucket/chunkObject.txt",
        None,
        &[
            ("x-amz-date", "20130524T000000Z"),
            ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
            ("x-amz-content-sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"),
            ("Content-Encoding", "aws-chunked"),
            ("x-amz-decoded-content-length", "66560"),
            ("x-amz-trailer", "x-amz-checksum-crc32c"),
        ],
        "content-encoding;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class;x-amz-trailer",
        "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e",
    )
}

/// Data and trailers.
type Decoded = (Vec<u8>, Vec<(String, String)>);

/// Decodes in pieces of the given size.
fn decode(mut decoder: Decoder, body: &[u8], piece: usize) -> Result<Decoded, ChunkFailure> {
    let mut out = Vec::new();
    for piece in body.chunks(piece) {
        decoder.push(piece, &mut out)?;
    }
    decoder.finish().map(|trailers| (out, trailers))
}

#[test]
fn chunked_example_decodes_in_pieces_of_any_size() {
    let mut body = encode(&CHUNKS);
    body.extend_from_slice(b"\r\n");
    assert_eq!(body.len(), 66_824);
    for piece in [1, 7, 1000, 65_536, body.len()] {
        let (data, trailers) = decode(seed(&streaming()).decoder(), &body, piece).unwrap();
        assert_eq!(data, vec![b'a'; 66_560]);
        assert!(trailers.is_empty());
    }
}

#[test]
fn trailer_example_decodes() {
    let signature = "d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435";
    for separator in ["\r\n", "\n", "\n\r\n"] {
        let mut body = encode(&TRAILER_CHUNKS);
        body.extend_from_slice(format!("x-amz-checksum-crc32c:sOO8/Q=={separator}").as_bytes());
        body.extend_from_slice(format!("x-amz-trailer-signature:{signature}\r\n\r\n").as_bytes());
        let (data, trailers) = decode(seed(&streaming_with_trailer()).decoder(), &body, 999).unwrap();
        assert_eq!(data.len(), 66_560);
        assert_eq!(trailers, [("x-amz-checksum-crc32c".to_owned(), "sOO8/Q==".to_owned())]);
        let forged = String::from_utf8(body).unwrap().replace("sOO8", "sOO9");
        let result = decode(seed(&streaming_with_trailer()).decoder(), forged.as_bytes(), 4096);
        assert_eq!(result, Err(ChunkFailure::Mismatch));
    }
}

#[test]
fn chunked_body_with_anything_changed_fails() {
    let mut body = encode(&CHUNKS);
    body.extend_from_slice(b"\r\n");
    let heads: Vec<usize> = (0..90).chain(65_600..65_800).chain(body.len() - 90..body.len()).collect();
    for at in heads {
        let mut forged = body.clone();
        forged[at] ^= 1;
        assert!(decode(seed(&streaming()).decoder(), &forged, 10_000).is_err(), "byte {at}");
    }
    for end in [0, 10, 65_000, body.len() - 88, body.len() - 2, body.len() - 1] {
        assert!(decode(seed(&streaming()).decoder(), &body[..end], 10_000).is_err(), "cut at {end}");
    }
    body.push(b'x');
    assert_eq!(decode(seed(&streaming()).decoder(), &body, 10_000), Err(ChunkFailure::Malformed));
    // Leaving out a whole signed chunk breaks the chain.
    let mut shorter = encode(&[CHUNKS[0], CHUNKS[2]]);
    shorter.extend_from_slice(b"\r\n");
    assert_eq!(decode(seed(&streaming()).decoder(), &shorter, 10_000), Err(ChunkFailure::Mismatch));
}
