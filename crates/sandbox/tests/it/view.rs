//! What is seen from inside.

use std::collections::BTreeMap;

use sandbox::{Request, Tier};

use crate::{
    Test,
    world::{World, request},
};

pub const TESTS: &[Test] = &[
    ("the_program_is_nobody_and_can_do_nothing", the_program_is_nobody),
    ("every_mount_is_read_only_without_devices_but_those_meant", every_mount_is_read_only),
    ("four_descriptors_are_open", four_descriptors_are_open),
    ("other_processes_are_not_seen", other_processes_are_not_seen),
    ("what_tells_of_the_host_is_masked", what_tells_of_the_host_is_masked),
    ("names_and_devices_are_the_sandbox_s_own", names_and_devices),
    ("tmp_ends_at_its_size", tmp_ends_at_its_size),
];

fn the_program_is_nobody(world: &World) {
    let seen = world.run("identity").fine();
    let nothing = "0000000000000000";
    for wanted in [
        "Uid:\t993\t993\t993\t993",
        "Gid:\t990\t990\t990\t990",
        &format!("CapInh:\t{nothing}"),
        &format!("CapPrm:\t{nothing}"),
        &format!("CapEff:\t{nothing}"),
        &format!("CapBnd:\t{nothing}"),
        &format!("CapAmb:\t{nothing}"),
        "NoNewPrivs:\t1",
        "Seccomp:\t2",
        "pid 2",
    ] {
        assert!(seen.lines().any(|line| line.trim_end() == wanted), "{wanted:?} is not in\n{seen}");
    }
    if world.tier() == Tier::A1 {
        assert!(seen.lines().any(|line| line.trim_end() == "Groups:"), "{seen}");
    }
}

fn every_mount_is_read_only(world: &World) {
    let code = world.files("mounts-code", &[("a", "a")]);
    let request = Request { code: Some(code.clone()), layers: Some(code), ..request() };
    let seen = world.run_with(&request, "mounts").fine();
    let mut writable = BTreeMap::new();
    for line in seen.lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        let (place, options) = (fields[4], fields[5]);
        let has = |option: &str| options.split(',').any(|other| other == option);
        assert!(has("nosuid"), "{line}");
        assert!(has("nodev") || place.starts_with("/dev/") || place.starts_with("/proc/"), "{line}");
        if !has("ro") {
            writable.insert(place, options);
        }
    }
    let places: Vec<&str> = writable.keys().copied().collect();
    assert_eq!(places, ["/proc", "/tmp"], "{seen}");
    for place in ["/", "/usr", "/var/task", "/opt", "/var/runtime", "/var/lang/it", "/proc/sys", "/dev/null"] {
        assert!(seen.lines().any(|line| line.split(' ').nth(4) == Some(place)), "{place} is not in\n{seen}");
    }
    assert!(!seen.contains("sysfs") && !seen.contains("cgroup"), "{seen}");
}

fn four_descriptors_are_open(world: &World) {
    let seen = world.run("descriptors").fine();
    let kinds: Vec<(&str, &str)> = seen
        .lines()
        .map(|line| line.split_once(' ').unwrap())
        .map(|(number, to)| (number, to.split_once(':').map_or(to, |(kind, _)| kind)))
        .collect();
    assert_eq!(kinds, [("0", "/dev/null"), ("1", "pipe"), ("2", "pipe"), ("3", "socket")], "{seen}");
}

fn other_processes_are_not_seen(world: &World) {
    let seen = world.run("processes").fine();
    for line in seen.lines().filter(|line| line.starts_with("pid ")) {
        assert!(["pid 1", "pid 2"].contains(&line), "{seen}");
    }
    for line in seen.lines().filter(|line| line.starts_with("/proc")) {
        assert!(line.ends_with(" true"), "{line}");
    }
}

fn what_tells_of_the_host_is_masked(world: &World) {
    let seen = world.run("masked").fine();
    for line in seen.lines().filter(|line| line.starts_with("/proc")) {
        assert!(line.ends_with(" 0"), "{line}");
    }
    for line in seen.lines().filter(|line| line.starts_with("write")) {
        // The masks are `/dev/null`: writing to them is nothing.
        assert!(line.ends_with(" false") || line.contains("sysrq-trigger"), "{line}");
    }
    assert!(seen.contains("loadavg 0.00 0.00 0.00 1/1 1\n"), "{seen}");
    assert!(seen.contains("group true"), "{seen}");
}

fn names_and_devices(world: &World) {
    let seen = world.run("names").fine();
    assert!(seen.starts_with("sandbox\n"), "{seen}");
    assert!(seen.contains("sbx_user1051:x:993:990:"), "{seen}");
    assert!(seen.contains("resolver \"\""), "{seen}");
    let interfaces: Vec<&str> = seen.lines().filter_map(|line| line.strip_prefix("interface ")).collect();
    assert_eq!(interfaces, ["lo"], "{seen}");
    assert_eq!(seen.lines().filter(|line| line.starts_with("device ") && line.ends_with(" true")).count(), 5, "{seen}");
    assert!(seen.contains("write null true"), "{seen}");
}

fn tmp_ends_at_its_size(world: &World) {
    let request = Request { tmp_bytes: 12 << 20, ..request() };
    assert_eq!(world.run_with(&request, "fill-tmp").fine(), "11 MiB, then StorageFull\n");
}
