//! One connection: its requests go to the plane they belong to, and come back as bytes, whatever happens.

use std::{
    cell::RefCell,
    convert::Infallible,
    future::Future,
    net::IpAddr,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use gateway::{Answer, Arrived, Gateway, Headers, Target};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header, request::Parts};
use http_body_util::BodyExt;
use hyper::{
    Request,
    body::{Body, Incoming},
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpStream,
    sync::{OwnedSemaphorePermit, watch},
};

use super::{
    HEAD_BYTES_MAX, Shared,
    body::{self, Refused, Streamed},
    outgoing::Outgoing,
    own,
    peer::{self, Peer},
    spelling,
    tap::{FIELDS_MAX, Recorder, Tap, origin_form},
};

/// Memory for reading one connection, beyond a head.
const BUFFER_BYTES_MAX: usize = 2 * HEAD_BYTES_MAX;
/// Longest a control-plane call may take: a function's 15 minutes, and loading it.
const CONTROL_TIMEOUT: Duration = Duration::from_secs(960);
/// Largest body for Lambda's functions. Source: AWS Lambda Developer Guide, "Lambda quotas".
const FUNCTION_BYTES_MAX: u64 = 70_167_211;
/// Largest object.
const OBJECT_BYTES_MAX: u64 = 64 << 20;
/// Largest body of every other call.
const CALL_BYTES_MAX: u64 = 4 << 20;

/// Where a connection comes from.
pub(super) enum Origin {
    /// From whoever reaches the address that is listened on.
    Network,
    /// Out of a sandbox; keeps its place among the sandbox's connections.
    Function { _permit: OwnedSemaphorePermit },
}

/// Serves a connection until it ends.
pub(super) async fn serve(shared: Arc<Shared>, socket: TcpStream, origin: Origin, mut closed: watch::Receiver<bool>) {
    let (Ok(peer), Ok(local)) = (socket.peer_addr(), socket.local_addr()) else { return };
    let peer = match &origin {
        Origin::Network => Peer::Network(peer.ip()),
        Origin::Function { .. } => Peer::Function,
    };
    let _ = socket.set_nodelay(true);
    let recorder = Rc::new(RefCell::new(Recorder::new()));
    let tap = Tap::new(socket, Rc::clone(&recorder));
    let ends = Ends { peer, port: local.port() };
    let service = service_fn(move |request| {
        let (shared, recorder) = (Arc::clone(&shared), Rc::clone(&recorder));
        async move {
            let response = guarded(answer(&shared, ends, &recorder, request)).await;
            recorder.borrow_mut().answered();
            Ok::<_, Infallible>(response)
        }
    });
    let mut http = hyper::server::conn::http1::Builder::new();
    // The tap minds the time for heads, which hyper would not tell from rests between requests.
    http.header_read_timeout(None)
        .max_header_size(HEAD_BYTES_MAX)
        .max_buf_size(BUFFER_BYTES_MAX)
        .max_headers(FIELDS_MAX);
    let mut connection = pin!(http.serve_connection(TokioIo::new(tap), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        _ = closed.wait_for(|closed| *closed) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, client = ?peer, "a connection ended early");
    }
    drop(origin);
}

/// Both ends of a connection.
#[derive(Debug, Clone, Copy)]
struct Ends {
    peer: Peer,
    /// The port on our side.
    port: u16,
}

/// Runs a request; a panic in it becomes a 500, and the thread and its other connections live on.
async fn guarded(request: impl Future<Output = Response<Outgoing>>) -> Response<Outgoing> {
    let mut request = pin!(request);
    std::future::poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| request.as_mut().poll(cx))) {
        Ok(progress) => progress,
        Err(_) => {
            tracing::error!("a request panicked");
            std::task::Poll::Ready(failed())
        }
    })
    .await
}

