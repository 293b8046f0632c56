//! Test-invoke: the authorizer or the method of an API as it is now, tried with a made-up request.
//!
//! The program is one that nobody is served. It holds a single method, and the method's own settings say what is asked
//! of the request: there is no way around authorization here. An authorizer is asked by the code that asks it for
//! clients, without the cache; a method runs through the stages every request runs through, which for an API narrowed
//! down to one method without authorization let everybody in.
//!
//! Nothing of a test is served, cached, counted, kept as a decision or written to a stage's logs: the log is part of the
//! answer. What a function's policy must permit is the same: an authorizer presents its usual source ARN, an integration
//! one with the test's stage.
//!
//! Sources: API Gateway API Reference, "TestInvokeAuthorizer", "TestInvokeMethod"; logs recorded on AWS. [U] Of the
//! function's call AWS also logs the headers, and it makes up an address for the caller; here the headers are left out
//! and the address is the one the call came from.

use std::{borrow::Cow, net::IpAddr, sync::Arc};

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    Answer, Arrived, Body, Gateway, Headers, Program, Shared, Target, arrived, authorize,
    envelope::Envelope,
    event, integrate,
    journal::Journal,
    logging::{Level, starred},
    meter,
    program::partition,
    reject::{self, Rejection},
    route::Matched,
    texts, transform,
};

/// A made-up request. Its limits are those of every request.
#[derive(Debug, Clone)]
pub struct TestRequest {
    /// One of the seven verbs of REST APIs.
    pub verb: http::Method,
    /// Begins with a slash; no stage stands before it.
    pub path_with_query: String,
    pub headers: Headers,
    pub body: Bytes,
    /// Where it claims to come from.
    pub client: IpAddr,
}

/// What came of asking an authorizer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestedAuthorizer {
    /// 0 if it answered, whatever its policy says; else the status a client would get.
    pub client_status: u16,
    pub log: String,
    pub latency_ms: i64,
    pub principal_id: Option<String>,
    /// The policy it answered, as compact JSON in its own order.
    pub policy: Option<String>,
}

/// What came of running a method.
#[derive(Debug, Clone)]
pub struct TestedMethod {
    /// Without the ids the edge adds.
    pub answer: Answer,
    pub log: String,
    pub latency_ms: i64,
}

/// As much of a body as the log shows.
const BODY_BYTES_MAX: usize = 16_384;
/// Longest text of a map of headers or parameters in the log, characters.
const MAP_CHARS_MAX: usize = 998;
/// Fields that are secrets.
const SECRET: [&str; 4] = ["Authorization", "Cookie", "x-api-key", "X-Amz-Security-Token"];
/// Fields that an edge adds and a test does not have.
const EDGE_IDS: [&str; 2] = ["x-amzn-RequestId", "x-amz-apigw-id"];

impl Gateway {
    /// Asks the authorizer that guards the one method of `program`. Its method ARN is
    /// `…:API/ESTestInvoke-stage/GET/` whatever the path.
    ///
    /// Never fails: what a client would be refused for is in the answer.
    pub async fn test_authorizer(&self, program: Program, request: TestRequest) -> TestedAuthorizer {
        let shared = self.shared.as_ref();
        let envelope = Envelope::new(shared.clock.now_ms(), shared.random.as_ref());
        let mut journal = Journal::new();
        journal.test(Arc::clone(&shared.clock));
        let granted = ask(program, request, shared, &envelope, &mut journal).await;
        let answered = journal.take_answer().filter(|_| granted.is_ok());
        let (client_status, principal_id) = match granted {
            Ok(granted) => (0, granted.principal().map(str::to_owned)),
            Err(rejection) => {
                journal.refused(&rejection);
                (reject::answer(rejection, &envelope, journal.scope(&envelope)).status, None)
            }
        };
        TestedAuthorizer {
            client_status,
            latency_ms: elapsed_ms(shared, &envelope),
            log: log(&mut journal, &envelope),
            principal_id,
            policy: answered.as_deref().and_then(policy),
        }
    }

