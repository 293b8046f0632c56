//! Without namespaces (tier B): what sandboxes are there, and that nothing of them stays.

use std::{
    fs,
    io::Read,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    thread,
};

use rustix::process::{Pid, Signal, kill_process};
use sandbox::{Exec, Exit, Launched, Launcher, Mechanism, Meter, Request, Tier};

use crate::{
    Test, leaks,
    leaks::{groups_of, pid_behind, pid_of},
    life, rank,
    world::{World, eventually, readable, request, weak_launcher},
};

pub const TESTS: &[Test] = &[
    ("the_host_is_taken_for_what_it_is", the_host_is_taken_for_what_it_is),
    ("the_program_is_a_user_of_its_own_and_can_do_nothing", the_program_is_a_user_of_its_own),
    ("no_two_sandboxes_are_the_same_user", no_two_sandboxes_are_the_same_user),
    ("code_layers_and_bootstraps_are_seen_where_they_lie", code_is_seen_where_it_lies),
    ("what_is_not_reachable_or_not_there_is_refused", what_is_not_reachable_is_refused),
    ("its_directory_is_its_own_and_goes_with_it", its_directory_is_its_own),
    ("a_directory_that_is_too_full_ends_it_and_says_so", a_full_directory_ends_it),
    ("a_directory_of_too_many_files_ends_it", too_many_files_end_it),
    ("a_large_file_ends_at_its_limit", a_large_file_ends),
    ("a_kill_takes_along_who_hid", a_kill_takes_along_who_hid),
    ("the_end_of_the_program_takes_along_who_hid", the_end_takes_along_who_hid),
    ("the_warden_is_out_of_reach", the_warden_is_out_of_reach),
    ("what_a_killed_warden_left_is_cleared_away", what_a_killed_warden_left_is_cleared_away),
    ("a_fork_bomb_ends_with_its_sandbox", a_fork_bomb_ends),
    ("memory_of_orphans_is_measured", memory_of_orphans_is_measured),
    ("many_launches_leave_nothing", many_launches_leave_nothing),
    ("the_launcher_s_death_is_theirs_and_the_next_clears_up", the_launcher_s_death_is_theirs),
    ("a_dropped_launcher_leaves_nothing", a_dropped_launcher_leaves_nothing),
    ("two_launchers_have_no_number_in_common", two_launchers_have_no_number_in_common),
    ("standbys_and_ports_are_refused", standbys_and_ports_are_refused),
];

/// Tests of the other tiers that hold here as they are.
const ALSO: &[&str] = &[
    "a_program_runs_and_its_code_comes_back",
    "a_signal_is_told_from_a_code",
    "what_cannot_be_executed_says_so",
    "too_large_an_environment_is_refused",
    "the_end_of_the_program_takes_along_its_children",
    "a_killed_sandbox_may_be_killed_and_reaped_again",
    "several_threads_launch_at_once",
    "the_launcher_is_not_asked_to_end_by_signals",
    "a_frozen_sandbox_stands_still_and_dies_like_any_other",
    "a_sandbox_that_went_last_has_its_weight_again",
];

pub fn all() -> impl Iterator<Item = Test> {
    let also = life::TESTS.iter().chain(leaks::TESTS).chain(rank::TESTS).filter(|(name, _)| ALSO.contains(name));
    assert_eq!(also.clone().count(), ALSO.len());
    TESTS.iter().chain(also).copied()
}

fn the_host_is_taken_for_what_it_is(world: &World) {
    let report = world.launcher.report();
    assert_eq!(report.tier, Tier::B, "{report}");
    for mechanism in [Mechanism::Namespaces, Mechanism::OwnRoot, Mechanism::Network] {
        assert!(!report.works(mechanism), "{report}");
    }
    // Nobody asked for weak sandboxes: it tells the same and makes none.
    let launcher = crate::world::launcher(world.directory.path());
    assert_eq!(launcher.report().tier, Tier::B);
    assert!(launcher.launch(&request(), &world.inside("exit-3")).is_err());
}

