use std::collections::{HashMap, HashSet};

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Revision(u8);

impl Key for Revision {
    fn account(&self) -> &str {
        if self.0 < 2 { "one" } else { "two" }
    }
}

const LIMITS: Limits =
    Limits { processes_max: 4, share_max: 3, account_max: 6, starts_max: 3, waiters_max: 5, idle_ttl_ms: 10_000 };

/// Something that happens, with a number that picks among what it can happen to.
#[derive(Debug, Clone)]
enum Step {
    Request(u8),
    Ready(usize),
    InitFailed(usize),
    Finished(usize, bool),
    Stillborn(usize),
    Dead(usize),
    Cancel(usize),
    Lost(usize),
    Retire(u8),
    Reap,
    Wait(u64),
    Close,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0u8..4).prop_map(Step::Request),
        6 => any::<usize>().prop_map(Step::Ready),
        2 => any::<usize>().prop_map(Step::InitFailed),
        8 => (any::<usize>(), any::<bool>()).prop_map(|(at, healthy)| Step::Finished(at, healthy)),
        1 => any::<usize>().prop_map(Step::Stillborn),
        6 => any::<usize>().prop_map(Step::Dead),
        1 => any::<usize>().prop_map(Step::Cancel),
        1 => any::<usize>().prop_map(Step::Lost),
        1 => (0u8..4).prop_map(Step::Retire),
        1 => Just(Step::Reap),
        3 => (0u64..20_000).prop_map(Step::Wait),
        1 => prop_oneof![20 => Just(Step::Reap), 1 => Just(Step::Close)],
    ]
}

/// What a launcher and the callers know, kept apart from the machine to judge it.
#[derive(Default)]
struct World {
    now_ms: u64,
    ticket: Ticket,
    starting: Vec<EnvironmentId>,
    busy: Vec<(EnvironmentId, Ticket)>,
    dying: Vec<EnvironmentId>,
    killed: HashSet<EnvironmentId>,
    keys: HashMap<EnvironmentId, Revision>,
    wanted: HashMap<Ticket, Revision>,
    ended: HashSet<Ticket>,
    closed: bool,
}

impl World {
    fn live(&self) -> usize {
        self.keys.len()
    }

    fn end(&mut self, ticket: Ticket) {
        assert!(self.ended.insert(ticket), "request {ticket} has two outcomes");
    }

    fn take(&mut self, effects: Vec<Effect<Revision>>) {
        for effect in effects {
            match effect {
                Effect::Start(id, key) => {
                    assert!(!self.closed, "started after close");
                    assert!(self.keys.insert(id, key).is_none(), "an id was used twice");
                    assert!(self.live() <= LIMITS.processes_max, "too many processes");
                    self.starting.push(id);
                    assert!(self.starting.len() <= LIMITS.starts_max, "too many starts");
                }
                Effect::Assign(id, ticket) => {
                    assert!(!self.killed.contains(&id), "a killed environment was given out");
                    assert!(self.busy.iter().all(|(busy, _)| *busy != id), "two requests in one environment");
                    assert_eq!(self.keys.get(&id), self.wanted.get(&ticket), "an environment of another revision");
                    assert!(!self.ended.contains(&ticket));
                    self.busy.push((id, ticket));
                }
                Effect::Kill(id) => {
                    assert!(self.keys.contains_key(&id));
                    assert!(self.killed.insert(id), "killed twice");
                    assert!(self.busy.iter().all(|(busy, _)| *busy != id), "killed while busy");
                    self.dying.push(id);
                }
                Effect::Fail(ticket) | Effect::Refuse(ticket, _) => self.end(ticket),
            }
        }
        for account in ["one", "two"] {
            let live = self.keys.values().filter(|key| key.account() == account).count();
            assert!(live <= LIMITS.share_max, "one account has more than its share");
            let in_flight = self
                .wanted
                .iter()
                .filter(|(ticket, key)| key.account() == account && !self.ended.contains(ticket))
                .count();
            assert!(in_flight <= LIMITS.account_max, "too many invocations of one account");
        }
    }

    fn pick<T>(list: &mut Vec<T>, at: usize) -> Option<T> {
        (!list.is_empty()).then(|| list.remove(at % list.len()))
    }

