//! `Metered` -> `Outgoing` before the integration, `Returned` -> `Answer` after it.
//!
//! Sources: API Gateway Developer Guide, "Set up data transformations for REST APIs", "Integration passthrough
//! behaviors", "Set up a method response"; answers recorded on AWS.

use std::borrow::Cow;

use apigateway::{integration::IntegrationResponse, mapping::Mapping, method::Method as Record};
use bytes::Bytes;
use regex::Regex;

use crate::{
    Answer, Shared, Text, arrived,
    authorize::{self, Authorized},
    call::Origin,
    context::{Scope, Variable},
    envelope::Envelope,
    event::{self, Empty, Writer},
    integrate::{Integration, Outcome, Returned},
    meter::Metered,
    reject::{Rejection, ResponseType},
    template::Template,
    texts,
};

const JSON: &str = "application/json";
/// Mapped fields of one answer together; those beyond are left out. A mapping may repeat a value as often as it likes.
pub(crate) const FIELDS_BYTES_MAX: usize = 65_536;

/// A request in the form its integration wants.
pub(crate) struct Outgoing {
    metered: Metered,
    payload: Payload,
}

/// What goes to the integration.
pub(crate) enum Payload {
    /// The rendered request template of a MOCK.
    Mock(Bytes),
    /// The event of a function.
    Event(Vec<u8>),
}

impl Outgoing {
    /// The request, and what goes to its integration.
    pub(crate) fn into_parts(self) -> (Metered, Payload) {
        (self.metered, self.payload)
    }
}

/// Makes the integration request. The body is read here, and only if the integration uses it.
///
/// # Errors
/// 413 or 400 for the body, 415 where no template takes its content type, 500 for an integration that cannot be
/// compiled.
pub(crate) async fn request(mut metered: Metered, shared: &Shared, envelope: &Envelope) -> Result<Outgoing, Rejection> {
    let matched = metered.authorized().matched();
    let payload = match &matched.method().integration {
        Integration::Broken(reason) => return Err(Rejection::api_configuration(reason)),
        Integration::Mock(mock) => match mock.requests().choose(content_type(&metered))? {
            Choice::Template(template) => {
                let text = template.render(&scope(metered.authorized(), envelope));
                Payload::Mock(text.ok_or_else(too_long)?)
            }
            Choice::Through => {
                let body = metered.authorized_mut().take_body();
                Payload::Mock(arrived::read(body, &shared.options).await?)
            }
        },
        Integration::LambdaProxy(_) => {
            let body = metered.authorized_mut().take_body();
            let body = arrived::read(body, &shared.options).await?;
            Payload::Event(proxy_event(metered.authorized(), envelope, &body))
        }
    };
    Ok(Outgoing { metered, payload })
}

fn scope<'a>(authorized: &'a Authorized, envelope: &'a Envelope) -> Scope<'a> {
    Scope { granted: authorized.granted(), caller: authorized.caller(), ..Scope::early(authorized.matched(), envelope) }
}

fn content_type(metered: &Metered) -> &str {
    mime(metered.authorized().matched().arrived().headers.last("Content-Type"))
}

/// The first media type of a field, without parameters; JSON if there is none.
pub(crate) fn mime(field: Option<&str>) -> &str {
    let first = field.unwrap_or_default().split([',', ';']).next().unwrap_or_default().trim();
    if first.is_empty() { JSON } else { first }
}

/// The event of an AWS_PROXY integration. Bodies are text: no media type counts as binary in this version.
fn proxy_event(authorized: &Authorized, envelope: &Envelope, body: &[u8]) -> Vec<u8> {
    let mut out = Writer::with_capacity(2_048 + body.len() + body.len() / 8);
    out.open();
    event::request_members(&mut out, authorized.matched(), envelope, Empty::Null);
    event::request_context(&mut out, &scope(authorized, envelope));
    let body = String::from_utf8_lossy(body);
    out.optional("body", Some(body.as_ref()).filter(|body| !body.is_empty()));
    out.raw("isBase64Encoded", "false");
    out.close();
    out.finish()
}

/// Request templates by media type, and what happens to others.
#[derive(Debug)]
pub(crate) struct Requests {
    templates: Vec<(Box<str>, Template)>,
    passthrough: Passthrough,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Passthrough {
    WhenNoMatch,
    WhenNoTemplates,
    Never,
}

enum Choice<'a> {
    Template(&'a Template),
    /// The body as it came.
    Through,
}

impl Requests {
    /// # Errors
    /// Names the template or behaviour that is not known.
    pub(crate) fn compile(record: &apigateway::integration::Integration, origin: &Origin<'_>) -> Result<Self, String> {
        let mut templates = Vec::with_capacity(record.request_templates.len());
        for (media, text) in &record.request_templates {
            templates.push((media.as_str().into(), Template::compile(text, origin.variables)?));
        }
        let passthrough = match record.passthrough_behavior.as_str() {
            "WHEN_NO_MATCH" => Passthrough::WhenNoMatch,
            "WHEN_NO_TEMPLATES" => Passthrough::WhenNoTemplates,
            "NEVER" => Passthrough::Never,
            other => return Err(format!("the passthrough behaviour `{other}` is not known")),
        };
        Ok(Self { templates, passthrough })
    }

