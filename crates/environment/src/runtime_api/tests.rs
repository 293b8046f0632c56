use proptest::prelude::*;

use super::{
    Machine, Reply, Route,
    body::{Body, Piece, Trailers},
    delivery, error_type,
    head::{self, Head, Length, Malformed},
    without_cause,
};
use crate::process::Call;

fn head(text: &str) -> Result<Head, Malformed> {
    let end = head::end(text.as_bytes(), 0).expect("a whole head");
    head::parse(&text.as_bytes()[..end])
}

fn asks(method: &str, path: &str) -> Head {
    head(&format!("{method} {path} HTTP/1.1\r\n\r\n")).unwrap()
}

#[test]
fn heads_are_read_whoever_wrote_them() {
    let read = head(
        "POST /2018-06-01/runtime/invocation/a/response?x HTTP/1.1\r\nHost: h\r\ncontent-LENGTH: 12\r\n\
         Lambda-Runtime-Function-Response-Mode: streaming\r\nContent-Type: text/x\r\nExpect: 100-continue\r\n\r\n",
    )
    .unwrap();
    assert_eq!((read.method.as_str(), read.path.as_str()), ("POST", "/2018-06-01/runtime/invocation/a/response"));
    assert_eq!((read.length, read.keeps, read.expects), (Length::Exact(12), true, true));
    assert_eq!(read.response_mode.as_deref(), Some("streaming"));
    assert_eq!(read.content_type.as_deref(), Some("text/x"));
    assert_eq!(head("GET http://h:1/ping HTTP/1.1\n\n").unwrap().path, "/ping");
    for (field, keeps) in [("X: y", true), ("Connection: close", false), ("Connection: Keep-Alive", true)] {
        assert_eq!(head(&format!("GET / HTTP/1.1\r\n{field}\r\n\r\n")).unwrap().keeps, keeps, "{field}");
    }
    assert!(!head("GET / HTTP/1.0\r\n\r\n").unwrap().keeps);
}

#[test]
fn heads_that_contradict_themselves_are_refused() {
    for fields in [
        "Content-Length: 1\r\nContent-Length: 2",
        "Content-Length: 1\r\nTransfer-Encoding: chunked",
        "Content-Length: +1",
        "Content-Length: -1",
        "Content-Length: 99999999999999999999",
        "Transfer-Encoding: gzip",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "no field at all",
    ] {
        assert_eq!(head(&format!("POST / HTTP/1.1\r\n{fields}\r\n\r\n")), Err(Malformed), "{fields}");
    }
    let many: String = (0..65).map(|number| format!("A{number}: b\r\n")).collect();
    assert_eq!(head(&format!("GET / HTTP/1.1\r\n{many}\r\n")), Err(Malformed));
}

#[test]
fn requests_are_allowed_in_the_order_of_aws() {
    let base = "/2018-06-01/runtime";
    let next = asks("GET", &format!("{base}/invocation/next"));
    let response = |id: &str| asks("POST", &format!("{base}/invocation/{id}/response"));
    let error = asks("POST", &format!("{base}/invocation/a/error"));
    let init_error = asks("POST", &format!("{base}/init/error"));
    let refused = |from, to| Err(Reply::invalid_transition(from, to));
    let mut machine = Machine::new();
    assert_eq!(machine.route(&response("a")), Err(Reply::invalid_request_id()), "nothing has been handed out");
    assert_eq!(machine.route(&next), Ok(Route::Next));
    assert_eq!(machine.route(&init_error), refused("Ready", "InitError"));
    assert_eq!(machine.route(&next), Ok(Route::Next), "asked again by one who lost its connection");
    assert!(machine.is_ready());
    machine.delivered("a");
    assert_eq!(machine.route(&next), refused("Running", "Ready"));
    assert_eq!(machine.route(&response("b")), Err(Reply::invalid_request_id()));
    assert_eq!(machine.route(&response("a")), Ok(Route::Response { streams: false }));
    assert_eq!(machine.route(&response("a")), refused("InvocationResponse", "InvocationResponse"), "once alone");
    assert_eq!(machine.route(&error), refused("InvocationResponse", "InvocationErrorResponse"));
    machine.broke_off();
    assert_eq!(machine.route(&error), Ok(Route::Error), "what broke off counts as not begun");
    machine.answered();
    assert_eq!(machine.route(&error), Err(Reply::invalid_request_id()), "it has been answered");
    assert_eq!(machine.route(&next), Ok(Route::Next));

    let mut machine = Machine::new();
    assert_eq!(machine.route(&init_error), Ok(Route::InitError));
    machine.answered();
    assert_eq!(machine.route(&next), refused("InitError", "Ready"));
}

