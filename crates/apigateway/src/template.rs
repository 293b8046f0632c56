//! Mapping templates, as far as they are understood yet: text with `$context` and `$stageVariables` in it.
//!
//! API Gateway's templates are Velocity. Until there is an engine for it, a template may hold literal text and the two
//! kinds of reference that need none; a directive or any other reference is refused when the template is set, so that
//! nothing is ever rendered otherwise than AWS would.
//!
//! Sources: API Gateway Developer Guide, "Mapping template transformations for REST APIs in API Gateway"; Apache
//! Velocity, "VTL Reference".

/// A template, parsed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Template {
    segments: Vec<Segment>,
}

/// A piece of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Segment {
    /// Text to be copied.
    Literal(String),
    /// `$context.{path}` or `${context.{path}}`: the path, such as `identity.sourceIp`.
    Context(String),
    /// `$stageVariables.{name}` or `${stageVariables.{name}}`: the name.
    StageVariable(String),
}

/// What a template asks for and is not understood yet, as it stands in the template: `#set`, `$input`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsupported(pub String);

impl Template {
    /// Parses a template in one pass over its text.
    ///
    /// # Errors
    /// [`Unsupported`] names the first directive, comment, escape or reference other than the two kinds above. A `$` or
    /// `#` that Velocity itself takes for text (`$5`, `# `, a lone one) is text.
    pub fn parse(text: &str) -> Result<Self, Unsupported> {
        let mut segments = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some((before, from)) = rest.find(['$', '#', '\\']).and_then(|at| rest.split_at_checked(at)) {
            literal.push_str(before);
            let (segment, after) = if let Some(after) = from.strip_prefix('#') {
                check_hash(after)?;
                (None, after)
            } else if let Some(after) = from.strip_prefix('\\') {
                check_escape(after)?;
                (None, after)
            } else {
                reference(from)?
            };
            match segment {
                Some(segment) => {
                    if !literal.is_empty() {
                        segments.push(Segment::Literal(std::mem::take(&mut literal)));
                    }
                    segments.push(segment);
                }
                // One character of text: whatever stood between `from` and `after`.
                None => literal.push_str(from.strip_suffix(after).unwrap_or_default()),
            }
            rest = after;
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            segments.push(Segment::Literal(literal));
        }
        Ok(Self { segments })
    }

    /// The pieces in order; no two literals stand side by side, and none is empty.
    #[must_use]
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The whole text, when nothing in it depends on the request.
    #[must_use]
    pub fn literal(&self) -> Option<&str> {
        match self.segments.as_slice() {
            [] => Some(""),
            [Segment::Literal(text)] => Some(text),
            _ => None,
        }
    }
}

/// Refuses what Velocity reads as a directive, a block or a comment.
fn check_hash(after: &str) -> Result<(), Unsupported> {
    match after.chars().next() {
        Some(c) if c.is_ascii_alphabetic() || matches!(c, '{' | '#' | '*' | '@' | '[') => {
            let word: String = after.chars().take(32).take_while(|c| c.is_ascii_alphanumeric()).collect();
            Err(Unsupported(if word.is_empty() { format!("#{c}") } else { format!("#{word}") }))
        }
        _ => Ok(()),
    }
}

/// A backslash escapes a reference or a directive in Velocity, under rules that depend on what is defined.
fn check_escape(after: &str) -> Result<(), Unsupported> {
    match after.trim_start_matches('\\').chars().next() {
        Some(c @ ('$' | '#')) => Err(Unsupported(format!("\\{c}"))),
        _ => Ok(()),
    }
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '-'
}

/// What stands at a `$`: a reference, or `None` and one character of text.
fn reference(from: &str) -> Result<(Option<Segment>, &str), Unsupported> {
    let after = from.strip_prefix('$').unwrap_or(from);
    let (formal, body) = match after.strip_prefix('{') {
        Some(body) => (true, body),
        None => (false, after),
    };
    let begins = body.chars().next();
    if !formal && !begins.is_some_and(|c| c.is_ascii_alphabetic() || c == '_' || c == '!') {
        return Ok((None, after));
    }
    let dotted = dotted_length(body);
    let (name, tail) = body.split_at_checked(dotted).unwrap_or((body, ""));
    let unsupported = || Unsupported(excerpt(from));
    let tail = if formal { tail.strip_prefix('}').ok_or_else(unsupported)? } else { tail };
    // A method call or an index goes on from here, except behind the closing brace, where Velocity prints text.
    if !formal && tail.starts_with(['(', '[']) {
        return Err(unsupported());
    }
    let (root, path) = name.split_once('.').ok_or_else(unsupported)?;
    match root {
        "context" => Ok((Some(Segment::Context(path.to_owned())), tail)),
        "stageVariables" if !path.contains('.') => Ok((Some(Segment::StageVariable(path.to_owned())), tail)),
        _ => Err(unsupported()),
    }
}

