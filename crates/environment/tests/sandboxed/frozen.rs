//! What functions leave running stands still between invocations, and does not outlive them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use lambda::invoke::Revision;
use sandbox::Mechanism;

use crate::{
    kill_launcher, launcher, launchers, until, without_standbys,
    world::{World, alive, program},
};

/// Leaves a thread and a child process that count without end, and answers when both have counted on.
const LEAVES: &str = r#"
import subprocess, sys, threading, time
CHILD = "import sys\nn = 0\nwhile True:\n    n += 1\n    open('/tmp/count', 'w').write(str(n))\n# {}"
counted = [0]
def count():
    while True: counted[0] += 1
def child_counted():
    try: return open("/tmp/count").read()
    except FileNotFoundError: return None
def moves(look):
    before = look()
    while look() == before: time.sleep(0.001)
def work(event):
    if not counted[0]:
        threading.Thread(target=count, daemon=True).start()
        subprocess.Popen([sys.executable, "-c", CHILD.format(event["mark"])])
    moves(lambda: counted[0])
    moves(child_counted)
    return "moved"
"#;

/// The same in a runtime of its own, which does something more after each answer before it asks for the next event.
const CUSTOM: &str = r#"
import http.client, json, os
BASE = "/2018-06-01/runtime/invocation/"
connection = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
def call(method, path, body=None):
    connection.request(method, BASE + path, body)
    answer = connection.getresponse()
    return answer.headers["Lambda-Runtime-Aws-Request-Id"], answer.read()
while True:
    id, event = call("GET", "next")
    call("POST", id + "/response", json.dumps(work(json.loads(event))))
    for _ in range(100): time.sleep(0.01)
    print("afterwards", flush=True)
"#;

fn framed(world: &World) -> Revision {
    world.python(&format!("{LEAVES}\ndef handler(event, context):\n    return work(event)\n"))
}

fn custom(world: &World) -> Revision {
    // The interpreter of the host is where it is inside as well only below /usr.
    let python = ["/usr/bin/python3", "/usr/local/bin/python3"].into_iter().find(|path| Path::new(path).exists());
    let python = python.map_or_else(|| program("python3"), PathBuf::from);
    world.function("provided.al2023", &[("bootstrap", &format!("#!{}\n{LEAVES}\n{CUSTOM}", python.display()))])
}

/// The process of the host that has `mark` among its arguments.
fn child(mark: &str) -> Option<String> {
    let numbers = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    numbers.filter(|name| name.parse::<u32>().is_ok()).find(|pid| {
        fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| String::from_utf8_lossy(&line).contains(mark))
    })
}

/// The control group that stops a process: of version 1, or of version 2.
fn group(pid: &str) -> PathBuf {
    let own = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let find = |of_kind: fn(&str) -> bool, of_group: fn(&str) -> bool| {
        let mount = mounts.lines().rfind(|line| of_kind(line))?;
        let path = own.lines().find(|line| of_group(line))?.splitn(3, ':').nth(2)?;
        let fields: Vec<&str> = mount.split(' ').collect();
        let below = path.strip_prefix(fields[3].trim_end_matches('/'))?.trim_start_matches('/');
        Some(Path::new(fields[4]).join(below))
    };
    let first =
        find(|mount| mount.contains(" - cgroup ") && mount.ends_with("freezer"), |own| own.contains(":freezer:"));
    let found = first.or_else(|| find(|mount| mount.contains(" - cgroup2 "), |own| own.starts_with("0::")));
    found.unwrap_or_else(|| panic!("no group of {pid}: {own}"))
}

/// Whether all of a group stands still, as the host tells.
fn is_frozen(group: &Path) -> bool {
    let read = |file: &str| fs::read_to_string(group.join(file)).unwrap_or_default();
    read("freezer.state").trim() == "FROZEN" || read("cgroup.events").lines().any(|line| line == "frozen 1")
}

/// Processor time that a process has had, ticks.
fn ticks(pid: &str) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

