//! Bombs. Each must stop at its limit, and the host must not notice.

use std::{
    fs, io,
    io::Write,
    os::unix::net::UnixStream,
    process::Command,
    time::{Duration, Instant},
};

use rustix::io::Errno;
use sandbox::{Exit, Mechanism, Request};

use crate::{
    Line,
    call::{call, given, numbers, tmp},
    denied, judged,
    world::{World, request},
};

const MEMORY_BYTES: u64 = 64 << 20;
const TMP_BYTES: u64 = 16 << 20;
/// What a bomb of memory asks for.
const BOMB_BYTES: usize = 1 << 30;
const CHUNK_BYTES: usize = 1 << 20;

pub const LINES: &[Line] = &[
    judged("limits_of_a_process", limits, || fs::read_to_string("/proc/self/limits")),
    judged("signals_of_a_process", signals, || fs::read_to_string("/proc/self/status")),
    judged("fork_bomb", processes, || {
        let mut children = 0_u64;
        while Command::new("/bin/sleep").arg("100").spawn().is_ok() && children < 5_000 {
            children += 1;
        }
        Ok(children.to_string())
    }),
    judged("thread_bomb", processes, || {
        let mut threads = 0_u64;
        let sleeper = || std::thread::sleep(Duration::from_secs(100));
        while std::thread::Builder::new().stack_size(16 << 10).spawn(sleeper).is_ok() && threads < 5_000 {
            threads += 1;
        }
        let mut out = io::stdout();
        writeln!(out, "{threads}")?;
        out.flush()?;
        std::process::exit(0);
    }),
    judged("memory_bomb", memory, || {
        let mut taken = Vec::new();
        while taken.len() * CHUNK_BYTES < BOMB_BYTES {
            taken.push(vec![taken.len() as u8 | 1; CHUNK_BYTES]);
        }
        Ok(format!("{} bytes", taken.len() * CHUNK_BYTES))
    }),
    judged("memory_bomb_of_many_processes", memory, || {
        // Each stays below the limit, together they do not.
        let program = "x=$(head -c 16000000 /dev/zero | tr '\\0' x); sleep 100";
        let children: Vec<_> = (0..16).map(|_| Command::new("/bin/sh").args(["-c", program]).spawn()).collect();
        std::thread::sleep(Duration::from_secs(3));
        let ended = children.into_iter().flatten().filter_map(|mut child| child.try_wait().ok()?).count();
        Ok(format!("{ended} ended"))
    }),
    judged("memory_file_bomb", memory, || {
        let file = rustix::fs::memfd_create("bomb", rustix::fs::MemfdFlags::CLOEXEC)?;
        filled(&mut fs::File::from(file))
    }),
    judged("shared_memory_bomb", memory, || {
        let id = call(libc::SYS_shmget, &[0, BOMB_BYTES, 0o1600])?;
        let id: usize = id.rsplit(' ').next().and_then(|id| id.parse().ok()).unwrap_or_default();
        let place = call(libc::SYS_shmat, &[id, 0, 0])?;
        touch(place.rsplit(' ').next().and_then(|at| at.parse().ok()).unwrap_or_default());
        Ok("touched all".to_owned())
    }),
    denied("huge_pages", &[Errno::PERM], || {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_HUGETLB;
        call(libc::SYS_mmap, &[0, 2 << 20, 3, flags as usize, usize::MAX, 0])
    }),
    denied("huge_pages_by_file", &[Errno::PERM], || {
        Ok(format!("{:?}", rustix::fs::memfd_create("huge", rustix::fs::MemfdFlags::HUGETLB)?))
    }),
    denied("huge_pages_by_shared_memory", &[Errno::PERM], || {
        call(libc::SYS_shmget, &[0, 2 << 20, 0o1600 | libc::SHM_HUGETLB as usize])
    }),
    judged("pipe_bomb", kernel_memory, || {
        let mut pipes = Vec::new();
        let mut bytes = 0_u64;
        while let Ok((reader, writer)) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::NONBLOCK) {
            while let Ok(written) = rustix::io::write(&writer, &[1; 65_536]) {
                bytes += written as u64;
            }
            pipes.push((reader, writer));
        }
        Ok(bytes.to_string())
    }),
    judged("socket_bomb", kernel_memory, || {
        let mut pairs = Vec::new();
        let mut bytes = 0_u64;
        while let Ok((left, right)) = UnixStream::pair() {
            for mut end in [&left, &right] {
                end.set_nonblocking(true)?;
                while let Ok(written) = end.write(&[1; 65_536]) {
                    bytes += written as u64;
                }
            }
            pairs.push((left, right));
        }
        Ok(bytes.to_string())
    }),
    judged("tmp_fill", tmp_fill, || filled(&mut fs::File::create(tmp("bomb"))?)),
    judged("tmp_fill_with_files", files, || {
        let mut files = 0_u64;
        while files < 1_000_000 {
            match fs::File::create(tmp(&files.to_string())) {
                Ok(_) => files += 1,
                Err(error) if Errno::from_io_error(&error) == Some(Errno::NOSPC) => break,
                Err(error) => return Err(error),
            }
        }
        Ok(files.to_string())
    }),
    judged(
        "descriptor_bomb",
        |world, line| assert!(world.run(line).number() <= 1_024),
        || {
            let mut open = Vec::new();
            while let Ok(file) = fs::File::open("/dev/null") {
                open.push(file);
            }
            Ok((open.len() + 4).to_string())
        },
    ),
    judged(
        "watch_bomb",
        |world, line| assert!(world.run(line).number() <= 1_024),
        || {
            let mut watches = Vec::new();
            while let Ok(watch) = rustix::fs::inotify::init(rustix::fs::inotify::CreateFlags::CLOEXEC) {
                watches.push(watch);
            }
            Ok(watches.len().to_string())
        },
    ),
    judged(
        "locked_memory",
        |world, line| assert!(world.run(line).number() <= 64 << 10),
        || {
            let room = Vec::leak(vec![1_u8; 1 << 20]);
            let mut locked = 0;
            while locked < room.len() && call(libc::SYS_mlock, &[room.as_ptr() as usize, locked + 4_096]).is_ok() {
                locked += 4_096;
            }
            Ok(locked.to_string())
        },
    ),
    judged(
        "a_core_file",
        |world, line| assert_eq!(world.run(line).told(), "no core"),
        || {
            let script = "cd ${TMPDIR:-/tmp}; ulimit -c; sh -c 'kill -SEGV $$'; ls";
            let output = Command::new("/bin/sh").args(["-c", script]).output()?;
            let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
            Ok(if text == "0" { "no core".to_owned() } else { text })
        },
    ),
    judged("endless_output", output, || {
        let mut out = io::stdout();
        let line = [b'x'; 4_096];
        for _ in 0..1_000_000 {
            out.write_all(&line)?;
        }
        Ok(String::new())
    }),
    judged("processor", processor, || {
        let begin = Instant::now();
        let spin = |_| std::thread::spawn(|| while given("FOREVER").is_empty() {});
        let _threads: Vec<_> = (0..4).map(spin).collect();
        while begin.elapsed() < Duration::from_millis(1_500) {
            std::thread::sleep(Duration::from_millis(10));
        }
        // In hundredths of a second: what was spent in the program and in the kernel for it.
        let stat = fs::read_to_string("/proc/self/stat")?;
        let fields = stat.rsplit(") ").next().unwrap_or_default().split(' ').skip(11).take(2);
        println!("{}", fields.filter_map(|ticks| ticks.parse::<u64>().ok()).sum::<u64>() * 10);
        io::stdout().flush()?;
        std::process::exit(0);
    }),
    judged("endless_and_deaf", deaf, || {
        let script = "trap '' TERM INT HUP; (trap '' TERM; setsid sh -c 'while :; do :; done' &) ; while :; do :; done";
        Command::new("/bin/sh").args(["-c", script]).status().map(|status| status.to_string())
    }),
    judged(
        "reads_of_bad_numbers",
        |world, line| assert_eq!(world.run(line).told(), "lived"),
        || {
            // Whatever a filter does not know must be an error, never a crash of the kernel's or ours.
            for number in 300..2_000 {
                let known = [libc::SYS_exit_group, libc::SYS_rseq].contains(&number);
                if !known && number > 470 {
                    let _ = call(number, &[numbers(&[0]), 0, 0, 0, 0, 0]);
                }
            }
            Ok("lived".to_owned())
        },
    ),
];

