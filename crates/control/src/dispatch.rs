//! One control-plane call from bytes to bytes: verify, decode, authorize, apply, commit, publish, record, encode.

use std::{net::IpAddr, sync::PoisonError, time::Duration};

use bytes::Bytes;
use gateway::DecisionId;
use platform::cloudtrail::record::UserIdentity;
use serde_json::Value;
use service::{Caller, Cx, Entry, Host, Need, ServiceError, Timestamp, Tx};
use store::Event;
use wire::{
    protocol::{self, Encoded},
    route::{self, Head, Routed},
    sigv4::{Body, Failure, RequestHead},
    table::{Operation, Service},
};

use crate::{
    Inner,
    authorize::{self, Circumstances},
    commit::{self, ATTEMPTS_MAX},
    decisions::{self, RefusedCall},
    exchange::{
        invoke::SignedInvoke,
        test_invoke::{self, TestInvoke},
    },
    preparing::patiently,
    reader::{SnapshotReader, unavailable},
    registry::{self, Exchange, Run},
    role, trail, upload,
    verify::dialect,
};

/// A request as it came off the connection, body read whole and already bounded.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    /// Path of the request line, still percent-encoded.
    pub raw_path: String,
    pub raw_query: Option<String>,
    /// Names as sent.
    pub headers: Vec<(String, Vec<u8>)>,
    pub body: Bytes,
    pub client: IpAddr,
    pub secure: bool,
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
}

impl From<Encoded> for Response {
    fn from(encoded: Encoded) -> Self {
        Self { status: encoded.status, headers: encoded.headers, body: encoded.body.into() }
    }
}

impl Request {
    /// The first value of a header, if it is text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(value).ok()
    }

    /// Headers whose values are text.
    fn text_headers(&self) -> Vec<(&str, &str)> {
        self.headers.iter().filter_map(|(n, v)| Some((n.as_str(), std::str::from_utf8(v).ok()?))).collect()
    }

    /// The head as the wire reads it.
    fn head<'a>(&'a self, headers: &'a [(&'a str, &'a str)]) -> Head<'a> {
        Head { method: &self.method, raw_path: &self.raw_path, raw_query: self.raw_query.as_deref(), headers }
    }

    /// Scheme and authority the client used.
    fn endpoint(&self) -> String {
        let scheme = if self.secure { "https" } else { "http" };
        format!("{scheme}://{}", self.header("host").unwrap_or("127.0.0.1:4566"))
    }
}

/// What is left to do after the blocking part.
pub(crate) enum Step {
    /// Nothing.
    Done(Response),
    /// A function is to run.
    Invoke(Box<SignedInvoke>),
    /// A function is to run, its answer to go out while it is made.
    Stream(Box<SignedInvoke>),
    /// An authorizer or a method is to be tried.
    Test(Box<TestInvoke>),
}

/// One call under way: everything its record and its answer need.
pub(crate) struct Call<'a> {
    pub inner: &'a Inner,
    pub request: &'a Request,
    pub request_id: String,
    pub now: Timestamp,
    pub service: &'static Service,
}

/// A call whose signer is known and whose operation exists.
pub(crate) struct Known<'a> {
    pub call: &'a Call<'a>,
    pub caller: Caller,
    pub region: String,
    pub op: &'static Operation,
}

/// Where a request goes.
pub(crate) enum Way {
    /// To S3, which streams and spells everything its own way.
    S3,
    /// To a function's code, by its link.
    Code,
    /// To a decision, by its id.
    Decision,
    /// To a service, or to none.
    Call(Routed),
}

impl Way {
    /// Decides it once for a request.
    pub(crate) fn of(request: &Request) -> Self {
        if request.raw_path.starts_with(lambda::function::CODE_PATH) {
            return Self::Code;
        }
        if request.raw_path.starts_with(decisions::PATH) {
            return Self::Decision;
        }
        match route::service_of(&request.head(&request.text_headers()), &request.body) {
            Routed::Service(service) if service.name == "s3" => Self::S3,
            routed => Self::Call(routed),
        }
    }
}

/// A function's zip, by the link that GetFunction gave. Blocks.
pub(crate) fn code_at(inner: &Inner, request: &Request) -> Step {
    let sealed = request.raw_path.strip_prefix(lambda::function::CODE_PATH).unwrap_or_default();
    Step::Done(code(inner, sealed))
}

