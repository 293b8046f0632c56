//! Decisions: what `explain` shows of a request, to whom, and how to mend it.
//!
//! A decision keeps the steps the deciding code wrote down; this file only words them. It holds no token, no key and no
//! event, and it shows the statements of a function's policy to the function's account alone.

use std::sync::Arc;

use lambda::permission::add_permission_command;
use policy::{DeniedBy, Effect, StatementRef};
use serde_json::{Map, Value, json};
use service::Timestamp;
use smallvec::SmallVec;

use crate::{
    Text,
    authorize::Authorizer,
    call::Call,
    integrate::Integration,
    journal::{Called, NotInvoked, PolicySource, Step, Steps},
    program::{Method, Program},
    reject::ResponseType,
    ring::DecisionId,
};

/// One answered request: where it arrived, what was decided, how it ended.
#[derive(Debug, Clone)]
pub struct Decision {
    pub(crate) time_ms: i64,
    pub(crate) request_id: [u8; 36],
    /// `None` for a host or stage that serves nothing.
    pub(crate) place: Option<Place>,
    pub(crate) steps: Steps,
    pub(crate) status: u16,
    pub(crate) refusal: Option<ResponseType>,
    pub(crate) causes: Vec<Text>,
}

/// Where a request arrived.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) program: Arc<Program>,
    /// `None` where nothing matched.
    pub(crate) method: Option<usize>,
    /// As the client sent it where nothing matched.
    pub(crate) verb: Text,
    /// Below the stage, as received.
    pub(crate) path: Path,
}

/// Who asks for a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Viewer<'a> {
    /// Whoever runs the installation.
    Operator,
    /// A caller of this account.
    Account(&'a str),
}

/// A path's bytes; a usual one lies in the decision itself.
pub(crate) type Path = SmallVec<[u8; 32]>;

impl Place {
    fn path(&self) -> &str {
        std::str::from_utf8(&self.path).unwrap_or_default()
    }

    fn method(&self) -> &Method {
        self.method.map_or(self.program.nothing(), |method| self.program.method(method))
    }

    fn method_arn(&self) -> String {
        [self.program.arn_prefix(), &self.verb, self.path()].concat()
    }

    fn authorizer(&self, called: Called) -> Option<&Authorizer> {
        match called {
            Called::Authorizer(place) => self.program.authorizer(place),
            Called::Integration => None,
        }
    }

    /// The call behind a step.
    fn call(&self, called: Called) -> Option<&Call> {
        match called {
            Called::Authorizer(place) => Some(self.program.authorizer(place)?.call()),
            Called::Integration => match &self.method().integration {
                Integration::LambdaProxy(proxy) => Some(proxy.call()),
                Integration::Mock(_) | Integration::Broken(_) => None,
            },
        }
    }
}

/// Owner of a function, by its ARN.
fn owner(function_arn: &str) -> &str {
    function_arn.split(':').nth(4).unwrap_or_default()
}

impl Decision {
    /// The decision as JSON, as much as the viewer may see; `None` if that is nothing.
    ///
    /// The API's account sees the request. A function's account sees the calls of its functions, with the statements of
    /// their policies that decided.
    #[must_use]
    pub fn view(&self, id: DecisionId, viewer: Viewer<'_>) -> Option<Value> {
        let api = match (viewer, &self.place) {
            (Viewer::Operator, _) => true,
            (Viewer::Account(account), Some(place)) => place.program.account() == account,
            (Viewer::Account(_), None) => false,
        };
        let may_see_function = |arn: &str| match viewer {
            Viewer::Operator => true,
            Viewer::Account(account) => owner(arn) == account,
        };
        let mut steps = Vec::new();
        let mut repair = Vec::new();
        for step in &self.steps {
            let function = self.function_of(step);
            let function_side = function.is_some_and(|(_, call)| may_see_function(call.function_arn()));
            if api || function_side {
                steps.push(self.shown(step, function_side));
                repair.extend(self.repair(step));
            }
        }
        if !api && steps.is_empty() {
            return None;
        }
        let mut out = Map::new();
        out.insert("decisionId".into(), id.to_string().into());
        out.insert("time".into(), Timestamp::from_ms(self.time_ms).iso_s().into());
        out.insert("requestId".into(), String::from_utf8_lossy(&self.request_id).into());
        if api {
            self.show_request(&mut out);
            repair.extend(self.repair_route());
        }
        out.insert("steps".into(), steps.into());
        if api {
            out.insert("rule".into(), self.rule().into());
            out.insert("log".into(), self.causes.iter().map(|cause| Value::from(cause.as_ref())).collect());
        }
        out.insert("repair".into(), repair.into_iter().map(Value::from).collect());
        Some(Value::Object(out))
    }

