//! The launcher process: one thread that does what its parent asks for, and ends with it.

use std::{
    fs, io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::fs::MetadataExt,
    },
    path::Path,
};

use rustix::{
    io::Errno,
    process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit},
    thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities, set_no_new_privs},
};

use crate::{
    Report,
    cgroup::Groups,
    channel::{self, io_error},
    confine,
    fault::{At, Fault},
    host::{Host, Idle},
    identity::Identities,
    inside::Ends,
    probe::{self, Trial},
    protocol::{Command, Reply},
    root::Base,
    rootless,
    sandboxes::{self, Sandboxes},
    seccomp::{Filter, Sockets},
    sys,
    weak::Weak,
};

/// Descriptor over which the parent speaks.
pub(crate) const CHANNEL: i32 = 3;

/// How long nothing must have been asked for until the launcher does something of its own accord.
const QUIET_MS: i64 = 5;
/// How long at most until what dies slowly is looked at again, when nothing is asked for.
const LEFTOVERS_MS: i64 = 1_000;

/// The launcher's `main`: serves its parent over descriptor 3 until that closes. Never returns while it may serve.
///
/// Must be called before the program has started a second thread. When the parent is gone, however it ended, all
/// sandboxes are killed and this returns; when the launcher itself is killed, the kernel kills the sandboxes.
///
/// # Errors
/// When there is no parent to serve, or a second thread.
pub fn serve() -> io::Result<()> {
    let channel = sys::inherited(CHANNEL)?;
    if fs::read_dir("/proc/self/task")?.count() != 1 {
        return Err(io::Error::other("the launcher was started after another thread: it forks, and may have one only"));
    }
    let _ = rustix::thread::set_name(c"launcher");
    // A terminal or a service manager signals everybody at once; but the server ends its functions in good order, and
    // needs us for that. We end when it has ended.
    let _ = rustix::process::setsid();
    sys::ignore_requests_to_end();
    let mut launcher = Launcher { host: Err(Fault::new("prepare", Errno::NOTCONN)), buffer: channel::Buffer::new() };
    let outcome = launcher.run(&channel);
    if let Ok(host) = &mut launcher.host {
        host.end();
    }
    outcome.map_err(io_error)
}

struct Launcher {
    /// Or why this host cannot have sandboxes.
    host: Result<Box<dyn Sandboxes>, Fault>,
    buffer: channel::Buffer,
}

impl Launcher {
    fn run(&mut self, channel: &OwnedFd) -> Result<(), Errno> {
        loop {
            // What is asked for goes first, and what has just been started is left the processor for a while.
            let mut quiet_ms = QUIET_MS;
            while channel::readable_within(channel, quiet_ms) == Ok(false) {
                quiet_ms = match self.host.as_mut().map_or(Idle::Nothing, |host| host.idle()) {
                    Idle::Worked => QUIET_MS,
                    Idle::Waits => quiet_ms.saturating_mul(2).min(LEFTOVERS_MS),
                    Idle::Nothing => break,
                };
            }
            let (length, files) = match channel::receive(channel, &mut self.buffer) {
                Ok((0, _)) | Err(Errno::CONNRESET) => return Ok(()),
                other => other?,
            };
            // A parent that says what cannot be understood is not to be trusted with anything further.
            let command = Command::parse(self.buffer.bytes(length)).map_err(|_| Errno::BADMSG)?;
            let Some((reply, files)) = self.obey(command, files) else { continue };
            let files: Vec<BorrowedFd<'_>> = files.iter().map(AsFd::as_fd).collect();
            match channel::send(channel, &reply.encode().map_err(|_| Errno::BADMSG)?, &files) {
                Err(Errno::PIPE | Errno::CONNRESET) => return Ok(()),
                other => other?,
            }
        }
    }

