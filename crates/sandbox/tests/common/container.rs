//! What the usual profile of a container leaves of a host, for the calling process and all it starts: no namespaces, no
//! mounts, `clone3` hidden, and root with the capabilities that are handed out by default.
//!
//! Source: the default seccomp profile and capabilities of moby.

use std::io;

/// `AUDIT_ARCH_*` of the two architectures that have a list of calls.
const ARCHITECTURE: u32 = if cfg!(target_arch = "x86_64") { 0xc000_003e } else { 0xc000_00b7 };
const NEW_NAMESPACES: u32 = (libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET)
    .cast_unsigned();
/// What takes a capability that is not handed out.
const REFUSED: [libc::c_long; 14] = [
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_bpf,
    libc::SYS_open_by_handle_at,
];
/// CHOWN, DAC_OVERRIDE, FOWNER, FSETID, KILL, SETGID, SETUID, SETPCAP, NET_BIND_SERVICE, NET_RAW, SYS_CHROOT, MKNOD,
/// AUDIT_WRITE, SETFCAP.
const CAPABILITIES: [u32; 14] = [0, 1, 3, 4, 5, 6, 7, 8, 10, 13, 18, 27, 29, 31];
/// One past the highest capability there could be.
const CAPABILITIES_END: u32 = 64;
/// `_LINUX_CAPABILITY_VERSION_3`.
const CAPABILITIES_VERSION: u32 = 0x2008_0522;

/// The filter, made ahead: what is between fork and exec may not allocate.
pub struct Profile(Vec<libc::sock_filter>);

impl Profile {
    pub fn new() -> Profile {
        let load = |offset| statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, offset);
        let answer = |what| statement(libc::BPF_RET | libc::BPF_K, what);
        let refusal = |errno: libc::c_int| answer(libc::SECCOMP_RET_ERRNO | errno.cast_unsigned());
        let is = |value, otherwise| jump(libc::BPF_JEQ, value, 0, otherwise);
        let number = |call: libc::c_long| u32::try_from(call).unwrap();
        // Architecture, number, and the low half of the first argument. Another architecture is let through: nobody
        // here uses one.
        let mut program = vec![load(4), jump(libc::BPF_JEQ, ARCHITECTURE, 1, 0)];
        program.extend([answer(libc::SECCOMP_RET_ALLOW), load(0)]);
        program.extend([is(number(libc::SYS_clone3), 1), refusal(libc::ENOSYS)]);
        for call in REFUSED {
            program.extend([is(number(call), 1), refusal(libc::EPERM)]);
        }
        program.extend([is(number(libc::SYS_clone), 3), load(16), jump(libc::BPF_JSET, NEW_NAMESPACES, 0, 1)]);
        program.extend([refusal(libc::EPERM), answer(libc::SECCOMP_RET_ALLOW)]);
        Profile(program)
    }

    /// Applies it to the calling process, which must have one thread and be root. Allocates nothing.
    #[expect(unsafe_code, reason = "no library does this between fork and exec")]
    pub fn apply(&self) -> io::Result<()> {
        let program = libc::sock_fprog {
            len: u16::try_from(self.0.len()).unwrap_or_default(),
            filter: self.0.as_ptr().cast_mut(),
        };
        let mode = libc::SECCOMP_MODE_FILTER as libc::c_ulong;
        // SAFETY: the program lives through the call, which reads it, and its length is given.
        check(unsafe { libc::prctl(libc::PR_SET_SECCOMP, mode, &raw const program, 0, 0) })?;
        for number in (0..CAPABILITIES_END).filter(|number| !CAPABILITIES.contains(number)) {
            // SAFETY: takes no pointers. Beyond the last there is an error that means nothing.
            unsafe { libc::prctl(libc::PR_CAPBSET_DROP, number as libc::c_ulong, 0, 0, 0) };
        }
        let kept = CAPABILITIES.iter().fold(0_u32, |set, number| set | 1 << number);
        let header = [CAPABILITIES_VERSION, 0];
        // Effective, permitted and inheritable, of the lower and then of the upper half.
        let sets = [kept, kept, 0, 0, 0, 0];
        // SAFETY: both structures live through the call, which reads them, and have the layout of this version.
        let set = unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), sets.as_ptr()) };
        check(libc::c_int::try_from(set).unwrap_or(-1))
    }
}

fn check(answer: libc::c_int) -> io::Result<()> {
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn statement(code: u32, k: u32) -> libc::sock_filter {
    libc::sock_filter { code: code as u16, jt: 0, jf: 0, k }
}

fn jump(condition: u32, k: u32, holds: u8, otherwise: u8) -> libc::sock_filter {
    let code = libc::BPF_JMP | condition | libc::BPF_K;
    libc::sock_filter { code: code as u16, jt: holds, jf: otherwise, k }
}
