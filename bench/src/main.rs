//! Measures the real server on one pinned core, next to a bare hyper responder in the same run; and functions in their
//! environments next to their bare runtimes (`invoke`), next to functions that misbehave (`neighbours`), or whether many
//! of them leave anything behind (`soak`).
//!
//! `cargo xtask bench` builds and calls it. One core answers, another asks: the server and the responder take turns on
//! the first, in rounds, so that whatever else the machine does meets both. Nothing is asserted about time, and nothing
//! leaves the loopback interface.

mod call;
mod invoke;
mod load;
mod neighbours;
mod process;
mod report;
mod responder;
mod setup;
mod soak;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::load::{Limits, Sample, Target};
use crate::process::{Answering, Started};

/// As in the server: memory that grows here would grow there.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The core that answers and the core that asks.
const ANSWERING_CORE: usize = 0;
const ASKING_CORE: usize = 1;
/// Starts that are timed; the median is reported.
const STARTS: usize = 5;
/// The longest the uncached function target is measured for, in each round: it is orders of magnitude slower.
const SLOW_REQUESTS_MAX: u64 = 2_000;

/// What was asked for on the command line.
struct Arguments {
    server: PathBuf,
    results: PathBuf,
    what: String,
    rounds: usize,
    seconds: u64,
    connections: usize,
}

fn main() -> ExitCode {
    // As the server does.
    let _ = sandbox::take_short_turns();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match arguments.split_first() {
        Some((command, rest)) if command == "responder" => responder::run(rest),
        // Before anything that starts a thread: the launcher of sandboxes is this program again.
        Some((command, [])) if command == sandbox::LAUNCHER_ARGUMENT => sandbox::serve().map_err(anyhow::Error::from),
        Some((command, rest)) if command == "invoke" => invoke::run(rest),
        Some((command, rest)) if command == "neighbours" => neighbours::run(rest),
        Some((command, rest)) if command == "soak" => soak::run(rest),
        Some((command, rest)) if command == "run" => parse(rest).and_then(|arguments| run(&arguments)),
        _ => Err(anyhow::anyhow!("usage: cargo xtask bench --help")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing is left to be done when the terminal itself cannot be written to.
            let _ = writeln!(std::io::stderr(), "bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn parse(arguments: &[String]) -> Result<Arguments> {
    let mut parsed = Arguments {
        server: PathBuf::new(),
        results: PathBuf::new(),
        what: "data-plane".to_owned(),
        rounds: 7,
        seconds: 3,
        connections: 64,
    };
    for pair in arguments.chunks(2) {
        let [name, value] = pair else { bail!("{} needs a value", pair[0]) };
        let number = || value.parse::<u64>().with_context(|| format!("{name} is `{value}`, which is no number"));
        match name.as_str() {
            "--server" => parsed.server = value.into(),
            "--results" => parsed.results = value.into(),
            "--what" if value.contains('/') => bail!("--what is part of a file's name"),
            "--what" => parsed.what.clone_from(value),
            "--rounds" => parsed.rounds = usize::try_from(number()?.clamp(1, 100))?,
            "--seconds" => parsed.seconds = number()?.clamp(1, 60),
            "--connections" => parsed.connections = usize::try_from(number()?.clamp(1, 1_000))?,
            _ => bail!("unknown argument `{name}`; see cargo xtask bench --help"),
        }
    }
    Ok(parsed)
}

fn run(arguments: &Arguments) -> Result<()> {
    process::pin_self(ASKING_CORE)?;
    let folder = tempfile::tempdir().context("a folder for the server's data")?;
    let starts_ms = time_starts(arguments, folder.path())?;
    let mut server = Started::server(&arguments.server, &folder.path().join("data"), ANSWERING_CORE, &[])?;
    // Memory of a server nobody has called yet, once its background work has come to rest.
    std::thread::sleep(Duration::from_secs(1));
    let idle_rss_kb = server.rss_kb()?;
    say("setting up: two accounts, a cross-account authorizer, three methods")?;
    let ready = setup::run(&arguments.server, &folder.path().join("data"), server.address)?;
    // The same server without decisions shows what they cost.
    let silent_dir = folder.path().join("silent");
    let mut silent = Started::server(
        &arguments.server,
        &silent_dir,
        ANSWERING_CORE,
        &["--decisions", "0", "--decision-header=false"],
    )?;
    let silent_ready = setup::run(&arguments.server, &silent_dir, silent.address)?;
    let silent_cached = Target { name: "mock, cached authorizer, no decisions", ..silent_ready.cached };
    let sizes = call::sizes(server.address, &ready.mock)?;
    let mut bare = Started::responder(ANSWERING_CORE, &sizes)?;
    let bare_target = Target { name: "bare hyper", ..ready.mock.clone() };
    let mut samples: Vec<(&'static str, Vec<Sample>)> = Vec::new();
    for round in 0..=arguments.rounds {
        for (target, answering, slow) in [
            (&bare_target, &bare as &dyn Answering, false),
            (&ready.mock, &server, false),
            (&ready.cached, &server, false),
            (&silent_cached, &silent, false),
            (&ready.proxied, &server, true),
        ] {
            let limits = Limits {
                connections: arguments.connections,
                requests_max: if slow { SLOW_REQUESTS_MAX } else { u64::MAX },
                // The first round only warms up.
                time_max: Duration::from_secs(if round == 0 { 1 } else { arguments.seconds }),
            };
            let sample = load::measure(target, answering, &limits).with_context(|| target.name)?;
            if round > 0 {
                match samples.iter_mut().find(|(name, _)| *name == target.name) {
                    Some((_, list)) => list.push(sample),
                    None => samples.push((target.name, vec![sample])),
                }
            }
        }
        say(&format!("round {round} of {}", arguments.rounds))?;
    }
    let loaded_rss_kb = server.rss_kb()?;
    server.stop()?;
    silent.stop()?;
    bare.stop()?;
    let report = report::Report {
        what: &arguments.what,
        starts_ms,
        idle_rss_kb,
        loaded_rss_kb,
        connections: arguments.connections,
        answer_bytes: sizes.total(),
        samples: &samples,
    };
    report.write(&arguments.results)
}

/// Milliseconds from the start of the process to `Ready.`, each on a data directory of its own.
fn time_starts(arguments: &Arguments, folder: &std::path::Path) -> Result<Vec<f64>> {
    let mut times = Vec::new();
    for number in 0..STARTS {
        let mut server =
            Started::server(&arguments.server, &folder.join(format!("start-{number}")), ANSWERING_CORE, &[])?;
        times.push(server.ready_after.as_secs_f64() * 1e3);
        server.stop()?;
    }
    Ok(times)
}

/// Says one line to whoever ran the command.
fn say(line: &str) -> Result<()> {
    writeln!(std::io::stdout(), "{line}")?;
    Ok(())
}