/// Runs everything of a call that blocks. S3 is not routed here.
pub(crate) fn run(inner: &Inner, request: &Request, routed: Routed) -> Step {
    let request_id = inner.uuid();
    let headers = request.text_headers();
    let head = request.head(&headers);
    let service = match routed {
        Routed::Service(service) => service,
        Routed::ExecuteApi => {
            return Step::Done(plain(403, "ForbiddenException", "{\"message\":\"Forbidden\"}", &request_id));
        }
        Routed::Unsupported(name) => return Step::Done(unsupported(&name, &request_id)),
    };
    if ambiguous(&request.raw_path) {
        let body = "{\"message\":\"The path must have no empty, '.' or '..' segment.\"}";
        return Step::Done(plain(400, "BadRequestException", body, &request_id));
    }
    let call = Call { inner, request, request_id, now: inner.clock.now(), service };
    match call.serve(&head) {
        Ok(step) => step,
        Err(refused) => Step::Done(call.refusal(&refused.error, refused.decision)),
    }
}

/// Runs a call that nobody signed, as `caller`: one of the installation's own. Blocks.
pub(crate) fn run_as(inner: &Inner, request: &Request, service: &str, caller: Caller, region: &str) -> Response {
    let request_id = inner.uuid();
    let headers = request.text_headers();
    let head = request.head(&headers);
    let Some(service) = wire::table::service(service) else { return unsupported(service, &request_id) };
    let call = Call { inner, request, request_id, now: inner.clock.now(), service };
    let op = match route::operation(service, &head, &request.body) {
        Ok(op) => op,
        Err(error) => return call.refusal(&error, None),
    };
    let known = Known { call: &call, caller, region: region.to_owned(), op };
    match known.serve(&head) {
        Ok(Step::Done(response)) => response,
        // None of the installation's own calls runs a function.
        Ok(_) => failed(),
        Err(Refusal { error, parameters }) => {
            let recorded = known.record_refusal(&error, parameters);
            call.refusal(recorded.as_ref().err().unwrap_or(&error), None)
        }
    }
}

/// A call that was refused, and the decision that says why.
struct Refused {
    error: Box<ServiceError>,
    decision: Option<DecisionId>,
}

/// A signature covers the normalised path, so a path that normalises to another could be swapped for it on the way.
fn ambiguous(raw_path: &str) -> bool {
    let mut segments = raw_path.trim_start_matches('/').trim_end_matches('/').split('/').peekable();
    raw_path.starts_with("//")
        || raw_path.ends_with("//")
        || (segments.peek() != Some(&"") && segments.any(|segment| matches!(segment, "" | "." | "..")))
}

fn plain(status: u16, code: &str, body: &'static str, request_id: &str) -> Response {
    let headers = vec![
        ("Content-Type".to_owned(), "application/json".to_owned()),
        ("x-amzn-RequestId".to_owned(), request_id.to_owned()),
        ("x-amzn-ErrorType".to_owned(), code.to_owned()),
    ];
    Response { status, headers, body: Bytes::from_static(body.as_bytes()) }
}

/// A function's zip, for whoever holds the link that GetFunction gave. The link is sealed and lives ten minutes.
fn code(inner: &Inner, sealed: &str) -> Response {
    let blob = lambda::function::open_code_location(&inner.host(), sealed.trim_start_matches('/'), inner.clock.now());
    let bytes = blob.and_then(|blob| inner.store.get_blob(&blob).ok().flatten());
    match bytes {
        Some(bytes) => {
            let headers = vec![("Content-Type".to_owned(), "application/zip".to_owned())];
            Response { status: 200, headers, body: bytes.into() }
        }
        None => plain(
            403,
            "AccessDenied",
            "{\"message\":\"This link has expired or is not one of ours. Call GetFunction again.\"}",
            "",
        ),
    }
}

/// The answer when a call came to no end of its own.
pub(crate) fn failed() -> Response {
    let body = "{\"message\":\"Internal server error\"}";
    plain(500, "InternalFailure", body, &uuid::Uuid::new_v4().to_string())
}

fn unsupported(name: &str, request_id: &str) -> Response {
    let name: String = name.chars().filter(|c| c.is_ascii_alphanumeric() || "-_.".contains(*c)).take(64).collect();
    let text = format!(
        "The service '{name}' is not served here. Served: apigateway, lambda, iam, sts, cloudtrail, logs, s3; docs/coverage.md lists the operations."
    );
    let body = serde_json::json!({ "__type": "UnknownOperationException", "message": text }).to_string();
    Response { body: body.into(), ..plain(404, "UnknownOperationException", "", request_id) }
}

