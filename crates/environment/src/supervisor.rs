//! The supervisor: runs one invocation from request to outcome.

use std::{
    io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{Arc, Weak},
    time::Duration,
};

use bytes::Bytes;
use lambda::invoke::{BoxFuture, FunctionError, Invocation, Outcome, Revision, Run, RunError, StreamSink};
use tokio::{runtime::Handle, sync::oneshot, time::Instant};

use crate::{
    clock::{epoch_ms, iso},
    frame::{EVENT_BYTES_MAX, RESULT_BYTES_MAX},
    launch::{Exit, Launch, Plain},
    log::Report,
    options::{Credentials, LogSink, Options},
    package::PackageError,
    pool::{Failed, Failure, Grant, INIT_MS_MAX, Shared},
    process::{Call, Ending, Environment, too_large},
    runtimes::Installed,
    state::Refused,
    trees,
};

/// How long a request waits for an environment beyond what loading one may take, milliseconds: the gateway's own limit.
const PATIENCE_MS: u64 = 29_000;
/// How long killed processes may take at shutdown, seconds.
const SHUTDOWN_S_MAX: u64 = 5;

/// Marks a directory as ours.
const MARK: &str = "PORTCULLIS-FUNCTIONS";

/// Name of the directory with the bootstraps, below the one of functions.
pub const RUNTIME_DIR: &str = "runtime";

const NODE_BOOTSTRAP: &str = include_str!("bootstrap/node.js");
const PYTHON_BOOTSTRAP: &str = include_str!("bootstrap/python.py");

/// Runs functions. A cheap handle; the processes end with [`Supervisor::shutdown`].
#[derive(Clone)]
pub struct Supervisor {
    shared: Arc<Shared>,
}

impl Supervisor {
    /// Starts a supervisor whose processes are plain children ([`Plain`]): no isolation.
    ///
    /// All socket work is done on `runtime`, whatever runtime the callers are on. Interpreters are asked for their
    /// versions beside the start; who needs the answer first waits for it. What an earlier server left below `data_dir` is removed;
    /// no other server may use it.
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
        options.data_dir = prepare(&options.data_dir)?;
        lay_out(&options.data_dir)?;
        let shared = Arc::new(Shared::new(options, runtime.clone(), credentials, logs, launcher));
        runtime.spawn(reap(Arc::downgrade(&shared)));
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

    /// Environments ready and unused.
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

impl Supervisor {
    fn begin(
        &self,
        revision: Arc<Revision>,
        invocation: Invocation,
        sink: Option<Box<dyn StreamSink>>,
    ) -> BoxFuture<'_, Result<Outcome, RunError>> {
        let (sender, receiver) = oneshot::channel();
        let shared = Arc::clone(&self.shared);
        // A task of its own: an invocation that has begun goes to its end even when its caller goes away, and its
        // socket belongs to the reactor of this runtime.
        self.shared.runtime.spawn(async move { run(&shared, revision, invocation, sink, sender).await });
        Box::pin(async move {
            receiver.await.unwrap_or_else(|_| Err(RunError::Unavailable("the server is shutting down".into())))
        })
    }
}

impl Run for Supervisor {
    fn run(&self, revision: Arc<Revision>, invocation: Invocation) -> BoxFuture<'_, Result<Outcome, RunError>> {
        self.begin(revision, invocation, None)
    }

    fn run_streaming<'a>(
        &'a self,
        revision: Arc<Revision>,
        invocation: Invocation,
        sink: Box<dyn StreamSink>,
    ) -> BoxFuture<'a, Result<Outcome, RunError>> {
        self.begin(revision, invocation, Some(sink))
    }
}

type Answer = oneshot::Sender<Result<Outcome, RunError>>;

