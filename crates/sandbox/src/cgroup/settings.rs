//! What is written into which file of a control group: limits in, names and values out, no I/O.

use super::{Controller, Limits, Version};

/// Length of the interval over which processor time is counted, microseconds. It is the kernel's own default, so
/// that version 1, which has a file of its own for it, need not be told.
const PERIOD_US: u64 = 100_000;
/// The least share of an interval the kernel takes.
const QUOTA_US_MIN: u64 = 1_000;

/// How a write may fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// The limit is not enforced without it.
    Required,
    /// A host without this file has nothing to limit (no swap accounting, for one).
    IfPresent,
    /// As `IfPresent`, and refused by version 1 when a group above is limited more tightly already, so that it is
    /// needless.
    UnlessTighterAbove,
}

/// One write.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Setting {
    pub file: &'static str,
    pub value: String,
    pub need: Need,
}

fn setting(file: &'static str, value: impl ToString, need: Need) -> Setting {
    Setting { file, value: value.to_string(), need }
}

/// The writes that give a group `limits`, in an order that works for a new group. A limit of 0 is left alone.
pub(super) fn settings(version: Version, controller: Controller, limits: &Limits) -> Vec<Setting> {
    use Need::{IfPresent, Required, UnlessTighterAbove};
    let memory = limits.memory_bytes;
    let weight = limits.cpu_weight;
    let quota_us = (u64::from(limits.cpu_millis) * PERIOD_US / 1_000).max(QUOTA_US_MIN);
    let mut out = Vec::new();
    match (controller, version) {
        (Controller::Memory, Version::Two) if memory > 0 => {
            out.push(setting("memory.max", memory, Required));
            out.push(setting("memory.swap.max", 0, IfPresent));
        }
        (Controller::Memory, Version::One) if memory > 0 => {
            out.push(setting("memory.limit_in_bytes", memory, Required));
            // Memory and swap together: with the same value as memory alone nothing is swapped.
            out.push(setting("memory.memsw.limit_in_bytes", memory, IfPresent));
            out.push(setting("memory.swappiness", 0, IfPresent));
        }
        (Controller::Pids, _) if limits.pids > 0 => out.push(setting("pids.max", limits.pids, Required)),
        (Controller::Cpu, Version::Two) => {
            if weight > 0 {
                out.push(setting(weight_file(version), weight_value(version, weight), Required));
            }
            if limits.cpu_millis > 0 {
                out.push(setting("cpu.max", format!("{quota_us} {PERIOD_US}"), IfPresent));
            }
        }
        (Controller::Cpu, Version::One) => {
            if weight > 0 {
                out.push(setting(weight_file(version), weight_value(version, weight), Required));
            }
            if limits.cpu_millis > 0 {
                out.push(setting("cpu.cfs_quota_us", quota_us, UnlessTighterAbove));
            }
        }
        _ => {}
    }
    out
}

/// The file that says a group's share of the processor against others.
pub(super) fn weight_file(version: Version) -> &'static str {
    match version {
        Version::One => "cpu.shares",
        Version::Two => "cpu.weight",
    }
}

/// A weight as that file takes it; at most 10,000.
pub(super) fn weight_value(version: Version, weight: u32) -> String {
    let weight = u64::from(weight.min(10_000));
    match version {
        // It counts in 1,024ths where version 2 counts in hundredths of a usual group.
        Version::One => (weight * 1_024 / 100).clamp(2, 262_144).to_string(),
        Version::Two => weight.max(1).to_string(),
    }
}

/// The write by which all of a sandbox is killed when one of it is: half a function is of no use to anybody. The group
/// over all sandboxes must not have it, or one too many would end them all. Version 1 kills one process alone.
pub(super) fn together(version: Version, controller: Controller) -> Option<Setting> {
    let known = version == Version::Two && controller == Controller::Memory;
    known.then(|| setting("memory.oom.group", 1, Need::IfPresent))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(version: Version, limits: &Limits) -> Vec<String> {
        Controller::ALL
            .into_iter()
            .flat_map(|controller| settings(version, controller, limits))
            .map(|setting| format!("{}={}", setting.file, setting.value))
            .collect()
    }

    #[test]
    fn each_version_is_told_the_same_limits_in_its_own_words() {
        let limits = Limits { memory_bytes: 134_217_728, pids: 1_024, cpu_millis: 1_500, cpu_weight: 50 };
        assert_eq!(
            written(Version::Two, &limits),
            ["memory.max=134217728", "memory.swap.max=0", "pids.max=1024", "cpu.weight=50", "cpu.max=150000 100000",]
        );
        assert_eq!(
            written(Version::One, &limits),
            [
                "memory.limit_in_bytes=134217728",
                "memory.memsw.limit_in_bytes=134217728",
                "memory.swappiness=0",
                "pids.max=1024",
                "cpu.shares=512",
                "cpu.cfs_quota_us=150000",
            ]
        );
    }

    #[test]
    fn only_a_sandbox_is_killed_as_a_whole() {
        let all = Limits { memory_bytes: 1 << 30, pids: 100, cpu_millis: 1_000, cpu_weight: 100 };
        assert!(!written(Version::Two, &all).iter().any(|write| write.contains("oom.group")));
        let setting = together(Version::Two, Controller::Memory).unwrap();
        assert_eq!((setting.file, setting.value.as_str()), ("memory.oom.group", "1"));
        assert_eq!(together(Version::One, Controller::Memory), None);
        assert_eq!(together(Version::Two, Controller::Pids), None);
    }

    #[test]
    fn extremes_stay_within_what_the_kernel_takes_and_zero_is_left_alone() {
        let none = Limits { memory_bytes: 0, pids: 0, cpu_millis: 0, cpu_weight: 0 };
        assert!(written(Version::One, &none).is_empty() && written(Version::Two, &none).is_empty());
        let least = Limits { cpu_millis: 1, cpu_weight: 1, ..none };
        assert_eq!(written(Version::Two, &least), ["cpu.weight=1", "cpu.max=1000 100000"]);
        let most = Limits { cpu_millis: u32::MAX, cpu_weight: u32::MAX, ..none };
        assert_eq!(written(Version::One, &most)[0], "cpu.shares=102400");
        assert_eq!(written(Version::Two, &most)[0], "cpu.weight=10000");
    }
}