async fn answer(
    shared: &Shared,
    ends: Ends,
    recorder: &RefCell<Recorder>,
    request: Request<Incoming>,
) -> Response<Outgoing> {
    let (parts, body) = request.into_parts();
    let target = parts.uri.path_and_query().map_or("/", |target| target.as_str()).to_owned();
    let path = target.split('?').next().unwrap_or_default();
    if parts.headers.get_all(header::HOST).iter().nth(1).is_some() {
        return refusal(400, "BadRequestException", "a request names one Host");
    }
    // A signature covers the Host field, so nothing else may say where a request goes.
    if let (Some(authority), Some(host)) = (parts.uri.authority(), parts.headers.get(header::HOST))
        && !host.as_bytes().eq_ignore_ascii_case(authority.as_str().as_bytes())
    {
        return refusal(400, "BadRequestException", "the Host field and the request's target name different hosts");
    }
    let host = parts.uri.authority().map(|authority| authority.as_str());
    let host = host.or_else(|| parts.headers.get(header::HOST).and_then(|host| host.to_str().ok())).unwrap_or_default();
    let client = peer::client(
        ends.peer,
        &shared.trusted_proxies,
        parts.headers.get_all("x-forwarded-for").iter().map(HeaderValue::as_bytes).collect::<Vec<_>>().into_iter(),
    );
    if let Some(found) = Gateway::target(host, path) {
        let arrived = arrived(found, &parts, &target, recorder, body, client, ends.port);
        let answer = shared.gateway.handle(arrived).await;
        tell(&answer, parts.method.as_str(), host, path);
        return from_gateway(answer);
    }
    if let Some((status, document)) = own::answer(&parts.method, path, ends.peer, shared) {
        return json(status, &document);
    }
    let limit = Limit::of(&parts, path);
    let (raw_target, headers) = spelled_for_control(&parts, &target, recorder);
    let (raw_path, raw_query) = split(&raw_target);
    let request = control::Request {
        method: parts.method.as_str().to_owned(),
        raw_path: raw_path.to_owned(),
        raw_query: raw_query.map(str::to_owned),
        headers,
        body: Bytes::new(),
        client,
        secure: false,
    };
    let creates = parts.method == Method::POST && path.trim_end_matches('/') == "/2015-03-31/functions";
    let response = control(shared, request, (body, waits(&parts.headers)), &limit).await;
    if creates && response.status() == StatusCode::CREATED {
        warn_if_unrunnable(shared);
    }
    response
}

/// Creating a function works where none runs, so whoever runs the server hears of it before somebody calls it.
fn warn_if_unrunnable(shared: &Shared) {
    if let Some(reason) = shared.functions.now().reason {
        tracing::warn!(reason, "a function was created, and functions do not run on this server");
    }
}

/// Whether the client sends its body only once it is told to go on.
fn waits(fields: &HeaderMap) -> bool {
    fields.get(header::EXPECT).is_some_and(|expected| expected.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

/// A target without its query, and the query.
fn split(target: &str) -> (&str, Option<&str>) {
    target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)))
}

/// The request as the data plane takes it.
fn arrived(
    target: Target,
    parts: &Parts,
    understood: &str,
    recorder: &RefCell<Recorder>,
    body: Incoming,
    client: IpAddr,
    port: u16,
) -> Arrived {
    let bytes = parts.headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    let mut headers = Headers::with_capacity(parts.headers.len(), bytes);
    let sent = recorder.borrow_mut().begin(&parts.method, understood, &parts.headers, |sent, fields| {
        fields.iter().for_each(|field| headers.push(field.name, field.value));
        origin_form(sent).to_owned()
    });
    let sent = sent.unwrap_or_else(|| {
        parts.headers.iter().for_each(|(name, value)| headers.push(&spelling::usual(name.as_str()), value.as_bytes()));
        understood.to_owned()
    });
    let (raw_path, raw_query) = split(&sent);
    let body = if body.is_end_stream() {
        gateway::Body::Empty
    } else {
        gateway::Body::Stream(Streamed::new(body, waits(&parts.headers)).map_err(Into::into).boxed())
    };
    Arrived {
        target,
        method: parts.method.clone(),
        raw_path: raw_path.to_owned(),
        raw_query: raw_query.map(str::to_owned),
        headers,
        client,
        port,
        secure: false,
        body,
    }
}

/// Target and fields as sent, as the control plane takes them.
fn spelled_for_control(
    parts: &Parts,
    understood: &str,
    recorder: &RefCell<Recorder>,
) -> (String, Vec<(String, Vec<u8>)>) {
    let sent = recorder.borrow_mut().begin(&parts.method, understood, &parts.headers, |sent, fields| {
        let fields = fields.iter().map(|field| (field.name.to_owned(), field.value.to_vec())).collect();
        (origin_form(sent).to_owned(), fields)
    });
    sent.unwrap_or_else(|| {
        let fields = parts.headers.iter();
        let fields =
            fields.map(|(name, value)| (spelling::usual(name.as_str()).into_owned(), value.as_bytes().to_vec()));
        (understood.to_owned(), fields.collect())
    })
}

