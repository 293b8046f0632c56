//! What a function reaches from inside its sandbox: the outside, by a proxy, and this server's own API.
//!
//! A sandbox has a network namespace with nothing but `lo`. Two sockets listen there, made inside and passed out; this
//! module serves them from outside. [`Egress::serve`] is the way out: an HTTP proxy that knows names, applies
//! [`policy`] to the address it is about to connect to, and connects to that very address.
//! [`Egress::serve_api`] hands connections to the server's own listener, as those of a function and not of this host.
//!
//! Everything runs on a thread of its own, so that what functions transfer delays no request of anybody else.

mod head;
mod own;
pub mod policy;
mod proxy;
mod refusal;
#[cfg(test)]
mod tests;
mod told;

use std::{
    collections::HashMap,
    future::Future,
    io,
    net::{SocketAddr, TcpListener, TcpStream},
    pin::Pin,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use tokio::{
    runtime::{Handle, Runtime},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::{AbortHandle, JoinSet},
};

use own::Own;
use policy::{Policies, Policy};
use told::Told;

/// Connections of one environment, to the outside and to the API each. Below what its own descriptors allow.
pub const ENVIRONMENT_CONNECTIONS_MAX: usize = 64;
/// Connections to the outside of one account's environments.
const ACCOUNT_CONNECTIONS_MAX: usize = 512;
/// Connections to the outside of all environments; each holds two descriptors and 32 KiB.
const NODE_CONNECTIONS_MAX: usize = 2_048;
/// Names being looked up at once, by one environment and by all: each holds a thread.
const ENVIRONMENT_LOOKUPS_MAX: usize = 4;
const NODE_LOOKUPS_MAX: usize = 32;
/// How long to wait after the host refused to accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Whose environment it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// 12 digits.
    pub account: String,
    /// The function's name.
    pub function: String,
}

/// A connection that a function made to the API.
pub struct Call {
    pub stream: TcpStream,
    pub owner: Owner,
    /// Kept as long as the connection lives.
    pub permit: OwnedSemaphorePermit,
}

/// Takes connections to the API; called on the egress thread, must not block.
pub type Api = Arc<dyn Fn(Call) + Send + Sync>;

/// Finds the addresses of a name.
pub type Resolve = Arc<dyn Fn(String, u16) -> Found + Send + Sync>;
/// What [`Resolve`] gives.
pub type Found = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>;

/// Settings of [`Egress`].
#[derive(Default)]
pub struct Options {
    pub policies: Policies,
    /// Who takes connections to the API. `None`: they are closed.
    pub api: Option<Api>,
    /// `None`: as this host resolves names.
    pub resolve: Option<Resolve>,
}

/// The ways out of all environments. A cheap handle.
#[derive(Clone)]
pub struct Egress {
    shared: Arc<Shared>,
}

impl std::fmt::Debug for Egress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Egress").field("policies", &self.shared.policies).finish_non_exhaustive()
    }
}

struct Shared {
    policies: Policies,
    api: Option<Api>,
    resolve: Resolve,
    own: Own,
    told: Told,
    node: Arc<Semaphore>,
    accounts: Mutex<HashMap<String, Weak<Semaphore>>>,
    lookups: Arc<Semaphore>,
    handle: Handle,
    /// `None` only while it is dropped.
    runtime: Option<Runtime>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // The last handle may be let go of on another runtime, where waiting is forbidden.
            runtime.shutdown_background();
        }
    }
}

