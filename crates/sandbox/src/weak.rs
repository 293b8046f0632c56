//! Sandboxes on a host that gives no namespaces (tier B): such as a container with the usual profile.
//!
//! Each has two users of its own, Landlock instead of a root, a filter that lets no socket be named, and a directory for
//! `/tmp`. What it has not got: pids, mounts, names of its own. There are no standbys: what Landlock has once taken away
//! cannot be given back, and the code of a function is not known before the function.
//!
//! INVARIANT: a number is given to a sandbox only when no process of that number exists, and given back only when none
//! exists any more; the numbers of two launchers of one host are never the same ([`claimed`]).

mod files;
mod room;
mod sweeper;
mod warden;

use std::{
    collections::BTreeMap,
    fs, io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::{DirBuilderExt, MetadataExt, chown},
    },
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::{
    io::Errno,
    net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, socket_with},
    process::{Signal, WaitId, WaitIdOptions, getpid, pidfd_send_signal, waitid},
};

use crate::{
    Request, SandboxId,
    cgroup::{self, Group, Groups, Limits},
    channel,
    fault::{At, Fault},
    host::{Idle, OOM_SCORE, SANDBOXES_MAX, URGENT_WEIGHT, clear_group, group_fault, limits},
    identity::{Identities, Identity},
    inside::Ends,
    protocol::{GroupFiles, Reply},
    sandboxes::{SETUP_MS_MAX, Sandboxes, wait},
    seccomp::Filter,
    sys,
};

/// How many ranges of numbers are tried until one is free.
const CLAIMS_MAX: u64 = 16;
/// Longest that may be waited for finding out that nobody has a number.
const PROOF_MS_MAX: i64 = 5_000;
/// How long emptying a directory may take until it is begun anew: it goes on where it was.
const SWEEP_MAX: Duration = Duration::from_secs(60);
/// Of the launcher's own directory: what lies in it is found by name alone.
const PASSAGE: u32 = 0o711;
/// Of a sandbox's directory.
const PRIVATE: u32 = 0o700;

/// What has been laid out for all sandboxes, and the sandboxes.
pub(crate) struct Weak {
    calls: Filter,
    groups: Option<Groups>,
    identities: Identities,
    /// Held so that no other launcher takes the same numbers.
    _claim: OwnedFd,
    /// What all may read; the last of them have been provided.
    read: Vec<PathBuf>,
    _pins: files::Pins,
    provided: usize,
    /// Below it lies a directory for each sandbox.
    directory: PathBuf,
    sandboxes: BTreeMap<SandboxId, Sandbox>,
    /// The highest id so far. INVARIANT: an id names one sandbox ever, so a late kill cannot hit another.
    last: SandboxId,
    /// Without an id any more, and not cleared away yet.
    leftovers: Vec<Sandbox>,
}

#[derive(Default)]
struct Sandbox {
    /// The warden; `None` before there is one and after it has been waited for.
    process: Option<OwnedFd>,
    /// Whether the warden watches: it is then asked to end, and killed before.
    watches: bool,
    group: Option<Group>,
    identity: Option<Identity>,
    tmp: Option<PathBuf>,
    /// Who empties the directory, since when.
    sweeper: Option<(OwnedFd, Instant)>,
    /// Whether neither a process nor a file is left.
    swept: bool,
    killed: bool,
}

impl Weak {
    /// Lays everything out below `directory`, after removing what dead launchers left there.
    ///
    /// # Errors
    /// The step; above all that there are no users to be had.
    pub(crate) fn lay_out(
        runtime_dir: &Path,
        directory: &Path,
        groups: Option<Groups>,
        calls: Filter,
        choice: u64,
    ) -> Result<Weak, Fault> {
        let (identities, claim) = claimed(choice)?;
        for place in [directory, runtime_dir] {
            check_reachable(place)?;
        }
        clear_dead(directory);
        let name = cgroup::own_name().at("name the directory of sandboxes")?;
        let directory = directory.join(name);
        fs::DirBuilder::new().mode(PASSAGE).create(&directory).at("make the directory of sandboxes")?;
        // Whatever the mask was.
        fs::set_permissions(&directory, std::os::unix::fs::PermissionsExt::from_mode(PASSAGE))
            .at("open the directory of sandboxes")?;
        let (mut read, pins) = files::shared();
        read.push(runtime_dir.to_path_buf());
        Ok(Weak {
            calls,
            groups,
            identities,
            _claim: claim,
            read,
            _pins: pins,
            provided: 0,
            directory,
            sandboxes: BTreeMap::new(),
            last: 0,
            leftovers: Vec::new(),
        })
    }

