//! A host without namespaces, such as a container with the usual profile: what is refused there, and what runs when it is
//! asked for.

use std::{os::unix::fs::DirBuilderExt as _, path::Path, process::Command};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::{
    data_plane::{ACCOUNT, ask, json_call, make_role, package},
    running::{Running, body, fresh, stdout},
};

/// What a function of either language tells: whether it is a user of its own, can use its directory, and cannot use
/// the host's; how a socket of the internet is refused; where it lies.
const NODE: &str = "const fs = require('fs'), net = require('net'), { execFileSync } = require('child_process');
const attempt = (what) => { try { what(); return 'done'; } catch (error) { return error.code; } };
exports.handler = async (event) => {
  if (event.fill) { fs.writeFileSync(process.env.TMPDIR + '/kept', 'kept'); }
  const refused = await new Promise((resolve) => {
    net.connect(80, '127.0.0.1').on('error', (error) => resolve(error.code)).on('connect', () => resolve('connected'));
  });
  return [process.getuid() >= 2100000000, attempt(() => fs.writeFileSync(process.env.TMPDIR + '/x', 'x')),
    attempt(() => fs.readdirSync('/tmp')), attempt(() => fs.readdirSync('/proc')),
    attempt(() => fs.writeFileSync('/dev/shm/x', 'x')), refused, execFileSync('/bin/echo', ['child']).toString().trim(),
    process.env.LAMBDA_TASK_ROOT === __dirname, typeof process.env.AWS_ENDPOINT_URL, event.name];
};";
const PYTHON: &str = "import os, socket, subprocess, tempfile, threading, time
def attempt(what):
    try:
        what()
        return 'done'
    except OSError as error:
        return error.strerror
def handler(event, context):
    if event.get('mb'):
        kept = b'x' * (event['mb'] << 20)
        time.sleep(10)
        return len(kept)
    with tempfile.NamedTemporaryFile() as file:
        own = os.path.dirname(file.name) == os.environ['TMPDIR']
    thread = threading.Thread(target=lambda: None)
    thread.start()
    thread.join()
    child = subprocess.run(['/bin/echo', 'child'], capture_output=True).stdout.decode().strip()
    return [os.getuid() >= 2100000000, own, attempt(lambda: os.listdir('/tmp')), attempt(lambda: socket.socket()), child]
";
/// A runtime that a function brings along.
const BOOTSTRAP: &str = "#!/bin/sh\nsleep 1000\n";

fn create(server: &Running, name: &str, runtime: &str, file: &str, code: &str) {
    json_call(
        server,
        "lambda",
        "POST /2015-03-31/functions",
        &json!({
            "FunctionName": name, "Runtime": runtime, "Handler": "index.handler", "Timeout": 20,
            "Role": format!("arn:aws:iam::{ACCOUNT}:role/r"), "Code": { "ZipFile": package(file, code) },
        }),
    );
}

fn invoke(server: &Running, name: &str, event: &Value) -> String {
    let line = format!("POST /2015-03-31/functions/{name}/invocations");
    ask(server, "lambda", &line, "application/json", &event.to_string())
}

fn health(server: &Running) -> Value {
    let health: Value = serde_json::from_str(body(&server.get("/_portcullis/health"))).unwrap();
    health["functions"].clone()
}

/// Interpreters that every user of this host may run.
fn interpreters() -> Vec<&'static str> {
    let found = [("--node", "/usr/bin/node"), ("--python", "/usr/bin/python3")];
    found.into_iter().filter(|(_, path)| Path::new(path).exists()).flat_map(|(option, path)| [option, path]).collect()
}