fn the_program_is_a_user_of_its_own(world: &World) {
    let seen = world.run("identity").fine();
    let nothing = "0000000000000000";
    for wanted in [
        &format!("CapInh:\t{nothing}"),
        &format!("CapPrm:\t{nothing}"),
        &format!("CapEff:\t{nothing}"),
        &format!("CapBnd:\t{nothing}"),
        &format!("CapAmb:\t{nothing}"),
        "NoNewPrivs:\t1",
        "Groups:",
    ] {
        assert!(seen.lines().any(|line| line.trim_end() == wanted), "{wanted:?} is not in\n{seen}");
    }
    for kind in ["Uid:", "Gid:"] {
        let line = seen.lines().find(|line| line.starts_with(kind)).unwrap();
        let numbers: Vec<u32> = line.split_whitespace().skip(1).map(|number| number.parse().unwrap()).collect();
        assert!(numbers.iter().all(|number| *number == numbers[0] && *number >= 2_100_000_000), "{seen}");
    }
}

/// The user of a sandbox's function, whom its directory belongs to.
fn user_of(world: &World, sandbox: &Launched) -> u32 {
    let directories = directories(world.directory.path());
    let own = directories.iter().find(|path| path.ends_with(sandbox.id.to_string())).unwrap();
    fs::metadata(own).unwrap().uid()
}

/// Directories of all sandboxes below one.
fn directories(below: &Path) -> Vec<PathBuf> {
    let listed = |path: &Path| fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
    let launchers =
        listed(below).into_iter().filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("portcullis-"));
    launchers.flat_map(|launcher| listed(&launcher)).collect()
}

