//! How an environment comes to be: from nothing, or from a standby.

use std::{
    collections::BTreeMap,
    io,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant as Begun},
};

use lambda::invoke::{Logging, Revision};
use serde_json::Value;
use tokio::time::Instant;

use super::{BURIAL_S_MAX, EnvironmentKey, Failed, Failure, Shared, bury};
use crate::{
    clock::epoch_ms,
    egress::Owner,
    launch::{Exit, Launched, Layout, Listeners, Spec},
    log::{Event, Log},
    package::PackageError,
    process::{Ending, Environment, Speaks},
    runtimes::{self, Family, Installed, Interpreter, Resolved},
    spec::{Facts, Place, arguments, bare, command, family, initialization_name, standby_mb, variables},
    state::{Class, EnvironmentId, Initialization},
    supervisor::RUNTIME_DIR,
    trees,
};

/// How long a function may take to load, milliseconds; after that it is tried once more under its own timeout.
pub(crate) const INIT_MS_MAX: u64 = 10_000;
/// The same for provisioned concurrency, which is not tried again, seconds. Source: AWS Lambda Developer Guide,
/// "Understanding the Lambda execution environment lifecycle".
const PROVISIONED_INIT_S_MAX: u64 = 130;
/// An environment is replaced this long before its credentials end, milliseconds.
const CREDENTIALS_MARGIN_MS: u64 = 15 * 60 * 1_000;

/// Why what brings a client of its own does not run behind a fence.
const NO_NETWORK: &str = "Functions have no network on this server (isolation tier B), so that custom runtimes (provided, \
                          provided.al2, provided.al2023) and AWS_LAMBDA_EXEC_WRAPPER, which may need the Runtime API \
                          over HTTP, do not run. Use a Node.js or Python runtime without a wrapper, or a host that \
                          isolates in tier A.";

/// What is needed to start an environment of a function, or to make a standby one.
struct Plan {
    spec: Spec,
    speaks: Speaks,
    load: Value,
    lives_ms: u64,
    banner: Option<String>,
}

/// How a start came out.
enum Start {
    Ready(Box<Environment>),
    Failed(Failed),
    /// The standby was of no use, through no fault of the function.
    Unusable,
}

impl Shared {
    /// Starts an environment, or makes `standby` one, and reports it to the machine.
    pub(super) async fn start(
        self: Arc<Shared>,
        id: EnvironmentId,
        key: EnvironmentKey,
        why: Initialization,
        standby: Option<Box<Environment>>,
    ) {
        let begun = Begun::now();
        let own = Duration::from_secs(u64::from(key.0.timeout_s));
        let limit = match why {
            Initialization::OnDemand => Duration::from_millis(INIT_MS_MAX),
            Initialization::Provisioned => own.max(Duration::from_secs(PROVISIONED_INIT_S_MAX)),
        };
        let mut outcome = match standby {
            Some(standby) => self.adopt(id, &key.0, why, standby, limit).await,
            None => self.attempt(id, &key.0, why, limit).await,
        };
        if matches!(outcome, Start::Failed(Failed { failure: Failure::TimedOut, .. }))
            && why == Initialization::OnDemand
        {
            // AWS repeats a slow init inside the first invocation, under the function's own timeout.
            let process = self.lock().processes.get(&id).cloned();
            let gone = match process {
                Some(process) => {
                    process.kill();
                    tokio::time::timeout(Duration::from_secs(BURIAL_S_MAX), bury(process)).await.is_ok()
                }
                None => true,
            };
            // Two in one place there cannot be: one that does not go away has failed.
            if gone {
                outcome = self.attempt(id, &key.0, why, own).await;
            }
        }
        let now_ms = self.clock.now_ms();
        match outcome {
            Start::Ready(mut environment) => {
                environment.init_us = Some(begun.elapsed().as_micros() as u64);
                let lives_ms = environment.lives_ms;
                self.decide(|state, effects| {
                    state.failures.remove(&key);
                    state.parked.insert(id, environment);
                    state.machine.ready(id, now_ms, lives_ms, effects);
                });
            }
            Start::Failed(failed) => {
                let (function, account) = (&key.0.function, &key.0.account);
                tracing::info!(function, account, "a function could not be loaded: {}", failed.failure);
                self.decide(|state, effects| {
                    state.distrust(&key, now_ms);
                    state.failures.insert(key, failed);
                    state.machine.init_failed(id, now_ms, effects);
                });
            }
            Start::Unusable => self.adopt_failed(id),
        }
    }