#[test]
fn paths_methods_and_modes_that_do_not_exist_are_refused() {
    let base = "/2018-06-01/runtime/invocation";
    let mut machine = Machine::new();
    machine.route(&asks("GET", &format!("{base}/next"))).unwrap();
    machine.delivered("a");
    for (method, path, expected) in [
        ("GET", "/2018-06-01/ping", Ok(Route::Ping)),
        ("GET", "/2018-06-01/runtime/restore/next", Err(Reply::not_found())),
        ("GET", "/2020-01-01/extension/event/next", Err(Reply::not_found())),
        ("GET", "/", Err(Reply::not_found())),
        ("POST", "/2018-06-01/runtime/invocation/next", Err(Reply::method_not_allowed())),
        ("GET", "/2018-06-01/runtime/invocation/a/response", Err(Reply::method_not_allowed())),
        ("POST", "/2018-06-01/runtime/invocation/a/other", Err(Reply::not_found())),
        ("POST", "/2018-06-01/runtime/invocation/a/b/response", Err(Reply::not_found())),
    ] {
        assert_eq!(machine.route(&asks(method, path)), expected, "{method} {path}");
    }
    let mut mode = asks("POST", &format!("{base}/a/response"));
    mode.response_mode = Some("sideways".into());
    assert_eq!(machine.route(&mode), Err(Reply::invalid_response_mode()));
    mode.response_mode = Some("streaming".into());
    assert_eq!(machine.route(&mode), Ok(Route::Response { streams: true }));
}

