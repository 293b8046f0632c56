//! Runs a program in a sandbox, to look around in there.
//!
//! `cargo run -p sandbox --example run [--bind HOST=INSIDE]... PROGRAM [ARGUMENT]...`, as root for tier A1.

use std::{
    env,
    ffi::OsString,
    fs::File,
    io::{self, Write},
    os::fd::AsFd,
    path::{Path, PathBuf},
    process::ExitCode,
};

use rustix::event::{PollFd, PollFlags, poll};
use sandbox::{Exec, Exit, LAUNCHER_ARGUMENT, Launcher, Options, Request};

fn main() -> io::Result<ExitCode> {
    let mut arguments: Vec<OsString> = env::args_os().skip(1).collect();
    if arguments.first().is_some_and(|first| first == LAUNCHER_ARGUMENT) {
        return sandbox::serve().map(|()| ExitCode::SUCCESS);
    }
    let mut binds = Vec::new();
    while arguments.len() > 1 && arguments.first().is_some_and(|first| first == "--bind") {
        let pair = arguments.drain(..2).next_back().unwrap_or_default().to_string_lossy().into_owned();
        let (host, inside) = pair.split_once('=').ok_or_else(|| io::Error::other("--bind takes HOST=INSIDE"))?;
        binds.push((PathBuf::from(host), PathBuf::from(inside)));
    }
    if arguments.is_empty() {
        return Err(io::Error::other("name a program"));
    }
    let program = PathBuf::from(arguments.remove(0));
    let options = Options { runtime_dir: env::temp_dir(), binds, ..Options::default() };
    let launcher = Launcher::start(Path::new("/proc/self/exe"), &options)?;
    writeln!(io::stderr(), "{}", launcher.report())?;
    let request = Request { memory_bytes: 256 << 20, tmp_bytes: 64 << 20, cpu_weight: 100, ..Request::default() };
    let path = "/var/lang/bin:/usr/local/bin:/usr/bin:/bin";
    let environment = vec![
        ("PATH".to_owned(), path.to_owned()),
        ("LD_LIBRARY_PATH".to_owned(), "/var/lang/lib".to_owned()),
        ("LANG".to_owned(), "C.UTF-8".to_owned()),
    ];
    let exec = Exec { program, arguments, environment, directory: "/tmp".into() };
    let launched = launcher.launch(&request, &exec).map_err(io::Error::other)?;
    io::copy(&mut File::from(launched.output), &mut io::stdout())?;
    poll(&mut [PollFd::new(&launched.pidfd.as_fd(), PollFlags::IN)], None)?;
    let (exit, step) = sandbox::exit_and_step(&launched.status);
    launcher.reap(launched.id).map_err(io::Error::other)?;
    writeln!(io::stderr(), "{exit:?} {step}")?;
    Ok(if exit == Exit::Code(0) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
