//! Attacks on others by way of the kernel.

use std::{fs, os::fd::AsRawFd};

use rustix::io::Errno;
use sandbox::Exit;

use crate::{
    Line,
    call::{call, given, listed, nothing, numbers, room, text},
    denied, judged,
    world::World,
};

const FORBIDDEN: &[Errno] = &[Errno::PERM];
const NOT_THERE: &[Errno] = &[Errno::PERM, Errno::SRCH, Errno::NOENT, Errno::ACCESS];

pub const LINES: &[Line] = &[
    denied("trace_process_1", FORBIDDEN, || call(libc::SYS_ptrace, &[libc::PTRACE_ATTACH as usize, 1, 0, 0])),
    denied("seize_process_1", FORBIDDEN, || call(libc::SYS_ptrace, &[libc::PTRACE_SEIZE as usize, 1, 0, 0])),
    denied("be_traced", FORBIDDEN, || call(libc::SYS_ptrace, &[libc::PTRACE_TRACEME as usize, 0, 0, 0])),
    denied("read_process_1", FORBIDDEN, || {
        call(libc::SYS_process_vm_readv, &[1, numbers(&[room(8) as u64, 8]), 1, numbers(&[room(8) as u64, 8]), 1, 0])
    }),
    denied("write_process_1", FORBIDDEN, || {
        call(libc::SYS_process_vm_writev, &[1, numbers(&[room(8) as u64, 8]), 1, numbers(&[room(8) as u64, 8]), 1, 0])
    }),
    denied("kill_process_1", FORBIDDEN, || call(libc::SYS_kill, &[1, 9])),
    denied("stop_process_1", FORBIDDEN, || call(libc::SYS_kill, &[1, 19])),
    denied("kill_process_1_by_thread", FORBIDDEN, || call(libc::SYS_tkill, &[1, 9])),
    denied("queue_a_signal_for_process_1", FORBIDDEN, || {
        call(libc::SYS_rt_sigqueueinfo, &[1, 9, numbers(&[9, 0xffff_ffff])])
    }),
    denied("kill_its_parent", FORBIDDEN, || call(libc::SYS_kill, &[usize::try_from(parent()).unwrap(), 9])),
    denied("kill_who_launched_it", NOT_THERE, || call(libc::SYS_kill, &[given("LAUNCHED_BY").parse().unwrap_or(1), 9])),
    judged("kill_everybody", kill_everybody, || call(libc::SYS_kill, &[(-1_isize) as usize, 9])),
    denied("signal_process_1_by_descriptor", FORBIDDEN, || {
        let process = rustix::process::pidfd_open(rustix::process::Pid::INIT, rustix::process::PidfdFlags::empty())?;
        call(libc::SYS_pidfd_send_signal, &[usize::try_from(process.as_raw_fd()).unwrap(), 9, 0, 0])
    }),
    denied("take_a_descriptor_of_process_1", FORBIDDEN, || {
        let process = rustix::process::pidfd_open(rustix::process::Pid::INIT, rustix::process::PidfdFlags::empty())?;
        call(libc::SYS_pidfd_getfd, &[usize::try_from(process.as_raw_fd()).unwrap(), 0, 0])
    }),
    denied("limit_process_1", FORBIDDEN, || call(libc::SYS_prlimit64, &[1, 7, numbers(&[0, 0]), 0])),
    denied("read_process_1_s_descriptors", NOT_THERE, || listed("/proc/1/fd")),
    denied("compare_with_process_1", FORBIDDEN, || call(libc::SYS_kcmp, &[1, 1, 0, 0, 0])),
    denied("move_process_1_s_memory", FORBIDDEN, || call(libc::SYS_migrate_pages, &[1, 64, room(8), room(8)])),
    denied("name_a_file_by_handle", FORBIDDEN, || {
        call(libc::SYS_name_to_handle_at, &[crate::call::HERE, text("/"), numbers(&[128]), room(8), 0])
    }),
    denied("open_a_file_by_handle", FORBIDDEN, || {
        call(libc::SYS_open_by_handle_at, &[crate::call::HERE, numbers(&[8 | 1 << 32, 2]), 0])
    }),
    denied("handle_page_faults", FORBIDDEN, || call(libc::SYS_userfaultfd, &[0])),
    denied("rings_of_input_and_output", FORBIDDEN, || call(libc::SYS_io_uring_setup, &[8, room(256)])),
    denied("old_asynchronous_input_and_output", FORBIDDEN, || call(libc::SYS_io_setup, &[8, room(8)])),
    denied("programs_in_the_kernel", FORBIDDEN, || call(libc::SYS_bpf, &[0, room(128), 128])),
    denied("measure_the_host", FORBIDDEN, || {
        call(libc::SYS_perf_event_open, &[room(128), 0, usize::MAX, usize::MAX, 0])
    }),
    denied("watch_all_files", FORBIDDEN, || call(libc::SYS_fanotify_init, &[0, 0])),
    denied("hang_up_terminals", FORBIDDEN, || call(libc::SYS_vhangup, &[])),
    denied("type_into_a_terminal", FORBIDDEN, || call(libc::SYS_ioctl, &[1, 0x5412, text("x")])),
    denied("type_into_a_terminal_with_an_upper_half", FORBIDDEN, || {
        call(libc::SYS_ioctl, &[1, 0x5412 | 1 << 32, text("x")])
    }),
    denied("message_queues", FORBIDDEN, || call(libc::SYS_mq_open, &[text("q"), 0o100 | 2, 0o600, 0])),
    denied("secret_memory", FORBIDDEN, || call(libc::SYS_memfd_secret, &[0])),
    denied("a_table_of_segments", FORBIDDEN, modify_ldt),
    denied("descriptors_that_were_left_open", NOT_THERE, || {
        // 0 to 3 are its own; the one that lists them is the fifth.
        let open = fs::read_dir("/proc/self/fd")?.flatten().filter_map(|entry| {
            let number: u32 = entry.file_name().to_str()?.parse().ok()?;
            Some((number, fs::read_link(entry.path()).unwrap_or_default()))
        });
        let others: Vec<_> = open.filter(|(number, to)| *number > 3 && !to.ends_with("fd")).collect();
        if others.is_empty() { Err(nothing()) } else { Ok(format!("{others:?}")) }
    }),
    #[cfg(target_arch = "x86_64")]
    judged("calls_of_another_architecture", other_architecture, || {
        old_call();
        Ok("survived".to_owned())
    }),
    #[cfg(target_arch = "x86_64")]
    denied("calls_of_the_x32_interface", &[Errno::NOSYS, Errno::PERM], || call(0x4000_0000 | libc::SYS_ptrace, &[0])),
];

