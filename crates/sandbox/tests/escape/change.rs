//! What is not a function's to change.

use std::{fs, io, os::fd::AsRawFd, os::unix::fs::PermissionsExt, os::unix::process::CommandExt, process::Command};

use rustix::io::Errno;

use crate::{
    Line,
    call::{HERE, call, code, made, nothing, numbers, room, text, tmp, written},
    denied,
};

const FIXED: &[Errno] = &[Errno::ROFS, Errno::ACCESS, Errno::PERM];
const GONE: &[Errno] = &[Errno::NOENT, Errno::ROFS, Errno::ACCESS, Errno::PERM];
const FORBIDDEN: &[Errno] = &[Errno::PERM];
const UNKNOWN: &[Errno] = &[Errno::NOSYS];
/// A user that is not mapped is no argument at all.
const NOBODY: &[Errno] = &[Errno::PERM, Errno::INVAL];

pub const LINES: &[Line] = &[
    denied("the_root", FIXED, || made("/")),
    denied("usr", FIXED, || made("/usr")),
    denied("etc", FIXED, || made("/etc")),
    denied("dev", FIXED, || made("/dev")),
    denied("var", FIXED, || made("/var")),
    denied("the_code", FIXED, || made(&code("/var/task"))),
    denied("the_code_s_files", FIXED, || written(code("/var/task") + "/index.js")),
    denied("the_layers", FIXED, || made("/opt")),
    denied("the_bootstraps", FIXED, || made(&code("/var/runtime"))),
    denied("the_bootstraps_files", FIXED, || written(code("/var/runtime") + "/index.js")),
    denied("its_own_program", FIXED, || written("/proc/self/exe")),
    denied("its_own_program_s_file", FIXED, || written(std::env::current_exe()?)),
    denied("users", FIXED, || written("/etc/passwd")),
    denied("users_by_renaming", &[Errno::XDEV, Errno::ROFS, Errno::ACCESS], || {
        fs::write(tmp("passwd"), "root::0:0::/:/bin/sh\n")?;
        rustix::fs::rename(tmp("passwd"), "/etc/passwd")?;
        Ok("renamed".to_owned())
    }),
    denied("users_by_removing", FIXED, || fs::remove_file("/etc/passwd").map(|()| "removed".to_owned())),
    denied("modes", FIXED, || {
        fs::set_permissions(code("/var/task"), fs::Permissions::from_mode(0o777)).map(|()| "changed".to_owned())
    }),
    denied("owners", FIXED, || std::os::unix::fs::chown("/etc/passwd", Some(993), None).map(|()| "changed".to_owned())),
    denied("owners_in_tmp", NOBODY, || {
        fs::write(tmp("owned"), "")?;
        std::os::unix::fs::chown(tmp("owned"), Some(0), Some(0)).map(|()| "changed".to_owned())
    }),
    denied("times", FIXED, || {
        fs::File::open("/etc/passwd")?.set_modified(std::time::SystemTime::UNIX_EPOCH).map(|()| "changed".to_owned())
    }),
    denied("settings_of_the_kernel", FIXED, || written("/proc/sys/kernel/core_pattern")),
    denied("settings_of_its_network", FIXED, || written("/proc/sys/net/ipv4/ip_forward")),
    denied("the_host_s_name_by_file", FIXED, || written("/proc/sys/kernel/hostname")),
    denied("magic_keys", GONE, || written("/proc/sysrq-trigger")),
    denied("its_chance_to_be_killed", FIXED, || written("/proc/self/oom_score_adj")),
    denied("its_maps_of_users", FIXED, || written("/proc/self/uid_map")),
    denied("process_1_s_memory", GONE, || written("/proc/1/mem")),
    denied("its_control_group", GONE, || made("/sys/fs/cgroup")),
    denied("a_device", FORBIDDEN, || call(libc::SYS_mknodat, &[HERE, text(&tmp("mem")), 0o020_666, 0x0101])),
    denied("a_block_device", FORBIDDEN, || call(libc::SYS_mknodat, &[HERE, text(&tmp("disk")), 0o060_666, 0xfe00])),
    denied("mounts", FORBIDDEN, || call(libc::SYS_mount, &[text("none"), text(&tmp("")), text("tmpfs"), 0, 0])),
    denied("mounts_made_writable", FORBIDDEN, || call(libc::SYS_mount, &[0, text("/"), 0, 0x1000 | 0x20, 0])),
    denied("mounts_taken_off", FORBIDDEN, || call(libc::SYS_umount2, &[text("/proc/sys"), 2])),
    denied("the_root_itself", FORBIDDEN, || call(libc::SYS_pivot_root, &[text(&tmp("")), text(&tmp(""))])),
    denied("the_root_of_one_process", FORBIDDEN, || call(libc::SYS_chroot, &[text(&tmp(""))])),
    denied("a_tree_of_mounts", FORBIDDEN, || call(libc::SYS_open_tree, &[HERE, text("/"), 1])),
    denied("a_mount_s_place", FORBIDDEN, || call(libc::SYS_move_mount, &[HERE, text(&tmp("")), HERE, text("/opt"), 0])),
    denied("a_mount_s_attributes", FORBIDDEN, || {
        call(libc::SYS_mount_setattr, &[HERE, text("/"), 0, numbers(&[0, 1, 0, 0]), 32])
    }),
    denied("a_new_file_system", FORBIDDEN, || call(libc::SYS_fsopen, &[text("tmpfs"), 0])),
    denied("a_file_system_s_settings", FORBIDDEN, || call(libc::SYS_fspick, &[HERE, text(&tmp("")), 0])),
    denied("its_namespaces", FORBIDDEN, || call(libc::SYS_unshare, &[libc::CLONE_NEWNS as usize])),
    denied("its_namespace_of_users", FORBIDDEN, || call(libc::SYS_unshare, &[libc::CLONE_NEWUSER as usize])),
    denied("namespaces_of_a_child", FORBIDDEN, || {
        let flags = libc::CLONE_NEWUSER | libc::CLONE_NEWNET | libc::SIGCHLD;
        child_of(call(libc::SYS_clone, &[flags as usize, 0, 0, 0, 0]))
    }),
    denied("namespaces_of_a_child_by_clone3", UNKNOWN, || {
        let flags = libc::CLONE_NEWUSER as u64;
        child_of(call(libc::SYS_clone3, &[numbers(&[flags, 0, 0, 0, libc::SIGCHLD as u64]), 88]))
    }),
    denied("the_namespace_it_is_in", FORBIDDEN, || {
        let mounts = fs::File::open("/proc/self/ns/mnt")?;
        call(libc::SYS_setns, &[usize::try_from(mounts.as_raw_fd()).unwrap(), 0])
    }),
    denied("its_user", NOBODY, || call(libc::SYS_setuid, &[0])),
    denied("its_group", NOBODY, || call(libc::SYS_setgid, &[0])),
    denied("its_users", NOBODY, || call(libc::SYS_setresuid, &[0, 0, 0])),
    denied("its_groups", FORBIDDEN, || call(libc::SYS_setgroups, &[1, numbers(&[0])])),
    denied("its_capabilities", FORBIDDEN, || {
        call(libc::SYS_capset, &[numbers(&[0x2008_0522]), numbers(&[u64::MAX, u64::MAX, u64::MAX])])
    }),
    denied("its_ambient_capabilities", FORBIDDEN, || call(libc::SYS_prctl, &[47, 2, 21])),
    denied("its_secure_bits", FORBIDDEN, || call(libc::SYS_prctl, &[28, 0])),
    denied("its_limits", FORBIDDEN, || call(libc::SYS_prlimit64, &[0, 7, numbers(&[4_096, 4_096]), 0])),
    denied("its_limit_of_memory_by_group", GONE, || written("/sys/fs/cgroup/memory/memory.limit_in_bytes")),
    denied("its_priority", &[Errno::ACCESS, Errno::PERM], || {
        call(libc::SYS_setpriority, &[0, 0, (-10_isize) as usize])
    }),
    denied("its_scheduling", FORBIDDEN, || call(libc::SYS_sched_setscheduler, &[0, 1, numbers(&[50])])),
    denied("how_long_it_keeps_a_core", FORBIDDEN, || {
        call(libc::SYS_sched_setattr, &[0, numbers(&[48, 0, 0, 100_000_000, 0, 0]), 0])
    }),
    denied("how_long_what_it_starts_keeps_a_core", FORBIDDEN, || {
        call(libc::SYS_sched_setscheduler, &[0, 0x4000_0000, numbers(&[0])])
    }),
    denied("its_filter", FORBIDDEN, || call(libc::SYS_seccomp, &[1, 0, numbers(&[1, 0])])),
    denied("its_personality", FORBIDDEN, || call(libc::SYS_personality, &[0x0400_0000])),
    denied("the_privileges_of_a_program", FORBIDDEN, || {
        fs::copy("/bin/true", tmp("true"))?;
        let capability = numbers(&[0x0200_0001, 0, 0]);
        call(libc::SYS_setxattr, &[text(&tmp("true")), text("security.capability"), capability, 20, 0])
    }),
    denied("its_user_by_a_program", GONE, || {
        // Whatever set-user-id program this host has: no_new_privs and nosuid each keep it from being one.
        let program = ["/usr/bin/su", "/bin/su", "/usr/bin/passwd", "/usr/bin/mount", "/bin/mount"];
        let program = program.into_iter().find(|path| fs::metadata(path).is_ok_and(|found| found.mode_has_set_user()));
        let Some(program) = program else { return Err(nothing()) };
        let mut child = Command::new(program).arg0("sleep").arg("--version").spawn()?;
        let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        child.wait()?;
        let root = status.lines().any(|line| line.starts_with("Uid:") && line.split_whitespace().any(|id| id == "0"));
        if root { Ok(status) } else { Err(nothing()) }
    }),
    denied("the_host_s_name", FORBIDDEN, || call(libc::SYS_sethostname, &[text("x"), 1])),
    denied("the_time", FORBIDDEN, || call(libc::SYS_settimeofday, &[numbers(&[1, 0]), 0])),
    denied("the_clock", FORBIDDEN, || call(libc::SYS_clock_settime, &[0, numbers(&[1, 0])])),
    denied("the_clock_s_pace", FORBIDDEN, || call(libc::SYS_adjtimex, &[room(256)])),
    denied("the_kernel", FORBIDDEN, || call(libc::SYS_init_module, &[room(64), 64, text("")])),
    denied("the_kernel_by_kexec", FORBIDDEN, || call(libc::SYS_kexec_load, &[0, 0, 0, 0])),
    denied("that_the_host_runs", FORBIDDEN, || call(libc::SYS_reboot, &[0xfee1_dead, 0x2812_1969, 0])),
    denied("swap", FORBIDDEN, || call(libc::SYS_swapon, &[text(&tmp("x")), 0])),
    denied("accounting", FORBIDDEN, || call(libc::SYS_acct, &[text(&tmp("x"))])),
    denied("quotas", FORBIDDEN, || call(libc::SYS_quotactl, &[0, text("/dev/vda"), 0, room(64)])),
    denied("the_disks_peace", FORBIDDEN, || call(libc::SYS_sync, &[])),
];

/// A child that should not be must not run on as a second attempt.
fn child_of(answer: io::Result<String>) -> io::Result<String> {
    if answer.as_ref().is_ok_and(|text| text.ends_with(" 0")) {
        std::process::exit(9);
    }
    answer
}

/// Whether a file makes who runs it somebody else.
trait SetUser {
    fn mode_has_set_user(&self) -> bool;
}

impl SetUser for fs::Metadata {
    fn mode_has_set_user(&self) -> bool {
        self.permissions().mode() & 0o4000 != 0
    }
}
