//! The admin socket: how commands reach a running server. One JSON line asks, one answers.
//!
//! It lies in the data directory, with mode 0600; only its owner and root are answered.

use std::{
    fs, io,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    os::{
        fd::AsRawFd as _,
        unix::{fs::PermissionsExt as _, net::UnixStream},
    },
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, Weak},
    time::{Duration, Instant},
};

use anyhow::{Context as _, anyhow, bail};
use control::{
    Clock as _, SystemClock,
    accounts::{self, CreatedAccount, ListedAccount},
    vault::Vault,
};
use serde::{Deserialize, Serialize};
use service::ServiceError;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _},
    sync::Semaphore,
    task::JoinHandle,
    time::timeout,
};

use crate::{
    isolation::Functions,
    listen::{Shared, VERSION},
    server,
};

/// Name of the socket inside the data directory.
const SOCKET: &str = "admin.sock";
/// Longest question.
const ASK_BYTES_MAX: u64 = 64 << 10;
/// Longest answer: a list of very many accounts.
const REPLY_BYTES_MAX: u64 = 64 << 20;
/// How long either side waits for the other.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Questions at once.
const ASKING_MAX: usize = 16;
/// Longest path a Unix socket can have, less the terminating zero. Source: unix(7).
const SOCKET_PATH_BYTES_MAX: usize = 107;
/// How long to wait for a server that is just starting or stopping.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// A question.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Ask {
    CreateAccount { id: String, name: String },
    ListAccounts,
    Explain { id: String },
    Lint { account: Option<String> },
    Status,
}

/// An answer.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    Created(CreatedAccount),
    Accounts(Vec<ListedAccount>),
    Explained(serde_json::Value),
    Linted(control::lint::Report),
    Status(Status),
    Refused(String),
}

/// How a server is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    pub version: String,
    pub process_id: u32,
    pub uptime_s: u64,
    #[serde(flatten)]
    pub about: About,
    pub accounts: usize,
    /// Stages the data plane serves.
    pub stages: usize,
    pub connections: usize,
    /// Execution environments in any state, and those ready and unused.
    pub environments_live: usize,
    pub environments_warm: usize,
    /// Events of asynchronous invocations that have not ended.
    pub events_waiting: u64,
    pub functions: Functions,
}

/// What does not change while a server runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    pub address: String,
    pub data_dir: String,
    pub dev_credentials: bool,
}

/// The socket of a running server.
pub struct Listener {
    path: PathBuf,
    task: JoinHandle<()>,
}

impl Listener {
    /// Begins to answer. The caller holds the lock of the data directory, so a socket found there is a dead server's.
    ///
    /// # Errors
    /// When the socket cannot be made.
    pub fn start(data_dir: &Path, about: About, shared: &Arc<Shared>) -> anyhow::Result<Self> {
        let path = data_dir.join(SOCKET);
        let listener =
            listen(data_dir, &path).with_context(|| format!("the socket {} cannot be made", path.display()))?;
        let task = shared.runtime.spawn(accept(listener, Arc::new(about), Arc::downgrade(shared)));
        Ok(Self { path, task })
    }

    /// Answers no more, and removes the socket.
    pub fn stop(self) {
        self.task.abort();
        let _ = fs::remove_file(&self.path);
    }
}

fn listen(data_dir: &Path, path: &Path) -> io::Result<tokio::net::UnixListener> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = short(data_dir, path, |path| std::os::unix::net::UnixListener::bind(path))?;
    // Until here others may have connected; they are not answered, for each connection's user is looked at.
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    listener.set_nonblocking(true)?;
    tokio::net::UnixListener::from_std(listener)
}

/// Hands `with` a path to the socket that is short enough for a socket's address.
fn short<T>(data_dir: &Path, path: &Path, with: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
    if path.as_os_str().len() <= SOCKET_PATH_BYTES_MAX {
        return with(path);
    }
    let dir = fs::File::open(data_dir)?;
    with(&Path::new("/proc/self/fd").join(dir.as_raw_fd().to_string()).join(SOCKET))
}

async fn accept(listener: tokio::net::UnixListener, about: Arc<About>, shared: Weak<Shared>) {
    let turns = Arc::new(Semaphore::new(ASKING_MAX));
    loop {
        let Ok(turn) = Arc::clone(&turns).acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "the admin socket cannot accept");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Some(shared) = shared.upgrade() else { return };
        let runtime = shared.runtime.clone();
        let about = Arc::clone(&about);
        runtime.spawn(async move {
            if let Err(error) = serve(stream, &about, shared).await {
                tracing::debug!(%error, "an admin question was not answered");
            }
            drop(turn);
        });
    }
}

async fn serve(mut stream: tokio::net::UnixStream, about: &About, shared: Arc<Shared>) -> io::Result<()> {
    let user = stream.peer_cred()?.uid();
    if user != rustix::process::geteuid().as_raw() && user != 0 {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, format!("user {user} is not the server's")));
    }
    let (reader, mut writer) = stream.split();
    let mut line = Vec::new();
    let mut reader = tokio::io::BufReader::new(reader.take(ASK_BYTES_MAX));
    timeout(TIMEOUT, reader.read_until(b'\n', &mut line)).await??;
    let reply = match serde_json::from_slice(&line) {
        Ok(ask) => reply(ask, about.clone(), shared).await,
        Err(error) => Reply::Refused(format!("the question is not understood: {error}")),
    };
    let mut text = serde_json::to_vec(&reply)?;
    text.push(b'\n');
    timeout(TIMEOUT, writer.write_all(&text)).await?
}

