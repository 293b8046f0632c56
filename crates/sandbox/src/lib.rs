//! Isolation of execution environments: a launcher process that holds the privileges, and the sandboxes it makes.
//!
//! The server starts [`Launcher`] before it does anything else and then gives up every privilege it has
//! ([`privileges::drop_all`]). The launcher is the same program run with one argument ([`LAUNCHER_ARGUMENT`]); its
//! `main` calls [`serve`]. It has one thread, no network and no secrets: what a function is started with ([`Exec`])
//! goes from the server straight into the sandbox, over the socket that later carries the frames.
//!
//! Inside there are two processes to begin with. Process 1 is the launcher's own child: it made the sandbox, has given
//! up everything, waits, and ends when the function does, upon which the kernel kills whatever else is left. Process 2
//! becomes the function. The root is read-only: `/usr` and its kin, `/etc` as generated, certificates, five devices,
//! `/var/runtime`, `/var/task`, `/opt`, what was provided below `/var/lang`, a masked `/proc`, and a `/tmp` that can be
//! written. The network is loopback and what listens there by [`Request::ports`]. What is still told of the host is
//! what `sysinfo`, `/proc/meminfo`, `/proc/stat` and `/proc/cpuinfo` tell, and host paths in `/proc/self/mountinfo`.
//!
//! A host without namespaces (tier B) has other sandboxes, where they are asked for ([`Options::weak_dir`]): two users,
//! Landlock in the place of a root, no sockets, and in the place of process 1 a warden that ends when all else has.

use std::{
    io,
    net::TcpListener,
    os::{fd::OwnedFd, unix::net::UnixStream},
    path::PathBuf,
};

use cgroup::Version;

mod cgroup;
mod channel;
mod confine;
mod exec;
mod fault;
mod frames;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod host;
mod identity;
mod inside;
mod landlock;
mod launcher;
mod meter;
pub mod privileges;
mod probe;
mod protocol;
mod report;
mod root;
mod rootless;
mod sandboxes;
mod seccomp;
mod serve;
mod status;
mod sys;
mod turns;
mod weak;

pub use exec::{EXEC_BYTES_MAX, Exec};
pub use frames::{frame_pair, refuses_descriptors};
pub use launcher::Launcher;
pub use meter::{InUse, Meter};
pub use report::{Mechanism, Probe, Report, Tier};
pub use serve::serve;
pub use status::{Exit, exit, exit_and_step};
pub use turns::take_short_turns;

/// First argument with which this program is a launcher.
pub const LAUNCHER_ARGUMENT: &str = "launcher";

/// Names a sandbox to the launcher; never used twice.
pub type SandboxId = u64;

/// What is laid out once, for all sandboxes.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Directory with the bootstraps, seen read-only as `/var/runtime`.
    pub runtime_dir: PathBuf,
    /// Interpreters that do not lie below `/usr`: (host directory or file, path inside), read-only.
    pub binds: Vec<(PathBuf, PathBuf)>,
    /// Memory of all functions together, bytes; 0 leaves it to the host.
    pub memory_bytes_total: u64,
    /// Where a host without namespaces is accepted ([`Tier::B`]): an existing directory in which each sandbox gets one
    /// of its own for `/tmp`, named in `TMPDIR`. Everybody must be able to pass through the directories above it, above
    /// [`Options::runtime_dir`] and above all code. `None` makes no sandboxes there.
    ///
    /// In such a sandbox paths are the host's: code, layers, `runtime_dir` and what is provided are seen where they lie
    /// (so that both paths of a bind must be the same), nothing listens ([`Request::ports`] must be empty), and
    /// [`Launcher::assign`] fails.
    pub weak_dir: Option<PathBuf>,
}

/// What one sandbox is given. Holds no secret, for it passes through the launcher.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// Limit of the memory of everything inside, bytes. `/tmp` is memory too, so the control group's limit is this and
    /// the whole of `tmp_bytes`; that processes keep to this while `/tmp` has room is for the server to see to
    /// ([`Usage::in_use`]).
    pub memory_bytes: u64,
    /// Size of `/tmp`, bytes. It holds one file or directory per 16 KiB, at least 4,096 and at most 655,360.
    pub tmp_bytes: u64,
    /// Processor time, thousandths of one core; a cap. 0 is none.
    pub cpu_millis: u32,
    /// Weight against other sandboxes when cores are short, 1-10,000.
    pub cpu_weight: u32,
    /// Code to mount at `/var/task`, or none yet (a standby).
    pub code: Option<PathBuf>,
    /// Merged layers to mount at `/opt`.
    pub layers: Option<PathBuf>,
    /// Ports to listen on at 127.0.0.1 inside, in the order of [`Launched::listeners`]; at most eight.
    pub ports: Vec<u16>,
}

/// A sandbox whose program has been started.
///
/// Dropping this ends nothing: the sandbox lives until its program ends or [`Launcher::kill`], and what it uses up is
/// kept for it until [`Launcher::reap`].
pub struct Launched {
    pub id: SandboxId,
    /// Our end of what is descriptor 3 inside; see [`frame_pair`].
    pub socket: UnixStream,
    /// Standard output and error, one pipe.
    pub output: OwnedFd,
    /// Readable once everything inside is dead.
    pub pidfd: OwnedFd,
    /// How it ended; see [`Exit`].
    pub status: OwnedFd,
    /// Listening inside, in the order of [`Request::ports`].
    pub listeners: Vec<TcpListener>,
    /// Reads of the control group, if there is one; where there is none, a [`Meter`] of the pidfd measures.
    pub usage: Option<Usage>,
    /// Puts it behind others, where the host can.
    pub rank: Option<Rank>,
    /// Stops it, where the host can.
    pub freezer: Option<Freezer>,
}

/// Open files of the sandbox's control group that say whether it goes after others; see [`Rank::put_last`].
pub struct Rank {
    /// `cpu.idle`, written with `pwrite` at offset 0.
    pub(crate) idle: OwnedFd,
    /// `cpu.shares` or `cpu.weight`, written in the same way.
    pub(crate) weight: OwnedFd,
    pub(crate) version: cgroup::Version,
}

/// An open file of the sandbox's control group that stops everything inside, and lets it run on; see [`Freezer::set`].
///
/// A frozen sandbox dies of [`Launcher::kill`] like any other. With version 1 nothing else ends it, not even its
/// launcher's death, until it is thawed; whoever holds this file can still do that.
pub struct Freezer {
    /// `freezer.state` (version 1) or `cgroup.freeze` (version 2), written with `pwrite` at offset 0.
    pub state: OwnedFd,
    version: Version,
}

/// Open files of the sandbox's control group, read with `pread` at offset 0.
pub struct Usage {
    /// What memory is in use for now (`memory.stat`); read it with [`Usage::in_use`].
    pub current: OwnedFd,
    /// Most that ever was, `/tmp` included, bytes, decimal.
    pub peak: OwnedFd,
    /// The group's kill counter (`memory.events` or `memory.oom_control`).
    pub events: OwnedFd,
}

/// Why something could not be done; the text names the step and the host's error.
#[derive(Debug, thiserror::Error)]
#[error("{step}: {source}")]
pub struct Error {
    /// What was being done, such as `mount /proc`.
    pub step: String,
    #[source]
    pub source: io::Error,
}