impl<'a> Call<'a> {
    /// Logs an error where it is handled, and spells it.
    fn refusal(&self, error: &ServiceError, decision: Option<DecisionId>) -> Response {
        if let Some(cause) = &error.cause {
            let (request_id, service) = (&self.request_id, self.service.name);
            // A client's fault is the client's to read; a stranger must not be able to fill our log with errors.
            if error.is_client_fault() {
                tracing::debug!(request_id, service, code = %error.code, cause, "a call was refused");
            } else {
                tracing::error!(request_id, service, code = %error.code, cause, "a call failed");
            }
        }
        let mut response = Response::from(protocol::encode_error(self.service, error, &self.request_id));
        response.headers.extend(self.inner.decision_header(decision));
        response
    }

    fn serve(&'a self, head: &Head<'_>) -> Result<Step, Refused> {
        let (caller, region) = self.authenticate()?;
        let op = route::operation(self.service, head, &self.request.body)
            .map_err(|error| self.keep(Box::new(error), Some(&caller), None, &region))?;
        let known = Known { call: self, caller, region, op };
        known.serve(head).map_err(|Refusal { error, parameters }| {
            let error = match known.record_refusal(&error, parameters) {
                Ok(()) => error,
                Err(unavailable) => Box::new(unavailable),
            };
            self.keep(error, Some(&known.caller), Some(op), &known.region)
        })
    }

    /// Keeps why a call was refused.
    fn keep(
        &self,
        error: Box<ServiceError>,
        caller: Option<&Caller>,
        op: Option<&'static Operation>,
        region: &str,
    ) -> Refused {
        let account = caller.map(|caller| caller.account.as_str().to_owned());
        self.keep_of(error, account, caller.map(Caller::arn), op, region)
    }

    fn keep_of(
        &self,
        error: Box<ServiceError>,
        account: Option<String>,
        caller_arn: Option<String>,
        op: Option<&'static Operation>,
        region: &str,
    ) -> Refused {
        let decision = self.inner.keep_refusal(RefusedCall {
            now: self.now,
            request_id: self.request_id.clone(),
            account,
            caller_arn,
            service: self.service.name,
            operation: op.map(|op| op.name),
            region: region.to_owned(),
            code: error.code.to_string(),
            message: error.message.clone(),
            explanation: error.explanation.as_deref().cloned(),
        });
        Refused { error, decision }
    }

    fn authenticate(&self) -> Result<(Caller, String), Refused> {
        let request = self.request;
        let headers: Vec<(&str, &[u8])> = request.headers.iter().map(|(n, v)| (n.as_str(), v.as_slice())).collect();
        let head = RequestHead {
            method: &request.method,
            raw_path: &request.raw_path,
            raw_query: request.raw_query.as_deref(),
            headers: &headers,
        };
        let dialect = dialect(self.service);
        let unread = |error: ServiceError| Refused { error: Box::new(error), decision: None };
        let mut reader = SnapshotReader::new(&*self.inner.store, &self.inner.vault).map_err(unread)?;
        let mut tx = Tx::new(&mut reader);
        let verifier = self.inner.verifier(self.now, request.client);
        let body = Body::Bytes(&request.body);
        match verifier.authenticate(&head, body, dialect, self.service.signing_name, &mut tx) {
            Ok(found) => match found.caller {
                Some(caller) => Ok((caller, found.region)),
                None => Err(self.keep(Box::new(Failure::Missing.to_error(dialect)), None, None, &found.region)),
            },
            Err(refused) => {
                self.tell_unknown_key(&refused);
                if let Some((account, access_key_id)) = &refused.named {
                    let region = refused.region.as_deref().unwrap_or("us-east-1");
                    self.record_unproven(account, access_key_id, region, &refused.error);
                }
                let region = refused.region.as_deref().unwrap_or("us-east-1");
                let account = refused.named.map(|(account, _)| account);
                Err(self.keep_of(refused.error, account, None, None, region))
            }
        }
    }
}