    /// Runs the one method of `program`.
    ///
    /// Never fails: a refusal is an answer too.
    pub async fn test_method(&self, program: Program, request: TestRequest) -> TestedMethod {
        let shared = self.shared.as_ref();
        let envelope = Envelope::new(shared.clock.now_ms(), shared.random.as_ref());
        let mut journal = Journal::new();
        let mut answer = match run(program, request, shared, &envelope, &mut journal).await {
            Ok(answer) => answer,
            Err(rejection) => {
                // A refusal before the method's own stages has no line yet.
                if !journal.is_test() {
                    journal.test(Arc::clone(&shared.clock));
                }
                journal.refused(&rejection);
                reject::answer(rejection, &envelope, journal.scope(&envelope))
            }
        };
        answer.headers.retain(|(name, _)| !EDGE_IDS.iter().any(|id| id.eq_ignore_ascii_case(name)));
        if answer.refusal.is_none() {
            let headers = answer.headers.iter().map(|(name, value)| (name.as_ref(), Cow::Borrowed(value.as_ref())));
            let body = excerpt(&answer.body);
            journal.line(Level::Trace, || texts::part("Method response body after transformations", &body));
            journal.line(Level::Trace, || texts::part("Method response headers", &map(headers)));
            journal.line(Level::Info, || texts::EXECUTION_DONE.to_owned());
        }
        journal.line(Level::Info, || texts::completed(answer.status));
        TestedMethod { latency_ms: elapsed_ms(shared, &envelope), log: log(&mut journal, &envelope), answer }
    }
}

async fn ask(
    program: Program,
    request: TestRequest,
    shared: &Shared,
    envelope: &Envelope,
    journal: &mut Journal,
) -> Result<authorize::Granted, Rejection> {
    let (account, region, api) = (program.account(), program.region(), program.api_id());
    let partition = partition(region);
    let method_arn = format!("arn:{partition}:execute-api:{region}:{account}:{api}/ESTestInvoke-stage/GET/");
    let (matched, _) = arrive(program, request, shared, journal)?;
    authorize::test(&matched, &method_arn, shared, envelope, journal).await
}

/// The order of work of one test, as for a request; nothing before the method itself is logged.
async fn run(
    program: Program,
    request: TestRequest,
    shared: &Shared,
    envelope: &Envelope,
    journal: &mut Journal,
) -> Result<Answer, Rejection> {
    let (matched, body) = arrive(program, request, shared, journal)?;
    let shown = body.clone();
    let authorized = authorize::authorize(Arc::clone(&matched), Body::Full(body), shared, envelope, journal).await?;
    let metered = meter::meter(authorized, shared, envelope, journal)?;
    journal.test(Arc::clone(&shared.clock));
    journal.begin(envelope);
    tell_request(&matched, &shown, journal);
    let outgoing = transform::request(metered, shared, envelope).await?;
    let returned = integrate::call(outgoing, shared, envelope, journal).await?;
    transform::response(returned, envelope)
}

/// The request as it stands before its method. 414 and 431 as for a client.
fn arrive(
    program: Program,
    request: TestRequest,
    shared: &Shared,
    journal: &mut Journal,
) -> Result<(Arc<Matched>, Bytes), Rejection> {
    let TestRequest { verb, path_with_query, headers, body, client } = request;
    let (raw_path, raw_query) = match path_with_query.split_once('?') {
        Some((path, query)) => (path.to_owned(), Some(query.to_owned())),
        None => (path_with_query, None),
    };
    let host = format!("{}.execute-api.{}.{}", program.api_id(), program.region(), shared.options.domain_suffix);
    let nothing = || Rejection::api_configuration(texts::INVALID_ENDPOINT);
    let target = Target::find(&host, "/").ok_or_else(nothing)?;
    let (port, secure, body_beside) = (443, true, Body::Empty);
    let arrived =
        Arrived { target, method: verb, raw_path, raw_query, headers, client, port, secure, body: body_beside };
    arrived::admit(&arrived, &shared.options)?;
    let matched = Arc::new(Matched::tested(Arc::new(program), arrived).ok_or_else(nothing)?);
    journal.locate(Arc::clone(&matched));
    Ok((matched, body))
}

