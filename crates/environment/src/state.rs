//! Who gets which environment: the pure state machine of the supervisor.
//!
//! It knows keys, environments and requests by number, takes the time as an argument, and answers with [`Effect`]s
//! that the pool carries out. It starts no process and reads no socket, so a fake launcher can test it.
//!
//! ```text
//! Blank -> Standby -> Init -> Idle <-> Busy -> Dying -> [Lingering ->] (gone)
//!    \________\_________\______\_______________/
//!                              Frozen (from Idle; to Busy or Dying)
//! ```
//! A standby is a runtime without a function; it becomes one key's environment by being adopted, and never goes back.
//!
//! INVARIANT: an environment serves one key for life and at most one request at a time; what was killed is never
//! given out; every request admitted gets exactly one of `Assign`, `Fail`, `Refuse` or its own `cancel`; the number
//! of environments, standbys and dying ones included, never exceeds `processes_max`.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    hash::Hash,
};

mod age;
mod frozen;
mod room;
mod standby;

use standby::Standbys;

/// Names an environment; never used twice.
pub type EnvironmentId = u64;
/// Names a request; rises with time, so that the smallest waits longest.
pub type Ticket = u64;
/// Where a caller runs, such as its thread: an environment last used there is preferred there.
pub type Location = u64;

/// Failed starts in a row after which a key must wait before the next.
const FAILURES_FREE: u32 = 5;
/// First wait after that, milliseconds; doubles each time.
const BACKOFF_FIRST_MS: u64 = 1_000;
/// Longest wait, milliseconds.
const BACKOFF_MS_MAX: u64 = 30_000;
/// A request that has waited this long gets the next freed process, even when its own kind has others waiting, ms.
const STARVED_MS: u64 = 500;
/// An environment older than this is replaced, milliseconds.
const AGE_MS_MAX: u64 = 2 * 60 * 60 * 1_000;

/// What environments are keyed by.
pub trait Key: Clone + Eq + Hash {
    /// Whose concurrency limit counts.
    fn account(&self) -> &str;
    /// Which standbys can become an environment of this key; `None`: it always starts from nothing.
    fn class(&self) -> Option<Class>;
}

/// A kind of standby: what is decided when a runtime starts and cannot be changed after.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Class {
    /// Names the interpreter.
    pub runtime: u8,
    /// Memory its heap is set for, MB; 0 where the runtime takes no such limit.
    pub memory_mb: u32,
}

/// Bounds of the machine.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Environments on this node, standbys and dying ones included.
    pub processes_max: usize,
    /// Environments one account may have, dying ones included, so that nobody takes them all. Its further requests wait
    /// for one of its own. As a node fills, an account that uses one already may use fewer (`room`), so that who uses none
    /// finds a place.
    pub share_max: usize,
    /// Requests in flight (waiting or running) per account.
    pub account_max: usize,
    /// Environments starting at once. They are few so that starts do not get into each other's way; one that takes longer
    /// than `START_MS_MAX` is at work like any other that runs, and counts no more: nobody else waits for its end.
    pub starts_max: usize,
    /// Requests waiting on this node. Who has fewer of them than another displaces the other's newest.
    pub waiters_max: usize,
    /// Requests of one account waiting on this node.
    pub waiters_share_max: usize,
    /// How long an environment may stay unused, milliseconds.
    pub idle_ttl_ms: u64,
    /// Standbys on this node; 0: none are kept.
    pub standbys_max: usize,
}

/// Why a request is not admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// The account has as many invocations in flight as it may.
    Account,
    /// Too many requests wait on this node, or too many of the account.
    Waiters,
    /// The supervisor is shutting down.
    Closing,
}

/// Why an environment is made: `AWS_LAMBDA_INITIALIZATION_TYPE`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Initialization {
    /// A request waits for it.
    OnDemand,
    /// So that one is there.
    Provisioned,
}

