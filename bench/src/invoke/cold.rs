//! Cold starts: from a standby, and from nothing next to a plain process that does the same.

use std::{
    fs,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use environment::{Standbys, Supervisor, launch::Plain};
use lambda::invoke::Run as _;

use super::{
    Arguments, Host, callers_runtime,
    functions::{Function, Language, check, invocation},
    raw::Raw,
    table::{Row, Table},
    warm::{Quantiles, told},
};

/// How long a standby may take to be there again.
const STANDBY_MAX: Duration = Duration::from_secs(10);
/// Whatever a start leaves to be done is done by then.
const REST: Duration = Duration::from_millis(100);

/// The first call of functions nobody has called, when a runtime stands by.
pub fn standby(host: &Host, function: &Function, arguments: &Arguments, table: &mut Table) -> Result<()> {
    let supervisor = host.supervisor(Standbys::Always)?;
    let runtime = callers_runtime()?;
    let mut times = Vec::new();
    let measured = runtime.block_on(async {
        check(&supervisor.run(function.revision(0), invocation()).await.map_err(told)?)?;
        for number in 1..=arguments.starts {
            await_standby(&supervisor).await?;
            tokio::time::sleep(REST).await;
            times.push(first_call(&supervisor, function, number).await?);
        }
        await_standby(&supervisor).await
    });
    let memory_mib = private_mib(function.language);
    host.stop(&supervisor);
    measured.with_context(|| format!("{}: cold starts from standbys", function.language))?;
    let quantiles = Quantiles::of(times);
    let mut p50 = Row::absolute(function, "cold from a standby, p50 ms", quantiles.p50 / 1e3, 4.0);
    // What is left when nothing else wants the processor.
    p50.note = format!("best {:.1}", quantiles.best / 1e3);
    table.add(p50);
    table.add(Row::absolute(function, "cold from a standby, p99 ms", quantiles.p99 / 1e3, 20.0));
    if let Some(memory_mib) = memory_mib {
        let target = if function.language == Language::Node { 8.0 } else { 6.0 };
        table.add(Row::absolute(function, "private memory of a standby, MiB", memory_mib, target));
    }
    Ok(())
}

/// The first call when nothing stands by, next to a plain process that starts, loads the same and is called once.
pub fn unpooled(host: &Host, function: &Function, arguments: &Arguments, table: &mut Table) -> Result<()> {
    let supervisor = host.supervisor(Standbys::Off)?;
    let runtime = callers_runtime()?;
    let mut row = Row::new(function, "cold from nothing, p50 ms", 1.25);
    let mut best = [f64::INFINITY; 2];
    let measured = runtime.block_on(async {
        check(&supervisor.run(function.revision(0), invocation()).await.map_err(told)?)?;
        for number in 1..=arguments.starts {
            let begun = Instant::now();
            let raw = Raw::cold(host, &Plain, function).await?;
            let bare = begun.elapsed();
            drop(raw);
            tokio::time::sleep(REST).await;
            let own = first_call(&supervisor, function, number).await?;
            tokio::time::sleep(REST).await;
            let times = [bare, own].map(|time| time.as_secs_f64() * 1e3);
            best = [best[0].min(times[0]), best[1].min(times[1])];
            row.push(times[0], times[1]);
        }
        Ok::<_, anyhow::Error>(())
    });
    host.stop(&supervisor);
    measured.with_context(|| format!("{}: cold starts", function.language))?;
    row.note = format!("best {:.1} and {:.1}", best[0], best[1]);
    table.add(row);
    Ok(())
}

/// Calls a revision nobody has called, and lets go of it.
async fn first_call(supervisor: &Supervisor, function: &Function, number: usize) -> Result<Duration> {
    let revision = function.revision(number);
    let begun = Instant::now();
    let outcome = supervisor.run(Arc::clone(&revision), invocation()).await.map_err(told)?;
    let took = begun.elapsed();
    check(&outcome)?;
    supervisor.retire(&revision.account, &revision.region, &revision.function);
    Ok(took)
}

async fn await_standby(supervisor: &Supervisor) -> Result<()> {
    let begun = Instant::now();
    while supervisor.standby_count() == 0 {
        ensure!(begun.elapsed() < STANDBY_MAX, "no runtime stands by");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Ok(())
}

/// Memory that is nobody else's and no copy of a file, of a runtime of ours that has no code; there is one kind at a time.
fn private_mib(language: Language) -> Option<f64> {
    let bootstrap = match language {
        Language::Node => "bootstrap.cjs",
        Language::Python => "bootstrap.py",
    };
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").ok()?.flatten() {
        let is_ours = fs::read(entry.path().join("cmdline"))
            .is_ok_and(|line| String::from_utf8_lossy(&line).trim_end_matches('\0').ends_with(bootstrap));
        let rollup = is_ours.then(|| fs::read_to_string(entry.path().join("smaps_rollup")).ok()).flatten();
        let Some(rollup) = rollup else { continue };
        let kib: f64 = rollup
            .lines()
            .filter(|line| line.starts_with("Private_Dirty:"))
            .filter_map(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok())
            .sum();
        found.push(kib / 1_024.0);
    }
    (!found.is_empty()).then(|| crate::report::median(found))
}
