//! Carries out what the state machine decides: starts, hands over, kills and buries environments.

use std::{
    collections::HashMap,
    hash::{Hash, Hasher},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use lambda::invoke::Revision;
use tokio::{runtime::Handle, sync::oneshot, time::Instant};

use crate::{
    clock::{Monotonic, epoch_ms},
    launch::{Exit, Launch, Process, Spec, on_reactor},
    log::Log,
    options::{Credentials, LogSink, Options},
    process::{Ending, Environment, Speaks},
    runtimes::{self, Family, Installed},
    spec::{Place, command, variables},
    state::{self, Effect, EnvironmentId, Limits, Machine, Refused, Ticket},
    trees,
};

/// How long a function may take to load, milliseconds; after that it is tried once more under its own timeout.
pub(crate) const INIT_MS_MAX: u64 = 10_000;
/// An environment is replaced this long before its credentials end, milliseconds.
const CREDENTIALS_MARGIN_MS: u64 = 15 * 60 * 1_000;
/// Requests that may wait for an environment on this node.
const WAITERS_MAX: usize = 1_024;
/// How long a killed process may take to go before it is given up, seconds.
const BURIAL_S_MAX: u64 = 10;

/// A revision as a key: everything about it must be equal, for two revisions never share an environment.
#[derive(Clone)]
pub(crate) struct EnvironmentKey(pub(crate) Arc<Revision>);

impl PartialEq for EnvironmentKey {
    fn eq(&self, other: &EnvironmentKey) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0 == other.0
    }
}

impl Eq for EnvironmentKey {}

impl Hash for EnvironmentKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.account.hash(state);
        self.0.function.hash(state);
        self.0.version.hash(state);
        self.0.revision_id.hash(state);
    }
}

impl state::Key for EnvironmentKey {
    fn account(&self) -> &str {
        &self.0.account
    }
}

/// Why an environment could not be had.
#[derive(Debug, Clone)]
pub(crate) enum Failure {
    /// The runtime's own error document.
    Reported(Bytes),
    /// The process ended before the function was loaded.
    Exited(Exit),
    /// The function brings nothing that could be started: AWS's text.
    Entrypoint(String),
    OutOfMemory,
    /// Loading took longer than the function's timeout.
    TimedOut,
    /// The node's fault: text for the caller.
    Unavailable(String),
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Reported(document) => f.write_str(&String::from_utf8_lossy(document)),
            Self::Exited(exit) => write!(f, "its process ended ({exit:?})"),
            Self::Entrypoint(text) => f.write_str(text),
            Self::OutOfMemory => f.write_str("it ran out of memory"),
            Self::TimedOut => f.write_str("it took longer than the function's timeout"),
            Self::Unavailable(why) => f.write_str(why),
        }
    }
}

/// A failure with the last of what was logged before it.
#[derive(Debug, Clone)]
pub(crate) struct Failed {
    pub(crate) failure: Failure,
    pub(crate) log: Vec<u8>,
}

impl From<Failure> for Failed {
    fn from(failure: Failure) -> Failed {
        Failed { failure, log: Vec::new() }
    }
}

/// What a waiting request gets.
pub(crate) enum Grant {
    Environment(Box<Environment>),
    Failed(Failed),
    Refused(Refused),
}

/// All that environments share.
pub(crate) struct Shared {
    pub(crate) options: Options,
    installed: OnceLock<Installed>,
    pub(crate) runtime: Handle,
    pub(crate) clock: Monotonic,
    credentials: Arc<dyn Credentials>,
    pub(crate) logs: Arc<dyn LogSink>,
    launcher: Arc<dyn Launch>,
    state: Mutex<State>,
}

struct State {
    machine: Machine<EnvironmentKey>,
    /// Environments nobody holds.
    parked: HashMap<EnvironmentId, Box<Environment>>,
    /// Every process there is, for killing.
    processes: HashMap<EnvironmentId, Arc<dyn Process>>,
    requests: HashMap<Ticket, (EnvironmentKey, oneshot::Sender<Grant>)>,
    failures: HashMap<EnvironmentKey, Failed>,
    ticket: Ticket,
}

