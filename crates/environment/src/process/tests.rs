//! An environment whose other end is played by the test.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use lambda::invoke::{BoxFuture, Revision, SinkClosed, StreamPart, StreamSink};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use tokio::{runtime::Runtime, sync::mpsc, time::Instant};

use super::{Call, Ending, Environment, Speaks};
use crate::{
    clock::Monotonic,
    frame::{self, HEADER_BYTES},
    launch::{Exit, Launched, Listeners, Memory, Process, Spec},
    log::Log,
};

/// A process that is nothing but a pipe: it has exited once the other end of that is closed.
struct Played {
    watch: OwnedFd,
    killed: Arc<AtomicBool>,
}

impl Process for Played {
    fn watch(&self) -> std::io::Result<OwnedFd> {
        self.watch.try_clone()
    }
    fn exited(&self) -> Option<Exit> {
        let mut fds = [rustix::event::PollFd::new(&self.watch, rustix::event::PollFlags::IN)];
        let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        (rustix::event::poll(&mut fds, Some(&now)) == Ok(1)).then_some(Exit::Code(3))
    }
    fn kill(&self) {
        self.killed.store(true, Ordering::Relaxed);
    }
    fn reap(&self) -> bool {
        true
    }
    fn memory(&self) -> Option<Memory> {
        None
    }
    fn out_of_memory(&self) -> bool {
        false
    }
    fn assign(&self, _: &Spec) -> std::io::Result<()> {
        Ok(())
    }
}

/// What the test holds of a played process.
struct Other {
    socket: UnixStream,
    output: std::io::PipeWriter,
    alive: std::io::PipeWriter,
    api: String,
}

fn play(speaks: Speaks) -> (Environment, Other) {
    // An ordinary pair: as on kernels that cannot refuse descriptors.
    play_over(speaks, UnixStream::pair().unwrap())
}

fn play_over(speaks: Speaks, (ours, socket): (UnixStream, UnixStream)) -> (Environment, Other) {
    let (reader, output) = std::io::pipe().unwrap();
    let (watch, alive) = std::io::pipe().unwrap();
    let bind = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let listeners = Listeners { runtime_api: bind(), api: bind(), proxy: bind() };
    let api = listeners.runtime_api.local_addr().unwrap().to_string();
    let process = Played { watch: watch.into(), killed: Arc::default() };
    let launched =
        Launched { socket: ours, output: reader.into(), process: Box::new(process), listeners: Some(listeners) };
    let revision = Revision {
        account: "111122223333".into(),
        region: "us-east-1".into(),
        function: "f".into(),
        version: "$LATEST".into(),
        revision_id: "1".into(),
        role_arn: String::new(),
        runtime: "nodejs20.x".into(),
        handler: "index.handler".into(),
        memory_mb: 128,
        timeout_s: 3,
        ephemeral_storage_mb: 512,
        environment: std::collections::BTreeMap::new(),
        code_sha256: String::new(),
        code_zip: "".into(),
        layers: Vec::new(),
        logging: lambda::invoke::Logging::default(),
    };
    let log = Log::new("f", "$LATEST", "0", &lambda::invoke::Logging::default());
    let environment =
        Environment::new(1, Arc::new(revision), launched, speaks, log, Monotonic::start(), u64::MAX).unwrap().0;
    (environment, Other { socket, output, alive, api })
}

const CALL: Call<'static> = Call { id: "id", deadline_ms: 7, arn: "arn", trace: None, client_context: None };

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn answer(kind: u8, sequence: u64, body: &[u8]) -> Vec<u8> {
    let mut bytes = ((body.len() + HEADER_BYTES - 4) as u32).to_le_bytes().to_vec();
    bytes.push(kind);
    bytes.extend_from_slice(&sequence.to_le_bytes());
    bytes.extend_from_slice(body);
    bytes
}

impl Other {
    fn say(&mut self, kind: u8, sequence: u64, body: &[u8]) {
        self.socket.write_all(&answer(kind, sequence, body)).unwrap();
    }