    pub(super) fn adopt_failed(self: &Arc<Shared>, id: EnvironmentId) {
        let now_ms = self.clock.now_ms();
        self.decide(|state, effects| state.machine.adopt_failed(id, now_ms, effects));
    }

    /// One launch and load.
    async fn attempt(
        self: &Arc<Shared>,
        id: EnvironmentId,
        revision: &Arc<Revision>,
        why: Initialization,
        limit: Duration,
    ) -> Start {
        if self.is_closed() {
            return Start::Failed(Failure::Unavailable("the server is shutting down".into()).into());
        }
        let log = new_log(revision);
        let launched = {
            let (shared, revision) = (Arc::clone(self), Arc::clone(revision));
            let (group, stream) = (log.group.clone(), log.stream.clone());
            let launch = move || {
                let plan = shared.plan(id, &revision, &group, &stream, why)?;
                let launched = shared.launch(&plan.spec)?;
                Ok::<_, Failure>((plan, launched))
            };
            self.runtime.spawn_blocking(launch).await
        };
        let (plan, launched) = match launched {
            Ok(Ok(both)) => both,
            Ok(Err(failure)) => return Start::Failed(Failed::from(failure)),
            Err(error) => return Start::Failed(Failure::Unavailable(error.to_string()).into()),
        };
        let Plan { speaks, load, lives_ms, banner, .. } = plan;
        match self.take_over(id, Arc::clone(revision), launched, speaks, log, lives_ms) {
            Ok((mut environment, unserved)) => {
                environment.go_last(self.is_distrusted(revision));
                self.load(environment, unserved, &load, banner, limit).await
            }
            Err(error) => {
                let text = format!("the execution environment could not start: {error}");
                Start::Failed(Failure::Unavailable(text).into())
            }
        }
    }

    /// Makes a standby the environment of a function.
    async fn adopt(
        self: &Arc<Shared>,
        id: EnvironmentId,
        revision: &Arc<Revision>,
        why: Initialization,
        mut standby: Box<Environment>,
        limit: Duration,
    ) -> Start {
        let (process, unserved) = {
            let mut state = self.lock();
            (state.processes.get(&id).cloned(), state.unserved.remove(&id))
        };
        let Some(process) = process.filter(|_| standby.is_usable()) else { return Start::Unusable };
        // Whoever goes last has no weight that could be set.
        standby.go_last(false);
        let log = new_log(revision);
        let assigned = {
            let (shared, revision) = (Arc::clone(self), Arc::clone(revision));
            let (group, stream) = (log.group.clone(), log.stream.clone());
            let assign = move || {
                let mut plan = shared.plan(id, &revision, &group, &stream, why)?;
                let environment: serde_json::Map<String, Value> =
                    plan.spec.environment.drain(..).map(|(name, value)| (name, Value::String(value))).collect();
                if let Value::Object(load) = &mut plan.load {
                    load.insert("environment".into(), Value::Object(environment));
                }
                Ok::<_, Failure>(process.assign(&plan.spec).map(|()| plan))
            };
            self.runtime.spawn_blocking(assign).await
        };
        match assigned {
            Ok(Ok(Ok(plan))) => {
                standby.assign(Arc::clone(revision), log, plan.lives_ms);
                standby.go_last(self.is_distrusted(revision));
                self.load(standby, unserved, &plan.load, plan.banner, limit).await
            }
            Ok(Ok(Err(error))) => {
                tracing::warn!(%error, "code could not be mounted into a standby");
                Start::Unusable
            }
            Ok(Err(failure)) => Start::Failed(failure.into()),
            Err(error) => Start::Failed(Failure::Unavailable(error.to_string()).into()),
        }
    }