/// What the pool must do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect<K> {
    /// Launch an environment and report `ready` or `init_failed`.
    Start(EnvironmentId, K, Initialization),
    /// Make the standby an environment of the key and report `ready`, `init_failed` or `adopt_failed`.
    Adopt(EnvironmentId, K, Initialization),
    /// Launch a runtime without a function and report `standby_ready` or `standby_failed`.
    Standby(EnvironmentId, Class),
    /// Give the environment to the request, which will report `finished`.
    Assign(EnvironmentId, Ticket),
    /// Kill the environment's processes and report `dead` when they are gone.
    Kill(EnvironmentId),
    /// Answer the request with the failure last seen for its key.
    Fail(Ticket),
    /// Answer the request with a refusal.
    Refuse(Ticket, Refused),
}

/// What has become of a key's provisioned concurrency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Held {
    /// Environments asked for.
    pub wanted: u32,
    /// Those that are starting or there.
    pub allocated: u32,
    /// Those that are there, busy ones included.
    pub available: u32,
    /// Starts that failed since the last that did not.
    pub failures: u32,
    /// No more are started, for as much as may be is kept ready already: by the account, or on this node.
    pub crowded: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// A runtime without a function, starting.
    Blank,
    Standby {
        since_ms: u64,
    },
    Init,
    Idle {
        since_ms: u64,
    },
    /// Idle, and stopped: whoever gets it must let it run first.
    Frozen {
        /// Since when it has been idle.
        since_ms: u64,
    },
    Busy {
        ticket: Ticket,
    },
    /// Killed: its place is counted on.
    Dying,
    /// Killed long ago, and not gone: its place is taken, and nobody knows for how long.
    Lingering,
}

impl Phase {
    fn is_killed(self) -> bool {
        matches!(self, Phase::Dying | Phase::Lingering)
    }

    /// Since when it has been ready and unused, if it is, milliseconds.
    fn idle_since_ms(self) -> Option<u64> {
        match self {
            Phase::Idle { since_ms } | Phase::Frozen { since_ms } => Some(since_ms),
            _ => None,
        }
    }
}

#[derive(Debug)]
struct Environment<K> {
    /// INVARIANT: `Some` from the first `Init` on, and then always the same.
    key: Option<K>,
    /// Of a standby, while it is one.
    class: Option<Class>,
    phase: Phase,
    /// Counts among the provisioned ones of its key; such are neither reaped for disuse nor to make room.
    provisioned: bool,
    /// No new work: the revision was replaced.
    retired: bool,
    /// Age limit or the end of its credentials, whichever is first, milliseconds.
    expires_ms: u64,
    location: Location,
    /// Since when it holds one of the starts, while it does, milliseconds.
    begun_ms: Option<u64>,
}

#[derive(Debug, Default)]
struct Pool {
    /// Last in, first out: few stay hot and the rest age out.
    idle: Vec<EnvironmentId>,
    waiting: VecDeque<Ticket>,
    starting: usize,
    failures: u32,
    backoff_until_ms: u64,
    /// Environments to be kept ready.
    wanted: u32,
    /// Environments with `provisioned` set that are not dying.
    held: u32,
}

#[derive(Debug, Default)]
struct Account {
    in_flight: usize,
    /// Dying ones included.
    environments: usize,
    /// Provisioned ones that are not dying.
    held: usize,
    /// Its requests without an environment.
    waiting: BTreeSet<Ticket>,
    /// When it last got an environment or the use of one; a number that rises. Between equals the smallest is next.
    served: u64,
}

#[derive(Debug)]
struct Waiter<K> {
    key: K,
    since_ms: u64,
    location: Location,
}

/// The state of all environments and requests of a node.
#[derive(Debug)]
pub struct Machine<K> {
    limits: Limits,
    environments: HashMap<EnvironmentId, Environment<K>>,
    pools: HashMap<K, Pool>,
    waiting: BTreeMap<Ticket, Waiter<K>>,
    accounts: HashMap<String, Account>,
    standbys: Standbys,
    /// Environments in `Init` that hold a start.
    starting: usize,
    /// Environments in `Idle` and `Frozen`.
    idle: usize,
    dying: usize,
    /// Pools with `held < wanted`, as far as is known: looked at when something is scheduled.
    short: Vec<K>,
    next: EnvironmentId,
    /// Last `served` given.
    turn: u64,
    closed: bool,
}

