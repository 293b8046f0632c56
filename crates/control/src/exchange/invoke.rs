//! Lambda's Invoke and InvokeAsync for signed callers.

use std::{ops::Range, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use lambda::{
    directory::{QualifierKey, Target},
    invoke::{FunctionError, Invocation, Outcome, RunError},
    name::Address,
    permission::ResourcePolicy,
};
use platform::cloudtrail::record::UserIdentity;
use serde_json::Value;
use service::{Need, ServiceError, Tx};
use store::queue::Lane;
use wire::{protocol, table::Service};

use crate::{
    Inner,
    asynchronous::{self, NewEvent, Refused},
    authorize,
    dispatch::{Known, Refusal, Response},
    functions::{Function, FunctionKey},
    invoker::{Attribution, Permitted},
    reader::SnapshotReader,
    trail,
};

mod message;
mod stream;

/// Largest synchronous event. Source: Lambda Developer Guide, "Lambda quotas": 6 MB.
pub const EVENT_BYTES_MAX: usize = 6_291_556;
/// Of a user agent, so much is kept with an event.
const USER_AGENT_CHARS_MAX: usize = 1024;
/// Longest client context, base64. Source: as above.
const CLIENT_CONTEXT_BYTES_MAX: usize = 3_583;

/// What a caller wants of an Invoke.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// The answer.
    RequestResponse,
    /// To know whether it may.
    DryRun,
    /// That it runs, some time.
    Event,
    /// The same, by InvokeAsync.
    InvokeAsync,
}

impl Kind {
    fn of(known: &Known<'_>, invocation_type: Option<&str>) -> Self {
        match (known.op.name, invocation_type) {
            ("InvokeAsync", _) => Self::InvokeAsync,
            (_, Some("DryRun")) => Self::DryRun,
            (_, Some("Event")) => Self::Event,
            _ => Self::RequestResponse,
        }
    }

    /// The largest event, in bytes.
    fn event_bytes_max(self) -> usize {
        match self {
            Self::RequestResponse | Self::DryRun => EVENT_BYTES_MAX,
            Self::Event => asynchronous::EVENT_BYTES_MAX,
            Self::InvokeAsync => asynchronous::LEGACY_EVENT_BYTES_MAX,
        }
    }
}

/// An Invoke that is authorized and waits to run.
pub(crate) struct SignedInvoke {
    service: &'static Service,
    request_id: String,
    key: QualifierKey,
    invoked_arn: String,
    payload: Bytes,
    client_context: Option<String>,
    log_tail: bool,
    kind: Kind,
    attribution: Attribution,
}

impl SignedInvoke {
    /// Everything before the run: names, limits, permission.
    ///
    /// # Errors
    /// Lambda's errors; the function has not run.
    pub(crate) fn prepare(known: &Known<'_>, params: &Value, payload: Option<Range<usize>>) -> Result<Self, Refusal> {
        let shown = trail::request_parameters(known.op, params);
        Self::checked(known, params, payload).map_err(|error| Refusal { error: Box::new(error), parameters: shown })
    }

    fn checked(known: &Known<'_>, params: &Value, payload: Option<Range<usize>>) -> Result<Self, ServiceError> {
        let text = |name: &str| params.get(name).and_then(Value::as_str);
        let invalid =
            |text: &str| ServiceError::new("InvalidParameterValueException", 400, text).with_field("Type", "User");
        // Who may not invoke learns nothing about the rest of the call.
        let address = authorized(known, params)?;
        let kind = Kind::of(known, text("InvocationType"));
        for member in ["TenantId", "DurableExecutionName"] {
            if text(member).is_some() {
                return Err(invalid(&format!(
                    "{member} is not supported by this version of Portcullis. Leave it out."
                )));
            }
        }
        let client_context = text("ClientContext").map(client_context).transpose()?;
        let payload = payload
            .and_then(|range| {
                (range.end <= known.call.request.body.len()).then(|| known.call.request.body.slice(range))
            })
            .unwrap_or_default();
        let payload = event(payload, kind)?;
        let key = QualifierKey {
            account: address.account.to_string(),
            region: address.region.clone(),
            function: address.function.clone(),
            qualifier: address.qualifier.clone().unwrap_or_default(),
        };
        let request = known.call.request;
        Ok(Self {
            service: known.op.service,
            request_id: known.call.request_id.clone(),
            invoked_arn: address.qualified_arn(),
            payload,
            client_context,
            log_tail: text("LogType") == Some("Tail"),
            kind,
            attribution: Attribution {
                identity: UserIdentity::Caller(&known.caller).to_value(),
                source_ip: request.client.to_string(),
                user_agent: request.header("user-agent").unwrap_or_default().to_owned(),
                source_arn: None,
                foreign: key.account != known.caller.account.as_str(),
                username: Some(known.caller.username().to_owned()),
                access_key_id: Some(known.caller.access_key_id.clone()),
            },
            key,
        })
    }