impl Call<'_> {
    /// Says that a key is not known here: with somebody's first call it is most often a habit from elsewhere.
    fn tell_unknown_key(&self, refused: &crate::verify::Refused) {
        let Some(id) = &refused.unknown_key else { return };
        let mut allowance = self.inner.unproven.lock().unwrap_or_else(PoisonError::into_inner);
        let allowed = allowance.take("unknown keys", self.now.ms());
        drop(allowance);
        if allowed {
            let id: String = id.chars().filter(char::is_ascii_alphanumeric).take(32).collect();
            let hint = "keys come from `portcullis account create` and IAM; `start --dev-credentials` takes account ids and `test`";
            tracing::warn!(access_key_id = id, client = %self.request.client, "an unknown access key was refused ({hint})");
        }
    }

    /// Records that somebody named a key without proving to hold it. Bounded, and lost without harm when the store fails.
    fn record_unproven(&self, account: &str, access_key_id: &str, region: &str, error: &ServiceError) {
        let mut allowance = self.inner.unproven.lock().unwrap_or_else(PoisonError::into_inner);
        let allowed = allowance.take(account, self.now.ms());
        drop(allowance);
        tracing::warn!(account, access_key_id, code = %error.code, client = %self.request.client, "a signature was refused");
        if !allowed {
            return;
        }
        let source_ip = self.request.client.to_string();
        let bare = trail::Bare {
            request_id: &self.request_id,
            now: self.now,
            region,
            source_ip: &source_ip,
            user_agent: self.request.header("user-agent"),
            source: self.service.event_source,
            name: "SignatureRefused",
            recipient: account,
            access_key_id: Some(access_key_id),
            read_only: false,
        };
        let ending = trail::Ending {
            error: Some((&error.code, &error.message)),
            request_parameters: Value::Null,
            response_elements: Value::Null,
        };
        let event = bare.event(UserIdentity::Unproven { account, access_key_id }, &ending, self.inner.uuid());
        if let Err(error) = self.inner.audit.keep(vec![event]) {
            tracing::error!(%error, "a refused signature could not be recorded");
        }
    }
}

/// A refusal, with the parameters its record shows once they could be read.
pub(crate) struct Refusal {
    pub error: Box<ServiceError>,
    pub parameters: Value,
}

impl From<ServiceError> for Refusal {
    fn from(error: ServiceError) -> Self {
        Self { error: Box::new(error), parameters: Value::Null }
    }
}

