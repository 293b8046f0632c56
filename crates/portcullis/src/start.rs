//! `portcullis start`: serves until told to stop.

use std::{os::fd::OwnedFd, process, time::Duration};

use anyhow::Context as _;
use tokio::io::{Interest, unix::AsyncFd};

use crate::{
    cli::Failure,
    isolation, log,
    server::Server,
    settings::{LogFormat, Settings},
    stops::Stops,
    terminal,
};

/// Exit code of a server that was not let finish.
const CUT_OFF: i32 = 1;

/// What is said last when functions have ceased to run for good.
const LOST: &str = "the launcher of sandboxes has ended, and every function with it. This server has no privilege left to \
                    start another: start the server again, or have it restarted when it fails (systemd: \
                    Restart=on-failure)";

/// Serves until SIGTERM or SIGINT, or until functions can never run again: nothing but a new start mends that, and
/// whatever keeps the server running knows an end better than an answer of health.
///
/// # Errors
/// When the server cannot start, or ends of its own accord; wrong usage for an unusable log filter.
pub fn run(settings: &Settings) -> Result<(), Failure> {
    log::start(&settings.log, settings.log_format).map_err(Failure::usage)?;
    for note in &settings.translations {
        tracing::info!("{note}");
    }
    // First of all: afterwards this process has no privilege, and threads.
    let begun = isolation::begin(settings)?;
    let signals = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let signals = signals.context("signals cannot be waited for")?;
    let entered = signals.enter();
    // Taken before anything is announced, so that whoever reads `Ready.` may stop the server at once.
    let mut stops = Stops::take().context("signals cannot be waited for")?;
    let server = Server::start(settings, begun)?;
    tell(settings, &server);
    tracing::info!(address = %server.address(), data_dir = %settings.data_dir.display(), "serving");
    if let Err(error) = terminal::out(&format!("Listening on {}\nReady.\n", server.url())) {
        // Whoever started it waits for that line and will not get it.
        signals.block_on(server.stop());
        return Err(error.into());
    }
    let lost = server.lost().context("the launcher of sandboxes cannot be watched")?;
    let is_lost = signals.block_on(async move {
        let is_lost = tokio::select! {
            () = stops.next() => false,
            () = readable(lost) => true,
        };
        if is_lost {
            tracing::error!("{LOST}");
        }
        tracing::info!("stopping; requests in flight are finished first, a second signal ends at once");
        let stopped = server.stop();
        tokio::select! {
            () = stopped => {}
            () = stops.next() => process::exit(CUT_OFF),
        }
        is_lost
    });
    // The blocking reads of signals hold nothing worth waiting for.
    drop(entered);
    signals.shutdown_timeout(Duration::ZERO);
    if is_lost { Err(anyhow::anyhow!(LOST).into()) } else { Ok(()) }
}

/// Waits until a descriptor is readable; without one, for ever.
#[expect(deprecated, reason = "the successor is unsafe for types that change their descriptor; an `OwnedFd` does not")]
async fn readable(descriptor: Option<OwnedFd>) {
    let watched = descriptor.and_then(|descriptor| AsyncFd::with_interest(descriptor, Interest::READABLE).ok());
    match watched {
        Some(watched) => drop(watched.readable().await),
        None => std::future::pending().await,
    }
}

/// What keeps functions apart is said at every start, and what somebody could come to regret.
fn tell(settings: &Settings, server: &Server) {
    let told = server.told();
    match (settings.log_format, &told.table) {
        (LogFormat::Text, Some(table)) => terminal::plain(table),
        (LogFormat::Text, None) => {}
        (LogFormat::Json, _) => {
            let functions = server.functions();
            let missing: Vec<&str> = functions.missing.iter().map(|missing| missing.mechanism.as_str()).collect();
            tracing::info!(tier = functions.tier, missing = missing.join(", "), "isolation of functions");
        }
    }
    for warning in told.warnings.iter().chain(&warnings(settings)) {
        match settings.log_format {
            LogFormat::Text => terminal::warning(warning),
            LogFormat::Json => tracing::warn!("{warning}"),
        }
    }
}

fn warnings(settings: &Settings) -> Vec<String> {
    let mut warnings = Vec::new();
    if settings.dev_credentials {
        warnings.push(
            "DEVELOPMENT MODE (--dev-credentials): any 12-digit access key id is that account's root and `test` is \
             000000000000; their secrets are not checked"
                .to_owned(),
        );
    }
    if !settings.listen.ip().is_loopback() {
        let address = settings.listen;
        warnings.push(format!("listening on {address}: whoever reaches this machine reaches this server, without TLS"));
    }
    if settings.node.is_none() {
        warnings.push("no `node` is on PATH: Node functions are refused; install it or pass --node".to_owned());
    }
    if settings.python.is_none() {
        warnings.push("no `python3` is on PATH: Python functions are refused; install it or pass --python".to_owned());
    }
    warnings
}
