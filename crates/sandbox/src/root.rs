//! The root all sandboxes see, laid out once, and how one of them makes it its own.
//!
//! A small tmpfs holds the tree: generated files, and read-only binds of what the host gives (`/usr`, certificates,
//! interpreters). In the launcher's own mounts it covers a directory of the host that nothing is looked up in
//! ([`COVERED`]), and is the launcher's working directory. A sandbox starts with copies of all mounts of the launcher, takes
//! the tree out of them ([`enter`]) and lets go of the rest. So the number of mounts is the same for the millionth
//! start as for the first.

use std::{
    ffi::CString,
    fs, io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::symlink,
    },
    path::{Component, Path, PathBuf},
};

use rustix::{
    fs::{CWD, Mode, OFlags},
    io::Errno,
    mount::{
        FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags,
        UnmountFlags, fsconfig_create, fsconfig_set_string, fsmount, fsopen, mount, mount_bind, mount_change,
        mount_remount, move_mount, open_tree, unmount,
    },
};

use crate::{
    fault::{At, Fault},
    sys,
};

/// Directories of which the first that exists is covered by the tree, for the launcher alone: places where other file
/// systems are usually mounted. Not `/` itself: a process with something on top of its root counts as chrooted, and may
/// make no user namespaces; nor anything in `/proc`, of which an unobstructed one must be there to mount another.
const COVERED: [&str; 7] =
    ["/sys/fs/pstore", "/sys/kernel/debug", "/sys/kernel/tracing", "/dev/mqueue", "/dev/shm", "/mnt", "/media"];
/// Room for the generated files; the binds take none.
const BASE_SIZE: &str = "4m";
/// Largest file of the host that is copied rather than bound.
const COPY_BYTES_MAX: u64 = 1024 * 1024;
/// Most binds that may be provided.
const BINDS_MAX: usize = 64;
/// Files and directories in `/tmp`: one per 16 KiB, at least this many.
const INODES_MIN: u64 = 4_096;
/// And at most this many.
const INODES_MAX: u64 = 655_360;

const READ_ONLY: u64 = libc::MOUNT_ATTR_RDONLY;
const FENCED: u64 = libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV;
const DEVICE: u64 = libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NOEXEC;

/// What of `/proc` tells of the host or of others: files and directories that look empty inside. What a kernel does
/// not have is left out.
const MASKED: [&str; 18] = [
    "proc/kcore",
    "proc/keys",
    "proc/key-users",
    "proc/timer_list",
    "proc/sched_debug",
    "proc/sysrq-trigger",
    "proc/latency_stats",
    "proc/interrupts",
    "proc/locks",
    "proc/pressure",
    "proc/diskstats",
    "proc/cmdline",
    "proc/kmsg",
    "proc/kpagecount",
    "proc/kpageflags",
    "proc/acpi",
    "proc/scsi",
    "proc/asound",
];
/// What of `/proc` may be read but never written.
const READ_ONLY_PROC: [&str; 4] = ["proc/sys", "proc/bus", "proc/fs", "proc/irq"];
/// What stands in the place of `/proc/loadavg`: the real one tells how busy others are, none at all breaks programs.
const LOADAVG: &str = "etc/.loadavg";
const EMPTY: &str = "var/empty";

const PASSWD: &str = "root:x:0:0:root:/root:/sbin/nologin\n\
                      sbx_user1051:x:993:990::/home/sbx_user1051:/sbin/nologin\n\
                      nobody:x:65534:65534:nobody:/:/sbin/nologin\n";
const GROUP: &str = "root:x:0:\nsbx_user1051:x:990:\nnogroup:x:65534:\n";
/// Name of the host as functions see it.
pub(crate) const HOST_NAME: &str = "sandbox";
const HOSTS: &str = "127.0.0.1 localhost sandbox\n::1 localhost\n";
const NSSWITCH: &str = "passwd: files\ngroup: files\nhosts: files dns\nservices: files\nprotocols: files\n";

