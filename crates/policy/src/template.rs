//! Texts with policy variables: `${key}`, `${key, 'default'}`, and the escapes `${*}`, `${?}`, `${$}`.

use crate::error::Detail;
use crate::wildcard::{Pattern, Piece, pieces};
use crate::{Context, ParseError};

/// Which characters of a text are special.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Syntax {
    pub(crate) wildcards: bool,
    /// Only documents of version 2012-10-17 have variables.
    pub(crate) variables: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Token {
    Text(Box<str>),
    AnyRun,
    AnyOne,
    Variable(Variable),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Variable {
    key: Box<str>,
    default: Option<Box<str>>,
}

impl Variable {
    /// Reads what stands between the braces.
    fn parse(inner: &str) -> Option<Variable> {
        let (key, default) = match inner.split_once(',') {
            None => (inner, None),
            Some((key, default)) => {
                let default = default.trim().strip_prefix('\'')?.strip_suffix('\'')?;
                (key, Some(default.into()))
            }
        };
        let key = key.trim();
        let fits = !key.is_empty() && !key.contains(['{', '$', '*', '?', '\'']);
        fits.then(|| Variable { key: key.to_ascii_lowercase().into_boxed_str(), default })
    }

    /// The key's one value; the default if the key is absent. A multivalued key cannot be resolved.
    fn resolve<'a>(&'a self, context: &'a Context) -> Option<&'a str> {
        match context.get(&self.key) {
            Some(_) => context.single(&self.key),
            None => self.default.as_deref(),
        }
    }
}

/// Cuts a text into tokens.
///
/// # Errors
/// [`ParseError::InvalidVariable`] for a variable that is not closed or has no usable name.
pub(crate) fn tokens(text: &str, syntax: Syntax) -> Result<Vec<Token>, ParseError> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${").filter(|_| syntax.variables) {
        plain(before, syntax, &mut out);
        let invalid = || ParseError::InvalidVariable(Detail::new(text));
        let (inner, after) = after.split_once('}').ok_or_else(invalid)?;
        out.push(match inner {
            "*" | "?" | "$" => Token::Text(inner.into()),
            _ => Token::Variable(Variable::parse(inner).ok_or_else(invalid)?),
        });
        rest = after;
    }
    plain(rest, syntax, &mut out);
    Ok(out)
}

fn plain(text: &str, syntax: Syntax, out: &mut Vec<Token>) {
    if !syntax.wildcards {
        if !text.is_empty() {
            out.push(Token::Text(text.into()));
        }
        return;
    }
    out.extend(pieces(text).map(|piece| match piece {
        Piece::Text(text) => Token::Text(text.into()),
        Piece::AnyRun => Token::AnyRun,
        Piece::AnyOne => Token::AnyOne,
    }));
}

/// A pattern whose variables, if it has any, are filled in for each request.
#[derive(Debug, Clone)]
pub(crate) enum Template {
    Fixed(Pattern),
    /// INVARIANT: at least one token is a variable.
    Variable(Box<[Token]>),
}

impl Template {
    pub(crate) fn parse(text: &str, syntax: Syntax) -> Result<Template, ParseError> {
        tokens(text, syntax).map(Template::from_tokens)
    }

    pub(crate) fn from_tokens(tokens: Vec<Token>) -> Template {
        if tokens.iter().any(|token| matches!(token, Token::Variable(_))) {
            return Template::Variable(tokens.into_boxed_slice());
        }
        Template::Fixed(compile(&tokens, &Context::new()).unwrap_or_else(|| Pattern::wildcards("")))
    }

    /// Whether the value matches; `None` if a variable cannot be resolved, and then nothing matches.
    ///
    /// What a variable stands for is literal text: a `*` in a caller's name is a star and no wildcard.
    pub(crate) fn matches(&self, value: &str, context: &Context) -> Option<bool> {
        match self {
            Template::Fixed(pattern) => Some(pattern.matches(value)),
            Template::Variable(tokens) => compile(tokens, context).map(|pattern| pattern.matches(value)),
        }
    }
}

fn compile(tokens: &[Token], context: &Context) -> Option<Pattern> {
    let pieces: Option<Vec<Piece<'_>>> = tokens.iter().map(|token| piece(token, context)).collect();
    Some(Pattern::from_pieces(pieces?.into_iter()))
}

fn piece<'a>(token: &'a Token, context: &'a Context) -> Option<Piece<'a>> {
    Some(match token {
        Token::Text(text) => Piece::Text(text),
        Token::AnyRun => Piece::AnyRun,
        Token::AnyOne => Piece::AnyOne,
        Token::Variable(variable) => Piece::Text(variable.resolve(context)?),
    })
}

/// A text compared without case, its variables filled in for each request.
#[derive(Debug, Clone)]
pub(crate) struct FoldedText {
    tokens: Box<[Token]>,
}

impl FoldedText {
    pub(crate) fn parse(text: &str, variables: bool) -> Result<FoldedText, ParseError> {
        let tokens = tokens(text, Syntax { wildcards: false, variables })?;
        Ok(FoldedText { tokens: tokens.into_boxed_slice() })
    }

    pub(crate) fn matches(&self, value: &str, context: &Context) -> bool {
        let mut have = value.chars().flat_map(char::to_lowercase);
        for token in &self.tokens {
            let Some(Piece::Text(text)) = piece(token, context) else { return false };
            for want in text.chars().flat_map(char::to_lowercase) {
                if have.next() != Some(want) {
                    return false;
                }
            }
        }
        have.next().is_none()
    }
}
