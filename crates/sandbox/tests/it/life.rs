//! Starting, ending, killing; code that comes later; ways out.

use std::{
    io::{Read, Write},
    path::Path,
};

use sandbox::{Exec, Exit, Request};

use crate::{
    Test,
    inside::PORT,
    world::{self, World, eventually, readable, request},
};

pub const TESTS: &[Test] = &[
    ("a_program_runs_and_its_code_comes_back", a_program_runs_and_its_code_comes_back),
    ("a_signal_is_told_from_a_code", a_signal_is_told_from_a_code),
    ("what_cannot_be_executed_says_so", what_cannot_be_executed_says_so),
    ("the_environment_arrives_and_nothing_else", the_environment_arrives_and_nothing_else),
    ("a_large_environment_arrives", a_large_environment_arrives),
    ("too_large_an_environment_is_refused", too_large_an_environment_is_refused),
    ("code_layers_and_bootstraps_are_seen_and_cannot_be_written", code_layers_and_bootstraps_are_seen),
    ("a_standby_is_given_its_code_later_and_only_once", a_standby_is_given_its_code_later),
    ("code_that_is_not_there_is_an_error_and_leaves_nothing", code_that_is_not_there_is_an_error),
    ("a_listener_inside_is_served_from_outside", a_listener_inside_is_served_from_outside),
    ("a_kill_takes_along_who_left_the_session", a_kill_takes_along_who_left_the_session),
    ("the_end_of_the_program_takes_along_its_children", the_end_of_the_program_takes_along_its_children),
    ("process_1_cannot_be_killed_from_inside", process_1_cannot_be_killed_from_inside),
    ("what_is_provided_later_is_seen_later", what_is_provided_later_is_seen_later),
    ("a_killed_sandbox_may_be_killed_and_reaped_again", a_killed_sandbox_may_be_killed_again),
];

fn a_program_runs_and_its_code_comes_back(world: &World) {
    assert_eq!(world.run_program("/usr/bin/true", &[]).exit, Exit::Code(0));
    assert_eq!(world.run_program("/usr/bin/false", &[]).exit, Exit::Code(1));
    assert_eq!(world.run("exit-3").exit, Exit::Code(3));
    assert_eq!(world.run_program("/bin/sh", &["-c", "echo out; echo err >&2"]).fine(), "out\nerr\n");
}

fn a_signal_is_told_from_a_code(world: &World) {
    assert_eq!(world.run("killed").exit, Exit::Signal(15));
    assert_eq!(world.run_program("/bin/sh", &["-c", "kill -9 $$"]).exit, Exit::Signal(9));
}

fn what_cannot_be_executed_says_so(world: &World) {
    for (program, errno) in [("/usr/bin/no-such-thing", 2), ("/etc/passwd", 13)] {
        let ended = world.run_program(program, &[]);
        assert_eq!((ended.exit, ended.step.as_str()), (Exit::NotExecuted(errno), "execve"), "{program}");
    }
    let exec = Exec { directory: "/no/such/directory".into(), ..world.inside("exit-3") };
    let mut sandbox = world.launcher.launch(&request(), &exec).unwrap();
    assert_eq!(world.end(&mut sandbox).exit, Exit::NotExecuted(2));
}

fn the_environment_arrives_and_nothing_else(world: &World) {
    assert_eq!(world.run("environment").fine(), "GREETING=hello\n");
}

fn a_large_environment_arrives(world: &World) {
    let environment = (0..4).map(|number| (format!("N{number}"), "x".repeat(100_000))).collect();
    let exec = Exec { environment, ..world.inside("environment-bytes") };
    let mut sandbox = world.launcher.launch(&request(), &exec).unwrap();
    assert_eq!(world.end(&mut sandbox).fine(), "400000\n");
}

fn too_large_an_environment_is_refused(world: &World) {
    let exec = Exec { environment: vec![("N".into(), "x".repeat(600_000))], ..world.inside("environment-bytes") };
    assert!(world.launcher.launch(&request(), &exec).is_err());
}

fn with_code(world: &World) -> Request {
    let code = world.files("code", &[("code.txt", "the code")]);
    let layers = world.files("layers", &[("layer.txt", "the layer")]);
    world.files("", &[("boot.txt", "the bootstrap")]);
    Request { code: Some(code), layers: Some(layers), ..request() }
}

const CODE_SEEN: &str = "/var/task/code.txt the code\n/opt/layer.txt the layer\n/var/runtime/boot.txt the bootstrap\n";

fn code_layers_and_bootstraps_are_seen(world: &World) {
    assert_eq!(world.run_with(&with_code(world), "code").fine(), CODE_SEEN);
}

