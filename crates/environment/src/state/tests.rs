use super::{
    age::{RENEWAL_MS, START_MS_MAX},
    *,
};

/// A revision whose number tells its account and its class.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Revision(pub(super) u8);

impl Key for Revision {
    fn account(&self) -> &str {
        match self.0 {
            8.. => ["three", "four", "five", "six"][usize::from(self.0) % 4],
            _ if self.0 % 4 < 2 => "one",
            _ => "two",
        }
    }

    fn class(&self) -> Option<Class> {
        (self.0 < 4).then_some(Class { runtime: self.0 % 2, memory_mb: 128 })
    }
}

const LIMITS: Limits = Limits {
    processes_max: 4,
    share_max: 3,
    account_max: 6,
    starts_max: 3,
    waiters_max: 5,
    waiters_share_max: 5,
    idle_ttl_ms: 10_000,
    standbys_max: 0,
};

struct Check {
    machine: Machine<Revision>,
    effects: Vec<Effect<Revision>>,
}

impl Check {
    fn new(limits: Limits) -> Check {
        Check { machine: Machine::new(limits), effects: Vec::new() }
    }

    fn expect(
        &mut self,
        act: impl FnOnce(&mut Machine<Revision>, &mut Vec<Effect<Revision>>),
        expected: &[Effect<Revision>],
    ) {
        self.effects.clear();
        act(&mut self.machine, &mut self.effects);
        assert_eq!(self.effects, expected);
    }
}

use Effect::{Adopt, Assign, Fail, Kill, Refuse, Standby};
use Initialization::{OnDemand, Provisioned};

#[expect(non_snake_case, reason = "reads as the effect it makes")]
fn Start(id: EnvironmentId, key: Revision) -> Effect<Revision> {
    Effect::Start(id, key, OnDemand)
}

#[test]
fn a_warm_environment_serves_the_next_request_of_its_revision_only() {
    let mut check = Check::new(LIMITS);
    check.expect(|m, e| m.request(&Revision(0), 1, 0, 0, e), &[Start(1, Revision(0))]);
    check.expect(|m, e| m.ready(1, 5, u64::MAX, e), &[Assign(1, 1)]);
    check.expect(|m, e| m.finished(1, true, 6, e), &[]);
    check.expect(|m, e| m.request(&Revision(0), 2, 0, 7, e), &[Assign(1, 2)]);
    check.expect(|m, e| m.finished(1, true, 8, e), &[]);
    check.expect(|m, e| m.request(&Revision(1), 3, 0, 9, e), &[Start(2, Revision(1))]);
}

#[test]
fn the_newest_idle_environment_is_used_first_and_the_rest_age_out() {
    let mut check = Check::new(LIMITS);
    for ticket in 1..=2 {
        check.expect(|m, e| m.request(&Revision(0), ticket, 0, 0, e), &[Start(ticket, Revision(0))]);
        check.expect(|m, e| m.ready(ticket, 0, u64::MAX, e), &[Assign(ticket, ticket)]);
    }
    check.expect(|m, e| m.finished(1, true, 1, e), &[]);
    check.expect(|m, e| m.finished(2, true, 2, e), &[]);
    check.expect(|m, e| m.request(&Revision(0), 3, 0, 9_000, e), &[Assign(2, 3)]);
    check.expect(|m, e| m.finished(2, true, 9_001, e), &[]);
    check.expect(|m, e| m.reap(10_001, e), &[Kill(1)]);
}

#[test]
fn who_starts_for_long_keeps_nobody_from_starting() {
    let mut check = Check::new(Limits {
        processes_max: 16,
        share_max: 12,
        starts_max: 3,
        waiters_max: 9,
        waiters_share_max: 9,
        ..LIMITS
    });
    for ticket in 1..=3 {
        check.expect(|m, e| m.request(&Revision(0), ticket, 0, 0, e), &[Start(ticket, Revision(0))]);
    }
    check.expect(|m, e| m.request(&Revision(0), 4, 0, 0, e), &[]);
    check.expect(|m, e| m.request(&Revision(2), 5, 0, 1, e), &[]);
    check.expect(|m, e| m.reap(START_MS_MAX - 1, e), &[]);
    // Who has none is first.
    check.expect(|m, e| m.reap(START_MS_MAX, e), &[Start(4, Revision(2)), Start(5, Revision(0))]);
    // The end of one that counts no more frees nothing a second time: of three starts one is left, then none.
    check.expect(|m, e| m.ready(1, START_MS_MAX, u64::MAX, e), &[Assign(1, 1)]);
    check.expect(|m, e| m.request(&Revision(4), 6, 0, START_MS_MAX, e), &[Start(6, Revision(4))]);
    check.expect(|m, e| m.request(&Revision(6), 7, 0, START_MS_MAX, e), &[]);
}

