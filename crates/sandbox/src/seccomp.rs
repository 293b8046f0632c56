//! The system calls a function may make: an allow-list, compiled once and loaded by each sandbox's last step.
//!
//! The list was read off Node 20, Python 3.11, a shell and Rust programs at work in real handlers (files, child
//! processes, threads, TLS, loopback HTTP, name lookup, SQLite), and widened by what their libraries are documented to
//! use. Whatever is not on it answers `EPERM`; a call younger than [`KNOWN_LAST`], and `clone3`, whose flags a filter
//! cannot see, answer `ENOSYS` as a kernel without them would, so that programs fall back on what can be inspected.
//! Calls of another architecture kill the process.
//!
//! Kept out on purpose, because each has been a way out of a sandbox or reaches beyond it: `ptrace`, `process_vm_*`,
//! the mount family old and new, `pivot_root`, `chroot`, `setns`, `unshare`, `bpf`, `perf_event_open`, `userfaultfd`,
//! `io_uring_*`, the key ring, modules, `kexec`, `reboot`, swap, `open_by_handle_at`, `pidfd_getfd`, `kcmp`,
//! `quotactl`, `syslog`, setting any clock, `seccomp` itself, `sync`, which would flush the whole host's disks, and
//! `io_setup`, whose contexts are counted for the whole host.
//!
//! Sources: manual pages `seccomp(2)` and `syscalls(2)`; docker's default profile as a cross-check.

mod program;

use std::{collections::BTreeMap, io};

use libc::c_long;
use program::{Answer, Condition, Verdict};
use seccompiler::BpfProgram;

/// The last call this list takes a stand on (`mseal`, Linux 6.10).
const KNOWN_LAST: u32 = 462;

/// Number of the architecture in the kernel's audit interface; `None` for one that has no list.
const ARCHITECTURE: Option<u32> = if cfg!(target_arch = "x86_64") {
    Some(0xc000_003e)
} else if cfg!(target_arch = "aarch64") {
    Some(0xc000_00b7)
} else {
    None
};

/// Which sockets a function may make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sockets {
    /// TCP and UDP too: the network namespace decides what they reach.
    Internet,
    /// Connected pairs alone, and nothing else by which processes of one host that do not descend from each other could
    /// meet ([`MEETINGS`]): without namespaces nothing else keeps a function from its neighbours.
    Local,
}

/// A compiled filter.
#[derive(Debug, Clone)]
pub struct Filter(BpfProgram);

impl Filter {
    /// Compiles the list for this architecture.
    ///
    /// # Errors
    /// When this architecture has no list.
    pub fn compile(sockets: Sockets) -> Result<Filter, String> {
        let architecture = ARCHITECTURE.ok_or("seccomp: there is no list for this architecture")?;
        let program = program::compile(architecture, KNOWN_LAST, &verdicts(sockets));
        program.map(Filter).map_err(|error| format!("seccomp: {error}"))
    }

    /// Subjects this thread, and all it starts, to the filter for good. Sets `no_new_privs` too.
    ///
    /// # Errors
    /// The host's.
    pub fn load(&self) -> io::Result<()> {
        seccompiler::apply_filter(&self.0).map_err(|error| match error {
            seccompiler::Error::Prctl(error) | seccompiler::Error::Seccomp(error) => error,
            other => io::Error::other(other),
        })
    }
}

/// The lists and the conditions, call by call.
fn verdicts(sockets: Sockets) -> BTreeMap<u32, Verdict> {
    let listed = ALLOWED.iter().flat_map(|(calls, _)| calls.iter().map(|&call| (call, Verdict::Always(Answer::Allow))));
    let conditional = conditions(sockets).into_iter().map(|(call, alternatives)| (call, Verdict::If(alternatives)));
    let absent = (libc::SYS_clone3, Verdict::Always(Answer::Absent));
    let without: Vec<_> = match sockets {
        Sockets::Internet => Vec::new(),
        Sockets::Local => {
            let denied = MEETINGS.iter().map(|&call| (call, Verdict::Always(Answer::Deny)));
            denied
                .chain(own_alone().into_iter().map(|(call, alternatives)| (call, Verdict::If(alternatives))))
                .collect()
        }
    };
    // What comes later replaces what came before.
    let all = listed.chain(conditional).chain([absent]).chain(without);
    all.filter_map(|(call, verdict)| Some((u32::try_from(call).ok()?, verdict))).collect()
}

