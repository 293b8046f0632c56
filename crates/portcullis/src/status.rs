//! `portcullis status`: how a running server is.

use clap::Args;

use crate::{
    account,
    admin::{self, Ask, Reply, Status},
    cli::{Failure, Output, Place},
    isolation::Functions,
    terminal,
};

#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Form of the answer
    #[arg(long, value_enum, default_value_t)]
    output: Output,
    #[command(flatten)]
    place: Place,
}

/// Asks and prints.
///
/// # Errors
/// When no server runs on the data directory.
pub fn run(args: &StatusArgs) -> Result<(), Failure> {
    let data_dir = args.place.resolve()?.data_dir;
    let status = match admin::ask(&data_dir, &Ask::Status)? {
        Reply::Status(status) => status,
        other => return Err(account::unexpected(other).into()),
    };
    let text = match args.output {
        Output::Json => serde_json::to_string_pretty(&status).map_err(anyhow::Error::from)? + "\n",
        Output::Text => text(&status),
    };
    terminal::out(&text)?;
    Ok(())
}

fn text(status: &Status) -> String {
    let mode = if status.about.dev_credentials { " in development mode" } else { "" };
    format!(
        "Portcullis {} runs{mode} (process {}, up {}).\n\
         Address:       {}\n\
         Data:          {}\n\
         Accounts:      {}\n\
         Stages served: {}\n\
         Connections:   {}\n\
         Environments:  {} ({} warm)\n\
         Events:        {} waiting\n\
         Functions:     {}\n{}",
        status.version,
        status.process_id,
        span(status.uptime_s),
        status.about.address,
        status.about.data_dir,
        status.accounts,
        status.stages,
        status.connections,
        status.environments_live,
        status.environments_warm,
        status.events_waiting,
        status.functions.summary(),
        missing(&status.functions),
    )
}

/// What the host does not give, one line a reason.
fn missing(functions: &Functions) -> String {
    let missing = functions.missing_by_reason().into_iter();
    missing.map(|(mechanisms, reason)| format!("  without {mechanisms}: {reason}\n")).collect()
}

fn span(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (0, ..) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::span;

    #[test]
    fn spans_show_their_two_largest_units() {
        for (seconds, expected) in [(0, "0 s"), (61, "1 min 1 s"), (3_720, "1 h 2 min"), (90_000, "1 d 1 h")] {
            assert_eq!(span(seconds), expected);
        }
    }
}
