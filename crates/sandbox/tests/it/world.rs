//! A launcher, and what tests do with its sandboxes.

use std::{
    env, fs,
    io::Read,
    os::{fd::AsFd, unix::fs::PermissionsExt},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use sandbox::{Exec, Exit, Launched, Launcher, Options, Request, Tier};
use tempfile::TempDir;

use crate::inside;

/// Where this program is seen inside.
pub const SELF: &str = "/var/lang/it";
/// Longest that anything here may take.
const PATIENCE: Duration = Duration::from_secs(20);

pub struct World {
    pub launcher: Launcher,
    pub directory: TempDir,
    /// Where this program is seen inside.
    program: PathBuf,
}

impl World {
    pub fn start() -> World {
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        World { launcher: launcher(directory.path()), directory, program: SELF.into() }
    }

    /// The same without namespaces.
    pub fn start_weak() -> World {
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let program = env::current_exe().unwrap();
        World { launcher: weak_launcher(directory.path()), directory, program }
    }

    /// What runs a part of `inside.rs`.
    pub fn inside(&self, what: &str) -> Exec {
        Exec { program: self.program.clone(), ..inside(what) }
    }

    pub fn tier(&self) -> Tier {
        self.launcher.report().tier
    }

    pub fn summary(&self) -> String {
        self.launcher.report().to_string()
    }

    /// A directory of files of the host, as code or layers.
    pub fn files(&self, name: &str, files: &[(&str, &str)]) -> PathBuf {
        let directory = self.directory.path().join(name);
        fs::create_dir_all(&directory).unwrap();
        for (file, text) in files {
            fs::write(directory.join(file), text).unwrap();
        }
        directory
    }

    /// Runs a part of `inside.rs` to its end.
    pub fn run(&self, what: &str) -> Ended {
        self.run_with(&request(), what)
    }

    pub fn run_with(&self, request: &Request, what: &str) -> Ended {
        let mut sandbox = self.launcher.launch(request, &self.inside(what)).unwrap();
        self.end(&mut sandbox)
    }

    pub fn run_program(&self, program: &str, arguments: &[&str]) -> Ended {
        let arguments = arguments.iter().map(Into::into).collect();
        let exec = Exec { program: program.into(), arguments, environment: Vec::new(), directory: "/".into() };
        let mut sandbox = self.launcher.launch(&request(), &exec).unwrap();
        self.end(&mut sandbox)
    }

    /// Waits for a sandbox to end, and frees it.
    pub fn end(&self, sandbox: &mut Launched) -> Ended {
        assert!(readable(&sandbox.pidfd), "the sandbox does not end");
        let mut output = String::new();
        let pipe = sandbox.output.try_clone().unwrap();
        fs::File::from(pipe).read_to_string(&mut output).unwrap();
        let (exit, step) = sandbox::exit_and_step(&sandbox.status);
        self.launcher.reap(sandbox.id).unwrap();
        Ended { exit, step, output }
    }
}

#[derive(Debug)]
pub struct Ended {
    pub exit: Exit,
    pub step: String,
    pub output: String,
}

impl Ended {
    /// The output of what must have gone well.
    #[track_caller]
    pub fn fine(self) -> String {
        assert_eq!(self.exit, Exit::Code(0), "at {:?}: {}", self.step, self.output);
        self.output
    }
}

pub fn launcher(runtime_dir: &Path) -> Launcher {
    let this = env::current_exe().unwrap();
    let options = Options {
        runtime_dir: runtime_dir.to_path_buf(),
        binds: vec![(this.clone(), SELF.into())],
        ..Options::default()
    };
    Launcher::start(&this, &options).unwrap()
}

/// One that makes sandboxes without namespaces below `directory`.
pub fn weak_launcher(directory: &Path) -> Launcher {
    let this = env::current_exe().unwrap();
    fs::create_dir_all(directory.join("runtime")).unwrap();
    let options = Options {
        runtime_dir: directory.join("runtime"),
        binds: vec![(this.clone(), this.clone())],
        weak_dir: Some(directory.to_path_buf()),
        ..Options::default()
    };
    Launcher::start(&this, &options).unwrap()
}

pub fn request() -> Request {
    Request { memory_bytes: 128 << 20, tmp_bytes: 16 << 20, cpu_weight: 100, ..Request::default() }
}

/// What runs a part of `inside.rs`.
pub fn inside(what: &str) -> Exec {
    Exec {
        program: SELF.into(),
        arguments: vec![inside::ARGUMENT.into(), what.into()],
        environment: vec![("GREETING".into(), "hello".into())],
        directory: "/".into(),
    }
}

/// Whether it becomes readable in good time.
pub fn readable(file: &impl AsFd) -> bool {
    let timeout = Timespec { tv_sec: PATIENCE.as_secs().cast_signed(), tv_nsec: 0 };
    poll(&mut [PollFd::new(file, PollFlags::IN)], Some(&timeout)).unwrap() > 0
}

/// Waits until something holds.
#[track_caller]
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !holds() {
        assert!(begin.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
