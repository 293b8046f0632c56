//! What a runtime says to the HTTP Runtime API: read alike in any pieces, in proportion to its length, never two ways.
//!
//! Input: sizes in which it comes, what the connection carries, then trace and client context of an event.

use environment::fuzzing::{self, Said};
use serde_json::Value;

/// Checks one input.
pub fn check(input: &[u8]) {
    let mut parts = crate::parts(input);
    let (sizes, wire) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let whole = read(wire, &[]);
    assert_eq!(whole, read(wire, &[1]), "read in single bytes");
    assert_eq!(whole, read(wire, sizes), "read in pieces of {sizes:?}");
    let mut due = false;
    let mut answers = 0;
    for said in &whole {
        match said {
            Said::Request { asks_for_event: Some(true), .. } => {
                assert!(!due, "a second event before the first is answered");
                (due, answers) = (true, 0);
            }
            Said::Request { asks_for_event: Some(false), .. } => {
                answers += 1;
                assert!(answers <= 1, "a second answer to one event");
                due = false;
            }
            Said::Body(..) | Said::Request { .. } | Said::Malformed => {}
        }
    }
    lengths_are_told_once(wire, whole.first());
    honest(wire, sizes);
    let (trace, context) = (crate::text(&mut parts), crate::text(&mut parts));
    nothing_is_smuggled(&trace, &context);
    errors(&trace, wire);
}

/// What a connection came to, once its bounds have been looked at.
fn read(wire: &[u8], sizes: &[u8]) -> Vec<Said> {
    let (said, looked_at, unused) = fuzzing::connection(wire, sizes);
    assert!(unused <= wire.len());
    // Each byte as it comes, and the three before it that may be part of an end.
    assert!(looked_at <= 4 * wire.len(), "{looked_at} bytes searched of {}", wire.len());
    let bodies: usize = said.iter().map(|said| if let Said::Body(body, ..) = said { body.len() } else { 0 }).sum();
    assert!(bodies <= wire.len());
    said
}

/// A head that tells its body's length in two ways, or one way twice with two values, is not read.
fn lengths_are_told_once(wire: &[u8], first: Option<&Said>) {
    let Some(Said::Request { body_bytes, .. }) = first else { return };
    let text = String::from_utf8_lossy(wire).to_ascii_lowercase();
    let head = text.split("\n\r\n").next().unwrap_or_default().split("\n\n").next().unwrap_or_default();
    let told = |name: &str| head.lines().skip(1).filter(|line| line.split(':').next() == Some(name)).count();
    let (exact, chunked) = (told("content-length"), told("transfer-encoding"));
    assert!(exact == 0 || chunked == 0, "{head:?}");
    assert_eq!(body_bytes.is_none(), chunked == 1, "{head:?}");
    assert!(exact > 0 || chunked > 0 || *body_bytes == Some(0), "{head:?}");
}

/// A body cut into chunks of those sizes is what it was made from, and the next request begins behind it.
fn honest(body: &[u8], sizes: &[u8]) {
    let mut wire = b"POST /2018-06-01/runtime/init/error HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    let (mut rest, mut next) = (body, sizes.iter().cycle());
    while !rest.is_empty() {
        let size = usize::from(next.next().copied().unwrap_or(7)).clamp(1, rest.len());
        let (now, later) = rest.split_at(size);
        wire.extend_from_slice(format!("{size:X};a=b\r\n").as_bytes());
        wire.extend_from_slice(now);
        wire.extend_from_slice(b"\r\n");
        rest = later;
    }
    wire.extend_from_slice(b"0\r\nLambda-Runtime-Function-Error-Type: Runtime.X\r\n\r\nGET /ping HTTP/1.1\r\n\r\n");
    let said = read(&wire, sizes);
    assert_eq!(said.get(1), Some(&Said::Body(body.to_vec(), Some("Runtime.X".to_owned()), None)));
    assert!(matches!(said.get(2), Some(Said::Request { path, .. }) if path == "/ping"));
}

/// What callers write into an event's fields begins no field of its own, and ends no head.
fn nothing_is_smuggled(trace: &str, context: &str) {
    let head = String::from_utf8(fuzzing::delivered(trace, context)).expect("all of it is text");
    let lines: Vec<&str> = head.split("\r\n").collect();
    let told = usize::from(!trace.is_empty()) + usize::from(!context.is_empty());
    // Status, type, three fields of every event, its length, and the empty line that ends it.
    assert_eq!(lines.len(), 8 + told, "{head:?}");
    assert!(head.ends_with("Content-Length: 2\r\n\r\n"));
    assert!(lines.iter().all(|line| !line.contains(|c: char| c < ' ' || c == '\u{7f}')), "{head:?}");
}

fn errors(kind: &str, document: &[u8]) {
    let kept = fuzzing::kept_error_type(kind);
    assert!(kept == kind || kept == "Function.Unknown" || kept == "Runtime.Unknown");
    assert!(kept.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'.'));
    let told = fuzzing::told_of_error(document);
    match serde_json::from_slice::<Value>(document) {
        Ok(Value::Object(_)) => {
            let told: Value = serde_json::from_slice(&told).expect("still a document");
            assert!(told.get("errorCause").is_none());
        }
        _ => assert_eq!(told, document),
    }
}
