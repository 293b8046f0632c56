//! Random schedules against a fake launcher and a fake clock, judged by what the launcher and the callers know.
//!
//! 2,000 schedules of up to 200 steps; `SCHEDULES=100000` in the environment asks for more.

use std::collections::{HashMap, HashSet};

use proptest::prelude::*;

use super::{age::START_MS_MAX, tests::Revision, *};

const LIMITS: Limits = Limits {
    processes_max: 6,
    share_max: 4,
    account_max: 6,
    starts_max: 3,
    waiters_max: 6,
    waiters_share_max: 4,
    idle_ttl_ms: 10_000,
    standbys_max: 2,
};
const ACCOUNTS: [&str; 2] = ["one", "two"];
/// Revisions 0-3 can come from standbys, 4-7 cannot.
const REVISIONS: u8 = 8;

/// Something that happens, with a number that picks among what it can happen to.
#[derive(Debug, Clone)]
enum Step {
    Request(u8, Location),
    Checkout(u8, Location),
    Ready(usize),
    InitFailed(usize),
    AdoptFailed(usize),
    StandbyReady(usize),
    StandbyFailed(usize),
    Finished(usize, bool),
    Stillborn(usize),
    Dead(usize),
    Lingers(usize),
    Cancel(usize),
    Lost(usize),
    Retire(u8),
    Provision(u8, u32),
    Relieve(usize),
    /// One in so many cannot be frozen.
    Freeze(u64),
    Reap,
    Wait(u64),
    /// Every process is gone at once, and those starting fail.
    LauncherDies,
    Close,
}

fn step() -> impl Strategy<Value = Step> {
    let revision = || 0..REVISIONS;
    prop_oneof![
        8 => (revision(), 0u64..3).prop_map(|(key, location)| Step::Request(key, location)),
        4 => (revision(), 0u64..3).prop_map(|(key, location)| Step::Checkout(key, location)),
        6 => any::<usize>().prop_map(Step::Ready),
        2 => any::<usize>().prop_map(Step::InitFailed),
        1 => any::<usize>().prop_map(Step::AdoptFailed),
        4 => any::<usize>().prop_map(Step::StandbyReady),
        1 => any::<usize>().prop_map(Step::StandbyFailed),
        8 => (any::<usize>(), any::<bool>()).prop_map(|(at, healthy)| Step::Finished(at, healthy)),
        1 => any::<usize>().prop_map(Step::Stillborn),
        6 => any::<usize>().prop_map(Step::Dead),
        1 => any::<usize>().prop_map(Step::Lingers),
        1 => any::<usize>().prop_map(Step::Cancel),
        1 => any::<usize>().prop_map(Step::Lost),
        1 => revision().prop_map(Step::Retire),
        2 => (revision(), 0u32..4).prop_map(|(key, count)| Step::Provision(key, count)),
        1 => (0usize..4).prop_map(Step::Relieve),
        4 => (2u64..9).prop_map(Step::Freeze),
        1 => Just(Step::Reap),
        3 => (0u64..20_000).prop_map(Step::Wait),
        3 => (0u64..600).prop_map(Step::Wait),
        1 => prop_oneof![8 => Just(Step::Reap), 4 => Just(Step::LauncherDies), 1 => Just(Step::Close)],
    ]
}

/// What a launcher and the callers know, kept apart from the machine to judge it.
#[derive(Default)]
struct World {
    now_ms: u64,
    ticket: Ticket,
    blank: Vec<EnvironmentId>,
    standby: Vec<EnvironmentId>,
    starting: Vec<EnvironmentId>,
    /// Since when the environments that hold a start have been starting.
    begun_ms: HashMap<EnvironmentId, u64>,
    busy: Vec<(EnvironmentId, Ticket)>,
    dying: Vec<EnvironmentId>,
    killed: HashSet<EnvironmentId>,
    /// Since when an environment has been ready and in nobody's hands.
    idle: HashMap<EnvironmentId, u64>,
    frozen: HashSet<EnvironmentId>,
    classes: HashMap<EnvironmentId, Class>,
    keys: HashMap<EnvironmentId, Revision>,
    provisioned: HashSet<EnvironmentId>,
    provision: HashMap<Revision, u32>,
    wanted: HashMap<Ticket, Revision>,
    /// Since when requests have waited.
    since_ms: HashMap<Ticket, u64>,
    ended: HashSet<Ticket>,
    closed: bool,
}

