//! The few calls of the host that `rustix` does not offer. All `unsafe` of launching lies in this file.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
};

use rustix::{io::Errno, process::Pid};

/// The namespaces every sandbox has of its own. The one for control groups is entered later ([`own_cgroup_view`]):
/// its root is the group a process is in at that moment.
pub(crate) const NAMESPACES: u64 = (libc::CLONE_NEWUSER
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUTS) as u64;

/// `CLONE_INTO_CGROUP`.
const INTO_GROUP: u64 = 0x2_0000_0000;

/// Which side of a [`clone`] one is on.
pub(crate) enum Side {
    Child,
    Parent { pid: Pid, pidfd: OwnedFd },
}

/// Copies the process, into new namespaces if `flags` name any, and into a control group (version 2) if one is given.
///
/// # Errors
/// The host's, such as `EPERM` where namespaces are forbidden, `EAGAIN` or `ENOSPC` where there are too many.
#[expect(unsafe_code, reason = "neither the standard library nor rustix offers clone3")]
pub(crate) fn clone(flags: u64, group: Option<BorrowedFd<'_>>) -> Result<Side, Errno> {
    let mut pidfd: RawFd = -1;
    let arguments = libc::clone_args {
        flags: flags | libc::CLONE_PIDFD as u64 | group.map_or(0, |_| INTO_GROUP),
        pidfd: &raw mut pidfd as u64,
        child_tid: 0,
        parent_tid: 0,
        exit_signal: libc::SIGCHLD as u64,
        stack: 0,
        stack_size: 0,
        tls: 0,
        set_tid: 0,
        set_tid_size: 0,
        cgroup: group.map_or(0, |group| group.as_raw_fd() as u64),
    };
    // SAFETY: `arguments` is whole and lives through the call, `pidfd` is writable. Neither memory nor stack is shared
    // (no CLONE_VM), so the child goes on with copies of everything, like after fork. INVARIANT: the caller has one
    // thread ([`crate::serve`] refuses to run with more), so no lock is held by a thread that the child lacks.
    let result = unsafe { libc::syscall(libc::SYS_clone3, &raw const arguments, size_of::<libc::clone_args>()) };
    match result {
        0 => Ok(Side::Child),
        pid if pid > 0 => {
            // SAFETY: the kernel has just opened this descriptor for us; nobody else knows it.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(Errno::RANGE)?;
            Ok(Side::Parent { pid, pidfd })
        }
        _ => Err(last_error()),
    }
}

/// Copies this process where `clone3` may be hidden, as the profile of a container does with it.
///
/// # Errors
/// The host's; `EAGAIN` above all.
#[expect(unsafe_code, reason = "neither the standard library nor rustix offers fork")]
pub(crate) fn fork() -> Result<Side, Errno> {
    match clone(0, None) {
        Err(Errno::NOSYS) => {}
        other => return other,
    }
    // SAFETY: takes no pointers. INVARIANT: this process has one thread ([`crate::serve`] sees to it), so the child
    // lacks no thread that could hold a lock.
    match unsafe { libc::fork() } {
        0 => Ok(Side::Child),
        failed if failed < 0 => Err(Errno::AGAIN),
        pid => {
            let pid = Pid::from_raw(pid).ok_or(Errno::AGAIN)?;
            let flags = rustix::process::PidfdFlags::empty();
            Ok(Side::Parent { pid, pidfd: rustix::process::pidfd_open(pid, flags)? })
        }
    }
}

/// Ends this process at once: no destructors, no exit handlers, no buffers of the process it was copied from.
#[expect(unsafe_code, reason = "`process::exit` would run what the parent registered")]
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: ends the process; takes no pointers.
    unsafe { libc::_exit(code) }
}

/// From now on this process sees its present control group as the root of all.
#[expect(unsafe_code, reason = "rustix holds unshare unsafe for the sake of CLONE_FILES")]
pub(crate) fn own_cgroup_view() -> Result<(), Errno> {
    // SAFETY: the flag concerns neither descriptors nor memory.
    unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWCGROUP) }
}