    /// One frame from the server: its sequence and body.
    fn hear(&mut self) -> (u64, Vec<u8>) {
        let mut head = [0; HEADER_BYTES];
        self.socket.read_exact(&mut head).unwrap();
        let length = u32::from_le_bytes(head[..4].try_into().unwrap()) as usize;
        let mut body = vec![0; length + 4 - HEADER_BYTES];
        self.socket.read_exact(&mut body).unwrap();
        (u64::from_le_bytes(head[5..].try_into().unwrap()), body)
    }

    /// Starts as a bootstrap does.
    fn start(&mut self) {
        self.say(16, 0, &1u32.to_le_bytes());
        self.hear();
        self.say(17, 0, b"");
    }

    /// The same before anybody has asked.
    fn start_ahead(&mut self) {
        self.say(16, 0, &1u32.to_le_bytes());
        self.say(17, 0, b"");
    }
}

#[test]
fn an_environment_is_used_on_one_runtime_after_the_other() {
    let (mut environment, mut other) = play(Speaks::Frames);
    let runtimes = [runtime(), runtime(), runtime()];
    let player = std::thread::spawn(move || {
        other.start();
        for _ in 0..9 {
            let (sequence, body) = other.hear();
            other.say(18, sequence, &body[body.len() - 1..]);
        }
        other
    });
    runtimes[0].block_on(async {
        assert_eq!(environment.load(b"{}", soon()).await, Ending::Ready);
    });
    for number in 0..9u8 {
        runtimes[usize::from(number) % 3].block_on(async {
            environment.attach().unwrap();
            assert!(environment.is_usable());
            let event = Bytes::from(vec![number]);
            assert_eq!(environment.invoke(&CALL, &event, soon(), None).await, Ending::Result(event));
        });
    }
    drop(player.join().unwrap());
}

#[test]
fn an_exchange_that_is_dropped_goes_on_elsewhere() {
    for speaks in [Speaks::Frames, Speaks::Http] {
        let (mut environment, mut other) = play(speaks);
        // Longer than any socket buffer, so that it is dropped while it is being written.
        let event = Bytes::from(vec![b'1'; 5 * 1024 * 1024]);
        let (first, second) = (runtime(), runtime());
        let mut peer = match speaks {
            Speaks::Frames => {
                other.say(16, 0, &1u32.to_le_bytes());
                other.say(17, 0, b"");
                None
            }
            _ => {
                let mut peer = TcpStream::connect(&other.api).unwrap();
                peer.write_all(b"GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\n\r\n").unwrap();
                Some(peer)
            }
        };
        first.block_on(async {
            assert_eq!(environment.load(b"{}", soon()).await, Ending::Ready, "{speaks:?}");
            let begun = environment.invoke(&CALL, &event, soon(), None);
            assert!(tokio::time::timeout(Duration::from_millis(30), begun).await.is_err());
            assert!(environment.is_busy() && !environment.is_usable());
        });
        drop(first);
        let length = event.len();
        let player = std::thread::spawn(move || {
            match &mut peer {
                None => {
                    other.hear();
                    let (sequence, body) = other.hear();
                    assert!(body.len() > length && body[body.len() - length..].iter().all(|byte| *byte == b'1'));
                    other.say(18, sequence, b"done");
                }
                Some(peer) => {
                    let (mut got, mut chunk) = (Vec::new(), vec![0; 1 << 20]);
                    let whole = |got: &[u8]| {
                        let head = got.windows(4).take(2_000).position(|window| window == b"\r\n\r\n");
                        head.is_some_and(|head| got.len() >= head + 4 + length)
                    };
                    while !whole(&got) {
                        let read = peer.read(&mut chunk).unwrap();
                        assert!(read > 0);
                        got.extend_from_slice(&chunk[..read]);
                    }
                    peer.write_all(
                        b"POST /2018-06-01/runtime/invocation/id/response HTTP/1.1\r\nContent-Length: 4\r\n\r\ndone",
                    )
                    .unwrap();
                    assert!(peer.read(&mut chunk).unwrap() > 0);
                }
            }
            (other, peer)
        });
        second.block_on(async {
            assert_eq!(environment.resume().await, Ending::Result(Bytes::from_static(b"done")), "{speaks:?}");
            assert!(!environment.is_busy() && environment.is_usable());
        });
        drop(player.join().unwrap());
    }
}