/// Calls that are allowed with some arguments: any one alternative, of which all conditions hold.
fn conditions(sockets: Sockets) -> Vec<(c_long, Vec<Vec<Condition>>)> {
    use Condition::{Is, IsNot, Masked};
    const NAMESPACES: i32 = libc::CLONE_NEWNS
        | libc::CLONE_NEWCGROUP
        | libc::CLONE_NEWUTS
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWUSER
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWNET;
    let number = |value: i32| value.cast_unsigned();
    let mut families = vec![
        vec![Is(0, number(libc::AF_UNIX))],
        // Routing questions alone (protocol 0): `os.networkInterfaces` and `getaddrinfo` ask them, with a raw type.
        vec![Is(0, number(libc::AF_NETLINK)), Is(2, 0)],
    ];
    if sockets == Sockets::Internet {
        for family in [libc::AF_INET, libc::AF_INET6] {
            for kind in [libc::SOCK_STREAM, libc::SOCK_DGRAM] {
                for protocol in [libc::IPPROTO_IP, libc::IPPROTO_TCP, libc::IPPROTO_UDP] {
                    let kind = Masked(1, TYPE, number(kind));
                    families.push(vec![Is(0, number(family)), kind, Is(2, number(protocol))]);
                }
            }
        }
    }
    // Pipes, sockets and plain files; what names a device is refused.
    let nodes = |argument| {
        [0, libc::S_IFREG, libc::S_IFIFO, libc::S_IFSOCK]
            .map(|kind| vec![Masked(argument, libc::S_IFMT, kind)])
            .to_vec()
    };
    let mut out = vec![
        (libc::SYS_clone, vec![vec![Masked(0, number(NAMESPACES), 0)]]),
        (libc::SYS_socket, families),
        (libc::SYS_socketpair, vec![vec![Is(0, number(libc::AF_UNIX))]]),
        // Typing into the terminal of whoever started us, should there ever be one.
        (libc::SYS_ioctl, vec![vec![IsNot(1, TIOCSTI), IsNot(1, TIOCLINUX)]]),
        // Its own limits: where all sandboxes are one user, process 1 would otherwise take them from the function too.
        (libc::SYS_prlimit64, vec![vec![Is(0, 0)]]),
        // Huge pages come from a pool of the host's that no limit of memory counts.
        (libc::SYS_mmap, vec![vec![Masked(3, number(libc::MAP_HUGETLB), 0)]]),
        (libc::SYS_memfd_create, vec![vec![Masked(1, libc::MFD_HUGETLB, 0)]]),
        (libc::SYS_shmget, vec![vec![Masked(2, number(libc::SHM_HUGETLB), 0)]]),
        // What it starts would have the host's usual turns at a core, which are longer than a function's.
        (libc::SYS_sched_setscheduler, vec![vec![Masked(1, number(libc::SCHED_RESET_ON_FORK), 0)]]),
        // The question alone, not a change.
        (libc::SYS_personality, vec![vec![Is(0, u32::MAX)]]),
        (libc::SYS_prctl, PRCTL_OPTIONS.iter().map(|&option| vec![Is(0, number(option))]).collect()),
        (libc::SYS_mknodat, nodes(2)),
    ];
    #[cfg(target_arch = "x86_64")]
    out.push((libc::SYS_mknod, nodes(1)));
    out
}