    fn choose(&self, media: &str) -> Result<Choice<'_>, Rejection> {
        if let Some((_, template)) = self.templates.iter().find(|(own, _)| own.eq_ignore_ascii_case(media)) {
            return Ok(Choice::Template(template));
        }
        match (self.passthrough, self.templates.is_empty()) {
            (Passthrough::WhenNoMatch, _) | (Passthrough::WhenNoTemplates, true) => Ok(Choice::Through),
            _ => Err(Rejection::of(ResponseType::UnsupportedMediaType)),
        }
    }
}

/// The integration responses of a method, compiled.
#[derive(Debug)]
pub(crate) struct Responses {
    /// In order of their status; those without a pattern are defaults.
    responses: Vec<Response>,
}

#[derive(Debug)]
struct Response {
    /// Must match the whole status of the backend; `None` for the default.
    pattern: Option<Regex>,
    status: Box<str>,
    code: u16,
    /// Whether the method has a response of that status.
    declared: bool,
    headers: Vec<(Box<str>, Source)>,
    templates: Vec<(Box<str>, Option<Template>)>,
}

/// Where a mapped header's value comes from.
#[derive(Debug)]
enum Source {
    Literal(Box<str>),
    Context(Variable),
    /// A field of the backend's answer; a MOCK has none.
    Backend,
}

impl Responses {
    /// # Errors
    /// Names the mapping that is not known.
    pub(crate) fn compile(record: &Record, origin: &Origin<'_>) -> Result<Self, String> {
        let integration = record.method_integration.iter();
        let records = integration.flat_map(|integration| integration.integration_responses.values());
        let responses =
            records.map(|response| Response::compile(response, record, origin)).collect::<Result<_, _>>()?;
        Ok(Self { responses })
    }

    /// The response whose pattern matches, else the default.
    fn choose(&self, backend_status: u16) -> Option<&Response> {
        let default = || self.responses.iter().find(|response| response.pattern.is_none());
        if self.responses.iter().all(|response| response.pattern.is_none()) {
            return default();
        }
        let status = backend_status.to_string();
        let matching = |response: &&Response| response.pattern.as_ref().is_some_and(|it| it.is_match(&status));
        self.responses.iter().find(matching).or_else(default)
    }
}

impl Response {
    fn compile(record: &IntegrationResponse, method: &Record, origin: &Origin<'_>) -> Result<Self, String> {
        let status = record.status_code.as_str();
        let code = status.parse().ok().filter(|code| (200..=599).contains(code));
        let declared = method.method_responses.get(status);
        let mut headers = Vec::new();
        for (target, source) in &record.response_parameters {
            let name = target.strip_prefix("method.response.header.").unwrap_or_default();
            let known = declared.is_some_and(|response| response.response_parameters.contains_key(target));
            if !known
                || name.eq_ignore_ascii_case(crate::DECISION_HEADER)
                || http::HeaderName::from_bytes(name.as_bytes()).is_err()
            {
                continue;
            }
            headers.push((remapped(name).as_ref().into(), Source::compile(source, origin)?));
        }
        let mut templates = Vec::new();
        for (media, text) in &record.response_templates {
            let text = text.as_deref().filter(|text| !text.is_empty());
            let template = text.map(|text| Template::compile(text, origin.variables)).transpose()?;
            templates.push((media.as_str().into(), template));
        }
        let pattern = record.selection_pattern.as_deref().filter(|pattern| !pattern.is_empty());
        Ok(Self {
            pattern: pattern.map(authorize::whole).transpose()?,
            status: status.into(),
            code: code.ok_or_else(|| format!("`{status}` is not a status"))?,
            declared: declared.is_some(),
            headers,
            templates,
        })
    }

    /// The template for a media type, else that for JSON, else the first.
    fn template(&self, media: &str) -> Option<&(Box<str>, Option<Template>)> {
        let of = |media: &str| self.templates.iter().find(|(own, _)| own.eq_ignore_ascii_case(media));
        of(media).or_else(|| of(JSON)).or_else(|| self.templates.first())
    }
}

impl Source {
    fn compile(text: &str, origin: &Origin<'_>) -> Result<Self, String> {
        match Mapping::parse(text) {
            Ok(Mapping::Literal(text)) => Ok(Self::Literal(text.into())),
            Ok(Mapping::StageVariable(name)) => {
                Ok(Self::Literal(origin.variables.get(&name).map(String::as_str).unwrap_or_default().into()))
            }
            Ok(Mapping::Context(path)) => Ok(Self::Context(Variable::parse(&path))),
            Ok(Mapping::Header(_)) => Ok(Self::Backend),
            Err(_) => Err(format!("the mapping source `{text}` is not supported")),
        }
    }

    fn value<'a>(&'a self, scope: &Scope<'a>) -> Cow<'a, str> {
        match self {
            Self::Literal(text) => Cow::Borrowed(text),
            Self::Context(variable) => variable.value(scope),
            Self::Backend => Cow::Borrowed(""),
        }
    }
}