#[test]
fn a_broken_environment_is_never_used_again() {
    let mut check = Check::new(LIMITS);
    check.expect(|m, e| m.request(&Revision(0), 1, 0, 0, e), &[Start(1, Revision(0))]);
    check.expect(|m, e| m.ready(1, 0, u64::MAX, e), &[Assign(1, 1)]);
    check.expect(|m, e| m.finished(1, false, 1, e), &[Kill(1)]);
    check.expect(|m, e| m.request(&Revision(0), 2, 0, 2, e), &[Start(2, Revision(0))]);
}

#[test]
fn a_full_node_makes_room_by_killing_what_is_idle() {
    let mut check = Check::new(Limits { processes_max: 1, share_max: 1, ..LIMITS });
    check.expect(|m, e| m.request(&Revision(0), 1, 0, 0, e), &[Start(1, Revision(0))]);
    check.expect(|m, e| m.ready(1, 0, u64::MAX, e), &[Assign(1, 1)]);
    check.expect(|m, e| m.finished(1, true, 1, e), &[]);
    check.expect(|m, e| m.request(&Revision(1), 2, 0, 2, e), &[Kill(1)]);
    check.expect(|m, e| m.dead(1, 0, e), &[Start(2, Revision(1))]);
}

#[test]
fn what_does_not_die_keeps_its_place_and_is_not_counted_on() {
    // Of the same account, which is at its share, and of another.
    for other in [Revision(1), Revision(2)] {
        let mut check = Check::new(Limits { share_max: 2, ..LIMITS });
        for key in [0, 0, 8, 9] {
            assert_eq!(hold(&mut check, key, 1), 1);
        }
        for id in 1..=4 {
            check.expect(|m, e| m.finished(id, true, id, e), &[]);
        }
        check.expect(|m, e| m.request(&other, 9_000, 0, 5, e), &[Kill(1)]);
        check.expect(|m, e| m.lingers(1, 6, e), &[Kill(2)]);
        check.expect(|m, e| m.lingers(1, 7, e), &[]);
        assert_eq!(check.machine.live(), 4);
        check.expect(|m, e| m.dead(2, 8, e), &[Start(5, other)]);
        check.expect(|m, e| m.dead(1, 9, e), &[]);
        assert_eq!(check.machine.live(), 3);
    }
}

#[test]
fn one_busy_function_does_not_starve_another() {
    let mut check = Check::new(Limits { processes_max: 1, share_max: 1, ..LIMITS });
    check.expect(|m, e| m.request(&Revision(0), 1, 0, 0, e), &[Start(1, Revision(0))]);
    check.expect(|m, e| m.ready(1, 0, u64::MAX, e), &[Assign(1, 1)]);
    check.expect(|m, e| m.request(&Revision(1), 2, 0, 10, e), &[]);
    check.expect(|m, e| m.request(&Revision(0), 3, 0, 11, e), &[]);
    check.expect(|m, e| m.finished(1, true, 100, e), &[Assign(1, 3)]);
    check.expect(|m, e| m.request(&Revision(0), 4, 0, 101, e), &[]);
    check.expect(|m, e| m.finished(1, true, 10 + STARVED_MS, e), &[Kill(1)]);
    check.expect(|m, e| m.dead(1, 0, e), &[Start(2, Revision(1))]);
}

#[test]
fn no_account_takes_every_process() {
    let mut check = Check::new(LIMITS);
    for ticket in 1..=3 {
        check.expect(|m, e| m.request(&Revision(0), ticket, 0, 0, e), &[Start(ticket, Revision(0))]);
        check.expect(|m, e| m.ready(ticket, 0, u64::MAX, e), &[Assign(ticket, ticket)]);
    }
    // One process is left, and it is not for the account that has three.
    check.expect(|m, e| m.request(&Revision(0), 4, 0, 1, e), &[]);
    check.expect(|m, e| m.request(&Revision(2), 5, 0, 2, e), &[Start(4, Revision(2))]);
    // What waits is served by the account's own.
    check.expect(|m, e| m.finished(1, true, 3, e), &[Assign(1, 4)]);
    check.expect(|m, e| m.finished(1, true, 4, e), &[]);
    // What is unused now is the last there is.
    check.expect(|m, e| m.request(&Revision(1), 6, 0, 5, e), &[]);
    check.expect(|m, e| m.finished(2, true, 6, e), &[Kill(1)]);
    check.expect(|m, e| m.dead(1, 0, e), &[Start(5, Revision(1))]);
}