/// Gives this process mounts of its own, in a user namespace of its own when `user` is set.
#[expect(unsafe_code, reason = "rustix holds unshare unsafe for the sake of CLONE_FILES")]
pub(crate) fn own_mounts(user: bool) -> Result<(), Errno> {
    use rustix::thread::UnshareFlags;
    let flags = if user { UnshareFlags::NEWNS | UnshareFlags::NEWUSER } else { UnshareFlags::NEWNS };
    // SAFETY: the flags concern neither descriptors nor memory.
    unsafe { rustix::thread::unshare_unsafe(flags) }
}

/// `struct mount_attr` of the kernel.
#[repr(C)]
struct MountAttributes {
    set: u64,
    clear: u64,
    propagation: u64,
    user_namespace: u64,
}

/// Sets and clears attributes (`MOUNT_ATTR_*`) of the mount that `tree` is the root of, with all below if `recursive`.
#[expect(unsafe_code, reason = "rustix does not offer mount_setattr")]
pub(crate) fn mount_attributes(tree: impl AsFd, recursive: bool, set: u64, clear: u64) -> Result<(), Errno> {
    let attributes = MountAttributes { set, clear, propagation: 0, user_namespace: 0 };
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is a literal that ends in NUL, `attributes` lives through the call and its size is given.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_fd().as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attributes,
            size_of::<MountAttributes>(),
        )
    };
    if result == 0 { Ok(()) } else { Err(last_error()) }
}

/// Switches the loopback interface of this network namespace on.
#[expect(unsafe_code, reason = "rustix does not offer the requests for interfaces")]
pub(crate) fn loopback_up() -> Result<(), Errno> {
    let socket = rustix::net::socket_with(
        rustix::net::AddressFamily::INET,
        rustix::net::SocketType::DGRAM,
        rustix::net::SocketFlags::CLOEXEC,
        None,
    )?;
    // SAFETY: all zeroes is a value of this plain C struct.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (place, byte) in request.ifr_name.iter_mut().zip(b"lo\0") {
        *place = *byte as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: SIOCSIFFLAGS reads a `struct ifreq`, which is what is passed, with its name ended by NUL.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &raw const request) };
    if result == 0 { Ok(()) } else { Err(last_error()) }
}

/// Lets this process outlive the signals by which it is usually asked to end.
#[expect(unsafe_code, reason = "rustix does not offer sigaction")]
pub(crate) fn ignore_requests_to_end() {
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT] {
        // SAFETY: the disposition is no function of ours, and these signals are none that Rust's runtime handles.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
}

/// Makes `number` mean what `file` means, open across exec.
#[expect(unsafe_code, reason = "rustix takes the target as an owned descriptor, but here it is a number of the child")]
pub(crate) fn place(file: impl AsFd, number: RawFd) -> Result<(), Errno> {
    // SAFETY: takes no pointers. Whoever calls this in a child owns all its descriptors and keeps no `OwnedFd` of
    // `number`.
    let result = unsafe { libc::dup2(file.as_fd().as_raw_fd(), number) };
    if result == number { Ok(()) } else { Err(last_error()) }
}

/// Between fork and exec of the launcher: makes descriptor `to` what `from` is, open across exec.
#[expect(unsafe_code, reason = "between fork and exec descriptors are numbers")]
pub(crate) fn place_inherited(from: RawFd, to: RawFd) -> Result<(), Errno> {
    // SAFETY: takes no pointers; `dup2` of a descriptor onto itself would leave it to be closed by exec.
    let result = unsafe { if from == to { libc::fcntl(from, libc::F_SETFD, 0) } else { libc::dup2(from, to) } };
    if result < 0 { Err(last_error()) } else { Ok(()) }
}

/// Closes every descriptor from `first` on.
#[expect(unsafe_code, reason = "rustix does not offer close_range")]
pub(crate) fn close_from(first: RawFd) -> Result<(), Errno> {
    // SAFETY: takes no pointers. Whoever calls this in a child leaves it by `exit_now` or exec, so no `OwnedFd` closes
    // a number that means something else by then.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) };
    if result == 0 { Ok(()) } else { Err(last_error()) }
}