#[test]
#[expect(clippy::print_stdout, reason = "a test that shows nothing says so")]
fn without_namespaces_functions_are_refused_and_run_weakly_where_that_is_asked_for() {
    if !rustix::process::geteuid().is_root() {
        println!("left out: it takes root to be root in a container");
        return;
    }
    let (_dir, data) = fresh();
    let mut arguments = interpreters();
    arguments.push("--dev-credentials");
    let mut server = Running::start_in_container(&data, &arguments);
    make_role(&server);
    create(&server, "node", "nodejs18.x", "index.js", NODE);
    let functions = health(&server);
    assert_eq!((functions["status"].as_str(), functions["tier"].as_str()), (Some("unavailable"), Some("B")));
    let refused = invoke(&server, "node", &json!({}));
    assert!(refused.starts_with("HTTP/1.1 500 ") && refused.contains("ServiceException"), "{refused}");
    for reason in ["tier B only", "namespaces: ", "--isolation weak accepts tier B"] {
        assert!(body(&refused).contains(reason), "{reason}: {refused}");
    }
    server.signal(Signal::TERM);
    assert_eq!(server.wait().code(), Some(0));

    // Mostly a container may not make control groups either.
    arguments.extend(["--isolation", "weak", "--memory-limit", "polling"]);
    let mut server = Running::start_in_container(&data, &arguments);
    let functions = health(&server);
    assert_eq!(
        (functions["status"].as_str(), functions["tier"].as_str()),
        (Some("available"), Some("B")),
        "{functions}"
    );
    assert!(server.log().contains("WARNING: functions are isolated weakly"), "{}", server.log());
    assert!(server.log().lines().any(|line| line.starts_with("isolation tier      B ")), "{}", server.log());
    let status = stdout(&["status", "--data-dir", data.to_str().unwrap()]);
    assert!(status.contains("Functions:     weakly isolated (tier B"), "{status}");
    assert!(status.contains("own root, own network"), "{status}");
    if arguments.contains(&"--node") {
        for name in ["cold", "warm"] {
            let answer = invoke(&server, "node", &json!({ "name": name }));
            let told: Value = serde_json::from_str(body(&answer)).unwrap_or_else(|_| panic!("{answer}"));
            let expected =
                json!([true, "done", "EACCES", "EACCES", "EACCES", "EPERM", "child", true, "undefined", name]);
            assert_eq!(told, expected, "{answer} {}", server.log());
        }
    }
    if arguments.contains(&"--python") {
        create(&server, "python", "python3.9", "index.py", PYTHON);
        let answer = invoke(&server, "python", &json!({}));
        let expected = r#"[true, true, "Permission denied", "Operation not permitted", "child"]"#;
        assert_eq!(body(&answer), expected, "{}", server.log());
        let answer = invoke(&server, "python", &json!({ "mb": 400 }));
        assert!(body(&answer).contains("Runtime.OutOfMemory"), "{answer}");
        assert_eq!(body(&invoke(&server, "python", &json!({}))), expected, "{}", server.log());
    }
    create(&server, "custom", "provided.al2023", "bootstrap", BOOTSTRAP);
    let refused = invoke(&server, "custom", &json!({}));
    assert!(refused.starts_with("HTTP/1.1 500 ") && refused.contains("no network on this server"), "{refused}");
    assert!(body(&refused).contains("custom runtimes"), "{refused}");
    server.signal(Signal::TERM);
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
#[expect(clippy::print_stdout, reason = "a test that shows nothing says so")]
fn an_interpreter_in_a_closed_place_is_refused_with_the_reason() {
    // What is found by its name may be a script that starts another.
    let node = Command::new("/usr/bin/node").args(["-p", "process.execPath"]).output();
    let node = node.ok().and_then(|output| String::from_utf8(output.stdout).ok());
    let Some(node) = node.filter(|_| rustix::process::geteuid().is_root()) else {
        println!("left out: it takes root and a Node.js");
        return;
    };
    let (dir, data) = fresh();
    let closed = dir.path().join("closed");
    std::fs::DirBuilder::new().mode(0o700).create(&closed).unwrap();
    let closed = closed.join("node");
    std::fs::copy(node.trim(), &closed).unwrap();
    let node = closed.to_str().unwrap();
    let arguments = ["--dev-credentials", "--isolation", "weak", "--memory-limit", "polling", "--node", node];
    let server = Running::start_in_container(&data, &arguments);
    make_role(&server);
    create(&server, "node", "nodejs18.x", "index.js", NODE);
    let refused = invoke(&server, "node", &json!({}));
    assert!(refused.starts_with("HTTP/1.1 500 "), "{refused}");
    for reason in ["cannot be used by functions on this server", "let everybody pass", "--node"] {
        assert!(body(&refused).contains(reason), "{reason}: {refused}");
    }
}

#[test]
fn weak_isolation_is_no_worse_than_the_host_allows() {
    let (_dir, data) = fresh();
    let server = Running::start(&data, &["--isolation", "weak", "--memory-limit", "polling"]);
    let tier = health(&server)["tier"].clone();
    if ["A1", "A2"].contains(&tier.as_str().unwrap()) {
        assert!(server.log().contains("--isolation weak has no effect"), "{}", server.log());
    }
}
