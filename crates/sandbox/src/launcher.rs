//! The server's end of the launcher.

use std::{
    collections::BTreeSet,
    io::{self, Write},
    net::TcpListener,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
        unix::{net::UnixStream, process::CommandExt},
    },
    path::{Path, PathBuf},
    process::{Child, Stdio},
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use rustix::{
    fs::{Mode, fchmod},
    io::Errno,
    pipe::{PipeFlags, pipe_with},
};

use crate::{
    Error, Exec, Freezer, LAUNCHER_ARGUMENT, Launched, Mechanism, Options, Rank, Report, Request, SandboxId, Tier,
    Usage,
    channel::{self, io_error},
    frames::frame_pair,
    protocol::{Command, GroupFiles, Reply},
    serve::CHANNEL,
    sys,
};

/// Longest that the launcher may take over one request; after that it is held for dead and killed. On a host that is
/// short of everything it is slow, which is no reason to lose every function: long enough to tell the one from the other.
const REPLY_MS_MAX: i64 = 120_000;
/// Longest that [`Launcher::reap`] asks on while a sandbox is not gone.
const REAP_MS_MAX: u64 = 2_000;
/// How long it waits before it asks again: twice as long each time, within these bounds.
const REAP_MS_BETWEEN: [u64; 2] = [1, 64];
/// How long whoever delivers late kills waits until it looks whether there is room.
const ROOM_MS_MAX: i64 = 1_000;
/// An [`Exec`] of at most this many bytes fits into the frame socket before anybody reads it.
const EXEC_BYTES_AHEAD: usize = 64 * 1024;
/// Longest that the rest of a larger one may take.
const EXEC_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the launcher may take to end once it is not needed any more.
const END_MS_MAX: i64 = 5_000;

/// Of the pipe of a function's output: written by whoever reaches it, which is the function alone, and read by us.
const OUTPUT_MODE: Mode = Mode::from_raw_mode(0o622);

/// The server's end of the launcher. Its calls block for one round trip (a launch: about two milliseconds), one at a
/// time; [`Launcher::kill`] waits for none of them. Dropped, it ends the launcher and every sandbox.
pub struct Launcher {
    channel: OwnedFd,
    /// Whose turn it is to ask. INVARIANT: one request is unanswered at most, so a reply is the last request's.
    turn: Mutex<Turn>,
    /// Once the launcher has told it.
    report: OnceLock<Report>,
    /// To be provided as soon as it has.
    binds: Vec<(PathBuf, PathBuf)>,
    /// Whether it may make sandboxes without namespaces.
    weak: bool,
    child: Mutex<Child>,
    pidfd: OwnedFd,
    kills: Arc<Kills>,
}

struct Turn {
    buffer: channel::Buffer,
    /// The next sandbox's. The launcher wants to hear them in order.
    next: SandboxId,
}

impl Launcher {
    /// Starts the launcher from `program` (normally `/proc/self/exe`), which begins to find out what this host can do.
    ///
    /// Does not wait for that: a server has other things to do at its start. Whatever is asked first waits.
    ///
    /// The program is run with [`LAUNCHER_ARGUMENT`] alone, an empty environment and the caller's standard error, and
    /// must then call [`crate::serve`]. A host that cannot isolate is no error here: the report says so.
    ///
    /// # Errors
    /// When the process cannot be started.
    pub fn start(program: &Path, options: &Options) -> io::Result<Launcher> {
        let (channel, theirs) = channel::pair().map_err(io_error)?;
        let child = spawn(program, &theirs)?;
        drop(theirs);
        let launcher = Launcher {
            pidfd: pidfd_of(&child)?,
            child: Mutex::new(child),
            kills: Arc::new(Kills { channel: channel.try_clone()?, late: Mutex::default() }),
            channel,
            turn: Mutex::new(Turn { buffer: channel::Buffer::new(), next: FIRST_ID }),
            report: OnceLock::new(),
            binds: options.binds.clone(),
            weak: options.weak_dir.is_some(),
        };
        let prepare = Command::Prepare {
            runtime_dir: options.runtime_dir.clone(),
            memory_bytes_total: options.memory_bytes_total,
            weak_dir: options.weak_dir.clone(),
        };
        let prepare = prepare.encode().map_err(io::Error::other)?;
        channel::send(&launcher.channel, &prepare, &[]).map_err(io_error)?;
        Ok(launcher)
    }

