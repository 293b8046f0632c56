use std::{fs, os::unix::process::CommandExt, process::Command};

use super::*;

/// Groups for one test, named so that tests do not meet; `None`, with the reason printed, where the host has none.
fn groups(test: &str) -> Option<Groups> {
    groups_with_ceiling(test, 0)
}

fn groups_with_ceiling(test: &str, memory_bytes_total: u64) -> Option<Groups> {
    let places = layout::places(
        &fs::read_to_string("/proc/self/mountinfo").unwrap(),
        &fs::read_to_string("/proc/self/cgroup").unwrap(),
        |directory| fs::read_to_string(directory.join("cgroup.controllers")).unwrap_or_default(),
    );
    // Version 2 would move the test runner itself; its paths are tested on a tree of plain files below.
    let places: Vec<Place> = places.into_iter().filter(|place| place.version == Version::One).collect();
    match Groups::prepare_in(&places, &format!("portcullis-test-{test}-{}", std::process::id()), memory_bytes_total) {
        Ok(groups) => Some(groups),
        Err(reason) => {
            eprintln_skipped(&reason);
            None
        }
    }
}

#[expect(clippy::print_stderr, reason = "a test that cannot run says so")]
fn eprintln_skipped(reason: &str) {
    eprintln!("skipped: {reason}");
}

/// A process in `group` that runs a Python program, or fails as the group makes it fail.
fn python(group: &Group, program: &str) -> std::process::Output {
    let files: Vec<PathBuf> = group.hierarchies.iter().map(|found| found.directory.join("cgroup.procs")).collect();
    let mut command = Command::new("/bin/sh");
    let enter: String = files.iter().map(|file| format!("echo $$ > '{}' && ", file.display())).collect();
    command.arg0("sh").args(["-c", &format!("{enter} exec /usr/bin/python3 -I -S -c \"$0\""), program]);
    command.output().unwrap()
}

#[test]
fn a_memory_bomb_is_killed_and_counted_and_the_host_is_not() {
    let Some(groups) = groups("memory") else { return };
    let Some(_) = groups.version(Controller::Memory) else { return eprintln_skipped("no memory controller") };
    let group = groups.create(1, &Limits { memory_bytes: 32 << 20, ..Limits::default() }).unwrap();
    let usage = group.usage().unwrap().expect("memory is counted");
    assert_eq!(usage.memory_kills().unwrap(), 0);
    let output = python(&group, "b = bytearray(1 << 28)\nprint(len(b))");
    assert!(!output.status.success() && output.stdout.is_empty(), "{output:?}");
    assert!(usage.memory_kills().unwrap() >= 1);
    assert!(usage.memory_bytes_peak().unwrap() > 16 << 20);
    assert!(group.is_empty());
    assert!(usage.in_use().unwrap().anonymous < 32 << 20);
    group.remove().unwrap();
    group.remove().expect("again is no error");
    groups.remove();
}

#[test]
fn all_sandboxes_together_stop_at_the_ceiling() {
    let Some(groups) = groups_with_ceiling("ceiling", 32 << 20) else { return };
    let Some(_) = groups.version(Controller::Memory) else { return eprintln_skipped("no memory controller") };
    let group = groups.create(5, &Limits { memory_bytes: 1 << 30, ..Limits::default() }).unwrap();
    let output = python(&group, "b = bytearray(1 << 28)\nprint(len(b))");
    assert!(!output.status.success() && output.stdout.is_empty(), "{output:?}");
    assert!(group.usage().unwrap().unwrap().memory_bytes_peak().unwrap() <= 32 << 20);
    group.remove().unwrap();
    groups.remove();
}

#[test]
fn a_fork_bomb_stops_at_the_limit_of_processes() {
    let Some(groups) = groups("pids") else { return };
    let Some(_) = groups.version(Controller::Pids) else { return eprintln_skipped("no pids controller") };
    let group = groups.create(2, &Limits { pids: 8, ..Limits::default() }).unwrap();
    // The children let go of the output, or nobody would ever see its end.
    let program = "import os, signal\nn = 0\ntry:\n  while n < 100:\n    if os.fork() == 0:\n      os.closerange(0, 3)\n      \
                   signal.pause()\n    n += 1\nexcept BlockingIOError: print(n, flush=True)\nos._exit(0)";
    let output = python(&group, program);
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "7", "{output:?}");
    assert!(!group.is_empty(), "the children live on");
    assert!(group.remove().is_err_and(|error| error.kind() == io::ErrorKind::ResourceBusy));
    group.kill();
    let until = Instant::now() + Duration::from_secs(10);
    while !group.is_empty() {
        assert!(Instant::now() < until, "everything dies");
        std::thread::sleep(Duration::from_millis(1));
    }
    group.remove().unwrap();
    groups.remove();
}