/// The tree, which is the launcher's working directory.
pub(crate) struct Base {
    tree: OwnedFd,
    /// What has been provided so far: (host, inside).
    binds: Vec<(PathBuf, PathBuf)>,
    /// What of `/proc` this kernel has to mask: with whether it is a directory.
    masked: Vec<(&'static str, bool)>,
    read_only_proc: Vec<&'static str>,
}

impl Base {
    /// Lays the tree out. The launcher must be in mounts of its own already ([`sys::own_mounts`]).
    pub(crate) fn lay_out(runtime_dir: &Path) -> Result<Base, Fault> {
        mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).at("make mounts private")?;
        let filesystem = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC).at("open a tmpfs")?;
        for (key, value) in [("size", BASE_SIZE), ("mode", "0755"), ("nr_inodes", "4k")] {
            fsconfig_set_string(&filesystem, key, value).at("configure the root's tmpfs")?;
        }
        fsconfig_create(&filesystem).at("make the root's tmpfs")?;
        let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
        let tree = fsmount(&filesystem, FsMountFlags::FSMOUNT_CLOEXEC, attributes).at("mount the root's tmpfs")?;
        let place = COVERED.into_iter().find(|place| Path::new(place).is_dir());
        attach(&tree, place.ok_or(Fault::new("find a place for the root", Errno::NOENT))?)
            .at("attach the root's tmpfs")?;
        rustix::process::fchdir(&tree).at("enter the root's tmpfs")?;
        let mut base = Base { tree, binds: Vec::new(), masked: Vec::new(), read_only_proc: Vec::new() };
        base.directories()?;
        base.system()?;
        base.etc().at("generate /etc")?;
        base.devices()?;
        base.find_masked();
        bind(runtime_dir, "var/runtime", FENCED)?;
        sys::mount_attributes(&base.tree, false, FENCED, 0).at("make the root read-only")?;
        Ok(base)
    }

    /// Binds a host file or directory into the tree, read-only. The same again is no error.
    pub(crate) fn provide(&mut self, host: &Path, inside: &Path) -> Result<(), Fault> {
        if let Some((known, _)) = self.binds.iter().find(|(_, place)| place == inside) {
            let same = known == host;
            return if same { Ok(()) } else { Err(Errno::EXIST) }.at_with(|| provided(host, inside));
        }
        if self.binds.len() >= BINDS_MAX {
            return Err(Errno::NOSPC).at_with(|| provided(host, inside));
        }
        sys::mount_attributes(&self.tree, false, 0, READ_ONLY).at("make the root writable")?;
        let made = self.bind_new(host, inside);
        sys::mount_attributes(&self.tree, false, READ_ONLY, 0).at("make the root read-only")?;
        made?;
        self.binds.push((host.to_path_buf(), inside.to_path_buf()));
        Ok(())
    }

    fn bind_new(&self, host: &Path, inside: &Path) -> Result<(), Fault> {
        let relative: PathBuf = inside.components().filter(|part| matches!(part, Component::Normal(_))).collect();
        let make = || -> io::Result<()> {
            if fs::metadata(host)?.is_dir() {
                return fs::create_dir_all(&relative);
            }
            if let Some(parent) = relative.parent() {
                fs::create_dir_all(parent)?;
            }
            fs::OpenOptions::new().create(true).append(true).open(&relative).map(drop)
        };
        make().at_with(|| provided(host, inside))?;
        bind(host, &relative, FENCED)
    }

    fn directories(&self) -> Result<(), Fault> {
        let all = ["dev", "etc", "home", "opt", "proc", "root", "run", "tmp", "usr", "var", EMPTY, "var/lang"];
        for directory in all.into_iter().chain(["var/runtime", "var/task", "var/tmp"]) {
            fs::create_dir(directory).at_with(|| format!("make /{directory} of the root"))?;
        }
        Ok(())
    }

    /// `/usr`, and `/bin`, `/lib` and the like as this host has them: links into `/usr`, or directories.
    fn system(&self) -> Result<(), Fault> {
        bind(Path::new("/usr"), "usr", FENCED)?;
        for name in ["bin", "sbin", "lib", "lib32", "lib64", "libx32"] {
            let host = Path::new("/").join(name);
            match fs::symlink_metadata(&host) {
                Ok(found) if found.is_symlink() => {
                    fs::read_link(&host).and_then(|to| symlink(to, name)).at_with(|| format!("link /{name}"))?;
                }
                Ok(_) => {
                    fs::create_dir(name).at_with(|| format!("make /{name} of the root"))?;
                    bind(&host, name, FENCED)?;
                }
                Err(_) => {}
            }
        }
        for host in ["/etc/ssl/certs", "/etc/pki/tls/certs", "/etc/pki/ca-trust/extracted", "/etc/alternatives"] {
            let relative = host.trim_start_matches('/');
            if Path::new(host).is_dir() {
                fs::create_dir_all(relative).at_with(|| format!("make {host} of the root"))?;
                bind(Path::new(host), relative, FENCED)?;
            }
        }
        Ok(())
    }

    fn etc(&self) -> io::Result<()> {
        let generated = [
            ("passwd", PASSWD),
            ("group", GROUP),
            ("hosts", HOSTS),
            ("hostname", "sandbox\n"),
            ("nsswitch.conf", NSSWITCH),
            // No name server: a name is resolved by the proxy, outside, where what it comes to can be checked.
            ("resolv.conf", ""),
            ("machine-id", ""),
            (".loadavg", "0.00 0.00 0.00 1/1 1\n"),
        ];
        for (name, text) in generated {
            fs::write(Path::new("etc").join(name), text)?;
        }
        for name in ["ld.so.cache", "ld.so.conf", "localtime", "mime.types", "protocols", "services", "ssl/openssl.cnf"]
        {
            let host = Path::new("/etc").join(name);
            let target = Path::new("etc").join(name);
            let small = fs::metadata(&host).is_ok_and(|found| found.is_file() && found.len() <= COPY_BYTES_MAX);
            if small && target.parent().is_some_and(Path::is_dir) {
                fs::copy(&host, &target)?;
            }
        }
        Ok(())
    }

    fn devices(&self) -> Result<(), Fault> {
        for name in ["null", "zero", "full", "random", "urandom"] {
            let relative = Path::new("dev").join(name);
            fs::write(&relative, "").at_with(|| format!("make /dev/{name} of the root"))?;
            bind(&Path::new("/dev").join(name), &relative, DEVICE)?;
        }
        for (name, to) in [("fd", "/proc/self/fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")] {
            symlink(to, Path::new("dev").join(name)).at_with(|| format!("link /dev/{name}"))?;
        }
        Ok(())
    }

    fn find_masked(&mut self) {
        let found = |path: &str| fs::metadata(Path::new("/").join(path)).ok();
        self.masked = MASKED.iter().filter_map(|path| found(path).map(|what| (*path, what.is_dir()))).collect();
        self.read_only_proc = READ_ONLY_PROC.into_iter().filter(|path| found(path).is_some()).collect();
    }
}

