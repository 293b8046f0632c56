//! Many invocations and many kills, after which nothing may be left: no descriptor, mount, control group or zombie.
//!
//! A tenth of it is done first, so that what is allocated once is not taken for growth. Both figures are taken when the
//! supervisor has shut down, while the launcher of sandboxes lives on.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use environment::{Standbys, Supervisor};
use lambda::invoke::{Revision, Run as _};

use crate::{
    invoke::{
        Host,
        functions::{Function, Language, check, invocation},
        told,
    },
    say,
};

/// Callers of warm functions, and of those that are killed.
const CALLERS: usize = 4;
/// What memory may differ by, per cent.
const MEMORY_PERCENT: u64 = 5;
/// How long what was killed may take to go.
const REST_MAX: Duration = Duration::from_secs(40);
/// How long threads that have nothing to do wait for something, and a little more: each keeps some memory for itself.
const THREADS_REST: Duration = Duration::from_secs(12);

/// What a process tree holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Held {
    descriptors: usize,
    launcher_descriptors: usize,
    launcher_mounts: usize,
    groups: usize,
    zombies: usize,
    threads: usize,
    resident_kib: u64,
    launcher_resident_kib: u64,
}

/// # Errors
/// When something is left, or a function does not answer.
pub fn run(arguments: &[String]) -> Result<()> {
    let (mut calls, mut kills) = (1_000_000, 10_000);
    for pair in arguments.chunks(2) {
        match pair {
            [name, value] if name == "--calls" => calls = value.parse::<usize>()?,
            [name, value] if name == "--kills" => kills = value.parse::<usize>()?,
            // Where results of other measurements go.
            [name, _] if name == "--results" => {}
            _ => bail!("usage: cargo xtask bench soak [--calls N] [--kills N]"),
        }
    }
    let host = Host::start()?;
    say(&format!("functions run {}", host.isolation))?;
    burden(&host, calls / 10, kills / 10)?;
    let before = at_rest(host.folder.path())?;
    say(&format!("after a tenth: {before:?}"))?;
    burden(&host, calls - calls / 10, kills - kills / 10)?;
    let after = at_rest(host.folder.path())?;
    say(&format!("after all:     {after:?}"))?;
    let same = Held { resident_kib: 0, launcher_resident_kib: 0, ..after }
        == Held { resident_kib: 0, launcher_resident_kib: 0, ..before };
    let more = |after: u64, before: u64| after > before + before * MEMORY_PERCENT / 100;
    ensure!(same, "something is left");
    ensure!(!more(after.resident_kib, before.resident_kib), "the server's memory grows");
    ensure!(!more(after.launcher_resident_kib, before.launcher_resident_kib), "the launcher's memory grows");
    say(&format!("{calls} invocations and {kills} kills have left nothing behind"))
}

/// One supervisor's life: warm calls, and functions that are killed after each call, side by side.
fn burden(host: &Host, calls: usize, kills: usize) -> Result<()> {
    let supervisor = host.supervisor(Standbys::Always)?;
    let function = Function::authorizer(host.folder.path(), Language::Node)?;
    let (left, victims) = (Arc::new(AtomicUsize::new(calls)), Arc::new(AtomicUsize::new(kills)));
    let begun = Instant::now();
    let worked = host.runtime.block_on(async {
        let mut tasks = Vec::new();
        for _ in 0..CALLERS {
            let (caller, revision, left) = (supervisor.clone(), function.revision(0), Arc::clone(&left));
            tasks.push(tokio::spawn(async move { call(&caller, &revision, &left).await }));
            let (killer, victim, victims) = (supervisor.clone(), function.renamed("victim"), Arc::clone(&victims));
            tasks.push(tokio::spawn(async move { kill(&killer, &victim, &victims).await }));
        }
        for task in tasks {
            task.await??;
        }
        Ok::<_, anyhow::Error>(())
    });
    host.stop(&supervisor);
    say(&format!("{calls} invocations and {kills} kills took {:.0} s", begun.elapsed().as_secs_f64()))?;
    worked
}