impl World {
    /// Starts that have not taken long.
    fn starts(&self) -> usize {
        self.starting.iter().filter(|id| self.begun_ms.contains_key(id)).count()
    }

    fn live(&self) -> usize {
        self.keys.len() + self.classes.len()
    }

    fn end(&mut self, ticket: Ticket) {
        assert!(self.ended.insert(ticket), "request {ticket} has two outcomes");
    }

    fn assign(&mut self, id: EnvironmentId, ticket: Ticket) {
        assert!(!self.killed.contains(&id), "a killed environment was given out");
        assert!(self.busy.iter().all(|(busy, _)| *busy != id), "two requests in one environment");
        assert!(!self.starting.contains(&id), "an environment was given out before it was ready");
        assert_eq!(self.keys.get(&id), self.wanted.get(&ticket), "an environment of another revision");
        assert!(!self.ended.contains(&ticket));
        self.idle.remove(&id);
        // Whoever is handed one lets it run.
        if self.frozen.remove(&id) {
            let runs = |other: &EnvironmentId| !self.frozen.contains(other) && !self.provisioned.contains(other);
            let better = self.idle.keys().find(|other| runs(other) && self.keys.get(other) == self.keys.get(&id));
            assert!(better.is_none() || self.provisioned.contains(&id), "one that runs was passed over");
        }
        self.busy.push((id, ticket));
    }

    fn begin(&mut self, id: EnvironmentId, key: Revision, why: Initialization) {
        assert!(!self.closed, "started after close");
        assert!(self.keys.insert(id, key).is_none(), "an id was used twice, or an environment changed its key");
        self.starting.push(id);
        self.begun_ms.insert(id, self.now_ms);
        if why == Initialization::Provisioned {
            self.provisioned.insert(id);
        }
        assert!(self.starts() <= LIMITS.starts_max, "too many starts");
        if why == Initialization::OnDemand {
            self.judge_room(&self.keys[&id]);
        }
    }

    fn take(&mut self, effects: Vec<Effect<Revision>>, waiting: usize) {
        for effect in effects {
            match effect {
                Effect::Start(id, key, why) => {
                    self.judge_turn(&key, why);
                    assert!(!self.classes.contains_key(&id) && !self.killed.contains(&id), "an id was used twice");
                    self.begin(id, key, why);
                }
                Effect::Adopt(id, key, why) => {
                    let class = self.classes.remove(&id);
                    assert!(class.is_some() && class == key.class(), "a standby of another class was adopted");
                    let before = self.standby.len();
                    self.standby.retain(|standby| *standby != id);
                    assert_eq!(self.standby.len() + 1, before, "what was adopted was not a standby");
                    self.begin(id, key, why);
                }
                Effect::Standby(id, class) => {
                    assert!(!self.closed, "started after close");
                    assert!(waiting == 0 && self.starts() == 0, "a standby was started ahead of a request");
                    assert!(!self.keys.contains_key(&id) && self.classes.insert(id, class).is_none());
                    self.blank.push(id);
                    assert!(self.blank.len() + self.standby.len() <= LIMITS.standbys_max, "too many standbys");
                }
                Effect::Assign(id, ticket) => self.assign(id, ticket),
                Effect::Kill(id) => {
                    assert!(self.keys.contains_key(&id) || self.classes.contains_key(&id));
                    assert!(self.killed.insert(id), "killed twice");
                    assert!(self.busy.iter().all(|(busy, _)| *busy != id), "killed while busy");
                    self.standby.retain(|standby| *standby != id);
                    self.provisioned.remove(&id);
                    self.idle.remove(&id);
                    self.frozen.remove(&id);
                    self.dying.push(id);
                }
                Effect::Fail(ticket) | Effect::Refuse(ticket, _) => self.end(ticket),
            }
            assert!(self.live() <= LIMITS.processes_max, "too many processes");
        }
    }

    /// Requests of an account without an environment.
    fn waiting(&self, account: &str) -> Vec<(Ticket, &Revision)> {
        let waits = |ticket: &Ticket| !self.ended.contains(ticket) && self.busy.iter().all(|(_, busy)| busy != ticket);
        self.wanted
            .iter()
            .filter(|(ticket, key)| key.account() == account && waits(ticket))
            .map(|(ticket, key)| (*ticket, key))
            .collect()
    }

    fn environments(&self, account: &str) -> usize {
        self.keys.values().filter(|key| key.account() == account).count()
    }

    fn coming(&self, key: &Revision) -> usize {
        self.starting.iter().filter(|id| self.keys.get(id) == Some(key)).count()
    }

