//! What a host can isolate.

use std::fmt;

/// How strong the isolation is that a host gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tier {
    /// A child process and nothing else.
    C,
    /// Own users, Landlock, seccomp and limits, but no namespaces. Sandboxes are made there only where
    /// [`crate::Options::weak_dir`] is given.
    B,
    /// Everything, without privileges: user namespaces.
    A2,
    /// Everything, with a privileged launcher.
    A1,
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Tier::A1 => "A1",
            Tier::A2 => "A2",
            Tier::B => "B",
            Tier::C => "C",
        })
    }
}

/// One thing that isolation is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mechanism {
    Namespaces,
    OwnRoot,
    UniqueUid,
    Network,
    Capabilities,
    NoNewPrivileges,
    Seccomp,
    Landlock,
    MemoryLimit,
    ProcessLimit,
    CpuLimit,
    /// Stops what lies idle. Keeps nobody apart: without it what functions leave running goes on.
    Freezer,
}

impl Mechanism {
    /// All of them, in the order of the report, and of the launcher's answer.
    pub const ALL: [Mechanism; 12] = [
        Mechanism::Namespaces,
        Mechanism::OwnRoot,
        Mechanism::UniqueUid,
        Mechanism::Network,
        Mechanism::Capabilities,
        Mechanism::NoNewPrivileges,
        Mechanism::Seccomp,
        Mechanism::Landlock,
        Mechanism::MemoryLimit,
        Mechanism::ProcessLimit,
        Mechanism::CpuLimit,
        Mechanism::Freezer,
    ];
}

impl fmt::Display for Mechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Mechanism::Namespaces => "namespaces",
            Mechanism::OwnRoot => "own root",
            Mechanism::UniqueUid => "unique uid",
            Mechanism::Network => "own network",
            Mechanism::Capabilities => "no capabilities",
            Mechanism::NoNewPrivileges => "no new privileges",
            Mechanism::Seccomp => "system call filter",
            Mechanism::Landlock => "Landlock",
            Mechanism::MemoryLimit => "memory limit",
            Mechanism::ProcessLimit => "process limit",
            Mechanism::CpuLimit => "cpu limit",
            Mechanism::Freezer => "freezer",
        })
    }
}

/// What trying one mechanism gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    pub mechanism: Mechanism,
    /// `Ok`: how it is done here (`cgroup v1`, `ABI 7`). `Err`: why not, with what would mend it.
    pub outcome: Result<String, String>,
}

/// What all probes found, and what they come to. Written out ([`fmt::Display`]) it is one aligned table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    pub tier: Tier,
    pub probes: Vec<Probe>,
}

impl Report {
    /// Puts outcomes in order and finds the tier they come to. A mechanism that was not tried does not work.
    ///
    /// Limits and the freezer do not count for the tier: whether functions run without one is for the caller to decide, who
    /// finds it in [`Report::missing`]. In tier A2 a unique uid does not count either, for a host may lend only one.
    #[must_use]
    pub fn new(privileged: bool, outcomes: Vec<(Mechanism, Result<String, String>)>) -> Report {
        let mut outcomes = outcomes;
        let probes: Vec<Probe> = Mechanism::ALL
            .into_iter()
            .map(|mechanism| {
                let found = outcomes.iter().position(|(of, _)| *of == mechanism);
                let outcome = found.map_or_else(|| Err("not tried".to_owned()), |at| outcomes.swap_remove(at).1);
                Probe { mechanism, outcome }
            })
            .collect();
        let mut report = Report { tier: Tier::C, probes };
        report.tier = report.reached(privileged);
        report
    }

    fn reached(&self, privileged: bool) -> Tier {
        use Mechanism::{Capabilities, Landlock, Namespaces, Network, NoNewPrivileges, OwnRoot, Seccomp, UniqueUid};
        let all = |mechanisms: &[Mechanism]| mechanisms.iter().all(|&mechanism| self.works(mechanism));
        let confined = all(&[Capabilities, NoNewPrivileges, Seccomp, Landlock]);
        let apart = all(&[Namespaces, OwnRoot, Network]);
        match (confined, apart, self.works(UniqueUid)) {
            (true, true, true) if privileged => Tier::A1,
            (true, true, _) => Tier::A2,
            (true, false, true) => Tier::B,
            _ => Tier::C,
        }
    }

