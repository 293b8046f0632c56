//! What runs inside the sandboxes of these tests: each part prints what it sees, or does something.

use std::{
    env, fs,
    io::{Read, Write},
    net::TcpStream,
    os::unix::net::UnixStream,
    os::{fd::FromRawFd, unix::process::CommandExt},
    process::{Command, ExitCode, exit},
};

/// First argument with which this program is inside.
pub const ARGUMENT: &str = "inside";
/// Port inside at which somebody outside listens.
pub const PORT: u16 = 9001;

pub fn run(what: &str) -> ExitCode {
    match what {
        "exit-3" => return ExitCode::from(3),
        "environment" => env::vars().for_each(|(name, value)| println!("{name}={value}")),
        "environment-bytes" => println!("{}", env::vars().map(|(_, value)| value.len()).sum::<usize>()),
        "identity" => identity(),
        "mounts" => print!("{}", fs::read_to_string("/proc/self/mountinfo").unwrap()),
        "descriptors" => descriptors(),
        "processes" => processes(),
        "masked" => masked(),
        "names" => names(),
        "code" => code(),
        "fill-tmp" => fill_tmp(),
        "connect" => connect(),
        "orphan" => orphan(),
        "sleep" => sleep(),
        "await" => wait_for_a_word(),
        "kill-1" => kill_one(),
        "killed" => {
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::TERM).unwrap();
            sleep();
        }
        other => {
            println!("unknown part {other:?}");
            return ExitCode::from(99);
        }
    }
    ExitCode::SUCCESS
}

fn identity() {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let wanted = ["Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp:"];
    status.lines().filter(|line| wanted.iter().any(|name| line.starts_with(name))).for_each(|line| println!("{line}"));
    println!("pid {}", std::process::id());
    println!("task {:?}", fs::metadata("/var/task").is_ok());
}

fn descriptors() {
    let mut all: Vec<String> = fs::read_dir("/proc/self/fd")
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter_map(|entry| {
            let to = fs::read_link(entry.path()).ok()?.to_string_lossy().into_owned();
            // The descriptor this very listing is read from.
            (!to.starts_with("/proc/")).then(|| format!("{} {to}", entry.file_name().to_string_lossy()))
        })
        .collect();
    all.sort();
    all.iter().for_each(|line| println!("{line}"));
}

fn processes() {
    for entry in fs::read_dir("/proc").unwrap() {
        let name = entry.unwrap().file_name().to_string_lossy().into_owned();
        if name.bytes().all(|byte| byte.is_ascii_digit()) {
            println!("pid {name}");
        }
    }
    for path in ["/proc/1/environ", "/proc/1/root", "/proc/1/fd", "/proc/1/maps", "/proc/1/cwd"] {
        println!("{path} {}", fs::read(path).is_err() && fs::read_dir(path).is_err());
    }
}

fn masked() {
    for path in ["/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/interrupts", "/proc/kmsg"] {
        match fs::File::open(path).and_then(|mut file| file.read(&mut [0; 64])) {
            Ok(read) => println!("{path} {read}"),
            Err(_) => println!("{path} 0"),
        }
    }
    print!("loadavg {}", fs::read_to_string("/proc/loadavg").unwrap());
    for path in ["/proc/sys/kernel/hostname", "/proc/sysrq-trigger", "/proc/sys/vm/drop_caches", "/etc/passwd"] {
        println!("write {path} {}", fs::write(path, "x").is_ok());
    }
    println!("group {}", fs::read_to_string("/proc/self/cgroup").unwrap().lines().all(|line| line.ends_with(":/")));
}

fn names() {
    println!("{}", rustix::system::uname().nodename().to_string_lossy());
    print!("{}", fs::read_to_string("/etc/passwd").unwrap());
    println!("resolver {:?}", fs::read_to_string("/etc/resolv.conf").unwrap());
    let interfaces = fs::read_to_string("/proc/net/dev").unwrap();
    interfaces.lines().skip(2).for_each(|line| println!("interface {}", line.split(':').next().unwrap().trim()));
    for name in ["null", "zero", "full", "random", "urandom"] {
        println!("device {name} {}", fs::File::open(format!("/dev/{name}")).is_ok());
    }
    println!("write null {}", fs::write("/dev/null", "x").is_ok());
}

fn code() {
    for path in ["/var/task/code.txt", "/opt/layer.txt", "/var/runtime/boot.txt"] {
        println!("{path} {}", fs::read_to_string(path).unwrap_or_else(|error| error.to_string()).trim());
    }
    for path in ["/var/task/new", "/opt/new", "/var/runtime/new", "/new", "/usr/new", "/etc/new", "/var/lang/new"] {
        if fs::write(path, "x").is_ok() {
            println!("written {path}");
        }
    }
}

fn fill_tmp() {
    fs::write("/tmp/first", "x").unwrap();
    let mut file = fs::File::create("/tmp/big").unwrap();
    let block = vec![1; 1 << 20];
    let mut written = 0;
    let error = loop {
        match file.write_all(&block) {
            Ok(()) => written += 1,
            Err(error) => break error,
        }
    };
    println!("{written} MiB, then {:?}", error.kind());
}

fn connect() {
    let mut stream = TcpStream::connect(("127.0.0.1", PORT)).unwrap();
    stream.write_all(b"from inside").unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    println!("{answer}");
}

/// Leaves a process in a session of its own behind and goes on living.
fn orphan() {
    // In the background of a shell that ends: nobody waits for it.
    Command::new("/bin/sh").args(["-c", "sleep 1000 &"]).process_group(0).spawn().unwrap().wait().unwrap();
    let mut child = Command::new("/usr/bin/setsid");
    child.args(["-f", "/usr/bin/sleep", "1000"]).spawn().unwrap().wait().unwrap();
    println!("ready");
    std::io::stdout().flush().unwrap();
    sleep();
}

fn sleep() {
    std::thread::sleep(std::time::Duration::from_secs(1_000));
}

/// Waits for a byte on the frame socket, then shows the code.
#[expect(unsafe_code, reason = "the frame socket is known by its number")]
fn wait_for_a_word() {
    // SAFETY: descriptor 3 is the frame socket, and nothing else here takes it.
    let mut frames = unsafe { UnixStream::from_raw_fd(3) };
    println!("waiting");
    std::io::stdout().flush().unwrap();
    let mut word = [0];
    frames.read_exact(&mut word).unwrap();
    code();
    fill_tmp();
}

fn kill_one() {
    let init = rustix::process::Pid::from_raw(1).unwrap();
    println!("{:?}", rustix::process::kill_process(init, rustix::process::Signal::KILL));
    exit(7);
}