    /// Makes one; what it already has is in `sandbox` even when it fails.
    fn make(&mut self, sandbox: &mut Sandbox, id: SandboxId, request: &Request, ends: Ends) -> Result<(), Fault> {
        let identity = sandbox.identity.insert(self.identities.take().at("take user numbers")?);
        let (function, warden) = identity.outside().ok_or(Fault::new("take user numbers", Errno::PERM))?;
        prove_unused(function)?;
        prove_unused(warden)?;
        if let Some(groups) = &self.groups {
            let limits = Limits { cpu_weight: URGENT_WEIGHT, cpu_millis: 0, ..limits_of(request) };
            sandbox.group = Some(groups.create(id, &limits).map_err(group_fault)?);
        }
        let tmp = self.directory.join(id.to_string());
        fs::DirBuilder::new().mode(PRIVATE).create(&tmp).at("make the sandbox's directory")?;
        let tmp = &*sandbox.tmp.insert(tmp);
        chown(tmp, Some(function), Some(function)).at("give the directory to its user")?;
        let entrances = sandbox.group.as_ref().map_or(Ok(Vec::new()), Group::entrances).map_err(group_fault)?;
        let (ours, theirs) = channel::pair().at("make a socket")?;
        let launcher = getpid();
        let own = [&request.code, &request.layers].into_iter().flatten();
        let read = self.read.iter().chain(own).map(PathBuf::as_path).collect();
        let (pid, pidfd) = match sys::fork().at("fork")? {
            sys::Side::Parent { pid, pidfd } => (pid, pidfd),
            sys::Side::Child => {
                drop(ours);
                warden::become_warden(warden::Plan {
                    function,
                    warden,
                    read,
                    tmp,
                    tmp_bytes: request.tmp_bytes,
                    calls: &self.calls,
                    entrances,
                    ends,
                    sync: theirs,
                    launcher,
                })
            }
        };
        sandbox.process = Some(pidfd);
        drop((theirs, ends, entrances));
        // What the warden has it hands on, which the function only raises.
        let _ = fs::write(format!("/proc/{}/oom_score_adj", pid.as_raw_nonzero()), OOM_SCORE);
        hear(&ours)?;
        sandbox.watches = true;
        // It is another user by now: a launcher that could not end it would find out too late.
        rustix::process::test_kill_process(pid).at("signal a sandbox")?;
        if let Some(group) = &sandbox.group {
            let limits = limits_of(request);
            let cpu_weight = if limits.cpu_weight == 0 { Limits::default().cpu_weight } else { limits.cpu_weight };
            group.set(&Limits { memory_bytes: 0, pids: 0, cpu_weight, ..limits }).map_err(group_fault)?;
        }
        Ok(())
    }

    /// Clears away a sandbox that has no id.
    fn discard(&mut self, sandbox: Sandbox) {
        self.leftovers.push(sandbox);
        self.clear_leftovers();
    }

    fn clear_leftovers(&mut self) {
        let Weak { leftovers, identities, .. } = self;
        leftovers.retain_mut(|sandbox| sandbox.clear(identities).is_err());
    }
}

impl Sandboxes for Weak {
    fn launch(&mut self, id: SandboxId, request: &Request, ends: Ends) -> Result<(GroupFiles, Vec<OwnedFd>), Fault> {
        if id <= self.last {
            return Err(Fault::new("name a sandbox", Errno::EXIST));
        }
        self.last = id;
        if self.sandboxes.len().saturating_add(self.leftovers.len()) >= SANDBOXES_MAX {
            return Err(Fault::new("count sandboxes", Errno::AGAIN));
        }
        if !request.ports.is_empty() {
            return Err(Fault::new("listen without a network of its own", Errno::OPNOTSUPP));
        }
        for path in [&request.code, &request.layers].into_iter().flatten() {
            fs::metadata(path).at_with(|| format!("open {}", path.display()))?;
            check_reachable(path)?;
        }
        let mut sandbox = Sandbox::default();
        let made = self.make(&mut sandbox, id, request, ends).and_then(|()| sandbox.shared());
        match made {
            Ok(files) => {
                self.sandboxes.insert(id, sandbox);
                Ok(files)
            }
            Err(fault) => {
                self.discard(sandbox);
                Err(fault)
            }
        }
    }

    fn assign(&mut self, _: SandboxId, _: &Request) -> Result<(), Fault> {
        Err(Fault::new("show code to a sandbox that has none, without mounts", Errno::OPNOTSUPP))
    }

    fn kill(&mut self, id: SandboxId) {
        if let Some(sandbox) = self.sandboxes.get_mut(&id) {
            sandbox.kill();
        }
    }

