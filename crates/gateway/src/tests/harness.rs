//! An API, functions with resource policies, and a clock that only tests move.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, AtomicUsize, Ordering},
    },
};

use apigateway::{
    authorizer::Authorizer,
    integration::{Integration, IntegrationResponse},
    method::{Method, MethodResponse},
    resource::Resource,
    rest_api::{EndpointConfiguration, RestApi},
    snapshot::Snapshot,
    stage::{MethodSetting, Stage},
    usage_plan::{KeyInUse, PlanInUse},
};
use bytes::Bytes;
use lambda::invoke::{
    BoxFuture, FunctionError, Invoke, InvokeError, InvokeRequest, Invoked, Invoker, NotPermitted, Outcome,
};
use policy::{Context, Effect, Kind, Policy, Principal, Request};
use serde_json::{Value, json};
use service::Timestamp;

use super::Zeros;
use crate::{
    Answer, Arrived, Body, Callers, Clock, Gateway, Headers, IamCaller, LogSink, Options, Ports, Program,
    SignatureRefusal, SignedRequest,
};

pub(super) const ACCOUNT: &str = "111122223333";
pub(super) const REGION: &str = "us-east-1";
pub(super) const API: &str = "a1b2c3d4e5";
pub(super) const AUTHORIZER: &str = "9vb60i";
pub(super) const STAGE: &str = "Dev";
pub(super) const HOST: &str = "a1b2c3d4e5.execute-api.us-east-1.amazonaws.com";
pub(super) const ECHO: &str = "arn:aws:lambda:us-east-1:111122223333:function:Echo";
pub(super) const START_MS: i64 = 1_764_037_614_007;

pub(super) struct TestClock(AtomicI64);

