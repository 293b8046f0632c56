//! The child that becomes a sandbox: first its process 1, which sets everything up, then the process of the function.
//!
//! Nothing here returns: a child that went on with what its parent was doing would be a second launcher.

use std::{
    net::Ipv4Addr,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::process::CommandExt,
    },
    process,
};

use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
    net::{AddressFamily, SocketAddrV4, SocketFlags, SocketType, bind, listen, socket_with, sockopt},
    process::{DumpableBehavior, Signal, set_dumpable_behavior, set_parent_process_death_signal},
    thread::{CapabilitySet, CapabilitySets, set_capabilities, set_no_new_privs},
};

use crate::{
    Request, channel,
    confine::{self, Confinement},
    exec::{Exec, HEAD_BYTES},
    fault::{At, Fault},
    protocol::{Command, Reply},
    root::{self, Base},
    status, sys,
};

/// Connections waiting to be taken at one listener.
const BACKLOG: i32 = 128;
/// What the launcher says once numbers and limits are in place.
pub(crate) const GO: &[u8] = b"go";
/// Descriptor of the frame socket in the function.
const FRAMES: i32 = 3;

/// What the child needs before anything is known of what it is for.
pub(crate) struct Blank<'a> {
    pub(crate) base: &'a Base,
    pub(crate) confinement: &'a Confinement<'a>,
    /// Whether the number 0 exists inside.
    pub(crate) has_root: bool,
    /// Files to write `0` to, to be in the control group.
    pub(crate) entrances: Vec<OwnedFd>,
    /// The launcher's voice, and where to tell it how it went.
    pub(crate) sync: OwnedFd,
}

/// The ends of the server's pipes and socket that go inside.
pub(crate) struct Ends {
    pub(crate) frames: OwnedFd,
    pub(crate) output: OwnedFd,
    pub(crate) status: OwnedFd,
}

/// Sets up what is the same for all, waits for what this one is for, sets up the rest, tells the launcher, starts the
/// function and stays as its process 1.
pub(crate) fn become_sandbox(blank: Blank<'_>) -> ! {
    let Blank { base, confinement, has_root, entrances, sync } = blank;
    let prepared = wait_for_go(&sync).and_then(|()| {
        for entrance in entrances {
            rustix::io::write(entrance, b"0").at("enter the control group")?;
        }
        identify(has_root)?;
        root::enter(base)?;
        sys::loopback_up().at("switch loopback on")
    });
    let Some(Purpose { request, ends, code, layers }) = hear(&sync) else { sys::exit_now(0) };
    let made = prepared.and_then(|()| {
        root::furnish(request.tmp_bytes, code, layers)?;
        Ok((listeners(&request.ports)?, root::own_mount_namespace()?))
    });
    let told = match &made {
        Ok((listeners, mounts)) => {
            let files: Vec<BorrowedFd<'_>> =
                std::iter::once(mounts.as_fd()).chain(listeners.iter().map(AsFd::as_fd)).collect();
            tell(&sync, &Reply::Done, &files)
        }
        Err(Fault { step, errno }) => {
            tell(&sync, &Reply::Failed { step: step.to_string(), errno: errno.raw_os_error() }, &[])
        }
    };
    if made.is_err() || told.is_err() {
        sys::exit_now(1);
    }
    match sys::clone(0, None) {
        Ok(sys::Side::Child) => become_function(&ends, confinement),
        Ok(sys::Side::Parent { pid, .. }) => stay(pid.as_raw_nonzero().get(), &ends.status),
        Err(error) => {
            status::tell_not_executed(&ends.status, "fork", error);
            sys::exit_now(1)
        }
    }
}

/// What a sandbox is for.
struct Purpose {
    request: Request,
    ends: Ends,
    code: Option<OwnedFd>,
    layers: Option<OwnedFd>,
}

