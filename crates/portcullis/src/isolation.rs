//! Whether functions run here, and what keeps them apart.
//!
//! [`begin`] comes first in a process that serves, while it has one thread: it starts the launcher, which keeps the
//! privileges, and gives up this process's own. The launcher then tries what this host can do while the store is
//! opened; [`Begun::settle`] waits for that and decides. Where the host gives less than the settings ask for, functions
//! do not run and say why; everything else is served.

use std::{
    fs, io,
    os::{
        fd::OwnedFd,
        unix::fs::{DirBuilderExt as _, MetadataExt as _},
    },
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, anyhow};
use environment::{
    Isolated,
    launch::{Launch, Plain, Refusing},
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use sandbox::{Launcher, Mechanism, Report, Tier};
use serde::{Deserialize, Serialize};

use crate::settings::{Isolation, MemoryLimit, Settings};

/// This very program, whatever became of its file.
const SELF: &str = "/proc/self/exe";
/// Where functions are unpacked, below the data directory.
const FUNCTIONS: &str = "functions";
/// Ports that need a privilege to listen on.
const PRIVILEGED_PORTS: std::ops::Range<u16> = 1..1024;

/// What somebody should know who accepts tier B.
const WEAK: &str = "functions are isolated weakly (--isolation weak, tier B): by users of their own, Landlock and a list of \
                    system calls, without namespaces. They see the name and the numbers of this host, have no network, \
                    custom runtimes do not run, and a hole in the kernel's checks of files would show them the host's";

/// Both values of [`Functions::status`].
const AVAILABLE: &str = "available";
const UNAVAILABLE: &str = "unavailable";

/// What health and status tell of functions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Functions {
    /// `available`, or `unavailable`: then Invoke is refused, with `reason`.
    pub status: String,
    /// `A1`, `A2`, `B` or `C`; what they mean stands in docs/isolation.md.
    pub tier: String,
    /// Why they do not run, and what would change it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<String>,
    /// What this host does not give.
    pub missing: Vec<Missing>,
}

/// One mechanism that does not work here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missing {
    pub mechanism: String,
    /// Why, and what would mend it.
    pub reason: String,
}

impl Functions {
    /// As one line for people.
    #[must_use]
    pub fn summary(&self) -> String {
        match &self.reason {
            Some(reason) => format!("unavailable: {reason}"),
            None if self.tier == Tier::C.to_string() => "not isolated (tier C)".to_owned(),
            None if self.tier == Tier::B.to_string() => {
                "weakly isolated (tier B: no namespaces, no root and no network of their own)".to_owned()
            }
            None if self.missing.is_empty() => format!("isolated (tier {})", self.tier),
            None => {
                let missing: Vec<&str> = self.missing.iter().map(|missing| missing.mechanism.as_str()).collect();
                format!("isolated (tier {}, without {})", self.tier, missing.join(", "))
            }
        }
    }

    /// What is missing, each reason once: the mechanisms, separated by commas, and the reason.
    #[must_use]
    pub fn missing_by_reason(&self) -> Vec<(String, &str)> {
        by_reason(self.missing.iter().map(|missing| (missing.mechanism.clone(), missing.reason.as_str())))
    }
}

/// Puts together what is missing for one reason; limits mostly are.
fn by_reason<'a>(missing: impl Iterator<Item = (String, &'a str)>) -> Vec<(String, &'a str)> {
    let mut reasons: Vec<(String, &str)> = Vec::new();
    for (mechanism, reason) in missing {
        match reasons.iter_mut().find(|(_, known)| *known == reason) {
            Some((mechanisms, _)) => {
                mechanisms.push_str(", ");
                mechanisms.push_str(&mechanism);
            }
            None => reasons.push((mechanism, reason)),
        }
    }
    reasons
}

/// What is told of functions, and what it depends on.
pub struct Watched {
    functions: Functions,
    /// Readable once the launcher has ended.
    launcher: Option<OwnedFd>,
}

