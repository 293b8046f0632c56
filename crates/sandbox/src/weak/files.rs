//! Which files of the host a function sees where it has no root of its own.
//!
//! A rule of Landlock belongs to an inode, and those of `/proc` are made anew when nobody holds them. So whoever wants a
//! rule about one to last keeps it open ([`Pins`]).

use std::{
    fs,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use rustix::fs::{Mode, OFlags};

/// Directories that may be read and executed.
const DIRECTORIES: [&str; 12] = [
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/etc/ssl/certs",
    "/etc/pki/tls/certs",
    "/etc/pki/ca-trust/extracted",
    "/etc/alternatives",
    "/etc/ld.so.conf.d",
];
/// Files that may be read. Nothing of the host's users, names or networks is among them.
const FILES: [&str; 19] = [
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/localtime",
    "/etc/mime.types",
    "/etc/protocols",
    "/etc/services",
    "/etc/ssl/openssl.cnf",
    "/proc/cpuinfo",
    "/proc/filesystems",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/uptime",
    "/proc/version",
    "/proc/sys/kernel/cap_last_cap",
    "/proc/sys/kernel/ngroups_max",
    "/proc/sys/kernel/osrelease",
    "/proc/sys/kernel/pid_max",
    "/proc/sys/kernel/random/uuid",
    "/proc/sys/vm/overcommit_memory",
];
/// What a function's first process sees of itself, below `/proc/<its number>`; processes that it starts see nothing of
/// the kind. Its own mounts, control groups and networks are the host's.
const OF_ITSELF: [&str; 13] = [
    "auxv",
    "cmdline",
    "comm",
    "environ",
    "fd",
    "fdinfo",
    "limits",
    "maps",
    "smaps",
    "smaps_rollup",
    "stat",
    "statm",
    "status",
];
/// Devices that may be read and written.
pub(super) const DEVICES: [&str; 5] = ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"];
/// Most paths that may be provided.
pub(super) const PROVIDED_MAX: usize = 64;

/// Open files that keep their inodes what they are.
pub(super) struct Pins(#[expect(dead_code, reason = "held, not used")] Vec<OwnedFd>);

/// What every function may read of the host, as far as it is there, held open.
pub(super) fn shared() -> (Vec<PathBuf>, Pins) {
    let all = DIRECTORIES.into_iter().chain(FILES).map(PathBuf::from);
    pinned(all)
}

/// What the process of this number may read of itself, held open.
pub(super) fn of_itself(pid: u32) -> (Vec<PathBuf>, Pins) {
    let directory = PathBuf::from(format!("/proc/{pid}"));
    pinned(OF_ITSELF.into_iter().map(|name| directory.join(name)))
}

/// Those that are there.
fn pinned(all: impl Iterator<Item = PathBuf>) -> (Vec<PathBuf>, Pins) {
    let (paths, pins) = all.filter_map(|path| Some((path.clone(), pin(&path)?))).unzip();
    (paths, Pins(pins))
}

fn pin(path: &Path) -> Option<OwnedFd> {
    rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).ok()
}

/// As Landlock is told: text.
pub(super) fn texts(paths: &[PathBuf]) -> Vec<&str> {
    paths.iter().filter_map(|path| path.to_str()).collect()
}

/// Whether everybody may pass through all directories above a path.
pub(super) fn is_reachable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.ancestors()
        .skip(1)
        .all(|directory| fs::metadata(directory).is_ok_and(|found| found.permissions().mode() & 0o001 != 0))
}
