//! The launcher's table of sandboxes: making them, giving them code, killing and clearing away.
//!
//! INVARIANT: nothing here waits for a sandbox to die. There is one thread for all sandboxes, and one that has forked as
//! often as it could takes long to be gone: whoever wants it cleared away is told to ask again.
//!
//! INVARIANT: whatever a sandbox uses up (numbers, control group, process, mount namespace) hangs on its entry here
//! and on nothing else; the entry goes only once all of it has been given back.

use std::{
    collections::{BTreeMap, VecDeque},
    os::fd::{AsFd, OwnedFd},
    path::Path,
};

use rustix::{
    io::Errno,
    process::{Signal, WaitId, WaitIdOptions, pidfd_send_signal, waitid},
    thread::{LinkNameSpaceType, move_into_link_name_space},
};

use crate::{
    Request, SandboxId,
    cgroup::{Group, Groups, Limits, PROCESSES_MAX},
    channel,
    confine::Confinement,
    fault::{At, Fault, IntoErrno},
    identity::{INNER_GID, INNER_UID, Identities, Identity},
    inside::{self, Ends},
    landlock,
    protocol::{Command, GroupFiles, Reply},
    root::{self, Base},
    sandboxes::{self, SETUP_MS_MAX},
    seccomp::Filter,
    sys,
};

/// Memory limit of a sandbox that waits for what it is for.
const BLANK_MEMORY_BYTES: u64 = 64 * 1024 * 1024;
/// How ready the kernel is to kill a sandbox when the whole host runs out of memory (-1,000 to 1,000): before the
/// server and before the launcher.
pub(crate) const OOM_SCORE: &str = "500";
/// Most sandboxes at a time.
pub(crate) const SANDBOXES_MAX: usize = 8_192;

/// How many sandboxes are kept ready for they do not know what. Most of what a sandbox costs (namespaces, a root, and
/// above all entering a control group, which may take milliseconds) is then paid before anybody waits for it.
const BLANKS: usize = 2;

/// Weight of a sandbox while it is made, when somebody waits for it. Its own may be a hundredth of the usual.
pub(crate) const URGENT_WEIGHT: u32 = 10_000;

/// What a host does when nothing is asked of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Idle {
    /// Something has been done, and there may be more.
    Worked,
    /// Something can only be done later.
    Waits,
    Nothing,
}

/// What has been laid out for all sandboxes, and the sandboxes.
pub(crate) struct Host {
    base: Base,
    calls: Filter,
    groups: Option<Groups>,
    identities: Identities,
    sandboxes: BTreeMap<SandboxId, Sandbox>,
    /// The highest id so far. INVARIANT: an id names one sandbox ever, so a late kill cannot hit another.
    last: SandboxId,
    blanks: VecDeque<Blank>,
    /// Blanks that are not needed any more but could not be cleared away yet.
    leftovers: Vec<Sandbox>,
    /// Whether blanks are to be made when there is nothing else to do.
    refill: bool,
    /// Name of the next control group.
    next_group: u64,
    buffer: channel::Buffer,
}

/// A sandbox that waits for what it is for.
struct Blank {
    sandbox: Sandbox,
    sync: OwnedFd,
}

#[derive(Default)]
struct Sandbox {
    /// Process 1; `None` before there is one and after it has been waited for.
    process: Option<OwnedFd>,
    group: Option<Group>,
    identity: Option<Identity>,
    /// Its mounts, while it may still be given code. Held by nobody else from outside, so that they go with the last
    /// process.
    mounts: Option<OwnedFd>,
    tmp_bytes: u64,
    /// Whether it has been killed, and its end hastened.
    killed: bool,
}

impl Host {
    pub(crate) fn new(base: Base, calls: Filter, groups: Option<Groups>, identities: Identities) -> Host {
        Host {
            base,
            calls,
            groups,
            identities,
            sandboxes: BTreeMap::new(),
            last: 0,
            blanks: VecDeque::with_capacity(BLANKS),
            leftovers: Vec::new(),
            refill: true,
            next_group: 1,
            buffer: channel::Buffer::new(),
        }
    }

