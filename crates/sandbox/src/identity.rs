//! Who a sandbox's processes are on the host.
//!
//! Inside, the function is uid 993 and gid 990 (`sbx_user1051`, as on AWS) and what sets the sandbox up is 0. Outside,
//! each sandbox has two numbers of its own, so that nothing of one sandbox belongs to another, nor to anybody of the
//! host. A host that lends only one number (rootless) makes all sandboxes the same user outside; namespaces alone part
//! them then.

use std::collections::VecDeque;

use rustix::io::Errno;

/// The function's user inside.
pub(crate) const INNER_UID: u32 = 993;
/// The function's group inside.
pub(crate) const INNER_GID: u32 = 990;

/// First of the numbers reserved on the host, as users and as groups: above what systemd gives containers and what
/// directory services map to, below its foreign range. Source: systemd, "Users, Groups, UIDs and GIDs on systemd Systems".
pub(crate) const OUTER_FIRST: u32 = 2_100_000_000;
/// Most sandboxes at a time: each takes two numbers.
const SLOTS_MAX: u32 = 8_192;
/// How many such ranges follow one another. Two launchers of one host do not know of each other; each chooses one, and
/// they hardly ever choose the same. Should they, then only their namespaces part their sandboxes.
const RANGES: u32 = 2_048;
/// With fewer sandboxes than this a range is not worth having.
const SLOTS_MIN: u32 = 8;

/// The numbers of one sandbox.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Identity(Option<Pair>);

#[derive(Debug, PartialEq, Eq)]
struct Pair {
    slot: u32,
    /// What 993 and 990 are outside.
    function: u32,
    /// What 0 is outside.
    root: u32,
}

impl Identity {
    /// Whether 0 exists inside; if not, 993 does everything.
    pub(crate) fn has_root(&self) -> bool {
        self.0.is_some()
    }

    /// The two numbers in the launcher's own view, as users and as groups: the function's, and that of who sets the
    /// sandbox up. `None` where all sandboxes are the same user.
    pub(crate) fn outside(&self) -> Option<(u32, u32)> {
        self.0.as_ref().map(|pair| (pair.function, pair.root))
    }

    /// `uid_map` of the sandbox, in the launcher's numbers.
    pub(crate) fn uid_map(&self) -> String {
        self.map(INNER_UID)
    }

    /// `gid_map` likewise.
    pub(crate) fn gid_map(&self) -> String {
        self.map(INNER_GID)
    }

    fn map(&self, inner: u32) -> String {
        match &self.0 {
            Some(pair) => format!("{inner} {} 1\n0 {} 1\n", pair.function, pair.root),
            None => format!("{inner} 0 1\n"),
        }
    }
}

/// All numbers there are, and which are free.
pub(crate) enum Identities {
    /// The launcher may map only itself.
    Shared,
    /// Two for each sandbox.
    Unique { first: u32, free: VecDeque<u32> },
}

impl Identities {
    /// From the launcher's own maps (`/proc/self/uid_map` and `gid_map`). `choice` is any number that another launcher
    /// will hardly have too.
    pub(crate) fn from_maps(uid_map: &str, gid_map: &str, choice: u64) -> Identities {
        let users = extents(uid_map);
        let groups = extents(gid_map);
        let holds = |first: u32, slots: u32| {
            let end = first.checked_add(slots.saturating_mul(2));
            let within =
                |all: &[(u32, u32)]| all.iter().any(|(from, to)| *from <= first && end.is_some_and(|e| e <= *to));
            within(&users) && within(&groups)
        };
        let range = u32::try_from(choice.checked_rem(u64::from(RANGES)).unwrap_or(0)).unwrap_or(0);
        let chosen = OUTER_FIRST.saturating_add(range.saturating_mul(SLOTS_MAX.saturating_mul(2)));
        if holds(chosen, SLOTS_MAX) {
            return Identities::unique(chosen, SLOTS_MAX);
        }
        // A container that was lent a range: the upper part of it, where its own users hardly are.
        for (from, to) in &users {
            let slots = to.saturating_sub(*from).checked_div(4).unwrap_or(0).min(SLOTS_MAX);
            let first = to.saturating_sub(slots.saturating_mul(2)).saturating_sub(2);
            if slots >= SLOTS_MIN && first > INNER_UID && holds(first, slots) {
                return Identities::unique(first, slots);
            }
        }
        Identities::Shared
    }