/// Bytes of `name(.name)*` at the beginning; a dot that no name follows is text.
fn dotted_length(body: &str) -> usize {
    let mut length = 0usize;
    loop {
        let rest = body.get(length..).unwrap_or_default();
        let (dot, name) = match rest.strip_prefix('.') {
            Some(name) if length > 0 => (1, name),
            _ if length == 0 => (0, rest),
            _ => return length,
        };
        if !name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
            return length;
        }
        let bytes = name.find(|c| !is_name(c)).unwrap_or(name.len());
        length = length.saturating_add(dot).saturating_add(bytes);
    }
}

/// The reference as it stands in the template, cut to a line's length.
fn excerpt(from: &str) -> String {
    let word: String = from
        .chars()
        .take(64)
        .enumerate()
        .take_while(|(at, c)| *at == 0 || is_name(*c) || matches!(c, '.' | '{' | '!'))
        .map(|(_, c)| c)
        .collect();
    word
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Segment, Template, Unsupported};

    fn literal(text: &str) -> Segment {
        Segment::Literal(text.into())
    }

    fn context(path: &str) -> Segment {
        Segment::Context(path.into())
    }

    fn variable(name: &str) -> Segment {
        Segment::StageVariable(name.into())
    }

    #[test]
    fn templates_split_into_text_and_references() {
        let cases: &[(&str, &[Segment])] = &[
            ("", &[]),
            (r#"{"statusCode": 200}"#, &[literal(r#"{"statusCode": 200}"#)]),
            ("$context.requestId", &[context("requestId")]),
            ("a $context.identity.sourceIp.", &[literal("a "), context("identity.sourceIp"), literal(".")]),
            ("${context.stage}x", &[context("stage"), literal("x")]),
            ("${stageVariables.url}(1)", &[variable("url"), literal("(1)")]),
            ("\"$stageVariables.a\"$context.b", &[literal("\""), variable("a"), literal("\""), context("b")]),
            ("costs $5, #1, 100$ or # of $$", &[literal("costs $5, #1, 100$ or # of $$")]),
            ("$$context.a", &[literal("$"), context("a")]),
            (r#"{"a": "\n\"\\"}"#, &[literal(r#"{"a": "\n\"\\"}"#)]),
            ("é$context.x é", &[literal("é"), context("x"), literal(" é")]),
        ];
        for (text, segments) in cases {
            assert_eq!(Template::parse(text).expect(text).segments(), *segments, "{text}");
        }
    }

    #[test]
    fn everything_else_of_velocity_is_refused_by_name() {
        let cases = [
            ("#set($x = 1)", "#set"),
            ("a #if($context.x) b #end", "#if"),
            ("#{if}(true)", "#{"),
            ("## note", "##"),
            ("#* note *#", "#*"),
            ("#[[raw]]#", "#["),
            ("$input.json('$')", "$input.json"),
            ("$util.escapeJavaScript('x')", "$util.escapeJavaScript"),
            ("${input.body}", "${input.body"),
            ("$!context.x", "$!context.x"),
            ("$!{context.x}", "$!{context.x"),
            ("$context", "$context"),
            ("$context.x.length()", "$context.x.length"),
            ("$stageVariables['a']", "$stageVariables"),
            ("$stageVariables.a.b", "$stageVariables.a.b"),
            ("${context.x|'none'}", "${context.x"),
            ("$foo", "$foo"),
            ("\\$context.x", "\\$"),
            ("\\\\#set", "\\#"),
            ("${", "${"),
        ];
        for (text, found) in cases {
            assert_eq!(Template::parse(text), Err(Unsupported(found.into())), "{text}");
        }
    }

    #[test]
    fn a_template_without_references_has_its_text() {
        assert_eq!(Template::parse("").expect("empty").literal(), Some(""));
        assert_eq!(Template::parse("{}").expect("text").literal(), Some("{}"));
        assert_eq!(Template::parse("$context.x").expect("reference").literal(), None);
    }

    proptest! {
        #[test]
        fn text_without_velocity_signs_is_kept(text in "[^$#\\\\]{0,200}") {
            let template = Template::parse(&text).expect("plain text");
            prop_assert_eq!(template.literal(), Some(text.as_str()));
        }

        #[test]
        fn whatever_parses_prints_back(text in "[$#{}\\\\.a-c!\\[( \
         é]{0,40}|([$][{]?(context|stageVariables)[.]a[}]?){0,4}") {
            if let Ok(template) = Template::parse(&text) {
                let mut printed = String::new();
                for segment in template.segments() {
                    match segment {
                        Segment::Literal(text) => printed.push_str(text),
                        Segment::Context(path) => printed.push_str(&format!("$context.{path}")),
                        Segment::StageVariable(name) => printed.push_str(&format!("$stageVariables.{name}")),
                    }
                }
                prop_assert_eq!(printed, text.replace("${context.a}", "$context.a").replace("${stageVariables.\
                 a}", "$stageVariables.a"));
            }
        }
    }
}
