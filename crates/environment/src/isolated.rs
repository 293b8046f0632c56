//! Environments in sandboxes: [`Launch`] over the launcher process of the crate `sandbox`.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use sandbox::{Exec, InUse, Launcher, Meter, Rank, Request, Tier, Usage};

use crate::{
    launch::{
        API_PORT, Exit, Freezer, Launch, Launched, Layout, Listeners, Memory, PROXY_PORT, Process, RUNTIME_API_PORT,
        Spec,
    },
    runtimes::{Family, Installed, Interpreter},
};

/// Memory that gives a function one whole core, MB. Source: AWS Lambda Developer Guide, "Configure Lambda function
/// memory".
const CORE_MB: u32 = 1_769;
/// Where interpreters that do not lie below `/usr` are seen.
const LANG: &str = "/var/lang";

const MIB: u64 = 1_024 * 1_024;

/// Every environment in a sandbox of its own.
///
/// A launcher that ends takes every sandbox with it. It is started anew once, if that was provided for
/// ([`Isolated::restartable`]) and the new one isolates as well as the first did: a server that has given up its
/// privileges has none to hand on, so after a privileged one this fails, and functions do not run until the server is
/// started again.
pub struct Isolated {
    tier: Tier,
    restart: Option<(PathBuf, sandbox::Options)>,
    current: Mutex<Current>,
}

struct Current {
    launcher: Arc<Launcher>,
    restarted: bool,
    binds: Vec<(PathBuf, PathBuf)>,
}

impl Isolated {
    /// Sandboxes made by `launcher`.
    #[must_use]
    pub fn new(launcher: Arc<Launcher>) -> Isolated {
        let tier = launcher.report().tier;
        Isolated { tier, restart: None, current: Mutex::new(Current { launcher, restarted: false, binds: Vec::new() }) }
    }

    /// The same, with what it takes to start the launcher again.
    #[must_use]
    pub fn restartable(mut self, program: PathBuf, options: sandbox::Options) -> Isolated {
        self.restart = Some((program, options));
        self
    }

    /// How much of a function's memory may be its `/tmp`, bytes.
    fn tmp_in_memory(&self, request: &Request) -> u64 {
        if self.layout() == Layout::Own { request.tmp_bytes } else { 0 }
    }

    fn launcher(&self) -> Arc<Launcher> {
        Arc::clone(&self.current.lock().unwrap_or_else(PoisonError::into_inner).launcher)
    }

    /// Another launcher in the place of one that has ended.
    fn again(&self, ended: &Arc<Launcher>) -> io::Result<Arc<Launcher>> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if !Arc::ptr_eq(&current.launcher, ended) {
            return Ok(Arc::clone(&current.launcher));
        }
        let gone = |why: &str| {
            let text = format!("the launcher of execution environments has ended and {why}; restart the server");
            io::Error::new(io::ErrorKind::Unsupported, text)
        };
        let (program, options) = match &self.restart {
            Some(restart) if !current.restarted => restart,
            _ => return Err(gone("is not started again")),
        };
        current.restarted = true;
        tracing::error!("the launcher of execution environments has ended; it is started again, once");
        let launcher =
            Launcher::start(program, options).map_err(|error| gone(&format!("cannot be started ({error})")))?;
        let tier = launcher.report().tier;
        if tier < self.tier {
            return Err(gone(&format!("a new one could isolate less well ({tier} rather than {})", self.tier)));
        }
        launcher.provide(&current.binds).map_err(|error| gone(&error.to_string()))?;
        current.launcher = Arc::new(launcher);
        Ok(Arc::clone(&current.launcher))
    }
}

