//! What this host can isolate, found out by doing it.
//!
//! The chief witness is one whole sandbox, made and cleared away by the very code that makes all others: if it comes
//! to the point where a program would be executed, every step of it works. If it does not, the step that failed says
//! which mechanism is to blame, and a child without namespaces shows what would be left (tier B). Limits are shown by
//! reaching them: a child that must be refused a fork and then be killed for its memory.

mod advice;

use std::{
    fs,
    os::fd::{AsFd, OwnedFd},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    net::{AddressFamily, SocketType, socket},
    process::{Signal, WaitId, WaitIdOptions, WaitIdStatus, pidfd_send_signal, waitid},
    thread::{CapabilitySet, CapabilitySets, Gid, Uid},
};

use crate::{
    Mechanism, Report,
    cgroup::{Controller, Group, Groups, Limits, Version},
    fault::Fault,
    identity,
    landlock::{self, Rules},
    seccomp::{Filter, Sockets},
    sys,
};
use advice::{Surroundings, blame, remedy};

type Outcome = Result<String, String>;
/// Something to be done in a child that ends afterwards.
type Try = fn() -> Result<(), Errno>;

/// Memory of the group in which the limit is reached; the child by itself needs far less.
const TRIAL_MEMORY_BYTES: u64 = 8 << 20;
/// What the child asks for: the limit stops it long before.
const TRIAL_MEMORY_BYTES_WANTED: usize = 64 << 20;
/// A cap low enough to lie below whatever a container was given.
const TRIAL_CPU_MILLIS: u32 = 100;
/// Longest a child of a trial may take.
const TRIAL_WAIT: Duration = Duration::from_secs(5);
/// Name of the trial's group: no sandbox's, for those count up from 1.
const TRIAL_GROUP: u64 = 0;

/// Exit codes of the child that reaches limits. When it is killed instead, all limits hold.
mod limit_child {
    pub const NOT_IN_GROUP: i32 = 10;
    pub const PROCESSES_UNLIMITED: i32 = 11;
    pub const MEMORY_UNLIMITED: i32 = 12;
}

/// A child on its way to its limits, while other things are tried.
pub(crate) struct LimitTrial {
    /// How each is limited here, if it is.
    how: Vec<(Controller, Outcome)>,
    running: Result<(Group, OwnedFd), String>,
}

/// Sends a child to its limits.
///
/// INVARIANT: the process has one thread; the child goes on with a copy of its memory.
pub(crate) fn start_limits(groups: Result<&Groups, &str>) -> LimitTrial {
    let how =
        |controller| (controller, groups.map_err(str::to_owned).and_then(|groups| limited_by(groups, controller)));
    LimitTrial {
        how: Controller::ALL.into_iter().map(how).collect(),
        running: groups.map_err(str::to_owned).and_then(limit_child_in),
    }
}

fn limited_by(groups: &Groups, controller: Controller) -> Outcome {
    match groups.version(controller) {
        Some(Version::One) => Ok("cgroup v1".to_owned()),
        Some(Version::Two) => Ok("cgroup v2".to_owned()),
        None => {
            let found = groups.missing().iter().find(|(missing, _)| *missing == controller);
            Err(found.map_or_else(
                || "no such controller; boot with cgroup version 2".to_owned(),
                |(_, reason)| reason.clone(),
            ))
        }
    }
}

fn limit_child_in(groups: &Groups) -> Result<(Group, OwnedFd), String> {
    let limits = Limits { memory_bytes: TRIAL_MEMORY_BYTES, pids: 1, cpu_millis: TRIAL_CPU_MILLIS, cpu_weight: 100 };
    let group = groups.create(TRIAL_GROUP, &limits).map_err(|error| error.to_string())?;
    let few = groups.version(Controller::Pids).is_some();
    let started = group.entrances().map_err(|error| error.to_string()).and_then(|entrances| {
        match sys::fork().map_err(|errno| format!("fork: {errno}"))? {
            sys::Side::Child => sys::exit_now(reach_limits(entrances, few)),
            sys::Side::Parent { pidfd, .. } => Ok(pidfd),
        }
    });
    match started {
        Ok(pidfd) => Ok((group, pidfd)),
        Err(reason) => {
            let _ = group.remove();
            Err(reason)
        }
    }
}

