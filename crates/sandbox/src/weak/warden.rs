//! The two processes of a sandbox without namespaces: the warden, and the function it watches.
//!
//! A process can be signalled by whoever's real or effective user is its real or saved one. So the warden's effective
//! user is the function's, and its other two are a number of its own: it reaches every process of the function,
//! wherever that has hidden, and none of them reaches it. It needs no capability for that and has none.
//!
//! Whoever loses its parent becomes the warden's child, so it knows when the last is gone, and ends only then.

use std::{
    convert::Infallible,
    mem::ManuallyDrop,
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::{
    io::Errno,
    pipe::{PipeFlags, pipe_with},
    process::{
        DumpableBehavior, Pid, Signal, getpid, getppid, set_child_subreaper, set_dumpable_behavior,
        set_parent_process_death_signal,
    },
    thread::{CapabilitySet, CapabilitySets, Gid, Uid, set_capabilities, set_no_new_privs},
};

use super::{
    files::{self, DEVICES},
    room::{self, Held},
};
use crate::{
    channel,
    confine::{self, Confinement},
    fault::{At, Fault},
    inside::{self, Ends, GO},
    landlock::Rules,
    privileges,
    protocol::Reply,
    seccomp::Filter,
    status, sys,
};

/// How long at least, and at most, between two looks at how full the directory is; twice as long each time that nothing
/// has changed.
const LOOK_MS: [u64; 2] = [50, 1_000];
/// How long the dying are given until they are killed again.
const KILL_MS: u64 = 20;
/// Where the warden keeps what it goes on to need, beside standard input (the status) and output (the function's).
const SYNC: i32 = 2;
const RELEASE: i32 = 3;
/// The variable that names the directory.
const TMPDIR: &str = "TMPDIR";

/// What a warden is to make.
pub(super) struct Plan<'a> {
    /// The function's user and group.
    pub function: u32,
    /// The warden's own.
    pub warden: u32,
    /// Paths that the function may read and execute.
    pub read: Vec<&'a Path>,
    /// Its own directory, and how much it may hold.
    pub tmp: &'a Path,
    pub tmp_bytes: u64,
    pub calls: &'a Filter,
    /// Files to write `0` to, to be in the control group.
    pub entrances: Vec<OwnedFd>,
    pub ends: Ends,
    /// Where to tell the launcher how it went.
    pub sync: OwnedFd,
    pub launcher: Pid,
}

/// In a child of the launcher: makes the function's process, gives everything up, watches it, and ends when all is dead.
pub(super) fn become_warden(plan: Plan<'_>) -> ! {
    // What it holds is closed by number below.
    let plan = ManuallyDrop::new(plan);
    let Err(Fault { step, errno }) = watch_over(&plan);
    let _ = inside::tell(&plan.sync, &Reply::Failed { step: step.to_string(), errno: errno.raw_os_error() }, &[]);
    // The function's process has not been released, and ends when it sees that we did.
    sys::exit_now(1)
}

fn watch_over(plan: &Plan<'_>) -> Result<Infallible, Fault> {
    let awaited = sys::Awaited::block(&[libc::SIGTERM, libc::SIGCHLD]).at("block signals")?;
    set_child_subreaper(Some(getpid())).at("adopt orphans")?;
    let (released, release) = pipe_with(PipeFlags::CLOEXEC).at("make a pipe")?;
    let warden = getpid();
    let function = match sys::fork().at("fork")? {
        sys::Side::Child => {
            drop(release);
            become_function(plan, released, warden)
        }
        sys::Side::Parent { pid, .. } => pid,
    };
    drop(released);
    let number = function.as_raw_nonzero().get();
    // Its descriptors of everything else were the launcher's.
    let kept = || {
        sys::place(&plan.ends.status, 0)?;
        sys::place(&plan.ends.output, 1)?;
        let (sync, release) = (plan.sync.try_clone(), release.try_clone());
        let (sync, release) = (sync.map_err(|_| Errno::MFILE)?, release.map_err(|_| Errno::MFILE)?);
        sys::place(&sync, SYNC)?;
        sys::place(&release, RELEASE)
    };
    kept().at("place descriptors")?;
    std::mem::forget(release);
    sys::close_from(RELEASE + 1).at("close descriptors")?;
    // Before the function looks for them.
    let _pins = files::of_itself(number.unsigned_abs());
    let prepared = give_up(plan);
    let sync = sys::inherited(SYNC).at("find the launcher")?;
    if let Err(Fault { step, errno }) = prepared {
        let _ = inside::tell(&sync, &Reply::Failed { step: step.to_string(), errno: errno.raw_os_error() }, &[]);
        sys::exit_now(1);
    }
    let release = sys::inherited(RELEASE).at("find the function")?;
    if inside::tell(&sync, &Reply::Done, &[]).is_err() || rustix::io::write(&release, GO) != Ok(GO.len()) {
        sys::exit_now(1);
    }
    drop((sync, release));
    attend(plan, &awaited, number)
}

/// Gives up everything but the function's effective user.
fn give_up(plan: &Plan<'_>) -> Result<(), Fault> {
    leave_groups_and_bounds()?;
    let (own, function) = (Gid::from_raw(plan.warden), Gid::from_raw(plan.function));
    rustix::thread::set_thread_res_gid(own, function, own).at("become the warden's group")?;
    let (own, function) = (Uid::from_raw(plan.warden), Uid::from_raw(plan.function));
    rustix::thread::set_thread_res_uid(own, function, own).at("become the warden's user")?;
    drop_capabilities()?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable).at("become undumpable")?;
    // After the change of user, which clears it.
    set_parent_process_death_signal(Some(Signal::TERM)).at("tie to the launcher")?;
    if getppid() == Some(plan.launcher) { Ok(()) } else { Err(Fault::new("find the launcher", Errno::SRCH)) }
}

