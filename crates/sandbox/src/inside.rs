//! The child that becomes a sandbox: first its process 1, which sets everything up, then the process of the function.
//!
//! Nothing here returns: a child that went on with what its parent was doing would be a second launcher.

use std::{
    io::Read,
    net::Ipv4Addr,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::process::CommandExt,
    },
    process::Command,
};

use rustix::{
    io::Errno,
    net::{AddressFamily, SocketAddrV4, SocketFlags, SocketType, bind, listen, socket_with, sockopt},
    process::{DumpableBehavior, Signal, set_dumpable_behavior, set_parent_process_death_signal},
    thread::{CapabilitySet, CapabilitySets, set_capabilities, set_no_new_privs},
};

use crate::{
    channel,
    confine::{self, Confinement},
    exec::{Exec, HEAD_BYTES},
    fault::{At, Fault},
    protocol::Reply,
    root::{self, Base},
    status, sys,
};

/// Connections waiting to be taken at one listener.
const BACKLOG: i32 = 128;
/// What the launcher says once numbers and limits are in place.
pub(crate) const GO: &[u8] = b"go";
/// Descriptor of the frame socket in the function.
const FRAMES: i32 = 3;

/// Everything the child needs, prepared by the launcher.
pub(crate) struct Plan<'a> {
    pub(crate) base: &'a Base,
    pub(crate) confinement: &'a Confinement<'a>,
    /// Whether the number 0 exists inside.
    pub(crate) has_root: bool,
    pub(crate) tmp_bytes: u64,
    pub(crate) ports: &'a [u16],
    pub(crate) code: Option<OwnedFd>,
    pub(crate) layers: Option<OwnedFd>,
    /// Where to tell the launcher how it went.
    pub(crate) sync: OwnedFd,
    pub(crate) ends: Ends,
}

/// The ends of the server's pipes and socket that go inside.
pub(crate) struct Ends {
    pub(crate) frames: OwnedFd,
    pub(crate) output: OwnedFd,
    pub(crate) status: OwnedFd,
}

/// Sets the sandbox up, tells the launcher, starts the function and stays as its process 1.
pub(crate) fn become_sandbox(plan: Plan<'_>) -> ! {
    let Plan { base, confinement, has_root, tmp_bytes, ports, code, layers, sync, ends } = plan;
    let (sync, ends) = (sync.as_fd(), (ends.frames.as_fd(), ends.output.as_fd(), ends.status.as_fd()));
    let prepared = wait_for_go(sync).and_then(|()| identify(has_root));
    let outcome = prepared.and_then(|()| {
        root::enter(base, tmp_bytes, code, layers)?;
        network(ports)
    });
    let made = outcome.and_then(|listeners| Ok((root::own_mount_namespace()?, listeners)));
    match made {
        Ok((mounts, listeners)) => {
            let files: Vec<BorrowedFd<'_>> =
                std::iter::once(mounts.as_fd()).chain(listeners.iter().map(AsFd::as_fd)).collect();
            if tell(sync, &Reply::Done, &files).is_err() {
                sys::exit_now(1);
            }
        }
        Err(Fault { step, errno }) => {
            let _ = tell(sync, &Reply::Failed { step: step.into_owned(), errno: errno.raw_os_error() }, &[]);
            sys::exit_now(1);
        }
    }
    match sys::clone(0) {
        Ok(sys::Side::Child) => become_function(ends.0, ends.1, ends.2, confinement),
        Ok(sys::Side::Parent { pid, .. }) => stay(pid.as_raw_nonzero().get(), ends.2),
        Err(error) => {
            status::tell_not_executed(ends.2, "fork", error);
            sys::exit_now(1)
        }
    }
}

fn tell(sync: BorrowedFd<'_>, reply: &Reply, files: &[BorrowedFd<'_>]) -> Result<(), Errno> {
    channel::send(sync, &reply.encode().map_err(|_| Errno::INVAL)?, files)
}

fn wait_for_go(sync: BorrowedFd<'_>) -> Result<(), Fault> {
    let mut go = [0; GO.len()];
    let read = rustix::io::retry_on_intr(|| rustix::io::read(sync, &mut go)).at("wait for the launcher")?;
    if read == GO.len() { Ok(()) } else { Err(Fault::new("wait for the launcher", Errno::PIPE)) }
}

