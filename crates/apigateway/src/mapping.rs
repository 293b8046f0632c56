//! Mapping expressions of response parameters.
//!
//! Source: API Gateway Developer Guide, "Parameter mapping source reference for REST APIs in API Gateway".

use service::{Result, ServiceError};

use crate::error::{bad_request, unsupported_value};

/// Where a mapped response header takes its value from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mapping {
    /// `'text'`, without the quotes.
    Literal(String),
    /// `context.{path}`.
    Context(String),
    /// `stageVariables.{name}`.
    StageVariable(String),
    /// `integration.response.header.{name}`; the name's case counts.
    Header(String),
}

/// Why an expression is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// Not an expression of AWS's.
    Invalid,
    /// One of AWS's that is not evaluated yet: a body, or all values of a header.
    Unsupported,
}

impl Mapping {
    /// Parses the right-hand side of a response parameter.
    ///
    /// # Errors
    /// [`Refused`] tells an unknown expression from one that is not evaluated yet.
    pub fn parse(expression: &str) -> std::result::Result<Self, Refused> {
        if let Some(text) = expression.strip_prefix('\'') {
            let text = text.strip_suffix('\'').ok_or(Refused::Invalid)?;
            // A header value with a line end in it would be two headers.
            if text.chars().any(char::is_control) {
                return Err(Refused::Invalid);
            }
            return Ok(Self::Literal(text.to_owned()));
        }
        let named =
            |prefix: &str| expression.strip_prefix(prefix).filter(|name| is_dotted_name(name)).map(str::to_owned);
        if let Some(path) = named("context.") {
            return Ok(Self::Context(path));
        }
        if let Some(name) = named("stageVariables.") {
            return Ok(Self::StageVariable(name));
        }
        if let Some(name) = named("integration.response.header.") {
            return Ok(Self::Header(name));
        }
        let body = expression.strip_prefix("integration.response.body");
        let known = named("integration.response.multivalueheader.").is_some()
            || body.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']));
        Err(if known { Refused::Unsupported } else { Refused::Invalid })
    }
}

pub(crate) fn is_dotted_name(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.!#$%&*+^`|~".contains(c))
}

/// As [`Mapping::parse`], with the answer a call gets.
pub(crate) fn check(member: &str, expression: &str) -> Result<()> {
    Mapping::parse(expression).map(drop).map_err(|refused| match refused {
        Refused::Invalid => invalid(expression),
        Refused::Unsupported => unsupported_value(&format!("The {member} source"), expression),
    })
}

pub(crate) fn invalid(expression: &str) -> ServiceError {
    bad_request(format!(
        "Invalid mapping expression specified: Validation Result: warnings : [], errors : [Invalid mapping expression \
         specified: {expression}]"
    ))
}

/// The header name of `method.response.header.{name}`.
pub(crate) fn response_header(parameter: &str) -> Option<&str> {
    parameter.strip_prefix("method.response.header.").filter(|name| is_header_name(name))
}

pub(crate) fn is_header_name(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.!#$%&'*+^`|~".contains(c))
}

/// AWS's text for a left-hand side that is none.
pub(crate) fn invalid_parameter(parameter: &str) -> ServiceError {
    bad_request(format!("Invalid mapping expression parameter specified: {parameter}"))
}

/// AWS's check of a template's or model's key.
pub(crate) fn check_content_type(content_type: &str) -> Result<()> {
    let mime = content_type.split(';').next().unwrap_or_default();
    let valid = mime
        .split_once('/')
        .is_some_and(|(kind, subtype)| is_header_name(kind.trim()) && is_header_name(subtype.trim()));
    if valid || content_type == "$default" {
        return Ok(());
    }
    Err(bad_request(format!(
        "Validation Result: warnings : [], errors : [Invalid content type specified: {content_type}]"
    )))
}

#[cfg(test)]
mod tests {
    use super::{Mapping, Refused, check_content_type, response_header};

    #[test]
    fn expressions_parse_to_their_source() {
        let cases = [
            ("'*'", Ok(Mapping::Literal("*".into()))),
            ("''", Ok(Mapping::Literal(String::new()))),
            ("'it's'", Ok(Mapping::Literal("it's".into()))),
            ("context.requestId", Ok(Mapping::Context("requestId".into()))),
            ("stageVariables.x", Ok(Mapping::StageVariable("x".into()))),
            ("integration.response.header.X-A", Ok(Mapping::Header("X-A".into()))),
            ("integration.response.body", Err(Refused::Unsupported)),
            ("integration.response.body.a[0]", Err(Refused::Unsupported)),
            ("integration.response.multivalueheader.X", Err(Refused::Unsupported)),
            ("integration.response.bodyguard", Err(Refused::Invalid)),
            ("'a\r\nb: c'", Err(Refused::Invalid)),
            ("'", Err(Refused::Invalid)),
            ("'a", Err(Refused::Invalid)),
            ("plain", Err(Refused::Invalid)),
            ("context.", Err(Refused::Invalid)),
            ("", Err(Refused::Invalid)),
        ];
        for (text, expected) in cases {
            assert_eq!(Mapping::parse(text), expected, "{text}");
        }
    }

    #[test]
    fn left_hand_sides_name_a_header() {
        assert_eq!(
            response_header("method.response.header.Access-Control-Allow-Origin"),
            Some("Access-Control-Allow-Origin")
        );
        for text in ["method.response.header.", "method.response.header.a b", "method.response.body", "x"] {
            assert_eq!(response_header(text), None, "{text}");
        }
    }

    #[test]
    fn content_types_have_two_halves() {
        for good in ["application/json", "application/json; charset=utf-8", "*/*", "$default"] {
            assert!(check_content_type(good).is_ok(), "{good}");
        }
        for bad in ["123", "", "/", "a/", "a b/c"] {
            assert!(check_content_type(bad).is_err(), "{bad}");
        }
    }
}
