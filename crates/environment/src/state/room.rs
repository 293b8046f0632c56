//! Which environments are started, and which are killed to make room.

use std::collections::{BTreeSet, HashMap};

use super::{
    Class, Effect, Environment, EnvironmentId, Initialization, Key, Machine, Phase, Refused, STARVED_MS, Ticket, Waiter,
};

impl<K: Key> Machine<K> {
    /// Starts environments for requests that have none coming, by turns of their accounts, then those to be kept ready,
    /// then standbys; makes room by killing what is unused.
    pub(super) fn schedule(&mut self, now_ms: u64, effects: &mut Vec<Effect<K>>) {
        if self.closed {
            return;
        }
        if !self.waiting.is_empty() || !self.short.is_empty() {
            let mut plan = Plan::default();
            self.plan_waiting(&mut plan);
            self.plan_provisioned(now_ms, &mut plan);
            for (key, initialization) in std::mem::take(&mut plan.starts) {
                self.begin(key, initialization, now_ms, effects);
            }
            self.make_room(&plan, effects);
        }
        self.refill(now_ms, effects);
    }

    /// One start for each waiting request that none is coming for. The account with the fewest environments is first, the
    /// one served longest ago among equals, and its oldest request first: how many requests an account sends does not
    /// decide how long another waits.
    fn plan_waiting(&self, plan: &mut Plan<K>) {
        let mut coming: HashMap<&K, usize> = HashMap::new();
        let mut queues = Vec::new();
        let mut turns = BTreeSet::new();
        for account in self.accounts.values() {
            if let Some(oldest) = account.waiting.first() {
                turns.insert((account.environments, account.served, *oldest, queues.len()));
                queues.push(account.waiting.iter());
            }
        }
        while self.starting.saturating_add(plan.begun()) < self.limits.starts_max
            && let Some((environments, served, oldest, at)) = turns.pop_first()
        {
            let Some(queue) = queues.get_mut(at) else { continue };
            let next = queue.filter_map(|ticket| self.waiting.get(ticket)).find(|waiter| {
                let left = coming
                    .entry(&waiter.key)
                    .or_insert_with(|| self.pools.get(&waiter.key).map_or(0, |pool| pool.starting));
                let uncovered = *left == 0;
                *left = left.saturating_sub(1);
                uncovered
            });
            if next.is_some_and(|waiter| self.plan(&waiter.key, Initialization::OnDemand, plan)) {
                turns.insert((environments.saturating_add(1), served, oldest, at));
            }
        }
    }

    /// Starts for what is to be kept ready, with what the waiting ones have left.
    fn plan_provisioned(&mut self, now_ms: u64, plan: &mut Plan<K>) {
        let pools = &self.pools;
        self.short.retain(|key| pools.get(key).is_some_and(|pool| pool.wanted > pool.held));
        for key in &self.short {
            let Some(pool) = self.pools.get(key) else { continue };
            if pool.backoff_until_ms > now_ms {
                continue;
            }
            for _ in pool.held..pool.wanted {
                if !self.may_hold(key, plan.held) {
                    break;
                }
                if self.starting.saturating_add(plan.begun()) >= self.limits.starts_max {
                    return;
                }
                plan.held += 1;
                self.plan(key, Initialization::Provisioned, plan);
            }
        }
    }

    /// Whether one more may be kept ready for a key besides `planned`. The last quarter, of an account's share and of the
    /// node, is for those who ask.
    pub(super) fn may_hold(&self, key: &K, planned: usize) -> bool {
        let may = |held: usize, of: usize| held.saturating_add(planned) < of.saturating_mul(3) / 4;
        let held = self.accounts.get(key.account()).map_or(0, |account| account.held);
        let all = self.accounts.values().map(|account| account.held).sum();
        may(held, self.limits.share_max) && may(all, self.limits.processes_max)
    }