    /// Who uses more than one leaves a third of a place for each beyond the first.
    fn judge_room(&self, key: &Revision) {
        let kept_ready = |id: &EnvironmentId| self.provisioned.contains(id);
        let works = self.starting.iter().chain(self.busy.iter().map(|(id, _)| id));
        let own = works.filter(|id| self.keys[id].account() == key.account() && !kept_ready(id));
        let on_demand = own.count();
        let free = LIMITS.processes_max - self.starting.len() - self.busy.len();
        assert!(on_demand <= 1 + 3 * free, "{on_demand} used by one account leave {free}");
    }

    /// Whether an account may certainly have one more: counted against it is all that could be.
    fn may_grow(&self, account: &str) -> bool {
        let kept_ready = |id: &EnvironmentId| self.provisioned.contains(id) && !self.starting.contains(id);
        let idle = self.provisioned.iter().filter(|id| kept_ready(id) && self.busy.iter().all(|(busy, _)| busy != *id));
        let taken = self.starting.len() + self.busy.len() + self.dying.len() + idle.count();
        let mine = self.environments(account);
        mine == 0 || mine <= 3 * LIMITS.processes_max.saturating_sub(taken + 1)
    }

    /// Nothing is launched for an account while another with fewer environments has a request that none is coming for.
    fn judge_turn(&self, key: &Revision, why: Initialization) {
        if why == Initialization::Provisioned {
            return;
        }
        let mine = self.environments(key.account());
        for other in ACCOUNTS.into_iter().filter(|other| *other != key.account()) {
            let waiting = self.waiting(other);
            let uncovered = waiting
                .iter()
                .any(|(_, key)| waiting.iter().filter(|(_, other)| other == key).count() > self.coming(key));
            assert!(
                !uncovered || !self.may_grow(other) || self.environments(other) >= mine,
                "it was the turn of account {other}"
            );
        }
    }

    /// Whether an account that has no environment at all has waited too long on a full node, and one could be started.
    fn hungry(&self, machine: &Machine<Revision>) -> bool {
        let full = self.live() >= LIMITS.processes_max && self.dying.is_empty() && self.classes.is_empty();
        let overdue = |ticket: &Ticket| self.since_ms[ticket] + STARVED_MS <= self.now_ms;
        let hungry = |account| {
            self.environments(account) == 0
                && self.waiting(account).iter().min().is_some_and(|(ticket, _)| overdue(ticket))
        };
        // One kept ready goes to nobody else.
        let kept_ready = machine.environments.values().any(|found| found.provisioned);
        full && !self.closed && !kept_ready && self.starts() < LIMITS.starts_max && ACCOUNTS.into_iter().any(hungry)
    }

    fn check(&self, machine: &Machine<Revision>) {
        assert_eq!(machine.live(), self.live());
        assert_eq!(machine.standbys(), self.standby.len());
        assert_eq!((machine.idle(), machine.frozen()), (self.idle.len(), self.frozen.len()));
        assert!(self.frozen.iter().all(|id| self.idle.contains_key(id)), "one in use is frozen");
        for account in ACCOUNTS {
            let live = self.keys.values().filter(|key| key.account() == account).count();
            assert!(live <= LIMITS.share_max, "one account has more than its share");
            let in_flight = self
                .wanted
                .iter()
                .filter(|(ticket, key)| key.account() == account && !self.ended.contains(ticket))
                .count();
            assert!(in_flight <= LIMITS.account_max, "too many invocations of one account");
            assert_eq!(machine.in_flight(account), in_flight);
            assert_eq!(
                machine.accounts.get(account).map_or(0, |found| found.waiting.len()),
                self.waiting(account).len()
            );
        }
        for (key, count) in &self.provision {
            let held = machine.held(key);
            assert!(self.closed || held.wanted == *count);
            assert!(held.allocated <= *count && held.available <= held.allocated, "more is provisioned than asked for");
        }
        for (id, environment) in &machine.environments {
            assert!(environment.key.is_some() != environment.class.is_some() || self.killed.contains(id));
        }
    }

    fn pick<T>(list: &mut Vec<T>, at: usize) -> Option<T> {
        (!list.is_empty()).then(|| list.remove(at % list.len()))
    }

    fn ask(&mut self, key: u8) -> (Revision, Ticket) {
        self.ticket += 1;
        self.wanted.insert(self.ticket, Revision(key));
        self.since_ms.insert(self.ticket, self.now_ms);
        (Revision(key), self.ticket)
    }