    /// What this host can isolate, found by doing it. Waits for it at the first call.
    ///
    /// A launcher that does not answer, or cannot provide what it was started to provide, isolates nothing.
    #[must_use]
    pub fn report(&self) -> &Report {
        self.report.get_or_init(|| {
            let mut turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
            let told = match self.hear(&mut turn) {
                Ok((Reply::Report(report), _)) => Ok(report),
                Ok(_) => Err("the launcher answers something else".to_owned()),
                Err(error) => Err(error.to_string()),
            };
            let provided = told.and_then(|report| {
                let binds = if report.tier >= Tier::A2 || self.weak && report.tier == Tier::B {
                    self.binds.as_slice()
                } else {
                    &[]
                };
                for (host, inside) in binds {
                    let command = Command::Provide { host: host.clone(), inside: inside.clone() };
                    self.ask_in_turn(&mut turn, &command, &[]).map_err(|error| error.to_string())?;
                }
                Ok(report)
            });
            provided.unwrap_or_else(|reason| Report::new(false, vec![(Mechanism::Namespaces, Err(reason))]))
        })
    }

    /// A descriptor that becomes readable when the launcher has ended; every sandbox has then been killed.
    ///
    /// # Errors
    /// When no more descriptors can be had.
    pub fn watch(&self) -> io::Result<OwnedFd> {
        self.pidfd.try_clone()
    }

    /// Puts more host directories or files (first) into every sandbox made from now on (second: the path inside),
    /// read-only. The same pair again is no error. At most 64 in all.
    ///
    /// # Errors
    /// The first that cannot be bound, or whose place is taken by another.
    pub fn provide(&self, binds: &[(PathBuf, PathBuf)]) -> Result<(), Error> {
        for (host, inside) in binds {
            self.ask(&Command::Provide { host: host.clone(), inside: inside.clone() }, &[])?;
        }
        Ok(())
    }

    /// Makes a sandbox and starts its program.
    ///
    /// # Errors
    /// The step that failed; nothing is left behind. That the program could not be executed is no error here, but
    /// [`crate::Exit::NotExecuted`].
    pub fn launch(&self, request: &Request, exec: &Exec) -> Result<Launched, Error> {
        let exec = exec.encode().map_err(|malformed| failed("read what to run", io::Error::other(malformed)))?;
        let (mut socket, frames) = frame_pair().map_err(|error| failed("make a socket", error))?;
        let pipe = || pipe_with(PipeFlags::CLOEXEC).map_err(|error| failed("make a pipe", io_error(error)));
        let ((output, output_end), (status, status_end)) = (pipe()?, pipe()?);
        // So that it can also be opened by its name inside (`/dev/stderr`), which takes permission: the pipe is ours.
        fchmod(&output_end, OUTPUT_MODE).map_err(|error| failed("make a pipe", io_error(error)))?;
        let (ahead, behind) = exec.split_at_checked(EXEC_BYTES_AHEAD).unwrap_or((&exec, &[]));
        socket.write_all(ahead).map_err(|error| failed("send what to run", error))?;
        let _ = self.report();
        let mut turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let id = turn.next;
        turn.next = id.saturating_add(1);
        let ends = [frames.as_fd(), output_end.as_fd(), status_end.as_fd()];
        let (reply, files) = self.ask_in_turn(&mut turn, &Command::Launch { id, request: request.clone() }, &ends)?;
        drop(turn);
        drop((frames, output_end, status_end));
        let handed = hand_over(&mut socket, behind).map_err(|error| failed("send what to run", error));
        let sorted = handed.and_then(|()| {
            let sorted = match reply {
                Reply::Launched(of_group) => sort(files, of_group, request.ports.len()),
                _ => None,
            };
            sorted.ok_or_else(|| failed("take descriptors", io::ErrorKind::InvalidData.into()))
        });
        match sorted {
            Ok(Sorted { pidfd, usage, rank, freezer, listeners }) => {
                Ok(Launched { id, socket, output, pidfd, status, listeners, usage, rank, freezer })
            }
            Err(error) => {
                let _ = self.reap(id);
                Err(error)
            }
        }
    }