/// Before a change of user that is for good.
pub(super) fn leave_groups_and_bounds() -> Result<(), Fault> {
    rustix::thread::set_thread_groups(&[]).at("become of no other group")?;
    privileges::empty_bounding_set().at("empty the bounding set")?;
    rustix::thread::clear_ambient_capability_set().at("drop ambient capabilities")
}

/// After it.
pub(super) fn drop_capabilities() -> Result<(), Fault> {
    let none = CapabilitySet::empty();
    let nothing = CapabilitySets { effective: none, permitted: none, inheritable: none };
    set_capabilities(None, nothing).at("drop capabilities")?;
    set_no_new_privs(true).at("set no_new_privs")
}

/// Why a function ends.
enum End {
    /// By itself, with this raw wait status.
    Itself(i32),
    /// Because the launcher says so, or is gone.
    Killed,
    /// Because its directory holds more than it may.
    Full,
}

/// Waits for one of the ends, brings it about for all processes of the function, and ends.
fn attend(plan: &Plan<'_>, awaited: &sys::Awaited, function: i32) -> ! {
    let end = wait_for_an_end(plan, awaited, function);
    if let End::Itself(raw) = end {
        status::tell_ended(std::io::stdin(), raw);
    }
    end_all(plan.function, awaited);
    if let End::Full = end {
        tell_full(plan.tmp_bytes);
    }
    sys::exit_now(0)
}

fn wait_for_an_end(plan: &Plan<'_>, awaited: &sys::Awaited, function: i32) -> End {
    let [least, most] = LOOK_MS;
    let (mut pause, mut last, mut looked) = (least, Held::default(), Instant::now());
    loop {
        let since = u64::try_from(looked.elapsed().as_millis()).unwrap_or(u64::MAX);
        match awaited.next(pause.saturating_sub(since)) {
            Some(libc::SIGTERM) => return End::Killed,
            Some(_) => {
                while let Ok(Some((pid, raw))) = sys::wait_any_ended() {
                    if pid == function {
                        return End::Itself(raw);
                    }
                }
            }
            None => {}
        }
        // However many signals come.
        if looked.elapsed() >= Duration::from_millis(pause) {
            match room::measure(plan.tmp, plan.tmp_bytes) {
                None => return End::Full,
                Some(held) if held == last => pause = pause.saturating_mul(2).min(most),
                Some(held) => (pause, last) = (least, held),
            }
            looked = Instant::now();
        }
    }
}

/// Kills every process of the user, again and again, until none is left: the function's first may only just become it.
fn end_all(user: u32, awaited: &sys::Awaited) {
    loop {
        if sys::kill_all_of(user).is_err() {
            // Then we are not who we should be; the launcher sees to the rest.
            return;
        }
        loop {
            match sys::wait_any_ended() {
                Ok(Some(_)) | Err(Errno::INTR) => {}
                Ok(None) => break,
                Err(_) => return,
            }
        }
        let _ = awaited.next(KILL_MS);
    }
}

/// Says in the function's output why it ended, if that has room: nobody else writes to it any more.
fn tell_full(bytes: u64) {
    let text = format!("The function's directory ({TMPDIR}) holds more than {} MB: it has been ended.\n", bytes >> 20);
    let output = std::io::stdout();
    if channel::writable_within(&output, 0) == Ok(true) {
        let _ = rustix::io::write(output.as_fd(), text.as_bytes());
    }
}

/// In the function's process: waits until the warden has given everything up, does the same, and runs the program.
///
/// Until it is the function's user it dies with the warden, and from then on whoever clears up finds it.
fn become_function(plan: &Plan<'_>, released: OwnedFd, warden: Pid) -> ! {
    let tied = set_parent_process_death_signal(Some(Signal::KILL));
    if tied.is_err() || getppid() != Some(warden) {
        sys::exit_now(1);
    }
    let mut go = [0; GO.len()];
    if rustix::io::retry_on_intr(|| rustix::io::read(&released, &mut go)) != Ok(GO.len()) {
        sys::exit_now(1);
    }
    drop(released);
    let (step, error) = match prepare(plan) {
        Ok(exec) => ("execve", inside::execute(exec)),
        Err(failed) => failed,
    };
    status::tell_not_executed(&plan.ends.status, step, error);
    sys::exit_now(127)
}

fn prepare(plan: &Plan<'_>) -> Result<crate::Exec, (&'static str, Errno)> {
    for entrance in &plan.entrances {
        rustix::io::write(entrance, b"0").map_err(|errno| ("enter the control group", errno))?;
    }
    let tmp = plan.tmp.to_str().ok_or(("name the directory", Errno::ILSEQ))?;
    let (own, _pins) = files::of_itself(std::process::id());
    let shared = plan.read.iter().map(|path| path.to_path_buf());
    let read: Vec<PathBuf> = shared.chain(own).collect();
    let rules = Rules { read: &files::texts(&read), write: &[tmp], devices: &DEVICES, tcp: false, others: false };
    confine::in_child(&Confinement {
        uid: plan.function,
        gid: plan.function,
        files: &rules,
        calls: plan.calls,
        file_bytes_max: Some(plan.tmp_bytes),
    })?;
    // Only now, for this waits for the server, and whoever waits must be in reach of whoever kills.
    let mut exec = inside::arrange(&plan.ends)?;
    exec.environment.retain(|(name, _)| name != TMPDIR);
    exec.environment.push((TMPDIR.to_owned(), tmp.to_owned()));
    Ok(exec)
}