/// How large the body of a control-plane call may be, and who says so.
#[derive(Debug, PartialEq, Eq)]
enum Limit {
    /// Lambda, by operation.
    Function(&'static str),
    Object,
    Call,
}

impl Limit {
    fn of(parts: &Parts, path: &str) -> Self {
        if path.starts_with("/2015-03-31/functions") {
            return Self::Function(match parts.method {
                Method::PUT if path.ends_with("/code") => "UpdateFunctionCode",
                Method::PUT => "UpdateFunctionConfiguration",
                Method::POST if path.ends_with("/invocations") => "InvokeFunction",
                Method::POST if path.ends_with("/policy") => "AddPermission",
                Method::POST if path.ends_with("/versions") => "PublishVersion",
                _ => "CreateFunction",
            });
        }
        if path.starts_with("/2018-10-31/layers/") && parts.method == Method::POST && path.ends_with("/versions") {
            return Self::Function("PublishLayerVersion");
        }
        if path.starts_with("/2021-11-15/functions/") {
            return Self::Function("InvokeWithResponseStream");
        }
        let scope = parts.headers.get(header::AUTHORIZATION).map(HeaderValue::as_bytes).unwrap_or_default();
        let query = parts.uri.query().unwrap_or_default();
        let is_signed_for_s3 = contains(scope, b"/s3/aws4_request") || query.contains("%2Fs3%2Faws4_request");
        if is_signed_for_s3 { Self::Object } else { Self::Call }
    }

    fn bytes_max(&self) -> u64 {
        match self {
            Self::Function(_) => FUNCTION_BYTES_MAX,
            Self::Object => OBJECT_BYTES_MAX,
            Self::Call => CALL_BYTES_MAX,
        }
    }