    /// Ends everything, but gives the control groups to whoever makes sandboxes in another way.
    pub(crate) fn dissolve(mut self) -> Option<Groups> {
        let groups = self.groups.take();
        self.end();
        groups
    }

    /// Whether each sandbox is somebody else on the host.
    pub(crate) fn has_unique_users(&self) -> bool {
        matches!(self.identities, Identities::Unique { .. })
    }

    pub(crate) fn provide(&mut self, host: &Path, inside: &Path) -> Result<(), Fault> {
        // Those there are have not got it.
        while let Some(blank) = self.blanks.pop_front() {
            self.discard(blank.sandbox);
        }
        self.refill = true;
        self.base.provide(host, inside)
    }

    /// Something to do when there is nothing to do.
    pub(crate) fn idle(&mut self) -> Idle {
        self.clear_leftovers();
        let waits = if self.leftovers.is_empty() { Idle::Nothing } else { Idle::Waits };
        if !self.refill || self.blanks.len() >= BLANKS {
            return waits;
        }
        match self.make_blank() {
            Ok(blank) => {
                self.blanks.push_back(blank);
                Idle::Worked
            }
            // Whoever launches next will be told why.
            Err(_) => {
                self.refill = false;
                waits
            }
        }
    }

    /// Makes a sandbox; its program starts as soon as it has been read from the frame socket. Gives the descriptors of
    /// the reply: process, then the files of the control group that there are, then listeners.
    pub(crate) fn launch(
        &mut self,
        id: SandboxId,
        request: &Request,
        ends: Ends,
    ) -> Result<(GroupFiles, Vec<OwnedFd>), Fault> {
        if id <= self.last {
            return Err(Fault::new("name a sandbox", Errno::EXIST));
        }
        self.last = id;
        if self.sandboxes.len().saturating_add(self.leftovers.len()) >= SANDBOXES_MAX {
            return Err(Fault::new("count sandboxes", Errno::AGAIN));
        }
        let Blank { sandbox, sync } = self.take_blank()?;
        let sandbox = self.sandboxes.entry(id).or_insert(sandbox);
        let made = purpose(sandbox, &sync, id, request, ends, &mut self.buffer);
        if made.is_err()
            && let Some(sandbox) = self.sandboxes.remove(&id)
        {
            self.discard(sandbox);
        }
        self.refill = true;
        made
    }

    /// One that lives, made now if there is none.
    fn take_blank(&mut self) -> Result<Blank, Fault> {
        while let Some(blank) = self.blanks.pop_front() {
            let process = blank.sandbox.process.as_ref();
            if process.is_some_and(|process| channel::readable_within(process, 0) == Ok(false)) {
                return Ok(blank);
            }
            self.discard(blank.sandbox);
        }
        self.make_blank()
    }

    fn make_blank(&mut self) -> Result<Blank, Fault> {
        self.clear_leftovers();
        let mut sandbox = Sandbox::default();
        match self.fill_blank(&mut sandbox) {
            Ok(sync) => Ok(Blank { sandbox, sync }),
            Err(fault) => {
                self.discard(sandbox);
                Err(fault)
            }
        }
    }