    fn act(&mut self, machine: &mut Machine<Revision>, step: Step) {
        let mut effects = Vec::new();
        let now_ms = self.now_ms;
        match step {
            Step::Request(key, location) => {
                let (key, ticket) = self.ask(key);
                machine.request(&key, ticket, location, now_ms, &mut effects);
            }
            Step::Checkout(key, location) => {
                let (key, ticket) = self.ask(key);
                match machine.checkout(&key, ticket, location) {
                    Some(id) => {
                        self.assign(id, ticket);
                        if !self.provisioned.contains(&id) {
                            self.judge_room(&key);
                        }
                    }
                    None => machine.request(&key, ticket, location, now_ms, &mut effects),
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
            Step::Lost(at) => machine.lost(at as u64 % 50, now_ms, &mut effects),
            Step::Retire(key) => {
                machine.retire(|revision| revision.0 == key, now_ms, &mut effects);
                self.provision.remove(&Revision(key));
            }
            Step::Provision(key, count) => {
                machine.provision(&Revision(key), count, now_ms, &mut effects);
                if !self.closed {
                    self.provision.insert(Revision(key), count);
                }
            }
            Step::Relieve(count) => machine.relieve(count, now_ms, &mut effects),
            Step::Freeze(one_in) => self.freeze(machine, one_in),
            Step::Reap => {
                self.begun_ms.retain(|_, begun_ms| *begun_ms + START_MS_MAX > now_ms);
                machine.reap(now_ms, &mut effects);
            }
            Step::Wait(ms) => self.now_ms += ms,
            Step::LauncherDies => return self.launcher_dies(machine),
            Step::Close => {
                machine.close(&mut effects);
                self.closed = true;
            }
            happens => self.report(machine, happens, &mut effects),
        }
        self.take(effects, machine.waiting());
        self.check(machine);
    }

    /// Everything that has been idle for long enough is frozen, kept ready or not, and nothing else.
    fn freeze(&mut self, machine: &mut Machine<Revision>, one_in: u64) {
        let may = |id: EnvironmentId| !id.is_multiple_of(one_in);
        let frozen = machine.freeze(self.now_ms, |id, idle_ms| {
            assert_eq!(idle_ms, self.now_ms - self.idle[&id]);
            may(id)
        });
        let since_ms: Vec<u64> = frozen.iter().map(|id| self.idle[id]).collect();
        assert!(since_ms.is_sorted(), "who has been idle for longest comes first");
        let due = |(id, since_ms): (&EnvironmentId, &u64)| {
            (since_ms + 250 <= self.now_ms && may(*id) && !self.frozen.contains(id)).then_some(*id)
        };
        let due: HashSet<EnvironmentId> = self.idle.iter().filter_map(due).collect();
        assert_eq!(due, frozen.into_iter().collect());
        self.frozen.extend(due);
    }

    /// Notes that an environment is in nobody's hands from now on, unless it has been given out or killed.
    fn rests(&mut self, id: EnvironmentId, effects: &[Effect<Revision>]) {
        let goes_on = |effect: &Effect<_>| matches!(effect, Effect::Assign(of, _) | Effect::Kill(of) if *of == id);
        if !effects.iter().any(goes_on) {
            self.idle.insert(id, self.now_ms);
        }
    }

    /// What processes and those who hold them report.
    fn report(&mut self, machine: &mut Machine<Revision>, step: Step, effects: &mut Vec<Effect<Revision>>) {
        let now_ms = self.now_ms;
        match step {
            Step::Ready(at) => {
                if let Some(id) = World::pick(&mut self.starting, at) {
                    // Some have credentials that end soon.
                    let lives_ms = if at % 3 == 0 { 30_000 } else { u64::MAX };
                    machine.ready(id, now_ms, lives_ms, effects);
                    self.rests(id, effects);
                }
            }
            Step::InitFailed(at) => {
                if let Some(id) = World::pick(&mut self.starting, at) {
                    machine.init_failed(id, now_ms, effects);
                    assert!(effects.contains(&Effect::Kill(id)));
                }
            }
            Step::AdoptFailed(at) => {
                if let Some(id) = World::pick(&mut self.starting, at) {
                    machine.adopt_failed(id, now_ms, effects);
                    assert!(effects.contains(&Effect::Kill(id)));
                }
            }
            Step::StandbyReady(at) => {
                if let Some(id) = World::pick(&mut self.blank, at) {
                    self.standby.push(id);
                    machine.standby_ready(id, now_ms, effects);
                }
            }
            Step::StandbyFailed(at) => {
                if let Some(id) = World::pick(&mut self.blank, at) {
                    machine.standby_failed(id, now_ms, effects);
                }
            }
            Step::Finished(at, healthy) => {
                if let Some((id, ticket)) = World::pick(&mut self.busy, at) {
                    self.end(ticket);
                    let hungry = self.hungry(machine);
                    machine.finished(id, healthy, now_ms, effects);
                    let kept = healthy && !effects.contains(&Effect::Kill(id));
                    assert!(!(kept && hungry), "an account that has nothing waited past another's turn");
                    assert!(healthy || effects.contains(&Effect::Kill(id)), "a broken environment lives on");
                    self.rests(id, effects);
                }
            }
            Step::Stillborn(at) => {
                if let Some((id, ticket)) = World::pick(&mut self.busy, at) {
                    self.since_ms.insert(ticket, now_ms);
                    machine.stillborn(id, now_ms, effects);
                }
            }
            Step::Lingers(at) => {
                if let Some(id) = at.checked_rem(self.dying.len()).map(|at| self.dying[at]) {
                    machine.lingers(id, now_ms, effects);
                }
            }
            Step::Dead(at) => {
                if let Some(id) = World::pick(&mut self.dying, at) {
                    self.keys.remove(&id);
                    self.classes.remove(&id);
                    machine.dead(id, now_ms, effects);
                }
            }
            other => panic!("{other:?} is not a report"),
        }
    }

    fn launcher_dies(&mut self, machine: &mut Machine<Revision>) {
        let mut known: Vec<EnvironmentId> = self.keys.keys().chain(self.classes.keys()).copied().collect();
        known.sort_unstable();
        for _ in 0..self.busy.len() {
            self.act(machine, Step::Finished(0, false));
        }
        for _ in 0..self.starting.len() {
            self.act(machine, Step::InitFailed(0));
        }
        for _ in 0..self.blank.len() {
            self.act(machine, Step::StandbyFailed(0));
        }
        for id in known {
            self.act(machine, Step::Lost(usize::try_from(id).unwrap()));
        }
    }

    /// Whatever state this is: when every start succeeds and every invocation ends, nobody is left waiting.
    fn settle(&mut self, machine: &mut Machine<Revision>) {
        for round in 0..2_000 {
            let quiet = self.starting.is_empty() && self.busy.is_empty() && self.dying.is_empty();
            if quiet && self.blank.is_empty() && round > 100 {
                break;
            }
            if quiet {
                self.now_ms += BACKOFF_MS_MAX;
                self.act(machine, Step::Reap);
            }
            self.act(machine, Step::Freeze(3));
            self.act(machine, Step::Dead(0));
            self.act(machine, Step::Ready(0));
            self.act(machine, Step::Finished(0, true));
            self.act(machine, Step::StandbyReady(0));
        }
        assert_eq!(self.ended.len() as u64, self.ticket, "a request without outcome");
        assert_eq!(machine.waiting(), 0);
        let of = |account: &'static str| self.provision.iter().filter(move |(key, _)| key.account() == account);
        let held = |account| of(account).map(|(key, _)| machine.held(key).available as usize).sum::<usize>();
        for account in ACCOUNTS {
            let wanted: u32 = of(account).map(|(_, count)| *count).sum();
            let share = self.keys.values().filter(|key| key.account() == account).count();
            let full = self.live() >= LIMITS.processes_max || share >= LIMITS.share_max;
            let all = ACCOUNTS.into_iter().map(held).sum::<usize>();
            let held = held(account);
            assert!(all <= LIMITS.processes_max * 3 / 4 && held <= LIMITS.share_max * 3 / 4);
            let enough = held >= LIMITS.share_max * 3 / 4 || all >= LIMITS.processes_max * 3 / 4;
            assert!(self.closed || held == wanted as usize || full || enough, "{held} of {wanted} were provisioned");
        }
        if self.closed {
            assert_eq!(self.live(), 0, "something is left after close");
        }
    }
}

fn schedules() -> u32 {
    std::env::var_os("SCHEDULES").and_then(|text| text.to_str()?.parse().ok()).unwrap_or(2_000)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: schedules(), ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_invariants_hold_and_everybody_gets_one_outcome(
        steps in proptest::collection::vec(step(), 0..200),
    ) {
        let mut machine = Machine::new(LIMITS);
        let mut world = World::default();
        for step in steps {
            world.act(&mut machine, step);
        }
        world.settle(&mut machine);
    }
}
