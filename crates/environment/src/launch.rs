//! How the process of an environment comes to be: the seam at which isolation is put.
//!
//! [`Launch`] gives a frame socket, the function's output and a handle to the process tree; the rest of the crate
//! cares for nothing else. [`Plain`] is the implementation without isolation.

use std::{
    ffi::OsString,
    fs, io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::{net::UnixStream, process::CommandExt},
    },
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{Mutex, PoisonError},
};

use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, kill_process_group, pidfd_open, waitid};
use tokio::io::{Interest, unix::AsyncFd};

/// What to start.
pub struct Spec {
    /// The interpreter.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// The whole environment of the process; holds secrets, so it is neither printed nor put on a command line.
    pub environment: Vec<(String, String)>,
    /// The unpacked code, which is the working directory.
    pub directory: PathBuf,
}

/// A process that has been started.
pub struct Launched {
    /// Our end of the frame socket; the process has its end as descriptor 3.
    pub socket: UnixStream,
    /// Standard output and standard error of the process, in one pipe so that their order is kept.
    pub output: OwnedFd,
    /// The process itself.
    pub process: Box<dyn Process>,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It exited with this code.
    Code(i32),
    /// It was ended by this signal.
    Signal(i32),
    /// Nobody knows.
    Unknown,
}

/// A started process with all it has started in turn.
pub trait Process: Send + Sync {
    /// A descriptor that becomes readable when the process has exited.
    ///
    /// # Errors
    /// When no more descriptors can be had.
    fn watch(&self) -> io::Result<OwnedFd>;

    /// How it ended, if it has; does not reap.
    fn exited(&self) -> Option<Exit>;

    /// Kills everything, at once and without asking. May be called at any time, any number of times.
    fn kill(&self);

    /// Frees what is left once [`Process::watch`] has become readable.
    fn reap(&self);

    /// Memory in use now and at most so far, bytes.
    fn memory(&self) -> Option<Memory>;
}

/// A [`Process::watch`] descriptor on the reactor of the current runtime.
#[expect(deprecated, reason = "the successor is unsafe for types that change their descriptor; an `OwnedFd` does not")]
pub(crate) fn on_reactor(watch: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(watch, Interest::READABLE)
}

/// Memory of a process, bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// Resident now.
    pub now: u64,
    /// Most that ever was.
    pub peak: u64,
}

/// Starts processes. Called from threads that may block.
pub trait Launch: Send + Sync {
    /// Starts one.
    ///
    /// # Errors
    /// When the host has no process, descriptor or memory left, or the program is not there.
    fn launch(&self, spec: &Spec) -> io::Result<Launched>;
}

/// Child processes in a process group of their own, under the server's user, with no isolation at all.
///
/// The environment is cleared, core dumps are off and descriptors are limited to AWS's 1,024. Killing is by process
/// group, so what a function forks dies with it unless it has left the group (`setsid`); only a process namespace
/// can stop that.
#[derive(Debug, Clone, Copy, Default)]
pub struct Plain;

/// Moves the socket from standard input to descriptor 3, gives the function an empty standard input, and sets limits.
/// A shell does this because it can: the standard library can hand over no other descriptors than 0, 1 and 2, and
/// doing it between fork and exec needs `unsafe`. It costs about a millisecond of a start.
const ENTER: &str = "ulimit -c 0 2>/dev/null; ulimit -n 1024 2>/dev/null; exec \"$0\" \"$@\" 3<&0 </dev/null";

impl Launch for Plain {
    fn launch(&self, spec: &Spec) -> io::Result<Launched> {
        let (ours, theirs) = UnixStream::pair()?;
        let (reader, writer) = io::pipe()?;
        let child = Command::new("/bin/sh")
            .arg("-c")
            .arg(ENTER)
            .arg(&spec.program)
            .args(&spec.arguments)
            .env_clear()
            .envs(spec.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(&spec.directory)
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(writer.try_clone()?)
            .stderr(writer)
            .process_group(0)
            .spawn()?;
        let process = Group::adopt(child)?;
        Ok(Launched { socket: ours, output: reader.into(), process: Box::new(process) })
    }
}

/// A process group, known by its leader.
struct Group {
    pid: Pid,
    pidfd: OwnedFd,
    /// `None` once reaped. INVARIANT: while it is `Some` the leader's number is not given to another process, so
    /// signals to the group hit nobody else.
    child: Mutex<Option<Child>>,
}

impl Group {
    fn adopt(mut child: Child) -> io::Result<Group> {
        let opened = i32::try_from(child.id())
            .ok()
            .and_then(Pid::from_raw)
            .ok_or_else(|| io::Error::other("a process without a number"))
            .and_then(|pid| Ok((pid, pidfd_open(pid, PidfdFlags::empty())?)));
        match opened {
            Ok((pid, pidfd)) => Ok(Group { pid, pidfd, child: Mutex::new(Some(child)) }),
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(error)
            }
        }
    }
}

impl Process for Group {
    fn watch(&self) -> io::Result<OwnedFd> {
        self.pidfd.try_clone()
    }

    fn exited(&self) -> Option<Exit> {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
        match waitid(WaitId::PidFd(self.pidfd.as_fd()), options) {
            Ok(None) => None,
            Ok(Some(status)) => Some(match (status.exit_status(), status.terminating_signal()) {
                (_, Some(signal)) => Exit::Signal(signal),
                (Some(code), _) => Exit::Code(code),
                _ => Exit::Unknown,
            }),
            Err(_) => Some(Exit::Unknown),
        }
    }

    fn kill(&self) {
        let child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        if child.is_some() {
            let _ = kill_process_group(self.pid, Signal::KILL);
        }
    }

    fn reap(&self) {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(mut child) = child.take() {
            // Whatever the leader left behind in its group; its own number is still held by the zombie.
            let _ = kill_process_group(self.pid, Signal::KILL);
            let _ = child.wait();
        }
    }

    fn memory(&self) -> Option<Memory> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid.as_raw_nonzero())).ok()?;
        let field = |name: &str| {
            let rest = status.lines().find_map(|line| line.strip_prefix(name))?;
            rest.trim().trim_end_matches("kB").trim().parse::<u64>().ok()?.checked_mul(1_024)
        };
        Some(Memory { now: field("VmRSS:")?, peak: field("VmHWM:")? })
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
        self.reap();
    }
}