impl Watched {
    /// As it is now. A privileged launcher that has ended is not started again, for this server has no privilege to
    /// give to another.
    #[must_use]
    pub fn now(&self) -> Functions {
        let mut now = self.functions.clone();
        if self.irreplaceable().is_some_and(has_ended) {
            UNAVAILABLE.clone_into(&mut now.status);
            now.reason = Some("the launcher of sandboxes has ended. Restart the server.".to_owned());
        }
        now
    }

    /// A descriptor that becomes readable when functions have ceased to run for good, if that can be.
    ///
    /// # Errors
    /// When no more descriptors can be had.
    pub fn lost(&self) -> std::io::Result<Option<OwnedFd>> {
        self.irreplaceable().map(OwnedFd::try_clone).transpose()
    }

    /// The launcher, where there cannot be another.
    fn irreplaceable(&self) -> Option<&OwnedFd> {
        let runs = self.functions.reason.is_none();
        let privileged = [Tier::A1, Tier::B].iter().any(|tier| self.functions.tier == tier.to_string());
        self.launcher.as_ref().filter(|_| runs && privileged)
    }
}

fn has_ended(launcher: &OwnedFd) -> bool {
    let mut polled = [PollFd::new(launcher, PollFlags::IN)];
    poll(&mut polled, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).is_ok_and(|ready| ready > 0)
}

/// A launcher that has been started, and privileges given up.
pub struct Begun {
    /// Below it functions are unpacked; exists.
    directory: PathBuf,
    /// What sandboxes are laid out with.
    options: sandbox::Options,
    /// `None` where nothing is to be isolated.
    launcher: Option<Result<Arc<Launcher>, String>>,
}

/// What is decided.
pub struct Settled {
    /// Where functions are unpacked.
    pub directory: PathBuf,
    /// How they are started.
    pub launch: Arc<dyn Launch>,
    /// What is told of it.
    pub functions: Watched,
    /// What was tried, as a table for people; nothing where nothing was tried.
    pub table: Option<String>,
    /// What somebody could come to regret.
    pub warnings: Vec<String>,
}

/// Starts the launcher and gives up every privilege of this process, but to listen below port 1024 if that is asked
/// for. To be called before anything starts a thread.
///
/// # Errors
/// A sentence for the user: the directory cannot be made, or a privilege is left.
pub fn begin(settings: &Settings) -> anyhow::Result<Begun> {
    let mut directory = make_directory(&settings.data_dir)?;
    let weak = settings.isolation == Isolation::Weak;
    if weak {
        directory = make_open_directory(&settings.data_dir)?;
    }
    let options = sandbox::Options {
        runtime_dir: directory.join(environment::RUNTIME_DIR),
        memory_bytes_total: settings.functions_memory_mb.saturating_mul(1 << 20),
        weak_dir: weak.then(|| directory.clone()),
        ..sandbox::Options::default()
    };
    let launcher = (settings.isolation != Isolation::None).then(|| {
        let started = Launcher::start(Path::new(SELF), &options);
        started.map(Arc::new).map_err(|error| format!("the launcher of sandboxes cannot be started: {error}"))
    });
    sandbox::privileges::drop_all(PRIVILEGED_PORTS.contains(&settings.listen.port()))
        .context("this process cannot give up its privileges, and will not serve with them")?;
    if settings.isolation != Isolation::None && rustix::process::geteuid().is_root() {
        confine_writes(&settings.data_dir).context("this process cannot give up writing to the rest of this host")?;
    }
    Ok(Begun { directory, options, launcher })
}

/// Lets this process write below its data directory and where temporary files go, and nowhere else.
///
/// For root alone: without capabilities it still owns most files of a host. An ordinary user owns no such, and a launcher
/// started again by a process confined so could mount nothing.
fn confine_writes(data_dir: &Path) -> io::Result<()> {
    let directories = [data_dir.canonicalize()?, std::env::temp_dir()];
    let existing: Vec<&Path> =
        directories.iter().map(PathBuf::as_path).filter(|directory| directory.is_dir()).collect();
    match sandbox::privileges::confine_writes(&existing) {
        // A kernel without Landlock.
        Err(error) if error.kind() == io::ErrorKind::Unsupported => Ok(()),
        confined => confined.map(drop),
    }
}