fn provided(host: &Path, inside: &Path) -> String {
    format!("provide {} as {}", host.display(), inside.display())
}

/// Opens a host directory as a mount of its own that hangs nowhere yet: read-only, with no set-user-id and no devices.
///
/// Done by the launcher, since a sandbox has no way to the directories of the host.
pub(crate) fn code_tree(host: &Path) -> Result<OwnedFd, Fault> {
    let open = || {
        let tree = open_tree(CWD, host, OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC)?;
        sys::mount_attributes(&tree, false, FENCED, 0)?;
        Ok::<_, Errno>(tree)
    };
    open().at_with(|| format!("open {}", host.display()))
}

/// Hangs a tree up at a path.
fn attach(tree: impl AsFd, path: impl rustix::path::Arg) -> Result<(), Errno> {
    move_mount(tree, "", CWD, path, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
}

fn bind(host: &Path, relative: impl AsRef<Path>, attributes: u64) -> Result<(), Fault> {
    let relative = relative.as_ref();
    let made = || {
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
        let tree = open_tree(CWD, host, flags)?;
        sys::mount_attributes(&tree, true, attributes, 0)?;
        attach(&tree, relative)
    };
    made().at_with(|| format!("bind {} at /{}", host.display(), relative.display()))
}

/// In a new sandbox whose working directory is the tree: gives it a tree of its own as root, with a `/proc` of its own,
/// and lets go of everything of the host. What the sandbox is for need not be known yet.
pub(crate) fn enter(base: &Base) -> Result<(), Fault> {
    // The copies that came with the namespace are locked where they are; a copy of a copy is not. It inherits being
    // read-only, and with the copy's owner being less than the original's, that can never be undone.
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    let root = open_tree(CWD, ".", flags).at("copy the root")?;
    attach(&root, ".").at("hang up the root")?;
    rustix::process::fchdir(&root).at("enter the root")?;
    proc(base)?;
    // The old root ends up on top of the new one and is taken off there.
    rustix::process::pivot_root(".", ".").at("pivot_root")?;
    unmount(".", UnmountFlags::DETACH).at("let go of the host's root")?;
    rustix::process::chdir("/").at("enter the root")
}

/// After [`enter`]: a `/tmp` of this size, and code and layers in their places.
pub(crate) fn furnish(tmp_bytes: u64, code: Option<OwnedFd>, layers: Option<OwnedFd>) -> Result<(), Fault> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    mount("tmpfs", "/tmp", "tmpfs", flags, tmp_data(tmp_bytes).as_c_str()).at("mount /tmp")?;
    hang_up(code, layers).at("mount the code")
}