#[test]
fn replies_have_the_words_of_aws() {
    for (reply, expected) in [
        (
            Reply::accepted(),
            "HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nContent-Length: 16\r\n\r\n{\"status\":\"OK\"}\n",
        ),
        (
            Reply::invalid_request_id(),
            "HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nContent-Length: 68\r\n\r\n\
             {\"errorMessage\":\"Invalid request ID\",\"errorType\":\"InvalidRequestID\"}",
        ),
        (
            Reply::too_large(),
            "HTTP/1.1 413 Request Entity Too Large\r\nContent-Type: application/json\r\nContent-Length: 109\r\n\r\n\
             {\"errorMessage\":\"Exceeded maximum allowed payload size (6291556 bytes).\",\"errorType\":\"RequestEntityTooLarge\"}",
        ),
    ] {
        let mut out = Vec::new();
        reply.write(true, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}

#[test]
fn an_event_is_delivered_with_its_fields_and_nothing_can_be_smuggled_in() {
    let call = Call {
        id: "id",
        deadline_ms: 1_700_000_000_000,
        arn: "arn",
        trace: Some("Root=1\r\nX-Forged: 1"),
        client_context: Some("{\"a\":\"\u{fc}\"}"),
    };
    let mut out = Vec::new();
    delivery(&call, 2, true, &mut out);
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nLambda-Runtime-Aws-Request-Id: id\r\n\
         Lambda-Runtime-Deadline-Ms: 1700000000000\r\nLambda-Runtime-Invoked-Function-Arn: arn\r\n\
         Lambda-Runtime-Trace-Id: Root=1  X-Forged: 1\r\nLambda-Runtime-Client-Context: {\"a\":\"\u{fc}\"}\r\n\
         Content-Length: 2\r\n\r\n"
    );
}

#[test]
fn error_types_are_kept_when_aws_keeps_them() {
    for (given, expected) in [
        (Some("Runtime.ExitError"), "Runtime.ExitError"),
        (Some("Function.ABc"), "Function.ABc"),
        (Some("Function.lower"), "Function.Unknown"),
        (Some("Function.With Space"), "Function.Unknown"),
        (Some("Function."), "Function.Unknown"),
        (Some("Runtime.X1"), "Runtime.Unknown"),
        (Some("ValueError"), "Runtime.Unknown"),
        (None, "Runtime.Unknown"),
    ] {
        assert_eq!(error_type(given), expected, "{given:?}");
    }
    let cause = Some("application/vnd.aws.lambda.error.cause+json");
    let document = r#"{"errorMessage":"m","errorType":"t","stackTrace":[],"errorCause":{"a":1}}"#;
    for (kind, given, expected) in [
        (cause, document, r#"{"errorMessage":"m","errorType":"t","stackTrace":[]}"#),
        (None, document, document),
        (cause, "not JSON", "not JSON"),
    ] {
        assert_eq!(without_cause(kind, given.into()), expected);
    }
}

/// Reads a body that comes in pieces of the given sizes, as a connection does.
fn read(length: Length, wire: &[u8], cuts: &[usize]) -> Result<Option<(Vec<u8>, Trailers, usize)>, Malformed> {
    let (mut body, mut buffer, mut collected, mut rest) = (Body::new(length), Vec::new(), Vec::new(), wire);
    let mut cuts = cuts.iter().copied().chain(std::iter::repeat(wire.len().max(1)));
    loop {
        match body.next(&buffer)? {
            Piece::More { used } => {
                buffer.drain(..used);
                if rest.is_empty() {
                    return Ok(None);
                }
                let (now, later) = rest.split_at(cuts.next().unwrap().clamp(1, rest.len()));
                buffer.extend_from_slice(now);
                rest = later;
            }
            Piece::Data { skip, bytes } => {
                collected.extend_from_slice(&buffer[skip..skip + bytes]);
                buffer.drain(..skip + bytes);
            }
            Piece::End { used, trailers } => {
                buffer.drain(..used);
                return Ok(Some((collected, trailers, buffer.len() + rest.len())));
            }
        }
    }
}

#[test]
fn bodies_are_read_however_they_are_framed() {
    let trailers = Trailers { error_type: Some("Runtime.StreamError".into()), error_body: Some("e30=".into()) };
    let chunked = |wire: &str| read(Length::Chunked, wire.as_bytes(), &[]);
    assert_eq!(read(Length::Exact(2), b"abGET", &[]), Ok(Some((b"ab".to_vec(), Trailers::default(), 3))));
    assert_eq!(chunked("2\r\nab\r\n1;x=y\r\nc\r\n0\r\n\r\nGE"), Ok(Some((b"abc".to_vec(), Trailers::default(), 2))));
    assert_eq!(
        chunked(
            "0\r\nLambda-Runtime-Function-Error-Type: Runtime.StreamError\r\nlambda-runtime-function-error-body: e30=\r\n\r\n"
        ),
        Ok(Some((Vec::new(), trailers, 0)))
    );
    assert_eq!(chunked("2\r\nab"), Ok(None));
    for wire in ["x\r\n", "2\r\nabc\r\n", "ffffffffffffffffff\r\n", "-1\r\n"] {
        assert_eq!(chunked(wire), Err(Malformed), "{wire}");
    }
    for wire in ["\r\n", ";x\r\n", "0\n\r\n", "1;a\nb\r\nx\r\n"] {
        assert_eq!(chunked(wire), Err(Malformed), "{wire:?} means one thing to some and another to others");
    }
    let endless = format!("1;{}", "x".repeat(8 * 1024));
    assert_eq!(chunked(&endless), Err(Malformed));
    let endless = format!("0\r\nA: {}", "x".repeat(2 * 1024 * 1024));
    assert_eq!(chunked(&endless), Err(Malformed));
}

#[test]
fn what_trickles_in_is_searched_once() {
    let long = 256 * 1024;
    let fields = format!("lambda-runtime-function-error-type: Runtime.{}\r\n", "x".repeat(long));
    for (wire, whole) in [
        (format!("0\r\n{fields}\r\n"), true),
        (format!("0\r\n{fields}"), false),
        (format!("0\r\nA: {}", "x".repeat(long)), false),
        (format!("0\r\nA: {}", "\r\n\t".repeat(long / 3)), false),
        (format!("1;{}\r\nx\r\n", "x".repeat(4_000)).repeat(20) + "0\r\n\r\n", true),
        ("1\r\nx\r\n".repeat(10_000) + "0\r\n\r\n", true),
    ] {
        head::LOOKED_AT.set(0);
        let came = read(Length::Chunked, wire.as_bytes(), &vec![1; wire.len()]).unwrap();
        assert_eq!(came.is_some(), whole);
        let looked_at = head::LOOKED_AT.get();
        // Each byte as it comes, and the three before it that may be part of an end.
        assert!(looked_at <= 4 * wire.len(), "{looked_at} bytes searched of {}", wire.len());
        assert!(looked_at >= wire.len() / 8, "what searches is not counted");
    }
}

proptest! {
    #[test]
    fn chunked_bodies_survive_any_cut(
        chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..40), 0..8),
        cuts in proptest::collection::vec(1usize..7, 0..200),
    ) {
        let mut wire = Vec::new();
        for chunk in &chunks {
            wire.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            wire.extend_from_slice(chunk);
            wire.extend_from_slice(b"\r\n");
        }
        wire.extend_from_slice(b"0\r\n\r\n");
        prop_assert_eq!(read(Length::Chunked, &wire, &cuts), Ok(Some((chunks.concat(), Trailers::default(), 0))));
    }

    #[test]
    fn hostile_bytes_neither_panic_nor_use_more_than_there_is(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = head::parse(&bytes);
        for length in [Length::Chunked, Length::Exact(7)] {
            match Body::new(length).next(&bytes) {
                Ok(Piece::Data { skip, bytes: count }) => prop_assert!(skip + count <= bytes.len()),
                Ok(Piece::More { used } | Piece::End { used, .. }) => prop_assert!(used <= bytes.len()),
                Err(Malformed) => {}
            }
        }
    }

    #[test]
    fn the_end_of_a_head_is_found_however_it_trickles_in(
        lines in proptest::collection::vec("[a-z]{0,9}", 1..6), cut in 0usize..60,
    ) {
        let text = format!("{}\r\n\r\nrest", lines.join("\r\n"));
        let whole = head::end(text.as_bytes(), 0);
        prop_assert!(whole.is_some());
        let cut = cut.min(text.len());
        let found = head::end(&text.as_bytes()[..cut], 0).or_else(|| head::end(text.as_bytes(), cut));
        prop_assert_eq!(found, whole);
    }

    #[test]
    fn any_sequence_of_requests_keeps_to_the_states(steps in proptest::collection::vec(0u8..8, 0..40)) {
        let base = "/2018-06-01/runtime";
        let mut machine = Machine::new();
        let mut asked = false;
        for step in steps {
            let head = match step {
                0 => asks("GET", &format!("{base}/invocation/next")),
                1 => asks("POST", &format!("{base}/invocation/a/response")),
                2 => asks("POST", &format!("{base}/invocation/a/error")),
                3 => asks("POST", &format!("{base}/init/error")),
                4 => { machine.answered(); asked = false; continue }
                5 => { machine.broke_off(); continue }
                6 => { if asked && machine.is_ready() { machine.delivered("a"); asked = false; } continue }
                _ => asks("POST", &format!("{base}/invocation/b/response")),
            };
            match machine.route(&head) {
                Ok(Route::Next) => { prop_assert!(machine.is_ready()); asked = true; }
                Ok(Route::Response { .. } | Route::Error) => prop_assert!(!machine.is_ready() && step != 7),
                _ => {}
            }
        }
    }
}
