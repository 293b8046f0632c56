//! Control groups, version 1, 2 and hybrid: limits of one sandbox, and one ceiling over all of them.
//!
//! [`Groups::prepare`] makes `portcullis-<launcher>/functions` below the group this process is in, in every hierarchy
//! that holds a controller of use, and [`Groups::create`] one group per sandbox below that. The ceiling keeps all
//! functions together from starving the server, which stays outside (version 1) or moves to the leaf `server` beside
//! them (version 2, where a group with controllers for its children may hold no process itself).
//!
//! Nothing here is removed by being dropped: the launcher forks, and a child that unwound would remove its parent's
//! groups. What a launcher leaves when it dies, the next one sweeps.
//!
//! Sources: Linux kernel documentation, "Control Group v2", "Memory Resource Controller" and "CFS Bandwidth Control".

mod freezer;
mod layout;
mod settings;
mod sweep;
mod usage;

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use layout::Place;
pub use layout::{Controller, Version};
use settings::{Need, Setting, settings, together};

use crate::{Freezer, Rank, SandboxId, Usage, protocol::GroupFiles};

/// Processes and threads in one sandbox. Source: AWS Lambda Developer Guide, "Lambda quotas".
pub const PROCESSES_MAX: u32 = 1_024;

/// Name of the group over all sandboxes.
const FUNCTIONS: &str = "functions";
/// Name of the leaf in which the server and the launcher are, where the host demands a leaf.
const SERVER: &str = "server";
/// Weight of the server against all functions together, of which one usual group has 100.
const SERVER_WEIGHT: u32 = 400;
/// Weight of a sandbox while it dies: about that of a small function. Nobody waits for its end, and a thousand processes
/// that die must not stand in the way of those that work.
const DYING_WEIGHT: u32 = 10;
/// Rounds of killing what is in a group: a process that forks while it is read is found in the next one.
const KILL_ROUNDS: usize = 16;

/// Limits of one group. A field that is 0 leaves that limit as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Memory of everything inside, bytes; nothing is swapped.
    pub memory_bytes: u64,
    /// Processes and threads.
    pub pids: u32,
    /// Processor time, thousandths of one core; a cap.
    pub cpu_millis: u32,
    /// Weight against other groups when cores are short, 1-10,000; 100 is usual.
    pub cpu_weight: u32,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { memory_bytes: 0, pids: PROCESSES_MAX, cpu_millis: 0, cpu_weight: 100 }
    }
}

/// A name for what belongs to this launcher and should outlive it for nobody: see [`is_of_the_dead`].
///
/// # Errors
/// When `/proc` does not tell about ourselves.
pub(crate) fn own_name() -> io::Result<String> {
    sweep::Owner::current().map(|owner| owner.to_string())
}

/// Whether a name was a launcher's that is known to be dead.
pub(crate) fn is_of_the_dead(name: &str) -> bool {
    sweep::is_of_the_dead(name)
}

/// The group over all sandboxes, in every hierarchy that is of use.
#[derive(Debug)]
pub struct Groups {
    hierarchies: Vec<Hierarchy>,
    missing: Vec<(Controller, String)>,
}

/// `portcullis-<launcher>` in one hierarchy.
#[derive(Debug)]
struct Hierarchy {
    version: Version,
    controllers: Vec<Controller>,
    directory: PathBuf,
}

impl Groups {
    /// Sweeps what dead launchers left and makes the group over all sandboxes, with a ceiling of
    /// `memory_bytes_total` (0: none) and of half of the host's process numbers.
    ///
    /// Succeeds with whatever the host gives, if that is anything: [`Groups::missing`] tells the rest. Where version 2
    /// is in use this moves the launcher and its parent to a leaf of their own.
    ///
    /// # Errors
    /// Why no controller at all can be used, and what would mend that.
    pub fn prepare(memory_bytes_total: u64) -> Result<Groups, String> {
        let read = |path: &str| fs::read_to_string(path).map_err(|error| format!("{path}: {error}"));
        let places = layout::places(&read("/proc/self/mountinfo")?, &read("/proc/self/cgroup")?, |directory| {
            fs::read_to_string(directory.join("cgroup.controllers")).unwrap_or_default()
        });
        let owner = sweep::Owner::current().map_err(|error| format!("/proc/self: {error}"))?;
        Groups::prepare_in(&places, &owner.to_string(), memory_bytes_total)
    }

