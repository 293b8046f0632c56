//! Where this host keeps its control groups and where this process stands in them: text in, places out, no I/O.
//!
//! Sources: Linux kernel documentation, "Control Group v2" and "Control Groups"; manual pages `cgroups(7)` and
//! `proc_pid_mountinfo(5)`.

use std::{
    fmt,
    path::{Path, PathBuf},
};

/// What a control group can limit for us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Controller {
    Memory,
    Pids,
    Cpu,
    /// Stops a group as a whole. In version 2 every group can, without a controller.
    Freezer,
}

impl Controller {
    /// Every controller this crate uses.
    pub const ALL: [Controller; 4] = [Controller::Memory, Controller::Pids, Controller::Cpu, Controller::Freezer];

    /// The host's name of it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Controller::Memory => "memory",
            Controller::Pids => "pids",
            Controller::Cpu => "cpu",
            Controller::Freezer => "freezer",
        }
    }
}

impl fmt::Display for Controller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Which of the two interfaces a hierarchy has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    One,
    Two,
}

/// One hierarchy that is of use: what it controls, and the directory of the group this process is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub version: Version,
    pub controllers: Vec<Controller>,
    pub directory: PathBuf,
}

/// One line of `mountinfo` that mounts a control group hierarchy.
#[derive(Debug, PartialEq, Eq)]
struct Mount {
    version: Version,
    root: PathBuf,
    point: PathBuf,
    options: Vec<String>,
}

/// Finds the hierarchies that hold our controllers and our own position in each.
///
/// `mountinfo` and `own` are the texts of `/proc/self/mountinfo` and `/proc/self/cgroup`. `available` answers what
/// `cgroup.controllers` of a version 2 directory says; a controller that a version 1 hierarchy holds never shows up
/// there, so a hybrid host falls out as one place per hierarchy. An empty answer means that nothing is mounted.
pub(super) fn places(mountinfo: &str, own: &str, available: impl Fn(&Path) -> String) -> Vec<Place> {
    let mounts: Vec<Mount> = mountinfo.lines().filter_map(mount).collect();
    let mut places: Vec<Place> = Vec::new();
    for controller in Controller::ALL {
        // Of several mounts of one hierarchy the last one counts: it may lie on top of an earlier one.
        let Some(mount) = mounts.iter().rev().find(|mount| {
            mount.version == Version::One && mount.options.iter().any(|option| option == controller.name())
        }) else {
            continue;
        };
        let Some(path) = own_path(own, Some(controller)) else { continue };
        let directory = inside(mount, path);
        // `cpu` and others may share one hierarchy: then one directory serves them all.
        match places.iter_mut().find(|place| place.directory == directory) {
            Some(place) => place.controllers.push(controller),
            None => places.push(Place { version: Version::One, controllers: vec![controller], directory }),
        }
    }
    if let Some(mount) = mounts.iter().rev().find(|mount| mount.version == Version::Two)
        && let Some(path) = own_path(own, None)
    {
        let directory = inside(mount, path);
        let offered = available(&directory);
        let taken = |controller| places.iter().any(|place| place.controllers.contains(&controller));
        let mut controllers: Vec<Controller> = Controller::ALL
            .into_iter()
            .filter(|&controller| {
                offered.split_whitespace().any(|name| name == controller.name()) && !taken(controller)
            })
            .collect();
        if !controllers.is_empty() {
            if !taken(Controller::Freezer) {
                controllers.push(Controller::Freezer);
            }
            places.push(Place { version: Version::Two, controllers, directory });
        }
    }
    places
}

/// Reads one line of `mountinfo`; `None` when it mounts something else.
fn mount(line: &str) -> Option<Mount> {
    let (left, right) = line.split_once(" - ")?;
    let mut left = left.split(' ').skip(3);
    let (root, point) = (left.next()?, left.next()?);
    let mut right = right.split(' ');
    let version = match right.next()? {
        "cgroup" => Version::One,
        "cgroup2" => Version::Two,
        _ => return None,
    };
    let options = right.nth(1).unwrap_or_default().split(',').map(str::to_owned).collect();
    Some(Mount { version, root: unescaped(root).into(), point: unescaped(point).into(), options })
}

/// Undoes the octal escapes that `mountinfo` uses for blanks, tabs, line ends and backslashes.
fn unescaped(field: &str) -> String {
    let mut out = String::with_capacity(field.len());
    let mut rest = field;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let digits = rest.get(at + 1..at + 4).and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match digits {
            Some(byte) if byte.is_ascii() => {
                out.push(char::from(byte));
                rest = &rest[at + 4..];
            }
            _ => {
                out.push('\\');
                rest = &rest[at + 1..];
            }
        }
    }
    out.push_str(rest);
    out
}

