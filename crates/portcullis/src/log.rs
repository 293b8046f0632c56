//! The server's log: standard error, one line an event.

use anyhow::anyhow;
use tracing_subscriber::EnvFilter;

use crate::{settings::LogFormat, terminal};

/// Begins to log. Done once in a process; later calls change nothing.
///
/// # Errors
/// When the filter makes no sense.
pub fn start(filter: &str, format: LogFormat) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(filter).map_err(|error| {
        anyhow!("log is `{filter}`, which is no level or filter ({error}); try info, debug or info,control=debug")
    })?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // Refused only if a log has been started before.
    let _ = match format {
        LogFormat::Text => builder.with_ansi(terminal::is_coloured()).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    Ok(())
}