fn tell_request(matched: &Matched, body: &[u8], journal: &mut Journal) {
    let arrived = matched.arrived();
    let path = matched.parameters().map(|(name, value)| (name, Cow::Borrowed(value)));
    journal.line(Level::Trace, || texts::part("Method request path", &map(path)));
    let query: Vec<_> = event::query(arrived.raw_query.as_deref().unwrap_or_default()).collect();
    let query = query.iter().map(|(name, value)| (name.as_ref(), Cow::Borrowed(value.as_ref())));
    journal.line(Level::Trace, || texts::part("Method request query string", &map(query)));
    let headers = arrived.headers.iter().map(|(name, value)| (name, shown(name, value)));
    journal.line(Level::Trace, || texts::part("Method request headers", &map(headers)));
    let body = excerpt(body);
    journal.line(Level::Trace, || texts::part("Method request body before transformations", &body));
}

fn excerpt(body: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(body.get(..BODY_BYTES_MAX).unwrap_or(body))
}

fn shown<'a>(name: &str, value: &'a str) -> Cow<'a, str> {
    if SECRET.iter().any(|secret| secret.eq_ignore_ascii_case(name)) { starred(value).into() } else { value.into() }
}

/// `{a=1, b=2}`; what is too long is cut.
fn map<'a>(members: impl Iterator<Item = (&'a str, Cow<'a, str>)>) -> String {
    let mut text = String::from("{");
    for (place, (name, value)) in members.enumerate() {
        if place > 0 {
            text.push_str(", ");
        }
        text.push_str(name);
        text.push('=');
        text.push_str(&value);
    }
    text.push('}');
    match text.char_indices().nth(MAP_CHARS_MAX) {
        Some((end, _)) => format!("{} [TRUNCATED]", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

/// The lines, the first one without a moment.
fn log(journal: &mut Journal, envelope: &Envelope) -> String {
    let mut log = texts::execution_log(envelope.request_id());
    for line in journal.take_lines() {
        log.push('\n');
        log.push_str(&line);
    }
    log.push('\n');
    log
}

fn elapsed_ms(shared: &Shared, envelope: &Envelope) -> i64 {
    shared.clock.now_ms().saturating_sub(envelope.time_ms).max(0)
}

/// The policy of an answer that was read already.
fn policy(answer: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Answered<'a> {
        #[serde(borrow)]
        policy_document: &'a RawValue,
    }
    let answered: Answered<'_> = serde_json::from_slice(answer).ok()?;
    Some(compact(answered.policy_document.get()))
}

/// JSON without the blanks between its tokens, members in their order.
fn compact(json: &str) -> String {
    let (mut out, mut quoted, mut escaped) = (String::with_capacity(json.len()), false, false);
    for c in json.chars() {
        if quoted {
            quoted = escaped || c != '"';
            escaped = !escaped && c == '\\';
        } else if c.is_ascii_whitespace() {
            continue;
        } else {
            quoted = c == '"';
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::compact;

    #[test]
    fn compact_json_keeps_order_and_what_stands_in_quotes() {
        for (json, expected) in [
            ("{ \"b\" : [ 1 , 2 ],\n\t\"a\": \" x \" }", r#"{"b":[1,2],"a":" x "}"#),
            (r#"{"a": "\" \\", "b": " "}"#, r#"{"a":"\" \\","b":" "}"#),
            ("", ""),
        ] {
            assert_eq!(compact(json), expected);
        }
    }
}