/// The path of this process in the hierarchy that holds `controller`, or in the unified one.
fn own_path(own: &str, controller: Option<Controller>) -> Option<&str> {
    own.lines().find_map(|line| {
        let (id, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        let fits = match controller {
            Some(controller) => controllers.split(',').any(|name| name == controller.name()),
            None => id == "0" && controllers.is_empty(),
        };
        fits.then_some(path)
    })
}

/// The directory of `path` below a mount that may show only a part of the hierarchy.
///
/// A path outside of what is mounted (a namespace's `/../..`) leaves the mount point itself, which is the highest
/// group this process can see.
fn inside(mount: &Mount, path: &str) -> PathBuf {
    let path = Path::new(path);
    let below = path.strip_prefix(&mount.root).unwrap_or(Path::new(""));
    if below.components().any(|part| matches!(part, std::path::Component::ParentDir)) {
        return mount.point.clone();
    }
    // Joining nothing would add a slash.
    let directory = if below.as_os_str().is_empty() { mount.point.clone() } else { mount.point.join(below) };
    // A group of an earlier launcher is no base: what it moved into its leaf came from further up.
    let base = directory
        .ancestors()
        .filter(|ancestor| ancestor.starts_with(&mount.point) && *ancestor != mount.point)
        .filter(|ancestor| {
            ancestor
                .file_name()
                .and_then(|name| name.to_str())
                .is_some_and(|name| super::sweep::Owner::parse(name).is_some())
        })
        .last();
    base.and_then(Path::parent).map_or(directory.clone(), Path::to_path_buf)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory
37 31 0:34 / /sys/fs/cgroup/freezer rw,relatime - cgroup cgroup rw,freezer
39 31 0:36 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";

    fn directories(places: &[Place]) -> Vec<(Version, Vec<Controller>, &str)> {
        places.iter().map(|p| (p.version, p.controllers.clone(), p.directory.to_str().unwrap())).collect()
    }

    #[test]
    fn a_hybrid_host_gives_one_place_per_hierarchy() {
        let own = "9:name=systemd:/\n8:pids:/\n6:freezer:/\n4:memory:/process_api/e1\n1:cpu,cpuacct:/a b\n0::/\n";
        let places = places(HYBRID, own, |_| "hugetlb\n".into());
        use Controller::{Cpu, Freezer, Memory, Pids};
        assert_eq!(
            directories(&places),
            [
                (Version::One, vec![Memory], "/sys/fs/cgroup/memory/process_api/e1"),
                (Version::One, vec![Pids], "/sys/fs/cgroup/pids"),
                (Version::One, vec![Cpu], "/sys/fs/cgroup/cpu,cpuacct/a b"),
                (Version::One, vec![Freezer], "/sys/fs/cgroup/freezer"),
            ]
        );
    }

    #[test]
    fn a_hybrid_host_may_keep_some_controllers_in_the_unified_hierarchy() {
        let own = "8:pids:/\n4:memory:/\n0::/user.slice\n";
        let places = places(HYBRID, own, |_| "cpu io\n".into());
        use Controller::{Cpu, Freezer, Memory, Pids};
        assert_eq!(
            directories(&places),
            [
                (Version::One, vec![Memory], "/sys/fs/cgroup/memory"),
                (Version::One, vec![Pids], "/sys/fs/cgroup/pids"),
                (Version::Two, vec![Cpu, Freezer], "/sys/fs/cgroup/unified/user.slice"),
            ]
        );
    }

    #[test]
    fn a_version_two_host_gives_one_place() {
        let mounts = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot\n";
        let found = places(mounts, "0::/system.slice/portcullis.service\n", |directory| {
            assert_eq!(directory, Path::new("/sys/fs/cgroup/system.slice/portcullis.service"));
            "cpuset cpu io memory pids\n".into()
        });
        use Controller::{Cpu, Freezer, Memory, Pids};
        let all = vec![Memory, Pids, Cpu, Freezer];
        assert_eq!(directories(&found), [(Version::Two, all, "/sys/fs/cgroup/system.slice/portcullis.service")]);
        assert!(places(mounts, "0::/x\n", |_| "cpuset\n".into()).is_empty(), "nothing of use is no place");
    }

    #[test]
    fn a_mount_of_a_part_of_the_hierarchy_is_seen_through() {
        let mounts = "\
5 4 0:9 /docker/abc /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
6 4 0:10 /docker/abc /sys/fs/cgroup/with\\040blank\\134 rw - cgroup cgroup rw,pids
7 4 0:11 / /cg2 rw - cgroup2 none rw
";
        let own = "4:memory:/docker/abc/x\n3:pids:/elsewhere\n0::/../../other\n";
        let places = places(mounts, own, |_| "cpu".into());
        let paths: Vec<_> = places.iter().map(|place| place.directory.to_str().unwrap()).collect();
        assert_eq!(paths, ["/sys/fs/cgroup/memory/x", "/sys/fs/cgroup/with blank\\", "/cg2"]);
    }

    #[test]
    fn the_leaf_an_earlier_launcher_made_is_not_taken_for_our_own_place() {
        let mounts = "30 23 0:26 / /cg rw - cgroup2 cgroup2 rw\n";
        let places = places(mounts, "0::/unit/portcullis-7-12-99/server\n", |_| "memory".into());
        assert_eq!(places[0].directory, Path::new("/cg/unit"));
    }

    #[test]
    fn hostile_text_gives_no_place_and_no_panic() {
        for text in
            ["", "\n", " - ", "1 2 3 - cgroup", "a b c / /x - cgroup2", "1 2 3 / \\9 rw - cgroup cgroup memory\\"]
        {
            let _ = places(text, "0::", |_| String::new());
            let _ = places(HYBRID, text, |_| String::new());
        }
        assert_eq!(unescaped("a\\040b\\"), "a b\\");
        assert_eq!(unescaped("\\4é0"), "\\4é0");
    }
}