    fn prepare_in(places: &[Place], name: &str, memory_bytes_total: u64) -> Result<Groups, String> {
        let mut groups = Groups { hierarchies: Vec::new(), missing: Vec::new() };
        places.iter().for_each(|place| sweep::thaw_the_dead(&place.directory));
        for place in places {
            match hierarchy(place, name, memory_bytes_total) {
                Ok(made) => groups.hierarchies.push(made),
                Err(reason) => {
                    groups.missing.extend(place.controllers.iter().map(|&controller| (controller, reason.clone())));
                }
            }
        }
        for controller in Controller::ALL {
            if groups.version(controller).is_none() && groups.missing.iter().all(|(missing, _)| *missing != controller)
            {
                groups.missing.push((controller, NOT_MOUNTED.to_owned()));
            }
        }
        match (groups.hierarchies.is_empty(), groups.missing.first()) {
            (true, Some((_, reason))) => Err(reason.clone()),
            _ => Ok(groups),
        }
    }

    /// Through which interface a controller works here; `None` when it does not.
    #[must_use]
    pub fn version(&self, controller: Controller) -> Option<Version> {
        self.hierarchies.iter().find(|hierarchy| hierarchy.controllers.contains(&controller)).map(|found| found.version)
    }

    /// Controllers that do not work here, each with the reason and what would mend it.
    #[must_use]
    pub fn missing(&self) -> &[(Controller, String)] {
        &self.missing
    }

    /// Makes the group of one sandbox.
    ///
    /// # Errors
    /// The host's, with the path it concerns; nothing is left behind then. A name that exists already is an error.
    pub fn create(&self, id: SandboxId, limits: &Limits) -> io::Result<Group> {
        let mut group = Group { hierarchies: Vec::with_capacity(self.hierarchies.len()) };
        let made = self.hierarchies.iter().try_for_each(|above| {
            let directory = above.directory.join(FUNCTIONS).join(id.to_string());
            fs::create_dir(&directory).map_err(|error| named(&error, &directory))?;
            let hierarchy = Hierarchy { version: above.version, controllers: above.controllers.clone(), directory };
            group.hierarchies.push(hierarchy);
            group.hierarchies.last().map_or(Ok(()), |hierarchy| hierarchy.apply(limits).and_then(|()| hierarchy.bind()))
        });
        match made {
            Ok(()) => Ok(group),
            Err(error) => {
                let _ = group.remove();
                Err(error)
            }
        }
    }

    /// Removes the group over all sandboxes, for a launcher that ends in good order. What is left inside is killed.
    pub fn remove(&self) {
        let until = Instant::now() + Duration::from_secs(1);
        for hierarchy in &self.hierarchies {
            sweep::clear(&hierarchy.directory.join(FUNCTIONS), until);
            // The leaf holds this very process and stays; the next start sweeps it.
            let _ = fs::remove_dir(hierarchy.directory.join(SERVER));
            let _ = fs::remove_dir(&hierarchy.directory);
        }
    }
}

const NOT_MOUNTED: &str = "no control group hierarchy holds it here; boot with cgroup v2, or in a container mount it \
                           writable (docker: --cgroupns=private with a writable /sys/fs/cgroup)";

