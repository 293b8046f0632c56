//! `portcullis explain`: why a request was answered as it was, and what would change that.

use std::fmt::Write as _;

use clap::Args;
use serde_json::Value;

use crate::{
    account,
    admin::{self, Ask, Reply},
    cli::{Failure, Output, Place},
    terminal,
};

#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// The decision, from the header x-portcullis-decision of an answer or from the server's log
    id: String,
    /// Form of the answer
    #[arg(long, value_enum, default_value_t)]
    output: Output,
    #[command(flatten)]
    place: Place,
}

/// Asks and prints.
///
/// # Errors
/// When no server runs on the data directory, or it keeps no such decision.
pub fn run(args: &ExplainArgs) -> Result<(), Failure> {
    let data_dir = args.place.resolve()?.data_dir;
    let decision = match admin::ask(&data_dir, &Ask::Explain { id: args.id.clone() })? {
        Reply::Explained(decision) => decision,
        other => return Err(account::unexpected(other).into()),
    };
    let text = match args.output {
        Output::Json => serde_json::to_string_pretty(&decision).map_err(anyhow::Error::from)? + "\n",
        Output::Text => text(&decision),
    };
    terminal::out(&text)?;
    Ok(())
}

/// A decision for people: the request, the steps, the last word, and what to do.
fn text(decision: &Value) -> String {
    let field = |name: &str| shown(decision.get(name));
    let mut out = String::new();
    let mut line = |label: &str, value: String| {
        if !value.is_empty() {
            let _ = writeln!(out, "{label:<12}{value}");
        }
    };
    line("Decision", field("decisionId"));
    line("Time", field("time"));
    line("Request", field("requestId"));
    line("Account", field("accountId"));
    line("API", [field("apiId"), field("stage")].join(" ").trim().to_owned());
    line("Request of", [field("httpMethod"), field("path")].join(" ").trim().to_owned());
    line("Method", [field("resourcePath"), field("authorization")].join(" ").trim().to_owned());
    line("Method ARN", field("methodArn"));
    line("Caller", field("caller"));
    line("Operation", [field("service"), field("operation")].join(" ").trim().to_owned());
    line("Status", field("status"));
    for step in decision.get("steps").and_then(Value::as_array).into_iter().flatten() {
        let member = |name: &str| shown(step.get(name));
        let _ = writeln!(out, "\n{}: {}", member("step"), member("text"));
        for (label, name) in
            [("function", "function"), ("source ARN", "sourceArn"), ("identity", "identity"), ("detail", "detail")]
        {
            let value = member(name);
            if !value.is_empty() {
                let _ = writeln!(out, "  {label:<11}{value}");
            }
        }
    }
    let _ = writeln!(out, "\n{}", field("rule"));
    for line in decision.get("log").and_then(Value::as_array).into_iter().flatten() {
        let _ = writeln!(out, "  {}", shown(Some(line)));
    }
    let repair: Vec<String> =
        decision.get("repair").and_then(Value::as_array).into_iter().flatten().map(|it| shown(Some(it))).collect();
    if !repair.is_empty() {
        let _ = writeln!(out, "\nTo change that:");
        for command in repair {
            let _ = writeln!(out, "  {command}");
        }
    }
    out
}

/// A member for a terminal. What tenants and strangers wrote (an id in a path, the name of a statement) stays on its line
/// and controls nothing.
fn shown(value: Option<&Value>) -> String {
    let text = match value {
        None | Some(Value::Null) => return String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    };
    // Characters that turn the direction of text round, or hide, would show the line otherwise than it is.
    let controls = |c: char| {
        c.is_control() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if !text.contains(controls) {
        return text;
    }
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if controls(c) {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    #[test]
    fn a_decision_reads_from_the_request_to_the_repair() {
        let text = super::text(&json!({
            "decisionId": "d", "apiId": "api", "stage": "Dev", "status": 500,
            "steps": [{ "step": "authorizer", "text": "no statement", "sourceArn": "arn:x", "detail": null }],
            "rule": "AUTHORIZER_CONFIGURATION_ERROR: why", "repair": ["aws lambda add-permission"],
        }));
        let expected = "Decision    d\nAPI         api Dev\nStatus      500\n\nauthorizer: no statement\n  source ARN arn:x\n\n\
                        AUTHORIZER_CONFIGURATION_ERROR: why\n\nTo change that:\n  aws lambda add-permission\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn nothing_in_a_decision_controls_the_terminal() {
        let text = super::text(&json!({
            "decisionId": "d", "rule": "no API é\u{1b}[2J\u{9b}1m\r",
            "steps": [{ "step": "authorizerPolicy", "text": "statement x\n\nTo change that:\n  curl" }],
        }));
        let expected = "Decision    d\n\nauthorizerPolicy: statement x\\n\\nTo change that:\\n  curl\n\n\
                        no API é\\u{1b}[2J\\u{9b}1m\\r\n";
        assert_eq!(text, expected);
    }
}
