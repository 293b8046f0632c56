//! What the supervisor is told and what it asks of others.

use std::path::PathBuf;

/// How runtime identifiers that AWS has deprecated are treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeprecatedRuntimes {
    /// They run on the nearest installed interpreter that is not older, and a warning is given.
    #[default]
    Accept,
    /// They are refused as AWS refuses them.
    Reject,
}

/// Whether runtimes are kept started without a function, to be adopted by the next one that is cold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Standbys {
    /// None: every cold start is a start of the runtime.
    Off,
    /// Where processes have a root of their own. Elsewhere a runtime cannot be told at its start where the libraries of
    /// a function's package will be.
    #[default]
    InSandboxes,
    /// Everywhere, for tests.
    Always,
}

/// Settings of a [`crate::Supervisor`].
#[derive(Debug, Clone)]
pub struct Options {
    /// Unpacked code (`code/`), scratch directories (`tmp/`) and bootstraps (`runtime/`) live below it.
    pub data_dir: PathBuf,
    /// The Node interpreter. `None`: the `nodejs` family cannot run here.
    pub node: Option<PathBuf>,
    /// The Python interpreter. `None`: the `python` family cannot run here.
    pub python: Option<PathBuf>,
    /// `AWS_ENDPOINT_URL` inside functions, so that SDK calls come back to this server.
    pub endpoint_url: Option<String>,
    /// The ways out of sandboxes and to this server's API from inside them: its `serve` takes
    /// [`crate::launch::Listeners::proxy`], its `serve_api` [`crate::launch::Listeners::api`], both as soon as an
    /// environment has an owner. `None`: nobody serves those sockets.
    pub egress: Option<crate::egress::Egress>,
    /// Concurrent invocations per account; AWS's default is 1,000. One more is a 429.
    pub concurrency_max: usize,
    /// Processes on this node, of which one account may have three quarters. Requests beyond either wait, bounded in
    /// number and time.
    pub processes_max: usize,
    /// How long an unused environment is kept, seconds.
    pub idle_ttl_s: u64,
    /// Whether unused environments stand still, as on AWS, where the host can stop them: what a function leaves running
    /// takes processor time only while it is called, and for half a second after.
    pub freeze: bool,
    /// Whether bare runtimes are kept; they take up to a fiftieth of the host's memory.
    pub standbys: Standbys,
    /// When less than this share of the host's memory is available, per cent, unused environments are let go.
    pub memory_low_percent: u64,
    /// Whether every `REPORT` line says that functions are not isolated.
    pub unisolated_banner: bool,
    /// Whether streamed answers come at AWS's pace: 6 MiB at once, then 2 MiB a second.
    pub stream_shaping: bool,
    /// Whether `nodejs6.10` and the like are taken.
    pub deprecated_runtimes: DeprecatedRuntimes,
    /// Whether an identifier newer than the installed interpreter runs on the installed one (with a warning) rather
    /// than being refused.
    pub newer_runtimes: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            data_dir: PathBuf::from("data/functions"),
            node: None,
            python: None,
            endpoint_url: None,
            egress: None,
            concurrency_max: 1_000,
            processes_max: 64,
            idle_ttl_s: 300,
            freeze: true,
            standbys: Standbys::default(),
            memory_low_percent: 5,
            unisolated_banner: false,
            stream_shaping: false,
            deprecated_runtimes: DeprecatedRuntimes::Accept,
            newer_runtimes: false,
        }
    }
}

/// A session of a function's execution role. `Debug` shows the key id alone.
#[derive(Clone, PartialEq, Eq)]
pub struct RoleCredentials {
    /// `ASIA...`.
    pub access_key_id: String,
    /// The secret.
    pub secret_access_key: String,
    /// The session token.
    pub session_token: String,
    /// End of the session, milliseconds since the epoch. An environment is replaced 15 minutes before.
    pub expires_at_ms: u64,
}

impl std::fmt::Debug for RoleCredentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RoleCredentials")
            .field("access_key_id", &self.access_key_id)
            .field("expires_at_ms", &self.expires_at_ms)
            .finish_non_exhaustive()
    }
}

/// Where environments get the credentials of their execution role from.
pub trait Credentials: Send + Sync {
    /// A session of `role_arn` named `session` (the function's name). `None` leaves the variables unset.
    fn for_role(&self, role_arn: &str, session: &str) -> Option<RoleCredentials>;
}

/// Where the log of functions goes. Called in batches, outside the answer's path; must not block for long.
pub trait LogSink: Send + Sync {
    /// Takes lines (milliseconds since the epoch, text) of one stream of `/aws/lambda/<function>`, of the function's
    /// account and region.
    fn write(&self, account: &str, region: &str, group: &str, stream: &str, lines: Vec<(u64, String)>);
}

/// [`Credentials`] for a node without STS: none.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoCredentials;

impl Credentials for NoCredentials {
    fn for_role(&self, _role_arn: &str, _session: &str) -> Option<RoleCredentials> {
        None
    }
}

/// A [`LogSink`] that writes to the server's own log, for a node without CloudWatch Logs.
#[derive(Debug, Clone, Copy, Default)]
pub struct TracingLogs;

impl LogSink for TracingLogs {
    fn write(&self, account: &str, region: &str, group: &str, stream: &str, lines: Vec<(u64, String)>) {
        for (_, line) in lines {
            tracing::info!(target: "function", account, region, group, stream, "{line}");
        }
    }
}
