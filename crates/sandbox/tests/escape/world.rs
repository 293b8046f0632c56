//! The host side: a launcher, a neighbour that must not be harmed, and things that must not be found.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    env, fs,
    io::Read,
    os::{fd::AsFd, unix::fs::PermissionsExt},
    path::{Path, PathBuf},
    process::{Child, Command},
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use sandbox::{Exec, Exit, Launched, Launcher, Mechanism, Options, Request, Tier};
use tempfile::TempDir;

use crate::{DENIED, INSIDE, Line, reach::Decoys};

/// Where this program is seen inside.
const SELF: &str = "/var/lang/escape";
/// Longest that an attempt may take.
const PATIENCE_S: i64 = 60;
/// What a function must never come to know.
pub const SECRET: &str = "the-neighbour-s-secret";

pub struct World {
    pub launcher: Launcher,
    pub decoys: Decoys,
    directory: TempDir,
    canary: RefCell<Child>,
    neighbour: Launched,
    /// Where this program is seen inside.
    program: PathBuf,
}

/// How an attempt ended.
#[derive(Debug)]
pub struct Ended {
    pub exit: Exit,
    pub step: String,
    pub output: String,
    pub kills: Option<u64>,
    pub peak: Option<u64>,
}

impl World {
    pub fn start() -> World {
        World::start_with(false)
    }

    /// Without namespaces.
    pub fn start_weak() -> World {
        World::start_with(true)
    }

    fn start_with(weak: bool) -> World {
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        for name in ["code-a", "code-b"] {
            let code = directory.path().join(name);
            fs::create_dir(&code).unwrap();
            fs::write(code.join("index.js"), if name == "code-a" { SECRET } else { "exports.handler = 1" }).unwrap();
        }
        fs::write(directory.path().join("store.db"), SECRET).unwrap();
        let this = env::current_exe().unwrap();
        let program = if weak { this.clone() } else { PathBuf::from(SELF) };
        let options = Options {
            runtime_dir: directory.path().join("code-b"),
            binds: vec![(this.clone(), program.clone())],
            weak_dir: weak.then(|| directory.path().to_path_buf()),
            ..Options::default()
        };
        let launcher = Launcher::start(&this, &options).unwrap();
        let canary = RefCell::new(Command::new("/bin/sleep").arg("3600").spawn().unwrap());
        let ports = if weak { Vec::new() } else { vec![9001] };
        let request = Request { code: Some(directory.path().join("code-a")), ports, ..request() };
        let script = format!("echo {SECRET} > ${{TMPDIR:-/tmp}}/secret; exec sleep 3600");
        let exec = Exec {
            program: "/bin/sh".into(),
            arguments: vec!["-c".into(), script.into()],
            environment: vec![("SECRET".into(), SECRET.into())],
            directory: "/".into(),
        };
        let neighbour = launcher.launch(&request, &exec).unwrap();
        World { launcher, decoys: Decoys::start(), directory, canary, neighbour, program }
    }

    pub fn is_weak(&self) -> bool {
        self.launcher.report().tier == Tier::B
    }

    /// A path of the host that a function must not see.
    pub fn host_path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Where the neighbour's `/tmp` would be found.
    fn neighbour_tmp(&self) -> String {
        let launchers = fs::read_dir(self.directory.path()).unwrap().map(|entry| entry.unwrap().path());
        let mut places = launchers.map(|launcher| launcher.join(self.neighbour.id.to_string()));
        let found = places.find(|place| place.is_dir());
        assert_eq!(found.is_some(), self.is_weak());
        found.map_or_else(|| "/tmp".to_owned(), |place| place.display().to_string())
    }

    /// Whether this host limits it. If not, says so: the line is skipped then.
    pub fn limits(&self, mechanism: Mechanism, line: &Line) -> bool {
        let works = self.launcher.report().works(mechanism);
        if !works {
            println!("skipped {}: no {mechanism} on this host for this user", line.name);
        }
        works
    }

    pub fn run(&self, line: &Line) -> Ended {
        self.run_with(line, &request(), &[])
    }

    /// With little memory and a small `/tmp`.
    pub fn run_small(&self, line: &Line) -> Ended {
        self.run_with(line, &crate::exhaust::small(), &[])
    }

    /// Runs the attempt of a line to its end and frees what it had.
    pub fn run_with(&self, line: &Line, request: &Request, more: &[(&str, String)]) -> Ended {
        let mut launched = self.launch(line, request, more);
        let ended = self.end(&mut launched);
        // What it might have left goes with it.
        self.launcher.reap(launched.id).unwrap();
        ended
    }