async fn call(supervisor: &Supervisor, revision: &Arc<Revision>, left: &AtomicUsize) -> Result<()> {
    while next(left).is_some() {
        check(&supervisor.run(Arc::clone(revision), invocation()).await.map_err(told)?)?;
    }
    Ok(())
}

/// Calls a function of its own each time, and has it killed.
async fn kill(supervisor: &Supervisor, victim: &Revision, left: &AtomicUsize) -> Result<()> {
    while let Some(number) = next(left) {
        let revision = Arc::new(Revision {
            function: format!("victim-{number}"),
            revision_id: number.to_string(),
            ..victim.clone()
        });
        let outcome = supervisor.run(Arc::clone(&revision), invocation()).await.map_err(told)?;
        check(&outcome)?;
        supervisor.retire(&revision.account, &revision.region, &revision.function);
    }
    Ok(())
}

fn next(left: &AtomicUsize) -> Option<usize> {
    left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).ok()
}

/// What is held once nothing goes away any more.
fn at_rest(folder: &Path) -> Result<Held> {
    let begun = Instant::now();
    std::thread::sleep(THREADS_REST);
    let mut last = held(folder)?;
    loop {
        std::thread::sleep(Duration::from_millis(500));
        let now = held(folder)?;
        let settled = Held { resident_kib: 0, launcher_resident_kib: 0, ..now }
            == Held { resident_kib: 0, launcher_resident_kib: 0, ..last };
        if settled && now.zombies == 0 {
            return Ok(now);
        }
        ensure!(begun.elapsed() < REST_MAX, "it does not come to rest: {now:?}");
        last = now;
    }
}

fn held(folder: &Path) -> Result<Held> {
    let own = std::process::id();
    let children = children(own)?;
    let launcher = children
        .iter()
        .find(|(pid, _)| fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.ends_with(b"\0launcher\0")));
    let entries = |path: PathBuf| fs::read_dir(path).map_or(0, Iterator::count);
    let (mut zombies, mut descriptors, mut mounts, mut resident) =
        (children.iter().filter(|(_, z)| *z).count(), 0, 0, 0);
    if let Some((pid, _)) = launcher {
        zombies += self::children(*pid)?.iter().filter(|(_, is_zombie)| *is_zombie).count();
        descriptors = entries(format!("/proc/{pid}/fd").into());
        mounts = fs::read_to_string(format!("/proc/{pid}/mountinfo"))?.lines().count();
        resident = resident_kib(*pid)?;
    }
    // Scratch directories count with the groups: both belong to one environment each.
    Ok(Held {
        descriptors: entries("/proc/self/fd".into()),
        launcher_descriptors: descriptors,
        launcher_mounts: mounts,
        groups: groups(launcher.map(|(pid, _)| *pid)) + entries(folder.join("functions/tmp")),
        zombies,
        threads: entries("/proc/self/task".into()),
        resident_kib: resident_kib(own)?,
        launcher_resident_kib: resident,
    })
}

/// Children of a process, and whether each is a zombie.
fn children(parent: u32) -> Result<Vec<(u32, bool)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
        let mut fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
        let (state, of) = (fields.next(), fields.next());
        if of.and_then(|of| of.parse::<u32>().ok()) == Some(parent) {
            found.push((pid, state == Some("Z")));
        }
    }
    Ok(found)
}

/// Control groups below the launcher's own.
fn groups(launcher: Option<u32>) -> usize {
    let name = launcher.map(|pid| format!("-{pid}-")).unwrap_or_default();
    let mut waiting = vec![PathBuf::from("/sys/fs/cgroup")];
    let mut count = 0;
    while let Some(folder) = waiting.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                let path = entry.path();
                let ours = path.components().any(|part| {
                    let part = part.as_os_str().to_string_lossy();
                    part.contains("portcullis") && part.contains(&name)
                });
                count += usize::from(ours);
                waiting.push(path);
            }
        }
    }
    count
}

fn resident_kib(pid: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.trim().trim_end_matches("kB").trim().parse()?)
}
