//! The contract of Node functions, line by line, against a real interpreter.

use std::sync::Arc;

use lambda::invoke::{JsonLogging, Logging, SystemLevel};

use crate::world::{REQUEST_ID, World};

/// The TOKEN authorizer AWS publishes, in its first (callback) form.
const BLUEPRINT: &str = r#"
exports.handler =  function(event, context, callback) {
    var token = event.authorizationToken;
    switch (token) {
        case 'allow':
            callback(null, generatePolicy('user', 'Allow', event.methodArn));
            break;
        case 'deny':
            callback(null, generatePolicy('user', 'Deny', event.methodArn));
            break;
        case 'unauthorized':
            callback("Unauthorized");   // Return a 401 Unauthorized response
            break;
        default:
            callback("Error: Invalid token"); // Return a 500 Invalid token response
    }
};

// Help function to generate an IAM policy
var generatePolicy = function(principalId, effect, resource) {
    var authResponse = {};

    authResponse.principalId = principalId;
    if (effect && resource) {
        var policyDocument = {};
        policyDocument.Version = '2012-10-17';
        policyDocument.Statement = [];
        var statementOne = {};
        statementOne.Action = 'execute-api:Invoke';
        statementOne.Effect = effect;
        statementOne.Resource = resource;
        policyDocument.Statement[0] = statementOne;
        authResponse.policyDocument = policyDocument;
    }

    // Optional output with custom properties of the String, Number or Boolean type.
    authResponse.context = {
        "stringKey": "stringval",
        "numberKey": 123,
        "booleanKey": true
    };
    return authResponse;
}
"#;

