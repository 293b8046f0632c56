//! Reads of a sandbox's control group through the files that [`Usage`] holds open.

use std::{
    fs::{File, OpenOptions},
    io,
    os::fd::{AsFd, OwnedFd},
    os::unix::fs::FileExt,
};

use super::{
    Controller, Group, Version,
    settings::{weight_file, weight_value},
};
use crate::{InUse, Rank, Usage};

/// Longest text read of one of these files; `memory.events` has about ten short lines.
const TEXT_BYTES_MAX: usize = 1_024;

impl Usage {
    /// Memory in use now: what processes have for themselves, and files in `/tmp` and memory shared by them, for which
    /// the limit has room besides.
    ///
    /// # Errors
    /// When the group is gone.
    pub fn in_use(&self) -> io::Result<InUse> {
        in_use(&text(&self.current)?)
    }

    /// The most memory that was ever in use, `/tmp` included, bytes. Where the host does not keep it (version 2 before Linux 5.19)
    /// this is what is in use now.
    ///
    /// # Errors
    /// When the group is gone.
    pub fn memory_bytes_peak(&self) -> io::Result<u64> {
        number(&text(&self.peak)?)
    }

    /// How many processes inside the kernel killed because the memory limit was reached.
    ///
    /// # Errors
    /// When the group is gone, or the host counts no kills.
    pub fn memory_kills(&self) -> io::Result<u64> {
        kills(&text(&self.events)?)
    }
}

impl Group {
    /// Opens what ranks the group; `None` before Linux 5.15 or where processor time is not controlled.
    pub fn rank(&self) -> Option<Rank> {
        let cpu = self.hierarchies.iter().find(|found| found.controllers.contains(&Controller::Cpu))?;
        let open = |file: &str| OpenOptions::new().write(true).open(cpu.directory.join(file)).ok().map(OwnedFd::from);
        Some(Rank { idle: open("cpu.idle")?, weight: open(weight_file(cpu.version))?, version: cpu.version })
    }
}

impl Rank {
    pub(crate) fn version(&self) -> Version {
        self.version
    }

    /// Has the sandbox run when others leave it time: it keeps a small share, and whoever wakes up goes before it. Its weight
    /// cannot be set then.
    ///
    /// # Errors
    /// When the group is gone.
    pub fn put_last(&self) -> io::Result<()> {
        file(&self.idle)?.write_all_at(b"1", 0)
    }

    /// Has it run as `weight` (1-10,000) says from now on: with its rank the kernel forgets the one it had.
    ///
    /// # Errors
    /// When the group is gone.
    pub fn put_back(&self, weight: u32) -> io::Result<()> {
        file(&self.idle)?.write_all_at(b"0", 0)?;
        file(&self.weight)?.write_all_at(weight_value(self.version, weight).as_bytes(), 0)
    }
}

/// A copy of the descriptor that only lends its type; the position is never used.
fn file(descriptor: &OwnedFd) -> io::Result<File> {
    descriptor.as_fd().try_clone_to_owned().map(File::from)
}

fn text(descriptor: &OwnedFd) -> io::Result<String> {
    let mut buffer = [0; TEXT_BYTES_MAX];
    let read = file(descriptor)?.read_at(&mut buffer, 0)?;
    Ok(String::from_utf8_lossy(&buffer[..read]).into_owned())
}

fn number(text: &str) -> io::Result<u64> {
    text.trim().parse().map_err(|_| io::Error::other(format!("no number in a control group: {:?}", text.trim())))
}

/// `anon` in version 2, `rss` in version 1; `shmem` in both, but for old kernels.
fn in_use(text: &str) -> io::Result<InUse> {
    let find = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let anonymous = find("anon").or_else(|| find("rss"));
    Ok(InUse {
        anonymous: number(anonymous.ok_or_else(|| io::Error::other("this host does not tell what memory is for"))?)?,
        shared: find("shmem").map_or(Ok(0), number)?,
    })
}

/// The `oom_kill` line, which `memory.events` and `memory.oom_control` write alike.
fn kills(text: &str) -> io::Result<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
    number(line.ok_or_else(|| io::Error::other("this host counts no memory kills"))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_tell_processes_from_files() {
        for (text, shared) in [
            ("anon 4096\nfile 8192\nshmem 512\nshmem_thp 7\nanon_thp 0\n", 512),
            ("cache 8192\nrss 4096\nrss_huge 0\nshmem 1024\n", 1024),
            ("cache 8192\nrss 4096\nrss_huge 0\n", 0),
        ] {
            assert_eq!(in_use(text).unwrap(), InUse { anonymous: 4096, shared }, "{text}");
        }
        assert!(in_use("cache 8192\n").is_err());
    }

    #[test]
    fn both_versions_count_kills_on_a_line_of_its_own() {
        let two = "low 0\nhigh 0\nmax 31\noom 2\noom_kill 3\noom_group_kill 1\n";
        assert_eq!(kills(two).unwrap(), 3);
        assert_eq!(kills("oom_kill_disable 0\nunder_oom 0\noom_kill 7\n").unwrap(), 7);
        assert!(kills("oom_kill_disable 0\nunder_oom 0\n").is_err());
        assert!(kills("oom_kill x\n").is_err());
    }
}
