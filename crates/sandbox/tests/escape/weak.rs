//! Where tier B differs, line by line. Every other line must hold there as it does with namespaces.

use sandbox::Exit;

use crate::{Line, world::World};

/// Lines that do not hold, and why.
const NOT_GIVEN: &[(&str, &str)] = &[
    ("see::the_host_s_name", "names belong to the host"),
    ("reach::its_own_api_is_its_own", "there is no network, so nothing inside can listen or be listened to"),
];

/// Lines whose attempts are harmless with namespaces and are denied without.
const DENIED_OUTRIGHT: &[&str] = &[
    "see::mounts_of_the_host",
    "see::abstract_sockets",
    "reach::another_environment_s_api",
    "reach::a_socket_file_of_the_host",
    "exhaust::memory_file_bomb",
    "exhaust::shared_memory_bomb",
];

/// Why a line does not hold without namespaces, if it does not.
pub fn not_given(name: &str) -> Option<&'static str> {
    NOT_GIVEN.iter().find(|(line, _)| *line == name).map(|(_, reason)| *reason)
}

/// Who judges a line there in the place of its own judge.
pub fn judge(name: &str) -> Option<fn(&World, &Line)> {
    match name {
        "exhaust::tmp_fill" => Some(large_file),
        "exhaust::tmp_fill_with_files" => Some(many_files),
        name if DENIED_OUTRIGHT.contains(&name) => Some(denied_outright),
        _ => None,
    }
}

fn denied_outright(world: &World, line: &Line) {
    let ended = world.run(line);
    let denied = ["Permission denied", "Operation not permitted"].iter().any(|text| ended.output.contains(text));
    assert!(denied, "{ended:?}");
}

/// A file ends at the size of the whole, by a signal that a program may ignore and then gets an error.
fn large_file(world: &World, line: &Line) {
    assert_eq!(world.run_small(line).exit, Exit::Signal(libc::SIGXFSZ));
}

/// What is too much in all ends the function, which is told so.
fn many_files(world: &World, line: &Line) {
    let ended = world.run_small(line);
    assert_eq!(ended.exit, Exit::Killed, "{ended:?}");
    assert!(ended.output.contains("(TMPDIR) holds more than 16 MB"), "{ended:?}");
}