impl<K: Key> Machine<K> {
    /// An empty machine.
    #[must_use]
    pub fn new(limits: Limits) -> Machine<K> {
        Machine {
            limits,
            environments: HashMap::new(),
            pools: HashMap::new(),
            waiting: BTreeMap::new(),
            accounts: HashMap::new(),
            standbys: Standbys::new(limits.standbys_max),
            starting: 0,
            idle: 0,
            dying: 0,
            short: Vec::new(),
            next: 1,
            turn: 0,
            closed: false,
        }
    }

    /// Environments that exist, standbys and dying ones included.
    #[must_use]
    pub fn live(&self) -> usize {
        self.environments.len()
    }

    /// Environments ready and unused, frozen ones included.
    #[must_use]
    pub fn idle(&self) -> usize {
        self.idle
    }

    /// Standbys ready for adoption.
    #[must_use]
    pub fn standbys(&self) -> usize {
        self.standbys.ready()
    }

    /// Whether [`Machine::close`] was called.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Requests waiting for an environment.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Requests of an account that wait or run.
    #[must_use]
    pub fn in_flight(&self, account: &str) -> usize {
        self.accounts.get(account).map_or(0, |account| account.in_flight)
    }

    /// A request arrives and takes an idle environment, if there is one and the account's limit allows; it will report
    /// `finished`. `None`: nothing has changed, and [`Machine::request`] says what is to be done.
    pub fn checkout(&mut self, key: &K, ticket: Ticket, location: Location) -> Option<EnvironmentId> {
        if self.closed {
            return None;
        }
        let pool = self.pools.get(key).filter(|pool| !pool.idle.is_empty())?;
        // What is kept ready is its account's in any case.
        let kept_ready = |id| self.environments.get(id).is_some_and(|environment| environment.provisioned);
        let has_kept = pool.held > 0 && pool.idle.iter().any(kept_ready);
        if !has_kept && !self.may_use(key.account()) {
            return None;
        }
        let account = self.accounts.get_mut(key.account())?;
        if account.in_flight >= self.limits.account_max {
            return None;
        }
        let id = pick(self.pools.get_mut(key)?, &self.environments, location)?;
        self.idle = self.idle.saturating_sub(1);
        account.in_flight = account.in_flight.saturating_add(1);
        let environment = self.environments.get_mut(&id)?;
        environment.phase = Phase::Busy { ticket };
        environment.location = location;
        Some(id)
    }

    /// A request arrives. Tickets must rise.
    pub fn request(&mut self, key: &K, ticket: Ticket, location: Location, now_ms: u64, effects: &mut Vec<Effect<K>>) {
        if self.closed {
            return effects.push(Effect::Refuse(ticket, Refused::Closing));
        }
        if self.in_flight(key.account()) >= self.limits.account_max {
            return effects.push(Effect::Refuse(ticket, Refused::Account));
        }
        if let Some(id) = self.checkout(key, ticket, location) {
            return effects.push(Effect::Assign(id, ticket));
        }
        if self.pools.get(key).is_some_and(|pool| pool.backoff_until_ms > now_ms) {
            return effects.push(Effect::Fail(ticket));
        }
        if !self.may_wait(key.account(), effects) {
            return effects.push(Effect::Refuse(ticket, Refused::Waiters));
        }
        self.account(key).in_flight += 1;
        self.pool(key).waiting.push_back(ticket);
        self.wait(ticket, Waiter { key: key.clone(), since_ms: now_ms, location });
        self.schedule(now_ms, effects);
    }

