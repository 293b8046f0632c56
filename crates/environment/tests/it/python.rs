//! The contract of Python functions against a real interpreter.

use std::path::{Path, PathBuf};

use crate::world::{REQUEST_ID, World};

#[tokio::test]
async fn results_errors_and_context_are_those_of_aws() {
    let world = World::new();
    let function = world.python(
        r#"
import json, os, decimal, sys
calls = 0
def handler(event, context):
    global calls
    calls += 1
    way = event["way"]
    if way == "echo": return event
    if way == "count": return calls
    if way == "none": return None
    if way == "text": return "\u00fc"
    if way == "decimal": return decimal.Decimal("1.5")
    if way == "set": return {1}
    if way == "raise": raise ValueError("bad value")
    if way == "custom":
        class Denied(Exception): pass
        raise Denied("no")
    if way == "unauthorized": raise Exception("Unauthorized")
    if way == "exit": sys.exit(4)
    if way == "context":
        return [context.aws_request_id, context.function_name, context.memory_limit_in_mb, context.function_version,
                context.invoked_function_arn, context.log_group_name, 15000 < context.get_remaining_time_in_millis() <= 20000,
                context.client_context.custom["k"], context.client_context.client.app_title,
                context.identity.cognito_identity_id, os.environ["_X_AMZN_TRACE_ID"], os.getcwd() == os.environ["LAMBDA_TASK_ROOT"]]
"#,
    );
    for (way, expected) in [
        ("count", "1"),
        ("count", "2"),
        ("echo", "{\"way\": \"echo\"}"),
        ("none", "null"),
        ("text", "\"\\u00fc\""),
        ("decimal", "1.5"),
        (
            "context",
            "[\"8476a536-e9f4-11e8-9739-2dfe598c3fcd\", \"authorizer\", \"128\", \"$LATEST\", \
             \"arn:aws:lambda:us-east-1:111122223333:function:authorizer\", \"/aws/lambda/authorizer\", true, \"v\", \"t\", \
             null, \"Root=1-5759e988-bd862e3fe1be46a994272793\", true]",
        ),
    ] {
        assert_eq!(world.result(&function, &format!("{{\"way\":\"{way}\"}}")).await, expected, "{way}");
    }
    for (way, kind, message) in [
        ("raise", "ValueError", "bad value"),
        ("custom", "Denied", "no"),
        ("unauthorized", "Exception", "Unauthorized"),
        ("set", "Runtime.MarshalError", "Unable to marshal response: Object of type set is not JSON serializable"),
    ] {
        let error = world.error(&function, &format!("{{\"way\":\"{way}\"}}")).await;
        assert_eq!(error["errorType"], kind);
        assert_eq!(error["errorMessage"], message);
        assert_eq!(error["requestId"], REQUEST_ID);
        let keys: Vec<&str> = error.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(keys, ["errorMessage", "errorType", "requestId", "stackTrace"]);
        if !kind.starts_with("Runtime.") {
            let trace = error["stackTrace"].as_array().unwrap();
            assert_eq!(trace.len(), 1, "no frame of the bootstrap: {error}");
            let first = trace[0].as_str().unwrap();
            assert!(
                first.starts_with("  File \"")
                    && first.contains("app.py\", line ")
                    && first.contains("in handler\n    ")
            );
        }
    }
    assert_eq!(world.result(&function, r#"{"way":"count"}"#).await, "12", "no failure cost the environment");
    assert_eq!(
        world.error_text(&function, r#"{"way":"exit"}"#).await,
        format!(
            r#"{{"errorType":"Runtime.ExitError","errorMessage":"RequestId: {REQUEST_ID} Error: Runtime exited with error: exit status 4"}}"#
        )
    );
    assert_eq!(world.result(&function, r#"{"way":"count"}"#).await, "1");
    world.close().await;
}

#[tokio::test]
async fn what_cannot_be_loaded_says_why() {
    let world = World::new();
    for (code, handler, kind, message) in [
        ("", "app.handler", "Runtime.HandlerNotFound", "Handler 'handler' missing on module 'app'"),
        ("", "gone.handler", "Runtime.ImportModuleError", "Unable to import module 'gone': No module named 'gone'"),
        (
            "import gone",
            "app.handler",
            "Runtime.ImportModuleError",
            "Unable to import module 'app': No module named 'gone'",
        ),
        ("def handler(:", "app.handler", "Runtime.UserCodeSyntaxError", "Syntax error in module 'app': "),
        ("", "handler", "Runtime.MalformedHandlerName", "Bad handler 'handler': "),
        ("", "sys.exit", "Runtime.BuiltInModuleConflict", "Cannot use built-in module sys as a handler module"),
        ("raise KeyError('x')", "app.handler", "KeyError", "'x'"),
    ] {
        let mut function = world.python(code);
        function.handler = handler.into();
        let error = world.error(&function, "{}").await;
        assert_eq!(error["errorType"], kind, "{error}");
        assert!(error["errorMessage"].as_str().unwrap().starts_with(message), "{error}");
        assert_eq!(error["requestId"], "");
    }
    world.close().await;
}

#[tokio::test]
async fn packages_and_logging_work() {
    let world = World::new();
    let mut function = world.function(
        "python3.8",
        &[
            ("pkg/app.py", "import logging\nfrom lib.a import A\ndef handler(e, c):\n    print('printed')\n    logging.getLogger().error('logged')\n    1/0 if e else None\n    return A\n"),
            ("lib/a.py", "A = 'ok'"),
        ],
    );
    function.handler = "pkg/app.handler".into();
    assert_eq!(world.result(&function, "{}").await, "\"ok\"");
    let tail = world.tail(&function, "{\"a\":1}").await;
    assert!(tail.contains("\nprinted\n[ERROR]\t"), "{tail}");
    assert!(tail.contains(&format!("Z\t{REQUEST_ID}\tlogged\n")), "{tail}");
    assert!(
        tail.contains(
            "[ERROR] ZeroDivisionError: division by zero\nTraceback (most recent call last):\n\u{a0}\u{a0}File"
        )
    );
    world.close().await;
}

#[tokio::test]
async fn a_forked_child_cannot_answer_for_its_parent() {
    let world = World::new();
    let function = world.python("import os\ndef handler(e, c):\n    return 'child' if os.fork() == 0 else 'parent'\n");
    for _ in 0..5 {
        assert_eq!(world.result(&function, "{}").await, "\"parent\"");
    }
    world.close().await;
}

/// Everything a handler may give, and most ways to fail; one line of the table is one event.
const EVERYTHING: &str = r#"
import collections, datetime, decimal, enum, fractions, math, typing
class Point(typing.NamedTuple):
    x: int
    y: str
Old = collections.namedtuple("Old", "a b")
class Colour(enum.IntEnum):
    RED = 1
class Text(str): pass
class Number(int):
    def __repr__(self): return "?"
class Odd:
    def _asdict(self): return {"o": 1}
class Worse:
    def _asdict(self): return [1]
class Denied(Exception): pass
class Mute(Exception):
    def __str__(self): return ""
def nested(depth):
    value = []
    for _ in range(depth): value = [value]
    return value
def circular():
    value = {}
    value["v"] = [value]
    return value
def deep(n):
    if n: deep(n - 1)
    raise Denied("deep")
def chained():
    try: 1 / 0
    except ZeroDivisionError as error: raise Denied("chained") from error
def raising(error):
    raise error
RESULTS = [
    lambda: None, lambda: True, lambda: 0, lambda: -1.5, lambda: 1e22, lambda: 1e-7, lambda: 10**30, lambda: "", lambda: "text",
    lambda: "\u00fc\u2028\u2029\U0001f980\x7f\x00\x1f\"\\/", lambda: [], lambda: {}, lambda: (), lambda: (1, [2, (3,)]),
    lambda: {"a": 1, "b": {"c": [None, False]}}, lambda: {1: 2, 1.5: 3, True: 4, None: 5}, lambda: {b"k": b"v"}, lambda: {(1, 2): 3},
    lambda: b"raw bytes", lambda: [b"\xc3\xbc"], lambda: [b"\xff"], lambda: bytearray(b"x"), lambda: {"d": decimal.Decimal("1.10")},
    lambda: decimal.Decimal("1E+3"), lambda: decimal.Decimal("NaN"), lambda: decimal.Decimal("-NaN"), lambda: decimal.Decimal("123456789012345678901234567890.5"),
    lambda: Point(1, "y"), lambda: [Old(1, Point(2, "z"))], lambda: {"o": Odd()}, lambda: Worse(), lambda: collections.OrderedDict(b=1, a=2),
    lambda: collections.defaultdict(list, a=[1]), lambda: collections.Counter("aab"), lambda: Colour.RED, lambda: {Colour.RED: Colour.RED},
    lambda: Text("t"), lambda: {Text("k"): Text("v")}, lambda: Number(7), lambda: {Number(7): 1}, lambda: math.nan, lambda: [math.inf, -math.inf],
    lambda: {1, 2}, lambda: range(3), lambda: (item for item in "ab"), lambda: datetime.datetime(2026, 1, 2), lambda: fractions.Fraction(1, 3),
    lambda: object, lambda: len, lambda: 1j, lambda: ..., circular, lambda: nested(50), lambda: {"k": [1] * 3, "l": {"m": Point(1, "n")}},
    lambda: "x" * 100000, lambda: "\ud800", lambda: {math.nan: 1},
    lambda: raising(ValueError("bad")), lambda: raising(Exception("Unauthorized")), lambda: raising(Exception()), lambda: raising(KeyError("k")),
    lambda: raising(Denied("a", 1)), lambda: raising(Mute("x")), lambda: raising(Denied("\u00fc\u2028 \"q\"")), lambda: deep(5), chained,
    lambda: raising(StopIteration("s")), lambda: raising(OSError(2, "gone", "f")), lambda: int("x"), lambda: {}["absent"], lambda: None.attribute,
    lambda: __import__("absent_module"), lambda: exec("def ("), lambda: eval("1/0"), lambda: raising(UnicodeDecodeError("utf-8", b"x", 0, 1, "r")),
    lambda: raising(AssertionError), lambda: raising(RecursionError("r")),
]
def handler(event, context):
    if event == "count": return len(RESULTS)
    if event == "context":
        return [context.aws_request_id, context.function_name, context.memory_limit_in_mb, context.function_version, context.invoked_function_arn,
                context.log_group_name, context.log_stream_name[:4], context.tenant_id, vars(context.client_context) if hasattr(context.client_context, "__dict__") else
                [context.client_context.custom, context.client_context.env], context.client_context.client.app_title, context.client_context.client.installation_id,
                context.identity.cognito_identity_id, context.identity.cognito_identity_pool_id, type(context.get_remaining_time_in_millis()).__name__]
    if isinstance(event, dict): return event["echo"]
    return RESULTS[event]()
"#;

/// The files of AWS's client, with the names they get in a package.
fn client(directory: &Path, below: &str, files: &mut Vec<(String, Vec<u8>)>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let wanted = ["awslambdaric", "simplejson", "snapshot_restore_py"];
        if path.is_dir() && (!below.is_empty() || wanted.contains(&name.as_str())) && name != "__pycache__" {
            client(&path, &format!("{below}{name}/"), files);
        } else if path.is_file()
            && (!below.is_empty() || name.starts_with("runtime_client") || name.starts_with("snapshot"))
        {
            files.push((format!("{below}{name}"), std::fs::read(&path).unwrap()));
        }
    }
}

/// The same package through our bootstrap and, by way of a wrapper, through AWS's own client.
#[tokio::test]
#[ignore = "needs AWSLAMBDARIC: the directory in which pip has installed awslambdaric"]
async fn every_answer_is_byte_for_byte_that_of_awss_client() {
    let world = World::new();
    let installed = PathBuf::from(std::env::var_os("AWSLAMBDARIC").expect("AWSLAMBDARIC"));
    let wrapper = "#!/bin/sh\nexec \"$1\" -m awslambdaric \"$_HANDLER\"\n";
    let mut files = vec![("app.py".to_owned(), EVERYTHING.into()), ("wrap".to_owned(), wrapper.into())];
    for (name, code) in [
        ("fails.py", "raise KeyError('at load')"),
        ("broken.py", "def handler(:\n  pass"),
        ("imports.py", "import absent.module"),
        ("nested.py", "import imports"),
        ("exits.py", "import sys; sys.exit(5)"),
    ] {
        files.push((name.to_owned(), code.into()));
    }
    client(&installed, "", &mut files);
    let files: Vec<(&str, &[u8])> = files.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
    let mut differ = Vec::new();
    let mut compare = async |runtime: &str, handler: &str, event: &str| {
        let mut ours = world.package(runtime, &files);
        ours.handler = handler.into();
        let mut theirs = ours.clone();
        theirs.environment.insert("AWS_LAMBDA_EXEC_WRAPPER".into(), "/var/task/wrap".into());
        let (ours, theirs) = (world.invoke(&ours, event).await, world.invoke(&theirs, event).await);
        let text = |outcome: &lambda::invoke::Outcome| {
            String::from_utf8_lossy(&outcome.payload).chars().take(300).collect::<String>()
        };
        if ours.payload != theirs.payload || ours.function_error != theirs.function_error {
            differ.push(format!("{runtime} {handler} {event}\n  ours   {}\n  theirs {}", text(&ours), text(&theirs)));
        }
        ours
    };
    let count = compare("python3.11", "app.handler", "\"count\"").await;
    let count: usize = String::from_utf8_lossy(&count.payload).parse().unwrap();
    for runtime in ["python3.11", "python3.13"] {
        // A lone surrogate that is not escaped ends AWS's client; here it is an error as others are.
        for number in (0..count).filter(|number| runtime != "python3.13" || *number != 55) {
            compare(runtime, "app.handler", &number.to_string()).await;
        }
        for event in
            ["\"context\"", r#"{"echo": [1.0, 1e400, -0.0, 12345678901234567890, "\ud83e\udd80", {"a": {}, "a": 1}]}"#]
        {
            compare(runtime, "app.handler", event).await;
        }
    }
    for handler in [
        "fails.handler",
        "broken.handler",
        "imports.handler",
        "nested.handler",
        "app.absent",
        "absent.handler",
        "handler",
        "sys.exit",
        "app/app.handler",
        "",
        ".",
        "exits.handler",
    ] {
        compare("python3.11", handler, "{}").await;
    }
    assert!(differ.is_empty(), "{} of them differ:\n{}", differ.len(), differ.join("\n"));
    world.close().await;
}

#[tokio::test]
async fn logs_can_be_json_from_a_level_on() {
    let world = World::new();
    let mut function = world.python(
        "import logging\nlog = logging.getLogger('mine')\ndef handler(event, context):\n    log.info('no')\n    log.warning('one\\ntwo %s', 1, extra={'more': {'a': 1}})\n    log.error({'a': [1]})\n    try: 1/0\n    except ZeroDivisionError: log.exception('caught')\n    raise KeyError('k')\n",
    );
    for (name, value) in [("AWS_LAMBDA_LOG_FORMAT", "JSON"), ("AWS_LAMBDA_LOG_LEVEL", "WARN")] {
        function.environment.insert(name.into(), value.into());
    }
    let tail = world.tail(&function, "{}").await;
    let events: Vec<serde_json::Value> =
        tail.lines().filter(|line| line.starts_with('{')).map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(events.len(), 4, "{tail}");
    assert_eq!(events[0]["message"], "one\ntwo 1");
    assert_eq!(events[0]["more"]["a"], 1);
    assert_eq!((&events[0]["level"], &events[0]["logger"]), (&"WARNING".into(), &"mine".into()));
    assert_eq!(events[0]["requestId"], REQUEST_ID);
    assert_eq!(events[1]["message"], serde_json::json!({ "a": [1] }));
    assert_eq!((&events[2]["errorType"], &events[2]["message"]), (&"ZeroDivisionError".into(), &"caught".into()));
    assert!(events[2]["location"].as_str().unwrap().contains("app.py:handler:"), "{}", events[2]);
    assert_eq!((&events[3]["errorType"], &events[3]["level"]), (&"KeyError".into(), &"ERROR".into()));
    world.close().await;
}