#[test]
fn limits_are_raised_and_lowered_and_told_by_the_host() {
    let Some(groups) = groups("set") else { return };
    let Some(_) = groups.version(Controller::Memory) else { return eprintln_skipped("no memory controller") };
    let group = groups.create(3, &Limits { memory_bytes: 64 << 20, cpu_millis: 500, ..Limits::default() }).unwrap();
    let limit = |group: &Group| {
        let memory = group.hierarchies.iter().find(|found| found.controllers.contains(&Controller::Memory)).unwrap();
        fs::read_to_string(memory.directory.join("memory.limit_in_bytes")).unwrap().trim().parse::<u64>().unwrap()
    };
    assert_eq!(limit(&group), 64 << 20);
    for memory_bytes in [256 << 20, 32 << 20, 1 << 30] {
        group.set(&Limits { memory_bytes, cpu_millis: 2_000, ..Limits::default() }).unwrap();
        assert_eq!(limit(&group), memory_bytes);
    }
    assert!(groups.create(3, &Limits::default()).is_err(), "a name is used once");
    assert_eq!(limit(&group), 1 << 30, "and the first is unharmed");
    group.remove().unwrap();
    groups.remove();
}

#[test]
fn a_dead_launchers_sandboxes_are_killed_and_removed() {
    let Some(groups) = groups("sweep") else { return };
    let group = groups.create(4, &Limits::default()).unwrap();
    let mut child = Command::new("/bin/sleep").arg("600").spawn().unwrap();
    for hierarchy in &group.hierarchies {
        write_value(&hierarchy.directory.join("cgroup.procs"), &child.id().to_string()).unwrap();
    }
    for hierarchy in &groups.hierarchies {
        sweep::clear(&hierarchy.directory.join(FUNCTIONS), Instant::now() + Duration::from_secs(10));
        assert!(child.wait().unwrap().code().is_none(), "killed");
    }
    groups.remove();
    assert!(groups.hierarchies.iter().all(|hierarchy| !hierarchy.directory.exists()));
}

/// A tree of plain files that looks like a delegated version 2 group.
fn delegated(base: &Path) -> Place {
    for file in ["cgroup.controllers", "cgroup.subtree_control", "cgroup.procs"] {
        fs::write(base.join(file), "").unwrap();
    }
    Place { version: Version::Two, controllers: Controller::ALL.to_vec(), directory: base.to_path_buf() }
}

#[test]
fn a_version_two_group_without_its_files_is_refused_with_what_would_mend_it() {
    let base = tempfile::tempdir().unwrap();
    let place = delegated(base.path());
    let reason = Groups::prepare_in(&[place], "portcullis-1-2-3", 0).unwrap_err();
    assert!(reason.contains("portcullis-1-2-3/cgroup.subtree_control"), "{reason}");
    assert!(!reason.contains(base.path().to_str().unwrap()), "where the groups lie is not told: {reason}");
    assert_eq!(
        fs::read_to_string(base.path().join("cgroup.subtree_control")).unwrap(),
        "+memory +pids +cpu",
        "the base hands its controllers down first"
    );
    assert!(!base.path().join("portcullis-1-2-3").exists(), "nothing is left behind");
}

#[test]
fn a_host_without_control_groups_says_so_for_each_controller() {
    assert!(Groups::prepare_in(&[], "portcullis-1-2-3", 0).unwrap_err().contains("docker"));
}

