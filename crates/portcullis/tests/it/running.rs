//! A server under test, in a process and a data directory of its own.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::container::Profile;

/// Longer than anything here should ever take.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The binary without any setting of this machine.
pub fn portcullis(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
    command.args(arguments).stdin(Stdio::null());
    for variable in
        ["PORTCULLIS_CONFIG", "PORTCULLIS_DATA_DIR", "PORTCULLIS_LISTEN", "GATEWAY_LISTEN", "DEBUG", "LS_LOG"]
    {
        command.env_remove(variable);
    }
    command
}

/// Runs a command to its end.
pub fn run(arguments: &[&str]) -> Output {
    portcullis(arguments).output().unwrap()
}

/// Standard output of a command that must succeed.
pub fn stdout(arguments: &[&str]) -> String {
    let output = run(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A running server; killed when dropped.
pub struct Running {
    child: Child,
    pub address: SocketAddr,
    pub data_dir: PathBuf,
    /// What it printed before it was ready.
    pub lines: Vec<String>,
}

impl Running {
    /// Starts on a free port and waits for `Ready.`.
    pub fn start(data_dir: &Path, more: &[&str]) -> Self {
        let log = std::fs::File::create(data_dir.with_extension("log")).unwrap();
        Self::start_logging(data_dir, more, log.into())
    }

    /// The same with another place for its log, of which [`Running::log`] then knows nothing.
    pub fn start_logging(data_dir: &Path, more: &[&str], log: Stdio) -> Self {
        Self::start_changed(data_dir, more, log, |_| ())
    }

    /// As root in what is left of a host in a container.
    pub fn start_in_container(data_dir: &Path, more: &[&str]) -> Self {
        let log = std::fs::File::create(data_dir.with_extension("log")).unwrap();
        Self::start_changed(data_dir, more, log.into(), |command| contain(command, Profile::new()))
    }

    fn start_changed(data_dir: &Path, more: &[&str], log: Stdio, change: impl FnOnce(&mut Command)) -> Self {
        let dir = data_dir.to_str().unwrap();
        let mut command = portcullis(&["start", "--data-dir", dir, "--listen", "127.0.0.1:0", "--threads", "2"]);
        // What it leaves there goes with the data.
        command.env("TMPDIR", data_dir.parent().unwrap());
        change(&mut command);
        let mut child = command.args(more).stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let mut lines = Vec::new();
        let mut printed = BufReader::new(child.stdout.take().unwrap()).lines();
        while lines.last().is_none_or(|line| line != "Ready.") {
            let log = || std::fs::read_to_string(data_dir.with_extension("log")).unwrap_or_default();
            lines.push(printed.next().unwrap_or_else(|| panic!("no `Ready.`: {}", log())).unwrap());
        }
        let address = lines.iter().find_map(|line| line.strip_prefix("Listening on http://")).unwrap().parse().unwrap();
        Self { child, address, data_dir: data_dir.to_owned(), lines }
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Sends bytes and reads until the server closes.
    pub fn exchange(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect();
        // A server that refuses early may stop reading early.
        let _ = stream.write_all(bytes);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }

    pub fn get(&self, path: &str) -> String {
        self.exchange(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").as_bytes())
    }

    pub fn assert_alive(&self) {
        let answer = self.get("/_portcullis/health");
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for the end of the process.
    pub fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "the server does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.data_dir.with_extension("log")).unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts a command in a container's profile.
#[expect(unsafe_code, reason = "the standard library knows no filters and no capabilities")]
fn contain(command: &mut Command, profile: Profile) {
    // SAFETY: runs between fork and exec, where only calls that are safe in a signal handler are allowed: it makes plain
    // system calls and allocates nothing ([`Profile::apply`]).
    unsafe { command.pre_exec(move || profile.apply()) };
}

/// A data directory that does not exist yet, inside one that goes away.
pub fn fresh() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    (dir, data)
}

/// Head and body of an answer.
pub fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").map_or("", |(_, body)| body)
}
