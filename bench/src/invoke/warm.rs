//! Warm calls: one caller's latency, and the throughput of several.

use std::{
    sync::{
        Arc, Barrier,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use environment::{Standbys, Supervisor};
use lambda::invoke::{Revision, Run as _};
use tokio::task::LocalSet;

use super::{
    Arguments, Host, callers_runtime,
    functions::{Function, check, invocation},
    raw::Raw,
    table::{Row, Table},
};

/// How long one throughput is measured.
const THROUGHPUT_TIME: Duration = Duration::from_secs(1);
/// Calls that only warm up.
const WARM_UP: usize = 3_000;
/// Environments whose throughput is measured.
const ENVIRONMENTS: [usize; 3] = [1, 2, 4];

/// p50 and p99 of calls one after another, on one thread.
pub fn latency(host: &Host, function: &Function, arguments: &Arguments, table: &mut Table) -> Result<()> {
    let supervisor = host.supervisor(Standbys::Off)?;
    let revision = function.revision(0);
    let runtime = callers_runtime()?;
    let (mut p50, mut p99) = (Row::new(function, "warm, p50 µs", 1.6), Row::new(function, "warm, p99 µs", 4.0));
    p99.note = "target: p99 at most four times our own p50".into();
    let measured = runtime.block_on(async {
        check(&supervisor.run(Arc::clone(&revision), invocation()).await.map_err(told)?)?;
        let mut raw = Raw::start(host, &*host.launcher, function).await?;
        for round in 0..=arguments.rounds {
            let calls = if round == 0 { WARM_UP } else { arguments.calls };
            let (mut bare, mut own) = (Vec::with_capacity(calls), Vec::with_capacity(calls));
            for _ in 0..calls {
                let begun = Instant::now();
                raw.call().await?;
                bare.push(begun.elapsed());
            }
            for _ in 0..calls {
                let begun = Instant::now();
                let outcome = supervisor.run(Arc::clone(&revision), invocation()).await.map_err(told)?;
                own.push(begun.elapsed());
                check(&outcome)?;
            }
            if round > 0 {
                let (raw, own) = (Quantiles::of(bare), Quantiles::of(own));
                p50.push(raw.p50, own.p50);
                p99.push(raw.p99, own.p99);
            }
        }
        Ok::<_, anyhow::Error>(())
    });
    host.stop(&supervisor);
    measured.with_context(|| format!("{}: warm calls", function.language))?;
    p99.ratio = Some(p99.own() / p50.own());
    table.add(p50);
    table.add(p99);
    Ok(())
}

/// Calls a second over 1, 2 and 4 environments, by as many callers on two threads.
pub fn throughput(host: &Host, function: &Function, arguments: &Arguments, table: &mut Table) -> Result<()> {
    let supervisor = host.supervisor(Standbys::Off)?;
    let revision = function.revision(0);
    // The code must lie there for the yardstick.
    check(&host.runtime.block_on(supervisor.run(Arc::clone(&revision), invocation())).map_err(told)?)?;
    for environments in ENVIRONMENTS {
        let mut row = Row::new(function, &format!("warm, calls/s, {environments} environments"), 0.6);
        row.more_is_better = true;
        for _ in 0..arguments.rounds.div_ceil(2) {
            let bare = bare(host, function, environments)?;
            let own = own(&supervisor, &revision, environments)?;
            row.push(bare, own);
        }
        table.add(row);
    }
    host.stop(&supervisor);
    Ok(())
}

fn bare(host: &Host, function: &Function, environments: usize) -> Result<f64> {
    per_second(environments, |callers, clock| {
        let runtime = callers_runtime()?;
        let local = LocalSet::new();
        let mut raws = Vec::new();
        for _ in 0..callers {
            raws.push(runtime.block_on(Raw::cold(host, &*host.launcher, function))?);
        }
        clock.ready.wait();
        local.block_on(&runtime, async {
            let tasks: Vec<_> = raws
                .into_iter()
                .map(|mut raw| {
                    let clock = clock.clone();
                    tokio::task::spawn_local(async move {
                        while clock.runs() {
                            raw.call().await?;
                        }
                        Ok::<_, anyhow::Error>(raw)
                    })
                })
                .collect();
            for task in tasks {
                task.await??;
            }
            Ok(())
        })
    })
}

fn own(supervisor: &Supervisor, revision: &Arc<Revision>, environments: usize) -> Result<f64> {
    per_second(environments, |callers, clock| {
        let runtime = callers_runtime()?;
        let local = LocalSet::new();
        clock.ready.wait();
        local.block_on(&runtime, async {
            let tasks: Vec<_> = (0..callers)
                .map(|_| {
                    let (clock, supervisor, revision) = (clock.clone(), supervisor.clone(), Arc::clone(revision));
                    tokio::task::spawn_local(async move {
                        while clock.runs() {
                            check(&supervisor.run(Arc::clone(&revision), invocation()).await.map_err(told)?)?;
                        }
                        Ok::<_, anyhow::Error>(())
                    })
                })
                .collect();
            for task in tasks {
                task.await??;
            }
            Ok(())
        })
    })
}

/// What the callers of one measurement share.
#[derive(Clone)]
struct Clock {
    ready: Arc<Barrier>,
    counting: Arc<AtomicBool>,
    ended: Arc<AtomicBool>,
    calls: Arc<AtomicU64>,
}

impl Clock {
    /// Whether another call is to be made; counts it.
    fn runs(&self) -> bool {
        if self.counting.load(Ordering::Relaxed) {
            self.calls.fetch_add(1, Ordering::Relaxed);
        }
        !self.ended.load(Ordering::Relaxed)
    }
}

/// Has `work` done by two threads, or one for one caller, each with its share of the callers.
fn per_second(callers: usize, work: impl Fn(usize, Clock) -> Result<()> + Sync) -> Result<f64> {
    let threads = callers.min(2);
    let clock = Clock {
        ready: Arc::new(Barrier::new(threads + 1)),
        counting: Arc::default(),
        ended: Arc::default(),
        calls: Arc::default(),
    };
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(|| work(callers / threads, clock.clone()))).collect();
        clock.ready.wait();
        std::thread::sleep(THROUGHPUT_TIME / 2);
        clock.counting.store(true, Ordering::Relaxed);
        let begun = Instant::now();
        std::thread::sleep(THROUGHPUT_TIME);
        clock.counting.store(false, Ordering::Relaxed);
        let (calls, elapsed) = (clock.calls.load(Ordering::Relaxed), begun.elapsed());
        clock.ended.store(true, Ordering::Relaxed);
        for thread in running {
            thread.join().map_err(|_| anyhow::anyhow!("a caller panicked"))??;
        }
        #[expect(clippy::cast_precision_loss, reason = "calls of one second are far below 2^52")]
        Ok(calls as f64 / elapsed.as_secs_f64())
    })
}

pub struct Quantiles {
    pub best: f64,
    pub p50: f64,
    pub p99: f64,
}

impl Quantiles {
    /// In microseconds.
    pub fn of(mut times: Vec<Duration>) -> Quantiles {
        times.sort_unstable();
        let at = |permille: usize| {
            let index = (times.len() * permille / 1_000).min(times.len().saturating_sub(1));
            times.get(index).map_or(f64::NAN, |time| time.as_secs_f64() * 1e6)
        };
        Quantiles { best: at(0), p50: at(500), p99: at(990) }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "used as a function in `map_err`")]
pub fn told(error: lambda::invoke::RunError) -> anyhow::Error {
    anyhow::anyhow!("the function did not run: {error:?}")
}
