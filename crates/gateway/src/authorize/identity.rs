//! Identity sources: where the caller's identity is looked for, and whether it is there.
//!
//! Source: API Gateway Developer Guide, "Configure a Lambda authorizer using the API Gateway console"; API Gateway API
//! Reference, "CreateAuthorizer".

use std::borrow::Cow;

use apigateway::identity_source::IdentitySource;

use super::{Authorizer, Kind};
use crate::{
    context::{Scope, Variable},
    envelope::Envelope,
    event::query,
    route::Matched,
};

/// One compiled source.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// What the request holds or the stage fixes.
    Named(IdentitySource),
    Context(Variable),
}

impl Source {
    pub(super) fn is_header(&self) -> bool {
        matches!(self, Self::Named(IdentitySource::Header(_)))
    }
}

/// The expression of a named source, as the API Reference spells it.
fn spelled(source: &Source) -> Box<str> {
    let Source::Named(source) = source else { return "context".into() };
    let (kind, name) = match source {
        IdentitySource::Header(name) => ("method.request.header", name),
        IdentitySource::QueryString(name) => ("method.request.querystring", name),
        IdentitySource::MultiValueHeader(name) => ("method.request.multivalueheader", name),
        IdentitySource::MultiValueQueryString(name) => ("method.request.multivaluequerystring", name),
        IdentitySource::StageVariable(name) => ("stageVariables", name),
        IdentitySource::Context(path) => ("context", path),
    };
    format!("{kind}.{name}").into()
}

/// Compiles a list of sources separated by commas; an empty text has none.
///
/// # Errors
/// Names the expression that is no source.
pub(super) fn compile(text: &str) -> Result<Vec<Source>, String> {
    let sources = IdentitySource::parse(text).map_err(|found| format!("`{}` is not an identity source", found.0))?;
    let compiled = sources.into_iter().map(|source| match source {
        IdentitySource::Context(path) => Source::Context(Variable::parse(&path)),
        other => Source::Named(other),
    });
    Ok(compiled.collect())
}

/// Who the caller says it is.
pub(super) struct Identity<'a> {
    /// Values in the order of the sources; several for the multi-value kinds.
    pub(super) values: Vec<Vec<Cow<'a, str>>>,
    /// For TOKEN: the header's value as the function gets it.
    pub(super) token: Option<Cow<'a, str>>,
}

/// Why there is no identity.
pub(super) enum Missing {
    /// This source has no value.
    Source(Box<str>),
    /// The token does not match the expression.
    Form { token: String, expression: Box<str> },
}

/// Reads all sources.
///
/// # Errors
/// [`Missing`] if one is missing or empty, or if the token does not match its expression.
pub(super) fn check<'a>(
    authorizer: &'a Authorizer,
    matched: &'a Matched,
    envelope: &'a Envelope,
) -> Result<Identity<'a>, Missing> {
    let scope = Scope::early(matched, envelope);
    let mut values = Vec::with_capacity(authorizer.sources.len());
    for source in &authorizer.sources {
        let found = read(source, &scope);
        if found.is_empty() || found.iter().all(|value| value.is_empty()) {
            return Err(Missing::Source(spelled(source)));
        }
        values.push(found);
    }
    let token = match &authorizer.kind {
        Kind::Request => None,
        Kind::Token(expression) => {
            let token = values.first().and_then(|found| found.first()).cloned().unwrap_or_default();
            if let Some(expression) = expression.as_ref().filter(|expression| !expression.is_match(&token)) {
                return Err(Missing::Form { token: token.into_owned(), expression: expression.as_str().into() });
            }
            Some(token)
        }
    };
    Ok(Identity { values, token })
}

fn read<'a>(source: &'a Source, scope: &Scope<'a>) -> Vec<Cow<'a, str>> {
    let arrived = scope.matched.arrived();
    let pairs = || query(arrived.raw_query.as_deref().unwrap_or_default());
    let one = |value: Option<Cow<'a, str>>| value.into_iter().collect::<Vec<_>>();
    let source = match source {
        Source::Context(variable) => return one(Some(variable.value(scope))),
        Source::Named(source) => source,
    };
    match source {
        IdentitySource::Header(name) => one(arrived.headers.last(name).map(Cow::Borrowed)),
        IdentitySource::MultiValueHeader(name) => arrived.headers.all(name).map(Cow::Borrowed).collect(),
        IdentitySource::QueryString(name) => one(pairs().filter(|(own, _)| own == name).last().map(|(_, value)| value)),
        IdentitySource::MultiValueQueryString(name) => {
            pairs().filter(|(own, _)| own == name).map(|(_, value)| value).collect()
        }
        IdentitySource::StageVariable(name) => {
            one(scope.matched.program().variables().get(name).map(|value| Cow::Borrowed(value.as_str())))
        }
        // Compiled to a variable.
        IdentitySource::Context(_) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use apigateway::identity_source::IdentitySource;

    use super::{Source, compile};
    use crate::context::Variable;

    #[test]
    fn context_paths_are_compiled_and_unknown_expressions_refused() {
        let sources = compile("method.request.header.Auth, context.identity.sourceIp");
        let expected =
            vec![Source::Named(IdentitySource::Header("Auth".to_owned())), Source::Context(Variable::IdentitySourceIp)];
        assert_eq!(sources, Ok(expected));
        assert_eq!(compile(" "), Ok(Vec::new()));
        assert!(compile("method.request.path.id").is_err());
    }
}