/// Waits for the launcher to say what this sandbox is for. `None` when it is for nothing.
fn hear(sync: &OwnedFd) -> Option<Purpose> {
    let mut buffer = channel::Buffer::new();
    let (length, files) = channel::receive(sync, &mut buffer).ok()?;
    let Ok(Command::Launch { request, .. }) = Command::parse(buffer.bytes(length)) else { return None };
    let mut files = files.into_iter();
    let ends = Ends { frames: files.next()?, output: files.next()?, status: files.next()? };
    let code = if request.code.is_some() { Some(files.next()?) } else { None };
    let layers = if request.layers.is_some() { Some(files.next()?) } else { None };
    Some(Purpose { request, ends, code, layers })
}

pub(crate) fn tell(sync: &OwnedFd, reply: &Reply, files: &[BorrowedFd<'_>]) -> Result<(), Errno> {
    channel::send(sync, &reply.encode().map_err(|_| Errno::INVAL)?, files)
}

fn wait_for_go(sync: &OwnedFd) -> Result<(), Fault> {
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
    // Before there is anybody inside who might look. A program that is executed can be looked at again.
    set_dumpable_behavior(DumpableBehavior::NotDumpable).at("become undumpable")?;
    // After the change of user, which clears it. From here on the launcher's death is ours, and with us dies everything
    // inside; had it died before, telling it would fail.
    set_parent_process_death_signal(Some(Signal::KILL)).at("tie to the launcher")?;
    sys::own_cgroup_view().at("hide the control groups of others")?;
    rustix::system::sethostname(root::HOST_NAME.as_bytes()).at("name the host")?;
    rustix::system::setdomainname(b"").at("name the host")
}

/// A listener for each port: the only ways out of the network namespace.
fn listeners(ports: &[u16]) -> Result<Vec<OwnedFd>, Fault> {
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
fn stay(function: i32, status: &OwnedFd) -> ! {
    let alone = || {
        sys::place(status, 0)?;
        sys::close_from(1)?;
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
fn become_function(ends: &Ends, confinement: &Confinement<'_>) -> ! {
    let (step, error) = match arrange(ends) {
        Ok(exec) => match confine::in_child(confinement) {
            Ok(()) => ("execve", execute(exec)),
            Err((step, error)) => (step, error),
        },
        Err((step, error)) => (step, error),
    };
    status::tell_not_executed(&ends.status, step, error);
    sys::exit_now(127)
}

/// INVARIANT: none of the given descriptors has a number below 4; the launcher holds 0 to 3 itself, always.
pub(crate) fn arrange(ends: &Ends) -> Result<Exec, (&'static str, Errno)> {
    let placed = || {
        let null = rustix::fs::open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        sys::place(&null, 0)?;
        sys::place(&ends.output, 1)?;
        sys::place(&ends.output, 2)?;
        sys::place(&ends.frames, FRAMES)
    };
    placed().map_err(|errno| ("place descriptors", errno))?;
    let mut head = [0; HEAD_BYTES];
    read_exact(&ends.frames, &mut head)?;
    let mut rest = vec![0; Exec::length(head).map_err(|_| ("read what to run", Errno::TOOBIG))?];
    read_exact(&ends.frames, &mut rest)?;
    Exec::decode(&rest).map_err(|_| ("read what to run", Errno::INVAL))
}

fn read_exact(socket: &OwnedFd, mut bytes: &mut [u8]) -> Result<(), (&'static str, Errno)> {
    while !bytes.is_empty() {
        match rustix::io::retry_on_intr(|| rustix::io::read(socket, &mut *bytes)) {
            Ok(0) => return Err(("read what to run", Errno::PIPE)),
            Ok(read) => bytes = bytes.get_mut(read..).unwrap_or_default(),
            Err(errno) => return Err(("read what to run", errno)),
        }
    }
    Ok(())
}

/// Runs it; comes back only when that fails.
pub(crate) fn execute(exec: Exec) -> Errno {
    let Exec { program, arguments, environment, directory } = exec;
    let error =
        process::Command::new(program).args(arguments).env_clear().envs(environment).current_dir(directory).exec();
    Errno::from_io_error(&error).unwrap_or(Errno::INVAL)
}