/// In the child: enters the group, may not fork there if processes are `few`, and takes memory until it is killed.
fn reach_limits(entrances: Vec<OwnedFd>, few: bool) -> i32 {
    if entrances.into_iter().any(|entrance| rustix::io::write(entrance, b"0") != Ok(1)) {
        return limit_child::NOT_IN_GROUP;
    }
    match few.then(sys::fork) {
        Some(Ok(sys::Side::Child)) => sys::exit_now(0),
        Some(Ok(sys::Side::Parent { pidfd, .. })) => {
            let _ = waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED);
            return limit_child::PROCESSES_UNLIMITED;
        }
        Some(Err(_)) | None => {}
    }
    // Written to, page by page: what is merely asked for does not count. Read again, or it would not have to be there.
    let taken = vec![1_u8; TRIAL_MEMORY_BYTES_WANTED];
    let sum: u64 = taken.iter().step_by(4_096).map(|&byte| u64::from(byte)).sum();
    if sum == 0 { limit_child::NOT_IN_GROUP } else { limit_child::MEMORY_UNLIMITED }
}

impl LimitTrial {
    /// Waits for the child, and tells how each limit fared.
    fn finish(self) -> Vec<(Mechanism, Outcome)> {
        let ended = self.running.as_ref().map_err(Clone::clone).map(|(group, pidfd)| {
            let status = wait(pidfd);
            let kills = group.usage().ok().flatten().and_then(|usage| usage.memory_kills().ok());
            let capped = group.is_capped();
            let freezes =
                group.freezer().is_some_and(|freezer| freezer.set(true).and_then(|()| freezer.set(false)).is_ok());
            group.kill();
            remove(group);
            Ended { status, kills, capped, freezes }
        });
        let judged = |controller, judge: &dyn Fn(&Ended) -> Result<(), &'static str>| {
            let found = self.how.iter().find(|(of, _)| *of == controller);
            let how = found.map_or_else(
                || Err("no such controller; boot with cgroup version 2".to_owned()),
                |(_, how)| how.clone(),
            )?;
            let ended = ended.as_ref().map_err(|reason: &String| format!("{how}, but the trial failed: {reason}"))?;
            judge(ended).map(|()| how.clone()).map_err(|reason| format!("{how}, but {reason}"))
        };
        vec![
            (Mechanism::MemoryLimit, judged(Controller::Memory, &Ended::memory)),
            (Mechanism::ProcessLimit, judged(Controller::Pids, &Ended::processes)),
            (Mechanism::CpuLimit, judged(Controller::Cpu, &Ended::processor)),
            (Mechanism::Freezer, judged(Controller::Freezer, &Ended::freezer)),
        ]
    }
}

/// What became of the child that was sent to its limits.
struct Ended {
    status: Option<WaitIdStatus>,
    kills: Option<u64>,
    capped: bool,
    freezes: bool,
}

impl Ended {
    fn memory(&self) -> Result<(), &'static str> {
        let killed = self.status.as_ref().is_some_and(WaitIdStatus::killed);
        match (killed, self.kills, self.code()) {
            (true, Some(1..), _) => Ok(()),
            (true, _, _) => Err("the kill was not counted; it takes Linux 4.13 or newer"),
            (_, _, Some(limit_child::MEMORY_UNLIMITED)) => {
                Err("eight times the limit could be used; switch swap off, or boot with cgroup version 2")
            }
            (_, _, Some(limit_child::NOT_IN_GROUP)) => {
                Err("the group could not be entered; start it in one of its own (systemd-run --scope -p Delegate=yes)")
            }
            _ => Err("the limit could not be reached in time; start it again when the host has less to do"),
        }
    }

    fn processes(&self) -> Result<(), &'static str> {
        match self.code() {
            Some(limit_child::PROCESSES_UNLIMITED) => {
                Err("one process more than the limit could be started; it takes a kernel with CONFIG_CGROUP_PIDS")
            }
            Some(limit_child::NOT_IN_GROUP) => {
                Err("the group could not be entered; start it in one of its own (systemd-run --scope -p Delegate=yes)")
            }
            None if self.status.is_none() => {
                Err("the limit could not be reached in time; start it again when the host has less to do")
            }
            _ => Ok(()),
        }
    }

    fn processor(&self) -> Result<(), &'static str> {
        if self.capped {
            Ok(())
        } else {
            Err("processor time is not capped; it takes a kernel with CONFIG_CFS_BANDWIDTH")
        }
    }

    fn freezer(&self) -> Result<(), &'static str> {
        if self.freezes {
            Ok(())
        } else {
            Err("a group cannot be stopped; it takes Linux 5.2 or newer, or a kernel with CONFIG_CGROUP_FREEZER")
        }
    }

    fn code(&self) -> Option<i32> {
        self.status.as_ref().and_then(WaitIdStatus::exit_status)
    }
}

