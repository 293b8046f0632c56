//! Identity sources of authorizers.
//!
//! Source: API Gateway Developer Guide, "Configure an API Gateway Lambda authorizer"; API Reference, "Authorizer".

/// One expression of an `identitySource`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IdentitySource {
    /// `method.request.header.{name}`; compared without case.
    Header(String),
    /// `method.request.querystring.{name}`; the case counts.
    QueryString(String),
    /// `method.request.multivalueheader.{name}`.
    MultiValueHeader(String),
    /// `method.request.multivaluequerystring.{name}`.
    MultiValueQueryString(String),
    /// `stageVariables.{name}`.
    StageVariable(String),
    /// `context.{path}`.
    Context(String),
}

/// An expression that is none of the above, as it was written. Path parameters are among them on AWS too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid(pub String);

impl IdentitySource {
    /// Parses a whole `identitySource`: expressions separated by commas, blanks around them allowed. The order is kept,
    /// since it is part of the cache key. An empty text has no expression.
    ///
    /// # Errors
    /// [`Invalid`] holds the first expression that is not understood.
    pub fn parse(text: &str) -> Result<Vec<Self>, Invalid> {
        if text.trim().is_empty() {
            return Ok(Vec::new());
        }
        text.split(',').map(|expression| Self::expression(expression.trim())).collect()
    }

    fn expression(text: &str) -> Result<Self, Invalid> {
        type Kind = (&'static str, fn(String) -> IdentitySource);
        const KINDS: [Kind; 6] = [
            ("method.request.header.", IdentitySource::Header),
            ("method.request.querystring.", IdentitySource::QueryString),
            ("method.request.multivalueheader.", IdentitySource::MultiValueHeader),
            ("method.request.multivaluequerystring.", IdentitySource::MultiValueQueryString),
            ("stageVariables.", IdentitySource::StageVariable),
            ("context.", IdentitySource::Context),
        ];
        KINDS
            .iter()
            .find_map(|(prefix, kind)| {
                let name = text.strip_prefix(prefix)?;
                let named = !name.is_empty() && name.chars().all(|c| c.is_ascii_graphic());
                named.then(|| kind(name.to_owned()))
            })
            .ok_or_else(|| Invalid(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::{IdentitySource, Invalid};

    #[test]
    fn sources_parse_in_order_with_blanks_around_them() {
        let text = "method.request.header.Auth , method.request.querystring.Name,stageVariables.S,\tcontext.identity.\
         sourceIp,\
                    method.request.multivalueheader.H,method.request.multivaluequerystring.Q";
        assert_eq!(
            IdentitySource::parse(text),
            Ok(vec![
                IdentitySource::Header("Auth".into()),
                IdentitySource::QueryString("Name".into()),
                IdentitySource::StageVariable("S".into()),
                IdentitySource::Context("identity.sourceIp".into()),
                IdentitySource::MultiValueHeader("H".into()),
                IdentitySource::MultiValueQueryString("Q".into()),
            ])
        );
        assert_eq!(IdentitySource::parse("  "), Ok(vec![]));
    }

    #[test]
    fn everything_else_is_invalid() {
        for (text, found) in [
            ("method.request.path.id", "method.request.path.id"),
            ("method.request.header.", "method.request.header."),
            ("method.request.header.a b", "method.request.header.a b"),
            ("method.request.header.A,,context.x", ""),
            ("Authorization", "Authorization"),
            ("context.", "context."),
        ] {
            assert_eq!(IdentitySource::parse(text), Err(Invalid(found.into())), "{text}");
        }
    }
}
