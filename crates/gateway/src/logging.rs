//! Execution and access logs of a stage: what is wanted, and how a line is made.
//!
//! Sources: API Gateway Developer Guide, "Setting up CloudWatch logging for REST APIs", "$context variables"; lines
//! recorded on AWS.

use apigateway::stage::{MethodSetting, Stage};
use sha2::{Digest, Sha256};

use crate::{
    context::{Ended, Scope, Variable},
    envelope::Envelope,
    journal::Journal,
};

/// An event of an execution log holds so many bytes; what is longer is cut.
const EVENT_BYTES_MAX: usize = 1_024;
/// An access log's line goes no further once it is this long.
const LINE_BYTES_MAX: usize = 65_536;
const CUT: &str = " [TRUNCATED]";

/// Where log events go. Implementations never block and never fail: what finds no room is dropped and counted.
pub trait LogSink: Send + Sync {
    /// Takes events of one stream: milliseconds and text. `create_group` says that the group is the gateway's own and is
    /// to be made if it is not there.
    fn put(
        &self,
        account: &str,
        region: &str,
        group: &str,
        stream: &str,
        events: Vec<(i64, String)>,
        create_group: bool,
    );
}

/// How much of a request its execution log tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    Off,
    /// What failed.
    Error,
    /// Every step.
    Info,
    /// Every step with requests and answers whole.
    Trace,
}

/// What one method's settings on its stage say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Logging(Level);

impl Logging {
    /// From the settings that hold for a method.
    pub(crate) fn of(setting: &MethodSetting) -> Self {
        Self(match (setting.logging_level.as_deref(), setting.data_trace_enabled) {
            (Some("INFO"), Some(true)) => Level::Trace,
            (Some("INFO"), _) => Level::Info,
            (Some("ERROR"), _) => Level::Error,
            _ => Level::Off,
        })
    }

    pub(crate) fn level(self) -> Level {
        self.0
    }
}

/// A stage's access log, compiled.
#[derive(Debug)]
pub(crate) struct AccessLog {
    group: Box<str>,
    parts: Vec<Part>,
}

#[derive(Debug)]
enum Part {
    Text(Box<str>),
    Variable(Variable),
}

impl AccessLog {
    /// From the stage's settings; `None` where there are none or the destination is no log group.
    pub(crate) fn of(stage: &Stage) -> Option<Self> {
        let settings = stage.access_log_settings.as_ref()?;
        let group = settings.destination_arn.split(":log-group:").nth(1)?.trim_end_matches(":*");
        Some(Self { group: group.into(), parts: parts(&settings.format) })
    }

    fn line(&self, scope: &Scope<'_>) -> String {
        let mut out = String::with_capacity(128);
        for part in &self.parts {
            if out.len() > LINE_BYTES_MAX {
                break;
            }
            match part {
                Part::Text(text) => out.push_str(text),
                // What has no value is written as a hyphen.
                Part::Variable(variable) => match variable.value(scope) {
                    value if value.is_empty() => out.push('-'),
                    // One request is one line, whatever a client put into a header.
                    value => out.extend(value.chars().map(|c| if c.is_control() { ' ' } else { c })),
                },
            }
        }
        out
    }
}

/// Splits a format at its `$context` references.
fn parts(format: &str) -> Vec<Part> {
    const MARK: &str = "$context.";
    let mut parts = Vec::new();
    let mut rest = format;
    while let Some((before, after)) = rest.split_once(MARK) {
        if !before.is_empty() {
            parts.push(Part::Text(before.into()));
        }
        let end = after.find(|c: char| !(c.is_ascii_alphanumeric() || "._-".contains(c))).unwrap_or(after.len());
        let path = after[..end].trim_end_matches(['.', '-']);
        parts.push(Part::Variable(Variable::parse(path)));
        rest = &after[path.len()..];
    }
    if !rest.is_empty() {
        parts.push(Part::Text(rest.into()));
    }
    parts
}

/// The name of a stage's stream: AWS's are 32 hex digits too. One stream serves a stage on a node.
pub(crate) fn stream(api: &str, stage: &str) -> Box<str> {
    let digest = Sha256::digest(format!("{api}/{stage}").as_bytes());
    digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect::<String>().into()
}

/// Hands a request's lines to the sink.
pub(crate) fn write(journal: &mut Journal, ended: Ended, envelope: &Envelope, now_ms: i64, sink: &dyn LogSink) {
    let lines = journal.take_lines();
    let Some(scope) = journal.scope(envelope) else { return };
    let program = scope.matched.program();
    if !lines.is_empty() {
        let group = format!("API-Gateway-Execution-Logs_{}/{}", program.api_id(), program.stage());
        let id = envelope.request_id();
        let events = lines.into_iter().map(|line| (now_ms, cut(format!("({id}) {line}")))).collect();
        sink.put(program.account(), program.region(), &group, program.stream(), events, true);
    }
    if let Some(access) = program.access_log() {
        let events = vec![(now_ms, access.line(&Scope { ended: Some(&ended), ..scope }))];
        sink.put(program.account(), program.region(), &access.group, program.stream(), events, false);
    }
}

fn cut(mut line: String) -> String {
    if line.len() > EVENT_BYTES_MAX {
        let mut end = EVENT_BYTES_MAX - CUT.len();
        while !line.is_char_boundary(end) {
            end -= 1;
        }
        line.truncate(end);
        line.push_str(CUT);
    }
    line
}

/// A secret as logs show it: stars and its last six characters.
pub(crate) fn starred(secret: &str) -> String {
    let count = secret.chars().count();
    if count <= 6 {
        return "*".repeat(count.max(1));
    }
    let tail: String = secret.chars().skip(count - 6).collect();
    format!("{}{tail}", "*".repeat((count - 6).min(32)))
}

#[cfg(test)]
mod tests {
    use super::{cut, parts, starred};

    #[test]
    fn secrets_show_their_last_six_characters_only() {
        for (secret, shown) in [("", "*"), ("allow", "*****"), ("abcdefghi", "***defghi")] {
            assert_eq!(starred(secret), shown);
        }
        assert_eq!(starred(&"x".repeat(100)).len(), 38);
    }

    #[test]
    fn long_lines_are_cut_to_an_events_size() {
        let line = cut("é".repeat(2_000));
        assert!(line.len() <= 1_024 && line.ends_with(" [TRUNCATED]"));
        assert_eq!(cut("short".to_owned()), "short");
    }

    #[test]
    fn a_format_is_text_and_variables() {
        let shape: Vec<String> = parts(r#"{"id":"$context.requestId", "a":$context.authorizer.principalId.}"#)
            .iter()
            .map(|part| match part {
                super::Part::Text(text) => text.to_string(),
                super::Part::Variable(variable) => format!("<{variable:?}>"),
            })
            .collect();
        assert_eq!(shape, ["{\"id\":\"", "<RequestId>", "\", \"a\":", "<AuthorizerPrincipal>", ".}"]);
    }
}