/// Takes into a channel of one.
struct Slow(mpsc::Sender<StreamPart>);

impl StreamSink for Slow {
    fn take(&mut self, part: StreamPart) -> BoxFuture<'_, Result<(), SinkClosed>> {
        Box::pin(async move { self.0.send(part).await.map_err(|_| SinkClosed) })
    }
}

#[test]
fn a_stream_that_is_dropped_midway_loses_and_doubles_nothing() {
    let (mut environment, mut other) = play(Speaks::Frames);
    let (sender, mut receiver) = mpsc::channel(1);
    other.say(16, 0, &1u32.to_le_bytes());
    other.say(17, 0, b"");
    let (first, second) = (runtime(), runtime());
    first.block_on(async {
        assert_eq!(environment.load(b"{}", soon()).await, Ending::Ready);
        other.hear();
        other.say(21, 1, b"text/plain");
        for number in 0..50u8 {
            other.say(22, 1, &[number]);
        }
        other.say(23, 1, b"");
        let event = Bytes::from_static(b"{}");
        let begun = environment.invoke(&CALL, &event, soon(), Some(Box::new(Slow(sender))));
        assert!(tokio::time::timeout(Duration::from_millis(20), begun).await.is_err());
    });
    second.block_on(async {
        let reader = tokio::spawn(async move {
            let mut bytes = Vec::new();
            while let Some(part) = receiver.recv().await {
                if let StreamPart::Chunk(chunk) = part {
                    bytes.extend_from_slice(&chunk);
                }
            }
            bytes
        });
        assert_eq!(environment.resume().await, Ending::Result(Bytes::new()));
        assert_eq!(reader.await.unwrap(), (0..50).collect::<Vec<u8>>());
    });
}

#[test]
fn what_is_not_an_answer_breaks_the_exchange() {
    let broken: &[(&str, Vec<u8>)] = &[
        ("an answer to something else", answer(18, 9, b"{}")),
        ("a chunk without a start", answer(22, 1, b"x")),
        ("an end without a start", answer(23, 1, b"")),
        ("a result within a stream", [answer(21, 1, b"a/b"), answer(18, 1, b"{}")].concat()),
        ("a second start", [answer(21, 1, b"a/b"), answer(21, 1, b"a/b")].concat()),
        (
            "an error within a stream that is not the last word",
            [answer(21, 1, b"a/b"), answer(19, 1, b"\0{}")].concat(),
        ),
        ("ready", answer(17, 1, b"")),
        ("hello", answer(16, 1, &1u32.to_le_bytes())),
        ("text", b"GET / HTTP/1.1\r\n\r\n".to_vec()),
    ];
    for (what, bytes) in broken {
        let (mut environment, mut other) = play(Speaks::Frames);
        other.say(16, 0, &1u32.to_le_bytes());
        other.say(17, 0, b"");
        runtime().block_on(async {
            assert_eq!(environment.load(b"{}", soon()).await, Ending::Ready);
            other.socket.write_all(bytes).unwrap();
            let ending = environment.invoke(&CALL, &Bytes::from_static(b"{}"), soon(), None).await;
            assert!(matches!(ending, Ending::Broken(_)), "{what}: {ending:?}");
        });
    }
}

