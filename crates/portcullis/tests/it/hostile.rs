//! Clients that are wrong, slow, early gone or out for harm: each is answered or closed, and the server lives on.

use std::io::{Read as _, Write as _};

use crate::running::{Running, body, fresh};

#[test]
fn bad_heads_are_refused() {
    let (_dir, data) = fresh();
    let server = Running::start(&data, &[]);
    let long_field = format!("GET / HTTP/1.1\r\nHost: x\r\nX-Long: {}\r\n\r\n", "a".repeat(70_000));
    let many_fields = format!("GET / HTTP/1.1\r\nHost: x\r\n{}\r\n", "A: b\r\n".repeat(200));
    let long_target = format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(70_000));
    for (bytes, statuses) in [
        (long_field.as_bytes(), &["431"][..]),
        (many_fields.as_bytes(), &["431"]),
        (long_target.as_bytes(), &["414", "431"]),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", &["400", ""]),
        (b"\0\0\0\0\r\n\r\n", &["400", ""]),
        (b"GET / HTTP/9.9\r\n\r\n", &["400", "505"]),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\nConnection: close\r\n\r\n", &["400"]),
        (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n", &["400"]),
        (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", &["400"]),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &["400", "505", ""]),
    ] {
        let answer = server.exchange(bytes);
        let status = answer.split(' ').nth(1).unwrap_or_default();
        assert!(statuses.contains(&status), "{:?}: {answer}", String::from_utf8_lossy(&bytes[..bytes.len().min(60)]));
        server.assert_alive();
    }
    assert!(!server.log().contains("panicked"));
}

#[test]
fn bodies_beyond_their_limit_are_refused_in_the_words_of_the_service() {
    let (_dir, data) = fresh();
    let server = Running::start(&data, &[]);
    let head = "POST /2015-03-31/functions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n";
    let answer = server.exchange(format!("{head}Expect: 100-continue\r\nContent-Length: 70167212\r\n\r\n").as_bytes());
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(answer.contains("x-amzn-errortype: RequestEntityTooLargeException"), "{answer}");
    let text = "{\"message\":\"Request must be smaller than 70167211 bytes for the CreateFunction operation\"}";
    assert_eq!(body(&answer), text);

    // Chunked, so that nothing announces the size; the client sends it all before it looks for an answer.
    let mut chunks = Vec::from(&b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"[..]);
    for _ in 0..5 {
        chunks.extend_from_slice(b"100000\r\n");
        chunks.resize(chunks.len() + 0x10_0000, b'a');
        chunks.extend_from_slice(b"\r\n");
    }
    chunks.extend_from_slice(b"0\r\n\r\n");
    let mut stream = server.connect();
    stream.write_all(&chunks).unwrap();
    let mut status = [0; 12];
    stream.read_exact(&mut status).unwrap();
    assert_eq!(&status, b"HTTP/1.1 413");
    server.assert_alive();
}

#[test]
fn unknown_hosts_and_unsigned_calls_get_an_answer() {
    let (_dir, data) = fresh();
    let server = Running::start(&data, &[]);
    for (line, host) in [
        ("GET /", "example.com"),
        ("GET /Dev/pets", "unknownapi.execute-api.us-east-1.amazonaws.com"),
        ("GET /restapis", "localhost"),
        ("POST /", "localhost"),
        ("DELETE /2015-03-31/functions/f", "localhost"),
        ("GET /_aws/execute-api/nothing", "localhost"),
        ("OPTIONS *", "localhost"),
        ("HEAD /bucket/key", "localhost"),
        ("GET http://localhost/restapis", "elsewhere"),
    ] {
        let request = format!("{line} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        let answer = server.exchange(request.as_bytes());
        assert!(answer.starts_with("HTTP/1.1 4"), "{line} {host}: {answer}");
        assert!(answer.contains("\r\ndate: ") && !answer.contains("\r\nserver: "), "{answer}");
        assert!(!line.starts_with("HEAD") || body(&answer).is_empty(), "{answer}");
    }
    let old = server.exchange(b"GET /_portcullis/health HTTP/1.0\r\n\r\n");
    assert!(old.starts_with("HTTP/1.0 200 ") || old.starts_with("HTTP/1.1 200 "), "{old}");
}

#[test]
fn clients_that_leave_early_or_wait_for_ever_harm_nobody() {
    let (_dir, data) = fresh();
    let server = Running::start(&data, &[]);
    for bytes in [
        &b""[..],
        b"GET /_portcullis/hea",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nonly this",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST /Dev/x HTTP/1.1\r\nHost: a1b2c3d4e5.execute-api.localhost\r\nContent-Length: 100\r\n\r\nonly this",
    ] {
        for _ in 0..20 {
            server.connect().write_all(bytes).unwrap();
        }
        server.assert_alive();
    }
    // One that never ends its head is closed; others are served meanwhile.
    let mut slow: Vec<_> = (0..50).map(|_| server.connect()).collect();
    for stream in &mut slow {
        stream.write_all(b"GET /_portcullis/health HTTP/1.1\r\nX-Slow: ").unwrap();
    }
    server.assert_alive();
    for mut stream in slow {
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert!(!answer.starts_with(b"HTTP/1.1 200"));
    }
    server.assert_alive();
    assert!(!server.log().contains("panicked"));
}

#[test]
fn requests_on_one_connection_are_answered_in_order() {
    let (_dir, data) = fresh();
    let server = Running::start(&data, &[]);
    let one = "GET /_portcullis/health HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let other = "POST /_portcullis/health HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc";
    let last = "GET /_localstack/health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let answer = server.exchange(format!("{one}{one}{other}{last}").as_bytes());
    let statuses: Vec<&str> = answer.split("HTTP/1.1 ").skip(1).map(|part| &part[..3]).collect();
    assert_eq!(statuses, ["200", "200", "405", "200"], "{answer}");
}
