//! What is not a function's to see: who else there is, and what the host is like.

use std::{
    fs, io,
    os::linux::net::SocketAddrExt,
    os::unix::net::{SocketAddr, UnixListener, UnixStream},
};

use rustix::io::Errno;

use crate::{
    Line,
    call::{given, listed, nothing},
    denied, judged,
    world::{World, names},
};

const GONE: &[Errno] = &[Errno::NOENT, Errno::ACCESS, Errno::PERM];

pub const LINES: &[Line] = &[
    denied("other_processes_of_proc", GONE, || {
        let others: Vec<_> = fs::read_dir("/proc")?
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
            .filter(|&pid| pid != std::process::id())
            .collect();
        if others.is_empty() { Err(nothing()) } else { Ok(format!("{others:?}")) }
    }),
    denied("other_processes_by_signal_0", GONE, || {
        let seen = |pid: &i32| {
            let pid = rustix::process::Pid::from_raw(*pid).unwrap();
            rustix::process::test_kill_process(pid).is_ok() && pid != rustix::process::getpid()
        };
        (1..100_000).find(seen).map(|pid| format!("process {pid}")).ok_or_else(nothing)
    }),
    denied("what_others_run_by_number", GONE, || {
        let own = std::process::id();
        let read = |pid| fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty());
        (1..100_000).find(|pid| *pid != own && read(*pid)).map(|pid| format!("process {pid}")).ok_or_else(nothing)
    }),
    judged("mounts_of_the_host", mounts, || fs::read_to_string("/proc/self/mountinfo")),
    denied("interfaces_other_than_loopback", GONE, || {
        let text = fs::read_to_string("/proc/net/dev")?;
        let others: Vec<_> = text.lines().skip(2).filter(|line| !line.trim().starts_with("lo:")).collect();
        if others.is_empty() { Err(nothing()) } else { Ok(others.concat()) }
    }),
    denied("routes", GONE, || {
        let text = fs::read_to_string("/proc/net/route")?;
        text.lines().nth(1).map(str::to_owned).ok_or_else(nothing)
    }),
    judged("abstract_sockets", abstract_socket, || {
        let listed = fs::read_to_string("/proc/net/unix")?;
        if listed.contains(&given("ABSTRACT")) {
            return Ok("listed".to_owned());
        }
        let address = SocketAddr::from_abstract_name(given("ABSTRACT"))?;
        Ok(match UnixStream::connect_addr(&address) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => "denied".to_owned(),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => "denied".to_owned(),
            other => format!("{other:?}"),
        })
    }),
    denied("sys", GONE, || listed("/sys")),
    denied("control_groups", GONE, || {
        let text = fs::read_to_string("/proc/self/cgroup")?;
        let named = text.lines().find(|line| !line.ends_with(":/"));
        named.map(str::to_owned).ok_or_else(nothing)
    }),
    judged("the_host_s_name", host_name, || Ok(rustix::system::uname().nodename().to_string_lossy().into_owned())),
    denied("how_busy_the_host_is", GONE, || {
        let text = fs::read_to_string("/proc/loadavg")?;
        if text.starts_with("0.00 0.00 0.00 ") { Err(nothing()) } else { Ok(text) }
    }),
    denied("shared_memory_of_the_host", GONE, || {
        let text = fs::read_to_string("/proc/sysvipc/shm")?;
        text.lines().nth(1).map(str::to_owned).ok_or_else(nothing)
    }),
    denied("timers_of_the_host", GONE, || crate::call::told("/proc/timer_list")),
    denied("locks_of_the_host", GONE, || crate::call::told("/proc/locks")),
    denied("what_the_host_waits_for", GONE, || crate::call::told("/proc/pressure/memory")),
    denied("disks_of_the_host", GONE, || crate::call::told("/proc/diskstats")),
    denied("how_the_host_was_started", GONE, || crate::call::told("/proc/cmdline")),
    denied("message_queues", GONE, || listed("/dev/mqueue")),
    denied("shared_memory_files", GONE, || listed("/dev/shm")),
    denied("terminals", GONE, || listed("/dev/pts")),
];

fn mounts(world: &World, line: &Line) {
    let ended = world.run(line);
    let text = ended.told();
    // The function's own code is seen to lie where it lies; its neighbour's must not.
    assert!(!names(text, &world.host_path("code-a")), "{text}");
    for mount in text.lines() {
        let fields: Vec<&str> = mount.split(' ').collect();
        let (root, point) = (fields[3], fields[4]);
        let own = ["tmpfs", "proc"].iter().any(|kind| mount.contains(&format!(" - {kind} ")));
        assert!(own || root != "/", "the whole of a file system of the host: {mount}");
        let writable = fields[5].split(',').any(|option| option == "rw");
        assert!(!writable || ["/tmp", "/proc"].contains(&point), "{mount}");
        assert!(mount.contains("nosuid"), "{mount}");
    }
}

fn abstract_socket(world: &World, line: &Line) {
    let name = format!("portcullis-escape-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let _listener = UnixListener::bind_addr(&address).unwrap();
    UnixStream::connect_addr(&address).expect("it is there outside");
    assert_eq!(world.run_with(line, &crate::world::request(), &[("ABSTRACT", name)]).told(), "denied");
}

fn host_name(world: &World, line: &Line) {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    assert_ne!(world.run(line).told(), name);
}
