//! Answers that come in parts, from handlers that stream and from handlers that do not.

use std::sync::{Arc, Mutex};

use lambda::invoke::{BoxFuture, FunctionError, Outcome, Revision, Run, SinkClosed, StreamPart, StreamSink};

use crate::world::{World, invocation};

/// Collects parts; closes after a number of them if told to.
#[derive(Clone, Default)]
struct Parts {
    taken: Arc<Mutex<Vec<StreamPart>>>,
    closes_after: Option<usize>,
}

impl StreamSink for Parts {
    fn take(&mut self, part: StreamPart) -> BoxFuture<'_, Result<(), SinkClosed>> {
        Box::pin(async move {
            tokio::task::yield_now().await;
            let mut taken = self.taken.lock().unwrap();
            if self.closes_after.is_some_and(|most| taken.len() >= most) {
                return Err(SinkClosed);
            }
            taken.push(part);
            Ok(())
        })
    }
}

impl Parts {
    /// The content type, and all bytes together.
    fn whole(&self) -> (String, Vec<u8>) {
        let taken = self.taken.lock().unwrap();
        let Some((StreamPart::Start { content_type }, rest)) = taken.split_first() else {
            panic!("does not begin with a start: {taken:?}")
        };
        let bytes = rest.iter().flat_map(|part| match part {
            StreamPart::Chunk(chunk) => {
                assert!(!chunk.is_empty());
                chunk.to_vec()
            }
            StreamPart::Start { .. } => panic!("starts twice"),
        });
        (content_type.clone(), bytes.collect())
    }

    fn is_empty(&self) -> bool {
        self.taken.lock().unwrap().is_empty()
    }
}

async fn stream(world: &World, function: &Revision, event: &str, parts: &Parts) -> Outcome {
    let sink = Box::new(parts.clone());
    world.supervisor.run_streaming(Arc::new(function.clone()), invocation(event), sink).await.unwrap()
}

const WAYS: &str = r#"
const { pipeline } = require('stream/promises');
const { Readable } = require('stream');
const later = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const ways = {
  text: async (e, s) => { s.setContentType('text/plain'); s.write('a'); await later(5); s.write(Buffer.from('b')); s.end('c'); },
  http: async (e, s) => {
    const http = awslambda.HttpResponseStream.from(s, { statusCode: 201, headers: { a: 'b' } }); http.write('body'); http.end();
  },
  object: async (e, s) => { s.write({ a: 1 }); s.end(); },
  empty: async (e, s) => { s.end(); },
  piped: async (e, s) => { await pipeline(Readable.from(['x', 'y']), s); },
  unawaited: async (e, s) => { Readable.from(['x', 'y']).pipe(s); },
  large: async (e, s) => { for (let n = 0; n < 40; n += 1) s.write(Buffer.alloc(256 * 1024, 65 + n % 26)); s.end(); },
  context: async (e, s, c) => { s.write(`${c.awsRequestId} ${c.callbackWaitsForEmptyEventLoop}`); s.end(); },
  throws: async () => { throw new TypeError('before'); },
  breaks: async (e, s) => { s.write('part'); throw new TypeError('middle'); },
  unfinished: async (e, s) => { s.write('part'); },
  late: async (e, s) => { s.write('a'); s.setContentType('text/x'); },
  dies: async (e, s) => { s.write('part'); setTimeout(() => { throw new RangeError('nobody catches'); }, 1); await later(1e4); },
  exits: async (e, s) => { s.write('part'); await later(5); process.exit(3); },
  sync: (e, s) => { s.end('x'); },
  endless: async (e, s) => { for (;;) { s.write('x'); await later(1); } },
  flood: async (e, s) => { for (;;) { if (!s.write(Buffer.alloc(65536))) await later(0); } },
};
exports.handler = awslambda.streamifyResponse((e, s, c) => ways[e.way](e, s, c), { highWaterMark: 16384 });
"#;

#[tokio::test]
async fn a_streaming_handler_is_heard_part_by_part() {
    let world = World::new();
    let function = world.node(WAYS);
    let http = "application/vnd.awslambda.http-integration-response";
    let octets = "application/octet-stream";
    let large: Vec<u8> = (0..40u8).flat_map(|n| vec![65 + n % 26; 256 * 1024]).collect();
    for (way, kind, expected) in [
        ("text", "text/plain", b"abc".to_vec()),
        ("http", http, b"{\"statusCode\":201,\"headers\":{\"a\":\"b\"}}\0\0\0\0\0\0\0\0body".to_vec()),
        ("object", octets, b"{\"a\":1}".to_vec()),
        ("empty", octets, Vec::new()),
        ("piped", octets, b"xy".to_vec()),
        ("unawaited", octets, b"xy".to_vec()),
        ("large", octets, large),
        ("context", octets, format!("{} true", crate::world::REQUEST_ID).into_bytes()),
    ] {
        let parts = Parts::default();
        let outcome = stream(&world, &function, &format!("{{\"way\":\"{way}\"}}"), &parts).await;
        assert_eq!(outcome.function_error, None, "{way}: {outcome:?}");
        assert!(outcome.payload.is_empty(), "{way}");
        let (found, bytes) = parts.whole();
        assert_eq!((found.as_str(), bytes.len()), (kind, expected.len()), "{way}");
        assert!(bytes == expected, "{way}");
    }
    assert_eq!(world.supervisor.warm_count(), 1, "one environment gave all of them");
    world.close().await;
}