/// Has requests of a key arrive, all of which last; says how many got an environment.
fn hold(check: &mut Check, key: u8, requests: usize) -> usize {
    let mut held = 0;
    for _ in 0..requests {
        let ticket = check.machine.next * 1_000 + held as u64;
        check.effects.clear();
        check.machine.request(&Revision(key), ticket, 0, 0, &mut check.effects);
        let [Effect::Start(id, ..)] = check.effects[..] else { return held };
        check.machine.ready(id, 0, u64::MAX, &mut check.effects);
        held += 1;
    }
    held
}

#[test]
fn who_has_nothing_finds_a_place_however_many_hold_theirs() {
    let roomy = Limits { processes_max: 64, share_max: 48, account_max: 99, waiters_max: 99, ..LIMITS };
    let limits = Limits { waiters_share_max: 99, ..roomy };
    let mut check = Check::new(limits);
    // Three quarters, then three quarters of what is left; the last place is for one that has none.
    for (key, expected) in [(4, 48), (6, 12), (8, 3), (9, 1)] {
        assert_eq!(hold(&mut check, key, 64), expected, "key {key}");
    }
    assert_eq!((check.machine.live(), hold(&mut check, 10, 1)), (64, 0));
    // Many accounts with a function each fill the node as they always did.
    let mut check = Check::new(Limits { processes_max: 6, share_max: 4, ..limits });
    for key in [4, 6, 8, 9, 10, 11] {
        assert_eq!(hold(&mut check, key, 1), 1, "key {key}");
    }
}

#[test]
fn what_is_unused_counts_as_free_and_is_not_used_beyond_what_an_account_may() {
    let mut check = Check::new(LIMITS);
    assert_eq!(hold(&mut check, 4, 3), 3);
    check.expect(|m, e| m.finished(1, true, 1, e), &[]);
    check.expect(|m, e| m.finished(2, true, 2, e), &[]);
    assert_eq!(hold(&mut check, 6, 1), 1);
    check.expect(|m, e| m.request(&Revision(6), 50_000, 0, 2, e), &[Kill(1)]);
    check.expect(|m, e| m.dead(1, 3, e), &[Start(5, Revision(6))]);
    check.expect(|m, e| m.ready(5, 4, u64::MAX, e), &[Assign(5, 50_000)]);
    // Three are at work, one of the first account's. The last place is nobody's second, though it has one there, warm.
    check.expect(|m, e| m.request(&Revision(5), 60_000, 0, 5, e), &[]);
    check.expect(|m, e| m.request(&Revision(4), 60_001, 0, 5, e), &[]);
    assert_eq!(check.machine.checkout(&Revision(4), 60_002, 0), None);
    check.expect(|m, e| m.finished(3, true, 7, e), &[Assign(3, 60_001)]);
    check.expect(|m, e| m.request(&Revision(8), 70_000, 0, 8, e), &[Kill(2)]);
    check.expect(|m, e| m.dead(2, 8, e), &[Start(6, Revision(8))]);
    check.expect(|m, e| m.finished(3, true, 9, e), &[Kill(3)]);
    check.expect(|m, e| m.dead(3, 9, e), &[Start(7, Revision(5))]);
}

#[test]
fn what_an_account_was_kept_from_it_uses_once_others_leave_enough() {
    let mut check = Check::new(LIMITS);
    assert_eq!(hold(&mut check, 4, 2), 2);
    check.expect(|m, e| m.finished(2, true, 1, e), &[]);
    assert_eq!(hold(&mut check, 6, 2), 2);
    check.expect(|m, e| m.request(&Revision(4), 50_000, 0, 2, e), &[]);
    check.expect(|m, e| m.finished(3, true, 3, e), &[Assign(2, 50_000)]);
}

#[test]
fn what_is_kept_ready_leaves_its_account_the_first_place_on_demand() {
    let mut check = Check::new(Limits { processes_max: 4, share_max: 3, ..LIMITS });
    check.expect(
        |m, e| m.provision(&Revision(4), 2, 0, e),
        &[Effect::Start(1, Revision(4), Provisioned), Effect::Start(2, Revision(4), Provisioned)],
    );
    check.expect(|m, e| m.ready(1, 0, u64::MAX, e), &[]);
    check.expect(|m, e| m.ready(2, 0, u64::MAX, e), &[]);
    assert_eq!(hold(&mut check, 6, 1), 1);
    // One place is left. The account that has one on demand must leave it; the other one's is its first.
    assert_eq!(hold(&mut check, 6, 1), 0);
    assert_eq!(hold(&mut check, 5, 1), 1);
}