    fn show_request(&self, out: &mut Map<String, Value>) {
        if let Some(place) = &self.place {
            let (program, method) = (&place.program, place.method());
            out.insert("accountId".into(), program.account().into());
            out.insert("apiId".into(), program.api_id().into());
            out.insert("stage".into(), program.stage().into());
            out.insert("deploymentId".into(), program.deployment_id().into());
            out.insert("httpMethod".into(), place.verb.as_ref().into());
            out.insert("path".into(), place.path().into());
            if place.method.is_some() {
                out.insert("resourcePath".into(), method.resource_path.as_ref().into());
                out.insert("authorization".into(), method.authorization.name().into());
                out.insert("methodArn".into(), place.method_arn().into());
            }
        }
        out.insert("status".into(), self.status.into());
        out.insert("responseType".into(), self.refusal.map(ResponseType::name).into());
    }

    fn function_of(&self, step: &Step) -> Option<(Called, &Call)> {
        let (Step::Invoked { called, .. } | Step::NotInvoked { called, .. }) = step else { return None };
        Some((*called, self.place.as_ref()?.call(*called)?))
    }

    fn shown(&self, step: &Step, function_side: bool) -> Value {
        match step {
            Step::IdentityMissing(source) => {
                json!({ "step": "identity", "found": false, "source": source, "text": format!("{source} is missing or empty") })
            }
            Step::IdentityMalformed { identity, expression } => json!({
                "step": "identity", "found": true, "identity": format!("{identity:032x}"),
                "text": format!("the token does not match the authorizer's identityValidationExpression {expression}"),
            }),
            Step::Identity(identity) => json!({
                "step": "identity", "found": true, "identity": format!("{identity:032x}"),
                "text": "every identity source has a value (shown as a digest)",
            }),
            Step::Cached { age_ms, ttl_ms } => json!({
                "step": "cache", "hit": true, "ageMs": age_ms, "ttlMs": ttl_ms,
                "text": format!("the authorizer's answer was {:.1} s old, of a TTL of {} s", seconds(*age_ms), ttl_ms / 1_000),
            }),
            Step::Coalesced => json!({
                "step": "cache", "hit": false,
                "text": "took the answer of another request with the same identity that had the authorizer running",
            }),
            Step::Invoked { called, permission, latency_ms } => {
                let mut shown = self.call_shown(*called);
                shown.insert("invoked".into(), true.into());
                shown.insert("latencyMs".into(), (*latency_ms).into());
                shown.insert("text".into(), format!("the function ran for {latency_ms} ms: {permission}").into());
                Value::Object(shown)
            }
            Step::NotInvoked { called, why } => {
                let mut shown = self.call_shown(*called);
                shown.insert("invoked".into(), false.into());
                shown.insert("text".into(), why.why.clone().into());
                if let Some(detail) = why.detail.as_ref().filter(|_| function_side) {
                    shown.insert("detail".into(), detail.clone().into());
                }
                Value::Object(shown)
            }
            Step::Policy { source, effect, statement, nearest } => {
                policy_shown(*source, *effect, statement.as_ref(), nearest.as_deref())
            }
            Step::Caller(arn) => json!({ "step": "caller", "arn": arn, "text": format!("signed by {arn}") }),
            Step::Iam { text, nearest: None, .. } => json!({ "step": "iam", "text": text }),
            Step::Iam { text, nearest: Some(near), .. } => json!({ "step": "iam", "text": format!("{text}; {near}") }),
            Step::ApiKey { found, key_id } => json!({ "step": "apiKey", "keyId": key_id, "text": found }),
        }
    }

    /// Function, owner and what was presented to its policy.
    fn call_shown(&self, called: Called) -> Map<String, Value> {
        let mut shown = Map::new();
        let step = if called == Called::Integration { "integration" } else { "authorizer" };
        shown.insert("step".into(), step.into());
        if let Some(place) = &self.place {
            if let Some(authorizer) = place.authorizer(called) {
                shown.insert("authorizerId".into(), authorizer.id().into());
            }
            if let Some(call) = place.call(called) {
                shown.insert("function".into(), call.function_arn().into());
                shown.insert("functionAccount".into(), owner(call.function_arn()).into());
                shown.insert("sourceArn".into(), call.source_arn().into());
            }
        }
        shown
    }

