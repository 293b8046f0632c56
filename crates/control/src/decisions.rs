//! Refusals of the control plane, kept for `explain`; and who may read a decision of either plane.

use gateway::{DecisionId, Ring, Viewer};
use platform::cloudtrail::record::UserIdentity;
use serde_json::{Value, json};
use service::{Caller, Need, ServiceError, Timestamp, Tx};
use wire::{
    protocol,
    sigv4::{Body, Dialect, RequestHead},
    table,
};

use crate::{
    Inner, authorize,
    authorize::Circumstances,
    dispatch::{Request, Response, Step},
    reader::{SnapshotReader, unavailable},
    trail,
};

/// Path under which a decision is read by its id, by a request signed for service [`SIGNING_NAME`].
pub const PATH: &str = "/_portcullis/decisions/";
/// What requests for decisions are signed for.
const SIGNING_NAME: &str = "portcullis";
/// The action a caller needs to read the decisions of its account.
const ACTION: &str = "portcullis:GetDecision";

/// One refused call.
#[derive(Debug, Clone)]
pub(crate) struct RefusedCall {
    pub(crate) now: Timestamp,
    pub(crate) request_id: String,
    /// Owner of the key that signed, or that was named by a signature that does not count.
    pub(crate) account: Option<String>,
    pub(crate) caller_arn: Option<String>,
    pub(crate) service: &'static str,
    pub(crate) operation: Option<&'static str>,
    pub(crate) region: String,
    pub(crate) code: String,
    pub(crate) message: String,
    /// What [`authorize::check`] knows of a refusal by policy.
    pub(crate) explanation: Option<Value>,
}

impl RefusedCall {
    /// The refusal as JSON; `None` for a viewer of another account.
    fn view(&self, id: DecisionId, viewer: Viewer<'_>) -> Option<Value> {
        if let Viewer::Account(account) = viewer
            && self.account.as_deref() != Some(account)
        {
            return None;
        }
        let explained = |member: &str| self.explanation.as_ref().and_then(|it| it.get(member)).cloned();
        Some(json!({
            "decisionId": id.to_string(),
            "time": self.now.iso_s(),
            "requestId": self.request_id,
            "accountId": self.account,
            "caller": self.caller_arn,
            "service": self.service,
            "operation": self.operation,
            "region": self.region,
            "steps": explained("steps").unwrap_or_else(|| json!([])),
            "rule": format!("{}: {}", self.code, self.message),
            "repair": explained("repair").unwrap_or_else(|| json!([])),
        }))
    }
}

/// The newest refusals.
pub(crate) type Refusals = Ring<RefusedCall>;

impl Inner {
    /// Keeps a refusal, and gives its name; `None` where none are kept.
    pub(crate) fn keep_refusal(&self, refused: RefusedCall) -> Option<DecisionId> {
        self.refusals.as_ref().map(|refusals| refusals.keep(refused))
    }

    /// The header that names a decision, where answers are to have it.
    pub(crate) fn decision_header(&self, decision: Option<DecisionId>) -> Option<(String, String)> {
        let decision = decision.filter(|_| self.options.decision_header)?;
        Some((gateway::DECISION_HEADER.to_owned(), decision.to_string()))
    }

    /// A decision of either plane, as much as the viewer may see.
    pub(crate) fn explain(&self, id: &str, viewer: Viewer<'_>) -> Option<Value> {
        let id = DecisionId::parse(id)?;
        if let Some(decision) = self.gateway().decision(id) {
            return decision.view(id, viewer);
        }
        self.refusals.as_ref()?.get(id)?.view(id, viewer)
    }
}

/// Answers a signed request for a decision. A decision of another account is not told apart from none. Blocks.
pub(crate) fn answer(inner: &Inner, request: &Request) -> Step {
    let request_id = inner.uuid();
    let response = match view(inner, request, &request_id) {
        Ok(decision) => Response {
            status: 200,
            headers: vec![
                ("Content-Type".to_owned(), "application/json".to_owned()),
                ("x-amzn-RequestId".to_owned(), request_id),
            ],
            body: decision.to_string().into(),
        },
        Err(error) => match table::service("apigateway") {
            Some(service) => protocol::encode_error(service, &error, &request_id).into(),
            None => crate::dispatch::failed(),
        },
    };
    Step::Done(response)
}

/// Keeps a record of who read which decision, or was refused it: an auditor's first question about them.
fn record(
    inner: &Inner,
    request: &Request,
    request_id: &str,
    caller: &Caller,
    region: &str,
    (id, now): (&str, Timestamp),
    refused: Option<&ServiceError>,
) -> Result<(), ServiceError> {
    let source_ip = request.client.to_string();
    let bare = trail::Bare {
        request_id,
        now,
        region,
        source_ip: &source_ip,
        user_agent: request.header("user-agent"),
        source: "portcullis.amazonaws.com",
        name: "GetDecision",
        recipient: caller.account.as_str(),
        access_key_id: Some(&caller.access_key_id),
        read_only: true,
    };
    let id: String = id.chars().take(64).collect();
    let ending = trail::Ending {
        error: refused.map(|error| ("AccessDenied", error.message.as_str())),
        request_parameters: json!({ "decisionId": id }),
        response_elements: Value::Null,
    };
    let event = bare.event(UserIdentity::Caller(caller), &ending, inner.uuid());
    inner.audit.keep(vec![event]).map_err(|error| unavailable(&error))
}

fn view(inner: &Inner, request: &Request, request_id: &str) -> Result<Value, ServiceError> {
    if request.method != "GET" {
        return Err(ServiceError::new("BadRequestException", 400, "A decision is read by GET."));
    }
    let id = request.raw_path.strip_prefix(PATH).unwrap_or_default();
    let headers: Vec<(&str, &[u8])> = request.headers.iter().map(|(n, v)| (n.as_str(), v.as_slice())).collect();
    let head = RequestHead {
        method: &request.method,
        raw_path: &request.raw_path,
        raw_query: request.raw_query.as_deref(),
        headers: &headers,
    };
    let mut reader = SnapshotReader::new(&*inner.store, &inner.vault)?;
    let mut tx = Tx::new(&mut reader);
    let now = inner.clock.now();
    let verifier = inner.verifier(now, request.client);
    let found = verifier
        .authenticate(&head, Body::Bytes(&request.body), Dialect::RestJson, SIGNING_NAME, &mut tx)
        .map_err(|refused| *refused.error)?;
    let unsigned = || {
        let text =
            format!("Sign the request for service '{SIGNING_NAME}', or ask on the machine: portcullis explain {id}");
        ServiceError::new("MissingAuthenticationTokenException", 403, text)
    };
    let caller: Caller = found.caller.ok_or_else(unsigned)?;
    let account = caller.account.as_str().to_owned();
    let need = Need::new(ACTION, format!("arn:aws:portcullis:{}:{account}:decision/{id}", found.region), &account);
    let circumstances = Circumstances {
        source_ip: request.client,
        user_agent: request.header("user-agent"),
        secure: request.secure,
        region: &found.region,
        now,
    };
    let service = table::service("apigateway").ok_or_else(|| ServiceError::internal("no table of apigateway"))?;
    let allowed = authorize::check(&inner.compiled, service, &caller, &[need], &circumstances, &mut tx);
    record(inner, request, request_id, &caller, &found.region, (id, now), allowed.as_ref().err())?;
    allowed?;
    inner.explain(id, Viewer::Account(&account)).ok_or_else(|| {
        let text = "There is no decision of that id about a request or function of this account. Decisions are kept in \
                    memory: the newest ones of this start of the server.";
        ServiceError::new("NotFoundException", 404, text)
    })
}
