//! A supervisor with real interpreters, and functions made of a few lines.

use std::{
    collections::BTreeMap,
    io::{Cursor, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use environment::{
    Credentials, LogSink, Options, RUNTIME_DIR, RoleCredentials, Supervisor,
    launch::{Launch, Plain},
    package, prepare,
};
use lambda::invoke::{FunctionError, Invocation, Outcome, Revision, Run, RunError};
use serde_json::Value;
use zip::{ZipWriter, write::SimpleFileOptions};

/// Finds a program on the path of whoever runs the tests.
pub fn program(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").expect("PATH");
    std::env::split_paths(&path)
        .map(|directory| directory.join(name))
        .find(|file| file.is_file())
        .unwrap_or_else(|| panic!("these tests need {name}"))
}

/// Lines written, with their stream.
#[derive(Default)]
pub struct Lines(Mutex<Vec<(String, String)>>);

impl LogSink for Lines {
    fn write(&self, _: &str, _: &str, group: &str, _stream: &str, lines: Vec<(u64, String)>) {
        self.0.lock().unwrap().extend(lines.into_iter().map(|(_, line)| (group.to_owned(), line)));
    }
}

impl Lines {
    pub fn of(&self, function: &str) -> Vec<String> {
        self.in_group(&format!("/aws/lambda/{function}"))
    }

    pub fn in_group(&self, group: &str) -> Vec<String> {
        self.0.lock().unwrap().iter().filter(|(found, _)| *found == group).map(|(_, line)| line.clone()).collect()
    }
}

struct Role;

impl Credentials for Role {
    fn for_role(&self, role_arn: &str, session: &str) -> Option<RoleCredentials> {
        role_arn.ends_with("/known").then(|| RoleCredentials {
            access_key_id: "ASIAEXAMPLE".into(),
            secret_access_key: "secret".into(),
            session_token: format!("token-of-{session}"),
            expires_at_ms: u64::MAX,
        })
    }
}

pub struct World {
    pub supervisor: Supervisor,
    pub lines: Arc<Lines>,
    pub directory: tempfile::TempDir,
}

impl World {
    pub fn new() -> World {
        World::with(|_| {})
    }

    pub fn with(change: impl FnOnce(&mut Options)) -> World {
        World::start(change, |_| Arc::new(Plain))
    }

    /// With processes from the launcher that is made for a directory of bootstraps.
    pub fn start(change: impl FnOnce(&mut Options), launcher: impl FnOnce(&Path) -> Arc<dyn Launch>) -> World {
        let directory = tempfile::tempdir().unwrap();
        let mut options = Options {
            data_dir: directory.path().join("functions"),
            node: Some(program("node")),
            python: Some(program("python3")),
            endpoint_url: Some("http://127.0.0.1:4566".into()),
            newer_runtimes: true,
            ..Options::default()
        };
        change(&mut options);
        let lines = Arc::new(Lines::default());
        let logs = Arc::clone(&lines) as Arc<dyn LogSink>;
        let launcher = launcher(&prepare(&options.data_dir).unwrap().join(RUNTIME_DIR));
        let handle = tokio::runtime::Handle::current();
        let supervisor = Supervisor::start_with(options, handle, Arc::new(Role), logs, launcher).unwrap();
        World { supervisor, lines, directory }
    }

    /// A function of the given files; the first one holds the handler `handler`.
    pub fn function(&self, runtime: &str, files: &[(&str, &str)]) -> Revision {
        let files: Vec<(&str, &[u8])> = files.iter().map(|(name, text)| (*name, text.as_bytes())).collect();
        self.package(runtime, &files)
    }

    /// As [`World::function`], of files that need not be text. What begins with `#!` or is a program can be executed.
    pub fn package(&self, runtime: &str, files: &[(&str, &[u8])]) -> Revision {
        let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
        for (name, contents) in files {
            let executable = contents.starts_with(b"#!") || contents.starts_with(b"\x7fELF");
            let mode = if executable { 0o755 } else { 0o644 };
            writer.start_file(*name, SimpleFileOptions::default().unix_permissions(mode)).unwrap();
            writer.write_all(contents).unwrap();
        }
        let zip = writer.finish().unwrap().into_inner();
        let inspected = package::inspect(&zip).unwrap();
        let code_zip = self.directory.path().join(&inspected.sha256_hex);
        std::fs::write(&code_zip, zip).unwrap();
        let module = Path::new(files[0].0).file_stem().unwrap().to_str().unwrap();
        Revision {
            account: "111122223333".into(),
            region: "us-east-1".into(),
            function: "authorizer".into(),
            version: "$LATEST".into(),
            revision_id: "1".into(),
            role_arn: "arn:aws:iam::111122223333:role/known".into(),
            runtime: runtime.into(),
            handler: format!("{module}.handler"),
            memory_mb: 128,
            timeout_s: 20,
            ephemeral_storage_mb: 512,
            environment: BTreeMap::new(),
            code_sha256: inspected.sha256_hex,
            code_zip,
            layers: Vec::new(),
            logging: lambda::invoke::Logging::default(),
        }
    }

    pub fn node(&self, code: &str) -> Revision {
        self.function("nodejs20.x", &[("index.js", code)])
    }

    pub fn python(&self, code: &str) -> Revision {
        self.function("python3.11", &[("app.py", code)])
    }

    pub async fn invoke(&self, revision: &Revision, event: &str) -> Outcome {
        self.try_invoke(revision, event).await.unwrap()
    }

    pub async fn try_invoke(&self, revision: &Revision, event: &str) -> Result<Outcome, RunError> {
        self.supervisor.run(Arc::new(revision.clone()), invocation(event)).await
    }

    /// The payload of a successful invocation.
    pub async fn result(&self, revision: &Revision, event: &str) -> String {
        let outcome = self.invoke(revision, event).await;
        let text = String::from_utf8(outcome.payload.to_vec()).unwrap();
        let log = outcome.log_tail.map(|tail| String::from_utf8_lossy(&tail).into_owned()).unwrap_or_default();
        assert_eq!(outcome.function_error, None, "{text}\n{log}");
        text
    }

    /// The payload of a failed invocation, byte for byte.
    pub async fn error_text(&self, revision: &Revision, event: &str) -> String {
        let outcome = self.invoke(revision, event).await;
        let text = String::from_utf8(outcome.payload.to_vec()).unwrap();
        assert_eq!(outcome.function_error, Some(FunctionError::Unhandled), "{text}");
        text
    }

    pub async fn error(&self, revision: &Revision, event: &str) -> Value {
        serde_json::from_str(&self.error_text(revision, event).await).unwrap()
    }

    /// The log of the invocation, as `LogResult` gives it.
    pub async fn tail(&self, revision: &Revision, event: &str) -> String {
        String::from_utf8(self.invoke(revision, event).await.log_tail.unwrap()).unwrap()
    }

    pub async fn close(self) {
        self.supervisor.shutdown(Duration::from_secs(5)).await;
        assert_eq!(self.supervisor.live_count(), 0);
        let left = std::fs::read_dir(self.directory.path().join("functions/tmp")).unwrap().count();
        assert_eq!(left, 0, "scratch directories are left");
    }
}

/// With the names of members that both Python's and Rust's clients of AWS read.
pub const CLIENT_CONTEXT: &str = r#"{"custom":{"k":"v"},"environment":{},"client":{"installation_id":"i","app_title":"t","app_version_name":"1","app_version_code":"1","app_package_name":"p"}}"#;

pub const REQUEST_ID: &str = "8476a536-e9f4-11e8-9739-2dfe598c3fcd";

pub fn invocation(event: &str) -> Invocation {
    Invocation {
        request_id: REQUEST_ID.into(),
        invoked_arn: "arn:aws:lambda:us-east-1:111122223333:function:authorizer".into(),
        payload: Bytes::copy_from_slice(event.as_bytes()),
        trace_id: Some("Root=1-5759e988-bd862e3fe1be46a994272793".into()),
        client_context: Some(CLIENT_CONTEXT.into()),
        log_tail: true,
    }
}

/// Whether a process is there with any of its threads; a zombie whose threads are all gone is not.
pub fn alive(pid: &str) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count);
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| threads > 1 || !stat.rsplit(')').next().unwrap_or("").trim_start().starts_with('Z'))
}