/// Sends `bytes` with a descriptor.
fn send_along(socket: &UnixStream, bytes: &[u8], file: &impl AsFd) -> rustix::io::Result<usize> {
    let files = [file.as_fd()];
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    assert!(control.push(SendAncillaryMessage::ScmRights(&files)));
    sendmsg(socket, &[std::io::IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL)
}

/// Whether the other end of a pipe is open.
fn is_open(pipe: &std::io::PipeReader) -> bool {
    let mut fds = [rustix::event::PollFd::new(pipe, rustix::event::PollFlags::IN)];
    let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
    rustix::event::poll(&mut fds, Some(&now)) == Ok(0)
}

#[test]
fn descriptors_from_a_function_break_the_exchange_and_outlive_the_function() {
    // Read as part of an answer, left unread behind one, and never read at all.
    for (what, bytes, ending) in [
        ("in an answer", &b"x"[..], Ending::Broken(frame::Error::Descriptors)),
        ("behind an answer", &answer(18, 1, b"1")[..], Ending::Result(Bytes::from_static(b"1"))),
    ] {
        let (mut environment, mut other) = play(Speaks::Frames);
        other.start_ahead();
        let [(first, sent_first), (second, sent_second)] = [(); 2].map(|()| std::io::pipe().unwrap());
        runtime().block_on(async {
            assert_eq!(environment.load(b"{}", soon()).await, Ending::Ready);
            if matches!(ending, Ending::Result(_)) {
                other.socket.write_all(bytes).unwrap();
            } else {
                send_along(&other.socket, bytes, &sent_first).unwrap();
            }
            let event = Bytes::from_static(b"{}");
            assert_eq!(environment.invoke(&CALL, &event, soon(), None).await, ending, "{what}");
            send_along(&other.socket, b"x", &sent_second).unwrap();
            assert!(!environment.is_usable(), "{what}");
        });
        if matches!(ending, Ending::Result(_)) {
            send_along(&other.socket, b"x", &sent_first).unwrap();
        }
        drop((environment, sent_first, sent_second));
        assert!(is_open(&first) && is_open(&second), "{what}: closed while the function lives");
        drop(other.alive);
        for pipe in [first, second] {
            // Ends once the last writing end is closed.
            assert_eq!((&pipe).read(&mut [0; 1]).unwrap(), 0, "{what}");
        }
    }
}

#[test]
fn descriptors_are_refused_where_the_kernel_can() {
    let pair = sandbox::frame_pair().unwrap();
    if !sandbox::refuses_descriptors(&pair.0) {
        return;
    }
    let (mut environment, mut other) = play_over(Speaks::Frames, pair);
    other.start_ahead();
    let refused = send_along(&other.socket, b"x", &std::io::stderr());
    assert_eq!(refused, Err(rustix::io::Errno::PERM));
    runtime().block_on(async {
        assert_eq!(environment.load(b"{}", soon()).await, Ending::Ready);
        other.say(18, 1, b"1");
        let ending = environment.invoke(&CALL, &Bytes::from_static(b"{}"), soon(), None).await;
        assert_eq!(ending, Ending::Result(Bytes::from_static(b"1")));
    });
}

#[test]
fn last_words_exits_and_silence_are_told_apart() {
    let event = Bytes::from_static(b"{}");
    for speaks in [Speaks::Frames, Speaks::Http, Speaks::Either] {
        let (mut environment, mut other) = play(speaks);
        runtime().block_on(async {
            assert_eq!(environment.load(b"{}", Instant::now() + Duration::from_millis(20)).await, Ending::TimedOut);
            other.output.write_all(b"bye\n").unwrap();
            drop(other);
            assert_eq!(environment.load(b"{}", soon()).await, Ending::Exited(Exit::Code(3)), "{speaks:?}");
            let lines = environment.log.take(true).unwrap().lines;
            assert_eq!(lines[0].1, "bye", "what it said last is kept");
            assert!(!environment.is_usable());
        });
    }
    let (mut environment, mut other) = play(Speaks::Frames);
    other.say(16, 0, &1u32.to_le_bytes());
    other.say(17, 0, b"");
    runtime().block_on(async {
        assert_eq!(environment.load(b"{}", soon()).await, Ending::Ready);
        other.say(18, 1, b"last words");
        drop(other.alive);
        let ending = environment.invoke(&CALL, &event, soon(), None).await;
        assert_eq!(ending, Ending::Result(Bytes::from_static(b"last words")));
        assert!(!environment.is_usable());
    });
}

#[test]
fn either_way_of_talking_is_taken_up_and_then_kept_to() {
    let event = Bytes::from_static(b"{}");
    let (mut environment, mut other) = play(Speaks::Either);
    other.say(16, 0, &1u32.to_le_bytes());
    other.say(17, 0, b"");
    runtime().block_on(async {
        assert_eq!(environment.load(b"{}", soon()).await, Ending::Ready);
        assert!(TcpStream::connect(&other.api).is_err(), "nobody listens any more");
        other.say(18, 1, b"1");
        assert_eq!(environment.invoke(&CALL, &event, soon(), None).await, Ending::Result(Bytes::from_static(b"1")));
    });
    let (mut environment, other) = play(Speaks::Either);
    let Other { socket, output, alive, api } = other;
    drop(socket);
    runtime().block_on(async {
        let mut peer = TcpStream::connect(&api).unwrap();
        peer.write_all(b"GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\n\r\n").unwrap();
        assert_eq!(environment.load(b"{}", soon()).await, Ending::Ready, "a wrapper may close what it does not know");
        peer.write_all(b"POST /2018-06-01/runtime/invocation/id/error HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}")
            .unwrap();
        let document = Bytes::from_static(b"{}");
        let ending = environment.invoke(&CALL, &event, soon(), None).await;
        assert_eq!(ending, Ending::Failed { document, exiting: false });
    });
    drop((output, alive));
}

#[test]
fn the_document_before_an_event_is_json_whatever_is_in_it() {
    let call = Call {
        id: "a\"b",
        deadline_ms: 5,
        arn: "\u{fc}\n",
        trace: Some("t"),
        client_context: Some("{\"x\":\"\\u0000\"}"),
    };
    let read: serde_json::Value = serde_json::from_slice(&call.to_json()).unwrap();
    let expected = serde_json::json!({
        "id": "a\"b", "arn": "\u{fc}\n", "trace": "t", "clientContext": "{\"x\":\"\\u0000\"}", "deadline": 5
    });
    assert_eq!(read, expected);
    assert!(call.to_json().len() < frame::FRAME_BYTES_MAX);
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { cases: 64, ..Default::default() })]

    /// Whatever a runtime writes to its sockets, an invocation has an outcome in time and nothing panics.
    #[test]
    fn hostile_bytes_end_in_an_outcome(
        speaks in 0usize..3,
        pieces in proptest::collection::vec((0usize..3, 0usize..10, proptest::collection::vec(0u8..=255, 0..40)), 1..12),
    ) {
        let speaks = [Speaks::Frames, Speaks::Http, Speaks::Either][speaks];
        let (mut environment, mut other) = play(speaks);
        let known: [&[u8]; 10] = [
            b"GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\n\r\n",
            b"POST /2018-06-01/runtime/invocation/id/response HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}",
            b"POST /2018-06-01/runtime/invocation/id/error HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n0\r\n\r\n",
            b"POST /2018-06-01/runtime/invocation/id/response HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\
              Lambda-Runtime-Function-Response-Mode: streaming\r\n\r\n3\r\nabc\r\n",
            b"POST /2018-06-01/runtime/init/error HTTP/1.1\r\nContent-Length: 5\r\n\r\n{}",
            &answer(16, 0, &1u32.to_le_bytes()),
            &answer(17, 0, b""),
            &answer(21, 1, b"a/b"),
            &answer(22, 1, b"abc"),
            &answer(23, 1, b"{}"),
        ];
        let mut peers = [TcpStream::connect(&other.api).ok(), TcpStream::connect(&other.api).ok()];
        runtime().block_on(async {
            let mut outcomes = 0;
            for (way, which, noise) in &pieces {
                let bytes = [known[*which], noise].concat();
                match (way, &mut peers) {
                    (0, _) => drop(other.socket.write_all(&bytes)),
                    (way, peers) => {
                        if let Some(peer) = peers.get_mut(way - 1).and_then(Option::as_mut) {
                            drop(peer.write_all(&bytes));
                        }
                    }
                }
                let deadline = Instant::now() + Duration::from_millis(3);
                let event = Bytes::from_static(b"{}");
                let ending = match outcomes {
                    0 => environment.load(b"{}", deadline).await,
                    _ => environment.invoke(&CALL, &event, deadline, None).await,
                };
                outcomes += usize::from(ending != Ending::TimedOut || outcomes > 0);
            }
        });
    }
}
