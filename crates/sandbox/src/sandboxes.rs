//! What the launcher does with sandboxes, however they are made.

use std::{
    os::fd::OwnedFd,
    path::Path,
    time::{Duration, Instant},
};

use rustix::io::Errno;

use crate::{
    Request, SandboxId, channel,
    exec::Exec,
    fault::{At, Fault},
    host::{Host, Idle},
    inside::Ends,
    protocol::GroupFiles,
    status,
};

/// Longest that a sandbox may take to set itself up.
pub(crate) const SETUP_MS_MAX: i64 = 5_000;
/// Longest that is waited, in all, for killed sandboxes where there is nothing else to do: after the trial and at the
/// end. Less than the server waits for the launcher to end.
const END_MS_MAX: u64 = 3_000;
/// How often those are looked at.
const END_POLL: Duration = Duration::from_micros(500);
/// Number of the sandbox that is made to find out whether one can be: the server's begin after it.
const TRIAL: SandboxId = 1;

/// A maker of sandboxes, and those it has made.
pub(crate) trait Sandboxes {
    /// Makes a sandbox; its program starts as soon as it has been read from the frame socket. Gives the descriptors of
    /// the reply: process, then the files of the control group that there are, then listeners.
    fn launch(&mut self, id: SandboxId, request: &Request, ends: Ends) -> Result<(GroupFiles, Vec<OwnedFd>), Fault>;

    /// Gives a sandbox that was started without code its code, its layers and new limits. Once only.
    fn assign(&mut self, id: SandboxId, request: &Request) -> Result<(), Fault>;

    /// Kills everything inside, without waiting.
    fn kill(&mut self, id: SandboxId);

    /// Frees everything of a sandbox, killing it if it lives. One that is not known has been freed before.
    ///
    /// # Errors
    /// `EAGAIN` while it is not gone yet: ask again.
    fn reap(&mut self, id: SandboxId) -> Result<(), Fault>;

    /// Shows a path of the host to every sandbox made from now on.
    fn provide(&mut self, host: &Path, inside: &Path) -> Result<(), Fault>;

    /// Something to do when there is nothing to do.
    fn idle(&mut self) -> Idle;

    /// Ends everything, for a launcher that is no longer needed.
    fn end(&mut self);
}

impl Sandboxes for Host {
    fn launch(&mut self, id: SandboxId, request: &Request, ends: Ends) -> Result<(GroupFiles, Vec<OwnedFd>), Fault> {
        Host::launch(self, id, request, ends)
    }

    fn assign(&mut self, id: SandboxId, request: &Request) -> Result<(), Fault> {
        Host::assign(self, id, request)
    }

    fn kill(&mut self, id: SandboxId) {
        Host::kill(self, id);
    }

    fn reap(&mut self, id: SandboxId) -> Result<(), Fault> {
        Host::reap(self, id)
    }

    fn provide(&mut self, host: &Path, inside: &Path) -> Result<(), Fault> {
        Host::provide(self, host, inside)
    }

    fn idle(&mut self) -> Idle {
        Host::idle(self)
    }

    fn end(&mut self) {
        Host::end(self);
    }
}

/// Waits, though not for ever, for something that comes of itself; whether it has come.
pub(crate) fn wait(mut come: impl FnMut() -> bool) -> bool {
    let until = Instant::now().checked_add(Duration::from_millis(END_MS_MAX));
    loop {
        if come() {
            return true;
        }
        if until.is_none_or(|until| Instant::now() > until) {
            return false;
        }
        std::thread::sleep(END_POLL);
    }
}

/// Makes one sandbox with everything, up to the point at which a program would be executed, and clears it away.
///
/// # Errors
/// The step that failed: of the launcher, of setting up, or of confining.
pub(crate) fn trial(host: &mut dyn Sandboxes) -> Result<(), Fault> {
    // What cannot be executed anywhere: all mechanisms are on by the time that is found out.
    let exec =
        Exec { program: "/dev/null".into(), arguments: Vec::new(), environment: Vec::new(), directory: "/".into() };
    let exec = exec.encode().map_err(|_| Fault::new("encode", Errno::INVAL))?;
    let (ours, frames) = std::os::unix::net::UnixStream::pair().at("make a socket")?;
    rustix::io::write(&ours, &exec).at("send what to run")?;
    let (output_reader, output) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).at("make a pipe")?;
    let (ended, status) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).at("make a pipe")?;
    let request = Request { memory_bytes: 64 * 1024 * 1024, tmp_bytes: 1024 * 1024, ..Request::default() };
    let made = host.launch(TRIAL, &request, Ends { frames: frames.into(), output, status });
    let made = made.and_then(|(_, files)| {
        let process = files.first().ok_or(Fault::new("share the process", Errno::IO))?;
        channel::readable_within(process, SETUP_MS_MAX).at("wait for the sandbox")
    });
    let mut reaped = Ok(());
    wait(|| {
        reaped = host.reap(TRIAL);
        reaped.is_ok()
    });
    drop(output_reader);
    made?;
    reaped?;
    match status::exit_and_step(&ended) {
        (status::Exit::NotExecuted(errno), step) if step == "execve" && errno == Errno::ACCESS.raw_os_error() => Ok(()),
        (status::Exit::NotExecuted(errno), step) => Err(Fault::new(step, Errno::from_raw_os_error(errno))),
        _ => Err(Fault::new("learn how it ended", Errno::IO)),
    }
}
