//! One port for both planes.
//!
//! Each data thread is a runtime of its own with its own listener on the shared port; the kernel spreads connections
//! over them, and a thread that got too many hands new ones to the emptiest. Requests of the data plane are answered
//! where they arrive. Everything else is spawned on the control runtime, so that nothing slow runs on a data thread.

mod body;
mod connection;
mod door;
mod outgoing;
mod own;
mod peer;
mod spelling;
mod tap;

use std::{
    io,
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use control::Control;
use environment::egress::Call;
use gateway::Gateway;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use tokio::{
    runtime::Handle,
    sync::{Semaphore, mpsc, watch},
    task::{JoinSet, LocalSet},
    time::timeout_at,
};

pub(crate) use door::Door;
pub(crate) use own::VERSION;
pub use peer::Network;

use crate::isolation::Watched;
use body::Budget;
use connection::Origin;

/// Longest head of a request: request line and fields together.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// Connections of all threads; one more is closed at once.
const CONNECTIONS_MAX: usize = 10_000;
/// Control-plane requests being answered or waiting for it; one more is a 503.
const CONTROL_REQUESTS_MAX: usize = 2_048;
/// Bodies of control-plane requests held in memory, all together.
const CONTROL_BODIES_BYTES_MAX: usize = 512 << 20;
/// Connections the kernel keeps until a thread accepts them.
const BACKLOG: i32 = 1_024;
/// How much fuller than the emptiest a thread may be before it hands a new connection over.
const SLOPE: usize = 2;
/// Connections on their way from one thread to another; beyond it they stay where they were accepted.
const HANDED_MAX: usize = 64;
/// How long to wait after the machine refused to accept, for lack of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What every connection shares.
pub(crate) struct Shared {
    pub(crate) gateway: Gateway,
    pub(crate) control: Control,
    /// Where control-plane requests run.
    pub(crate) runtime: Handle,
    pub(crate) trusted_proxies: Vec<Network>,
    pub(crate) functions: Watched,
    /// Held while an account is created, where there may be but one.
    pub(crate) single_tenant: Option<Mutex<()>>,
    pub(crate) started: Instant,
    pub(crate) stopping: AtomicBool,
    budget: Budget,
    control_requests: Arc<Semaphore>,
    /// Connections by thread.
    connections: Vec<AtomicUsize>,
}

impl Shared {
    pub(crate) fn new(
        control: Control,
        runtime: Handle,
        trusted_proxies: Vec<Network>,
        functions: Watched,
        single_tenant: bool,
        threads: usize,
    ) -> Self {
        Self {
            functions,
            single_tenant: single_tenant.then(Mutex::default),
            gateway: control.gateway(),
            control,
            runtime,
            trusted_proxies,
            started: Instant::now(),
            stopping: AtomicBool::new(false),
            budget: Budget::new(CONTROL_BODIES_BYTES_MAX),
            control_requests: Arc::new(Semaphore::new(CONTROL_REQUESTS_MAX)),
            connections: (0..threads).map(|_| AtomicUsize::new(0)).collect(),
        }
    }

    /// Connections open now.
    pub(crate) fn connections(&self) -> usize {
        self.connections.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }

    /// The thread that should serve a connection accepted by `own`.
    fn place(&self, own: usize) -> usize {
        let count = |thread: usize| self.connections.get(thread).map_or(usize::MAX, |c| c.load(Ordering::Relaxed));
        let emptiest = (0..self.connections.len()).min_by_key(|thread| count(*thread)).unwrap_or(own);
        if count(own) >= count(emptiest).saturating_add(SLOPE) { emptiest } else { own }
    }
}

/// Takes the address, with one listening socket for each thread. Port 0 takes a free one.
///
/// # Errors
/// When the address is in use, even by another server of ours, or cannot be had.
pub(crate) fn bind(address: SocketAddr, threads: usize) -> io::Result<(SocketAddr, Vec<TcpListener>)> {
    // Sockets that share a port would share it with a second server too. This one does not, and so finds out.
    let probe = socket(address)?;
    probe.bind(&SockAddr::from(address))?;
    let address = probe.local_addr()?.as_socket().ok_or(io::ErrorKind::AddrNotAvailable)?;
    drop(probe);
    let listeners = (0..threads).map(|_| {
        let socket = socket(address)?;
        socket.set_reuse_port(true)?;
        socket.bind(&SockAddr::from(address))?;
        socket.listen(BACKLOG)?;
        Ok(TcpListener::from(socket))
    });
    Ok((address, listeners.collect::<io::Result<_>>()?))
}

fn socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// A connection that another has accepted.
enum Handed {
    /// A data thread, which has counted it for the one that gets it.
    Accepted(TcpStream),
    /// Egress, out of a sandbox.
    Called(Call),
}

/// The data threads.
pub(crate) struct Threads {
    stop: watch::Sender<Option<Duration>>,
    handles: Vec<JoinHandle<()>>,
}

impl Threads {
    /// Begins to accept.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub(crate) fn start(shared: &Arc<Shared>, listeners: Vec<TcpListener>, door: Door) -> io::Result<Self> {
        let (stop, stopped) = watch::channel(None);
        let (senders, receivers) = door.into_ends();
        let mut handles = Vec::with_capacity(listeners.len());
        for (index, (listener, handed)) in listeners.into_iter().zip(receivers).enumerate() {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let thread =
                Thread { index, shared: Arc::clone(shared), others: senders.clone(), handed, stop: stopped.clone() };
            let run = move || LocalSet::new().block_on(&runtime, thread.run(listener));
            handles.push(std::thread::Builder::new().name(format!("data-{index}")).spawn(run)?);
        }
        Ok(Self { stop, handles })
    }

    /// Accepts nothing more, gives requests in flight `grace` to end, and closes what is left. Blocks.
    pub(crate) fn stop(self, grace: Duration) {
        let _ = self.stop.send(Some(grace));
        for handle in self.handles {
            if handle.join().is_err() {
                tracing::error!("a data thread panicked");
            }
        }
    }
}

