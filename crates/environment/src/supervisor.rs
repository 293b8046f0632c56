//! The supervisor: what others hold and ask.

use std::{
    io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{Arc, Weak},
    time::Duration,
};

use lambda::invoke::{BoxFuture, Invocation, Outcome, Revision, Run, RunError, StreamSink};
use tokio::{
    runtime::Handle,
    time::{Instant, MissedTickBehavior},
};

use crate::{
    invocation::{Attended, Work},
    launch::{Freezer, Launch, Layout, Plain},
    options::{Credentials, LogSink, Options},
    package::PackageError,
    pool::Shared,
    runtimes::Installed,
    shaper::Shaped,
    trees,
};

/// How long killed processes may take at shutdown, seconds.
const SHUTDOWN_S_MAX: u64 = 5;

/// How often idle environments are looked at for freezing: from a quarter of a second unused on they are frozen, and
/// after half a second at the latest when the host has time for it.
const FREEZE_EVERY: Duration = Duration::from_millis(250);

/// Marks a directory as ours.
const MARK: &str = "PORTCULLIS-FUNCTIONS";

/// Name of the directory with the bootstraps, below the one of functions.
pub const RUNTIME_DIR: &str = "runtime";

/// Mode of a directory in which things are found by their names alone.
const PASSAGE: u32 = 0o711;

const NODE_BOOTSTRAP: &str = include_str!("bootstrap/node.js");
const PYTHON_BOOTSTRAP: &str = include_str!("bootstrap/python.py");

/// What has become of provisioned concurrency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provisioned {
    /// Environments that are starting or there.
    pub allocated: u32,
    /// Environments that are there, busy ones included.
    pub available: u32,
    /// Why there are fewer than asked for, when no more are about to come.
    pub failure: Option<String>,
}

/// Runs functions. A cheap handle; the processes end with [`Supervisor::shutdown`].
#[derive(Clone)]
pub struct Supervisor {
    shared: Arc<Shared>,
}

impl Supervisor {
    /// Starts a supervisor whose processes are plain children ([`Plain`]): no isolation.
    ///
    /// An invocation runs on the caller's own runtime, which needs its reactor and its timers; `runtime` is for what
    /// nobody attends: starts, burials, and invocations whose callers have gone away. Interpreters are asked for their
    /// versions beside the start; who needs the answer first waits for it. What an earlier server left below
    /// `data_dir` is removed; no other server may use it.
    ///
    /// # Errors
    /// When `data_dir` cannot be prepared, or holds something that is not this crate's.
    pub fn start(
        options: Options,
        runtime: Handle,
        credentials: Arc<dyn Credentials>,
        logs: Arc<dyn LogSink>,
    ) -> io::Result<Supervisor> {
        Supervisor::start_with(options, runtime, credentials, logs, Arc::new(Plain))
    }

    /// As [`Supervisor::start`], with processes from `launcher`.
    ///
    /// # Errors
    /// When `data_dir` cannot be prepared, or holds something that is not this crate's.
    pub fn start_with(
        mut options: Options,
        runtime: Handle,
        credentials: Arc<dyn Credentials>,
        logs: Arc<dyn LogSink>,
        launcher: Arc<dyn Launch>,
    ) -> io::Result<Supervisor> {
        // Functions have another working directory than the server.
        let fenced = launcher.layout() == Layout::Fenced;
        options.data_dir = if fenced { prepare_open(&options.data_dir)? } else { prepare(&options.data_dir)? };
        lay_out(&options.data_dir)?;
        if fenced {
            open(&options.data_dir)?;
        }
        let shared = Arc::new(Shared::new(options, runtime.clone(), credentials, logs, launcher));
        runtime.spawn(reap(Arc::downgrade(&shared)));
        if shared.options.freeze && shared.isolates() {
            runtime.spawn(freeze(Arc::downgrade(&shared)));
        }
        let asking = Arc::clone(&shared);
        runtime.spawn_blocking(move || {
            asking.installed();
        });
        Ok(Supervisor { shared })
    }

    /// The interpreters found, for deciding which runtimes can be taken. Just after the start this blocks until they
    /// have answered.
    #[must_use]
    pub fn installed(&self) -> &Installed {
        self.shared.installed()
    }