impl Launch for Isolated {
    fn launch(&self, spec: &Spec) -> io::Result<Launched> {
        let exec = Exec {
            program: spec.program.clone(),
            arguments: spec.arguments.clone(),
            environment: spec.environment.clone(),
            directory: spec.directory.clone(),
        };
        let request = request(spec);
        let launcher = self.launcher();
        let (launcher, launched) = match launcher.launch(&request, &exec) {
            Err(_) if has_ended(&launcher) => {
                let launcher = self.again(&launcher)?;
                let launched = launcher.launch(&request, &exec).map_err(told)?;
                (launcher, launched)
            }
            launched => (launcher, launched.map_err(told)?),
        };
        let mut listeners = launched.listeners.into_iter();
        let listeners = match (listeners.next(), listeners.next(), listeners.next()) {
            (Some(runtime_api), Some(api), Some(proxy)) => Some(Listeners { runtime_api, api, proxy }),
            _ => None,
        };
        let counter = match launched.usage {
            Some(usage) => Ok(Counter::Group(usage)),
            None => Meter::new(&launched.pidfd).map(Counter::Processes),
        };
        let counter = counter.map_err(|error| {
            launcher.kill(launched.id);
            let _ = launcher.reap(launched.id);
            io::Error::other(format!("the memory of a function can be neither limited nor measured here: {error}"))
        })?;
        let process = Sandbox {
            launcher,
            id: launched.id,
            pidfd: launched.pidfd,
            status: launched.status,
            counter,
            rank: launched.rank,
            weight: AtomicU32::new(request.cpu_weight),
            freezer: launched.freezer.map(|freezer| Freezer::new(move |frozen| freezer.set(frozen))),
            seen: Seen::default(),
            limits: [AtomicU64::new(request.memory_bytes), AtomicU64::new(self.tmp_in_memory(&request))],
            exit: OnceLock::new(),
        };
        Ok(Launched { socket: launched.socket, output: launched.output, process: Box::new(process), listeners })
    }

    fn layout(&self) -> Layout {
        if self.tier < Tier::A2 { Layout::Fenced } else { Layout::Own }
    }

    fn provide(&self, binds: &[(PathBuf, PathBuf)]) -> io::Result<()> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        current.launcher.provide(binds).map_err(told)?;
        current.binds.extend_from_slice(binds);
        Ok(())
    }
}

/// Keeps the kind, which callers look at, and tells the step.
#[expect(clippy::needless_pass_by_value, reason = "used as a function in `map_err`")]
fn told(error: sandbox::Error) -> io::Error {
    // Unsupported means that nothing can ever run; one step that the host does not know is no such thing.
    let kind = match error.source.kind() {
        io::ErrorKind::Unsupported => io::ErrorKind::Other,
        kind => kind,
    };
    io::Error::new(kind, error.to_string())
}

fn has_ended(launcher: &Launcher) -> bool {
    launcher.watch().is_ok_and(|watch| is_readable(&watch))
}

fn is_readable(descriptor: &OwnedFd) -> bool {
    let mut polled = [PollFd::from_borrowed_fd(descriptor.as_fd(), PollFlags::IN)];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut polled, Some(&at_once)).is_ok_and(|ready| ready > 0)
}

/// Limits of a function: its memory, and processor time in proportion to it, capped at whole cores.
///
/// A standby is started with the least weight, so that it takes nothing from functions that run.
fn request(spec: &Spec) -> Request {
    let weight = u64::from(spec.memory_mb) * 100 / u64::from(CORE_MB);
    Request {
        memory_bytes: u64::from(spec.memory_mb) * MIB,
        tmp_bytes: u64::from(spec.tmp_mb) * MIB,
        cpu_millis: spec.memory_mb.div_ceil(CORE_MB).max(1).saturating_mul(1_000),
        cpu_weight: if spec.code.is_none() { 1 } else { u32::try_from(weight.clamp(2, 10_000)).unwrap_or(10_000) },
        code: spec.code.clone(),
        layers: spec.layers.clone(),
        ports: if spec.listens { vec![RUNTIME_API_PORT, API_PORT, PROXY_PORT] } else { Vec::new() },
    }
}

/// What tells how much memory a sandbox has in use.
enum Counter {
    /// Its control group, which has a limit as well.
    Group(Usage),
    /// Its processes, where it has none.
    Processes(Meter),
}

/// The most that was ever seen, bytes.
#[derive(Default)]
struct Seen {
    anonymous: AtomicU64,
    shared: AtomicU64,
}