/// Becomes root inside (it was a stranger so far), tied to the launcher's life, and unnamed.
fn identify(has_root: bool) -> Result<(), Fault> {
    if has_root {
        let (user, group) = (rustix::fs::Uid::ROOT, rustix::fs::Gid::ROOT);
        rustix::thread::set_thread_res_gid(group, group, group).at("become group 0 inside")?;
        rustix::thread::set_thread_res_uid(user, user, user).at("become user 0 inside")?;
    }
    // After the change of user, which clears it. From here on the launcher's death is ours, and with us dies everything
    // inside; had it died before, telling it would fail.
    set_parent_process_death_signal(Some(Signal::KILL)).at("tie to the launcher")?;
    sys::own_cgroup_view().at("hide the control groups of others")?;
    rustix::system::sethostname(root::HOST_NAME.as_bytes()).at("name the host")?;
    rustix::system::setdomainname(b"").at("name the host")
}

/// Loopback, and a listener for each port: the only ways out of the network namespace.
fn network(ports: &[u16]) -> Result<Vec<OwnedFd>, Fault> {
    sys::loopback_up().at("switch loopback on")?;
    let listener = |port: u16| {
        let socket = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        sockopt::set_socket_reuseaddr(&socket, true)?;
        bind(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))?;
        listen(&socket, BACKLOG)?;
        Ok::<_, Errno>(socket)
    };
    ports.iter().map(|port| listener(*port).at_with(|| format!("listen at 127.0.0.1:{port} inside"))).collect()
}

/// Process 1: holds nothing but the status pipe, can do nothing, reaps, and ends with the function. Everything else
/// inside then dies with it.
fn stay(function: i32, status: BorrowedFd<'_>) -> ! {
    let alone = || {
        sys::place(status, 0)?;
        sys::close_from(1)?;
        set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
        let none = CapabilitySet::empty();
        set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })?;
        set_no_new_privs(true)
    };
    if alone().is_err() {
        // The function must not run beside a process 1 that can do things.
        sys::exit_now(1);
    }
    loop {
        match sys::wait_any() {
            Ok((pid, raw)) if pid == function => {
                // Where the status pipe has been placed.
                status::tell_ended(std::io::stdin(), raw);
                sys::exit_now(0);
            }
            Ok(_) | Err(Errno::INTR) => {}
            Err(_) => sys::exit_now(1),
        }
    }
}

/// The function's own process: takes its descriptors, learns what to run, gives up everything, runs it.
fn become_function(
    frames: BorrowedFd<'_>,
    output: BorrowedFd<'_>,
    status: BorrowedFd<'_>,
    confinement: &Confinement<'_>,
) -> ! {
    let (step, error) = match arrange(frames, output) {
        Ok(exec) => match confine::in_child(confinement) {
            Ok(()) => ("execve", execute(exec)),
            Err((step, error)) => (step, error),
        },
        Err(Fault { errno, .. }) => ("arrange", errno),
    };
    status::tell_not_executed(status, step, error);
    sys::exit_now(127)
}

/// INVARIANT: none of the given descriptors has a number below 4; the launcher holds 0 to 3 itself, always.
fn arrange(frames: BorrowedFd<'_>, output: BorrowedFd<'_>) -> Result<Exec, Fault> {
    let null = std::fs::File::open("/dev/null").at("open /dev/null")?;
    sys::place(&null, 0).at("place standard input")?;
    sys::place(output, 1).at("place standard output")?;
    sys::place(output, 2).at("place standard error")?;
    sys::place(frames, FRAMES).at("place the frame socket")?;
    let mut socket = std::fs::File::from(frames.try_clone_to_owned().at("read what to run")?);
    let mut head = [0; HEAD_BYTES];
    socket.read_exact(&mut head).at("read what to run")?;
    let mut rest = vec![0; Exec::length(head).map_err(|_| Fault::new("read what to run", Errno::TOOBIG))?];
    socket.read_exact(&mut rest).at("read what to run")?;
    Exec::decode(&rest).map_err(|_| Fault::new("read what to run", Errno::INVAL))
}

/// Runs it; comes back only when that fails.
fn execute(exec: Exec) -> Errno {
    let Exec { program, arguments, environment, directory } = exec;
    let error = Command::new(program).args(arguments).env_clear().envs(environment).current_dir(directory).exec();
    Errno::from_io_error(&error).unwrap_or(Errno::INVAL)
}