    /// Whether environments are kept apart, and hold no more in their `/tmp` than is configured.
    #[must_use]
    pub fn isolates(&self) -> bool {
        self.shared.isolates()
    }

    /// Environments ready and unused that are stopped, or about to be.
    #[must_use]
    pub fn frozen_count(&self) -> usize {
        self.shared.frozen()
    }

    /// Environments ready and unused, stopped ones included.
    #[must_use]
    pub fn warm_count(&self) -> usize {
        self.shared.idle()
    }

    /// Environments that exist in any state.
    #[must_use]
    pub fn live_count(&self) -> usize {
        self.shared.live()
    }

    /// Lets go of a function's environments, because its code or configuration changed or it was deleted: idle ones
    /// at once, busy ones when they have answered.
    pub fn retire(&self, account: &str, region: &str, function: &str) {
        self.shared.retire(|revision| {
            revision.account == account && revision.region == region && revision.function == function
        });
    }

    /// Keeps `count` environments of a published version initialised from now on, ahead of any request; 0 lets them go.
    /// They are started at once as far as the node has room (three quarters of it, and of an account's share, may be
    /// kept so), replaced when they die, and never let go for disuse.
    pub fn provision(&self, revision: &Arc<Revision>, count: u32) {
        self.shared.provision(revision, count);
    }

    /// What has become of [`Supervisor::provision`].
    #[must_use]
    pub fn provisioned(&self, revision: &Arc<Revision>) -> Provisioned {
        let (held, failure) = self.shared.provisioned(revision);
        let failure = match failure {
            _ if held.available >= held.wanted => None,
            Some(failure) if held.failures > 0 => Some(failure.to_string()),
            _ if held.crowded => {
                Some(format!("This node has room for {} of {} environments.", held.allocated, held.wanted))
            }
            _ => None,
        };
        Provisioned { allocated: held.allocated, available: held.available, failure }
    }

    /// Bare runtimes that wait for a function.
    #[must_use]
    pub fn standby_count(&self) -> usize {
        self.shared.standbys()
    }

    /// As [`Supervisor::retire`], sparing the revisions that `keep` names: a new `$LATEST` leaves versions warm.
    pub fn retire_unless(&self, account: &str, region: &str, function: &str, keep: impl Fn(&Revision) -> bool) {
        self.shared.retire(|revision| {
            revision.account == account && revision.region == region && revision.function == function && !keep(revision)
        });
    }

    /// Unpacks a revision's code and layers, unless they are there already, so that its first invocation need not.
    /// Blocks.
    ///
    /// # Errors
    /// When a package is refused, or the disk's fault.
    pub fn unpack(&self, revision: &Revision) -> Result<(), PackageError> {
        let data_dir = &self.shared.options.data_dir;
        trees::code(data_dir, revision)?;
        trees::layers(data_dir, revision).map(|_| ())
    }

    /// Takes no more requests, gives those running `grace` to end, then kills everything and waits until it is gone.
    pub async fn shutdown(&self, grace: Duration) {
        self.shared.close();
        let patient_until = Instant::now() + grace;
        let deadline = patient_until + Duration::from_secs(SHUTDOWN_S_MAX);
        while self.shared.live() > 0 && Instant::now() < deadline {
            if Instant::now() >= patient_until {
                // Again and again, for one may have been starting just now.
                self.shared.kill_all();
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        if self.shared.live() > 0 {
            tracing::error!(left = self.shared.live(), "functions are left after shutdown");
        }
    }
}

impl Run for Supervisor {
    fn run(&self, revision: Arc<Revision>, invocation: Invocation) -> BoxFuture<'_, Result<Outcome, RunError>> {
        Box::pin(Attended::new(Work::new(&self.shared, revision, invocation, None)).drive())
    }

    fn run_streaming<'a>(
        &'a self,
        revision: Arc<Revision>,
        invocation: Invocation,
        sink: Box<dyn StreamSink>,
    ) -> BoxFuture<'a, Result<Outcome, RunError>> {
        let sink = if self.shared.options.stream_shaping { Box::new(Shaped::new(sink)) } else { sink };
        Box::pin(Attended::new(Work::new(&self.shared, revision, invocation, Some(sink))).drive())
    }
}