    /// Runs it and answers.
    pub(crate) async fn run(self, inner: &Arc<Inner>) -> Response {
        let (service, request_id) = (self.service, self.request_id.clone());
        match self.outcome(inner).await {
            Ok(response) => response,
            Err(error) => protocol::encode_error(service, &error, &request_id).into(),
        }
    }

    async fn outcome(self, inner: &Arc<Inner>) -> Result<Response, ServiceError> {
        let (function, target) = self.found(inner).await?;
        match self.kind {
            Kind::RequestResponse => {}
            Kind::DryRun => return Ok(answer(204, &self.request_id, Vec::new(), Bytes::new())),
            Kind::Event | Kind::InvokeAsync => return self.accept(inner).await,
        }
        let invocation = Invocation {
            request_id: self.request_id.clone(),
            invoked_arn: self.invoked_arn.clone(),
            payload: self.payload,
            trace_id: None,
            client_context: self.client_context,
            log_tail: self.log_tail,
        };
        let permitted = Permitted { key: self.key, function, target, attribution: self.attribution };
        match inner.run_permitted(permitted, self.invoked_arn, invocation).await {
            Ok(outcome) => Ok(outcome_answer(outcome, &self.request_id)),
            Err(error) => Err(run_error(error)),
        }
    }
}

impl SignedInvoke {
    /// Keeps the event, then answers: whatever was answered runs, a crash between or not.
    async fn accept(self, inner: &Arc<Inner>) -> Result<Response, ServiceError> {
        let body = match self.kind {
            Kind::InvokeAsync => Bytes::from_static(b"{\"Status\":202}"),
            _ => Bytes::new(),
        };
        let event = NewEvent {
            lane: Lane { account: self.key.account, region: self.key.region, name: self.key.function },
            request_id: self.request_id.clone(),
            invoked_arn: self.invoked_arn,
            qualifier: self.key.qualifier,
            client_context: self.client_context,
            attribution: Attribution { user_agent: shortened(&self.attribution.user_agent), ..self.attribution },
            payload: self.payload,
            hops: 0,
        };
        let events = Arc::clone(&inner.events);
        let accepted = tokio::task::spawn_blocking(move || events.accept(&event)).await;
        match accepted.map_err(|error| ServiceError::internal(error.to_string()))? {
            Ok(()) => Ok(answer(202, &self.request_id, Vec::new(), body)),
            Err(Refused::Crowded) => Err(run_error(RunError::Throttled { reason: "CallerRateLimitExceeded" })),
            Err(Refused::Unavailable(error)) => {
                tracing::error!(%error, request_id = self.request_id, "an event cannot be kept");
                let text = "The event cannot be kept right now; it will not run. Try again.";
                Err(ServiceError::new("ServiceException", 500, text).with_field("Type", "Service"))
            }
        }
    }
}

/// As much of a user agent as a record shows: what is kept of an event beside its payload is bounded.
fn shortened(user_agent: &str) -> String {
    user_agent.chars().take(USER_AGENT_CHARS_MAX).collect()
}

impl SignedInvoke {
    async fn found(&self, inner: &Arc<Inner>) -> Result<(Arc<Function>, Arc<Target>), ServiceError> {
        let not_found = || {
            ServiceError::new("ResourceNotFoundException", 404, format!("Function not found: {}", self.invoked_arn))
                .with_field("Type", "User")
                .with_upper_message()
        };
        let function = inner.function(FunctionKey::from(&self.key)).await.ok_or_else(not_found)?;
        let target = Arc::clone(function.target(&self.key.qualifier).ok_or_else(not_found)?);
        Ok((function, target))
    }
}