    fn reap(&mut self, id: SandboxId) -> Result<(), Fault> {
        let Some(sandbox) = self.sandboxes.get_mut(&id) else { return Ok(()) };
        sandbox.clear(&mut self.identities)?;
        self.sandboxes.remove(&id);
        Ok(())
    }

    /// Nothing can be seen elsewhere than it is.
    fn provide(&mut self, host: &Path, inside: &Path) -> Result<(), Fault> {
        let told = || format!("provide {} as {}", host.display(), inside.display());
        if host != inside {
            return Err(Errno::OPNOTSUPP).at_with(told);
        }
        if self.read.iter().any(|known| known == host) {
            return Ok(());
        }
        if self.provided >= files::PROVIDED_MAX {
            return Err(Errno::NOSPC).at_with(told);
        }
        fs::metadata(host).at_with(told)?;
        check_reachable(host)?;
        self.read.push(host.to_path_buf());
        self.provided += 1;
        Ok(())
    }

    fn idle(&mut self) -> Idle {
        self.clear_leftovers();
        if self.leftovers.is_empty() { Idle::Nothing } else { Idle::Waits }
    }

    fn end(&mut self) {
        self.leftovers.extend(std::mem::take(&mut self.sandboxes).into_values());
        // All at once, so that they die beside each other.
        self.leftovers.iter_mut().for_each(Sandbox::kill);
        wait(|| {
            self.clear_leftovers();
            self.leftovers.is_empty()
        });
        let _ = fs::remove_dir(&self.directory);
        if let Some(groups) = &self.groups {
            groups.remove();
        }
    }
}

impl Sandbox {
    /// What the server is given of it.
    fn shared(&self) -> Result<(GroupFiles, Vec<OwnedFd>), Fault> {
        let process = self.process.as_ref().ok_or(Fault::new("share the process", Errno::SRCH))?;
        let mut files = vec![process.try_clone().at("share the process")?];
        let group = self.group.as_ref().map(Group::files).transpose().map_err(group_fault)?;
        let (of_group, group_files) = group.unwrap_or_default();
        files.extend(group_files);
        Ok((of_group, files))
    }

    fn kill(&mut self) {
        let Some(process) = &self.process else { return };
        // Asked to end, it takes all others along. Before it watches there are no others.
        let signal = if self.watches { Signal::TERM } else { Signal::KILL };
        // It may be dead already.
        let _ = pidfd_send_signal(process, signal);
        let first = !std::mem::replace(&mut self.killed, true);
        if let Some(group) = &self.group {
            group.let_die(first);
        }
    }

    /// Kills, and frees everything if it is gone; to be called again after an error.
    fn clear(&mut self, identities: &mut Identities) -> Result<(), Fault> {
        self.kill();
        if let Some(process) = &self.process {
            if !channel::readable_within(process, 0).at("wait for the sandbox")? {
                return Err(Fault::new("wait for the sandbox", Errno::AGAIN));
            }
            waitid(WaitId::PidFd(process.as_fd()), WaitIdOptions::EXITED).at("wait for the sandbox")?;
            self.process = None;
        }
        // Should the warden have been killed by somebody, others may be left.
        self.sweep()?;
        clear_group(&mut self.group)?;
        if let Some(tmp) = &self.tmp {
            match fs::remove_dir(tmp) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(error).at("remove the sandbox's directory");
                }
                _ => self.tmp = None,
            }
        }
        if let Some(identity) = self.identity.take() {
            identities.give_back(identity);
        }
        Ok(())
    }

    /// Has somebody of the function's user see to it that nothing of it is left.
    fn sweep(&mut self) -> Result<(), Fault> {
        let users = self.identity.as_ref().and_then(Identity::outside);
        let Some((function, _)) = users.filter(|_| !self.swept) else { return Ok(()) };
        match self.sweeper.take() {
            None => self.sweeper = Some((sweeper_of(function, self.tmp.as_deref(), true)?, Instant::now())),
            Some((process, since)) => match outcome_within(&process, 0)? {
                Some(0) => {
                    self.swept = true;
                    return Ok(());
                }
                // The next time another one is sent.
                Some(_) => {}
                None => {
                    if since.elapsed() > SWEEP_MAX {
                        let _ = pidfd_send_signal(&process, Signal::KILL);
                    }
                    self.sweeper = Some((process, since));
                }
            },
        }
        Err(Fault::new("clear up after the sandbox", Errno::AGAIN))
    }
}

/// What lies in the directory is no memory, but for what the kernel can do without.
fn limits_of(request: &Request) -> Limits {
    limits(&Request { tmp_bytes: 0, ..request.clone() })
}

