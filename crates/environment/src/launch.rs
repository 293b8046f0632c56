//! How the process of an environment comes to be: the seam at which isolation is put.
//!
//! [`Launch`] gives a frame socket, the function's output and a handle to the process tree; the rest of the crate
//! cares for nothing else. [`crate::Isolated`] puts every environment into a sandbox of its own; [`Plain`] is the
//! implementation without isolation, and [`Refusing`] the one for hosts that cannot isolate.

use std::{
    ffi::OsString,
    fs, io,
    net::{Ipv4Addr, TcpListener},
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

pub use crate::freezer::Freezer;

/// Port of the Runtime API on an environment's own loopback.
pub const RUNTIME_API_PORT: u16 = 9001;
/// Port of this server's API on an environment's own loopback.
pub const API_PORT: u16 = 4566;
/// Port of the way out on an environment's own loopback.
pub const PROXY_PORT: u16 = 3128;

/// Where paths in a [`Spec`] are understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// In a root of the environment's own: `/var/task`, `/var/runtime`, `/opt`, `/tmp`, and interpreters that are not
    /// below `/usr` at `/var/lang`.
    Own,
    /// On the host, of which little else is to be seen: the true directories, no network, and a directory for `/tmp` that
    /// the launcher makes and names in `TMPDIR`. There are no standbys, and no [`Launched::listeners`].
    Fenced,
    /// On the host: the true directories, for processes without a root of their own.
    Host,
}

/// What to start.
#[derive(Default)]
pub struct Spec {
    /// The interpreter, as the process sees it.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// The whole environment of the process; holds secrets, so it is neither printed nor put on a command line.
    pub environment: Vec<(String, String)>,
    /// The working directory, as the process sees it.
    pub directory: PathBuf,
    /// The unpacked code on the host; `None` for a standby, which gets it by [`Process::assign`].
    pub code: Option<PathBuf>,
    /// The merged layers on the host, if there are any.
    pub layers: Option<PathBuf>,
    /// Memory of the function, MB.
    pub memory_mb: u32,
    /// Size of `/tmp`, MB. Not enforced without a root of one's own.
    pub tmp_mb: u32,
    /// A directory on the host for the process alone, made by the launcher where the layout is [`Layout::Host`].
    pub scratch: PathBuf,
    /// Whether [`Launched::listeners`] are wanted.
    pub listens: bool,
}

/// A process that has been started.
pub struct Launched {
    /// Our end of the frame socket ([`sandbox::frame_pair`]); the process has its end as descriptor 3.
    pub socket: UnixStream,
    /// Standard output and standard error of the process, in one pipe so that their order is kept.
    pub output: OwnedFd,
    /// The process itself.
    pub process: Box<dyn Process>,
    /// What the process can reach, when asked for.
    pub listeners: Option<Listeners>,
}

/// Sockets that listen where the process can connect to, and nobody else's can.
#[derive(Debug)]
pub struct Listeners {
    /// `127.0.0.1:9001` inside.
    pub runtime_api: TcpListener,
    /// `127.0.0.1:4566` inside.
    pub api: TcpListener,
    /// `127.0.0.1:3128` inside.
    pub proxy: TcpListener,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It exited with this code.
    Code(i32),
    /// It was ended by this signal.
    Signal(i32),
    /// It could not be executed: the host's error number.
    NotExecuted(i32),
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

    /// Frees what is left once [`Process::watch`] has become readable; `false` when something is still in use, and it
    /// is to be asked for again. May block for a while.
    fn reap(&self) -> bool;

    /// Memory in use now and at most so far, bytes.
    fn memory(&self) -> Option<Memory>;

    /// Whether the host has killed anything inside for want of memory. A limit that is enforced by the host needs no
    /// other; where this is never `true`, [`Process::memory`] must be looked at.
    fn out_of_memory(&self) -> bool;

    /// Has others go before it when cores are short, or not any more. Where the host cannot do that it is not done.
    fn give_way(&self, _gives: bool) {}

    /// What stops it while nobody uses it; `None` where the host has nothing for that.
    fn freezer(&self) -> Option<&Freezer> {
        None
    }

    /// Lets it run if it was frozen; costs nothing if it was not.
    ///
    /// # Errors
    /// When it cannot be thawed, or is bound to die of it; the process must then be killed.
    fn thaw(&self) -> io::Result<()> {
        self.freezer().map_or(Ok(()), |freezer| freezer.thaw().map(drop))
    }

