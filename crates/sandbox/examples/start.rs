//! What a sandbox costs: starts of `/bin/true` in one, against a plain start.
//!
//! `cargo run --release -p sandbox --example start [COUNT]`, as root for tier A1.

use std::{
    env,
    ffi::OsString,
    io::{self, Write},
    os::fd::AsFd,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use rustix::event::{PollFd, PollFlags, poll};
use sandbox::{Exec, Exit, LAUNCHER_ARGUMENT, Launcher, Options, Request};

/// Pause between two starts.
const BETWEEN: Duration = Duration::from_millis(20);

fn main() -> io::Result<()> {
    let argument = env::args_os().nth(1);
    if argument == Some(OsString::from(LAUNCHER_ARGUMENT)) {
        return sandbox::serve();
    }
    let count = argument.and_then(|count| count.to_str()?.parse().ok()).unwrap_or(200);
    let runtime_dir = env::temp_dir();
    let launcher = Launcher::start(Path::new("/proc/self/exe"), &Options { runtime_dir, ..Options::default() })?;
    let mut out = io::stdout();
    writeln!(out, "{:?}", launcher.report())?;
    let plain = median(count, || {
        std::thread::sleep(BETWEEN);
        let begin = Instant::now();
        Command::new("/usr/bin/true").env_clear().status().map(|_| begin.elapsed())
    })?;
    let mut setups = Vec::new();
    let mut reaps = Vec::new();
    let whole = median(count, || {
        // As between starts in life: what the launcher prepares in advance it prepares now.
        std::thread::sleep(BETWEEN);
        let begin = Instant::now();
        let (setup, reap) = in_a_sandbox(&launcher)?;
        setups.push(setup);
        reaps.push(reap);
        Ok(begin.elapsed())
    })?;
    let (setup, reap) = (middle(&mut setups), middle(&mut reaps));
    writeln!(out, "plain start to end {plain:?}; in a sandbox {whole:?} (launch {setup:?}, reap {reap:?})")?;
    writeln!(out, "overhead per start {:?}", whole.saturating_sub(plain))?;
    let assigned = median(count, || assign(&launcher))?;
    writeln!(out, "code and limits for one that waits {assigned:?}")
}

/// How long it takes to give a waiting sandbox its code.
fn assign(launcher: &Launcher) -> io::Result<Duration> {
    let standby = Request { memory_bytes: 128 << 20, tmp_bytes: 512 << 20, cpu_weight: 1, ..Request::default() };
    let exec = Exec {
        program: "/usr/bin/sleep".into(),
        arguments: vec!["1000".into()],
        environment: Vec::new(),
        directory: "/".into(),
    };
    let launched = launcher.launch(&standby, &exec).map_err(io::Error::other)?;
    std::thread::sleep(BETWEEN);
    let request = Request { code: Some(env::temp_dir()), cpu_weight: 7, cpu_millis: 1_000, ..standby };
    let begin = Instant::now();
    launcher.assign(launched.id, &request).map_err(io::Error::other)?;
    let took = begin.elapsed();
    launcher.reap(launched.id).map_err(io::Error::other)?;
    Ok(took)
}

fn in_a_sandbox(launcher: &Launcher) -> io::Result<(Duration, Duration)> {
    let request =
        Request { memory_bytes: 128 << 20, tmp_bytes: 512 << 20, ports: vec![9001, 4566, 3128], ..Request::default() };
    let exec =
        Exec { program: "/usr/bin/true".into(), arguments: Vec::new(), environment: Vec::new(), directory: "/".into() };
    let begin = Instant::now();
    let launched = launcher.launch(&request, &exec).map_err(io::Error::other)?;
    let setup = begin.elapsed();
    poll(&mut [PollFd::new(&launched.pidfd.as_fd(), PollFlags::IN)], None)?;
    let exit = sandbox::exit_and_step(&launched.status);
    if exit.0 != Exit::Code(0) {
        return Err(io::Error::other(format!("{exit:?}")));
    }
    let ended = Instant::now();
    launcher.reap(launched.id).map_err(io::Error::other)?;
    Ok((setup, ended.elapsed()))
}

fn median(count: usize, mut run: impl FnMut() -> io::Result<Duration>) -> io::Result<Duration> {
    let mut all = Vec::with_capacity(count);
    for _ in 0..count {
        all.push(run()?);
    }
    Ok(middle(&mut all))
}

fn middle(all: &mut [Duration]) -> Duration {
    all.sort_unstable();
    all.get(all.len() / 2).copied().unwrap_or_default()
}
