//! What is left behind: nothing, whoever dies first.

use std::{
    fs,
    io::ErrorKind,
    os::fd::{AsRawFd, OwnedFd},
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use sandbox::{Exit, Launched, Launcher, Mechanism, Request, Tier};

use crate::{
    Test,
    world::{World, eventually, launcher, readable, request, weak_launcher},
};

pub const TESTS: &[Test] = &[
    ("many_launches_leak_nothing", many_launches_leak_nothing),
    ("several_threads_launch_at_once", several_threads_launch_at_once),
    ("who_dies_slowly_holds_nobody_up", who_dies_slowly_holds_nobody_up),
    ("a_frozen_sandbox_stands_still_and_dies_like_any_other", a_frozen_sandbox_stands_still_and_dies_like_any_other),
    ("launcher_and_process_1_hold_only_what_they_need", launcher_and_process_1_hold_only_what_they_need),
    ("the_launcher_s_death_is_the_sandboxes", the_launcher_s_death_is_the_sandboxes),
    ("the_launcher_is_not_asked_to_end_by_signals", the_launcher_is_not_asked_to_end_by_signals),
    ("a_dropped_launcher_ends_everything", a_dropped_launcher_ends_everything),
];

/// Launches of the leak test, unless `--launches=N` says otherwise.
const LAUNCHES: usize = 500;

/// What a launcher holds.
#[derive(Debug, PartialEq, Eq)]
struct Held {
    descriptors: usize,
    mounts: usize,
    children: usize,
    zombies: usize,
    groups: usize,
}

fn held(launcher: &Launcher) -> Held {
    let pid = pid_of(launcher);
    let process = Path::new("/proc").join(pid.to_string());
    let children = fs::read_to_string(process.join("task").join(pid.to_string()).join("children")).unwrap();
    let children: Vec<&str> = children.split_ascii_whitespace().collect();
    let state = |child: &&&str| {
        let status = fs::read_to_string(format!("/proc/{child}/status")).unwrap_or_default();
        status.lines().any(|line| line.starts_with("State:\tZ"))
    };
    Held {
        descriptors: fs::read_dir(process.join("fd")).unwrap().count(),
        mounts: fs::read_to_string(process.join("mountinfo")).unwrap().lines().count(),
        children: children.len(),
        zombies: children.iter().filter(state).count(),
        groups: groups_of(pid).iter().map(|group| fs::read_dir(group.join("functions")).unwrap().count()).sum(),
    }
}

/// Memory that is the launcher's own, KiB.
fn memory(launcher: &Launcher) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", pid_of(launcher))).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Number of the launcher's process.
pub fn pid_of(launcher: &Launcher) -> i32 {
    pid_behind(&launcher.watch().unwrap())
}

/// Number of the process behind a descriptor.
pub fn pid_behind(pidfd: &OwnedFd) -> i32 {
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd())).unwrap();
    info.lines().find_map(|line| line.strip_prefix("Pid:")).unwrap().trim().parse().unwrap()
}

/// Directories of the control groups of a launcher, whose number is in their name.
pub fn groups_of(pid: i32) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![PathBuf::from("/sys/fs/cgroup")];
    while let Some(directory) = open.pop() {
        let Ok(entries) = fs::read_dir(&directory) else { continue };
        for entry in entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with("portcullis-") && name.split('-').any(|part| part == pid.to_string()) {
                found.push(entry.path());
            } else if open.len() < 1_000 {
                open.push(entry.path());
            }
        }
    }
    found
}

/// The launcher at rest: with its blanks made, and nothing else.
fn at_rest(launcher: &Launcher) -> Held {
    let mut last = held(launcher);
    eventually("the launcher comes to rest", || {
        thread::sleep(std::time::Duration::from_millis(60));
        let now = held(launcher);
        let same = now == last && now.children == 2;
        last = now;
        same
    });
    last
}

fn many_launches_leak_nothing(world: &World) {
    world.run("exit-3");
    let before = at_rest(&world.launcher);
    let memory_before = memory(&world.launcher);
    let code = world.files("leaks-code", &[("a", "a")]);
    let request = Request { ports: vec![9001, 4566, 3128], ..request() };
    let said = std::env::args().find_map(|argument| argument.strip_prefix("--launches=")?.parse().ok());
    for number in 0..said.unwrap_or(LAUNCHES) {
        let full = Request { code: Some(code.clone()), ..request.clone() };
        let mut sandbox = match number % 5 {
            // Killed before anything runs.
            0 => {
                let sandbox = world.launcher.launch(&request, &world.inside("sleep")).unwrap();
                world.launcher.kill(sandbox.id);
                world.launcher.reap(sandbox.id).unwrap();
                continue;
            }
            // Reaped without having been killed.
            1 => {
                let sandbox = world.launcher.launch(&full, &world.inside("sleep")).unwrap();
                world.launcher.reap(sandbox.id).unwrap();
                continue;
            }
            // Refused.
            2 => {
                let request = Request { code: Some("/no/such/code".into()), ..request.clone() };
                assert!(world.launcher.launch(&request, &world.inside("sleep")).is_err());
                continue;
            }
            3 => {
                let sandbox = world.launcher.launch(&request, &world.inside("exit-3")).unwrap();
                let _ = world.launcher.assign(sandbox.id, &full);
                sandbox
            }
            _ => world.launcher.launch(&full, &world.inside("exit-3")).unwrap(),
        };
        assert_eq!(world.end(&mut sandbox).exit, Exit::Code(3), "launch {number}");
    }
    assert_eq!(at_rest(&world.launcher), before);
    let memory_after = memory(&world.launcher);
    assert!(memory_after <= memory_before + 256, "the launcher grew from {memory_before} to {memory_after} KiB");
}

