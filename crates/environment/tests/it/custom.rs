//! Functions that bring their own runtime and speak the HTTP Runtime API.

use std::fmt::Write as _;

use lambda::invoke::Revision;

use crate::world::{CLIENT_CONTEXT, REQUEST_ID, World, program};

/// A custom runtime of a few lines over plain sockets; `serve(event, headers, post)` is the function's.
const RUNTIME: &str = r#"
import http.client, json, os, socket, sys
HOST = os.environ["AWS_LAMBDA_RUNTIME_API"]
BASE = "/2018-06-01/runtime/"
connection = http.client.HTTPConnection(HOST)
def call(method, path, body=None, headers={}, on=None):
    on = on or connection
    on.request(method, BASE + path, body, headers)
    answer = on.getresponse()
    return answer.status, answer.headers, answer.read()
def loop(serve):
    while True:
        status, headers, event = call("GET", "invocation/next")
        # Refused while the server has not seen yet that an answer broke off.
        if status == 403: continue
        serve(json.loads(event), headers, "invocation/" + headers["Lambda-Runtime-Aws-Request-Id"])
def raw(text):
    peer = socket.create_connection(HOST.split(":"))
    peer.sendall(text.encode())
    data = b""
    while True:
        more = peer.recv(65536)
        if not more: return data.decode()
        data += more
"#;

fn custom(world: &World, code: &str) -> Revision {
    let mut bootstrap = String::new();
    writeln!(bootstrap, "#!{}\n{RUNTIME}\n{code}", program("python3").display()).unwrap();
    world.function("provided.al2023", &[("bootstrap", &bootstrap)])
}

/// A function that answers in whatever way the event names.
const WAYS: &str = r#"
def serve(event, headers, at):
    if event == "headers":
        names = ["Content-Type", "Lambda-Runtime-Aws-Request-Id", "Lambda-Runtime-Invoked-Function-Arn", "Lambda-Runtime-Trace-Id",
                 "Lambda-Runtime-Client-Context", "Lambda-Runtime-Cognito-Identity"]
        body = json.dumps([headers[name] for name in names] + [len(headers["Lambda-Runtime-Deadline-Ms"])])
        answer = call("POST", at + "/response", body)
        assert (answer[0], answer[2]) == (202, b'{"status":"OK"}\n'), answer
    elif event == "error":
        call("POST", at + "/error", '{"any": "thing"}', {"Lambda-Runtime-Function-Error-Type": "Runtime.Some"})
    elif event == "cause":
        call("POST", at + "/error", '{"errorMessage":"m","errorType":"t","stackTrace":[],"errorCause":{"x":1}}',
             {"Content-Type": "application/vnd.aws.lambda.error.cause+json"})
    elif event == "exit":
        sys.exit(7)
    elif event == "environment":
        call("POST", at + "/response", json.dumps([os.environ.get("AWS_EXECUTION_ENV"), os.environ["_HANDLER"], os.getcwd() == os.environ["LAMBDA_TASK_ROOT"]]))
    elif event == "chunked":
        call("POST", at + "/response", iter([b'"a', b'b"']))
    elif event == "two connections":
        call("POST", at + "/response", '"other"', on=http.client.HTTPConnection(HOST))
    elif event == "large":
        call("POST", at + "/response", b'"' + b"x" * 5000000 + b'"')
    elif event == "too large":
        answer = call("POST", at + "/response", b"x" * 7000000)
        assert answer[0] == 413 and b"RequestEntityTooLarge" in answer[2], answer
    elif event == "truncated":
        peer = socket.create_connection(HOST.split(":"))
        peer.sendall(b"POST " + (BASE + at).encode() + b"/response HTTP/1.1\r\nContent-Length: 100\r\n\r\n{")
        peer.close()
        while call("POST", at + "/response", '"after all"')[0] != 202: pass
    elif event == "http/1.0":
        raw("POST " + BASE + at + "/response HTTP/1.0\r\nContent-Length: 3\r\n\r\n\"0\"")
    else:
        call("POST", at + "/response", json.dumps(event))
loop(serve)
"#;