async fn reply(ask: Ask, about: About, shared: Arc<Shared>) -> Reply {
    let answered = tokio::task::spawn_blocking(move || {
        match ask {
        Ask::CreateAccount { id, name } => create_account(&shared, &id, &name),
        Ask::ListAccounts => shared.control.list_accounts().map(Reply::Accounts),
        Ask::Explain { id } => Ok(shared.control.explain(&id).map_or_else(
            || Reply::Refused(format!("no decision {id} is kept: the id stands in an answer's x-portcullis-decision, and the newest decisions of this start of the server are kept")),
            Reply::Explained,
        )),
        Ask::Lint { account } => shared.control.lint(account.as_deref()).map(Reply::Linted),
        Ask::Status => status(about, &shared).map(Reply::Status),
    }
    });
    match answered.await {
        Ok(Ok(reply)) => reply,
        Ok(Err(error)) => Reply::Refused(error.message),
        Err(_) => Reply::Refused("the server failed to answer; its log says why".to_owned()),
    }
}

fn create_account(shared: &Shared, id: &str, name: &str) -> Result<Reply, ServiceError> {
    if let Some(turn) = &shared.single_tenant {
        // One at a time, so that no two are both the first.
        let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
        if !shared.control.list_accounts()?.is_empty() {
            return Ok(Reply::Refused(server::SECOND_ACCOUNT.to_owned()));
        }
        return shared.control.create_account(id, name).map(Reply::Created);
    }
    shared.control.create_account(id, name).map(Reply::Created)
}

fn status(about: About, shared: &Shared) -> Result<Status, ServiceError> {
    let runner = shared.control.runner();
    let accounts = shared.control.list_accounts()?.len();
    let events_waiting = shared.control.events_waiting()?;
    Ok(Status {
        version: VERSION.to_owned(),
        process_id: std::process::id(),
        uptime_s: shared.started.elapsed().as_secs(),
        about,
        accounts,
        stages: shared.control.gateway().served(),
        connections: shared.connections(),
        environments_live: runner.live_count(),
        environments_warm: runner.warm_count(),
        events_waiting,
        functions: shared.functions.now(),
    })
}

/// Asks the server of a data directory, or does what was asked on the store itself if none runs.
///
/// # Errors
/// A sentence for the user, ending with what to do.
pub fn ask(data_dir: &Path, ask: &Ask) -> anyhow::Result<Reply> {
    let deadline = Instant::now() + BUSY_TIMEOUT;
    loop {
        if let Some(stream) = connect(data_dir)? {
            return exchange(stream, ask)
                .with_context(|| format!("the server of {} did not answer; its log may say why", data_dir.display()));
        }
        if matches!(ask, Ask::Status | Ask::Explain { .. } | Ask::Lint { .. }) {
            let dir = data_dir.display();
            bail!(
                "no server runs on {dir}. Name the data directory of a running one with --data-dir, or start one with `portcullis start --data-dir {dir}`"
            );
        }
        if matches!(ask, Ask::ListAccounts) && !data_dir.exists() {
            return Ok(Reply::Accounts(Vec::new()));
        }
        match store::Embedded::open(data_dir, store::Options::default()) {
            Ok(store) => return offline(data_dir, &store, ask),
            // A server that is starting or stopping has the store but no socket.
            Err(store::Error::Locked { .. }) if Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(50));
            }
            Err(error) => return Err(server::told(data_dir, error)),
        }
    }
}

/// The server's socket; `None` if nobody listens.
fn connect(data_dir: &Path) -> anyhow::Result<Option<UnixStream>> {
    let path = data_dir.join(SOCKET);
    match short(data_dir, &path, |path| UnixStream::connect(path)) {
        Ok(stream) => Ok(Some(stream)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => Ok(None),
        Err(error) => Err(anyhow!(
            "the server's socket {} cannot be used: {error}. Run this command as the user the server runs as",
            path.display()
        )),
    }
}

fn exchange(mut stream: UnixStream, ask: &Ask) -> anyhow::Result<Reply> {
    stream.set_read_timeout(Some(TIMEOUT + TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    let mut question = serde_json::to_vec(ask)?;
    question.push(b'\n');
    stream.write_all(&question)?;
    let mut line = Vec::new();
    BufReader::new(stream.take(REPLY_BYTES_MAX)).read_until(b'\n', &mut line)?;
    if line.is_empty() {
        bail!("it closed the connection");
    }
    Ok(serde_json::from_slice(&line)?)
}

fn offline(data_dir: &Path, store: &store::Embedded, ask: &Ask) -> anyhow::Result<Reply> {
    let vault = Vault::open(data_dir).context("the key of the data directory cannot be used")?;
    let done = match ask {
        Ask::CreateAccount { id, name } => {
            accounts::create(store, &vault, SystemClock.now(), id, name).map(Reply::Created)
        }
        Ask::ListAccounts => accounts::list(store, &vault).map(Reply::Accounts),
        Ask::Status | Ask::Explain { .. } | Ask::Lint { .. } => bail!("only a running server can tell"),
    };
    Ok(done.unwrap_or_else(|error: ServiceError| Reply::Refused(error.message)))
}