/// Takes descriptor `number`, which whoever started this program has left open.
///
/// # Errors
/// When it is not open.
#[expect(unsafe_code, reason = "an inherited descriptor can be named by its number alone")]
pub(crate) fn inherited(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: takes no pointers.
    if unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it is open, and the caller takes each number once, before anything else could have been given it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Waits for any child of this process to end; gives its number and raw wait status.
#[expect(unsafe_code, reason = "rustix's waitpid gives a status of its own; the raw one is handed on")]
pub(crate) fn wait_any() -> Result<(i32, i32), Errno> {
    let mut status = 0;
    // SAFETY: `status` is writable.
    let pid = unsafe { libc::waitpid(-1, &raw mut status, 0) };
    if pid > 0 { Ok((pid, status)) } else { Err(last_error()) }
}

/// Takes a child that has ended, if one has: its number and raw wait status.
///
/// # Errors
/// `ECHILD` when there is no child at all.
#[expect(unsafe_code, reason = "rustix's waitpid gives a status of its own; the raw one is handed on")]
pub(crate) fn wait_any_ended() -> Result<Option<(i32, i32)>, Errno> {
    let mut status = 0;
    // SAFETY: `status` is writable.
    match unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) } {
        0 => Ok(None),
        pid if pid > 0 => Ok(Some((pid, status))),
        _ => Err(last_error()),
    }
}

/// Kills every process that this one may signal, but itself: those of its effective user.
///
/// # Errors
/// `EPERM` unless this process has no capability, is nowhere root, and its effective user is `user`: anything else would
/// reach further than is meant.
#[expect(unsafe_code, reason = "rustix does not signal all processes")]
pub(crate) fn kill_all_of(user: u32) -> Result<(), Errno> {
    let held = rustix::thread::capabilities(None)?;
    let (real, effective) = (rustix::process::getuid(), rustix::process::geteuid());
    let able = !held.effective.is_empty() || !held.permitted.is_empty();
    if able || real.is_root() || effective.is_root() || effective.as_raw() != user {
        return Err(Errno::PERM);
    }
    // SAFETY: takes no pointers.
    match unsafe { libc::kill(-1, libc::SIGKILL) } {
        0 => Ok(()),
        _ => match last_error() {
            // There is nobody.
            Errno::SRCH => Ok(()),
            errno => Err(errno),
        },
    }
}

/// Signals that this process takes by asking for them ([`Awaited::next`]), and no other way from then on.
pub(crate) struct Awaited(libc::sigset_t);

impl Awaited {
    /// Blocks them. From this call on none that is sent is lost, ignored as it may have been so far.
    #[expect(unsafe_code, reason = "rustix does not offer signal masks")]
    pub(crate) fn block(signals: &[libc::c_int]) -> Result<Awaited, Errno> {
        // SAFETY: all zeroes is a valid set, which `sigemptyset` then makes the empty one.
        let mut set = unsafe { std::mem::zeroed::<libc::sigset_t>() };
        // SAFETY: the set is writable, and the numbers are the C library's own.
        unsafe {
            libc::sigemptyset(&raw mut set);
            for &signal in signals {
                libc::sigaddset(&raw mut set, signal);
            }
        }
        // SAFETY: the set lives through the call, and the former mask is not asked for.
        let blocked = unsafe { libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) };
        if blocked != 0 {
            return Err(last_error());
        }
        for &signal in signals {
            // SAFETY: the default disposition is no function of ours.
            unsafe { libc::signal(signal, libc::SIG_DFL) };
        }
        Ok(Awaited(set))
    }

    /// The next of them, or `None` when `timeout_ms` have passed first.
    #[expect(unsafe_code, reason = "rustix does not offer sigtimedwait")]
    pub(crate) fn next(&self, timeout_ms: u64) -> Option<libc::c_int> {
        let timeout = libc::timespec {
            tv_sec: libc::time_t::try_from(timeout_ms / 1_000).unwrap_or(libc::time_t::MAX),
            tv_nsec: (timeout_ms % 1_000 * 1_000_000) as libc::c_long,
        };
        // SAFETY: set and timeout live through the call, and nothing more is asked to be told.
        let signal = unsafe { libc::sigtimedwait(&raw const self.0, std::ptr::null_mut(), &raw const timeout) };
        (signal > 0).then_some(signal)
    }
}

