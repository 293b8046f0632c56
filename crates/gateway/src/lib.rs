//! The data plane: a request through typed stages to an answer.
//!
//! A request runs on one immutable [`Program`] per deployed stage and reads no store. Each stage consumes the value
//! of the stage before, so that an integration cannot be called for a request nobody authorized; refusals are values
//! that become bytes in `reject` alone. Time, randomness and functions are handed in.

mod arrived;
mod authorize;
mod call;
mod context;
mod decision;
mod envelope;
mod event;
mod gateway_response;
mod integrate;
mod journal;
mod logging;
mod meter;
mod observe;
mod program;
mod reject;
mod ring;
mod route;
mod slots;
mod template;
mod test_invoke;
mod texts;
mod transform;

#[cfg(feature = "fuzzing")]
pub mod fuzzing {
    //! What hostile input reaches first, for fuzz targets alone.

    /// Reads what an authorizer function answered and asks the policy in it, if there is one: whether it allows.
    #[must_use]
    pub fn authorizer_answer(payload: &[u8], method_arn: &str) -> Option<bool> {
        crate::authorize::fuzz(payload, method_arn)
    }
}

#[cfg(test)]
mod tests;

use std::sync::Arc;

use apigateway::usage_plan::KeyInUse;
use bytes::Bytes;
use lambda::invoke::Invoke;

pub use crate::{
    arrived::{Arrived, Body, BodyError, Headers, Target},
    authorize::{Callers, IamCaller, SignatureRefusal, SignedRequest},
    decision::{Decision, Viewer},
    logging::LogSink,
    observe::{CALLERS_ALIKE, CallSource, Observation, POLICY_BYTES_MAX, Seen, near},
    program::{CompileError, Program},
    reject::ResponseType,
    ring::{DecisionId, Ring},
    test_invoke::{TestRequest, TestedAuthorizer, TestedMethod},
};
use crate::{
    authorize::Authorizers, context::Ended, decision::Place, envelope::Envelope, journal::Journal, logging::Level,
    meter::Keys, reject::Rejection, slots::Slots,
};

/// Bounds of the data plane. Every one of them holds for one node.
#[derive(Debug, Clone)]
pub struct Options {
    /// What follows `{api}.execute-api.{region}.` in the domain name told to functions when a request named its API
    /// by path and not by host.
    pub domain_suffix: String,
    /// Memory for cached authorizer results.
    pub cache_bytes_max: usize,
    /// Largest request body.
    pub body_bytes_max: usize,
    /// Longest a body may take to arrive.
    pub body_timeout_ms: u64,
    /// Largest sum of all header values of a request.
    pub header_bytes_max: usize,
    /// Longest path and query together; APIs of type EDGE are held to 8,192 besides.
    pub url_bytes_max: usize,
    /// Longest an authorizer function may take.
    pub authorizer_timeout_ms: u64,
    /// Most requests that wait for one running authorizer call with the same identity.
    pub authorizer_waiters_max: usize,
    /// How many decisions are kept for `explain`; 0 keeps none, and answers name none.
    pub decisions_max: usize,
    /// Whether answers name their decision in `x-portcullis-decision`.
    pub decision_header: bool,
}

/// Header by which an answer names its decision.
pub const DECISION_HEADER: &str = "x-portcullis-decision";

impl Default for Options {
    fn default() -> Self {
        Self {
            domain_suffix: "localhost".to_owned(),
            cache_bytes_max: 64 << 20,
            body_bytes_max: 10 << 20,
            body_timeout_ms: 30_000,
            header_bytes_max: 10_240,
            url_bytes_max: 10_240,
            authorizer_timeout_ms: 29_000,
            authorizer_waiters_max: 1_024,
            decisions_max: 100_000,
            decision_header: true,
        }
    }
}

/// Where the time comes from; tests move it.
pub trait Clock: Send + Sync {
    /// Milliseconds since 1970-01-01T00:00:00Z.
    fn now_ms(&self) -> i64;
}

/// Where request ids and the cache's secret come from.
pub trait Random: Send + Sync {
    /// Fills `bytes` with unpredictable values.
    fn fill(&self, bytes: &mut [u8]);
}

/// [`Random`] from the thread's own generator.
#[derive(Debug, Clone, Copy, Default)]
pub struct ThreadRandom;

impl Random for ThreadRandom {
    fn fill(&self, bytes: &mut [u8]) {
        rand::Rng::fill_bytes(&mut rand::rng(), bytes);
    }
}

/// An answer ready to be written. The listener adds `Date`, `Content-Length` and `Connection`.
#[derive(Debug, Clone)]
pub struct Answer {
    /// 100-599.
    pub status: u16,
    /// Fields in order, names as AWS spells them; names are tokens and values hold no control characters.
    pub headers: Vec<(Text, Text)>,
    /// The body.
    pub body: Bytes,
    /// Set when the gateway itself refused.
    pub refusal: Option<ResponseType>,
    /// Why, in the words of AWS's execution log: for logs, never for the client.
    pub causes: Vec<Text>,
    /// The decision kept of it, if any.
    pub decision: Option<String>,
}

impl Answer {
    /// The first field of that name, compared without case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_ref())
    }
}

/// Text that is usually a constant.
pub type Text = std::borrow::Cow<'static, str>;

/// Handle of the data plane; clones share everything.
#[derive(Clone)]
pub struct Gateway {
    shared: Arc<Shared>,
}

/// What the data plane asks of the rest of the server.
#[derive(Clone)]
pub struct Ports {
    /// Runs functions, once their policies permit it.
    pub invoke: Arc<dyn Invoke>,
    /// Finds out who signed a request.
    pub callers: Arc<dyn Callers>,
    /// Takes execution and access logs.
    pub logs: Arc<dyn LogSink>,
}

