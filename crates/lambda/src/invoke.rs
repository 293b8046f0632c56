//! The port through which a function runs: what is run, what it is given, what comes back.
//!
//! `environment` implements [`Run`]; `control` puts permission, directory and audit around it and implements
//! [`Invoke`] for the data plane. Neither knows the other.

use std::{borrow::Cow, collections::BTreeMap, future::Future, path::PathBuf, pin::Pin, sync::Arc};

use bytes::Bytes;

/// A boxed future, for ports that are used as objects.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// One immutable revision of a function: everything an execution environment is keyed by.
///
/// Two revisions never share an environment (`execution-environments`, 6.1). `Debug` leaves the values of
/// `environment` out: they are secrets.
#[derive(Clone, PartialEq, Eq)]
pub struct Revision {
    /// Owner, 12 digits.
    pub account: String,
    /// Region of the function.
    pub region: String,
    /// Function name without qualifier.
    pub function: String,
    /// `$LATEST` or a version number.
    pub version: String,
    /// Changes with every change of code or configuration.
    pub revision_id: String,
    /// Execution role.
    pub role_arn: String,
    /// Runtime identifier as the owner gave it, such as `nodejs6.10`.
    pub runtime: String,
    /// `file.export`.
    pub handler: String,
    /// 128-10240.
    pub memory_mb: u32,
    /// 1-900.
    pub timeout_s: u32,
    /// Size of `/tmp`, 512-10240.
    pub ephemeral_storage_mb: u32,
    /// The customer's environment variables.
    pub environment: BTreeMap<String, String>,
    /// SHA-256 (hex) of the zip; the unpacked tree is found by it.
    pub code_sha256: String,
    /// The stored zip, unpacked on first use.
    pub code_zip: PathBuf,
    /// Layers in the order they are laid over each other below `/opt`, at most five.
    pub layers: Vec<LayerCode>,
    /// How it logs.
    pub logging: Logging,
}

/// How a function logs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Logging {
    /// The log group; `None` for `/aws/lambda/` with the function's name.
    pub group: Option<String>,
    /// Messages are JSON, from these levels on; `None` for text.
    pub json: Option<JsonLogging>,
}

/// The least levels that are logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonLogging {
    /// Of the function's own messages, as `AWS_LAMBDA_LOG_LEVEL` says it.
    pub application_level: String,
    /// Of the messages about the function.
    pub system_level: SystemLevel,
}

/// Levels of the messages about a function, the least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SystemLevel {
    /// Everything.
    Debug,
    /// Starts and reports.
    Info,
    /// What went wrong.
    Warn,
}

/// The content of one layer version.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LayerCode {
    /// SHA-256 (hex) of the zip.
    pub sha256: String,
    /// The stored zip.
    pub zip: PathBuf,
}

impl std::fmt::Debug for Revision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Revision")
            .field("account", &self.account)
            .field("region", &self.region)
            .field("function", &self.function)
            .field("version", &self.version)
            .field("revision_id", &self.revision_id)
            .field("runtime", &self.runtime)
            .finish_non_exhaustive()
    }
}

/// One invocation as an execution environment sees it.
#[derive(Debug, Clone)]
pub struct Invocation {
    /// UUID; appears in the function's log and as CloudTrail's `requestID`.
    pub request_id: String,
    /// The ARN as the caller qualified it.
    pub invoked_arn: String,
    /// The event, JSON, at most 6 MB.
    pub payload: Bytes,
    /// `Root=1-..` trace header.
    pub trace_id: Option<String>,
    /// Decoded client context JSON.
    pub client_context: Option<String>,
    /// Whether the last 4 KB of this invocation's log are wanted.
    pub log_tail: bool,
}

/// What a function answered.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Result or error document, byte for byte as the caller of Invoke gets it.
    pub payload: Bytes,
    /// `Some` when the function failed; the value of `X-Amz-Function-Error`.
    pub function_error: Option<FunctionError>,
    /// The version that ran: `$LATEST` or a number.
    pub executed_version: String,
    /// Last 4 KB of the log, when asked for.
    pub log_tail: Option<Vec<u8>>,
    /// Time from handing over the event to having the answer.
    pub duration_us: u64,
}

/// The two values of `X-Amz-Function-Error`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FunctionError {
    /// `context.fail()` and the like.
    Handled,
    /// Everything else.
    Unhandled,
}

/// Why a function did not run to an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunError {
    /// Too many at once: HTTP 429 with this `Reason`.
    Throttled {
        /// `ConcurrentInvocationLimitExceeded` and the like.
        reason: &'static str,
    },
    /// Result or event over the limit; HTTP 413.
    TooLarge,
    /// It is being created, or could not be: HTTP 409 `ResourceConflictException`.
    NotReady {
        /// AWS's `State`: `Pending` or `Failed`.
        state: &'static str,
    },
    /// The node cannot run it: HTTP 500 `ServiceException` with this text.
    Unavailable(String),
}

/// For logs; callers are answered by kind.
impl std::fmt::Display for RunError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Throttled { reason } => write!(f, "too many at once ({reason})"),
            Self::TooLarge => f.write_str("the event is too large"),
            Self::NotReady { state } => write!(f, "the function is {state}"),
            Self::Unavailable(text) => f.write_str(text),
        }
    }
}