impl Known<'_> {
    fn serve(&self, head: &Head<'_>) -> Result<Step, Refusal> {
        let Some(run) = registry::find(self.op.service.name, self.op.name) else {
            return Err(not_available(self.op).into());
        };
        let decoded = protocol::decode(self.op, head, &self.call.request.body)?;
        match run {
            Run::Apply(entry) => {
                let response = self.apply(entry, decoded.params)?;
                Ok(Step::Done(response))
            }
            Run::Exchange(Exchange::LookupEvents) => {
                let shown = trail::request_parameters(self.op, &decoded.params);
                let output = self
                    .lookup_events(&decoded.params)
                    .map_err(|error| Refusal { error: Box::new(error), parameters: shown })?;
                Ok(Step::Done(protocol::encode(self.op, &output, &self.call.request_id).into()))
            }
            Run::Exchange(Exchange::Logs(call)) => {
                let output = self.logs(call, &decoded.params).map_err(|error| {
                    let parameters = trail::request_parameters(self.op, &call.told(&decoded.params));
                    Refusal { error: Box::new(error), parameters }
                })?;
                Ok(Step::Done(protocol::encode(self.op, &output, &self.call.request_id).into()))
            }
            Run::Exchange(Exchange::InvokeStream) => {
                let payload = decoded.payload.map(|payload| payload.range);
                Ok(Step::Stream(Box::new(SignedInvoke::prepare(self, &decoded.params, payload)?)))
            }
            Run::Exchange(Exchange::TestInvoke(tried)) => {
                Ok(Step::Test(Box::new(TestInvoke::prepare(self, tried, &decoded.params)?)))
            }
            Run::Exchange(Exchange::Invoke | Exchange::InvokeAsync) => {
                let payload = decoded.payload.map(|payload| payload.range);
                Ok(Step::Invoke(Box::new(SignedInvoke::prepare(self, &decoded.params, payload)?)))
            }
        }
    }

    fn apply(&self, entry: &'static Entry, mut params: Value) -> Result<Response, Refusal> {
        let shown = |params: &Value| trail::request_parameters(self.op, &entry.trail_parameters(params));
        let refuse =
            |error: ServiceError, params: &Value| Refusal { error: Box::new(error), parameters: shown(params) };
        refuse_unenforced(self.op, entry, &params).map_err(|error| refuse(error, &params))?;
        if let Some(upload) = entry.upload
            && let Some(source) = upload::take(upload, &mut params)
        {
            // Nothing is read or stored for somebody who may not make the call.
            self.permitted(entry, &params).map_err(|error| refuse(error, &params))?;
            self.upload(upload, source, &mut params).map_err(|error| refuse(error, &params))?;
        }
        let commit = || self.commit(entry, &params, shown(&params));
        let output = patiently(&self.call.inner.preparing, commit).map_err(|error| refuse(error, &params))?;
        self.tell_directories(entry, &params);
        Ok(protocol::encode(self.op, &output, &self.call.request_id).into())
    }

    /// Reads, authorizes, applies and commits; again, when somebody else changed what was read.
    fn commit(&self, entry: &'static Entry, params: &Value, shown: Value) -> Result<Value, ServiceError> {
        let inner = self.call.inner;
        for attempt in 0..ATTEMPTS_MAX {
            let mut reader = SnapshotReader::new(&*inner.store, &inner.vault)?;
            let mut tx = Tx::new(&mut reader);
            let (output, foreign) = self.decide_and_apply(entry, params, &mut tx)?;
            let changes = tx.into_changes();
            let ending = trail::Ending {
                error: None,
                request_parameters: shown.clone(),
                response_elements: trail::response_elements(self.op, &entry.trail_response(&output)),
            };
            let events = self.events(foreign.as_deref(), &ending);
            if changes.is_empty() {
                inner.audit.keep(events).map_err(|e| unavailable(&e))?;
                return Ok(output);
            }
            let keys: Vec<_> = changes.records.keys().cloned().collect();
            let commit = commit::prepare(&*inner.store, &inner.vault, changes, reader, events)?;
            match inner.store.commit(commit) {
                Ok(_) => {
                    inner.publish(&keys);
                    return Ok(output);
                }
                Err(store::Error::Conflict) => {
                    std::thread::sleep(Duration::from_millis(u64::from(inner.jitter(attempt))))
                }
                Err(error) => return Err(unavailable(&error)),
            }
        }
        Err(conflict(self.op))
    }

    fn permitted(&self, entry: &'static Entry, params: &Value) -> Result<(), ServiceError> {
        let mut reader = SnapshotReader::new(&*self.call.inner.store, &self.call.inner.vault)?;
        let mut tx = Tx::new(&mut reader);
        self.with_cx(|cx| self.authorized(entry, params, cx, &mut tx).map(|_| ()))
    }

    /// The needs of the call, once the caller has them all.
    fn authorized(
        &self,
        entry: &'static Entry,
        params: &Value,
        cx: &mut Cx<'_>,
        tx: &mut Tx<'_>,
    ) -> Result<Vec<Need>, ServiceError> {
        let needs = match self.op.iam_action {
            Some(action) => entry.needs(params, self.default_need(action, params), cx, tx)?,
            None => Vec::new(),
        };
        authorize::check(&self.call.inner.compiled, self.op.service, &self.caller, &needs, &self.circumstances(), tx)?;
        authorize::check_passed_roles(&self.call.inner.compiled, &needs, tx)?;
        role::check_needs(self.call.inner, self.op.service, &needs, tx)?;
        // Whoever owns what a role of the caller's account needs has no part in this call.
        Ok(needs.into_iter().filter(|need| need.by_role.is_none()).collect())
    }

    pub(crate) fn with_cx<T>(
        &self,
        run: impl FnOnce(&mut Cx<'_>) -> Result<T, ServiceError>,
    ) -> Result<T, ServiceError> {
        let region = policy::Region::try_from(self.region.as_str())
            .map_err(|_| ServiceError::internal("the region of a verified signature does not parse"))?;
        let endpoint = self.call.request.endpoint();
        let mut host = self.call.inner.host();
        run(&mut Cx {
            caller: &self.caller,
            region: &region,
            now: self.call.now,
            request_id: &self.call.request_id,
            endpoint: &endpoint,
            host: &mut host as &mut dyn Host,
        })
    }

    fn decide_and_apply(
        &self,
        entry: &'static Entry,
        params: &Value,
        tx: &mut Tx<'_>,
    ) -> Result<(Value, Option<String>), ServiceError> {
        self.with_cx(|cx| {
            let needs = self.authorized(entry, params, cx, tx)?;
            let output = entry.apply(params, cx, tx)?;
            let own = self.caller.account.as_str();
            let foreign = needs.into_iter().map(|need| need.account).find(|account| account != own);
            Ok((output, foreign))
        })
    }

    /// The permission the operation table names for this call.
    pub(crate) fn default_need(&self, action: &str, params: &Value) -> Need {
        let account = self.caller.account.as_str();
        let resource = self.op.resource_arn(params, &self.call.request.raw_path, account, &self.region);
        Need::new(action, resource, account)
    }

    pub(crate) fn circumstances(&self) -> Circumstances<'_> {
        Circumstances {
            source_ip: self.call.request.client,
            user_agent: self.call.request.header("user-agent"),
            secure: self.call.request.secure,
            region: &self.region,
            now: self.call.now,
        }
    }

    fn events(&self, foreign: Option<&str>, ending: &trail::Ending<'_>) -> Vec<Event> {
        let source_ip = self.call.request.client.to_string();
        let at = trail::Circumstances {
            request_id: &self.call.request_id,
            now: self.call.now,
            region: &self.region,
            source_ip: &source_ip,
            user_agent: self.call.request.header("user-agent"),
            op: self.op,
        };
        trail::events(&at, &self.caller, foreign, ending, || self.call.inner.uuid())
    }

    /// Keeps a record of a call that changed nothing and went well.
    pub(crate) fn record_read(&self, parameters: Value) -> Result<(), ServiceError> {
        let ending = trail::Ending { error: None, request_parameters: parameters, response_elements: Value::Null };
        self.call.inner.audit.keep(self.events(None, &ending)).map_err(|e| unavailable(&e))
    }

    fn record_refusal(&self, error: &ServiceError, parameters: Value) -> Result<(), ServiceError> {
        if test_invoke::is_unrecorded(self.op) {
            return Ok(());
        }
        // CloudTrail names refusals by policy `AccessDenied`, whatever the protocol's code.
        let code = if error.code.starts_with("AccessDenied") { "AccessDenied" } else { &error.code };
        let ending = trail::Ending {
            error: Some((code, &error.message)),
            request_parameters: parameters,
            response_elements: Value::Null,
        };
        self.call.inner.audit.keep(self.events(None, &ending)).map_err(|e| unavailable(&e))
    }
}

