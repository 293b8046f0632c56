//! The program is run here by a small interpreter, over every call and the arguments that decide.

use super::*;

const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
const DENY: u32 = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
const ABSENT: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;

/// Runs a classic BPF program on one `struct seccomp_data`.
fn answer(filter: &Filter, architecture: u32, call: i64, arguments: [u64; 6]) -> u32 {
    let mut data = Vec::new();
    data.extend((call as u32).to_ne_bytes());
    data.extend(architecture.to_ne_bytes());
    data.extend(0_u64.to_ne_bytes());
    arguments.iter().for_each(|argument| data.extend(argument.to_ne_bytes()));
    let (mut at, mut accumulator) = (0, 0_u32);
    loop {
        let instruction = &filter.0[at];
        let (code, k) = (u32::from(instruction.code), instruction.k);
        let jump = |holds: bool| usize::from(if holds { instruction.jt } else { instruction.jf });
        at += 1;
        match code {
            code if code == libc::BPF_LD | libc::BPF_W | libc::BPF_ABS => {
                let at = k as usize;
                accumulator = u32::from_ne_bytes(data[at..at + 4].try_into().unwrap());
            }
            code if code == libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K => at += jump(accumulator == k),
            code if code == libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K => at += jump(accumulator > k),
            code if code == libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K => at += jump(accumulator >= k),
            code if code == libc::BPF_JMP | libc::BPF_JA => at += k as usize,
            code if code == libc::BPF_ALU | libc::BPF_AND | libc::BPF_K => accumulator &= k,
            code if code == libc::BPF_RET | libc::BPF_K => return k,
            other => panic!("unexpected instruction {other:#x}"),
        }
    }
}

fn called(filter: &Filter, call: i64, arguments: [u64; 6]) -> u32 {
    answer(filter, super::ARCHITECTURE.unwrap(), call, arguments)
}

#[test]
fn what_is_not_listed_is_denied_and_what_is_unknown_is_absent() {
    let filter = Filter::compile(Sockets::Internet).unwrap();
    let conditional: Vec<i64> = conditions(Sockets::Internet).into_iter().map(|(call, _)| call).collect();
    for call in 0..=i64::from(KNOWN_LAST) + 100 {
        if conditional.contains(&call) {
            continue;
        }
        let listed = ALLOWED.iter().any(|(calls, _)| calls.contains(&call));
        let expected = match call {
            call if call == libc::SYS_clone3 || call > i64::from(KNOWN_LAST) => ABSENT,
            _ if listed => ALLOW,
            _ => DENY,
        };
        assert_eq!(called(&filter, call, [0; 6]), expected, "call {call}");
    }
    assert_eq!(called(&filter, 0x4000_0000 | libc::SYS_read, [0; 6]), ABSENT, "the x32 numbers");
}

#[test]
fn the_ways_out_are_denied() {
    let filter = Filter::compile(Sockets::Internet).unwrap();
    for call in [
        libc::SYS_ptrace,
        libc::SYS_process_vm_readv,
        libc::SYS_process_vm_writev,
        libc::SYS_mount,
        libc::SYS_umount2,
        libc::SYS_pivot_root,
        libc::SYS_chroot,
        libc::SYS_setns,
        libc::SYS_unshare,
        libc::SYS_bpf,
        libc::SYS_perf_event_open,
        libc::SYS_userfaultfd,
        libc::SYS_io_uring_setup,
        libc::SYS_io_uring_enter,
        libc::SYS_io_uring_register,
        libc::SYS_keyctl,
        libc::SYS_add_key,
        libc::SYS_request_key,
        libc::SYS_init_module,
        libc::SYS_finit_module,
        libc::SYS_delete_module,
        libc::SYS_kexec_load,
        libc::SYS_reboot,
        libc::SYS_swapon,
        libc::SYS_swapoff,
        libc::SYS_open_by_handle_at,
        libc::SYS_name_to_handle_at,
        libc::SYS_pidfd_getfd,
        libc::SYS_kcmp,
        libc::SYS_quotactl,
        libc::SYS_syslog,
        libc::SYS_clock_settime,
        libc::SYS_settimeofday,
        libc::SYS_adjtimex,
        libc::SYS_clock_adjtime,
        libc::SYS_open_tree,
        libc::SYS_move_mount,
        libc::SYS_fsopen,
        libc::SYS_fsconfig,
        libc::SYS_fsmount,
        libc::SYS_fspick,
        libc::SYS_mount_setattr,
        libc::SYS_seccomp,
        libc::SYS_sethostname,
        libc::SYS_setdomainname,
        libc::SYS_acct,
        libc::SYS_setgroups,
        libc::SYS_sync,
        libc::SYS_fanotify_init,
        libc::SYS_vhangup,
        libc::SYS_mq_open,
        libc::SYS_memfd_secret,
        libc::SYS_capset,
    ] {
        assert_eq!(called(&filter, call, [0; 6]), DENY, "call {call}");
    }
}

