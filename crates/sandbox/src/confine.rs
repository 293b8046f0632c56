//! The last steps of a sandboxed process before it becomes the function: giving everything up.

use rustix::{
    fs::Mode,
    io::Errno,
    process::{Resource, Rlimit},
    thread::{CapabilitySet, CapabilitySets, Gid, Uid},
};

use crate::{landlock, privileges, seccomp::Filter, turns};

/// The first descriptor a function does not get: it has input, output, errors and the socket of its frames.
const DESCRIPTORS: u32 = 4;
/// Highest signal number there is.
const SIGNALS: i32 = 64;

/// Limits of every process of a function: resource, soft, hard (`None`: as it is).
///
/// Descriptors and locked memory are what AWS was seen to set; of processes it sets fewer than it documents (1,024),
/// and here the control group's limit is to be the one that is met: this one counts per user and user namespace and
/// does not see the sandbox's pid 1. It holds alone where there are no control groups.
/// Message queues are memory that no group counts, a core file would lie in the function's `/tmp`, and priorities
/// above the usual are nobody's.
const LIMITS: &[(Resource, u64, Option<u64>)] = &[
    (Resource::Nofile, 1_024, Some(1_024)),
    (Resource::Nproc, 1_024, Some(1_024)),
    (Resource::Core, 0, Some(0)),
    (Resource::Memlock, 64 << 10, Some(64 << 10)),
    (Resource::Msgqueue, 0, Some(0)),
    (Resource::Stack, 8 << 20, None),
    (Resource::Rtprio, 0, Some(0)),
    (Resource::Nice, 0, Some(0)),
    (Resource::Sigpending, 1_024, Some(1_024)),
];

/// How ready the kernel is to kill a function when the whole host runs out of memory (-1,000 to 1,000): before the
/// server and before us.
const OOM_SCORE: &str = "500";

/// Who the process is to be, and what it may do from then on.
pub(crate) struct Confinement<'a> {
    /// As seen inside.
    pub uid: u32,
    /// As seen inside.
    pub gid: u32,
    pub files: &'a landlock::Rules<'a>,
    pub calls: &'a Filter,
    /// Size of the largest file it may write, bytes; `None` where the file system it writes to has a size of its own.
    pub file_bytes_max: Option<u64>,
}

/// Gives up everything: limits, groups, user, capabilities, files, calls, signals. Afterwards `execve` is all there is
/// to do; descriptors from 4 on close with it, so that its failure can still be told.
///
/// To be called by a process with one thread, inside its namespaces and its root. There is no way back.
///
/// # Errors
/// The step and the host's error. The process must then end: it is half confined.
pub(crate) fn in_child(confinement: &Confinement) -> Result<(), (&'static str, Errno)> {
    // Nothing is lost where it cannot be written: whether there is a limit of memory is decided elsewhere.
    let _ = std::fs::write("/proc/self/oom_score_adj", OOM_SCORE);
    let _ = turns::take(turns::FUNCTION);
    // A session of its own has no terminal. A process that leads one already is as well off.
    let _ = rustix::process::setsid();
    rustix::process::umask(Mode::from_raw_mode(0o022));
    limit_resources(confinement.file_bytes_max).map_err(|errno| ("limit resources", errno))?;
    privileges::empty_bounding_set().map_err(|errno| ("empty the bounding set", errno))?;
    rustix::thread::clear_ambient_capability_set().map_err(|errno| ("clear ambient capabilities", errno))?;
    become_user(confinement.uid, confinement.gid)?;
    let none = CapabilitySet::empty();
    let nothing = CapabilitySets { effective: none, permitted: none, inheritable: none };
    rustix::thread::set_capabilities(None, nothing).map_err(|errno| ("drop capabilities", errno))?;
    rustix::thread::set_no_new_privs(true).map_err(|errno| ("set no_new_privs", errno))?;
    landlock::restrict(confinement.files).map_err(|errno| ("restrict files (Landlock)", errno))?;
    close_with_exec(DESCRIPTORS).map_err(|errno| ("close descriptors", errno))?;
    reset_signals().map_err(|errno| ("reset signals", errno))?;
    confinement.calls.load().map_err(|error| ("load seccomp filter", errno_of(&error)))
}

/// Never raises a hard limit: that takes a privilege, and whoever set a lower one meant it.
fn limit_resources(file_bytes_max: Option<u64>) -> Result<(), Errno> {
    let files = file_bytes_max.map(|bytes| (Resource::Fsize, bytes, Some(bytes)));
    for (resource, soft, hard) in LIMITS.iter().copied().chain(files) {
        let now = rustix::process::getrlimit(resource);
        let least = |limit: u64| now.maximum.map_or(limit, |maximum| maximum.min(limit));
        let maximum = hard.map_or(now.maximum, |hard| Some(least(hard)));
        rustix::process::setrlimit(resource, Rlimit { current: Some(least(soft)), maximum })?;
    }
    Ok(())
}

fn become_user(uid: u32, gid: u32) -> Result<(), (&'static str, Errno)> {
    let groups = rustix::process::getgroups().map_err(|errno| ("read groups", errno))?;
    if !groups.is_empty() {
        match rustix::thread::set_thread_groups(&[]) {
            // Rootless the host forbids to give groups up, lest one escapes a mode that shuts a group out.
            Err(Errno::PERM) if groups_are_fixed() => {}
            outcome => outcome.map_err(|errno| ("give groups up", errno))?,
        }
    }
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    rustix::thread::set_thread_res_gid(gid, gid, gid).map_err(|errno| ("become the group", errno))?;
    rustix::thread::set_thread_res_uid(uid, uid, uid).map_err(|errno| ("become the user", errno))
}

/// Whether the user namespace was made by somebody who may not give up groups.
pub(crate) fn groups_are_fixed() -> bool {
    std::fs::read_to_string("/proc/self/setgroups").is_ok_and(|text| text.trim() == "deny")
}

/// Marks every descriptor from `first` on to be closed by `execve`.
#[expect(unsafe_code, reason = "rustix does not offer close_range")]
fn close_with_exec(first: u32) -> Result<(), Errno> {
    // SAFETY: no pointers; no descriptor is closed before `execve`, so none that somebody owns goes stale.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    if result == 0 { Ok(()) } else { Err(last_error()) }
}

/// No signal is blocked or ignored: `execve` would hand both on, and a runtime starts from neither.
#[expect(unsafe_code, reason = "rustix does not offer sigaction and sigprocmask")]
fn reset_signals() -> Result<(), Errno> {
    /// `struct sigaction` of the kernel, all zeroes: the default disposition, no flags, an empty mask.
    const DEFAULT: [u64; 4] = [0; 4];
    /// Of a set of signals, bytes.
    const SET_BYTES: usize = 8;
    for signal in 1..=SIGNALS {
        // By number, since the C library keeps two signals to itself, which may have been inherited as ignored.
        // SAFETY: the structure lives through the call, and the default disposition is no function of ours. What may
        // not be changed (KILL, STOP) is refused, and is at its default anyhow.
        unsafe {
            let none = std::ptr::null_mut::<u64>();
            libc::syscall(libc::SYS_rt_sigaction, signal, DEFAULT.as_ptr(), none, SET_BYTES);
        }
    }
    // SAFETY: all zeroes is a valid set, which `sigemptyset` then makes the empty one.
    let result = unsafe {
        let mut none = std::mem::zeroed::<libc::sigset_t>();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut())
    };
    if result == 0 { Ok(()) } else { Err(last_error()) }
}

fn last_error() -> Errno {
    errno_of(&std::io::Error::last_os_error())
}

fn errno_of(error: &std::io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::INVAL)
}