/// Whether this host can stop anything.
fn freezes() -> bool {
    let freezes = launcher(Path::new("/")).unwrap().report().works(Mechanism::Freezer);
    if !freezes {
        println!("this host has no freezer: nothing is tested");
    }
    freezes
}

/// A function that has left things running and is frozen: the event that calls it, a process of it, and its group.
async fn frozen(world: &World, function: &Revision) -> (String, String, PathBuf) {
    let mark = uuid::Uuid::new_v4().to_string();
    let event = format!(r#"{{"mark":"{mark}"}}"#);
    assert_eq!(world.result(function, &event).await, "\"moved\"");
    let pid = child(&mark).expect("it has left a process");
    let group = group(&pid);
    until("its freezing", || is_frozen(&group)).await;
    (event, pid, group)
}

pub async fn what_a_function_leaves_running_stands_still_until_it_is_called_again() {
    if !freezes() {
        return;
    }
    let world = without_standbys();
    let told = || {
        let lines = world.lines.of("authorizer");
        let words = lines.iter().filter_map(|line| line.split_whitespace().next().map(str::to_owned));
        words.filter(|word| ["START", "afterwards"].contains(&word.as_str())).collect::<Vec<_>>().join(" ")
    };
    for function in [framed(&world), custom(&world)] {
        let before = told();
        let (event, pid, group) = frozen(&world, &function).await;
        for _ in 0..3 {
            assert_eq!((world.supervisor.frozen_count(), world.supervisor.warm_count()), (1, 1));
            let before = ticks(&pid);
            tokio::time::sleep(std::time::Duration::from_millis(300)).await;
            assert_eq!(ticks(&pid), before, "it goes on though it is frozen");
            // Both must have moved before it answers.
            assert_eq!(world.result(&function, &event).await, "\"moved\"");
            until("its freezing", || is_frozen(&group)).await;
        }
        // What it did after its answer was done before it was frozen, and so before it was called again.
        let told = told().strip_prefix(&before).map(str::trim).map(str::to_owned);
        let between = if function.runtime.starts_with("provided") { " afterwards " } else { " " };
        assert_eq!(told, Some(["START"; 4].join(between)));
        world.supervisor.retire(&function.account, &function.region, &function.function);
        until("its end", || world.supervisor.live_count() == 0).await;
    }
    world.close().await;
}

pub async fn what_is_frozen_dies_of_everything_that_ends_it_and_leaves_nothing() {
    if !freezes() {
        return;
    }
    let gone = |pid: &str, group: &Path| !alive(pid) && !group.exists();
    let world = without_standbys();
    let mut function = framed(&world);
    let (_, pid, group) = frozen(&world, &function).await;
    world.supervisor.retire(&function.account, &function.region, &function.function);
    until("its end", || world.supervisor.live_count() == 0 && gone(&pid, &group)).await;
    // Kept ready, and let go of.
    function.version = "1".into();
    let shared = std::sync::Arc::new(function.clone());
    world.supervisor.provision(&shared, 1);
    until("one that is kept ready", || world.supervisor.provisioned(&shared).available == 1).await;
    let (_, pid, group) = frozen(&world, &function).await;
    world.supervisor.provision(&shared, 0);
    until("its end", || world.supervisor.live_count() == 0 && gone(&pid, &group)).await;
    // By a launcher that dies: the next caller gets another.
    let (event, pid, group) = frozen(&world, &function).await;
    let [ended] = launchers().try_into().expect("one launcher");
    kill_launcher();
    until("the launcher's end", || !alive(&ended)).await;
    assert_eq!(world.result(&function, &event).await, "\"moved\"");
    until("its end", || !alive(&pid)).await;
    assert!(!is_frozen(&group));
    // By the server's end.
    function.version = "2".into();
    let (_, pid, group) = frozen(&world, &function).await;
    world.close().await;
    until("its end", || gone(&pid, &group)).await;
}
