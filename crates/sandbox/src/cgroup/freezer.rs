//! What stops a group and lets it run on: through a path by the launcher, through an open file by whoever was given it.
//!
//! Sources: Linux kernel documentation, "Cgroup Freezer" (version 1) and "Control Group v2", `cgroup.freeze`.

use std::{
    fs::{File, OpenOptions},
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::FileExt,
    },
};

use super::{Controller, Group, Version};
use crate::Freezer;

pub(super) fn file(version: Version) -> &'static str {
    match version {
        Version::One => "freezer.state",
        Version::Two => "cgroup.freeze",
    }
}

pub(super) fn word(version: Version, frozen: bool) -> &'static str {
    match (version, frozen) {
        (Version::One, true) => "FROZEN",
        (Version::One, false) => "THAWED",
        (Version::Two, true) => "1",
        (Version::Two, false) => "0",
    }
}

impl Group {
    /// Opens what stops the group; `None` where nothing does.
    pub fn freezer(&self) -> Option<Freezer> {
        let found = self.hierarchies.iter().find(|found| found.controllers.contains(&Controller::Freezer))?;
        let state = OpenOptions::new().write(true).open(found.directory.join(file(found.version))).ok()?;
        Some(Freezer::new(state.into(), found.version))
    }
}

impl Freezer {
    pub(crate) fn new(state: OwnedFd, version: Version) -> Freezer {
        Freezer { state, version }
    }

    pub(crate) fn version(&self) -> Version {
        self.version
    }

    /// Stops everything inside, soon after this returns, or lets it run on at once. The same again changes nothing.
    /// Takes some 100 microseconds, and longer while the host makes or changes other groups.
    ///
    /// # Errors
    /// When the group is gone.
    pub fn set(&self, frozen: bool) -> io::Result<()> {
        // A copy of the descriptor that only lends its type.
        let file = File::from(self.state.as_fd().try_clone_to_owned()?);
        file.write_all_at(word(self.version, frozen).as_bytes(), 0)
    }
}
