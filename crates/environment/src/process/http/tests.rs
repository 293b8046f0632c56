//! What a function can make the server keep for it.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpStream},
};

use super::*;

/// A Runtime API, where it listens, and a runtime to use it on.
fn serve() -> (Http, SocketAddr, tokio::runtime::Runtime) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    (Http::new(listener).unwrap(), address, runtime)
}

fn connect(address: SocketAddr) -> TcpStream {
    let socket = TcpStream::connect(address).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket
}

/// One look, as after being woken.
fn look(http: &mut Http) -> Option<Ending> {
    http.woken();
    match http.advance() {
        Step::Ending(ending) => Some(ending),
        Step::Closed => panic!("nobody listens any more"),
        _ => None,
    }
}

/// Writes all of `bytes` while the other end is looked at; an ending if that brought one, `Err` when it was closed.
fn write(http: &mut Http, socket: &mut TcpStream, mut bytes: &[u8]) -> Result<Option<Ending>, ErrorKind> {
    loop {
        match socket.write(bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.kind()),
        }
        let ending = look(http);
        assert!(http.held_bytes() <= HELD_BYTES_MAX, "{} bytes are held", http.held_bytes());
        if bytes.is_empty() || ending.is_some() {
            return Ok(ending);
        }
    }
}

/// What has been answered, once the other end has closed or said something that ends in `until`.
fn read(http: &mut Http, socket: &mut TcpStream, until: &str) -> String {
    let (mut text, mut chunk) = (String::new(), [0; 4_096]);
    loop {
        look(http);
        match socket.read(&mut chunk) {
            Ok(0) => return text,
            Ok(read) => text.push_str(&String::from_utf8_lossy(&chunk[..read])),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => return text,
        }
        if text.ends_with(until) {
            return text;
        }
    }
}

const NEXT: &[u8] = b"GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\n\r\n";

fn invoke(http: &mut Http, event: &Bytes) {
    let call = Call { id: "id", deadline_ms: 7, arn: "arn", trace: None, client_context: None };
    http.begin_invoke(&call, event);
}

#[test]
fn what_has_no_body_is_refused_with_one_and_changes_nothing() {
    let (mut http, address, runtime) = serve();
    let _inside = runtime.enter();
    for target in ["/2018-06-01/ping", "/2018-06-01/runtime/invocation/next"] {
        for length in ["Content-Length: 6000000", "Content-Length: 1", "Transfer-Encoding: chunked"] {
            let mut socket = connect(address);
            let head = format!("GET {target} HTTP/1.1\r\n{length}\r\n\r\n");
            assert_eq!(write(&mut http, &mut socket, head.as_bytes()), Ok(None));
            let answer = read(&mut http, &mut socket, "400 Bad Request");
            assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{target} {length}: {answer}");
        }
    }
    assert!(!http.started && !http.machine.is_ready());
    assert_eq!(write(&mut http, &mut connect(address), b"GET /2018-06-01/ping HTTP/1.1\r\n\r\n"), Ok(None));
}

#[test]
fn all_connections_together_hold_one_answer_and_little_more() {
    // Neither what never becomes a head nor a body nobody asked for.
    let field = "A: ".to_owned() + &"a".repeat(HELD_BYTES_MAX / 16);
    let refused = "POST /2018-06-01/runtime/invocation/other/response HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n";
    for greedy in [format!("GET / HTTP/1.1\r\n{field}"), format!("{refused}{field}")] {
        let (mut http, address, runtime) = serve();
        let _inside = runtime.enter();
        let mut sockets: Vec<TcpStream> = (0..CONNECTIONS_MAX).map(|_| connect(address)).collect();
        // By turns, each less than one may hold by itself.
        for part in greedy.as_bytes().chunks(128 * 1_024) {
            for socket in &mut sockets {
                let _ = write(&mut http, socket, part);
            }
        }
        // And it serves all the same, the longest answer too.
        drop(sockets);
        while !http.connections.is_empty() {
            assert_eq!(look(&mut http), None);
        }
        let mut socket = connect(address);
        let mut ending = write(&mut http, &mut socket, NEXT).unwrap();
        while ending.is_none() {
            ending = look(&mut http);
        }
        assert_eq!(ending, Some(Ending::Ready));
        invoke(&mut http, &Bytes::from_static(b"{}"));
        read(&mut http, &mut socket, "{}");
        let answer = "x".repeat(RESULT_BYTES_MAX);
        let mut request = format!(
            "POST /2018-06-01/runtime/invocation/id/response HTTP/1.1\r\nContent-Length: {RESULT_BYTES_MAX}\r\n\r\n"
        );
        request.push_str(&answer);
        let mut ending = write(&mut http, &mut socket, request.as_bytes()).unwrap();
        while ending.is_none() {
            ending = look(&mut http);
        }
        assert_eq!(ending, Some(Ending::Result(Bytes::from(answer))));
    }
}

