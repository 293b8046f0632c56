//! Identity sources: where the caller's identity is looked for, and whether it is there.
//!
//! Source: API Gateway Developer Guide, "Configure a Lambda authorizer using the API Gateway console"; API Gateway API
//! Reference, "CreateAuthorizer".

use std::borrow::Cow;

use super::{Authorizer, Kind, cache::Refusal};
use crate::{
    context::{Scope, Variable},
    envelope::Envelope,
    event::query,
    route::Matched,
};

/// One compiled source.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// Name without case, last value.
    Header(Box<str>),
    MultiHeader(Box<str>),
    /// Exact name, last value.
    Query(Box<str>),
    MultiQuery(Box<str>),
    StageVariable(Box<str>),
    Context(Variable),
}

impl Source {
    fn header(name: &str) -> Self {
        Self::Header(name.into())
    }

    pub(super) fn is_header(&self) -> bool {
        matches!(self, Self::Header(_))
    }
}

/// Compiles a list of sources separated by commas; an empty text has none.
///
/// # Errors
/// Names the expression that is no source.
pub(super) fn compile(text: &str) -> Result<Vec<Source>, String> {
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    text.split(',').map(|expression| one(expression.trim())).collect()
}

fn one(expression: &str) -> Result<Source, String> {
    let kinds = [
        ("method.request.header.", Source::header as fn(&str) -> Source),
        ("method.request.multivalueheader.", |name| Source::MultiHeader(name.into())),
        ("method.request.querystring.", |name| Source::Query(name.into())),
        ("method.request.multivaluequerystring.", |name| Source::MultiQuery(name.into())),
        ("stageVariables.", |name| Source::StageVariable(name.into())),
        ("context.", |path| Source::Context(Variable::parse(path))),
    ];
    kinds
        .iter()
        .find_map(|(prefix, make)| expression.strip_prefix(prefix).filter(|name| !name.is_empty()).map(make))
        .ok_or_else(|| format!("`{expression}` is not an identity source"))
}

/// Who the caller says it is.
pub(super) struct Identity<'a> {
    /// Values in the order of the sources; several for the multi-value kinds.
    pub(super) values: Vec<Vec<Cow<'a, str>>>,
    /// For TOKEN: the header's value as the function gets it.
    pub(super) token: Option<Cow<'a, str>>,
}

/// Reads all sources.
///
/// # Errors
/// [`Refusal::Unauthorized`] if one is missing or empty, or if the token does not match its expression.
pub(super) fn check<'a>(
    authorizer: &'a Authorizer,
    matched: &'a Matched,
    envelope: &'a Envelope,
) -> Result<Identity<'a>, Refusal> {
    let scope = Scope { matched, envelope, granted: None };
    let mut values = Vec::with_capacity(authorizer.sources.len());
    for source in &authorizer.sources {
        let found = read(source, &scope);
        if found.is_empty() || found.iter().all(|value| value.is_empty()) {
            return Err(Refusal::Unauthorized);
        }
        values.push(found);
    }
    let token = match &authorizer.kind {
        Kind::Request => None,
        Kind::Token(expression) => {
            let token = values.first().and_then(|found| found.first()).ok_or(Refusal::Unauthorized)?;
            if expression.as_ref().is_some_and(|expression| !expression.is_match(token)) {
                return Err(Refusal::Unauthorized);
            }
            Some(token.clone())
        }
    };
    Ok(Identity { values, token })
}

fn read<'a>(source: &'a Source, scope: &Scope<'a>) -> Vec<Cow<'a, str>> {
    let arrived = scope.matched.arrived();
    let pairs = || query(arrived.raw_query.as_deref().unwrap_or_default());
    let one = |value: Option<Cow<'a, str>>| value.into_iter().collect::<Vec<_>>();
    match source {
        Source::Header(name) => one(arrived.headers.last(name).map(Cow::Borrowed)),
        Source::MultiHeader(name) => arrived.headers.all(name).map(Cow::Borrowed).collect(),
        Source::Query(name) => one(pairs().filter(|(own, _)| *own == **name).last().map(|(_, value)| value)),
        Source::MultiQuery(name) => pairs().filter(|(own, _)| *own == **name).map(|(_, value)| value).collect(),
        Source::StageVariable(name) => {
            one(scope.matched.program().variables().get(&**name).map(|value| Cow::Borrowed(value.as_str())))
        }
        Source::Context(variable) => one(Some(variable.value(scope))),
    }
}

#[cfg(test)]
mod tests {
    use super::{Source, compile};
    use crate::context::Variable;

    #[test]
    fn sources_keep_their_order_and_lose_their_blanks() {
        let sources = compile(
            "method.request.header.Auth, method.request.querystring.q , stageVariables.v,context.identity.sourceIp,\
             method.request.multivalueheader.M,method.request.multivaluequerystring.n",
        );
        let expected = vec![
            Source::Header("Auth".into()),
            Source::Query("q".into()),
            Source::StageVariable("v".into()),
            Source::Context(Variable::IdentitySourceIp),
            Source::MultiHeader("M".into()),
            Source::MultiQuery("n".into()),
        ];
        assert_eq!(sources, Ok(expected));
        assert_eq!(compile(" "), Ok(Vec::new()));
    }

    #[test]
    fn path_parameters_and_other_texts_are_no_sources() {
        for text in ["method.request.path.id", "Authorization", "method.request.header.", "context.stage,,", ","] {
            assert!(compile(text).is_err(), "{text}");
        }
    }
}