    /// The last word, in one sentence.
    fn rule(&self) -> String {
        let Some(kind) = self.refusal else {
            return match &self.place {
                None => "no stage is served under this host and path".to_owned(),
                Some(_) if self.status >= 400 => format!("the integration answered {}", self.status),
                Some(_) => "allowed".to_owned(),
            };
        };
        let why = match kind {
            ResponseType::AccessDenied => "a policy denies the request, or none allows it",
            ResponseType::Unauthorized if self.ran() => "the authorizer's function answered Unauthorized",
            ResponseType::Unauthorized => "the caller gave no identity the authorizer takes",
            ResponseType::MissingAuthenticationToken if self.unmatched() => {
                "no resource and method of the deployment match"
            }
            ResponseType::MissingAuthenticationToken => "the method wants a signed request, and this one is not signed",
            ResponseType::AuthorizerConfigurationError if self.ran() => {
                "the authorizer's answer is none: the log says why"
            }
            ResponseType::AuthorizerConfigurationError => "the authorizer could not be asked",
            ResponseType::InvalidApiKey => "the method requires an API key of a usage plan of this stage",
            ResponseType::Throttled | ResponseType::QuotaExceeded => "a rate or quota is used up",
            ResponseType::InvalidSignature | ResponseType::ExpiredToken => "the request's signature does not count",
            ResponseType::ApiConfigurationError => "the API's own configuration keeps the request from being served",
            _ => "the request was refused",
        };
        format!("{}: {why}", kind.name())
    }

    /// Whether a function was run.
    fn ran(&self) -> bool {
        self.steps.iter().any(|step| matches!(step, Step::Invoked { .. }))
    }

    fn unmatched(&self) -> bool {
        self.place.as_ref().is_some_and(|place| place.method.is_none())
    }

    fn repair_route(&self) -> Vec<String> {
        let Some(place) = self.place.as_ref().filter(|place| place.method.is_none()) else { return Vec::new() };
        let program = &place.program;
        vec![
            format!("aws apigateway get-resources --rest-api-id {} --embed methods", program.api_id()),
            format!(
                "aws apigateway create-deployment --rest-api-id {} --stage-name {}",
                program.api_id(),
                program.stage()
            ),
        ]
    }

    /// How a signer's own policies are changed: a user's by its name, others in words.
    fn repair_caller(&self, method_arn: &str) -> Vec<String> {
        let signer = self.steps.iter().find_map(|step| match step {
            Step::Caller(arn) => Some(arn.as_ref()),
            _ => None,
        });
        let resource = signer.and_then(|arn| arn.split(':').nth(5)).unwrap_or_default();
        let document = json!({ "Version": "2012-10-17", "Statement": [
            { "Effect": "Allow", "Action": "execute-api:Invoke", "Resource": method_arn }
        ] });
        let put = match resource.split_once('/') {
            Some(("user", path)) => {
                format!("aws iam put-user-policy --user-name {}", path.rsplit('/').next().unwrap_or_default())
            }
            Some(("assumed-role", session)) => {
                format!("aws iam put-role-policy --role-name {}", session.split('/').next().unwrap_or_default())
            }
            _ => return Vec::new(),
        };
        vec![format!("{put} --policy-name allow-execute-api-Invoke --policy-document '{document}'")]
    }

    /// How the API's resource policy is changed.
    fn repair_policy(api: &str, redeploy: String) -> Vec<String> {
        vec![
            format!(
                "aws apigateway get-rest-api --rest-api-id {api} --query policy --output text | sed 's/\\\\\"/\"/g' > policy.json   \
                 # then edit policy.json"
            ),
            format!(
                "aws apigateway update-rest-api --rest-api-id {api} --patch-operations \
                 \"$(jq -n --rawfile p policy.json '[{{op:\"replace\",path:\"/policy\",value:$p}}]')\""
            ),
            redeploy,
        ]
    }