impl TestClock {
    pub(super) fn advance_s(&self, seconds: i64) {
        self.0.fetch_add(seconds * 1_000, Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now_ms(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }
}

/// What a function does when it runs.
#[derive(Debug, Clone)]
pub(super) enum Reply {
    /// `${METHOD_ARN}` in it becomes the event's.
    Returns(Value),
    Raw(Bytes),
    Throws(Value),
    Fails(InvokeError),
    /// Waits until [`Functions::release`] is called, then returns.
    Held(Value),
}

/// Functions by ARN as URIs name them, their statements, and the roles of the API's account.
#[derive(Default)]
pub(super) struct Functions {
    pub(super) statements: Mutex<BTreeMap<String, Vec<Value>>>,
    pub(super) roles: Mutex<BTreeMap<String, Value>>,
    replies: Mutex<VecDeque<Reply>>,
    pub(super) events: Mutex<Vec<(InvokeRequest, Value)>>,
    gate: tokio::sync::Notify,
    pub(super) refused: AtomicUsize,
}

fn refused() -> Box<NotPermitted> {
    Box::new(NotPermitted {
        why: "no statement of the function's policy allows it".to_owned(),
        detail: Some("statement other came nearest".to_owned()),
        grantable: true,
    })
}

impl Functions {
    /// What the authorizer function answers next; the last reply stays.
    pub(super) fn reply(&self, reply: Option<Reply>) {
        let mut replies = self.replies.lock().unwrap();
        replies.clear();
        replies.extend(reply);
    }

    pub(super) fn release(&self) {
        self.gate.notify_waiters();
    }

    /// How often a function other than the echo ran.
    pub(super) fn runs(&self) -> usize {
        self.events.lock().unwrap().iter().filter(|(request, _)| request.function_arn != ECHO).count()
    }

    pub(super) fn last_event(&self, echo: bool) -> Option<Value> {
        let events = self.events.lock().unwrap();
        let of = |(request, _): &&(InvokeRequest, Value)| (request.function_arn == ECHO) == echo;
        events.iter().rev().find(of).map(|(_, event)| event.clone())
    }

    fn permitted(&self, request: &InvokeRequest) -> Result<(), InvokeError> {
        let arn = request.function_arn.as_str();
        match &request.invoker {
            Invoker::ApiGateway { source_arn, source_account } => {
                let statements = self.statements.lock().unwrap().get(arn).cloned().unwrap_or_default();
                let document = json!({"Version": "2012-10-17", "Id": "default", "Statement": statements});
                let mut context = Context::new();
                context.insert("aws:SourceArn", source_arn.as_str());
                context.insert("aws:SourceAccount", source_account.as_str());
                let principal = Principal::Service("apigateway.amazonaws.com".to_owned());
                let call = Request {
                    action: "lambda:InvokeFunction",
                    resource: arn,
                    principal: &principal,
                    context: &context,
                };
                let none = statements.is_empty();
                let allowed = !none
                    && Policy::from_value(&document, Kind::Resource).unwrap().evaluate(&call).effect
                        == Some(Effect::Allow);
                if allowed { Ok(()) } else { Err(InvokeError::NotPermitted(refused())) }
            }
            Invoker::Role { role_arn, .. } => {
                let roles = self.roles.lock().unwrap();
                let role = role_arn.rsplit('/').next().and_then(|name| roles.get(name));
                let lists = |member: &str, value: &str| {
                    role.and_then(|role| role[member].as_array()).is_some_and(|list| list.iter().any(|it| it == value))
                };
                if !lists("trusts", "apigateway.amazonaws.com") {
                    return Err(InvokeError::CannotAssumeRole(role_arn.clone()));
                }
                if lists("may_invoke", arn) { Ok(()) } else { Err(InvokeError::NotPermitted(refused())) }
            }
        }
    }

    async fn run(&self, request: InvokeRequest) -> Result<Invoked, InvokeError> {
        if let Err(error) = self.permitted(&request) {
            self.refused.fetch_add(1, Ordering::SeqCst);
            return Err(error);
        }
        let event: Value = serde_json::from_slice(&request.payload).expect("an event is JSON");
        let arn = event["methodArn"].as_str().unwrap_or_default().to_owned();
        let echo = request.function_arn == ECHO;
        self.events.lock().unwrap().push((request, event));
        let reply = {
            let mut replies = self.replies.lock().unwrap();
            if replies.len() > 1 { replies.pop_front() } else { replies.front().cloned() }
        };
        let fill = |value: Value| Bytes::from(value.to_string().replace("${METHOD_ARN}", &arn));
        let (payload, function_error) = match reply {
            Some(Reply::Returns(value)) if !echo => (fill(value), None),
            Some(Reply::Raw(bytes)) => (bytes, None),
            Some(Reply::Throws(value)) => (Bytes::from(value.to_string()), Some(FunctionError::Unhandled)),
            Some(Reply::Fails(error)) => return Err(error),
            Some(Reply::Held(value)) => {
                self.gate.notified().await;
                (fill(value), None)
            }
            _ if echo => (Bytes::from(json!({"statusCode": 200, "body": "{\"ok\":true}"}).to_string()), None),
            _ => (Bytes::from_static(b"\"must not run\""), None),
        };
        let outcome =
            Outcome { payload, function_error, executed_version: "$LATEST".to_owned(), log_tail: None, duration_us: 1 };
        Ok(Invoked { outcome, permission: "the function's policy allows it".into() })
    }
}

impl Invoke for Functions {
    fn invoke(&self, request: InvokeRequest) -> BoxFuture<'_, Result<Invoked, InvokeError>> {
        Box::pin(self.run(request))
    }
}

/// Callers by the value of their `Authorization` header, which stands for a signature.
#[derive(Default)]
pub(super) struct Signers(pub(super) Mutex<BTreeMap<String, Arc<IamCaller>>>);

impl Callers for Signers {
    fn authenticate(&self, request: SignedRequest) -> BoxFuture<'_, Result<Arc<IamCaller>, SignatureRefusal>> {
        let found = match request.headers.last("Authorization") {
            None => Err(SignatureRefusal::Missing),
            Some(value) => self.0.lock().unwrap().get(value).cloned().ok_or_else(|| SignatureRefusal::Invalid {
                error_type: "UnrecognizedClientException".to_owned(),
                message: "The security token included in the request is invalid.".to_owned(),
            }),
        };
        Box::pin(std::future::ready(found))
    }
}

/// Log lines by group.
#[derive(Default)]
pub(super) struct Lines(pub(super) Mutex<Vec<(String, String)>>);

impl LogSink for Lines {
    fn put(&self, account: &str, _: &str, group: &str, _: &str, events: Vec<(i64, String)>, _: bool) {
        assert_eq!(account, ACCOUNT);
        self.0.lock().unwrap().extend(events.into_iter().map(|(_, text)| (group.to_owned(), text)));
    }
}

/// A gateway with one API whose snapshot a test may change before [`World::deploy`].
pub(super) struct World {
    pub(super) gateway: Gateway,
    pub(super) clock: Arc<TestClock>,
    pub(super) functions: Arc<Functions>,
    pub(super) signers: Arc<Signers>,
    pub(super) lines: Arc<Lines>,
    pub(super) snapshot: Snapshot,
    pub(super) stage: Stage,
}