/// Waits for the warden to watch.
fn hear(sync: &OwnedFd) -> Result<(), Fault> {
    if !channel::readable_within(sync, SETUP_MS_MAX).at("wait for the sandbox to be set up")? {
        return Err(Fault::new("wait for the sandbox to be set up", Errno::TIMEDOUT));
    }
    let mut buffer = channel::Buffer::new();
    let (length, _) = channel::receive(sync, &mut buffer).at("hear from the sandbox")?;
    match Reply::parse(buffer.bytes(length)) {
        Ok(Reply::Done) => Ok(()),
        Ok(Reply::Failed { step, errno }) => Err(Fault::new(step, Errno::from_raw_os_error(errno))),
        _ => Err(Fault::new("hear from the sandbox", Errno::PIPE)),
    }
}

fn sweeper_of(user: u32, directory: Option<&Path>, kills: bool) -> Result<OwnedFd, Fault> {
    match sys::fork().at("fork")? {
        sys::Side::Child => sweeper::become_sweeper(user, directory, kills),
        sys::Side::Parent { pidfd, .. } => Ok(pidfd),
    }
}

/// Exit code of a child that has ended within that time (-1: by a signal).
fn outcome_within(process: &OwnedFd, timeout_ms: i64) -> Result<Option<i32>, Fault> {
    if !channel::readable_within(process, timeout_ms).at("wait for a sweeper")? {
        return Ok(None);
    }
    let status = waitid(WaitId::PidFd(process.as_fd()), WaitIdOptions::EXITED).at("wait for a sweeper")?;
    Ok(Some(status.and_then(|status| status.exit_status()).unwrap_or(-1)))
}

/// Makes sure that no process has the number.
fn prove_unused(user: u32) -> Result<(), Fault> {
    let process = sweeper_of(user, None, true)?;
    match outcome_within(&process, PROOF_MS_MAX)? {
        Some(0) => Ok(()),
        Some(errno @ 1..) => Err(Fault::new("be the only one of a user number", Errno::from_raw_os_error(errno))),
        other => {
            if other.is_none() {
                let _ = pidfd_send_signal(&process, Signal::KILL);
                let _ = waitid(WaitId::PidFd(process.as_fd()), WaitIdOptions::EXITED);
            }
            Err(Fault::new("be the only one of a user number", Errno::TIMEDOUT))
        }
    }
}

/// Numbers that no other launcher of this host has: each holds an abstract socket that is named after its own.
fn claimed(choice: u64) -> Result<(Identities, OwnedFd), Fault> {
    let read = |path: &str| fs::read_to_string(path).at_with(|| format!("read {path}"));
    let (users, groups) = (read("/proc/self/uid_map")?, read("/proc/self/gid_map")?);
    let mut last = Errno::PERM;
    for attempt in 0..CLAIMS_MAX {
        let identities = Identities::from_maps(&users, &groups, choice.wrapping_add(attempt));
        let first = identities.first().ok_or(Fault::new("take user numbers", Errno::PERM))?;
        let claim = || {
            let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
            bind(&socket, &SocketAddrUnix::new_abstract_name(format!("portcullis-users-{first}").as_bytes())?)?;
            Ok::<_, Errno>(socket)
        };
        match claim() {
            Ok(socket) => return Ok((identities, socket)),
            Err(errno) => last = errno,
        }
    }
    Err(Fault::new("take user numbers", last))
}

/// A function's user has no rights but everybody's.
fn check_reachable(path: &Path) -> Result<(), Fault> {
    if files::is_reachable(path) {
        return Ok(());
    }
    let text = format!("let everybody pass through the directories above {}", path.display());
    Err(Fault::new(text, Errno::ACCESS))
}

/// Removes what sandboxes of dead launchers left, as those whose it is. What cannot be removed stays for the next start;
/// nothing depends on it.
fn clear_dead(directory: &Path) {
    for launcher in entries(directory) {
        let dead = launcher.file_name().and_then(|name| name.to_str()).is_some_and(cgroup::is_of_the_dead);
        if !dead {
            continue;
        }
        for sandbox in entries(&launcher) {
            let owner = fs::symlink_metadata(&sandbox).map_or(0, |found| found.uid());
            // Whoever's number it is by now lives on.
            if owner != 0
                && let Ok(process) = sweeper_of(owner, Some(&sandbox), false)
                && !matches!(outcome_within(&process, PROOF_MS_MAX), Ok(Some(_)))
            {
                let _ = pidfd_send_signal(&process, Signal::KILL);
                let _ = waitid(WaitId::PidFd(process.as_fd()), WaitIdOptions::EXITED);
            }
            let _ = fs::remove_dir(&sandbox);
        }
        let _ = fs::remove_dir(&launcher);
    }
}

fn entries(directory: &Path) -> impl Iterator<Item = PathBuf> {
    fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path())
}