#[tokio::test]
async fn a_custom_runtime_serves_events_and_errors() {
    let world = World::new();
    let function = custom(&world, WAYS);
    let headers = serde_json::json!([
        "application/json",
        REQUEST_ID,
        "arn:aws:lambda:us-east-1:111122223333:function:authorizer",
        "Root=1-5759e988-bd862e3fe1be46a994272793",
        CLIENT_CONTEXT,
        null,
        13
    ]);
    let found = world.result(&function, "\"headers\"").await;
    assert_eq!(serde_json::from_str::<serde_json::Value>(&found).unwrap(), headers);
    assert_eq!(world.result(&function, "\"environment\"").await, "[null, \"bootstrap.handler\", true]");
    for (event, expected) in [
        ("{\"a\": [1]}", "{\"a\": [1]}"),
        ("\"chunked\"", "\"ab\""),
        ("\"two connections\"", "\"other\""),
        ("\"truncated\"", "\"after all\""),
        ("\"http/1.0\"", "\"0\""),
        ("1", "1"),
    ] {
        assert_eq!(world.result(&function, event).await, expected, "{event}");
    }
    assert_eq!(world.result(&function, "\"large\"").await.len(), 5_000_002);
    assert_eq!(world.error_text(&function, "\"error\"").await, r#"{"any": "thing"}"#);
    let tail = world.tail(&function, "\"error\"").await;
    assert!(tail.contains("REPORT ") && !tail.contains("Status:") && !tail.contains("Error Type:"), "{tail}");
    assert_eq!(
        world.error_text(&function, "\"cause\"").await,
        r#"{"errorMessage":"m","errorType":"t","stackTrace":[]}"#
    );
    assert_eq!(world.error(&function, "\"too large\"").await["errorType"], "Function.ResponseSizeTooLarge");
    assert_eq!(world.supervisor.warm_count(), 1, "all of them were one environment");
    let exit = world.error(&function, "\"exit\"").await;
    assert!(exit["errorMessage"].as_str().unwrap().ends_with("exit status 7"), "{exit}");
    assert_eq!(world.result(&function, "2").await, "2");
    world.close().await;
}

#[tokio::test]
async fn the_states_are_kept_whatever_a_runtime_asks() {
    let world = World::new();
    let function = custom(
        &world,
        r#"
def kind(answer): return [answer[0], json.loads(answer[2]).get("errorType") if answer[2][:1] == b"{" else answer[2].decode()]
def serve(event, headers, at):
    found = [
        kind(call("POST", "invocation/wrong/response", "1")),
        kind(call("POST", "init/error", "{}")),
        kind(call("GET", "invocation/next")),
        kind(call("POST", at + "/response", "1", {"Lambda-Runtime-Function-Response-Mode": "sideways"})),
        kind(call("GET", "restore/next")),
        kind(call("PUT", "invocation/next")),
        kind(call("GET", "../ping")),
    ]
    connection.request("GET", "/2018-06-01/ping")
    found.append(connection.getresponse().read().decode())
    found.append(raw("garbage\r\n\r\n").split("\r\n")[0])
    call("POST", at + "/response", json.dumps(found))
    late.append(kind(call("POST", at + "/response", "2")))
    if len(late) == 1:
        call_next = call("GET", "invocation/next")
        call("POST", "invocation/" + call_next[1]["Lambda-Runtime-Aws-Request-Id"] + "/response", json.dumps(late))
late = []
loop(serve)
"#,
    );
    let refused = "InvalidStateTransition";
    let expected = serde_json::json!([
        [400, "InvalidRequestID"],
        [403, refused],
        [403, refused],
        [400, "InvalidFunctionResponseMode"],
        [404, "404 page not found\n"],
        [405, ""],
        [404, "404 page not found\n"],
        "pong",
        "HTTP/1.1 400 Bad Request"
    ]);
    let found = world.result(&function, "{}").await;
    assert_eq!(serde_json::from_str::<serde_json::Value>(&found).unwrap(), expected);
    assert_eq!(world.result(&function, "{}").await, "[[400, \"InvalidRequestID\"]]", "an answer counts once");
    world.close().await;
}

#[tokio::test]
async fn a_custom_runtime_that_cannot_start_says_why() {
    let world = World::new();
    let error = |kind: &str, text: &str| {
        format!(r#"{{"errorType":"{kind}","errorMessage":"RequestId: {REQUEST_ID} Error: {text}"}}"#)
    };
    let without = world.function("provided.al2", &[("index.js", "")]);
    assert_eq!(
        world.error_text(&without, "{}").await,
        error("Runtime.InvalidEntrypoint", "Couldn't find valid bootstrap(s): [/var/task/bootstrap /opt/bootstrap]")
    );
    let reports = custom(
        &world,
        r#"
call("POST", "init/error", '{"errorMessage":"no table","errorType":"Mine"}', {"Lambda-Runtime-Function-Error-Type": "Function.NoTable"})
sys.exit(1)
"#,
    );
    assert_eq!(world.error_text(&reports, "{}").await, r#"{"errorMessage":"no table","errorType":"Mine"}"#);
    let exits = custom(&world, "print('bye'); sys.exit(9)");
    let outcome = world.invoke(&exits, "{}").await;
    assert_eq!(
        String::from_utf8_lossy(&outcome.payload),
        error("Runtime.ExitError", "Runtime exited with error: exit status 9")
    );
    assert!(String::from_utf8_lossy(&outcome.log_tail.unwrap()).contains("\nbye\n"));
    world.close().await;
}

#[tokio::test]
async fn a_custom_runtime_that_misbehaves_hurts_only_itself() {
    let world = World::new();
    let mut function = custom(
        &world,
        r#"
def serve(event, headers, at):
    if event == "silent":
        import time; time.sleep(60)
    if event == "pings":
        while True: connection.request("GET", "/2018-06-01/ping"); connection.getresponse().read()
    if event == "upload":
        peer = socket.create_connection(HOST.split(":"))
        peer.sendall(b"POST " + (BASE + at).encode() + b"/response HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True: peer.sendall(b"10000\r\n" + b"x" * 65536 + b"\r\n")
    if event == "head":
        peer = socket.create_connection(HOST.split(":"))
        while True: peer.sendall(b"x" * 65536)
    if event == "connections":
        held = []
        for _ in range(200): held.append(socket.create_connection(HOST.split(":")))
        held = []
    call("POST", at + "/response", "1")
loop(serve)
"#,
    );
    assert_eq!(world.result(&function, "\"connections\"").await, "1");
    function.timeout_s = 1;
    for event in ["silent", "pings", "upload"] {
        let error = world.error(&function, &format!("\"{event}\"")).await;
        assert_eq!(error["errorType"], "Sandbox.Timedout", "{event}");
    }
    let error = world.error(&function, "\"head\"").await;
    assert_eq!(error["errorType"], "Runtime.ExitError", "its connection was closed: {error}");
    assert_eq!(world.result(&function, "0").await, "1");
    world.close().await;
}

#[tokio::test]
async fn a_custom_runtime_streams() {
    let world = World::new();
    let function = custom(
        &world,
        r#"
def serve(event, headers, at):
    peer = socket.create_connection(HOST.split(":"))
    head = "POST " + BASE + at + "/response HTTP/1.1\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n" \
        "Lambda-Runtime-Function-Response-Mode: streaming\r\nTrailer: Lambda-Runtime-Function-Error-Type\r\n\r\n"
    peer.sendall(head.encode() + b"2\r\nab\r\n")
    if event == "cut":
        peer.close()
        return
    end = b"1\r\nc\r\n0\r\n"
    if event == "fail":
        end += b"Lambda-Runtime-Function-Error-Type: Runtime.StreamError\r\nLambda-Runtime-Function-Error-Body: eyJlcnJvclR5cGUiOiJ4In0=\r\n"
    peer.sendall(end + b"\r\n")
    assert b"202 Accepted" in peer.recv(1000)
loop(serve)
"#,
    );
    assert_eq!(world.result(&function, "{}").await, "abc", "whole for who asks for the whole");
    assert_eq!(world.error_text(&function, "\"fail\"").await, r#"{"errorType":"x"}"#);
    assert_eq!(world.error(&function, "\"cut\"").await["errorType"], "Runtime.TruncatedResponse");
    assert_eq!(world.result(&function, "{}").await, "abc");
    world.close().await;
}

#[tokio::test]
async fn a_wrapper_starts_the_runtime_in_its_own_way() {
    let world = World::new();
    let wrapper = "#!/bin/sh\nexport WRAPPED=yes\nargs=\"\"\nexec \"$@\"\n";
    let code = "exports.handler = async () => process.env.WRAPPED;";
    let mut function = world.function("nodejs20.x", &[("index.js", code), ("wrap", wrapper)]);
    function.environment.insert("AWS_LAMBDA_EXEC_WRAPPER".into(), "/var/task/wrap".into());
    assert_eq!(world.result(&function, "{}").await, "\"yes\"");
    function.environment.insert("AWS_LAMBDA_EXEC_WRAPPER".into(), "/var/task/gone".into());
    let outcome = world.invoke(&function, "{}").await;
    assert!(String::from_utf8_lossy(&outcome.payload).contains("exit status 127"), "{outcome:?}");
    assert!(String::from_utf8_lossy(&outcome.log_tail.unwrap()).contains("gone: does not exist"));

    // A wrapper may start another client instead of ours.
    let client = format!(
        "#!{}\n{RUNTIME}\nloop(lambda event, headers, at: call('POST', at + '/response', json.dumps([len(sys.argv) > 2, event])))\n",
        program("python3").display()
    );
    let mut function = world.function("python3.11", &[("app.py", "def handler(e, c): pass\n"), ("wrap", &client)]);
    function.environment.insert("AWS_LAMBDA_EXEC_WRAPPER".into(), "/var/task/wrap".into());
    assert_eq!(world.result(&function, "3").await, "[true, 3]");
    world.close().await;
}

#[tokio::test]
async fn a_runtime_that_ends_after_its_answer_costs_nobody_an_invocation() {
    let world = World::new();
    let function = custom(
        &world,
        r#"
def serve(event, headers, at):
    call("POST", at + "/response", json.dumps(event))
    import time; time.sleep(0.05)
    sys.exit(1)
loop(serve)
"#,
    );
    for number in 0..5 {
        assert_eq!(world.result(&function, &number.to_string()).await, number.to_string());
    }
    world.close().await;
}

/// What AWS's crate makes of the Runtime API, unmodified.
#[tokio::test]
#[ignore = "needs LAMBDA_RUNTIME_CLIENT: the program built from conformance/clients/lambda-runtime"]
async fn a_function_on_awss_crate_is_served() {
    let world = World::new();
    let program = std::fs::read(std::env::var_os("LAMBDA_RUNTIME_CLIENT").expect("LAMBDA_RUNTIME_CLIENT")).unwrap();
    let mut function = world.package("provided.al2023", &[("bootstrap", &program)]);
    for _ in 0..200 {
        assert_eq!(world.result(&function, "{\"a\":[1,\"\u{fc}\"]}").await, "{\"a\":[1,\"\u{fc}\"]}");
    }
    let context: serde_json::Value =
        serde_json::from_str(&world.result(&function, r#"{"way":"context"}"#).await).unwrap();
    let arn = "arn:aws:lambda:us-east-1:111122223333:function:authorizer";
    let expected = serde_json::json!([REQUEST_ID, arn, "authorizer", 128, true]);
    assert_eq!(context.as_array().unwrap()[..5], expected.as_array().unwrap()[..]);
    assert_eq!(context[6]["custom"]["k"], "v");
    assert_eq!(world.error(&function, r#"{"way":"error"}"#).await["errorMessage"], "it says no");
    let panicked = world.error(&function, r#"{"way":"panic"}"#).await;
    assert!(panicked["errorMessage"].as_str().unwrap().contains("it gives up"), "{panicked}");
    assert_eq!(world.result(&function, r#"{"way":"large"}"#).await.len(), 5_000_002);
    assert_eq!(world.supervisor.warm_count(), 1, "all of them were one environment");
    let exited = world.error(&function, r#"{"way":"exit"}"#).await;
    assert!(exited["errorMessage"].as_str().unwrap().ends_with("exit status 5"), "{exited}");
    function.handler = "streams".into();
    let streamed = world.result(&function, "{}").await;
    assert!(
        streamed.starts_with("{\"statusCode\":200,") && streamed.ends_with("\0\0\0\0\0\0\0\0one two three"),
        "{streamed}"
    );
    // The crate writes its trailers into the body, where they are body and nothing else.
    assert!(world.result(&function, r#"{"way":"break"}"#).await.contains("Runtime.StreamError"));
    function.timeout_s = 1;
    function.handler = "serve".into();
    assert_eq!(world.error(&function, r#"{"way":"hang"}"#).await["errorType"], "Sandbox.Timedout");
    world.close().await;
}