    /// Mounts code and layers into a running sandbox that has none yet, and sets its limits and the size of `/tmp`
    /// anew. Once in a sandbox's life; its ports stay what they were.
    ///
    /// # Errors
    /// The step that failed; the sandbox must then be killed.
    pub fn assign(&self, id: SandboxId, request: &Request) -> Result<(), Error> {
        self.ask(&Command::Assign { id, request: request.clone() }, &[]).map(drop)
    }

    /// Kills everything inside, without waiting. May be called at any time, any number of times, from anywhere.
    ///
    /// It is never lost: should the launcher be so far behind that no more fits, it is delivered as soon as there is
    /// room.
    pub fn kill(&self, id: SandboxId) {
        self.kills.deliver(id);
    }

    /// Frees what is left of a dead sandbox: control group, uid, mounts. One that still lives is killed first; until it
    /// is gone this asks again and again, for two seconds at most, and the launcher is free for others in between.
    ///
    /// # Errors
    /// What could not be freed, of kind [`io::ErrorKind::WouldBlock`] while it is not gone; it is tried again at the
    /// next call and at the next start.
    pub fn reap(&self, id: SandboxId) -> Result<(), Error> {
        let until = Instant::now().checked_add(Duration::from_millis(REAP_MS_MAX));
        let [mut pause_ms, pause_ms_max] = REAP_MS_BETWEEN;
        loop {
            match self.ask(&Command::Reap { id }, &[]) {
                Err(error)
                    if error.source.kind() == io::ErrorKind::WouldBlock
                        && until.is_some_and(|until| Instant::now() < until) =>
                {
                    std::thread::sleep(Duration::from_millis(pause_ms));
                    pause_ms = pause_ms.saturating_mul(2).min(pause_ms_max);
                }
                outcome => return outcome.map(drop),
            }
        }
    }