    /// An environment turned out to be dead when it was to be used: the request goes back to the head of the queue.
    pub fn stillborn(&mut self, id: EnvironmentId, now_ms: u64, effects: &mut Vec<Effect<K>>) {
        let Some(environment) = self.environments.get(&id) else { return };
        let (Phase::Busy { ticket }, Some(key)) = (environment.phase, environment.key.clone()) else { return };
        let location = environment.location;
        self.kill(id, effects);
        if self.closed {
            self.leave(&key);
            return effects.push(Effect::Refuse(ticket, Refused::Closing));
        }
        let other = self.pools.get_mut(&key).and_then(|pool| pick(pool, &self.environments, location));
        if let Some(other) = other {
            self.idle = self.idle.saturating_sub(1);
            if let Some(environment) = self.environments.get_mut(&other) {
                environment.phase = Phase::Busy { ticket };
                environment.location = location;
            }
            return effects.push(Effect::Assign(other, ticket));
        }
        self.pool(&key).waiting.push_front(ticket);
        self.wait(ticket, Waiter { key, since_ms: now_ms, location });
        self.schedule(now_ms, effects);
    }

    /// A request gives up. `false`: it had been served already, and whoever serves it will report.
    pub fn cancel(&mut self, ticket: Ticket) -> bool {
        let Some(waiter) = self.unwait(ticket) else { return false };
        if let Some(pool) = self.pools.get_mut(&waiter.key) {
            pool.waiting.retain(|waiting| *waiting != ticket);
        }
        self.leave(&waiter.key);
        true
    }

    /// An environment has loaded its function. `lives_ms`: how long its credentials let it live.
    pub fn ready(&mut self, id: EnvironmentId, now_ms: u64, lives_ms: u64, effects: &mut Vec<Effect<K>>) {
        let Some(environment) = self.environments.get_mut(&id) else { return };
        let (Phase::Init, Some(key)) = (environment.phase, environment.key.clone()) else { return };
        environment.expires_ms = now_ms.saturating_add(lives_ms.min(AGE_MS_MAX));
        self.give_start_back(id);
        let pool = self.pool(&key);
        pool.starting = pool.starting.saturating_sub(1);
        pool.failures = 0;
        pool.backoff_until_ms = 0;
        self.offer(id, true, now_ms, effects);
        self.schedule(now_ms, effects);
    }

    /// An environment could not start, or its function could not be loaded. It is killed; one waiter hears of it.
    pub fn init_failed(&mut self, id: EnvironmentId, now_ms: u64, effects: &mut Vec<Effect<K>>) {
        let Some(key) = self.end_init(id, effects) else { return };
        let pool = self.pool(&key);
        pool.failures = pool.failures.saturating_add(1);
        let mut told = 1;
        if pool.failures >= FAILURES_FREE {
            pool.backoff_until_ms = now_ms.saturating_add(backoff_ms(pool.failures - FAILURES_FREE));
            told = usize::MAX;
        }
        while told > 0 {
            let Some(ticket) = self.pool(&key).waiting.pop_front() else { break };
            self.unwait(ticket);
            self.leave(&key);
            effects.push(Effect::Fail(ticket));
            told -= 1;
        }
        self.schedule(now_ms, effects);
    }

    /// A standby could not be made an environment of its key, through no fault of the function. Whoever waits for it
    /// gets another.
    pub fn adopt_failed(&mut self, id: EnvironmentId, now_ms: u64, effects: &mut Vec<Effect<K>>) {
        if let Some(key) = self.end_init(id, effects) {
            if let Some(class) = key.class() {
                self.standbys.failed(class, now_ms);
            }
            self.schedule(now_ms, effects);
        }
    }

    /// A request is done with its environment, which is reused only when `healthy`.
    pub fn finished(&mut self, id: EnvironmentId, healthy: bool, now_ms: u64, effects: &mut Vec<Effect<K>>) {
        let Some(environment) = self.environments.get_mut(&id) else { return };
        let (Phase::Busy { .. }, Some(key)) = (environment.phase, &environment.key) else { return };
        if healthy && self.waiting.is_empty() && !environment.retired && !self.closed {
            // The usual case, on the path of every warm invocation.
            environment.phase = Phase::Idle { since_ms: now_ms };
            if let Some(account) = self.accounts.get_mut(key.account()) {
                account.in_flight = account.in_flight.saturating_sub(1);
            }
            self.idle = self.idle.saturating_add(1);
            if let Some(pool) = self.pools.get_mut(key) {
                return pool.idle.push(id);
            }
            return;
        }
        let key = key.clone();
        self.leave(&key);
        if healthy {
            self.offer(id, false, now_ms, effects);
        } else {
            self.kill(id, effects);
        }
        self.schedule(now_ms, effects);
    }