    fn fill_blank(&mut self, sandbox: &mut Sandbox) -> Result<OwnedFd, Fault> {
        let identity = sandbox.identity.insert(self.identities.take().at("take user numbers")?);
        if let Some(groups) = &self.groups {
            let name = self.next_group;
            self.next_group = self.next_group.saturating_add(1);
            let limits = Limits { memory_bytes: BLANK_MEMORY_BYTES, cpu_weight: URGENT_WEIGHT, ..Limits::default() };
            sandbox.group = Some(groups.create(name, &limits).map_err(group_fault)?);
        }
        let (ours, theirs) = channel::pair().at("make a socket")?;
        let (cloned, entrances) = clone_into(sandbox.group.as_ref())?;
        let (pid, pidfd) = match cloned {
            sys::Side::Parent { pid, pidfd } => (pid, pidfd),
            sys::Side::Child => {
                // Or the child would never see that its launcher is gone.
                drop(ours);
                inside::become_sandbox(inside::Blank {
                    base: &self.base,
                    confinement: &Confinement {
                        uid: INNER_UID,
                        gid: INNER_GID,
                        files: &landlock::OWN_ROOT,
                        calls: &self.calls,
                        file_bytes_max: None,
                    },
                    has_root: identity.has_root(),
                    entrances,
                    sync: theirs,
                })
            }
        };
        sandbox.process = Some(pidfd);
        let pid = pid.as_raw_nonzero().get();
        // Done from here: inside, a process that cannot be dumped may not. Nothing is lost where it cannot be written.
        let _ = std::fs::write(format!("/proc/{pid}/oom_score_adj"), OOM_SCORE);
        write_maps(pid, identity)?;
        channel::send(&ours, inside::GO, &[]).at("release the sandbox")?;
        Ok(ours)
    }

    /// Gives a sandbox that was started without code its code, its layers and new limits. Once only.
    pub(crate) fn assign(&mut self, id: SandboxId, request: &Request) -> Result<(), Fault> {
        let sandbox = self.sandboxes.get_mut(&id).ok_or(Fault::new("find the sandbox", Errno::SRCH))?;
        let mounts = sandbox.mounts.take().ok_or(Fault::new("assign a second time", Errno::BUSY))?;
        let code = request.code.as_deref().map(root::code_tree).transpose()?;
        let layers = request.layers.as_deref().map(root::code_tree).transpose()?;
        if let Some(group) = &sandbox.group {
            group.set(&limits(request)).map_err(group_fault)?;
        }
        let tmp_bytes = (sandbox.tmp_bytes != request.tmp_bytes).then_some(request.tmp_bytes);
        match sys::clone(0, None).at("fork")? {
            sys::Side::Child => {
                let outcome = furnish(&mounts, code, layers, tmp_bytes);
                // An error number of the host fits into an exit code.
                sys::exit_now(outcome.err().map_or(0, |error| error.raw_os_error()))
            }
            sys::Side::Parent { pidfd, .. } => {
                let ended = channel::readable_within(&pidfd, SETUP_MS_MAX).at("mount the code")?;
                if !ended {
                    let _ = pidfd_send_signal(&pidfd, Signal::KILL);
                }
                let status = waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED).at("mount the code")?;
                match status.and_then(|status| status.exit_status()) {
                    Some(0) => Ok(()),
                    Some(error) => Err(Fault::new("mount the code", Errno::from_raw_os_error(error))),
                    None => Err(Fault::new("mount the code", Errno::TIMEDOUT)),
                }
            }
        }
    }

    /// Kills everything inside, without waiting.
    pub(crate) fn kill(&mut self, id: SandboxId) {
        if let Some(sandbox) = self.sandboxes.get_mut(&id) {
            sandbox.kill();
        }
    }

    /// Frees everything of a sandbox, killing it if it lives. One that is not known has been freed before.
    ///
    /// # Errors
    /// `EAGAIN` while it is not gone yet: ask again.
    pub(crate) fn reap(&mut self, id: SandboxId) -> Result<(), Fault> {
        let Some(sandbox) = self.sandboxes.get_mut(&id) else { return Ok(()) };
        sandbox.clear(&mut self.identities)?;
        self.sandboxes.remove(&id);
        Ok(())
    }

    /// Clears away a sandbox that never got an id.
    fn discard(&mut self, sandbox: Sandbox) {
        self.leftovers.push(sandbox);
        self.clear_leftovers();
    }

    fn clear_leftovers(&mut self) {
        let Host { leftovers, identities, .. } = self;
        leftovers.retain_mut(|sandbox| sandbox.clear(identities).is_err());
    }

    /// Ends everything, for a launcher that is no longer needed.
    pub(crate) fn end(&mut self) {
        let blanks = self.blanks.drain(..).map(|blank| blank.sandbox);
        self.leftovers.extend(blanks.chain(std::mem::take(&mut self.sandboxes).into_values()));
        // All at once, so that they die beside each other.
        self.leftovers.iter_mut().for_each(Sandbox::kill);
        sandboxes::wait(|| {
            self.clear_leftovers();
            self.leftovers.is_empty()
        });
        if let Some(groups) = &self.groups {
            groups.remove();
        }
    }
}

