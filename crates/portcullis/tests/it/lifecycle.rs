//! Start, stop, accounts, exit codes.

use std::{io::Write as _, os::unix::fs::PermissionsExt as _};

use rustix::process::Signal;
use serde_json::Value;

use crate::running::{Running, body, fresh, portcullis, run, stdout};

fn mode(path: &std::path::Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn start_prints_its_address_and_ready_and_answers_health() {
    let (_dir, data) = fresh();
    let server = Running::start(&data, &[]);
    assert_eq!(server.lines, [format!("Listening on http://{}", server.address), "Ready.".to_owned()]);
    let health: Value = serde_json::from_str(body(&server.get("/_portcullis/health"))).unwrap();
    assert_eq!(health["status"], "running");
    assert_eq!(health["ready"], true);
    assert_eq!(health["functions"]["status"], "available", "{health}");
    assert!(["A1", "A2"].contains(&health["functions"]["tier"].as_str().unwrap()), "{health}");
    let health: Value = serde_json::from_str(body(&server.get("/_localstack/health"))).unwrap();
    assert_eq!(health["services"]["apigateway"], "running");
    assert_eq!(health["edition"], "portcullis");
    assert!(server.get("/_localstack/info").contains("\"uptime\":"));
    let unknown = server.get("/_portcullis/nothing");
    assert!(unknown.starts_with("HTTP/1.1 404 ") && body(&unknown).starts_with('{'), "{unknown}");
    let log = server.log();
    assert!(log.contains("isolation tier") && log.contains("memory limit"), "{log}");
    assert!(!log.contains('\u{1b}') && !log.contains("DEVELOPMENT MODE"), "{log}");
    assert_eq!(mode(&data), 0o700);
    assert_eq!(mode(&data.join("admin.sock")), 0o600);
}

#[test]
fn a_log_that_takes_nothing_hinders_nothing() {
    let full = std::fs::File::create("/dev/full").unwrap();
    let (reading, broken_pipe) = std::io::pipe().unwrap();
    drop(reading);
    for log in [full.into(), broken_pipe.into()] {
        let (_dir, data) = fresh();
        let mut server = Running::start_logging(&data, &["--log", "debug"], log);
        for path in ["/_portcullis/health", "/", "/_portcullis/nothing", "/restapis/x/y"] {
            assert!(server.get(path).starts_with("HTTP/1.1 "), "{path}");
        }
        stdout(&["status", "--data-dir", data.to_str().unwrap()]);
        server.signal(Signal::TERM);
        assert_eq!(server.wait().code(), Some(0));
    }
}

#[test]
fn a_start_that_cannot_say_it_is_ready_stops_and_says_why() {
    let (_dir, data) = fresh();
    let full = std::fs::File::create("/dev/full").unwrap();
    let mut command = portcullis(&["start", "--data-dir", data.to_str().unwrap(), "--listen", "127.0.0.1:0"]);
    let output = command.stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("standard output does not take any more") && !told.contains("panicked"), "{told}");
    assert!(!data.join("admin.sock").exists(), "it stops as it does otherwise");
}

#[test]
fn accounts_are_made_before_the_first_start_and_beside_a_running_server() {
    let (_dir, data) = fresh();
    let dir = data.to_str().unwrap();
    let account = |id: &str, name: &str| {
        let text = stdout(&["account", "create", "--data-dir", dir, "--id", id, "--name", name, "--output", "json"]);
        serde_json::from_str::<Value>(&text).unwrap()
    };
    assert_eq!(stdout(&["account", "list", "--data-dir", dir, "--output", "json"]).trim(), "[]");
    assert!(!data.exists());
    let api = account("111111111111", "api");
    let members: Vec<&String> = api.as_object().unwrap().keys().collect();
    assert_eq!(members, ["AccountId", "Name", "AccessKeyId", "SecretAccessKey"]);
    assert_eq!(mode(&data.join("credentials/111111111111.json")), 0o600);
    assert_eq!(mode(&data.join("credentials")), 0o700);

    let mut server = Running::start(&data, &[]);
    account("222222222222", "security");
    let listed = stdout(&["account", "list", "--data-dir", dir]);
    assert!(listed.contains("111111111111") && listed.contains("222222222222"), "{listed}");
    let again = run(&["account", "create", "--data-dir", dir, "--id", "111111111111", "--name", "other"]);
    assert_eq!(again.status.code(), Some(1));
    assert!(again.stdout.is_empty() && !again.stderr.is_empty());

    let exports = stdout(&["env", "--data-dir", dir, "--account", "111111111111"]);
    let key = api["AccessKeyId"].as_str().unwrap();
    assert!(exports.contains(&format!("export AWS_ENDPOINT_URL=http://{}\n", server.address)), "{exports}");
    assert!(exports.contains(&format!("export AWS_ACCESS_KEY_ID={key}\n")), "{exports}");
    let status: Value = serde_json::from_str(&stdout(&["status", "--data-dir", dir, "--output", "json"])).unwrap();
    assert_eq!(status["accounts"], 2);
    assert_eq!(status["process_id"], server.pid());
    assert!(stdout(&["status", "--data-dir", dir]).contains("Functions:     isolated (tier A"));

    server.signal(Signal::TERM);
    assert_eq!(server.wait().code(), Some(0));
    assert!(!data.join("admin.sock").exists());
    assert!(stdout(&["account", "list", "--data-dir", dir]).contains("security"));
    let stopped = run(&["status", "--data-dir", dir]);
    assert_eq!(stopped.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&stopped.stderr).contains("portcullis start"));
}