fn a_standby_is_given_its_code_later(world: &World) {
    let standby = Request { tmp_bytes: 4 << 20, ..request() };
    let mut sandbox = world.launcher.launch(&standby, &world.inside("await")).unwrap();
    let full = Request { tmp_bytes: 8 << 20, ..with_code(world) };
    world.launcher.assign(sandbox.id, &full).unwrap();
    let again = world.launcher.assign(sandbox.id, &full).unwrap_err();
    assert!(again.to_string().contains("second time"), "{again}");
    sandbox.socket.write_all(b"!").unwrap();
    let seen = world.end(&mut sandbox).fine();
    assert_eq!(seen, format!("waiting\n{CODE_SEEN}7 MiB, then StorageFull\n"));
}

fn code_that_is_not_there_is_an_error(world: &World) {
    let request = Request { code: Some("/no/such/code".into()), ..request() };
    let error = world.launcher.launch(&request, &world.inside("code")).err().unwrap();
    assert_eq!(error.step, "open /no/such/code");
    assert_eq!(error.source.raw_os_error(), Some(2));
}

fn a_listener_inside_is_served_from_outside(world: &World) {
    let request = Request { ports: vec![PORT, 4566, 3128], ..request() };
    let mut sandbox = world.launcher.launch(&request, &world.inside("connect")).unwrap();
    assert_eq!(sandbox.listeners.len(), 3);
    let (mut stream, peer) = sandbox.listeners[0].accept().unwrap();
    assert!(peer.ip().is_loopback());
    let mut heard = String::new();
    stream.read_to_string(&mut heard).unwrap();
    assert_eq!(heard, "from inside");
    stream.write_all(b"from outside").unwrap();
    drop(stream);
    assert_eq!(world.end(&mut sandbox).fine(), "from outside\n");
    // The same port again: it is another sandbox's.
    let one = world.launcher.launch(&request, &world.inside("sleep")).unwrap();
    let two = world.launcher.launch(&request, &world.inside("sleep")).unwrap();
    for sandbox in [one, two] {
        world.launcher.kill(sandbox.id);
        world.launcher.reap(sandbox.id).unwrap();
    }
}

fn a_kill_takes_along_who_left_the_session(world: &World) {
    let mut sandbox = world.launcher.launch(&request(), &world.inside("orphan")).unwrap();
    let mut output = std::fs::File::from(sandbox.output.try_clone().unwrap());
    let mut ready = [0; 6];
    output.read_exact(&mut ready).unwrap();
    assert_eq!(&ready, b"ready\n");
    world.launcher.kill(sandbox.id);
    // `end` reads the output to its end, which comes when nobody inside holds it any more.
    assert_eq!(world.end(&mut sandbox).exit, Exit::Killed);
}

fn the_end_of_the_program_takes_along_its_children(world: &World) {
    let ended = world.run_program("/bin/sh", &["-c", "setsid -f sleep 1000; sleep 1000 & exit 5"]);
    assert_eq!(ended.exit, Exit::Code(5));
}

fn process_1_cannot_be_killed_from_inside(world: &World) {
    // It is of another user inside, or does not listen; either way it is there to tell the code.
    assert_eq!(world.run("kill-1").exit, Exit::Code(7));
    // All there is inside besides process 1 is the shell.
    assert_eq!(world.run_program("/bin/sh", &["-c", "kill -9 -1; exit 8"]).exit, Exit::Code(8));
}

fn what_is_provided_later_is_seen_later(world: &World) {
    let provided = world.files("provided", &[("it", "provided")]);
    let inside = "/var/lang/later/deep";
    let binds = [(provided.clone(), inside.into())];
    world.launcher.provide(&binds).unwrap();
    world.launcher.provide(&binds).unwrap();
    assert_eq!(world.run_program("/bin/cat", &["/var/lang/later/deep/it"]).fine(), "provided");
    let other = [("/etc".into(), inside.into())];
    assert!(world.launcher.provide(&other).is_err());
    for (host, inside) in [("/no/such/thing", "/var/lang/other"), ("/etc", "/usr/no-such-thing")] {
        assert!(world.launcher.provide(&[(host.into(), inside.into())]).is_err(), "{host} {inside}");
    }
    assert!(world.launcher.provide(&[(provided, Path::new("/var/../etc").into())]).is_err());
    assert_eq!(world.run("exit-3").exit, Exit::Code(3));
}

fn a_killed_sandbox_may_be_killed_again(world: &World) {
    let sandbox = world.launcher.launch(&request(), &world.inside("sleep")).unwrap();
    for _ in 0..2_000 {
        world.launcher.kill(sandbox.id);
    }
    assert!(readable(&sandbox.pidfd));
    world.launcher.reap(sandbox.id).unwrap();
    world.launcher.kill(sandbox.id);
    world.launcher.reap(sandbox.id).unwrap();
    world.launcher.reap(u64::MAX).unwrap();
    eventually("another one can be started", || world::readable(&sandbox.pidfd));
    assert_eq!(world.run("exit-3").exit, Exit::Code(3));
}
