//! What was decided about one request, written down by the code that decided it.
//!
//! A journal is the one source of the three accounts of a request: the decision that `explain` shows, the execution log
//! in AWS's words, and the access log line. Nothing is worked out afterwards from an answer.

use std::sync::Arc;

use bytes::Bytes;
use policy::{DeniedBy, Effect, StatementRef};
use smallvec::SmallVec;

use crate::{
    Clock, Text,
    authorize::{Granted, IamCaller},
    context::Scope,
    envelope::Envelope,
    event::query,
    logging::{Level, starred},
    reject::Rejection,
    route::Matched,
    texts,
};

/// One thing that was decided. None of these holds a token, a key or an event; identities are keyed digests.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// An identity source had no value: the expression.
    IdentityMissing(Box<str>),
    /// The token does not have the form the authorizer's expression asks for.
    IdentityMalformed { identity: u128, expression: Box<str> },
    /// Every identity source had a value; a digest of them under this node's secret.
    Identity(u128),
    /// The authorizer's answer was in the cache.
    Cached { age_ms: i64, ttl_ms: i64 },
    /// Another request with the same identity had the authorizer running already; this one took its answer.
    Coalesced,
    /// A function was run.
    Invoked { called: Called, permission: Text, latency_ms: i64 },
    /// A function may not or could not be run.
    NotInvoked { called: Called, why: Box<NotInvoked> },
    /// What a policy said.
    Policy { source: PolicySource, effect: Option<Effect>, statement: Option<StatementRef>, nearest: Option<Box<str>> },
    /// A signed call's caller, by ARN.
    Caller(Box<str>),
    /// Which rule of IAM let a signed call through or refused it.
    Iam { text: Text, nearest: Option<Box<str>>, by: Option<DeniedBy> },
    /// The API key a method required: what became of it, and the key's id if it is known.
    ApiKey { found: Text, key_id: Option<Box<str>> },
}

/// On whose account a function was called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Called {
    /// The authorizer of that place in the program.
    Authorizer(usize),
    Integration,
}

/// Why a function was not run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NotInvoked {
    /// For the API's owner.
    pub(crate) why: String,
    /// For the function's owner besides: which statement came nearest, and where it failed.
    pub(crate) detail: Option<String>,
    /// Whether a statement of the function's policy would help.
    pub(crate) grantable: bool,
    /// The role that could not be assumed.
    pub(crate) role: Option<String>,
}

/// Whose policy spoke.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PolicySource {
    /// The one the authorizer answered.
    Authorizer,
    /// The API's own.
    Resource,
}

/// A secret of so many bytes is hidden wherever it stands, a shorter one only where it is a whole value.
const BARE_SECRET_BYTES_MIN: usize = 8;

/// The steps of a request, where they are: most requests have so few that their decision lies in its ring whole, and
/// making room for it touches no other memory.
pub(crate) type Steps = SmallVec<[Step; 4]>;

/// A request's journal.
pub(crate) struct Journal {
    place: Option<Arc<Matched>>,
    granted: Option<Granted>,
    caller: Option<Arc<IamCaller>>,
    refusal: Option<Rejection>,
    steps: Steps,
    level: Level,
    test: Option<Box<Test>>,
    lines: Vec<String>,
    /// What whole requests in the log must not show, as it stands in JSON, with what is shown in its place.
    hidden: Vec<(String, String)>,
}

/// What is kept of a test-invoke besides.
struct Test {
    clock: Arc<dyn Clock>,
    /// What an authorizer's function answered.
    answer: Option<Bytes>,
}

impl Journal {
    pub(crate) fn new() -> Self {
        Self {
            place: None,
            granted: None,
            caller: None,
            refusal: None,
            steps: Steps::new(),
            level: Level::Off,
            test: None,
            lines: Vec::new(),
            hidden: Vec::new(),
        }
    }

    /// Says where the request arrived; from here on its stage's settings for logging hold.
    pub(crate) fn locate(&mut self, matched: Arc<Matched>) {
        if self.test.is_none() {
            self.level = matched.method().logging.level();
        }
        self.hide_headers(&matched);
        self.place = Some(matched);
    }

    /// Of a test-invoke from here on: every line is written with its moment, whatever the stage says, and no cached
    /// answer counts.
    pub(crate) fn test(&mut self, clock: Arc<dyn Clock>) {
        self.level = Level::Trace;
        self.test = Some(Box::new(Test { clock, answer: None }));
        if let Some(matched) = self.place.clone() {
            self.hide_headers(&matched);
        }
    }

