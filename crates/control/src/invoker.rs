//! Running a function for somebody: permission first, then the run, then its CloudTrail record.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use environment::Supervisor;
use lambda::{
    directory::{QualifierKey, Refusal, permit},
    invoke::{
        BoxFuture, Invocation, Invoke, InvokeError, InvokeRequest, Invoked, Invoker as OnBehalf, NotPermitted, Outcome,
        Revision, Run as _, RunError, StreamSink,
    },
};
use platform::cloudtrail::record::{GATEWAY_INVOKED_BY, LambdaInvoke, UserIdentity};
use policy::Principal;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    Inner,
    functions::{Function, FunctionKey, InFlight},
    role::Acting,
};

/// The service principal the gateway calls functions as.
pub const GATEWAY_PRINCIPAL: &str = "apigateway.amazonaws.com";

/// The data plane's way to functions.
pub struct Invoker {
    inner: Weak<Inner>,
    gateway: Principal,
}

/// What the caller's account may know of a missing permission.
const NOT_ALLOWED: &str =
    "the function's resource-based policy does not allow apigateway.amazonaws.com this source ARN";

/// A refusal, with what only the function's account may read apart: to others a statement that denies, one that is missing
/// and a function that is not there look alike.
fn not_permitted(refusal: &Refusal) -> NotPermitted {
    NotPermitted { why: NOT_ALLOWED.to_owned(), detail: Some(refusal.to_string()), grantable: true }
}

/// Who a data event names.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Attribution {
    pub identity: Value,
    pub source_ip: String,
    pub user_agent: String,
    pub source_arn: Option<String>,
    /// Whether the caller is of another account than the function.
    pub foreign: bool,
    pub username: Option<String>,
    pub access_key_id: Option<String>,
}

impl Invoker {
    pub(crate) fn new(inner: Weak<Inner>) -> Self {
        Self { inner, gateway: Principal::Service(GATEWAY_PRINCIPAL.into()) }
    }

    async fn permitted(&self, inner: &Arc<Inner>, request: &InvokeRequest) -> Result<Permitted, InvokeError> {
        let refused = |why: String| InvokeError::NotPermitted(NotPermitted::because(why));
        let key = QualifierKey::parse(&request.function_arn)
            .ok_or_else(|| refused(format!("'{}' is not a function ARN", request.function_arn)))?;
        // The API's account learns no more than on AWS: whether there is such a function is its owner's to know.
        let missing = || {
            InvokeError::NotPermitted(Box::new(NotPermitted {
                why: NOT_ALLOWED.to_owned(),
                detail: Some(format!("there is no function {}", request.function_arn)),
                grantable: true,
            }))
        };
        let function = inner.function(FunctionKey::from(&key)).await.ok_or_else(missing)?;
        let target = Arc::clone(function.target(&key.qualifier).ok_or_else(missing)?);
        let attribution = match &request.invoker {
            OnBehalf::ApiGateway { source_arn, source_account } => {
                permit(&target, &self.gateway, &request.function_arn, Some(source_arn), Some(source_account))
                    .map_err(|refusal| InvokeError::NotPermitted(Box::new(not_permitted(&refusal))))?;
                Attribution {
                    identity: UserIdentity::Service { invoked_by: GATEWAY_INVOKED_BY }.to_value(),
                    source_ip: GATEWAY_INVOKED_BY.into(),
                    user_agent: GATEWAY_INVOKED_BY.into(),
                    source_arn: Some(source_arn.clone()),
                    foreign: *source_account != key.account,
                    username: None,
                    access_key_id: None,
                }
            }
            OnBehalf::Role { role_arn, source_account } => {
                let acting = Acting::gateway();
                inner.permit_role(acting, &target, &key, &request.function_arn, role_arn, source_account).await?
            }
        };
        Ok(Permitted { key, function, target, attribution })
    }
}

/// A function that may be run, and for whom. Only [`Invoker::permitted`] and the signed Invoke make one.
pub(crate) struct Permitted {
    pub key: QualifierKey,
    pub function: Arc<Function>,
    pub target: Arc<lambda::directory::Target>,
    pub attribution: Attribution,
}

impl Inner {
    /// Runs a permitted function and records the invocation.
    pub(crate) async fn run_permitted(
        &self,
        permitted: Permitted,
        invoked_arn: String,
        invocation: Invocation,
    ) -> Result<Outcome, RunError> {
        let admitted = self.admit(permitted, invoked_arn, &invocation.request_id).await?;
        self.runner.run(Arc::clone(&admitted.revision), invocation).await
    }