#[test]
fn how_many_requests_an_account_sends_does_not_decide_how_long_another_waits() {
    let mut check =
        Check::new(Limits { processes_max: 3, account_max: 9, waiters_max: 9, waiters_share_max: 9, ..LIMITS });
    for (id, key) in [(1, 0), (2, 0), (3, 2)] {
        check.expect(|m, e| m.request(&Revision(key), id, 0, 0, e), &[Start(id, Revision(key))]);
        check.expect(|m, e| m.ready(id, 0, u64::MAX, e), &[Assign(id, id)]);
    }
    for ticket in 4..=7 {
        check.expect(|m, e| m.request(&Revision(0), ticket, 0, 1, e), &[]);
    }
    check.expect(|m, e| m.request(&Revision(8), 8, 0, 2, e), &[]);
    check.expect(|m, e| m.finished(1, true, 3, e), &[Assign(1, 4)]);
    // The third account has nothing: the next environment of who has two to become free is for it.
    check.expect(|m, e| m.finished(1, true, 2 + STARVED_MS, e), &[Kill(1)]);
    check.expect(|m, e| m.dead(1, 503, e), &[Start(4, Revision(8))]);
    check.expect(|m, e| m.ready(4, 504, u64::MAX, e), &[Assign(4, 8)]);
    // Each has one now; exchanging them would serve nobody.
    check.expect(|m, e| m.request(&Revision(8), 9, 0, 505, e), &[]);
    check.expect(|m, e| m.finished(2, true, 2_000, e), &[Assign(2, 5)]);
    check.expect(|m, e| m.finished(4, true, 2_000, e), &[Assign(4, 9)]);
}

#[test]
fn starts_go_by_turns_of_the_accounts() {
    let mut check = Check::new(Limits { starts_max: 1, ..LIMITS });
    check.expect(|m, e| m.request(&Revision(0), 1, 0, 0, e), &[Start(1, Revision(0))]);
    check.expect(|m, e| m.request(&Revision(0), 2, 0, 0, e), &[]);
    check.expect(|m, e| m.request(&Revision(1), 3, 0, 0, e), &[]);
    check.expect(|m, e| m.request(&Revision(2), 4, 0, 0, e), &[]);
    check.expect(|m, e| m.ready(1, 1, u64::MAX, e), &[Assign(1, 1), Start(2, Revision(2))]);
    check.expect(|m, e| m.ready(2, 2, u64::MAX, e), &[Assign(2, 4), Start(3, Revision(0))]);
}

#[test]
fn a_fresh_environment_serves_a_request_before_it_makes_room() {
    let mut check = Check::new(Limits { processes_max: 1, share_max: 1, ..LIMITS });
    check.expect(|m, e| m.request(&Revision(0), 1, 0, 0, e), &[Start(1, Revision(0))]);
    check.expect(|m, e| m.request(&Revision(2), 2, 0, 0, e), &[]);
    check.expect(|m, e| m.ready(1, 2 * STARVED_MS, u64::MAX, e), &[Assign(1, 1)]);
    check.expect(|m, e| m.request(&Revision(0), 3, 0, 1_001, e), &[]);
    check.expect(|m, e| m.finished(1, true, 1_002, e), &[Kill(1)]);
    // Both have nothing now; the one served longest ago is next.
    check.expect(|m, e| m.dead(1, 1_003, e), &[Start(2, Revision(2))]);
}

#[test]
fn no_account_takes_the_whole_queue() {
    let limits = Limits { processes_max: 1, share_max: 1, waiters_max: 4, waiters_share_max: 3, ..LIMITS };
    let mut check = Check::new(limits);
    check.expect(|m, e| m.request(&Revision(0), 1, 0, 0, e), &[Start(1, Revision(0))]);
    check.expect(|m, e| m.request(&Revision(1), 2, 0, 0, e), &[]);
    check.expect(|m, e| m.request(&Revision(0), 3, 0, 0, e), &[]);
    check.expect(|m, e| m.request(&Revision(0), 4, 0, 0, e), &[Refuse(4, Refused::Waiters)]);
    check.expect(|m, e| m.request(&Revision(2), 5, 0, 0, e), &[]);
    // The queue is full: who has least displaces the newest of who has most, and nobody displaces his equals.
    check.expect(|m, e| m.request(&Revision(2), 6, 0, 0, e), &[Refuse(3, Refused::Waiters)]);
    check.expect(|m, e| m.request(&Revision(2), 7, 0, 0, e), &[Refuse(7, Refused::Waiters)]);
    assert_eq!((check.machine.in_flight("one"), check.machine.in_flight("two")), (2, 2));
}