/// Makes `portcullis-<launcher>/functions` below one place and sets the ceiling.
fn hierarchy(place: &Place, name: &str, memory_bytes_total: u64) -> Result<Hierarchy, String> {
    let directory = place.directory.join(name);
    let functions = directory.join(FUNCTIONS);
    // Whoever calls a function reads this where functions do not run, so where the groups of this host lie is left out.
    let above = format!("{}/", place.directory.display());
    let mended = |step: &str, error: &io::Error| {
        format!(
            "{step}: {}; {}",
            error.to_string().replace(&above, ""),
            mend(place.version, error, rustix::process::geteuid().is_root())
        )
    };
    // The previous launcher may have died before this one was started by the same server: an existing group of
    // the same name cannot be, for the name holds our own start time.
    fs::create_dir(&directory).map_err(|error| mended("make a control group", &error))?;
    let made = (|| {
        if place.version == Version::Two {
            move_to_leaf(place, &directory).map_err(|error| mended("move to a control group of its own", &error))?;
            enable(&place.directory, &place.controllers)
                .and_then(|()| enable(&directory, &place.controllers))
                .map_err(|error| mended("hand controllers down", &error))?;
        }
        sweep::sweep(&place.directory);
        fs::create_dir(&functions).map_err(|error| mended("make a control group", &error))?;
        if place.version == Version::Two {
            enable(&functions, &place.controllers).map_err(|error| mended("hand controllers down", &error))?;
        }
        let over_all = Hierarchy { directory: functions.clone(), ..blank(place) };
        let ceiling = Limits { memory_bytes: memory_bytes_total, pids: pids_ceiling(), ..Limits::default() };
        over_all.apply(&ceiling).map_err(|error| mended("set the limit of all functions together", &error))?;
        if place.version == Version::Two && place.controllers.contains(&Controller::Cpu) {
            let server = Limits { cpu_weight: SERVER_WEIGHT, memory_bytes: 0, pids: 0, cpu_millis: 0 };
            Hierarchy { directory: directory.join(SERVER), controllers: vec![Controller::Cpu], ..blank(place) }
                .apply(&server)
                .map_err(|error| mended("set the weight of the server", &error))?;
        }
        Ok(())
    })();
    match made {
        Ok(()) => Ok(Hierarchy { directory, ..blank(place) }),
        Err(reason) => {
            let _ = fs::remove_dir(&functions);
            if place.version == Version::Two {
                leave_leaf(place, &directory);
            }
            let _ = fs::remove_dir(directory.join(SERVER));
            let _ = fs::remove_dir(&directory);
            Err(reason)
        }
    }
}

fn blank(place: &Place) -> Hierarchy {
    Hierarchy { version: place.version, controllers: place.controllers.clone(), directory: PathBuf::new() }
}

/// Half of the process numbers and of the threads the host has, so that it can always start something itself.
fn pids_ceiling() -> u32 {
    let limit = |path: &str| fs::read_to_string(path).ok().and_then(|text| text.trim().parse::<u32>().ok());
    let of_host = [limit("/proc/sys/kernel/pid_max"), limit("/proc/sys/kernel/threads-max")];
    of_host.into_iter().flatten().min().unwrap_or(32_768) / 2
}

/// What to do about an error, in the words of who runs the host.
fn mend(version: Version, error: &io::Error, is_root: bool) -> &'static str {
    match (error.kind(), version) {
        (io::ErrorKind::PermissionDenied, _) if is_root => {
            "it is root without the capabilities that this takes: give it DAC_OVERRIDE and SYS_ADMIN"
        }
        (io::ErrorKind::PermissionDenied, Version::Two) => {
            "start it as root or with a delegated control group (systemd unit: Delegate=yes; by hand: systemd-run --user --scope \
             -p Delegate=yes portcullis)"
        }
        (io::ErrorKind::PermissionDenied, Version::One) => {
            "start it as root, or boot with cgroup version 2 and delegate a group"
        }
        (io::ErrorKind::ReadOnlyFilesystem, _) => {
            "the hierarchy is mounted read-only (docker: --cgroupns=private with a writable /sys/fs/cgroup)"
        }
        (io::ErrorKind::ResourceBusy, Version::Two) => {
            "other processes live in the same group: start it in one of its own (systemd unit: Delegate=yes; by hand: \
             systemd-run --scope -p Delegate=yes portcullis)"
        }
        _ => {
            "start it as root, or boot with cgroup version 2 and delegate a group (the kernel's documentation: Control Group v2)"
        }
    }
}