async fn run(
    shared: &Arc<Shared>,
    revision: Arc<Revision>,
    invocation: Invocation,
    sink: Option<Box<dyn StreamSink>>,
    answer: Answer,
) {
    if invocation.payload.len() > EVENT_BYTES_MAX {
        let _ = answer.send(Err(RunError::TooLarge));
        return;
    }
    let patience_ms = PATIENCE_MS.max(INIT_MS_MAX + u64::from(revision.timeout_s) * 1_000) + 1_000;
    let environment = match shared.acquire(&revision, Duration::from_millis(patience_ms)).await {
        Grant::Environment(environment) => environment,
        Grant::Failed(failed) => {
            let _ = answer.send(unstarted(failed, &revision, &invocation));
            return;
        }
        Grant::Refused(Refused::Account | Refused::Waiters) => {
            let _ = answer.send(Err(RunError::Throttled { reason: "ConcurrentInvocationLimitExceeded" }));
            return;
        }
        Grant::Refused(Refused::Closing) => {
            let _ = answer.send(Err(RunError::Unavailable("the server is shutting down".into())));
            return;
        }
    };
    let mut lease = Lease { shared, environment: Some(environment), healthy: false };
    let Some(environment) = lease.environment.as_mut() else { return };
    let (outcome, healthy) = invoke(environment, &revision, &invocation, sink).await;
    let log =
        environment.log.take(true).map(|batch| (environment.log.group.clone(), environment.log.stream.clone(), batch));
    lease.healthy = healthy;
    // Given back first, so that whoever calls again on getting the answer finds it warm.
    drop(lease);
    let _ = answer.send(Ok(outcome));
    if let Some((group, stream, batch)) = log {
        shared.logs.write(&revision.account, &revision.region, &group, &stream, batch.lines);
    }
}

/// Gives its environment back however it is left; unhealthy unless said otherwise.
struct Lease<'a> {
    shared: &'a Arc<Shared>,
    environment: Option<Box<Environment>>,
    healthy: bool,
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        if let Some(environment) = self.environment.take() {
            self.shared.release(environment, self.healthy);
        }
    }
}

/// Runs one invocation on an environment; also tells whether it may be used again.
async fn invoke(
    environment: &mut Environment,
    revision: &Revision,
    invocation: &Invocation,
    sink: Option<Box<dyn StreamSink>>,
) -> (Outcome, bool) {
    let timeout = Duration::from_secs(u64::from(revision.timeout_s));
    // What was said while idle belongs to no invocation's tail.
    environment.drain_output();
    environment.log.begin();
    environment.log.line(format!("START RequestId: {} Version: {}", invocation.request_id, revision.version));
    let begun = Instant::now();
    let call = Call {
        id: &invocation.request_id,
        deadline_ms: epoch_ms().saturating_add(timeout.as_millis() as u64),
        arn: &invocation.invoked_arn,
        trace: invocation.trace_id.as_deref(),
        client_context: invocation.client_context.as_deref(),
    };
    let ending = environment.invoke(&call, &invocation.payload, begun + timeout, sink).await;
    let duration_us = begun.elapsed().as_micros() as u64;
    let (payload, function_error, healthy, trouble) = conclude(ending, revision, invocation);
    if let Some(trouble) = &trouble {
        environment.log.line(trouble.line.clone());
    }
    let healthy = healthy && environment.is_usable();
    if healthy && environment.memory_is_stale() {
        environment.look_at_memory();
    }
    environment.log.line(format!("END RequestId: {}", invocation.request_id));
    let report = Report {
        request_id: &invocation.request_id,
        duration_us,
        memory_mb: revision.memory_mb,
        peak_bytes: environment.peak_bytes,
        init_us: environment.init_us.take(),
        status: trouble.as_ref().map(|trouble| trouble.status),
        error_type: trouble.as_ref().and_then(|trouble| trouble.error_type),
    };
    environment.log.line(report.line());
    let log_tail = invocation.log_tail.then(|| environment.log.tail());
    let executed_version = revision.version.clone();
    (Outcome { payload, function_error, executed_version, log_tail, duration_us }, healthy)
}

/// What the log tells of an invocation that ended other than by an answer.
struct Trouble {
    line: String,
    status: &'static str,
    error_type: Option<&'static str>,
}

