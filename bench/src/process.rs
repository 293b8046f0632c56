//! Processes under measurement: started on one core, timed to their first sign of life, read from `/proc`.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::call::Sizes;

/// Lines a process may print before it is ready.
const LINES_MAX: usize = 100;
/// How long a process may take to stop.
const STOP_MAX: Duration = Duration::from_secs(20);

/// Something that answers requests.
pub trait Answering {
    /// Where.
    fn address(&self) -> SocketAddr;
    /// CPU time of all its threads so far, nanoseconds.
    fn cpu_ns(&self) -> Result<u64>;
}

/// A started process that has said where it listens. Killed when dropped.
pub struct Started {
    pub address: SocketAddr,
    /// From its start to the line `Ready.`.
    pub ready_after: Duration,
    child: Child,
    /// Kept open, so that the process may go on writing.
    _output: BufReader<ChildStdout>,
}

/// Pins this process and what it starts from now on.
///
/// # Errors
/// When there is no `taskset` or no such core.
pub fn pin_self(core: usize) -> Result<()> {
    let done = Command::new("taskset")
        .args(["-cp", &core.to_string(), &std::process::id().to_string()])
        .stdout(Stdio::null())
        .status()
        .context("cannot start `taskset` (package util-linux)")?;
    if !done.success() {
        bail!("core {core} cannot be used; the benchmark needs two cores");
    }
    Ok(())
}

impl Started {
    /// The server on a data directory, with one data thread and further settings.
    ///
    /// # Errors
    /// When it does not become ready.
    pub fn server(binary: &Path, data_dir: &Path, core: usize, settings: &[&str]) -> Result<Self> {
        let mut command = pinned(core, binary);
        command
            .args(["start", "--listen", "127.0.0.1:0", "--threads", "1", "--log", "warn", "--data-dir"])
            .arg(data_dir)
            .args(settings);
        command.stderr(Stdio::null());
        Self::start(command)
    }

    /// The bare responder of this program, answering as many bytes as the server.
    ///
    /// # Errors
    /// When it does not become ready.
    pub fn responder(core: usize, sizes: &Sizes) -> Result<Self> {
        let mut command = pinned(core, &std::env::current_exe()?);
        command.args(["responder", &sizes.head.to_string(), &sizes.body.to_string()]);
        Self::start(command)
    }

    fn start(mut command: Command) -> Result<Self> {
        let began = Instant::now();
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("cannot start `taskset`")?;
        let output = child.stdout.take().context("no output")?;
        let mut output = BufReader::new(output);
        let mut address = None;
        for _ in 0..LINES_MAX {
            let mut line = String::new();
            if output.read_line(&mut line)? == 0 {
                break;
            }
            if let Some(at) = line.find("127.0.0.1:") {
                address = line[at..].split_whitespace().next().and_then(|text| text.parse().ok()).or(address);
            }
            if line.trim_end() == "Ready." {
                let ready_after = began.elapsed();
                let address = address.context("the process did not say where it listens")?;
                return Ok(Self { address, ready_after, child, _output: output });
            }
        }
        let _ = child.kill();
        bail!("{command:?} ended or talked on without a line `Ready.`: {}", child.wait()?);
    }

    /// Resident memory, KiB.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn rss_kb(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        Ok(line.trim().trim_end_matches("kB").trim().parse()?)
    }

    /// Asks the process to stop and waits for it.
    ///
    /// # Errors
    /// When it takes too long; it is killed then.
    pub fn stop(&mut self) -> Result<()> {
        Command::new("kill").arg(self.child.id().to_string()).status().context("cannot start `kill`")?;
        let began = Instant::now();
        while began.elapsed() < STOP_MAX {
            if self.child.try_wait()?.is_some() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        bail!("a process did not stop within {} s", STOP_MAX.as_secs())
    }
}

/// A command on one core. `taskset` becomes the program it starts, so the process id is the program's.
fn pinned(core: usize, program: &Path) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", &core.to_string()]).arg(program);
    command
}

impl Answering for Started {
    fn address(&self) -> SocketAddr {
        self.address
    }

    fn cpu_ns(&self) -> Result<u64> {
        let mut sum = 0;
        for thread in fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            // A thread may end while the list is read.
            let Ok(text) = fs::read_to_string(thread?.path().join("schedstat")) else { continue };
            sum += text.split_whitespace().next().unwrap_or_default().parse::<u64>().context("schedstat")?;
        }
        Ok(sum)
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
