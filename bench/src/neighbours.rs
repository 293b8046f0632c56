//! What one account's function feels of another account's that misbehaves.
//!
//! The one is a warm authorizer, called at a steady rate whether or not earlier answers are there, and each answer's
//! time counts from when the call was due. The other is called again as soon as it has ended, however it ended. Both
//! are called by one thread, as by one data thread of the server: there they are nearest to each other. Quiet and noisy
//! rounds take turns, so that whatever else the machine does meets both.

use std::{
    cell::Cell,
    collections::BTreeMap,
    fmt,
    io::Write as _,
    os::unix::net::UnixStream,
    path::PathBuf,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use environment::{Standbys, Supervisor};
use lambda::invoke::{Outcome, Revision, Run as _, RunError};
use serde_json::Value;
use tokio::{
    io::AsyncReadExt as _,
    task::{JoinHandle, LocalSet, spawn_local},
};

use crate::{
    invoke::{
        Host, Quantiles, callers_runtime,
        functions::{Function, Language, check, invocation},
        table::{Row, Table},
        told,
    },
    say,
};

/// From one call to the next.
const PERIOD: Duration = Duration::from_millis(2);
/// What the 99th percentile may grow by.
const RATIO_MAX: f64 = 2.0;
/// How long the other function is at it before anything counts.
const LEAD: Duration = Duration::from_millis(500);
/// How long the machine comes to rest after it.
const REST: Duration = Duration::from_millis(500);
/// Calls at once before anything is measured, so that as many environments are warm.
const WARM_AT_ONCE: usize = 8;

/// What the other account's function does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mischief {
    Spins,
    Leaks,
    Forks,
    Floods,
    Garbles,
}

impl fmt::Display for Mischief {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Mischief::Spins => "four spin on four threads each",
            Mischief::Leaks => "it leaks memory until it is killed",
            Mischief::Forks => "it forks without end",
            Mischief::Floods => "it floods its log",
            Mischief::Garbles => "it breaks the protocol",
        })
    }
}

const SPINS: &str = "const { Worker } = require('worker_threads');
exports.handler = async () => {
  for (let i = 0; i < 3; i += 1) new Worker('for (;;);', { eval: true });
  await new Promise((resolve) => { setTimeout(resolve, 100); });
  for (;;);
};
";
const LEAKS: &str = "exports.handler = async () => {
  const held = [];
  for (;;) held.push(Buffer.alloc(1024 * 1024, 1));
};
";
const FORKS: &str = "import os
def handler(event, context):
    while True:
        try:
            os.fork()
        except OSError:
            pass
";
const FLOODS: &str = "const { writeSync } = require('fs');
const lines = Buffer.from(`${'x'.repeat(99)}\\n`.repeat(640));
exports.handler = async () => {
  for (const end = Date.now() + 2000; Date.now() < end;) {
    try { writeSync(1, lines); } catch (error) { if (error.code !== 'EAGAIN') throw error; }
  }
};
";
const GARBLES: &str = "const { writeSync } = require('fs');
exports.handler = async () => {
  writeSync(3, Buffer.alloc(4096, 0xff));
  for (;;) await new Promise((resolve) => { setTimeout(resolve, 1000); });
};
";

impl Mischief {
    const ALL: [Mischief; 5] = [Mischief::Spins, Mischief::Leaks, Mischief::Forks, Mischief::Floods, Mischief::Garbles];

    fn code(self) -> (Language, &'static str) {
        match self {
            Mischief::Spins => (Language::Node, SPINS),
            Mischief::Leaks => (Language::Node, LEAKS),
            // A child of Node's starts another program; this one is the same again, and again.
            Mischief::Forks => (Language::Python, FORKS),
            Mischief::Floods => (Language::Node, FLOODS),
            Mischief::Garbles => (Language::Node, GARBLES),
        }
    }

    /// Calls at once.
    fn callers(self) -> usize {
        if self == Mischief::Spins { 4 } else { 1 }
    }

    /// The function that does it, another account's. It has two cores where it can make use of them.
    fn revision(self, host: &Host) -> Result<Arc<Revision>> {
        let (language, code) = self.code();
        let function = Function::of(host.folder.path(), language, code)?;
        let memory_mb = if self == Mischief::Spins { 1_770 } else { 128 };
        Ok(Arc::new(Revision { account: "444455556666".into(), memory_mb, ..function.renamed("neighbour") }))
    }
}