#[test]
fn limits_refuse_at_once() {
    let mut check = Check::new(Limits { account_max: 1, ..LIMITS });
    check.expect(|m, e| m.request(&Revision(0), 1, 0, 0, e), &[Start(1, Revision(0))]);
    check.expect(|m, e| m.request(&Revision(1), 2, 0, 0, e), &[Refuse(2, Refused::Account)]);
    check.expect(|m, e| m.request(&Revision(2), 3, 0, 0, e), &[Start(2, Revision(2))]);

    let mut check = Check::new(Limits { waiters_max: 1, ..LIMITS });
    check.expect(|m, e| m.request(&Revision(0), 1, 0, 0, e), &[Start(1, Revision(0))]);
    check.expect(|m, e| m.request(&Revision(1), 2, 0, 0, e), &[Refuse(2, Refused::Waiters)]);
}

#[test]
fn a_function_that_cannot_load_backs_off() {
    let mut check = Check::new(LIMITS);
    for attempt in 1..=u64::from(FAILURES_FREE) {
        check.expect(|m, e| m.request(&Revision(0), attempt, 0, 0, e), &[Start(attempt, Revision(0))]);
        check.expect(|m, e| m.init_failed(attempt, 0, e), &[Kill(attempt), Fail(attempt)]);
        check.expect(|m, e| m.dead(attempt, 0, e), &[]);
    }
    check.expect(|m, e| m.request(&Revision(0), 10, 0, BACKOFF_FIRST_MS - 1, e), &[Fail(10)]);
    check.expect(|m, e| m.request(&Revision(0), 11, 0, BACKOFF_FIRST_MS, e), &[Start(6, Revision(0))]);
    check.expect(|m, e| m.ready(6, BACKOFF_FIRST_MS, u64::MAX, e), &[Assign(6, 11)]);
}

#[test]
fn a_new_revision_drains_the_old_one() {
    let mut check = Check::new(LIMITS);
    for ticket in 1..=2 {
        check.expect(|m, e| m.request(&Revision(0), ticket, 0, 0, e), &[Start(ticket, Revision(0))]);
        check.expect(|m, e| m.ready(ticket, 0, u64::MAX, e), &[Assign(ticket, ticket)]);
    }
    check.expect(|m, e| m.finished(1, true, 1, e), &[]);
    check.expect(|m, e| m.retire(|key| key.0 == 0, 2, e), &[Kill(1)]);
    check.expect(|m, e| m.finished(2, true, 2, e), &[Kill(2)]);
}

#[test]
fn environments_end_before_their_credentials() {
    let mut check = Check::new(LIMITS);
    check.expect(|m, e| m.request(&Revision(0), 1, 0, 0, e), &[Start(1, Revision(0))]);
    check.expect(|m, e| m.ready(1, 0, 2_000, e), &[Assign(1, 1)]);
    check.expect(|m, e| m.finished(1, true, 1, e), &[]);
    check.expect(|m, e| m.reap(1_999, e), &[]);
    check.expect(|m, e| m.reap(2_000, e), &[Kill(1)]);
}

const WITH_STANDBYS: Limits = Limits { standbys_max: 2, processes_max: 6, share_max: 5, ..LIMITS };

fn class(of: u8) -> Class {
    Class { runtime: of, memory_mb: 128 }
}

#[test]
fn the_first_start_of_a_class_brings_a_standby_that_the_next_one_adopts() {
    let mut check = Check::new(WITH_STANDBYS);
    check.expect(|m, e| m.request(&Revision(0), 1, 0, 0, e), &[Start(1, Revision(0))]);
    // Not before those who are waited for.
    check.expect(|m, e| m.ready(1, 5, u64::MAX, e), &[Assign(1, 1), Standby(2, class(0))]);
    check.expect(|m, e| m.standby_ready(2, 6, e), &[]);
    assert_eq!(check.machine.standbys(), 1);
    // Another function of another account, but of the same class.
    check.expect(|m, e| m.request(&Revision(2), 2, 0, 7, e), &[Adopt(2, Revision(2), OnDemand)]);
    check.expect(|m, e| m.ready(2, 8, u64::MAX, e), &[Assign(2, 2), Standby(3, class(0))]);
    // Of another class, and of none.
    check.expect(|m, e| m.standby_ready(3, 9, e), &[Standby(4, class(0))]);
    check.expect(|m, e| m.request(&Revision(1), 3, 0, 9, e), &[Start(5, Revision(1))]);
    check.expect(|m, e| m.request(&Revision(4), 4, 0, 9, e), &[Start(6, Revision(4))]);
}

