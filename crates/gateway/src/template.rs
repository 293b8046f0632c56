//! Mapping templates of this version: literal text, `$context.*` and `$stageVariables.*`, nothing else.
//!
//! The control plane refuses richer templates. One that got here all the same does not compile, and its method is
//! refused rather than answered wrongly.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::context::{Scope, Variable};

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
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['$', '#']) {
            let (before, from) = rest.split_at(at);
            literal.push_str(before);
            let after = &from[1..];
            // An escape: what it means depends on what is defined, which only a template engine knows.
            if before.ends_with('\\') {
                return Err(format!("the escape before `{}` is not supported", excerpt(from)));
            }
            if from.starts_with('#') {
                if after.starts_with(|c: char| c.is_ascii_alphabetic() || "#*@[{".contains(c)) {
                    return Err(format!("the directive at `{}` is not supported", excerpt(from)));
                }
                literal.push('#');
                rest = after;
                continue;
            }
            match reference(after) {
                None if after.starts_with(|c: char| c.is_ascii_alphabetic() || "_!{".contains(c)) => {
                    return Err(format!("the reference at `{}` is not supported", excerpt(from)));
                }
                None => {
                    literal.push('$');
                    rest = after;
                }
                Some((Reference::StageVariable(name), left)) => {
                    literal.push_str(variables.get(name).map(String::as_str).unwrap_or_default());
                    rest = left;
                }
                Some((Reference::Context(path), left)) => {
                    parts.push(Part::Text(std::mem::take(&mut literal).into()));
                    parts.push(Part::Variable(Variable::parse(path)));
                    rest = left;
                }
            }
        }
        literal.push_str(rest);
        if parts.is_empty() {
            return Ok(Self::Constant(Bytes::from(literal)));
        }
        parts.push(Part::Text(literal.into()));
        Ok(Self::Parts(parts))
    }

    /// The text for one request.
    pub(crate) fn render(&self, scope: &Scope<'_>) -> Bytes {
        let parts = match self {
            Self::Constant(text) => return text.clone(),
            Self::Parts(parts) => parts,
        };
        let mut out = String::new();
        for part in parts {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Variable(variable) => out.push_str(&variable.value(scope)),
            }
        }
        Bytes::from(out)
    }
}

enum Reference<'a> {
    Context(&'a str),
    StageVariable(&'a str),
}

/// Reads a reference after its `$`, in the forms `context.a.b`, `{context.a.b}`, `!context.a.b` and `!{context.a.b}`.
fn reference(after: &str) -> Option<(Reference<'_>, &str)> {
    let bare = after.strip_prefix('!').unwrap_or(after);
    let (inner, braced) = match bare.strip_prefix('{') {
        Some(inner) => (inner, true),
        None => (bare, false),
    };
    let end = inner.find(|c: char| !(c.is_ascii_alphanumeric() || "._-".contains(c))).unwrap_or(inner.len());
    // A full stop that ends a sentence is not part of the reference.
    let name = inner[..end].trim_end_matches('.');
    let left = &inner[name.len()..];
    // A call or an index after the name would need a real template engine.
    let left = if braced { left.strip_prefix('}')? } else { left };
    if !braced && left.starts_with(['(', '[']) {
        return None;
    }
    if let Some(name) = name.strip_prefix("stageVariables.") {
        return (!name.is_empty()).then_some((Reference::StageVariable(name), left));
    }
    let path = name.strip_prefix("context.")?;
    // Overrides are written to, not read; their use needs directives anyway.
    (!path.is_empty()).then_some((Reference::Context(path), left))
}

fn excerpt(text: &str) -> String {
    text.chars().take(24).collect()
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
        assert_eq!(shape("$!{context.requestId}x").unwrap(), "<RequestId>x");
        assert_eq!(shape("$context.authorizer.tenant").unwrap(), "<Authorizer(\"tenant\")>");
    }

    #[test]
    fn what_needs_a_template_engine_does_not_compile() {
        for text in [
            "$input.body",
            "#set($x = 1)",
            "$util.escapeJavaScript('a')",
            "${context.stage",
            "## comment",
            "$context.stage.toUpperCase()",
            "#if(true)a#end",
            "\\$context.stage",
            "$stageVariables['env']",
            "$x",
            "#[[raw]]#",
            "$context",
            "$stageVariables.a-b.c(",
        ] {
            assert!(shape(text).is_err(), "{text}: {:?}", shape(text));
        }
    }
}