    /// Runs a script of a shell, which unlike this program starts as anything does.
    pub fn run_shell(&self, script: &str) -> Ended {
        let exec = Exec {
            program: "/bin/sh".into(),
            arguments: vec!["-c".into(), script.into()],
            environment: vec![("PATH".into(), "/usr/bin:/bin".into())],
            directory: "/".into(),
        };
        let mut launched = self.launcher.launch(&request(), &exec).unwrap();
        let ended = self.end(&mut launched);
        self.launcher.reap(launched.id).unwrap();
        ended
    }

    pub fn launch(&self, line: &Line, request: &Request, more: &[(&str, String)]) -> Launched {
        let mut environment: BTreeMap<String, String> = self.decoys.variables();
        environment.insert("STORE".into(), self.host_path("store.db").display().to_string());
        environment.insert("NEIGHBOUR_TMP".into(), self.neighbour_tmp());
        if self.is_weak() {
            environment.insert("WEAKLY".into(), "yes".into());
            environment.insert("CODE".into(), self.host_path("code-b").display().to_string());
        }
        environment.insert("DIRECTORY".into(), self.directory.path().display().to_string());
        environment.insert("LAUNCHED_BY".into(), std::process::id().to_string());
        environment.extend(more.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        let exec = Exec {
            program: self.program.clone(),
            arguments: vec![INSIDE.into(), line.name.into()],
            environment: environment.into_iter().collect(),
            directory: "/".into(),
        };
        let request = Request { code: Some(self.host_path("code-b")), ..request.clone() };
        self.launcher.launch(&request, &exec).unwrap()
    }

    /// Waits for the end; an attempt that takes too long is killed, and has failed.
    pub fn end(&self, launched: &mut Launched) -> Ended {
        let in_time = readable(&launched.pidfd);
        if !in_time {
            self.launcher.kill(launched.id);
        }
        assert!(readable(&launched.pidfd), "a killed sandbox does not end");
        let mut output = Vec::new();
        fs::File::from(launched.output.try_clone().unwrap()).read_to_end(&mut output).unwrap();
        let (exit, step) = sandbox::exit_and_step(&launched.status);
        let output = String::from_utf8_lossy(&output).trim().to_owned();
        assert!(in_time, "not ended in time: {output}");
        let usage = launched.usage.as_ref();
        let kills = usage.map(|usage| usage.memory_kills().unwrap());
        let peak = usage.map(|usage| usage.memory_bytes_peak().unwrap());
        Ended { exit, step, output, kills, peak }
    }

    /// The host's own process lives, the neighbour lives, their files are as they were, and launching still works.
    pub fn is_unharmed(&self) {
        assert!(self.canary.borrow_mut().try_wait().unwrap().is_none(), "a process of the host was killed");
        assert!(!poll_now(&self.neighbour.pidfd), "the neighbour was killed");
        for name in ["store.db", "code-a/index.js"] {
            assert_eq!(fs::read_to_string(self.host_path(name)).unwrap(), SECRET, "{name}");
        }
        let exec =
            Exec { program: "/bin/true".into(), arguments: Vec::new(), environment: Vec::new(), directory: "/".into() };
        let mut launched = self.launcher.launch(&request(), &exec).unwrap();
        let ended = self.end(&mut launched);
        self.launcher.reap(launched.id).unwrap();
        assert_eq!(ended.exit, Exit::Code(0), "{ended:?}");
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let mut canary = self.canary.borrow_mut();
        let _ = canary.kill();
        let _ = canary.wait();
        self.launcher.kill(self.neighbour.id);
        let _ = self.launcher.reap(self.neighbour.id);
    }
}

impl Ended {
    #[track_caller]
    pub fn denied(self) {
        assert_eq!(self.exit, Exit::Code(DENIED), "{} {}", self.step, self.output);
    }

    /// What an attempt that ran through told.
    #[track_caller]
    pub fn told(&self) -> &str {
        assert_eq!(self.exit, Exit::Code(0), "{} {}", self.step, self.output);
        &self.output
    }

    #[track_caller]
    pub fn number(&self) -> u64 {
        self.told().parse().unwrap_or_else(|_| panic!("no number: {}", self.output))
    }
}

pub fn request() -> Request {
    Request { memory_bytes: 128 << 20, tmp_bytes: 16 << 20, cpu_weight: 100, ..Request::default() }
}

fn readable(file: &impl AsFd) -> bool {
    poll(&mut [PollFd::new(file, PollFlags::IN)], Some(&Timespec { tv_sec: PATIENCE_S, tv_nsec: 0 })).unwrap() > 0
}

fn poll_now(file: &impl AsFd) -> bool {
    poll(&mut [PollFd::new(file, PollFlags::IN)], Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap() > 0
}

/// Whether a text of the inside names a directory of the host.
pub fn names(text: &str, path: &Path) -> bool {
    text.contains(&path.display().to_string())
}