#[test]
fn an_event_that_was_answered_without_being_read_is_let_go() {
    let (mut http, address, runtime) = serve();
    let _inside = runtime.enter();
    let event = Bytes::from(vec![b'1'; 6 * 1_024 * 1_024]);
    let mut lazy = Vec::new();
    for _ in 0..3 {
        let mut socket = connect(address);
        let mut ending = write(&mut http, &mut socket, NEXT).unwrap();
        while http.waiting.is_none() {
            ending = ending.or(look(&mut http));
        }
        invoke(&mut http, &event);
        while !http.has_delivered() {
            look(&mut http);
        }
        assert!(http.held_bytes() > event.len() / 4, "the kernel takes all of it");
        lazy.push(socket);
        let mut other = connect(address);
        let answer = b"POST /2018-06-01/runtime/invocation/id/response HTTP/1.1\r\nContent-Length: 1\r\n\r\n1";
        let mut ending = write(&mut http, &mut other, answer).unwrap();
        while ending.is_none() {
            ending = look(&mut http);
        }
        assert_eq!(ending, Some(Ending::Result(Bytes::from_static(b"1"))));
        assert!(http.held_bytes() < event.len() / 4, "{} bytes are held", http.held_bytes());
    }
}

#[test]
fn that_a_runtime_asks_for_its_next_event_is_seen_without_reading_it() {
    let (mut http, address, runtime) = serve();
    let _inside = runtime.enter();
    let event = Bytes::from_static(b"{}");
    let answer = b"POST /2018-06-01/runtime/invocation/id/response HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}";
    let mut socket = connect(address);
    assert!(!http.asks_for_event(), "it has not begun");
    assert_eq!(write(&mut http, &mut socket, NEXT).unwrap(), Some(Ending::Ready));
    assert!(http.asks_for_event());
    invoke(&mut http, &event);
    read(&mut http, &mut socket, "{}");
    for again in [false, true] {
        let ending = if again {
            // The one that was asked for unseen.
            invoke(&mut http, &event);
            read(&mut http, &mut socket, "{}");
            write(&mut http, &mut socket, answer).unwrap()
        } else {
            write(&mut http, &mut socket, answer).unwrap()
        };
        assert_eq!(ending, Some(Ending::Result(event.clone())));
        // Whatever else it does with its connections is no such question.
        drop(connect(address));
        let mut other = connect(address);
        other.write_all(b"GET /2018-06-01/ping HTTP/1.1\r\n\r\n").unwrap();
        assert!(!http.asks_for_event(), "it may still be at work");
        socket.set_nonblocking(false).unwrap();
        socket.write_all(NEXT).unwrap();
        socket.set_nonblocking(true).unwrap();
        while !http.asks_for_event() {}
        assert!(http.waiting.is_none(), "it has not been read");
    }
    // On a connection of its own, as clients do that keep none.
    invoke(&mut http, &event);
    read(&mut http, &mut socket, "{}");
    assert!(write(&mut http, &mut socket, answer).unwrap().is_some());
    assert!(!http.asks_for_event());
    let mut fresh = connect(address);
    fresh.write_all(NEXT).unwrap();
    while !http.asks_for_event() {}
    // More connections than there may be are left where they are.
    let many: Vec<TcpStream> = (0..CONNECTIONS_MAX * 2).map(|_| connect(address)).collect();
    assert!(http.asks_for_event() && http.connections.len() == CONNECTIONS_MAX);
    drop(many);
    // And it is given its event.
    invoke(&mut http, &event);
    read(&mut http, &mut fresh, "{}");
}