fn parent() -> u32 {
    std::os::unix::process::parent_id()
}

#[cfg(target_arch = "x86_64")]
fn modify_ldt() -> std::io::Result<String> {
    call(libc::SYS_modify_ldt, &[0, room(64), 64])
}

#[cfg(not(target_arch = "x86_64"))]
fn modify_ldt() -> std::io::Result<String> {
    Err(Errno::PERM.into())
}

/// The neighbour and the host's process are looked at after every line; this one ends by its own hand.
fn kill_everybody(world: &World, line: &Line) {
    let ended = world.run(line);
    // A process does not hit itself this way, so with nobody else there is nobody to hit.
    assert!(matches!(ended.exit, Exit::Code(0 | 2)), "{ended:?}");
    assert!(ended.output.contains("answered 0") || ended.output.contains("No such process"), "{ended:?}");
}

#[cfg(target_arch = "x86_64")]
fn other_architecture(world: &World, line: &Line) {
    let ended = world.run(line);
    assert_eq!(ended.exit, Exit::Signal(libc::SIGSYS), "{ended:?}");
}

/// `getpid` by the 32-bit gate.
#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "there is no other way to make a call of another architecture")]
fn old_call() {
    // SAFETY: the call takes no pointer and changes one register, which is named; the flags are saved by the gate.
    unsafe { std::arch::asm!("int 0x80", inlateout("eax") 20 => _, options(nostack)) };
}