    /// What would let the request through, where one step says so.
    fn repair(&self, step: &Step) -> Vec<String> {
        let Some(place) = &self.place else { return Vec::new() };
        let program = &place.program;
        let (api, stage) = (program.api_id(), program.stage());
        let redeploy = || format!("aws apigateway create-deployment --rest-api-id {api} --stage-name {stage}");
        match step {
            Step::IdentityMissing(source) => {
                vec![
                    format!("# send a value for {source}"),
                    format!(
                        "# to answer it otherwise: aws apigateway put-gateway-response --rest-api-id {api} --response-type UNAUTHORIZED \
                         --status-code 401 --response-templates '{{\"application/json\":\"{{\\\"message\\\":\
                         $context.error.messageString}}\"}}'"
                    ),
                ]
            }
            Step::NotInvoked { called, why } => not_invoked_repair(place, *called, why, self.time_ms),
            Step::Policy { source: PolicySource::Authorizer, effect: None, .. } => vec![
                format!(
                    "# let the authorizer's policy allow execute-api:Invoke on {} (or on {}*, since one answer serves every \
                     method until its TTL ends)",
                    place.method_arn(),
                    program.arn_prefix()
                ),
                format!("aws apigateway flush-stage-authorizers-cache --rest-api-id {api} --stage-name {stage}"),
            ],
            Step::Policy { source: PolicySource::Resource, effect, .. }
                if *effect != Some(Effect::Allow) && self.refusal == Some(ResponseType::AccessDenied) =>
            {
                Self::repair_policy(api, redeploy())
            }
            Step::Iam { by: Some(DeniedBy::NoIdentityAllow), .. } => self.repair_caller(&place.method_arn()),
            Step::Iam { by: Some(DeniedBy::NoResourceAllow), .. } => Self::repair_policy(api, redeploy()),
            Step::ApiKey { key_id: None, .. } if self.refusal == Some(ResponseType::InvalidApiKey) => vec![
                "# send the value of an enabled API key of a usage plan of this stage, in x-api-key or as the authorizer's \
                 usageIdentifierKey"
                    .to_owned(),
                "aws apigateway get-api-keys".to_owned(),
            ],
            Step::ApiKey { key_id: Some(key), .. } if self.refusal == Some(ResponseType::InvalidApiKey) => vec![
                format!("aws apigateway update-api-key --api-key {key} --patch-operations op=replace,path=/enabled,value=true"),
                format!(
                    "plan=$(aws apigateway create-usage-plan --name {api}-{stage} --api-stages apiId={api},stage={stage} \
                     --query id --output text)   # or one that is there"
                ),
                format!("aws apigateway create-usage-plan-key --usage-plan-id $plan --key-type API_KEY --key-id {key}"),
            ],
            _ => Vec::new(),
        }
    }
}

fn seconds(ms: i64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "shown with one digit")]
    let seconds = ms as f64 / 1_000.0;
    seconds
}

fn policy_shown(
    source: PolicySource,
    effect: Option<Effect>,
    statement: Option<&StatementRef>,
    nearest: Option<&str>,
) -> Value {
    let (name, whose) = match source {
        PolicySource::Authorizer => ("authorizerPolicy", "the policy the authorizer answered"),
        PolicySource::Resource => ("resourcePolicy", "the API's resource policy"),
    };
    let which = statement.map(|statement| match &statement.sid {
        Some(sid) => format!("statement {sid}"),
        None => format!("statement {}", statement.index),
    });
    let says = match effect {
        Some(Effect::Allow) => "allows",
        Some(Effect::Deny) => "denies",
        None => "is silent about",
    };
    let mut text = match &which {
        Some(which) => format!("{which} of {whose} {says} the request"),
        None => format!("{whose} {says} the request"),
    };
    if let Some(nearest) = nearest {
        text.push_str("; ");
        text.push_str(nearest);
    }
    let effect = effect.map(|effect| if effect == Effect::Allow { "Allow" } else { "Deny" });
    json!({ "step": name, "effect": effect, "statement": which, "text": text })
}

fn not_invoked_repair(place: &Place, called: Called, why: &NotInvoked, time_ms: i64) -> Vec<String> {
    if let Some(role) = &why.role {
        let name = role.rsplit('/').next().unwrap_or_default();
        return vec![format!(
            "aws iam update-assume-role-policy --role-name {name} --policy-document \
             '{{\"Version\":\"2012-10-17\",\"Statement\":[{{\"Effect\":\"Allow\",\"Principal\":{{\"Service\":\
             \"apigateway.amazonaws.com\"}},\"Action\":\"sts:AssumeRole\"}}]}}'"
        )];
    }
    let Some((call, source_arn)) = place.call(called).and_then(|call| Some((call, call.source_arn()?))) else {
        return Vec::new();
    };
    if !why.grantable {
        return Vec::new();
    }
    let statement = match place.authorizer(called) {
        Some(authorizer) => format!("apigateway-{}-authorizer-{}", place.program.api_id(), authorizer.id()),
        None => format!("apigateway-{}-{}", place.program.api_id(), place.method().resource_id),
    };
    // An earlier statement of the same kind may hold the plain name still.
    let statement = format!("{statement}-{:x}", time_ms.div_euclid(1_000));
    let command = add_permission_command(call.function_arn(), source_arn, &statement);
    vec![format!("{command}   # with credentials of account {}", owner(call.function_arn()))]
}
