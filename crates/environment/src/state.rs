//! Who gets which environment: the pure state machine of the supervisor.
//!
//! It knows keys, environments and requests by number, takes the time as an argument, and answers with [`Effect`]s
//! that the pool carries out. It starts no process and reads no socket, so a fake launcher can test it.
//!
//! ```text
//! Init -> Idle <-> Busy -> Dying -> (gone)
//!   \______\______________/
//! ```
//!
//! INVARIANT: an environment serves one key for life and at most one request at a time; what was killed is never
//! given out; every request admitted gets exactly one of `Assign`, `Fail`, `Refuse` or its own `cancel`; the number
//! of environments, dying ones included, never exceeds `processes_max`.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    hash::Hash,
};

/// Names an environment; never used twice.
pub type EnvironmentId = u64;
/// Names a request; rises with time, so that the smallest waits longest.
pub type Ticket = u64;

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
/// Remembered failure counts of keys without environments; beyond it they are forgotten.
const POOLS_MAX: usize = 10_000;

/// What environments are keyed by.
pub trait Key: Clone + Eq + Hash {
    /// Whose concurrency limit counts.
    fn account(&self) -> &str;
}

/// Bounds of the machine.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Environments on this node, dying ones included.
    pub processes_max: usize,
    /// Environments one account may have, dying ones included, so that nobody takes them all. Its further requests wait
    /// for one of its own.
    pub share_max: usize,
    /// Requests in flight (waiting or running) per account.
    pub account_max: usize,
    /// Environments starting at once.
    pub starts_max: usize,
    /// Requests waiting on this node.
    pub waiters_max: usize,
    /// How long an environment may stay unused, milliseconds.
    pub idle_ttl_ms: u64,
}

/// Why a request is not admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// The account has as many invocations in flight as it may.
    Account,
    /// Too many requests wait on this node already.
    Waiters,
    /// The supervisor is shutting down.
    Closing,
}

/// What the pool must do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect<K> {
    /// Launch an environment and report `ready` or `init_failed`.
    Start(EnvironmentId, K),
    /// Give the environment to the request, which will report `finished`.
    Assign(EnvironmentId, Ticket),
    /// Kill the environment's processes and report `dead` when they are gone.
    Kill(EnvironmentId),
    /// Answer the request with the failure last seen for its key.
    Fail(Ticket),
    /// Answer the request with a refusal.
    Refuse(Ticket, Refused),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Init,
    Idle { since_ms: u64 },
    Busy { ticket: Ticket },
    Dying,
}

#[derive(Debug)]
struct Environment<K> {
    key: K,
    phase: Phase,
    /// No new work: the revision was replaced.
    retired: bool,
    /// Age limit or the end of its credentials, whichever is first, milliseconds.
    expires_ms: u64,
}

#[derive(Debug)]
struct Pool {
    /// Last in, first out: few stay hot and the rest age out.
    idle: Vec<EnvironmentId>,
    waiting: VecDeque<Ticket>,
    starting: usize,
    failures: u32,
    backoff_until_ms: u64,
}

#[derive(Debug)]
struct Waiter<K> {
    key: K,
    since_ms: u64,
}