/// How often it ended how.
type Endings = BTreeMap<String, usize>;

/// # Errors
/// When there is no Node, or the function that does nothing wrong does not answer.
pub fn run(arguments: &[String]) -> Result<()> {
    let (mut results, mut rounds, mut seconds) = (PathBuf::from("bench/results"), 3, 4);
    for pair in arguments.chunks(2) {
        match pair {
            [name, value] if name == "--results" => results = value.into(),
            [name, value] if name == "--rounds" => rounds = value.parse::<usize>()?.clamp(1, 100),
            [name, value] if name == "--seconds" => seconds = value.parse::<u64>()?.clamp(1, 60),
            _ => bail!("usage: cargo xtask bench neighbours [--rounds N] [--seconds S]"),
        }
    }
    let host = Host::start()?;
    say(&format!("functions run {}", host.isolation))?;
    let supervisor = host.supervisor(Standbys::InSandboxes)?;
    let mut table = Table::new("neighbours", ["quiet", "noisy"]);
    let measured = measure(&host, &supervisor, rounds, Duration::from_secs(seconds), &mut table);
    host.stop(&supervisor);
    let failures = measured?;
    table.print()?;
    table.write(&results, &host.isolation)?;
    ensure!(failures == 0, "{failures} calls of the function that does nothing wrong failed");
    Ok(())
}

/// All mischief in turn; gives the failures of the function that does none.
fn measure(host: &Host, supervisor: &Supervisor, rounds: usize, length: Duration, table: &mut Table) -> Result<usize> {
    let authorizer = Function::authorizer(host.folder.path(), Language::Node)?.revision(0);
    let runtime = callers_runtime()?;
    let local = LocalSet::new();
    let steady = Steady { supervisor: supervisor.clone(), revision: authorizer };
    local.block_on(&runtime, steady.warm_up())?;
    let mut failures = 0;
    for mischief in Mischief::ALL {
        let (language, _) = mischief.code();
        if host.interpreter(language).is_none() {
            say(&format!("{mischief}: no {language}, not measured"))?;
            continue;
        }
        let revision = mischief.revision(host)?;
        let mut p99 = Row::named(format!("p99 µs while {mischief}"), RATIO_MAX);
        let mut p50 = Row::named(format!("p50 µs while {mischief}"), RATIO_MAX);
        let mut endings = Endings::new();
        for _ in 0..rounds {
            let quiet = local.block_on(&runtime, steady.round(length))?;
            let noisy = local.block_on(&runtime, async {
                let noise = Noise::start(supervisor, &revision, mischief.callers());
                tokio::time::sleep(LEAD).await;
                let noisy = steady.round(length).await?;
                noise.stop(&mut endings).await?;
                tokio::time::sleep(REST).await;
                Ok::<_, anyhow::Error>(noisy)
            })?;
            failures += quiet.failures + noisy.failures;
            p50.push(quiet.times.p50, noisy.times.p50);
            p99.push(quiet.times.p99, noisy.times.p99);
            say(&format!(
                "{mischief}: p50 {:.0} then {:.0} µs, p99 {:.0} then {:.0} µs",
                quiet.times.p50, noisy.times.p50, quiet.times.p99, noisy.times.p99
            ))?;
        }
        supervisor.retire(&revision.account, &revision.region, &revision.function);
        let ended = endings.iter().map(|(ending, times)| format!("{times} {ending}")).collect::<Vec<_>>();
        p99.note = format!("it ended: {}", ended.join(", "));
        table.add(p99);
        table.add(p50);
    }
    Ok(failures)
}

/// The function that does nothing wrong.
struct Steady {
    supervisor: Supervisor,
    revision: Arc<Revision>,
}

/// What one round of it came to.
struct Round {
    times: Quantiles,
    failures: usize,
}