    /// Does one thing; `None` when it is not to be answered.
    fn obey(&mut self, command: Command, files: Vec<OwnedFd>) -> Option<(Reply, Vec<OwnedFd>)> {
        let host = match (&mut self.host, command) {
            (host, Command::Prepare { runtime_dir, memory_bytes_total, weak_dir }) => {
                let (prepared, report) = prepare(&runtime_dir, memory_bytes_total, weak_dir.as_deref());
                *host = prepared;
                return Some((Reply::Report(report), Vec::new()));
            }
            (_, Command::Kill { id }) => {
                if let Ok(host) = &mut self.host {
                    host.kill(id);
                }
                return None;
            }
            (Err(fault), _) => return Some((failed(fault.clone()), Vec::new())),
            (Ok(host), command) => (host, command),
        };
        let outcome = match host {
            (host, Command::Launch { id, request }) => match <[OwnedFd; 3]>::try_from(files) {
                Ok([frames, output, status]) => {
                    let made = host.launch(id, &request, Ends { frames, output, status });
                    made.map(|(of_group, files)| (Reply::Launched(of_group), files))
                }
                Err(_) => Err(Fault::new("take the descriptors of a launch", Errno::BADF)),
            },
            (host, Command::Assign { id, request }) => host.assign(id, &request).map(done),
            (host, Command::Reap { id }) => host.reap(id).map(done),
            (host, Command::Provide { host: from, inside }) => host.provide(&from, &inside).map(done),
            (_, Command::Prepare { .. } | Command::Kill { .. }) => return None,
        };
        Some(outcome.unwrap_or_else(|fault| (failed(fault), Vec::new())))
    }
}

fn done((): ()) -> (Reply, Vec<OwnedFd>) {
    (Reply::Done, Vec::new())
}

fn failed(Fault { step, errno }: Fault) -> Reply {
    Reply::Failed { step: step.into_owned(), errno: errno.raw_os_error() }
}

/// What makes sandboxes here, or why nothing does.
type Made = Result<Box<dyn Sandboxes>, Fault>;

/// Lays everything out for sandboxes, and tries one. Where that fails and a directory is given for it, the same without
/// namespaces.
fn prepare(runtime_dir: &Path, memory_bytes_total: u64, weak_dir: Option<&Path>) -> (Made, Report) {
    let (groups, no_groups) = match Groups::prepare(memory_bytes_total) {
        Ok(groups) => (Some(groups), None),
        Err(reason) => (None, Some(reason)),
    };
    raise_descriptors();
    // What is not needed for namespaces is given up as soon as it is known that they work.
    let spare = if weak_dir.is_some() { KEPT_WEAK } else { CapabilitySet::empty() };
    let privileged = enter_own_mounts(spare);
    let limits = probe::start_limits(groups.as_ref().ok_or(no_groups.as_deref().unwrap_or_default()));
    let (host, groups) = match privileged.clone().and_then(|_| lay_out(runtime_dir)) {
        Ok((base, calls, identities)) => (Ok(Host::new(base, calls, groups, identities)), None),
        Err(fault) => (Err(fault), groups),
    };
    let (host, trial, groups) = match host {
        Ok(mut host) => match sandboxes::trial(&mut host) {
            Ok(()) => (Some(host), Ok(()), None),
            Err(fault) => (None, Err(fault), host.dissolve()),
        },
        Err(fault) => (None, Err(fault), groups),
    };
    let told = |unique_users, weak: Option<&Result<(), Fault>>| Trial {
        privileged: privileged == Ok(true) && has_all_users(),
        unique_users,
        outcome: &trial,
        weak: weak.cloned(),
    };
    match (host, weak_dir) {
        (Some(host), _) => {
            let report = probe::report(&told(host.has_unique_users(), None), limits);
            // Without these it was made, so nothing is lost where it fails.
            let kept = if privileged == Ok(true) && weak_dir.is_some() { keep_only(kept()) } else { Ok(()) };
            match kept.at("give up capabilities") {
                Ok(()) => (Ok(Box::new(host)), report),
                Err(fault) => (Err(fault), report),
            }
        }
        (None, None) => {
            let report = probe::report(&told(false, None), limits);
            (Err(trial.clone().err().unwrap_or(Fault::new("prepare", Errno::NOTCONN))), report)
        }
        (None, Some(directory)) => {
            let made = weak(runtime_dir, directory, groups);
            let outcome = made.as_ref().map(drop).map_err(Clone::clone);
            (made, probe::report(&told(false, Some(&outcome)), limits))
        }
    }
}

