//! Gateway responses: what a stage answers for each kind of refusal, customised.
//!
//! Lookup: a kind's own customisation, else that of DEFAULT_4XX or DEFAULT_5XX, else the built-in one. A kind with its
//! own takes what that leaves out from the built-in one, not from the defaults. There is no VTL here: references are
//! replaced, everything else is text.
//!
//! Source: API Gateway Developer Guide, "Gateway responses in API Gateway", "Set up gateway response customization".

use std::{borrow::Cow, collections::BTreeMap};

use apigateway::gateway_response::GatewayResponse as Record;

use crate::{
    context::{Scope, Variable},
    event::query,
    reject::ResponseType,
    template::RENDERED_BYTES_MAX,
};

/// The customised responses of a stage.
#[derive(Debug, Default)]
pub(crate) struct GatewayResponses {
    customised: Vec<(ResponseType, GatewayResponse)>,
}

/// One customised response, compiled.
#[derive(Debug)]
pub(crate) struct GatewayResponse {
    /// `None`: the built-in status.
    pub(crate) status: Option<u16>,
    pub(crate) headers: Vec<(Box<str>, Piece)>,
    /// By media type; empty: the built-in body.
    pub(crate) templates: Vec<(Box<str>, Vec<Piece>)>,
}

/// A piece of a template, or the source of a header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Piece {
    Text(Box<str>),
    Variable(Variable),
    Header(Box<str>),
    QueryString(Box<str>),
    Path(Box<str>),
}

impl GatewayResponses {
    /// Compiles what a deployment froze. A response of an unknown kind or form is left out: the refusal it would dress
    /// is answered in the built-in form, which gives nothing away.
    pub(crate) fn compile(records: &[Record], variables: &BTreeMap<String, String>) -> Self {
        let customised = records.iter().filter_map(|record| {
            let kind = ResponseType::ALL.into_iter().find(|kind| kind.name() == record.response_type)?;
            Some((kind, GatewayResponse::compile(record, variables)))
        });
        Self { customised: customised.collect() }
    }

    /// The customisation that dresses a refusal of that kind.
    pub(crate) fn find(&self, kind: ResponseType) -> Option<&GatewayResponse> {
        let own = |kind| self.customised.iter().find(|(own, _)| *own == kind).map(|(_, response)| response);
        own(kind)
            .or_else(|| own(if kind.status() >= 500 { ResponseType::Default5xx } else { ResponseType::Default4xx }))
    }
}

impl GatewayResponse {
    fn compile(record: &Record, variables: &BTreeMap<String, String>) -> Self {
        let status = record.status_code.as_deref().and_then(|code| code.parse().ok());
        let headers = record.response_parameters.iter().filter_map(|(target, source)| {
            let name = target.strip_prefix("gatewayresponse.header.")?;
            let sound = http::HeaderName::from_bytes(name.as_bytes()).is_ok();
            // The field of this name says which decision an answer rests on; it is the gateway's alone to write.
            let free = !name.eq_ignore_ascii_case(crate::DECISION_HEADER);
            if !sound || !free {
                return None;
            }
            Some((name.into(), Piece::source(source, variables)?))
        });
        let templates = &record.response_templates;
        Self {
            status: status.filter(|status| (200..=599).contains(status)),
            headers: headers.collect(),
            templates: templates.iter().map(|(media, text)| (media.as_str().into(), pieces(text, variables))).collect(),
        }
    }

    /// Media type and body for a client that accepts `accept`, where a template is set and gives no more than
    /// [`RENDERED_BYTES_MAX`].
    pub(crate) fn body(&self, accept: &str, scope: &Scope<'_>) -> Option<(&str, String)> {
        const JSON: &str = "application/json";
        let of = |media: &str| self.templates.iter().find(|(own, _)| own.eq_ignore_ascii_case(media));
        let (media, pieces) = of(accept).or_else(|| of(JSON)).or_else(|| self.templates.first())?;
        let mut body = String::with_capacity(128);
        for piece in pieces {
            body.push_str(&piece.value(scope));
            if body.len() > RENDERED_BYTES_MAX {
                return None;
            }
        }
        Some((media, body))
    }
}

impl Piece {
    /// A header's source: `'literal'`, `method.request.*`, `context.*`, `stageVariables.*`.
    fn source(text: &str, variables: &BTreeMap<String, String>) -> Option<Self> {
        if let Some(literal) = text.strip_prefix('\'').and_then(|text| text.strip_suffix('\'')) {
            return Some(Self::Text(literal.into()));
        }
        Self::reference(text, variables)
    }

