//! Patterns for ARNs: in the `Resource` element and under the ARN operators.

use std::cell::OnceCell;

use crate::arn::split_six;
use crate::error::Detail;
use crate::template::{Syntax, Template, Token, tokens};
use crate::wildcard::{Pattern, literal_head};
use crate::{Context, ParseError};

/// The request's resource, cut once for all the patterns it is held against.
#[derive(Debug, Clone)]
pub(crate) struct Cut<'a> {
    text: &'a str,
    /// Only few patterns need it.
    six: OnceCell<Option<[&'a str; 6]>>,
}

impl<'a> Cut<'a> {
    pub(crate) fn new(text: &'a str) -> Cut<'a> {
        Cut { text, six: OnceCell::new() }
    }

    pub(crate) fn text(&self) -> &'a str {
        self.text
    }

    fn six(&self) -> Option<[&'a str; 6]> {
        *self.six.get_or_init(|| split_six(self.text))
    }
}

/// One entry of a `Resource` or `NotResource` element.
#[derive(Debug, Clone)]
pub(crate) enum ResourcePattern {
    /// `*`.
    Any,
    /// Six parts, the first five without wildcards: kept as one text that ends in a colon.
    Rooted { head: Box<str>, resource: Template },
    /// Six parts, some of the first five with wildcards.
    Parts { parts: Box<[Pattern; 5]>, resource: Template },
    /// Fewer than six parts, the last ending in `*`: it swallows whatever is left of the value.
    Short { parts: Box<[Pattern]>, last: Pattern },
    /// Fewer than six parts and no `*` at the end.
    Never,
}

impl ResourcePattern {
    /// Reads one entry; variables stand in the sixth part only.
    pub(crate) fn parse(text: &str, variables: bool) -> Result<ResourcePattern, ParseError> {
        if text == "*" {
            return Ok(ResourcePattern::Any);
        }
        let Some([a, b, c, d, e, resource]) = split_six(text) else {
            return Ok(ResourcePattern::short(text));
        };
        if variables && [a, b, c, d, e].iter().any(|part| part.contains("${")) {
            return Err(ParseError::InvalidVariable(Detail::new(text)));
        }
        let resource = Template::parse(resource, Syntax { wildcards: true, variables })?;
        if [a, b, c, d, e].iter().any(|part| part.contains(['*', '?'])) {
            let parts = Box::new([a, b, c, d, e].map(Pattern::wildcards));
            return Ok(ResourcePattern::Parts { parts, resource });
        }
        let head = format!("{a}:{b}:{c}:{d}:{e}:").into_boxed_str();
        Ok(ResourcePattern::Rooted { head, resource })
    }

    fn short(text: &str) -> ResourcePattern {
        if !text.ends_with('*') {
            return ResourcePattern::Never;
        }
        let (before, last) = text.rsplit_once(':').map_or((None, text), |(before, last)| (Some(before), last));
        let parts = before.into_iter().flat_map(|before| before.split(':')).map(Pattern::wildcards).collect();
        ResourcePattern::Short { parts, last: Pattern::wildcards(last) }
    }

    /// What every matching value starts with; `None` if no value matches.
    pub(crate) fn head<'t>(&self, text: &'t str) -> Option<&'t str> {
        match self {
            ResourcePattern::Never => None,
            ResourcePattern::Any => Some(""),
            _ => Some(literal_head(text)),
        }
    }

    /// Whether the value matches; `None` if a variable cannot be resolved.
    pub(crate) fn matches(&self, value: &Cut<'_>, context: &Context) -> Option<bool> {
        match self {
            ResourcePattern::Any => Some(true),
            ResourcePattern::Never => Some(false),
            ResourcePattern::Rooted { head, resource } => match value.text.strip_prefix(&**head) {
                Some(rest) => resource.matches(rest, context),
                None => Some(false),
            },
            ResourcePattern::Parts { parts, resource } => {
                let Some([a, b, c, d, e, rest]) = value.six() else { return Some(false) };
                let fits = parts.iter().zip([a, b, c, d, e]).all(|(pattern, part)| pattern.matches(part));
                if fits { resource.matches(rest, context) } else { Some(false) }
            }
            ResourcePattern::Short { parts, last } => {
                let mut rest = value.text;
                for pattern in parts {
                    match rest.split_once(':') {
                        Some((part, after)) if pattern.matches(part) => rest = after,
                        _ => return Some(false),
                    }
                }
                Some(last.matches(rest))
            }
        }
    }
}

/// One value of an ARN operator.
#[derive(Debug, Clone)]
pub(crate) struct ArnPattern {
    /// `None`: the text is no ARN pattern and matches nothing.
    parts: Option<Box<[Template; 6]>>,
}

impl ArnPattern {
    /// Cuts at the first five colons that do not belong to a variable.
    pub(crate) fn parse(text: &str, variables: bool) -> Result<ArnPattern, ParseError> {
        let tokens = tokens(text, Syntax { wildcards: true, variables })?;
        if !text.starts_with("arn:") {
            return Ok(ArnPattern { parts: None });
        }
        let mut parts: Vec<Vec<Token>> = vec![Vec::new()];
        for token in tokens {
            let Token::Text(text) = &token else {
                push(&mut parts, token);
                continue;
            };
            let mut rest: &str = text;
            while parts.len() < 6
                && let Some((part, after)) = rest.split_once(':')
            {
                push(&mut parts, Token::Text(part.into()));
                parts.push(Vec::new());
                rest = after;
            }
            push(&mut parts, Token::Text(rest.into()));
        }
        let parts: Vec<Template> = parts.into_iter().map(Template::from_tokens).collect();
        Ok(ArnPattern { parts: <[Template; 6]>::try_from(parts).ok().map(Box::new) })
    }

    /// Whether the value is an ARN that matches part by part.
    pub(crate) fn matches(&self, value: &str, context: &Context) -> bool {
        match (&self.parts, split_six(value)) {
            (Some(parts), Some(values)) => {
                value.starts_with("arn:")
                    && parts.iter().zip(values).all(|(part, value)| part.matches(value, context) == Some(true))
            }
            _ => false,
        }
    }
}

fn push(parts: &mut [Vec<Token>], token: Token) {
    if let Some(part) = parts.last_mut() {
        part.push(token);
    }
}
