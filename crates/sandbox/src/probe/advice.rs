//! Why a host refuses, in the words of who runs it, with what would mend it.

use std::fs;

use rustix::io::Errno;

use crate::{Mechanism, fault::Fault, privileges};

/// What about the host explains a refusal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Surroundings {
    /// `kernel.apparmor_restrict_unprivileged_userns` is on.
    apparmor_restricts: bool,
    /// `kernel.unprivileged_userns_clone` (of some distributions) is off.
    distribution_forbids: bool,
    /// `user.max_user_namespaces` is 0.
    none_allowed: bool,
    /// A filter of system calls is on us already: a container's profile.
    filtered: bool,
    /// We are root, of whatever.
    root: bool,
}

impl Surroundings {
    pub fn read() -> Surroundings {
        let sysctl =
            |name: &str| fs::read_to_string(format!("/proc/sys/{name}")).ok().map(|text| text.trim().to_owned());
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        Surroundings {
            apparmor_restricts: sysctl("kernel/apparmor_restrict_unprivileged_userns").as_deref() == Some("1"),
            distribution_forbids: sysctl("kernel/unprivileged_userns_clone").as_deref() == Some("0"),
            none_allowed: sysctl("user/max_user_namespaces").as_deref() == Some("0"),
            filtered: privileges::field(&status, "Seccomp") == Some("2"),
            root: rustix::process::geteuid().is_root(),
        }
    }
}

const CONTAINER: &str = "in a container give it --cap-add SYS_ADMIN --security-opt seccomp=unconfined --security-opt \
                         apparmor=unconfined --security-opt systempaths=unconfined";

/// How a user gets numbers for its sandboxes.
pub(super) const LEND: &str =
    "add a range to /etc/subuid and /etc/subgid and install uidmap (newuidmap), or start it as root";

/// What would let a sandbox without namespaces be made.
pub(super) fn weak(errno: Errno) -> &'static str {
    match errno {
        Errno::ACCESS => {
            "set TMPDIR to a directory that everybody may pass through, such as /var/tmp, and use interpreters and data in \
             such places"
        }
        Errno::ADDRINUSE => "stop other servers on this host, each of which takes a range of user numbers",
        _ => "start it as root with the capabilities CHOWN, DAC_OVERRIDE, KILL, SETGID, SETPCAP and SETUID",
    }
}

/// Which mechanism a failed step belongs to, and the reason with its remedy.
pub(super) fn blame(fault: &Fault, surroundings: &Surroundings) -> (Mechanism, String) {
    let step = fault.step.as_ref();
    let holds = |words: &[&str]| words.iter().any(|word| step.contains(word));
    let mechanism = if holds(&["Landlock"]) {
        Mechanism::Landlock
    } else if holds(&["seccomp"]) {
        Mechanism::Seccomp
    } else if holds(&["capabilities", "bounding set"]) {
        Mechanism::Capabilities
    } else if holds(&["no_new_privs"]) {
        Mechanism::NoNewPrivileges
    } else if holds(&["uid_map", "gid_map", "user numbers", "become"]) {
        Mechanism::UniqueUid
    } else if holds(&["loopback", "listen at"]) {
        Mechanism::Network
    } else if holds(&["root", "mount", "bind", "mask", "link /", "/proc", "/etc", "/dev", "/tmp"])
        && !holds(&["namespace"])
    {
        Mechanism::OwnRoot
    } else {
        Mechanism::Namespaces
    };
    let remedy = remedy(mechanism, fault.errno, surroundings);
    (mechanism, format!("{step}: {}; {remedy}", fault.errno))
}

