//! A whole server in this process: store, control plane, environments, data threads and admin socket.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context as _, anyhow, bail};
use control::{Control, LogWriter, RoleSessions, SystemClock, vault::Vault};
use environment::{
    Standbys, Supervisor,
    egress::{self, Egress},
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use store::{Embedded, Store};
use tokio::runtime::Runtime;

use crate::{
    admin,
    isolation::{self, Begun, Functions, Settled},
    listen::{self, Door, Shared, Threads},
    settings::{self, Settings},
    watch::{Watcher, Watching},
};

/// How long requests in flight may take once the server is told to stop.
const GRACE: Duration = Duration::from_secs(10);
/// How long functions may take after the last request.
const FUNCTIONS_GRACE: Duration = Duration::from_secs(1);
/// How long background work may take to write what it holds.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);
/// Threads of the control plane, its background work and the environments.
const CONTROL_THREADS: usize = 2;
/// Threads on which the control plane waits for the disk.
const BLOCKING_THREADS_MAX: usize = 64;

/// Why an account is refused where functions are not kept apart.
pub const SECOND_ACCOUNT: &str = "this server runs functions unisolated (--isolation none), which only one account may \
                                  use; start it without --isolation none to have more";

/// A running server.
pub struct Server {
    address: SocketAddr,
    runtime: Runtime,
    store: Arc<dyn Store>,
    shared: Arc<Shared>,
    threads: Threads,
    admin: admin::Listener,
    watcher: Option<Watcher>,
    told: Told,
}

/// What is to be said once, at the start, of what keeps functions apart.
pub struct Told {
    /// What was tried, for people.
    pub table: Option<String>,
    /// What somebody could come to regret.
    pub warnings: Vec<String>,
}

impl Server {
    /// Starts a server; requests are answered when this returns. Blocks for some hundred milliseconds; not to be called
    /// from within asynchronous code.
    ///
    /// # Errors
    /// A sentence for the user, ending with what to do: the address or the data directory is in use, the data is
    /// damaged, a socket or thread cannot be had.
    pub fn start(settings: &Settings, begun: Begun) -> anyhow::Result<Self> {
        take_turns();
        raise_descriptor_limit();
        let store = open_store(&settings.data_dir)?;
        let vault = Arc::new(Vault::open(&settings.data_dir).context("the key of the data directory cannot be used")?);
        let (address, listeners) = listen::bind(settings.listen, settings.threads).map_err(|error| {
            let address = settings.listen;
            anyhow!("cannot listen on {address}: {error}. Stop what uses it, or choose another with --listen")
        })?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(CONTROL_THREADS)
            .max_blocking_threads(BLOCKING_THREADS_MAX)
            .thread_name("control")
            .enable_all()
            .build()
            .context("the control plane's threads cannot be started")?;
        let entered = runtime.enter();
        let store: Arc<dyn Store> = store;
        let clock = Arc::new(SystemClock);
        let sessions = RoleSessions::new(Arc::clone(&store), Arc::clone(&vault), clock.clone());
        let watching = Watching::prepare(settings)?;
        let door = Door::new(listeners.len());
        let egress = egress::Options { policies: settings::policies(settings)?, api: Some(door.api()), resolve: None };
        let egress = Egress::start(egress).context("the functions' way out cannot be served")?;
        let events = store::logs::Embedded::open(&settings.data_dir, &store::logs::Options::default())
            .map_err(|error| told(&settings.data_dir, error))?;
        let logs = LogWriter::start(Arc::clone(&store), Arc::clone(&vault), clock.clone(), Arc::new(events))
            .context("logs cannot be written")?;
        let sinks = Arc::new(logs.clone());
        let Settled { directory, launch, functions, table, warnings } = begun.settle(settings);
        let options = environment::Options {
            standbys: standbys(settings, &functions.now()),
            ..functions_options(settings, directory, address, egress)
        };
        let runner = Supervisor::start_with(options, runtime.handle().clone(), Arc::new(sessions), sinks, launch)
            .context("functions cannot be run")?;
        let options = control::Options {
            development_credentials: settings.dev_credentials,
            trail_delivery_s: settings.trail_delivery_s,
            trail_digest_s: settings.trail_digest_s,
            // Refusals of the control plane are rarer than requests.
            decisions_max: settings.decisions / 10,
            decision_header: settings.decision_header,
            directories: watching.directories(),
        };
        let gateway = gateway::Options {
            decisions_max: settings.decisions,
            decision_header: settings.decision_header,
            ..gateway::Options::default()
        };
        let control = Control::start(options, Arc::clone(&store), vault, clock, runner, logs, gateway)
            .map_err(|error| anyhow!("the control plane cannot start: {} ({:?})", error.message, error.cause))?;
        let trusted = settings::networks(&settings.trusted_proxies)?;
        let single_tenant = settings.isolation == settings::Isolation::None;
        if single_tenant {
            check_single_tenant(&control)?;
        }
        let (handle, threads) = (runtime.handle().clone(), listeners.len());
        let shared = Arc::new(Shared::new(control, handle, trusted, functions, single_tenant, threads));
        let about = admin::About {
            address: url(address),
            data_dir: settings.data_dir.display().to_string(),
            dev_credentials: settings.dev_credentials,
        };
        let admin = admin::Listener::start(&settings.data_dir, about, &shared)?;
        let threads = Threads::start(&shared, listeners, door).context("the data threads cannot be started")?;
        drop(entered);
        let watcher = Watcher::start(watching, settings, shared.control.clone(), runtime.handle().clone())?;
        Ok(Self { address, runtime, store, shared, threads, admin, watcher, told: Told { table, warnings } })
    }

    /// Where it listens, with the real port.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What is to be said at the start.
    #[must_use]
    pub fn told(&self) -> &Told {
        &self.told
    }

    /// Whether functions run, and what keeps them apart.
    #[must_use]
    pub fn functions(&self) -> Functions {
        self.shared.functions.now()
    }

    /// A descriptor that becomes readable when functions have ceased to run for good, if that can be.
    ///
    /// # Errors
    /// When no more descriptors can be had.
    pub fn lost(&self) -> std::io::Result<Option<std::os::fd::OwnedFd>> {
        self.shared.functions.lost()
    }

    /// Where a client of this machine reaches it.
    #[must_use]
    pub fn url(&self) -> String {
        url(self.address)
    }

    /// Stops: no new connections; requests in flight end, within 10 seconds; functions end; the store is closed.
    pub async fn stop(self) {
        let (done, stopped) = tokio::sync::oneshot::channel();
        // A thread of its own, because a runtime cannot be waited for from within another.
        std::thread::spawn(move || {
            self.stop_blocking();
            let _ = done.send(());
        });
        let _ = stopped.await;
    }

    fn stop_blocking(self) {
        let Self { address: _, runtime, store, shared, threads, admin, watcher, told: _ } = self;
        shared.stopping.store(true, Ordering::Relaxed);
        if let Some(watcher) = watcher {
            watcher.stop();
        }
        threads.stop(GRACE);
        admin.stop();
        let runner = shared.control.runner().clone();
        runtime.block_on(runner.shutdown(FUNCTIONS_GRACE));
        drop((shared, runner));
        // Whoever still holds the store is writing what it has taken on. Closing it folds its log into the database.
        let deadline = Instant::now() + FLUSH_TIMEOUT;
        while Arc::strong_count(&store) > 1 && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        runtime.shutdown_timeout(FLUSH_TIMEOUT);
        drop(store);
    }
}

/// Where functions do not run nothing is to be kept started for them.
fn standbys(settings: &Settings, functions: &Functions) -> Standbys {
    if settings.standbys && functions.reason.is_none() { Standbys::InSandboxes } else { Standbys::Off }
}

/// How functions are run.
fn functions_options(
    settings: &Settings,
    data_dir: PathBuf,
    address: SocketAddr,
    egress: Egress,
) -> environment::Options {
    environment::Options {
        data_dir,
        node: settings.node.clone(),
        python: settings.python.clone(),
        endpoint_url: Some(url(address)),
        egress: Some(egress),
        freeze: settings.freeze,
        stream_shaping: settings.stream_shaping,
        unisolated_banner: settings.isolation == settings::Isolation::None,
        ..environment::Options::default()
    }
}

/// Without isolation every function can be every account.
fn check_single_tenant(control: &Control) -> anyhow::Result<()> {
    let accounts = control.list_accounts().map_err(|error| anyhow!("accounts cannot be read: {}", error.message))?;
    if accounts.len() > 1 {
        bail!("there are {} accounts, and {SECOND_ACCOUNT}", accounts.len());
    }
    Ok(())
}

/// Where clients of this machine find a server bound to `address`.
#[must_use]
pub fn url(address: SocketAddr) -> String {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    format!("http://{}", SocketAddr::new(ip, address.port()))
}

/// Opens the store of a data directory.
///
/// # Errors
/// A sentence for the user, ending with what to do.
pub fn open_store(data_dir: &Path) -> anyhow::Result<Arc<Embedded>> {
    Embedded::open(data_dir, store::Options::default()).map(Arc::new).map_err(|error| told(data_dir, error))
}

/// A failure to open the store, with the next step.
#[must_use]
pub fn told(data_dir: &Path, error: store::Error) -> anyhow::Error {
    let dir = data_dir.display();
    let whose = isolation::whose_data(data_dir);
    let next = match &error {
        store::Error::Locked { .. } => "Stop the other server first, or choose another --data-dir",
        store::Error::Corrupt(_) => "Nothing was changed. Restore a backup, or choose another --data-dir",
        store::Error::Invalid(_) => "Start the newer version that wrote it, or choose another --data-dir",
        store::Error::Full => "Make room on its disk, then start again",
        _ => "Check that the directory exists and is writable for this user, or choose another --data-dir",
    };
    anyhow!("the data directory {dir} cannot be used: {error}. {next}{whose}")
}

/// For this thread and all that come of it.
fn take_turns() {
    if let Err(error) = sandbox::take_short_turns() {
        tracing::debug!(%error, "the host keeps to its usual turns: answers take longer when cores are short");
    }
}

/// Every connection and every environment takes descriptors, and the usual soft limit is 1,024.
fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if limit.current != limit.maximum && setrlimit(Resource::Nofile, raised).is_err() {
        tracing::debug!("the limit of open files stays as it is");
    }
}

#[cfg(test)]
mod tests {
    use super::url;

    #[test]
    fn unspecified_addresses_are_reached_over_loopback() {
        for (address, expected) in [
            ("127.0.0.1:4566", "http://127.0.0.1:4566"),
            ("0.0.0.0:1", "http://127.0.0.1:1"),
            ("[::]:1", "http://[::1]:1"),
            ("192.0.2.1:80", "http://192.0.2.1:80"),
        ] {
            assert_eq!(url(address.parse().unwrap()), expected);
        }
    }
}