/// `SO_PASSRIGHTS` (Linux 6.16), the same number on every architecture that has a list of calls here.
const PASS_RIGHTS: libc::c_int = 83;

/// Has the host refuse, to whoever sends them, descriptors that are sent to this socket.
///
/// # Errors
/// `ENOPROTOOPT` where the kernel is older than 6.16.
#[expect(unsafe_code, reason = "rustix does not offer SO_PASSRIGHTS")]
pub(crate) fn refuse_descriptors(socket: impl AsFd) -> Result<(), Errno> {
    let no: libc::c_int = 0;
    let size = size_of::<libc::c_int>() as libc::socklen_t;
    let descriptor = socket.as_fd().as_raw_fd();
    // SAFETY: the option is an integer, which lives through the call and whose size is given.
    let result = unsafe { libc::setsockopt(descriptor, libc::SOL_SOCKET, PASS_RIGHTS, (&raw const no).cast(), size) };
    if result == 0 { Ok(()) } else { Err(last_error()) }
}

/// Whether it does so.
///
/// # Errors
/// As [`refuse_descriptors`].
#[expect(unsafe_code, reason = "rustix does not offer SO_PASSRIGHTS")]
pub(crate) fn refuses_descriptors(socket: impl AsFd) -> Result<bool, Errno> {
    let mut passes: libc::c_int = 1;
    let mut size = size_of::<libc::c_int>() as libc::socklen_t;
    let descriptor = socket.as_fd().as_raw_fd();
    // SAFETY: the option is an integer, which is writable and whose size is given; so is the size.
    let result =
        unsafe { libc::getsockopt(descriptor, libc::SOL_SOCKET, PASS_RIGHTS, (&raw mut passes).cast(), &raw mut size) };
    if result == 0 { Ok(passes == 0) } else { Err(last_error()) }
}

fn last_error() -> Errno {
    Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::IO)
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use rustix::process::{WaitId, WaitIdOptions, waitid};

    use super::*;

    /// Neither allocates nor locks: other threads of the tests may hold what a child would wait for.
    fn is_in(group: &[u8]) -> i32 {
        let mut text = [0; 4_096];
        let Ok(file) = rustix::fs::open(c"/proc/self/cgroup", rustix::fs::OFlags::RDONLY, rustix::fs::Mode::empty())
        else {
            return 2;
        };
        let read = rustix::io::read(file, &mut text).unwrap_or(0);
        i32::from(!text[..read].windows(group.len()).any(|part| part == group))
    }

    #[test]
    #[expect(clippy::print_stdout, reason = "a test that shows nothing says so")]
    fn a_child_begins_in_the_group_it_is_given() {
        let name = format!("portcullis-test-{}", std::process::id());
        let mounted = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"].map(Path::new);
        let Some(group) = mounted
            .into_iter()
            .filter(|mount| mount.join("cgroup.controllers").exists())
            .map(|mount| mount.join(&name))
            .find(|group| fs::create_dir(group).is_ok())
        else {
            println!("left out: no cgroup v2 hierarchy can be written here");
            return;
        };
        let directory = fs::File::open(&group).unwrap();
        let cloned = clone(0, Some(directory.as_fd()));
        let code = match cloned {
            Ok(Side::Child) => exit_now(is_in(name.as_bytes())),
            Ok(Side::Parent { pidfd, .. }) => {
                waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED).unwrap().unwrap().exit_status()
            }
            Err(errno) => panic!("{errno}"),
        };
        fs::remove_dir(&group).unwrap();
        assert_eq!(code, Some(0));
    }
}