/// How a child ended; `None` when it did not in time, and was killed.
fn wait(pidfd: &OwnedFd) -> Option<WaitIdStatus> {
    let timeout = Timespec::try_from(TRIAL_WAIT).ok()?;
    let mut ended = [PollFd::new(pidfd, PollFlags::IN)];
    let in_time = rustix::io::retry_on_intr(|| poll(&mut ended, Some(&timeout))).is_ok_and(|ready| ready > 0);
    if !in_time {
        let _ = pidfd_send_signal(pidfd, Signal::KILL);
    }
    let status = waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED).ok().flatten();
    status.filter(|_| in_time)
}

/// A group that has just been left may be busy for a moment. One that stays is swept at the next start.
fn remove(group: &Group) {
    let until = Instant::now() + TRIAL_WAIT;
    while group.remove().is_err() && Instant::now() < until {
        std::thread::sleep(Duration::from_micros(200));
    }
}

/// What came of the whole sandbox.
pub(crate) struct Trial<'a> {
    /// Whether the launcher has the host's own capabilities, and not those of a user namespace.
    pub privileged: bool,
    /// Whether each sandbox is somebody else on the host.
    pub unique_users: bool,
    pub outcome: &'a Result<(), Fault>,
    /// What came of a whole sandbox without namespaces, if that was tried.
    pub weak: Option<Result<(), Fault>>,
}

/// Puts together what was found. When the sandbox failed this tries what is left without namespaces.
///
/// INVARIANT: as [`start_limits`].
pub(crate) fn report(trial: &Trial<'_>, limits: LimitTrial) -> Report {
    let mut outcomes = limits.finish();
    match trial.outcome {
        Ok(()) => outcomes.extend(all_works(trial)),
        Err(fault) => outcomes.extend(what_is_left(fault, trial.weak.as_ref())),
    }
    Report::new(trial.privileged, outcomes)
}

fn all_works(trial: &Trial<'_>) -> Vec<(Mechanism, Outcome)> {
    let users = if trial.unique_users {
        Ok("each sandbox has two users of its own".to_owned())
    } else {
        Err(format!("no range of users is lent to this one, so all sandboxes are this user outside; {}", advice::LEND))
    };
    let landlock = landlock::abi().map(|abi| format!("ABI {abi}")).map_err(|errno| errno.to_string());
    let works = |text: &str| Ok(text.to_owned());
    vec![
        (Mechanism::Namespaces, works("user, mount, pid, net, ipc, uts, cgroup")),
        (Mechanism::OwnRoot, works("pivot_root, read-only")),
        (Mechanism::UniqueUid, users),
        (Mechanism::Network, works("loopback alone")),
        (Mechanism::Capabilities, works("all sets empty")),
        (Mechanism::NoNewPrivileges, works("set")),
        (Mechanism::Seccomp, works("allow-list")),
        (Mechanism::Landlock, landlock),
    ]
}

/// Blames one mechanism for the failed sandbox, and tells of the others that need no namespace: what a whole sandbox of
/// them showed, or where none was made what each shows by itself.
fn what_is_left(fault: &Fault, weak: Option<&Result<(), Fault>>) -> Vec<(Mechanism, Outcome)> {
    let surroundings = Surroundings::read();
    let (guilty, reason) = blame(fault, &surroundings);
    let mut outcomes = Vec::new();
    // In the order in which a sandbox is made: what came before the failure works, what would have come after is not
    // known, and what is not known does not work.
    let order = [Mechanism::UniqueUid, Mechanism::Namespaces, Mechanism::OwnRoot, Mechanism::Network];
    let failed_at = order.iter().position(|mechanism| *mechanism == guilty).unwrap_or(order.len());
    for (at, mechanism) in order.into_iter().enumerate() {
        if mechanism != Mechanism::UniqueUid {
            outcomes.push((
                mechanism,
                match at.cmp(&failed_at) {
                    std::cmp::Ordering::Less => Ok("tried".to_owned()),
                    std::cmp::Ordering::Equal => Err(reason.clone()),
                    std::cmp::Ordering::Greater => Err(format!("not tried, for want of: {guilty}; see there")),
                },
            ));
        }
    }
    match weak {
        Some(Ok(())) => outcomes.extend(weak_works()),
        Some(Err(fault)) => outcomes.extend(weak_fails(fault, &surroundings)),
        None => outcomes.extend(CONFINED.iter().map(|(mechanism, tried)| {
            let outcome =
                if *mechanism == guilty { Err(reason.clone()) } else { tried_alone(*mechanism, *tried, &surroundings) };
            (*mechanism, outcome)
        })),
    }
    outcomes
}

fn tried_alone(mechanism: Mechanism, tried: Try, surroundings: &Surroundings) -> Outcome {
    in_a_child(tried).map_err(|told| format!("{told}; {}", remedy(mechanism, Errno::PERM, surroundings)))
}