/// Processes of a user, as anybody sees them.
fn processes_of(user: u32) -> usize {
    let of = |entry: fs::DirEntry| {
        let status = fs::read_to_string(entry.path().join("status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("Uid:")).unwrap_or_default().to_owned();
        line.split_whitespace().next() == Some(&user.to_string())
    };
    fs::read_dir("/proc").unwrap().flatten().map(of).filter(|found| *found).count()
}

fn no_two_sandboxes_are_the_same_user(world: &World) {
    let sandboxes: Vec<_> =
        (0..3).map(|_| world.launcher.launch(&request(), &world.inside("sleep")).unwrap()).collect();
    let mut users: Vec<u32> = sandboxes.iter().map(|sandbox| user_of(world, sandbox)).collect();
    users.sort_unstable();
    users.dedup();
    assert_eq!(users.len(), 3);
    for sandbox in sandboxes {
        world.launcher.reap(sandbox.id).unwrap();
    }
}

/// A shell, with what it needs to find programs.
fn shell(script: &str) -> Exec {
    Exec {
        program: "/bin/sh".into(),
        arguments: vec!["-c".into(), script.into()],
        environment: vec![("PATH".into(), "/usr/bin:/bin".into())],
        directory: "/".into(),
    }
}

fn run_shell(world: &World, request: &Request, script: &str) -> crate::world::Ended {
    let mut sandbox = world.launcher.launch(request, &shell(script)).unwrap();
    world.end(&mut sandbox)
}

fn code_is_seen_where_it_lies(world: &World) {
    let code = world.files("weak-code", &[("code.txt", "the code")]);
    let layers = world.files("weak-layers", &[("layer.txt", "the layer")]);
    let other = world.files("weak-other", &[("other.txt", "the other's")]);
    let request = Request { code: Some(code.clone()), layers: Some(layers.clone()), ..request() };
    let script = format!(
        "cat {0}/code.txt {1}/layer.txt; cat {2}/other.txt 2>&1; ls {2} 2>&1; for d in {0} {1} {2} /tmp /var/tmp /dev/shm; \
         do (echo x > $d/new) 2>/dev/null && echo wrote $d; done; true",
        code.display(),
        layers.display(),
        other.display()
    );
    let seen = run_shell(world, &request, &script).fine();
    assert!(seen.starts_with("the codethe layer"), "{seen}");
    assert_eq!(seen.matches("Permission denied").count(), 2, "{seen}");
    assert!(!seen.contains("wrote"), "{seen}");
}

fn what_is_not_reachable_is_refused(world: &World) {
    let closed = world.files("closed", &[("a", "a")]);
    let code = world.files("closed/code", &[("a", "a")]);
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
    let error = |code: PathBuf| {
        let request = Request { code: Some(code), ..request() };
        world.launcher.launch(&request, &world.inside("exit-3")).err().unwrap()
    };
    assert_eq!(error("/no/such/code".into()).step, "open /no/such/code");
    let refused = error(code);
    assert!(refused.step.contains("let everybody pass"), "{refused}");
    assert!(world.launcher.provide(&[("/usr/share".into(), "/var/lang".into())]).is_err(), "nothing is seen elsewhere");
    world.launcher.provide(&[("/usr/share".into(), "/usr/share".into())]).unwrap();
    assert_eq!(world.run("exit-3").exit, Exit::Code(3));
}

fn its_directory_is_its_own(world: &World) {
    let script = "echo secret > $TMPDIR/a; mkdir -p $TMPDIR/b/c; chmod 0 $TMPDIR/b; echo $TMPDIR; stat -c '%a %u' $TMPDIR; id -u; exec sleep 1000";
    let sandbox = world.launcher.launch(&request(), &shell(script)).unwrap();
    let mut output = fs::File::from(sandbox.output.try_clone().unwrap());
    let mut told = String::new();
    while told.lines().count() < 3 || !told.ends_with('\n') {
        let mut some = [0; 256];
        let read = output.read(&mut some).unwrap();
        told.push_str(str::from_utf8(&some[..read]).unwrap());
    }
    let lines: Vec<&str> = told.lines().collect();
    let (directory, user) = (PathBuf::from(lines[0]), lines[2]);
    assert_eq!(lines[1], format!("700 {user}"), "{told}");
    assert_eq!(directories(world.directory.path()), std::slice::from_ref(&directory));
    let other = format!("cat {0}/a 2>&1; ls {0} 2>&1; echo x 2>&1 > {0}/x; true", directory.display());
    let seen = run_shell(world, &request(), &other).fine();
    assert!(!seen.contains("secret") && seen.matches("ermission denied").count() >= 2, "{seen}");
    world.launcher.kill(sandbox.id);
    world.launcher.reap(sandbox.id).unwrap();
    assert_eq!(directories(world.directory.path()), Vec::<PathBuf>::new());
}

fn a_full_directory_ends_it(world: &World) {
    let request = Request { tmp_bytes: 4 << 20, ..request() };
    let script = "for n in 1 2 3 4 5 6; do head -c 1000000 /dev/zero > $TMPDIR/$n; done; exec sleep 1000";
    let ended = run_shell(world, &request, script);
    assert_eq!(ended.exit, Exit::Killed, "{ended:?}");
    assert!(ended.output.contains("(TMPDIR) holds more than 4 MB"), "{ended:?}");
    // What fits is no reason.
    let script = "for n in 1 2 3; do head -c 1000000 /dev/zero > $TMPDIR/$n; done; sleep 0.3; cat $TMPDIR/* | wc -c";
    assert_eq!(run_shell(world, &request, script).fine(), "3000000\n");
}

fn too_many_files_end_it(world: &World) {
    let request = Request { tmp_bytes: 4 << 20, ..request() };
    let script = "n=0; while [ $n -lt 5000 ]; do : > $TMPDIR/$n; n=$((n+1)); done; exec sleep 1000";
    assert_eq!(run_shell(world, &request, script).exit, Exit::Killed);
}

fn a_large_file_ends(world: &World) {
    let request = Request { tmp_bytes: 1 << 20, ..request() };
    let script = "trap '' XFSZ; head -c 5000000 /dev/zero > $TMPDIR/big 2>/dev/null; wc -c < $TMPDIR/big";
    assert_eq!(run_shell(world, &request, script).fine(), "1048576\n");
}

/// Leaves its session, its parents and its name behind; some ignore what can be ignored.
const HIDE: &str = "n=0; while [ $n -lt 20 ]; do setsid -f sh -c 'trap \"\" TERM INT HUP; (sleep 1000 & sleep 1000 &) ; sleep 1000'; \
                    n=$((n+1)); done;";

fn a_kill_takes_along_who_hid(world: &World) {
    let sandbox = world.launcher.launch(&request(), &shell(&format!("{HIDE} echo ready; exec sleep 1000"))).unwrap();
    let mut ready = [0; 6];
    fs::File::from(sandbox.output.try_clone().unwrap()).read_exact(&mut ready).unwrap();
    let user = user_of(world, &sandbox);
    eventually("all hide", || processes_of(user) > 60);
    world.launcher.kill(sandbox.id);
    assert!(readable(&sandbox.pidfd));
    assert_eq!(processes_of(user), 0, "it is readable only when all are dead");
    assert_eq!(sandbox::exit(&sandbox.status), Exit::Killed);
    world.launcher.reap(sandbox.id).unwrap();
}

fn the_end_takes_along_who_hid(world: &World) {
    let sandbox = world.launcher.launch(&request(), &shell(&format!("{HIDE} exit 5"))).unwrap();
    let user = user_of(world, &sandbox);
    assert!(readable(&sandbox.pidfd));
    assert_eq!((processes_of(user), sandbox::exit(&sandbox.status)), (0, Exit::Code(5)));
    world.launcher.reap(sandbox.id).unwrap();
}

fn the_warden_is_out_of_reach(world: &World) {
    let script = "kill -9 $PPID; kill -STOP $PPID; kill -9 -1; renice -n 19 -p $PPID >/dev/null; taskset -pc 0 $PPID >/dev/null; \
                  ionice -c 3 -p $PPID; prlimit --pid $PPID --cpu=1; cat /proc/$PPID/environ; echo x > /proc/$PPID/oom_score_adj; exit 7";
    let sandbox = world.launcher.launch(&request(), &shell(&format!("sleep 1000; {script}"))).unwrap();
    let warden = pid_behind(&sandbox.pidfd);
    let status = fs::read_to_string(format!("/proc/{warden}/status")).unwrap();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t")).unwrap();
        line.trim().to_owned()
    };
    for name in ["CapEff", "CapPrm", "CapInh", "CapAmb", "CapBnd"] {
        assert_eq!(field(name), "0000000000000000", "{status}");
    }
    assert_eq!((field("NoNewPrivs"), field("Groups")), ("1".to_owned(), String::new()));
    let users: Vec<u32> = field("Uid").split('\t').map(|user| user.parse().unwrap()).collect();
    let user = user_of(world, &sandbox);
    assert_eq!((users[0], users[1], users[2]), (user + 1, user, user + 1), "{status}");
    world.launcher.kill(sandbox.id);
    world.launcher.reap(sandbox.id).unwrap();

    let ended = run_shell(world, &request(), script);
    assert_eq!(ended.exit, Exit::Code(7), "{ended:?}");
    // kill, kill, renice, taskset, ionice, prlimit, cat, echo: each says that it may not.
    assert!(ended.output.lines().filter(|line| !line.is_empty()).count() >= 8, "{ended:?}");
}

fn what_a_killed_warden_left_is_cleared_away(world: &World) {
    let sandbox = world.launcher.launch(&request(), &shell(&format!("{HIDE} echo ready; exec sleep 1000"))).unwrap();
    let mut ready = [0; 6];
    fs::File::from(sandbox.output.try_clone().unwrap()).read_exact(&mut ready).unwrap();
    let user = user_of(world, &sandbox);
    kill_process(Pid::from_raw(pid_behind(&sandbox.pidfd)).unwrap(), Signal::KILL).unwrap();
    assert!(readable(&sandbox.pidfd));
    world.launcher.reap(sandbox.id).unwrap();
    assert_eq!(processes_of(user), 0);
    assert_eq!(directories(world.directory.path()), Vec::<PathBuf>::new());
}

fn a_fork_bomb_ends(world: &World) {
    let sandbox = world.launcher.launch(&request(), &shell("f() { f | f & }; f; exec sleep 1000")).unwrap();
    let user = user_of(world, &sandbox);
    eventually("it spreads", || processes_of(user) > 100);
    world.launcher.kill(sandbox.id);
    eventually("it is gone", || world.launcher.reap(sandbox.id).is_ok());
    assert_eq!(processes_of(user), 0);
    assert_eq!(world.run("exit-3").exit, Exit::Code(3));
}

fn memory_of_orphans_is_measured(world: &World) {
    // The shell holds it as long as it may need it.
    let hold = "setsid -f sh -c 'x=$(head -c 16777216 /dev/zero | tr \"\\0\" x); echo held; sleep 1000; echo $x'; exec sleep 1000";
    let sandbox = world.launcher.launch(&request(), &shell(hold)).unwrap();
    let mut held = [0; 5];
    fs::File::from(sandbox.output.try_clone().unwrap()).read_exact(&mut held).unwrap();
    let meter = Meter::new(&sandbox.pidfd).unwrap();
    let used = meter.in_use(u64::MAX).unwrap().anonymous;
    assert!(used >= 16 << 20, "{used}");
    world.launcher.kill(sandbox.id);
    world.launcher.reap(sandbox.id).unwrap();
}

/// What a launcher holds: descriptors, children, directories, groups.
fn held(world: &World, launcher: &Launcher) -> (usize, String, usize, usize) {
    let pid = pid_of(launcher);
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    let groups = groups_of(pid).iter().map(|group| fs::read_dir(group.join("functions")).unwrap().count()).sum();
    (descriptors, children, directories(world.directory.path()).len(), groups)
}

fn many_launches_leave_nothing(world: &World) {
    world.run("exit-3");
    let before = held(world, &world.launcher);
    assert_eq!(before.1, "");
    for number in 0..200 {
        match number % 4 {
            0 => {
                let sandbox = world.launcher.launch(&request(), &world.inside("sleep")).unwrap();
                world.launcher.kill(sandbox.id);
                world.launcher.reap(sandbox.id).unwrap();
            }
            1 => {
                let sandbox = world.launcher.launch(&request(), &world.inside("sleep")).unwrap();
                world.launcher.reap(sandbox.id).unwrap();
            }
            2 => {
                let request = Request { code: Some("/no/such/code".into()), ..request() };
                assert!(world.launcher.launch(&request, &world.inside("sleep")).is_err());
            }
            _ => assert_eq!(world.run("exit-3").exit, Exit::Code(3)),
        }
    }
    assert_eq!(held(world, &world.launcher), before);
}

fn the_launcher_s_death_is_theirs(world: &World) {
    let own = world.files("deaths", &[]);
    let launcher = weak_launcher(&own);
    let script = format!("{HIDE} echo x > $TMPDIR/x; echo ready; exec sleep 1000");
    let sandboxes: Vec<_> = (0..3).map(|_| launcher.launch(&request(), &shell(&script)).unwrap()).collect();
    for sandbox in &sandboxes {
        let mut ready = [0; 6];
        fs::File::from(sandbox.output.try_clone().unwrap()).read_exact(&mut ready).unwrap();
    }
    let left = directories(&own);
    assert_eq!(left.len(), 3);
    let users: Vec<u32> = left.iter().map(|path| fs::metadata(path).unwrap().uid()).collect();
    kill_process(Pid::from_raw(pid_of(&launcher)).unwrap(), Signal::KILL).unwrap();
    for sandbox in &sandboxes {
        assert!(readable(&sandbox.pidfd), "a sandbox outlives its launcher");
    }
    assert!(users.into_iter().all(|user| processes_of(user) == 0));
    drop(launcher);
    assert_eq!(directories(&own).len(), 3);
    let next = weak_launcher(&own);
    assert_eq!(next.report().tier, Tier::B);
    assert_eq!(directories(&own), Vec::<PathBuf>::new());
}

fn a_dropped_launcher_leaves_nothing(world: &World) {
    let own = world.files("dropped", &[]);
    let launcher = weak_launcher(&own);
    let sandboxes: Vec<_> = (0..3).map(|_| launcher.launch(&request(), &shell(HIDE)).unwrap()).collect();
    let pid = pid_of(&launcher);
    drop(launcher);
    for sandbox in &sandboxes {
        assert!(readable(&sandbox.pidfd));
    }
    assert_eq!(fs::read_dir(&own).unwrap().count(), 1, "the bootstraps alone");
    assert_eq!(groups_of(pid), Vec::<PathBuf>::new());
}

fn two_launchers_have_no_number_in_common(world: &World) {
    let users = thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|number| {
                scope.spawn(move || {
                    let own = world.files(&format!("common-{number}"), &[]);
                    let launcher = weak_launcher(&own);
                    let sandbox = launcher.launch(&request(), &world.inside("sleep")).unwrap();
                    let user = fs::metadata(&directories(&own)[0]).unwrap().uid();
                    (launcher, sandbox, user)
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    let mut ranges: Vec<u32> = users.iter().map(|(_, _, user)| user / 16_384).collect();
    ranges.sort_unstable();
    ranges.dedup();
    assert_eq!(ranges.len(), 4);
}

fn standbys_and_ports_are_refused(world: &World) {
    let with_ports = Request { ports: vec![9001], ..request() };
    let error = world.launcher.launch(&with_ports, &world.inside("sleep")).err().unwrap();
    assert!(error.step.contains("network"), "{error}");
    let sandbox = world.launcher.launch(&request(), &world.inside("sleep")).unwrap();
    assert!(world.launcher.assign(sandbox.id, &request()).is_err());
    world.launcher.reap(sandbox.id).unwrap();
}
