//! What is left to a server once it has given its privileges up: launching, and little else.

use std::{
    env, io::ErrorKind, net::TcpListener, os::unix::fs::PermissionsExt, path::Path, process::Command, process::ExitCode,
};

use rustix::io::Errno;
use sandbox::{Exec, Launcher, Options};

use crate::{
    Line,
    call::{call, text},
    judged,
    world::{World, request},
};

/// First argument with which this program is a server that gives its privileges up.
pub const ARGUMENT: &str = "as-server";

pub const LINES: &[Line] = &[
    judged("a_server_that_was_taken_over", served, || Ok(String::new())),
    judged("what_functions_do_all_day", usual, || Ok(String::new())),
];

/// What no denial may take along: it is tried by a shell, with nothing of this program.
fn usual(world: &World, _: &Line) {
    for (script, told) in [
        ("echo x > /dev/stdout", "x"),
        ("echo x > /dev/stderr", "x"),
        ("echo x | cat", "x"),
        ("cat <<END\nx\nEND", "x"),
        ("cd ${TMPDIR:-/tmp}; mkfifo pipe && (echo x > pipe &) && cat pipe", "x"),
        ("cd ${TMPDIR:-/tmp}; printf '#!/bin/sh\\necho x' > run && chmod 755 run && ./run", "x"),
        ("cd ${TMPDIR:-/tmp}; mkdir a && ln -s a b && mv b a/ && ln run c 2>/dev/null; ls a", "b"),
        ("head -c 3 /dev/urandom | wc -c; echo x > /dev/null; pwd", "3\n/"),
        ("sleep 100 & kill $!; wait $! 2>/dev/null; echo $?", "143"),
        ("trap 'echo x' USR1; kill -USR1 $$", "x"),
        ("nice true && timeout 1 true && nohup true 2>&1; ulimit -n", "1024"),
    ] {
        assert_eq!(world.run_shell(script).told(), told, "{script}");
    }
}

fn served(_: &World, _: &Line) {
    let output = Command::new(env::current_exe().unwrap()).arg(ARGUMENT).output().unwrap();
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// A server's start, and what somebody would try who took it over afterwards.
pub fn run() -> ExitCode {
    let directory = tempfile::tempdir().unwrap();
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let place = directory.path().to_path_buf();
    let options = Options { runtime_dir: place.clone(), weak_dir: Some(place), ..Options::default() };
    let launcher = Launcher::start(Path::new("/proc/self/exe"), &options).unwrap();
    let root = rustix::process::geteuid().is_root();
    sandbox::privileges::drop_all(true).unwrap();
    sandbox::privileges::confine_writes(&[directory.path()]).unwrap();

    // What it is for still works.
    let exec =
        Exec { program: "/bin/true".into(), arguments: Vec::new(), environment: Vec::new(), directory: "/".into() };
    let launched = launcher.launch(&request(), &exec).unwrap();
    if let Some(usage) = &launched.usage {
        assert_eq!(usage.memory_kills().unwrap(), 0);
    }
    if let Some(freezer) = &launched.freezer {
        freezer.set(true).unwrap();
        freezer.set(false).unwrap();
    }
    if root {
        TcpListener::bind("127.0.0.1:81").expect("ports below 1024 were kept");
    }

    // What it is not for does not.
    std::fs::write(directory.path().join("store.db"), "x").expect("its own data are its own");
    for place in ["/etc", "/root", "/usr", "/tmp", "/var", "/dev"] {
        let outcome = std::fs::write(Path::new(place).join("portcullis-escape"), "x");
        assert!(outcome.is_err_and(|error| error.kind() == ErrorKind::PermissionDenied), "{place}");
    }
    let setting = std::fs::OpenOptions::new().write(true).open("/proc/sys/kernel/core_pattern");
    assert!(setting.is_err_and(|error| error.kind() == ErrorKind::PermissionDenied));
    for (call, arguments) in [
        (libc::SYS_mount, &[text("none"), text("/tmp"), text("tmpfs"), 0, 0][..]),
        (libc::SYS_chroot, &[text("/tmp")]),
        (libc::SYS_unshare, &[libc::CLONE_NEWNS as usize]),
        (libc::SYS_sethostname, &[text("x"), 1]),
        (libc::SYS_setuid, &[1]),
        (libc::SYS_mknodat, &[crate::call::HERE, text("/tmp/escape-device"), 0o020_666, 0x0101]),
        (libc::SYS_acct, &[text("/nowhere")]),
        (libc::SYS_ptrace, &[libc::PTRACE_ATTACH as usize, 1]),
        (libc::SYS_kcmp, &[1, 1, 0, 0, 0]),
    ] {
        let outcome = self::call(call, arguments);
        let errno = outcome.as_ref().err().and_then(Errno::from_io_error);
        let denied = [Some(Errno::PERM), Some(Errno::ACCESS)].contains(&errno);
        assert!(denied, "call {call}: {outcome:?}");
    }
    // Nor does a program it starts get anything back.
    let status = Command::new("/bin/cat").arg("/proc/self/status").output().unwrap();
    let status = String::from_utf8_lossy(&status.stdout).into_owned();
    for line in status.lines().filter(|line| ["CapPrm", "CapEff", "CapAmb"].iter().any(|name| line.starts_with(name))) {
        assert!(line.ends_with("0000000000000000"), "{line}");
    }
    launcher.kill(launched.id);
    launcher.reap(launched.id).unwrap();
    ExitCode::SUCCESS
}
