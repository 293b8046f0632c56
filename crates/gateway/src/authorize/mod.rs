//! `Matched` -> `Authorized`: identity sources, cache, permission, the authorizer's answer, its policy.

mod answer;
mod cache;
mod iam;
mod identity;
mod request_event;
mod resource;
mod token;

use std::sync::Arc;

use apigateway::authorizer::Authorizer as Record;
use policy::Effect;
use regex::Regex;
use service::Timestamp;

pub use self::iam::{Callers, IamCaller, SignatureRefusal, SignedRequest};
use self::{
    answer::{Grant, Judged},
    cache::{Origin as CacheOrigin, Refusal},
    identity::{Identity, Missing, Source},
};
pub(crate) use self::{cache::Authorizers, resource::ResourcePolicy};
use crate::{
    Body, Shared, Text,
    call::{self, Call, Origin},
    envelope::Envelope,
    journal::{Called, Journal, PolicySource, Step},
    logging::{Level, starred},
    observe::{Asked, Notes},
    reject::{Rejection, ResponseType},
    route::Matched,
    texts,
};

/// Longest method ARN of a method with authorization, bytes.
const METHOD_ARN_BYTES_MAX: usize = 1_600;

/// TTL of an authorizer that names none.
const TTL_S_DEFAULT: u32 = 300;

/// How a method is authorized.
#[derive(Debug, Clone)]
pub(crate) enum Authorization {
    /// `NONE`.
    Open,
    /// `CUSTOM`, by the program's authorizer of that place.
    Lambda(usize),
    /// `AWS_IAM`: the call is signed, and the signer's policies decide.
    Iam,
    /// Not possible, with the reason: every request is refused.
    Broken(Text),
}

impl Authorization {
    /// As API Gateway names the kind.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Open => "NONE",
            Self::Lambda(_) => "CUSTOM",
            Self::Iam => "AWS_IAM",
            Self::Broken(_) => "broken",
        }
    }

    /// From a method's authorization type and its compiled authorizer. Whatever is not known here is refused, never
    /// open.
    pub(crate) fn of(kind: &str, authorizer: Option<&Self>) -> Self {
        match (kind, authorizer) {
            ("NONE", _) => Self::Open,
            ("CUSTOM", Some(authorizer)) => authorizer.clone(),
            ("AWS_IAM", _) => Self::Iam,
            ("CUSTOM", None) => Self::Broken("the method names no authorizer of this deployment".into()),
            (kind, _) => Self::Broken(format!("the authorization type `{kind}` is not served").into()),
        }
    }
}

/// A Lambda authorizer, compiled.
#[derive(Debug)]
pub(crate) struct Authorizer {
    id: Box<str>,
    kind: Kind,
    sources: Vec<Source>,
    ttl_ms: i64,
    call: Call,
    notes: Notes,
}

#[derive(Debug)]
enum Kind {
    /// The expression, if there is one, must match the whole token.
    Token(Option<Regex>),
    Request,
}

impl Authorizer {
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    pub(crate) fn call(&self) -> &Call {
        &self.call
    }

    pub(crate) fn notes(&self) -> &Notes {
        &self.notes
    }

    /// How long answers are kept, if they are at all.
    pub(crate) fn ttl_s(&self) -> i64 {
        self.ttl_ms / 1_000
    }

    /// Compiles an authorizer.
    ///
    /// # Errors
    /// Says what cannot be compiled; its methods are refused then.
    pub(crate) fn compile(record: &Record, api_id: &str, origin: &Origin<'_>) -> Result<Self, String> {
        let sources = identity::compile(record.identity_source.as_deref().unwrap_or_default())?;
        let kind = match (record.kind.as_str(), sources.as_slice()) {
            ("TOKEN", [source]) if source.is_header() => {
                Kind::Token(record.identity_validation_expression.as_deref().map(whole).transpose()?)
            }
            ("TOKEN", _) => return Err("a TOKEN authorizer needs one header as its identity source".to_owned()),
            ("REQUEST", _) => Kind::Request,
            (kind, _) => return Err(format!("authorizers of type `{kind}` are not served")),
        };
        let below_api = format!("{api_id}/authorizers/{}", record.id);
        let credentials = record.authorizer_credentials.as_deref();
        Ok(Self {
            id: record.id.as_str().into(),
            kind,
            sources,
            ttl_ms: i64::from(record.authorizer_result_ttl_in_seconds.unwrap_or(TTL_S_DEFAULT)) * 1_000,
            call: Call::compile(&record.authorizer_uri, credentials, &below_api, origin)?,
            notes: Notes::default(),
        })
    }
}