/// Calls that without namespaces lead to others, or to what outlives the function: sockets with names (also in the
/// file system, where any service of the host may listen to everybody), System V communication, which belongs to the
/// whole host, files in memory, which no limit sees where there are no control groups, watches, which need no more than
/// permission to read, and attributes of files, for which Landlock has no rule.
const MEETINGS: &[c_long] = &[
    libc::SYS_socket,
    libc::SYS_bind,
    libc::SYS_listen,
    libc::SYS_connect,
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_shmget,
    libc::SYS_shmat,
    libc::SYS_shmdt,
    libc::SYS_shmctl,
    libc::SYS_semget,
    libc::SYS_semop,
    libc::SYS_semtimedop,
    libc::SYS_semctl,
    libc::SYS_msgget,
    libc::SYS_msgsnd,
    libc::SYS_msgrcv,
    libc::SYS_msgctl,
    libc::SYS_memfd_create,
    libc::SYS_inotify_init1,
    libc::SYS_inotify_add_watch,
    libc::SYS_inotify_rm_watch,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_inotify_init,
    libc::SYS_setxattr,
    libc::SYS_lsetxattr,
    libc::SYS_fsetxattr,
    libc::SYS_removexattr,
    libc::SYS_lremovexattr,
    libc::SYS_fremovexattr,
];

/// Calls that without namespaces may concern the caller alone: whoever supervises a function shares its effective user,
/// by which the host judges these, and must not be slowed down by it. And pairs of sockets, of which those of datagrams
/// could be sent to any other's address.
fn own_alone() -> Vec<(c_long, Vec<Vec<Condition>>)> {
    use Condition::{Is, Masked};
    const PROCESS: u32 = 1;
    let mut out: Vec<_> = [libc::SYS_sched_setaffinity, libc::SYS_sched_setparam]
        .into_iter()
        .map(|call| (call, vec![vec![Is(0, 0)]]))
        .collect();
    let reset = libc::SCHED_RESET_ON_FORK.cast_unsigned();
    out.push((libc::SYS_sched_setscheduler, vec![vec![Is(0, 0), Masked(1, reset, 0)]]));
    out.push((libc::SYS_setpriority, vec![vec![Is(0, libc::PRIO_PROCESS), Is(1, 0)]]));
    out.push((libc::SYS_ioprio_set, vec![vec![Is(0, PROCESS), Is(1, 0)]]));
    let pairs = [libc::SOCK_STREAM, libc::SOCK_SEQPACKET]
        .map(|kind| vec![Is(0, libc::AF_UNIX.cast_unsigned()), Masked(1, TYPE, kind.cast_unsigned())]);
    out.push((libc::SYS_socketpair, pairs.to_vec()));
    out
}

/// The type of a socket without `SOCK_NONBLOCK` and `SOCK_CLOEXEC`.
const TYPE: u32 = 0xf;
const TIOCSTI: u32 = 0x5412;
const TIOCLINUX: u32 = 0x541c;

/// What `prctl` is used for by runtimes: names, death signals, questions. Nothing here gives a privilege.
const PRCTL_OPTIONS: &[i32] = &[
    libc::PR_SET_PDEATHSIG,
    libc::PR_GET_PDEATHSIG,
    libc::PR_GET_DUMPABLE,
    libc::PR_SET_DUMPABLE,
    libc::PR_GET_KEEPCAPS,
    libc::PR_SET_NAME,
    libc::PR_GET_NAME,
    libc::PR_GET_SECCOMP,
    libc::PR_CAPBSET_READ,
    libc::PR_GET_SECUREBITS,
    libc::PR_SET_TIMERSLACK,
    libc::PR_GET_TIMERSLACK,
    libc::PR_SET_CHILD_SUBREAPER,
    libc::PR_GET_CHILD_SUBREAPER,
    libc::PR_SET_NO_NEW_PRIVS,
    libc::PR_GET_NO_NEW_PRIVS,
    libc::PR_GET_TID_ADDRESS,
    libc::PR_SET_THP_DISABLE,
    libc::PR_GET_THP_DISABLE,
    libc::PR_GET_SPECULATION_CTRL,
    libc::PR_SET_VMA,
    PR_PAC_RESET_KEYS,
    PR_SET_TAGGED_ADDR_CTRL,
    PR_GET_TAGGED_ADDR_CTRL,
];