/// What would mend it that a mechanism does not work here.
pub(super) fn remedy(mechanism: Mechanism, errno: Errno, surroundings: &Surroundings) -> &'static str {
    match mechanism {
        Mechanism::Landlock => {
            "it takes Linux 5.13 or newer with Landlock switched on (kernel command line: lsm=landlock,...)"
        }
        Mechanism::Seccomp => "it takes a kernel with CONFIG_SECCOMP_FILTER, on x86_64 or aarch64",
        _ if surroundings.none_allowed => "set sysctl user.max_user_namespaces to 10000 or more",
        _ if errno == Errno::NOSPC => "raise sysctl user.max_user_namespaces",
        _ if surroundings.filtered => CONTAINER,
        _ if surroundings.distribution_forbids && !surroundings.root => {
            "set sysctl kernel.unprivileged_userns_clone=1, or start it as root"
        }
        _ if surroundings.apparmor_restricts && !surroundings.root => {
            "AppArmor restricts user namespaces: load a profile for portcullis that allows userns, or set sysctl \
             kernel.apparmor_restrict_unprivileged_userns=0, or start it as root"
        }
        Mechanism::UniqueUid if !surroundings.root => LEND,
        Mechanism::UniqueUid => {
            "give it the capabilities SYS_ADMIN, SETUID, SETGID and SETFCAP, or start it as an ordinary user"
        }
        _ if errno == Errno::NOSYS => "it takes Linux 5.14 or newer",
        _ if surroundings.root => CONTAINER,
        _ => "start it as root",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_step_is_blamed_on_its_mechanism() {
        for (step, mechanism) in [
            ("clone3 with namespaces", Mechanism::Namespaces),
            ("make a user namespace without privileges", Mechanism::Namespaces),
            ("make mounts of its own", Mechanism::OwnRoot),
            ("write uid_map", Mechanism::UniqueUid),
            ("mount /proc", Mechanism::OwnRoot),
            ("pivot_root", Mechanism::OwnRoot),
            ("bind /usr at /usr", Mechanism::OwnRoot),
            ("switch loopback on", Mechanism::Network),
            ("listen at 127.0.0.1:9001 inside", Mechanism::Network),
            ("drop capabilities", Mechanism::Capabilities),
            ("empty the bounding set", Mechanism::Capabilities),
            ("set no_new_privs", Mechanism::NoNewPrivileges),
            ("restrict files (Landlock)", Mechanism::Landlock),
            ("load seccomp filter", Mechanism::Seccomp),
            ("something new", Mechanism::Namespaces),
        ] {
            let (blamed, reason) = blame(&Fault::new(step, Errno::PERM), &Surroundings::default());
            assert_eq!(blamed, mechanism, "{step}");
            assert!(reason.starts_with(step), "{reason}");
        }
    }

    #[test]
    fn the_remedy_fits_the_surroundings() {
        let of =
            |surroundings: &Surroundings, errno| blame(&Fault::new("clone3 with namespaces", errno), surroundings).1;
        let user = Surroundings::default();
        let root = Surroundings { root: true, ..user.clone() };
        for (surroundings, errno, word) in [
            (user.clone(), Errno::PERM, "as root"),
            (user.clone(), Errno::NOSPC, "max_user_namespaces"),
            (user.clone(), Errno::NOSYS, "5.14"),
            (root.clone(), Errno::PERM, "--cap-add SYS_ADMIN"),
            (Surroundings { filtered: true, ..root }, Errno::NOSYS, "seccomp=unconfined"),
            (Surroundings { apparmor_restricts: true, ..user.clone() }, Errno::PERM, "AppArmor"),
            (Surroundings { distribution_forbids: true, ..user.clone() }, Errno::PERM, "unprivileged_userns_clone"),
            (Surroundings { none_allowed: true, ..user.clone() }, Errno::NOSPC, "max_user_namespaces"),
        ] {
            assert!(of(&surroundings, errno).contains(word), "{surroundings:?}: {}", of(&surroundings, errno));
        }
        assert!(remedy(Mechanism::UniqueUid, Errno::PERM, &user).contains("/etc/subuid"));
        for mechanism in Mechanism::ALL {
            assert!(!remedy(mechanism, Errno::PERM, &user).is_empty(), "{mechanism}");
        }
    }
}
