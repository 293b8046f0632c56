//! Mapping templates of this version: literal text, `$context.*` and `$stageVariables.*`, nothing else.
//!
//! The control plane refuses richer templates. One that got here all the same does not compile, and its method is
//! refused rather than answered wrongly.

use std::collections::BTreeMap;

use apigateway::template::{Segment, Template as Parsed};
use bytes::Bytes;

use crate::context::{Scope, Variable};

/// The longest text a template may give for one request. A template can repeat what a client or an authorizer sent, so
/// its own size bounds nothing.
pub(crate) const RENDERED_BYTES_MAX: usize = 1 << 20;

/// A compiled template.
#[derive(Debug)]
pub(crate) enum Template {
    /// No variable of the request in it.
    Constant(Bytes),
    Parts(Vec<Part>),
}

#[derive(Debug)]
pub(crate) enum Part {
    Text(Box<str>),
    Variable(Variable),
}

impl Template {
    /// Compiles a template; stage variables are put in at once, since a program belongs to one stage.
    ///
    /// # Errors
    /// Says which construct this version does not know.
    pub(crate) fn compile(text: &str, variables: &BTreeMap<String, String>) -> Result<Self, String> {
        let parsed = Parsed::parse(text).map_err(|found| format!("`{}` in a template is not supported", found.0))?;
        let mut parts = Vec::new();
        let mut literal = String::new();
        for segment in parsed.segments() {
            match segment {
                Segment::Literal(text) => literal.push_str(text),
                Segment::StageVariable(name) => {
                    literal.push_str(variables.get(name).map(String::as_str).unwrap_or_default());
                }
                Segment::Context(path) => {
                    parts.push(Part::Text(std::mem::take(&mut literal).into()));
                    parts.push(Part::Variable(Variable::parse(path)));
                }
            }
        }
        if parts.is_empty() {
            return Ok(Self::Constant(Bytes::from(literal)));
        }
        parts.push(Part::Text(literal.into()));
        Ok(Self::Parts(parts))
    }

    /// The text for one request; `None` if it would be longer than [`RENDERED_BYTES_MAX`].
    pub(crate) fn render(&self, scope: &Scope<'_>) -> Option<Bytes> {
        let parts = match self {
            Self::Constant(text) => return Some(text.clone()),
            Self::Parts(parts) => parts,
        };
        let mut out = String::new();
        for part in parts {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Variable(variable) => out.push_str(&variable.value(scope)),
            }
            if out.len() > RENDERED_BYTES_MAX {
                return None;
            }
        }
        Some(Bytes::from(out))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{Part, Template};

    fn shape(text: &str) -> Result<String, String> {
        let variables = BTreeMap::from([("env".to_owned(), "prod".to_owned())]);
        Template::compile(text, &variables).map(|template| match template {
            Template::Constant(text) => format!("={}", String::from_utf8_lossy(&text)),
            Template::Parts(parts) => parts
                .iter()
                .map(|part| match part {
                    Part::Text(text) => text.to_string(),
                    Part::Variable(variable) => format!("<{variable:?}>"),
                })
                .collect(),
        })
    }

    #[test]
    fn literal_text_and_stage_variables_are_constant() {
        assert_eq!(shape(r#"{"statusCode": 200}"#).unwrap(), r#"={"statusCode": 200}"#);
        assert_eq!(shape("v=$stageVariables.env, ${stageVariables.env}!").unwrap(), "=v=prod, prod!");
        assert_eq!(shape("$stageVariables.none.").unwrap(), "=.");
        assert_eq!(shape("costs $5 or # 1").unwrap(), "=costs $5 or # 1");
        assert_eq!(shape("").unwrap(), "=");
    }

    #[test]
    fn context_references_are_variables() {
        assert_eq!(shape("a $context.stage. b").unwrap(), "a <Stage>. b");
        assert_eq!(shape("${context.requestId}x").unwrap(), "<RequestId>x");
        assert_eq!(shape("$context.authorizer.tenant").unwrap(), "<Authorizer(\"tenant\")>");
    }

    #[test]
    fn what_needs_a_template_engine_does_not_compile() {
        for text in ["$input.body", "#set($x = 1)", "${context.stage", "\\$context.stage", "$x", "$context"] {
            assert!(shape(text).is_err(), "{text}: {:?}", shape(text));
        }
    }
}