#[tokio::test]
async fn a_stream_that_fails_tells_why_after_what_it_gave() {
    let world = World::new();
    let function = world.node(WAYS);
    for (way, kind, message, given, lives) in [
        ("throws", "TypeError", "before", "", true),
        ("breaks", "TypeError", "middle", "part", true),
        ("unfinished", "string", "Response stream is not finished.", "part", true),
        ("late", "Runtime.InvalidStreamingOperation", "Cannot set content-type, too late.", "a", true),
        ("sync", "string", "Streaming does not support non-async handlers.", "x", true),
        ("dies", "RangeError", "nobody catches", "part", false),
        ("exits", "Runtime.ExitError", "", "part", false),
    ] {
        let parts = Parts::default();
        let outcome = stream(&world, &function, &format!("{{\"way\":\"{way}\"}}"), &parts).await;
        assert_eq!(outcome.function_error, Some(FunctionError::Unhandled), "{way}");
        let document: serde_json::Value = serde_json::from_slice(&outcome.payload).unwrap();
        assert_eq!(document["errorType"], kind, "{way}: {document}");
        if lives || way == "dies" {
            assert_eq!(document["errorMessage"], message, "{way}");
        }
        assert_eq!(String::from_utf8(parts.whole().1).unwrap(), given, "{way}");
        assert_eq!(world.supervisor.warm_count(), usize::from(lives), "{way}");
    }
    world.close().await;
}

#[tokio::test]
async fn who_does_not_ask_for_parts_gets_a_streamed_answer_whole() {
    let world = World::new();
    let function = world.node(WAYS);
    assert_eq!(world.result(&function, r#"{"way":"text"}"#).await, "abc");
    assert_eq!(world.result(&function, r#"{"way":"empty"}"#).await, "");
    assert_eq!(world.error(&function, r#"{"way":"breaks"}"#).await["errorMessage"], "middle");
    assert_eq!(world.error(&function, r#"{"way":"large"}"#).await["errorType"], "Function.ResponseSizeTooLarge");
    assert_eq!(world.result(&function, r#"{"way":"object"}"#).await, "{\"a\":1}");
    world.close().await;
}

#[tokio::test]
async fn handlers_that_do_not_stream_give_one_part() {
    let world = World::new();
    let node = world.node("exports.handler = async (e) => { if (e.fail) throw new Error('no'); return e; };");
    let python = world.python("def handler(event, context):\n    return event\n");
    for (function, expected) in [(&node, "{\"a\":1}"), (&python, "{\"a\": 1}")] {
        let parts = Parts::default();
        let outcome = stream(&world, function, r#"{"a":1}"#, &parts).await;
        assert_eq!(outcome.function_error, None);
        assert_eq!(parts.whole(), ("application/json".to_owned(), expected.as_bytes().to_vec()));
    }
    let parts = Parts::default();
    let outcome = stream(&world, &node, r#"{"fail":1}"#, &parts).await;
    assert!(outcome.function_error.is_some() && parts.is_empty());
    world.close().await;
}

#[tokio::test]
async fn a_reader_who_goes_away_leaves_the_function_to_its_end() {
    let world = World::new();
    let mut function = world.node(WAYS);
    let parts = Parts { closes_after: Some(2), ..Parts::default() };
    let outcome = stream(&world, &function, r#"{"way":"large"}"#, &parts).await;
    assert_eq!(outcome.function_error, None, "it ran on and ended well");
    assert_eq!(world.supervisor.warm_count(), 1);
    let outcome = stream(&world, &function, r#"{"way":"flood"}"#, &parts).await;
    assert!(String::from_utf8_lossy(&outcome.payload).contains("Function.ResponseSizeTooLarge"), "{outcome:?}");
    assert_eq!(world.supervisor.warm_count(), 0, "more than 200 MB end it");
    function.timeout_s = 1;
    let parts = Parts::default();
    let outcome = stream(&world, &function, r#"{"way":"endless"}"#, &parts).await;
    assert!(String::from_utf8_lossy(&outcome.payload).contains("Sandbox.Timedout"), "{outcome:?}");
    world.close().await;
}