    /// The processes of a killed environment take too long to go. It keeps its place, but others make room.
    pub fn lingers(&mut self, id: EnvironmentId, now_ms: u64, effects: &mut Vec<Effect<K>>) {
        if let Some(environment) = self.environments.get_mut(&id)
            && environment.phase == Phase::Dying
        {
            environment.phase = Phase::Lingering;
            self.dying = self.dying.saturating_sub(1);
            self.schedule(now_ms, effects);
        }
    }

    /// The processes of a killed environment are gone.
    pub fn dead(&mut self, id: EnvironmentId, now_ms: u64, effects: &mut Vec<Effect<K>>) {
        if self.environments.get(&id).is_none_or(|environment| !environment.phase.is_killed()) {
            return;
        }
        let Some(environment) = self.environments.remove(&id) else { return };
        self.dying = self.dying.saturating_sub(usize::from(environment.phase == Phase::Dying));
        if let Some(key) = &environment.key {
            if let Some(account) = self.accounts.get_mut(key.account()) {
                account.environments = account.environments.saturating_sub(1);
            }
            self.tidy_account(key.account());
            self.forget(key);
        }
        self.schedule(now_ms, effects);
    }

    /// Idle environments of the keys that match are killed, others when their request is done; nothing is kept ready
    /// for these keys any more.
    pub fn retire(&mut self, matches: impl Fn(&K) -> bool, now_ms: u64, effects: &mut Vec<Effect<K>>) {
        for (key, pool) in self.pools.iter_mut().filter(|(key, _)| matches(key)) {
            pool.wanted = 0;
            let held = std::mem::take(&mut pool.held);
            if let Some(account) = self.accounts.get_mut(key.account()) {
                account.held = account.held.saturating_sub(usize::try_from(held).unwrap_or(usize::MAX));
            }
        }
        let mut gone = Vec::new();
        for (id, environment) in &mut self.environments {
            if environment.phase.is_killed() || !environment.key.as_ref().is_some_and(&matches) {
                continue;
            }
            environment.provisioned = false;
            environment.retired = true;
            if environment.is_idle() {
                gone.push(*id);
            }
        }
        gone.into_iter().for_each(|id| self.kill(id, effects));
        self.schedule(now_ms, effects);
    }

    /// Keeps `count` environments of a key ready from now on; 0 lets those go that were kept.
    pub fn provision(&mut self, key: &K, count: u32, now_ms: u64, effects: &mut Vec<Effect<K>>) {
        if self.closed {
            return;
        }
        let pool = self.pool(key);
        if count > pool.wanted {
            // Whoever asks anew may have mended what was wrong.
            pool.failures = 0;
            pool.backoff_until_ms = 0;
        }
        pool.wanted = count;
        let mut surplus = pool.held.saturating_sub(count);
        pool.held -= surplus;
        if let Some(account) = self.accounts.get_mut(key.account()) {
            account.held = account.held.saturating_sub(usize::try_from(surplus).unwrap_or(usize::MAX));
        }
        let mut ids: Vec<EnvironmentId> = self
            .environments
            .iter()
            .filter(|(_, found)| found.provisioned && !found.phase.is_killed() && found.key.as_ref() == Some(key))
            .map(|(id, _)| *id)
            .collect();
        // Idle ones first: a busy one would have to be waited for.
        ids.sort_by_key(|id| (!self.environments.get(id).is_some_and(Environment::is_idle), *id));
        for id in ids {
            if surplus == 0 {
                break;
            }
            surplus -= 1;
            let Some(environment) = self.environments.get_mut(&id) else { continue };
            environment.provisioned = false;
            environment.retired = true;
            if environment.is_idle() {
                self.kill(id, effects);
            }
        }
        if count > 0 && !self.short.contains(key) {
            self.short.push(key.clone());
        }
        self.forget(key);
        self.schedule(now_ms, effects);
    }