    /// Adds one start, or the room it needs. `false`: the account is at its share.
    fn plan(&self, key: &K, initialization: Initialization, plan: &mut Plan<K>) -> bool {
        let name = key.account();
        let existing = self.accounts.get(name).map_or(0, |account| account.environments);
        let planned = plan.accounts.get(name).copied().unwrap_or(0);
        let room = self.limits.processes_max.saturating_sub(self.environments.len());
        let adopted = key.class().is_some_and(|class| {
            let taken = plan.adopted.get(&class).copied().unwrap_or(0);
            taken < self.standbys.ready_of(class)
        });
        if existing.saturating_add(planned) >= self.limits.share_max {
            plan.crowded.push(name.to_owned());
            return false;
        }
        if adopted && let Some(class) = key.class() {
            *plan.adopted.entry(class).or_default() += 1;
        } else if plan.launches < room {
            plan.launches += 1;
        } else {
            plan.room_needed += 1;
            return true;
        }
        *plan.accounts.entry(name.to_owned()).or_default() += 1;
        plan.starts.push((key.clone(), initialization));
        true
    }

    fn begin(&mut self, key: K, initialization: Initialization, now_ms: u64, effects: &mut Vec<Effect<K>>) {
        let provisioned = initialization == Initialization::Provisioned;
        let standby = key.class().and_then(|class| {
            if !provisioned {
                self.standbys.cold_start(class, now_ms);
            }
            self.standbys.take(class)
        });
        self.starting = self.starting.saturating_add(1);
        let account = self.account(&key);
        account.environments += 1;
        account.held += usize::from(provisioned);
        self.serve(key.account());
        let pool = self.pool(&key);
        pool.starting += 1;
        pool.held += u32::from(provisioned);
        match standby.and_then(|id| Some((id, self.environments.get_mut(&id)?))) {
            Some((id, environment)) => {
                environment.key = Some(key.clone());
                environment.class = None;
                environment.phase = Phase::Init;
                environment.provisioned = provisioned;
                effects.push(Effect::Adopt(id, key, initialization));
            }
            None => {
                let id = self.insert(Some(key.clone()), None, Phase::Init, provisioned);
                effects.push(Effect::Start(id, key, initialization));
            }
        }
    }

    pub(super) fn insert(
        &mut self,
        key: Option<K>,
        class: Option<Class>,
        phase: Phase,
        provisioned: bool,
    ) -> EnvironmentId {
        let id = self.next;
        self.next = self.next.wrapping_add(1);
        let environment =
            Environment { key, class, phase, provisioned, retired: false, expires_ms: u64::MAX, location: 0 };
        self.environments.insert(id, environment);
        id
    }

    fn make_room(&mut self, plan: &Plan<K>, effects: &mut Vec<Effect<K>>) {
        for _ in self.dying..plan.room_needed {
            let Some(id) = self.standbys.spare().or_else(|| self.least_recently_used(|_| true)) else { break };
            self.kill(id, effects);
        }
        // An account at its share makes room among its own, one for each that waits.
        let of = |account: &str, environment: &Environment<K>| {
            environment.key.as_ref().is_some_and(|key| key.account() == account)
        };
        for account in &plan.crowded {
            let dying = |environment: &&Environment<K>| environment.phase == Phase::Dying && of(account, environment);
            if self.environments.values().any(|environment| dying(&environment)) {
                continue;
            }
            let Some(id) = self.least_recently_used(|environment| of(account, environment)) else { continue };
            self.kill(id, effects);
        }
    }

    /// The idle environment that has not been used for longest; one that is kept ready never counts.
    pub(super) fn least_recently_used(&self, wanted: impl Fn(&Environment<K>) -> bool) -> Option<EnvironmentId> {
        self.environments
            .iter()
            .filter(|(_, environment)| !environment.provisioned && wanted(environment))
            .filter_map(|(id, environment)| Some((environment.phase.idle_since_ms()?, *id)))
            .min()
            .map(|(_, id)| id)
    }

