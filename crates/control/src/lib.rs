//! The control plane: verify, authorize, apply, commit, publish, record, answer.
//!
//! Operations are pure and live with their nouns; this crate runs them against the store and makes their changes take
//! effect. It alone knows both bytes and nouns. It opens no socket: the listener hands requests in.

pub mod accounts;
mod answer;
mod asynchronous;
mod audit;
mod authorize;
mod callers;
mod clock;
mod commit;
mod decisions;
mod delivery;
mod dispatch;
mod exchange;
mod functions;
mod host;
mod invoker;
pub mod lint;
mod logs;
mod preparing;
mod provisioned;
mod publish;
mod reader;
mod registry;
mod reload;
mod role;
mod session;
mod trail;
mod upload;
pub mod vault;
mod verify;

use std::sync::{Arc, Mutex, OnceLock};

use environment::Supervisor;
use gateway::Gateway;
use service::ServiceError;
use store::Store;

pub use answer::{Answer, Body};
pub use clock::{Clock, SystemClock};
pub use decisions::PATH as DECISIONS_PATH;
pub use dispatch::{Request, Response};
pub use functions::FunctionKey;
pub use invoker::Invoker;
pub use logs::LogWriter;
pub use registry::{implemented, refused};
pub use reload::{Code, Directories};
pub use session::RoleSessions;
pub use verify::FUNCTION_CLIENT;

use crate::{
    audit::Audit, authorize::Compiled, functions::Functions, host::NodeHost, vault::Vault, verify::SigningKeys,
};

/// Settings of the control plane.
#[derive(Debug, Clone)]
pub struct Options {
    /// The named development mode: a 12-digit access key id is that account's root identity, `test` is 000000000000, and
    /// the secret is not checked. Keys issued by IAM are always verified.
    pub development_credentials: bool,
    /// How often trails deliver, seconds; AWS delivers about every five minutes.
    pub trail_delivery_s: u64,
    /// How often digests are written for trails that validate, seconds; AWS writes one an hour.
    pub trail_digest_s: u64,
    /// How many refusals are kept for `explain`; 0 keeps none.
    pub decisions_max: usize,
    /// Whether refusals name their decision in `x-portcullis-decision`.
    pub decision_header: bool,
    /// Directories of this host from which functions may be made. `None`: there are none.
    pub directories: Option<Arc<dyn Directories>>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            development_credentials: false,
            trail_delivery_s: 300,
            trail_digest_s: 3600,
            decisions_max: 10_000,
            decision_header: true,
            directories: None,
        }
    }
}

/// Handle of the control plane; clones share everything.
#[derive(Clone)]
pub struct Control {
    inner: Arc<Inner>,
}

/// What the calls share.
pub(crate) struct Inner {
    options: Options,
    store: Arc<dyn Store>,
    vault: Arc<Vault>,
    clock: Arc<dyn Clock>,
    audit: Arc<Audit>,
    functions: Arc<Functions>,
    preparing: preparing::Preparing,
    runner: Supervisor,
    logs: LogWriter,
    compiled: Compiled,
    signing_keys: SigningKeys,
    unproven: Mutex<audit::Allowance>,
    publishing: Mutex<()>,
    refusals: Option<decisions::Refusals>,
    /// Events of asynchronous invocations.
    events: Arc<asynchronous::EventQueue>,
    /// Set once, right after the gateway has been given its way to functions.
    gateway: OnceLock<Gateway>,
}