/// The state of all environments and requests of a node.
#[derive(Debug)]
pub struct Machine<K> {
    limits: Limits,
    environments: HashMap<EnvironmentId, Environment<K>>,
    pools: HashMap<K, Pool>,
    waiting: BTreeMap<Ticket, Waiter<K>>,
    in_flight: HashMap<String, usize>,
    starting: usize,
    dying: usize,
    next: EnvironmentId,
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
            in_flight: HashMap::new(),
            starting: 0,
            dying: 0,
            next: 1,
            closed: false,
        }
    }

    /// Environments that exist, dying ones included.
    #[must_use]
    pub fn live(&self) -> usize {
        self.environments.len()
    }

    /// Environments ready and unused.
    #[must_use]
    pub fn idle(&self) -> usize {
        self.environments.values().filter(|environment| matches!(environment.phase, Phase::Idle { .. })).count()
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

    /// A request arrives. Tickets must rise.
    pub fn request(&mut self, key: &K, ticket: Ticket, now_ms: u64, effects: &mut Vec<Effect<K>>) {
        if self.closed {
            return effects.push(Effect::Refuse(ticket, Refused::Closing));
        }
        let in_flight = self.in_flight.get(key.account()).copied().unwrap_or(0);
        if in_flight >= self.limits.account_max {
            return effects.push(Effect::Refuse(ticket, Refused::Account));
        }
        let pool = self.pools.get_mut(key);
        if let Some(pool) = pool {
            if let Some(id) = pool.idle.pop() {
                self.admit(key);
                if let Some(environment) = self.environments.get_mut(&id) {
                    environment.phase = Phase::Busy { ticket };
                }
                return effects.push(Effect::Assign(id, ticket));
            }
            if pool.backoff_until_ms > now_ms {
                return effects.push(Effect::Fail(ticket));
            }
        }
        if self.waiting.len() >= self.limits.waiters_max {
            return effects.push(Effect::Refuse(ticket, Refused::Waiters));
        }
        self.admit(key);
        self.pool(key).waiting.push_back(ticket);
        self.waiting.insert(ticket, Waiter { key: key.clone(), since_ms: now_ms });
        self.schedule(effects);
    }

    /// An environment turned out to be dead when it was to be used: the request goes back to the head of the queue.
    pub fn stillborn(&mut self, id: EnvironmentId, now_ms: u64, effects: &mut Vec<Effect<K>>) {
        let Some(environment) = self.environments.get(&id) else { return };
        let Phase::Busy { ticket } = environment.phase else { return };
        let key = environment.key.clone();
        self.kill(id, effects);
        if self.closed {
            self.leave(&key);
            return effects.push(Effect::Refuse(ticket, Refused::Closing));
        }
        let pool = self.pool(&key);
        if let Some(other) = pool.idle.pop() {
            if let Some(environment) = self.environments.get_mut(&other) {
                environment.phase = Phase::Busy { ticket };
            }
            return effects.push(Effect::Assign(other, ticket));
        }
        pool.waiting.push_front(ticket);
        self.waiting.insert(ticket, Waiter { key, since_ms: now_ms });
        self.schedule(effects);
    }

    /// A request gives up. `false`: it had been served already, and whoever serves it will report.
    pub fn cancel(&mut self, ticket: Ticket) -> bool {
        let Some(waiter) = self.waiting.remove(&ticket) else { return false };
        if let Some(pool) = self.pools.get_mut(&waiter.key) {
            pool.waiting.retain(|waiting| *waiting != ticket);
        }
        self.leave(&waiter.key);
        true
    }

    /// An environment has loaded its function. `lives_ms`: how long its credentials let it live.
    pub fn ready(&mut self, id: EnvironmentId, now_ms: u64, lives_ms: u64, effects: &mut Vec<Effect<K>>) {
        let Some(environment) = self.environments.get_mut(&id) else { return };
        if environment.phase != Phase::Init {
            return;
        }
        environment.expires_ms = now_ms.saturating_add(lives_ms.min(AGE_MS_MAX));
        let key = environment.key.clone();
        self.starting = self.starting.saturating_sub(1);
        let pool = self.pool(&key);
        pool.starting = pool.starting.saturating_sub(1);
        pool.failures = 0;
        pool.backoff_until_ms = 0;
        self.offer(id, now_ms, effects);
        self.schedule(effects);
    }

    /// An environment could not start, or its function could not be loaded. It is killed; one waiter hears of it.
    pub fn init_failed(&mut self, id: EnvironmentId, now_ms: u64, effects: &mut Vec<Effect<K>>) {
        let Some(environment) = self.environments.get(&id) else { return };
        if environment.phase != Phase::Init {
            return;
        }
        let key = environment.key.clone();
        self.starting = self.starting.saturating_sub(1);
        self.kill(id, effects);
        let pool = self.pool(&key);
        pool.starting = pool.starting.saturating_sub(1);
        pool.failures = pool.failures.saturating_add(1);
        let mut told = 1;
        if pool.failures >= FAILURES_FREE {
            let doublings = (pool.failures - FAILURES_FREE).min(5);
            pool.backoff_until_ms = now_ms.saturating_add((BACKOFF_FIRST_MS << doublings).min(BACKOFF_MS_MAX));
            told = usize::MAX;
        }
        while told > 0 {
            let Some(ticket) = self.pool(&key).waiting.pop_front() else { break };
            self.waiting.remove(&ticket);
            self.leave(&key);
            effects.push(Effect::Fail(ticket));
            told -= 1;
        }
        self.schedule(effects);
    }

    /// A request is done with its environment, which is reused only when `healthy`.
    pub fn finished(&mut self, id: EnvironmentId, healthy: bool, now_ms: u64, effects: &mut Vec<Effect<K>>) {
        let Some(environment) = self.environments.get(&id) else { return };
        let Phase::Busy { .. } = environment.phase else { return };
        let key = environment.key.clone();
        self.leave(&key);
        if healthy {
            self.offer(id, now_ms, effects);
        } else {
            self.kill(id, effects);
        }
        self.schedule(effects);
    }

    /// The processes of a killed environment are gone.
    pub fn dead(&mut self, id: EnvironmentId, effects: &mut Vec<Effect<K>>) {
        if self.environments.get(&id).is_none_or(|environment| environment.phase != Phase::Dying) {
            return;
        }
        let Some(environment) = self.environments.remove(&id) else { return };
        self.dying = self.dying.saturating_sub(1);
        self.forget(&environment.key);
        self.schedule(effects);
    }

    /// Idle environments of the keys that match are killed, others when their request is done.
    pub fn retire(&mut self, matches: impl Fn(&K) -> bool, effects: &mut Vec<Effect<K>>) {
        let mut gone = Vec::new();
        for (id, environment) in &mut self.environments {
            if matches(&environment.key) {
                environment.retired = true;
                if matches!(environment.phase, Phase::Idle { .. }) {
                    gone.push(*id);
                }
            }
        }
        gone.into_iter().for_each(|id| self.kill(id, effects));
        self.schedule(effects);
    }

    /// Kills what has been unused too long or is too old.
    pub fn reap(&mut self, now_ms: u64, effects: &mut Vec<Effect<K>>) {
        let ttl_ms = self.limits.idle_ttl_ms;
        let gone: Vec<EnvironmentId> = self
            .environments
            .iter()
            .filter(|(_, environment)| match environment.phase {
                Phase::Idle { since_ms } => {
                    environment.expires_ms <= now_ms || since_ms.saturating_add(ttl_ms) <= now_ms
                }
                _ => false,
            })
            .map(|(id, _)| *id)
            .collect();
        gone.into_iter().for_each(|id| self.kill(id, effects));
        if self.pools.len() > POOLS_MAX {
            self.pools.retain(|_, pool| pool.in_use());
        }
        self.schedule(effects);
    }

    /// An idle environment was found dead.
    pub fn lost(&mut self, id: EnvironmentId, effects: &mut Vec<Effect<K>>) {
        if self.environments.get(&id).is_some_and(|found| matches!(found.phase, Phase::Idle { .. })) {
            self.kill(id, effects);
            self.schedule(effects);
        }
    }

    /// No new requests; those waiting are refused, idle and starting environments killed, busy ones when done.
    pub fn close(&mut self, effects: &mut Vec<Effect<K>>) {
        self.closed = true;
        for (ticket, waiter) in std::mem::take(&mut self.waiting) {
            self.leave(&waiter.key);
            effects.push(Effect::Refuse(ticket, Refused::Closing));
        }
        self.pools.values_mut().for_each(|pool| pool.waiting.clear());
        let idle: Vec<EnvironmentId> = self
            .environments
            .iter()
            .filter(|(_, environment)| matches!(environment.phase, Phase::Idle { .. }))
            .map(|(id, _)| *id)
            .collect();
        idle.into_iter().for_each(|id| self.kill(id, effects));
    }

    fn admit(&mut self, key: &K) {
        match self.in_flight.get_mut(key.account()) {
            Some(count) => *count = count.saturating_add(1),
            None => {
                self.in_flight.insert(key.account().to_owned(), 1);
            }
        }
    }

    fn leave(&mut self, key: &K) {
        if let Some(count) = self.in_flight.get_mut(key.account()) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.in_flight.remove(key.account());
            }
        }
    }

    fn pool(&mut self, key: &K) -> &mut Pool {
        self.pools.entry(key.clone()).or_insert_with(|| Pool {
            idle: Vec::new(),
            waiting: VecDeque::new(),
            starting: 0,
            failures: 0,
            backoff_until_ms: 0,
        })
    }

    /// Drops a pool that holds nothing worth remembering.
    fn forget(&mut self, key: &K) {
        if self.pools.get(key).is_some_and(|pool| !pool.in_use() && pool.failures == 0) {
            self.pools.remove(key);
        }
    }

    /// Gives a free environment to whoever has waited longest, or puts it by.
    fn offer(&mut self, id: EnvironmentId, now_ms: u64, effects: &mut Vec<Effect<K>>) {
        let Some(environment) = self.environments.get(&id) else { return };
        let (key, retired) = (environment.key.clone(), environment.retired);
        let starved = self.starved(&key, now_ms);
        let oldest = self.pools.get(&key).and_then(|pool| pool.waiting.front().copied());
        // A retired environment still serves those who asked for its revision, for nobody else will start one.
        if self.closed || (retired && oldest.is_none()) || starved {
            return self.kill(id, effects);
        }
        let phase = match oldest {
            Some(ticket) => {
                self.pool(&key).waiting.pop_front();
                self.waiting.remove(&ticket);
                effects.push(Effect::Assign(id, ticket));
                Phase::Busy { ticket }
            }
            None => {
                self.pool(&key).idle.push(id);
                Phase::Idle { since_ms: now_ms }
            }
        };
        if let Some(environment) = self.environments.get_mut(&id) {
            environment.phase = phase;
        }
    }

    /// Whether a request of another key waits for a process and has waited too long, the node being full.
    fn starved(&self, key: &K, now_ms: u64) -> bool {
        let full = self.environments.len() >= self.limits.processes_max && self.dying == 0;
        self.starting < self.limits.starts_max
            && self.waiting.values().next().is_some_and(|oldest| {
                let account = oldest.key.account();
                let share_used = || account == key.account() && self.of_account(account) >= self.limits.share_max;
                oldest.key != *key
                    && (full || share_used())
                    && oldest.since_ms.saturating_add(STARVED_MS) <= now_ms
                    && self.pools.get(&oldest.key).is_none_or(|pool| pool.starting == 0)
            })
    }

    fn of_account(&self, account: &str) -> usize {
        self.environments.values().filter(|environment| environment.key.account() == account).count()
    }

    fn kill(&mut self, id: EnvironmentId, effects: &mut Vec<Effect<K>>) {
        let Some(environment) = self.environments.get_mut(&id) else { return };
        if environment.phase == Phase::Dying {
            return;
        }
        let was = std::mem::replace(&mut environment.phase, Phase::Dying);
        let key = environment.key.clone();
        self.dying = self.dying.saturating_add(1);
        if matches!(was, Phase::Idle { .. })
            && let Some(pool) = self.pools.get_mut(&key)
        {
            pool.idle.retain(|idle| *idle != id);
        }
        effects.push(Effect::Kill(id));
    }

    /// Starts environments for requests that have none coming, oldest first; makes room by killing idle ones.
    fn schedule(&mut self, effects: &mut Vec<Effect<K>>) {
        if self.closed {
            return;
        }
        let mut coming: HashMap<&K, usize> = HashMap::new();
        let mut starts: Vec<K> = Vec::new();
        let mut room_needed = 0usize;
        let mut accounts: HashMap<&str, usize> = HashMap::new();
        let mut crowded: Vec<String> = Vec::new();
        for environment in self.environments.values() {
            *accounts.entry(environment.key.account()).or_default() += 1;
        }
        let room = self.limits.processes_max.saturating_sub(self.environments.len());
        for waiter in self.waiting.values() {
            if self.starting.saturating_add(starts.len()).saturating_add(room_needed) >= self.limits.starts_max {
                break;
            }
            let left = coming
                .entry(&waiter.key)
                .or_insert_with(|| self.pools.get(&waiter.key).map_or(0, |pool| pool.starting));
            let account = accounts.entry(waiter.key.account()).or_default();
            if *left > 0 {
                *left -= 1;
            } else if *account >= self.limits.share_max {
                crowded.push(waiter.key.account().to_owned());
            } else if starts.len() < room {
                *account += 1;
                starts.push(waiter.key.clone());
            } else {
                room_needed = room_needed.saturating_add(1);
            }
        }
        for key in starts {
            let id = self.next;
            self.next = self.next.wrapping_add(1);
            self.environments
                .insert(id, Environment { key: key.clone(), phase: Phase::Init, retired: false, expires_ms: u64::MAX });
            self.starting = self.starting.saturating_add(1);
            self.pool(&key).starting += 1;
            effects.push(Effect::Start(id, key));
        }
        for _ in self.dying..room_needed {
            let Some(id) = self.least_recently_used(|_| true) else { break };
            self.kill(id, effects);
        }
        // An account at its share makes room among its own, one for each that waits.
        let of = |account: &str, environment: &Environment<K>| environment.key.account() == account;
        for account in crowded {
            let dying = |environment: &&Environment<K>| environment.phase == Phase::Dying && of(&account, environment);
            if self.environments.values().any(|environment| dying(&environment)) {
                continue;
            }
            let Some(id) = self.least_recently_used(|environment| of(&account, environment)) else { continue };
            self.kill(id, effects);
        }
    }

    fn least_recently_used(&self, wanted: impl Fn(&Environment<K>) -> bool) -> Option<EnvironmentId> {
        self.environments
            .iter()
            .filter(|(_, environment)| wanted(environment))
            .filter_map(|(id, environment)| match environment.phase {
                Phase::Idle { since_ms } => Some((since_ms, *id)),
                _ => None,
            })
            .min()
            .map(|(_, id)| id)
    }
}

impl Pool {
    fn in_use(&self) -> bool {
        !self.idle.is_empty() || !self.waiting.is_empty() || self.starting > 0
    }
}

#[cfg(test)]
mod tests;