/// What the stages may ask of their surroundings.
struct Shared {
    options: Options,
    invoke: Arc<dyn Invoke>,
    callers: Arc<dyn Callers>,
    logs: Arc<dyn LogSink>,
    keys: Keys,
    decisions: Option<Ring<Decision>>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    slots: Slots,
    authorizers: Authorizers,
}

impl Gateway {
    /// A gateway that serves nothing yet.
    #[must_use]
    pub fn new(options: Options, ports: Ports, clock: Arc<dyn Clock>, random: Arc<dyn Random>) -> Self {
        let authorizers = Authorizers::new(&options, random.as_ref());
        let Ports { invoke, callers, logs } = ports;
        let mut tag = [0; 4];
        random.fill(&mut tag);
        let decisions = (options.decisions_max > 0).then(|| Ring::new(options.decisions_max, u32::from_le_bytes(tag)));
        let (keys, slots) = (Keys::default(), Slots::default());
        let shared = Shared { options, invoke, callers, logs, keys, decisions, clock, random, slots, authorizers };
        Self { shared: Arc::new(shared) }
    }

    /// Replaces the API keys of an account and region.
    pub fn publish_keys(&self, account: &str, region: &str, keys: Vec<KeyInUse>) {
        self.shared.keys.publish(account, region, keys);
    }

    /// The decision of that id, if it is kept still.
    #[must_use]
    pub fn decision(&self, id: DecisionId) -> Option<Decision> {
        self.shared.decisions.as_ref()?.get(id)
    }

    /// Serves `program` from now on under its API and stage, in place of what was served there.
    ///
    /// Requests in flight keep the program they started with. Authorizer results cached under another epoch or
    /// deployment are not found any more.
    pub fn publish(&self, program: Program) {
        self.shared.slots.publish(program);
    }

    /// Stops serving a stage.
    pub fn unpublish(&self, api_id: &str, stage: &str) {
        self.shared.slots.unpublish(api_id, stage);
    }

    /// Stops serving every stage of an API.
    pub fn unpublish_api(&self, api_id: &str) {
        self.shared.slots.unpublish_api(api_id);
    }

    /// How many stages are served.
    #[must_use]
    pub fn served(&self) -> usize {
        self.shared.slots.count()
    }

    /// Tells whether a request belongs to the data plane, by its `Host` value and raw path alone.
    ///
    /// Known forms: host `{api}.execute-api[.{region}].<anything>[:port]`, path `/_aws/execute-api/{api}/{stage}/…`,
    /// path `/restapis/{api}/{stage}/_user_request_/…`. API ids compare without case.
    #[must_use]
    pub fn target(host: &str, raw_path: &str) -> Option<Target> {
        Target::find(host, raw_path)
    }

    /// Answers one request. Never fails: a refusal is an answer too.
    pub async fn handle(&self, arrived: Arrived) -> Answer {
        let envelope = Envelope::new(self.shared.clock.now_ms(), self.shared.random.as_ref());
        let mut journal = Journal::new();
        let answer = match self.run(arrived, &envelope, &mut journal).await {
            Ok(answer) => answer,
            Err(rejection) => {
                journal.refused(&rejection);
                reject::answer(rejection, &envelope, journal.scope(&envelope))
            }
        };
        self.close(answer, &envelope, journal)
    }

    /// The order of work for one request, as the specification lists it.
    async fn run(&self, arrived: Arrived, envelope: &Envelope, journal: &mut Journal) -> Result<Answer, Rejection> {
        let shared = self.shared.as_ref();
        arrived::admit(&arrived, &shared.options)?;
        let (matched, body) = route::find(arrived, shared, journal)?;
        journal.line(Level::Info, || texts::extended_request_id(envelope.extended_id()));
        let authorized = authorize::authorize(matched, body, shared, envelope, journal).await?;
        let metered = meter::meter(authorized, shared, envelope, journal)?;
        let outgoing = transform::request(metered, shared, envelope).await?;
        journal.begin(envelope);
        let returned = integrate::call(outgoing, shared, envelope, journal).await?;
        transform::response(returned, envelope)
    }

    /// Writes the logs, keeps the decision, and names it in the answer.
    fn close(&self, mut answer: Answer, envelope: &Envelope, mut journal: Journal) -> Answer {
        let shared = self.shared.as_ref();
        if journal.is_logged() {
            journal.line(Level::Info, || texts::completed(answer.status));
            let now_ms = shared.clock.now_ms();
            let latency_ms = now_ms.saturating_sub(envelope.time_ms).max(0);
            let ended = Ended { status: answer.status, body_bytes: answer.body.len(), latency_ms };
            logging::write(&mut journal, ended, envelope, now_ms, shared.logs.as_ref());
        }
        let Some(decisions) = &shared.decisions else { return answer };
        let place = journal.place().map(|matched| Place {
            program: Arc::clone(matched.program()),
            method: matched.method_place(),
            verb: matched.asked(),
            path: matched.path().as_bytes().into(),
        });
        let id = decisions.keep(Decision {
            time_ms: envelope.time_ms,
            request_id: envelope.request_id_bytes(),
            place,
            steps: journal.into_steps(),
            status: answer.status,
            refusal: answer.refusal,
            causes: answer.causes.clone(),
        });
        if shared.options.decision_header {
            answer.headers.push((DECISION_HEADER.into(), id.text().into()));
        }
        answer.decision = answer.refusal.map(|_| id.text());
        answer
    }
}