    /// What has become of a key's provisioned concurrency.
    #[must_use]
    pub fn held(&self, key: &K) -> Held {
        let Some(pool) = self.pools.get(key) else { return Held::default() };
        let starting = self
            .environments
            .values()
            .filter(|found| found.provisioned && found.phase == Phase::Init && found.key.as_ref() == Some(key))
            .count();
        let available = pool.held.saturating_sub(u32::try_from(starting).unwrap_or(u32::MAX));
        let crowded = pool.wanted > pool.held && !self.may_hold(key, 0);
        Held { wanted: pool.wanted, allocated: pool.held, available, failures: pool.failures, crowded }
    }

    /// An idle environment or a standby was found dead.
    pub fn lost(&mut self, id: EnvironmentId, now_ms: u64, effects: &mut Vec<Effect<K>>) {
        if self.environments.get(&id).is_some_and(Environment::is_unused) {
            self.kill(id, effects);
            self.schedule(now_ms, effects);
        }
    }

    /// No new requests; those waiting are refused, idle ones and standbys killed, busy and starting ones when done.
    pub fn close(&mut self, effects: &mut Vec<Effect<K>>) {
        self.closed = true;
        while let Some(ticket) = self.waiting.keys().next().copied() {
            if let Some(waiter) = self.unwait(ticket) {
                self.leave(&waiter.key);
            }
            effects.push(Effect::Refuse(ticket, Refused::Closing));
        }
        for pool in self.pools.values_mut() {
            pool.waiting.clear();
            pool.wanted = 0;
        }
        let unused: Vec<EnvironmentId> =
            self.environments.iter().filter(|(_, environment)| environment.is_unused()).map(|(id, _)| *id).collect();
        unused.into_iter().for_each(|id| self.kill(id, effects));
    }

    /// A start that did not come to an end: the environment is killed. `None`: it was not starting.
    fn end_init(&mut self, id: EnvironmentId, effects: &mut Vec<Effect<K>>) -> Option<K> {
        let environment = self.environments.get(&id).filter(|environment| environment.phase == Phase::Init)?;
        let key = environment.key.clone()?;
        self.give_start_back(id);
        self.kill(id, effects);
        let pool = self.pool(&key);
        pool.starting = pool.starting.saturating_sub(1);
        Some(key)
    }

    fn account(&mut self, key: &K) -> &mut Account {
        if !self.accounts.contains_key(key.account()) {
            self.accounts.insert(key.account().to_owned(), Account::default());
        }
        self.accounts.entry(key.account().to_owned()).or_default()
    }

    fn leave(&mut self, key: &K) {
        if let Some(account) = self.accounts.get_mut(key.account()) {
            account.in_flight = account.in_flight.saturating_sub(1);
            self.tidy_account(key.account());
        }
    }

    fn tidy_account(&mut self, name: &str) {
        if self.accounts.get(name).is_some_and(|account| account.in_flight == 0 && account.environments == 0) {
            self.accounts.remove(name);
        }
    }

    fn pool(&mut self, key: &K) -> &mut Pool {
        self.pools.entry(key.clone()).or_default()
    }

    /// Drops a pool that holds nothing worth remembering.
    fn forget(&mut self, key: &K) {
        if self.pools.get(key).is_some_and(|pool| !pool.in_use() && pool.failures == 0) {
            self.pools.remove(key);
        }
    }