#[test]
fn every_reason_says_what_would_mend_it() {
    let denied = io::Error::from(io::ErrorKind::PermissionDenied);
    assert!(mend(Version::Two, &denied, false).contains("Delegate=yes"));
    assert!(mend(Version::One, &denied, false).contains("start it as root"));
    // Root itself is not told to become root.
    let told = mend(Version::One, &denied, true);
    assert!(told.contains("DAC_OVERRIDE") && !told.contains("start it as root"), "{told}");
    for is_root in [false, true] {
        assert!(mend(Version::Two, &io::Error::from(io::ErrorKind::ResourceBusy), is_root).contains("of its own"));
        assert!(mend(Version::Two, &io::Error::from(io::ErrorKind::ReadOnlyFilesystem), is_root).contains("docker"));
    }
}

/// The unified hierarchy of this host, for as far as it goes: a hybrid host keeps no controller there, but groups,
/// their freezer and their kill are the same.
fn unified(test: &str) -> Option<(Groups, PathBuf)> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let point = mounts.lines().find(|line| line.contains(" - cgroup2 ")).and_then(|line| line.split(' ').nth(4));
    let Some(point) = point else {
        eprintln_skipped("no version 2 hierarchy");
        return None;
    };
    let base = Path::new(point).join(format!("portcullis-test-{test}-{}", std::process::id()));
    if let Err(error) = fs::create_dir(&base) {
        eprintln_skipped(&format!("{}: {error}", base.display()));
        return None;
    }
    let place = Place { version: Version::Two, controllers: vec![Controller::Freezer], directory: base.clone() };
    Some((Groups::prepare_in(&[place], "portcullis-1-1-1", 0).unwrap(), base))
}

/// Puts this process back where it was, with what other tests started meanwhile, and takes the tree down.
fn take_down(groups: &Groups, base: &Path) {
    let until = Instant::now() + Duration::from_secs(10);
    while fs::remove_dir(base).is_err() {
        assert!(Instant::now() < until, "the tree is taken down");
        for pid in pids_in(&base.join("portcullis-1-1-1").join(SERVER)).unwrap_or_default() {
            let _ = write_value(&base.parent().unwrap().join("cgroup.procs"), &pid.to_string());
        }
        groups.remove();
    }
}

#[test]
fn a_delegated_version_two_group_is_left_for_a_leaf_and_its_sandboxes_are_frozen_and_killed() {
    let Some((groups, base)) = unified("delegated") else { return };
    // This process came to the leaf when it left the base; the base itself holds nobody.
    let leaf = base.join("portcullis-1-1-1").join(SERVER);
    assert!(pids_in(&leaf).unwrap().contains(&std::process::id()));
    let group = groups.create(1, &Limits::default()).unwrap();
    assert!(group.clone_into().unwrap().is_some(), "one hierarchy of version 2 can be cloned into");
    let mut child = Command::new("/bin/sh").args(["-c", "while :; do sleep 0.01; done"]).spawn().unwrap();
    let directory = group.hierarchies[0].directory.clone();
    write_value(&directory.join("cgroup.procs"), &child.id().to_string()).unwrap();
    assert!(!group.is_empty());
    assert!(group.remove().is_err_and(|error| error.kind() == io::ErrorKind::ResourceBusy));
    let freezer = group.freezer().unwrap();
    freezer.set(true).unwrap();
    let until = Instant::now() + Duration::from_secs(10);
    while !fs::read_to_string(directory.join("cgroup.events")).unwrap().contains("frozen 1") {
        assert!(Instant::now() < until, "it freezes");
        std::thread::sleep(Duration::from_millis(1));
    }
    freezer.set(false).unwrap();
    assert!(!fs::read_to_string(directory.join("cgroup.events")).unwrap().contains("frozen 1"), "it runs on");
    freezer.set(true).unwrap();
    group.kill();
    assert!(child.wait().unwrap().code().is_none(), "killed, frozen as it was");
    while group.remove().is_err() {
        assert!(Instant::now() < until, "it empties");
        std::thread::sleep(Duration::from_millis(1));
    }
    take_down(&groups, &base);
}

#[test]
fn in_a_container_process_1_is_moved_along_and_never_killed() {
    let group = tempfile::tempdir().unwrap();
    fs::write(group.path().join("cgroup.procs"), "0\n1\n").unwrap();
    assert_eq!(pids_in(group.path()).unwrap(), [0, 1], "both are there, so the group is not empty");
    // Either signal would end this test or be refused; nothing is sent.
    kill_all_in(group.path());
}