    pub(crate) fn is_test(&self) -> bool {
        self.test.is_some()
    }

    /// Keeps what an authorizer's function answered, for whoever tests it.
    pub(crate) fn keep_answer(&mut self, payload: &Bytes) {
        if let Some(test) = &mut self.test {
            test.answer = Some(payload.clone());
        }
    }

    pub(crate) fn take_answer(&mut self) -> Option<Bytes> {
        self.test.as_mut()?.answer.take()
    }

    /// What the authorizer granted, kept for whoever words the answer: a refusal may show the authorizer's context.
    pub(crate) fn grant(&mut self, granted: Granted) {
        self.granted = Some(granted);
    }

    /// Says that the request is refused, and why.
    pub(crate) fn refused(&mut self, rejection: &Rejection) {
        for cause in rejection.causes() {
            self.line(Level::Error, || cause.to_string());
        }
        self.refusal = Some(rejection.clone());
    }

    /// Who signed the call.
    pub(crate) fn caller(&mut self, caller: Arc<IamCaller>) {
        self.step(Step::Caller(caller.arn.as_str().into()));
        self.caller = Some(caller);
    }

    /// What templates and log lines may look at, as far as it is known; `None` where no stage was found.
    pub(crate) fn scope<'a>(&'a self, envelope: &'a Envelope) -> Option<Scope<'a>> {
        let matched = self.place.as_deref()?;
        let caller = self.caller.as_deref();
        let (granted, error) = (self.granted.as_ref(), self.refusal.as_ref());
        Some(Scope { granted, caller, error, ..Scope::early(matched, envelope) })
    }

    pub(crate) fn step(&mut self, step: Step) {
        self.steps.push(step);
    }

    /// Keeps a secret out of the requests that the log shows whole: as JSON writes it, and as it is written once more
    /// where a function answers with its own event.
    pub(crate) fn hide(&mut self, secret: &str) {
        if self.level != Level::Trace || secret.is_empty() {
            return;
        }
        let once = serde_json::Value::from(secret).to_string();
        let inner = once.trim_start_matches('"').strip_suffix('"').unwrap_or_default().to_owned();
        let twice = serde_json::Value::from(once.as_str()).to_string();
        let twice = twice.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or_default().to_owned();
        let shown = starred(secret);
        self.hidden.push((once, format!("\"{shown}\"")));
        self.hidden.push((twice, format!("\\\"{shown}\\\"")));
        // A short one would be found in the middle of words that mean nothing.
        if inner.len() >= BARE_SECRET_BYTES_MIN {
            self.hidden.push((inner, shown));
        }
    }

    fn hide_headers(&mut self, matched: &Matched) {
        // Few stages trace: for the others not even the query is read.
        if self.level != Level::Trace {
            return;
        }
        let arrived = matched.arrived();
        for name in ["Authorization", "Cookie", "x-api-key", "X-Amz-Security-Token"] {
            arrived.headers.all(name).for_each(|value| self.hide(value));
        }
        for (name, value) in query(arrived.raw_query.as_deref().unwrap_or_default()) {
            if name.starts_with("X-Amz-") {
                self.hide(&value);
            }
        }
    }

    /// A line of the execution log; made only if the stage wants lines of that level.
    pub(crate) fn line(&mut self, level: Level, text: impl FnOnce() -> String) {
        if level <= self.level {
            let mut text = text();
            if level == Level::Trace {
                for (secret, shown) in &self.hidden {
                    text = text.replace(secret, shown);
                }
            }
            if let Some(test) = &self.test {
                text = texts::stamped(test.clock.now_ms(), &text);
            }
            self.lines.push(text);
        }
    }

    /// Where the request arrived: `None` for a host or stage that serves nothing.
    pub(crate) fn place(&self) -> Option<&Arc<Matched>> {
        self.place.as_ref()
    }

    /// Says that the integration begins.
    pub(crate) fn begin(&mut self, envelope: &Envelope) {
        let Some(matched) = self.place.clone() else { return };
        self.line(Level::Info, || texts::starting_execution(envelope.request_id()));
        self.line(Level::Info, || texts::method_and_path(matched.verb(), &matched.method().resource_path));
    }

    /// Whether anything of the request goes to a log.
    pub(crate) fn is_logged(&self) -> bool {
        let access = || self.place.as_ref().is_some_and(|matched| matched.program().access_log().is_some());
        self.level > Level::Off || access()
    }

    pub(crate) fn take_lines(&mut self) -> Vec<String> {
        std::mem::take(&mut self.lines)
    }

    pub(crate) fn into_steps(self) -> Steps {
        self.steps
    }
}