    /// Mounts code and layers into a standby and sets its limits to those of `spec`. Blocks for about a millisecond.
    ///
    /// # Errors
    /// When that failed; the process must then be killed.
    fn assign(&self, spec: &Spec) -> io::Result<()>;
}

/// A [`Process::watch`] descriptor on the reactor of the current runtime.
#[expect(deprecated, reason = "the successor is unsafe for types that change their descriptor; an `OwnedFd` does not")]
pub(crate) fn on_reactor(watch: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(watch, Interest::READABLE)
}

/// Memory of a process, bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// What its processes have in use now; files are not in it.
    pub now: u64,
    /// Most that ever was.
    pub peak: u64,
}

/// Starts processes. Called from threads that may block.
pub trait Launch: Send + Sync {
    /// Starts one.
    ///
    /// # Errors
    /// When the host has no process, descriptor or memory left, or the program is not there. Of kind
    /// [`io::ErrorKind::Unsupported`] when nothing can ever be started here: the text is for whoever called.
    fn launch(&self, spec: &Spec) -> io::Result<Launched>;

    /// What the paths of a [`Spec`] mean.
    fn layout(&self) -> Layout;

    /// Makes interpreters reachable for processes to come; called once, when they are known. Pairs of a path on the
    /// host and where it is to be seen; nothing to do where the layout is [`Layout::Host`].
    ///
    /// # Errors
    /// When that cannot be done.
    fn provide(&self, binds: &[(PathBuf, PathBuf)]) -> io::Result<()> {
        let _ = binds;
        Ok(())
    }
}

/// Starts nothing: for hosts on which functions must not run.
#[derive(Debug, Clone)]
pub struct Refusing {
    /// What is missing and how to mend it; the caller of Invoke reads it.
    pub why: String,
}

impl Launch for Refusing {
    fn launch(&self, _: &Spec) -> io::Result<Launched> {
        Err(io::Error::new(io::ErrorKind::Unsupported, self.why.clone()))
    }

    fn layout(&self) -> Layout {
        Layout::Own
    }
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
        fs::create_dir_all(&spec.scratch)?;
        let listeners = spec.listens.then(Listeners::on_host).transpose()?;
        let mut environment = spec.environment.clone();
        if let Some(listeners) = &listeners {
            listeners.rewrite(&mut environment)?;
        }
        let (ours, theirs) = sandbox::frame_pair()?;
        let (reader, writer) = io::pipe()?;
        let child = Command::new("/bin/sh")
            .arg("-c")
            .arg(ENTER)
            .arg(&spec.program)
            .args(&spec.arguments)
            .env_clear()
            .envs(environment)
            .current_dir(&spec.directory)
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(writer.try_clone()?)
            .stderr(writer)
            .process_group(0)
            .spawn()?;
        let process = Group::adopt(child)?;
        Ok(Launched { socket: ours, output: reader.into(), process: Box::new(process), listeners })
    }

    fn layout(&self) -> Layout {
        Layout::Host
    }
}

impl Listeners {
    /// On the host's loopback, where every process of the host can connect: for [`Plain`] alone.
    fn on_host() -> io::Result<Listeners> {
        let bind = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
        Ok(Listeners { runtime_api: bind()?, api: bind()?, proxy: bind()? })
    }

    /// Puts the true address of the Runtime API where the well-known one stands.
    fn rewrite(&self, environment: &mut [(String, String)]) -> io::Result<()> {
        let address = self.runtime_api.local_addr()?.to_string();
        for (_, value) in environment.iter_mut().filter(|(name, _)| name == "AWS_LAMBDA_RUNTIME_API") {
            value.clone_from(&address);
        }
        Ok(())
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

    fn reap(&self) -> bool {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(mut child) = child.take() {
            // Whatever the leader left behind in its group; its own number is still held by the zombie.
            let _ = kill_process_group(self.pid, Signal::KILL);
            let _ = child.wait();
        }
        true
    }

    fn memory(&self) -> Option<Memory> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid.as_raw_nonzero())).ok()?;
        let field = |name: &str| {
            let rest = status.lines().find_map(|line| line.strip_prefix(name))?;
            rest.trim().trim_end_matches("kB").trim().parse::<u64>().ok()?.checked_mul(1_024)
        };
        Some(Memory { now: field("VmRSS:")?, peak: field("VmHWM:")? })
    }

    fn out_of_memory(&self) -> bool {
        false
    }

    fn assign(&self, _: &Spec) -> io::Result<()> {
        // The code lies where the process can see it anyhow, and nothing limits it.
        Ok(())
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
        self.reap();
    }
}