/// A tenant's expression that must match the whole text. What only a back-tracking engine knows (look-around,
/// back-references) does not compile.
pub(crate) fn whole(expression: &str) -> Result<Regex, String> {
    apigateway::pattern::compile(expression)
        .map_err(|error| format!("the expression `{expression}` cannot be compiled: {error}"))
}

/// What an authorizer granted to one request.
#[derive(Clone)]
pub(crate) struct Granted {
    grant: Arc<Grant>,
    latency_ms: i64,
}

impl Granted {
    pub(crate) fn principal(&self) -> Option<&str> {
        self.grant.principal_id()
    }

    /// How long the function took; 0 for a cached answer.
    pub(crate) fn latency_ms(&self) -> i64 {
        self.latency_ms
    }

    /// The API key the authorizer names, where the API takes keys from it.
    pub(crate) fn usage_identifier_key(&self) -> Option<&str> {
        self.grant.usage_identifier_key()
    }

    /// A value of the authorizer's context.
    pub(crate) fn value(&self, key: &str) -> Option<&str> {
        self.context().find(|(name, _)| *name == key).map(|(_, value)| value)
    }

    /// The authorizer's context, in the order of its answer.
    pub(crate) fn context(&self) -> impl Iterator<Item = (&str, &str)> {
        self.grant.context()
    }
}

/// A request its method's authorization lets through.
pub(crate) struct Authorized {
    matched: Arc<Matched>,
    body: Body,
    via: Via,
}

/// What let a request through.
enum Via {
    /// Nothing had to.
    Open,
    Lambda(Granted),
    Iam(Arc<IamCaller>),
}

impl Authorized {
    pub(crate) fn matched(&self) -> &Matched {
        &self.matched
    }

    pub(crate) fn take_body(&mut self) -> Body {
        std::mem::take(&mut self.body)
    }

    /// `None` for methods without an authorizer.
    pub(crate) fn granted(&self) -> Option<&Granted> {
        match &self.via {
            Via::Lambda(granted) => Some(granted),
            Via::Open | Via::Iam(_) => None,
        }
    }

    /// Who signed, for AWS_IAM methods.
    pub(crate) fn caller(&self) -> Option<&IamCaller> {
        match &self.via {
            Via::Iam(caller) => Some(caller),
            Via::Open | Via::Lambda(_) => None,
        }
    }
}

/// Authorizes a request.
///
/// # Errors
/// 401 without running the function when an identity source is missing or a token has the wrong form, 401 when the
/// function says `Unauthorized`; 403 when the API's resource policy or the returned policy does not allow this method,
/// or a signed call is not allowed; 414 for a method ARN over 1600 bytes; 500 when the authorizer cannot be asked or its
/// answer is none.
pub(crate) async fn authorize(
    matched: Arc<Matched>,
    body: Body,
    shared: &Shared,
    envelope: &Envelope,
    journal: &mut Journal,
) -> Result<Authorized, Rejection> {
    let authorization = &matched.method().authorization;
    let policy = matched.program().resource_policy();
    if matches!((authorization, policy), (Authorization::Open, ResourcePolicy::None)) {
        return Ok(Authorized { matched, body, via: Via::Open });
    }
    let method_arn = matched.method_arn();
    if method_arn.len() > METHOD_ARN_BYTES_MAX {
        return Err(Rejection::uri_too_long());
    }
    let place = match authorization {
        Authorization::Open => {
            let judged = policy.ask(&method_arn, &matched, envelope, journal)?;
            resource::alone(judged, &method_arn, journal)?;
            return Ok(Authorized { matched, body, via: Via::Open });
        }
        Authorization::Iam => {
            let (caller, body) = iam::authorize(&matched, body, &method_arn, shared, envelope, journal).await?;
            return Ok(Authorized { matched, body, via: Via::Iam(caller) });
        }
        Authorization::Broken(reason) => return Err(broken(reason)),
        Authorization::Lambda(place) => *place,
    };
    // An explicit deny of the API's own policy ends it before the authorizer runs.
    let judged = policy.ask(&method_arn, &matched, envelope, journal)?;
    let (granted, verdict) = consult(place, &matched, &method_arn, shared, envelope, journal).await?;
    let outcome = combine(verdict, judged, journal);
    journal.grant(granted.clone());
    outcome?;
    Ok(Authorized { matched, body, via: Via::Lambda(granted) })
}

