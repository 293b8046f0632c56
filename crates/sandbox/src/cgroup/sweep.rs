//! Whose group is whose: names that tell a live launcher's groups from what a dead one left, and their removal.

use std::{
    fmt, fs, io,
    path::Path,
    time::{Duration, Instant},
};

/// How long the processes of a dead launcher's sandboxes may take to die before they are left for the next start.
const SWEEP_WAIT: Duration = Duration::from_secs(2);

/// The launcher a group belongs to. Its text is the group's name.
///
/// A process number alone is used again sooner or later, and means another process in another pid namespace; with
/// the start time and the namespace it names one process for as long as the host runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Owner {
    pid_namespace: u64,
    pid: u32,
    start_ticks: u64,
}

impl Owner {
    /// This process.
    ///
    /// # Errors
    /// When `/proc` does not tell about ourselves.
    pub fn current() -> io::Result<Owner> {
        let pid = std::process::id();
        let start_ticks = start_ticks(pid).ok_or_else(|| io::Error::other("/proc does not tell our start time"))?;
        Ok(Owner { pid_namespace: pid_namespace()?, pid, start_ticks })
    }

    /// Reads a name back; `None` when it is not one of ours.
    pub fn parse(name: &str) -> Option<Owner> {
        let mut parts = name.strip_prefix("portcullis-")?.split('-');
        let owner = Owner {
            pid_namespace: parts.next()?.parse().ok()?,
            pid: parts.next()?.parse().ok()?,
            start_ticks: parts.next()?.parse().ok()?,
        };
        (parts.next().is_none() && owner.to_string() == name).then_some(owner)
    }

    /// Whether this launcher is known to be dead. One of another pid namespace never is: we cannot see it.
    fn is_dead(self, own_namespace: u64) -> bool {
        self.pid_namespace == own_namespace && start_ticks(self.pid) != Some(self.start_ticks)
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "portcullis-{}-{}-{}", self.pid_namespace, self.pid, self.start_ticks)
    }
}

/// Number of the pid namespace, as in `pid:[4026531836]`.
fn pid_namespace() -> io::Result<u64> {
    let link = fs::read_link("/proc/self/ns/pid")?;
    let text = link.to_string_lossy();
    text.trim_start_matches("pid:[")
        .trim_end_matches(']')
        .parse()
        .map_err(|_| io::Error::other(format!("unexpected name of the pid namespace: {text}")))
}

