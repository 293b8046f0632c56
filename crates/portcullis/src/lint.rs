//! `portcullis lint`: what works today and will surprise somebody tomorrow.

use std::fmt::Write as _;

use anyhow::anyhow;
use clap::Args;
use control::lint::{About, Report};

use crate::{
    account,
    admin::{self, Ask, Reply},
    cli::{Failure, Output, Place},
    terminal,
};

#[derive(Debug, Args)]
pub struct LintArgs {
    /// Only what concerns this account
    #[arg(long, value_name = "ID")]
    account: Option<String>,
    /// End with exit code 1 if there is any warning
    #[arg(long)]
    strict: bool,
    /// Form of the answer
    #[arg(long, value_enum, default_value_t)]
    output: Output,
    #[command(flatten)]
    place: Place,
}

/// Asks and prints.
///
/// # Errors
/// When no server runs on the data directory, or the account does not exist; with `--strict`, for any warning.
pub fn run(args: &LintArgs) -> Result<(), Failure> {
    let data_dir = args.place.resolve()?.data_dir;
    let report = match admin::ask(&data_dir, &Ask::Lint { account: args.account.clone() })? {
        Reply::Linted(report) => report,
        other => return Err(account::unexpected(other).into()),
    };
    let text = match args.output {
        Output::Json => serde_json::to_string_pretty(&report).map_err(anyhow::Error::from)? + "\n",
        Output::Text => text(&report),
    };
    terminal::out(&text)?;
    match report.warnings.len() {
        0 => Ok(()),
        _ if !args.strict => Ok(()),
        found => Err(anyhow!("{}, and --strict is given", count(found)).into()),
    }
}

fn count(found: usize) -> String {
    match found {
        1 => "1 warning".to_owned(),
        _ => format!("{found} warnings"),
    }
}

/// The report for people: a paragraph for each warning, and how many there are.
fn text(report: &Report) -> String {
    let mut out = String::new();
    for warning in &report.warnings {
        let _ = writeln!(out, "{}  account {}", warning.code, warning.account_id);
        let about = about(&warning.about);
        if !about.is_empty() {
            let _ = writeln!(out, "  {}", shown(&about));
        }
        let _ = writeln!(out, "  {}", shown(&warning.text));
        for command in &warning.repair {
            let _ = writeln!(out, "    {}", shown(command));
        }
        out.push('\n');
    }
    let _ = match report.warnings.len() {
        0 => writeln!(out, "No warnings."),
        found => writeln!(out, "{}.", count(found)),
    };
    if report.truncated {
        let _ = writeln!(out, "There is more than one report holds: ask for one account with --account.");
    }
    out
}

/// What tenants wrote (a resource, the id of a statement) stays on its line and controls no terminal.
fn shown(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut out, c| {
        if c.is_control() {
            out.extend(c.escape_default())
        } else {
            out.push(c)
        }
        out
    })
}

fn about(about: &About) -> String {
    let About { api_id, stage, authorizer_id, function_arn, statement_id } = about;
    let parts = [
        ("API", api_id),
        ("stage", stage),
        ("authorizer", authorizer_id),
        ("function", function_arn),
        ("statement", statement_id),
    ];
    let shown = parts.iter().filter_map(|(label, value)| Some(format!("{label} {}", value.as_ref()?)));
    shown.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use control::lint::{Report, Warning};

    use super::*;

    #[test]
    fn a_report_reads_warning_by_warning() {
        let warning = Warning {
            code: "stale-permission".to_owned(),
            account_id: "222222222222".to_owned(),
            about: About {
                function_arn: Some("arn:f".to_owned()),
                statement_id: Some("s".to_owned()),
                ..About::default()
            },
            text: "Gone.".to_owned(),
            repair: vec!["aws lambda remove-permission".to_owned()],
        };
        let report = Report { warnings: vec![warning], truncated: false };
        let expected = "stale-permission  account 222222222222\n  function arn:f, statement s\n  Gone.\n    \
                        aws lambda remove-permission\n\n1 warning.\n";
        assert_eq!(text(&report), expected);
        assert_eq!(text(&Report::default()), "No warnings.\n");
        assert_eq!(shown("é\u{1b}[2J\n"), "é\\u{1b}[2J\\n");
    }
}