/// Makes the leaf and moves this process and its parent there, so that the group above may have controllers.
///
/// The root of the hierarchy needs no such thing: it may hold processes and controllers both. In a container whose
/// namespace begins at our group, everything in it is of the same container and moves along.
fn move_to_leaf(place: &Place, directory: &Path) -> io::Result<()> {
    let leaf = directory.join(SERVER);
    fs::create_dir(&leaf)?;
    if !place.directory.join("cgroup.type").exists() {
        return Ok(());
    }
    let procs = leaf.join("cgroup.procs");
    write_value(&procs, "0")?;
    let container = fs::read_to_string("/proc/self/cgroup").is_ok_and(|own| own.lines().any(|line| line == "0::/"));
    let others = if container { pids_in(&place.directory)? } else { vec![parent_pid()] };
    for pid in others {
        // One that ended in between is no loss; one that may not be moved shows up as a busy group at `enable`.
        let _ = write_value(&procs, &pid.to_string());
    }
    Ok(())
}

/// Moves everybody back out of the leaf that is of no use, or it would stay for as long as they live. As far as it goes: a
/// group that has handed controllers down takes nobody.
fn leave_leaf(place: &Place, directory: &Path) {
    let procs = place.directory.join("cgroup.procs");
    for pid in pids_in(&directory.join(SERVER)).unwrap_or_default() {
        let _ = write_value(&procs, &pid.to_string());
    }
}

/// The parent's number, or our own where the parent lies outside of the pid namespace.
fn parent_pid() -> u32 {
    let parent = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get());
    parent.and_then(|pid| u32::try_from(pid).ok()).unwrap_or_else(std::process::id)
}

/// Hands controllers down to the groups below `directory` (version 2).
fn enable(directory: &Path, controllers: &[Controller]) -> io::Result<()> {
    let wanted: Vec<String> = controllers
        .iter()
        .filter(|&&controller| controller != Controller::Freezer)
        .map(|controller| format!("+{controller}"))
        .collect();
    let file = directory.join("cgroup.subtree_control");
    write_value(&file, &wanted.join(" ")).map_err(|error| named(&error, &file))
}

/// The control group of one sandbox. It stays until [`Group::remove`]: see the module.
#[derive(Debug)]
pub struct Group {
    hierarchies: Vec<Hierarchy>,
}

impl Group {
    /// Opens the group in every hierarchy for a process that will enter it by itself, by writing `0` to each. The host
    /// may take milliseconds over the first (it waits until nobody looks at who is where), and then they are the
    /// process's own.
    ///
    /// # Errors
    /// The host's.
    pub fn entrances(&self) -> io::Result<Vec<OwnedFd>> {
        let open = |hierarchy: &Hierarchy| {
            let file = hierarchy.directory.join("cgroup.procs");
            OpenOptions::new().write(true).open(&file).map(OwnedFd::from).map_err(|error| named(&error, &file))
        };
        self.hierarchies.iter().map(open).collect()
    }

    /// Sets limits anew. A limit below what is in use is an error with version 1, and kills with version 2.
    ///
    /// # Errors
    /// The host's; some limits may be set then, so that the sandbox must be killed.
    pub fn set(&self, limits: &Limits) -> io::Result<()> {
        self.hierarchies.iter().try_for_each(|hierarchy| hierarchy.apply(limits))
    }

