//! Carries out what the state machine decides: starts, hands over, kills and buries environments.

use std::{
    cell::Cell,
    collections::HashMap,
    hash::{Hash, Hasher},
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use lambda::invoke::Revision;
use tokio::{runtime::Handle, sync::oneshot, time::Instant};

use crate::{
    clock::Monotonic,
    egress::Guard,
    invocation::exit_text,
    isolated::Places,
    launch::{Exit, Freezer, Launch, Layout, Listeners, Process},
    options::{Credentials, LogSink, Options, Standbys},
    process::Environment,
    runtime_api::error_type,
    runtimes::Installed,
    spec,
    state::{self, Class, Effect, EnvironmentId, Held, Limits, Location, Machine, Refused, Ticket},
};

mod burial;
mod start;

use burial::bury;
pub(crate) use start::INIT_MS_MAX;
#[cfg(test)]
pub(crate) use start::blank_revision;

/// Requests that may wait for an environment on this node.
const WAITERS_MAX: usize = 1_024;
/// Those of one account.
const WAITERS_SHARE_MAX: usize = WAITERS_MAX / 2;
/// How long a killed process may take to go before it is no longer counted on, seconds. It is waited for all the same.
const BURIAL_S_MAX: u64 = 10;
/// What a standby costs, bytes: its private memory and what the host keeps for its sandbox.
const STANDBY_BYTES: u64 = 8 * 1_024 * 1_024;
/// How long a bad end is held against a function, milliseconds.
const DISTRUSTED_MS: u64 = 60_000;
/// Functions it is held against at a time.
const DISTRUSTED_MAX: usize = 1_024;
/// Standbys on one node, whatever memory it has.
const STANDBYS_MAX: u64 = 64;

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

    fn class(&self) -> Option<Class> {
        spec::class(&self.0)
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

impl Failure {
    /// AWS's name of it, for the log; a timeout has none. A function may write any text where its runtime's own errors
    /// have their type: what does not look like one is not repeated.
    pub(crate) fn error_type(&self) -> Option<String> {
        let fixed = match self {
            Self::Reported(document) => {
                let document: serde_json::Value = serde_json::from_slice(document).unwrap_or_default();
                return Some(error_type(document.get("errorType").and_then(serde_json::Value::as_str)));
            }
            Self::Exited(_) => "Runtime.ExitError",
            Self::Entrypoint(_) => "Runtime.InvalidEntrypoint",
            Self::OutOfMemory => "Runtime.OutOfMemory",
            Self::TimedOut | Self::Unavailable(_) => return None,
        };
        Some(fixed.to_owned())
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Reported(document) => f.write_str(&String::from_utf8_lossy(document)),
            Self::Exited(exit) => f.write_str(&exit_text(*exit)),
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

/// A place in the queue.
pub(crate) struct Waiting {
    ticket: Ticket,
    key: EnvironmentKey,
    receiver: oneshot::Receiver<Grant>,
    deadline: Instant,
}

/// All that environments share.
pub(crate) struct Shared {
    pub(crate) options: Options,
    installed: OnceLock<(Installed, Places)>,
    pub(crate) runtime: Handle,
    pub(crate) clock: Monotonic,
    credentials: Arc<dyn Credentials>,
    pub(crate) logs: Arc<dyn LogSink>,
    launcher: Arc<dyn Launch>,
    state: Mutex<State>,
}

struct State {
    machine: Machine<EnvironmentKey>,
    /// Environments nobody holds, standbys among them.
    parked: HashMap<EnvironmentId, Box<Environment>>,
    /// Every process there is, for killing.
    processes: HashMap<EnvironmentId, Arc<dyn Process>>,
    /// Sockets of standbys that nobody serves before they have an owner.
    unserved: HashMap<EnvironmentId, Listeners>,
    /// What serves the sockets of the others.
    served: HashMap<EnvironmentId, Vec<Guard>>,
    requests: HashMap<Ticket, (EnvironmentKey, oneshot::Sender<Grant>)>,
    failures: HashMap<EnvironmentKey, Failed>,
    /// Functions of which an environment has ended badly, and until when that is held against them.
    distrusted: HashMap<EnvironmentKey, u64>,
    ticket: Ticket,
}

impl State {
    /// An environment of this function has timed out, crashed, or could not be loaded: until it has answered, the next one
    /// takes what time others leave it. Otherwise a function that is killed and called again and again would have the
    /// first milliseconds of every start to itself.
    fn distrust(&mut self, key: &EnvironmentKey, now_ms: u64) {
        if self.distrusted.len() < DISTRUSTED_MAX || self.distrusted.contains_key(key) {
            self.distrusted.insert(key.clone(), now_ms + DISTRUSTED_MS);
        }
    }
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
        let standbys = match options.standbys {
            Standbys::Off => false,
            Standbys::InSandboxes => launcher.layout() == Layout::Own,
            Standbys::Always => true,
        };
        let fiftieth = memory_kb("MemTotal:").unwrap_or(0).saturating_mul(1_024) / 50;
        let limits = Limits {
            processes_max: options.processes_max.max(1),
            share_max: (options.processes_max * 3 / 4).max(1),
            account_max: options.concurrency_max,
            starts_max: cores * 2,
            waiters_max: WAITERS_MAX,
            waiters_share_max: WAITERS_SHARE_MAX,
            idle_ttl_ms: options.idle_ttl_s.saturating_mul(1_000),
            standbys_max: if standbys { (fiftieth / STANDBY_BYTES).clamp(1, STANDBYS_MAX) as usize } else { 0 },
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
                unserved: HashMap::new(),
                served: HashMap::new(),
                requests: HashMap::new(),
                failures: HashMap::new(),
                distrusted: HashMap::new(),
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
        let shared = Arc::clone(self);
        match effect {
            Effect::Start(id, key, why) => {
                self.runtime.spawn(async move { shared.start(id, key, why, None).await });
            }
            Effect::Adopt(id, key, why) => {
                let standby = state.parked.remove(&id);
                self.runtime.spawn(async move {
                    match standby {
                        Some(standby) => shared.start(id, key, why, Some(standby)).await,
                        None => shared.adopt_failed(id),
                    }
                });
            }
            Effect::Standby(id, class) => {
                self.runtime.spawn(async move { shared.stand_by(id, class).await });
            }
            Effect::Assign(id, ticket) => match state.parked.remove(&id) {
                Some(environment) => self.answer(state, ticket, Grant::Environment(environment)),
                None => {
                    let failure = Failure::Unavailable("the execution environment was lost".into());
                    self.answer(state, ticket, Grant::Failed(failure.into()));
                    self.runtime.spawn(async move { shared.write_off(id) });
                }
            },
            Effect::Kill(id) => {
                let process = state.processes.get(&id).cloned();
                if let Some(process) = &process {
                    process.kill();
                }
                let buried = (state.parked.remove(&id), state.unserved.remove(&id), state.served.remove(&id));
                self.runtime.spawn(async move {
                    if let Some(process) = process {
                        shared.bury_late(id, process).await;
                    }
                    // Only now: what is unread in its socket may hold what only the dead do not wait for.
                    drop(buried);
                    shared.remove_scratch(id).await;
                    let now_ms = shared.clock.now_ms();
                    shared.decide(|state, effects| {
                        state.processes.remove(&id);
                        state.machine.dead(id, now_ms, effects);
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

    /// Buries a killed process; one that takes long keeps its place, but nobody counts on its going any more.
    async fn bury_late(self: &Arc<Shared>, id: EnvironmentId, process: Arc<dyn Process>) {
        let mut burial = std::pin::pin!(bury(process));
        if tokio::time::timeout(Duration::from_secs(BURIAL_S_MAX), &mut burial).await.is_err() {
            tracing::error!(id, "a killed function does not die, or something of it is left; it keeps its place");
            let now_ms = self.clock.now_ms();
            self.decide(|state, effects| state.machine.lingers(id, now_ms, effects));
            burial.await;
            tracing::info!(id, "a function that was killed long ago is gone");
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

    /// Gets an environment for one invocation at once, or a place in the queue with at most `patience`.
    pub(crate) fn ask(
        self: &Arc<Shared>,
        revision: &Arc<Revision>,
        patience: Duration,
    ) -> Result<Box<Environment>, Waiting> {
        let key = EnvironmentKey(Arc::clone(revision));
        let mut state = self.lock();
        state.ticket += 1;
        let ticket = state.ticket;
        let checked_out = state.machine.checkout(&key, ticket, here());
        let found = checked_out.and_then(|id| state.parked.remove(&id));
        drop(state);
        if let (Some(id), None) = (checked_out, &found) {
            self.write_off(id);
        }
        match found {
            Some(environment) if environment.is_fit() => Ok(environment),
            Some(environment) => Err(self.another(ticket, key, environment, Instant::now() + patience)),
            None => {
                let (sender, receiver) = oneshot::channel();
                let now_ms = self.clock.now_ms();
                self.decide(|state, effects| {
                    // Taken anew, for tickets rise in the order in which the machine sees them.
                    state.ticket += 1;
                    let ticket = state.ticket;
                    state.requests.insert(ticket, (key.clone(), sender));
                    state.machine.request(&key, ticket, here(), now_ms, effects);
                    Err(Waiting { ticket, key, receiver, deadline: Instant::now() + patience })
                })
            }
        }
    }

    /// Another place in the queue, at its head, for a request whose environment died or spoke out of turn while it was
    /// idle: the request must not suffer for it.
    fn another(
        self: &Arc<Shared>,
        ticket: Ticket,
        key: EnvironmentKey,
        dead: Box<Environment>,
        deadline: Instant,
    ) -> Waiting {
        let (sender, receiver) = oneshot::channel();
        let (id, now_ms) = (dead.id, self.clock.now_ms());
        self.decide(|state, effects| {
            state.requests.insert(ticket, (key.clone(), sender));
            state.parked.insert(id, dead);
            state.machine.stillborn(id, now_ms, effects);
        });
        Waiting { ticket, key, receiver, deadline }
    }

    /// Waits for the turn. A future dropped midway loses nothing: it can be asked for again.
    pub(crate) async fn wait(self: &Arc<Shared>, waiting: &mut Waiting) -> Grant {
        loop {
            let grant = self.wait_once(waiting).await;
            match grant {
                Grant::Environment(environment) if !environment.is_fit() => {
                    *waiting = self.another(waiting.ticket, waiting.key.clone(), environment, waiting.deadline);
                }
                grant => return grant,
            }
        }
    }

    async fn wait_once(self: &Arc<Shared>, waiting: &mut Waiting) -> Grant {
        let Waiting { ticket, receiver, deadline, .. } = waiting;
        if let Ok(grant) = receiver.try_recv() {
            return grant;
        }
        match tokio::time::timeout_at(*deadline, &mut *receiver).await {
            Ok(Ok(grant)) => grant,
            Ok(Err(_)) => Grant::Refused(Refused::Closing),
            Err(_) => {
                let cancelled = self.cancel(*ticket);
                match receiver.try_recv() {
                    Ok(grant) if !cancelled => grant,
                    _ => Grant::Refused(Refused::Waiters),
                }
            }
        }
    }

    fn cancel(self: &Arc<Shared>, ticket: Ticket) -> bool {
        self.decide(|state, _| {
            let cancelled = state.machine.cancel(ticket);
            if cancelled {
                state.requests.remove(&ticket);
            }
            cancelled
        })
    }

    /// Gives up a place in the queue for good.
    pub(crate) fn give_up(self: &Arc<Shared>, waiting: &mut Waiting) {
        if !self.cancel(waiting.ticket)
            && let Ok(Grant::Environment(environment)) = waiting.receiver.try_recv()
        {
            self.release(environment, true);
        }
    }

    /// Whether an environment of this function has ended badly lately.
    fn is_distrusted(&self, revision: &Arc<Revision>) -> bool {
        self.lock().distrusted.contains_key(&EnvironmentKey(Arc::clone(revision)))
    }

    /// An environment that was to be given out is not there: a mistake of ours, which must not hold its place for ever.
    fn write_off(self: &Arc<Shared>, id: EnvironmentId) {
        tracing::error!(id, "an execution environment was lost");
        let now_ms = self.clock.now_ms();
        self.decide(|state, effects| state.machine.finished(id, false, now_ms, effects));
    }

    /// Gives an environment back.
    pub(crate) fn release(self: &Arc<Shared>, environment: Box<Environment>, healthy: bool) {
        let (id, now_ms) = (environment.id, self.clock.now_ms());
        self.decide(|state, effects| {
            if !healthy {
                state.distrust(&EnvironmentKey(Arc::clone(&environment.revision)), now_ms);
            }
            state.parked.insert(id, environment);
            state.machine.finished(id, healthy, now_ms, effects);
        });
    }

    /// Drops what is unused, too old or dead, and more of it while memory is short. Called once a second.
    pub(crate) fn reap(self: &Arc<Shared>) {
        let now_ms = self.clock.now_ms();
        let short = match (memory_kb("MemAvailable:"), memory_kb("MemTotal:")) {
            (Some(available), Some(total)) => available < total / 100 * self.options.memory_low_percent,
            _ => false,
        };
        self.decide(|state, effects| {
            let lost: Vec<EnvironmentId> =
                state.parked.iter().filter(|(_, parked)| !parked.is_usable()).map(|(id, _)| *id).collect();
            lost.into_iter().for_each(|id| state.machine.lost(id, now_ms, effects));
            if short {
                let unused = state.machine.idle() + state.machine.standbys();
                if unused > 0 {
                    tracing::warn!(unused, "the host's memory is short: unused execution environments are let go");
                }
                state.machine.relieve(unused.div_ceil(4), now_ms, effects);
            }
            state.machine.reap(now_ms, effects);
            if state.failures.len() > 1_000 {
                state.failures.clear();
            }
            state.distrusted.retain(|_, until_ms| now_ms < *until_ms);
        });
    }

    /// Has what has been idle for a while frozen: gives the processes, unused longest first, for whose
    /// [`Freezer::freeze`] the lock is not held. Called a few times a second.
    pub(crate) fn mark_idle(&self) -> Vec<Arc<dyn Process>> {
        let now_ms = self.clock.now_ms();
        let State { machine, parked, processes, .. } = &mut *self.lock();
        let marked = machine.freeze(now_ms, |id, unused_ms| {
            let parked = parked.get_mut(&id);
            parked.is_some_and(|environment| environment.may_freeze(unused_ms)) && processes.contains_key(&id)
        });
        let marked: Vec<Arc<dyn Process>> = marked.iter().filter_map(|id| processes.get(id).cloned()).collect();
        marked.iter().filter_map(|process| process.freezer()).for_each(Freezer::mark);
        marked
    }

    pub(crate) fn retire(self: &Arc<Shared>, matches: impl Fn(&Revision) -> bool) {
        let now_ms = self.clock.now_ms();
        self.decide(|state, effects| {
            state.failures.retain(|key, _| !matches(&key.0));
            state.machine.retire(|key| matches(&key.0), now_ms, effects);
        });
    }

    pub(crate) fn provision(self: &Arc<Shared>, revision: &Arc<Revision>, count: u32) {
        let key = EnvironmentKey(Arc::clone(revision));
        let now_ms = self.clock.now_ms();
        self.decide(|state, effects| {
            state.failures.remove(&key);
            state.machine.provision(&key, count, now_ms, effects);
        });
    }

    /// What has become of it, and the last failure to start one.
    pub(crate) fn provisioned(&self, revision: &Arc<Revision>) -> (Held, Option<Failure>) {
        let key = EnvironmentKey(Arc::clone(revision));
        let state = self.lock();
        (state.machine.held(&key), state.failures.get(&key).map(|failed| failed.failure.clone()))
    }

    pub(crate) fn close(self: &Arc<Shared>) {
        self.decide(|state, effects| state.machine.close(effects));
    }

    /// Kills every process, busy or not; those who hold them find out.
    pub(crate) fn kill_all(&self) {
        self.lock().processes.values().for_each(|process| process.kill());
    }

    pub(crate) fn isolates(&self) -> bool {
        self.launcher.layout() != Layout::Host
    }

    pub(crate) fn live(&self) -> usize {
        self.lock().machine.live()
    }

    pub(crate) fn idle(&self) -> usize {
        self.lock().machine.idle()
    }

    pub(crate) fn frozen(&self) -> usize {
        self.lock().machine.frozen()
    }

    pub(crate) fn standbys(&self) -> usize {
        self.lock().machine.standbys()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.lock().machine.is_closed()
    }

    /// The interpreters, asked for their versions once. Blocks until they have answered.
    pub(crate) fn installed(&self) -> &Installed {
        &self.found().0
    }

    /// The interpreters, and where they are to be seen.
    fn found(&self) -> &(Installed, Places) {
        self.installed.get_or_init(|| {
            let installed = Installed::probe(&self.options);
            let mut places = match self.launcher.layout() {
                Layout::Host => Places::default(),
                Layout::Fenced => Places::in_place(&installed),
                Layout::Own => Places::of(&installed),
            };
            // One that cannot be shown is no reason to hide another.
            for bind in places.binds.clone() {
                if let Err(error) = self.launcher.provide(std::slice::from_ref(&bind)) {
                    tracing::error!(%error, "an interpreter cannot be shown inside sandboxes");
                    places.unseen.push((bind.0, error.to_string()));
                }
            }
            (installed, places)
        })
    }

    fn scratch(&self, id: EnvironmentId) -> PathBuf {
        self.options.data_dir.join("tmp").join(id.to_string())
    }

    async fn remove_scratch(&self, id: EnvironmentId) {
        if self.isolates() {
            return;
        }
        let path = self.scratch(id);
        let removed = tokio::task::spawn_blocking(move || match std::fs::remove_dir_all(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                tracing::warn!(path = %path.display(), %error, "a scratch directory could not be removed");
            }
            _ => {}
        });
        let _ = removed.await;
    }
}

/// A number for the thread that asks.
fn here() -> Location {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    thread_local!(static HERE: Cell<Location> = const { Cell::new(0) });
    HERE.with(|here| {
        if here.get() == 0 {
            here.set(NEXT.fetch_add(1, Ordering::Relaxed));
        }
        here.get()
    })
}

/// A figure of the host's memory, KiB.
fn memory_kb(name: &str) -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.trim().trim_end_matches("kB").trim().parse().ok()
}