#[test]
fn a_standby_makes_room_before_anything_warm_does() {
    let mut check = Check::new(Limits { processes_max: 3, ..WITH_STANDBYS });
    check.expect(|m, e| m.request(&Revision(0), 1, 0, 0, e), &[Start(1, Revision(0))]);
    check.expect(|m, e| m.ready(1, 5, u64::MAX, e), &[Assign(1, 1), Standby(2, class(0))]);
    check.expect(|m, e| m.standby_ready(2, 6, e), &[]);
    check.expect(|m, e| m.finished(1, true, 7, e), &[]);
    check.expect(|m, e| m.request(&Revision(1), 2, 0, 8, e), &[Start(3, Revision(1))]);
    check.expect(|m, e| m.request(&Revision(3), 3, 0, 9, e), &[Kill(2)]);
    check.expect(|m, e| m.dead(2, 9, e), &[Start(4, Revision(3))]);
}

#[test]
fn a_standby_that_cannot_be_used_costs_its_request_nothing() {
    let mut check = Check::new(WITH_STANDBYS);
    check.expect(|m, e| m.request(&Revision(0), 1, 0, 0, e), &[Start(1, Revision(0))]);
    check.expect(|m, e| m.ready(1, 5, u64::MAX, e), &[Assign(1, 1), Standby(2, class(0))]);
    check.expect(|m, e| m.standby_ready(2, 6, e), &[]);
    check.expect(|m, e| m.request(&Revision(0), 2, 0, 7, e), &[Adopt(2, Revision(0), OnDemand)]);
    check.expect(|m, e| m.adopt_failed(2, 8, e), &[Kill(2), Start(3, Revision(0))]);
    // The next standby waits, as after a failed start.
    check.expect(|m, e| m.ready(3, 9, u64::MAX, e), &[Assign(3, 2)]);
    check.expect(|m, e| m.reap(8 + BACKOFF_FIRST_MS, e), &[Standby(4, class(0))]);
    check.expect(|m, e| m.standby_failed(4, 2_000, e), &[Kill(4)]);
}

#[test]
fn standbys_follow_the_cold_starts_and_go_when_none_come() {
    let limits = Limits { standbys_max: 9, processes_max: 40, share_max: 40, account_max: 40, ..LIMITS };
    let mut check = Check::new(limits);
    let mut effects = Vec::new();
    let mut blanks: Vec<EnvironmentId> = Vec::new();
    for ticket in 1..=5 {
        check.machine.request(&Revision(0), ticket, 0, 0, &mut effects);
        for effect in std::mem::take(&mut effects) {
            match effect {
                Effect::Start(id, ..) | Adopt(id, ..) => check.machine.ready(id, 0, u64::MAX, &mut effects),
                Standby(id, _) => blanks.push(id),
                _ => {}
            }
        }
        for effect in std::mem::take(&mut effects) {
            if let Standby(id, _) = effect {
                blanks.push(id);
            }
        }
    }
    while let Some(id) = blanks.pop() {
        check.machine.standby_ready(id, 1, &mut effects);
        for effect in std::mem::take(&mut effects) {
            if let Standby(id, _) = effect {
                blanks.push(id);
            }
        }
    }
    assert_eq!(check.machine.standbys(), 5);
    check.machine.reap(60_000, &mut effects);
    assert_eq!(check.machine.standbys(), 1, "{effects:?}");
    check.machine.reap(3 * 60 * 60 * 1_000, &mut effects);
    assert_eq!(check.machine.standbys(), 0);
}

#[test]
fn what_is_provisioned_is_started_kept_and_replaced() {
    let mut check = Check::new(LIMITS);
    let key = Revision(4);
    let start = |id| Effect::Start(id, Revision(4), Provisioned);
    check.expect(|m, e| m.provision(&key, 2, 0, e), &[start(1), start(2)]);
    check.expect(|m, e| m.ready(1, 1, u64::MAX, e), &[]);
    let held = check.machine.held(&key);
    assert_eq!(held, Held { wanted: 2, allocated: 2, available: 1, failures: 0, crowded: false });
    check.expect(|m, e| m.ready(2, 1, u64::MAX, e), &[]);
    check.expect(|m, e| m.reap(1_000_000, e), &[]);
    // A third request spills over to an environment of its own.
    for (ticket, expected) in [(1, Assign(2, 1)), (2, Assign(1, 2))] {
        check.expect(|m, e| m.request(&key, ticket, 0, 1, e), &[expected]);
    }
    check.expect(|m, e| m.request(&key, 3, 0, 1, e), &[Start(3, Revision(4))]);
    check.expect(|m, e| m.ready(3, 1, u64::MAX, e), &[Assign(3, 3)]);
    check.expect(|m, e| m.finished(3, true, 2, e), &[]);
    // One that crashes is replaced; one that spilled is reaped.
    check.expect(|m, e| m.finished(1, false, 3, e), &[Kill(1)]);
    check.expect(|m, e| m.dead(1, 3, e), &[start(4)]);
    check.expect(|m, e| m.reap(2 + LIMITS.idle_ttl_ms, e), &[Kill(3)]);
    check.expect(|m, e| m.retire(|key| key.0 == 0, 4, e), &[]);
    check.expect(|m, e| m.provision(&key, 0, 5, e), &[]);
    check.expect(|m, e| m.ready(4, 6, u64::MAX, e), &[Kill(4)]);
    check.expect(|m, e| m.finished(2, true, 7, e), &[Kill(2)]);
    assert_eq!(check.machine.held(&key), Held::default());
}