    /// Everything before the run: waits until the function can, counts it in, draws what runs, records the invocation.
    ///
    /// # Errors
    /// When the function cannot run yet, or its reserved concurrency is used up; it has not run then.
    pub(crate) async fn admit(
        &self,
        permitted: Permitted,
        invoked_arn: String,
        request_id: &str,
    ) -> Result<Admitted, RunError> {
        let Permitted { key, function, target, attribution } = permitted;
        let (function, target) = self.ready(&FunctionKey::from(&key), &key.qualifier, function, target).await?;
        let Some(in_flight) = function.enter(&target) else {
            return Err(RunError::Throttled { reason: "ReservedFunctionConcurrentInvocationLimitExceeded" });
        };
        let revision = Arc::clone(target.draw(self.roll()));
        let function_arn = format!("arn:aws:lambda:{}:{}:function:{}", key.region, key.account, key.function);
        self.audit.invoked(LambdaInvoke {
            event_id: self.uuid(),
            request_id: request_id.to_owned(),
            now: self.clock.now(),
            region: key.region,
            identity: attribution.identity,
            source_ip: attribution.source_ip,
            user_agent: attribution.user_agent,
            function_name: invoked_arn,
            source_arn: attribution.source_arn,
            function_arn,
            executed_version: revision.version.clone(),
            account: key.account,
            // The gateway is an account of AWS's own, so its calls carry a shared id wherever the API lives.
            shared_event_id: attribution.foreign.then(|| self.uuid()),
            username: attribution.username,
            access_key_id: attribution.access_key_id,
        });
        Ok(Admitted { revision, _in_flight: in_flight })
    }
}

/// An invocation that may run, and is counted while this lives.
pub(crate) struct Admitted {
    pub revision: Arc<Revision>,
    _in_flight: InFlight,
}

impl Admitted {
    /// Runs it, its answer going to `sink` while it is made.
    pub(crate) async fn run_streaming(
        self,
        runner: &Supervisor,
        invocation: Invocation,
        sink: Box<dyn StreamSink>,
    ) -> Result<Outcome, RunError> {
        runner.run_streaming(Arc::clone(&self.revision), invocation, sink).await
    }
}

/// Says who was refused which function and why: the gateway's client learns only that something is misconfigured.
fn refused(request: &InvokeRequest, error: &InvokeError) {
    let (why, presented) = match (error, &request.invoker) {
        (InvokeError::NotPermitted(refused), presented) => {
            let presented = match presented {
                OnBehalf::ApiGateway { source_arn, .. } => source_arn,
                OnBehalf::Role { role_arn, .. } => role_arn,
            };
            (refused.detail.as_deref().unwrap_or(&refused.why), presented)
        }
        (InvokeError::CannotAssumeRole(role), _) => ("the role cannot be assumed by API Gateway", role),
        _ => return,
    };
    let (request_id, function) = (&request.gateway_request_id, &request.function_arn);
    tracing::warn!(request_id, function, presented, "API Gateway may not invoke the function: {why}");
}

impl Invoke for Invoker {
    fn invoke(&self, request: InvokeRequest) -> BoxFuture<'_, Result<Invoked, InvokeError>> {
        Box::pin(async move {
            let inner = self
                .inner
                .upgrade()
                .ok_or_else(|| InvokeError::Run(RunError::Unavailable("the server is stopping".into())))?;
            let permitted = self.permitted(&inner, &request).await.inspect_err(|error| refused(&request, error))?;
            let permission = match &request.invoker {
                OnBehalf::ApiGateway { .. } => {
                    "its resource-based policy allows apigateway.amazonaws.com this source ARN"
                }
                OnBehalf::Role { .. } => "the role's policies, and across accounts the function's, allow it",
            };
            let InvokeRequest { function_arn, payload, gateway_request_id, timeout_ms, .. } = request;
            let invocation = Invocation {
                request_id: inner.uuid(),
                invoked_arn: function_arn.clone(),
                payload,
                trace_id: None,
                client_context: None,
                log_tail: false,
            };
            tracing::debug!(
                gateway_request_id,
                function_arn,
                request_id = invocation.request_id,
                "invoking for the gateway"
            );
            let run = inner.run_permitted(permitted, function_arn, invocation);
            match tokio::time::timeout(Duration::from_millis(timeout_ms), run).await {
                Ok(Ok(outcome)) => Ok(Invoked { outcome, permission: permission.into() }),
                Ok(Err(error)) => Err(InvokeError::Run(error)),
                Err(_) => Err(InvokeError::TimedOut),
            }
        })
    }
}