    /// Whether an environment that becomes free makes room rather than serving its own key again: a request has waited
    /// too long that none is coming for, and is of another key of the account, or of an account that would still have
    /// fewer environments than this one after the exchange, or has none at all.
    pub(super) fn starved(&self, key: &K, now_ms: u64) -> bool {
        if self.starting >= self.limits.starts_max {
            return false;
        }
        // A standby would make room, or is about to.
        let full = self.environments.len() >= self.limits.processes_max
            && self.dying == 0
            && self.standbys.ready() + self.standbys.blank() == 0;
        let mine = self.accounts.get(key.account()).map_or(0, |account| account.environments);
        self.accounts.iter().any(|(name, account)| {
            let Some(oldest) = account.waiting.first().and_then(|ticket| self.waiting.get(ticket)) else {
                return false;
            };
            let owed = if name == key.account() {
                oldest.key != *key && (full || mine >= self.limits.share_max)
            } else {
                full && (account.environments == 0 || account.environments.saturating_add(1) < mine)
            };
            owed && oldest.since_ms.saturating_add(STARVED_MS) <= now_ms
                && self.pools.get(&oldest.key).is_none_or(|pool| pool.starting == 0)
        })
    }

    /// Whether one more request of an account may wait. On a node with as many as there may be, the account with the most
    /// gives up its newest if it would still not have fewer.
    ///
    /// A function's own limit needs no bound here: whoever asks holds one of its permits while waiting.
    pub(super) fn may_wait(&mut self, name: &str, effects: &mut Vec<Effect<K>>) -> bool {
        let mine = self.accounts.get(name).map_or(0, |account| account.waiting.len());
        if mine >= self.limits.waiters_share_max {
            return false;
        }
        if self.waiting.len() < self.limits.waiters_max {
            return true;
        }
        let most = self.accounts.values().max_by_key(|account| account.waiting.len());
        let most = most.filter(|account| account.waiting.len() > mine.saturating_add(1));
        let Some(newest) = most.and_then(|account| account.waiting.last().copied()) else { return false };
        if self.cancel(newest) {
            effects.push(Effect::Refuse(newest, Refused::Waiters));
        }
        true
    }

    pub(super) fn wait(&mut self, ticket: Ticket, waiter: Waiter<K>) {
        self.account(&waiter.key).waiting.insert(ticket);
        self.waiting.insert(ticket, waiter);
    }

    pub(super) fn unwait(&mut self, ticket: Ticket) -> Option<Waiter<K>> {
        let waiter = self.waiting.remove(&ticket)?;
        if let Some(account) = self.accounts.get_mut(waiter.key.account()) {
            account.waiting.remove(&ticket);
        }
        Some(waiter)
    }

    /// Notes that it was an account's turn.
    pub(super) fn serve(&mut self, name: &str) {
        self.turn = self.turn.saturating_add(1);
        if let Some(account) = self.accounts.get_mut(name) {
            account.served = self.turn;
        }
    }
}

/// What is to be started, and the room that is missing for more.
struct Plan<K> {
    starts: Vec<(K, Initialization)>,
    adopted: HashMap<Class, usize>,
    launches: usize,
    room_needed: usize,
    /// Starts of what is to be kept ready.
    held: usize,
    accounts: HashMap<String, usize>,
    /// Accounts at their share, once for each start they cannot have.
    crowded: Vec<String>,
}

impl<K> Default for Plan<K> {
    fn default() -> Plan<K> {
        Plan {
            starts: Vec::new(),
            adopted: HashMap::new(),
            launches: 0,
            room_needed: 0,
            held: 0,
            accounts: HashMap::new(),
            crowded: Vec::new(),
        }
    }
}

impl<K> Plan<K> {
    fn begun(&self) -> usize {
        self.starts.len().saturating_add(self.room_needed)
    }
}