/// The payload of an ending, whether it is an error, whether the environment may live, and what the log says.
fn conclude(
    ending: Ending,
    revision: &Revision,
    invocation: &Invocation,
) -> (Bytes, Option<FunctionError>, bool, Option<Trouble>) {
    let id = &invocation.request_id;
    let error = Some(FunctionError::Unhandled);
    match ending {
        Ending::Result(payload) if payload.len() <= RESULT_BYTES_MAX => (payload, None, true, None),
        Ending::Result(_) => (too_large(), error, true, None),
        Ending::Failed { document, .. } if document.len() > RESULT_BYTES_MAX => (too_large(), error, false, None),
        Ending::Failed { document, exiting } => (document, error, !exiting, None),
        Ending::TimedOut => {
            let text = timed_out(revision);
            let trouble =
                Trouble { line: format!("{} {id} {text}", iso(epoch_ms())), status: "timeout", error_type: None };
            (document("Sandbox.Timedout", id, &text), error, false, Some(trouble))
        }
        Ending::OutOfMemory => crashed("Runtime.OutOfMemory", id, Exit::Signal(9)),
        Ending::Exited(exit) => crashed("Runtime.ExitError", id, exit),
        Ending::Broken(problem) => {
            let (function, account) = (&revision.function, &revision.account);
            tracing::warn!(function, account, %problem, "a runtime broke the protocol");
            crashed("Runtime.ExitError", id, Exit::Signal(9))
        }
        Ending::Hello | Ending::Ready | Ending::InitError(_) => crashed("Runtime.ExitError", id, Exit::Unknown),
    }
}

fn crashed(kind: &'static str, id: &str, exit: Exit) -> (Bytes, Option<FunctionError>, bool, Option<Trouble>) {
    let text = exit_text(exit);
    let line = format!("RequestId: {id} Error: {text}\n{kind}");
    let trouble = Trouble { line, status: "error", error_type: Some(kind) };
    (document(kind, id, &text), Some(FunctionError::Unhandled), false, Some(trouble))
}

/// The outcome of an invocation whose environment could not be had.
fn unstarted(failed: Failed, revision: &Revision, invocation: &Invocation) -> Result<Outcome, RunError> {
    let id = &invocation.request_id;
    let payload = match failed.failure {
        Failure::Unavailable(text) => return Err(RunError::Unavailable(text)),
        Failure::Reported(document) => document,
        Failure::Exited(exit) => document("Runtime.ExitError", id, &exit_text(exit)),
        Failure::Entrypoint(text) => document("Runtime.InvalidEntrypoint", id, &text),
        Failure::OutOfMemory => document("Runtime.OutOfMemory", id, &exit_text(Exit::Signal(9))),
        Failure::TimedOut => document("Sandbox.Timedout", id, &timed_out(revision)),
    };
    let log_tail = invocation.log_tail.then_some(failed.log);
    Ok(Outcome {
        payload,
        function_error: Some(FunctionError::Unhandled),
        executed_version: revision.version.clone(),
        log_tail,
        duration_us: 0,
    })
}

fn timed_out(revision: &Revision) -> String {
    format!("Task timed out after {}.00 seconds", revision.timeout_s)
}

fn document(kind: &str, request_id: &str, text: &str) -> Bytes {
    let message = format!("RequestId: {request_id} Error: {text}");
    Bytes::from(serde_json::json!({ "errorType": kind, "errorMessage": message }).to_string())
}

fn exit_text(exit: Exit) -> String {
    match exit {
        Exit::Code(0) | Exit::Unknown => "Runtime exited without providing a reason".to_owned(),
        Exit::Code(code) => format!("Runtime exited with error: exit status {code}"),
        Exit::Signal(signal) => format!("Runtime exited with error: signal: {}", signal_name(signal)),
    }
}

/// Signals as AWS's supervisor, a Go program, names them.
fn signal_name(signal: i32) -> String {
    let name = match signal {
        1 => "hangup",
        2 => "interrupt",
        3 => "quit",
        4 => "illegal instruction",
        5 => "trace/breakpoint trap",
        6 => "aborted",
        7 => "bus error",
        8 => "floating point exception",
        9 => "killed",
        10 => "user defined signal 1",
        11 => "segmentation fault",
        12 => "user defined signal 2",
        13 => "broken pipe",
        14 => "alarm clock",
        15 => "terminated",
        other => return format!("signal {other}"),
    };
    name.to_owned()
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
    std::fs::set_permissions(&data_dir, std::fs::Permissions::from_mode(0o700))?;
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

async fn reap(shared: Weak<Shared>) {
    let mut every = tokio::time::interval(Duration::from_secs(1));
    loop {
        every.tick().await;
        let Some(shared) = shared.upgrade() else { return };
        shared.reap();
    }
}