/// What all sandboxes without namespaces have, once one has had it.
fn weak_works() -> Vec<(Mechanism, Outcome)> {
    let landlock = landlock::abi().map(|abi| format!("ABI {abi}")).map_err(|errno| errno.to_string());
    let works = |text: &str| Ok(text.to_owned());
    vec![
        (Mechanism::UniqueUid, works("each sandbox has two users of its own")),
        (Mechanism::Capabilities, works("all sets empty")),
        (Mechanism::NoNewPrivileges, works("set")),
        (Mechanism::Seccomp, works("allow-list, without sockets")),
        (Mechanism::Landlock, landlock),
    ]
}

/// Blames one mechanism for the failed sandbox; what belongs to none is held against the users.
fn weak_fails(fault: &Fault, surroundings: &Surroundings) -> Vec<(Mechanism, Outcome)> {
    let (blamed, _) = blame(fault, surroundings);
    let among = CONFINED.iter().any(|(mechanism, _)| *mechanism == blamed);
    let guilty = if among { blamed } else { Mechanism::UniqueUid };
    let advice = advice::weak(fault.errno);
    let told = |(mechanism, tried): &(Mechanism, Try)| {
        let outcome = if *mechanism == guilty {
            Err(format!("{}: {}; {advice}", fault.step, fault.errno))
        } else {
            tried_alone(*mechanism, *tried, surroundings)
        };
        (*mechanism, outcome)
    };
    CONFINED.iter().map(told).collect()
}

/// What confines a process without any namespace, each tried in a child of its own.
const CONFINED: &[(Mechanism, Try)] = &[
    (Mechanism::UniqueUid, try_user),
    (Mechanism::Capabilities, try_capabilities),
    (Mechanism::NoNewPrivileges, try_no_new_privileges),
    (Mechanism::Seccomp, try_calls),
    (Mechanism::Landlock, try_files),
];

fn in_a_child(tried: Try) -> Outcome {
    let pidfd = match sys::fork() {
        // An error number of the host fits into an exit code.
        Ok(sys::Side::Child) => sys::exit_now(tried().err().map_or(0, Errno::raw_os_error)),
        Ok(sys::Side::Parent { pidfd, .. }) => pidfd,
        Err(errno) => return Err(format!("fork: {errno}")),
    };
    match wait(&pidfd).and_then(|status| status.exit_status()) {
        Some(0) => Ok("tried".to_owned()),
        Some(number) => Err(Errno::from_raw_os_error(number).to_string()),
        None => Err("the trial did not end in time".to_owned()),
    }
}

fn try_user() -> Result<(), Errno> {
    let (uid, gid) = (Uid::from_raw(identity::OUTER_FIRST), Gid::from_raw(identity::OUTER_FIRST));
    rustix::thread::set_thread_groups(&[])?;
    rustix::thread::set_thread_res_gid(gid, gid, gid)?;
    rustix::thread::set_thread_res_uid(uid, uid, uid)
}

fn try_capabilities() -> Result<(), Errno> {
    let none = CapabilitySet::empty();
    rustix::thread::set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })?;
    rustix::thread::clear_ambient_capability_set()
}

fn try_no_new_privileges() -> Result<(), Errno> {
    rustix::thread::set_no_new_privs(true)?;
    if rustix::thread::no_new_privs()? { Ok(()) } else { Err(Errno::NOTSUP) }
}

/// Without namespaces no socket may leave the host, so that is what is tried.
fn try_calls() -> Result<(), Errno> {
    let filter = Filter::compile(Sockets::Local).map_err(|_| Errno::NOSYS)?;
    filter.load().map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::INVAL))?;
    match socket(AddressFamily::INET, SocketType::STREAM, None) {
        Err(Errno::PERM) => Ok(()),
        _ => Err(Errno::NOTSUP),
    }
}

fn try_files() -> Result<(), Errno> {
    landlock::restrict(&Rules { read: &["/proc"], write: &[], devices: &["/dev/null"], tcp: false, others: false })?;
    match fs::read_dir("/") {
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => Ok(()),
        _ => Err(Errno::NOTSUP),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_that_was_given_up_on_shows_nothing() {
        let ended = Ended { status: None, kills: Some(1), capped: false, freezes: false };
        assert!(ended.memory().is_err() && ended.processes().is_err() && ended.processor().is_err());
        assert!(ended.freezer().is_err());
    }

    #[test]
    fn without_groups_every_limit_is_missing_for_the_same_reason() {
        let outcomes = start_limits(Err("nothing mounted")).finish();
        assert_eq!(outcomes.len(), 4);
        assert!(outcomes.iter().all(|(_, outcome)| *outcome == Err("nothing mounted".to_owned())), "{outcomes:?}");
    }
}