#[test]
fn what_is_provisioned_is_replaced_before_it_is_too_old() {
    let mut check = Check::new(LIMITS);
    let start = |id| Effect::Start(id, Revision(4), Provisioned);
    check.expect(|m, e| m.provision(&Revision(4), 1, 0, e), &[start(1)]);
    check.expect(|m, e| m.ready(1, 0, 5_000, e), &[]);
    check.expect(|m, e| m.reap(5_000, e), &[start(2)]);
    // The old one serves until the new one is there, and a little longer.
    assert_eq!(check.machine.checkout(&Revision(4), 1, 0), Some(1));
    check.expect(|m, e| m.ready(2, 5_100, u64::MAX, e), &[]);
    check.expect(|m, e| m.finished(1, true, 5_200, e), &[]);
    assert_eq!(check.machine.checkout(&Revision(4), 2, 0), Some(2));
    check.expect(|m, e| m.reap(5_000 + RENEWAL_MS, e), &[Kill(1)]);
}

#[test]
fn not_everything_can_be_kept_ready() {
    let mut check = Check::new(LIMITS);
    check.expect(
        |m, e| m.provision(&Revision(4), 9, 0, e),
        &[1, 2].map(|id| Effect::Start(id, Revision(4), Provisioned)),
    );
    assert_eq!(
        check.machine.held(&Revision(4)),
        Held { wanted: 9, allocated: 2, available: 0, failures: 0, crowded: true }
    );
    check.expect(|m, e| m.request(&Revision(0), 1, 0, 0, e), &[Start(3, Revision(0))]);
}

#[test]
fn what_cannot_be_provisioned_says_so_and_tries_again_later() {
    let mut check = Check::new(LIMITS);
    let key = Revision(4);
    let start = |id| Effect::Start(id, Revision(4), Provisioned);
    check.expect(|m, e| m.provision(&key, 1, 0, e), &[start(1)]);
    for id in 1..u64::from(FAILURES_FREE) {
        check.expect(|m, e| m.init_failed(id, 0, e), &[Kill(id), start(id + 1)]);
        check.expect(|m, e| m.dead(id, 0, e), &[]);
    }
    check.expect(|m, e| m.init_failed(5, 0, e), &[Kill(5)]);
    check.expect(|m, e| m.dead(5, 0, e), &[]);
    assert_eq!(check.machine.held(&key), Held { wanted: 1, allocated: 0, available: 0, failures: 5, crowded: false });
    check.expect(|m, e| m.reap(BACKOFF_FIRST_MS, e), &[start(6)]);
}

#[test]
fn memory_pressure_takes_standbys_then_what_was_idle_longest() {
    let mut check = Check::new(WITH_STANDBYS);
    check.expect(|m, e| m.provision(&Revision(5), 1, 0, e), &[Effect::Start(1, Revision(5), Provisioned)]);
    check.expect(|m, e| m.ready(1, 0, u64::MAX, e), &[]);
    for (id, key) in [(2, 0), (4, 2)] {
        check.machine.request(&Revision(key), id, 0, 0, &mut Vec::new());
        check.machine.ready(id, id, u64::MAX, &mut Vec::new());
        check.machine.standby_ready(3, 3, &mut Vec::new());
    }
    let mut effects = Vec::new();
    for id in [2, 3] {
        check.machine.finished(id, true, 10 + id, &mut effects);
    }
    effects.clear();
    check.machine.relieve(9, 20, &mut effects);
    assert!(effects.iter().all(|effect| matches!(effect, Kill(_))), "{effects:?}");
    assert!(!effects.contains(&Kill(1)), "{effects:?}");
    assert!(effects.contains(&Kill(2)), "{effects:?}");
}