#[test]
fn what_was_acknowledged_survives_a_kill_and_the_dead_socket_is_no_hindrance() {
    let (_dir, data) = fresh();
    let dir = data.to_str().unwrap();
    let mut server = Running::start(&data, &[]);
    stdout(&["account", "create", "--data-dir", dir, "--id", "111111111111", "--name", "api", "--no-save"]);
    assert!(!data.join("credentials").exists());
    server.signal(Signal::KILL);
    server.wait();
    assert!(data.join("admin.sock").exists());
    assert!(stdout(&["account", "list", "--data-dir", dir]).contains("111111111111"));
    let server = Running::start(&data, &[]);
    server.assert_alive();
    assert!(stdout(&["account", "list", "--data-dir", dir]).contains("111111111111"));
    let without_key = run(&["env", "--data-dir", dir]);
    assert_eq!(without_key.status.code(), Some(1));
}

#[test]
fn a_second_server_gets_neither_the_data_nor_the_address() {
    let (other_dir, data) = fresh();
    let server = Running::start(&data, &[]);
    let second = run(&["start", "--data-dir", data.to_str().unwrap(), "--listen", "127.0.0.1:0"]);
    let told = String::from_utf8_lossy(&second.stderr).into_owned();
    assert_eq!(second.status.code(), Some(1));
    assert!(told.contains(&format!("is in use by process {}", server.pid())) && told.contains("--data-dir"), "{told}");
    assert!(second.stdout.is_empty());
    let other = other_dir.path().join("other");
    let second = run(&["start", "--data-dir", other.to_str().unwrap(), "--listen", &server.address.to_string()]);
    let told = String::from_utf8_lossy(&second.stderr).into_owned();
    assert_eq!(second.status.code(), Some(1));
    assert!(told.contains("cannot listen") && told.contains("--listen"), "{told}");
    server.assert_alive();
}

#[test]
fn development_mode_is_announced_and_needs_no_kept_key() {
    let (_dir, data) = fresh();
    let dir = data.to_str().unwrap();
    let server = Running::start(&data, &["--dev-credentials"]);
    assert!(server.log().contains("DEVELOPMENT MODE"));
    let exports = stdout(&["env", "--data-dir", dir, "--account", "333333333333", "--region", "eu-west-1"]);
    assert!(exports.contains("export AWS_ACCESS_KEY_ID=333333333333\n"), "{exports}");
    assert!(exports.contains("export AWS_DEFAULT_REGION=eu-west-1\n"), "{exports}");
}