impl Seen {
    /// Takes a measurement in; gives the most memory that the function itself can have had, given that all that was in
    /// use came to `whole` at most. `/tmp` is not in it.
    fn peak(&self, now: InUse, whole: u64, limit: u64) -> u64 {
        let most = |seen: &AtomicU64, now: u64| seen.fetch_max(now, Ordering::Relaxed).max(now);
        let (anonymous, shared) = (most(&self.anonymous, now.anonymous), most(&self.shared, now.shared));
        // A file that came and went unseen is still in `whole`.
        whole.saturating_sub(shared).max(anonymous).min(limit)
    }
}

/// One sandbox.
struct Sandbox {
    launcher: Arc<Launcher>,
    id: sandbox::SandboxId,
    pidfd: OwnedFd,
    status: OwnedFd,
    counter: Counter,
    rank: Option<Rank>,
    weight: AtomicU32,
    freezer: Option<Freezer>,
    seen: Seen,
    /// Of memory and of `/tmp`, bytes.
    limits: [AtomicU64; 2],
    /// The record can be read once.
    exit: OnceLock<Exit>,
}

impl Process for Sandbox {
    fn watch(&self) -> io::Result<OwnedFd> {
        self.pidfd.try_clone()
    }

    fn exited(&self) -> Option<Exit> {
        if let Some(exit) = self.exit.get() {
            return Some(*exit);
        }
        is_readable(&self.pidfd).then(|| {
            *self.exit.get_or_init(|| match sandbox::exit_and_step(&self.status) {
                (sandbox::Exit::Code(code), _) => Exit::Code(code),
                (sandbox::Exit::Signal(signal), _) => Exit::Signal(signal),
                (sandbox::Exit::Killed, _) => Exit::Signal(9),
                (sandbox::Exit::NotExecuted(errno), step) => {
                    let error = io::Error::from_raw_os_error(errno);
                    tracing::error!(%error, step, "a program could not be executed in its sandbox");
                    Exit::NotExecuted(errno)
                }
            })
        })
    }

    fn kill(&self) {
        // The launcher thaws what it has killed.
        self.freezer.iter().for_each(Freezer::end);
        self.launcher.kill(self.id);
        if let Some(freezer) = &self.freezer
            && has_ended(&self.launcher)
        {
            // The kernel has killed it, but what is frozen may not hear of that.
            let _ = freezer.thaw();
        }
    }

    fn give_way(&self, gives: bool) {
        let Some(rank) = &self.rank else { return };
        let ranked = if gives { rank.put_last() } else { rank.put_back(self.weight.load(Ordering::Relaxed)) };
        // It fails when there is no group any more, and then there is nothing to rank.
        let _ = ranked;
    }

    fn freezer(&self) -> Option<&Freezer> {
        self.freezer.as_ref()
    }

    fn thaw(&self) -> io::Result<()> {
        let thawed = self.freezer.as_ref().map_or(Ok(false), Freezer::thaw)?;
        // Who was frozen when the launcher ended dies only now.
        if thawed && has_ended(&self.launcher) { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(()) }
    }

    fn reap(&self) -> bool {
        match self.launcher.reap(self.id) {
            Ok(()) => true,
            // With a launcher everything ends; what it leaves, the next one sweeps.
            Err(_) if has_ended(&self.launcher) => true,
            Err(error) if error.source.kind() == io::ErrorKind::WouldBlock => false,
            Err(error) => {
                tracing::error!(%error, "something of a sandbox is left; it is tried again");
                false
            }
        }
    }

    fn memory(&self) -> Option<Memory> {
        let [limit, tmp] = self.limits.each_ref().map(|limit| limit.load(Ordering::Relaxed));
        match &self.counter {
            Counter::Group(usage) => {
                let now = usage.in_use().ok()?;
                let peak = self.seen.peak(now, usage.memory_bytes_peak().ok()?, limit);
                Some(Memory { now: now.anonymous, peak })
            }
            Counter::Processes(meter) => {
                let found = meter.in_use(limit).ok()?;
                // More than `/tmp` can hold is memory that processes share, and theirs.
                let now = found.anonymous.saturating_add(found.shared.saturating_sub(tmp));
                Some(Memory { now, peak: self.seen.peak(found, 0, limit) })
            }
        }
    }

