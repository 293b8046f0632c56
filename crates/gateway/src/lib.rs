//! The data plane: a request through typed stages to an answer.
//!
//! A request runs on one immutable [`Program`] per deployed stage and reads no store. Each stage consumes the value
//! of the stage before, so that an integration cannot be called for a request nobody authorized; refusals are values
//! that become bytes in `reject` alone. Time, randomness and functions are handed in.

mod arrived;
mod authorize;
mod call;
mod context;
mod envelope;
mod event;
mod integrate;
mod meter;
mod program;
mod reject;
mod route;
mod slots;
mod template;
mod texts;
mod transform;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use bytes::Bytes;
use lambda::invoke::Invoke;

pub use crate::{
    arrived::{Arrived, Body, BodyError, Headers, Target},
    program::{CompileError, Program},
    reject::ResponseType,
};
use crate::{authorize::Authorizers, envelope::Envelope, reject::Rejection, slots::Slots};

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
}

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

/// What the stages may ask of their surroundings.
struct Shared {
    options: Options,
    invoke: Arc<dyn Invoke>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    slots: Slots,
    authorizers: Authorizers,
}

impl Gateway {
    /// A gateway that serves nothing yet.
    #[must_use]
    pub fn new(options: Options, invoke: Arc<dyn Invoke>, clock: Arc<dyn Clock>, random: Arc<dyn Random>) -> Self {
        let authorizers = Authorizers::new(&options, random.as_ref());
        Self { shared: Arc::new(Shared { options, invoke, clock, random, slots: Slots::default(), authorizers }) }
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
        match self.run(arrived, &envelope).await {
            Ok(answer) => answer,
            Err(rejection) => reject::answer(rejection, &envelope),
        }
    }

    /// The order of work for one request, as the specification lists it.
    async fn run(&self, arrived: Arrived, envelope: &Envelope) -> Result<Answer, Rejection> {
        let shared = self.shared.as_ref();
        arrived::admit(&arrived, &shared.options)?;
        let matched = route::find(arrived, shared)?;
        let authorized = authorize::authorize(matched, shared, envelope).await?;
        let metered = meter::meter(authorized)?;
        let outgoing = transform::request(metered, shared, envelope).await?;
        let returned = integrate::call(outgoing, shared, envelope).await?;
        transform::response(returned, envelope)
    }
}
