//! Which environments are started, and which are killed to make room.

use std::collections::{BTreeSet, HashMap};

use super::{
    Class, Effect, Environment, EnvironmentId, Initialization, Key, Machine, Phase, Refused, STARVED_MS, Ticket,
    Waiter, pick,
};

/// For each three environments an account uses on demand beyond its first, a place must stay free for others: alone it
/// gets three quarters of the node, the second three quarters of what is left, and so on. Who uses none finds a place as
/// long as there is one, for the last is never a second one of anybody's.
const BEYOND_FIRST_PER_FREE: usize = 3;

impl<K: Key> Machine<K> {
    /// Starts environments for requests that have none coming, by turns of their accounts, then those to be kept ready,
    /// then standbys; makes room by killing what is unused.
    pub(super) fn schedule(&mut self, now_ms: u64, effects: &mut Vec<Effect<K>>) {
        if self.closed {
            return;
        }
        if !self.waiting.is_empty() || !self.short.is_empty() {
            let InUse { free, on_demand } = self.in_use();
            let on_demand = on_demand.into_iter().map(|(name, count)| (name.to_owned(), count)).collect();
            let mut plan = Plan { free, on_demand, ..Plan::default() };
            self.plan_waiting(&mut plan);
            self.plan_provisioned(now_ms, &mut plan);
            for key in std::mem::take(&mut plan.reused) {
                self.reuse(&key, effects);
            }
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

    /// What is in use now.
    fn in_use(&self) -> InUse<'_> {
        let mut in_use = InUse { free: self.limits.processes_max, on_demand: HashMap::new() };
        for environment in self.environments.values() {
            let works = matches!(environment.phase, Phase::Init | Phase::Busy { .. } | Phase::Lingering);
            if works || environment.provisioned {
                in_use.free = in_use.free.saturating_sub(1);
            }
            if works
                && !environment.provisioned
                && let Some(key) = &environment.key
            {
                *in_use.on_demand.entry(key.account()).or_default() += 1;
            }
        }
        in_use
    }

    /// Whether an account may begin to use one more environment on demand.
    pub(super) fn may_use(&self, name: &str) -> bool {
        // Mostly much is free, and what is certainly more than is in use decides. Every warm invocation asks.
        let held = self.accounts.values().map(|account| account.held).sum();
        let taken = self.environments.len().saturating_sub(self.idle).saturating_add(held);
        let free = self.limits.processes_max.saturating_sub(taken);
        let all = self.accounts.get(name).map_or(0, |account| account.environments);
        leaves_enough(all, free) || self.in_use().allows(name)
    }

    /// Adds one start, the room it needs, or the use of an idle one that its account was kept from. `false`: the account is
    /// at its share, or would leave too little for others.
    fn plan(&self, key: &K, initialization: Initialization, plan: &mut Plan<K>) -> bool {
        let name = key.account();
        let existing = self.accounts.get(name).map_or(0, |account| account.environments);
        let planned = plan.accounts.get(name).copied().unwrap_or(0);
        let room = self.limits.processes_max.saturating_sub(self.environments.len());
        let adopted = key.class().is_some_and(|class| {
            let taken = plan.adopted.get(&class).copied().unwrap_or(0);
            taken < self.standbys.ready_of(class)
        });
        let on_demand = initialization == Initialization::OnDemand;
        // What is to be kept ready has bounds of its own.
        if on_demand && !leaves_enough(plan.on_demand.get(name).copied().unwrap_or(0), plan.free) {
            return false;
        }
        let reused = plan.reused.iter().filter(|reused| *reused == key).count();
        if on_demand && self.pools.get(key).is_some_and(|pool| pool.idle.len() > reused) {
            plan.reused.push(key.clone());
            plan.used(name);
            return true;
        }
        if existing.saturating_add(planned) >= self.limits.share_max {
            plan.crowded.push(name.to_owned());
            return false;
        }
        if on_demand {
            plan.used(name);
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

    /// Gives an idle environment to the request of its key that has waited longest.
    fn reuse(&mut self, key: &K, effects: &mut Vec<Effect<K>>) {
        let Some(pool) = self.pools.get_mut(key) else { return };
        let Some(ticket) = pool.waiting.front().copied() else { return };
        let location = self.waiting.get(&ticket).map_or(0, |waiter| waiter.location);
        let Some(id) = pick(pool, &self.environments, location) else { return };
        pool.waiting.pop_front();
        self.idle = self.idle.saturating_sub(1);
        self.unwait(ticket);
        self.serve(key.account());
        if let Some(environment) = self.environments.get_mut(&id) {
            environment.phase = Phase::Busy { ticket };
            environment.location = location;
        }
        effects.push(Effect::Assign(id, ticket));
    }

    fn begin(&mut self, key: K, initialization: Initialization, now_ms: u64, effects: &mut Vec<Effect<K>>) {
        let provisioned = initialization == Initialization::Provisioned;
        let standby = key.class().and_then(|class| {
            if !provisioned {
                self.standbys.cold_start(class, now_ms);
            }
            self.standbys.take(class)
        });
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
                self.hold_start(id, now_ms);
            }
            None => {
                let id = self.insert(Some(key.clone()), None, Phase::Init, provisioned);
                effects.push(Effect::Start(id, key, initialization));
                self.hold_start(id, now_ms);
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
        let environment = Environment {
            key,
            class,
            phase,
            provisioned,
            retired: false,
            expires_ms: u64::MAX,
            location: 0,
            begun_ms: None,
        };
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
    /// too long that none can be started for, and is of another key of the account, or of an account that would still have
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
        let in_use = self.in_use();
        self.accounts.iter().any(|(name, account)| {
            let Some(oldest) = account.waiting.first().and_then(|ticket| self.waiting.get(ticket)) else {
                return false;
            };
            let stuck = full || !in_use.allows(name);
            let owed = if name == key.account() {
                oldest.key != *key && (stuck || mine >= self.limits.share_max)
            } else {
                stuck && (account.environments == 0 || account.environments.saturating_add(1) < mine)
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

/// What nobody can be made to give up.
struct InUse<'a> {
    /// Places that are empty, or whose environment can be killed for another.
    free: usize,
    /// Environments of each account at work, starting or not gone, but for those kept ready.
    on_demand: HashMap<&'a str, usize>,
}

impl InUse<'_> {
    fn allows(&self, name: &str) -> bool {
        leaves_enough(self.on_demand.get(name).copied().unwrap_or(0), self.free)
    }
}

/// Whether an account that uses so many environments on demand may use one more of `free` places.
fn leaves_enough(on_demand: usize, free: usize) -> bool {
    on_demand == 0 || free.checked_sub(1).is_some_and(|left| on_demand <= left.saturating_mul(BEYOND_FIRST_PER_FREE))
}

/// What is to be started, and the room that is missing for more.
struct Plan<K> {
    starts: Vec<(K, Initialization)>,
    adopted: HashMap<Class, usize>,
    /// Places that are free, and what accounts use on demand, with what is planned.
    free: usize,
    on_demand: HashMap<String, usize>,
    /// Keys of which an idle environment is to be used, once for each.
    reused: Vec<K>,
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
            free: 0,
            on_demand: HashMap::new(),
            reused: Vec::new(),
            launches: 0,
            room_needed: 0,
            held: 0,
            accounts: HashMap::new(),
            crowded: Vec::new(),
        }
    }
}

impl<K> Plan<K> {
    /// Counts one use more.
    fn used(&mut self, name: &str) {
        self.free = self.free.saturating_sub(1);
        *self.on_demand.entry(name.to_owned()).or_default() += 1;
    }

    fn begun(&self) -> usize {
        self.starts.len().saturating_add(self.room_needed)
    }
}