/// Runs the authorizer of a method for whoever tests it: identity, permission, answer, as for a client, but nothing
/// cached. The answer's policy is read and judges nothing, since there is no request it could let through.
///
/// # Errors
/// As [`authorize`].
pub(crate) async fn test(
    matched: &Matched,
    method_arn: &str,
    shared: &Shared,
    envelope: &Envelope,
    journal: &mut Journal,
) -> Result<Granted, Rejection> {
    let place = match &matched.method().authorization {
        Authorization::Lambda(place) => *place,
        Authorization::Broken(reason) => return Err(broken(reason)),
        Authorization::Open | Authorization::Iam => return Err(broken("the method has no authorizer")),
    };
    let (granted, _) = consult(place, matched, method_arn, shared, envelope, journal).await?;
    Ok(granted)
}

/// Runs the authorizer, or finds its answer, and asks the returned policy about this request.
async fn consult(
    place: usize,
    matched: &Matched,
    method_arn: &str,
    shared: &Shared,
    envelope: &Envelope,
    journal: &mut Journal,
) -> Result<(Granted, Judged), Rejection> {
    let authorizer = matched.program().authorizer(place).ok_or_else(|| broken("no authorizer"))?;
    journal.line(Level::Info, || texts::starting_authorizer(&authorizer.id, envelope.request_id()));
    let asked = ask(authorizer, place, matched, method_arn, shared, envelope, journal).await;
    let granted = asked.map_err(|refusal| reject(refusal, envelope))?;
    journal.line(Level::Info, || texts::valid_policy(&starred(granted.principal().unwrap_or_default())));
    journal.line(Level::Info, || texts::AUTHORIZER_DONE.to_owned());
    let verdict = granted.grant.verdict(method_arn, matched, envelope);
    Ok((granted, verdict))
}

/// Table A of the specification: a deny of either ends it, an allow of either suffices.
fn combine(verdict: Judged, resource: Option<Judged>, journal: &mut Journal) -> Result<(), Rejection> {
    let effects = (verdict.effect, resource.as_ref().and_then(|judged| judged.effect));
    journal.step(verdict.step(PolicySource::Authorizer));
    if let Some(judged) = resource {
        journal.step(judged.step(PolicySource::Resource));
    }
    let denied = Rejection::of(ResponseType::AccessDenied);
    match effects {
        (Some(Effect::Deny), _) => Err(denied.with_message(texts::EXPLICIT_DENY).because(texts::POLICY_REFUSED)),
        (Some(Effect::Allow), _) | (None, Some(Effect::Allow)) => Ok(()),
        (None, _) => Err(denied.because(texts::POLICY_REFUSED)),
    }
}

/// The authorizer's answer for this caller: from the cache, from a call already under way, or from the function.
async fn ask(
    authorizer: &Authorizer,
    place: usize,
    matched: &Matched,
    method_arn: &str,
    shared: &Shared,
    envelope: &Envelope,
    journal: &mut Journal,
) -> Result<Granted, Refusal> {
    let identity = identify(authorizer, matched, shared, envelope, journal)?;
    let key = shared.authorizers.key(matched, &authorizer.id, &identity);
    journal.step(Step::Identity(key));
    let event = || match &identity.token {
        Some(token) => token::event(method_arn, token),
        None => request_event::event(method_arn, matched, envelope),
    };
    let cached = authorizer.ttl_ms > 0 && !authorizer.sources.is_empty() && !journal.is_test();
    // Without identity sources every caller has the same key.
    let caller = (!authorizer.sources.is_empty()).then_some(key);
    let asked = Asked { method_arn, caller, kept: cached };
    let run = run(authorizer, Called::Authorizer(place), &asked, event, shared, envelope, journal);
    let found = if cached {
        // The key leaves out method and path on purpose: AWS keeps one answer per stage, authorizer and identity, so a
        // policy naming only the first method refuses the next one until the TTL ends.
        shared.authorizers.obtain(key, authorizer.ttl_ms, shared.clock.as_ref(), run).await
    } else {
        run.await.map(|(grant, latency_ms)| (grant, CacheOrigin::Fresh { latency_ms }))
    };
    let (grant, origin) = found.inspect_err(|refusal| {
        if let Refusal::NotInvoked(_, why) = refusal {
            journal.step(Step::NotInvoked { called: Called::Authorizer(place), why: why.clone() });
        }
    })?;
    let latency_ms = match origin {
        CacheOrigin::Fresh { latency_ms } => latency_ms,
        CacheOrigin::Kept { age_ms } => {
            journal.step(Step::Cached { age_ms, ttl_ms: authorizer.ttl_ms });
            0
        }
        CacheOrigin::Coalesced => {
            journal.step(Step::Coalesced);
            0
        }
    };
    Ok(Granted { grant, latency_ms })
}