fn several_threads_launch_at_once(world: &World) {
    let done = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..10 {
                    if world.run("exit-3").exit == Exit::Code(3) {
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    assert_eq!(done.into_inner(), 40);
}

/// Sandboxes that cannot die, for they are frozen: with version 1 that outlasts a kill, and in a group of their own inside
/// the sandbox's also what the kill thaws.
fn who_dies_slowly_holds_nobody_up(world: &World) {
    let request = Request { cpu_millis: 500, cpu_weight: 2, ..request() };
    let slow: Vec<_> = (0..10).map(|_| world.launcher.launch(&request, &world.inside("sleep")).unwrap()).collect();
    let groups = groups_of(pid_of(&world.launcher));
    let file = |sandbox: &Launched, name: &str| {
        let one = pid_behind(&sandbox.pidfd).to_string();
        let of_all = groups.iter().filter_map(|group| fs::read_dir(group.join("functions")).ok()).flatten().flatten();
        let mut own = of_all.map(|entry| entry.path()).filter(|group| {
            fs::read_to_string(group.join("cgroup.procs"))
                .is_ok_and(|processes| processes.lines().any(|pid| pid == one))
        });
        own.find_map(|group| Some(group.join(name)).filter(|file| file.exists()))
    };
    let shares = file(&slow[0], "cpu.shares");
    let quota = file(&slow[0], "cpu.cfs_quota_us");
    let states: Vec<PathBuf> = slow.iter().filter_map(|sandbox| file(sandbox, "freezer.state")).collect();
    let held: Vec<PathBuf> = states.iter().map(|state| state.with_file_name("held")).collect();
    for held in &held {
        fs::create_dir(held).unwrap();
        for pid in fs::read_to_string(held.with_file_name("cgroup.procs")).unwrap().lines() {
            fs::write(held.join("cgroup.procs"), pid).unwrap();
        }
        fs::write(held.join("freezer.state"), "FROZEN").unwrap();
    }
    slow.iter().for_each(|sandbox| world.launcher.kill(sandbox.id));
    if states.len() == slow.len() {
        thread::scope(|scope| {
            for sandbox in &slow {
                scope.spawn(|| {
                    let error = world.launcher.reap(sandbox.id).unwrap_err();
                    assert_eq!(error.source.kind(), ErrorKind::WouldBlock, "{error}");
                });
            }
            for _ in 0..5 {
                assert_eq!(world.run("exit-3").exit, Exit::Code(3));
            }
        });
        // Uncapped, and no heavier than a small function.
        let [shares, quota] = [shares, quota].map(|file| file.map(|file| fs::read_to_string(file).unwrap()));
        assert!(shares.is_none_or(|shares| shares.trim() == "102"));
        assert!(quota.is_none_or(|quota| quota.trim() == "-1"));
    }
    for held in &held {
        fs::write(held.join("freezer.state"), "THAWED").unwrap();
    }
    for sandbox in &slow {
        assert!(readable(&sandbox.pidfd));
    }
    for held in &held {
        eventually("all inside are gone", || fs::remove_dir(held).is_ok());
    }
    for sandbox in &slow {
        world.launcher.reap(sandbox.id).unwrap();
    }
}

fn a_frozen_sandbox_stands_still_and_dies_like_any_other(world: &World) {
    let launch = if world.tier() == Tier::B { weak_launcher } else { launcher };
    let launcher = launch(world.directory.path());
    let launch = || launcher.launch(&request(), &world.inside("sleep")).unwrap();
    let sandboxes: Vec<_> = (0..3).map(|_| launch()).collect();
    let freezes = launcher.report().works(Mechanism::Freezer);
    assert!(sandboxes.iter().all(|sandbox| sandbox.freezer.is_some() == freezes));
    let groups = groups_of(pid_of(&launcher));
    let groups: Vec<PathBuf> = groups
        .iter()
        .filter_map(|group| fs::read_dir(group.join("functions")).ok())
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .collect();
    let frozen = || {
        let read = |file: PathBuf| fs::read_to_string(file).unwrap_or_default();
        let stands = |group: &&PathBuf| {
            read(group.join("freezer.state")) == "FROZEN\n" || read(group.join("cgroup.events")).contains("frozen 1")
        };
        groups.iter().filter(stands).count()
    };
    let set = |frozen| {
        let freezers = sandboxes.iter().filter_map(|sandbox| sandbox.freezer.as_ref());
        freezers.map(|freezer| freezer.set(frozen).unwrap()).count()
    };
    assert_eq!(frozen(), 0);
    let count = set(true);
    eventually("all stand still", || frozen() == count);
    set(false);
    eventually("all run on", || frozen() == 0);
    set(true);
    eventually("all stand still", || frozen() == count);
    // One is killed, one reaped, and one is left to the launcher's end.
    launcher.kill(sandboxes[0].id);
    assert!(readable(&sandboxes[0].pidfd));
    for sandbox in &sandboxes[..2] {
        launcher.reap(sandbox.id).unwrap();
    }
    let pid = pid_of(&launcher);
    drop(launcher);
    assert!(readable(&sandboxes[2].pidfd));
    assert_eq!(groups_of(pid), Vec::<PathBuf>::new());
}

fn launcher_and_process_1_hold_only_what_they_need(world: &World) {
    let field = |pid: i32, name: &str| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t").map(str::to_owned));
        line.unwrap().trim().to_owned()
    };
    let sandbox = world.launcher.launch(&request(), &world.inside("sleep")).unwrap();
    let one = pid_behind(&sandbox.pidfd);
    eventually("process 1 gives everything up", || field(one, "CapEff") == "0000000000000000");
    assert_eq!(field(one, "CapPrm"), "0000000000000000");
    assert_eq!(field(one, "NoNewPrivs"), "1");
    if world.tier() == Tier::A1 {
        let launcher = pid_of(&world.launcher);
        // CAP_DAC_OVERRIDE, KILL, SETGID, SETUID, SYS_CHROOT, SYS_ADMIN.
        let kept = format!("{:016x}", [1, 5, 6, 7, 18, 21].map(|number| 1_u64 << number).iter().sum::<u64>());
        assert_eq!((field(launcher, "CapEff"), field(launcher, "CapPrm")), (kept.clone(), kept));
        assert_eq!((field(launcher, "NoNewPrivs"), field(launcher, "Groups")), ("1".to_owned(), String::new()));
        let descriptors = fs::read_dir(format!("/proc/{one}/fd")).unwrap().count();
        assert_eq!(descriptors, 1, "process 1 holds the status pipe alone");
        let users: Vec<u32> = field(one, "Uid").split('\t').map(|user| user.parse().unwrap()).collect();
        assert!(users.iter().all(|user| *user >= 2_100_000_000), "{users:?}");
    }
    world.launcher.reap(sandbox.id).unwrap();
}

fn the_launcher_s_death_is_the_sandboxes(world: &World) {
    let launcher = launcher(world.directory.path());
    let sandboxes: Vec<_> = (0..3).map(|_| launcher.launch(&request(), &world.inside("sleep")).unwrap()).collect();
    let pid = pid_of(&launcher);
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    for sandbox in &sandboxes {
        assert!(readable(&sandbox.pidfd), "a sandbox outlives its launcher");
        assert_eq!(sandbox::exit(&sandbox.status), Exit::Killed);
    }
    assert!(readable(&launcher.watch().unwrap()));
    assert!(launcher.launch(&request(), &world.inside("sleep")).is_err());
    launcher.kill(sandboxes[0].id);
    assert!(launcher.reap(sandboxes[0].id).is_err());
    let left = groups_of(pid);
    if world.tier() == Tier::A1 {
        assert!(!left.is_empty(), "there is nothing to sweep: this test shows nothing");
    }
    drop(launcher);
    // The next one sweeps what this one left; what is still dying by then, the one after it.
    for _ in 0..20 {
        drop(crate::world::launcher(world.directory.path()));
        if groups_of(pid).is_empty() {
            return;
        }
        thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(groups_of(pid), Vec::<PathBuf>::new());
}

fn the_launcher_is_not_asked_to_end_by_signals(world: &World) {
    let pid = Pid::from_raw(pid_of(&world.launcher)).unwrap();
    for signal in [Signal::TERM, Signal::INT, Signal::HUP, Signal::QUIT] {
        kill_process(pid, signal).unwrap();
    }
    // Inside they are as deadly as ever.
    assert_eq!(world.run("killed").exit, Exit::Signal(15));
}

fn a_dropped_launcher_ends_everything(world: &World) {
    let launcher = launcher(world.directory.path());
    let pid = pid_of(&launcher);
    let sandboxes: Vec<_> = (0..3).map(|_| launcher.launch(&request(), &world.inside("sleep")).unwrap()).collect();
    drop(launcher);
    for sandbox in &sandboxes {
        assert!(readable(&sandbox.pidfd));
    }
    assert_eq!(groups_of(pid), Vec::<PathBuf>::new());
}