    /// Whether a cap on processor time is in force, as the host tells.
    #[must_use]
    pub fn is_capped(&self) -> bool {
        let Some(cpu) = self.hierarchies.iter().find(|found| found.controllers.contains(&Controller::Cpu)) else {
            return false;
        };
        let read = |file: &str| fs::read_to_string(cpu.directory.join(file)).unwrap_or_default();
        match cpu.version {
            Version::One => read("cpu.cfs_quota_us").trim().parse::<u64>().is_ok(),
            Version::Two => read("cpu.max").split_whitespace().next().is_some_and(|quota| quota.parse::<u64>().is_ok()),
        }
    }

    /// Opens what the server is given of a group: which files there are, and the files in the order of [`GroupFiles`].
    ///
    /// # Errors
    /// When one that is there cannot be opened.
    pub fn files(&self) -> io::Result<(GroupFiles, Vec<OwnedFd>)> {
        let (usage, rank, freezer) = (self.usage()?, self.rank(), self.freezer());
        let told = GroupFiles {
            usage: usage.is_some(),
            rank: rank.as_ref().map(Rank::version),
            freezer: freezer.as_ref().map(Freezer::version),
        };
        let mut files = Vec::new();
        files.extend(usage.into_iter().flat_map(|usage| [usage.current, usage.peak, usage.events]));
        files.extend(rank.into_iter().flat_map(|rank| [rank.idle, rank.weight]));
        files.extend(freezer.map(|freezer| freezer.state));
        Ok((told, files))
    }

    /// Opens what tells of memory; `None` where memory is not counted.
    ///
    /// # Errors
    /// When a file cannot be opened.
    pub fn usage(&self) -> io::Result<Option<Usage>> {
        let Some(memory) = self.hierarchies.iter().find(|found| found.controllers.contains(&Controller::Memory)) else {
            return Ok(None);
        };
        let open = |file: &str| File::open(memory.directory.join(file)).map(OwnedFd::from);
        Ok(Some(match memory.version {
            Version::One => Usage {
                current: open("memory.stat")?,
                peak: open("memory.max_usage_in_bytes")?,
                events: open("memory.oom_control")?,
            },
            Version::Two => Usage {
                current: open("memory.stat")?,
                // Before Linux 5.19 no peak is kept.
                peak: open("memory.peak").or_else(|_| open("memory.current"))?,
                events: open("memory.events")?,
            },
        }))
    }

    /// Stops everything inside, or lets it run on. Without a freezer this does nothing.
    ///
    /// # Errors
    /// The host's.
    pub fn freeze(&self, frozen: bool) -> io::Result<()> {
        let Some(found) = self.hierarchies.iter().find(|found| found.controllers.contains(&Controller::Freezer)) else {
            return Ok(());
        };
        write_value(&found.directory.join(freezer::file(found.version)), freezer::word(found.version, frozen))
    }

    /// Lets what has been sent a signal to end by here do so: the frozen hear of none, but of `SIGKILL` with version 2. To be
    /// called after each such signal, for it may have been frozen since; the first time it is hastened as well.
    pub fn let_die(&self, first: bool) {
        if first {
            self.hasten();
        }
        let _ = self.freeze(false);
    }

    /// The directory for `CLONE_INTO_CGROUP`, where one hierarchy (version 2) holds everything.
    ///
    /// # Errors
    /// When the directory cannot be opened.
    pub fn clone_into(&self) -> io::Result<Option<OwnedFd>> {
        match self.hierarchies.as_slice() {
            [only] if only.version == Version::Two => File::open(&only.directory).map(OwnedFd::from).map(Some),
            _ => Ok(None),
        }
    }

    /// Gives what is to die here a share of the processor that does not keep it from dying: no cap any more, and a weight. As
    /// far as it goes: without it dying merely takes longer.
    fn hasten(&self) {
        let limits = Limits { memory_bytes: 0, pids: 0, cpu_millis: 0, cpu_weight: DYING_WEIGHT };
        for hierarchy in self.hierarchies.iter().filter(|found| found.controllers.contains(&Controller::Cpu)) {
            // Where it goes after all others it has no weight.
            let _ = write_value(&hierarchy.directory.join("cpu.idle"), "0");
            let _ = hierarchy.apply(&limits);
            let _ = match hierarchy.version {
                Version::One => write_value(&hierarchy.directory.join("cpu.cfs_quota_us"), "-1"),
                Version::Two => write_value(&hierarchy.directory.join("cpu.max"), "max"),
            };
        }
    }

