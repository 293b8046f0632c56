//! MOCK: the rendered request template says which status it plays.
//!
//! Source: API Gateway Developer Guide, "Set up mock integrations in API Gateway".

use apigateway::{integration::Integration as IntegrationRecord, method::Method as Record};

use crate::{
    call::Origin,
    reject::Rejection,
    texts,
    transform::{Requests, Responses},
};

/// A MOCK integration, compiled.
#[derive(Debug)]
pub(crate) struct Mock {
    requests: Requests,
    responses: Responses,
}

impl Mock {
    pub(super) fn compile(
        record: &Record,
        integration: &IntegrationRecord,
        origin: &Origin<'_>,
    ) -> Result<Self, String> {
        Ok(Self { requests: Requests::compile(integration, origin)?, responses: Responses::compile(record, origin)? })
    }

    pub(crate) fn requests(&self) -> &Requests {
        &self.requests
    }

    pub(crate) fn responses(&self) -> &Responses {
        &self.responses
    }
}

/// The `statusCode` of a rendered template.
///
/// # Errors
/// 500 where there is none.
pub(super) fn status(text: &[u8]) -> Result<u16, Rejection> {
    let text = std::str::from_utf8(text).unwrap_or_default();
    Scan { rest: text }
        .status()
        .filter(|status| (200..=599).contains(status))
        .ok_or_else(|| Rejection::api_configuration(texts::MOCK_STATUS))
}

/// Reads an object as AWS does here: names may be bare or in either kind of quotes.
struct Scan<'a> {
    rest: &'a str,
}

impl<'a> Scan<'a> {
    fn status(&mut self) -> Option<u16> {
        self.take('{')?;
        let mut status = None;
        loop {
            self.blank();
            if self.take('}').is_some() {
                return status;
            }
            let name = self.word()?;
            self.blank();
            self.take(':')?;
            self.blank();
            if name == "statusCode" {
                status = Some(self.word()?.parse().ok()?);
            } else {
                self.skip()?;
            }
            self.blank();
            if self.take(',').is_none() {
                return self.take('}').and(status);
            }
        }
    }

    fn blank(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn take(&mut self, wanted: char) -> Option<()> {
        self.blank();
        self.rest = self.rest.strip_prefix(wanted)?;
        Some(())
    }

    /// A name or scalar: quoted, without its quotes, or bare.
    fn word(&mut self) -> Option<&'a str> {
        for quote in ['"', '\''] {
            if let Some(inner) = self.rest.strip_prefix(quote) {
                let (word, rest) = inner.split_at(end_of_quoted(inner, quote)?);
                self.rest = rest.get(1..)?;
                return Some(word);
            }
        }
        let end = self.rest.find(|c: char| c.is_whitespace() || ":,{}[]\"'".contains(c)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        (!word.is_empty()).then_some(word)
    }

    /// Any value, nested ones included, without recursion.
    fn skip(&mut self) -> Option<()> {
        let mut depth = 0_usize;
        loop {
            self.blank();
            match self.rest.chars().next()? {
                open @ ('{' | '[') => {
                    self.take(open)?;
                    depth += 1;
                    continue;
                }
                close @ ('}' | ']') => {
                    self.take(close)?;
                    depth = depth.checked_sub(1)?;
                }
                between @ (',' | ':') => {
                    self.take(between)?;
                    continue;
                }
                _ => {
                    self.word()?;
                }
            }
            if depth == 0 {
                return Some(());
            }
        }
    }
}

fn end_of_quoted(text: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    text.char_indices().find_map(|(at, c)| {
        let ends = !escaped && c == quote;
        escaped = !escaped && c == '\\';
        ends.then_some(at)
    })
}

#[cfg(test)]
mod tests {
    use super::status;

    #[test]
    fn a_status_is_found_in_what_aws_takes_for_json() {
        for (text, expected) in [
            (r#"{"statusCode": 200}"#, Some(200)),
            ("{statusCode: 200}", Some(200)),
            ("{ 'statusCode' : 404 }", Some(404)),
            (r#"{"statusCode":"201"}"#, Some(201)),
            ("\n{\n  \"a\": {\"b\": [1, {\"statusCode\": 1}]},\n  \"statusCode\": 500,\n}\n", Some(500)),
            (r#"{"x":"a\"}","statusCode":302}"#, Some(302)),
            (r#"{"x":[],"statusCode":302}"#, Some(302)),
            ("", None),
            ("{}", None),
            ("[200]", None),
            ("{statusCode}", None),
            ("{statusCode:}", None),
            (r#"{"statusCode": 200.5}"#, None),
            (r#"{"statusCode": 99}"#, None),
            (r#"{"statusCode": 600}"#, None),
            (r#"{"statusCode": "#, None),
            (r#"{"statuscode": 200}"#, None),
            (r#"{"x": }"#, None),
            (r#"{"x"#, None),
        ] {
            assert_eq!(status(text.as_bytes()).ok(), expected, "{text}");
        }
        assert!(status(&[0xff]).is_err());
    }
}