/// What every sandbox with namespaces is made of.
fn lay_out(runtime_dir: &Path) -> Result<(Base, Filter, Identities), Fault> {
    let base = Base::lay_out(runtime_dir)?;
    let read = |path: &str| fs::read_to_string(path).at_with(|| format!("read {path}"));
    let identities = Identities::from_maps(&read("/proc/self/uid_map")?, &read("/proc/self/gid_map")?, choice());
    let calls = Filter::compile(Sockets::Internet).map_err(|reason| Fault::new(reason, Errno::NOSYS))?;
    Ok((base, calls, identities))
}

/// Sandboxes without namespaces, of which one has been tried.
fn weak(runtime_dir: &Path, directory: &Path, groups: Option<Groups>) -> Made {
    rustix::thread::set_thread_groups(&[]).at("become of no other group")?;
    keep_only(KEPT_WEAK).at("give up capabilities")?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable).at("become undumpable")?;
    let calls = Filter::compile(Sockets::Local).map_err(|reason| Fault::new(reason, Errno::NOSYS))?;
    let mut host = Weak::lay_out(runtime_dir, directory, groups, calls, choice())?;
    match sandboxes::trial(&mut host) {
        Ok(()) => Ok(Box::new(host)),
        Err(fault) => {
            host.end();
            Err(fault)
        }
    }
}

/// A number that no other launcher of this host has at the same time: the process's in its namespace, and that one's.
/// Folded together, they are hardly ever the same.
fn choice() -> u64 {
    let namespace = fs::metadata("/proc/self/ns/pid").map_or(0, |namespace| namespace.ino());
    namespace.wrapping_mul(31).wrapping_add(u64::from(std::process::id()))
}

/// Parts the launcher's mounts from the host's. `true` when it may do so as it is, `false` when it had to become root
/// of a user namespace of its own first.
///
/// Of its capabilities it keeps what it needs, and `spare`.
fn enter_own_mounts(spare: CapabilitySet) -> Result<bool, Fault> {
    match sys::own_mounts(false) {
        Ok(()) => {
            // Groups of who started us would go with every sandbox.
            match rustix::thread::set_thread_groups(&[]) {
                Err(Errno::PERM) if confine::groups_are_fixed() => {}
                outcome => outcome.at("leave all groups")?,
            }
            keep_only(kept() | spare).at("give up capabilities")?;
            // What it has open (all sandboxes) is nobody's business, not even of the same user.
            set_dumpable_behavior(DumpableBehavior::NotDumpable).at("become undumpable")?;
            Ok(true)
        }
        Err(Errno::PERM) => rootless::enter().map(|()| false),
        Err(errno) => Err(Fault::new("make mounts of its own", errno)),
    }
}

/// What the launcher goes on to do with privileges: mount, enter the mounts of a sandbox, write maps of users, kill
/// them, leave groups, and read code and write control groups whoever's they are.
const KEPT: CapabilitySet = CapabilitySet::SYS_ADMIN
    .union(CapabilitySet::SYS_CHROOT)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::DAC_OVERRIDE);

/// The same where there are no namespaces: become others, and let go of the chance to become more; give directories to
/// them; kill their wardens; write control groups whoever's they are.
const KEPT_WEAK: CapabilitySet = CapabilitySet::SETUID
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETPCAP)
    .union(CapabilitySet::CHOWN)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::DAC_OVERRIDE);

/// Where one user is all there is, each sandbox is that one, which is root to us: the host asks for more then.
fn kept() -> CapabilitySet {
    if has_all_users() { KEPT } else { KEPT | CapabilitySet::SETFCAP }
}

/// Gives up every other capability, and ever to get one by executing something. A sandbox has all of them in its own
/// user namespace all the same, until it gives them up.
fn keep_only(kept: CapabilitySet) -> Result<(), Errno> {
    let now = capabilities(None)?;
    let kept = kept.intersection(now.permitted);
    set_capabilities(None, CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() })?;
    set_no_new_privs(true)
}

/// As many descriptors as the host allows: each sandbox takes two.
fn raise_descriptors() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}

/// Whether this process is of the host itself and not of a user namespace that lends it some users.
fn has_all_users() -> bool {
    fs::read_to_string("/proc/self/uid_map").is_ok_and(|map| map.split_whitespace().eq(["0", "0", "4294967295"]))
}