/// Makes the data directory, for its owner alone, and in it the directory of functions.
fn make_directory(data_dir: &Path) -> anyhow::Result<PathBuf> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(data_dir);
    made.and_then(|()| environment::prepare(&data_dir.join(FUNCTIONS))).map_err(|error| {
        anyhow!(
            "the data directory {} cannot be used: {error}. Check that it can be made and written by this user, or \
             choose another --data-dir",
            data_dir.display()
        )
    })
}

/// Makes the directory of functions that look at their code where it lies, as users of their own: where temporary files
/// go, since they must pass through all that is above it, which nobody may in the data directory. It is the same at each
/// start.
fn make_open_directory(data_dir: &Path) -> anyhow::Result<PathBuf> {
    let make = || {
        let data = fs::metadata(data_dir)?;
        let directory = std::env::temp_dir().join(format!("portcullis-functions-{}-{}", data.dev(), data.ino()));
        match fs::DirBuilder::new().mode(0o711).create(&directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        // In a place where anybody may make anything.
        let found = fs::symlink_metadata(&directory)?;
        if !found.is_dir() || found.uid() != rustix::process::geteuid().as_raw() {
            return Err(io::Error::other(format!("{} is somebody else's; remove it", directory.display())));
        }
        environment::prepare_open(&directory)
    };
    make().map_err(|error| {
        anyhow!(
            "with --isolation weak functions are unpacked below {}, which cannot be used: {error}. Set TMPDIR to a \
             directory that everybody may pass through",
            std::env::temp_dir().display()
        )
    })
}

/// What to do where the data belongs to somebody else than root, who cannot overlook that once it has no privileges: a
/// sentence to follow another, or nothing.
#[must_use]
pub fn whose_data(data_dir: &Path) -> String {
    let is_root = rustix::process::geteuid().is_root();
    match fs::metadata(data_dir) {
        Ok(found) if is_root && found.uid() != 0 => format!(
            ". It belongs to user {}, and this server is root, which gives up its privileges at start: `chown -R root \
             {}`, or start it as that user",
            found.uid(),
            data_dir.display()
        ),
        _ => String::new(),
    }
}

impl Begun {
    /// Waits for what the host can do, and decides.
    #[must_use]
    pub fn settle(self, settings: &Settings) -> Settled {
        let Self { directory, options, launcher } = self;
        let (launcher, report) = match launcher {
            None => {
                let warning = "functions run unisolated (--isolation none), as processes of this user with its files \
                               and network: run only code you trust";
                return Settled {
                    directory,
                    launch: Arc::new(Plain),
                    functions: unwatched(functions(None, &Report { tier: Tier::C, probes: Vec::new() })),
                    table: None,
                    warnings: vec![warning.to_owned()],
                };
            }
            Some(Err(error)) => return refusing(directory, error, &Report { tier: Tier::C, probes: Vec::new() }, None),
            Some(Ok(launcher)) => {
                let report = launcher.report().clone();
                (launcher, report)
            }
        };
        let table = Some(report.to_string());
        if let Err(reason) = suffices(&report, settings.isolation, settings.memory_limit) {
            return refusing(directory, reason, &report, table);
        }
        if !report.works(Mechanism::MemoryLimit)
            && let Err(error) = launcher.watch().and_then(|launcher| sandbox::Meter::new(&launcher))
        {
            let reason = format!(
                "nothing limits their memory, and it cannot be looked at either: {error}. /proc must show this server the \
                 processes of others (no hidepid), and which are whose children (CONFIG_PROC_CHILDREN)."
            );
            return refusing(directory, reason, &report, table);
        }
        let mut warnings = Vec::new();
        if !report.works(Mechanism::MemoryLimit) {
            let others = [Mechanism::ProcessLimit, Mechanism::CpuLimit].into_iter();
            let others: Vec<String> =
                others.filter(|limit| !report.works(*limit)).map(|limit| format!(", and no {limit}")).collect();
            warnings.push(format!(
                "functions have no memory limit but being looked at (--memory-limit polling){}: one that leaks fast \
                 takes memory from everything on this host",
                others.concat()
            ));
        }
        if report.tier == Tier::B {
            warnings.push(WEAK.to_owned());
        } else if settings.isolation == Isolation::Weak {
            let tier = report.tier;
            warnings
                .push(format!("--isolation weak has no effect on this host, which isolates functions in tier {tier}"));
        }
        let told = Watched { functions: functions(None, &report), launcher: launcher.watch().ok() };
        Settled {
            directory,
            launch: Arc::new(Isolated::new(launcher).restartable(PathBuf::from(SELF), options)),
            functions: told,
            table,
            warnings,
        }
    }
}

fn refusing(directory: PathBuf, reason: String, report: &Report, table: Option<String>) -> Settled {
    Settled {
        directory,
        launch: Arc::new(Refusing { why: format!("Functions do not run on this server: {reason}") }),
        warnings: vec![format!("functions do not run here: {reason} Everything else is served")],
        functions: unwatched(functions(Some(reason), report)),
        table,
    }
}

fn unwatched(functions: Functions) -> Watched {
    Watched { functions, launcher: None }
}

fn functions(reason: Option<String>, report: &Report) -> Functions {
    let missing = report.missing().into_iter();
    Functions {
        status: if reason.is_none() { AVAILABLE } else { UNAVAILABLE }.to_owned(),
        tier: report.tier.to_string(),
        reason,
        missing: missing
            .map(|(mechanism, reason)| Missing { mechanism: mechanism.to_string(), reason: reason.to_owned() })
            .collect(),
    }
}

/// Whether what a host gives is what was asked for.
///
/// # Errors
/// Sentences that name what is missing, and what would change that.
fn suffices(report: &Report, isolation: Isolation, memory_limit: MemoryLimit) -> Result<(), String> {
    let told = |mechanisms: &[Mechanism]| {
        let missing = report.missing().into_iter().filter(|(mechanism, _)| mechanisms.contains(mechanism));
        by_reason(missing.map(|(mechanism, reason)| (mechanism.to_string(), reason)))
            .iter()
            .map(|(mechanisms, reason)| format!("{mechanisms}: {}.", reason.trim_end_matches('.')))
            .collect::<Vec<_>>()
            .join(" ")
    };
    let limits = [Mechanism::MemoryLimit, Mechanism::ProcessLimit, Mechanism::CpuLimit];
    let apart = |mechanism: &Mechanism| !limits.contains(mechanism) && *mechanism != Mechanism::Freezer;
    let apart: Vec<Mechanism> = Mechanism::ALL.into_iter().filter(apart).collect();
    let least = if isolation == Isolation::Weak { Tier::B } else { Tier::A2 };
    if report.tier < least {
        let weaker = match report.tier {
            Tier::B => {
                " --isolation weak accepts tier B: users of their own, Landlock and a list of system calls, no network."
            }
            _ => "",
        };
        return Err(format!(
            "this host isolates functions in tier {} only, and tier {least} or better is required. Missing: {}{weaker}",
            report.tier,
            told(&apart),
        ));
    }
    if !report.works(Mechanism::MemoryLimit) && memory_limit == MemoryLimit::Required {
        return Err(format!(
            "nothing limits their memory. Missing: {} Looking at it every 50 ms instead is accepted with --memory-limit \
             polling.",
            told(&limits),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(privileged: bool, missing: &[Mechanism]) -> Report {
        let outcome = |mechanism: Mechanism| {
            let works = !missing.contains(&mechanism);
            (mechanism, if works { Ok("here".to_owned()) } else { Err("forbidden; allow it".to_owned()) })
        };
        Report::new(privileged, Mechanism::ALL.into_iter().map(outcome).collect())
    }

    #[test]
    fn functions_run_where_the_host_gives_what_the_settings_ask_for() {
        use Isolation::{Required, Weak};
        use MemoryLimit::Polling;
        let (whole, rootless) = (report(true, &[]), report(false, &[]));
        let unlimited = report(true, &[Mechanism::MemoryLimit]);
        let unfrozen = report(true, &[Mechanism::Freezer]);
        let weak = report(true, &[Mechanism::Namespaces]);
        let weak_unlimited = report(true, &[Mechanism::Namespaces, Mechanism::MemoryLimit]);
        let nothing = report(false, &[Mechanism::Namespaces, Mechanism::Landlock]);
        let strict = MemoryLimit::Required;
        for (report, isolation, memory, runs) in [
            (&whole, Required, strict, true),
            (&rootless, Required, strict, true),
            (&unfrozen, Required, strict, true),
            (&unlimited, Required, strict, false),
            (&unlimited, Required, Polling, true),
            (&weak, Required, strict, false),
            (&weak, Required, Polling, false),
            (&weak, Weak, strict, true),
            (&weak_unlimited, Weak, strict, false),
            (&weak_unlimited, Weak, Polling, true),
            (&whole, Weak, strict, true),
            (&nothing, Weak, Polling, false),
            (&nothing, Required, Polling, false),
        ] {
            let found = suffices(report, isolation, memory);
            assert_eq!(found.is_ok(), runs, "{} {isolation:?} {memory:?}: {found:?}", report.tier);
        }
    }

    #[test]
    fn a_refusal_names_what_is_missing_and_what_would_change_it() {
        let why = suffices(&report(true, &[Mechanism::Namespaces]), Isolation::Required, MemoryLimit::Required);
        let why = why.unwrap_err();
        for needle in
            ["tier B only", "tier A2 or better", "namespaces: forbidden; allow it.", "--isolation weak accepts"]
        {
            assert!(why.contains(needle), "{needle}: {why}");
        }
        let nothing = report(true, &[Mechanism::Namespaces, Mechanism::Landlock]);
        let why = suffices(&nothing, Isolation::Weak, MemoryLimit::Required).unwrap_err();
        assert!(why.contains("tier C only, and tier B or better") && !why.contains("--isolation weak"), "{why}");
        let limits = [Mechanism::MemoryLimit, Mechanism::CpuLimit];
        let why = suffices(&report(true, &limits), Isolation::Required, MemoryLimit::Required);
        let why = why.unwrap_err();
        assert!(why.contains("Missing: memory limit, cpu limit: forbidden; allow it."), "{why}");
        let why = suffices(&report(true, &[Mechanism::MemoryLimit]), Isolation::Required, MemoryLimit::Required);
        let why = why.unwrap_err();
        assert!(why.contains("memory limit: forbidden") && why.contains("--memory-limit polling"), "{why}");
    }

    #[test]
    fn status_reads_back() {
        let told = functions(Some("because".into()), &report(true, &[Mechanism::Network]));
        let text = serde_json::to_string(&told).unwrap();
        assert_eq!(serde_json::from_str::<Functions>(&text).unwrap(), told);
        assert_eq!(told.status, "unavailable");
        assert_eq!(told.summary(), "unavailable: because");
        assert_eq!(functions(None, &report(true, &[])).summary(), "isolated (tier A1)");
        let weak = functions(None, &report(true, &[Mechanism::Namespaces, Mechanism::OwnRoot, Mechanism::Network]));
        assert!(weak.summary().starts_with("weakly isolated (tier B"), "{}", weak.summary());
        let unlimited = functions(None, &report(false, &[Mechanism::ProcessLimit, Mechanism::CpuLimit]));
        assert_eq!(unlimited.summary(), "isolated (tier A2, without process limit, cpu limit)");
        assert_eq!(unlimited.missing_by_reason(), [("process limit, cpu limit".to_owned(), "forbidden; allow it")]);
    }
}
