//! What the demo writes: headings, commands, answers and verdicts.

use std::io::{self, IsTerminal as _};

use serde::Serialize as _;
use serde_json::Value;

use super::words;
use crate::{settings, terminal};

/// Who types a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// The account that owns the API.
    Api,
    /// The account that owns the authorizer.
    Security,
    /// A client of the API, or the operator of the machine.
    Anyone,
}

impl Who {
    fn prompt(self) -> &'static str {
        match self {
            Self::Api => "api$",
            Self::Security => "security$",
            Self::Anyone => "$",
        }
    }

    fn colour(self) -> &'static str {
        match self {
            Self::Api => "1;36",
            Self::Security => "1;35",
            Self::Anyone => "1",
        }
    }
}

/// Standard output, with colours if a terminal takes them.
#[derive(Debug, Clone, Copy)]
pub struct Screen {
    is_coloured: bool,
}

impl Screen {
    /// The standard output of this process. `NO_COLOR` and a dumb terminal are respected.
    #[must_use]
    pub fn of_process() -> Self {
        let is_coloured = io::stdout().is_terminal()
            && settings::environment("NO_COLOR").is_none()
            && settings::environment("TERM").is_none_or(|terminal| terminal != "dumb");
        Self { is_coloured }
    }

    /// The text in a colour.
    #[must_use]
    pub fn painted(self, colour: &str, text: &str) -> String {
        if self.is_coloured { format!("\u{1b}[{colour}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    /// One of the post's sections.
    ///
    /// # Errors
    /// As all below: when nobody takes the output.
    pub fn heading(self, text: &str) -> anyhow::Result<()> {
        let rule = "─".repeat(96_usize.saturating_sub(text.chars().count()));
        terminal::out(&format!("\n{} {}\n", self.painted("1;33", text), self.painted("2", &rule)))
    }

    /// A remark of one line.
    pub fn note(self, text: &str) -> anyhow::Result<()> {
        terminal::out(&format!("\n{}\n", self.painted("2", &format!("# {text}"))))
    }

    /// A command that is about to run.
    pub fn command(self, who: Who, words: &[String]) -> anyhow::Result<()> {
        let lines = words::lines(words, who.prompt().len() + 1);
        let lines: Vec<String> = lines.iter().map(|line| self.painted("1", line)).collect();
        terminal::out(&format!("\n{} {}\n", self.painted(who.colour(), who.prompt()), lines.join("\n    ")))
    }

    /// What a command printed; nothing for nothing.
    pub fn answer(self, text: &str) -> anyhow::Result<()> {
        if text.is_empty() { Ok(()) } else { terminal::out(&format!("{text}\n")) }
    }

    /// An expectation that was met.
    pub fn met(self, text: &str) -> anyhow::Result<()> {
        terminal::out(&format!("{} {}\n", self.painted("1;32", "✓"), self.painted("2", text)))
    }

    /// Plain lines.
    pub fn plain(self, text: &str) -> anyhow::Result<()> {
        terminal::out(&format!("{text}\n"))
    }
}

/// A document as the AWS CLI and `python3 -m json.tool` print it: four blanks a level. An absent one is nothing.
#[must_use]
pub fn json(value: &Value) -> String {
    if value.is_null() {
        return String::new();
    }
    let mut out = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, formatter);
    // A vector takes every byte and a `Value` has no key but text.
    let _ = value.serialize(&mut serializer);
    String::from_utf8(out).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    #[test]
    fn documents_look_as_the_cli_prints_them() {
        assert_eq!(
            super::json(&json!({ "items": [{ "id": "a" }] })),
            "{\n    \"items\": [\n        {\n            \"id\": \"a\"\n        }\n    ]\n}"
        );
        assert_eq!(super::json(&serde_json::Value::Null), "");
    }
}