impl Sandbox {
    fn kill(&mut self) {
        self.mounts = None;
        let Some(process) = &self.process else { return };
        // It may be dead already.
        let _ = pidfd_send_signal(process, Signal::KILL);
        let first = !std::mem::replace(&mut self.killed, true);
        if let Some(group) = &self.group {
            group.let_die(first && channel::readable_within(process, 0) == Ok(false));
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
        clear_group(&mut self.group)?;
        if let Some(identity) = self.identity.take() {
            identities.give_back(identity);
        }
        Ok(())
    }
}

/// Removes a control group whose sandbox is dead.
///
/// # Errors
/// `EAGAIN` while something is left in it.
pub(crate) fn clear_group(group: &mut Option<Group>) -> Result<(), Fault> {
    let Some(found) = group else { return Ok(()) };
    // Process 1 ends after all others inside, so hardly anything can be left.
    if !found.is_empty() {
        found.kill();
        return Err(Fault::new("empty the control group", Errno::AGAIN));
    }
    match found.remove() {
        Err(error) if error.kind() == std::io::ErrorKind::ResourceBusy => {
            return Err(Fault::new("remove the control group", Errno::AGAIN));
        }
        removed => removed.map_err(group_fault)?,
    }
    *group = None;
    Ok(())
}

/// Tells a blank what it is for; gives the descriptors of [`Host::launch`].
fn purpose(
    sandbox: &mut Sandbox,
    sync: &OwnedFd,
    id: SandboxId,
    request: &Request,
    ends: Ends,
    buffer: &mut channel::Buffer,
) -> Result<(GroupFiles, Vec<OwnedFd>), Fault> {
    let code = request.code.as_deref().map(root::code_tree).transpose()?;
    let layers = request.layers.as_deref().map(root::code_tree).transpose()?;
    sandbox.tmp_bytes = request.tmp_bytes;
    let limits = limits(request);
    if let Some(group) = &sandbox.group {
        group.set(&Limits { cpu_millis: 0, cpu_weight: 0, ..limits }).map_err(group_fault)?;
    }
    let message = Command::Launch { id, request: request.clone() }.encode();
    let message = message.map_err(|_| Fault::new("tell the sandbox", Errno::INVAL))?;
    let trees = code.iter().chain(&layers);
    let files: Vec<_> = [&ends.frames, &ends.output, &ends.status].into_iter().chain(trees).map(AsFd::as_fd).collect();
    channel::send(sync, &message, &files).at("tell the sandbox")?;
    drop((ends, code, layers));
    let (mounts, listeners) = set_up(sync, buffer, request.ports.len())?;
    // Only now, for all others wait while this one is set up: with the weight of a small function that takes long when
    // cores are short.
    if let Some(group) = &sandbox.group {
        // Left to the host means the usual, which it has not got now.
        let cpu_weight = if limits.cpu_weight == 0 { Limits::default().cpu_weight } else { limits.cpu_weight };
        group.set(&Limits { memory_bytes: 0, pids: 0, cpu_weight, ..limits }).map_err(group_fault)?;
    }
    sandbox.mounts = request.code.is_none().then_some(mounts);
    let process = sandbox.process.as_ref().ok_or(Fault::new("share the process", Errno::SRCH))?;
    let mut files = vec![process.try_clone().at("share the process")?];
    let (of_group, of_group_files) =
        sandbox.group.as_ref().map(Group::files).transpose().map_err(group_fault)?.unwrap_or_default();
    files.extend(of_group_files);
    files.extend(listeners);
    Ok((of_group, files))
}

/// Clones into all namespaces. The child is in the control group from the start (version 2), or gets the files by which
/// it enters.
fn clone_into(group: Option<&Group>) -> Result<(sys::Side, Vec<OwnedFd>), Fault> {
    if let Some(directory) = group.map(Group::clone_into).transpose().map_err(group_fault)?.flatten()
        && let Ok(cloned) = sys::clone(sys::NAMESPACES, Some(directory.as_fd()))
    {
        return Ok((cloned, Vec::new()));
    }
    // Before Linux 5.7, and where the host lets a group be entered but not be started in.
    let entrances = group.map_or(Ok(Vec::new()), Group::entrances).map_err(group_fault)?;
    Ok((sys::clone(sys::NAMESPACES, None).at("clone3 with namespaces")?, entrances))
}

/// `/tmp` is memory and is charged to the function, so the limit has room for all of it: a file would otherwise end the
/// function where AWS's would merely be on a disk. With a pid limit always; a cap or weight of 0 leaves those to the host.
pub(crate) fn limits(request: &Request) -> Limits {
    Limits {
        memory_bytes: request.memory_bytes.saturating_add(request.tmp_bytes),
        pids: PROCESSES_MAX,
        cpu_millis: request.cpu_millis,
        cpu_weight: request.cpu_weight,
    }
}

/// The text tells which file; the number may be lost in it.
pub(crate) fn group_fault(error: std::io::Error) -> Fault {
    let step = format!("control group: {error}");
    Fault::new(step, error.into_errno())
}

/// Says who the child's numbers are on the host. The child has none until then, and waits.
fn write_maps(pid: i32, identity: &Identity) -> Result<(), Fault> {
    let write = |name: &str, text: &str| {
        std::fs::write(format!("/proc/{pid}/{name}"), text).at_with(|| format!("write {name}"))
    };
    write("setgroups", "deny")?;
    write("gid_map", &identity.gid_map())?;
    write("uid_map", &identity.uid_map())
}

/// Waits for the sandbox to be set up; gives its mount namespace and its listeners.
fn set_up(sync: &OwnedFd, buffer: &mut channel::Buffer, listeners: usize) -> Result<(OwnedFd, Vec<OwnedFd>), Fault> {
    if !channel::readable_within(sync, SETUP_MS_MAX).at("wait for the sandbox to be set up")? {
        return Err(Fault::new("wait for the sandbox to be set up", Errno::TIMEDOUT));
    }
    let (length, files) = channel::receive(sync, buffer).at("hear from the sandbox")?;
    match Reply::parse(buffer.bytes(length)) {
        Ok(Reply::Done) => {}
        Ok(Reply::Failed { step, errno }) => return Err(Fault::new(step, Errno::from_raw_os_error(errno))),
        _ => return Err(Fault::new("hear from the sandbox", Errno::PIPE)),
    }
    let mut files = files.into_iter();
    let mounts = files.next().ok_or(Fault::new("hear from the sandbox", Errno::BADMSG))?;
    let rest: Vec<OwnedFd> = files.collect();
    if rest.len() == listeners { Ok((mounts, rest)) } else { Err(Fault::new("hear from the sandbox", Errno::BADMSG)) }
}

/// In a short-lived child: goes to the sandbox's mounts and hangs code and layers up there.
fn furnish(
    mounts: &OwnedFd,
    code: Option<OwnedFd>,
    layers: Option<OwnedFd>,
    tmp_bytes: Option<u64>,
) -> Result<(), Errno> {
    move_into_link_name_space(mounts.as_fd(), Some(LinkNameSpaceType::Mount))?;
    root::hang_up(code, layers)?;
    tmp_bytes.map_or(Ok(()), root::resize_tmp)
}