/// A piece of an answer that is handed on while the function still runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamPart {
    /// Comes once, before any chunk.
    Start {
        /// What the function says its bytes are; `application/json` unless it says otherwise.
        content_type: String,
    },
    /// Some bytes of the answer, never none.
    Chunk(Bytes),
}

/// Nobody reads the stream any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SinkClosed;

/// Takes the parts of a streamed answer in order. The reader's pace is the function's: what is not taken is not made.
pub trait StreamSink: Send {
    /// Takes one part, ready when it has been taken. Dropping the future before that must leave the part untaken, for
    /// it is then offered again.
    ///
    /// # Errors
    /// [`SinkClosed`] when nobody reads any more; the invocation goes on to its end without a reader.
    fn take(&mut self, part: StreamPart) -> BoxFuture<'_, Result<(), SinkClosed>>;
}

/// Runs revisions. Implemented by execution environments.
pub trait Run: Send + Sync {
    /// Runs one invocation to its outcome.
    ///
    /// Once it has an environment that is no later than the revision's timeout plus one second. Before, it may wait
    /// for one to load (ten seconds, then once more within the revision's timeout) or to become free (about half a
    /// minute). An invocation that has begun goes to its end even when the future is dropped.
    fn run(&self, revision: Arc<Revision>, invocation: Invocation) -> BoxFuture<'_, Result<Outcome, RunError>>;

    /// As [`Run::run`], handing the answer on piece by piece while it is made.
    ///
    /// What `sink` has taken is the answer; the outcome's payload is then empty, or the error document when the
    /// function failed, which it may do after any number of chunks. A function that does not stream gives one chunk.
    /// A failure before the first byte, and an invocation that does not begin, give no part at all.
    fn run_streaming<'a>(
        &'a self,
        revision: Arc<Revision>,
        invocation: Invocation,
        mut sink: Box<dyn StreamSink>,
    ) -> BoxFuture<'a, Result<Outcome, RunError>> {
        let running = self.run(revision, invocation);
        Box::pin(async move {
            let mut outcome = running.await?;
            if outcome.function_error.is_none() {
                let payload = std::mem::take(&mut outcome.payload);
                let started = sink.take(StreamPart::Start { content_type: "application/json".into() }).await;
                if started.is_ok() && !payload.is_empty() {
                    let _ = sink.take(StreamPart::Chunk(payload)).await;
                }
            }
            Ok(outcome)
        })
    }
}

/// Who asks for an invocation from the data plane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Invoker {
    /// API Gateway as service principal `apigateway.amazonaws.com`.
    ApiGateway {
        /// `arn:P:execute-api:R:ACCT:API/authorizers/AID`, or the method's ARN for an integration.
        source_arn: String,
        /// Owner of the API.
        source_account: String,
    },
    /// API Gateway acting through a role of the API's account (`authorizerCredentials`, `credentials`).
    Role {
        /// The role's ARN.
        role_arn: String,
        /// Owner of the API, whose role it must be.
        source_account: String,
    },
}

/// A data-plane request to run a function.
#[derive(Debug, Clone)]
pub struct InvokeRequest {
    /// Function ARN as written in the integration or authorizer URI, qualifier included.
    pub function_arn: String,
    /// On whose behalf.
    pub invoker: Invoker,
    /// The event.
    pub payload: Bytes,
    /// Request id of the data-plane request, for the log.
    pub gateway_request_id: String,
    /// How long the caller waits, milliseconds.
    pub timeout_ms: u64,
}

/// Why a data-plane invoke gave no outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InvokeError {
    /// No statement allows it, or one denies it. A function that does not exist looks the same to a client.
    NotPermitted(Box<NotPermitted>),
    /// The role could not be assumed: its ARN.
    CannotAssumeRole(String),
    /// No answer within `timeout_ms`.
    TimedOut,
    /// Permitted, but it could not run.
    Run(RunError),
}

/// Why an invocation is not permitted, for those who may know.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NotPermitted {
    /// For the caller's account: names nothing of the function's policy.
    pub why: String,
    /// For the function's account besides: the statement that denied or came nearest, and where it failed.
    pub detail: Option<String>,
    /// Whether one more statement in the function's policy would let the call through.
    pub grantable: bool,
}

impl NotPermitted {
    /// A refusal that a statement cannot mend.
    #[must_use]
    pub fn because(why: impl Into<String>) -> Box<Self> {
        Box::new(Self { why: why.into(), detail: None, grantable: false })
    }
}

/// A function that ran for the data plane, and by whose leave.
#[derive(Debug, Clone)]
pub struct Invoked {
    pub outcome: Outcome,
    /// What permitted the call, in words that name no statement of another account's policy.
    pub permission: Cow<'static, str>,
}

/// Permission, invocation and audit of one function call, as the data plane asks for it.
pub trait Invoke: Send + Sync {
    /// Checks the function's resource policy (or the role), runs the function, records the data event.
    fn invoke(&self, request: InvokeRequest) -> BoxFuture<'_, Result<Invoked, InvokeError>>;
}
