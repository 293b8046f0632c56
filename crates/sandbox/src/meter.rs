//! Memory of a sandbox that has no control group to count it: the sum over its processes, as `/proc` tells it.
//!
//! `/proc/PID/status` and `/proc/PID/task/TID/children` may be read by everybody, also of a process that cannot be
//! dumped; a `/proc` mounted so that it shows nobody else's processes shows nothing here either.

use std::{
    fs, io,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    path::PathBuf,
};

use crate::cgroup::PROCESSES_MAX;

/// Most threads looked at: what a function may have, and a few that are just ending.
const TASKS_MAX: usize = PROCESSES_MAX as usize + 64;

/// Measures the memory of all processes that descend from one, which for a sandbox is its process 1.
pub struct Meter {
    pidfd: OwnedFd,
}

/// Memory in use, bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct InUse {
    /// What processes have for themselves.
    pub anonymous: u64,
    /// Files of `/tmp` and memory that processes share. A [`Meter`] sees what is mapped of it, and what several have
    /// mapped counts for each.
    pub shared: u64,
}

impl InUse {
    /// Of more processes than can be counted.
    const UNCOUNTED: InUse = InUse { anonymous: u64::MAX, shared: 0 };

    fn plus(self, other: InUse) -> InUse {
        InUse {
            anonymous: self.anonymous.saturating_add(other.anonymous),
            shared: self.shared.saturating_add(other.shared),
        }
    }
}

impl Meter {
    /// Of the descendants of a process.
    ///
    /// # Errors
    /// When this host does not let its memory be measured, or no more descriptors can be had.
    pub fn new(process: &impl AsFd) -> io::Result<Meter> {
        let meter = Meter { pidfd: process.as_fd().try_clone_to_owned()? };
        let first = meter.number()?;
        anonymous_and_shared(&fs::read_to_string(format!("/proc/{first}/status"))?)?;
        fs::read_to_string(format!("/proc/{first}/task/{first}/children"))?;
        Ok(meter)
    }

    /// What they have in use now. Memory that a process shares with the one it was forked from counts for both, unless
    /// that comes to more than `limit` and the host tells the share of each. With more threads than
    /// a function may have, [`u64::MAX`].
    ///
    /// # Errors
    /// When the process itself is gone.
    pub fn in_use(&self, limit: u64) -> io::Result<InUse> {
        let Some(processes) = self.descendants()? else { return Ok(InUse::UNCOUNTED) };
        let sum = |measure: fn(u32) -> io::Result<InUse>| {
            // One that cannot be read has ended meanwhile.
            processes.iter().filter_map(|process| measure(*process).ok()).fold(InUse::default(), InUse::plus)
        };
        let whole = sum(resident);
        let over = whole.anonymous.saturating_add(whole.shared) > limit;
        Ok(if over && processes.len() > 1 { sum(share) } else { whole })
    }

    /// The process's number as this process sees it, from its pidfd: never that of another which got the number later.
    fn number(&self) -> io::Result<u32> {
        let text = fs::read_to_string(format!("/proc/self/fdinfo/{}", self.pidfd.as_raw_fd()))?;
        let number = text.lines().find_map(|line| line.strip_prefix("Pid:")).map(str::trim);
        // -1 once it has been waited for, 0 where it cannot be seen.
        let number = number.and_then(|number| number.parse().ok()).filter(|number| *number > 0);
        number.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the process is not to be seen in /proc"))
    }

    /// All descendants, without the process itself; `None` when they have too many threads. Whoever loses its parent
    /// becomes a child of process 1 and is found there.
    fn descendants(&self) -> io::Result<Option<Vec<u32>>> {
        let first = self.number()?;
        let mut found = children(&fs::read_to_string(format!("/proc/{first}/task/{first}/children"))?);
        let (mut next, mut tasks) = (0, 0);
        while let Some(process) = found.get(next).copied() {
            next += 1;
            for task in threads(process) {
                tasks += 1;
                if tasks > TASKS_MAX || found.len() > TASKS_MAX {
                    return Ok(None);
                }
                found.extend(children(&fs::read_to_string(task.join("children")).unwrap_or_default()));
            }
        }
        // Somebody whose parent ended in between is met twice.
        found.sort_unstable();
        found.dedup();
        Ok(Some(found))
    }
}