    /// Whether a mechanism works here.
    #[must_use]
    pub fn works(&self, mechanism: Mechanism) -> bool {
        self.probes.iter().any(|probe| probe.mechanism == mechanism && probe.outcome.is_ok())
    }

    /// What does not work here, each with the reason and what would mend it.
    #[must_use]
    pub fn missing(&self) -> Vec<(Mechanism, &str)> {
        self.probes.iter().filter_map(|probe| Some((probe.mechanism, probe.outcome.as_ref().err()?.as_str()))).collect()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.tier {
            Tier::A1 => "namespaces, by a privileged launcher",
            Tier::A2 => "namespaces, without privileges",
            Tier::B => "own user, Landlock and system call filter, no namespaces",
            Tier::C => "a child process",
        };
        let more = if self.missing().is_empty() { "; nothing is missing" } else { "; see what is missing below" };
        write!(f, "{:<18}  {:<3}  {what}{more}", "isolation tier", self.tier.to_string())?;
        let mut before = None;
        for probe in &self.probes {
            let (word, text) = match &probe.outcome {
                Ok(how) => ("yes", how.as_str()),
                // Limits are mostly missing together; a long sentence three times would hide what else there is.
                Err(why) if before == Some(why) => ("NO", "for the same reason"),
                Err(why) => ("NO", why.as_str()),
            };
            before = probe.outcome.as_ref().err();
            write!(f, "\n{:<18}  {word:<3}  {text}", probe.mechanism)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Mechanism::{
        Capabilities, CpuLimit, Freezer, Landlock, MemoryLimit, Namespaces, Network, NoNewPrivileges, OwnRoot,
        ProcessLimit, Seccomp, UniqueUid,
    };

    fn report(privileged: bool, missing: &[Mechanism]) -> Report {
        let outcome = |mechanism| {
            let works = !missing.contains(&mechanism);
            (mechanism, if works { Ok("here".to_owned()) } else { Err("gone; bring it".to_owned()) })
        };
        Report::new(privileged, Mechanism::ALL.into_iter().rev().map(outcome).collect())
    }

    #[test]
    fn the_tier_is_what_works_together() {
        for (privileged, missing, tier) in [
            (true, &[][..], Tier::A1),
            (true, &[MemoryLimit, ProcessLimit, CpuLimit, Freezer], Tier::A1),
            (true, &[UniqueUid], Tier::A2),
            (false, &[], Tier::A2),
            (false, &[UniqueUid, MemoryLimit], Tier::A2),
            (true, &[Namespaces, OwnRoot, Network], Tier::B),
            (true, &[Network], Tier::B),
            (true, &[OwnRoot], Tier::B),
            (true, &[Namespaces, UniqueUid], Tier::C),
            (false, &[Namespaces], Tier::B),
            (false, &[Namespaces, UniqueUid], Tier::C),
            (true, &[Landlock], Tier::C),
            (true, &[Seccomp], Tier::C),
            (true, &[NoNewPrivileges], Tier::C),
            (false, &[Capabilities], Tier::C),
        ] {
            assert_eq!(report(privileged, missing).tier, tier, "privileged {privileged}, without {missing:?}");
        }
        assert_eq!(Report::new(true, Vec::new()).tier, Tier::C, "what was not tried does not work");
    }

    #[test]
    fn what_is_missing_is_told_with_its_reason_in_an_aligned_table() {
        assert_eq!(
            report(true, &[]).to_string().lines().next(),
            Some("isolation tier      A1   namespaces, by a privileged launcher; nothing is missing")
        );
        let limits = report(false, &[MemoryLimit, ProcessLimit, CpuLimit, Freezer]).to_string();
        let limits: Vec<&str> = limits.lines().rev().take(4).collect();
        let same =
            ["freezer", "cpu limit", "process limit"].map(|name| format!("{name:<18}  NO   for the same reason"));
        assert_eq!(limits, [same[0].as_str(), &same[1], &same[2], "memory limit        NO   gone; bring it"]);
        let report = report(true, &[MemoryLimit]);
        assert_eq!(report.missing(), [(MemoryLimit, "gone; bring it")]);
        let table = report.to_string();
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines.len(), 1 + Mechanism::ALL.len());
        assert_eq!(
            lines[0],
            "isolation tier      A1   namespaces, by a privileged launcher; see what is missing below"
        );
        assert_eq!(lines[1], "namespaces          yes  here");
        assert!(lines.contains(&"memory limit        NO   gone; bring it"), "{table}");
    }
}