    /// One request and its answer.
    fn ask(&self, command: &Command, files: &[BorrowedFd<'_>]) -> Result<(Reply, Vec<OwnedFd>), Error> {
        // The first answer is the report.
        let _ = self.report();
        let mut turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        self.ask_in_turn(&mut turn, command, files)
    }

    fn ask_in_turn(
        &self,
        turn: &mut Turn,
        command: &Command,
        files: &[BorrowedFd<'_>],
    ) -> Result<(Reply, Vec<OwnedFd>), Error> {
        let bytes = command.encode().map_err(|error| failed("ask the launcher", io::Error::other(error)))?;
        match channel::send_within(&self.channel, &bytes, files, REPLY_MS_MAX) {
            Ok(()) => self.hear(turn),
            Err(error) => Err(self.give_up(io_error(error))),
        }
    }

    /// The next answer.
    fn hear(&self, turn: &mut Turn) -> Result<(Reply, Vec<OwnedFd>), Error> {
        let buffer = &mut turn.buffer;
        let answer = channel::readable_within(&self.channel, REPLY_MS_MAX)
            .and_then(|answered| if answered { Ok(()) } else { Err(Errno::TIMEDOUT) })
            .and_then(|()| channel::receive(&self.channel, buffer));
        let reply = match answer {
            Ok((0, _)) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok((length, files)) => match Reply::parse(buffer.bytes(length)) {
                Ok(Reply::Failed { step, errno }) => {
                    return Err(Error { step, source: io::Error::from_raw_os_error(errno) });
                }
                Ok(reply) => Ok((reply, files)),
                Err(error) => Err(io::Error::other(error)),
            },
            Err(error) => Err(io_error(error)),
        };
        reply.map_err(|error| self.give_up(error))
    }

    /// After an answer that did not come or made no sense.
    fn give_up(&self, error: io::Error) -> Error {
        // Whatever it may still answer would be taken for the answer to another question.
        self.end_launcher();
        failed("ask the launcher", error)
    }

    /// Kills the launcher; the kernel then kills the sandboxes.
    fn end_launcher(&self) {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// The way of kills to the launcher, which nobody who kills waits at: some do so holding what everybody needs.
struct Kills {
    channel: OwnedFd,
    late: Mutex<Late>,
}

/// Kills that found no room.
#[derive(Default)]
struct Late {
    ids: BTreeSet<SandboxId>,
    /// Whether a thread sees to them. INVARIANT: one at most does, and none goes while there is one left.
    attended: bool,
}

impl Kills {
    fn deliver(self: &Arc<Self>, id: SandboxId) {
        // Any other error means that the launcher is gone, and the sandbox with it.
        if self.send(id) != Err(Errno::TIMEDOUT) {
            return;
        }
        let mut late = self.late.lock().unwrap_or_else(PoisonError::into_inner);
        late.ids.insert(id);
        if !late.attended {
            let kills = Arc::clone(self);
            // Should there be no thread to be had, the next late kill tries again and takes this one along.
            let spawned = std::thread::Builder::new().name("late kills".to_owned()).spawn(move || kills.attend());
            late.attended = spawned.is_ok();
        }
    }

    /// Waits for room until nothing is late any more, or the launcher is gone.
    fn attend(&self) {
        loop {
            // A launcher that is gone makes it writable, and then sending fails.
            let _ = channel::writable_within(&self.channel, ROOM_MS_MAX);
            let mut late = self.late.lock().unwrap_or_else(PoisonError::into_inner);
            late.ids.retain(|id| self.send(*id) == Err(Errno::TIMEDOUT));
            if late.ids.is_empty() {
                late.attended = false;
                return;
            }
        }
    }

    /// `ETIMEDOUT` when there is no room.
    fn send(&self, id: SandboxId) -> Result<(), Errno> {
        let bytes = Command::Kill { id }.encode().map_err(|_| Errno::INVAL)?;
        channel::send_within(&self.channel, &bytes, &[], 0)
    }
}

impl Drop for Launcher {
    fn drop(&mut self) {
        // It sees the end of the channel, clears up and ends.
        let _ = rustix::net::shutdown(&self.channel, rustix::net::Shutdown::Both);
        let ended = channel::readable_within(&self.pidfd, END_MS_MAX);
        if ended == Ok(true) {
            let _ = self.child.get_mut().unwrap_or_else(PoisonError::into_inner).wait();
        } else {
            self.end_launcher();
        }
    }
}

/// The launcher's own trial has number 1.
const FIRST_ID: SandboxId = 2;

fn failed(step: &str, source: io::Error) -> Error {
    Error { step: step.to_owned(), source }
}

/// Runs the program with the channel at descriptor 3.
#[expect(unsafe_code, reason = "the standard library hands over no other descriptors than 0, 1 and 2")]
fn spawn(program: &Path, channel: &OwnedFd) -> io::Result<Child> {
    let number = channel.as_raw_fd();
    let mut command = std::process::Command::new(program);
    command.arg0("portcullis").arg(LAUNCHER_ARGUMENT).env_clear().current_dir("/");
    command.stdin(Stdio::null()).stdout(Stdio::null());
    // SAFETY: runs between fork and exec, where only calls that are safe in a signal handler are allowed: it makes one
    // or two plain system calls and allocates nothing. The number is open in the child, as copy of the parent's.
    unsafe {
        command.pre_exec(move || sys::place_inherited(number, CHANNEL).map_err(io_error));
    }
    command.spawn()
}

fn pidfd_of(child: &Child) -> io::Result<OwnedFd> {
    let pid = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw);
    let pid = pid.ok_or_else(|| io::Error::other("a process without a number"))?;
    rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).map_err(io_error)
}

/// Sends the rest of what did not fit in advance.
fn hand_over(socket: &mut UnixStream, rest: &[u8]) -> io::Result<()> {
    if rest.is_empty() {
        return Ok(());
    }
    socket.set_write_timeout(Some(EXEC_TIMEOUT))?;
    socket.write_all(rest)?;
    socket.set_write_timeout(None)
}

/// What comes with a sandbox, in this order.
struct Sorted {
    pidfd: OwnedFd,
    /// Three files.
    usage: Option<Usage>,
    rank: Option<Rank>,
    freezer: Option<Freezer>,
    listeners: Vec<TcpListener>,
}

/// Takes them apart; `None` when there are more or fewer than were told of.
fn sort(files: Vec<OwnedFd>, of_group: GroupFiles, ports: usize) -> Option<Sorted> {
    let mut files = files.into_iter();
    let pidfd = files.next()?;
    let usage = if of_group.usage {
        Some(Usage { current: files.next()?, peak: files.next()?, events: files.next()? })
    } else {
        None
    };
    let rank = match of_group.rank {
        Some(version) => Some(Rank { idle: files.next()?, weight: files.next()?, version }),
        None => None,
    };
    let freezer = match of_group.freezer {
        Some(version) => Some(Freezer::new(files.next()?, version)),
        None => None,
    };
    let listeners: Vec<TcpListener> = files.map(TcpListener::from).collect();
    (listeners.len() == ports).then_some(Sorted { pidfd, usage, rank, freezer, listeners })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::Version;

    #[test]
    fn descriptors_are_those_that_were_told_of_or_none_is_taken() {
        let versions = [None, Some(Version::One), Some(Version::Two)];
        for (usage, rank) in versions.into_iter().flat_map(|rank| [(false, rank), (true, rank)]) {
            for (freezer, ports) in versions.into_iter().flat_map(|freezer| [(freezer, 0), (freezer, 3)]) {
                let of_group = GroupFiles { usage, rank, freezer };
                let whole = 1
                    + 3 * usize::from(usage)
                    + 2 * usize::from(rank.is_some())
                    + usize::from(freezer.is_some())
                    + ports;
                for count in 0..=whole + 1 {
                    let null = || OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
                    let sorted = sort(std::iter::repeat_with(null).take(count).collect(), of_group, ports);
                    let found = sorted.map(|sorted| GroupFiles {
                        usage: sorted.usage.is_some(),
                        rank: sorted.rank.map(|rank| rank.version()),
                        freezer: sorted.freezer.map(|freezer| freezer.version()),
                    });
                    assert_eq!(found, (count == whole).then_some(of_group), "{count} of {whole}");
                }
            }
        }
    }

    #[test]
    fn kills_that_find_no_room_are_delivered_once_there_is_some() {
        let (ours, theirs) = channel::pair().unwrap();
        let kills = Arc::new(Kills { channel: ours.try_clone().unwrap(), late: Mutex::default() });
        let mut sent = 0;
        while kills.send(sent) == Ok(()) {
            sent += 1;
        }
        (sent..sent + 1_000).for_each(|id| kills.deliver(id));
        let mut buffer = channel::Buffer::new();
        let mut killed = BTreeSet::new();
        for _ in 0..sent + 1_000 {
            let (length, _) = channel::receive(&theirs, &mut buffer).unwrap();
            let Ok(Command::Kill { id }) = Command::parse(buffer.bytes(length)) else { panic!("not a kill") };
            killed.insert(id);
        }
        // Each once, in any order: room may appear while the late ones are gone through.
        assert!(killed.into_iter().eq(0..sent + 1_000));
        // A launcher that is gone is waited for by nobody.
        while kills.send(0) == Ok(()) {}
        kills.deliver(1);
        drop(theirs);
        while kills.late.lock().unwrap().attended {
            std::thread::yield_now();
        }
    }
}
