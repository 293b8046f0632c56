//! `Matched` -> `Authorized`: identity sources, cache, permission, the authorizer's answer, its policy.

mod answer;
mod cache;
mod identity;
mod request_event;
mod token;

use std::{sync::Arc, time::Duration};

use apigateway::authorizer::Authorizer as Record;
use lambda::invoke::{InvokeError, Outcome};
use regex::Regex;
use service::Timestamp;

pub(crate) use self::cache::Authorizers;
use self::{answer::Grant, cache::Refusal, identity::Source};
use crate::{
    Shared, Text,
    call::{Call, Origin},
    envelope::Envelope,
    reject::{Rejection, ResponseType},
    route::Matched,
    texts,
};

/// Longest method ARN of a method with authorization, bytes.
const METHOD_ARN_BYTES_MAX: usize = 1_600;

/// TTL of an authorizer that names none.
const TTL_S_DEFAULT: u32 = 300;

/// What is waited beyond a function's own limit before the port itself counts as lost.
const GRACE: Duration = Duration::from_secs(2);

/// How a method is authorized.
#[derive(Debug, Clone)]
pub(crate) enum Authorization {
    /// `NONE`.
    Open,
    /// `CUSTOM`, by the program's authorizer of that place.
    Lambda(usize),
    /// Not possible, with the reason: every request is refused.
    Broken(Text),
}

impl Authorization {
    /// From a method's authorization type and its compiled authorizer. Whatever is not known here is refused, never
    /// open.
    pub(crate) fn of(kind: &str, authorizer: Option<&Self>) -> Self {
        match (kind, authorizer) {
            ("NONE", _) => Self::Open,
            ("CUSTOM", Some(authorizer)) => authorizer.clone(),
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
}

#[derive(Debug)]
enum Kind {
    /// The expression, if there is one, must match the whole token.
    Token(Option<Regex>),
    Request,
}

impl Authorizer {
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
    matched: Matched,
    granted: Option<Granted>,
}

impl Authorized {
    pub(crate) fn matched(&self) -> &Matched {
        &self.matched
    }

    pub(crate) fn matched_mut(&mut self) -> &mut Matched {
        &mut self.matched
    }

    /// `None` for methods without an authorizer.
    pub(crate) fn granted(&self) -> Option<&Granted> {
        self.granted.as_ref()
    }
}

/// Authorizes a request.
///
/// # Errors
/// 401 without running the function when an identity source is missing or a token has the wrong form, 401 when the
/// function says `Unauthorized`; 403 when the returned policy does not allow this method; 414 for a method ARN over
/// 1600 bytes; 500 when the authorizer cannot be asked or its answer is none.
pub(crate) async fn authorize(matched: Matched, shared: &Shared, envelope: &Envelope) -> Result<Authorized, Rejection> {
    let authorizer = match &matched.method().authorization {
        Authorization::Open => return Ok(Authorized { matched, granted: None }),
        Authorization::Broken(reason) => return Err(broken(reason)),
        Authorization::Lambda(place) => matched.program().authorizer(*place).ok_or_else(|| broken("no authorizer"))?,
    };
    let method_arn = matched.method_arn();
    if method_arn.len() > METHOD_ARN_BYTES_MAX {
        return Err(Rejection::uri_too_long());
    }
    let granted =
        ask(authorizer, &matched, &method_arn, shared, envelope).await.map_err(|refusal| reject(refusal, envelope))?;
    granted.grant.check(&method_arn, &matched, envelope)?;
    Ok(Authorized { matched, granted: Some(granted) })
}

/// The authorizer's answer for this caller: from the cache, from a call already under way, or from the function.
async fn ask(
    authorizer: &Authorizer,
    matched: &Matched,
    method_arn: &str,
    shared: &Shared,
    envelope: &Envelope,
) -> Result<Granted, Refusal> {
    let identity = identity::check(authorizer, matched, envelope)?;
    let run = async {
        let event = match &identity.token {
            Some(token) => token::event(method_arn, token),
            None => request_event::event(method_arn, matched, envelope),
        };
        let started = shared.clock.now_ms();
        let outcome = invoke(authorizer, event, shared, envelope).await?;
        let latency_ms = shared.clock.now_ms().saturating_sub(started).max(0);
        Ok((Arc::new(answer::read(&outcome)?), latency_ms))
    };
    let (grant, latency_ms) = if authorizer.ttl_ms > 0 && !authorizer.sources.is_empty() {
        // The key leaves out method and path on purpose: AWS keeps one answer per stage, authorizer and identity, so a
        // policy naming only the first method refuses the next one until the TTL ends.
        let key = shared.authorizers.key(matched, &authorizer.id, &identity);
        shared.authorizers.obtain(key, authorizer.ttl_ms, shared.clock.as_ref(), run).await?
    } else {
        run.await?
    };
    Ok(Granted { grant, latency_ms })
}

async fn invoke(
    authorizer: &Authorizer,
    event: Vec<u8>,
    shared: &Shared,
    envelope: &Envelope,
) -> Result<Outcome, Refusal> {
    let timeout_ms = shared.options.authorizer_timeout_ms;
    let request = authorizer.call.with(event, envelope.request_id(), timeout_ms);
    let deadline = Duration::from_millis(timeout_ms) + GRACE;
    let reason = match tokio::time::timeout(deadline, shared.invoke.invoke(request)).await {
        Ok(Ok(outcome)) => return Ok(outcome),
        Ok(Err(InvokeError::NotPermitted(_))) => texts::INVALID_PERMISSIONS.into(),
        Ok(Err(InvokeError::CannotAssumeRole(role))) => texts::cannot_assume_role(&role).into(),
        Ok(Err(InvokeError::TimedOut)) | Err(_) => texts::TIMED_OUT.into(),
        Ok(Err(InvokeError::Run(error))) => format!("the function did not run: {error:?}").into(),
    };
    Err(Refusal::NotAsked(reason))
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
        Refusal::NotAsked(reason) => broken(&reason),
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