impl Egress {
    /// Starts the thread.
    ///
    /// # Errors
    /// When it cannot be had.
    pub fn start(options: Options) -> io::Result<Egress> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .max_blocking_threads(NODE_LOOKUPS_MAX)
            .thread_name("egress")
            .enable_all()
            .build()?;
        let shared = Shared {
            policies: options.policies,
            api: options.api,
            resolve: options.resolve.unwrap_or_else(|| Arc::new(as_the_host_does)),
            own: Own::default(),
            told: Told::default(),
            node: Arc::new(Semaphore::new(NODE_CONNECTIONS_MAX)),
            accounts: Mutex::default(),
            lookups: Arc::new(Semaphore::new(NODE_LOOKUPS_MAX)),
            handle: runtime.handle().clone(),
            runtime: Some(runtime),
        };
        Ok(Egress { shared: Arc::new(shared) })
    }

    /// Serves the proxy of one environment until the guard is dropped, which also ends its connections.
    ///
    /// Never blocks. Everything the environment may do is bounded: 64 connections, and shares of what its account and
    /// the node have.
    pub fn serve(&self, listener: TcpListener, owner: Owner) -> Guard {
        let place = Arc::new(Place {
            policy: self.shared.policies.of(&owner.account).clone(),
            account: self.shared.account(&owner.account),
            lookups: Arc::new(Semaphore::new(ENVIRONMENT_LOOKUPS_MAX)),
            owner,
        });
        let shared = Arc::clone(&self.shared);
        self.accept(listener, move |stream, permit| {
            let Ok(stream) = tokio::net::TcpStream::from_std(stream) else { return None };
            Some(proxy::serve(Arc::clone(&shared), Arc::clone(&place), stream, permit))
        })
    }

    /// Hands what connects to the API of one environment to [`Options::api`], until the guard is dropped. Connections
    /// that were handed over are the server's, and end when the environment's end of them does.
    pub fn serve_api(&self, listener: TcpListener, owner: Owner) -> Guard {
        let api = self.shared.api.clone();
        self.accept(listener, move |stream, permit| {
            if let Some(api) = &api {
                api(Call { stream, owner: owner.clone(), permit });
            }
            None::<std::future::Ready<()>>
        })
    }

    /// Accepts until the guard is dropped. `each` takes a connection and may give a task for it.
    fn accept<T: Future<Output = ()> + Send + 'static>(
        &self,
        listener: TcpListener,
        each: impl Fn(TcpStream, OwnedSemaphorePermit) -> Option<T> + Send + 'static,
    ) -> Guard {
        let room = Arc::new(Semaphore::new(ENVIRONMENT_CONNECTIONS_MAX));
        let task = self.shared.handle.spawn(async move {
            let listener =
                match listener.set_nonblocking(true).and_then(|()| tokio::net::TcpListener::from_std(listener)) {
                    Ok(listener) => listener,
                    Err(error) => return tracing::error!(%error, "a sandbox cannot be listened to"),
                };
            let mut connections = JoinSet::new();
            loop {
                while connections.try_join_next().is_some() {}
                // Who has no room left waits in the backlog, and then fails to connect, inside the sandbox alone.
                let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
                match listener.accept().await.and_then(|(stream, _)| stream.into_std()) {
                    Ok(stream) => {
                        if let Some(task) = each(stream, permit) {
                            connections.spawn(task);
                        }
                    }
                    Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
                }
            }
        });
        Guard { task: task.abort_handle() }
    }
}

impl Shared {
    /// What bounds an account, made when it is first needed and forgotten when nobody uses it.
    fn account(&self, account: &str) -> Arc<Semaphore> {
        let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = accounts.get(account).and_then(Weak::upgrade) {
            return found;
        }
        accounts.retain(|_, known| known.strong_count() > 0);
        let made = Arc::new(Semaphore::new(ACCOUNT_CONNECTIONS_MAX));
        accounts.insert(account.to_owned(), Arc::downgrade(&made));
        made
    }
}

/// Ends what it stands for when dropped.
#[derive(Debug)]
pub struct Guard {
    task: AbortHandle,
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One environment, as its connections see it.
struct Place {
    owner: Owner,
    policy: Policy,
    account: Arc<Semaphore>,
    lookups: Arc<Semaphore>,
}

fn as_the_host_does(name: String, port: u16) -> Found {
    Box::pin(async move { Ok(tokio::net::lookup_host((name, port)).await?.collect()) })
}