    /// What stands behind the `$` of a template.
    fn reference(path: &str, variables: &BTreeMap<String, String>) -> Option<Self> {
        let (root, rest) = path.split_once('.')?;
        if rest.is_empty() {
            return None;
        }
        match root {
            "context" => Some(Self::Variable(Variable::parse(rest))),
            "stageVariables" => Some(Self::Text(variables.get(rest).map(String::as_str).unwrap_or_default().into())),
            "method" => {
                let (place, name) = rest.strip_prefix("request.")?.split_once('.')?;
                match place {
                    "header" => Some(Self::Header(name.into())),
                    "querystring" => Some(Self::QueryString(name.into())),
                    "path" => Some(Self::Path(name.into())),
                    _ => None,
                }
            }
            _ => None,
        }
    }

    /// The piece's text for one request; empty where there is none.
    pub(crate) fn value<'a>(&'a self, scope: &Scope<'a>) -> Cow<'a, str> {
        let arrived = scope.matched.arrived();
        match self {
            Self::Text(text) => Cow::Borrowed(text),
            Self::Variable(variable) => variable.value(scope),
            Self::Header(name) => Cow::Borrowed(arrived.headers.last(name).unwrap_or_default()),
            Self::QueryString(name) => {
                let pairs = query(arrived.raw_query.as_deref().unwrap_or_default());
                pairs.filter(|(own, _)| own == name.as_ref()).last().map(|(_, value)| value).unwrap_or_default()
            }
            Self::Path(name) => {
                let found = scope.matched.parameters().find(|(own, _)| *own == name.as_ref());
                Cow::Borrowed(found.map(|(_, value)| value).unwrap_or_default())
            }
        }
    }
}

/// Splits a template at its references; a `$` that begins none is text.
fn pieces(text: &str, variables: &BTreeMap<String, String>) -> Vec<Piece> {
    let mut out: Vec<Piece> = Vec::new();
    let mut literal = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        literal.push_str(before);
        let (inner, closing) = match after.strip_prefix('{') {
            Some(inner) => (inner, 1),
            None => (after, 0),
        };
        let end = inner.find(|c: char| !(c.is_ascii_alphanumeric() || "._-".contains(c))).unwrap_or(inner.len());
        let path = inner[..end].trim_end_matches(['.', '-']);
        let closed = closing == 0 || inner[path.len()..].starts_with('}');
        match Piece::reference(path, variables).filter(|_| closed) {
            Some(piece) => {
                if !literal.is_empty() {
                    out.push(Piece::Text(std::mem::take(&mut literal).into()));
                }
                out.push(piece);
                rest = &inner[path.len() + closing..];
            }
            None => {
                literal.push('$');
                rest = after;
            }
        }
    }
    literal.push_str(rest);
    if !literal.is_empty() {
        out.push(Piece::Text(literal.into()));
    }
    out
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use apigateway::gateway_response::GatewayResponse as Record;

    use super::{GatewayResponse, Piece, pieces};
    use crate::context::Variable;

    #[test]
    fn the_decisions_field_is_not_a_tenants_to_write() {
        let literal = |name: &str| (format!("gatewayresponse.header.{name}"), "'x'".to_owned());
        let record = Record {
            response_type: "UNAUTHORIZED".to_owned(),
            status_code: None,
            response_parameters: ["X-Own", "X-Portcullis-Decision", "x-portcullis-decision"].map(literal).into(),
            response_templates: BTreeMap::new(),
        };
        let compiled = GatewayResponse::compile(&record, &BTreeMap::new());
        assert_eq!(compiled.headers, [("X-Own".into(), Piece::Text("x".into()))]);
    }

    #[test]
    fn references_are_found_and_all_else_is_text() {
        let variables = BTreeMap::from([("env".to_owned(), "prod".to_owned())]);
        let text = |text: &str| Piece::Text(text.into());
        let cases: &[(&str, Vec<Piece>)] = &[
            ("", vec![]),
            (
                r#"{"message":$context.error.messageString}"#,
                vec![text("{\"message\":"), Piece::Variable(Variable::ErrorMessageString), text("}")],
            ),
            ("$5 #set($x=1) $input", vec![text("$5 #set($x=1) $input")]),
            ("${stageVariables.env}!", vec![text("prod"), text("!")]),
            ("$method.request.header.X-Id.", vec![Piece::Header("X-Id".into()), text(".")]),
            ("$method.request.path.id", vec![Piece::Path("id".into())]),
            ("${context.stage", vec![text("${context.stage")]),
            ("$context.", vec![text("$context.")]),
        ];
        for (template, expected) in cases {
            assert_eq!(&pieces(template, &variables), expected, "{template}");
        }
    }
}