    /// Gives a free environment to the request of its key that has waited longest, or puts it by. A fresh one was started
    /// for a request whose turn it was, and serves one before it makes room.
    fn offer(&mut self, id: EnvironmentId, fresh: bool, now_ms: u64, effects: &mut Vec<Effect<K>>) {
        let Some(environment) = self.environments.get(&id) else { return };
        let Some(key) = environment.key.clone() else { return };
        let (retired, provisioned) = (environment.retired, environment.provisioned);
        let oldest = self.pools.get(&key).and_then(|pool| pool.waiting.front().copied());
        let stays = provisioned || (fresh && oldest.is_some());
        let starved = !stays && self.starved(&key, now_ms);
        self.serve(key.account());
        // A retired environment still serves those who asked for its revision, for nobody else will start one.
        if self.closed || (retired && oldest.is_none()) || starved {
            return self.kill(id, effects);
        }
        let (phase, location) = match oldest {
            Some(ticket) => {
                self.pool(&key).waiting.pop_front();
                let waiter = self.unwait(ticket);
                effects.push(Effect::Assign(id, ticket));
                (Phase::Busy { ticket }, waiter.map(|waiter| waiter.location))
            }
            None => {
                self.pool(&key).idle.push(id);
                self.idle = self.idle.saturating_add(1);
                (Phase::Idle { since_ms: now_ms }, None)
            }
        };
        if let Some(environment) = self.environments.get_mut(&id) {
            environment.phase = phase;
            environment.location = location.unwrap_or(environment.location);
        }
    }

    fn kill(&mut self, id: EnvironmentId, effects: &mut Vec<Effect<K>>) {
        let Some(environment) = self.environments.get_mut(&id) else { return };
        if environment.phase.is_killed() {
            return;
        }
        let was = std::mem::replace(&mut environment.phase, Phase::Dying);
        let provisioned = std::mem::take(&mut environment.provisioned);
        self.dying = self.dying.saturating_add(1);
        self.idle = self.idle.saturating_sub(usize::from(matches!(was, Phase::Idle { .. } | Phase::Frozen { .. })));
        match (was, environment.class.take()) {
            (Phase::Standby { .. }, Some(class)) => self.standbys.gone(class, id),
            (Phase::Blank, Some(class)) => self.standbys.unborn(class),
            _ => {}
        }
        if let Some(key) = &environment.key
            && let Some(pool) = self.pools.get_mut(key)
        {
            if was.idle_since_ms().is_some() {
                pool.idle.retain(|idle| *idle != id);
            }
            if provisioned {
                pool.held = pool.held.saturating_sub(1);
                if let Some(account) = self.accounts.get_mut(key.account()) {
                    account.held = account.held.saturating_sub(1);
                }
                if pool.wanted > pool.held && !self.short.contains(key) {
                    self.short.push(key.clone());
                }
            }
        }
        effects.push(Effect::Kill(id));
    }
}

impl<K> Environment<K> {
    fn is_idle(&self) -> bool {
        self.phase.idle_since_ms().is_some()
    }

    /// Idle, or a standby.
    fn is_unused(&self) -> bool {
        self.is_idle() || matches!(self.phase, Phase::Standby { .. })
    }
}

impl Pool {
    fn in_use(&self) -> bool {
        !self.idle.is_empty() || !self.waiting.is_empty() || self.starting > 0 || self.wanted > 0 || self.held > 0
    }
}

/// Takes the best of the idle ones: provisioned before others, then one that is not frozen, then one last used at
/// `location`, for its descriptors are registered there, then the newest.
fn pick<K>(
    pool: &mut Pool,
    environments: &HashMap<EnvironmentId, Environment<K>>,
    location: Location,
) -> Option<EnvironmentId> {
    let mut best: Option<(usize, (bool, bool, bool))> = None;
    for (index, id) in pool.idle.iter().enumerate().rev() {
        let Some(environment) = environments.get(id) else { continue };
        let runs = matches!(environment.phase, Phase::Idle { .. });
        let rank = (environment.provisioned, runs, environment.location == location);
        if best.is_none_or(|(_, found)| rank > found) {
            best = Some((index, rank));
        }
        if rank == (pool.held > 0, true, true) {
            break;
        }
    }
    best.map(|(index, _)| pool.idle.remove(index))
}

/// How long to wait after so many failures too many, milliseconds.
fn backoff_ms(failures: u32) -> u64 {
    (BACKOFF_FIRST_MS << failures.min(5)).min(BACKOFF_MS_MAX)
}

#[cfg(test)]
mod property;
#[cfg(test)]
mod tests;