/// Reads the identity sources, and says what is missing.
fn identify<'a>(
    authorizer: &'a Authorizer,
    matched: &'a Matched,
    shared: &Shared,
    envelope: &'a Envelope,
    journal: &mut Journal,
) -> Result<Identity<'a>, Refusal> {
    match identity::check(authorizer, matched, envelope) {
        Ok(identity) => {
            for value in identity.values.iter().flatten() {
                journal.hide(value);
            }
            if let Some(token) = &identity.token {
                journal.line(Level::Info, || texts::incoming_identity(&starred(token)));
            }
            Ok(identity)
        }
        Err(Missing::Source(expression)) => {
            journal.step(Step::IdentityMissing(expression));
            Err(Refusal::Unauthorized)
        }
        Err(Missing::Form { token, expression }) => {
            let identity = Identity { values: vec![vec![token.into()]], token: None };
            let identity = shared.authorizers.key(matched, &authorizer.id, &identity);
            journal.step(Step::IdentityMalformed { identity, expression });
            Err(Refusal::Unauthorized)
        }
    }
}

/// Runs the authorizer's function and reads its answer; with it comes how long that took.
async fn run(
    authorizer: &Authorizer,
    called: Called,
    asked: &Asked<'_>,
    event: impl FnOnce() -> Vec<u8>,
    shared: &Shared,
    envelope: &Envelope,
    journal: &mut Journal,
) -> Result<(Arc<Grant>, i64), Refusal> {
    let request = authorizer.call.with(event(), envelope.request_id(), shared.options.authorizer_timeout_ms);
    let (outcome, latency_ms) = call::invoke(request, called, shared, journal)
        .await
        .map_err(|failed| Refusal::NotInvoked(failed.reason, failed.why))?;
    journal.line(Level::Trace, || texts::authorizer_result(&outcome.payload));
    journal.keep_answer(&outcome.payload);
    let read = answer::read(&outcome);
    // A function's error answers nothing, and a test of the console is no caller.
    if outcome.function_error.is_none() && !journal.is_test() {
        authorizer.notes.note(asked, &outcome.payload, read.is_ok());
    }
    Ok((Arc::new(read?), latency_ms))
}

/// See [`crate::fuzzing`].
#[cfg(feature = "fuzzing")]
pub(crate) fn fuzz(payload: &[u8], method_arn: &str) -> Option<bool> {
    let outcome = lambda::invoke::Outcome {
        payload: bytes::Bytes::copy_from_slice(payload),
        function_error: None,
        executed_version: String::new(),
        log_tail: None,
        duration_us: 0,
    };
    answer::read(&outcome).ok().map(|grant| grant.allows(method_arn))
}

fn broken(reason: &str) -> Rejection {
    Rejection::of(ResponseType::AuthorizerConfigurationError)
        .because(texts::configuration_error(reason))
        .because(texts::AUTHORIZER_ERROR)
}

fn reject(refusal: Refusal, envelope: &Envelope) -> Rejection {
    match refusal {
        Refusal::Unauthorized => {
            Rejection::of(ResponseType::Unauthorized).because(texts::unauthorized_request(envelope.request_id()))
        }
        Refusal::NotAsked(reason) | Refusal::NotInvoked(reason, _) => broken(&reason),
        Refusal::BadAnswer(reason) => Rejection::of(ResponseType::AuthorizerConfigurationError)
            .because(texts::configuration_error(&reason))
            .because(texts::AUTHORIZER_CONFIGURATION),
    }
}

/// The condition keys of a data-plane request.
///
/// Source: API Gateway Developer Guide, "AWS condition keys that can be used in API Gateway resource policies".
fn conditions(matched: &Matched, envelope: &Envelope) -> policy::Context {
    let (arrived, time) = (matched.arrived(), Timestamp::from_ms(envelope.time_ms));
    let mut context = policy::Context::new();
    context.insert("aws:SourceIp", arrived.client.to_string());
    context.insert("aws:CurrentTime", time.iso_s());
    context.insert("aws:EpochTime", time.s().to_string());
    context.insert("aws:SecureTransport", if arrived.secure { "true" } else { "false" });
    if let Some(agent) = arrived.headers.last("User-Agent") {
        context.insert("aws:UserAgent", agent);
    }
    if let Some(referer) = arrived.headers.last("Referer") {
        context.insert("aws:Referer", referer);
    }
    context
}