/// Directories of a process's threads; none when it has ended.
fn threads(process: u32) -> impl Iterator<Item = PathBuf> {
    let directory = fs::read_dir(format!("/proc/{process}/task"));
    directory.into_iter().flatten().flatten().map(|entry| entry.path())
}

fn children(text: &str) -> Vec<u32> {
    text.split_ascii_whitespace().filter_map(|number| number.parse().ok()).collect()
}

/// All that is mapped.
fn resident(process: u32) -> io::Result<InUse> {
    anonymous_and_shared(&fs::read_to_string(format!("/proc/{process}/status"))?)
}

/// All that is mapped, each page divided by those who have it. Takes more rights and more time.
fn share(process: u32) -> io::Result<InUse> {
    let text = fs::read_to_string(format!("/proc/{process}/smaps_rollup"));
    // Since Linux 5.14.
    match text.ok().and_then(|text| Some((kib(&text, "Pss_Anon:")?, kib(&text, "Pss_Shmem:")?))) {
        Some((anonymous, shared)) => Ok(InUse { anonymous, shared }),
        None => resident(process),
    }
}

/// From the text of a `status`. A process that has ended and not been waited for has no such lines, and nothing.
fn anonymous_and_shared(text: &str) -> io::Result<InUse> {
    match (kib(text, "RssAnon:"), kib(text, "RssShmem:")) {
        (Some(anonymous), Some(shared)) => Ok(InUse { anonymous, shared }),
        _ => Err(io::Error::other("this host does not tell what memory a process has")),
    }
}

fn kib(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.trim().strip_suffix("kB")?.trim_end().parse::<u64>().ok()?.checked_mul(1_024)
}

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead, BufReader},
        process::{Command, Stdio},
    };

    use rustix::process::{Pid, PidfdFlags, pidfd_open};

    use super::*;

    #[test]
    fn a_status_tells_memory_of_its_own_and_shared() {
        let text = "Name:\tnode\nVmRSS:\t   99999 kB\nRssAnon:\t    1024 kB\nRssFile:\t 7 kB\nRssShmem:\t       2 kB\n";
        assert_eq!(anonymous_and_shared(text).unwrap(), InUse { anonymous: 1 << 20, shared: 2048 });
        for none in ["Name:\tnode\nState:\tZ (zombie)\n", "RssAnon:\t1 kB\n", "RssAnon:\tx kB\nRssShmem:\t1 kB\n"] {
            assert!(anonymous_and_shared(none).is_err(), "{none}");
        }
    }

    #[test]
    fn what_children_and_their_children_hold_is_counted_and_the_first_is_not() {
        // A shell with 8 MiB in a variable, and its fork.
        // A background process reads from nowhere unless told: the pipe of ours keeps both waiting.
        let hold = "x=$(head -c 8388608 /dev/zero | tr '\\0' x); (echo held; read y <&4) & echo held; wait";
        let mut child = Command::new("/bin/sh")
            .args(["-c", "exec 4<&0; sh -c \"$HOLD\" & wait; exit 0"])
            .env("HOLD", hold)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        for _ in 0..2 {
            assert_eq!(lines.next().unwrap().unwrap(), "held");
        }
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
        let meter = Meter::new(&pidfd_open(pid, PidfdFlags::empty()).unwrap()).unwrap();
        let held = meter.in_use(u64::MAX).unwrap().anonymous;
        let divided = meter.in_use(0).unwrap().anonymous;
        for process in meter.descendants().unwrap().unwrap() {
            let process = Pid::from_raw(i32::try_from(process).unwrap()).unwrap();
            rustix::process::kill_process(process, rustix::process::Signal::KILL).unwrap();
        }
        child.wait().unwrap();
        assert!((8 << 20..200 << 20).contains(&held), "{held}");
        assert!(divided <= held && divided >= 8 << 20, "{divided} of {held}");
        assert!(meter.in_use(0).is_err(), "it is gone");
    }
}
