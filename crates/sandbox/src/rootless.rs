//! The way without privileges: the launcher becomes root of a user namespace of its own.
//!
//! By itself it may map one number there, its own. Where the host lends its user a range (`/etc/subuid`,
//! `/etc/subgid`), the set-user-id programs `newuidmap` and `newgidmap` map that too, and each sandbox gets numbers of
//! its own as under root. Sources: manual pages `user_namespaces(7)`, `subuid(5)`, `newuidmap(1)`.

use std::{
    fs,
    io::{Read, Write},
    os::fd::AsFd,
    process::{Command, Stdio},
};

use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

use crate::{
    fault::{At, Fault},
    sys::{self, Side},
};

/// Fewer lent numbers than this are not worth asking for.
const RANGE_MIN: u32 = 1_024;
/// No more than this is mapped: the sandboxes need two each.
const RANGE_MAX: u32 = 65_536;
/// Longest file of lent ranges, or of users, that is read.
const FILE_BYTES_MAX: u64 = 4 << 20;
/// Where the two programs are looked for; the environment of the launcher is empty.
const PATH: &str = "/usr/bin:/bin:/usr/sbin:/sbin:/usr/local/bin:/run/wrappers/bin";

/// Numbers of the host that this user may map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Range {
    first: u32,
    count: u32,
}

/// Enters new user and mount namespaces, as root of them.
///
/// # Errors
/// The step: above all that the host does not let ordinary users do this.
pub(crate) fn enter() -> Result<(), Fault> {
    let (user, group) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    let lent = lent_range("/etc/subuid", user).zip(lent_range("/etc/subgid", user));
    if let Some((users, groups)) = lent
        && enter_with_range((user, users), (group, groups))?
    {
        return Ok(());
    }
    sys::own_mounts(true).at("make a user namespace without privileges")?;
    map_one(user, group)
}

/// Maps the one number there is: root inside is who we are outside. Groups cannot be left then.
fn map_one(user: u32, group: u32) -> Result<(), Fault> {
    let write = |name: &str, text: &str| {
        fs::write(format!("/proc/self/{name}"), text).at_with(|| format!("write {name} of the launcher"))
    };
    write("setgroups", "deny")?;
    write("uid_map", &format!("0 {user} 1\n"))?;
    write("gid_map", &format!("0 {group} 1\n"))
}

/// Enters the namespaces and has a helper, which stays outside, map the lent ranges. When it cannot, maps one number.
/// `false` when there is no helper to be had, and nothing has been entered.
fn enter_with_range(users: (u32, Range), groups: (u32, Range)) -> Result<bool, Fault> {
    let us = rustix::process::getpid();
    let Ok((reader, writer)) = std::io::pipe() else { return Ok(false) };
    let helper = match sys::clone(0, None) {
        Ok(Side::Child) => {
            drop(writer);
            sys::exit_now(help(reader, us, users, groups))
        }
        Ok(Side::Parent { pidfd, .. }) => pidfd,
        Err(_) => return Ok(false),
    };
    drop(reader);
    let entered = sys::own_mounts(true).at("make a user namespace without privileges");
    let mut writer = writer;
    if entered.is_ok() {
        let _ = writer.write_all(b"!");
    }
    // Without the word the helper sees the end, and ends.
    drop(writer);
    let status = waitid(WaitId::PidFd(helper.as_fd()), WaitIdOptions::EXITED).ok().flatten();
    entered?;
    if status.and_then(|status| status.exit_status()) == Some(0) {
        // Where the host forbids it, it has a reason: a group may be what shuts us out of something.
        let _ = rustix::thread::set_thread_groups(&[]);
        return Ok(true);
    }
    // The helper gave up before anything was mapped, or half way; then this fails, as it must.
    map_one(users.0, groups.0).map(|()| true)
}

/// In the helper: waits until its parent is in the namespace, then has users and groups mapped.
fn help(mut reader: impl Read, launcher: Pid, users: (u32, Range), groups: (u32, Range)) -> i32 {
    if reader.read_exact(&mut [0]).is_err() {
        return 1;
    }
    let map = |program: &str, (own, lent): (u32, Range)| {
        Command::new(program)
            .arg(launcher.as_raw_nonzero().to_string())
            .args(arguments(own, lent))
            .env_clear()
            .env("PATH", PATH)
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    };
    // Groups first: they are what fails where only users are lent, and then nothing is mapped yet.
    i32::from(!(map("newgidmap", groups) && map("newuidmap", users)))
}

/// Root inside is our own number, the lent ones follow: triples of inside, outside, count.
fn arguments(own: u32, lent: Range) -> [String; 6] {
    [0, own, 1, 1, lent.first, lent.count].map(|number| number.to_string())
}

fn lent_range(path: &str, user: u32) -> Option<Range> {
    let read = |path: &str| {
        let small = fs::metadata(path).is_ok_and(|found| found.len() <= FILE_BYTES_MAX);
        if small { fs::read_to_string(path).ok() } else { None }
    };
    let lent = read(path)?;
    let name = read("/etc/passwd").and_then(|users| user_name(&users, user).map(str::to_owned));
    largest_range(&lent, name.as_deref(), user)
}

/// Name of a user in the form of `/etc/passwd`.
fn user_name(users: &str, user: u32) -> Option<&str> {
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(user)).then_some(name)
    })
}

/// The largest range lent to a user, by name or number, in the form of `/etc/subuid`.
fn largest_range(lent: &str, name: Option<&str>, user: u32) -> Option<Range> {
    let ranges = lent.lines().filter_map(|line| {
        let mut fields = line.trim().split(':');
        let owner = fields.next()?;
        let range = Range { first: fields.next()?.parse().ok()?, count: fields.next()?.parse().ok()? };
        let ours = name == Some(owner) || owner.parse() == Ok(user);
        let sound = range.count >= RANGE_MIN && range.first > 0 && range.first.checked_add(range.count).is_some();
        (ours && sound).then_some(range)
    });
    let largest = ranges.max_by_key(|range| range.count)?;
    Some(Range { count: largest.count.min(RANGE_MAX), ..largest })
}

#[cfg(test)]
mod tests {
    use super::*;

    const USERS: &str = "root:x:0:0:root:/root:/bin/bash\nada:x:1000:1000::/home/ada:/bin/sh\nodd:x\n";

    #[test]
    fn the_largest_sound_range_of_the_user_is_taken() {
        let cases = [
            ("ada:100000:65536\n", Some((100_000, 65_536))),
            ("1000:100000:65536\n", Some((100_000, 65_536))),
            ("eve:1:65536\nada:200000:2000\nada:300000:4000\n", Some((300_000, 4_000))),
            ("ada:100000:1000000\n", Some((100_000, 65_536))),
            ("ada:100000:100\n", None),
            ("ada:0:65536\n", None),
            ("ada:4294967290:65536\n", None),
            ("ada:x:65536\nada\n:::\n", None),
            ("", None),
        ];
        for (lent, expected) in cases {
            let found = largest_range(lent, user_name(USERS, 1_000), 1_000);
            assert_eq!(found.map(|range| (range.first, range.count)), expected, "{lent:?}");
        }
    }

    #[test]
    fn a_user_is_found_by_number() {
        assert_eq!(user_name(USERS, 1_000), Some("ada"));
        assert_eq!(user_name(USERS, 1_001), None);
    }

    #[test]
    fn root_inside_is_the_own_number_and_the_lent_ones_follow() {
        assert_eq!(
            arguments(1_000, Range { first: 100_000, count: 65_536 }),
            ["0", "1000", "1", "1", "100000", "65536"]
        );
    }
}