pub fn small() -> Request {
    Request { memory_bytes: MEMORY_BYTES, tmp_bytes: TMP_BYTES, ..request() }
}

/// Soft and hard, in the words of the kernel. A lower one of the host stays, so that is what is compared.
fn limits(world: &World, line: &Line) {
    let own = fs::read_to_string("/proc/self/limits").unwrap();
    let inside = world.run(line);
    for (name, most) in [
        ("Max open files", 1_024),
        ("Max processes", 1_024),
        ("Max core file size", 0),
        ("Max locked memory", 64 << 10),
        ("Max msgqueue size", 0),
        ("Max pending signals", 1_024),
        ("Max nice priority", 0),
        ("Max realtime priority", 0),
    ] {
        let hard = |text: &str| -> Option<u64> {
            let line = text.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().nth(1)?.parse().ok()
        };
        assert_eq!(hard(inside.told()), Some(hard(&own).map_or(most, |own| own.min(most))), "{name}");
    }
}

/// None is ignored or blocked: a pipe that nobody reads must end who writes to it.
fn signals(world: &World, line: &Line) {
    let ended = world.run(line);
    for name in ["SigBlk", "SigIgn"] {
        let line = ended.told().lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        // This program itself ignores one, as every Rust program does: a broken pipe (13).
        let ignored = u64::from_str_radix(line.trim_start_matches(':').trim(), 16).unwrap() & !(1 << 12);
        assert_eq!(ignored, 0, "{name}");
    }
    let script = "while read -r name value; do case $name in SigBlk:|SigIgn:) printf '%s\\t%s\\n' $name $value;; esac; \
                  done < /proc/$$/status";
    let shell = world.run_shell(script);
    assert_eq!(shell.told(), "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000");
}