/// Hangs code and layers up where the functions look for them, in the mounts this process is in.
pub(crate) fn hang_up(code: Option<OwnedFd>, layers: Option<OwnedFd>) -> Result<(), Errno> {
    for (tree, place) in [(code, "/var/task"), (layers, "/opt")] {
        if let Some(tree) = tree {
            attach(tree, place)?;
        }
    }
    Ok(())
}

/// Gives `/tmp` another size.
pub(crate) fn resize_tmp(bytes: u64) -> Result<(), Errno> {
    mount_remount("/tmp", MountFlags::NOSUID | MountFlags::NODEV, tmp_data(bytes).as_c_str())
}

fn proc(base: &Base) -> Result<(), Fault> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    // Not `subset=pid`: Node's `os.cpus()` is empty then.
    mount("proc", "proc", "proc", flags, c"hidepid=2").at("mount /proc")?;
    for (path, directory) in &base.masked {
        let mask = if *directory { EMPTY } else { "dev/null" };
        mount_bind(mask, *path).at_with(|| format!("mask /{path}"))?;
    }
    mount_bind(LOADAVG, "proc/loadavg").at("mask /proc/loadavg")?;
    for path in &base.read_only_proc {
        let made = || {
            let tree = open_tree(CWD, *path, OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC)?;
            sys::mount_attributes(&tree, false, READ_ONLY, 0)?;
            attach(&tree, *path)
        };
        made().at_with(|| format!("make /{path} read-only"))?;
    }
    Ok(())
}

/// Size, number of files and mode of a `/tmp`.
fn tmp_data(bytes: u64) -> CString {
    let inodes = (bytes / 16_384).clamp(INODES_MIN, INODES_MAX);
    // At least a page: 0 would mean half of the host's memory.
    CString::new(format!("size={},nr_inodes={inodes},mode=1777", bytes.max(4_096))).unwrap_or_default()
}

/// Opens the mount namespace this process is in, by its own `/proc`.
pub(crate) fn own_mount_namespace() -> Result<OwnedFd, Fault> {
    rustix::fs::open("/proc/self/ns/mnt", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).at("open own mounts")
}
