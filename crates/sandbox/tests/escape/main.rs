//! Ways out of a sandbox, each tried and each denied. One line of a table is one way.
//!
//! This program is five things, by its first argument: the suite, the suite as another user or in a container, the
//! launcher, and what runs inside the sandboxes. A line names what is done inside and what must come of it; the host side then looks
//! whether the host, and a neighbour that runs all along, are unharmed. As root the suite runs in a network namespace
//! of its own, in which decoys listen at the addresses a function must not reach.
//!
//! What needs frames, a proxy or a store to be tried (forged answers, floods of logs, rebinding names, archives) is
//! tried where those are.

#![expect(clippy::print_stdout, reason = "a test harness, and programs whose output is what is tested")]

mod attack;
mod call;
mod change;
mod exhaust;
mod reach;
mod read;
mod see;
mod server;
mod weak;
mod world;

#[path = "../common/container.rs"]
mod container;

use std::{
    env, io,
    os::unix::process::CommandExt,
    panic::{AssertUnwindSafe, catch_unwind},
    process::{Command, ExitCode},
};

use rustix::io::Errno;
use world::World;

/// The ordinary user of the second run.
const USER: u32 = 12_345;
/// First argument of the second run.
const AS_USER: &str = "as-user";
/// First argument of the run among decoys.
const AMONG_DECOYS: &str = "among-decoys";
/// First argument of the run in a container, where there are no namespaces: among decoys too.
const IN_CONTAINER: &str = "in-a-container";
/// First argument of what runs inside; the second is the name of a line.
pub const INSIDE: &str = "inside";

/// What is done inside. An error is a denial; anything else tells what was got at.
pub type Attempt = fn() -> io::Result<String>;

/// What must come of it.
#[derive(Clone, Copy)]
pub enum Must {
    /// Fail with one of these errors. Another error fails the line: the attempt was wrong then.
    BeDenied(&'static [Errno]),
    /// Whatever the host side looks for.
    Satisfy(fn(&World, &Line)),
}

/// One way out.
#[derive(Clone, Copy)]
pub struct Line {
    pub name: &'static str,
    pub attempt: Attempt,
    pub must: Must,
}

/// A line whose attempt must fail with one of `errors`.
pub const fn denied(name: &'static str, errors: &'static [Errno], attempt: Attempt) -> Line {
    Line { name, attempt, must: Must::BeDenied(errors) }
}

/// A line that the host judges.
pub const fn judged(name: &'static str, judge: fn(&World, &Line), attempt: Attempt) -> Line {
    Line { name, attempt, must: Must::Satisfy(judge) }
}

const GROUPS: &[(&str, &[Line])] = &[
    ("read", read::LINES),
    ("see", see::LINES),
    ("reach", reach::LINES),
    ("change", change::LINES),
    ("attack", attack::LINES),
    ("exhaust", exhaust::LINES),
    ("server", server::LINES),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some(sandbox::LAUNCHER_ARGUMENT) => sandbox::serve().map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS),
        Some(INSIDE) => inside(arguments.get(1).map_or("", String::as_str)),
        Some("--list") => {
            for (group, lines) in GROUPS {
                lines.iter().for_each(|line| println!("{group}::{}: test", line.name));
            }
            ExitCode::SUCCESS
        }
        Some(server::ARGUMENT) => server::run(),
        Some(AS_USER) => run(&World::start(), &arguments[1..]),
        Some(AMONG_DECOYS) => {
            reach::own_network();
            run(&World::start(), &arguments[1..])
        }
        Some(IN_CONTAINER) => {
            reach::own_network();
            container::Profile::new().apply().unwrap();
            run(&World::start_weak(), &arguments[1..])
        }
        _ if rustix::process::geteuid().is_root() => {
            let this = env::current_exe().unwrap();
            let among_decoys = Command::new(&this).arg(AMONG_DECOYS).args(&arguments).status().unwrap();
            let as_user = Command::new(&this).arg(AS_USER).args(&arguments).env_clear().uid(USER).gid(USER).status();
            let in_container = Command::new(&this).arg(IN_CONTAINER).args(&arguments).env_clear().status().unwrap();
            let passed = among_decoys.success() && as_user.unwrap().success() && in_container.success();
            if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        _ => run(&World::start(), &arguments),
    }
}

/// Runs the lines whose group or name holds one of the words, or all.
fn run(world: &World, arguments: &[String]) -> ExitCode {
    let words: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    println!("\nuser {}\n{}\n", rustix::process::geteuid().as_raw(), world.launcher.report());
    let (mut passed, mut failed) = (0, Vec::new());
    for (group, lines) in GROUPS {
        for line in *lines {
            let name = format!("{group}::{}", line.name);
            if !words.is_empty() && !words.iter().any(|word| name.contains(word.as_str())) {
                continue;
            }
            if world.is_weak()
                && let Some(reason) = weak::not_given(&name)
            {
                println!("not given in tier B: {name}: {reason}");
                continue;
            }
            let judge = world.is_weak().then(|| weak::judge(&name)).flatten();
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                match judge.map_or(line.must, Must::Satisfy) {
                    Must::BeDenied(_) => world.run(line).denied(),
                    Must::Satisfy(judge) => judge(world, line),
                }
                world.is_unharmed();
            }));
            println!("test {name} ... {}", if outcome.is_ok() { "ok" } else { "FAILED" });
            if outcome.is_ok() { passed += 1 } else { failed.push(name) }
        }
    }
    println!("passed: {passed}; failed: {failed:?}");
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Exit codes of an attempt.
pub const DENIED: i32 = 0;
const ESCAPED: u8 = 1;
const ODD: u8 = 2;

fn inside(name: &str) -> ExitCode {
    let Some(line) = GROUPS.iter().flat_map(|(_, lines)| *lines).find(|line| line.name == name) else {
        println!("no such line: {name}");
        return ExitCode::from(ODD);
    };
    match ((line.attempt)(), line.must) {
        (Err(error), Must::BeDenied(errors)) => {
            println!("{error}");
            // Without namespaces a filter denies what would otherwise lead nowhere.
            let filtered = |errno| errno == Errno::PERM && !call::given("WEAKLY").is_empty();
            let meant = Errno::from_io_error(&error).is_some_and(|errno| errors.contains(&errno) || filtered(errno));
            ExitCode::from(if meant { 0 } else { ODD })
        }
        (Ok(got), Must::BeDenied(_)) => {
            println!("ESCAPED: {got}");
            ExitCode::from(ESCAPED)
        }
        (Ok(told), Must::Satisfy(_)) => {
            println!("{told}");
            ExitCode::SUCCESS
        }
        (Err(error), Must::Satisfy(_)) => {
            println!("{error}");
            ExitCode::from(ODD)
        }
    }
}