#[test]
fn an_environment_last_used_at_the_same_place_is_preferred() {
    let mut check = Check::new(LIMITS);
    for (id, location) in [(1, 7), (2, 8)] {
        check.expect(|m, e| m.request(&Revision(4), id, location, 0, e), &[Start(id, Revision(4))]);
        check.expect(|m, e| m.ready(id, 0, u64::MAX, e), &[Assign(id, id)]);
    }
    for id in [1, 2] {
        check.expect(|m, e| m.finished(id, true, 1, e), &[]);
    }
    assert_eq!(check.machine.checkout(&Revision(4), 3, 7), Some(1));
    check.expect(|m, e| m.finished(1, true, 2, e), &[]);
    assert_eq!(check.machine.checkout(&Revision(4), 4, 9), Some(1), "the newest, if none is of that place");
    assert_eq!(check.machine.checkout(&Revision(4), 5, 9), Some(2));
}

#[test]
fn what_has_been_idle_for_a_moment_is_frozen_oldest_first_and_given_out_after_what_runs() {
    let mut check = Check::new(Limits { processes_max: 8, share_max: 8, ..LIMITS });
    for ticket in 1..=3 {
        check.expect(|m, e| m.request(&Revision(4), ticket, 0, 0, e), &[Start(ticket, Revision(4))]);
        check.expect(|m, e| m.ready(ticket, 0, u64::MAX, e), &[Assign(ticket, ticket)]);
    }
    for (id, now_ms) in [(2, 100), (1, 101), (3, 102)] {
        check.expect(|m, e| m.finished(id, true, now_ms, e), &[]);
    }
    assert!(check.machine.freeze(349, |_, _| true).is_empty());
    assert_eq!(check.machine.freeze(351, |_, idle_ms| idle_ms > 250), [2], "the other cannot be");
    assert_eq!(check.machine.freeze(351, |_, _| true), [1]);
    assert!(check.machine.freeze(351, |_, _| true).is_empty(), "they are");
    assert_eq!((check.machine.frozen(), check.machine.idle()), (2, 3));
    assert_eq!(check.machine.checkout(&Revision(4), 4, 7), Some(3), "it runs");
    assert_eq!(check.machine.checkout(&Revision(4), 5, 7), Some(1), "the newest of the frozen");
    assert_eq!((check.machine.frozen(), check.machine.idle()), (1, 1));
    check.expect(|m, e| m.finished(1, true, 400, e), &[]);
    assert!(check.machine.freeze(649, |_, _| true).is_empty(), "its time begins anew");
    assert_eq!(check.machine.freeze(650, |_, _| true), [1]);
}

#[test]
fn a_frozen_environment_goes_by_every_way_an_idle_one_goes() {
    type Way = fn(&mut Machine<Revision>, &mut Vec<Effect<Revision>>);
    let ways: [Way; 6] = [
        |m, e| m.reap(10_000, e),
        |m, e| m.relieve(1, 300, e),
        |m, e| m.retire(|_| true, 300, e),
        |m, e| m.lost(1, 300, e),
        |m, e| m.close(e),
        |m, e| {
            m.checkout(&Revision(4), 2, 0);
            m.finished(1, false, 300, e);
        },
    ];
    for way in ways {
        let mut check = Check::new(LIMITS);
        check.expect(|m, e| m.request(&Revision(4), 1, 0, 0, e), &[Start(1, Revision(4))]);
        check.expect(|m, e| m.ready(1, 0, u64::MAX, e), &[Assign(1, 1)]);
        check.expect(|m, e| m.finished(1, true, 0, e), &[]);
        assert_eq!(check.machine.freeze(250, |_, _| true), [1]);
        check.expect(way, &[Kill(1)]);
        check.expect(|m, e| m.dead(1, 20_000, e), &[]);
        assert_eq!((check.machine.live(), check.machine.frozen()), (0, 0));
    }
    // Kept ready, it is frozen as well, and neither disuse nor want of memory ends it.
    let mut check = Check::new(LIMITS);
    check.expect(|m, e| m.provision(&Revision(4), 1, 0, e), &[Effect::Start(1, Revision(4), Provisioned)]);
    check.expect(|m, e| m.ready(1, 0, u64::MAX, e), &[]);
    assert_eq!(check.machine.freeze(250, |_, _| true), [1]);
    check.expect(|m, e| m.reap(1_000_000, e), &[]);
    check.expect(|m, e| m.relieve(9, 1_000_000, e), &[]);
    assert_eq!(check.machine.held(&Revision(4)).available, 1);
    check.expect(|m, e| m.provision(&Revision(4), 0, 1_000_000, e), &[Kill(1)]);
}
