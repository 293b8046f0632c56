//! Giving up the privileges of a process that serves the network.

use std::{fs, io, path::Path};

use rustix::{
    io::Errno,
    thread::{CapabilitySet, CapabilitySets},
};

use crate::landlock::{self, Rules};

/// Gives up every capability for good, and with `no_new_privs` the chance that a program brings one back. With
/// `keep_net_bind_service` the right to listen below port 1024 stays.
///
/// Capabilities belong to threads: call it before the first other thread starts, or those keep what they have. What
/// came of it is read back from the host; only then is it believed. A process of user 0 still owns what that user
/// owns: to run as another user is up to whoever starts it.
///
/// Source: manual page `capabilities(7)`.
///
/// # Errors
/// When other threads run already, when a step is refused, or when something is left. The process must not serve then.
pub fn drop_all(keep_net_bind_service: bool) -> io::Result<()> {
    let status = fs::read_to_string("/proc/self/status")?;
    if field(&status, "Threads").is_none_or(|threads| threads != "1") {
        return Err(io::Error::other("privileges cannot be given up once other threads run"));
    }
    let now = rustix::thread::capabilities(None)?;
    let kept =
        if keep_net_bind_service { now.permitted & CapabilitySet::NET_BIND_SERVICE } else { CapabilitySet::empty() };
    // Without this capability the set cannot be emptied, and nothing can be gained from it either.
    let bounded = now.effective.contains(CapabilitySet::SETPCAP);
    if bounded {
        empty_bounding_set()?;
    }
    rustix::thread::clear_ambient_capability_set()?;
    let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    rustix::thread::set_capabilities(None, sets)?;
    rustix::thread::set_no_new_privs(true)?;
    check(&fs::read_to_string("/proc/self/status")?, kept, bounded)
}

/// Lets this process, and all it starts, write nothing but what lies below `directories`; reading is as before. Gives
/// the version of Landlock that enforces it.
///
/// A server that runs as root without a capability still owns what root owns: this keeps it from `/etc`, from homes and
/// from settings of the kernel. What is open already stays writable. To be called when [`drop_all`] is, and after the
/// launcher was started, which would be bound by it too.
///
/// # Errors
/// `Unsupported` where the host has no Landlock; `NotFound` for a directory that does not exist.
pub fn confine_writes(directories: &[&Path]) -> io::Result<u32> {
    let not_text = || io::Error::new(io::ErrorKind::InvalidInput, "a directory whose name is no text");
    let write: Vec<&str> =
        directories.iter().map(|directory| directory.to_str().ok_or_else(not_text)).collect::<Result<_, _>>()?;
    let rules = Rules { write: &write, others: true, ..landlock::OWN_ROOT };
    landlock::restrict(&rules).map_err(|errno| match errno {
        Errno::OPNOTSUPP | Errno::NOSYS => io::ErrorKind::Unsupported.into(),
        errno => errno.into(),
    })
}

/// Empties the set of capabilities that `execve` may still give. Needs `CAP_SETPCAP`.
///
/// # Errors
/// `EPERM` without that capability.
pub(crate) fn empty_bounding_set() -> Result<(), Errno> {
    for number in 0..64 {
        match rustix::thread::remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(1 << number)) {
            Ok(()) => {}
            // One past the last the host knows.
            Err(Errno::INVAL) if number > 0 => break,
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// Reads from `/proc/<pid>/status` whether nothing but `kept` is left.
fn check(status: &str, kept: CapabilitySet, bounded: bool) -> io::Result<()> {
    let expected = [
        ("CapInh", Some(0)),
        ("CapPrm", Some(kept.bits())),
        ("CapEff", Some(kept.bits())),
        ("CapBnd", bounded.then_some(0)),
        ("CapAmb", Some(0)),
        ("NoNewPrivs", Some(1)),
    ];
    for (name, expected) in expected {
        let found = field(status, name).and_then(|text| u64::from_str_radix(text, 16).ok());
        if found.is_none() || expected.is_some_and(|expected| found != Some(expected)) {
            return Err(io::Error::other(format!("privileges are left: {name} is {found:x?}")));
        }
    }
    Ok(())
}

/// One line of `/proc/<pid>/status`.
pub(crate) fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: &str = "Name:\tx\nThreads:\t1\nCapInh:\t0000000000000000\nCapPrm:\t0000000000000000\n\
                           CapEff:\t0000000000000000\nCapBnd:\t0000000000000000\nCapAmb:\t0000000000000000\n\
                           NoNewPrivs:\t1\n";

    #[test]
    fn only_what_is_kept_may_be_left() {
        let none = CapabilitySet::empty();
        let bind = CapabilitySet::NET_BIND_SERVICE;
        let holding = |name: &str, value: &str| {
            NOTHING.replace(&format!("{name}:\t0000000000000000"), &format!("{name}:\t{value}"))
        };
        check(NOTHING, none, true).unwrap();
        check(NOTHING, bind, true).expect_err("what was to be kept is gone");
        for name in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
            assert!(check(&holding(name, "0000000000000400"), none, true).unwrap_err().to_string().contains(name));
        }
        let kept =
            holding("CapPrm", "0000000000000400").replace("CapEff:\t0000000000000000", "CapEff:\t0000000000000400");
        check(&kept, bind, true).unwrap();
        check(&holding("CapBnd", "000001ffffffffff"), none, true).unwrap_err();
        check(&holding("CapBnd", "000001ffffffffff"), none, false).unwrap();
        check(&NOTHING.replace("NoNewPrivs:\t1", "NoNewPrivs:\t0"), none, true).unwrap_err();
        check("", none, true).expect_err("a host that tells nothing is not believed");
    }

    #[test]
    fn a_process_with_threads_cannot_give_up_its_privileges() {
        // The test runner has threads.
        let error = std::thread::scope(|scope| scope.spawn(|| drop_all(false)).join().unwrap()).unwrap_err();
        assert!(error.to_string().contains("threads"), "{error}");
    }
}