/// One data thread.
struct Thread {
    index: usize,
    shared: Arc<Shared>,
    others: Vec<mpsc::Sender<Handed>>,
    handed: mpsc::Receiver<Handed>,
    stop: watch::Receiver<Option<Duration>>,
}

impl Thread {
    async fn run(mut self, listener: TcpListener) {
        let listener = match tokio::net::TcpListener::from_std(listener) {
            Ok(listener) => listener,
            Err(error) => return tracing::error!(%error, "a data thread cannot listen"),
        };
        let mut connections = JoinSet::new();
        let (close, closed) = watch::channel(false);
        loop {
            tokio::select! {
                _ = self.stop.changed() => break,
                Some(_) = connections.join_next(), if !connections.is_empty() => self.left(),
                Some(handed) = self.handed.recv() => self.handed(&mut connections, handed, &closed),
                accepted = listener.accept() => match accepted {
                    Ok((socket, _)) => self.arrived(&mut connections, socket, &closed),
                    Err(error) if is_about_the_connection(&error) => {}
                    Err(error) => {
                        tracing::warn!(%error, "no connection can be accepted");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
        drop(listener);
        let grace = self.stop.borrow().unwrap_or_default();
        let _ = close.send(true);
        let deadline = tokio::time::Instant::now() + grace;
        while let Ok(Some(_)) = timeout_at(deadline, connections.join_next()).await {
            self.left();
        }
        if !connections.is_empty() {
            tracing::warn!(connections = connections.len(), "connections are cut off: their requests took too long");
        }
    }

    fn handed(&self, connections: &mut JoinSet<()>, handed: Handed, closed: &watch::Receiver<bool>) {
        let (socket, origin) = match handed {
            Handed::Accepted(socket) => (socket, Origin::Network),
            Handed::Called(_) if self.shared.connections() >= CONNECTIONS_MAX => return,
            Handed::Called(Call { stream, permit, owner }) => {
                tracing::trace!(owner.account, owner.function, "a function connects");
                self.entered(self.index);
                (stream, Origin::Function { _permit: permit })
            }
        };
        match tokio::net::TcpStream::from_std(socket) {
            Ok(socket) => self.serve(connections, socket, origin, closed),
            Err(error) => {
                self.left();
                tracing::debug!(%error, "a connection handed over is lost");
            }
        }
    }

    fn arrived(&self, connections: &mut JoinSet<()>, socket: tokio::net::TcpStream, closed: &watch::Receiver<bool>) {
        if self.shared.connections() >= CONNECTIONS_MAX {
            tracing::warn!(max = CONNECTIONS_MAX, "a connection is refused: too many are open");
            return;
        }
        let place = self.shared.place(self.index);
        self.entered(place);
        if place == self.index {
            return self.serve(connections, socket, Origin::Network, closed);
        }
        let Some(other) = self.others.get(place) else { return };
        let Ok(socket) = socket.into_std() else { return self.leave(place) };
        if let Err(error) = other.try_send(Handed::Accepted(socket)) {
            self.leave(place);
            self.entered(self.index);
            self.handed(connections, error.into_inner(), closed);
        }
    }

    fn serve(
        &self,
        connections: &mut JoinSet<()>,
        socket: tokio::net::TcpStream,
        origin: Origin,
        closed: &watch::Receiver<bool>,
    ) {
        let (shared, closed) = (Arc::clone(&self.shared), closed.clone());
        connections.spawn_local(connection::serve(shared, socket, origin, closed));
    }

    fn entered(&self, thread: usize) {
        if let Some(count) = self.shared.connections.get(thread) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn leave(&self, thread: usize) {
        if let Some(count) = self.shared.connections.get(thread) {
            count.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// A connection of this thread has ended.
    fn left(&self) {
        self.leave(self.index);
    }
}

fn is_about_the_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    )
}

#[cfg(test)]
mod tests {
    use super::bind;

    #[test]
    fn threads_share_a_port_that_a_second_server_cannot_have() {
        let (address, listeners) = bind(([127, 0, 0, 1], 0).into(), 2).unwrap();
        assert_ne!(address.port(), 0);
        assert_eq!(listeners.len(), 2);
        assert_eq!(bind(address, 2).unwrap_err().kind(), std::io::ErrorKind::AddrInUse);
        drop(listeners);
        bind(address, 1).unwrap();
    }
}