    /// The first of all numbers; `None` where there is one for all.
    pub(crate) fn first(&self) -> Option<u32> {
        match self {
            Identities::Shared => None,
            Identities::Unique { first, .. } => Some(*first),
        }
    }

    fn unique(first: u32, slots: u32) -> Identities {
        Identities::Unique { first, free: (0..slots).collect() }
    }

    /// Takes numbers that no other sandbox has.
    ///
    /// # Errors
    /// `EAGAIN` when all are taken.
    pub(crate) fn take(&mut self) -> Result<Identity, Errno> {
        match self {
            Identities::Shared => Ok(Identity(None)),
            Identities::Unique { first, free } => {
                // The one that has been free longest: what might still belong to a number has had time to go.
                let slot = free.pop_front().ok_or(Errno::AGAIN)?;
                let function = first.saturating_add(slot.saturating_mul(2));
                Ok(Identity(Some(Pair { slot, function, root: function.saturating_add(1) })))
            }
        }
    }

    /// Gives back the numbers of a sandbox in which nothing lives any more.
    pub(crate) fn give_back(&mut self, identity: Identity) {
        if let (Identities::Unique { free, .. }, Some(pair)) = (self, identity.0) {
            free.push_back(pair.slot);
        }
    }
}

/// (first, one past the last) of each line of a map, in the numbers of who reads it.
fn extents(map: &str) -> Vec<(u32, u32)> {
    let line = |line: &str| {
        let mut numbers = line.split_ascii_whitespace().map(str::parse::<u32>);
        let (Some(Ok(first)), Some(Ok(_)), Some(Ok(count))) = (numbers.next(), numbers.next(), numbers.next()) else {
            return None;
        };
        Some((first, first.saturating_add(count)))
    };
    map.lines().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: &str = "         0          0 4294967295\n";

    #[test]
    fn the_host_lends_two_numbers_of_the_reserved_range() {
        let mut identities = Identities::from_maps(ALL, ALL, 0);
        let (one, two) = (identities.take().unwrap(), identities.take().unwrap());
        assert_eq!(one.uid_map(), "993 2100000000 1\n0 2100000001 1\n");
        assert_eq!(one.gid_map(), "990 2100000000 1\n0 2100000001 1\n");
        assert_eq!(two.uid_map(), "993 2100000002 1\n0 2100000003 1\n");
        assert!(one.has_root());
    }

    #[test]
    fn another_choice_is_another_range_and_none_reaches_what_others_use() {
        let first = |choice| match Identities::from_maps(ALL, ALL, choice) {
            Identities::Unique { first, .. } => first,
            Identities::Shared => panic!("the host lends all numbers"),
        };
        assert_eq!(first(1), OUTER_FIRST + 2 * SLOTS_MAX);
        assert_eq!(first(u64::from(RANGES)), OUTER_FIRST);
        // The first of systemd's foreign range.
        assert!(first(u64::from(RANGES) - 1) + 2 * SLOTS_MAX <= 0x7ffe_0000);
    }

    #[test]
    fn numbers_end_and_come_back() {
        let mut identities = Identities::from_maps(ALL, ALL, 0);
        let mut taken: Vec<_> = (0..SLOTS_MAX).map(|_| identities.take().unwrap()).collect();
        assert_eq!(identities.take(), Err(Errno::AGAIN));
        let map = taken[7].uid_map();
        identities.give_back(taken.swap_remove(7));
        assert_eq!(identities.take().unwrap().uid_map(), map);
        assert_eq!(identities.take(), Err(Errno::AGAIN));
    }

    #[test]
    fn a_small_range_is_used_from_its_upper_end_and_a_single_number_is_shared() {
        let container = "0 100000 65536\n";
        let mut identities = Identities::from_maps(container, container, 7);
        assert_eq!(identities.take().unwrap().uid_map(), "993 49150 1\n0 49151 1\n");
        for map in ["0 1000 1\n", "", "garbage\n", "0 1000 40\n"] {
            let mut identities = Identities::from_maps(map, map, 7);
            let shared = identities.take().unwrap();
            assert_eq!((shared.uid_map(), shared.has_root()), ("993 0 1\n".to_owned(), false), "{map:?}");
        }
        // Groups must be lent as well.
        assert!(!Identities::from_maps(ALL, "0 1000 1\n", 7).take().unwrap().has_root());
    }
}