fn not_available(op: &Operation) -> ServiceError {
    let text = format!(
        "{} of {} is not available in this version of Portcullis. docs/coverage.md lists what is.",
        op.name, op.service.name
    );
    ServiceError::new("NotImplementedException", 501, text)
}

/// What is not enforced is not stored: a member this version cannot honour refuses the call.
fn refuse_unenforced(op: &Operation, entry: &Entry, params: &Value) -> Result<(), ServiceError> {
    let Some(member) = entry.refused.iter().find(|member| params.get(**member).is_some_and(|value| !value.is_null()))
    else {
        return Ok(());
    };
    let text = format!(
        "'{member}' of {} is not supported by this version of Portcullis, and is refused rather than stored without effect. Leave it out; docs/coverage.md lists what is enforced.",
        op.name
    );
    Err(match op.service.name {
        "apigateway" => ServiceError::new("BadRequestException", 400, text),
        "lambda" => ServiceError::new("InvalidParameterValueException", 400, text).with_field("Type", "User"),
        "cloudtrail" => ServiceError::new("UnsupportedOperationException", 400, text),
        "logs" => ServiceError::new("InvalidParameterException", 400, text),
        _ => ServiceError::new("ValidationError", 400, text),
    })
}

/// The service's own conflict, after as many attempts as the storage contract allows.
fn conflict(op: &Operation) -> ServiceError {
    let text = "Unable to complete operation due to concurrent modification. Please try again later.";
    match op.service.name {
        "apigateway" => ServiceError::new("ConflictException", 409, text),
        "lambda" => ServiceError::new("ResourceConflictException", 409, text).with_field("Type", "User"),
        "iam" => ServiceError::new("ConcurrentModification", 409, text),
        "cloudtrail" => ServiceError::new("ConflictException", 400, text),
        "logs" => ServiceError::new("OperationAbortedException", 400, text),
        _ => ServiceError::new("Throttling", 400, text),
    }
}

#[cfg(test)]
mod tests {
    use super::ambiguous;

    #[test]
    fn paths_that_normalise_to_another_are_refused() {
        for path in ["//", "/a//b", "/a/../b", "/./a", "/a/.", "/a//", "//a"] {
            assert!(ambiguous(path), "{path}");
        }
        for path in ["/", "", "/restapis", "/restapis/", "/2015-03-31/functions/arn%3Aaws/policy", "/a/..b/.c"] {
            assert!(!ambiguous(path), "{path}");
        }
    }
}