#[test]
fn another_architecture_is_killed() {
    let filter = Filter::compile(Sockets::Internet).unwrap();
    let i386 = 0x4000_0003;
    assert_eq!(answer(&filter, i386, 1, [0; 6]), libc::SECCOMP_RET_KILL_PROCESS);
}

#[test]
fn sockets_are_made_of_a_few_families_only() {
    let internet = Filter::compile(Sockets::Internet).unwrap();
    let local = Filter::compile(Sockets::Local).unwrap();
    let (stream, dgram, raw) = (libc::SOCK_STREAM, libc::SOCK_DGRAM, libc::SOCK_RAW);
    let cloexec = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    for (family, kind, protocol, with_internet, with_local) in [
        (libc::AF_UNIX, stream, 0, ALLOW, DENY),
        (libc::AF_UNIX, libc::SOCK_SEQPACKET | cloexec, 0, ALLOW, DENY),
        (libc::AF_INET, stream | cloexec, 0, ALLOW, DENY),
        (libc::AF_INET, stream, libc::IPPROTO_TCP, ALLOW, DENY),
        (libc::AF_INET6, dgram, libc::IPPROTO_UDP, ALLOW, DENY),
        (libc::AF_INET, raw, libc::IPPROTO_ICMP, DENY, DENY),
        (libc::AF_INET, raw, 0, DENY, DENY),
        (libc::AF_INET, dgram, libc::IPPROTO_ICMP, DENY, DENY),
        (libc::AF_INET6, stream, libc::IPPROTO_SCTP, DENY, DENY),
        (libc::AF_NETLINK, raw | cloexec, libc::NETLINK_ROUTE, ALLOW, DENY),
        (libc::AF_NETLINK, raw, libc::NETLINK_AUDIT, DENY, DENY),
        (libc::AF_NETLINK, dgram, libc::NETLINK_KOBJECT_UEVENT, DENY, DENY),
        (libc::AF_PACKET, raw, 0, DENY, DENY),
        (libc::AF_VSOCK, stream, 0, DENY, DENY),
        (libc::AF_ALG, libc::SOCK_SEQPACKET, 0, DENY, DENY),
        (libc::AF_BLUETOOTH, raw, 0, DENY, DENY),
        (libc::AF_XDP, raw, 0, DENY, DENY),
    ] {
        let arguments = [family as u64, kind as u64, protocol as u64, 0, 0, 0];
        let case = format!("family {family} type {kind} protocol {protocol}");
        assert_eq!(called(&internet, libc::SYS_socket, arguments), with_internet, "{case}");
        assert_eq!(called(&local, libc::SYS_socket, arguments), with_local, "{case}");
    }
    for (family, expected) in [(libc::AF_UNIX, ALLOW), (libc::AF_INET, DENY), (libc::AF_TIPC, DENY)] {
        assert_eq!(called(&internet, libc::SYS_socketpair, [family as u64, 1, 0, 0, 0, 0]), expected);
    }
}

#[test]
fn without_namespaces_nothing_leads_to_others() {
    let local = Filter::compile(Sockets::Local).unwrap();
    for call in MEETINGS {
        assert_eq!(called(&local, *call, [0; 6]), DENY, "call {call}");
    }
    let (unix, stream, seqpacket) = (libc::AF_UNIX as u64, libc::SOCK_STREAM as u64, libc::SOCK_SEQPACKET as u64);
    let (dgram, cloexec) = (libc::SOCK_DGRAM as u64, libc::SOCK_CLOEXEC as u64);
    for (call, arguments, expected) in [
        (libc::SYS_socketpair, [unix, stream | cloexec, 0], ALLOW),
        (libc::SYS_socketpair, [unix, seqpacket, 0], ALLOW),
        (libc::SYS_socketpair, [unix, dgram, 0], DENY),
        (libc::SYS_socketpair, [unix, dgram | cloexec, 0], DENY),
        (libc::SYS_socketpair, [libc::AF_TIPC as u64, stream, 0], DENY),
        (libc::SYS_sched_setaffinity, [0, 8, 0], ALLOW),
        (libc::SYS_sched_setaffinity, [7, 8, 0], DENY),
        (libc::SYS_sched_setscheduler, [7, 0, 0], DENY),
        (libc::SYS_sched_setattr, [7, 0, 0], DENY),
        (libc::SYS_sched_setparam, [7, 0, 0], DENY),
        (libc::SYS_setpriority, [0, 0, 5], ALLOW),
        (libc::SYS_setpriority, [0, 7, 5], DENY),
        // Of a whole user.
        (libc::SYS_setpriority, [2, 0, 5], DENY),
        (libc::SYS_ioprio_set, [1, 0, 0], ALLOW),
        (libc::SYS_ioprio_set, [1, 7, 0], DENY),
        (libc::SYS_ioprio_set, [3, 0, 0], DENY),
        (libc::SYS_read, [0, 0, 0], ALLOW),
        (libc::SYS_sendmsg, [0, 0, 0], ALLOW),
        (libc::SYS_ptrace, [0, 0, 0], DENY),
    ] {
        let [a, b, c] = arguments;
        assert_eq!(called(&local, call, [a, b, c, 0, 0, 0]), expected, "call {call} {arguments:?}");
    }
    // Nothing is allowed that is not with namespaces.
    let internet = Filter::compile(Sockets::Internet).unwrap();
    for call in 0..=i64::from(KNOWN_LAST) + 100 {
        for first in [0, 1, 7] {
            let (local, internet) = (called(&local, call, [first; 6]), called(&internet, call, [first; 6]));
            assert!(local == internet || local == DENY, "call {call}");
        }
    }
}