// Of 64-bit ARM; elsewhere they mean nothing.
const PR_PAC_RESET_KEYS: i32 = 54;
const PR_SET_TAGGED_ADDR_CTRL: i32 = 55;
const PR_GET_TAGGED_ADDR_CTRL: i32 = 56;

/// Calls that are allowed with any argument, and why they are there.
const ALLOWED: &[(&[c_long], &str)] = &[
    (
        &[
            libc::SYS_read,
            libc::SYS_write,
            libc::SYS_readv,
            libc::SYS_writev,
            libc::SYS_pread64,
            libc::SYS_pwrite64,
            libc::SYS_preadv,
            libc::SYS_pwritev,
            libc::SYS_preadv2,
            libc::SYS_pwritev2,
            libc::SYS_lseek,
            libc::SYS_close,
            libc::SYS_close_range,
            libc::SYS_dup,
            libc::SYS_dup3,
            libc::SYS_fcntl,
            libc::SYS_flock,
            libc::SYS_pipe2,
            libc::SYS_sendfile,
            libc::SYS_splice,
            libc::SYS_tee,
            libc::SYS_copy_file_range,
        ],
        "descriptors: reading, writing and copying what is open already",
    ),
    (
        &[
            libc::SYS_openat,
            libc::SYS_openat2,
            libc::SYS_newfstatat,
            libc::SYS_fstat,
            libc::SYS_statx,
            libc::SYS_faccessat,
            libc::SYS_faccessat2,
            libc::SYS_readlinkat,
            libc::SYS_getdents64,
            libc::SYS_getcwd,
            libc::SYS_chdir,
            libc::SYS_fchdir,
            libc::SYS_statfs,
            libc::SYS_fstatfs,
            libc::SYS_mkdirat,
            libc::SYS_unlinkat,
            libc::SYS_renameat,
            libc::SYS_renameat2,
            libc::SYS_linkat,
            libc::SYS_symlinkat,
            libc::SYS_fchmod,
            libc::SYS_fchmodat,
            SYS_FCHMODAT2,
            libc::SYS_fchown,
            libc::SYS_fchownat,
            libc::SYS_utimensat,
            libc::SYS_truncate,
            libc::SYS_ftruncate,
            libc::SYS_fallocate,
            libc::SYS_fadvise64,
            libc::SYS_readahead,
            libc::SYS_fsync,
            libc::SYS_fdatasync,
            libc::SYS_sync_file_range,
            libc::SYS_umask,
            libc::SYS_getxattr,
            libc::SYS_lgetxattr,
            libc::SYS_fgetxattr,
            libc::SYS_listxattr,
            libc::SYS_llistxattr,
            libc::SYS_flistxattr,
            libc::SYS_setxattr,
            libc::SYS_lsetxattr,
            libc::SYS_fsetxattr,
            libc::SYS_removexattr,
            libc::SYS_lremovexattr,
            libc::SYS_fremovexattr,
            libc::SYS_inotify_init1,
            libc::SYS_inotify_add_watch,
            libc::SYS_inotify_rm_watch,
        ],
        "files: the mounts, the file modes and Landlock decide which",
    ),
    (
        &[
            libc::SYS_munmap,
            libc::SYS_mprotect,
            libc::SYS_mremap,
            libc::SYS_madvise,
            libc::SYS_brk,
            libc::SYS_mincore,
            libc::SYS_msync,
            libc::SYS_mlock,
            libc::SYS_mlock2,
            libc::SYS_munlock,
            libc::SYS_mlockall,
            libc::SYS_munlockall,
            libc::SYS_membarrier,
            libc::SYS_pkey_alloc,
            libc::SYS_pkey_free,
            libc::SYS_pkey_mprotect,
            SYS_MAP_SHADOW_STACK,
            SYS_MSEAL,
        ],
        "own memory: allocators and just-in-time compilers",
    ),
    (
        &[
            libc::SYS_execve,
            libc::SYS_execveat,
            libc::SYS_exit,
            libc::SYS_exit_group,
            libc::SYS_wait4,
            libc::SYS_waitid,
            libc::SYS_kill,
            libc::SYS_tkill,
            libc::SYS_tgkill,
            libc::SYS_pidfd_open,
            libc::SYS_pidfd_send_signal,
            libc::SYS_setsid,
            libc::SYS_setpgid,
            libc::SYS_getpgid,
            libc::SYS_getsid,
            libc::SYS_getpid,
            libc::SYS_getppid,
            libc::SYS_gettid,
            libc::SYS_set_tid_address,
        ],
        "child processes: the pid namespace decides who can be reached",
    ),
    (
        &[
            libc::SYS_futex,
            SYS_FUTEX_WAITV,
            SYS_FUTEX_WAKE,
            SYS_FUTEX_WAIT,
            SYS_FUTEX_REQUEUE,
            libc::SYS_set_robust_list,
            libc::SYS_get_robust_list,
            libc::SYS_rseq,
            libc::SYS_sched_yield,
            libc::SYS_sched_getaffinity,
            libc::SYS_sched_setaffinity,
            libc::SYS_sched_getparam,
            libc::SYS_sched_setparam,
            libc::SYS_sched_getscheduler,
            libc::SYS_sched_get_priority_max,
            libc::SYS_sched_get_priority_min,
            libc::SYS_sched_rr_get_interval,
            libc::SYS_sched_getattr,
            libc::SYS_getpriority,
            libc::SYS_setpriority,
            libc::SYS_ioprio_get,
            libc::SYS_ioprio_set,
            libc::SYS_getcpu,
        ],
        "threads: without a privilege these scheduling calls only lower; `sched_setattr` would make turns longer",
    ),
    (
        &[
            libc::SYS_rt_sigaction,
            libc::SYS_rt_sigprocmask,
            libc::SYS_rt_sigreturn,
            libc::SYS_rt_sigpending,
            libc::SYS_rt_sigsuspend,
            libc::SYS_rt_sigtimedwait,
            libc::SYS_rt_sigqueueinfo,
            libc::SYS_rt_tgsigqueueinfo,
            libc::SYS_sigaltstack,
            libc::SYS_signalfd4,
            libc::SYS_restart_syscall,
        ],
        "signals",
    ),
    (
        &[
            libc::SYS_ppoll,
            libc::SYS_pselect6,
            libc::SYS_epoll_create1,
            libc::SYS_epoll_ctl,
            libc::SYS_epoll_pwait,
            libc::SYS_epoll_pwait2,
            libc::SYS_eventfd2,
            libc::SYS_timerfd_create,
            libc::SYS_timerfd_settime,
            libc::SYS_timerfd_gettime,
        ],
        "waiting: event loops",
    ),
    (
        &[
            libc::SYS_bind,
            libc::SYS_listen,
            libc::SYS_accept,
            libc::SYS_accept4,
            libc::SYS_connect,
            libc::SYS_getsockname,
            libc::SYS_getpeername,
            libc::SYS_getsockopt,
            libc::SYS_setsockopt,
            libc::SYS_sendto,
            libc::SYS_recvfrom,
            libc::SYS_sendmsg,
            libc::SYS_recvmsg,
            libc::SYS_sendmmsg,
            libc::SYS_recvmmsg,
            libc::SYS_shutdown,
        ],
        "sockets, once `socket` let one be made",
    ),
    (
        &[
            libc::SYS_clock_gettime,
            libc::SYS_clock_getres,
            libc::SYS_clock_nanosleep,
            libc::SYS_nanosleep,
            libc::SYS_gettimeofday,
            libc::SYS_getitimer,
            libc::SYS_setitimer,
            libc::SYS_timer_create,
            libc::SYS_timer_delete,
            libc::SYS_timer_settime,
            libc::SYS_timer_gettime,
            libc::SYS_timer_getoverrun,
            libc::SYS_times,
        ],
        "time: reading it and waiting, never setting it",
    ),
    (
        &[
            libc::SYS_getuid,
            libc::SYS_geteuid,
            libc::SYS_getgid,
            libc::SYS_getegid,
            libc::SYS_getresuid,
            libc::SYS_getresgid,
            libc::SYS_getgroups,
            libc::SYS_capget,
            libc::SYS_setuid,
            libc::SYS_setgid,
            libc::SYS_setresuid,
            libc::SYS_setresgid,
            libc::SYS_setreuid,
            libc::SYS_setregid,
            libc::SYS_setfsuid,
            libc::SYS_setfsgid,
        ],
        "identity: without a capability the setters succeed only where nothing changes, which some programs do",
    ),
    (
        &[
            libc::SYS_uname,
            libc::SYS_sysinfo,
            libc::SYS_getrusage,
            libc::SYS_getrlimit,
            libc::SYS_setrlimit,
            libc::SYS_getrandom,
        ],
        "questions about the host, and lowering one's own limits",
    ),
    (
        &[
            libc::SYS_shmat,
            libc::SYS_shmdt,
            libc::SYS_shmctl,
            libc::SYS_semget,
            libc::SYS_semop,
            libc::SYS_semtimedop,
            libc::SYS_semctl,
            libc::SYS_msgget,
            libc::SYS_msgsnd,
            libc::SYS_msgrcv,
            libc::SYS_msgctl,
        ],
        "System V communication: the ipc namespace ends with the sandbox, its memory counts as the function's",
    ),
    #[cfg(target_arch = "x86_64")]
    (
        &[
            libc::SYS_open,
            libc::SYS_creat,
            libc::SYS_stat,
            libc::SYS_lstat,
            libc::SYS_access,
            libc::SYS_readlink,
            libc::SYS_getdents,
            libc::SYS_mkdir,
            libc::SYS_rmdir,
            libc::SYS_rename,
            libc::SYS_link,
            libc::SYS_unlink,
            libc::SYS_symlink,
            libc::SYS_chmod,
            libc::SYS_chown,
            libc::SYS_lchown,
            libc::SYS_utime,
            libc::SYS_utimes,
            libc::SYS_futimesat,
            libc::SYS_inotify_init,
            libc::SYS_pipe,
            libc::SYS_dup2,
            libc::SYS_fork,
            libc::SYS_vfork,
            libc::SYS_getpgrp,
            libc::SYS_poll,
            libc::SYS_select,
            libc::SYS_epoll_create,
            libc::SYS_epoll_wait,
            libc::SYS_eventfd,
            libc::SYS_signalfd,
            libc::SYS_alarm,
            libc::SYS_pause,
            libc::SYS_time,
            libc::SYS_arch_prctl,
        ],
        "older names of the above that newer architectures do without",
    ),
];

// The same on all architectures, and not in every version of the C library's list.
const SYS_FUTEX_WAITV: c_long = 449;
const SYS_FCHMODAT2: c_long = 452;
const SYS_MAP_SHADOW_STACK: c_long = 453;
const SYS_FUTEX_WAKE: c_long = 454;
const SYS_FUTEX_WAIT: c_long = 455;
const SYS_FUTEX_REQUEUE: c_long = 456;
const SYS_MSEAL: c_long = 462;

#[cfg(test)]
mod tests;