impl World {
    pub(super) fn new() -> Self {
        Self::with(Options { decision_header: false, ..Options::default() })
    }

    pub(super) fn with(options: Options) -> Self {
        let clock = Arc::new(TestClock(AtomicI64::new(START_MS)));
        let functions = Arc::new(Functions::default());
        let (signers, lines) = (Arc::new(Signers::default()), Arc::new(Lines::default()));
        let ports = Ports {
            invoke: Arc::clone(&functions) as _,
            callers: Arc::clone(&signers) as _,
            logs: Arc::clone(&lines) as _,
        };
        let gateway = Gateway::new(options, ports, Arc::clone(&clock) as _, Arc::new(Zeros) as _);
        Self { gateway, clock, functions, signers, lines, snapshot: snapshot(), stage: stage() }
    }

    /// Adds the resources of a path and a method on its end.
    pub(super) fn method(&mut self, verb: &str, path: &str, authorization: &str, integration: Integration) {
        let mut parent = self.snapshot.rest_api.root_resource_id.clone();
        let mut so_far = String::new();
        for part in path.split('/').filter(|part| !part.is_empty()) {
            so_far = format!("{so_far}/{part}");
            let known = self.snapshot.resources.iter().find(|resource| resource.path == so_far);
            parent = known.map(|resource| resource.id.clone()).unwrap_or_else(|| {
                let id = format!("r{:05}", self.snapshot.resources.len());
                self.snapshot.resources.push(Resource {
                    id: id.clone(),
                    parent_id: Some(parent.clone()),
                    path_part: Some(part.to_owned()),
                    path: so_far.clone(),
                });
                id
            });
        }
        let ok = MethodResponse {
            status_code: "200".to_owned(),
            response_parameters: BTreeMap::new(),
            response_models: BTreeMap::new(),
        };
        self.snapshot.methods.push(Method {
            resource_id: parent,
            http_method: verb.to_owned(),
            authorization_type: authorization.to_owned(),
            authorizer_id: (authorization == "CUSTOM").then(|| AUTHORIZER.to_owned()),
            api_key_required: false,
            operation_name: None,
            method_responses: BTreeMap::from([("200".to_owned(), ok)]),
            method_integration: Some(integration),
        });
    }

    pub(super) fn last_method(&mut self) -> &mut Method {
        self.snapshot.methods.last_mut().unwrap()
    }

    /// Publishes the snapshot as it is now.
    pub(super) fn deploy(&self) {
        self.gateway.publish(Program::compile(&self.snapshot, &self.stage).unwrap());
    }

    /// Turns every line of the execution log on.
    pub(super) fn log(&mut self) {
        let all = MethodSetting {
            logging_level: Some("INFO".to_owned()),
            data_trace_enabled: Some(true),
            ..MethodSetting::default()
        };
        self.stage.method_settings.insert("*/*".to_owned(), all);
    }

    /// Makes an API key of that value in a plan of the stage.
    pub(super) fn key(&self, value: &str) {
        let plan = PlanInUse {
            plan_id: "plan01".to_owned(),
            stages: vec![(API.to_owned(), STAGE.to_owned())],
            throttle: None,
            quota: None,
        };
        let key = KeyInUse {
            key_id: "key0000001".to_owned(),
            value: value.to_owned(),
            enabled: true,
            name: None,
            plans: vec![plan],
        };
        self.gateway.publish_keys(ACCOUNT, REGION, vec![key]);
    }

    /// Lets the gateway call a function from anywhere.
    pub(super) fn permit(&self, function: &str) {
        let statement = json!({
            "Sid": "any", "Effect": "Allow", "Principal": {"Service": "apigateway.amazonaws.com"},
            "Action": "lambda:InvokeFunction", "Resource": function
        });
        self.functions.statements.lock().unwrap().entry(function.to_owned()).or_default().push(statement);
    }

    pub(super) async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.gateway.handle(request("GET", HOST, &format!("/{STAGE}{path}"), headers)).await
    }
}

/// A request from 203.0.113.10; `path` may hold a query.
pub(super) fn request(verb: &str, host: &str, path: &str, headers: &[(&str, &str)]) -> Arrived {
    let (raw_path, raw_query) = match path.split_once('?') {
        Some((path, query)) => (path.to_owned(), Some(query.to_owned())),
        None => (path.to_owned(), None),
    };
    let mut all = Headers::default();
    all.push("Host", host.as_bytes());
    for (name, value) in headers {
        all.push(name, value.as_bytes());
    }
    Arrived {
        target: Gateway::target(host, &raw_path).expect("a data-plane address"),
        method: http::Method::from_bytes(verb.as_bytes()).unwrap(),
        raw_path,
        raw_query,
        headers: all,
        client: "203.0.113.10".parse().unwrap(),
        port: 443,
        secure: true,
        body: Body::Empty,
    }
}