#[test]
fn arguments_that_decide_do_so_whatever_stands_in_the_upper_half() {
    let filter = Filter::compile(Sockets::Internet).unwrap();
    let high = 0xdead_0000_0000;
    let fork = (libc::CLONE_CHILD_CLEARTID | libc::CLONE_CHILD_SETTID | libc::SIGCHLD) as u64;
    for (call, arguments, expected) in [
        (libc::SYS_clone, [fork, 0, 0], ALLOW),
        (libc::SYS_clone, [fork | high, 0, 0], ALLOW),
        (libc::SYS_clone, [fork | libc::CLONE_NEWUSER as u64, 0, 0], DENY),
        (libc::SYS_clone, [fork | high | libc::CLONE_NEWNS as u64, 0, 0], DENY),
        (libc::SYS_clone, [libc::CLONE_NEWNET as u64, 0, 0], DENY),
        (libc::SYS_ioctl, [0, 0x5401, 0], ALLOW),
        (libc::SYS_ioctl, [0, 0x5412, 0], DENY),
        (libc::SYS_ioctl, [0, high | 0x5412, 0], DENY),
        (libc::SYS_ioctl, [0, 0x541c, 0], DENY),
        (libc::SYS_personality, [0xffff_ffff, 0, 0], ALLOW),
        (libc::SYS_personality, [0, 0, 0], DENY),
        (libc::SYS_personality, [0x0400_0000, 0, 0], DENY),
        (libc::SYS_memfd_create, [0, libc::MFD_CLOEXEC.into(), 0], ALLOW),
        (libc::SYS_memfd_create, [0, libc::MFD_HUGETLB.into(), 0], DENY),
        (libc::SYS_shmget, [0, 1, 0o1600], ALLOW),
        (libc::SYS_shmget, [0, 1, 0o1600 | libc::SHM_HUGETLB as u64], DENY),
        (libc::SYS_prlimit64, [0, 7, 0], ALLOW),
        (libc::SYS_prlimit64, [1, 7, 0], DENY),
        (libc::SYS_prctl, [libc::PR_SET_NAME as u64, 0, 0], ALLOW),
        (libc::SYS_prctl, [libc::PR_SET_SECCOMP as u64, 0, 0], DENY),
        (libc::SYS_prctl, [libc::PR_SET_MM as u64, 0, 0], DENY),
        (libc::SYS_prctl, [libc::PR_SET_SECUREBITS as u64, 0, 0], DENY),
        (libc::SYS_mknodat, [0, 0, (libc::S_IFIFO | 0o600).into()], ALLOW),
        (libc::SYS_mknodat, [0, 0, 0o600], ALLOW),
        (libc::SYS_mknodat, [0, 0, (libc::S_IFCHR | 0o600).into()], DENY),
        (libc::SYS_mknodat, [0, 0, (libc::S_IFBLK | 0o600).into()], DENY),
    ] {
        let [a, b, c] = arguments;
        assert_eq!(called(&filter, call, [a, b, c, 0, 0, 0]), expected, "call {call} {arguments:x?}");
    }
}

#[test]
fn memory_is_mapped_but_not_from_the_host_s_huge_pages() {
    let filter = Filter::compile(Sockets::Internet).unwrap();
    let plain = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS) as u64;
    for (flags, expected) in [(plain, ALLOW), (plain | libc::MAP_HUGETLB as u64, DENY)] {
        assert_eq!(called(&filter, libc::SYS_mmap, [0, 4_096, 3, flags, u64::MAX, 0]), expected);
    }
}

#[test]
fn no_call_is_listed_twice_and_each_list_says_why() {
    let mut seen = std::collections::BTreeSet::new();
    for (calls, why) in ALLOWED {
        assert!(!why.is_empty());
        for call in *calls {
            assert!(seen.insert(*call), "call {call} is listed twice");
        }
    }
    for (call, _) in conditions(Sockets::Internet) {
        assert!(!seen.contains(&call), "call {call} is allowed with any argument and with some");
    }
}

#[test]
fn the_program_stays_short_enough_to_be_loaded_at_every_start() {
    let length = Filter::compile(Sockets::Internet).unwrap().0.len();
    assert!(length < 500, "{length} instructions");
}