impl Steady {
    async fn warm_up(&self) -> Result<()> {
        let calls = (0..WARM_AT_ONCE).map(|_| {
            let (supervisor, revision) = (self.supervisor.clone(), Arc::clone(&self.revision));
            spawn_local(async move { supervisor.run(revision, invocation()).await })
        });
        for call in calls.collect::<Vec<_>>() {
            check(&call.await?.map_err(told)?)?;
        }
        self.round(Duration::from_secs(1)).await?;
        Ok(())
    }

    /// Calls at the steady rate for a while, and waits for every answer.
    async fn round(&self, length: Duration) -> Result<Round> {
        let (clock, ticks) = UnixStream::pair()?;
        ticks.set_nonblocking(true)?;
        let mut ticks = tokio::net::UnixStream::from_std(ticks)?;
        let begun = Instant::now() + PERIOD;
        let ticking = std::thread::Builder::new().name("clock".into()).spawn(move || tick(clock, begun, length))?;
        let mut calls = Vec::new();
        let mut due = [0u8; 64];
        loop {
            let came = ticks.read(&mut due).await?;
            if came == 0 {
                break;
            }
            for _ in 0..came {
                let (supervisor, revision) = (self.supervisor.clone(), Arc::clone(&self.revision));
                let intended = begun + PERIOD * u32::try_from(calls.len())?;
                calls.push(spawn_local(async move {
                    let outcome = supervisor.run(revision, invocation()).await;
                    (intended.elapsed(), outcome)
                }));
            }
        }
        ticking.join().map_err(|_| anyhow::anyhow!("the clock panicked"))??;
        let mut times = Vec::with_capacity(calls.len());
        let mut failures = 0;
        for call in calls {
            let (time, outcome) = call.await?;
            // One that failed counts with the time its caller waited for it.
            times.push(time);
            if let Err(error) = outcome.map_err(told).and_then(|outcome| check(&outcome)) {
                failures += 1;
                // The first says what the others are likely to say.
                if failures == 1 {
                    say(&format!("failed: {error:#}"))?;
                }
            }
        }
        Ok(Round { times: Quantiles::of(times), failures })
    }
}

/// Writes one byte whenever a call is due, as a client would whose requests come at a steady rate.
fn tick(mut clock: UnixStream, begun: Instant, length: Duration) -> Result<()> {
    let end = begun + length;
    let mut due = begun;
    while due < end {
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        clock.write_all(&[0]).context("nobody waits for the clock")?;
        due += PERIOD;
    }
    Ok(())
}

/// The other function, being called.
struct Noise {
    ended: Rc<Cell<bool>>,
    callers: Vec<JoinHandle<Endings>>,
}

impl Noise {
    /// On the current thread, by so many callers.
    fn start(supervisor: &Supervisor, revision: &Arc<Revision>, callers: usize) -> Noise {
        let ended = Rc::new(Cell::new(false));
        let callers = (0..callers).map(|_| {
            let (supervisor, revision, ended) = (supervisor.clone(), Arc::clone(revision), Rc::clone(&ended));
            spawn_local(async move {
                let mut endings = Endings::new();
                while !ended.get() {
                    let outcome = supervisor.run(Arc::clone(&revision), invocation()).await;
                    *endings.entry(ending(&outcome)).or_default() += 1;
                    // Refusals come at once, and a caller who does nothing else would be the one that spins.
                    tokio::task::yield_now().await;
                }
                endings
            })
        });
        Noise { callers: callers.collect(), ended }
    }

    /// Waits until the last call has ended.
    async fn stop(self, endings: &mut Endings) -> Result<()> {
        self.ended.set(true);
        for caller in self.callers {
            for (ending, times) in caller.await? {
                *endings.entry(ending).or_default() += times;
            }
        }
        Ok(())
    }
}

/// The type of the error it ended with, in AWS's words.
fn ending(outcome: &Result<Outcome, RunError>) -> String {
    match outcome {
        Ok(outcome) if outcome.function_error.is_none() => "answered".to_owned(),
        Ok(outcome) => {
            let document = serde_json::from_slice::<Value>(&outcome.payload).unwrap_or_default();
            let field = |name: &str| document.get(name).and_then(Value::as_str).map(str::to_owned);
            field("errorType").or_else(|| field("errorMessage")).unwrap_or_else(|| "error".to_owned())
        }
        Err(error) => format!("{error:?}"),
    }
}