#[test]
fn a_request_in_flight_is_answered_before_the_server_stops() {
    let (_dir, data) = fresh();
    let mut server = Running::start(&data, &[]);
    let mut stream = server.connect();
    stream.write_all(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nbo").unwrap();
    // Its head has been read when another connection, made later, is answered twice on each thread.
    (0..4).for_each(|_| server.assert_alive());
    server.signal(Signal::TERM);
    std::thread::sleep(std::time::Duration::from_millis(100));
    stream.write_all(b"dy").unwrap();
    let mut answer = String::new();
    std::io::Read::read_to_string(&mut stream, &mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn wrong_usage_is_2_and_help_is_0() {
    let (_dir, data) = fresh();
    let dir = data.to_str().unwrap();
    for arguments in [
        &["frobnicate"][..],
        &["start", "--nonsense"],
        &["start", "--data-dir", dir, "--listen", "nowhere"],
        &["start", "--data-dir", dir, "--log", "a=b=c"],
        &["start", "--data-dir", dir, "--trusted-proxy", "10/8"],
        &["account", "create", "--data-dir", dir, "--id", "12", "--name", "x"],
        &["account", "create", "--data-dir", dir, "--name", "x"],
        &["config", "--config", "/nonexistent/portcullis.toml"],
    ] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{arguments:?}");
    }
    assert!(!data.exists());
    for arguments in [&["--help"][..], &["start", "--help"], &["account", "create", "--help"], &["env", "--help"]] {
        assert!(stdout(arguments).contains("Examples:"), "{arguments:?}");
    }
}

#[test]
fn config_prints_what_start_would_use() {
    let output = portcullis(&["config", "--threads", "3"])
        .env("GATEWAY_LISTEN", "0.0.0.0:4510")
        .env("PORTCULLIS_TRAIL_DIGEST_S", "60")
        .env("PORTCULLIS_STREAM_SHAPING", "true")
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    for line in [
        "threads = 3",
        "listen = \"0.0.0.0:4510\"",
        "trail_digest_s = 60",
        "dev_credentials = false",
        "stream_shaping = true",
    ] {
        assert!(text.lines().any(|printed| printed == line), "{line}: {text}");
    }
    assert!(String::from_utf8_lossy(&output.stderr).contains("GATEWAY_LISTEN"));
}

#[test]
fn without_isolation_there_is_one_account_and_a_warning() {
    let (_dir, data) = fresh();
    let dir = data.to_str().unwrap();
    let create = |id: &str| run(&["account", "create", "--data-dir", dir, "--id", id, "--name", &format!("n{id}")]);
    let refused = run(&["start", "--data-dir", dir, "--listen", "127.0.0.1:0", "--isolation", "none"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("--single-tenant"));
    let mut server = Running::start(&data, &["--isolation", "none", "--single-tenant"]);
    assert!(server.log().contains("WARNING: functions run unisolated"), "{}", server.log());
    assert!(stdout(&["status", "--data-dir", dir]).contains("Functions:     not isolated (tier C)"));
    assert!(create("111111111111").status.success());
    let second = create("222222222222");
    assert_eq!(second.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&second.stderr).contains("--isolation none"));
    server.signal(Signal::TERM);
    assert_eq!(server.wait().code(), Some(0));
    // While it does not run an account may be made; but then it does not start so again.
    assert!(create("222222222222").status.success());
    let refused = run(&["start", "--data-dir", dir, "--listen", "127.0.0.1:0", "--isolation=none", "--single-tenant"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("there are 2 accounts"));
}

#[test]
fn a_server_has_no_privileges() {
    let (_dir, data) = fresh();
    let server = Running::start(&data, &[]);
    for task in std::fs::read_dir(format!("/proc/{}/task", server.pid())).unwrap() {
        let status = std::fs::read_to_string(task.unwrap().path().join("status")).unwrap();
        for field in ["CapEff", "CapPrm", "CapInh", "CapAmb"] {
            assert!(status.contains(&format!("{field}:\t0000000000000000\n")), "{status}");
        }
        assert!(status.contains("NoNewPrivs:\t1\n"), "{status}");
    }
}

#[test]
fn a_server_that_lost_its_launcher_ends_and_says_so_last() {
    let (_dir, data) = fresh();
    let mut server = Running::start(&data, &[]);
    let health: Value = serde_json::from_str(body(&server.get("/_portcullis/health"))).unwrap();
    if health["functions"]["tier"] != "A1" {
        // Without privileges the launcher is started again, with the next function.
        return;
    }
    let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", server.pid())).unwrap();
    let launcher: i32 = children.split_whitespace().next().unwrap().parse().unwrap();
    let pid = rustix::process::Pid::from_raw(launcher).unwrap();
    rustix::process::kill_process(pid, Signal::KILL).unwrap();
    assert_eq!(server.wait().code(), Some(1));
    let log = server.log();
    assert!(log.lines().last().unwrap().contains("the launcher of sandboxes has ended"), "{log}");
    let again = Running::start(&data, &[]);
    again.assert_alive();
}