impl Shared {
    pub(crate) fn new(
        options: Options,
        runtime: Handle,
        credentials: Arc<dyn Credentials>,
        logs: Arc<dyn LogSink>,
        launcher: Arc<dyn Launch>,
    ) -> Shared {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let limits = Limits {
            processes_max: options.processes_max.max(1),
            share_max: (options.processes_max * 3 / 4).max(1),
            account_max: options.concurrency_max,
            starts_max: cores * 2,
            waiters_max: WAITERS_MAX,
            idle_ttl_ms: options.idle_ttl_s.saturating_mul(1_000),
        };
        Shared {
            installed: OnceLock::new(),
            options,
            runtime,
            clock: Monotonic::start(),
            credentials,
            logs,
            launcher,
            state: Mutex::new(State {
                machine: Machine::new(limits),
                parked: HashMap::new(),
                processes: HashMap::new(),
                requests: HashMap::new(),
                failures: HashMap::new(),
                ticket: 0,
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `change` on the machine and carries out what it decides.
    fn decide<T>(self: &Arc<Shared>, change: impl FnOnce(&mut State, &mut Vec<Effect<EnvironmentKey>>) -> T) -> T {
        let mut effects = Vec::new();
        let mut state = self.lock();
        let value = change(&mut state, &mut effects);
        for effect in effects {
            self.carry_out(&mut state, effect);
        }
        value
    }

    fn carry_out(self: &Arc<Shared>, state: &mut State, effect: Effect<EnvironmentKey>) {
        match effect {
            Effect::Start(id, key) => {
                let shared = Arc::clone(self);
                self.runtime.spawn(async move { shared.start(id, key).await });
            }
            Effect::Assign(id, ticket) => match state.parked.remove(&id) {
                Some(environment) => self.answer(state, ticket, Grant::Environment(environment)),
                None => {
                    let failure = Failure::Unavailable("the execution environment was lost".into());
                    self.answer(state, ticket, Grant::Failed(failure.into()));
                }
            },
            Effect::Kill(id) => {
                let process = state.processes.get(&id).cloned();
                if let Some(process) = &process {
                    process.kill();
                }
                let parked = state.parked.remove(&id);
                let shared = Arc::clone(self);
                self.runtime.spawn(async move {
                    if let Some(process) = process {
                        bury(process).await;
                    }
                    drop(parked);
                    remove_directory(shared.scratch(id)).await;
                    shared.decide(|state, effects| {
                        state.processes.remove(&id);
                        state.machine.dead(id, effects);
                    });
                });
            }
            Effect::Fail(ticket) => {
                let known = state.requests.get(&ticket).and_then(|(key, _)| state.failures.get(key)).cloned();
                let failed =
                    known.unwrap_or_else(|| Failure::Unavailable("the function could not be started".into()).into());
                self.answer(state, ticket, Grant::Failed(failed));
            }
            Effect::Refuse(ticket, refused) => self.answer(state, ticket, Grant::Refused(refused)),
        }
    }

    fn answer(self: &Arc<Shared>, state: &mut State, ticket: Ticket, grant: Grant) {
        let Some((_, sender)) = state.requests.remove(&ticket) else { return };
        if let Err(Grant::Environment(environment)) = sender.send(grant) {
            // Whoever asked is gone without a word; the environment must not stay busy for ever.
            let shared = Arc::clone(self);
            self.runtime.spawn(async move { shared.release(environment, false) });
        }
    }

    /// Gets an environment for one invocation, waiting at most `patience`.
    pub(crate) async fn acquire(self: &Arc<Shared>, revision: &Arc<Revision>, patience: Duration) -> Grant {
        let deadline = Instant::now() + patience;
        let key = EnvironmentKey(Arc::clone(revision));
        let now_ms = self.clock.now_ms();
        let (sender, receiver) = oneshot::channel();
        let ticket = self.decide(|state, effects| {
            state.ticket += 1;
            let ticket = state.ticket;
            state.requests.insert(ticket, (key.clone(), sender));
            state.machine.request(&key, ticket, now_ms, effects);
            ticket
        });
        let mut grant = self.wait(ticket, receiver, deadline).await;
        loop {
            match grant {
                Grant::Environment(environment) if !environment.is_usable() => {
                    // It died, or spoke out of turn, while it was idle: this request must not suffer for it.
                    let (sender, receiver) = oneshot::channel();
                    let id = environment.id;
                    self.decide(|state, effects| {
                        state.requests.insert(ticket, (key.clone(), sender));
                        state.parked.insert(id, environment);
                        state.machine.stillborn(id, now_ms, effects);
                    });
                    grant = self.wait(ticket, receiver, deadline).await;
                }
                grant => return grant,
            }
        }
    }

    async fn wait(
        self: &Arc<Shared>,
        ticket: Ticket,
        mut receiver: oneshot::Receiver<Grant>,
        deadline: Instant,
    ) -> Grant {
        if let Ok(grant) = receiver.try_recv() {
            return grant;
        }
        match tokio::time::timeout_at(deadline, &mut receiver).await {
            Ok(Ok(grant)) => grant,
            Ok(Err(_)) => Grant::Refused(Refused::Closing),
            Err(_) => {
                let cancelled = self.decide(|state, _| {
                    let cancelled = state.machine.cancel(ticket);
                    if cancelled {
                        state.requests.remove(&ticket);
                    }
                    cancelled
                });
                match receiver.try_recv() {
                    Ok(grant) if !cancelled => grant,
                    _ => Grant::Refused(Refused::Waiters),
                }
            }
        }
    }

    /// Gives an environment back.
    pub(crate) fn release(self: &Arc<Shared>, environment: Box<Environment>, healthy: bool) {
        let (id, now_ms) = (environment.id, self.clock.now_ms());
        self.decide(|state, effects| {
            state.parked.insert(id, environment);
            state.machine.finished(id, healthy, now_ms, effects);
        });
    }

    /// Drops what is unused, too old or dead. Called once a second.
    pub(crate) fn reap(self: &Arc<Shared>) {
        let now_ms = self.clock.now_ms();
        self.decide(|state, effects| {
            let lost: Vec<EnvironmentId> =
                state.parked.iter().filter(|(_, parked)| !parked.is_usable()).map(|(id, _)| *id).collect();
            lost.into_iter().for_each(|id| state.machine.lost(id, effects));
            state.machine.reap(now_ms, effects);
            if state.failures.len() > 1_000 {
                state.failures.clear();
            }
        });
    }

    pub(crate) fn retire(self: &Arc<Shared>, matches: impl Fn(&Revision) -> bool) {
        self.decide(|state, effects| {
            state.failures.retain(|key, _| !matches(&key.0));
            state.machine.retire(|key| matches(&key.0), effects);
        });
    }

    pub(crate) fn close(self: &Arc<Shared>) {
        self.decide(|state, effects| state.machine.close(effects));
    }

    /// Kills every process, busy or not; those who hold them find out.
    pub(crate) fn kill_all(&self) {
        self.lock().processes.values().for_each(|process| process.kill());
    }

    pub(crate) fn live(&self) -> usize {
        self.lock().machine.live()
    }

    pub(crate) fn idle(&self) -> usize {
        self.lock().machine.idle()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.lock().machine.is_closed()
    }

    fn scratch(&self, id: EnvironmentId) -> PathBuf {
        self.options.data_dir.join("tmp").join(id.to_string())
    }

    /// Starts an environment and reports it to the machine.
    async fn start(self: Arc<Shared>, id: EnvironmentId, key: EnvironmentKey) {
        let begun = Instant::now();
        let limit = Duration::from_millis(INIT_MS_MAX);
        let mut outcome = self.attempt(id, &key.0, limit).await;
        if matches!(outcome, Err(Failed { failure: Failure::TimedOut, .. })) {
            // AWS repeats a slow init inside the first invocation, under the function's own timeout.
            let process = self.lock().processes.get(&id).cloned();
            if let Some(process) = process {
                process.kill();
                bury(process).await;
            }
            outcome = self.attempt(id, &key.0, Duration::from_secs(u64::from(key.0.timeout_s))).await;
        }
        let now_ms = self.clock.now_ms();
        match outcome {
            Ok(mut environment) => {
                environment.init_us = Some(begun.elapsed().as_micros() as u64);
                let lives_ms = environment.lives_ms;
                self.decide(|state, effects| {
                    state.failures.remove(&key);
                    state.parked.insert(id, environment);
                    state.machine.ready(id, now_ms, lives_ms, effects);
                });
            }
            Err(failed) => {
                let (function, account) = (&key.0.function, &key.0.account);
                tracing::info!(function, account, "a function could not be loaded: {}", failed.failure);
                self.decide(|state, effects| {
                    state.failures.insert(key, failed);
                    state.machine.init_failed(id, now_ms, effects);
                });
            }
        }
    }

    /// One launch and load.
    async fn attempt(
        self: &Arc<Shared>,
        id: EnvironmentId,
        revision: &Arc<Revision>,
        limit: Duration,
    ) -> Result<Box<Environment>, Failed> {
        if self.is_closed() {
            return Err(Failure::Unavailable("the server is shutting down".into()).into());
        }
        let log = Log::new(&revision.function, &revision.version, &uuid::Uuid::new_v4().simple().to_string());
        let prepared = {
            let (shared, revision) = (Arc::clone(self), Arc::clone(revision));
            let (group, stream) = (log.group.clone(), log.stream.clone());
            self.runtime.spawn_blocking(move || shared.prepare(id, &revision, &group, &stream)).await
        };
        let prepared = prepared.map_err(|error| Failure::Unavailable(error.to_string()))??;
        let (mut environment, process) = Environment::new(
            id,
            Arc::clone(revision),
            prepared.launched,
            prepared.speaks,
            log,
            self.clock,
            prepared.lives_ms,
        )
        .map_err(|error| Failure::Unavailable(format!("the execution environment could not start: {error}")))?;
        self.lock().processes.insert(id, process);
        let (logs, group, stream) =
            (Arc::clone(&self.logs), environment.log.group.clone(), environment.log.stream.clone());
        let owner = (revision.account.clone(), revision.region.clone());
        environment.sink = Some(Box::new(move |batch| logs.write(&owner.0, &owner.1, &group, &stream, batch.lines)));
        environment.log.line(prepared.banner);
        let ending = environment.load(&prepared.load, Instant::now() + limit).await;
        environment.drain_output();
        environment.look_at_memory();
        let failure = match ending {
            Ending::Ready => {
                self.hand_over_log(&mut environment);
                return Ok(Box::new(environment));
            }
            Ending::InitError(document) => Failure::Reported(document),
            Ending::TimedOut => Failure::TimedOut,
            Ending::Exited(exit) => Failure::Exited(exit),
            Ending::OutOfMemory => Failure::OutOfMemory,
            Ending::Broken(error) => {
                tracing::warn!(function = revision.function, %error, "a runtime broke the protocol while loading");
                Failure::Exited(Exit::Signal(9))
            }
            Ending::Hello | Ending::Result(_) | Ending::Failed { .. } => Failure::Exited(Exit::Unknown),
        };
        environment.log.line(format!("INIT_REPORT Phase: init\tStatus: {}\t", failure.status()));
        self.hand_over_log(&mut environment);
        Err(Failed { failure, log: environment.log.tail() })
    }

    /// The interpreters, asked for their versions once. Blocks until they have answered.
    pub(crate) fn installed(&self) -> &Installed {
        self.installed.get_or_init(|| Installed::probe(&self.options))
    }

    /// What may block: unpacking, credentials, starting the process.
    fn prepare(&self, id: EnvironmentId, revision: &Revision, group: &str, stream: &str) -> Result<Prepared, Failure> {
        let resolved = runtimes::runnable(&revision.runtime, self.installed())
            .map_err(|refusal| Failure::Unavailable(refusal.message))?;
        let unavailable = |what: &str, error: &dyn std::fmt::Display| {
            tracing::error!(function = revision.function, %error, "{what}");
            Failure::Unavailable(what.to_owned())
        };
        let (tree, layers) = self.trees(revision)?;
        let scratch = self.scratch(id);
        let credentials = self.credentials.for_role(&revision.role_arn, &revision.function);
        let lives_ms = credentials.as_ref().map_or(u64::MAX, |credentials| {
            credentials.expires_at_ms.saturating_sub(epoch_ms()).saturating_sub(CREDENTIALS_MARGIN_MS)
        });
        let place =
            Place { tree, scratch: scratch.clone(), runtime: self.options.data_dir.join("runtime"), group, stream };
        let command =
            command(&resolved, revision, &place, (&place.tree, layers.as_deref()), self.launcher.layout())
                .map_err(Failure::Entrypoint)?;
        let spec = Spec {
            arguments: command.arguments,
            environment: variables(&resolved, revision, &place, credentials, self.options.endpoint_url.as_deref()),
            program: command.program,
            directory: place.tree.clone(),
            code: Some(place.tree.clone()),
            layers,
            memory_mb: revision.memory_mb,
            tmp_mb: revision.ephemeral_storage_mb,
            scratch,
            listens: command.speaks != Speaks::Frames,
        };
        let load = serde_json::json!({
            "handler": revision.handler,
            "taskRoot": place.tree,
            "callbacks": resolved.callbacks,
            "ensureAscii": !matches!(revision.runtime.as_str(), "python3.12" | "python3.13" | "python3.14" | "python3.15"),
            "functionName": revision.function,
            "functionVersion": revision.version,
            "memorySize": revision.memory_mb.to_string(),
            "logGroup": group,
            "logStream": stream,
        });
        let load = load.to_string().into_bytes();
        let launched = self
            .launcher
            .launch(&spec)
            .map_err(|error| unavailable("the execution environment could not start", &error))?;
        let (major, minor) = resolved.interpreter.version;
        let banner = match resolved.family {
            Family::Provided => format!("INIT_START Runtime Version: {}", revision.runtime),
            _ => format!("INIT_START Runtime Version: {} ({major}.{minor})", revision.runtime),
        };
        Ok(Prepared { launched, speaks: command.speaks, load, lives_ms, banner })
    }

    /// The unpacked code and the merged layers of a revision, unpacked now if they are not there.
    fn trees(&self, revision: &Revision) -> Result<(PathBuf, Option<PathBuf>), Failure> {
        let data_dir = &self.options.data_dir;
        let both = trees::code(data_dir, revision).and_then(|code| Ok((code, trees::layers(data_dir, revision)?)));
        both.map_err(|error| {
            let detail = error.detail();
            tracing::error!(function = revision.function, detail, "a package could not be unpacked");
            Failure::Unavailable("the function's code could not be unpacked".into())
        })
    }

    /// Passes gathered log lines on.
    fn hand_over_log(&self, environment: &mut Environment) {
        if let Some(batch) = environment.log.take(true) {
            let (revision, log) = (&environment.revision, &environment.log);
            self.logs.write(&revision.account, &revision.region, &log.group, &log.stream, batch.lines);
        }
    }
}

impl Failure {
    fn status(&self) -> &'static str {
        if matches!(self, Failure::TimedOut) { "timeout" } else { "error" }
    }
}

struct Prepared {
    launched: crate::launch::Launched,
    speaks: Speaks,
    load: Vec<u8>,
    lives_ms: u64,
    banner: String,
}

/// Waits until a killed process is gone and frees what is left of it.
async fn bury(process: Arc<dyn Process>) {
    let watch = process.watch().and_then(on_reactor);
    match watch {
        Ok(watch) => {
            if tokio::time::timeout(Duration::from_secs(BURIAL_S_MAX), watch.readable()).await.is_err() {
                tracing::error!("a killed function does not die");
            }
        }
        Err(error) => tracing::warn!(%error, "a killed function cannot be watched"),
    }
    if process.exited().is_some() {
        process.reap();
    }
}

async fn remove_directory(path: PathBuf) {
    let removed = tokio::task::spawn_blocking(move || match std::fs::remove_dir_all(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            tracing::warn!(path = %path.display(), %error, "a scratch directory could not be removed");
        }
        _ => {}
    });
    let _ = removed.await;
}
