//! Landlock: what a function may do with files even where mounts and modes would let it do more.
//!
//! With an own root this is the second line, behind the mounts; without namespaces it is the first. Every right the
//! host's version knows, up to ABI 7, is taken away unless a rule gives it; from ABI 6 on a function also reaches no
//! abstract socket and signals no process but its own.
//!
//! Source: Linux kernel documentation, "Landlock: unprivileged access control".

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, LandlockStatus, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetStatus, Scope, make_bitflags,
};
use rustix::io::Errno;

/// The newest version whose rights this file has thought about; a newer host takes no further ones away.
const NEWEST: ABI = ABI::V7;

/// What stays allowed. Paths are looked up by who is restricted, at that moment; each must exist.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules<'a> {
    /// Directories in which everything may be read and executed.
    pub read: &'a [&'a str],
    /// Directories in which everything may also be written, made and removed, except device files.
    pub write: &'a [&'a str],
    /// Device files that may be read and written.
    pub devices: &'a [&'a str],
    /// Whether TCP ports may be bound and connected to, where the host could refuse it (ABI 4).
    pub tcp: bool,
    /// Whether signals and abstract sockets of processes that are not as restricted stay in reach (ABI 6).
    pub others: bool,
}

/// What a sandbox with an own root is given. Network stays open, for the namespace has none to reach.
pub(crate) const OWN_ROOT: Rules<'static> = Rules {
    read: &["/"],
    write: &["/tmp"],
    devices: &["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"],
    tcp: true,
    others: false,
};

/// Restricts this thread, and all it starts, for good, and answers the ABI version that was used. Sets
/// `no_new_privs` too.
///
/// # Errors
/// `EOPNOTSUPP` where the host has no Landlock; `ENOENT` for a path that does not exist.
pub(crate) fn restrict(rules: &Rules) -> Result<u32, Errno> {
    let status = apply(rules).map_err(|errno| Errno::from_raw_os_error(*errno))?;
    match (status.ruleset, status.landlock) {
        (RulesetStatus::NotEnforced, _) => Err(Errno::OPNOTSUPP),
        (_, LandlockStatus::Available { effective_abi, .. }) => Ok(effective_abi.min(NEWEST) as u32),
        (_, LandlockStatus::NotEnabled | LandlockStatus::NotImplemented) => Err(Errno::OPNOTSUPP),
    }
}

/// The host's ABI version, as far as this file makes use of it.
///
/// # Errors
/// `EOPNOTSUPP` where it is switched off, `ENOSYS` where it was left out.
#[expect(unsafe_code, reason = "the landlock crate keeps this question to itself")]
pub(crate) fn abi() -> Result<u32, Errno> {
    const VERSION: u32 = 1;
    // SAFETY: asked for its version the call reads no memory: no attributes are given, and their size is 0.
    let answer = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<u8>(), 0_usize, VERSION) };
    match u32::try_from(answer) {
        Ok(version) => Ok(version.min(NEWEST as u32)),
        Err(_) => Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::OPNOTSUPP)),
    }
}

fn apply(rules: &Rules) -> Result<landlock::RestrictionStatus, landlock::Errno> {
    let everything = AccessFs::from_all(NEWEST);
    let mut ruleset = Ruleset::default().handle_access(everything)?;
    if !rules.others {
        ruleset = ruleset.scope(Scope::from_all(NEWEST))?;
    }
    if !rules.tcp {
        ruleset = ruleset.handle_access(AccessNet::from_all(NEWEST))?;
    }
    let mut created = ruleset.create()?;
    let groups = [
        (rules.read, AccessFs::from_read(NEWEST)),
        (rules.write, everything & !make_bitflags!(AccessFs::{MakeChar | MakeBlock})),
        (rules.devices, AccessFs::from_file(NEWEST) & !BitFlags::from(AccessFs::Execute)),
    ];
    for (paths, access) in groups {
        for path in paths {
            let file = PathFd::new(path)?;
            created = created.add_rule(PathBeneath::new(file, access))?;
        }
    }
    Ok(created.restrict_self()?)
}