    /// Kills everything inside, without waiting for it to be gone.
    pub fn kill(&self) {
        // Version 1 has no kill of its own: stopped first, nothing can fork away while it is read.
        let stopped = self.freeze(true).is_ok();
        for hierarchy in &self.hierarchies {
            kill_all_in(&hierarchy.directory);
        }
        if stopped {
            let _ = self.freeze(false);
        }
    }

    /// Whether no process is left inside.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.hierarchies.iter().all(|hierarchy| pids_in(&hierarchy.directory).map_or(true, |pids| pids.is_empty()))
    }

    /// Removes the group. May be called again after an error.
    ///
    /// # Errors
    /// `ResourceBusy` while something is still inside.
    pub fn remove(&self) -> io::Result<()> {
        let mut outcome = Ok(());
        for hierarchy in &self.hierarchies {
            match fs::remove_dir(&hierarchy.directory) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    outcome = Err(named(&error, &hierarchy.directory));
                }
                _ => {}
            }
        }
        outcome
    }
}

impl Hierarchy {
    fn apply(&self, limits: &Limits) -> io::Result<()> {
        for &controller in &self.controllers {
            for setting in settings(self.version, controller, limits) {
                self.write(&setting).map_err(|error| named(&error, &self.directory.join(setting.file)))?;
            }
        }
        Ok(())
    }

    /// Makes what is in the group die together.
    fn bind(&self) -> io::Result<()> {
        let settings = self.controllers.iter().filter_map(|&controller| together(self.version, controller));
        settings.into_iter().try_for_each(|setting| {
            self.write(&setting).map_err(|error| named(&error, &self.directory.join(setting.file)))
        })
    }

    fn write(&self, setting: &Setting) -> io::Result<()> {
        let file = self.directory.join(setting.file);
        let refused = rustix::io::Errno::INVAL.raw_os_error();
        match write_value(&file, &setting.value) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && setting.need != Need::Required => Ok(()),
            Err(error) if setting.need == Need::UnlessTighterAbove && error.raw_os_error() == Some(refused) => Ok(()),
            // Memory may not exceed memory and swap together: to be raised, that goes first.
            Err(error) if setting.file == "memory.limit_in_bytes" && error.raw_os_error() == Some(refused) => {
                write_value(&self.directory.join("memory.memsw.limit_in_bytes"), &setting.value)?;
                write_value(&file, &setting.value)
            }
            other => other,
        }
    }
}

/// Sends `SIGKILL` to every process in a group, by the group's own means where it has any.
fn kill_all_in(directory: &Path) {
    if write_value(&directory.join("cgroup.kill"), "1").is_ok() {
        return;
    }
    for _ in 0..KILL_ROUNDS {
        let pids = pids_in(directory).unwrap_or_default();
        if pids.is_empty() {
            return;
        }
        // A signal to 0 would go to ourselves, and 1 is never a sandbox's: in a container it is the server.
        for pid in pids.into_iter().filter(|&pid| pid > 1) {
            if let Some(pid) = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw) {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
    }
}

/// The processes in a group. One that our pid namespace does not show reads as 0.
fn pids_in(directory: &Path) -> io::Result<Vec<u32>> {
    let text = fs::read_to_string(directory.join("cgroup.procs"))?;
    Ok(text.lines().filter_map(|line| line.trim().parse().ok()).collect())
}

/// One write of a whole value into a file that must exist: the kernel reads each write as one command.
fn write_value(file: &Path, value: &str) -> io::Result<()> {
    OpenOptions::new().write(true).open(file)?.write_all(value.as_bytes())
}

fn named(error: &io::Error, path: &Path) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests;
