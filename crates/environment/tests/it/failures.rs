//! Functions that hang, die, cheat, talk too much or are too many.

use std::{sync::Arc, time::Duration};

use environment::{NoCredentials, Options, Supervisor, TracingLogs};
use lambda::invoke::{Outcome, Revision, Run, RunError};
use tokio::task::JoinHandle;

use crate::world::{REQUEST_ID, World, alive, invocation};

fn exit_error(text: &str) -> String {
    format!(r#"{{"errorType":"Runtime.ExitError","errorMessage":"RequestId: {REQUEST_ID} Error: {text}"}}"#)
}

#[tokio::test]
async fn a_timeout_answers_exactly_and_destroys_the_environment() {
    let world = World::new();
    let mut function = world.node(
        "let n = 0; exports.handler = (e) => { n += 1; if (e.spin) for (;;); if (e.hang) return new Promise(() => setInterval(() => {}, 1000)); return Promise.resolve([n, process.pid]); };",
    );
    function.timeout_s = 1;
    let first = world.result(&function, "{}").await;
    let pid = first.trim_matches(['[', ']']).split(',').nth(1).unwrap().to_owned();
    for event in [r#"{"spin":1}"#, r#"{"hang":1}"#] {
        assert_eq!(
            world.error_text(&function, event).await,
            format!(
                r#"{{"errorType":"Sandbox.Timedout","errorMessage":"RequestId: {REQUEST_ID} Error: Task timed out after 1.00 seconds"}}"#
            )
        );
    }
    assert!(world.result(&function, "{}").await.starts_with("[1,"), "a new process");
    let tail = world.tail(&function, r#"{"hang":1}"#).await;
    assert!(tail.contains(&format!("Z {REQUEST_ID} Task timed out after 1.00 seconds\n")), "{tail}");
    assert!(tail.trim_end_matches('\n').ends_with("Status: timeout\t"), "{tail}");
    world.close().await;
    assert!(!alive(&pid));
}

#[tokio::test]
async fn a_process_that_ends_is_told_apart_by_how() {
    let world = World::new();
    let function = world.node("exports.handler = (e) => { if (e.signal) process.kill(process.pid, e.signal); else process.exit(e.code); setInterval(() => {}, 9); };");
    for (event, text) in [
        (r#"{"code":0}"#, "Runtime exited without providing a reason"),
        (r#"{"code":7}"#, "Runtime exited with error: exit status 7"),
        (r#"{"signal":"SIGKILL"}"#, "Runtime exited with error: signal: killed"),
        (r#"{"signal":"SIGSEGV"}"#, "Runtime exited with error: signal: segmentation fault"),
        (r#"{"signal":"SIGTERM"}"#, "Runtime exited with error: signal: terminated"),
    ] {
        assert_eq!(world.error_text(&function, event).await, exit_error(text));
    }
    world.close().await;
}

/// The line that begins so, of a log's tail.
fn line<'a>(tail: &'a str, begins: &str) -> &'a str {
    tail.lines().find(|line| line.starts_with(begins)).unwrap_or_else(|| panic!("{begins} in {tail}"))
}

#[tokio::test]
async fn reports_tell_a_crash_and_not_an_error_that_was_answered() {
    let world = World::new();
    let node =
        world.node("exports.handler = async (e) => { if (e.exit) process.exit(1); throw new TypeError('no'); };");
    let python =
        world.python("import os\ndef handler(e, c):\n    if e.get('exit'): os._exit(1)\n    raise ValueError('no')\n");
    for function in [node, python] {
        let answered = world.tail(&function, "{}").await;
        let report = line(&answered, "REPORT ");
        assert!(!report.contains("Status") && !report.contains("Error Type"), "{report}");
        let crashed = world.tail(&function, r#"{"exit":1}"#).await;
        let report = line(&crashed, "REPORT ");
        assert!(report.ends_with("\tStatus: error\tError Type: Runtime.ExitError\t"), "{report}");
    }
    world.close().await;
}

#[tokio::test]
async fn a_function_that_cannot_be_loaded_has_a_report_of_its_init() {
    let world = World::new();
    for (function, kind) in [
        (world.node("process.exit(1);"), "Runtime.ExitError"),
        (world.python("import nothing_of_this_name\n"), "Runtime.ImportModuleError"),
        (world.python("raise ValueError('Error\\tType')\n"), "Runtime.Unknown"),
    ] {
        let tail = world.tail(&function, "{}").await;
        let report = line(&tail, "INIT_REPORT Init Duration: ");
        assert!(report.ends_with(&format!(" ms\tPhase: init\tStatus: error\tError Type: {kind}\t")), "{report}");
    }
    world.close().await;
}

#[tokio::test]
async fn a_process_that_died_while_idle_costs_no_request() {
    let world = World::new();
    let function = world.node("exports.handler = async () => process.pid;");
    let pid = world.result(&function, "{}").await;
    let _ = std::process::Command::new("/bin/kill").args(["-9", &pid]).status().unwrap();
    while alive(&pid) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_ne!(world.result(&function, "{}").await, pid);
    world.close().await;
}

#[tokio::test]
async fn memory_beyond_the_limit_ends_it() {
    let world = World::new();
    let function =
        world.python("import time\ndef handler(e, c):\n    x = bytearray(400 * 1024 * 1024)\n    time.sleep(5)\n");
    assert_eq!(
        world.error_text(&function, "{}").await,
        format!(
            r#"{{"errorType":"Runtime.OutOfMemory","errorMessage":"RequestId: {REQUEST_ID} Error: Runtime exited with error: signal: killed"}}"#
        )
    );
    world.close().await;
}

#[tokio::test]
async fn sizes_are_held_to_the_byte() {
    let world = World::new();
    let node = world.node("exports.handler = async (e) => 'x'.repeat(e.n);");
    let python = world.python("def handler(e, c):\n    return 'x' * e['n']\n");
    let too_large = r#"{"errorMessage":"Response payload size exceeded maximum allowed payload size (6291556 bytes).","errorType":"Function.ResponseSizeTooLarge"}"#;
    for function in [&node, &python] {
        assert_eq!(world.result(function, r#"{"n":6291554}"#).await.len(), 6_291_556);
        assert_eq!(world.error_text(function, r#"{"n":6291555}"#).await, too_large);
    }
    assert_eq!(world.supervisor.warm_count(), 2);
    let length = world.node("exports.handler = async (e) => e.length;");
    assert_eq!(world.result(&length, &format!("\"{}\"", "x".repeat(6 * 1024 * 1024 - 2))).await, "6291454");
    let error = world.try_invoke(&length, &format!("\"{}\"", "x".repeat(6 * 1024 * 1024 - 1))).await.unwrap_err();
    assert_eq!(error, RunError::TooLarge);
    world.close().await;
}

#[tokio::test]
async fn garbage_on_the_socket_kills_the_environment() {
    let world = World::new();
    let function = world.node(
        r#"const fs = require('fs'); let n = 0;
        const frame = (kind, seq, body) => { const b = Buffer.alloc(13 + body.length); b.writeUInt32LE(9 + body.length, 0); b[4] = kind; b.writeBigUInt64LE(BigInt(seq), 5); b.write(body, 13); return b; };
        exports.handler = async (e) => { n += 1;
          if (e.write === 'garbage') fs.writeSync(3, 'HTTP/1.1 200 OK\r\n');
          if (e.write === 'stale') fs.writeSync(3, frame(18, 0, '"forged"'));
          if (e.write === 'ahead') fs.writeSync(3, frame(18, 99, '"forged"'));
          if (e.write === 'kind') fs.writeSync(3, frame(17, n, ''));
          if (e.write === 'huge') fs.writeSync(3, Buffer.from([255, 255, 255, 127]));
          if (e.write === 'close') { fs.closeSync(3); return new Promise(() => setInterval(() => {}, 9)); }
          if (e.write === 'twice') { fs.writeSync(3, frame(18, n, '"mine"')); }
          return n; };"#,
    );
    for write in ["garbage", "stale", "ahead", "kind", "huge", "close"] {
        assert_eq!(world.result(&function, "{}").await, "1", "a new process before {write}");
        assert_eq!(
            world.error_text(&function, &format!("{{\"write\":\"{write}\"}}")).await,
            exit_error("Runtime exited with error: signal: killed"),
            "{write}"
        );
    }
    // A function may answer for itself, but a second answer never reaches the next request. When it comes late it
    // can only cost that request, which is the same function's own.
    assert_eq!(world.result(&function, r#"{"write":"twice"}"#).await, "\"mine\"");
    let next = world.invoke(&function, "{}").await.payload;
    assert!(&next[..] == b"1" || &next[..] == exit_error("Runtime exited with error: signal: killed").as_bytes());
    assert!(["1", "2"].contains(&world.result(&function, "{}").await.as_str()));
    world.close().await;
}

#[tokio::test]
async fn a_flood_of_log_neither_blocks_nor_fills_memory() {
    let world = World::new();
    let function = world.function(
        "python3.11",
        &[("app.py", "import os\ndef handler(e, c):\n    line = b'x' * 99999 + b'\\n'\n    for _ in range(600): os.write(1, line)\n    print('last')\n    return 1\n")],
    );
    let outcome = world.invoke(&function, "{}").await;
    assert_eq!(&outcome.payload[..], b"1");
    let tail = String::from_utf8(outcome.log_tail.unwrap()).unwrap();
    assert!(tail.len() <= 4096 && tail.contains("REPORT RequestId"), "{tail}");
    let lines = Arc::clone(&world.lines);
    world.close().await;
    let bytes: usize = lines.of("authorizer").iter().map(String::len).sum();
    assert!(bytes <= 60_100_000 && lines.of("authorizer").iter().any(|line| line.starts_with("END")));
}

#[tokio::test]
async fn what_a_function_leaves_running_dies_with_its_environment() {
    let world = World::new();
    let function = world.node(
        "const { spawn } = require('child_process'); exports.handler = async () => spawn('/bin/sleep', ['600'], { stdio: 'inherit' }).pid;",
    );
    let child = world.result(&function, "{}").await;
    assert!(alive(&child), "it lives on between invocations, as on AWS");
    world.supervisor.retire("111122223333", "us-east-1", "authorizer");
    while world.supervisor.live_count() > 0 || alive(&child) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    world.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_at_once_all_get_their_own_answer() {
    let world = Arc::new(World::with(|options| options.processes_max = 8));
    let node = Arc::new(
        world.node("exports.handler = async (e) => { await new Promise((r) => setTimeout(r, 3)); return e.n; };"),
    );
    let python = Arc::new(world.python("def handler(e, c):\n    return e['n']\n"));
    let tasks: Vec<_> = (0..100)
        .map(|number| {
            let (world, node, python) = (Arc::clone(&world), Arc::clone(&node), Arc::clone(&python));
            tokio::spawn(async move {
                let function = if number % 4 == 0 { &python } else { &node };
                assert_eq!(world.result(function, &format!("{{\"n\":{number}}}")).await, number.to_string());
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
        assert!(world.supervisor.live_count() <= 8);
    }
    Arc::into_inner(world).unwrap().close().await;
}

/// An invocation that goes on beside the test.
fn begin(world: &World, revision: &Revision, event: &str) -> JoinHandle<Result<Outcome, RunError>> {
    let (supervisor, revision, invocation) = (world.supervisor.clone(), Arc::new(revision.clone()), invocation(event));
    tokio::spawn(async move { supervisor.run(revision, invocation).await })
}

#[tokio::test]
async fn beyond_the_accounts_concurrency_is_a_throttle() {
    let world = World::with(|options| options.concurrency_max = 1);
    let function = world.node("exports.handler = (e, c, cb) => { setTimeout(cb, 300); };");
    let first = begin(&world, &function, "{}");
    tokio::time::sleep(Duration::from_millis(20)).await;
    let error = RunError::Throttled { reason: "ConcurrentInvocationLimitExceeded" };
    assert_eq!(world.try_invoke(&function, "{}").await.unwrap_err(), error);
    first.await.unwrap().unwrap();
    world.result(&function, "{}").await;
    world.close().await;
}

#[tokio::test]
async fn shutdown_ends_those_that_do_not_end() {
    let world = World::new();
    let function = world.node("exports.handler = async (e) => { if (e.hang) return new Promise(() => setInterval(() => {}, 9)); return process.pid; };");
    let pid = world.result(&function, "{}").await;
    let hanging = begin(&world, &function, r#"{"hang":1}"#);
    tokio::time::sleep(Duration::from_millis(50)).await;
    world.supervisor.shutdown(Duration::from_millis(50)).await;
    assert_eq!(world.supervisor.live_count(), 0);
    assert!(!alive(&pid));
    assert_eq!(
        &hanging.await.unwrap().unwrap().payload[..],
        exit_error("Runtime exited with error: signal: killed").as_bytes()
    );
    assert!(matches!(world.try_invoke(&function, "{}").await, Err(RunError::Unavailable(_))));
    world.close().await;
}

#[tokio::test]
async fn revisions_and_accounts_share_no_process() {
    let world = World::new();
    let function = world.node("let n = 0; exports.handler = async () => { n += 1; return n; };");
    assert_eq!(world.result(&function, "{}").await, "1");
    assert_eq!(world.result(&function, "{}").await, "2");
    let changes: [fn(&mut lambda::invoke::Revision); 5] = [
        |revision| revision.account = "444455556666".into(),
        |revision| revision.revision_id = "2".into(),
        |revision| revision.version = "1".into(),
        |revision| revision.role_arn = "arn:aws:iam::111122223333:role/other".into(),
        |revision| drop(revision.environment.insert("A".into(), "1".into())),
    ];
    for change in changes {
        let mut other = function.clone();
        change(&mut other);
        assert_eq!(world.result(&other, "{}").await, "1");
    }
    assert_eq!(world.result(&function, "{}").await, "3");
    world.close().await;
}

#[tokio::test]
async fn what_cannot_run_here_says_so() {
    let world = World::with(|options| options.python = None);
    for runtime in ["java21", "python3.11", "python2.7"] {
        let mut function = world.node("exports.handler = async () => 1;");
        function.runtime = runtime.into();
        let Err(RunError::Unavailable(text)) = world.try_invoke(&function, "{}").await else { panic!("{runtime} ran") };
        assert!(text.contains(runtime), "{text}");
    }
    let mut function = world.node("exports.handler = async () => 2;");
    std::fs::write(&function.code_zip, b"damaged").unwrap();
    assert!(matches!(world.try_invoke(&function, "{}").await, Err(RunError::Unavailable(_))));
    function.code_sha256 = "../../etc".into();
    assert!(matches!(world.try_invoke(&function, "{}").await, Err(RunError::Unavailable(_))));
    world.close().await;
}

#[tokio::test]
async fn a_directory_with_other_things_in_it_is_not_touched() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("code")).unwrap();
    std::fs::write(directory.path().join("code/precious"), "x").unwrap();
    let options = Options { data_dir: directory.path().to_owned(), ..Options::default() };
    let handle = tokio::runtime::Handle::current();
    assert!(Supervisor::start(options, handle, Arc::new(NoCredentials), Arc::new(TracingLogs)).is_err());
    assert!(directory.path().join("code/precious").exists());
}