    fn act(&mut self, machine: &mut Machine<Revision>, step: Step) {
        let mut effects = Vec::new();
        match step {
            Step::Request(key) => {
                self.ticket += 1;
                self.wanted.insert(self.ticket, Revision(key));
                machine.request(&Revision(key), self.ticket, self.now_ms, &mut effects);
            }
            Step::Ready(at) => {
                if let Some(id) = World::pick(&mut self.starting, at) {
                    machine.ready(id, self.now_ms, u64::MAX, &mut effects);
                }
            }
            Step::InitFailed(at) => {
                if let Some(id) = World::pick(&mut self.starting, at) {
                    machine.init_failed(id, self.now_ms, &mut effects);
                }
            }
            Step::Finished(at, healthy) => {
                if let Some((id, ticket)) = World::pick(&mut self.busy, at) {
                    self.end(ticket);
                    machine.finished(id, healthy, self.now_ms, &mut effects);
                    assert!(healthy || self.killed.contains(&id) || effects.contains(&Effect::Kill(id)));
                }
            }
            Step::Stillborn(at) => {
                if let Some((id, _)) = World::pick(&mut self.busy, at) {
                    machine.stillborn(id, self.now_ms, &mut effects);
                }
            }
            Step::Dead(at) => {
                if let Some(id) = World::pick(&mut self.dying, at) {
                    self.keys.remove(&id);
                    machine.dead(id, &mut effects);
                }
            }
            Step::Cancel(at) => {
                let ticket = if self.ticket == 0 { 0 } else { 1 + at as u64 % self.ticket };
                let waiting = self.wanted.contains_key(&ticket)
                    && !self.ended.contains(&ticket)
                    && self.busy.iter().all(|(_, busy)| *busy != ticket);
                assert_eq!(machine.cancel(ticket), waiting);
                if waiting {
                    self.end(ticket);
                }
            }
            Step::Lost(at) => machine.lost(at as u64 % 50, &mut effects),
            Step::Retire(key) => machine.retire(|revision| revision.0 == key, &mut effects),
            Step::Reap => machine.reap(self.now_ms, &mut effects),
            Step::Wait(ms) => self.now_ms += ms,
            Step::Close => {
                machine.close(&mut effects);
                self.closed = true;
            }
        }
        self.take(effects);
        assert_eq!(machine.live(), self.live());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_invariants_hold_and_everybody_gets_one_outcome(
        steps in proptest::collection::vec(step(), 0..200),
    ) {
        let mut machine = Machine::new(LIMITS);
        let mut world = World::default();
        for step in steps {
            world.act(&mut machine, step);
        }
        // Whatever state that was: when every start succeeds and every invocation ends, nobody is left waiting.
        for _ in 0..1_000 {
            if world.starting.is_empty() && world.busy.is_empty() && world.dying.is_empty() {
                break;
            }
            world.act(&mut machine, Step::Dead(0));
            world.act(&mut machine, Step::Ready(0));
            world.act(&mut machine, Step::Finished(0, true));
        }
        prop_assert_eq!(world.ended.len() as u64, world.ticket, "a request without outcome");
        prop_assert_eq!(machine.waiting(), 0);
    }
}

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

use Effect::{Assign, Fail, Kill, Refuse, Start};

#[test]
fn a_warm_environment_serves_the_next_request_of_its_revision_only() {
    let mut check = Check::new(LIMITS);
    check.expect(|m, e| m.request(&Revision(0), 1, 0, e), &[Start(1, Revision(0))]);
    check.expect(|m, e| m.ready(1, 5, u64::MAX, e), &[Assign(1, 1)]);
    check.expect(|m, e| m.finished(1, true, 6, e), &[]);
    check.expect(|m, e| m.request(&Revision(0), 2, 7, e), &[Assign(1, 2)]);
    check.expect(|m, e| m.finished(1, true, 8, e), &[]);
    check.expect(|m, e| m.request(&Revision(1), 3, 9, e), &[Start(2, Revision(1))]);
}

#[test]
fn the_newest_idle_environment_is_used_first_and_the_rest_age_out() {
    let mut check = Check::new(LIMITS);
    for ticket in 1..=2 {
        check.expect(|m, e| m.request(&Revision(0), ticket, 0, e), &[Start(ticket, Revision(0))]);
        check.expect(|m, e| m.ready(ticket, 0, u64::MAX, e), &[Assign(ticket, ticket)]);
    }
    check.expect(|m, e| m.finished(1, true, 1, e), &[]);
    check.expect(|m, e| m.finished(2, true, 2, e), &[]);
    check.expect(|m, e| m.request(&Revision(0), 3, 9_000, e), &[Assign(2, 3)]);
    check.expect(|m, e| m.finished(2, true, 9_001, e), &[]);
    check.expect(|m, e| m.reap(10_001, e), &[Kill(1)]);
}

#[test]
fn a_broken_environment_is_never_used_again() {
    let mut check = Check::new(LIMITS);
    check.expect(|m, e| m.request(&Revision(0), 1, 0, e), &[Start(1, Revision(0))]);
    check.expect(|m, e| m.ready(1, 0, u64::MAX, e), &[Assign(1, 1)]);
    check.expect(|m, e| m.finished(1, false, 1, e), &[Kill(1)]);
    check.expect(|m, e| m.request(&Revision(0), 2, 2, e), &[Start(2, Revision(0))]);
}

#[test]
fn a_full_node_makes_room_by_killing_what_is_idle() {
    let mut check = Check::new(Limits { processes_max: 1, share_max: 1, ..LIMITS });
    check.expect(|m, e| m.request(&Revision(0), 1, 0, e), &[Start(1, Revision(0))]);
    check.expect(|m, e| m.ready(1, 0, u64::MAX, e), &[Assign(1, 1)]);
    check.expect(|m, e| m.finished(1, true, 1, e), &[]);
    check.expect(|m, e| m.request(&Revision(1), 2, 2, e), &[Kill(1)]);
    check.expect(|m, e| m.dead(1, e), &[Start(2, Revision(1))]);
}

#[test]
fn one_busy_function_does_not_starve_another() {
    let mut check = Check::new(Limits { processes_max: 1, share_max: 1, ..LIMITS });
    check.expect(|m, e| m.request(&Revision(0), 1, 0, e), &[Start(1, Revision(0))]);
    check.expect(|m, e| m.ready(1, 0, u64::MAX, e), &[Assign(1, 1)]);
    check.expect(|m, e| m.request(&Revision(1), 2, 10, e), &[]);
    check.expect(|m, e| m.request(&Revision(0), 3, 11, e), &[]);
    check.expect(|m, e| m.finished(1, true, 100, e), &[Assign(1, 3)]);
    check.expect(|m, e| m.request(&Revision(0), 4, 101, e), &[]);
    check.expect(|m, e| m.finished(1, true, 10 + STARVED_MS, e), &[Kill(1)]);
    check.expect(|m, e| m.dead(1, e), &[Start(2, Revision(1))]);
}

#[test]
fn no_account_takes_every_process() {
    let mut check = Check::new(LIMITS);
    for ticket in 1..=3 {
        check.expect(|m, e| m.request(&Revision(0), ticket, 0, e), &[Start(ticket, Revision(0))]);
        check.expect(|m, e| m.ready(ticket, 0, u64::MAX, e), &[Assign(ticket, ticket)]);
    }
    // One process is left, and it is not for the account that has three.
    check.expect(|m, e| m.request(&Revision(0), 4, 1, e), &[]);
    check.expect(|m, e| m.request(&Revision(2), 5, 2, e), &[Start(4, Revision(2))]);
    // What waits is served by the account's own.
    check.expect(|m, e| m.finished(1, true, 3, e), &[Assign(1, 4)]);
    check.expect(|m, e| m.finished(1, true, 4, e), &[]);
    check.expect(|m, e| m.request(&Revision(1), 6, 5, e), &[Kill(1)]);
    check.expect(|m, e| m.dead(1, e), &[Start(5, Revision(1))]);
}

#[test]
fn limits_refuse_at_once() {
    let mut check = Check::new(Limits { account_max: 1, ..LIMITS });
    check.expect(|m, e| m.request(&Revision(0), 1, 0, e), &[Start(1, Revision(0))]);
    check.expect(|m, e| m.request(&Revision(1), 2, 0, e), &[Refuse(2, Refused::Account)]);
    check.expect(|m, e| m.request(&Revision(2), 3, 0, e), &[Start(2, Revision(2))]);

    let mut check = Check::new(Limits { waiters_max: 1, ..LIMITS });
    check.expect(|m, e| m.request(&Revision(0), 1, 0, e), &[Start(1, Revision(0))]);
    check.expect(|m, e| m.request(&Revision(1), 2, 0, e), &[Refuse(2, Refused::Waiters)]);
}

#[test]
fn a_function_that_cannot_load_backs_off() {
    let mut check = Check::new(LIMITS);
    for attempt in 1..=u64::from(FAILURES_FREE) {
        check.expect(|m, e| m.request(&Revision(0), attempt, 0, e), &[Start(attempt, Revision(0))]);
        check.expect(|m, e| m.init_failed(attempt, 0, e), &[Kill(attempt), Fail(attempt)]);
        check.expect(|m, e| m.dead(attempt, e), &[]);
    }
    check.expect(|m, e| m.request(&Revision(0), 10, BACKOFF_FIRST_MS - 1, e), &[Fail(10)]);
    check.expect(|m, e| m.request(&Revision(0), 11, BACKOFF_FIRST_MS, e), &[Start(6, Revision(0))]);
    check.expect(|m, e| m.ready(6, BACKOFF_FIRST_MS, u64::MAX, e), &[Assign(6, 11)]);
}

#[test]
fn a_new_revision_drains_the_old_one() {
    let mut check = Check::new(LIMITS);
    for ticket in 1..=2 {
        check.expect(|m, e| m.request(&Revision(0), ticket, 0, e), &[Start(ticket, Revision(0))]);
        check.expect(|m, e| m.ready(ticket, 0, u64::MAX, e), &[Assign(ticket, ticket)]);
    }
    check.expect(|m, e| m.finished(1, true, 1, e), &[]);
    check.expect(|m, e| m.retire(|key| key.0 == 0, e), &[Kill(1)]);
    check.expect(|m, e| m.finished(2, true, 2, e), &[Kill(2)]);
}

#[test]
fn environments_end_before_their_credentials() {
    let mut check = Check::new(LIMITS);
    check.expect(|m, e| m.request(&Revision(0), 1, 0, e), &[Start(1, Revision(0))]);
    check.expect(|m, e| m.ready(1, 0, 2_000, e), &[Assign(1, 1)]);
    check.expect(|m, e| m.finished(1, true, 1, e), &[]);
    check.expect(|m, e| m.reap(1_999, e), &[]);
    check.expect(|m, e| m.reap(2_000, e), &[Kill(1)]);
}