impl Control {
    /// Starts the control plane over a store: everything deployed is published to a new gateway when this returns.
    /// Must be called on the runtime that is to run background work.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn start(
        options: Options,
        store: Arc<dyn Store>,
        vault: Arc<Vault>,
        clock: Arc<dyn Clock>,
        runner: Supervisor,
        logs: LogWriter,
        gateway_options: gateway::Options,
    ) -> Result<Self, ServiceError> {
        let refusals = (options.decisions_max > 0).then(|| gateway::Ring::new(options.decisions_max, rand::random()));
        let (preparing, waiting) = preparing::Preparing::new();
        let events = asynchronous::EventQueue::open(Arc::clone(&store), Arc::clone(&vault), Arc::clone(&clock))
            .map_err(|error| reader::unavailable(&error))?;
        let inner = Arc::new(Inner {
            refusals,
            events: Arc::new(events),
            options,
            audit: Audit::start(Arc::clone(&store)),
            store,
            vault,
            clock: Arc::clone(&clock),
            functions: Arc::default(),
            preparing,
            runner,
            logs: logs.clone(),
            compiled: Compiled::default(),
            signing_keys: SigningKeys::default(),
            unproven: Mutex::default(),
            publishing: Mutex::new(()),
            gateway: OnceLock::new(),
        });
        let ports = gateway::Ports {
            invoke: Arc::new(Invoker::new(Arc::downgrade(&inner))),
            callers: Arc::new(callers::SignedCallers::new(Arc::downgrade(&inner))),
            logs: Arc::new(logs),
        };
        let gateway =
            Gateway::new(gateway_options, ports, Arc::new(clock::GatewayClock(clock)), Arc::new(gateway::ThreadRandom));
        inner.gateway.get_or_init(|| gateway);
        preparing::start(Arc::downgrade(&inner), waiting);
        inner.publish_all()?;
        delivery::start(Arc::clone(&inner));
        asynchronous::start(&inner);
        Ok(Self { inner })
    }

    /// The data plane this control plane publishes to.
    #[must_use]
    pub fn gateway(&self) -> Gateway {
        self.inner.gateway().clone()
    }

    /// Answers one control-plane request. Never fails: an error is an answer too.
    pub async fn handle(&self, request: Request) -> Answer {
        let inner = Arc::clone(&self.inner);
        let step = match dispatch::Way::of(&request) {
            dispatch::Way::S3 => return exchange::s3::handle(&self.inner, request).await.into(),
            dispatch::Way::Decision => tokio::task::spawn_blocking(move || decisions::answer(&inner, &request)).await,
            dispatch::Way::Code => tokio::task::spawn_blocking(move || dispatch::code_at(&inner, &request)).await,
            dispatch::Way::Call(routed) => {
                tokio::task::spawn_blocking(move || dispatch::run(&inner, &request, routed)).await
            }
        };
        match step {
            Ok(dispatch::Step::Done(response)) => response.into(),
            Ok(dispatch::Step::Invoke(invoke)) => invoke.run(&self.inner).await.into(),
            Ok(dispatch::Step::Stream(invoke)) => invoke.stream(&self.inner).await,
            Ok(dispatch::Step::Test(test)) => test.run(&self.inner).await.into(),
            Err(error) => {
                tracing::error!(%error, "a call panicked");
                dispatch::failed().into()
            }
        }
    }

    /// A decision of either plane, as whoever runs the installation may see it; `None` if none of that id is kept.
    #[must_use]
    pub fn explain(&self, id: &str) -> Option<serde_json::Value> {
        self.inner.explain(id, gateway::Viewer::Operator)
    }

    /// Creates an account; see [`accounts::create`]. Blocks.
    ///
    /// # Errors
    /// As there.
    pub fn create_account(&self, id: &str, name: &str) -> Result<accounts::CreatedAccount, ServiceError> {
        accounts::create(&*self.inner.store, &self.inner.vault, self.inner.clock.now(), id, name)
    }

    /// Lists accounts; see [`accounts::list`]. Blocks.
    ///
    /// # Errors
    /// As there.
    pub fn list_accounts(&self) -> Result<Vec<accounts::ListedAccount>, ServiceError> {
        accounts::list(&*self.inner.store, &self.inner.vault)
    }

    /// Events of asynchronous invocations that have not ended, of all accounts: those that wait and those being run. Blocks;
    /// costs the same however many they are.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn events_waiting(&self) -> Result<u64, ServiceError> {
        self.inner.events.count().map_err(|error| reader::unavailable(&error))
    }
}

impl Inner {
    fn gateway(&self) -> &Gateway {
        #[expect(clippy::expect_used, reason = "set in `Control::start` before anything can call")]
        self.gateway.get().expect("the gateway is set at start")
    }

    fn host(&self) -> NodeHost {
        NodeHost { vault: Arc::clone(&self.vault), functions: Some((self.runner.clone(), Arc::clone(&self.functions))) }
    }

    fn uuid(&self) -> String {
        uuid::Uuid::new_v4().to_string()
    }

    /// Evenly from 0 up to, not including, 1.
    fn roll(&self) -> f64 {
        rand::random::<f64>()
    }

    /// Milliseconds to wait before an operation is applied again: longer each time, never in step with another.
    fn jitter(&self, attempt: u32) -> u32 {
        rand::random_range(0..=(1u32 << attempt.min(6)))
    }
}

impl std::fmt::Debug for Control {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Control")
    }
}

impl Control {
    /// Runs functions; for shutting them down last.
    #[must_use]
    pub fn runner(&self) -> &Supervisor {
        &self.inner.runner
    }
}