#[tokio::test]
async fn the_published_authorizer_runs_unchanged_on_a_deprecated_runtime() {
    let world = World::new();
    let authorizer = world.function("nodejs6.10", &[("index.js", BLUEPRINT)]);
    let event = |token: &str| format!(r#"{{"type":"TOKEN","authorizationToken":"{token}","methodArn":"arn:m"}}"#);
    for (token, effect) in [("allow", "Allow"), ("deny", "Deny")] {
        assert_eq!(
            world.result(&authorizer, &event(token)).await,
            format!(
                r#"{{"principalId":"user","policyDocument":{{"Version":"2012-10-17","Statement":[{{"Action":"execute-api:Invoke","Effect":"{effect}","Resource":"arn:m"}}]}},"context":{{"stringKey":"stringval","numberKey":123,"booleanKey":true}}}}"#
            )
        );
    }
    assert_eq!(
        world.error_text(&authorizer, &event("unauthorized")).await,
        r#"{"errorType":"string","errorMessage":"Unauthorized","trace":[]}"#
    );
    assert_eq!(
        world.error_text(&authorizer, &event("x")).await,
        r#"{"errorType":"string","errorMessage":"Error: Invalid token","trace":[]}"#
    );
    assert_eq!(world.supervisor.warm_count(), 1, "all four were one environment");
    world.close().await;
}

#[tokio::test]
async fn a_handler_may_answer_in_every_way_aws_knows() {
    let world = World::new();
    let function = world.node(
        r#"
        const ways = {
          callback: (e, c, cb) => cb(null, 'callback'),
          callbackLater: (e, c, cb) => { setTimeout(() => cb(null, 'later'), 5); },
          callbackTwice: (e, c, cb) => { cb(null, 'first'); cb(null, 'second'); c.succeed('third'); },
          callbackWaits: (e, c, cb) => { global.ran = false; setTimeout(() => { global.ran = true; }, 30); cb(null, 1); },
          waited: () => Promise.resolve(global.ran),
          callbackDoesNotWait: (e, c, cb) => {
            c.callbackWaitsForEmptyEventLoop = false; setTimeout(() => {}, 1e6).unref(); setTimeout(() => {}, 1e6); cb(null, 'at once');
          },
          promise: () => new Promise((resolve) => setTimeout(resolve, 5, 'promise')),
          thenable: () => ({ then: (ok) => ok('thenable') }),
          succeed: (e, c) => c.succeed({ s: 1 }),
          done: (e, c) => c.done(null, 'done'),
          undefinedResult: (e, c, cb) => cb(),
          nothing: () => {},
          returned: () => 'ignored',
          echo: async (e) => e.value,
          context: async (e, c) => [c.awsRequestId, c.invokedFunctionArn, c.functionName, c.functionVersion, c.memoryLimitInMB,
            c.logGroupName, /^\d{4}\/\d\d\/\d\d\/\[\$LATEST\][0-9a-f]{32}$/.test(c.logStreamName), c.clientContext.custom.k,
            c.getRemainingTimeInMillis() > 15000 && c.getRemainingTimeInMillis() <= 20000, c.callbackWaitsForEmptyEventLoop,
            process.env._X_AMZN_TRACE_ID],
        };
        exports.handler = (e, c, cb) => ways[e.way](e, c, cb);"#,
    );
    for (way, expected) in [
        ("callback", "\"callback\""),
        ("callbackLater", "\"later\""),
        ("callbackTwice", "\"first\""),
        ("callbackWaits", "1"),
        ("waited", "true"),
        ("callbackDoesNotWait", "\"at once\""),
        ("promise", "\"promise\""),
        ("thenable", "\"thenable\""),
        ("succeed", "{\"s\":1}"),
        ("done", "\"done\""),
        ("echo", "\"\u{fc}\u{1f980}\""),
        (
            "context",
            "[\"8476a536-e9f4-11e8-9739-2dfe598c3fcd\",\"arn:aws:lambda:us-east-1:111122223333:function:authorizer\",\
             \"authorizer\",\"$LATEST\",\"128\",\"/aws/lambda/authorizer\",true,\"v\",true,true,\
             \"Root=1-5759e988-bd862e3fe1be46a994272793\"]",
        ),
    ] {
        let event = format!("{{\"way\":\"{way}\",\"value\":\"\u{fc}\u{1f980}\"}}");
        assert_eq!(world.result(&function, &event).await, expected, "{way}");
    }
    // A pending timer would hold these back, so they get an environment without one.
    let mut fresh = function.clone();
    fresh.revision_id = "2".into();
    for way in ["undefinedResult", "nothing", "returned"] {
        assert_eq!(world.result(&fresh, &format!("{{\"way\":\"{way}\"}}")).await, "null", "{way}");
    }
    world.close().await;
}

#[tokio::test]
async fn a_handler_may_fail_in_every_way_aws_knows() {
    let world = World::new();
    let function = world.node(
        r#"
        class Denied extends Error { constructor(m) { super(m); this.name = 'Denied'; } }
        const ways = {
          throwError: () => { throw new TypeError('bad'); },
          throwString: () => { throw 'text'; },
          throwCustom: () => { throw new Denied('no'); },
          throwObject: () => { throw { a: 1 }; },
          reject: () => Promise.reject(new Denied('no')),
          rejectString: () => Promise.reject('Unauthorized'),
          callbackError: (e, c, cb) => cb(new Error('Unauthorized')),
          fail: (e, c) => c.fail('Unauthorized'),
          failNothing: (e, c) => c.fail(),
          done: (e, c) => c.done('no'),
          number: (e, c, cb) => cb(42),
          circular: async () => { const a = {}; a.a = a; return a; },
          bigint: (e, c, cb) => cb(null, { n: 1n }),
        };
        exports.handler = (e, c, cb) => ways[e.way](e, c, cb);"#,
    );
    for (way, kind, message) in [
        ("throwError", "TypeError", "bad"),
        ("throwString", "string", "text"),
        ("throwCustom", "Denied", "no"),
        ("throwObject", "object", "[object Object]"),
        ("reject", "Denied", "no"),
        ("rejectString", "string", "Unauthorized"),
        ("callbackError", "Error", "Unauthorized"),
        ("fail", "string", "Unauthorized"),
        ("failNothing", "string", "handled"),
        ("done", "string", "no"),
        ("number", "number", "42"),
        ("circular", "Error", "Unable to stringify response body"),
        ("bigint", "Error", "Unable to stringify response body"),
    ] {
        let error = world.error(&function, &format!("{{\"way\":\"{way}\"}}")).await;
        assert_eq!((&error["errorType"], &error["errorMessage"]), (&kind.into(), &message.into()), "{way}");
        let keys: Vec<&str> = error.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(keys, ["errorType", "errorMessage", "trace"]);
        let native = !matches!(kind, "string" | "object" | "number");
        assert_eq!(error["trace"].as_array().unwrap().is_empty(), !native, "{way}");
        if native {
            assert!(error["trace"][0].as_str().unwrap().ends_with(message), "{error}");
        }
    }
    assert_eq!(world.supervisor.warm_count(), 1, "none of these cost the environment");
    let asynchronous = world.node("exports.handler = async () => new Promise(() => {});");
    assert_eq!(world.error(&asynchronous, "{}").await["errorType"], "Runtime.NodeJsExit");
    world.close().await;
}

#[tokio::test]
async fn an_error_nobody_catches_answers_and_ends_the_process() {
    let world = World::new();
    let function = world.node(
        r#"let n = 0;
        exports.handler = (e) => { n += 1;
          if (e.way === 'throw') { setTimeout(() => { throw new RangeError('later'); }, 1); return new Promise(() => {}); }
          if (e.way === 'reject') { Promise.reject(new RangeError('later')); return new Promise(() => {}); }
          return Promise.resolve(n); };"#,
    );
    assert_eq!(world.result(&function, "{}").await, "1");
    assert_eq!(world.error(&function, r#"{"way":"throw"}"#).await["errorType"], "RangeError");
    assert_eq!(world.result(&function, "{}").await, "1");
    let error = world.error(&function, r#"{"way":"reject"}"#).await;
    assert_eq!(error["errorType"], "Runtime.UnhandledPromiseRejection");
    assert_eq!(error["errorMessage"], "RangeError: later");
    assert_eq!(world.result(&function, "{}").await, "1");
    world.close().await;
}

#[tokio::test]
async fn what_cannot_be_loaded_says_why() {
    let world = World::new();
    for (files, handler, kind, message) in [
        (
            vec![("index.js", "exports.other = 1")],
            "index.handler",
            "Runtime.HandlerNotFound",
            "index.handler is undefined or not exported",
        ),
        (
            vec![("index.js", "exports.handler = 1")],
            "index.handler",
            "Runtime.HandlerNotFound",
            "index.handler is not a function",
        ),
        (vec![("index.js", "")], "nothere.handler", "Runtime.ImportModuleError", "Error: Cannot find module 'nothere'"),
        (
            vec![("index.js", "require('./gone')")],
            "index.handler",
            "Runtime.ImportModuleError",
            "Error: Cannot find module './gone'",
        ),
        (vec![("index.js", "exports.handler = (")], "index.handler", "Runtime.UserCodeSyntaxError", "SyntaxError: "),
        (vec![("index.js", "throw new TypeError('at load')")], "index.handler", "TypeError", "at load"),
        (
            vec![("index.js", "")],
            "../index.handler",
            "Runtime.MalformedHandlerName",
            "'../index.handler' is not a valid",
        ),
        (vec![("index.js", "")], "index", "Runtime.MalformedHandlerName", "Bad handler"),
    ] {
        let mut function = world.function("nodejs20.x", &files);
        function.handler = handler.into();
        let error = world.error(&function, "{}").await;
        assert_eq!(error["errorType"], kind, "{error}");
        assert!(error["errorMessage"].as_str().unwrap().starts_with(message), "{error}");
        assert!(error["trace"].is_array());
    }
    let talks = world.node("console.log('before'); throw new Error('at load')");
    let tail = world.tail(&talks, "{}").await;
    assert!(tail.starts_with("INIT_START") && tail.contains("INFO\tbefore\n") && tail.contains("at load"), "{tail}");
    let exits = world.node("process.exit(3)");
    assert_eq!(
        world.error_text(&exits, "{}").await,
        format!(
            r#"{{"errorType":"Runtime.ExitError","errorMessage":"RequestId: {REQUEST_ID} Error: Runtime exited with error: exit status 3"}}"#
        )
    );
    world.close().await;
}

#[tokio::test]
async fn modules_are_found_where_aws_finds_them() {
    let world = World::new();
    for (files, handler) in [
        (
            vec![
                ("index.js", "exports.handler = async () => require('./lib/a') + require('dep');"),
                ("lib/a.js", "module.exports = 'a'"),
                ("node_modules/dep/index.js", "module.exports = 'd'"),
            ],
            "index.handler",
        ),
        (vec![("src/deep.js", "exports.nested = { handler: async () => 'ad' };")], "src/deep.nested.handler"),
        (
            vec![
                ("index.mjs", "import { x } from './x.mjs'; export const handler = async () => x;"),
                ("x.mjs", "export const x = 'ad';"),
            ],
            "index.handler",
        ),
        (
            vec![
                ("index.js", "import fs from 'node:fs'; export const handler = async () => fs ? 'ad' : '';"),
                ("package.json", r#"{"type":"module"}"#),
            ],
            "index.handler",
        ),
        (vec![("index.cjs", "exports.handler = async () => 'ad';")], "index.handler"),
        (vec![("node_modules/pkg/index.js", "exports.handler = async () => 'ad';")], "pkg.handler"),
        (
            vec![(
                "index.js",
                "undeclared = 'ad'; with ({ u: undeclared }) { var v = u; } exports.handler = async () => v;",
            )],
            "index.handler",
        ),
        (
            vec![("index.mjs", "const x = await Promise.resolve('ad'); export const handler = async () => x;")],
            "index.handler",
        ),
        (
            vec![(
                "index.mjs",
                "export const handler = awslambda.streamifyResponse(async (e, s, c) => { s.write('\"a'); s.end('d\"'); });",
            )],
            "index.handler",
        ),
    ] {
        let mut function = world.function("nodejs20.x", &files);
        function.handler = handler.into();
        assert_eq!(world.result(&function, "{}").await, "\"ad\"", "{files:?}");
    }
    world.close().await;
}

#[tokio::test]
async fn callbacks_are_refused_from_node_24_on() {
    let world = World::new();
    let old =
        world.function("nodejs24.x", &[("index.js", "exports.handler = (event, context, callback) => callback();")]);
    assert_eq!(world.error(&old, "{}").await["errorType"], "Runtime.CallbackHandlerDeprecated");
    let new = world
        .function("nodejs24.x", &[("index.js", "exports.handler = async (event, context) => typeof context.done;")]);
    assert_eq!(world.result(&new, "{}").await, "\"undefined\"");
    world.close().await;
}

#[tokio::test]
async fn the_process_sees_the_environment_of_aws_and_no_other() {
    let world = World::new();
    let mut function = world.node(
        "exports.handler = async () => ({ ...process.env, cwd: process.cwd(), stdin: require('fs').readFileSync(0, 'utf8') });",
    );
    function.environment.insert("TABLE".into(), "t=1\n\u{fc}".into());
    function.environment.insert("AWS_REGION".into(), "mars".into());
    function.environment.insert("_HANDLER".into(), "forged".into());
    let seen: serde_json::Value = serde_json::from_str(&world.result(&function, "{}").await).unwrap();
    for (name, expected) in [
        ("TABLE", "t=1\n\u{fc}"),
        ("AWS_REGION", "us-east-1"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
        ("_HANDLER", "index.handler"),
        ("AWS_EXECUTION_ENV", "AWS_Lambda_nodejs20.x"),
        ("AWS_LAMBDA_FUNCTION_NAME", "authorizer"),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128"),
        ("AWS_ACCESS_KEY_ID", "ASIAEXAMPLE"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("AWS_SESSION_TOKEN", "token-of-authorizer"),
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:4566"),
        ("TZ", ":UTC"),
        ("stdin", ""),
    ] {
        assert_eq!(seen[name], expected, "{name}");
    }
    assert_eq!(seen["cwd"], seen["LAMBDA_TASK_ROOT"]);
    assert_eq!(seen["HOME"], serde_json::Value::Null, "nothing of the server's own environment");
    assert_eq!(seen["CARGO_MANIFEST_DIR"], serde_json::Value::Null);
    function.role_arn = "arn:aws:iam::111122223333:role/unknown".into();
    let seen: serde_json::Value = serde_json::from_str(&world.result(&function, "{}").await).unwrap();
    assert_eq!(seen["AWS_ACCESS_KEY_ID"], serde_json::Value::Null);
    world.close().await;
}

#[tokio::test]
async fn the_log_has_the_lines_of_aws() {
    let world = World::new();
    let function = world.node(
        "exports.handler = async (e) => { console.log('one\\ntwo', { a: 1 }); console.error('three'); process.stdout.write('raw\\n'); \
         if (e.fail) throw new Error('no'); };",
    );
    let tail = world.tail(&function, "{}").await;
    let lines: Vec<&str> = tail.lines().collect();
    assert_eq!(lines[0], format!("START RequestId: {REQUEST_ID} Version: $LATEST"));
    let first: Vec<&str> = lines[1].split('\t').collect();
    assert!(first[0].len() == 24 && first[0].ends_with('Z'), "{first:?}");
    assert_eq!(first[1..], [REQUEST_ID, "INFO", "one"]);
    assert_eq!(lines[2], "two { a: 1 }");
    assert!(lines[3].ends_with("\tERROR\tthree"));
    assert_eq!(lines[4], "raw");
    assert_eq!(lines[5], format!("END RequestId: {REQUEST_ID}"));
    assert!(lines[6].starts_with(&format!("REPORT RequestId: {REQUEST_ID}\tDuration: ")), "{}", lines[6]);
    assert!(lines[6].contains("\tMemory Size: 128 MB\tMax Memory Used: ") && lines[6].contains("\tInit Duration: "));
    let tail = world.tail(&function, r#"{"fail":true}"#).await;
    assert!(
        tail.contains("\tERROR\tInvoke Error \t{\"errorType\":\"Error\",\"errorMessage\":\"no\",\"stack\":["),
        "{tail}"
    );
    assert!(!tail.contains("Init Duration"), "only the first invocation has one");
    let lines = Arc::clone(&world.lines);
    world.close().await;
    let lines = lines.of("authorizer");
    assert!(lines[0].starts_with("INIT_START Runtime Version: nodejs20.x"));
    assert_eq!(lines.iter().filter(|line| line.starts_with("REPORT")).count(), 2);
    assert!(
        lines.iter().any(|line| line.ends_with("\tINFO\tone\ntwo { a: 1 }")),
        "several lines are one event: {lines:?}"
    );
}

#[tokio::test]
async fn logs_can_be_json_from_a_level_on() {
    let world = World::new();
    let mut function = world.node(
        "exports.handler = async (e) => { console.debug('no'); console.log('one\\ntwo'); console.info({ a: [1] }); console.warn('n', 1); \
         const c = {}; c.c = c; console.error(c); console.error('with', new TypeError('bad')); if (e.fail) throw new RangeError('no'); };",
    );
    let json = JsonLogging { application_level: "INFO".into(), system_level: SystemLevel::Debug };
    function.logging = Logging { group: Some("elsewhere".into()), json: Some(json) };
    let tail = world.tail(&function, r#"{"fail":true}"#).await;
    let events: Vec<serde_json::Value> = tail.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (platform, events): (Vec<_>, Vec<_>) = events.into_iter().partition(|event| event["record"].is_object());
    let kinds: Vec<_> = platform.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["platform.start", "platform.runtimeDone", "platform.report"]);
    assert_eq!(platform[2]["record"]["requestId"], REQUEST_ID);
    assert_eq!(world.lines.in_group("elsewhere").len(), 10, "with the one of its start");
    assert_eq!(events.len(), 6, "{tail}");
    for (event, (level, message)) in events.iter().zip([
        ("INFO", serde_json::json!("one\ntwo")),
        ("INFO", serde_json::json!({ "a": [1] })),
        ("WARN", serde_json::json!("n 1")),
    ]) {
        assert_eq!((&event["level"], &event["message"]), (&level.into(), &message));
        assert_eq!(event["requestId"], REQUEST_ID);
        assert!(event["timestamp"].as_str().unwrap().ends_with('Z'));
    }
    assert!(events[3]["message"].as_str().unwrap().contains("[Circular"), "{}", events[3]);
    assert_eq!((&events[4]["errorType"], &events[4]["errorMessage"]), (&"TypeError".into(), &"bad".into()));
    assert!(events[4]["stackTrace"].is_array());
    assert_eq!(events[5]["message"]["errorType"], "RangeError");
    world.close().await;
}