/// Makes the directory of functions with an empty [`RUNTIME_DIR`] in it, for a launcher that starts before the
/// supervisor does, and gives its true path. Removes nothing, so that a server that finds another one on its data may
/// call it. Called again it changes nothing.
///
/// A directory that holds anything is touched only if it bears our mark, for whole trees are removed in it later.
///
/// # Errors
/// When it cannot be made, or holds something that is not this crate's.
pub fn prepare(data_dir: &Path) -> io::Result<PathBuf> {
    prepare_with(data_dir, 0o700)
}

/// As [`prepare`], for functions that look at their code where it lies, as users of their own: everybody may pass through
/// the directory, and list nothing of it.
///
/// # Errors
/// As [`prepare`].
pub fn prepare_open(data_dir: &Path) -> io::Result<PathBuf> {
    let data_dir = prepare_with(data_dir, PASSAGE)?;
    std::fs::set_permissions(data_dir.join(RUNTIME_DIR), std::fs::Permissions::from_mode(PASSAGE))?;
    Ok(data_dir)
}

fn prepare_with(data_dir: &Path, mode: u32) -> io::Result<PathBuf> {
    std::fs::create_dir_all(data_dir)?;
    let data_dir = data_dir.canonicalize()?;
    let mark = data_dir.join(MARK);
    if !mark.exists() && std::fs::read_dir(&data_dir)?.next().is_some() {
        return Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            format!("{} holds something else; functions need a directory of their own", data_dir.display()),
        ));
    }
    std::fs::write(mark, "Unpacked code and scratch files of functions. Everything here may be removed.\n")?;
    std::fs::set_permissions(&data_dir, std::fs::Permissions::from_mode(mode))?;
    std::fs::create_dir_all(data_dir.join(RUNTIME_DIR))?;
    Ok(data_dir)
}

/// Writes the bootstraps and removes what an earlier server left.
fn lay_out(data_dir: &Path) -> io::Result<()> {
    for name in ["tmp", "code"] {
        match std::fs::remove_dir_all(data_dir.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    for name in ["tmp", "code"] {
        std::fs::create_dir_all(data_dir.join(name))?;
    }
    // Ends Node's search for the nearest package.json, which would otherwise go on above our directory.
    std::fs::write(data_dir.join("code/package.json"), "{}")?;
    std::fs::write(data_dir.join("runtime/package.json"), "{}")?;
    std::fs::write(data_dir.join("runtime/bootstrap.cjs"), NODE_BOOTSTRAP)?;
    std::fs::write(data_dir.join("runtime/bootstrap.py"), PYTHON_BOOTSTRAP)
}

/// Lets functions read what was laid out for them, whatever the mask for new files is.
fn open(data_dir: &Path) -> io::Result<()> {
    let allow = |name: &str, mode| std::fs::set_permissions(data_dir.join(name), std::fs::Permissions::from_mode(mode));
    allow("code", PASSAGE)?;
    for name in ["code/package.json", "runtime/package.json", "runtime/bootstrap.cjs", "runtime/bootstrap.py"] {
        allow(name, 0o644)?;
    }
    Ok(())
}

/// Freezes what is idle, beside everything else: one after the other on a thread that may block, for the host may take
/// milliseconds over it.
async fn freeze(shared: Weak<Shared>) {
    let mut every = tokio::time::interval(FREEZE_EVERY);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        let Some(shared) = shared.upgrade() else { return };
        let marked = shared.mark_idle();
        drop(shared);
        if !marked.is_empty() {
            let freeze_all = move || marked.iter().filter_map(|process| process.freezer()).for_each(Freezer::freeze);
            let _ = tokio::task::spawn_blocking(freeze_all).await;
        }
    }
}

async fn reap(shared: Weak<Shared>) {
    let mut every = tokio::time::interval(Duration::from_secs(1));
    loop {
        every.tick().await;
        let Some(shared) = shared.upgrade() else { return };
        shared.reap();
    }
}