    /// Registers a started process and wraps it; the sockets nobody serves yet are handed back.
    fn take_over(
        self: &Arc<Shared>,
        id: EnvironmentId,
        revision: Arc<Revision>,
        mut launched: Launched,
        speaks: Speaks,
        log: Log,
        lives_ms: u64,
    ) -> io::Result<(Box<Environment>, Option<Listeners>)> {
        let unserved = match (&launched.listeners, speaks) {
            (None, _) => None,
            (Some(_), Speaks::Frames) => launched.listeners.take(),
            (Some(listeners), _) => Some(Listeners {
                runtime_api: listeners.runtime_api.try_clone()?,
                api: listeners.api.try_clone()?,
                proxy: listeners.proxy.try_clone()?,
            }),
        };
        let (environment, process) = Environment::new(id, revision, launched, speaks, log, self.clock, lives_ms)?;
        self.lock().processes.insert(id, process);
        Ok((Box::new(environment), unserved))
    }

    /// Loads the function into an environment that has an owner now.
    async fn load(
        self: &Arc<Shared>,
        mut environment: Box<Environment>,
        unserved: Option<Listeners>,
        load: &Value,
        banner: Option<String>,
        limit: Duration,
    ) -> Start {
        let revision = Arc::clone(&environment.revision);
        if let (Some(egress), Some(listeners)) = (&self.options.egress, unserved) {
            let owner = Owner { account: revision.account.clone(), function: revision.function.clone() };
            let guards = vec![egress.serve(listeners.proxy, owner.clone()), egress.serve_api(listeners.api, owner)];
            self.lock().served.insert(environment.id, guards);
        }
        let (logs, group, stream) =
            (Arc::clone(&self.logs), environment.log.group.clone(), environment.log.stream.clone());
        let owner = (revision.account.clone(), revision.region.clone());
        environment.sink = Some(Box::new(move |batch| logs.write(&owner.0, &owner.1, &group, &stream, batch.lines)));
        if let Some(banner) = banner {
            environment.log.line(banner);
        }
        let begun = Instant::now();
        let ending = environment.load(load.to_string().as_bytes(), Instant::now() + limit).await;
        environment.drain_output();
        environment.look_at_memory();
        let failure = match ending {
            Ending::Ready => {
                self.hand_over_log(&mut environment);
                return Start::Ready(environment);
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
        let status = if matches!(failure, Failure::TimedOut) { "timeout" } else { "error" };
        let named = environment.init_error_type().filter(|_| matches!(failure, Failure::Reported(_)));
        let error_type = named.map(str::to_owned).or_else(|| failure.error_type());
        let duration_us = begun.elapsed().as_micros() as u64;
        environment.log.event(&Event::InitFailed { status, error_type: error_type.as_deref(), duration_us });
        self.hand_over_log(&mut environment);
        Start::Failed(Failed { failure, log: environment.log.tail() })
    }

    /// Starts a runtime without a function and reports it to the machine.
    pub(super) async fn stand_by(self: Arc<Shared>, id: EnvironmentId, class: Class) {
        let standby = self.blank(id, class).await;
        let now_ms = self.clock.now_ms();
        match standby {
            Ok((environment, unserved)) => self.decide(|state, effects| {
                state.parked.insert(id, environment);
                if let Some(unserved) = unserved {
                    state.unserved.insert(id, unserved);
                }
                state.machine.standby_ready(id, now_ms, effects);
            }),
            Err(error) => {
                tracing::warn!(%error, "a standby could not be started");
                self.decide(|state, effects| state.machine.standby_failed(id, now_ms, effects));
            }
        }
    }

    async fn blank(
        self: &Arc<Shared>,
        id: EnvironmentId,
        class: Class,
    ) -> io::Result<(Box<Environment>, Option<Listeners>)> {
        if self.is_closed() {
            return Err(io::Error::other("the server is shutting down"));
        }
        let shared = Arc::clone(self);
        let launch = move || {
            let spec = shared.blank_spec(id, class)?;
            shared.launcher.launch(&spec)
        };
        let launched = self.runtime.spawn_blocking(launch).await.map_err(io::Error::other)??;
        let revision = Arc::new(blank_revision(standby_mb(class)));
        let log = new_log(&revision);
        let (mut environment, unserved) = self.take_over(id, revision, launched, Speaks::Frames, log, u64::MAX)?;
        // Nobody waits for it.
        environment.go_last(true);
        match environment.greet(Instant::now() + Duration::from_millis(INIT_MS_MAX)).await {
            Ending::Hello => Ok((environment, unserved)),
            other => Err(io::Error::other(format!("it did not greet: {other:?}"))),
        }
    }

    fn blank_spec(&self, id: EnvironmentId, class: Class) -> io::Result<Spec> {
        let (installed, _) = self.found();
        let family = family(class);
        let interpreter = match family {
            Family::Node => installed.node.as_ref(),
            _ => installed.python.as_ref(),
        };
        let interpreter = interpreter.ok_or_else(|| io::Error::other("its interpreter is not installed"))?.clone();
        let program = self.program(family, &interpreter);
        let resolved = Resolved { family, interpreter, callbacks: true, warning: None };
        let memory_mb = standby_mb(class);
        let place = self.place(id, None);
        Ok(Spec {
            program,
            arguments: arguments(family, memory_mb, &place),
            environment: last_of_each(bare(&resolved, &place)),
            directory: if place.own_network { "/".into() } else { self.options.data_dir.join(RUNTIME_DIR) },
            memory_mb,
            tmp_mb: 512,
            scratch: self.scratch(id),
            listens: place.own_network,
            ..Spec::default()
        })
    }

    /// Where things are for the processes of this launcher.
    fn place(&self, id: EnvironmentId, trees: Option<(&PathBuf, Option<&PathBuf>)>) -> Place {
        match self.launcher.layout() {
            Layout::Own => Place {
                task: "/var/task".into(),
                runtime: "/var/runtime".into(),
                opt: "/opt".into(),
                scratch: None,
                own_network: true,
                endpoint_url: None,
            },
            layout @ (Layout::Fenced | Layout::Host) => Place {
                task: trees.map(|(code, _)| code.clone()).unwrap_or_default(),
                runtime: self.options.data_dir.join(RUNTIME_DIR),
                opt: trees.and_then(|(_, layers)| layers.cloned()).unwrap_or_else(|| "/opt".into()),
                // Behind a fence the launcher says where, and there is no network.
                scratch: (layout == Layout::Host).then(|| self.scratch(id)),
                own_network: false,
                endpoint_url: self.options.endpoint_url.clone().filter(|_| layout == Layout::Host),
            },
        }
    }

    /// An interpreter as the process sees it.
    fn program(&self, family: Family, interpreter: &Interpreter) -> PathBuf {
        self.found().1.program(family).map_or_else(|| interpreter.path.clone(), PathBuf::from)
    }

    fn launch(&self, spec: &Spec) -> Result<Launched, Failure> {
        self.launcher.launch(spec).map_err(|error| match error.kind() {
            // Nothing can run here: the text says why and what to do.
            io::ErrorKind::Unsupported => Failure::Unavailable(error.to_string()),
            _ => {
                let text = "the execution environment could not start";
                tracing::error!(%error, "{text}");
                Failure::Unavailable(text.to_owned())
            }
        })
    }

    /// What may block besides starting the process: unpacking and credentials.
    fn plan(
        &self,
        id: EnvironmentId,
        revision: &Revision,
        group: &str,
        stream: &str,
        initialization: Initialization,
    ) -> Result<Plan, Failure> {
        let installed: &Installed = self.installed();
        let resolved = runtimes::runnable(&revision.runtime, installed)
            .map_err(|refusal| Failure::Unavailable(refusal.message))?;
        if let Some(refusal) = self.found().1.refusal(&resolved.interpreter) {
            return Err(Failure::Unavailable(refusal));
        }
        let (code, layers) = self.trees(revision)?;
        let credentials = self.credentials.for_role(&revision.role_arn, &revision.function);
        let lives_ms = credentials.as_ref().map_or(u64::MAX, |credentials| {
            credentials.expires_at_ms.saturating_sub(epoch_ms()).saturating_sub(CREDENTIALS_MARGIN_MS)
        });
        let place = self.place(id, Some((&code, layers.as_ref())));
        let load = serde_json::json!({
            "handler": revision.handler,
            "taskRoot": place.task,
            "layersRoot": place.opt,
            "callbacks": resolved.callbacks,
            "ensureAscii": !matches!(revision.runtime.as_str(), "python3.12" | "python3.13" | "python3.14" | "python3.15"),
            "functionName": revision.function,
            "functionVersion": revision.version,
            "memorySize": revision.memory_mb.to_string(),
            "logGroup": group,
            "logStream": stream,
        });
        let facts = Facts { group, stream, initialization, credentials };
        let interpreter = self.program(resolved.family, &resolved.interpreter);
        let command = command(&resolved, revision, &place, (&code, layers.as_deref()), interpreter)
            .map_err(Failure::Entrypoint)?;
        if self.launcher.layout() == Layout::Fenced && command.speaks != Speaks::Frames {
            return Err(Failure::Unavailable(NO_NETWORK.to_owned()));
        }
        let spec = Spec {
            program: command.program,
            arguments: command.arguments,
            environment: last_of_each(variables(&resolved, revision, &place, facts)),
            directory: place.task.clone(),
            code: Some(code),
            layers,
            memory_mb: revision.memory_mb,
            tmp_mb: revision.ephemeral_storage_mb,
            scratch: self.scratch(id),
            listens: place.own_network || command.speaks != Speaks::Frames,
        };
        let (major, minor) = resolved.interpreter.version;
        let text = match resolved.family {
            Family::Provided => format!("INIT_START Runtime Version: {}", revision.runtime),
            _ => format!("INIT_START Runtime Version: {} ({major}.{minor})", revision.runtime),
        };
        let initialization = initialization_name(initialization);
        let banner = Event::InitStart { text: &text, runtime: &revision.runtime, initialization };
        let banner = banner.line(revision.logging.json.as_ref().map(|json| json.system_level));
        Ok(Plan { spec, speaks: command.speaks, load, lives_ms, banner })
    }

    /// The unpacked code and the merged layers of a revision, unpacked now if they are not there.
    fn trees(&self, revision: &Revision) -> Result<(PathBuf, Option<PathBuf>), Failure> {
        let data_dir = &self.options.data_dir;
        let both = trees::code(data_dir, revision).and_then(|code| Ok((code, trees::layers(data_dir, revision)?)));
        both.map_err(|error| {
            let detail = error.detail();
            tracing::error!(function = revision.function, detail, "a package could not be unpacked");
            match error {
                PackageError::Extension(_) => Failure::Unavailable(error.to_string()),
                _ => Failure::Unavailable("the function's code could not be unpacked".into()),
            }
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

fn new_log(revision: &Revision) -> Log {
    Log::new(&revision.function, &revision.version, &uuid::Uuid::new_v4().simple().to_string(), &revision.logging)
}

/// Variables by name, the last value of each: what a process gets must not depend on which one it finds first.
fn last_of_each(variables: Vec<(String, String)>) -> Vec<(String, String)> {
    variables.into_iter().collect::<BTreeMap<_, _>>().into_iter().collect()
}

/// Stands for the revision of an environment that has none yet.
pub(crate) fn blank_revision(memory_mb: u32) -> Revision {
    Revision {
        account: String::new(),
        region: String::new(),
        function: String::new(),
        version: String::new(),
        revision_id: String::new(),
        role_arn: String::new(),
        runtime: String::new(),
        handler: String::new(),
        memory_mb,
        timeout_s: 0,
        ephemeral_storage_mb: 512,
        environment: BTreeMap::new(),
        code_sha256: String::new(),
        code_zip: PathBuf::new(),
        layers: Vec::new(),
        logging: Logging::default(),
    }
}
