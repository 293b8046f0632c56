//! Functions in sandboxes, standbys, provisioned concurrency, and what happens when the launcher dies.
//!
//! This program is also the launcher, by its first argument. Where the host cannot give sandboxes it says so and tests
//! nothing.

#![expect(clippy::print_stdout, reason = "a test harness")]

#[expect(dead_code, reason = "shared with the tests of plain processes, which use more of it")]
#[path = "../it/world.rs"]
mod world;

mod frozen;

use std::{
    path::Path,
    pin::Pin,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use environment::{Isolated, Standbys, launch::Launch};
use lambda::invoke::{Revision, Run, RunError};
use sandbox::{Launcher, Tier};

use frozen::{
    what_a_function_leaves_running_stands_still_until_it_is_called_again,
    what_is_frozen_dies_of_everything_that_ends_it_and_leaves_nothing,
};
use world::{World, invocation};

type Test = (&'static str, fn() -> Pin<Box<dyn Future<Output = ()>>>);

/// A table of tests out of async functions.
macro_rules! tests {
    ($($name:ident),* $(,)?) => { [$((stringify!($name), || Box::pin($name()))),*] };
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == sandbox::LAUNCHER_ARGUMENT) {
        return sandbox::serve().map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS);
    }
    let tests: [Test; 13] = tests![
        a_function_sees_its_sandbox,
        the_next_function_of_a_class_adopts_a_standby,
        a_function_that_takes_too_much_memory_is_told_so,
        memory_of_what_a_function_starts_counts,
        the_memory_that_was_used_is_told,
        tmp_can_be_filled_and_is_no_memory_of_the_function,
        what_is_provisioned_is_there_before_anybody_asks,
        an_invocation_goes_to_its_end_without_its_caller,
        callers_on_other_runtimes_use_the_same_environment,
        what_a_function_leaves_running_stands_still_until_it_is_called_again,
        what_is_frozen_dies_of_everything_that_ends_it_and_leaves_nothing,
        a_dead_launcher_is_started_again_once,
        nothing_is_left_behind,
    ];
    if arguments.iter().any(|argument| argument == "--list") {
        tests.iter().for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    let tier = launcher(Path::new("/")).map_or(Tier::C, |launcher| launcher.report().tier);
    if tier < Tier::A2 {
        println!("this host cannot give sandboxes ({tier}): nothing is tested");
        return ExitCode::SUCCESS;
    }
    let words: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    let wanted = |name: &str| words.is_empty() || words.iter().any(|word| name.contains(*word));
    for (name, test) in tests.into_iter().filter(|(name, _)| wanted(name)) {
        // A failed test panics, which ends the program and says which.
        println!("{name} ({tier})");
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(test());
    }
    ExitCode::SUCCESS
}

fn launcher(runtime_dir: &Path) -> std::io::Result<Launcher> {
    Launcher::start(Path::new("/proc/self/exe"), &options(runtime_dir))
}

fn options(runtime_dir: &Path) -> sandbox::Options {
    sandbox::Options { runtime_dir: runtime_dir.to_owned(), ..sandbox::Options::default() }
}

fn isolated(runtime_dir: &Path) -> Arc<dyn Launch> {
    let launcher = Arc::new(launcher(runtime_dir).unwrap());
    Arc::new(Isolated::new(launcher).restartable("/proc/self/exe".into(), options(runtime_dir)))
}

fn sandboxed() -> World {
    World::start(|_| {}, isolated)
}

fn without_standbys() -> World {
    World::start(|options| options.standbys = Standbys::Off, isolated)
}

async fn until(what: &str, mut reached: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !reached() {
        assert!(begun.elapsed() < Duration::from_secs(20), "{what} does not come about");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

const WHERE: &str = "const os = require('os'), fs = require('fs');
    exports.handler = async () => [os.userInfo().username, process.cwd(), __dirname, process.env.LAMBDA_TASK_ROOT,
      process.env.SECRET, process.env.AWS_ENDPOINT_URL, process.env.AWS_LAMBDA_INITIALIZATION_TYPE,
      process.env.AWS_ACCESS_KEY_ID, fs.readdirSync('/tmp').length, fs.existsSync('/etc/shadow')];";
const THERE: &str = r#"["sbx_user1051","/var/task","/var/task","/var/task","known only here","http://127.0.0.1:4566","on-demand","ASIAEXAMPLE",0,false]"#;

fn told(mut function: Revision) -> Revision {
    function.environment.insert("SECRET".into(), "known only here".into());
    function
}

async fn a_function_sees_its_sandbox() {
    let world = without_standbys();
    let node = told(world.node(WHERE));
    assert_eq!(world.result(&node, "{}").await, THERE);
    let python = world.python(
        "import os, sys, pwd\ndef handler(e, c):\n    return [pwd.getpwuid(os.getuid()).pw_name, os.getcwd(), __file__, os.environ['PYTHONPATH'], os.path.exists('/etc/shadow')]\n",
    );
    let expected = r#"["sbx_user1051", "/var/task", "/var/task/app.py", "/var/runtime", false]"#;
    assert_eq!(world.result(&python, "{}").await, expected);
    assert_eq!(world.supervisor.standby_count(), 0);
    world.close().await;
}

async fn the_next_function_of_a_class_adopts_a_standby() {
    let world = sandboxed();
    let first = world.node("exports.handler = async () => process.env.SECRET ?? 'nothing';");
    let python = world.python("def handler(e, c):\n    return 'python'\n");
    assert_eq!(world.result(&first, "{}").await, "\"nothing\"");
    assert_eq!(world.result(&python, "{}").await, "\"python\"");
    until("a standby of each class", || world.supervisor.standby_count() >= 2).await;
    // So that whoever takes one is seen to have been started long before.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let aged = world.node("exports.handler = async () => process.uptime() > 1;");
    assert_eq!(world.result(&aged, "{}").await, "true");
    for account in ["444455556666", "777788889999"] {
        let mut second = told(world.node(WHERE));
        second.account = account.into();
        assert_eq!(world.result(&second, "{}").await, THERE);
        assert_eq!(world.result(&second, "{}").await, THERE);
        let tail = world.tail(&second, "{}").await;
        assert!(tail.starts_with("START RequestId") && !tail.contains("Init Duration"), "{tail}");
        until("another standby", || world.supervisor.standby_count() >= 2).await;
    }
    let code = "import os, helper\ndef handler(e, c):\n    return [os.getcwd(), helper.VALUE, os.environ['AWS_LAMBDA_FUNCTION_NAME'], os.environ.get('SECRET')]\n";
    let mut second = world.function("python3.11", &[("app.py", code), ("helper.py", "VALUE = 7\n")]);
    (second.memory_mb, second.ephemeral_storage_mb) = (512, 1_024);
    assert_eq!(world.result(&second, "{}").await, r#"["/var/task", 7, "authorizer", null]"#);
    // What must be known at the start of a runtime is no standby's business.
    let mut special = world.node("exports.handler = async () => process.env.NODE_OPTIONS;");
    special.environment.insert("NODE_OPTIONS".into(), "--no-warnings".into());
    assert_eq!(world.result(&special, "{}").await, "\"--no-warnings\"");
    world.close().await;
}

async fn a_function_that_takes_too_much_memory_is_told_so() {
    let world = sandboxed();
    let function = world.python("def handler(e, c):\n    kept = bytearray(e['mb'] << 20)\n    return len(kept)\n");
    for _ in 0..2 {
        assert_eq!(world.result(&function, r#"{"mb":16}"#).await, "16777216");
        let error = world.error(&function, r#"{"mb":400}"#).await;
        assert_eq!(error["errorType"], "Runtime.OutOfMemory", "{error}");
    }
    world.close().await;
}

/// In another process, whose parent waits or is gone.
async fn memory_of_what_a_function_starts_counts() {
    let world = without_standbys();
    let function = world.python(
        "import subprocess, sys, time\nCODE = 'kept = bytearray(int(__import__(\"sys\").argv[1]) << 20); __import__(\"time\").sleep(1)'\ndef handler(e, c):\n    command = [sys.executable, '-c', CODE, str(e['mb'])]\n    if e['orphan']:\n        command = ['/bin/sh', '-c', '(\"$0\" \"$@\" &)'] + command\n    subprocess.run(command)\n    time.sleep(1)\n    return e['mb']\n",
    );
    for orphan in [false, true] {
        assert_eq!(world.result(&function, &format!(r#"{{"mb":16,"orphan":{orphan}}}"#)).await, "16");
        let error = world.error(&function, &format!(r#"{{"mb":300,"orphan":{orphan}}}"#)).await;
        assert_eq!(error["errorType"], "Runtime.OutOfMemory", "{orphan} {error}");
    }
    world.close().await;
}

fn used_mb(tail: &str) -> u64 {
    let told = tail.split("Max Memory Used: ").nth(1).and_then(|rest| rest.split(' ').next());
    told.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("{tail}"))
}

async fn the_memory_that_was_used_is_told() {
    let world = sandboxed();
    let function = world.python(
        "import time\ndef handler(e, c):\n    kept = bytearray(e['mb'] << 20)\n    time.sleep(0.2)\n    return len(kept)\n",
    );
    let little = used_mb(&world.tail(&function, r#"{"mb":1}"#).await);
    assert!((2..48).contains(&little), "{little}");
    let much = used_mb(&world.tail(&function, r#"{"mb":64}"#).await);
    assert!((64..=128).contains(&much), "{much}");
    world.close().await;
}

async fn tmp_can_be_filled_and_is_no_memory_of_the_function() {
    let world = without_standbys();
    let mut function = world.python(
        "import time\ndef handler(e, c):\n    with open('/tmp/f', 'wb') as file:\n        for _ in range(e['mb']):\n            file.write(bytes(1 << 20))\n    time.sleep(0.2)\n    return e['mb']\n",
    );
    function.ephemeral_storage_mb = 1_024;
    assert_eq!(world.result(&function, r#"{"mb":900}"#).await, "900");
    let used = used_mb(&world.tail(&function, r#"{"mb":900}"#).await);
    assert!(used < 100, "{used}");
    world.close().await;
}

async fn what_is_provisioned_is_there_before_anybody_asks() {
    let world = without_standbys();
    let mut function = world.node("exports.handler = async () => process.env.AWS_LAMBDA_INITIALIZATION_TYPE;");
    function.version = "1".into();
    let shared = Arc::new(function.clone());
    world.supervisor.provision(&shared, 2);
    until("both", || world.supervisor.provisioned(&shared).available == 2).await;
    assert_eq!(world.supervisor.provisioned(&shared).failure, None);
    assert_eq!(world.result(&function, "{}").await, "\"provisioned-concurrency\"");
    world.supervisor.provision(&shared, 0);
    until("none", || world.supervisor.live_count() == 0).await;
    let broken = Arc::new(world.node("throw new Error('no');"));
    world.supervisor.provision(&broken, 1);
    until("a failure", || world.supervisor.provisioned(&broken).failure.is_some()).await;
    assert_eq!(world.supervisor.provisioned(&broken).available, 0);
    world.close().await;
}

async fn an_invocation_goes_to_its_end_without_its_caller() {
    let world = sandboxed();
    let function = Arc::new(world.node(
        "exports.handler = async (e) => { if (e.slow) { await new Promise((r) => setTimeout(r, 300)); console.log('to its end'); } return process.pid; };",
    ));
    for cold in [true, false] {
        let running = world.supervisor.run(Arc::clone(&function), invocation(r#"{"slow":1}"#));
        let gone = tokio::time::timeout(Duration::from_millis(if cold { 5 } else { 100 }), running).await;
        assert!(gone.is_err());
        let lines = Arc::clone(&world.lines);
        let ends = if cold { 1 } else { 2 };
        let ended = |line: &String| line.contains("to its end");
        until("its last line", || lines.of("authorizer").iter().filter(|line| ended(line)).count() == ends).await;
        until("its environment", || world.supervisor.warm_count() == 1).await;
    }
    world.close().await;
}

async fn callers_on_other_runtimes_use_the_same_environment() {
    let world = sandboxed();
    let function = Arc::new(world.node("let n = 0; exports.handler = async () => { n += 1; return n; };"));
    let callers: Vec<_> = (0..2)
        .map(|_| {
            let (supervisor, function) = (world.supervisor.clone(), Arc::clone(&function));
            move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(async move {
                    let outcome = supervisor.run(function, invocation("{}")).await.unwrap();
                    String::from_utf8(outcome.payload.to_vec()).unwrap()
                })
            }
        })
        .collect();
    for (index, caller) in callers.into_iter().enumerate() {
        let answered = std::thread::spawn(caller).join().unwrap();
        assert_eq!(answered, (index + 1).to_string());
    }
    // The runtimes of both are gone; a third goes on.
    assert_eq!(world.result(&function, "{}").await, "3");
    world.close().await;
}

/// Children of this process that are launchers.
fn launchers() -> Vec<String> {
    let is_launcher = |pid: &String| {
        std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.ends_with(b"\0launcher\0"))
            && std::fs::read_to_string(format!("/proc/{pid}/stat"))
                .is_ok_and(|stat| stat.contains(&format!(") S {} ", std::process::id())))
    };
    let numbers = std::fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    numbers.filter(is_launcher).collect()
}

fn kill_launcher() {
    let found = launchers();
    let [pid] = found.as_slice() else { panic!("{found:?} are launchers") };
    let pid = rustix::process::Pid::from_raw(pid.parse().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

async fn a_dead_launcher_is_started_again_once() {
    let world = sandboxed();
    let function = world.node(
        "exports.handler = async (e) => { if (e.slow) await new Promise((r) => setTimeout(r, 9000)); return 1; };",
    );
    assert_eq!(world.result(&function, "{}").await, "1");
    let (supervisor, slow) = (world.supervisor.clone(), Arc::new(function.clone()));
    let busy = tokio::spawn(async move { supervisor.run(slow, invocation(r#"{"slow":1}"#)).await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    kill_launcher();
    let outcome = busy.await.unwrap().unwrap();
    assert!(outcome.function_error.is_some(), "{outcome:?}");
    for _ in 0..3 {
        assert_eq!(world.result(&function, "{}").await, "1");
    }
    kill_launcher();
    // The kernel kills the sandboxes after the launcher, not with it: one may just be able to answer.
    let begun = Instant::now();
    let text = loop {
        match world.try_invoke(&function, "{}").await {
            Err(RunError::Unavailable(text)) => break text,
            other => assert!(begun.elapsed() < Duration::from_secs(5), "it still runs: {other:?}"),
        }
    };
    assert!(text.contains("launcher"), "{text}");
    world.supervisor.shutdown(Duration::ZERO).await;
}

async fn nothing_is_left_behind() {
    let count = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let world = sandboxed();
    let function = world.python("import os\ndef handler(e, c):\n    os._exit(3)\n");
    let fine = world.python("def handler(e, c):\n    return 1\n");
    world.error(&function, "{}").await;
    world.result(&fine, "{}").await;
    until("rest", || world.supervisor.standby_count() >= 1).await;
    let mut before = 0;
    for round in 0..30 {
        world.error(&function, "{}").await;
        until("rest", || world.supervisor.live_count() - world.supervisor.standby_count() == 1).await;
        if round == 10 {
            before = count();
        }
    }
    until("descriptors to come back", || count() <= before + 8).await;
    world.close().await;
    until("the launcher's end", || launchers().is_empty()).await;
}
