//! Functions in their environments next to the same runtimes without a supervisor.
//!
//! The yardstick of a warm call is the bootstrap at the other end of a socket pair, in the same kind of sandbox, with
//! a caller that writes a frame and reads one. The yardstick of a cold start is a plain child process that loads the
//! same function. Both take turns with the supervisor in rounds, so that whatever else the machine does meets both.

mod cold;
pub mod functions;
mod raw;
pub mod table;
mod warm;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, Result, bail};
use environment::{
    Isolated, LogSink, NoCredentials, Options, RUNTIME_DIR, Standbys, Supervisor,
    launch::{Launch, Plain},
};
use sandbox::{Launcher, Tier};

use crate::say;
use functions::{Function, Language};
use table::Table;
pub use warm::{Quantiles, told};

/// What was asked for on the command line.
struct Arguments {
    results: PathBuf,
    rounds: usize,
    calls: usize,
    starts: usize,
}

/// The host: where things lie and how isolated they run.
pub struct Host {
    pub folder: tempfile::TempDir,
    pub runtime: tokio::runtime::Runtime,
    launcher: Arc<dyn Launch>,
    pub isolation: String,
    node: Option<PathBuf>,
    python: Option<PathBuf>,
}

/// Nobody reads these logs.
struct Nowhere;

impl LogSink for Nowhere {
    fn write(&self, _: &str, _: &str, _group: &str, _stream: &str, _lines: Vec<(u64, String)>) {}
}

/// Measures everything, prints one table and writes it to a file.
///
/// # Errors
/// When an interpreter is missing, or a function does not answer as it should.
pub fn run(arguments: &[String]) -> Result<()> {
    let arguments = parse(arguments)?;
    let host = Host::start()?;
    say(&format!("functions run {}", host.isolation))?;
    let mut table = Table::new("invoke", ["bare", "own"]);
    for language in [Language::Node, Language::Python] {
        if host.interpreter(language).is_none() {
            say(&format!("{language}: no interpreter, not measured"))?;
            continue;
        }
        let function = Function::authorizer(host.folder.path(), language)?;
        warm::latency(&host, &function, &arguments, &mut table)?;
        warm::throughput(&host, &function, &arguments, &mut table)?;
        cold::standby(&host, &function, &arguments, &mut table)?;
        cold::unpooled(&host, &function, &arguments, &mut table)?;
    }
    table.print()?;
    table.write(&arguments.results, &host.isolation)
}

fn parse(arguments: &[String]) -> Result<Arguments> {
    let mut parsed = Arguments { results: PathBuf::from("bench/results"), rounds: 7, calls: 10_000, starts: 60 };
    for pair in arguments.chunks(2) {
        let [name, value] = pair else { bail!("{} needs a value", pair[0]) };
        let number = || value.parse::<usize>().with_context(|| format!("{name} is `{value}`, which is no number"));
        match name.as_str() {
            "--results" => parsed.results = value.into(),
            "--rounds" => parsed.rounds = number()?.clamp(1, 100),
            "--calls" => parsed.calls = number()?.clamp(100, 1_000_000),
            "--starts" => parsed.starts = number()?.clamp(5, 1_000),
            _ => bail!("unknown argument `{name}`; see cargo xtask bench --help"),
        }
    }
    Ok(parsed)
}

impl Host {
    /// # Errors
    /// When the launcher cannot be started.
    pub fn start() -> Result<Host> {
        let folder = tempfile::tempdir().context("a folder for the functions")?;
        let runtime_dir = environment::prepare(&folder.path().join("functions"))?.join(RUNTIME_DIR);
        let options = sandbox::Options { runtime_dir, ..sandbox::Options::default() };
        // Before any thread is started, as the server does.
        let launcher = Launcher::start(Path::new("/proc/self/exe"), &options).context("the launcher of sandboxes")?;
        let tier = launcher.report().tier;
        let (launcher, isolation): (Arc<dyn Launch>, String) = if tier >= Tier::A2 {
            (Arc::new(Isolated::new(Arc::new(launcher))), format!("in sandboxes of tier {tier}"))
        } else {
            (Arc::new(Plain), "as plain processes, for this host cannot isolate them".to_owned())
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("functions")
            .enable_all()
            .build()?;
        Ok(Host { folder, runtime, launcher, isolation, node: find("node"), python: find("python3") })
    }

    pub fn interpreter(&self, language: Language) -> Option<&Path> {
        match language {
            Language::Node => self.node.as_deref(),
            Language::Python => self.python.as_deref(),
        }
    }

    /// A supervisor of its own for one measurement. There is one at a time, for they share a directory.
    ///
    /// # Errors
    /// When its directory cannot be prepared.
    pub fn supervisor(&self, standbys: Standbys) -> Result<Supervisor> {
        let options = Options {
            data_dir: self.folder.path().join("functions"),
            node: self.node.clone(),
            python: self.python.clone(),
            newer_runtimes: true,
            standbys,
            ..Options::default()
        };
        let handle = self.runtime.handle().clone();
        let logs = Arc::new(Nowhere);
        let supervisor =
            Supervisor::start_with(options, handle, Arc::new(NoCredentials), logs, Arc::clone(&self.launcher))?;
        let _ = supervisor.installed();
        Ok(supervisor)
    }

    /// Shuts it down at once.
    pub fn stop(&self, supervisor: &Supervisor) {
        self.runtime.block_on(supervisor.shutdown(std::time::Duration::ZERO));
    }
}

/// A runtime for one caller, as each of the server's data threads has one.
pub fn callers_runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

/// An interpreter, rather below `/usr` than anywhere else: the yardstick runs it where it is.
fn find(name: &str) -> Option<PathBuf> {
    let system = Path::new("/usr/bin").join(name);
    let path = std::env::var_os("PATH")?;
    let others = std::env::split_paths(&path).map(|folder| folder.join(name)).collect::<Vec<_>>();
    std::iter::once(system).chain(others).find(|file| file.is_file())
}