/// Fields a backend or mapping cannot set under their own name.
const REMAPPED: [&str; 17] = [
    "Authorization",
    "Connection",
    "Content-Length",
    "Content-MD5",
    "Date",
    "Expect",
    "Host",
    "Max-Forwards",
    "Proxy-Authenticate",
    "Server",
    "Trailer",
    "Transfer-Encoding",
    "Upgrade",
    "User-Agent",
    "WWW-Authenticate",
    "x-amzn-RequestId",
    "x-amz-apigw-id",
];

/// The name under which a field goes to the client.
pub(crate) fn remapped(name: &str) -> Cow<'_, str> {
    if REMAPPED.iter().any(|other| other.eq_ignore_ascii_case(name)) {
        Cow::Owned(format!("x-amzn-Remapped-{name}"))
    } else {
        Cow::Borrowed(name)
    }
}

/// Makes the method response.
///
/// # Errors
/// 500 where no integration response takes the outcome, or the one that does names a status the method does not have.
pub(crate) fn response(returned: Returned, envelope: &Envelope) -> Result<Answer, Rejection> {
    match returned.outcome() {
        Outcome::Mock(status) => mapped(&returned, *status, envelope),
        Outcome::Proxy(_) => Ok(proxied(returned, envelope)),
    }
}

/// The refusal of a template that multiplies what it was given.
fn too_long() -> Rejection {
    Rejection::api_configuration(texts::TEMPLATE_TOO_LONG)
}

fn mapped(returned: &Returned, backend_status: u16, envelope: &Envelope) -> Result<Answer, Rejection> {
    let authorized = returned.authorized();
    let Integration::Mock(mock) = &authorized.matched().method().integration else {
        return Err(Rejection::api_configuration(texts::INVALID_ENDPOINT));
    };
    let response = mock
        .responses()
        .choose(backend_status)
        .ok_or_else(|| Rejection::api_configuration(&texts::no_output_mapping(backend_status)))?;
    if !response.declared {
        return Err(Rejection::api_configuration(&texts::invalid_method_response(&response.status)));
    }
    let scope = scope(authorized, envelope);
    let (media, body) = match response.template(mime(authorized.matched().arrived().headers.last("Accept"))) {
        Some((media, template)) => {
            let text = template.as_ref().map(|template| template.render(&scope).ok_or_else(too_long));
            (media.as_ref(), text.transpose()?.unwrap_or_default())
        }
        None => (JSON, Bytes::new()),
    };
    let mut answer = begin(response.code, body, response.headers.len() + 3);
    let mut bytes = 0;
    for (name, source) in &response.headers {
        let value = source.value(&scope);
        bytes += name.len() + value.len();
        if bytes > FIELDS_BYTES_MAX {
            break;
        }
        // What is no field value (a line break from a context value, say) is left out rather than sent.
        if !value.is_empty() && http::HeaderValue::from_bytes(value.as_bytes()).is_ok() {
            answer.headers.push((Cow::Owned(name.to_string()), Cow::Owned(value.into_owned())));
        }
    }
    let typed = answer.header("Content-Type").is_some();
    if !typed {
        let media: Text = if media == JSON { Cow::Borrowed(JSON) } else { Cow::Owned(media.to_owned()) };
        answer.headers.insert(0, ("Content-Type".into(), media));
    }
    finish(&mut answer, envelope);
    Ok(answer)
}

fn proxied(returned: Returned, envelope: &Envelope) -> Answer {
    let trace = event::trace_id(&returned.authorized().matched().arrived().headers, envelope);
    let Outcome::Proxy(proxy) = returned.into_outcome() else { return begin(500, Bytes::new(), 0) };
    let mut answer = begin(proxy.status, proxy.body, proxy.headers.len() + 4);
    if !proxy.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("Content-Type")) {
        answer.headers.push(("Content-Type".into(), JSON.into()));
    }
    for (name, value) in proxy.headers {
        let name = match remapped(&name) {
            Cow::Owned(name) => name,
            Cow::Borrowed(_) => name,
        };
        answer.headers.push((name.into(), value.into()));
    }
    finish(&mut answer, envelope);
    // A function's own fields of these names would pass for the gateway's.
    let own = |name: &str| ["X-Amzn-Trace-Id", crate::DECISION_HEADER].iter().any(|own| own.eq_ignore_ascii_case(name));
    answer.headers.retain(|(name, _)| !own(name));
    answer.headers.push(("X-Amzn-Trace-Id".into(), trace.into()));
    answer
}

fn begin(status: u16, body: Bytes, fields: usize) -> Answer {
    Answer { status, headers: Vec::with_capacity(fields), body, refusal: None, causes: Vec::new(), decision: None }
}

/// The ids every answer carries.
fn finish(answer: &mut Answer, envelope: &Envelope) {
    answer.headers.push(("x-amzn-RequestId".into(), envelope.request_id().to_owned().into()));
    answer.headers.push(("x-amz-apigw-id".into(), envelope.extended_id().to_owned().into()));
}