/// When a process started, in ticks since the host did; `None` when there is no such process.
fn start_ticks(pid: u32) -> Option<u64> {
    start_ticks_in(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// Field 22 of `/proc/<pid>/stat`. The second field is the program's name in brackets and may hold anything,
/// brackets and blanks too, so counting begins behind the last bracket.
fn start_ticks_in(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(19)?.parse().ok()
}

/// Whether a name is one of ours and its launcher known to be dead.
pub(super) fn is_of_the_dead(name: &str) -> bool {
    Owner::parse(name).zip(pid_namespace().ok()).is_some_and(|(owner, own)| owner.is_dead(own))
}

/// Removes what dead launchers left below `base`, killing what still runs in their sandboxes.
///
/// Groups of a live launcher, and of one that another pid namespace hides, are not touched. What cannot be removed
/// within a bounded time stays for the next start; nothing depends on it.
pub(super) fn sweep(base: &Path) {
    let (Ok(own_namespace), Ok(entries)) = (pid_namespace(), fs::read_dir(base)) else { return };
    let until = Instant::now() + SWEEP_WAIT;
    for entry in entries.flatten() {
        let Some(owner) = entry.file_name().to_str().and_then(Owner::parse) else { continue };
        if owner.is_dead(own_namespace) {
            let group = entry.path();
            clear(&group.join(super::FUNCTIONS), until);
            // Processes in the server's leaf are a server's, perhaps our own parent's: they are never killed.
            let _ = fs::remove_dir(group.join(super::SERVER));
            let _ = fs::remove_dir(group);
        }
    }
}

/// Lets what is frozen (version 1) run, in a hierarchy that has a freezer: it would not die, and would use up the time of all
/// others.
fn thaw(sandbox: &Path) {
    let state = sandbox.join("freezer.state");
    if state.exists() {
        let _ = fs::write(state, "THAWED");
    }
}

/// As [`sweep`] takes them, for all hierarchies before any is swept: what is frozen in one stays in the groups of the others.
pub(super) fn thaw_the_dead(base: &Path) {
    let (Ok(own_namespace), Ok(entries)) = (pid_namespace(), fs::read_dir(base)) else { return };
    for entry in entries.flatten() {
        let owner = entry.file_name().to_str().and_then(Owner::parse);
        if owner.is_some_and(|owner| owner.is_dead(own_namespace)) {
            let sandboxes = fs::read_dir(entry.path().join(super::FUNCTIONS)).into_iter().flatten().flatten();
            sandboxes.for_each(|sandbox| thaw(&sandbox.path()));
        }
    }
}

/// Kills what is in a group and in those below it, and removes them all as far as `until` allows.
pub(super) fn clear(group: &Path, until: Instant) {
    let sandboxes: Vec<_> = fs::read_dir(group)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect();
    for sandbox in &sandboxes {
        thaw(sandbox);
        super::kill_all_in(sandbox);
    }
    for sandbox in &sandboxes {
        while fs::remove_dir(sandbox).is_err_and(|error| error.kind() == io::ErrorKind::ResourceBusy) {
            if Instant::now() >= until {
                return;
            }
            super::kill_all_in(sandbox);
            std::thread::sleep(Duration::from_millis(2));
        }
    }
    let _ = fs::remove_dir(group);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_back_and_others_are_not_ours() {
        let owner = Owner::current().unwrap();
        assert_eq!(Owner::parse(&owner.to_string()), Some(owner));
        for name in [
            "portcullis",
            "portcullis-1-2",
            "portcullis-1-2-3-4",
            "portcullis-1-02-3",
            "portcullis-a-2-3",
            "x-1-2-3",
            "",
        ] {
            assert_eq!(Owner::parse(name), None, "{name}");
        }
    }

    #[test]
    fn only_a_launcher_we_could_see_is_dead() {
        let owner = Owner::current().unwrap();
        let here = owner.pid_namespace;
        assert!(!owner.is_dead(here));
        assert!(Owner { start_ticks: owner.start_ticks + 1, ..owner }.is_dead(here), "the number was used again");
        assert!(Owner { pid: u32::MAX, ..owner }.is_dead(here));
        assert!(!Owner { pid: u32::MAX, pid_namespace: here + 1, ..owner }.is_dead(here), "another namespace's");
    }

    #[test]
    fn the_start_time_is_found_behind_any_program_name() {
        let tail = "S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4242 20 21";
        assert_eq!(start_ticks_in(&format!("7 (a) b) (c) {tail}")), Some(4242));
        assert_eq!(start_ticks_in("7 (a"), None);
        assert_eq!(start_ticks_in("7 (a) S 1"), None);
    }

    #[test]
    fn a_sweep_removes_the_dead_and_leaves_the_rest() {
        let base = tempfile::tempdir().unwrap();
        let owner = Owner::current().unwrap();
        let dead = Owner { pid: u32::MAX, ..owner }.to_string();
        let hidden = Owner { pid: u32::MAX, pid_namespace: owner.pid_namespace + 1, ..owner }.to_string();
        let live = owner.to_string();
        for name in [&dead, &hidden, &live, "portcullis-x", "other"] {
            fs::create_dir_all(base.path().join(name).join("functions/17")).unwrap();
        }
        sweep(base.path());
        let mut left: Vec<String> =
            fs::read_dir(base.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        left.sort();
        let mut expected = vec![hidden, live, "portcullis-x".into(), "other".into()];
        expected.sort();
        assert_eq!(left, expected);
    }
}