    /// The service's own answer to a body that is too large.
    fn refusal(&self) -> Response<Outgoing> {
        let bytes_max = self.bytes_max();
        match self {
            Self::Function(operation) => {
                let text = format!("Request must be smaller than {bytes_max} bytes for the {operation} operation");
                refusal(413, "RequestEntityTooLargeException", &text)
            }
            Self::Object => {
                let body = format!(
                    "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>EntityTooLarge</Code><Message>Your \
                     proposed upload exceeds the maximum allowed object size</Message><MaxSizeAllowed>{bytes_max}\
                     </MaxSizeAllowed></Error>"
                );
                with_body(400, "application/xml", body.into())
            }
            Self::Call => {
                let text = format!("Request must be smaller than {bytes_max} bytes");
                refusal(413, "RequestEntityTooLargeException", &text)
            }
        }
    }
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

/// Reads the body and lets the control plane answer on its own runtime.
async fn control(
    shared: &Shared,
    mut request: control::Request,
    (body, waits): (Incoming, bool),
    limit: &Limit,
) -> Response<Outgoing> {
    let held = match body::read(body, waits, limit.bytes_max(), &shared.budget).await {
        Ok(held) => held,
        Err(Refused::TooLarge) => return limit.refusal(),
        Err(Refused::Busy) => return busy(),
        Err(Refused::Late) => {
            let mut response = refusal(408, "RequestTimeout", "the body of the request did not arrive in time");
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            return response;
        }
        Err(Refused::Broken) => return refusal(400, "BadRequestException", "the body of the request is incomplete"),
    };
    // Only now, so that slow senders cannot keep others from their turn.
    let Ok(turn) = Arc::clone(&shared.control_requests).try_acquire_owned() else { return busy() };
    request.body = held.bytes.clone();
    let (control, is_head) = (shared.control.clone(), request.method == "HEAD");
    // A task of its own: a call that has begun goes to its end, and into the audit, when its client goes away.
    let call = shared.runtime.spawn(async move {
        let answered = tokio::time::timeout(CONTROL_TIMEOUT, control.handle(request)).await;
        drop((held, turn));
        answered
    });
    match call.await {
        Ok(Ok(answer)) => from_control(answer, is_head),
        Ok(Err(_)) => {
            tracing::error!("a control-plane call took too long");
            failed()
        }
        Err(error) => {
            tracing::error!(%error, "a control-plane call did not end");
            failed()
        }
    }
}

/// Says why the gateway itself answered so. A 5xx is somebody's configuration, and its client learns nothing: whoever
/// asks "why 500?" finds it here, by the request id.
fn tell(answer: &Answer, method: &str, host: &str, path: &str) {
    let (Some(refusal), false) = (answer.refusal, answer.causes.is_empty()) else { return };
    let request_id = answer.header("x-amzn-RequestId").unwrap_or_default();
    let decision = answer.decision.as_deref().unwrap_or_default();
    let (status, kind, why) = (answer.status, refusal.name(), answer.causes.join("; "));
    if status >= 500 {
        tracing::warn!(request_id, decision, status, kind, method, host, path, "{why}");
    } else {
        tracing::debug!(request_id, decision, status, kind, method, host, path, "{why}");
    }
}

fn from_gateway(answer: Answer) -> Response<Outgoing> {
    let fields = answer.headers.iter().map(|(name, value)| (name.as_ref(), value.as_ref()));
    build(answer.status, fields, answer.body)
}

fn from_control(answer: control::Answer, is_head: bool) -> Response<Outgoing> {
    // Only HEAD tells the length of a body that it does not send.
    let fields = answer.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let fields = fields.filter(|(name, _)| is_head || !name.eq_ignore_ascii_case("content-length"));
    build(answer.status, fields, answer.body)
}

/// A field's name. Those of every answer are ready made: reading one costs an allocation.
fn field_name(name: &str) -> Option<HeaderName> {
    static OFTEN: [(&str, HeaderName); 4] = [
        ("Content-Type", header::CONTENT_TYPE),
        ("x-amzn-RequestId", HeaderName::from_static("x-amzn-requestid")),
        ("x-amz-apigw-id", HeaderName::from_static("x-amz-apigw-id")),
        (gateway::DECISION_HEADER, HeaderName::from_static(gateway::DECISION_HEADER)),
    ];
    let known = OFTEN.iter().find(|(own, _)| *own == name).map(|(_, name)| name.clone());
    known.or_else(|| HeaderName::from_bytes(name.as_bytes()).ok())
}

fn build<'a>(
    status: u16,
    fields: impl Iterator<Item = (&'a str, &'a str)>,
    body: impl Into<Outgoing>,
) -> Response<Outgoing> {
    let Ok(status) = StatusCode::from_u16(status) else { return failed() };
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    for (name, value) in fields {
        let (Some(name), Ok(value)) = (field_name(name), HeaderValue::from_bytes(value.as_bytes())) else {
            tracing::error!(field = name, "an answer holds a field that cannot be sent");
            return failed();
        };
        // How a message is framed is hyper's business.
        if name != header::TRANSFER_ENCODING {
            response.headers_mut().append(name, value);
        }
    }
    response
}

fn json(status: u16, document: &serde_json::Value) -> Response<Outgoing> {
    with_body(status, "application/json", document.to_string().into())
}

fn with_body(status: u16, kind: &'static str, body: Bytes) -> Response<Outgoing> {
    build(status, [("Content-Type", kind)].into_iter(), body)
}

/// A refusal of the listener itself, in the shape of AWS's JSON protocols.
fn refusal(status: u16, code: &'static str, message: &str) -> Response<Outgoing> {
    let mut response = json(status, &serde_json::json!({ "message": message }));
    response.headers_mut().insert("x-amzn-errortype", HeaderValue::from_static(code));
    response
}

fn busy() -> Response<Outgoing> {
    let mut response = refusal(503, "ServiceUnavailableException", "too many requests at once; try again shortly");
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

fn failed() -> Response<Outgoing> {
    let mut response = Response::new(Outgoing::from(Bytes::from_static(b"{\"message\":\"Internal server error\"}")));
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert("x-amzn-errortype", HeaderValue::from_static("InternalServerErrorException"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_a_500() {
        let response = guarded(async { panic!("a bug") }).await;
        assert_eq!(response.status(), 500);
    }

    #[test]
    fn limits_follow_the_service() {
        let limit = |method: &str, uri: &str, authorization: &str| {
            let request = Request::builder().method(method).uri(uri).header("authorization", authorization);
            let (parts, ()) = request.body(()).unwrap().into_parts();
            let path = parts.uri.path().to_owned();
            Limit::of(&parts, &path)
        };
        assert_eq!(limit("POST", "/2015-03-31/functions", ""), Limit::Function("CreateFunction"));
        assert_eq!(limit("PUT", "/2015-03-31/functions/f/code", ""), Limit::Function("UpdateFunctionCode"));
        assert_eq!(limit("POST", "/2018-10-31/layers/l/versions", ""), Limit::Function("PublishLayerVersion"));
        assert_eq!(limit("POST", "/2018-10-31/layers/l/versions/1/policy", ""), Limit::Call);
        let scope = "AWS4-HMAC-SHA256 Credential=AKIA/20260101/us-east-1/s3/aws4_request, SignedHeaders=host";
        assert_eq!(limit("PUT", "/b/k", scope), Limit::Object);
        assert_eq!(limit("PUT", "/b/k?X-Amz-Credential=A%2F2%2Fus-east-1%2Fs3%2Faws4_request", ""), Limit::Object);
        assert_eq!(limit("POST", "/", ""), Limit::Call);
    }

    #[test]
    fn a_field_that_cannot_be_sent_is_a_500() {
        let response = build(200, [("a b", "x")].into_iter(), Bytes::new());
        assert_eq!(response.status(), 500);
        let response = build(200, [("a", "x\r\ny")].into_iter(), Bytes::new());
        assert_eq!(response.status(), 500);
    }
}
