//! Sandboxes as a server uses them, on this very host: in tier A1 as root, once more in tier A2 as an ordinary user, and
//! those that apply in tier B, as root in what is left of a host in a container.
//!
//! This program is five things, by its first argument: the tests, the same tests as another user or in a container, the
//! launcher, and what runs inside the sandboxes (`inside.rs`). It has a `main` of its own because a launcher may have one thread.

#![expect(clippy::print_stdout, reason = "a test harness, and programs whose output is what is tested")]

mod inside;
mod leaks;
mod life;
mod rank;
mod view;
mod weak;
mod world;

#[path = "../common/container.rs"]
mod container;

use std::{
    env, fs,
    os::unix::process::CommandExt,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    process::{Command, ExitCode},
};

use world::World;

/// The ordinary user of the second run.
const USER: u32 = 12_345;
/// First argument of the second run.
const AS_USER: &str = "as-user";
/// First argument of the run in a container.
const IN_CONTAINER: &str = "in-a-container";

/// One test, with a name that says the behaviour.
type Test = (&'static str, fn(&World));

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some(sandbox::LAUNCHER_ARGUMENT) => sandbox::serve().map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS),
        Some(inside::ARGUMENT) => inside::run(arguments.get(1).map_or("", String::as_str)),
        Some("--list") => {
            all().chain(weak::TESTS.iter().copied()).for_each(|(name, _)| println!("{name}: test"));
            ExitCode::SUCCESS
        }
        Some(AS_USER) => run(&World::start(), all(), &arguments[1..]),
        Some(IN_CONTAINER) => {
            container::Profile::new().apply().unwrap();
            run(&World::start_weak(), weak::all(), &arguments[1..])
        }
        _ => {
            let passed = run(&World::start(), all(), &arguments);
            let is_root = rustix::process::geteuid().is_root();
            let users = if is_root { vec![Some(USER), user_with_a_range()] } else { vec![] };
            let as_user = users.into_iter().flatten().all(|user| again_as(user, &arguments));
            let weak = !is_root || again(&mut Command::new(env::current_exe().unwrap()), IN_CONTAINER, &arguments);
            if passed == ExitCode::SUCCESS && as_user && weak { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
    }
}

fn all() -> impl Iterator<Item = Test> {
    [life::TESTS, view::TESTS, leaks::TESTS, rank::TESTS].into_iter().flatten().copied()
}

/// Runs the tests whose name holds one of the words, or all.
fn run(world: &World, tests: impl Iterator<Item = Test>, arguments: &[String]) -> ExitCode {
    let words: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    println!("\nuser {}\n{}", rustix::process::geteuid().as_raw(), world.summary());
    let mut failed = Vec::new();
    for (name, test) in tests.filter(|(name, _)| words.is_empty() || words.iter().any(|word| name.contains(*word))) {
        match catch_unwind(AssertUnwindSafe(|| test(world))) {
            Ok(()) => println!("test {name} ... ok"),
            Err(_) => {
                println!("test {name} ... FAILED");
                failed.push(name);
            }
        }
    }
    println!("failed: {failed:?}");
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn again_as(user: u32, arguments: &[String]) -> bool {
    again(Command::new(env::current_exe().unwrap()).uid(user).gid(user), AS_USER, arguments)
}

fn again(command: &mut Command, how: &str, arguments: &[String]) -> bool {
    command.arg(how).args(arguments).env_clear().status().unwrap().success()
}

/// A user whom this host lends users and groups, for whom rootless sandboxes are as distinct as root's.
fn user_with_a_range() -> Option<u32> {
    let lent = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let users = fs::read_to_string("/etc/passwd").ok()?;
    let found = lent("/etc/subuid").lines().find_map(|line| {
        let name = line.split(':').next()?;
        let user = users.lines().find(|user| user.split(':').next() == Some(name))?.split(':').nth(2)?.parse().ok()?;
        let both = lent("/etc/subgid").lines().any(|line| line.split(':').next() == Some(name));
        (both && Path::new("/usr/bin/newuidmap").exists()).then_some(user)
    });
    if found.is_none() {
        println!("\nno user of this host is lent a range (/etc/subuid, newuidmap): that run is left out");
    }
    found
}