pub(super) fn authorizer(kind: &str, source: Option<&str>, ttl: Option<u32>) -> Authorizer {
    Authorizer {
        id: AUTHORIZER.to_owned(),
        name: "SecurityTeamAuthorizer".to_owned(),
        kind: kind.to_owned(),
        auth_type: "custom".to_owned(),
        authorizer_uri: uri("arn:aws:lambda:us-east-1:444455556666:function:LambdaAuthorizer"),
        authorizer_credentials: None,
        identity_source: source.map(str::to_owned),
        identity_validation_expression: None,
        authorizer_result_ttl_in_seconds: ttl,
    }
}

pub(super) fn uri(function: &str) -> String {
    format!("arn:aws:apigateway:{REGION}:lambda:path/2015-03-31/functions/{function}/invocations")
}

/// A MOCK that answers 200 with a template.
pub(super) fn mock(template: &str) -> Integration {
    let json = |text: &str| BTreeMap::from([("application/json".to_owned(), text.to_owned())]);
    let response = IntegrationResponse {
        status_code: "200".to_owned(),
        selection_pattern: None,
        response_parameters: BTreeMap::new(),
        response_templates: BTreeMap::from([("application/json".to_owned(), Some(template.to_owned()))]),
    };
    Integration {
        kind: "MOCK".to_owned(),
        http_method: None,
        uri: None,
        credentials: None,
        request_templates: json(r#"{"statusCode": 200}"#),
        passthrough_behavior: "WHEN_NO_MATCH".to_owned(),
        timeout_in_millis: 29_000,
        cache_namespace: "x".to_owned(),
        cache_key_parameters: Vec::new(),
        integration_responses: BTreeMap::from([("200".to_owned(), response)]),
    }
}

pub(super) fn proxy(function: &str) -> Integration {
    Integration {
        kind: "AWS_PROXY".to_owned(),
        http_method: Some("POST".to_owned()),
        uri: Some(uri(function)),
        request_templates: BTreeMap::new(),
        integration_responses: BTreeMap::new(),
        ..mock("")
    }
}

/// A policy that allows everything.
pub(super) fn allow_all() -> Value {
    json!({
        "principalId": "user",
        "policyDocument": {
            "Version": "2012-10-17",
            "Statement": [{"Effect": "Allow", "Action": "execute-api:Invoke", "Resource": "*"}]
        }
    })
}

pub(super) fn body(answer: &Answer) -> Value {
    serde_json::from_slice(&answer.body).unwrap_or_else(|_| panic!("no JSON: {:?}", answer.body))
}

fn snapshot() -> Snapshot {
    let root = Resource { id: "rootrootid".to_owned(), parent_id: None, path_part: None, path: "/".to_owned() };
    Snapshot {
        account: ACCOUNT.to_owned(),
        region: REGION.to_owned(),
        deployment_id: "d1d1d1".to_owned(),
        rest_api: RestApi {
            id: API.to_owned(),
            name: "api".to_owned(),
            description: None,
            created_date: Timestamp::from_ms(START_MS),
            version: None,
            api_key_source: "HEADER".to_owned(),
            endpoint_configuration: EndpointConfiguration {
                types: vec!["REGIONAL".to_owned()],
                ip_address_type: "ipv4".to_owned(),
            },
            disable_execute_api_endpoint: false,
            root_resource_id: root.id.clone(),
            policy: None,
            policy_principals: BTreeMap::new(),
            tags: BTreeMap::new(),
        },
        resources: vec![root],
        methods: Vec::new(),
        authorizers: Vec::new(),
        gateway_responses: Vec::new(),
    }
}

fn stage() -> Stage {
    Stage {
        stage_name: STAGE.to_owned(),
        deployment_id: "d1d1d1".to_owned(),
        snapshot: String::new(),
        description: None,
        variables: BTreeMap::new(),
        tags: BTreeMap::new(),
        created_date: Timestamp::from_ms(START_MS),
        last_updated_date: Timestamp::from_ms(START_MS),
        authorizers_epoch: 0,
        method_settings: BTreeMap::new(),
        method_spellings: BTreeMap::new(),
        access_log_settings: None,
    }
}