    fn out_of_memory(&self) -> bool {
        matches!(&self.counter, Counter::Group(usage) if usage.memory_kills().is_ok_and(|count| count > 0))
    }

    fn assign(&self, spec: &Spec) -> io::Result<()> {
        let request = request(spec);
        for (limit, bytes) in self.limits.iter().zip([request.memory_bytes, request.tmp_bytes]) {
            limit.store(bytes, Ordering::Relaxed);
        }
        self.weight.store(request.cpu_weight, Ordering::Relaxed);
        self.launcher.assign(self.id, &request).map_err(told)
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        // Usually reaped long ago; again costs a round trip and does no harm.
        self.kill();
    }
}

/// What is seen where, for interpreters that do not lie in the host's system directories.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Places {
    /// Paths on the host and inside.
    pub(crate) binds: Vec<(PathBuf, PathBuf)>,
    /// Paths on the host that could not be shown inside, and why.
    pub(crate) unseen: Vec<(PathBuf, String)>,
    node: Option<PathBuf>,
    python: Option<PathBuf>,
}

impl Places {
    /// Where the interpreters will be.
    pub(crate) fn of(installed: &Installed) -> Places {
        let mut places = Places::default();
        places.python = installed.python.as_ref().and_then(|found| places.place(found, Family::Python));
        places.node = installed.node.as_ref().and_then(|found| places.place(found, Family::Node));
        places
    }

    /// What must be shown where it lies, for the same interpreters.
    pub(crate) fn in_place(installed: &Installed) -> Places {
        let hosts = Places::of(installed).binds.into_iter().map(|(host, _)| host);
        Places { binds: hosts.map(|host| (host.clone(), host)).collect(), ..Places::default() }
    }

    /// The path inside of an interpreter, if it is another than outside.
    pub(crate) fn program(&self, family: Family) -> Option<&Path> {
        match family {
            Family::Node => self.node.as_deref(),
            Family::Python => self.python.as_deref(),
            Family::Provided => None,
        }
    }

    /// Why an interpreter cannot be run inside, if it cannot: a sentence for who called the function.
    pub(crate) fn refusal(&self, interpreter: &Interpreter) -> Option<String> {
        let path = interpreter.path.canonicalize().ok()?;
        let (_, why) = self.unseen.iter().find(|(host, _)| path.starts_with(host))?;
        Some(format!(
            "The interpreter {} cannot be used by functions on this server: {why}. Start the server with --node or --python \
             PATH of one that can, such as one below /usr.",
            path.display()
        ))
    }

    /// Binds an interpreter's whole installation if that is what its folder is, otherwise the executable alone:
    /// whatever else lies beside it (a home directory, say) is nobody's business inside.
    fn place(&mut self, interpreter: &Interpreter, family: Family) -> Option<PathBuf> {
        let executable = interpreter.path.canonicalize().ok()?;
        if ["/usr", "/bin", "/lib", "/lib64", "/sbin"].iter().any(|system| executable.starts_with(system)) {
            return Some(executable);
        }
        let name = executable.file_name()?.to_owned();
        let prefix = executable.parent().filter(|bin| bin.ends_with("bin")).and_then(Path::parent);
        let (major, minor) = interpreter.version;
        let landmark = match family {
            Family::Node => "include/node/node.h".to_owned(),
            _ => format!("lib/python{major}.{minor}/os.py"),
        };
        let whole = prefix.filter(|prefix| *prefix != Path::new("/") && prefix.join(&landmark).is_file());
        let known = whole.and_then(|prefix| self.binds.iter().find(|(host, _)| host == prefix));
        if let Some((_, inside)) = known {
            return Some(inside.join("bin").join(name));
        }
        let root = if self.binds.is_empty() { PathBuf::from(LANG) } else { PathBuf::from(format!("{LANG}-node")) };
        let inside = root.join("bin").join(&name);
        match whole {
            Some(prefix) => self.binds.push((prefix.to_owned(), root)),
            None => self.binds.push((executable, inside.clone())),
        }
        Some(inside)
    }
}

#[cfg(test)]
mod tests;
