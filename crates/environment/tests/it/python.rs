//! The contract of Python functions against a real interpreter.

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