/// The function named, once the caller may invoke it. Its own policy counts too, whichever account it is of.
fn authorized(known: &Known<'_>, params: &Value) -> Result<Address, ServiceError> {
    let inner = known.call.inner;
    let mut reader = SnapshotReader::new(&*inner.store, &inner.vault)?;
    let mut tx = Tx::new(&mut reader);
    let text = |name: &str| params.get(name).and_then(Value::as_str);
    let name = text("FunctionName").unwrap_or_default();
    let address = known.with_cx(|cx| Address::resolve(name, text("Qualifier"), cx))?;
    let qualifier = address.qualifier.as_deref().unwrap_or_default();
    let own = tx.get::<ResourcePolicy>(&address.scope(), &address.function, qualifier)?;
    let action = known.op.iam_action.unwrap_or("lambda:InvokeFunction");
    let mut need = Need::new(action, address.qualified_arn(), address.account.as_str());
    need.resource_policy = own.map(|own| own.evaluated());
    authorize::check(&inner.compiled, known.op.service, &known.caller, &[need], &known.circumstances(), &mut tx)?;
    Ok(address)
}

fn event(payload: Bytes, kind: Kind) -> Result<Bytes, ServiceError> {
    let (bytes, bytes_max) = (payload.len(), kind.event_bytes_max());
    if bytes > bytes_max {
        let text = match kind {
            Kind::RequestResponse | Kind::DryRun => {
                format!("Request must be smaller than {bytes_max} bytes for the InvokeFunction operation")
            }
            Kind::Event | Kind::InvokeAsync => {
                format!("{bytes} byte payload is too large for the Event invocation type (limit {bytes_max} bytes)")
            }
        };
        return Err(ServiceError::new("RequestTooLargeException", 413, text).with_field("Type", "User"));
    }
    // A call without a payload gives the handler an empty object.
    if payload.iter().all(u8::is_ascii_whitespace) {
        return Ok(Bytes::from_static(b"{}"));
    }
    let refuse = |error: String| {
        let text = format!("Could not parse request body into json: {error}");
        ServiceError::new("InvalidRequestContentException", 400, text).with_field("Type", "User")
    };
    // Skipping a value does not look inside its strings, so the encoding is checked apart.
    let text = std::str::from_utf8(&payload).map_err(|error| refuse(error.to_string()))?;
    serde_json::from_str::<serde::de::IgnoredAny>(text).map_err(|error| refuse(error.to_string()))?;
    Ok(payload)
}

fn client_context(text: &str) -> Result<String, ServiceError> {
    let refuse = |text: &str| ServiceError::new("InvalidRequestContentException", 400, text).with_field("Type", "User");
    if text.len() > CLIENT_CONTEXT_BYTES_MAX {
        return Err(refuse("Client context must be no more than 3583 bytes when base64-encoded."));
    }
    let decoded =
        STANDARD.decode(text).map_err(|_| refuse("Client context must be a valid Base64-encoded JSON object."))?;
    String::from_utf8(decoded)
        .ok()
        .filter(|json| serde_json::from_str::<serde_json::Map<String, Value>>(json).is_ok())
        .ok_or_else(|| refuse("Client context must be a valid Base64-encoded JSON object."))
}

fn function_error(error: FunctionError) -> &'static str {
    match error {
        FunctionError::Handled => "Handled",
        FunctionError::Unhandled => "Unhandled",
    }
}

fn outcome_answer(outcome: Outcome, request_id: &str) -> Response {
    let mut headers = vec![("X-Amz-Executed-Version".to_owned(), outcome.executed_version)];
    if let Some(error) = outcome.function_error {
        headers.push(("X-Amz-Function-Error".to_owned(), function_error(error).to_owned()));
    }
    if let Some(tail) = outcome.log_tail {
        headers.push(("X-Amz-Log-Result".to_owned(), STANDARD.encode(tail)));
    }
    answer(200, request_id, headers, outcome.payload)
}

fn answer(status: u16, request_id: &str, mut headers: Vec<(String, String)>, body: Bytes) -> Response {
    headers.push(("x-amzn-RequestId".to_owned(), request_id.to_owned()));
    headers.push(("Content-Type".to_owned(), "application/json".to_owned()));
    Response { status, headers, body }
}

fn run_error(error: RunError) -> ServiceError {
    match error {
        RunError::Throttled { reason } => ServiceError::new("TooManyRequestsException", 429, "Rate Exceeded.")
            .with_field("Reason", reason)
            .with_field("Type", "User"),
        RunError::TooLarge => ServiceError::new("RequestTooLargeException", 413, "The event is larger than 6 MB.")
            .with_field("Type", "User"),
        RunError::NotReady { state } => {
            ServiceError::new("ResourceConflictException", 409, lambda::life::not_now(state)).with_field("Type", "User")
        }
        RunError::Unavailable(text) => ServiceError::new("ServiceException", 500, text).with_field("Type", "Service"),
    }
}
