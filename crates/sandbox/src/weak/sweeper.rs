//! Makes sure that a user has no process and no file left, as that user.

use std::{os::fd::AsFd, path::Path};

use rustix::{
    io::Errno,
    process::{Resource, Rlimit, WaitId, WaitIdOptions, setrlimit, waitid},
    thread::{Gid, Uid},
};

use super::{
    room,
    warden::{drop_capabilities, leave_groups_and_bounds},
};
use crate::{
    fault::{At, Fault},
    sys,
};

/// Processes that may exist when one asks whether it is alone: itself, and the one it makes to find out.
const ITSELF_AND_ONE: u64 = 2;

/// In a child of the launcher: kills all of a user's processes if `kills`, empties the directory, finds out whether the
/// user has any process left, and ends, with 0 if all that came out well.
pub(super) fn become_sweeper(user: u32, directory: Option<&Path>, kills: bool) -> ! {
    sys::exit_now(match sweep(user, directory, kills) {
        Ok(()) => 0,
        Err(fault) => fault.errno.raw_os_error(),
    })
}

fn sweep(user: u32, directory: Option<&Path>, kills: bool) -> Result<(), Fault> {
    leave_groups_and_bounds()?;
    let group = Gid::from_raw(user);
    rustix::thread::set_thread_res_gid(group, group, group).at("become the group")?;
    let number = Uid::from_raw(user);
    rustix::thread::set_thread_res_uid(number, number, number).at("become the user")?;
    drop_capabilities()?;
    if kills {
        sys::kill_all_of(user).at("kill")?;
    }
    directory.map_or(Ok(()), room::wipe).at("empty the directory")?;
    if kills { check_alone().at("be alone") } else { Ok(()) }
}

/// Whether this is the only process of its user, of which the host lets there be one more then. That also counts those
/// that `/proc` hides, and the dead that nobody has waited for.
///
/// # Errors
/// `EAGAIN` when it is not.
fn check_alone() -> Result<(), Errno> {
    setrlimit(Resource::Nproc, Rlimit { current: Some(ITSELF_AND_ONE), maximum: Some(ITSELF_AND_ONE) })?;
    match sys::fork()? {
        sys::Side::Child => sys::exit_now(0),
        sys::Side::Parent { pidfd, .. } => waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED).map(drop),
    }
}