/// The limit of the group, or where there is none of the user.
fn processes(world: &World, line: &Line) {
    let ended = world.run_with(line, &Request { memory_bytes: 1 << 30, ..request() }, &[]);
    let started = ended.number();
    assert!((100..=1_024).contains(&started), "{started}");
}

fn memory(world: &World, line: &Line) {
    if !world.limits(Mechanism::MemoryLimit, line) {
        return;
    }
    let ended = world.run_with(line, &small(), &[]);
    assert!(ended.kills.is_some_and(|kills| kills > 0), "not killed: {ended:?}");
    // `/tmp` is allowed on top.
    assert!(ended.peak.is_some_and(|peak| peak <= MEMORY_BYTES + TMP_BYTES), "{ended:?}");
}

/// Memory of the kernel that a function makes it use counts as the function's.
fn kernel_memory(world: &World, line: &Line) {
    if !world.limits(Mechanism::MemoryLimit, line) {
        return;
    }
    let ended = world.run_with(line, &Request { memory_bytes: 1 << 30, ..request() }, &[]);
    let (bytes, peak) = (ended.number(), ended.peak.unwrap_or_default());
    assert!(peak >= bytes, "{bytes} bytes were put into the kernel, {peak} were counted");
}

fn tmp_fill(world: &World, line: &Line) {
    let ended = world.run_with(line, &small(), &[]);
    let bytes = ended.number();
    assert!((TMP_BYTES / 2..=TMP_BYTES).contains(&bytes), "{bytes}");
    assert_eq!(ended.kills.unwrap_or_default(), 0, "a full /tmp is an error, and no death");
}

fn files(world: &World, line: &Line) {
    let files = world.run_with(line, &small(), &[]).number();
    assert!((1_000..=655_360).contains(&files), "{files}");
}

/// Who does not read is not flooded: the pipe fills, and the function waits until it is killed.
fn output(world: &World, line: &Line) {
    let mut launched = world.launch(line, &request(), &[]);
    std::thread::sleep(Duration::from_millis(200));
    world.launcher.kill(launched.id);
    let ended = world.end(&mut launched);
    world.launcher.reap(launched.id).unwrap();
    assert_ne!(ended.exit, Exit::Code(0));
    assert!(ended.output.len() <= 1 << 20, "{} bytes", ended.output.len());
}

/// Four threads for a second and a half, on half a core.
fn processor(world: &World, line: &Line) {
    if !world.limits(Mechanism::CpuLimit, line) {
        return;
    }
    let ended = world.run_with(line, &Request { cpu_millis: 500, ..request() }, &[]);
    let used_ms = ended.number();
    assert!(used_ms < 1_400, "{used_ms} ms of processor time were used");
}

fn deaf(world: &World, line: &Line) {
    let mut launched = world.launch(line, &request(), &[]);
    std::thread::sleep(Duration::from_millis(300));
    world.launcher.kill(launched.id);
    assert_eq!(world.end(&mut launched).exit, Exit::Killed);
    world.launcher.reap(launched.id).unwrap();
}

/// Writes until there is no room, and tells how much there was.
fn filled(file: &mut fs::File) -> io::Result<String> {
    let chunk = vec![1_u8; CHUNK_BYTES / 16];
    let mut bytes = 0;
    while bytes < BOMB_BYTES {
        match file.write(&chunk) {
            Ok(written) => bytes += written,
            Err(error) if Errno::from_io_error(&error) == Some(Errno::NOSPC) => break,
            Err(error) => return Err(error),
        }
    }
    Ok(bytes.to_string())
}

#[expect(unsafe_code, reason = "shared memory is a bare address")]
fn touch(place: usize) {
    for offset in (0..BOMB_BYTES).step_by(4_096) {
        // SAFETY: `shmat` has just given this many bytes to read and write at this place.
        unsafe { std::ptr::write_volatile((place + offset) as *mut u8, 1) };
    }
}
